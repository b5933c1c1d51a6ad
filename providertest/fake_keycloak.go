package providertest

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"
)

// fakeKeycloak plays a realm of a Keycloak server, which may stand below a path
// prefix. Refresh tokens come always and end with the session, 30 minutes after
// the last of them, but those with the scope offline_access do not. With the
// switch "revoke" a second use of one ends the session.
func fakeKeycloak(values []string, on func(string) bool) (*fake, error) {
	host, realm, prefix := values[0], values[1], values[2]
	server := "https://" + host
	if prefix != "" {
		server += "/" + prefix
	}
	issuer := server + "/realms/" + realm
	base := issuer + "/protocol/openid-connect"
	policy := Policy{
		Rotation:        RotateKeep,
		TokenLifetime:   5 * time.Minute,
		RefreshLifetime: 30 * time.Minute,
	}
	if on("revoke") {
		policy.Rotation = RotateStrict
	}
	return &fake{
		discovery: issuer + "/.well-known/openid-configuration",
		document: map[string]any{
			"issuer":                                issuer,
			"authorization_endpoint":                base + "/auth",
			"token_endpoint":                        base + "/token",
			"introspection_endpoint":                base + "/token/introspect",
			"userinfo_endpoint":                     base + "/userinfo",
			"end_session_endpoint":                  base + "/logout",
			"jwks_uri":                              base + "/certs",
			"revocation_endpoint":                   base + "/revoke",
			"device_authorization_endpoint":         base + "/auth/device",
			"grant_types_supported":                 []any{"authorization_code", "implicit", "refresh_token", "password", "client_credentials"},
			"response_types_supported":              []any{"code", "none", "id_token", "token", "id_token token", "code id_token", "code token", "code id_token token"},
			"response_modes_supported":              []any{"query", "fragment", "form_post", "query.jwt", "fragment.jwt", "form_post.jwt", "jwt"},
			"subject_types_supported":               []any{"public", "pairwise"},
			"id_token_signing_alg_values_supported": []any{"PS256", "RS256", "ES256", "HS256"},
			"scopes_supported":                      []any{"openid", "profile", "email", "offline_access", "roles"},
			"token_endpoint_auth_methods_supported": []any{"private_key_jwt", "client_secret_basic", "client_secret_post", "tls_client_auth", "client_secret_jwt"},
			"code_challenge_methods_supported":      []any{"plain", "S256"},

			"authorization_response_iss_parameter_supported": true,
		},
		api:    server + "/admin/realms/" + realm,
		routes: []route{{"POST " + base + "/logout", "", keycloakLogout}},
		policy: policy,
		grants: map[string]grant{
			"authorization_code": keycloakCode,
			"refresh_token":      keycloakRefresh,
			"client_credentials": (*Server).clientCredentials,
		},
		offline:  func(url.Values, []string) bool { return true },
		callback: keycloakCallback,
		answer:   keycloakAnswer,
		refuse:   keycloakRefuse,
		unauthorized: func(*call, string) *Answer {
			return answer(http.StatusUnauthorized, map[string]any{"error": "HTTP 401 Unauthorized"})
		},
		userClaims: []string{"preferred_username", "name"},
		noOpenID:   insufficientScope,
	}, nil
}

// Reasons why Keycloak refuses a refresh token.
const (
	keycloakExpired = "Token is not active"
	keycloakEnded   = "Session not active"
	keycloakReused  = "Maximum allowed refresh token reuse exceeded"
	keycloakInvalid = "Invalid refresh token"
)

// keycloakSession is the ID of the session of a subject.
func keycloakSession(subject string) string {
	return fmt.Sprintf("7c1d9e0a-0000-4000-8000-%012d", numberOf(subject))
}

func keycloakOffline(g *userGrant) bool { return slices.Contains(g.scopes, "offline_access") }

func keycloakCallback(s *Server, _ *Client, _, back url.Values) {
	if code, ok := s.state.codes[back.Get("code")]; ok {
		back.Set("session_state", keycloakSession(code.subject))
	}
}

func keycloakCode(s *Server, c *call, is *issue) *Answer {
	if a := s.authorizationCode(c, is); a != nil {
		return a
	}
	keycloakKeep(s, is)
	return nil
}

func keycloakRefresh(s *Server, c *call, is *issue) *Answer {
	r, known := s.state.refresh[c.form.Get("refresh_token")]
	ended := known && r.grant.dead
	a := s.refreshToken(c, is)
	if a == nil {
		keycloakKeep(s, is)
		return nil
	}
	why := keycloakInvalid
	switch {
	case !known || r.grant.client != is.client.ID:
	case ended:
		why = keycloakEnded
	case r.grant.dead: // by this request
		why = keycloakReused
	case r.ended(is.at):
		why = keycloakExpired
	default:
		return a
	}
	return refusal(http.StatusBadRequest, "invalid_grant", why)
}

// keycloakKeep makes an offline token of a refresh token, if that is asked for.
func keycloakKeep(s *Server, is *issue) {
	if r, ok := s.state.refresh[is.refresh]; ok && keycloakOffline(is.grant) {
		r.expires, is.ends = time.Time{}, time.Time{}
	}
}

func keycloakAnswer(_ *Server, _ *call, is *issue, v map[string]any) {
	v["not-before-policy"] = 0
	v["refresh_expires_in"] = 0
	if is.grant != nil {
		v["session_state"] = keycloakSession(is.grant.subject)
	}
	if !is.ends.IsZero() {
		v["refresh_expires_in"] = seconds(is.ends.Sub(is.at))
	}
}

func keycloakRefuse(_ *call, r refused) *Answer {
	switch {
	case r.code == "invalid_client" && r.why != whyUnknownClient:
		return refusal(r.status, "unauthorized_client", "Invalid client or Invalid client credentials")
	case r.code == "invalid_client":
		return refusal(r.status, r.code, "Invalid client or Invalid client credentials")
	}
	return refusal(r.status, r.code, r.why)
}

// keycloakLogout ends the session that a refresh token belongs to, with all that
// other applications have of it. Offline tokens outlive it, but for the one that
// is sent.
func keycloakLogout(s *Server, c *call) *Answer {
	cred := readCredentials(c.r, c.form)
	s.mu.Lock()
	defer s.mu.Unlock()
	client, a := s.authenticate(cred)
	if a != nil {
		return a
	}
	r, ok := s.state.refresh[c.form.Get("refresh_token")]
	if !ok || r.grant.client != client.ID || r.ended(s.now()) {
		return refusal(http.StatusBadRequest, "invalid_grant", keycloakInvalid)
	}
	s.endGrants(func(g *userGrant) bool {
		return g == r.grant || g.subject == r.grant.subject && !keycloakOffline(g) && !keycloakOffline(r.grant)
	})
	return &Answer{Status: http.StatusNoContent}
}
