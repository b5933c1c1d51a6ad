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

// A browser has cookies, and somebody who is logged in.
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
		t.Errorf("got header %v", h)
	}
	// 028: nothing from elsewhere, nothing that runs.
	for _, bad := range []string{"<script", "src=", "href=", "url(", "@import", "http:", "https:", "javascript:", "<form", "style="} {
		if strings.Contains(body, bad) {
			t.Errorf("got %q in the page", bad)
		}
	}
	// Well formed, with a language, a title and a heading.
	for _, good := range []string{"<!DOCTYPE html>", `<html lang="en">`, `<meta charset="utf-8">`, `name="viewport"`, "<title>" + title + "</title>", "<main>"} {
		if !strings.Contains(body, good) {
			t.Errorf("got no %q in the page", good)
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
			t.Fatalf("got a page that is not well formed: %v", err)
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

		// 006: a reload says what happened, and does nothing.
		wantPage(t, s.serve(b, "GET", back.String()), http.StatusBadRequest, "Begin again")
		w.asked("authorization_code", 1)
	})
}

func TestThreat003_StateInAnotherBrowser(t *testing.T) {
	for _, test := range []struct {
		name   string
		cookie func(c *http.Cookie) []*http.Cookie
	}{
		{"no cookie", func(*http.Cookie) []*http.Cookie { return nil }},
		{"empty cookie", func(c *http.Cookie) []*http.Cookie { return []*http.Cookie{{Name: c.Name}} }},
		{"another value", func(c *http.Cookie) []*http.Cookie {
			return []*http.Cookie{{Name: c.Name, Value: strings.Repeat("A", 43)}}
		}},
		{"another name", func(c *http.Cookie) []*http.Cookie { return []*http.Cookie{{Name: c.Name + "x", Value: c.Value}} }},
		{"without the prefix", func(c *http.Cookie) []*http.Cookie {
			return []*http.Cookie{{Name: strings.TrimPrefix(c.Name, "__Host-"), Value: c.Value}}
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				s, b := w.site(), &browser{user: "ada"}
				back := s.away(b, "https://app.example.com/connect")
				other := &browser{user: "ada", cookies: test.cookie(b.cookies[0])}
				wantPage(t, s.serve(other, "GET", back), http.StatusForbidden, "Not connected")
				w.asked("authorization_code", 0)
				// It is over in the right browser, too.
				wantPage(t, s.serve(b, "GET", back), http.StatusBadRequest, "Begin again")
				w.noGrant(ada)
			})
		})
	}
}

// TestThreat003_CookieOfAnotherFlow: the cookie is of this flow, not of any.
func TestThreat003_CookieOfAnotherFlow(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		s := w.site()
		attacker, victim := &browser{user: "ada"}, &browser{user: "ada"}
		attackers := s.away(attacker, "https://app.example.com/connect")
		victims := s.away(victim, "https://app.example.com/connect")
		victim.cookies[0].Name, attacker.cookies[0].Name = attacker.cookies[0].Name, victim.cookies[0].Name
		wantPage(t, s.serve(victim, "GET", attackers), http.StatusForbidden, "Not connected")
		wantPage(t, s.serve(attacker, "GET", victims), http.StatusForbidden, "Not connected")
		w.asked("authorization_code", 0)
	})
}

// TestThreat004_FlowOfAnotherUser: whoever is sent an authorization address by
// somebody else does not end up with their account.
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

// TestThreat018_OnlyAGetFinishes what was begun.
func TestThreat018_OnlyAGetFinishes(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		s, b := w.site(), &browser{user: "ada"}
		back := s.away(b, "https://app.example.com/connect")
		for _, method := range []string{"HEAD", "POST", "OPTIONS", "PUT", "DELETE", "PATCH"} {
			resp := s.serve(b, method, back)
			if resp.StatusCode != http.StatusMethodNotAllowed || resp.Header.Get("Allow") != "GET" {
				t.Errorf("%s: got %d, want 405 and Allow: GET", method, resp.StatusCode)
			}
			wantHidden(t, resp)
		}
		for _, header := range [][]string{
			{"Sec-Purpose", "prefetch"}, {"Sec-Purpose", "prefetch;prerender"}, {"Purpose", "prefetch"},
		} {
			wantPage(t, s.serve(b, "GET", back, header...), http.StatusForbidden, "Not loaded ahead")
			wantPage(t, s.begin(b, "https://app.example.com/connect", header...), http.StatusForbidden, "Not loaded ahead")
		}
		for _, method := range []string{"HEAD", "OPTIONS", "PUT"} {
			rec := httptest.NewRecorder()
			s.h.Begin(rec, b.request(method, "https://app.example.com/connect"), s.p)
			if rec.Code != http.StatusMethodNotAllowed || rec.Header().Get("Allow") != "GET, POST" {
				t.Errorf("%s: got %d from Begin, want 405", method, rec.Code)
			}
		}
		w.asked("authorization_code", 0)
		wantPage(t, s.serve(b, "GET", back), http.StatusOK, "Connected")
	})
}

func TestThreat021_HugeCallbacks(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		s, b := w.site(), &browser{user: "ada"}
		back := s.away(b, "https://app.example.com/connect")
		for _, more := range []string{
			"&x=" + strings.Repeat("x", 1<<20),
			strings.Repeat("&x=1", 10_000),
			strings.Repeat("&", 10_000),
		} {
			wantPage(t, s.serve(b, "GET", back+more), http.StatusBadRequest, "Not connected")
		}
		w.asked("authorization_code", 0)
		var got *http.Request
		s.h.ErrorHandler = func(w http.ResponseWriter, r *http.Request, err error) { got = r }
		s.serve(b, "GET", back+"&x="+strings.Repeat("x", 1<<20))
		if len(got.URL.RawQuery) > 1000 || strings.Contains(got.RequestURI, "code=") {
			t.Errorf("got %d bytes of query in the request that is handed on", len(got.URL.RawQuery))
		}
		s.h.ErrorHandler = nil
		wantPage(t, s.serve(b, "GET", back), http.StatusOK, "Connected")
	})
}

// What is not form-encoded, and not ours, costs neither the code nor the error.
func TestThreat020_ParametersThatAreNotFormEncoded(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		s, b := w.site(), &browser{user: "ada"}
		var odd string
		s.h.Done = func(w http.ResponseWriter, r *http.Request, g *authprofile.Grant) { odd = r.URL.Query().Get("odd") }
		for _, more := range []string{
			"note=100%", "x=a;b", "x;y", ";", "%", "%zz=1", "=%", "x=%f", "a;code=evil", "code;=evil", "x=1;state=evil", "session_state=%", "scope=a;b", "x=%ff",
		} {
			w.srv.SetConsent(providertest.Consent{})
			back := s.away(b, "https://app.example.com/connect")
			odd = ""
			if resp := s.serve(b, "GET", back+"&"+more+"&odd=100%;"); resp.StatusCode != http.StatusOK || odd != "100%;" {
				t.Errorf("%q: got status %d, and %q for the application, want success and its parameter", more, resp.StatusCode, odd)
			}
			before, query, _ := strings.Cut(s.away(b, "https://app.example.com/connect"), "?")
			if resp := s.serve(b, "GET", before+"?"+more+"&"+query); resp.StatusCode != http.StatusOK {
				t.Errorf("%q before all others: got status %d, want success", more, resp.StatusCode)
			}

			w.srv.SetConsent(providertest.Consent{Error: "access_denied"})
			for _, description := range []string{"", "&error_description=100%", "&error_description=a;b", "&error_description=%ff%"} {
				back = s.away(b, "https://app.example.com/connect")
				var failure error
				s.h.ErrorHandler = func(w http.ResponseWriter, r *http.Request, err error) { failure = err }
				s.serve(b, "GET", back+"&"+more+description)
				if re, ok := errors.AsType[*oauth2.RetrieveError](failure); !ok || re.ErrorCode != "access_denied" {
					t.Errorf("%q: got %v, want access_denied", more+description, failure)
				}
			}
			s.h.ErrorHandler = nil
		}
	})
}

// TestThreat014_OurParametersMustBeFormEncoded: what they mean is not guessed,
// and the flow goes on.
func TestThreat014_OurParametersMustBeFormEncoded(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		s, b := w.site(), &browser{user: "ada"}
		back := s.away(b, "https://app.example.com/connect")
		var encoded []string
		for name, values := range parsed(t, back).Query() {
			encoded = append(encoded, name+"="+url.QueryEscape(values[0]))
		}
		for _, name := range []string{"code", "state", "iss"} {
			for _, spoil := range []string{"%", "%zz", ";", ";x=y"} {
				var query []string
				for _, pair := range encoded {
					if strings.HasPrefix(pair, name+"=") {
						pair += spoil
					}
					query = append(query, pair)
				}
				wantPage(t, s.serve(b, "GET", callbackAddress+"?"+strings.Join(query, "&")), http.StatusBadRequest, "Not connected")
			}
		}
		for _, more := range []string{"code=%", "state=%", "iss=%", "%69ss=%", "error=%", "error=a;b", "error_description=%&error_description=a"} {
			wantPage(t, s.serve(b, "GET", back+"&"+more), http.StatusBadRequest, "Not connected")
		}
		w.asked("authorization_code", 0)
		wantPage(t, s.serve(b, "GET", back), http.StatusOK, "Connected")
	})
}

func TestThreat023_FlowsThatAnotherSiteBegins(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		s, b := w.site(), &browser{user: "ada"}
		const connect = "https://app.example.com/connect"
		for _, test := range []struct {
			name   string
			method string
			header []string
			ok     bool
		}{
			{"image of another site", "GET", []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Dest", "image"}, false},
			{"image of the same site", "GET", []string{"Sec-Fetch-Site", "same-origin", "Sec-Fetch-Dest", "image"}, false},
			{"frame", "GET", []string{"Sec-Fetch-Site", "same-origin", "Sec-Fetch-Dest", "iframe"}, false},
			{"script", "GET", []string{"Sec-Fetch-Site", "same-origin", "Sec-Fetch-Dest", "empty"}, false},
			{"link of another site", "GET", []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Dest", "document"}, false},
			{"form of another site", "POST", []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Dest", "document"}, false},
			{"form of a sibling", "POST", []string{"Sec-Fetch-Site", "same-site", "Sec-Fetch-Dest", "document"}, false},
			{"form of another site, old browser", "POST", []string{"Origin", "https://evil.example.com"}, false},
			{"link of this site", "GET", []string{"Sec-Fetch-Site", "same-origin", "Sec-Fetch-Dest", "document"}, true},
			{"typed in", "GET", []string{"Sec-Fetch-Site", "none", "Sec-Fetch-Dest", "document"}, true},
			{"form of this site", "POST", []string{"Sec-Fetch-Site", "same-origin", "Sec-Fetch-Dest", "document"}, true},
			{"form of this site, old browser", "POST", []string{"Origin", "https://app.example.com"}, true},
			{"no browser", "GET", nil, true},
		} {
			rec := httptest.NewRecorder()
			s.h.Begin(rec, b.request(test.method, connect, test.header...), s.p)
			if test.ok {
				if rec.Code != http.StatusSeeOther {
					t.Errorf("%s: got %d, want 303", test.name, rec.Code)
				}
				continue
			}
			if rec.Code != http.StatusForbidden || rec.Header().Get("Location") != "" || rec.Header().Get("Set-Cookie") != "" {
				t.Errorf("%s: got %d and header %v, want 403 and nothing begun", test.name, rec.Code, rec.Header())
			}
		}
	})
}

func TestThreat024_Cookie(t *testing.T) {
	for _, test := range []struct {
		redirect, request string
		secure            bool
	}{
		{"https://app.example.com/callback", "https://app.example.com/connect", true},
		{"https://app.example.com/callback", "http://10.0.0.7/connect", true}, // behind a proxy
		{"http://127.0.0.1:8080/callback", "http://127.0.0.1:8080/connect", false},
		{"http://localhost:8080/callback", "https://app.example.com/connect", false},
	} {
		t.Run(test.redirect, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				s, b := w.site(), &browser{user: "ada"}
				s.p.RedirectURL = test.redirect
				w.save(s.p)
				resp := s.begin(b, test.request)
				c := b.cookies[0]
				if c.Secure != test.secure || strings.HasPrefix(c.Name, "__Host-") != test.secure {
					t.Errorf("got %v, want Secure and __Host- to be %v", c, test.secure)
				}
				if !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || c.MaxAge != 600 || c.Path != "/" || c.Domain != "" {
					t.Errorf("got %v, want HttpOnly, SameSite=Lax, ten minutes, path / and no domain", c)
				}
				q := parsed(t, resp.Header.Get("Location")).Query()
				if len(c.Value) != 43 || strings.Contains(resp.Header.Get("Location"), c.Value) || strings.Contains(c.String(), q.Get("state")) {
					t.Errorf("got %v, want a value of its own", c)
				}
				back, err := w.srv.Authorize(resp.Header.Get("Location"))
				if err != nil {
					t.Fatal(err)
				}
				resp = s.serve(b, "GET", back.String())
				if resp.StatusCode != 200 {
					t.Fatalf("got %d: %s", resp.StatusCode, text(t, resp))
				}
				cleared := resp.Cookies()
				if len(cleared) != 1 || cleared[0].Name != c.Name || cleared[0].MaxAge != -1 || cleared[0].Value != "" || cleared[0].Path != "/" || cleared[0].Secure != c.Secure {
					t.Errorf("got %v afterwards, want it cleared", cleared)
				}
			})
		})
	}
}

// TestThreat030_CookiesAreNotReused: each flow has a cookie of its own, and so
// do two at the same time.
func TestThreat030_CookiesAreNotReused(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		s, b := w.site(), &browser{user: "ada"}
		first := s.away(b, "https://app.example.com/connect")
		second := s.away(b, "https://app.example.com/connect")
		if len(b.cookies) != 2 || b.cookies[0].Value == b.cookies[1].Value {
			t.Fatalf("got %v, want two", b.cookies)
		}
		wantPage(t, s.serve(b, "GET", second), http.StatusOK, "Connected")
		wantPage(t, s.serve(b, "GET", first), http.StatusOK, "Connected")
	})
}

// Servers refuse requests whose cookies are too large, so those of abandoned
// flows do not pile up: the oldest give way, whatever order they come in.
func TestThreat024_CookiesOfAbandonedFlows(t *testing.T) {
	for _, address := range []string{callbackAddress, "http://127.0.0.1:8080/callback"} {
		t.Run(address, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				s, b := w.site(), &browser{user: "ada"}
				s.p.RedirectURL = address
				w.save(s.p)
				own := []*http.Cookie{{Name: "session", Value: "x"}, {Name: "authprofile-theme", Value: "dark"}, {Name: "__Host-authprofile-of-another-program", Value: "x"}}
				b.cookies = slices.Clone(own)
				var backs []string
				const limit = 10
				for i := range 25 {
					slices.Reverse(b.cookies)
					backs = append(backs, s.away(b, "https://app.example.com/connect"))
					if got, want := len(b.cookies)-len(own), min(i+1, limit); got != want {
						t.Fatalf("got %d cookies after %d flows, want %d", got, i+1, want)
					}
					time.Sleep(time.Second)
				}
				size := 0
				for _, c := range b.cookies {
					size += len(c.Name + "=" + c.Value + "; ")
				}
				if size > 1024 {
					t.Errorf("got %d bytes of cookies, want at most 1024", size)
				}
				for _, c := range own {
					if !slices.ContainsFunc(b.cookies, func(d *http.Cookie) bool { return d.Name == c.Name }) {
						t.Errorf("got cookies %v, want %s left alone", b.cookies, c.Name)
					}
				}
				for _, back := range backs[len(backs)-limit:] {
					wantPage(t, s.serve(b, "GET", back), http.StatusOK, "Connected")
				}
				wantPage(t, s.serve(b, "GET", backs[len(backs)-limit-1]), http.StatusForbidden, "Not connected")
			})
		})
	}
}

// Cookies that were made up, or by an earlier version, go first.
func TestThreat024_CookiesThatTellNoTime(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		s, b := w.site(), &browser{user: "ada"}
		back := s.away(b, "https://app.example.com/connect")
		for i := range 40 {
			b.cookies = append(b.cookies, &http.Cookie{Name: fmt.Sprintf("__Host-authprofile-%016d", i), Value: strings.Repeat("!", i)})
		}
		time.Sleep(time.Second)
		s.begin(b, "https://app.example.com/connect")
		if got := len(b.cookies); got != 10 {
			t.Errorf("got %d cookies, want 10", got)
		}
		wantPage(t, s.serve(b, "GET", back), http.StatusOK, "Connected")
	})
}

// Another site under the same domain can plant cookies, though none whose name
// begins with "__Host-": they push out no flow.
func TestThreat024_CookiesOfAnotherSite(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		s, b := w.site(), &browser{user: "ada"}
		const latest = "_____________________________________________" // of a time to come
		for i := range 100 {
			b.cookies = append(b.cookies, &http.Cookie{Name: fmt.Sprintf("authprofile-%016d", i), Value: latest[:43]})
		}
		back := s.away(b, "https://app.example.com/connect")
		resp := s.begin(b, "https://app.example.com/connect")
		if got := len(resp.Header.Values("Set-Cookie")); got != 1 {
			t.Errorf("got %d cookies set, want the new one alone", got)
		}
		wantPage(t, s.serve(b, "GET", back), http.StatusOK, "Connected")
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

func TestThreat026_WhereToReturnTo(t *testing.T) {
	for returnTo, ok := range map[string]bool{
		"/settings":                    true,
		"/":                            true,
		"/settings?tab=a%2Fb&x=//y#":   false,
		"/settings?tab=a%2Fb&x=//y":    true,
		"/a/b/":                        true,
		"/a:b@c;d":                     true,
		"":                             false,
		"settings":                     false,
		"?x":                           false,
		"//evil":                       false,
		"///evil":                      false,
		"/\\evil":                      false,
		"\\\\evil":                     false,
		"\\/evil":                      false,
		"/%5cevil":                     false,
		"/%2Fevil":                     false,
		"/%2f%2fevil":                  false,
		"/\t/evil":                     false,
		"/%09/evil":                    false,
		"/%0d%0aSet-Cookie:x":          false,
		"/\r\nSet-Cookie: x":           false,
		"/ /evil":                      false,
		" //evil":                      false,
		"/%00":                         false,
		"https:evil":                   false,
		"https:/evil":                  false,
		"https://evil":                 false,
		"https://app.example.com/":     false,
		"javascript:alert(1)":          false,
		"data:text/html,x":             false,
		"/a/..//evil":                  false,
		"/a/../../evil":                false,
		"/..":                          false,
		"/./evil":                      false,
		"/%2e%2e/evil":                 false,
		"/a/%2E%2e":                    false,
		"//user:pass@evil":             false,
		"/\u3002\u3002/evil":           false,
		"/%E3%80%82/evil":              false,
		"\u2215\u2215evil":             false,
		"/\uff0fevil":                  false,
		"/%zz":                         false,
		"/#//evil":                     false,
		"/\x7f":                        false,
		"/" + strings.Repeat("a", 1e4): false,

		// Letters of any language, spaces, and what a segment may have encoded.
		"/%C3%BCbersicht": true,
		"/my%20files":     true,
		"/my%20files/":    true,
		"/%E6%96%87%E4%BB%B6/%E0%A4%B9%E0%A4%BF.txt": true,
		"/a%E2%80%93b/%D9%A3":                        true,
		"/a%2Fb":                                     true,
		"/100%25/c%23/what%3F":                       true,
		"/100%2525":                                  true,
		"/%2e%2e%2e/.hidden/a..b":                    true,
		"/a;b=c/d;":                                  true,
		"/x?q=%C3%BC+a%20b&c=100%25&next=%2F%2Fa":    true,

		// Encoded once and more, and taken apart by servers.
		"/%252Fevil":               false,
		"/%252f%252fevil":          false,
		"/%2525252Fevil":           false,
		"/%255cevil":               false,
		"/%2509/evil":              false,
		"/%250d%250aSet-Cookie:x":  false,
		"/%2500":                   false,
		"/%7f":                     false,
		"/.%2e/evil":               false,
		"/%2e%2e%2fevil":           false,
		"/%252e%252e/evil":         false,
		"/a/.%252e":                false,
		"/%252%65%252%65/evil":     false,
		"/%25252e%25252e/100%25":   false,
		"/%252e%252e/100%25":       false,
		"/%u002e%u002e/evil":       false,
		"/a%3F/../evil":            false,
		"/a%3F/%2e%2e/evil":        false,
		"/a%23//evil":              false,
		"/..;/evil":                false,
		"/..;x=y/evil":             false,
		"/..%3b/evil":              false,
		"/;/evil":                  false,
		"/%20/evil":                false,
		"/..%20/evil":              false,
		"/%20../evil":              false,
		"/%c0%ae%c0%ae/evil":       false,
		"/%c0%afevil":              false,
		"/%ff":                     false,
		"/%E2%80%A4%E2%80%A4/evil": false,
		"/%E2%80%A5/evil":          false,
		"/%EF%BC%8E%EF%BC%8E/evil": false,
		"/%EF%BC%8Fevil":           false,
		"/%E2%88%95evil":           false,
		"/%EF%BC%BCevil":           false,
		"/%25E3%2580%2582/evil":    false,
		"/%C2%A0/evil":             false,
		"/a%E2%80%8Bb":             false,
		"/a%E2%80%AEb":             false,
		"/a%C2%85b":                false,
	} {
		t.Run(fmt.Sprintf("026 %.40q", returnTo), func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				s, b := w.site(), &browser{user: "ada"}
				back := s.away(b, "https://app.example.com/connect?"+url.Values{"return_to": {returnTo}}.Encode())
				// What the callback says about it does not count.
				resp := s.serve(b, "GET", back+"&return_to=/from-the-callback")
				if !ok {
					wantPage(t, resp, http.StatusOK, "Connected")
					return
				}
				// 027: with a GET, whatever came before.
				if got := resp.Header.Get("Location"); resp.StatusCode != http.StatusSeeOther || got != returnTo {
					t.Errorf("got %d to %q, want 303 to %q", resp.StatusCode, got, returnTo)
				}
				wantHidden(t, resp)
				if to, err := parsed(t, "https://app.example.com/callback").Parse(returnTo); err != nil || to.Host != "app.example.com" || to.Scheme != "https" {
					t.Errorf("got %v, %v; want a page of the same site", to, err)
				}
			})
		})
	}
}

// A page may be given as people see its address: it is encoded then.
func TestWhereToReturnToIsEncoded(t *testing.T) {
	for returnTo, want := range map[string]string{
		"/übersicht":                    "/%C3%BCbersicht",
		"/my files":                     "/my%20files",
		"/my files/ä%20b?q=ö a%2B":      "/my%20files/%C3%A4%20b?q=%C3%B6%20a%2B",
		"/文件?名=“值”//":                   "/%E6%96%87%E4%BB%B6?%E5%90%8D=%E2%80%9C%E5%80%BC%E2%80%9D//",
		"/..\u00a0/evil":                "",
		"/.. /evil":                     "",
		"/" + strings.Repeat("ü", 1000): "",
	} {
		t.Run(fmt.Sprintf("026 %.40q", returnTo), func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				s, b := w.site(), &browser{user: "ada"}
				back := s.away(b, "https://app.example.com/connect?"+url.Values{"return_to": {returnTo}}.Encode())
				if got := s.serve(b, "GET", back).Header.Get("Location"); got != want {
					t.Errorf("got a return to %q, want %q", got, want)
				}
			})
		})
	}
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
			t.Errorf("got login_hint %q", got)
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

func TestReturnToOfAPostedForm(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		s, b := w.site(), &browser{user: "ada"}
		for _, size := range []int{0, 1 << 20} {
			body := "return_to=%2Fsettings&x=" + strings.Repeat("x", size)
			r := httptest.NewRequest("POST", "https://app.example.com/connect", strings.NewReader(body))
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			r.Header.Set("X-User", "ada")
			rec := httptest.NewRecorder()
			s.h.Begin(rec, r, s.p)
			resp := b.keep(rec.Result())
			back, err := w.srv.Authorize(resp.Header.Get("Location"))
			if err != nil {
				t.Fatal(err)
			}
			want := "/settings"
			if size > 0 {
				want = "" // not read as far as that
			}
			if got := s.serve(b, "GET", back.String()).Header.Get("Location"); got != want {
				t.Errorf("got a return to %q, want %q", got, want)
			}
		}
	})
}

// TestThreat029_ExactPath: the callback is at the address of the flow, not at
// one that looks like it. Threats 38 to 40: so a flow of one profile is not
// finished at the address of another.
func TestThreat029_ExactPath(t *testing.T) {
	for _, test := range []struct {
		redirect string // of the Manager
		arrival  string
		ok       bool
	}{
		{"https://app.example.com/callback", "/callback", true},
		{"https://app.example.com/callback", "/callback/", false},
		{"https://app.example.com/callback", "/Callback", false},
		{"https://app.example.com/callback", "/callback/../admin", false},
		{"https://app.example.com/callback", "/x/../callback", false},
		{"https://app.example.com/callback", "//callback", false},
		{"https://app.example.com/callback", "/callbac%6b", false},
		{"https://app.example.com/callback", "/", false},
		{"https://app.example.com/callback/", "/callback/", true},
		{"https://app.example.com/callback/", "/callback", false},
		{"https://app.example.com", "/", true},
		{"https://app.example.com/", "/", true},
		{"https://app.example.com/cb/{profile}", "/cb/crm", true},
		{"https://app.example.com/cb/{profile}", "/cb/other", false},
		{"https://app.example.com/cb/{profile}", "/cb/CRM", false},
		{"https://app.example.com/cb/{profile}", "/cb/", false},
		{"https://app.example.com/a%2Fb/%7Ec", "/a%2Fb/%7Ec", true},
		{"https://app.example.com/a%2Fb", "/a/b", false},
		{"https://app.example.com/cb?p={profile}", "/cb?p=crm", true},
		{"https://app.example.com/cb?p={profile}", "/cb?p=other", false},
		{"https://app.example.com/cb?p={profile}", "/cb?p=crm&p=other", false},
		{"https://app.example.com/cb?p={profile}", "/cb", false},
		{"https://app.example.com/cb?p=a;b", "/cb?p=a;b", true},
		{"https://app.example.com/cb?p=a;b", "/cb?p=a%3Bb", true},
		{"https://app.example.com/cb?p=a;b", "/cb?p=a;c", false},
		{"https://app.example.com/cb?p=a;b", "/cb", false},
		{"https://app.example.com/cb?p=1%", "/cb?p=1%", true},
		{"https://app.example.com/cb?p=1%", "/cb?p=1%25", true},
		{"https://app.example.com/cb?p=1%", "/cb?p=2%", false},
		{"https://app.example.com/cb?p=a%20b", "/cb?p=a+b", true},
	} {
		t.Run(test.redirect+" "+test.arrival, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.m = &authprofile.Manager{Store: w.store, HTTPClient: w.srv.Client(), RedirectURL: test.redirect}
				s, b := w.site(), &browser{user: "ada"}
				q := parsed(t, s.away(b, "https://app.example.com/connect")).Query()
				q.Del("p")
				separator := "?"
				if strings.Contains(test.arrival, "?") {
					separator = "&"
				}
				r := b.request("GET", "https://app.example.com/x")
				r.RequestURI = test.arrival + separator + q.Encode()
				u, err := url.ParseRequestURI(r.RequestURI)
				if err != nil {
					t.Fatal(err)
				}
				r.URL = u
				rec := httptest.NewRecorder()
				s.h.ServeHTTP(rec, r)
				if test.ok {
					wantPage(t, rec.Result(), http.StatusOK, "Connected")
					return
				}
				wantPage(t, rec.Result(), http.StatusBadRequest, "Not connected")
				w.asked("authorization_code", 0)
				w.noGrant(ada)
			})
		})
	}
}

// TestThreat039_CodeOfAnotherProvider: an evil provider sends the browser on to
// the honest one with the state of its own flow. The honest one's code comes
// to the honest one's address, and goes nowhere.
func TestThreat039_CodeOfAnotherProvider(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		evil := anotherProvider(t, "https://evil.example.com")
		w.m = &authprofile.Manager{Store: w.store, RedirectURL: "https://app.example.com/cb/{profile}", HTTPClient: &http.Client{
			Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
				if r.URL.Host == "evil.example.com" {
					return evil.Transport().RoundTrip(r)
				}
				return w.srv.Transport().RoundTrip(r)
			}),
		}}
		// Both are custom providers that do not name themselves when they answer.
		honest := w.save(&authprofile.Profile{
			ID: "honest", Type: authprofile.TypeUser, ClientID: providertest.ClientID, ClientSecret: providertest.ClientSecret,
			Endpoints: authprofile.Endpoints{AuthURL: w.srv.AuthURL(), TokenURL: w.srv.TokenURL()},
		})
		s, b := w.site(), &browser{user: "ada"}
		s.p = w.save(&authprofile.Profile{
			ID: "evil", Type: authprofile.TypeUser, ClientID: providertest.ClientID, ClientSecret: providertest.ClientSecret,
			Endpoints: authprofile.Endpoints{AuthURL: evil.AuthURL(), TokenURL: evil.TokenURL()},
		})
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
				t.Fatalf("got %d: %s", rec.Code, rec.Body)
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
				t.Fatalf("%s: was not called", name)
			}
			for _, param := range []string{"code", "state", "access_token", "id_token"} {
				if r.URL.Query().Has(param) || r.FormValue(param) != "" || strings.Contains(r.RequestURI, param+"=") || strings.Contains(r.URL.String(), param+"=") {
					t.Errorf("%s: got %s in %q", name, param, r.URL)
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
			t.Error("got a changed request of the caller's")
		}

		resp := s.serve(b, "GET", back+"&kept=1&access_token=x&id_token=x&return_to=/x")
		check("ErrorHandler", failed, "")
		if resp.StatusCode != 418 || failure == nil || !errors.As(failure, new(*authprofile.Error)) {
			t.Errorf("got %d and %v, want what the handler answers", resp.StatusCode, failure)
		}
		wantHidden(t, resp)

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
				back := s.away(b, "https://app.example.com/connect?return_to=/nasty")
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
					t.Errorf("got what came from outside in the page: %s %v", rec.Body, rec.Header())
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
	p := &authprofile.Profile{
		Type: authprofile.TypeUser, ClientID: providertest.ClientID, ClientSecret: providertest.ClientSecret,
		Endpoints: authprofile.Endpoints{DiscoveryURL: srv.DiscoveryURL()}, Scopes: []string{"openid"},
	}
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
		t.Error("got no valid token")
	}
	if err := m.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}
