package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/authprofile/authprofile"
)

// ListGrants implements [authprofile.Store].
//
// A page costs the same however many grants there are, by an index for what the
// filter says, but for this:
//
//   - With User, it costs what the user has in all profiles, if Status or
//     EndsBefore pass few of that.
//   - With EndsBefore and without User, it costs what a thousand grants do where
//     no more of them end before that time. Where more do, the grants are read in
//     order, by ProfileID and Status if those are given, and those that end later
//     are passed over: the page then costs more the fewer end before that time.
//     If one grant in a hundred does, a page of a hundred reads ten thousand.
func (s *Store) ListGrants(ctx context.Context, f authprofile.GrantFilter, after authprofile.GrantKey, limit int) ([]*authprofile.Grant, error) {
	if !storable(f.ProfileID, maxID) || !storable(f.User, maxUser) {
		return nil, ctxError(ctx, "list grants")
	}
	return pages(after, limit, func(after position, limit int) (page[*authprofile.Grant], error) {
		return s.findGrants(ctx, f, after, limit)
	})
}

func (s *Store) findGrants(ctx context.Context, f authprofile.GrantFilter, after position, limit int) (p page[*authprofile.Grant], err error) {
	const op = "list grants"
	keys, ok := s.d.keys(f, after, "profile_id", "user_id")
	if !ok {
		return p, ctxError(ctx, op)
	}
	ordered := s.d.ordered(s.grants, f, keys, limit)
	if f.EndsBefore.IsZero() || f.User != "" {
		return read(ctx, s, op, s.scanGrant, ordered.sql, ordered.args...)
	}

	// No index has the grants that end before a time in the order of their
	// keys. Which way costs less is a matter of how many they are. That is
	// counted, up to a bound, since what databases expect is often wrong: their
	// statistics are old, or they do not look at the time when they plan. Both
	// statements see the same state.
	few := s.d.few(s.grants, f, after, limit)
	count := s.d.ending(s.grants, f)
	err = s.snapshot(ctx, op, func(tx *sql.Tx) error {
		var n int64
		err := scanAll(ctx, tx, count.sql, count.args, func(scan func([]column) error) error {
			return scan([]column{{"count", number[int64]{&n}}})
		})
		if err != nil {
			return err
		}
		q := ordered
		if n < fewEnding {
			q = few
		}
		p, err = collect(ctx, tx, op, s.scanGrant, q.sql, q.args...)
		return err
	})
	return p, err
}

// snapshot runs f, whose statements all see the same state.
func (s *Store) snapshot(ctx context.Context, op string, f func(*sql.Tx) error) error {
	var opts *sql.TxOptions
	if s.d.name != SQLite { // where every transaction is like that
		opts = &sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true}
	}
	return s.call(ctx, op, func(c *sql.Conn) error {
		tx, err := c.BeginTx(ctx, opts)
		if err != nil {
			return err
		}
		defer tx.Rollback()
		return f(tx)
	})
}

// fewEnding is the number of grants below which those that end before a time
// are all read and put in order.
const fewEnding = 1000

// A query is a statement, or a part of one, with its arguments.
type query struct {
	sql  string
	args []any
}

// A condition is a list of them, all of which have to hold.
type condition struct {
	terms []string
	args  []any
}

func (c *condition) and(term string, args ...any) {
	c.terms = append(c.terms, term)
	c.args = append(c.args, args...)
}

// keys is the condition for keys that pass the filter and come after the given
// one, by the names of their columns. It reports false if there are none.
func (d *dialect) keys(f authprofile.GrantFilter, after position, profile, user string) (c condition, ok bool) {
	beginning := after == (position{})
	if f.ProfileID != "" {
		c.and(profile+" = ?", f.ProfileID)
	}
	if f.User != "" {
		c.and(user+" = ?", f.User)
	}
	switch {
	case beginning:
	case f.ProfileID != "":
		switch {
		case f.ProfileID > after.ProfileID: // all of them
		case f.ProfileID < after.ProfileID, f.User != "" && f.User <= after.User:
			return c, false
		case f.User == "":
			c.and(user+" > ?", after.User)
		}
	case f.User > after.User: // in that profile, too; no user is less than that
		c.and(profile+" >= ?", after.ProfileID)
	case f.User != "":
		c.and(profile+" > ?", after.ProfileID)
	case d.name == MySQL:
		// It has no ranges for a comparison of rows.
		c.and("("+profile+" > ? OR "+profile+" = ? AND "+user+" > ?)", after.ProfileID, after.ProfileID, after.User)
	default:
		c.and("("+profile+", "+user+") > (?, ?)", after.ProfileID, after.User)
	}
	return c, true
}

// status is the condition for a status. Unless it is indexed, the database may
// not use an index for it.
func (d *dialect) status(c *condition, status authprofile.Status, indexed bool) {
	if status == "" {
		return
	}
	v := text[authprofile.Status]{&status}
	switch {
	case d.name == MySQL:
		if indexed {
			c.and("status_key = LEFT(?, 63)", v)
		}
		// No collation minds spaces at the end, and the key is cut.
		c.and("CAST(status AS BINARY) = ?", v)
	case d.name == SQLite && !indexed:
		c.and("+status = ?", v)
	default:
		c.and("status = ?", v)
	}
}

// ends is the condition for the end of a grant, as status is for its status.
func (d *dialect) ends(c *condition, before time.Time, indexed bool) {
	if before.IsZero() {
		return
	}
	name := "ends"
	switch {
	case indexed:
	case d.name == SQLite:
		name = "+ends"
	case d.name == MySQL:
		name = "ends + INTERVAL 0 SECOND"
	}
	c.and(name+" <= ?", d.lastBefore(before))
}

// lastBefore is the last time before another, as times are stored: to the
// millisecond.
func (d *dialect) lastBefore(before time.Time) when {
	last := before.Add(-time.Nanosecond).UTC().Truncate(time.Millisecond)
	return when{d, &last}
}

// ordered reads the grants by an index that has them in order.
func (d *dialect) ordered(t table, f authprofile.GrantFilter, keys condition, limit int) query {
	d.status(&keys, f.Status, f.User == "")
	d.ends(&keys, f.EndsBefore, false)
	// MariaDB would sort by what is the same in all rows.
	order := ""
	switch {
	case f.ProfileID == "" && f.User == "":
		order = " ORDER BY profile_id, user_id"
	case f.User == "":
		order = " ORDER BY user_id"
	case f.ProfileID == "":
		order = " ORDER BY profile_id"
	}
	return query{
		d.sql("SELECT " + t.columns + " FROM " + t.name + where(keys.terms) + order + " LIMIT ?"),
		append(keys.args, limit),
	}
}

// early selects the first that end, by an index that has them in that order.
func (d *dialect) early(t table, f authprofile.GrantFilter) query {
	var c condition
	d.ends(&c, f.EndsBefore, true)
	return query{
		fmt.Sprintf("SELECT profile_id AS p, user_id AS u FROM %s%s ORDER BY ends LIMIT %d", t.name, where(c.terms), fewEnding),
		c.args,
	}
}

// ending counts them.
func (d *dialect) ending(t table, f authprofile.GrantFilter) query {
	early := d.early(t, f)
	return query{d.sql("SELECT COUNT(*) FROM (" + early.sql + ") AS early"), early.args}
}

// few reads the grants of which early has all keys: from these to the grants,
// and not the other way.
func (d *dialect) few(t table, f authprofile.GrantFilter, after position, limit int) query {
	early := d.early(t, f)
	keys, _ := d.keys(f, after, "p", "u")
	args := append(early.args, keys.args...)
	c := condition{terms: []string{"profile_id = p", "user_id = u"}}
	d.status(&c, f.Status, false)
	args = append(args, c.args...)
	return query{
		d.sql("SELECT " + t.columns + " FROM (SELECT p, u FROM (" + early.sql + ") AS early" + where(keys.terms) + " ORDER BY p, u) AS listed " +
			d.inOrder + " " + t.name + where(c.terms) + " ORDER BY p, u LIMIT ?"),
		append(args, limit),
	}
}

// CountGrants implements [authprofile.Store].
//
// It reads an index alone: all of it, or of each status the part that is about
// the profile. With MySQL and MariaDB, a status has at most 63 characters there.
func (s *Store) CountGrants(ctx context.Context, profileID string) (map[authprofile.Status]int64, error) {
	const op = "count grants"
	if !storable(profileID, maxID) {
		return nil, ctxError(ctx, op)
	}
	var counts map[authprofile.Status]int64
	err := s.snapshot(ctx, op, func(tx *sql.Tx) error {
		counts = make(map[authprofile.Status]int64)
		// query calls each for each row.
		query := func(q string, args []any, each func(status string, n int64)) error {
			return scanAll(ctx, tx, q, args, func(scan func([]column) error) error {
				var status string
				var n int64
				err := scan([]column{{"status", key{&status}}, {"count", number[int64]{&n}}})
				each(status, n)
				return err
			})
		}
		add := func(stored string, n int64) {
			if status, err := unescape(stored); err == nil && n > 0 {
				counts[authprofile.Status(status)] += n
			}
		}
		if profileID == "" {
			return query(s.grants.count, nil, add)
		}
		// From each status to the next, which takes one look at the index.
		// MySQL and MariaDB find no such way in a single statement.
		statement, args := s.grants.firstStatus, []any(nil)
		for {
			var status string
			found := false
			err := query(statement, args, func(next string, n int64) { status, found = next, true })
			if err != nil || !found {
				return err
			}
			if err := query(s.grants.countOf, []any{status, profileID}, func(_ string, n int64) { add(status, n) }); err != nil {
				return err
			}
			statement, args = s.grants.nextStatus, []any{status}
		}
	})
	if err != nil {
		return nil, err
	}
	return counts, nil
}

// counting sets the statements that count grants by status.
func (t *table) counting(d *dialect) {
	status := "status"
	if d.name == MySQL {
		status = "status_key"
	}
	write := func(q string) string {
		return d.sql(strings.NewReplacer("{status}", status, "{grants}", t.name).Replace(q))
	}
	t.count = write("SELECT {status}, COUNT(*) FROM {grants} GROUP BY {status}")
	t.firstStatus = write("SELECT {status}, 1 FROM {grants} ORDER BY {status} LIMIT 1")
	t.nextStatus = write("SELECT {status}, 1 FROM {grants} WHERE {status} > ? ORDER BY {status} LIMIT 1")
	t.countOf = write("SELECT '', COUNT(*) FROM {grants} WHERE {status} = ? AND profile_id = ?")
}

// DueGrants implements [authprofile.Store].
//
// It reads by an index what it returns: it costs the same however many grants
// there are.
func (s *Store) DueGrants(ctx context.Context, before time.Time, limit int) ([]*authprofile.Grant, error) {
	const op = "due grants"
	if !before.After(firstTime) { // an earlier one is not stored
		return nil, ctxError(ctx, op)
	}
	limit = max(limit, 0)
	var p page[*authprofile.Grant]
	// If damaged rows leave the page short, it is read again with room for as
	// many as a list passes over: rows that are due at the same time have no
	// order after which to go on.
	for _, room := range []int{0, maxDamaged} {
		n := min(limit, math.MaxInt-room) + room
		q := s.d.due(s.grants, before, n)
		var err error
		if p, err = read(ctx, s, op, s.scanGrant, q.sql, q.args...); err != nil {
			return nil, err
		}
		if len(p.rows) >= limit || len(p.rows)+len(p.damaged) < n {
			return p.rows[:min(limit, len(p.rows))], errors.Join(p.damaged...)
		}
	}
	return p.rows, errors.Join(append(p.damaged, &storeError{"list", errDamaged})...)
}

// due reads the grants that are due, by an index that has them in that order.
func (d *dialect) due(t table, before time.Time, limit int) query {
	return query{
		d.sql("SELECT " + t.columns + " FROM " + t.name + " WHERE due <= ? ORDER BY due LIMIT ?"),
		[]any{d.lastBefore(before), limit},
	}
}
