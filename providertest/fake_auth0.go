package providertest

import (
	"net/http"
	"slices"
	"strings"
	"time"
)

// fakeAuth0 plays a tenant of Auth0. An access token is for the API that the
// parameter audience names; without one it is opaque, and does for the userinfo
// endpoint alone.
func fakeAuth0(values []string, on func(string) bool) (*fake, error) {
	issuer := "https://" + values[0] + "/"
	a := auth0{issuer: issuer}
	policy := Policy{
		TokenLifetime:     24 * time.Hour,
		RefreshLifetime:   15 * 24 * time.Hour,
		GrantLifetime:     30 * 24 * time.Hour,
		RevokeRefreshOnly: true,
	}
	if on("overlap") {
		policy.Rotation, policy.Grace = RotateGrace, 30*time.Second
	}
	return &fake{
		discovery: issuer + ".well-known/openid-configuration",
		document: map[string]any{
			"issuer":                                issuer,
			"authorization_endpoint":                issuer + "authorize",
			"token_endpoint":                        issuer + "oauth/token",
			"device_authorization_endpoint":         issuer + "oauth/device/code",
			"userinfo_endpoint":                     issuer + "userinfo",
			"revocation_endpoint":                   issuer + "oauth/revoke",
			"jwks_uri":                              issuer + ".well-known/jwks.json",
			"scopes_supported":                      []any{"openid", "profile", "offline_access", "name", "email", "picture", "created_at", "phone", "address"},
			"response_types_supported":              []any{"code", "token", "id_token", "code token", "code id_token", "token id_token", "code token id_token"},
			"response_modes_supported":              []any{"query", "fragment", "form_post"},
			"subject_types_supported":               []any{"public"},
			"id_token_signing_alg_values_supported": []any{"HS256", "RS256", "PS256"},
			"token_endpoint_auth_methods_supported": []any{"client_secret_basic", "client_secret_post", "private_key_jwt"},
			"code_challenge_methods_supported":      []any{"S256", "plain"},
		},
		api:    issuer + "api/v2",
		policy: policy,
		body:   anyBody,
		grants: map[string]grant{
			"authorization_code": a.code,
			"refresh_token":      a.refresh,
			"client_credentials": a.app,
		},
		answer:    auth0Answer,
		refuse:    auth0Refuse,
		apiDemand: auth0APIDemand,
		unauthorized: func(*call, string) *Answer {
			return auth0Unauthorized("Invalid token")
		},
		userClaims: []string{"name", "nickname"},
	}, nil
}

type auth0 struct{ issuer string }

// auth0NoAudience is why an application gets no token of its own.
const auth0NoAudience = "No audience parameter was provided, and no default audience has been configured"

func (a auth0) code(s *Server, c *call, is *issue) *Answer {
	if refused := s.authorizationCode(c, is); refused != nil {
		return refused
	}
	a.token(s, is, is.grant.subject, is.grant.asked.Get("audience"))
	return nil
}

// refresh ends the overlap of all refresh tokens but the last that was
// replaced.
func (a auth0) refresh(s *Server, c *call, is *issue) *Answer {
	if refused := s.refreshToken(c, is); refused != nil {
		return refused
	}
	for _, old := range is.grant.spent {
		if r, ok := s.state.refresh[old]; ok && old != c.form.Get("refresh_token") && !r.spent.IsZero() {
			r.spent = time.Unix(0, 0)
		}
	}
	a.token(s, is, is.grant.subject, is.grant.asked.Get("audience"))
	return nil
}

func (a auth0) app(s *Server, c *call, is *issue) *Answer {
	audience := c.form.Get("audience")
	if audience == "" {
		return refusal(http.StatusBadRequest, "invalid_request", auth0NoAudience)
	}
	if refused := s.clientCredentials(c, is); refused != nil {
		return refused
	}
	a.token(s, is, is.client.ID+"@clients", audience)
	return nil
}

// token makes the access token for an API.
func (a auth0) token(s *Server, is *issue, subject, audience string) {
	if audience == "" {
		return
	}
	audiences := []any{audience}
	if slices.Contains(is.scopes, "openid") {
		audiences = append(audiences, a.issuer+"userinfo")
	}
	is.access = s.accessToken(is, map[string]any{
		"iss":   a.issuer,
		"sub":   subject,
		"aud":   audiences,
		"azp":   is.client.ID,
		"scope": strings.Join(is.scopes, " "),
	})
}

// auth0Answer leaves out the scope if it is what was asked for.
func auth0Answer(_ *Server, c *call, is *issue, v map[string]any) {
	asked := c.form.Get("scope")
	switch {
	case is.grant == nil || c.form.Has("scope"):
	case c.form.Get("grant_type") == "refresh_token":
		asked = strings.Join(is.grant.scopes, " ")
	default:
		asked = is.grant.asked.Get("scope")
	}
	if v["scope"] == asked {
		delete(v, "scope")
	}
}

func auth0Refuse(c *call, r refused) *Answer {
	switch {
	case r.why == auth0NoAudience:
		return refusal(http.StatusForbidden, "access_denied", r.why)
	case r.code == "invalid_client" && c.form.Get("grant_type") == "client_credentials":
		return refusal(http.StatusUnauthorized, "access_denied", "Unauthorized")
	case r.code == "invalid_grant" && c.form.Get("grant_type") == "refresh_token":
		return refusal(http.StatusForbidden, "invalid_grant", "Unknown or invalid refresh token.")
	case r.code == "invalid_grant":
		return refusal(http.StatusForbidden, "invalid_grant", "Invalid authorization code")
	}
	return refusal(r.status, r.code, r.why)
}

func auth0Unauthorized(why string) *Answer {
	return answer(http.StatusUnauthorized, map[string]any{"statusCode": 401, "error": "Unauthorized", "message": why})
}

func auth0APIDemand(_ *Server, c *call, _ *issuedAccess) *Answer {
	if c.endpoint == API && strings.Count(bearerToken(c.r), ".") != 2 {
		return auth0Unauthorized("Bad HTTP authentication header format")
	}
	return nil
}
