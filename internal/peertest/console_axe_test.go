package peertest

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/authprofile/authprofile/internal/peertest/authservers"
	"github.com/authprofile/authprofile/internal/peertest/require"
)

// axe is axe-core, which looks for what keeps people from using a page.
var axe = sync.OnceValues(func() (string, error) {
	text, err := os.ReadFile(filepath.Join("axe", "node_modules", "axe-core", "axe.min.js"))
	return string(text), err
})

func needsAxe(t *testing.T) {
	t.Helper()
	if _, err := axe(); err != nil {
		require.Missing(t, "axe-core", "run: npm ci in internal/peertest/axe")
	}
}

// A barrier is a rule that a page breaks, and where.
type barrier struct {
	ID, Help string
	Nodes    []string
}

// barriers are those of the page.
func (p *person) barriers() (found []barrier) {
	p.t.Helper()
	script, err := axe()
	if err != nil {
		p.t.Fatal(err)
	}
	p.do("examine the page", func(ctx context.Context) error {
		if err := evaluate(ctx, script+"; 0", nil); err != nil {
			return err
		}
		return evaluate(ctx, `axe.run(document, {
			runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"], resultTypes: ["violations"], iframes: false,
		}).then(r => r.violations.map(v => ({ID: v.id, Help: v.help, Nodes: v.nodes.map(n => n.html.slice(0, 200) + "\n      " + n.failureSummary.replace(/\s+/g, " "))})))`, &found)
	})
	return found
}

// examines fails the test for each barrier on the page.
func (p *person) examines(what string) {
	p.t.Helper()
	for _, b := range p.barriers() {
		p.t.Errorf("%s, %s: %s (%s)\n    %s", what, p.at(), b.Help, b.ID, strings.Join(b.Nodes, "\n    "))
	}
}

// axe-core finds what is wrong with a page, so that to find nothing says something.
func TestAxeFinds(t *testing.T) {
	require.Long(t, "the proof that axe-core finds barriers")
	needsAxe(t)
	const bad = `<!DOCTYPE html><html><title>x</title><body style="background: #fff; color: #ccc"><p>Hardly to be seen.</p><input><h3>A heading</h3>`
	ts := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
		io.WriteString(w, bad)
	}))
	defer ts.Close()
	p := &person{t: t, ctx: authservers.Browser(t)}
	p.opens(ts.URL)
	var found []string
	for _, b := range p.barriers() {
		found = append(found, b.ID)
	}
	for _, want := range []string{"color-contrast", "html-has-lang", "label"} {
		if !slices.Contains(found, want) {
			t.Errorf("got %q, want %s among them", found, want)
		}
	}
}

// links are the addresses on the same site that the page links to.
func (p *person) links() (list []string) {
	p.t.Helper()
	p.do("read the links", func(ctx context.Context) error {
		return evaluate(ctx, `[...document.links].filter(a => a.origin === location.origin && !a.getAttribute("href").startsWith("#")).map(a => a.href)`, &list)
	})
	return list
}

// No page has a barrier: in light colours on a large screen, or in dark ones on a small
// one, which no page is wider than.
func TestConsoleHasNoBarriers(t *testing.T) {
	require.Long(t, "axe-core on every page of the console")
	needsAxe(t)
	p := &person{t: t, ctx: authservers.BrowserFor(t, 5*time.Minute)}
	s := startConsole(t)
	s.fill(t)
	inspect := func(what string) {
		t.Helper()
		p.inScheme("light")
		p.onScreen(1000, 700)
		p.examines(what + ", light")
		p.inScheme("dark")
		p.onScreen(320, 640)
		p.examines(what + ", dark, on a small screen")
		p.fits()
	}
	p.opens(s.URL + "/login?as=olga")
	queue := []string{s.URL + "/auth/", s.URL + "/connections/", s.URL + "/connections/?profile=crm", s.URL + "/auth/nothing", s.URL + "/auth/grant?profile=crm&user=nobody"}
	for _, user := range []string{"olga", "bob", "carol", "dave"} { // in every state
		queue = append(queue, s.URL+"/auth/grant?profile=crm&user="+user)
	}
	most := map[string]int{"/auth/grant": 6, "/auth/profile": 3, "/auth/grants": 3, "/connections/": 2, "/auth/provider": 2}
	visited := make(map[string]int)
	seen := make(map[string]bool)
	for len(queue) > 0 {
		address := queue[0]
		queue = queue[1:]
		u, err := url.Parse(address)
		if err != nil {
			t.Fatal(err)
		}
		if seen[address] || visited[u.Path] >= max(1, most[u.Path]) {
			continue
		}
		seen[address] = true
		visited[u.Path]++
		p.opens(address)
		inspect("page")
		queue = append(queue, p.links()...)
	}
	if len(visited) < 13 {
		t.Errorf("got pages %v, want more of them", visited)
	}

	// Pages that only a form leads to: what is wrong in it, how a test goes, what has
	// come of several grants, and a save that comes second.
	p.inScheme("light")
	p.onScreen(1000, 700)
	p.opens(s.URL + "/auth/new-profile")
	p.follows("button", "Save")
	inspect("a form with mistakes")
	p.onScreen(1000, 700)
	p.opens(s.URL + "/auth/profile?id=crm")
	p.do("test in the window, not in a frame", func(ctx context.Context) error {
		return evaluate(ctx, `document.querySelector("[formtarget]").removeAttribute("formtarget")`, nil)
	})
	p.follows("button", "Test")
	inspect("a test")
	p.onScreen(1000, 700)
	p.opens(s.URL + "/auth/profile?id=crm")
	stored, err := s.manager.Profile(t.Context(), "crm")
	if err != nil {
		t.Fatal(err)
	}
	stored.Description = "Another description"
	save(t, s.manager, stored)
	p.types("Name", "Another name")
	p.follows("button", "Save")
	p.sees("Another description")
	inspect("a save that comes second")
	p.onScreen(1000, 700)
	p.opens(s.URL + "/auth/grants?profile=crm")
	p.presses("checkbox", "bob Contacts")
	p.presses("checkbox", "carol Contacts")
	p.follows("button", "Renew selected")
	inspect("what has come of two renewals")

	p.opens(s.URL + "/login?as=eve")
	p.opens(s.URL + "/auth/")
	inspect("the page of those who may not see it")
}
