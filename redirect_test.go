package authprofile_test

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/oauth2"

	"github.com/authprofile/authprofile"
	"github.com/authprofile/authprofile/providertest"
)

const callbackAddress = "https://app.example.com/callback"

// A site is a web program with a RedirectHandler.
type site struct {
	*world
	h *authprofile.RedirectHandler
	p *authprofile.Profile
}

var errNoSession = errors.New("no session <of anybody>")

func (w *world) site() *site {
	s := &site{world: w, p: w.user()}
	s.h = &authprofile.RedirectHandler{
		Manager: w.m,
		User: func(r *http.Request) (string, error) {
			if user := r.Header.Get("X-User"); user != "" {
				return user, nil
			}
			return "", errNoSession
		},
	}
	return s
}

// A browser has cookies, and a user who is logged in.
type browser struct {
	user    string
	cookies []*http.Cookie
}

func (b *browser) request(method, target string, header ...string) *http.Request {
	r := httptest.NewRequest(method, target, nil)
	if b.user != "" {
		r.Header.Set("X-User", b.user)
	}
	for _, c := range b.cookies {
		r.AddCookie(c)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	return r
}

func (b *browser) keep(resp *http.Response) *http.Response {
	for _, c := range resp.Cookies() {
		b.cookies = slices.DeleteFunc(b.cookies, func(old *http.Cookie) bool { return old.Name == c.Name })
		if c.MaxAge >= 0 {
			b.cookies = append(b.cookies, c)
		}
	}
	return resp
}

func (s *site) begin(b *browser, target string, header ...string) *http.Response {
	w := httptest.NewRecorder()
	s.h.Begin(w, b.request("GET", target, header...), s.p)
	return b.keep(w.Result())
}

func (s *site) serve(b *browser, method, target string, header ...string) *http.Response {
	w := httptest.NewRecorder()
	s.h.ServeHTTP(w, b.request(method, target, header...))
	return b.keep(w.Result())
}

// away goes to the provider, and returns the address that the browser is sent
// back to.
func (s *site) away(b *browser, target string) string {
	s.Helper()
	resp := s.begin(b, target)
	if resp.StatusCode != http.StatusSeeOther {
		s.Fatalf("got status %d: %s", resp.StatusCode, text(s, resp))
	}
	back, err := s.srv.Authorize(resp.Header.Get("Location"))
	if err != nil {
		s.Fatal(err)
	}
	return back.String()
}

func text(t interface{ Fatal(...any) }, resp *http.Response) string {
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// wantPage wants a page that is safe to show.
func wantPage(t *testing.T, resp *http.Response, status int, title string) {
	t.Helper()
	body := text(t, resp)
	if resp.StatusCode != status || !strings.Contains(body, "<h1>"+title+"</h1>") {
		t.Errorf("got status %d and page %s\nwant %d and %q", resp.StatusCode, body, status, title)
	}
	wantHidden(t, resp)
	h := resp.Header
	csp := h.Get("Content-Security-Policy")
	for _, part := range []string{"default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'none'"} {
		if !strings.Contains(csp, part) {
			t.Errorf("got Content-Security-Policy %q, want %s in it", csp, part)
		}
	}
	if h.Get("Content-Type") != "text/html; charset=utf-8" || h.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("got header %v, want HTML in UTF-8 and nosniff", h)
	}
	// Nothing from elsewhere, nothing that runs.
	for _, bad := range []string{"<script", "src=", "href=", "url(", "@import", "http:", "https:", "javascript:", "<form", "style="} {
		if strings.Contains(body, bad) {
			t.Errorf("got %q in the page, want none", bad)
		}
	}
	// Well formed, with a language, a title and a heading.
	for _, good := range []string{"<!DOCTYPE html>", `<html lang="en">`, `<meta charset="utf-8">`, `name="viewport"`, "<title>" + title + "</title>", "<main>"} {
		if !strings.Contains(body, good) {
			t.Errorf("got no %q in the page, want it", good)
		}
	}
	d := xml.NewDecoder(strings.NewReader(body))
	d.Strict, d.AutoClose, d.Entity = false, []string{"meta"}, xml.HTMLEntity
	for {
		_, err := d.Token()
		if err == io.EOF {
			return
		}
		if err != nil {
			t.Fatalf("got a page that is not well formed: %v, want it to be", err)
		}
	}
}

// wantHidden wants the address of the page to stay here.
func wantHidden(t *testing.T, resp *http.Response) {
	t.Helper()
	if h := resp.Header; h.Get("Cache-Control") != "no-store" || h.Get("Referrer-Policy") != "no-referrer" {
		t.Errorf("got header %v, want no-store and no-referrer", h)
	}
}

func TestRedirectHandler(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		s, b := w.site(), &browser{user: "ada"}
		resp := s.begin(b, "https://app.example.com/connect")
		if resp.StatusCode != http.StatusSeeOther || !strings.HasPrefix(resp.Header.Get("Location"), w.srv.AuthURL()+"?") {
			t.Fatalf("got %d to %q, want 303 to the provider", resp.StatusCode, resp.Header.Get("Location"))
		}
		wantHidden(t, resp)
		if len(b.cookies) != 1 {
			t.Fatalf("got cookies %v, want one", b.cookies)
		}
		back, err := w.srv.Authorize(resp.Header.Get("Location"))
		if err != nil {
			t.Fatal(err)
		}
		resp = s.serve(b, "GET", back.String())
		wantPage(t, resp, http.StatusOK, "Connected")
		if len(b.cookies) != 0 {
			t.Errorf("got cookies %v afterwards, want none", b.cookies)
		}
		w.healthy(ada)
		w.token(w.m, s.p, asAda)

		// A reload says what happened, and does nothing.
		wantPage(t, s.serve(b, "GET", back.String()), http.StatusBadRequest, "Begin again")
		w.asked("authorization_code", 1)
	})
}

// A user who is sent the authorization address of another user does not end up
// with their account.
func TestThreat004_FlowOfAnotherUser(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		s, b := w.site(), &browser{user: "eve"}
		back := s.away(b, "https://app.example.com/connect")
		b.user = "ada" // even in the same browser
		wantPage(t, s.serve(b, "GET", back), http.StatusForbidden, "Not connected")
		w.asked("authorization_code", 0)
		w.noGrant(ada)
	})
}

func TestNobodyIsLoggedIn(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		s, b := w.site(), &browser{user: "ada"}
		back := s.away(b, "https://app.example.com/connect")
		nobody := &browser{cookies: b.cookies}
		wantPage(t, s.begin(nobody, "https://app.example.com/connect"), http.StatusUnauthorized, "Please log in")
		wantPage(t, s.serve(nobody, "GET", back), http.StatusUnauthorized, "Please log in")
		s.h.User = func(*http.Request) (string, error) { return "", nil }
		wantPage(t, s.begin(nobody, "https://app.example.com/connect"), http.StatusForbidden, "Not connected")
	})
}

func TestThreat025_HostOfTheRequestDoesNotMatter(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		s, b := w.site(), &browser{user: "ada"}
		r := b.request("GET", "https://evil.example.com/connect", "X-Forwarded-Host", "evil.example.com", "X-Forwarded-Proto", "http", "Forwarded", "host=evil.example.com")
		rec := httptest.NewRecorder()
		s.h.Begin(rec, r, s.p)
		if got := parsed(t, rec.Header().Get("Location")).Query().Get("redirect_uri"); got != callbackAddress {
			t.Errorf("got redirect address %q, want %q", got, callbackAddress)
		}
	})
}

// The application adds to the authorization request what it knows, but nothing
// that protects the exchange.
func TestOptionsOfARedirectHandler(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		s := w.site()
		s.h.Options = func(r *http.Request) []oauth2.AuthCodeOption {
			return []oauth2.AuthCodeOption{oauth2.SetAuthURLParam("login_hint", r.FormValue("account"))}
		}
		b := &browser{user: "ada"}
		u, err := url.Parse(s.begin(b, "/connect?account=ada@example.com").Header.Get("Location"))
		if err != nil {
			t.Fatal(err)
		}
		if got := u.Query().Get("login_hint"); got != "ada@example.com" {
			t.Errorf("got login_hint %q, want ada@example.com", got)
		}

		s.h.Options = func(*http.Request) []oauth2.AuthCodeOption {
			return []oauth2.AuthCodeOption{oauth2.SetAuthURLParam("state", "mine")}
		}
		var got error
		s.h.ErrorHandler = func(_ http.ResponseWriter, _ *http.Request, err error) { got = err }
		s.begin(b, "/connect")
		if f, ok := errors.AsType[*authprofile.FieldError](got); !ok || f.Field != "state" {
			t.Errorf("got error %v, want one about state", got)
		}
	})
}

// TestThreat039_CodeOfAnotherProvider: an evil provider sends the browser on to
// the honest one with the state of its own flow. The honest one's code comes
// to the honest one's address, and goes nowhere.
func TestThreat039_CodeOfAnotherProvider(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		evil := anotherProvider(t, "https://evil.example.com")
		w.m = &authprofile.Manager{Store: w.store, RedirectURL: "https://app.example.com/cb/{profile}", HTTPClient: &http.Client{
			Transport: web{"evil.example.com": evil.Transport(), "": w.srv.Transport()},
		}}
		// Both are custom providers that do not name themselves when they answer.
		honest := w.save(registered(authprofile.Profile{
			ID: "honest", Type: authprofile.TypeUser,
			Endpoints: authprofile.Endpoints{AuthURL: w.srv.AuthURL(), TokenURL: w.srv.TokenURL()},
		}))
		s, b := w.site(), &browser{user: "ada"}
		s.p = w.save(registered(authprofile.Profile{
			ID: "evil", Type: authprofile.TypeUser,
			Endpoints: authprofile.Endpoints{AuthURL: evil.AuthURL(), TokenURL: evil.TokenURL()},
		}))
		resp := s.begin(b, "https://app.example.com/connect")
		q := parsed(t, resp.Header.Get("Location")).Query()
		q.Set("redirect_uri", w.m.RedirectAddress(honest)) // as the honest one has it
		back, err := w.srv.Authorize(w.srv.AuthURL() + "?" + q.Encode())
		if err != nil {
			t.Fatal(err)
		}
		wantPage(t, s.serve(b, "GET", back.String()), http.StatusBadRequest, "Not connected")
		if got := evil.Count(""); got != 0 {
			t.Errorf("got %d token requests at the evil provider, want none", got)
		}
	})
}

// Behind StripPrefix and in a ServeMux, the path that the browser sees counts.
func TestRedirectHandlerInAServeMux(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.m = &authprofile.Manager{Store: w.store, HTTPClient: w.srv.Client(), RedirectURL: "https://app.example.com/oauth/{profile}/done"}
		s, b := w.site(), &browser{user: "ada"}
		var done *http.Request
		s.h.Done = func(w http.ResponseWriter, r *http.Request, g *authprofile.Grant) { done = r }
		stripped := http.StripPrefix("/oauth", s.h)
		mux := http.NewServeMux()
		mux.Handle("GET /oauth/{profile}/done", stripped)
		mux.HandleFunc("POST /connect", func(w http.ResponseWriter, r *http.Request) { s.h.Begin(w, r, s.p) })

		for range 2 {
			rec := httptest.NewRecorder()
			mux.ServeHTTP(rec, b.request("POST", "https://app.example.com/connect"))
			resp := b.keep(rec.Result())
			back, err := w.srv.Authorize(resp.Header.Get("Location"))
			if err != nil {
				t.Fatal(err)
			}
			rec = httptest.NewRecorder()
			mux.ServeHTTP(rec, b.request("HEAD", back.String())) // which the pattern lets pass
			if rec.Code != http.StatusMethodNotAllowed {
				t.Errorf("HEAD: got %d, want 405", rec.Code)
			}
			rec = httptest.NewRecorder()
			mux.ServeHTTP(rec, b.request("GET", back.String()))
			if rec.Code != 200 || done == nil {
				t.Fatalf("got %d: %s, want 200 and a call of Done", rec.Code, rec.Body)
			}
			if got := done.RequestURI; !strings.HasPrefix(got, "/oauth/crm/done?") || strings.Contains(got, "code=") {
				t.Errorf("got %q, want the request's own path without the code", got)
			}
			done = nil
		}
	})
}

// Done and ErrorHandler get a request with nothing in it to keep to oneself.
func TestHandlersGetNoSecrets(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		s, b := w.site(), &browser{user: "ada"}
		check := func(name string, r *http.Request, returnTo string) {
			t.Helper()
			if r == nil {
				t.Fatalf("%s: got no call, want one", name)
			}
			for _, param := range []string{"code", "state", "access_token", "id_token"} {
				if r.URL.Query().Has(param) || r.FormValue(param) != "" || strings.Contains(r.RequestURI, param+"=") || strings.Contains(r.URL.String(), param+"=") {
					t.Errorf("%s: got %s in %q, want none", name, param, r.URL)
				}
			}
			if got := r.URL.Query()["return_to"]; strings.Join(got, " ") != returnTo {
				t.Errorf("%s: got return_to %q, want %q", name, got, returnTo)
			}
			if got := r.URL.Query().Get("kept"); got != "1" {
				t.Errorf("%s: got %q, want other parameters kept", name, r.URL)
			}
		}
		var done, failed *http.Request
		var grant *authprofile.Grant
		var failure error
		s.h.Done = func(w http.ResponseWriter, r *http.Request, g *authprofile.Grant) { done, grant = r, g }
		s.h.ErrorHandler = func(w http.ResponseWriter, r *http.Request, err error) {
			failed, failure = r, err
			w.WriteHeader(418)
		}

		back := s.away(b, "https://app.example.com/connect?return_to=/settings")
		r := b.request("GET", back+"&kept=1&return_to=https://evil.example.com")
		if err := r.ParseForm(); err != nil { // as a middleware may have done
			t.Fatal(err)
		}
		original := r.URL.String()
		rec := httptest.NewRecorder()
		s.h.ServeHTTP(rec, r)
		check("Done", done, "/settings")
		if grant == nil || grant.GrantKey != ada || rec.Header().Get("Location") != "" {
			t.Errorf("got %v and header %v, want ada's grant and no redirect", grant, rec.Header())
		}
		if r.URL.String() != original {
			t.Error("got a changed request of the caller's, want it untouched")
		}

		resp := s.serve(b, "GET", back+"&kept=1&access_token=x&id_token=x&return_to=/x")
		check("ErrorHandler of a flow that is not there", failed, "")
		if resp.StatusCode != 418 || failure == nil || !errors.As(failure, new(*authprofile.Error)) {
			t.Errorf("got %d and %v, want what the handler answers", resp.StatusCode, failure)
		}
		wantHidden(t, resp)

		s.serve(b, "GET", back+"&error_code=200&own_code=x")
		if q := failed.URL.Query(); q.Get("error_code") != "200" || q.Has("own_code") {
			t.Errorf("got the parameters %v, want error_code, and no other code", q)
		}

		failed = nil
		s.begin(b, "https://app.example.com/connect?kept=1&return_to=/x", "Sec-Fetch-Site", "cross-site")
		check("ErrorHandler of Begin", failed, "")
		for _, parsed := range []bool{false, true} { // by a middleware
			r := httptest.NewRequest("POST", "https://app.example.com/connect?kept=1", strings.NewReader("return_to=https://evil.example.com/&code=x"))
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			r.Header.Set("X-User", "ada")
			r.Header.Set("Sec-Fetch-Site", "cross-site")
			if parsed {
				r.ParseForm()
			}
			failed = nil
			s.h.Begin(httptest.NewRecorder(), r, s.p)
			check("ErrorHandler of a posted Begin", failed, "")
			if got := failed.FormValue("return_to") + failed.PostFormValue("return_to"); got != "" {
				t.Errorf("got return_to %q in a form, want none", got)
			}
		}
		s.begin(&browser{}, "https://app.example.com/connect")
		if !errors.Is(failure, errNoSession) {
			t.Errorf("got %v, want the application's own error", failure)
		}
	})
}

// The pages say what happened, and show nothing that came with the request.
func TestPages(t *testing.T) {
	const nasty = "<script>alert('nasty')</script>"
	for _, test := range []struct {
		name   string
		faults func(w *world)
		status int
		title  string
	}{
		{"denied", func(w *world) {
			w.srv.SetConsent(providertest.Consent{Error: "access_denied", Description: nasty})
		}, http.StatusForbidden, "Not connected"},
		{"another error", func(w *world) {
			w.srv.SetConsent(providertest.Consent{Error: nasty, Description: nasty, Params: url.Values{"error_uri": {"javascript:nasty"}}})
		}, http.StatusBadRequest, "Not connected"},
		{"wrong secret", func(w *world) { w.srv.SetClientSecret(providertest.ClientID, "other") }, http.StatusBadGateway, "Not connected"},
		{"provider down", func(w *world) {
			w.srv.Fault(providertest.Token, providertest.Fault{Status: 503, Body: nasty})
		}, http.StatusBadGateway, "Not connected"},
		{"code refused", func(w *world) {
			w.srv.Fault(providertest.Token, providertest.Fault{Status: 400, Body: `{"error":"` + nasty + `"}`})
		}, http.StatusBadGateway, "Not connected"},
		{"answer lost", func(w *world) {
			w.srv.Fault(providertest.Token, providertest.Fault{Drop: true})
		}, http.StatusBadRequest, "Not connected"},
		{"too late", func(w *world) { time.Sleep(11 * time.Minute) }, http.StatusBadRequest, "Begin again"},
		{"another account", func(w *world) {
			w.srv.MutateIDToken(func(_, claims map[string]any) { claims["sub"] = nasty })
		}, http.StatusForbidden, "Not connected"},
	} {
		t.Run(test.name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				s, b := w.site(), &browser{user: "ada"}
				w.authorize(s.p, "ada")
				if test.name == "denied" || test.name == "another error" {
					test.faults(w)
				}
				back := s.away(b, "https://app.example.com/connect")
				if test.name != "denied" && test.name != "another error" {
					test.faults(w)
				}
				w.srv.MutateIDToken(func(_, claims map[string]any) {
					if test.name == "another account" {
						claims["sub"] = nasty
					}
				})
				rec := httptest.NewRecorder()
				s.h.ServeHTTP(rec, b.request("GET", back+"&nasty="+url.QueryEscape(nasty)))
				if strings.Contains(rec.Body.String(), "nasty") || strings.Contains(fmt.Sprint(rec.Header()), "nasty") {
					t.Errorf("got what came from outside in the page: %s %v, want none of it", rec.Body, rec.Header())
				}
				wantPage(t, rec.Result(), test.status, test.title)
			})
		})
	}
}

// TestThreat027_RedirectsAre303, so that nothing is posted again.
func TestThreat027_RedirectsAre303(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		s, b := w.site(), &browser{user: "ada"}
		rec := httptest.NewRecorder()
		s.h.Begin(rec, b.request("POST", "https://app.example.com/connect"), s.p)
		if rec.Code != http.StatusSeeOther {
			t.Errorf("got %d from a POST, want 303", rec.Code)
		}
		back := s.away(b, "https://app.example.com/connect?return_to=/settings")
		resp := s.serve(b, "GET", back)
		if resp.StatusCode != http.StatusSeeOther || text(t, resp) != "" {
			t.Errorf("got %d afterwards, want 303 without a body", resp.StatusCode)
		}
		wantHidden(t, resp) // its own address has the code in it
	})
}

func TestBeginOfAHandlerFails(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		s, b := w.site(), &browser{user: "ada"}
		s.p = w.app()
		wantPage(t, s.begin(b, "https://app.example.com/connect"), http.StatusBadRequest, "Not connected")
		if len(b.cookies) != 0 {
			t.Errorf("got cookies %v, want none", b.cookies)
		}
		var failure error
		s.h.ErrorHandler = func(_ http.ResponseWriter, _ *http.Request, err error) { failure = err }
		s.begin(b, "https://app.example.com/connect")
		var e *authprofile.Error
		if !errors.As(failure, &e) || e.Op != "begin" || e.ProfileID != "app" {
			t.Errorf("got %v, want an *Error of begin", failure)
		}
	})
}

// A flow that Manager.Begin has begun can be finished by the handler: the user
// must be the same, and no browser is known.
func TestHandlerFinishesFlowsOfTheManager(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		s := w.site()
		q := w.consent(w.begin(s.p, "ada")).Encode()
		wantPage(t, s.serve(&browser{user: "ada"}, "GET", callbackAddress+"?"+q), http.StatusOK, "Connected")
		w.healthy(ada)
		q = w.consent(w.begin(s.p, "ada")).Encode()
		wantPage(t, s.serve(&browser{user: "eve"}, "GET", callbackAddress+"?"+q), http.StatusForbidden, "Not connected")
	})
}

// Over a real connection, with a real cookie jar.
func TestRedirectHandlerOverHTTP(t *testing.T) {
	srv := providertest.NewServer(t)
	m := new(authprofile.Manager)
	mux := http.NewServeMux()
	app := httptest.NewServer(mux)
	defer app.Close()
	m.RedirectURL = app.URL + "/callback"
	p := registered(authprofile.Profile{
		Type:      authprofile.TypeUser,
		Endpoints: authprofile.Endpoints{DiscoveryURL: srv.DiscoveryURL()}, Scopes: []string{"openid"},
	})
	if err := m.Save(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	h := &authprofile.RedirectHandler{Manager: m, User: func(*http.Request) (string, error) { return "ada", nil }}
	mux.Handle("GET /callback", h)
	mux.HandleFunc("GET /connect", func(w http.ResponseWriter, r *http.Request) { h.Begin(w, r, p) })
	mux.HandleFunc("GET /settings", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "the settings") })

	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	browser := &http.Client{Jar: jar}
	resp, err := browser.Get(app.URL + "/connect?return_to=/settings")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if got := text(t, resp); got != "the settings" {
		t.Errorf("got %s, want the page that the person came from", got)
	}
	if cookies := jar.Cookies(parsed(t, app.URL)); len(cookies) != 0 {
		t.Errorf("got cookies %v afterwards, want none", cookies)
	}
	tok, err := m.Token(t.Context(), p, authprofile.AsUser("ada"))
	if err != nil {
		t.Fatal(err)
	}
	if !tok.Valid() {
		t.Error("got no valid token, want one")
	}
	if err := m.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}
