package main

import (
	"context"
	"database/sql"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite"

	"github.com/authprofile/authprofile/sqlstore"
)

// openStore opens the store at an address, once for each process.
func openStore(address string) (*sqlstore.Store, error) {
	driver, dialect := "sqlite", sqlstore.SQLite
	if strings.HasPrefix(address, "postgres:") {
		driver, dialect = "pgx", sqlstore.Postgres
	}
	db, err := sql.Open(driver, address)
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(8)
	db.SetMaxIdleConns(8)
	return sqlstore.New(db, dialect, nil)
}

// startDatabase starts PostgreSQL if it is installed, and makes room for a
// SQLite file otherwise.
func startDatabase() (address, name string, stop func(), err error) {
	dir, err := os.MkdirTemp("", "authprofile-replicas-")
	if err != nil {
		return "", "", nil, err
	}
	if bin := postgresBin(); bin != "" {
		address, end, err := startPostgres(bin, dir)
		if err == nil {
			return address, "PostgreSQL", func() { end(); os.RemoveAll(dir) }, nil
		}
		say("PostgreSQL is installed and does not start, so it is SQLite: %v", err)
	}
	file := filepath.Join(dir, "replicas.db")
	address = "file:" + file + "?_pragma=journal_mode(WAL)&_pragma=busy_timeout(10000)"
	return address, "a SQLite file", func() { os.RemoveAll(dir) }, nil
}

// postgresBin returns the directory of PostgreSQL's programs, or "".
func postgresBin() string {
	if path, err := exec.LookPath("initdb"); err == nil {
		return filepath.Dir(path)
	}
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb") // Debian keeps it out of PATH
	if len(found) == 0 {
		return ""
	}
	return filepath.Dir(found[len(found)-1])
}

// startPostgres starts a server on a free port, with its data in dir.
func startPostgres(bin, dir string) (address string, stop func(), err error) {
	attr, err := asOther(dir)
	if err != nil {
		return "", nil, err
	}
	data := filepath.Join(dir, "data")
	initdb := exec.Command(filepath.Join(bin, "initdb"), "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync")
	initdb.Dir, initdb.SysProcAttr = dir, attr
	if out, err := initdb.CombinedOutput(); err != nil {
		return "", nil, fmt.Errorf("initdb: %w\n%s", err, out)
	}
	port, err := freePort()
	if err != nil {
		return "", nil, err
	}
	server := exec.Command(filepath.Join(bin, "postgres"), "-D", data, "-p", strconv.Itoa(port),
		"-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=")
	server.Dir, server.SysProcAttr = dir, attr
	if err := server.Start(); err != nil {
		return "", nil, err
	}
	stop = func() {
		if err := server.Process.Signal(os.Interrupt); err != nil {
			server.Process.Kill() // some systems have no other way
		}
		server.Wait()
	}
	address = fmt.Sprintf("postgres://postgres@127.0.0.1:%d/postgres?sslmode=disable", port)
	if err := await(address); err != nil {
		stop()
		return "", nil, err
	}
	return address, stop, nil
}

// await waits until a database answers.
func await(address string) error {
	db, err := sql.Open("pgx", address)
	if err != nil {
		return err
	}
	defer db.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for {
		err := db.PingContext(ctx)
		if err == nil || ctx.Err() != nil {
			return err
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}
