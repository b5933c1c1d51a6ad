package console_test

import (
	"bytes"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/authprofile/authprofile"
	"github.com/authprofile/authprofile/console"
	"github.com/authprofile/authprofile/providertest"
)

// A logBuffer takes log records from many goroutines.
type logBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// A scene is a console over a Manager with profiles of a fake provider.
type scene struct {
	*browserTab
	t        *testing.T
	srv      *providertest.Server
	m        *authprofile.Manager
	h        *console.Handler
	store    *shakyStore
	log      *logBuffer
	user     string // who is logged in at the service
	calendar *authprofile.Profile
}

// A shakyStore fails where it is told to.
type shakyStore struct {
	authprofile.Store
	mu   sync.Mutex
	fail map[string]error // by the name of the method
	read int              // records that lists have returned
}

var errStoreAway = errors.New("the database of ada@example.com is away")

func (s *shakyStore) failing(method string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fail[method] = err
}

func (s *shakyStore) err(method string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fail[method]
}

// newScene makes a console whose Manager has the user profile "calendar", and the
// app profile "reports".
func newScene(t *testing.T, change ...func(*console.Handler)) *scene {
	t.Helper()
	s := &scene{t: t, user: "olga@example.com", log: new(logBuffer)}
	s.srv = providertest.NewServer(t, providertest.InMemory("https://login.example.com"))
	s.store = &shakyStore{Store: new(authprofile.MemStore), fail: make(map[string]error)}
	s.m = &authprofile.Manager{Store: s.store, HTTPClient: s.srv.Client(), RedirectURL: "https://app.example.com/callback"}
	s.h = &console.Handler{
		Manager: s.m, Operator: operator, Logger: slog.New(slog.NewTextHandler(s.log, nil)),
		Redirect: &authprofile.RedirectHandler{Manager: s.m, User: func(*http.Request) (string, error) {
			if s.user == "" {
				return "", errors.New("not logged in")
			}
			return s.user, nil
		}},
		ConnectionsURL: "https://app.example.com/connections/",
	}
	for _, f := range change {
		f(s.h)
	}
	s.browserTab = open(t, s.h)
	s.calendar = s.save(&authprofile.Profile{ID: "calendar", Name: "Calendar", Type: authprofile.TypeUser, Scopes: []string{"openid", "calendar", "offline_access"}})
	s.save(&authprofile.Profile{ID: "reports", Name: "Reports", Type: authprofile.TypeApp})
	return s
}

// save saves a profile of the fake provider.
func (s *scene) save(p *authprofile.Profile) *authprofile.Profile {
	s.t.Helper()
	p.ClientID, p.ClientSecret = providertest.ClientID, providertest.ClientSecret
	if p.Endpoints == (authprofile.Endpoints{}) && p.Template == "" {
		p.Endpoints.DiscoveryURL = s.srv.DiscoveryURL()
	}
	if err := s.m.Save(s.t.Context(), p); err != nil {
		s.t.Fatal(err)
	}
	return p
}

// connectAs lets a user authorize a profile, without the console.
func (s *scene) connectAs(p *authprofile.Profile, user string) *authprofile.Grant {
	s.t.Helper()
	s.srv.SetConsent(providertest.Consent{Subject: "sub-" + user, Claims: map[string]any{"email": "account-of-" + user}})
	f, err := s.m.Begin(s.t.Context(), p, user)
	if err != nil {
		s.t.Fatal(err)
	}
	callback, err := s.srv.Authorize(f.URL)
	if err != nil {
		s.t.Fatal(err)
	}
	g, err := s.m.Finish(s.t.Context(), user, callback.Query())
	if err != nil {
		s.t.Fatal(err)
	}
	return g
}

// put stores a grant as it is given.
func (s *scene) put(g *authprofile.Grant) *authprofile.Grant {
	s.t.Helper()
	if err := s.store.Store.PutGrant(s.t.Context(), g); err != nil {
		s.t.Fatal(err)
	}
	return g
}

// postRaw posts a form, and follows no redirect.
func (s *scene) postRaw(path string, form url.Values, header ...string) *http.Response {
	s.t.Helper()
	r := httptest.NewRequest(http.MethodPost, "https://app.example.com/"+path, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	s.h.ServeHTTP(w, r)
	return w.Result()
}

// The Connect button leads to the provider, and from there back to the page of the
// grant, as the browser sees it, also behind a proxy that strips a prefix.
func TestConnect(t *testing.T) {
	for _, tt := range []struct{ name, referer, want string }{
		{"below a prefix", "https://app.example.com/ops/auth/profile?id=calendar", "/ops/auth/grant?profile=calendar&user=olga%40example.com"},
		{"at the root", "https://app.example.com/profile?id=calendar", "/grant?profile=calendar&user=olga%40example.com"},
		{"without a referer", "", ""},
		{"with one that leads elsewhere", "https://app.example.com//evil.example.com/x", ""},
		{"with one that is no page", "about:blank", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newScene(t)
			resp := s.postRaw("connect", url.Values{"profile": {"calendar"}, "return_to": {"/elsewhere"}}, "Referer", tt.referer)
			if resp.StatusCode != http.StatusSeeOther {
				t.Fatalf("got status %d, want 303", resp.StatusCode)
			}
			callback, err := s.srv.Authorize(resp.Header.Get("Location"))
			if err != nil {
				t.Fatal(err)
			}
			r := httptest.NewRequest(http.MethodGet, callback.String(), nil)
			for _, cookie := range resp.Cookies() {
				r.AddCookie(cookie)
			}
			w := httptest.NewRecorder()
			s.h.Redirect.ServeHTTP(w, r)
			if got := w.Result().Header.Get("Location"); got != tt.want {
				t.Errorf("got sent back to %q, want %q", got, tt.want)
			}
			if _, err := s.m.Grant(t.Context(), authprofile.GrantKey{ProfileID: "calendar", User: s.user}); err != nil {
				t.Errorf("got %v, want a grant of the user", err)
			}
			if log := s.log.String(); !strings.Contains(log, "person=olga action=connect profile=calendar") || strings.Contains(log, "example.com") {
				t.Errorf("got the log\n%s\nwant a record without the user", log)
			}
		})
	}
}

// What cannot be connected is said on a plain page, and nothing is begun.
func TestConnectIsRefused(t *testing.T) {
	calendar := url.Values{"profile": {"calendar"}}
	for _, tt := range []struct {
		name   string
		change func(*scene)
		form   url.Values
		status int
		text   string
	}{
		{"without a redirect handler", func(s *scene) { s.h.Redirect = nil }, calendar, 404, "not set up for it"},
		{"by a stranger", func(s *scene) { s.user = "" }, calendar, 403, "Log in to the service and try again"},
		{"of an app profile", nil, url.Values{"profile": {"reports"}}, 400, "no user logs in"},
		{"of a profile that is gone", nil, url.Values{"profile": {"none"}}, 404, "It may have been deleted"},
		{"of none", nil, nil, 404, "It may have been deleted"},
		{"for another user than was shown", nil, url.Values{"profile": {"calendar"}, "user": {"ada"}}, 409, "Reload the page"},
		{"with a Store that is away", func(s *scene) { s.store.failing("Profile", errStoreAway) }, calendar, 503, "Try again in a moment"},
		{"where nothing may change", func(s *scene) { s.h.ReadOnly = true }, calendar, 403, "This console is read-only"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newScene(t)
			if tt.change != nil {
				tt.change(s)
			}
			s.post("connect", tt.form).wants(t, tt.status, tt.text)
			if log := s.log.String(); strings.Contains(log, "action=connect") {
				t.Errorf("got the log\n%s\nwant none of a connection", log)
			}
		})
	}
	s := newScene(t)
	s.get("connect?profile=calendar").wants(t, http.StatusMethodNotAllowed)
	s.do(http.MethodPost, "connect", calendar.Encode(), "Sec-Fetch-Site", "cross-site").wants(t, http.StatusForbidden, "another site")
}

// What keeps the browser from being sent to the provider is said, and logged.
func TestConnectThatCannotBegin(t *testing.T) {
	for _, tt := range []struct {
		name   string
		fault  providertest.Fault
		status int
		text   string
	}{
		{"provider away", providertest.Fault{Times: -1, Status: 503}, 503, "That did not work"},
		{"no document there", providertest.Fault{Times: -1, Status: 404}, 502, "The profile has to be corrected first"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newScene(t)
			s.srv.Fault(providertest.Discovery, tt.fault)
			s.post("connect", url.Values{"profile": {"calendar"}}).wants(t, tt.status, tt.text)
			if log := s.log.String(); !strings.Contains(log, "console: failed") || !strings.Contains(log, "action=connect profile=calendar") || strings.Contains(log, "olga@") {
				t.Errorf("got the log\n%s\nwant a failure without the user", log)
			}
			s.h.Redirect.ErrorHandler = func(w http.ResponseWriter, _ *http.Request, _ error) {
				http.Error(w, "the service's own page", http.StatusTeapot)
			}
			s.post("connect", url.Values{"profile": {"calendar"}}).wants(t, 418, "the service's own page")
		})
	}
}
