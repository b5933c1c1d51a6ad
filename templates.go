package authprofile

// A Template names a provider whose addresses and habits the library knows. It is
// the name of a [Provider], and then the values of its variables, each after a
// slash: "github", "shopify/acme", "keycloak/id.example.com/acme". Some
// variables can be left out: "gitlab" alone is gitlab.com.
// Provider.Template returns how the templates of a provider are written.
//
// It is plain text, and can be stored and compared as such.
type Template string

// Google is Google Identity.
//
// It asks for offline access and for consent, because Google gives a refresh
// token only then.
const Google Template = "google"

// Microsoft is the Microsoft identity platform (Entra ID), version 2.0.
//
// The tenant is a domain ("contoso.com"), an ID (a GUID), or one of "common",
// "organizations" and "consumers". For a national cloud put its host before
// it: "login.microsoftonline.us/contoso.com",
// "login.partner.microsoftonline.cn/contoso.cn".
//
// The scope offline_access is added, because a refresh token is given only
// then.
func Microsoft(tenant string) Template { return Template("microsoft/" + tenant) }
