package databases

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/authprofile/authprofile/internal/peertest/require"
)

// PgBouncer returns the address of a new database of PostgreSQL behind a pooler
// that gives each transaction another connection, out of three.
func PgBouncer(t testing.TB) string {
	t.Helper()
	program := require.Tool(t, "pgbouncer", "apt-get install pgbouncer")
	Postgres(t) // for the shared server to run
	server := postgres.shared
	dir, err := os.MkdirTemp(parent(), "authprofile-pgbouncer-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	port, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(dir, "pgbouncer.ini")
	text := fmt.Sprintf(`[databases]
* = host=127.0.0.1 port=%d user=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %d
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 3
max_client_conn = 200
`, server.port, port)
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := giveAway(dir); err != nil {
		t.Fatal(err)
	}
	name := server.database(t)
	var p process
	if err := p.start(dir, program, config); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.kill)
	dsn := fmt.Sprintf("postgres://postgres@127.0.0.1:%d/%s?sslmode=disable&default_query_exec_mode=exec", port, name)
	db, err := sql.Open("pgx", dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for db.PingContext(ctx) != nil {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("pgbouncer does not answer: %s", p.log())
		}
	}
	return dsn
}
