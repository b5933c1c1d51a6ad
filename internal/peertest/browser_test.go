package peertest

import (
	"context"
	"fmt"
	"html"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/authprofile/authprofile"
	"github.com/authprofile/authprofile/internal/peertest/authservers"
	"github.com/authprofile/authprofile/internal/peertest/require"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/storage"
	"github.com/chromedp/chromedp"
)

// A webProgram lets the people who are logged in to it connect an account at a
// provider. It is at another site than the provider, as far as a browser is
// concerned.
type webProgram struct {
	URL      string
	manager  *authprofile.Manager
	provider *authservers.Server

	mu       sync.Mutex
	referers []string
}

func startWebProgram(t *testing.T) *webProgram {
	t.Helper()
	ts := httptest.NewUnstartedServer(nil)
	_, port, err := net.SplitHostPort(ts.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	w := &webProgram{URL: "http://localhost:" + port}
	redirect := w.URL + "/OAuth/Callback/crm"
	w.provider = authservers.Fosite(t, authservers.Options{RedirectURLs: []string{redirect}})
	w.manager = &authprofile.Manager{RedirectURL: w.URL + "/OAuth/Callback/{profile}"}
	t.Cleanup(func() { w.manager.Shutdown(context.Background()) })
	p := userProfile(w.provider, authservers.Web)
	save(t, w.manager, p)

	h := &authprofile.RedirectHandler{Manager: w.manager, User: func(r *http.Request) (string, error) {
		c, err := r.Cookie("session")
		if err != nil {
			return "", err
		}
		return c.Value, nil
	}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /login", func(w http.ResponseWriter, r *http.Request) {
		http.SetCookie(w, &http.Cookie{Name: "session", Value: "alice", Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode})
		http.Redirect(w, r, "/settings", http.StatusSeeOther)
	})
	mux.HandleFunc("GET /settings", func(rw http.ResponseWriter, r *http.Request) {
		user, _ := h.User(r)
		text := "Nothing is connected."
		if _, err := w.manager.Grant(r.Context(), authprofile.GrantKey{ProfileID: p.ID, User: user}); err == nil {
			_, subject := callAPI(t, w.provider, w.manager.Client(r.Context(), p, authprofile.AsUser(user)))
			text = "Connected as " + subject + "."
		}
		fmt.Fprintf(rw, `<!DOCTYPE html><html lang="en"><title>Settings</title><h1>Settings</h1><p id="state">%s</p>
<form method="post" action="/connect"><input type="hidden" name="return_to" value="/settings"><button>Connect</button></form>`, html.EscapeString(text))
	})
	mux.HandleFunc("POST /connect", func(w http.ResponseWriter, r *http.Request) { h.Begin(w, r, p) })
	mux.Handle("/OAuth/Callback/crm", h)
	ts.Config.Handler = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.mu.Lock()
		w.referers = append(w.referers, r.Referer())
		w.mu.Unlock()
		mux.ServeHTTP(rw, r)
	})
	ts.Start()
	t.Cleanup(func() {
		ts.CloseClientConnections()
		ts.Close()
	})
	return w
}

// A trail is what a browser tab has been answered with: "303 /connect".
type trail struct {
	mu    sync.Mutex
	steps []string
}

func follow(ctx context.Context) *trail {
	tr := new(trail)
	note := func(r *network.Response) {
		if u, err := url.Parse(r.URL); err == nil && u.Path != "/favicon.ico" {
			tr.mu.Lock()
			tr.steps = append(tr.steps, fmt.Sprint(r.Status, " ", u.Path))
			tr.mu.Unlock()
		}
	}
	chromedp.ListenTarget(ctx, func(ev any) {
		switch ev := ev.(type) {
		case *network.EventRequestWillBeSent:
			if ev.RedirectResponse != nil {
				note(ev.RedirectResponse)
			}
		case *network.EventResponseReceived:
			note(ev.Response)
		}
	})
	return tr
}

func (tr *trail) take() []string {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	steps := tr.steps
	tr.steps = nil
	return steps
}

func run(t *testing.T, ctx context.Context, what string, actions ...chromedp.Action) {
	t.Helper()
	if err := chromedp.Run(ctx, actions...); err != nil {
		t.Fatalf("in the browser, %s: %v", what, err)
	}
}

// click clicks and waits for the page that follows.
func click(t *testing.T, ctx context.Context, button string) {
	t.Helper()
	if _, err := chromedp.RunResponse(ctx, chromedp.Click(button, chromedp.ByQuery)); err != nil {
		t.Fatalf("in the browser, click on %s: %v", button, err)
	}
}

// read returns the text of an element. A page may still be taking the place of
// another, so it is tried for as long as the browser lasts.
func read(t *testing.T, ctx context.Context, element string) (text string) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := chromedp.Run(ctx, chromedp.Evaluate(fmt.Sprintf("document.querySelector(%q).innerText", element), &text))
		if err == nil {
			return text
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("in the browser, read %s: %v", element, err)
		}
	}
}

// look returns where the browser is, and what it shows there. Run with
// -artifacts, the test keeps a picture of it.
func look(t *testing.T, ctx context.Context, name string) (at *url.URL, text string) {
	t.Helper()
	var location string
	var png []byte
	text = read(t, ctx, "body")
	run(t, ctx, "look", chromedp.Location(&location), chromedp.CaptureScreenshot(&png))
	if err := os.WriteFile(filepath.Join(t.ArtifactDir(), name+".png"), png, 0o600); err != nil {
		t.Fatal(err)
	}
	at, err := url.Parse(location)
	if err != nil {
		t.Fatal(err)
	}
	return at, text
}

// flowCookies returns the cookies that the library has set in a browser.
func flowCookies(t *testing.T, ctx context.Context) (list []*network.Cookie) {
	t.Helper()
	run(t, ctx, "cookies", chromedp.ActionFunc(func(ctx context.Context) error {
		all, err := storage.GetCookies().Do(ctx)
		for _, c := range all {
			if c.Name != "session" {
				list = append(list, c)
			}
		}
		return err
	}))
	return list
}

func signIn(t *testing.T, ctx context.Context) {
	t.Helper()
	run(t, ctx, "sign in",
		chromedp.SendKeys("input[name=username]", "alice", chromedp.ByQuery),
		chromedp.SendKeys("input[name=password]", authservers.Password, chromedp.ByQuery),
	)
}

func TestBrowserConnects(t *testing.T) {
	ctx := authservers.Browser(t)
	w := startWebProgram(t)
	tr := follow(ctx)

	run(t, ctx, "log in", chromedp.Navigate(w.URL+"/login"))
	tr.take()
	click(t, ctx, "button")
	at, _ := look(t, ctx, "provider")
	if want := w.provider.AuthURL; !strings.HasPrefix(at.String(), want+"?") {
		t.Fatalf("after Connect the browser is at %s, want %s", at, want)
	}
	if got, want := tr.take(), []string{"303 /connect", "200 /acme/authorize"}; !slices.Equal(got, want) {
		t.Errorf("answers on the way to the provider: got %q, want %q", got, want)
	}
	cookies := flowCookies(t, ctx)
	if len(cookies) != 1 {
		t.Fatalf("while the flow goes on: got %d cookies, want 1", len(cookies))
	}
	if c := cookies[0]; !c.HTTPOnly || c.SameSite != network.CookieSameSiteLax || c.Session {
		t.Errorf("while the flow goes on: got cookie %+v, want HttpOnly, SameSite=Lax and an end", *c)
	}

	signIn(t, ctx)
	click(t, ctx, "button[value=allow]")
	at, text := look(t, ctx, "connected")
	if at.String() != w.URL+"/settings" || !strings.Contains(text, "Connected as sub-of-alice.") {
		t.Errorf("at the end the browser is at %s and shows %q", at, text)
	}
	if got, want := tr.take(), []string{"303 /acme/authorize", "303 /OAuth/Callback/crm", "200 /settings"}; !slices.Equal(got, want) {
		t.Errorf("answers on the way back: got %q, want %q", got, want)
	}
	if cookies := flowCookies(t, ctx); len(cookies) != 0 {
		t.Errorf("when the flow is over: got %d cookies, want none", len(cookies))
	}

	// The code is nowhere to be found again.
	run(t, ctx, "history", chromedp.ActionFunc(func(ctx context.Context) error {
		_, entries, err := page.GetNavigationHistory().Do(ctx)
		for _, e := range entries {
			if strings.Contains(e.URL, "code=") {
				t.Errorf("the browser's history has a code in it")
			}
		}
		return err
	}))
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, referer := range w.referers {
		if strings.Contains(referer, "code=") || strings.Contains(referer, "state=") {
			t.Errorf("a Referer header has the callback's query in it")
		}
	}
}

func TestBrowserDenied(t *testing.T) {
	require.Long(t, "a browser at Deny")
	ctx := authservers.Browser(t)
	w := startWebProgram(t)
	run(t, ctx, "log in", chromedp.Navigate(w.URL+"/login"))
	click(t, ctx, "button")
	signIn(t, ctx)
	click(t, ctx, "button[value=deny]")
	if _, text := look(t, ctx, "denied"); !strings.Contains(text, "Access was not granted") {
		t.Errorf("after Deny the page says %q", text)
	}
	if n := len(w.provider.Token.Log()); n != 0 {
		t.Errorf("got %d token requests, want none", n)
	}
}

// A callback in another browser than the one that began the flow is refused,
// even if the same user is logged in there.
func TestBrowserAnother(t *testing.T) {
	require.Long(t, "a callback in another browser")
	first := authservers.Browser(t)
	w := startWebProgram(t)
	run(t, first, "log in", chromedp.Navigate(w.URL+"/login"))
	click(t, first, "button")
	at, _ := look(t, first, "provider")
	query := authservers.Login(t, at.String(), authservers.Person{Name: "mallory"})

	second, cancel := chromedp.NewContext(first, chromedp.WithNewBrowserContext())
	defer cancel()
	run(t, second, "log in", chromedp.Navigate(w.URL+"/login"))
	run(t, second, "callback", chromedp.Navigate(w.URL+"/OAuth/Callback/crm?"+query.Encode()))
	if _, text := look(t, second, "another browser"); !strings.Contains(text, "another browser") {
		t.Errorf("in another browser the page says %q", text)
	}
	if n := len(w.provider.Token.Log()); n != 0 {
		t.Errorf("got %d token requests, want none", n)
	}
	run(t, second, "settings", chromedp.Navigate(w.URL+"/settings"))
	if _, text := look(t, second, "settings"); !strings.Contains(text, "Nothing is connected.") {
		t.Errorf("afterwards the page says %q", text)
	}
}

// The example program does what its comment says, with a provider that knows
// nothing of the library.
func TestBrowserExample(t *testing.T) {
	require.Long(t, "examples/web in a browser")
	ctx := authservers.Browser(t)
	program := filepath.Join(t.TempDir(), "web")
	build := exec.Command("go", "build", "-o", program, ".")
	build.Dir = "../../examples/web"
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := ln.Addr().String()
	ln.Close()
	redirect := "http://" + address + "/callback/crm"
	s := authservers.Fosite(t, authservers.Options{RedirectURLs: []string{redirect}})
	cmd := exec.Command(program, "-listen", address, "-discovery", s.DiscoveryURL, "-client-id", authservers.Web.ID)
	cmd.Env = append(os.Environ(), "AUTHPROFILE_CLIENT_SECRET="+authservers.Web.Secret)
	said := authservers.Program(t, cmd, regexp.MustCompile(`register (\S+) with the provider, and open (\S+)`))
	if said[1] != redirect {
		t.Errorf("the program says to register %s, want %s", said[1], redirect)
	}

	stateIs := func(want string) {
		t.Helper()
		if got := read(t, ctx, "#state"); got != want {
			t.Errorf("the page says %q, want %q", got, want)
		}
	}
	run(t, ctx, "open", chromedp.Navigate(said[2]), chromedp.SendKeys("input[name=name]", "alice", chromedp.ByQuery))
	click(t, ctx, "#login")
	stateIs("not connected")
	click(t, ctx, "#connect")
	signIn(t, ctx)
	click(t, ctx, "button[value=allow]")
	stateIs("connected")
	if at, _ := look(t, ctx, "example"); at.String() != said[2] {
		t.Errorf("at the end the browser is at %s, want %s", at, said[2])
	}
	if n := s.Token.Count("authorization_code"); n != 1 {
		t.Errorf("got %d code exchanges, want 1", n)
	}
	click(t, ctx, "#disconnect")
	stateIs("not connected")
	if n := s.Requests(s.RevocationURL); n == 0 {
		t.Errorf("the provider was not told of the end")
	}
}
