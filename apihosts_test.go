package authprofile_test

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/authprofile/authprofile"
)

// A client sends its token to the hosts of the profile, and to no other.
func TestAPIHosts(t *testing.T) {
	for _, test := range []struct {
		hosts   []string
		address string
		want    bool
	}{
		{nil, "https://anywhere.example.org/", true},
		{[]string{}, "https://anywhere.example.org/", true},
		{[]string{"api.example.com"}, "https://api.example.com/v1", true},
		{[]string{"api.example.com"}, "https://API.Example.Com:8443/v1", true},
		{[]string{"API.example.com"}, "https://api.example.com/v1", true},
		{[]string{"api.example.com:8443"}, "https://api.example.com:8443/v1", true},
		{[]string{"api.example.com:443"}, "https://api.example.com/v1", true},
		{[]string{"api.example.com:8443"}, "https://api.example.com/v1", false},
		{[]string{"api.example.com"}, "https://api.example.com.evil.example/v1", false},
		{[]string{"api.example.com"}, "https://xapi.example.com/v1", false},
		{[]string{"api.example.com"}, "https://v1.api.example.com/", false},
		{[]string{".example.com"}, "https://api.example.com/v1", true},
		{[]string{".example.com"}, "https://a.b.example.com/v1", true},
		{[]string{".example.com"}, "https://example.com/v1", false},
		{[]string{".example.com"}, "https://badexample.com/v1", false},
		{[]string{".example.com:8443"}, "https://a.example.com:8443/", true},
		{[]string{".example.com:8443"}, "https://a.example.com/", false},
		{[]string{"a.example.com", "b.example.com"}, "https://b.example.com/", true},
		{[]string{"127.0.0.1"}, "http://127.0.0.1:8080/", true},
		{[]string{"[::1]:8080"}, "http://[::1]:8080/", true},
		{[]string{"[::1]:8080"}, "http://[::1]:8081/", false},
	} {
		inWorld(t, func(t *testing.T, w *world) {
			p := w.unsavedApp()
			p.APIHosts = test.hosts
			if err := p.Validate(); err != nil {
				t.Fatalf("%q: got %v, want a valid profile", test.hosts, err)
			}
			sent := 0
			api := roundTrip(func(r *http.Request) (*http.Response, error) {
				if r.URL.Host == "login.example.com" {
					return w.srv.Transport().RoundTrip(r)
				}
				sent++
				return &http.Response{StatusCode: 200, Body: http.NoBody, Request: r}, nil
			})
			m := &authprofile.Manager{HTTPClient: &http.Client{Transport: api}}
			t.Cleanup(func() { m.Shutdown(context.Background()) })
			resp, err := m.Client(t.Context(), p).Get(test.address)
			if err == nil {
				resp.Body.Close()
			}
			if got := sent > 0; got != test.want || (err == nil) != test.want {
				t.Errorf("%q, %s: got sent %v, error %v; want sent %v", test.hosts, test.address, got, err, test.want)
			}
			if !test.want && w.srv.Count("client_credentials") != 0 {
				t.Errorf("%q, %s: a token was asked for that cannot be used", test.hosts, test.address)
			}
		})
	}
}

func TestAPIHostsThatAreNone(t *testing.T) {
	for _, host := range []string{"", ".", "https://api.example.com", "api.example.com/v1", "api.example.com:", "api.example.com:0", "api.example.com:65536", "a b", "*.example.com", "..example.com", "user@api.example.com", "[::1", "::1"} {
		p := validApp("crm")
		p.APIHosts = []string{host}
		if !hasProblem(p.Validate(), "APIHosts[0]") {
			t.Errorf("%q: got %v, want a problem of APIHosts[0]", host, p.Validate())
		}
	}
}

// What a redirect leads to gets no token, whether APIHosts names it or not, and
// the error says of which profile and host it is.
func TestAPIHostsAfterRedirects(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.unsavedApp()
		p.APIHosts = []string{"api.example.com", "files.example.com:8443"}
		net := &api{provider: w.srv.Transport()}
		m := &authprofile.Manager{HTTPClient: &http.Client{Transport: net}}
		t.Cleanup(func() { m.Shutdown(context.Background()) })
		client := m.Client(t.Context(), p)
		for _, test := range []struct {
			to, wants string // the redirect, and whether the second request has the token
		}{
			{"https://api.example.com/v2", "token"},
			{"https://api.example.com:8443/v2", ""},
			{"https://files.example.com:8443/v2", ""},
			{"https://evil.example/v2", ""},
			{"http://api.example.com/v2", ""},
		} {
			before := len(net.calls())
			net.answer = func(r *http.Request) *http.Response {
				if r.URL.Path == "/v1" {
					return redirect(302, test.to)
				}
				return respond(200, "")
			}
			resp, err := client.Get("https://api.example.com/v1")
			if err != nil {
				t.Fatalf("%s: %v", test.to, err)
			}
			resp.Body.Close()
			calls := net.calls()[before:]
			if len(calls) != 2 || calls[0].authorization == "" || (calls[1].authorization != "") != (test.wants != "") {
				t.Errorf("%s: got calls %v, want a token in the first, and in the second: %v", test.to, calls, test.wants != "")
			}
		}
		net.answer = func(*http.Request) *http.Response { return respond(200, "") }
		for _, host := range []string{"api.example.org", "files.example.com", "files.example.com:443", "evil.example:8443"} {
			before := len(net.calls())
			_, err := client.Get("https://" + host + "/v1?key=hunter2")
			var e *authprofile.Error
			if !errors.As(err, &e) || e.ProfileID != "app" || !strings.Contains(e.Error(), `"app"`) || !strings.Contains(e.Error(), strconv.Quote(host)) || strings.Contains(e.Error(), "hunter2") {
				t.Errorf("%s: got error %v, want an *Error with the profile and the host", host, err)
			}
			if got := len(net.calls()) - before; got != 0 {
				t.Errorf("%s: got %d requests, want none", host, got)
			}
		}
	})
}
