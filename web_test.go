package authprofile_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
)

// An api is a transport that stands for all hosts but the provider's. It notes
// what came, and answers what answer says.
type api struct {
	provider http.RoundTripper
	answer   func(r *http.Request) *http.Response

	// forgetful keeps the answers from naming their request, as some
	// RoundTrippers do.
	forgetful bool

	mu   sync.Mutex
	seen []apiCall
}

type apiCall struct {
	url, authorization, body string
	header                   http.Header
}

func (a *api) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Host == "login.example.com" {
		return a.provider.RoundTrip(r)
	}
	c := apiCall{url: r.URL.String(), authorization: r.Header.Get("Authorization"), header: r.Header.Clone()}
	if r.Body != nil {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		r.Body.Close()
		c.body = string(body)
	}
	a.mu.Lock()
	a.seen = append(a.seen, c)
	a.mu.Unlock()
	resp := a.answer(r)
	if resp == nil {
		return nil, errors.New("connection reset")
	}
	if !a.forgetful {
		resp.Request = r
	}
	return resp, nil
}

func (a *api) calls() []apiCall {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.seen)
}

func respond(status int, body string, header ...string) *http.Response {
	resp := &http.Response{StatusCode: status, Status: fmt.Sprint(status), Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body))}
	for i := 0; i < len(header); i += 2 {
		resp.Header.Set(header[i], header[i+1])
	}
	return resp
}

func redirect(status int, to string) *http.Response { return respond(status, "", "Location", to) }

// A web has a transport for each host, and under "" one for all others.
type web map[string]http.RoundTripper

func (w web) RoundTrip(r *http.Request) (*http.Response, error) {
	to := w[r.URL.Host]
	if to == nil {
		to = w[""]
	}
	return to.RoundTrip(r)
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// elsewhere lets a process meet an answer of its own at an address, and
// returns the requests that went to other hosts than the provider's.
func (w *world) elsewhere(p *process, address string, answer func() *http.Response) *[]string {
	strayed := new([]string)
	p.net.on(func(r *http.Request) (*http.Response, error) {
		switch {
		case r.URL.Host != "login.example.com":
			body := "without a body"
			if r.Body != nil {
				text, err := io.ReadAll(r.Body)
				body = fmt.Sprint(string(text), err)
			}
			*strayed = append(*strayed, fmt.Sprint(r.URL, r.Header, body))
			return respond(200, "{}", "Content-Type", "application/json"), nil
		case r.URL.String() == address:
			resp := answer()
			resp.Request = r
			return resp, nil
		}
		return p.net.base.RoundTrip(r)
	})
	return strayed
}
