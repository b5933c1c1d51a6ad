// Package world gives the tests of the connectors a provider on loopback, and a
// Manager with profiles at it.
package world

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/authprofile/authprofile"
	"github.com/authprofile/authprofile/providertest"
)

// A World is a provider and an application that is registered at it.
type World struct {
	Provider *providertest.Server
	Manager  *authprofile.Manager
	App      *authprofile.Profile // of TypeApp
	Users    *authprofile.Profile // of TypeUser; no user has authorized yet

	requests atomic.Int32 // to the provider that are under way
	closed   atomic.Bool  // no token is accepted: see RefuseAll
	mu       sync.Mutex
	given    []string // the tokens that Token and Refuse have seen
}

// New returns a World that ends with the test.
func New(t testing.TB) *World {
	t.Helper()
	w := &World{Provider: providertest.NewServer(t)}
	w.Provider.SetSigning(providertest.ES256) // its keys are made more quickly
	w.Manager = &authprofile.Manager{
		HTTPClient:  &http.Client{Transport: w},
		RedirectURL: "https://app.example.com/callback",
	}
	t.Cleanup(func() {
		w.Provider.Release()
		w.Manager.Shutdown(context.Background())
	})
	profile := func(id string, typ authprofile.Type) *authprofile.Profile {
		p := &authprofile.Profile{
			ID: id, Type: typ, ClientID: providertest.ClientID, ClientSecret: providertest.ClientSecret,
			Endpoints: authprofile.Endpoints{DiscoveryURL: w.Provider.DiscoveryURL()},
		}
		if err := w.Manager.Save(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		return p
	}
	w.App = profile("app", authprofile.TypeApp)
	w.Users = profile("users", authprofile.TypeUser)
	return w
}

// RoundTrip counts the requests to the provider that are under way.
func (w *World) RoundTrip(r *http.Request) (*http.Response, error) {
	w.requests.Add(1)
	defer w.requests.Add(-1)
	return http.DefaultTransport.RoundTrip(r)
}

// Accepts reports whether the provider takes an access token.
func (w *World) Accepts(token string) bool {
	w.mu.Lock()
	w.given = append(w.given, token)
	w.mu.Unlock()
	r, err := http.NewRequest(http.MethodGet, w.Provider.APIURL(), nil)
	if err != nil {
		return false
	}
	r.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return false
	}
	resp.Body.Close()
	return resp.StatusCode == http.StatusOK && !w.closed.Load()
}

// AcceptsHeader is Accepts for the value of a header.
func (w *World) AcceptsHeader(value string) bool {
	token, found := strings.CutPrefix(value, "Bearer ")
	return found && w.Accepts(token)
}

// Refuse makes the provider refuse the token that the application has, which
// does not know of it.
func (w *World) Refuse(t testing.TB) {
	t.Helper()
	tok, err := w.Manager.Token(t.Context(), w.App)
	if err != nil {
		t.Fatal(err)
	}
	if !w.Provider.Revoke(tok.AccessToken) {
		t.Fatal("got a token that is not in force, want one that can be revoked")
	}
}

// RefuseAll makes Accepts refuse whatever it is given.
func (w *World) RefuseAll() { w.closed.Store(true) }

// Fail makes all token requests fail in the way of a provider that is away.
func (w *World) Fail() {
	w.Provider.Fault(providertest.Token, providertest.Fault{Times: -1, Status: http.StatusServiceUnavailable})
}

// WantRequests fails the test if the provider was asked another number of times
// for tokens of App.
func (w *World) WantRequests(t testing.TB, want int) {
	t.Helper()
	if got := w.Provider.Count("client_credentials"); got != want {
		t.Errorf("got %d token requests, want %d", got, want)
	}
}

// EndsWithContext tests that a call which needs a token returns when its context
// ends, though the provider has not answered. It returns the error of the call.
func (w *World) EndsWithContext(t testing.TB, call func(ctx context.Context) error) error {
	t.Helper()
	w.Provider.Fault(providertest.Token, providertest.Fault{Times: -1, Hang: true})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		w.Provider.AwaitHang(t.Context(), 1)
		cancel()
	}()
	err := call(ctx)
	if err == nil {
		t.Error("got no error, want one: the context has ended")
	}
	if w.requests.Load() == 0 {
		t.Error("the call has waited for the provider, want it to end with its context")
	}
	w.Provider.ClearFaults(providertest.Token)
	w.Provider.Release()
	return err
}

// WantNoToken fails the test if a text has one of the tokens that were shown to
// a server.
func (w *World) WantNoToken(t testing.TB, texts ...string) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.given) == 0 {
		t.Error("no server was shown a token, want one at least")
	}
	for _, text := range texts {
		for _, token := range w.given {
			if token != "" && strings.Contains(text, token) {
				t.Error("got a text with a token in it, want none")
			}
		}
	}
}

// TLS returns what a server on loopback and its clients need for TLS.
func TLS(t testing.TB) (server, client *tls.Config) {
	t.Helper()
	srv := httptest.NewTLSServer(nil)
	defer srv.Close()
	roots := x509.NewCertPool()
	roots.AddCert(srv.Certificate())
	return &tls.Config{Certificates: srv.TLS.Certificates}, &tls.Config{RootCAs: roots, ServerName: "example.com"}
}
