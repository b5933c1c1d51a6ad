package authprofile_test

import (
	"context"
	"testing"

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
}

func newWorld(t *testing.T) *world {
	w := &world{T: t, srv: providertest.NewServer(t, providertest.InMemory(issuer)), store: new(authprofile.MemStore)}
	w.m = w.manager()
	return w
}

// manager returns another Manager on the same Store, as another process would
// have.
func (w *world) manager() *authprofile.Manager {
	m := &authprofile.Manager{Store: w.store, HTTPClient: w.srv.Client(), RedirectURL: "https://app.example.com/callback"}
	w.Cleanup(func() { m.Shutdown(context.Background()) })
	return m
}

func (w *world) save(p *authprofile.Profile) *authprofile.Profile {
	w.Helper()
	if err := w.m.Save(w.Context(), p); err != nil {
		w.Fatal(err)
	}
	return p
}

func (w *world) app() *authprofile.Profile {
	w.Helper()
	return w.save(&authprofile.Profile{
		ID: "app", Type: authprofile.TypeApp, ClientID: providertest.ClientID, ClientSecret: providertest.ClientSecret,
		Endpoints: authprofile.Endpoints{TokenURL: w.srv.TokenURL()},
		Scopes:    []string{"read"},
	})
}

func (w *world) user() *authprofile.Profile {
	w.Helper()
	return w.save(&authprofile.Profile{
		ID: "crm", Type: authprofile.TypeUser, ClientID: providertest.ClientID, ClientSecret: providertest.ClientSecret,
		Endpoints: authprofile.Endpoints{DiscoveryURL: w.srv.DiscoveryURL()},
		Scopes:    []string{"openid", "read", "offline_access"},
	})
}

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

func (w *world) token(m *authprofile.Manager, p *authprofile.Profile, opts ...authprofile.Option) string {
	w.Helper()
	tok, err := m.Token(w.Context(), p, opts...)
	if err != nil {
		w.Fatal(err)
	}
	return tok.AccessToken
}
