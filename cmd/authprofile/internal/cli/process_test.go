package cli

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	xterm "golang.org/x/term"

	"github.com/authprofile/authprofile"
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

// TestThreat173_Signals: a renewal under way is finished and stored after Ctrl-C, after
// SIGTERM, and when the terminal is gone.
func TestThreat173_Signals(t *testing.T) {
	t.Parallel()
	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
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

// Signals that a process was started to ignore, as by nohup, it ignores.
func TestIgnoredSignals(t *testing.T) {
	w, renew := connected(t)
	w.srv.Fault(providertest.Token, providertest.Fault{Grant: "refresh_token", Hang: true})
	cmd := w.process(renew...)
	cmd.Args = append([]string{"sh", "-c", `trap "" HUP INT; exec "$0" "$@"`, cmd.Path}, cmd.Args[1:]...)
	cmd.Path = "/bin/sh"
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if err := w.srv.AwaitHang(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	for _, signal := range []syscall.Signal{syscall.SIGHUP, syscall.SIGINT} {
		if err := cmd.Process.Signal(signal); err != nil {
			t.Fatal(err)
		}
	}
	w.srv.Release()
	cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 0 || w.api(stdout.String()) != http.StatusOK {
		t.Errorf("got exit code %d, %q and %q, want 0 and a token", code, stdout.String(), stderr.String())
	}
}

// TestThreat173_NotStored: the database refuses what the provider has issued. The
// token is printed all the same, and is stored if the database takes it in time;
// otherwise the exit code says that something has to be mended, also after an
// interrupt.
func TestThreat173_NotStored(t *testing.T) {
	for _, c := range []struct {
		name      string
		mended    bool
		interrupt bool
	}{{name: "for ever"}, {name: "for a while", mended: true}, {name: "interrupted", interrupt: true}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w, renew := connected(t)
			w.srv.Fault(providertest.Token, providertest.Fault{Grant: "refresh_token", Hang: true})
			var stdout bytes.Buffer
			stderr := newWatched()
			a := w.app(nil, &stdout, stderr, nil)
			if !c.mended {
				a.patience = 100 * time.Millisecond
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			ended := make(chan int, 1)
			go func() { ended <- a.run(ctx, renew) }()
			if err := w.srv.AwaitHang(t.Context(), 1); err != nil {
				t.Fatal(err)
			}
			w.exec("CREATE TRIGGER refuse BEFORE UPDATE ON authprofile_grants BEGIN SELECT RAISE(ABORT, 'refused'); END")
			if c.interrupt {
				cancel()
			}
			w.srv.Release()
			if c.mended {
				stderr.after(t.Context(), "a token is being renewed or stored") // it waits
				w.exec("DROP TRIGGER refuse")
				if code := <-ended; code != 0 || w.api(stdout.String()) != http.StatusOK {
					t.Errorf("got exit code %d, %q and %q, want 0 and a token", code, stdout.String(), stderr)
				}
				if g := w.grant("ada"); g == nil || !w.srv.IsCurrent(string(g.RefreshToken)) {
					t.Errorf("got %v, want the grant that the provider has issued", g)
				}
				return
			}
			if code := <-ended; code != 1 || !strings.Contains(stderr.String(), "could not be stored, and its user may have to authorize again") {
				t.Errorf("got exit code %d, %q and %q, want 1 and a word", code, stdout.String(), stderr)
			}
			if !c.interrupt && w.api(stdout.String()) != http.StatusOK {
				t.Errorf("got %q, want the token", stdout.String())
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

	// A long secret, mended before it is sent.
	long := strings.Repeat("s", 2000)
	term = w.terminal("profile", "add", "long", "--provider", "github", "--client-id", "x", "--scope", "y")
	term.answer("Client secret", "wrong\x15"+long+"!\x7f\r")
	if code, screen := term.end(); code != 0 || strings.Contains(screen, long[:10]) || strings.Contains(screen, "wrong") {
		t.Errorf("got exit code %d and %q, want 0, without the secret", code, screen)
	}
	w.manager(func(m *authprofile.Manager) {
		p, err := m.Profile(t.Context(), "long")
		if err != nil || string(p.ClientSecret) != long {
			t.Errorf("got error %v, or another secret than was typed", err)
		}
	})

	w.ok("profile", "delete", "long", "--yes")

	// What is there already is said before anything is asked for.
	if code, screen := w.terminal("profile", "add", "shop").end(); code != 1 || !strings.HasPrefix(screen, `authprofile: there is a profile "shop" already`) {
		t.Errorf("got exit code %d and %q, want 1 and no question", code, screen)
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

// A callback that is longer than a line of the terminal can be pasted, and mended
// before it is sent; the terminal is as it was before when the program ends.
func TestConnectPasteOnTerminal(t *testing.T) {
	w := newWorld(t)
	paste := func(text func(back string) string) (code int, screen string) {
		t.Helper()
		term := w.terminal("connect", "crm", "--user", "ada", "--no-browser")
		before, err := xterm.GetState(int(term.keys.Fd()))
		if err != nil {
			t.Fatal(err)
		}
		address := strings.TrimSpace(term.screen.after(t.Context(), "Open this address in a browser:\r\n\r\n"))
		c := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
		resp, err := c.Get(address)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		term.answer("paste the address of that page here.", text(resp.Header.Get("Location")))
		term.cmd.Wait()
		if after, err := xterm.GetState(int(term.keys.Fd())); err != nil || !reflect.DeepEqual(after, before) {
			t.Errorf("got the terminal in state %v and error %v, want %v as before", after, err, before)
		}
		return term.end()
	}
	long := "&padding=" + strings.Repeat("x", 6000)
	code, screen := paste(func(back string) string { return "what?\rnonsense\x15" + back + long + "yz\x7f\b\r" })
	if code != 0 || !strings.HasSuffix(screen, "Connected crm for ada as ada@example.com.\n") {
		t.Errorf("got exit code %d and %q, want 0", code, strings.ReplaceAll(screen, strings.Repeat("x", 100), "X"))
	}
	if !strings.Contains(screen, "beginning with http://127.0.0.1:") {
		t.Errorf("got %.300q, want that the first line is refused", screen)
	}
	if code, screen = paste(func(string) string { return "half\x03" }); code != 1 || !strings.HasSuffix(screen, "authprofile: interrupted\n") {
		t.Errorf("got exit code %d and %q, want 1 and a word", code, screen)
	}
	if got := w.flows(); got != 0 {
		t.Errorf("got %d flows, want none", got)
	}
}
