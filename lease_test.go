package authprofile_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authprofile/authprofile"
	"github.com/authprofile/authprofile/providertest"
)

// One refresh token, many processes: the first asks, and all others take
// what it has stored.
func TestOneOfManyProcessesAsks(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.adasProfile()
		var managers []*authprofile.Manager
		for range 10 {
			managers = append(managers, w.manager())
		}
		for want := 1; want <= 5; want++ {
			expire()
			w.srv.Fault(providertest.Token, providertest.Fault{Delay: 700 * time.Millisecond})
			var mu sync.Mutex
			tokens := make(map[string]bool)
			var wg sync.WaitGroup
			for _, m := range managers {
				for range 5 {
					wg.Go(func() {
						tok := w.token(m, p, asAda)
						mu.Lock()
						tokens[tok] = true
						mu.Unlock()
					})
				}
			}
			wg.Wait()
			w.asked("refresh_token", want)
			if len(tokens) != 1 {
				t.Errorf("got %d tokens, want the same for all", len(tokens))
			}
			w.healthy(ada)
		}
	})
}

// A slow provider takes longer than a lease lasts. The lease is extended
// meanwhile, so that no other process asks.
func TestLeaseIsExtendedWhileTheProviderThinks(t *testing.T) {
	for _, delay := range []time.Duration{6 * time.Second, 12 * time.Second, 28 * time.Second} {
		t.Run(delay.String(), func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				p := w.adasProfile()
				other := w.manager()
				expire()
				w.srv.Fault(providertest.Token, providertest.Fault{Committed: true, Delay: delay})
				begin := time.Now()
				var wg sync.WaitGroup
				for _, m := range []*authprofile.Manager{w.m, other} {
					wg.Go(func() { w.token(m, p, asAda) })
				}
				wg.Wait()
				if d := time.Since(begin); d > delay+time.Second {
					t.Errorf("got the token after %v, want it within a second of the answer", d)
				}
				w.asked("refresh_token", 1)
				w.healthy(ada)
			})
		})
	}
}

// A request on its way cannot be unsent: what comes is read and stored, whatever
// became of the lease meanwhile.
func TestAnswerOutlivesItsLease(t *testing.T) {
	for _, away := range []time.Duration{3 * time.Second, 10 * time.Second, 20 * time.Second} {
		t.Run(fmt.Sprint("the store is away for ", away), func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) { // the provider is strict
				p := w.adasProfile()
				proc := w.process()
				expire()
				w.srv.Fault(providertest.Token, providertest.Fault{Committed: true, Delay: 12 * time.Second})
				proc.net.on(func(r *http.Request) (*http.Response, error) {
					if r.Method == http.MethodPost {
						time.AfterFunc(time.Second, proc.store.goAway)
						time.AfterFunc(time.Second+away, proc.store.heal)
					}
					return proc.net.base.RoundTrip(r)
				})
				got := w.token(proc.Manager, p, asAda)
				time.Sleep(30 * time.Second)
				if g := w.grant(ada); string(g.AccessToken) != got {
					t.Error("got another token than is stored, want the same")
				}
				w.asked("refresh_token", 1)
				w.healthy(ada)
			})
		})
	}
}

// Another process has taken the lease over, and has not asked yet, when the
// answer comes: its token is for both.
func TestAnswerAfterTheLeaseWasTaken(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) { // the provider is strict
		p := w.adasProfile()
		proc := w.process()
		expire()
		w.srv.Fault(providertest.Token, providertest.Fault{Committed: true, Delay: 8 * time.Second})
		proc.net.on(func(r *http.Request) (*http.Response, error) {
			if r.Method == http.MethodPost {
				// Its lease is not extended: the process seems dead.
				proc.store.failPuts(func(g *authprofile.Grant) bool { return g.Lease != nil })
			}
			return proc.net.base.RoundTrip(r)
		})
		slow := w.process() // takes the lease over, and is slow to connect
		slow.net.on(func(r *http.Request) (*http.Response, error) {
			if r.Method == http.MethodPost {
				time.Sleep(4 * time.Second)
			}
			return slow.net.base.RoundTrip(r)
		})
		var first, second string
		var wg sync.WaitGroup
		wg.Go(func() { first = w.token(proc.Manager, p, asAda) })
		synctest.Wait()
		wg.Go(func() { second = w.token(slow.Manager, p, asAda) })
		wg.Wait()
		if first != second {
			t.Error("got two tokens, want one")
		}
		w.asked("refresh_token", 1)
		w.healthy(ada)
	})
}

// A process was killed while its request was under way. Another one waits for
// the whole length of the lease, and then asks once more with the same refresh
// token, while the provider's period of grace is still open.
func TestDeadProcessIsSucceeded(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.srv.SetPolicy(providertest.Policy{Rotation: providertest.RotateGrace, Grace: 10 * time.Second})
		p := w.adasProfile()
		dead := w.process()
		expire()
		dies(t, dead, p)
		w.asked("refresh_token", 1) // and the answer is lost

		begin := time.Now()
		w.token(w.m, p, asAda)
		if d := time.Since(begin); d < 4900*time.Millisecond || d > 6*time.Second {
			t.Errorf("got the token after %v, want the length of a lease and up to a second", d)
		}
		w.asked("refresh_token", 2)
		w.healthy(ada)
	})
}

// Many processes that wait for one do not all look at the store at once.
func TestThoseWhoWaitLookAtDifferentTimes(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.adasProfile()
		expire()
		g := w.grant(ada)
		g.Lease = &authprofile.Lease{Owner: "slow", Attempt: "one", Length: 5 * time.Second}
		w.put(g)
		const n = 10
		var mu sync.Mutex
		looks, instants := 0, make(map[time.Time]bool)
		var wg sync.WaitGroup
		for range n {
			proc := w.process()
			proc.store.on(func(c *storeCall) error {
				if c.op == "Grant" {
					mu.Lock()
					looks++
					instants[time.Now()] = true
					mu.Unlock()
				}
				return c.run()
			})
			wg.Go(func() { w.token(proc.Manager, p, asAda) })
		}
		wg.Wait()
		if looks < 10*n || len(instants) < looks/2 {
			t.Errorf("got %d looks at %d different times, want them spread", looks, len(instants))
		}
	})
}

// A store that fails every now and then ends the renewals that watch the lease
// of a dead process, but not the watch.
func TestWatchOutlivesTheStoresTrouble(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.adasProfile()
		expire()
		g := w.grant(ada)
		g.Lease = &authprofile.Lease{Owner: "dead", Attempt: "one", Length: 5 * time.Second}
		w.put(g)

		proc := w.process()
		begin := time.Now()
		proc.store.on(func(c *storeCall) error {
			if time.Since(begin)%time.Second > 900*time.Millisecond {
				return errAway
			}
			return c.run()
		})
		for {
			_, err := proc.Token(t.Context(), p, asAda)
			if err == nil {
				break
			}
			if !errors.Is(err, errAway) {
				t.Fatal(err)
			}
			time.Sleep(50 * time.Millisecond)
		}
		if d := time.Since(begin); d < 4900*time.Millisecond || d > 7*time.Second {
			t.Errorf("got the token after %v, want the length of a lease and a little more", d)
		}
	})
}

// A lease runs out by the clock of those who watch it, and only if there was no
// sign of life for its whole length.
func TestLeaseRunsOutByTheObserversClock(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.adasProfile()
		expire()
		for _, length := range []time.Duration{0, time.Second, 5 * time.Second, 20 * time.Second, time.Hour} {
			g := w.grant(ada)
			g.Lease = &authprofile.Lease{Owner: "another", Attempt: "one", Length: length}
			g.Obtained, g.Expiry = time.Now().Add(-time.Hour), time.Now()
			w.put(g)
			// Its holder lives, and extends it for a while.
			for range 10 {
				time.AfterFunc(length/4, func() {
					g, err := w.store.Grant(context.Background(), ada)
					if err == nil && g.Lease != nil && g.Lease.Owner == "another" {
						w.store.PutGrant(context.Background(), g)
					}
				})
			}
			begin := time.Now()
			w.token(w.manager(), p, asAda)
			d := time.Since(begin)
			want := min(length, time.Minute) + min(length/4, time.Minute)
			if length == time.Hour {
				want = time.Minute // no lease is believed for longer; the extension would have come later
			}
			if d < want || d > want+time.Second {
				t.Errorf("a lease of %v without a holder was taken over after %v, want %v", length, d, want)
			}
		}
		w.healthy(ada)
	})
}

// A different attempt is a different lease: its time begins anew.
func TestSuccessiveLeasesAreNotOne(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.adasProfile()
		expire()
		lease := func(attempt string) {
			g := w.grant(ada)
			g.Lease = &authprofile.Lease{Owner: "another", Attempt: attempt, Length: 5 * time.Second}
			w.put(g)
		}
		lease("one")
		time.AfterFunc(4*time.Second, func() { lease("two") })
		begin := time.Now()
		w.token(w.m, p, asAda)
		if d := time.Since(begin); d < 9*time.Second || d > 10*time.Second {
			t.Errorf("got the token after %v, want 9s and up to a second", d)
		}
	})
}

// The watch of another process's lease begins while the token is still good, so
// that callers do not wait for the lease from the token's end on.
func TestLeaseIsWatchedAheadOfTheTokensEnd(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.adasProfile()
		w.token(w.m, p, asAda)
		g := w.grant(ada)
		time.Sleep(time.Until(g.Expiry) - 4*time.Second)
		g.Lease = &authprofile.Lease{Owner: "dead", Attempt: "one", Length: 5 * time.Second}
		w.put(g)
		begin := time.Now()
		for time.Now().Before(g.Expiry) {
			at := time.Now()
			w.token(w.m, p, asAda)
			if time.Since(at) != 0 {
				t.Fatal("got a caller with a valid token that waited, want it at once")
			}
			time.Sleep(500 * time.Millisecond)
		}
		w.token(w.m, p, asAda)
		if d := time.Since(begin); d > 6*time.Second {
			t.Errorf("got a new token after %v, want the length of the lease and up to a second", d)
		}
	})
}

// A renewal whose outcome could not be noted leaves its lease behind. The same
// Manager knows that this one is its own, and does not wait for it.
func TestOwnLeaseLeftBehind(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.adasProfile()
		proc := w.process()
		expire()
		w.srv.Fault(providertest.Token, providertest.Fault{Status: 503})
		proc.store.failPuts(func(g *authprofile.Grant) bool { return g.Lease == nil })
		w.refuses(proc.Manager, p, nil, asAda)
		if w.grant(ada).Lease == nil {
			t.Fatal("got no lease, want it left behind")
		}
		proc.store.heal()
		begin := time.Now()
		w.token(proc.Manager, p, asAda)
		if d := time.Since(begin); d > time.Second {
			t.Errorf("got the token after %v, want it at once", d)
		}
		w.healthy(ada)
	})
}

// Between the lease and the request lies the time that it takes to connect. A process that was overtaken in it does not send the refresh token,
// even if by its own clock the lease has lots of time.
func TestOvertakenProcessDoesNotSend(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.adasProfile()
		proc := w.process()
		expire()
		var once sync.Once
		proc.net.on(func(r *http.Request) (*http.Response, error) {
			if r.Method == http.MethodPost {
				once.Do(func() {
					g := w.grant(ada)
					g.Lease = nil
					g.AccessToken, g.RefreshToken = "theirs", "theirs"
					g.Obtained, g.Expiry = time.Now(), time.Now().Add(time.Hour)
					w.put(g)
				})
			}
			return proc.net.base.RoundTrip(r)
		})
		if got := w.token(proc.Manager, p, asAda); got != "theirs" {
			t.Errorf("got %q, want the token of the process that was first", got)
		}
		w.asked("refresh_token", 0)
	})
}

// The lease is still ours when the connection stands, but it could not be
// extended, and is about to run out: too late to begin.
func TestRequestIsNotSentAtTheEndOfALease(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.adasProfile()
		proc := w.process()
		expire()
		held := false
		proc.store.on(func(c *storeCall) error {
			if c.op == "PutGrant" && c.grant.Lease != nil {
				if held {
					return errAway
				}
				held = true
			}
			return c.run()
		})
		proc.net.on(func(r *http.Request) (*http.Response, error) {
			if r.Method == http.MethodPost {
				time.Sleep(4500 * time.Millisecond)
			}
			return proc.net.base.RoundTrip(r)
		})
		w.refuses(proc.Manager, p, nil, asAda)
		w.asked("refresh_token", 0)
		proc.store.heal()
		proc.net.heal()
		time.Sleep(10 * time.Second)
		w.token(proc.Manager, p, asAda)
		w.healthy(ada)
	})
}

// A process is stopped after it took the lease and before it has sent the
// request. When it goes on, the refresh token is another process's: it must
// not be sent, or a provider that detects reuse ends the grant.
func TestStoppedProcessDoesNotSend(t *testing.T) {
	tests := []struct {
		name string
		stop func(proc *process, stopped func())
	}{
		{"after the lease was written", func(proc *process, stopped func()) {
			proc.store.on(func(c *storeCall) error {
				err := c.run()
				if c.op == "PutGrant" && c.grant.Lease != nil {
					stopped()
				}
				return err
			})
		}},
		{"after the look", func(proc *process, stopped func()) {
			held := false
			proc.store.on(func(c *storeCall) error {
				err := c.run()
				if c.op == "PutGrant" {
					held = c.grant.Lease != nil
				}
				if c.op == "Grant" && held {
					// Nor does it extend the lease.
					proc.store.on(func(c *storeCall) error { stopped(); return c.run() })
					stopped()
				}
				return err
			})
		}},
		{"while connecting", func(proc *process, stopped func()) {
			// A stopped process does not extend the lease either.
			var once sync.Once
			proc.store.on(func(c *storeCall) error {
				if c.op == "PutGrant" && c.grant.Lease != nil {
					once.Do(func() {
						proc.net.on(func(r *http.Request) (*http.Response, error) {
							if r.Method == http.MethodPost {
								proc.store.on(func(c *storeCall) error { stopped(); return c.run() })
								stopped()
							}
							return proc.net.base.RoundTrip(r)
						})
					})
				}
				return c.run()
			})
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				p := w.adasProfile()
				proc := w.process()
				expire()
				goOn := make(chan struct{})
				tt.stop(proc, func() { <-goOn })
				var first string
				var wg sync.WaitGroup
				wg.Go(func() { first = w.token(proc.Manager, p, asAda) })
				synctest.Wait()
				second := w.token(w.m, p, asAda)
				time.Sleep(time.Minute)
				proc.store.heal()
				proc.net.heal()
				close(goOn)
				wg.Wait()
				if first != second {
					t.Error("got another token than the successor's, want the same")
				}
				w.asked("refresh_token", 1)
				w.healthy(ada)
			})
		})
	}
}

// A process is stopped with the answer in its hands, and its successor has
// renewed meanwhile: what it has to write is old.
func TestStoppedProcessDoesNotOverwrite(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.srv.SetPolicy(providertest.Policy{Rotation: providertest.RotateKeep})
		p := w.adasProfile()
		proc := w.process()
		expire()
		goOn := make(chan struct{})
		proc.store.on(func(c *storeCall) error {
			if c.op == "PutGrant" && c.grant.Lease == nil {
				<-goOn // and only then does it reach the database
			}
			return c.run()
		})
		var wg sync.WaitGroup
		wg.Go(func() { w.token(proc.Manager, p, asAda) })
		synctest.Wait()
		w.token(w.m, p, asAda)
		after := w.grant(ada)
		time.Sleep(time.Minute)
		proc.store.heal()
		close(goOn)
		wg.Wait()
		time.Sleep(time.Minute)
		if got := w.grant(ada); got.RefreshToken != after.RefreshToken || got.AccessToken != after.AccessToken {
			t.Error("got the successor's token overwritten, want it kept")
		}
		w.asked("refresh_token", 2)
		w.healthy(ada)
		if got, want := w.token(proc.Manager, p, asAda), string(after.AccessToken); got != want {
			t.Error("got another token than the successor's served, want that one")
		}
	})
}

// A machine that was frozen, clocks and all, does not know that its lease has
// run out. What it wrote last is looked at once more before it asks.
func TestSecondLook(t *testing.T) {
	for name, change := range map[string]func(g *authprofile.Grant){
		"another has renewed": func(g *authprofile.Grant) {
			g.Lease, g.AccessToken, g.RefreshToken = nil, "theirs", "theirs"
			g.Obtained, g.Expiry = time.Now(), time.Now().Add(time.Hour)
		},
		"another is renewing": func(g *authprofile.Grant) {
			g.Lease = &authprofile.Lease{Owner: "another", Attempt: "two", Length: 5 * time.Second}
		},
		"another process has ended the lease": func(g *authprofile.Grant) { g.Lease = nil },
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				p := w.adasProfile()
				proc := w.process()
				expire()
				var once sync.Once
				proc.store.on(func(c *storeCall) error {
					err := c.run()
					if c.op == "PutGrant" {
						once.Do(func() {
							g := w.grant(ada)
							change(g)
							w.put(g)
						})
					}
					return err
				})
				w.token(proc.Manager, p, asAda)
				if name == "another has renewed" {
					w.asked("refresh_token", 0)
					return
				}
				w.asked("refresh_token", 1)
				list := w.srv.Requests()
				waited := list[len(list)-1].Time.Sub(w.grant(ada).Created) - time.Hour
				if name == "another is renewing" && waited < 5*time.Second {
					t.Errorf("got a request after %v, want none before the other process's lease had run out", waited)
				}
			})
		})
	}
}

// The news of a failure comes late: a process that has renewed meanwhile knows better.
func TestLateFailureDoesNotOverwrite(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.adasProfile()
		proc := w.process()
		expire()
		w.srv.Fault(providertest.Token, answers(400, code("invalid_grant")))
		proc.store.on(func(c *storeCall) error {
			if c.op == "PutGrant" && c.grant.Failure != nil {
				proc.store.heal()
				g := w.grant(ada)
				g.Lease, g.AccessToken, g.RefreshToken = nil, "theirs", "theirs"
				g.Obtained, g.Expiry = time.Now(), time.Now().Add(time.Hour)
				w.put(g)
			}
			return c.run()
		})
		// Nor does it reach a caller, who would send the user away.
		if got := w.token(proc.Manager, p, asAda); got != "theirs" {
			t.Errorf("got %q, want the other process's token", got)
		}
		if g := w.grant(ada); g.Status != active || g.Failure != nil || g.RefreshToken != "theirs" {
			t.Errorf("got %v, want what another process has stored", g)
		}
	})
}

// Nor does it take a successor's lease away.
func TestLateFailureLeavesASuccessorsLease(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.adasProfile()
		proc := w.process()
		expire()
		w.srv.Fault(providertest.Token, answers(503, ""))
		proc.store.on(func(c *storeCall) error {
			if c.op == "PutGrant" && c.grant.Failure != nil {
				proc.store.heal()
				g := w.grant(ada)
				g.Lease = &authprofile.Lease{Owner: "successor", Attempt: "two", Length: 5 * time.Second}
				w.put(g)
			}
			return c.run()
		})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second) // it waits for the successor
		defer cancel()
		proc.Token(ctx, p, asAda)
		if g := w.grant(ada); g.Lease == nil || g.Lease.Attempt != "two" || g.Failure != nil {
			t.Errorf("got %v, want the successor's lease", g)
		}
	})
}

// A process that takes over asks once: if that answer is lost too, the next attempt is
// a matter of the backoff.
func TestSuccessorAsksOnce(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.adasProfile()
		dead, proc := w.process(), w.process()
		expire()
		dies(t, dead, p)
		w.asked("refresh_token", 1)
		w.srv.Fault(providertest.Token, providertest.Fault{Grant: "refresh_token", Committed: true, Drop: true, Times: -1})
		w.refuses(proc.Manager, p, nil, asAda)
		w.asked("refresh_token", 2)
	})
}
