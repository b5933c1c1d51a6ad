package console_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/authprofile/authprofile"
	"github.com/authprofile/authprofile/console"
	"github.com/authprofile/authprofile/providertest"
	"github.com/authprofile/authprofile/sealed"
)

// hostile is a text from outside that is out for more than to be read.
const hostile = "\"'><script>alert(1)</script><x y=\"'`{{.}}\u202e\u2066&lt;!--]]>"

// A showroom is a console over a Store that has something of everything.
type showroom struct {
	t        *testing.T
	word     string // is in all texts
	provider *providertest.Server
	inner    *authprofile.MemStore // below the seal
	store    *countedStore
	manager  *authprofile.Manager
	redirect *authprofile.RedirectHandler
	handler  *console.Handler
	users    *console.Connections
	log      *logBuffer
	secrets  map[string]string // by text: what it is
}

// secret makes a secret that must not come out.
func (s *showroom) secret(what string) authprofile.Secret {
	text := rand.Text() + rand.Text()
	s.secrets[text] = what
	return authprofile.Secret(text)
}

// openShowroom makes a showroom whose texts all have word in them. Nothing but the texts
// differs between one word and another.
func openShowroom(t *testing.T, word string) *showroom {
	t.Helper()
	keys, err := sealed.NewKeyring(sealed.Key{ID: "1", Secret: []byte(rand.Text() + rand.Text())[:32]})
	if err != nil {
		t.Fatal(err)
	}
	inner := new(authprofile.MemStore)
	s := &showroom{
		t: t, word: word, provider: providertest.NewServer(t, providertest.InMemory("https://login.example.com")),
		inner: inner, store: &countedStore{Store: sealed.New(inner, keys)}, log: new(logBuffer), secrets: make(map[string]string),
	}
	logger := slog.New(slog.NewTextHandler(s.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	s.manager = &authprofile.Manager{Store: s.store, HTTPClient: s.provider.Client(), Logger: logger, RedirectURL: origin + "/callback/{profile}"}
	t.Cleanup(func() { s.manager.Shutdown(context.Background()) })
	s.redirect = &authprofile.RedirectHandler{Manager: s.manager, User: func(*http.Request) (string, error) { return "1" + word, nil }}
	s.handler = &console.Handler{
		Manager: s.manager, Operator: func(*http.Request) (string, error) { return "olga" + word, nil },
		Logger: logger, LogUsers: true, Redirect: s.redirect, ConnectionsURL: origin + "/connections/",
	}
	s.users = &console.Connections{Redirect: s.redirect, Profiles: []string{"1", "2" + word, "4" + word, "5" + word, "7" + word, "8" + word}, Logger: logger, LogUsers: true}
	if err := errors.Join(s.handler.Validate(), s.users.Validate()); err != nil {
		t.Fatal(err)
	}
	s.fill()
	return s
}

// routes is the service that the console is part of.
func (s *showroom) routes() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/auth/", http.StripPrefix("/auth", s.handler))
	mux.Handle("/connections/", http.StripPrefix("/connections", s.users))
	mux.Handle("/callback/", s.redirect)
	return mux
}

// pages are where a crawl begins. The last of them are of what cannot be read.
func (s *showroom) pages() []string {
	damaged := url.Values{"profile": {"9" + s.word}, "user": {"9" + s.word}}.Encode()
	return []string{
		"/auth/", "/auth/attention", "/auth/profiles", "/auth/grants", "/auth/providers", "/auth/none", "/connections/", "/connections/?profile=1",
		"/auth/profile?" + url.Values{"id": {"9" + s.word}}.Encode(), "/auth/grant?" + damaged, "/auth/revoke?" + damaged,
	}
}

func (s *showroom) put(p *authprofile.Profile) {
	s.t.Helper()
	if err := s.store.Store.PutProfile(s.t.Context(), p); err != nil {
		s.t.Fatal(err)
	}
}

// fill puts profiles of all kinds, and grants in all states.
func (s *showroom) fill() {
	s.t.Helper()
	word := s.word
	ctx, now := s.t.Context(), time.Now()
	secret := s.secret("client secret")
	s.provider.AddClient(providertest.Client{ID: "app", Secret: string(secret)})
	base := func(id string) *authprofile.Profile {
		return &authprofile.Profile{
			ID: id, Name: "Name " + id + word, Description: "Description" + word, Type: authprofile.TypeUser,
			ClientID: "app", ClientSecret: secret,
			Endpoints: authprofile.Endpoints{DiscoveryURL: s.provider.DiscoveryURL()}, Scopes: []string{"openid", "offline_access"},
		}
	}
	s.put(base("1"))
	p := base("2" + word)
	p.Params = url.Values{"audience": {"https://api.example.com/" + word}}
	p.Endpoints = authprofile.Endpoints{AuthURL: "https://login.example.com/" + word, TokenURL: s.provider.TokenURL(), RevocationURL: s.provider.RevocationURL()}
	p.SecretExpires = now.Add(72 * time.Hour)
	s.put(p)
	p = base("3" + word)
	p.Type, p.Scopes = authprofile.TypeApp, nil
	s.put(p)
	p = base("4" + word)
	p.ClientSecret, p.ClientKey = "", s.keyPEM()
	s.put(p)
	p = base("5" + word)
	p.ClientSecret, p.ClientKey = "", s.keyJWK()
	s.put(p)
	p = base("6" + word)
	p.Template, p.Endpoints = "shopify/acme", authprofile.Endpoints{}
	s.put(p)
	p = base("7" + word) // what nothing that is valid looks like
	p.Template, p.ClientID, p.RedirectURL = authprofile.Template("none/"+word), "client"+word, "javascript:alert(1)//"+word
	p.Endpoints = authprofile.Endpoints{DiscoveryURL: "javascript:alert(1)//" + word, AuthURL: "data:text/html," + word, TokenURL: "//evil.example.com/" + word}
	p.Scopes, p.APIHosts, p.AuthMethod = []string{"a" + word, "b"}, []string{"api" + word}, authprofile.AuthMethod("method"+word)
	s.put(p)

	states := []authprofile.Grant{
		{Status: authprofile.StatusActive},
		{Status: authprofile.StatusActive, Ends: now.Add(100 * time.Hour), EndsBy: authprofile.EndsIdle},
		{Status: authprofile.StatusActive, Ends: now.Add(-time.Hour), EndsBy: authprofile.EndsAnnounced, RefreshExpiry: now.Add(-time.Hour)},
		{Status: authprofile.StatusFailing, Failure: &authprofile.Failure{Reason: authprofile.ReasonUnavailable, HTTPStatus: 503, Paced: true, Next: now.Add(time.Hour)}},
		{Status: authprofile.StatusNeedsReauthorization, Failure: &authprofile.Failure{Reason: authprofile.ReasonRevoked, HTTPStatus: 400}},
		{Status: authprofile.StatusNeedsReauthorization, Failure: &authprofile.Failure{Reason: authprofile.ReasonOtherClient}},
		{Status: authprofile.StatusNeedsConfiguration, Failure: &authprofile.Failure{Reason: authprofile.ReasonClient, HTTPStatus: 401}},
		{Status: authprofile.Status("odd" + word), Failure: &authprofile.Failure{Reason: authprofile.Reason("odd" + word)}},
	}
	for _, id := range []string{"1", "2" + word, "4" + word, "7" + word} {
		for i, g := range states {
			g.GrantKey = authprofile.GrantKey{ProfileID: id, User: fmt.Sprint(i+1, word)}
			s.fillGrant(&g, word, now)
		}
	}
	// That of the application itself, and one whose profile is gone.
	s.fillGrant(&authprofile.Grant{GrantKey: authprofile.GrantKey{ProfileID: "3" + word}, Status: authprofile.StatusActive}, word, now)
	s.fillGrant(&authprofile.Grant{GrantKey: authprofile.GrantKey{ProfileID: "8" + word, User: "1" + word}, Status: authprofile.StatusActive}, word, now)

	// What was put in the Store without a seal cannot be read.
	p = base("9" + word)
	p.ClientSecret = s.secret("client secret without a seal")
	if err := s.inner.PutProfile(ctx, p); err != nil {
		s.t.Fatal(err)
	}
	for _, id := range []string{"1", "9" + word} {
		g := &authprofile.Grant{GrantKey: authprofile.GrantKey{ProfileID: id, User: "9" + word}, AccessToken: s.secret("access token without a seal"), Status: authprofile.StatusActive}
		if err := s.inner.PutGrant(ctx, g); err != nil {
			s.t.Fatal(err)
		}
	}

	stored, err := s.manager.Profile(ctx, "1")
	if err != nil {
		s.t.Fatal(err)
	}
	for range 3 {
		f, err := s.manager.Begin(ctx, stored, "1"+word)
		if err != nil {
			s.t.Fatal(err)
		}
		s.secrets[f.State] = "state"
		s.secrets[string(f.Verifier)], s.secrets[f.Nonce] = "code verifier", "nonce"
	}
	delete(s.secrets, "")
}

func (s *showroom) fillGrant(g *authprofile.Grant, word string, now time.Time) {
	s.t.Helper()
	g.AccessToken, g.RefreshToken = s.secret("access token"), s.secret("refresh token")
	g.TokenType, g.Obtained, g.Expiry = "Bearer", now.Add(-time.Hour), now.Add(time.Hour)
	g.Scopes, g.Requested = []string{"openid", "scope" + word}, []string{"openid", "offline_access"}
	g.ClientID, g.Issuer, g.Subject, g.Account = "app", s.provider.Issuer(), "subject"+word, "account"+word
	g.Nonce = string(s.secret("nonce of a grant"))
	g.Extra = map[string]authprofile.Secret{"team": s.secret("value of Extra"), "name" + word: s.secret("value of Extra")}
	g.Authorized = now.Add(-1000 * time.Hour)
	if f := g.Failure; f != nil {
		f.Code, f.Description = "code"+word, "The provider says"+word
		f.Since, f.Last, f.Attempts = now.Add(-2*time.Hour), now.Add(-time.Minute), 7
	}
	if err := s.store.Store.PutGrant(s.t.Context(), g); err != nil {
		s.t.Fatal(err)
	}
}

// key makes a private key, whose parts must not come out.
func (s *showroom) key() *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		s.t.Fatal(err)
	}
	d, err := key.Bytes()
	if err != nil {
		s.t.Fatal(err)
	}
	s.secrets[string(d)] = "private key"
	return key
}

// keyPEM is a key with a certificate.
func (s *showroom) keyPEM() authprofile.Secret {
	s.t.Helper()
	key := s.key()
	cert, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(48 * time.Hour)},
		&x509.Certificate{SerialNumber: big.NewInt(1)}, key.Public(), key)
	if err != nil {
		s.t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		s.t.Fatal(err)
	}
	private := string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	for line := range strings.Lines(private) {
		if !strings.HasPrefix(line, "-") {
			s.secrets[strings.TrimSpace(line)] = "line of a private key"
		}
	}
	return authprofile.Secret(private + string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})))
}

func (s *showroom) keyJWK() authprofile.Secret {
	s.t.Helper()
	key := s.key()
	public, err := key.PublicKey.Bytes()
	if err != nil {
		s.t.Fatal(err)
	}
	private, err := key.Bytes()
	if err != nil {
		s.t.Fatal(err)
	}
	text, err := json.Marshal(map[string]any{"kty": "EC", "crv": "P-256", "kid": "key-1", "x": base64URL(public[1:33]), "y": base64URL(public[33:]), "d": base64URL(private)})
	if err != nil {
		s.t.Fatal(err)
	}
	return authprofile.Secret(text)
}

// A countedStore fails when it is told to, and counts what is read from it.
type countedStore struct {
	authprofile.Store

	mu    sync.Mutex
	fault func(op string) error
	lists []listing
	calls map[string]int    // by the name of the method
	flow  *authprofile.Flow // the latest
}

// countable marks the context of requests whose calls of the Store are counted. What
// goes on in the background is not part of them.
type countable struct{}

// A listing is a list that was read: how much was asked for, and how much came.
type listing struct {
	op           string
	limit, count int
}

var errStoreGone = errors.New("the database is away")

func (s *countedStore) on(fault func(op string) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = fault
}

func (s *countedStore) call(ctx context.Context, op string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if ctx.Value(countable{}) != nil {
		if s.calls == nil {
			s.calls = make(map[string]int)
		}
		s.calls[op]++
	}
	if s.fault != nil {
		return s.fault(op)
	}
	return nil
}

// take returns what was called since it was last called itself.
func (s *countedStore) take() (lists []listing, calls map[string]int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	lists, calls = s.lists, s.calls
	s.lists, s.calls = nil, nil
	return lists, calls
}

func (s *countedStore) listed(ctx context.Context, l listing) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if ctx.Value(countable{}) != nil {
		s.lists = append(s.lists, l)
	}
}

func (s *countedStore) Profile(ctx context.Context, id string) (*authprofile.Profile, error) {
	if err := s.call(ctx, "Profile"); err != nil {
		return nil, err
	}
	return s.Store.Profile(ctx, id)
}

func (s *countedStore) ListProfiles(ctx context.Context, after string, limit int) ([]*authprofile.Profile, error) {
	if err := s.call(ctx, "ListProfiles"); err != nil {
		return nil, err
	}
	list, err := s.Store.ListProfiles(ctx, after, limit)
	s.listed(ctx, listing{"ListProfiles", limit, len(list)})
	return list, err
}

func (s *countedStore) PutProfile(ctx context.Context, p *authprofile.Profile) error {
	if err := s.call(ctx, "PutProfile"); err != nil {
		return err
	}
	return s.Store.PutProfile(ctx, p)
}

func (s *countedStore) DeleteProfile(ctx context.Context, id string) error {
	if err := s.call(ctx, "DeleteProfile"); err != nil {
		return err
	}
	return s.Store.DeleteProfile(ctx, id)
}

func (s *countedStore) Grant(ctx context.Context, key authprofile.GrantKey) (*authprofile.Grant, error) {
	if err := s.call(ctx, "Grant"); err != nil {
		return nil, err
	}
	return s.Store.Grant(ctx, key)
}

func (s *countedStore) ListGrants(ctx context.Context, f authprofile.GrantFilter, after authprofile.GrantKey, limit int) ([]*authprofile.Grant, error) {
	if err := s.call(ctx, "ListGrants"); err != nil {
		return nil, err
	}
	list, err := s.Store.ListGrants(ctx, f, after, limit)
	s.listed(ctx, listing{"ListGrants", limit, len(list)})
	return list, err
}

func (s *countedStore) CountGrants(ctx context.Context, profileID string) (map[authprofile.Status]int64, error) {
	if err := s.call(ctx, "CountGrants"); err != nil {
		return nil, err
	}
	return s.Store.CountGrants(ctx, profileID)
}

func (s *countedStore) PutGrant(ctx context.Context, g *authprofile.Grant) error {
	if err := s.call(ctx, "PutGrant"); err != nil {
		return err
	}
	return s.Store.PutGrant(ctx, g)
}

func (s *countedStore) DeleteGrant(ctx context.Context, key authprofile.GrantKey) error {
	if err := s.call(ctx, "DeleteGrant"); err != nil {
		return err
	}
	return s.Store.DeleteGrant(ctx, key)
}

func (s *countedStore) PutFlow(ctx context.Context, f *authprofile.Flow) error {
	if err := s.call(ctx, "PutFlow"); err != nil {
		return err
	}
	s.mu.Lock()
	s.flow = f.Clone()
	s.mu.Unlock()
	return s.Store.PutFlow(ctx, f)
}

func (s *countedStore) TakeFlow(ctx context.Context, id string) (*authprofile.Flow, error) {
	if err := s.call(ctx, "TakeFlow"); err != nil {
		return nil, err
	}
	return s.Store.TakeFlow(ctx, id)
}
