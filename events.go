package authprofile

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net/url"
	"strings"
	"time"

	"github.com/authprofile/authprofile/internal/foreign"
	"github.com/authprofile/authprofile/internal/tokenendpoint"
)

// events are what a Manager tells the operator: by log records, and by calls of a
// Trace. None of them has a token or a user in it, nor more of what a provider
// wrote than an error code, and a Trace gets only those codes that a standard
// defines.
//
// Log handlers and the functions of a Trace are not ours. But for TokenRequest,
// they are called when the result of the work is there for those who wait: see
// reports.
type events struct {
	log   *slog.Logger
	trace *Trace // not nil
}

func profileAttr(id string) slog.Attr { return slog.String("profile", savedID(id)) }

// renewed: old was renewed, and is g now.
func (ev events) renewed(ctx context.Context, p *Profile, old, g *Grant) {
	ev.log.LogAttrs(ctx, slog.LevelInfo, "authprofile: token renewed",
		profileAttr(g.ProfileID), slog.String("type", string(p.Type)), slog.Time("expiry", g.Expiry))
	ev.statusChanged(ctx, old, g)
}

// statusChanged tells of it if the status of g is another one than that of old.
func (ev events) statusChanged(ctx context.Context, old, g *Grant) {
	if old.Status == g.Status || old.Status == "" {
		return
	}
	ev.log.LogAttrs(context.Background(), slog.LevelInfo, "authprofile: status changed",
		profileAttr(g.ProfileID), slog.String("from", string(old.Status)), slog.String("to", string(g.Status)))
	if ev.trace.Transition == nil {
		return
	}
	t := Transition{ProfileID: savedID(g.ProfileID), From: old.Status, To: g.Status}
	if g.Failure != nil {
		t.Reason = g.Failure.Reason
	}
	ev.callTrace(func() { ev.trace.Transition(ctx, t) })
}

// renewalFailed: the renewal of old failed, as g says now.
func (ev events) renewalFailed(ctx context.Context, old, g *Grant) {
	level := slog.LevelWarn
	if g.Status != StatusFailing {
		level = slog.LevelError
	}
	f := g.Failure
	ev.log.LogAttrs(ctx, level, "authprofile: renewal failed",
		profileAttr(g.ProfileID), slog.String("status", string(g.Status)), slog.String("reason", string(f.Reason)),
		slog.String("code", f.Code), slog.Int("http_status", f.HTTPStatus),
		slog.Int("attempts", f.Attempts), slog.Time("next", f.Next))
	ev.statusChanged(ctx, old, g)
}

func (ev events) fewerScopes(ctx context.Context, profileID string) {
	ev.log.LogAttrs(ctx, slog.LevelWarn, "authprofile: fewer scopes granted than before", profileAttr(profileID))
}

func (ev events) renewingWithoutStore(ctx context.Context, profileID string) {
	ev.log.LogAttrs(ctx, slog.LevelWarn, "authprofile: renewing without the store", profileAttr(profileID))
}

// storeLostToken: the Store has gone back to an earlier state.
func (ev events) storeLostToken(ctx context.Context, profileID string) {
	ev.log.LogAttrs(ctx, slog.LevelError, "authprofile: the store has lost a renewed token, which is stored again", profileAttr(profileID))
}

// notStoredYet: the Store did not take a renewed token.
func (ev events) notStoredYet(ctx context.Context, profileID string) {
	ev.log.LogAttrs(ctx, slog.LevelError, "authprofile: renewed token not stored yet", profileAttr(profileID))
}

// stored follows notStoredYet.
func (ev events) stored(ctx context.Context, profileID string) {
	ev.log.LogAttrs(ctx, slog.LevelInfo, "authprofile: renewed token stored", profileAttr(profileID))
}

// authorized: g has taken the place of old, which could not be read if damaged
// is not nil.
func (ev events) authorized(ctx context.Context, old, g *Grant, damaged error) {
	if damaged != nil {
		ev.log.LogAttrs(ctx, slog.LevelError, "authprofile: a grant that cannot be read was replaced",
			profileAttr(g.ProfileID), slog.String("error", damaged.Error()))
	}
	ev.log.LogAttrs(ctx, slog.LevelInfo, "authprofile: authorized", profileAttr(g.ProfileID))
	ev.statusChanged(ctx, old, g)
}

// authorizationFailed: profileID is empty if it is not known.
func (ev events) authorizationFailed(ctx context.Context, profileID string, err error) {
	ev.log.LogAttrs(ctx, slog.LevelWarn, "authprofile: authorization failed", profileAttr(profileID), slog.String("error", err.Error()))
}

func (ev events) revoked(ctx context.Context, profileID string, atProvider bool) {
	ev.log.LogAttrs(ctx, slog.LevelInfo, "authprofile: revoked", profileAttr(profileID), slog.Bool("at_provider", atProvider))
}

// upkeepFailed: Maintain could not do all that was due.
func (ev events) upkeepFailed(ctx context.Context, err error) {
	ev.log.LogAttrs(ctx, slog.LevelError, "authprofile: what was due could not be looked at", slog.String("error", err.Error()))
}

// noticeDelivered: Notify was told of something.
func (ev events) noticeDelivered(ctx context.Context, n Notice) {
	ev.log.LogAttrs(ctx, slog.LevelInfo, "authprofile: notice delivered",
		profileAttr(n.ProfileID), slog.String("kind", string(n.Kind)), slog.String("id", n.ID))
}

// noticeFailed: Notify has failed, and is called again later. Its error is the
// application's, and may name a user.
func (ev events) noticeFailed(ctx context.Context, n Notice) {
	ev.log.LogAttrs(ctx, slog.LevelWarn, "authprofile: notice not delivered yet",
		profileAttr(n.ProfileID), slog.String("kind", string(n.Kind)), slog.String("id", n.ID))
}

// panicked: code that is not ours has panicked, which may be the log handler.
func (ev events) panicked(err error) {
	defer func() { recover() }()
	attrs := []slog.Attr{slog.String("error", err.Error())}
	if p, ok := errors.AsType[*foreign.PanicError](err); ok {
		attrs = append(attrs, slog.String("stack", string(p.Stack)))
	}
	ev.log.LogAttrs(context.Background(), slog.LevelError, "authprofile: code that was called has panicked", attrs...)
}

// leaseTakenOver: a renewal has the lease that another process had.
func (ev events) leaseTakenOver(ctx context.Context, profileID string) {
	if ev.trace.LeaseTakeover != nil {
		ev.callTrace(func() { ev.trace.LeaseTakeover(ctx, savedID(profileID)) })
	}
}

// waited: a caller has waited for a token for so long, and got it or an error.
func (ev events) waited(ctx context.Context, profileID string, took time.Duration, err error) {
	w := TokenWait{ProfileID: savedID(profileID), Took: took}
	w.Reason, w.Err = plainError(err)
	ev.callTrace(func() { ev.trace.TokenWait(ctx, w) })
}

// errNoToken says no more than that there is no token.
var errNoToken = errors.New("no token could be obtained")

// plainError returns what may be told of an error, whose text may have a
// provider's own words and a user in it.
func plainError(err error) (reason Reason, plain error) {
	if failed, ok := errors.AsType[*grantError](err); ok {
		return failed.Reason, cmp.Or(failed.sentinel(), errNoToken)
	}
	if err == nil || err == context.Canceled || err == context.DeadlineExceeded {
		return "", err
	}
	for _, sentinel := range []error{ErrReauthorize, ErrConfiguration, ErrUserMismatch, ErrNotFound} {
		if errors.Is(err, sentinel) {
			return "", sentinel
		}
	}
	return "", errNoToken
}

// callTrace calls a function of the Trace, which may panic.
func (ev events) callTrace(call func()) {
	defer func() {
		if p := foreign.Recovered(recover()); p != nil {
			ev.panicked(p)
		}
	}()
	call()
}

// savedID returns the ID of a profile from the key of its grant. It is empty if
// the profile was never saved: its key has something else in its place.
func savedID(id string) string {
	if strings.HasPrefix(id, unsavedMark) {
		return ""
	}
	return id
}

// unsavedMark begins what stands for the ID of a profile that was never saved.
// No identifier may begin with a control character, so no profile has it.
const unsavedMark = "\x00"

// A tracedRequest is a token request as the Trace is told of it.
type tracedRequest struct {
	TokenRequest
	events events
	began  time.Time
	took   time.Duration
	done   func(TokenResult) // nil: nothing is to be told of its end
	err    error             // of the call of Trace.TokenRequest
}

// beginRequest tells the Trace that a token request is about to be sent, and
// returns the context to send it with. It takes no longer than a second. The
// lease of the grant may run meanwhile: nothing is logged before the request has
// ended.
func (ev events) beginRequest(ctx context.Context, profileID string, req *tokenendpoint.Request) (context.Context, *tracedRequest) {
	if ev.trace.TokenRequest == nil {
		return ctx, nil
	}
	what := TokenRequest{ProfileID: savedID(profileID), GrantType: req.Form.Get("grant_type"), Server: serverOf(req.URL)}
	var values context.Context
	var done func(TokenResult)
	err := foreign.CallBriefly(func() error {
		values, done = ev.trace.TokenRequest(ctx, what)
		return nil
	})
	r := &tracedRequest{TokenRequest: what, events: ev, began: time.Now(), err: err}
	if err != nil {
		return ctx, r // the call may go on, and the variables are its own
	}
	r.done = done
	if values == nil {
		return ctx, r
	}
	return tracedContext{ctx, values}, r
}

// A tracedContext ends as its Context does, and has the values of another one.
type tracedContext struct {
	context.Context
	values context.Context
}

func (c tracedContext) Value(key any) any { return c.values.Value(key) }

// serverOf returns the host of an address, with the port unless it is that of
// the scheme.
func serverOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	if port := u.Port(); u.Scheme == "https" && port == "443" || u.Scheme == "http" && port == "80" {
		return strings.TrimSuffix(u.Host, ":"+port)
	}
	return u.Host
}

// ended notes how long the request took.
func (r *tracedRequest) ended() {
	if r != nil {
		r.took = time.Since(r.began)
	}
}

// tell tells the Trace how the request has ended: with an answer, or with an
// error, or before it was sent.
func (r *tracedRequest) tell(a *tokenendpoint.Answer, err error, withdrawn bool) {
	if r == nil {
		return
	}
	switch p, ok := errors.AsType[*foreign.PanicError](r.err); {
	case ok:
		r.events.panicked(p)
	case r.err != nil:
		r.events.log.LogAttrs(context.Background(), slog.LevelWarn, "authprofile: a token request was not traced", slog.String("error", r.err.Error()))
	}
	if r.done == nil {
		return
	}
	result := TokenResult{Took: r.took, Withdrawn: withdrawn}
	switch {
	case err == nil:
		result.HTTPStatus = a.HTTPStatus
	case !withdrawn:
		te := asTokenError(err)
		result.Reason, _ = meaning(te)
		if result.Reason == ReasonRevoked && r.GrantType == "authorization_code" {
			result.Reason = ReasonRefused // a code, and not a grant
		}
		result.HTTPStatus = te.HTTPStatus
		if tokenendpoint.IsStandardCode(te.Code) {
			result.Code = te.Code
		}
	}
	r.events.callTrace(func() { r.done(result) })
}
