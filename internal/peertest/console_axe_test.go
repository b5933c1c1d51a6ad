package peertest

import (
	"context"
	"maps"
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

// examines fails the test for each barrier on the page. Scripts of the page may be
// stopped.
func (p *person) examines(what string) {
	p.t.Helper()
	script, err := axe()
	if err != nil {
		p.t.Fatal(err)
	}
	var found []struct {
		ID, Help string
		Nodes    []string
	}
	p.do("examine the page", func(ctx context.Context) error {
		if err := evaluate(ctx, script+"; 0", nil); err != nil {
			return err
		}
		return evaluate(ctx, `axe.run(document, {
			runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"], resultTypes: ["violations"], iframes: false,
		}).then(r => r.violations.map(v => ({ID: v.id, Help: v.help, Nodes: v.nodes.map(n => n.html.slice(0, 200) + "\n      " + n.failureSummary.replace(/\s+/g, " "))})))`, &found)
	})
	for _, v := range found {
		p.t.Errorf("%s, %s: %s (%s)\n    %s", what, p.at(), v.Help, v.ID, strings.Join(v.Nodes, "\n    "))
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

// kindOf is a page, whatever the values in its query.
func kindOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return address
	}
	return u.Path + "?" + strings.Join(slices.Sorted(maps.Keys(u.Query())), "&")
}

// No page has a barrier: in light colours on a large screen, or in dark ones on a small
// one, which no page is wider than.
func TestConsoleHasNoBarriers(t *testing.T) {
	needsAxe(t)
	p := &person{t: t, ctx: authservers.BrowserFor(t, 2*time.Minute)}
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
	most := map[string]int{"/auth/grant?profile&user": 6, "/auth/provider?name": 2, "/auth/profile?profile": 3, "/auth/grants?status": 2}
	visited := make(map[string]int)
	seen := make(map[string]bool)
	for len(queue) > 0 {
		address := queue[0]
		queue = queue[1:]
		kind := kindOf(address)
		if seen[address] || visited[kind] >= max(1, most[kind]) {
			continue
		}
		seen[address] = true
		visited[kind]++
		p.opens(address)
		inspect("page")
		queue = append(queue, p.links()...)
	}
	t.Logf("pages: %v", visited)
	p.opens(s.URL + "/login?as=eve")
	p.opens(s.URL + "/auth/")
	inspect("the page of those who may not see it")
}
