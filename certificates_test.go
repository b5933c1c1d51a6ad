package authprofile_test

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/authprofile/authprofile"
	"github.com/authprofile/authprofile/providertest"
)

// A wire makes connections, and counts them.
type wire struct {
	roots *x509.CertPool
	to    map[string]string // where addresses lead, if it is elsewhere

	mu    sync.Mutex
	ended *sync.Cond
	open  int
	dials int
}

// newWire returns a wire that trusts the servers.
func newWire(srv *providertest.Server, others ...*httptest.Server) *wire {
	n := &wire{to: make(map[string]string), roots: x509.NewCertPool()}
	n.ended = sync.NewCond(&n.mu)
	if srv != nil {
		n.roots = srv.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs.Clone()
	}
	for _, s := range others {
		n.roots.AddCert(s.Certificate())
	}
	return n
}

// A counted is a connection of a wire.
type counted struct {
	net.Conn
	once sync.Once
	n    *wire
}

func (c *counted) Close() error {
	c.once.Do(func() {
		c.n.mu.Lock()
		c.n.open--
		c.n.ended.Broadcast()
		c.n.mu.Unlock()
	})
	return c.Conn.Close()
}

func (n *wire) dial(ctx context.Context, network, address string) (net.Conn, error) {
	n.mu.Lock()
	n.dials++
	if to := n.to[address]; to != "" {
		address = to
	}
	n.mu.Unlock()
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	n.mu.Lock()
	n.open++
	n.mu.Unlock()
	return &counted{Conn: conn, n: n}, nil
}

// transport returns one that makes its connections over n.
func (n *wire) transport() *http.Transport {
	return &http.Transport{DialContext: n.dial, TLSClientConfig: &tls.Config{RootCAs: n.roots}}
}

// count returns how many connections were made.
func (n *wire) count() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.dials
}

// awaitEnd waits until no connection is open.
func (n *wire) awaitEnd(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute) // longer than any machine takes
	defer cancel()
	defer context.AfterFunc(ctx, n.ended.Broadcast)()
	n.mu.Lock()
	defer n.mu.Unlock()
	for n.open > 0 && ctx.Err() == nil {
		n.ended.Wait()
	}
	if n.open > 0 {
		t.Errorf("got %d connections that stay open, want none", n.open)
	}
}

// overTLS returns a world whose provider listens with TLS, and its wire. Time is
// real there.
func overTLS(t *testing.T, provider providertest.Option) (*world, *wire) {
	srv := providertest.NewServer(t, provider)
	srv.SetSigning(providertest.ES256)
	w := &world{T: t, srv: srv, store: new(authprofile.MemStore)}
	n := newWire(srv)
	w.m = w.over(n)
	return w, n
}

// over returns a Manager on the world's Store that speaks over a wire.
func (w *world) over(n *wire) *authprofile.Manager {
	t := n.transport()
	m := &authprofile.Manager{Store: w.store, HTTPClient: &http.Client{Transport: t}, RedirectURL: callbackAddress}
	w.Cleanup(func() {
		m.Shutdown(context.Background())
		t.CloseIdleConnections()
	})
	return m
}

// ended makes the stored access token of a grant one that has expired.
func (w *world) ended(key authprofile.GrantKey) {
	w.Helper()
	g := w.grant(key)
	g.Obtained, g.Expiry = g.Obtained.Add(-2*time.Hour), g.Obtained.Add(-time.Hour)
	w.put(g)
}

// certified registers the client "keyed" with a certificate for a method, and
// returns an unsaved user profile that has it.
func (w *world) certified(method authprofile.AuthMethod) *authprofile.Profile {
	w.Helper()
	key := testKeys()["P-256"]
	client := providertest.Client{ID: "keyed"}
	var certificate *x509.Certificate
	if method == authprofile.AuthTLS {
		issued, err := w.srv.IssueCertificate(&x509.Certificate{Subject: pkix.Name{CommonName: "worker"}}, key)
		if err != nil {
			w.Fatal(err)
		}
		if certificate, err = x509.ParseCertificate(issued.Certificate[0]); err != nil {
			w.Fatal(err)
		}
		client.TLSSubject = "CN=worker"
	} else {
		certificate = selfSigned(w.T, key, time.Hour)
		client.Certificates = []*x509.Certificate{certificate}
	}
	client.AuthMethods = []string{string(method)}
	w.srv.AddClient(client)
	return &authprofile.Profile{
		ID: "crm", Type: authprofile.TypeUser, ClientID: "keyed", ClientKey: keyText(w.T, key, certificate), AuthMethod: method,
		Endpoints: authprofile.Endpoints{DiscoveryURL: w.srv.DiscoveryURL()},
		Scopes:    []string{"read", "offline_access"},
	}
}

// The certificate is in the handshake with every endpoint, at the alias where the
// provider has one.
func TestThreat065_098_099_CertificateAtEveryLeg(t *testing.T) {
	for _, method := range []authprofile.AuthMethod{authprofile.AuthTLS, authprofile.AuthSelfSignedTLS} {
		for name, provider := range map[string]providertest.Option{"": providertest.WithTLS(), ", aliases": providertest.WithMTLSAliases()} {
			t.Run(string(method)+name, func(t *testing.T) {
				w, n := overTLS(t, provider)
				w.srv.SetPolicy(providertest.Policy{RequirePAR: true})
				p := w.save(w.certified(method))
				g := w.authorize(p, "ada")
				w.ended(ada)
				w.m = w.over(n)
				w.token(w.m, p, asAda)
				w.healthy(ada)
				if got := w.grant(ada).Issuer; got != g.Issuer {
					t.Errorf("got issuer %q after the renewal, want it to stay %q", got, g.Issuer)
				}
				unsaved := asApp(p)
				w.token(w.m, unsaved)
				w.token(w.m, w.save(asApp(p)))
				if err := w.m.Revoke(t.Context(), ada); err != nil {
					t.Error(err)
				}
				for _, r := range w.srv.Requests() {
					if r.AuthMethod != string(method) || r.Status != 200 {
						t.Errorf("got a request of %s with %q and status %d, want %s and 200", r.Grant, r.AuthMethod, r.Status, method)
					}
				}
				if len(pushes(t, w.srv)) != 1 {
					t.Errorf("got %d pushes, want 1", len(pushes(t, w.srv)))
				}
				if err := w.m.Shutdown(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

// A code travels over a connection of its own; renewals keep theirs.
func TestCodeOverAFreshConnection(t *testing.T) {
	w, n := overTLS(t, providertest.WithTLS())
	p := w.save(w.certified(authprofile.AuthSelfSignedTLS))
	for _, user := range []string{"ada", "bob"} {
		w.authorize(p, user)
		w.ended(authprofile.GrantKey{ProfileID: "crm", User: user})
	}
	w.m = w.over(n)
	w.token(w.m, p, asAda)
	before := n.count()
	w.token(w.m, p, authprofile.AsUser("bob"))
	if got := n.count() - before; got != 0 {
		t.Errorf("got %d connections made for a second renewal, want none", got)
	}
	back := w.consent(w.begin(p, "carol"))
	before = n.count()
	if _, err := w.m.Finish(t.Context(), "carol", back); err != nil {
		t.Fatal(err)
	}
	if got := n.count() - before; got != 1 {
		t.Errorf("got %d connections made for a code, want 1", got)
	}
}

// No profile speaks over another's connection, even with the same certificate.
func TestThreat152_ConnectionsAreNotShared(t *testing.T) {
	w, n := overTLS(t, providertest.WithTLS())
	p := w.certified(authprofile.AuthSelfSignedTLS)
	plain := w.app()
	w.token(w.m, plain)
	first, second := asApp(p), asApp(p)
	first.ID, second.ID = "first", "second"
	for _, p := range []*authprofile.Profile{first, second} {
		before := n.count()
		w.token(w.m, w.save(p))
		if got := n.count() - before; got < 2 && p == first || got < 1 {
			t.Errorf("%s: got %d connections made, want one of its own", p.ID, got) // the first has one for the document, too
		}
	}
	// Two profiles that were never saved may say that they have the same ID.
	for range 2 {
		c := asApp(p)
		c.ID = "first"
		m := w.over(n)
		before := n.count()
		w.token(m, c)
		if got := n.count() - before; got < 1 {
			t.Errorf("got %d connections made for a profile without a version, want one of its own", got)
		}
		if err := m.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

// Shutdown closes the connections that present certificates.
func TestShutdownClosesConnections(t *testing.T) {
	w, n := overTLS(t, providertest.WithTLS())
	p := asApp(w.certified(authprofile.AuthSelfSignedTLS))
	w.token(w.m, w.save(p))
	if err := w.m.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	n.awaitEnd(t)

	// Those of a profile that was never saved are not kept at all.
	m := w.over(n)
	c := p.Clone()
	c.Version = 0
	w.token(m, c)
	n.awaitEnd(t)
}

// A certificate needs https and a transport whose handshakes are net/http's:
// otherwise nothing is sent, not even without it.
func TestThreat098_CertificateThatCannotBePresented(t *testing.T) {
	w, n := overTLS(t, providertest.WithTLS())
	p := w.save(w.certified(authprofile.AuthSelfSignedTLS))
	w.authorize(p, "ada")
	issued := len(w.srv.Captured())
	sent := 0
	dialing := n.transport()
	dialing.DialTLSContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		sent++
		return nil, net.ErrClosed
	}
	old := n.transport()
	//lint:ignore SA1019 applications may have set it
	old.DialTLS = func(network, address string) (net.Conn, error) {
		sent++
		return nil, net.ErrClosed
	}
	own := roundTrip(func(*http.Request) (*http.Response, error) {
		sent++
		return nil, net.ErrClosed
	})
	addresses := authprofile.Endpoints{AuthURL: w.srv.AuthURL(), TokenURL: w.srv.TokenURL(), PARURL: w.srv.PARURL()}
	plain := addresses
	plain.TokenURL = "http://127.0.0.1:1/token"
	for name, test := range map[string]struct {
		transport http.RoundTripper
		endpoints authprofile.Endpoints
	}{
		"transport of another kind": {own, addresses},
		"DialTLSContext":            {dialing, addresses},
		"DialTLS":                   {old, addresses},
		"http":                      {n.transport(), plain},
	} {
		t.Run(name, func(t *testing.T) {
			m := &authprofile.Manager{Store: w.store, HTTPClient: &http.Client{Transport: test.transport}, RedirectURL: callbackAddress}
			defer m.Shutdown(context.Background())
			p.Endpoints = test.endpoints
			w.save(p)
			w.ended(ada)
			before := n.count()
			_, err := m.Begin(t.Context(), p, "bob")
			wantKeyProblem(t, "Begin", err, "AuthMethod", p.ClientKey)
			wantKeyProblem(t, "renewal", w.refuses(m, p, authprofile.ErrConfiguration, asAda), "AuthMethod", p.ClientKey)
			c := asApp(p)
			c.Endpoints.AuthURL, c.Endpoints.PARURL = "", ""
			wantKeyProblem(t, "unsaved", w.refuses(m, c, authprofile.ErrConfiguration), "AuthMethod", p.ClientKey)
			if sent != 0 || n.count() != before || len(w.srv.Captured()) != issued {
				t.Errorf("got %d requests, %d connections; want none", sent, n.count()-before)
			}
			if g := w.grant(ada); g.Status != authprofile.StatusNeedsConfiguration || !w.srv.IsCurrent(string(g.RefreshToken)) {
				t.Errorf("got status %q, want one that needs an operator, and the refresh token kept", g.Status)
			}
		})
	}
	p.Endpoints = authprofile.Endpoints{DiscoveryURL: w.srv.DiscoveryURL()}
	w.token(w.over(n), w.save(p), asAda)
	w.healthy(ada)
}

// A seer is a server with TLS that asks for a certificate, and notes whether one
// came.
type seer struct {
	*httptest.Server
	mu    sync.Mutex
	shown map[string]int // requests with a certificate, and -1 for each without, by path
}

func newSeer(t *testing.T, answers map[string]string) *seer {
	s := &seer{shown: make(map[string]int)}
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		if s.shown[r.URL.Path]--; len(r.TLS.PeerCertificates) > 0 {
			s.shown[r.URL.Path] += 2
		}
		s.mu.Unlock()
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, answers[r.URL.Path])
	}))
	s.TLS = &tls.Config{ClientAuth: tls.RequestClientCert}
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

func (s *seer) seen() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.shown)
}

// The certificate is for the provider's endpoints, and for an API whose token is
// bound to it. All others see none.
func TestThreat152_CertificateIsShownToNoOther(t *testing.T) {
	w, n := overTLS(t, providertest.WithTLS())
	api := newSeer(t, nil)
	n.roots.AddCert(api.Certificate())
	p := w.save(asApp(w.certified(authprofile.AuthSelfSignedTLS)))
	get := func(path string) {
		t.Helper()
		resp, err := w.m.Client(t.Context(), p).Get(api.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
	}
	get("/unbound")
	w.srv.Mutate(providertest.Token, func(answer map[string]any) { answer["access_token"] = boundTo(certificateIn(t, p.ClientKey)) })
	for path, c := range map[string]*authprofile.Profile{"/bound": p, "/unsaved": asApp(p)} {
		w.m = w.over(n)
		if c == p {
			w.ended(app)
		}
		resp, err := w.m.Client(t.Context(), c).Get(api.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
	}

	// A token that is bound to another certificate is sent without this one.
	other := p.Clone()
	key := testKeys()["other P-256"]
	other.ClientKey = keyText(t, key, selfSigned(t, key, time.Hour))
	*p = *w.save(other)
	w.m = w.over(n)
	get("/another's")
	if got, want := api.seen(), map[string]int{"/unbound": -1, "/bound": 1, "/unsaved": 1, "/another's": -1}; !maps.Equal(got, want) {
		t.Errorf("got requests with a certificate (1) and without (-1) %v, want %v", got, want)
	}
}

// boundTo returns an access token that says it is bound to a certificate (RFC
// 8705, section 3.1).
func boundTo(c *x509.Certificate) string {
	sum := sha256.Sum256(c.Raw)
	claims := fmt.Sprintf(`{"cnf":{"x5t#S256":%q}}`, base64.RawURLEncoding.EncodeToString(sum[:]))
	return "e30." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + ".c2lnbmVk"
}

// The call for the account is made without the certificate.
func TestThreat152_AccountCall(t *testing.T) {
	idp := newSeer(t, map[string]string{"/token": tokenAnswer})
	api := newSeer(t, map[string]string{"/me": `{"id":"7","name":"Ada"}`})
	n := newWire(nil, idp.Server, api.Server)
	n.to["example.com:443"], n.to["example.com:8443"] = strings.TrimPrefix(idp.URL, "https://"), strings.TrimPrefix(api.URL, "https://")
	r := scriptedRow()
	r.AuthURL, r.TokenURL = "https://example.com/authorize", "https://example.com/token"
	r.Account, r.AccountID, r.AccountName = &authprofile.ProviderRequest{URL: "https://example.com:8443/me"}, "id", "name"
	w := &world{T: t, store: new(authprofile.MemStore)}
	w.m = w.over(n)
	w.m.Providers = []authprofile.Provider{r}
	key := testKeys()["P-256"]
	p := w.save(&authprofile.Profile{
		ID: "crm", Type: authprofile.TypeUser, Template: "example", ClientID: "keyed",
		ClientKey: keyText(t, key, selfSigned(t, key, time.Hour)), AuthMethod: authprofile.AuthSelfSignedTLS,
	})
	f := w.begin(p, "ada")
	g, err := w.m.Finish(t.Context(), "ada", map[string][]string{"state": {f.State}, "code": {"c"}})
	if err != nil {
		t.Fatal(err)
	}
	if g.Account != "Ada" {
		t.Errorf("got account %q, want Ada", g.Account)
	}
	if got, want := idp.seen(), map[string]int{"/token": 1}; !maps.Equal(got, want) {
		t.Errorf("got requests with a certificate (1) and without (-1) at the provider %v, want %v", got, want)
	}
	if got, want := api.seen(), map[string]int{"/me": -1}; !maps.Equal(got, want) {
		t.Errorf("got requests with a certificate (1) and without (-1) at the API %v, want %v", got, want)
	}
}

// A profile goes from a secret to a key, to a certificate whose endpoints are
// elsewhere, to the next certificate, and back: one grant outlives it all.
func TestThreat098_ChangesToACertificateAndBack(t *testing.T) {
	w, n := overTLS(t, providertest.WithMTLSAliases())
	key, other := testKeys()["P-256"], testKeys()["RSA"]
	first, second := selfSigned(t, key, time.Hour), selfSigned(t, other, time.Hour)
	w.srv.AddClient(providertest.Client{
		ID: providertest.ClientID, Secret: providertest.ClientSecret, Certificates: []*x509.Certificate{first, second},
	})
	p := registered(authprofile.Profile{
		ID: "crm", Type: authprofile.TypeUser, Scopes: []string{"read", "offline_access"},
		Endpoints: authprofile.Endpoints{AuthURL: w.srv.AuthURL(), TokenURL: w.srv.TokenURL()},
	})
	issued := w.authorize(w.save(p), "ada")
	p.Endpoints = authprofile.Endpoints{DiscoveryURL: w.srv.DiscoveryURL()}
	for i, step := range []struct {
		secret, key authprofile.Secret
		method      authprofile.AuthMethod
	}{
		{"", keyText(t, key, first), authprofile.AuthPrivateKeyJWT},
		{"", keyText(t, key, first), authprofile.AuthSelfSignedTLS},
		{"", keyText(t, other, second), authprofile.AuthSelfSignedTLS},
		{"", keyText(t, other, second), authprofile.AuthPrivateKeyJWT},
		{providertest.ClientSecret, "", authprofile.AuthBasic},
		{"", keyText(t, key, first), authprofile.AuthSelfSignedTLS},
	} {
		p.ClientSecret, p.ClientKey, p.AuthMethod = step.secret, step.key, step.method
		w.save(p)
		w.ended(ada)
		w.token(w.over(n), p, asAda)
		w.healthy(ada)
		list := w.srv.Requests()
		if got := list[len(list)-1]; got.AuthMethod != string(step.method) || got.Grant != "refresh_token" {
			t.Errorf("step %d: got %s of %s, want a renewal with %s", i, got.AuthMethod, got.Grant, step.method)
		}
		if g := w.grant(ada); g.Issuer != issued.Issuer || !g.Authorized.Equal(issued.Authorized) {
			t.Errorf("step %d: got a grant of %q at %v, want it to be what it was: %q at %v", i, g.Issuer, g.Authorized, issued.Issuer, issued.Authorized)
		}
	}
}
