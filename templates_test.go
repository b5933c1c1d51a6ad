package authprofile

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/authprofile/authprofile/internal/catalog"
	"github.com/authprofile/authprofile/internal/catalog/recorded"
	"github.com/authprofile/authprofile/internal/webtest"
)

const (
	contoso   = "72f988bf-86f1-41af-91ab-2d7cd011db47"
	consumers = "9188040d-6c67-4c5b-b112-36a304b66dad"
)

// lookup finds the provider of a template that is valid.
func lookup(t testing.TB, template Template) *catalog.Provider {
	t.Helper()
	tp, err := new(catalog.Catalog).Lookup(string(template))
	if err != nil {
		t.Fatal(err)
	}
	return tp
}

func TestTemplates(t *testing.T) {
	for template, want := range map[Template]bool{
		Google:                    true,
		Microsoft("common"):       true,
		Microsoft("contoso.com"):  true,
		Microsoft(contoso):        true,
		"microsoft/organizations": true,
		Microsoft("login.microsoftonline.us/" + contoso): true,

		"Google":                           false,
		"google/":                          false,
		"githubb":                          false,
		Microsoft(""):                      false,
		Microsoft("comon"):                 false, // misspelt
		Microsoft("evil.test/contoso.com"): false,
		Microsoft("{tenantid}"):            false,
	} {
		err := (&Profile{Type: TypeUser, ClientID: "c", Template: template, RedirectURL: "https://app.example.com/callback"}).Validate()
		var f *FieldError
		if want && err != nil {
			t.Errorf("%q: got %v, want no error", template, err)
		}
		if !want && (!errors.As(err, &f) || f.Field != "Template") {
			t.Errorf("%q: got %v, want a FieldError for Template", template, err)
		}
	}
}

// Each template takes its own real document, and no other.
func TestTemplatesReadRealDocuments(t *testing.T) {
	documents := map[string]string{}
	for _, name := range []string{"google", "microsoft-common", "microsoft-consumers", "microsoft-organizations", "microsoft-tenant"} {
		documents[name] = recorded.Document(name)
	}
	for cloud, host := range map[string]string{"us": "login.microsoftonline.us", "cn": "login.partner.microsoftonline.cn"} {
		for _, name := range []string{"common", "organizations", "tenant"} {
			documents[cloud+"-"+name] = strings.ReplaceAll(documents["microsoft-"+name], "login.microsoftonline.com", host)
		}
	}
	for template, want := range map[Template][]string{
		Google:                              {"google"},
		Microsoft("common"):                 {"microsoft-common", "microsoft-organizations"}, // the same issuer and host
		Microsoft("organizations"):          {"microsoft-common", "microsoft-organizations"},
		Microsoft("ORGANIZATIONS"):          {"microsoft-common", "microsoft-organizations"},
		Microsoft("consumers"):              {"microsoft-consumers"},
		Microsoft(contoso):                  {"microsoft-tenant"},
		Microsoft(strings.ToUpper(contoso)): {"microsoft-tenant"},
		Microsoft(consumers):                {"microsoft-consumers"},
		Microsoft("00000000-0000-0000-0000-000000000000"):          nil,
		Microsoft("contoso.com"):                                   {"microsoft-consumers", "microsoft-tenant"}, // of a domain, any ID
		Microsoft("login.microsoftonline.us/common"):               {"us-common", "us-organizations"},
		Microsoft("login.microsoftonline.us/contoso.us"):           {"us-tenant"},
		Microsoft("login.partner.microsoftonline.cn/common"):       {"cn-common", "cn-organizations"},
		Microsoft("login.partner.microsoftonline.cn/" + contoso):   {"cn-tenant"},
		Microsoft("login.partner.microsoftonline.cn/contoso.cn"):   {"cn-tenant"},
		Microsoft("login.microsoftonline.com/organizations"):       {"microsoft-common", "microsoft-organizations"},
		Microsoft("login.partner.microsoftonline.cn/" + consumers): nil,
	} {
		t.Run(string(template), func(t *testing.T) {
			tp := lookup(t, template)
			for name, doc := range documents {
				w := webtest.New()
				w.Set(tp.DiscoveryURL, webtest.JSON(doc))
				_, err := managerOn(w).engine().providers.resolve(t.Context(), &Profile{Type: TypeUser, ClientID: "c", Template: template})
				if got := err == nil; got != slices.Contains(want, name) {
					t.Errorf("%s: got %v, want it taken: %t", name, err, !got)
				}
			}

			// The whole way, with the habits.
			if want == nil {
				return
			}
			w := webtest.New()
			w.Set(tp.DiscoveryURL, webtest.JSON(documents[want[0]]))
			got, err := managerOn(w).engine().providers.resolve(t.Context(), &Profile{Type: TypeUser, ClientID: "c", ClientSecret: "s", Template: template})
			if err != nil {
				t.Fatal(err)
			}
			if got.keys == nil || got.tokenURL == "" || got.authURL == "" || got.issuer.Name == "" || got.authMethod != AuthPost {
				t.Errorf("got %+v, want addresses, keys, issuer and client_secret_post", got)
			}
			if microsoft := tp.Name == "microsoft"; got.dialect.ScopeOnRefresh != microsoft || (got.revocationURL == "") != microsoft {
				t.Errorf("got scope on refresh %t and revocation %q, want those of %s", got.dialect.ScopeOnRefresh, got.revocationURL, tp.Name)
			}
		})
	}
	t.Run("a template's issuer is accepted there and only there", func(t *testing.T) {
		tp := lookup(t, Microsoft("common"))
		w := webtest.New()
		w.Set(tp.DiscoveryURL, webtest.JSON(documents["microsoft-common"]))
		m := managerOn(w)
		if _, err := m.engine().providers.resolve(t.Context(), &Profile{Type: TypeUser, ClientID: "c", Template: Microsoft("common")}); err != nil {
			t.Errorf("with the template: got %v, want no error", err)
		}
		_, err := m.Discover(t.Context(), tp.DiscoveryURL)
		wantWrong(t, err, tp.DiscoveryURL)
	})
	t.Run("habits", func(t *testing.T) {
		g := lookup(t, Google)
		if g.AuthParams["access_type"] != "offline" || g.AuthParams["prompt"] != "consent" {
			t.Errorf("Google: got %v, want offline access and consent", g.AuthParams)
		}
		m := lookup(t, Microsoft("common"))
		if !slices.Equal(m.Scopes, []string{"offline_access"}) || !m.ScopeOnRefresh {
			t.Errorf("Microsoft: got scopes %v and %t on refresh, want offline_access and true", m.Scopes, m.ScopeOnRefresh)
		}
	})
	t.Run("a document that is wrong is the template's fault", func(t *testing.T) {
		w := webtest.New()
		tp := lookup(t, Google)
		w.Set(tp.DiscoveryURL, webtest.JSON(documents["microsoft-common"]))
		_, err := managerOn(w).engine().providers.resolve(t.Context(), &Profile{Type: TypeUser, ClientID: "c", Template: Google})
		var f *FieldError
		if wantWrong(t, err, tp.DiscoveryURL); !errors.As(err, &f) || f.Field != fieldTemplate {
			t.Errorf("got %v, want a FieldError for Template", err)
		}
	})
}
