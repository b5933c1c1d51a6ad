// Package providertest is a fake OAuth 2.0 and OpenID provider for tests, in
// the manner of net/http/httptest.
//
// A [Server] has discovery documents, keys, an authorization endpoint whose
// person consents at once, a token endpoint with the client credentials,
// authorization code and refresh token grants, endpoints for revocation and
// pushed authorization requests, and an API that takes its access tokens. It
// has one client to begin with, [ClientID] with [ClientSecret], that may use
// any redirect address:
//
//	srv := providertest.NewServer(t)
//	conf := &clientcredentials.Config{
//		ClientID:     providertest.ClientID,
//		ClientSecret: providertest.ClientSecret,
//		TokenURL:     srv.TokenURL(),
//	}
//
// It is as strict as the strictest real servers are: a code works once,
// redirect addresses are compared byte for byte, PKCE is verified, a refresh
// token is issued only for the scope offline_access, and using one twice ends
// the whole grant. A [Policy] makes it less strict, or gives it other habits.
// [Provider] makes it look and behave like GitHub, Slack, Google or another that
// is known, at the addresses that they really have.
//
// # Clients without a secret
//
// [Server.AddClient] registers further clients. One with [Client].Keys or
// Certificates authenticates itself by assertions ("private_key_jwt", RFC 7523),
// which are verified strictly: the signature is by exactly those keys, with an
// algorithm that fits; iss and sub are the client; aud is the token endpoint or
// the issuer, and nothing else; exp is at most an hour ahead; jti works once. A
// Server made with [WithTLS] has clients that authenticate themselves by a
// certificate (RFC 8705).
//
// An authorization request may be pushed to [Server.PARURL] (RFC 9126), and
// must be with [Policy].RequirePAR.
//
// # Users
//
// The authorization endpoint sends the browser back at once. [Server.Authorize]
// plays that browser, and [Server.SetConsent] decides who is sitting at it and
// what they answer:
//
//	callback, err := srv.Authorize(flow.URL)
//	...
//	grant, err := m.Finish(ctx, "ada", callback.Query())
//
// # Time
//
// A client judges by its own clock whether a token has ended. To let an hour
// pass for client and provider alike, run the test in a bubble of
// testing/synctest, where time.Sleep(time.Hour) takes no time. A bubble does
// not get along with sockets, so make the Server inside it, and [InMemory]:
//
//	func TestConnectorRefreshesItsToken(t *testing.T) {
//		synctest.Test(t, func(t *testing.T) {
//			srv := providertest.NewServer(t, providertest.InMemory("https://login.example.com"))
//			m := &authprofile.Manager{HTTPClient: srv.Client()}
//			c := NewConnector(srv.APIURL(), srv.Client(), m.Source(t.Context(), &authprofile.Profile{
//				Type:         authprofile.TypeApp,
//				ClientID:     providertest.ClientID,
//				ClientSecret: providertest.ClientSecret,
//				Endpoints:    authprofile.Endpoints{DiscoveryURL: srv.DiscoveryURL()},
//			}))
//			c.Sync()
//			time.Sleep(2 * time.Hour)
//			c.Sync()
//			if got := srv.Count("client_credentials"); got != 2 {
//				t.Errorf("got %d token requests, want 2", got)
//			}
//		})
//	}
//
// Without a bubble, [Server.Advance] moves the clock of the provider alone:
// its API refuses tokens that the client still believes in, and grace periods
// and codes end.
//
// # Trouble
//
// [Server.Fault] makes the next requests to an endpoint fail in a chosen way,
// and [Server.Mutate] and [Server.MutateIDToken] change what is answered. What
// was asked and issued is counted and recorded: [Server.Count],
// [Server.Requests], [Server.Hits], [Server.Captured], [Server.IsCurrent].
package providertest

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"
)

// The client that every Server knows from the start.
const (
	ClientID     = "client"
	ClientSecret = "secret"
)

// An Endpoint is one of the places where a Server can be asked.
type Endpoint string

const (
	Discovery     Endpoint = "discovery" // both documents
	JWKS          Endpoint = "jwks"
	Authorization Endpoint = "authorization"
	Token         Endpoint = "token"
	Revocation    Endpoint = "revocation"
	PAR           Endpoint = "par" // pushed authorization requests
	UserInfo      Endpoint = "userinfo"
	Introspection Endpoint = "introspection" // of Salesforce
	API           Endpoint = "api"
)

// A Server is a fake provider. All its methods may be called by many
// goroutines at once, and between the requests of a client under test.
type Server struct {
	origin    string // where a Server in memory is, or listens
	memory    bool
	discovery string // addresses of its documents
	metadata  string
	document  map[string]any
	routes    map[string]Endpoint // by address; of a listening Server, by path
	origins   map[string]bool     // of a Server in memory
	fake      *fake               // what Provider adds; of other Servers, an empty one

	ca      *authority // of a Server that listens with TLS; else nil
	aliases bool       // it asks for certificates on another port only

	client   *http.Client
	http     *http.Server
	served   sync.WaitGroup // of the listeners
	done     chan struct{}  // closed by Close
	shutdown sync.Once

	mu       sync.Mutex
	policy   Policy
	offset   time.Duration
	consent  Consent
	clients  map[string]Client
	state    state
	keys     []*signingKey
	signing  Signing
	rogue    *signingKey
	mutate   map[Endpoint]func(map[string]any)
	mutateID func(header, claims map[string]any)
	faults   map[Endpoint][]*Fault
	hanging  map[chan struct{}]bool
	hung     []chan struct{} // of calls of AwaitHang
	log      record

	closed bool
	active int
	idle   chan struct{} // closed when active is zero, after Close
	conns  map[*memoryWriter]bool
}

// An Option is a setting that must be known before a Server starts; everything
// else can be changed while it runs.
type Option interface{ apply(*Server) error }

type option func(*Server) error

func (o option) apply(s *Server) error { return o(s) }

// InMemory makes a Server that opens no socket. Only its own [Server.Client]
// and [Server.Transport] reach it, at the issuer that is given:
// "https://login.example.com". It can live in a bubble of testing/synctest,
// and must then be made inside it.
func InMemory(issuer string) Option {
	return option(func(s *Server) error {
		u, err := url.Parse(issuer)
		if err != nil {
			return err
		}
		if u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
			return fmt.Errorf("issuer %q is not an address", issuer)
		}
		s.memory = true
		s.origin = u.Scheme + "://" + u.Host
		s.describe(issuer, strings.TrimSuffix(u.Path, "/"))
		return nil
	})
}

// WithDiscovery makes a Server in memory, as [InMemory] does, of a discovery
// document: it serves the text at the address that is given, and has its
// endpoints where the document says. "{tenantid}" in the document's issuer is
// replaced in ID tokens, by their claim "tid".
func WithDiscovery(address, document string) Option {
	return option(func(s *Server) error {
		var err error
		if s.document, err = parseDocument(document); err != nil {
			return err
		}
		u, err := url.Parse(address)
		if err != nil {
			return err
		}
		s.memory = true
		s.origin = u.Scheme + "://" + u.Host
		s.discovery, s.metadata = address, ""
		return nil
	})
}

// NewServer starts a Server, on a port of the loopback interface unless an
// option says otherwise. It is closed when the test ends.
func NewServer(t testing.TB, opts ...Option) *Server {
	t.Helper()
	s, err := Start(opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// Start starts a Server outside a test, such as in a demonstration. The caller
// closes it.
func Start(opts ...Option) (*Server, error) {
	s := &Server{
		done:    make(chan struct{}),
		clients: map[string]Client{ClientID: {ID: ClientID, Secret: ClientSecret}},
		signing: RS256,
		mutate:  make(map[Endpoint]func(map[string]any)),
		faults:  make(map[Endpoint][]*Fault),
		hanging: make(map[chan struct{}]bool),
		conns:   make(map[*memoryWriter]bool),
		state:   newState(),
		fake:    new(fake),
	}
	for _, o := range opts {
		if err := o.apply(s); err != nil {
			return nil, fmt.Errorf("providertest: %w", err)
		}
	}
	if s.memory && s.ca != nil {
		return nil, errors.New("providertest: a Server in memory has no TLS")
	}
	if s.memory {
		s.locate(func(address string) string { return address })
		s.client = &http.Client{Transport: s.Transport()}
		return s, nil
	}

	transport := &http.Transport{MaxIdleConnsPerHost: 64}
	var listeners []net.Listener
	var aliases string
	var err error
	scheme := "http://"
	if s.ca == nil {
		listeners = make([]net.Listener, 1)
		listeners[0], err = loopback()
	} else {
		scheme = "https://"
		transport.TLSClientConfig = &tls.Config{RootCAs: s.ca.pool}
		listeners, aliases, err = s.listen()
	}
	if err != nil {
		return nil, fmt.Errorf("providertest: %w", err)
	}
	s.origin = scheme + listeners[0].Addr().String()
	s.describe(s.origin, "")
	if s.ca != nil {
		s.describeTLS(aliases)
	}
	s.locate(func(address string) string { return strings.TrimPrefix(address, s.origin) })
	s.client = &http.Client{Transport: transport}
	s.http = &http.Server{Handler: http.HandlerFunc(s.serve), ReadHeaderTimeout: time.Minute}
	for _, l := range listeners {
		s.served.Go(func() { s.http.Serve(l) })
	}
	return s, nil
}

// loopback returns a listener on a port of the loopback interface.
func loopback() (net.Listener, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		l, err = net.Listen("tcp6", "[::1]:0")
	}
	return l, err
}

// Close stops the Server, ends all requests that it still handles, and waits
// for them.
func (s *Server) Close() {
	s.shutdown.Do(func() {
		s.mu.Lock()
		s.closed = true
		close(s.done)
		idle := make(chan struct{})
		if s.active == 0 {
			close(idle)
		} else {
			s.idle = idle
		}
		conns := s.conns
		s.conns = nil
		s.mu.Unlock()

		for c := range conns {
			c.abort()
		}
		if s.http != nil {
			s.http.Close()
			s.served.Wait()
			s.client.CloseIdleConnections()
		}
		<-idle
	})
}

// describe writes the document of a Server at issuer, whose path is given.
func (s *Server) describe(issuer, path string) {
	base := strings.TrimSuffix(issuer, "/")
	s.discovery = base + "/.well-known/openid-configuration"
	s.metadata = s.origin + "/.well-known/oauth-authorization-server" + path
	var algorithms []any
	for _, alg := range assertionAlgorithms {
		algorithms = append(algorithms, string(alg))
	}
	s.document = map[string]any{
		"issuer":                                issuer,
		"authorization_endpoint":                base + "/authorize",
		"token_endpoint":                        base + "/token",
		"jwks_uri":                              base + "/keys",
		"revocation_endpoint":                   base + "/revoke",
		"pushed_authorization_request_endpoint": base + "/par",
		"userinfo_endpoint":                     base + "/userinfo",
		"response_types_supported":              []any{"code"},
		"response_modes_supported":              []any{"query"},
		"grant_types_supported":                 []any{"authorization_code", "client_credentials", "refresh_token"},
		"subject_types_supported":               []any{"public"},
		"scopes_supported":                      []any{"openid", "profile", "email", "offline_access"},
		"id_token_signing_alg_values_supported": []any{"RS256", "ES256"},
		"token_endpoint_auth_methods_supported": []any{"client_secret_basic", "client_secret_post", "private_key_jwt", "none"},
		"code_challenge_methods_supported":      []any{"S256"},

		"authorization_response_iss_parameter_supported": true,

		"token_endpoint_auth_signing_alg_values_supported": algorithms,
	}
}

// locate fills in the routes from the document.
func (s *Server) locate(key func(address string) string) {
	s.routes = make(map[string]Endpoint)
	s.origins = make(map[string]bool)
	for address, e := range map[string]Endpoint{
		s.discovery:       Discovery,
		s.metadata:        Discovery,
		s.JWKSURL():       JWKS,
		s.AuthURL():       Authorization,
		s.TokenURL():      Token,
		s.RevocationURL(): Revocation,
		s.PARURL():        PAR,
		s.userInfoURL():   UserInfo,
		s.APIURL():        API,
	} {
		if address == "" {
			continue
		}
		s.routes[key(address)] = e
		s.origins[originOf(address)] = true
	}
	for _, r := range s.fake.routes {
		_, address, _ := strings.Cut(r.pattern, " ")
		s.origins[originOf(address)] = true
	}
}

// endpoint returns the Endpoint that r is for, or "".
func (s *Server) endpoint(r *http.Request) Endpoint {
	key, api := r.URL.Path, "/api/"
	if s.memory {
		key, api = addressOf(r), s.APIURL()+"/"
	}
	if e, ok := s.routes[key]; ok {
		return e
	}
	if strings.HasPrefix(key, api) {
		return API
	}
	return ""
}

func (s *Server) address(name string) string {
	address, _ := s.document[name].(string)
	return address
}

// Issuer returns the issuer that the discovery documents name.
func (s *Server) Issuer() string { return s.address("issuer") }

// DiscoveryURL returns the address of the discovery document (OpenID Connect
// Discovery 1.0), or "" if the provider that is played has none.
func (s *Server) DiscoveryURL() string { return s.discovery }

// OAuthDiscoveryURL returns the address of the authorization server metadata
// (RFC 8414), or "" if the Server was made of a document.
func (s *Server) OAuthDiscoveryURL() string { return s.metadata }

// AuthURL returns the address of the authorization endpoint.
func (s *Server) AuthURL() string { return s.address("authorization_endpoint") }

// TokenURL returns the address of the token endpoint.
func (s *Server) TokenURL() string { return s.address("token_endpoint") }

// RevocationURL returns the address of the revocation endpoint (RFC 7009), or
// "" if there is none.
func (s *Server) RevocationURL() string { return s.address("revocation_endpoint") }

// PARURL returns the address of the endpoint for pushed authorization requests
// (RFC 9126), or "" if there is none.
func (s *Server) PARURL() string { return s.address("pushed_authorization_request_endpoint") }

// JWKSURL returns the address of the keys that ID tokens are signed with.
func (s *Server) JWKSURL() string { return s.address("jwks_uri") }

func (s *Server) userInfoURL() string { return s.address("userinfo_endpoint") }

// APIURL returns the address of an API that wants an access token. It answers
// 200 and a JSON object with the token's "sub", "client_id" and "scope", or
// 401. All addresses below it do the same, whatever the method. Of a [Provider]
// it is in that provider's API, which may refuse in another way, and want other
// headers.
func (s *Server) APIURL() string {
	if s.fake.api != "" {
		return s.fake.api
	}
	return s.origin + "/api"
}

// Client returns a client that reaches the Server. It may be changed.
func (s *Server) Client() *http.Client {
	c := *s.client
	return &c
}

// Now returns the time by the clock of the Server.
func (s *Server) Now() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now()
}

func (s *Server) now() time.Time { return time.Now().Add(s.offset) }

// Advance moves the clock of the Server forward, and no other: tokens and codes
// end there, while a client goes on judging by its own clock. ID tokens are
// dated as if the Server's had not moved, since clients refuse those that come
// from the future.
func (s *Server) Advance(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.offset += d
}

// Policy returns how the Server behaves at present.
func (s *Server) Policy() Policy {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.policy
}

// SetPolicy changes how the Server behaves from now on.
func (s *Server) SetPolicy(p Policy) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.policy = p
}

// enter counts a request in, unless the Server is closed.
func (s *Server) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.active++
	return true
}

func (s *Server) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.active--
	if s.active == 0 && s.idle != nil {
		close(s.idle)
	}
}

// Mutate changes the JSON objects with which an endpoint answers successfully,
// until it is called again; nil ends it. It is for [Discovery], [JWKS],
// [Token], [PAR], [UserInfo], [Introspection] and [API].
//
//	srv.Mutate(providertest.Token, func(answer map[string]any) {
//		answer["expires_in"] = "3600"
//	})
func (s *Server) Mutate(e Endpoint, f func(answer map[string]any)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mutate[e] = f
}

// object answers with a JSON object, after a mutation.
func (s *Server) object(e Endpoint, v map[string]any) *Answer {
	s.mu.Lock()
	f := s.mutate[e]
	s.mu.Unlock()
	if f != nil {
		f(v)
	}
	return answer(http.StatusOK, v)
}

// An Answer is an HTTP response.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
}

// answer makes an Answer of a JSON value.
func answer(status int, v any) *Answer {
	body, err := json.Marshal(v)
	if err != nil { // a mutation has put in a value that JSON does not have
		return text(http.StatusInternalServerError, "providertest: "+err.Error())
	}
	return &Answer{status, http.Header{
		"Content-Type":  {"application/json"},
		"Cache-Control": {"no-store"},
	}, body}
}

// refusal makes an error answer (RFC 6749, section 5.2).
func refusal(status int, code, description string) *Answer {
	return answer(status, map[string]any{"error": code, "error_description": description})
}

func text(status int, s string) *Answer {
	return &Answer{status, http.Header{"Content-Type": {"text/plain; charset=utf-8"}}, []byte(s + "\n")}
}

func (s *Server) serveDiscovery() *Answer {
	document, policy := deepCopy(s.document), s.Policy()
	if policy.RequirePAR {
		document["require_pushed_authorization_requests"] = true
	}
	if s.ca != nil && policy.BindTokens {
		document["tls_client_certificate_bound_access_tokens"] = true
	}
	a := s.object(Discovery, document)
	if a.Status == http.StatusOK {
		a.Header.Del("Cache-Control")
	}
	return a
}

// deepCopy copies a JSON object, so that a mutation has its own.
func deepCopy(m map[string]any) map[string]any {
	c := maps.Clone(m)
	for k, v := range c {
		switch v := v.(type) {
		case map[string]any:
			c[k] = deepCopy(v)
		case []any:
			c[k] = append([]any(nil), v...)
		}
	}
	return c
}

// Authorize plays a browser: it opens the address of an authorization request
// and returns the address that the provider sends it back to, which is not
// opened. It returns an error if the provider does not send it anywhere.
func (s *Server) Authorize(address string) (*url.URL, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	c := s.Client()
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	resp, err := c.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusFound && resp.StatusCode != http.StatusSeeOther {
		var page [256]byte
		n, _ := resp.Body.Read(page[:])
		return nil, fmt.Errorf("providertest: authorization page: %s: %s", resp.Status, strings.TrimSpace(string(page[:n])))
	}
	return url.Parse(resp.Header.Get("Location"))
}
