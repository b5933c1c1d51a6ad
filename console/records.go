package console

import (
	"errors"
	"fmt"
	"html"
	"net/url"

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

// fit returns the records that a page shows: from the beginning of the list as many as
// limit says, and fewer if they are so large that the page would become too large. It
// returns one at least, if there is one.
func fit[T any](list []T, limit, bytes int, size func(T) int) []T {
	for i, record := range list {
		if bytes -= size(record); i == limit || i > 0 && bytes < 0 {
			return list[:i]
		}
	}
	return list
}

// textSize is how many bytes texts take on a page, once.
func textSize(texts ...string) (n int) {
	for _, text := range texts {
		n += len(html.EscapeString(text))
	}
	return n
}

// keySize is how many bytes a grant's key takes on a page, with a link to the grant.
func keySize(key authprofile.GrantKey) int {
	return len(url.QueryEscape(key.ProfileID+key.User)) + textSize(key.ProfileID, key.User)
}
