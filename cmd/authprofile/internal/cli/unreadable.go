package cli

import (
	"errors"
	"fmt"
	"strings"

	"github.com/authprofile/authprofile"
)

// maxUnreadable is how many records that cannot be read an error names.
const maxUnreadable = 3

// unreadable returns an error of reading records that says which of them cannot be
// read. Other errors it returns as they are.
func unreadable(err error) error {
	if text := recordProblems(err); text != "" {
		return describedError{"cannot be read: " + text, err}
	}
	return err
}

// recordProblems says which records an error is about, with their users, whom its own
// text leaves out, and what is wrong with them; empty: it is about none.
func recordProblems(err error) string {
	var texts []string
	eachRecord(err, func(e *authprofile.Error) {
		texts = append(texts, recordProblem(e))
	})
	text := strings.Join(texts[:min(len(texts), maxUnreadable)], "; ")
	if more := len(texts) - maxUnreadable; more > 0 {
		text += fmt.Sprintf("; and %d more", more)
	}
	return text
}

// recordProblem says which record an error is about, and what is wrong with it.
func recordProblem(e *authprofile.Error) string {
	name := fmt.Sprintf("profile %q", e.ProfileID)
	if e.User != "" {
		name = fmt.Sprintf("the grant of user %q of profile %q", e.User, e.ProfileID)
	}
	return fmt.Sprintf("%s: %s", name, strings.TrimPrefix(fmt.Sprint(e.Err), "authprofile: "))
}

// eachRecord calls f for each record that an error is about, with the innermost Error
// of it.
func eachRecord(err error, f func(*authprofile.Error)) {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, err := range joined.Unwrap() {
			eachRecord(err, f)
		}
		return
	}
	e, ok := err.(*authprofile.Error)
	switch {
	case err == nil:
	case ok && e.ProfileID != "":
		if inner, ok := errors.AsType[*authprofile.Error](e.Err); ok && inner.ProfileID != "" {
			e = inner
		}
		f(e)
	default:
		eachRecord(errors.Unwrap(err), f)
	}
}
