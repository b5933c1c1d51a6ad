package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/authprofile/authprofile"
)

// A countingStore has many grants, and counts how many it has given out at a time.
type countingStore struct {
	authprofile.Store
	grants  int
	largest int
}

func (s *countingStore) ListGrants(_ context.Context, _ authprofile.GrantFilter, after authprofile.GrantKey, limit int) (list []*authprofile.Grant, _ error) {
	first := 0
	if after.User != "" {
		last, err := strconv.Atoi(after.User)
		if err != nil {
			return nil, err
		}
		first = last + 1
	}
	for i := first; i < s.grants && len(list) < limit; i++ {
		list = append(list, &authprofile.Grant{GrantKey: authprofile.GrantKey{ProfileID: "crm", User: fmt.Sprintf("%07d", i)}, Status: authprofile.StatusActive})
	}
	s.largest = max(s.largest, len(list))
	return list, nil
}

// A listOutput counts the lines that are written, and the most that is written at once.
type listOutput struct{ lines, largest int }

func (l *listOutput) Write(p []byte) (int, error) {
	l.lines += bytes.Count(p, []byte("\n"))
	l.largest = max(l.largest, len(p))
	return len(p), nil
}

// A long list is read and written page by page, and nothing of it is kept.
func TestGrantListPages(t *testing.T) {
	t.Parallel()
	const n = 20_000
	for _, format := range []string{formatText, formatJSON} {
		s := &countingStore{Store: new(authprofile.MemStore), grants: n}
		w := new(listOutput)
		o := &output{w: w, format: format}
		if err := new(app).listGrants(t.Context(), &authprofile.Manager{Store: s}, authprofile.GrantFilter{}, o); err != nil {
			t.Fatal(err)
		}
		lines := n
		if format == formatJSON {
			lines += 2 // the brackets
		}
		if w.lines != lines || s.largest > page || w.largest > page*200 {
			t.Errorf("%s: got %d lines, pages of up to %d grants and writes of up to %d bytes, want %d, %d and %d", format, w.lines, s.largest, w.largest, lines, page, page*200)
		}
	}
}

// An operator is told which grants cannot be read, and sees the others.
func TestUnreadableGrants(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.put(manyGrants(7)...)
	w.exec("UPDATE authprofile_grants SET refresh_token = 'x' WHERE user_id = 'user-00000'")
	w.exec("UPDATE authprofile_grants SET scopes = '{x' WHERE user_id = 'user-00002'")
	const one, other = `the grant of user "user-00000" of profile "crm": `, `the grant of user "user-00002" of profile "crm": `
	for _, args := range [][]string{{"grant", "list"}, {"key", "list", "--count"}, {"key", "rotate"}} {
		code, stdout, stderr := w.run(args...)
		if code != 1 || stdout == "" || !strings.Contains(stderr, one) || !strings.Contains(stderr, "is not sealed") || !strings.Contains(stderr, other) || strings.Contains(stderr, "authprofile: find") {
			t.Errorf("%q: got exit code %d, %q and %q, want 1, the others, and which grants these are", args, code, stdout, stderr)
		}
	}
	if code, stdout, stderr := w.run("grant", "revoke", "crm", "--user", "user-00000", "--user", "user-00002", "--yes"); strings.Contains(stdout, "failed") {
		t.Errorf("got exit code %d, %q and %q, want both deleted", code, stdout, stderr)
	}
	w.exec("UPDATE authprofile_grants SET refresh_token = 'x'")
	if _, _, stderr := w.run("grant", "list"); !strings.Contains(stderr, "; and 2 more\n") {
		t.Errorf("got %q, want three grants and how many there are besides", stderr)
	}
}

// A grant without a refresh token keeps its token.
func TestGrantRenewWithoutRefreshToken(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	grants := manyGrants(1)
	grants[0].RefreshToken = ""
	w.put(grants...)
	w.fails(4, "the present token can be used as long as it lives: to get another, run: authprofile connect crm --user user-00000", "grant", "renew", "crm")
	w.fails(4, "run: authprofile connect", "grant", "renew", "crm", "--user", "other")
	if got := w.ok("grant", "show", "crm"); !strings.Contains(got, "State\tactive\n") || !strings.Contains(got, "Renewal\tnot possible: there is no refresh token\n") {
		t.Errorf("got %s, want an active grant", got)
	}
}

// No command shows a token, or a value of what else the provider has said.
func TestThreat174_GrantsWithoutTokens(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.put(&authprofile.Grant{
		GrantKey: authprofile.GrantKey{ProfileID: "crm", User: "ada"}, Status: authprofile.StatusNeedsReauthorization,
		AccessToken: "SENTINEL-access", RefreshToken: "SENTINEL-refresh", Nonce: "SENTINEL-nonce",
		Extra:   map[string]authprofile.Secret{"instance_url": "SENTINEL-extra"},
		Account: "ada\x1b[2J@example.com",
		Failure: &authprofile.Failure{Reason: authprofile.ReasonRevoked, Code: "invalid_grant", Description: "it\nis \x1b[31mgone"},
	})
	for _, args := range [][]string{{"grant", "show", "crm"}, {"grant", "list"}, {"status"}} {
		for _, format := range []string{formatText, formatJSON} {
			got := w.ok(append(args, "--output", format)...)
			if strings.Contains(got, "SENTINEL") || strings.Contains(got, "\x1b") {
				t.Errorf("%q as %s: got a secret or an escape sequence: %q", args, format, got)
			}
		}
	}
	if got := w.ok("grant", "show", "crm"); !strings.Contains(got, "Further members\tinstance_url\n") {
		t.Errorf("got %s, want the name of what else the provider has said", got)
	}
}

// interrupter is an output that interrupts the program at the first write.
type interrupter struct {
	text      bytes.Buffer
	interrupt context.CancelFunc
}

func (i *interrupter) Write(p []byte) (int, error) {
	i.interrupt()
	return i.text.Write(p)
}

// After Ctrl-C, what was done so far is whole JSON.
func TestGrantRevokeInterrupted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.put(manyGrants(3)...)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stdout := &interrupter{interrupt: cancel}
	stderr := new(bytes.Buffer)
	code := w.app(nil, stdout, stderr, nil).run(ctx, []string{"grant", "revoke", "crm", "--user", "user-00000", "--user", "user-00001", "--yes", "-o", "json"})
	var done []revocation
	if err := json.Unmarshal(stdout.text.Bytes(), &done); err != nil || len(done) != 1 || code != 1 || stderr.String() != "authprofile: interrupted\n" {
		t.Errorf("got exit code %d, %s, %v and %q, want 1, an array of one, and that it was interrupted", code, &stdout.text, err, stderr)
	}
	if w.grant("user-00000") != nil || w.grant("user-00001") == nil {
		t.Error("got the wrong grants ended, want the first one")
	}
}

// To end grants is asked for on a terminal.
func TestGrantRevokeOnTerminal(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.users("ada", "bob")
	term := w.terminal("grant", "revoke", "crm", "--all-users")
	term.answer(`End all 2 grants of profile "crm"? It cannot be undone. [y/N]: `, "n\n")
	if code, screen := term.end(); code != 1 || !strings.Contains(screen, "nothing was revoked") {
		t.Errorf("got exit code %d and %q, want 1 and a word", code, screen)
	}
	term = w.terminal("grant", "revoke", "crm", "--all-users")
	term.answer("[y/N]: ", "y\n")
	if code, screen := term.end(); code != 0 || !strings.Contains(screen, "ada   \x1b[32mrevoked\x1b[0m") {
		t.Errorf("got exit code %d and %q, want 0 and the outcome", code, screen)
	}
	if w.grant("ada") != nil || w.grant("bob") != nil || w.srv.Hits("revocation") == 0 {
		t.Error("got a grant, or no revocation, want none and some")
	}
}
