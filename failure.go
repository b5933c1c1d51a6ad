package authprofile

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"github.com/authprofile/authprofile/internal/tokenendpoint"
	"github.com/authprofile/authprofile/internal/transport"
)

const (
	shortestBackoff = time.Second
	longestBackoff  = 5 * time.Minute
)

// backoff is how long to wait after so many failures in a row: twice as long
// each time, and never the same for two processes.
func backoff(attempts int) time.Duration {
	d := min(shortestBackoff<<min(max(attempts, 1)-1, 20), longestBackoff)
	return d + rand.N(d/4)
}

// meaning says what a failed request means for a grant, by itself. A provider
// that refuses may mean the grant or the client: see judged.
func meaning(te *tokenendpoint.Error) (Reason, Status) {
	switch te.Class {
	case tokenendpoint.InvalidGrant, tokenendpoint.Interaction:
		return ReasonRevoked, StatusNeedsReauthorization
	case tokenendpoint.Configuration:
		if errors.Is(te, transport.ErrRefused) { // by this program's own rules
			return ReasonUnreachable, StatusNeedsConfiguration
		}
		return ReasonClient, StatusNeedsConfiguration
	case tokenendpoint.Unsent:
		return ReasonUnreachable, StatusFailing
	case tokenendpoint.Lost:
		return ReasonLost, StatusFailing
	case tokenendpoint.Unavailable:
		return ReasonUnavailable, StatusFailing
	case tokenendpoint.Unreadable:
		return ReasonUnreadable, StatusFailing
	}
	return ReasonRefused, StatusFailing
}

// A refusal that may be the grant's fault or the profile's is judged when it
// has come so often, and for so long.
const (
	maxRefusals   = 6
	minRefusedFor = 10 * time.Minute

	// aloneFor is how long the only grant of a profile is tried, which nothing
	// can be compared with, before its user is asked for.
	aloneFor = 7 * 24 * time.Hour
)

// judged reports whether a failure for that reason may be the fault of the
// grant or of the profile.
func judged(r Reason) bool {
	return r == ReasonRefused || r == ReasonClient || r == ReasonSingled
}

// follow counts f as one more failure after b. Failures that are judged are
// counted by themselves: what was no one's fault must not add to them. With
// company, another grant of the profile was renewed since b.
func (f *Failure) follow(b *Failure, company bool) {
	switch {
	case !judged(f.Reason):
		f.Since, f.Attempts = b.Since, b.Attempts+1
	case !judged(b.Reason) || b.ProfileVersion != f.ProfileVersion:
	case f.Reason != ReasonSingled:
		f.Since, f.Attempts = b.Since, b.Attempts+1
	case b.Reason != ReasonSingled:
		f.Since, f.Attempts = b.Since, 2 // b was the first
	case company:
		f.Since, f.Attempts = b.Since, b.Attempts+1
	default:
		f.Since, f.Attempts = b.Since, b.Attempts
	}
}

// isLong reports whether the failure that follows f is one too many.
func (f *Failure) isLong(now time.Time) bool {
	return f.Attempts >= maxRefusals-1 && now.Sub(f.Since) >= minRefusedFor
}

// A failedError is a Failure as an error. It says the same whether it has just
// happened or was read from the Store.
type failedError struct {
	Status Status
	Failure
	cause error // what has just happened; nil if it was read
}

// stored returns the failure of a grant as an error.
func stored(g *Grant) *failedError {
	e := &failedError{Status: g.Status}
	if g.Failure != nil {
		e.Failure = *g.Failure
	}
	return e
}

func (e *failedError) Error() string {
	var b strings.Builder
	if s := e.sentinel(); s != nil {
		b.WriteString(s.Error())
		b.WriteString(": ")
	}
	b.WriteString(reasonText(e.Reason))
	if e.Reason == "" && e.cause != nil {
		b.Reset()
		fmt.Fprintf(&b, "%v: %v", e.sentinel(), e.cause)
		return b.String()
	}
	var details []string
	if e.Code != "" {
		details = append(details, e.Code)
	}
	if e.HTTPStatus != 0 {
		details = append(details, fmt.Sprintf("HTTP %d", e.HTTPStatus))
	} else if e.cause != nil {
		details = append(details, e.cause.Error())
	}
	if len(details) > 0 {
		fmt.Fprintf(&b, " (%s)", strings.Join(details, ", "))
	}
	return b.String()
}

func reasonText(r Reason) string {
	switch r {
	case ReasonRevoked:
		return "the provider has ended the grant"
	case ReasonInterrupted:
		return "a renewal was interrupted, and the provider has ended the grant"
	case ReasonExpired:
		return "the access token is no longer good, and there is no refresh token"
	case ReasonOtherClient:
		return "the grant was issued to another client, or by another provider"
	case ReasonClient:
		return "the provider refuses the client or its request"
	case ReasonConfiguration:
		return "the profile does not fit the provider"
	case ReasonUnreachable:
		return "the provider cannot be reached"
	case ReasonLost:
		return "the provider's answer was lost"
	case ReasonUnavailable:
		return "the provider is not available"
	case ReasonUnreadable:
		return "the provider's answer makes no sense"
	case ReasonRefused:
		return "the provider refuses"
	case ReasonSingled:
		return "the provider refuses this grant, and renews others"
	case ReasonIDToken:
		return "the tokens came with an ID token that is not valid"
	}
	return "failed"
}

func (e *failedError) sentinel() error {
	switch e.Status {
	case StatusNeedsReauthorization:
		return ErrReauthorize
	case StatusNeedsConfiguration:
		return ErrConfiguration
	}
	return nil
}

func (e *failedError) Unwrap() []error {
	var errs []error
	if s := e.sentinel(); s != nil {
		errs = append(errs, s)
	}
	if e.cause != nil {
		errs = append(errs, e.cause)
	}
	if e.Code != "" || e.HTTPStatus != 0 {
		errs = append(errs, e.retrieveError())
	}
	return errs
}

// retrieveError is what the provider said as x/oauth2 has it, without the
// body.
func (e *failedError) retrieveError() *oauth2.RetrieveError {
	re := &oauth2.RetrieveError{ErrorCode: e.Code, ErrorDescription: e.Description}
	// Its Error method reads the response's status.
	re.Response = &http.Response{StatusCode: e.HTTPStatus, Status: fmt.Sprintf("%d %s", e.HTTPStatus, http.StatusText(e.HTTPStatus))}
	return re
}
