package main

import (
	"database/sql"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"text/tabwriter"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"

	"github.com/authprofile/authprofile"
	"github.com/authprofile/authprofile/sqlstore"
)

// postgres renews as many grants as it can for a while, and then does the same
// reads and writes without the library.
func postgres(w *tabwriter.Writer) {
	dsn, stop, err := startPostgres()
	if err != nil {
		row(w, "not measured: "+err.Error())
		return
	}
	defer stop()
	db, err := sql.Open("pgx", dsn)
	must(err)
	defer db.Close()
	db.SetMaxOpenConns(64)
	db.SetMaxIdleConns(64)
	store, err := sqlstore.New(db, sqlstore.Postgres, nil)
	must(err)
	must(store.Migrate(ctx))

	const grants, flights, d = 1 << 16, 64, 10 * time.Second
	prov := newProvider(0, -time.Second) // its tokens end on arrival: each call is a renewal
	m := &authprofile.Manager{Store: store, HTTPClient: prov.client(), CacheSize: 1}
	p := saved(m, userProfile("crowd"))
	for i := range grants {
		must(store.PutGrant(ctx, grantOf(i, -time.Hour)))
	}
	// Even a token that ends on arrival is used for a second. There are so many
	// grants that none is asked for again within that time.
	renewals := func(renew func(user string)) float64 {
		// Each of the 64 goroutines has its own grants, and renews one after
		// the other: they wait for the database alone.
		var wg sync.WaitGroup
		var mu sync.Mutex
		count := 0
		start := time.Now()
		for f := range flights {
			wg.Go(func() {
				done := 0
				for i := f; time.Since(start) < d; i = (i + flights) % grants {
					renew(userName(i))
					done++
				}
				mu.Lock()
				count += done
				mu.Unlock()
			})
		}
		wg.Wait()
		return float64(count) / time.Since(start).Seconds()
	}
	must2 := func(_ any, err error) { must(err) }
	bare := renewals(func(user string) {
		key := authprofile.GrantKey{ProfileID: p.ID, User: user}
		var beside sync.WaitGroup
		beside.Go(func() { must2(store.Profile(ctx, p.ID)) })
		g, err := store.Grant(ctx, key)
		must(err)
		beside.Wait()
		g.Lease = &authprofile.Lease{Owner: "bare", Attempt: user, Length: 5 * time.Second}
		must(store.PutGrant(ctx, g))
		must2(store.Grant(ctx, key)) // to see that the lease is still its own
		g.Lease = nil
		g.AccessToken = authprofile.Secret(prov.token())
		g.Obtained, g.Expiry = time.Now(), time.Now()
		must(store.PutGrant(ctx, g))
	})
	calls := renewals(func(user string) { must2(m.Token(ctx, p, authprofile.AsUser(user))) })
	ours := float64(prov.requests.Load()) / d.Seconds()
	if ours < 0.99*calls {
		row(w, "not measured: not every call was a renewal")
		return
	}
	row(w, "", "renewals per second")
	row(w, "the same reads and writes", bare)
	row(w, "authprofile", ours)
	row(w, "ratio", ours/bare)
}

// startPostgres runs a server of its own, as another user if this is root.
func startPostgres() (dsn string, stop func(), err error) {
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if len(found) == 0 {
		return "", nil, fmt.Errorf("PostgreSQL is not installed: apt-get install postgresql")
	}
	bin := filepath.Dir(found[len(found)-1])
	dir, err := os.MkdirTemp("", "bench-postgres-")
	if err != nil {
		return "", nil, err
	}
	var attr syscall.SysProcAttr
	attr.Pdeathsig = syscall.SIGKILL
	if os.Getuid() == 0 {
		nobody, err := user.Lookup("nobody")
		if err != nil {
			return "", nil, err
		}
		uid, _ := strconv.Atoi(nobody.Uid)
		gid, _ := strconv.Atoi(nobody.Gid)
		must(os.Chown(dir, uid, gid))
		attr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	port := ln.Addr().(*net.TCPAddr).Port
	ln.Close()
	data := filepath.Join(dir, "data")
	initdb := exec.Command(filepath.Join(bin, "initdb"), "-D", data, "-U", "postgres", "-A", "trust", "-N")
	initdb.SysProcAttr = &attr
	initdb.Dir = dir
	if out, err := initdb.CombinedOutput(); err != nil {
		return "", nil, fmt.Errorf("initdb: %w: %s", err, out)
	}
	server := exec.Command(filepath.Join(bin, "postgres"), "-D", data, "-h", "127.0.0.1", "-p", strconv.Itoa(port), "-k", dir,
		"-c", "fsync=off", "-c", "max_connections=200")
	server.SysProcAttr = &attr
	server.Dir = dir
	if err := server.Start(); err != nil {
		return "", nil, err
	}
	stop = func() {
		server.Process.Signal(syscall.SIGINT)
		server.Wait()
		os.RemoveAll(dir)
	}
	dsn = fmt.Sprintf("postgres://postgres@127.0.0.1:%d/postgres?sslmode=disable", port)
	db, err := sql.Open("pgx", dsn)
	if err != nil {
		stop()
		return "", nil, err
	}
	defer db.Close()
	deadline := time.Now().Add(20 * time.Second)
	for db.PingContext(ctx) != nil {
		if time.Now().After(deadline) {
			stop()
			return "", nil, fmt.Errorf("PostgreSQL did not start")
		}
		time.Sleep(50 * time.Millisecond)
	}
	return dsn, stop, nil
}
