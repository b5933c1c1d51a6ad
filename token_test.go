package authprofile_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/oauth2"

	"github.com/authprofile/authprofile"
	"github.com/authprofile/authprofile/providertest"
)

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
			{"app profile that was never stored", &authprofile.Profile{ID: "no", Type: authprofile.TypeApp, Version: 1}, nil, authprofile.ErrNotFound, ""},
			{"no authorization", user, []authprofile.Option{asEve}, authprofile.ErrReauthorize, ""},
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
		p := w.save(registered(authprofile.Profile{
			ID: "app", Type: authprofile.TypeApp,
			Endpoints: authprofile.Endpoints{DiscoveryURL: w.srv.DiscoveryURL()},
		}))
		w.srv.Fault(providertest.Discovery, providertest.Fault{Times: -1, Drop: true})
		ctx, cancel := context.WithCancel(t.Context())
		src := w.m.Source(ctx, p)
		cancel() // its end is not the source's
		if got := len(w.srv.Captured()); got != 0 {
			t.Errorf("got %d requests when the source was made, want none", got)
		}
		if _, err := src.Token(); err == nil {
			t.Error("got a token from a provider that is down, want an error")
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
			t.Error("got two tokens for the same unsaved profile, want one")
		}
		if w.token(w.m, a) == w.token(w.m, b) {
			t.Error("got one token for two profiles, want one for each")
		}
		// So it does for times that JSON does not have.
		far, farther := p.Clone(), p.Clone()
		far.Created = time.Date(12000, 1, 1, 0, 0, 0, 0, time.UTC)
		farther.Created, farther.Params = far.Created, url.Values{"audience": {"other"}}
		if w.token(w.m, far) == w.token(w.m, farther) {
			t.Error("got one token for two profiles of the year 12000, want one for each")
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

// An app profile that was never saved: its token is the Source's own, and the
// Manager's for as long as the profile says the same.
func TestUnsavedProfiles(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		var wg sync.WaitGroup
		var mu sync.Mutex
		tokens := make(map[string]bool)
		const n = 10
		for i := range n {
			p := w.unsavedApp()
			p.ID, p.Name = "", fmt.Sprint(i)
			srcs := []oauth2.TokenSource{w.m.Source(t.Context(), p), w.m.Source(t.Context(), p)}
			for _, src := range srcs {
				for range 5 {
					wg.Go(func() {
						tok, err := src.Token()
						if err != nil {
							t.Error(err)
							return
						}
						mu.Lock()
						tokens[tok.AccessToken] = true
						mu.Unlock()
					})
				}
			}
			for range 5 {
				wg.Go(func() {
					tok := w.token(w.m, p)
					mu.Lock()
					tokens[tok] = true
					mu.Unlock()
				})
			}
		}
		wg.Wait()
		w.asked("client_credentials", 3*n)
		if len(tokens) != 3*n {
			t.Errorf("got %d tokens, want %d", len(tokens), 3*n)
		}
		if list, _ := w.store.ListProfiles(t.Context(), "", 10); len(list) != 0 {
			t.Errorf("got %d profiles in the store, want none", len(list))
		}

		p := w.unsavedApp()
		first := w.token(w.m, p)
		if w.token(w.m, p.Clone()) != first {
			t.Error("got another token for a profile that says the same, want the same")
		}
		p.Scopes = []string{"write"}
		if w.token(w.m, p) == first {
			t.Error("got the same token for a profile that says something else, want another")
		}
		expire()
		w.token(w.m, p)
		w.asked("client_credentials", 3*n+3)

		// A user profile needs a place for its grant.
		u := &authprofile.Profile{Type: authprofile.TypeUser, ClientID: "c", Endpoints: authprofile.Endpoints{DiscoveryURL: w.srv.DiscoveryURL()}}
		w.refuses(w.m, u, authprofile.ErrNotFound, asAda)
	})
}

// The caller hangs up while the provider is asked. What was paid for is stored
// all the same.
func TestCallerHangsUp(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.adasProfile()
		expire()
		w.srv.Fault(providertest.Token, providertest.Fault{Committed: true, Delay: 3 * time.Second})
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		begin := time.Now()
		if _, err := w.m.Token(ctx, p, asAda); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got error %v, want the context's", err)
		}
		if d := time.Since(begin); d != 100*time.Millisecond {
			t.Errorf("got the caller's answer after %v, want it after 100ms", d)
		}
		time.Sleep(5 * time.Second)
		w.healthy(ada)
		w.token(w.m, p, asAda)
		w.asked("refresh_token", 1)
	})
}

// A Store in the hands of a careless driver may look at the caller's context.
func TestContextOfTheCallerKeepsItsValuesAndNotItsEnd(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		type key struct{}
		p := w.adasProfile()
		proc := w.process()
		expire()
		ctx, cancel := context.WithCancel(context.WithValue(t.Context(), key{}, "trace"))
		src := proc.Source(ctx, p, asAda)
		cancel()
		proc.store.on(func(c *storeCall) error {
			if c.ctx.Err() != nil || c.ctx.Value(key{}) != "trace" {
				t.Errorf("%s: got context error %v, value %v; want none, and the caller's value", c.op, c.ctx.Err(), c.ctx.Value(key{}))
			}
			if _, ok := c.ctx.Deadline(); !ok {
				t.Errorf("%s: got a context without a deadline, want one", c.op)
			}
			return c.run()
		})
		if _, err := src.Token(); err != nil {
			t.Error(err)
		}
		// From memory, also for those whose time is up.
		if _, err := proc.Token(ctx, p, asAda); err != nil {
			t.Errorf("got error %v, want the token that is in memory", err)
		}
	})
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

func TestThreat080_ScopesAreWhatWasGranted(t *testing.T) {
	asked := []string{"openid", "read", "offline_access"}
	for _, test := range []struct {
		scope any // nil: not in the answer
		want  []string
	}{
		{nil, asked},
		{"", nil},
		{"read", []string{"read"}},
		{"offline_access read openid", []string{"offline_access", "read", "openid"}},
		{"openid read offline_access admin", append(slices.Clone(asked), "admin")},
	} {
		t.Run(fmt.Sprintf("080 %v", test.scope), func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.srv.Mutate(providertest.Token, func(answer map[string]any) {
					if answer["scope"] = test.scope; test.scope == nil {
						delete(answer, "scope")
					}
				})
				p := w.user()
				w.authorize(p, "ada")
				for _, when := range []string{"login", "renewal"} {
					g := w.grant(ada)
					if !slices.Equal(g.Scopes, test.want) || !slices.Equal(g.Requested, asked) {
						t.Errorf("%s: got scopes %q of %q, want %q of %q", when, g.Scopes, g.Requested, test.want, asked)
					}
					expire()
					w.token(w.m, p, asAda)
				}
			})
		})
	}

	// Fewer than before is worth a line in the log, without the user in it.
	inWorld(t, func(t *testing.T, w *world) {
		var log strings.Builder
		p := w.adasProfile()
		m := w.manager()
		m.Logger = slog.New(slog.NewTextHandler(&log, nil))
		w.srv.Mutate(providertest.Token, func(answer map[string]any) { answer["scope"] = "openid" })
		expire()
		w.token(m, p, asAda)
		synctest.Wait() // the caller has the token before the log has the record
		if text := log.String(); !strings.Contains(text, "level=WARN") || !strings.Contains(text, "fewer scopes") || strings.Contains(text, "ada") {
			t.Errorf("got log %q, want a warning", text)
		}
	})
}

// A renewal asks for no more than the person has consented to, whatever the
// profile has got since, and is content with what it gets.
func TestThreat081_RenewalsDoNotExtendTheScope(t *testing.T) {
	inWorldOf(t, providertest.Microsoft("contoso.com"), func(t *testing.T, w *world) {
		p := w.save(registered(authprofile.Profile{
			ID: "crm", Type: authprofile.TypeUser, Template: authprofile.Microsoft("contoso.com"), Scopes: []string{"openid", "User.Read", "Mail.Read"},
		}))
		w.authorize(p, "ada")
		p.Scopes = []string{"openid", "User.Read", "Mail.ReadWrite"}
		w.save(p)
		expire()
		w.token(w.m, p, asAda)
		requests := w.srv.Requests()
		if got, want := requests[len(requests)-1].Scope, "openid User.Read offline_access"; got != want {
			t.Errorf("got scope %q in the renewal, want %q", got, want)
		}
		w.healthy(ada)
	})

	inWorld(t, func(t *testing.T, w *world) {
		p := w.adasProfile()
		w.srv.SetPolicy(providertest.Policy{NarrowOnRefresh: true})
		p.Scopes = append(p.Scopes, "write")
		w.save(p)
		expire()
		w.token(w.m, p, asAda)
		if form := bodies(t, w.srv)[1]; form.Has("scope") {
			t.Errorf("got scope %q in the renewal, want none: the provider knows", form["scope"])
		}
		w.healthy(ada)
		if got := w.grant(ada).Scopes; !slices.Equal(got, []string{"openid"}) {
			t.Errorf("got scopes %q, want what the provider says that it has granted", got)
		}
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

// An access token is opaque, whatever it looks like.
func TestThreat114_AccessTokensAreNotRead(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		b64 := base64.RawURLEncoding.EncodeToString
		jwt := b64([]byte(`{"alg":"none"}`)) + "." + b64([]byte(`{"iss":"https://evil.example.com","sub":"mallory","exp":1,"scope":"admin"}`)) + "."
		w.srv.MutateIDToken(func(_, claims map[string]any) { delete(claims, "at_hash") })
		w.srv.Mutate(providertest.Token, func(answer map[string]any) { answer["access_token"] = jwt })
		p := w.user()
		for round := range 2 {
			g := w.grant
			if round == 0 {
				w.authorize(p, "ada")
			} else {
				expire()
			}
			if got := w.token(w.m, p, asAda); got != jwt {
				t.Errorf("got token %q, want it as it came", got)
			}
			if g := g(ada); g.Subject != "user" || g.Issuer != issuer || slices.Contains(g.Scopes, "admin") || g.Expiry.Before(time.Now().Add(50*time.Minute)) {
				t.Errorf("got %v, want nothing that the access token claims", g)
			}
		}
	})
}
