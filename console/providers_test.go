package console_test

import (
	"strings"
	"testing"

	"github.com/authprofile/authprofile"
	"github.com/authprofile/authprofile/console"
)

// The page of a provider says what to register there, and where, and how a profile
// names it.
func TestProvider(t *testing.T) {
	b := open(t, &console.Handler{Manager: new(authprofile.Manager), Operator: operator})
	for _, p := range authprofile.Providers() {
		a := b.get("provider?name=" + p.Name)
		a.wants(t, 200, `href="new-profile?template=`+p.Name+`"`, "Last checked")
		a.lacks(t, "This service added this provider itself", "until its description is corrected")
		if len(a.body) > 50_000 {
			t.Errorf("%s: got %d bytes, want at most 50,000", p.Name, len(a.body))
		}
	}
	b.get("provider?name=microsoft").inOrder(t, "<h1>Provider: Microsoft", "Example", `href="https://`, `rel="noreferrer"`, "<code>microsoft[/{host}]/{tenant}", "after 90 days", "<code>offline_access</code>")
	b.get("provider?name=none").wants(t, 404, "There is no such provider")
	b.get("provider").wants(t, 404)

	b = open(t, &console.Handler{Manager: new(authprofile.Manager), Operator: operator, ReadOnly: true})
	b.get("provider?name=github").lacks(t, "new-profile")
}

// What variables may be, and how long grants live, is said as the row says it.
func TestProviderWithVariables(t *testing.T) {
	m := &authprofile.Manager{Providers: []authprofile.Provider{{
		Name: "acme", Title: "Acme", Revision: "2026-11-01", RegisterURL: "https://acme.example.com/register",
		Registration: "Choose the web application.", RefreshToken: "Always.", Changes: []string{"2027-02-16: nothing."},
		Variables: []authprofile.ProviderVariable{
			{Name: "region", Title: "Region", Example: "eu", Values: map[string]string{"eu": "eu", "us": "america"}},
			{Name: "shop", Title: "Shop", Example: "hats", Pattern: "^[a-z]+$"},
			{Name: "host", Title: "Host", Example: "login.example.com", Host: true, Default: "acme.example.com"},
		},
		AuthURL: "https://{region}.acme.example.com/{shop}/auth", TokenURL: "https://{host}/token", Scopes: []string{"offline"},
		App: &authprofile.ProviderRequest{URL: "https://acme.example.com/app"}, IdleDays: 90,
	}}}
	b := open(t, &console.Handler{Manager: m, Operator: operator})
	b.get("provider?name=acme").inOrder(t,
		"<h1>Provider: Acme</h1>", "This service added this provider itself",
		"<h3>Region</h3>", "<code>eu</code>, <code>us</code> (america)",
		"<h3>Shop</h3>", "<code>hats</code>", "<code>^[a-z]&#43;$</code>",
		"<h3>Host</h3>", "Default", "<code>acme.example.com</code>", "A host name",
		"Choose the web application.", "<code>https://acme.example.com/register</code>", "<code>acme/{region}/{shop}",
		"can act for the application itself", "Always.", "after 90 days", "No end is known", "<code>offline</code>", "2026-11-01",
		"2027-02-16: nothing.", "<code>https://{region}.acme.example.com/{shop}/auth</code>", "<code>https://acme.example.com/app</code>")
	b.get("providers").wants(t, 200, "(added by this service)")
}

// A service's own row is marked also if it has the name of a built-in one, and its
// address is no link, whatever it is. What is wrong with it is told.
func TestThreat162_OwnProviders(t *testing.T) {
	const hostile = `"><script>alert(1)</script>`
	m := &authprofile.Manager{Providers: []authprofile.Provider{
		{Name: "github", Title: "Our GitHub", Revision: "2026-11-01", RegisterURL: "javascript:alert(1)"},
		{
			Name: "a" + hostile, Title: hostile, Revision: hostile, RegisterURL: "data:text/html," + hostile, Registration: hostile, RefreshToken: hostile,
			Changes: []string{hostile}, Scopes: []string{hostile}, AuthURL: "javascript:alert(1)", TokenURL: hostile,
			Variables: []authprofile.ProviderVariable{{Name: hostile, Title: hostile, Example: hostile, Values: map[string]string{hostile: hostile}}},
		},
	}}
	b := open(t, &console.Handler{Manager: m, Operator: operator})
	pages := []*answer{b.get("providers"), b.get("provider?name=github"), b.get("provider?name=a%22%3E%3Cscript%3Ealert(1)%3C/script%3E")}
	pages[1].wants(t, 200, "Our GitHub", "This service added this provider itself", "until its description is corrected", "<code>javascript:alert(1)</code>")
	for _, a := range pages {
		a.wants(t, 200)
		a.lacks(t, "<script>alert", `href="data:`)
		for _, link := range regexpHref.FindAllStringSubmatch(a.body, -1) {
			if strings.Contains(link[1], ":") {
				t.Errorf("got a link to %q, want none that leaves the console", link[1])
			}
		}
	}
}
