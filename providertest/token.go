package providertest

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"net/http"
	"slices"
	"strings"
	"time"
)

// maxSpent is how many replaced refresh tokens of a grant are remembered, so
// that their reuse is noticed.
const maxSpent = 1000

// A state is what a Server has issued.
type state struct {
	codes     map[string]*issuedCode
	access    map[string]*issuedAccess
	refresh   map[string]*issuedRefresh
	consented map[[2]string]bool // client and subject
	sweepAt   int                // the number of records at which to sweep next
}

func newState() state {
	return state{
		codes:     make(map[string]*issuedCode),
		access:    make(map[string]*issuedAccess),
		refresh:   make(map[string]*issuedRefresh),
		consented: make(map[[2]string]bool),
		sweepAt:   1000,
	}
}

// A userGrant is what a person has given to a client: a family of refresh
// tokens, and the access tokens that came with them.
type userGrant struct {
	client, subject string
	claims          map[string]any
	scopes          []string
	authTime        time.Time // by the clock of the test
	dead            bool
	epoch           int      // of the access tokens that are valid
	current         string   // the refresh token that was issued last
	spent           []string // those before it
}

// An issuedAccess is an access token.
type issuedAccess struct {
	client  string
	grant   *userGrant // nil: the client's own
	epoch   int
	scopes  []string
	expires time.Time
	revoked bool
}

func (a *issuedAccess) valid(now time.Time) bool {
	return !a.revoked && now.Before(a.expires) && (a.grant == nil || !a.grant.dead && a.grant.epoch == a.epoch)
}

// An issuedRefresh is a refresh token.
type issuedRefresh struct {
	grant   *userGrant
	expires time.Time // zero: never
	spent   time.Time // when it was replaced; zero: it was not
}

func (r *issuedRefresh) ended(now time.Time) bool {
	return r.grant.dead || !r.expires.IsZero() && !now.Before(r.expires)
}

// sweep forgets what has ended, now and then. The Server is locked.
func (s *Server) sweep(now time.Time) {
	st := &s.state
	if len(st.codes)+len(st.access)+len(st.refresh) < st.sweepAt {
		return
	}
	for v, c := range st.codes {
		// A code is kept for a while after its end, so that its reuse is noticed.
		if now.After(c.expires.Add(time.Hour)) {
			delete(st.codes, v)
		}
	}
	for v, a := range st.access {
		if !a.valid(now) {
			delete(st.access, v)
		}
	}
	for v, r := range st.refresh {
		if r.ended(now) {
			delete(st.refresh, v)
		}
	}
	st.sweepAt = 1000 + 2*(len(st.codes)+len(st.access)+len(st.refresh))
}

// An issue is an answer to a token request that is being made.
type issue struct {
	client   *Client
	grant    *userGrant
	access   string
	refresh  string
	scopes   []string
	lifetime time.Duration
	at       time.Time
	dated    time.Time // the same, by the clock of the test
	nonce    string
	idToken  bool
}

// serveToken answers a token request (RFC 6749, section 3.2).
func (s *Server) serveToken(c *call) *Answer {
	is, a := s.exchange(c)
	s.decided(c, a)
	if a != nil {
		return a
	}
	v := map[string]any{
		"access_token": is.access,
		"token_type":   "Bearer",
		"expires_in":   int64(is.lifetime / time.Second),
		"scope":        strings.Join(is.scopes, " "),
	}
	if is.refresh != "" {
		v["refresh_token"] = is.refresh
	}
	if is.idToken {
		v["id_token"] = s.idToken(is)
	}
	return s.object(Token, v)
}

// exchange decides about a token request. What it issues is valid, whether the
// client gets the answer or not.
func (s *Server) exchange(c *call) (is *issue, refused *Answer) {
	if problem := c.formProblem(); problem != "" {
		return nil, refusal(http.StatusBadRequest, "invalid_request", problem)
	}
	cred := readCredentials(c.r, c.form)

	s.mu.Lock()
	defer s.mu.Unlock()
	client, a := s.authenticate(cred)
	if a != nil {
		return nil, a
	}
	grantType := c.form.Get("grant_type")
	if client.Grants != nil && !slices.Contains(client.Grants, grantType) {
		return nil, refusal(http.StatusBadRequest, "unauthorized_client", "not for this client")
	}
	is = &issue{client: client, at: s.now(), lifetime: s.policy.TokenLifetime}
	is.dated = is.at.Add(-s.offset)
	if is.lifetime == 0 {
		is.lifetime = time.Hour
	}
	switch grantType {
	case "client_credentials":
		a = s.clientCredentials(c, is)
	case "authorization_code":
		a = s.authorizationCode(c, is)
	case "refresh_token":
		a = s.refreshToken(c, is)
	case "":
		a = refusal(http.StatusBadRequest, "invalid_request", "the parameter grant_type is missing")
	default:
		a = refusal(http.StatusBadRequest, "unsupported_grant_type", "not here")
	}
	if a != nil {
		return nil, a
	}

	is.access = "access-" + rand.Text()
	t := &issuedAccess{client: client.ID, grant: is.grant, scopes: is.scopes, expires: is.at.Add(is.lifetime)}
	if is.grant != nil {
		t.epoch = is.grant.epoch
	}
	s.state.access[is.access] = t
	s.sweep(is.at)

	c.request.IssuedAccess = Fingerprint(is.access)
	if is.refresh != "" {
		c.request.IssuedRefresh = Fingerprint(is.refresh)
	}
	return is, nil
}

// clientCredentials is RFC 6749, section 4.4.
func (s *Server) clientCredentials(c *call, is *issue) *Answer {
	if is.client.Secret == "" {
		return refusal(http.StatusBadRequest, "unauthorized_client", "not for public clients")
	}
	is.scopes = strings.Fields(c.form.Get("scope"))
	for _, scope := range is.scopes {
		if is.client.Scopes != nil && !slices.Contains(is.client.Scopes, scope) {
			return refusal(http.StatusBadRequest, "invalid_scope", "not for this client: "+scope)
		}
	}
	return nil
}

// authorizationCode is RFC 6749, section 4.1.3. Whatever is wrong with the
// request, the code is spent by it.
func (s *Server) authorizationCode(c *call, is *issue) *Answer {
	refused := func(why string) *Answer { return refusal(http.StatusBadRequest, "invalid_grant", why) }
	code, ok := s.state.codes[c.form.Get("code")]
	if !ok || code.client != is.client.ID {
		return refused("unknown code")
	}
	c.request.Subject = code.subject
	if code.used {
		// RFC 6749, section 4.1.2: what was issued for it should be revoked.
		if code.grant != nil {
			code.grant.dead = true
		}
		c.request.Reuse = true
		return refused("the code was used before")
	}
	code.used = true
	verifier := c.form.Get("code_verifier")
	switch {
	case !is.at.Before(code.expires):
		return refused("the code has expired")
	case c.form.Get("redirect_uri") != code.redirect:
		return refused("the redirect address is not that of the authorization request")
	case code.challenge == "" && verifier != "":
		// RFC 9700, section 2.1.1: else PKCE could be stripped off.
		return refused("a code verifier without a code challenge")
	case code.challenge != "" && (!isVerifier(verifier) || !challengeFits(code.challenge, verifier)):
		return refused("the code verifier does not fit the code challenge")
	}

	g := &userGrant{client: code.client, subject: code.subject, claims: code.claims, scopes: code.scopes, authTime: code.authTime}
	code.grant = g
	is.grant, is.scopes, is.nonce = g, g.scopes, code.nonce
	is.idToken = slices.Contains(is.scopes, "openid")
	if code.offline {
		s.issueRefresh(is)
	}
	return nil
}

func challengeFits(challenge, verifier string) bool {
	sum := sha256.Sum256([]byte(verifier))
	return subtle.ConstantTimeCompare([]byte(base64.RawURLEncoding.EncodeToString(sum[:])), []byte(challenge)) == 1
}

// issueRefresh adds a refresh token to an issue.
func (s *Server) issueRefresh(is *issue) {
	g := is.grant
	is.refresh = "refresh-" + rand.Text()
	r := &issuedRefresh{grant: g}
	if s.policy.RefreshLifetime > 0 {
		r.expires = is.at.Add(s.policy.RefreshLifetime)
	}
	s.state.refresh[is.refresh] = r
	if g.current != "" {
		g.spent = append(g.spent, g.current)
	}
	if len(g.spent) > maxSpent {
		delete(s.state.refresh, g.spent[0])
		g.spent = g.spent[1:]
	}
	g.current = is.refresh
}

// refreshToken is RFC 6749, section 6.
func (s *Server) refreshToken(c *call, is *issue) *Answer {
	refused := func(why string) *Answer { return refusal(http.StatusBadRequest, "invalid_grant", why) }
	r, ok := s.state.refresh[c.form.Get("refresh_token")]
	if !ok || r.grant.client != is.client.ID {
		return refused("unknown refresh token")
	}
	g := r.grant
	c.request.Subject = g.subject
	if !r.spent.IsZero() {
		c.request.Reuse = true
		s.log.reuses++
	}
	switch {
	case r.ended(is.at):
		return refused("the refresh token has ended")
	case !s.accepts(r, is.at):
		if s.policy.Rotation != RotateRefuse {
			g.dead = true
		}
		return refused("the refresh token was used before")
	}

	is.grant, is.scopes = g, g.scopes
	if c.form.Has("scope") {
		is.scopes = strings.Fields(c.form.Get("scope"))
		for _, scope := range is.scopes {
			if !slices.Contains(g.scopes, scope) {
				return refusal(http.StatusBadRequest, "invalid_scope", "not granted: "+scope)
			}
		}
	} else if s.policy.NarrowOnRefresh && len(g.scopes) > 1 {
		is.scopes = g.scopes[:1]
	}
	is.idToken = slices.Contains(is.scopes, "openid") && !s.policy.NoIDTokenOnRefresh

	if s.policy.EndAccessOnRefresh {
		g.epoch++
	}
	if s.policy.Rotation != RotateNever {
		if r.spent.IsZero() {
			r.spent = is.at
		}
		s.issueRefresh(is)
	}
	return nil
}

// accepts reports whether a refresh token that has not ended may be used, or
// used again.
func (s *Server) accepts(r *issuedRefresh, now time.Time) bool {
	if r.spent.IsZero() {
		return true
	}
	switch s.policy.Rotation {
	case RotateKeep, RotateNever:
		return true
	case RotateGrace:
		return now.Sub(r.spent) <= s.policy.Grace
	}
	return false
}

// serveRevocation is RFC 7009.
func (s *Server) serveRevocation(c *call) *Answer {
	if problem := c.formProblem(); problem != "" {
		return refusal(http.StatusBadRequest, "invalid_request", problem)
	}
	cred := readCredentials(c.r, c.form)

	s.mu.Lock()
	defer s.mu.Unlock()
	client, a := s.authenticate(cred)
	if a != nil {
		return a
	}
	token := c.form.Get("token")
	if token == "" {
		return refusal(http.StatusBadRequest, "invalid_request", "the parameter token is missing")
	}
	if r, ok := s.state.refresh[token]; ok && r.grant.client != client.ID {
		return refusal(http.StatusBadRequest, "unauthorized_client", "another client's token")
	}
	if t, ok := s.state.access[token]; ok && t.client != client.ID {
		return refusal(http.StatusBadRequest, "unauthorized_client", "another client's token")
	}
	if _, ok := s.state.access[token]; ok && s.policy.RevokeRefreshOnly {
		return refusal(http.StatusBadRequest, "unsupported_token_type", "only refresh tokens are revoked here")
	}
	if live := s.revoke(token); !live && s.policy.RevokeRefusesEnded {
		return refusal(http.StatusBadRequest, "invalid_token", "the token has expired or was revoked")
	}
	return &Answer{Status: http.StatusOK, Header: http.Header{"Cache-Control": {"no-store"}}}
}

// revoke ends a token, and the grant of a refresh token. It reports whether
// the token was in force. The Server is locked.
func (s *Server) revoke(token string) bool {
	now := s.now()
	if r, ok := s.state.refresh[token]; ok {
		live := !r.ended(now)
		r.grant.dead = true
		return live
	}
	t, ok := s.state.access[token]
	if !ok {
		return false
	}
	live := t.valid(now)
	t.revoked = true
	if t.grant != nil && s.policy.RevokeEndsGrant {
		t.grant.dead = true
	}
	return live
}

// Revoke ends an access token, so that the API refuses it, or the whole grant
// of a refresh token. It reports whether the token was in force.
func (s *Server) Revoke(token string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.revoke(token)
}

// RevokeUser ends all that a subject has granted, as people do on the
// provider's own pages. It returns the number of grants that it ended.
func (s *Server) RevokeUser(subject string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	end := func(g *userGrant) {
		if g != nil && g.subject == subject && !g.dead {
			g.dead = true
			n++
		}
	}
	for _, r := range s.state.refresh {
		end(r.grant)
	}
	for _, t := range s.state.access {
		end(t.grant)
	}
	for who := range s.state.consented {
		if who[1] == subject {
			delete(s.state.consented, who)
		}
	}
	return n
}

// IsLive reports whether a refresh token would be accepted now.
func (s *Server) IsLive(refreshToken string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, ok := s.state.refresh[refreshToken]
	now := s.now()
	return ok && !r.ended(now) && s.accepts(r, now)
}

// IsCurrent reports whether a refresh token would be accepted now, and is the
// last one that was issued for its grant: what a client should have stored.
func (s *Server) IsCurrent(refreshToken string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, ok := s.state.refresh[refreshToken]
	return ok && !r.ended(s.now()) && r.grant.current == refreshToken
}

// serveAPI answers requests with a valid access token (RFC 6750), and refuses
// others.
func (s *Server) serveAPI(c *call) *Answer {
	scheme, token, _ := strings.Cut(c.r.Header.Get("Authorization"), " ")
	s.mu.Lock()
	t, ok := s.state.access[token]
	ok = ok && strings.EqualFold(scheme, "Bearer") && t.valid(s.now())
	if ok && c.endpoint == UserInfo {
		ok = t.grant != nil && slices.Contains(t.scopes, "openid")
	}
	s.mu.Unlock()
	if !ok {
		a := refusal(http.StatusUnauthorized, "invalid_token", "no valid access token")
		a.Header.Set("WWW-Authenticate", `Bearer realm="providertest", error="invalid_token"`)
		return a
	}
	v := map[string]any{"client_id": t.client, "scope": strings.Join(t.scopes, " ")}
	if t.grant != nil {
		v["sub"] = t.grant.subject
	}
	return s.object(c.endpoint, v)
}
