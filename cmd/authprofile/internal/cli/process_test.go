package cli

import (
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"

	"github.com/authprofile/authprofile/providertest"
)

// process returns a process of the program in a world.
func (w *world) process(args ...string) *exec.Cmd {
	cmd := exec.Command(command(w.t), args...)
	cmd.Env = []string{"HOME=" + w.dir, "PATH=" + os.Getenv("PATH"), "TERM=xterm", "GORACE=" + raceOptions}
	for name, value := range w.env {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	return cmd
}

// connected returns a world in which ada is connected, and what prints a token that
// has to be renewed for that.
func connected(t *testing.T) (w *world, renew []string) {
	w = newWorld(t)
	policy := w.srv.Policy()
	policy.TokenLifetime = lifetime
	w.srv.SetPolicy(policy)
	w.ok("connect", "crm", "--user", "ada")
	policy.TokenLifetime = time.Hour
	w.srv.SetPolicy(policy)
	return w, []string{"token", "crm", "--min-valid", (lifetime - 1).String()}
}

// TestThreat173_Signals: a renewal under way is finished and stored after Ctrl-C and
// after SIGTERM.
func TestThreat173_Signals(t *testing.T) {
	t.Parallel()
	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		t.Run(signal.String(), func(t *testing.T) {
			t.Parallel()
			w, renew := connected(t)
			w.srv.Fault(providertest.Token, providertest.Fault{Grant: "refresh_token", Hang: true})
			cmd := w.process(renew...)
			var stdout bytes.Buffer
			stderr := newWatched()
			cmd.Stdout, cmd.Stderr = &stdout, stderr
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			if err := w.srv.AwaitHang(t.Context(), 1); err != nil {
				t.Fatal(err)
			}
			if err := cmd.Process.Signal(signal); err != nil {
				t.Fatal(err)
			}
			stderr.after(t.Context(), "a token is being renewed") // it has heard
			w.srv.Release()
			cmd.Wait()
			if code := cmd.ProcessState.ExitCode(); code != 1 || stdout.Len() > 0 || !strings.HasSuffix(stderr.String(), "\nauthprofile: interrupted\n") {
				t.Errorf("got exit code %d, %q and %q, want 1 and a word", code, stdout.String(), stderr)
			}
			if g := w.grant("ada"); g == nil || !w.srv.IsCurrent(string(g.RefreshToken)) || g.Lease != nil {
				t.Errorf("got %v, want the grant that the provider has issued", g)
			}
		})
	}
}

// TestThreat173_BrokenPipe: the reader of the token is gone. The renewal is stored, and
// nothing is said.
func TestThreat173_BrokenPipe(t *testing.T) {
	t.Parallel()
	w, renew := connected(t)
	r, broken, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	defer broken.Close()
	cmd := w.process(renew...)
	var stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = broken, &stderr
	cmd.Run()
	if code := cmd.ProcessState.ExitCode(); code != 1 || stderr.Len() > 0 {
		t.Errorf("got exit code %d and %q, want 1 and nothing", code, stderr.String())
	}
	if n := w.srv.Count("refresh_token"); n != 1 {
		t.Errorf("got %d renewals, want 1", n)
	}
	if g := w.grant("ada"); g == nil || !w.srv.IsCurrent(string(g.RefreshToken)) {
		t.Errorf("got %v, want the grant that the provider has issued", g)
	}
}

// BenchmarkProcess compares a process that prints a stored token with one that does
// nothing.
func BenchmarkProcess(b *testing.B) {
	w := newWorld(b)
	w.ok("connect", "crm", "--user", "ada")
	for _, args := range [][]string{{"nothing"}, {"authprofile", "token", "crm"}} {
		b.Run(args[0], func(b *testing.B) {
			for b.Loop() {
				cmd := w.process(args[1:]...)
				cmd.Path = filepath.Join(filepath.Dir(cmd.Path), args[0])
				if err := cmd.Run(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// A terminal is one that a process of the program runs in.
type terminal struct {
	t      testing.TB
	cmd    *exec.Cmd
	screen *watched
	keys   *os.File
	copied chan struct{}
}

// terminal runs a process in a terminal.
func (w *world) terminal(args ...string) *terminal {
	w.t.Helper()
	cmd := w.process(args...)
	keys, err := pty.Start(cmd)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { keys.Close() })
	term := &terminal{w.t, cmd, newWatched(), keys, make(chan struct{})}
	go func() {
		io.Copy(term.screen, keys) // until the process has closed the terminal
		close(term.copied)
	}()
	return term
}

// answer waits for a question, and types an answer.
func (term *terminal) answer(question, text string) {
	term.t.Helper()
	ctx, cancel := context.WithTimeout(term.t.Context(), 20*time.Second)
	defer cancel()
	if !term.screen.has(ctx, question) {
		term.t.Fatalf("got %q, want %q", term.screen, question)
	}
	if _, err := io.WriteString(term.keys, text); err != nil {
		term.t.Fatal(err)
	}
}

// end waits for the end, and returns the exit code and all that was seen.
func (term *terminal) end() (code int, screen string) {
	term.cmd.Wait()
	<-term.copied
	return term.cmd.ProcessState.ExitCode(), strings.ReplaceAll(term.screen.String(), "\r\n", "\n")
}

// TestThreat174_Terminal: a token is on a terminal only if that was asked for, and a
// secret that is typed never.
func TestThreat174_Terminal(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ok("connect", "crm", "--user", "ada")
	token := strings.TrimSpace(w.ok("token", "crm"))
	for _, args := range [][]string{{"token", "crm"}, {"token", "crm", "--output", "json"}, {"token", "crm", "-o", "header"}} {
		if code, screen := w.terminal(args...).end(); code != 2 || !strings.Contains(screen, "a token is not written to a terminal: pipe it into what needs it, or say --print") || strings.Contains(screen, token) {
			t.Errorf("%q: got exit code %d and %q, want 2 and no token", args, code, screen)
		}
	}
	if code, screen := w.terminal("token", "crm", "--print").end(); code != 0 || screen != token+"\n" {
		t.Errorf("got exit code %d and %q, want the token", code, screen)
	}
}

func TestPrompts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	term := w.terminal("profile", "add")
	term.answer("ID of the profile", "shop\n")
	term.answer("Provider: ", "shopify\n")
	term.answer("such as ", "acme\n") // the name of the shop
	term.answer("On behalf of", "\n")
	term.answer("Client ID: ", "the-client\n")
	term.answer("Client secret", "hunter2\n")
	term.answer("Scopes", "read_orders write_orders\n")
	code, screen := term.end()
	if code != 0 || strings.Contains(screen, "hunter2") || !strings.Contains(screen, "next: authprofile connect shop") {
		t.Errorf("got exit code %d and %q, want 0, without the secret", code, screen)
	}
	shown := w.ok("profile", "show", "shop")
	for _, want := range []string{"Template\tshopify/acme\n", "Client ID\tthe-client\n", "(a secret is stored)", "Scopes\tread_orders write_orders\n"} {
		if !strings.Contains(shown, want) {
			t.Errorf("got %s, want %q", shown, want)
		}
	}

	// Ctrl-C at a secret.
	term = w.terminal("profile", "add", "other", "--provider", "github", "--client-id", "x")
	term.answer("Client secret", "half\x03")
	if code, screen := term.end(); code != 1 || !strings.HasSuffix(screen, "authprofile: interrupted\n") || strings.Contains(screen, "half") {
		t.Errorf("got exit code %d and %q, want 1 and a word", code, screen)
	}
	w.fails(1, `there is no profile "other"`, "profile", "show", "other")

	// A deletion is asked for.
	term = w.terminal("profile", "delete", "shop")
	term.answer(`Delete profile "shop" and its 0 grants? [y/N]`, "\n")
	if code, _ := term.end(); code != 1 {
		t.Errorf("got exit code %d, want 1", code)
	}
	term = w.terminal("profile", "delete", "shop")
	term.answer("[y/N]", "y\n")
	if code, _ := term.end(); code != 0 {
		t.Errorf("got exit code %d, want 0", code)
	}

	// Columns, local times and colours; none of these with NO_COLOR.
	_, screen = w.terminal("profile", "list").end()
	if !strings.HasPrefix(screen, "\x1b[1mID\x1b[0m   \x1b[1mNAME\x1b[0m") || strings.Contains(screen, "\t") {
		t.Errorf("got %q, want a table", screen)
	}
	w.env["NO_COLOR"] = "1"
	if _, screen = w.terminal("profile", "list").end(); !strings.HasPrefix(screen, "ID   NAME") || strings.Contains(screen, "\x1b") {
		t.Errorf("got %q, want a table without colours", screen)
	}
}
