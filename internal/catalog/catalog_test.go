package catalog

import (
	"maps"
	"net"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/authprofile/authprofile/internal/address"
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
		p, err := new(Catalog).Lookup(template)
		if want == "" {
			if err == nil {
				t.Errorf("%q: got no error, want one", template)
			}
			continue
		}
		if err != nil || p.DiscoveryURL != want {
			t.Errorf("%q: got %v, %v, want %s", template, p, err, want)
		}
	}
}

func TestHostFits(t *testing.T) {
	google, _ := new(Catalog).Lookup("google")
	microsoft, _ := new(Catalog).Lookup("microsoft/login.microsoftonline.us/contoso.us")
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
		{google, "ACCOUNTS.google.com", true},
		{google, "evil.test/.google.com", false},
		{google, "evil.test?.google.com", false},
		{google, "evil.test#.google.com", false},
		{google, "user@.google.com", false},
		{google, "user@accounts.google.com", false},
		{google, "evil.test:443.google.com", false},
		{google, ".google.com", false},
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
	var c Catalog
	for _, r := range builtInRows(f) {
		s := r.Name
		for _, v := range r.Variables {
			s += "/" + v.Example
		}
		f.Add(s, "https://login.microsoftonline.com/"+contoso+"/v2.0", "login.microsoftonline.com")
		f.Add(r.Name, "https://"+r.Name+".com", r.Name+".com")
	}
	for _, s := range []string{"microsoft/common", "microsoft/" + contoso, "microsoft/evil.test/x", "microsoft/../x", "google/x", "shopify/evil.test",
		"gitlab/127.0.0.1", "gitlab/user@evil.test", "gitlab/evil.test:8443", "okta/evil.test#", ""} {
		f.Add(s, "", "")
	}
	f.Fuzz(func(t *testing.T, s, name, host string) {
		p, err := c.Lookup(s)
		if err != nil {
			if p != nil {
				t.Errorf("%q: got %v and %v, want an error alone", s, p, err)
			}
			return
		}
		row := builtIn()[p.Name].row
		for i, a := range p.addresses() {
			u, err := url.Parse(a.url)
			if address.Check(a.url) != nil || err != nil || u.Scheme != "https" || u.Port() != "" || u.RawQuery != "" && !strings.Contains(row.addresses()[i].url, "?") ||
				strings.ContainsAny(a.url, "{}%") || strings.Contains(u.Path, "..") {
				t.Fatalf("%q: got the address %q", s, a.url)
			}
			if !withinRow(row, row.addresses()[i].url, u.Hostname()) {
				t.Errorf("%q: leads to %q", s, a.url)
			}
			if !p.HostFits(u.Host) {
				t.Errorf("%q: %q is not one of the row's hosts", s, u.Host)
			}
		}
		if p.HostFits(host) && (strings.ContainsAny(host, "/@:?#") || !strings.Contains(host, ".")) {
			t.Errorf("%q: the host %q fits", s, host)
		}
		if p.Name == "microsoft" && p.IssuerFits(name) && !strings.HasPrefix(name, "https://login.") {
			t.Errorf("%q: the issuer %q fits", s, name)
		}
	})
}

// withinRow reports whether a host may come of an address of a row. It does not use
// what the package does: all that stands after the last variable of the host must
// be there, and if that is less than a domain, the variable is one that may say the
// domain.
func withinRow(r *Row, template, host string) bool {
	template = strings.TrimPrefix(template, "https://")
	template, _, _ = strings.Cut(template, "/")
	i := strings.LastIndexByte(template, '}')
	if i < 0 {
		return host == template
	}
	fixed := template[i+1:]
	if strings.Count(fixed, ".") >= 1 && len(fixed) > len(".com") {
		return strings.HasSuffix(host, fixed)
	}
	v := r.Variables[slices.IndexFunc(r.Variables, func(v Variable) bool { return strings.HasSuffix(template[:i+1], "{"+v.Name+"}") })]
	switch {
	case strings.HasPrefix(v.Prefix, "/"): // the path begins with it
		return withinRow(r, strings.TrimSuffix(template, "{"+v.Name+"}"), host)
	case v.Values != nil:
		return slices.ContainsFunc(slices.Collect(maps.Values(v.Values)), func(text string) bool { return strings.HasSuffix(host, text+v.Suffix+fixed) })
	case v.Host:
		return strings.Contains(host, ".") && net.ParseIP(host) == nil
	}
	domain := v.Example[strings.LastIndexByte(v.Example[:strings.LastIndexByte(v.Example, '.')], '.'):]
	return strings.HasSuffix(host, domain[:strings.LastIndexByte(domain, '.')+1]+host[strings.LastIndexByte(host, '.')+1:])
}
