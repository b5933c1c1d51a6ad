package peertest

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/authprofile/authprofile"
	"github.com/authprofile/authprofile/internal/peertest/authservers"
	"github.com/authprofile/authprofile/internal/peertest/databases"
	"github.com/authprofile/authprofile/internal/peertest/fleet"
	"github.com/authprofile/authprofile/internal/peertest/require"
	"github.com/authprofile/authprofile/providertest"
	"github.com/authprofile/authprofile/sqlstore"
)

// A trouble is a database that can be made to fail.
type trouble struct {
	name   string
	target target

	// open returns the address of the database, the one to use with trouble,
	// which may be another, and what makes the trouble and ends it.
	open func(t *testing.T) (healthy, troubled string, begin func(pool *sql.DB), end func(pool *sql.DB))
}

func execute(t *testing.T, db *sql.DB, statement string) {
	t.Helper()
	if _, err := db.ExecContext(context.Background(), statement); err != nil {
		t.Errorf("%s: %v", statement, err)
	}
}

// server is trouble with a server of the test's own.
func server(start func(testing.TB) *databases.Server, begin, end func(t *testing.T, s *databases.Server, database string)) func(t *testing.T) (string, string, func(*sql.DB), func(*sql.DB)) {
	return func(t *testing.T) (string, string, func(*sql.DB), func(*sql.DB)) {
		s := start(t)
		dsn := s.Database(t)
		name := dsn[strings.LastIndex(dsn, "/")+1:]
		name, _, _ = strings.Cut(name, "?")
		return dsn, dsn, func(*sql.DB) { begin(t, s, name) }, func(*sql.DB) { end(t, s, name) }
	}
}

// onFile is trouble with the only connection to a SQLite file.
func onFile(begin, end string) func(t *testing.T) (string, string, func(*sql.DB), func(*sql.DB)) {
	return func(t *testing.T) (string, string, func(*sql.DB), func(*sql.DB)) {
		dsn := databases.SQLite(t)
		return dsn, dsn, func(pool *sql.DB) { execute(t, pool, begin) }, func(pool *sql.DB) { execute(t, pool, end) }
	}
}

func stop(t *testing.T, s *databases.Server, _ string) { s.Kill() }

func start(t *testing.T, s *databases.Server, _ string) {
	if err := s.Start(); err != nil {
		t.Error(err)
	}
}

// admin runs a statement about a database, and has all come back to it anew.
func admin(t *testing.T, s *databases.Server, database, statement string) {
	t.Helper()
	db, err := sql.Open(s.Driver(), s.DSN())
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	execute(t, db, statement)
	execute(t, db, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '"+database+"'")
}

var troubles = []trouble{
	{"away", postgres, server(databases.NewPostgres, stop, start)},
	{"away", mariadb, server(databases.NewMariaDB, stop, start)},
	{"read-only", postgres, server(databases.NewPostgres,
		func(t *testing.T, s *databases.Server, db string) {
			admin(t, s, db, "ALTER DATABASE "+db+" SET default_transaction_read_only = on")
		},
		func(t *testing.T, s *databases.Server, db string) {
			admin(t, s, db, "ALTER DATABASE "+db+" RESET default_transaction_read_only")
		})},
	{"read-only", sqlite, onFile("PRAGMA query_only = on", "PRAGMA query_only = off")},
	{"full", sqlite, onFile("PRAGMA max_page_count = 1", "PRAGMA max_page_count = 1000000")},
	{"locked", sqlite, func(t *testing.T) (string, string, func(*sql.DB), func(*sql.DB)) {
		dsn := databases.SQLite(t)
		conn, err := sqlite.open(t, dsn).Conn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		do := func(statement string) {
			if _, err := conn.ExecContext(context.Background(), statement); err != nil {
				t.Error(err)
			}
		}
		return dsn, dsn, func(*sql.DB) { do("BEGIN IMMEDIATE") }, func(*sql.DB) { do("ROLLBACK") }
	}},
	{"slow", postgres, func(t *testing.T) (string, string, func(*sql.DB), func(*sql.DB)) {
		s := databases.NewPostgres(t)
		dsn := s.Database(t)
		proxy := authservers.Toxic(t, s.Addr())
		return dsn, strings.Replace(dsn, s.Addr(), proxy.Addr, 1),
			func(*sql.DB) { proxy.Add(t, "latency", "downstream", map[string]int{"latency": 300}) },
			func(*sql.DB) { proxy.Heal(t) }
	}},
	{"silent", postgres, func(t *testing.T) (string, string, func(*sql.DB), func(*sql.DB)) {
		s := databases.NewPostgres(t)
		dsn := s.Database(t)
		proxy := authservers.Toxic(t, s.Addr())
		return dsn, strings.Replace(dsn, s.Addr(), proxy.Addr, 1),
			func(*sql.DB) { proxy.Add(t, "timeout", "downstream", map[string]int{"timeout": 0}) },
			func(*sql.DB) { proxy.Heal(t) }
	}},
}

// Whatever happens to the database while a token is renewed: the answer that
// was paid for is served, and stored once that is possible; nobody is sent to
// authorize again; and an application that acts for itself does not stop.
func TestRenewalThroughTroubleWithTheStore(t *testing.T) {
	require.Long(t, "renewals while a database is locked, slow or silent")
	for _, tr := range troubles {
		t.Run(tr.target.name+"/"+tr.name, func(t *testing.T) {
			t.Parallel()
			healthy, troubled, begin, end := tr.open(t)
			p := fleet.NewProvider(t, providertest.Policy{TokenLifetime: time.Second})
			f := fleet.New(t, fleet.Database{Dialect: tr.target.dialect, Driver: tr.target.driver, DSN: healthy}, p)
			pool, err := sql.Open(tr.target.driver, troubled)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { pool.Close() })
			if tr.target.dialect == sqlstore.SQLite {
				pool.SetMaxOpenConns(1) // the one that has trouble
			}
			store, err := sqlstore.New(pool, tr.target.dialect, nil)
			if err != nil {
				t.Fatal(err)
			}
			w := &shaken{t: t, f: f, p: p, store: store}
			w.user, w.app = w.profile(fleet.UserProfile), w.profile(fleet.AppProfile)
			// With longer answers, a full database has no room for them.
			p.Mutate(providertest.Token, func(answer map[string]any) { answer["extra"] = strings.Repeat("x", 3000) })
			w.between("ada", func() { begin(pool) }, func() { end(pool) })
			w.between("", func() { begin(pool) }, func() { end(pool) })
			w.before(func() { begin(pool) }, func() { end(pool) })
			if got := p.Reuses(); got != 0 {
				t.Errorf("got %d spent refresh tokens, want none", got)
			}
		})
	}
}

// A shaken is a Manager whose Store has trouble.
type shaken struct {
	t         *testing.T
	f         *fleet.Fleet
	p         *fleet.Provider
	store     authprofile.Store
	user, app *authprofile.Profile
}

func (w *shaken) profile(id string) *authprofile.Profile {
	w.t.Helper()
	p, err := w.f.Manager.Profile(w.t.Context(), id)
	if err != nil {
		w.t.Fatal(err)
	}
	return p
}

// manager returns a Manager that has just been started.
func (w *shaken) manager() *authprofile.Manager {
	m := &authprofile.Manager{Store: w.store, RenewBefore: 1}
	w.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := m.Shutdown(ctx); err != nil {
			w.t.Error(err)
		}
	})
	return m
}

// token gets a token for ada, or for the application itself.
func (w *shaken) token(m *authprofile.Manager, user string) (string, error) {
	ctx, cancel := context.WithTimeout(w.t.Context(), time.Minute)
	defer cancel()
	p, opts := w.app, []authprofile.Option(nil)
	if user != "" {
		p, opts = w.user, []authprofile.Option{authprofile.AsUser(user)}
	}
	tok, err := m.Token(ctx, p, opts...)
	if err != nil {
		return "", err
	}
	return tok.AccessToken, nil
}

// between has the trouble begin while the provider is being asked, and end
// after the answer.
func (w *shaken) between(user string, begin, end func()) {
	w.t.Helper()
	m := w.manager()
	w.p.SetPolicy(providertest.Policy{TokenLifetime: time.Second})
	if user != "" {
		w.f.Authorize(user)
	}
	first, err := w.token(m, user)
	if err != nil {
		w.t.Fatal(err)
	}
	w.p.SetPolicy(providertest.Policy{TokenLifetime: time.Hour})
	w.p.Hold()
	type result struct {
		token string
		err   error
	}
	got := make(chan result)
	go func() {
		r := result{token: first}
		for r.err == nil && r.token == first { // until that ends
			r.token, r.err = w.token(m, user)
		}
		got <- r
	}()
	fleet.Until(w.t, time.Minute, "the provider is asked", func() bool { return w.p.Held() == 1 })
	begin()
	w.p.Go()
	second := <-got
	if second.err != nil {
		w.t.Errorf("trouble before the answer is stored: got %v, want a token", second.err)
	}
	if token, err := w.token(m, user); err != nil || token != second.token {
		w.t.Errorf("while it is not stored: got %v, want the same token as before", err)
	}
	end()
	if user == "" {
		return
	}
	fleet.Until(w.t, time.Minute, "the answer is stored", func() bool {
		g, err := w.f.Grant(user)
		return err == nil && w.p.IsCurrent(string(g.RefreshToken)) && string(g.AccessToken) == second.token && g.Lease == nil
	})
}

// before has the trouble begin when a token has ended, before it is renewed.
func (w *shaken) before(begin, end func()) {
	w.t.Helper()
	g, err := w.f.Grant("ada")
	if err != nil {
		w.t.Fatal(err)
	}
	g.Expiry = g.Obtained
	g.Obtained = g.Obtained.Add(-time.Hour)
	if err := w.f.Store.PutGrant(w.t.Context(), g); err != nil {
		w.t.Fatal(err)
	}
	m := w.manager()
	begin()
	if _, err := w.token(m, ""); err != nil {
		w.t.Errorf("an application that acts for itself: got %v, want a token", err)
	}
	if _, err := w.token(m, "ada"); errors.Is(err, authprofile.ErrReauthorize) || errors.Is(err, authprofile.ErrConfiguration) {
		w.t.Errorf("got %v, want nobody to be troubled", err)
	}
	end()
	fleet.Until(w.t, time.Minute, "tokens are renewed again", func() bool {
		_, err := w.token(m, "ada")
		return err == nil
	})
	fleet.Until(w.t, time.Minute, "the answer is stored", func() bool {
		g, err := w.f.Grant("ada")
		return err == nil && w.p.IsCurrent(string(g.RefreshToken))
	})
}

// A database that serializes transactions, and has some of them fail for it,
// serves a fleet as any other does.
func TestRenewalThroughSerializationFailures(t *testing.T) {
	require.Long(t, "renewals on a database that serializes transactions")
	t.Parallel()
	dsn := postgres.dsn(t)
	p := fleet.NewProvider(t, providertest.Policy{TokenLifetime: time.Second})
	f := fleet.New(t, fleet.Database{Dialect: sqlstore.Postgres, Driver: "pgx", DSN: dsn}, p)
	var users []string
	for i := range 10 {
		users = append(users, fmt.Sprintf("user-%d", i))
	}
	f.Authorize(users...)
	profile, err := f.Manager.Profile(t.Context(), fleet.UserProfile)
	if err != nil {
		t.Fatal(err)
	}
	p.SetPolicy(providertest.Policy{TokenLifetime: time.Hour})
	fleet.Until(t, 10*time.Second, "the tokens end", func() bool {
		g, err := f.Grant(users[len(users)-1])
		return err == nil && time.Now().After(g.Expiry)
	})
	var callers sync.WaitGroup
	for range 4 {
		strict := postgres.store(t, postgres.open(t, dsn+"&default_transaction_isolation=serializable"), "")
		m := &authprofile.Manager{Store: strict}
		for _, user := range users {
			callers.Go(func() {
				if _, err := m.Token(t.Context(), profile, authprofile.AsUser(user)); err != nil {
					t.Errorf("%s: %v", user, err)
				}
			})
		}
	}
	callers.Wait()
	if got := p.Count("refresh_token"); got != len(users) {
		t.Errorf("got %d refresh requests, want %d", got, len(users))
	}
}
