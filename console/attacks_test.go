package console_test

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
)

// changing are the methods of a Store that change something.
var changing = []string{"PutProfile", "DeleteProfile", "PutGrant", "DeleteGrant", "PutFlow", "TakeFlow"}

// wantsNoChange fails the test if the Store was changed, or the provider asked for
// tokens, since the last time.
func (s *showroom) wantsNoChange(what string) {
	s.t.Helper()
	_, calls := s.store.take()
	for _, op := range changing {
		if calls[op] > 0 {
			s.t.Errorf("%s: got %d calls of %s, want none", what, calls[op], op)
		}
	}
	for _, grant := range []string{"refresh_token", "client_credentials", "authorization_code"} {
		if n := s.provider.Count(grant); n > 0 {
			s.t.Errorf("%s: got %d requests for tokens by %s, want none", what, n, grant)
		}
	}
}

// everything is each page and each form of a showroom, as they stand.
func (s *showroom) everything() (c *crawler, forms []*visitedForm) {
	s.t.Helper()
	c = newCrawler(s.t, s.routes())
	forms = inOrder(c.crawl(s.pages()...))
	s.store.take()
	return c, forms
}

// addresses are those that the crawler has been at, and those where forms lead.
func addresses(c *crawler, forms []*visitedForm) (all, posts []string) {
	set, set2 := maps.Clone(c.seen), make(map[string]bool)
	for _, f := range forms {
		set[f.to] = true
		set2[f.to] = f.method == http.MethodPost
		for _, b := range f.buttons {
			if to, _, err := resolve(f.on, b.action); b.action != "" && err == nil {
				set[to], set2[to] = true, true
			}
		}
	}
	maps.DeleteFunc(set2, func(_ string, is bool) bool { return !is })
	return slices.Sorted(maps.Keys(set)), slices.Sorted(maps.Keys(set2))
}

// Opening pages changes nothing, even where a form leads that changes something, and
// all answers have the headers that they should have.
func TestThreat161_GetChangesNothing(t *testing.T) {
	s := openShowroom(t, " plain")
	c, forms := s.everything()
	s.store.take()
	all, _ := addresses(c, forms)
	for _, method := range []string{http.MethodGet, http.MethodHead} {
		for _, address := range all {
			c.ask(method, address, nil)
		}
		for _, f := range forms {
			for _, b := range append(f.buttons, pageField{}) {
				path, query, _ := strings.Cut(f.to, "?")
				c.ask(method, path+"?"+query+"&"+f.values(nil, b).Encode(), nil)
			}
		}
	}
	s.wantsNoChange("after a crawl")
	for _, method := range []string{http.MethodPut, http.MethodDelete, http.MethodPatch, http.MethodOptions, "NONE"} {
		for _, address := range all {
			if v := c.ask(method, address, nil); v.status != http.StatusMethodNotAllowed && v.status != http.StatusNotFound {
				t.Errorf("%s: got status %d, want 405", v, v.status)
			}
		}
	}
	s.wantsNoChange("after other methods")
	for _, v := range c.visits {
		wantHeaders(t, v)
	}
}

// Forms of other sites, and of other hosts of the same site, change nothing.
func TestThreat161_OtherSites(t *testing.T) {
	s := openShowroom(t, " plain")
	c, forms := s.everything()
	for _, header := range []http.Header{
		{"Sec-Fetch-Site": {"cross-site"}},
		{"Sec-Fetch-Site": {"same-site"}},
		{"Sec-Fetch-Site": {"cross-site"}, "Origin": {origin}},
		{"Origin": {"https://evil.example.com"}},
		{"Origin": {"null"}},
		{"Origin": {"https://app.example.com.evil.example.com"}},
		{"Origin": {"https://app.example.com:8080"}},
	} {
		c.change = func(r *http.Request) {
			r.Header.Del("Sec-Fetch-Site")
			r.Header.Del("Origin")
			maps.Copy(r.Header, header)
		}
		n := len(c.visits)
		for _, f := range forms {
			if f.method == http.MethodPost {
				c.send(f, nil)
			}
		}
		all, _ := addresses(c, forms)
		for _, address := range all {
			c.ask(http.MethodPost, address, url.Values{})
		}
		for _, v := range c.visits[n:] {
			if v.method == http.MethodPost && v.status != http.StatusForbidden && v.status != http.StatusMethodNotAllowed && v.status != http.StatusNotFound {
				t.Errorf("%v, %s: got status %d, want 403", header, v, v.status)
			}
			wantHeaders(t, v)
		}
		s.wantsNoChange(fmt.Sprint(header))
	}
}

// A console that shows things only refuses every form, and has none to begin with.
func TestThreat161_ReadOnly(t *testing.T) {
	s := openShowroom(t, " plain")
	_, forms := s.everything()
	again := openShowroom(t, " plain")
	again.handler.ReadOnly = true
	c, shown := again.everything()
	for _, f := range shown {
		if f.method == http.MethodPost && !strings.HasPrefix(f.to, "/connections/") {
			t.Errorf("on %s: got a form to %s, want none", f.on, f.to)
		}
	}
	for _, f := range forms {
		if f.method != http.MethodPost || strings.HasPrefix(f.to, "/connections/") {
			continue
		}
		if v := c.ask(http.MethodPost, f.to, f.values(nil, pageField{})); v.status != http.StatusForbidden {
			t.Errorf("%s: got status %d, want 403", v, v.status)
		}
	}
	again.wantsNoChange("read only")
}

// What is too much, or makes no sense, is answered by a plain page, and at once.
func TestThreat167_ForgedAndLarge(t *testing.T) {
	s := openShowroom(t, " plain")
	c, forms := s.everything()
	all, posts := addresses(c, forms)
	fields := make(url.Values)
	for i := range 10_000 {
		fields.Add("field"+fmt.Sprint(i%3), "x")
	}
	for _, address := range posts {
		for what, form := range map[string]url.Values{"1 MB": {"name": {strings.Repeat("x", 1<<20)}}, "10,000 fields": fields} {
			v := c.ask(http.MethodPost, address, form)
			if v.status != http.StatusRequestEntityTooLarge && v.status != http.StatusNotFound {
				t.Errorf("%s of %s: got status %d, want 413", v, what, v.status)
			}
			wantHeaders(t, v)
		}
	}
	s.wantsNoChange("large forms")

	paths := make(map[string]url.Values) // by path: the names in its queries
	for _, address := range all {
		path, query, _ := strings.Cut(address, "?")
		values, _ := url.ParseQuery(query)
		if values.Get("id") == "9"+s.word {
			continue // cannot be read
		}
		if paths[path] == nil {
			paths[path] = make(url.Values)
		}
		maps.Copy(paths[path], values)
	}
	for path, names := range paths {
		for _, name := range append(slices.Collect(maps.Keys(names)), "none") {
			for _, value := range []string{
				"", "%00", "%ff%fe", "%0d%0aSet-Cookie:%20a=b", "' OR 1=1 --", "-1", "99999999999999999999", strings.Repeat("x", 5000), "..%2f..%2fetc%2fpasswd",
				"http://evil.example.com/", "//evil.example.com/", "javascript:alert(1)", "%e2%80%ae",
			} {
				query := url.Values{}
				for other, v := range names {
					if other != name {
						query[other] = v
					}
				}
				v := c.ask(http.MethodGet, path+"?"+query.Encode()+"&"+name+"="+strings.ReplaceAll(value, " ", "+")+"&"+name+"=again", nil)
				if v.status >= 500 || !v.isPage() && v.header.Get("Location") == "" && !strings.Contains(path, ".") && !strings.HasPrefix(path, "/callback/") {
					t.Errorf("%s: got status %d, want a page that says what is wrong", v, v.status)
				}
				if _, inside, err := resolve(v.address, v.header.Get("Location")); !inside || err != nil {
					t.Errorf("%s: got a redirect to %q, want none that leads away", v, v.header.Get("Location"))
				}
				if v.header.Get("Set-Cookie") != "" {
					t.Errorf("%s: got a cookie, want none", v)
				}
			}
		}
		if strings.HasSuffix(path, ".css") || strings.HasSuffix(path, ".js") || strings.HasPrefix(path, "/callback/") {
			continue
		}
		for _, query := range []string{"%zz", "a=%", strings.Repeat("a", 20_000), "a;b=c"} {
			if v := c.ask(http.MethodGet, path+"?"+query, nil); v.status != http.StatusBadRequest && v.status != http.StatusNotFound && v.status != http.StatusMethodNotAllowed {
				t.Errorf("%s: got status %d, want 400", v, v.status)
			}
		}
	}
	s.wantsNoChange("forged addresses")
}

// timed is a connection that knows until when it may be read.
type timed struct {
	*httptest.ResponseRecorder
	deadlines []time.Time
	read      int // how many deadlines there were when the body was read
}

func (w *timed) SetReadDeadline(t time.Time) error {
	w.deadlines = append(w.deadlines, t)
	return nil
}

// A body that comes slowly is not waited for without end.
func TestThreat167_SlowBody(t *testing.T) {
	s := openShowroom(t, " plain")
	_, forms := s.everything()
	for _, f := range forms {
		if f.method != http.MethodPost {
			continue
		}
		w := &timed{ResponseRecorder: httptest.NewRecorder()}
		body := readerFunc(func([]byte) (int, error) {
			w.read = len(w.deadlines)
			return 0, io.ErrUnexpectedEOF // which is how a deadline ends it
		})
		r := httptest.NewRequest(http.MethodPost, origin+f.to, body)
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Sec-Fetch-Site", "same-origin")
		s.routes().ServeHTTP(w, r)
		if w.read != 1 || time.Until(w.deadlines[0]) > time.Minute {
			t.Errorf("%s: got deadlines %v, %d of them before the body was read; want one within a minute", f.to, w.deadlines, w.read)
		}
		if w.Code != http.StatusBadRequest {
			t.Errorf("%s: got status %d, want 400", f.to, w.Code)
		}
	}
	s.wantsNoChange("forms that end early")
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(b []byte) (int, error) { return f(b) }

// Wherever a request says that it comes from, the browser comes back to this site.
func TestThreat161_ReturnStaysHere(t *testing.T) {
	s := openShowroom(t, " plain")
	c, forms := s.everything()
	begun := 0
	for _, referer := range []string{
		"", origin + "/auth/grant", "https://evil.example.com/auth/grant", "https://evil.example.com//evil.example.com/x", origin + "//evil.example.com/",
		origin + "/\\evil.example.com/", "javascript:alert(1)", "data:text/html,x", "//evil.example.com/a/b", "https://app.example.com@evil.example.com/a/b",
		origin + "/%2f%2fevil.example.com/x", origin + "/..//evil.example.com/x", "http:evil.example.com", "\x00", origin + "/a%0d%0aSet-Cookie:a=b/",
	} {
		for _, f := range forms {
			if f.method != http.MethodPost || !strings.Contains(f.to, "connect") {
				continue
			}
			for _, to := range []string{"", "https://evil.example.com/", "//evil.example.com/", "/\\evil.example.com"} {
				s.store.flow = nil
				c.cookies = nil
				c.change = func(r *http.Request) { r.Header.Set("Referer", referer) }
				values := f.values(nil, pageField{})
				if to != "" {
					values.Set("return_to", to)
				}
				v := c.ask(http.MethodPost, f.to, values)
				if s.store.flow == nil {
					continue
				}
				begun++
				back := s.store.flow.ReturnTo
				u, err := url.Parse(back)
				if err != nil || u.Host != "" || u.Scheme != "" || back != "" && (back[0] != '/' || len(back) > 1 && (back[1] == '/' || back[1] == '\\')) || strings.Contains(back, "evil") && !strings.Contains(referer, origin+"/") {
					t.Errorf("%s with Referer %q and return_to %q: got %q to return to, want a path of this site", v, referer, to, back)
				}
			}
		}
	}
	if begun == 0 {
		t.Error("got no authorization begun, want some")
	}
}
