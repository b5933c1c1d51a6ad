package catalog

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func builtInRows(t testing.TB) []*Row {
	t.Helper()
	rows, err := Parse([]byte(JSON))
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

// What the built-in catalogue must be, beside what Check wants of any row.
func TestBuiltInRows(t *testing.T) {
	rows := builtInRows(t)
	if !slices.IsSortedFunc(rows, func(a, b *Row) int { return strings.Compare(a.Name, b.Name) }) {
		t.Error("the rows are not sorted by name")
	}
	for _, r := range rows {
		t.Run(r.Name, func(t *testing.T) {
			if err := r.Check(); err != nil {
				t.Error(err)
			}
			if r.Registration == "" || r.RefreshToken == "" {
				t.Error("registration and refresh_token are what people read, and are missing")
			}
			for _, a := range r.addresses() {
				if !strings.HasPrefix(a.url, "https://") {
					t.Errorf("%s: got %s, want https", a.member, a.url)
				}
			}
			s := r.Name
			for _, v := range r.Variables {
				s += "/" + v.Example
			}
			p, err := new(Catalog).Lookup(s)
			if err != nil {
				t.Fatalf("%s, with the examples: %v", s, err)
			}
			if text, _ := json.Marshal(p.Row); strings.Contains(string(text), "{"+firstVariable(r)+"}") {
				t.Errorf("a variable is not replaced: %s", text)
			}
		})
	}
}

func firstVariable(r *Row) string {
	for _, v := range r.Variables {
		return v.Name
	}
	return "none"
}

// The catalogue must not make a program big that uses none of it.
func TestSizeOfTheCatalogue(t *testing.T) {
	if got, limit := len(JSON), 180<<10; got > limit {
		t.Errorf("got %d bytes of JSON, want at most %d", got, limit)
	}
}

// goodRow returns a row without a problem.
func goodRow() *Row {
	return &Row{
		Name: "example", Title: "Example", Revision: "2026-11-26", RegisterURL: "https://example.com/apps",
		Variables: []Variable{{Name: "shop", Title: "Shop", Example: "acme", Pattern: "^[a-z]+$"}},
		AuthURL:   "https://{shop}.example.com/authorize", TokenURL: "https://{shop}.example.com/token",
	}
}

func TestCheck(t *testing.T) {
	if err := goodRow().Check(); err != nil {
		t.Fatalf("got %v, want no error", err)
	}
	for _, test := range []struct {
		member string
		change func(*Row)
	}{
		{"name", func(r *Row) { r.Name = "Example" }},
		{"name", func(r *Row) { r.Name = "a/b" }},
		{"title", func(r *Row) { r.Title = "" }},
		{"revision", func(r *Row) { r.Revision = "November" }},
		{"register_url", func(r *Row) { r.RegisterURL = "" }},
		{"register_url", func(r *Row) { r.RegisterURL = "http://example.com" }},
		{"auth_url", func(r *Row) { r.TokenURL = "" }},
		{"auth_url", func(r *Row) { r.AuthURL = "http://{shop}.example.com/authorize" }},
		{"auth_url", func(r *Row) { r.AuthURL = "https://{other}.example.com/authorize" }},
		{"token_url", func(r *Row) { r.TokenURL = "https://user@example.com/token" }},
		{"refresh_url", func(r *Row) { r.RefreshURL = "ftp://example.com" }},
		{"issuer", func(r *Row) { r.Issuer = "https://example.com" }},
		{"former_origins", func(r *Row) { r.FormerOrigins = []string{"https://example.com/path"} }},
		{"hosts", func(r *Row) { r.Hosts = []string{"https://example.com"} }},
		{"hosts", func(r *Row) { r.Hosts = []string{".com"} }},
		{"host_member", func(r *Row) { r.HostMember = "host" }},
		{"variables", func(r *Row) { r.Variables[0].Name = "Shop" }},
		{"variables", func(r *Row) { r.Variables = append(r.Variables, r.Variables[0]) }},
		{"variables.shop", func(r *Row) { r.Variables[0].Title = "" }},
		{"variables.shop", func(r *Row) { r.Variables[0].Pattern = "" }},
		{"variables.shop", func(r *Row) { r.Variables[0].Pattern = "[a-z]+" }},
		{"variables.shop", func(r *Row) { r.Variables[0].Pattern = "^a|b$" }},
		{"variables.shop", func(r *Row) { r.Variables[0].Pattern = "^[a-z$" }},
		{"variables.shop", func(r *Row) { r.Variables[0].Values = map[string]string{"acme": "acme"} }},
		{"variables.shop", func(r *Row) { r.Variables[0].Example = "ACME" }},
		{"variables.shop", func(r *Row) { r.Variables[0].Default = "ACME" }},
		{"variables.shop", func(r *Row) { r.Variables[0].Prefix = "user@" }},
		{"variables.shop", func(r *Row) { r.TokenURL = "https://{shop}/token"; r.Variables[0].Example = "acme" }},
		{"variables.shop", func(r *Row) {
			r.TokenURL = "https://{shop}/token"
			r.Variables[0].Example, r.Variables[0].Pattern = "acme.example.com", `^[a-z]+\.example\.[a-z.]+$`
		}},
		{"variables.shop", func(r *Row) { r.TokenURL = "https://{shop}?token" }},
		{"variables.shop", func(r *Row) { r.Variables[0].Pattern = `^\Q[a-z]+$` }},
		{"variables", func(r *Row) { r.Variables[0].Name = "token" }},
		{"variables", func(r *Row) { r.Variables[0].Name = "client_secret" }},
		{"auth_method", func(r *Row) { r.AuthMethod = "basic" }},
		{"assertion_audience", func(r *Row) { r.AssertionAudience = "token" }},
		{"body_format", func(r *Row) { r.BodyFormat = "xml" }},
		{"pkce", func(r *Row) { r.PKCE = "plain" }},
		{"id_token", func(r *Row) { r.IDToken = "maybe" }},
		{"callback_code", func(r *Row) { r.CallbackCode = "ticket" }},
		{"callback_code", func(r *Row) { r.CallbackCode = "error_code" }},
		{"expiry_format", func(r *Row) { r.ExpiryFormat = "unix" }},
		{"expiry_format", func(r *Row) { r.ExpiryMember = "expires_at" }},
		{"scope_separator", func(r *Row) { r.ScopeSeparator = ";" }},
		{"errors", func(r *Row) { r.Errors = map[string]string{"gone": "fatal"} }},
		{"app.auth", func(r *Row) { r.App = &Request{Auth: "none"} }},
		{"app", func(r *Row) { r.App = &Request{Method: "POST"} }},
		{"app_grant", func(r *Row) { r.AppGrant = "account_credentials" }},
		{"revocation.url", func(r *Row) { r.Revocation = &Request{} }},
		{"revocation.method", func(r *Row) { r.Revocation = &Request{URL: "https://example.com", Method: "GET"} }},
		{"revocation.auth", func(r *Row) { r.Revocation = &Request{URL: "https://example.com", Auth: "token"} }},
		{"revocation.body_format", func(r *Row) { r.Revocation = &Request{URL: "https://example.com", BodyFormat: "xml"} }},
		{"revocation.headers", func(r *Row) {
			r.Revocation = &Request{URL: "https://example.com", Auth: "none", Headers: map[string]string{"X": "{token}"}}
		}},
		{"revocation_tokens", func(r *Row) { r.RevocationTokens = []string{"id_token"} }},
		{"account", func(r *Row) { r.Account = &Request{URL: "https://example.com"} }},
		{"account", func(r *Row) { r.AccountID = "id" }},
		{"account", func(r *Row) { r.Account, r.AccountID = &Request{URL: "https://example.com", Auth: "none"}, "id" }},
		{"account.method", func(r *Row) { r.Account, r.AccountID = &Request{URL: "https://example.com", Method: "PUT"}, "id" }},
		{"refresh_grant", func(r *Row) { r.RefreshGrant = "exchange" }},
		{"idle_days", func(r *Row) { r.IdleDays = -1 }},
		{"headers", func(r *Row) { r.Headers = map[string]string{"X Y": "z"} }},
		{"api_headers", func(r *Row) { r.APIHeaders = map[string]string{"X": "a\r\nb"} }},
		{"api_headers", func(r *Row) { r.APIHeaders = map[string]string{"X": "{token} x"} }},
		{"api_headers", func(r *Row) { r.APIHeaders = map[string]string{"X": "{token}", "Y": "{token}"} }},
		{"revocation.headers", func(r *Row) {
			r.Revocation = &Request{URL: "https://example.com", Headers: map[string]string{"X Y": "{token}"}}
		}},
		{"account.headers", func(r *Row) {
			r.Account, r.AccountID = &Request{URL: "https://example.com", Headers: map[string]string{"X": "a\r\nb"}}, "id"
		}},
		{"auth_params", func(r *Row) { r.AuthParams = map[string]string{"state": "1"} }},
	} {
		r := goodRow()
		test.change(r)
		err := r.Check()
		if err == nil || !strings.HasPrefix(err.Error(), test.member+": ") && !strings.Contains(err.Error(), "\n"+test.member+": ") {
			t.Errorf("%s, %+v: got %v, want an error that begins with the member", test.member, r, err)
		}
	}
}

func TestCheckNamesEveryProblem(t *testing.T) {
	r := goodRow()
	r.Title, r.Revision, r.AuthMethod = "", "", "basic"
	if got := strings.Count(fmt.Sprint(r.Check()), "\n") + 1; got != 3 {
		t.Errorf("got %d problems, want 3: %v", got, r.Check())
	}
}

func TestParse(t *testing.T) {
	for _, text := range []string{
		``, `{}`, `[{"name": "x", "colour": "red"}]`, `[{"name": 1}]`, `[] []`, `[null]`,
		`[{"name": "x", "variables": [{"regexp": "x"}]}]`, `[{"name": "x", "app": {"x": 1}}]`,
	} {
		if rows, err := Parse([]byte(text)); err == nil {
			t.Errorf("%s: got %v and no error, want one", text, rows)
		}
	}
	rows, err := Parse([]byte(` [{"name": "x"}] `))
	if err != nil || len(rows) != 1 || rows[0].Name != "x" {
		t.Errorf("got %v, %v, want one row", rows, err)
	}
}

// A row of the application comes before a built-in one, and is used only if it can
// be.
func TestRowsOfTheApplication(t *testing.T) {
	own := goodRow()
	google := goodRow()
	google.Name, google.Variables = "google", nil
	google.AuthURL, google.TokenURL = "https://google.example.com/authorize", "https://google.example.com/token"
	bad := goodRow()
	bad.Name, bad.Title, bad.Revision = "bad", "", ""
	c := New([]*Row{own, google, bad})

	p, err := c.Lookup("example/acme")
	if err != nil || p.TokenURL != "https://acme.example.com/token" {
		t.Errorf("got %+v, %v, want the application's row", p, err)
	}
	if p, err = c.Lookup("google"); err != nil || p.TokenURL != "https://google.example.com/token" {
		t.Errorf("got %+v, %v, want the application's row in place of the built-in one", p, err)
	}
	if p, err = c.Lookup("microsoft/common"); err != nil || p.DiscoveryURL == "" {
		t.Errorf("got %+v, %v, want the built-in row", p, err)
	}
	if _, err = c.Lookup("bad/acme"); err == nil || !strings.Contains(err.Error(), "title: ") || !strings.Contains(err.Error(), "revision: ") {
		t.Errorf("got %v, want both problems", err)
	}
	if _, err = New([]*Row{own, own}).Lookup("example/acme"); err == nil {
		t.Error("two rows of one name: got no error, want one")
	}
	if own.AuthURL != goodRow().AuthURL || !reflect.DeepEqual(own, goodRow()) {
		t.Errorf("the row was changed: %+v", own)
	}
}

// A variable cannot lead elsewhere, whatever its row says.
func TestVariables(t *testing.T) {
	row := func(v Variable, host string) *Row {
		r := goodRow()
		v.Name, v.Title = "v", "V"
		r.Variables, r.AuthURL, r.TokenURL = []Variable{v}, "https://"+host+"/authorize", "https://"+host+"/token"
		return r
	}
	lax := Variable{Pattern: "^.*$", Example: "x"}
	quoted := Variable{Pattern: `^\Q(\E|[a-z]+$`, Example: "x"} // which are two branches
	bracket := Variable{Pattern: `^[](]a|[a-z]+$`, Example: "x"}
	host := Variable{Host: true, Example: "git.example.com"}
	optional := Variable{Pattern: "^[a-z]+$", Example: "eu", Optional: true, Suffix: "."}
	values := Variable{Values: map[string]string{"live": "", "sandbox": ".sandbox"}, Example: "sandbox", Default: "live"}
	for _, test := range []struct {
		v     Variable
		host  string
		value string // "-": none
		want  string // the host; empty: refused
	}{
		{lax, "{v}.example.com", "acme", "acme.example.com"},
		{lax, "{v}.example.com", "", ""},
		{lax, "{v}.example.com", "-", ""},
		{lax, "{v}.example.com", "a/b", ""},
		{lax, "{v}.example.com", "evil.test?", ""},
		{lax, "{v}.example.com", "evil.test#", ""},
		{lax, "{v}.example.com", "evil.test%2f", ""},
		{lax, "{v}.example.com", "evil.test\\", ""},
		{lax, "{v}.example.com", "user@evil.test", ""},
		{lax, "{v}.example.com", "evil.test:443", ""},
		{lax, "{v}.example.com", "a..b", ""},
		{lax, "{v}.example.com", "..", ""},
		{lax, "{v}.example.com", "{v}", ""},
		{lax, "{v}.example.com", "a b", ""},
		{lax, "{v}.example.com", "a\n", ""},
		{lax, "{v}.example.com", "ä", ""},
		{lax, "{v}.example.com", strings.Repeat("a", 254), ""},
		{quoted, "{v}.example.com", "acme", "acme.example.com"},
		{quoted, "{v}.example.com", "evil.test-a", ""},
		{bracket, "{v}.example.com", "acme", "acme.example.com"},
		{bracket, "{v}.example.com", "evil.test-a", ""},
		{host, "{v}", "git.acme.test", "git.acme.test"},
		{host, "{v}", "xn--bcher-kva.example", "xn--bcher-kva.example"},
		{host, "{v}", "localhost", ""},
		{host, "{v}", "127.0.0.1", ""},
		{host, "{v}", "127.1", ""},
		{host, "{v}", "0x7f.1", ""},
		{host, "{v}", "1.2.3.0x4", ""},
		{host, "{v}", "[::1]", ""},
		{host, "{v}", "::1", ""},
		{host, "{v}", "git.acme.test:8443", ""},
		{host, "{v}", "u@git.acme.test", ""},
		{host, "{v}", "Git.acme.test", ""},
		{host, "{v}", "git.acme.test.", ""},
		{host, "{v}", ".acme.test", ""},
		{host, "{v}", "-a.acme.test", ""},
		{host, "{v}", "a_b.acme.test", ""},
		{host, "{v}", strings.Repeat("a", 64) + ".test", ""},
		{host, "{v}", strings.Repeat("a.", 127) + "test", ""},
		{optional, "{v}api.example.com", "-", "api.example.com"},
		{optional, "{v}api.example.com", "eu", "eu.api.example.com"},
		{optional, "{v}api.example.com", "", ""},
		{optional, "{v}api.example.com", "EU", ""},
		{values, "api{v}.example.com", "-", "api.example.com"},
		{values, "api{v}.example.com", "live", "api.example.com"},
		{values, "api{v}.example.com", "sandbox", "api.sandbox.example.com"},
		{values, "api{v}.example.com", ".sandbox", ""},
	} {
		template := "example"
		if test.value != "-" {
			template += "/" + test.value
		}
		p, err := New([]*Row{row(test.v, test.host)}).Lookup(template)
		switch {
		case test.want == "" && err == nil:
			t.Errorf("%q: got %q, want an error", test.value, p.TokenURL)
		case test.want != "" && (err != nil || p.TokenURL != "https://"+test.want+"/token"):
			t.Errorf("%q: got %+v, %v, want the host %s", test.value, p, err, test.want)
		case err != nil && len(test.value) > 5 && strings.Contains(err.Error(), test.value):
			t.Errorf("%q: the error repeats the value: %v", test.value, err)
		}
	}
}

// Required variables get their values first.
func TestOrderOfVariables(t *testing.T) {
	r := goodRow()
	r.Variables = []Variable{
		{Name: "region", Title: "Region", Example: "eu", Pattern: "^[a-z]{2}$", Optional: true, Suffix: "."},
		{Name: "shop", Title: "Shop", Example: "acme", Pattern: "^[a-z]+$"},
		{Name: "app", Title: "App", Example: "one", Pattern: "^[a-z]+$", Default: "zero"},
	}
	r.TokenURL = "https://{region}{shop}.example.com/{app}"
	c := New([]*Row{r})
	for template, want := range map[string]string{
		"example/acme":           "https://acme.example.com/zero",
		"example/eu/acme":        "https://eu.acme.example.com/zero",
		"example/eu/acme/one":    "https://eu.acme.example.com/one",
		"example":                "",
		"example/":               "",
		"example//acme":          "",
		"example/eu/acme/one/x":  "",
		"example/acme/eu":        "",
		"example/eu/acme/one/":   "",
		"example/eu/acme//":      "",
		"example/eu/acme/../one": "",
	} {
		p, err := c.Lookup(template)
		if got := err == nil; got != (want != "") || got && p.TokenURL != want {
			t.Errorf("%s: got %+v, %v, want %q", template, p, err, want)
		}
	}
	if got, want := r.Usage(), "example[/{region}]/{shop}[/{app}]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// A host whose variable is left out is none, and not a domain.
func TestHostsWithoutAVariable(t *testing.T) {
	r := goodRow()
	r.Variables = []Variable{{Name: "shop", Title: "Shop", Example: "acme", Pattern: "^[a-z]+$", Optional: true}}
	r.AuthURL, r.TokenURL = "https://example.com/authorize", "https://example.com/token"
	r.Hosts = []string{"{shop}.example.net"}
	for template, want := range map[string]bool{"example": false, "example/acme": true} {
		p, err := New([]*Row{r}).Lookup(template)
		if err != nil {
			t.Fatal(err)
		}
		if got := p.HostFits("acme.example.net"); got != want {
			t.Errorf("%s: got %t for a host below, want %t", template, got, want)
		}
	}
}
