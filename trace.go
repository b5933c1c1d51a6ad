package authprofile

import (
	"context"
	"time"
)

// A Trace has functions that a Manager calls when it does something, for metrics
// and traces; module otelauthprofile has one for OpenTelemetry. Each may be nil,
// which costs nothing. A token that comes from memory is told to none of them.
//
// They are called by many goroutines at once, TokenRequest before what it tells
// of, and the others soon after it, when those who wait for it have their result.
// They should return soon. One that panics, blocks or ends its goroutine keeps no
// caller from a token, and no token from being stored; a panic is logged. But
// Shutdown waits for those that block.
//
// What they are told has no token, no user and no text of a provider in it. A
// profile that was never saved has no ID. The context has the values of that of a
// caller for whom the work is done.
type Trace struct {
	// TokenRequest is called before a request is sent to a token endpoint. The
	// request goes on with the values of the context that it returns, and done,
	// unless it is nil, is called once when the request has ended. A renewal
	// outlives the call that has begun it: ctx does not end with that of the
	// caller. If TokenRequest takes longer than a second, the request goes on
	// without it, and done is not called.
	TokenRequest func(ctx context.Context, r TokenRequest) (_ context.Context, done func(TokenResult))

	// TokenWait is called when a caller has waited for a token. It is not
	// called after Shutdown.
	TokenWait func(ctx context.Context, w TokenWait)

	// Transition is called when the status of a grant has changed.
	Transition func(ctx context.Context, t Transition)

	// LeaseTakeover is called when a renewal has taken over the lease of
	// another process, which must have died.
	LeaseTakeover func(ctx context.Context, profileID string)

	// StoreConflict is called when the Store has refused a grant with
	// ErrConflict, most likely since another process was quicker. What follows
	// is decided by what is there then: a conflict is no error.
	StoreConflict func(ctx context.Context, profileID string)
}

// A TokenRequest is a request to a token endpoint that is about to be sent.
type TokenRequest struct {
	ProfileID string
	GrantType string // RFC 6749: "refresh_token", "client_credentials" or "authorization_code"
	Server    string // host of the endpoint: "auth.example.com", with the port unless it is that of the scheme
}

// A TokenResult is how a request to a token endpoint has ended.
type TokenResult struct {
	Took time.Duration

	// Reason says why there is no token; empty: there is one. It is that of this
	// request by itself. That of the grant's Failure may be another one, which
	// also goes by what came before and by other grants.
	Reason Reason

	// Code is the OAuth error code of the answer if a standard defines it: RFC
	// 6749, RFC 7009, RFC 8628, RFC 8707 or OpenID Connect Core. Otherwise it is
	// empty.
	Code string

	HTTPStatus int // zero: no answer

	// Withdrawn says that nothing was sent in the end, since the lease of the
	// grant could not be held until then: another process has taken it over, or
	// the Store was too slow. Reason is empty, and says nothing.
	Withdrawn bool
}

// A TokenWait is a caller's wait for a token that was not in memory.
type TokenWait struct {
	ProfileID string
	Took      time.Duration

	// Err says why the caller got no token; nil: it got one. It is
	// ErrReauthorize, ErrConfiguration, ErrUserMismatch, ErrNotFound,
	// context.Canceled or context.DeadlineExceeded if the caller's context has
	// ended, or an error that says no more. Reason is that of the failure, if
	// it is known.
	Err    error
	Reason Reason
}

// A Transition is a change of a grant's status.
type Transition struct {
	ProfileID string
	From, To  Status
	Reason    Reason // of the failure; empty if there is none
}
