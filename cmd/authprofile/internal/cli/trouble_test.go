package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/authprofile/authprofile/sealed"
)

// TestThreat168_NoFlagTakesASecret: no flag of any command takes a secret, and an
// address or keys on the command line must have none in them.
func TestThreat168_NoFlagTakesASecret(t *testing.T) {
	t.Parallel()
	harmless := []string{"client-secret-from", "client-key-from", "secret-expires", "token-url", "token-param", "keys"}
	secret := regexp.MustCompile(`secret|password|token|key(s|$)|code`)
	var look func(cmd *cobra.Command)
	look = func(cmd *cobra.Command) {
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			if secret.MatchString(f.Name) && !slices.Contains(harmless, f.Name) {
				t.Errorf("%s --%s: got a flag that may take a secret, want none", cmd.CommandPath(), f.Name)
			}
		})
		for _, below := range cmd.Commands() {
			look(below)
		}
	}
	look(newRoot(&app{}))

	w := newWorld(t)
	for _, address := range []string{"postgres://me:hunter2@db.example/auth", "postgres://db.example/auth?password=hunter2", "mysql://me:hunter2@db.example/auth", "postgres://me:hunter2@%zz/auth"} {
		code, _, stderr := w.run("profile", "list", "--store", address)
		if code != 2 || !strings.Contains(stderr, "AUTHPROFILE_STORE") || strings.Contains(stderr, "hunter2") {
			t.Errorf("%s: got exit code %d and %q, want 2 and what to do", address, code, stderr)
		}
	}
	w.fails(2, "put them into a file", "profile", "list", "--keys", "keys:one hunter2")
}

// TestThreat169_Files: a database or a key file that others can use, or that is not a
// file, is refused with the command that mends it.
func TestThreat169_Files(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		return // the mode of a file says nothing there
	}
	for _, name := range []string{"auth.db", "keys"} {
		w := newWorld(t)
		path := filepath.Join(w.dir, name)
		for _, mode := range []os.FileMode{0o640, 0o604, 0o660, 0o620} {
			if err := os.Chmod(path, mode); err != nil {
				t.Fatal(err)
			}
			w.fails(1, path+" can be used by other users of this machine: chmod 600 "+path, "profile", "list")
		}
		if os.Geteuid() == 0 { // who alone can give a file away
			os.Chmod(path, 0o600)
			if err := os.Chown(path, 12345, -1); err != nil {
				t.Fatal(err)
			}
			w.fails(1, path+" belongs to another user of this machine", "profile", "list")
			os.Chown(path, 0, -1)
		}
		if err := os.Rename(path, path+".real"); err != nil {
			t.Fatal(err)
		}
		os.Chmod(path+".real", 0o600)
		if err := os.Symlink(path+".real", path); err != nil {
			t.Fatal(err)
		}
		w.fails(1, path+" is a symbolic link: name the file that it leads to: realpath "+path, "profile", "list")
		os.Remove(path)
		if err := os.Mkdir(path, 0o700); err != nil {
			t.Fatal(err)
		}
		w.fails(1, path+" is a directory", "profile", "list")
	}
}

func TestKeys(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	path := filepath.Join(w.dir, "keys")
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	w.ok("connect", "crm", "--user", "ada")

	// In the environment itself.
	ring, err := parseKeys(string(content))
	if err != nil || len(ring.keys) != 1 {
		t.Fatalf("got %v and %v, want a key", ring, err)
	}
	keys := ring.keys
	_, line, _ := strings.Cut(strings.TrimSpace(string(content)), "\n"+keys[0].ID)
	w.env["AUTHPROFILE_KEYS"] = "keys:" + keys[0].ID + line
	w.ok("token", "crm")
	w.env["AUTHPROFILE_KEYS"] = "keys:only-an-id"
	w.fails(1, "AUTHPROFILE_KEYS: an ID or a key is missing", "token", "crm")

	// A file that is lost is not made anew: what is there would never be read again.
	w.env["AUTHPROFILE_KEYS"] = path
	if err := os.Rename(path, path+".lost"); err != nil {
		t.Fatal(err)
	}
	w.fails(1, "there is no key file "+path+", and what is in the database was encrypted", "profile", "add", "x", "--provider", "github", "--client-id", "x")
	if _, err := os.Stat(path); err == nil {
		t.Error("got a new key file, want none")
	}

	// Other keys.
	if err := os.WriteFile(path, formatKeys([]sealed.Key{newSealKey()}, ""), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"profile", "show", "crm"}, {"profile", "list"}, {"token", "crm"}, {"test", "crm"}} {
		w.fails(1, "say with --keys where the key ring of this database is", args...)
	}
	for text, want := range map[string]string{
		"":                       "there is no key in it",
		"# nothing\n":            "there is no key in it",
		"one":                    "an ID or a key is missing",
		"one hunter2":            "key 1 is not 32 bytes in base64",
		keys[0].ID + line + " x": "an ID or a key is missing",
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		w.fails(1, want, "profile", "list")
		if _, _, stderr := w.run("profile", "list"); strings.Contains(stderr, "hunter2") {
			t.Errorf("got %q, want nothing of a key", stderr)
		}
	}
}

func TestDatabases(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.env["AUTHPROFILE_STORE"] = "oracle://x"
	w.fails(2, "must begin with sqlite:, postgres:// or mysql://", "profile", "list")
	w.env["AUTHPROFILE_STORE"] = "sqlite::memory:"
	w.fails(2, "needs the path of a file", "profile", "list")
	w.env["AUTHPROFILE_STORE"] = "sqlite:" + filepath.Join(w.dir, "other.db")
	w.fails(1, "other.db yet", "token", "crm")
	for _, address := range []string{"postgres://me:hunter2@127.0.0.1:1/auth", "mysql://me:hunter2@127.0.0.1:1/auth"} {
		w.env["AUTHPROFILE_STORE"] = address
		w.fails(5, "at 127.0.0.1:1 cannot be reached (connection refused): correct the address, or try later", "profile", "list")
		if _, _, stderr := w.run("profile", "list"); strings.Contains(stderr, "hunter2") {
			t.Errorf("got %q, want it without the password", stderr)
		}
	}
	w.env["AUTHPROFILE_STORE"] = "mysql://me@db.example"
	w.fails(2, "mysql://USER@HOST:PORT/NAME", "profile", "list")
	w.env["AUTHPROFILE_STORE"] = "postgres://me@db.example:port/x"
	w.fails(2, "postgres://USER@HOST:PORT/NAME", "profile", "list")

	garbage := filepath.Join(w.dir, "garbage.db")
	if err := os.WriteFile(garbage, bytes.Repeat([]byte("not a database. "), 100), 0o600); err != nil {
		t.Fatal(err)
	}
	w.env["AUTHPROFILE_STORE"] = "sqlite:" + garbage
	w.fails(1, "is not a SQLite database, or is damaged", "profile", "list")

	w.env["AUTHPROFILE_STORE"] = "sqlite:" + filepath.Join(w.dir, "auth.db")
	w.exec("INSERT INTO authprofile_schema (step, applied) VALUES (999, '2030-01-01T00:00:00.000Z')")
	w.fails(1, "has tables of a newer release: install a newer authprofile", "token", "crm")
	w.exec("DELETE FROM authprofile_schema WHERE step = 999")
	w.ok("profile", "list")

	// Tables of another prefix are others.
	w.fails(1, "has no tables yet", "profile", "list", "--table-prefix", "other_")
	w.fails(2, "--table-prefix: ", "profile", "list", "--table-prefix", "Other!")

	// What is done can be seen, and is no output.
	w.ok("profile", "add", "ci", "--type", "app", "--provider", w.srv.DiscoveryURL(), "--client-id", "client", "--client-secret-from", "env:CLIENT_SECRET")
	if code, stdout, stderr := w.run("token", "ci", "--verbose"); code != 0 || strings.Count(stdout, "\n") != 1 || !strings.Contains(stderr, "level=INFO") || strings.Contains(stderr, strings.TrimSpace(stdout)) {
		t.Errorf("got exit code %d, %q and %q, want a token and, apart from it, what was done", code, stdout, stderr)
	}
}

// What a database refuses is said with what to do, and nothing is lost.
func TestThreat173_ReadOnlyAndFull(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ pragma, want string }{
		{"PRAGMA query_only = 1", "is read-only: make it writable"},
		{"PRAGMA max_page_count = 1", "the disk is full: make room on it"},
	} {
		w := newWorld(t)
		var stdout, stderr bytes.Buffer
		a := w.app(strings.NewReader(""), &stdout, &stderr, nil)
		if _, err := a.open(t.Context(), existing); err != nil {
			t.Fatal(err)
		}
		a.opened.db.SetMaxOpenConns(1)
		if _, err := a.opened.db.Exec(c.pragma); err != nil {
			t.Fatal(err)
		}
		code := a.run(t.Context(), []string{"profile", "add", "large", "--provider", "github", "--client-id", "x", "--description", strings.Repeat("x", 4096)})
		if code != 1 || !strings.Contains(stderr.String(), c.want) || strings.Count(stderr.String(), "\n") != 1 {
			t.Errorf("%s: got exit code %d and %q, want 1 and %q", c.pragma, code, stderr.String(), c.want)
		}
		if n := strings.Count(stderr.String(), "read-only"); n > 1 {
			t.Errorf("%s: got %q, want it said once", c.pragma, stderr.String())
		}
		w.ok("profile", "show", "crm")
	}
}

func TestMySQLAddress(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{
		"mysql://me:p%40ss%2Fword@db.example:3307/auth":             "me:p@ss/word@tcp(db.example:3307)/auth?timeout=10s",
		"mysql://me@db.example/auth?tls=skip-verify":                "me@tcp(db.example:3306)/auth?timeout=10s&tls=skip-verify",
		"mariadb://me@[2001:db8::1]/auth?allowNativePasswords=true": "me@tcp([2001:db8::1]:3306)/auth?timeout=10s",
	} {
		config, err := mysqlConfig(address)
		if err != nil {
			t.Errorf("%s: %v", address, err)
		} else if got := config.FormatDSN(); got != want {
			t.Errorf("%s: got %s, want %s", address, got, want)
		}
	}
}
