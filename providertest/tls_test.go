package providertest_test

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/authprofile/authprofile/providertest"
)

// A holder is a client that holds a certificate.
type holder struct {
	srv    *providertest.Server
	client *http.Client
}

// with returns a client that presents a certificate, whatever the Server asks
// for; nil: none.
func with(t *testing.T, srv *providertest.Server, cert *tls.Certificate) holder {
	t.Helper()
	transport := srv.Client().Transport.(*http.Transport).Clone()
	if cert != nil {
		transport.TLSClientConfig.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return cert, nil }
	}
	t.Cleanup(transport.CloseIdleConnections)
	return holder{srv, &http.Client{Transport: transport}}
}

// post sends a form to an address, and returns the status and the answer.
func (h holder) post(t *testing.T, address string, pairs ...string) (int, map[string]any) {
	t.Helper()
	resp, err := h.client.PostForm(address, form(pairs...))
	if err != nil {
		t.Fatal(err)
	}
	return decode(t, resp)
}

// wantApp asks for a token of the client "tls" itself. Without why it must be
// given.
func (h holder) wantApp(t *testing.T, what, why string) string {
	t.Helper()
	status, v := h.post(t, h.srv.TokenURL(), append(app, "client_id", "tls")...)
	text, _ := v["error_description"].(string)
	switch {
	case why == "" && status != 200:
		t.Errorf("%s: got %d %v, want 200", what, status, v)
	case why != "" && (status != 401 || v["error"] != "invalid_client" || !strings.Contains(text, why)):
		t.Errorf("%s: got %d %v, want 401 invalid_client with %q", what, status, v, why)
	}
	token, _ := v["access_token"].(string)
	return token
}

// wantAPI checks how the API at an origin answers to an access token.
func (h holder) wantAPI(t *testing.T, what, origin, token string, want int) {
	t.Helper()
	req, err := http.NewRequest("GET", origin+"/api/things", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := h.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != want {
		t.Errorf("%s: got status %d, want %d", what, resp.StatusCode, want)
	}
}

// issueCertificate returns a certificate by the CA of a Server.
func issueCertificate(t *testing.T, srv *providertest.Server, template x509.Certificate) *tls.Certificate {
	t.Helper()
	cert, err := srv.IssueCertificate(&template, testKeys()["P-256"])
	if err != nil {
		t.Fatal(err)
	}
	return &cert
}

func selfSignedTLS(t *testing.T, key string) *tls.Certificate {
	t.Helper()
	cert := selfSigned(t, testKeys()[key])
	return &tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: testKeys()[key], Leaf: cert}
}

func TestTLSClientAuth(t *testing.T) {
	srv := providertest.NewServer(t, providertest.WithTLS())
	if !strings.HasPrefix(srv.TokenURL(), "https://") {
		t.Fatalf("got token endpoint %s, want one with https", srv.TokenURL())
	}
	worker := pkix.Name{CommonName: "worker", Organization: []string{"Acme"}}
	uri, err := url.Parse("spiffe://acme.example.com/worker")
	if err != nil {
		t.Fatal(err)
	}
	full := x509.Certificate{Subject: worker, DNSNames: []string{"worker.example.com"}, URIs: []*url.URL{uri},
		IPAddresses: []net.IP{net.IPv4(192, 0, 2, 1)}, EmailAddresses: []string{"worker@example.com"}}
	cert := issueCertificate(t, srv, full)
	for _, subject := range []string{"CN=worker,O=Acme", "worker.example.com", uri.String(), "192.0.2.1", "worker@example.com"} {
		srv.AddClient(providertest.Client{ID: "tls", TLSSubject: subject})
		with(t, srv, cert).wantApp(t, subject, "")
		list := srv.Requests()
		if got := list[len(list)-1]; got.AuthMethod != "tls_client_auth" || got.ClientID != "tls" {
			t.Errorf("got record %+v, want tls_client_auth of tls", got)
		}
		captured := srv.Captured()
		if got := captured[len(captured)-1].URL; got != srv.TokenURL() {
			t.Errorf("got captured address %s, want %s", got, srv.TokenURL())
		}
	}
	srv.AddClient(providertest.Client{ID: "tls", TLSSubject: "CN=other"})
	with(t, srv, cert).wantApp(t, "another subject", "another subject")

	srv.AddClient(providertest.Client{ID: "tls", TLSSubject: "CN=worker,O=Acme"})
	with(t, srv, nil).wantApp(t, "no certificate", "no client certificate")
	other := providertest.NewServer(t, providertest.WithTLS())
	with(t, srv, issueCertificate(t, other, full)).wantApp(t, "another CA", "certificate")
	expired := full
	expired.NotBefore, expired.NotAfter = time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour)
	with(t, srv, issueCertificate(t, srv, expired)).wantApp(t, "expired", "expired")
	server := full
	server.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	with(t, srv, issueCertificate(t, srv, server)).wantApp(t, "a server's", "key usage")
	with(t, srv, selfSignedTLS(t, "P-256")).wantApp(t, "self-signed", "certificate")

	if _, err := providertest.NewServer(t).IssueCertificate(&full, testKeys()["P-256"]); err == nil {
		t.Error("got a certificate of a Server without TLS, want an error")
	}
	if srv, err := providertest.Start(providertest.InMemory("https://login.example.com"), providertest.WithTLS()); err == nil {
		srv.Close()
		t.Error("got a Server in memory with TLS, want an error")
	}
}

func TestSelfSignedTLSClientAuth(t *testing.T) {
	srv := providertest.NewServer(t, providertest.WithTLS())
	cert, second := selfSignedTLS(t, "P-256"), selfSignedTLS(t, "RSA")
	srv.AddClient(providertest.Client{ID: "tls", Certificates: []*x509.Certificate{second.Leaf, cert.Leaf}})
	with(t, srv, cert).wantApp(t, "registered", "")
	if got := srv.Requests()[0].AuthMethod; got != "self_signed_tls_client_auth" {
		t.Errorf("got method %q, want self_signed_tls_client_auth", got)
	}
	with(t, srv, second).wantApp(t, "registered, too", "")
	with(t, srv, nil).wantApp(t, "no certificate", "no client certificate")
	with(t, srv, selfSignedTLS(t, "P-256")).wantApp(t, "another of the same key", "not registered")
	with(t, srv, issueCertificate(t, srv, x509.Certificate{Subject: pkix.Name{CommonName: "self"}})).wantApp(t, "one of the CA", "not registered")

	// A TLS client does not present a certificate by itself that is of none of
	// the CAs that the Server names.
	transport := srv.Client().Transport.(*http.Transport).Clone()
	transport.TLSClientConfig.Certificates = []tls.Certificate{*cert}
	defer transport.CloseIdleConnections()
	holder{srv, &http.Client{Transport: transport}}.wantApp(t, "kept back", "no client certificate")

	// A certificate is one way beside others, not a second one.
	srv.AddClient(providertest.Client{ID: "keyed", Certificates: []*x509.Certificate{cert.Leaf}})
	status, v := with(t, srv, cert).post(t, srv.TokenURL(), asserted(assertion(t, srv, jose.ES256, testKeys()["P-256"], nil, nil), app...)...)
	if status != 200 {
		t.Errorf("assertion: got %d %v, want 200", status, v)
	}
	srv.AddClient(providertest.Client{ID: "tls", Certificates: []*x509.Certificate{cert.Leaf}, AuthMethods: []string{"private_key_jwt"}})
	with(t, srv, cert).wantApp(t, "another method", "way of authentication")
}

func TestTLSAtAllLegs(t *testing.T) {
	srv := providertest.NewServer(t, providertest.WithTLS())
	cert := selfSignedTLS(t, "P-256")
	srv.AddClient(providertest.Client{ID: "tls", Certificates: []*x509.Certificate{cert.Leaf}})
	holds, without := with(t, srv, cert), with(t, srv, nil)
	pushed := form(request...)
	pushed.Set("client_id", "tls")
	var pairs []string
	for name := range pushed {
		pairs = append(pairs, name, pushed.Get(name))
	}
	ask := func(what, address string, pairs ...string) map[string]any {
		t.Helper()
		if status, v := without.post(t, address, pairs...); status != 401 || v["error"] != "invalid_client" {
			t.Errorf("%s without a certificate: got %d %v, want 401 invalid_client", what, status, v)
		}
		status, v := holds.post(t, address, pairs...)
		if status >= 300 {
			t.Fatalf("%s: got %d %v, want success", what, status, v)
		}
		return v
	}
	uri, _ := ask("push", srv.PARURL(), pairs...)["request_uri"].(string)
	code, err := open(srv, "client_id", "tls", "request_uri", uri)
	if err != nil {
		t.Fatal(err)
	}
	token, _ := ask("exchange", srv.TokenURL(), append(exchange(code), "client_id", "tls")...)["refresh_token"].(string)
	token, _ = ask("refresh", srv.TokenURL(), append(refreshForm(token), "client_id", "tls")...)["refresh_token"].(string)
	ask("revocation", srv.RevocationURL(), "token", token, "client_id", "tls")
	if srv.IsLive(token) {
		t.Error("the token is live after its revocation")
	}
}

func TestBoundTokens(t *testing.T) {
	srv := providertest.NewServer(t, providertest.WithTLS())
	cert, second := selfSignedTLS(t, "P-256"), selfSignedTLS(t, "RSA")
	srv.AddClient(providertest.Client{ID: "tls", Certificates: []*x509.Certificate{cert.Leaf, second.Leaf}})
	holds := with(t, srv, cert)
	origin := srv.Issuer()
	with(t, srv, nil).wantAPI(t, "unbound", origin, holds.wantApp(t, "unbound", ""), 200)

	srv.SetPolicy(providertest.Policy{BindTokens: true})
	_, doc := get(t, srv, srv.DiscoveryURL(), "")
	if got := doc["tls_client_certificate_bound_access_tokens"]; got != true {
		t.Errorf("got tls_client_certificate_bound_access_tokens %v, want true", got)
	}
	token := holds.wantApp(t, "bound", "")
	holds.wantAPI(t, "its certificate", origin, token, 200)
	with(t, srv, nil).wantAPI(t, "no certificate", origin, token, 401)
	with(t, srv, second).wantAPI(t, "another certificate", origin, token, 401)

	// Tokens of a client that has authenticated itself otherwise are not bound.
	v := wantToken(t, srv, app...)
	wantAPI(t, srv, v["access_token"], 200)
}

func TestMTLSAliases(t *testing.T) {
	srv := providertest.NewServer(t, providertest.WithMTLSAliases())
	cert := issueCertificate(t, srv, x509.Certificate{Subject: pkix.Name{CommonName: "worker"}})
	srv.AddClient(providertest.Client{ID: "tls", TLSSubject: "CN=worker"})
	srv.SetPolicy(providertest.Policy{BindTokens: true})
	_, doc := get(t, srv, srv.DiscoveryURL(), "")
	list, _ := doc["token_endpoint_auth_methods_supported"].([]any)
	if !slices.Contains(list, any("tls_client_auth")) || !slices.Contains(list, any("self_signed_tls_client_auth")) {
		t.Errorf("got methods %v, want both of TLS among them", list)
	}
	aliases, _ := doc["mtls_endpoint_aliases"].(map[string]any)
	token, _ := aliases["token_endpoint"].(string)
	origin := strings.TrimSuffix(token, "/token")
	if token == "" || origin == srv.Issuer() {
		t.Fatalf("got aliases %v, want a token endpoint on another port than %s", aliases, srv.Issuer())
	}
	for name, address := range map[string]string{"token_endpoint": srv.TokenURL(), "revocation_endpoint": srv.RevocationURL(),
		"pushed_authorization_request_endpoint": srv.PARURL(), "userinfo_endpoint": srv.Issuer() + "/userinfo"} {
		if got, want := aliases[name], origin+strings.TrimPrefix(address, srv.Issuer()); got != want {
			t.Errorf("got alias %v of %s, want %s", got, name, want)
		}
	}

	holds := with(t, srv, cert)
	holds.wantApp(t, "at the usual address", "no client certificate")
	status, v := holds.post(t, token, append(app, "client_id", "tls")...)
	if status != 200 {
		t.Fatalf("at the alias: got %d %v, want 200", status, v)
	}
	holds.wantAPI(t, "API at the alias", origin, v["access_token"].(string), 200)
	holds.wantAPI(t, "API at the usual address", srv.Issuer(), v["access_token"].(string), 401)
	if resp, err := with(t, srv, nil).client.PostForm(token, form(app...)); err == nil {
		resp.Body.Close()
		t.Errorf("at the alias without a certificate: got status %d, want no connection", resp.StatusCode)
	}

	// Without the option there are no aliases, and without TLS no methods.
	usual := providertest.NewServer(t, providertest.WithTLS())
	if _, doc := get(t, usual, usual.DiscoveryURL(), ""); doc["mtls_endpoint_aliases"] != nil {
		t.Errorf("got aliases %v, want none", doc["mtls_endpoint_aliases"])
	}
}
