package peertest

import (
	"cmp"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/authprofile/authprofile"
	"github.com/authprofile/authprofile/sqlstore"
)

// fillFind puts grants of all kinds, and returns them in order. Most of them
// have an end.
func fillFind(t *testing.T, s *sqlstore.Store, n int, start time.Time) []*authprofile.Grant {
	t.Helper()
	var all []*authprofile.Grant
	put := make(map[authprofile.GrantKey]bool)
	profiles := []string{"a", "A", "a ", "ab", "é", "z"}
	statuses := []authprofile.Status{authprofile.StatusActive, authprofile.StatusActive, authprofile.StatusActive, authprofile.StatusFailing,
		authprofile.StatusNeedsReauthorization, authprofile.StatusNeedsConfiguration, "active ", "Active"}
	for len(all) < n {
		key := authprofile.GrantKey{ProfileID: profiles[rand.N(len(profiles))], User: fmt.Sprintf("user-%d", rand.N(n/3))}
		if rand.N(20) == 0 {
			key.User = []string{"", " ", "User-1", "user-1 ", "ü"}[rand.N(5)]
		}
		if put[key] {
			continue
		}
		put[key] = true
		g := &authprofile.Grant{GrantKey: key, Status: statuses[rand.N(len(statuses))]}
		if rand.N(5) > 0 {
			g.Ends = start.Add(time.Duration(rand.N(100)) * time.Millisecond)
		}
		if err := s.PutGrant(t.Context(), g); err != nil {
			t.Fatal(err)
		}
		all = append(all, g)
	}
	slices.SortFunc(all, func(a, b *authprofile.Grant) int { return compareKeys(a.GrantKey, b.GrantKey) })
	return all
}

func compareKeys(a, b authprofile.GrantKey) int {
	return cmp.Or(cmp.Compare(a.ProfileID, b.ProfileID), cmp.Compare(a.User, b.User))
}

func keysOf(list []*authprofile.Grant) []authprofile.GrantKey {
	var keys []authprofile.GrantKey
	for _, g := range list {
		keys = append(keys, g.GrantKey)
	}
	return keys
}

// Lists and counts are those that a plain filter over all grants finds, whatever
// is asked for, in whatever pages, and whichever way it is found.
func TestFind(t *testing.T) {
	t.Parallel()
	const n = 1800 // of which more end than are put in order
	start := time.Date(2026, 5, 6, 7, 8, 9, 0, time.UTC)
	for _, tg := range targets {
		t.Run(tg.name, func(t *testing.T) {
			t.Parallel()
			ctx := t.Context()
			s, _ := tg.new(t)
			all := fillFind(t, s, n, start)
			randomKey := func() authprofile.GrantKey { return all[rand.N(n)].GrantKey }
			befores := []time.Time{start.Add(-time.Hour), start.Add(time.Millisecond), start.Add(time.Microsecond), start.Add(20*time.Millisecond + 1), start.Add(70 * time.Millisecond), start.Add(time.Hour)}
			many, few := 0, 0
			for round := range 160 {
				key := randomKey()
				var f authprofile.GrantFilter
				if round&1 != 0 {
					f.ProfileID = key.ProfileID
				}
				if round&2 != 0 {
					f.User = key.User
				}
				if round&4 != 0 {
					f.Status = all[rand.N(n)].Status
				}
				if round&8 != 0 {
					f.EndsBefore = befores[rand.N(len(befores))]
				}
				ending := 0
				var want []authprofile.GrantKey
				for _, g := range all {
					if !f.EndsBefore.IsZero() && !g.Ends.IsZero() && g.Ends.Before(f.EndsBefore) {
						ending++
					}
					if (f.ProfileID == "" || g.ProfileID == f.ProfileID) && (f.User == "" || g.User == f.User) && (f.Status == "" || g.Status == f.Status) &&
						(f.EndsBefore.IsZero() || !g.Ends.IsZero() && g.Ends.Before(f.EndsBefore)) {
						want = append(want, g.GrantKey)
					}
				}
				if f.User == "" && ending >= 1000 {
					many++
				} else if f.User == "" && ending > 0 {
					few++
				}
				after := authprofile.GrantKey{}
				switch rand.N(4) {
				case 0:
					after = randomKey()
				case 1:
					after = authprofile.GrantKey{ProfileID: key.ProfileID, User: randomKey().User + "!"} // of no grant
				}
				rest := want[len(want)-len(slices.DeleteFunc(slices.Clone(want), func(k authprofile.GrantKey) bool {
					return after != (authprofile.GrantKey{}) && compareKeys(k, after) <= 0
				})):]
				limit := []int{1, 2, 7, 500, 10_000}[rand.N(5)]
				at := after
				for pages := 0; pages < 12; pages++ {
					list, err := s.ListGrants(ctx, f, at, limit)
					got := keysOf(list)
					if page := rest[:min(limit, len(rest))]; err != nil || !slices.Equal(got, page) {
						t.Fatalf("ListGrants(%+v, after %q, %d): got %q, error %v; want %q", f, at, limit, got, err, page)
					}
					rest = rest[len(got):]
					if len(got) < limit {
						break
					}
					at = got[len(got)-1]
				}
			}
			if many == 0 || few == 0 {
				t.Errorf("got %d lists of the many that end, and %d of the few; want both", many, few)
			}

			for _, id := range []string{"", "a", "A", "a ", "z", "nobody's"} {
				want := make(map[authprofile.Status]int64)
				for _, g := range all {
					if id == "" || g.ProfileID == id {
						want[g.Status]++
					}
				}
				got, err := s.CountGrants(ctx, id)
				if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
					t.Errorf("CountGrants(%q): got %v, error %v; want %v", id, got, err, want)
				}
			}
		})
	}
}

// Every list and count goes by an index, and no page is found by putting all
// that passes in order.
func TestFindPlans(t *testing.T) {
	for _, tg := range targets {
		t.Run(tg.name, func(t *testing.T) {
			s, db := tg.new(t)
			fillTables(t, tg, s, db, 5000)
			text, err := os.ReadFile("../../sqlstore/testdata/find." + string(tg.dialect) + ".sql")
			if err != nil {
				t.Fatal(err)
			}
			explain := map[sqlstore.Dialect]string{sqlstore.SQLite: "EXPLAIN QUERY PLAN ", sqlstore.Postgres: "EXPLAIN ", sqlstore.MySQL: "EXPLAIN "}[tg.dialect]
			statements := strings.Split(strings.TrimSuffix(strings.TrimSpace(string(text)), ";"), ";\n\n")
			if len(statements) < 40 {
				t.Fatalf("got %d statements, want those of all filters", len(statements))
			}
			check := func(st string) {
				t.Helper()
				title, st, _ := strings.Cut(st, "\n")
				plan := rowsOf(t, db, explain+st)
				ordered := strings.HasPrefix(title, "-- ordered")
				// PostgreSQL knows how many end, and may choose for itself.
				if tg.dialect == sqlstore.Postgres && strings.Contains(title, "end") {
					ordered = false
				}
				for _, row := range plan {
					if bad := badPlan(tg.dialect, row, ordered); bad {
						t.Errorf("%s: got plan\n%s\nwant an index", title, strings.Join(plan, "\n"))
						break
					}
				}
			}
			for _, st := range statements {
				check(st)
			}
			// As after an upgrade: all are due, since the same time. What the
			// database knows of its rows is from before, and then is new.
			mustExec(t, db, "UPDATE authprofile_grants SET due = "+tg.longAgo())
			due := slices.DeleteFunc(statements, func(st string) bool { return !strings.Contains(st, " WHERE due <= ") })
			if len(due) != 2 {
				t.Fatalf("got %d statements of what is due, want 2", len(due))
			}
			for _, st := range due {
				check(st)
			}
			mustExec(t, db, map[sqlstore.Dialect]string{sqlstore.SQLite: "ANALYZE", sqlstore.Postgres: "ANALYZE", sqlstore.MySQL: "ANALYZE TABLE authprofile_grants"}[tg.dialect])
			for _, st := range due {
				check(st)
			}
		})
	}
}

// badPlan reports whether a row of a plan reads the whole table, or sorts what
// an index has in order. Rows are the values of all columns, and each is between
// bars.
func badPlan(d sqlstore.Dialect, row string, ordered bool) bool {
	switch d {
	case sqlstore.Postgres:
		return strings.Contains(row, "Seq Scan on authprofile_grants") || ordered && strings.Contains(row, "Sort")
	case sqlstore.MySQL:
		return strings.Contains(row, "|authprofile_grants|ALL|") || ordered && strings.Contains(row, "Using filesort")
	}
	return strings.HasPrefix(row[strings.LastIndex(strings.TrimSuffix(row, "|"), "|")+1:], "SCAN authprofile_grants|") || ordered && strings.Contains(row, "TEMP B-TREE")
}

func rowsOf(t testing.TB, db *sql.DB, query string) (list []string) {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), query)
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		t.Fatal(err)
	}
	for rows.Next() {
		values := make([]sql.NullString, len(columns))
		args := make([]any, len(columns))
		for i := range values {
			args[i] = &values[i]
		}
		if err := rows.Scan(args...); err != nil {
			t.Fatal(err)
		}
		row := "|"
		for _, v := range values {
			row += v.String + "|"
		}
		list = append(list, row)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return list
}
