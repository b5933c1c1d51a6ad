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

// manyGrants are grants of "crm" with a secret each.
func manyGrants(n int) []*authprofile.Grant {
	grants := make([]*authprofile.Grant, n)
	for i := range grants {
		user := fmt.Sprintf("user-%05d", i)
		grants[i] = &authprofile.Grant{
			GrantKey:    authprofile.GrantKey{ProfileID: "crm", User: user},
			AccessToken: authprofile.Secret("access of " + user), RefreshToken: authprofile.Secret("refresh of " + user),
			Status: authprofile.StatusActive, Account: user + "@example.com",
		}
	}
	return grants
}

// checkGrants makes sure that no secret of manyGrants is lost, and returns how many
// records are under each key.
func (s *stage) checkGrants(n int) (keys map[string]int) {
	s.t.Helper()
	s.with(func(m *authprofile.Manager, db *database) {
		seen := 0
		for g, err := range m.Grants(s.t.Context(), "crm") {
			if err != nil {
				s.t.Fatal(err)
			}
			if want := authprofile.Secret("refresh of " + g.User); g.RefreshToken != want {
				s.t.Errorf("the grant of %s has another refresh token than before", g.User)
			}
			seen++
		}
		if seen != n {
			s.t.Errorf("got %d grants, want %d", seen, n)
		}
		for p, err := range sealed.Usage(s.t.Context(), db.store) {
			if err != nil {
				s.t.Error(err)
			}
			keys = p.Keys
		}
	})
	return keys
}

// A rotation that is killed has lost nothing, and goes on when it is run again.
func TestKeyRotateKilled(t *testing.T) {
	const n = 250
	s := newStage(t)
	s.put(manyGrants(n)...)
	old := s.keys()[0]
	added := strings.TrimSpace(s.ok("key", "add"))

	cmd := s.process("key", "rotate", "--verbose")
	stderr := newGrowing()
	cmd.Stderr = stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stderr.await(t, "encrypting anew: ")
	cmd.Process.Kill()
	if err := cmd.Wait(); err == nil || strings.Contains(stderr.String(), fmt.Sprintf("anew: %d of", n+1)) {
		t.Fatalf("the rotation was at its end before it was killed: %s", stderr)
	}

	keys := s.checkGrants(n)
	if keys[old] == 0 || keys[added] == 0 {
		t.Errorf("got records under keys %v after the kill, want some under either", keys)
	}
	if got := s.keys()[0]; got != added {
		t.Errorf("got first key %q after the kill, want %q", got, added)
	}
	s.fails(1, "run authprofile key rotate first", "key", "retire", old, "--yes")

	want := fmt.Sprintf("%d of %d profiles and grants were encrypted anew with key %s", keys[old], n+1, added)
	if got := s.ok("key", "rotate"); !strings.Contains(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if keys := s.checkGrants(n); keys[added] != n+1 {
		t.Errorf("got records under keys %v, want all %d under %s", keys, n+1, added)
	}
	if left, _ := filepath.Glob(filepath.Join(s.dir, "*.new-*")); left != nil {
		t.Errorf("got files %v left over, want none", left)
	}
}

// keys returns the IDs of the keys in the file.
func (s *stage) keys() (ids []string) {
	s.t.Helper()
	k, err := parseKeys(s.read("keys"))
	if err != nil {
		s.t.Fatal(err)
	}
	for _, key := range k.keys {
		ids = append(ids, key.ID)
	}
	return ids
}

// A terminal shows how far it has come, and a pipe does not.
func TestKeyRotateOnTerminal(t *testing.T) {
	s := newStage(t)
	s.put(manyGrants(5)...)
	s.ok("key", "add")
	shown, code := s.onTerminal("", "", "key", "rotate")
	if !strings.Contains(shown, "encrypting anew") || !strings.Contains(shown, "%") || code != 0 {
		t.Errorf("got exit code %d and %q, want 0 and progress", code, shown)
	}
	s.ok("key", "add")
	if _, _, stderr := s.run("key", "rotate"); strings.Contains(stderr, "%") {
		t.Errorf("got %q on a pipe, want no progress", stderr)
	}
}

// Two processes at once add one key after the other; that waits for its turn.
func TestKeysLocked(t *testing.T) {
	s := newStage(t)
	before := s.keys()[0]
	a := &app{stderr: new(strings.Builder)}
	_, unlock, err := a.lockKeys(t.Context(), filepath.Join(s.dir, "keys"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := s.process("key", "add")
	stderr := newGrowing()
	cmd.Stderr = stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stderr.await(t, "another authprofile is at work on the keys")
	if got := s.keys(); len(got) != 1 {
		t.Errorf("got keys %q while the file was locked, want %q alone", got, before)
	}
	unlock()
	if err := cmd.Wait(); err != nil {
		t.Errorf("got %v and %s, want success", err, stderr)
	}
	if got := s.keys(); len(got) != 2 || got[0] != before {
		t.Errorf("got keys %q, want %q and another one", got, before)
	}
}

// The file keeps its mode, and is a whole one or the old one.
func TestThreat169_KeyFileReplaced(t *testing.T) {
	s := newStage(t)
	path := filepath.Join(s.dir, "keys")
	if err := os.Chmod(path, 0o400); err != nil {
		t.Fatal(err)
	}
	s.ok("key", "add")
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Mode().Perm(); got != 0o400 {
		t.Errorf("got mode %o, want 400", got)
	}
	if err := os.Chmod(path, 0o440); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"key", "list"}, {"key", "rotate"}, {"key", "retire", s.keys()[1], "--yes"}} {
		s.fails(1, "can be used by other users of this machine: chmod 600 ", args...)
	}
	before := s.read("keys")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path+"-elsewhere", []byte(before), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(path+"-elsewhere", path); err != nil {
		t.Fatal(err)
	}
	s.fails(1, "is a symbolic link", "key", "add")
}

// To take a key away is asked for on a terminal.
func TestKeyRetireOnTerminal(t *testing.T) {
	s := newStage(t)
	id := strings.TrimSpace(s.ok("key", "add"))
	shown, code := s.onTerminal("[y/N]: ", "n", "key", "retire", id)
	if !strings.Contains(shown, "Backups from before the rotation cannot be read") || !strings.Contains(shown, "no key was taken away") || code != 1 {
		t.Errorf("got exit code %d and %q, want 1 and a question", code, shown)
	}
	if _, code := s.onTerminal("[y/N]: ", "y", "key", "retire", id); code != 0 || len(s.keys()) != 1 {
		t.Errorf("got exit code %d and keys %q, want 0 and one key", code, s.keys())
	}
}
