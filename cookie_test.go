package authprofile_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"
)

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
					t.Fatalf("got %d: %s, want 200", resp.StatusCode, text(t, resp))
				}
				cleared := resp.Cookies()
				if len(cleared) != 1 || cleared[0].Name != c.Name || cleared[0].MaxAge != -1 || cleared[0].Value != "" || cleared[0].Path != "/" || cleared[0].Secure != c.Secure {
					t.Errorf("got %v afterwards, want it cleared", cleared)
				}
			})
		})
	}
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
