package providertest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"
)

// WithTLS makes a Server that listens with TLS, with a certificate by a CA of
// its own that [Server.Client] trusts. It asks clients for certificates, naming
// that CA, and so has the methods "tls_client_auth" and
// "self_signed_tls_client_auth" (RFC 8705). [Server.IssueCertificate] makes
// certificates for the first.
func WithTLS() Option {
	return option(func(s *Server) (err error) {
		s.ca, err = newAuthority()
		return err
	})
}

// WithMTLSAliases is [WithTLS] for a Server that asks for certificates on
// another port only. It is at the same paths there, refuses connections without
// a certificate, and has mtls_endpoint_aliases (RFC 8705, section 5) for that
// port in its documents.
func WithMTLSAliases() Option {
	return option(func(s *Server) error {
		s.aliases = true
		return WithTLS().apply(s)
	})
}

// The methods by which a client authenticates itself with its certificate.
const (
	tlsClientAuth           = "tls_client_auth"
	selfSignedTLSClientAuth = "self_signed_tls_client_auth"
)

// An authority is the CA of a Server.
type authority struct {
	cert *x509.Certificate
	key  crypto.Signer
	pool *x509.CertPool // of cert alone
}

func newAuthority() (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	ca := &authority{key: key, pool: x509.NewCertPool()}
	c, err := ca.issue(x509.Certificate{
		Subject:               pkix.Name{CommonName: "providertest"},
		KeyUsage:              x509.KeyUsageCertSign,
		IsCA:                  true,
		BasicConstraintsValid: true,
	}, key)
	if err != nil {
		return nil, err
	}
	ca.cert = c.Leaf
	ca.pool.AddCert(ca.cert)
	return ca, nil
}

// issue returns a certificate for a key: the CA's own, if it has none yet.
func (ca *authority) issue(template x509.Certificate, key crypto.Signer) (tls.Certificate, error) {
	if template.NotBefore.IsZero() {
		template.NotBefore = time.Now().Add(-time.Hour)
	}
	if template.NotAfter.IsZero() {
		template.NotAfter = time.Now().Add(24 * time.Hour)
	}
	parent := ca.cert
	if parent == nil {
		parent = &template
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, parent, key.Public(), ca.key)
	if err != nil {
		return tls.Certificate{}, err
	}
	leaf, err := x509.ParseCertificate(der)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, err
}

// IssueCertificate returns a client certificate for a key, by the CA of a
// Server that was made with [WithTLS]. The template has its subject and
// subject alternative names. If its times are zero, the certificate is valid
// from an hour ago until a day from now, and if its extended key usage is nil,
// it is for clients.
func (s *Server) IssueCertificate(template *x509.Certificate, key crypto.Signer) (tls.Certificate, error) {
	if s.ca == nil {
		return tls.Certificate{}, errors.New("providertest: the Server was not made with WithTLS")
	}
	c := *template
	if c.ExtKeyUsage == nil {
		c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	}
	return s.ca.issue(c, key)
}

// listen returns the listeners of a Server with a CA, and the origin of the
// second, which the aliases are at; without aliases there is none.
func (s *Server) listen() (list []net.Listener, aliases string, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, "", err
	}
	cert, err := s.ca.issue(x509.Certificate{
		Subject:     pkix.Name{CommonName: "localhost"},
		DNSNames:    []string{"localhost"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, key)
	if err != nil {
		return nil, "", err
	}
	ask := []tls.ClientAuthType{tls.RequestClientCert}
	if s.aliases {
		ask = []tls.ClientAuthType{tls.NoClientCert, tls.RequireAnyClientCert}
	}
	for _, ask := range ask {
		l, err := loopback()
		if err != nil {
			for _, l := range list {
				l.Close()
			}
			return nil, "", err
		}
		// What a certificate is worth is decided when a client uses it.
		list = append(list, tls.NewListener(l, &tls.Config{
			Certificates: []tls.Certificate{cert},
			ClientAuth:   ask,
			ClientCAs:    s.ca.pool,
			NextProtos:   []string{"http/1.1"},
		}))
	}
	if s.aliases {
		aliases = "https://" + list[1].Addr().String()
	}
	return list, aliases, nil
}

// describeTLS adds to the document what a Server with a CA has.
func (s *Server) describeTLS(aliases string) {
	methods := s.document["token_endpoint_auth_methods_supported"].([]any)
	s.document["token_endpoint_auth_methods_supported"] = append(methods, tlsClientAuth, selfSignedTLSClientAuth)
	if aliases == "" {
		return
	}
	list := map[string]any{}
	for _, name := range []string{"token_endpoint", "revocation_endpoint", "pushed_authorization_request_endpoint", "userinfo_endpoint"} {
		list[name] = aliases + strings.TrimPrefix(s.address(name), s.origin)
	}
	s.document["mtls_endpoint_aliases"] = list
}

// certificateOf returns the client certificate that a request comes with, or
// nil.
func certificateOf(r *http.Request) *x509.Certificate {
	if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
		return nil
	}
	return r.TLS.PeerCertificates[0]
}

// methodOf returns how a request authenticates its client, in the client's
// view: without a secret and an assertion it may be by its certificate. The
// Server is locked.
func (s *Server) methodOf(cred credentials) string {
	c, ok := s.clients[cred.id]
	if !ok || cred.method != "none" {
		return cred.method
	}
	methods := s.authMethods(&c)
	for _, method := range []string{tlsClientAuth, selfSignedTLSClientAuth} {
		if slices.Contains(methods, method) {
			return method
		}
	}
	return cred.method
}

// certificateProblem says why a certificate does not authenticate a client by a
// method, or "".
func (s *Server) certificateProblem(cert *x509.Certificate, c *Client, method string) string {
	switch {
	case cert == nil:
		return "no client certificate"
	case method == selfSignedTLSClientAuth:
		if !slices.ContainsFunc(c.Certificates, cert.Equal) {
			return "the client certificate is not registered"
		}
		return ""
	}
	_, err := cert.Verify(x509.VerifyOptions{Roots: s.ca.pool, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	names := append([]string{cert.Subject.String()}, cert.DNSNames...)
	names = append(names, cert.EmailAddresses...)
	for _, u := range cert.URIs {
		names = append(names, u.String())
	}
	for _, ip := range cert.IPAddresses {
		names = append(names, ip.String())
	}
	switch {
	case err != nil:
		return "the client certificate: " + err.Error()
	case c.TLSSubject == "" || !slices.Contains(names, c.TLSSubject):
		return "the client certificate has another subject"
	}
	return ""
}
