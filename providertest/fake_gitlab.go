package providertest

import (
	"net/http"
	"slices"
	"time"
)

// fakeGitLab plays gitlab.com, or an installation at any other host.
func fakeGitLab(values []string, _ func(string) bool) (*fake, error) {
	base := "https://" + values[0]
	api := base + "/api/v4"
	return &fake{
		discovery: base + "/.well-known/openid-configuration",
		document: map[string]any{
			"issuer":                                base,
			"authorization_endpoint":                base + "/oauth/authorize",
			"token_endpoint":                        base + "/oauth/token",
			"revocation_endpoint":                   base + "/oauth/revoke",
			"introspection_endpoint":                base + "/oauth/introspect",
			"userinfo_endpoint":                     base + "/oauth/userinfo",
			"jwks_uri":                              base + "/oauth/discovery/keys",
			"scopes_supported":                      []any{"api", "read_api", "read_user", "openid", "profile", "email"},
			"response_types_supported":              []any{"code"},
			"response_modes_supported":              []any{"query", "fragment", "form_post"},
			"grant_types_supported":                 []any{"authorization_code", "password", "device_code", "refresh_token"},
			"token_endpoint_auth_methods_supported": []any{"client_secret_basic", "client_secret_post"},
			"subject_types_supported":               []any{"public"},
			"id_token_signing_alg_values_supported": []any{"RS256"},
			"code_challenge_methods_supported":      []any{"plain", "S256"},
		},
		api:    api,
		routes: []route{apiRoute("GET "+api+"/user", gitlabUser)},
		policy: Policy{
			Rotation:           RotateRefuse,
			Offline:            OfflineAlways,
			EndAccessOnRefresh: true,
			RevokeEndsGrant:    true, // both tokens are one record
			TokenLifetime:      2 * time.Hour,
			CodeLifetime:       10 * time.Minute,
		},
		grants: map[string]grant{
			"authorization_code": (*Server).authorizationCode,
			"refresh_token":      gitlabRefresh,
		},
		answer: func(_ *Server, _ *call, is *issue, v map[string]any) { v["created_at"] = is.at.Unix() },
	}, nil
}

// gitlabRefresh demands the redirect address of the authorization request.
func gitlabRefresh(s *Server, c *call, is *issue) *Answer {
	r, ok := s.state.refresh[c.form.Get("refresh_token")]
	if ok && c.form.Get("redirect_uri") != r.grant.asked.Get("redirect_uri") {
		return refusal(http.StatusBadRequest, "invalid_grant", whyRedirect)
	}
	return s.refreshToken(c, is)
}

func gitlabUser(_ *Server, _ *call, t *issuedAccess) any {
	if !slices.Contains(t.scopes, "read_user") && !slices.Contains(t.scopes, "api") {
		return answer(http.StatusForbidden, map[string]any{
			"error":             "insufficient_scope",
			"error_description": "The request requires higher privileges than provided by the access token.",
			"scope":             "api read_user",
		})
	}
	return map[string]any{"id": numberOf(t.subject()), "username": t.subject(), "name": t.subject(), "state": "active"}
}
