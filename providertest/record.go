package providertest

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strings"
	"time"
)

// How many requests are recorded. Older ones are forgotten, but stay counted.
const (
	maxRequests      = 20_000
	maxCaptured      = 20_000
	maxCapturedBytes = 32 << 20
)

// A Request is what is recorded of a request to the token endpoint. Codes and
// tokens appear as fingerprints; see [Fingerprint].
type Request struct {
	Time       time.Time // by the clock of the Server
	Grant      string    // the parameter grant_type
	ClientID   string
	AuthMethod string // as in [Client]; "" if contradictory
	Subject    string // whose code or refresh token it was
	Scope      string // the parameter scope
	Resource   string // the parameters resource, separated by spaces
	Presented  string // the code or refresh token that came
	Reuse      bool   // it had been used, or replaced, before

	Status        int    // as the Server decided; zero if a fault kept it from deciding
	Error         string // why it refused, as RFC 6749 calls it, whatever the provider does
	IssuedAccess  string
	IssuedRefresh string
	Faulted       bool // a fault struck: the client may have seen something else
}

// A Captured is a request as it came, to any address.
type Captured struct {
	Endpoint Endpoint // "" if it was none
	Method   string
	URL      string
	Header   http.Header
	Body     string
}

type record struct {
	hits, active, peak map[Endpoint]int
	grants             map[string]int
	reuses             int
	requests           []*Request
	captured           []Captured
	capturedBytes      int
}

// Fingerprint returns a short hash, which stands for a token where the token
// itself must not be, such as in a log.
func Fingerprint(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:6])
}

// Count returns how many requests have reached the token endpoint with a
// grant_type, or in all if it is "". Those that a fault struck are counted.
func (s *Server) Count(grant string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if grant == "" {
		return s.log.hits[Token]
	}
	return s.log.grants[grant]
}

// Hits returns how many requests have reached an endpoint.
func (s *Server) Hits(e Endpoint) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.hits[e]
}

// Peak returns how many requests were at an endpoint at once, at most.
func (s *Server) Peak(e Endpoint) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.peak[e]
}

// Reuses returns how often a refresh token came that had been replaced before.
func (s *Server) Reuses() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.reuses
}

// Requests returns what is recorded of the requests to the token endpoint,
// oldest first.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]Request, len(s.log.requests))
	for i, r := range s.log.requests {
		list[i] = *r
	}
	return list
}

// Captured returns the requests as they came, oldest first, secrets included.
func (s *Server) Captured() []Captured {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Captured(nil), s.log.captured...)
}

// arrive records a request, and finds the fault that waits for it.
func (s *Server) arrive(c *call) {
	address := c.r.URL.String()
	if !c.r.URL.IsAbs() {
		address = "http://" + c.r.Host + c.r.RequestURI
		if c.r.TLS != nil {
			address = "https://" + c.r.Host + c.r.RequestURI
		}
	}
	captured := Captured{c.endpoint, c.r.Method, address, c.r.Header.Clone(), string(c.body)}
	cred := readCredentials(c.r, c.form)

	s.mu.Lock()
	defer s.mu.Unlock()
	l := &s.log
	if l.hits == nil {
		l.hits, l.active, l.peak = make(map[Endpoint]int), make(map[Endpoint]int), make(map[Endpoint]int)
		l.grants = make(map[string]int)
	}
	l.hits[c.endpoint]++
	l.active[c.endpoint]++
	l.peak[c.endpoint] = max(l.peak[c.endpoint], l.active[c.endpoint])

	l.captured = append(l.captured, captured)
	l.capturedBytes += len(captured.Body) + len(captured.URL)
	for len(l.captured) > maxCaptured || l.capturedBytes > maxCapturedBytes {
		l.capturedBytes -= len(l.captured[0].Body) + len(l.captured[0].URL)
		l.captured[0] = Captured{}
		l.captured = l.captured[1:]
	}

	grant := ""
	if c.endpoint == Token {
		grant = c.form.Get("grant_type")
		l.grants[grant]++
		c.request = &Request{
			Time:       s.now(),
			Grant:      grant,
			ClientID:   cred.id,
			AuthMethod: s.methodOf(cred),
			Scope:      c.form.Get("scope"),
			Resource:   strings.Join(c.form["resource"], " "),
		}
		for _, name := range []string{"code", "refresh_token"} {
			if v := c.form.Get(name); v != "" {
				c.request.Presented = Fingerprint(v)
			}
		}
		l.requests = append(l.requests, c.request)
		if len(l.requests) > maxRequests {
			l.requests[0] = nil
			l.requests = l.requests[1:]
		}
	}

	c.fault = s.takeFault(c.endpoint, grant)
	if c.fault != nil && c.request != nil {
		c.request.Faulted = true
	}
}

// decided records what the Server has made of a token request.
func (s *Server) decided(c *call, status int, code string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.request.Status, c.request.Error = status, code
}

func (s *Server) depart(c *call) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.log.active[c.endpoint]--
}
