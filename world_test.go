package authprofile_test

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/oauth2"

	"github.com/authprofile/authprofile"
	"github.com/authprofile/authprofile/providertest"
)

const issuer = "https://login.example.com"

// A world is a provider in memory, a Store, and a Manager on it, all inside a
// bubble of testing/synctest.
type world struct {
	*testing.T
	srv   *providertest.Server
	store *authprofile.MemStore
	m     *authprofile.Manager

	upkeep []*authprofile.Manager // those that run Maintain: see maintained
}

// inWorld runs a test in a world of its own.
func inWorld(t *testing.T, f func(t *testing.T, w *world)) {
	t.Helper()
	inWorldOf(t, providertest.InMemory(issuer), func(t *testing.T, w *world) {
		w.srv.SetSigning(providertest.ES256) // its keys are made more quickly
		f(t, w)
	})
}

// inWorldOf is inWorld with another provider.
func inWorldOf(t *testing.T, provider providertest.Option, f func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{T: t, srv: providertest.NewServer(t, provider), store: new(authprofile.MemStore)}
		w.m = w.manager()
		f(t, w)
	})
}

// anotherProvider returns a provider beside that of a world.
func anotherProvider(t *testing.T, issuer string) *providertest.Server {
	srv := providertest.NewServer(t, providertest.InMemory(issuer))
	srv.SetSigning(providertest.ES256)
	return srv
}

// manager returns another Manager on the same Store, as another process would
// have.
func (w *world) manager() *authprofile.Manager {
	m := &authprofile.Manager{Store: w.store, HTTPClient: w.srv.Client(), RedirectURL: "https://app.example.com/callback"}
	w.Cleanup(func() { m.Shutdown(context.Background()) })
	return m
}

// A process is a Manager whose ways to the Store and to the provider can be
// tampered with.
type process struct {
	*authprofile.Manager
	store *faultyStore
	net   *faultyNetwork
}

func (w *world) process() *process {
	p := &process{store: &faultyStore{Store: w.store}, net: &faultyNetwork{base: w.srv.Transport()}}
	p.Manager = &authprofile.Manager{Store: p.store, HTTPClient: &http.Client{Transport: p.net}}
	w.Cleanup(func() {
		p.store.heal()
		p.net.heal()
		p.Shutdown(context.Background())
	})
	return p
}

func (w *world) save(p *authprofile.Profile) *authprofile.Profile {
	w.Helper()
	if err := w.m.Save(w.Context(), p); err != nil {
		w.Fatal(err)
	}
	return p
}

// registered returns a profile of the client that providers know at first.
func registered(p authprofile.Profile) *authprofile.Profile {
	p.ClientID, p.ClientSecret = providertest.ClientID, providertest.ClientSecret
	return &p
}

// unsavedApp returns an app profile that no Store has.
func (w *world) unsavedApp() *authprofile.Profile {
	return registered(authprofile.Profile{
		ID: "app", Type: authprofile.TypeApp,
		Endpoints: authprofile.Endpoints{TokenURL: w.srv.TokenURL()},
		Scopes:    []string{"read"},
	})
}

func (w *world) app() *authprofile.Profile {
	w.Helper()
	return w.save(w.unsavedApp())
}

func (w *world) user() *authprofile.Profile {
	w.Helper()
	return w.save(registered(authprofile.Profile{
		ID: "crm", Type: authprofile.TypeUser,
		Endpoints: authprofile.Endpoints{DiscoveryURL: w.srv.DiscoveryURL()},
		Scopes:    []string{"openid", "read", "offline_access"},
	}))
}

var (
	asAda = authprofile.AsUser("ada")
	ada   = authprofile.GrantKey{ProfileID: "crm", User: "ada"}
	app   = authprofile.GrantKey{ProfileID: "app"}
)

// authorize takes a user through the whole flow.
func (w *world) authorize(p *authprofile.Profile, user string) *authprofile.Grant {
	w.Helper()
	f, err := w.m.Begin(w.Context(), p, user)
	if err != nil {
		w.Fatal(err)
	}
	back, err := w.srv.Authorize(f.URL)
	if err != nil {
		w.Fatal(err)
	}
	g, err := w.m.Finish(w.Context(), user, back.Query())
	if err != nil {
		w.Fatal(err)
	}
	return g
}

// adasProfile returns a user profile that ada has authorized.
func (w *world) adasProfile() *authprofile.Profile {
	w.Helper()
	p := w.user()
	w.authorize(p, "ada")
	return p
}

func (w *world) token(m *authprofile.Manager, p *authprofile.Profile, opts ...authprofile.Option) string {
	w.Helper()
	tok, err := m.Token(w.Context(), p, opts...)
	if err != nil {
		w.Fatal(err)
	}
	return tok.AccessToken
}

// refuses wants no token, and an error that is target, if that is not nil.
func (w *world) refuses(m *authprofile.Manager, p *authprofile.Profile, target error, opts ...authprofile.Option) error {
	w.Helper()
	tok, err := m.Token(w.Context(), p, opts...)
	switch {
	case err == nil:
		w.Fatalf("got token %q, want an error", tok.AccessToken)
	case target != nil && !errors.Is(err, target):
		w.Fatalf("got error %v, want one that is: %v", err, target)
	}
	return err
}

// grant returns what is stored.
func (w *world) grant(key authprofile.GrantKey) *authprofile.Grant {
	w.Helper()
	g, err := w.store.Grant(w.Context(), key)
	if err != nil {
		w.Fatal(err)
	}
	return g
}

// put stores a grant as it is given, whatever is there.
func (w *world) put(g *authprofile.Grant) {
	w.Helper()
	if err := w.store.PutGrant(w.Context(), g); err != nil {
		w.Fatal(err)
	}
}

// healthy wants a grant that is active and whose refresh token is the one that
// the provider waits for.
func (w *world) healthy(key authprofile.GrantKey) {
	w.Helper()
	g := w.grant(key)
	if g.Status != authprofile.StatusActive || g.Failure != nil || g.Lease != nil {
		w.Errorf("got status %q, failure %v, lease %v; want an active grant", g.Status, g.Failure, g.Lease)
	}
	if key.User != "" && !w.srv.IsCurrent(string(g.RefreshToken)) {
		w.Error("got a stored refresh token that the provider does not wait for, want the one that it does")
	}
}

// asked wants so many token requests of a kind until now.
func (w *world) asked(grant string, want int) {
	w.Helper()
	if got := w.srv.Count(grant); got != want {
		w.Fatalf("got %d requests with %s, want %d", got, grant, want)
	}
}

// expire lets an hour pass, and with it the life of the tokens.
func expire() { time.Sleep(time.Hour + time.Second) }

var errAway = errors.New("the store is away")

// A storeCall is a call of a faultyStore. Run makes it take effect.
type storeCall struct {
	ctx   context.Context
	op    string               // name of the method
	grant *authprofile.Grant   // of PutGrant
	key   authprofile.GrantKey // of calls about a grant
	run   func() error
}

// A faultyStore is one process's way to a Store.
type faultyStore struct {
	authprofile.Store
	mu     sync.Mutex
	fault  func(*storeCall) error
	counts map[string]int
}

// on lets f stand in for all calls that concern grants and profiles.
func (s *faultyStore) on(f func(c *storeCall) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = f
}

func (s *faultyStore) heal() { s.on(nil) }

// goAway fails all calls.
func (s *faultyStore) goAway() { s.on(func(*storeCall) error { return errAway }) }

// failPuts fails calls of PutGrant for as long as f says so.
func (s *faultyStore) failPuts(f func(g *authprofile.Grant) bool) {
	s.on(func(c *storeCall) error {
		if c.op == "PutGrant" && f(c.grant) {
			return errAway
		}
		return c.run()
	})
}

// failRead fails one reading of a grant, the nth from the beginning.
func (s *faultyStore) failRead(nth int) {
	s.on(func(c *storeCall) error {
		if c.op == "Grant" && s.count("Grant") == nth {
			return errAway
		}
		return c.run()
	})
}

func (s *faultyStore) count(op string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counts[op]
}

func (s *faultyStore) call(c *storeCall) error {
	s.mu.Lock()
	f := s.fault
	if s.counts == nil {
		s.counts = make(map[string]int)
	}
	s.counts[c.op]++
	s.mu.Unlock()
	if f != nil {
		return f(c)
	}
	return c.run()
}

func (s *faultyStore) Profile(ctx context.Context, id string) (p *authprofile.Profile, err error) {
	err = s.call(&storeCall{ctx: ctx, op: "Profile", key: authprofile.GrantKey{ProfileID: id}, run: func() (err error) {
		p, err = s.Store.Profile(ctx, id)
		return err
	}})
	if err != nil {
		return nil, err
	}
	return p, nil
}

func (s *faultyStore) Grant(ctx context.Context, key authprofile.GrantKey) (g *authprofile.Grant, err error) {
	err = s.call(&storeCall{ctx: ctx, op: "Grant", key: key, run: func() (err error) {
		g, err = s.Store.Grant(ctx, key)
		return err
	}})
	if err != nil {
		return nil, err
	}
	return g, nil
}

func (s *faultyStore) PutGrant(ctx context.Context, g *authprofile.Grant) error {
	put := g.Clone()
	err := s.call(&storeCall{ctx: ctx, op: "PutGrant", key: g.GrantKey, grant: g, run: func() error {
		return s.Store.PutGrant(ctx, put)
	}})
	if err == nil {
		g.Version, g.Created, g.Updated = put.Version, put.Created, put.Updated
	}
	return err
}

func (s *faultyStore) DeleteGrant(ctx context.Context, key authprofile.GrantKey) error {
	return s.call(&storeCall{ctx: ctx, op: "DeleteGrant", key: key, run: func() error { return s.Store.DeleteGrant(ctx, key) }})
}

// A faultyNetwork is one process's way to the provider.
type faultyNetwork struct {
	base  http.RoundTripper
	mu    sync.Mutex
	fault func(*http.Request) (*http.Response, error)
}

// on lets f stand in for all requests. To let one through it calls n.base.
func (n *faultyNetwork) on(f func(r *http.Request) (*http.Response, error)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.fault = f
}

func (n *faultyNetwork) heal() { n.on(nil) }

func (n *faultyNetwork) RoundTrip(r *http.Request) (*http.Response, error) {
	n.mu.Lock()
	f := n.fault
	n.mu.Unlock()
	if f != nil {
		return f(r)
	}
	return n.base.RoundTrip(r)
}

// begin begins an authorization that must not fail.
func (w *world) begin(p *authprofile.Profile, user string, opts ...oauth2.AuthCodeOption) *authprofile.Flow {
	w.Helper()
	f, err := w.m.Begin(w.Context(), p, user, opts...)
	if err != nil {
		w.Fatal(err)
	}
	return f
}

// consent lets the person at the provider decide, and returns the query that
// the browser comes back with.
func (w *world) consent(f *authprofile.Flow) url.Values {
	w.Helper()
	back, err := w.srv.Authorize(f.URL)
	if err != nil {
		w.Fatal(err)
	}
	return back.Query()
}

// finishFails wants Finish to fail, and returns its error.
func (w *world) finishFails(user string, query url.Values, target error) error {
	w.Helper()
	g, err := w.m.Finish(w.Context(), user, query)
	var e *authprofile.Error
	switch {
	case err == nil:
		w.Fatalf("got a grant of %q, want an error", g.User)
	case target != nil && !errors.Is(err, target):
		w.Fatalf("got error %v, want one that is: %v", err, target)
	case !errors.As(err, &e) || e.Op != "finish":
		w.Fatalf("got error %#v, want an *Error of finish", err)
	}
	return err
}

// noGrant wants nothing to be stored for a user.
func (w *world) noGrant(key authprofile.GrantKey) {
	w.Helper()
	if _, err := w.store.Grant(w.Context(), key); !errors.Is(err, authprofile.ErrNotFound) {
		w.Errorf("got error %v, want no grant: ErrNotFound", err)
	}
}

// A revocation is a request that asked the provider to revoke a token.
type revocation struct {
	address string
	form    url.Values
}

func (w *world) revocations() (list []revocation) {
	w.Helper()
	for _, c := range w.srv.Captured() {
		if c.Endpoint != providertest.Revocation {
			continue
		}
		form, err := url.ParseQuery(c.Body)
		if err != nil {
			w.Fatal(err)
		}
		list = append(list, revocation{c.URL, form})
	}
	return list
}

// with returns a copy of query with one parameter replaced, or removed.
func with(query url.Values, name string, values ...string) url.Values {
	q := make(url.Values, len(query)+1)
	for k, v := range query {
		q[k] = v
	}
	q[name] = values
	if len(values) == 0 {
		delete(q, name)
	}
	return q
}

func parsed(t *testing.T, address string) *url.URL {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// bodies returns the forms that were posted to the token endpoint.
func bodies(t *testing.T, srv *providertest.Server) []url.Values {
	t.Helper()
	var list []url.Values
	for _, c := range srv.Captured() {
		if c.Endpoint == providertest.Token {
			form, err := url.ParseQuery(c.Body)
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, form)
		}
	}
	return list
}

// user2 returns the profile of w.user as it is stored.
func (w *world) user2() *authprofile.Profile {
	w.Helper()
	p, err := w.m.Profile(w.Context(), "crm")
	if err != nil {
		w.Fatal(err)
	}
	return p
}
