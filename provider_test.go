package authprofile

import (
	"errors"
	"net/http"
	"reflect"
	"strings"
	"testing"

	"github.com/authprofile/authprofile/internal/issuer"
	"github.com/authprofile/authprofile/internal/webtest"
)

func TestThreat066_WhatTheProviderDoesNotHave(t *testing.T) {
	app := Profile{Type: TypeApp, ClientID: "c", ClientSecret: "s", Endpoints: Endpoints{DiscoveryURL: webtest.DocumentURL}}
	user := Profile{Type: TypeUser, ClientID: "c", ClientSecret: "s", Endpoints: Endpoints{DiscoveryURL: webtest.DocumentURL}}
	for _, test := range []struct {
		name    string
		p       Profile
		changes map[string]any
		field   string // empty: no error
	}{
		{"066 all", user, nil, ""},
		{"066 PKCE plain only", user, map[string]any{"code_challenge_methods_supported": []string{"plain"}}, ""},
		{"066 no authorization endpoint", user, map[string]any{"authorization_endpoint": nil}, fieldDiscovery},
		{"066 no authorization endpoint for an app", app, map[string]any{"authorization_endpoint": nil, "response_types_supported": []string{"token"}}, ""},
		{"066 authorization endpoint that is none", user, map[string]any{"authorization_endpoint": "javascript:alert(1)"}, fieldDiscovery},
		{"066 authorization endpoint that is none for an app", app, map[string]any{"authorization_endpoint": "javascript:alert(1)", "jwks_uri": 7}, ""},
		{"066 no code", user, map[string]any{"response_types_supported": []string{"token", "id_token"}}, ""},
		{"066 response types not listed", user, map[string]any{"response_types_supported": nil}, ""},
		{"066 no authorization code", user, map[string]any{"grant_types_supported": []string{"implicit", "client_credentials"}}, ""},
		{"066 no client credentials", app, map[string]any{"grant_types_supported": []string{"authorization_code"}}, ""},
		{"066 client credentials", app, map[string]any{"grant_types_supported": []string{"client_credentials"}}, ""},
		{"066 auth method", app, map[string]any{"token_endpoint_auth_methods_supported": []string{"private_key_jwt", "none"}}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := webtest.New()
			w.Set(webtest.DocumentURL, webtest.JSON(webtest.Document(test.changes)))
			m := managerOn(w)
			_, err := m.engine().providers.resolve(t.Context(), &test.p)
			if test.p.Type == TypeUser && err == nil {
				p := test.p
				p.ID, p.RedirectURL = "crm", "https://app.example.com/callback"
				if err := m.Save(t.Context(), &p); err != nil {
					t.Fatal(err)
				}
				_, err = m.Begin(t.Context(), &p, "ada")
			}
			var f *FieldError
			switch {
			case test.field == "" && err != nil:
				t.Errorf("got %v, want no error", err)
			case test.field != "" && (!errors.As(err, &f) || f.Field != test.field || !errors.Is(err, ErrConfiguration)):
				t.Errorf("got %v, want ErrConfiguration and a FieldError for %s", err, test.field)
			}
		})
	}
}

func TestResolve(t *testing.T) {
	t.Run("addresses need no network", func(t *testing.T) {
		got, err := managerOn(webtest.New()).engine().providers.resolve(t.Context(), &Profile{Type: TypeUser, ClientID: "c", ClientSecret: "s",
			Endpoints: Endpoints{AuthURL: "https://a.test/a", TokenURL: "https://a.test/t", RevocationURL: "https://a.test/r"}})
		if err != nil {
			t.Fatal(err)
		}
		if want := (provider{authURL: "https://a.test/a", tokenURL: "https://a.test/t", refreshURL: "https://a.test/t", revocationURL: "https://a.test/r",
			issuer: issuer.Issuer{Origin: "https://a.test"}, authMethod: AuthBasic, dialect: got.dialect}); !reflect.DeepEqual(*got, want) {
			t.Errorf("got %+v, want %+v", *got, want)
		}
	})

	t.Run("discovery", func(t *testing.T) {
		w := webtest.New()
		w.Set(webtest.DocumentURL, webtest.JSON(webtest.Document(map[string]any{"authorization_response_iss_parameter_supported": true})))
		p := &Profile{Type: TypeUser, ClientID: "c", Endpoints: Endpoints{DiscoveryURL: webtest.DocumentURL}}
		got, err := managerOn(w).engine().providers.resolve(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		w.Set(webtest.KeysURL, webtest.JSON(`{"keys":[]}`))
		if err := got.loadKeys(t.Context()); got.keys == nil || w.Count(webtest.KeysURL) != 1 {
			t.Errorf("keys: got %v, %v, want those at the document's jwks_uri", got.keys, err)
		}
		got.keys = nil
		want := provider{authURL: webtest.Issuer + "/authorize", tokenURL: webtest.Issuer + "/token", refreshURL: webtest.Issuer + "/token", revocationURL: webtest.Issuer + "/revoke",
			issuer: issuer.Issuer{Name: webtest.Issuer, Origin: webtest.Issuer}, issuerParam: true, documentField: fieldDiscovery, authMethod: AuthNone, dialect: got.dialect}
		if !reflect.DeepEqual(*got, want) {
			t.Errorf("got %+v, want %+v", *got, want)
		}
		p.Endpoints.RevocationURL = "https://elsewhere.example.com/revoke"
		if got, err := managerOn(w).engine().providers.resolve(t.Context(), p); err != nil || got.revocationURL != p.Endpoints.RevocationURL {
			t.Errorf("got %v, %v, want the profile's own revocation address", got, err)
		}
	})

	for _, test := range []struct {
		name   string
		p      Profile
		listed []string
		want   AuthMethod
	}{
		{"no secret", Profile{}, []string{"client_secret_basic"}, AuthNone},
		{"nothing listed", Profile{ClientSecret: "s"}, nil, AuthBasic},
		{"basic before post", Profile{ClientSecret: "s"}, []string{"client_secret_post", "private_key_jwt", "client_secret_basic"}, AuthBasic},
		{"post", Profile{ClientSecret: "s"}, []string{"private_key_jwt", "client_secret_post"}, AuthPost},
		{"neither", Profile{ClientSecret: "s"}, []string{"private_key_jwt", "none"}, AuthBasic},
		{"the profile's own", Profile{ClientSecret: "s", AuthMethod: AuthBasicRaw}, []string{"client_secret_post"}, AuthBasicRaw},
		{"the template's", Profile{ClientSecret: "s", Template: Google}, []string{"client_secret_basic"}, AuthPost},
		{"the template's, no secret", Profile{Template: Google}, []string{"client_secret_basic"}, AuthNone},
	} {
		t.Run("auth method: "+test.name, func(t *testing.T) {
			var row AuthMethod
			if test.p.Template != "" {
				row = AuthMethod(lookup(t, test.p.Template).AuthMethod)
			}
			if got := test.p.settleAuthMethod(row, test.listed); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}

	t.Run("away", func(t *testing.T) {
		for name, h := range map[string]http.HandlerFunc{"nobody": nil, "502": webtest.Status(502), "429": webtest.Status(429)} {
			w := webtest.New()
			w.Set(webtest.DocumentURL, h)
			_, err := managerOn(w).engine().providers.resolve(t.Context(), &Profile{Type: TypeApp, ClientID: "c", Endpoints: Endpoints{DiscoveryURL: webtest.DocumentURL}})
			if wantAway(t, err); err != nil && !strings.Contains(err.Error(), webtest.DocumentURL) {
				t.Errorf("%s: got %q, want the address in it", name, err)
			}
		}
	})
}
