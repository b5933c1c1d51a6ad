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
