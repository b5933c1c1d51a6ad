package authservers

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v3"
	"github.com/go-jose/go-jose/v3/jwt"
)

// An authority issues certificates.
type authority struct {
	key         crypto.Signer
	certificate *x509.Certificate
}

// ca is the authority of all servers and clients of a test program.
var ca = sync.OnceValue(func() *authority {
	a := &authority{key: newKey()}
	a.certificate = a.issue(a.key.Public(), &x509.Certificate{
		Subject:               pkix.Name{CommonName: "authservers"},
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign,
	})
	return a
})

// issue issues a certificate as it is described; without one of its own, a signs
// it as itself.
func (a *authority) issue(public crypto.PublicKey, template *x509.Certificate) *x509.Certificate {
	template.SerialNumber = new(big.Int).SetBytes([]byte(rand.Text()[:16]))
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(24*time.Hour)
	parent := a.certificate
	if parent == nil {
		parent = template
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, a.key)
	if err != nil {
		panic(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	return c
}

func newKey() *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	return key
}

// Certify issues a certificate for a client's key, by the authority that servers
// with Options.TLS trust.
func Certify(key crypto.Signer, commonName string) *x509.Certificate {
	return ca().issue(key.Public(), clientCertificate(commonName))
}

// SelfSign makes a certificate for a client's key that no authority has signed.
func SelfSign(key crypto.Signer, commonName string) *x509.Certificate {
	return (&authority{key: key}).issue(key.Public(), clientCertificate(commonName))
}

func clientCertificate(commonName string) *x509.Certificate {
	return &x509.Certificate{
		Subject:     pkix.Name{CommonName: commonName},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
}

// serverPair returns a key, and a certificate for servers on loopback.
func serverPair() (*ecdsa.PrivateKey, *x509.Certificate) {
	key := newKey()
	return key, ca().issue(key.Public(), &x509.Certificate{
		Subject:     pkix.Name{CommonName: "127.0.0.1"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
}

// serverConfig is for servers on loopback. They ask for a certificate, and take
// any or none.
func serverConfig() *tls.Config {
	key, certificate := serverPair()
	return &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{certificate.Raw}, PrivateKey: key}},
		ClientAuth:   tls.RequestClientCert,
	}
}

// nodeTLS is what server.mjs wants for clients with a certificate.
func nodeTLS() (map[string]string, error) {
	key, certificate := serverPair()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	encode := func(kind string, der []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	}
	return map[string]string{
		"key":  encode("PRIVATE KEY", der),
		"cert": encode("CERTIFICATE", certificate.Raw),
		"ca":   encode("CERTIFICATE", ca().certificate.Raw),
	}, nil
}

// Transport returns a transport that trusts servers with Options.TLS.
func Transport() *http.Transport {
	roots := x509.NewCertPool()
	roots.AddCert(ca().certificate)
	tr := http.DefaultTransport.(*http.Transport).Clone()
	tr.TLSClientConfig = &tls.Config{RootCAs: roots}
	return tr
}

// Certificates returns how many requests came with a client's certificate to the
// addresses that are not for that.
func (s *Server) Certificates() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.certificates
}

// startAPI starts an API that takes the JWTs of the server, over TLS: one that is
// bound to a certificate is good with that alone (RFC 8705, section 3). Its answer
// is what the token claims.
func (s *Server) startAPI(t testing.TB) {
	ts := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		claims, err := s.verify(r)
		if err != nil {
			w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token"`)
			http.Error(w, err.Error(), http.StatusUnauthorized)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Write(claims)
	}))
	ts.TLS = serverConfig()
	ts.StartTLS()
	t.Cleanup(func() {
		ts.CloseClientConnections()
		ts.Close()
	})
	s.APIURL = ts.URL + "/api/me"
}

// verify verifies the token of a request, and that it is used by the client that it
// was issued to.
func (s *Server) verify(r *http.Request) (claims json.RawMessage, err error) {
	raw, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		return nil, errors.New("no token")
	}
	token, err := jwt.ParseSigned(raw)
	if err != nil {
		return nil, err
	}
	keys, err := s.keys()
	if err != nil {
		return nil, err
	}
	var said struct {
		jwt.Claims
		Confirmation struct {
			Thumbprint string `json:"x5t#S256"`
		} `json:"cnf"`
	}
	if err := token.Claims(keys, &said, &claims); err != nil {
		return nil, err
	}
	if err := said.Validate(jwt.Expected{Issuer: s.Issuer, Audience: jwt.Audience{s.APIURL}, Time: time.Now()}); err != nil {
		return nil, err
	}
	if said.Confirmation.Thumbprint == "" {
		return claims, nil
	}
	if len(r.TLS.PeerCertificates) == 0 {
		return nil, errors.New("the token is bound to a certificate, and there is none")
	}
	sum := sha256.Sum256(r.TLS.PeerCertificates[0].Raw)
	if got := base64.RawURLEncoding.EncodeToString(sum[:]); got != said.Confirmation.Thumbprint {
		return nil, errors.New("the token is bound to another certificate")
	}
	return claims, nil
}

func (s *Server) keys() (*jose.JSONWebKeySet, error) {
	resp, err := httpClient.Get(s.Issuer + "/jwks")
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	var keys jose.JSONWebKeySet
	return &keys, json.NewDecoder(resp.Body).Decode(&keys)
}

// registerAt registers a client at an oidc-provider by the address that server.mjs
// has for that.
func registerAt(address string, c Client) error {
	body, err := json.Marshal(metadataOf([]Client{c})[0])
	if err != nil {
		return err
	}
	resp, err := httpClient.Post("http://"+address+"/clients", "application/json", bytes.NewReader(body))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusNoContent {
		said, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
		return fmt.Errorf("status %d: %s", resp.StatusCode, said)
	}
	return nil
}
