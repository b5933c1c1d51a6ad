package providertest

import (
	"net/http"
	"net/url"
	"slices"
	"time"
)

// fakeAirtable plays Airtable. A refresh ends the tokens before it, and a
// refresh token that was used before ends the grant.
func fakeAirtable([]string, func(string) bool) (*fake, error) {
	const api = "https://api.airtable.com/v0"
	return &fake{
		document: map[string]any{
			"authorization_endpoint": "https://airtable.com/oauth2/v1/authorize",
			"token_endpoint":         "https://airtable.com/oauth2/v1/token",
		},
		api:    api,
		routes: []route{apiRoute("GET "+api+"/meta/whoami", airtableWhoAmI)},
		policy: Policy{
			RequirePKCE:        true,
			EndAccessOnRefresh: true,
			RefreshLifetime:    60 * 24 * time.Hour,
			CodeLifetime:       10 * time.Minute,
		},
		authMethods: []string{"client_secret_basic"},
		grants:      codeAndRefresh(),
		authorize: func(_ *Server, asked url.Values) (string, string) {
			if len(asked.Get("state")) < 16 {
				return "invalid_request", "state must have at least 16 characters"
			}
			return "", ""
		},
		offline: func(url.Values, []string) bool { return true },
		callback: func(_ *Server, _ *Client, asked, back url.Values) {
			for _, name := range []string{"code_challenge", "code_challenge_method"} {
				if asked.Has(name) {
					back.Set(name, asked.Get(name))
				}
			}
		},
		answer: func(_ *Server, _ *call, is *issue, v map[string]any) {
			v["refresh_expires_in"] = seconds(is.ends.Sub(is.at))
		},
		unauthorized: func(*call, string) *Answer {
			return answer(http.StatusUnauthorized, map[string]any{
				"error": map[string]any{"type": "AUTHENTICATION_REQUIRED", "message": "Authentication required"},
			})
		},
	}, nil
}

func airtableWhoAmI(_ *Server, _ *call, t *issuedAccess) any {
	v := map[string]any{"id": t.grant.subject, "scopes": t.scopes}
	if slices.Contains(t.scopes, "user.email:read") {
		v["email"] = t.grant.subject + "@example.com"
	}
	return v
}
