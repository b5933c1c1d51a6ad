// Package databases gives tests real databases: files of SQLite, and servers of
// PostgreSQL and MariaDB that are started for the test and end with it.
package databases

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	_ "github.com/go-sql-driver/mysql"
	_ "github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite"

	"github.com/authprofile/authprofile/internal/peertest/require"
)

// SQLite returns the address of a new file, for the driver "sqlite".
func SQLite(t testing.TB) string {
	t.Helper()
	return "file:" + filepath.Join(t.TempDir(), "tokens.db") + "?_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_pragma=synchronous(NORMAL)"
}

// Postgres returns the address of a new database, for the driver "pgx". All
// tests of a process share a server.
func Postgres(t testing.TB) string { return postgres.database(t) }

// MariaDB returns the address of a new database, for the driver "mysql". All
// tests of a process share a server.
func MariaDB(t testing.TB) string { return mariadb.database(t) }

// NewPostgres starts a server for this test alone.
func NewPostgres(t testing.TB) *Server { return start(t, &postgres) }

// NewMariaDB starts a server for this test alone.
func NewMariaDB(t testing.TB) *Server { return start(t, &mariadb) }

// Main runs the tests of a package and stops the servers that they share. It
// is all that a TestMain has to call.
func Main(m *testing.M) {
	code := m.Run()
	postgres.close()
	mariadb.close()
	os.Exit(code)
}

// A kind of server.
type kind struct {
	name, program, install, driver string

	// create makes the data directory, command runs a server on it.
	create  func(t testing.TB, program, dir string) error
	command func(program, dir string, port int) []string
	dsn     func(port int, database string) string
	admin   string // a database that always exists
	drop    string
	stop    syscall.Signal // to end at once, but orderly

	mu     sync.Mutex
	shared *Server
	count  atomic.Int64
}

var postgres = kind{
	name: "PostgreSQL", program: "postgres", install: "apt-get install postgresql", driver: "pgx",
	create: func(t testing.TB, program, dir string) error {
		initdb := filepath.Join(filepath.Dir(resolve(program)), "initdb")
		args := []string{initdb, "-D", filepath.Join(dir, "data"), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync", "--locale=C.UTF-8"}
		// The Store must not depend on the collation: this one orders as
		// people do, not byte by byte.
		if err := run(dir, append(args, "--locale-provider=icu", "--icu-locale=en-US")...); err != nil {
			os.RemoveAll(filepath.Join(dir, "data"))
			return run(dir, args...)
		}
		return nil
	},
	command: func(program, dir string, port int) []string {
		return []string{program, "-D", filepath.Join(dir, "data"), "-p", fmt.Sprint(port),
			"-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=",
			// Not needed for the data to survive the end of the processes.
			"-c", "fsync=off", "-c", "full_page_writes=off",
			"-c", "max_connections=400", "-c", "shared_buffers=256MB"}
	},
	dsn: func(port int, database string) string {
		return fmt.Sprintf("postgres://postgres@127.0.0.1:%d/%s?sslmode=disable", port, database)
	},
	admin: "postgres",
	drop:  "DROP DATABASE IF EXISTS %s WITH (FORCE)",
	stop:  syscall.SIGINT,
}

var mariadb = kind{
	name: "MariaDB", program: "mariadbd", install: "apt-get install mariadb-server", driver: "mysql",
	create: func(t testing.TB, program, dir string) error {
		install := require.Tool(t, "mariadb-install-db", "apt-get install mariadb-server")
		init := "CREATE USER IF NOT EXISTS test@'%' IDENTIFIED BY '';\nGRANT ALL ON *.* TO test@'%' WITH GRANT OPTION;\n"
		if err := os.WriteFile(filepath.Join(dir, "init.sql"), []byte(init), 0o644); err != nil {
			return err
		}
		return run(dir, install, "--no-defaults", "--datadir="+filepath.Join(dir, "data"),
			"--auth-root-authentication-method=normal", "--skip-test-db")
	},
	command: func(program, dir string, port int) []string {
		return []string{program, "--no-defaults", "--datadir=" + filepath.Join(dir, "data"), "--port=" + fmt.Sprint(port),
			"--bind-address=127.0.0.1", "--socket=" + filepath.Join(dir, "sock"), "--pid-file=" + filepath.Join(dir, "pid"),
			"--init-file=" + filepath.Join(dir, "init.sql"), "--innodb-flush-log-at-trx-commit=2", "--innodb-flush-method=nosync", "--innodb-doublewrite=0", "--skip-sync-frm",
			"--innodb-buffer-pool-size=256M", "--max-connections=400", "--skip-name-resolve"}
	},
	dsn: func(port int, database string) string {
		return fmt.Sprintf("test@tcp(127.0.0.1:%d)/%s", port, database)
	},
	admin: "mysql",
	drop:  "DROP DATABASE IF EXISTS %s",
	stop:  syscall.SIGTERM,
}

// database makes a database on the shared server, which is started first if
// it does not run.
func (k *kind) database(t testing.TB) string {
	t.Helper()
	return k.server(t).Database(t)
}

func (k *kind) server(t testing.TB) *Server {
	t.Helper()
	k.mu.Lock()
	defer k.mu.Unlock() // newServer may end the test
	if k.shared == nil {
		k.shared = newServer(t, k)
	}
	return k.shared
}

func (k *kind) close() {
	if k.shared != nil {
		k.shared.Kill()
		os.RemoveAll(k.shared.dir)
	}
}

// A Server is a database server on a port of its own.
type Server struct {
	kind    *kind
	program string
	dir     string
	port    int
	process process
}

func start(t testing.TB, k *kind) *Server {
	t.Helper()
	s := newServer(t, k)
	t.Cleanup(func() {
		s.Kill()
		os.RemoveAll(s.dir)
	})
	return s
}

func newServer(t testing.TB, k *kind) *Server {
	t.Helper()
	program := require.Tool(t, k.program, k.install)
	dir, err := os.MkdirTemp(parent(), "authprofile-"+k.program+"-")
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{kind: k, program: program, dir: dir}
	err = giveAway(dir)
	if err == nil {
		err = k.create(t, program, dir)
	}
	if err == nil {
		s.port, err = freePort()
	}
	if err == nil {
		err = s.Start()
	}
	if err != nil {
		os.RemoveAll(dir)
		t.Fatalf("starting %s: %v", k.name, err)
	}
	return s
}

// DSN returns the address of a database that every server has.
func (s *Server) DSN() string { return s.kind.dsn(s.port, s.kind.admin) }

// Addr returns host and port.
func (s *Server) Addr() string { return fmt.Sprintf("127.0.0.1:%d", s.port) }

// Dir returns the directory that the server keeps everything in.
func (s *Server) Dir() string { return s.dir }

// Driver returns the name under which the driver is registered.
func (s *Server) Driver() string { return s.kind.driver }

// Database makes a database that is dropped when the test ends, and returns
// its address.
func (s *Server) Database(t testing.TB) string {
	t.Helper()
	return s.kind.dsn(s.port, s.database(t))
}

func (s *Server) database(t testing.TB) string {
	t.Helper()
	name := fmt.Sprintf("test%d", s.kind.count.Add(1))
	s.do(t, "CREATE DATABASE "+name)
	t.Cleanup(func() {
		if s.process.running() { // a test may have ended it
			s.do(t, fmt.Sprintf(s.kind.drop, name))
		}
	})
	return name
}

func (s *Server) do(t testing.TB, statement string) {
	t.Helper()
	db, err := sql.Open(s.kind.driver, s.DSN())
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(context.Background(), statement); err != nil {
		t.Fatalf("%s: %s: %v", s.kind.name, statement, err)
	}
}

// Start runs the server, and returns once it answers. It is for one that was
// stopped or killed.
func (s *Server) Start() error {
	const patience = 60 * time.Second
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	db, err := sql.Open(s.kind.driver, s.DSN())
	if err != nil {
		return err
	}
	defer db.Close()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if !s.process.running() {
			// A server that was killed may leave children that hold its
			// memory for a moment, so that the next one refuses to start.
			if err := s.process.start(s.dir, s.kind.command(s.program, s.dir, s.port)...); err != nil {
				return err
			}
		}
		if err = db.PingContext(ctx); err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("no answer after %v: %w\n%s", patience, err, s.process.log())
		}
	}
}

// Stop ends the server as an operator would, and waits for its end.
func (s *Server) Stop() { s.process.stop(s.kind.stop) }

// Kill ends the server without notice, and waits for its end.
func (s *Server) Kill() { s.process.kill() }

// Restart stops the server and starts it again, on the same port and data.
func (s *Server) Restart() error {
	s.Stop()
	return s.Start()
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// parent returns a directory that every user may pass: a server refuses to run
// as root, and is then run as another user.
func parent() string {
	dir := os.TempDir()
	for d := dir; ; d = filepath.Dir(d) {
		if info, err := os.Stat(d); err != nil || info.Mode()&1 == 0 {
			return "/tmp"
		}
		if d == filepath.Dir(d) {
			return dir
		}
	}
}

func resolve(path string) string {
	if p, err := filepath.EvalSymlinks(path); err == nil {
		return p
	}
	return path
}

// A process is a program that ends with this one.
type process struct {
	mu   sync.Mutex
	file string // its output
	p    *os.Process
	end  error         // why it ended, if not by itself and well
	done chan struct{} // closed at its end
}

func (p *process) start(dir string, command ...string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.file = filepath.Join(dir, "log")
	out, err := os.OpenFile(p.file, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer out.Close()
	started := make(chan error)
	p.done = make(chan struct{})
	go func() {
		// The kernel ends a child with the thread that has started it, not
		// with the process.
		runtime.LockOSThread()
		child, err := os.StartProcess(command[0], command, &os.ProcAttr{
			Dir: dir, Env: []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C"}, Files: []*os.File{nil, out, out}, Sys: attributes(),
		})
		p.p = child
		started <- err
		if err == nil {
			var state *os.ProcessState
			if state, p.end = child.Wait(); p.end == nil && !state.Success() {
				p.end = errors.New(state.String())
			}
		}
		close(p.done)
	}()
	return <-started
}

func (p *process) running() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.done == nil {
		return false
	}
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

func (p *process) log() string {
	b, _ := os.ReadFile(p.file)
	return strings.TrimSpace(string(b[max(0, len(b)-4000):]))
}

// kill ends the process and its children, as the crash of a machine would.
func (p *process) kill() {
	if p.running() {
		killTree(p.p)
		p.signal(os.Kill, time.Minute)
	}
}

// stop ends the process by a signal, and by force if that takes too long.
func (p *process) stop(sig os.Signal) {
	p.signal(sig, 20*time.Second)
	p.kill()
}

func (p *process) signal(sig os.Signal, wait time.Duration) {
	if !p.running() {
		return
	}
	p.p.Signal(sig)
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-p.done:
	case <-timer.C:
	}
}

// run runs a program to its end.
func run(dir string, command ...string) error {
	var p process
	if err := p.start(dir, command...); err != nil {
		return err
	}
	<-p.done
	if p.end != nil {
		return fmt.Errorf("%s: %w\n%s", filepath.Base(command[0]), p.end, p.log())
	}
	return nil
}
