// Login lets a person log in at a provider of your own, through a browser on
// this machine, and keeps what the provider grants in a SQLite file.
//
// Register a client with the provider, with the redirect address
// http://127.0.0.1:8976/callback. The provider is named by the URL of its
// discovery document, or by a template ("google", "microsoft/contoso.com"). The
// client secret is taken from the environment, where other users of the machine
// do not see it:
//
//	AUTHPROFILE_CLIENT_SECRET=... go run ./examples/login -provider URL -client-id ID
//
// Started again it needs neither settings nor a browser, for as long as the
// provider allows; with -revoke it ends the grant, at the provider and in the
// file. The file holds tokens and secret in the clear, and only its owner can
// read it.
package main

import (
	"context"
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"strings"
	"time"

	"golang.org/x/oauth2"
	_ "modernc.org/sqlite"

	"github.com/authprofile/authprofile"
	"github.com/authprofile/authprofile/sqlstore"
)

// There is one profile, and one person. Both names are the program's own.
var key = authprofile.GrantKey{ProfileID: "login", User: "me"}

type settings struct {
	provider, clientID, secret, scopes string
	listen, file                       string
	revoke                             bool
}

func main() {
	log.SetFlags(0)
	log.SetPrefix("login: ")
	s := settings{secret: os.Getenv("AUTHPROFILE_CLIENT_SECRET")}
	flag.StringVar(&s.provider, "provider", "", "`URL` of the provider's discovery document, or a template (empty: as in the file)")
	flag.StringVar(&s.clientID, "client-id", "", "the client `ID` that the provider knows")
	flag.StringVar(&s.scopes, "scopes", "", "what to ask the provider for (default \"openid\", and \"offline_access\" for a refresh token)")
	flag.StringVar(&s.listen, "listen", "127.0.0.1:8976", "loopback `address` that the provider sends the browser back to")
	flag.StringVar(&s.file, "db", "login.db", "the SQLite `file`")
	flag.BoolVar(&s.revoke, "revoke", false, "end the grant instead")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Stdout, s); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, out io.Writer, s settings) (err error) {
	db, store, err := open(ctx, s.file)
	if err != nil {
		return err
	}
	defer db.Close()
	m := &authprofile.Manager{Store: store}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		err = errors.Join(err, m.Shutdown(ctx)) // what was renewed is stored
	}()
	if s.revoke {
		return m.Revoke(ctx, key)
	}
	p, err := profile(ctx, m, s)
	if err != nil {
		return err
	}

	tok, err := m.Token(ctx, p, authprofile.AsUser(key.User))
	switch {
	case errors.Is(err, authprofile.ErrReauthorize):
		fmt.Fprintln(out, err)
		if err := login(ctx, out, m, p); err != nil {
			return err
		}
		if tok, err = m.Token(ctx, p, authprofile.AsUser(key.User)); err != nil {
			return err
		}
	case err != nil:
		return err
	default:
		fmt.Fprintf(out, "%s has a grant: no browser is needed.\n", s.file)
	}
	fmt.Fprintf(out, "An access token, %s.\n", remaining(tok))

	grant, err := m.Grant(ctx, key)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "Granted: %q, to the subject %q.\n", grant.Scopes, grant.Subject)
	if grant.RefreshToken == "" {
		fmt.Fprintln(out, "The provider gave no refresh token: when the access token ends, log in again.")
		return nil
	}
	// As if an API had refused the token ahead of its time.
	tok, err = m.Token(ctx, p, authprofile.AsUser(key.User), authprofile.Rejected(tok))
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "Renewed: another one, %s.\n", remaining(tok))
	return nil
}

// open opens the Store, in a file that only its owner can read.
func open(ctx context.Context, file string) (*sql.DB, *sqlstore.Store, error) {
	f, err := os.OpenFile(file, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, nil, err
	}
	f.Close()
	db, err := sql.Open("sqlite", "file:"+file+"?_pragma=journal_mode(WAL)&_pragma=busy_timeout(10000)")
	if err != nil {
		return nil, nil, err
	}
	store, err := sqlstore.New(db, sqlstore.SQLite, nil)
	if err == nil {
		err = store.Migrate(ctx)
	}
	if err != nil {
		db.Close()
		return nil, nil, err
	}
	return db, store, nil
}

// profile returns the stored profile, brought up to date with the settings.
func profile(ctx context.Context, m *authprofile.Manager, s settings) (*authprofile.Profile, error) {
	p, err := m.Profile(ctx, key.ProfileID)
	if errors.Is(err, authprofile.ErrNotFound) {
		if s.provider == "" {
			return nil, errors.New("-provider is missing")
		}
		p, err = &authprofile.Profile{ID: key.ProfileID, Type: authprofile.TypeUser}, nil
	}
	if err != nil || s.provider == "" {
		return p, err
	}
	p.ClientID = s.clientID
	p.ClientSecret = authprofile.Secret(s.secret)
	p.RedirectURL = "http://" + s.listen + "/callback"
	p.Scopes = strings.Fields(s.scopes)
	if strings.Contains(s.provider, "://") {
		p.Template, p.Endpoints = "", authprofile.Endpoints{DiscoveryURL: s.provider}
		if len(p.Scopes) == 0 {
			p.Scopes = []string{"openid", "offline_access"}
		}
	} else { // a template asks for a refresh token by itself
		p.Template, p.Endpoints = authprofile.Template(s.provider), authprofile.Endpoints{}
		if len(p.Scopes) == 0 {
			p.Scopes = []string{"openid"}
		}
	}
	if !p.Unsaved() {
		return p, nil
	}
	return p, m.Save(ctx, p)
}

// login waits until the person has logged in with a browser.
func login(ctx context.Context, out io.Writer, m *authprofile.Manager, p *authprofile.Profile) error {
	redirect, err := url.Parse(m.RedirectAddress(p))
	if err != nil {
		return err
	}
	ln, err := net.Listen("tcp", redirect.Host)
	if err != nil {
		return err
	}
	defer ln.Close()
	if addr, ok := ln.Addr().(*net.TCPAddr); !ok || !addr.IP.IsLoopback() {
		return errors.New("-listen must be a loopback address")
	}

	connected := make(chan struct{}, 1)
	h := &authprofile.RedirectHandler{
		Manager: m,
		User:    func(*http.Request) (string, error) { return key.User, nil }, // the program's only user
		Done: func(w http.ResponseWriter, r *http.Request, g *authprofile.Grant) {
			fmt.Fprintln(w, "Connected. You can close this page.")
			connected <- struct{}{}
		},
	}
	mux := http.NewServeMux()
	mux.Handle("GET /callback", h)
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) { h.Begin(w, r, p) })
	server := &http.Server{Handler: onlyHost(redirect.Host, mux), ReadHeaderTimeout: 10 * time.Second}
	go server.Serve(ln)
	defer server.Close()

	fmt.Fprintf(out, "With %s registered at the provider, open http://%s/ in a browser on this machine.\n", redirect, redirect.Host)
	select {
	case <-connected:
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(10 * time.Minute):
		return errors.New("no login within ten minutes")
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	return server.Shutdown(ctx) // the page has been delivered
}

// onlyHost refuses requests under another host name, which the page of another
// site may have pointed here (DNS rebinding).
func onlyHost(host string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Host != host {
			http.Error(w, "Misdirected Request", http.StatusMisdirectedRequest)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func remaining(tok *oauth2.Token) string {
	if tok.Expiry.IsZero() {
		return "good for a time that the provider does not say"
	}
	return "good for " + time.Until(tok.Expiry).Round(time.Second).String()
}
