package authprofile

import (
	"hash/fnv"
	"io"
	"time"

	"github.com/authprofile/authprofile/internal/catalog"
)

// When Maintain has to look at a grant. It is settled with each put that
// changes what it depends on, so that a pass of Maintain reads what is due and
// nothing else.

const (
	day = 24 * time.Hour

	// noticeGrace is for how long a grant must have its status before a person
	// is told: what heals by itself until then is not worth a word.
	noticeGrace = time.Minute

	// defaultKeepAlive is Profile.KeepAlive where nothing else is known.
	defaultKeepAlive = 30 * day

	// lazyDue is how much too early a grant's Due may be. A renewal that would
	// move it by less leaves it, so that a grant that is renewed by the hour
	// moves in the index once a day.
	lazyDue = day

	// How long after a failure Maintain tries again to keep a grant alive.
	// Callers who ask for its token do not wait for that.
	retryFailing       = time.Hour
	retryConfiguration = day
)

// warnBefore is how long before an end a person is warned of it, once each.
var warnBefore = [...]time.Duration{14 * day, 3 * day, day}

// owes reports whether g has come to a status that is not the one that was
// told. A grant that fails is tried again: there is nothing to tell of it.
func (g *Grant) owes() bool {
	switch g.Status {
	case StatusActive:
		return g.Told != ""
	case StatusNeedsReauthorization, StatusNeedsConfiguration:
		return g.Told != g.Status
	}
	return false
}

// schedule settles when Maintain has to look at g, a changed grant. before is the
// grant before the change, and next is when Maintain has to look at it for other
// reasons than its status; zero for never.
func (g *Grant) schedule(before *Grant, next, now time.Time) {
	if !g.Ends.Equal(before.Ends) {
		g.Warned = stamp(now)
	}
	switch {
	case !g.owes():
	case !before.owes() || g.Status != before.Status:
		next = earlier(next, stamp(now).Add(noticeGrace))
	default: // it is due already, or is just being told
		next = earlier(next, before.Due)
	}
	if next.IsZero() || g.Due.IsZero() || next.Before(g.Due) || next.Sub(g.Due) >= lazyDue {
		g.Due = next.UTC().Truncate(time.Millisecond)
	}
}

// earlier returns the earlier of two times, of which zero means never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// An upkeep is what the upkeep of a profile's grants depends on, beside the
// grants. It takes no document of the provider.
type upkeep struct {
	keepAlive     time.Duration // of the profile
	secretExpires time.Time     // the same
	idleLife      time.Duration // of the template's provider; zero: not known
}

// upkeepOf returns that of a profile with its template, nil if it has none.
func upkeepOf(p *Profile, template *catalog.Provider) upkeep {
	up := upkeep{keepAlive: p.KeepAlive, secretExpires: p.SecretExpires}
	if template != nil {
		up.idleLife = template.IdleLife()
	}
	return up
}

// nextLook is when Maintain has to look at g unless its status changes; zero for
// never.
func (up upkeep) nextLook(g *Grant) time.Time {
	if !g.grantType().person {
		_, next := warning(up.secretExpires, g.Warned, time.Time{})
		return next
	}
	if g.Status == StatusNeedsReauthorization {
		return time.Time{}
	}
	_, next := warning(g.Ends, g.Warned, time.Time{})
	return earlier(next, up.renewIdleAt(g))
}

// renewIdleAt is when g is renewed so that the provider does not end it for
// want of use; zero for never.
func (up upkeep) renewIdleAt(g *Grant) time.Time {
	idle := up.keepAliveOf(g)
	if idle == 0 || g.Status == StatusNeedsReauthorization {
		return time.Time{}
	}
	// Not all at once that were authorized at once; and always at the same time
	// for one grant, so that it does not move for no reason.
	at := g.Obtained.Add(idle - time.Duration(g.GrantKey.fraction()*float64(idle)/10))
	if f := g.Failure; f != nil {
		retry := retryFailing
		if g.Status == StatusNeedsConfiguration {
			retry = retryConfiguration
		}
		at = later(later(at, f.Last.Add(retry)), f.Next)
	}
	return at
}

// keepAliveOf is for how long g may go without a renewal; zero for ever.
func (up upkeep) keepAliveOf(g *Grant) time.Duration {
	switch {
	case g.RefreshToken == "" || !g.grantType().person || up.keepAlive < 0:
		return 0
	case up.keepAlive > 0:
		return up.keepAlive
	}
	idle := defaultKeepAlive
	if up.idleLife > 0 {
		idle = min(idle, up.idleLife/2)
	}
	if g.EndsBy == EndsAnnounced && g.Ends.After(g.Obtained) {
		idle = min(idle, g.Ends.Sub(g.Obtained)/2)
	}
	return max(idle, shortestKeepAlive)
}

// fraction returns a number from zero to one that is always the same for a key.
func (k GrantKey) fraction() float64 {
	h := fnv.New32a()
	io.WriteString(h, k.ProfileID)
	io.WriteString(h, "\x00")
	io.WriteString(h, k.User)
	return float64(h.Sum32()) / (1 << 32)
}

// warning reports whether a person has to be warned by now of an end, of which
// they were last warned at a time, and when the next warning is due; zero for
// never. Warnings that were missed are one.
func warning(end, warned, now time.Time) (due bool, next time.Time) {
	if end.IsZero() {
		return false, time.Time{}
	}
	for _, before := range warnBefore {
		at := end.Add(-before)
		switch {
		case !at.After(warned):
		case at.After(now):
			return due, earlier(next, at)
		default:
			due = true
		}
	}
	return due, next
}
