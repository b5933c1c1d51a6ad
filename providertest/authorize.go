package providertest

import (
	"crypto/rand"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// A Consent is what the person at the browser decides when an application asks
// for authorization. The zero Consent gives all that is asked for.
type Consent struct {
	Subject string         // who they are: "sub" of their ID tokens; zero: "user"
	Claims  map[string]any // further claims of their ID tokens, and at the userinfo endpoint

	// Scopes are what is granted, whatever was asked. If nil, it is what was
	// asked.
	Scopes []string

	// Error, if not empty, sends the browser back with this error code, such
	// as "access_denied", and with a description.
	Error, Description string

	// Params replace parameters of the address that the browser is sent back
	// to, or are added to them. One without values is left out.
	Params url.Values
}

// SetConsent decides what is answered to authorization requests from now on.
func (s *Server) SetConsent(c Consent) {
	c.Claims = maps.Clone(c.Claims)
	c.Scopes = slices.Clone(c.Scopes)
	c.Params = maps.Clone(c.Params)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.consent = c
}

// An issuedCode is an authorization code, and what it is worth.
type issuedCode struct {
	client, redirect string
	challenge        string
	nonce            string
	subject          string
	claims           map[string]any
	scopes           []string
	offline          bool
	authTime         time.Time // by the clock of the test
	expires          time.Time
	used             bool
	grant            *userGrant // what it was exchanged for
	asked            url.Values // the authorization request
}

// serveAuthorization answers an authorization request (RFC 6749, section
// 4.1.1) as if a person had seen a page and pressed a button.
func (s *Server) serveAuthorization(c *call) *Answer {
	q := c.form
	if c.r.Method == http.MethodGet {
		var err error
		if q, err = url.ParseQuery(c.r.URL.RawQuery); err != nil {
			return text(http.StatusBadRequest, "providertest: the query is not well formed")
		}
	}
	for name, values := range q {
		if len(values) > 1 && name != "resource" && name != "audience" {
			return text(http.StatusBadRequest, "providertest: the parameter "+name+" comes more than once")
		}
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	client, ok := s.clients[q.Get("client_id")]
	if !ok {
		return text(http.StatusBadRequest, "providertest: unknown client")
	}
	pushed := q.Has("request_uri")
	if pushed {
		var problem string
		if q, problem = s.pushed(q); problem != "" {
			return text(http.StatusBadRequest, "providertest: "+problem)
		}
	}
	redirect, ok := client.redirect(q)
	if !ok {
		return text(http.StatusBadRequest, "providertest: the redirect address is not registered")
	}

	problem, description := s.authorizationProblem(q, &client)
	if s.policy.RequirePAR && !pushed {
		problem, description = "invalid_request", "only pushed authorization requests"
	}
	if problem == "" && s.fake.authorize != nil {
		if problem, description = s.fake.authorize(s, q); problem == "" && description != "" {
			return text(http.StatusBadRequest, "providertest: "+description)
		}
	}

	consent := s.consent
	back := url.Values{}
	if q.Has("state") {
		back.Set("state", q.Get("state"))
	}
	if announced, _ := s.document["authorization_response_iss_parameter_supported"].(bool); announced {
		back.Set("iss", s.issuerFor(consent.Claims))
	}
	if problem != "" {
		back.Set("error", problem)
		back.Set("error_description", description)
	} else if consent.Error != "" {
		back.Set("error", consent.Error)
		if consent.Description != "" {
			back.Set("error_description", consent.Description)
		}
	} else {
		back.Set("code", s.newCode(q, redirect))
	}
	if s.fake.callback != nil {
		s.fake.callback(s, &client, q, back)
	}
	for name, values := range consent.Params {
		back[name] = values
	}

	separator := "?"
	if strings.Contains(redirect, "?") {
		separator = "&"
	}
	return &Answer{http.StatusFound, http.Header{
		"Location":      {redirect + separator + back.Encode()},
		"Cache-Control": {"no-store"},
	}, nil}
}

// redirect returns the address to which an authorization request sends the
// browser back, and whether it is the client's.
func (c *Client) redirect(asked url.Values) (address string, ok bool) {
	address = asked.Get("redirect_uri")
	if !asked.Has("redirect_uri") && len(c.RedirectURLs) == 1 {
		address = c.RedirectURLs[0]
	}
	u, err := url.Parse(address)
	return address, err == nil && u.IsAbs() && !strings.Contains(address, "#") &&
		(c.RedirectURLs == nil || slices.Contains(c.RedirectURLs, address))
}

// authorizationProblem says why a request cannot be granted, or "". The
// Server is locked.
func (s *Server) authorizationProblem(q url.Values, client *Client) (code, description string) {
	challenge, method := q.Get("code_challenge"), q.Get("code_challenge_method")
	switch {
	case q.Get("response_type") != "code":
		return "unsupported_response_type", "only code"
	case client.Grants != nil && !slices.Contains(client.Grants, "authorization_code"):
		return "unauthorized_client", "not for this client"
	case challenge == "" && (method != "" || s.policy.RequirePKCE || client.public()):
		return "invalid_request", "a code challenge is required"
	case challenge != "" && method != "S256":
		return "invalid_request", "the code challenge method must be S256"
	case challenge != "" && !isVerifier(challenge):
		return "invalid_request", "the code challenge is not well formed"
	}
	for _, scope := range s.fake.split(q.Get("scope")) {
		if strings.Contains(scope, " ") {
			return "invalid_scope", "no such scope: " + scope
		}
		if client.Scopes != nil && !slices.Contains(client.Scopes, scope) {
			return "invalid_scope", "not for this client: " + scope
		}
	}
	return "", ""
}

// newCode notes what was granted, and returns the code for it. The Server is
// locked.
func (s *Server) newCode(q url.Values, redirect string) string {
	now := s.now()
	lifetime := s.policy.CodeLifetime
	if lifetime == 0 {
		lifetime = time.Minute
	}
	c := &issuedCode{
		client:    q.Get("client_id"),
		redirect:  redirect,
		challenge: q.Get("code_challenge"),
		nonce:     q.Get("nonce"),
		subject:   s.consent.Subject,
		claims:    s.consent.Claims,
		scopes:    s.consent.Scopes,
		authTime:  now.Add(-s.offset),
		expires:   now.Add(lifetime),
		asked:     q,
	}
	if c.subject == "" {
		c.subject = "user"
	}
	if c.scopes == nil {
		c.scopes = s.fake.split(q.Get("scope"))
		if s.fake.registered != nil {
			c.scopes = s.fake.registered
		}
	}
	who := [2]string{c.client, c.subject}
	switch {
	case s.policy.Offline == OfflineAlways:
		c.offline = true
	case s.policy.Offline == OfflineAccess:
		asked := slices.Contains(strings.Fields(q.Get("prompt")), "consent")
		c.offline = q.Get("access_type") == "offline" && (asked || !s.state.consented[who])
	case s.fake.offline != nil:
		c.offline = s.fake.offline(q, c.scopes)
	default:
		c.offline = slices.Contains(c.scopes, "offline_access")
	}
	s.state.consented[who] = true

	value := "code-" + rand.Text()
	s.state.codes[value] = c
	s.sweep(now)
	return value
}

// isVerifier reports whether s has the form of a code verifier or challenge
// (RFC 7636, section 4.1).
func isVerifier(s string) bool {
	if len(s) < 43 || len(s) > 128 {
		return false
	}
	return !strings.ContainsFunc(s, func(r rune) bool {
		return !('0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || strings.ContainsRune("-._~", r))
	})
}
