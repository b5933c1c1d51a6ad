package cli

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"syscall"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5/pgconn"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/authprofile/authprofile/sqlstore"
)

// A dbCode is the code that a database has given an error. At most one of its
// parts is set.
type dbCode struct {
	sqlite int    // primary or extended result code
	state  string // SQLSTATE of PostgreSQL
	mysql  uint16
	dial   bool // a server could not be reached
	text   string
}

// diskFull is the SQLSTATE of PostgreSQL for a full disk. It is of a class of which
// the others pass.
const diskFull = "53100"

// databaseCode finds the code of a database's error.
func databaseCode(err error) (dbCode, bool) {
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		return dbCode{sqlite: e.Code(), text: e.Error()}, true
	}
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		return dbCode{state: e.Code, text: "SQLSTATE " + e.Code}, true
	}
	if e, ok := errors.AsType[*mysql.MySQLError](err); ok {
		return dbCode{mysql: e.Number, text: fmt.Sprintf("MySQL error %d", e.Number)}, true
	}
	if _, ok := errors.AsType[*pgconn.ConnectError](err); ok {
		return dbCode{dial: true}, true
	}
	return dbCode{}, false
}

// readOnly reports whether the database, or the session, is read-only.
func (c dbCode) readOnly() bool {
	return c.primary() == sqlite3.SQLITE_READONLY || c.state == "25006" || slices.Contains([]uint16{1290, 1792, 1836}, c.mysql)
}

// passing reports whether what the code stands for passes by itself.
func (c dbCode) passing() bool {
	switch {
	case c.state == diskFull:
		return false
	case c.state != "":
		return slices.Contains([]string{"08", "40", "53", "57"}, c.state[:min(2, len(c.state))])
	case c.mysql != 0:
		return slices.Contains([]uint16{1040, 1041, 1042, 1043, 1053, 1203, 1205, 1213}, c.mysql)
	}
	return c.dial || c.primary() == sqlite3.SQLITE_BUSY || c.primary() == sqlite3.SQLITE_LOCKED
}

// primary returns SQLite's primary result code.
func (c dbCode) primary() int { return c.sqlite & 0xff }

func (c dbCode) missingTable() bool {
	return c.state == "42P01" || c.mysql == 1146 ||
		c.primary() == sqlite3.SQLITE_ERROR && strings.Contains(c.text, "no such table")
}

// advice says what to do about an error of a database; empty: nothing is known.
func (c dbCode) advice() string {
	switch {
	case c.readOnly():
		return "it is read-only: make it writable"
	case c.primary() == sqlite3.SQLITE_FULL, c.state == diskFull, c.mysql == 1021, c.mysql == 1114:
		return "the disk is full: make room on it"
	case c.primary() == sqlite3.SQLITE_CANTOPEN:
		return "the file cannot be opened, or the folder that it is in cannot be written to"
	case c.primary() == sqlite3.SQLITE_NOTADB, c.primary() == sqlite3.SQLITE_CORRUPT:
		return "the file is not a SQLite database, or is damaged: name another, or restore it from a backup"
	case c.primary() == sqlite3.SQLITE_IOERR:
		return "the file cannot be read or written: is its disk in order, and has it room?"
	case c.primary() == sqlite3.SQLITE_BUSY, c.primary() == sqlite3.SQLITE_LOCKED:
		return "another program keeps it locked: try again"
	case c.state == "3D000", c.mysql == 1049:
		return "there is no database of that name: correct the address, or create it"
	case strings.HasPrefix(c.state, "28"), c.mysql == 1044, c.mysql == 1045:
		return "the user, the password or the name of the database is wrong: correct the address"
	case c.state == "42501", c.mysql == 1142, c.mysql == 1227:
		return "the user lacks the right: grant it"
	}
	return ""
}

// databaseError describes an error of a database. Its own text may quote the
// values of a statement, and is not shown.
func databaseError(l location, err error) error {
	code, ok := databaseCode(err)
	switch advice := code.advice(); {
	case advice != "":
		return adviceError{describedError{l.String() + " cannot be used", err}, advice}
	case ok && code.text != "" && l.dialect != sqlstore.SQLite:
		return describedError{l.String() + " cannot be used (" + code.text + ")", err}
	case isCertificate(err):
		return adviceError{describedError{l.String() + " has a certificate that is not trusted here", err}, "correct the address, or the settings of TLS in it"}
	case ok && code.dial, isLater(err):
		return laterError{adviceError{describedError{l.String() + " cannot be reached" + reason(err), err}, "correct the address, or try later"}}
	}
	return fmt.Errorf("%s cannot be used: %w", l, err)
}

// isCertificate reports whether a server's certificate was refused.
func isCertificate(err error) bool {
	_, ok := errors.AsType[*tls.CertificateVerificationError](err)
	return ok
}

// reason says in brackets why a server cannot be reached, as far as that is known.
func reason(err error) string {
	if _, ok := errors.AsType[*net.DNSError](err); ok {
		return " (no such host)"
	}
	if e, ok := errors.AsType[syscall.Errno](err); ok {
		return " (" + e.Error() + ")"
	}
	if e, ok := errors.AsType[net.Error](err); ok && e.Timeout() {
		return " (no answer)"
	}
	return ""
}

// A describedError is an error with a text of its own.
type describedError struct {
	text string
	err  error
}

func (e describedError) Error() string { return e.text }
func (e describedError) Unwrap() error { return e.err }
