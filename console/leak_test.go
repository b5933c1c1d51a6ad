package console_test

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"html"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
)

func base64URL(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// leakWindow is how much of a secret must not come out: so much of it is found anywhere.
const leakWindow = 12

// hidden are all parts of the secrets, in the ways in which a page, a header or a log
// could have them.
func (s *showroom) hidden() map[[leakWindow]byte]string {
	parts := make(map[[leakWindow]byte]string)
	add := func(text, what string) {
		for i := range max(0, len(text)-leakWindow+1) {
			parts[[leakWindow]byte([]byte(text[i:i+leakWindow]))] = what
		}
	}
	for secret, what := range s.secrets {
		add(secret, what)
		add(html.EscapeString(secret), what)
		add(url.QueryEscape(secret), what)
		add(url.PathEscape(secret), what)
		add(hex.EncodeToString([]byte(secret)), what+" in hex")
		add(strings.ToUpper(hex.EncodeToString([]byte(secret))), what+" in hex")
		for shift := range 3 { // base64 of something with the secret in it
			for _, encode := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
				text := encode.EncodeToString([]byte(secret[shift:]))
				add(text[:len(text)-2], what+" in base64") // the end is mixed with what follows
			}
		}
	}
	return parts
}

// search fails the test if a part of a secret has come out anywhere.
func (s *showroom) search(visits []*visit) {
	s.t.Helper()
	parts := s.hidden()
	out := map[string]string{s.log.String(): "the log"}
	for _, v := range visits {
		for _, text := range []string{v.body, fmt.Sprint(v.header), v.address} {
			if out[text] == "" {
				out[text] = v.String()
			}
		}
	}
	found := make(map[string]bool)
	for text, where := range out {
		for i := range max(0, len(text)-leakWindow+1) {
			what := parts[[leakWindow]byte([]byte(text[i:i+leakWindow]))]
			if what != "" && !found[what+pageKind(where)] {
				found[what+pageKind(where)] = true
				s.t.Errorf("%s: got a part of a secret (%s), want none: …%s…", where, what, text[max(0, i-60):i])
			}
		}
	}
}

// isSecret reports whether a person types a secret in a field.
func isSecret(f pageField) bool {
	name := strings.ToLower(f.name)
	return f.kind == "password" || f.kind == "textarea" && strings.Contains(name, "key")
}

// isTyped reports whether a person types in a field.
func isTyped(f pageField) bool {
	return f.kind == "" || slices.Contains([]string{"text", "search", "url", "email", "textarea", "date", "datetime-local", "number", "password"}, f.kind)
}

// A console full of secrets shows none, not even in part: whatever page is opened,
// whatever form is sent, and whatever the Store does meanwhile.
func TestThreat163_NoSecretComesOut(t *testing.T) {
	for _, readOnly := range []bool{false, true} {
		t.Run(fmt.Sprintf("read only %t", readOnly), func(t *testing.T) {
			s := openShowroom(t, hostile)
			s.handler.ReadOnly = readOnly
			c := newCrawler(t, s.routes())
			forms := inOrder(c.crawl(s.pages()...))
			typed := func(f pageField) (string, bool) {
				switch {
				case isSecret(f) && f.kind == "textarea":
					return string(s.keyPEM()), true
				case isSecret(f):
					return string(s.secret("typed in " + f.name)), true
				case isTyped(f):
					return f.value + hostile, true
				}
				return "", false
			}
			secretsOnly := func(f pageField) (string, bool) {
				if isSecret(f) {
					return typed(f)
				}
				return "", false
			}
			// First what changes nothing, since the Store fails at once or after some
			// calls, or since it is not valid.
			for n := range 4 {
				var calls atomic.Int64 // renewals that fail go on in the background
				s.store.on(func(string) error {
					if calls.Add(1) > int64(n) {
						return errStoreGone
					}
					return nil
				})
				for _, f := range forms {
					calls.Store(0)
					c.send(f, secretsOnly)
				}
				if n == 0 {
					again := newCrawler(t, s.routes())
					again.crawl(s.pages()...)
					c.visits = append(c.visits, again.visits...)
				}
				s.store.on(nil)
			}
			for _, f := range forms {
				c.send(f, typed)
			}
			for _, f := range forms {
				c.send(f, secretsOnly)
			}
			for _, f := range forms {
				c.send(f, nil)
			}
			statuses := make(map[int]int)
			for _, v := range c.visits {
				statuses[v.status]++
			}
			t.Logf("%d forms, %d answers by status: %v", len(forms), len(c.visits), statuses)
			s.search(c.visits)
		})
	}
}

// The search finds a secret in each of the ways in which it could come out.
func TestThreat163_TheSearchFinds(t *testing.T) {
	s := &showroom{t: t, secrets: make(map[string]string)}
	secret := string(s.secret("secret"))
	parts := s.hidden()
	for name, text := range map[string]string{
		"plain": secret, "a part": secret[20:34], "hex": hex.EncodeToString([]byte(secret)),
		"base64":            base64.StdEncoding.EncodeToString([]byte(secret)),
		"base64 of a pair":  base64.StdEncoding.EncodeToString([]byte("id:" + secret + ":")),
		"base64 of another": base64.URLEncoding.EncodeToString([]byte("client:" + secret)),
	} {
		found := false
		for i := range len(text) - leakWindow + 1 {
			_, ok := parts[[leakWindow]byte([]byte(text[i:i+leakWindow]))]
			found = found || ok
		}
		if !found {
			t.Errorf("%s: got nothing, want the secret", name)
		}
	}
}

// Texts from outside stay texts: pages are made of the same elements with the same
// attributes, whether the texts are harmless or not, and lead to the same places.
func TestThreat162_TextsStayTexts(t *testing.T) {
	var opened, sent [2][]*visit // what was got, and what forms were answered with
	for i, word := range []string{"harmless", hostile} {
		s := openShowroom(t, word)
		c := newCrawler(t, s.routes())
		forms := inOrder(c.crawl(s.pages()...))
		n := len(c.visits)
		for _, f := range forms {
			c.send(f, func(f pageField) (string, bool) {
				if isTyped(f) && !isSecret(f) {
					return f.value + "~" + word, true // which comes after the IDs that there are
				}
				return "", false
			})
		}
		opened[i], sent[i] = c.visits[:n], c.visits[n:]
		for _, v := range c.visits {
			if v.isPage() {
				wantTexts(t, v, word)
			}
		}
	}
	if got, want := len(opened[1]), len(opened[0]); got != want {
		t.Fatalf("got %d pages, want %d as with harmless texts", got, want)
	}
	usual := make(map[string]bool) // elements with their attributes
	for i, v := range opened[1] {
		plain := opened[0][i]
		if v.status != plain.status {
			t.Fatalf("%s: got status %d, want %d as of %s", v, v.status, plain.status, plain)
		}
		if !plain.isPage() {
			continue
		}
		got, want := v.page(t).shape, plain.page(t).shape
		for j := range max(len(got), len(want)) {
			if j >= len(got) || j >= len(want) || got[j] != want[j] {
				t.Fatalf("%s: got another page than %s, from element %d on: %q, want %q", v, plain, j, restOf(got, j), restOf(want, j))
			}
			usual[got[j]] = true
		}
	}
	// What is typed may be valid in one case, and not in the other.
	for _, v := range sent[0] {
		if v.isPage() {
			for _, element := range v.page(t).shape {
				usual[element] = true
			}
		}
	}
	for _, v := range sent[1] {
		if !v.isPage() {
			continue
		}
		scripts := 0
		for _, element := range v.page(t).shape {
			if strings.HasPrefix(element, "script") {
				scripts++
			}
			if !usual[element] {
				t.Errorf("%s: got an element %q, want only those that pages have with harmless texts", v, element)
			}
		}
		if scripts > 1 {
			t.Errorf("%s: got %d scripts, want one at most", v, scripts)
		}
	}
}

// wantTexts fails the test if a text has got out of its place on a page, or has become
// a link.
func wantTexts(t *testing.T, v *visit, word string) {
	t.Helper()
	for _, raw := range []string{"<script>alert", "<x y", "'><", "\"><script>a"} {
		if strings.Contains(v.body, raw) {
			t.Errorf("%s: got %q in the page, want it escaped", v, raw)
		}
	}
	for _, l := range v.page(t).links {
		to, inside, err := resolve(v.address, l.address)
		outside := err == nil && strings.HasPrefix(l.address, "https://") && strings.Contains(l.rel, "noreferrer") && !strings.Contains(l.address, word)
		if !inside && !outside {
			t.Errorf("%s: got a link to %q (%s), want none", v, l.address, to)
		}
	}
}

func restOf(list []string, i int) []string { return list[min(i, len(list)):min(i+3, len(list))] }

// Each answer says the same of what a browser may do with it, whatever it is.
func wantHeaders(t *testing.T, v *visit) {
	t.Helper()
	if strings.HasPrefix(v.address, "/callback/") {
		return
	}
	policy := v.header.Get("Content-Security-Policy")
	framed := strings.Contains(policy, "frame-ancestors 'self'")
	for name, want := range map[string]string{
		"X-Content-Type-Options": "nosniff", "Referrer-Policy": "same-origin", "Cross-Origin-Opener-Policy": "same-origin",
		"X-Frame-Options": map[bool]string{false: "DENY", true: "SAMEORIGIN"}[framed],
	} {
		if got := v.header.Get(name); got != want {
			t.Errorf("%s: got %s %q, want %q", v, name, got, want)
		}
	}
	for _, want := range []string{"default-src 'none'", "style-src 'self'", "script-src 'self'", "base-uri 'none'", "form-action 'self'", "frame-ancestors '"} {
		if !strings.Contains(policy, want) {
			t.Errorf("%s: got policy %q, want one with %q", v, policy, want)
		}
	}
	if strings.Contains(policy, "unsafe") || strings.ContainsAny(policy, "\r\n") {
		t.Errorf("%s: got policy %q, want nothing unsafe in it", v, policy)
	}
	cache := v.header.Get("Cache-Control")
	if asset := strings.HasSuffix(strings.SplitN(v.address, "?", 2)[0], ".css") || strings.Contains(v.address, "console.js") || strings.Contains(v.address, "icon.svg"); !asset && cache != "no-store" {
		t.Errorf("%s: got Cache-Control %q, want no-store", v, cache)
	}
	if v.isPage() && v.status != http.StatusOK && !strings.Contains(v.body, "<h1>") {
		t.Errorf("%s: got a page of status %d without a heading", v, v.status)
	}
}
