// Web is a small web program whose users connect their account at a provider:
// what a host application has to do around RedirectHandler, in one file.
//
//	go run ./examples/web
//
// starts it with a provider of its own. Open the address that it prints.
package main

import (
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"html/template"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"sync"
	"time"

	"github.com/authprofile/authprofile"
	"github.com/authprofile/authprofile/providertest"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("web: ")
	listen := flag.String("listen", "127.0.0.1:8977", "loopback `address` to listen on")
	discovery := flag.String("discovery", "", "`URL` of your provider's discovery document (empty: a provider of our own)")
	clientID := flag.String("client-id", "", "the client `ID` that your provider knows; the secret is taken from AUTHPROFILE_CLIENT_SECRET")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *listen, *discovery, *clientID, os.Getenv("AUTHPROFILE_CLIENT_SECRET")); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, listen, discovery, clientID, secret string) error {
	if discovery == "" {
		srv, err := providertest.Start()
		if err != nil {
			return err
		}
		defer srv.Close()
		discovery, clientID, secret = srv.DiscoveryURL(), providertest.ClientID, providertest.ClientSecret
	}
	ln, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	site := "http://" + ln.Addr().String()

	m := &authprofile.Manager{
		RedirectURL: site + "/callback/{profile}",
		Logger:      slog.New(slog.NewTextHandler(os.Stderr, nil)),
	}
	profile := &authprofile.Profile{
		ID:           "crm",
		Name:         "Customer database",
		Type:         authprofile.TypeUser,
		ClientID:     clientID,
		ClientSecret: authprofile.Secret(secret),
		Endpoints:    authprofile.Endpoints{DiscoveryURL: discovery},
		Scopes:       []string{"openid", "offline_access"},
		Params:       url.Values{"prompt": {"consent"}},
	}
	if err := m.Save(ctx, profile); err != nil {
		return err
	}
	log.Printf("register %s with the provider, and open %s/", m.RedirectAddress(profile), site)

	server := &http.Server{Handler: newSite(m, profile), ReadHeaderTimeout: 10 * time.Second}
	go func() {
		<-ctx.Done()
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		server.Shutdown(ctx)
	}()
	if err := server.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return m.Shutdown(ctx) // everything renewed is stored
}

// A site is the host application: it knows who is logged in, which the
// library does not.
type site struct {
	m        *authprofile.Manager
	profile  *authprofile.Profile
	redirect *authprofile.RedirectHandler

	mu       sync.Mutex
	sessions map[string]string // user by session
}

// newSite returns the pages of the site. People connect by POST, which other
// sites cannot make them do.
func newSite(m *authprofile.Manager, p *authprofile.Profile) http.Handler {
	s := &site{m: m, profile: p, sessions: make(map[string]string)}
	s.redirect = &authprofile.RedirectHandler{Manager: m, User: s.user}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", s.home)
	mux.HandleFunc("POST /login", s.login)
	mux.HandleFunc("POST /connect", func(w http.ResponseWriter, r *http.Request) { s.redirect.Begin(w, r, p) })
	mux.HandleFunc("POST /disconnect", s.disconnect)
	mux.Handle("GET /callback/{profile}", s.redirect)
	return http.NewCrossOriginProtection().Handler(mux) // no other site may post our forms
}

const sessionCookie = "session"

// user tells who is logged in. It looks at the session and at nothing else
// that the browser could make up.
func (s *site) user(r *http.Request) (string, error) {
	if c, err := r.Cookie(sessionCookie); err == nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		if user, ok := s.sessions[c.Value]; ok {
			return user, nil
		}
	}
	return "", errors.New("no session")
}

// login asks for no password: do not copy that. Each login begins a new session
// under a new name.
func (s *site) login(w http.ResponseWriter, r *http.Request) {
	name := r.FormValue("name")
	if name == "" || len(name) > 100 {
		http.Error(w, "A name, please.", http.StatusBadRequest)
		return
	}
	id := rand.Text()
	s.mu.Lock()
	if c, err := r.Cookie(sessionCookie); err == nil {
		delete(s.sessions, c.Value)
	}
	s.sessions[id] = name
	s.mu.Unlock()
	// In production, over https: Secure, and the name "__Host-session".
	http.SetCookie(w, &http.Cookie{Name: sessionCookie, Value: id, Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode})
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

func (s *site) disconnect(w http.ResponseWriter, r *http.Request) {
	user, err := s.user(r)
	if err != nil {
		http.Redirect(w, r, "/", http.StatusSeeOther)
		return
	}
	if err := s.m.Revoke(r.Context(), authprofile.GrantKey{ProfileID: s.profile.ID, User: user}); err != nil {
		log.Print(err) // the grant may still be valid at the provider, and here if home says "connected"
	}
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

func (s *site) home(w http.ResponseWriter, r *http.Request) {
	view := struct{ User, Profile, State string }{Profile: s.profile.Name}
	if user, err := s.user(r); err == nil {
		view.User = user
		_, err := s.m.Token(r.Context(), s.profile, authprofile.AsUser(user))
		switch {
		case err == nil:
			view.State = "connected"
		case errors.Is(err, authprofile.ErrReauthorize):
			view.State = "not connected"
		default:
			view.State = "in trouble"
			log.Print(err)
		}
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	homePage.Execute(w, view)
}

var homePage = template.Must(template.New("home").Parse(`<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Example</title>
<style>body{font:1.1rem/1.5 system-ui,sans-serif;max-width:34rem;margin:15vh auto 0;padding:0 1.5rem}button,input{font:inherit;padding:.2rem .6rem}form{display:inline-block;margin-right:1rem}</style>
</head>
<body>
<main>
{{if .User}}
<h1>Hello, {{.User}}</h1>
<p>{{.Profile}}: <strong id="state">{{.State}}</strong></p>
<form method="post" action="/connect"><input type="hidden" name="return_to" value="/"><button id="connect">Connect</button></form>
<form method="post" action="/disconnect"><button id="disconnect">Disconnect</button></form>
{{else}}
<h1>Who are you?</h1>
<form method="post" action="/login"><label>Name <input name="name" required maxlength="100" autocomplete="username"></label> <button id="login">Log in</button></form>
{{end}}
</main>
</body>
</html>
`))
