package catalog

import (
	"slices"
	"strings"
	"testing"

	"github.com/authprofile/authprofile/internal/address"
	"github.com/authprofile/authprofile/internal/issuer"
)

const contoso = "72f988bf-86f1-41af-91ab-2d7cd011db47"

// microsoft is what a template for a tenant says.
func microsoft(tenant string) string { return "microsoft/" + tenant }

func TestLookup(t *testing.T) {
	const global, us, china = "login.microsoftonline.com", "login.microsoftonline.us", "login.partner.microsoftonline.cn"
	for template, want := range map[string]string{
		"google":                         "https://accounts.google.com/.well-known/openid-configuration",
		microsoft("common"):              "https://" + global + "/common/v2.0/.well-known/openid-configuration",
		microsoft("organizations"):       "https://" + global + "/organizations/v2.0/.well-known/openid-configuration",
		microsoft("consumers"):           "https://" + global + "/consumers/v2.0/.well-known/openid-configuration",
		microsoft("Common"):              "https://" + global + "/Common/v2.0/.well-known/openid-configuration",
		microsoft("contoso.com"):         "https://" + global + "/contoso.com/v2.0/.well-known/openid-configuration",
		microsoft("c.onmicrosoft.com"):   "https://" + global + "/c.onmicrosoft.com/v2.0/.well-known/openid-configuration",
		microsoft(contoso):               "https://" + global + "/" + contoso + "/v2.0/.well-known/openid-configuration",
		microsoft(us + "/contoso.us"):    "https://" + us + "/contoso.us/v2.0/.well-known/openid-configuration",
		microsoft(china + "/" + contoso): "https://" + china + "/" + contoso + "/v2.0/.well-known/openid-configuration",
		microsoft(china + "/common"):     "https://" + china + "/common/v2.0/.well-known/openid-configuration",

		"":                                           "",
		"Google":                                     "",
		"google/":                                    "",
		"google/example.com":                         "",
		"github":                                     "",
		"microsoft":                                  "",
		microsoft(""):                                "",
		microsoft("comon"):                           "", // misspelt
		microsoft("contoso.com/"):                    "",
		microsoft("/contoso.com"):                    "",
		microsoft("evil.test/contoso.com"):           "",
		microsoft(us + "/" + us + "/a.com"):          "",
		microsoft("contoso.com/../evil"):             "",
		microsoft(".."):                              "",
		microsoft("a..b"):                            "",
		microsoft(".com"):                            "",
		microsoft("contoso.com?x"):                   "",
		microsoft("contoso.com#x"):                   "",
		microsoft("contoso.com%2f"):                  "",
		microsoft("contoso.com@evil.test"):           "",
		microsoft("{tenantid}"):                      "",
		microsoft("contoso.com\n"):                   "",
		microsoft("ко.com"):                          "",
		microsoft(strings.Repeat("a.", 127) + "com"): "",
	} {
		p, err := Lookup(template)
		if want == "" {
			if err == nil {
				t.Errorf("%q: got no error, want one", template)
			}
			continue
		}
		if err != nil || p.DiscoveryURL() != want {
			t.Errorf("%q: got %v, %v, want %s", template, p, err, want)
		}
	}
}

func TestHostFits(t *testing.T) {
	google, _ := Lookup("google")
	microsoft, _ := Lookup("microsoft/login.microsoftonline.us/contoso.us")
	for _, test := range []struct {
		p    *Provider
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
		if got := test.p.HostFits(test.host); got != test.want {
			t.Errorf("%s, %q: got %t, want %t", test.p.Name, test.host, got, test.want)
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
	f.Fuzz(func(t *testing.T, s, name, host string) {
		p, err := Lookup(s)
		if err != nil {
			if p != nil || s != "" && len(s) > 3 && strings.Contains(err.Error(), s) {
				t.Errorf("%q: got %v and %v, want an error without the value", s, p, err)
			}
			return
		}
		known := []string{"accounts.google.com", "login.microsoftonline.com", "login.microsoftonline.us", "login.partner.microsoftonline.cn"}
		u := p.DiscoveryURL()
		if address.Check(u) != nil || !slices.Contains(known, strings.TrimPrefix(address.ShortOriginOf(u), "https://")) ||
			!strings.HasSuffix(u, issuer.WellKnownOpenID) || strings.ContainsAny(u, "{}?%") || strings.Contains(u, "..") {
			t.Errorf("%q: got the address %q", s, u)
		}
		if p.IssuerFits(name) && !strings.HasPrefix(name, "https://"+p.host) {
			t.Errorf("%q: the issuer %q fits", s, name)
		}
		if p.HostFits(host) && !strings.HasSuffix(host, ".google.com") && !strings.HasSuffix(host, ".googleapis.com") && host != p.host {
			t.Errorf("%q: the host %q fits", s, host)
		}
	})
}
