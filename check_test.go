package authprofile_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authprofile/authprofile"
	"github.com/authprofile/authprofile/egress"
	"github.com/authprofile/authprofile/internal/webtest"
	"github.com/authprofile/authprofile/providertest"
)

// checkSteps are the steps of a Check, in order.
var checkSteps = []string{"address", "discovery", "redirect", "authorization", "client", "token", "account", "clock"}

// wantSteps wants the steps to have these outcomes, in order, by their first
// letters.
func wantSteps(t *testing.T, steps []authprofile.Step, want string) {
	t.Helper()
	var names []string
	got := ""
	for _, s := range steps {
		names = append(names, s.Name)
		got += s.Outcome[:1]
		if (s.Problem == "") != (s.Outcome == authprofile.StepPassed) {
			t.Errorf("%s: got problem %q for a step that is %s", s.Name, s.Problem, s.Outcome)
		}
		if len(s.Problem) > 4096 {
			t.Errorf("%s: got a problem of %d bytes, want 4096 at most", s.Name, len(s.Problem))
		}
		if s.Took < 0 || s.Took > 32*time.Second {
			t.Errorf("%s: took %v, want 30 seconds at most", s.Name, s.Took)
		}
	}
	if !slices.Equal(names, checkSteps) {
		t.Errorf("got steps %q, want %q", names, checkSteps)
	}
	if got != want {
		t.Errorf("got outcomes %s, want %s:", got, want)
		for _, s := range steps {
			t.Logf("%s %s %s", s.Name, s.Outcome, s.Problem)
		}
	}
}

// wantProblem wants parts in the problem of a step.
func wantProblem(t *testing.T, steps []authprofile.Step, name string, parts ...string) {
	t.Helper()
	for _, s := range steps {
		if s.Name != name {
			continue
		}
		for _, part := range parts {
			if !strings.Contains(s.Problem, part) {
				t.Errorf("%s: got problem %q, want %q in it", name, s.Problem, part)
			}
		}
	}
}

// noStore is a Store of which no method may be called: each panics.
type noStore struct{ authprofile.Store }

// checker returns a Manager without a Store, whose provider says what time it is:
// that of this machine, and offset.
func (w *world) checker(offset time.Duration) *authprofile.Manager {
	base := w.srv.Transport()
	rt := webtest.RoundTripper(func(r *http.Request) (*http.Response, error) {
		resp, err := base.RoundTrip(r)
		if err == nil {
			resp.Header.Set("Date", time.Now().Add(offset).UTC().Format(http.TimeFormat))
		}
		return resp, err
	})
	return &authprofile.Manager{Store: noStore{}, HTTPClient: &http.Client{Transport: rt}, RedirectURL: "https://app.example.com/callback"}
}

// unsavedUser returns a user profile that no Store has.
func (w *world) unsavedUser() *authprofile.Profile {
	return registered(authprofile.Profile{
		Type:      authprofile.TypeUser,
		Endpoints: authprofile.Endpoints{DiscoveryURL: w.srv.DiscoveryURL()},
		Scopes:    []string{"openid", "read", "offline_access"},
	})
}

func TestCheckPasses(t *testing.T) {
	const passes, passesApp, passesAddresses = "pppppssp", "ppssppsp", "pspppssp"
	for _, test := range []struct {
		name    string
		profile func(w *world) *authprofile.Profile
		opts    []authprofile.Option
		want    string
	}{
		{name: "app", profile: (*world).unsavedApp, want: "psssppsp"},
		{name: "app by a document", want: passesApp, profile: func(w *world) *authprofile.Profile {
			p := w.unsavedApp()
			p.Endpoints = authprofile.Endpoints{DiscoveryURL: w.srv.DiscoveryURL()}
			return p
		}},
		{name: "user", profile: (*world).unsavedUser, want: passes},
		{name: "user who is named", profile: (*world).unsavedUser, opts: []authprofile.Option{asAda}, want: passes},
		{name: "user by addresses", want: passesAddresses, profile: func(w *world) *authprofile.Profile {
			p := w.unsavedUser()
			p.Endpoints = authprofile.Endpoints{TokenURL: w.srv.TokenURL(), AuthURL: w.srv.AuthURL(), RevocationURL: w.srv.RevocationURL()}
			return p
		}},
		{name: "saved user", profile: (*world).user, want: passes},
		{name: "public client", want: passes, profile: func(w *world) *authprofile.Profile {
			w.srv.AddClient(providertest.Client{ID: "public"})
			p := w.unsavedUser()
			p.ClientID, p.ClientSecret = "public", ""
			return p
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				p := test.profile(w)
				wantSteps(t, w.checker(0).Check(t.Context(), p, test.opts...), test.want)
			})
		})
	}
}

// The templates' providers answer at their own addresses.
func TestCheckTemplates(t *testing.T) {
	for _, test := range []struct {
		template authprofile.Template
		provider providertest.Option
	}{
		{authprofile.Google, providertest.Google()},
		{authprofile.Microsoft("contoso.com"), providertest.Microsoft("contoso.com")},
	} {
		inWorldOf(t, test.provider, func(t *testing.T, w *world) {
			p := w.unsavedUser()
			p.Template, p.Endpoints = test.template, authprofile.Endpoints{}
			wantSteps(t, w.checker(0).Check(t.Context(), p), "pppppssp")
		})
	}
}

func TestCheckFails(t *testing.T) {
	const register = "the redirect address to register is exactly https://app.example.com/callback"
	mutated := func(name string, value any) func(w *world, p *authprofile.Profile) {
		return func(w *world, p *authprofile.Profile) {
			w.srv.Mutate(providertest.Discovery, func(doc map[string]any) {
				if doc[name] = value; value == nil {
					delete(doc, name)
				}
			})
		}
	}
	for _, test := range []struct {
		name    string
		app     bool
		change  func(w *world, p *authprofile.Profile)
		opts    []authprofile.Option
		want    string
		step    string
		problem []string
	}{
		{name: "wrong secret", want: "ppppfssp", step: "client", problem: []string{"invalid_client", "HTTP 401", "wrong secret"},
			change: func(w *world, p *authprofile.Profile) { p.ClientSecret = "another" }},
		{name: "wrong secret of an app", app: true, want: "psssfssp", step: "client", problem: []string{"invalid_client", "HTTP 401", "wrong secret"},
			change: func(w *world, p *authprofile.Profile) { p.ClientSecret = "another" }},
		{name: "unknown client", want: "pppffssp", step: "authorization", problem: []string{"HTTP 400", register},
			change: func(w *world, p *authprofile.Profile) { p.ClientID = "another" }},
		{name: "unknown app", app: true, want: "psssfssp", step: "token", problem: []string{`see the step "client"`},
			change: func(w *world, p *authprofile.Profile) { p.ClientID = "another" }},
		{name: "client that may not", want: "pppffssp", step: "authorization", problem: []string{"the provider answers unauthorized_client: not for this client"},
			change: func(w *world, p *authprofile.Profile) {
				w.srv.AddClient(providertest.Client{ID: providertest.ClientID, Secret: providertest.ClientSecret, Grants: []string{"client_credentials"}})
			}},
		{name: "redirect address that is not registered", want: "pppfpssp", step: "authorization", problem: []string{"refuses the client or the redirect address", register},
			change: func(w *world, p *authprofile.Profile) {
				w.srv.AddClient(providertest.Client{ID: providertest.ClientID, Secret: providertest.ClientSecret, RedirectURLs: []string{"https://app.example.com/elsewhere"}})
			}},
		{name: "scope of another client", want: "pppfpssp", step: "authorization", problem: []string{"the provider answers invalid_scope: not for this client: openid"},
			change: func(w *world, p *authprofile.Profile) {
				w.srv.AddClient(providertest.Client{ID: providertest.ClientID, Secret: providertest.ClientSecret, Scopes: []string{"read"}})
			}},
		{name: "scope of another app", app: true, want: "pssspfsp", step: "token", problem: []string{"invalid_scope", "not for this client: read"},
			change: func(w *world, p *authprofile.Profile) {
				w.srv.AddClient(providertest.Client{ID: providertest.ClientID, Secret: providertest.ClientSecret, Scopes: []string{"write"}})
			}},
		{name: "token that has ended", app: true, want: "pssspfsp", step: "token", problem: []string{"has ended already"},
			change: func(w *world, p *authprofile.Profile) {
				w.srv.Mutate(providertest.Token, func(a map[string]any) { a["expires_in"] = -1 })
			}},
		{name: "token without an end", app: true, want: "psssppsp",
			change: func(w *world, p *authprofile.Profile) {
				w.srv.Mutate(providertest.Token, func(a map[string]any) { delete(a, "expires_in") })
			}},
		{name: "answer without a token", app: true, want: "pssssfsp", step: "token", problem: []string{"has no access_token"},
			change: func(w *world, p *authprofile.Profile) {
				w.srv.Mutate(providertest.Token, func(a map[string]any) { delete(a, "access_token") })
			}},

		{name: "wrong issuer", want: "pfpssssp", step: "discovery", problem: []string{"Endpoints.DiscoveryURL: ", "issuer does not fit"},
			change: mutated("issuer", "https://evil.example.com")},
		{name: "no token endpoint", want: "pfpssssp", step: "discovery", problem: []string{"token_endpoint is missing"},
			change: mutated("token_endpoint", nil)},
		{name: "no authorization endpoint", want: "pfpspssp", step: "discovery", problem: []string{"authorization_endpoint is missing"},
			change: mutated("authorization_endpoint", nil)},
		{name: "authorization endpoint that is a command", want: "pfpspssp", step: "discovery", problem: []string{"authorization_endpoint must be https"},
			change: mutated("authorization_endpoint", "http://login.example.com/authorize")},
		{name: "revocation endpoint on loopback", want: "pfpppssp", step: "discovery", problem: []string{"revocation_endpoint is on a loopback host"},
			change: mutated("revocation_endpoint", "http://127.0.0.1/revoke")},
		{name: "keys at no address", want: "pfpppssp", step: "discovery", problem: []string{"jwks_uri"},
			change: mutated("jwks_uri", "ftp://login.example.com/keys")},
		{name: "keys that are not there", want: "pfpppssp", step: "discovery", problem: []string{"is not there: HTTP status 404"},
			change: func(w *world, p *authprofile.Profile) {
				w.srv.Fault(providertest.JWKS, providertest.Fault{Times: -1, Status: 404})
			}},
		{name: "keys that are not needed", want: "pppppssp",
			change: func(w *world, p *authprofile.Profile) {
				p.Scopes = []string{"read"}
				w.srv.Fault(providertest.JWKS, providertest.Fault{Times: -1, Status: 404})
			}},
		{name: "document that is a page", want: "pfpssssp", step: "discovery", problem: []string{"is not JSON, but a page in HTML"},
			change: func(w *world, p *authprofile.Profile) {
				w.srv.Fault(providertest.Discovery, providertest.Fault{Times: -1, Body: "<html>", Header: http.Header{"Content-Type": {"text/html"}}})
			}},
		{name: "document somewhere else", want: "pfpssssp", step: "discovery", problem: []string{"redirected to another origin"},
			change: func(w *world, p *authprofile.Profile) {
				w.srv.Fault(providertest.Discovery, providertest.Fault{Times: -1, Status: 302, Header: http.Header{"Location": {"https://evil.example.com"}}})
			}},
		{name: "app without an authorization endpoint", app: true, want: "ppssppsp",
			change: func(w *world, p *authprofile.Profile) {
				p.Endpoints = authprofile.Endpoints{DiscoveryURL: w.srv.DiscoveryURL()}
				mutated("authorization_endpoint", nil)(w, p)
			}},

		{name: "host that does not exist", want: "fspsssss", step: "address", problem: []string{"Endpoints.DiscoveryURL: nowhere.example.com: ", "no such host"},
			change: func(w *world, p *authprofile.Profile) {
				p.Endpoints.DiscoveryURL = "https://nowhere.example.com/.well-known/openid-configuration"
			}},
		{name: "one of several hosts", want: "fsppsssp", step: "address", problem: []string{"Endpoints.TokenURL: nowhere.example.com: ", "no such host"},
			change: func(w *world, p *authprofile.Profile) {
				p.Endpoints = authprofile.Endpoints{AuthURL: w.srv.AuthURL(), TokenURL: "https://nowhere.example.com/token"}
			}},
		{name: "authorization host that does not exist", want: "fspspssp", step: "authorization", problem: []string{"nowhere.example.com cannot be reached"},
			change: func(w *world, p *authprofile.Profile) {
				p.Endpoints = authprofile.Endpoints{AuthURL: "https://nowhere.example.com/authorize", TokenURL: w.srv.TokenURL()}
			}},
		{name: "revocation host that does not exist", want: "fspppssp", step: "address", problem: []string{"Endpoints.RevocationURL: nowhere.example.com: "},
			change: func(w *world, p *authprofile.Profile) {
				p.Endpoints.RevocationURL = "https://nowhere.example.com/revoke"
				p.Endpoints.DiscoveryURL, p.Endpoints.AuthURL, p.Endpoints.TokenURL = "", w.srv.AuthURL(), w.srv.TokenURL()
			}},

		{name: "profile that is not valid", want: "fsssssss", step: "address", problem: []string{"ClientID: is missing", "Endpoints.DiscoveryURL: must be https"},
			change: func(w *world, p *authprofile.Profile) {
				p.ClientID, p.Endpoints.DiscoveryURL = "", "http://login.example.com"
			}},
		{name: "profile with a thousand problems", want: "fsssssss", step: "address", problem: []string{"Scopes[0]: is empty; Scopes[1]: is empty"},
			change: func(w *world, p *authprofile.Profile) { p.Scopes = make([]string, 1000) }},
		{name: "user for an app", app: true, opts: []authprofile.Option{asAda}, want: "psssfssp", step: "client", problem: []string{"wrong or missing user: an app profile acts for no user"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				p := w.unsavedUser()
				if test.app {
					p = w.unsavedApp()
				}
				if test.change != nil {
					test.change(w, p)
				}
				steps := w.checker(0).Check(t.Context(), p, test.opts...)
				wantSteps(t, steps, test.want)
				wantProblem(t, steps, test.step, test.problem...)
			})
		})
	}
}

// served returns a Manager at whose provider h answers everything.
func served(h http.HandlerFunc) *authprofile.Manager {
	return &authprofile.Manager{
		RedirectURL: "https://app.example.com/callback",
		HTTPClient: &http.Client{Transport: webtest.RoundTripper(func(r *http.Request) (*http.Response, error) {
			rec := httptest.NewRecorder()
			h(rec, r)
			return rec.Result(), nil
		})},
	}
}

// byAddresses returns a profile of that type with addresses of its own.
func byAddresses(typ authprofile.Type) *authprofile.Profile {
	p := registered(authprofile.Profile{Type: typ, Endpoints: authprofile.Endpoints{TokenURL: issuer + "/token"}})
	if typ == authprofile.TypeUser {
		p.Endpoints.AuthURL = issuer + "/authorize"
	}
	return p
}

// What an answer of the authorization endpoint means.
func TestCheckAuthorization(t *testing.T) {
	const register = "the redirect address to register is exactly https://app.example.com/callback"
	location := func(s string) []string { return []string{"Location", s} }
	for _, test := range []struct {
		name    string
		status  int
		header  []string
		body    string
		want    string // outcome
		problem []string
		not     string
	}{
		{name: "login page", status: 200, body: "<html>error", want: authprofile.StepPassed},
		{name: "redirect to a login page", status: 302, header: location("/login?next=x"), want: authprofile.StepPassed},
		{name: "redirect to another host", status: 303, header: location("https://sso.example.com/"), want: authprofile.StepPassed},
		{name: "code at once", status: 302, header: location("https://app.example.com/callback?code=x&state=y"), want: authprofile.StepPassed},
		{name: "person missing", status: 302, header: location("https://app.example.com/callback?error=login_required"), want: authprofile.StepPassed},
		{name: "back with an error", status: 302, header: location("https://app.example.com/callback?error=invalid_scope&error_description=no+such+scope"), want: authprofile.StepFailed,
			problem: []string{"the provider answers invalid_scope: no such scope"}, not: register},
		{name: "error page with a code", status: 302, header: location("/oops?error=invalid_client"), want: authprofile.StepFailed,
			problem: []string{"invalid_client", register}},
		{name: "error page", status: 302, header: location("/signin/oauth/error/v2?authError=Ch"), want: authprofile.StepFailed,
			problem: []string{"a page about an error", register}},
		{name: "page whose name has error in it", status: 302, header: location("/terrors"), want: authprofile.StepPassed},
		{name: "redirect to nowhere", status: 302, want: authprofile.StepFailed, problem: []string{"HTTP 302, which leads nowhere"}},
		{name: "redirect to no address", status: 302, header: location("https://%zz"), want: authprofile.StepFailed, problem: []string{"leads nowhere"}},
		{name: "refused with a page", status: 400, body: "<html>", want: authprofile.StepFailed, problem: []string{"refuses the client or the redirect address (HTTP 400)", register}},
		{name: "refused with JSON", status: 401, header: []string{"Content-Type", "application/json"}, body: `{"error":"invalid_client","error_description":"unknown"}`,
			want: authprofile.StepFailed, problem: []string{"(HTTP 401, invalid_client: unknown)", register}},
		{name: "refused with JSON and status 200", status: 200, header: []string{"Content-Type", "application/json"}, body: `{"error":"invalid_client"}`,
			want: authprofile.StepFailed, problem: []string{"(HTTP 200, invalid_client)"}},
		{name: "JSON without an end", status: 400, header: []string{"Content-Type", "application/json"}, body: `{"error":"` + strings.Repeat("x", 1<<20),
			want: authprofile.StepFailed, problem: []string{"(HTTP 400)"}},
		{name: "hostile JSON", status: 400, header: []string{"Content-Type", "application/json"},
			body: `{"error":"\u001b[31m\"` + strings.Repeat("e", 100) + `","error_description":"a\r\n\u202eb` + strings.Repeat("d", 10_000) + `"}`,
			want: authprofile.StepFailed, problem: []string{"?[31m?eee", ": a???bddd"}, not: strings.Repeat("d", 257)},
		{name: "hostile redirect", status: 302, header: location("https://app.example.com/callback?error=" + url.QueryEscape("\x1b[31m\n"+strings.Repeat("e", 100))),
			want: authprofile.StepFailed, problem: []string{"?[31m?eee"}, not: strings.Repeat("e", 65)},
		{name: "too many requests", status: 429, want: authprofile.StepFailed, problem: []string{"is not available (HTTP 429)"}, not: register},
		{name: "out of order", status: 503, want: authprofile.StepFailed, problem: []string{"is not available (HTTP 503)"}, not: register},
	} {
		t.Run(test.name, func(t *testing.T) {
			asked := 0
			m := served(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/authorize" || r.Method != http.MethodGet {
					w.WriteHeader(http.StatusNotFound)
					return
				}
				asked++
				for i := 0; i < len(test.header); i += 2 {
					w.Header().Set(test.header[i], test.header[i+1])
				}
				w.WriteHeader(test.status)
				io.WriteString(w, test.body)
			})
			steps := m.Check(t.Context(), byAddresses(authprofile.TypeUser))
			s := steps[3]
			if s.Outcome != test.want || asked != 1 {
				t.Errorf("got %s after %d requests, want %s after 1: %s", s.Outcome, asked, test.want, s.Problem)
			}
			wantProblem(t, steps, "authorization", test.problem...)
			if test.not != "" && strings.Contains(s.Problem, test.not) {
				t.Errorf("got problem %q, want no %q in it", s.Problem, test.not)
			}
			if strings.ContainsFunc(s.Problem, func(r rune) bool { return r < ' ' || r == '\u202e' }) {
				t.Errorf("got problem %q, want visible characters", s.Problem)
			}
		})
	}
}

// The request is the one that Begin sends a browser with, and has no state that
// Finish would take.
func TestCheckAsksAsBeginDoes(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.user()
		p.Params = url.Values{"audience": {"crm"}}
		w.save(p)
		begun := parsed(t, w.begin(p, "ada").URL).Query()
		w.m.Check(t.Context(), p)
		var asked url.Values
		for _, c := range w.srv.Captured() {
			if c.Endpoint == providertest.Authorization && c.Method == http.MethodGet {
				asked = parsed(t, c.URL).Query()
			}
		}
		for _, name := range []string{"state", "nonce", "code_challenge"} {
			if len(asked.Get(name)) != len(begun.Get(name)) || asked.Get(name) == begun.Get(name) {
				t.Errorf("%s: got %q, want one of its own, as in %q", name, asked.Get(name), begun.Get(name))
			}
			begun.Del(name)
		}
		w.finishFails("ada", url.Values{"state": {asked.Get("state")}, "code": {"x"}}, authprofile.ErrNotFound)
		for _, name := range []string{"state", "nonce", "code_challenge"} {
			asked.Del(name)
		}
		if got, want := asked.Encode(), begun.Encode(); got != want {
			t.Errorf("got parameters %s, want %s", got, want)
		}
	})
}

// What an answer of the token endpoint means for the client, to a code that does
// not exist and to a request for client credentials.
func TestCheckClient(t *testing.T) {
	const token = `{"access_token":"t","token_type":"Bearer"}`
	for _, test := range []struct {
		name      string
		status    int
		body      string
		user, app string // outcomes of "client"; of "client" and "token"
		problem   string // of "client"
	}{
		{name: "code refused", status: 400, body: `{"error":"invalid_grant"}`, user: "p", app: "pf"},
		{name: "code refused with status 403", status: 403, body: `{"error":"invalid_grant"}`, user: "p", app: "pf"},
		{name: "code refused with status 401", status: 401, body: `{"error":"invalid_grant"}`, user: "p", app: "pf"},
		{name: "GitHub, code refused", status: 200, body: `{"error":"bad_verification_code"}`, user: "p", app: "pf"},
		{name: "Slack, code refused", status: 200, body: `{"ok":false,"error":"invalid_code"}`, user: "p", app: "pf"},
		{name: "client refused", status: 401, body: `{"error":"invalid_client","error_description":"unknown client"}`, user: "f", app: "fs", problem: "(invalid_client, HTTP 401): unknown client"},
		{name: "client that may not", status: 400, body: `{"error":"unauthorized_client"}`, user: "f", app: "fs", problem: "unauthorized_client"},
		{name: "GitHub, client refused", status: 200, body: `{"error":"incorrect_client_credentials"}`, user: "f", app: "fs", problem: "incorrect_client_credentials"},
		{name: "Slack, client refused", status: 200, body: `{"ok":false,"error":"bad_client_secret"}`, user: "f", app: "fs", problem: "bad_client_secret"},
		{name: "status 401 alone", status: 401, user: "f", app: "fs", problem: "HTTP 401"},
		{name: "status 401 with an unknown code", status: 401, body: `{"error":"denied"}`, user: "f", app: "fs", problem: "denied"},
		{name: "unknown code that names the client", status: 400, body: `{"error":"client_not_found"}`, user: "f", app: "fs", problem: "client_not_found"},
		{name: "wrong address", status: 404, user: "f", app: "fs", problem: "HTTP 404"},
		{name: "redirect", status: 307, user: "f", app: "fs", problem: "it redirects, which is not followed"},
		{name: "redirect address of another client", status: 400, body: `{"error":"redirect_uri_mismatch"}`, user: "f", app: "fs", problem: "redirect_uri_mismatch"},
		{name: "scope refused", status: 400, body: `{"error":"invalid_scope"}`, user: "f", app: "pf", problem: "invalid_scope"},
		{name: "request refused", status: 400, body: `{"error":"invalid_request"}`, user: "s", app: "sf", problem: "the provider's answer does not tell: "},
		{name: "page", status: 200, body: `<html>`, user: "s", app: "sf", problem: "does not tell: the provider's answer makes no sense (HTTP 200): the answer is not a JSON object"},
		{name: "page with status 403", status: 403, body: `<html>`, user: "s", app: "sf", problem: "does not tell"},
		{name: "out of order", status: 503, user: "s", app: "sf", problem: "does not tell: the provider is not available (HTTP 503)"},
		{name: "token", status: 200, body: token, user: "s", app: "pp", problem: ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := served(func(w http.ResponseWriter, r *http.Request) {
				if r.Method != http.MethodPost {
					return
				}
				w.Header().Set("Content-Type", "application/json")
				w.Header().Set("Location", "/elsewhere")
				w.WriteHeader(test.status)
				io.WriteString(w, test.body)
			})
			steps := m.Check(t.Context(), byAddresses(authprofile.TypeUser))
			wantSteps(t, steps, "pspp"+test.user+"sss")
			wantProblem(t, steps, "client", test.problem)
			steps = m.Check(t.Context(), byAddresses(authprofile.TypeApp))
			wantSteps(t, steps, "psss"+test.app+"ss")
			if test.app[0] == test.user[0] {
				wantProblem(t, steps, "client", test.problem)
			}
		})
	}
}

// How connections fail, over sockets.
func TestCheckConnections(t *testing.T) {
	token := func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			webtest.JSON(`{"access_token":"t","token_type":"Bearer"}`)(w, r)
		}
	}
	srv := httptest.NewUnstartedServer(http.HandlerFunc(token))
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.StartTLS()
	t.Cleanup(srv.Close)
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()

	named := strings.Replace(srv.URL, "127.0.0.1", "localhost", 1)
	for _, test := range []struct {
		name    string
		url     string
		client  *http.Client
		want    string
		problem []string
	}{
		{name: "good", url: srv.URL, client: srv.Client(), want: "psssppsp"},
		{name: "connection refused", url: gone.URL, client: srv.Client(), want: "fsssssss", problem: []string{strings.TrimPrefix(gone.URL, "http://") + ": ", "connect"}},
		{name: "certificate of another host", url: named, client: srv.Client(), want: "fsssssss", problem: []string{"localhost:", "the server's certificate is for another host"}},
		{name: "certificate of an unknown authority", url: srv.URL, client: nil, want: "fsssssss", problem: []string{"signed by an unknown authority"}},
		{name: "certificate that has ended", url: srv.URL, want: "fsssssss", problem: []string{"has expired or is not yet valid"}, client: later(srv.Client())},
		{name: "address that must not be connected to", url: srv.URL, client: egress.NewClient(), want: "fsssssss", problem: []string{"an address that this program may not connect to"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := &authprofile.Manager{HTTPClient: test.client}
			defer m.Shutdown(context.Background())
			p := registered(authprofile.Profile{Type: authprofile.TypeApp, Endpoints: authprofile.Endpoints{TokenURL: test.url + "/token"}})
			steps := m.Check(t.Context(), p)
			wantSteps(t, steps, test.want)
			wantProblem(t, steps, "address", test.problem...)
			if len(test.problem) > 0 {
				wantProblem(t, steps, "address", "Endpoints.TokenURL: ")
			}
		})
	}
}

// later returns a client to whom certificates of today have ended.
func later(hc *http.Client) *http.Client {
	tr := hc.Transport.(*http.Transport).Clone()
	tr.TLSClientConfig.Time = func() time.Time { return time.Now().AddDate(200, 0, 0) }
	return &http.Client{Transport: tr}
}

// An endpoint that hangs holds a step up for half a minute at most, and the
// check no longer than the caller's context lasts.
func TestCheckHangs(t *testing.T) {
	for _, test := range []struct {
		endpoint providertest.Endpoint
		want     string
		step     string
		problem  string
		took     time.Duration
	}{
		{providertest.Discovery, "fspsssss", "address", "no answer in time", 30 * time.Second},
		{providertest.JWKS, "pfpppssp", "discovery", "/keys: no answer in time", 10 * time.Second},
		{providertest.Authorization, "pppfpssp", "authorization", "login.example.com: no answer in time", 30 * time.Second},
		{providertest.Token, "ppppfssp", "client", "the token endpoint: no answer in time", 30 * time.Second},
	} {
		t.Run(string(test.endpoint), func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.srv.Fault(test.endpoint, providertest.Fault{Times: -1, Hang: true})
				m := w.checker(0)
				began := time.Now()
				steps := m.Check(t.Context(), w.unsavedUser())
				wantSteps(t, steps, test.want)
				wantProblem(t, steps, test.step, test.problem)
				if got := time.Since(began); got != test.took {
					t.Errorf("got a check of %v, want %v", got, test.took)
				}
				for _, s := range steps {
					if s.Name == test.step && s.Took != test.took {
						t.Errorf("%s: took %v, want %v", s.Name, s.Took, test.took)
					}
				}

				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				began = time.Now()
				steps = m.Check(ctx, w.unsavedUser())
				at := slices.Index(checkSteps, test.step)
				wantSteps(t, steps, test.want[:at]+"f"+strings.Repeat("s", 7-at))
				wantProblem(t, steps, test.step, "context deadline exceeded")
				wantProblem(t, steps, "clock", "the check has ended before: context deadline exceeded")
				if got := time.Since(began); got != time.Second {
					t.Errorf("got a check of %v, want a second", got)
				}
			})
		})
	}
}

func TestCheckOfACallerWhoHasLeft(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		steps := w.checker(0).Check(ctx, w.unsavedUser())
		wantSteps(t, steps, "ssssssss")
		wantProblem(t, steps, "address", "context canceled")
		if got := len(w.srv.Captured()); got != 0 {
			t.Errorf("got %d requests, want none", got)
		}
	})
}

// The application's own limit holds, too.
func TestCheckTakesTheTimeoutOfTheClient(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.srv.Fault(providertest.Authorization, providertest.Fault{Times: -1, Hang: true})
		m := w.checker(0)
		m.HTTPClient.Timeout = 3 * time.Second
		steps := m.Check(t.Context(), w.unsavedUser())
		wantSteps(t, steps, "pppfpssp")
		if got := steps[3].Took; got != 3*time.Second {
			t.Errorf("took %v, want 3s", got)
		}
	})
}

func TestCheckClock(t *testing.T) {
	for _, test := range []struct {
		offset time.Duration
		want   string
	}{
		{0, ""},
		{time.Minute, ""},
		{-time.Minute, ""},
		{62 * time.Second, "the provider's clock is 1m2s ahead of this machine's"},
		{time.Hour, "the provider's clock is 1h0m0s ahead of this machine's"},
		{-time.Hour, "the provider's clock is 1h0m0s behind this machine's"},
		{-100 * 365 * 24 * time.Hour, "behind this machine's"},
	} {
		inWorld(t, func(t *testing.T, w *world) {
			s := w.checker(test.offset).Check(t.Context(), w.unsavedUser())[7]
			if s.Outcome == authprofile.StepPassed != (test.want == "") || !strings.Contains(s.Problem, test.want) {
				t.Errorf("%v: got %s %q, want %q", test.offset, s.Outcome, s.Problem, test.want)
			}
		})
	}

	for _, test := range []struct {
		name string
		date func(h http.Header, sent time.Time)
		want string
	}{
		{"none", func(http.Header, time.Time) {}, authprofile.StepSkipped},
		{"no date", func(h http.Header, _ time.Time) { h.Set("Date", "yesterday") }, authprofile.StepSkipped},
		{"of a cache", func(h http.Header, sent time.Time) {
			h.Set("Date", sent.Add(-time.Hour).UTC().Format(http.TimeFormat))
			h.Set("Age", "3600")
		}, authprofile.StepSkipped},
		{"of a slow answer", func(h http.Header, sent time.Time) { // whose date is that of its end, 70 seconds from its beginning
			h.Set("Date", time.Now().UTC().Format(http.TimeFormat))
		}, authprofile.StepPassed},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := served(func(w http.ResponseWriter, r *http.Request) {
					sent := time.Now()
					webtest.Pass(10 * time.Second)
					test.date(w.Header(), sent)
				})
				s := m.Check(t.Context(), byAddresses(authprofile.TypeApp))[7]
				if s.Outcome != test.want {
					t.Errorf("got %s %q, want %s", s.Outcome, s.Problem, test.want)
				}
			})
		})
	}
}

// The middle of a request counts, as an answer may be dated at its beginning or
// at its end.
func TestCheckClockOfASlowAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, atEnd := range []bool{true, false} {
			m := served(func(w http.ResponseWriter, r *http.Request) {
				date := time.Now()
				webtest.Pass(20 * time.Second)
				if atEnd {
					date = time.Now()
				}
				// With the ten seconds from the middle, 55 and not 65.
				offset := 45 * time.Second
				if !atEnd {
					offset = -offset
				}
				w.Header().Set("Date", date.Add(offset).UTC().Format(http.TimeFormat))
			})
			s := m.Check(t.Context(), byAddresses(authprofile.TypeApp))[7]
			if s.Outcome != authprofile.StepPassed {
				t.Errorf("dated at its end %t: got %s %q, want passed", atEnd, s.Outcome, s.Problem)
			}
		}
	})
}

// A check leaves nothing behind: no call of the Store, no token, no document.
func TestCheckLeavesNothing(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		m := w.checker(0) // without a Store
		p := w.unsavedApp()
		p.Endpoints = authprofile.Endpoints{DiscoveryURL: w.srv.DiscoveryURL()}
		if _, err := m.Discover(t.Context(), w.srv.DiscoveryURL()); err != nil {
			t.Fatal(err)
		}

		w.srv.Mutate(providertest.Discovery, func(doc map[string]any) { doc["scopes_supported"] = []string{"new"} })
		wantSteps(t, m.Check(t.Context(), p), "ppssppsp")
		w.srv.Mutate(providertest.Discovery, func(doc map[string]any) { delete(doc, "token_endpoint") })
		wantSteps(t, m.Check(t.Context(), p), "pfsssssp")
		w.srv.Mutate(providertest.Discovery, nil)
		if got := m.Cached(); got != 0 {
			t.Errorf("got %d grants in memory, want none", got)
		}
		w.asked("client_credentials", 1)

		before := w.srv.Hits(providertest.Discovery)
		d, err := m.Discover(t.Context(), w.srv.DiscoveryURL())
		if err != nil || slices.Contains(d.Scopes, "new") {
			t.Errorf("got %v, %v, want the document from before the checks", d, err)
		}
		w.token(m, p)
		w.asked("client_credentials", 2)
		if got := w.srv.Hits(providertest.Discovery); got != before {
			t.Errorf("got %d requests for the document, want none after the checks", got-before)
		}
	})
}

// A grant of the profile that is checked goes on as it was.
func TestCheckTouchesNoGrant(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.adasProfile()
		before, have := w.grant(ada), w.token(w.m, p, asAda)
		w.m.Check(t.Context(), p, asAda)
		p.ClientSecret = "another"
		w.m.Check(t.Context(), p, asAda)
		if got := w.grant(ada); got.Version != before.Version {
			t.Errorf("got version %d, want %d", got.Version, before.Version)
		}
		if got := w.token(w.m, p, asAda); got != have {
			t.Error("got another token, want the one from before")
		}
		w.asked("refresh_token", 0)
		expire()
		w.token(w.m, p, asAda)
		w.healthy(ada)
	})
}

func TestCheckRedirectAddresses(t *testing.T) {
	for _, test := range []struct {
		name             string
		manager, profile string
		id               string
		want             string
		problem          string
	}{
		{name: "Manager's", manager: "https://app.example.com/callback", want: "pppppssp"},
		{name: "profile's", profile: "https://app.example.com/callback", want: "pppppssp"},
		{name: "none", want: "ppfspssp", problem: "RedirectURL: is missing, and the Manager has none either"},
		{name: "Manager's that is none", manager: "http://app.example.com/callback", want: "ppfspssp", problem: "the Manager's must be https"},
		{name: "with an ID", manager: "https://app.example.com/{profile}", id: "crm", want: "pppppssp"},
		{name: "without an ID", manager: "https://app.example.com/{profile}", want: "ppsspssp", problem: "when it is saved"},
		{name: "profile's that is none", profile: "callback", want: "fsssssss"},
	} {
		t.Run(test.name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				m := w.checker(0)
				m.RedirectURL = test.manager
				p := w.unsavedUser()
				p.ID, p.RedirectURL = test.id, test.profile
				steps := m.Check(t.Context(), p)
				wantSteps(t, steps, test.want)
				wantProblem(t, steps, "redirect", test.problem)
			})
		})
	}
}

// A provider that repeats all that it is sent, wherever it can, gets no secret
// into a problem.
func TestThreat135_CheckTellsNoSecret(t *testing.T) {
	const secret = "SENTINEL-client-secret"
	for _, typ := range []authprofile.Type{authprofile.TypeApp, authprofile.TypeUser} {
		for _, method := range []authprofile.AuthMethod{authprofile.AuthBasic, authprofile.AuthPost, authprofile.AuthBasicRaw} {
			for _, status := range []int{200, 302, 400, 401, 500} {
				secrets := []string{secret, base64.StdEncoding.EncodeToString([]byte(providertest.ClientID + ":" + secret)), "SENTINEL-token", "SENTINEL-user"}
				m := served(func(w http.ResponseWriter, r *http.Request) {
					body, _ := io.ReadAll(r.Body)
					form, _ := url.ParseQuery(string(body))
					for _, name := range []string{"code", "code_verifier"} {
						if form.Has(name) {
							secrets = append(secrets, form.Get(name))
						}
					}
					said := fmt.Sprintf("%s %s %s", body, r.Header, form)
					w.Header().Set("Content-Type", "application/json")
					w.Header().Set("Location", "https://app.example.com/callback?error=no&error_description="+url.QueryEscape(said))
					w.WriteHeader(status)
					fmt.Fprintf(w, `{"error":%q,"error_description":%q,"access_token":"SENTINEL-token"}`, "no "+form.Get("code"), said)
				})
				p := byAddresses(typ)
				p.ClientSecret, p.AuthMethod = secret, method
				steps := m.Check(t.Context(), p, authprofile.AsUser("SENTINEL-user"))
				if typ == authprofile.TypeApp {
					steps = append(steps, m.Check(t.Context(), p)...)
				}
				for _, s := range steps {
					for _, secret := range secrets {
						if strings.Contains(s.Problem, secret) {
							t.Errorf("%s, %s, %d, %s: got %q, want no %q in it", typ, method, status, s.Name, s.Problem, secret)
						}
					}
				}
			}
		}
	}
}

// However a transport ends, all steps are there.
func TestCheckSurvivesTransports(t *testing.T) {
	for how, end := range map[string]func() (*http.Response, error){
		"ends its goroutine": func() (*http.Response, error) { runtime.Goexit(); return nil, nil },
		"panics":             func() (*http.Response, error) { panic("SENTINEL") },
		"returns nothing":    func() (*http.Response, error) { return nil, nil },
		"returns no body":    func() (*http.Response, error) { return &http.Response{StatusCode: 200}, nil },
		"panics at the body": func() (*http.Response, error) {
			return &http.Response{StatusCode: 200, Header: http.Header{"Content-Type": {"application/json"}}, Body: panickingBody{}}, nil
		},
	} {
		for _, after := range []int{0, 1, 2, 3, 4} {
			t.Run(fmt.Sprintf("%s after %d requests", how, after), func(t *testing.T) {
				inWorld(t, func(t *testing.T, w *world) {
					requests := 0
					m := w.checker(0)
					m.HTTPClient.Transport = webtest.RoundTripper(func(r *http.Request) (*http.Response, error) {
						if requests++; requests > after {
							return end()
						}
						return w.srv.Transport().RoundTrip(r)
					})
					for _, s := range m.Check(t.Context(), w.unsavedUser()) {
						if strings.Contains(s.Problem, "SENTINEL") || s.Took > 30*time.Second {
							t.Errorf("%s: got %q after %v", s.Name, s.Problem, s.Took)
						}
					}
				})
			})
		}
	}
}

// A panickingBody is the body of an answer that panics when it is read.
type panickingBody struct{}

func (panickingBody) Read([]byte) (int, error) { panic("SENTINEL") }
func (panickingBody) Close() error             { return nil }

// No redirect leads a check to another host, and no request of it has a cookie.
func TestCheckFollowsNoRedirect(t *testing.T) {
	for _, typ := range []authprofile.Type{authprofile.TypeApp, authprofile.TypeUser} {
		m := served(func(w http.ResponseWriter, r *http.Request) {
			if "https://"+r.URL.Host != issuer || r.Header.Get("Cookie") != "" {
				t.Errorf("got a request for %s with cookies %q, want none", r.URL, r.Header["Cookie"])
			}
			w.Header().Set("Set-Cookie", "a=b")
			w.Header().Set("Location", "https://evil.example.com/")
			w.WriteHeader(http.StatusTemporaryRedirect)
		})
		m.Check(t.Context(), byAddresses(typ))
		p := byAddresses(typ)
		p.Endpoints = authprofile.Endpoints{DiscoveryURL: issuer + "/.well-known/openid-configuration"}
		m.Check(t.Context(), p)
	}
}
