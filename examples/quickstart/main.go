// Quickstart shows the main job of authprofile: profiles go into a store,
// tokens come out, and are renewed when their time is up.
//
// By itself it starts a provider and an API on this machine, so that it needs
// nothing but Go:
//
//	go run ./examples/quickstart
//
// With a provider of your own it does the same there. Register the redirect
// address http://127.0.0.1:8976/callback with it, and put the client secret
// into the environment, where other users of the machine do not see it:
//
//	AUTHPROFILE_CLIENT_SECRET=... go run ./examples/quickstart -discovery URL -client-id ID
package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/oauth2"
	_ "modernc.org/sqlite"

	"github.com/authprofile/authprofile"
	"github.com/authprofile/authprofile/providertest"
	"github.com/authprofile/authprofile/sqlstore"
)

const user = "ada@example.com" // the application's own name for a person

func main() {
	log.SetFlags(0)
	log.SetPrefix("quickstart: ")
	discovery := flag.String("discovery", "", "`URL` of your provider's discovery document (empty: a provider of our own)")
	clientID := flag.String("client-id", "", "the client `ID` that your provider knows")
	scopes := flag.String("scopes", "openid offline_access", "what to ask your provider for")
	listen := flag.String("listen", "127.0.0.1:8976", "loopback `address` that your provider sends the browser back to")
	flag.Parse()

	var err error
	if *discovery == "" {
		err = ownProvider(os.Stdout)
	} else {
		err = yourProvider(os.Stdout, *discovery, *clientID, os.Getenv("AUTHPROFILE_CLIENT_SECRET"), strings.Fields(*scopes), *listen)
	}
	if err != nil {
		log.Fatal(err)
	}
}

// ownProvider tells the whole story with a provider on this machine.
func ownProvider(out io.Writer) error {
	ctx := context.Background()
	srv, err := providertest.Start()
	if err != nil {
		return err
	}
	defer srv.Close()
	srv.SetPolicy(providertest.Policy{TokenLifetime: 2 * time.Second}) // an hour would be too long to watch

	m, file, stop, err := manager(ctx, "http://127.0.0.1:8976/callback")
	if err != nil {
		return err
	}
	defer stop()
	fmt.Fprintf(out, "A provider is at %s, and profiles are kept in %s.\n", srv.Issuer(), filepath.Base(file))

	chapter(out, "An application acts as itself")
	app := &authprofile.Profile{
		Name:         "Nightly reports",
		Type:         authprofile.TypeApp,
		ClientID:     providertest.ClientID,
		ClientSecret: providertest.ClientSecret,
		Endpoints:    authprofile.Endpoints{DiscoveryURL: srv.DiscoveryURL()},
		Scopes:       []string{"reports"},
	}
	if err := m.Save(ctx, app); err != nil {
		return err
	}
	fmt.Fprintf(out, "Saved the profile %q under the ID %s.\n", app.Name, app.ID)
	if err := call(ctx, out, m, srv.APIURL(), app); err != nil {
		return err
	}

	chapter(out, "An application acts for a person")
	crm := &authprofile.Profile{
		ID:           "crm",
		Name:         "Customer database",
		Type:         authprofile.TypeUser,
		ClientID:     providertest.ClientID,
		ClientSecret: providertest.ClientSecret,
		Endpoints:    authprofile.Endpoints{DiscoveryURL: srv.DiscoveryURL()},
		Scopes:       []string{"openid", "contacts", "offline_access"},
	}
	if err := m.Save(ctx, crm); err != nil {
		return err
	}
	if _, err := m.Token(ctx, crm, authprofile.AsUser(user)); errors.Is(err, authprofile.ErrReauthorize) {
		fmt.Fprintln(out, "Nobody has consented yet, and Token says so: ErrReauthorize.")
	}
	flow, err := m.Begin(ctx, crm, user)
	if err != nil {
		return err
	}
	address, _ := url.Parse(flow.URL)
	fmt.Fprintf(out, "The browser is sent to %s://%s%s ...\n", address.Scheme, address.Host, address.Path)
	back, err := srv.Authorize(flow.URL) // plays the browser and the person
	if err != nil {
		return err
	}
	grant, err := m.Finish(ctx, user, back.Query())
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "... and comes back: %s may use %q.\n", grant.Subject, grant.Scopes)
	if err := call(ctx, out, m, srv.APIURL(), crm, authprofile.AsUser(user)); err != nil {
		return err
	}

	chapter(out, "Time passes, and the tokens with it")
	time.Sleep(2100 * time.Millisecond)
	if err := call(ctx, out, m, srv.APIURL(), app); err != nil {
		return err
	}
	if err := call(ctx, out, m, srv.APIURL(), crm, authprofile.AsUser(user)); err != nil {
		return err
	}
	fmt.Fprintf(out, "The provider got %d requests for the application, %d with a refresh token, and %d with a refresh token that was spent already.\n",
		srv.Count("client_credentials"), srv.Count("refresh_token"), srv.Reuses())

	chapter(out, "What an operator sees")
	if err := show(ctx, out, m, crm); err != nil {
		return err
	}
	return m.Shutdown(ctx)
}

// manager returns a Manager whose profiles and grants are in a SQLite file.
func manager(ctx context.Context, redirect string) (m *authprofile.Manager, file string, stop func(), err error) {
	dir, err := os.MkdirTemp("", "authprofile-quickstart-")
	if err != nil {
		return nil, "", nil, err
	}
	file = filepath.Join(dir, "quickstart.db")
	db, err := sql.Open("sqlite", "file:"+file+"?_pragma=journal_mode(WAL)&_pragma=busy_timeout(10000)")
	if err != nil {
		return nil, "", nil, err
	}
	stop = func() {
		db.Close()
		os.RemoveAll(dir)
	}
	store, err := sqlstore.New(db, sqlstore.SQLite, nil)
	if err == nil {
		err = store.Migrate(ctx)
	}
	if err != nil {
		stop()
		return nil, "", nil, err
	}
	return &authprofile.Manager{Store: store, RedirectURL: redirect}, file, stop, nil
}

// call gets a token and calls the API with it.
func call(ctx context.Context, out io.Writer, m *authprofile.Manager, api string, p *authprofile.Profile, opts ...authprofile.Option) error {
	tok, err := m.Token(ctx, p, opts...)
	if err != nil {
		return err
	}
	resp, err := m.Client(ctx, p, opts...).Get(api)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "A token for %q, %s. The API answers %s: %s\n", p.Name, remaining(tok), resp.Status, strings.TrimSpace(string(body)))
	return nil
}

func remaining(tok *oauth2.Token) string {
	if tok.Expiry.IsZero() {
		return "good for a time that the provider did not tell"
	}
	return "good for " + time.Until(tok.Expiry).Round(100*time.Millisecond).String()
}

// show prints a profile, as JSON and as a log would have it, and how it stands
// with its grants.
func show(ctx context.Context, out io.Writer, m *authprofile.Manager, p *authprofile.Profile) error {
	text, err := json.MarshalIndent(p, "", "  ")
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%s\n", text)
	for g, err := range m.Grants(ctx, p.ID) {
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "%s: %s, access token %s, refresh token %s, renewed at %s\n", g.User, g.Status, g.AccessToken, g.RefreshToken, g.Updated.Format(time.TimeOnly))
	}
	return nil
}

func chapter(out io.Writer, title string) { fmt.Fprintf(out, "\n== %s\n", title) }

// yourProvider does the same at a provider of the reader's own.
func yourProvider(out io.Writer, discovery, clientID, secret string, scopes []string, listen string) error {
	ctx := context.Background()
	ln, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	defer ln.Close()
	if addr, ok := ln.Addr().(*net.TCPAddr); !ok || !addr.IP.IsLoopback() {
		return errors.New("-listen must be a loopback address")
	}
	redirect := "http://" + ln.Addr().String() + "/callback"
	m, _, stop, err := manager(ctx, redirect)
	if err != nil {
		return err
	}
	defer stop()

	chapter(out, "An application acts as itself")
	app := &authprofile.Profile{
		Name:         "Application",
		Type:         authprofile.TypeApp,
		ClientID:     clientID,
		ClientSecret: authprofile.Secret(secret),
		Endpoints:    authprofile.Endpoints{DiscoveryURL: discovery},
	}
	if err := m.Save(ctx, app); err != nil {
		return err
	}
	if tok, err := m.Token(ctx, app); err != nil {
		fmt.Fprintf(out, "Not here: %v\n", err)
	} else {
		fmt.Fprintf(out, "Got a token, %s.\n", remaining(tok))
	}

	chapter(out, "An application acts for a person")
	p := &authprofile.Profile{
		Name:         "Person",
		Type:         authprofile.TypeUser,
		ClientID:     clientID,
		ClientSecret: authprofile.Secret(secret),
		Endpoints:    authprofile.Endpoints{DiscoveryURL: discovery},
		Scopes:       scopes,
	}
	if err := m.Save(ctx, p); err != nil {
		return err
	}
	fmt.Fprintf(out, "Register %s with your provider, and open %s in a browser on this machine.\n",
		m.RedirectAddress(p), "http://"+ln.Addr().String()+"/")

	done := make(chan error, 1)
	h := &authprofile.RedirectHandler{
		Manager: m,
		User:    func(*http.Request) (string, error) { return user, nil }, // one machine, one person
	}
	h.Done = func(w http.ResponseWriter, r *http.Request, g *authprofile.Grant) {
		fmt.Fprintln(w, "Connected. You can close this page.")
		done <- nil
	}
	mux := http.NewServeMux()
	mux.Handle("GET /callback", h)
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) { h.Begin(w, r, p) })
	server := &http.Server{
		Handler:           onlyHost(ln.Addr().String(), mux),
		ReadHeaderTimeout: 10 * time.Second,
	}
	go server.Serve(ln)
	defer server.Close()
	select {
	case <-done:
	case <-time.After(10 * time.Minute):
		return errors.New("nobody came back within ten minutes")
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	server.Shutdown(ctx) // so that the page is delivered

	tok, err := m.Token(ctx, p, authprofile.AsUser(user))
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "Got a token, %s.\n", remaining(tok))
	renewed, err := m.Token(ctx, p, authprofile.AsUser(user), authprofile.Rejected(tok))
	if err != nil {
		fmt.Fprintf(out, "It cannot be renewed: %v\n", err)
	} else {
		fmt.Fprintf(out, "Renewed it ahead of its time: another one, %s.\n", remaining(renewed))
	}
	chapter(out, "What an operator sees")
	if err := show(ctx, out, m, p); err != nil {
		return err
	}
	return m.Shutdown(ctx)
}

// onlyHost refuses requests that a page elsewhere has steered here by a name
// of its own (DNS rebinding).
func onlyHost(host string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Host != host {
			http.Error(w, "Misdirected Request", http.StatusMisdirectedRequest)
			return
		}
		next.ServeHTTP(w, r)
	})
}
