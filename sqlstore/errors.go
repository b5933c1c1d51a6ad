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
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/authprofile/authprofile"
	"github.com/authprofile/authprofile/internal/safetext"
)

// A storeError is an error of the database. It wraps the driver's own error,
// for errors.Is and errors.As, but does not show its text: databases quote the
// values of a statement, and those are users and secrets.
type storeError struct {
	op  string
	err error
}

func (e *storeError) Error() string { return "sqlstore: " + e.op + ": " + describe(e.err) }

func (e *storeError) Unwrap() error { return e.err }

// Format writes the error's text under every verb, so that none of them shows
// the error that it wraps.
func (e *storeError) Format(f fmt.State, verb rune) { safetext.Format(f, verb, e.Error()) }

// safe are errors whose own text may be shown.
var safe = []error{
	context.Canceled, context.DeadlineExceeded, driver.ErrBadConn, sql.ErrConnDone, sql.ErrTxDone,
	io.EOF, io.ErrUnexpectedEOF, errIdentifier, errColumn, errDamaged, errIndex,
}

// describe describes an error without quoting it: by the code that the database
// gave it, or by its type.
func describe(err error) string {
	for _, s := range safe {
		if errors.Is(err, s) {
			return s.Error()
		}
	}
	if u, ok := errors.AsType[unfit](err); ok {
		return u.Error()
	}
	c := codeOf(err)
	switch {
	case c.missingTable:
		return c.text + ": a table or column is missing: has Migrate been called?"
	case c.readOnly:
		return c.text + ": the database, or this connection to it, is read-only"
	case c.text != "":
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

// A code is what is known of a database's error. A call is repeated only after
// an error that rules out that it took effect: a put that is repeated after it
// did would find its own version, and report a conflict.
type code struct {
	text   string // "SQLSTATE 40001"
	repeat bool   // aborted because of others, without any effect

	giveUp    bool // the pool must not take the connection back
	elsewhere bool // without any effect, and may succeed on another connection

	readOnly     bool
	missingTable bool
	lockTimeout  bool // others have kept a table, or a row, for too long
}

// Errors of PostgreSQL (Appendix A of its manual) and of MySQL and MariaDB
// after which a connection is given up.
//
// PostgreSQL answers with 57P01, and ends, only if the transaction has not been
// committed. (If it is told to end while it waits for a standby after the
// commit, it sends a warning and no answer.) MySQL and MariaDB roll back the
// statement during which a connection was ended.
var (
	readOnlyStates  = []string{"25006"} // a standby, or a server that is no longer the primary
	elsewhereStates = []string{
		"57P01", // the server is shut down, or the session was ended
		"57P03", // the server is starting or stopping
		"57P05", // the session was idle for too long
		"25P03", // the transaction was idle for too long
	}
	giveUpStates = []string{"57P02", "57P04"} // and class 08, connection exceptions

	readOnlyErrors = []int{
		1290, // --read-only
		1792, // the session's transactions are read-only
		1836, // the server runs in read-only mode
		3100, // a member of a group that refuses to commit
	}
	elsewhereErrors = []int{
		1047, // a node of a cluster that has lost the others
		1053, // the server is shut down
		1927, // the connection was killed
		4031, // the connection was idle for too long
	}
)

// sqliteMoved is SQLITE_READONLY_DBMOVED: the file has been replaced, and the
// connection is to what is left of the old one.
const sqliteMoved = 1032

// codeOf finds the code of an error without knowing its driver: PostgreSQL's
// errors have a method SQLState, SQLite's most often one named Code, and the
// text of MySQL's begins with it, "Error 1213 (40001): ...".
func codeOf(err error) code {
	if e, ok := errors.AsType[*storeError](err); ok { // which hides the text
		err = e.err
	}
	if errors.Is(err, driver.ErrBadConn) { // with which drivers say that nothing was sent
		return code{giveUp: true, elsewhere: true}
	}
	if e, ok := errors.AsType[interface {
		error
		SQLState() string
	}](err); ok {
		state := e.SQLState()
		if len(state) != 5 || strings.ContainsFunc(state, func(r rune) bool { return r > 'Z' || r < '0' }) {
			state = "unknown"
		}
		readOnly := slices.Contains(readOnlyStates, state)
		elsewhere := readOnly || slices.Contains(elsewhereStates, state)
		return code{
			text:         "SQLSTATE " + state,
			repeat:       state == "40001" || state == "40P01",
			giveUp:       elsewhere || slices.Contains(giveUpStates, state) || strings.HasPrefix(state, "08"),
			elsewhere:    elsewhere,
			readOnly:     readOnly,
			missingTable: state == "42P01" || state == "42703",
			lockTimeout:  state == "55P03",
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
			repeat:       n&0xff == 5 || n&0xff == 6 || n&0xff == 17, // busy, locked, and a schema that keeps changing
			giveUp:       n == sqliteMoved,
			elsewhere:    n == sqliteMoved,
			readOnly:     n&0xff == 8,
			missingTable: strings.Contains(message, "no such table") || strings.Contains(message, "no such column"),
		}
	}
	if rest, ok := strings.CutPrefix(message, "Error "); ok {
		digits := rest[:len(rest)-len(strings.TrimLeft(rest, "0123456789"))]
		n, _ := strconv.Atoi(digits)
		if n >= 1000 {
			readOnly := slices.Contains(readOnlyErrors, n)
			elsewhere := readOnly || slices.Contains(elsewhereErrors, n)
			return code{
				text:         "MySQL error " + digits,
				repeat:       n == 1213 || n == 1020,
				giveUp:       elsewhere,
				elsewhere:    elsewhere,
				readOnly:     readOnly,
				missingTable: n == 1146 || n == 1054,
				lockTimeout:  n == 1205,
			}
		}
	}
	switch {
	case strings.Contains(message, "database is locked"), strings.Contains(message, "database table is locked"),
		strings.Contains(message, "database schema is locked"), strings.Contains(message, "database schema has changed"):
		return code{text: "database is locked", repeat: true}
	case strings.Contains(message, "no such table"), strings.Contains(message, "no such column"):
		return code{text: "SQLite error 1", missingTable: true}
	}
	return code{}
}

// patience is how long a call repeats what the database aborts because of
// others. It is there for SQLite with many writers and no busy timeout.
const patience = 10 * time.Second

// call runs f, which is one statement or one transaction, on a connection. It
// repeats f, on another connection if this one is at fault, as long as f had no
// effect and may yet succeed.
func (s *Store) call(ctx context.Context, op string, f func(*sql.Conn) error) error {
	return s.retry(ctx, op, func() error {
		c, err := s.db.Conn(ctx)
		if err != nil {
			return err
		}
		defer c.Close()
		err = f(c)
		if err != nil && s.d.name == SQLite {
			err = lookAgain(ctx, c, err, f)
		}
		if err == nil {
			return nil
		}
		if code := codeOf(err); code.giveUp && !(code.readOnly && s.readOnly.is()) {
			c.Raw(func(any) error { return driver.ErrBadConn }) // so that the pool closes it
		}
		return err
	})
}

// lookAgain repeats f if it has missed a table or column that may exist after
// all. SQLite checks whether its copy of the schema is the latest, but if the
// file is locked at that moment it goes by the copy. Reading the schema brings
// the copy up to date, or fails because the file is locked.
func lookAgain(ctx context.Context, c *sql.Conn, err error, f func(*sql.Conn) error) error {
	for range 3 { // and it may be locked again by then
		code := codeOf(err)
		if code.repeat || !code.missingTable {
			return err
		}
		var n int
		if err := c.QueryRowContext(ctx, "SELECT COUNT(*) FROM sqlite_master").Scan(&n); err != nil {
			return err
		}
		err = f(c)
		if err == nil {
			return nil
		}
	}
	return err
}

// A verdict is that the whole database is read-only: a put was refused on a new
// connection as on the old ones. It stands for a while, so that connections
// which are good for reading are not closed at every put.
type verdict struct {
	mu    sync.Mutex
	until time.Time
}

// quarantine is how long a verdict stands.
const quarantine = time.Second

func (v *verdict) is() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return time.Now().Before(v.until)
}

func (v *verdict) set() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.until = time.Now().Add(quarantine)
}

// retry runs f until it succeeds, or fails with an error after which it cannot
// be repeated, or is not worth it.
func (s *Store) retry(ctx context.Context, op string, f func() error) error {
	var timeout <-chan time.Time
	delay := time.Millisecond
	others := -1 // connections to try; negative: not counted yet
	for {
		err := f()
		if err == nil {
			return nil
		}
		if err == authprofile.ErrConflict {
			return err
		}
		code := codeOf(err)
		if code.elsewhere {
			// All connections of the pool may lead to the same server. Once
			// they are used up the pool makes a new one, whose answer counts.
			if others < 0 {
				others = s.db.Stats().OpenConnections + 1
			}
			switch {
			case ctx.Err() != nil:
				return &storeError{op, ctx.Err()}
			case code.readOnly && s.readOnly.is():
				return &storeError{op, err}
			case others == 0:
				if code.readOnly {
					s.readOnly.set()
				}
				return &storeError{op, err}
			}
			others--
			continue
		}
		if !code.repeat {
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
			delay = min(2*delay, 100*time.Millisecond)
		case <-timeout:
			pause.Stop()
			return &storeError{op, err}
		case <-ctx.Done():
			pause.Stop()
			return &storeError{op, ctx.Err()}
		}
	}
}

// ctxError returns the error of ctx, for calls that need not ask the database.
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
