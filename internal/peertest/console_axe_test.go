package peertest

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

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
