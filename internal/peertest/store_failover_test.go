package peertest

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/authprofile/authprofile"
	"github.com/authprofile/authprofile/internal/peertest/databases"
	"github.com/authprofile/authprofile/internal/peertest/require"
	"github.com/authprofile/authprofile/sqlstore"
)

// fillPool makes the pool of db as large as it may be.
func fillPool(t testing.TB, db *sql.DB) {
	t.Helper()
	var held []*sql.Conn
	for range db.Stats().MaxOpenConnections {
		c, err := db.Conn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := c.PingContext(t.Context()); err != nil {
			t.Fatal(err)
		}
		held = append(held, c)
	}
	for _, c := range held {
		c.Close()
	}
}

// unprivileged returns the address of a database of the server for a user who
// may do anything to it, and nothing to the server.
func unprivileged(t testing.TB, srv *databases.Server) (dsn string, admin *sql.DB) {
	t.Helper()
	dsn = srv.Database(t)
	admin = mariadb.open(t, dsn)
	for _, st := range []string{"CREATE USER IF NOT EXISTS app@'%' IDENTIFIED BY ''", "GRANT ALL ON `test%`.* TO app@'%'"} {
		mustExec(t, admin, st)
	}
	return strings.Replace(dsn, "test@", "app@", 1), admin
}

// Each connection of the pool leads to a server that is the primary no more,
// as new ones would not: writes have their effect, once, on a new one.
func TestStoreFailover(t *testing.T) {
	require.Long(t, "the failover of a database")
	// setReadOnly makes sessions that begin from now on read-only, or not.
	run := func(t *testing.T, tg target, dsn string, setReadOnly func(bool)) {
		s := tg.store(t, tg.open(t, dsn), "")
		stale := func() *sqlstore.Store {
			setReadOnly(true)
			db := tg.open(t, dsn)
			fillPool(t, db)
			setReadOnly(false)
			return tg.unmigrated(t, db, "")
		}
		g := mustWork(t, s, "u")
		if err := s.PutFlow(t.Context(), &authprofile.Flow{ID: "f", Expires: time.Now().Add(time.Hour)}); err != nil {
			t.Fatal(err)
		}
		version := g.Version
		for name, call := range map[string]func(*sqlstore.Store) error{
			"PutGrant":   func(s *sqlstore.Store) error { return s.PutGrant(t.Context(), g) },
			"PutProfile": func(s *sqlstore.Store) error { return s.PutProfile(t.Context(), &authprofile.Profile{ID: "new"}) },
			"PutFlow": func(s *sqlstore.Store) error {
				return s.PutFlow(t.Context(), &authprofile.Flow{ID: "g", Expires: time.Now().Add(time.Hour)})
			},
			"TakeFlow": func(s *sqlstore.Store) error {
				_, err := s.TakeFlow(t.Context(), "f")
				return err
			},
			"DeleteProfile": func(s *sqlstore.Store) error { return s.DeleteProfile(t.Context(), "old") },
			"DeleteGrant": func(s *sqlstore.Store) error {
				return s.DeleteGrant(t.Context(), authprofile.GrantKey{ProfileID: "crm", User: "v"})
			},
			"Migrate": func(*sqlstore.Store) error {
				setReadOnly(true)
				db := tg.open(t, dsn)
				fillPool(t, db)
				setReadOnly(false)
				return tg.unmigrated(t, db, "other_").Migrate(t.Context())
			},
		} {
			if err := call(stale()); err != nil {
				t.Errorf("%s: got error %v, want none", name, err)
			}
		}
		if g.Version != version+1 {
			t.Errorf("version: got %d, want %d", g.Version, version+1)
		}
		mustStillHave(t, s, g)
	}
	t.Run(postgres.name, func(t *testing.T) {
		dsn := postgres.dsn(t)
		admin := postgres.open(t, dsn)
		name := database(t, admin)
		run(t, postgres, dsn, func(on bool) {
			mustExec(t, admin, fmt.Sprintf("ALTER DATABASE %s SET default_transaction_read_only = %t", name, on))
		})
	})
	t.Run(mariadb.name, func(t *testing.T) {
		dsn, admin := unprivileged(t, databases.NewMariaDB(t))
		run(t, mariadb, dsn, func(on bool) {
			mustExec(t, admin, fmt.Sprintf("SET GLOBAL init_connect = 'SET SESSION tx_read_only = %t'", on))
		})
	})
}

// A server that is read-only as a whole says so at once, serves what it has,
// and is written to again when it is not.
func TestStoreServerReadOnly(t *testing.T) {
	require.Long(t, "a database that becomes read-only")
	run := func(t *testing.T, tg target, dsn, code string, setReadOnly func(bool)) {
		db := tg.open(t, dsn)
		s := tg.store(t, db, "")
		g := mustWork(t, s, "u")
		fillPool(t, db)
		setReadOnly(true)
		begin := time.Now()
		for range 50 {
			err := s.PutGrant(t.Context(), g)
			mustFail(t, "PutGrant", err)
			if text := err.Error(); !strings.Contains(text, code) || !strings.Contains(text, "read-only") {
				t.Fatalf("PutGrant: got error %q, want %s, and that it is read-only", text, code)
			}
			mustStillHave(t, s, g)
		}
		if took := time.Since(begin); took > 10*time.Second {
			t.Errorf("50 calls: took %v, want each to return at once", took)
		}
		setReadOnly(false)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		for {
			err := s.PutGrant(ctx, g)
			if err == nil {
				break
			}
			if ctx.Err() != nil {
				t.Fatalf("PutGrant on a server that is read-only no more: got error %v, want none", err)
			}
		}
		mustStillHave(t, s, g)
	}
	t.Run(postgres.name, func(t *testing.T) {
		dsn := postgres.dsn(t)
		admin := postgres.open(t, dsn)
		name := database(t, admin)
		run(t, postgres, dsn, "SQLSTATE 25006", func(on bool) {
			mustExec(t, admin, fmt.Sprintf("ALTER DATABASE %s SET default_transaction_read_only = %t", name, on))
			if on { // for sessions that are there, too
				mustExec(t, admin, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")
			}
		})
	})
	t.Run(mariadb.name, func(t *testing.T) {
		dsn, admin := unprivileged(t, databases.NewMariaDB(t))
		run(t, mariadb, dsn, "MySQL error 1290", func(on bool) {
			mustExec(t, admin, fmt.Sprintf("SET GLOBAL read_only = %t", on))
		})
	})
}

// sessions returns the sessions of a database's other connections, on condition.
func sessions(t testing.TB, tg target, admin *sql.DB, condition string) (ids []int64) {
	t.Helper()
	query := map[sqlstore.Dialect]string{
		sqlstore.Postgres: "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() AND ",
		sqlstore.MySQL:    "SELECT id FROM information_schema.processlist WHERE db = DATABASE() AND id <> CONNECTION_ID() AND ",
	}[tg.dialect]
	rows, err := admin.QueryContext(t.Context(), query+condition)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var id int64
		if err := rows.Scan(&id); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return ids
}

func endSession(t testing.TB, tg target, admin *sql.DB, id int64) {
	t.Helper()
	if tg.dialect == sqlstore.MySQL {
		if _, err := admin.ExecContext(t.Context(), fmt.Sprintf("KILL CONNECTION %d", id)); err != nil && !strings.Contains(err.Error(), "1094") { // it has ended
			t.Fatal(err)
		}
		return
	}
	mustExec(t, admin, "SELECT pg_terminate_backend($1)", id)
}

// Sessions that an operator ends, as a server does that is about to stop, cost
// nothing while they are idle; with PostgreSQL, which says that there was no
// effect, nor in the middle of a put.
func TestStoreSessionsEnded(t *testing.T) {
	require.Long(t, "sessions that a database ends")
	waiting := map[sqlstore.Dialect]string{
		sqlstore.Postgres: "wait_event_type = 'Lock'",
		sqlstore.MySQL:    "command IN ('Query', 'Execute') AND info LIKE 'UPDATE authprofile_grants%'",
	}
	for _, tg := range []target{postgres, mariadb} {
		t.Run(tg.name, func(t *testing.T) {
			dsn := tg.dsn(t)
			admin := tg.open(t, dsn)
			admin.SetMaxOpenConns(1)
			db := tg.open(t, dsn)
			s := tg.store(t, db, "")
			g := mustWork(t, s, "u")
			fillPool(t, db)
			for _, id := range sessions(t, tg, admin, "1 = 1") {
				endSession(t, tg, admin, id)
			}
			if err := s.PutGrant(t.Context(), g); err != nil {
				t.Fatalf("PutGrant on idle connections: got error %v, want none", err)
			}
			mustStillHave(t, s, g)

			other := tg.open(t, dsn)
			tx, err := other.BeginTx(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			defer tx.Rollback()
			if _, err := tx.ExecContext(t.Context(), "UPDATE authprofile_grants SET subject = 'locked'"); err != nil {
				t.Fatal(err)
			}
			version := g.Version
			done := make(chan error, 1)
			go func() { done <- s.PutGrant(t.Context(), g) }()
			// MariaDB ends a connection without an answer, which does not tell
			// whether there was an effect: that is not repeated.
			ends := map[sqlstore.Dialect]int{sqlstore.Postgres: 2, sqlstore.MySQL: 1}[tg.dialect]
			for ended := make(map[int64]bool); len(ended) < ends; {
				select {
				case err := <-done:
					t.Fatalf("PutGrant after %d sessions were ended: got error %v, want it to wait for the lock", len(ended), err)
				default:
				}
				for _, id := range sessions(t, tg, admin, waiting[tg.dialect]) {
					endSession(t, tg, admin, id)
					ended[id] = true
				}
			}
			if tg.dialect == sqlstore.MySQL {
				mustFail(t, "PutGrant in the middle of which its connection ends", <-done)
				if err := tx.Rollback(); err != nil {
					t.Fatal(err)
				}
				mustStillHave(t, s, g)
				return
			}
			if err := tx.Rollback(); err != nil {
				t.Fatal(err)
			}
			if err := <-done; err != nil || g.Version != version+1 {
				t.Fatalf("PutGrant whose session was ended: got version %d, error %v; want %d and none", g.Version, err, version+1)
			}
			mustStillHave(t, s, g)
		})
	}
}
