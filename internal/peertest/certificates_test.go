package peertest

import (
	"crypto/x509"
	"errors"
	"net/http"
	"net/url"
	"testing"

	"github.com/authprofile/authprofile"
	"github.com/authprofile/authprofile/internal/peertest/authservers"
	"github.com/go-jose/go-jose/v3"
)

// A certified is a client that authenticates by a certificate.
type certified struct {
	name string
	// make makes a key with a certificate, and the client that a server registers
	// for it.
	make func(t *testing.T) (*clientKey, authservers.Client)

	// wrong are keys with certificates that are not that client's.
	wrong func(t *testing.T) map[string]*clientKey
}

var byCertificate = []certified{
	{"tls_client_auth", func(t *testing.T) (*clientKey, authservers.Client) {
		k := newKey(t, "ES256")
		k.certify(t, authservers.Certify(k.signer, "crm"))
		return k, authservers.Client{AuthMethod: "tls_client_auth", SubjectDN: "CN=crm"}
	}, func(t *testing.T) map[string]*clientKey {
		unsigned, other := newKey(t, "ES256"), newKey(t, "ES256")
		unsigned.certify(t, authservers.SelfSign(unsigned.signer, "crm"))
		other.certify(t, authservers.Certify(other.signer, "desktop"))
		return map[string]*clientKey{"of no authority": unsigned, "of another subject": other}
	}},
	{"self_signed_tls_client_auth", func(t *testing.T) (*clientKey, authservers.Client) {
		k := newKey(t, "RS256")
		k.certify(t, authservers.SelfSign(k.signer, "crm"))
		return k, authservers.Client{AuthMethod: "self_signed_tls_client_auth", Key: k.public}
	}, func(t *testing.T) map[string]*clientKey {
		selfSigned, other := newKey(t, "RS256"), newKey(t, "ES256")
		selfSigned.certify(t, authservers.SelfSign(selfSigned.signer, "crm"))
		other.certify(t, authservers.Certify(other.signer, "crm"))
		return map[string]*clientKey{"that is not registered": selfSigned, "of the authority": other}
	}},
}

// certify adds a certificate to a key.
func (k *clientKey) certify(t *testing.T, c *x509.Certificate) {
	t.Helper()
	k.own = k.pem(t, c)
	k.public = &jose.JSONWebKey{Key: k.signer.Public(), Use: "sig", Certificates: []*x509.Certificate{c}}
}

// atEachCertificate runs a test at oidc-provider over TLS, for both methods of RFC
// 8705. fosite has neither.
func atEachCertificate(t *testing.T, opts authservers.Options, test func(t *testing.T, s *authservers.Server, c certified)) {
	for _, c := range byCertificate {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			opts := opts
			opts.TLS = true
			test(t, authservers.OIDCProvider(t, opts), c)
		})
	}
}

// newTLSManager is newManager for servers with Options.TLS.
func newTLSManager(t *testing.T, store authprofile.Store) *authprofile.Manager {
	t.Helper()
	m := newManager(t, store)
	transport := authservers.Transport()
	t.Cleanup(transport.CloseIdleConnections)
	m.HTTPClient = &http.Client{Transport: transport}
	return m
}

// authenticated returns a client that authenticates as another does, and has a
// secret otherwise.
func authenticated(as, by authservers.Client) authservers.Client {
	as.Secret, as.AuthMethod, as.Key, as.SubjectDN = "", by.AuthMethod, by.Key, by.SubjectDN
	if as.Grants[0] == "authorization_code" {
		as.RedirectURLs = []string{authservers.RedirectURL}
	}
	return as
}

// withKey returns a profile whose client authenticates by a key, for tokens of the
// server's API.
func withKey(p *authprofile.Profile, s *authservers.Server, c authservers.Client, k *clientKey) *authprofile.Profile {
	p.ClientSecret, p.ClientKey, p.AuthMethod = "", k.own, authprofile.AuthMethod(c.AuthMethod)
	return forAPI(p, s)
}

// forAPI has a profile ask for tokens of the server's API (RFC 8707).
func forAPI(p *authprofile.Profile, s *authservers.Server) *authprofile.Profile {
	resource := url.Values{"resource": {s.APIURL}}
	if p.Params == nil {
		p.Params = make(url.Values)
	}
	p.Params.Set("resource", s.APIURL)
	if p.Type == authprofile.TypeUser {
		p.TokenParams = resource
	}
	return p
}

// bound fails the test unless a token is good at the API with the client of the
// Manager, and not without the certificate.
func bound(t *testing.T, s *authservers.Server, c *http.Client, token string) {
	t.Helper()
	if status, _ := callAPI(t, s, c); status != http.StatusOK {
		t.Errorf("API: got status %d, want 200", status)
	}
	transport := authservers.Transport()
	defer transport.CloseIdleConnections()
	req, err := http.NewRequest("GET", s.APIURL, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatalf("API: %v", err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("API, without the certificate: got status %d, want 401", resp.StatusCode)
	}
}

func TestCertificateApp(t *testing.T) {
	atEachCertificate(t, authservers.Options{}, func(t *testing.T, s *authservers.Server, c certified) {
		right, client := c.make(t)
		client = authenticated(authservers.App, client)
		s.Register(t, client)
		store := new(authprofile.MemStore)
		m := newTLSManager(t, store)
		p := withKey(appProfile(s), s, client, right)
		save(t, m, p)
		key := authprofile.GrantKey{ProfileID: p.ID}
		last := ""
		for range 2 {
			m := newTLSManager(t, store)
			tok, err := m.Token(t.Context(), p)
			if err != nil || tok.AccessToken == last {
				t.Fatalf("Token: got %v, want another token", err)
			}
			last = tok.AccessToken
			bound(t, s, m.Client(t.Context(), p), last)
			expire(t, store, key)
		}

		for name, wrong := range c.wrong(t) {
			p = change(t, m, p.ID, func(p *authprofile.Profile) { p.ClientKey = wrong.own })
			if _, err := m.Token(t.Context(), p); !errors.Is(err, authprofile.ErrConfiguration) {
				t.Errorf("a certificate %s: got %v, want ErrConfiguration", name, err)
			}
		}
		p = change(t, m, p.ID, func(p *authprofile.Profile) { p.ClientKey = right.own })
		if _, err := m.Token(t.Context(), p); err != nil {
			t.Errorf("the right certificate again: %v", err)
		}
		if n := s.Certificates(); n != 0 {
			t.Errorf("got the certificate %d times where it is not for, want never", n)
		}
		if n := len(s.Token.Log()); n != 0 {
			t.Errorf("got %d requests at the token endpoint without certificates, want none", n)
		}
	})
}

func TestCertificateUser(t *testing.T) {
	for name, par := range map[string]bool{"plain": false, "PAR": true} {
		t.Run(name, func(t *testing.T) {
			atEachCertificate(t, authservers.Options{RequirePAR: par}, func(t *testing.T, s *authservers.Server, c certified) {
				right, client := c.make(t)
				client = authenticated(authservers.Web, client)
				s.Register(t, client)
				store := new(authprofile.MemStore)
				m := newTLSManager(t, store)
				p := withKey(userProfile(s, client), s, client, right)
				save(t, m, p)
				g := connect(t, m, p, "alice")
				bound(t, s, m.Client(t.Context(), p, authprofile.AsUser("alice")), string(g.AccessToken))
				key := g.GrantKey
				for range 2 {
					m := newTLSManager(t, store)
					g := renews(t, m, store, p, key)
					bound(t, s, m.Client(t.Context(), p, authprofile.AsUser("alice")), string(g.AccessToken))
				}

				for name, wrong := range c.wrong(t) {
					p = change(t, m, p.ID, func(p *authprofile.Profile) { p.ClientKey = wrong.own })
					refuses(t, newTLSManager(t, store), store, p, key)
					if par {
						if f, err := m.Begin(t.Context(), p, "bob"); !errors.Is(err, authprofile.ErrConfiguration) {
							t.Errorf("Begin with a certificate %s: got %v, %v, want ErrConfiguration", name, f, err)
						}
					} else if _, err := m.Finish(t.Context(), "bob", visit(t, m, p, "bob", authservers.Person{Name: "bob"})); !errors.Is(err, authprofile.ErrConfiguration) {
						t.Errorf("exchange with a certificate %s: got %v, want ErrConfiguration", name, err)
					}
				}
				p = change(t, m, p.ID, func(p *authprofile.Profile) { p.ClientKey = right.own })
				g = renews(t, newTLSManager(t, store), store, p, key)

				if !s.Active(t, string(g.RefreshToken)) {
					t.Errorf("the refresh token is not good before it is revoked")
				}
				if err := m.Revoke(t.Context(), key); err != nil {
					t.Errorf("Revoke: %v", err)
				}
				if s.Active(t, string(g.RefreshToken)) {
					t.Errorf("the refresh token lives on at the provider")
				}
				for _, address := range []string{s.RevocationURL, s.PARURL, s.TokenURL} {
					if n := s.Requests(address); n != 0 {
						t.Errorf("got %d requests at %s, want none: it has an alias", n, address)
					}
				}
				if n := s.Certificates(); n != 0 {
					t.Errorf("got the certificate %d times where it is not for, want never", n)
				}
			})
		})
	}
}

// Without a document the addresses of the profile are those for clients with a
// certificate.
func TestCertificateByAddresses(t *testing.T) {
	atEachCertificate(t, authservers.Options{RequirePAR: true}, func(t *testing.T, s *authservers.Server, c certified) {
		k, client := c.make(t)
		client = authenticated(authservers.Web, client)
		s.Register(t, client)
		store := new(authprofile.MemStore)
		m := newTLSManager(t, store)
		p := withKey(userProfile(s, client), s, client, k)
		p.Endpoints = authprofile.Endpoints{AuthURL: s.AuthURL, TokenURL: s.TLS.TokenURL, RevocationURL: s.TLS.RevocationURL, PARURL: s.TLS.PARURL}
		save(t, m, p)
		key := connect(t, m, p, "alice").GrantKey
		renews(t, newTLSManager(t, store), store, p, key)
		g := renews(t, newTLSManager(t, store), store, p, key)
		if err := m.Revoke(t.Context(), key); err != nil || s.Active(t, string(g.RefreshToken)) {
			t.Errorf("Revoke: got %v, want no error and a token that is gone", err)
		}
	})
}

// Two profiles with certificates of their own, in one process and at the same
// server: none speaks over a connection of the other.
func TestCertificatesOfTwoProfiles(t *testing.T) {
	atEachCertificate(t, authservers.Options{}, func(t *testing.T, s *authservers.Server, c certified) {
		m := newTLSManager(t, new(authprofile.MemStore))
		var profiles []*authprofile.Profile
		for _, id := range []string{"one", "two"} {
			k, client := c.make(t)
			client = authenticated(authservers.App, client)
			client.ID = id
			s.Register(t, client)
			p := withKey(appProfile(s), s, client, k)
			p.ID, p.ClientID = id, id
			save(t, m, p)
			profiles = append(profiles, p)
		}
		for _, p := range profiles {
			tok, err := m.Token(t.Context(), p)
			if err != nil {
				t.Fatalf("%s: Token: %v", p.ID, err)
			}
			bound(t, s, m.Client(t.Context(), p), tok.AccessToken)
		}
	})
}

// One grant on the whole way: from a secret to a key, to the certificate of an
// authority, to one of its own, and back.
func TestCertificateReplacesKey(t *testing.T) {
	s := authservers.OIDCProvider(t, authservers.Options{TLS: true})
	store := new(authprofile.MemStore)
	m := newTLSManager(t, store)
	secret := authservers.Web
	secret.RedirectURLs = []string{authservers.RedirectURL}
	p := forAPI(userProfile(s, secret), s)
	p.AuthMethod = ""
	save(t, m, p)
	key := connect(t, m, p, "alice").GrantKey
	renews(t, newTLSManager(t, store), store, p, key)

	jwt := certified{"private_key_jwt", func(t *testing.T) (*clientKey, authservers.Client) {
		k := newKey(t, "EdDSA")
		return k, authservers.Client{AuthMethod: "private_key_jwt", Key: k.public}
	}, nil}
	for _, c := range append([]certified{jwt}, byCertificate...) {
		k, client := c.make(t)
		s.Register(t, authenticated(secret, client))
		refuses(t, newTLSManager(t, store), store, p, key) // until the profile follows
		p = change(t, m, p.ID, func(p *authprofile.Profile) {
			p.ClientSecret, p.ClientKey, p.AuthMethod = "", k.own, authprofile.AuthMethod(client.AuthMethod)
		})
		m := newTLSManager(t, store)
		g := renews(t, m, store, p, key)
		api := m.Client(t.Context(), p, authprofile.AsUser("alice"))
		if c.name == jwt.name {
			if status, subject := callAPI(t, s, api); status != http.StatusOK || subject != "sub-of-alice" {
				t.Errorf("API: got status %d and subject %q, want 200 and sub-of-alice", status, subject)
			}
		} else {
			bound(t, s, api, string(g.AccessToken))
		}
	}

	s.Register(t, secret)
	refuses(t, newTLSManager(t, store), store, p, key)
	p = change(t, m, p.ID, func(p *authprofile.Profile) {
		p.ClientSecret, p.ClientKey, p.AuthMethod = authprofile.Secret(secret.Secret), "", ""
	})
	renews(t, newTLSManager(t, store), store, p, key)
}
