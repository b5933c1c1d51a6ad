package authprofile_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authprofile/authprofile"
	"github.com/authprofile/authprofile/providertest"
)

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

// A Store panics at a token that came late: the program goes on, and the token
// is stored.
func TestStoreThatPanicsAtALateAnswer(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.srv.SetPolicy(providertest.Policy{Rotation: providertest.RotateGrace, Grace: time.Hour})
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
		proc.store.on(func(c *storeCall) error {
			if c.op == "PutGrant" {
				panic("S3CRET")
			}
			return c.run()
		})
		proc.net.heal()
		close(released)
		synctest.Wait()
		proc.store.heal()
		time.Sleep(time.Minute)
		w.healthy(ada)
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

// A provider's addresses were typed in, with the token endpoint at another
// origin than the issuer. Then the profile names its discovery document.
func TestTypedAddressesBecomeADocument(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		const tokens = "https://tokens.example.net"
		proc := w.process()
		proc.RedirectURL = callbackAddress
		proc.net.on(func(r *http.Request) (*http.Response, error) {
			if r.URL.Host == "tokens.example.net" {
				r = r.Clone(r.Context())
				r.URL.Host, r.Host = "login.example.com", ""
			}
			return proc.net.base.RoundTrip(r)
		})
		w.srv.Mutate(providertest.Discovery, func(answer map[string]any) {
			answer["token_endpoint"] = strings.Replace(answer["token_endpoint"].(string), issuer, tokens, 1)
		})
		p := w.user()
		document := p.Endpoints
		p.Endpoints = authprofile.Endpoints{AuthURL: w.srv.AuthURL(), TokenURL: strings.Replace(w.srv.TokenURL(), issuer, tokens, 1)}
		w.save(p)
		f, err := proc.Begin(t.Context(), p, "ada")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := proc.Finish(t.Context(), "ada", w.consent(f)); err != nil {
			t.Fatal(err)
		}
		expire()
		w.token(proc.Manager, p, asAda)
		p.Endpoints = document
		w.save(p)
		for range 3 {
			expire()
			w.token(proc.Manager, p, asAda)
			w.healthy(ada)
		}
	})
}

// The clock of another process is ahead by an hour, and then a gateway refuses
// all grants: what that process renewed before says nothing.
func TestCompanyByAClockThatIsAhead(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.adasProfile()
		w.authorize(p, "bob")
		expire()
		w.token(w.m, p, authprofile.AsUser("bob"))
		g := w.grant(bob)
		g.Obtained, g.Expiry = g.Obtained.Add(time.Hour), g.Expiry.Add(time.Hour)
		w.put(g)
		proc := w.process()
		proc.refuse(403, "")
		for range 50 * 6 {
			w.refuses(proc.Manager, p, nil, asAda)
			time.Sleep(10 * time.Second)
		}
		if g := w.grant(ada); g.Status == needsPerson {
			t.Errorf("got %v, want no person to be asked for", g)
		}
	})
}

// The company of a grant that is refused goes away: its user is asked for after
// a week, as that of an only grant.
func TestRefusedGrantThatIsLeftAlone(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.adasProfile()
		w.authorize(p, "bob")
		proc := w.process()
		expire()
		proc.refuse(401, "", w.grant(ada).RefreshToken)
		w.refuses(proc.Manager, p, nil, asAda)
		time.Sleep(2 * time.Minute)
		w.token(proc.Manager, p, authprofile.AsUser("bob"))
		w.refuses(proc.Manager, p, nil, asAda)
		if err := proc.Revoke(t.Context(), bob); err != nil {
			t.Fatal(err)
		}
		for range 8 * 24 {
			w.refuses(proc.Manager, p, nil, asAda)
			time.Sleep(time.Hour)
		}
		if g := w.grant(ada); g.Status != needsPerson {
			t.Errorf("got %v after eight days, want one that needs its user", g)
		}
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

// A transport does not listen to its context: an application that has no Store
// is not kept from its provider for ever either.
func TestStuckTransportOfAnApplication(t *testing.T) {
	for _, method := range []string{http.MethodPost, http.MethodGet} {
		t.Run(method, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				p := w.unsavedApp()
				p.Endpoints = authprofile.Endpoints{DiscoveryURL: w.srv.DiscoveryURL()}
				proc := w.process()
				released := make(chan struct{})
				w.Cleanup(func() { close(released) })
				var stuck atomic.Int64
				proc.net.on(func(r *http.Request) (*http.Response, error) {
					if r.Method == method && stuck.Add(1) <= 2 {
						<-released
						return nil, errors.New("let go")
					}
					return proc.net.base.RoundTrip(r)
				})
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
				defer cancel()
				for {
					if _, err := proc.Token(ctx, p); err == nil {
						break
					}
					if ctx.Err() != nil {
						t.Fatal("got no token in ten minutes")
					}
					time.Sleep(time.Second)
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

// A profile's addresses become a document with an issuer at another origin:
// another account is still noticed.
func TestAnotherAccountAfterAddressesBecameADocument(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		const tokens = "https://tokens.example.net"
		proc := w.process()
		proc.RedirectURL = callbackAddress
		proc.net.on(func(r *http.Request) (*http.Response, error) {
			if r.URL.Host == "tokens.example.net" {
				r = r.Clone(r.Context())
				r.URL.Host, r.Host = "login.example.com", ""
			}
			return proc.net.base.RoundTrip(r)
		})
		w.srv.Mutate(providertest.Discovery, func(answer map[string]any) {
			answer["token_endpoint"] = strings.Replace(answer["token_endpoint"].(string), issuer, tokens, 1)
		})
		p := w.user()
		document := p.Endpoints
		p.Endpoints = authprofile.Endpoints{AuthURL: w.srv.AuthURL(), TokenURL: strings.Replace(w.srv.TokenURL(), issuer, tokens, 1)}
		w.save(p)
		finish := func() error {
			f, err := proc.Begin(t.Context(), p, "ada")
			if err != nil {
				t.Fatal(err)
			}
			_, err = proc.Finish(t.Context(), "ada", w.consent(f))
			return err
		}
		if err := finish(); err != nil {
			t.Fatal(err)
		}
		p.Endpoints = document
		w.save(p)
		time.Sleep(time.Second)
		w.srv.SetConsent(providertest.Consent{Subject: "another"})
		if err := finish(); err == nil {
			t.Error("got no error, though another account came back")
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
