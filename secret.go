package authprofile

import (
	"fmt"
	"io"
	"log/slog"
)

// A Secret is text that must not be seen: a client secret, a private key, a
// token, a code verifier. It shows itself as "[redacted]" under the verbs of
// package fmt, in package log/slog, and as JSON or text. Use string(s) to use it.
//
// An empty Secret holds nothing to hide and shows itself as empty.
//
// Some paths call no method and show a Secret in the clear: in package fmt,
// unexported fields, the verbs %p and %w, and a struct reached through a
// pointer inside another struct under a verb such as %s; in JSON, the keys of
// maps. Give a struct that holds a Secret a Format method of its own.
type Secret string

const redacted = "[redacted]"

func (s Secret) shown() string {
	if s == "" {
		return ""
	}
	return redacted
}

// String returns "[redacted]".
func (s Secret) String() string { return s.shown() }

// GoString returns "[redacted]" in quotes.
func (s Secret) GoString() string { return fmt.Sprintf("%q", s.shown()) }

// Format writes "[redacted]".
func (s Secret) Format(f fmt.State, verb rune) {
	switch {
	case verb == 'q', verb == 'v' && f.Flag('#'):
		io.WriteString(f, s.GoString())
	default:
		io.WriteString(f, s.shown())
	}
}

// LogValue implements [slog.LogValuer].
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.shown()) }

// MarshalText returns "[redacted]". With it, JSON and XML are covered too.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.shown()), nil }

// UnmarshalText sets s to the text. It refuses "[redacted]" with a
// [*FieldError]: a caller that sends back what it was shown would
// otherwise overwrite the secret with its placeholder.
func (s *Secret) UnmarshalText(text []byte) error {
	if string(text) == redacted {
		return &FieldError{Field: "Secret", Problem: `is the placeholder "[redacted]", not a secret; leave it out or give the real one`}
	}
	*s = Secret(text)
	return nil
}
