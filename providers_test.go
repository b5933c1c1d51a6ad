package authprofile_test

import (
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/oauth2"

	"github.com/authprofile/authprofile"
	"github.com/authprofile/authprofile/providertest"
)

func TestTemplatesRunTheirWholeFlow(t *testing.T) {
	const guid = "0a1b2c3d-0000-4000-8000-00000000abcd"
	type test struct {
		name     string
		option   providertest.Option
		template authprofile.Template
		scopes   []string
		issuer   string // of the grant
	}
	tests := []test{{
		"google", providertest.Google(), authprofile.Google,
		[]string{"openid", "https://www.googleapis.com/auth/drive.readonly"}, "https://accounts.google.com",
	}}
	for _, tenant := range []string{
		"common", "organizations", "consumers", guid, "contoso.com",
		"login.microsoftonline.us/contoso.com", "login.microsoftonline.us/common",
		"login.partner.microsoftonline.cn/contoso.cn", "login.partner.microsoftonline.cn/" + guid,
	} {
		tests = append(tests, test{
			"microsoft " + tenant, providertest.Microsoft(tenant), authprofile.Microsoft(tenant),
			[]string{"openid", "User.Read", "Mail.Read"}, "",
		})
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			inWorldOf(t, test.option, func(t *testing.T, w *world) {
				// Google gives a refresh token only at the first consent,
				// unless it is asked to ask again.
				for round := range 2 {
					p := w.save(registered(authprofile.Profile{
						Type: authprofile.TypeUser, Template: test.template, Scopes: test.scopes,
					}))
					if p.Endpoints != (authprofile.Endpoints{}) {
						t.Errorf("got addresses %v, want none to be stored", p.Endpoints)
					}
					g := w.authorize(p, "ada")
					if g.RefreshToken == "" || g.Subject != "user" {
						t.Fatalf("round %d: got %v, want a refresh token and a subject", round, g)
					}
					if test.issuer != "" && g.Issuer != test.issuer {
						t.Errorf("got issuer %q, want %q", g.Issuer, test.issuer)
					}
					if strings.Contains(g.Issuer, "{") {
						t.Errorf("got issuer %q, want the tenant's own", g.Issuer)
					}
					first := w.token(w.m, p, asAda)
					expire()
					if second := w.token(w.m, p, asAda); second == first {
						t.Error("got the same token after its end, want another")
					}
					key := authprofile.GrantKey{ProfileID: p.ID, User: "ada"}
					w.healthy(key)
					if got := w.grant(key).Scopes; len(got) < len(test.scopes) {
						t.Errorf("got scopes %q after a refresh, want them not to be narrowed", got)
					}
				}
				for _, r := range w.srv.Requests() {
					want := ""
					if r.Grant == "refresh_token" && test.template != authprofile.Google {
						want = "openid User.Read Mail.Read offline_access"
					}
					if r.Scope != want {
						t.Errorf("%s: got scope %q in the token request, want %q", r.Grant, r.Scope, want)
					}
					if r.AuthMethod != "client_secret_post" {
						t.Errorf("got client authentication %q, want client_secret_post", r.AuthMethod)
					}
				}
			})
		})
	}
}

// At "common", the ID token's issuer must fit its tid.
func TestTenantOfAnIDToken(t *testing.T) {
	const other = "11111111-2222-4333-8444-555555555555"
	for _, test := range []struct {
		name   string
		mutate func(header, claims map[string]any)
		ok     bool
	}{
		{"as it is", func(_, claims map[string]any) {}, true},
		{"another tenant throughout", func(_, claims map[string]any) {
			claims["tid"], claims["iss"] = other, "https://login.microsoftonline.com/"+other+"/v2.0"
		}, true},
		{"tid of another", func(_, claims map[string]any) { claims["tid"] = other }, false},
		{"no tid", func(_, claims map[string]any) { delete(claims, "tid") }, false},
		{"iss of another", func(_, claims map[string]any) {
			claims["iss"] = "https://login.microsoftonline.com/" + other + "/v2.0"
		}, false},
		{"braces", func(_, claims map[string]any) {
			claims["tid"], claims["iss"] = "{tenantid}", "https://login.microsoftonline.com/{tenantid}/v2.0"
		}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			inWorldOf(t, providertest.Microsoft("common"), func(t *testing.T, w *world) {
				p := w.save(registered(authprofile.Profile{
					Type: authprofile.TypeUser, Template: authprofile.Microsoft("common"), Scopes: []string{"openid"},
				}))
				w.srv.MutateIDToken(test.mutate)
				q := w.consent(w.begin(p, "ada"))
				if _, err := w.m.Finish(t.Context(), "ada", q); (err == nil) != test.ok {
					t.Errorf("got error %v, want success to be %v", err, test.ok)
				}
			})
		})
	}
}

func TestProviderByItsAddresses(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.save(registered(authprofile.Profile{
			Type:      authprofile.TypeUser,
			Endpoints: authprofile.Endpoints{AuthURL: w.srv.AuthURL(), TokenURL: w.srv.TokenURL()},
			Scopes:    []string{"openid", "offline_access"},
		}))
		w.srv.MutateIDToken(func(h, claims map[string]any) { claims["iss"] = "https://nobody.example.com" })
		g := w.authorize(p, "ada")
		if g.Subject == "" || g.Issuer != issuer {
			t.Errorf("got subject %q of %q; want what the token endpoint has said, at its own origin", g.Subject, g.Issuer)
		}
		first := w.token(w.m, p, asAda)
		expire()
		if second := w.token(w.m, p, asAda); second == first {
			t.Error("got the same token after its end, want another")
		}
		if got := w.srv.Hits(providertest.Discovery) + w.srv.Hits(providertest.JWKS); got != 0 {
			t.Errorf("got %d requests for documents, want none", got)
		}
	})
}

// A provider whose issuer is at another origin than its token endpoint, as
// Google's is, stays the same provider when a profile names it by its document
// and no longer by its addresses.
func TestAddressesBecomeADocument(t *testing.T) {
	change := func(t *testing.T, f func(w *world, p *authprofile.Profile)) {
		inWorldOf(t, providertest.Google(), func(t *testing.T, w *world) {
			p := w.save(registered(authprofile.Profile{
				ID: "crm", Type: authprofile.TypeUser, Scopes: []string{"openid"},
				Params:    url.Values{"access_type": {"offline"}, "prompt": {"consent"}},
				Endpoints: authprofile.Endpoints{AuthURL: w.srv.AuthURL(), TokenURL: w.srv.TokenURL()},
			}))
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

// TestThreat111_RenewalOfAnotherTenant: with a template for all tenants, a
// renewal must come from the tenant of the grant.
func TestThreat111_RenewalOfAnotherTenant(t *testing.T) {
	inWorldOf(t, providertest.Microsoft("common"), func(t *testing.T, w *world) {
		p := w.save(registered(authprofile.Profile{
			ID: "crm", Type: authprofile.TypeUser, Template: authprofile.Microsoft("common"), Scopes: []string{"openid"},
		}))
		w.authorize(p, "ada")
		expire()
		w.srv.MutateIDToken(func(_, claims map[string]any) {
			const other = "11111111-2222-4333-8444-555555555555"
			claims["tid"], claims["iss"] = other, "https://login.microsoftonline.com/"+other+"/v2.0"
		})
		w.refuses(w.m, p, nil, asAda)
	})
}

func TestProfileThatMovesToAnotherProvider(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.adasProfile()
		other := anotherProvider(t, "https://new.example.com")
		other.SetConsent(providertest.Consent{Subject: "somebody"})
		old := w.srv
		w.srv = other
		w.m = &authprofile.Manager{Store: w.store, RedirectURL: "https://app.example.com/callback", HTTPClient: other.Client()}
		p.Endpoints.DiscoveryURL = other.DiscoveryURL()
		w.save(p)
		if g := w.authorize(p, "ada"); g.Issuer != "https://new.example.com" || g.Subject != "somebody" {
			t.Errorf("got %v, want the grant of the new provider", g)
		}
		if old.Count("") != 1 {
			t.Errorf("got %d requests to the old provider, want the first only", old.Count(""))
		}
	})
}

// An edited profile takes effect without a restart.
func TestProfileChangesTakeEffect(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		user, app := w.adasProfile(), w.app()
		other := w.manager()
		userSource, appSource := other.Source(t.Context(), user, asAda), other.Source(t.Context(), app)
		userSource.Token()
		appSource.Token()

		edited := app.Clone()
		edited.Scopes, edited.ClientSecret = []string{"read", "write"}, "rotated"
		w.save(edited)
		edited = user.Clone()
		edited.ClientSecret = "rotated"
		w.save(edited)
		w.srv.SetClientSecret(providertest.ClientID, "rotated")
		expire()
		for _, src := range []oauth2.TokenSource{userSource, appSource} {
			if _, err := src.Token(); err != nil {
				t.Error(err)
			}
		}
		list := w.srv.Requests()
		if got := list[len(list)-1].Scope; got != "read write" {
			t.Errorf("got a request for %q, want the new scopes", got)
		}
	})
}

// A saved profile is read again at each renewal: a new secret and new
// addresses take effect in Sources that were made before.
func TestSavedChangesTakeEffectAtTheNextRenewal(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.app()
		src := w.manager().Source(t.Context(), p.Clone()) // another process
		if _, err := src.Token(); err != nil {
			t.Fatal(err)
		}
		w.srv.SetClientSecret(providertest.ClientID, "next")
		p.ClientSecret, p.Scopes = "next", []string{"write"}
		p.Params = url.Values{"audience": {"https://api.example.com"}, "resource": {"a", "b"}}
		w.save(p)
		expire()
		if _, err := src.Token(); err != nil {
			t.Errorf("got %v, want the new secret to be used", err)
		}
		forms := bodies(t, w.srv)
		last := forms[len(forms)-1]
		if last.Get("scope") != "write" || last.Get("audience") != "https://api.example.com" || !slices.Equal(last["resource"], []string{"a", "b"}) {
			t.Errorf("got form %v, want the new scopes and parameters", last)
		}
	})
}

// A refresh token is bound to its client. Another client cannot use it,
// and nothing is lost once the profile is corrected.
func TestOtherClient(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.adasProfile()
		right := p.ClientID
		p.ClientID = "mistyped"
		w.save(p)
		expire()
		for range 3 {
			w.refuses(w.m, p, authprofile.ErrReauthorize, asAda)
			w.refuses(w.manager(), p, authprofile.ErrReauthorize, asAda)
			time.Sleep(time.Minute)
		}
		w.asked("refresh_token", 0)
		if g := w.grant(ada); g.Failure.Reason != authprofile.ReasonOtherClient {
			t.Errorf("got %v, want the reason other client", g)
		}
		p.ClientID = right
		w.save(p)
		w.token(w.m, p, asAda)
		w.asked("refresh_token", 1)
		w.healthy(ada)
	})
}

// Nor is a grant shown to another provider: it would be said to be invalid, and
// every user would have to come back because an address was mistyped.
func TestOtherIssuer(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.adasProfile()
		right := p.Endpoints.DiscoveryURL
		staging := anotherProvider(t, "https://staging.example.com")
		proc := w.process()
		proc.net.base = web{"staging.example.com": staging.Transport(), "": w.srv.Transport()}
		p.Endpoints.DiscoveryURL = staging.DiscoveryURL()
		w.save(p)
		expire()
		for range 3 {
			w.refuses(proc.Manager, p, authprofile.ErrReauthorize, asAda)
			time.Sleep(time.Minute)
		}
		if got := staging.Count("refresh_token"); got != 0 {
			t.Errorf("got the refresh token shown to another provider %d times, want never", got)
		}
		if g := w.grant(ada); g.Failure == nil || g.Failure.Reason != authprofile.ReasonOtherClient {
			t.Errorf("got %v, want the reason other client", g)
		}
		p.Endpoints.DiscoveryURL = right
		w.save(p)
		w.token(proc.Manager, p, asAda)
		w.asked("refresh_token", 1)
		w.healthy(ada)
	})
}

// A grant remembers who has issued it, however its profile names the provider
// and whether an ID token came with it: another one never sees its refresh
// token, and once the profile is right again it works.
func TestProfileOfAnotherProviderForAMinute(t *testing.T) {
	type naming func(srv *providertest.Server) authprofile.Endpoints
	addresses := func(srv *providertest.Server) authprofile.Endpoints {
		return authprofile.Endpoints{AuthURL: srv.AuthURL(), TokenURL: srv.TokenURL()}
	}
	document := func(srv *providertest.Server) authprofile.Endpoints {
		return authprofile.Endpoints{DiscoveryURL: srv.DiscoveryURL()}
	}
	plain, openid := []string{"read", "offline_access"}, []string{"openid", "read", "offline_access"}
	for _, test := range []struct {
		name           string
		scopes         []string
		right, another naming
	}{
		{"addresses, other addresses", plain, addresses, addresses},
		{"addresses, another document", plain, addresses, document},
		{"document, other addresses", plain, document, addresses},
		{"document, another document", plain, document, document},
		{"addresses, other addresses, OpenID", openid, addresses, addresses},
		{"addresses, another document, OpenID", openid, addresses, document},
		{"document, other addresses, OpenID", openid, document, addresses},
		{"addresses of an issuer elsewhere, other addresses", openid, func(srv *providertest.Server) authprofile.Endpoints {
			srv.MutateIDToken(func(h, claims map[string]any) { claims["iss"] = "https://issuer.example.net" })
			return addresses(srv)
		}, addresses},
	} {
		t.Run(test.name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				staging := anotherProvider(t, "https://staging.example.com")
				proc := w.process()
				proc.RedirectURL = callbackAddress
				proc.net.base = web{"staging.example.com": staging.Transport(), "": w.srv.Transport()}
				p := w.user()
				p.Scopes, p.Endpoints = test.scopes, test.right(w.srv)
				w.save(p)
				w.authorize(p, "ada")
				expire()
				w.token(proc.Manager, p, asAda)

				p.Name = "another name" // which says nothing about the provider
				w.save(p)
				expire()
				w.token(proc.Manager, p, asAda)
				w.asked("refresh_token", 2)

				right := p.Endpoints
				p.Endpoints = test.another(staging)
				w.save(p)
				expire()
				for range 3 {
					w.refuses(proc.Manager, p, authprofile.ErrReauthorize, asAda)
					time.Sleep(time.Minute)
				}
				if got := staging.Hits(providertest.Token); got != 0 {
					t.Errorf("got the refresh token shown to another provider %d times, want never", got)
				}
				if g := w.grant(ada); g.Failure == nil || g.Failure.Reason != authprofile.ReasonOtherClient {
					t.Errorf("got %v, want the reason other client", g)
				}
				p.Endpoints = right
				w.save(p)
				w.token(proc.Manager, p, asAda)
				w.asked("refresh_token", 3)
				w.healthy(ada)
			})
		})
	}
}

// Of a grant that an application has put into the Store, or that does not say
// who has issued it, that is known once it was renewed.
func TestGrantOfAnUnknownIssuer(t *testing.T) {
	for _, named := range []string{"", "https://issuer.example.net"} { // the latter as an ID token has named it
		inWorld(t, func(t *testing.T, w *world) {
			p := w.user()
			p.Scopes = []string{"read", "offline_access"}
			p.Endpoints = authprofile.Endpoints{AuthURL: w.srv.AuthURL(), TokenURL: w.srv.TokenURL()}
			w.save(p)
			w.authorize(p, "ada")
			time.Sleep(2 * time.Minute)
			g := w.grant(ada)
			g.Issuer, g.Obtained = named, time.Now() // as a renewal would leave it
			w.put(g)
			expire()
			w.token(w.m, p, asAda)
			if got := w.grant(ada).Issuer; got != issuer {
				t.Errorf("named %q: got issuer %q, want %q", named, got, issuer)
			}
		})
	}
}

// Spellings of an issuer that mean the same one.
func TestSameIssuerInOtherWords(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.adasProfile()
		w.srv.Mutate(providertest.Token, func(a map[string]any) { delete(a, "id_token") })
		for i, name := range []string{issuer, issuer + "/", ""} {
			g := w.grant(ada)
			g.Issuer = name
			w.put(g)
			expire()
			w.token(w.m, p, asAda)
			w.asked("refresh_token", i+1)
		}
	})
}

func TestThreat041_SharedRegistration(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.m.RedirectURL = "https://app.example.com/cb/{profile}"
		first := w.user()
		second := first.Clone()
		second.ID, second.Version = "second", 0
		w.save(second)
		other := authprofile.GrantKey{ProfileID: "second", User: "ada"}

		// A code of one tenant's flow is worth nothing in another's.
		code := w.consent(w.begin(first, "ada")).Get("code")
		w.finishFails("ada", with(w.consent(w.begin(second, "ada")), "code", code), nil)
		w.noGrant(other)

		w.authorize(first, "ada")
		w.refuses(w.m, second, authprofile.ErrReauthorize, asAda)
		w.srv.SetConsent(providertest.Consent{Subject: "somebody else"})
		if g := w.authorize(second, "ada"); g.Subject != "somebody else" {
			t.Errorf("got subject %q, want each profile to have its own", g.Subject)
		}
		if w.token(w.m, first, asAda) == w.token(w.m, second, asAda) {
			t.Error("got one token for two profiles, want one for each")
		}
		if err := w.m.Revoke(t.Context(), other); err != nil {
			t.Fatal(err)
		}
		w.healthy(ada)
		w.token(w.m, first, asAda)
	})
}
