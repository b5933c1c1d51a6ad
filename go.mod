module github.com/authprofile/authprofile

go 1.26.0

require golang.org/x/oauth2 v0.37.0

require github.com/coreos/go-oidc/v3 v3.21.0 // indirect
