package pgauth_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/authprofile/authprofile"
	"github.com/authprofile/authprofile/examples/connectors/internal/world"
	"github.com/authprofile/authprofile/examples/connectors/pgauth"
	"github.com/authprofile/authprofile/internal/peertest/databases"
	"github.com/authprofile/authprofile/providertest"
)

func TestMain(m *testing.M) { databases.Main(m) }

// A server has a role, "reports", whose password is the token that the server
// takes: PostgreSQL has no way of its own to ask a provider before version 18.
type server struct {
	*databases.Server
	admin *sql.DB
}

func newServer(t *testing.T) *server {
	t.Helper()
	s := &server{Server: databases.NewPostgres(t)}
	admin, err := sql.Open("pgx", s.DSN())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { admin.Close() })
	admin.SetMaxIdleConns(-1) // a restart ends connections
	s.admin = admin
	hba := filepath.Join(s.Dir(), "data", "pg_hba.conf")
	text, err := os.ReadFile(hba)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(hba, append([]byte("host all reports all password\nhost all closed all reject\n"), text...), 0o600); err != nil {
		t.Fatal(err)
	}
	s.do(t, "CREATE ROLE reports LOGIN")
	s.do(t, "SELECT pg_reload_conf()")
	if err := s.Restart(); err != nil { // the reload takes effect at some time, a restart at once
		t.Fatal(err)
	}
	return s
}

func (s *server) do(t *testing.T, statement string) {
	t.Helper()
	if _, err := s.admin.ExecContext(t.Context(), statement); err != nil {
		t.Error(err) // not always by the goroutine of the test
	}
}

// accept makes the server take this token and no other.
func (s *server) accept(t *testing.T, token string) {
	t.Helper()
	s.do(t, fmt.Sprintf("ALTER ROLE reports PASSWORD '%s'", token))
}

func (s *server) open(t *testing.T, w *world.World, p *authprofile.Profile, opts ...authprofile.Option) *sql.DB {
	t.Helper()
	return s.openAs(t, "reports", w, p, opts...)
}

func (s *server) openAs(t *testing.T, role string, w *world.World, p *authprofile.Profile, opts ...authprofile.Option) *sql.DB {
	t.Helper()
	config, err := pgx.ParseConfig("postgres://" + role + "@" + s.Addr() + "/postgres?sslmode=disable")
	if err != nil {
		t.Fatal(err)
	}
	db, err := pgauth.Open(config, w.Manager, p, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func token(t *testing.T, w *world.World) string {
	t.Helper()
	tok, err := w.Manager.Token(t.Context(), w.App)
	if err != nil {
		t.Fatal(err)
	}
	return tok.AccessToken
}

func TestConnections(t *testing.T) {
	s := newServer(t)

	t.Run("each has the token of the moment", func(t *testing.T) {
		w := world.New(t)
		db := s.open(t, w, w.App)
		db.SetMaxIdleConns(-1) // each query connects
		s.accept(t, token(t, w))
		for range 3 {
			var got string
			if err := db.QueryRowContext(t.Context(), "SELECT current_user").Scan(&got); err != nil || got != "reports" {
				t.Errorf("got %q, %v, want reports", got, err)
			}
		}
		w.WantRequests(t, 1)
	})

	t.Run("a refused token is replaced once", func(t *testing.T) {
		w := world.New(t)
		db := s.open(t, w, w.App)
		s.accept(t, "a token that the application does not have")
		first := token(t, w)
		// The server takes the next token, which the provider has not issued yet:
		// it learns of it as the token is issued.
		w.Provider.Mutate(providertest.Token, func(answer map[string]any) {
			if next := answer["access_token"].(string); next != first {
				s.accept(t, next)
			}
		})
		if err := db.PingContext(t.Context()); err != nil {
			t.Errorf("got %v, want a connection by another token", err)
		}
		w.WantRequests(t, 2)
	})

	t.Run("a server that refuses all tokens is asked twice", func(t *testing.T) {
		w := world.New(t)
		db := s.open(t, w, w.App)
		s.accept(t, "a token that the application does not have")
		err := db.PingContext(t.Context())
		if err == nil {
			t.Fatal("got a connection, want an error")
		}
		w.WantRequests(t, 2)
		w.Accepts(token(t, w))
		w.WantNoToken(t, err.Error())
	})

	t.Run("a refusal by the code that PAM has is one, too", func(t *testing.T) {
		w := world.New(t)
		if err := s.openAs(t, "closed", w, w.App).PingContext(t.Context()); err == nil {
			t.Error("got a connection, want an error")
		}
		w.WantRequests(t, 2)
	})

	t.Run("a user is needed", func(t *testing.T) {
		w := world.New(t)
		db := s.open(t, w, w.Users, authprofile.AsUser("ada"))
		if err := db.PingContext(t.Context()); !errors.Is(err, authprofile.ErrReauthorize) {
			t.Errorf("got %v, want ErrReauthorize", err)
		}
	})

	t.Run("the wait ends with the call", func(t *testing.T) {
		w := world.New(t)
		db := s.open(t, w, w.App)
		if err := w.EndsWithContext(t, func(ctx context.Context) error { return db.PingContext(ctx) }); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want context.Canceled", err)
		}
	})
}

func TestNoTokenWithoutTLS(t *testing.T) {
	for address, want := range map[string]bool{
		"postgres://reports@db.example.com/reports?sslmode=disable":           false,
		"postgres://reports@db.example.com/reports?sslmode=prefer":            false,
		"postgres://reports@db.example.com/reports?sslmode=allow":             false,
		"postgres://reports@127.0.0.1,db.example.com/reports?sslmode=disable": false,
		"postgres://reports@db.example.com/reports?sslmode=require":           true,
		"postgres://reports@db.example.com/reports?sslmode=verify-full":       true,
		"postgres://reports@[::1]/reports?sslmode=disable":                    true,
		"host=/var/run/postgresql user=reports dbname=reports":                true,
	} {
		config, err := pgx.ParseConfig(address)
		if err != nil {
			t.Fatal(err)
		}
		db, err := pgauth.Open(config, new(authprofile.Manager), new(authprofile.Profile))
		if got := err == nil; got != want {
			t.Errorf("%s: got %v, want it accepted: %v", address, err, want)
		}
		if err == nil {
			db.Close()
		}
	}
}
