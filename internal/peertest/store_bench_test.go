package peertest

import (
	"context"
	"database/sql"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/authprofile/authprofile"
	"github.com/authprofile/authprofile/sqlstore"
)

var rows = flag.Int("rows", 10_000, "profiles in the larger database of BenchmarkMillion; it has three times as many grants")

// BenchmarkMillion compares a database of a thousand profiles with one of a
// million: calls should cost the same.
//
//	go test -run '^$' -bench Million -rows 1000000 -timeout 1h .
func BenchmarkMillion(b *testing.B) {
	for _, tg := range []target{postgres, sqlite} {
		for _, n := range []int{1000, *rows} {
			b.Run(fmt.Sprintf("%s/%d", tg.name, n), func(b *testing.B) {
				s, db := tg.new(b)
				fillTables(b, tg, s, db, n)
				ctx := b.Context()
				profile := func() string { return fmt.Sprintf("p%09d", rand.N(n)) }
				grant := func() authprofile.GrantKey {
					return authprofile.GrantKey{ProfileID: profile(), User: fmt.Sprintf("user-%d", rand.N(3))}
				}
				b.Run("Profile", func(b *testing.B) {
					for b.Loop() {
						if _, err := s.Profile(ctx, profile()); err != nil {
							b.Fatal(err)
						}
					}
				})
				b.Run("Grant", func(b *testing.B) {
					for b.Loop() {
						if _, err := s.Grant(ctx, grant()); err != nil {
							b.Fatal(err)
						}
					}
				})
				b.Run("PutGrant", func(b *testing.B) {
					for b.Loop() {
						b.StopTimer()
						g, err := s.Grant(ctx, grant())
						if err != nil {
							b.Fatal(err)
						}
						b.StartTimer()
						if err := s.PutGrant(ctx, g); err != nil {
							b.Fatal(err)
						}
					}
				})
				b.Run("ListProfiles100", func(b *testing.B) {
					for b.Loop() {
						list, err := s.ListProfiles(ctx, fmt.Sprintf("p%09d", rand.N(n-100)), 100)
						if err != nil || len(list) != 100 {
							b.Fatalf("got %d profiles, error %v; want 100 and none", len(list), err)
						}
					}
				})
				now := time.Now()
				for _, c := range []struct {
					name string
					f    func() authprofile.GrantFilter
					want int // on a page of 100 at least
				}{
					{"all", func() (f authprofile.GrantFilter) { return f }, 1},
					{"profile", func() authprofile.GrantFilter { return authprofile.GrantFilter{ProfileID: profile()} }, 0},
					{"user", func() authprofile.GrantFilter { return authprofile.GrantFilter{User: "user-1"} }, 1},
					{"active", func() authprofile.GrantFilter { return authprofile.GrantFilter{Status: authprofile.StatusActive} }, 1},
					{"failing", func() authprofile.GrantFilter { return authprofile.GrantFilter{Status: authprofile.StatusFailing} }, 0},
					{"profile,active", func() authprofile.GrantFilter {
						return authprofile.GrantFilter{ProfileID: profile(), Status: authprofile.StatusActive}
					}, 0},
					{"user,active", func() authprofile.GrantFilter {
						return authprofile.GrantFilter{User: "user-1", Status: authprofile.StatusActive}
					}, 1},
					{"ended", func() authprofile.GrantFilter { return authprofile.GrantFilter{EndsBefore: now} }, 0},
					{"ends in 2 weeks", func() authprofile.GrantFilter {
						return authprofile.GrantFilter{EndsBefore: now.AddDate(0, 0, 14)}
					}, 0},
					{"ends in 2 years", func() authprofile.GrantFilter {
						return authprofile.GrantFilter{EndsBefore: now.AddDate(2, 0, 0)}
					}, 1},
					{"active,ends in 2 weeks", func() authprofile.GrantFilter {
						return authprofile.GrantFilter{Status: authprofile.StatusActive, EndsBefore: now.AddDate(0, 0, 14)}
					}, 0},
					{"failing,ends in 2 weeks", func() authprofile.GrantFilter {
						return authprofile.GrantFilter{Status: authprofile.StatusFailing, EndsBefore: now.AddDate(0, 0, 14)}
					}, 0},
					{"user,ends in 2 weeks", func() authprofile.GrantFilter {
						return authprofile.GrantFilter{User: "user-1", EndsBefore: now.AddDate(0, 0, 14)}
					}, 0},
				} {
					b.Run("ListGrants100/"+c.name, func(b *testing.B) {
						for b.Loop() {
							f := c.f()
							after := authprofile.GrantKey{ProfileID: profile(), User: "user-0"}
							if f.ProfileID != "" {
								after = authprofile.GrantKey{}
							}
							if list, err := s.ListGrants(ctx, f, after, 100); err != nil || len(list) < c.want && after.ProfileID < fmt.Sprintf("p%09d", n-1) {
								b.Fatalf("got %d grants, error %v; want %d and none", len(list), err, c.want)
							}
						}
					})
				}
				b.Run("DueGrants100", func(b *testing.B) {
					for b.Loop() {
						if list, err := s.DueGrants(ctx, now, 100); err != nil || len(list) != 100 {
							b.Fatalf("got %d grants, error %v; want 100 and none", len(list), err)
						}
					}
				})
				b.Run("DueGrants/none", func(b *testing.B) {
					for b.Loop() {
						if list, err := s.DueGrants(ctx, time.Unix(0, 0), 100); err != nil || len(list) != 0 {
							b.Fatalf("got %d grants, error %v; want none and none", len(list), err)
						}
					}
				})
				b.Run("CountGrants/profile", func(b *testing.B) {
					for b.Loop() {
						if counts, err := s.CountGrants(ctx, profile()); err != nil || len(counts) == 0 {
							b.Fatalf("got %v, error %v; want three grants and none", counts, err)
						}
					}
				})
				b.Run("CountGrants/all", func(b *testing.B) {
					for b.Loop() {
						if counts, err := s.CountGrants(ctx, ""); err != nil || counts[authprofile.StatusNeedsReauthorization] != 3 {
							b.Fatalf("got %v, error %v; want 3 and none", counts, err)
						}
					}
				})
				b.Run("NeedsReauthorization", func(b *testing.B) {
					for b.Loop() {
						if got := count(b, db, "SELECT COUNT(*) FROM authprofile_grants WHERE status = 'needs_reauthorization'"); got != 3 {
							b.Fatalf("got %d grants, want 3", got)
						}
					}
				})
			})
		}
	}
}

// longAgo is the time since when a grant is due that was there before the
// upgrade.
func (tg target) longAgo() string {
	return map[sqlstore.Dialect]string{
		sqlstore.Postgres: "TIMESTAMPTZ '1970-01-01 00:00:00+00'",
		sqlstore.MySQL:    "'1970-01-01 00:00:00.000'",
		sqlstore.SQLite:   "'1970-01-01T00:00:00.000Z'",
	}[tg.dialect]
}

// A putter puts what the others are copies of.
type putter interface {
	PutProfile(context.Context, *authprofile.Profile) error
	PutGrant(context.Context, *authprofile.Grant) error
}

// fillTables makes n profiles with three grants each, from one of each that
// the Store has put.
func fillTables(b testing.TB, tg target, s putter, db *sql.DB, n int) {
	b.Helper()
	ctx := b.Context()
	p := &authprofile.Profile{
		ID: "template", Name: "CRM", Type: authprofile.TypeUser, ClientID: "client",
		ClientSecret: authprofile.Secret(strings.Repeat("s", 40)),
		Endpoints:    authprofile.Endpoints{DiscoveryURL: "https://id.example.com/.well-known/openid-configuration"},
		Scopes:       []string{"openid", "email", "offline_access"},
	}
	if err := s.PutProfile(ctx, p); err != nil {
		b.Fatal(err)
	}
	for i := range 3 {
		g := &authprofile.Grant{
			GrantKey:     authprofile.GrantKey{ProfileID: "template", User: fmt.Sprintf("user-%d", i)},
			AccessToken:  authprofile.Secret(strings.Repeat("a", 200)),
			RefreshToken: authprofile.Secret(strings.Repeat("r", 60)),
			TokenType:    "Bearer", Expiry: time.Now().Add(time.Hour), Scopes: p.Scopes, ClientID: "client",
			Issuer: "https://id.example.com", Subject: "subject", Status: authprofile.StatusActive,
		}
		if err := s.PutGrant(ctx, g); err != nil {
			b.Fatal(err)
		}
	}
	const chunk = 50_000
	for from := 0; from < n; from += chunk {
		to := min(from+chunk, n) - 1
		series := map[sqlstore.Dialect]string{
			sqlstore.Postgres: fmt.Sprintf("SELECT 'p' || lpad(i::text, 9, '0') AS new_id, i FROM generate_series(%d, %d) AS i", from, to),
			sqlstore.MySQL:    fmt.Sprintf("SELECT CONCAT('p', LPAD(seq, 9, '0')) AS new_id, seq AS i FROM seq_%d_to_%d", from, to),
			sqlstore.SQLite: fmt.Sprintf("WITH RECURSIVE s(i) AS (SELECT %d UNION ALL SELECT i + 1 FROM s WHERE i < %d) "+
				"SELECT printf('p%%09d', i) AS new_id, i FROM s", from, to),
		}[tg.dialect]
		ends := map[sqlstore.Dialect]string{
			sqlstore.Postgres: "now() + (i % 365 + 1) * INTERVAL '1 day'",
			sqlstore.MySQL:    "UTC_TIMESTAMP(3) + INTERVAL (i % 365 + 1) DAY",
			sqlstore.SQLite:   "strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '+' || (i % 365 + 1) || ' days')",
		}[tg.dialect]
		copyRows(b, db, "profiles", series, map[string]string{"id": "new_id"})
		// They end in a year, a few each day, and are due at their end, but for
		// 120 that are due; one in a thousand is failing.
		due := fmt.Sprintf("CASE WHEN i < 40 THEN %s ELSE %s END", tg.longAgo(), ends)
		copyRows(b, db, "grants", series, map[string]string{"profile_id": "new_id", "ends": ends, "due": due,
			"status": "CASE WHEN i % 1000 = 999 THEN 'failing' ELSE status END"})
	}
	mustExec(b, db, "DELETE FROM authprofile_grants WHERE profile_id = 'template'")
	mustExec(b, db, "DELETE FROM authprofile_profiles WHERE id = 'template'")
	mustExec(b, db, "UPDATE authprofile_grants SET status = 'needs_reauthorization' WHERE profile_id = 'p000000007'")
	if _, old := s.(*release1Replica); !old {
		mustExec(b, db, "UPDATE authprofile_grants SET ends = created WHERE profile_id = 'p000000007'")
	}
	tg.rest(b, db)
}

// rest does what filling a database has left to be done, which does not count.
func (tg target) rest(b testing.TB, db *sql.DB) {
	b.Helper()
	switch tg.dialect {
	case sqlstore.MySQL:
		mustExec(b, db, "ANALYZE TABLE authprofile_profiles, authprofile_grants")
	case sqlstore.SQLite:
		mustExec(b, db, "ANALYZE")
		mustExec(b, db, "PRAGMA wal_checkpoint(TRUNCATE)")
	case sqlstore.Postgres:
		mustExec(b, db, "VACUUM ANALYZE")
		mustExec(b, db, "CHECKPOINT")
	}
}

// copyRows copies the rows of the template once for each of a series, with other
// values for some columns, if there are such.
func copyRows(b testing.TB, db *sql.DB, table, series string, values map[string]string) {
	b.Helper()
	empty, err := db.QueryContext(b.Context(), "SELECT * FROM authprofile_"+table+" LIMIT 0")
	if err != nil {
		b.Fatal(err)
	}
	columns, err := empty.Columns()
	empty.Close()
	if err != nil {
		b.Fatal(err)
	}
	var selected []string
	key := ""
	columns = slices.DeleteFunc(columns, func(c string) bool { return c == "status_key" }) // which is computed
	for _, c := range columns {
		if v, ok := values[c]; ok {
			selected = append(selected, v)
		} else {
			selected = append(selected, c)
		}
		if values[c] == "new_id" {
			key = c
		}
	}
	mustExec(b, db, fmt.Sprintf("INSERT INTO authprofile_%s (%s) SELECT %s FROM authprofile_%s, (%s) AS series WHERE %s = 'template'",
		table, strings.Join(columns, ", "), strings.Join(selected, ", "), table, series, key))
}

// BenchmarkUpgrade brings tables of the first release up to date, with three
// grants for each of the profiles, while others read and renew by the statements
// of that release. It reports for how long, at most, a read and a renewal took.
//
//	go test -run '^$' -bench Upgrade -benchtime 1x -rows 1000000 -timeout 1h .
func BenchmarkUpgrade(b *testing.B) {
	for _, tg := range []target{postgres, sqlite} {
		b.Run(fmt.Sprintf("%s/%d", tg.name, *rows), func(b *testing.B) {
			var reading, renewing time.Duration // the longest
			renewals := 0
			for range b.N {
				b.StopTimer()
				db := tg.open(b, tg.dsn(b))
				old := newRelease1(b, tg, db)
				fillTables(b, tg, old, db, *rows)
				var wg sync.WaitGroup
				done := make(chan struct{})
				loop := func(longest *time.Duration, call func() error) {
					wg.Go(func() {
						for {
							select {
							case <-done:
								return
							default:
							}
							start := time.Now()
							if err := call(); err != nil {
								b.Errorf("during the upgrade: got error %v, want none", err)
								return
							}
							*longest = max(*longest, time.Since(start))
						}
					})
				}
				key := func() authprofile.GrantKey {
					return authprofile.GrantKey{ProfileID: fmt.Sprintf("p%09d", rand.N(*rows)), User: "user-1"}
				}
				loop(&reading, func() error { return old.reads(b.Context(), key()) })
				held := make(map[authprofile.GrantKey]*authprofile.Grant)
				loop(&renewing, func() error {
					k := key()
					g := held[k]
					if g == nil {
						g = release1Grant(k, 0)
						g.Version = 1000
						held[k] = g
					}
					renewals++
					was := g.Version
					err := old.PutGrant(b.Context(), g)
					for err != nil && strings.Contains(err.Error(), "locked") { // as that release does
						g.Version = was
						err = old.PutGrant(b.Context(), g)
					}
					return err
				})
				b.StartTimer()
				if err := tg.unmigrated(b, db, "").Migrate(b.Context()); err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				close(done)
				wg.Wait()
				b.StartTimer()
			}
			b.ReportMetric(float64(reading.Microseconds())/1000, "ms-longest-read")
			b.ReportMetric(float64(renewing.Microseconds())/1000, "ms-longest-renewal")
			b.ReportMetric(float64(renewals), "renewals")
		})
	}
}
