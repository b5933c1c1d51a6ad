package authprofile_test

import (
	"errors"
	"net/http"
	"net/url"
	"testing"
	"time"

	"golang.org/x/oauth2"

	"github.com/authprofile/authprofile"
	"github.com/authprofile/authprofile/providertest"
)

// atProvider runs a test at a provider that a fake plays, with a profile of its
// template.
func atProvider(t *testing.T, name string, scopes []string, f func(t *testing.T, w *world, p *authprofile.Profile), switches ...string) {
	t.Helper()
	inWorldOf(t, providertest.Provider(name, switches...), func(t *testing.T, w *world) {
		f(t, w, w.save(registered(authprofile.Profile{
			Type: authprofile.TypeUser, Template: authprofile.Template(name), Scopes: scopes,
		})))
	})
}

// Shopify signs its callback, which must be of the shop that was asked.
func TestCallbackOfShopify(t *testing.T) {
	for name, forge := range map[string]func(url.Values){
		"as it is":       func(url.Values) {},
		"another code":   func(q url.Values) { q.Set("code", "another") },
		"another shop":   func(q url.Values) { q.Set("shop", "evil.myshopify.com") },
		"something more": func(q url.Values) { q.Set("more", "1") },
		"not signed":     func(q url.Values) { q.Del("hmac") },
		"signed twice":   func(q url.Values) { q.Add("hmac", q.Get("hmac")) },
	} {
		t.Run(name, func(t *testing.T) {
			atProvider(t, "shopify/acme", []string{"read_products"}, func(t *testing.T, w *world, p *authprofile.Profile) {
				q := w.consent(w.begin(p, "ada"))
				forge(q)
				_, err := w.m.Finish(t.Context(), "ada", q)
				if name == "as it is" {
					if err != nil {
						t.Error(err)
					}
					return
				}
				if err == nil {
					t.Error("got no error, want one")
				}
				if got := w.srv.Count(""); got != 0 {
					t.Errorf("got %d token requests, want none", got)
				}
			})
		})
	}
	atProvider(t, "shopify/acme", []string{"read_products"}, func(t *testing.T, w *world, p *authprofile.Profile) {
		p.ClientSecret = "another"
		w.save(p)
		if _, err := w.m.Finish(t.Context(), "ada", w.consent(w.begin(p, "ada"))); err == nil || w.srv.Count("") != 0 {
			t.Errorf("signed with another secret: got %v, want an error and no token request", err)
		}
	})
}

// LinkedIn has names of its own for a person who does not consent.
func TestDenialAtLinkedIn(t *testing.T) {
	atProvider(t, "linkedin", []string{"openid"}, func(t *testing.T, w *world, p *authprofile.Profile) {
		w.srv.SetConsent(providertest.Consent{Error: "access_denied"})
		q := w.consent(w.begin(p, "ada"))
		if q.Get("error") == "access_denied" {
			t.Fatalf("got %v, want a name of LinkedIn's own", q)
		}
		_, err := w.m.Finish(t.Context(), "ada", q)
		var re *oauth2.RetrieveError
		if !errors.As(err, &re) || re.ErrorCode != "access_denied" {
			t.Errorf("got %v, want access_denied", err)
		}
	})
}

// What Microsoft says in numbers comes before the code that it gives with them.
func TestErrorsOfMicrosoft(t *testing.T) {
	atProvider(t, "microsoft/contoso.com", []string{"User.Read"}, func(t *testing.T, w *world, p *authprofile.Profile) {
		w.authorize(p, "ada")
		key := authprofile.GrantKey{ProfileID: p.ID, User: "ada"}
		for number, want := range map[string]authprofile.Status{
			"50196":   authprofile.StatusFailing, // a loop of requests is stopped for a while
			"7000222": authprofile.StatusNeedsConfiguration,
		} {
			time.Sleep(3 * time.Hour)
			w.srv.Fault(providertest.Token, providertest.Fault{Status: 400, Header: http.Header{"Content-Type": {"application/json"}}, Body: `{"error": "invalid_grant", "error_codes": [` + number + `]}`})
			w.refuses(w.m, p, nil, asAda)
			if g := w.grant(key); g.Status != want {
				t.Errorf("%s: got %s, %+v, want %s", number, g.Status, g.Failure, want)
			}
			w.srv.ClearFaults(providertest.Token)
			time.Sleep(time.Hour)
			w.token(w.m, p, asAda)
			w.healthy(key)
		}
		w.srv.Fault(providertest.Token, providertest.Fault{Status: 400, Header: http.Header{"Content-Type": {"application/json"}}, Body: `{"error": "invalid_grant", "error_codes": [70008]}`})
		time.Sleep(3 * time.Hour)
		w.refuses(w.m, p, authprofile.ErrReauthorize, asAda)
	})
}

// A secret that has ended is the operator's to replace.
func TestSecretThatHasEndedAtMicrosoft(t *testing.T) {
	atProvider(t, "microsoft/contoso.com", []string{"User.Read"}, func(t *testing.T, w *world, p *authprofile.Profile) {
		w.authorize(p, "ada")
		time.Sleep(25 * time.Hour)
		w.refuses(w.m, p, authprofile.ErrConfiguration, asAda)
	}, "expiring")
}

// The person may have to do more before a refresh token is good again.
func TestClaimsOfMicrosoft(t *testing.T) {
	atProvider(t, "microsoft/contoso.com", []string{"User.Read"}, func(t *testing.T, w *world, p *authprofile.Profile) {
		w.authorize(p, "ada")
		time.Sleep(3 * time.Hour)
		w.refuses(w.m, p, authprofile.ErrReauthorize, asAda)
	}, "claims")
}
