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

	"golang.org/x/oauth2"

	"github.com/authprofile/authprofile"
	"github.com/authprofile/authprofile/providertest"
)

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
			t.Errorf("the caller was kept for %v", d)
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
				t.Errorf("%s: got context error %v, value %v", c.op, c.ctx.Err(), c.ctx.Value(key{}))
			}
			if _, ok := c.ctx.Deadline(); !ok {
				t.Errorf("%s: got a context without a deadline", c.op)
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

// An ID token that is wrong is no reason to lose the refresh token that came
// with it.
// While its ID token is being verified, which can take seconds, another process
// has begun to renew the grant again. What was found to be bad is not adopted.
func TestBadIDTokenThatIsFoundLate(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.adasProfile()
		proc := w.process()
		expire()
		w.srv.MutateIDToken(func(h, _ map[string]any) { h["kid"] = "unknown" })
		w.srv.Fault(providertest.JWKS, providertest.Fault{Times: -1, Delay: 4 * time.Second})
		var bad *oauth2.Token
		var wg sync.WaitGroup
		wg.Go(func() {
			time.Sleep(500 * time.Millisecond)
			var err error
			if bad, err = w.m.Token(t.Context(), p, asAda); err != nil {
				t.Error(err)
				return
			}
			w.srv.MutateIDToken(nil)
			w.srv.Fault(providertest.Token, providertest.Fault{Delay: 10 * time.Second})
			w.token(w.m, p, asAda, authprofile.Rejected(bad))
		})
		got := w.token(proc.Manager, p, asAda)
		wg.Wait()
		if got == bad.AccessToken {
			t.Error("got the token whose ID token is bad")
		}
		w.asked("refresh_token", 2)
		w.healthy(ada)
	})
}

// The same while the Store is away: nobody is given the access token, neither
// from what waits to be stored nor once it is.
func TestBadIDTokenWhileTheStoreIsAway(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.adasProfile()
		proc := w.process()
		expire()
		w.srv.MutateIDToken(func(_, c map[string]any) { c["sub"] = "mallory" })
		proc.store.failPuts(func(g *authprofile.Grant) bool { return g.Lease == nil })
		for range 5 {
			w.refuses(proc.Manager, p, nil, asAda)
		}
		proc.store.heal()
		time.Sleep(2 * time.Second)
		g := w.grant(ada)
		if g.AccessToken != "" || g.Status != failing || g.Failure.Reason != authprofile.ReasonIDToken || g.Lease != nil {
			t.Errorf("got %v, want no access token", g)
		}
		if !w.srv.IsCurrent(string(g.RefreshToken)) {
			t.Error("the refresh token is lost")
		}
		w.asked("refresh_token", 1)
		w.srv.MutateIDToken(nil)
		time.Sleep(3 * time.Second)
		w.token(proc.Manager, p, asAda)
		w.healthy(ada)
	})
}

// A write that has taken effect just before the access token proved to be of no
// use, and whose answer was lost, is corrected.
func TestBadIDTokenAfterAWriteWithoutAnAnswer(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.adasProfile()
		proc := w.process()
		expire()
		w.srv.MutateIDToken(func(_, c map[string]any) { c["sub"] = "mallory" })
		first := true
		proc.store.on(func(c *storeCall) error {
			if c.op != "PutGrant" || c.grant.Lease != nil {
				return c.run()
			}
			if first && c.grant.AccessToken != "" {
				first = false
				c.run()
			}
			return errAway
		})
		w.refuses(proc.Manager, p, nil, asAda)
		if first {
			t.Fatal("nothing was written")
		}
		proc.store.heal()
		time.Sleep(2 * time.Second)
		if g := w.grant(ada); g.AccessToken != "" || g.Status != failing || !w.srv.IsCurrent(string(g.RefreshToken)) {
			t.Errorf("got %v, want the refresh token and no access token", g)
		}
	})
}

func TestBadIDTokenOnRefresh(t *testing.T) {
	for name, mutate := range map[string]func(header, claims map[string]any){
		"another subject":  func(_, c map[string]any) { c["sub"] = "mallory" },
		"another issuer":   func(_, c map[string]any) { c["iss"] = "https://evil.example" },
		"another audience": func(_, c map[string]any) { c["aud"] = "somebody" },
		"another nonce":    func(_, c map[string]any) { c["nonce"] = "of another login" },
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				p := w.adasProfile()
				expire()
				w.srv.MutateIDToken(mutate)
				proc := w.process()
				var puts []*authprofile.Grant
				proc.store.on(func(c *storeCall) error {
					if c.op == "PutGrant" && c.grant.Lease == nil {
						puts = append(puts, c.grant.Clone())
					}
					return c.run()
				})
				w.refuses(proc.Manager, p, nil, asAda)
				g := w.grant(ada)
				if !w.srv.IsCurrent(string(g.RefreshToken)) {
					t.Fatal("the refresh token is lost")
				}
				if g.Status != failing || g.Failure.Reason != authprofile.ReasonIDToken || g.AccessToken != "" {
					t.Errorf("got %v, want no access token", g)
				}
				if len(puts) == 0 || puts[0].RefreshToken != g.RefreshToken {
					t.Error("the first thing that was written is not the new refresh token")
				}
				w.refuses(w.manager(), p, nil, asAda)
				w.asked("refresh_token", 1)

				w.srv.MutateIDToken(nil)
				time.Sleep(3 * time.Second)
				w.token(w.m, p, asAda)
				w.healthy(ada)
			})
		})
	}
}

// A process that dies while it verifies the ID token has stored what it got.
func TestTokenIsStoredBeforeTheIDTokenIsVerified(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.adasProfile()
		proc := w.process() // which has not seen the keys yet
		expire()
		w.srv.Fault(providertest.JWKS, providertest.Fault{Hang: true, Drop: true})
		var wg sync.WaitGroup
		wg.Go(func() { proc.Token(t.Context(), p, asAda) })
		if err := w.srv.AwaitHang(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		w.healthy(ada)
		w.srv.Release()
		wg.Wait()
	})
}

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
					t.Error("the valid token is no longer served")
				}
				synctest.Wait()
			} else {
				w.refuses(w.m, p, nil, asAda)
			}
			g := w.grant(ada)
			if !w.srv.IsCurrent(string(g.RefreshToken)) {
				t.Fatal("the refresh token is lost")
			}
			if g.Status != failing || g.Failure.Reason != authprofile.ReasonUnreadable || g.Lease != nil || string(g.AccessToken) != first {
				t.Errorf("got %v", g)
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
					t.Errorf("the caller waited %v for the store", d)
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
					t.Error("another token is stored than was served")
				}
				if got := w.token(w.manager(), p, asAda); got != first {
					t.Error("other processes have another token")
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
			t.Errorf("got %d reuses", got)
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
							t.Error("got another token than is stored")
						}
					} else if g.RefreshToken != "theirs" {
						t.Error("the tokens of another process were overwritten")
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
				t.Errorf("theirs is later: %t; got %q, and stored is another: %t", later, got, string(w.grant(ada).AccessToken) != got)
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
						t.Errorf("got error %v, which is nothing that a person could help", err)
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
							t.Fatal("the token is not kept in memory")
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
					t.Error("the latest token was not stored once the store was back")
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
						t.Fatal("no refresh token was issued")
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
							t.Error("a refresh token is still good at the provider")
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
			t.Error("got another token than is stored")
		}
		if got := w.srv.Hits(providertest.Revocation); got != 2 {
			t.Errorf("got %d revocations, want one of each token that nobody has", got)
		}
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

// Finish replaces a grant while its renewal is under way: what the person has
// just brought stays.
func TestFinishDuringARenewal(t *testing.T) {
	for _, phase := range []string{"asked", "answered", "verifying"} {
		t.Run(phase, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				p := w.adasProfile()
				proc := w.process()
				expire()
				switch phase {
				case "asked":
					w.srv.Fault(providertest.Token, providertest.Fault{Hang: true, Grant: "refresh_token"})
				case "answered":
					w.srv.Fault(providertest.Token, providertest.Fault{Committed: true, Hang: true, Grant: "refresh_token"})
				case "verifying":
					w.srv.Fault(providertest.JWKS, providertest.Fault{Hang: true})
				}
				var wg sync.WaitGroup
				wg.Go(func() { w.token(proc.Manager, p, asAda) })
				synctest.Wait()

				f, err := proc.Begin(t.Context(), withRedirect(w, p), "ada")
				if err != nil {
					t.Fatal(err)
				}
				back, err := w.srv.Authorize(f.URL)
				if err != nil {
					t.Fatal(err)
				}
				var g *authprofile.Grant
				var finished sync.WaitGroup
				finished.Go(func() {
					if g, err = proc.Finish(t.Context(), "ada", back.Query()); err != nil {
						t.Error(err)
					}
				})
				synctest.Wait()
				w.srv.Release()
				finished.Wait()
				wg.Wait()
				time.Sleep(10 * time.Second)
				if g == nil {
					return
				}
				if got := w.grant(ada); got.RefreshToken != g.RefreshToken || got.AccessToken != g.AccessToken {
					t.Error("the renewal has replaced what Finish had stored")
				}
				if got := w.token(proc.Manager, p, asAda); got != string(g.AccessToken) {
					t.Error("the renewal has replaced in memory what Finish has brought")
				}
				w.healthy(ada)
			})
		})
	}
}

// A person authorizes more while a renewal is under way, and the provider gives
// no refresh token, since there is one: the renewal's answer is put into what
// the person has brought, and undoes nothing of it.
func TestRenewalKeepsANewConsent(t *testing.T) {
	for _, rotation := range []providertest.Rotation{providertest.RotateNever, providertest.RotateGrace} {
		for _, scope := range []string{"said", "not said"} {
			t.Run(fmt.Sprint(rotation, " scope ", scope), func(t *testing.T) {
				inWorld(t, func(t *testing.T, w *world) {
					w.srv.SetPolicy(providertest.Policy{Rotation: rotation, Grace: time.Hour})
					p := w.adasProfile()
					proc := w.process()
					expire()
					w.srv.Fault(providertest.Token, providertest.Fault{Committed: true, Hang: true, Grant: "refresh_token"})
					w.srv.Mutate(providertest.Token, func(a map[string]any) {
						if scope == "not said" {
							delete(a, "scope")
						}
						if a["scope"] == "openid read write offline_access" {
							delete(a, "refresh_token") // of the authorization
						}
					})
					var wg sync.WaitGroup
					wg.Go(func() { w.token(proc.Manager, p, asAda) })
					synctest.Wait()
					time.Sleep(time.Second)

					w.srv.Mutate(providertest.Token, func(a map[string]any) {
						delete(a, "refresh_token")
						if scope == "not said" {
							delete(a, "scope")
						}
					})
					f, err := w.m.Begin(t.Context(), p, "ada", oauth2.SetAuthURLParam("scope", "openid read write offline_access"))
					if err != nil {
						t.Fatal(err)
					}
					consented, err := w.m.Finish(t.Context(), "ada", w.consent(f))
					if err != nil {
						t.Fatal(err)
					}
					w.srv.Release()
					wg.Wait()
					time.Sleep(5 * time.Second)
					g := w.grant(ada)
					want := []string{"openid", "read", "write", "offline_access"}
					if !slices.Equal(g.Requested, want) || !slices.Equal(g.Scopes, want) || g.Nonce != consented.Nonce {
						t.Errorf("got scopes %q of %q, and the nonce of the new authorization: %t; want %q of the same, true", g.Scopes, g.Requested, g.Nonce == consented.Nonce, want)
					}
					if g.AccessToken != consented.AccessToken {
						t.Error("the access token of the new authorization was replaced by an older one")
					}
					w.healthy(ada)
					w.srv.Mutate(providertest.Token, nil)
					expire()
					w.token(w.m, p, asAda)
					w.healthy(ada)
				})
			})
		}
	}
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
					t.Errorf("got %d refresh tokens sent twice", got)
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
			t.Error("got no error, though nothing was stored")
		}
		if g := w.grant(ada); deleted != 0 || g.RefreshToken != before.RefreshToken {
			t.Errorf("got %d deletions, and %v; want the grant as it was", deleted, g)
		}
	})
}

// A Store that says conflict all the time, because it reads from a replica that
// lags, is not overrun by an authorization that has to be stored.
func TestFinishWithEndlessConflicts(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.adasProfile()
		proc := w.process()
		proc.RedirectURL = callbackAddress
		f, err := proc.Begin(t.Context(), p, "ada")
		if err != nil {
			t.Fatal(err)
		}
		q := w.consent(f)
		proc.store.on(func(c *storeCall) error {
			if c.op == "PutGrant" {
				if proc.store.count("PutGrant") > 1000 {
					t.Fatal("got a thousand puts")
				}
				return authprofile.ErrConflict
			}
			return c.run()
		})
		time.AfterFunc(30*time.Second, proc.store.heal)
		if _, err := proc.Finish(t.Context(), "ada", q); err != nil {
			t.Error(err)
		}
		if got := proc.store.count("PutGrant"); got > 100 {
			t.Errorf("got %d puts in 30 seconds of conflicts, want a few", got)
		}
		w.healthy(ada)
	})
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
					t.Errorf("got %v, %v", resp, err)
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
			t.Errorf("got %v", g)
		}
	})
}

// A person ends a grant through another process and authorizes anew, and the
// provider gives the refresh token that it gave at first: that is no Store that
// has gone back.
func TestReauthorizationWithAnEarlierRefreshToken(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.adasProfile()
		first := w.grant(ada).RefreshToken
		proc := w.process()
		expire()
		w.token(proc.Manager, p, asAda) // another refresh token

		time.Sleep(time.Minute)
		if err := w.m.Revoke(t.Context(), ada); err != nil {
			t.Fatal(err)
		}
		w.authorize(p, "ada")
		g := w.grant(ada)
		g.RefreshToken = first // as the provider might have given it
		w.put(g)

		expire()
		proc.Token(t.Context(), p, asAda)
		if got := w.grant(ada).RefreshToken; got != first {
			t.Error("got another refresh token stored in place of that of the new authorization")
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
			t.Error("got a panic")
		}
		if got := w.srv.Hits(providertest.Revocation); got == 0 {
			t.Error("got no revocation of what was renewed")
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
