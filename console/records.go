package console

import (
	"errors"
	"fmt"

	"github.com/authprofile/authprofile"
)

// unreadable tells records that cannot be read, of which there are n, from what else
// has failed.
func unreadable(err error) (n int, failed error) {
	damaged, failed := damagedRecords(err)
	return len(damaged), failed
}

// damagedRecords tells the records that cannot be read, of which err names the keys,
// from what else has failed.
func damagedRecords(err error) (damaged []authprofile.GrantKey, failed error) {
	if err == nil {
		return nil, nil
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var rest []error
		for _, err := range joined.Unwrap() {
			keys, failed := damagedRecords(err)
			damaged = append(damaged, keys...)
			rest = append(rest, failed)
		}
		return damaged, errors.Join(rest...)
	}
	if key, ok := damagedRecord(err); ok {
		return []authprofile.GrantKey{key}, nil
	}
	return nil, err
}

// damagedRecord returns the key of the record that an error of the Manager is about: a
// Store says by an *authprofile.Error of its own which one cannot be read.
func damagedRecord(err error) (authprofile.GrantKey, bool) {
	var outer, inner *authprofile.Error
	if !errors.As(err, &outer) || !errors.As(outer.Err, &inner) || inner.ProfileID == "" {
		return authprofile.GrantKey{}, false
	}
	return authprofile.GrantKey{ProfileID: inner.ProfileID, User: inner.User}, true
}

// cannotBeRead says that records cannot be read.
func cannotBeRead(n int, what string) string {
	if n == 1 {
		return fmt.Sprintf("One %s cannot be read, and is not shown. The log of the service says why, or its key for sealed secrets is missing.", what)
	}
	return fmt.Sprintf("%d %ss cannot be read, and are not shown. The log of the service says why, or its key for sealed secrets is missing.", n, what)
}
