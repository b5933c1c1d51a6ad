package authprofile_test

import (
	"errors"
	"net/url"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authprofile/authprofile"
	"github.com/authprofile/authprofile/providertest"
)

// templateWorld is a world whose provider is one of a template.
func templateWorld(t *testing.T, option providertest.Option, template authprofile.Template) (*world, *authprofile.Profile) {
	w := &world{T: t, srv: providertest.NewServer(t, option), store: new(authprofile.MemStore)}
	w.m = w.manager()
	return w, w.save(registered(authprofile.Profile{ID: "crm", Type: authprofile.TypeUser, Template: template, Scopes: []string{"openid"}}))
}

// When a grant ends is what the provider announces, or else what is known of
// the template's provider, or else not known.
func TestEnds(t *testing.T) {
	const day = 24 * time.Hour
	t.Run("announced", func(t *testing.T) {
		inWorld(t, func(t *testing.T, w *world) {
			w.srv.Mutate(providertest.Token, func(a map[string]any) { a["refresh_token_expires_in"] = 604800 })
			w.adasProfile()
			g := w.grant(ada)
			if want := g.Obtained.Add(7 * day); !g.Ends.Equal(want) || g.EndsBy != authprofile.EndsAnnounced {
				t.Errorf("got %v by %q, want %v by %q", g.Ends, g.EndsBy, want, authprofile.EndsAnnounced)
			}
		})
	})
	t.Run("not known", func(t *testing.T) {
		inWorld(t, func(t *testing.T, w *world) {
			w.adasProfile()
			if g := w.grant(ada); !g.Ends.IsZero() || g.EndsBy != "" {
				t.Errorf("got %v by %q, want that it is not known", g.Ends, g.EndsBy)
			}
		})
	})
	t.Run("without a refresh token", func(t *testing.T) {
		inWorld(t, func(t *testing.T, w *world) {
			p := w.user()
			w.srv.Mutate(providertest.Token, func(a map[string]any) { delete(a, "refresh_token") })
			w.authorize(p, "ada")
			if g := w.grant(ada); !g.Ends.Equal(g.Expiry) || g.EndsBy != authprofile.EndsAnnounced {
				t.Errorf("got %v by %q, want %v, the end of the access token", g.Ends, g.EndsBy, g.Expiry)
			}
		})
	})
	t.Run("of an app profile", func(t *testing.T) {
		inWorld(t, func(t *testing.T, w *world) {
			w.token(w.m, w.app())
			if g := w.grant(app); !g.Ends.IsZero() || !g.Authorized.IsZero() {
				t.Errorf("got end %v, consent %v; want neither", g.Ends, g.Authorized)
			}
		})
	})
	for _, test := range []struct {
		name     string
		option   providertest.Option
		template authprofile.Template
		idle     time.Duration
	}{
		{"google", providertest.Google(), authprofile.Google, 183 * day},
		{"microsoft", providertest.Microsoft("common"), authprofile.Microsoft("common"), 90 * day},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, p := templateWorld(t, test.option, test.template)
				w.authorize(p, "ada")
				first := w.grant(ada)
				if want := first.Obtained.Add(test.idle).Truncate(day); !first.Ends.Equal(want) || first.EndsBy != authprofile.EndsIdle {
					t.Errorf("got %v by %q, want %v by %q", first.Ends, first.EndsBy, want, authprofile.EndsIdle)
				}
				// It moves with its use, by whole days.
				moved := 0
				for last := first.Ends; time.Since(first.Obtained) < 3*day; last = w.grant(ada).Ends {
					expire()
					w.token(w.m, p, asAda)
					if ends := w.grant(ada).Ends; !ends.Equal(last) {
						moved++
						if !ends.Equal(last.Add(day)) {
							t.Fatalf("got %v after %v, want a day later", ends, last)
						}
					}
				}
				if moved < 2 || moved > 4 {
					t.Errorf("got %d changes of the end in three days, want about three", moved)
				}
			})
		})
	}
}

// A grant that lives on past its known end is used: only the provider decides
// when it has ended.
func TestGrantOutlivesItsEnd(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.srv.Mutate(providertest.Token, func(a map[string]any) { a["refresh_token_expires_in"] = 60 })
		p := w.adasProfile()
		expire()
		w.token(w.m, p, asAda)
		w.healthy(ada)
	})
}

// Authorized is the time of the latest consent, and not of a renewal.
func TestAuthorized(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		consent := time.Now()
		p := w.adasProfile()
		expire()
		w.token(w.m, p, asAda)
		if got := w.grant(ada).Authorized; !got.Equal(consent.Truncate(time.Millisecond)) {
			t.Errorf("got %v, want %v, when the person consented", got, consent)
		}
		again := time.Now()
		w.authorize(p, "ada")
		if got := w.grant(ada).Authorized; !got.Equal(again.Truncate(time.Millisecond)) {
			t.Errorf("got %v after another authorization, want %v", got, again)
		}
	})
}

// Account is for people: what the ID token says of it in the order of use, cleaned.
func TestAccount(t *testing.T) {
	for _, test := range []struct {
		name   string
		claims map[string]any
		want   string
	}{
		{"email", map[string]any{"email": "ada@example.com", "preferred_username": "ada", "name": "Ada"}, "ada@example.com"},
		{"preferred_username", map[string]any{"preferred_username": "ada", "name": "Ada"}, "ada"},
		{"name", map[string]any{"name": "Ada Lovelace"}, "Ada Lovelace"},
		{"none", nil, ""},
		{"of another type", map[string]any{"email": true, "name": "Ada"}, "Ada"},
		{"with control characters", map[string]any{"email": "ada\n\x1b[31m@example.com"}, "ada??[31m@example.com"},
	} {
		t.Run(test.name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.srv.MutateIDToken(func(header, claims map[string]any) {
					for _, name := range []string{"email", "preferred_username", "name"} {
						delete(claims, name)
					}
					for name, value := range test.claims {
						claims[name] = value
					}
				})
				p := w.adasProfile()
				expire()
				w.token(w.m, p, asAda)
				if got := w.grant(ada).Account; got != test.want {
					t.Errorf("got %q, want %q", got, test.want)
				}
			})
		})
	}
}

// The parameters that a profile adds go to the token endpoint at the exchange
// and at each renewal, and can replace none of ours.
func TestTokenParams(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.user()
		p.TokenParams = map[string][]string{"resource": {"https://api.example.com", "https://files.example.com"}, "audience": {"crm"}}
		w.save(p)
		w.authorize(p, "ada")
		expire()
		w.token(w.m, p, asAda)
		sent := 0
		for _, c := range w.srv.Captured() {
			if c.Endpoint != providertest.Token {
				continue
			}
			sent++
			form, err := url.ParseQuery(c.Body)
			if err != nil {
				t.Fatal(err)
			}
			if got := form["resource"]; len(got) != 2 || form.Get("audience") != "crm" {
				t.Errorf("%s: got resource %q, audience %q; want both of the profile", form.Get("grant_type"), got, form["audience"])
			}
		}
		if sent != 2 {
			t.Errorf("got %d token requests, want the exchange and a renewal", sent)
		}
		for _, name := range []string{"grant_type", "refresh_token", "client_secret", "code", "scope", ""} {
			p.TokenParams = map[string][]string{name: {"x"}}
			if !hasProblem(p.Validate(), "TokenParams") {
				t.Errorf("%q: got no problem, want one", name)
			}
		}
		a := w.app()
		a.TokenParams = map[string][]string{"audience": {"x"}}
		if !hasProblem(a.Validate(), "TokenParams") {
			t.Error("an app profile: got no problem, want one")
		}
	})
}

// hasProblem reports whether Validate has found something wrong with a field.
func hasProblem(err error, field string) bool {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return false
	}
	for _, err := range joined.Unwrap() {
		if fe, ok := errors.AsType[*authprofile.FieldError](err); ok && fe.Field == field {
			return true
		}
	}
	return false
}
