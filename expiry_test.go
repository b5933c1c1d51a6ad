package authprofile_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authprofile/authprofile"
	"github.com/authprofile/authprofile/providertest"
)

// A lifetime that cannot be read, or that says nothing, must not cost the
// refresh token that came with it.
func TestUnknownLifetime(t *testing.T) {
	for _, value := range []any{nil, "", "an hour", true, "absent", []any{}, 0, "0", json.Number("0.0")} {
		t.Run(fmt.Sprint(value), func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				p := w.adasProfile()
				w.srv.SetPolicy(providertest.Policy{TokenLifetime: 100 * time.Hour})
				w.srv.Mutate(providertest.Token, func(a map[string]any) {
					if a["expires_in"] = value; value == "absent" {
						delete(a, "expires_in")
					}
				})
				expire()
				first := w.token(w.m, p, asAda)
				w.asked("refresh_token", 1)
				w.healthy(ada)
				if g := w.grant(ada); !g.Expiry.IsZero() {
					t.Errorf("got expiry %v, want none", g.Expiry)
				}
				time.Sleep(59 * time.Minute)
				w.token(w.m, p, asAda)
				w.asked("refresh_token", 1)

				// Then it is renewed, without a caller who waits for that.
				w.srv.Fault(providertest.Token, providertest.Fault{Delay: 3 * time.Second})
				time.Sleep(8 * time.Minute)
				begin := time.Now()
				if got := w.token(w.m, p, asAda); got != first || time.Since(begin) != 0 {
					t.Errorf("got %q after %v, want %q at once", got, time.Since(begin), first)
				}
				time.Sleep(4 * time.Second)
				if w.token(w.m, p, asAda) == first {
					t.Error("got the old token after its renewal, want the new one")
				}
				w.asked("refresh_token", 2)

				// Without a provider it is used on.
				w.srv.Fault(providertest.Token, answers(503, ""))
				time.Sleep(10 * time.Hour)
				w.token(w.m, p, asAda)

				// Until an API refuses it.
				w.srv.ClearFaults(providertest.Token)
				time.Sleep(3 * time.Second) // the backoff of the last failure
				tok, _ := w.m.Token(t.Context(), p, asAda)
				if got := w.token(w.m, p, asAda, authprofile.Rejected(tok)); got == tok.AccessToken {
					t.Error("got the rejected token, want another one")
				}
				w.healthy(ada)
			})
		})
	}
}

// Some providers say 0 of tokens that do not end, and give no refresh token
// with them: no user is sent back to the provider.
func TestUnknownLifetimeWithoutARefreshToken(t *testing.T) {
	for _, value := range []any{nil, 0, "0"} {
		t.Run(fmt.Sprint(value), func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.srv.Mutate(providertest.Token, func(a map[string]any) {
					delete(a, "refresh_token")
					a["expires_in"] = value
				})
				p := w.adasProfile()
				first := w.token(w.m, p, asAda)
				for range 30 {
					time.Sleep(24 * time.Hour)
					for _, m := range []*authprofile.Manager{w.m, w.manager()} {
						if got := w.token(m, p, asAda); got != first {
							t.Fatalf("got token %q, want the only one there is", got)
						}
					}
				}
				if g := w.grant(ada); g.Status != authprofile.StatusActive || g.Failure != nil || !g.Expiry.IsZero() {
					t.Errorf("got %v, want an active grant without a known end", g)
				}
				w.asked("refresh_token", 0)
			})
		})
	}
}

// What was issued at once and has no known end is not renewed at once.
func TestUnknownLifetimesAreSpread(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.srv.Mutate(providertest.Token, func(a map[string]any) { delete(a, "expires_in") })
		list := w.apps(60)
		use := func() {
			for _, p := range list {
				w.token(w.m, p)
			}
			synctest.Wait()
		}
		use()
		time.Sleep(time.Hour - time.Second)
		use()
		w.asked("client_credentials", len(list))
		minutes := 0
		for before := len(list); before < 2*len(list); minutes++ {
			if minutes > 7 {
				t.Fatalf("got %d renewals in %d minutes, want all", before-len(list), minutes)
			}
			time.Sleep(time.Minute)
			use()
			got := w.srv.Count("client_credentials")
			if got-before > len(list)/2 {
				t.Errorf("got %d renewals in one minute, want them spread", got-before)
			}
			before = got
		}
	})
}

// A token that has expired on arrival is used all the same, for a moment: a
// provider with odd lifetimes must not be overrun.
func TestOddLifetimesMakeNoStorm(t *testing.T) {
	for _, value := range []any{-1, -0.5, 0.5, 1, "-3600", 1e-9} {
		t.Run(fmt.Sprint(value), func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				user, app := w.adasProfile(), w.app()
				w.srv.Mutate(providertest.Token, func(a map[string]any) { a["expires_in"] = value })
				expire()
				managers := []*authprofile.Manager{w.m, w.manager()}
				const seconds = 20
				for range seconds * 10 {
					for _, m := range managers {
						w.token(m, user, asAda)
						w.token(m, app)
					}
					time.Sleep(100 * time.Millisecond)
				}
				for _, kind := range []string{"refresh_token", "client_credentials"} {
					if got := w.srv.Count(kind); got < seconds/2 || got > 2*seconds {
						t.Errorf("got %d requests with %s in %d seconds, want about one a second", got, kind, seconds)
					}
				}
				if got := w.srv.Reuses(); got != 0 {
					t.Errorf("got %d reuses, want none", got)
				}
			})
		})
	}
}

func TestOAuth2_OddLifetimesLoseNothing(t *testing.T) {
	for _, value := range []any{"", "1 hour", "3600", 3600.5, "3600.5", true, nil, -1, 0, 1e20, []any{3600}, map[string]any{"seconds": 3600}} {
		t.Run(fmt.Sprintf("076 %#v", value), func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.srv.Mutate(providertest.Token, func(answer map[string]any) { answer["expires_in"] = value })
				p := w.user()
				w.authorize(p, "ada")
				if g := w.grant(ada); !w.srv.IsCurrent(string(g.RefreshToken)) {
					t.Fatal("got a grant without the refresh token of the login, want it stored")
				}
				time.Sleep(2 * time.Hour)
				w.m.Token(t.Context(), p, asAda)
				time.Sleep(10 * time.Second) // a renewal may be in the background
				g := w.grant(ada)
				if !w.srv.IsCurrent(string(g.RefreshToken)) || g.AccessToken == "" {
					t.Errorf("got %v, want what the provider has issued", g)
				}
				if n := w.srv.Reuses(); n != 0 {
					t.Errorf("got %d refresh tokens that were sent twice, want none", n)
				}
			})
		})
	}
}

func TestShortLifetime(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.srv.SetPolicy(providertest.Policy{TokenLifetime: 5 * time.Second})
		p := w.app()
		w.token(w.m, p)
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() {
				for end := time.Now().Add(8 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
					begin := time.Now()
					w.token(w.m, p)
					if d := time.Since(begin); d > 0 {
						t.Errorf("got a token after %v, want it at once", d)
					}
				}
			})
		}
		wg.Wait()
		if got := w.srv.Count("client_credentials"); got < 2 || got > 4 {
			t.Errorf("got %d requests, want 2 to 4", got)
		}
	})
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

// TestThreat077_SlowAnswerShortensTheToken: the life of a token begins when the
// request is made, not when its answer comes.
func TestThreat077_SlowAnswerShortensTheToken(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		user, app := w.adasProfile(), w.app()
		expire()
		w.srv.Fault(providertest.Token, providertest.Fault{Committed: true, Delay: 20 * time.Second, Times: -1})
		for _, tt := range []struct {
			p    *authprofile.Profile
			key  authprofile.GrantKey
			opts []authprofile.Option
		}{{user, ada, []authprofile.Option{asAda}}, {app, authprofile.GrantKey{ProfileID: app.ID}, nil}} {
			begin := time.Now()
			w.token(w.m, tt.p, tt.opts...)
			if d := time.Since(begin); d < 20*time.Second {
				t.Fatalf("got the token after %v, want a slow answer", d)
			}
			if got := w.grant(tt.key).Expiry.Sub(begin); got > time.Hour+time.Second {
				t.Errorf("%s: got a token that is used for %v from the request on, want its hour", tt.p.ID, got)
			}
		}
	})
}

// A clock that is put back makes no storm, and no wait for the time at which
// it was before. That a token has ended is then for the API to say.
func TestThreat078_ClockIsPutBack(t *testing.T) {
	for _, jump := range []time.Duration{time.Minute, time.Hour, 24 * time.Hour} {
		t.Run(jump.String(), func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.srv.SetPolicy(providertest.Policy{NoIDTokenOnRefresh: true}) // they would come from the future
				p := w.adasProfile()
				old, err := w.m.Token(t.Context(), p, asAda)
				if err != nil {
					t.Fatal(err)
				}
				expire()
				w.srv.Fault(providertest.Token, providertest.Fault{Times: -1, Grant: "refresh_token", Status: 503, Header: http.Header{"Retry-After": {"3000"}}})
				w.refuses(w.m, p, nil, asAda)
				w.srv.ClearFaults(providertest.Token)
				w.m.SetNow(func() time.Time { return time.Now().Add(-jump) })
				w.token(w.m, p, asAda, authprofile.Rejected(old))
				w.healthy(ada)

				asked := w.srv.Count("refresh_token")
				began := time.Now()
				for time.Since(began) < 3*time.Hour {
					w.token(w.m, p, asAda)
					time.Sleep(time.Minute)
				}
				if got := w.srv.Count("refresh_token") - asked; got > 4 {
					t.Errorf("got %d renewals in three hours, want about one an hour", got)
				}
				w.healthy(ada)
			})
		})
	}
}

// TestThreat131_EndOfTheRefreshToken: it is known where the provider says so,
// and belongs to one refresh token.
func TestThreat131_EndOfTheRefreshToken(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		says := func(seconds int) {
			w.srv.Mutate(providertest.Token, func(a map[string]any) {
				if seconds > 0 {
					a["refresh_expires_in"] = seconds
				}
			})
		}
		left := func(g *authprofile.Grant) time.Duration { return g.RefreshExpiry.Sub(g.Obtained) }
		says(86400)
		p := w.adasProfile()
		if got := left(w.grant(ada)); got != 24*time.Hour {
			t.Errorf("got %v until the end of the refresh token, want a day", got)
		}
		says(7200)
		expire()
		w.token(w.m, p, asAda)
		if got := left(w.grant(ada)); got != 2*time.Hour {
			t.Errorf("got %v after a renewal, want the new two hours", got)
		}
		// The provider goes on with the same one, and says nothing.
		w.srv.SetPolicy(providertest.Policy{Rotation: providertest.RotateNever})
		before := w.grant(ada)
		w.srv.Mutate(providertest.Token, func(a map[string]any) { delete(a, "refresh_token") })
		expire()
		w.token(w.m, p, asAda)
		if got := w.grant(ada); !got.RefreshExpiry.Equal(before.RefreshExpiry) || got.RefreshToken != before.RefreshToken {
			t.Errorf("got %v for a refresh token that stays, want %v", got.RefreshExpiry, before.RefreshExpiry)
		}
		// What is known of the old one says nothing of a new one.
		w.srv.SetPolicy(providertest.Policy{})
		says(0)
		expire()
		w.token(w.m, p, asAda)
		if got := w.grant(ada); !got.RefreshExpiry.IsZero() || got.RefreshToken == before.RefreshToken {
			t.Errorf("got %v for a new refresh token, want that it is not known", got.RefreshExpiry)
		}
	})
}
