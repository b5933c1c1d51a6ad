package authprofile_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authprofile/authprofile"
	"github.com/authprofile/authprofile/providertest"
)

func TestProfilesAndGrantsAreListedInPages(t *testing.T) {
	m := new(authprofile.Manager)
	store := new(authprofile.MemStore)
	m.Store = store
	const n = 250
	for i := range n {
		p := validApp(fmt.Sprintf("%03d", i))
		if err := m.Save(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		g := &authprofile.Grant{GrantKey: authprofile.GrantKey{ProfileID: "000", User: fmt.Sprintf("%03d", i)}, Status: authprofile.StatusActive}
		if i == 0 {
			g.User = ""
		}
		if err := store.PutGrant(t.Context(), g); err != nil {
			t.Fatal(err)
		}
	}
	i := 0
	for p, err := range m.Profiles(t.Context()) {
		if err != nil || p.ID != fmt.Sprintf("%03d", i) || p.Unsaved() {
			t.Fatalf("got %v, %v; want profile %d, saved", p, err, i)
		}
		// Other calls may be made inside the loop.
		p.Name = "edited"
		if err := m.Save(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		i++
	}
	if i != n {
		t.Errorf("got %d profiles, want %d", i, n)
	}
	i = 0
	for g, err := range m.Grants(t.Context(), "000") {
		if err != nil {
			t.Fatal(err)
		}
		if i > 0 && g.User != fmt.Sprintf("%03d", i) {
			t.Fatalf("got %v, want that of user %d", g, i)
		}
		i++
	}
	if i != n {
		t.Errorf("got %d grants, want %d", i, n)
	}
	for range m.Profiles(t.Context()) {
		break // leaves nothing behind
	}
	for range m.Grants(t.Context(), "nobody") {
		t.Error("got a grant of a profile that is not there, want none")
	}
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
			t.Error("got a refresh token that lives on at the provider, want it revoked")
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
		custom := w.save(registered(authprofile.Profile{
			ID: "custom", Type: authprofile.TypeUser,
			Endpoints: authprofile.Endpoints{AuthURL: w.srv.AuthURL(), TokenURL: w.srv.TokenURL()},
		}))
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

// Nor are its tokens shown to another provider in order to be revoked, whose
// word would not count.
func TestRevokeAtAnotherIssuer(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.adasProfile()
		staging := anotherProvider(t, "https://staging.example.com")
		m := &authprofile.Manager{Store: w.store, HTTPClient: staging.Client(), RedirectURL: callbackAddress}
		p.Endpoints.DiscoveryURL = staging.DiscoveryURL()
		if err := m.Save(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		if err := m.Revoke(t.Context(), ada); err == nil {
			t.Error("got no error though the grant lives on, want one")
		}
		if got := staging.Hits(providertest.Revocation); got != 0 {
			t.Errorf("got the tokens shown to another provider %d times, want never", got)
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
			t.Error("got a renewed refresh token that lives on, want it revoked")
		}
	})
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
			t.Error("got a token of a grant that was revoked, want an error")
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
				t.Errorf("got a refresh token by %s that was never revoked, want all of them revoked", r.Grant)
			}
		}
	})
}

// What was renewed for a grant that is ended meanwhile is not kept, neither
// here nor at the provider.
func TestGrantEndsDuringItsRenewal(t *testing.T) {
	ends := map[string]func(w *world, p *authprofile.Profile) error{
		"Revoke": func(w *world, p *authprofile.Profile) error { return w.m.Revoke(w.Context(), ada) },
		"Delete": func(w *world, p *authprofile.Profile) error { return w.m.Delete(w.Context(), p.ID) },
		"deleted by another process": func(w *world, p *authprofile.Profile) error {
			return w.store.DeleteProfile(w.Context(), p.ID)
		},
	}
	phases := map[string]func(w *world, proc *process) (goOn func()){
		"asked": func(w *world, proc *process) func() {
			w.srv.Fault(providertest.Token, providertest.Fault{Hang: true})
			return w.srv.Release
		},
		"answered": func(w *world, proc *process) func() {
			w.srv.Fault(providertest.Token, providertest.Fault{Committed: true, Hang: true})
			return w.srv.Release
		},
		"waiting for the store": func(w *world, proc *process) func() {
			failAfterAnswer(proc, func(*storeCall) error { return errAway })
			return proc.store.heal
		},
		"verifying": func(w *world, proc *process) func() {
			w.srv.Fault(providertest.JWKS, providertest.Fault{Hang: true})
			return w.srv.Release
		},
	}
	for end, f := range ends {
		for phase, begin := range phases {
			t.Run(end+" "+phase, func(t *testing.T) {
				inWorld(t, func(t *testing.T, w *world) {
					p := w.adasProfile()
					proc := w.process()
					w.m = proc.Manager
					expire()
					var issued []string
					w.srv.Mutate(providertest.Token, func(a map[string]any) { issued = append(issued, a["refresh_token"].(string)) })
					goOn := begin(w, proc)
					var wg sync.WaitGroup
					wg.Go(func() { proc.Token(t.Context(), p, asAda) })
					synctest.Wait()
					if phase == "waiting for the store" {
						wg.Wait()
						proc.store.on(func(c *storeCall) error { return cond(c.op == "PutGrant", errAway, c) })
					}
					if err := f(w, p); err != nil {
						t.Fatal(err)
					}
					if phase == "waiting for the store" && end != "deleted by another process" {
						w.refuses(proc.Manager, p, nil, asAda)
					}
					goOn()
					wg.Wait()
					time.Sleep(5 * time.Second)

					if len(issued) == 0 && (phase != "asked" || end != "Revoke") {
						t.Fatal("got no refresh token issued, want one")
					}
					if _, err := w.store.Grant(t.Context(), ada); !errors.Is(err, authprofile.ErrNotFound) {
						t.Errorf("got error %v, want the grant to be gone", err)
					}
					if end == "deleted by another process" && phase == "verifying" {
						return // it was stored before it was deleted: nothing is known of that here
					}
					w.refuses(proc.Manager, p, authprofile.ErrReauthorize, asAda)
					if end == "Delete" && phase == "verifying" {
						return // what was stored then is not revoked by Delete
					}
					for _, tok := range issued {
						if w.srv.IsLive(tok) {
							t.Error("got a refresh token that is good at the provider, want it revoked")
						}
					}
				})
			})
		}
	}
}

// An app grant is revoked while its token is on the way: the callers get
// another one.
func TestAppGrantIsRevokedDuringItsRenewal(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.unsavedApp()
		p.Endpoints.RevocationURL = w.srv.RevocationURL()
		w.save(p)
		first := w.token(w.m, p)
		expire()
		w.srv.Fault(providertest.Token, providertest.Fault{Committed: true, Hang: true})
		var wg sync.WaitGroup
		var second string
		wg.Go(func() { second = w.token(w.m, p) })
		synctest.Wait()
		if err := w.m.Revoke(t.Context(), app); err != nil {
			t.Fatal(err)
		}
		w.srv.Release()
		wg.Wait()
		time.Sleep(time.Second)
		w.asked("client_credentials", 3)
		if got := w.token(w.m, p); got != string(w.grant(app).AccessToken) || got == first || got != second {
			t.Error("got another token than is stored, want the same")
		}
		if got := w.srv.Hits(providertest.Revocation); got != 2 {
			t.Errorf("got %d revocations, want one of each token that was not stored", got)
		}
	})
}

// A grant is revoked between the writing of a late answer and its use: its
// token is not served any more.
func TestRevokedWhenALateAnswerIsStored(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.adasProfile()
		proc := w.process()
		expire()
		released := make(chan struct{})
		proc.net.on(func(r *http.Request) (*http.Response, error) {
			resp, err := proc.net.base.RoundTrip(r.WithContext(context.WithoutCancel(r.Context())))
			if r.Method == http.MethodPost {
				<-released
			}
			return resp, err
		})
		proc.Token(t.Context(), p, asAda)
		once := new(sync.Once)
		proc.store.on(func(c *storeCall) error {
			err := c.run()
			if c.op == "PutGrant" && err == nil && c.grant.Lease == nil {
				once.Do(func() {
					if err := proc.Revoke(t.Context(), ada); err != nil {
						t.Error(err)
					}
				})
			}
			return err
		})
		proc.net.heal()
		close(released)
		synctest.Wait()
		w.refuses(proc.Manager, p, authprofile.ErrReauthorize, asAda)
	})
}

// A grant is deleted while a process stores once more what the Store has lost:
// it goes on, and the tokens are revoked at the provider.
func TestGrantIsRevokedWhileItIsStoredAgain(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.adasProfile()
		proc := w.process()
		var panicked atomic.Bool
		proc.Logger = slog.New(handlerFunc(func(r slog.Record) {
			if strings.Contains(r.Message, "panicked") {
				panicked.Store(true)
			}
		}))
		expire()
		before := w.grant(ada)
		w.token(proc.Manager, p, asAda)
		proc.store.on(func(c *storeCall) error {
			switch c.op {
			case "Grant":
				if proc.store.count("PutGrant") > 2 {
					return authprofile.ErrNotFound
				}
				g := w.grant(ada)
				g.RefreshToken, g.AccessToken, g.Obtained, g.Expiry = before.RefreshToken, before.AccessToken, before.Obtained, before.Expiry
				w.put(g)
			case "PutGrant":
				return authprofile.ErrConflict
			}
			return c.run()
		})
		expire()
		proc.Token(t.Context(), p, asAda)
		time.Sleep(time.Minute)
		synctest.Wait()
		if panicked.Load() {
			t.Error("got a panic, want none")
		}
		if got := w.srv.Hits(providertest.Revocation); got == 0 {
			t.Error("got no revocation of what was renewed, want one")
		}
	})
}

// A grant is revoked while a process finds out that another one has moved on
// what it had to store: the other's token is not served any more.
func TestRevokedWhenAnUnstoredTokenIsSettled(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.adasProfile()
		proc := w.process()
		expire()
		failAfterAnswer(proc, func(c *storeCall) error { return errAway })
		w.token(proc.Manager, p, asAda)
		time.Sleep(3 * time.Second)
		w.authorize(p, "ada") // by another process
		var revoked atomic.Bool
		proc.store.on(func(c *storeCall) error {
			err := c.run()
			if c.op == "Grant" && err == nil && revoked.CompareAndSwap(false, true) {
				if err := proc.Revoke(t.Context(), ada); err != nil {
					t.Error(err)
				}
			}
			return err
		})
		time.Sleep(time.Minute)
		w.refuses(proc.Manager, p, authprofile.ErrReauthorize, asAda)
	})
}

func TestAppGrantIsNotMadeForADeletedProfile(t *testing.T) {
	phases := map[string]func(w *world, proc *process, del func()){
		"before the lease": func(w *world, proc *process, del func()) {
			proc.store.on(func(c *storeCall) error {
				err := c.run()
				if c.op == "Profile" {
					proc.store.heal()
					del()
				}
				return err
			})
		},
		"while asking": func(w *world, proc *process, del func()) {
			proc.net.on(func(r *http.Request) (*http.Response, error) {
				resp, err := proc.net.base.RoundTrip(r)
				del()
				return resp, err
			})
		},
		"while the token waits for the store": func(w *world, proc *process, del func()) {
			proc.store.goAway()
			time.AfterFunc(time.Second, func() {
				del()
				proc.store.heal()
			})
		},
	}
	for phase, begin := range phases {
		t.Run(phase, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				p := w.app()
				proc := w.process()
				begin(w, proc, func() { w.m.Delete(context.Background(), p.ID) })
				_, err := proc.Token(t.Context(), p)
				if err != nil && !errors.Is(err, authprofile.ErrNotFound) {
					t.Errorf("got error %v, want none or ErrNotFound", err)
				}
				time.Sleep(5 * time.Second)
				if g, err := w.store.Grant(t.Context(), app); err == nil {
					t.Errorf("got %v, want no grant of a profile that was deleted", g)
				}
			})
		})
	}
}

// A failure is noted of an app profile that was deleted meanwhile: that must not
// make a grant of a profile that does not exist.
func TestFailureOfADeletedAppProfile(t *testing.T) {
	for _, failure := range []struct {
		name   string
		status int
		body   string
	}{
		{"refused", 401, code("invalid_client")},
		{"not available", 503, ""},
	} {
		t.Run(failure.name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				p := w.app()
				p.Endpoints = authprofile.Endpoints{DiscoveryURL: w.srv.DiscoveryURL()}
				w.save(p)
				for _, when := range []string{"discovering", "asking"} {
					proc := w.process()
					p := p.Clone()
					p.ID, p.Version = "app-"+when, 0
					w.save(p)
					proc.net.on(func(r *http.Request) (*http.Response, error) {
						if (r.Method == http.MethodPost) == (when == "discovering") {
							return proc.net.base.RoundTrip(r)
						}
						if err := w.store.DeleteProfile(t.Context(), p.ID); err != nil {
							t.Error(err)
						}
						return respond(failure.status, failure.body), nil
					})
					w.refuses(proc.Manager, p, nil)
					time.Sleep(time.Minute)
					if g, err := w.store.Grant(t.Context(), authprofile.GrantKey{ProfileID: p.ID}); err == nil {
						t.Errorf("%s: got %v, want no grant of a profile that was deleted", when, g)
					}
				}
			})
		})
	}
}
