package console_test

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authprofile/authprofile"
	"github.com/authprofile/authprofile/console"
	"github.com/authprofile/authprofile/providertest"
)

// openWithProvider opens a console with a fake provider, and an app profile "reports"
// that is registered there.
func openWithProvider(t *testing.T, change func(*console.Handler)) (*browserTab, *authprofile.Manager, *providertest.Server) {
	t.Helper()
	srv := providertest.NewServer(t, providertest.InMemory("https://login.example.com"))
	m := &authprofile.Manager{HTTPClient: srv.Client(), RedirectURL: "https://app.example.com/callback"}
	p := &authprofile.Profile{
		ID: "reports", Name: "Reports", Type: authprofile.TypeApp, ClientID: providertest.ClientID, ClientSecret: providertest.ClientSecret,
		Endpoints: authprofile.Endpoints{DiscoveryURL: srv.DiscoveryURL()},
	}
	if err := m.Save(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	h := &console.Handler{Manager: m, Operator: operator}
	if change != nil {
		change(h)
	}
	return open(t, h), m, srv
}

// The test is of what is typed, and with the stored secret unless another is typed. It
// saves nothing.
func TestCheck(t *testing.T) {
	b, m, _ := openWithProvider(t, nil)
	page := b.get("profile?id=reports")
	page.wants(t, 200, `formaction="check" formtarget="check"`, `<iframe name="check" src="check"`)
	if got := page.header.Get("Content-Security-Policy"); !strings.Contains(got, "frame-src 'self'") {
		t.Errorf("got the policy %q, want one that lets the page have its frame", got)
	}
	form := formOf(t, page.body)
	for _, a := range []*answer{b.get("check"), b.post("check", form)} {
		a.wants(t, 200, "<h1>Test of the profile</h1>", "</html>")
		if got := a.header.Get("Content-Security-Policy"); !strings.Contains(got, "frame-ancestors 'self'") || a.header.Get("X-Frame-Options") != "SAMEORIGIN" {
			t.Errorf("got the policy %q, want one that lets the site's own page show it", got)
		}
		if strings.Contains(a.body, "<nav") || strings.Contains(a.body, "<script") {
			t.Errorf("got a page with navigation or script:\n%s", a.body)
		}
	}
	before := stored(t, m, "reports")
	for _, tt := range []struct {
		name string
		form url.Values
		want []string
	}{
		{"as stored", form, []string{"Authenticate the client: <span class=\"good\">Passed", "Get a token: <span class=\"good\">Passed", "Find the redirect URI: <span class=\"muted\">Not tested", "No step failed."}},
		{"another secret", with(form, "secret", "replace", "client_secret", "wrong-secret"), []string{"Authenticate the client: <span class=\"bad\">Failed", "What to do:", "One step failed."}},
		{"no secret", with(form, "secret", "remove"), []string{"Authenticate the client: <span class=\"bad\">Failed"}},
		{"another host", with(form, "discovery_url", "", "token_url", "https://nowhere.example.com/token"), []string{"Reach the provider: <span class=\"bad\">Failed", "Token address: nowhere.example.com", "see the step &#34;Reach the provider&#34;"}},
		{"not valid", with(form, "client_id", "", "params", "x"), []string{"Correct the form first", "Client ID is missing", "Parameters have no = in line 1"}},
		{"replaced by nothing", with(form, "secret", "replace"), []string{"Correct the form first", "Client secret is to be replaced"}},
		{"never saved", with(formOf(t, b.get("new-profile").body), "type", "app", "client_id", providertest.ClientID, "client_secret", providertest.ClientSecret, "discovery_url", before.Endpoints.DiscoveryURL), []string{"No step failed."}},
		{"deleted meanwhile", with(form, "id", "gone"), []string{"The profile was deleted in the meantime"}},
		{"forged", url.Values{"version": {"x"}}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			status := 200
			if tt.want == nil {
				status = 400
			}
			a := b.post("check", tt.form)
			a.wants(t, status, tt.want...)
			if strings.Contains(a.body, "wrong-secret") || strings.Contains(a.body, "=\"secret\"") {
				t.Error("got a page with a secret")
			}
		})
	}
	if got := stored(t, m, "reports"); got.Version != before.Version {
		t.Errorf("got version %d, want %d: a test has saved", got.Version, before.Version)
	}
	if list, err := m.ListProfiles(t.Context(), "", 10); err != nil || len(list) != 1 {
		t.Errorf("got %d profiles and error %v, want one", len(list), err)
	}
}

// A held transport lets requests to the token endpoint wait.
type held struct {
	http.RoundTripper
	release chan struct{}
	path    string
}

func (h *held) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method == http.MethodPost && r.URL.Path == h.path {
		select {
		case <-h.release:
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
	}
	return h.RoundTripper.RoundTrip(r)
}

// Each step is shown as it ends, and a browser that leaves ends the test.
func TestStepsAreSentAsTheyEnd(t *testing.T) {
	b, m, srv := openWithProvider(t, nil)
	form := formOf(t, b.get("profile?id=reports").body)
	at, err := url.Parse(srv.TokenURL())
	if err != nil {
		t.Fatal(err)
	}
	h := &held{srv.Client().Transport, make(chan struct{}), at.Path}
	other := &authprofile.Manager{HTTPClient: &http.Client{Transport: h}, RedirectURL: m.RedirectURL}
	p := stored(t, m, "reports")
	p.Version = 0
	if err := other.Save(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(open(t, &console.Handler{Manager: other, Operator: operator}).handler)
	defer web.Close()
	resp, err := http.PostForm(web.URL+"/check", with(form, "version", fmt.Sprint(p.Version)))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	lines := bufio.NewReader(resp.Body)
	var page strings.Builder
	for !strings.Contains(page.String(), "Ask for authorization") {
		line, err := lines.ReadString('\n')
		if err != nil {
			t.Fatalf("got error %v after\n%s", err, &page)
		}
		page.WriteString(line)
	}
	if strings.Contains(page.String(), "Authenticate the client") {
		t.Error("got a step that has not ended")
	}
	close(h.release)
	rest, err := io.ReadAll(lines)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(rest), "Authenticate the client: <span class=\"good\">Passed") || !strings.Contains(string(rest), "Nothing was saved.") {
		t.Errorf("got %s\nwant the other steps and the summary", rest)
	}
}

// A profile is deleted after a page that says what goes with it, as the person has
// seen it.
func TestDelete(t *testing.T) {
	b, m, _ := openWithProvider(t, nil)
	if _, err := m.Token(t.Context(), stored(t, m, "reports")); err != nil {
		t.Fatal(err)
	}
	b.get("profile?id=reports").wants(t, 200, `href="delete-profile?id=reports"`)
	page := b.get("delete-profile?id=reports")
	page.wants(t, 200, "Reports", "Its grant is deleted too", "The provider is not told", `href="grants?profile=reports"`)
	version := fmt.Sprint(stored(t, m, "reports").Version)
	for _, form := range []url.Values{{"id": {"reports"}}, {"id": {"reports"}, "version": {"x"}}, {"version": {version}}} {
		b.post("delete-profile", form).wants(t, 400, "Nothing was deleted")
	}
	p := stored(t, m, "reports")
	p.Name = "Renamed"
	if err := m.Save(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	page = b.post("delete-profile", url.Values{"id": {"reports"}, "version": {version}})
	page.wants(t, 409, "Not deleted, because the profile was changed in the meantime", "Renamed")
	gone := url.Values{"id": {"reports"}, "version": {fmt.Sprint(p.Version)}}
	b.post("delete-profile", gone).wants(t, 200, "The profile and its grants were deleted.", "There are no profiles yet")
	b.post("delete-profile", gone).wants(t, 200, "The profile and its grants were deleted.")
	b.get("delete-profile?id=reports").wants(t, 404, "Not found")
	b.get("profile?id=reports").wants(t, 404, "Not found")
}

// How many grants there are is not waited for.
func TestDeleteWithoutACount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &troubledStore{MemStore: new(authprofile.MemStore)}
		m := &authprofile.Manager{Store: s, RedirectURL: "https://app.example.com/callback"}
		if err := m.Save(t.Context(), calendar()); err != nil {
			t.Fatal(err)
		}
		s.losing.Store(true)
		b := open(t, &console.Handler{Manager: m, Operator: operator})
		began := time.Now()
		b.get("delete-profile?id=calendar").wants(t, 200, "How many there are is not known now.")
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("got the page after %v, want it after a few seconds", took)
		}
		if err := m.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// The page of a profile has its first grants, and a button to connect an account of
// one's own.
func TestGrantsOfAProfile(t *testing.T) {
	b, m, srv := openWithProvider(t, func(h *console.Handler) {
		h.Redirect = &authprofile.RedirectHandler{Manager: h.Manager, User: func(*http.Request) (string, error) { return "olga", nil }}
	})
	p := calendar()
	p.ClientID, p.ClientSecret, p.Scopes = providertest.ClientID, providertest.ClientSecret, []string{"offline_access"}
	p.Endpoints = authprofile.Endpoints{DiscoveryURL: srv.DiscoveryURL()}
	if err := m.Save(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	b.get("profile?id=calendar").wants(t, 200, "There are no grants yet.")
	for i := range 12 {
		user := fmt.Sprintf("<user %02d>", i)
		flow, err := m.Begin(t.Context(), p, user)
		if err != nil {
			t.Fatal(err)
		}
		back, err := srv.Authorize(flow.URL)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := m.Finish(t.Context(), user, back.Query()); err != nil {
			t.Fatal(err)
		}
	}
	page := b.get("profile?id=calendar")
	page.wants(t, 200, `<a href="grant?profile=calendar&amp;user=%3Cuser&#43;00%3E">&lt;user 00&gt;</a>`, `<span class="state good">Active</span>`,
		`href="grants?profile=calendar"`, "Connect my own account", `action="connect"`)
	if got := strings.Count(page.body, `class="state`); got != 10 {
		t.Errorf("got %d grants, want the first 10", got)
	}
	if got := page.header.Get("Content-Security-Policy"); !strings.Contains(got, "form-action 'self' https:;") {
		t.Errorf("got the policy %q, want one that lets the form lead to the provider", got)
	}
	app := b.get("profile?id=reports")
	if strings.Contains(app.body, "Connect my own account") || strings.Contains(app.header.Get("Content-Security-Policy"), "https:") {
		t.Error("got a button to connect for an application")
	}
}

// A console that shows things only has no form, no button, and tests nothing.
func TestReadOnlyProfiles(t *testing.T) {
	b, m, _ := openWithProvider(t, func(h *console.Handler) { h.ReadOnly = true })
	page := b.get("profile?id=reports")
	page.wants(t, 200, "<dt>Client secret</dt><dd class=\"lines\">set</dd>", "<code>reports</code>", "OAuth2 App -&gt; API", "All grants of this profile")
	list := b.get("profiles")
	list.wants(t, 200, "Reports")
	for _, part := range []string{"Redirect URI", "<button", "<textarea", "<iframe", `method="post"`, "Delete", "New profile"} {
		if strings.Contains(page.body, part) || part != "<button" && strings.Contains(list.body, part) {
			t.Errorf("got a page with %s", part)
		}
	}
	b.get("new-profile").wants(t, 403)
	b.get("delete-profile?id=reports").wants(t, 403)
	for _, name := range []string{"profile", "check", "delete-profile"} {
		b.post(name, url.Values{"id": {"reports"}, "version": {fmt.Sprint(stored(t, m, "reports").Version)}}).wants(t, 403)
	}
	stored(t, m, "reports")
}

// What is in a profile is text, and never part of a page's markup.
func TestThreat162_ProfilesAreText(t *testing.T) {
	const bad = `"><script>alert(1)</script>{{.}}`
	p := calendar()
	p.ID, p.Name, p.Description, p.ClientID = bad, bad, "</textarea>"+bad, bad
	p.Params, p.AuthMethod = url.Values{bad: {bad}}, authprofile.AuthPost
	p.Endpoints = authprofile.Endpoints{AuthURL: "https://id.example.com/javascript:alert(1)", TokenURL: "https://id.example.com/?a=<b>"}
	m := &authprofile.Manager{RedirectURL: "https://app.example.com/callback", Providers: []authprofile.Provider{{
		Name: "own", Title: bad, RegisterURL: "javascript:alert(1)", Registration: bad, RefreshToken: bad,
		Variables: []authprofile.ProviderVariable{{Name: bad, Title: bad, Example: bad, Values: map[string]string{bad: bad}}},
	}}}
	if err := m.Save(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	id := url.QueryEscape(bad)
	b := open(t, &console.Handler{Manager: m, Operator: operator})
	pages := []*answer{b.get("profiles"), b.get("profile?id=" + id), b.get("new-profile"), b.get("delete-profile?id=" + id), b.get("profiles?from=" + id), b.get("profile?id=none" + id)}
	form := formOf(t, pages[1].body)
	for name := range form {
		if name != "version" {
			form.Set(name, bad)
		}
	}
	form.Set("id", p.ID)
	pages = append(pages, b.post("profile", form), b.post("check", form))
	form.Set("version", "1000")
	pages = append(pages, b.post("profile", form))
	for _, a := range pages {
		if strings.Contains(a.body, "<script>") || strings.Contains(a.body, `href="javascript`) || strings.Contains(a.body, `href="https://id.`) {
			t.Errorf("%s: got markup of a profile in\n%s", a.location, a.body)
		}
	}
}

// No page of profiles is large, and the style of the form may be kept.
func TestSizesOfProfilePages(t *testing.T) {
	b, m := openProfiles(t, calendar())
	page := b.get("new-profile")
	_, name, _ := strings.Cut(page.body, `href="templates.css?`)
	name, _, _ = strings.Cut(name, `"`)
	style := b.get("templates.css?" + name)
	style.wants(t, 200, ":has(", "form:has(.o75:checked) .t75 { display: block; }")
	if got := style.header.Get("Cache-Control"); !strings.Contains(got, "immutable") {
		t.Errorf("got Cache-Control %q, want one that keeps it", got)
	}
	if got := b.get("templates.css?other").header.Get("Cache-Control"); got != "no-store" {
		t.Errorf("of another hash: got Cache-Control %q, want no-store", got)
	}
	styles := len(style.body) + len(b.get("style.css").body)
	form := formOf(t, b.get("profile?id=calendar").body)
	p := stored(t, m, "calendar")
	p.Name = "Theirs"
	if err := m.Save(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	for _, a := range []*answer{page, b.get("profile?id=calendar"), b.post("profile", with(form, "name", "Yours")), b.get("profiles")} {
		if got := styles + len(a.body); got > 100_000 {
			t.Errorf("%s: got %d bytes with the style, want at most 100,000", a.location, got)
		}
	}
}

// What is refused in the frame of the test is said there, too: an answer that cannot be
// framed would leave it empty.
func TestRefusalsAreShownInTheFrame(t *testing.T) {
	allowed := true
	b := open(t, &console.Handler{Manager: new(authprofile.Manager), Operator: func(*http.Request) (string, error) {
		if !allowed {
			return "", http.ErrNoCookie
		}
		return "olga", nil
	}})
	wantsFramed := func(a *answer, status int, part string) {
		t.Helper()
		a.wants(t, status, part, `class="bare"`, `role="alert"`)
		if got := a.header.Get("X-Frame-Options"); got != "SAMEORIGIN" || !strings.Contains(a.header.Get("Content-Security-Policy"), "frame-ancestors 'self'") {
			t.Errorf("got X-Frame-Options %q and %q, want an answer that the page itself can frame", got, a.header.Get("Content-Security-Policy"))
		}
	}
	wantsFramed(b.do(http.MethodPost, "check", "name=x", "Sec-Fetch-Site", "cross-site"), 403, "another site")
	wantsFramed(b.post("check", url.Values{"name": {strings.Repeat("x", 1<<20)}}), 413, "too large")
	wantsFramed(b.post("check", url.Values{"version": {"x"}}), 400, "cannot be read")
	allowed = false
	wantsFramed(b.post("check", url.Values{"name": {"x"}}), 403, "Log in")
	if got := b.post("profile", url.Values{"name": {"x"}}).header.Get("X-Frame-Options"); got != "DENY" {
		t.Errorf("of another page: got X-Frame-Options %q, want DENY", got)
	}
}
