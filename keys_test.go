package authprofile_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/authprofile/authprofile"
	"github.com/authprofile/authprofile/providertest"
)

// testKeys are private keys of each kind, made once.
var testKeys = sync.OnceValue(func() map[string]crypto.Signer {
	keys := make(map[string]crypto.Signer)
	for name, bits := range map[string]int{"RSA": 2048, "weak RSA": 1024} {
		key, err := rsa.GenerateKey(rand.Reader, bits)
		if err != nil {
			panic(err)
		}
		keys[name] = key
	}
	for name, curve := range map[string]elliptic.Curve{"P-256": elliptic.P256(), "other P-256": elliptic.P256(), "P-384": elliptic.P384(), "P-521": elliptic.P521()} {
		key, err := ecdsa.GenerateKey(curve, rand.Reader)
		if err != nil {
			panic(err)
		}
		keys[name] = key
	}
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		panic(err)
	}
	keys["Ed25519"] = key
	return keys
})

// keyText returns a ClientKey: a key and its certificates, as PEM.
func keyText(t *testing.T, key crypto.Signer, certificates ...*x509.Certificate) authprofile.Secret {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	for _, c := range certificates {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	return authprofile.Secret(text)
}

// jwkText returns a ClientKey: a key as a JWK.
func jwkText(t *testing.T, key crypto.Signer, kid, alg string) authprofile.Secret {
	t.Helper()
	text, err := json.Marshal(jose.JSONWebKey{Key: key, KeyID: kid, Algorithm: alg})
	if err != nil {
		t.Fatal(err)
	}
	return authprofile.Secret(text)
}

// selfSigned returns a certificate for a key, signed by itself, that was valid an
// hour ago and ends after a time.
func selfSigned(t *testing.T, key crypto.Signer, life time.Duration) *x509.Certificate {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "client"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(life),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// keyed registers the client "keyed" with the keys, and returns an unsaved user
// profile of it.
func (w *world) keyed(text authprofile.Secret, keys ...crypto.Signer) *authprofile.Profile {
	c := providertest.Client{ID: "keyed"}
	for _, key := range keys {
		c.Keys = append(c.Keys, key.Public())
	}
	w.srv.AddClient(c)
	return &authprofile.Profile{
		ID: "crm", Type: authprofile.TypeUser, ClientID: "keyed", ClientKey: text,
		Endpoints: authprofile.Endpoints{DiscoveryURL: w.srv.DiscoveryURL()},
		Scopes:    []string{"openid", "read", "offline_access"},
	}
}

// asApp returns an app profile of the same client.
func asApp(p *authprofile.Profile) *authprofile.Profile {
	c := p.Clone()
	c.ID, c.Type, c.Scopes, c.Version = "app", authprofile.TypeApp, []string{"read"}, 0
	return c
}

// A sentAssertion is one that has reached a provider.
type sentAssertion struct {
	endpoint       providertest.Endpoint
	text           string
	header, claims map[string]any
}

// assertionsSent returns the assertions that have reached a provider, in their
// order.
func assertionsSent(t *testing.T, srv *providertest.Server) (list []sentAssertion) {
	t.Helper()
	for _, c := range srv.Captured() {
		form, err := url.ParseQuery(c.Body)
		if err != nil || !form.Has("client_assertion") {
			continue
		}
		a := sentAssertion{endpoint: c.Endpoint, text: form.Get("client_assertion")}
		parts := strings.Split(a.text, ".")
		if len(parts) != 3 {
			t.Fatalf("got an assertion of %d parts, want 3", len(parts))
		}
		for i, to := range []*map[string]any{&a.header, &a.claims} {
			text, err := base64.RawURLEncoding.DecodeString(parts[i])
			if err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal(text, to); err != nil {
				t.Fatal(err)
			}
		}
		list = append(list, a)
	}
	return list
}

// Every request has an assertion of its own, by the key's algorithm and for the
// token endpoint, whichever endpoint it goes to.
func TestThreat097_AssertionAtEveryLeg(t *testing.T) {
	for name, test := range map[string]struct {
		key     string
		text    func(t *testing.T, key crypto.Signer) authprofile.Secret
		alg     string
		kid     any
		listed  []any // by the document; nil: all
		digests bool
	}{
		"RSA":           {key: "RSA", alg: "RS256"},
		"RSA, no RS256": {key: "RSA", alg: "PS256", listed: []any{"PS256", "ES256"}},
		"RSA, no list":  {key: "RSA", alg: "RS256", listed: []any{}},
		"RSA for PS256": {key: "RSA", alg: "PS256", kid: "k1", text: func(t *testing.T, key crypto.Signer) authprofile.Secret { return jwkText(t, key, "k1", "PS256") }},
		"P-256":         {key: "P-256", alg: "ES256"},
		"P-256 as JWK":  {key: "P-256", alg: "ES256", kid: "k2", text: func(t *testing.T, key crypto.Signer) authprofile.Secret { return jwkText(t, key, "k2", "") }},
		"P-384":         {key: "P-384", alg: "ES384"},
		"P-521":         {key: "P-521", alg: "ES512"},
		"Ed25519":       {key: "Ed25519", alg: "EdDSA"},
		"certificate": {key: "P-256", alg: "ES256", digests: true, text: func(t *testing.T, key crypto.Signer) authprofile.Secret {
			return keyText(t, key, selfSigned(t, key, 1000*time.Hour))
		}},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				key := testKeys()[test.key]
				text := keyText(t, key)
				if test.text != nil {
					text = test.text(t, key)
				}
				w.srv.SetPolicy(providertest.Policy{RequirePAR: true, AssertionAudience: "token_endpoint"})
				if test.listed != nil {
					w.srv.Mutate(providertest.Discovery, func(doc map[string]any) { doc["token_endpoint_auth_signing_alg_values_supported"] = test.listed })
				}
				p := w.keyed(text, key)
				if test.digests {
					w.srv.AddClient(providertest.Client{ID: "keyed", Certificates: []*x509.Certificate{certificateIn(t, text)}})
				}
				w.authorize(w.save(p), "ada")
				for range 2 {
					expire()
					w.token(w.m, p, asAda)
				}
				w.healthy(ada)
				if err := w.m.Revoke(t.Context(), ada); err != nil {
					t.Errorf("got error %v of the revocation, want none", err)
				}
				w.token(w.m, w.save(asApp(p)))

				var legs []providertest.Endpoint
				jtis := make(map[any]bool)
				for _, a := range assertionsSent(t, w.srv) {
					legs = append(legs, a.endpoint)
					if a.header["alg"] != test.alg || a.header["kid"] != test.kid {
						t.Errorf("%s: got alg %v and kid %v, want %v and %v", a.endpoint, a.header["alg"], a.header["kid"], test.alg, test.kid)
					}
					if _, short := a.header["x5t"]; short != test.digests {
						t.Errorf("%s: got x5t %v, want that to be %v", a.endpoint, short, test.digests)
					}
					if _, long := a.header["x5t#S256"]; long != test.digests {
						t.Errorf("%s: got x5t#S256 %v, want that to be %v", a.endpoint, long, test.digests)
					}
					if a.claims["iss"] != "keyed" || a.claims["sub"] != "keyed" || a.claims["aud"] != w.srv.TokenURL() {
						t.Errorf("%s: got claims %v, want the client as iss and sub, and the token endpoint as aud", a.endpoint, a.claims)
					}
					if life := a.claims["exp"].(float64) - a.claims["iat"].(float64); life != 60 {
						t.Errorf("%s: got a life of %v seconds, want 60", a.endpoint, life)
					}
					jtis[a.claims["jti"]] = true
				}
				want := []providertest.Endpoint{
					providertest.PAR, providertest.Token, providertest.Token, providertest.Token,
					providertest.Revocation, providertest.Revocation, providertest.Token,
				}
				if !slices.Equal(legs, want) {
					t.Errorf("got assertions at %q, want them at %q", legs, want)
				}
				if len(jtis) != len(legs) {
					t.Errorf("got %d different jti in %d assertions, want each to have its own", len(jtis), len(legs))
				}
			})
		})
	}
}

// certificateIn returns the certificate behind a key.
func certificateIn(t *testing.T, text authprofile.Secret) *x509.Certificate {
	t.Helper()
	_, rest := pem.Decode([]byte(text))
	block, _ := pem.Decode(rest)
	if block == nil {
		t.Fatal("got no certificate behind the key, want one")
	}
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// A row says that its provider wants the issuer as audience. Without a document
// there is none.
func TestThreat096_Audience(t *testing.T) {
	const documentURL, issuer = "https://accounts.example.com/.well-known/openid-configuration", "https://accounts.example.com"
	for _, test := range []struct {
		name, audience, discovery, want string
	}{
		{"endpoint", "", documentURL, scriptedTokenURL},
		{"issuer", "issuer", documentURL, issuer},
		{"issuer without a document", "issuer", "", scriptedTokenURL},
	} {
		t.Run(test.name, func(t *testing.T) {
			onScript(t, func(r *row) {
				r.AssertionAudience = test.audience
				if test.discovery != "" {
					r.DiscoveryURL, r.AuthURL, r.TokenURL = test.discovery, "", ""
				}
			}, func(t *testing.T, s *scripted) {
				s.on(documentURL, fmt.Sprintf(`{"issuer":%q,"authorization_endpoint":%q,"token_endpoint":%q}`, issuer, scriptedAuthURL, scriptedTokenURL))
				p := s.profile(func(p *authprofile.Profile) {
					p.ClientSecret, p.ClientKey = "", keyText(t, testKeys()["P-256"])
				})
				s.authorize(p)
				s.renews(p, scriptedTokenURL)
				for _, r := range s.requests(scriptedTokenURL) {
					parts := strings.Split(r.form.Get("client_assertion"), ".")
					if len(parts) != 3 {
						t.Fatalf("got an assertion of %d parts, want 3", len(parts))
					}
					text, err := base64.RawURLEncoding.DecodeString(parts[1])
					if err != nil {
						t.Fatal(err)
					}
					var claims struct{ Aud any }
					if err := json.Unmarshal(text, &claims); err != nil {
						t.Fatal(err)
					}
					if claims.Aud != test.want {
						t.Errorf("%s: got aud %v, want the one text %s", r.form.Get("grant_type"), claims.Aud, test.want)
					}
				}
			})
		})
	}
}

// wantKeyProblem wants an error that is ErrConfiguration, of a field, and has
// nothing of the key in it.
func wantKeyProblem(t *testing.T, what string, err error, field string, key authprofile.Secret) {
	t.Helper()
	var e *authprofile.FieldError
	if !errors.Is(err, authprofile.ErrConfiguration) || !errors.As(err, &e) || e.Field != field {
		t.Errorf("%s: got error %v, want ErrConfiguration for %s", what, err, field)
		return
	}
	for line := range strings.Lines(string(key)) {
		if line = strings.TrimSpace(line); len(line) > 8 && !strings.HasPrefix(line, "-----") && strings.Contains(err.Error(), line) {
			t.Errorf("%s: got a line of the key in the error", what)
		}
	}
}

// unsent wants no request beyond those that there were.
func (w *world) unsent(what string, before int) {
	w.Helper()
	sent := 0
	for _, c := range w.srv.Captured() {
		if c.Endpoint == providertest.Token || c.Endpoint == providertest.PAR || c.Endpoint == providertest.Revocation {
			sent++
		}
	}
	if sent != before {
		w.Errorf("%s: got %d requests, want %d", what, sent, before)
	}
}

// The key decides by which algorithm it signs, never what a document lists.
func TestThreat149_AlgorithmsThatTheKeyHasNot(t *testing.T) {
	for name, listed := range map[string][]any{
		"another": {"RS256", "PS256"}, "none": {"none"}, "HS256": {"HS256", "HS512"}, "another curve": {"ES384"}, "lower case": {"es256"},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				key := testKeys()["P-256"]
				text := keyText(t, key)
				p := w.save(w.keyed(text, key))
				w.authorize(p, "ada")
				expire()

				w.srv.Mutate(providertest.Discovery, func(doc map[string]any) { doc["token_endpoint_auth_signing_alg_values_supported"] = listed })
				m := w.manager()
				_, err := m.Begin(t.Context(), p, "bob")
				wantKeyProblem(t, "Begin", err, "ClientKey", text)
				wantKeyProblem(t, "renewal", w.refuses(m, p, authprofile.ErrConfiguration, asAda), "ClientKey", text)
				wantKeyProblem(t, "app", w.refuses(m, w.save(asApp(p)), authprofile.ErrConfiguration), "ClientKey", text)
				w.unsent("with that list", 1)
				if g := w.grant(ada); g.Status != authprofile.StatusNeedsConfiguration || !w.srv.IsCurrent(string(g.RefreshToken)) {
					t.Errorf("got status %q, want one that needs an operator, and the refresh token kept", g.Status)
				}

				w.srv.Mutate(providertest.Discovery, nil)
				w.save(p)
				w.token(w.manager(), p, asAda)
				w.healthy(ada)
			})
		})
	}
}

// A certificate that has expired stops the request before it is sent, and no
// grant is lost by it.
func TestThreat150_ExpiredCertificate(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		key := testKeys()["P-256"]
		first := selfSigned(t, key, 30*time.Minute)
		second := selfSigned(t, key, 1000*time.Hour)
		text := keyText(t, key, first)
		p := w.keyed(text)
		w.srv.AddClient(providertest.Client{ID: "keyed", Certificates: []*x509.Certificate{first, second}})
		w.authorize(w.save(p), "ada")
		expire()
		w.unsent("before", 1)
		_, err := w.m.Begin(t.Context(), p, "bob")
		wantKeyProblem(t, "Begin", err, "ClientKey", text)
		wantKeyProblem(t, "renewal", w.refuses(w.m, p, authprofile.ErrConfiguration, asAda), "ClientKey", text)
		wantKeyProblem(t, "app", w.refuses(w.m, w.save(asApp(p)), authprofile.ErrConfiguration), "ClientKey", text)
		w.unsent("expired", 1)

		p.ClientKey = keyText(t, key, second)
		w.token(w.m, w.save(p), asAda)
		w.healthy(ada)
	})
}

// Keys that no client should have are refused by Save, which names the field and
// shows nothing of them.
func TestThreat150_KeysThatAreRefused(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		key, other := testKeys()["P-256"], testKeys()["other P-256"]
		good := keyText(t, key)
		public, err := x509.MarshalPKIXPublicKey(key.Public())
		if err != nil {
			t.Fatal(err)
		}
		block, _ := pem.Decode([]byte(good))
		//lint:ignore SA1019 it is what old tools write
		encrypted, err := x509.EncryptPEMBlock(rand.Reader, "EC PRIVATE KEY", block.Bytes, []byte("password"), x509.PEMCipherAES256)
		if err != nil {
			t.Fatal(err)
		}
		for name, text := range map[string]authprofile.Secret{
			"public":                 authprofile.Secret(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public})),
			"encrypted":              authprofile.Secret(pem.EncodeToMemory(encrypted)),
			"encrypted PKCS #8":      authprofile.Secret(pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: block.Bytes})),
			"weak RSA":               keyText(t, testKeys()["weak RSA"]),
			"two keys":               good + keyText(t, other),
			"certificate of another": keyText(t, key, selfSigned(t, other, time.Hour)),
			"something behind a JWK": jwkText(t, key, "", "") + "more",
			"no key":                 "hunter2hunter2",
			"certificate alone":      authprofile.Secret(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: selfSigned(t, key, time.Hour).Raw})),
			"symmetric JWK":          `{"kty":"oct","k":"aHVudGVyMmh1bnRlcjI"}`,
			"JWK that is incomplete": `{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}`,
			"a mebibyte":             good + authprofile.Secret(strings.Repeat("\n", 1<<20)),
			"JWK with a false alg":   jwkText(t, key, "", "RS256"),
			"JWK of a symmetric alg": jwkText(t, key, "", "HS256"),
			"JWK of the alg none":    jwkText(t, key, "", "none"),
		} {
			p := w.keyed(text, key)
			p.ID = ""
			err := w.m.Save(t.Context(), p)
			var e *authprofile.FieldError
			if !errors.As(err, &e) || e.Field != "ClientKey" || len(e.Problem) > 200 {
				t.Errorf("%s: got error %v, want a FieldError for ClientKey", name, err)
				continue
			}
			for line := range strings.Lines(string(text)) {
				if line = strings.TrimSpace(line); len(line) > 3 && strings.Contains(fmt.Sprintf("%v %+v %#v", err, err, e), line) {
					t.Errorf("%s: got %q in the error, want nothing of the key: %v", name, line, err)
				}
			}
			if got := p.Validate(); !errors.As(got, &e) || e.Field != "ClientKey" {
				t.Errorf("%s: got %v of Validate, want a FieldError for ClientKey", name, got)
			}
		}
	})
}

// One profile's key is of no use to another: the provider refuses, the grant is
// kept, and the right key heals it.
func TestThreat148_KeyOfAnotherClient(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		key, other := testKeys()["P-256"], testKeys()["other P-256"]
		p := w.save(w.keyed(keyText(t, key), key))
		w.srv.AddClient(providertest.Client{ID: "second", Keys: []crypto.PublicKey{other.Public()}})
		second := asApp(p)
		second.ClientID, second.ClientKey = "second", keyText(t, other)
		w.token(w.m, w.save(second))
		w.authorize(p, "ada")

		p.ClientKey = keyText(t, other)
		w.save(p)
		expire()
		w.refuses(w.m, p, nil, asAda)
		if g := w.grant(ada); !w.srv.IsCurrent(string(g.RefreshToken)) || g.Status == authprofile.StatusNeedsReauthorization {
			t.Errorf("got status %q, want the refresh token kept and no user asked for", g.Status)
		}
		p.ClientKey = keyText(t, key)
		w.token(w.m, w.save(p), asAda)
		w.healthy(ada)
		w.token(w.m, second)
	})
}

// An assertion that was used, at its own provider or for another one, is refused,
// and the error does not show it.
func TestThreat148_AssertionsOfThisClientAlone(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		key := testKeys()["P-256"]
		p := w.save(asApp(w.keyed(keyText(t, key), key)))
		w.token(w.m, p)
		replayed := assertionsSent(t, w.srv)[0].text
		elsewhere := anotherProvider(t, "https://login.example.org")
		elsewhere.AddClient(providertest.Client{ID: "keyed", Keys: []crypto.PublicKey{key.Public()}})
		for _, srv := range []*providertest.Server{w.srv, elsewhere} {
			m := &authprofile.Manager{
				HTTPClient: srv.Client(),
				Assertion:  func(context.Context, *authprofile.Profile, string) (string, error) { return replayed, nil },
			}
			c := p.Clone()
			c.Version, c.ClientKey, c.AuthMethod = 0, "", authprofile.AuthPrivateKeyJWT
			c.Endpoints.DiscoveryURL = srv.DiscoveryURL()
			_, err := m.Token(t.Context(), c)
			if err == nil || strings.Contains(err.Error(), replayed) {
				t.Errorf("%s: got error %v, want one without the assertion", srv.Issuer(), err)
			}
			if list := srv.Requests(); list[len(list)-1].Error != "invalid_client" {
				t.Errorf("%s: got %q, want invalid_client", srv.Issuer(), list[len(list)-1].Error)
			}
			m.Shutdown(t.Context())
		}
	})
}

// The profiles of the README are what those providers want: Entra ID the
// certificate's thumbprint, Okta the key alone.
func TestClientsOfTheReadme(t *testing.T) {
	key := testKeys()["RSA"]
	for name, test := range map[string]struct {
		provider providertest.Option
		profile  func(srv *providertest.Server) *authprofile.Profile
		bare     bool // the key is enough
	}{
		"Entra ID": {provider: providertest.Microsoft("contoso.com"), profile: func(srv *providertest.Server) *authprofile.Profile {
			return &authprofile.Profile{Endpoints: authprofile.Endpoints{TokenURL: srv.TokenURL()}, Scopes: []string{"https://graph.microsoft.com/.default"}}
		}},
		"Okta": {provider: providertest.Provider("okta"), bare: true, profile: func(*providertest.Server) *authprofile.Profile {
			return &authprofile.Profile{Template: "okta/acme.okta.com", Scopes: []string{"okta.users.read"}}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			inWorldOf(t, test.provider, func(t *testing.T, w *world) {
				certificate := selfSigned(t, key, time.Hour)
				w.srv.AddClient(providertest.Client{ID: "keyed", Keys: []crypto.PublicKey{key.Public()}, Certificates: []*x509.Certificate{certificate}})
				p := test.profile(w.srv)
				p.Type, p.ClientID, p.ClientKey = authprofile.TypeApp, "keyed", keyText(t, key, certificate)
				w.token(w.m, w.save(p))
				p.ClientKey = keyText(t, key)
				_, err := w.manager().Token(t.Context(), w.save(asApp(p)))
				if got := err == nil; got != test.bare {
					t.Errorf("without the certificate: got error %v, want a token to be %v", err, test.bare)
				}
			})
		})
	}
}

// A key is read once, however often it is used.
func TestKeysAreReadOnce(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		key, other := testKeys()["RSA"], testKeys()["other P-256"]
		p := w.save(w.keyed(keyText(t, key), key, other))
		before, err := w.m.ReadKey(p)
		if err != nil {
			t.Fatal(err)
		}
		w.authorize(p, "ada")
		expire()
		w.token(w.m, p, asAda)
		if after, err := w.m.ReadKey(p); err != nil || after != before {
			t.Errorf("got another key after a renewal, and error %v; want the same", err)
		}
		if got := testing.AllocsPerRun(100, func() { w.m.ReadKey(p) }); got > 1 {
			t.Errorf("got %v allocations for a key that is known, want at most 1", got)
		}
		p.ClientKey = keyText(t, other)
		w.save(p)
		if after, err := w.m.ReadKey(p); err != nil || after == before {
			t.Errorf("got the key before, and error %v; want the new one", err)
		}
		expire()
		w.token(w.m, p, asAda)
		sent := assertionsSent(t, w.srv)
		if got := sent[len(sent)-1].header["alg"]; got != "ES256" {
			t.Errorf("got alg %v, want that of the new key", got)
		}
	})
}
