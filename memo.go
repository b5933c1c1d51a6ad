package authprofile

import (
	"crypto/sha256"
	"errors"
	"time"

	"github.com/authprofile/authprofile/internal/tokencache"
)

// A memo is what the renewals of a grant remember from one to the next, beside
// its token in memory.
type memo struct {
	failed   *grantError // the latest, for grants that no Store keeps
	refusals refusals
	written  *written
	watch    *leaseWatch // for the renewal in progress alone; nil: none has begun since one succeeded
}

// recall returns what is remembered of a grant.
func recall(e *tokencache.Entry) memo {
	if m, ok := e.Memo().(*memo); ok {
		return *m
	}
	return memo{}
}

// note changes what is remembered of a grant.
func note(e *tokencache.Entry, f func(m *memo)) {
	e.UpdateMemo(func(old any) any {
		var m memo
		if o, ok := old.(*memo); ok {
			m = *o
		}
		f(&m)
		if m == (memo{}) {
			return nil
		}
		return &m
	})
}

// watchOf returns what is known of the lease of a grant: an earlier renewal,
// which the Store has brought to an end, may have seen the same one.
func watchOf(e *tokencache.Entry) *leaseWatch {
	if w := recall(e).watch; w != nil {
		return w
	}
	w := new(leaseWatch)
	note(e, func(m *memo) { m.watch = w })
	return w
}

// serve puts another token into memory; nil for none.
func serve(e *tokencache.Entry, t *tokencache.Token) {
	e.Set(t)
	if recall(e).failed != nil {
		note(e, func(m *memo) { m.failed = nil })
	}
}

// errRefusedAgain: the token that was obtained in place of a refused one was
// refused too, or was the same.
var errRefusedAgain = errors.New("an API refuses the latest token too, and it is too soon to obtain another")

// A refusals is what is known of an API that refuses the tokens of a grant.
type refusals struct {
	token  string    // the latest that was refused
	count  int       // how many were, one after the other
	at     time.Time // when the latest was first refused
	next   time.Time // when another may be asked for
	looked time.Time // when the Store was last asked for another one
}

const (
	forgetRefusals = 10 * time.Minute
	inUse          = time.Minute // after which a token was not refused as soon as it was there
	sameAgain      = time.Minute // before a provider is asked again that has given the refused token once more
)

// note notes that a token was refused, and returns how long to wait until
// another may be asked for: not at all if the refused one has been in use for a
// while, and the longer the more tokens in a row were refused as soon as they
// were there.
func (r *refusals) note(token string, obtained, now time.Time) (wait time.Duration) {
	if token != r.token {
		if now.Sub(r.at) >= forgetRefusals || !obtained.IsZero() && now.Sub(obtained) >= inUse {
			r.count = 0
		}
		if obtained.IsZero() || obtained.After(now) {
			obtained = now.Add(-shortestBackoff)
		}
		r.count++
		r.token, r.at = token, now
		r.next = obtained.Add(shortestBackoff)
		if r.count > 1 {
			r.next = obtained.Add(backoff(r.count))
		}
	}
	r.looked = now
	return r.next.Sub(now)
}

// noteSame notes that the provider has given the refused token once more.
func (r *refusals) noteSame(token string, now time.Time) {
	if token != r.token {
		r.token, r.count = token, 0
	}
	r.count++
	r.at = now
	r.next = now.Add(max(sameAgain, backoff(r.count)))
}

// isKnown reports whether it was found out a moment ago that there is no other
// token than the refused one.
func (r refusals) isKnown(token string, now time.Time) bool {
	return token == r.token && now.Before(r.next) && now.Sub(r.looked) < shortestBackoff
}

// A written is a grant that this process has stored in place of one with
// another refresh token. A Store that gives that one back has gone back to an
// earlier state.
type written struct {
	before [sha256.Size]byte // of the refresh token that it has replaced
	grant  *Grant
}

// remember keeps what was stored in place of a grant with another refresh
// token, in case the Store forgets it.
func remember(e *tokencache.Entry, before, g *Grant) {
	if !g.grantType().spends || before.RefreshToken == "" || g.RefreshToken == before.RefreshToken {
		return
	}
	w := &written{before: sha256.Sum256([]byte(before.RefreshToken)), grant: g}
	note(e, func(m *memo) { m.written = w })
}

// lostBy returns what this process has written after g, which the Store has
// gone back to, or nil.
func (w *written) lostBy(g *Grant) *Grant {
	if w == nil || g.RefreshToken == w.grant.RefreshToken || sha256.Sum256([]byte(g.RefreshToken)) != w.before {
		return nil
	}
	if g.Obtained.After(w.grant.Obtained) {
		return nil // a later authorization has brought the same refresh token again
	}
	return w.grant
}
