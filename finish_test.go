package authprofile_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/oauth2"

	"github.com/authprofile/authprofile"
	"github.com/authprofile/authprofile/providertest"
)

func TestThreat004_OnlyTheUserWhoBeganCanFinish(t *testing.T) {
	for _, user := range []string{"eve", "Ada", "ada ", "", "ada\x00"} {
		t.Run(fmt.Sprintf("%q", user), func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				q := w.consent(w.begin(w.user(), "ada"))
				w.finishFails(user, q, authprofile.ErrUserMismatch)
				w.noGrant(ada)
				w.noGrant(authprofile.GrantKey{ProfileID: "crm", User: user})
				// The flow is gone, for the right user too.
				w.finishFails("ada", q, authprofile.ErrNotFound)
				w.asked("authorization_code", 0)
			})
		})
	}
}

// TestThreat005_FinishNeedsTheBrowser: a flow that is bound to a browser
// cannot be finished where no browser is known.
func TestThreat005_FinishNeedsTheBrowser(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		f := w.begin(w.user(), "ada")
		f.Browser = "hash of a cookie"
		if err := w.store.PutFlow(t.Context(), f); err != nil {
			t.Fatal(err)
		}
		w.finishFails("ada", w.consent(f), authprofile.ErrUserMismatch)
		w.asked("authorization_code", 0)
	})
}

func TestThreat006_OneFinishOfMany(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		q := w.consent(w.begin(w.user(), "ada"))
		other := w.manager() // another process
		var mu sync.Mutex
		var wg sync.WaitGroup
		succeeded := 0
		for i := range 50 {
			m := []*authprofile.Manager{w.m, other}[i%2]
			wg.Go(func() {
				_, err := m.Finish(t.Context(), "ada", q)
				mu.Lock()
				defer mu.Unlock()
				switch {
				case err == nil:
					succeeded++
				case !errors.Is(err, authprofile.ErrNotFound):
					t.Errorf("got %v, want ErrNotFound", err)
				}
			})
		}
		wg.Wait()
		if succeeded != 1 {
			t.Errorf("got %d successes, want 1", succeeded)
		}
		w.asked("authorization_code", 1)
		w.healthy(ada)
	})
}

func TestThreat007_FlowsExpire(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.srv.SetPolicy(providertest.Policy{CodeLifetime: time.Hour})
		p := w.user()
		late, inTime := w.consent(w.begin(p, "ada")), w.consent(w.begin(p, "ada"))
		time.Sleep(10*time.Minute - time.Second)
		if _, err := w.m.Finish(t.Context(), "ada", inTime); err != nil {
			t.Errorf("got %v after 9m59s, want success", err)
		}
		time.Sleep(2 * time.Second)
		w.finishFails("ada", late, authprofile.ErrNotFound)
		w.asked("authorization_code", 1)

		// A Store that still has it does not help.
		f := w.begin(p, "ada")
		f.Expires = time.Now().Add(time.Hour)
		keeps := &lateStore{Store: w.store}
		w.m = &authprofile.Manager{Store: keeps, HTTPClient: w.srv.Client(), RedirectURL: "https://app.example.com/callback"}
		if err := keeps.PutFlow(t.Context(), f); err != nil {
			t.Fatal(err)
		}
		w.finishFails("ada", w.consent(f), authprofile.ErrNotFound)
		w.asked("authorization_code", 1)
	})
}

// A lateStore gives flows out that have ended.
type lateStore struct{ authprofile.Store }

func (s *lateStore) TakeFlow(ctx context.Context, id string) (*authprofile.Flow, error) {
	f, err := s.Store.TakeFlow(ctx, id)
	if err == nil {
		f.Expires = time.Now()
	}
	return f, err
}

// A callback that comes too late leaves no flow in the Store.
func TestThreat007_ExpiredFlowIsRemoved(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		f := w.begin(w.user(), "ada")
		time.Sleep(11 * time.Minute)
		w.finishFails("ada", url.Values{"state": {f.State}, "code": {"x"}}, authprofile.ErrNotFound)
		if got := fmt.Sprint(w.store); !strings.Contains(got, " 0 flows") {
			t.Errorf("got %s, want no flow", got)
		}
	})
}

// TestThreat042_CodeOfAnotherSession: a stolen code is worth nothing in a flow
// that did not ask for it.
func TestThreat042_CodeOfAnotherSession(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.user()
		stolen := w.consent(w.begin(p, "ada")).Get("code")
		q := w.consent(w.begin(p, "eve"))
		err := w.finishFails("eve", with(q, "code", stolen), nil)
		var re *oauth2.RetrieveError
		if !errors.As(err, &re) || re.ErrorCode != "invalid_grant" || re.Body != nil {
			t.Errorf("got %v, want invalid_grant", err)
		}
		w.noGrant(authprofile.GrantKey{ProfileID: "crm", User: "eve"})
		// A refused code is no state of the grant, nor the client's fault.
		for _, target := range []error{authprofile.ErrReauthorize, authprofile.ErrConfiguration} {
			if errors.Is(err, target) {
				t.Errorf("got %v, want no error that is %v", err, target)
			}
		}
	})
}

// TestThreat043_DowngradedChallenge: with the challenge taken out on the way,
// the verifier is sent all the same, and the nonce does not fit.
func TestThreat043_DowngradedChallenge(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.user()
		strip := func(f *authprofile.Flow) string {
			u := parsed(t, f.URL)
			q := u.Query()
			q.Del("code_challenge")
			q.Del("code_challenge_method")
			u.RawQuery = q.Encode()
			return u.String()
		}
		back, err := w.srv.Authorize(strip(w.begin(p, "ada")))
		if err != nil {
			t.Fatal(err)
		}
		q := w.consent(w.begin(p, "eve"))
		// The fake provider ignores the verifier of a code without a challenge,
		// or refuses it; neither ends in a grant.
		w.finishFails("eve", with(q, "code", back.Query().Get("code")), nil)
		w.noGrant(authprofile.GrantKey{ProfileID: "crm", User: "eve"})
		if got := bodies(t, w.srv)[0].Get("code_verifier"); len(got) < 43 {
			t.Errorf("got verifier %q in the token request, want one", got)
		}
		// The second line by itself: the provider lets everything pass.
		f := w.begin(p, "eve")
		w.srv.MutateIDToken(func(_, claims map[string]any) { claims["nonce"] = "of another flow" })
		w.finishFails("eve", w.consent(f), nil)
		w.noGrant(authprofile.GrantKey{ProfileID: "crm", User: "eve"})
	})
}

// TestThreat047_CodesAreSentOnce, whatever becomes of the answer.
func TestThreat047_CodesAreSentOnce(t *testing.T) {
	for name, fault := range map[string]providertest.Fault{
		"lost request": {Times: -1, Drop: true},
		"lost answer":  {Times: -1, Committed: true, Drop: true},
		"cut answer":   {Times: -1, Committed: true, CutAfter: 10},
		"no answer":    {Times: -1, Hang: true},
		"503":          {Times: -1, Status: 503, Header: http.Header{"Retry-After": {"1"}}},
		"429":          {Times: -1, Status: 429},
		"307":          {Times: -1, Status: 307, Header: http.Header{"Location": {issuer + "/token"}}},
		"401":          {Times: -1, Status: 401, Body: `{"error":"invalid_client"}`},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				q := w.consent(w.begin(w.user(), "ada"))
				w.srv.Fault(providertest.Token, fault)
				err := w.finishFails("ada", q, nil)
				w.srv.ClearFaults(providertest.Token)
				w.srv.Release()
				time.Sleep(10 * time.Minute)
				w.asked("authorization_code", 1)
				// Nor is another way to authenticate tried.
				if got := errors.Is(err, authprofile.ErrConfiguration); got != (name == "401" || name == "307") {
					t.Errorf("got %v, ErrConfiguration: %t; want that for 401 and 307 alone", err, got)
				}
				// Nothing by halves, and the person can begin again.
				w.noGrant(ada)
				w.authorize(w.user2(), "ada")
				w.healthy(ada)
			})
		})
	}
}

// TestThreat107_WithoutKeys: a provider that does not say where its keys are is
// believed by its TLS certificate. All else that an ID token says is checked.
func TestThreat107_WithoutKeys(t *testing.T) {
	for name, endpoints := range map[string]func(w *world) authprofile.Endpoints{
		"addresses": func(w *world) authprofile.Endpoints {
			return authprofile.Endpoints{AuthURL: w.srv.AuthURL(), TokenURL: w.srv.TokenURL()}
		},
		"document without jwks_uri": func(w *world) authprofile.Endpoints {
			w.srv.Mutate(providertest.Discovery, func(a map[string]any) { delete(a, "jwks_uri") })
			return authprofile.Endpoints{DiscoveryURL: w.srv.DiscoveryURL()}
		},
	} {
		for problem, change := range map[string]func(c map[string]any){
			"nonce":   func(c map[string]any) { c["nonce"] = "of another flow" },
			"aud":     func(c map[string]any) { c["aud"] = "another client" },
			"exp":     func(c map[string]any) { c["exp"] = 1 },
			"iss":     func(c map[string]any) { delete(c, "iss") },
			"sub":     func(c map[string]any) { delete(c, "sub") },
			"at_hash": func(c map[string]any) { c["at_hash"] = "x" },
		} {
			t.Run(name+", "+problem, func(t *testing.T) {
				inWorld(t, func(t *testing.T, w *world) {
					p := w.user()
					p.Endpoints = endpoints(w)
					w.save(p)
					w.srv.MutateIDToken(func(_, c map[string]any) { change(c) })
					w.finishFails("ada", w.consent(w.begin(p, "ada")), nil)
					w.noGrant(ada)
				})
			})
		}
		t.Run(name+", no ID token", func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				p := w.user()
				p.Endpoints = endpoints(w)
				w.save(p)
				w.srv.Mutate(providertest.Token, func(a map[string]any) { delete(a, "id_token") })
				w.finishFails("ada", w.consent(w.begin(p, "ada")), nil)
			})
		})
		t.Run(name+", another account", func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				p := w.user()
				p.Endpoints = endpoints(w)
				w.save(p)
				before := w.authorize(p, "ada")
				w.srv.SetConsent(providertest.Consent{Subject: "somebody else"})
				w.finishFails("ada", w.consent(w.begin(p, "ada")), authprofile.ErrUserMismatch)
				if g := w.grant(ada); g.RefreshToken != before.RefreshToken {
					t.Errorf("got %v, want the grant as it was", g)
				}
				// Nor at a renewal.
				expire()
				w.srv.MutateIDToken(func(_, c map[string]any) { c["sub"] = "mallory" })
				w.refuses(w.m, p, nil, asAda)
			})
		})
	}
}

// TestThreat109_HashOfTheCode is about c_hash, which says what code an ID
// token came for.
func TestThreat109_HashOfTheCode(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		q := w.consent(w.begin(w.user(), "ada"))
		sum := sha256.Sum256([]byte("another code"))
		w.srv.MutateIDToken(func(_, claims map[string]any) {
			claims["c_hash"] = base64.RawURLEncoding.EncodeToString(sum[:16])
		})
		w.finishFails("ada", q, nil)
		w.noGrant(ada)

		q = w.consent(w.begin(w.user2(), "ada"))
		sum = sha256.Sum256([]byte(q.Get("code")))
		if _, err := w.m.Finish(t.Context(), "ada", q); err != nil {
			t.Error(err)
		}
	})
}

func TestThreat110_MaxAge(t *testing.T) {
	for _, test := range []struct {
		name   string
		age    time.Duration
		absent bool
		ok     bool
	}{
		{"just now", 0, false, true},
		{"long ago", time.Hour, false, false},
		{"not said", 0, true, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				p := w.user()
				p.Params = url.Values{"max_age": {"300"}}
				w.save(p)
				f := w.begin(p, "ada")
				if got := parsed(t, f.URL).Query().Get("max_age"); got != "300" {
					t.Errorf("got max_age %q in the request, want 300", got)
				}
				w.srv.MutateIDToken(func(_, claims map[string]any) {
					claims["auth_time"] = time.Now().Add(-test.age).Unix()
					if test.absent {
						delete(claims, "auth_time")
					}
				})
				if _, err := w.m.Finish(t.Context(), "ada", w.consent(f)); (err == nil) != test.ok {
					t.Errorf("got error %v, want success to be %v", err, test.ok)
				}
			})
		})
	}
}

func TestGrantOfAnAuthorization(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.user()
		w.srv.SetConsent(providertest.Consent{Scopes: []string{"openid", "read"}})
		w.srv.Mutate(providertest.Token, func(answer map[string]any) {
			answer["instance_url"] = "https://eu.example.com"
			answer["expires_in"] = "1800"
		})
		g := w.authorize(p, "ada")
		if want := []string{"openid", "read"}; !slices.Equal(g.Scopes, want) {
			t.Errorf("got scopes %q, want those that were granted: %q", g.Scopes, want)
		}
		if got := time.Until(g.Expiry); got != 30*time.Minute {
			t.Errorf("got a token for %v, want 30m", got)
		}
		tok, err := w.m.Token(t.Context(), p, asAda)
		if err != nil {
			t.Fatal(err)
		}
		if got := tok.Extra("instance_url"); got != "https://eu.example.com" {
			t.Errorf("got extra %v, want what the provider said", got)
		}
		if tok.RefreshToken != "" {
			t.Error("got a refresh token among what callers get, want none")
		}
		got, err := w.m.Grant(t.Context(), ada)
		if err != nil || got.AccessToken != g.AccessToken {
			t.Errorf("got %v, %v; want what is stored", got, err)
		}
		if _, err := w.m.Grant(t.Context(), authprofile.GrantKey{ProfileID: "crm", User: "Ada"}); !errors.Is(err, authprofile.ErrNotFound) {
			t.Errorf("got %v, want ErrNotFound", err)
		}
	})
}

func TestFinishNeedsAnIDToken(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.user()
		w.srv.Mutate(providertest.Token, func(answer map[string]any) { delete(answer, "id_token") })
		w.finishFails("ada", w.consent(w.begin(p, "ada")), nil)
		w.noGrant(ada)
		w.srv.Mutate(providertest.Token, nil)

		// Keys that cannot be had are found out before the code is spent.
		q := w.consent(w.begin(p, "ada"))
		w.srv.Fault(providertest.JWKS, providertest.Fault{Times: -1, Status: 500})
		spent := w.srv.Count("authorization_code")
		a := &authprofile.Manager{Store: w.store, HTTPClient: w.srv.Client()}
		defer a.Shutdown(context.Background())
		if _, err := a.Finish(t.Context(), "ada", q); err == nil {
			t.Error("got no error without the provider's keys, want one")
		}
		w.asked("authorization_code", spent)
	})
}

func TestFinishAfterTheProfileHasChanged(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.user()
		q := w.consent(w.begin(p, "ada"))
		p.Scopes = append(p.Scopes, "write")
		w.save(p)
		w.finishFails("ada", q, authprofile.ErrConflict)
		w.asked("authorization_code", 0)

		q = w.consent(w.begin(p, "ada"))
		if err := w.m.Delete(t.Context(), p.ID); err != nil {
			t.Fatal(err)
		}
		w.finishFails("ada", q, authprofile.ErrNotFound)
		w.asked("authorization_code", 0)
	})
}

// TestThreat127_DeletedWhileItIsAuthorized: a grant of a deleted profile is not
// stored.
func TestThreat127_DeletedWhileItIsAuthorized(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		var issued []string
		w.srv.Mutate(providertest.Token, func(a map[string]any) { issued = append(issued, a["refresh_token"].(string)) })
		p := w.user()
		q := w.consent(w.begin(p, "ada"))
		w.srv.Fault(providertest.Token, providertest.Fault{Hang: true})
		done := make(chan error)
		go func() {
			_, err := w.m.Finish(t.Context(), "ada", q)
			done <- err
		}()
		if err := w.srv.AwaitHang(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		if err := w.m.Delete(t.Context(), p.ID); err != nil {
			t.Fatal(err)
		}
		w.srv.Release()
		if err := <-done; !errors.Is(err, authprofile.ErrNotFound) {
			t.Errorf("got error %v, want ErrNotFound", err)
		}
		w.noGrant(ada)
		if len(issued) != 1 || w.srv.IsLive(issued[0]) {
			t.Error("got a refresh token that lives on at the provider, want the only one issued and it revoked")
		}
	})
}

func TestFinishGoesOnWithoutItsCaller(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.user()
		q := w.consent(w.begin(p, "ada"))
		w.srv.Fault(providertest.Token, providertest.Fault{Hang: true})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() {
			_, err := w.m.Finish(ctx, "ada", q)
			done <- err
		}()
		if err := w.srv.AwaitHang(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("got error %v, want that of the context", err)
		}
		w.noGrant(ada)
		w.srv.Release()
		// Shutdown waits for what is paid for.
		if err := w.m.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.healthy(ada)
		w.asked("authorization_code", 1)
		w.token(w.manager(), p, asAda)
	})
}

// A process dies after it has taken the flow. The person can begin again, and
// what was there before is as it was.
func TestThreat134_CrashBeforeTheGrantIsStored(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.user()
		proc := w.process()
		crash := func(user string) url.Values {
			q := w.consent(w.begin(p, user))
			proc.store.failPuts(func(*authprofile.Grant) bool { return true })
			if g, err := proc.Finish(t.Context(), user, q); err == nil {
				t.Fatalf("got %v, want no grant that is not stored", g)
			}
			return q
		}
		q := crash("ada")
		w.noGrant(ada)
		w.finishFails("ada", q, authprofile.ErrNotFound)
		w.refuses(w.m, p, authprofile.ErrReauthorize, asAda)
		w.authorize(p, "ada")
		w.healthy(ada)

		before := w.grant(ada)
		crash("ada")
		if g := w.grant(ada); g.RefreshToken != before.RefreshToken || g.Version != before.Version {
			t.Errorf("got %v, want the grant as it was before: %v", g, before)
		}
		w.healthy(ada)
	})
}
