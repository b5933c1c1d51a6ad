package sqlstore

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/authprofile/authprofile"
)

// A storeError is an error of the database. The driver's own error is behind
// it, for errors.Is and errors.As, but not its text: databases like to quote
// the values of a statement, and those are users and secrets.
type storeError struct {
	op  string
	err error
}

func (e *storeError) Error() string { return "sqlstore: " + e.op + ": " + describe(e.err) }

func (e *storeError) Unwrap() error { return e.err }

// Format writes the error's text under every verb, so that none of them
// reaches the error behind it.
func (e *storeError) Format(f fmt.State, verb rune) {
	if verb == 'q' {
		fmt.Fprintf(f, "%q", e.Error())
		return
	}
	io.WriteString(f, e.Error())
}

// safe are errors whose own text may be shown.
var safe = []error{
	context.Canceled, context.DeadlineExceeded, driver.ErrBadConn, sql.ErrConnDone, sql.ErrTxDone,
	io.EOF, io.ErrUnexpectedEOF, errIdentifier, errColumn, errDamaged,
}

// describe says what can be said of an error without quoting anything: the
// code that the database gave it, or its type.
func describe(err error) string {
	for _, s := range safe {
		if errors.Is(err, s) {
			return s.Error()
		}
	}
	c := codeOf(err)
	if c.missingTable {
		return c.text + ": a table or column is missing: has Migrate been called?"
	}
	if c.text != "" {
		return c.text
	}
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return op.Error()
	}
	for inner := errors.Unwrap(err); inner != nil; inner = errors.Unwrap(err) {
		err = inner
	}
	return fmt.Sprintf("error of type %T", err)
}

// A code is what is known of a database's error.
type code struct {
	text         string // "SQLSTATE 40001"
	repeat       bool   // given up for the sake of others, without any effect
	missingTable bool
}

// codeOf finds the code of an error without knowing its driver: PostgreSQL's
// have a method SQLState, SQLite's most often one named Code; MySQL's is to be
// found at the beginning of the text, "Error 1213 (40001): ...".
func codeOf(err error) code {
	if e, ok := errors.AsType[interface {
		error
		SQLState() string
	}](err); ok {
		state := e.SQLState()
		if len(state) != 5 || strings.ContainsFunc(state, func(r rune) bool { return r > 'Z' || r < '0' }) {
			state = "unknown"
		}
		return code{
			text:         "SQLSTATE " + state,
			repeat:       state == "40001" || state == "40P01",
			missingTable: state == "42P01" || state == "42703",
		}
	}
	message := err.Error()
	if e, ok := errors.AsType[interface {
		error
		Code() int
	}](err); ok {
		n := e.Code()
		return code{
			text:         "SQLite error " + strconv.Itoa(n),
			repeat:       n&0xff == 5 || n&0xff == 6,
			missingTable: strings.Contains(message, "no such table") || strings.Contains(message, "no such column"),
		}
	}
	if rest, ok := strings.CutPrefix(message, "Error "); ok {
		digits := rest[:len(rest)-len(strings.TrimLeft(rest, "0123456789"))]
		n, _ := strconv.Atoi(digits)
		if n >= 1000 {
			return code{
				text:         "MySQL error " + digits,
				repeat:       n == 1213 || n == 1020,
				missingTable: n == 1146 || n == 1054,
			}
		}
	}
	switch {
	case strings.Contains(message, "database is locked"), strings.Contains(message, "database table is locked"):
		return code{text: "database is locked", repeat: true}
	case strings.Contains(message, "no such table"), strings.Contains(message, "no such column"):
		return code{text: "SQLite error 1", missingTable: true}
	}
	return code{}
}

// patience is how long a call repeats what the database has given up. It is
// there for SQLite with many writers and no busy timeout.
const patience = 10 * time.Second

// retry runs f, which is one statement or one transaction, until the database
// does not give it up for the sake of others: then it has had no effect.
func (s *Store) retry(ctx context.Context, op string, f func() error) error {
	var timeout <-chan time.Time
	for delay := time.Millisecond; ; delay = min(2*delay, 100*time.Millisecond) {
		err := f()
		switch {
		case err == nil:
			return nil
		case err == authprofile.ErrConflict:
			return err
		case !codeOf(err).repeat:
			return &storeError{op, err}
		}
		if timeout == nil {
			timer := time.NewTimer(patience)
			defer timer.Stop()
			timeout = timer.C
		}
		pause := time.NewTimer(delay/2 + rand.N(delay))
		select {
		case <-pause.C:
		case <-timeout:
			pause.Stop()
			return &storeError{op, err}
		case <-ctx.Done():
			pause.Stop()
			return &storeError{op, ctx.Err()}
		}
	}
}

// ctxError is for calls that have nothing to ask the database.
func ctxError(ctx context.Context, op string) error {
	if err := ctx.Err(); err != nil {
		return &storeError{op, err}
	}
	return nil
}

func notFound(ctx context.Context, op string) error {
	if err := ctxError(ctx, op); err != nil {
		return err
	}
	return authprofile.ErrNotFound
}
