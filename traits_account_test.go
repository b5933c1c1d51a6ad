package authprofile_test

import (
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authprofile/authprofile"
)

const meURL = "https://api.example.com/me"

// accountTrait lets the API say whose account it is.
func accountTrait(change func(call *authprofile.ProviderRequest)) func(*row) {
	return func(r *row) {
		call := &authprofile.ProviderRequest{URL: meURL}
		if change != nil {
			change(call)
		}
		r.Account, r.AccountID, r.AccountName = call, "data.id", "data.name"
		r.Hosts = []string{".api.example.com"}
		r.AnswerKeep = []string{"tenant.id"}
	}
}

func TestTraitAccount(t *testing.T) {
	for _, test := range []struct {
		answer, want string
	}{
		{`{"data":{"id":7,"name":"Ada Lovelace"}}`, "Ada Lovelace"},
		{`{"data":{"id":"u-7"}}`, "u-7"},
		{`{"data":{"id":"u-7","name":"A\u202e\u0007da"}}`, "A??da"},
	} {
		onScript(t, accountTrait(nil), func(t *testing.T, s *scripted) {
			s.on(meURL, test.answer)
			g := s.authorize(s.profile(nil))
			if stored := s.grant(ada); g.Account != test.want || stored.Account != test.want {
				t.Errorf("got account %q, and %q stored; want %q", g.Account, stored.Account, test.want)
			}
			r := s.last(meURL)
			if got := r.header; r.method != "GET" || got.Get("Authorization") != "Bearer access-1" || got.Get("Accept") != "application/json" {
				t.Errorf("got %s with %v, want a GET with the token", r.method, got)
			}
			s.on(scriptedTokenURL, renewedAnswer)
			s.renews(s.profileAgain(), scriptedTokenURL)
			if got := s.grant(ada).Account; got != g.Account {
				t.Errorf("got account %q after a renewal, want it to stay", got)
			}
			s.asked(meURL, 1)
		})
	}
}

func (s *scripted) profileAgain() *authprofile.Profile {
	s.Helper()
	p, err := s.m.Profile(s.Context(), "crm")
	if err != nil {
		s.Fatal(err)
	}
	return p
}

func TestTraitAccountRequest(t *testing.T) {
	onScript(t, func(r *row) {
		accountTrait(func(call *authprofile.ProviderRequest) {
			call.Method, call.BodyFormat, call.Params, call.Headers = "POST", "json", texts("query", "{ me }"), texts("Example-Version", "2")
		})(r)
		r.APIHeaders = texts("Example-Token", "token {token}", "Accept", "application/vnd.example+json", "User-Agent", "example")
	}, func(t *testing.T, s *scripted) {
		s.on(meURL, `{"data":{"id":1}}`)
		s.authorize(s.profile(nil))
		r := s.last(meURL)
		if r.method != "POST" || !r.isJSON || r.form.Get("query") != "{ me }" {
			t.Errorf("got %s of %v, want a POST of the query as JSON", r.method, r.form)
		}
		for name, want := range texts("Example-Version", "2", "Example-Token", "token access-1", "Authorization", "", "Accept", "application/vnd.example+json", "User-Agent", "example") {
			if got := r.header.Get(name); got != want {
				t.Errorf("got %s: %q, want %q", name, got, want)
			}
		}
	})
	onScript(t, accountTrait(func(call *authprofile.ProviderRequest) {
		call.Method, call.Params = "POST", texts("access_token", "{token}")
	}), func(t *testing.T, s *scripted) {
		s.on(meURL, `{"data":{"id":1}}`)
		s.authorize(s.profile(nil))
		if r := s.last(meURL); r.isJSON || r.form.Get("access_token") != "access-1" {
			t.Errorf("got %v, want a form with the token", r.form)
		}
	})
}

// A call that fails, whatever way, costs an authorization nothing.
func TestTraitAccountThatFails(t *testing.T) {
	for name, answer := range map[string]func(r *request) *http.Response{
		"no answer":     func(*request) *http.Response { return nil },
		"refuses":       func(*request) *http.Response { return respond(401, `{"data":{"id":"SENTINEL"}}`) },
		"breaks":        func(*request) *http.Response { return respond(500, "SENTINEL") },
		"redirects":     func(*request) *http.Response { return redirect(302, "https://evil.test/me") },
		"is no JSON":    func(*request) *http.Response { return respond(200, "<html>SENTINEL") },
		"has no id":     func(*request) *http.Response { return respond(200, `{"data":{"name":"Ada"}}`) },
		"has null":      func(*request) *http.Response { return respond(200, `{"data":{"id":null}}`) },
		"has no body":   func(*request) *http.Response { return &http.Response{StatusCode: 200} },
		"nothing ahead": func(*request) *http.Response { return respond(204, "") },
		"is huge": func(*request) *http.Response {
			return respond(200, `{"junk":"`+strings.Repeat("x", 1<<20)+`","data":{"id":"late"}}`)
		},
		"has no end": func(*request) *http.Response {
			resp := respond(200, "")
			resp.Body = io.NopCloser(spaces{})
			return resp
		},
	} {
		t.Run(name, func(t *testing.T) {
			onScript(t, accountTrait(nil), func(t *testing.T, s *scripted) {
				s.answer(meURL, answer)
				g := s.authorize(s.profile(nil))
				if g.Account != "" || g.Status != authprofile.StatusActive || g.AccessToken != "access-1" {
					t.Errorf("got account %q, status %s; want a good grant without an account", g.Account, g.Status)
				}
			})
		})
	}
}

type spaces struct{}

func (spaces) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	return len(p), nil
}

// A slow API is waited for five seconds, and one that does not even listen to the
// end of its request for a second more.
func TestTraitAccountThatIsSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := scriptedRow()
		accountTrait(nil)(&r)
		release := make(chan struct{})
		net := roundTrip(func(req *http.Request) (*http.Response, error) {
			if req.URL.Host == "api.example.com" {
				<-release // it does not listen to the request's context either
				return respond(200, `{"data":{"id":"late"}}`), nil
			}
			return respond(200, tokenAnswer, "Content-Type", "application/json"), nil
		})
		m := &authprofile.Manager{Providers: []authprofile.Provider{r}, HTTPClient: &http.Client{Transport: net}, RedirectURL: scriptedCallback}
		s := &scripted{T: t, m: m}
		began := time.Now()
		g := s.authorize(s.profile(nil))
		if took := time.Since(began); took > 6*time.Second || g.Account != "" {
			t.Errorf("got account %q after %v, want none after 6s at most", g.Account, took)
		}
		close(release)
		m.Shutdown(t.Context())
	})
}

// The token goes to the provider's hosts, and if the profile names hosts of its
// own, to those alone.
func TestTraitAccountHosts(t *testing.T) {
	const escaped = "https://api.example.com/of/a%2F..%2Fb%3Fc/me"
	for _, test := range []struct {
		name, url, member string
		apiHosts          []string
		want              string // where it is asked; empty: nowhere
	}{
		{"the row's own", meURL, "", nil, meURL},
		{"of APIHosts", meURL, "", []string{"api.example.com"}, meURL},
		{"not of APIHosts", meURL, "", []string{"other.example.com"}, ""},
		{"a base", "{base}/me", "https://eu.api.example.com", nil, "https://eu.api.example.com/me"},
		{"a base with a slash", "{base}/me", "https://eu.api.example.com/", nil, "https://eu.api.example.com/me"},
		{"another's base", "{base}/me", "https://eu.api.example.com.evil.test", nil, ""},
		{"another's base, with a path", "{base}/me", "https://evil.test/.api.example.com", nil, ""},
		{"another's base, with a user", "{base}/me", "https://eu.api.example.com@evil.test", nil, ""},
		{"a base with a user", "{base}/me", "https://ada@eu.api.example.com", nil, ""},
		{"a base with a port", "{base}/me", "https://eu.api.example.com:8443", nil, ""},
		{"a base without TLS", "{base}/me", "http://eu.api.example.com", nil, ""},
		{"no base", "{base}/me", "", nil, ""},
		{"a host", "https://{base}/me", "eu.api.example.com", nil, "https://eu.api.example.com/me"},
		{"another's host", "https://{base}/me", "evil.test/.api.example.com", nil, ""},
		{"a path", "https://api.example.com/of/{base}/me", "a/../b?c", nil, escaped},
	} {
		t.Run(test.name, func(t *testing.T) {
			onScript(t, accountTrait(func(call *authprofile.ProviderRequest) { call.URL = test.url }), func(t *testing.T, s *scripted) {
				if test.member != "" {
					s.on(scriptedTokenURL, strings.Replace(tokenAnswer, "{", `{"base":"`+test.member+`",`, 1))
				}
				if test.want != "" {
					s.on(test.want, `{"data":{"id":"u-7"}}`)
				}
				g := s.authorize(s.profile(func(p *authprofile.Profile) { p.APIHosts = test.apiHosts }))
				if got := g.Account != ""; got != (test.want != "") {
					t.Errorf("got account %q, want one: %v", g.Account, test.want != "")
				}
				if test.want != "" {
					s.asked(test.want, 1)
				}
			})
		})
	}
}

// What an ID token says comes before what the API would.
func TestTraitAccountAfterTheIDToken(t *testing.T) {
	onScript(t, accountTrait(nil), func(t *testing.T, s *scripted) {
		p := s.profile(func(p *authprofile.Profile) { p.Scopes = []string{"openid"} })
		f, q := s.begin(p)
		s.on(scriptedTokenURL, identified(map[string]any{"nonce": q.Get("nonce"), "email": "ada@example.com", "email_verified": true}))
		g, err := s.m.Finish(t.Context(), "ada", s.back(f))
		if err != nil || g.Account != "ada@example.com" {
			t.Errorf("got %v, %v, want the account of the ID token", g, err)
		}
		s.asked(meURL, 0)
	})
}

func TestTraitAccountInCheck(t *testing.T) {
	onScript(t, func(r *row) {
		accountTrait(nil)(r)
		r.App = new(authprofile.ProviderRequest)
	}, func(t *testing.T, s *scripted) {
		s.fails(scriptedAuthURL, 200, "")
		p := &authprofile.Profile{Type: authprofile.TypeApp, Template: "example", ClientID: scriptedClient, ClientSecret: scriptedSecret}
		outcome := func() (string, string) {
			for _, step := range s.m.Check(t.Context(), p) {
				s.leaksNothing("a step", step.Problem)
				if step.Name == "account" {
					return step.Outcome, step.Problem
				}
			}
			return "", "no such step"
		}
		s.on(meURL, `{"data":{"id":"u-7"}}`)
		if got, problem := outcome(); got != authprofile.StepPassed {
			t.Errorf("got %s (%s), want passed", got, problem)
		}
		s.fails(meURL, 403, "")
		if got, problem := outcome(); got != authprofile.StepSkipped || !strings.Contains(problem, "403") {
			t.Errorf("got %s (%s), want skipped, with the status", got, problem)
		}
	})
}

func TestTraitAPIHeaders(t *testing.T) {
	const things = "https://things.example.org/"
	onScript(t, func(r *row) {
		r.App = new(authprofile.ProviderRequest)
		r.APIHeaders = texts("x-example-token", "key {token}", "Example-Version", "2", "user-agent", "example")
	}, func(t *testing.T, s *scripted) {
		s.on(things, "{}")
		p := s.profile(func(p *authprofile.Profile) { p.ID, p.Type = "app", authprofile.TypeApp })
		get := func(change func(h http.Header)) http.Header {
			req, err := http.NewRequest("GET", things, nil)
			if err != nil {
				t.Fatal(err)
			}
			change(req.Header)
			before := req.Header.Clone()
			resp, err := s.m.Client(t.Context(), p).Do(req)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if len(req.Header) != len(before) {
				t.Errorf("got the caller's headers changed to %v, want %v", req.Header, before)
			}
			return s.last(things).header
		}
		for name, want := range texts("X-Example-Token", "key access-1", "Authorization", "", "Example-Version", "2", "User-Agent", "example") {
			if got := get(func(http.Header) {}).Get(name); got != want {
				t.Errorf("got %s: %q, want %q", name, got, want)
			}
		}
		own := get(func(h http.Header) { h.Set("Example-Version", "3"); h.Set("X-Example-Token", "mine") })
		if got := []string{own.Get("Example-Version"), own.Get("X-Example-Token")}; !slices.Equal(got, []string{"3", "key access-1"}) {
			t.Errorf("got %q, want the caller's own version, and the token all the same", got)
		}
	})
}

// Headers of the API cost a request nothing if there are none, and no memory if
// there are.
func TestTraitAPIHeadersAllocations(t *testing.T) {
	measure := func(headers map[string]string) (allocations float64) {
		onScript(t, func(r *row) { r.App, r.APIHeaders = new(authprofile.ProviderRequest), headers }, func(t *testing.T, s *scripted) {
			answer := respond(200, "")
			s.m.HTTPClient.Transport = roundTrip(func(r *http.Request) (*http.Response, error) {
				if r.URL.Host == "things.example.org" {
					return answer, nil
				}
				return s.RoundTrip(r)
			})
			p := s.profile(func(p *authprofile.Profile) { p.ID, p.Type = "app", authprofile.TypeApp })
			ours := s.m.Client(t.Context(), p).Transport
			req, err := http.NewRequest("GET", "https://things.example.org/", nil)
			if err != nil {
				t.Fatal(err)
			}
			allocations = testing.AllocsPerRun(200, func() {
				if _, err := ours.RoundTrip(req); err != nil {
					t.Fatal(err)
				}
			})
		})
		return allocations
	}
	without, with := measure(nil), measure(texts("x-example-token", "{token}", "Example-Version", "2"))
	if without > 3 || with > without {
		t.Errorf("got %v allocations without headers and %v with two, want at most 3 and no more", without, with)
	}
}
