package authprofile_test

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authprofile/authprofile"
	"github.com/authprofile/authprofile/providertest"
)

// A refresh token in an answer that is good for nothing else.
func TestRefreshTokenIsSalvaged(t *testing.T) {
	for _, valid := range []bool{false, true} {
		inWorld(t, func(t *testing.T, w *world) {
			p := w.adasProfile()
			first := w.token(w.m, p, asAda)
			if valid {
				time.Sleep(time.Hour - 5*time.Second)
			} else {
				expire()
			}
			w.srv.Fault(providertest.Token, providertest.Fault{Committed: true, Rewrite: func(a *providertest.Answer) {
				a.Body = []byte(strings.Replace(string(a.Body), "access_token", "access", 1))
			}})
			if valid {
				if got := w.token(w.m, p, asAda); got != first {
					t.Error("got another token, want the valid one to be served")
				}
				synctest.Wait()
			} else {
				w.refuses(w.m, p, nil, asAda)
			}
			g := w.grant(ada)
			if !w.srv.IsCurrent(string(g.RefreshToken)) {
				t.Fatal("got a grant without the refresh token that was issued, want it stored")
			}
			if g.Status != failing || g.Failure.Reason != authprofile.ReasonUnreadable || g.Lease != nil || string(g.AccessToken) != first {
				t.Errorf("got %v, want it failing, unreadable, with the first access token", g)
			}
			time.Sleep(3 * time.Second)
			w.token(w.m, p, asAda)
			time.Sleep(time.Second)
			w.healthy(ada)
			w.asked("refresh_token", 2)
		})
	}
}

// The store goes away between the provider's answer and ours: callers get the
// token, and it is stored as soon as it can be.
func TestStoreGoesAwayAfterTheAnswer(t *testing.T) {
	faults := map[string]func(c *storeCall) error{
		"away":               func(c *storeCall) error { return errAway },
		"hangs":              func(c *storeCall) error { <-c.ctx.Done(); return c.ctx.Err() },
		"read-only":          readOnly,
		"answers are lost":   func(c *storeCall) error { c.run(); return errAway },
		"cannot be read":     func(c *storeCall) error { return cond(c.op != "PutGrant", errAway, c) },
		"conflicts, wrongly": func(c *storeCall) error { return cond(c.op == "PutGrant", authprofile.ErrConflict, c) },
	}
	for name, fault := range faults {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				p := w.adasProfile()
				proc := w.process()
				expire()
				failAfterAnswer(proc, fault)
				begin := time.Now()
				first := w.token(proc.Manager, p, asAda)
				if d := time.Since(begin); d > 2500*time.Millisecond {
					t.Errorf("got the token after %v, want it without waiting for the Store", d)
				}
				for range 30 {
					begin := time.Now()
					if got := w.token(proc.Manager, p, asAda); got != first || time.Since(begin) != 0 {
						t.Fatalf("got %q after %v, want %q at once", got, time.Since(begin), first)
					}
					time.Sleep(time.Minute)
				}
				proc.store.heal()
				time.Sleep(7 * time.Second) // a call may still hang for five
				w.healthy(ada)
				if got := string(w.grant(ada).AccessToken); got != first {
					t.Error("got another token stored than was served, want the same")
				}
				if got := w.token(w.manager(), p, asAda); got != first {
					t.Error("got another token in other processes, want the same")
				}
				w.asked("refresh_token", 1)
			})
		})
	}
}

// The token that waits for the store has ended, and its refresh token is known
// to this process alone: the one in the store is spent, and is not sent again.
func TestUnstoredTokenEnds(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.adasProfile()
		proc := w.process()
		expire()
		proc.store.failPuts(func(g *authprofile.Grant) bool { return g.Lease == nil })
		w.token(proc.Manager, p, asAda)
		expire()
		for range 3 {
			w.refuses(proc.Manager, p, nil, asAda)
		}
		w.asked("refresh_token", 1)
		proc.store.heal()
		w.token(proc.Manager, p, asAda)
		w.asked("refresh_token", 2)
		w.healthy(ada)
		if got := w.srv.Reuses(); got != 0 {
			t.Errorf("got %d reuses, want none", got)
		}
	})
}

func readOnly(c *storeCall) error {
	return cond(c.op == "PutGrant" || c.op == "DeleteGrant", errors.New("read-only"), c)
}

func cond(fails bool, err error, c *storeCall) error {
	if fails {
		return err
	}
	return c.run()
}

// failAfterAnswer lets a fault strike the Store as soon as the provider has
// answered a token request.
func failAfterAnswer(proc *process, fault func(c *storeCall) error) {
	proc.net.on(func(r *http.Request) (*http.Response, error) {
		resp, err := proc.net.base.RoundTrip(r)
		if r.Method == http.MethodPost {
			proc.store.on(fault)
			proc.net.heal()
		}
		return resp, err
	})
}

// Meanwhile others may have come to conclusions. What counts is whether the
// refresh token that we spent is still there.
func TestConflictsAreJudgedByTokens(t *testing.T) {
	tests := []struct {
		name   string
		change func(w *world, g *authprofile.Grant)
		ours   bool // is what is stored in the end
	}{
		{"a successor has taken the lease", func(w *world, g *authprofile.Grant) {
			g.Lease = &authprofile.Lease{Owner: "successor", Attempt: "two", Length: 5 * time.Second}
		}, true},
		{"a successor has noted a failure", func(w *world, g *authprofile.Grant) {
			g.Lease, g.Status = nil, failing
			g.Failure = &authprofile.Failure{Reason: authprofile.ReasonUnavailable, Attempts: 3}
		}, true},
		{"a successor has given it up", func(w *world, g *authprofile.Grant) {
			g.Lease, g.Status = nil, needsPerson
			g.Failure = &authprofile.Failure{Reason: authprofile.ReasonInterrupted, Attempts: 1}
		}, true},
		{"the grant has moved on", func(w *world, g *authprofile.Grant) {
			g.Lease, g.AccessToken, g.RefreshToken = nil, "theirs", "theirs"
			g.Obtained, g.Expiry = time.Now(), time.Now().Add(time.Hour)
		}, false},
		{"the grant has moved on, and its token has ended", func(w *world, g *authprofile.Grant) {
			g.Lease, g.AccessToken, g.RefreshToken = nil, "theirs", "theirs"
			g.Obtained, g.Expiry = time.Now().Add(-time.Hour), time.Now()
		}, false},
	}
	for _, tt := range tests {
		for _, late := range []bool{false, true} {
			t.Run(tt.name+map[bool]string{true: ", after a while"}[late], func(t *testing.T) {
				inWorld(t, func(t *testing.T, w *world) {
					p := w.adasProfile()
					proc := w.process()
					expire()
					var once sync.Once
					change := func() {
						g := w.grant(ada)
						tt.change(w, g)
						w.put(g)
					}
					failAfterAnswer(proc, func(c *storeCall) error {
						if c.op == "PutGrant" && late {
							return errAway
						}
						once.Do(change)
						return c.run()
					})
					tok, err := proc.Token(t.Context(), p, asAda)
					if g := w.grant(ada); !late && !tt.ours && !g.Expiry.After(time.Now()) {
						// It goes on from there, with their refresh token.
						if !errors.Is(err, authprofile.ErrReauthorize) || g.RefreshToken != "theirs" {
							t.Errorf("got %v, want the provider's word on the refresh token that is stored", err)
						}
						w.asked("refresh_token", 2)
						return
					}
					if err != nil {
						t.Fatal(err)
					}
					got := tok.AccessToken
					if late {
						change()
						proc.store.heal()
						time.Sleep(2 * time.Second)
					}
					g := w.grant(ada)
					if tt.ours {
						w.healthy(ada)
						if string(g.AccessToken) != got {
							t.Error("got another token than is stored, want the same")
						}
					} else if g.RefreshToken != "theirs" {
						t.Error("got the tokens of another process overwritten, want them kept")
					} else if g.Expiry.After(time.Now()) {
						if got := w.token(proc.Manager, p, asAda); got != "theirs" {
							t.Errorf("got %q, want the other process's token", got)
						}
					}
					w.asked("refresh_token", 1)
				})
			})
		}
	}
}

// Without rotation the refresh token says nothing: of two access tokens the
// later one stays.
func TestConflictWithoutRotation(t *testing.T) {
	for _, later := range []bool{true, false} {
		inWorld(t, func(t *testing.T, w *world) {
			w.srv.SetPolicy(providertest.Policy{Rotation: providertest.RotateNever})
			p := w.adasProfile()
			proc := w.process()
			expire()
			var once sync.Once
			failAfterAnswer(proc, func(c *storeCall) error {
				once.Do(func() {
					g := w.grant(ada)
					g.AccessToken, g.Obtained, g.Expiry = "theirs", time.Now().Add(-time.Minute), time.Now().Add(time.Hour)
					if later {
						g.Obtained = time.Now().Add(time.Second)
					}
					w.put(g)
				})
				return c.run()
			})
			got := w.token(proc.Manager, p, asAda)
			if (got == "theirs") != later || string(w.grant(ada).AccessToken) != got {
				t.Errorf("theirs is later: %t; got %q, and stored is another: %t; want the later one, stored", later, got, string(w.grant(ada).AccessToken) != got)
			}
		})
	}
}

// The lease cannot be had: the provider is not asked for a user's token.
func TestNoLeaseNoRequest(t *testing.T) {
	for name, fault := range map[string]func(c *storeCall) error{
		"away":      func(c *storeCall) error { return errAway },
		"hangs":     func(c *storeCall) error { <-c.ctx.Done(); return c.ctx.Err() },
		"read-only": readOnly,
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				p := w.adasProfile()
				proc := w.process()
				expire()
				proc.store.on(fault)
				for range 5 {
					err := w.refuses(proc.Manager, p, nil, asAda)
					if errors.Is(err, authprofile.ErrReauthorize) || errors.Is(err, authprofile.ErrConfiguration) {
						t.Errorf("got error %v, want none that asks for a person", err)
					}
					time.Sleep(time.Second)
				}
				w.asked("refresh_token", 0)
				proc.store.heal()
				w.token(proc.Manager, p, asAda)
				w.healthy(ada)
			})
		})
	}
}

// A store that is away never stops an app profile.
func TestAppProfileWithoutTheStore(t *testing.T) {
	for name, fault := range map[string]func(c *storeCall) error{
		"away":      func(c *storeCall) error { return errAway },
		"read-only": readOnly,
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				p := w.app()
				proc := w.process()
				proc.store.on(fault)
				for hour := 1; hour <= 3; hour++ {
					first := w.token(proc.Manager, p)
					for range 50 {
						if got := w.token(proc.Manager, p); got != first {
							t.Fatal("got a token that is not kept in memory, want the same again")
						}
						time.Sleep(time.Minute)
					}
					w.asked("client_credentials", hour)
					expire()
				}
				last := w.token(proc.Manager, p)
				proc.store.heal()
				time.Sleep(2 * time.Second)
				if got := w.token(w.m, p); got != last {
					t.Error("got another token stored once the Store was back, want the latest")
				}
				w.asked("client_credentials", 4)
			})
		})
	}
}

// The provider is away too: its failures are paced without a store.
func TestAppProfileWithoutStoreAndProvider(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.app()
		proc := w.process()
		proc.store.goAway()
		w.srv.Fault(providertest.Token, providertest.Fault{Times: -1, Status: 503, Header: http.Header{"Retry-After": {"60"}}})
		for range 100 {
			w.refuses(proc.Manager, p, nil)
			time.Sleep(100 * time.Millisecond)
		}
		w.asked("client_credentials", 1)
		w.srv.ClearFaults(providertest.Token)
		time.Sleep(time.Minute)
		w.token(proc.Manager, p)
	})
}

// Memory is bounded, but what is nowhere else does not leave it.
func TestUnstoredTokenIsServedThoughItLeftTheCache(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.adasProfile()
		w.authorize(p, "bob")
		proc := w.process()
		proc.CacheSize = 1
		expire()
		failAfterAnswer(proc, func(c *storeCall) error {
			return cond(c.key.User == "ada", errAway, c)
		})
		first := w.token(proc.Manager, p, asAda)
		w.token(proc.Manager, p, authprofile.AsUser("bob"))
		begin := time.Now()
		if got := w.token(proc.Manager, p, asAda); got != first || time.Since(begin) != 0 {
			t.Errorf("got %q after %v, want %q at once", got, time.Since(begin), first)
		}
		proc.store.heal()
		time.Sleep(2 * time.Second)
		w.healthy(ada)
	})
}

// A database fails over, and has lost the last it had acknowledged. The process
// that has written it does not send the refresh token that it has spent, but
// writes what it has once more.
func TestStoreGoesBack(t *testing.T) {
	for _, when := range []string{"at the next renewal", "while another process renews", "after an authorization"} {
		t.Run(when, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) { // the provider is strict
				p := w.adasProfile()
				proc := w.process()
				proc.RedirectURL = callbackAddress
				expire()
				before := w.grant(ada)
				if when == "after an authorization" {
					f, err := proc.Begin(t.Context(), p, "ada")
					if err != nil {
						t.Fatal(err)
					}
					if _, err := proc.Finish(t.Context(), "ada", w.consent(f)); err != nil {
						t.Fatal(err)
					}
				} else {
					w.token(proc.Manager, p, asAda)
				}
				asked := w.srv.Count("refresh_token")
				back := &wentBack{Store: proc.store.Store, grant: before}
				if when == "while another process renews" {
					back.grant.Lease = &authprofile.Lease{Owner: "another", Attempt: "one", Length: 5 * time.Second}
				}
				proc.store.Store = back
				expire()
				w.token(proc.Manager, p, asAda)
				w.asked("refresh_token", asked+1)
				if got := w.srv.Reuses(); got != 0 {
					t.Errorf("got %d refresh tokens sent twice, want none", got)
				}
				g, err := back.Grant(t.Context(), ada)
				if err != nil || g.Status != active || !w.srv.IsCurrent(string(g.RefreshToken)) {
					t.Errorf("got %v, %v; want an active grant with the refresh token that the provider waits for", g, err)
				}
			})
		})
	}
}

// wentBack is a Store that has a grant as it was some time ago.
type wentBack struct {
	authprofile.Store
	mu    sync.Mutex
	grant *authprofile.Grant
}

func (s *wentBack) Grant(ctx context.Context, key authprofile.GrantKey) (*authprofile.Grant, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.grant.Clone(), nil
}

func (s *wentBack) PutGrant(ctx context.Context, g *authprofile.Grant) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if g.Version != s.grant.Version {
		return authprofile.ErrConflict
	}
	g.Version++
	s.grant = g.Clone()
	return nil
}

// A grant cannot be read: its row is damaged, or its key was lost. A new
// authorization replaces it after some seconds, in which it could not either.
func TestUnreadableGrantIsReplaced(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.adasProfile()
		proc := w.process()
		proc.RedirectURL = callbackAddress
		unreadable := &authprofile.Error{Op: "read", ProfileID: "crm", User: "ada", Err: errors.New("damaged")}
		damaged := true
		proc.store.on(func(c *storeCall) error {
			if c.op == "Grant" && damaged {
				return unreadable
			}
			err := c.run()
			if c.op == "PutGrant" && err == nil {
				damaged = false
			}
			return err
		})
		w.refuses(proc.Manager, p, unreadable, asAda, authprofile.Rejected(nil))
		f, err := proc.Begin(t.Context(), p, "ada")
		if err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		if _, err := proc.Finish(t.Context(), "ada", w.consent(f)); err != nil {
			t.Fatal(err)
		}
		if d := time.Since(begin); d > 10*time.Second {
			t.Errorf("got the grant after %v, want it in a few seconds", d)
		}
		w.token(proc.Manager, p, asAda)
		w.healthy(ada)
	})
}

// A Keeper that is away for a moment loses no grant.
func TestGrantOfAStoreThatIsAwayIsNotReplaced(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.adasProfile()
		proc := w.process()
		proc.RedirectURL = callbackAddress
		before := w.grant(ada)
		f, err := proc.Begin(t.Context(), p, "ada")
		if err != nil {
			t.Fatal(err)
		}
		q := w.consent(f)
		deleted := 0
		proc.store.on(func(c *storeCall) error {
			switch c.op {
			case "Grant":
				return &authprofile.Error{Op: "open", ProfileID: "crm", User: "ada", Err: errAway}
			case "PutGrant":
				return errAway // it cannot be sealed either
			case "DeleteGrant":
				deleted++
			}
			return c.run()
		})
		if _, err := proc.Finish(t.Context(), "ada", q); err == nil {
			t.Error("got no error though nothing was stored, want one")
		}
		if g := w.grant(ada); deleted != 0 || g.RefreshToken != before.RefreshToken {
			t.Errorf("got %d deletions, and %v; want the grant as it was", deleted, g)
		}
	})
}

func withRedirect(w *world, p *authprofile.Profile) *authprofile.Profile {
	w.Helper()
	p.RedirectURL = "https://app.example.com/callback"
	return w.save(p)
}

// Two processes, one answer each: an answer of invalid_grant is no verdict as
// long as another process may have moved the grant on.
func TestInvalidGrantBecauseAnotherProcessWasFirst(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.srv.SetPolicy(providertest.Policy{Rotation: providertest.RotateRefuse})
		p := w.adasProfile()
		proc := w.process()
		expire()
		old := w.grant(ada)
		proc.net.on(func(r *http.Request) (*http.Response, error) {
			if r.Method == http.MethodPost {
				proc.net.heal()
				// A process that does not know of leases.
				resp, err := w.srv.Client().PostForm(w.srv.TokenURL(), url.Values{
					"grant_type": {"refresh_token"}, "refresh_token": {string(old.RefreshToken)},
					"client_id": {providertest.ClientID}, "client_secret": {providertest.ClientSecret},
				})
				if err != nil || resp.StatusCode != 200 {
					t.Errorf("got %v, %v; want 200", resp, err)
				}
				resp.Body.Close()
				g := w.grant(ada)
				g.AccessToken, g.RefreshToken = "theirs", "their refresh token"
				g.Obtained, g.Expiry, g.Lease = time.Now(), time.Now().Add(time.Hour), nil
				w.put(g)
			}
			return proc.net.base.RoundTrip(r)
		})
		if got := w.token(proc.Manager, p, asAda); got != "theirs" {
			t.Errorf("got %q, want the other process's token", got)
		}
		if g := w.grant(ada); g.Status != active {
			t.Errorf("got %v, want it active", g)
		}
	})
}

// A Keeper fails to open for a second, and could seal: what is there is not
// lost, with the refresh token that the provider gives only once.
func TestGrantThatCannotBeReadForAMoment(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.adasProfile()
		before := w.grant(ada).RefreshToken
		proc := w.process()
		proc.RedirectURL = callbackAddress
		f, err := proc.Begin(t.Context(), p, "ada")
		if err != nil {
			t.Fatal(err)
		}
		q := w.consent(f)
		w.srv.Mutate(providertest.Token, func(answer map[string]any) { delete(answer, "refresh_token") })
		begin := time.Now()
		proc.store.on(func(c *storeCall) error {
			if c.op == "Grant" && time.Since(begin) < time.Second {
				return &authprofile.Error{Op: "open", ProfileID: "crm", User: "ada", Err: errAway}
			}
			return c.run()
		})
		if _, err := proc.Finish(t.Context(), "ada", q); err != nil {
			t.Fatal(err)
		}
		if got := w.grant(ada).RefreshToken; got != before {
			t.Errorf("got refresh token %t, want the one that was there", got != "")
		}
	})
}
