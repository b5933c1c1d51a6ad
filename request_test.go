package authprofile_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/oauth2"

	"github.com/authprofile/authprofile"
	"github.com/authprofile/authprofile/egress"
	"github.com/authprofile/authprofile/providertest"
)

func TestThreat092_093_094_ClientAuthentication(t *testing.T) {
	const id, secret = `c:l% +i/e\n"t`, `:s% +&=/\"'~`
	for _, test := range []struct {
		name, secret string
		method, want authprofile.AuthMethod
	}{
		{"091 form-encoded", secret, "", authprofile.AuthBasic},
		{"091 raw", secret, authprofile.AuthBasicRaw, authprofile.AuthBasicRaw},
		{"091 post", secret, authprofile.AuthPost, authprofile.AuthPost},
		{"095 public client", "", "", authprofile.AuthNone},
	} {
		t.Run(test.name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				id := id
				if test.method == authprofile.AuthBasicRaw {
					id = strings.ReplaceAll(id, ":", "") // which a provider cannot tell from the separator
				}
				w.srv.AddClient(providertest.Client{ID: id, Secret: test.secret, AuthMethods: []string{string(test.want)}})
				p := w.save(&authprofile.Profile{
					ID: "crm", Type: authprofile.TypeUser, ClientID: id, ClientSecret: authprofile.Secret(test.secret), AuthMethod: test.method,
					Endpoints: authprofile.Endpoints{AuthURL: w.srv.AuthURL(), TokenURL: w.srv.TokenURL()},
					Scopes:    []string{"offline_access"},
				})
				w.authorize(p, "ada")
				expire()
				w.token(w.m, p, asAda)
				for _, c := range w.srv.Captured() {
					if c.Endpoint != providertest.Token {
						continue
					}
					form, err := url.ParseQuery(c.Body)
					if err != nil {
						t.Fatal(err)
					}
					inHeader, inBody := c.Header.Get("Authorization") != "", form.Has("client_secret")
					if inHeader && (inBody || form.Has("client_id")) {
						t.Error("got two ways to authenticate in one request, want one")
					}
					if test.want == authprofile.AuthNone && (inHeader || inBody || form.Get("client_id") != id) {
						t.Errorf("got header %q and form %v, want the client ID alone", c.Header.Get("Authorization"), form)
					}
					if strings.Contains(c.URL, "?") {
						t.Errorf("got %q, want nothing in the address", c.URL)
					}
				}
				if got := w.srv.Count(""); got != 2 {
					t.Errorf("got %d token requests, want one for each grant", got)
				}
			})
		})
	}
	t.Run("092 no other way is tried", func(t *testing.T) {
		inWorld(t, func(t *testing.T, w *world) {
			w.srv.AddClient(providertest.Client{ID: "c", Secret: "s", AuthMethods: []string{"client_secret_post"}})
			p := w.save(&authprofile.Profile{
				ID: "crm", Type: authprofile.TypeUser, ClientID: "c", ClientSecret: "s", AuthMethod: authprofile.AuthBasic,
				Endpoints: authprofile.Endpoints{AuthURL: w.srv.AuthURL(), TokenURL: w.srv.TokenURL()},
			})
			w.finishFails("ada", w.consent(w.begin(p, "ada")), authprofile.ErrConfiguration)
			w.asked("authorization_code", 1)
			w.noGrant(ada)
		})
	})
}

func TestConformance_ClientAuthentication(t *testing.T) {
	for _, test := range []struct {
		name, secret string
		listed       []any // by the provider; nil: nothing
		want         authprofile.AuthMethod
	}{
		{"basic", rpSecret, []any{"client_secret_basic"}, authprofile.AuthBasic},
		{"post", rpSecret, []any{"client_secret_post"}, authprofile.AuthPost},
		{"basic before post", rpSecret, []any{"client_secret_post", "client_secret_basic"}, authprofile.AuthBasic},
		{"beside others", rpSecret, []any{"private_key_jwt", "none", "client_secret_post"}, authprofile.AuthPost},
		{"only others", rpSecret, []any{"private_key_jwt", "tls_client_auth"}, authprofile.AuthBasic},
		{"not listed", rpSecret, nil, authprofile.AuthBasic},
		{"public", "", []any{"none"}, authprofile.AuthNone},
	} {
		t.Run(test.name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				p := w.relyingParty()
				w.srv.AddClient(providertest.Client{ID: rpID, Secret: test.secret, AuthMethods: []string{string(test.want)}})
				w.srv.Mutate(providertest.Discovery, func(answer map[string]any) {
					delete(answer, "token_endpoint_auth_methods_supported")
					if test.listed != nil {
						answer["token_endpoint_auth_methods_supported"] = test.listed
					}
				})
				p.ClientSecret = authprofile.Secret(test.secret)
				w.save(p)
				w.authorize(p, "ada")
				expire()
				w.token(w.m, p, asAda)
				requests := w.srv.Requests()
				for _, r := range requests {
					if r.AuthMethod != string(test.want) || r.Status != 200 {
						t.Errorf("got %s by %q with status %d, want %q to be accepted", r.Grant, r.AuthMethod, r.Status, test.want)
					}
				}
				if len(requests) != 2 {
					t.Errorf("got %d token requests, want one for the login and one for the renewal", len(requests))
				}
			})
		})
	}
}

// TestThreat100_SecretRotatesDuringARequest: a request uses one secret from
// beginning to end, and the next one the new secret.
func TestThreat100_SecretRotatesDuringARequest(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.adasProfile()
		expire()
		w.srv.Fault(providertest.Token, providertest.Fault{Hang: true, Committed: true})
		done := make(chan error)
		go func() {
			_, err := w.m.Token(t.Context(), p, asAda)
			done <- err
		}()
		if err := w.srv.AwaitHang(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		w.srv.SetClientSecret(providertest.ClientID, "next")
		edited := w.user2()
		edited.ClientSecret = "next"
		w.save(edited)
		w.srv.Release()
		if err := <-done; err != nil {
			t.Errorf("got %v, want the request to end as it began", err)
		}
		w.healthy(ada)
		expire()
		w.token(w.m, p, asAda) // p still has the old secret
		w.healthy(ada)
		w.asked("refresh_token", 2)
	})
}

func TestOAuth2_SecretsAreNotPostedElsewhere(t *testing.T) {
	for _, status := range []int{301, 302, 303, 307, 308} {
		t.Run(fmt.Sprint("067 ", status), func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				user, appProfile := w.adasProfile(), w.app()
				before := w.grant(ada).RefreshToken
				proc := w.process()
				asked := 0
				strayed := w.elsewhere(proc, w.srv.TokenURL(), func() *http.Response {
					asked++
					return redirect(status, "https://evil.example.com/token")
				})
				query := w.consent(w.begin(user, "bob"))
				if g, err := proc.Finish(t.Context(), "bob", query); err == nil {
					t.Errorf("got %v, want an error", g)
				}
				expire()
				w.refuses(proc.Manager, user, nil, asAda)
				w.refuses(proc.Manager, appProfile, nil)
				if asked != 3 {
					t.Errorf("got %d token requests, want one for the code, the refresh token and the secret each", asked)
				}
				if g := w.grant(ada); g.RefreshToken != before || !w.srv.IsCurrent(string(before)) {
					t.Error("got a grant without the refresh token, want it kept")
				}
				stray := w.elsewhere(proc, w.srv.RevocationURL(), func() *http.Response {
					return redirect(status, "https://evil.example.com/revoke")
				})
				if err := proc.Revoke(t.Context(), ada); err == nil {
					t.Error("got no error of a revocation that was redirected, want one")
				}
				if all := append(*strayed, *stray...); len(all) != 0 {
					t.Errorf("got requests elsewhere: %q, want none", all)
				}
			})
		})
	}
}

func TestOAuth2_RefreshTokensAreNotSentTwice(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.srv.AddClient(providertest.Client{ID: rpID, Secret: rpSecret})
		p := w.save(&authprofile.Profile{
			ID: "crm", Type: authprofile.TypeUser, ClientID: rpID, ClientSecret: rpSecret,
			Endpoints: authprofile.Endpoints{AuthURL: w.srv.AuthURL(), TokenURL: w.srv.TokenURL()},
			Scopes:    []string{"offline_access"},
		})
		w.authorize(p, "ada")
		w.srv.AddClient(providertest.Client{ID: rpID, Secret: rpSecret, AuthMethods: []string{"client_secret_post"}})
		expire()
		w.refuses(w.m, p, authprofile.ErrConfiguration, asAda)
		w.asked("refresh_token", 1)
		w.finishFails("bob", w.consent(w.begin(p, "bob")), authprofile.ErrConfiguration)
		w.asked("authorization_code", 2)

		p.AuthMethod = authprofile.AuthPost
		w.save(p)
		w.token(w.m, p, asAda)
		w.healthy(ada)
		w.asked("refresh_token", 2)
	})
}

func TestOAuth2_BodiesAreNotInErrors(t *testing.T) {
	for name, fault := range map[string]providertest.Fault{
		"a refusal":      {Status: 400, Header: http.Header{"Content-Type": {"application/json"}}, Body: `{"error":"invalid_grant","error_description":"S3NT1NEL","error_uri":"https://S3NT1NEL","S3NT1NEL":"S3NT1NEL"}`},
		"a page":         {Status: 502, Header: http.Header{"Content-Type": {"text/html"}}, Body: `<h1>S3NT1NEL</h1>`},
		"a success":      {Status: 200, Header: http.Header{"Content-Type": {"application/json"}}, Body: `{"token_type":"S3NT1NEL","access_token":{"S3NT1NEL":1}}`},
		"a broken JSON":  {Status: 200, Header: http.Header{"Content-Type": {"application/json"}}, Body: `{"access_token":"S3NT1NEL`},
		"a header":       {Status: 500, Header: http.Header{"Www-Authenticate": {"Basic S3NT1NEL"}, "Retry-After": {"S3NT1NEL"}}},
		"a broken token": {Status: 200, Header: http.Header{"Content-Type": {"application/json"}}, Body: `{"access_token":"S3NT1NEL\u0000","token_type":"Bearer"}`},
	} {
		t.Run("135 "+name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				p := w.relyingParty()
				w.authorize(p, "ada")
				fault.Times = -1
				w.srv.Fault(providertest.Token, fault)
				w.srv.Fault(providertest.Revocation, fault)
				expire()
				check := func(err error, op string) {
					t.Helper()
					w.keepsSilent(err, op)
					var re *oauth2.RetrieveError
					if errors.As(err, &re) && (re.Body != nil || re.Response != nil && (re.Response.Body != nil || len(re.Response.Header) > 0)) {
						t.Errorf("%s: got %+v, want no body and no header", op, re)
					}
				}
				check(w.refuses(w.m, p, nil, asAda), "token")
				check(w.finishFails("bob", w.consent(w.begin(p, "bob")), nil), "finish")
				if err := w.m.Revoke(t.Context(), ada); err != nil {
					check(err, "revoke")
				}
			})
		})
	}
}

func TestOAuth2_LineBreaksInTokens(t *testing.T) {
	for _, breaker := range []string{"\r\nX-Evil: S3NT1NEL", "\n", "\r", "\x00", " ", "é"} {
		t.Run(fmt.Sprintf("075 %q", breaker), func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				p := w.relyingParty()
				w.authorize(p, "ada")
				w.srv.MutateIDToken(func(_, claims map[string]any) { delete(claims, "at_hash") })
				w.srv.Mutate(providertest.Token, func(answer map[string]any) { answer["access_token"] = "x" + breaker + "y" })
				expire()
				a := &api{provider: w.srv.Transport(), answer: func(*http.Request) *http.Response { return respond(200, "") }}
				m := &authprofile.Manager{Store: w.store, HTTPClient: &http.Client{Transport: a}}
				defer m.Shutdown(t.Context())
				if resp, err := m.Client(t.Context(), p, asAda).Get("https://api.example.com/"); err == nil {
					t.Errorf("got %v, want an error", resp)
				}
				if calls := a.calls(); len(calls) != 0 {
					t.Errorf("got %q sent to the API, want nothing", calls[0].header)
				}
				w.keepsSilent(w.refuses(m, p, nil, asAda), "token")
				if g := w.grant(ada); !w.srv.IsCurrent(string(g.RefreshToken)) {
					t.Error("got a grant without the refresh token that came with it, want it stored")
				}
				w.keepsSilent(w.finishFails("bob", w.consent(w.begin(p, "bob")), nil), "finish")
				w.noGrant(authprofile.GrantKey{ProfileID: "crm", User: "bob"})

				w.srv.Mutate(providertest.Token, nil)
				time.Sleep(time.Minute)
				w.token(m, p, asAda)
				w.healthy(ada)
			})
		})
	}
}

// A token endpoint whose address this program may not connect to is a matter
// for an operator, at Token and at Finish alike.
func TestRefusedAddress(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.user()
		p.Endpoints = authprofile.Endpoints{AuthURL: w.srv.AuthURL(), TokenURL: w.srv.TokenURL()}
		w.save(p)
		w.authorize(p, "ada")
		proc := w.process()
		proc.RedirectURL = callbackAddress
		proc.net.on(func(*http.Request) (*http.Response, error) {
			return nil, &net.OpError{Op: "dial", Net: "tcp", Err: fmt.Errorf("10.0.0.1: %w", egress.ErrRefused)}
		})
		expire()
		w.refuses(proc.Manager, p, authprofile.ErrConfiguration, asAda)
		f, err := proc.Begin(t.Context(), p, "ada")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := proc.Finish(t.Context(), "ada", w.consent(f)); !errors.Is(err, authprofile.ErrConfiguration) || !errors.Is(err, egress.ErrRefused) {
			t.Errorf("Finish: got error %v, want one that is ErrConfiguration and %v", err, egress.ErrRefused)
		}
	})
}

// TestThreat086_AppsMayAskAgain: nothing is spent by the request of an
// application, so one whose answer is lost is made again at once.
func TestThreat086_AppsMayAskAgain(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.app()
		w.srv.Fault(providertest.Token, providertest.Fault{Committed: true, Drop: true})
		w.token(w.m, p)
		w.asked("client_credentials", 2)
	})
}

// A connection breaks under a request for a token of the application: it is sent
// again, since that spends nothing, whether the profile was saved or not.
func TestBrokenConnectionOfAnApplication(t *testing.T) {
	reset := &net.OpError{Op: "read", Net: "tcp", Err: errors.New("connection reset by peer")}
	for name, fault := range map[string]func(r *http.Request) error{
		"before anything was sent": func(*http.Request) error { return reset },
		"closed before":            func(*http.Request) error { return io.EOF },
		"GOAWAY": func(r *http.Request) error {
			io.Copy(io.Discard, r.Body)
			return errors.New("http2: server sent GOAWAY and closed the connection; LastStreamID=0")
		},
		"after it was sent": func(r *http.Request) error {
			io.Copy(io.Discard, r.Body)
			return reset
		},
	} {
		for _, saved := range []bool{true, false} {
			t.Run(fmt.Sprint(name, " saved ", saved), func(t *testing.T) {
				inWorld(t, func(t *testing.T, w *world) {
					p := w.unsavedApp()
					if saved {
						w.save(p)
					}
					proc := w.process()
					sent := 0
					proc.net.on(func(r *http.Request) (*http.Response, error) {
						if sent++; sent == 1 {
							return nil, fault(r)
						}
						return proc.net.base.RoundTrip(r)
					})
					if _, err := proc.Source(t.Context(), p).Token(); err != nil {
						t.Error(err)
					}
					if sent != 2 {
						t.Errorf("got %d requests, want 2", sent)
					}
				})
			})
		}
	}
}

// What an instrumented transport makes of requests, names of spans and labels
// of metrics, has no secret in it, and does not grow with the users.
func TestThreat138_AddressesOfRequests(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.user()
		for i := range 5 {
			user := fmt.Sprint("user", i)
			w.srv.SetConsent(providertest.Consent{Subject: user})
			w.authorize(p, user)
			expire()
			w.token(w.m, p, authprofile.AsUser(user))
			if err := w.m.Revoke(t.Context(), authprofile.GrantKey{ProfileID: p.ID, User: user}); err != nil {
				t.Fatal(err)
			}
		}
		known := []string{w.srv.DiscoveryURL(), w.srv.JWKSURL(), w.srv.TokenURL(), w.srv.RevocationURL()}
		for _, c := range w.srv.Captured() {
			if c.Endpoint != providertest.Authorization && !slices.Contains(known, c.URL) {
				t.Errorf("got a request to %s, want none but to %q", c.URL, known)
			}
		}
	})
}

// The network has dropped the connection that was kept open, without a word: the
// code travels on another one.
func TestCodeTravelsOnALiveConnection(t *testing.T) {
	srv := providertest.NewServer(t)
	network := newSilentNetwork(t, parsed(t, srv.Issuer()).Host)
	tr := &http.Transport{DialContext: network.dial}
	defer tr.CloseIdleConnections()
	m := &authprofile.Manager{HTTPClient: &http.Client{Transport: tr}, RedirectURL: callbackAddress}
	defer m.Shutdown(t.Context())
	p := registered(authprofile.Profile{
		ID: "crm", Type: authprofile.TypeUser,
		Endpoints: authprofile.Endpoints{DiscoveryURL: srv.DiscoveryURL()}, Scopes: []string{"openid", "offline_access"},
	})
	if err := m.Save(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	f, err := m.Begin(t.Context(), p, "ada")
	if err != nil {
		t.Fatal(err)
	}
	back, err := srv.Authorize(f.URL)
	if err != nil {
		t.Fatal(err)
	}
	// An API call keeps a connection open.
	resp, err := (&http.Client{Transport: tr}).Get(srv.DiscoveryURL())
	if err != nil {
		t.Fatal(err)
	}
	io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
	network.silence()
	if _, err := m.Finish(t.Context(), "ada", back.Query()); err != nil {
		t.Fatal(err)
	}
}

// A silentNetwork makes connections to a server, and can drop all that there
// are without telling either side.
type silentNetwork struct {
	address string
	mu      sync.Mutex
	conns   []*silentConn
}

type silentConn struct {
	net.Conn
	silent atomic.Bool
	closed chan struct{}
	once   sync.Once
}

func newSilentNetwork(t *testing.T, address string) *silentNetwork {
	n := &silentNetwork{address: address}
	t.Cleanup(func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		for _, c := range n.conns {
			c.Close()
		}
	})
	return n
}

func (n *silentNetwork) dial(ctx context.Context, network, address string) (net.Conn, error) {
	c, err := new(net.Dialer).DialContext(ctx, network, n.address)
	if err != nil {
		return nil, err
	}
	sc := &silentConn{Conn: c, closed: make(chan struct{})}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.conns = append(n.conns, sc)
	return sc, nil
}

// silence drops all connections that there are.
func (n *silentNetwork) silence() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, c := range n.conns {
		c.silent.Store(true)
	}
}

func (c *silentConn) Write(b []byte) (int, error) {
	if c.silent.Load() {
		return len(b), nil // and it never arrives
	}
	return c.Conn.Write(b)
}

func (c *silentConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}
