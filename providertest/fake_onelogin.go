package providertest

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// fakeOneLogin plays an account of OneLogin. Its application for users has
// refresh tokens if that is switched on ("refresh"), and authenticates itself
// with Basic, unless it is registered otherwise with Server.AddClient. The
// management API gives tokens at an address of its own, to clients that
// authenticate themselves in another way.
func fakeOneLogin(values []string, on func(string) bool) (*fake, error) {
	host := "https://" + values[0] + ".onelogin.com"
	issuer := host + "/oidc/2"
	grants := codeAndRefresh()
	grants["client_credentials"] = oneloginApp
	return &fake{
		discovery: issuer + "/.well-known/openid-configuration",
		document: map[string]any{
			"issuer":                                issuer,
			"authorization_endpoint":                issuer + "/auth",
			"token_endpoint":                        issuer + "/token",
			"userinfo_endpoint":                     issuer + "/me",
			"jwks_uri":                              issuer + "/certs",
			"introspection_endpoint":                issuer + "/token/introspection",
			"revocation_endpoint":                   issuer + "/token/revocation",
			"end_session_endpoint":                  issuer + "/logout",
			"response_types_supported":              []any{"code", "id_token token", "id_token"},
			"response_modes_supported":              []any{"form_post", "fragment", "query"},
			"grant_types_supported":                 []any{"authorization_code", "implicit", "refresh_token", "password"},
			"subject_types_supported":               []any{"public"},
			"id_token_signing_alg_values_supported": []any{"RS256"},
			"scopes_supported":                      []any{"openid", "name", "profile", "groups", "email", "params", "phone"},
			"token_endpoint_auth_methods_supported": []any{"client_secret_basic", "client_secret_post", "none"},
			"code_challenge_methods_supported":      []any{"S256"},
		},
		api: host + "/api/2",
		routes: []route{
			{"POST " + host + "/auth/oauth2/v2/token", Token, oneloginToken},
			{"POST " + host + "/auth/oauth2/revoke", Revocation, oneloginRevoke},
		},
		policy:      Policy{Rotation: RotateRefuse},
		authMethods: []string{"client_secret_basic"},
		body:        anyBody,
		grants:      grants,
		offline:     func(url.Values, []string) bool { return on("refresh") },
		demand: func(c *call) *Answer {
			if c.route == nil && c.json {
				return refusal(http.StatusBadRequest, "invalid_request", "only application/x-www-form-urlencoded content-type bodies are supported")
			}
			return nil
		},
		answer:       oneloginAnswer,
		refuse:       oneloginRefuse,
		unauthorized: func(*call, string) *Answer { return oneloginError(http.StatusUnauthorized, "Unauthorized") },
		userClaims:   []string{"preferred_username", "name"},
		noOpenID:     insufficientScope,
	}, nil
}

// oneloginError is how the management API refuses a request.
func oneloginError(status int, message string) *Answer {
	return answer(status, map[string]any{"statusCode": status, "name": http.StatusText(status), "message": message})
}

// oneloginCredentials makes Basic of what the management API wants in its
// place: "client_id:ID, client_secret:SECRET". It reports whether it was that.
func oneloginCredentials(r *http.Request) bool {
	first, second, _ := strings.Cut(r.Header.Get("Authorization"), ",")
	id, ok1 := strings.CutPrefix(strings.TrimSpace(first), "client_id:")
	secret, ok2 := strings.CutPrefix(strings.TrimSpace(second), "client_secret:")
	if !ok1 || !ok2 {
		return false
	}
	r.SetBasicAuth(url.QueryEscape(strings.TrimSpace(id)), url.QueryEscape(strings.TrimSpace(secret)))
	return true
}

// oneloginToken is the token endpoint of the management API.
func oneloginToken(s *Server, c *call) *Answer {
	if !oneloginCredentials(c.r) {
		return s.refused(c, refusal(http.StatusUnauthorized, "invalid_client", "no credentials"))
	}
	cred := readCredentials(c.r, c.form)
	s.mu.Lock()
	c.request.ClientID = cred.id
	s.mu.Unlock()
	return s.serveToken(c)
}

func oneloginApp(s *Server, c *call, is *issue) *Answer {
	if c.route == nil {
		return refusal(http.StatusBadRequest, "unsupported_grant_type", "only at the management API")
	}
	is.lifetime = 10 * time.Hour
	return s.clientCredentials(c, is)
}

func oneloginAnswer(_ *Server, c *call, is *issue, v map[string]any) {
	if c.route == nil {
		return
	}
	delete(v, "scope")
	v["token_type"] = "bearer"
	v["created_at"] = is.dated.UTC().Format(time.RFC3339)
	v["account_id"] = 555555
}

func oneloginRefuse(c *call, r refused) *Answer {
	if c.route != nil {
		return oneloginError(r.status, r.why)
	}
	return refusal(r.status, r.code, r.why)
}

// oneloginRevoke ends a token of the management API.
func oneloginRevoke(s *Server, c *call) *Answer {
	var body struct {
		Token string `json:"access_token"`
	}
	json.Unmarshal(c.body, &body) // without a token there is nothing to end
	if !oneloginCredentials(c.r) {
		return oneloginError(http.StatusUnauthorized, "Authentication Failure")
	}
	client := s.basicClient(c.r)
	if client == nil {
		return oneloginError(http.StatusUnauthorized, "Authentication Failure")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	t, ok := s.state.access[body.Token]
	if !ok || t.client != client.ID || t.grant != nil || !t.valid(s.now()) {
		return oneloginError(http.StatusBadRequest, "invalid token")
	}
	t.revoked = true
	return answer(http.StatusOK, map[string]any{"status": map[string]any{"error": false, "code": 200, "type": "success", "message": "Success"}})
}
