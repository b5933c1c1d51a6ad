package authprofile_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/oauth2"

	"github.com/authprofile/authprofile"
	"github.com/authprofile/authprofile/providertest"
)

func TestAppTokenIsRenewedOncePerExpiry(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		src := w.m.Source(t.Context(), w.app())
		for want := 1; want <= 5; want++ {
			var wg sync.WaitGroup
			for range 50 {
				wg.Go(func() {
					if _, err := src.Token(); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			w.asked("client_credentials", want)
			expire()
		}
	})
}

func TestUserTokenIsRenewedByRefreshToken(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.user()
		g := w.authorize(p, "ada")
		if g.Subject != "user" || g.Status != authprofile.StatusActive {
			t.Errorf("got subject %q and status %q, want user and active", g.Subject, g.Status)
		}
		first := w.token(w.m, p, asAda)
		for range 5 {
			expire()
			second := w.token(w.m, p, asAda)
			if second == first {
				t.Error("got the same token after its end, want another")
			}
			first = second
		}
		w.asked("refresh_token", 5)
	})
}

func TestFleetRenewsOncePerExpiry(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		user, app := w.adasProfile(), w.app()
		w.token(w.m, app)
		managers := []*authprofile.Manager{w.m}
		for range 7 {
			managers = append(managers, w.manager())
		}
		for want := 0; want <= 20; want++ {
			var wg sync.WaitGroup
			for _, m := range managers {
				for range 5 {
					wg.Go(func() { w.token(m, user, asAda) })
					wg.Go(func() { w.token(m, app) })
				}
			}
			wg.Wait()
			w.asked("refresh_token", want)
			w.asked("client_credentials", want+1)
			expire()
		}
		if got := w.srv.Reuses(); got != 0 {
			t.Errorf("got %d reuses, want none", got)
		}
	})
}

// A fleet that is never idle renews ahead of the end: still one request for
// each token, and no caller waits for it.
func TestFleetRenewsAheadOncePerExpiry(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.adasProfile()
		var managers []*authprofile.Manager
		for range 8 {
			m := w.manager()
			managers = append(managers, m)
			w.token(m, p, asAda)
		}
		w.srv.Fault(providertest.Token, providertest.Fault{Times: -1, Delay: 3 * time.Second})
		for range 5 * 60 {
			for _, m := range managers {
				begin := time.Now()
				w.token(m, p, asAda)
				if d := time.Since(begin); d != 0 {
					t.Fatalf("got the token after %v, want it at once", d)
				}
			}
			time.Sleep(time.Minute / 2)
		}
		if got := w.srv.Count("refresh_token"); got != 2 {
			t.Errorf("got %d requests in two and a half hours, want 2", got)
		}
		w.healthy(ada)
	})
}

func TestThousandGoroutinesOneRequest(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.adasProfile()
		src := w.m.Source(t.Context(), p, asAda)
		expire()
		w.srv.Fault(providertest.Token, providertest.Fault{Delay: 200 * time.Millisecond})
		var mu sync.Mutex
		tokens := make(map[*oauth2.Token]int)
		var wg sync.WaitGroup
		for range 1000 {
			wg.Go(func() {
				tok, err := src.Token()
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				tokens[tok]++
				mu.Unlock()
			})
		}
		wg.Wait()
		if len(tokens) != 1 {
			t.Errorf("got %d tokens, want one", len(tokens))
		}
		w.asked("refresh_token", 1)
	})
}

// Those who wait leave on their own contexts, each at its time, and the renewal
// goes on for the others.
func TestWaitersLeaveOnTheirOwn(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.adasProfile()
		expire()
		w.srv.Fault(providertest.Token, providertest.Fault{Delay: 3 * time.Second})
		var wg sync.WaitGroup
		for i := range 50 {
			patience := time.Duration(i) * 100 * time.Millisecond
			wg.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				defer cancel()
				begin := time.Now()
				_, err := w.m.Token(ctx, p, asAda)
				d := time.Since(begin)
				switch {
				case patience < 3*time.Second && (!errors.Is(err, context.DeadlineExceeded) || d != patience):
					t.Errorf("patience of %v: got error %v after %v, want its end in time", patience, err, d)
				case patience > 3*time.Second && (err != nil || d != 3*time.Second):
					t.Errorf("patience of %v: got error %v after %v, want a token after 3s", patience, err, d)
				}
			})
		}
		wg.Wait()
		w.asked("refresh_token", 1)
		w.healthy(ada)
	})
}

// Whatever goes on behind it, a caller with a valid token gets it at once.
func TestCallerWithAValidTokenNeverWaits(t *testing.T) {
	hang := func(c *storeCall) error { <-c.ctx.Done(); return c.ctx.Err() }
	for name, trouble := range map[string]func(w *world, proc *process){
		"provider slow": func(w *world, _ *process) {
			w.srv.Fault(providertest.Token, providertest.Fault{Delay: 3 * time.Second})
		},
		"provider away":   func(w *world, _ *process) { w.srv.Fault(providertest.Token, answers(503, "")) },
		"client refused":  func(w *world, _ *process) { w.srv.SetClientSecret(providertest.ClientID, "another") },
		"grant dead":      func(w *world, _ *process) { w.srv.RevokeUser("user") },
		"store away":      func(_ *world, proc *process) { proc.store.goAway() },
		"store hangs":     func(_ *world, proc *process) { proc.store.on(hang) },
		"store read-only": func(_ *world, proc *process) { proc.store.on(readOnly) },
		"another has the lease": func(w *world, _ *process) {
			g := w.grant(ada)
			g.Lease = &authprofile.Lease{Owner: "another", Attempt: "one", Length: time.Hour}
			w.put(g)
		},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				p := w.adasProfile()
				proc := w.process()
				src := proc.Source(t.Context(), p, asAda)
				src.Token()
				end := w.grant(ada).Expiry
				time.Sleep(time.Until(end) - 90*time.Second)
				trouble(w, proc)
				for time.Until(end) > 0 {
					for range 3 {
						begin := time.Now()
						if _, err := src.Token(); err != nil || time.Since(begin) != 0 {
							t.Fatalf("got error %v after %v, %v before the token's end; want the token at once", err, time.Since(begin), time.Until(end))
						}
						w.token(proc.Manager, p, asAda)
					}
					time.Sleep(300 * time.Millisecond)
				}
				if got := w.srv.Count("refresh_token"); got > 20 {
					t.Errorf("got %d requests in the last minute, want 20 at most", got)
				}
			})
		})
	}
}

// A thousand tokens end in the same second.
func TestManyTokensEndAtOnce(t *testing.T) {
	const n = 1000
	inWorld(t, func(t *testing.T, w *world) {
		var sources []oauth2.TokenSource
		for i := range n {
			p := w.unsavedApp()
			p.ID = fmt.Sprintf("app%04d", i)
			sources = append(sources, w.m.Source(t.Context(), w.save(p)))
		}
		all := func() {
			t.Helper()
			var wg sync.WaitGroup
			for _, src := range sources {
				wg.Go(func() {
					if _, err := src.Token(); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
		}
		w.srv.Fault(providertest.Token, providertest.Fault{Times: -1, Delay: time.Second})
		begin := time.Now()
		all()
		if d := time.Since(begin); d > n/64*time.Second+2*time.Second {
			t.Errorf("got the last caller's token after %v, want the time that the limit of requests takes", d)
		}
		if got := w.srv.Peak(providertest.Token); got > 64 {
			t.Errorf("got %d requests at once, want 64 at most", got)
		}

		// Callers that come all the time never wait, and the renewals ahead of
		// time are spread over the time there is.
		w.srv.ClearFaults(providertest.Token)
		time.Sleep(time.Hour + time.Second) // make them all end in the same second
		all()
		w.asked("client_credentials", 2*n)
		time.Sleep(time.Hour - 70*time.Second)
		busiest := 0
		for before := w.srv.Count(""); w.srv.Count("") < 3*n; before = w.srv.Count("") {
			begin := time.Now()
			for _, src := range sources {
				if _, err := src.Token(); err != nil || time.Since(begin) != 0 {
					t.Fatalf("got error %v after %v, want a token at once", err, time.Since(begin))
				}
			}
			time.Sleep(time.Second)
			busiest = max(busiest, w.srv.Count("")-before)
		}
		if busiest > n/5 {
			t.Errorf("got %d of %d renewals in one second, want them spread over half a minute", busiest, n)
		}
	})
}

// Renewals ahead of time wait for each other; a caller in need does not wait
// for them, not even one whose renewal is among those.
func TestNeedComesFirst(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		profile := func(i int) *authprofile.Profile {
			p := w.unsavedApp()
			p.ID = fmt.Sprintf("app%04d", i)
			return w.save(p)
		}
		const n = 300
		var profiles []*authprofile.Profile
		for i := range n {
			profiles = append(profiles, profile(i))
			w.token(w.m, profiles[i])
		}
		time.Sleep(time.Hour - 10*time.Second)
		w.srv.Fault(providertest.Token, providertest.Fault{Times: -1, Delay: 20 * time.Second})
		for _, p := range profiles {
			w.token(w.m, p) // all due
		}
		synctest.Wait()
		if got := w.srv.Count("") - n; got >= 64 {
			t.Errorf("renewals ahead of time have taken %d places, want some left", got)
		}
		begin := time.Now()
		w.token(w.m, profile(n))
		if d := time.Since(begin); d > 21*time.Second {
			t.Errorf("got a new caller's token after %v, want it before the renewals ahead of time", d)
		}
		// By now all have ended, and most are still waiting.
		begin = time.Now()
		var wg sync.WaitGroup
		for i := range 10 {
			wg.Go(func() {
				w.token(w.m, profiles[i*n/10])
				if d := time.Since(begin); d > 41*time.Second {
					t.Errorf("got a caller's token after %v, want it before the renewals ahead of time", d)
				}
			})
		}
		wg.Wait()
		w.srv.ClearFaults(providertest.Token)
	})
}

func TestProviderThatHangsStopsNoOther(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		proc := w.process()
		proc.net.on(func(r *http.Request) (*http.Response, error) {
			if r.URL.Host == "hangs.example" {
				r.Body.Read(make([]byte, 10000))
				<-r.Context().Done()
				return nil, r.Context().Err()
			}
			return proc.net.base.RoundTrip(r)
		})
		for i := range 200 {
			p := w.unsavedApp()
			p.ID, p.Endpoints.TokenURL = fmt.Sprintf("hang%d", i), "https://hangs.example/token"
			p = w.save(p)
			go proc.Token(t.Context(), p)
		}
		synctest.Wait()
		begin := time.Now()
		w.token(proc.Manager, w.app())
		if d := time.Since(begin); d != 0 {
			t.Errorf("got a token after %v, want it without waiting for another's provider", d)
		}
		time.Sleep(10 * time.Minute)
	})
}

// Processes, stores, networks and providers in trouble, at random, and a
// provider with a period of grace: no authorization is lost, and no caller with
// a valid token notices.
func TestChaos(t *testing.T) {
	for seed := range uint64(6) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				r := rand.New(rand.NewPCG(seed, 1))
				w.srv.SetPolicy(providertest.Policy{Rotation: providertest.RotateGrace, Grace: 2 * time.Minute, TokenLifetime: 2 * time.Minute})
				p := w.adasProfile()
				var procs []*process
				for range 4 {
					procs = append(procs, w.process())
				}
				for range 100 {
					proc := procs[r.IntN(len(procs))]
					switch r.IntN(8) {
					case 0: // killed, and another one started
						i := r.IntN(len(procs))
						dead := procs[i]
						dead.store.on(func(c *storeCall) error { <-c.ctx.Done(); return c.ctx.Err() })
						dead.net.on(func(r *http.Request) (*http.Response, error) { return nil, errors.New("killed") })
						procs[i] = w.process()
					case 1:
						w.srv.Fault(providertest.Token, providertest.Fault{Committed: true, Drop: true})
					case 2:
						w.srv.Fault(providertest.Token, providertest.Fault{Drop: true})
					case 3:
						w.srv.Fault(providertest.Token, providertest.Fault{Delay: time.Duration(r.IntN(12_000)) * time.Millisecond})
					case 4:
						w.srv.Fault(providertest.Token, providertest.Fault{Status: 503})
					case 5: // some calls fail, some of them after they took effect
						dice := rand.New(rand.NewPCG(seed, r.Uint64()))
						var mu sync.Mutex
						proc.store.on(func(c *storeCall) error {
							mu.Lock()
							n := dice.IntN(6)
							mu.Unlock()
							switch n {
							case 0:
								return errAway
							case 1:
								c.run()
								return errAway
							}
							return c.run()
						})
					case 6:
						proc.store.goAway()
						time.AfterFunc(time.Duration(r.IntN(8000))*time.Millisecond, proc.store.heal)
					case 7:
						proc.store.heal()
					}
					var wg sync.WaitGroup
					end := time.Now().Add(time.Duration(r.IntN(60)) * time.Second)
					for _, proc := range procs {
						wg.Go(func() {
							for ; time.Now().Before(end) && !t.Failed(); time.Sleep(time.Second) {
								ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
								if _, err := proc.Token(ctx, p, asAda); errors.Is(err, authprofile.ErrReauthorize) {
									t.Errorf("got error %v, want none that asks for an authorization", err)
								}
								cancel()
							}
						})
					}
					wg.Wait()
				}
				for _, proc := range procs {
					proc.store.heal()
				}
				w.srv.ClearFaults(providertest.Token)
				for range 60 { // while the period of grace for the last lost answer is open
					for _, proc := range procs {
						proc.Token(t.Context(), p, asAda)
					}
					time.Sleep(time.Second)
				}
				time.Sleep(10 * time.Minute)
				for _, proc := range procs {
					w.token(proc.Manager, p, asAda)
				}
				w.healthy(ada)
			})
		})
	}
}

// A renewal that was begun ahead of time fails: a caller who has come to need a
// token meanwhile gets an attempt of its own.
func TestNeedOutlivesAFailureAheadOfTime(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.adasProfile()
		proc := w.process()
		w.token(proc.Manager, p, asAda)
		time.Sleep(time.Until(w.grant(ada).Expiry) - 3*time.Second)
		proc.store.on(func(c *storeCall) error {
			proc.store.heal()
			<-c.ctx.Done()
			return c.ctx.Err()
		})
		w.token(proc.Manager, p, asAda) // begins a renewal that hangs in the store
		time.Sleep(4 * time.Second)
		w.token(proc.Manager, p, asAda)
		w.healthy(ada)
	})
}
