package cli

import (
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// A listener waits on loopback for the browser that comes back from a provider
// (RFC 8252, section 7.3). It never listens on another interface.
type listener struct {
	redirect *url.URL // with the port
	sockets  []net.Listener
	server   *http.Server

	// What follows is set by serve.

	state    string // of the flow
	provider string // where the start page leads
	start    string // the path of the start page
	cookie   string // of the browser that has opened it
	finish   func(url.Values) error

	mu      sync.Mutex
	bound   bool // the start page is what the browser was sent to: it alone may come back
	started bool
	done    bool
	result  chan error // of the one callback that was taken
}

// listen listens where a redirect address says. Without a port it takes a free one.
func listen(redirect *url.URL) (*listener, error) {
	port := redirect.Port()
	if port == "" {
		port = "0"
	}
	hosts := []string{redirect.Hostname()}
	if redirect.Hostname() == "localhost" { // which a browser takes for either
		hosts = []string{"127.0.0.1", "::1"}
	}
	l := &listener{result: make(chan error, 1)}
	for _, host := range hosts {
		socket, err := net.Listen("tcp", net.JoinHostPort(host, port))
		if err != nil {
			if len(l.sockets) > 0 && !errors.Is(err, syscall.EADDRINUSE) {
				break // this machine has no IPv6
			}
			l.close()
			if redirect.Port() == "" {
				return nil, fmt.Errorf("no port of %s can be listened on: %v", host, err)
			}
			return nil, fmt.Errorf("%s cannot be listened on: end the program that does, or change the redirect address of the profile and of its registration", net.JoinHostPort(host, port))
		}
		_, port, _ = net.SplitHostPort(socket.Addr().String())
		l.sockets = append(l.sockets, socket)
	}
	address := *redirect
	address.Host = net.JoinHostPort(redirect.Hostname(), port)
	l.redirect = &address
	return l, nil
}

// isLoopback reports whether a redirect address is one that this program can listen
// on.
func isLoopback(redirect *url.URL) bool {
	return redirect.Scheme == "http" && slices.Contains([]string{"127.0.0.1", "::1", "localhost"}, redirect.Hostname())
}

// serve begins to answer: the start page, which leads to the provider, and one
// callback with the right state, whose query it gives to finish.
func (l *listener) serve(provider, state string, finish func(url.Values) error) {
	l.provider, l.state, l.finish = provider, state, finish
	l.start, l.cookie = "/start/"+rand.Text(), rand.Text()
	l.server = &http.Server{
		Handler:           http.HandlerFunc(l.answer),
		ReadHeaderTimeout: 10 * time.Second,
		ErrorLog:          discardLog(),
	}
	for _, socket := range l.sockets {
		go l.server.Serve(socket)
	}
}

// startURL returns the address that a browser on this machine is to be sent to.
// From then on only that browser can come back. The address of the provider is not
// passed to the browser's program: other users of the machine see its arguments,
// and with the state in that address they could come back in the user's place.
func (l *listener) startURL() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.bound = true
	return (&url.URL{Scheme: "http", Host: l.redirect.Host, Path: l.start}).String()
}

// unbind lets any browser come back: that of this machine could not be started.
func (l *listener) unbind() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.bound = false
}

// close stops listening. The answer to the browser is on its way by then.
func (l *listener) close() {
	if l.server != nil {
		l.server.Close()
	}
	for _, socket := range l.sockets {
		socket.Close()
	}
}

func (l *listener) answer(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	h.Set("Referrer-Policy", "no-referrer") // the address has the code in it
	h.Set("X-Content-Type-Options", "nosniff")
	switch {
	case r.Host != l.redirect.Host: // a page of another site, by DNS rebinding
		http.Error(w, "This address belongs to another host.", http.StatusMisdirectedRequest)
	case r.Method != http.MethodGet:
		h.Set("Allow", "GET")
		http.Error(w, "Method Not Allowed", http.StatusMethodNotAllowed)
	case r.URL.Path == l.start:
		l.begin(w, r)
	case r.URL.EscapedPath() != l.redirect.EscapedPath() && !(r.URL.Path == "/" && l.redirect.Path == ""):
		http.NotFound(w, r)
	default:
		l.callback(w, r)
	}
}

// begin sends the browser to the provider. A second one finds the page gone.
func (l *listener) begin(w http.ResponseWriter, r *http.Request) {
	l.mu.Lock()
	again := l.started && !l.isBrowser(r)
	l.started = true
	l.mu.Unlock()
	if again {
		http.Error(w, "This link was opened before. If that was not you, press Ctrl-C in the terminal.", http.StatusGone)
		return
	}
	http.SetCookie(w, &http.Cookie{Name: l.cookieName(), Value: l.cookie, Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode})
	http.Redirect(w, r, l.provider, http.StatusSeeOther)
}

// cookieName has the port in it, since ports share cookies.
func (l *listener) cookieName() string { return "authprofile-" + l.redirect.Port() }

// isBrowser reports whether a request comes from the browser that has opened the
// start page.
func (l *listener) isBrowser(r *http.Request) bool {
	c, err := r.Cookie(l.cookieName())
	return err == nil && subtle.ConstantTimeCompare([]byte(c.Value), []byte(l.cookie)) == 1
}

// callback takes the browser back. What is not the answer of this flow is told so,
// and changes nothing.
func (l *listener) callback(w http.ResponseWriter, r *http.Request) {
	l.mu.Lock()
	foreign := l.bound && !l.isBrowser(r)
	l.mu.Unlock()
	if foreign {
		http.Error(w, "This is not the browser that authprofile has opened.", http.StatusBadRequest)
		return
	}
	err := l.take(r.URL.Query())
	if errors.Is(err, errOtherFlow) {
		http.Error(w, "This is not the answer that authprofile waits for. Go back to the terminal.", http.StatusBadRequest)
		return
	}
	status, text := http.StatusOK, "Connected. You can close this page.\n"
	if err != nil {
		status, text = http.StatusBadRequest, "Not connected. The terminal says why; you can close this page.\n"
	}
	// The whole answer, before the program ends.
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Content-Length", strconv.Itoa(len(text)))
	w.WriteHeader(status)
	io.WriteString(w, text)
	http.NewResponseController(w).Flush()
	l.result <- err
}

// errOtherFlow says that a callback belongs to another flow, or to none.
var errOtherFlow = errors.New("that is not the answer to this authorization")

// take finishes the flow with the query of a callback. The first one with the right
// state is taken, and no other.
func (l *listener) take(query url.Values) error {
	state := query.Get("state")
	if subtle.ConstantTimeCompare([]byte(state), []byte(l.state)) != 1 || len(query["state"]) != 1 {
		return errOtherFlow
	}
	for name, values := range l.redirect.Query() {
		if !slices.Equal(query[name], values) {
			return errOtherFlow
		}
	}
	l.mu.Lock()
	taken := l.done
	l.done = true
	l.mu.Unlock()
	if taken {
		return errOtherFlow
	}
	return l.finish(query)
}

// browserAddress writes an address as browsers do, without its query.
func browserAddress(u *url.URL) string {
	host, path := strings.ToLower(u.Host), u.EscapedPath()
	switch {
	case u.Scheme == "https":
		host = strings.TrimSuffix(host, ":443")
	case u.Scheme == "http":
		host = strings.TrimSuffix(host, ":80")
	}
	if path == "" {
		path = "/"
	}
	return u.Scheme + "://" + host + path
}

// pasted takes an address that the user has pasted: that of a page that a browser
// on another machine could not open, or its query alone.
func (l *listener) pasted(text string) error {
	u, err := url.Parse(text)
	if err != nil {
		return errOtherFlow
	}
	if u.Scheme == "" && u.RawQuery == "" { // the query without its "?"
		u = &url.URL{RawQuery: text}
	}
	if u.Scheme != "" && browserAddress(u) != browserAddress(l.redirect) {
		return errOtherFlow
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return errOtherFlow
	}
	if err = l.take(query); !errors.Is(err, errOtherFlow) {
		l.result <- err
	}
	return err
}
