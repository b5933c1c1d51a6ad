package authprofile_test

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/oauth2"

	"github.com/authprofile/authprofile"
	"github.com/authprofile/authprofile/providertest"
)

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
			t.Errorf("got grant %v, want ada's, active, with what was asked for", g)
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
	p := w.save(registered(authprofile.Profile{
		Type: authprofile.TypeUser, Template: authprofile.Microsoft("common"),
	}))
	f := w.begin(p, "ada", oauth2.SetAuthURLParam("scope", "Mail.Read"))
	if got, want := parsed(t, f.URL).Query().Get("scope"), "Mail.Read offline_access"; got != want {
		t.Errorf("got scope %q, want %q: the template's is not lost", got, want)
	}
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
			t.Errorf("got %q for both %q and %q, want an address for each", address, before, id)
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

func TestThreat008_013_045_NothingIsPredictable(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.user()
		seen := make(map[string]bool)
		ones, bits := 0, 0
		for range 2000 {
			f := w.begin(p, "ada")
			for name, s := range map[string]string{"state": f.State, "nonce": f.Nonce, "verifier": string(f.Verifier)} {
				if seen[s] {
					t.Fatalf("%s: got the same twice, want another each time", name)
				}
				seen[s] = true
				// Nothing but what needs no escaping, 43 to 128 of it.
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
			t.Errorf("got %d ones among %d bits, want about half", ones, bits)
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
				t.Errorf("got no error for %q among a profile's Params, want one", name)
			}
		}
	})
}

func TestThreat010_IdentityIsNotInTheState(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		f := w.begin(w.user(), "ada")
		raw, err := base64.RawURLEncoding.DecodeString(f.State)
		if err != nil || len(raw) != 32 || strings.Contains(string(raw), "ada") || strings.Contains(f.State, "ada") {
			t.Errorf("got state %q, %v; want 32 random bytes", f.State, err)
		}
		q := w.consent(f)
		for _, name := range []string{"user", "sub", "login_hint", "profile"} {
			q.Set(name, "mallory")
		}
		g, err := w.m.Finish(t.Context(), "ada", q)
		if err != nil || g.GrantKey != ada {
			t.Errorf("got %v, %v; want ada's grant", g, err)
		}
	})
}

// A reader of the Store cannot finish a flow with what is there, and nothing is
// compared that timing could give away.
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
		// The user stands there, and not in the state.
		if kept.GrantKey != ada {
			t.Errorf("got %v in the Store, want %v", kept.GrantKey, ada)
		}
	})
}

// A client that begins flows without end makes the Store forget the oldest.
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
				t.Errorf("%q: got no error from Save, want one", address)
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
		p := w.save(registered(authprofile.Profile{
			Type:      authprofile.TypeUser,
			Endpoints: authprofile.Endpoints{AuthURL: w.srv.AuthURL() + "?tenant=a%26b&state=x&code_challenge_method=plain", TokenURL: w.srv.TokenURL()},
		}))
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

// The redirect address says which profile a callback is for, and so does the
// stored flow: both must say the same.
func TestThreat040_ContextInAddressAndFlow(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.m.RedirectURL = "https://app.example.com/cb/{profile}"
		s, b := w.site(), &browser{user: "ada"}
		second := s.p.Clone()
		second.ID, second.Version = "second", 0
		w.save(second)

		back := s.away(b, "https://app.example.com/connect")
		wrong := strings.Replace(back, w.m.RedirectAddress(s.p), w.m.RedirectAddress(second), 1)
		if wrong == back {
			t.Fatalf("got the callback %q, want it to be at the profile's address", back)
		}
		wantPage(t, s.serve(b, "GET", wrong), http.StatusBadRequest, "Not connected")
		w.asked("authorization_code", 0)
		w.noGrant(ada)
		w.noGrant(authprofile.GrantKey{ProfileID: "second", User: "ada"})

		wantPage(t, s.serve(b, "GET", s.away(b, "https://app.example.com/connect")), http.StatusOK, "Connected")
		w.healthy(ada)
		w.noGrant(authprofile.GrantKey{ProfileID: "second", User: "ada"})
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
					t.Error("got the verifier in an address, want the challenge alone")
				}
			})
		})
	}
}

// The page for users is not needed for what runs without them.
func TestConformance_AuthorizationEndpointThatCannotBeUsed(t *testing.T) {
	for _, address := range []any{nil, "http://login.example.com/authorize", "javascript:1", 7} {
		t.Run(fmt.Sprintf("066 %v", address), func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				p := w.adasProfile()
				query := w.consent(w.begin(p, "bob"))
				w.srv.Mutate(providertest.Discovery, func(a map[string]any) { a["authorization_endpoint"] = address })
				w.m = w.manager()
				_, err := w.m.Begin(t.Context(), p, "ada")
				if !errors.Is(err, authprofile.ErrConfiguration) || !strings.Contains(fmt.Sprint(err), "authorization_endpoint") {
					t.Errorf("got %v from Begin, want ErrConfiguration with the member", err)
				}
				if _, err := w.m.Finish(t.Context(), "bob", query); err != nil {
					t.Errorf("got %v from Finish, want no error", err)
				}
				expire()
				w.token(w.m, p, asAda)
				w.healthy(ada)
				if err := w.m.Revoke(t.Context(), ada); err != nil {
					t.Errorf("got %v from Revoke, want no error", err)
				}
			})
		})
	}
}

// The code flow and PKCE, as they are certified.
func TestConformance_AuthorizationRequest(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.relyingParty()
		q := parsed(t, w.begin(p, "ada").URL).Query()
		for name, want := range map[string]string{
			"response_type": "code", "client_id": rpID, "redirect_uri": w.m.RedirectAddress(p), "code_challenge_method": "S256",
			"scope": "openid read offline_access",
		} {
			if got := q.Get(name); got != want {
				t.Errorf("%s: got %q, want %q", name, got, want)
			}
		}
		for _, name := range []string{"state", "nonce", "code_challenge"} {
			if got := q.Get(name); len(got) < 43 {
				t.Errorf("%s: got %q, want 256 bits", name, got)
			}
		}
		for _, name := range []string{"client_secret", "response_mode", "request", "code_verifier"} {
			if q.Has(name) {
				t.Errorf("%s: got %q, want none", name, q[name])
			}
		}
	})
}

// A state that is not the one of Begin, and one that comes back twice.
func TestConformance_State(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.relyingParty()
		query := w.consent(w.begin(p, "ada"))
		for _, q := range []url.Values{with(query, "state"), with(query, "state", ""), with(query, "state", strings.Repeat("x", 43)), with(query, "state", query.Get("state")+"x")} {
			w.finishFails("ada", q, nil)
		}
		w.noGrant(ada)
		if _, err := w.m.Finish(t.Context(), "ada", query); err != nil {
			t.Fatal(err)
		}
		w.finishFails("ada", query, authprofile.ErrNotFound)
		w.asked("authorization_code", 1)
	})
}
