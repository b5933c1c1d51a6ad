package authprofile

import (
	"math/rand/v2"
	"time"

	"github.com/authprofile/authprofile/internal/tokencache"
)

// minUse is how long even a token that expires on arrival is served, so that
// an odd lifetime does not become a storm of requests.
const minUse = shortestBackoff

// defaultRenewBefore is what Manager.RenewBefore is by default.
const defaultRenewBefore = time.Minute

// lifetimes says how long a token is served, and when it is due.
type lifetimes struct {
	before time.Duration    // Manager.RenewBefore
	now    func() time.Time // the wall clock
}

// token makes of a grant's access token one to be kept in memory.
func (lt *lifetimes) token(g *Grant) *tokencache.Token {
	now := lt.now()
	t := &tokencache.Token{Token: *g.Token(), RenewAt: tokencache.Never, End: tokencache.Never, Obtained: g.Obtained}
	renewable := g.RefreshToken != "" || !g.grantType().spends
	if g.Expiry.IsZero() {
		// The lifetime is not known: it is served until an API refuses it. Now
		// and then it is renewed where that costs the user nothing, and looked
		// for in the Store where it does, in case it was ended there.
		since := now
		if renewable && !g.Obtained.IsZero() && g.Obtained.Before(now) {
			since = g.Obtained
		}
		t.RenewAt = unixNano(since.Add(time.Hour + rand.N(6*time.Minute)))
		return t
	}
	t.End = unixNano(g.usableUntil(now))
	if renewable {
		// Each process draws its own moment, so that they do not all read the
		// Store at once, nor renew at once what was issued at once.
		window := lt.renewBefore(g, now)
		t.RenewAt = t.End - int64(window) + int64(rand.N(window/2+1))
	}
	return t
}

// renewBefore is how long before its end a grant's token is renewed.
func (lt *lifetimes) renewBefore(g *Grant, now time.Time) time.Duration {
	window := lt.before
	if window <= 0 {
		window = defaultRenewBefore
	}
	life := g.usableUntil(now).Sub(g.Obtained)
	if g.Obtained.IsZero() || g.Obtained.After(now) {
		life = g.usableUntil(now).Sub(now)
	}
	return max(0, min(window, life/3))
}

// unixNano is t.UnixNano, and for times that are too far away for it a long
// time ago or never.
func unixNano(t time.Time) int64 {
	switch s := t.Unix(); {
	case s < 0:
		return 0
	case s >= tokencache.Never/int64(time.Second):
		return tokencache.Never
	}
	return t.UnixNano()
}

// usableUntil is when the access token of g, whose lifetime is known, is no
// longer served. If it comes from the future, by a clock that was ahead, it is
// served for its whole life from now at most.
func (g *Grant) usableUntil(now time.Time) time.Time {
	until := g.Expiry
	if g.Obtained.IsZero() {
		return until
	}
	if first := g.Obtained.Add(minUse); until.Before(first) {
		until = first
	}
	if g.Obtained.After(now) {
		until = now.Add(until.Sub(g.Obtained))
	}
	return until
}

// isUsable reports whether the access token of g can be served.
func (g *Grant) isUsable(now time.Time) bool {
	return g.AccessToken != "" && (g.Expiry.IsZero() || now.Before(g.usableUntil(now)))
}

// authorizedBy is when the person has consented at the latest.
func (g *Grant) authorizedBy() time.Time {
	if g.Authorized.IsZero() { // stored by an earlier release
		return g.Obtained
	}
	return g.Authorized
}
