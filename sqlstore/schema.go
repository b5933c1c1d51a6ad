package sqlstore

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// A step is one change of the tables. Steps are done once and in order, and
// recorded in a table of their own. Steps are added at the end and never
// changed, since they were done in databases that are in use. A step must leave
// the tables usable for replicas that run the release before.
type step []statement

// A statement is written for all dialects: names of types in braces stand for
// each dialect's own, {p} for the prefix of the tables.
type statement struct {
	sql  string
	only Dialect // empty: all

	// What it adds to which table: an index, or columns, of which this is the
	// last. A database that cannot roll back a step that was interrupted is
	// asked whether it is there.
	table, index, column string
}

// makesIndexes reports whether a step does nothing else. On tables in use, indexes
// are made one by one, while others read and write: see makeIndex.
func (st step) makesIndexes() bool {
	return !slices.ContainsFunc(st, func(x statement) bool { return x.index == "" })
}

var steps = []step{
	{
		{sql: `CREATE TABLE IF NOT EXISTS {p}profiles (
	id              {id} NOT NULL PRIMARY KEY,
	version         {int} NOT NULL,
	created         {time} NOT NULL,
	updated         {time} NOT NULL,
	name            {text} NOT NULL,
	description     {text} NOT NULL,
	type            {text} NOT NULL,
	client_id       {text} NOT NULL,
	client_secret   {secret} NOT NULL,
	auth_method     {text} NOT NULL,
	template        {text} NOT NULL,
	discovery_url   {text} NOT NULL,
	auth_url        {text} NOT NULL,
	token_url       {text} NOT NULL,
	revocation_url  {text} NOT NULL,
	device_auth_url {text} NOT NULL,
	scopes          {text} NOT NULL,
	redirect_url    {text} NOT NULL,
	params          {text} NOT NULL{refused}
){end}`},
		{sql: `CREATE TABLE IF NOT EXISTS {p}grants (
	profile_id              {id} NOT NULL,
	user_id                 {user} NOT NULL,
	version                 {int} NOT NULL,
	created                 {time} NOT NULL,
	updated                 {time} NOT NULL,
	status                  {text} NOT NULL,
	access_token            {secret} NOT NULL,
	refresh_token           {secret} NOT NULL,
	token_type              {text} NOT NULL,
	obtained                {time},
	expiry                  {time},
	refresh_expiry          {time},
	scopes                  {text} NOT NULL,
	requested               {text} NOT NULL,
	client_id               {text} NOT NULL,
	issuer                  {text} NOT NULL,
	subject                 {text} NOT NULL,
	nonce                   {text} NOT NULL,
	extra                   {secret} NOT NULL,
	failure_reason          {text},
	failure_code            {text},
	failure_description     {text},
	failure_http_status     {int},
	failing_since           {time},
	last_attempt            {time},
	next_attempt            {time},
	attempts                {int},
	paced                   {bool},
	failure_profile_version {int},
	lease_owner             {text},
	lease_attempt           {text},
	lease_length_ns         {int}{refused},
	PRIMARY KEY (profile_id, user_id)
){end}{often}`},
		{sql: `CREATE TABLE IF NOT EXISTS {p}flows (
	id              {id} NOT NULL PRIMARY KEY,
	profile_id      {id} NOT NULL,
	user_id         {user} NOT NULL,
	expires         {time} NOT NULL,
	verifier        {secret} NOT NULL,
	nonce           {text} NOT NULL,
	redirect_url    {text} NOT NULL,
	requested       {text} NOT NULL,
	issuer          {text} NOT NULL,
	issuer_required {bool} NOT NULL,
	profile_version {int} NOT NULL,
	browser         {text} NOT NULL,
	return_to       {text} NOT NULL
){end}`},
	},
	{
		// For operators: the grants whose users have to authorize again.
		{sql: `CREATE INDEX {ifnew}{p}grants_status ON {p}grants (status{prefix}, failing_since){failing}`, table: "grants", index: "grants_status"},
		// For PutFlow, which removes some of those that have expired.
		{sql: `CREATE INDEX {ifnew}{p}flows_expires ON {p}flows (expires)`, table: "flows", index: "flows_expires"},
	},
	{
		// To add these columns changes no row, and replicas of the release
		// before insert rows without them. They are NULL where there is nothing
		// to say, but for due: its default is a time long ago, so that Maintain
		// looks once at each grant that was there before, and at each that a
		// replica of that release creates. A constant default is kept beside the
		// rows.
		{sql: `ALTER TABLE {p}profiles
	ADD COLUMN token_params {text},
	ADD COLUMN api_hosts {text},
	ADD COLUMN client_key {secret},
	ADD COLUMN secret_expires {time},
	ADD COLUMN keep_alive_ns {int},
	ADD COLUMN par_url {text}`, table: "profiles", column: "par_url"},
		{sql: `ALTER TABLE {p}grants
	ADD COLUMN account {text},
	ADD COLUMN authorized {time},
	ADD COLUMN ends {time},
	ADD COLUMN ends_by {text},
	ADD COLUMN due {time} DEFAULT {long ago},
	ADD COLUMN told {text},
	ADD COLUMN told_at {time},
	ADD COLUMN warned {time}`, table: "grants", column: "warned"},
		// MySQL does not index the whole of a text.
		{sql: `ALTER TABLE {p}grants
	ADD COLUMN status_key VARBINARY(255) AS (LEFT(status, 63)) VIRTUAL`, only: MySQL, table: "grants", column: "status_key"},
	},
	{
		// For ListGrants, CountGrants and DueGrants. A renewal changes none of
		// these columns as a rule.
		{sql: `CREATE INDEX {ifnew}{p}grants_user ON {p}grants (user_id, profile_id)`, table: "grants", index: "grants_user"},
		{sql: `CREATE INDEX {ifnew}{p}grants_state ON {p}grants ({status}, profile_id, user_id)`, table: "grants", index: "grants_state"},
		{sql: `CREATE INDEX {ifnew}{p}grants_ends ON {p}grants (ends, profile_id, user_id){known ends}`, table: "grants", index: "grants_ends"},
		{sql: `CREATE INDEX {ifnew}{p}grants_due ON {p}grants (due){known due}`, table: "grants", index: "grants_due"},
	},
}

const stepsTable = `CREATE TABLE IF NOT EXISTS {p}schema (
	step    {int} NOT NULL PRIMARY KEY,
	applied {time} NOT NULL
){end}`

// ddl writes a statement in the dialect. There may be several, or none.
func (d *dialect) ddl(x statement, prefix string) []string {
	if x.only != "" && x.only != d.name {
		return nil
	}
	sql := d.write(x.sql, prefix)
	if d.name != SQLite || x.column == "" {
		return []string{sql}
	}
	// One column at a time is all that SQLite adds.
	alter, columns, _ := strings.Cut(sql, "\n\t")
	var all []string
	for column := range strings.SplitSeq(columns, ",\n\t") {
		all = append(all, alter+" "+column)
	}
	return all
}

func (d *dialect) write(sql, prefix string) string {
	refused, ifnew, indexed, failing, often := "", "IF NOT EXISTS ", "", "", ""
	status, knownEnds, knownDue := "status", " WHERE ends IS NOT NULL", " WHERE due IS NOT NULL"
	switch d.name {
	case Postgres:
		// A renewal puts a grant twice or more. Room in each page lets the
		// new row stay where the old one was, and the indexes as they are.
		often = " WITH (fillfactor = 80)"
		// SQLite does not see that a query for another status needs no more
		// than this.
		failing = " WHERE status <> 'active'"
	case MySQL:
		refused = ",\n\trefused BIGINT NOT NULL DEFAULT 0"
		ifnew, indexed = "", "(32)"
		status, knownEnds, knownDue = "status_key", "", ""
	}
	sql = strings.NewReplacer("{p}", prefix, "{end}", d.tableEnd, "{refused}", refused,
		"{ifnew}", ifnew, "{prefix}", indexed, "{failing}", failing, "{often}", often,
		"{status}", status, "{known ends}", knownEnds, "{known due}", knownDue,
		"{long ago}", "'"+d.longAgo+"'").Replace(sql)
	return d.types.Replace(sql)
}

func (d *dialect) recordStep(prefix string, n int) string {
	return fmt.Sprintf("INSERT INTO %sschema (step, applied) VALUES (%d, %s)", prefix, n, d.now)
}

// Schema returns the statements that [Store.Migrate] runs on an empty
// database, each ended by a semicolon at the end of a line, for those who
// prefer their own way of migrating. If opts is nil, the defaults hold.
//
// Migrate finds nothing to do on a database that was made with them. Later
// releases add statements at the end. On tables in use, indexes are better made
// as Migrate makes them: with PostgreSQL by CREATE INDEX CONCURRENTLY.
func Schema(d Dialect, opts *Options) (string, error) {
	dia, prefix, err := settings(d, opts)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	write := func(sql string) { b.WriteString(sql + ";\n\n") }
	write(dia.write(stepsTable, prefix))
	for i, st := range steps {
		for _, x := range st {
			for _, sql := range dia.ddl(x, prefix) {
				write(sql)
			}
		}
		write(dia.recordStep(prefix, i+1))
	}
	return strings.TrimSuffix(b.String(), "\n"), nil
}

// Migrate makes the tables, or brings those of an older release up to date. If
// they are, it only reads. Many processes may call it at once, at every start;
// it returns when the tables are ready.
//
// It changes nothing that the release before does not understand, so that
// replicas can be replaced one by one. Tables of a later release it leaves as
// they are. Reading and writing go on meanwhile: see "Upgrading" above. If
// transactions of others, such as a backup, keep it from adding a column, it
// tries again every second until ctx ends. What was interrupted, the next call
// takes up.
//
// It refuses to go on if sessions have settings with which what is put would be
// lost or changed, such as MySQL's autocommit off; the error says what to do.
//
// It needs the right to create tables only if there is something to do; see
// [Schema] for how to do it by other means.
func (s *Store) Migrate(ctx context.Context) error {
	// Databases fail in many ways if two processes create the same thing at
	// once. So after any error look again whether the tables are there.
	err := s.migrate(ctx)
	for delay := 20 * time.Millisecond; err != nil && !isUnfit(err) && ctx.Err() == nil && delay <= time.Second; {
		pause := delay
		if codeOf(err).lockTimeout {
			pause = time.Second
		} else {
			delay *= 2
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
			err = s.migrate(ctx)
		case <-ctx.Done():
			timer.Stop()
		}
	}
	if err != nil {
		if _, ok := errors.AsType[*storeError](err); !ok {
			err = &storeError{"migrate", err}
		}
		return err
	}
	return nil
}

func (s *Store) migrate(ctx context.Context) error {
	if err := s.checkSession(ctx); err != nil {
		return err
	}
	applied, err := s.applied(ctx)
	if err != nil { // most likely there is no such table
		if err := s.exec(ctx, s.d.write(stepsTable, s.prefix)); err != nil {
			return err
		}
		if applied, err = s.applied(ctx); err != nil {
			return err
		}
	}
	isNew := len(applied) == 0 // there are no rows whose readers and writers could have to wait for an index
	for i, st := range steps {
		if applied[int64(i+1)] {
			continue
		}
		apply := s.applyInPieces
		if s.d.transactional && (isNew || !st.makesIndexes()) {
			apply = s.applyWhole
		}
		if err := apply(ctx, i+1, st); err != nil {
			return err
		}
	}
	return nil
}

// An unfit is the error for a setting of sessions with which puts are lost or
// changed. Its text says what to do.
type unfit string

func (u unfit) Error() string { return string(u) }

func isUnfit(err error) bool {
	_, ok := errors.AsType[unfit](err)
	return ok
}

// unfits are the errors by the names that a dialect's question returns.
var unfits = map[string]unfit{
	"autocommit": "autocommit is off, so that nothing would be committed: " +
		"set autocommit=1 in the connection string, or take it out of the server's init_connect",
	"completion_type": "a commit begins another transaction, or ends the session: " +
		"set completion_type=0 in the connection string, or in the server's configuration",
	"sql_mode": "an empty string would be NULL: take EMPTY_STRING_IS_NULL out of sql_mode",
	"client_encoding": "the server takes text to be in another encoding than UTF-8: " +
		"set client_encoding=UTF8 in the connection string, or take it out of the settings of the database and its roles",
}

// checkSession asks one connection for its settings: they come from the server
// or from the connection string, and are the same for all. A server that does
// not understand the question, such as one that only imitates MySQL or
// PostgreSQL, is not refused.
func (s *Store) checkSession(ctx context.Context) error {
	if s.d.unfit == "" {
		return nil
	}
	err := s.call(ctx, "migrate", func(c *sql.Conn) error {
		var name string
		err := scanAll(ctx, c, s.d.unfit, nil, func(scan func([]column) error) error {
			return scan([]column{{"unfit", key{&name}}})
		})
		if u, ok := unfits[name]; ok {
			return u
		}
		return err
	})
	if isUnfit(err) {
		return err
	}
	return nil // any other error comes again with the next statement
}

// applied returns the steps that are done.
func (s *Store) applied(ctx context.Context) (map[int64]bool, error) {
	done := make(map[int64]bool)
	err := s.call(ctx, "migrate", func(c *sql.Conn) error {
		return scanAll(ctx, c, "SELECT step FROM "+s.prefix+"schema", nil, func(scan func([]column) error) error {
			var n int64
			err := scan([]column{{"step", number[int64]{&n}}})
			done[n] = true
			return err
		})
	})
	return done, err
}

func (s *Store) exec(ctx context.Context, statement string) error {
	return s.call(ctx, "migrate", func(c *sql.Conn) error {
		_, err := c.ExecContext(ctx, statement)
		return err
	})
}

// applyWhole does a step in one transaction. It records the step first, which
// serves as a lock: other processes wait there until the first has done the
// step or has failed.
func (s *Store) applyWhole(ctx context.Context, n int, st step) error {
	return s.call(ctx, "migrate", func(c *sql.Conn) error {
		tx, err := c.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		defer tx.Rollback()
		res, err := tx.ExecContext(ctx, s.d.recordStep(s.prefix, n)+s.d.recorded)
		if err != nil {
			return err
		}
		if first, err := res.RowsAffected(); err != nil || first == 0 {
			return err
		}
		if s.d.impatient != "" {
			if _, err := tx.ExecContext(ctx, s.d.impatient); err != nil {
				return err
			}
		}
		for _, x := range st {
			for _, sql := range s.d.ddl(x, s.prefix) {
				if _, err := tx.ExecContext(ctx, sql); err != nil {
					return err
				}
			}
		}
		return tx.Commit()
	})
}

// applyInPieces does a step of which each statement is committed by itself. Some
// may have been done before, or are being done by another process.
func (s *Store) applyInPieces(ctx context.Context, n int, st step) error {
	for _, x := range st {
		apply := s.applyOne
		if s.d.name == Postgres {
			apply = s.makeIndex
		}
		if err := apply(ctx, x); err != nil {
			return err
		}
	}
	return s.exec(ctx, s.d.recordStep(s.prefix, n)+s.d.recorded)
}

// applyOne does a statement unless it has been done.
func (s *Store) applyOne(ctx context.Context, x statement) error {
	if ok, err := s.has(ctx, x); ok || err != nil {
		return err
	}
	for _, sql := range s.d.ddl(x, s.prefix) {
		if err := s.alter(ctx, sql); err != nil {
			if ok, _ := s.has(ctx, x); !ok {
				return err
			}
		}
	}
	return nil
}

// alter runs a statement that needs a table for itself for a moment, at its
// beginning or end. MySQL makes all others wait that come after it, and so it
// must not wait for long. Without a clause that says how, it does what it can
// in place, while others read and write.
func (s *Store) alter(ctx context.Context, statement string) error {
	if s.d.name != MySQL {
		return s.exec(ctx, statement)
	}
	return s.call(ctx, "migrate", func(c *sql.Conn) error {
		if _, err := c.ExecContext(ctx, s.d.impatient); err != nil {
			return err
		}
		_, err := c.ExecContext(ctx, statement)
		c.Raw(func(any) error { return driver.ErrBadConn }) // so that the pool closes it, and with it goes the setting
		return err
	})
}

// has reports whether MySQL has what a statement adds. Of other databases it
// says no: they take it twice.
func (s *Store) has(ctx context.Context, x statement) (bool, error) {
	if s.d.name != MySQL {
		return false, nil
	}
	query, name := "SELECT COUNT(*) FROM information_schema.statistics WHERE table_schema = DATABASE() AND table_name = ? AND index_name = ?", s.prefix+x.index
	switch {
	case x.column != "":
		query, name = "SELECT COUNT(*) FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name = ? AND column_name = ?", x.column
	case x.index == "":
		return false, nil
	}
	var n int64
	err := s.call(ctx, "migrate", func(c *sql.Conn) error {
		return scanAll(ctx, c, query, []any{s.prefix + x.table, name}, func(scan func([]column) error) error {
			return scan([]column{{"count", number[int64]{&n}}})
		})
	})
	return n > 0, err
}

// The state of an index of PostgreSQL: not there, being made or left behind by
// one who has died on the way, or ready.
const (
	indexMissing = iota
	indexInvalid
	indexValid
)

// makeIndex makes an index of PostgreSQL while others read and write. That takes
// several transactions, and leaves an invalid index behind if it is interrupted.
func (s *Store) makeIndex(ctx context.Context, x statement) error {
	for range 10 { // others may do the same, or die while they do
		var state int
		err := s.call(ctx, "migrate", func(c *sql.Conn) (err error) {
			state, err = s.indexState(ctx, c, x)
			return err
		})
		switch {
		case err != nil:
			return err
		case state == indexValid:
			return nil
		case state == indexInvalid:
			err = s.dropInvalid(ctx, x)
		default:
			for _, sql := range s.d.ddl(x, s.prefix) {
				err = s.exec(ctx, strings.Replace(sql, "INDEX", "INDEX CONCURRENTLY", 1))
			}
		}
		if err != nil {
			return err
		}
	}
	return errIndex
}

var errIndex = errors.New("an index cannot be made: something else may have its name")

func (s *Store) indexState(ctx context.Context, c querier, x statement) (state int, err error) {
	const query = "SELECT CASE WHEN i.indisvalid THEN 2 ELSE 1 END FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid " +
		"WHERE i.indrelid = to_regclass($1) AND c.relname = $2"
	err = scanAll(ctx, c, query, []any{s.prefix + x.table, s.prefix + x.index}, func(scan func([]column) error) error {
		return scan([]column{{"state", number[int]{&state}}})
	})
	return state, err
}

// dropInvalid removes what was left behind of an index. Those who are making it
// hold the same lock, which keeps none from reading and writing: they are waited
// for, and what they have made stays.
func (s *Store) dropInvalid(ctx context.Context, x statement) error {
	return s.call(ctx, "migrate", func(c *sql.Conn) error {
		tx, err := c.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelReadCommitted})
		if err != nil {
			return err
		}
		defer tx.Rollback()
		if _, err := tx.ExecContext(ctx, "LOCK TABLE "+s.prefix+x.table+" IN SHARE UPDATE EXCLUSIVE MODE"); err != nil {
			return err
		}
		if state, err := s.indexState(ctx, tx, x); err != nil || state != indexInvalid {
			return err
		}
		for _, sql := range []string{s.d.impatient, "DROP INDEX " + s.prefix + x.index} {
			if _, err := tx.ExecContext(ctx, sql); err != nil {
				return err
			}
		}
		return tx.Commit()
	})
}
