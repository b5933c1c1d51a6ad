package authprofile

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync/atomic"

	"golang.org/x/oauth2"
)

// Client returns an HTTP client that sends a valid token with each request.
//
// The token goes only to the origin (scheme, host and port) that the request
// was made to, never along with a redirect to another one, and never over
// plain HTTP except to a loopback host. If the API answers 401, the request is
// repeated once with a different token, provided that there is one and that
// the body can be sent again (it is empty, or the request has GetBody).
//
// Of ctx only the values are kept: waiting for a token, and the request itself,
// end with the request's own context. Transport, redirect policy, cookies and
// timeout are those of Manager.HTTPClient; if that is nil, an API may take as
// long as the request's context lasts.
func (m *Manager) Client(ctx context.Context, p *Profile, opts ...Option) *http.Client {
	var c http.Client
	if m.HTTPClient != nil {
		c = *m.HTTPClient
	}
	src := m.newSource(ctx, p, opts)
	c.Transport = &authTransport{src: src, base: src.e.http.Transport}
	return &c
}

// An authTransport puts a token into requests.
type authTransport struct {
	src    *grantSource
	base   http.RoundTripper
	header atomic.Pointer[authHeader]
}

// Format writes what the transport is for, and nothing of what lies under it.
func (t *authTransport) Format(f fmt.State, verb rune) { fmt.Fprintf(f, "Transport(%q)", t.src.id) }

// An authHeader is the value of the Authorization header for a token, kept
// because the token outlives many requests.
type authHeader struct {
	tok   *oauth2.Token
	value []string
}

func (t *authTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	if !sameOriginThroughout(req) {
		return t.roundTrip(req, req)
	}
	if u := req.URL; u.Scheme != "https" && !(u.Scheme == "http" && isLoopback(u.Hostname())) {
		closeBody(req)
		return nil, wrap("client", t.src.id, t.src.opts.user, errors.New("a token is not sent over plain HTTP"))
	}
	tok, err := t.token(req, t.src.opts.rejected)
	if err != nil {
		closeBody(req)
		return nil, err
	}
	resp, err := t.roundTrip(req, t.with(req, tok, req.Body))
	if err != nil || resp.StatusCode != http.StatusUnauthorized {
		return resp, err
	}

	body := req.Body
	if body != nil && body != http.NoBody {
		if req.GetBody == nil {
			return resp, nil
		}
		if body, err = req.GetBody(); err != nil {
			return resp, nil
		}
	}
	other, err := t.src.tokenFor(req.Context(), tok.AccessToken)
	if err != nil {
		if body != nil {
			body.Close()
		}
		return resp, nil // the API's own answer says more than ours
	}
	io.Copy(io.Discard, io.LimitReader(resp.Body, 4<<10)) // so that the connection can be used again
	resp.Body.Close()
	return t.roundTrip(req, t.with(req, other, body))
}

// roundTrip sends a copy of req. The response says that it answers req itself:
// that has no token in it for others to find, and it is how a redirect tells
// where it comes from.
func (t *authTransport) roundTrip(req, sent *http.Request) (*http.Response, error) {
	resp, err := t.base.RoundTrip(sent)
	if resp != nil {
		resp.Request = req
	}
	return resp, err
}

func (t *authTransport) token(req *http.Request, rejected string) (*oauth2.Token, error) {
	if tok := t.src.slot.Load().hot.Load(); tok != nil {
		return tok, nil
	}
	return t.src.tokenFor(req.Context(), rejected)
}

// with returns a copy of the request with the token.
func (t *authTransport) with(req *http.Request, tok *oauth2.Token, body io.ReadCloser) *http.Request {
	h := t.header.Load()
	if h == nil || h.tok != tok {
		h = &authHeader{tok: tok, value: []string{tok.Type() + " " + tok.AccessToken}}
		t.header.Store(h)
	}
	c := new(http.Request)
	*c = *req
	c.Body = body
	c.Header = make(http.Header, len(req.Header)+1)
	for name, values := range req.Header {
		c.Header[name] = values
	}
	c.Header["Authorization"] = h.value
	return c
}

// sameOriginThroughout reports whether the request, and all before it whose
// redirects have led to it, go to the same origin. Once a chain has left its
// origin it gets no token any more, even if it comes back.
func sameOriginThroughout(req *http.Request) bool {
	for r := req; r.Response != nil && r.Response.Request != nil; {
		before := r.Response.Request
		if !sameOrigin(before.URL, req.URL) {
			return false
		}
		r = before
	}
	return true
}

func sameOrigin(a, b *url.URL) bool {
	return a.Scheme == b.Scheme && (a.Host == b.Host || origin(a) == origin(b))
}

// closeBody does what a RoundTripper must do even if it fails.
func closeBody(req *http.Request) {
	if req.Body != nil {
		req.Body.Close()
	}
}
