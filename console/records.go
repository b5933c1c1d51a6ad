package console

import (
	"errors"
	"fmt"

	"github.com/authprofile/authprofile"
)

// unreadable tells records that cannot be read, of which there are n, from a Store that
// has failed.
func unreadable(err error) (n int, away error) {
	var walk func(err error)
	walk = func(err error) {
		var e *authprofile.Error
		joined, isJoined := err.(interface{ Unwrap() []error })
		switch {
		case err == nil:
		case isJoined:
			for _, err := range joined.Unwrap() {
				walk(err)
			}
		case errors.As(err, &e) && isOfRecord(e):
			n++
		default:
			away = err
		}
	}
	walk(err)
	return n, away
}

// isOfRecord reports whether an error is about one record.
func isOfRecord(e *authprofile.Error) bool {
	for e.ProfileID == "" {
		var inner *authprofile.Error
		if !errors.As(e.Err, &inner) {
			return false
		}
		e = inner
	}
	return true
}

// cannotBeRead says that records cannot be read.
func cannotBeRead(n int, what string) string {
	if n == 1 {
		return fmt.Sprintf("One %s cannot be read, and is not shown. The log of the service says why, or its key for sealed secrets is missing.", what)
	}
	return fmt.Sprintf("%d %ss cannot be read, and are not shown. The log of the service says why, or its key for sealed secrets is missing.", n, what)
}
