package peertest

import (
	"database/sql"
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
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

// fillTables makes n profiles with three grants each, from one of each that
// the Store has put.
func fillTables(b *testing.B, tg target, s *sqlstore.Store, db *sql.DB, n int) {
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
			sqlstore.Postgres: fmt.Sprintf("SELECT 'p' || lpad(i::text, 9, '0') AS new_id FROM generate_series(%d, %d) AS i", from, to),
			sqlstore.SQLite: fmt.Sprintf("WITH RECURSIVE s(i) AS (SELECT %d UNION ALL SELECT i + 1 FROM s WHERE i < %d) "+
				"SELECT printf('p%%09d', i) AS new_id FROM s", from, to),
		}[tg.dialect]
		copyRows(b, db, "profiles", "id", series)
		copyRows(b, db, "grants", "profile_id", series)
	}
	mustExec(b, db, "DELETE FROM authprofile_grants WHERE profile_id = 'template'")
	mustExec(b, db, "DELETE FROM authprofile_profiles WHERE id = 'template'")
	mustExec(b, db, "UPDATE authprofile_grants SET status = 'needs_reauthorization' WHERE profile_id = 'p000000007'")
	// What filling has left to be done does not count.
	mustExec(b, db, "ANALYZE")
	switch tg.dialect {
	case sqlstore.SQLite:
		mustExec(b, db, "PRAGMA wal_checkpoint(TRUNCATE)")
	case sqlstore.Postgres:
		mustExec(b, db, "VACUUM")
		mustExec(b, db, "CHECKPOINT")
	}
}

func copyRows(b *testing.B, db *sql.DB, table, key, series string) {
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
	values := strings.Replace(strings.Join(columns, ", "), key, "new_id", 1)
	mustExec(b, db, fmt.Sprintf("INSERT INTO authprofile_%s (%s) SELECT %s FROM authprofile_%s, (%s) AS series WHERE %s = 'template'",
		table, strings.Join(columns, ", "), values, table, series, key))
}
