package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"
	"testing"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5/pgconn"
)

// What is said of an error, and the exit code that it has.
func TestReport(t *testing.T) {
	interrupted, cancel := context.WithCancel(t.Context())
	cancel()
	broken := &net.OpError{Op: "write", Net: "tcp", Err: syscall.EPIPE}
	for _, c := range []struct {
		name string
		ctx  context.Context
		err  error
		code int
		want string
	}{
		{"success", t.Context(), nil, 0, ""},
		{"the reader of standard output is gone", t.Context(), outputError{syscall.EPIPE}, 1, ""},
		{"a connection has broken", t.Context(), broken, 5, "authprofile: write tcp: broken pipe\n"},
		{"interrupted", interrupted, fmt.Errorf("x: %w", context.Canceled), 1, "authprofile: interrupted\n"},
		{"interrupted, and lost", interrupted, errors.Join(context.Canceled, lostError{}), 1, "authprofile: context canceled; " + lostError{}.Error() + "\n"},
		{"the disk of PostgreSQL", t.Context(), &pgconn.PgError{Code: diskFull}, 1, "authprofile: :  (SQLSTATE 53100): the disk is full: make room on it\n"},
		{"too many connections", t.Context(), &pgconn.PgError{Code: "53300"}, 5, "authprofile: :  (SQLSTATE 53300)\n"},
		{"a standby", t.Context(), &mysql.MySQLError{Number: 1290, Message: "is read-only"}, 1, "authprofile: Error 1290: is read-only: make it writable\n"},
	} {
		var stderr bytes.Buffer
		if code := (&app{stderr: &stderr}).report(c.ctx, c.err); code != c.code || stderr.String() != c.want {
			t.Errorf("%s: got exit code %d and %q, want %d and %q", c.name, code, stderr.String(), c.code, c.want)
		}
	}
}
