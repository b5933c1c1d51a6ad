package authprofile_test

import (
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/authprofile/authprofile"
)

// FuzzCallback feeds queries to Finish. "STATE" in them stands for the state
// of a flow that is in progress. Nothing is asked of the provider without that
// state, a code is asked about once and as it came, and no error's text has
// more of the query in it than an error code in its standard's letters.
func FuzzCallback(f *testing.F) {
	for _, seed := range []string{
		"", "code=a&state=STATE", "code=a&state=STATE&iss=https://login.example.com", "code=a&state=", "code=a",
		"state=STATE&error=access_denied&error_description=no&iss=https://login.example.com",
		"state=STATE&state=STATE&code=a", "state=STATE&code=a&code=b", "state=STATE&code=a&error=b",
		"state=STATE&iss=https://evil.example.com&code=a", "state=STATE&access_token=a&code=b", "#access_token=a&state=STATE",
		"state=STATE%00&code=a", "state=%53TATE&code=a", "state=STATE;code=a", "state=STATE&code=%ff%00%0d%0a&iss=https://login.example.com",
		"state=STATE&error=%3Cscript%3E%22%5C%0a%c3%a9%e2%80%ae&iss=https://login.example.com", "State=STATE&Code=a", "state=STATE&code&error",
	} {
		f.Add(seed)
	}

	var asked []url.Values
	provider := roundTrip(func(r *http.Request) (*http.Response, error) {
		answer := func(status int, body string) (*http.Response, error) {
			return &http.Response{
				StatusCode: status, Header: http.Header{"Content-Type": {"application/json"}},
				Body: io.NopCloser(strings.NewReader(body)), Request: r,
			}, nil
		}
		if r.URL.Path != "/token" {
			return answer(200, `{"issuer":"https://login.example.com","authorization_endpoint":"https://login.example.com/auth",
				"token_endpoint":"https://login.example.com/token","authorization_response_iss_parameter_supported":true}`)
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		form, err := url.ParseQuery(string(body))
		asked = append(asked, form)
		if err != nil {
			return nil, err
		}
		return answer(400, `{"error":"invalid_grant"}`)
	})
	m := &authprofile.Manager{HTTPClient: &http.Client{Transport: provider}, RedirectURL: callbackAddress}
	p := &authprofile.Profile{
		ID: "crm", Type: authprofile.TypeUser, ClientID: "c", ClientSecret: "s",
		Endpoints: authprofile.Endpoints{DiscoveryURL: "https://login.example.com/.well-known/openid-configuration"},
	}
	if err := m.Save(f.Context(), p); err != nil {
		f.Fatal(err)
	}
	texts := []string{
		"authprofile: finish: the callback is too large",
		"authprofile: finish: the callback has no state that we gave out",
		"authprofile: finish: the callback has a token in it, which was not asked for",
		"authprofile: finish: the callback must have either a code or an error",
		"authprofile: finish: not found: no such authorization in progress, or already finished, or expired",
		`authprofile: finish "crm": the callback comes from another issuer than the one that was asked`,
		`authprofile: finish "crm": the callback does not name its issuer, though the provider promises that`,
		`authprofile: finish "crm": the provider refuses (invalid_grant, HTTP 400)`,
	}
	for _, name := range []string{"state", "code", "iss", "error", "error_description"} {
		texts = append(texts, `authprofile: finish: the callback has more than one "`+name+`"`)
	}

	f.Fuzz(func(t *testing.T, raw string) {
		flow, err := m.Begin(t.Context(), p, "ada")
		if err != nil {
			t.Fatal(err)
		}
		query, _ := url.ParseQuery(strings.ReplaceAll(raw, "STATE", flow.State))
		asked = nil
		g, err := m.Finish(t.Context(), "ada", query)
		if err == nil {
			t.Fatalf("got a grant: %v", g)
		}
		valid := slices.Equal(query["state"], []string{flow.State}) && slices.Equal(query["iss"], []string{"https://login.example.com"}) &&
			len(query["code"]) == 1 && query.Get("code") != "" && query.Get("error") == ""
		switch {
		case len(asked) > 1:
			t.Errorf("got %d token requests, want one at most", len(asked))
		case len(asked) == 1 && !valid:
			t.Errorf("got a token request for %q", raw)
		case len(asked) == 1 && (asked[0].Get("code") != query.Get("code") || asked[0].Get("code_verifier") != string(flow.Verifier)):
			t.Errorf("got form %v, want the code as it came and the flow's verifier", asked[0])
		}
		text := err.Error()
		if code, ok := strings.CutPrefix(text, `authprofile: finish "crm": the provider answers `); ok {
			if len(code) > 64 || strings.ContainsFunc(code, func(r rune) bool { return r < ' ' || r > '~' || r == '"' || r == '\\' }) {
				t.Errorf("got error code %q", code)
			}
			if !slices.Equal(query["state"], []string{flow.State}) {
				t.Errorf("got %q without the state", text)
			}
		} else if !slices.Contains(texts, text) {
			t.Errorf("got %q, want one of the texts that are known", text)
		}
		if !utf8.ValidString(text) {
			t.Errorf("got %q, want text", text)
		}
	})
}
