package authprofile

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

const (
	contoso   = "72f988bf-86f1-41af-91ab-2d7cd011db47"
	consumers = "9188040d-6c67-4c5b-b112-36a304b66dad"
)

func TestTemplates(t *testing.T) {
	const global, us, china = "login.microsoftonline.com", "login.microsoftonline.us", "login.partner.microsoftonline.cn"
	for template, want := range map[Template]string{
		Google:                           "https://accounts.google.com/.well-known/openid-configuration",
		Microsoft("common"):              "https://" + global + "/common/v2.0/.well-known/openid-configuration",
		Microsoft("organizations"):       "https://" + global + "/organizations/v2.0/.well-known/openid-configuration",
		Microsoft("consumers"):           "https://" + global + "/consumers/v2.0/.well-known/openid-configuration",
		Microsoft("Common"):              "https://" + global + "/Common/v2.0/.well-known/openid-configuration",
		Microsoft("contoso.com"):         "https://" + global + "/contoso.com/v2.0/.well-known/openid-configuration",
		Microsoft("c.onmicrosoft.com"):   "https://" + global + "/c.onmicrosoft.com/v2.0/.well-known/openid-configuration",
		Microsoft(contoso):               "https://" + global + "/" + contoso + "/v2.0/.well-known/openid-configuration",
		Microsoft(us + "/contoso.us"):    "https://" + us + "/contoso.us/v2.0/.well-known/openid-configuration",
		Microsoft(china + "/" + contoso): "https://" + china + "/" + contoso + "/v2.0/.well-known/openid-configuration",
		Microsoft(china + "/common"):     "https://" + china + "/common/v2.0/.well-known/openid-configuration",

		"":                                           "",
		"Google":                                     "",
		"google/":                                    "",
		"google/example.com":                         "",
		"github":                                     "",
		"microsoft":                                  "",
		Microsoft(""):                                "",
		Microsoft("comon"):                           "", // misspelt
		Microsoft("contoso.com/"):                    "",
		Microsoft("/contoso.com"):                    "",
		Microsoft("evil.test/contoso.com"):           "",
		Microsoft(us + "/" + us + "/a.com"):          "",
		Microsoft("contoso.com/../evil"):             "",
		Microsoft(".."):                              "",
		Microsoft("a..b"):                            "",
		Microsoft(".com"):                            "",
		Microsoft("contoso.com?x"):                   "",
		Microsoft("contoso.com#x"):                   "",
		Microsoft("contoso.com%2f"):                  "",
		Microsoft("contoso.com@evil.test"):           "",
		Microsoft("{tenantid}"):                      "",
		Microsoft("contoso.com\n"):                   "",
		Microsoft("ко.com"):                          "",
		Microsoft(strings.Repeat("a.", 127) + "com"): "",
	} {
		tp, err := template.provider()
		if want == "" {
			if err == nil {
				t.Errorf("%q: got no error, want one", template)
			}
			p := Profile{Type: TypeUser, ClientID: "c", Template: template}
			var f *FieldError
			if template != "" && (!errors.As(p.Validate(), &f) || f.Field != "Template") {
				t.Errorf("%q: got %v from Validate, want a FieldError for Template", template, p.Validate())
			}
			continue
		}
		if err != nil || tp.discoveryURL() != want {
			t.Errorf("%q: got %v, %v, want %s", template, tp, err, want)
		}
	}
}

// Each template takes its own real document, and no other.
func TestTemplatesReadRealDocuments(t *testing.T) {
	documents := map[string]string{}
	for _, name := range []string{"google", "microsoft-common", "microsoft-consumers", "microsoft-organizations", "microsoft-tenant"} {
		documents[name] = fixture(t, name)
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
			tp, err := template.provider()
			if err != nil {
				t.Fatal(err)
			}
			for name, doc := range documents {
				md, problem := parseMetadata(tp.discoveryURL(), tp, []byte(doc))
				if got := problem == ""; got != slices.Contains(want, name) {
					t.Errorf("%s: got %+v, %q, want it taken: %t", name, md, problem, !got)
				}
			}

			// The whole way, with the habits.
			if want == nil {
				return
			}
			w := newWeb()
			w.set(tp.discoveryURL(), jsonPage(documents[want[0]]))
			got, err := w.manager().engine().target(t.Context(), &Profile{Type: TypeUser, ClientID: "c", ClientSecret: "s", Template: template})
			if err != nil {
				t.Fatal(err)
			}
			if got.keys == nil || got.tokenURL == "" || got.authURL == "" || got.issuer == "" || got.authMethod != AuthPost {
				t.Errorf("got %+v, want addresses, keys, issuer and client_secret_post", got)
			}
			if microsoft := tp.name == "microsoft"; got.scopeOnRefresh != microsoft || (got.revocationURL == "") != microsoft {
				t.Errorf("got scope on refresh %t and revocation %q, want those of %s", got.scopeOnRefresh, got.revocationURL, tp.name)
			}
		})
	}
	t.Run("a template's issuer is accepted there and only there", func(t *testing.T) {
		tp, _ := Microsoft("common").provider()
		w := newWeb()
		w.set(tp.discoveryURL(), jsonPage(documents["microsoft-common"]))
		m := w.manager()
		if _, err := m.engine().target(t.Context(), &Profile{Type: TypeUser, ClientID: "c", Template: Microsoft("common")}); err != nil {
			t.Errorf("with the template: got %v, want no error", err)
		}
		_, err := m.Discover(t.Context(), tp.discoveryURL())
		wantWrong(t, err, tp.discoveryURL())
	})
	t.Run("habits", func(t *testing.T) {
		g, _ := Google.provider()
		if g.params.Get("access_type") != "offline" || g.params.Get("prompt") != "consent" {
			t.Errorf("Google: got %v, want offline access and consent", g.params)
		}
		m, _ := Microsoft("common").provider()
		if !slices.Equal(m.scopes, []string{"offline_access"}) || !m.scopeOnRefresh {
			t.Errorf("Microsoft: got scopes %v and %t on refresh, want offline_access and true", m.scopes, m.scopeOnRefresh)
		}
	})
	t.Run("a document that is wrong is the template's fault", func(t *testing.T) {
		w := newWeb()
		tp, _ := Google.provider()
		w.set(tp.discoveryURL(), jsonPage(documents["microsoft-common"]))
		_, err := w.manager().engine().target(t.Context(), &Profile{Type: TypeUser, ClientID: "c", Template: Google})
		var f *FieldError
		if wantWrong(t, err, tp.discoveryURL()); !errors.As(err, &f) || f.Field != fieldTemplate {
			t.Errorf("got %v, want a FieldError for Template", err)
		}
	})
}

func TestHostFits(t *testing.T) {
	google, _ := Google.provider()
	microsoft, _ := Microsoft("login.microsoftonline.us/contoso.us").provider()
	for _, test := range []struct {
		tp   *templateProvider
		host string
		want bool
	}{
		{google, "accounts.google.com", true},
		{google, "oauth2.googleapis.com", true},
		{google, "google.com", false},
		{google, "evilgoogle.com", false},
		{google, "google.com.evil.test", false},
		{google, "accounts.google.com:8443", false},
		{google, "accounts.google.com.", false},
		{microsoft, "login.microsoftonline.us", true},
		{microsoft, "login.microsoftonline.com", false},
		{microsoft, "x.login.microsoftonline.us", false},
		{microsoft, "", false},
	} {
		if got := test.tp.hostFits(test.host); got != test.want {
			t.Errorf("%s, %q: got %t, want %t", test.tp.name, test.host, got, test.want)
		}
	}
}

func TestIssuerMatches(t *testing.T) {
	const pattern = "https://login.microsoftonline.com/{tenantid}/v2.0"
	for _, test := range []struct {
		expected, got string
		want          bool
	}{
		{"https://a.test", "https://a.test", true},
		{"https://a.test", "https://a.test/", false},
		{"https://a.test", "https://A.test", false},
		{"https://a.test", "", false},
		{pattern, "https://login.microsoftonline.com/" + contoso + "/v2.0", true},
		{pattern, "https://login.microsoftonline.com/" + contoso + "/v2.0/", false},
		{pattern, "https://login.microsoftonline.com/contoso.com/v2.0", false},
		{pattern, "https://login.microsoftonline.com/v2.0", false},
		{pattern, pattern, false},
	} {
		if got := issuerMatches(test.expected, test.got); got != test.want {
			t.Errorf("%q, %q: got %t, want %t", test.expected, test.got, got, test.want)
		}
	}
}

// Whatever stands in a profile for a template, only the addresses of known
// providers come out.
func FuzzTemplate(f *testing.F) {
	for _, s := range []string{"google", "microsoft/common", "microsoft/contoso.com", "microsoft/" + contoso,
		"microsoft/login.microsoftonline.us/contoso.us", "microsoft/evil.test/x", "microsoft/../x", "google/x", ""} {
		f.Add(s, "https://login.microsoftonline.com/"+contoso+"/v2.0", "login.microsoftonline.com")
	}
	f.Fuzz(func(t *testing.T, s, issuer, host string) {
		tp, err := Template(s).provider()
		if err != nil {
			if tp != nil || s != "" && len(s) > 3 && strings.Contains(err.Error(), s) {
				t.Errorf("%q: got %v and %v, want an error without the value", s, tp, err)
			}
			return
		}
		known := []string{"accounts.google.com", "login.microsoftonline.com", "login.microsoftonline.us", "login.partner.microsoftonline.cn"}
		address := tp.discoveryURL()
		if checkAddress(address) != "" || !slices.Contains(known, strings.TrimSuffix(strings.TrimPrefix(addressOrigin(address), "https://"), ":443")) ||
			!strings.HasSuffix(address, wellKnownOpenID) || strings.ContainsAny(address, "{}?%") || strings.Contains(address, "..") {
			t.Errorf("%q: got the address %q", s, address)
		}
		if tp.issuerFits(issuer) && !strings.HasPrefix(issuer, "https://"+tp.host) {
			t.Errorf("%q: the issuer %q fits", s, issuer)
		}
		if tp.hostFits(host) && !strings.HasSuffix(host, ".google.com") && !strings.HasSuffix(host, ".googleapis.com") && host != tp.host {
			t.Errorf("%q: the host %q fits", s, host)
		}
		if err := (&Profile{Type: TypeUser, ClientID: "c", Template: Template(s)}).Validate(); err != nil {
			t.Errorf("%q: got %v from Validate, want no error", s, err)
		}
	})
}
