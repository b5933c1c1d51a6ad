package catalog

import (
	"bytes"
	"cmp"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/authprofile/authprofile/internal/address"
)

var update = flag.Bool("update", false, "record new rows, and those that have moved as former_origins says, in "+identitiesFile)

const identitiesFile = "testdata/identities.json"

// An identity is what a release must not change of a row: how stored templates
// are read, which issuer or origin has given the grants, and how the client
// authenticates. A change of it would break stored profiles, or cost users their
// grants.
type identity struct {
	Name          string            `json:"name"`
	Usage         string            `json:"usage"` // the variables: names, order, and which are optional
	AuthMethod    string            `json:"auth_method,omitempty"`
	AppAuthMethod string            `json:"app_auth_method,omitempty"` // empty: there is no grant for applications
	ClientIDParam string            `json:"client_id_param,omitempty"`
	TenantIDs     map[string]string `json:"tenant_ids,omitempty"`
	FormerOrigins []string          `json:"former_origins,omitempty"`
	Templates     map[string]origin `json:"templates"` // examples
}

// An origin is where the grants of a template come from.
type origin struct {
	DiscoveryURL string `json:"discovery_url,omitempty"`
	Issuer       string `json:"issuer,omitempty"`       // if not that of the discovery URL
	TokenOrigin  string `json:"token_origin,omitempty"` // without a document
}

func originOf(p *Provider) origin {
	if p.DiscoveryURL != "" {
		return origin{DiscoveryURL: p.DiscoveryURL, Issuer: p.Issuer}
	}
	return origin{TokenOrigin: address.ShortOriginOf(p.TokenURL)}
}

// identityOf returns the identity of a row, with a few templates: without
// optional variables, with all, and with each value that a variable lists.
func identityOf(t *testing.T, r *Row) identity {
	t.Helper()
	id := identity{
		Name: r.Name, Usage: r.Usage(), AuthMethod: r.AuthMethod, ClientIDParam: r.ClientIDParam, TenantIDs: r.TenantIDs,
		FormerOrigins: r.FormerOrigins, Templates: make(map[string]origin),
	}
	if r.App != nil {
		id.AppAuthMethod = cmp.Or(r.App.Auth, r.AuthMethod, "by default")
	}
	short, all := r.Name, r.Name
	var templates []string
	for i, v := range r.Variables {
		if !v.isOptional() {
			short += "/" + v.Example
		}
		all += "/" + v.Example
		for value := range v.Values {
			s := r.Name
			for j, w := range r.Variables {
				if j == i {
					s += "/" + value
				} else {
					s += "/" + w.Example
				}
			}
			templates = append(templates, s)
		}
	}
	for _, s := range append(templates, short, all) {
		p, err := New([]*Row{r}).Lookup(s)
		if err != nil {
			t.Fatalf("%s: %v", s, err)
		}
		id.Templates[s] = originOf(p)
	}
	return id
}

// changed says what is not as recorded in a row, and must be; or else, whether the
// record is to be brought up to date.
func (id identity) changed(t *testing.T, r *Row) (problem string, outdated bool) {
	t.Helper()
	now := identityOf(t, r)
	switch {
	case now.Usage != id.Usage:
		return "the variables: " + now.Usage + ", was " + id.Usage, false
	case now.AuthMethod != id.AuthMethod:
		return "auth_method: " + now.AuthMethod + ", was " + id.AuthMethod, false
	case now.AppAuthMethod != id.AppAuthMethod && id.AppAuthMethod != "":
		return "app.auth: " + now.AppAuthMethod + ", was " + id.AppAuthMethod, false
	case now.ClientIDParam != id.ClientIDParam:
		return "client_id_param: " + now.ClientIDParam + ", was " + id.ClientIDParam, false
	case !maps.Equal(now.TenantIDs, id.TenantIDs):
		return "tenant_ids", false
	}
	for _, o := range id.FormerOrigins {
		if !slices.Contains(now.FormerOrigins, o) {
			return "former_origins: they have no " + o + " any more", false
		}
	}
	c := New([]*Row{r})
	for template, was := range id.Templates {
		p, err := c.Lookup(template)
		if err != nil {
			return "the template " + template + ": it " + err.Error(), false
		}
		is := originOf(p)
		moved := was.TokenOrigin != "" && slices.Contains(p.FormerOrigins, was.TokenOrigin)
		if is != was && !moved {
			was, _ := json.Marshal(was)
			is, _ := json.Marshal(is)
			return "the template " + template + " leads to " + string(is) + ", was " + string(was), false
		}
	}
	return "", !reflect.DeepEqual(now, id)
}

// What a stored profile means does not change silently. The templates of each row
// that has been recorded lead where they did, and the client authenticates as it did.
func TestReleasedRowsKeepTheirIdentity(t *testing.T) {
	text, err := os.ReadFile(identitiesFile)
	if err != nil {
		t.Fatal(err)
	}
	var list []identity
	if err := json.Unmarshal(text, &list); err != nil {
		t.Fatal(err)
	}
	recorded := make(map[string]identity)
	for _, id := range list {
		recorded[id.Name] = id
	}
	for _, r := range builtInRows(t) {
		id, ok := recorded[r.Name]
		delete(recorded, r.Name)
		problem, outdated := "", true
		if ok {
			problem, outdated = id.changed(t, r)
		}
		switch {
		case problem != "":
			t.Errorf("%s: %s. Stored profiles and grants depend on it: give what is new a name of its own, "+
				"or list the earlier origin in former_origins if the provider has moved its token endpoint. "+
				"If no release has the row yet, delete it from %s, and run the test with -update.", r.Name, problem, identitiesFile)
		case outdated && *update:
			list = append(slices.DeleteFunc(list, func(id identity) bool { return id.Name == r.Name }), identityOf(t, r))
		case outdated:
			t.Errorf("%s: it is not recorded as it is now: go test ./internal/catalog -run ReleasedRows -update", r.Name)
		}
	}
	for name := range recorded {
		t.Errorf("%s: the row is gone. Stored profiles name it: it must stay.", name)
	}
	if *update && !t.Failed() {
		writeIdentities(t, list)
	}
}

// writeIdentities writes one row in each line.
func writeIdentities(t *testing.T, list []identity) {
	t.Helper()
	slices.SortFunc(list, func(a, b identity) int { return strings.Compare(a.Name, b.Name) })
	var b bytes.Buffer
	b.WriteByte('[')
	for i, id := range list {
		text, err := json.Marshal(id)
		if err != nil {
			t.Fatal(err)
		}
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, "\n%s", text)
	}
	b.WriteString("\n]\n")
	if err := os.WriteFile(identitiesFile, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestChangesOfAnIdentity(t *testing.T) {
	region := Variable{Name: "region", Title: "Region", Example: "eu", Values: map[string]string{"us": "", "eu": ".eu"}, Default: "us"}
	before := func() *Row {
		r := goodRow()
		r.Variables = append(r.Variables, region)
		r.TokenURL = "https://{shop}{region}.example.com/token"
		r.AuthMethod, r.ClientIDParam = "client_secret_basic", "client_key"
		r.App, r.FormerOrigins = &Request{Auth: "client_secret_post"}, []string{"https://example.com"}
		return r
	}
	document := func() *Row {
		r := before()
		r.AuthURL, r.TokenURL, r.App = "", "", nil
		r.DiscoveryURL, r.Issuer, r.TenantIDs = "https://{shop}.example.com/.well-known/openid-configuration", "https://{shop}.example.com/v1", map[string]string{"a": "b"}
		return r
	}
	for _, test := range []struct {
		what     string
		row      func() *Row
		change   func(*Row)
		refused  bool
		outdated bool
	}{
		{"nothing", before, func(*Row) {}, false, false},
		{"texts and parameters", before, func(r *Row) { r.Title, r.AuthParams = "New", map[string]string{"a": "b"} }, false, false},
		{"another path", before, func(r *Row) { r.TokenURL += "/v2" }, false, false},
		{"a new value", before, func(r *Row) { r.Variables[1].Values = map[string]string{"us": "", "eu": ".eu", "au": ".au"} }, false, true},
		{"another example", before, func(r *Row) { r.Variables[0].Example = "other" }, false, true},
		{"another origin", before, func(r *Row) { r.TokenURL = "https://{shop}{region}.example.net/token" }, true, false},
		{"a move", before, func(r *Row) {
			r.TokenURL = "https://{shop}{region}.example.net/token"
			r.FormerOrigins = []string{"https://example.com", "https://{shop}{region}.example.com"}
		}, false, true},
		{"a move that names another origin", before, func(r *Row) {
			r.TokenURL = "https://{shop}{region}.example.net/token"
			r.FormerOrigins = []string{"https://example.com", "https://{shop}.example.org"}
		}, true, false},
		{"a value less", before, func(r *Row) {
			r.Variables[1].Values, r.Variables[1].Default = map[string]string{"eu": ".eu"}, "eu"
		}, true, false},
		{"another default", before, func(r *Row) { r.Variables[1].Default = "eu" }, true, false},
		{"another name of a variable", before, func(r *Row) {
			r.Variables[1].Name, r.TokenURL = "place", "https://{shop}{place}.example.com/token"
		}, true, false},
		{"another order", before, func(r *Row) { slices.Reverse(r.Variables) }, true, false},
		{"a variable that is not optional any more", before, func(r *Row) { r.Variables[1].Default = "" }, true, false},
		{"another client authentication", before, func(r *Row) { r.AuthMethod = "client_secret_post" }, true, false},
		{"another one of applications", before, func(r *Row) { r.App.Auth = "" }, true, false},
		{"no grant for applications any more", before, func(r *Row) { r.App = nil }, true, false},
		{"another name of client_id", before, func(r *Row) { r.ClientIDParam = "" }, true, false},
		{"a grant for applications", document, func(r *Row) { r.App = &Request{} }, false, true},
		{"a former origin less", before, func(r *Row) { r.FormerOrigins = nil }, true, false},
		{"another document", document, func(r *Row) { r.DiscoveryURL += "2" }, true, false},
		{"another issuer", document, func(r *Row) { r.Issuer += "2" }, true, false},
		{"another tenant ID", document, func(r *Row) { r.TenantIDs = nil }, true, false},
	} {
		id := identityOf(t, test.row())
		r := test.row()
		test.change(r)
		problem, outdated := id.changed(t, r)
		if (problem != "") != test.refused || outdated != test.outdated {
			t.Errorf("%s: got %q, %t, want a problem: %t, outdated: %t", test.what, problem, outdated, test.refused, test.outdated)
		}
	}
}
