package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/authprofile/authprofile/providertest"
)

// connect runs "connect crm" with a browser.
func (w *world) connect(browse func(address string) error, args ...string) (code int, stdout, stderr string) {
	w.t.Helper()
	var out, errs bytes.Buffer
	code = w.app(strings.NewReader(""), &out, &errs, browse).run(w.t.Context(), append([]string{"connect", "crm"}, args...))
	return code, out.String(), errs.String()
}

func TestConnect(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var start string
	code, stdout, stderr := w.connect(func(address string) error {
		start = address
		return follow(newBrowser(t), address)
	}, "--user", "ada")
	if want := "Connected crm for ada as ada@example.com.\n"; code != 0 || stdout != want {
		t.Fatalf("got exit code %d, %q and %q, want 0 and %q", code, stdout, stderr, want)
	}
	if _, err := http.Get(start); err == nil {
		t.Error("got an answer, want that the listener is closed")
	}
	// Connected anew, without --user: there is only one.
	if code, stdout, stderr = w.connect(nil); code != 0 || !strings.Contains(stdout, "for ada ") {
		t.Errorf("got exit code %d, %q and %q, want that of ada", code, stdout, stderr)
	}
	if code, stdout, _ = w.connect(nil, "--output", "json"); code != 0 || !strings.Contains(stdout, `"user": "ada"`) || !strings.Contains(stdout, `"access_token": "[redacted]"`) {
		t.Errorf("got exit code %d and %s, want the grant without its tokens", code, stdout)
	}
	if got := w.api(w.ok("token", "crm")); got != http.StatusOK {
		t.Errorf("got status %d of the API, want %d", got, http.StatusOK)
	}
	w.fails(2, "no user authorizes", "connect", appProfile(w))
}

// appProfile adds a profile of an application, and returns its ID.
func appProfile(w *world) string {
	w.t.Helper()
	w.ok("profile", "add", "ci", "--type", "app", "--provider", w.srv.DiscoveryURL(), "--client-id", providertest.ClientID, "--client-secret-from", "env:CLIENT_SECRET")
	return "ci"
}

// TestThreat170_Callbacks: one callback is taken, with the right Host, path, state and
// browser; all others are told so and change nothing.
func TestThreat170_Callbacks(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	code, stdout, stderr := w.connect(func(start string) error {
		u, err := url.Parse(start)
		if err != nil {
			return err
		}
		if ip := net.ParseIP(u.Hostname()); ip == nil || !ip.IsLoopback() {
			t.Errorf("got host %s, want loopback", u.Host)
		}
		if strings.Contains(start, "state") {
			t.Errorf("got start page %s, want it without the state: it is among the arguments of a process", start)
		}
		browser := newBrowser(t)
		browser.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
		get := func(c *http.Client, method, address, host string) (int, string) {
			t.Helper()
			req, err := http.NewRequest(method, address, nil)
			if err != nil {
				t.Fatal(err)
			}
			if host != "" {
				req.Host = host
			}
			resp, err := c.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			io.Copy(io.Discard, resp.Body)
			return resp.StatusCode, resp.Header.Get("Location")
		}
		if status, _ := get(browser, "GET", start, "evil.example.com"); status != http.StatusMisdirectedRequest {
			t.Errorf("start page under another Host: got status %d, want %d", status, http.StatusMisdirectedRequest)
		}
		status, provider := get(browser, "GET", start, "")
		if status != http.StatusSeeOther {
			t.Errorf("start page: got status %d, want %d", status, http.StatusSeeOther)
		}
		if status, _ := get(http.DefaultClient, "GET", start, ""); status != http.StatusGone {
			t.Errorf("start page in another browser: got status %d, want %d", status, http.StatusGone)
		}
		_, back := get(browser, "GET", provider, "")
		callback, err := url.Parse(back)
		if err != nil {
			return err
		}
		other := func(change func(u *url.URL, q url.Values)) string {
			u, q := *callback, callback.Query()
			change(&u, q)
			u.RawQuery = q.Encode()
			return u.String()
		}
		for _, c := range []struct {
			name, method, address, host string
			client                      *http.Client
			want                        int
		}{
			{"another Host", "GET", back, "evil.example.com", browser, http.StatusMisdirectedRequest},
			{"another port in Host", "GET", back, "127.0.0.1:1", browser, http.StatusMisdirectedRequest},
			{"localhost in Host", "GET", back, "localhost:" + callback.Port(), browser, http.StatusMisdirectedRequest},
			{"another path", "GET", other(func(u *url.URL, _ url.Values) { u.Path = "/callback/" }), "", browser, http.StatusNotFound},
			{"the root", "GET", other(func(u *url.URL, _ url.Values) { u.Path = "/" }), "", browser, http.StatusNotFound},
			{"POST", "POST", back, "", browser, http.StatusMethodNotAllowed},
			{"another state", "GET", other(func(_ *url.URL, q url.Values) { q.Set("state", "of another flow") }), "", browser, http.StatusBadRequest},
			{"no state", "GET", other(func(_ *url.URL, q url.Values) { q.Del("state") }), "", browser, http.StatusBadRequest},
			{"two states", "GET", other(func(_ *url.URL, q url.Values) { q.Add("state", "x") }), "", browser, http.StatusBadRequest},
			{"another browser", "GET", back, "", http.DefaultClient, http.StatusBadRequest},
		} {
			if status, _ := get(c.client, c.method, c.address, c.host); status != c.want {
				t.Errorf("%s: got status %d, want %d", c.name, status, c.want)
			}
		}
		if n := w.srv.Count("authorization_code"); n != 0 {
			t.Errorf("got %d exchanges of a code, want none yet", n)
		}
		if status, _ := get(browser, "GET", back, ""); status != http.StatusOK {
			t.Errorf("the callback: got status %d, want %d", status, http.StatusOK)
		}
		if resp, err := browser.Get(back); err == nil { // while it closes, it refuses
			resp.Body.Close()
			if resp.StatusCode != http.StatusBadRequest {
				t.Errorf("the callback once more: got status %d, want %d", resp.StatusCode, http.StatusBadRequest)
			}
		}
		return nil
	}, "--user", "ada")
	if code != 0 || !strings.Contains(stdout, "Connected crm for ada") {
		t.Errorf("got exit code %d, %q and %q, want 0", code, stdout, stderr)
	}
	if n := w.srv.Count("authorization_code"); n != 1 {
		t.Errorf("got %d exchanges of a code, want 1", n)
	}
}

// session is a "connect" that a test talks to.
type session struct {
	w      *world
	cancel context.CancelFunc
	stdin  *io.PipeWriter
	stderr *watched
	stdout bytes.Buffer
	code   chan int
}

func (w *world) begin(args ...string) *session {
	ctx, cancel := context.WithCancel(w.t.Context())
	r, stdin := io.Pipe()
	s := &session{w: w, cancel: cancel, stdin: stdin, stderr: newWatched(), code: make(chan int, 1)}
	a := w.app(r, &s.stdout, s.stderr, func(string) error { return errors.New("no display") })
	go func() {
		s.code <- a.run(ctx, append([]string{"connect", "crm"}, args...))
		r.Close()
	}()
	return s
}

// back goes to the printed address, and returns where the provider sends the browser.
func (s *session) back() string {
	s.w.t.Helper()
	address := s.stderr.after(s.w.t.Context(), "Open this address in a browser:\n\n")
	c := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := c.Get(address)
	if err != nil {
		s.w.t.Fatal(err)
	}
	resp.Body.Close()
	return resp.Header.Get("Location")
}

func TestConnectByPaste(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		paste func(back *url.URL) string
	}{
		{"the whole address", func(u *url.URL) string { return u.String() }},
		{"its query", func(u *url.URL) string { return "?" + u.RawQuery }},
		{"its query without the mark", func(u *url.URL) string { return u.RawQuery }},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			s := w.begin("--user", "ada", "--no-browser")
			back, err := url.Parse(s.back())
			if err != nil {
				t.Fatal(err)
			}
			elsewhere := *back
			elsewhere.Host = "127.0.0.1:1"
			for _, wrong := range []string{"", "what?", "http://127.0.0.1:1/callback?state=x&code=y", elsewhere.String(), "code=x&state=y"} {
				fmt.Fprintln(s.stdin, wrong)
			}
			fmt.Fprintln(s.stdin, c.paste(back))
			if code := <-s.code; code != 0 || !strings.HasPrefix(s.stdout.String(), "Connected crm for ada") {
				t.Errorf("got exit code %d, %q and %s, want 0", code, s.stdout.String(), s.stderr)
			}
			if got := strings.Count(s.stderr.String(), "That is not the answer"); got != 4 {
				t.Errorf("got %d refusals, want 4", got)
			}
		})
	}
}

// Without a browser on this machine, or with standard input at its end, a browser that
// reaches the port is taken.
func TestConnectWithoutBrowser(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"--user", "ada", "--no-browser"}, {"--user", "ada"}} {
		w := newWorld(t)
		s := w.begin(args...)
		back := s.back()
		s.stdin.Close()
		if err := follow(http.DefaultClient, back); err != nil {
			t.Fatal(err)
		}
		if code := <-s.code; code != 0 {
			t.Errorf("%q: got exit code %d and %s, want 0", args, code, s.stderr)
		}
	}
	w := newWorld(t)
	w.env["SSH_CONNECTION"] = "192.0.2.1 1 192.0.2.2 22"
	s := w.begin("--user", "ada")
	fmt.Fprintln(s.stdin, s.back())
	if code := <-s.code; code != 0 || strings.Contains(s.stderr.String(), "Opening") {
		t.Errorf("got exit code %d and %s, want 0 and no browser", code, s.stderr)
	}
}

// TestThreat173_InterruptedConnect: a browser that was closed is followed by Ctrl-C,
// after which nothing is left.
func TestThreat173_InterruptedConnect(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.begin("--user", "ada", "--no-browser")
	s.back()
	if got := w.flows(); got != 1 {
		t.Errorf("got %d flows, want 1", got)
	}
	s.cancel()
	if code := <-s.code; code != 1 || !strings.HasSuffix(s.stderr.String(), "\nauthprofile: interrupted\n") {
		t.Errorf("got exit code %d and %s, want 1 and a word", code, s.stderr)
	}
	if got := w.flows(); got != 0 {
		t.Errorf("got %d flows, want none", got)
	}
	if g := w.grant("ada"); g != nil {
		t.Errorf("got %v, want no grant", g)
	}
}

func TestConnectRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.srv.SetConsent(providertest.Consent{Error: "access_denied", Description: "the user said no"})
	if code, stdout, stderr := w.connect(nil, "--user", "ada"); code != 1 || stdout != "" ||
		!strings.Contains(stderr, "authprofile: the provider says that access was denied: run it again: authprofile connect crm --user ada\n") {
		t.Errorf("got exit code %d, %q and %q, want 1 and what to do", code, stdout, stderr)
	}
	w.srv.SetConsent(providertest.Consent{Subject: "ada"})
	if code, _, stderr := w.connect(nil, "--user", "ada"); code != 0 {
		t.Fatalf("got exit code %d and %s, want 0", code, stderr)
	}
	w.srv.SetConsent(providertest.Consent{Subject: "bob"})
	if code, _, stderr := w.connect(nil, "--user", "ada"); code != 1 || !strings.Contains(stderr, "another account") || !strings.Contains(stderr, "authprofile grant revoke crm --user ada") {
		t.Errorf("got exit code %d and %q, want 1 and what to do", code, stderr)
	}
	w.srv.SetConsent(providertest.Consent{Subject: "ada"})
	w.srv.Fault(providertest.Token, providertest.Fault{Times: -1, Status: http.StatusServiceUnavailable})
	if code, _, stderr := w.connect(nil, "--user", "ada"); code != 5 {
		t.Errorf("got exit code %d and %q, want 5", code, stderr)
	}
}

// A profile with a redirect address of its own comes back there.
func TestConnectRedirectAddress(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	add := func(id, redirect string) {
		w.ok("profile", "add", id, "--provider", w.srv.DiscoveryURL(), "--client-id", providertest.ClientID,
			"--client-secret-from", "env:CLIENT_SECRET", "--scope", "offline_access", "--redirect-url", redirect)
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	host := taken.Addr().String()
	add("fixed", "http://"+host+"/oauth?app=1")
	w.fails(1, host+" cannot be listened on: end the program that does", "connect", "fixed", "--user", "ada")
	taken.Close()
	if got := w.ok("connect", "fixed", "--user", "ada"); !strings.HasPrefix(got, "Connected fixed for ada") {
		t.Errorf("got %q, want connected", got)
	}
	add("free", "http://127.0.0.1/registered")
	if got := w.ok("connect", "free", "--user", "ada"); !strings.HasPrefix(got, "Connected free for ada") {
		t.Errorf("got %q, want connected", got)
	}
	add("local", "http://localhost/callback")
	if got := w.ok("connect", "local", "--user", "ada"); !strings.HasPrefix(got, "Connected local for ada") {
		t.Errorf("got %q, want connected", got)
	}
	add("site", "https://app.example.com/callback")
	w.fails(1, "comes back to https://app.example.com/callback, where authprofile cannot listen", "connect", "site", "--user", "ada")
}

// A redirect address that is not on this machine: what is pasted is the answer.
func TestConnectElsewhere(t *testing.T) {
	for redirect, shown := range map[string]string{
		"https://app.example.com/oauth/callback?app=1": "https://app.example.com/oauth/callback?app=1&",
		"https://App.example.com:443":                  "https://app.example.com/?",
	} {
		t.Run(redirect, func(t *testing.T) {
			w := newWorld(t)
			w.ok("profile", "delete", "crm", "--yes")
			w.ok("profile", "add", "crm", "--provider", w.srv.DiscoveryURL(), "--client-id", providertest.ClientID,
				"--client-secret-from", "env:CLIENT_SECRET", "--scope", "offline_access", "--redirect-url", redirect)
			s := w.begin("--user", "ada", "--no-browser")
			back := s.back()
			_, query, _ := strings.Cut(back, "?")
			query = strings.TrimPrefix(query, "app=1&")
			for _, wrong := range []string{
				"https://evil.example.com/oauth/callback?app=1&" + query,
				"https://app.example.com/other?app=1&" + query,
				"evil:" + query,
			} {
				fmt.Fprintln(s.stdin, wrong)
			}
			fmt.Fprintln(s.stdin, shown+query)
			if code := <-s.code; code != 0 || !strings.HasPrefix(s.stdout.String(), "Connected crm for ada") {
				t.Errorf("got exit code %d, %q and %s, want 0", code, s.stdout.String(), s.stderr)
			}
			if got := strings.Count(s.stderr.String(), "That is not the answer"); got != 3 {
				t.Errorf("got %d refusals, want 3", got)
			}
			// Without an answer there is an end, too.
			s = w.begin("--user", "ada", "--no-browser")
			s.back()
			s.stdin.Close()
			if code := <-s.code; code != 1 || !strings.HasSuffix(s.stderr.String(), "standard input has ended without an answer\n") {
				t.Errorf("got exit code %d and %s, want 1 and a word", code, s.stderr)
			}
		})
	}
}
