package peertest

import (
	"database/sql"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/authprofile/authprofile"
	"github.com/authprofile/authprofile/internal/peertest/databases"
	"github.com/authprofile/authprofile/sqlstore"
)

// hasIndex asks the database.
func (tg target) hasIndex(t testing.TB, db *sql.DB, name string) bool {
	t.Helper()
	query := map[sqlstore.Dialect]string{
		sqlstore.SQLite:   "SELECT COUNT(*) FROM sqlite_master WHERE type = 'index' AND name = '" + name + "'",
		sqlstore.Postgres: "SELECT COUNT(*) FROM pg_indexes WHERE indexname = '" + name + "'",
		sqlstore.MySQL:    "SELECT COUNT(*) FROM information_schema.statistics WHERE table_schema = DATABASE() AND index_name = '" + name + "'",
	}[tg.dialect]
	return count(t, db, query) > 0
}

func count(t testing.TB, db *sql.DB, query string, args ...any) int {
	t.Helper()
	var n int
	if err := db.QueryRowContext(t.Context(), query, args...).Scan(&n); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return n
}

// schema returns the statements that Schema prints.
func (tg target) schema(t testing.TB) []string {
	t.Helper()
	text, err := sqlstore.Schema(tg.dialect, nil)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSuffix(strings.TrimSpace(text), ";"), ";\n")
}

func mustWork(t testing.TB, s *sqlstore.Store, user string) *authprofile.Grant {
	t.Helper()
	g := &authprofile.Grant{
		GrantKey:    authprofile.GrantKey{ProfileID: "crm", User: user},
		AccessToken: "access", RefreshToken: "refresh", Status: authprofile.StatusActive,
	}
	if err := s.PutGrant(t.Context(), g); err != nil {
		t.Fatalf("PutGrant: got error %v, want none", err)
	}
	mustStillHave(t, s, g)
	return g
}

func mustStillHave(t testing.TB, s *sqlstore.Store, want *authprofile.Grant) {
	t.Helper()
	got, err := s.Grant(t.Context(), want.GrantKey)
	if err != nil {
		t.Fatalf("Grant: got error %v, want none", err)
	}
	if got.RefreshToken != want.RefreshToken || got.Version != want.Version {
		t.Fatalf("Grant: got %v, want %v", got, want)
	}
}

// Many replicas that start at once migrate once.
func TestMigrateParallel(t *testing.T) {
	for _, tg := range targets {
		t.Run(tg.name, func(t *testing.T) {
			for range 3 {
				dsn := tg.dsn(t)
				var wg sync.WaitGroup
				start := make(chan struct{})
				for range 8 {
					s := tg.unmigrated(t, tg.open(t, dsn), "")
					wg.Go(func() {
						<-start
						for range 2 { // and again, at the next start
							if err := s.Migrate(t.Context()); err != nil {
								t.Errorf("Migrate: got error %v, want none", err)
							}
						}
					})
				}
				close(start)
				wg.Wait()
				db := tg.open(t, dsn)
				mustWork(t, tg.unmigrated(t, db, ""), "u")
				steps := 0
				for _, st := range tg.schema(t) {
					if strings.Contains(st, "INSERT INTO authprofile_schema") {
						steps++
					}
				}
				if got := count(t, db, "SELECT COUNT(*) FROM authprofile_schema"); got != steps || steps < 2 {
					t.Errorf("steps recorded: got %d, want %d", got, steps)
				}
			}
		})
	}
}

// After what Schema prints, Migrate has nothing to do.
func TestSchemaByHand(t *testing.T) {
	for _, tg := range targets {
		t.Run(tg.name, func(t *testing.T) {
			db := tg.open(t, tg.dsn(t))
			for _, st := range tg.schema(t) {
				mustExec(t, db, st)
			}
			before := count(t, db, "SELECT COUNT(*) FROM authprofile_schema")
			s := tg.unmigrated(t, db, "")
			if err := s.Migrate(t.Context()); err != nil {
				t.Fatalf("Migrate: got error %v, want none", err)
			}
			if after := count(t, db, "SELECT COUNT(*) FROM authprofile_schema"); after != before || before == 0 {
				t.Errorf("steps recorded: got %d, want %d as before Migrate", after, before)
			}
			mustWork(t, s, "u")
		})
	}
}

// A replica of the release before keeps working while others have moved on.
func TestMigrateNewer(t *testing.T) {
	for _, tg := range targets {
		t.Run(tg.name, func(t *testing.T) {
			s, db := tg.new(t)
			g := mustWork(t, s, "u")
			mustExec(t, db, "INSERT INTO authprofile_schema (step, applied) SELECT 1000, applied FROM authprofile_schema WHERE step = 1")
			mustExec(t, db, "ALTER TABLE authprofile_grants ADD COLUMN later INTEGER")
			if err := s.Migrate(t.Context()); err != nil {
				t.Fatalf("Migrate: got error %v, want none", err)
			}
			mustStillHave(t, s, g)
			if err := s.PutGrant(t.Context(), g); err != nil {
				t.Fatalf("PutGrant: got error %v, want none", err)
			}
			mustWork(t, s, "v")
		})
	}
}

// An application that may only read and write rows can call Migrate if there
// is nothing to do, and is told if there is.
func TestMigrateWithoutRights(t *testing.T) {
	s, db := postgres.new(t)
	dsn := strings.Replace(databaseOf(t, db), "postgres@", "app@", 1)
	mustExec(t, db, "DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'app') THEN CREATE ROLE app LOGIN; END IF; END $$")
	mustExec(t, db, "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO app")
	t.Cleanup(func() {
		if _, err := db.Exec("DROP OWNED BY app"); err != nil {
			t.Error(err)
		}
	})
	app := postgres.open(t, dsn)
	g := mustWork(t, s, "u")
	as := postgres.unmigrated(t, app, "")
	if err := as.Migrate(t.Context()); err != nil {
		t.Fatalf("Migrate with nothing to do: got error %v, want none", err)
	}
	mustStillHave(t, as, g)
	err := postgres.unmigrated(t, app, "other_").Migrate(t.Context())
	if err == nil || !strings.Contains(err.Error(), "SQLSTATE 42501") {
		t.Fatalf("Migrate without the right to create tables: got error %v, want SQLSTATE 42501", err)
	}
}

func databaseOf(t testing.TB, db *sql.DB) string {
	t.Helper()
	var port int
	if err := db.QueryRowContext(t.Context(), "SELECT inet_server_port()").Scan(&port); err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(strings.ReplaceAll("postgres://postgres@127.0.0.1:{port}/{database}?sslmode=disable",
		"{port}", strconv.Itoa(port)), "{database}", database(t, db))
}

// Sessions in which nothing would be kept, or not as it was put, are found out
// before anything is: Migrate says what to do.
func TestMigrateSettings(t *testing.T) {
	for _, c := range []struct {
		tg   target
		want string // in the error; empty: none
	}{
		{mariadb.as("autocommit off", "autocommit=0"), "autocommit"},
		{mariadb.as("autocommit off, by its own name", "autocommit=OFF"), "autocommit"},
		{mariadb.as("chained transactions", "completion_type=1"), "completion_type"},
		{mariadb.as("released sessions", "completion_type=%27RELEASE%27"), "completion_type"},
		{mariadb.as("empty strings are null", "sql_mode=%27EMPTY_STRING_IS_NULL,ANSI%27"), "EMPTY_STRING_IS_NULL"},
		{mariadb.as("as it should be", "autocommit=1&completion_type=0"), ""},
		{postgres.as("another encoding", "client_encoding=LATIN1"), "client_encoding"},
		{postgres.as("another encoding, by the database", "", "ALTER DATABASE {database} SET client_encoding = 'WIN1252'"), "client_encoding"},
		{postgres.as("as it should be", "client_encoding=UTF8", "ALTER DATABASE {database} SET client_encoding = 'WIN1252'"), ""},
		{postgres.as("not converted", "client_encoding=SQL_ASCII"), ""},
	} {
		t.Run(c.tg.name, func(t *testing.T) {
			dsn := c.tg.dsn(t)
			db := c.tg.open(t, dsn)
			tables := map[sqlstore.Dialect]string{
				sqlstore.Postgres: "SELECT COUNT(*) FROM information_schema.tables WHERE table_name LIKE 'authprofile%'",
				sqlstore.MySQL:    "SELECT COUNT(*) FROM information_schema.tables WHERE table_name LIKE 'authprofile%' AND table_schema = DATABASE()",
			}[c.tg.dialect]
			s := c.tg.unmigrated(t, db, "")
			for _, ready := range []bool{false, true} {
				err := s.Migrate(t.Context())
				if c.want == "" {
					if err != nil {
						t.Fatalf("Migrate: got error %v, want none", err)
					}
					mustWork(t, s, "u")
					return
				}
				if err == nil || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "sqlstore: migrate: ") {
					t.Fatalf("Migrate, tables ready %v: got error %v, want one about %s", ready, err, c.want)
				}
				if n := count(t, db, tables); !ready && n > 0 {
					t.Errorf("got %d tables after Migrate has refused, want none", n)
				}
				// For the second time, the tables are there.
				plain := strings.Replace(strings.Replace(dsn, "client_encoding=LATIN1", "", 1)+"&client_encoding=UTF8", "&&", "&", 1)
				if c.tg.dialect == sqlstore.MySQL {
					plain, _, _ = strings.Cut(dsn, "?")
				}
				c.tg.store(t, c.tg.open(t, plain), "")
			}
		})
	}
}

// A server that turns autocommit off for each session is found out as well.
func TestMigrateInitConnect(t *testing.T) {
	dsn, admin := unprivileged(t, databases.NewMariaDB(t))
	mustExec(t, admin, "SET GLOBAL init_connect = 'SET autocommit = 0'")
	err := mariadb.unmigrated(t, mariadb.open(t, dsn), "").Migrate(t.Context())
	if err == nil || !strings.Contains(err.Error(), "autocommit") {
		t.Fatalf("Migrate: got error %v, want one about autocommit", err)
	}
	if err := mariadb.unmigrated(t, mariadb.open(t, dsn+"?autocommit=1"), "").Migrate(t.Context()); err != nil {
		t.Errorf("Migrate with autocommit on in the connection string: got error %v, want none", err)
	}
}
