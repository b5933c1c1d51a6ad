package authprofile_test

import (
	"errors"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/authprofile/authprofile"
)

type row = authprofile.Provider

func texts(pairs ...string) map[string]string {
	m := make(map[string]string)
	for i := 0; i < len(pairs); i += 2 {
		m[pairs[i]] = pairs[i+1]
	}
	return m
}

func TestTraitVariables(t *testing.T) {
	onScript(t, func(r *row) {
		r.Variables = []authprofile.ProviderVariable{
			{Name: "region", Title: "Region", Example: "eu", Values: texts("us", "", "eu", ".eu"), Default: "us"},
			{Name: "shop", Title: "Shop", Example: "acme", Pattern: "^[a-z]+$"},
			{Name: "server", Title: "Server", Example: "git.example.org", Host: true, Optional: true, Prefix: "at-"},
		}
		r.AuthURL = "https://{shop}.example.com/{server}/authorize"
		r.TokenURL = "https://api{region}.example.com/{shop}/token"
		r.AuthParams = texts("store", "{shop}")
	}, func(t *testing.T, s *scripted) {
		for template, want := range map[string][3]string{
			"example/acme":                    {"https://acme.example.com//authorize", "https://api.example.com/acme/token", "acme"},
			"example/eu/acme":                 {"https://acme.example.com//authorize", "https://api.eu.example.com/acme/token", "acme"},
			"example/eu/acme/git.example.org": {"https://acme.example.com/at-git.example.org/authorize", "https://api.eu.example.com/acme/token", "acme"},
		} {
			s.on(want[1], tokenAnswer)
			p := s.profile(func(p *authprofile.Profile) { p.ID, p.Template = "", authprofile.Template(template) })
			f, q := s.begin(p)
			if got, _, _ := strings.Cut(f.URL, "?"); got != want[0] || q.Get("store") != want[2] {
				t.Errorf("%s: got %s with store %q, want %s with %q", template, got, q.Get("store"), want[0], want[2])
			}
			before := len(s.requests(want[1]))
			s.authorize(p)
			s.asked(want[1], before+1)
		}
		for _, template := range []string{
			"example", "example/", "example/ACME", "example/xx/acme", "example/acme.evil", "example/eu/acme/localhost",
			"example/eu/acme/git.example.org:8443", "example/eu/acme/a@git.example.org", "example/eu/acme/git.example.org/more", "example/a%2fb", "example/..",
		} {
			p := &authprofile.Profile{Type: authprofile.TypeUser, Template: authprofile.Template(template), ClientID: "c", ClientSecret: "s"}
			var field *authprofile.FieldError
			if err := s.m.Save(t.Context(), p); !errors.As(err, &field) || field.Field != "Template" {
				t.Errorf("%s: got %v, want a FieldError for Template", template, err)
			}
		}
	})
}

// A renewal goes to another address, and tokens of a former one are this
// provider's.
func TestTraitRefreshURL(t *testing.T) {
	const renewals = "https://accounts.example.com/refresh"
	onScript(t, func(r *row) { r.RefreshURL = renewals }, func(t *testing.T, s *scripted) {
		p := s.profile(nil)
		s.authorize(p)
		s.asked(scriptedTokenURL, 1)
		s.on(renewals, renewedAnswer)
		wantParams(t, "the renewal", s.renews(p, renewals).form, "refresh_token", "refresh-1", "grant_type", "refresh_token")
		s.asked(scriptedTokenURL, 1)
	})
}

func TestTraitFormerOrigins(t *testing.T) {
	const before, after = "https://old.example.com/token", "https://new.example.com/token"
	moved := func(token string, former ...string) []authprofile.Provider {
		r := scriptedRow()
		r.TokenURL, r.FormerOrigins = token, former
		return []authprofile.Provider{r}
	}
	inScript(t, moved(before), func(t *testing.T, s *scripted) {
		s.on(before, tokenAnswer, renewedAnswer)
		s.on(after, renewedAnswer)
		p := s.profile(nil)
		time.Sleep(time.Hour) // the profile is older than its grants
		s.authorize(p)

		s.m = s.manager(moved(after))
		if _, err := s.renew(p); !errors.Is(err, authprofile.ErrReauthorize) {
			t.Errorf("moved without a word: got %v, want ErrReauthorize", err)
		}
		s.asked(after, 0)
		if g := s.grant(ada); g.Failure == nil || g.Failure.Reason != authprofile.ReasonOtherClient {
			t.Errorf("moved without a word: got failure %v, want %s", g.Failure, authprofile.ReasonOtherClient)
		}

		s.m = s.manager(moved(before)) // the row leads back
		s.renews(p, before)
		s.asked(before, 2)
		if g := s.grant(ada); g.Status != authprofile.StatusActive || g.Failure != nil {
			t.Errorf("led back: got status %s, failure %v; want an active grant", g.Status, g.Failure)
		}

		s.m = s.manager(moved(after, "https://old.example.com"))
		wantParams(t, "from a former origin", s.renews(p, after).form, "refresh_token", "refresh-2")
		if got := s.grant(ada).Issuer; got != "https://new.example.com" {
			t.Errorf("got issuer %q, want the new origin", got)
		}
	})
}

func TestTraitClientAuthentication(t *testing.T) {
	for _, test := range []struct {
		name          string
		row           authprofile.AuthMethod
		own           authprofile.AuthMethod
		secret, param string
		want          string
	}{
		{"none said", "", "", scriptedSecret, "", "basic"},
		{"post", authprofile.AuthPost, "", scriptedSecret, "", "post"},
		{"basic", authprofile.AuthBasic, "", scriptedSecret, "", "basic"},
		{"the profile's own", authprofile.AuthPost, authprofile.AuthBasic, scriptedSecret, "", "basic"},
		{"a public client", authprofile.AuthPost, "", "", "", "none"},
		{"client_key", authprofile.AuthPost, "", scriptedSecret, "client_key", "post"},
	} {
		t.Run(test.name, func(t *testing.T) {
			onScript(t, func(r *row) { r.AuthMethod, r.ClientIDParam = test.row, test.param }, func(t *testing.T, s *scripted) {
				p := s.profile(func(p *authprofile.Profile) {
					p.AuthMethod, p.ClientSecret = test.own, authprofile.Secret(test.secret)
				})
				id, other := "client_id", "client_key"
				if test.param != "" {
					id, other = other, id
				}
				_, q := s.begin(p)
				wantParams(t, "the authorization request", q, id, scriptedClient, other, "")
				s.authorize(p)
				s.on(scriptedTokenURL, renewedAnswer)
				s.renews(p, scriptedTokenURL)
				for _, r := range s.requests(scriptedTokenURL) {
					if got := r.auth(); got != test.want {
						t.Errorf("got client authentication %s, want %s", got, test.want)
					}
					if test.want != "basic" {
						wantParams(t, "a token request", r.form, id, scriptedClient, other, "")
					}
				}
			})
		})
	}
}

func TestTraitBodyFormatAndHeaders(t *testing.T) {
	onScript(t, func(r *row) {
		r.BodyFormat, r.Headers = "json", texts("Example-Version", "2026-01", "User-Agent", "example")
	}, func(t *testing.T, s *scripted) {
		p := s.profile(nil)
		s.authorize(p)
		s.on(scriptedTokenURL, renewedAnswer)
		s.renews(p, scriptedTokenURL)
		s.asked(scriptedTokenURL, 2)
		for _, r := range s.requests(scriptedTokenURL) {
			if !r.isJSON || r.form.Get("grant_type") == "" {
				t.Errorf("got %v as %s, want a JSON object", r.form, r.header.Get("Content-Type"))
			}
			if got := r.header; got.Get("Example-Version") != "2026-01" || got.Get("User-Agent") != "example" || got.Get("Accept") != "application/json" {
				t.Errorf("got the headers %v, want the row's beside the usual ones", got)
			}
		}
	})
}

// The row's parameters come before the standard's, and the profile's own before
// both.
func TestTraitParams(t *testing.T) {
	onScript(t, func(r *row) {
		r.AuthParams = texts("access_type", "offline", "prompt", "consent")
		r.TokenParams = texts("type", "web", "resource", "row", "back", "{redirect_uri}")
		r.RefreshParams = texts("type", "refresh", "resource", "row", "redirect_uri", "{redirect_uri}")
	}, func(t *testing.T, s *scripted) {
		p := s.profile(func(p *authprofile.Profile) {
			p.Params = url.Values{"prompt": {"none"}}
			p.TokenParams = url.Values{"resource": {"own"}}
		})
		_, q := s.begin(p)
		wantParams(t, "the authorization request", q, "access_type", "offline", "prompt", "none", "type", "", "resource", "")
		s.authorize(p)
		wantParams(t, "the exchange", s.last(scriptedTokenURL).form, "type", "web", "resource", "own", "back", scriptedCallback, "redirect_uri", scriptedCallback, "access_type", "")
		s.on(scriptedTokenURL, renewedAnswer)
		wantParams(t, "the renewal", s.renews(p, scriptedTokenURL).form, "type", "refresh", "resource", "own", "redirect_uri", scriptedCallback, "back", "")
	})
	onScript(t, nil, func(t *testing.T, s *scripted) {
		p := s.profile(nil)
		s.authorize(p)
		s.on(scriptedTokenURL, renewedAnswer)
		wantParams(t, "a renewal by the standard", s.renews(p, scriptedTokenURL).form, "redirect_uri", "")
	})
}

func TestTraitRedirectURI(t *testing.T) {
	onScript(t, func(r *row) {
		r.Variables = []authprofile.ProviderVariable{{Name: "runame", Title: "RuName", Example: "Acme-1", Pattern: "^[A-Za-z0-9-]+$"}}
		r.RedirectURI = "{runame}"
		r.RefreshParams = texts("redirect_uri", "{redirect_uri}")
	}, func(t *testing.T, s *scripted) {
		p := s.profile(func(p *authprofile.Profile) { p.Template = "example/Acme-1" })
		_, q := s.begin(p)
		wantParams(t, "the authorization request", q, "redirect_uri", "Acme-1")
		s.authorize(p)
		wantParams(t, "the exchange", s.last(scriptedTokenURL).form, "redirect_uri", "Acme-1")
		s.on(scriptedTokenURL, renewedAnswer)
		wantParams(t, "the renewal", s.renews(p, scriptedTokenURL).form, "redirect_uri", "Acme-1")
	})
}

// There is no refresh token: the access token is presented for its renewal, and
// the grant ends with it.
func TestTraitRefreshGrant(t *testing.T) {
	const lasting = `{"access_token":"access-1","expires_in":5184000,"token_type":"bearer"}`
	const renewed = `{"access_token":"access-2","expires_in":5184000}`
	onScript(t, func(r *row) {
		r.RefreshGrant, r.RefreshParams = "fb_exchange_token", texts("fb_exchange_token", "{token}")
	}, func(t *testing.T, s *scripted) {
		s.on(scriptedTokenURL, lasting, renewed)
		p := s.profile(nil)
		g := s.authorize(p)
		if g.Ends.IsZero() || !g.Ends.Equal(g.Expiry) || g.EndsBy != authprofile.EndsAnnounced {
			t.Errorf("got an end at %v by %q, want that of the access token, announced", g.Ends, g.EndsBy)
		}
		s.pass(35 * day)
		s.asked(scriptedTokenURL, 2)
		form := s.last(scriptedTokenURL).form
		wantParams(t, "the renewal", form, "grant_type", "fb_exchange_token", "fb_exchange_token", "access-1", "refresh_token", "")
		next := s.grant(ada)
		if next.AccessToken != "access-2" || !next.Ends.After(g.Ends) {
			t.Errorf("got an end at %v of another token, want a later one than %v, of the new token", next.Ends, g.Ends)
		}
	})
}

func TestTraitScopes(t *testing.T) {
	onScript(t, func(r *row) {
		r.Scopes, r.ScopeSeparator = []string{"offline"}, ","
		r.ScopeParams, r.ScopeOnRefresh = []string{"user_scope"}, true
	}, func(t *testing.T, s *scripted) {
		p := s.profile(func(p *authprofile.Profile) { p.Params = url.Values{"user_scope": {"chat users"}} })
		_, q := s.begin(p)
		wantParams(t, "the authorization request", q, "scope", "read,write,offline", "user_scope", "chat,users")
		s.on(scriptedTokenURL, strings.Replace(tokenAnswer, "{", `{"scope":"read,offline",`, 1))
		if g := s.authorize(p); !slices.Equal(g.Scopes, []string{"read", "offline"}) {
			t.Errorf("got scopes %q, want them split", g.Scopes)
		}
		wantParams(t, "the exchange", s.last(scriptedTokenURL).form, "scope", "")
		s.on(scriptedTokenURL, renewedAnswer)
		wantParams(t, "the renewal", s.renews(p, scriptedTokenURL).form, "scope", "read,write,offline")
	})
	onScript(t, nil, func(t *testing.T, s *scripted) {
		p := s.profile(func(p *authprofile.Profile) { p.Params = url.Values{"user_scope": {"chat users"}} })
		_, q := s.begin(p)
		wantParams(t, "by the standard", q, "scope", "read write", "user_scope", "chat users")
		s.authorize(p)
		s.on(scriptedTokenURL, renewedAnswer)
		wantParams(t, "by the standard", s.renews(p, scriptedTokenURL).form, "scope", "")
	})
}

// What a registration grants is not compared with what was asked for.
func TestTraitScopesRegistered(t *testing.T) {
	for _, registered := range []bool{true, false} {
		onScript(t, func(r *row) { r.ScopesRegistered = registered }, func(t *testing.T, s *scripted) {
			p := s.profile(nil)
			s.authorize(p)
			s.on(scriptedTokenURL, strings.Replace(renewedAnswer, "{", `{"scope":"read",`, 1))
			s.renews(p, scriptedTokenURL)
			s.m.Shutdown(t.Context())
			if got := strings.Contains(s.logText(), "fewer scopes"); got == registered {
				t.Errorf("registered %v: got a record of fewer scopes %v, want %v", registered, got, !registered)
			}
		})
	}
}

func TestTraitPKCE(t *testing.T) {
	for _, pkce := range []string{"", "required", "off"} {
		onScript(t, func(r *row) { r.PKCE = pkce }, func(t *testing.T, s *scripted) {
			p := s.profile(nil)
			_, q := s.begin(p)
			s.authorize(p)
			form := s.last(scriptedTokenURL).form
			got := []bool{q.Has("code_challenge"), q.Get("code_challenge_method") == "S256", form.Has("code_verifier")}
			if want := pkce != "off"; slices.Contains(got, !want) {
				t.Errorf("pkce %q: got challenge, method, verifier %v, want all %v", pkce, got, want)
			}
		})
	}
}

func TestTraitApp(t *testing.T) {
	const address = "https://accounts.example.com/app-token"
	onScript(t, func(r *row) {
		r.AppGrant = "account_credentials"
		r.AuthMethod = authprofile.AuthPost
		r.App = &authprofile.ProviderRequest{URL: address, Auth: "client_secret_basic", Params: texts("audience", "row", "account", "row")}
	}, func(t *testing.T, s *scripted) {
		s.on(address, `{"access_token":"access-1","expires_in":3600}`)
		p := s.profile(func(p *authprofile.Profile) {
			p.ID, p.Type, p.Params = "app", authprofile.TypeApp, url.Values{"account": {"own"}}
		})
		if _, err := s.m.Token(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		r := s.last(address)
		wantParams(t, "the request", r.form, "grant_type", "account_credentials", "audience", "row", "account", "own", "scope", "read write")
		if got := r.auth(); got != "basic" {
			t.Errorf("got client authentication %s, want basic", got)
		}
		user := s.profile(nil)
		s.authorize(user)
		r = s.last(scriptedTokenURL)
		if wantParams(t, "a user's", r.form, "grant_type", "authorization_code", "audience", ""); r.auth() != "post" {
			t.Errorf("got client authentication %s of a user profile, want post", r.auth())
		}
	})
	onScript(t, func(r *row) { r.App = new(authprofile.ProviderRequest) }, func(t *testing.T, s *scripted) {
		p := s.profile(func(p *authprofile.Profile) { p.ID, p.Type = "app", authprofile.TypeApp })
		if _, err := s.m.Token(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		wantParams(t, "the request", s.last(scriptedTokenURL).form, "grant_type", "client_credentials")
	})
	onScript(t, nil, func(t *testing.T, s *scripted) {
		p := &authprofile.Profile{Type: authprofile.TypeApp, Template: "example", ClientID: "c", ClientSecret: "s"}
		var field *authprofile.FieldError
		if err := s.m.Save(t.Context(), p); !errors.As(err, &field) || field.Field != "Template" {
			t.Errorf("a provider without a grant for applications: got %v, want a FieldError for Template", err)
		}
	})
}

// read by different rules, whichever comes first.
func TestTraitHostsOfEachTemplate(t *testing.T) {
	r := scriptedRow()
	documented(&r)
	r.Variables = []authprofile.ProviderVariable{{Name: "domain", Title: "Domain", Example: "login.example.org", Host: true, Optional: true}}
	r.Hosts = []string{"{domain}"}
	for _, order := range [][]authprofile.Template{
		{"example/login.example.org", "example"},
		{"example", "example/login.example.org"},
	} {
		inScript(t, []authprofile.Provider{r}, func(t *testing.T, s *scripted) {
			s.on(scriptedDocument, document("https://accounts.example.com", "https://login.example.org/authorize", "https://login.example.org/token"))
			for _, template := range order {
				s.begins(string(template), template, strings.Contains(string(template), "/"))
			}
		})
	}
}
