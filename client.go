package authprofile

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"

	"golang.org/x/oauth2"

	"github.com/authprofile/authprofile/internal/address"
)

// Client returns an HTTP client that sends a valid token with each request.
//
// The token goes only to the origin (scheme, host and port) that the request
// was made to, never along with a redirect to another one, and never over
// plain HTTP except to a loopback host, and only to the profile's APIHosts if it
// has any: a request to another host is an error, which names the profile and the
// host. It is in the header that the provider of a template wants it in, or else
// in Authorization, and headers that its API demands are added to requests that
// lack them.
//
// A token that says it is bound to the profile's certificate (RFC 8705, section
// 3.1), being a JWT with that certificate's x5t#S256 in its claim cnf, is sent over
// connections that present it.
//
// If the API answers 401, the request is repeated once with a different token,
// provided that there is one and that the body can be sent again (it is empty, or
// the request has GetBody). If it cannot, the API's answer is returned, and the next
// request has the different token.
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
	t := &authTransport{src: src, base: src.e.http.Transport, profile: p.Clone()}
	if known, err := src.e.catalog.Lookup(string(p.Template)); err == nil {
		t.api = readAPIHeaders(known.APIHeaders)
	}
	c.Transport = t
	return &c
}

// An authTransport puts a token into requests.
type authTransport struct {
	src     *grantSource
	base    http.RoundTripper
	profile *Profile // as the caller had it
	header  atomic.Pointer[authHeader]

	api apiHeaders

	// refused is the token that the API has refused last, with a request that
	// could not be repeated; nil once there was another.
	refused atomic.Pointer[oauth2.Token]
}

// Format writes what the transport is for, and nothing of what lies under it.
func (t *authTransport) Format(f fmt.State, verb rune) { fmt.Fprintf(f, "Transport(%q)", t.src.id) }

// An authHeader is the value of the header that has a token, kept
// because the token outlives many requests.
type authHeader struct {
	tok   *oauth2.Token
	value []string

	// base carries requests with the token: over the certificate of the profile,
	// if the token is bound to that.
	base http.RoundTripper
}

func (t *authTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	if !sameOriginThroughout(req) {
		return t.roundTrip(t.base, req, req)
	}
	if u := req.URL; u.Scheme != "https" && !(u.Scheme == "http" && address.IsLoopback(u.Hostname())) {
		closeBody(req)
		return nil, wrap("client", t.src.id, t.src.opts.user, errors.New("a token is not sent over plain HTTP"))
	}
	if !address.AllowsHost(t.profile.APIHosts, req.URL) {
		closeBody(req)
		return nil, wrap("client", t.src.id, t.src.opts.user, fmt.Errorf("a token is not sent to %q, which is not one of the profile's APIHosts", req.URL.Host))
	}
	refused := t.refused.Load()
	tok, forced, err := t.token(req, refused)
	if err != nil {
		closeBody(req)
		return nil, err
	}
	sent, base, err := t.with(req, tok, req.Body)
	if err != nil {
		closeBody(req)
		return nil, wrap("client", t.src.id, t.src.opts.user, err)
	}
	resp, err := t.roundTrip(base, req, sent)
	if err != nil {
		return resp, err
	}
	if resp.StatusCode != http.StatusUnauthorized {
		if refused != nil {
			t.refused.CompareAndSwap(refused, nil)
		}
		return resp, nil
	}
	if !forced { // else another token was obtained for this request already
		if body, ok := bodyAgain(req); ok {
			return t.repeat(req, resp, tok, body)
		}
	}
	t.refused.Store(tok)
	return resp, nil
}

// repeat sends req once more, with another token than the one for which it got
// this answer.
func (t *authTransport) repeat(req *http.Request, resp *http.Response, refused *oauth2.Token, body io.ReadCloser) (*http.Response, error) {
	tok, err := t.src.tokenFor(req.Context(), refused.AccessToken)
	if err != nil {
		if body != nil {
			body.Close()
		}
		return resp, nil // the API's own answer says more than ours
	}
	sent, base, err := t.with(req, tok, body)
	if err != nil {
		if body != nil {
			body.Close()
		}
		return resp, nil
	}
	resp.Body.Close() // unread: it may have no end
	return t.roundTrip(base, req, sent)
}

// roundTrip sends a copy of req. The response says that it answers req itself:
// that has no token in it for others to find, and it is how a redirect tells
// where it comes from.
func (t *authTransport) roundTrip(base http.RoundTripper, req, sent *http.Request) (*http.Response, error) {
	resp, err := base.RoundTrip(sent)
	if resp != nil {
		resp.Request = req
	}
	return resp, err
}

// token returns the token for a request: another than the one that an API has
// refused, unless that is nil, or all that there is. It reports whether that
// had to be obtained, and was not in memory.
func (t *authTransport) token(req *http.Request, refused *oauth2.Token) (tok *oauth2.Token, forced bool, err error) {
	entry := t.src.entry.Load()
	if tok := entry.Hot(); tok != nil && (refused == nil || tok.AccessToken != refused.AccessToken) {
		return tok, false, nil
	}
	if refused != nil {
		before := entry.Current()
		if tok, err := t.src.tokenFor(req.Context(), refused.AccessToken); err == nil {
			return tok, before == nil || before.AccessToken != tok.AccessToken, nil
		}
		forced = true // it was tried
	}
	tok, err = t.src.tokenFor(req.Context(), t.src.opts.rejected)
	return tok, forced, err
}

// bodyAgain returns the body of a request that was sent, to be sent once more.
func bodyAgain(req *http.Request) (body io.ReadCloser, ok bool) {
	if req.Body == nil || req.Body == http.NoBody {
		return req.Body, true
	}
	if req.GetBody == nil {
		return nil, false
	}
	body, err := req.GetBody()
	return body, err == nil
}

// with returns a copy of the request with the token, and the transport to send it
// by.
func (t *authTransport) with(req *http.Request, tok *oauth2.Token, body io.ReadCloser) (*http.Request, http.RoundTripper, error) {
	h := t.header.Load()
	if h == nil || h.tok != tok {
		h = &authHeader{tok: tok, value: []string{t.api.value(tok.Type(), tok.AccessToken)}, base: t.base}
		if thumbprint := thumbprintOf(tok.AccessToken); thumbprint != "" {
			base, err := t.src.e.boundTransport(req.Context(), t.profile, thumbprint)
			switch {
			case err != nil && (t.profile.ClientKey != "" || errors.Is(err, ErrConfiguration)):
				return nil, nil, err
			case base != nil:
				h.base = base
			}
			// If the Store is away, the certificate may be one of
			// Manager.HTTPClient. If it is not, the API answers 401, and the next
			// token is looked at anew.
		}
		t.header.Store(h)
	}
	c := new(http.Request)
	*c = *req
	c.Body = body
	c.Header = make(http.Header, len(req.Header)+1)
	for name, values := range req.Header {
		c.Header[name] = values
	}
	t.api.set(c.Header, h.value)
	return c, h.base, nil
}

// sameOriginThroughout reports whether the request, and all before it whose
// redirects have led to it, go to the same origin. Once a chain has left its
// origin it gets no token any more, even if it comes back.
func sameOriginThroughout(req *http.Request) bool {
	for r := req; r.Response != nil && r.Response.Request != nil; {
		before := r.Response.Request
		if !address.SameOrigin(before.URL, req.URL) {
			return false
		}
		r = before
	}
	return true
}

// closeBody does what a RoundTripper must do even if it fails.
func closeBody(req *http.Request) {
	if req.Body != nil {
		req.Body.Close()
	}
}
