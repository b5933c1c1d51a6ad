// Package sqlstore keeps profiles, grants and flows in a SQL database: SQLite,
// PostgreSQL, or MySQL and MariaDB.
//
// The application opens the database with a driver of its choice; this package
// imports none. [Store.Migrate] makes the tables and brings older ones up to
// date, and may run at every start of every replica:
//
//	db, err := sql.Open("pgx", os.Getenv("DATABASE_URL"))
//	...
//	store, err := sqlstore.New(db, sqlstore.Postgres, nil)
//	...
//	if err := store.Migrate(ctx); err != nil {
//		...
//	}
//	m := &authprofile.Manager{Store: store}
//
// # What it asks of a database
//
// Every call is one statement, or one short transaction. There is no session
// state, no advisory lock and no lock that outlives a call, so that it works
// behind poolers such as PgBouncer in transaction mode. There the driver must
// not keep prepared statements: with pgx, default_query_exec_mode=exec in the
// connection string. Any isolation level will do: statements that the database
// aborts because of others (serialization failures, deadlocks, SQLite's
// "database is locked") are repeated.
//
// The formats of a session make no difference (DateStyle, IntervalStyle,
// bytea_output, time zones, MySQL's sql_mode but for the one named below), nor
// does the way in which a driver binds values: times and bytes travel in forms
// that no setting changes.
//
// PostgreSQL: version 12 or later, encoding UTF8. The client_encoding must be
// UTF8 too, as it is unless the database or the role has another. pgx in its
// simple protocol wants standard_conforming_strings to be on, as it is by
// default.
//
// MySQL: version 8, or MariaDB 10.5, or later. The connection's character set
// must be utf8mb4, which go-sql-driver/mysql has unless told otherwise. Sessions
// must have autocommit on and completion_type 0, as they have by default: else
// puts would succeed, and be lost with their connection. MariaDB's sql_mode must
// not have EMPTY_STRING_IS_NULL.
//
// SQLite: version 3.35 or later, encoding UTF-8, as by default. With several
// connections or processes on one file, the application should choose WAL and a
// busy timeout, as in
//
//	file:tokens.db?_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)
//
// for modernc.org/sqlite. The file must not be on a network file system. A
// database in memory is one for each connection: call SetMaxOpenConns(1).
//
// Migrate asks one connection of the pool for client_encoding, autocommit,
// completion_type and EMPTY_STRING_IS_NULL, and refuses to go on if they are
// wrong.
//
// # After a failover
//
// Connections of the pool may lead to a server that has become read-only, or
// shuts down. When a statement is refused there, its connection is closed, and
// the statement is repeated on the other connections of the pool, and then on a
// new one. So the database may move to another server under its name or address
// without a restart of the application. A statement that may have taken effect
// is not repeated. If it is refused on the new connection too, the error says
// that the database is read-only, and for a second its connections are kept.
//
// Some things only the pool and its driver can do:
//
//   - [sql.DB.SetConnMaxLifetime], of some minutes, lets connections move to
//     another server even if nothing fails.
//   - With several hosts in the connection string, pgx finds the one that can be
//     written to by target_session_attrs=read-write.
//   - connect_timeout (pgx) or timeout (go-sql-driver/mysql) bounds the waiting
//     for a host that is gone. On a connection that has fallen silent, a call
//     waits until its context ends; TCP keepalives, set where the driver dials,
//     or go-sql-driver's readTimeout let it fail earlier.
//   - go-sql-driver's rejectReadOnly is not needed, and hides the reason.
//   - Behind a pooler, it is the pooler's connections that have to be renewed:
//     with PgBouncer, by RECONNECT or server_lifetime.
//
// # Upgrading
//
// Run Migrate first, from any replica; then replace the replicas one by one.
// Those of the release before keep working on the new tables. What a release has
// added to profiles and grants, a replica that does not know it leaves as it is:
// until a new replica puts the record again, it may be out of date. After a
// renewal by an old replica, Ends is that of the renewal before, and after a new
// authorization by one, Account and Authorized are those of the last
// authorization. When an old replica changes the Status of a grant, Due, Told,
// ToldAt and Warned stay as they were, and [authprofile.Manager.Maintain] looks
// at the grant when it was due before. In what an old replica creates, all of
// these are zero but Due: it is the beginning of 1970, as for all grants that
// were there before the upgrade, so that Maintain looks at each of them once.
//
// Migrate keeps none from reading and writing for longer than a moment. Columns
// are added without a value, or with a constant one that is kept beside the
// rows, which takes no longer for a million rows than for one. For that it needs the table for itself: if it does not get it within a
// fifth of a second (PostgreSQL) or a second (MySQL), because a transaction is
// open that has used it, it lets the others pass and tries again. Indexes are
// made beside what goes on, in PostgreSQL by CREATE INDEX CONCURRENTLY, which
// waits for the end of all transactions that were open when it began. A limit on
// statements, such as statement_timeout, must leave the time for it.
//
// SQLite has one writer. While it makes an index the others wait, for some
// seconds with a million grants; between two indexes they have their turn. With
// WAL, readers do not wait.
//
// # Reading the tables
//
// The columns are made to be queried by people and monitoring. This query
// returns the users who have to authorize again, and since when:
//
//	SELECT profile_id, user_id, failing_since, failure_reason
//	FROM authprofile_grants
//	WHERE status = 'needs_reauthorization'
//	ORDER BY failing_since
//
// Times are in UTC, to the millisecond: TIMESTAMPTZ in PostgreSQL, DATETIME(3)
// in MySQL, and text such as 2026-01-02T15:04:05.000Z in SQLite. Lists are JSON.
// Secrets are bytes as they are; package sealed encrypts them. Text that no
// text column can hold (a zero byte, invalid UTF-8) is kept as base64 behind
// the mark "\base64:". Nothing but this package should write to the tables.
package sqlstore

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/authprofile/authprofile"
)

// A Dialect is the SQL that a database speaks.
type Dialect string

const (
	SQLite   Dialect = "sqlite"
	Postgres Dialect = "postgres"
	MySQL    Dialect = "mysql" // and MariaDB
)

// Options are the settings of a Store.
type Options struct {
	// TablePrefix begins the name of every table. If empty, it is
	// "authprofile_". It consists of lower-case letters, digits and
	// underscores, begins with a letter, and has at most 32 bytes.
	TablePrefix string
}

// A Store is an [authprofile.Store] in a SQL database. Its methods may be
// called by many goroutines at once; many processes may share the database.
type Store struct {
	db       *sql.DB
	d        *dialect
	prefix   string
	profiles table
	grants   table
	flows    table
	sweep    string
	readOnly verdict
}

var _ authprofile.Store = (*Store)(nil)

// New returns a Store on db. It does not connect. If opts is nil, the defaults
// hold.
//
// The Store leaves db to the caller, who closes it once the Store is no longer
// used, and limits its connections as fits the database.
func New(db *sql.DB, d Dialect, opts *Options) (*Store, error) {
	if db == nil {
		return nil, errors.New("sqlstore: no database")
	}
	dia, prefix, err := settings(d, opts)
	if err != nil {
		return nil, err
	}
	s := &Store{db: db, d: dia, prefix: prefix}
	s.profiles = dia.table(prefix+"profiles", profileColumns(dia, new(authprofile.Profile)), "id")
	s.grants = dia.table(prefix+"grants", grantColumns(dia, new(grantRow)), "profile_id", "user_id")
	s.grants.counting(dia)
	s.flows = dia.table(prefix+"flows", flowColumns(dia, new(authprofile.Flow)), "id")
	s.sweep = dia.sweep(prefix + "flows")
	return s, nil
}

func settings(d Dialect, opts *Options) (*dialect, string, error) {
	prefix := "authprofile_"
	if opts != nil && opts.TablePrefix != "" {
		prefix = opts.TablePrefix
	}
	if !validPrefix(prefix) {
		return nil, "", fmt.Errorf("sqlstore: table prefix %q: want at most 32 lower-case letters, digits and underscores, a letter first", prefix)
	}
	dia, ok := dialects[d]
	if !ok {
		return nil, "", fmt.Errorf("sqlstore: unknown dialect %q: want %q, %q or %q", d, SQLite, Postgres, MySQL)
	}
	return dia, prefix, nil
}

// validPrefix admits what needs no quotes in any dialect and is folded in none.
func validPrefix(s string) bool {
	if len(s) > 32 || s[0] < 'a' || s[0] > 'z' {
		return false
	}
	return !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '_'
	})
}

// Limits of identifiers, in bytes: what the columns of MySQL hold.
const (
	maxID   = 255
	maxUser = 512
)

// storable reports whether an identifier fits its column. One that does not is
// in no row, and the database is not asked for it: PostgreSQL would report an
// error.
func storable(id string, limit int) bool {
	return len(id) <= limit && utf8.ValidString(id) && !strings.Contains(id, "\x00")
}

var errIdentifier = errors.New("an identifier is too long or not text")

// timestamp returns the present time, as precise as it is stored.
func timestamp() time.Time { return time.Now().UTC().Truncate(time.Millisecond) }

// firstVersion returns a random number, with which the versions of a record
// begin. So a record that is deleted and created again gets versions that it
// did not have before, and nothing has to be kept of those. A clock would not
// do: clocks are coarse, stand still and are set back. The number comes from
// the kernel, because the state of a generator in this process would be in both
// copies of a virtual machine that is cloned. It leaves room to count up to
// 2^53, beyond which readers of JSON lose digits.
func firstVersion() int64 {
	var b [8]byte
	rand.Read(b[:])
	return int64(binary.LittleEndian.Uint64(b[:])>>12) + 1
}

func (s *Store) Profile(ctx context.Context, id string) (*authprofile.Profile, error) {
	if !storable(id, maxID) {
		return nil, notFound(ctx, "profile")
	}
	return one(read(ctx, s, "profile", s.scanProfile, s.profiles.get, id))
}

func (s *Store) ListProfiles(ctx context.Context, after string, limit int) ([]*authprofile.Profile, error) {
	return pages(position{ProfileID: after}, limit, func(after position, limit int) (page[*authprofile.Profile], error) {
		if after == (position{}) {
			return read(ctx, s, "list profiles", s.scanProfile, s.profiles.first, limit)
		}
		return read(ctx, s, "list profiles", s.scanProfile, s.profiles.next, after.ProfileID, limit)
	})
}

func (s *Store) scanProfile(scan func([]column) error) (*authprofile.Profile, position, error) {
	p := new(authprofile.Profile)
	err := scan(profileColumns(s.d, p))
	return p, position{ProfileID: p.ID}, err
}

func (s *Store) PutProfile(ctx context.Context, p *authprofile.Profile) error {
	if !storable(p.ID, maxID) {
		return &storeError{op: "put profile", err: errIdentifier}
	}
	c := *p
	if err := s.put(ctx, "put profile", s.profiles, profileColumns(s.d, &c), &c.Version, &c.Created, &c.Updated); err != nil {
		return err
	}
	p.Version, p.Created, p.Updated = c.Version, c.Created, c.Updated
	return nil
}

func (s *Store) DeleteProfile(ctx context.Context, id string) error {
	if !storable(id, maxID) {
		return ctxError(ctx, "delete profile")
	}
	return s.call(ctx, "delete profile", func(c *sql.Conn) error {
		tx, err := c.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		defer tx.Rollback()
		if _, err := tx.ExecContext(ctx, s.profiles.delete, id); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, s.grants.deleteAll, id); err != nil {
			return err
		}
		return tx.Commit()
	})
}

func (s *Store) Grant(ctx context.Context, key authprofile.GrantKey) (*authprofile.Grant, error) {
	if !storable(key.ProfileID, maxID) || !storable(key.User, maxUser) {
		return nil, notFound(ctx, "grant")
	}
	return one(read(ctx, s, "grant", s.scanGrant, s.grants.get, key.ProfileID, key.User))
}

func (s *Store) scanGrant(scan func([]column) error) (*authprofile.Grant, position, error) {
	row := new(grantRow)
	err := scan(grantColumns(s.d, row))
	return row.grant(), row.GrantKey, err
}

func (s *Store) PutGrant(ctx context.Context, g *authprofile.Grant) error {
	if !storable(g.ProfileID, maxID) || !storable(g.User, maxUser) {
		return &storeError{op: "put grant", err: errIdentifier}
	}
	row := newGrantRow(g)
	if err := s.put(ctx, "put grant", s.grants, grantColumns(s.d, row), &row.Version, &row.Created, &row.Updated); err != nil {
		return err
	}
	g.Version, g.Created, g.Updated = row.Version, row.Created, row.Updated
	return nil
}

func (s *Store) DeleteGrant(ctx context.Context, key authprofile.GrantKey) error {
	if !storable(key.ProfileID, maxID) || !storable(key.User, maxUser) {
		return ctxError(ctx, "delete grant")
	}
	return s.call(ctx, "delete grant", func(c *sql.Conn) error {
		_, err := c.ExecContext(ctx, s.grants.delete, key.ProfileID, key.User)
		return err
	})
}

func (s *Store) PutFlow(ctx context.Context, f *authprofile.Flow) error {
	if !storable(f.ID, maxID) || !storable(f.ProfileID, maxID) || !storable(f.User, maxUser) {
		return &storeError{op: "put flow", err: errIdentifier}
	}
	kept := *f
	if kept.Expires.IsZero() {
		kept.Expires = time.UnixMilli(0) // has expired as well, and will be swept
	}
	err := s.call(ctx, "put flow", func(c *sql.Conn) error {
		_, err := c.ExecContext(ctx, s.flows.upsert, arguments(flowColumns(s.d, &kept))...)
		return err
	})
	if err != nil {
		return err
	}
	// Flows of users who never came back are removed here, a few at a time
	// and a minute late, since clocks differ. If that fails, the next call of
	// PutFlow does it.
	before := timestamp().Add(-time.Minute)
	s.db.ExecContext(ctx, s.sweep, when{s.d, &before})
	return nil
}

func (s *Store) TakeFlow(ctx context.Context, id string) (*authprofile.Flow, error) {
	if !storable(id, maxID) {
		return nil, notFound(ctx, "take flow")
	}
	var f *authprofile.Flow
	read := func(c *sql.Conn, query string) error {
		return scanAll(ctx, c, query, []any{id}, func(scan func([]column) error) error {
			f = new(authprofile.Flow)
			return scan(flowColumns(s.d, f))
		})
	}
	err := s.call(ctx, "take flow", func(c *sql.Conn) error {
		f = nil
		if s.d.returning {
			return read(c, s.flows.take)
		}
		// Several callers may read the row. The one that deletes it gets the
		// flow.
		if err := read(c, s.flows.get); err != nil {
			return err
		}
		if f == nil {
			// A server that is no longer the primary lacks the latest flows,
			// and answers all the same. It refuses to write, even nothing.
			_, err := c.ExecContext(ctx, s.flows.delete+" AND FALSE", id)
			return err
		}
		res, err := c.ExecContext(ctx, s.flows.delete, id)
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil || n == 0 {
			f = nil
			return err
		}
		return nil
	})
	switch {
	case err != nil:
		return nil, err
	case f == nil, !f.Expires.After(time.Now()):
		return nil, authprofile.ErrNotFound
	}
	return f, nil
}

// A position is where a row stands in its list. That of a profile has no user.
type position = authprofile.GrantKey

// A page is what a query for records has found.
type page[T any] struct {
	rows    []T
	damaged []error // about rows that cannot be read
	last    position
}

// read runs a query for records.
func read[T any](ctx context.Context, s *Store, op string, scan func(func([]column) error) (T, position, error), query string, args ...any) (p page[T], err error) {
	err = s.call(ctx, op, func(c *sql.Conn) (err error) {
		p, err = collect(ctx, c, op, scan, query, args...)
		return err
	})
	return p, err
}

// collect reads what a query finds. The key is read first of all columns, so
// that an error can say which row is damaged.
func collect[T any](ctx context.Context, c querier, op string, scan func(func([]column) error) (T, position, error), query string, args ...any) (p page[T], err error) {
	err = scanAll(ctx, c, query, args, func(columns func([]column) error) error {
		row, at, err := scan(columns)
		switch {
		case err == nil:
			p.rows = append(p.rows, row)
		case errors.Is(err, errColumn) && at.ProfileID != "":
			err = &storeError{op, errColumn}
			p.damaged = append(p.damaged, &authprofile.Error{Op: "read", ProfileID: at.ProfileID, User: at.User, Err: err})
		default:
			return err
		}
		p.last = at
		return nil
	})
	return p, err
}

// one returns the only row of a query.
func one[T any](p page[T], err error) (row T, _ error) {
	switch {
	case err != nil:
		return row, err
	case len(p.damaged) > 0:
		return row, p.damaged[0]
	case len(p.rows) == 0:
		return row, authprofile.ErrNotFound
	}
	return p.rows[0], nil
}

// maxDamaged is how many damaged rows a list passes over before it gives up.
const maxDamaged = 100

var errDamaged = errors.New("too many rows hold what was never put there; the rest was not read")

// pages returns limit rows, if there are so many, beginning with the first one
// after the given position; if that is zero, with the first of all. It reads on
// in place of damaged rows: a page that they left short would be taken for the
// last.
func pages[T any](after position, limit int, next func(after position, limit int) (page[T], error)) (rows []T, _ error) {
	var damaged []error
	for {
		want := max(limit-len(rows), 0)
		p, err := next(after, want)
		if err != nil && damaged == nil {
			return nil, err
		}
		if err != nil {
			return rows, errors.Join(append(damaged, err)...)
		}
		rows = append(rows, p.rows...)
		damaged = append(damaged, p.damaged...)
		if len(damaged) >= maxDamaged {
			return rows, errors.Join(append(damaged, &storeError{"list", errDamaged})...)
		}
		if len(p.rows)+len(p.damaged) < want || len(p.damaged) == 0 {
			return rows, errors.Join(damaged...)
		}
		after = p.last
	}
}

// put creates or replaces one record by compare-and-swap. version, created and
// updated belong to the columns; put sets them, and what they hold after an
// error means nothing.
func (s *Store) put(ctx context.Context, op string, t table, cols []column, version *int64, created, updated *time.Time) error {
	was := *version
	*updated = timestamp()
	if was == 0 {
		*version, *created = firstVersion(), *updated
		return s.call(ctx, op, func(c *sql.Conn) error {
			res, err := c.ExecContext(ctx, t.insert, arguments(cols)...)
			return swapped(res, err)
		})
	}

	keys := make([]any, 0, len(t.keys))
	var set []any
	for _, c := range cols {
		switch {
		case slices.Contains(t.keys, c.name):
			keys = append(keys, c.value)
		case c.name != "created":
			set = append(set, c.value)
		}
	}
	where := append(keys, was)
	*version = was + 1
	// A time of creation that cannot be read does not keep the record from
	// being replaced: then created stays what the caller had.
	found := 0
	readCreated := func(scan func([]column) error) error {
		found++
		err := scan([]column{{"created", when{s.d, created}}})
		if errors.Is(err, errColumn) {
			err = nil
		}
		return err
	}
	return s.call(ctx, op, func(c *sql.Conn) error {
		found = 0
		if s.d.returning {
			err := scanAll(ctx, c, t.update, append(set, where...), readCreated)
			if err == nil && found == 0 {
				err = authprofile.ErrConflict
			}
			return err
		}
		// A version is given only once, so this is the time of creation of the
		// record with this version, even if it is replaced before the update.
		// If there is none, only the update can tell: the read may have been
		// answered by a server that is no longer the primary, or by a copy that
		// lags behind.
		if err := scanAll(ctx, c, t.created, where, readCreated); err != nil {
			return err
		}
		res, err := c.ExecContext(ctx, t.update, append(set, where...)...)
		return swapped(res, err)
	})
}

// swapped returns ErrConflict if a compare-and-swap has met another version.
// Only a count of exactly one row says that the record was inserted or
// replaced; when MySQL says two, see dialect.table.
func swapped(res sql.Result, err error) error {
	if err != nil {
		return err
	}
	n, err := res.RowsAffected()
	if err == nil && n != 1 {
		err = authprofile.ErrConflict
	}
	return err
}

// A querier is a connection, or a transaction.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// scanAll calls row for each row of a query. It reads to the end even where one
// row is expected, because only then is it known that the statement has taken
// effect.
func scanAll(ctx context.Context, c querier, query string, args []any, row func(scan func([]column) error) error) error {
	rows, err := c.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		err := row(func(cols []column) error { return rows.Scan(arguments(cols)...) })
		if err != nil {
			return err
		}
	}
	if err := rows.Err(); err != nil {
		return err
	}
	return rows.Close()
}
