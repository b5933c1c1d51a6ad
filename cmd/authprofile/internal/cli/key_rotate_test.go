package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/authprofile/authprofile"
	"github.com/authprofile/authprofile/sealed"
)

// checkGrants makes sure that no secret of manyGrants is lost, and returns how many
// records are under each key.
func (w *world) checkGrants(n int) (keys map[string]int) {
	w.t.Helper()
	w.stored(func(m *authprofile.Manager, db *database) {
		seen := 0
		for g, err := range m.Grants(w.t.Context(), "crm") {
			if err != nil {
				w.t.Fatal(err)
			}
			if want := authprofile.Secret("refresh of " + g.User); g.RefreshToken != want {
				w.t.Errorf("the grant of %s has another refresh token than before", g.User)
			}
			seen++
		}
		if seen != n {
			w.t.Errorf("got %d grants, want %d", seen, n)
		}
		for p, err := range sealed.Usage(w.t.Context(), db.store) {
			if err != nil {
				w.t.Error(err)
			}
			keys = p.Keys
		}
	})
	return keys
}

// A rotation that is killed has lost nothing, and goes on when it is run again.
func TestKeyRotateKilled(t *testing.T) {
	t.Parallel()
	const n = 150
	w := newWorld(t)
	w.put(manyGrants(n)...)
	old := w.keyIDs()[0]
	added := strings.TrimSpace(w.ok("key", "add"))

	// One of the grants cannot be written to the end.
	w.exec(`CREATE TRIGGER endless BEFORE UPDATE ON authprofile_grants WHEN NEW.user_id = 'user-00120'
		BEGIN SELECT (WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT COUNT(*) FROM c); END`)

	cmd := w.process("key", "rotate", "--verbose")
	stderr := newWatched()
	cmd.Stderr = stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stderr.after(t.Context(), "encrypting anew: ")
	cmd.Process.Kill()
	cmd.Wait()
	w.exec("DROP TRIGGER endless")

	keys := w.checkGrants(n)
	if keys[old] == 0 || keys[added] == 0 {
		t.Errorf("got records under keys %v after the kill, want some under either", keys)
	}
	if got := w.keyIDs()[0]; got != added {
		t.Errorf("got first key %q after the kill, want %q", got, added)
	}
	w.fails(1, "run authprofile key rotate first", "key", "retire", old, "--yes")

	want := fmt.Sprintf("%d of %d profiles and grants were encrypted anew with key %s", keys[old], n+1, added)
	if got := w.ok("key", "rotate"); !strings.Contains(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if keys := w.checkGrants(n); keys[added] != n+1 {
		t.Errorf("got records under keys %v, want all %d under %s", keys, n+1, added)
	}
	if left, _ := filepath.Glob(filepath.Join(w.dir, "keys?[^l]*")); left != nil {
		t.Errorf("got files %v left over, want none", left)
	}
}

// A terminal shows how far it has come, and a pipe does not.
func TestKeyRotateOnTerminal(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.put(manyGrants(5)...)
	w.ok("key", "add")
	code, shown := w.terminal("key", "rotate").end()
	if !strings.Contains(shown, "encrypting anew") || !strings.Contains(shown, "%") || code != 0 {
		t.Errorf("got exit code %d and %q, want 0 and progress", code, shown)
	}
	w.ok("key", "add")
	if _, _, stderr := w.run("key", "rotate"); strings.Contains(stderr, "%") {
		t.Errorf("got %q on a pipe, want no progress", stderr)
	}
}

// Two processes at once add one key after the other; that waits for its turn.
func TestKeysLocked(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	before := w.keyIDs()[0]
	a := &app{stderr: new(strings.Builder)}
	_, unlock, err := a.lockKeys(t.Context(), filepath.Join(w.dir, "keys"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := w.process("key", "add")
	stderr := newWatched()
	cmd.Stderr = stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stderr.after(t.Context(), "another authprofile is at work on the keys")
	if got := w.keyIDs(); len(got) != 1 {
		t.Errorf("got keys %q while the file was locked, want %q alone", got, before)
	}
	unlock()
	if err := cmd.Wait(); err != nil {
		t.Errorf("got %v and %s, want success", err, stderr)
	}
	if got := w.keyIDs(); len(got) != 2 || got[0] != before {
		t.Errorf("got keys %q, want %q and another one", got, before)
	}
}

// The file keeps its mode, and is a whole one or the old one.
func TestThreat169_KeyFileReplaced(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	path := filepath.Join(w.dir, "keys")
	if err := os.Chmod(path, 0o400); err != nil {
		t.Fatal(err)
	}
	w.ok("key", "add")
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Mode().Perm(); got != 0o400 {
		t.Errorf("got mode %o, want 400", got)
	}
	added := w.keyIDs()[1]
	if err := os.Chmod(path, 0o440); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"key", "list"}, {"key", "rotate"}, {"key", "retire", added, "--yes"}} {
		w.fails(1, "can be used by other users of this machine: chmod 600 ", args...)
	}
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path+"-elsewhere", before, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(path+"-elsewhere", path); err != nil {
		t.Fatal(err)
	}
	w.fails(1, "is a symbolic link", "key", "add")
}

// What a process that was killed has left, with keys in it, is removed by the next one.
func TestKeyFileUnfinished(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	path := unfinished(filepath.Join(w.dir, "keys"))
	if err := os.WriteFile(path, []byte("2026-11 half"), 0o600); err != nil {
		t.Fatal(err)
	}
	w.ok("key", "add")
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		t.Errorf("got %v, want no file %s", err, path)
	}
	if got := w.keyIDs(); len(got) != 2 {
		t.Errorf("got keys %q, want two", got)
	}
}

// The ID of a key is shown and stored: a key in its place is refused, and not quoted.
func TestKeyInPlaceOfID(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const key = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
	w.env["AUTHPROFILE_KEYS"] = "keys:" + key + " AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA="
	w.fails(1, "key 1 has a key where its ID should be", "key", "list")
	if _, _, stderr := w.run("key", "list"); strings.Contains(stderr, key) {
		t.Error("got a key on standard error, want none")
	}
}

// To take a key away is asked for on a terminal.
func TestKeyRetireOnTerminal(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := strings.TrimSpace(w.ok("key", "add"))
	term := w.terminal("key", "retire", id)
	term.answer("Backups from before the rotation cannot be read without it. [y/N]: ", "n\n")
	if code, shown := term.end(); code != 1 || !strings.Contains(shown, "no key was taken away") {
		t.Errorf("got exit code %d and %q, want 1 and a word", code, shown)
	}

	// What a service writes while the question is on the screen counts.
	term = w.terminal("key", "retire", id)
	if !term.screen.has(t.Context(), "[y/N]: ") {
		t.Fatal("got no question")
	}
	w.stored(func(_ *authprofile.Manager, db *database) {
		service, err := sealed.NewKeyring(db.keys.keys[1], db.keys.keys[0])
		if err != nil {
			t.Fatal(err)
		}
		if err := sealed.New(db.inner, service).PutGrant(t.Context(), manyGrants(1)[0]); err != nil {
			t.Fatal(err)
		}
	})
	if _, err := term.keys.WriteString("y\n"); err != nil {
		t.Fatal(err)
	}
	if code, shown := term.end(); code != 1 || !strings.Contains(shown, "is needed by 1 profiles and grants") || len(w.keyIDs()) != 2 {
		t.Errorf("got exit code %d, %q and keys %q, want 1 and both keys", code, shown, w.keyIDs())
	}
	w.exec("DELETE FROM authprofile_grants")

	term = w.terminal("key", "retire", id)
	term.answer("[y/N]: ", "y\n")
	if code, shown := term.end(); code != 0 || len(w.keyIDs()) != 1 {
		t.Errorf("got exit code %d, %q and keys %q, want 0 and one key", code, shown, w.keyIDs())
	}
}
