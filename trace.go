package authprofile

import (
	"context"
	"time"
)

// A Trace has functions that a Manager calls when it does something, for metrics
// and traces; module otelauthprofile has one for OpenTelemetry. Each may be nil,
// which costs nothing. A token that comes from memory is told to none of them.
//
// They are called where the work is done, by many goroutines at once, and should
// return soon. If one panics, that is logged, and the work goes on. What they are
// told has no token, no user and no text of a provider in it. A profile that was
// never saved has no ID.
type Trace struct {
	// TokenRequest is called before a request is sent to a token endpoint. The
	// request goes on with the context that it returns, and done, unless it is
	// nil, is called once when the request has ended. A renewal outlives the
	// call that has begun it: ctx has the values of the caller's context, not
	// its end.
	TokenRequest func(ctx context.Context, r TokenRequest) (_ context.Context, done func(TokenResult))

	// TokenWait is called when a caller has waited for a token.
	TokenWait func(ctx context.Context, w TokenWait)

	// Transition is called when the status of a grant has changed.
	Transition func(ctx context.Context, t Transition)

	// LeaseTakeover is called when a renewal takes over the lease of another
	// process, which must have died.
	LeaseTakeover func(ctx context.Context, profileID string)

	// StoreConflict is called when a put was refused since another process was
	// quicker.
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

	// Reason says why there is no token; empty: there is one. Code is the OAuth
	// error code of the answer if a standard defines it; otherwise empty.
	Reason Reason
	Code   string

	HTTPStatus int // zero: no answer
}

// A TokenWait is a caller's wait for a token that was not in memory.
type TokenWait struct {
	ProfileID string
	Took      time.Duration
	Err       error // why there is none; nil: there is one
}

// A Transition is a change of a grant's status.
type Transition struct {
	ProfileID string
	From, To  Status
	Reason    Reason // of the failure; empty if there is none
}
