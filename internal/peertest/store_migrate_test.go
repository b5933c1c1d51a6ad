package peertest

import (
	"database/sql"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/authprofile/authprofile"
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

// Tables of the first release are brought up to date with what they hold, also
// if somebody has died on the way before.
func TestMigrateOlder(t *testing.T) {
	for _, tg := range targets {
		for _, interrupted := range []bool{false, true} {
			name := tg.name
			if interrupted {
				name += ", interrupted"
			}
			t.Run(name, func(t *testing.T) {
				db := tg.open(t, tg.dsn(t))
				all := tg.schema(t)
				n := 0
				for _, st := range all {
					mustExec(t, db, st)
					n++
					if strings.Contains(st, "VALUES (1,") {
						break
					}
				}
				if interrupted {
					mustExec(t, db, all[n])
				}
				s := tg.unmigrated(t, db, "")
				g := mustWork(t, s, "u")
				for range 2 {
					if err := s.Migrate(t.Context()); err != nil {
						t.Fatalf("Migrate: got error %v, want none", err)
					}
				}
				mustStillHave(t, s, g)
				mustWork(t, s, "v")
				for _, index := range []string{"authprofile_grants_status", "authprofile_flows_expires"} {
					if !tg.hasIndex(t, db, index) {
						t.Errorf("index %s after Migrate: got none", index)
					}
				}
			})
		}
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
