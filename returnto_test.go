package authprofile_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

// returnTos are what a browser asks to return to, and whether it does.
var returnTos = map[string]bool{
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
}

func TestThreat026_WhereToReturnTo(t *testing.T) {
	for returnTo, ok := range returnTos {
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
				// With a GET, whatever came before.
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

// After a failure too the person gets back to the page that they came from, but not to
// the page that another one came from.
func TestReturnAfterAFailure(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		s := w.site()
		for _, tt := range []struct {
			name string
			back *browser
			want string
		}{
			{"the same browser", nil, "/settings?tab=mail"},
			{"another browser", &browser{user: "ada"}, ""},
			{"another user", &browser{user: "eve"}, ""},
		} {
			for _, own := range []bool{false, true} {
				b := &browser{user: "ada"}
				var got string
				s.h.ErrorHandler = nil
				if own {
					s.h.ErrorHandler = func(w http.ResponseWriter, r *http.Request, err error) {
						got = r.URL.Query().Get("return_to")
						w.WriteHeader(http.StatusForbidden)
					}
				}
				state := parsed(t, s.away(b, "https://app.example.com/connect?return_to=%2Fsettings%3Ftab%3Dmail")).Query().Get("state")
				if tt.back != nil {
					b = tt.back
				}
				resp := s.serve(b, "GET", callbackAddress+"?"+url.Values{"error": {"access_denied"}, "state": {state}, "iss": {w.srv.Issuer()}, "return_to": {"/evil"}}.Encode())
				if !own {
					if _, rest, ok := strings.Cut(text(t, resp), `<a href="`); ok {
						got, _, _ = strings.Cut(rest, `"`)
					}
				}
				if resp.StatusCode != http.StatusForbidden || got != tt.want {
					t.Errorf("%s, own handler %t: got status %d and the way back %q, want 403 and %q", tt.name, own, resp.StatusCode, got, tt.want)
				}
			}
		}
	})
}
