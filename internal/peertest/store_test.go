package peertest

import (
	"database/sql"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/authprofile/authprofile"
	"github.com/authprofile/authprofile/internal/peertest/databases"
	"github.com/authprofile/authprofile/internal/peertest/require"
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

// empty removes all rows: on servers that takes less time than new tables. It
// names the keys, for sessions that refuse to delete without.
func empty(t testing.TB, db *sql.DB) {
	t.Helper()
	for table, key := range map[string]string{"profiles": "id", "grants": "profile_id", "flows": "id"} {
		mustExec(t, db, "DELETE FROM authprofile_"+table+" WHERE "+key+" >= ''")
	}
}

func TestStore(t *testing.T) {
	for _, tg := range targets {
		t.Run(tg.name, func(t *testing.T) {
			t.Parallel()
			tg.run(t)
		})
	}
}

// formats are what a session of PostgreSQL may write in other ways than it
// does by default: in some modes the driver has everything as text.
var formats = []string{
	"ALTER DATABASE {database} SET DateStyle = 'SQL, DMY'",
	"ALTER DATABASE {database} SET IntervalStyle = 'sql_standard'",
	"ALTER DATABASE {database} SET bytea_output = 'escape'",
	"ALTER DATABASE {database} SET timezone = 'Asia/Kathmandu'",
	"ALTER DATABASE {database} SET extra_float_digits = -15",
}

// settings are other ones than a database or a driver has by default.
var settings = []target{
	{"SQLite, in memory", sqlstore.SQLite, "sqlite", func(testing.TB) string { return ":memory:" }},
	{"SQLite, without WAL or busy timeout", sqlstore.SQLite, "sqlite", func(t testing.TB) string {
		dsn, _, _ := strings.Cut(databases.SQLite(t), "?")
		return dsn + "?_pragma=synchronous(OFF)"
	}},
	sqlite.as("text that looks like a time", "_texttotime=1&_inttotime=1&_timezone=America%2FNew_York&_time_format=sqlite"+
		"&_pragma=case_sensitive_like(1)&_pragma=count_changes(1)&_pragma=reverse_unordered_selects(1)"),
	postgres.as("serializable, as behind PgBouncer", "default_query_exec_mode=exec",
		append(formats, "ALTER DATABASE {database} SET standard_conforming_strings = off",
			"ALTER DATABASE {database} SET default_transaction_isolation = 'serializable'")...),
	// This mode of the driver refuses to work without standard strings.
	postgres.as("repeatable read, simple protocol", "default_query_exec_mode=simple_protocol",
		append(formats, "ALTER DATABASE {database} SET DateStyle = 'German'",
			"ALTER DATABASE {database} SET default_transaction_isolation = 'repeatable read'")...),
	mariadb.as("found rows and local times", "clientFoundRows=true&parseTime=true&loc=America%2FNew_York&time_zone=%27-05%3A00%27"),
	mariadb.as("lax and interpolated", "interpolateParams=true&sql_mode=%27%27&tx_isolation=%27SERIALIZABLE%27"),
	mariadb.as("strict", "sql_mode=%27ANSI,PIPES_AS_CONCAT,NO_BACKSLASH_ESCAPES,NO_ZERO_DATE,TRADITIONAL,PAD_CHAR_TO_FULL_LENGTH,TIME_ROUND_FRACTIONAL%27"+
		"&sql_safe_updates=1&collation=utf8mb4_unicode_ci"),
}

// Whatever the settings of database and driver are, stores behave the same.
func TestStoreSettings(t *testing.T) {
	require.Long(t, "the suite of stores in other settings of drivers and databases")
	for _, tg := range settings {
		t.Run(tg.name, func(t *testing.T) {
			t.Parallel()
			tg.run(t)
		})
	}
}

// Strings are strings, whatever they look like.
func TestStoreStrings(t *testing.T) {
	require.Long(t, "odd strings in all settings of drivers and databases")
	all := slices.Concat(targets, settings, []target{
		mariadb.as("Oracle's mode, interpolated", "sql_mode=%27ORACLE,NO_BACKSLASH_ESCAPES%27&interpolateParams=true&columnsWithAlias=true"),
	})
	for _, mode := range []string{"cache_statement", "cache_describe", "describe_exec", "exec", "simple_protocol"} {
		all = append(all, postgres.as("other formats, "+mode, "default_query_exec_mode="+mode, formats...))
	}
	for _, tg := range all {
		t.Run(tg.name, func(t *testing.T) {
			s, _ := tg.new(t)
			for _, text := range []string{
				"2026-01-02T15:04:05Z", "2026-01-02 15:04:05.000", "2026-01-02", "infinity", "0001-01-01 00:00:00", "0000-00-00",
				"1767366245", "1e3", "-0", "true", "t", "NULL", "{}", `\x41`, `\101`, `\`, `\'`, `'`, `''`, `"`, `$1`, "?", ":a", "@a", "-- a", "é😀", " a ",
			} {
				secret := authprofile.Secret(text)
				p := &authprofile.Profile{
					ID: text, Name: text, Description: text, Type: authprofile.Type(text), ClientID: text, ClientSecret: secret, ClientKey: secret,
					AuthMethod: authprofile.AuthMethod(text), Template: authprofile.Template(text),
					Endpoints: authprofile.Endpoints{DiscoveryURL: text, AuthURL: text, TokenURL: text, RevocationURL: text, DeviceAuthURL: text, PARURL: text},
					Scopes:    []string{text}, RedirectURL: text, Params: url.Values{text: {text}},
					TokenParams: url.Values{text: {text}}, APIHosts: []string{text},
				}
				g := &authprofile.Grant{
					GrantKey: authprofile.GrantKey{ProfileID: text, User: text}, Status: authprofile.Status(text),
					AccessToken: secret, RefreshToken: secret, TokenType: text, Scopes: []string{text}, Requested: []string{text},
					ClientID: text, Issuer: text, Subject: text, Nonce: text, Extra: map[string]authprofile.Secret{text: secret},
					Account: text, EndsBy: text,
					Failure: &authprofile.Failure{Reason: authprofile.Reason(text), Code: text, Description: text},
					Lease:   &authprofile.Lease{Owner: text, Attempt: text},
				}
				f := &authprofile.Flow{
					GrantKey: g.GrantKey, ID: text, Verifier: secret, Nonce: text, RedirectURL: text, Requested: []string{text},
					Issuer: text, Browser: text, ReturnTo: text, Expires: time.Now().Add(time.Hour).UTC().Truncate(time.Millisecond),
				}
				for range 2 { // created, and replaced
					if err := s.PutProfile(t.Context(), p); err != nil {
						t.Fatalf("PutProfile with %q: got error %v, want none", text, err)
					}
					if err := s.PutGrant(t.Context(), g); err != nil {
						t.Fatalf("PutGrant with %q: got error %v, want none", text, err)
					}
				}
				if err := s.PutFlow(t.Context(), f); err != nil {
					t.Fatalf("PutFlow with %q: got error %v, want none", text, err)
				}
				gotProfile, err := s.Profile(t.Context(), text)
				if err != nil || !reflect.DeepEqual(gotProfile, p) {
					t.Errorf("Profile with %q: got %+v, error %v; want %+v", text, gotProfile, err, p)
				}
				gotGrant, err := s.Grant(t.Context(), g.GrantKey)
				if err != nil || !reflect.DeepEqual(gotGrant, g) {
					t.Errorf("Grant with %q: got %+v, error %v; want %+v", text, gotGrant, err, g)
				}
				gotFlow, err := s.TakeFlow(t.Context(), text)
				if err != nil || !reflect.DeepEqual(gotFlow, f) {
					t.Errorf("TakeFlow with %q: got %+v, error %v; want %+v", text, gotFlow, err, f)
				}
			}
		})
	}
}

func TestStoreShared(t *testing.T) {
	require.Long(t, "the suite of shared stores")
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
