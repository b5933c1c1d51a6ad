package cli

import (
	"context"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/authprofile/authprofile"
)

// A served is a console that is being served.
type served struct {
	t         testing.TB
	link      string
	base      string
	stderr    *watched
	interrupt context.CancelFunc
	code      chan int
}

// serve serves a console at a free port, until the end of the test.
func (w *world) serve(browse func(string) error, args ...string) *served {
	w.t.Helper()
	ctx, interrupt := context.WithCancel(w.t.Context())
	s := &served{t: w.t, stderr: newWatched(), interrupt: interrupt, code: make(chan int, 1)}
	stdout := newWatched()
	a := w.app(strings.NewReader(""), stdout, s.stderr, browse)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		s.code <- a.run(ctx, append([]string{"serve", "--listen", "127.0.0.1:0"}, args...))
	}()
	w.t.Cleanup(func() { interrupt(); <-ended })
	await, cancel := context.WithTimeout(w.t.Context(), 30*time.Second)
	defer cancel()
	s.link = "http://" + stdout.after(await, "http://")
	u, err := url.Parse(s.link)
	if err != nil || u.Port() == "" {
		w.t.Fatalf("got %q and %q, want a link", stdout, s.stderr)
	}
	s.base = "http://" + u.Host
	return s
}

// visitor returns a browser that does not follow redirects.
func visitor(t testing.TB) *http.Client {
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// visit makes a request, and returns the answer and its body. Change changes the
// request before.
func (s *served) visit(browser *http.Client, address string, change func(*http.Request)) (*http.Response, string) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), "GET", address, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	if change != nil {
		change(req)
	}
	resp, err := browser.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return resp, string(body)
}

// wants makes sure that an address is answered with a status, and gives no session.
func (s *served) wants(status int, address string, change func(*http.Request)) {
	s.t.Helper()
	resp, body := s.visit(visitor(s.t), address, change)
	if resp.StatusCode != status || len(resp.Cookies()) > 0 || strings.Contains(body, "Overview") {
		s.t.Errorf("%s: got status %d and cookies %v, want %d and none", address, resp.StatusCode, resp.Cookies(), status)
	}
}

func TestThreat171_Link(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.serve(nil, "--no-browser")
	secret := s.link[strings.LastIndexByte(s.link, '/')+1:]
	if len(secret) != 43 { // 256 bits
		t.Errorf("got a secret of %d characters, want 43", len(secret))
	}

	// What does not let in, and does not use the link up.
	s.wants(403, s.base+"/", nil)
	s.wants(403, s.base+"/console/", nil)
	s.wants(403, s.base+"/console/../connections/", nil)
	s.wants(404, s.base+"/login/", nil)
	s.wants(404, s.base+"/login/"+strings.Repeat("A", 43), nil)
	s.wants(404, s.link+"A", nil)
	s.wants(404, s.link+"/", nil)
	s.wants(405, s.link, func(r *http.Request) { r.Method = "HEAD" })
	s.wants(405, s.link, func(r *http.Request) { r.Method = "POST" })
	s.wants(403, s.link, func(r *http.Request) { r.Header.Set("Sec-Purpose", "prefetch") })
	for _, host := range []string{"evil.example", "localhost:" + s.base[strings.LastIndexByte(s.base, ':')+1:], "127.0.0.1", "[::1]"} {
		s.wants(421, s.link, func(r *http.Request) { r.Host = host })
		s.wants(421, s.base+"/console/", func(r *http.Request) { r.Host = host })
	}

	// The link lets one browser in, and leads away from the secret.
	browser := visitor(t)
	resp, _ := s.visit(browser, s.link, nil)
	cookies := resp.Cookies()
	if resp.StatusCode != 303 || resp.Header.Get("Location") != "/login" || resp.Header.Get("Referrer-Policy") != "no-referrer" || resp.Header.Get("Cache-Control") != "no-store" || len(cookies) != 1 {
		t.Fatalf("got status %d, %v, want to be let in", resp.StatusCode, resp.Header)
	}
	if c := cookies[0]; !c.HttpOnly || c.SameSite != http.SameSiteStrictMode || c.Path != "/" || strings.Contains(c.Value, secret) {
		t.Errorf("got cookie %v, want one for this site alone, with a secret of its own", c)
	}
	if resp, body := s.visit(browser, s.base+"/login", nil); resp.StatusCode != 200 || !strings.Contains(body, `content="0; url=/console/"`) {
		t.Errorf("got status %d and %s, want to be led on", resp.StatusCode, body)
	}
	if resp, body := s.visit(browser, s.base+"/console/", nil); resp.StatusCode != 200 || !strings.Contains(body, "Overview") || strings.Contains(body, secret) {
		t.Errorf("got status %d and %s, want the console", resp.StatusCode, body)
	}
	if resp, _ := s.visit(browser, s.base+"/", nil); resp.StatusCode != 303 || resp.Header.Get("Location") != "/console/" {
		t.Errorf("got status %d to %q, want to be sent to the console", resp.StatusCode, resp.Header.Get("Location"))
	}
	if resp, _ := s.visit(browser, s.base+"/console/", func(r *http.Request) { r.Host = "evil.example" }); resp.StatusCode != 421 {
		t.Errorf("got status %d with another host, want 421", resp.StatusCode)
	}

	// Used up for others, and not for the browser that was let in, which may go back.
	s.wants(410, s.link, nil)
	if resp, _ := s.visit(browser, s.link, nil); resp.StatusCode != 303 {
		t.Errorf("got status %d for the browser that was let in, want 303", resp.StatusCode)
	}

	// The cookie of another instance, also under the right name.
	other := w.serve(nil, "--no-browser")
	theirs, _ := other.visit(visitor(t), other.link, nil)
	foreign := theirs.Cookies()[0]
	if foreign.Name == cookies[0].Name {
		t.Errorf("got cookie name %q of both instances, want two names", foreign.Name)
	}
	s.wants(403, s.base+"/console/", func(r *http.Request) { r.AddCookie(foreign) })
	s.wants(403, s.base+"/console/", func(r *http.Request) {
		r.AddCookie(&http.Cookie{Name: cookies[0].Name, Value: foreign.Value})
	})

	// Ctrl-C ends it.
	s.interrupt()
	if code := <-s.code; code != 0 {
		t.Errorf("got exit code %d and %s, want 0", code, s.stderr)
	}
	if resp, err := browser.Get(s.base + "/console/"); err == nil {
		resp.Body.Close()
		t.Error("got an answer after the end, want none")
	}
	if strings.Contains(s.stderr.String(), secret) {
		t.Error("got the secret on standard error, want it on standard output alone")
	}
}

func TestThreat171_LinkExpires(t *testing.T) {
	t.Parallel()
	g := newGate("127.0.0.1:1", time.Now().Add(-linkTime))
	w := httptest.NewRecorder()
	g.ServeHTTP(w, httptest.NewRequest("GET", "http://127.0.0.1:1/login/"+g.secret, nil))
	if w.Code != http.StatusGone || w.Header().Get("Set-Cookie") != "" {
		t.Errorf("got status %d and %v, want 410", w.Code, w.Header())
	}
}

func TestServeListensOnLoopbackOnly(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, address := range []string{"0.0.0.0:0", ":0", "[::]:0", "192.0.2.1:0", "example.com:80", "127.0.0.1", "8642", "[fe80::1%lo]:0"} {
		w.fails(2, "--listen is ", "serve", "--listen", address, "--no-browser")
	}
	s := w.serve(nil, "--no-browser")
	w.fails(1, "cannot be listened on: end the program that does, or say --listen 127.0.0.1:0", "serve", "--listen", strings.TrimPrefix(s.base, "http://"))
}

// Browsers leave out the port that HTTP has by itself, and shorten addresses.
func TestServeHostAsBrowsersWriteIt(t *testing.T) {
	t.Parallel()
	for _, test := range [][3]string{
		{"127.0.0.1", "80", "127.0.0.1"}, {"::1", "80", "[::1]"}, {"::1", "8080", "[::1]:8080"}, {"localhost", "80", "localhost"},
	} {
		if got := hostOf(test[0], test[1]); got != test[2] {
			t.Errorf("%s, port %s: got %q, want %q", test[0], test[1], got, test[2])
		}
	}
	for text, want := range map[string][2]string{
		"0:0::0001": {"::1", "::1"}, "::ffff:127.0.0.1": {"127.0.0.1", "127.0.0.1"}, "127.0.0.2": {"127.0.0.2", "127.0.0.2"},
		"localhost": {"localhost", "127.0.0.1"}, "::": {}, "::ffff:192.0.2.1": {}, "127.1": {}, "": {},
	} {
		if name, at := loopbackName(text); [2]string{name, at} != want {
			t.Errorf("%s: got %q at %q, want %q", text, name, at, want)
		}
	}
}

// The browser's program is given a file that only this user can read, and no secret.
func TestThreat168_ServeOpensPrivately(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	opened := make(chan string, 1)
	s := w.serve(func(address string) error { opened <- address; return nil })
	address := <-opened
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "file" {
		t.Fatalf("got %q, want the address of a file", address)
	}
	info, err := os.Stat(u.Path)
	if err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(u.Path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 || !strings.Contains(string(content), `content="0; url=`+s.link+`"`) {
		t.Errorf("got mode %o and %s, want a private file that leads to the link", info.Mode().Perm(), content)
	}
	s.interrupt()
	<-s.code
	if _, err := os.Stat(u.Path); !os.IsNotExist(err) {
		t.Errorf("got %v, want the file removed at the end", err)
	}
}

// A person connects an account, and comes back from the provider without the cookie of
// the gate, as browsers do.
func TestServeConnect(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ok("profile", "add", "elsewhere", "--provider", w.srv.DiscoveryURL(), "--client-id", "client", "--redirect-url", "https://app.example.com/callback")
	s := w.serve(nil, "--no-browser")
	browser := visitor(t)
	s.visit(browser, s.link, nil)
	_, page := s.visit(browser, s.base+"/connections/", nil)
	if !strings.Contains(page, `value="crm"`) || strings.Contains(page, "elsewhere") {
		t.Fatalf("got %s, want the profile that comes back here alone", page)
	}
	post := func(change func(*http.Request)) *http.Response {
		req, err := http.NewRequestWithContext(t.Context(), "POST", s.base+"/connections/connect", strings.NewReader("profile=crm"))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.Header.Set("Referer", s.base+"/connections/")
		if change != nil {
			change(req)
		}
		resp, err := browser.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp
	}
	if resp := post(func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") }); resp.StatusCode != 403 {
		t.Errorf("got status %d for another site's form, want 403", resp.StatusCode)
	}
	begun := post(nil)
	if begun.StatusCode != 302 && begun.StatusCode != 303 {
		t.Fatalf("got status %d, want to be sent to the provider", begun.StatusCode)
	}
	callback, err := w.srv.Authorize(begun.Header.Get("Location"))
	if err != nil {
		t.Fatal(err)
	}
	resp, body := s.visit(&http.Client{}, callback.String(), func(r *http.Request) {
		for _, c := range begun.Cookies() {
			r.AddCookie(c)
		}
	})
	if resp.StatusCode != 200 || !strings.Contains(body, `content="0; url=/connections/`) || strings.Contains(body, callback.Query().Get("code")) {
		t.Errorf("got status %d and %s, want to be led on", resp.StatusCode, body)
	}
	if g := w.grant(osUser()); g == nil || g.Status != authprofile.StatusActive {
		t.Errorf("got %v, want the grant of the user of this machine", g)
	}
}

// The first use can be that of the console.
func TestServeWithoutDatabase(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	w := &world{t: t, dir: dir, env: map[string]string{"AUTHPROFILE_STORE": "sqlite:" + dir + "/auth.db", "AUTHPROFILE_KEYS": dir + "/keys"}}
	w.fails(1, "there is no database", "serve", "--listen", "127.0.0.1:0", "--no-browser", "--read-only")
	s := w.serve(nil, "--no-browser")
	browser := visitor(t)
	s.visit(browser, s.link, nil)
	if resp, _ := s.visit(browser, s.base+"/console/", nil); resp.StatusCode != 200 {
		t.Errorf("got status %d, want the console", resp.StatusCode)
	}
	if !strings.Contains(s.stderr.String(), "made a key ring") {
		t.Errorf("got %q, want a word on the key ring", s.stderr)
	}
}

// Read-only, nothing can be changed.
func TestServeReadOnly(t *testing.T) {
	t.Parallel()
	s := newWorld(t).serve(nil, "--no-browser", "--read-only")
	browser := visitor(t)
	s.visit(browser, s.link, nil)
	for path, want := range map[string]int{"/console/": 200, "/connections/": 404, "/callback": 404} {
		if resp, _ := s.visit(browser, s.base+path, nil); resp.StatusCode != want {
			t.Errorf("%s: got status %d, want %d", path, resp.StatusCode, want)
		}
	}
}
