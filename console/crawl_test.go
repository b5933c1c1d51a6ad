package console_test

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"html"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
)

// pageParts are what a program can read in a page: its elements, its links, its forms.
type pageParts struct {
	shape []string // each element by its name, those of its attributes, and its end
	links []pageLink
	forms []*pageForm
}

type pageLink struct{ address, rel string }

// A pageForm is a form, with one button to send it by.
type pageForm struct {
	method, action string
	fields         []pageField
	buttons        []pageField // a name, a value, and where the button leads in place of the form's action
}

type pageField struct{ kind, name, value, action string }

// readPage reads a page. It looks at elements alone, and so finds a text that has got
// out of its place: then there are more of them, or they have other attributes.
func readPage(text string) (*pageParts, error) {
	pg := new(pageParts)
	d := xml.NewDecoder(strings.NewReader(text))
	d.Strict, d.Entity = false, xml.HTMLEntity
	forms := make(map[string]*pageForm) // by their IDs, for fields that stand elsewhere
	var form *pageForm
	var choice, area *pageField // the list or the text that is being read
	for {
		tok, err := d.RawToken()
		if errors.Is(err, io.EOF) {
			return pg, nil
		}
		if err != nil {
			return nil, err
		}
		switch tok := tok.(type) {
		case xml.CharData:
			if area != nil {
				area.value += string(tok)
			}
		case xml.EndElement:
			pg.shape = append(pg.shape, "/"+tok.Name.Local)
			switch tok.Name.Local {
			case "form":
				form = nil
			case "select":
				choice = nil
			case "textarea":
				area = nil
			}
		case xml.StartElement:
			attrs := make(map[string]string)
			for _, a := range tok.Attr {
				attrs[a.Name.Local] = a.Value
			}
			name := tok.Name.Local
			pg.shape = append(pg.shape, name+" "+strings.Join(slices.Sorted(maps.Keys(attrs)), " "))
			of := form
			if id, ok := attrs["form"]; ok {
				of = forms[id]
			}
			add := func(f pageField) *pageField {
				if of == nil || f.name == "" {
					return new(pageField)
				}
				of.fields = append(of.fields, f)
				return &of.fields[len(of.fields)-1]
			}
			switch name {
			case "a":
				pg.links = append(pg.links, pageLink{attrs["href"], attrs["rel"]})
			case "iframe":
				if attrs["src"] != "" {
					pg.links = append(pg.links, pageLink{attrs["src"], ""})
				}
			case "form":
				form = &pageForm{method: strings.ToUpper(attrs["method"]), action: attrs["action"]}
				if form.method == "" {
					form.method = http.MethodGet
				}
				pg.forms = append(pg.forms, form)
				forms[attrs["id"]] = form
			case "input":
				_, checked := attrs["checked"]
				switch kind := attrs["type"]; {
				case kind == "submit":
					of.buttons = append(of.buttons, pageField{name: attrs["name"], value: attrs["value"], action: attrs["formaction"]})
				case kind == "checkbox" && !checked: // as if it were not there
				case kind == "radio" && !checked:
				default:
					add(pageField{kind: kind, name: attrs["name"], value: attrs["value"]})
				}
			case "textarea":
				area = add(pageField{kind: "textarea", name: attrs["name"]})
			case "select":
				choice = add(pageField{kind: "select", name: attrs["name"]})
			case "option":
				if _, selected := attrs["selected"]; choice != nil && (selected || choice.value == "") {
					choice.value = attrs["value"]
				}
			case "button":
				if of != nil && attrs["type"] != "button" {
					of.buttons = append(of.buttons, pageField{name: attrs["name"], value: attrs["value"], action: attrs["formaction"]})
				}
			}
		}
	}
}

// page reads the page that the visit was answered with.
func (v *visit) page(t *testing.T) *pageParts {
	t.Helper()
	pg, err := readPage(v.body)
	if err != nil {
		t.Fatalf("%s: got a page that cannot be read: %v\n%s", v, err, v.body)
	}
	return pg
}

// A visit is a request that was made, and its answer.
type visit struct {
	method, address string // the latter with path and query
	form            url.Values
	status          int
	header          http.Header
	body            string
}

func (v *visit) String() string { return v.method + " " + v.address }

// isPage reports whether the answer is a page, and not a style or a redirect.
func (v *visit) isPage() bool {
	return strings.HasPrefix(v.header.Get("Content-Type"), "text/html")
}

// A crawler goes through all pages of a handler that links lead to.
type crawler struct {
	t       *testing.T
	handler http.Handler
	cookies []*http.Cookie
	visits  []*visit
	seen    map[string]bool     // addresses
	change  func(*http.Request) // what is special about its requests
	after   func(*visit)        // is called after each request
}

const (
	origin  = "https://app.example.com"
	maxKind = 12 // visits of one page with other values in its query
)

func newCrawler(t *testing.T, h http.Handler) *crawler {
	return &crawler{t: t, handler: h, seen: make(map[string]bool)}
}

// ask makes a request as a browser would that shows a page of the site.
func (c *crawler) ask(method, address string, form url.Values) *visit {
	c.t.Helper()
	body := ""
	if form != nil {
		body = form.Encode()
	}
	r := httptest.NewRequest(method, origin+address, strings.NewReader(body))
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Origin", origin)
		r.Header.Set("Referer", origin+address)
	}
	for _, cookie := range c.cookies {
		r.AddCookie(cookie)
	}
	if c.change != nil {
		c.change(r)
	}
	r = r.WithContext(context.WithValue(r.Context(), countable{}, true))
	w := httptest.NewRecorder()
	c.handler.ServeHTTP(w, r)
	resp := w.Result()
	c.cookies = append(c.cookies, resp.Cookies()...)
	v := &visit{method, address, form, resp.StatusCode, resp.Header, w.Body.String()}
	c.visits = append(c.visits, v)
	if c.after != nil {
		c.after(v)
	}
	return v
}

// resolve returns the path and query that a link of a page leads to, if that is on the
// site.
func resolve(from, link string) (address string, inside bool, err error) {
	base, err := url.Parse(origin + from)
	if err != nil {
		return "", false, err
	}
	to, err := base.Parse(link)
	if err != nil {
		return "", false, err
	}
	return to.RequestURI(), to.Scheme == base.Scheme && to.Host == base.Host, nil
}

// pageKind is a page, whatever the values in its query.
func pageKind(address string) string {
	path, query, _ := strings.Cut(address, "?")
	values, _ := url.ParseQuery(query)
	return path + "?" + strings.Join(slices.Sorted(maps.Keys(values)), "&")
}

// crawl gets the pages at some addresses, and all that links lead to from there. It
// returns the forms that it finds: each once by where it leads and what it asks for.
func (c *crawler) crawl(start ...string) (forms map[string]*visitedForm) {
	c.t.Helper()
	forms = make(map[string]*visitedForm)
	kinds := make(map[string]int)
	queue := slices.Clone(start)
	for len(queue) > 0 {
		address := queue[0]
		queue = queue[1:]
		if k := pageKind(address); c.seen[address] || kinds[k] == maxKind {
			continue
		} else {
			c.seen[address] = true
			kinds[k]++
		}
		v := c.ask(http.MethodGet, address, nil)
		if location := v.header.Get("Location"); location != "" {
			if to, inside, err := resolve(address, location); err == nil && inside {
				queue = append(queue, to)
			}
		}
		if !v.isPage() {
			continue
		}
		pg := v.page(c.t)
		for _, l := range pg.links {
			if to, inside, err := resolve(address, l.address); err == nil && inside {
				queue = append(queue, to)
			}
		}
		for _, f := range pg.forms {
			action, inside, err := resolve(address, f.action)
			if f.action == "" {
				action, inside, err = address, true, nil
			}
			if err != nil || !inside {
				c.t.Errorf("%s: got a form that leads to %q, want a page of the site", v, f.action)
				continue
			}
			if f.method == http.MethodGet {
				path, _, _ := strings.Cut(action, "?")
				queue = append(queue, path+"?"+f.values(nil, pageField{}).Encode())
			}
			key := f.method + " " + pageKind(action) + " " + f.names() + " " + pageKind(address)
			if forms[key] == nil {
				forms[key] = &visitedForm{f, action, address}
			}
		}
	}
	return forms
}

// A visitedForm is a form, where it leads, and where it stands.
type visitedForm struct {
	*pageForm
	to, on string
}

func (f *pageForm) names() string {
	var names []string
	for _, field := range f.fields {
		names = append(names, field.name)
	}
	return strings.Join(names, ",")
}

// values are what is sent by a button, as the form stands, or with other values where
// change has any.
func (f *pageForm) values(change func(pageField) (string, bool), button pageField) url.Values {
	values := make(url.Values)
	for _, field := range f.fields {
		value := field.value
		if change != nil {
			if other, ok := change(field); ok {
				value = other
			}
		}
		values.Add(field.name, value)
	}
	if button.name != "" {
		values.Add(button.name, button.value)
	}
	return values
}

// send sends a form by each of its buttons, and follows where that leads to on the
// site.
func (c *crawler) send(f *visitedForm, change func(pageField) (string, bool)) {
	c.t.Helper()
	buttons := f.buttons
	if len(buttons) == 0 {
		buttons = []pageField{{}}
	}
	for _, b := range buttons {
		to := f.to
		if b.action != "" {
			var err error
			if to, _, err = resolve(f.on, b.action); err != nil {
				c.t.Errorf("on %s: got a button that leads to %q, want a page", f.on, b.action)
				continue
			}
		}
		values := f.values(change, b)
		var v *visit
		if f.method == http.MethodGet {
			path, _, _ := strings.Cut(to, "?")
			v = c.ask(http.MethodGet, path+"?"+values.Encode(), nil)
		} else {
			v = c.ask(http.MethodPost, to, values)
		}
		for range 5 {
			to, inside, err := resolve(v.address, v.header.Get("Location"))
			if v.header.Get("Location") == "" || err != nil || !inside {
				break
			}
			v = c.ask(http.MethodGet, to, nil)
		}
	}
}

// inOrder are the forms in an order that does not change.
func inOrder(forms map[string]*visitedForm) (list []*visitedForm) {
	for _, key := range slices.Sorted(maps.Keys(forms)) {
		list = append(list, forms[key])
	}
	return list
}

// The reader of pages finds what it is made for.
func TestReadPage(t *testing.T) {
	text := func(name string) string {
		return fmt.Sprintf(`<!DOCTYPE html><p>a &amp; b &nbsp;<br><a href="grant?user=%s" rel=x>%[1]s</a>
<form method="post" action="save"><input name="a" value="%[1]s"><input type=checkbox name="b" value="1"><textarea name="c" hidden>
%[1]s</textarea><select name="d"><option value="1">1</option><option value="2" selected>2</option></select><button name="e" value="f">go</button></form>`, name)
	}
	plain, err := readPage(text("x"))
	if err != nil {
		t.Fatal(err)
	}
	escaped, err := readPage(text(html.EscapeString(hostile)))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := escaped.shape, plain.shape; !slices.Equal(got, want) {
		t.Errorf("with an escaped text: got shape %q, want %q", got, want)
	}
	for _, word := range []string{hostile, `x" onclick="y`, "<b>x</b>", `x" y`} {
		if raw, err := readPage(text(word)); err == nil && slices.Equal(raw.shape, plain.shape) {
			t.Errorf("with the raw text %q: got the shape of the plain one, want another", word)
		}
	}
	if got, want := escaped.links[0].address, "grant?user="+hostile; got != want {
		t.Errorf("got link %q, want %q", got, want)
	}
	f := escaped.forms[0]
	got, want := f.values(nil, f.buttons[0]), url.Values{"a": {hostile}, "c": {"\n" + hostile}, "d": {"2"}, "e": {"f"}}
	if got.Encode() != want.Encode() {
		t.Errorf("got form %q, want %q", got, want)
	}
}

// Each link leads to a page that is there.
func TestLinksLeadToPages(t *testing.T) {
	for _, word := range []string{" plain", hostile} {
		s := openShowroom(t, word)
		c := newCrawler(t, s.routes())
		c.crawl(s.pages()...)
		kinds := make(map[string]bool)
		for _, v := range c.visits {
			kinds[pageKind(v.address)] = true
			u, err := url.Parse(v.address)
			if err != nil {
				t.Fatal(err)
			}
			switch {
			case u.Path == "/auth/none", u.Query().Get("profile") == "8"+word: // which was deleted
			case u.Query().Get("id") == "9"+word: // which is damaged
				if v.status != http.StatusInternalServerError || !strings.Contains(v.body, "bring the key back") {
					t.Errorf("%s: got status %d, want 500 and what to do:\n%s", v, v.status, v.body)
				}
			case v.status >= 400:
				t.Errorf("%s: got status %d, want a page", v, v.status)
			}
		}
		if len(kinds) < 15 {
			t.Errorf("got pages %q, want more of them", slices.Sorted(maps.Keys(kinds)))
		}
	}
}
