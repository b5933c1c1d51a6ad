package providertest

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// maxSpent is how many replaced refresh tokens of a grant are remembered, so
// that their reuse is noticed.
const maxSpent = 1000

// A state is what a Server has issued.
type state struct {
	codes      map[string]*issuedCode
	access     map[string]*issuedAccess
	refresh    map[string]*issuedRefresh
	consented  map[[2]string]bool         // client and subject
	pushed     map[string]*pushedRequest  // by request_uri
	assertions map[[2]string]time.Time    // when those that were used end, by client and jti
	grants     map[[2]string][]*userGrant // of fakes that limit them, oldest first
	sweepAt    int                        // the number of records at which to sweep next
}

func newState() state {
	return state{
		codes:      make(map[string]*issuedCode),
		access:     make(map[string]*issuedAccess),
		refresh:    make(map[string]*issuedRefresh),
		consented:  make(map[[2]string]bool),
		pushed:     make(map[string]*pushedRequest),
		assertions: make(map[[2]string]time.Time),
		grants:     make(map[[2]string][]*userGrant),
		sweepAt:    1000,
	}
}

// A userGrant is what a person has given to a client: a family of refresh
// tokens, and the access tokens that came with them.
type userGrant struct {
	client, subject string
	claims          map[string]any
	scopes          []string
	authTime        time.Time  // by the clock of the test
	began           time.Time  // by the clock of the Server
	asked           url.Values // the authorization request
	used            int        // the newest refresh token that was used, by its number
	part            string     // which of several that came of one code, in a fake; "": the first
	dead            bool
	epoch           int      // of the access tokens that are valid
	current         string   // the refresh token that was issued last
	spent           []string // those before it
	resource        []string // what its first access token is for
}

// An issuedAccess is an access token.
type issuedAccess struct {
	client      string
	grant       *userGrant // nil: the client's own
	epoch       int
	scopes      []string
	resource    []string          // the parameters resource, unless the policy ignores them
	certificate *x509.Certificate // that must come with it; nil: none
	expires     time.Time
	revoked     bool
}

func (a *issuedAccess) valid(now time.Time) bool {
	return !a.revoked && now.Before(a.expires) && (a.grant == nil || !a.grant.dead && a.grant.epoch == a.epoch)
}

// An issuedRefresh is a refresh token.
type issuedRefresh struct {
	grant   *userGrant
	number  int // in its grant, from 1
	issued  time.Time
	expires time.Time // zero: never
	spent   time.Time // when it was replaced; zero: it was not
	answer  *issue    // what was given for it then
}

func (r *issuedRefresh) ended(now time.Time) bool {
	return r.grant.dead || !r.expires.IsZero() && !now.Before(r.expires)
}

// sweep forgets what has ended, now and then. The Server is locked.
func (s *Server) sweep(now time.Time) {
	st := &s.state
	if st.size() < st.sweepAt {
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
	for uri, p := range st.pushed {
		if !now.Before(p.expires) {
			delete(st.pushed, uri)
		}
	}
	for id, ends := range st.assertions {
		if !now.Add(-s.offset).Before(ends) {
			delete(st.assertions, id)
		}
	}
	st.sweepAt = 1000 + 2*st.size()
}

// size returns the number of records that sweep looks at.
func (st *state) size() int {
	return len(st.codes) + len(st.access) + len(st.refresh) + len(st.pushed) + len(st.assertions)
}

// An issue is an answer to a token request that is being made.
type issue struct {
	client      *Client
	grant       *userGrant
	access      string // "": to be made
	refresh     string
	ends        time.Time // of the refresh token; zero: never
	scopes      []string
	resource    []string
	certificate *x509.Certificate // that the access token is bound to; nil: none
	lifetime    time.Duration
	at          time.Time
	dated       time.Time // the same, by the clock of the test
	nonce       string
	idToken     bool
	keep        bool   // the refresh token is not replaced, whatever the policy
	second      *issue // of another token in the same answer, by a fake
}

// serveToken answers a token request (RFC 6749, section 3.2).
func (s *Server) serveToken(c *call) *Answer {
	is, a := s.exchange(c)
	if a != nil {
		a = s.refused(c, a)
	} else {
		a = s.tokenAnswer(c, is)
	}
	if s.fake.encode != nil {
		a = s.fake.encode(c, a)
	}
	return a
}

// refused puts a refusal in the words of the provider, and records it.
func (s *Server) refused(c *call, a *Answer) *Answer {
	var v struct {
		Error       string `json:"error"`
		Description string `json:"error_description"`
	}
	json.Unmarshal(a.Body, &v) // no error: refusals are made here
	if s.fake.refuse != nil {
		a = s.fake.refuse(c, refused{a.Status, v.Error, v.Description})
	}
	if c.request != nil {
		s.decided(c, a.Status, v.Error)
	}
	return a
}

// tokenAnswer answers a token request that is granted.
func (s *Server) tokenAnswer(c *call, is *issue) *Answer {
	s.decided(c, http.StatusOK, "")
	v := map[string]any{
		"access_token": is.access,
		"token_type":   "Bearer",
		"expires_in":   int64(is.lifetime / time.Second),
		"scope":        strings.Join(is.scopes, " "),
	}
	if is.refresh != "" {
		v["refresh_token"] = is.refresh
	}
	if is.idToken && s.Issuer() != "" {
		v["id_token"] = s.idToken(is)
	}
	if s.fake.answer != nil {
		s.fake.answer(s, c, is, v)
	}
	return s.object(Token, v)
}

// exchange decides about a token request. What it issues is valid, whether the
// client gets the answer or not.
func (s *Server) exchange(c *call) (is *issue, refused *Answer) {
	if problem := c.bodyProblem(s.fake.body); problem != "" {
		return nil, refusal(http.StatusBadRequest, "invalid_request", problem)
	}
	if s.fake.demand != nil {
		if a := s.fake.demand(c); a != nil {
			return nil, a
		}
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
	grants := s.fake.grants
	if grants == nil {
		grants = codeAndRefresh()
		grants["client_credentials"] = (*Server).clientCredentials
	}
	decide, ok := grants[grantType]
	if why := s.resourceProblem(c, grantType); ok && why != "" {
		return nil, refusal(http.StatusBadRequest, "invalid_target", why)
	}
	if s.policy.BindTokens && (c.request.AuthMethod == tlsClientAuth || c.request.AuthMethod == selfSignedTLSClientAuth) {
		is.certificate = cred.certificate
	}
	if s.policy.Resource != "" {
		is.resource = c.form["resource"]
	}
	switch {
	case ok:
		a = decide(s, c, is)
	case grantType == "":
		a = refusal(http.StatusBadRequest, "invalid_request", "the parameter grant_type is missing")
	default:
		a = refusal(http.StatusBadRequest, "unsupported_grant_type", "not here")
	}
	if a != nil {
		return nil, a
	}
	if g := is.grant; g != nil {
		if g.resource == nil {
			g.resource = is.resource
		}
		if is.resource == nil {
			is.resource = g.resource
		}
	}
	s.mint(is)
	s.sweep(is.at)

	c.request.IssuedAccess = Fingerprint(is.access)
	if is.refresh != "" {
		c.request.IssuedRefresh = Fingerprint(is.refresh)
	}
	return is, nil
}

// mint makes the access token of an issue, unless it has one that exists.
func (s *Server) mint(is *issue) {
	if is.access == "" {
		is.access = "access-" + rand.Text()
	}
	if _, ok := s.state.access[is.access]; ok {
		return
	}
	t := &issuedAccess{client: is.client.ID, grant: is.grant, scopes: is.scopes, resource: is.resource,
		certificate: is.certificate, expires: is.at.Add(is.lifetime)}
	if is.grant != nil {
		t.epoch = is.grant.epoch
	}
	s.state.access[is.access] = t
}

// clientCredentials is RFC 6749, section 4.4.
func (s *Server) clientCredentials(c *call, is *issue) *Answer {
	if is.client.public() {
		return refusal(http.StatusBadRequest, "unauthorized_client", "not for public clients")
	}
	is.scopes = s.fake.split(c.form.Get("scope"))
	if s.fake.registered != nil {
		is.scopes = s.fake.registered
	}
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
		return refused(whyRedirect)
	case code.challenge == "" && verifier != "":
		// RFC 9700, section 2.1.1: else PKCE could be stripped off.
		return refused("a code verifier without a code challenge")
	case code.challenge != "" && (!isVerifier(verifier) || !challengeFits(code.challenge, verifier)):
		return refused(whyVerifier)
	}

	g := &userGrant{client: code.client, subject: code.subject, claims: code.claims, scopes: code.scopes,
		authTime: code.authTime, began: is.at, asked: code.asked}
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
	r := &issuedRefresh{grant: g, number: 1, issued: is.at}
	if last, ok := s.state.refresh[g.current]; ok {
		r.number = last.number + 1
	}
	if s.policy.RefreshLifetime > 0 {
		r.expires = is.at.Add(s.policy.RefreshLifetime)
	}
	if end := g.began.Add(s.policy.GrantLifetime); s.policy.GrantLifetime > 0 && (r.expires.IsZero() || end.Before(r.expires)) {
		r.expires = end
	}
	is.ends = r.expires
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
		return refused(whyUnknownRefresh)
	}
	g := r.grant
	c.request.Subject = g.subject
	if !r.spent.IsZero() {
		c.request.Reuse = true
		s.log.reuses++
	}
	switch {
	case r.ended(is.at):
		return refused(whyEnded)
	case !s.accepts(r, is.at):
		if s.policy.Rotation == RotateStrict || s.policy.Rotation == RotateGrace {
			g.dead = true
		}
		return refused(whyReplaced)
	case !r.spent.IsZero() && s.policy.Rotation == RotateReplay:
		*is = *r.answer
		return nil
	}

	is.grant, is.scopes = g, g.scopes
	if c.form.Has("scope") && s.fake.registered == nil {
		is.scopes = s.fake.split(c.form.Get("scope"))
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
	is.ends = r.expires
	g.used = max(g.used, r.number)
	if s.policy.Rotation != RotateNever && !is.keep {
		if r.spent.IsZero() {
			r.spent, r.answer = is.at, is
		}
		s.issueRefresh(is)
	}
	return nil
}

// resourceProblem says what is wrong with the parameters resource of a token
// request (RFC 8707), or "". The Server is locked.
func (s *Server) resourceProblem(c *call, grantType string) string {
	resources := c.form["resource"]
	switch {
	case s.policy.Resource == "":
		return ""
	case s.policy.Resource == "required" && len(resources) == 0:
		return "the parameter resource is missing"
	case s.policy.Resource == "exchange" && grantType == "refresh_token" && len(resources) > 0:
		return "the parameter resource is not for refresh tokens"
	}
	for _, resource := range resources {
		if u, err := url.Parse(resource); err != nil || !u.IsAbs() || strings.Contains(resource, "#") {
			return "the resource is not an absolute address without a fragment: " + resource
		}
	}
	return ""
}

// accepts reports whether a refresh token that has not ended may be used, or
// used again.
func (s *Server) accepts(r *issuedRefresh, now time.Time) bool {
	if s.policy.Rotation == RotateOnUse {
		return r.number >= r.grant.used
	}
	if r.spent.IsZero() {
		return true
	}
	switch s.policy.Rotation {
	case RotateKeep, RotateNever:
		return true
	case RotateGrace, RotateReplay:
		return now.Sub(r.spent) <= s.policy.Grace
	case RotateRefuse:
		return now.Sub(r.spent) < s.policy.Grace
	}
	return false
}

// serveRevocation is RFC 7009.
func (s *Server) serveRevocation(c *call) *Answer {
	a := s.revocation(c)
	if a.Status != http.StatusOK {
		a = s.refused(c, a)
	}
	return a
}

func (s *Server) revocation(c *call) *Answer {
	if problem := c.bodyProblem(s.fake.body); problem != "" {
		return refusal(http.StatusBadRequest, "invalid_request", problem)
	}
	if s.fake.demand != nil {
		if a := s.fake.demand(c); a != nil {
			return a
		}
	}
	cred := readCredentials(c.r, c.form)

	s.mu.Lock()
	defer s.mu.Unlock()
	token := c.form.Get("token")
	if !s.fake.openRevocation {
		client, a := s.authenticate(cred)
		if a != nil {
			return a
		}
		if of := s.clientOf(token); of != "" && of != client.ID {
			return refusal(http.StatusBadRequest, "unauthorized_client", "another client's token")
		}
	}
	if token == "" {
		return refusal(http.StatusBadRequest, "invalid_request", "the parameter token is missing")
	}
	if _, ok := s.state.access[token]; ok && s.policy.RevokeRefreshOnly {
		return refusal(http.StatusBadRequest, "unsupported_token_type", "only refresh tokens are revoked here")
	}
	if live := s.revoke(token); !live && s.policy.RevokeRefusesEnded {
		return refusal(http.StatusBadRequest, "invalid_token", "the token has expired or was revoked")
	}
	return &Answer{Status: http.StatusOK, Header: http.Header{"Cache-Control": {"no-store"}}}
}

// clientOf returns the client that has a token, or "". The Server is locked.
func (s *Server) clientOf(token string) string {
	if r, ok := s.state.refresh[token]; ok {
		return r.grant.client
	}
	if t, ok := s.state.access[token]; ok {
		return t.client
	}
	return ""
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
	return s.endGrants(func(g *userGrant) bool { return g.subject == subject })
}

// endGrants ends the grants that are meant, and returns their number. The
// persons will be asked for consent again. The Server is locked.
func (s *Server) endGrants(meant func(g *userGrant) bool) int {
	n := 0
	end := func(g *userGrant) {
		if g != nil && meant(g) && !g.dead {
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
		if meant(&userGrant{client: who[0], subject: who[1]}) {
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
