package authprofile

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/authprofile/authprofile/internal/safetext"
)

// The states that a caller may want to tell apart, with [errors.Is].
var (
	// ErrNotFound: the store has no such profile, grant or flow.
	ErrNotFound = errors.New("not found")

	// ErrConflict: the record is not at the version that was read, or a new
	// one was to be created where one exists. Read again and decide anew.
	ErrConflict = errors.New("conflict: changed since it was read")

	// ErrReauthorize: only a person can help. There is no grant yet, or the
	// provider has ended it. Send the user through [Manager.Begin].
	ErrReauthorize = errors.New("the user must authorize again")

	// ErrConfiguration: the provider refuses the client, not the user. An
	// operator must correct the profile, or the registration at the provider.
	// No authorization is lost: grants work again once it is corrected.
	ErrConfiguration = errors.New("the profile or its registration must be corrected")

	// ErrUserMismatch: the user is missing, is given where none belongs, or
	// is not the one that the flow or the grant belongs to.
	ErrUserMismatch = errors.New("wrong or missing user")
)

// A FieldError is one problem of one field. [Profile.Validate] joins all it
// finds; a caller gets at them with [errors.As], or by unwrapping to []error.
type FieldError struct {
	Field   string // as in Go: "ClientID", "Endpoints.TokenURL"
	Problem string // for people; never holds the field's value
}

func (e *FieldError) Error() string { return e.Field + ": " + e.Problem }

// An Error says what failed, and where. It unwraps to the reason: one of the
// sentinels of this package, an [*oauth2.RetrieveError] with what the provider
// said (its Body removed), a context's error, or an error of the Store.
//
// Its text never holds a secret, a user or a response body.
type Error struct {
	Op        string // "token", "begin", "finish", "save", "discover", "revoke", ...
	ProfileID string
	User      string // not part of the text
	Err       error
}

func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("authprofile: ")
	b.WriteString(e.Op)
	if e.ProfileID != "" {
		fmt.Fprintf(&b, " %q", e.ProfileID)
	}
	if e.Err != nil {
		b.WriteString(": ")
		b.WriteString(e.Err.Error())
	}
	return b.String()
}

// Unwrap returns the reason.
func (e *Error) Unwrap() error { return e.Err }

// Temporary reports whether the failure passes without anyone's help, so that it
// makes sense to try again later: the provider, the network or the Store fails for
// now, or the caller's time was over. It does not if the reason is [ErrReauthorize],
// [ErrConfiguration], [ErrUserMismatch], [ErrNotFound], [ErrConflict], a
// [*FieldError], or that the caller has given up ([context.Canceled]).
//
// Some clients look for a method of this name before they try again.
func (e *Error) Temporary() bool {
	for _, lasting := range []error{ErrReauthorize, ErrConfiguration, ErrUserMismatch, ErrNotFound, ErrConflict, context.Canceled} {
		if errors.Is(e.Err, lasting) {
			return false
		}
	}
	var field *FieldError
	return !errors.As(e.Err, &field)
}

// Format writes the error's text under every verb, so that none of them
// reaches the fields behind it.
func (e Error) Format(f fmt.State, verb rune) { safetext.Format(f, verb, e.Error()) }

// MarshalText returns the error's text.
func (e Error) MarshalText() ([]byte, error) { return []byte(e.Error()), nil }

// wrap says where an error happened, if there is one.
func wrap(op, profileID, user string, err error) error {
	var known *Error
	if err == nil || errors.As(err, &known) && known.Op == op {
		return err
	}
	return &Error{Op: op, ProfileID: profileID, User: user, Err: err}
}
