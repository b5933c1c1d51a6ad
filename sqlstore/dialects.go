package sqlstore

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// A dialect is what the databases differ in.
type dialect struct {
	name Dialect

	dollars   bool // placeholders are $1, $2, not ?
	returning bool // UPDATE and DELETE return rows

	// How times and bytes travel. No setting of the server, the session or the
	// driver may change it: a put whose answer cannot be read would fail after
	// it took effect. MySQL's drivers take and return a time.Time in a zone that
	// is a matter of settings. PostgreSQL writes times and bytes, where a driver
	// has them as text, as DateStyle and bytea_output say, and drivers read the
	// default forms only; a time.Time that they send has one meaning. The forms
	// that it is asked for are the cheapest of those that no setting changes:
	// milliseconds since 1970, and base64.
	timeLayout string // of times in text
	timeValue  bool   // times are sent as a time.Time
	timeRead   string // how a column of times is selected
	millis     bool   // which makes them milliseconds since 1970
	bytesRead  string // how a column of bytes is selected
	base64     bool   // which encodes them

	// inOrder joins two tables, the first of which is read first. PostgreSQL
	// finds that out where the first is a sorted part of an index.
	inOrder string

	types         *strings.Replacer // of columns, in steps
	tableEnd      string
	now           string // the present, in the format of a column
	longAgo       string // the beginning of 1970, in that format
	unfit         string // asks which setting of the session would lose what is put
	transactional bool   // CREATE and ALTER can be rolled back
	recorded      string // ends the record of a step that may be there

	// impatient bounds the time for which an ALTER waits for other
	// transactions, in which all others wait for it.
	impatient string
}

var dialects = map[Dialect]*dialect{
	SQLite: {
		name:       SQLite,
		returning:  true,
		timeLayout: "2006-01-02T15:04:05.000Z",
		timeRead:   "%s",
		bytesRead:  "%s",
		inOrder:    "CROSS JOIN",
		types: strings.NewReplacer("{id}", "TEXT", "{user}", "TEXT", "{text}", "TEXT", "{secret}", "BLOB",
			"{time}", "TEXT", "{int}", "INTEGER", "{bool}", "INTEGER"),
		now:           "strftime('%Y-%m-%dT%H:%M:%fZ', 'now')",
		longAgo:       "1970-01-01T00:00:00.000Z",
		transactional: true,
		recorded:      " ON CONFLICT (step) DO NOTHING",
	},
	Postgres: {
		name:      Postgres,
		dollars:   true,
		returning: true,
		timeValue: true,
		timeRead:  "CASE WHEN NOT isfinite(%[1]s) THEN 9223372036854775807 ELSE (date_part('epoch', %[1]s) * 1000)::int8 END",
		millis:    true,
		bytesRead: "encode(%s, 'base64')",
		base64:    true,
		inOrder:   "CROSS JOIN",
		types: strings.NewReplacer("{id}", `TEXT COLLATE "C"`, "{user}", `TEXT COLLATE "C"`, "{text}", "TEXT", "{secret}", "BYTEA",
			"{time}", "TIMESTAMPTZ(3)", "{int}", "BIGINT", "{bool}", "BOOLEAN"),
		now:     "now()",
		longAgo: "1970-01-01 00:00:00+00",
		unfit: "SELECT CASE WHEN pg_client_encoding() NOT IN ('UTF8', 'SQL_ASCII', current_setting('server_encoding')) THEN 'client_encoding' " +
			"ELSE 'none' END",
		transactional: true,
		recorded:      " ON CONFLICT (step) DO NOTHING",
		impatient:     "SET LOCAL lock_timeout = '200ms'",
	},
	MySQL: {
		name:       MySQL,
		timeLayout: "2006-01-02 15:04:05.000",
		timeRead:   "CAST(%s AS CHAR)",
		bytesRead:  "%s",
		inOrder:    "STRAIGHT_JOIN",
		// No collation of MySQL and MariaDB both is binary and minds spaces
		// at the end. VARBINARY has none.
		types: strings.NewReplacer("{id}", "VARBINARY(255)", "{user}", "VARBINARY(512)", "{text}", "LONGTEXT", "{secret}", "LONGBLOB",
			"{time}", "DATETIME(3)", "{int}", "BIGINT", "{bool}", "BOOLEAN"),
		tableEnd: " ENGINE=InnoDB ROW_FORMAT=DYNAMIC CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
		now:      "UTC_TIMESTAMP(3)",
		longAgo:  "1970-01-01 00:00:00.000",
		unfit: "SELECT CASE WHEN @@autocommit = 0 THEN 'autocommit' " +
			"WHEN @@completion_type <> 'NO_CHAIN' THEN 'completion_type' " +
			"WHEN FIND_IN_SET('EMPTY_STRING_IS_NULL', @@sql_mode) > 0 THEN 'sql_mode' " +
			"ELSE 'none' END",
		recorded:  " ON DUPLICATE KEY UPDATE step = step",
		impatient: "SET SESSION lock_wait_timeout = 1",
	},
}

// A table is the statements for one kind of record.
type table struct {
	name    string
	keys    []string
	columns string // as they are read

	get, first, next       string
	insert, update, upsert string
	created                string // its time of creation, if it is at that version
	delete, deleteAll      string
	take                   string

	// Of grants: all by status, those of a status and a profile, and which
	// statuses there are.
	count, countOf          string
	firstStatus, nextStatus string
}

// table returns the statements for records with these columns. Pages go by the
// last key, through all records or through those of one profile.
func (d *dialect) table(name string, cols []column, keys ...string) table {
	var names, selected, changed, excluded, marks []string
	for _, c := range cols {
		names = append(names, c.name)
		marks = append(marks, "?")
		selected = append(selected, d.selected(c))
		if !slices.Contains(keys, c.name) {
			excluded = append(excluded, c.name+" = excluded."+c.name)
			if c.name != "created" {
				changed = append(changed, c.name+" = ?")
			}
		}
	}
	columns := strings.Join(selected, ", ")
	var one, within []string
	for _, k := range keys {
		one = append(one, k+" = ?")
	}
	last := keys[len(keys)-1]
	within = one[:len(one)-1]
	page := " ORDER BY " + last + " LIMIT ?"
	version := append(slices.Clone(one), "version = ?")
	after := append(slices.Clone(within), last+" > ?")

	t := table{
		name:      name,
		keys:      keys,
		columns:   columns,
		get:       "SELECT " + columns + " FROM " + name + where(one),
		first:     "SELECT " + columns + " FROM " + name + where(within) + page,
		next:      "SELECT " + columns + " FROM " + name + where(after) + page,
		insert:    "INSERT INTO " + name + " (" + strings.Join(names, ", ") + ") VALUES (" + strings.Join(marks, ", ") + ")",
		update:    "UPDATE " + name + " SET " + strings.Join(changed, ", ") + where(version),
		created:   "SELECT " + d.selected(column{"created", when{}}) + " FROM " + name + where(version),
		delete:    "DELETE FROM " + name + where(one),
		deleteAll: "DELETE FROM " + name + where(within),
		take:      "DELETE FROM " + name + where(one) + " RETURNING " + columns,
	}
	if d.returning {
		t.update += " RETURNING " + d.selected(column{"created", when{}})
	}
	if d.name == MySQL {
		// INSERT IGNORE would cut what is too long, and an update that
		// changes nothing counts as one row or as none, as the connection
		// has it. One that changes something counts as two.
		t.upsert = "REPLACE" + strings.TrimPrefix(t.insert, "INSERT")
		t.insert += " ON DUPLICATE KEY UPDATE refused = refused + 1"
	} else {
		conflict := " ON CONFLICT (" + strings.Join(keys, ", ") + ") DO "
		t.upsert = t.insert + conflict + "UPDATE SET " + strings.Join(excluded, ", ")
		t.insert += conflict + "NOTHING"
	}
	for _, s := range []*string{&t.get, &t.first, &t.next, &t.insert, &t.update, &t.upsert, &t.created, &t.delete, &t.deleteAll, &t.take} {
		*s = d.sql(*s)
	}
	return t
}

func where(conditions []string) string {
	if len(conditions) == 0 {
		return ""
	}
	return " WHERE " + strings.Join(conditions, " AND ")
}

// selected is how a column is read.
func (d *dialect) selected(c column) string {
	v := c.value
	switch w := v.(type) {
	case optional:
		v = w.value
	case sparse:
		v = w.value
	}
	switch v.(type) {
	case when:
		return fmt.Sprintf(d.timeRead, c.name)
	case secret, extra:
		return fmt.Sprintf(d.bytesRead, c.name)
	}
	return c.name
}

// sweep deletes some of the flows that have expired. Rows that another process
// is about to delete are left to it where the database can tell.
func (d *dialect) sweep(flows string) string {
	const order = " WHERE expires < ? ORDER BY expires LIMIT 100"
	switch d.name {
	case MySQL:
		return d.sql("DELETE FROM " + flows + order)
	case Postgres:
		return d.sql("DELETE FROM " + flows + " WHERE id IN (SELECT id FROM " + flows + order + " FOR UPDATE SKIP LOCKED)")
	default:
		return d.sql("DELETE FROM " + flows + " WHERE id IN (SELECT id FROM " + flows + order + ")")
	}
}

// sql writes the placeholders of a statement as the database wants them. There
// is no question mark in our statements that is not one.
func (d *dialect) sql(s string) string {
	if !d.dollars {
		return s
	}
	var b strings.Builder
	for i, part := range strings.Split(s, "?") {
		if i > 0 {
			b.WriteString("$" + strconv.Itoa(i))
		}
		b.WriteString(part)
	}
	return b.String()
}
