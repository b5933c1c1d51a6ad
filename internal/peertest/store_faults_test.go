package peertest

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5/pgconn"
	sqlitedriver "modernc.org/sqlite"

	"github.com/authprofile/authprofile"
	"github.com/authprofile/authprofile/internal/peertest/databases"
	"github.com/authprofile/authprofile/internal/peertest/require"
	"github.com/authprofile/authprofile/sqlstore"
	"github.com/authprofile/authprofile/storetest"
)

// mustFail checks that a call that could not be answered does not claim to
// know anything.
func mustFail(t *testing.T, what string, err error) {
	t.Helper()
	if err == nil || errors.Is(err, authprofile.ErrNotFound) || errors.Is(err, authprofile.ErrConflict) {
		t.Fatalf("%s: got error %v, want one that says nothing about the record", what, err)
	}
}

// Databases quote the values of a statement in their errors. Ours do not, and
// have the driver's error behind them.
func TestStoreErrorText(t *testing.T) {
	const planted = "S3CRET-planted"
	triggers := map[sqlstore.Dialect][]string{
		sqlstore.SQLite: {`CREATE TRIGGER quote BEFORE UPDATE ON authprofile_grants BEGIN SELECT RAISE(ABORT, NEW.subject); END`},
		sqlstore.Postgres: {
			`CREATE FUNCTION quote() RETURNS trigger AS $$ BEGIN RAISE EXCEPTION 'bad: %', NEW.subject; END $$ LANGUAGE plpgsql`,
			`CREATE TRIGGER quote BEFORE UPDATE ON authprofile_grants FOR EACH ROW EXECUTE FUNCTION quote()`,
		},
		sqlstore.MySQL: {`CREATE TRIGGER quote BEFORE UPDATE ON authprofile_grants FOR EACH ROW
			BEGIN DECLARE m TEXT; SET m = NEW.subject; SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = m; END`},
	}
	codes := map[sqlstore.Dialect]string{sqlstore.SQLite: "SQLite error ", sqlstore.Postgres: "SQLSTATE P0001", sqlstore.MySQL: "MySQL error 1644"}
	for _, tg := range targets {
		t.Run(tg.name, func(t *testing.T) {
			s, db := tg.new(t)
			g := mustWork(t, s, planted)
			for _, st := range triggers[tg.dialect] {
				mustExec(t, db, st)
			}
			g.Subject, g.AccessToken = planted, planted
			err := s.PutGrant(t.Context(), g)
			mustFail(t, "PutGrant", err)
			if inner := fmt.Sprint(unwrapAll(err)); !strings.Contains(inner, planted) {
				t.Fatalf("the driver's error: got %q, want one that quotes the value, or the test proves nothing", inner)
			}
			for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d", "%x"} {
				if text := fmt.Sprintf(verb, err); strings.Contains(text, planted) || strings.Contains(text, fmt.Sprintf("%x", planted)) {
					t.Errorf("error under %s: got %s, want it without the value", verb, text)
				}
			}
			if text := err.Error(); !strings.Contains(text, codes[tg.dialect]) || !strings.HasPrefix(text, "sqlstore: put grant: ") {
				t.Errorf("error: got %q, want what was done, and %q", text, codes[tg.dialect])
			}
			if !isDriverError(err) {
				t.Errorf("error: got %T, want the driver's behind it", unwrapAll(err))
			}
		})
	}
}

func unwrapAll(err error) error {
	for inner := err; inner != nil; inner = errors.Unwrap(inner) {
		err = inner
	}
	return err
}

func isDriverError(err error) bool {
	_, pg := errors.AsType[*pgconn.PgError](err)
	_, my := errors.AsType[*mysql.MySQLError](err)
	_, lite := errors.AsType[*sqlitedriver.Error](err)
	return pg || my || lite
}

// Whoever forgets Migrate is told.
func TestStoreWithoutTables(t *testing.T) {
	for _, tg := range targets {
		t.Run(tg.name, func(t *testing.T) {
			s := tg.unmigrated(t, tg.open(t, tg.dsn(t)), "")
			_, err := s.Profile(t.Context(), "crm")
			mustFail(t, "Profile", err)
			if !strings.Contains(err.Error(), "Migrate") {
				t.Errorf("error: got %q, want Migrate mentioned", err)
			}
		})
	}
}

// A call that waits for somebody else's lock ends with its context.
func TestStoreLocked(t *testing.T) {
	for _, tg := range []target{sqlite, postgres, mariadb} {
		t.Run(tg.name, func(t *testing.T) {
			dsn := tg.dsn(t)
			s := tg.store(t, tg.open(t, dsn), "")
			g := mustWork(t, s, "u")
			other := tg.open(t, dsn)
			tx, err := other.BeginTx(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			defer tx.Rollback()
			if _, err := tx.ExecContext(t.Context(), "UPDATE authprofile_grants SET subject = 'locked'"); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
			defer cancel()
			begin := time.Now()
			mustFail(t, "PutGrant", s.PutGrant(ctx, g))
			if took := time.Since(begin); took > 5*time.Second {
				t.Errorf("PutGrant with 200ms to go: took %v", took)
			}
			if err := tx.Rollback(); err != nil {
				t.Fatal(err)
			}
			// A server may have gone on waiting for the lock, and put it now:
			// whoever reads again loses nothing.
			for range 10 {
				got, err := s.Grant(t.Context(), g.GrantKey)
				if err != nil {
					t.Fatalf("Grant after the lock: got error %v, want none", err)
				}
				if err = s.PutGrant(t.Context(), got); err == nil {
					mustStillHave(t, s, got)
					return
				}
				if !errors.Is(err, authprofile.ErrConflict) {
					t.Fatalf("PutGrant after the lock: got error %v, want none or ErrConflict", err)
				}
			}
			t.Errorf("PutGrant after the lock: got ErrConflict ten times")
		})
	}
}

// A database that is read-only, or full, is no conflict, and what it has can
// be read.
func TestStoreRefuses(t *testing.T) {
	for _, tg := range targets {
		t.Run(tg.name, func(t *testing.T) {
			dsn := tg.dsn(t)
			db := tg.open(t, dsn)
			g := mustWork(t, tg.store(t, db, ""), "u")
			switch tg.dialect {
			case sqlstore.SQLite:
				dsn += "&_pragma=query_only(1)"
			case sqlstore.Postgres:
				mustExec(t, db, "ALTER DATABASE "+database(t, db)+" SET default_transaction_read_only = on")
			case sqlstore.MySQL:
				dsn += "?tx_read_only=1"
			}
			s := tg.unmigrated(t, tg.open(t, dsn), "")
			if err := s.Migrate(t.Context()); err != nil {
				t.Errorf("Migrate with nothing to do: got error %v, want none", err)
			}
			mustStillHave(t, s, g)
			before := *g
			mustFail(t, "PutGrant", s.PutGrant(t.Context(), g))
			mustFail(t, "PutProfile", s.PutProfile(t.Context(), &authprofile.Profile{ID: "crm"}))
			mustFail(t, "DeleteGrant", s.DeleteGrant(t.Context(), g.GrantKey))
			mustFail(t, "DeleteProfile", s.DeleteProfile(t.Context(), g.ProfileID))
			mustFail(t, "PutFlow", s.PutFlow(t.Context(), &authprofile.Flow{ID: "f", Expires: time.Now().Add(time.Hour)}))
			if g.Version != before.Version || !g.Updated.Equal(before.Updated) {
				t.Errorf("the argument of a put that failed: got version %d, want %d", g.Version, before.Version)
			}
			mustStillHave(t, s, g)
		})
	}
	t.Run("SQLite, full", func(t *testing.T) {
		dsn := sqlite.dsn(t)
		g := mustWork(t, sqlite.store(t, sqlite.open(t, dsn), ""), "u")
		db := sqlite.open(t, dsn)
		db.SetMaxOpenConns(1)
		mustExec(t, db, "PRAGMA max_page_count = 1") // as many as there are
		s := sqlite.unmigrated(t, db, "")
		big := *g
		big.AccessToken = authprofile.Secret(strings.Repeat("x", 1<<20))
		mustFail(t, "PutGrant", s.PutGrant(t.Context(), &big))
		mustStillHave(t, s, g)
	})
}

// What was stored is there after the server was killed, and handles that were
// open go on.
func TestStoreServerKilled(t *testing.T) {
	require.Long(t, "a database that is killed")
	for _, c := range []struct {
		tg    target
		start func(t testing.TB) *databases.Server
	}{{postgres, databases.NewPostgres}, {mariadb, databases.NewMariaDB}} {
		t.Run(c.tg.name, func(t *testing.T) {
			srv := c.start(t)
			s := c.tg.store(t, c.tg.open(t, srv.Database(t)), "")
			g := mustWork(t, s, "u")
			for _, end := range []func(){srv.Kill, srv.Stop} {
				end()
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
				_, err := s.Grant(ctx, g.GrantKey)
				mustFail(t, "Grant without a server", err)
				mustFail(t, "PutGrant without a server", s.PutGrant(ctx, g))
				_, err = s.TakeFlow(ctx, "f")
				mustFail(t, "TakeFlow without a server", err)
				cancel()
				if err := srv.Start(); err != nil {
					t.Fatal(err)
				}
				mustStillHave(t, s, g)
				if err := s.PutGrant(t.Context(), g); err != nil {
					t.Fatalf("PutGrant: got error %v, want none", err)
				}
				mustStillHave(t, s, g)
			}
		})
	}
}

// Behind a pooler that gives each transaction another connection.
func TestStorePgBouncer(t *testing.T) {
	require.Long(t, "the suite of stores behind PgBouncer")
	tg := target{"PgBouncer", sqlstore.Postgres, "pgx", databases.PgBouncer}
	s, db := tg.new(t)
	storetest.Run(t, func(t *testing.T) authprofile.Store {
		empty(t, db)
		return s
	})
}

// Operators find out by SQL who has to authorize again, and since when.
func TestStoreOperatorQuery(t *testing.T) {
	for _, tg := range targets {
		t.Run(tg.name, func(t *testing.T) {
			s, db := tg.new(t)
			since := time.Date(2026, 3, 4, 5, 6, 7, 89e6, time.UTC)
			for user, status := range map[string]authprofile.Status{
				"a": authprofile.StatusActive, "b": authprofile.StatusNeedsReauthorization, "c": authprofile.StatusFailing,
			} {
				g := &authprofile.Grant{GrantKey: authprofile.GrantKey{ProfileID: "crm", User: user}, Status: status}
				if status != authprofile.StatusActive {
					g.Failure = &authprofile.Failure{Reason: authprofile.ReasonRevoked, Since: since}
				}
				if err := s.PutGrant(t.Context(), g); err != nil {
					t.Fatal(err)
				}
			}
			at := map[sqlstore.Dialect]string{
				sqlstore.SQLite:   "strftime('%Y-%m-%d %H:%M:%f', failing_since)",
				sqlstore.Postgres: "to_char(failing_since AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.MS')",
				sqlstore.MySQL:    "DATE_FORMAT(failing_since, '%Y-%m-%d %H:%i:%s')",
			}[tg.dialect]
			var profile, user, when, reason string
			err := db.QueryRowContext(t.Context(), "SELECT profile_id, user_id, "+at+", failure_reason FROM authprofile_grants WHERE status = 'needs_reauthorization' ORDER BY failing_since").
				Scan(&profile, &user, &when, &reason)
			if err != nil {
				t.Fatal(err)
			}
			if got, want := profile+" "+user+" "+reason, "crm b revoked"; got != want {
				t.Errorf("row: got %s, want %s", got, want)
			}
			if !strings.HasPrefix(when, "2026-03-04 05:06:07") {
				t.Errorf("failing since: got %s, want 2026-03-04 05:06:07.089", when)
			}
			plan := explain(t, tg, db, "SELECT profile_id FROM authprofile_grants WHERE status = 'needs_reauthorization'")
			if !strings.Contains(plan, "authprofile_grants_status") && !strings.Contains(plan, "authprofile_grants_state") {
				t.Errorf("plan: got\n%s\nwant it to use one of the indexes that begin with the status", plan)
			}
		})
	}
}

// explain returns how the database would answer a query. PostgreSQL prefers to
// read small tables whole unless told otherwise.
func explain(t testing.TB, tg target, db *sql.DB, query string) string {
	t.Helper()
	conn, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	explain := "EXPLAIN "
	switch tg.dialect {
	case sqlstore.SQLite:
		explain += "QUERY PLAN "
	case sqlstore.Postgres:
		if _, err := conn.ExecContext(t.Context(), "SET enable_seqscan = off"); err != nil {
			t.Fatal(err)
		}
	}
	rows, err := conn.QueryContext(t.Context(), explain+query)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		t.Fatal(err)
	}
	var plan strings.Builder
	for rows.Next() {
		cells := make([]sql.NullString, len(columns))
		into := make([]any, len(columns))
		for i := range cells {
			into[i] = &cells[i]
		}
		if err := rows.Scan(into...); err != nil {
			t.Fatal(err)
		}
		for _, c := range cells {
			plan.WriteString(c.String + " ")
		}
		plan.WriteString("\n")
	}
	return plan.String()
}
