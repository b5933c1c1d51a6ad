package providertest

import (
	"maps"
	"net/http"
	"slices"
	"strings"
)

// serveAPI answers requests with a valid access token (RFC 6750), and refuses
// others.
func (s *Server) serveAPI(c *call) *Answer {
	t, refused := s.authorized(c)
	if refused != nil {
		return refused
	}
	v := map[string]any{"client_id": t.client, "scope": strings.Join(t.scopes, " ")}
	if t.grant != nil {
		if c.endpoint == UserInfo {
			maps.Copy(v, t.grant.claims)
		}
		v["sub"] = t.grant.subject
	}
	if t.resource != nil {
		v["resource"] = t.resource
	}
	if c.endpoint == UserInfo && s.fake.userClaims != nil {
		v = s.fake.userInfo(t)
	}
	return s.object(c.endpoint, v)
}

// authorized returns the access token that an API request comes with, or
// refuses the request.
func (s *Server) authorized(c *call) (*issuedAccess, *Answer) {
	token := bearerToken(c.r)
	if s.fake.bearer != nil {
		token = s.fake.bearer(c.r)
	}
	s.mu.Lock()
	t, ok := s.state.access[token]
	ok = ok && t.valid(s.now()) && (t.certificate == nil || t.certificate.Equal(certificateOf(c.r)))
	s.mu.Unlock()
	if ok && c.endpoint == UserInfo && c.route == nil && (t.grant == nil || !slices.Contains(t.scopes, "openid")) {
		if s.fake.noOpenID != nil {
			return nil, s.fake.noOpenID()
		}
		ok = false
	}
	switch {
	case !ok && s.fake.unauthorized != nil:
		return nil, s.fake.unauthorized(c, token)
	case !ok:
		a := refusal(http.StatusUnauthorized, "invalid_token", "no valid access token")
		a.Header.Set("WWW-Authenticate", `Bearer realm="providertest", error="invalid_token"`)
		return nil, a
	}
	if s.fake.apiDemand != nil {
		if a := s.fake.apiDemand(s, c, t); a != nil {
			return nil, a
		}
	}
	return t, nil
}

// bearerToken returns the token in the Authorization header, or "".
func bearerToken(r *http.Request) string {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return token
}
