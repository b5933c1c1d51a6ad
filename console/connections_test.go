package console_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/authprofile/authprofile"
	"github.com/authprofile/authprofile/console"
	"github.com/authprofile/authprofile/providertest"
)

// A connector is a service with a page for connections, and its provider.
type connector struct {
	*browserTab
	srv      *providertest.Server
	m        *authprofile.Manager
	redirect *authprofile.RedirectHandler
	store    *failingStore
	page     *console.Connections
	log      *strings.Builder
	user     string // who is logged in
}

// failingStore fails to read and delete as it is told to.
type failingStore struct {
	authprofile.Store
	profile, grant, delete error
}

func (s *failingStore) Profile(ctx context.Context, id string) (*authprofile.Profile, error) {
	if s.profile != nil {
		return nil, s.profile
	}
	return s.Store.Profile(ctx, id)
}

func (s *failingStore) Grant(ctx context.Context, key authprofile.GrantKey) (*authprofile.Grant, error) {
	if s.grant != nil {
		return nil, s.grant
	}
	return s.Store.Grant(ctx, key)
}

func (s *failingStore) DeleteGrant(ctx context.Context, key authprofile.GrantKey) error {
	if s.delete != nil {
		return s.delete
	}
	return s.Store.DeleteGrant(ctx, key)
}

// newConnector returns a service with the profiles "calendar" and "mail"; "reports",
// which is in the list, but is not for users; and "payroll", which is not in the list.
func newConnector(t *testing.T) *connector {
	srv := providertest.NewServer(t, providertest.InMemory("https://login.example.com"))
	c := &connector{srv: srv, user: "user-0815", log: new(strings.Builder), store: &failingStore{Store: new(authprofile.MemStore)}}
	c.m = &authprofile.Manager{Store: c.store, HTTPClient: srv.Client(), RedirectURL: "https://app.example.com/callback/{profile}"}
	for _, p := range []*authprofile.Profile{
		{ID: "calendar", Name: "Calendar", Description: "Shows when you are <free>.", Type: authprofile.TypeUser, Scopes: []string{"openid", "offline_access"}},
		{ID: "mail", Name: "Mail", Type: authprofile.TypeUser},
		{ID: "reports", Name: "Reports", Type: authprofile.TypeApp},
		{ID: "payroll", Name: "Payroll", Type: authprofile.TypeUser},
	} {
		p.ClientID, p.ClientSecret = providertest.ClientID, providertest.ClientSecret
		p.Endpoints = authprofile.Endpoints{DiscoveryURL: srv.DiscoveryURL()}
		if err := c.m.Save(t.Context(), p); err != nil {
			t.Fatal(err)
		}
	}
	srv.SetConsent(providertest.Consent{Subject: "ada", Claims: map[string]any{"email": "ada@example.com"}})
	c.redirect = &authprofile.RedirectHandler{Manager: c.m, User: func(*http.Request) (string, error) {
		if c.user == "" {
			return "", errors.New("no session")
		}
		return c.user, nil
	}}
	c.page = &console.Connections{
		Redirect: c.redirect, Profiles: []string{"calendar", "reports", "gone", "mail"},
		Logger: slog.New(slog.NewTextHandler(c.log, nil)),
	}
	if err := c.page.Validate(); err != nil {
		t.Fatal(err)
	}
	c.browserTab = &browserTab{t, c.page}
	return c
}

// send posts a form as a browser does that sees the page at an address, and returns
// the first answer.
func (c *connector) send(name string, form url.Values, from string) *http.Response {
	c.t.Helper()
	r := httptest.NewRequest(http.MethodPost, "https://app.example.com/"+name, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	if from != "" {
		r.Header.Set("Referer", from)
	}
	w := httptest.NewRecorder()
	c.handler.ServeHTTP(w, r)
	return w.Result()
}

// connect goes to the provider and back, and returns where the browser is sent in
// the end.
func (c *connector) connect(form url.Values, from string) string {
	c.t.Helper()
	begun := c.send("connect", form, from)
	if got, want := begun.StatusCode, http.StatusSeeOther; got != want {
		c.t.Fatalf("got status %d, want %d", got, want)
	}
	callback, err := c.srv.Authorize(begun.Header.Get("Location"))
	if err != nil {
		c.t.Fatal(err)
	}
	r := httptest.NewRequest(http.MethodGet, callback.String(), nil)
	for _, cookie := range begun.Cookies() {
		r.AddCookie(cookie)
	}
	w := httptest.NewRecorder()
	c.redirect.ServeHTTP(w, r)
	return w.Result().Header.Get("Location")
}

// put stores a grant of the user's in a state.
func (c *connector) put(profile, user string, status authprofile.Status, account string) {
	c.t.Helper()
	g := &authprofile.Grant{
		GrantKey:    authprofile.GrantKey{ProfileID: profile, User: user},
		AccessToken: "access-secret", RefreshToken: "refresh-secret", TokenType: "Bearer",
		ClientID: providertest.ClientID, Status: status, Account: account,
		Authorized: time.Date(2026, 3, 14, 15, 9, 0, 0, time.UTC),
	}
	if err := c.store.PutGrant(c.t.Context(), g); err != nil {
		c.t.Fatal(err)
	}
}

func (c *connector) has(profile, user string) bool {
	c.t.Helper()
	_, err := c.store.Store.Grant(c.t.Context(), authprofile.GrantKey{ProfileID: profile, User: user})
	if err != nil && !errors.Is(err, authprofile.ErrNotFound) {
		c.t.Fatal(err)
	}
	return err == nil
}

// From nothing to a connection, and back.
func TestConnections(t *testing.T) {
	c := newConnector(t)
	page := c.get("")
	page.wants(t, 200, "<h1>Your connections</h1>", "Calendar", "Shows when you are &lt;free&gt;.", "Not connected", `aria-label="Connect Calendar"`, "Mail")
	page.lacks(t, "Reports", "Payroll", "user-0815", "Disconnect", "<nav", "OAuth", "operator", "Needs attention")
	for _, want := range []string{"profile=reports", "profile=gone"} {
		if !strings.Contains(c.log.String(), want) {
			t.Errorf("got a log without %q, want it to say what is left out:\n%s", want, c.log)
		}
	}

	back := c.connect(url.Values{"profile": {"calendar"}}, "https://app.example.com/my/connections/?profile=calendar")
	if want := "/my/connections/?returned=calendar"; back != want {
		t.Fatalf("got the browser back at %q, want %q", back, want)
	}
	page = c.get("?returned=calendar")
	page.wants(t, 200, "Calendar is connected as ada@example.com.", `good">Connected<`, "Connected since", `aria-label="Reconnect Calendar"`)
	page.lacks(t, "user-0815", `role="alert"`)

	c.get("disconnect?profile=calendar").wants(t, 200, "<h1>Disconnect Calendar?</h1>", "<strong>ada@example.com</strong>", `action="disconnect"`)
	if !c.has("calendar", c.user) {
		t.Fatal("got no grant after the question, want it untouched")
	}
	page = c.post("disconnect", url.Values{"profile": {"calendar"}})
	page.wants(t, 200, "Calendar is not connected.", `aria-label="Connect Calendar"`)
	page.lacks(t, `role="alert"`)
	if c.has("calendar", c.user) {
		t.Error("got a grant after disconnecting, want none")
	}
	if got := c.srv.Hits(providertest.Revocation); got == 0 {
		t.Error("got no request to the provider's revocation endpoint, want one")
	}
	if log := c.log.String(); !strings.Contains(log, "action=disconnect") || strings.Contains(log, "user-0815") {
		t.Errorf("got this log, want the disconnection in it, and no user:\n%s", log)
	}
	// Once more, as by a double click.
	c.post("disconnect", url.Values{"profile": {"calendar"}}).wants(t, 200, "Calendar is not connected.")
	c.get("disconnect?profile=calendar").wants(t, 200, "Calendar is not connected.")
}

// The log names users only if the service asks for that.
func TestConnectionsLogUsers(t *testing.T) {
	c := newConnector(t)
	c.page.LogUsers = true
	c.put("mail", c.user, authprofile.StatusActive, "")
	c.post("disconnect", url.Values{"profile": {"mail"}})
	if got, want := c.log.String(), "user=user-0815"; !strings.Contains(got, want) {
		t.Errorf("got the log\n%s\nwant %q in it", got, want)
	}
}

// What a state means is told in words for those who can do something, or nothing.
func TestConnectionsStates(t *testing.T) {
	for _, tt := range []struct {
		status      authprofile.Status
		want, asked string
		main        bool // Reconnect is what stands out
	}{
		{authprofile.StatusActive, "Connected", "Mail works. You do not need to do anything.", false},
		{authprofile.StatusFailing, "The service keeps trying. You do not need to do anything.", "You do not need to do anything about Mail.", false},
		{authprofile.StatusNeedsReauthorization, "Reconnect needed", "Please reconnect Mail.", true},
		{authprofile.StatusNeedsConfiguration, "The people who run this service need to fix it.", "you do not need to do anything", true},
	} {
		t.Run(string(tt.status), func(t *testing.T) {
			c := newConnector(t)
			c.put("mail", c.user, tt.status, "ada@mail.example")
			page := c.get("")
			page.wants(t, 200, tt.want, "ada@mail.example", "14 Mar 2026, 15:09 UTC", `aria-label="Reconnect Mail"`)
			page.lacks(t, "Please", "secret", "asked")
			if got := strings.Contains(page.body, `class="main" aria-label="Reconnect Mail"`); got != tt.main {
				t.Errorf("got Reconnect as the main button: %v, want %v", got, tt.main)
			}
			c.get("?profile=mail").wants(t, 200, tt.asked, "card asked")
			returned := c.get("?returned=mail")
			if got, want := strings.Contains(returned.body, `role="alert"`), tt.status != authprofile.StatusActive; got != want {
				t.Errorf("after the return: got an alert: %v, want %v\n%s", got, want, returned.body)
			}
		})
	}
}

// The link that operators send puts its profile first, and allows nothing: who
// follows it sees their own connections, and without a login none at all.
func TestThreat165_LinkToSend(t *testing.T) {
	c := newConnector(t)
	c.put("mail", "bob", authprofile.StatusActive, "bob@mail.example")
	page := c.get("?profile=mail&user=bob")
	page.wants(t, 200, "Please connect Mail.", "card asked")
	page.lacks(t, "bob")
	if mail, calendar := strings.Index(page.body, "<h2>Mail"), strings.Index(page.body, "<h2>Calendar"); mail > calendar {
		t.Error("got Mail after Calendar, want it first")
	}
	if strings.Count(page.body, "card asked") != 1 {
		t.Error("got more than one that is marked, want one")
	}
	if got := c.send("", nil, "").StatusCode; got != http.StatusMethodNotAllowed {
		t.Errorf("POST: got status %d, want 405", got)
	}

	for _, id := range []string{"other", "reports", "gone", "<script>"} {
		page := c.get("?" + url.Values{"profile": {id}}.Encode())
		page.wants(t, 404, "is not available here", "Calendar", "Mail")
		page.lacks(t, "<script>", "card asked", "Reports")
	}

	c.user = ""
	for _, name := range []string{"", "?profile=mail", "disconnect?profile=mail", "?returned=mail"} {
		page := c.get(name)
		page.wants(t, 403, "Please log in")
		page.lacks(t, "Mail", "Calendar", "bob")
	}
	for _, name := range []string{"connect", "disconnect"} {
		c.post(name, url.Values{"profile": {"mail"}, "user": {"bob"}}).wants(t, 403, "Please log in")
	}
	if !c.has("mail", "bob") {
		t.Error("got no grant of bob's any more, want it untouched")
	}
}

// No address and no form reaches another user's grant, or a profile that is not in
// the list.
func TestThreat166_OtherUsersGrants(t *testing.T) {
	c := newConnector(t)
	c.put("calendar", "bob", authprofile.StatusActive, "bob@example.com")
	c.put("payroll", c.user, authprofile.StatusActive, "ada@example.com")
	c.put("reports", "", authprofile.StatusActive, "")
	forged := url.Values{"profile": {"calendar"}, "user": {"bob"}, "User": {"bob"}, "key": {"calendar/bob"}}

	for _, name := range []string{"?" + forged.Encode(), "disconnect?" + forged.Encode(), "?returned=calendar&user=bob"} {
		page := c.get(name)
		page.wants(t, 200, "Not connected")
		page.lacks(t, "bob@example.com")
	}
	c.post("disconnect", forged).wants(t, 200, "Calendar is not connected.")
	c.post("disconnect?user=bob", forged).wants(t, 200, "Calendar is not connected.")
	if !c.has("calendar", "bob") {
		t.Error("got no grant of bob's any more, want it untouched")
	}

	c.connect(forged, "https://app.example.com/connections/")
	g, err := c.m.Grant(t.Context(), authprofile.GrantKey{ProfileID: "calendar", User: c.user})
	if err != nil || g.Account != "ada@example.com" {
		t.Errorf("got the grant %v, %v, want one of the person who is logged in", g, err)
	}
	g, err = c.m.Grant(t.Context(), authprofile.GrantKey{ProfileID: "calendar", User: "bob"})
	if err != nil || g.Account != "bob@example.com" {
		t.Errorf("got bob's grant %v, %v, want it untouched", g, err)
	}

	for _, id := range []string{"payroll", "reports", "gone", "", "calendar\x00"} {
		page := c.get("disconnect?" + url.Values{"profile": {id}}.Encode())
		page.wants(t, 404, "This cannot be connected here")
		page.lacks(t, "Payroll", "ada@example.com")
		for _, name := range []string{"connect", "disconnect"} {
			c.post(name, url.Values{"profile": {id}}).wants(t, 404, "Nothing was changed.")
		}
	}
	if !c.has("payroll", c.user) || !c.has("reports", "") {
		t.Error("got a grant of a profile that is not in the list deleted, want it untouched")
	}
}

// What changes something is refused to other sites, and to GET.
func TestThreat161_ConnectionsOfOtherSites(t *testing.T) {
	c := newConnector(t)
	c.put("calendar", c.user, authprofile.StatusActive, "ada@example.com")
	form := url.Values{"profile": {"calendar"}}.Encode()
	for _, name := range []string{"connect", "disconnect"} {
		c.do(http.MethodPost, name, form, "Sec-Fetch-Site", "cross-site").wants(t, 403, "another site")
		c.do(http.MethodPost, name, form, "Sec-Fetch-Site", "", "Origin", "https://evil.example").wants(t, 403, "another site")
	}
	c.get("connect?"+form).wants(t, 405, "cannot be opened")
	if !c.has("calendar", c.user) {
		t.Error("got no grant any more, want it untouched")
	}
	if got, want := c.get("").header.Get("Content-Security-Policy"), "frame-ancestors 'none'"; !strings.Contains(got, want) {
		t.Errorf("got the policy %q, want %q in it", got, want)
	}
}

// An address says which connection a sentence is about, and nothing else.
func TestThreat161_ConnectionsSayNothingByAddress(t *testing.T) {
	c := newConnector(t)
	c.put("calendar", c.user, authprofile.StatusActive, "ada@example.com")
	for _, query := range []string{"?done=deleted", "?disconnected=calendar", "?disconnected=other", "?returned=other", "?message=Send+money"} {
		page := c.get(query)
		page.wants(t, 200, "Calendar")
		page.lacks(t, `role="alert"`, `role="status"`, "money")
	}
}

// Where the browser comes back to is the page as the browser sees it, wherever a
// proxy has put it, and never another site's.
func TestConnectionsReturn(t *testing.T) {
	for _, tt := range []struct{ from, want string }{
		{"https://app.example.com/connections/", "/connections/?returned=calendar"},
		{"https://app.example.com/a/b/disconnect?profile=mail", "/a/b/?returned=calendar"},
		{"https://app.example.com/", "/?returned=calendar"},
		{"https://app.example.com//evil.example/", ""},
		{"https://app.example.com/a/../b/", ""},
		{"about:blank", ""},
		{"", ""},
	} {
		c := newConnector(t)
		form := url.Values{"profile": {"calendar"}, "return_to": {"/elsewhere"}}
		if got := c.connect(form, tt.from); got != tt.want {
			t.Errorf("from %q: got the browser back at %q, want %q", tt.from, got, tt.want)
		}
		if !c.has("calendar", c.user) {
			t.Errorf("from %q: got no grant, want one", tt.from)
		}
	}
}

// A browser lets the button lead where the provider is.
func TestConnectionsFormAction(t *testing.T) {
	c := newConnector(t)
	policy := c.get("").header.Get("Content-Security-Policy")
	if want := "form-action 'self' https:;"; !strings.Contains(policy, want) {
		t.Errorf("got the policy %q, want %q in it", policy, want)
	}
	p, err := c.m.Profile(t.Context(), "mail")
	if err != nil {
		t.Fatal(err)
	}
	p.Endpoints = authprofile.Endpoints{AuthURL: "http://127.0.0.1:8123/authorize", TokenURL: "http://127.0.0.1:8123/token"}
	if err := c.m.Save(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	policy = c.get("").header.Get("Content-Security-Policy")
	if want := "form-action 'self' http://127.0.0.1:8123 https:;"; !strings.Contains(policy, want) {
		t.Errorf("got the policy %q, want %q in it", policy, want)
	}

	// A provider that asks nothing sends the browser on to the redirect address, which
	// may be at another port; and the service's own rows may be test servers, whatever
	// their names are.
	p.Endpoints, p.Template = authprofile.Endpoints{}, "google"
	if err := c.m.Save(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	own := &authprofile.Manager{Store: c.m.Store, RedirectURL: "http://localhost:9090/callback", Providers: []authprofile.Provider{{Name: "google"}}}
	other := &console.Connections{Redirect: &authprofile.RedirectHandler{Manager: own, User: operator}, Profiles: []string{"mail"}}
	policy = (&browserTab{t, other}).get("").header.Get("Content-Security-Policy")
	for _, want := range []string{" http://localhost:9090 ", " http://localhost:* ", " http://127.0.0.1:* "} {
		if !strings.Contains(policy, want) {
			t.Errorf("got the policy %q, want %q in it", policy, want)
		}
	}
}

// An authorization that cannot begin ends on a page of the site, which leads back.
func TestConnectionsCannotBegin(t *testing.T) {
	c := newConnector(t)
	c.redirect.ErrorHandler = func(http.ResponseWriter, *http.Request, error) {
		t.Error("got a call of the ErrorHandler, want none: the person has not left the site")
	}
	c.srv.Fault(providertest.Discovery, providertest.Fault{Times: -1, Status: 503})
	page := c.post("connect", url.Values{"profile": {"calendar"}})
	page.wants(t, 503, "That did not work", "Nothing was changed.", `href="./"`)
	page.lacks(t, "discovery", "user-0815")
	if got, want := c.log.String(), "authorization cannot begin"; !strings.Contains(got, want) {
		t.Errorf("got the log\n%s\nwant %q in it", got, want)
	}
	if strings.Contains(c.log.String(), "user-0815") {
		t.Errorf("got a user in the log:\n%s", c.log)
	}

	c.srv.ClearFaults(providertest.Discovery)
	p, err := c.m.Profile(t.Context(), "mail")
	if err != nil {
		t.Fatal(err)
	}
	p.Endpoints.DiscoveryURL = "https://login.example.com/nowhere"
	if err := c.m.Save(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	c.post("connect", url.Values{"profile": {"mail"}}).wants(t, 502, "The people who run this service need to fix it first.")
}

// Whatever fails in the middle of a disconnection, the page says how things are.
func TestConnectionsDisconnectFails(t *testing.T) {
	away := errors.New("database host db7 is away")
	t.Run("at the provider", func(t *testing.T) {
		c := newConnector(t)
		c.connect(url.Values{"profile": {"calendar"}}, "")
		c.srv.Fault(providertest.Revocation, providertest.Fault{Times: -1, Status: 503})
		page := c.post("disconnect", url.Values{"profile": {"calendar"}})
		page.wants(t, 200, "Calendar is disconnected here, but the provider could not be told.", "Mail")
		if c.has("calendar", c.user) {
			t.Error("got a grant, want none")
		}
		if got, want := c.log.String(), "level=WARN"; !strings.Contains(got, want) {
			t.Errorf("got the log\n%s\nwant %q in it", got, want)
		}
	})
	t.Run("at the store", func(t *testing.T) {
		c := newConnector(t)
		c.put("mail", c.user, authprofile.StatusActive, "")
		c.store.delete = away
		page := c.post("disconnect", url.Values{"profile": {"mail"}})
		page.wants(t, 503, "Mail may still be connected.", `href="./"`)
		page.lacks(t, "db7")
	})
}

// A disconnection goes on if the browser leaves in the middle.
func TestConnectionsDisconnectBrowserLeaves(t *testing.T) {
	c := newConnector(t)
	c.connect(url.Values{"profile": {"calendar"}}, "")
	ctx, leave := context.WithCancel(t.Context())
	c.srv.Fault(providertest.Revocation, providertest.Fault{Func: func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		leave()
		next.ServeHTTP(w, r)
	}})
	r := httptest.NewRequestWithContext(ctx, http.MethodPost, "/disconnect", strings.NewReader("profile=calendar"))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	c.handler.ServeHTTP(httptest.NewRecorder(), r)
	if ctx.Err() == nil {
		t.Fatal("got no request at the revocation endpoint, want one")
	}
	if c.has("calendar", c.user) {
		t.Error("got a grant, want none")
	}
}

// A store that is away, or a record that is damaged, is a plain page.
func TestConnectionsStoreFails(t *testing.T) {
	c := newConnector(t)
	c.put("mail", c.user, authprofile.StatusActive, "ada@mail.example")
	c.store.grant = errors.New("database host db7 is away: no row for " + c.user)
	page := c.get("?returned=mail")
	page.wants(t, 200, "It is not known right now whether Mail is connected.", `aria-label="Reconnect Mail"`)
	page.lacks(t, "db7")
	if log := c.log.String(); !strings.Contains(log, "db7 is away: no row for [user]") || strings.Contains(log, c.user) {
		t.Errorf("got the log\n%s\nwant the error in it, without the user", log)
	}

	c.store.profile = c.store.grant
	page = c.get("")
	page.wants(t, 503, "Your connections cannot be shown right now", "Nothing is lost.")
	page.lacks(t, "db7")
	for _, name := range []string{"connect", "disconnect"} {
		page := c.post(name, url.Values{"profile": {"mail"}})
		page.wants(t, 503, "Nothing was changed. Try again in a moment.")
		page.lacks(t, "db7")
	}
	if !c.has("mail", c.user) {
		t.Error("got no grant any more, want it untouched")
	}
}

// Without what it needs, a Connections shows nothing.
func TestThreat164_ConnectionsNotSetUp(t *testing.T) {
	user := func(*http.Request) (string, error) { return "ada", nil }
	for _, o := range []*console.Connections{
		{},
		{Redirect: &authprofile.RedirectHandler{User: user}},
		{Redirect: &authprofile.RedirectHandler{Manager: new(authprofile.Manager)}},
	} {
		if o.Validate() == nil {
			t.Error("got no error, want one that says what is missing")
		}
		(&browserTab{t, o}).get("").wants(t, 500, "not set up")
	}
	o := &console.Connections{Redirect: &authprofile.RedirectHandler{Manager: new(authprofile.Manager), User: user}}
	(&browserTab{t, o}).get("").wants(t, 200, "There is nothing to connect right now.")
}

// A person who has logged in as another user since the page was opened does not
// disconnect that user's account unawares.
func TestThreat166_AnotherUserMeanwhile(t *testing.T) {
	c := newConnector(t)
	c.connect(url.Values{"profile": {"calendar"}}, "")
	c.put("calendar", "bob", authprofile.StatusActive, "bob@example.com")
	hidden := func(a *answer) url.Values {
		_, rest, _ := strings.Cut(a.body, `name="shown" value="`)
		shown, _, ok := strings.Cut(rest, `"`)
		if !ok {
			t.Fatalf("got a page that does not say what it shows:\n%s", a.body)
		}
		return url.Values{"profile": {"calendar"}, "shown": {shown}}
	}
	form := hidden(c.get("disconnect?profile=calendar"))
	ada := c.user
	c.user = "bob"
	page := c.post("disconnect", form)
	page.wants(t, 409, "Nothing was changed", "bob@example.com")
	if !c.has("calendar", "bob") || !c.has("calendar", ada) {
		t.Error("got a grant deleted, want both untouched")
	}
	c.post("disconnect", hidden(page)).wants(t, 200, "Calendar is not connected.")
	c.user = ada
	c.post("disconnect", form).wants(t, 200, "Calendar is not connected.")
	c.post("disconnect", form).wants(t, 200, "Calendar is not connected.") // sent twice
	if c.has("calendar", "bob") || c.has("calendar", ada) {
		t.Error("got a grant, want both ended")
	}
}
