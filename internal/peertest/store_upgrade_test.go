package peertest

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/authprofile/authprofile"
	"github.com/authprofile/authprofile/internal/peertest/require"
	"github.com/authprofile/authprofile/sqlstore"
)

// release1 is what the first release made of a database, and the statements by
// which it puts and reads.
//
//go:embed testdata/release1
var release1 embed.FS

func (tg target) released(t testing.TB, name string) []string {
	t.Helper()
	text, err := release1.ReadFile("testdata/release1/" + name + "." + string(tg.dialect) + ".sql")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSuffix(strings.TrimSpace(string(text)), ";"), ";\n")
}

// A release1Replica is a replica of the first release, as far as a database sees
// it.
type release1Replica struct {
	tg target
	db *sql.DB

	insertProfile, updateProfile, getProfile string
	insertGrant, updateGrant, getGrant       string
}

// newRelease1 returns a replica of the first release on a new database, with the
// tables of that release.
func newRelease1(t testing.TB, tg target, db *sql.DB) *release1Replica {
	t.Helper()
	for _, st := range tg.released(t, "schema") {
		mustExec(t, db, st)
	}
	r := &release1Replica{tg: tg, db: db}
	statements := tg.released(t, "statements")
	for i, p := range []*string{&r.insertProfile, &r.updateProfile, &r.getProfile, &r.insertGrant, &r.updateGrant, &r.getGrant} {
		*p = strings.TrimSpace(statements[i])
	}
	return r
}

// time is a time as it is bound.
func (r *release1Replica) time(at time.Time) any {
	switch {
	case at.IsZero():
		return nil
	case r.tg.dialect == sqlstore.Postgres:
		return at
	case r.tg.dialect == sqlstore.MySQL:
		return at.Format("2006-01-02 15:04:05.000")
	}
	return at.Format("2006-01-02T15:04:05.000Z")
}

func (r *release1Replica) put(ctx context.Context, insert, update string, version *int64, keys []any, created time.Time, rest ...any) error {
	if created.IsZero() {
		created = time.Now().UTC()
	}
	var args []any
	statement := insert
	was := *version
	if was == 0 {
		*version = 1000
		args = append(append(args, keys...), *version, r.time(created), r.time(created))
		args = append(args, rest...)
	} else {
		*version = was + 1
		statement = update
		args = append([]any{*version, r.time(created)}, rest...)
		args = append(append(args, keys...), was)
	}
	if r.tg.dialect != sqlstore.MySQL && was != 0 { // RETURNING created
		var created any
		return r.db.QueryRowContext(ctx, statement, args...).Scan(&created)
	}
	res, err := r.db.ExecContext(ctx, statement, args...)
	if err != nil {
		return err
	}
	if n, err := res.RowsAffected(); err != nil || n != 1 {
		return fmt.Errorf("got %d rows, error %v", n, err)
	}
	return nil
}

func (r *release1Replica) PutProfile(ctx context.Context, p *authprofile.Profile) error {
	return r.put(ctx, r.insertProfile, r.updateProfile, &p.Version, []any{p.ID}, p.Created,
		p.Name, p.Description, string(p.Type), p.ClientID, []byte(p.ClientSecret), string(p.AuthMethod), string(p.Template),
		p.Endpoints.DiscoveryURL, p.Endpoints.AuthURL, p.Endpoints.TokenURL, p.Endpoints.RevocationURL, p.Endpoints.DeviceAuthURL,
		`["read"]`, p.RedirectURL, `{"prompt":["consent"]}`)
}

func (r *release1Replica) PutGrant(ctx context.Context, g *authprofile.Grant) error {
	failure, lease := make([]any, 10), make([]any, 3)
	if f := g.Failure; f != nil {
		failure = []any{string(f.Reason), f.Code, f.Description, f.HTTPStatus, r.time(f.Since), r.time(f.Last), r.time(f.Next), f.Attempts, f.Paced, f.ProfileVersion}
	}
	if l := g.Lease; l != nil {
		lease = []any{l.Owner, l.Attempt, int64(l.Length)}
	}
	rest := append([]any{string(g.Status), []byte(g.AccessToken), []byte(g.RefreshToken), g.TokenType,
		r.time(g.Obtained), r.time(g.Expiry), r.time(g.RefreshExpiry), `["read"]`, `["read"]`,
		g.ClientID, g.Issuer, g.Subject, g.Nonce, []byte(`{"team":"T1"}`)}, failure...)
	return r.put(ctx, r.insertGrant, r.updateGrant, &g.Version, []any{g.ProfileID, g.User}, g.Created, append(rest, lease...)...)
}

// reads asks for a grant as that release does.
func (r *release1Replica) reads(ctx context.Context, key authprofile.GrantKey) error {
	rows, err := r.db.QueryContext(ctx, r.getGrant, key.ProfileID, key.User)
	if err != nil {
		return err
	}
	defer rows.Close()
	n := 0
	for rows.Next() {
		n++
	}
	if err := rows.Err(); err != nil {
		return err
	}
	if n != 1 {
		return fmt.Errorf("got %d grants, want 1", n)
	}
	return nil
}

// longAgo is when grants are due that a replica of the first release has created:
// at once.
var longAgo = time.Unix(0, 0).UTC()

// release1Profile and release1Grant have all that the first release knew.
func release1Profile(id string) *authprofile.Profile {
	at := time.Date(2026, 1, 2, 3, 4, 5, 6e6, time.UTC)
	return &authprofile.Profile{
		ID: id, Name: "CRM", Description: "customers", Type: authprofile.TypeUser, ClientID: "client", ClientSecret: "client secret \x00",
		AuthMethod: authprofile.AuthPost, Template: "google", RedirectURL: "https://app.example.com/callback",
		Endpoints: authprofile.Endpoints{DiscoveryURL: "https://d.example.com", AuthURL: "https://a.example.com", TokenURL: "https://t.example.com",
			RevocationURL: "https://r.example.com", DeviceAuthURL: "https://v.example.com"},
		Scopes: []string{"read"}, Params: map[string][]string{"prompt": {"consent"}}, Created: at, Updated: at,
	}
}

func release1Grant(key authprofile.GrantKey, i int) *authprofile.Grant {
	at := time.Date(2026, 1, 2, 3, 4, 5, 6e6, time.UTC)
	g := &authprofile.Grant{
		GrantKey: key, AccessToken: "access \x00", RefreshToken: "refresh", TokenType: "Bearer",
		Obtained: at, Expiry: at.Add(time.Hour), RefreshExpiry: at.Add(24 * time.Hour), Scopes: []string{"read"}, Requested: []string{"read"},
		ClientID: "client", Issuer: "https://id.example.com", Subject: "subject", Nonce: "nonce", Extra: map[string]authprofile.Secret{"team": "T1"},
		Status: authprofile.StatusActive, Created: at, Updated: at,
	}
	if i%3 == 1 {
		g.Status = authprofile.StatusFailing
		g.Failure = &authprofile.Failure{Reason: authprofile.ReasonUnavailable, Code: "c", Description: "d", HTTPStatus: 503,
			Since: at, Last: at, Next: at, Attempts: 7, Paced: true, ProfileVersion: 3}
	}
	if i%3 == 2 {
		g.Lease = &authprofile.Lease{Owner: "o", Attempt: "a", Length: time.Second}
	}
	return g
}

// A database of the release before is brought up to date by many replicas at
// once, while one of that release goes on putting: all is still there, and what
// is new of it is not known, but that it is due.
func TestUpgrade(t *testing.T) {
	for _, tg := range targets {
		t.Run(tg.name, func(t *testing.T) {
			ctx := t.Context()
			dsn := tg.dsn(t)
			db := tg.open(t, dsn)
			old := newRelease1(t, tg, db)
			var profiles []*authprofile.Profile
			var grants []*authprofile.Grant
			for i := range 10 {
				p := release1Profile(fmt.Sprintf("p%d", i))
				if err := old.PutProfile(ctx, p); err != nil {
					t.Fatal(err)
				}
				profiles = append(profiles, p)
				for j := range 6 {
					g := release1Grant(authprofile.GrantKey{ProfileID: p.ID, User: fmt.Sprintf("u%d", j)}, j)
					if err := old.PutGrant(ctx, g); err != nil {
						t.Fatal(err)
					}
					grants = append(grants, g)
				}
			}

			var wg, puts sync.WaitGroup
			done := make(chan struct{})
			puts.Go(func() { // the replica of that release
				for i := 0; ; i++ {
					select {
					case <-done:
						return
					default:
					}
					g := grants[i%len(grants)]
					if err := old.PutGrant(ctx, g); err != nil && !strings.Contains(err.Error(), "locked") {
						t.Errorf("release 1 puts during the upgrade: got error %v, want none", err)
						return
					} else if err != nil {
						g.Version-- // a release knows how to wait; this replica does not
					}
				}
			})
			for range 6 {
				s := tg.unmigrated(t, tg.open(t, dsn), "")
				wg.Go(func() {
					for range 2 {
						if err := s.Migrate(ctx); err != nil {
							t.Errorf("Migrate: got error %v, want none", err)
						}
					}
				})
			}
			wg.Wait()
			close(done)
			puts.Wait()

			s := tg.unmigrated(t, db, "")
			for _, want := range profiles {
				if got, err := s.Profile(ctx, want.ID); err != nil || !reflect.DeepEqual(got, want) {
					t.Fatalf("Profile: got %+v, error %v; want %+v and none", got, err, want)
				}
			}
			for _, want := range grants {
				want.Due = longAgo
				if got, err := s.Grant(ctx, want.GrantKey); err != nil || !reflect.DeepEqual(got, want) {
					t.Fatalf("Grant: got %+v, error %v; want %+v and none", got, err, want)
				}
			}
			list, err := s.ListGrants(ctx, authprofile.GrantFilter{User: "u1", Status: authprofile.StatusFailing}, authprofile.GrantKey{}, 100)
			if err != nil || len(list) != len(profiles) {
				t.Errorf("ListGrants of a user: got %d, error %v; want %d and none", len(list), err, len(profiles))
			}
			counts, err := s.CountGrants(ctx, "")
			if err != nil || counts[authprofile.StatusActive] != 40 || counts[authprofile.StatusFailing] != 20 {
				t.Errorf("CountGrants: got %v, error %v; want 40 and 20", counts, err)
			}
			for _, limit := range []int{7, 100} {
				due, err := s.DueGrants(ctx, time.Now(), limit)
				if want := min(limit, len(grants)); err != nil || len(due) != want {
					t.Errorf("DueGrants, limit %d: got %d, error %v; want %d and none", limit, len(due), err, want)
				}
			}
			for _, index := range []string{"grants_user", "grants_state", "grants_ends", "grants_due"} {
				if !tg.hasIndex(t, db, "authprofile_"+index) {
					t.Errorf("index %s: got none", index)
				}
			}
		})
	}
}

// Replicas of the release before put and read beside new ones. What they do not
// know stays as it was.
func TestUpgradeBeside(t *testing.T) {
	for _, tg := range targets {
		t.Run(tg.name, func(t *testing.T) {
			ctx := t.Context()
			db := tg.open(t, tg.dsn(t))
			old := newRelease1(t, tg, db)
			s := tg.store(t, db, "")
			at := time.Date(2026, 3, 4, 0, 0, 0, 0, time.UTC)
			p := release1Profile("p")
			g := release1Grant(authprofile.GrantKey{ProfileID: "p", User: "u"}, 0)
			due := func(before time.Time) int {
				list, err := s.DueGrants(ctx, before, 10)
				if err != nil {
					t.Errorf("DueGrants: got error %v, want none", err)
				}
				return len(list)
			}

			for i, put := range []func() error{
				func() error { // created by the old one
					if err := old.PutProfile(ctx, p); err != nil {
						return err
					}
					err := old.PutGrant(ctx, g)
					g.Due = longAgo
					return err
				},
				func() error { // learns what is new
					p.TokenParams = map[string][]string{"audience": {"https://api.example.com"}}
					p.APIHosts = []string{".example.com"}
					p.ClientKey, p.Endpoints.PARURL = "client key \x00\xff", "https://p.example.com"
					g.Account, g.EndsBy = "ann@example.com", authprofile.EndsIdle
					g.Authorized, g.Ends = at, at.Add(24*time.Hour)
					g.Due, g.Told, g.ToldAt, g.Warned = at.Add(time.Hour), authprofile.StatusNeedsConfiguration, at.Add(time.Minute), at.Add(time.Second)
					p.SecretExpires, p.KeepAlive = at.AddDate(1, 0, 0), -1
					if err := s.PutProfile(ctx, p); err != nil {
						return err
					}
					return s.PutGrant(ctx, g)
				},
				func() error { // replaced by the old one
					p.Name, g.RefreshToken, g.Status = "renamed", "rotated", authprofile.StatusNeedsReauthorization
					p.Updated, g.Updated = p.Created, g.Created
					if err := old.PutProfile(ctx, p); err != nil {
						return err
					}
					return old.PutGrant(ctx, g)
				},
				func() error { // and by the new one, with nothing to say
					p.TokenParams, p.APIHosts, p.SecretExpires, p.KeepAlive = nil, nil, time.Time{}, 0
					p.ClientKey, p.Endpoints.PARURL = "", ""
					g.Account, g.EndsBy, g.Authorized, g.Ends = "", "", time.Time{}, time.Time{}
					g.Due, g.Told, g.ToldAt, g.Warned = time.Time{}, "", time.Time{}, time.Time{}
					if err := s.PutProfile(ctx, p); err != nil {
						return err
					}
					return s.PutGrant(ctx, g)
				},
			} {
				if err := put(); err != nil {
					t.Fatalf("put %d: got error %v, want none", i, err)
				}
				if got, err := s.Profile(ctx, p.ID); err != nil || !reflect.DeepEqual(got, p) {
					t.Errorf("profile after put %d: got %+v, error %v; want %+v and none", i, got, err, p)
				}
				if got, err := s.Grant(ctx, g.GrantKey); err != nil || !reflect.DeepEqual(got, g) {
					t.Errorf("grant after put %d: got %+v, error %v; want %+v and none", i, got, err, g)
				}
				if err := old.reads(ctx, g.GrantKey); err != nil {
					t.Errorf("read by release 1 after put %d: got error %v, want none", i, err)
				}
				list, err := s.ListGrants(ctx, authprofile.GrantFilter{Status: g.Status}, authprofile.GrantKey{}, 2)
				if err != nil || len(list) != 1 {
					t.Errorf("ListGrants of its status after put %d: got %d, error %v; want 1 and none", i, len(list), err)
				}
				for _, before := range []time.Time{longAgo.Add(time.Hour), at.Add(24 * time.Hour)} {
					want := 0
					if !g.Due.IsZero() && g.Due.Before(before) {
						want = 1
					}
					if got := due(before); got != want {
						t.Errorf("grants due before %v after put %d: got %d, want %d", before, i, got, want)
					}
				}
			}
			// Nothing is kept as NULL, for those who read the tables.
			if n := count(t, db, "SELECT COUNT(*) FROM authprofile_grants WHERE account IS NULL AND ends_by IS NULL AND due IS NULL AND told IS NULL AND told_at IS NULL AND warned IS NULL"); n != 1 {
				t.Errorf("rows with nothing to say: got %d, want 1", n)
			}
			if n := count(t, db, "SELECT COUNT(*) FROM authprofile_profiles WHERE token_params IS NULL AND api_hosts IS NULL AND secret_expires IS NULL AND keep_alive_ns IS NULL"); n != 1 {
				t.Errorf("profiles with nothing to say: got %d, want 1", n)
			}
		})
	}
}

// A replica died on the way: the next one goes on where it was.
func TestUpgradeInterrupted(t *testing.T) {
	for _, tg := range targets {
		all := tg.schema(t)
		first := 1 + slices.IndexFunc(all, func(st string) bool { return strings.Contains(st, "VALUES (1,") })
		for done := first; done <= len(all); done++ {
			if tg.dialect != sqlstore.MySQL && done > first && !strings.Contains(all[done-1], "INDEX") {
				continue // all columns, or none: one transaction
			}
			if done > first && strings.Contains(all[done-1], "INSERT INTO") {
				continue // a step that is done
			}
			t.Run(fmt.Sprintf("%s, after %d statements", tg.name, done-first), func(t *testing.T) {
				db := tg.open(t, tg.dsn(t))
				for _, st := range all[:done] {
					mustExec(t, db, st)
				}
				s := tg.store(t, db, "")
				mustWork(t, s, "u")
				if got, want := count(t, db, "SELECT COUNT(*) FROM authprofile_schema"), 4; got != want {
					t.Errorf("steps recorded: got %d, want %d", got, want)
				}
			})
		}
	}
}

// PostgreSQL keeps an index that was not finished, and does not use it.
func TestUpgradeInvalidIndex(t *testing.T) {
	dsn := postgres.dsn(t)
	db := postgres.open(t, dsn)
	newRelease1(t, postgres, db)
	all := postgres.schema(t)
	for _, st := range all[len(postgres.released(t, "schema")):] {
		mustExec(t, db, st)
	}
	mustExec(t, db, "DELETE FROM authprofile_schema WHERE step = 4")
	mustExec(t, db, "UPDATE pg_index SET indisvalid = false WHERE indexrelid IN ('authprofile_grants_user'::regclass, 'authprofile_grants_ends'::regclass)")
	var wg sync.WaitGroup
	for range 4 {
		s := postgres.unmigrated(t, postgres.open(t, dsn), "")
		wg.Go(func() {
			if err := s.Migrate(t.Context()); err != nil {
				t.Errorf("Migrate: got error %v, want none", err)
			}
		})
	}
	wg.Wait()
	valid := count(t, db, "SELECT COUNT(*) FROM pg_index WHERE indisvalid AND indrelid = 'authprofile_grants'::regclass")
	if valid != 6 { // with the key, and that of the first release
		t.Errorf("valid indexes of grants: got %d, want 6", valid)
	}

	// Something else that has the name is not taken for the index.
	mustExec(t, db, "DELETE FROM authprofile_schema WHERE step = 4")
	mustExec(t, db, "DROP INDEX authprofile_grants_due")
	mustExec(t, db, "CREATE INDEX authprofile_grants_due ON authprofile_flows (issuer)")
	err := postgres.unmigrated(t, db, "").Migrate(t.Context())
	if err == nil || !strings.Contains(err.Error(), "index") {
		t.Errorf("Migrate where an index has another's name: got error %v, want one about it", err)
	}
}

// A transaction that has read grants, such as a backup, keeps columns from being
// added. Migrate waits for it in a way in which others do not wait for Migrate.
func TestUpgradeDuringBackup(t *testing.T) {
	require.Long(t, "an upgrade that waits for a backup")
	for _, tg := range []target{postgres, mariadb} {
		t.Run(tg.name, func(t *testing.T) {
			ctx := t.Context()
			dsn := tg.dsn(t)
			db := tg.open(t, dsn)
			old := newRelease1(t, tg, db)
			g := release1Grant(authprofile.GrantKey{ProfileID: "p", User: "u"}, 0)
			if err := old.PutGrant(ctx, g); err != nil {
				t.Fatal(err)
			}
			backup, err := tg.open(t, dsn).BeginTx(ctx, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer backup.Rollback()
			var n int
			if err := backup.QueryRowContext(ctx, "SELECT COUNT(*) FROM authprofile_grants").Scan(&n); err != nil {
				t.Fatal(err)
			}
			migrated := make(chan error, 1)
			go func() { migrated <- tg.unmigrated(t, tg.open(t, dsn), "").Migrate(ctx) }()
			waiting := map[sqlstore.Dialect]string{
				sqlstore.Postgres: "SELECT COUNT(*) FROM pg_locks WHERE NOT granted AND relation = 'authprofile_grants'::regclass",
				sqlstore.MySQL: "SELECT COUNT(*) FROM information_schema.processlist WHERE db = DATABASE() " +
					"AND state LIKE 'Waiting for table metadata lock' AND info LIKE 'ALTER TABLE authprofile_grants%'",
			}[tg.dialect]
			for range 3 { // whatever its tries
				await(t, "Migrate to wait for the table", func() bool { return count(t, db, waiting) > 0 })
				patience, cancel := context.WithTimeout(ctx, 20*time.Second)
				for range 10 {
					if err := old.reads(patience, g.GrantKey); err != nil {
						t.Fatalf("reading: got error %v, want none", err)
					}
					if err := old.PutGrant(patience, g); err != nil {
						t.Fatalf("putting: got error %v, want none", err)
					}
				}
				cancel()
			}
			select {
			case err := <-migrated:
				t.Fatalf("Migrate during the backup: got error %v, want it to go on trying", err)
			default:
			}
			backup.Rollback()
			if err := <-migrated; err != nil {
				t.Fatalf("Migrate after the backup: got error %v, want none", err)
			}
			mustStillHave(t, tg.unmigrated(t, db, ""), g)
		})
	}
}
