package peertest

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/authprofile/authprofile"
	"github.com/authprofile/authprofile/assertion"
	"github.com/authprofile/authprofile/internal/peertest/authservers"
	"github.com/authprofile/authprofile/providertest"
	"github.com/go-jose/go-jose/v3"
	"github.com/go-jose/go-jose/v3/jwt"
)

// A clientKey is the key of a client.
type clientKey struct {
	signer crypto.Signer
	own    authprofile.Secret // as a profile has it
	public *jose.JSONWebKey   // as a server has it
}

// newKey makes a key for an algorithm: a PEM, or a JWK with a key ID where it must
// say which algorithm it is for.
func newKey(t *testing.T, alg string) *clientKey {
	t.Helper()
	k := new(clientKey)
	var err error
	switch alg {
	case "RS256", "PS256":
		k.signer, err = rsa.GenerateKey(rand.Reader, 2048)
	case "ES256":
		k.signer, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "ES384":
		k.signer, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case "ES512":
		k.signer, err = ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	case "EdDSA":
		_, k.signer, err = ed25519.GenerateKey(rand.Reader)
	}
	if err != nil {
		t.Fatal(err)
	}
	k.public = &jose.JSONWebKey{Key: k.signer.Public(), Algorithm: alg, Use: "sig"}
	if alg == "PS256" {
		k.public.KeyID = "key-1" // of all: a wrong key has the ID of the right one
		private := *k.public
		private.Key = k.signer
		text, err := private.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		k.own = authprofile.Secret(text)
		return k
	}
	k.own = k.pem(t)
	return k
}

// pem returns the key as PKCS #8, with certificates behind it.
func (k *clientKey) pem(t *testing.T, certificates ...*x509.Certificate) authprofile.Secret {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(k.signer)
	if err != nil {
		t.Fatal(err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	for _, c := range certificates {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	return authprofile.Secret(text)
}

// app registers a client that acts for itself by a key, and returns its profile.
func (k *clientKey) app(t *testing.T, s *authservers.Server) *authprofile.Profile {
	t.Helper()
	c := authservers.App
	c.ID, c.Secret, c.AuthMethod, c.Key = "nightly key", "", "private_key_jwt", k.public
	s.Register(t, c)
	p := appProfile(s)
	p.ClientID, p.ClientSecret, p.ClientKey = c.ID, "", k.own
	return p
}

// web returns a client that acts for users by a key.
func (k *clientKey) web() authservers.Client {
	c := authservers.Web
	c.ID, c.Secret, c.AuthMethod, c.Key = "crm:key", "", "private_key_jwt", k.public
	c.RedirectURLs = []string{authservers.RedirectURL}
	return c
}

// user registers a client that acts for users by a key, and returns its profile.
func (k *clientKey) user(t *testing.T, s *authservers.Server) *authprofile.Profile {
	t.Helper()
	s.Register(t, k.web())
	p := userProfile(s, k.web())
	p.AuthMethod, p.ClientKey = "", k.own // which says how it authenticates
	return p
}

// change saves what change does with the stored profile, and returns it.
func change(t *testing.T, m *authprofile.Manager, id string, change func(*authprofile.Profile)) *authprofile.Profile {
	t.Helper()
	p, err := m.Profile(t.Context(), id)
	if err != nil {
		t.Fatalf("Profile: %v", err)
	}
	change(p)
	save(t, m, p)
	return p
}

// renews renews alice's grant. It takes a Manager that has no token of it yet.
func renews(t *testing.T, m *authprofile.Manager, store authprofile.Store, p *authprofile.Profile, key authprofile.GrantKey) *authprofile.Grant {
	t.Helper()
	expire(t, store, key)
	before := stored(t, store, key)
	tok, err := m.Token(t.Context(), p, authprofile.AsUser("alice"))
	if err != nil {
		t.Fatalf("renewal: %v", err)
	}
	g := stored(t, store, key)
	if tok.AccessToken == string(before.AccessToken) || tok.AccessToken != string(g.AccessToken) || g.RefreshToken == before.RefreshToken {
		t.Errorf("renewal: got the tokens from before, or others than are stored")
	}
	if g.Status != authprofile.StatusActive || g.Failure != nil || g.Subject != "sub-of-alice" {
		t.Errorf("renewal: got %v, want active", g)
	}
	return g
}

// refuses tries to renew alice's grant, which the provider refuses because of the
// client: the grant stays as it is. It takes a Manager as renews does.
func refuses(t *testing.T, m *authprofile.Manager, store authprofile.Store, p *authprofile.Profile, key authprofile.GrantKey) {
	t.Helper()
	g, err := fails(t, m, store, p, key)
	if !errors.Is(err, authprofile.ErrConfiguration) || g.Status != authprofile.StatusNeedsConfiguration {
		t.Errorf("got %v and %v, want ErrConfiguration, and needs_configuration", err, g)
	}
}

// fails tries to renew alice's grant, which fails without harm to it.
func fails(t *testing.T, m *authprofile.Manager, store authprofile.Store, p *authprofile.Profile, key authprofile.GrantKey) (*authprofile.Grant, error) {
	t.Helper()
	expire(t, store, key)
	before := stored(t, store, key)
	_, err := m.Token(t.Context(), p, authprofile.AsUser("alice"))
	if err == nil || errors.Is(err, authprofile.ErrReauthorize) {
		t.Errorf("got %v, want an error that does not cost the grant", err)
	}
	g := stored(t, store, key)
	if g.RefreshToken != before.RefreshToken {
		t.Errorf("got another refresh token, want the one from before")
	}
	return g, err
}

// atEachAlgorithm runs a test at every authorization server, for each kind of key
// that it takes.
func atEachAlgorithm(t *testing.T, test func(t *testing.T, s *authservers.Server, alg string)) {
	atEach(t, func(t *testing.T, s *authservers.Server) {
		algs := []string{"RS256", "PS256", "ES256", "ES384", "ES512"}
		if s.Name == "oidc-provider" {
			algs = append(algs, "EdDSA")
		}
		for _, alg := range algs {
			t.Run(alg, func(t *testing.T) { test(t, s, alg) })
		}
	})
}

func TestKeyApp(t *testing.T) {
	atEachAlgorithm(t, func(t *testing.T, s *authservers.Server, alg string) {
		right, wrong := newKey(t, alg), newKey(t, alg)
		store := new(authprofile.MemStore)
		m := newManager(t, store)
		p := right.app(t, s)
		save(t, m, p)
		key := authprofile.GrantKey{ProfileID: p.ID}
		seen := make(map[string]bool)
		for range 2 {
			tok, err := newManager(t, store).Token(t.Context(), p)
			if err != nil || !s.Active(t, tok.AccessToken) || seen[tok.AccessToken] {
				t.Fatalf("got %v, want another active token", err)
			}
			seen[tok.AccessToken] = true
			expire(t, store, key)
		}

		p = change(t, m, p.ID, func(p *authprofile.Profile) { p.ClientKey = wrong.own })
		if _, err := m.Token(t.Context(), p); !errors.Is(err, authprofile.ErrConfiguration) {
			t.Errorf("another key: got %v, want ErrConfiguration", err)
		}
		p = change(t, m, p.ID, func(p *authprofile.Profile) { p.ClientKey = right.own })
		if tok, err := m.Token(t.Context(), p); err != nil || !s.Active(t, tok.AccessToken) {
			t.Errorf("the right key again: got %v, want an active token", err)
		}
	})
}

func TestKeyUser(t *testing.T) {
	atEachAlgorithm(t, func(t *testing.T, s *authservers.Server, alg string) {
		right, wrong := newKey(t, alg), newKey(t, alg)
		store := new(authprofile.MemStore)
		m := newManager(t, store)
		p := right.user(t, s)
		save(t, m, p)
		key := connect(t, m, p, "alice").GrantKey
		renews(t, newManager(t, store), store, p, key)
		renews(t, newManager(t, store), store, p, key)

		p = change(t, m, p.ID, func(p *authprofile.Profile) { p.ClientKey = wrong.own })
		refuses(t, newManager(t, store), store, p, key)
		back := visit(t, m, p, "bob", authservers.Person{Name: "bob"})
		if _, err := m.Finish(t.Context(), "bob", back); !errors.Is(err, authprofile.ErrConfiguration) {
			t.Errorf("exchange with another key: got %v, want ErrConfiguration", err)
		}
		p = change(t, m, p.ID, func(p *authprofile.Profile) { p.ClientKey = right.own })
		g := renews(t, newManager(t, store), store, p, key)

		if err := m.Revoke(t.Context(), key); err != nil {
			t.Errorf("Revoke: %v", err)
		}
		if s.Active(t, string(g.AccessToken)) || s.Active(t, string(g.RefreshToken)) {
			t.Errorf("tokens live on at the provider")
		}
	})
}

// A key that does not leave its signer, as in a key management service, with a key
// ID and a certificate.
func TestKeyOfSigner(t *testing.T) {
	atEach(t, func(t *testing.T, s *authservers.Server) {
		for _, alg := range []string{"RS256", "ES256"} {
			k := newKey(t, alg)
			k.public.KeyID = "kms-1"
			remote := struct{ crypto.Signer }{k.signer}
			sign := assertion.Signer(remote, k.public.KeyID, authservers.SelfSign(k.signer, "crm"))
			store := new(authprofile.MemStore)
			manager := func() *authprofile.Manager {
				m := newManager(t, store)
				m.Assertion = sign
				return m
			}
			p := k.user(t, s)
			p.AuthMethod, p.ClientKey = authprofile.AuthPrivateKeyJWT, ""
			m := manager()
			save(t, m, p)
			key := connect(t, m, p, "alice").GrantKey
			renews(t, manager(), store, p, key)
			g := renews(t, manager(), store, p, key)
			if err := m.Revoke(t.Context(), key); err != nil || s.Active(t, string(g.RefreshToken)) {
				t.Errorf("%s: Revoke: got %v, want no error and a token that is gone", alg, err)
			}
		}
	})
}

// A client changes its way to authenticate, and each of its grants outlives that.
func TestKeyReplacesSecret(t *testing.T) {
	atEach(t, func(t *testing.T, s *authservers.Server) {
		store := new(authprofile.MemStore)
		m := newManager(t, store)
		c := authservers.Web
		c.RedirectURLs = []string{authservers.RedirectURL}
		p := userProfile(s, c)
		save(t, m, p)
		key := connect(t, m, p, "alice").GrantKey
		renews(t, newManager(t, store), store, p, key)

		for _, alg := range []string{"RS256", "ES256"} { // secret to key, key to key
			k := newKey(t, alg)
			registered := k.web()
			registered.ID = c.ID
			s.Register(t, registered)
			refuses(t, newManager(t, store), store, p, key) // until the profile follows
			p = change(t, m, p.ID, func(p *authprofile.Profile) { p.ClientSecret, p.ClientKey = "", k.own })
			renews(t, newManager(t, store), store, p, key)
		}

		s.Register(t, c)
		refuses(t, newManager(t, store), store, p, key)
		p = change(t, m, p.ID, func(p *authprofile.Profile) {
			p.ClientSecret, p.ClientKey = authprofile.Secret(c.Secret), ""
		})
		g := renews(t, newManager(t, store), store, p, key)
		if e := latest(s); e.Issued != providertest.Fingerprint(string(g.RefreshToken)) {
			t.Errorf("the refresh token of the grant is not the last that was issued")
		}
	})
}

// What the document lists decides by which algorithm a key signs, and whether it
// is used at all.
func TestKeyAlgorithmOfDocument(t *testing.T) {
	atEachWith(t, authservers.Options{AssertionAlgs: []string{"PS256"}}, func(t *testing.T, s *authservers.Server) {
		k := newKey(t, "RS256")
		k.public.Algorithm = "PS256"
		p := k.app(t, s)
		if tok, err := authprofile.Source(t.Context(), p).Token(); err != nil || !s.Active(t, tok.AccessToken) {
			t.Errorf("an RSA key: got %v, want an active token", err)
		}
		before := len(s.Token.Log())
		p.ClientKey = newKey(t, "ES256").own
		if _, err := authprofile.Source(t.Context(), p).Token(); !errors.Is(err, authprofile.ErrConfiguration) {
			t.Errorf("an EC key: got %v, want ErrConfiguration", err)
		}
		if n := len(s.Token.Log()) - before; n != 0 {
			t.Errorf("an EC key: got %d requests, want none", n)
		}
	})
}

// What a server verifies of an assertion, and what it takes: the good one shows
// that the others are refused for what is wrong with them.
func TestKeyAssertionsAreVerified(t *testing.T) {
	atEach(t, func(t *testing.T, s *authservers.Server) {
		right, wrong := newKey(t, "RS256"), newKey(t, "RS256")
		claims := func(p *authprofile.Profile, audience string, with map[string]any) map[string]any {
			now := time.Now()
			all := map[string]any{
				"iss": p.ClientID, "sub": p.ClientID, "aud": audience, "jti": rand.Text(),
				"iat": now.Unix(), "exp": now.Add(time.Minute).Unix(),
			}
			maps.Copy(all, with)
			return all
		}
		sign := func(alg jose.SignatureAlgorithm, key any, claims map[string]any) (string, error) {
			if alg == "none" {
				payload, err := json.Marshal(claims)
				return base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`)) + "." + base64.RawURLEncoding.EncodeToString(payload) + ".", err
			}
			signer, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key}, nil)
			if err != nil {
				return "", err
			}
			return jwt.Signed(signer).Claims(claims).CompactSerialize()
		}
		public, err := x509.MarshalPKIXPublicKey(right.signer.Public())
		if err != nil {
			t.Fatal(err)
		}
		used := rand.Text()

		store := new(authprofile.MemStore)
		p := right.user(t, s)
		p.AuthMethod, p.ClientKey = authprofile.AuthPrivateKeyJWT, ""
		var mu sync.Mutex
		var with map[string]any
		var audiences []string
		key, alg := any(right.signer), jose.RS256
		manager := func() *authprofile.Manager {
			m := newManager(t, store)
			m.Assertion = func(_ context.Context, p *authprofile.Profile, audience string) (string, error) {
				mu.Lock()
				defer mu.Unlock()
				audiences = append(audiences, audience)
				return sign(alg, key, claims(p, audience, with))
			}
			return m
		}
		m := manager()
		save(t, m, p)
		grant := connect(t, m, p, "alice").GrantKey
		for _, tt := range []struct {
			name string
			with map[string]any
			alg  jose.SignatureAlgorithm
			key  any
			good bool

			// fosite is the reason for which a renewal fails at fosite, if that does
			// not say that it is the client that it refuses.
			fosite authprofile.Reason
		}{
			{name: "good", with: map[string]any{"jti": used}, good: true},
			{name: "jti used before", with: map[string]any{"jti": used}, fosite: authprofile.ReasonRefused}, // jti_known
			{name: "signature of another key", key: wrong.signer},
			{name: "key ID that is not registered", key: &jose.JSONWebKey{Key: wrong.signer, KeyID: "old"}, fosite: authprofile.ReasonRefused}, // invalid_request
			{name: "public key as a secret", alg: jose.HS256, key: pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public})},
			{name: "no signature", alg: "none"},
			{name: "another audience", with: map[string]any{"aud": "https://auth.example/token"}},
			{name: "expired", with: map[string]any{"exp": time.Now().Add(-time.Hour).Unix()}, fosite: authprofile.ReasonUnavailable}, // status 500
			{name: "another issuer", with: map[string]any{"iss": "desktop"}},
			{name: "no exp", with: map[string]any{"exp": nil}},
			{name: "no jti", with: map[string]any{"jti": ""}},
			{name: "good again", good: true},
		} {
			mu.Lock()
			with, alg, key = tt.with, jose.RS256, right.signer
			if tt.alg != "" {
				alg = tt.alg
			}
			if tt.key != nil {
				key = tt.key
			}
			mu.Unlock()
			// The profile is saved, since a client that was refused is tried again
			// once something has changed.
			p = change(t, m, p.ID, func(p *authprofile.Profile) { p.Description = tt.name })
			t.Run(tt.name, func(t *testing.T) {
				before := len(s.Token.Log())
				switch {
				case tt.good:
					renews(t, manager(), store, p, grant)
				case tt.fosite != "" && s.Name == "fosite":
					g, err := fails(t, manager(), store, p, grant)
					if g.Status != authprofile.StatusFailing || g.Failure.Reason != tt.fosite {
						t.Errorf("got %v and %v, want failing, %s", err, g, tt.fosite)
					}
				default:
					refuses(t, manager(), store, p, grant)
					if e := latest(s); e.Code != "invalid_client" || len(s.Token.Log()) != before+1 {
						t.Errorf("got error %q and %d requests, want invalid_client and 1", e.Code, len(s.Token.Log())-before)
					}
				}
			})
		}
		if slices.ContainsFunc(audiences, func(a string) bool { return a != s.TokenURL }) {
			t.Errorf("got audiences %q, want %q for all", audiences, s.TokenURL)
		}
	})
}

// Authorization requests are pushed where the document requires it, and where the
// profile says so.
func TestPAR(t *testing.T) {
	t.Run("required", func(t *testing.T) {
		atEachWith(t, authservers.Options{RequirePAR: true}, func(t *testing.T, s *authservers.Server) { testPAR(t, s, "") })
	})
	t.Run("by the profile", func(t *testing.T) {
		atEach(t, func(t *testing.T, s *authservers.Server) { testPAR(t, s, s.PARURL) })
	})
}

// testPAR is TestPAR for profiles with a PARURL; if that is empty, the server
// requires it.
func testPAR(t *testing.T, s *authservers.Server, parURL string) {
	right, wrong := newKey(t, "ES256"), newKey(t, "ES256")
	for _, p := range []*authprofile.Profile{
		right.user(t, s), userProfile(s, authservers.Web), userProfile(s, authservers.WebPost), userProfile(s, authservers.Desktop),
	} {
		t.Run(p.ClientID, func(t *testing.T) {
			p.Endpoints.PARURL = parURL
			store := new(authprofile.MemStore)
			m := newManager(t, store)
			save(t, m, p)
			f, err := m.Begin(t.Context(), p, "alice")
			if err != nil {
				t.Fatalf("Begin: %v", err)
			}
			u, err := url.Parse(f.URL)
			if err != nil {
				t.Fatal(err)
			}
			if q := u.Query(); !slices.Equal(slices.Sorted(maps.Keys(q)), []string{"client_id", "request_uri"}) || q.Get("client_id") != p.ClientID {
				t.Errorf("got an address with %q, want client_id and request_uri", q)
			}
			g, err := m.Finish(t.Context(), "alice", authservers.Login(t, f.URL, authservers.Person{Name: "alice"}))
			if err != nil {
				t.Fatalf("Finish: %v", err)
			}
			key := g.GrantKey
			renews(t, newManager(t, store), store, p, key)
			renews(t, newManager(t, store), store, p, key)
			if p.ClientKey == "" {
				return
			}
			p = change(t, m, p.ID, func(p *authprofile.Profile) { p.ClientKey = wrong.own })
			if f, err := m.Begin(t.Context(), p, "bob"); !errors.Is(err, authprofile.ErrConfiguration) {
				t.Errorf("another key: got %v, %v, want ErrConfiguration", f, err)
			}
			p = change(t, m, p.ID, func(p *authprofile.Profile) { p.ClientKey = right.own })
			renews(t, newManager(t, store), store, p, key)
		})
	}

	// The server does what its document says: where it requires that they are
	// pushed, it refuses other requests.
	p := right.user(t, s)
	p.Endpoints = authprofile.Endpoints{AuthURL: s.AuthURL, TokenURL: s.TokenURL}
	m := newManager(t, nil)
	save(t, m, p)
	f, err := m.Begin(t.Context(), p, "alice")
	if err != nil {
		t.Fatal(err)
	}
	transport := authservers.Transport()
	defer transport.CloseIdleConnections()
	resp, err := transport.RoundTrip(httptest.NewRequest("GET", f.URL, nil))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	location := resp.Header.Get("Location")
	if refused := resp.StatusCode >= 400 || strings.Contains(location, "error=invalid_request"); refused != (parURL == "") {
		t.Errorf("not pushed: got status %d and Location %q, want a refusal: %v", resp.StatusCode, location, parURL == "")
	}
}

// What a check says of a profile with a key is what happens when it is used.
func TestKeyCheck(t *testing.T) {
	for _, par := range []bool{false, true} {
		t.Run(fmt.Sprintf("PAR %v", par), func(t *testing.T) {
			atEachWith(t, authservers.Options{RequirePAR: par}, func(t *testing.T, s *authservers.Server) {
				right, wrong := newKey(t, "ES256"), newKey(t, "ES256")
				for _, p := range []*authprofile.Profile{right.app(t, s), right.user(t, s)} {
					for key, want := range map[*clientKey]string{right: "client passed", wrong: "client failed"} {
						p.ClientKey = key.own
						if got := outcomes(newManager(t, nil).Check(t.Context(), p)); !slices.Contains(got, want) {
							t.Errorf("%s: got %q, want %q", p.Type, got, want)
						}
					}
				}
			})
		})
	}
}

// oidc-provider spends the refresh token before it looks at the resource: a grant
// that is renewed with one that was not authorized is lost by that request. The
// other grants of the profile are renewed without, and are not.
func TestResourceRefusedAfterRotation(t *testing.T) {
	s := authservers.OIDCProvider(t, authservers.Options{})
	store, p, alice := connected(t, s)
	m := newManager(t, store)
	bob := connect(t, m, p, "bob").GrantKey
	p = change(t, m, p.ID, func(p *authprofile.Profile) {
		p.TokenParams = url.Values{"resource": {"https://api.example/"}}
	})

	m = newManager(t, store)
	expire(t, store, alice)
	expire(t, store, bob)
	spent := providertest.Fingerprint(string(stored(t, store, alice).RefreshToken))
	if _, err := m.Token(t.Context(), p, authprofile.AsUser("alice")); !errors.Is(err, authprofile.ErrReauthorize) {
		t.Errorf("the first: got %v, want ErrReauthorize", err)
	}
	log := s.Token.Log()
	log = log[len(log)-2:]
	for i, code := range []string{"invalid_target", "invalid_grant"} {
		if log[i].Code != code || log[i].Spent != spent {
			t.Errorf("the first, request %d: got error %q, want %q for the same refresh token", i+1, log[i].Code, code)
		}
	}
	if tok, err := m.Token(t.Context(), p, authprofile.AsUser("bob")); err != nil || !s.Active(t, tok.AccessToken) {
		t.Errorf("the second: got %v, want an active token", err)
	}
}
