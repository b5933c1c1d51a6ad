package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/creack/pty"

	"github.com/authprofile/authprofile"
	"github.com/authprofile/authprofile/providertest"
)

// A stage is a database, its keys and a provider. Its profile is "crm".
type stage struct {
	t   *testing.T
	srv *providertest.Server
	dir string
	env map[string]string
}

func newStage(t *testing.T) *stage {
	t.Helper()
	s := &stage{t: t, srv: providertest.NewServer(t), dir: t.TempDir()}
	s.env = map[string]string{
		"AUTHPROFILE_STORE": "sqlite:" + filepath.Join(s.dir, "auth.db"),
		"AUTHPROFILE_KEYS":  filepath.Join(s.dir, "keys"),
		"CLIENT_SECRET":     providertest.ClientSecret,
		"HOME":              s.dir,
		"TERM":              "xterm",
	}
	s.ok("profile", "add", "crm", "--provider", s.srv.DiscoveryURL(), "--client-id", providertest.ClientID,
		"--client-secret-from", "env:CLIENT_SECRET", "--scope", "openid", "--scope", "offline_access")
	return s
}

// run runs a command line in this process.
func (s *stage) run(args ...string) (code int, stdout, stderr string) {
	s.t.Helper()
	var out, errs bytes.Buffer
	a := &app{stdin: strings.NewReader(""), stdout: &out, stderr: &errs, env: maps.Clone(s.env)}
	code = a.run(s.t.Context(), args)
	return code, out.String(), errs.String()
}

// ok runs a command line that succeeds, and returns its standard output.
func (s *stage) ok(args ...string) string {
	s.t.Helper()
	code, stdout, stderr := s.run(args...)
	if code != 0 {
		s.t.Fatalf("%q: got exit code %d and %s, want 0", args, code, stderr)
	}
	return stdout
}

// fails runs a command line that fails with an exit code, and with these words on
// standard error.
func (s *stage) fails(code int, words string, args ...string) {
	s.t.Helper()
	got, _, stderr := s.run(args...)
	if got != code || !strings.Contains(stderr, words) {
		s.t.Errorf("%q: got exit code %d and %q, want %d and %q", args, got, stderr, code, words)
	}
}

// with runs f with a Manager on the database, and with the database.
func (s *stage) with(f func(m *authprofile.Manager, db *database)) {
	s.t.Helper()
	a := &app{stderr: io.Discard, env: maps.Clone(s.env)}
	m, err := a.open(s.t.Context(), existing)
	if err != nil {
		s.t.Fatal(err)
	}
	f(m, a.opened)
	if err := a.close(s.t.Context()); err != nil {
		s.t.Error(err)
	}
}

// connect has users authorize "crm".
func (s *stage) connect(users ...string) {
	s.t.Helper()
	s.with(func(m *authprofile.Manager, _ *database) {
		p, err := m.Profile(s.t.Context(), "crm")
		if err != nil {
			s.t.Fatal(err)
		}
		for _, user := range users {
			s.srv.SetConsent(providertest.Consent{Subject: "at-" + user, Claims: map[string]any{"email": user + "@example.com"}})
			flow, err := m.Begin(s.t.Context(), p, user)
			if err != nil {
				s.t.Fatal(err)
			}
			callback, err := s.srv.Authorize(flow.URL)
			if err != nil {
				s.t.Fatal(err)
			}
			if _, err := m.Finish(s.t.Context(), user, callback.Query()); err != nil {
				s.t.Fatal(err)
			}
		}
	})
}

// put stores grants.
func (s *stage) put(grants ...*authprofile.Grant) {
	s.t.Helper()
	s.with(func(_ *authprofile.Manager, db *database) {
		for _, g := range grants {
			if err := db.store.PutGrant(s.t.Context(), g); err != nil {
				s.t.Fatal(err)
			}
		}
	})
}

// grant returns the grant of a user of "crm"; nil: there is none.
func (s *stage) grant(user string) (g *authprofile.Grant) {
	s.t.Helper()
	s.with(func(m *authprofile.Manager, _ *database) {
		var err error
		if g, err = m.Grant(s.t.Context(), authprofile.GrantKey{ProfileID: "crm", User: user}); err != nil && !errors.Is(err, authprofile.ErrNotFound) {
			s.t.Fatal(err)
		}
	})
	return g
}

// process returns a run of the program as a process of its own.
func (s *stage) process(args ...string) *exec.Cmd {
	cmd := exec.CommandContext(s.t.Context(), "authprofile", args...)
	cmd.Dir = s.dir
	for name, value := range s.env {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	cmd.WaitDelay = 10 * time.Second
	return cmd
}

// onTerminal runs the program on a terminal, answers the question that ends with ask,
// and returns what the terminal shows and the exit code.
func (s *stage) onTerminal(ask, answer string, args ...string) (shown string, code int) {
	s.t.Helper()
	cmd := s.process(args...)
	terminal, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 40, Cols: 160})
	if err != nil {
		s.t.Fatal(err)
	}
	defer terminal.Close()
	var text strings.Builder
	buffer := make([]byte, 4096)
	for {
		n, err := terminal.Read(buffer)
		text.Write(buffer[:n])
		if ask != "" && strings.Contains(text.String(), ask) {
			ask = ""
			fmt.Fprintln(terminal, answer)
		}
		if err != nil { // the program has ended
			break
		}
	}
	cmd.Wait()
	return text.String(), cmd.ProcessState.ExitCode()
}

// A growing is an output in which a test waits for a text.
type growing struct {
	mu   sync.Mutex
	text strings.Builder
	grew chan struct{}
}

func newGrowing() *growing { return &growing{grew: make(chan struct{}, 1)} }

func (g *growing) Write(p []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.text.Write(p)
	select {
	case g.grew <- struct{}{}:
	default:
	}
	return len(p), nil
}

func (g *growing) String() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.text.String()
}

// await waits until the output has a text, and returns the rest of the line, once
// that is complete.
func (g *growing) await(t *testing.T, text string) string {
	t.Helper()
	limit := time.After(30 * time.Second)
	for {
		if _, rest, ok := strings.Cut(g.String(), text); ok {
			if line, _, ok := strings.Cut(rest, "\n"); ok {
				return line
			}
		}
		select {
		case <-g.grew:
		case <-limit:
			t.Fatalf("got %q, want %q in it", g, text)
		}
	}
}

// read reads a file.
func (s *stage) read(name string) string {
	s.t.Helper()
	text, err := os.ReadFile(filepath.Join(s.dir, name))
	if err != nil {
		s.t.Fatal(err)
	}
	return string(text)
}
