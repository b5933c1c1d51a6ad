package providertest_test

import (
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/authprofile/authprofile/providertest"
)

// A sent is a request to a fake.
type sent struct {
	method, address string            // zero: POST, to the token endpoint
	basic           bool              // the client authenticates itself with Basic
	secret          string            // of the client; "" is the right one
	bearer          any               // an access token
	header          map[string]string // an empty one is left out altogether
	form, json      []string          // names and values of the body, if not nil
	post            bool              // the form, or JSON, has client_id and client_secret
}

// A got is the answer to it.
type got struct {
	status int
	header http.Header
	body   string
	v      map[string]any // of JSON, or of a form
}

func (r sent) to(t *testing.T, srv *providertest.Server) got {
	t.Helper()
	if r.method == "" {
		r.method = "POST"
	}
	if r.address == "" {
		r.address = srv.TokenURL()
	}
	if r.secret == "" {
		r.secret = providertest.ClientSecret
	}
	if r.post {
		credentials := []string{"client_id", providertest.ClientID, "client_secret", r.secret}
		if r.json != nil {
			r.json = append(slices.Clone(r.json), credentials...)
		} else {
			r.form = append(slices.Clone(r.form), credentials...)
		}
	}
	body, kind := "", ""
	switch {
	case r.json != nil:
		object := map[string]string{}
		for name, values := range form(r.json...) {
			object[name] = values[0]
		}
		text, err := json.Marshal(object)
		if err != nil {
			t.Fatal(err)
		}
		body, kind = string(text), "application/json"
	case r.form != nil:
		body, kind = form(r.form...).Encode(), "application/x-www-form-urlencoded"
	}
	req, err := http.NewRequest(r.method, r.address, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if kind != "" {
		req.Header.Set("Content-Type", kind)
	}
	if r.basic {
		req.SetBasicAuth(providertest.ClientID, r.secret)
	}
	if r.bearer != nil {
		req.Header.Set("Authorization", "Bearer "+r.bearer.(string))
	}
	for name, value := range r.header {
		req.Header.Set(name, value)
	}
	resp, err := srv.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	g := got{status: resp.StatusCode, header: resp.Header, body: string(text)}
	if strings.HasPrefix(resp.Header.Get("Content-Type"), "application/x-www-form-urlencoded") {
		g.v = map[string]any{}
		values, err := url.ParseQuery(g.body)
		if err != nil {
			t.Fatal(err)
		}
		for name := range values {
			g.v[name] = values.Get(name)
		}
	} else {
		json.Unmarshal(text, &g.v) // not all answers are objects
	}
	return g
}

// want checks the status and members of an answer. A member that is wanted as
// nil must be missing or null. "*" stands for any text.
func (g got) want(t *testing.T, what string, status int, members map[string]any) got {
	t.Helper()
	if g.status != status {
		t.Errorf("%s: got status %d %q, want %d", what, g.status, g.body, status)
		return g
	}
	for _, name := range slices.Sorted(maps.Keys(members)) {
		want, have := members[name], g.at(name)
		if text, ok := have.(string); want == "*" && ok && text != "" {
			continue
		}
		if n, ok := want.(int); ok {
			want = float64(n)
		}
		if have != want {
			t.Errorf("%s: got %s %v in %s, want %v", what, name, have, g.body, want)
		}
	}
	return g
}

// at returns the member at a path: "team.id".
func (g got) at(path string) any {
	var v any = g.v
	for name := range strings.SplitSeq(path, ".") {
		object, _ := v.(map[string]any)
		v = object[name]
	}
	return v
}

// text is at for texts that must be there.
func (g got) text(t *testing.T, path string) string {
	t.Helper()
	text, ok := g.at(path).(string)
	if !ok {
		t.Fatalf("got no text %s in %s", path, g.body)
	}
	return text
}

// codeForm is a form for a code of a new authorization, without credentials.
func codeForm(t *testing.T, srv *providertest.Server, pairs ...string) []string {
	t.Helper()
	return exchange(authorize(t, srv, pairs...).Get("code"))
}

func refreshForm(token any) []string {
	text, _ := token.(string)
	return []string{"grant_type", "refresh_token", "refresh_token", text}
}

// wantPage checks that an authorization request ends on a page of the
// provider's own.
func wantPage(t *testing.T, srv *providertest.Server, pairs ...string) {
	t.Helper()
	q := form("response_type", "code", "client_id", providertest.ClientID, "redirect_uri", redirect, "state", "s")
	for i := 0; i < len(pairs); i += 2 {
		q.Set(pairs[i], pairs[i+1])
	}
	if u, err := srv.Authorize(srv.AuthURL() + "?" + q.Encode()); err == nil {
		t.Errorf("authorization request %v: got sent to %s, want a page", pairs, u)
	}
}

func TestProviderNames(t *testing.T) {
	for _, test := range []struct {
		name     string
		switches []string
		want     string // part of the error; "": none
	}{
		{"github", nil, ""},
		{"github/github.example.com", []string{"app"}, ""},
		{"microsoft", nil, ""},
		{"microsoft/login.microsoftonline.us/contoso.com", nil, ""},
		{"shopify/acme", nil, ""},
		{"nowhere", nil, "airtable, "},
		{"", nil, "airtable, "},
		{"google/example.com", nil, "no variable"},
		{"shopify/", nil, "shop"},
		{"shopify/acme/more", nil, "shop"},
		{"shopify/acme.example.com", nil, "shop"},
		{"github/https:", nil, "host"},
		{"slack", []string{"rotate"}, "rotation"},
	} {
		srv, err := providertest.Start(providertest.Provider(test.name, test.switches...))
		switch {
		case err == nil && test.want == "":
			srv.Close()
		case err == nil:
			srv.Close()
			t.Errorf("%q %q: got no error, want one about %q", test.name, test.switches, test.want)
		case test.want == "" || !strings.Contains(err.Error(), test.want):
			t.Errorf("%q %q: got error %v, want %q", test.name, test.switches, err, test.want)
		}
	}
}

// TestEveryFake checks that the methods of a Server do at each fake what they
// do at any other.
func TestEveryFake(t *testing.T) {
	for _, test := range []struct {
		name  string
		asked []string // of the authorization request
		r     sent     // how the client sends token requests; form or json is not nil
		api   map[string]string
	}{
		{"atlassian", forAtlassian, sent{post: true, form: []string{}}, nil},
		{"bitbucket", nil, sent{basic: true, form: []string{}}, nil},
		{"box", nil, sent{post: true, form: []string{}}, nil},
		{"docusign", []string{"scope", "signature"}, sent{basic: true, form: []string{}}, nil},
		{"dropbox", []string{"token_access_type", "offline"}, sent{basic: true, form: []string{}}, nil},
		{"github app", nil, sent{post: true, header: acceptJSON, form: []string{}}, nil},
		{"google", forGoogle, sent{post: true, form: []string{}}, nil},
		{"hubspot", nil, sent{post: true, form: []string{}}, nil},
		{"linear", []string{"scope", "read"}, sent{post: true, form: []string{}}, nil},
		{"microsoft", nil, sent{post: true, form: []string{}}, nil},
		{"notion", forNotion, sent{basic: true, header: notionHeader, json: []string{}}, notionHeader},
		{"quickbooks", forQuickBooks, sent{basic: true, header: acceptJSON, form: []string{}}, nil},
		{"salesforce", forSalesforce, sent{post: true, form: []string{}}, nil},
		{"servicenow", nil, sent{post: true, form: []string{}}, nil},
		{"shopify", []string{"scope", "read_orders"}, sent{post: true, form: []string{"expiring", "1"}}, nil},
		{"slack rotation", []string{"scope", "chat:write"}, sent{basic: true, form: []string{}}, nil},
		{"snowflake", []string{"scope", "refresh_token"}, sent{basic: true, form: []string{}}, nil},
		{"x", forX, sent{basic: true, form: []string{}}, nil},
		{"xero", forXero, sent{basic: true, form: []string{}}, map[string]string{"Xero-tenant-id": "70784a63-d24b-46a9-a4db-0e70a274b056"}},
		{"zendesk expiring", []string{"scope", "read"}, sent{post: true, form: []string{}}, nil},
		{"zoom", nil, sent{basic: true, form: []string{}}, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			words := strings.Fields(test.name)
			srv := providertest.NewServer(t, providertest.Provider(words[0], words[1:]...))
			srv.SetSigning(providertest.ES256) // whose keys are made faster
			send := func(form []string) got {
				t.Helper()
				r := test.r
				if r.json != nil {
					r.json = append(slices.Clone(r.json), form...)
				} else {
					r.form = append(slices.Clone(r.form), form...)
				}
				return r.to(t, srv)
			}

			if address := srv.DiscoveryURL(); address != "" {
				if _, doc := get(t, srv, address, ""); doc["token_endpoint"] != srv.TokenURL() || doc["issuer"] != srv.Issuer() {
					t.Errorf("got document %v, want token endpoint %s of %s", doc, srv.TokenURL(), srv.Issuer())
				}
			}
			srv.SetConsent(providertest.Consent{Subject: "ada"})
			g := send(codeForm(t, srv, test.asked...))
			access, refresh := g.text(t, "access_token"), g.text(t, "refresh_token")
			requests := srv.Requests()
			if len(requests) != 1 || srv.Count("authorization_code") != 1 || requests[0].Subject != "ada" || requests[0].Error != "" ||
				requests[0].IssuedAccess != providertest.Fingerprint(access) || requests[0].IssuedRefresh != providertest.Fingerprint(refresh) {
				t.Errorf("got records %+v, want one of what was issued", requests)
			}
			if !srv.IsCurrent(refresh) {
				t.Error("the refresh token is not current")
			}
			api := func() bool {
				r := sent{method: "GET", address: srv.APIURL() + "/something", header: maps.Clone(test.api), bearer: access}
				if words[0] == "shopify" {
					r.bearer, r.header = nil, map[string]string{"X-Shopify-Access-Token": access}
				}
				g := r.to(t, srv)
				return g.status == 200 && g.at("sub") == "ada"
			}
			if !api() {
				t.Error("the API refuses the access token")
			}

			srv.Fault(providertest.Token, providertest.Fault{Status: 503})
			if g := send(refreshForm(refresh)); g.status != 503 {
				t.Errorf("faulty refresh: got status %d, want 503", g.status)
			}
			srv.Mutate(providertest.Token, func(answer map[string]any) { answer["more"] = "m" })
			g = send(refreshForm(refresh)).want(t, "refresh", 200, map[string]any{"access_token": "*", "more": "m"})
			access = g.text(t, "access_token")
			if next, ok := g.at("refresh_token").(string); ok {
				refresh = next
			}
			if got := srv.Count("refresh_token"); got != 2 || !srv.IsCurrent(refresh) {
				t.Errorf("got %d refreshes, refresh token current %v, want 2, true", got, srv.IsCurrent(refresh))
			}
			if got := srv.RevokeUser("ada"); got != 1 || srv.IsLive(refresh) || api() {
				t.Errorf("revoking the user: got %d grants, live %v, want 1 that ended", got, srv.IsLive(refresh))
			}
			if g := send(refreshForm(refresh)); g.at("access_token") != nil {
				t.Errorf("refresh after that: got %s, want a refusal", g.body)
			}

			srv.SetConsent(providertest.Consent{Error: "access_denied"})
			if q := authorize(t, srv, test.asked...); q.Get("error") == "" || q.Get("state") != "the state" || q.Has("code") {
				t.Errorf("denied: got %v, want an error", q)
			}
			srv.SetClientSecret(providertest.ClientID, "another")
			if g := send(refreshForm(refresh)); g.at("access_token") != nil || srv.Requests()[3].Error == "" {
				t.Errorf("wrong secret: got %s, want a refusal", g.body)
			}
		})
	}
}
