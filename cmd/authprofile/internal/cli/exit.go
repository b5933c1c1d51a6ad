package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"slices"
	"strings"
	"syscall"
	"unicode"

	"github.com/spf13/cobra"
	"golang.org/x/oauth2"

	"github.com/authprofile/authprofile"
)

// The exit codes. Those of 4 and 5 are what a script can act on.
const (
	exitSuccess     = 0
	exitError       = 1
	exitUsage       = 2
	exitReauthorize = 4
	exitLater       = 5
)

// A usageError says what is wrong with the command line.
type usageError struct {
	cmd     *cobra.Command // whose help tells more; nil: none
	problem string
}

func (e usageError) Error() string {
	if e.cmd == nil {
		return e.problem
	}
	return e.problem + " (see: " + e.cmd.CommandPath() + " --help)"
}

// usagef returns a usageError of a command.
func usagef(cmd *cobra.Command, format string, args ...any) error {
	return usageError{cmd, fmt.Sprintf(format, args...)}
}

// A laterError is a failure that passes by itself.
type laterError struct{ err error }

func (e laterError) Error() string { return e.err.Error() }
func (e laterError) Unwrap() error { return e.err }

// An outputError says that standard output could not be written.
type outputError struct{ err error }

func (e outputError) Error() string { return "standard output: " + e.err.Error() }
func (e outputError) Unwrap() error { return e.err }

// A lostError says that what a provider has issued could not be stored. That does
// not pass by itself.
type lostError struct{}

func (lostError) Error() string {
	return "a token that was renewed could not be stored, and its user may have to authorize again: is the database writable, and has its disk room?"
}

// An adviceError is an error with what to do about it.
type adviceError struct {
	err    error
	advice string
}

func (e adviceError) Error() string { return e.err.Error() + ": " + e.advice }
func (e adviceError) Unwrap() error { return e.err }

// report writes an error to standard error, as one line, and returns the exit
// code that belongs to it.
func (a *app) report(ctx context.Context, err error) int {
	_, written := errors.AsType[outputError](err)
	_, lost := errors.AsType[lostError](err)
	switch {
	case err == nil:
		return exitSuccess
	case lost: // which matters more than that the command was interrupted
	case written && errors.Is(err, syscall.EPIPE): // the reader of a pipe has seen enough
		return exitError
	case ctx.Err() != nil && errors.Is(err, context.Canceled):
		fmt.Fprintln(a.stderr, "authprofile: interrupted")
		return exitError
	}
	text := strings.TrimPrefix(err.Error(), "authprofile: ")
	for _, field := range wrongFields(err) { // by the names that files have
		text = strings.ReplaceAll(text, field+": ", memberName(field)+" ")
	}
	if advice := adviceFor(err); advice != "" {
		text += ": " + advice
	}
	fmt.Fprintln(a.stderr, "authprofile: "+clean(strings.ReplaceAll(text, "\n", "; ")))
	return exitCode(err)
}

// wrongFields lists the fields of a profile that an error is about.
func wrongFields(err error) (fields []string) {
	switch e := err.(type) {
	case *authprofile.FieldError:
		return []string{e.Field}
	case interface{ Unwrap() error }:
		return wrongFields(e.Unwrap())
	case interface{ Unwrap() []error }:
		for _, err := range e.Unwrap() {
			fields = append(fields, wrongFields(err)...)
		}
	}
	return fields
}

// memberName returns the name in JSON of a field: "endpoints.token_url" of
// "Endpoints.TokenURL".
func memberName(field string) string {
	field = strings.ReplaceAll(field, "PARURL", "ParURL")
	isUpper := func(i int) bool { return 'A' <= field[i] && field[i] <= 'Z' }
	isLower := func(i int) bool { return 'a' <= field[i] && field[i] <= 'z' }
	var name []byte
	for i := range len(field) {
		if i > 0 && isUpper(i) && (isLower(i-1) || isUpper(i-1) && i+2 < len(field) && isLower(i+1) && isLower(i+2)) {
			name = append(name, '_')
		}
		name = append(name, field[i])
	}
	return strings.ToLower(string(name))
}

// adviceFor says what to do about an error that does not say so itself; empty: nothing
// is known.
func adviceFor(err error) string {
	if _, ok := errors.AsType[adviceError](err); ok {
		return ""
	}
	if e, ok := errors.AsType[*authprofile.Error](err); ok && errors.Is(err, authprofile.ErrReauthorize) {
		return "run: " + connectCommand(e.ProfileID, e.User)
	}
	if slices.Contains(wrongFields(err), "Template") {
		return "authprofile provider list shows the templates"
	}
	if strings.Contains(err.Error(), "sealed: ") {
		return "it was encrypted with another key: say with --keys where the key ring of this database is"
	}
	code, _ := databaseCode(err)
	if code.readOnly() { // as the error says itself
		return "make it writable"
	}
	return code.advice()
}

// exitCode returns the exit code that belongs to an error.
func exitCode(err error) int {
	switch {
	case isUsage(err):
		return exitUsage
	case errors.Is(err, authprofile.ErrReauthorize):
		return exitReauthorize
	case isLater(err):
		return exitLater
	}
	return exitError
}

func isUsage(err error) bool {
	_, ok := errors.AsType[usageError](err)
	return ok
}

// final are the errors that do not pass by themselves.
var final = []error{
	authprofile.ErrNotFound, authprofile.ErrConflict, authprofile.ErrReauthorize, authprofile.ErrConfiguration,
	authprofile.ErrUserMismatch, context.Canceled, fs.ErrNotExist, fs.ErrPermission, syscall.ENOSPC, io.ErrShortWrite,
}

// isLater reports whether an error passes by itself: a provider or a database
// that cannot be reached or says "not now".
func isLater(err error) bool {
	if _, ok := errors.AsType[lostError](err); ok {
		return false
	}
	if _, ok := errors.AsType[laterError](err); ok {
		return true
	}
	for _, f := range final {
		if errors.Is(err, f) {
			return false
		}
	}
	if _, ok := errors.AsType[*authprofile.FieldError](err); ok {
		return false
	}
	if isCertificate(err) {
		return false
	}
	if code, ok := databaseCode(err); ok {
		return code.passing()
	}
	if e, ok := errors.AsType[*oauth2.RetrieveError](err); ok && e.Response != nil {
		status := e.Response.StatusCode
		return isTokenError(err) || status == 0 || status == 429 || status >= 500
	}
	if _, ok := errors.AsType[net.Error](err); ok { // a context's deadline is one, too
		return true
	}
	return isTokenError(err)
}

// isTokenError reports whether a Manager has tried to get a token, and will try
// again: not if the record could not be read.
func isTokenError(err error) bool {
	e, ok := errors.AsType[*authprofile.Error](err)
	if !ok || e.Op != "token" {
		return false
	}
	_, record := errors.AsType[*authprofile.Error](e.Err)
	return !record
}

// clean returns a text without what could move the cursor of a terminal.
func clean(text string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsGraphic(r) {
			return '�'
		}
		return r
	}, text)
}
