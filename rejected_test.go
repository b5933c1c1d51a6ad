package authprofile_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/authprofile/authprofile"
	"github.com/authprofile/authprofile/providertest"
)

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
							t.Error("got the rejected token, want another")
						}
					})
				}
				wg.Wait()
				w.asked("client_credentials", 2)
				// A caller who comes late with the old one gets the new one at once.
				w.token(w.m, p, authprofile.Rejected(first))
				w.token(w.m, p)
				w.asked("client_credentials", 2)

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
			t.Error("got another token than the other process has stored, want that one")
		}
		if got := w.token(w.m, p, asAda); got != next {
			t.Error("got the rejected token without the option, want the one stored")
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
			t.Error("got the rejected token, want another")
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
			t.Errorf("got %v, want it to need its user, expired", g)
		}
		w.asked("refresh_token", 0)
	})
}

func TestRejectedTokensAreNotGivenAgain(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.app()
		first, err := w.m.Token(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		if got := w.token(w.m, p, authprofile.Rejected(nil)); got != first.AccessToken {
			t.Error("got another token although none was refused, want the same")
		}
		second := w.token(w.m, p, authprofile.Rejected(first))
		if second == first.AccessToken {
			t.Error("got the refused token, want another")
		}
		if got := w.token(w.m, p, authprofile.Rejected(first)); got != second {
			t.Error("got a third token, want the one that is there")
		}
		src := w.m.Source(t.Context(), p, authprofile.Rejected(first))
		for range 2 {
			if tok, err := src.Token(); err != nil || tok.AccessToken != second {
				t.Errorf("got %v, want the token that is there", err)
			}
		}
		w.asked("client_credentials", 2)
	})
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
							t.Error("got the rejected token, want another")
						}
						tok = next
					}
					if _, err := m.Token(t.Context(), p, asAda); err != nil {
						t.Errorf("got error %v for a caller that refuses nothing, want none", err)
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
			t.Error("got the rejected token, want another")
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
					t.Errorf("got ten refusals in %v, want a second at most", d)
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
					t.Error("got the rejected token, want another")
				}
				w.asked(kind, before+2)
			})
		})
	}
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
