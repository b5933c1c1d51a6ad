package sqlstore

import (
	"bytes"
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authprofile/authprofile"
)

var update = flag.Bool("update", false, "write what Schema returns to testdata")

// Teams keep the statements of Schema in migrations of their own. So statements
// that were released do not change; new ones come at the end.
func TestSchema(t *testing.T) {
	for d := range dialects {
		t.Run(string(d), func(t *testing.T) {
			got, err := Schema(d, nil)
			if err != nil {
				t.Fatal(err)
			}
			file := filepath.Join("testdata", "schema."+string(d)+".sql")
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("got\n%s\nwant as in %s", got, file)
			}
			if strings.ContainsAny(got, "{}") {
				t.Errorf("got a name in braces, want each replaced")
			}
		})
	}
}

func TestSchemaPrefix(t *testing.T) {
	for d := range dialects {
		got, err := Schema(d, &Options{TablePrefix: "crm_oauth_"})
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(got, "authprofile_") || !strings.Contains(got, "crm_oauth_grants (") {
			t.Errorf("%s: got\n%s\nwant every name to begin with the prefix", d, got)
		}
	}
}

// internal are columns that no record has: for what a statement does, or for an
// index.
var internal = []string{"refused", "status_key"}

// Every column of a record is in its table, and the other way round.
func TestColumns(t *testing.T) {
	for name, d := range dialects {
		schema, err := Schema(name, nil)
		if err != nil {
			t.Fatal(err)
		}
		for table, cols := range map[string][]column{
			"profiles": profileColumns(d, new(authprofile.Profile)),
			"grants":   grantColumns(d, new(grantRow)),
			"flows":    flowColumns(d, new(authprofile.Flow)),
		} {
			_, def, ok := strings.Cut(schema, "authprofile_"+table+" (\n")
			if !ok {
				t.Fatalf("%s: got no table %s", name, table)
			}
			def, _, _ = strings.Cut(def, "\n)")
			var got, want []string
			for line := range strings.Lines(def) {
				if column := strings.Fields(line)[0]; column != "PRIMARY" && !slices.Contains(internal, column) {
					got = append(got, column)
				}
			}
			for st := range strings.SplitSeq(schema, ";\n") {
				words := strings.Fields(st)
				if len(words) < 3 || words[0] != "ALTER" || words[2] != "authprofile_"+table {
					continue
				}
				for i, word := range words {
					if word == "COLUMN" && !slices.Contains(internal, words[i+1]) {
						got = append(got, words[i+1])
					}
				}
			}
			for _, c := range cols {
				want = append(want, c.name)
			}
			slices.Sort(got)
			slices.Sort(want)
			if !slices.Equal(got, want) {
				t.Errorf("%s %s: got columns %q, want %q", name, table, got, want)
			}
		}
	}
}

func TestNew(t *testing.T) {
	db := sql.OpenDB(noConnector{})
	defer db.Close()
	for _, c := range []struct {
		name string
		db   *sql.DB
		d    Dialect
		opts *Options
		want string // part of the error
	}{
		{"defaults", db, Postgres, nil, ""},
		{"empty options", db, MySQL, &Options{}, ""},
		{"prefix", db, SQLite, &Options{TablePrefix: "a1_"}, ""},
		{"longest prefix", db, SQLite, &Options{TablePrefix: strings.Repeat("a", 32)}, ""},
		{"no database", nil, SQLite, nil, "no database"},
		{"no dialect", db, "", nil, "dialect"},
		{"unknown dialect", db, "oracle", nil, "dialect"},
		{"too long", db, SQLite, &Options{TablePrefix: strings.Repeat("a", 33)}, "prefix"},
		{"upper case", db, SQLite, &Options{TablePrefix: "Auth_"}, "prefix"},
		{"digit first", db, SQLite, &Options{TablePrefix: "1a"}, "prefix"},
		{"underscore first", db, SQLite, &Options{TablePrefix: "_a"}, "prefix"},
		{"another schema", db, SQLite, &Options{TablePrefix: "auth."}, "prefix"},
		{"quote", db, SQLite, &Options{TablePrefix: `a"; DROP TABLE x; --`}, "prefix"},
		{"foreign letter", db, SQLite, &Options{TablePrefix: "é"}, "prefix"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, err := New(c.db, c.d, c.opts)
			if c.want == "" {
				if s == nil || err != nil {
					t.Errorf("got error %v, want none", err)
				}
				return
			}
			if s != nil || err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got error %v, want one about the %s", err, c.want)
			}
		})
	}
}

// noConnector is a database that cannot be reached.
type noConnector struct{}

func (noConnector) Connect(context.Context) (driver.Conn, error) {
	return nil, errors.New("dial: password S3CRET refused")
}
func (noConnector) Driver() driver.Driver { return nil }

// The database is not asked for an identifier that cannot be in it, and not
// given one to put: a lax database would cut it.
func TestIdentifiersThatCannotBeStored(t *testing.T) {
	db := sql.OpenDB(noConnector{})
	defer db.Close()
	for d := range dialects {
		s, err := New(db, d, nil)
		if err != nil {
			t.Fatal(err)
		}
		ctx := t.Context()
		ended, cancel := context.WithCancel(ctx)
		cancel()
		for _, id := range []string{strings.Repeat("a", 513), "a\x00", "\xff"} {
			key := authprofile.GrantKey{ProfileID: "crm", User: id}
			_, perr := s.Profile(ctx, id)
			_, gerr := s.Grant(ctx, key)
			_, ferr := s.TakeFlow(ctx, id)
			for _, err := range []error{perr, gerr, ferr} {
				if !errors.Is(err, authprofile.ErrNotFound) {
					t.Errorf("%s, get %.10q: got error %v, want ErrNotFound", d, id, err)
				}
			}
			for what, err := range map[string]error{
				"PutProfile": s.PutProfile(ctx, &authprofile.Profile{ID: id}),
				"PutGrant":   s.PutGrant(ctx, &authprofile.Grant{GrantKey: key}),
				"PutFlow":    s.PutFlow(ctx, &authprofile.Flow{ID: id}),
			} {
				if !errors.Is(err, errIdentifier) || strings.Contains(err.Error(), id) {
					t.Errorf("%s, %s of %.10q: got error %v, want one about the identifier, without it", d, what, id, err)
				}
			}
			if err := s.DeleteProfile(ctx, id); err != nil {
				t.Errorf("%s, DeleteProfile: got error %v, want none", d, err)
			}
			if err := s.DeleteGrant(ctx, key); err != nil {
				t.Errorf("%s, DeleteGrant: got error %v, want none", d, err)
			}
			if list, err := s.ListGrants(ctx, authprofile.GrantFilter{ProfileID: id}, authprofile.GrantKey{}, 1); err != nil || len(list) > 0 {
				t.Errorf("%s, ListGrants: got error %v, want none", d, err)
			}
			if _, err := s.Profile(ended, id); !errors.Is(err, context.Canceled) {
				t.Errorf("%s, Profile after the context has ended: got error %v, want %v", d, err, context.Canceled)
			}
		}
	}
}

// stateError is an error as drivers of PostgreSQL have it.
type stateError string

func (e stateError) Error() string    { return `ERROR: duplicate key (user)=(S3CRET)` }
func (e stateError) SQLState() string { return string(e) }

// codeError is an error as drivers of SQLite have it.
type codeError int

func (e codeError) Error() string { return "no such table: S3CRET" }
func (e codeError) Code() int     { return int(e) }

func TestErrorText(t *testing.T) {
	for _, c := range []struct {
		err    error
		want   string
		repeat bool
	}{
		{stateError("23505"), "SQLSTATE 23505", false},
		{stateError("40001"), "SQLSTATE 40001", true},
		{stateError("40P01"), "SQLSTATE 40P01", true},
		{stateError("S3CRET"), "SQLSTATE unknown", false},
		{stateError("s3crt"), "SQLSTATE unknown", false},
		{stateError("42P01"), "SQLSTATE 42P01: a table or column is missing: has Migrate been called?", false},
		{codeError(1), "SQLite error 1: a table or column is missing: has Migrate been called?", false},
		{codeError(5), "SQLite error 5: a table or column is missing: has Migrate been called?", true},
		{codeError(517), "SQLite error 517: a table or column is missing: has Migrate been called?", true},
		{codeError(17), "SQLite error 17: a table or column is missing: has Migrate been called?", true},
		{errors.New("database is locked (S3CRET)"), "database is locked", true},
		{errors.New("database schema is locked: S3CRET"), "database is locked", true},
		{stateError("25006"), "SQLSTATE 25006: the database, or this connection to it, is read-only", false},
		{errors.New("Error 1290 (HY000): S3CRET"), "MySQL error 1290: the database, or this connection to it, is read-only", false},
		{errors.New("Error 1062 (23000): Duplicate entry 'S3CRET' for key 'PRIMARY'"), "MySQL error 1062", false},
		{errors.New("Error 1213 (40001): Deadlock found"), "MySQL error 1213", true},
		{errors.New("Error 1020: Record has changed since last read in table 'x'"), "MySQL error 1020", true},
		{errors.New("Error 1146 (42S02): Table 'x.S3CRET' doesn't exist"), "MySQL error 1146: a table or column is missing: has Migrate been called?", false},
		{errors.New("Error in S3CRET"), "error of type *errors.errorString", false},
		{fmt.Errorf("S3CRET: %w", context.DeadlineExceeded), "context deadline exceeded", false},
		{fmt.Errorf("S3CRET: %w", io.ErrUnexpectedEOF), "unexpected EOF", false},
		{fmt.Errorf("S3CRET: %w", driver.ErrBadConn), "driver: bad connection", false},
		{fmt.Errorf("S3CRET: %w", &url.Error{Op: "S3CRET", URL: "S3CRET", Err: errors.New("S3CRET")}), "error of type *errors.errorString", false},
	} {
		err := &storeError{"put grant", c.err}
		if got, want := err.Error(), "sqlstore: put grant: "+c.want; got != want {
			t.Errorf("%#v: got %q, want %q", c.err, got, want)
		}
		for _, verb := range []string{"%v", "%+v", "%#v", "%d", "%s", "%q", "%x"} {
			if got := fmt.Sprintf(verb, err); strings.Contains(got, "S3CRET") {
				t.Errorf("%#v under %s: got %q, want it without the database's words", c.err, verb, got)
			}
		}
		if !errors.Is(err, c.err) {
			t.Errorf("%#v: got it lost, want it behind the error", c.err)
		}
		if got := codeOf(c.err).repeat; got != c.repeat {
			t.Errorf("%#v: got repeated %v, want %v", c.err, got, c.repeat)
		}
	}
}

func TestRetry(t *testing.T) {
	busy := stateError("40001")
	s := new(Store)
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		err := s.retry(t.Context(), "x", func() error {
			if calls++; calls < 5 {
				return busy
			}
			return nil
		})
		if err != nil || calls != 5 {
			t.Errorf("given up four times: got %d calls, error %v; want 5 and none", calls, err)
		}

		for _, final := range []error{authprofile.ErrConflict, stateError("23505")} {
			calls = 0
			err = s.retry(t.Context(), "x", func() error { calls++; return final })
			if !errors.Is(err, final) || calls != 1 {
				t.Errorf("%v: got %d calls, error %v; want 1 and the same", final, calls, err)
			}
		}

		start := time.Now()
		err = s.retry(t.Context(), "x", func() error { return busy })
		if took := time.Since(start); !errors.Is(err, busy) || took != patience {
			t.Errorf("given up each time: got error %v after %v, want it after %v", err, took, patience)
		}

		start = time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err = s.retry(ctx, "x", func() error { return busy })
		if took := time.Since(start); !errors.Is(err, context.DeadlineExceeded) || took != time.Second {
			t.Errorf("given up until the context ends: got error %v after %v, want %v after 1s", err, took, context.DeadlineExceeded)
		}
	})
}

// A server is a database of connections that answer each statement by an error,
// or well.
type server struct {
	opened int
	answer func(conn int) error // of the nth connection that was opened
}

func (s *server) Connect(context.Context) (driver.Conn, error) {
	s.opened++
	return &serverConn{s, s.opened}, nil
}
func (s *server) Driver() driver.Driver { return nil }

type serverConn struct {
	s *server
	n int
}

func (c *serverConn) Prepare(string) (driver.Stmt, error) { return nil, errors.ErrUnsupported }
func (c *serverConn) Begin() (driver.Tx, error)           { return nil, errors.ErrUnsupported }
func (c *serverConn) Close() error                        { return nil }
func (c *serverConn) ExecContext(context.Context, string, []driver.NamedValue) (driver.Result, error) {
	return driver.RowsAffected(1), c.s.answer(c.n)
}

// QueryContext finds nothing.
func (c *serverConn) QueryContext(context.Context, string, []driver.NamedValue) (driver.Rows, error) {
	return noRows{}, nil
}

type noRows struct{}

func (noRows) Columns() []string         { return nil }
func (noRows) Close() error              { return nil }
func (noRows) Next([]driver.Value) error { return io.EOF }

// open returns a Store on a pool that has so many connections.
func (srv *server) open(t *testing.T, connections int) *Store {
	db := sql.OpenDB(srv)
	t.Cleanup(func() { db.Close() })
	db.SetMaxIdleConns(connections)
	var held []*sql.Conn
	for range connections {
		c, err := db.Conn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, c)
	}
	for _, c := range held {
		c.Close()
	}
	s, err := New(db, Postgres, nil)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// A pool is full of connections to a server that was the primary, or shuts down:
// each is closed, and the call succeeds on a new one.
func TestConnectionsGivenUp(t *testing.T) {
	for _, refusal := range []error{
		stateError("25006"), stateError("57P01"), stateError("57P03"), stateError("57P05"), stateError("25P03"),
		errors.New("Error 1290 (HY000): The MySQL server is running with the --read-only option"),
		errors.New("Error 1836 (HY000): Running in read-only mode"),
		errors.New("Error 3100 (HY000): Error on observer while running replication hook 'before_commit'."),
		errors.New("Error 1792 (25006): Cannot execute statement in a READ ONLY transaction."),
		errors.New("Error 1047 (08S01): WSREP has not yet prepared node for application use"),
		errors.New("Error 1053 (08S01): Server shutdown in progress"),
		errors.New("Error 1927 (70100): Connection was killed"),
		errors.New("Error 4031 (HY000): The client was disconnected by the server because of inactivity."),
		codeError(1032), driver.ErrBadConn,
	} {
		const old = 10
		calls := 0
		srv := &server{answer: func(conn int) error {
			if calls++; conn <= old {
				return refusal
			}
			return nil
		}}
		s := srv.open(t, old)
		if err := s.DeleteGrant(t.Context(), authprofile.GrantKey{ProfileID: "crm"}); err != nil || calls != old+1 || srv.opened != old+1 {
			t.Errorf("%v: got %d calls, %d connections, error %v; want %d of each and none", refusal, calls, srv.opened, err, old+1)
		}
		if open := s.db.Stats().OpenConnections; open != 1 {
			t.Errorf("%v: got %d connections in the pool, want the new one alone", refusal, open)
		}
	}
}

// A statement that may have taken effect is not repeated, and its connection is
// closed. After other errors it stays open.
func TestConnectionsNotRepeated(t *testing.T) {
	for _, c := range []struct {
		err  error
		kept int
	}{
		{stateError("57P02"), 0}, {stateError("08006"), 0}, {stateError("08P01"), 0},
		{stateError("23505"), 1}, {stateError("57014"), 1}, {codeError(8), 1},
		{errors.New("Error 1205 (HY000): Lock wait timeout exceeded"), 1},
	} {
		calls := 0
		srv := &server{answer: func(int) error { calls++; return c.err }}
		s := srv.open(t, 1)
		err := s.DeleteGrant(t.Context(), authprofile.GrantKey{ProfileID: "crm"})
		if kept := s.db.Stats().OpenConnections; !errors.Is(err, c.err) || calls != 1 || kept != c.kept {
			t.Errorf("%v: got error %v after %d calls, %d connections kept; want the same after 1, %d kept", c.err, err, calls, kept, c.kept)
		}
	}
}

// That a database is read-only is reported after a new connection was tried.
// Then its connections stay open for a while, for reading.
func TestDatabaseReadOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const pool = 10
		readOnly, calls := true, 0
		srv := &server{answer: func(int) error {
			if calls++; readOnly {
				return stateError("25006")
			}
			return nil
		}}
		s := srv.open(t, pool)
		put := func(wantCalls, wantOpened int) {
			t.Helper()
			calls = 0
			opened := srv.opened
			err := s.DeleteGrant(t.Context(), authprofile.GrantKey{ProfileID: "crm"})
			if want := stateError("25006"); !errors.Is(err, want) || !strings.Contains(err.Error(), "read-only") {
				t.Errorf("got error %v, want %q, and that it is read-only", err, string(want))
			}
			if calls != wantCalls || srv.opened-opened != wantOpened {
				t.Errorf("got %d calls and %d new connections, want %d and %d", calls, srv.opened-opened, wantCalls, wantOpened)
			}
		}
		start := time.Now()
		put(pool+1, 1)
		put(1, 1) // the new one was given up as well
		for range 100 {
			put(1, 0)
		}
		if took := time.Since(start); took != 0 {
			t.Errorf("got an answer after %v, want it at once", took)
		}
		time.Sleep(quarantine)
		put(2, 1)
		readOnly = false
		if err := s.DeleteGrant(t.Context(), authprofile.GrantKey{ProfileID: "crm"}); err != nil {
			t.Errorf("a database that is read-only no more: got error %v, want none", err)
		}
	})
}

// With MySQL, a put reads before it writes. On a connection to a server that was
// the primary it reads an old state, which must not decide.
func TestStaleReadsDecideNothing(t *testing.T) {
	for name, call := range map[string]func(*Store) error{
		"PutGrant": func(s *Store) error {
			return s.PutGrant(t.Context(), &authprofile.Grant{GrantKey: authprofile.GrantKey{ProfileID: "crm"}, Version: 7})
		},
		"TakeFlow": func(s *Store) error {
			_, err := s.TakeFlow(t.Context(), "f")
			return err
		},
	} {
		srv := &server{answer: func(conn int) error {
			if conn == 1 {
				return errors.New("Error 1290 (HY000): The MySQL server is running with the --read-only option")
			}
			return nil
		}}
		s := srv.open(t, 1)
		s.d = dialects[MySQL]
		call(s)
		if srv.opened != 2 {
			t.Errorf("%s: got %d connections, want the stale one to be given up for a new one", name, srv.opened)
		}
	}
}

// Text comes back as it was put, and is stored as text.
func FuzzEscape(f *testing.F) {
	for _, s := range []string{"", "a", "\x00", "\xff", escaped, escaped + "YQ", `\base64`, "é😀"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		e := escape(s)
		if strings.ToValidUTF8(e, "?") != e || strings.Contains(e, "\x00") {
			t.Errorf("escape(%q): got %q, want text", s, e)
		}
		if got, err := unescape(e); got != s || err != nil {
			t.Errorf("unescape(escape(%q)): got %q, error %v", s, got, err)
		}
		if !strings.HasPrefix(s, escaped) && strings.ToValidUTF8(s, "?") == s && !strings.Contains(s, "\x00") && e != s {
			t.Errorf("escape(%q): got %q, want it to be readable", s, e)
		}
	})
}

// A token that never ends must not make the write of its grant fail.
func TestTimesBeyondDatabases(t *testing.T) {
	for name, d := range dialects {
		for _, c := range []struct{ put, want time.Time }{
			{time.Date(12000, 1, 1, 0, 0, 0, 0, time.UTC), lastTime},
			{lastTime.Add(999 * time.Microsecond), lastTime},
			{time.Date(-5, 1, 1, 0, 0, 0, 0, time.UTC), firstTime},
			{time.Time{}, time.Time{}},
		} {
			v, err := when{d, &c.put}.Value()
			if err != nil {
				t.Fatal(err)
			}
			if put, ok := v.(time.Time); ok && d.millis {
				v = put.UnixMilli() // as it is read
			}
			var got time.Time
			if err := (when{d, &got}).Scan(v); err != nil || !got.Equal(c.want) {
				t.Errorf("%s, %v: got %v, error %v; want %v", name, c.put, got, err, c.want)
			}
		}
	}
}

// What columns that came later do not say is NULL, and otherwise they are
// written and read as others of their kind.
func TestColumnsThatCameLater(t *testing.T) {
	later := []string{"token_params", "api_hosts", "client_key", "keep_alive_ns", "par_url"}
	for name, d := range dialects {
		full := &authprofile.Profile{
			TokenParams: url.Values{"audience": {"a"}}, APIHosts: []string{"a"}, ClientKey: "key \x00\xff", KeepAlive: -1,
			Endpoints: authprofile.Endpoints{PARURL: "https://a.test/par"},
		}
		written := make(map[string]driver.Value)
		for _, c := range profileColumns(d, full) {
			v, err := c.value.Value()
			if err != nil {
				t.Fatal(err)
			}
			written[c.name] = v
		}
		if got, ok := written["client_key"].([]byte); !ok || string(got) != string(full.ClientKey) {
			t.Errorf("%s: got the key as %T, want bytes, as they are", name, written["client_key"])
		}
		got := new(authprofile.Profile)
		for _, c := range profileColumns(d, got) {
			if !slices.Contains(later, c.name) {
				continue
			}
			if v, err := c.value.Value(); v != nil || err != nil {
				t.Errorf("%s: got %s of nothing as %v, error %v; want NULL", name, c.name, v, err)
			}
			if err := c.value.Scan(nil); err != nil || !reflect.DeepEqual(got, new(authprofile.Profile)) {
				t.Errorf("%s: got %s of NULL as %+v, error %v; want nothing", name, c.name, got, err)
			}
			if written[c.name] == nil {
				t.Errorf("%s: got %s as NULL, want what the profile has", name, c.name)
			}
			read := d.selected(c)
			if want := fmt.Sprintf(d.bytesRead, c.name); c.name == "client_key" && read != want || c.name != "client_key" && read != c.name {
				t.Errorf("%s: got %s read as %s", name, c.name, read)
			}
		}
	}
}

// Drivers return text as string or bytes, numbers and flags in several ways.
func TestScan(t *testing.T) {
	d, pg := dialects[MySQL], dialects[Postgres]
	var (
		s  string
		n  int
		b  bool
		at time.Time
		l  []string

		sec authprofile.Secret
	)
	want := time.Date(2026, 1, 2, 3, 4, 5, 6e6, time.UTC)
	for _, c := range []struct {
		v   value
		src any
		ok  func() bool
	}{
		{text[string]{&s}, "x", func() bool { return s == "x" }},
		{text[string]{&s}, []byte("y"), func() bool { return s == "y" }},
		{number[int]{&n}, int64(7), func() bool { return n == 7 }},
		{number[int]{&n}, []byte("8"), func() bool { return n == 8 }},
		{boolean{&b}, int64(1), func() bool { return b }},
		{boolean{&b}, []byte("0"), func() bool { return !b }},
		{boolean{&b}, true, func() bool { return b }},
		{when{d, &at}, []byte("2026-01-02 03:04:05.006"), func() bool { return at.Equal(want) }},
		{when{d, &at}, want.In(time.FixedZone("x", 3600)), func() bool { return at == want }},
		{when{d, &at}, nil, func() bool { return at.IsZero() }},
		{when{pg, &at}, int64(1767323045006), func() bool { return at == want }},
		{when{pg, &at}, []byte("-62135596799999"), func() bool { return at == firstTime }},
		{when{pg, &at}, nil, func() bool { return at.IsZero() }},
		{secret{pg, &sec}, "YQ\nA=", func() bool { return sec == "a\x00" }},
		{sparse{"", secret{pg, &sec}}, "Yg==", func() bool { return sec == "b" }},
		{sparse{"", secret{d, &sec}}, []byte("c"), func() bool { return sec == "c" }},
		{list{&l}, []byte(`["a","b"]`), func() bool { return slices.Equal(l, []string{"a", "b"}) }},
	} {
		if err := c.v.Scan(c.src); err != nil || !c.ok() {
			t.Errorf("%T from %T %s: got %v %v %v %v %v, error %v", c.v, c.src, c.src, s, n, b, at, l, err)
		}
	}
	for _, c := range []struct {
		v   value
		src any
	}{
		{text[string]{&s}, nil}, {text[string]{&s}, int64(1)}, {text[string]{&s}, escaped + "!"},
		{number[int]{&n}, "S3CRET"}, {number[int]{&n}, nil}, {boolean{&b}, "S3CRET"}, {boolean{&b}, nil},
		{when{d, &at}, "S3CRET"}, {when{d, &at}, int64(7)}, {when{pg, &at}, "S3CRET"}, {when{pg, &at}, int64(math.MaxInt64)}, {secret{pg, &sec}, "S3CRET!"}, {sparse{"", secret{pg, &sec}}, "S3CRET!"}, {sparse{"", secret{d, &sec}}, int64(1)}, {list{&l}, `S3CRET`}, {list{&l}, `["` + strings.ReplaceAll(escaped, `\`, `\\`) + `!"]`},
	} {
		if err := c.v.Scan(c.src); !errors.Is(err, errColumn) || bytes.Contains([]byte(err.Error()), []byte("S3CRET")) {
			t.Errorf("%T from %v: got error %v, want %v", c.v, c.src, err, errColumn)
		}
	}
}
