package authprofile

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/authprofile/authprofile/internal/tokenendpoint"
)

// Three things pull at the length of a lease. Recovery after a crash waits for
// it; a provider's period of grace for a spent refresh token, 10 s and more with
// most who have one, must still be open then; and the slowest provider must fit,
// for which the lease is extended while the request runs.
const (
	leaseLength    = 5 * time.Second
	leaseMargin    = time.Second      // what must be left of it when the request is sent
	maxLeaseLength = 60 * time.Second // that a foreign lease is believed
)

// errLeaseOver keeps a request from being sent whose lease somebody else has.
var errLeaseOver = errors.New("the lease was taken over before the request was sent")

// errStoreSlow: the time of a lease passes while it is written.
var errStoreSlow = errors.New("the store is too slow to hold a lease in it")

// A lease is one that this process holds.
type lease struct {
	grant *Grant // as last written, with the lease in it
	until atomic.Pointer[time.Time]
}

// renewed notes that the lease was written by a call that began at a time.
func (l *lease) renewed(began time.Time) {
	until := began.Add(leaseLength)
	l.until.Store(&until)
}

// left is how much of the lease is left, by the clock that has gone further:
// the monotonic one stands still while some machines sleep, and the wall clock
// can be set back.
func (l *lease) left() time.Duration {
	until, now := *l.until.Load(), time.Now()
	return min(until.Sub(now), until.Round(0).Sub(now.Round(0)))
}

// takeLease puts the grant with our lease, and looks again at what is there.
func (n *renewal) takeLease(g *Grant) (*lease, error) {
	l := &lease{grant: g.Clone()}
	attempt := uuid.NewString()
	if !n.interrupted {
		n.slot.watch.unsent = attempt
	}
	l.grant.Lease = &Lease{Owner: n.owner, Attempt: attempt, Length: leaseLength}
	began := time.Now()
	if err := n.putGrant(n.ctx, l.grant); err != nil {
		return nil, err
	}
	l.renewed(began)

	// A process may have been stopped right here for a minute, and a store may
	// be slow: whoever took over meanwhile has left their name.
	cur, err := n.readGrant(n.ctx, g.GrantKey)
	switch {
	case errors.Is(err, ErrNotFound):
		return nil, ErrConflict
	case err != nil:
		return nil, err
	case cur.Lease == nil || cur.Lease.Attempt != attempt:
		return nil, ErrConflict
	}
	l.grant = cur
	if g.Version == 0 {
		// It has made a grant: not for a profile that is just being deleted.
		if err := n.stillWanted(n.ctx, cur); err != nil {
			return nil, err
		}
	}
	if l.left() < leaseLength/2 {
		// The store is slow. That nobody else was quicker shows in that it
		// takes the lease a second time.
		began := time.Now()
		if err := n.putGrant(n.ctx, l.grant); err != nil {
			return nil, err
		}
		l.renewed(began)
		if l.left() < leaseMargin {
			return nil, errStoreSlow
		}
	}
	return l, nil
}

// extendLease writes the lease anew, as long as it is ours.
func (n *renewal) extendLease(ctx context.Context, l *lease) error {
	ctx, cancel := context.WithTimeout(ctx, max(0, l.left()))
	defer cancel()
	for range 2 {
		began := time.Now()
		g := l.grant.Clone()
		err := n.putGrant(ctx, g)
		if err == nil {
			l.grant = g
			l.renewed(began)
			return nil
		}
		if !errors.Is(err, ErrConflict) {
			return err
		}
		// Either somebody else has it, or an earlier extension took effect
		// although its answer was lost.
		cur, err := n.readGrant(ctx, g.GrantKey)
		if err != nil {
			return err
		}
		if cur.Lease == nil || cur.Lease.Attempt != g.Lease.Attempt {
			return ErrConflict
		}
		l.grant = cur
	}
	return errStoreSlow
}

// ask sends the token request under the lease, and extends that while the
// request runs. When the lease cannot be extended any more, the time of the
// request is up.
func (n *renewal) ask(l *lease, form url.Values) (*tokenendpoint.Answer, error) {
	ctx, cancel := context.WithTimeout(n.ctx, requestTimeout)
	defer cancel()
	extending, answered := context.WithCancel(n.ctx)
	defer answered()

	req := tokenRequest(n.profile, n.target, form)
	attempt := l.grant.Lease.Attempt
	req.BeforeSend = func() error {
		// To connect has taken its time, and a machine that is short of it may
		// have stood still: if the lease was taken over meanwhile, the refresh
		// token may be spent already.
		cur, err := n.readGrant(ctx, n.ref.key)
		switch {
		case errors.Is(err, ErrNotFound), err == nil && (cur.Lease == nil || cur.Lease.Attempt != attempt):
			return errLeaseOver
		case err != nil || l.left() < leaseMargin:
			return errStoreSlow
		}
		return nil
	}
	var answer *tokenendpoint.Answer
	var err error
	done := make(chan struct{})
	n.work.Go(func() {
		answer, err = tokenendpoint.Do(ctx, n.http, req)
		if te := asTokenError(err); te == nil || te.Class != tokenendpoint.Unsent {
			n.slot.watch.unsent = ""
		}
		answered() // an extension under way must not keep the answer from being written
		close(done)
	})

	const often = leaseLength / 3
	next := often
	for {
		timer := time.NewTimer(min(next, max(0, l.left())))
		select {
		case <-done:
			timer.Stop()
			return answer, err
		case <-timer.C:
		}
		if l.left() <= 0 {
			cancel()
			<-done
			return answer, err
		}
		switch err := n.extendLease(extending, l); {
		case err == nil:
			next = often
		case errors.Is(err, ErrConflict):
			next = leaseLength // it is somebody else's: no more tries
		default:
			next = often / 5
		}
	}
}

// A watch is what this process knows of a grant's lease, from one renewal to the
// next until one succeeds.
type watch struct {
	attempt string
	version int64
	since   time.Time
	looks   int

	unsent string // the attempt of a lease of ours under which nothing was sent
}

// hasRunOut reports whether the lease of g has been there for its whole length
// by our own clock, without a sign of life from its holder.
func (w *watch) hasRunOut(g *Grant) bool {
	w.looks++
	now := time.Now()
	if g.Lease.Attempt != w.attempt || g.Version != w.version {
		w.attempt, w.version, w.since = g.Lease.Attempt, g.Version, now
		return false
	}
	return now.Sub(w.since) >= min(g.Lease.Length, maxLeaseLength)
}

// delay is how long to wait before the next look: most renewals take a
// fraction of a second, some take long.
func (w *watch) delay() time.Duration {
	d := min(20*time.Millisecond<<min(w.looks, 10), 250*time.Millisecond)
	return d/2 + rand.N(d)
}
