package authprofile_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/oauth2"

	"github.com/authprofile/authprofile"
	"github.com/authprofile/authprofile/providertest"
)

// apps saves app profiles.
func (w *world) apps(n int) []*authprofile.Profile {
	w.Helper()
	var list []*authprofile.Profile
	for i := range n {
		p := w.unsavedApp()
		p.ID = fmt.Sprintf("app%05d", i)
		list = append(list, w.save(p))
	}
	return list
}

// Memory is bounded, and the least recently used leave first.
func TestCacheIsBounded(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		proc := w.process()
		proc.CacheSize = 10
		list := w.apps(30)
		for _, p := range list[:10] {
			w.token(proc.Manager, p)
		}
		// The first five are used once more: the other five make room.
		for _, p := range list[:5] {
			w.token(proc.Manager, p)
		}
		for _, p := range list[10:15] {
			w.token(proc.Manager, p)
		}
		reads := proc.store.count("Grant")
		for _, i := range []int{0, 1, 2, 3, 4, 10, 11, 12, 13, 14} {
			w.token(proc.Manager, list[i])
		}
		if got := proc.store.count("Grant"); got != reads {
			t.Errorf("got %d reads of grants that should be in memory, want none", got-reads)
		}
		w.token(proc.Manager, list[5])
		if got := proc.store.count("Grant"); got != reads+1 {
			t.Errorf("got %d reads of a grant that should have left, want 1", got-reads)
		}
		for _, p := range list {
			w.token(proc.Manager, p)
		}
		if got := proc.Cached(); got != 10 {
			t.Errorf("got %d grants in memory, want 10", got)
		}
		w.asked("client_credentials", 30)
	})
}

func TestLargeCacheIsBounded(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.user()
		proc := w.process()
		proc.CacheSize = 5000
		for i := range 20_000 {
			proc.Token(t.Context(), p, authprofile.AsUser(fmt.Sprint(i)))
		}
		if got := proc.Cached(); got > 5000 || got < 4000 {
			t.Errorf("got %d grants in memory, want at most 5000, and nearly that", got)
		}
	})
}

// What is in use stays in a large cache, however many others come and go.
func TestLargeCacheKeepsWhatIsInUse(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p, list := w.user(), w.apps(50)
		proc := w.process()
		proc.CacheSize = 5000
		var first int
		for i := range 20_000 {
			proc.Token(t.Context(), p, authprofile.AsUser(fmt.Sprint(i)))
			if i%1000 != 0 {
				continue
			}
			reads := proc.store.count("Grant")
			for _, app := range list {
				w.token(proc.Manager, app)
			}
			if got := proc.store.count("Grant") - reads; i == 0 {
				first = got
			} else if got != 0 {
				t.Errorf("after %d others, got %d reads of grants in use, want none", i, got)
			}
		}
		if first == 0 {
			t.Error("got no reads of the Store by the first calls, want some")
		}
	})
}

// The same if nothing comes for a long time, while all the others are used once.
func TestLargeCacheKeepsWhatWasUsedLast(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p, list := w.user(), w.apps(50)
		proc := w.process()
		proc.CacheSize = 5000
		use := func(from, to int) {
			for i := from; i < to; i++ {
				proc.Token(t.Context(), p, authprofile.AsUser(fmt.Sprint(i)))
			}
		}
		useList := func() {
			for _, app := range list {
				w.token(proc.Manager, app)
			}
		}
		use(0, 20_000)
		useList()
		use(17_500, 20_000) // all of them still in memory
		useList()
		use(20_000, 23_000)
		reads := proc.store.count("Grant")
		useList()
		if got := proc.store.count("Grant") - reads; got != 0 {
			t.Errorf("got %d reads of grants that were used last, want none", got)
		}
	})
}

// A lifetime that is longer than the clock can count is no reason to look
// at the store each time.
func TestTokenThatEndsInTheYear9999(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.adasProfile()
		g := w.grant(ada)
		g.Expiry = time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)
		w.put(g)
		proc := w.process()
		w.token(proc.Manager, p, asAda)
		reads := proc.store.count("Grant")
		for range 5 {
			w.token(proc.Manager, p, asAda)
			time.Sleep(time.Hour)
		}
		if got := proc.store.count("Grant"); got != reads {
			t.Errorf("got %d reads of the store, want none", got-reads)
		}
		w.asked("refresh_token", 0)
	})
}

// A Source goes on working when its entry has left, and costs the provider
// nothing.
func TestSourceAfterItsEntryLeft(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		proc := w.process()
		proc.CacheSize = 1
		var sources []oauth2.TokenSource
		for _, p := range w.apps(5) {
			sources = append(sources, proc.Source(t.Context(), p))
		}
		for hour := 1; hour <= 3; hour++ {
			for range 10 {
				var wg sync.WaitGroup
				for _, src := range sources {
					for range 10 {
						wg.Go(func() {
							if tok, err := src.Token(); err != nil || !tok.Valid() {
								t.Errorf("got token valid: %t, error %v; want a valid one", tok.Valid(), err)
							}
						})
					}
				}
				wg.Wait()
				time.Sleep(time.Minute)
			}
			w.asked("client_credentials", hour*len(sources))
			expire()
		}
	})
}

// Entries come and go while a grant is being renewed: still one request.
func TestOneRequestAcrossEviction(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.adasProfile()
		others := w.apps(3)
		proc := w.process()
		proc.CacheSize = 1
		src := proc.Source(t.Context(), p, asAda)
		expire()
		w.srv.Fault(providertest.Token, providertest.Fault{Grant: "refresh_token", Delay: 2 * time.Second})
		var wg sync.WaitGroup
		for i := range 20 {
			wg.Go(func() {
				if _, err := src.Token(); err != nil {
					t.Error(err)
				}
			})
			wg.Go(func() { w.token(proc.Manager, p, asAda) })
			wg.Go(func() { w.token(proc.Manager, others[i%3]) })
			time.Sleep(50 * time.Millisecond)
		}
		wg.Wait()
		w.asked("refresh_token", 1)
	})
}

// What is renewed for an entry that left meanwhile is put where it is found.
func TestRenewalOfAnEntryThatLeft(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.adasProfile()
		proc := w.process()
		proc.CacheSize = 1
		expire()
		w.srv.Fault(providertest.Token, providertest.Fault{Grant: "refresh_token", Delay: 2 * time.Second})
		go proc.Token(t.Context(), p, asAda)
		time.Sleep(time.Second)
		w.token(proc.Manager, w.app())
		time.Sleep(5 * time.Second)
		reads := proc.store.count("Grant")
		w.token(proc.Manager, p, asAda)
		if got := proc.store.count("Grant"); got != reads {
			t.Errorf("got %d reads of the store, want the token in memory", got-reads)
		}
	})
}

// The wall clock jumps: a suspended machine wakes up. No token that ended
// meanwhile is served for longer than a tick.
func TestWallClockJumps(t *testing.T) {
	for _, jump := range []time.Duration{time.Hour, 2 * time.Hour, 1000 * time.Hour} {
		t.Run(jump.String(), func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				p := w.app()
				var ahead atomic.Int64
				w.m.SetNow(func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) })
				src := w.m.Source(t.Context(), p)
				var old *oauth2.Token
				for range 10 {
					var err error
					if old, err = src.Token(); err != nil {
						t.Fatal(err)
					}
					time.Sleep(70 * time.Millisecond)
				}
				ahead.Store(int64(jump))
				begin := time.Now()
				for {
					tok, err := src.Token()
					if err != nil {
						t.Fatal(err)
					}
					if tok != old {
						break
					}
					if d := time.Since(begin); d > 500*time.Millisecond {
						t.Fatalf("got a dead token %v after the jump, want none after half a second", d)
					}
					time.Sleep(10 * time.Millisecond)
				}
				w.asked("client_credentials", 2)
			})
		})
	}
}

// A token was obtained under a clock that was a day ahead: it does not live for
// a day longer.
func TestTokenFromTheFuture(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.adasProfile()
		other := w.manager()
		g := w.grant(ada)
		g.Obtained, g.Expiry = g.Obtained.Add(24*time.Hour), g.Expiry.Add(24*time.Hour)
		w.put(g)
		first := w.token(other, p, asAda)
		time.Sleep(59 * time.Minute)
		if got := w.token(other, p, asAda); got != first {
			t.Error("got another token within the life of the first, want the same")
		}
		expire()
		if got := w.token(other, p, asAda); got == first {
			t.Error("got a token that has ended, want another one")
		}
		w.healthy(ada)
	})
}

// A token without a known end is served until an API refuses it, or the grant
// was ended through another replica, and this one has seen it.
func TestTokenWithoutAnEndOfAGrantThatWasEnded(t *testing.T) {
	for _, test := range []struct {
		name    string
		refresh bool
		end     func(w *world) error
	}{
		{"revoked", true, func(w *world) error { return w.m.Revoke(w.Context(), ada) }},
		{"revoked, without a refresh token", false, func(w *world) error { return w.m.Revoke(w.Context(), ada) }},
		{"profile deleted", true, func(w *world) error { return w.m.Delete(w.Context(), "crm") }},
		{"profile deleted, without a refresh token", false, func(w *world) error { return w.m.Delete(w.Context(), "crm") }},
	} {
		t.Run(test.name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.srv.Mutate(providertest.Token, func(a map[string]any) {
					delete(a, "expires_in")
					if !test.refresh {
						delete(a, "refresh_token")
					}
				})
				p := w.adasProfile()
				proc := w.process()
				for range 100 {
					w.token(proc.Manager, p, asAda)
					time.Sleep(5 * time.Minute)
				}
				if !test.refresh && proc.store.count("Grant") > 10 {
					t.Errorf("got %d looks at the Store in eight hours, want one an hour", proc.store.count("Grant"))
				}
				if err := test.end(w); err != nil {
					t.Fatal(err)
				}
				begin := time.Now()
				for {
					if _, err := proc.Token(t.Context(), p, asAda); err != nil {
						break
					}
					if time.Since(begin) > 2*time.Hour {
						t.Fatal("got a token two hours after its grant was ended, want none")
					}
					time.Sleep(time.Minute)
				}
			})
		})
	}
	inWorld(t, func(t *testing.T, w *world) {
		w.srv.Mutate(providertest.Token, func(a map[string]any) { delete(a, "expires_in") })
		p := w.app()
		other := w.manager()
		w.token(other, p)
		if err := w.m.Delete(t.Context(), p.ID); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Hour)
		other.Token(t.Context(), p) // sees it
		synctest.Wait()
		w.refuses(other, p, authprofile.ErrNotFound)
	})
}

// However hot a token is, it is served up to its end and no longer.
func TestTokenIsServedUpToItsEnd(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.adasProfile()
		src := w.m.Source(t.Context(), p, asAda)
		end := w.grant(ada).Expiry
		w.srv.Fault(providertest.Token, answers(503, ""))
		time.Sleep(time.Until(end) - 3*time.Second)
		for ; time.Until(end) > -2*time.Second; time.Sleep(10 * time.Millisecond) {
			_, err1 := src.Token()
			_, err2 := w.m.Token(t.Context(), p, asAda)
			if ended := time.Until(end) <= 0; (err1 != nil) != ended || (err2 != nil) != ended {
				t.Fatalf("got errors %v and %v, %v before the token's end; want some after it alone", err1, err2, time.Until(end))
			}
		}
	})
}

// Nothing ticks while nothing is used.
func TestNothingTicksWhenIdle(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		var sources []oauth2.TokenSource
		for _, p := range w.apps(20) {
			sources = append(sources, w.m.Source(t.Context(), p))
		}
		if w.m.Ticking() {
			t.Error("got a timer before anything was used, want none")
		}
		for range 3 {
			for _, src := range sources {
				for range 3 {
					src.Token()
				}
			}
			if !w.m.Ticking() {
				t.Error("got no timer while tokens are in use, want one")
			}
			time.Sleep(501 * time.Millisecond)
			if w.m.Ticking() {
				t.Error("got a timer though nothing is used, want none")
			}
			time.Sleep(time.Minute)
		}
	})
}

// Nothing ticks for a token that is asked for less often than once a tick.
func TestNothingTicksForRareCalls(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.app()
		for range 20 {
			w.token(w.m, p)
			if w.m.Ticking() {
				t.Fatal("got a timer, want none")
			}
			time.Sleep(700 * time.Millisecond)
		}
	})
}

// While many call, tokens end, are renewed, rejected, revoked and evicted. The
// race detector must agree.
func TestManyAtOnce(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.srv.SetPolicy(providertest.Policy{Rotation: providertest.RotateNever, TokenLifetime: 4 * time.Second})
		user, list := w.adasProfile(), w.apps(6)
		w.authorize(user, "bob")
		proc := w.process()
		proc.CacheSize = 3
		end := time.Now().Add(20 * time.Second)
		var wg sync.WaitGroup
		forever := func(pause time.Duration, f func()) {
			wg.Go(func() {
				for time.Now().Before(end) {
					f()
					time.Sleep(pause)
				}
			})
		}
		check := func(tok *oauth2.Token, err error) {
			if err != nil || time.Now().After(tok.Expiry) {
				t.Errorf("got error %v, token %v; want a token that has not ended", err, tok)
			}
		}
		for _, p := range list {
			src := proc.Source(t.Context(), p)
			for range 3 {
				forever(37*time.Millisecond, func() { check(src.Token()) })
			}
			forever(53*time.Millisecond, func() { check(proc.Token(t.Context(), p)) })
			forever(1900*time.Millisecond, func() {
				tok, err := src.Token()
				check(tok, err)
				check(proc.Token(t.Context(), p, authprofile.Rejected(tok)))
			})
		}
		src := proc.Source(t.Context(), user, asAda)
		forever(31*time.Millisecond, func() { check(src.Token()) })
		forever(3*time.Second, func() { proc.Revoke(context.Background(), authprofile.GrantKey{ProfileID: user.ID, User: "bob"}) })
		forever(400*time.Millisecond, func() { proc.Token(t.Context(), user, authprofile.AsUser("bob")) })
		wg.Wait()
	})
}

func TestAllocations(t *testing.T) {
	for _, traced := range []bool{false, true} {
		t.Run(fmt.Sprint("with a Trace: ", traced), func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				user, app := w.adasProfile(), w.app()
				ctx := t.Context()
				m, rec := w.manager(), new(traceRecorder)
				if traced {
					m.Trace = rec.trace()
				}
				userSource, appSource := m.Source(ctx, user, asAda), m.Source(ctx, app)
				who := "ada"
				var ahead atomic.Int64
				m.SetNow(func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) })
				for _, tt := range []struct {
					name string
					want float64
					call func() (*oauth2.Token, error)
				}{
					{"now and then, Token of an app profile", 0, func() (*oauth2.Token, error) {
						ahead.Add(int64(time.Second))
						return m.Token(ctx, app)
					}},
					{"now and then, Token as a user", 1, func() (*oauth2.Token, error) {
						ahead.Add(int64(time.Second))
						return m.Token(ctx, user, authprofile.AsUser(who))
					}},
					{"Source of a user profile", 0, userSource.Token},
					{"Source of an app profile", 0, appSource.Token},
					{"Token of an app profile", 0, func() (*oauth2.Token, error) { return m.Token(ctx, app) }},
					{"Token as a user", 1, func() (*oauth2.Token, error) { return m.Token(ctx, user, authprofile.AsUser(who)) }},
				} {
					if _, err := tt.call(); err != nil {
						t.Fatal(err)
					}
					synctest.Wait()
					tt.call()
					rec.take()
					if got := testing.AllocsPerRun(100, func() { tt.call() }); got > tt.want {
						t.Errorf("%s: got %v allocations, want %v at most", tt.name, got, tt.want)
					}
					rec.wants(t)
				}
			})
		})
	}
}

// The Store is away for an hour: for tokens without an end, which are good, it
// is not asked every second.
func TestTokenWithoutAnEndWhileTheStoreIsAway(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.srv.Mutate(providertest.Token, func(answer map[string]any) {
			delete(answer, "expires_in")
			delete(answer, "refresh_token")
		})
		p := w.adasProfile()
		proc := w.process()
		w.token(proc.Manager, p, asAda)
		time.Sleep(2 * time.Hour)
		proc.store.goAway()
		before := proc.store.count("Grant")
		for range 3600 {
			w.token(proc.Manager, p, asAda)
			time.Sleep(time.Second)
		}
		if got := proc.store.count("Grant") - before; got > 70 {
			t.Errorf("got %d looks at the Store in an hour, want one a minute", got)
		}
	})
}
