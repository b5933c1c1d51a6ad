package authprofile_test

import (
	"errors"
	"maps"
	"net/http"
	"testing"

	"github.com/authprofile/authprofile"
	"github.com/authprofile/authprofile/providertest"
)

// A bound token that is in memory is sent while the Store is away: over the
// certificate, if the caller's profile has it, and otherwise as any other token.
func TestBoundTokenWithoutTheStore(t *testing.T) {
	w, n := overTLS(t, providertest.WithTLS())
	api := newSeer(t, nil)
	n.roots.AddCert(api.Certificate())
	keyed := w.certified(authprofile.AuthSelfSignedTLS)
	certificate := certificateIn(t, keyed.ClientKey)
	w.srv.Mutate(providertest.Token, func(answer map[string]any) { answer["access_token"] = boundTo(certificate) })
	secret := w.unsavedApp()
	secret.ID = "secret"
	for path, p := range map[string]*authprofile.Profile{"/key": w.save(asApp(keyed)), "/secret": w.save(secret)} {
		store := &faultyStore{Store: w.store}
		m := w.over(n)
		m.Store = store
		w.token(m, p)
		store.goAway()
		client := m.Client(t.Context(), p)
		for range 2 {
			resp, err := client.Get(api.URL + path)
			if err != nil {
				t.Fatalf("%s: got error %v, want an answer", path, err)
			}
			if resp.Body.Close(); resp.StatusCode != http.StatusOK {
				t.Errorf("%s: got status %d, want 200", path, resp.StatusCode)
			}
		}
	}
	if got, want := api.seen(), map[string]int{"/key": 2, "/secret": -2}; !maps.Equal(got, want) {
		t.Errorf("got requests with a certificate (1) and without (-1) %v, want %v", got, want)
	}
}

// An alias that cannot be used costs what it is for, and no renewal.
func TestThreat065_AliasThatCannotBeUsed(t *testing.T) {
	for alias, begins := range map[string]bool{"revocation_endpoint": true, "pushed_authorization_request_endpoint": true, "": false} {
		t.Run(alias, func(t *testing.T) {
			w, n := overTLS(t, providertest.WithMTLSAliases())
			w.srv.SetPolicy(providertest.Policy{RequirePAR: alias == ""})
			w.srv.Mutate(providertest.Discovery, func(doc map[string]any) {
				if alias == "" {
					alias = "pushed_authorization_request_endpoint"
				}
				aliases := doc["mtls_endpoint_aliases"].(map[string]any)
				aliases[alias] = "javascript:0"
			})
			p := w.save(w.certified(authprofile.AuthSelfSignedTLS))
			if f, err := w.m.Begin(t.Context(), p, "ada"); (err == nil) != begins || !begins && !errors.Is(err, authprofile.ErrConfiguration) {
				t.Errorf("got flow %v and error %v, want success: %v", f, err, begins)
			}
			w.token(w.m, w.save(asApp(p)))
			if !begins {
				return
			}
			w.authorize(p, "ada")
			w.ended(ada)
			w.m = w.over(n)
			w.token(w.m, p, asAda)
			err := w.m.Revoke(t.Context(), ada)
			if (err != nil) != (alias == "revocation_endpoint") {
				t.Errorf("got error %v from Revoke, want one only without an address for that", err)
			}
		})
	}
}
