package main

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/authprofile/authprofile"
)

// A visitor is a person with a browser at the site.
type visitor struct {
	t *testing.T
	http.Client
	site string
	at   *url.URL // the page that was opened last
}

// start starts the program, which is stopped at the end of the test, and returns a
// visitor of its site.
func start(t *testing.T) *visitor {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	r, w := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		err := run(ctx, w, "127.0.0.1:0")
		w.CloseWithError(err)
		ended <- err
	}()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("got %v at the end, want no error", err)
		}
	})
	line, err := bufio.NewReader(r).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	site := regexp.MustCompile(`http://[^/ ]+`).FindString(line)
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &visitor{t: t, Client: http.Client{Jar: jar}, site: site}
}

// page sends a request, and returns the page where it ends.
func (v *visitor) page(method, address string, form url.Values) string {
	v.t.Helper()
	r, err := http.NewRequest(method, address, strings.NewReader(form.Encode()))
	if err != nil {
		v.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if v.at != nil {
		r.Header.Set("Referer", v.at.String())
	}
	resp, err := v.Do(r)
	if err != nil {
		v.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		v.t.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK {
		v.t.Errorf("%s: got status %d, want 200", address, resp.StatusCode)
	}
	v.at = resp.Request.URL
	return string(text)
}

func (v *visitor) get(path string) string {
	v.t.Helper()
	return v.page(http.MethodGet, v.site+path, nil)
}

func (v *visitor) post(path string, form url.Values) string {
	v.t.Helper()
	return v.page(http.MethodPost, v.site+path, form)
}

func wants(t *testing.T, page string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(page, part) {
			t.Errorf("got a page without %q:\n%s", part, page)
		}
	}
}

// answer answers the provider's page, on which the visitor is.
func (v *visitor) answer(answer string) string {
	v.t.Helper()
	query := v.at.Query()
	query.Set("account", "ada@home.example")
	query.Set("answer", answer)
	return v.page(http.MethodGet, v.at.Scheme+"://"+v.at.Host+v.at.Path+"?"+query.Encode(), nil)
}

func TestSite(t *testing.T) {
	v := start(t)

	// A link that was sent leads on after the login.
	wants(t, v.get("/connections/?profile=tasks"), "Who are you?")
	page := v.post("/login", url.Values{"name": {"olga"}, "then": {v.at.Query().Get("then")}})
	wants(t, page, "Your connections", "Please connect Task lists.", "Planner", "Connected since", "Temporarily interrupted", "Reconnect needed", "olga@example.com")

	connections := v.at
	wants(t, v.post("/connections/connect", url.Values{"profile": {"tasks"}}), "Allow access?")
	wants(t, v.answer("deny"), "Task lists is not connected.")
	wants(t, v.post("/connections/connect", url.Values{"profile": {"tasks"}}), "Allow access?")
	wants(t, v.answer("allow"), "Task lists is connected as ada@home.example.")
	if got, want := v.at.Path, connections.Path; got != want {
		t.Errorf("got the browser back at %s, want %s", got, want)
	}
	wants(t, v.post("/connections/disconnect", url.Values{"profile": {"tasks"}}), "Task lists is not connected.")

	wants(t, v.get("/"), "Hello, olga", "/auth/")
	wants(t, v.get("/auth/providers"), "Planner Tasks", "olga")
	wants(t, v.post("/login", url.Values{"name": {"eve"}, "then": {"https://evil.example/"}}), "Hello, eve")
	resp, err := v.Get(v.site + "/auth/providers")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if got, want := resp.StatusCode, http.StatusForbidden; got != want {
		t.Errorf("eve: got status %d, want %d", got, want)
	}
}

// There are grants in every state and for every reason, always the same ones.
func TestMadeUp(t *testing.T) {
	makeAll := func() []*authprofile.Grant {
		p, err := startProvider()
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		store := new(authprofile.MemStore)
		m := &authprofile.Manager{Store: store, HTTPClient: p.client(), RedirectURL: "http://127.0.0.1:8978/callback/{profile}", Providers: p.rows()}
		if err := makeUp(t.Context(), m, store, p); err != nil {
			t.Fatal(err)
		}
		var all []*authprofile.Grant
		for g, err := range m.Find(t.Context(), authprofile.GrantFilter{}) {
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, g)
		}
		return all
	}
	all := makeAll()
	if got, want := len(all), 2500; got < want {
		t.Errorf("got %d grants, want at least %d", got, want)
	}
	statuses, reasons := make(map[authprofile.Status]int), make(map[authprofile.Reason]int)
	soon := 0
	for _, g := range all {
		statuses[g.Status]++
		if (g.Failure == nil) != (g.Status == authprofile.StatusActive) {
			t.Errorf("%v: got status %s with the failure %v", g.GrantKey, g.Status, g.Failure)
		}
		if f := g.Failure; f != nil {
			reasons[f.Reason]++
			if f.Since.After(f.Last) || f.Last.After(time.Now()) {
				t.Errorf("%v: got a failure from %v to %v, want one in the past", g.GrantKey, f.Since, f.Last)
			}
		}
		if !g.Ends.IsZero() && time.Until(g.Ends) < 30*day {
			soon++
		}
	}
	if len(statuses) != 4 || len(reasons) != 13 || soon == 0 {
		t.Errorf("got the statuses %v, the reasons %v, and %d that end soon, want all of each", statuses, reasons, soon)
	}

	again := makeAll()
	if !slices.EqualFunc(all, again, func(a, b *authprofile.Grant) bool {
		return a.User == b.User && a.Status == b.Status && a.Account == b.Account
	}) {
		t.Error("got other grants the second time, want the same")
	}
}
