package providertest

import (
	"crypto/rand"
	"maps"
	"net/http"
	"net/url"
	"time"
)

// pushedLifetime is how long a pushed authorization request can be used.
const pushedLifetime = time.Minute

// A pushedRequest is an authorization request that was pushed.
type pushedRequest struct {
	asked   url.Values
	expires time.Time
}

// servePAR takes an authorization request (RFC 9126, section 2).
func (s *Server) servePAR(c *call) *Answer {
	uri, refused := s.push(c)
	if refused != nil {
		return refused
	}
	a := s.object(PAR, map[string]any{"request_uri": uri, "expires_in": int64(pushedLifetime / time.Second)})
	if a.Status == http.StatusOK {
		a.Status = http.StatusCreated
	}
	return a
}

// push keeps an authorization request, and returns its request_uri.
func (s *Server) push(c *call) (uri string, refused *Answer) {
	if problem := c.bodyProblem(formBody); problem != "" {
		return "", refusal(http.StatusBadRequest, "invalid_request", problem)
	}
	cred := readCredentials(c.r, c.form)

	s.mu.Lock()
	defer s.mu.Unlock()
	client, a := s.authenticate(cred)
	if a != nil {
		return "", a
	}
	asked := maps.Clone(c.form)
	for _, name := range []string{"client_secret", "client_assertion", "client_assertion_type"} {
		delete(asked, name)
	}
	switch {
	case asked.Get("client_id") != client.ID:
		return "", refusal(http.StatusBadRequest, "invalid_request", "the parameter client_id is not the client")
	case asked.Has("request_uri"):
		return "", refusal(http.StatusBadRequest, "invalid_request", "the parameter request_uri must not be pushed")
	}
	if _, ok := client.redirect(asked); !ok {
		return "", refusal(http.StatusBadRequest, "invalid_request", "the redirect address is not registered")
	}
	if problem, description := s.authorizationProblem(asked, client); problem != "" {
		return "", refusal(http.StatusBadRequest, problem, description)
	}
	now := s.now()
	uri = "urn:ietf:params:oauth:request_uri:" + rand.Text()
	s.state.pushed[uri] = &pushedRequest{asked, now.Add(pushedLifetime)}
	s.sweep(now)
	return uri, nil
}

// pushed returns the pushed request that an authorization request stands for,
// which is then used, or says why there is none. The Server is locked.
func (s *Server) pushed(q url.Values) (asked url.Values, problem string) {
	uri := q.Get("request_uri")
	p, ok := s.state.pushed[uri]
	switch {
	case len(q) > 2: // beside client_id, which is known to be there
		return nil, "other parameters beside client_id and request_uri"
	case !ok:
		return nil, "the request_uri is unknown, or was used before"
	case p.asked.Get("client_id") != q.Get("client_id"):
		return nil, "the request_uri is another client's"
	}
	delete(s.state.pushed, uri)
	if !s.now().Before(p.expires) {
		return nil, "the request_uri has expired"
	}
	return p.asked, ""
}
