package cli

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"io"
	"net/http"
	"net/http/cookiejar"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/authprofile/authprofile"
	"github.com/authprofile/authprofile/providertest"
)

// lifetime is that of a token which lives just longer than is asked for.
const lifetime = 20 * time.Second

// A world is a user with a database of their own, and a provider.
type world struct {
	t   testing.TB
	srv *providertest.Server
	dir string
	env map[string]string
}

// newWorld returns a world with the user profile "crm".
func newWorld(t testing.TB) *world {
	w := &world{t: t, srv: providertest.NewServer(t), dir: t.TempDir()}
	w.env = map[string]string{
		"AUTHPROFILE_STORE": "sqlite:" + filepath.Join(w.dir, "auth.db"),
		"AUTHPROFILE_KEYS":  filepath.Join(w.dir, "keys"),
		"CLIENT_SECRET":     providertest.ClientSecret,
	}
	w.srv.SetConsent(providertest.Consent{Subject: "ada-at-provider", Claims: map[string]any{"email": "ada@example.com"}})
	w.ok("profile", "add", "crm", "--provider", w.srv.DiscoveryURL(), "--client-id", providertest.ClientID,
		"--client-secret-from", "env:CLIENT_SECRET", "--scope", "openid", "--scope", "offline_access")
	return w
}

// app returns a run of the program whose browser is a function; nil is one that
// follows the address to its end.
func (w *world) app(stdin io.Reader, stdout, stderr io.Writer, browse func(string) error) *app {
	if browse == nil {
		browse = func(address string) error { return follow(newBrowser(w.t), address) }
	}
	return &app{stdin: stdin, stdout: stdout, stderr: stderr, env: w.env, browse: browse}
}

// run runs a command line.
func (w *world) run(args ...string) (code int, stdout, stderr string) {
	w.t.Helper()
	var out, errs bytes.Buffer
	code = w.app(strings.NewReader(""), &out, &errs, nil).run(w.t.Context(), args)
	return code, out.String(), errs.String()
}

// ok runs a command line that succeeds, and returns its standard output.
func (w *world) ok(args ...string) string {
	w.t.Helper()
	code, stdout, stderr := w.run(args...)
	if code != 0 {
		w.t.Fatalf("%q: got exit code %d and %s, want 0", args, code, stderr)
	}
	return stdout
}

// fails runs a command line that fails with an exit code, and with these words on
// standard error, in one line.
func (w *world) fails(code int, words string, args ...string) {
	w.t.Helper()
	got, stdout, stderr := w.run(args...)
	if got != code || !strings.Contains(stderr, words) || strings.Count(stderr, "\n") != 1 || stdout != "" {
		w.t.Errorf("%q: got exit code %d, %q and %q, want %d, nothing and one line with %q", args, got, stdout, stderr, code, words)
	}
}

// manager runs f with a Manager on the same database.
func (w *world) manager(f func(m *authprofile.Manager)) {
	w.t.Helper()
	a := w.app(nil, io.Discard, io.Discard, nil)
	m, err := a.open(w.t.Context(), existing)
	if err != nil {
		w.t.Fatal(err)
	}
	f(m)
	if err := a.close(w.t.Context()); err != nil {
		w.t.Error(err)
	}
}

// grant returns the grant of a user of "crm"; nil if there is none.
func (w *world) grant(user string) (g *authprofile.Grant) {
	w.t.Helper()
	w.manager(func(m *authprofile.Manager) {
		var err error
		if g, err = m.Grant(w.t.Context(), authprofile.GrantKey{ProfileID: "crm", User: user}); err != nil && !errors.Is(err, authprofile.ErrNotFound) {
			w.t.Fatal(err)
		}
	})
	return g
}

// exec runs a statement in the database.
func (w *world) exec(statement string) {
	w.t.Helper()
	db, err := sql.Open("sqlite", filepath.Join(w.dir, "auth.db"))
	if err != nil {
		w.t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(statement); err != nil {
		w.t.Fatal(err)
	}
}

// flows returns how many flows are stored.
func (w *world) flows() (n int) {
	w.t.Helper()
	db, err := sql.Open("sqlite", filepath.Join(w.dir, "auth.db"))
	if err != nil {
		w.t.Fatal(err)
	}
	defer db.Close()
	if err := db.QueryRow("SELECT COUNT(*) FROM authprofile_flows").Scan(&n); err != nil {
		w.t.Fatal(err)
	}
	return n
}

// api returns the status of the provider's API with a printed token.
func (w *world) api(printed string) int {
	w.t.Helper()
	req, err := http.NewRequest("GET", w.srv.APIURL(), nil)
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+strings.TrimSuffix(printed, "\n"))
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	resp.Body.Close()
	return resp.StatusCode
}

// newBrowser returns a browser, which keeps cookies.
func newBrowser(t testing.TB) *http.Client {
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &http.Client{Jar: jar}
}

// follow opens an address, and goes where it leads. That the program says no to the
// browser is no error.
func follow(browser *http.Client, address string) error {
	resp, err := browser.Get(address)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}

// A watched is an output in which a test waits for a text.
type watched struct {
	mu      sync.Mutex
	text    strings.Builder
	seen    int // by has
	changed chan struct{}
}

func newWatched() *watched { return &watched{changed: make(chan struct{}, 1)} }

func (w *watched) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.text.Write(p)
	select {
	case w.changed <- struct{}{}:
	default:
	}
	return len(p), nil
}

func (w *watched) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.String()
}

// after waits for a mark, and returns the line that follows it.
func (w *watched) after(ctx context.Context, mark string) string {
	for {
		if _, rest, ok := strings.Cut(w.String(), mark); ok {
			if line, _, ok := strings.Cut(rest, "\n"); ok {
				return line
			}
		}
		select {
		case <-w.changed:
		case <-ctx.Done():
			return ""
		}
	}
}

// has waits until the text has a mark in it, and removes what is up to it from what
// the next call looks at.
func (w *watched) has(ctx context.Context, mark string) bool {
	for {
		w.mu.Lock()
		_, rest, ok := strings.Cut(w.text.String()[w.seen:], mark)
		if ok {
			w.seen = w.text.Len() - len(rest)
		}
		w.mu.Unlock()
		if ok {
			return true
		}
		select {
		case <-w.changed:
		case <-ctx.Done():
			return false
		}
	}
}

// command returns the path of the program, for tests that need a process.
func command(t testing.TB) string {
	t.Helper()
	for _, dir := range filepath.SplitList(os.Getenv("PATH")) {
		name := filepath.Join(dir, "authprofile")
		if _, err := os.Stat(name); err == nil {
			return name
		}
	}
	t.Fatal("the test binary has not made the program")
	return ""
}
