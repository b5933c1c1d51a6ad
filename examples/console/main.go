// Console is a service with the pages of package console: one for those who run it,
// and one on which its users connect their accounts.
//
//	go run ./examples/console
//
// starts it with a provider of its own and a few thousand made-up connections. Open the
// address that it prints, and log in: as olga, who runs the service, or under any other name.
package main

import (
	"context"
	"crypto/rand"
	"embed"
	"errors"
	"flag"
	"fmt"
	"html/template"
	"io"
	"io/fs"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"strings"
	"sync"
	"time"

	"github.com/authprofile/authprofile"
	"github.com/authprofile/authprofile/console"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("console: ")
	listen := flag.String("listen", "127.0.0.1:8978", "loopback `address` to listen on")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Stdout, *listen); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, out io.Writer, listen string) error {
	ln, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	defer ln.Close()
	address := "http://" + ln.Addr().String()
	provider, err := startProvider()
	if err != nil {
		return err
	}
	defer provider.Close()

	// A service has a Store that outlives it, and goes on with m.Maintain. This one
	// keeps all in memory, and most of its tokens are made up.
	store := new(authprofile.MemStore)
	m := &authprofile.Manager{
		Store:       store,
		HTTPClient:  provider.client(),
		RedirectURL: address + "/callback/{profile}",
		Providers:   provider.rows(),
	}
	if err := makeUp(ctx, m, store, provider); err != nil {
		return err
	}
	handler, err := newSite(m, address)
	if err != nil {
		return err
	}
	provider.ask() // from now on it is people who consent

	fmt.Fprintf(out, "open %s/ and log in as olga, who runs the service, or under any other name\n", address)
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	stopped := make(chan error, 1)
	go func() {
		<-ctx.Done()
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		stopped <- errors.Join(server.Shutdown(ctx), m.Shutdown(ctx)) // everything renewed is stored
	}()
	if err := server.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return <-stopped
}

// The service's own look: its name at the top left, and a colour.
//
//go:embed look
var look embed.FS

// A site is the service. It knows who is logged in, which the library does not.
type site struct {
	mu       sync.Mutex
	sessions map[string]string // user by session
}

// newSite returns the pages of the service at an address.
func newSite(m *authprofile.Manager, address string) (http.Handler, error) {
	s := &site{sessions: make(map[string]string)}
	look, err := fs.Sub(look, "look")
	if err != nil {
		return nil, err
	}
	audit := slog.New(slog.NewTextHandler(os.Stderr, nil))

	redirect := &authprofile.RedirectHandler{Manager: m, User: s.user, ErrorHandler: failed}
	operators := &console.Handler{
		Manager: m, Operator: s.operator, Redirect: redirect, Logger: audit,
		ConnectionsURL: address + "/connections/", Templates: look,
	}
	users := &console.Connections{
		Redirect: redirect, Profiles: []string{"calendar", "contacts", "files", "tasks"},
		Logger: audit, Templates: look,
	}
	// What is missing is found now, and not at the first request.
	if err := errors.Join(operators.Validate(), users.Validate()); err != nil {
		return nil, err
	}

	mux := http.NewServeMux()
	mux.Handle("/auth/", s.loggedIn(http.StripPrefix("/auth", operators)))
	mux.Handle("/connections/", s.loggedIn(http.StripPrefix("/connections", users)))
	mux.Handle("GET /callback/{profile}", redirect)
	mux.HandleFunc("GET /{$}", s.home)
	mux.HandleFunc("POST /login", s.login)
	return http.NewCrossOriginProtection().Handler(mux), nil
}

// user says who is logged in. It looks at the session and at nothing else that the
// browser could make up.
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

// operator says who is there, if it is one of those who run the service.
func (s *site) operator(r *http.Request) (string, error) {
	user, err := s.user(r)
	if err == nil && user != "olga" {
		err = errors.New("a user, and no operator")
	}
	return user, err
}

// failed answers a browser that comes back from the provider without a connection,
// such as that of a person who has denied consent. The page for users says how things
// are.
func failed(w http.ResponseWriter, r *http.Request, err error) {
	log.Print(err)
	http.Redirect(w, r, "/connections/?"+url.Values{"returned": {r.PathValue("profile")}}.Encode(), http.StatusSeeOther)
}

// loggedIn sends those who are not logged in to where they can, and then on: a link
// that an operator has sent works for people who have to log in first.
func (s *site) loggedIn(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := s.user(r); err != nil && r.Method == http.MethodGet {
			http.Redirect(w, r, "/?"+url.Values{"then": {r.URL.RequestURI()}}.Encode(), http.StatusSeeOther)
			return
		}
		next.ServeHTTP(w, r) // which refuses everything else by itself
	})
}

const sessionCookie = "session"

// login asks for no password: do not copy that. Each login begins a new session under
// a new name.
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
	then := r.FormValue("then")
	if !strings.HasPrefix(then, "/auth/") && !strings.HasPrefix(then, "/connections/") {
		then = "/" // never to another site
	}
	http.Redirect(w, r, then, http.StatusSeeOther)
}

func (s *site) home(w http.ResponseWriter, r *http.Request) {
	view := struct {
		User, Then string
		Operator   bool
	}{Then: r.FormValue("then")}
	view.User, _ = s.user(r)
	_, err := s.operator(r)
	view.Operator = err == nil
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	homePage.Execute(w, view)
}

var homePage = template.Must(template.New("home").Parse(`<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Planner</title>
<style>body{font:1.1rem/1.5 system-ui,sans-serif;max-width:34rem;margin:15vh auto 0;padding:0 1.5rem}button,input{font:inherit;padding:.2rem .6rem}</style>
</head>
<body>
<main>
{{if .User}}
<h1>Hello, {{.User}}</h1>
<ul>
<li><a href="/connections/">Your connections</a></li>
{{if .Operator}}<li><a href="/auth/">The console</a>, for those who run this service</li>{{end}}
</ul>
{{end}}
<h2>{{if .User}}Log in as another user{{else}}Who are you?{{end}}</h2>
<form method="post" action="/login"><input type="hidden" name="then" value="{{.Then}}"><label>Name <input name="name" required maxlength="100" autocomplete="username"></label> <button>Log in</button></form>
<p>olga runs this service. Every other name is one of its users.</p>
</main>
</body>
</html>
`))
