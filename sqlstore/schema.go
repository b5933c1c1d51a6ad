package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
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
	sql string

	// index is the name of the index that it creates. MySQL, which cannot
	// roll back a step that was interrupted, is asked whether it is there.
	index string
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
		{sql: `CREATE INDEX {ifnew}{p}grants_status ON {p}grants (status{prefix}, failing_since){failing}`, index: "grants_status"},
		// For PutFlow, which removes some of those that have expired.
		{sql: `CREATE INDEX {ifnew}{p}flows_expires ON {p}flows (expires)`, index: "flows_expires"},
	},
}

const stepsTable = `CREATE TABLE IF NOT EXISTS {p}schema (
	step    {int} NOT NULL PRIMARY KEY,
	applied {time} NOT NULL
){end}`

// ddl writes a statement in the dialect.
func (d *dialect) ddl(sql, prefix string) string {
	refused, ifnew, indexed, failing, often := "", "IF NOT EXISTS ", "", "", ""
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
	}
	sql = strings.NewReplacer("{p}", prefix, "{end}", d.tableEnd, "{refused}", refused,
		"{ifnew}", ifnew, "{prefix}", indexed, "{failing}", failing, "{often}", often).Replace(sql)
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
// releases add statements at the end.
func Schema(d Dialect, opts *Options) (string, error) {
	dia, prefix, err := settings(d, opts)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	write := func(sql string) { b.WriteString(sql + ";\n\n") }
	write(dia.ddl(stepsTable, prefix))
	for i, st := range steps {
		for _, x := range st {
			write(dia.ddl(x.sql, prefix))
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
// they are.
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
	for delay := 20 * time.Millisecond; err != nil && !isUnfit(err) && ctx.Err() == nil && delay <= time.Second; delay *= 2 {
		timer := time.NewTimer(delay)
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
		if err := s.exec(ctx, s.d.ddl(stepsTable, s.prefix)); err != nil {
			return err
		}
		if applied, err = s.applied(ctx); err != nil {
			return err
		}
	}
	for i, st := range steps {
		if applied[int64(i+1)] {
			continue
		}
		apply := s.applyInPieces
		if s.d.transactional {
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
		res, err := tx.ExecContext(ctx, s.d.recordStep(s.prefix, n)+" ON CONFLICT (step) DO NOTHING")
		if err != nil {
			return err
		}
		if first, err := res.RowsAffected(); err != nil || first == 0 {
			return err
		}
		for _, x := range st {
			if _, err := tx.ExecContext(ctx, s.d.ddl(x.sql, s.prefix)); err != nil {
				return err
			}
		}
		return tx.Commit()
	})
}

// applyInPieces does a step on a database that commits each statement by
// itself. Some may have been done before, or are being done by another process.
func (s *Store) applyInPieces(ctx context.Context, n int, st step) error {
	for _, x := range st {
		if ok, err := s.hasIndex(ctx, x.index); ok || err != nil {
			if err != nil {
				return err
			}
			continue
		}
		if err := s.exec(ctx, s.d.ddl(x.sql, s.prefix)); err != nil {
			if ok, _ := s.hasIndex(ctx, x.index); !ok {
				return err
			}
		}
	}
	return s.exec(ctx, s.d.recordStep(s.prefix, n)+" ON DUPLICATE KEY UPDATE step = step")
}

func (s *Store) hasIndex(ctx context.Context, name string) (bool, error) {
	if name == "" {
		return false, nil
	}
	table, _, _ := strings.Cut(name, "_")
	var n int64
	err := s.call(ctx, "migrate", func(c *sql.Conn) error {
		return scanAll(ctx, c, "SELECT COUNT(*) FROM information_schema.statistics WHERE table_schema = DATABASE() AND table_name = ? AND index_name = ?",
			[]any{s.prefix + table, s.prefix + name}, func(scan func([]column) error) error {
				return scan([]column{{"count", number[int64]{&n}}})
			})
	})
	return n > 0, err
}
