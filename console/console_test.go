package console_test

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/authprofile/authprofile"
	"github.com/authprofile/authprofile/console"
)

// A browserTab asks for pages of a handler as a browser does: it follows
// redirects, and tells where a request comes from.
type browserTab struct {
	t       *testing.T
	handler http.Handler
}

// An answer is what a page has answered, and where it was found in the end.
type answer struct {
	status   int
	header   http.Header
	body     string
	location *url.URL
}

func (b *browserTab) do(method, path, body string, header ...string) *answer {
	b.t.Helper()
	at, err := url.Parse("http://app.example.com/" + path)
	if err != nil {
		b.t.Fatal(err)
	}
	for range 5 {
		r := httptest.NewRequest(method, at.String(), strings.NewReader(body))
		r.Header.Set("Sec-Fetch-Site", "same-origin")
		if body != "" {
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		}
		for i := 0; i < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		w := httptest.NewRecorder()
		b.handler.ServeHTTP(w, r)
		resp := w.Result()
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			b.t.Fatal(err)
		}
		if resp.StatusCode < 300 || resp.StatusCode > 399 {
			return &answer{resp.StatusCode, resp.Header, string(text), at}
		}
		if at, err = at.Parse(resp.Header.Get("Location")); err != nil {
			b.t.Fatal(err)
		}
		if resp.StatusCode == http.StatusSeeOther {
			method, body = http.MethodGet, ""
		}
	}
	b.t.Fatal("got too many redirects")
	return nil
}

func (b *browserTab) get(path string) *answer { b.t.Helper(); return b.do(http.MethodGet, path, "") }

func (b *browserTab) post(path string, form url.Values) *answer {
	b.t.Helper()
	return b.do(http.MethodPost, path, form.Encode())
}

// wants fails the test unless the answer has that status, and all these parts.
func (a *answer) wants(t *testing.T, status int, parts ...string) {
	t.Helper()
	if a.status != status {
		t.Errorf("got status %d, want %d", a.status, status)
	}
	for _, part := range parts {
		if !strings.Contains(a.body, part) {
			t.Errorf("got a page without %q:\n%s", part, a.body)
		}
	}
}

// lacks fails the test if the answer has one of these parts.
func (a *answer) lacks(t *testing.T, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if strings.Contains(a.body, part) {
			t.Errorf("got a page with %q:\n%s", part, a.body)
		}
	}
}

// operator lets every request in as "olga".
func operator(*http.Request) (string, error) { return "olga", nil }

func open(t *testing.T, h *console.Handler) *browserTab {
	t.Helper()
	if err := h.Validate(); err != nil {
		t.Fatal(err)
	}
	return &browserTab{t, h}
}

// What is missing is told by Validate, and opens nothing.
func TestThreat164_WithoutAnOperatorNothingIsShown(t *testing.T) {
	m := new(authprofile.Manager)
	for _, h := range []*console.Handler{
		{}, {Manager: m}, {Operator: operator},
		{Manager: m, Operator: operator, Redirect: new(authprofile.RedirectHandler)},
		{Manager: m, Operator: operator, Redirect: &authprofile.RedirectHandler{Manager: m}},
		{Manager: m, Operator: operator, Redirect: &authprofile.RedirectHandler{User: operator}},
	} {
		if err := h.Validate(); err == nil {
			t.Error("got no error, want one that says what is missing")
		}
		b := &browserTab{t, h}
		for _, page := range []string{"", "providers", "style.css", "none"} {
			if a := b.get(page); a.status != http.StatusInternalServerError || strings.Contains(a.body, "<table") {
				t.Errorf("%q: got status %d, want 500", page, a.status)
			}
		}
	}
}

// An operator who is refused, unknown or a panic sees nothing.
func TestThreat164_Operators(t *testing.T) {
	for _, tt := range []struct {
		name     string
		operator func(*http.Request) (string, error)
		want     int
	}{
		{"refused", func(*http.Request) (string, error) { return "eve", http.ErrNoCookie }, 403},
		{"without a name", func(*http.Request) (string, error) { return "", nil }, 403},
		{"panics", func(*http.Request) (string, error) { panic("no session") }, 500},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var log strings.Builder
			b := open(t, &console.Handler{Manager: new(authprofile.Manager), Operator: tt.operator, Logger: slog.New(slog.NewTextHandler(&log, nil))})
			for _, page := range []string{"", "providers", "profiles", "none"} {
				for _, method := range []string{http.MethodGet, http.MethodPost} {
					a := b.do(method, page, "")
					if a.status != tt.want || strings.Contains(a.body, "Needs attention") || strings.Contains(a.body, "eve") {
						t.Errorf("%s %q: got status %d, want %d and no page:\n%s", method, page, a.status, tt.want, a.body)
					}
				}
			}
			if strings.Contains(log.String(), "no session") {
				t.Errorf("got the text of a panic in the log:\n%s", &log)
			}
		})
	}
}

// The service's own look comes after that of the console, and what is wrong with
// it is found before a page is shown.
func TestOwnLook(t *testing.T) {
	h := &console.Handler{Manager: new(authprofile.Manager), Operator: operator, Templates: fstest.MapFS{
		"look.css":    {Data: []byte(":root { --ap-accent: #663399 }")},
		"look.html":   {Data: []byte(`{{define "brand"}}Acme & {{.Person}}{{end}}{{define "footer"}}Ask <a href="/help">us</a>{{end}}`)},
		"ignored.txt": {Data: []byte("{{")},
	}}
	b := open(t, h)
	page := b.get("providers")
	page.wants(t, 200, "Acme & olga", `Ask <a href="/help">us</a>`)
	_, name, _ := strings.Cut(page.body, `href="style.css?`)
	name, _, _ = strings.Cut(name, `"`)
	style := b.get("style.css?" + name)
	style.wants(t, 200, "#663399")
	if got := style.header.Get("Cache-Control"); !strings.Contains(got, "immutable") {
		t.Errorf("got Cache-Control %q, want one that keeps it", got)
	}
	if got := b.get("style.css?other").header.Get("Cache-Control"); got != "no-store" {
		t.Errorf("of another hash: got Cache-Control %q, want no-store", got)
	}

	for text, want := range map[string]string{
		"{{":                                    "look.html",
		`{{define "hint"}}of the footer{{end}}`: `"hint"`, // else it would be in the form
		`{{define "footer"}}{{template "content" .}}{{end}}{{define "content"}}{{end}}`: `"content"`,
		`{{define "footer"}}{{.Nonsense}}{{end}}`:                                       "Nonsense",
		`{{define "head"}}{{if .Person}}{{.Person.Nonsense}}{{end}}{{end}}`:             "Nonsense",
		`{{define "brand"}}<a href="{{if .Person}}x{{else}}">{{end}}{{end}}`:            "different contexts",
	} {
		h = &console.Handler{Manager: new(authprofile.Manager), Operator: operator, Templates: fstest.MapFS{"look.html": {Data: []byte(text)}}}
		if err := h.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got error %v, want one that names %s", text, err, want)
		}
	}
}

// A page says to which section it belongs, and has the icon of the console.
func TestSectionAndIcon(t *testing.T) {
	b := open(t, &console.Handler{Manager: new(authprofile.Manager), Operator: operator})
	page := b.get("provider?name=google")
	page.wants(t, 200, `<a href="providers" aria-current="true">`, "<title>Provider: Google")
	b.get("providers").wants(t, 200, `<a href="providers" aria-current="page">`)
	_, name, _ := strings.Cut(page.body, `href="icon.svg?`)
	name, _, _ = strings.Cut(name, `"`)
	icon := b.get("icon.svg?" + name)
	icon.wants(t, 200, "<svg")
	if got, want := icon.header.Get("Content-Type"), "image/svg+xml"; got != want {
		t.Errorf("icon: got type %q, want %q", got, want)
	}
	if got := icon.header.Get("Cache-Control"); !strings.Contains(got, "immutable") {
		t.Errorf("icon: got Cache-Control %q, want one that lets browsers keep it", got)
	}
}
