package providertest

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// fakeAtlassian plays the cloud of Atlassian, for an application with 3LO.
func fakeAtlassian([]string, func(string) bool) (*fake, error) {
	return &fake{
		document: map[string]any{
			"authorization_endpoint": "https://auth.atlassian.com/authorize",
			"token_endpoint":         "https://auth.atlassian.com/oauth/token",
			"revocation_endpoint":    "https://auth.atlassian.com/oauth/revoke",
		},
		api: "https://api.atlassian.com",
		routes: []route{
			apiRoute("GET https://api.atlassian.com/oauth/token/accessible-resources", atlassianSites),
			apiRoute("GET https://api.atlassian.com/me", atlassianMe),
		},
		policy: Policy{
			Rotation:        RotateGrace,
			Grace:           10 * time.Minute,
			RefreshLifetime: 90 * 24 * time.Hour,
			GrantLifetime:   365 * 24 * time.Hour,
		},
		authMethods: []string{"client_secret_post"},
		body:        anyBody,
		authorize: func(_ *Server, asked url.Values) (string, string) {
			if asked.Get("audience") != "api.atlassian.com" {
				return "", "the parameter audience is missing"
			}
			if slices.Contains(strings.Fields(asked.Get("scope")), "openid") {
				return "invalid_scope", "not for this kind of application: openid"
			}
			return "", ""
		},
		refuse: atlassianRefuse,
	}, nil
}

// atlassianRefuse answers 403 if a grant is dead, and has two names for it.
func atlassianRefuse(_ *call, r refused) *Answer {
	switch {
	case r.code == "invalid_grant" && r.why == whyUnknownRefresh:
		return refusal(http.StatusForbidden, "unauthorized_client", "refresh_token is invalid")
	case r.code == "invalid_grant":
		return refusal(http.StatusForbidden, "invalid_grant", "Unknown or invalid refresh token.")
	}
	return refusal(r.status, r.code, r.why)
}

// atlassianSites are the sites that an application may use.
func atlassianSites(_ *Server, _ *call, t *issuedAccess) any {
	site := func(id, name string) any {
		return map[string]any{
			"id": id, "name": name, "url": "https://" + name + ".atlassian.net", "scopes": t.scopes,
			"avatarUrl": "https://site-admin-avatar-cdn.prod.public.atl-paas.net/avatars/240/flag.png",
		}
	}
	return []any{
		site("1324a887-45db-1bf4-1e99-ef0ff456d421", "acme"),
		site("8a5f1c3e-97d2-4c60-b1f0-3d2b7f0c9e11", "acme-test"),
	}
}

func atlassianMe(_ *Server, _ *call, t *issuedAccess) any {
	if !slices.Contains(t.scopes, "read:me") {
		return answer(http.StatusForbidden, map[string]any{"code": 403, "message": "The token does not have the scope read:me"})
	}
	return map[string]any{"account_type": "atlassian", "account_id": t.subject(), "name": t.subject()}
}
