package authprofile_test

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/oauth2"

	"github.com/authprofile/authprofile"
	"github.com/authprofile/authprofile/providertest"
)

func TestReauthorization(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.adasProfile()
		old := w.grant(ada)
		created := old.Created
		time.Sleep(time.Minute)
		w.authorize(p, "ada")
		g := w.grant(ada)
		if g.RefreshToken == old.RefreshToken || g.AccessToken == old.AccessToken || !g.Created.Equal(created) {
			t.Errorf("got %v, want new tokens in place of the old ones", g)
		}
		if got := w.token(w.m, p, asAda); got != string(g.AccessToken) {
			t.Error("got the old token, want the new one")
		}
		w.healthy(ada)

		// A provider that gives a refresh token only the first time.
		withoutRefreshToken := func(answer map[string]any) { delete(answer, "refresh_token") }
		w.srv.Mutate(providertest.Token, withoutRefreshToken)
		again := w.authorize(p, "ada")
		if again.RefreshToken != g.RefreshToken || again.AccessToken == g.AccessToken {
			t.Error("got another refresh token or no other access token, want the person's old and a new one")
		}
		// Not that of a grant that has ended.
		w.srv.Mutate(providertest.Token, nil)
		w.srv.RevokeUser("user")
		expire()
		w.refuses(w.m, p, authprofile.ErrReauthorize, asAda)
		w.srv.Mutate(providertest.Token, withoutRefreshToken)
		if g := w.authorize(p, "ada"); g.RefreshToken != "" || g.Status != authprofile.StatusActive || g.Failure != nil {
			t.Errorf("got %v, want an active grant without the dead refresh token", g)
		}
		w.token(w.m, p, asAda)
	})
}

// The grant is renewed by another process between the read and the write of an
// authorization that brings no refresh token.
func TestReauthorizationDuringRenewal(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.adasProfile()
		q := w.consent(w.begin(p, "ada"))
		w.srv.Mutate(providertest.Token, func(answer map[string]any) { delete(answer, "refresh_token") })
		a := w.process()
		first := true
		a.store.on(func(c *storeCall) error {
			if c.op == "PutGrant" && first {
				first = false
				g := w.grant(ada)
				g.RefreshToken, g.AccessToken = "renewed", "renewed"
				w.put(g)
			}
			return c.run()
		})
		g, err := a.Finish(t.Context(), "ada", q)
		if err != nil {
			t.Fatal(err)
		}
		if stored := w.grant(ada); stored.RefreshToken != "renewed" || stored.AccessToken != g.AccessToken || stored.AccessToken == "renewed" {
			t.Error("got an older refresh token in the Store, want the renewed one with the access token of the authorization")
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
			t.Error("got another refresh token stored, want that of the new authorization")
		}
	})
}

// It is the subject that counts, and nothing else that an ID token says.
func TestThreat115_116_AnotherAccountComesBack(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.srv.SetConsent(providertest.Consent{Subject: "1", Claims: map[string]any{"email": "ada@example.com"}})
		p := w.adasProfile()
		before := w.grant(ada)
		for _, subject := range []string{"2", "1 ", "user"} {
			w.srv.SetConsent(providertest.Consent{Subject: subject, Claims: map[string]any{"email": "ada@example.com"}})
			w.finishFails("ada", w.consent(w.begin(p, "ada")), authprofile.ErrUserMismatch)
			if after := w.grant(ada); after.Version != before.Version || after.RefreshToken != before.RefreshToken {
				t.Errorf("subject %q: got a changed grant, want it untouched", subject)
			}
		}
		if got := w.token(w.m, p, asAda); got != string(before.AccessToken) {
			t.Error("got another token, want that of the grant before")
		}
		w.srv.SetConsent(providertest.Consent{Subject: "1", Claims: map[string]any{"email": "lovelace@example.com"}})
		w.authorize(p, "ada")
		w.healthy(ada)

		// The application decides: after Revoke any account may come.
		if err := w.m.Revoke(t.Context(), ada); err != nil {
			t.Fatal(err)
		}
		w.srv.SetConsent(providertest.Consent{Subject: "2"})
		if g := w.authorize(p, "ada"); g.Subject != "2" {
			t.Errorf("got subject %q, want 2", g.Subject)
		}
	})
}

// At a provider of many tenants the same goes for an account of another one.
func TestThreat116_AccountOfAnotherTenant(t *testing.T) {
	inWorldOf(t, providertest.Microsoft("common"), func(t *testing.T, w *world) {
		p := w.save(registered(authprofile.Profile{
			ID: "crm", Type: authprofile.TypeUser, Template: authprofile.Microsoft("common"), Scopes: []string{"openid"},
		}))
		before := w.authorize(p, "ada")
		for _, subject := range []string{"user", "another"} {
			w.srv.MutateIDToken(func(_, claims map[string]any) {
				const other = "11111111-2222-4333-8444-555555555555"
				claims["tid"], claims["iss"], claims["sub"] = other, "https://login.microsoftonline.com/"+other+"/v2.0", subject
			})
			w.finishFails("ada", w.consent(w.begin(p, "ada")), authprofile.ErrUserMismatch)
			if after := w.grant(ada); after.Version != before.Version {
				t.Errorf("subject %q: got a changed grant, want it untouched", subject)
			}
		}
	})
}

// A new authorization is stored, and the answer of the Store is lost. Before the
// Store can be reached again, another process has renewed what was stored: that
// is not undone.
func TestAuthorizationIsStoredOnce(t *testing.T) {
	for _, scopes := range [][]string{{"openid", "offline_access"}, {"read", "offline_access"}} {
		t.Run(scopes[0], func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.srv.SetPolicy(providertest.Policy{TokenLifetime: time.Minute})
				p := w.user()
				p.Scopes = scopes
				w.save(p)
				query := w.consent(w.begin(p, "ada"))
				proc := w.process()
				proc.store.on(func(c *storeCall) error {
					if c.op != "PutGrant" {
						return c.run()
					}
					err := c.run()
					proc.store.goAway()
					return errors.Join(err, errAway)
				})
				var g *authprofile.Grant
				var err error
				done := make(chan struct{})
				go func() {
					defer close(done)
					g, err = proc.Finish(t.Context(), "ada", query)
				}()
				time.Sleep(65 * time.Second)
				w.token(w.m, p, asAda)
				w.asked("refresh_token", 1)
				proc.store.heal()
				<-done
				if err != nil {
					t.Fatal(err)
				}
				w.healthy(ada)
				if stored := w.grant(ada); g.RefreshToken != stored.RefreshToken || g.Version != stored.Version {
					t.Errorf("got %v, want what is stored: %v", g, stored)
				}
				if again := w.authorize(p, "ada"); again.RefreshToken == g.RefreshToken {
					t.Errorf("got %v from another authorization, want its own tokens", again)
				}
			})
		})
	}
}

// The same, and the other process has found the renewed access token to be of no
// use: then there is none in memory either.
func TestAuthorizationThatOthersHaveRenewed(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.user()
		query := w.consent(w.begin(p, "ada"))
		proc := w.process()
		first := true
		proc.store.on(func(c *storeCall) error {
			err := c.run()
			if c.op == "PutGrant" && first {
				first = false
				g := w.grant(ada)
				g.AccessToken, g.Status = "", failing
				g.Failure = &authprofile.Failure{Reason: authprofile.ReasonIDToken, Since: time.Now(), Last: time.Now(), Attempts: 1, Next: time.Now().Add(time.Second)}
				w.put(g)
				return errAway
			}
			return err
		})
		if _, err := proc.Finish(t.Context(), "ada", query); err != nil {
			t.Fatal(err)
		}
		if tok, err := proc.Token(t.Context(), p, asAda); err == nil && tok.AccessToken == "" {
			t.Error("got an empty access token, want one or an error")
		}
		time.Sleep(2 * time.Second)
		w.token(proc.Manager, p, asAda)
		w.healthy(ada)
	})
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
					t.Error("got what Finish had stored replaced by the renewal, want it kept")
				}
				if got := w.token(proc.Manager, p, asAda); got != string(g.AccessToken) {
					t.Error("got what Finish has brought replaced in memory by the renewal, want it kept")
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
						t.Error("got an older access token in place of that of the new authorization, want the new one")
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

// A store that is away for a minute does not cost the person their consent.
func TestFinishWaitsForTheStore(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.user()
		a := w.process()
		q := w.consent(w.begin(p, "ada"))
		back := time.Now().Add(95 * time.Second)
		w.srv.Fault(providertest.Token, providertest.Fault{Delay: 25 * time.Second})
		tries := 0
		a.store.on(func(c *storeCall) error {
			if time.Now().Before(back) && (c.op == "PutGrant" || c.op == "Grant") {
				tries++
				return errAway
			}
			return c.run()
		})
		g, err := a.Finish(t.Context(), "ada", q)
		if err != nil {
			t.Fatal(err)
		}
		if got := w.grant(ada); got.AccessToken != g.AccessToken || tries < 10 {
			t.Errorf("got another grant, or %d tries; want the one stored, after ten tries or more", tries)
		}
		w.asked("authorization_code", 1)

		// For good: it says so, and in time.
		q = w.consent(w.begin(p, "ada"))
		a.store.on(func(c *storeCall) error {
			if c.op == "PutGrant" {
				return errAway
			}
			return c.run()
		})
		start := time.Now()
		if _, err := a.Finish(t.Context(), "ada", q); !errors.Is(err, errAway) {
			t.Errorf("got error %v, want that of the Store", err)
		}
		if got := time.Since(start); got > 5*time.Minute {
			t.Errorf("got an error after %v, want it within minutes", got)
		}
	})
}

// A put that took effect although its answer was lost is not made twice.
func TestFinishWhoseStoreAnswerIsLost(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		a := w.process()
		q := w.consent(w.begin(w.user(), "ada"))
		lost := false
		a.store.on(func(c *storeCall) error {
			if err := c.run(); err != nil || c.op != "PutGrant" || lost {
				return err
			}
			lost = true
			return errAway
		})
		g, err := a.Finish(t.Context(), "ada", q)
		if err != nil {
			t.Fatal(err)
		}
		if got := a.store.count("PutGrant"); got != 1 || g.Version != w.grant(ada).Version {
			t.Errorf("got %d puts and version %d, want 1 and the stored version", got, g.Version)
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
					t.Fatal("got a thousand puts, want an end before")
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
