package cli

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"
	"testing"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/authprofile/authprofile/sqlstore"
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

// Fields are called as in JSON.
func TestMemberName(t *testing.T) {
	for field, want := range map[string]string{
		"Template": "template", "AuthMethod": "auth_method", "ClientID": "client_id", "Endpoints.TokenURL": "endpoints.token_url",
		"Endpoints.PARURL": "endpoints.par_url", "APIHosts[0]": "api_hosts[0]", "KeepAlive": "keep_alive", "Endpoints.DiscoveryURL": "endpoints.discovery_url",
		"TokenParams": "token_params", "ID": "id", "RedirectURL": "redirect_url",
	} {
		if got := memberName(field); got != want {
			t.Errorf("%s: got %q, want %q", field, got, want)
		}
	}
	w := newWorld(t)
	w.fails(1, `save "x": template is unknown: authprofile provider list shows the templates`, "profile", "add", "x", "--provider", "nothing", "--client-id", "x")
	w.fails(1, "auth_method is unknown", "profile", "add", "x", "--provider", "github", "--client-id", "x", "--auth-method", "none-such")
}

// A database is named so that an operator knows which, without a secret.
func TestLocation(t *testing.T) {
	for address, want := range map[string]string{
		"postgres://me:hunter2@db.example:5433/auth?sslmode=require": "the PostgreSQL database auth at db.example:5433",
		"mysql://me:hunter2@db.example/auth":                         "the MySQL database auth at db.example",
		"postgres://me:12/hunter2@db.example/auth":                   "the PostgreSQL database",
		"postgres://me:12?hunter2@db.example/auth":                   "the PostgreSQL database",
		"postgres://me:12#hunter2@db.example/auth":                   "the PostgreSQL database",
		"postgres://me:hun/ter2@db.example/auth":                     "the PostgreSQL database",
		"postgres:///auth?host=/run":                                 "the PostgreSQL database",
	} {
		a := &app{env: map[string]string{"AUTHPROFILE_STORE": address}}
		if l, err := a.location(); err != nil || l.String() != want {
			t.Errorf("%s: got %q and error %v, want %q", address, l, err, want)
		}
	}
	for want, err := range map[string]error{
		"cannot be reached (connection refused)": &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED},
		"cannot be reached (no such host)":       &net.DNSError{Err: "x"},
		"cannot be reached (no answer)":          context.DeadlineExceeded,
	} {
		got := databaseError(location{dialect: sqlstore.Postgres}, err)
		if !strings.Contains(got.Error(), want) || exitCode(got) != exitLater {
			t.Errorf("got %q and exit code %d, want %q and %d", got, exitCode(got), want, exitLater)
		}
	}
	untrusted := databaseError(location{dialect: sqlstore.MySQL}, &tls.CertificateVerificationError{Err: errors.New("x")})
	if !strings.Contains(untrusted.Error(), "not trusted here") || exitCode(untrusted) != exitError {
		t.Errorf("got %q and exit code %d, want that it is not trusted, and %d", untrusted, exitCode(untrusted), exitError)
	}
}
