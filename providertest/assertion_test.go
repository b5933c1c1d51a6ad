package providertest_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"maps"
	"math/big"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/authprofile/authprofile/providertest"
)

const assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

// testKeys are private keys of each kind. They are made once, since RSA keys
// are slow to make.
var testKeys = sync.OnceValue(func() map[string]crypto.Signer {
	keys := map[string]crypto.Signer{}
	for name, bits := range map[string]int{"RSA": 2048, "other RSA": 2048, "weak RSA": 1024} {
		key, err := rsa.GenerateKey(rand.Reader, bits)
		if err != nil {
			panic(err)
		}
		keys[name] = key
	}
	for _, curve := range []elliptic.Curve{elliptic.P256(), elliptic.P384(), elliptic.P521()} {
		key, err := ecdsa.GenerateKey(curve, rand.Reader)
		if err != nil {
			panic(err)
		}
		keys[curve.Params().Name] = key
	}
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		panic(err)
	}
	keys["Ed25519"] = key
	return keys
})

// selfSigned returns a certificate for a key, signed by itself.
func selfSigned(t *testing.T, key crypto.Signer) *x509.Certificate {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "self"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// assertion makes an assertion of the client "keyed". The changes are made to
// the claims; one that is nil is left out.
func assertion(t *testing.T, srv *providertest.Server, alg jose.SignatureAlgorithm, key any, header, changes map[string]any) string {
	t.Helper()
	claims := map[string]any{
		"iss": "keyed", "sub": "keyed", "aud": srv.TokenURL(), "jti": rand.Text(),
		"iat": time.Now().Unix(), "exp": time.Now().Add(time.Minute).Unix(),
	}
	for name, v := range changes {
		claims[name] = v
		if v == nil {
			delete(claims, name)
		}
	}
	options := &jose.SignerOptions{ExtraHeaders: map[jose.HeaderKey]any{}}
	for name, v := range header {
		options.ExtraHeaders[jose.HeaderKey(name)] = v
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key}, options)
	if err != nil {
		t.Fatal(err)
	}
	text, err := jwt.Signed(signer).Claims(claims).Serialize()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// asserted adds an assertion to the parameters of a request.
func asserted(text string, pairs ...string) []string {
	return append([]string{"client_assertion_type", assertionType, "client_assertion", text}, pairs...)
}

var app = []string{"grant_type", "client_credentials"}

// wantClient checks that a request is refused because of its client, and that
// the description names the reason.
func wantClient(t *testing.T, srv *providertest.Server, what, why string, pairs ...string) {
	t.Helper()
	g := sent{form: pairs}.to(t, srv).want(t, what, 401, map[string]any{"error": "invalid_client"})
	if text, _ := g.at("error_description").(string); !strings.Contains(text, why) {
		t.Errorf("%s: got description %q, want %q in it", what, text, why)
	}
}

func TestAssertionAlgorithms(t *testing.T) {
	both(t, func(t *testing.T, srv *providertest.Server) {
		fits := map[string][]jose.SignatureAlgorithm{
			"RSA": {jose.RS256, jose.PS256}, "Ed25519": {jose.EdDSA},
			"P-256": {jose.ES256}, "P-384": {jose.ES384}, "P-521": {jose.ES512},
		}
		for name, algorithms := range fits {
			key := testKeys()[name]
			srv.AddClient(providertest.Client{ID: "keyed", Keys: []crypto.PublicKey{testKeys()["other RSA"].Public(), key.Public()}})
			for _, alg := range algorithms {
				sent{form: asserted(assertion(t, srv, alg, key, nil, nil), app...)}.to(t, srv).want(t, string(alg), 200, nil)
				last := srv.Requests()[len(srv.Requests())-1]
				if last.AuthMethod != "private_key_jwt" || last.ClientID != "keyed" || last.Status != 200 {
					t.Errorf("%s: got record %+v, want private_key_jwt of keyed", alg, last)
				}
			}
			srv.AddClient(providertest.Client{ID: "keyed", Keys: []crypto.PublicKey{testKeys()["other RSA"].Public()}})
			why := "alg " + string(algorithms[0])
			if name == "RSA" {
				why = "the signature"
			}
			wantClient(t, srv, "another key than "+name, why, asserted(assertion(t, srv, algorithms[0], key, nil, nil), app...)...)
		}

		key := testKeys()["RSA"]
		srv.AddClient(providertest.Client{ID: "keyed", Secret: strings.Repeat("s", 32), Keys: []crypto.PublicKey{key.Public(), testKeys()["weak RSA"].Public()}})
		for _, alg := range []jose.SignatureAlgorithm{jose.RS384, jose.RS512, jose.PS384, jose.PS512} {
			wantClient(t, srv, string(alg), "signature algorithm", asserted(assertion(t, srv, alg, key, nil, nil), app...)...)
		}
		der, err := x509.MarshalPKIXPublicKey(key.Public())
		if err != nil {
			t.Fatal(err)
		}
		for what, secret := range map[string][]byte{"HMAC with the public key": der, "HMAC with the secret": []byte(strings.Repeat("s", 32))} {
			wantClient(t, srv, what, "signature algorithm", asserted(assertion(t, srv, jose.HS256, secret, nil, nil), app...)...)
		}
		wantClient(t, srv, "weak RSA", "the signature", asserted(assertion(t, srv, jose.RS256, testKeys()["weak RSA"], nil, nil), app...)...)
		srv.AddClient(providertest.Client{ID: "keyed", Keys: []crypto.PublicKey{testKeys()["weak RSA"].Public()}})
		wantClient(t, srv, "weak RSA alone", "alg RS256", asserted(assertion(t, srv, jose.RS256, testKeys()["weak RSA"], nil, nil), app...)...)

		b64 := base64.RawURLEncoding.EncodeToString
		unsigned := b64([]byte(`{"alg":"none"}`)) + "." + b64([]byte(`{"iss":"keyed","sub":"keyed"}`)) + "."
		wantClient(t, srv, "unsigned", "signature algorithm", asserted(unsigned, app...)...)
		wantClient(t, srv, "no JWT", "client_assertion", asserted("x", app...)...)
	})
}

func TestAssertionClaims(t *testing.T) {
	srv := providertest.NewServer(t)
	key := testKeys()["P-256"]
	srv.AddClient(providertest.Client{ID: "keyed", Keys: []crypto.PublicKey{key.Public()}})
	in := func(d time.Duration) int64 { return time.Now().Add(d).Unix() }
	for _, test := range []struct {
		what, why string // without why it is accepted
		changes   map[string]any
	}{
		{"token endpoint", "", nil},
		{"issuer", "", map[string]any{"aud": srv.Issuer()}},
		{"audience in an array", "", map[string]any{"aud": []any{srv.TokenURL()}}},
		{"almost an hour", "", map[string]any{"exp": in(59 * time.Minute)}},
		{"no iat", "", map[string]any{"iat": nil}},
		{"another issuer", "iss", map[string]any{"iss": "other"}},
		{"no issuer", "iss", map[string]any{"iss": nil}},
		{"another subject", "unknown client", map[string]any{"sub": "other"}},
		{"the subject of a client without keys", "way of authentication", map[string]any{"sub": providertest.ClientID}},
		{"no audience", "aud", map[string]any{"aud": nil}},
		{"another audience", "aud", map[string]any{"aud": srv.RevocationURL()}},
		{"empty audience", "aud", map[string]any{"aud": ""}},
		{"two audiences", "aud", map[string]any{"aud": []any{srv.TokenURL(), srv.Issuer()}}},
		{"no exp", "exp is missing", map[string]any{"exp": nil}},
		{"exp that has passed", "exp has passed", map[string]any{"exp": in(-time.Second)}},
		{"exp too far ahead", "exp is too far ahead", map[string]any{"exp": in(time.Hour + time.Minute)}},
		{"iat in the future", "iat", map[string]any{"iat": in(30 * time.Second)}},
		{"nbf in the future", "nbf", map[string]any{"nbf": in(30 * time.Second)}},
		{"no jti", "jti is missing", map[string]any{"jti": nil}},
		{"claims of other types", "not well formed", map[string]any{"exp": "soon"}},
	} {
		// The client is named in the form, too, unless it is what is wrong.
		pairs := asserted(assertion(t, srv, jose.ES256, key, nil, test.changes), app...)
		if test.changes["sub"] == nil {
			pairs = append(pairs, "client_id", "keyed")
		}
		if test.why == "" {
			sent{form: pairs}.to(t, srv).want(t, test.what, 200, nil)
		} else {
			wantClient(t, srv, test.what, test.why, pairs...)
		}
	}

	wantClient(t, srv, "no subject", "sub", asserted(assertion(t, srv, jose.ES256, key, nil, map[string]any{"sub": nil}), append(app, "client_id", "keyed")...)...)
	wantClient(t, srv, "another client in the form", "way of authentication", asserted(assertion(t, srv, jose.ES256, key, nil, nil), append(app, "client_id", providertest.ClientID)...)...)
	srv.AddClient(providertest.Client{ID: "second", Keys: []crypto.PublicKey{key.Public()}})
	wantClient(t, srv, "another client of the same key in the form", "iss", asserted(assertion(t, srv, jose.ES256, key, nil, nil), append(app, "client_id", "second")...)...)
	for _, kind := range []string{"", "urn:ietf:params:oauth:client-assertion-type:saml2-bearer"} {
		wantClient(t, srv, "another type", "client_assertion_type", append(app, "client_assertion_type", kind, "client_assertion", assertion(t, srv, jose.ES256, key, nil, nil))...)
	}
	wantClient(t, srv, "a type alone", "client_assertion", append(app, "client_assertion_type", assertionType, "client_id", "keyed")...)

	for audience, accepted := range map[string]string{"token_endpoint": srv.TokenURL(), "issuer": srv.Issuer()} {
		srv.SetPolicy(providertest.Policy{AssertionAudience: audience})
		for _, aud := range []string{srv.TokenURL(), srv.Issuer()} {
			pairs := asserted(assertion(t, srv, jose.ES256, key, nil, map[string]any{"aud": aud}), app...)
			if aud == accepted {
				sent{form: pairs}.to(t, srv).want(t, audience, 200, nil)
			} else {
				wantClient(t, srv, audience+" demanded", "aud", pairs...)
			}
		}
	}
}

func TestAssertionIsUsedOnce(t *testing.T) {
	srv := providertest.NewServer(t)
	key := testKeys()["P-256"]
	srv.AddClient(providertest.Client{ID: "keyed", Keys: []crypto.PublicKey{key.Public()}})
	srv.AddClient(providertest.Client{ID: "second", Keys: []crypto.PublicKey{key.Public()}})
	fixed := map[string]any{"jti": "1"}
	once := asserted(assertion(t, srv, jose.ES256, key, nil, fixed), app...)
	sent{form: once}.to(t, srv).want(t, "first use", 200, nil)
	wantClient(t, srv, "second use", "jti was used before", once...)
	wantClient(t, srv, "new assertion with the same jti", "jti was used before", asserted(assertion(t, srv, jose.ES256, key, nil, fixed), app...)...)

	// It is judged by the clock of the test, as it was made.
	srv.Advance(2 * time.Minute)
	wantClient(t, srv, "later by the clock of the Server", "jti was used before", once...)
	sent{form: asserted(assertion(t, srv, jose.ES256, key, nil, nil), app...)}.to(t, srv).want(t, "a new one then", 200, nil)

	// One that is refused is not used, and one of another client is another.
	maps.Copy(fixed, map[string]any{"jti": "2", "aud": "elsewhere"})
	wantClient(t, srv, "another audience", "aud", asserted(assertion(t, srv, jose.ES256, key, nil, fixed), app...)...)
	delete(fixed, "aud")
	sent{form: asserted(assertion(t, srv, jose.ES256, key, nil, fixed), app...)}.to(t, srv).want(t, "the same jti", 200, nil)
	maps.Copy(fixed, map[string]any{"iss": "second", "sub": "second"})
	sent{form: asserted(assertion(t, srv, jose.ES256, key, nil, fixed), app...)}.to(t, srv).want(t, "the same jti of another client", 200, nil)
}

func TestAssertionBesideAnotherWay(t *testing.T) {
	srv := providertest.NewServer(t)
	key := testKeys()["P-256"]
	srv.AddClient(providertest.Client{ID: "keyed", Secret: "s", Keys: []crypto.PublicKey{key.Public()}})
	sent{form: append(app, "client_id", "keyed", "client_secret", "s")}.to(t, srv).want(t, "the secret", 200, nil)
	pairs := asserted(assertion(t, srv, jose.ES256, key, nil, nil), app...)
	invalid := map[string]any{"error": "invalid_request", "error_description": "two ways of authentication"}
	sent{form: append(pairs, "client_id", "keyed", "client_secret", "s")}.to(t, srv).want(t, "with a secret", 400, invalid)
	sent{form: pairs, basic: true}.to(t, srv).want(t, "with Basic", 400, invalid)
	sent{form: pairs, bearer: "x"}.to(t, srv).want(t, "with a token", 400, invalid)
	sent{address: srv.TokenURL() + "?" + form(pairs...).Encode(), form: app}.to(t, srv).want(t, "in the address", 400, map[string]any{"error": "invalid_request"})
	sent{form: pairs}.to(t, srv).want(t, "alone", 200, nil)

	srv.AddClient(providertest.Client{ID: "keyed", Secret: "s", Keys: []crypto.PublicKey{key.Public()}, AuthMethods: []string{"client_secret_post"}})
	wantClient(t, srv, "another method", "private_key_jwt", asserted(assertion(t, srv, jose.ES256, key, nil, nil), app...)...)
}

// thumbprints are the header parameters that name a certificate.
func thumbprints(cert *x509.Certificate) (x5t, x5tS256 string) {
	old, sum := sha1.Sum(cert.Raw), sha256.Sum256(cert.Raw)
	return base64.RawURLEncoding.EncodeToString(old[:]), base64.RawURLEncoding.EncodeToString(sum[:])
}

func TestAssertionNamesItsKey(t *testing.T) {
	srv := providertest.NewServer(t)
	key, second := testKeys()["RSA"], testKeys()["other RSA"]
	cert, other := selfSigned(t, key), selfSigned(t, second)
	srv.AddClient(providertest.Client{ID: "keyed", KeyID: "k1", Keys: []crypto.PublicKey{key.Public()}})
	sent{form: asserted(assertion(t, srv, jose.RS256, key, map[string]any{"kid": "k1"}, nil), app...)}.to(t, srv).want(t, "kid", 200, nil)
	wantClient(t, srv, "another kid", "kid", asserted(assertion(t, srv, jose.RS256, key, map[string]any{"kid": "k2"}, nil), app...)...)
	wantClient(t, srv, "no kid", "kid", asserted(assertion(t, srv, jose.RS256, key, nil, nil), app...)...)

	srv.AddClient(providertest.Client{ID: "keyed", Keys: []crypto.PublicKey{testKeys()["P-256"].Public()}, Certificates: []*x509.Certificate{other, cert}})
	x5t, x5tS256 := thumbprints(cert)
	otherX5t, otherS256 := thumbprints(other)
	for _, header := range []map[string]any{nil, {"x5t": x5t}, {"x5t#S256": x5tS256}, {"x5t": x5t, "x5t#S256": x5tS256}} {
		sent{form: asserted(assertion(t, srv, jose.PS256, key, header, nil), app...)}.to(t, srv).want(t, "certificate", 200, nil)
	}
	for _, test := range []struct {
		why    string
		header map[string]any
	}{
		{"x5t is not", map[string]any{"x5t": x5tS256}},
		{"x5t#S256 is not", map[string]any{"x5t#S256": x5t}},
		{"x5t#S256 is not", map[string]any{"x5t#S256": 1}},
		{"x5t#S256 is not", map[string]any{"x5t": x5t, "x5t#S256": otherS256}},
		{"the signature", map[string]any{"x5t": otherX5t}},
		{"the signature", map[string]any{"x5t#S256": otherS256}},
	} {
		wantClient(t, srv, test.why, test.why, asserted(assertion(t, srv, jose.PS256, key, test.header, nil), app...)...)
	}
	wantClient(t, srv, "certificate for a key without", "alg ES256", asserted(assertion(t, srv, jose.ES256, testKeys()["P-256"], map[string]any{"x5t": x5t}, nil), app...)...)
}

func TestAssertionWithUsers(t *testing.T) {
	srv := providertest.NewServer(t)
	key := testKeys()["P-256"]
	srv.AddClient(providertest.Client{ID: "keyed", Keys: []crypto.PublicKey{key.Public()}})
	sign := func(pairs ...string) []string {
		return asserted(assertion(t, srv, jose.ES256, key, nil, nil), pairs...)
	}
	code := authorize(t, srv, "client_id", "keyed").Get("code")
	g := sent{form: sign(exchange(code)...)}.to(t, srv).want(t, "exchange", 200, map[string]any{"refresh_token": "*"})
	wantClient(t, srv, "refresh without an assertion", "way of authentication", append(refreshForm(g.at("refresh_token")), "client_id", "keyed")...)
	g = sent{form: sign(refreshForm(g.at("refresh_token"))...)}.to(t, srv).want(t, "refresh", 200, map[string]any{"refresh_token": "*"})
	token := g.text(t, "refresh_token")
	sent{address: srv.RevocationURL(), form: []string{"token", token, "client_id", "keyed"}}.to(t, srv).want(t, "revocation without an assertion", 401, map[string]any{"error": "invalid_client"})
	sent{address: srv.RevocationURL(), form: sign("token", token)}.to(t, srv).want(t, "revocation", 200, nil)
	if srv.IsLive(token) {
		t.Error("the token is live after its revocation")
	}
}

func TestAssertionIsInTheDocument(t *testing.T) {
	both(t, func(t *testing.T, srv *providertest.Server) {
		_, doc := get(t, srv, srv.DiscoveryURL(), "")
		for name, want := range map[string]string{
			"token_endpoint_auth_methods_supported":            "client_secret_basic client_secret_post private_key_jwt none",
			"token_endpoint_auth_signing_alg_values_supported": "RS256 PS256 ES256 ES384 ES512 EdDSA",
		} {
			list, _ := doc[name].([]any)
			var words []string
			for _, v := range list {
				words = append(words, v.(string))
			}
			if got := strings.Join(words, " "); got != want {
				t.Errorf("got %s %q, want %q", name, got, want)
			}
		}
	})
}

func TestAssertionsOfFakes(t *testing.T) {
	key := testKeys()["RSA"]
	cert := selfSigned(t, key)
	x5t, x5tS256 := thumbprints(cert)
	client := providertest.Client{ID: "keyed", Certificates: []*x509.Certificate{cert}}
	for name, pairs := range map[string][]string{
		"okta":                           {"scope", "okta.users.read"},
		"okta/acme.okta.com/default":     nil,
		"auth0":                          {"audience", "https://api.example.com/"},
		"keycloak":                       nil,
		"pingone":                        nil,
		"salesforce/a.my.salesforce.com": nil,
	} {
		srv := providertest.NewServer(t, providertest.Provider(name))
		srv.AddClient(client)
		sent{form: asserted(assertion(t, srv, jose.RS256, key, nil, nil), append(app, pairs...)...)}.to(t, srv).want(t, name, 200, map[string]any{"access_token": "*"})
	}

	srv := providertest.NewServer(t, providertest.Provider("microsoft/contoso.com"))
	srv.AddClient(client)
	scope := append(app, "scope", "https://graph.microsoft.com/.default")
	for _, header := range []map[string]any{{"x5t": x5t}, {"x5t#S256": x5tS256}} {
		sent{form: asserted(assertion(t, srv, jose.PS256, key, header, nil), scope...)}.to(t, srv).want(t, "microsoft", 200, nil)
	}
	wantClient(t, srv, "microsoft without a thumbprint", "x5t", asserted(assertion(t, srv, jose.PS256, key, nil, nil), scope...)...)

	// Where the document has a placeholder, the issuer is the tenant's.
	srv = providertest.NewServer(t, providertest.Provider("microsoft/common"))
	srv.AddClient(client)
	tenant := map[string]any{"aud": strings.ReplaceAll(srv.Issuer(), "{tenantid}", "5d7a1e52-8c1f-4f0e-9d5b-3d0c0e6b2a44")}
	sent{form: asserted(assertion(t, srv, jose.RS256, key, map[string]any{"x5t": x5t}, tenant), scope...)}.to(t, srv).want(t, "microsoft, to the issuer", 200, nil)

	// Others do not know the method.
	srv = providertest.NewServer(t, providertest.Provider("xero"))
	srv.AddClient(client)
	if g := (sent{form: asserted(assertion(t, srv, jose.RS256, key, nil, nil), app...)}).to(t, srv); g.status == 200 {
		t.Errorf("xero: got %d %s, want a refusal", g.status, g.body)
	}
}
