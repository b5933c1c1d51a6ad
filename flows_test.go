package authprofile_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/oauth2"

	"github.com/authprofile/authprofile"
	"github.com/authprofile/authprofile/egress"
	"github.com/authprofile/authprofile/providertest"
)

// begin begins an authorization that must not fail.
func (w *world) begin(p *authprofile.Profile, user string, opts ...oauth2.AuthCodeOption) *authprofile.Flow {
	w.Helper()
	f, err := w.m.Begin(w.Context(), p, user, opts...)
	if err != nil {
		w.Fatal(err)
	}
	return f
}

// consent lets the person at the provider decide, and returns the query that
// the browser comes back with.
func (w *world) consent(f *authprofile.Flow) url.Values {
	w.Helper()
	back, err := w.srv.Authorize(f.URL)
	if err != nil {
		w.Fatal(err)
	}
	return back.Query()
}

// finishFails wants Finish to fail, and returns its error.
func (w *world) finishFails(user string, query url.Values, target error) error {
	w.Helper()
	g, err := w.m.Finish(w.Context(), user, query)
	var e *authprofile.Error
	switch {
	case err == nil:
		w.Fatalf("got a grant of %q, want an error", g.User)
	case target != nil && !errors.Is(err, target):
		w.Fatalf("got error %v, want one that is: %v", err, target)
	case !errors.As(err, &e) || e.Op != "finish":
		w.Fatalf("got error %#v, want an *Error of finish", err)
	}
	return err
}

// noGrant wants nothing to be stored for a user.
func (w *world) noGrant(key authprofile.GrantKey) {
	w.Helper()
	if _, err := w.store.Grant(w.Context(), key); !errors.Is(err, authprofile.ErrNotFound) {
		w.Errorf("got error %v, want no grant: ErrNotFound", err)
	}
}

// A revocation is a request that asked the provider to revoke a token.
type revocation struct {
	address string
	form    url.Values
}

func (w *world) revocations() (list []revocation) {
	w.Helper()
	for _, c := range w.srv.Captured() {
		if c.Endpoint != providertest.Revocation {
			continue
		}
		form, err := url.ParseQuery(c.Body)
		if err != nil {
			w.Fatal(err)
		}
		list = append(list, revocation{c.URL, form})
	}
	return list
}

// with returns a copy of query with one parameter replaced, or removed.
func with(query url.Values, name string, values ...string) url.Values {
	q := make(url.Values, len(query)+1)
	for k, v := range query {
		q[k] = v
	}
	q[name] = values
	if len(values) == 0 {
		delete(q, name)
	}
	return q
}

func parsed(t *testing.T, address string) *url.URL {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// bodies returns the forms that were posted to the token endpoint.
func bodies(t *testing.T, srv *providertest.Server) []url.Values {
	t.Helper()
	var list []url.Values
	for _, c := range srv.Captured() {
		if c.Endpoint == providertest.Token {
			form, err := url.ParseQuery(c.Body)
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, form)
		}
	}
	return list
}

func TestAuthorizationRequest(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.user()
		p.Params = url.Values{"audience": {"api"}, "login_hint": {"from the profile"}}
		w.save(p)
		f := w.begin(p, "ada", oauth2.SetAuthURLParam("login_hint", "from the option"), oauth2.AccessTypeOffline)
		q := parsed(t, f.URL).Query()
		for name, want := range map[string]string{
			"response_type":         "code",
			"client_id":             providertest.ClientID,
			"redirect_uri":          "https://app.example.com/callback",
			"scope":                 "openid read offline_access",
			"state":                 f.State,
			"code_challenge_method": "S256",
			"code_challenge":        oauth2.S256ChallengeFromVerifier(string(f.Verifier)),
			"nonce":                 f.Nonce,
			"audience":              "api",
			"login_hint":            "from the option",
			"access_type":           "offline",
		} {
			if got := q[name]; len(got) != 1 || got[0] != want || want == "" {
				t.Errorf("%s: got %q, want %q", name, got, want)
			}
		}
		if len(q) != 11 {
			t.Errorf("got parameters %v, want no others", q)
		}
		if got := time.Until(f.Expires); got != 10*time.Minute {
			t.Errorf("got a flow of %v, want 10m", got)
		}

		g, err := w.m.Finish(t.Context(), "ada", w.consent(f))
		if err != nil {
			t.Fatal(err)
		}
		if g.GrantKey != ada || g.Subject != "user" || g.Issuer != issuer || g.ClientID != providertest.ClientID ||
			g.Status != authprofile.StatusActive || g.Version == 0 || !slices.Equal(g.Scopes, p.Scopes) || !slices.Equal(g.Requested, p.Scopes) {
			t.Errorf("got grant %v", g)
		}
		if got := w.token(w.m, p, asAda); got != string(g.AccessToken) {
			t.Errorf("got token %q, want that of the new grant", got)
		}
		w.asked("refresh_token", 0)
	})
}

// Spaces in the authorization address are "%20", which all providers read; some
// take a "+" for itself.
func TestSpacesInTheAuthorizationAddress(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.save(&authprofile.Profile{
			Type: authprofile.TypeUser, ClientID: "a client", ClientSecret: providertest.ClientSecret,
			Endpoints: authprofile.Endpoints{AuthURL: w.srv.AuthURL() + "?tenant=a+b%20c%2Bd;e&odd=100%", TokenURL: w.srv.TokenURL()},
			Scopes:    []string{"read", "a+b", "openid"},
			Params:    url.Values{"audience": {"my api+1"}},
		})
		f := w.begin(p, "ada", oauth2.SetAuthURLParam("login_hint", "ada + eve"))
		raw := parsed(t, f.URL).RawQuery
		if strings.Contains(raw, "+") {
			t.Errorf("got query %q, want no plus in it", raw)
		}
		for _, want := range []string{
			"scope=read%20a%2Bb%20openid", "audience=my%20api%2B1", "login_hint=ada%20%2B%20eve", "client_id=a%20client",
			"tenant=a%20b%20c%2Bd%3Be", "odd=100%25",
		} {
			if !slices.Contains(strings.Split(raw, "&"), want) {
				t.Errorf("got query %q, want %s in it", raw, want)
			}
		}
	})
}

func TestBeginRefuses(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.user()
		unsaved := p.Clone()
		unsaved.Version = 0
		for _, test := range []struct {
			name   string
			p      *authprofile.Profile
			user   string
			target error
			field  string
		}{
			{"no user", p, "", authprofile.ErrUserMismatch, ""},
			{"control character", p, "ada\n", nil, "User"},
			{"too long", p, strings.Repeat("a", 513), nil, "User"},
			{"not UTF-8", p, "a\xff", nil, "User"},
			{"app profile", w.app(), "ada", nil, "Type"},
			{"unsaved", unsaved, "ada", authprofile.ErrNotFound, ""},
			{"unknown", &authprofile.Profile{ID: "no", Type: authprofile.TypeUser, Version: 1}, "ada", authprofile.ErrNotFound, ""},
		} {
			f, err := w.m.Begin(t.Context(), test.p, test.user)
			var e *authprofile.Error
			if f != nil || !errors.As(err, &e) || e.Op != "begin" {
				t.Errorf("%s: got %v, %#v; want an *Error of begin", test.name, f, err)
			}
			if test.target != nil && !errors.Is(err, test.target) {
				t.Errorf("%s: got %v, want %v", test.name, err, test.target)
			}
			var fe *authprofile.FieldError
			if test.field != "" && (!errors.As(err, &fe) || fe.Field != test.field) {
				t.Errorf("%s: got %v, want a *FieldError of %s", test.name, err, test.field)
			}
		}
		if got := len(w.srv.Captured()); got != 0 {
			t.Errorf("got %d requests to the provider, want none", got)
		}
	})
}

func TestBeginGoesByTheStoredProfile(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.user()
		old := p.Clone()
		p.Type = authprofile.TypeApp
		p.RedirectURL = ""
		w.save(p)
		var fe *authprofile.FieldError
		if f, err := w.m.Begin(t.Context(), old, "ada"); !errors.As(err, &fe) || fe.Field != "Type" {
			t.Errorf("got %v, %v; want a *FieldError of Type", f, err)
		}
	})
}

// A scope option may bring openid in or leave it out.
func TestScopeOfAnOption(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.user()
		f := w.begin(p, "ada", oauth2.SetAuthURLParam("scope", "read write"))
		if q := parsed(t, f.URL).Query(); q.Get("scope") != "read write" || q.Has("nonce") || f.Nonce != "" {
			t.Errorf("got %v, want the scope of the option and no nonce", q)
		}
		g, err := w.m.Finish(t.Context(), "ada", w.consent(f))
		if err != nil {
			t.Fatal(err)
		}
		if want := []string{"read", "write"}; !slices.Equal(g.Requested, want) || g.Subject != "" {
			t.Errorf("got %v, want the scopes %q and no subject", g, want)
		}

		p.Scopes = []string{"read"}
		w.save(p)
		f = w.begin(p, "eve", oauth2.SetAuthURLParam("scope", "read openid"))
		w.srv.MutateIDToken(func(_, claims map[string]any) { claims["nonce"] = "another" })
		w.finishFails("eve", w.consent(f), nil)
		w.srv.MutateIDToken(nil)
		f = w.begin(p, "eve", oauth2.SetAuthURLParam("scope", "read openid"))
		if g, err = w.m.Finish(t.Context(), "eve", w.consent(f)); err != nil || g.Subject != "user" {
			t.Errorf("got %v, %v; want the subject of a verified ID token", g, err)
		}

		var fe *authprofile.FieldError
		if _, err := w.m.Begin(t.Context(), p, "ada", oauth2.SetAuthURLParam("scope", `a"b`)); !errors.As(err, &fe) {
			t.Errorf("got %v, want a *FieldError", err)
		}
	})
	w := &world{T: t, srv: providertest.NewServer(t, providertest.Microsoft("common"))}
	w.m = &authprofile.Manager{HTTPClient: w.srv.Client(), RedirectURL: "https://app.example.com/callback"}
	p := w.save(&authprofile.Profile{
		Type: authprofile.TypeUser, Template: authprofile.Microsoft("common"),
		ClientID: providertest.ClientID, ClientSecret: providertest.ClientSecret,
	})
	f := w.begin(p, "ada", oauth2.SetAuthURLParam("scope", "Mail.Read"))
	if got, want := parsed(t, f.URL).Query().Get("scope"), "Mail.Read offline_access"; got != want {
		t.Errorf("got scope %q, want %q: the template's is not lost", got, want)
	}
}

func TestTemplatesRunTheirWholeFlow(t *testing.T) {
	const guid = "0a1b2c3d-0000-4000-8000-00000000abcd"
	type test struct {
		name     string
		option   providertest.Option
		template authprofile.Template
		scopes   []string
		issuer   string // of the grant
	}
	tests := []test{{
		"google", providertest.Google(), authprofile.Google,
		[]string{"openid", "https://www.googleapis.com/auth/drive.readonly"}, "https://accounts.google.com",
	}}
	for _, tenant := range []string{
		"common", "organizations", "consumers", guid, "contoso.com",
		"login.microsoftonline.us/contoso.com", "login.microsoftonline.us/common",
		"login.partner.microsoftonline.cn/contoso.cn", "login.partner.microsoftonline.cn/" + guid,
	} {
		tests = append(tests, test{
			"microsoft " + tenant, providertest.Microsoft(tenant), authprofile.Microsoft(tenant),
			[]string{"openid", "User.Read", "Mail.Read"}, "",
		})
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			inWorldOf(t, test.option, func(t *testing.T, w *world) {
				// Google gives a refresh token only at the first consent,
				// unless it is asked to ask again.
				for round := range 2 {
					p := w.save(&authprofile.Profile{
						Type: authprofile.TypeUser, Template: test.template, Scopes: test.scopes,
						ClientID: providertest.ClientID, ClientSecret: providertest.ClientSecret,
					})
					if p.Endpoints != (authprofile.Endpoints{}) {
						t.Errorf("got addresses %v, want none to be stored", p.Endpoints)
					}
					g := w.authorize(p, "ada")
					if g.RefreshToken == "" || g.Subject != "user" {
						t.Fatalf("round %d: got %v, want a refresh token and a subject", round, g)
					}
					if test.issuer != "" && g.Issuer != test.issuer {
						t.Errorf("got issuer %q, want %q", g.Issuer, test.issuer)
					}
					if strings.Contains(g.Issuer, "{") {
						t.Errorf("got issuer %q, want the tenant's own", g.Issuer)
					}
					first := w.token(w.m, p, asAda)
					expire()
					if second := w.token(w.m, p, asAda); second == first {
						t.Error("got the same token after its end")
					}
					key := authprofile.GrantKey{ProfileID: p.ID, User: "ada"}
					w.healthy(key)
					if got := w.grant(key).Scopes; len(got) < len(test.scopes) {
						t.Errorf("got scopes %q after a refresh, want them not to be narrowed", got)
					}
				}
				for _, r := range w.srv.Requests() {
					want := ""
					if r.Grant == "refresh_token" && test.template != authprofile.Google {
						want = "openid User.Read Mail.Read offline_access"
					}
					if r.Scope != want {
						t.Errorf("%s: got scope %q in the token request, want %q", r.Grant, r.Scope, want)
					}
					if r.AuthMethod != "client_secret_post" {
						t.Errorf("got client authentication %q, want client_secret_post", r.AuthMethod)
					}
				}
			})
		})
	}
}

// At "common", the ID token's issuer must fit its tid.
func TestTenantOfAnIDToken(t *testing.T) {
	const other = "11111111-2222-4333-8444-555555555555"
	for _, test := range []struct {
		name   string
		mutate func(header, claims map[string]any)
		ok     bool
	}{
		{"as it is", func(_, claims map[string]any) {}, true},
		{"another tenant throughout", func(_, claims map[string]any) {
			claims["tid"], claims["iss"] = other, "https://login.microsoftonline.com/"+other+"/v2.0"
		}, true},
		{"tid of another", func(_, claims map[string]any) { claims["tid"] = other }, false},
		{"no tid", func(_, claims map[string]any) { delete(claims, "tid") }, false},
		{"iss of another", func(_, claims map[string]any) {
			claims["iss"] = "https://login.microsoftonline.com/" + other + "/v2.0"
		}, false},
		{"braces", func(_, claims map[string]any) {
			claims["tid"], claims["iss"] = "{tenantid}", "https://login.microsoftonline.com/{tenantid}/v2.0"
		}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			inWorldOf(t, providertest.Microsoft("common"), func(t *testing.T, w *world) {
				p := w.save(&authprofile.Profile{
					Type: authprofile.TypeUser, Template: authprofile.Microsoft("common"), Scopes: []string{"openid"},
					ClientID: providertest.ClientID, ClientSecret: providertest.ClientSecret,
				})
				w.srv.MutateIDToken(test.mutate)
				q := w.consent(w.begin(p, "ada"))
				if _, err := w.m.Finish(t.Context(), "ada", q); (err == nil) != test.ok {
					t.Errorf("got error %v, want success to be %v", err, test.ok)
				}
			})
		})
	}
}

func TestProviderByItsAddresses(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.save(&authprofile.Profile{
			Type: authprofile.TypeUser, ClientID: providertest.ClientID, ClientSecret: providertest.ClientSecret,
			Endpoints: authprofile.Endpoints{AuthURL: w.srv.AuthURL(), TokenURL: w.srv.TokenURL()},
			Scopes:    []string{"openid", "offline_access"},
		})
		w.srv.MutateIDToken(func(h, claims map[string]any) { claims["iss"] = "https://nobody.example.com" })
		g := w.authorize(p, "ada")
		if g.Subject == "" || g.Issuer != issuer {
			t.Errorf("got subject %q of %q; want what the token endpoint has said, at its own origin", g.Subject, g.Issuer)
		}
		first := w.token(w.m, p, asAda)
		expire()
		if second := w.token(w.m, p, asAda); second == first {
			t.Error("got the same token after its end")
		}
		if got := w.srv.Hits(providertest.Discovery) + w.srv.Hits(providertest.JWKS); got != 0 {
			t.Errorf("got %d requests for documents, want none", got)
		}
	})
}

func TestThreat046_RedirectAddressIsTheSameEverywhere(t *testing.T) {
	for _, test := range []struct{ manager, profile, id, want string }{
		{"", "https://App.Example.com/CallBack/%7Eme?a=%2f&B=x%20y", "crm", "https://App.Example.com/CallBack/%7Eme?a=%2f&B=x%20y"},
		{"https://unused.example.com/", "http://127.0.0.1:8080/CB", "crm", "http://127.0.0.1:8080/CB"},
		{"https://app.example.com/cb/{profile}", "", "crm", "https://app.example.com/cb/crm"},
		{"https://app.example.com/cb/{profile}", "", "Ä/b ?#&+=%", "https://app.example.com/cb/%C3%84%2Fb%20%3F%23%26%2B%3D%25"},
		{"https://app.example.com/cb?p={profile}&q={profile}", "", "a&p=b+c", "https://app.example.com/cb?p=a%26p%3Db%2Bc&q=a%26p%3Db%2Bc"},
		{"https://app.example.com/CB", "", "crm", "https://app.example.com/CB"},
	} {
		t.Run(test.want, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.srv.AddClient(providertest.Client{ID: "c", Secret: "s", RedirectURLs: []string{test.want}})
				w.m = &authprofile.Manager{Store: w.store, HTTPClient: w.srv.Client(), RedirectURL: test.manager}
				p := &authprofile.Profile{
					ID: test.id, Type: authprofile.TypeUser, ClientID: "c", ClientSecret: "s", RedirectURL: test.profile,
					Endpoints: authprofile.Endpoints{DiscoveryURL: w.srv.DiscoveryURL()},
				}
				if got := w.m.RedirectAddress(p); got != test.want { // before it was saved, too
					t.Errorf("got redirect address %q, want %q", got, test.want)
				}
				w.save(p)
				f := w.begin(p, "ada")
				if got := parsed(t, f.URL).Query().Get("redirect_uri"); got != test.want {
					t.Errorf("got %q in the authorization request, want %q", got, test.want)
				}
				// What is configured meanwhile does not matter to this flow.
				w.m = &authprofile.Manager{Store: w.store, HTTPClient: w.srv.Client(), RedirectURL: "https://elsewhere.example.com/"}
				if _, err := w.m.Finish(t.Context(), "ada", w.consent(f)); err != nil {
					t.Fatal(err)
				}
				if got := bodies(t, w.srv)[0].Get("redirect_uri"); got != test.want {
					t.Errorf("got %q in the token request, want %q", got, test.want)
				}
			})
		})
	}
}

// TestThreat038_EachProfileItsAddress: with "{profile}" no two profiles have
// the same redirect address, however alike their IDs are.
func TestThreat038_EachProfileItsAddress(t *testing.T) {
	m := &authprofile.Manager{RedirectURL: "https://app.example.com/cb/{profile}"}
	seen := make(map[string]string)
	for _, id := range []string{"a", "A", "a ", "a+", "a%20", "a/", "a/b", "a%2Fb", "a?b", "{profile}", "%7Bprofile%7D"} {
		address := m.RedirectAddress(&authprofile.Profile{ID: id})
		if before, ok := seen[address]; ok {
			t.Errorf("got %q for both %q and %q", address, before, id)
		}
		seen[address] = id
		if u := parsed(t, address); u.Host != "app.example.com" || u.Path != "/cb/"+id || u.RawQuery != "" {
			t.Errorf("%q: got %q, want the ID as the last part of the path", id, address)
		}
	}
	if got := m.RedirectAddress(&authprofile.Profile{}); got != "" {
		t.Errorf("got %q without an ID, want nothing: it cannot be known", got)
	}
}

func TestThreats_StateOfACallback(t *testing.T) {
	other := strings.Repeat("A", 43)
	otherCase := func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'z':
			return r - 'a' + 'A'
		case 'A' <= r && r <= 'Z':
			return r - 'A' + 'a'
		}
		return r
	}
	type query = url.Values
	for _, test := range []struct {
		name   string
		change func(q query, f *authprofile.Flow) query
		target error
	}{
		{"001 state that nobody issued", func(q query, f *authprofile.Flow) query { return with(q, "state", other) }, authprofile.ErrNotFound},
		{"002 no state", func(q query, f *authprofile.Flow) query { return with(q, "state") }, nil},
		{"002 empty state", func(q query, f *authprofile.Flow) query { return with(q, "state", "") }, nil},
		{"002 nothing at all", func(q query, f *authprofile.Flow) query { return query{} }, nil},
		{"002 nil", func(q query, f *authprofile.Flow) query { return nil }, nil},
		{"013 in other letters", func(q query, f *authprofile.Flow) query {
			return with(q, "state", strings.Map(otherCase, f.State))
		}, authprofile.ErrNotFound},
		{"013 with padding", func(q query, f *authprofile.Flow) query { return with(q, "state", f.State+"=") }, authprofile.ErrNotFound},
		{"013 with a space", func(q query, f *authprofile.Flow) query { return with(q, "state", f.State+" ") }, authprofile.ErrNotFound},
		{"013 with unicode", func(q query, f *authprofile.Flow) query { return with(q, "state", f.State+"é") }, authprofile.ErrNotFound},
		{"013 its hash", func(q query, f *authprofile.Flow) query { return with(q, "state", f.ID) }, authprofile.ErrNotFound},
		{"013 2 kB", func(q query, f *authprofile.Flow) query { return with(q, "state", strings.Repeat("x", 2048)) }, authprofile.ErrNotFound},
		{"014 two codes", func(q query, f *authprofile.Flow) query { return with(q, "code", "a", "b") }, nil},
		{"014 two equal codes", func(q query, f *authprofile.Flow) query { return with(q, "code", q.Get("code"), q.Get("code")) }, nil},
		{"014 two states", func(q query, f *authprofile.Flow) query { return with(q, "state", f.State, f.State) }, nil},
		{"014 two issuers", func(q query, f *authprofile.Flow) query { return with(q, "iss", issuer, issuer) }, nil},
		{"014 code and error", func(q query, f *authprofile.Flow) query { return with(q, "error", "access_denied") }, nil},
		{"014 empty code and error, with another code", func(q query, f *authprofile.Flow) query { return with(with(q, "error", ""), "code", "", "a") }, nil},
		{"014 both empty", func(q query, f *authprofile.Flow) query { return with(with(q, "error", ""), "code", "") }, nil},
		{"014 two errors", func(q query, f *authprofile.Flow) query { return with(with(q, "error", "a", "b"), "code") }, nil},
		{"014 neither code nor error", func(q query, f *authprofile.Flow) query { return with(q, "code") }, nil},
		{"014 empty code", func(q query, f *authprofile.Flow) query { return with(q, "code", "") }, nil},
		{"015 error with a state that nobody issued", func(q query, f *authprofile.Flow) query {
			return query{"error": {"access_denied"}, "state": {other}}
		}, authprofile.ErrNotFound},
		{"015 error without state", func(q query, f *authprofile.Flow) query { return query{"error": {"access_denied"}} }, nil},
		{"019 access token", func(q query, f *authprofile.Flow) query { return with(q, "access_token", "x") }, nil},
		{"019 access token in place of a code", func(q query, f *authprofile.Flow) query {
			return with(with(q, "access_token", "x"), "code")
		}, nil},
		{"019 ID token", func(q query, f *authprofile.Flow) query { return with(q, "id_token", "x") }, nil},
		{"021 1 MB", func(q query, f *authprofile.Flow) query { return with(q, "x", strings.Repeat("x", 1<<20)) }, nil},
		{"021 long code", func(q query, f *authprofile.Flow) query { return with(q, "code", strings.Repeat("x", 17000)) }, nil},
		{"021 10,000 parameters", func(q query, f *authprofile.Flow) query {
			many := with(q, "x", "1")
			for i := range 10_000 {
				many.Set(fmt.Sprint("p", i), "")
			}
			return many
		}, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				f := w.begin(w.user(), "ada")
				q := w.consent(f)
				requests := len(w.srv.Captured())
				err := w.finishFails("ada", test.change(q, f), test.target)
				var re *oauth2.RetrieveError
				if errors.As(err, &re) {
					t.Errorf("got %v, want nothing of an answer that nobody asked for", re)
				}
				if got := len(w.srv.Captured()) - requests; got != 0 {
					t.Errorf("got %d requests to the provider, want none", got)
				}
				// None of that has ended the flow.
				if _, err := w.m.Finish(t.Context(), "ada", q); err != nil {
					t.Errorf("got %v, want the flow to go on", err)
				}
			})
		})
	}
}

func TestThreat020_UnknownParametersDoNotMatter(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		q := w.consent(w.begin(w.user(), "ada"))
		q["session_state"] = []string{"x", "y"}
		q.Set("scope", "everything")
		q.Set("realmId", "12")
		g, err := w.m.Finish(t.Context(), "ada", q)
		if err != nil {
			t.Fatal(err)
		}
		if slices.Contains(g.Scopes, "everything") {
			t.Errorf("got scopes %q from the browser", g.Scopes)
		}
	})
}

// A parameter without a value is as good as absent.
func TestThreat020_EmptyParametersDoNotMatter(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.user()
		q := with(w.consent(w.begin(p, "ada")), "error", "")
		if _, err := w.m.Finish(t.Context(), "ada", with(q, "error_description", "")); err != nil {
			t.Errorf("got %v for a code and an empty error, want a grant", err)
		}
		w.srv.SetConsent(providertest.Consent{Error: "access_denied"})
		err := w.finishFails("ada", with(w.consent(w.begin(p, "ada")), "code", ""), nil)
		if re, ok := errors.AsType[*oauth2.RetrieveError](err); !ok || re.ErrorCode != "access_denied" {
			t.Errorf("got %v for an error and an empty code, want access_denied", err)
		}
		w.asked("authorization_code", 1)
	})
}

func TestThreat004_OnlyTheUserWhoBeganCanFinish(t *testing.T) {
	for _, user := range []string{"eve", "Ada", "ada ", "", "ada\x00"} {
		t.Run(fmt.Sprintf("%q", user), func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				q := w.consent(w.begin(w.user(), "ada"))
				w.finishFails(user, q, authprofile.ErrUserMismatch)
				w.noGrant(ada)
				w.noGrant(authprofile.GrantKey{ProfileID: "crm", User: user})
				// 006: the flow is gone, for the right user too.
				w.finishFails("ada", q, authprofile.ErrNotFound)
				w.asked("authorization_code", 0)
			})
		})
	}
}

// TestThreat005_FinishNeedsTheBrowser: a flow that is bound to a browser
// cannot be finished where no browser is known.
func TestThreat005_FinishNeedsTheBrowser(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		f := w.begin(w.user(), "ada")
		f.Browser = "hash of a cookie"
		if err := w.store.PutFlow(t.Context(), f); err != nil {
			t.Fatal(err)
		}
		w.finishFails("ada", w.consent(f), authprofile.ErrUserMismatch)
		w.asked("authorization_code", 0)
	})
}

func TestThreat006_OneFinishOfMany(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		q := w.consent(w.begin(w.user(), "ada"))
		other := w.manager() // another process
		var mu sync.Mutex
		var wg sync.WaitGroup
		succeeded := 0
		for i := range 50 {
			m := []*authprofile.Manager{w.m, other}[i%2]
			wg.Go(func() {
				_, err := m.Finish(t.Context(), "ada", q)
				mu.Lock()
				defer mu.Unlock()
				switch {
				case err == nil:
					succeeded++
				case !errors.Is(err, authprofile.ErrNotFound):
					t.Errorf("got %v, want ErrNotFound", err)
				}
			})
		}
		wg.Wait()
		if succeeded != 1 {
			t.Errorf("got %d successes, want 1", succeeded)
		}
		w.asked("authorization_code", 1)
		w.healthy(ada)
	})
}

func TestThreat007_FlowsExpire(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.srv.SetPolicy(providertest.Policy{CodeLifetime: time.Hour})
		p := w.user()
		late, inTime := w.consent(w.begin(p, "ada")), w.consent(w.begin(p, "ada"))
		time.Sleep(10*time.Minute - time.Second)
		if _, err := w.m.Finish(t.Context(), "ada", inTime); err != nil {
			t.Errorf("got %v after 9m59s, want success", err)
		}
		time.Sleep(2 * time.Second)
		w.finishFails("ada", late, authprofile.ErrNotFound)
		w.asked("authorization_code", 1)

		// A Store that still has it does not help.
		f := w.begin(p, "ada")
		f.Expires = time.Now().Add(time.Hour)
		keeps := &lateStore{Store: w.store}
		w.m = &authprofile.Manager{Store: keeps, HTTPClient: w.srv.Client(), RedirectURL: "https://app.example.com/callback"}
		if err := keeps.PutFlow(t.Context(), f); err != nil {
			t.Fatal(err)
		}
		w.finishFails("ada", w.consent(f), authprofile.ErrNotFound)
		w.asked("authorization_code", 1)
	})
}

// A lateStore gives flows out that have ended.
type lateStore struct{ authprofile.Store }

func (s *lateStore) TakeFlow(ctx context.Context, id string) (*authprofile.Flow, error) {
	f, err := s.Store.TakeFlow(ctx, id)
	if err == nil {
		f.Expires = time.Now()
	}
	return f, err
}

func TestThreat008_013_045_NothingIsPredictable(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.user()
		seen := make(map[string]bool)
		ones, bits := 0, 0
		for range 2000 {
			f := w.begin(p, "ada")
			for name, s := range map[string]string{"state": f.State, "nonce": f.Nonce, "verifier": string(f.Verifier)} {
				if seen[s] {
					t.Fatalf("%s: got the same twice", name)
				}
				seen[s] = true
				// 013: nothing but what needs no escaping; 045: 43 to 128 of it.
				b, err := base64.RawURLEncoding.DecodeString(s)
				if err != nil || len(b) != 32 {
					t.Fatalf("%s: got %q, want 256 bits as base64url", name, s)
				}
				for _, c := range b {
					for ; c != 0; c &= c - 1 {
						ones++
					}
				}
				bits += 8 * len(b)
			}
		}
		// Half of one and a half million bits, within ten standard deviations.
		if d := ones - bits/2; d*d > 100*bits/4 {
			t.Errorf("got %d ones among %d bits", ones, bits)
		}
	})
}

func TestThreat009_048_WhatProtectsTheExchangeIsNotTheCallers(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.user()
		for _, opt := range []oauth2.AuthCodeOption{
			oauth2.SetAuthURLParam("state", "fixed"),
			oauth2.SetAuthURLParam("nonce", "fixed"),
			oauth2.SetAuthURLParam("redirect_uri", "https://evil.example.com"),
			oauth2.SetAuthURLParam("client_id", "another"),
			oauth2.SetAuthURLParam("client_secret", "x"),
			oauth2.SetAuthURLParam("code_challenge", "x"),
			oauth2.SetAuthURLParam("code_challenge_method", "plain"),
			oauth2.SetAuthURLParam("response_type", "token"),
			oauth2.SetAuthURLParam("response_type", "code id_token"),
			oauth2.SetAuthURLParam("response_mode", "fragment"),
			oauth2.SetAuthURLParam("request", "x"),
			oauth2.SetAuthURLParam("request_uri", "https://evil.example.com"),
			oauth2.SetAuthURLParam("max_age", "0"),
			oauth2.S256ChallengeOption(strings.Repeat("v", 43)),
			oauth2.VerifierOption(strings.Repeat("v", 43)),
		} {
			var fe *authprofile.FieldError
			f, err := w.m.Begin(t.Context(), p, "ada", opt)
			if !errors.As(err, &fe) || f != nil {
				t.Errorf("%v: got %v, want a *FieldError", opt, err)
			}
			if err != nil && strings.Contains(err.Error(), "evil") {
				t.Errorf("got %v, want the value not to be repeated", err)
			}
		}
		for _, name := range []string{"state", "response_type", "redirect_uri", "code_challenge", "nonce"} {
			p := p.Clone()
			p.Params = url.Values{name: {"x"}}
			if err := w.m.Save(t.Context(), p); err == nil {
				t.Errorf("got no error for %q among a profile's Params", name)
			}
		}
	})
}

// TestThreat011_StoresSeeOnlyAHash: whoever reads a Store cannot finish a flow
// with what is there, and nothing is compared that timing could give away.
func TestThreat011_StoresSeeOnlyAHash(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		f := w.begin(w.user(), "ada")
		sum := sha256.Sum256([]byte(f.State))
		if want := base64.RawURLEncoding.EncodeToString(sum[:]); f.ID != want {
			t.Errorf("got ID %q, want the hash of the state", f.ID)
		}
		kept, err := w.store.TakeFlow(t.Context(), f.ID)
		if err != nil {
			t.Fatal(err)
		}
		if kept.State != "" || kept.URL != "" {
			t.Errorf("got state %q and URL %q in the Store, want neither", kept.State, kept.URL)
		}
		// 010: who it is for stands there, and not in the state.
		if kept.GrantKey != ada {
			t.Errorf("got %v in the Store, want %v", kept.GrantKey, ada)
		}
	})
}

// TestThreat012_NoBuildWithoutChecks: no build tag takes anything out.
func TestThreat012_NoBuildWithoutChecks(t *testing.T) {
	suffix := regexp.MustCompile(`_(aix|android|darwin|freebsd|illumos|ios|js|linux|netbsd|openbsd|plan9|solaris|unix|wasip1|windows|386|amd64|arm|arm64|wasm)\.go$`)
	files := 0
	err := filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && name != "." {
			if _, err := os.Stat(filepath.Join(name, "go.mod")); err == nil || strings.HasPrefix(d.Name(), ".") {
				return filepath.SkipDir // another module
			}
		}
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return nil // tests may want to know about the race detector
		}
		files++
		text, err := os.ReadFile(name)
		if strings.Contains("\n"+string(text), "\n//go:build") || suffix.MatchString(name) {
			t.Errorf("%s: got a build constraint, want none", name)
		}
		return err
	})
	if err != nil || files < 30 {
		t.Fatal(files, err)
	}
}

// TestThreat077_SlowAnswerShortensTheToken: the life of a token begins when the
// request is made, not when its answer comes.
func TestThreat077_SlowAnswerShortensTheToken(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		user, app := w.adasProfile(), w.app()
		expire()
		w.srv.Fault(providertest.Token, providertest.Fault{Committed: true, Delay: 20 * time.Second, Times: -1})
		for _, tt := range []struct {
			p    *authprofile.Profile
			key  authprofile.GrantKey
			opts []authprofile.Option
		}{{user, ada, []authprofile.Option{asAda}}, {app, authprofile.GrantKey{ProfileID: app.ID}, nil}} {
			begin := time.Now()
			w.token(w.m, tt.p, tt.opts...)
			if d := time.Since(begin); d < 20*time.Second {
				t.Fatalf("got the token after %v, want a slow answer", d)
			}
			if got := w.grant(tt.key).Expiry.Sub(begin); got > time.Hour+time.Second {
				t.Errorf("%s: got a token that is used for %v from the request on, want its hour", tt.p.ID, got)
			}
		}
	})
}

// TestThreat131_EndOfTheRefreshToken: it is known where the provider says so,
// and belongs to one refresh token.
func TestThreat131_EndOfTheRefreshToken(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		says := func(seconds int) {
			w.srv.Mutate(providertest.Token, func(a map[string]any) {
				if seconds > 0 {
					a["refresh_expires_in"] = seconds
				}
			})
		}
		left := func(g *authprofile.Grant) time.Duration { return g.RefreshExpiry.Sub(g.Obtained) }
		says(86400)
		p := w.adasProfile()
		if got := left(w.grant(ada)); got != 24*time.Hour {
			t.Errorf("got %v until the end of the refresh token, want a day", got)
		}
		says(7200)
		expire()
		w.token(w.m, p, asAda)
		if got := left(w.grant(ada)); got != 2*time.Hour {
			t.Errorf("got %v after a renewal, want the new two hours", got)
		}
		// The provider goes on with the same one, and says nothing.
		w.srv.SetPolicy(providertest.Policy{Rotation: providertest.RotateNever})
		before := w.grant(ada)
		w.srv.Mutate(providertest.Token, func(a map[string]any) { delete(a, "refresh_token") })
		expire()
		w.token(w.m, p, asAda)
		if got := w.grant(ada); !got.RefreshExpiry.Equal(before.RefreshExpiry) || got.RefreshToken != before.RefreshToken {
			t.Errorf("got %v for a refresh token that stays, want %v", got.RefreshExpiry, before.RefreshExpiry)
		}
		// What is known of the old one says nothing of a new one.
		w.srv.SetPolicy(providertest.Policy{})
		says(0)
		expire()
		w.token(w.m, p, asAda)
		if got := w.grant(ada); !got.RefreshExpiry.IsZero() || got.RefreshToken == before.RefreshToken {
			t.Errorf("got %v for a new refresh token, want that it is not known", got.RefreshExpiry)
		}
	})
}

func TestThreat015_DeniedConsent(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.adasProfile()
		before := w.grant(ada)
		w.srv.SetConsent(providertest.Consent{Error: "access_denied", Description: "ada said no"})
		q := w.consent(w.begin(p, "ada"))
		err := w.finishFails("ada", q, nil)
		var re *oauth2.RetrieveError
		if !errors.As(err, &re) || re.ErrorCode != "access_denied" || re.ErrorDescription != "ada said no" || re.Body != nil {
			t.Errorf("got %#v, want a *RetrieveError with code, description and no body", re)
		}
		if got := err.Error(); !strings.Contains(got, "access_denied") || strings.Contains(got, "said") {
			t.Errorf("got %q, want the code and not the description", got)
		}
		w.finishFails("ada", q, authprofile.ErrNotFound) // it is over
		w.asked("authorization_code", 1)
		if after := w.grant(ada); after.Version != before.Version {
			t.Error("got a changed grant, want the one before to be left alone")
		}
	})
}

func TestThreat016_017_ErrorsOfACallback(t *testing.T) {
	for _, test := range []struct{ name, code, description, wantCode, wantDescription string }{
		{"HTML", "<script>alert(1)</script>", "<img src=x>", "<script>alert(1)</script>", "<img src=x>"},
		{"CRLF", "a\r\nSet-Cookie: x", "b\r\nc", "a??Set-Cookie: x", "b??c"},
		{"terminal", "\x1b[31mred\x07", "\x1b]0;x\x07", "?[31mred?", "?]0;x?"},
		{"quotes", `a"b\c`, `a"b\c`, "a?b?c", `a"b\c`},
		{"not UTF-8", "a\xffb", "a\xffb", "a?b", "a?b"},
		{"letters", "é\u202e", "é\u202e\u00ad", "??", "é??"},
		{"1 MB", strings.Repeat("x", 8000), strings.Repeat("é", 4000), strings.Repeat("x", 64), strings.Repeat("é", 128)},
	} {
		t.Run(test.name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				f := w.begin(w.user(), "ada")
				err := w.finishFails("ada", url.Values{
					"state": {f.State}, "error": {test.code}, "error_description": {test.description},
					"error_uri": {"javascript:alert(1)"}, "iss": {issuer},
				}, nil)
				var re *oauth2.RetrieveError
				if !errors.As(err, &re) {
					t.Fatalf("got %v, want a *RetrieveError", err)
				}
				if re.ErrorCode != test.wantCode {
					t.Errorf("got code %q, want %q", re.ErrorCode, test.wantCode)
				}
				if re.ErrorDescription != test.wantDescription {
					t.Errorf("got description %q, want %q", re.ErrorDescription, test.wantDescription)
				}
				if re.ErrorURI != "" || strings.Contains(fmt.Sprintf("%v %+v %#v", err, err, re), "javascript") {
					t.Errorf("got the address %q, want none", re.ErrorURI)
				}
			})
		})
	}
}

// TestThreat022_FlowsAreBounded: whoever begins flows without end makes the
// Store forget the oldest.
func TestThreat022_FlowsAreBounded(t *testing.T) {
	store := new(authprofile.MemStore)
	put := func(i int) {
		f := &authprofile.Flow{ID: fmt.Sprint(i), Expires: time.Now().Add(time.Hour)}
		if err := store.PutFlow(t.Context(), f); err != nil {
			t.Fatal(err)
		}
	}
	const bound = 100_000
	for i := range bound + 1000 {
		put(i)
	}
	for i, want := range map[int]error{0: authprofile.ErrNotFound, 999: authprofile.ErrNotFound, 1000: nil, bound + 999: nil} {
		if _, err := store.TakeFlow(t.Context(), fmt.Sprint(i)); !errors.Is(err, want) {
			t.Errorf("flow %d: got error %v, want %v", i, err, want)
		}
	}
}

// TestThreat032_AddressesThatABrowserMustNotGet: nothing but https comes out
// of Begin, even if something else has come into the Store.
func TestThreat032_AddressesThatABrowserMustNotGet(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		for i, address := range []string{
			"javascript:alert(1)", "file:///etc/passwd", "$(calc)", "--flag", "http://login.example.com/",
			"https://user:pass@login.example.com/", "https://login.example.com/#x", "//login.example.com/", "",
		} {
			p := &authprofile.Profile{
				ID: fmt.Sprint(i), Type: authprofile.TypeUser, ClientID: "c",
				Endpoints: authprofile.Endpoints{AuthURL: address, TokenURL: w.srv.TokenURL()},
			}
			if err := w.m.Save(t.Context(), p.Clone()); err == nil {
				t.Errorf("%q: got no error from Save", address)
			}
			if err := w.store.PutProfile(t.Context(), p); err != nil {
				t.Fatal(err)
			}
			var fe *authprofile.FieldError
			if f, err := w.m.Begin(t.Context(), p, "ada"); !errors.As(err, &fe) || f != nil {
				t.Errorf("%q: got %v, want a *FieldError", address, err)
			}
		}
	})
}

func TestThreat033_AuthorizationAddressWithAQuery(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.save(&authprofile.Profile{
			Type: authprofile.TypeUser, ClientID: providertest.ClientID, ClientSecret: providertest.ClientSecret,
			Endpoints: authprofile.Endpoints{AuthURL: w.srv.AuthURL() + "?tenant=a%26b&state=x&code_challenge_method=plain", TokenURL: w.srv.TokenURL()},
		})
		f := w.begin(p, "ada")
		q := parsed(t, f.URL).Query()
		if got := q["tenant"]; !slices.Equal(got, []string{"a&b"}) {
			t.Errorf("got tenant %q, want the address's own", got)
		}
		if got := q["state"]; !slices.Equal(got, []string{f.State}) {
			t.Errorf("got state %q, want ours alone", got)
		}
		if got := q["code_challenge_method"]; !slices.Equal(got, []string{"S256"}) {
			t.Errorf("got code_challenge_method %q, want S256 alone", got)
		}
		if _, err := w.m.Finish(t.Context(), "ada", w.consent(f)); err != nil {
			t.Error(err)
		}
	})
}

func TestThreats_IssuerOfACallback(t *testing.T) {
	for _, test := range []struct {
		name      string
		announced bool
		denied    bool
		iss       []string
		ok        bool
	}{
		{"035 announced and right", true, false, []string{issuer}, true},
		{"035 announced and missing", true, false, nil, false},
		{"035 announced and another's", true, false, []string{"https://evil.example.com"}, false},
		{"035 announced, with a slash more", true, false, []string{issuer + "/"}, false},
		{"035 announced, in other letters", true, false, []string{"https://LOGIN.example.com"}, false},
		{"035 announced and empty", true, false, []string{""}, false},
		{"036 not announced and missing", false, false, nil, true},
		{"036 not announced and right", false, false, []string{issuer}, true},
		{"036 not announced and another's", false, false, []string{"https://evil.example.com"}, false},
		{"036 not announced and empty", false, false, []string{""}, false},
		{"037 error without issuer", true, true, nil, false},
		{"037 error of another issuer", true, true, []string{"https://evil.example.com"}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.srv.Mutate(providertest.Discovery, func(answer map[string]any) {
					answer["authorization_response_iss_parameter_supported"] = test.announced
				})
				consent := providertest.Consent{Params: url.Values{"iss": test.iss}}
				if test.denied {
					consent.Error = "access_denied"
				}
				w.srv.SetConsent(consent)
				q := w.consent(w.begin(w.user(), "ada"))
				if test.ok {
					if _, err := w.m.Finish(t.Context(), "ada", q); err != nil {
						t.Error(err)
					}
					return
				}
				err := w.finishFails("ada", q, nil)
				w.asked("authorization_code", 0)
				w.noGrant(ada)
				var re *oauth2.RetrieveError
				if errors.As(err, &re) {
					t.Errorf("got %v, want nothing of what another provider says", re)
				}
			})
		})
	}
}

// TestThreat042_CodeOfAnotherSession: a stolen code is worth nothing in a flow
// that did not ask for it.
func TestThreat042_CodeOfAnotherSession(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.user()
		stolen := w.consent(w.begin(p, "ada")).Get("code")
		q := w.consent(w.begin(p, "eve"))
		err := w.finishFails("eve", with(q, "code", stolen), nil)
		var re *oauth2.RetrieveError
		if !errors.As(err, &re) || re.ErrorCode != "invalid_grant" || re.Body != nil {
			t.Errorf("got %v, want invalid_grant", err)
		}
		w.noGrant(authprofile.GrantKey{ProfileID: "crm", User: "eve"})
		// A refused code is no state of the grant, nor the client's fault.
		for _, target := range []error{authprofile.ErrReauthorize, authprofile.ErrConfiguration} {
			if errors.Is(err, target) {
				t.Errorf("got %v, want no error that is %v", err, target)
			}
		}
	})
}

// TestThreat043_DowngradedChallenge: with the challenge taken out on the way,
// the verifier is sent all the same, and the nonce does not fit.
func TestThreat043_DowngradedChallenge(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.user()
		strip := func(f *authprofile.Flow) string {
			u := parsed(t, f.URL)
			q := u.Query()
			q.Del("code_challenge")
			q.Del("code_challenge_method")
			u.RawQuery = q.Encode()
			return u.String()
		}
		back, err := w.srv.Authorize(strip(w.begin(p, "ada")))
		if err != nil {
			t.Fatal(err)
		}
		q := w.consent(w.begin(p, "eve"))
		// The fake provider ignores the verifier of a code without a challenge,
		// or refuses it; neither ends in a grant.
		w.finishFails("eve", with(q, "code", back.Query().Get("code")), nil)
		w.noGrant(authprofile.GrantKey{ProfileID: "crm", User: "eve"})
		if got := bodies(t, w.srv)[0].Get("code_verifier"); len(got) < 43 {
			t.Errorf("got verifier %q in the token request, want one", got)
		}
		// The second line by itself: the provider lets everything pass.
		f := w.begin(p, "eve")
		w.srv.MutateIDToken(func(_, claims map[string]any) { claims["nonce"] = "of another flow" })
		w.finishFails("eve", w.consent(f), nil)
		w.noGrant(authprofile.GrantKey{ProfileID: "crm", User: "eve"})
	})
}

func TestThreat044_045_S256WhateverIsAdvertised(t *testing.T) {
	for name, methods := range map[string]any{"none listed": nil, "plain": []string{"plain"}, "empty": []string{}} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.srv.Mutate(providertest.Discovery, func(answer map[string]any) {
					answer["code_challenge_methods_supported"] = methods
					if methods == nil {
						delete(answer, "code_challenge_methods_supported")
					}
				})
				f := w.begin(w.user(), "ada")
				q := parsed(t, f.URL).Query()
				if got := q.Get("code_challenge_method"); got != "S256" {
					t.Errorf("got code_challenge_method %q, want S256", got)
				}
				if got, want := q.Get("code_challenge"), oauth2.S256ChallengeFromVerifier(string(f.Verifier)); got != want || got == string(f.Verifier) {
					t.Errorf("got code_challenge %q, want %q", got, want)
				}
				if strings.Contains(f.URL, string(f.Verifier)) {
					t.Error("got the verifier in an address")
				}
			})
		})
	}
}

// TestThreat047_CodesAreSentOnce, whatever becomes of the answer.
func TestThreat047_CodesAreSentOnce(t *testing.T) {
	for name, fault := range map[string]providertest.Fault{
		"lost request": {Times: -1, Drop: true},
		"lost answer":  {Times: -1, Committed: true, Drop: true},
		"cut answer":   {Times: -1, Committed: true, CutAfter: 10},
		"no answer":    {Times: -1, Hang: true},
		"503":          {Times: -1, Status: 503, Header: http.Header{"Retry-After": {"1"}}},
		"429":          {Times: -1, Status: 429},
		"307":          {Times: -1, Status: 307, Header: http.Header{"Location": {issuer + "/token"}}},
		"401":          {Times: -1, Status: 401, Body: `{"error":"invalid_client"}`},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				q := w.consent(w.begin(w.user(), "ada"))
				w.srv.Fault(providertest.Token, fault)
				err := w.finishFails("ada", q, nil)
				w.srv.ClearFaults(providertest.Token)
				w.srv.Release()
				time.Sleep(10 * time.Minute)
				w.asked("authorization_code", 1)
				// 092: nor is another way to authenticate tried.
				if got := errors.Is(err, authprofile.ErrConfiguration); got != (name == "401" || name == "307") {
					t.Errorf("got %v, which is ErrConfiguration: %v", err, got)
				}
				// 134: nothing by halves, and the person can begin again.
				w.noGrant(ada)
				w.authorize(w.user2(), "ada")
				w.healthy(ada)
			})
		})
	}
}

// user2 returns the profile of w.user as it is stored.
func (w *world) user2() *authprofile.Profile {
	w.Helper()
	p, err := w.m.Profile(w.Context(), "crm")
	if err != nil {
		w.Fatal(err)
	}
	return p
}

func TestThreat110_MaxAge(t *testing.T) {
	for _, test := range []struct {
		name   string
		age    time.Duration
		absent bool
		ok     bool
	}{
		{"just now", 0, false, true},
		{"long ago", time.Hour, false, false},
		{"not said", 0, true, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				p := w.user()
				p.Params = url.Values{"max_age": {"300"}}
				w.save(p)
				f := w.begin(p, "ada")
				if got := parsed(t, f.URL).Query().Get("max_age"); got != "300" {
					t.Errorf("got max_age %q in the request, want 300", got)
				}
				w.srv.MutateIDToken(func(_, claims map[string]any) {
					claims["auth_time"] = time.Now().Add(-test.age).Unix()
					if test.absent {
						delete(claims, "auth_time")
					}
				})
				if _, err := w.m.Finish(t.Context(), "ada", w.consent(f)); (err == nil) != test.ok {
					t.Errorf("got error %v, want success to be %v", err, test.ok)
				}
			})
		})
	}
}

// TestThreat109_HashOfTheCode is about c_hash, which says what code an ID
// token came for.
func TestThreat109_HashOfTheCode(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		q := w.consent(w.begin(w.user(), "ada"))
		sum := sha256.Sum256([]byte("another code"))
		w.srv.MutateIDToken(func(_, claims map[string]any) {
			claims["c_hash"] = base64.RawURLEncoding.EncodeToString(sum[:16])
		})
		w.finishFails("ada", q, nil)
		w.noGrant(ada)

		q = w.consent(w.begin(w.user2(), "ada"))
		sum = sha256.Sum256([]byte(q.Get("code")))
		if _, err := w.m.Finish(t.Context(), "ada", q); err != nil {
			t.Error(err)
		}
	})
}

// It is the subject that counts, and nothing else that an ID token says.
func TestThreat115_116_AnotherAccountComesBack(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.srv.SetConsent(providertest.Consent{Subject: "1", Claims: map[string]any{"email": "ada@example.com"}})
		p := w.adasProfile()
		before := w.grant(ada)
		for _, subject := range []string{"2", "1 ", "user"} {
			w.srv.SetConsent(providertest.Consent{Subject: subject, Claims: map[string]any{"email": "ada@example.com"}})
			w.finishFails("ada", w.consent(w.begin(p, "ada")), authprofile.ErrUserMismatch)
			if after := w.grant(ada); after.Version != before.Version || after.RefreshToken != before.RefreshToken {
				t.Errorf("subject %q: got a changed grant, want it untouched", subject)
			}
		}
		if got := w.token(w.m, p, asAda); got != string(before.AccessToken) {
			t.Error("got another token, want that of the grant before")
		}
		w.srv.SetConsent(providertest.Consent{Subject: "1", Claims: map[string]any{"email": "lovelace@example.com"}})
		w.authorize(p, "ada")
		w.healthy(ada)

		// The application decides: after Revoke anybody may come.
		if err := w.m.Revoke(t.Context(), ada); err != nil {
			t.Fatal(err)
		}
		w.srv.SetConsent(providertest.Consent{Subject: "2"})
		if g := w.authorize(p, "ada"); g.Subject != "2" {
			t.Errorf("got subject %q, want 2", g.Subject)
		}
	})
}

// At a provider of many tenants the same goes for an account of another one.
func TestThreat116_AccountOfAnotherTenant(t *testing.T) {
	inWorldOf(t, providertest.Microsoft("common"), func(t *testing.T, w *world) {
		p := w.save(&authprofile.Profile{
			ID: "crm", Type: authprofile.TypeUser, Template: authprofile.Microsoft("common"), Scopes: []string{"openid"},
			ClientID: providertest.ClientID, ClientSecret: providertest.ClientSecret,
		})
		before := w.authorize(p, "ada")
		for _, subject := range []string{"user", "another"} {
			w.srv.MutateIDToken(func(_, claims map[string]any) {
				const other = "11111111-2222-4333-8444-555555555555"
				claims["tid"], claims["iss"], claims["sub"] = other, "https://login.microsoftonline.com/"+other+"/v2.0", subject
			})
			w.finishFails("ada", w.consent(w.begin(p, "ada")), authprofile.ErrUserMismatch)
			if after := w.grant(ada); after.Version != before.Version {
				t.Errorf("subject %q: got a changed grant, want it untouched", subject)
			}
		}
	})
}

func TestProfileThatMovesToAnotherProvider(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.adasProfile()
		other := anotherProvider(t, "https://new.example.com")
		other.SetConsent(providertest.Consent{Subject: "somebody"})
		old := w.srv
		w.srv = other
		w.m = &authprofile.Manager{Store: w.store, RedirectURL: "https://app.example.com/callback", HTTPClient: other.Client()}
		p.Endpoints.DiscoveryURL = other.DiscoveryURL()
		w.save(p)
		if g := w.authorize(p, "ada"); g.Issuer != "https://new.example.com" || g.Subject != "somebody" {
			t.Errorf("got %v, want the grant of the new provider", g)
		}
		if old.Count("") != 1 {
			t.Errorf("got %d requests to the old provider, want the first only", old.Count(""))
		}
	})
}

// A new authorization is stored, and the answer of the Store is lost. Before the
// Store can be reached again, another process has renewed what was stored: that
// is not undone.
func TestAuthorizationIsStoredOnce(t *testing.T) {
	for _, scopes := range [][]string{{"openid", "offline_access"}, {"read", "offline_access"}} {
		t.Run(scopes[0], func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.srv.SetPolicy(providertest.Policy{TokenLifetime: time.Minute})
				p := w.user()
				p.Scopes = scopes
				w.save(p)
				query := w.consent(w.begin(p, "ada"))
				proc := w.process()
				proc.store.on(func(c *storeCall) error {
					if c.op != "PutGrant" {
						return c.run()
					}
					err := c.run()
					proc.store.goAway()
					return errors.Join(err, errAway)
				})
				var g *authprofile.Grant
				var err error
				done := make(chan struct{})
				go func() {
					defer close(done)
					g, err = proc.Finish(t.Context(), "ada", query)
				}()
				time.Sleep(65 * time.Second)
				w.token(w.m, p, asAda)
				w.asked("refresh_token", 1)
				proc.store.heal()
				<-done
				if err != nil {
					t.Fatal(err)
				}
				w.healthy(ada)
				if stored := w.grant(ada); g.RefreshToken != stored.RefreshToken || g.Version != stored.Version {
					t.Errorf("got %v, want what is stored: %v", g, stored)
				}
				if again := w.authorize(p, "ada"); again.RefreshToken == g.RefreshToken {
					t.Errorf("got %v from another authorization, want its own tokens", again)
				}
			})
		})
	}
}

// The same, and the other process has found the renewed access token to be of no
// use: then there is none in memory either.
func TestAuthorizationThatOthersHaveRenewed(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.user()
		query := w.consent(w.begin(p, "ada"))
		proc := w.process()
		first := true
		proc.store.on(func(c *storeCall) error {
			err := c.run()
			if c.op == "PutGrant" && first {
				first = false
				g := w.grant(ada)
				g.AccessToken, g.Status = "", failing
				g.Failure = &authprofile.Failure{Reason: authprofile.ReasonIDToken, Since: time.Now(), Last: time.Now(), Attempts: 1, Next: time.Now().Add(time.Second)}
				w.put(g)
				return errAway
			}
			return err
		})
		if _, err := proc.Finish(t.Context(), "ada", query); err != nil {
			t.Fatal(err)
		}
		if tok, err := proc.Token(t.Context(), p, asAda); err == nil && tok.AccessToken == "" {
			t.Error("got an empty access token")
		}
		time.Sleep(2 * time.Second)
		w.token(proc.Manager, p, asAda)
		w.healthy(ada)
	})
}

func TestReauthorization(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.adasProfile()
		old := w.grant(ada)
		created := old.Created
		time.Sleep(time.Minute)
		w.authorize(p, "ada")
		g := w.grant(ada)
		if g.RefreshToken == old.RefreshToken || g.AccessToken == old.AccessToken || !g.Created.Equal(created) {
			t.Errorf("got %v, want new tokens in place of the old ones", g)
		}
		if got := w.token(w.m, p, asAda); got != string(g.AccessToken) {
			t.Error("got the old token, want the new one")
		}
		w.healthy(ada)

		// A provider that gives a refresh token only the first time.
		withoutRefreshToken := func(answer map[string]any) { delete(answer, "refresh_token") }
		w.srv.Mutate(providertest.Token, withoutRefreshToken)
		again := w.authorize(p, "ada")
		if again.RefreshToken != g.RefreshToken || again.AccessToken == g.AccessToken {
			t.Error("got another refresh token or no other access token, want the person's old and a new one")
		}
		// Not that of a grant that has ended.
		w.srv.Mutate(providertest.Token, nil)
		w.srv.RevokeUser("user")
		expire()
		w.refuses(w.m, p, authprofile.ErrReauthorize, asAda)
		w.srv.Mutate(providertest.Token, withoutRefreshToken)
		if g := w.authorize(p, "ada"); g.RefreshToken != "" || g.Status != authprofile.StatusActive || g.Failure != nil {
			t.Errorf("got %v, want an active grant without the dead refresh token", g)
		}
		w.token(w.m, p, asAda)
	})
}

// The grant is renewed by another process between the read and the write of an
// authorization that brings no refresh token.
func TestReauthorizationDuringRenewal(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.adasProfile()
		q := w.consent(w.begin(p, "ada"))
		w.srv.Mutate(providertest.Token, func(answer map[string]any) { delete(answer, "refresh_token") })
		a := w.process()
		first := true
		a.store.on(func(c *storeCall) error {
			if c.op == "PutGrant" && first {
				first = false
				g := w.grant(ada)
				g.RefreshToken, g.AccessToken = "renewed", "renewed"
				w.put(g)
			}
			return c.run()
		})
		g, err := a.Finish(t.Context(), "ada", q)
		if err != nil {
			t.Fatal(err)
		}
		if stored := w.grant(ada); stored.RefreshToken != "renewed" || stored.AccessToken != g.AccessToken || stored.AccessToken == "renewed" {
			t.Error("got an older refresh token in the Store, want the renewed one with the access token of the authorization")
		}
	})
}

func TestFinishAfterTheProfileHasChanged(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.user()
		q := w.consent(w.begin(p, "ada"))
		p.Scopes = append(p.Scopes, "write")
		w.save(p)
		w.finishFails("ada", q, authprofile.ErrConflict)
		w.asked("authorization_code", 0)

		q = w.consent(w.begin(p, "ada"))
		if err := w.m.Delete(t.Context(), p.ID); err != nil {
			t.Fatal(err)
		}
		w.finishFails("ada", q, authprofile.ErrNotFound)
		w.asked("authorization_code", 0)
	})
}

// TestThreat127_DeletedWhileItIsAuthorized: no grant rises from the dead.
func TestThreat127_DeletedWhileItIsAuthorized(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		var issued []string
		w.srv.Mutate(providertest.Token, func(a map[string]any) { issued = append(issued, a["refresh_token"].(string)) })
		p := w.user()
		q := w.consent(w.begin(p, "ada"))
		w.srv.Fault(providertest.Token, providertest.Fault{Hang: true})
		done := make(chan error)
		go func() {
			_, err := w.m.Finish(t.Context(), "ada", q)
			done <- err
		}()
		if err := w.srv.AwaitHang(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		if err := w.m.Delete(t.Context(), p.ID); err != nil {
			t.Fatal(err)
		}
		w.srv.Release()
		if err := <-done; !errors.Is(err, authprofile.ErrNotFound) {
			t.Errorf("got error %v, want ErrNotFound", err)
		}
		w.noGrant(ada)
		if len(issued) != 1 || w.srv.IsLive(issued[0]) {
			t.Error("the refresh token that nobody knows lives on at the provider")
		}
	})
}

// TestThreat127_RenewedWhileItIsRevoked: another process has renewed the grant
// just before its old tokens were revoked. What it got is revoked too.
func TestThreat127_RenewedWhileItIsRevoked(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.srv.SetPolicy(providertest.Policy{Rotation: providertest.RotateKeep})
		p, proc := w.adasProfile(), w.process()
		expire()
		var renewed string
		proc.net.on(func(r *http.Request) (*http.Response, error) {
			if r.URL.String() == w.srv.RevocationURL() && renewed == "" {
				w.token(w.m, p, asAda)
				renewed = string(w.grant(ada).RefreshToken)
			}
			return proc.net.base.RoundTrip(r)
		})
		if err := proc.Revoke(t.Context(), ada); err != nil {
			t.Fatal(err)
		}
		w.noGrant(ada)
		var revoked []string
		for _, c := range w.revocations() {
			revoked = append(revoked, c.form.Get("token"))
		}
		if renewed == "" || !slices.Contains(revoked, renewed) {
			t.Error("the renewed refresh token was not revoked")
		}
	})
}

// TestThreat107_WithoutKeys: a provider that does not say where its keys are is
// believed by its TLS certificate. All else that an ID token says is checked.
func TestThreat107_WithoutKeys(t *testing.T) {
	for name, endpoints := range map[string]func(w *world) authprofile.Endpoints{
		"addresses": func(w *world) authprofile.Endpoints {
			return authprofile.Endpoints{AuthURL: w.srv.AuthURL(), TokenURL: w.srv.TokenURL()}
		},
		"document without jwks_uri": func(w *world) authprofile.Endpoints {
			w.srv.Mutate(providertest.Discovery, func(a map[string]any) { delete(a, "jwks_uri") })
			return authprofile.Endpoints{DiscoveryURL: w.srv.DiscoveryURL()}
		},
	} {
		for problem, change := range map[string]func(c map[string]any){
			"nonce":   func(c map[string]any) { c["nonce"] = "of another flow" },
			"aud":     func(c map[string]any) { c["aud"] = "another client" },
			"exp":     func(c map[string]any) { c["exp"] = 1 },
			"iss":     func(c map[string]any) { delete(c, "iss") },
			"sub":     func(c map[string]any) { delete(c, "sub") },
			"at_hash": func(c map[string]any) { c["at_hash"] = "x" },
		} {
			t.Run(name+", "+problem, func(t *testing.T) {
				inWorld(t, func(t *testing.T, w *world) {
					p := w.user()
					p.Endpoints = endpoints(w)
					w.save(p)
					w.srv.MutateIDToken(func(_, c map[string]any) { change(c) })
					w.finishFails("ada", w.consent(w.begin(p, "ada")), nil)
					w.noGrant(ada)
				})
			})
		}
		t.Run(name+", no ID token", func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				p := w.user()
				p.Endpoints = endpoints(w)
				w.save(p)
				w.srv.Mutate(providertest.Token, func(a map[string]any) { delete(a, "id_token") })
				w.finishFails("ada", w.consent(w.begin(p, "ada")), nil)
			})
		})
		t.Run(name+", another account", func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				p := w.user()
				p.Endpoints = endpoints(w)
				w.save(p)
				before := w.authorize(p, "ada")
				w.srv.SetConsent(providertest.Consent{Subject: "somebody else"})
				w.finishFails("ada", w.consent(w.begin(p, "ada")), authprofile.ErrUserMismatch)
				if g := w.grant(ada); g.RefreshToken != before.RefreshToken {
					t.Errorf("got %v, want the grant as it was", g)
				}
				// Nor at a renewal.
				expire()
				w.srv.MutateIDToken(func(_, c map[string]any) { c["sub"] = "mallory" })
				w.refuses(w.m, p, nil, asAda)
			})
		})
	}
}

// TestThreat111_RenewalOfAnotherTenant: with a template for all tenants, a
// renewal must come from the tenant of the grant.
func TestThreat111_RenewalOfAnotherTenant(t *testing.T) {
	inWorldOf(t, providertest.Microsoft("common"), func(t *testing.T, w *world) {
		p := w.save(&authprofile.Profile{
			ID: "crm", Type: authprofile.TypeUser, Template: authprofile.Microsoft("common"), Scopes: []string{"openid"},
			ClientID: providertest.ClientID, ClientSecret: providertest.ClientSecret,
		})
		w.authorize(p, "ada")
		expire()
		w.srv.MutateIDToken(func(_, claims map[string]any) {
			const other = "11111111-2222-4333-8444-555555555555"
			claims["tid"], claims["iss"] = other, "https://login.microsoftonline.com/"+other+"/v2.0"
		})
		w.refuses(w.m, p, nil, asAda)
	})
}

// TestThreat083_ExtraDoesNotGrow: a provider that says something new each time
// does not fill the Store.
func TestThreat083_ExtraDoesNotGrow(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		n := 0
		w.srv.Mutate(providertest.Token, func(a map[string]any) {
			n++
			a[fmt.Sprint("x", n)] = strings.Repeat("x", 3000)
		})
		p := w.adasProfile()
		for range 5 {
			expire()
			w.token(w.m, p, asAda)
		}
		size := 0
		for name, value := range w.grant(ada).Extra {
			size += len(name) + len(value)
		}
		if size == 0 || size > 4096 {
			t.Errorf("got %d bytes of extra members, want some, and 4 KiB at most", size)
		}
	})
}

// TestThreat001_IsLogged: a callback that nobody has asked for is an event.
func TestThreat001_IsLogged(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		var log strings.Builder
		m := w.manager()
		m.Logger = slog.New(slog.NewTextHandler(&log, nil))
		state := strings.Repeat("A", 43)
		m.Finish(t.Context(), "ada", url.Values{"state": {state}, "code": {"x"}})
		if s := log.String(); !strings.Contains(s, "level=WARN") || !strings.Contains(s, "authorization failed") || strings.Contains(s, state) {
			t.Errorf("got log %q, want a warning without the state", s)
		}
	})
}

// TestThreat007_ExpiredFlowIsRemoved: whoever comes too late leaves nothing.
func TestThreat007_ExpiredFlowIsRemoved(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		f := w.begin(w.user(), "ada")
		time.Sleep(11 * time.Minute)
		w.finishFails("ada", url.Values{"state": {f.State}, "code": {"x"}}, authprofile.ErrNotFound)
		if got := fmt.Sprint(w.store); !strings.Contains(got, " 0 flows") {
			t.Errorf("got %s, want no flow", got)
		}
	})
}

// TestThreat086_AppsMayAskAgain: nothing is spent by the request of an
// application, so one whose answer is lost is made again at once.
func TestThreat086_AppsMayAskAgain(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.app()
		w.srv.Fault(providertest.Token, providertest.Fault{Committed: true, Drop: true})
		w.token(w.m, p)
		w.asked("client_credentials", 2)
	})
}

func TestFinishGoesOnWithoutItsCaller(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.user()
		q := w.consent(w.begin(p, "ada"))
		w.srv.Fault(providertest.Token, providertest.Fault{Hang: true})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() {
			_, err := w.m.Finish(ctx, "ada", q)
			done <- err
		}()
		if err := w.srv.AwaitHang(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("got error %v, want that of the context", err)
		}
		w.noGrant(ada)
		w.srv.Release()
		// Shutdown waits for what is paid for.
		if err := w.m.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.healthy(ada)
		w.asked("authorization_code", 1)
		w.token(w.manager(), p, asAda)
	})
}

// A Manager that is shut down takes no flow that it could not finish: another
// process finishes it.
func TestFinishAfterShutdown(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.user()
		q := w.consent(w.begin(p, "ada"))
		if err := w.m.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.finishFails("ada", q, nil)
		w.asked("authorization_code", 0)
		w.m = w.manager()
		if _, err := w.m.Finish(t.Context(), "ada", q); err != nil {
			t.Fatalf("another process: got error %v, want none", err)
		}
		w.token(w.m, p, asAda)
	})
}

// The network has dropped the connection that was kept open, without a word: the
// code travels on another one.
func TestCodeTravelsOnALiveConnection(t *testing.T) {
	srv := providertest.NewServer(t)
	network := newSilentNetwork(t, parsed(t, srv.Issuer()).Host)
	tr := &http.Transport{DialContext: network.dial}
	defer tr.CloseIdleConnections()
	m := &authprofile.Manager{HTTPClient: &http.Client{Transport: tr}, RedirectURL: callbackAddress}
	defer m.Shutdown(t.Context())
	p := &authprofile.Profile{
		ID: "crm", Type: authprofile.TypeUser, ClientID: providertest.ClientID, ClientSecret: providertest.ClientSecret,
		Endpoints: authprofile.Endpoints{DiscoveryURL: srv.DiscoveryURL()}, Scopes: []string{"openid", "offline_access"},
	}
	if err := m.Save(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	f, err := m.Begin(t.Context(), p, "ada")
	if err != nil {
		t.Fatal(err)
	}
	back, err := srv.Authorize(f.URL)
	if err != nil {
		t.Fatal(err)
	}
	// An API call keeps a connection open.
	resp, err := (&http.Client{Transport: tr}).Get(srv.DiscoveryURL())
	if err != nil {
		t.Fatal(err)
	}
	io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
	network.silence()
	if _, err := m.Finish(t.Context(), "ada", back.Query()); err != nil {
		t.Fatal(err)
	}
}

// A silentNetwork makes connections to a server, and can drop all that there
// are without telling either side.
type silentNetwork struct {
	address string
	mu      sync.Mutex
	conns   []*silentConn
}

type silentConn struct {
	net.Conn
	silent atomic.Bool
	closed chan struct{}
	once   sync.Once
}

func newSilentNetwork(t *testing.T, address string) *silentNetwork {
	n := &silentNetwork{address: address}
	t.Cleanup(func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		for _, c := range n.conns {
			c.Close()
		}
	})
	return n
}

func (n *silentNetwork) dial(ctx context.Context, network, address string) (net.Conn, error) {
	c, err := new(net.Dialer).DialContext(ctx, network, n.address)
	if err != nil {
		return nil, err
	}
	sc := &silentConn{Conn: c, closed: make(chan struct{})}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.conns = append(n.conns, sc)
	return sc, nil
}

// silence drops all connections that there are.
func (n *silentNetwork) silence() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, c := range n.conns {
		c.silent.Store(true)
	}
}

func (c *silentConn) Write(b []byte) (int, error) {
	if c.silent.Load() {
		return len(b), nil // and it never arrives
	}
	return c.Conn.Write(b)
}

func (c *silentConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}

// A token endpoint whose address this program may not connect to is a matter
// for an operator, at Token and at Finish alike.
func TestRefusedAddress(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.user()
		p.Endpoints = authprofile.Endpoints{AuthURL: w.srv.AuthURL(), TokenURL: w.srv.TokenURL()}
		w.save(p)
		w.authorize(p, "ada")
		proc := w.process()
		proc.RedirectURL = callbackAddress
		proc.net.on(func(*http.Request) (*http.Response, error) {
			return nil, &net.OpError{Op: "dial", Net: "tcp", Err: fmt.Errorf("10.0.0.1: %w", egress.ErrRefused)}
		})
		expire()
		w.refuses(proc.Manager, p, authprofile.ErrConfiguration, asAda)
		f, err := proc.Begin(t.Context(), p, "ada")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := proc.Finish(t.Context(), "ada", w.consent(f)); !errors.Is(err, authprofile.ErrConfiguration) || !errors.Is(err, egress.ErrRefused) {
			t.Errorf("Finish: got error %v, want one that is ErrConfiguration and %v", err, egress.ErrRefused)
		}
	})
}

// A store that is away for a minute does not cost the person their consent.
func TestFinishWaitsForTheStore(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.user()
		a := w.process()
		q := w.consent(w.begin(p, "ada"))
		back := time.Now().Add(95 * time.Second)
		w.srv.Fault(providertest.Token, providertest.Fault{Delay: 25 * time.Second})
		tries := 0
		a.store.on(func(c *storeCall) error {
			if time.Now().Before(back) && (c.op == "PutGrant" || c.op == "Grant") {
				tries++
				return errAway
			}
			return c.run()
		})
		g, err := a.Finish(t.Context(), "ada", q)
		if err != nil {
			t.Fatal(err)
		}
		if got := w.grant(ada); got.AccessToken != g.AccessToken || tries < 10 {
			t.Errorf("got another grant, or %d tries only", tries)
		}
		w.asked("authorization_code", 1)

		// For good: it says so, and in time.
		q = w.consent(w.begin(p, "ada"))
		a.store.on(func(c *storeCall) error {
			if c.op == "PutGrant" {
				return errAway
			}
			return c.run()
		})
		start := time.Now()
		if _, err := a.Finish(t.Context(), "ada", q); !errors.Is(err, errAway) {
			t.Errorf("got error %v, want that of the Store", err)
		}
		if got := time.Since(start); got > 5*time.Minute {
			t.Errorf("got an error after %v, want it within minutes", got)
		}
	})
}

// A put that took effect although its answer was lost is not made twice.
func TestFinishWhoseStoreAnswerIsLost(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		a := w.process()
		q := w.consent(w.begin(w.user(), "ada"))
		lost := false
		a.store.on(func(c *storeCall) error {
			if err := c.run(); err != nil || c.op != "PutGrant" || lost {
				return err
			}
			lost = true
			return errAway
		})
		g, err := a.Finish(t.Context(), "ada", q)
		if err != nil {
			t.Fatal(err)
		}
		if got := a.store.count("PutGrant"); got != 1 || g.Version != w.grant(ada).Version {
			t.Errorf("got %d puts and version %d, want 1 and the stored version", got, g.Version)
		}
	})
}

func TestFinishNeedsAnIDToken(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.user()
		w.srv.Mutate(providertest.Token, func(answer map[string]any) { delete(answer, "id_token") })
		w.finishFails("ada", w.consent(w.begin(p, "ada")), nil)
		w.noGrant(ada)
		w.srv.Mutate(providertest.Token, nil)

		// Keys that cannot be had are found out before the code is spent.
		q := w.consent(w.begin(p, "ada"))
		w.srv.Fault(providertest.JWKS, providertest.Fault{Times: -1, Status: 500})
		spent := w.srv.Count("authorization_code")
		a := &authprofile.Manager{Store: w.store, HTTPClient: w.srv.Client()}
		defer a.Shutdown(context.Background())
		if _, err := a.Finish(t.Context(), "ada", q); err == nil {
			t.Error("got no error without the provider's keys")
		}
		w.asked("authorization_code", spent)
	})
}

func TestGrantOfAnAuthorization(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.user()
		w.srv.SetConsent(providertest.Consent{Scopes: []string{"openid", "read"}})
		w.srv.Mutate(providertest.Token, func(answer map[string]any) {
			answer["instance_url"] = "https://eu.example.com"
			answer["expires_in"] = "1800"
		})
		g := w.authorize(p, "ada")
		if want := []string{"openid", "read"}; !slices.Equal(g.Scopes, want) {
			t.Errorf("got scopes %q, want those that were granted: %q", g.Scopes, want)
		}
		if got := time.Until(g.Expiry); got != 30*time.Minute {
			t.Errorf("got a token for %v, want 30m", got)
		}
		tok, err := w.m.Token(t.Context(), p, asAda)
		if err != nil {
			t.Fatal(err)
		}
		if got := tok.Extra("instance_url"); got != "https://eu.example.com" {
			t.Errorf("got extra %v, want what the provider said", got)
		}
		if tok.RefreshToken != "" {
			t.Error("got a refresh token among what callers get, want none")
		}
		got, err := w.m.Grant(t.Context(), ada)
		if err != nil || got.AccessToken != g.AccessToken {
			t.Errorf("got %v, %v; want what is stored", got, err)
		}
		if _, err := w.m.Grant(t.Context(), authprofile.GrantKey{ProfileID: "crm", User: "Ada"}); !errors.Is(err, authprofile.ErrNotFound) {
			t.Errorf("got %v, want ErrNotFound", err)
		}
	})
}

func TestTokenRefuses(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		application, user := w.app(), w.user()
		unsaved := user.Clone()
		unsaved.Version = 0
		asEve := authprofile.AsUser("eve")
		for _, test := range []struct {
			name   string
			p      *authprofile.Profile
			opts   []authprofile.Option
			target error
			field  string
		}{
			{"user profile without AsUser", user, nil, authprofile.ErrUserMismatch, ""},
			{"user profile with an empty user", user, []authprofile.Option{authprofile.AsUser("")}, authprofile.ErrUserMismatch, ""},
			{"app profile with AsUser", application, []authprofile.Option{asEve}, authprofile.ErrUserMismatch, ""},
			{"app profile with an empty user", application, []authprofile.Option{authprofile.AsUser("")}, authprofile.ErrUserMismatch, ""},
			{"user profile that was never saved", unsaved, []authprofile.Option{asEve}, authprofile.ErrNotFound, ""},
			{"app profile that nobody knows", &authprofile.Profile{ID: "no", Type: authprofile.TypeApp, Version: 1}, nil, authprofile.ErrNotFound, ""},
			{"nobody authorized", user, []authprofile.Option{asEve}, authprofile.ErrReauthorize, ""},
			{"no type", &authprofile.Profile{ClientID: "c"}, nil, nil, "Type"},
			{"unknown type", &authprofile.Profile{ClientID: "c", Type: "robot"}, []authprofile.Option{asEve}, nil, "Type"},
			{"unsaved app profile with a mistake", &authprofile.Profile{Type: authprofile.TypeApp}, nil, nil, "ClientID"},
			{"an app profile for one of users", &authprofile.Profile{ID: "crm", Type: authprofile.TypeApp, Version: 1}, nil, authprofile.ErrUserMismatch, ""},
			{"a user profile for one of the application", &authprofile.Profile{ID: "app", Type: authprofile.TypeUser, Version: 1}, []authprofile.Option{asEve}, authprofile.ErrReauthorize, ""},
		} {
			_, err := w.m.Token(t.Context(), test.p, test.opts...)
			_, fromSource := w.m.Source(t.Context(), test.p, test.opts...).Token()
			for _, err := range []error{err, fromSource} {
				var e *authprofile.Error
				if !errors.As(err, &e) || e.Op != "token" || e.ProfileID != test.p.ID {
					t.Fatalf("%s: got %#v, want an *Error of token", test.name, err)
				}
				if test.target != nil && !errors.Is(err, test.target) {
					t.Errorf("%s: got %v, want %v", test.name, err, test.target)
				}
				var fe *authprofile.FieldError
				if test.field != "" && (!errors.As(err, &fe) || fe.Field != test.field) {
					t.Errorf("%s: got %v, want a *FieldError of %s", test.name, err, test.field)
				}
			}
		}
		if got := len(w.srv.Captured()); got != 0 {
			t.Errorf("got %d requests to the provider, want none", got)
		}
	})
}

func TestSourceStartsWhileTheProviderIsDown(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.save(&authprofile.Profile{
			ID: "app", Type: authprofile.TypeApp, ClientID: providertest.ClientID, ClientSecret: providertest.ClientSecret,
			Endpoints: authprofile.Endpoints{DiscoveryURL: w.srv.DiscoveryURL()},
		})
		w.srv.Fault(providertest.Discovery, providertest.Fault{Times: -1, Drop: true})
		ctx, cancel := context.WithCancel(t.Context())
		src := w.m.Source(ctx, p)
		cancel() // its end is not the source's
		if got := len(w.srv.Captured()); got != 0 {
			t.Errorf("got %d requests when the source was made, want none", got)
		}
		if _, err := src.Token(); err == nil {
			t.Error("got a token from a provider that is down")
		}
		w.srv.ClearFaults(providertest.Discovery)
		time.Sleep(time.Minute)
		if _, err := src.Token(); err != nil {
			t.Errorf("got %v, want a token now that the provider is back", err)
		}
	})
}

func TestUnsavedAppProfiles(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.unsavedApp()
		p.ID = ""
		one, two := w.m.Source(t.Context(), p), w.m.Source(t.Context(), p)
		first, err := one.Token()
		if err != nil {
			t.Fatal(err)
		}
		second, err := two.Token()
		if err != nil {
			t.Fatal(err)
		}
		if first.AccessToken == second.AccessToken {
			t.Error("got one token from two sources, want each to keep its own")
		}
		// Token goes by what the profile says.
		a, b := p.Clone(), p.Clone()
		b.ClientSecret, b.Name = providertest.ClientSecret, "other"
		if w.token(w.m, a) != w.token(w.m, a.Clone()) {
			t.Error("got two tokens for the same unsaved profile")
		}
		if w.token(w.m, a) == w.token(w.m, b) {
			t.Error("got one token for two profiles")
		}
		// So it does for times that JSON does not have.
		far, farther := p.Clone(), p.Clone()
		far.Created = time.Date(12000, 1, 1, 0, 0, 0, 0, time.UTC)
		farther.Created, farther.Params = far.Created, url.Values{"audience": {"other"}}
		if w.token(w.m, far) == w.token(w.m, farther) {
			t.Error("got one token for two profiles of the year 12000")
		}
		if n := countProfiles(t, w.m); n != 0 {
			t.Errorf("got %d profiles in the Store, want none", n)
		}
		// And without any Manager.
		src := authprofile.Source(t.Context(), &authprofile.Profile{Type: authprofile.TypeUser}, asAda)
		if _, err := src.Token(); !errors.Is(err, authprofile.ErrNotFound) {
			t.Errorf("got %v, want ErrNotFound", err)
		}
	})
}

func countProfiles(t *testing.T, m *authprofile.Manager) int {
	t.Helper()
	n := 0
	for _, err := range m.Profiles(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	return n
}

// TestThreat117_OneRequestForAll who need a token at the same time.
func TestThreat117_OneRequestForAll(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.adasProfile()
		fleet := []*authprofile.Manager{w.m, w.manager(), w.manager(), w.manager()}
		expire()
		var wg sync.WaitGroup
		var mu sync.Mutex
		tokens := make(map[string]bool)
		for i := range 50 {
			wg.Go(func() {
				tok, err := fleet[i%len(fleet)].Token(t.Context(), p, asAda)
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				defer mu.Unlock()
				tokens[tok.AccessToken] = true
			})
		}
		wg.Wait()
		if len(tokens) != 1 {
			t.Errorf("got %d tokens, want all to get the same", len(tokens))
		}
		w.asked("refresh_token", 1)
	})
}

func TestThreat092_093_094_ClientAuthentication(t *testing.T) {
	const id, secret = `c:l% +i/e\n"t`, `:s% +&=/\"'~`
	for _, test := range []struct {
		name, secret string
		method, want authprofile.AuthMethod
	}{
		{"091 form-encoded", secret, "", authprofile.AuthBasic},
		{"091 raw", secret, authprofile.AuthBasicRaw, authprofile.AuthBasicRaw},
		{"091 post", secret, authprofile.AuthPost, authprofile.AuthPost},
		{"095 public client", "", "", authprofile.AuthNone},
	} {
		t.Run(test.name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				id := id
				if test.method == authprofile.AuthBasicRaw {
					id = strings.ReplaceAll(id, ":", "") // which nobody could tell from the separator
				}
				w.srv.AddClient(providertest.Client{ID: id, Secret: test.secret, AuthMethods: []string{string(test.want)}})
				p := w.save(&authprofile.Profile{
					ID: "crm", Type: authprofile.TypeUser, ClientID: id, ClientSecret: authprofile.Secret(test.secret), AuthMethod: test.method,
					Endpoints: authprofile.Endpoints{AuthURL: w.srv.AuthURL(), TokenURL: w.srv.TokenURL()},
					Scopes:    []string{"offline_access"},
				})
				w.authorize(p, "ada")
				expire()
				w.token(w.m, p, asAda)
				for _, c := range w.srv.Captured() {
					if c.Endpoint != providertest.Token {
						continue
					}
					form, err := url.ParseQuery(c.Body)
					if err != nil {
						t.Fatal(err)
					}
					inHeader, inBody := c.Header.Get("Authorization") != "", form.Has("client_secret")
					if inHeader && (inBody || form.Has("client_id")) {
						t.Error("got two ways to authenticate in one request")
					}
					if test.want == authprofile.AuthNone && (inHeader || inBody || form.Get("client_id") != id) {
						t.Errorf("got header %q and form %v, want the client ID alone", c.Header.Get("Authorization"), form)
					}
					if strings.Contains(c.URL, "?") {
						t.Errorf("got %q, want nothing in the address", c.URL)
					}
				}
				if got := w.srv.Count(""); got != 2 {
					t.Errorf("got %d token requests, want one for each grant", got)
				}
			})
		})
	}
	t.Run("092 no other way is tried", func(t *testing.T) {
		inWorld(t, func(t *testing.T, w *world) {
			w.srv.AddClient(providertest.Client{ID: "c", Secret: "s", AuthMethods: []string{"client_secret_post"}})
			p := w.save(&authprofile.Profile{
				ID: "crm", Type: authprofile.TypeUser, ClientID: "c", ClientSecret: "s", AuthMethod: authprofile.AuthBasic,
				Endpoints: authprofile.Endpoints{AuthURL: w.srv.AuthURL(), TokenURL: w.srv.TokenURL()},
			})
			w.finishFails("ada", w.consent(w.begin(p, "ada")), authprofile.ErrConfiguration)
			w.asked("authorization_code", 1)
			w.noGrant(ada)
		})
	})
}

// TestThreat100_SecretRotatesDuringARequest: a request uses one secret from
// beginning to end, and the next one the new secret.
func TestThreat100_SecretRotatesDuringARequest(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.adasProfile()
		expire()
		w.srv.Fault(providertest.Token, providertest.Fault{Hang: true, Committed: true})
		done := make(chan error)
		go func() {
			_, err := w.m.Token(t.Context(), p, asAda)
			done <- err
		}()
		if err := w.srv.AwaitHang(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		w.srv.SetClientSecret(providertest.ClientID, "next")
		edited := w.user2()
		edited.ClientSecret = "next"
		w.save(edited)
		w.srv.Release()
		if err := <-done; err != nil {
			t.Errorf("got %v, want the request to end as it began", err)
		}
		w.healthy(ada)
		expire()
		w.token(w.m, p, asAda) // p still has the old secret
		w.healthy(ada)
		w.asked("refresh_token", 2)
	})
}

func TestThreat146_Revocation(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.adasProfile()
		g := w.grant(ada)
		src := w.m.Source(t.Context(), p, asAda)
		if _, err := src.Token(); err != nil {
			t.Fatal(err)
		}
		if err := w.m.Revoke(t.Context(), ada); err != nil {
			t.Fatal(err)
		}
		var kinds []string
		for _, c := range w.revocations() {
			kinds = append(kinds, c.form.Get("token_type_hint"))
			if strings.Contains(c.address, "?") {
				t.Errorf("got %q, want no token in the address", c.address)
			}
		}
		if want := []string{"refresh_token", "access_token"}; !slices.Equal(kinds, want) {
			t.Errorf("got %q revoked, want %q", kinds, want)
		}
		if w.srv.IsLive(string(g.RefreshToken)) {
			t.Error("got a refresh token that lives on at the provider")
		}
		w.noGrant(ada)
		w.refuses(w.m, p, authprofile.ErrReauthorize, asAda)
		if _, err := src.Token(); !errors.Is(err, authprofile.ErrReauthorize) {
			t.Errorf("got %v from the source, want ErrReauthorize", err)
		}
		if err := w.m.Revoke(t.Context(), ada); err != nil {
			t.Errorf("got %v for what is not there, want no error", err)
		}

		for _, fault := range []providertest.Fault{
			{Times: -1, Status: 503, Header: http.Header{"Retry-After": {"60"}}},
			{Times: -1, Status: 400, Body: `{"error":"unsupported_token_type"}`},
			{Times: -1, Drop: true},
		} {
			w.authorize(p, "ada")
			w.srv.Fault(providertest.Revocation, fault)
			err := w.m.Revoke(t.Context(), ada)
			var e *authprofile.Error
			if !errors.As(err, &e) || e.Op != "revoke" {
				t.Errorf("got %v, want to be told that the provider did not do it", err)
			}
			w.srv.ClearFaults(providertest.Revocation)
			w.noGrant(ada)
			w.refuses(w.m, p, authprofile.ErrReauthorize, asAda)
		}

		// Without an endpoint for it, it ends here, and that is no error.
		custom := w.save(&authprofile.Profile{
			ID: "custom", Type: authprofile.TypeUser, ClientID: providertest.ClientID, ClientSecret: providertest.ClientSecret,
			Endpoints: authprofile.Endpoints{AuthURL: w.srv.AuthURL(), TokenURL: w.srv.TokenURL()},
		})
		w.authorize(custom, "ada")
		key := authprofile.GrantKey{ProfileID: "custom", User: "ada"}
		if err := w.m.Revoke(t.Context(), key); err != nil {
			t.Errorf("got %v, want none", err)
		}
		w.noGrant(key)

		// A provider that cannot be found does not keep it alive here either.
		w.authorize(custom, "ada")
		if err := w.store.DeleteProfile(t.Context(), "custom"); err != nil {
			t.Fatal(err)
		}
		w.put(&authprofile.Grant{GrantKey: key, AccessToken: "x", Status: authprofile.StatusActive})
		if err := w.m.Revoke(t.Context(), key); !errors.Is(err, authprofile.ErrNotFound) {
			t.Errorf("got %v, want to be told that there is no profile", err)
		}
		w.noGrant(key)

		// Tokens of another client are not ours to revoke.
		w.authorize(p, "ada")
		g = w.grant(ada)
		g.ClientID = "another"
		w.put(g)
		if err := w.m.Revoke(t.Context(), ada); err == nil || !w.srv.IsLive(string(g.RefreshToken)) {
			t.Errorf("got %v, want an error and the token left alone", err)
		}
		w.noGrant(ada)
	})
}

// TestThreat146_RefusalsThatAreNone: what is asked for is so already, or the
// end of the refresh token is all that the provider offers.
func TestThreat146_RefusalsThatAreNone(t *testing.T) {
	ended := func(kind string) func(*world, *authprofile.Grant) {
		return func(w *world, g *authprofile.Grant) {
			w.srv.Revoke(map[string]string{"refresh_token": string(g.RefreshToken), "access_token": string(g.AccessToken)}[kind])
		}
	}
	without := func(w *world, g *authprofile.Grant) {
		g.RefreshToken = ""
		w.put(g)
	}
	fault := func(f providertest.Fault) func(*world, *authprofile.Grant) {
		return func(w *world, g *authprofile.Grant) { w.srv.Fault(providertest.Revocation, f) }
	}
	for _, test := range []struct {
		name   string
		policy providertest.Policy
		before func(w *world, g *authprofile.Grant)
		ok     bool
	}{
		{"the first token ends all", providertest.Policy{RevokeEndsGrant: true, RevokeRefusesEnded: true}, nil, true},
		{"all ended before", providertest.Policy{RevokeEndsGrant: true, RevokeRefusesEnded: true}, ended("refresh_token"), true},
		{"the access token ended before", providertest.Policy{RevokeRefusesEnded: true}, ended("access_token"), true},
		{"refresh tokens only", providertest.Policy{RevokeRefreshOnly: true}, nil, true},
		{"refresh tokens only, ended before", providertest.Policy{RevokeRefreshOnly: true, RevokeRefusesEnded: true}, ended("refresh_token"), true},
		{"refresh tokens only, and there is none", providertest.Policy{RevokeRefreshOnly: true}, without, false},
		{"refresh tokens only, and that fails", providertest.Policy{RevokeRefreshOnly: true}, fault(providertest.Fault{Times: 1, Status: 503}), false},
		{"access tokens only", providertest.Policy{}, fault(providertest.Fault{Times: 1, Status: 400, Body: `{"error":"unsupported_token_type"}`}), false},
	} {
		t.Run("146 "+test.name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.srv.SetPolicy(test.policy)
				w.adasProfile()
				if test.before != nil {
					test.before(w, w.grant(ada))
				}
				if err := w.m.Revoke(t.Context(), ada); (err == nil) != test.ok {
					t.Errorf("got error %v, want success to be %v", err, test.ok)
				}
				w.noGrant(ada)
			})
		})
	}
}

// TestThreat127_RevokedWhileItIsRenewed: what comes of the renewal is revoked
// too.
func TestThreat127_RevokedWhileItIsRenewed(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.srv.SetPolicy(providertest.Policy{Rotation: providertest.RotateKeep})
		p := w.adasProfile()
		expire()
		w.srv.Fault(providertest.Token, providertest.Fault{Hang: true, Committed: true})
		done := make(chan error)
		go func() {
			_, err := w.m.Token(t.Context(), p, asAda)
			done <- err
		}()
		if err := w.srv.AwaitHang(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		if err := w.m.Revoke(t.Context(), ada); err != nil {
			t.Fatal(err)
		}
		w.srv.Release()
		if err := <-done; err == nil {
			t.Error("got a token of a grant that was revoked")
		}
		if err := w.m.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.noGrant(ada)
		var revoked []string
		for _, c := range w.srv.Captured() {
			if c.Endpoint == providertest.Revocation {
				form, _ := url.ParseQuery(c.Body)
				revoked = append(revoked, providertest.Fingerprint(form.Get("token")))
			}
		}
		for _, r := range w.srv.Requests() {
			if r.IssuedRefresh != "" && !slices.Contains(revoked, r.IssuedRefresh) {
				t.Errorf("got a refresh token by %s that was never revoked", r.Grant)
			}
		}
	})
}

func TestShutdown(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.adasProfile()
		q := w.consent(w.begin(p, "eve"))
		w.srv.Fault(providertest.Token, providertest.Fault{Hang: true})
		go w.m.Finish(t.Context(), "eve", q)
		if err := w.srv.AwaitHang(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var e *authprofile.Error
		if err := w.m.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) || !errors.As(err, &e) || e.Op != "shutdown" {
			t.Errorf("got %v, want the end of the context", err)
		}
		w.srv.Release()
		if err := w.m.Shutdown(t.Context()); err != nil {
			t.Errorf("got %v the second time, want none", err)
		}
		w.healthy(authprofile.GrantKey{ProfileID: "crm", User: "eve"})
		w.token(w.m, p, asAda) // from memory
		expire()
		w.refuses(w.m, p, nil, asAda)
	})
}

// TestThreat133_NamesThatAreNoWords: whatever a profile's ID or a user looks
// like, it is itself and nobody else.
func TestThreat133_NamesThatAreNoWords(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		names := []string{"a", "A", "a ", " a", "ä", "a\u0308", `'; DROP TABLE grants; --`, `" OR "1"="1`, "%", "_", "a/b", "../a", "null", "0"}
		tokens := make(map[string]string)
		for _, name := range names {
			p := w.save(&authprofile.Profile{
				ID: name, Type: authprofile.TypeUser, ClientID: providertest.ClientID, ClientSecret: providertest.ClientSecret,
				Endpoints: authprofile.Endpoints{AuthURL: w.srv.AuthURL(), TokenURL: w.srv.TokenURL()},
			})
			for _, user := range names {
				w.authorize(p, user)
				tokens[name+"\x00"+user] = w.token(w.m, p, authprofile.AsUser(user))
			}
		}
		fresh := w.manager()
		seen := make(map[string]bool)
		for _, name := range names {
			p, err := fresh.Profile(t.Context(), name)
			if err != nil {
				t.Fatal(err)
			}
			for _, user := range names {
				got := w.token(fresh, p, authprofile.AsUser(user))
				if got != tokens[name+"\x00"+user] || seen[got] {
					t.Errorf("got another's token for %q of %q", user, name)
				}
				seen[got] = true
			}
		}
	})
}
