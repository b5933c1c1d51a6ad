package cli

import (
	"bytes"
	"io"
	"path/filepath"
	"sync"
	"testing"
)

// Several first runs at once make one database and one key ring.
func TestFirstRuns(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	w := &world{t: t, dir: dir, env: map[string]string{
		"AUTHPROFILE_STORE": "sqlite:" + filepath.Join(dir, "new", "auth.db"),
		"AUTHPROFILE_KEYS":  filepath.Join(dir, "new", "keys"),
		"S":                 "secret",
	}}
	var runs sync.WaitGroup
	ids := []string{"a", "b", "c", "d"}
	for _, id := range ids {
		runs.Go(func() {
			var stderr bytes.Buffer
			a := w.app(nil, io.Discard, &stderr, nil)
			if code := a.run(t.Context(), []string{"profile", "add", id, "--provider", "github", "--client-id", "x", "--client-secret-from", "env:S"}); code != 0 {
				t.Errorf("%s: got exit code %d and %q, want 0", id, code, stderr.String())
			}
		})
	}
	runs.Wait()
	for _, id := range ids {
		w.ok("profile", "show", id)
	}
}
