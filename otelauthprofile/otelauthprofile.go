// Package otelauthprofile fills a [authprofile.Trace] for OpenTelemetry: metrics
// and spans about the renewal of tokens. [ObserveGrants] adds gauges about what
// is stored.
//
// A token that comes from memory leaves no trace, and costs nothing.
//
// # Metrics
//
// Durations are in seconds.
//
//	authprofile.client.token_request.duration   histogram  requests to token endpoints
//	authprofile.client.token.wait.duration      histogram  callers who waited for a token
//	authprofile.grant.transitions               counter    changes of a grant's status
//	authprofile.lease.takeovers                 counter    leases taken over from processes that have died
//	authprofile.store.conflicts                 counter    puts refused since another process was quicker
//
// and those of ObserveGrants, which every process that calls it reads for
// itself, from the Store that all of them share: their maximum is what there is,
// and not their sum.
//
//	authprofile.grant.count                     gauge      grants by status
//	authprofile.grant.remaining                 gauge      seconds until the first of the active grants ends
//	authprofile.client.secret.remaining         gauge      seconds until the client secret ends
//
// # Attributes
//
// The values of all attributes are bounded by what the application has
// configured. None is a user, a subject, a scope, a token or a text of a provider.
//
//	authprofile.profile.id         ID of the profile, of all metrics, unless [WithoutProfileID] is given; a profile that was never saved has none
//	authprofile.grant.status       of grant.count: a Status, such as "active"
//	authprofile.transition.from    of grant.transitions: a Status
//	authprofile.transition.to      of grant.transitions: a Status
//	authprofile.failure.reason     of grant.transitions: a Reason, such as "revoked"; none if there is no failure
//	oauth.grant_type               of token_request.duration: "refresh_token", "client_credentials" or "authorization_code"
//	server.address                 of token_request.duration: host of the token endpoint
//	error.type                     of both durations: why there is no token
//
// The error.type of a request is an error code that a standard defines, such as
// "invalid_grant", or else a Reason of package authprofile, such as "unreachable".
// That of a wait is a Reason, or the Status that a caller is told of, or one of
// "canceled", "timeout", "not_found", "user_mismatch" and "_OTHER".
//
// A request that was withdrawn before anything was sent is in no metric.
//
// # Spans
//
// Each request to a token endpoint is a span "authprofile.token_request" of kind
// client. A renewal outlives the call that has begun it, and many callers may
// wait for it. So the span is the root of a trace of its own, with a link to the
// span of the caller for whom it was begun. Spans that the transport makes are
// below it.
package otelauthprofile

import (
	"context"
	"errors"
	"net"
	"strconv"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/authprofile/authprofile"
)

const scope = "github.com/authprofile/authprofile/otelauthprofile"

// The attributes. Those without the prefix of the library are OpenTelemetry's own,
// or named as its semantic conventions would name them.
const (
	profileKey    = attribute.Key("authprofile.profile.id")
	statusKey     = attribute.Key("authprofile.grant.status")
	fromKey       = attribute.Key("authprofile.transition.from")
	toKey         = attribute.Key("authprofile.transition.to")
	reasonKey     = attribute.Key("authprofile.failure.reason")
	withdrawnKey  = attribute.Key("authprofile.withdrawn")
	grantTypeKey  = attribute.Key("oauth.grant_type")
	serverKey     = attribute.Key("server.address")
	portKey       = attribute.Key("server.port")
	errorKey      = attribute.Key("error.type")
	httpStatusKey = attribute.Key("http.response.status_code")
)

// durations are the boundaries that OpenTelemetry's semantic conventions have for
// the duration of requests of an HTTP client, in seconds.
var durations = []float64{0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10}

// An Option says where telemetry goes, and how much of it.
type Option interface{ apply(*config) }

type config struct {
	meters    metric.MeterProvider
	tracers   trace.TracerProvider
	noProfile bool
}

type optionFunc func(*config)

func (f optionFunc) apply(c *config) { f(c) }

// WithMeterProvider sets the provider of the meter. By default it is the global
// one, [otel.GetMeterProvider].
func WithMeterProvider(p metric.MeterProvider) Option {
	return optionFunc(func(c *config) { c.meters = p })
}

// WithTracerProvider sets the provider of the tracer. By default it is the global
// one, [otel.GetTracerProvider]. [ObserveGrants] has no use for it.
func WithTracerProvider(p trace.TracerProvider) Option {
	return optionFunc(func(c *config) { c.tracers = p })
}

// WithoutProfileID leaves the IDs of profiles out of metrics, for services in
// which each tenant has profiles of its own: metrics with so many series cost
// too much. The gauges of [ObserveGrants] are those of all profiles together
// then. Spans keep the ID.
func WithoutProfileID() Option {
	return optionFunc(func(c *config) { c.noProfile = true })
}

func newConfig(opts []Option) *config {
	c := &config{meters: otel.GetMeterProvider(), tracers: otel.GetTracerProvider()}
	for _, o := range opts {
		o.apply(c)
	}
	return c
}

// profile returns the attribute of a profile in a metric, if there is to be one.
func (c *config) profile(id string) []attribute.KeyValue {
	if c.noProfile || id == "" {
		return nil
	}
	return []attribute.KeyValue{profileKey.String(id)}
}

// New returns a Trace that makes metrics and spans, for the field Trace of a
// Manager. Errors of the meter go to OpenTelemetry's error handler.
func New(opts ...Option) *authprofile.Trace {
	c := newConfig(opts)
	i := newInstruments(c.meters.Meter(scope))
	tracer := c.tracers.Tracer(scope)
	return &authprofile.Trace{
		TokenRequest: func(ctx context.Context, r authprofile.TokenRequest) (context.Context, func(authprofile.TokenResult)) {
			began := time.Now()
			ctx, span := startSpan(ctx, tracer, r, began)
			return ctx, func(result authprofile.TokenResult) {
				endSpan(span, result, began.Add(result.Took))
				if result.Withdrawn {
					return
				}
				attrs := append(c.profile(r.ProfileID), grantTypeKey.String(r.GrantType), serverKey.String(hostOf(r.Server)))
				if result.Reason != "" {
					attrs = append(attrs, errorKey.String(errorOfRequest(result)))
				}
				i.requests.Record(ctx, result.Took.Seconds(), metric.WithAttributes(attrs...))
			}
		},
		TokenWait: func(ctx context.Context, w authprofile.TokenWait) {
			attrs := c.profile(w.ProfileID)
			if w.Err != nil {
				attrs = append(attrs, errorKey.String(errorOfWait(w)))
			}
			i.waits.Record(ctx, w.Took.Seconds(), metric.WithAttributes(attrs...))
		},
		Transition: func(ctx context.Context, t authprofile.Transition) {
			attrs := append(c.profile(t.ProfileID), fromKey.String(string(t.From)), toKey.String(string(t.To)))
			if t.Reason != "" {
				attrs = append(attrs, reasonKey.String(string(t.Reason)))
			}
			i.transitions.Add(ctx, 1, metric.WithAttributes(attrs...))
		},
		LeaseTakeover: func(ctx context.Context, profileID string) {
			i.takeovers.Add(ctx, 1, metric.WithAttributes(c.profile(profileID)...))
		},
		StoreConflict: func(ctx context.Context, profileID string) {
			i.conflicts.Add(ctx, 1, metric.WithAttributes(c.profile(profileID)...))
		},
	}
}

// instruments are those of a Trace.
type instruments struct {
	requests, waits                   metric.Float64Histogram
	transitions, takeovers, conflicts metric.Int64Counter
}

func newInstruments(meter metric.Meter) *instruments {
	return &instruments{
		requests: handled(meter.Float64Histogram("authprofile.client.token_request.duration",
			metric.WithUnit("s"), metric.WithExplicitBucketBoundaries(durations...),
			metric.WithDescription("How long requests to token endpoints took."))),
		waits: handled(meter.Float64Histogram("authprofile.client.token.wait.duration",
			metric.WithUnit("s"), metric.WithExplicitBucketBoundaries(durations...),
			metric.WithDescription("How long callers waited for a token that was not in memory."))),
		transitions: handled(meter.Int64Counter("authprofile.grant.transitions",
			metric.WithUnit("{transition}"), metric.WithDescription("Changes of the status of a grant."))),
		takeovers: handled(meter.Int64Counter("authprofile.lease.takeovers",
			metric.WithUnit("{takeover}"), metric.WithDescription("Leases that were taken over from a process that has died."))),
		conflicts: handled(meter.Int64Counter("authprofile.store.conflicts",
			metric.WithUnit("{conflict}"), metric.WithDescription("Puts of a grant that were refused since another process was quicker."))),
	}
}

// handled returns an instrument, which can be used whether or not there is an
// error.
func handled[T any](instrument T, err error) T {
	if err != nil {
		otel.Handle(err)
	}
	return instrument
}

// startSpan starts the span of a request: a root, since the renewal may outlive
// the caller's span, to which it is linked.
func startSpan(ctx context.Context, tracer trace.Tracer, r authprofile.TokenRequest, began time.Time) (context.Context, trace.Span) {
	attrs := []attribute.KeyValue{grantTypeKey.String(r.GrantType), serverKey.String(hostOf(r.Server))}
	if r.ProfileID != "" {
		attrs = append(attrs, profileKey.String(r.ProfileID))
	}
	if _, port, err := net.SplitHostPort(r.Server); err == nil {
		if n, err := strconv.Atoi(port); err == nil {
			attrs = append(attrs, portKey.Int(n))
		}
	}
	opts := []trace.SpanStartOption{
		trace.WithNewRoot(), trace.WithSpanKind(trace.SpanKindClient), trace.WithTimestamp(began), trace.WithAttributes(attrs...),
	}
	if caller := trace.SpanContextFromContext(ctx); caller.IsValid() {
		opts = append(opts, trace.WithLinks(trace.Link{SpanContext: caller}))
	}
	return tracer.Start(ctx, "authprofile.token_request", opts...)
}

// endSpan ends the span of a request at the time when the request has ended: the
// Trace hears of that once its answer is stored.
func endSpan(span trace.Span, result authprofile.TokenResult, at time.Time) {
	if result.HTTPStatus != 0 {
		span.SetAttributes(httpStatusKey.Int(result.HTTPStatus))
	}
	switch {
	case result.Withdrawn:
		span.SetAttributes(withdrawnKey.Bool(true))
	case result.Reason != "":
		span.SetAttributes(errorKey.String(errorOfRequest(result)))
		span.SetStatus(codes.Error, "")
	}
	span.End(trace.WithTimestamp(at))
}

// hostOf returns a server without its port.
func hostOf(server string) string {
	if host, _, err := net.SplitHostPort(server); err == nil {
		return host
	}
	return server
}

// errorOfRequest returns the error.type of a request that brought no token.
func errorOfRequest(r authprofile.TokenResult) string {
	if r.Code != "" {
		return r.Code
	}
	return string(r.Reason)
}

// errorOfWait returns the error.type of a wait that brought no token.
func errorOfWait(w authprofile.TokenWait) string {
	if w.Reason != "" {
		return string(w.Reason)
	}
	for _, known := range []struct {
		err  error
		name string
	}{
		{context.Canceled, "canceled"},
		{context.DeadlineExceeded, "timeout"},
		{authprofile.ErrReauthorize, string(authprofile.StatusNeedsReauthorization)},
		{authprofile.ErrConfiguration, string(authprofile.StatusNeedsConfiguration)},
		{authprofile.ErrNotFound, "not_found"},
		{authprofile.ErrUserMismatch, "user_mismatch"},
	} {
		if errors.Is(w.Err, known.err) {
			return known.name
		}
	}
	return "_OTHER"
}
