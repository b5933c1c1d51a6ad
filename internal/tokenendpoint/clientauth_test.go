package tokenendpoint

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func TestCheckAuth(t *testing.T) {
	assert := func(context.Context) (string, error) { return "a.b.c", nil }
	for _, tt := range []struct {
		method, secret string
		key            bool
		assertion      func(context.Context) (string, error)
		want           string
	}{
		{"none", "", false, nil, ""},
		{"none", "s", false, nil, `"none" is for clients without a secret`},
		{"client_secret_post", "s", false, nil, ""},
		{"client_secret_post", "", false, nil, "needs a client secret"},
		{"client_secret_basic", "s", false, nil, ""},
		{"client_secret_basic", "", false, nil, "needs a client secret"},
		{"client_secret_basic_raw", "s", false, nil, ""},
		{"client_secret_basic_raw", "", false, nil, "needs a client secret"},
		{"", "s", false, nil, "is unknown"},
		{"private_key", "", true, nil, "is unknown"},
		{"private_key_jwt", "", false, nil, "needs a client key, or Manager.Assertion"},
		{"private_key_jwt", "", true, nil, ""},
		{"private_key_jwt", "", false, assert, ""},
		{"private_key_jwt", "s", true, nil, `"private_key_jwt" is for clients without a secret`},
		{"tls_client_auth", "", false, assert, "needs a client key"},
		{"tls_client_auth", "", true, nil, ""},
		{"tls_client_auth", "s", true, nil, `"tls_client_auth" is for clients without a secret`},
		{"self_signed_tls_client_auth", "", false, nil, "needs a client key"},
		{"self_signed_tls_client_auth", "", true, nil, ""},
	} {
		got := ""
		if err := (&Request{AuthMethod: tt.method, ClientSecret: tt.secret, HasKey: tt.key, Assertion: tt.assertion}).CheckAuth(); err != nil {
			got = err.Error()
		}
		if got != tt.want {
			t.Errorf("%q with secret %q: got %q, want %q", tt.method, tt.secret, got, tt.want)
		}
	}
}

// Whatever the method, no error shows what the client authenticates by, even if
// the provider repeats all that it was sent.
func TestThreat135_NoCredentialIsRepeated(t *testing.T) {
	public := []string{"client_id", "client_assertion_type"}

	for method, m := range authMethods {
		t.Run("135 "+method, func(t *testing.T) {
			r := &Request{URL: "https://provider.test/token", Form: url.Values{"grant_type": {"client_credentials"}}}
			var given []string
			for i := range reflect.TypeFor[Request]().NumField() {
				f := reflect.TypeFor[Request]().Field(i)
				if f.Type.Kind() == reflect.String && f.Name != "URL" && f.Name != "AuthMethod" && f.Name != "ClientID" && f.Name != "Method" {
					given = append(given, "of "+f.Name+" &c.")
					reflect.ValueOf(r).Elem().Field(i).SetString(given[len(given)-1])
				}
			}
			r.ClientID, r.AuthMethod = "reports", method
			r.Assertion = func(context.Context) (string, error) { return "header.claims.signature", nil }

			var sent []string
			provider := roundTrip(func(req *http.Request) (*http.Response, error) {
				body, err := io.ReadAll(req.Body)
				if err != nil {
					return nil, err
				}
				form, err := url.ParseQuery(string(body))
				if err != nil {
					return nil, err
				}
				for name, values := range form {
					if r.Form[name] == nil && !slices.Contains(public, name) {
						sent = append(sent, values...)
					}
				}
				for name, values := range req.Header {
					switch name {
					case "Content-Type", "Accept", "User-Agent":
						continue
					}
					for _, value := range values {
						_, credentials, _ := strings.Cut(value, " ") // after the scheme
						sent = append(sent, credentials)
					}
				}
				answer, err := json.Marshal(map[string]string{"error": "x", "error_description": strings.Join(append(sent, given...), " ")})
				return &http.Response{StatusCode: 400, Body: io.NopCloser(strings.NewReader(string(answer)))}, err
			})
			_, err := Do(t.Context(), provider, r)
			e := wantClass(t, err, Refused)
			for _, credential := range append(sent, given...) {
				if strings.Contains(e.Description, credential) {
					t.Errorf("got description %q, want %q left out", e.Description, credential)
				}
			}
			if !strings.Contains(e.Description, "[redacted]") {
				t.Errorf("got description %q, want what was repeated to be redacted", e.Description)
			}
			if without := m.check(&Request{AuthMethod: method, HasKey: true}) == nil && !m.asserts; without != (len(sent) == 0) {
				t.Errorf("got %d credentials sent, want some if and only if the method has them in the request", len(sent))
			}
		})
	}
}
