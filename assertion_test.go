package authprofile_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/authprofile/authprofile"
	"github.com/authprofile/authprofile/assertion"
	"github.com/authprofile/authprofile/providertest"
)

// An asserting is a Manager.Assertion that can be changed while it is used.
type asserting struct {
	mu     sync.Mutex
	f      func(ctx context.Context, p *authprofile.Profile, audience string) (string, error)
	called int
}

func (a *asserting) set(f func(ctx context.Context, p *authprofile.Profile, audience string) (string, error)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.f = f
}

func (a *asserting) assert(ctx context.Context, p *authprofile.Profile, audience string) (string, error) {
	a.mu.Lock()
	f := a.f
	a.called++
	a.mu.Unlock()
	return f(ctx, p, audience)
}

func (a *asserting) count() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.called
}

// asserted returns a user profile without a key, and makes the world's Manager
// one with an Assertion that signs by a key of P-256.
func (w *world) asserted() (p *authprofile.Profile, a *asserting, honest func(context.Context, *authprofile.Profile, string) (string, error)) {
	key := testKeys()["P-256"]
	honest = assertion.Signer(key, "")
	a = &asserting{f: honest}
	w.m = w.manager()
	w.m.Assertion = a.assert
	p = w.keyed("", key)
	p.AuthMethod = authprofile.AuthPrivateKeyJWT
	return p, a, honest
}

// The function is called once for each request, with the profile and the
// audience.
func TestAssertionOfTheManager(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.srv.SetPolicy(providertest.Policy{RequirePAR: true})
		p, a, honest := w.asserted()
		a.set(func(ctx context.Context, p *authprofile.Profile, audience string) (string, error) {
			if p.ClientID != "keyed" || audience != w.srv.TokenURL() {
				t.Errorf("got client %q and audience %q, want keyed and %s", p.ClientID, audience, w.srv.TokenURL())
			}
			return honest(ctx, p, audience)
		})
		w.authorize(w.save(p), "ada")
		expire()
		w.token(w.m, p, asAda)
		w.healthy(ada)
		if err := w.m.Revoke(t.Context(), ada); err != nil {
			t.Error(err)
		}
		w.token(w.m, w.save(asApp(p)))
		if sent := len(assertionsSent(t, w.srv)); sent != 6 || a.count() != sent {
			t.Errorf("got %d calls for %d requests, want 6 for 6", a.count(), sent)
		}
	})
}

// An assertion that cannot be had is no reason to lose a grant: nothing is sent,
// and the renewal is tried again.
func TestThreat151_AssertionThatCannotBeHad(t *testing.T) {
	const sentinel = "sentinel-of-an-assertion"
	cause := errors.New(sentinel)
	for name, test := range map[string]struct {
		f    func(ctx context.Context, p *authprofile.Profile, audience string) (string, error)
		sent bool // what is given reaches the provider, which refuses it
		is   error
	}{
		"fails":  {f: func(context.Context, *authprofile.Profile, string) (string, error) { return "", cause }, is: cause},
		"panics": {f: func(context.Context, *authprofile.Profile, string) (string, error) { panic(sentinel) }},
		"hangs": {f: func(ctx context.Context, _ *authprofile.Profile, _ string) (string, error) {
			<-ctx.Done()
			return "", fmt.Errorf("%s: %w", sentinel, ctx.Err())
		}},
		"hangs for ever": {f: func(context.Context, *authprofile.Profile, string) (string, error) {
			time.Sleep(10 * time.Minute)
			return sentinel, nil
		}},
		"is empty": {f: func(context.Context, *authprofile.Profile, string) (string, error) { return "", nil }},
		"lies":     {f: func(context.Context, *authprofile.Profile, string) (string, error) { return sentinel, nil }, sent: true},
		"is long": {f: func(context.Context, *authprofile.Profile, string) (string, error) {
			return strings.Repeat(sentinel, 1<<16), nil
		}, sent: true},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.srv.SetPolicy(providertest.Policy{RequirePAR: true})
				p, a, honest := w.asserted()
				w.authorize(w.save(p), "ada")
				unsaved := asApp(p)
				expire()

				a.set(test.f)
				err := w.refuses(w.m, p, test.is, asAda)
				_, appErr := w.m.Token(t.Context(), unsaved)
				_, beginErr := w.m.Begin(t.Context(), p, "bob")
				for _, err := range []error{err, appErr, beginErr} {
					if err == nil || strings.Contains(fmt.Sprintf("%v %+v %#v", err, err, err), sentinel) {
						t.Errorf("got error %v, want one without what the function says", err)
					}
				}
				if !test.sent {
					w.unsent("without an assertion", 2)
				}
				if errors.Is(err, authprofile.ErrReauthorize) {
					t.Errorf("got error %v, want none that asks for the user", err)
				}
				time.Sleep(15 * time.Minute)
				g := w.grant(ada)
				want := authprofile.StatusFailing
				if test.sent && g.Failure.Code == "invalid_client" {
					want = authprofile.StatusNeedsConfiguration
				}
				if g.Status != want || !w.srv.IsCurrent(string(g.RefreshToken)) || strings.Contains(fmt.Sprint(*g.Failure), sentinel) {
					t.Errorf("got status %q and failure %+v, want a failing grant that keeps its refresh token", g.Status, g.Failure)
				}

				a.set(honest)
				w.token(w.m, p, asAda)
				w.healthy(ada)
				if got := w.srv.Reuses(); got != 0 {
					t.Errorf("got %d refresh tokens used twice, want none", got)
				}
			})
		})
	}
}

// A slow function delays its own request alone.
func TestSlowAssertion(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p, a, honest := w.asserted()
		w.authorize(w.save(p), "ada")
		expire()
		a.set(func(ctx context.Context, p *authprofile.Profile, audience string) (string, error) {
			time.Sleep(20 * time.Second)
			return honest(ctx, p, audience)
		})
		w.token(w.m, p, asAda)
		w.healthy(ada)
		w.asked("refresh_token", 1)
	})
}

// Assertions are made at once for many profiles, not one after the other.
func TestAssertionsAreMadeAtOnce(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		const profiles = 16
		p, a, honest := w.asserted()
		var inside atomic.Int32
		all := make(chan struct{})
		a.set(func(ctx context.Context, p *authprofile.Profile, audience string) (string, error) {
			if inside.Add(1) == profiles {
				close(all)
			}
			select {
			case <-all:
				return honest(ctx, p, audience)
			case <-ctx.Done():
				return "", ctx.Err()
			}
		})
		var wg sync.WaitGroup
		for i := range profiles {
			one := asApp(p)
			one.ID = fmt.Sprint("app-", i)
			wg.Go(func() {
				if _, err := w.m.Token(t.Context(), one); err != nil {
					t.Errorf("got error %v, want a token while %d others wait for theirs", err, profiles-1)
				}
			})
		}
		wg.Wait()
	})
}

// One key may sign for many goroutines, and every assertion is one of its own.
func TestOneKeyInManyGoroutines(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		key := testKeys()["RSA"]
		p := w.keyed(keyText(t, key), key)
		var wg sync.WaitGroup
		for i := range 32 {
			one := asApp(p)
			one.ID = fmt.Sprint("app-", i)
			wg.Go(func() {
				if _, err := w.m.Token(t.Context(), one); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		jtis := make(map[any]bool)
		for _, a := range assertionsSent(t, w.srv) {
			jtis[a.claims["jti"]] = true
		}
		if len(jtis) != 32 {
			t.Errorf("got %d different jti, want 32", len(jtis))
		}
	})
}

// Save refuses a profile that could never authenticate: private_key_jwt takes a
// key or an Assertion.
func TestSaveWantsAKeyOrAnAssertion(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.keyed("", testKeys()["P-256"])
		p.AuthMethod = authprofile.AuthPrivateKeyJWT
		var e *authprofile.FieldError
		if err := w.m.Save(t.Context(), p); !errors.As(err, &e) || e.Field != "AuthMethod" {
			t.Errorf("got error %v, want a FieldError for AuthMethod", err)
		}
		if err := p.Validate(); err != nil {
			t.Errorf("got error %v of Validate, want none: a Manager may have an Assertion", err)
		}
		c := asApp(p)
		wantKeyProblem(t, "unsaved", w.refuses(w.m, c, authprofile.ErrConfiguration), "AuthMethod", "")
		w.unsent("without both", 0)
		for _, method := range []authprofile.AuthMethod{authprofile.AuthTLS, authprofile.AuthSelfSignedTLS} {
			p.AuthMethod = method
			if err := w.m.Save(t.Context(), p); !errors.As(err, &e) || e.Field != "AuthMethod" {
				t.Errorf("%s: got error %v, want a FieldError for AuthMethod", method, err)
			}
		}
	})
}

// A profile may change its way of authenticating as often as it likes, and keeps
// its grants.
func TestGrantOutlivesChangesOfTheClient(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		key, other := testKeys()["P-256"], testKeys()["RSA"]
		p := w.user()
		w.authorize(p, "ada")
		issued := w.grant(ada)
		client := providertest.Client{ID: providertest.ClientID, Secret: providertest.ClientSecret}
		client.Keys = append(client.Keys, key.Public(), other.Public())
		w.srv.AddClient(client)

		key256, rsa := keyText(t, key), keyText(t, other)
		for i, step := range []struct {
			secret, key authprofile.Secret
			method      string
		}{
			{"", key256, "private_key_jwt"},
			{"", rsa, "private_key_jwt"},
			{providertest.ClientSecret, "", "client_secret_basic"},
			{"", rsa, "private_key_jwt"},
		} {
			p.ClientSecret, p.ClientKey = step.secret, step.key
			w.save(p)
			expire()
			w.token(w.m, p, asAda)
			w.healthy(ada)
			list := w.srv.Requests()
			if got := list[len(list)-1]; got.AuthMethod != step.method || got.Grant != "refresh_token" {
				t.Errorf("step %d: got %s of %s, want a renewal with %s", i, got.AuthMethod, got.Grant, step.method)
			}
		}
		g := w.grant(ada)
		if g.Issuer != issued.Issuer || g.ClientID != issued.ClientID || g.Subject != issued.Subject || !g.Authorized.Equal(issued.Authorized) {
			t.Errorf("got a grant of %q, %q, %q; want it to be what it was: %q, %q, %q", g.Issuer, g.ClientID, g.Subject, issued.Issuer, issued.ClientID, issued.Subject)
		}
	})
}
