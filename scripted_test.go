package authprofile_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authprofile/authprofile"
)

// The client of scripted providers, and where they send browsers back to. The
// secret has characters that each encoding writes in its own way.
const (
	scriptedClient   = "client-1"
	scriptedSecret   = "SENTINEL-secret+/1"
	scriptedCallback = "https://app.example.com/callback"
)

// A request is one that a scripted provider has got.
type request struct {
	method, url string // the URL without its query
	query, form url.Values
	isJSON      bool // the form came as a JSON object
	header      http.Header
}

// auth says how a request authenticates.
func (r *request) auth() string {
	a := r.header.Get("Authorization")
	basic := base64.StdEncoding.EncodeToString([]byte(url.QueryEscape(scriptedClient) + ":" + url.QueryEscape(scriptedSecret)))
	switch {
	case a == "Basic "+basic && !r.form.Has("client_secret"):
		return "basic"
	case a != "":
		return a
	case r.form.Get("client_secret") == scriptedSecret && r.header.Get("Authorization") == "":
		return "post"
	}
	return "none"
}

// A scripted provider answers as it is told, by address, and notes what it is
// asked. The Manager on it logs all that it can.
type scripted struct {
	*testing.T
	store *authprofile.MemStore
	m     *authprofile.Manager

	mu      sync.Mutex
	answers map[string]func(r *request) *http.Response // by URL without its query
	seen    []*request
	logs    bytes.Buffer
	codes   int
}

const (
	scriptedAuthURL  = "https://accounts.example.com/authorize"
	scriptedTokenURL = "https://accounts.example.com/token"
	tokenAnswer      = `{"access_token":"access-1","refresh_token":"refresh-1","expires_in":3600,"token_type":"Bearer"}`
	renewedAnswer    = `{"access_token":"access-2","refresh_token":"refresh-2","expires_in":3600,"token_type":"Bearer"}`
)

// scriptedRow is a provider that differs from the standards in nothing.
func scriptedRow() authprofile.Provider {
	return authprofile.Provider{
		Name: "example", Title: "Example", Revision: "2026-11-26", RegisterURL: "https://example.com/apps",
		AuthURL: scriptedAuthURL, TokenURL: scriptedTokenURL,
	}
}

// onScript runs a test on a scripted provider, in a bubble of testing/synctest.
// The row is one of the Manager's own, after a change.
func onScript(t *testing.T, change func(row *authprofile.Provider), f func(t *testing.T, s *scripted)) {
	t.Helper()
	row := scriptedRow()
	if change != nil {
		change(&row)
	}
	if err := row.Validate(); err != nil {
		t.Fatal(err)
	}
	inScript(t, []authprofile.Provider{row}, f)
}

// inScript is onScript with all rows that the Manager has of its own.
func inScript(t *testing.T, rows []authprofile.Provider, f func(t *testing.T, s *scripted)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := &scripted{T: t, store: new(authprofile.MemStore), answers: make(map[string]func(*request) *http.Response)}
		s.m = s.manager(rows)
		s.on(scriptedTokenURL, tokenAnswer)
		f(t, s)
		s.leaksNothing("the log", s.logText())
	})
}

// manager returns another Manager on the same Store, as another process would
// have, or one with other rows.
func (s *scripted) manager(rows []authprofile.Provider) *authprofile.Manager {
	m := &authprofile.Manager{
		Store: s.store, Providers: rows, HTTPClient: &http.Client{Transport: s}, RedirectURL: scriptedCallback,
		Logger: slog.New(slog.NewTextHandler(s, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	s.Cleanup(func() { m.Shutdown(context.Background()) })
	return m
}

// Write takes what is logged.
func (s *scripted) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.logs.Write(p)
}

func (s *scripted) logText() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.logs.String()
}

// on lets the provider answer at an address with these JSON texts, one after the
// other; the last for ever.
func (s *scripted) on(address string, bodies ...string) {
	s.answer(address, func(*request) *http.Response {
		body := bodies[0]
		if len(bodies) > 1 {
			bodies = bodies[1:]
		}
		return respond(200, body, "Content-Type", "application/json")
	})
}

// fails lets the provider answer at an address with a status and a JSON text.
func (s *scripted) fails(address string, status int, body string) {
	s.answer(address, func(*request) *http.Response { return respond(status, body, "Content-Type", "application/json") })
}

func (s *scripted) answer(address string, f func(r *request) *http.Response) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answers[address] = f
}

// RoundTrip answers a request. One to an address without a script fails the
// test.
func (s *scripted) RoundTrip(req *http.Request) (*http.Response, error) {
	r := &request{method: req.Method, query: req.URL.Query(), header: req.Header.Clone()}
	u := *req.URL
	u.RawQuery = ""
	r.url = u.String()
	if req.Body != nil && req.Body != http.NoBody {
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return nil, err
		}
		r.read(body)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.answers[r.url]
	if f == nil {
		s.Errorf("got a request to %s, want none", r.url)
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("no such host")}
	}
	s.seen = append(s.seen, r)
	resp := f(r)
	if resp == nil {
		return nil, errors.New("connection reset")
	}
	resp.Request = req
	return resp, nil
}

// read reads the parameters of a body.
func (r *request) read(body []byte) {
	switch r.header.Get("Content-Type") {
	case "application/json":
		var object map[string]any
		if json.Unmarshal(body, &object) == nil {
			r.isJSON, r.form = true, make(url.Values)
			for name, value := range object {
				r.form.Set(name, fmt.Sprint(value))
			}
		}
	case "application/x-www-form-urlencoded":
		r.form, _ = url.ParseQuery(string(body))
	}
}

// requests returns those to an address.
func (s *scripted) requests(address string) (list []*request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.seen {
		if r.url == address {
			list = append(list, r)
		}
	}
	return list
}

// last returns the last request to an address.
func (s *scripted) last(address string) *request {
	s.Helper()
	list := s.requests(address)
	if len(list) == 0 {
		s.Fatalf("got no request to %s, want one", address)
	}
	return list[len(list)-1]
}

// asked wants so many requests to an address until now.
func (s *scripted) asked(address string, want int) {
	s.Helper()
	if got := len(s.requests(address)); got != want {
		s.Errorf("got %d requests to %s, want %d", got, address, want)
	}
}

// profile saves a profile of the provider for users, after a change.
func (s *scripted) profile(change func(p *authprofile.Profile)) *authprofile.Profile {
	s.Helper()
	p := &authprofile.Profile{
		ID: "crm", Type: authprofile.TypeUser, Template: "example", ClientID: scriptedClient, ClientSecret: scriptedSecret,
		Scopes: []string{"read", "write"},
	}
	if change != nil {
		change(p)
	}
	if err := s.m.Save(s.Context(), p); err != nil {
		s.Fatal(err)
	}
	return p
}

// begin returns a flow and the parameters of its authorization request.
func (s *scripted) begin(p *authprofile.Profile) (*authprofile.Flow, url.Values) {
	s.Helper()
	f, err := s.m.Begin(s.Context(), p, "ada")
	if err != nil {
		s.Fatal(err)
	}
	return f, parsed(s.T, f.URL).Query()
}

// back is the query with which the provider sends a browser back, with what the
// row makes of it given as pairs.
func (s *scripted) back(f *authprofile.Flow, pairs ...string) url.Values {
	s.codes++
	q := url.Values{"state": {f.State}, "code": {fmt.Sprint("SENTINEL-code-", s.codes)}}
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] == "" {
			q.Del(pairs[i])
			continue
		}
		q.Set(pairs[i], pairs[i+1])
	}
	return q
}

// authorize takes ada through the whole flow.
func (s *scripted) authorize(p *authprofile.Profile, pairs ...string) *authprofile.Grant {
	s.Helper()
	f, _ := s.begin(p)
	g, err := s.m.Finish(s.Context(), "ada", s.back(f, pairs...))
	if err != nil {
		s.Fatal(err)
	}
	return g
}

// refuses wants Finish to refuse a callback, and no code to be sent.
func (s *scripted) refuses(p *authprofile.Profile, target error, pairs ...string) error {
	s.Helper()
	f, _ := s.begin(p)
	return s.refusesQuery(s.back(f, pairs...), target)
}

func (s *scripted) refusesQuery(query url.Values, target error) error {
	s.Helper()
	before := len(s.requests(scriptedTokenURL))
	g, err := s.m.Finish(s.Context(), "ada", query)
	switch {
	case err == nil:
		s.Errorf("got a grant with %v, want an error", g.Extra)
		return nil
	case target != nil && !errors.Is(err, target):
		s.Errorf("got %v, want an error that is: %v", err, target)
	}
	s.asked(scriptedTokenURL, before)
	s.leaksNothing("the error", err.Error()+fmt.Sprintf("%+v %#v", err, err))
	return err
}

// renew returns ada's token after the end of the one that she has.
func (s *scripted) renew(p *authprofile.Profile) (string, error) {
	time.Sleep(time.Hour + time.Second)
	tok, err := s.m.Token(s.Context(), p, asAda)
	if err != nil {
		s.leaksNothing("the error", err.Error()+fmt.Sprintf("%+v %#v", err, err))
		return "", err
	}
	return tok.AccessToken, nil
}

// renews wants ada's token to be renewed, and returns the request for that.
func (s *scripted) renews(p *authprofile.Profile, address string) *request {
	s.Helper()
	if _, err := s.renew(p); err != nil {
		s.Fatal(err)
	}
	return s.last(address)
}

// pass lets time pass, with Maintain running.
func (s *scripted) pass(d time.Duration) {
	(&world{T: s.T, store: s.store, upkeep: []*authprofile.Manager{s.m}}).pass(d)
}

func (s *scripted) grant(key authprofile.GrantKey) *authprofile.Grant {
	s.Helper()
	g, err := s.store.Grant(s.Context(), key)
	if err != nil {
		s.Fatal(err)
	}
	return g
}

// leaksNothing wants no secret in a text.
func (s *scripted) leaksNothing(where, text string) {
	s.Helper()
	for _, secret := range []string{"SENTINEL", url.QueryEscape(scriptedSecret), "access-1", "access-2", "refresh-1", "refresh-2"} {
		if strings.Contains(text, secret) {
			s.Errorf("got %s in %s, want no secret: %s", secret, where, text)
		}
	}
}

// wantParams wants parameters to be as given in pairs; "" wants none.
func wantParams(t *testing.T, what string, got url.Values, pairs ...string) {
	t.Helper()
	for i := 0; i < len(pairs); i += 2 {
		if values := got[pairs[i]]; len(values) > 1 || got.Get(pairs[i]) != pairs[i+1] || pairs[i+1] == "" && len(values) > 0 {
			t.Errorf("%s: got %q as %s, want %q", what, values, pairs[i], pairs[i+1])
		}
	}
}

// wantExtra wants what a grant has kept to be as given in pairs, and nothing
// else.
func wantExtra(t *testing.T, g *authprofile.Grant, pairs ...string) {
	t.Helper()
	want := make(map[string]authprofile.Secret)
	for i := 0; i < len(pairs); i += 2 {
		want[pairs[i]] = authprofile.Secret(pairs[i+1])
	}
	if !maps.Equal(g.Extra, want) {
		t.Errorf("got the members %q kept, want %q; or other values", slices.Sorted(maps.Keys(g.Extra)), slices.Sorted(maps.Keys(want)))
	}
}
