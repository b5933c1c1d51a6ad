package peertest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/authprofile/authprofile"
	"github.com/authprofile/authprofile/console"
	"github.com/authprofile/authprofile/internal/peertest/authservers"
	"github.com/authprofile/authprofile/sealed"
)

// A consoleHost is a service with a console at /auth/, and connections of users at
// /connections/. It keeps its data in SQLite, sealed. The provider is at another site,
// as far as a browser is concerned.
type consoleHost struct {
	URL      string // of the service, as a browser sees it
	Outside  string // of the same behind a proxy that takes "/outside" away from addresses
	handler  *console.Handler
	manager  *authprofile.Manager
	store    authprofile.Store
	provider *authservers.Server
}

// startConsole starts a service whose provider knows the redirect address of the
// profile "crm", and takes any other that register is called with.
func startConsole(t *testing.T) *consoleHost {
	t.Helper()
	ts := httptest.NewUnstartedServer(nil)
	_, port, err := net.SplitHostPort(ts.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	keys, err := sealed.NewKeyring(sealed.Key{ID: "1", Secret: []byte(strings.Repeat("k", 32))})
	if err != nil {
		t.Fatal(err)
	}
	inner, _ := sqlite.new(t)
	s := &consoleHost{URL: "http://localhost:" + port, store: sealed.New(inner, keys)}
	s.provider = authservers.Fosite(t, authservers.Options{})
	s.manager = &authprofile.Manager{Store: s.store, RedirectURL: s.URL + "/OAuth/Callback/{profile}"}
	t.Cleanup(func() { s.manager.Shutdown(context.Background()) })

	user := func(r *http.Request) (string, error) {
		c, err := r.Cookie("session")
		if err != nil {
			return "", err
		}
		return c.Value, nil
	}
	operator := func(r *http.Request) (string, error) {
		name, err := user(r)
		if err == nil && name != "olga" {
			err = errors.New("not an operator")
		}
		return name, err
	}
	redirect := &authprofile.RedirectHandler{Manager: s.manager, User: user}
	s.handler = &console.Handler{Manager: s.manager, Operator: operator, Redirect: redirect, ConnectionsURL: s.URL + "/connections/"}
	connections := &console.Connections{Redirect: redirect, Profiles: []string{"crm"}}
	if err := errors.Join(s.handler.Validate(), connections.Validate()); err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /login", func(w http.ResponseWriter, r *http.Request) {
		http.SetCookie(w, &http.Cookie{Name: "session", Value: r.FormValue("as"), Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode})
		fmt.Fprintln(w, "Welcome.")
	})
	for path, h := range map[string]http.Handler{"/auth": s.handler, "/connections": connections} {
		mux.Handle(path, http.StripPrefix(path, h))
		mux.Handle(path+"/", http.StripPrefix(path, h))
	}
	mux.Handle("/OAuth/Callback/", redirect)
	mux.HandleFunc("/favicon.ico", http.NotFound)
	ts.Config.Handler = mux
	ts.Start()
	t.Cleanup(func() {
		ts.CloseClientConnections()
		ts.Close()
	})
	return s
}

// behindProxy puts a proxy before the service that takes "/outside" away from the
// addresses of the console. Providers send browsers back to the proxy, too.
func (s *consoleHost) behindProxy(t *testing.T) {
	t.Helper()
	service, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	forward := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(service)
		r.Out.URL.Path = strings.TrimPrefix(r.In.URL.Path, "/outside")
		r.Out.URL.RawPath = ""
	}}
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// An answer may begin before the proxy has seen that the form is at its end.
		// Without this, a ReverseProxy then cuts the answer off.
		if err := http.NewResponseController(w).EnableFullDuplex(); err != nil {
			t.Error(err)
		}
		forward.ServeHTTP(w, r)
	}))
	t.Cleanup(proxy.Close)
	_, port, err := net.SplitHostPort(strings.TrimPrefix(proxy.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	s.Outside = "http://localhost:" + port
	s.manager.RedirectURL = s.Outside + "/OAuth/Callback/{profile}"
	s.handler.ConnectionsURL = s.Outside + "/outside/connections/"
}

// register makes the provider know a redirect address of its client.
func (s *consoleHost) register(t *testing.T, address string) {
	t.Helper()
	c := authservers.Web
	c.RedirectURLs = []string{address}
	s.provider.Register(t, c)
}

// fill puts profiles of several kinds, and grants in every state.
func (s *consoleHost) fill(t *testing.T) {
	t.Helper()
	now := time.Now()
	put := func(change func(p *authprofile.Profile)) {
		t.Helper()
		p := userProfile(s.provider, authservers.Web)
		p.Name, p.Description = "Contacts", "Contacts of the customers"
		change(p)
		if err := s.store.PutProfile(t.Context(), p); err != nil {
			t.Fatal(err)
		}
	}
	put(func(p *authprofile.Profile) { p.SecretExpires = now.Add(72 * time.Hour) })
	put(func(p *authprofile.Profile) {
		p.ID, p.Type, p.Params = "report", authprofile.TypeApp, nil
		p.Endpoints = authprofile.Endpoints{TokenURL: s.provider.TokenURL}
	})
	put(func(p *authprofile.Profile) {
		p.ID, p.Template, p.Endpoints, p.Params = "shop", "shopify/acme", authprofile.Endpoints{}, nil
		p.Name = strings.Repeat("Donaudampfschifffahrtsgesellschaft", 6)
	})
	failure := func(reason authprofile.Reason) *authprofile.Failure {
		return &authprofile.Failure{Reason: reason, Code: "invalid_grant", Description: "It was revoked.", HTTPStatus: 400, Since: now.Add(-time.Hour), Last: now, Attempts: 3}
	}
	for _, profile := range []string{"crm", "shop"} {
		for i, g := range []authprofile.Grant{
			{Status: authprofile.StatusActive, Ends: now.Add(100 * time.Hour), EndsBy: authprofile.EndsIdle, RefreshExpiry: now.Add(100 * time.Hour)},
			{Status: authprofile.StatusFailing, Failure: failure(authprofile.ReasonUnavailable)},
			{Status: authprofile.StatusNeedsReauthorization, Failure: failure(authprofile.ReasonRevoked)},
			{Status: authprofile.StatusNeedsConfiguration, Failure: failure(authprofile.ReasonClient)},
			{Status: authprofile.StatusActive},
		} {
			g.GrantKey = authprofile.GrantKey{ProfileID: profile, User: []string{"olga", "bob", "carol", "dave", strings.Repeat("0123456789", 20)}[i]}
			g.AccessToken, g.RefreshToken, g.TokenType = "access", "refresh", "Bearer"
			g.Obtained, g.Expiry, g.Authorized = now.Add(-time.Hour), now.Add(time.Hour), now.Add(-240*time.Hour)
			g.Scopes, g.Requested, g.ClientID, g.Account = authservers.Scopes, authservers.Scopes, authservers.Web.ID, g.User+"@example.com"
			if i == 4 {
				g.Obtained, g.Expiry, g.Authorized = time.Time{}, time.Time{}, time.Time{}
			}
			if err := s.store.PutGrant(t.Context(), &g); err != nil {
				t.Fatal(err)
			}
		}
	}
	for i := range 60 {
		g := &authprofile.Grant{GrantKey: authprofile.GrantKey{ProfileID: "shop", User: fmt.Sprintf("user-%02d", i)}, Status: authprofile.StatusActive, Ends: now.AddDate(0, 0, i)}
		if err := s.store.PutGrant(t.Context(), g); err != nil {
			t.Fatal(err)
		}
	}
}
