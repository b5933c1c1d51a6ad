package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/authprofile/authprofile"
	"github.com/authprofile/authprofile/console"
)

func newServe(a *app) *cobra.Command {
	var address string
	var noBrowser, readOnly bool
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Serve the console to your own browser",
		Long: `Serve the console, in which profiles are edited and tested and grants are looked at,
renewed and revoked, to a browser on this machine, until Ctrl-C. A page at
/connections/ is what users of a service see: there you connect accounts as yourself.
If there is no database yet it makes one, and a key ring, unless it is read-only.

It listens on loopback only. The browser is let in by a link that works once, and for
ten minutes, and is printed; from then on a cookie does. For another browser, start it
anew. To use it over SSH, forward the port: ssh -L 8642:127.0.0.1:8642 HOST.

Providers send users back to http://127.0.0.1:8642/callback, or to the address that
--listen names. Providers that go by RFC 8252 take any port there if
http://127.0.0.1/callback is registered; with others register that address itself. A
profile with a redirect address of its own cannot be connected here, unless it is that
one: "authprofile connect" can.

It does not look after grants that no program asks for: that is for the services that use
the database, which tell whom they are set up to tell.

A change of the keys is seen when it is started anew.`,
		Example: "  authprofile serve\n  authprofile serve --listen 127.0.0.1:0 --read-only",
		Args:    args(0, 0),
	}
	flags := cmd.Flags()
	flags.StringVar(&address, "listen", "127.0.0.1:8642", "loopback `address` to listen on; port 0 takes a free one")
	flags.BoolVar(&noBrowser, "no-browser", false, "print the link, and open no browser")
	flags.BoolVar(&readOnly, "read-only", false, "show things, and change nothing")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		ctx := cmd.Context()
		socket, host, err := listenLoopback(cmd, address)
		if err != nil {
			return err
		}
		defer socket.Close()
		g := newGate(host, time.Now())
		base := "http://" + host
		access := create
		if readOnly {
			access = existing
		}
		m, err := a.manager(ctx, access, base+callbackPath)
		if err != nil {
			return err
		}
		if g.next, err = a.pages(m, g, base, readOnly); err != nil {
			return err
		}
		server := &http.Server{
			Handler:           g,
			ReadHeaderTimeout: 10 * time.Second,
			ReadTimeout:       time.Minute,
			WriteTimeout:      5 * time.Minute, // a test of a profile takes its time
			IdleTimeout:       2 * time.Minute,
			MaxHeaderBytes:    64 << 10,
			ErrorLog:          discardLog(),
		}
		failed := make(chan error, 1)
		go func() { failed <- server.Serve(socket) }()
		defer server.Close()

		link := base + loginPath + "/" + g.secret
		if !noBrowser && !a.isRemote() {
			remove, err := a.openPrivately(link)
			if err != nil {
				fmt.Fprintln(a.stderr, "authprofile: no browser can be opened here")
			}
			defer remove()
		}
		fmt.Fprintf(a.stderr, "The console is at %s until Ctrl-C. If your browser has not opened it, open this link, which works once:\n", base)
		if _, err := fmt.Fprintln(a.stdout, link); err != nil {
			return fmt.Errorf("standard output: %w", err)
		}
		select {
		case err := <-failed:
			return err
		case <-ctx.Done():
		}
		// What is under way is answered.
		ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		server.Shutdown(ending)
		return nil
	}
	return cmd
}

// listenLoopback listens on an address of this machine that no other can reach. Host is
// how browsers name it.
func listenLoopback(cmd *cobra.Command, address string) (socket net.Listener, host string, err error) {
	name, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, "", usagef(cmd, "--listen is an address such as 127.0.0.1:8642")
	}
	name, at := loopbackName(name)
	if at == "" {
		return nil, "", usagef(cmd, "--listen is a loopback address, such as 127.0.0.1:8642: others could reach the console at any other")
	}
	socket, err = net.Listen("tcp", net.JoinHostPort(at, port))
	if err != nil {
		return nil, "", fmt.Errorf("%s cannot be listened on: end the program that does, or say --listen 127.0.0.1:0 (%v)", address, err)
	}
	if _, port, err = net.SplitHostPort(socket.Addr().String()); err != nil {
		socket.Close()
		return nil, "", err
	}
	return socket, hostOf(name, port), nil
}

// loopbackName returns how browsers write the name of a loopback host, and the address
// that it has; empty: it is none.
func loopbackName(text string) (name, at string) {
	if text == "localhost" { // whatever this machine takes that for
		return text, "127.0.0.1"
	}
	ip, err := netip.ParseAddr(text)
	if err != nil || !ip.IsLoopback() || ip.Zone() != "" {
		return "", ""
	}
	text = ip.Unmap().String() // the shortest form
	return text, text
}

// hostOf returns how browsers name a host in a request by HTTP: without the port that
// is HTTP's own.
func hostOf(name, port string) string {
	return strings.TrimSuffix(net.JoinHostPort(name, port), ":80")
}

// The paths of what is served.
const (
	consolePath     = "/console"
	connectionsPath = "/connections"
	callbackPath    = "/callback"
)

// pages returns what the gate lets a browser see.
func (a *app) pages(m *authprofile.Manager, g *gate, base string, readOnly bool) (http.Handler, error) {
	me := osUser()
	if me == "" {
		me = "operator"
	}
	redirect := &authprofile.RedirectHandler{
		Manager: m,
		// The browser comes back from the provider without the cookie of the gate,
		// which is not sent when another site has caused the request. What it has is
		// the cookie of the flow, which it was given behind the gate.
		User: func(*http.Request) (string, error) { return me, nil },
		Done: func(w http.ResponseWriter, r *http.Request, _ *authprofile.Grant) {
			back := r.URL.Query().Get("return_to")
			if back == "" {
				back = connectionsPath + "/"
			}
			showOnward(w, "Connected", back)
		},
	}
	h := &console.Handler{
		Manager: m,
		Operator: func(r *http.Request) (string, error) {
			if !g.isLetIn(r) {
				return "", errors.New("the browser has not come by the link")
			}
			return me, nil
		},
		ReadOnly: readOnly,
		Logger:   slog.New(slog.NewTextHandler(a.stderr, nil)),
	}
	mux := http.NewServeMux()
	if !readOnly {
		h.Redirect, h.ConnectionsURL = redirect, base+connectionsPath+"/"
		mux.Handle(callbackPath, redirect)
		mux.Handle(connectionsPath+"/", http.StripPrefix(connectionsPath, &connections{redirect: redirect, logger: h.Logger}))
	}
	if err := h.Validate(); err != nil {
		return nil, err
	}
	mux.Handle(consolePath+"/", http.StripPrefix(consolePath, h))
	mux.Handle("/{$}", http.RedirectHandler(consolePath+"/", http.StatusSeeOther))
	return mux, nil
}

// connections is the page of the profiles that can be connected here: those whose
// redirect address is this server's.
type connections struct {
	redirect *authprofile.RedirectHandler
	logger   *slog.Logger

	mu   sync.Mutex
	page *console.Connections // of the profiles that there were last
}

// maxConnections is how many profiles the page has.
const maxConnections = 200

func (c *connections) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	m := c.redirect.Manager
	ids := []string{}
	for p, err := range m.Profiles(r.Context()) {
		if err == nil && p.Type == authprofile.TypeUser && m.RedirectAddress(p) == m.RedirectURL {
			ids = append(ids, p.ID)
		}
		if len(ids) == maxConnections {
			break
		}
	}
	c.mu.Lock()
	if c.page == nil || !slices.Equal(c.page.Profiles, ids) {
		c.page = &console.Connections{Redirect: c.redirect, Profiles: ids, Logger: c.logger}
	}
	page := c.page
	c.mu.Unlock()
	page.ServeHTTP(w, r)
}

// openPrivately opens the browser at an address that others must not see. The
// arguments of the browser's program can be seen by other users of the machine: they
// have the path of a file that only this user can read, and that leads there.
func (a *app) openPrivately(address string) (remove func(), err error) {
	f, err := os.CreateTemp("", "authprofile-*.html")
	if err != nil {
		return func() {}, err
	}
	remove = func() { os.Remove(f.Name()) }
	err = onward.Execute(f, onwardPage{"Authprofile", address})
	if err := errors.Join(err, f.Close()); err != nil {
		return remove, err
	}
	path := filepath.ToSlash(f.Name())
	if !strings.HasPrefix(path, "/") { // C:/...
		path = "/" + path
	}
	go func() {
		// Some browsers' programs end when the browser does. If it cannot be
		// opened, the user has the link.
		_ = a.browse((&url.URL{Scheme: "file", Path: path}).String())
	}()
	return remove, nil
}
