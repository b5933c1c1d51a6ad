// Package authservers runs OAuth 2.0 authorization servers that we did not
// write, on loopback, for tests: ory/fosite within the process, and the
// certified oidc-provider as a process of its own.
//
// Both enforce PKCE with S256, rotate refresh tokens, and end the whole grant
// when a spent one comes again. In front of each stands a [tokenswitch.Switch] that can
// lose, delay and replace what passes through its token endpoint, and keeps a
// log of what the server has issued.
package authservers

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/authprofile/authprofile/internal/peertest/tokenswitch"
	"github.com/go-jose/go-jose/v3"
)

// A Client is registered at a server.
type Client struct {
	ID, Secret   string
	AuthMethod   string // as in RFC 7591; empty: client_secret_basic, or none without a secret
	Grants       []string
	RedirectURLs []string

	// Key is what the server knows of the key of a client without a secret.
	Key *jose.JSONWebKey

	// SubjectDN is the subject of the certificate of a client that authenticates by
	// tls_client_auth (RFC 8705, section 2.1.2).
	SubjectDN string
}

// The clients that every server knows. Their secrets have what must be encoded
// in a form and in an Authorization header.
var (
	// App acts for itself.
	App = Client{ID: "nightly report", Secret: `a pp:s%41+e=c&r/e?t"`, Grants: []string{"client_credentials"}}

	// Web acts for users. Its redirect addresses are those of Options.
	Web = Client{ID: "crm:web", Secret: `we%b+s e:c=r&e~t`, Grants: []string{"authorization_code", "refresh_token"}}

	// WebPost is Web, authenticated in the body of the request.
	WebPost = Client{ID: "crm-post", Secret: `po%st+s e:c=r&e~t`, AuthMethod: "client_secret_post", Grants: Web.Grants}

	// Desktop has no secret.
	Desktop = Client{ID: "desktop", Grants: Web.Grants}

	// resources is the API, asking which tokens are good.
	resources = Client{ID: "resources", Secret: "resources-secret", Grants: []string{"client_credentials"}}
)

// Scopes are those that every client may ask for.
var Scopes = []string{"openid", "offline_access", "contacts.read"}

// Password is the password of every user.
const Password = "correct horse"

// Options are how a server is to behave. The zero Options work.
type Options struct {
	// RedirectURLs are registered for Web, WebPost and Desktop. If empty,
	// RedirectURL is.
	RedirectURLs []string

	// TokenLife is how long access tokens are good, in whole seconds. If
	// zero, it is an hour.
	TokenLife time.Duration

	// RequirePAR refuses authorization requests that were not pushed (RFC 9126).
	RequirePAR bool

	// AssertionAlgs are the algorithms that the server lists for assertions. If
	// empty, these are all that it knows.
	AssertionAlgs []string

	// TLS serves everything over TLS, and adds endpoints for clients with a
	// certificate (RFC 8705). OIDCProvider only.
	TLS bool
}

// RedirectURL is an address for tests in which no browser comes back.
const RedirectURL = "http://127.0.0.1:9999/Callback/crm"

// A Server is an authorization server, and an API that takes its tokens.
type Server struct {
	Name   string // of the software
	Issuer string

	DiscoveryURL string // OpenID Connect Discovery 1.0
	MetadataURL  string // RFC 8414

	AuthURL, TokenURL, RevocationURL, IntrospectionURL, PARURL string

	// TLS has the addresses for clients with a certificate, which are at a port of
	// their own, and not behind Token.
	TLS struct{ TokenURL, RevocationURL, PARURL string }

	// APIURL answers a GET that has a valid access token with what the server
	// says of the token, as JSON, and any other with 401.
	APIURL string

	// Token stands in front of the token endpoint.
	Token *tokenswitch.Switch

	register func(testing.TB, Client)

	mu           sync.Mutex
	requests     map[string]int
	refused      map[string]bool
	certificates int
}

// Register adds a client, or replaces one that has its ID: what the server has
// issued to that is then c's.
func (s *Server) Register(t testing.TB, c Client) {
	t.Helper()
	s.register(t, c)
}

// Requests returns how many requests have come for an address of the server.
func (s *Server) Requests(address string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.requests[mustParse(address).Path]
}

// Refuse makes the API answer 401 to a token, though it is good.
func (s *Server) Refuse(token string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refused[token] = true
}

// Active reports whether the server considers a token valid (RFC 7662). It takes
// the token itself, or the fingerprint of one in the log.
func (s *Server) Active(t testing.TB, token string) bool {
	t.Helper()
	if issued := s.Token.Issued(token); issued != "" {
		token = issued
	}
	said, err := s.introspect(token)
	if err != nil {
		t.Fatal(err)
	}
	return said["active"] == true
}

// Revoke ends a token's grant at the server (RFC 7009), while the client that
// has the token does not know of it.
func (s *Server) Revoke(t testing.TB, c Client, token string) {
	t.Helper()
	status, _, err := c.post(s.RevocationURL, url.Values{"token": {token}})
	if err != nil || status != http.StatusOK {
		t.Fatalf("%s: revoke: status %d, %v", s.Name, status, err)
	}
}

func (s *Server) introspect(token string) (map[string]any, error) {
	_, body, err := resources.post(s.IntrospectionURL, url.Values{"token": {token}})
	if err != nil {
		return nil, err
	}
	var said map[string]any
	return said, json.Unmarshal(body, &said)
}

// serveAPI plays an API that takes the server's tokens.
func (s *Server) serveAPI(w http.ResponseWriter, r *http.Request) {
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	s.mu.Lock()
	ok = ok && !s.refused[token]
	s.mu.Unlock()
	var said map[string]any
	if ok {
		var err error
		if said, err = s.introspect(token); err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
	}
	if said["active"] != true {
		w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token"`)
		http.Error(w, "no such token", http.StatusUnauthorized)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(said)
}

// newServer makes a server at a free port of loopback. It answers once next is
// given to front.
func newServer(t testing.TB, name string, opts Options) (*Server, *httptest.Server) {
	ts := httptest.NewUnstartedServer(nil)
	s := &Server{Name: name, requests: make(map[string]int), refused: make(map[string]bool)}
	s.Issuer = opts.scheme() + "://" + ts.Listener.Addr().String()
	s.APIURL = s.Issuer + "/api/me"
	return s, ts
}

// front starts ts: next, with the switch before its token endpoint.
func (s *Server) front(t testing.TB, ts *httptest.Server, next http.Handler) {
	s.Token = tokenswitch.New()
	token, api := mustParse(s.TokenURL).Path, mustParse(s.APIURL).Path
	ts.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.requests[r.URL.Path]++
		if r.TLS != nil && len(r.TLS.PeerCertificates) > 0 {
			s.certificates++
		}
		s.mu.Unlock()
		switch r.URL.Path {
		case token:
			s.Token.Serve(w, r, next)
		case api:
			s.serveAPI(w, r)
		default:
			next.ServeHTTP(w, r)
		}
	})
	if mustParse(s.Issuer).Scheme == "https" {
		ts.TLS = serverConfig()
		ts.StartTLS()
	} else {
		ts.Start()
	}
	t.Cleanup(func() {
		s.Token.Close()
		ts.CloseClientConnections()
		ts.Close()
	})
}

// httpClient is for the harness itself. It follows no redirect.
var httpClient = &http.Client{
	Timeout:       10 * time.Second,
	Transport:     Transport(),
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// post sends a form, with the client's authentication.
func (c Client) post(address string, form url.Values) (status int, body []byte, err error) {
	switch c.method() {
	case "none":
		form.Set("client_id", c.ID)
	case "client_secret_post":
		form.Set("client_id", c.ID)
		form.Set("client_secret", c.Secret)
	}
	req, err := http.NewRequest("POST", address, strings.NewReader(form.Encode()))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if c.method() == "client_secret_basic" {
		req.SetBasicAuth(url.QueryEscape(c.ID), url.QueryEscape(c.Secret))
	}
	resp, err := httpClient.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	body, err = io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	return resp.StatusCode, body, err
}

func (c Client) method() string {
	switch {
	case c.AuthMethod != "":
		return c.AuthMethod
	case c.Secret == "":
		return "none"
	default:
		return "client_secret_basic"
	}
}

// clients returns what the servers register.
func (o *Options) clients() []Client {
	redirects := o.RedirectURLs
	if len(redirects) == 0 {
		redirects = []string{RedirectURL}
	}
	list := []Client{App, Web, WebPost, Desktop, resources}
	for i := range list {
		if list[i].Grants[0] == "authorization_code" {
			list[i].RedirectURLs = redirects
		}
	}
	return list
}

func (o *Options) scheme() string {
	if o.TLS {
		return "https"
	}
	return "http"
}

// assertionAlgs returns the algorithms of assertions, of all that a server knows.
func (o *Options) assertionAlgs(all ...string) []string {
	if len(o.AssertionAlgs) == 0 {
		return all
	}
	return o.AssertionAlgs
}

func (o *Options) tokenLife() time.Duration {
	if o.TokenLife == 0 {
		return time.Hour
	}
	return o.TokenLife
}

func mustParse(address string) *url.URL {
	u, err := url.Parse(address)
	if err != nil {
		panic(err)
	}
	return u
}
