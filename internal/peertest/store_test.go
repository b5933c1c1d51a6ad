package peertest

import (
	"database/sql"
	"strings"
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

// as is a target with other settings of the connection, and of the database.
func (tg target) as(name, settings string, setup ...string) target {
	base := tg
	tg.name += ", " + name
	tg.dsn = func(t testing.TB) string {
		dsn := base.dsn(t)
		db := base.open(t, dsn)
		for _, s := range setup {
			mustExec(t, db, strings.ReplaceAll(s, "{database}", database(t, db)))
		}
		separator := "?"
		if strings.Contains(dsn, "?") {
			separator = "&"
		}
		return dsn + separator + settings
	}
	return tg
}

func database(t testing.TB, db *sql.DB) string {
	t.Helper()
	var name string
	if err := db.QueryRowContext(t.Context(), "SELECT current_database()").Scan(&name); err != nil {
		t.Fatal(err)
	}
	return name
}

func mustExec(t testing.TB, db *sql.DB, statement string, args ...any) {
	t.Helper()
	if _, err := db.ExecContext(t.Context(), statement, args...); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

// open connects to a database.
func (tg target) open(t testing.TB, dsn string) *sql.DB {
	t.Helper()
	db, err := sql.Open(tg.driver, dsn)
	if err != nil {
		t.Fatal(err)
	}
	connections := 16
	if strings.Contains(dsn, ":memory:") {
		connections = 1
	}
	db.SetMaxOpenConns(connections)
	db.SetMaxIdleConns(connections)
	t.Cleanup(func() { db.Close() })
	return db
}

// store returns a store on new tables in a database that may have others.
func (tg target) store(t testing.TB, db *sql.DB, prefix string) *sqlstore.Store {
	t.Helper()
	s := tg.unmigrated(t, db, prefix)
	if err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

func (tg target) unmigrated(t testing.TB, db *sql.DB, prefix string) *sqlstore.Store {
	t.Helper()
	s, err := sqlstore.New(db, tg.dialect, &sqlstore.Options{TablePrefix: prefix})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// new returns a store on a new database, and the database.
func (tg target) new(t testing.TB) (*sqlstore.Store, *sql.DB) {
	t.Helper()
	db := tg.open(t, tg.dsn(t))
	return tg.store(t, db, ""), db
}

// run holds a target to the documentation of a Store.
func (tg target) run(t *testing.T) {
	if tg.dialect == sqlstore.SQLite { // where a new database costs least
		storetest.Run(t, func(t *testing.T) authprofile.Store {
			s, _ := tg.new(t)
			return s
		})
		return
	}
	s, db := tg.new(t)
	storetest.Run(t, func(t *testing.T) authprofile.Store {
		empty(t, db)
		return s
	})
}

// empty removes all rows: on servers that takes less time than new tables.
func empty(t testing.TB, db *sql.DB) {
	t.Helper()
	for _, table := range []string{"profiles", "grants", "flows"} {
		mustExec(t, db, "DELETE FROM authprofile_"+table)
	}
}

func TestStore(t *testing.T) {
	for _, tg := range targets {
		t.Run(tg.name, tg.run)
	}
}

// Whatever the settings of database and driver are, stores behave the same.
func TestStoreSettings(t *testing.T) {
	for _, tg := range []target{
		{"SQLite, in memory", sqlstore.SQLite, "sqlite", func(testing.TB) string { return ":memory:" }},
		{"SQLite, without WAL or busy timeout", sqlstore.SQLite, "sqlite", func(t testing.TB) string {
			dsn, _, _ := strings.Cut(databases.SQLite(t), "?")
			return dsn + "?_pragma=synchronous(OFF)"
		}},
		postgres.as("serializable, as behind PgBouncer", "default_query_exec_mode=exec",
			"ALTER DATABASE {database} SET default_transaction_isolation = 'serializable'",
			"ALTER DATABASE {database} SET timezone = 'America/New_York'"),
		postgres.as("repeatable read, simple protocol", "default_query_exec_mode=simple_protocol",
			"ALTER DATABASE {database} SET default_transaction_isolation = 'repeatable read'"),
		mariadb.as("found rows and local times", "clientFoundRows=true&parseTime=true&loc=America%2FNew_York&time_zone=%27-05%3A00%27"),
		mariadb.as("lax and interpolated", "interpolateParams=true&sql_mode=%27%27&tx_isolation=%27SERIALIZABLE%27"),
	} {
		t.Run(tg.name, tg.run)
	}
}

func TestStoreShared(t *testing.T) {
	for _, tg := range targets {
		t.Run(tg.name, func(t *testing.T) {
			dsn := tg.dsn(t)
			var handles []authprofile.Store
			var db *sql.DB
			for range 3 {
				db = tg.open(t, dsn)
				handles = append(handles, tg.store(t, db, ""))
			}
			storetest.RunShared(t, func(t *testing.T, n int) []authprofile.Store {
				empty(t, db)
				return handles[:n]
			})
		})
	}
}
