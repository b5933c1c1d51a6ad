package peertest

import (
	"database/sql"
	"testing"

	"github.com/authprofile/authprofile"
	"github.com/authprofile/authprofile/internal/peertest/databases"
	"github.com/authprofile/authprofile/sqlstore"
	"github.com/authprofile/authprofile/storetest"
)

// A target is a kind of database, and how it is reached.
type target struct {
	name    string
	dialect sqlstore.Dialect
	driver  string
	dsn     func(t testing.TB) string // of a new database
}

var (
	sqlite   = target{"SQLite", sqlstore.SQLite, "sqlite", databases.SQLite}
	postgres = target{"PostgreSQL", sqlstore.Postgres, "pgx", databases.Postgres}
	mariadb  = target{"MariaDB", sqlstore.MySQL, "mysql", databases.MariaDB}

	targets = []target{sqlite, postgres, mariadb}
)

// with adds to the end of an address.
func (tg target) with(suffix string) func(t testing.TB) string {
	return func(t testing.TB) string { return tg.dsn(t) + suffix }
}

// open connects to a database.
func (tg target) open(t testing.TB, dsn string) *sql.DB {
	t.Helper()
	db, err := sql.Open(tg.driver, dsn)
	if err != nil {
		t.Fatal(err)
	}
	db.SetMaxOpenConns(20)
	db.SetMaxIdleConns(20)
	t.Cleanup(func() { db.Close() })
	return db
}

// store returns a handle on a database of its own connections.
func (tg target) store(t testing.TB, dsn string) *sqlstore.Store {
	t.Helper()
	s, err := sqlstore.New(tg.open(t, dsn), tg.dialect, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

func (tg target) run(t *testing.T) {
	storetest.Run(t, func(t *testing.T) authprofile.Store { return tg.store(t, tg.dsn(t)) })
}

func TestStore(t *testing.T) {
	for _, tg := range targets {
		t.Run(tg.name, tg.run)
	}
}

func TestStoreShared(t *testing.T) {
	for _, tg := range targets {
		t.Run(tg.name, func(t *testing.T) {
			storetest.RunShared(t, func(t *testing.T, n int) []authprofile.Store {
				dsn := tg.dsn(t)
				var handles []authprofile.Store
				for range n {
					handles = append(handles, tg.store(t, dsn))
				}
				return handles
			})
		})
	}
}
