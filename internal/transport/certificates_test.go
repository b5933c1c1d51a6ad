package transport

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// newCertificate makes a certificate of a name, signed by an authority; nil: by
// itself.
func newCertificate(t *testing.T, name string, authority *tls.Certificate) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, BasicConstraintsValid: true, IsCA: authority == nil,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	parent, signer := template, any(key)
	if authority != nil {
		parent, signer = authority.Leaf, authority.PrivateKey
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// poolOf returns a pool of certificates.
func poolOf(certs ...*x509.Certificate) *x509.CertPool {
	p := x509.NewCertPool()
	for _, c := range certs {
		p.AddCert(c)
	}
	return p
}

// A tlsServer answers with what it sees of a client. A request for /wait it
// answers once it is told to.
type tlsServer struct {
	*httptest.Server
	log    lockedBuilder
	opened atomic.Int32
	closed chan string // addresses of clients

	arrived, answer chan struct{} // for /wait
}

// A lockedBuilder is a text that several goroutines write.
type lockedBuilder struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lockedBuilder) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuilder) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// serve starts a server that asks for client certificates.
func serve(t *testing.T, auth tls.ClientAuthType, authorities *x509.CertPool, http2 bool) *tlsServer {
	t.Helper()
	s := &tlsServer{closed: make(chan string, 100), arrived: make(chan struct{}), answer: make(chan struct{})}
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		name := "none"
		if certs := r.TLS.PeerCertificates; len(certs) > 0 {
			name = certs[0].Subject.CommonName
		}
		w.Header().Set("Name", name)
		w.Header().Set("Client", r.RemoteAddr)
		w.Header().Set("Protocol", r.Proto)
		switch r.URL.Path {
		case "/wait":
			w.WriteHeader(http.StatusOK)
			http.NewResponseController(w).Flush()
			s.arrived <- struct{}{}
			<-s.answer
		case "/redirect":
			http.Redirect(w, r, r.URL.Query().Get("to"), http.StatusTemporaryRedirect)
			return
		}
		io.WriteString(w, "answer")
	}))
	s.TLS = &tls.Config{ClientAuth: auth, ClientCAs: authorities}
	s.EnableHTTP2 = http2
	s.Config.ErrorLog = log.New(&s.log, "", 0)
	s.Config.ConnState = func(c net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			s.opened.Add(1)
		case http.StateClosed:
			s.closed <- c.RemoteAddr().String()
		}
	}
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

// client returns a client that trusts the server, and speaks HTTP/2 if that can.
func (s *tlsServer) client(t *testing.T) *http.Client {
	tr := New(new(net.Dialer))
	tr.TLSClientConfig = &tls.Config{RootCAs: poolOf(s.Certificate())}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

// waitClosed waits until the server sees that the connection of a client is
// closed.
func (s *tlsServer) waitClosed(t *testing.T, client string) {
	t.Helper()
	for limit := time.After(10 * time.Second); ; {
		select {
		case c := <-s.closed:
			if c == client {
				return
			}
		case <-limit:
			t.Fatalf("the connection of %s is open, want it closed", client)
		}
	}
}

// seen is what a server saw of a client.
type seen struct{ name, client, protocol string }

func ask(t *testing.T, hc *http.Client, address string) (seen, error) {
	t.Helper()
	resp, err := hc.Post(address, "text/plain", strings.NewReader("code"))
	if err != nil {
		return seen{}, err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	h := resp.Header
	return seen{h.Get("Name"), h.Get("Client"), h.Get("Protocol")}, err
}

// must asks, and ends the test if there is no answer.
func must(t *testing.T, hc *http.Client, address string) seen {
	t.Helper()
	s, err := ask(t, hc, address)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// clientOf returns a client of certificates that must be had.
func clientOf(t *testing.T, c *Certificates, base *http.Client, owner string, cert tls.Certificate) *http.Client {
	t.Helper()
	t.Cleanup(c.Close)
	hc, err := c.Client(base, owner, cert)
	if err != nil {
		t.Fatal(err)
	}
	return hc
}

func TestCertificateIsPresented(t *testing.T) {
	authority, other := newCertificate(t, "authority", nil), newCertificate(t, "other authority", nil)
	self, signed := newCertificate(t, "self-signed", nil), newCertificate(t, "signed", &authority)
	for _, test := range []struct {
		name        string
		auth        tls.ClientAuthType
		authorities *x509.CertPool
		version     uint16 // the highest; 0: any
		cert        tls.Certificate
		want        string // the name that the server sees; empty: it refuses
	}{
		{"any, self-signed", tls.RequireAnyClientCert, nil, 0, self, "self-signed"},
		{"any, signed", tls.RequireAnyClientCert, nil, 0, signed, "signed"},
		{"any, another authority named", tls.RequireAnyClientCert, poolOf(other.Leaf), 0, self, "self-signed"},
		{"any, another authority named, TLS 1.2", tls.RequireAnyClientCert, poolOf(other.Leaf), tls.VersionTLS12, signed, "signed"},
		{"asked only", tls.RequestClientCert, poolOf(other.Leaf), 0, signed, "signed"},
		{"verified", tls.RequireAndVerifyClientCert, poolOf(authority.Leaf), 0, signed, "signed"},
		{"verified, self-signed", tls.RequireAndVerifyClientCert, poolOf(other.Leaf, self.Leaf), 0, self, "self-signed"},
		{"verified, another authority", tls.RequireAndVerifyClientCert, poolOf(other.Leaf), 0, signed, ""},
		{"not asked", tls.NoClientCert, nil, 0, signed, "none"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := serve(t, test.auth, test.authorities, false)
			base := s.client(t)
			base.Transport.(*http.Transport).TLSClientConfig.MaxVersion = test.version
			hc := clientOf(t, new(Certificates), base, "a", test.cert)
			for kind, hc := range map[string]*http.Client{"kept": hc, "fresh": Fresh(hc)} {
				got, err := ask(t, hc, s.URL)
				if test.want != "" && (err != nil || got.name != test.want) {
					t.Errorf("%s: got certificate %q, error %v; want %q", kind, got.name, err, test.want)
				}
				if test.want == "" && err == nil {
					t.Errorf("%s: got an answer, want an error", kind)
				}
			}
			if test.want == "" {
				s.Close()
				if text := s.log.String(); !strings.Contains(text, "failed to verify certificate") || strings.Contains(text, "didn't provide") {
					t.Errorf("got log %q, want a certificate that the server does not accept", text)
				}
			}
		})
	}
}

func TestConnectionsBelongToOneOwnerAndCertificate(t *testing.T) {
	for _, http2 := range []bool{false, true} {
		t.Run(fmt.Sprintf("HTTP/2: %t", http2), func(t *testing.T) {
			s := serve(t, tls.RequestClientCert, nil, http2)
			base := s.client(t)
			first, second := newCertificate(t, "first", nil), newCertificate(t, "second", nil)
			c := new(Certificates)

			a := must(t, clientOf(t, c, base, "a", first), s.URL)
			if again := must(t, clientOf(t, c, base, "a", first), s.URL); again != a {
				t.Errorf("the same owner and certificate: got %+v, want %+v", again, a)
			}
			if want := map[bool]string{false: "HTTP/1.1", true: "HTTP/2.0"}[http2]; a.protocol != want {
				t.Errorf("protocol: got %s, want %s", a.protocol, want)
			}
			if without := must(t, base, s.URL); without.client == a.client || without.name != "none" {
				t.Errorf("the client that it was made from: got %+v, want no certificate and another connection than %s", without, a.client)
			}
			b := must(t, clientOf(t, c, base, "b", first), s.URL)
			if b.client == a.client || b.name != "first" {
				t.Errorf("another owner: got %+v, want the certificate and another connection than %s", b, a.client)
			}

			renewed := must(t, clientOf(t, c, base, "a", second), s.URL)
			if renewed.client == a.client || renewed.name != "second" {
				t.Errorf("another certificate: got %+v, want it and another connection than %s", renewed, a.client)
			}
			s.waitClosed(t, a.client)
			if again := must(t, clientOf(t, c, base, "b", first), s.URL); again != b {
				t.Errorf("the other owner, afterwards: got %+v, want %+v", again, b)
			}

			elsewhere := must(t, clientOf(t, c, s.client(t), "a", second), s.URL)
			if elsewhere.client == renewed.client {
				t.Error("another transport to start from: got the connection of the one before, want a new one")
			}
			s.waitClosed(t, renewed.client)
			c.Close()
			s.waitClosed(t, elsewhere.client)
			if after := must(t, clientOf(t, c, base, "b", first), s.URL); after.client == b.client {
				t.Error("after Close: got the connection of before, want a new one")
			}
		})
	}
}

// A certificate with another key, or another chain, is another one.
func TestWhatTellsCertificatesApart(t *testing.T) {
	a, b := newCertificate(t, "a", nil), newCertificate(t, "b", nil)
	c := new(Certificates)
	all := []tls.Certificate{
		{Certificate: a.Certificate, PrivateKey: a.PrivateKey},
		{Certificate: b.Certificate, PrivateKey: b.PrivateKey},
		{Certificate: a.Certificate, PrivateKey: b.PrivateKey},
		{Certificate: [][]byte{a.Certificate[0], b.Certificate[0]}, PrivateKey: a.PrivateKey},
		{Certificate: [][]byte{slices.Concat(a.Certificate[0], b.Certificate[0])}, PrivateKey: a.PrivateKey},
	}
	for i, one := range all {
		for j, other := range all {
			before := clientOf(t, c, nil, "owner", one).Transport
			other.Leaf = a.Leaf // parsed or not
			after := clientOf(t, c, nil, "owner", other).Transport
			if same := before == after; same != (i == j) {
				t.Errorf("%d and %d: got the same connections: %t, want %t", i, j, same, i == j)
			}
		}
	}
	for name, cert := range map[string]tls.Certificate{
		"nothing":          {},
		"no certificate":   {PrivateKey: a.PrivateKey},
		"no key":           {Certificate: a.Certificate},
		"no key to sign":   {Certificate: a.Certificate, PrivateKey: "key"},
		"key of no scheme": {Certificate: a.Certificate, PrivateKey: unknownKey{a.PrivateKey.(*ecdsa.PrivateKey)}},
	} {
		if hc, err := c.Client(nil, "owner", cert); err != errNoKey {
			t.Errorf("%s: got %v, %v, want %v", name, hc, err, errNoKey)
		}
	}
}

// An unknownKey is a key whose public half no package knows.
type unknownKey struct{ *ecdsa.PrivateKey }

func (unknownKey) Public() any { return "public" }

func TestConnectionsAreBounded(t *testing.T) {
	s := serve(t, tls.RequireAnyClientCert, nil, false)
	base, cert := s.client(t), newCertificate(t, "a", nil)
	c := new(Certificates)
	first := must(t, clientOf(t, c, base, "first", cert), s.URL)
	second := must(t, clientOf(t, c, base, "second", cert), s.URL)
	for i := range maxPools - 1 {
		clientOf(t, c, base, "first", cert) // in use all the time
		clientOf(t, c, base, fmt.Sprint(i), cert)
	}
	if len(c.byOwner) != maxPools || c.recent.Len() != maxPools {
		t.Errorf("kept: got %d and %d, want %d", len(c.byOwner), c.recent.Len(), maxPools)
	}
	s.waitClosed(t, second.client)
	if again := must(t, clientOf(t, c, base, "first", cert), s.URL); again != first {
		t.Errorf("the one in use: got %+v, want %+v", again, first)
	}
}

// What leaves is still used to its end.
func TestRequestsInFlightGoOn(t *testing.T) {
	for _, http2 := range []bool{false, true} {
		for name, leave := range map[string]func(c *Certificates, base *http.Client){
			"another certificate": func(c *Certificates, base *http.Client) { clientOf(t, c, base, "a", newCertificate(t, "second", nil)) },
			"close":               func(c *Certificates, base *http.Client) { c.Close() },
		} {
			t.Run(fmt.Sprintf("%s, HTTP/2: %t", name, http2), func(t *testing.T) {
				s := serve(t, tls.RequireAnyClientCert, nil, http2)
				base, c := s.client(t), new(Certificates)
				hc := clientOf(t, c, base, "a", newCertificate(t, "first", nil))
				done := make(chan error)
				go func() {
					_, err := ask(t, hc, s.URL+"/wait")
					done <- err
				}()
				<-s.arrived
				leave(c, base)
				close(s.answer)
				if err := <-done; err != nil {
					t.Errorf("got %v, want the answer", err)
				}
				hc.CloseIdleConnections()
			})
		}
	}
}

// A connection that a pool gets after it has left must not stay for ever.
func TestIdleConnectionsEnd(t *testing.T) {
	cert := newCertificate(t, "a", nil)
	for given, want := range map[time.Duration]time.Duration{0: maxIdle, time.Second: time.Second} {
		hc := clientOf(t, new(Certificates), &http.Client{Transport: &http.Transport{IdleConnTimeout: given}}, "a", cert)
		if got := hc.Transport.(presenter).transport.IdleConnTimeout; got != want {
			t.Errorf("%v: got %v, want %v", given, got, want)
		}
	}
}

func TestFreshConnectionsPresentTheCertificate(t *testing.T) {
	for _, http2 := range []bool{false, true} {
		t.Run(fmt.Sprintf("HTTP/2: %t", http2), func(t *testing.T) {
			s := serve(t, tls.RequireAnyClientCert, nil, http2)
			base, cert := s.client(t), newCertificate(t, "a", nil)
			c := new(Certificates)
			kept := clientOf(t, c, base, "a", cert)
			all := map[string]bool{must(t, kept, s.URL).client: true}
			for range 2 {
				for _, hc := range []*http.Client{Fresh(kept), clientOf(t, c, base, "", cert)} {
					got := must(t, hc, s.URL)
					if got.name != "a" || got.protocol == "HTTP/2.0" != http2 || all[got.client] {
						t.Errorf("got %+v, want the certificate, HTTP/2: %t, and a new connection", got, http2)
					}
					all[got.client] = true
					s.waitClosed(t, got.client)
					if _, err := ask(t, hc, strings.Replace(s.URL, "https:", "http:", 1)); !errors.Is(err, errPlainHTTP) {
						t.Errorf("http: got %v, want %v", err, errPlainHTTP)
					}
				}
			}
			if len(c.byOwner) != 1 {
				t.Errorf("kept: got %d owners, want 1", len(c.byOwner))
			}
		})
	}
}

func TestRedirectsAreNotFollowedWithACertificate(t *testing.T) {
	cert := newCertificate(t, "a", nil)
	other := serve(t, tls.RequestClientCert, nil, false)
	s := serve(t, tls.RequireAnyClientCert, nil, false)
	base := s.client(t)
	base.Transport.(*http.Transport).TLSClientConfig.RootCAs.AddCert(other.Certificate())
	base.CheckRedirect = func(*http.Request, []*http.Request) error { return nil }
	hc := clientOf(t, new(Certificates), base, "a", cert)
	for kind, hc := range map[string]*http.Client{"kept": hc, "fresh": Fresh(hc)} {
		resp, err := hc.Get(s.URL + "/redirect?to=" + url.QueryEscape(other.URL))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusTemporaryRedirect {
			t.Errorf("%s: got status %d, want the redirect itself", kind, resp.StatusCode)
		}
	}
	if n := other.opened.Load(); n != 0 {
		t.Errorf("connections to the other host: got %d, want 0", n)
	}
}

func TestNoCertificateOverHTTP(t *testing.T) {
	var opened atomic.Int32
	plain := httptest.NewUnstartedServer(http.NotFoundHandler())
	plain.Config.ConnState = func(net.Conn, http.ConnState) { opened.Add(1) }
	plain.Start()
	defer plain.Close()
	hc := clientOf(t, new(Certificates), nil, "a", newCertificate(t, "a", nil))
	body := &closing{Reader: strings.NewReader("code")}
	req, err := http.NewRequest(http.MethodPost, plain.URL, body)
	if err != nil {
		t.Fatal(err)
	}
	_, err = hc.Transport.RoundTrip(req)
	if Permanent(err) != errPlainHTTP || Describe(t.Context(), err, "").Error() != errPlainHTTP.Error() {
		t.Errorf("got %v, want %v", err, errPlainHTTP)
	}
	if !body.closed || body.Len() != len("code") || opened.Load() != 0 {
		t.Errorf("got %d connections, closed: %t, and %d bytes left, want none, a closed body, and all", opened.Load(), body.closed, body.Len())
	}
	if _, err := hc.Transport.RoundTrip(new(http.Request)); err != errPlainHTTP {
		t.Errorf("no address: got %v, want %v", err, errPlainHTTP)
	}
}

// A closing is a body that remembers that it was closed.
type closing struct {
	*strings.Reader
	closed bool
}

func (c *closing) Close() error {
	c.closed = true
	return nil
}

// net/http would present the certificate to the proxy, too.
func TestNoCertificateToAProxy(t *testing.T) {
	proxy, s := serve(t, tls.RequestClientCert, nil, false), serve(t, tls.RequireAnyClientCert, nil, false)
	base := s.client(t)
	via := func(u *url.URL, err error) *http.Client {
		tr := base.Transport.(*http.Transport).Clone()
		tr.TLSClientConfig.RootCAs.AddCert(proxy.Certificate())
		tr.Proxy = func(*http.Request) (*url.URL, error) { return u, err }
		return clientOf(t, new(Certificates), &http.Client{Transport: tr}, "a", newCertificate(t, "a", nil))
	}
	secure, err := url.Parse(proxy.URL)
	if err != nil {
		t.Fatal(err)
	}
	_, err = ask(t, via(secure, nil), s.URL)
	if Permanent(err) != errTLSProxy || Describe(t.Context(), err, "").Error() != errTLSProxy.Error() {
		t.Errorf("got %v, want %v", err, errTLSProxy)
	}
	if n := proxy.opened.Load(); n != 0 {
		t.Errorf("connections to the proxy: got %d, want 0", n)
	}
	errProxy := errors.New("no proxy today")
	if _, err := ask(t, via(secure, errProxy), s.URL); !errors.Is(err, errProxy) {
		t.Errorf("the proxy's error: got %v, want %v", err, errProxy)
	}
	if got := must(t, via(nil, nil), s.URL); got.name != "a" {
		t.Errorf("no proxy: got %+v, want the certificate", got)
	}

	// A proxy without TLS of its own sees nothing.
	var asked atomic.Int32
	tunnel := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		target, err := new(net.Dialer).DialContext(r.Context(), "tcp", r.Host)
		if err != nil {
			t.Error(err)
			return
		}
		defer target.Close()
		client, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer client.Close()
		io.WriteString(client, "HTTP/1.1 200 OK\r\n\r\n")
		go io.Copy(target, client)
		io.Copy(client, target)
	}))
	defer tunnel.Close()
	plain, err := url.Parse(tunnel.URL)
	if err != nil {
		t.Fatal(err)
	}
	hc := via(plain, nil)
	if got := must(t, hc, s.URL); got.name != "a" || asked.Load() != 1 {
		t.Errorf("by way of a tunnel: got %+v and %d requests to the proxy, want the certificate and 1", got, asked.Load())
	}
	hc.CloseIdleConnections()
}

// A session of another connection would bring along the certificate of that.
func TestSessionsAreNotShared(t *testing.T) {
	s := serve(t, tls.RequestClientCert, nil, false)
	base := s.client(t)
	base.Transport.(*http.Transport).TLSClientConfig.ClientSessionCache = tls.NewLRUClientSessionCache(0)
	c := new(Certificates)
	all := map[string]*http.Client{
		"none":  Fresh(base),
		"a":     Fresh(clientOf(t, c, base, "a", newCertificate(t, "a", nil))),
		"b":     Fresh(clientOf(t, c, base, "b", newCertificate(t, "b", nil))),
		"again": Fresh(base),
	}
	for range 2 {
		for _, want := range []string{"none", "a", "b", "again"} {
			got := must(t, all[want], s.URL)
			if want == "again" {
				want = "none"
			}
			if got.name != want {
				t.Errorf("got certificate %q, want %q", got.name, want)
			}
		}
	}
}

func TestCertificatesKeepTheClientsSettings(t *testing.T) {
	s := serve(t, tls.RequireAnyClientCert, nil, true)
	cert := newCertificate(t, "a", nil)
	base := s.client(t)
	base.Timeout = time.Minute
	tr := base.Transport.(*http.Transport)
	tr.TLSClientConfig.Certificates = []tls.Certificate{newCertificate(t, "the application's", nil)}
	var dialled atomic.Int32
	dial := tr.DialContext
	tr.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		if dialled.Add(1) > 1 {
			return nil, ErrRefused // as package egress does
		}
		return dial(ctx, network, address)
	}
	hc := clientOf(t, new(Certificates), base, "a", cert)
	if got := must(t, hc, s.URL); got.name != "a" || dialled.Load() != 1 {
		t.Errorf("got %+v and %d calls of DialContext, want the certificate and 1", got, dialled.Load())
	}
	if _, err := ask(t, Fresh(hc), s.URL); Permanent(err) != ErrRefused {
		t.Errorf("a refused address: got %v, want %v", err, ErrRefused)
	}
	if got := hc.Transport.(presenter).transport.HTTP2; hc.Timeout != time.Minute || !samePings(got, tr.HTTP2) {
		t.Errorf("got timeout %v and %+v for HTTP/2, want %v and %+v", hc.Timeout, got, time.Minute, tr.HTTP2)
	}
	if n := len(tr.TLSClientConfig.Certificates); n != 1 || tr.TLSClientConfig.GetClientCertificate != nil {
		t.Error("the application's transport was changed, want it as it was")
	}

	untrusting := clientOf(t, new(Certificates), &http.Client{Transport: &http.Transport{}}, "a", cert)
	if _, err := ask(t, untrusting, s.URL); Permanent(err) == nil || errors.Is(err, ErrRefused) {
		t.Errorf("without the server's authority: got %v, want an error about its certificate", err)
	}
	if got := clientOf(t, new(Certificates), nil, "a", cert).Transport.(presenter).transport; got == Shared() || !samePings(got.HTTP2, pings()) {
		t.Error("no client: got other settings than those of the shared transport, or that itself, want a copy")
	}
}

// An HTTP/2 transport that was set up by hand keeps connections for all copies of
// its transport.
func TestNoConnectionOfAnotherHTTP2(t *testing.T) {
	s := serve(t, tls.RequestClientCert, nil, true)
	byHand := s.client(t).Transport
	base := s.client(t)
	tr := base.Transport.(*http.Transport)
	tr.HTTP2 = nil
	tr.TLSNextProto = map[string]func(string, *tls.Conn) http.RoundTripper{"h2": func(string, *tls.Conn) http.RoundTripper { return byHand }}
	tr.TLSClientConfig.NextProtos = []string{"h2"}
	if got := must(t, base, s.URL); got.name != "none" || got.protocol != "HTTP/2.0" {
		t.Fatalf("without a certificate: got %+v, want none and HTTP/2", got)
	}
	hc := clientOf(t, new(Certificates), base, "a", newCertificate(t, "a", nil))
	for kind, hc := range map[string]*http.Client{"kept": hc, "fresh": Fresh(hc)} {
		if got := must(t, hc, s.URL); got.name != "a" || got.protocol != "HTTP/2.0" {
			t.Errorf("%s: got %+v, want the certificate and HTTP/2", kind, got)
		}
	}
	if got := hc.Transport.(presenter).transport.HTTP2; !samePings(got, pings()) {
		t.Errorf("got %+v for HTTP/2, want %+v", got, pings())
	}
}

// samePings reports whether silent connections are found out alike.
func samePings(a, b *http.HTTP2Config) bool {
	return a != nil && b != nil && a.SendPingTimeout == b.SendPingTimeout && a.PingTimeout == b.PingTimeout && a.WriteByteTimeout == b.WriteByteTimeout
}

func TestCertificatesNeedATransport(t *testing.T) {
	cert := newCertificate(t, "a", nil)
	for name, rt := range map[string]http.RoundTripper{
		"another type":      wrapped{http.DefaultTransport},
		"DialTLSContext":    &http.Transport{DialTLSContext: func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("called") }},
		"DialTLS":           &http.Transport{DialTLS: func(string, string) (net.Conn, error) { return nil, errors.New("called") }}, //lint:ignore SA1019 it must be seen, too
		"with certificates": clientOf(t, new(Certificates), nil, "a", cert).Transport,
	} {
		if hc, err := new(Certificates).Client(&http.Client{Transport: rt}, "a", cert); hc != nil || err != ErrTransport {
			t.Errorf("%s: got %v, %v, want %v", name, hc, err, ErrTransport)
		}
	}
}

type wrapped struct{ http.RoundTripper }

func TestCertificatesOfManyGoroutines(t *testing.T) {
	s := serve(t, tls.RequireAnyClientCert, nil, true)
	base, c := s.client(t), new(Certificates)
	t.Cleanup(c.Close)
	certs := []tls.Certificate{newCertificate(t, "a", nil), newCertificate(t, "b", nil)}
	var wg sync.WaitGroup
	for i := range 6 {
		wg.Go(func() {
			for j := range 4 {
				cert := certs[(i+j)%2]
				hc, err := c.Client(base, fmt.Sprint(i%3), cert)
				if err != nil {
					t.Error(err)
					return
				}
				if got, err := ask(t, hc, s.URL); err != nil || got.name != cert.Leaf.Subject.CommonName {
					t.Errorf("got %+v, error %v, want certificate %s", got, err, cert.Leaf.Subject.CommonName)
				}
				hc.CloseIdleConnections()
			}
		})
	}
	wg.Wait()
}
