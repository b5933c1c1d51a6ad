package peertest

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/authprofile/authprofile"
	"github.com/authprofile/authprofile/internal/peertest/authservers"
	"github.com/authprofile/authprofile/internal/peertest/require"
	"github.com/authprofile/authprofile/internal/peertest/tokenswitch"
	"github.com/authprofile/authprofile/providertest"
	"golang.org/x/oauth2"
)

// atEach runs a test at every authorization server.
func atEach(t *testing.T, test func(t *testing.T, s *authservers.Server)) {
	atEachWith(t, authservers.Options{}, test)
}

// atEachWith is atEach for servers that are to behave in some way.
func atEachWith(t *testing.T, opts authservers.Options, test func(t *testing.T, s *authservers.Server)) {
	for _, server := range []struct {
		name  string
		start func(testing.TB, authservers.Options) *authservers.Server
	}{
		{"fosite", authservers.Fosite},
		{"oidc-provider", authservers.OIDCProvider},
	} {
		t.Run(server.name, func(t *testing.T) {
			t.Parallel()
			test(t, server.start(t, opts))
		})
	}
}

// newManager returns a Manager over a store, as a process would have.
func newManager(t *testing.T, store authprofile.Store) *authprofile.Manager {
	t.Helper()
	m := &authprofile.Manager{Store: store, RedirectURL: authservers.RedirectURL}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := m.Shutdown(ctx); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
	})
	return m
}

func appProfile(s *authservers.Server) *authprofile.Profile {
	return &authprofile.Profile{
		ID:           "reports",
		Type:         authprofile.TypeApp,
		ClientID:     authservers.App.ID,
		ClientSecret: authprofile.Secret(authservers.App.Secret),
		Endpoints:    authprofile.Endpoints{DiscoveryURL: s.DiscoveryURL},
		Scopes:       []string{"contacts.read"},
	}
}

func userProfile(s *authservers.Server, c authservers.Client) *authprofile.Profile {
	return &authprofile.Profile{
		ID:           "crm",
		Type:         authprofile.TypeUser,
		ClientID:     c.ID,
		ClientSecret: authprofile.Secret(c.Secret),
		AuthMethod:   authprofile.AuthMethod(c.AuthMethod),
		Endpoints:    authprofile.Endpoints{DiscoveryURL: s.DiscoveryURL},
		Scopes:       authservers.Scopes,
		Params:       url.Values{"prompt": {"consent"}},
	}
}

func save(t *testing.T, m *authprofile.Manager, p *authprofile.Profile) {
	t.Helper()
	if err := m.Save(t.Context(), p); err != nil {
		t.Fatalf("Save: %v", err)
	}
}

// connect sends a person through the whole flow.
func connect(t *testing.T, m *authprofile.Manager, p *authprofile.Profile, user string) *authprofile.Grant {
	t.Helper()
	g, err := m.Finish(t.Context(), user, visit(t, m, p, user, authservers.Person{Name: user}))
	if err != nil {
		t.Fatalf("Finish: %v", err)
	}
	return g
}

// visit begins a flow and returns what the person comes back with.
func visit(t *testing.T, m *authprofile.Manager, p *authprofile.Profile, user string, who authservers.Person) url.Values {
	t.Helper()
	f, err := m.Begin(t.Context(), p, user)
	if err != nil {
		t.Fatalf("Begin: %v", err)
	}
	return authservers.Login(t, f.URL, who)
}

// connected returns a store with a profile and alice's grant in it.
func connected(t *testing.T, s *authservers.Server) (*authprofile.MemStore, *authprofile.Profile, authprofile.GrantKey) {
	t.Helper()
	store := new(authprofile.MemStore)
	m := newManager(t, store)
	p := userProfile(s, authservers.Web)
	save(t, m, p)
	return store, p, connect(t, m, p, "alice").GrantKey
}

// expire ends an access token before its time, in the store.
func expire(t *testing.T, store authprofile.Store, key authprofile.GrantKey) {
	t.Helper()
	g := stored(t, store, key)
	g.Obtained = time.Now().Add(-time.Hour)
	g.Expiry = time.Now().Add(-time.Minute)
	if err := store.PutGrant(t.Context(), g); err != nil {
		t.Fatalf("PutGrant: %v", err)
	}
}

func stored(t *testing.T, store authprofile.Store, key authprofile.GrantKey) *authprofile.Grant {
	t.Helper()
	g, err := store.Grant(t.Context(), key)
	if err != nil {
		t.Fatalf("stored grant: %v", err)
	}
	return g
}

// latest is the last exchange in a server's log.
func latest(s *authservers.Server) tokenswitch.Exchange {
	log := s.Token.Log()
	return log[len(log)-1]
}

// callAPI makes a request to the API and returns its status, and whom it has
// seen.
func callAPI(t *testing.T, s *authservers.Server, c *http.Client) (status int, subject string) {
	t.Helper()
	resp, err := c.Get(s.APIURL)
	if err != nil {
		t.Fatalf("API: %v", err)
	}
	defer resp.Body.Close()
	var said struct{ Sub string }
	if resp.StatusCode == http.StatusOK {
		if err := json.NewDecoder(resp.Body).Decode(&said); err != nil {
			t.Fatalf("API: %v", err)
		}
	}
	return resp.StatusCode, said.Sub
}

func errorCode(err error) string {
	var re *oauth2.RetrieveError
	if errors.As(err, &re) {
		return re.ErrorCode
	}
	return ""
}

func TestApp(t *testing.T) {
	atEach(t, func(t *testing.T, s *authservers.Server) {
		store := new(authprofile.MemStore)
		m := newManager(t, store)
		p := appProfile(s)
		save(t, m, p)
		key := authprofile.GrantKey{ProfileID: p.ID}

		tok, err := m.Token(t.Context(), p)
		if err != nil {
			t.Fatalf("Token: %v", err)
		}
		if status, _ := callAPI(t, s, m.Client(t.Context(), p)); status != http.StatusOK {
			t.Errorf("API: got status %d, want 200", status)
		}
		if n := s.Token.Count("client_credentials"); n != 1 {
			t.Errorf("got %d token requests, want 1", n)
		}
		if life := time.Until(tok.Expiry); life < 59*time.Minute || life > time.Hour {
			t.Errorf("token is good for %v, want an hour", life)
		}
		if got := stored(t, store, key); !slices.Equal(got.Scopes, p.Scopes) || got.Status != authprofile.StatusActive {
			t.Errorf("grant: got scopes %q and status %q, want %q and active", got.Scopes, got.Status, p.Scopes)
		}

		expire(t, store, key)
		later := newManager(t, store)
		tok2, err := later.Token(t.Context(), p)
		if err != nil || tok2.AccessToken == tok.AccessToken {
			t.Errorf("after the end of the first token: got the same again, or %v", err)
		}

		// Not saved at all, with the address itself.
		q := appProfile(s)
		q.ID, q.Endpoints = "", authprofile.Endpoints{TokenURL: s.TokenURL}
		if tok, err := authprofile.Source(t.Context(), q).Token(); err != nil || !s.Active(t, tok.AccessToken) {
			t.Errorf("unsaved profile: got %v, want an active token", err)
		}
	})
}

func TestUser(t *testing.T) {
	atEach(t, func(t *testing.T, s *authservers.Server) {
		for _, c := range []authservers.Client{authservers.Web, authservers.WebPost, authservers.Desktop} {
			t.Run(c.ID, func(t *testing.T) {
				store := new(authprofile.MemStore)
				m := newManager(t, store)
				p := userProfile(s, c)
				save(t, m, p)

				if _, err := m.Token(t.Context(), p, authprofile.AsUser("alice")); !errors.Is(err, authprofile.ErrReauthorize) {
					t.Errorf("before the first authorization: got %v, want ErrReauthorize", err)
				}
				g := connect(t, m, p, "alice")
				if e := latest(s); e.Issued != providertest.Fingerprint(string(g.RefreshToken)) || e.Issued == "" {
					t.Errorf("the refresh token of the grant is not the one that was issued: %+v", e)
				}
				if g.Subject != "sub-of-alice" || g.Issuer != s.Issuer {
					t.Errorf("got subject %q of %q, want sub-of-alice of %q", g.Subject, g.Issuer, s.Issuer)
				}
				if len(g.Scopes) != len(p.Scopes) || g.Status != authprofile.StatusActive {
					t.Errorf("got scopes %q and status %q, want %q and active", g.Scopes, g.Status, p.Scopes)
				}
				if got := stored(t, store, g.GrantKey); got.Subject != g.Subject || got.RefreshToken != g.RefreshToken || got.AccessToken != g.AccessToken {
					t.Errorf("the stored grant is not the one that Finish returned")
				}
				status, subject := callAPI(t, s, m.Client(t.Context(), p, authprofile.AsUser("alice")))
				if status != http.StatusOK || subject != "sub-of-alice" {
					t.Errorf("API: got status %d and subject %q, want 200 and sub-of-alice", status, subject)
				}
			})
		}
	})
}

func TestDiscoveryAddresses(t *testing.T) {
	atEach(t, func(t *testing.T, s *authservers.Server) {
		for _, address := range []string{s.DiscoveryURL, s.MetadataURL} {
			m := newManager(t, nil)
			md, err := m.Discover(t.Context(), address)
			if err != nil {
				t.Errorf("Discover(%q): %v", address, err)
				continue
			}
			got := []string{md.Issuer, md.AuthURL, md.TokenURL, md.RevocationURL}
			want := []string{s.Issuer, s.AuthURL, s.TokenURL, s.RevocationURL}
			if !slices.Equal(got, want) {
				t.Errorf("Discover(%q): got %q, want %q", address, got, want)
			}
			p := userProfile(s, authservers.Web)
			p.Endpoints.DiscoveryURL = address
			save(t, m, p)
			if g := connect(t, m, p, "alice"); g.Subject != "sub-of-alice" {
				t.Errorf("by %q: got subject %q, want sub-of-alice", address, g.Subject)
			}
		}

		// The addresses themselves do as well: who it is says the token endpoint.
		m := newManager(t, nil)
		p := userProfile(s, authservers.Web)
		p.Endpoints = authprofile.Endpoints{AuthURL: s.AuthURL, TokenURL: s.TokenURL, RevocationURL: s.RevocationURL}
		save(t, m, p)
		if g := connect(t, m, p, "alice"); g.Subject != "sub-of-alice" || !s.Active(t, string(g.AccessToken)) {
			t.Errorf("by addresses: got subject %q, want sub-of-alice, and an active token", g.Subject)
		}
	})
}

func TestRefreshRotates(t *testing.T) {
	atEach(t, func(t *testing.T, s *authservers.Server) {
		store, p, key := connected(t, s)
		last := stored(t, store, key)
		for range 4 {
			expire(t, store, key)
			tok, err := newManager(t, store).Token(t.Context(), p, authprofile.AsUser("alice"))
			if err != nil {
				t.Fatalf("Token: %v", err)
			}
			g, e := stored(t, store, key), latest(s)
			if e.Spent != providertest.Fingerprint(string(last.RefreshToken)) || e.Issued != providertest.Fingerprint(string(g.RefreshToken)) {
				t.Fatalf("the chain is broken: spent %s, issued %s", e.Spent, e.Issued)
			}
			if g.RefreshToken == last.RefreshToken || tok.AccessToken != string(g.AccessToken) || !s.Active(t, tok.AccessToken) {
				t.Errorf("tokens were not replaced, or are not good")
			}
			if g.Subject != "sub-of-alice" || g.Lease != nil || g.Failure != nil || g.Status != authprofile.StatusActive {
				t.Errorf("after a refresh: got %v", g)
			}
			last = g
		}
	})
}

// One goroutine of one process asks the provider, however many want a token.
// A second request would end the grant at these servers.
func TestManyAtExpiry(t *testing.T) {
	atEach(t, func(t *testing.T, s *authservers.Server) {
		store, p, key := connected(t, s)
		for round := range 2 {
			expire(t, store, key)
			before := s.Token.Count("refresh_token")
			release := make(chan struct{})
			s.Token.Set(tokenswitch.Fault{Grant: "refresh_token", Until: release})

			const processes, callers = 4, 8
			var wg sync.WaitGroup
			tokens := make(chan string, processes*callers)
			for range processes {
				src := newManager(t, store).Source(t.Context(), p, authprofile.AsUser("alice"))
				for range callers {
					wg.Go(func() {
						tok, err := src.Token()
						if err != nil {
							t.Errorf("Token: %v", err)
							return
						}
						tokens <- tok.AccessToken
					})
				}
			}
			s.Token.Await(t, "a refresh", func(log []tokenswitch.Exchange) bool { return s.Token.Count("refresh_token") > before })
			close(release)
			wg.Wait()
			close(tokens)

			want := string(stored(t, store, key).AccessToken)
			n := 0
			for tok := range tokens {
				n++
				if tok != want {
					t.Errorf("a caller got another token than the one that is stored")
				}
			}
			if n != processes*callers {
				t.Errorf("%d of %d callers got a token", n, processes*callers)
			}
			if n := s.Token.Count("refresh_token") - before; n != 1 {
				t.Errorf("round %d: got %d refreshes, want 1", round, n)
			}
			if !s.Active(t, want) {
				t.Errorf("round %d: the token is not good", round)
			}
		}
	})
}

func TestRevoke(t *testing.T) {
	atEach(t, func(t *testing.T, s *authservers.Server) {
		store, p, key := connected(t, s)
		g := stored(t, store, key)
		m := newManager(t, store)
		if err := m.Revoke(t.Context(), key); err != nil {
			t.Errorf("Revoke: %v", err)
		}
		if s.Active(t, string(g.AccessToken)) || s.Active(t, string(g.RefreshToken)) {
			t.Errorf("tokens live on at the provider")
		}
		if _, err := m.Grant(t.Context(), key); !errors.Is(err, authprofile.ErrNotFound) {
			t.Errorf("the grant afterwards: got %v, want ErrNotFound", err)
		}
		before := len(s.Token.Log())
		if _, err := m.Token(t.Context(), p, authprofile.AsUser("alice")); !errors.Is(err, authprofile.ErrReauthorize) {
			t.Errorf("Token afterwards: got %v, want ErrReauthorize", err)
		}
		if n := len(s.Token.Log()) - before; n != 0 {
			t.Errorf("the provider was asked %d times for a grant that is gone", n)
		}
	})
}

// What a renewal brings for a grant that is revoked meanwhile is not kept, and
// does not live on at the provider.
func TestRevokeDuringRefresh(t *testing.T) {
	atEach(t, func(t *testing.T, s *authservers.Server) {
		store, p, key := connected(t, s)
		expire(t, store, key)
		release := make(chan struct{})
		s.Token.Set(tokenswitch.Fault{At: tokenswitch.Answer, Until: release})
		m := newManager(t, store)
		done := make(chan error, 1)
		go func() {
			_, err := m.Token(t.Context(), p, authprofile.AsUser("alice"))
			done <- err
		}()
		s.Token.Await(t, "a committed refresh", func(log []tokenswitch.Exchange) bool {
			e := log[len(log)-1]
			return e.Grant == "refresh_token" && !e.Committed.IsZero()
		})
		m.Revoke(t.Context(), key) // what the provider thinks of it matters less
		close(release)
		if err := <-done; err == nil {
			t.Errorf("Token: got a token of a revoked grant")
		}
		if err := m.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		if g, err := store.Grant(t.Context(), key); !errors.Is(err, authprofile.ErrNotFound) {
			t.Errorf("the grant has come back: %v, %v", g, err)
		}
		if e := latest(s); s.Active(t, e.Issued) || s.Active(t, e.Access) {
			t.Errorf("tokens that nobody has live on at the provider")
		}
	})
}

func TestRevokedAtProvider(t *testing.T) {
	atEach(t, func(t *testing.T, s *authservers.Server) {
		store, p, key := connected(t, s)
		s.Revoke(t, authservers.Web, string(stored(t, store, key).RefreshToken))
		expire(t, store, key)
		for range 2 {
			_, err := newManager(t, store).Token(t.Context(), p, authprofile.AsUser("alice"))
			if !errors.Is(err, authprofile.ErrReauthorize) || errorCode(err) != "invalid_grant" {
				t.Errorf("Token: got %v with code %q, want ErrReauthorize with invalid_grant", err, errorCode(err))
			}
		}
		if n := s.Token.Count("refresh_token"); n != 1 {
			t.Errorf("got %d refreshes, want 1: a dead grant is not tried again", n)
		}
		g := stored(t, store, key)
		if g.Status != authprofile.StatusNeedsReauthorization || g.Failure == nil || g.Failure.Reason != authprofile.ReasonRevoked {
			t.Errorf("grant: got %v, want needs_reauthorization, revoked", g)
		}

		m := newManager(t, store)
		connect(t, m, p, "alice")
		if tok, err := m.Token(t.Context(), p, authprofile.AsUser("alice")); err != nil || !s.Active(t, tok.AccessToken) {
			t.Errorf("after another authorization: got %v, want an active token", err)
		}
	})
}

// A wrong secret costs nobody an authorization.
func TestWrongSecret(t *testing.T) {
	atEach(t, func(t *testing.T, s *authservers.Server) {
		store, p, key := connected(t, s)
		m := newManager(t, store)
		good, refreshToken := p.ClientSecret, stored(t, store, key).RefreshToken
		p.ClientSecret = "an old secret"
		save(t, m, p)

		expire(t, store, key)
		_, err := m.Token(t.Context(), p, authprofile.AsUser("alice"))
		if !errors.Is(err, authprofile.ErrConfiguration) || errorCode(err) != "invalid_client" {
			t.Errorf("Token: got %v with code %q, want ErrConfiguration with invalid_client", err, errorCode(err))
		}
		g := stored(t, store, key)
		if g.Status != authprofile.StatusNeedsConfiguration || g.RefreshToken != refreshToken {
			t.Errorf("grant: got %v, want needs_configuration and the refresh token kept", g)
		}
		_, err = m.Finish(t.Context(), "bob", visit(t, m, p, "bob", authservers.Person{Name: "bob"}))
		if !errors.Is(err, authprofile.ErrConfiguration) {
			t.Errorf("Finish: got %v, want ErrConfiguration", err)
		}
		if _, err := m.Grant(t.Context(), authprofile.GrantKey{ProfileID: p.ID, User: "bob"}); !errors.Is(err, authprofile.ErrNotFound) {
			t.Errorf("a failed Finish stored a grant: %v", err)
		}

		p.ClientSecret = good
		save(t, m, p)
		tok, err := m.Token(t.Context(), p, authprofile.AsUser("alice"))
		if err != nil || !s.Active(t, tok.AccessToken) {
			t.Errorf("with the right secret again: got %v, want an active token", err)
		}
		if got := stored(t, store, key); got.Status != authprofile.StatusActive || got.Failure != nil {
			t.Errorf("with the right secret again: got %v, want active", got)
		}

		app := appProfile(s)
		app.ClientSecret = "an old secret"
		save(t, m, app)
		if _, err := m.Token(t.Context(), app); !errors.Is(err, authprofile.ErrConfiguration) {
			t.Errorf("app: got %v, want ErrConfiguration", err)
		}
		app.ClientSecret = authprofile.Secret(authservers.App.Secret)
		save(t, m, app)
		if _, err := m.Token(t.Context(), app); err != nil {
			t.Errorf("app with the right secret again: %v", err)
		}
	})
}

func TestDenied(t *testing.T) {
	atEach(t, func(t *testing.T, s *authservers.Server) {
		m := newManager(t, nil)
		p := userProfile(s, authservers.Web)
		save(t, m, p)
		query := visit(t, m, p, "alice", authservers.Person{Name: "alice", Deny: true})
		if _, err := m.Finish(t.Context(), "alice", query); errorCode(err) != "access_denied" {
			t.Errorf("Finish: got %v, want the code access_denied", err)
		}
		if _, err := m.Grant(t.Context(), authprofile.GrantKey{ProfileID: p.ID, User: "alice"}); !errors.Is(err, authprofile.ErrNotFound) {
			t.Errorf("grant: got %v, want ErrNotFound", err)
		}
		if n := len(s.Token.Log()); n != 0 {
			t.Errorf("got %d token requests, want none", n)
		}
		// Who has said no may yet say yes.
		connect(t, m, p, "alice")
	})
}

// A code that comes back to the wrong person, or with another issuer's name,
// or twice, never reaches the token endpoint.
func TestCallbackRefused(t *testing.T) {
	atEach(t, func(t *testing.T, s *authservers.Server) {
		m := newManager(t, nil)
		p := userProfile(s, authservers.Web)
		save(t, m, p)
		come := func() url.Values { return visit(t, m, p, "alice", authservers.Person{Name: "alice"}) }
		refused := func(what, user string, query url.Values, want error) {
			t.Helper()
			before := len(s.Token.Log())
			switch _, err := m.Finish(t.Context(), user, query); {
			case err == nil:
				t.Errorf("%s: Finish took it", what)
			case want != nil && !errors.Is(err, want):
				t.Errorf("%s: got %v, want %v", what, err, want)
			case errorCode(err) != "":
				t.Errorf("%s: the callback's error code was believed: %v", what, err)
			}
			if n := len(s.Token.Log()) - before; n != 0 {
				t.Errorf("%s: got %d token requests, want none", what, n)
			}
		}

		refused("another user", "mallory", come(), authprofile.ErrUserMismatch)
		query := come()
		query.Set("iss", "https://attacker.example")
		refused("another issuer", "alice", query, nil)
		if s.Name == "oidc-provider" {
			query = come()
			if query.Get("iss") != s.Issuer {
				t.Errorf("the server does not name itself: %v", query)
			}
			query.Del("iss")
			refused("no issuer", "alice", query, nil)
			query = visit(t, m, p, "alice", authservers.Person{Name: "alice", Deny: true})
			query.Del("iss")
			refused("an error from no issuer", "alice", query, nil)
		}
		query = come()
		if _, err := m.Finish(t.Context(), "alice", query); err != nil {
			t.Fatalf("Finish: %v", err)
		}
		refused("the same callback again", "alice", query, authprofile.ErrNotFound)
	})
}

func TestAnotherAccount(t *testing.T) {
	atEach(t, func(t *testing.T, s *authservers.Server) {
		store, p, key := connected(t, s)
		before := stored(t, store, key)
		m := newManager(t, store)
		_, err := m.Finish(t.Context(), "alice", visit(t, m, p, "alice", authservers.Person{Name: "bob"}))
		if !errors.Is(err, authprofile.ErrUserMismatch) {
			t.Errorf("another account: got %v, want ErrUserMismatch", err)
		}
		if got := stored(t, store, key); got.RefreshToken != before.RefreshToken || got.Subject != "sub-of-alice" {
			t.Errorf("another account replaced the grant: %v", got)
		}
		if !s.Active(t, string(before.AccessToken)) {
			t.Errorf("another account ended the token that is there")
		}
	})
}

// Tokens that live for three seconds, in two processes under load: no call of
// the API fails, and no refresh token is spent twice. At fosite each refresh
// ends the token that others are just using.
func TestUnderLoad(t *testing.T) {
	require.Long(t, "tokens that end every three seconds under load")
	for _, start := range []func(testing.TB, authservers.Options) *authservers.Server{authservers.Fosite, authservers.OIDCProvider} {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			s := start(t, authservers.Options{TokenLife: 3 * time.Second})
			store, p, key := connected(t, s)
			const rounds = 2
			var wg sync.WaitGroup
			for range 2 {
				client := newManager(t, store).Client(t.Context(), p, authprofile.AsUser("alice"))
				for range 3 {
					wg.Go(func() {
						for s.Token.Count("refresh_token") < rounds+1 && !t.Failed() {
							if status, _ := callAPI(t, s, client); status != http.StatusOK {
								t.Errorf("API: got status %d, want 200", status)
							}
						}
					})
				}
			}
			wg.Wait()
			s.Token.Await(t, "the last answer", func(log []tokenswitch.Exchange) bool { return !log[len(log)-1].Answered.IsZero() })

			issued := ""
			for i, e := range s.Token.Log() {
				if e.Status != http.StatusOK || i > 0 && e.Spent != issued {
					t.Errorf("exchange %d breaks the chain: %+v", i, e)
				}
				issued = e.Issued
			}
			if g := stored(t, store, key); g.Failure != nil {
				t.Errorf("grant: got %v, want active", g)
			}
		})
	}
}

// A request that never arrived, a provider that is out of order for a moment,
// a caller that hangs up: none of them costs the grant.
func TestFaultsBeforeCommit(t *testing.T) {
	require.Long(t, "requests that do not reach an authorization server")
	atEach(t, func(t *testing.T, s *authservers.Server) {
		for _, fault := range []struct {
			name string
			tokenswitch.Fault
			reason authprofile.Reason // noted if the first attempt fails; empty: it must not
		}{
			{"request lost once", tokenswitch.Fault{Times: 1, Then: tokenswitch.Drop}, ""},
			{"requests lost", tokenswitch.Fault{Times: 2, Then: tokenswitch.Drop}, authprofile.ReasonLost},
			{"503", tokenswitch.Fault{Times: 1, Then: tokenswitch.Reply, Status: 503, Body: "<html>busy</html>"}, authprofile.ReasonUnavailable},
			{"HTML with 200", tokenswitch.Fault{Times: 1, Then: tokenswitch.Reply, Status: 200, Body: "<html>hello</html>"}, authprofile.ReasonUnreadable},
			{"429", tokenswitch.Fault{Times: 1, Then: tokenswitch.Reply, Status: 429, Header: http.Header{"Retry-After": {"1"}}, Body: `{"error":"slow_down"}`}, authprofile.ReasonUnavailable},
		} {
			t.Run(fault.name, func(t *testing.T) {
				store, p, key := connected(t, s)
				m := newManager(t, store)
				expire(t, store, key)
				s.Token.Set(fault.Fault)
				tok, err := m.Token(t.Context(), p, authprofile.AsUser("alice"))
				if fault.reason == "" && err != nil {
					t.Fatalf("Token: %v", err)
				}
				if fault.reason != "" {
					g := stored(t, store, key)
					if err == nil || g.Status != authprofile.StatusFailing || g.Failure.Reason != fault.reason {
						t.Fatalf("got %v and %v, want failing, %s", err, g, fault.reason)
					}
					tok = eventually(t, m, p)
				}
				if !s.Active(t, tok.AccessToken) {
					t.Errorf("the token is not good")
				}
				if e, g := latest(s), stored(t, store, key); e.Issued != providertest.Fingerprint(string(g.RefreshToken)) || g.Failure != nil {
					t.Errorf("the stored refresh token is not the last that was issued, or a failure is left: %v", g)
				}
			})
		}
	})
}

// A network that is down for a while, and one that drips.
func TestBadNetwork(t *testing.T) {
	require.Long(t, "a network that is down, and one that drips")
	atEach(t, func(t *testing.T, s *authservers.Server) {
		u, err := url.Parse(s.TokenURL)
		if err != nil {
			t.Fatal(err)
		}
		network := authservers.Toxic(t, u.Host)
		u.Host = network.Addr
		store := new(authprofile.MemStore)
		p := userProfile(s, authservers.Web)
		p.Endpoints = authprofile.Endpoints{AuthURL: s.AuthURL, TokenURL: u.String()}
		m := newManager(t, store)
		save(t, m, p)
		key := connect(t, m, p, "alice").GrantKey

		expire(t, store, key)
		before := stored(t, store, key).RefreshToken
		network.Down()
		m = newManager(t, store)
		if _, err := m.Token(t.Context(), p, authprofile.AsUser("alice")); err == nil || errors.Is(err, authprofile.ErrReauthorize) {
			t.Errorf("while the network is down: got %v, want an error that passes", err)
		}
		if g := stored(t, store, key); g.Status != authprofile.StatusFailing || g.Failure.Reason != authprofile.ReasonUnreachable || g.RefreshToken != before {
			t.Errorf("while the network is down: got %v, want failing, unreachable", g)
		}
		network.Up(t)
		if tok := eventually(t, m, p); !s.Active(t, tok.AccessToken) {
			t.Errorf("when the network is back: the token is not good")
		}

		expire(t, store, key)
		network.Add(t, "slicer", "downstream", map[string]int{"average_size": 40, "delay": 5000})
		tok, err := newManager(t, store).Token(t.Context(), p, authprofile.AsUser("alice"))
		if err != nil || !s.Active(t, tok.AccessToken) {
			t.Errorf("by a network that drips: got %v, want an active token", err)
		}
		if n := s.Token.Count("refresh_token"); n != 2 {
			t.Errorf("got %d refreshes, want 2", n)
		}
	})
}

// eventually asks until there is a token, for at most ten seconds.
func eventually(t *testing.T, m *authprofile.Manager, p *authprofile.Profile) *oauth2.Token {
	t.Helper()
	limit := time.NewTimer(10 * time.Second)
	defer limit.Stop()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		tok, err := m.Token(t.Context(), p, authprofile.AsUser("alice"))
		if err == nil {
			return tok
		}
		select {
		case <-tick.C:
		case <-limit.C:
			t.Fatalf("no token after ten seconds: %v", err)
		}
	}
}

// The answer of a strict server is lost: nobody can save this grant, but the
// application must learn what has happened.
func TestAnswerLost(t *testing.T) {
	atEach(t, func(t *testing.T, s *authservers.Server) {
		store, p, key := connected(t, s)
		expire(t, store, key)
		s.Token.Set(tokenswitch.Fault{Times: 1, At: tokenswitch.Answer, Then: tokenswitch.Drop})
		_, err := newManager(t, store).Token(t.Context(), p, authprofile.AsUser("alice"))
		if !errors.Is(err, authprofile.ErrReauthorize) {
			t.Errorf("got %v, want ErrReauthorize", err)
		}
		if g := stored(t, store, key); g.Failure == nil || g.Failure.Reason != authprofile.ReasonInterrupted {
			t.Errorf("got %v, want needs_reauthorization, interrupted", g)
		}
		if n := s.Token.Count("refresh_token"); n != 2 {
			t.Errorf("got %d refreshes, want 2: the lost one, and one more at once", n)
		}
	})
}

// Callers that stop waiting do not stop the renewal: what the provider issues
// is stored.
func TestCallerHangsUp(t *testing.T) {
	atEach(t, func(t *testing.T, s *authservers.Server) {
		store, p, key := connected(t, s)
		expire(t, store, key)
		release := make(chan struct{})
		s.Token.Set(tokenswitch.Fault{At: tokenswitch.Answer, Until: release})
		m := newManager(t, store)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() {
			_, err := m.Token(ctx, p, authprofile.AsUser("alice"))
			done <- err
		}()
		s.Token.Await(t, "a committed refresh", func(log []tokenswitch.Exchange) bool {
			e := log[len(log)-1]
			return e.Grant == "refresh_token" && !e.Committed.IsZero()
		})
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("a caller that hung up got %v, want context.Canceled", err)
		}
		close(release)
		tok, err := m.Token(t.Context(), p, authprofile.AsUser("alice"))
		if err != nil || !s.Active(t, tok.AccessToken) {
			t.Errorf("the next caller: got %v, want an active token", err)
		}
		if e, g := latest(s), stored(t, store, key); e.Issued != providertest.Fingerprint(string(g.RefreshToken)) {
			t.Errorf("what was issued is not what is stored")
		}
		if n := s.Token.Count("refresh_token"); n != 1 {
			t.Errorf("got %d refreshes, want 1", n)
		}
	})
}

// An API refuses a token that looks valid: the client gets another one and
// repeats the request. Other processes that hold the refused token take over
// the new one from the store.
func TestAPIRefuses(t *testing.T) {
	atEach(t, func(t *testing.T, s *authservers.Server) {
		store, p, key := connected(t, s)
		g := stored(t, store, key)
		g.Obtained = time.Now().Add(-time.Hour)
		if err := store.PutGrant(t.Context(), g); err != nil {
			t.Fatal(err)
		}
		var clients []*http.Client
		for range 2 {
			c := newManager(t, store).Client(t.Context(), p, authprofile.AsUser("alice"))
			if status, _ := callAPI(t, s, c); status != http.StatusOK {
				t.Fatalf("API: got status %d, want 200", status)
			}
			clients = append(clients, c)
		}

		s.Refuse(string(g.AccessToken))
		for i, c := range clients {
			if status, subject := callAPI(t, s, c); status != http.StatusOK || subject != "sub-of-alice" {
				t.Errorf("client %d: got status %d and subject %q, want 200 and sub-of-alice", i, status, subject)
			}
		}
		if n := s.Token.Count("refresh_token"); n != 1 {
			t.Errorf("got %d refreshes, want 1", n)
		}

		// Once the grant has ended, the API's own answer is what counts.
		s.Revoke(t, authservers.Web, string(stored(t, store, key).RefreshToken))
		if status, _ := callAPI(t, s, clients[0]); status != http.StatusUnauthorized {
			t.Errorf("after revocation: got status %d, want 401", status)
		}
	})
}
