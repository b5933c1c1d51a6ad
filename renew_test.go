package authprofile_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
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
			t.Errorf("got subject %q and status %q", g.Subject, g.Status)
		}
		first := w.token(w.m, p, asAda)
		for range 5 {
			expire()
			second := w.token(w.m, p, asAda)
			if second == first {
				t.Error("got the same token after its end")
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
// each token, and nobody waits for it.
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
					t.Fatalf("a caller waited for %v", d)
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
					t.Errorf("patience of %v: got error %v after %v", patience, err, d)
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
							t.Fatalf("got error %v after %v, %v before the token's end", err, time.Since(begin), time.Until(end))
						}
						w.token(proc.Manager, p, asAda)
					}
					time.Sleep(300 * time.Millisecond)
				}
				if got := w.srv.Count("refresh_token"); got > 20 {
					t.Errorf("got %d requests in the last minute", got)
				}
			})
		})
	}
}

// RenewBefore is when renewals begin, but never more than a third of a token's
// life.
func TestRenewBefore(t *testing.T) {
	for _, tt := range []struct{ before, life, want time.Duration }{
		{0, time.Hour, time.Minute},
		{10 * time.Minute, time.Hour, 10 * time.Minute},
		{time.Hour, time.Hour, 20 * time.Minute},
		{0, 90 * time.Second, 30 * time.Second},
		{1000 * time.Hour, 24 * time.Hour, 8 * time.Hour},
		{-time.Hour, time.Hour, time.Minute},
	} {
		t.Run(fmt.Sprint(tt.before, tt.life), func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.srv.SetPolicy(providertest.Policy{TokenLifetime: tt.life})
				p := w.app()
				m := &authprofile.Manager{Store: w.store, HTTPClient: w.srv.Client(), RenewBefore: tt.before}
				t.Cleanup(func() { m.Shutdown(context.Background()) })
				w.token(m, p)
				time.Sleep(tt.life - tt.want - time.Second)
				w.token(m, p)
				synctest.Wait()
				w.asked("client_credentials", 1)
				time.Sleep(tt.want/2 + 2*time.Second) // each process has its own moment in the first half
				w.token(m, p)
				synctest.Wait()
				w.asked("client_credentials", 2)
			})
		})
	}
}

// An API has refused a token that looks valid.
func TestRejectedToken(t *testing.T) {
	for _, saved := range []bool{true, false} {
		t.Run(fmt.Sprint("saved ", saved), func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				p := w.unsavedApp()
				if saved {
					p = w.app()
				}
				first, err := w.m.Token(t.Context(), p)
				if err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Minute)
				var wg sync.WaitGroup
				for range 20 {
					wg.Go(func() {
						if got := w.token(w.m, p, authprofile.Rejected(first)); got == first.AccessToken {
							t.Error("got the rejected token")
						}
					})
				}
				wg.Wait()
				w.asked("client_credentials", 2)
				// Whoever comes late with the old one gets the new one at once.
				w.token(w.m, p, authprofile.Rejected(first))
				w.token(w.m, p)
				w.asked("client_credentials", 2)

			})
		})
	}
}

// An API refuses whatever it is given. Each refused token that was obtained in
// place of a refused one makes the next take longer, in all processes.
func TestAPIThatRefusesEverything(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.adasProfile()
		var managers []*authprofile.Manager
		for range 5 {
			managers = append(managers, w.manager())
		}
		var wg sync.WaitGroup
		for _, m := range managers {
			wg.Go(func() {
				tok, err := m.Token(t.Context(), p, asAda)
				if err != nil {
					t.Error(err)
					return
				}
				for range 10 * 60 {
					time.Sleep(time.Second)
					if next, err := m.Token(t.Context(), p, asAda, authprofile.Rejected(tok)); err == nil {
						if next.AccessToken == tok.AccessToken {
							t.Error("got the rejected token")
						}
						tok = next
					}
					if _, err := m.Token(t.Context(), p, asAda); err != nil {
						t.Errorf("a caller that refuses nothing got error %v", err)
					}
				}
			})
		}
		wg.Wait()
		if got := w.srv.Count("refresh_token"); got < 3 || got > 15 {
			t.Errorf("got %d requests in ten minutes, want a few", got)
		}
		w.healthy(ada)

		// Once the API takes a token for a while, the next refusal is met at once.
		time.Sleep(20 * time.Minute)
		tok := w.grant(ada).Token() // the one in memory may be an earlier one
		before := w.srv.Count("refresh_token")
		if got := w.token(managers[0], p, asAda, authprofile.Rejected(tok)); got == tok.AccessToken {
			t.Error("got the rejected token")
		}
		w.asked("refresh_token", before+1)
	})
}

// A token endpoint always answers the same access token, and the API refuses
// it: that is found out by one request, and remembered for a while.
func TestSameTokenAgain(t *testing.T) {
	for _, saved := range []bool{true, false} {
		t.Run(fmt.Sprint("saved ", saved), func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				p, opts, kind, only := w.unsavedApp(), []authprofile.Option(nil), "client_credentials", "the-only-one"
				if saved {
					p, opts, kind = w.adasProfile(), []authprofile.Option{asAda}, "refresh_token"
					only = string(w.grant(ada).AccessToken)
				}
				w.srv.Mutate(providertest.Token, func(a map[string]any) {
					a["access_token"] = only
					delete(a, "id_token") // which would be of another
				})
				tok, err := w.m.Token(t.Context(), p, opts...)
				if err != nil {
					t.Fatal(err)
				}
				before := w.srv.Count(kind)
				time.Sleep(time.Minute)
				refused := append(opts, authprofile.Rejected(tok))
				begin := time.Now()
				for range 10 {
					w.refuses(w.m, p, nil, refused...)
				}
				if d := time.Since(begin); d > time.Second {
					t.Errorf("ten refusals took %v", d)
				}
				w.asked(kind, before+1)
				var wg sync.WaitGroup
				for range 20 {
					wg.Go(func() { w.refuses(w.m, p, nil, refused...) })
				}
				wg.Wait()
				w.asked(kind, before+1)
				w.token(w.m, p, opts...) // for those who do not refuse it
				time.Sleep(10 * time.Minute)
				w.srv.Mutate(providertest.Token, nil)
				if got := w.token(w.m, p, refused...); got == tok.AccessToken {
					t.Error("got the rejected token")
				}
				w.asked(kind, before+2)
			})
		})
	}
}

func TestRejectedTokenThatAnotherProcessHasReplaced(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.srv.SetPolicy(providertest.Policy{EndAccessOnRefresh: true})
		p := w.adasProfile()
		other := w.manager()
		old, err := w.m.Token(t.Context(), p, asAda)
		if err != nil {
			t.Fatal(err)
		}
		w.token(other, p, asAda)
		time.Sleep(time.Minute)
		next := w.token(other, p, asAda, authprofile.Rejected(old))
		w.asked("refresh_token", 1)
		if got := w.token(w.m, p, asAda, authprofile.Rejected(old)); got != next {
			t.Error("got another token than the other process has stored")
		}
		if got := w.token(w.m, p, asAda); got != next {
			t.Error("got the rejected token for those who do not know better")
		}
		w.asked("refresh_token", 1)
	})
}

// A process that has nothing in memory finds the rejected token in the Store.
func TestRejectedTokenThatIsStored(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.adasProfile()
		tok, err := w.m.Token(t.Context(), p, asAda)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if got := w.token(w.manager(), p, asAda, authprofile.Rejected(tok)); got == tok.AccessToken {
			t.Error("got the rejected token")
		}
		w.asked("refresh_token", 1)
	})
}

// Without a refresh token there is no other token, but the one that is there
// may be good elsewhere.
func TestRejectedWithoutARefreshToken(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.srv.SetPolicy(providertest.Policy{Offline: providertest.OfflineAccess})
		p := w.adasProfile()
		tok, err := w.m.Token(t.Context(), p, asAda)
		if err != nil {
			t.Fatal(err)
		}
		w.refuses(w.m, p, authprofile.ErrReauthorize, asAda, authprofile.Rejected(tok))
		w.token(w.m, p, asAda)
		w.healthyToken(p)
		expire()
		w.refuses(w.m, p, authprofile.ErrReauthorize, asAda)
		if g := w.grant(ada); g.Status != needsPerson || g.Failure.Reason != authprofile.ReasonExpired {
			t.Errorf("got %v", g)
		}
		w.asked("refresh_token", 0)
	})
}

// Who asks for another token than the one that an API has refused may get an
// error. Others, for whom the stored token is good, do not.
func TestRefusalOfATokenIsOneCallersOwn(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.srv.SetPolicy(providertest.Policy{Offline: providertest.OfflineAccess}) // no refresh token
		p := w.adasProfile()
		tok, err := w.m.Token(t.Context(), p, asAda)
		if err != nil {
			t.Fatal(err)
		}
		proc := w.process() // with nothing in memory
		proc.store.on(func(c *storeCall) error {
			time.Sleep(time.Second)
			return c.run()
		})
		var wg sync.WaitGroup
		wg.Go(func() { w.refuses(proc.Manager, p, authprofile.ErrReauthorize, asAda, authprofile.Rejected(tok)) })
		time.Sleep(100 * time.Millisecond)
		if got := w.token(proc.Manager, p, asAda); got != tok.AccessToken {
			t.Errorf("got %q, want the stored token", got)
		}
		wg.Wait()
	})
}

func (w *world) healthyToken(p *authprofile.Profile) {
	w.Helper()
	if g := w.grant(ada); g.Status != active || g.Failure != nil {
		w.Errorf("got %v, want an active grant", g)
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
			t.Errorf("the last caller waited for %v", d)
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
					t.Fatalf("got error %v after %v", err, time.Since(begin))
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
			t.Errorf("a new caller waited for %v behind renewals ahead of time", d)
		}
		// By now all have ended, and most are still waiting.
		begin = time.Now()
		var wg sync.WaitGroup
		for i := range 10 {
			wg.Go(func() {
				w.token(w.m, profiles[i*n/10])
				if d := time.Since(begin); d > 41*time.Second {
					t.Errorf("a caller waited for %v behind renewals ahead of time", d)
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
			t.Errorf("a profile waited for %v for another's provider", d)
		}
		time.Sleep(10 * time.Minute)
	})
}

// Whoever edits a profile need not restart anything.
func TestProfileChangesTakeEffect(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		user, app := w.adasProfile(), w.app()
		other := w.manager()
		userSource, appSource := other.Source(t.Context(), user, asAda), other.Source(t.Context(), app)
		userSource.Token()
		appSource.Token()

		edited := app.Clone()
		edited.Scopes, edited.ClientSecret = []string{"read", "write"}, "rotated"
		w.save(edited)
		edited = user.Clone()
		edited.ClientSecret = "rotated"
		w.save(edited)
		w.srv.SetClientSecret(providertest.ClientID, "rotated")
		expire()
		for _, src := range []oauth2.TokenSource{userSource, appSource} {
			if _, err := src.Token(); err != nil {
				t.Error(err)
			}
		}
		list := w.srv.Requests()
		if got := list[len(list)-1].Scope; got != "read write" {
			t.Errorf("got a request for %q, want the new scopes", got)
		}
	})
}

// A refresh token is bound to its client. Another client has nothing to ask
// for with it, and whoever corrects the profile has lost nothing.
func TestOtherClient(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.adasProfile()
		right := p.ClientID
		p.ClientID = "mistyped"
		w.save(p)
		expire()
		for range 3 {
			w.refuses(w.m, p, authprofile.ErrReauthorize, asAda)
			w.refuses(w.manager(), p, authprofile.ErrReauthorize, asAda)
			time.Sleep(time.Minute)
		}
		w.asked("refresh_token", 0)
		if g := w.grant(ada); g.Failure.Reason != authprofile.ReasonOtherClient {
			t.Errorf("got %v", g)
		}
		p.ClientID = right
		w.save(p)
		w.token(w.m, p, asAda)
		w.asked("refresh_token", 1)
		w.healthy(ada)
	})
}

// Nor is a grant shown to another provider: it would be said to be invalid, and
// every user would have to come back because an address was mistyped.
func TestOtherIssuer(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.adasProfile()
		right := p.Endpoints.DiscoveryURL
		staging := anotherProvider(t, "https://staging.example.com")
		proc := w.process()
		proc.net.on(func(r *http.Request) (*http.Response, error) {
			if r.URL.Host == "staging.example.com" {
				return staging.Transport().RoundTrip(r)
			}
			return proc.net.base.RoundTrip(r)
		})
		p.Endpoints.DiscoveryURL = staging.DiscoveryURL()
		w.save(p)
		expire()
		for range 3 {
			w.refuses(proc.Manager, p, authprofile.ErrReauthorize, asAda)
			time.Sleep(time.Minute)
		}
		if got := staging.Count("refresh_token"); got != 0 {
			t.Errorf("another provider has seen the refresh token %d times", got)
		}
		if g := w.grant(ada); g.Failure == nil || g.Failure.Reason != authprofile.ReasonOtherClient {
			t.Errorf("got %v", g)
		}
		p.Endpoints.DiscoveryURL = right
		w.save(p)
		w.token(proc.Manager, p, asAda)
		w.asked("refresh_token", 1)
		w.healthy(ada)
	})
}

// A grant remembers who has issued it, however its profile names the provider
// and whether an ID token came with it: another one never sees its refresh
// token, and once the profile is right again it works.
func TestProfileOfAnotherProviderForAMinute(t *testing.T) {
	type naming func(srv *providertest.Server) authprofile.Endpoints
	addresses := func(srv *providertest.Server) authprofile.Endpoints {
		return authprofile.Endpoints{AuthURL: srv.AuthURL(), TokenURL: srv.TokenURL()}
	}
	document := func(srv *providertest.Server) authprofile.Endpoints {
		return authprofile.Endpoints{DiscoveryURL: srv.DiscoveryURL()}
	}
	plain, openid := []string{"read", "offline_access"}, []string{"openid", "read", "offline_access"}
	for _, test := range []struct {
		name           string
		scopes         []string
		right, another naming
	}{
		{"addresses, other addresses", plain, addresses, addresses},
		{"addresses, another document", plain, addresses, document},
		{"document, other addresses", plain, document, addresses},
		{"document, another document", plain, document, document},
		{"addresses, other addresses, OpenID", openid, addresses, addresses},
		{"addresses, another document, OpenID", openid, addresses, document},
		{"document, other addresses, OpenID", openid, document, addresses},
		{"addresses of an issuer elsewhere, other addresses", openid, func(srv *providertest.Server) authprofile.Endpoints {
			srv.MutateIDToken(func(h, claims map[string]any) { claims["iss"] = "https://issuer.example.net" })
			return addresses(srv)
		}, addresses},
	} {
		t.Run(test.name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				staging := anotherProvider(t, "https://staging.example.com")
				proc := w.process()
				proc.RedirectURL = callbackAddress
				proc.net.on(func(r *http.Request) (*http.Response, error) {
					if r.URL.Host == "staging.example.com" {
						return staging.Transport().RoundTrip(r)
					}
					return proc.net.base.RoundTrip(r)
				})
				p := w.user()
				p.Scopes, p.Endpoints = test.scopes, test.right(w.srv)
				w.save(p)
				w.authorize(p, "ada")
				expire()
				w.token(proc.Manager, p, asAda)

				p.Name = "another name" // which says nothing about the provider
				w.save(p)
				expire()
				w.token(proc.Manager, p, asAda)
				w.asked("refresh_token", 2)

				right := p.Endpoints
				p.Endpoints = test.another(staging)
				w.save(p)
				expire()
				for range 3 {
					w.refuses(proc.Manager, p, authprofile.ErrReauthorize, asAda)
					time.Sleep(time.Minute)
				}
				if got := staging.Hits(providertest.Token); got != 0 {
					t.Errorf("another provider was shown the refresh token %d times", got)
				}
				if g := w.grant(ada); g.Failure == nil || g.Failure.Reason != authprofile.ReasonOtherClient {
					t.Errorf("got %v", g)
				}
				p.Endpoints = right
				w.save(p)
				w.token(proc.Manager, p, asAda)
				w.asked("refresh_token", 3)
				w.healthy(ada)
			})
		})
	}
}

// Of a grant that an application has put into the Store, or that does not say
// who has issued it, that is known once it was renewed.
func TestGrantOfAnUnknownIssuer(t *testing.T) {
	for _, named := range []string{"", "https://issuer.example.net"} { // the latter as an ID token has named it
		inWorld(t, func(t *testing.T, w *world) {
			p := w.user()
			p.Scopes = []string{"read", "offline_access"}
			p.Endpoints = authprofile.Endpoints{AuthURL: w.srv.AuthURL(), TokenURL: w.srv.TokenURL()}
			w.save(p)
			w.authorize(p, "ada")
			time.Sleep(2 * time.Minute)
			g := w.grant(ada)
			g.Issuer, g.Obtained = named, time.Now() // as a renewal would leave it
			w.put(g)
			expire()
			w.token(w.m, p, asAda)
			if got := w.grant(ada).Issuer; got != issuer {
				t.Errorf("named %q: got issuer %q, want %q", named, got, issuer)
			}
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
			t.Error("got no error, though the grant lives on")
		}
		if got := staging.Hits(providertest.Revocation); got != 0 {
			t.Errorf("another provider has seen the tokens %d times", got)
		}
	})
}

// Spellings of an issuer that mean the same one.
func TestSameIssuerInOtherWords(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.adasProfile()
		w.srv.Mutate(providertest.Token, func(a map[string]any) { delete(a, "id_token") })
		for i, name := range []string{issuer, issuer + "/", ""} {
			g := w.grant(ada)
			g.Issuer = name
			w.put(g)
			expire()
			w.token(w.m, p, asAda)
			w.asked("refresh_token", i+1)
		}
	})
}

// A caller is told what the renewals have come to, however many others ask for
// something else.
func TestErrorsAmongManyRefusedTokens(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.adasProfile()
		proc := w.process()
		old, err := proc.Token(t.Context(), p, asAda)
		if err != nil {
			t.Fatal(err)
		}
		expire()
		w.srv.Fault(providertest.Token, answers(400, code("invalid_grant")))
		proc.store.on(func(c *storeCall) error {
			time.Sleep(10 * time.Millisecond)
			return c.run()
		})
		var wg sync.WaitGroup
		for i := range 200 {
			opts := []authprofile.Option{asAda}
			if i%20 != 0 {
				opts = append(opts, authprofile.Rejected(old))
			}
			wg.Go(func() {
				for range 20 {
					w.refuses(proc.Manager, p, authprofile.ErrReauthorize, opts...)
				}
			})
		}
		wg.Wait()
	})
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
			t.Error("got another token for a profile that says the same")
		}
		p.Scopes = []string{"write"}
		if w.token(w.m, p) == first {
			t.Error("got the same token for a profile that says something else")
		}
		expire()
		w.token(w.m, p)
		w.asked("client_credentials", 3*n+3)

		// A user profile needs a place for its grant.
		u := &authprofile.Profile{Type: authprofile.TypeUser, ClientID: "c", Endpoints: authprofile.Endpoints{DiscoveryURL: w.srv.DiscoveryURL()}}
		w.refuses(w.m, u, authprofile.ErrNotFound, asAda)
	})
}

// A connection breaks under a request for a token of the application: it is sent
// again, since that spends nothing, whether the profile was saved or not.
func TestBrokenConnectionOfAnApplication(t *testing.T) {
	reset := &net.OpError{Op: "read", Net: "tcp", Err: errors.New("connection reset by peer")}
	for name, fault := range map[string]func(r *http.Request) error{
		"before anything was sent": func(*http.Request) error { return reset },
		"closed before":            func(*http.Request) error { return io.EOF },
		"GOAWAY": func(r *http.Request) error {
			io.Copy(io.Discard, r.Body)
			return errors.New("http2: server sent GOAWAY and closed the connection; LastStreamID=0")
		},
		"after it was sent": func(r *http.Request) error {
			io.Copy(io.Discard, r.Body)
			return reset
		},
	} {
		for _, saved := range []bool{true, false} {
			t.Run(fmt.Sprint(name, " saved ", saved), func(t *testing.T) {
				inWorld(t, func(t *testing.T, w *world) {
					p := w.unsavedApp()
					if saved {
						w.save(p)
					}
					proc := w.process()
					sent := 0
					proc.net.on(func(r *http.Request) (*http.Response, error) {
						if sent++; sent == 1 {
							return nil, fault(r)
						}
						return proc.net.base.RoundTrip(r)
					})
					if _, err := proc.Source(t.Context(), p).Token(); err != nil {
						t.Error(err)
					}
					if sent != 2 {
						t.Errorf("got %d requests, want 2", sent)
					}
				})
			})
		}
	}
}

// Processes, stores, networks and providers in trouble, at random, and a
// provider with a period of grace: no authorization is lost, and nobody with a
// valid token notices.
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
									t.Errorf("got error %v", err)
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

// A renewal that was begun ahead of time, for nobody in particular, fails: who
// has come to need a token meanwhile gets an attempt of their own.
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

// An API that ends each token after some minutes refuses none as soon as it is
// there: another one is to be had at once.
func TestAPIThatEndsTokensEarly(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.adasProfile()
		m := w.manager()
		tok, err := m.Token(t.Context(), p, asAda)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 20 {
			time.Sleep(4 * time.Minute)
			begin := time.Now()
			tok, err = m.Token(t.Context(), p, asAda, authprofile.Rejected(tok))
			if err != nil || time.Since(begin) > time.Second {
				t.Fatalf("refusal %d: got %v after %v, want another token at once", i, err, time.Since(begin))
			}
		}
	})
}

// A refused token has ended: what is obtained in its place is nothing special.
func TestRefusedTokenThatHasEnded(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.srv.SetPolicy(providertest.Policy{TokenLifetime: 10 * time.Second})
		p := w.adasProfile()
		m := w.manager()
		tok, err := m.Token(t.Context(), p, asAda)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 20 {
			time.Sleep(11 * time.Second)
			tok, err = m.Token(t.Context(), p, asAda, authprofile.Rejected(tok))
			if err != nil {
				t.Fatalf("refusal %d: got %v, want another token", i, err)
			}
		}
	})
}
