package providertest

import (
	"net/http"
	"slices"
	"time"
)

// fakeBitbucket plays Bitbucket Cloud. With the switch "scopes" its answers
// have that member in place of scope, as before May 2026.
func fakeBitbucket(_ []string, on func(string) bool) (*fake, error) {
	b := bitbucket{scopes: on("scopes")}
	const api = "https://api.bitbucket.org/2.0"
	return &fake{
		document: map[string]any{
			"authorization_endpoint": "https://bitbucket.org/site/oauth2/authorize",
			"token_endpoint":         "https://bitbucket.org/site/oauth2/access_token",
		},
		api:    api,
		routes: []route{apiRoute("GET "+api+"/user", bitbucketUser)},
		policy: Policy{
			Rotation:        RotateRefuse,
			Offline:         OfflineAlways,
			TokenLifetime:   2 * time.Hour,
			RefreshLifetime: 7948800 * time.Second,
		},
		registered: []string{"account", "repository"},
		answer:     b.answer,
		unauthorized: func(*call, string) *Answer {
			return bitbucketError(http.StatusUnauthorized, "Access token expired. Use your refresh token to obtain a new access token.")
		},
	}, nil
}

type bitbucket struct{ scopes bool }

func (b bitbucket) answer(_ *Server, c *call, _ *issue, v map[string]any) {
	v["token_type"] = "bearer"
	v["state"] = c.form.Get("grant_type")
	if b.scopes {
		v["scopes"] = v["scope"]
		delete(v, "scope")
	}
}

func bitbucketError(status int, message string) *Answer {
	return answer(status, map[string]any{"type": "error", "error": map[string]any{"message": message}})
}

func bitbucketUser(_ *Server, _ *call, t *issuedAccess) any {
	if !slices.Contains(t.scopes, "account") {
		return bitbucketError(http.StatusForbidden, "Your credentials lack one or more required privilege scopes.")
	}
	return map[string]any{"type": "user", "account_id": t.subject(), "display_name": t.subject(), "uuid": "{" + t.subject() + "}"}
}
