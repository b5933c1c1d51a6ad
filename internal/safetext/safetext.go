// Package safetext makes text fit to be shown, in an error, a log or a page:
// what a provider wrote, and errors whose causes must not be seen.
package safetext

import (
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"
)

// How much is shown of what a provider says of an error, in bytes.
const (
	MaxCode        = 64
	MaxDescription = 256
)

// LeaveOut, in the place of a character, is none.
const LeaveOut rune = -1

// Text returns s with instead in the place of each character that is not
// visible, or not text: control characters, invisible and bidirectional ones,
// and all white space but U+0020. With [LeaveOut], white space becomes single
// spaces, so that no two words become one.
//
// Text does not shorten s: before that, secrets may have to be found in it.
func Text(s string, instead rune) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsPrint(r) && r != utf8.RuneError:
			return r
		case instead == LeaveOut && unicode.IsSpace(r):
			return ' '
		}
		return instead
	}, s)
	if instead == LeaveOut {
		s = strings.Join(strings.Fields(s), " ")
	}
	return s
}

// Code is Text for an error code, of which printable ASCII stays.
func Code(s string, instead rune) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return instead
		}
		return r
	}, s)
	if instead == LeaveOut {
		s = strings.TrimSpace(s)
	}
	return s
}

// Truncate cuts s between characters, to at most so many bytes.
func Truncate(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return s[:limit]
}

// Format writes an error's text under every verb, so that none of them shows
// its causes.
func Format(f fmt.State, verb rune, text string) {
	if verb == 'q' {
		fmt.Fprintf(f, "%q", text)
		return
	}
	io.WriteString(f, text)
}
