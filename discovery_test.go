package authprofile

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/authprofile/authprofile/internal/discovery"
	"github.com/authprofile/authprofile/internal/idtoken"
	"github.com/authprofile/authprofile/internal/webtest"
)

// managerOn makes a Manager in a network.
func managerOn(w *webtest.Web) *Manager { return &Manager{HTTPClient: w.Client()} }

// wantWrong checks that err is about the document: to be corrected, with its
// address, and without a word of what it says.
func wantWrong(t *testing.T, err error, address string) {
	t.Helper()
	var field *FieldError
	switch {
	case err == nil:
		t.Error("got no error, want one")
	case !errors.Is(err, ErrConfiguration):
		t.Errorf("got %v, want ErrConfiguration", err)
	case !errors.As(err, &field) || field.Field != fieldDiscovery && field.Field != fieldTemplate:
		t.Errorf("got %v, want a FieldError for the document's address", err)
	case !strings.Contains(err.Error(), address):
		t.Errorf("got %q, want the address %s in it", err, address)
	case strings.Contains(err.Error(), "S3NT1NEL"):
		t.Errorf("got %q, want nothing of the document in it", err)
	}
}

// wantAway checks that err is about the provider not being there.
func wantAway(t *testing.T, err error) {
	t.Helper()
	if err == nil || errors.Is(err, ErrConfiguration) {
		t.Errorf("got %v, want an error that is not ErrConfiguration", err)
	}
}

func TestDiscover(t *testing.T) {
	w := webtest.New()
	w.Set(webtest.DocumentURL, webtest.JSON(webtest.Document(map[string]any{
		"device_authorization_endpoint":                  webtest.Issuer + "/device",
		"token_endpoint_auth_methods_supported":          []string{"client_secret_post"},
		"scopes_supported":                               []string{"openid", "email"},
		"grant_types_supported":                          []string{"authorization_code"},
		"code_challenge_methods_supported":               []string{"S256"},
		"id_token_signing_alg_values_supported":          []string{"ES256"},
		"authorization_response_iss_parameter_supported": true,
		"pushed_authorization_request_endpoint":          webtest.Issuer + "/par",
		"require_pushed_authorization_requests":          true,
		"userinfo_endpoint":                              nil,
		"an_unknown_member":                              map[string]any{"deep": []any{1, "two", nil}},
	})))
	m := managerOn(w)
	for range 2 {
		got, err := m.Discover(t.Context(), webtest.DocumentURL)
		if err != nil {
			t.Fatal(err)
		}
		want := Metadata{
			URL: webtest.DocumentURL, Issuer: webtest.Issuer,
			AuthURL: webtest.Issuer + "/authorize", TokenURL: webtest.Issuer + "/token", RevocationURL: webtest.Issuer + "/revoke",
			DeviceAuthURL: webtest.Issuer + "/device", PARURL: webtest.Issuer + "/par", JWKSURL: webtest.Issuer + "/keys",
			AuthMethods: []string{"client_secret_post"}, Scopes: []string{"openid", "email"}, GrantTypes: []string{"authorization_code"},
			ResponseTypes: []string{"code"}, CodeChallengeMethods: []string{"S256"}, SigningAlgs: []string{"ES256"}, IssuerParameter: true, RequirePAR: true,
		}
		if fmt.Sprint(*got) != fmt.Sprint(want) {
			t.Errorf("got %+v, want %+v", *got, want)
		}
		got.Scopes[0], got.TokenURL = "changed", "changed" // the caller's own
	}
	if n := w.Count(webtest.DocumentURL); n != 1 {
		t.Errorf("requests: got %d, want 1", n)
	}

	for _, address := range []string{"", "idp.example.com", "http://idp.example.com/", "file:///etc/passwd", webtest.DocumentURL + "#x"} {
		var e *Error
		if _, err := m.Discover(t.Context(), address); !errors.As(err, &e) || e.Op != "discover" || !errors.Is(err, ErrConfiguration) {
			t.Errorf("%q: got %v, want an *Error that is ErrConfiguration", address, err)
		}
	}
}

// The errors of package discovery come out as those of this one, whichever way
// the document was asked for.
func TestDocumentErrors(t *testing.T) {
	ask := map[string]func(m *Manager) error{
		fieldDiscovery: func(m *Manager) error {
			_, err := m.Discover(t.Context(), webtest.DocumentURL)
			return err
		},
		fieldTemplate: func(m *Manager) error {
			_, err := m.engine().providers.resolve(t.Context(), &Profile{Type: TypeUser, ClientID: "c", Template: Google})
			return err
		},
	}
	for field, ask := range ask {
		t.Run("wrong: "+field, func(t *testing.T) {
			w := webtest.New()
			for _, address := range []string{webtest.DocumentURL, lookup(t, Google).DiscoveryURL} {
				w.Set(address, webtest.JSON("[]"))
			}
			err := ask(managerOn(w))
			var f *FieldError
			if !errors.Is(err, ErrConfiguration) || !errors.As(err, &f) || f.Field != field || f.Problem != "is not a JSON object" {
				t.Errorf("got %v, want ErrConfiguration and a FieldError for %s", err, field)
			}
			var cause *discovery.Error
			if !errors.As(err, &cause) || !strings.Contains(err.Error(), cause.Error()) || strings.Contains(err.Error(), ErrConfiguration.Error()) {
				t.Errorf("got %q, want the text of %v alone", err, cause)
			}
		})
		t.Run("a refused connection: "+field, func(t *testing.T) {
			cause := tls.AlertError(40)
			err := ask(&Manager{HTTPClient: &http.Client{Transport: webtest.RoundTripper(func(*http.Request) (*http.Response, error) {
				return nil, &net.OpError{Op: "remote error", Err: cause}
			})}})
			var f *FieldError
			if !errors.Is(err, ErrConfiguration) || !errors.As(err, &f) || f.Field != field {
				t.Errorf("got %v, want ErrConfiguration and a FieldError for %s", err, field)
			}
			var e *discovery.Error
			if !errors.As(err, &e) || e.Cause == nil || !errors.Is(err, e.Cause) {
				t.Errorf("got %v, want the cause in it", err)
			}
		})
		t.Run("away: "+field, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			err := ask(&Manager{HTTPClient: &http.Client{Transport: webtest.RoundTripper(func(*http.Request) (*http.Response, error) {
				return nil, ctx.Err()
			})}})
			var f *FieldError
			if errors.Is(err, ErrConfiguration) || errors.As(err, &f) {
				t.Errorf("got %v, want neither ErrConfiguration nor a FieldError", err)
			}
			if !errors.Is(err, context.Canceled) {
				t.Errorf("got %v, want the cause in it", err)
			}
		})
	}
}

// So do those of a key set, wherever it is needed.
func TestKeySetErrors(t *testing.T) {
	claims := fmt.Sprintf(`{"iss":%q,"sub":"ada","aud":"c","iat":1,"exp":100}`, webtest.Issuer)
	token := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"RS256"}`)) + "." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + "."
	load := func(p *provider) error { return p.loadKeys(t.Context()) }
	verify := func(p *provider) error {
		_, err := p.verifyLogin(t.Context(), token, idtoken.Login{ClientID: "c"}, time.Unix(50, 0))
		return err
	}
	before := func(p *provider) error { return p.keysErr }
	const noAddress = "jwks_uri must be an absolute address: https://host/..."
	for _, test := range []struct {
		name, keys string
		page       http.HandlerFunc
		ask        func(p *provider) error
		problem    string // empty: the provider is away
	}{
		{"a wrong set, loaded", webtest.KeysURL, webtest.JSON("[]"), load, "is not a JSON object"},
		{"a wrong set, to verify a login", webtest.KeysURL, webtest.JSON("[]"), verify, "is not a JSON object"},
		{"a wrong address, loaded", "https://", nil, load, noAddress},
		{"a wrong address, to verify a login", "https://", nil, verify, noAddress},
		{"a wrong address, before either", "https://", nil, before, noAddress},
		{"away, loaded", webtest.KeysURL, webtest.Status(503), load, ""},
		{"away, to verify a login", webtest.KeysURL, webtest.Status(503), verify, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := webtest.New()
			w.Set(webtest.DocumentURL, webtest.JSON(webtest.Document(map[string]any{"jwks_uri": test.keys})))
			w.Set(webtest.KeysURL, test.page)
			p, err := managerOn(w).engine().providers.resolve(t.Context(), &Profile{Type: TypeUser, ClientID: "c", Endpoints: Endpoints{DiscoveryURL: webtest.DocumentURL}})
			if err != nil {
				t.Fatal(err)
			}
			err = test.ask(p)
			var f *FieldError
			switch wrong := errors.As(err, &f); {
			case wrong != errors.Is(err, ErrConfiguration) || wrong != (test.problem != ""):
				t.Errorf("got %v, want ErrConfiguration and a FieldError: %t", err, test.problem != "")
			case wrong && (f.Field != fieldDiscovery || f.Problem != test.problem):
				t.Errorf("got %v, want %s: %s", f, fieldDiscovery, test.problem)
			}
			var cause *discovery.Error
			if !errors.As(err, &cause) || !strings.HasSuffix(err.Error(), cause.Error()) {
				t.Errorf("got %v, want an Error of package discovery in it", err)
			}
			if got, want := errors.Is(err, idtoken.ErrKeysUnavailable), err != p.keysErr; got != want {
				t.Errorf("got %v, want ErrKeysUnavailable: %t", err, want)
			}
		})
	}
}

func TestThreat063_Alerts(t *testing.T) {
	for alert, passes := range map[tls.AlertError]bool{
		80: true, 90: true, 20: true, // internal_error, user_canceled, bad_record_mac: the trouble of a load balancer
		40: false, 70: false, 112: false, // handshake_failure, protocol_version, unrecognized_name
	} {
		m := &Manager{HTTPClient: &http.Client{Transport: webtest.RoundTripper(func(*http.Request) (*http.Response, error) {
			return nil, &net.OpError{Op: "remote error", Err: alert}
		})}}
		for name, endpoints := range map[string]Endpoints{"discovery": {DiscoveryURL: webtest.DocumentURL}, "token endpoint": {TokenURL: webtest.Issuer + "/token"}} {
			_, err := m.Token(t.Context(), &Profile{Type: TypeApp, ClientID: "c", ClientSecret: "s", Endpoints: endpoints})
			if err == nil || errors.Is(err, ErrConfiguration) == passes {
				t.Errorf("%s, alert %d: got %v, want an error that is ErrConfiguration: %t", name, alert, err, !passes)
			}
		}
	}
}
