package authprofile_test

import (
	"net/url"
	"testing"

	"github.com/authprofile/authprofile"
	"github.com/authprofile/authprofile/providertest"
)

// A provider whose issuer is at another origin than its token endpoint, as
// Google's is, stays the same provider when a profile names it by its document
// and no longer by its addresses.
func TestAddressesBecomeADocument(t *testing.T) {
	change := func(t *testing.T, f func(w *world, p *authprofile.Profile)) {
		inWorldOf(t, providertest.Google(), func(t *testing.T, w *world) {
			p := w.save(&authprofile.Profile{
				ID: "crm", Type: authprofile.TypeUser, Scopes: []string{"openid"},
				ClientID: providertest.ClientID, ClientSecret: providertest.ClientSecret,
				Params:    url.Values{"access_type": {"offline"}, "prompt": {"consent"}},
				Endpoints: authprofile.Endpoints{AuthURL: w.srv.AuthURL(), TokenURL: w.srv.TokenURL()},
			})
			w.authorize(p, "ada")
			p.Endpoints = authprofile.Endpoints{DiscoveryURL: w.srv.DiscoveryURL()}
			w.save(p)
			f(w, p)
		})
	}
	t.Run("renewal", func(t *testing.T) {
		change(t, func(w *world, p *authprofile.Profile) {
			for range 2 {
				expire()
				w.token(w.m, p, asAda)
				w.healthy(ada)
			}
			if g := w.grant(ada); g.Issuer != w.srv.Issuer() {
				t.Errorf("got a grant of %q, want %q", g.Issuer, w.srv.Issuer())
			}
		})
	})
	t.Run("another account", func(t *testing.T) {
		change(t, func(w *world, p *authprofile.Profile) {
			w.srv.SetConsent(providertest.Consent{Subject: "somebody else"})
			w.finishFails("ada", w.consent(w.begin(p, "ada")), authprofile.ErrUserMismatch)
		})
	})
	t.Run("same account", func(t *testing.T) {
		change(t, func(w *world, p *authprofile.Profile) {
			before := w.grant(ada)
			w.srv.Mutate(providertest.Token, func(a map[string]any) { delete(a, "refresh_token") })
			if g := w.authorize(p, "ada"); g.RefreshToken != before.RefreshToken || g.Issuer != w.srv.Issuer() {
				t.Errorf("got %v of %q, want the refresh token that was there, and %q", g, g.Issuer, w.srv.Issuer())
			}
		})
	})
}
