package peertest

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/authprofile/authprofile"
	"github.com/authprofile/authprofile/internal/peertest/databases"
	"github.com/authprofile/authprofile/internal/peertest/require"
	"github.com/authprofile/authprofile/providertest"
	"github.com/authprofile/authprofile/sealed"
)

// wrongPassword must not be seen in any output.
const wrongPassword = "hunter2-of-the-database"

// buildCLI builds the command line program, and returns its path.
func buildCLI(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "authprofile")
	build := exec.Command("go", "build", "-o", program, ".")
	build.Dir = "../../cmd/authprofile"
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return program
}

// A cli runs the command line program on a database.
type cli struct {
	t              *testing.T
	program, store string
	env            []string
}

// at is the same with another address of the database.
func (c cli) at(store string) cli {
	c.store = store
	return c
}

func (c cli) command(args ...string) *exec.Cmd {
	cmd := exec.Command(c.program, args...)
	cmd.Env = append(c.env, "AUTHPROFILE_STORE="+c.store)
	return cmd
}

func (c cli) run(args ...string) (code int, stdout, stderr string) {
	c.t.Helper()
	var out, errs bytes.Buffer
	cmd := c.command(args...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	cmd.Run()
	if strings.Contains(out.String()+errs.String(), wrongPassword) {
		c.t.Errorf("%q: got %q and %q, want no password in it", args, out.String(), errs.String())
	}
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}

// ok runs a command that succeeds, and returns its standard output.
func (c cli) ok(args ...string) string {
	c.t.Helper()
	code, stdout, stderr := c.run(args...)
	if code != 0 {
		c.t.Fatalf("%q: got exit code %d and %q, want 0", args, code, stderr)
	}
	return stdout
}

// fails runs a command that fails with an exit code and one line with these words.
func (c cli) fails(code int, words string, args ...string) {
	c.t.Helper()
	got, stdout, stderr := c.run(args...)
	if got != code || stdout != "" || !strings.Contains(stderr, words) || strings.Count(stderr, "\n") != 1 {
		c.t.Errorf("%q: got exit code %d, %q and %q, want %d, nothing and one line with %q", args, got, stdout, stderr, code, words)
	}
}

// connect authorizes by a browser that follows the printed address, and returns
// standard output.
func (c cli) connect(args ...string) string {
	c.t.Helper()
	cmd := c.command(append([]string{"connect", "--no-browser"}, args...)...)
	var out bytes.Buffer
	cmd.Stdout = &out
	stderr, err := cmd.StderrPipe()
	if err != nil {
		c.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	lines := bufio.NewScanner(stderr)
	var said []string
	for lines.Scan() {
		said = append(said, lines.Text())
		if strings.HasPrefix(lines.Text(), "http") {
			resp, err := http.Get(lines.Text())
			if err != nil {
				c.t.Fatal(err)
			}
			resp.Body.Close()
		}
	}
	if err := cmd.Wait(); err != nil {
		c.t.Fatalf("connect: %v\n%s", err, strings.Join(said, "\n"))
	}
	return out.String()
}

// The command line works on the servers that services use: beside a Manager, for a
// user who may only read, and with something to say when it cannot.
func TestCommandLine(t *testing.T) {
	require.Long(t, "the command line on PostgreSQL and MariaDB")
	program := buildCLI(t)
	t.Run(postgres.name, func(t *testing.T) {
		t.Parallel()
		server := databases.NewPostgres(t)
		admin := postgres.open(t, server.DSN())
		dsn := server.Database(t)
		mustExec(t, admin, "CREATE ROLE reader LOGIN PASSWORD 'the right one'")
		mustExec(t, admin, "GRANT pg_read_all_data TO reader")
		hba := filepath.Join(server.Dir(), "data", "pg_hba.conf")
		rules, err := os.ReadFile(hba)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(hba, append([]byte("host all reader 127.0.0.1/32 scram-sha-256\n"), rules...), 0o600); err != nil {
			t.Fatal(err)
		}
		mustExec(t, admin, "SELECT pg_reload_conf()")
		runCommandLine(t, program, postgres, server, dsn, dsn)
	})
	t.Run(mariadb.name, func(t *testing.T) {
		t.Parallel()
		server := databases.NewMariaDB(t)
		admin := mariadb.open(t, server.DSN())
		dsn := server.Database(t)
		mustExec(t, admin, "CREATE USER reader@'%' IDENTIFIED BY 'the right one'")
		mustExec(t, admin, "GRANT SELECT ON `test%`.* TO reader@'%'")
		_, name, _ := strings.Cut(dsn, ")/")
		runCommandLine(t, program, mariadb, server, dsn, "mysql://test@"+server.Addr()+"/"+name)
	})
}

func runCommandLine(t *testing.T, program string, tg target, server *databases.Server, dsn, address string) {
	secret := make([]byte, 32)
	rand.Read(secret)
	srv := providertest.NewServer(t)
	policy := srv.Policy()
	policy.TokenLifetime = 20 * time.Second
	srv.SetPolicy(policy)
	c := cli{t, program, address, []string{
		"HOME=" + t.TempDir(), "PATH=" + os.Getenv("PATH"), "TZ=America/New_York",
		"CLIENT_SECRET=" + providertest.ClientSecret,
		"AUTHPROFILE_KEYS=keys:one " + base64.StdEncoding.EncodeToString(secret),
	}}

	c.fails(1, `has no tables yet: "authprofile profile add" makes them`, "profile", "list")
	add := func(id string) []string {
		return []string{"profile", "add", id, "--provider", srv.DiscoveryURL(), "--client-id", providertest.ClientID,
			"--client-secret-from", "env:CLIENT_SECRET", "--scope", "offline_access"}
	}
	c.ok(add("crm")...)
	c.fails(1, `there is a profile "crm" already`, add("crm")...)
	if got := c.ok("profile", "list"); !strings.HasPrefix(got, "crm\t") || strings.Count(got, "\n") != 1 {
		t.Errorf("profile list: got %q, want crm alone", got)
	}
	c.fails(4, "run: authprofile connect crm --user ada", "token", "crm", "--user", "ada")
	c.fails(1, `there is no profile "nothing"`, "token", "nothing")
	shown := c.connect("crm", "--user", "ada", "--output", "json") + c.ok("profile", "show", "crm", "--output", "json")
	if strings.Contains(shown, `-05:00"`) || strings.Contains(shown, `-04:00"`) || strings.Count(shown, `Z"`) < 4 {
		t.Errorf("got %s, want times in UTC", shown)
	}
	token := c.ok("token", "crm")
	if again := c.ok("token", "crm"); again != token {
		t.Errorf("got another token, want the stored one")
	}

	// Processes that renew at once, and a Manager beside them.
	ring, err := sealed.NewKeyring(sealed.Key{ID: "one", Secret: secret})
	if err != nil {
		t.Fatal(err)
	}
	m := &authprofile.Manager{Store: sealed.New(tg.unmigrated(t, tg.open(t, dsn), ""), ring)}
	key := authprofile.GrantKey{ProfileID: "crm", User: "ada"}
	policy.TokenLifetime = time.Hour
	srv.SetPolicy(policy)
	p, err := m.Profile(t.Context(), "crm")
	if err != nil {
		t.Fatal(err)
	}
	old, err := m.Token(t.Context(), p, authprofile.AsUser("ada"))
	if err != nil {
		t.Fatal(err)
	}
	var renewals sync.WaitGroup
	tokens := make([]string, 4)
	for i := range tokens {
		renewals.Go(func() {
			if i == 0 {
				tok, err := m.Token(t.Context(), p, authprofile.AsUser("ada"), authprofile.Rejected(old))
				if err != nil {
					t.Errorf("the Manager: %v", err)
					return
				}
				tokens[i] = tok.AccessToken
				return
			}
			code, stdout, stderr := c.run("token", "crm", "--min-valid", "19999ms")
			if code != 0 {
				t.Errorf("token: got exit code %d and %q, want 0", code, stderr)
			}
			tokens[i] = strings.TrimSpace(stdout)
		})
	}
	renewals.Wait()
	for _, got := range tokens[1:] {
		if got != tokens[0] || got == strings.TrimSpace(token) {
			t.Errorf("got different tokens, want one that is new")
		}
	}
	if n := srv.Count("refresh_token"); n != 1 {
		t.Errorf("got %d renewals, want 1", n)
	}
	if g, err := m.Grant(t.Context(), key); err != nil || !srv.IsCurrent(string(g.RefreshToken)) {
		t.Errorf("got %v and %v, want the grant that the provider has issued", g, err)
	}
	if err := m.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}

	// A user who may only read.
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	as := func(user, password string) cli {
		other := *u
		other.User = url.UserPassword(user, password)
		return c.at(other.String())
	}
	reader := as("reader", "the right one")
	if got := reader.ok("token", "crm"); strings.TrimSpace(got) != tokens[0] {
		t.Errorf("a reader: got another token, want the stored one")
	}
	reader.ok("profile", "list")
	reader.fails(1, "the user lacks the right: grant it", add("other")...)

	// What is wrong with the address.
	as("reader", wrongPassword).fails(1, "the user, the password or the name of the database is wrong", "token", "crm")
	gone := *u
	gone.Path = "/nothing"
	c.at(gone.String()).fails(1, "there is no database of that name", "token", "crm")
	c.fails(1, "has no tables yet", "token", "crm", "--table-prefix", "other_")

	// The server is away, and comes back.
	server.Stop()
	for _, args := range [][]string{{"profile", "list"}, {"token", "crm"}, add("other")} {
		c.fails(5, "cannot be reached", args...)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	if got := strings.TrimSpace(c.ok("token", "crm")); got != tokens[0] {
		t.Errorf("got another token, want the stored one")
	}
	c.ok("profile", "delete", "crm", "--yes")
}
