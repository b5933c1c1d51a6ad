package authprofile

import (
	"context"
	"errors"
	"log/slog"

	"github.com/authprofile/authprofile/internal/foreign"
)

// events are what a Manager tells the operator, each by a log record. None of
// them has a token or a user in it, nor more of what a provider wrote than an
// error code.
type events struct{ log *slog.Logger }

func profileAttr(id string) slog.Attr { return slog.String("profile", id) }

// renewed: old was renewed, and is g now.
func (ev events) renewed(ctx context.Context, p *Profile, old, g *Grant) {
	ev.log.LogAttrs(ctx, slog.LevelInfo, "authprofile: token renewed",
		profileAttr(g.ProfileID), slog.String("type", string(p.Type)), slog.Time("expiry", g.Expiry))
	ev.statusChanged(g.ProfileID, old.Status, g.Status)
}

func (ev events) statusChanged(profileID string, before, after Status) {
	if before != after && before != "" {
		ev.log.LogAttrs(context.Background(), slog.LevelInfo, "authprofile: status changed",
			profileAttr(profileID), slog.String("from", string(before)), slog.String("to", string(after)))
	}
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
	ev.statusChanged(g.ProfileID, old.Status, g.Status)
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
	ev.statusChanged(g.ProfileID, old.Status, g.Status)
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
