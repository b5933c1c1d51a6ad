package authprofile

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"github.com/authprofile/authprofile/internal/safetext"
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
// that refuses may mean the grant or the client: see mayBeJudged.
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

// mayBeJudged reports whether a failure for that reason may be the fault of the
// grant or of the profile.
func mayBeJudged(r Reason) bool {
	return r == ReasonRefused || r == ReasonClient || r == ReasonSingled
}

// mayBeCured reports whether a change of the profile may put an end to a
// failure: to all but those by which the provider has ended the grant, and the
// end of a token that cannot be renewed.
func (f *Failure) mayBeCured() bool {
	return f != nil && f.Reason != ReasonRevoked && f.Reason != ReasonInterrupted && f.Reason != ReasonExpired
}

// circumstances are what a failure depends on besides what has happened.
type circumstances struct {
	version     int64 // of the profile; zero: it was not read
	now         time.Time
	interrupted bool // an earlier request with the same refresh token may have been answered
	company     bool // another grant of the profile was renewed since this one last failed
}

// failureOf makes a Failure of a failed request, not yet judged.
func failureOf(te *tokenendpoint.Error, c circumstances) (Failure, Status) {
	f := Failure{Code: te.Code, Description: te.Description, HTTPStatus: te.HTTPStatus}
	if te.RetryAfter > 0 {
		f.Next, f.Paced = stamp(c.now).Add(te.RetryAfter), true
	}
	var status Status
	f.Reason, status = meaning(te)
	if f.Reason == ReasonRevoked && c.interrupted {
		f.Reason = ReasonInterrupted
	}
	return f, status
}

// unresolved makes a Failure of an error of resolver.resolve.
func unresolved(err error) (Status, Failure) {
	if errors.Is(err, ErrConfiguration) {
		return StatusNeedsConfiguration, Failure{Reason: ReasonConfiguration}
	}
	return StatusFailing, Failure{Reason: ReasonUnreachable}
}

// nextFailure completes a Failure of g with what came before it and when to try
// again.
func nextFailure(g *Grant, status Status, f Failure, c circumstances) (Status, *Failure) {
	f.Since, f.Attempts = stamp(c.now), 1
	f.Last, f.ProfileVersion = f.Since, c.version
	if b := g.Failure; b != nil {
		f.follow(b, c.company)
	}
	if c.interrupted && g.grantType().spends && (f.Reason == ReasonUnavailable || f.Reason == ReasonUnreachable) {
		f.Reason = ReasonLost // that matters more than why there is still no answer
	}
	if status == StatusNeedsReauthorization {
		f.Next, f.Paced = time.Time{}, false
		return status, &f
	}
	delay := backoff(f.Attempts)
	switch {
	case mayBeJudged(f.Reason) && status == StatusFailing:
		// It may end in asking a person, so it gets time to pass by itself.
		// Attempts that do not count, since there is no company, become rarer too.
		delay = max(2*backoff(2*f.Attempts), min(f.Last.Sub(f.Since)/2, 2*longestBackoff))
	case status == StatusNeedsConfiguration:
		delay = 2 * delay
	}
	if g.isUsable(c.now) && !g.Expiry.IsZero() && !f.Paced {
		// Not past the end of the token that is still good.
		delay = min(delay, max(shortestBackoff, g.usableUntil(c.now).Sub(c.now)/3))
	}
	if next := f.Last.Add(delay).Truncate(time.Millisecond); f.Next.Before(next) {
		f.Next = next
	}
	return status, &f
}

// follow counts f as one more failure after b. Failures that are judged are
// counted by themselves: what was not the grant's fault must not add to them.
// With company, another grant of the profile was renewed since b.
func (f *Failure) follow(b *Failure, company bool) {
	switch {
	case !mayBeJudged(f.Reason):
		f.Since, f.Attempts = b.Since, b.Attempts+1
	case !mayBeJudged(b.Reason) || b.ProfileVersion != f.ProfileVersion:
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

// backingOff returns the failure of g as an error if it is not yet time for
// another attempt. An urgent one, for a caller without a valid token, need not
// wait as long.
func backingOff(g *Grant, p *Profile, urgent bool, now time.Time) error {
	f := g.Failure
	switch {
	case f == nil, f.Reason == ReasonOtherClient:
		return nil
	case f.ProfileVersion != p.Version:
		// The change may be what the grant waits for; but a provider that has
		// said when this client may come back does not wait for it.
		busy := f.Paced && (f.Reason == ReasonUnavailable || f.Reason == ReasonLost)
		if !busy || g.ClientID != p.ClientID {
			return nil
		}
	case g.Status == StatusNeedsReauthorization:
		return errorOf(g)
	}
	next := f.Next
	if urgent && !f.Paced && g.Status == StatusFailing && !mayBeJudged(f.Reason) {
		if soonest := f.Last.Add(shortestBackoff); soonest.Before(next) {
			next = soonest
		}
	}
	// A clock that is far ahead must not keep others from working.
	if now.Before(next) && now.Add(shortestBackoff).After(f.Last) {
		return errorOf(g)
	}
	return nil
}

// exchangeError says what the token endpoint said to an authorization code.
// There is no grant yet whose state it could be: only that an operator is
// needed is said as a state.
func exchangeError(err error) error {
	te := asTokenError(err)
	f, status := failureOf(te, circumstances{})
	f.Next, f.Paced = time.Time{}, false
	if status != StatusNeedsConfiguration {
		status = ""
	}
	if f.Reason == ReasonRevoked {
		f.Reason = ReasonRefused // a code, and not a grant
	}
	return &grantError{Status: status, Failure: f, cause: te}
}

// A grantError is a Failure as an error. It says the same whether it has just
// happened or was read from the Store.
type grantError struct {
	Status Status
	Failure
	cause error // what has just happened; nil if it was read
}

// errorOf returns the failure of a grant as an error.
func errorOf(g *Grant) *grantError {
	e := &grantError{Status: g.Status}
	if g.Failure != nil {
		e.Failure = *g.Failure
	}
	return e
}

func (e *grantError) Error() string {
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

func (e *grantError) sentinel() error {
	switch e.Status {
	case StatusNeedsReauthorization:
		return ErrReauthorize
	case StatusNeedsConfiguration:
		return ErrConfiguration
	}
	return nil
}

func (e *grantError) Unwrap() []error {
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
func (e *grantError) retrieveError() *oauth2.RetrieveError {
	re := &oauth2.RetrieveError{ErrorCode: e.Code, ErrorDescription: e.Description}
	// Its Error method reads the response's status.
	re.Response = &http.Response{StatusCode: e.HTTPStatus, Status: fmt.Sprintf("%d %s", e.HTTPStatus, http.StatusText(e.HTTPStatus))}
	return re
}

// errorCode cuts an error code to what RFC 6749, section 4.1.2.1 allows in one.
func errorCode(s string) string {
	return safetext.Truncate(strings.NewReplacer(`"`, "?", `\`, "?").Replace(safetext.Code(s, '?')), safetext.MaxCode)
}

// shownText cuts a text for people to what is safe to show.
func shownText(s string) string {
	return safetext.Truncate(safetext.Text(s, '?'), safetext.MaxDescription)
}
