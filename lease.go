package authprofile

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/authprofile/authprofile/internal/foreign"
	"github.com/authprofile/authprofile/internal/tokenendpoint"
	"github.com/authprofile/authprofile/internal/transport"
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

var (
	// errLeaseOver: another process has taken the lease over.
	errLeaseOver = errors.New("the lease was taken over by another process")

	// errStoreSlow: the time of a lease passes while it is written.
	errStoreSlow = errors.New("the store is too slow to hold a lease in it")
)

// A heldLease is a lease that this process holds.
type heldLease struct {
	store bounded
	grant *Grant // as last written, with the lease in it
	until atomic.Pointer[time.Time]
}

// takeLease puts g with a lease. The error is ErrConflict if g has changed
// since it was read, and ErrNotFound if the profile was deleted while this made
// a grant for it.
func takeLease(ctx context.Context, store bounded, g *Grant, owner, attempt string) (*heldLease, error) {
	l := &heldLease{store: store, grant: g.Clone()}
	l.grant.Lease = &Lease{Owner: owner, Attempt: attempt, Length: leaseLength}
	began := time.Now()
	if err := store.putGrant(ctx, l.grant); err != nil {
		return nil, err
	}
	l.extended(began)
	if g.Version == 0 {
		if err := store.deleteIfProfileGone(ctx, l.grant); err != nil {
			return nil, err
		}
	}
	if l.left() < leaseLength/2 {
		// The Store is slow. That no other process was quicker shows in that it
		// takes the lease a second time.
		began := time.Now()
		if err := store.putGrant(ctx, l.grant); err != nil {
			return nil, err
		}
		l.extended(began)
		if l.left() < leaseMargin {
			return nil, errStoreSlow
		}
	}
	return l, nil
}

// extended notes that the lease was written by a call that began at a time.
func (l *heldLease) extended(began time.Time) {
	until := began.Add(leaseLength)
	l.until.Store(&until)
}

// left is how much of the lease is left, by the clock that has gone further:
// the monotonic one stands still while some machines sleep, and the wall clock
// can be set back.
func (l *heldLease) left() time.Duration {
	until, now := *l.until.Load(), time.Now()
	return min(until.Sub(now), until.Round(0).Sub(now.Round(0)))
}

// extend writes the lease anew, as long as no other process has written since:
// even one that has run out is ours until another process takes it. The error
// is errLeaseOver if one has.
func (l *heldLease) extend(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, leaseLength)
	defer cancel()
	began := time.Now()
	g, err := l.store.swap(ctx, l.grant.Clone(), 2, func(cur *Grant) (put, keep *Grant, err error) {
		put, keep, err = judgeLease(l.grant, cur)
		if err == nil {
			l.grant = cur
			began = time.Now()
		}
		return put, keep, err
	})
	switch {
	case errors.Is(err, ErrConflict):
		return errStoreSlow
	case err != nil:
		return err
	}
	l.grant = g
	l.extended(began)
	return nil
}

// check looks once more whether the lease is held, and for long enough to send
// a request. Connecting has taken its time, and a machine that is short of it
// may have stood still: if another process took the lease over meanwhile, the
// refresh token may be spent already.
func (l *heldLease) check(ctx context.Context, key GrantKey, lease *Lease) error {
	cur, err := l.store.grant(ctx, key)
	switch {
	case errors.Is(err, ErrNotFound), err == nil && !cur.Lease.isSameAttempt(lease):
		return errLeaseOver
	case err != nil || l.left() < leaseMargin:
		return errStoreSlow
	}
	return nil
}

// A sending is a token request on its way. The renewal that has begun it waits
// for the answer for a while; if it leaves before the answer is there, the
// answer is stored all the same: what was sent cannot be unsent.
type sending struct {
	lease  *heldLease
	ctx    context.Context // of the request
	cancel context.CancelFunc

	waiting context.Context // of those who wait; ends with the answer

	done   chan struct{} // closed once there is an answer or an error
	answer *tokenendpoint.Answer
	err    error

	mu   sync.Mutex
	sent bool   // the form was handed over, or is about to be
	left *Grant // what the answer follows from, once the renewal no longer waits; nil: it does
	over bool   // done is closed, or about to be
}

// A doFunc makes a token request. It calls beforeSend when the connection
// stands, and sends nothing if that returns an error.
type doFunc func(ctx context.Context, beforeSend func() error) (*tokenendpoint.Answer, error)

// send begins a token request under a lease. An answer that the renewal no
// longer waits for is given to late, with the grant that it follows from.
func send(ctx context.Context, work *tasks, l *heldLease, do doFunc, late func(old *Grant, a *tokenendpoint.Answer, err error)) *sending {
	s := &sending{lease: l, done: make(chan struct{})}
	s.ctx, s.cancel = transport.WithTimeout(ctx, requestTimeout)
	waiting, answered := context.WithCancel(ctx)
	s.waiting = waiting

	key, lease := l.grant.GrantKey, l.grant.Lease
	beforeSend := func() error {
		if err := l.check(s.ctx, key, lease); err != nil {
			return err
		}
		return s.markSent()
	}
	work.run(func() {
		answer, err := (*tokenendpoint.Answer)(nil), foreign.ErrGoexit
		defer func() {
			if p := foreign.Recovered(recover()); p != nil {
				err = p
			}
			if err != nil && asTokenError(err) == nil {
				err = &tokenendpoint.Error{Class: s.unanswered(), Err: err}
			}
			s.answer, s.err = answer, err
			answered() // an extension under way must not keep the answer from being written
			s.mu.Lock()
			s.over = true
			old := s.left
			s.mu.Unlock()
			close(s.done)
			s.cancel()
			if old != nil {
				late(old, answer, err)
			}
		}()
		answer, err = do(s.ctx, beforeSend)
	})
	return s
}

// markSent notes that the form is about to be handed over, or returns why it
// must not be.
func (s *sending) markSent() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.ctx.Err(); err != nil {
		return err
	}
	if s.left != nil {
		return errLeaseOver
	}
	s.sent = true
	return nil
}

// isWithdrawn reports whether a request failed because it was not to be sent any
// more: its lease was lost, or could not be held.
func isWithdrawn(err error) bool {
	te := asTokenError(err)
	return te != nil && te.Class == tokenendpoint.Unsent &&
		(errors.Is(te, errLeaseOver) || errors.Is(te, errStoreSlow) || errors.Is(te, context.Canceled))
}

// unanswered is what a request is that ends without an answer.
func (s *sending) unanswered() tokenendpoint.Class {
	if s.isSent() {
		return tokenendpoint.Lost
	}
	return tokenendpoint.Unsent
}

func (s *sending) isSent() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sent
}

// isOutstanding reports whether the answer may come yet, and is not waited for.
func (s *sending) isOutstanding() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sent && s.left != nil
}

// leave ends the waiting for the answer, and keeps what was not sent from being
// sent. It returns false if the answer is there, and was waited for until then.
func (s *sending) leave() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.left == nil && !s.over {
		s.left = s.lease.grant
	}
	return s.left != nil
}

// await waits for the answer, and extends the lease while there is time left for
// the request. A lease that cannot be extended keeps the form from being sent,
// but not a sent one from being answered. The error is errLeaseOver if another
// process has taken the lease over, which may have a token already, and
// errStoreSlow if it has run out before the form was sent.
func (s *sending) await() (*tokenendpoint.Answer, error) {
	const often = leaseLength / 3
	l, next := s.lease, often
	for {
		wait := next
		if !s.isSent() {
			wait = min(next, max(0, l.left()))
		}
		timer := time.NewTimer(wait)
		select {
		case <-s.done:
			timer.Stop()
			return s.answer, s.err
		case <-s.ctx.Done():
			timer.Stop()
			return s.awaitEnd()
		case <-timer.C:
		}
		if l.left() <= 0 && s.cancelUnsent() {
			if _, err := s.awaitEnd(); errors.Is(err, errLeaseOver) {
				return nil, errLeaseOver
			}
			return nil, errStoreSlow // else it would have been extended
		}
		switch err := l.extend(s.waiting); {
		case err == nil:
			next = often
		case errors.Is(err, errLeaseOver):
			// What this request still gets is held against what the other
			// process stores.
			s.cancelUnsent()
			if s.leave() {
				return nil, errLeaseOver
			}
		default:
			next = often / 5
		}
	}
}

// cancelUnsent ends a request whose form was not handed over, and reports
// whether it has: one that was sent meanwhile goes on.
func (s *sending) cancelUnsent() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.sent {
		s.cancel()
	}
	return !s.sent
}

// awaitEnd gives the transport a moment to see that the time of its request is
// up. One that does not listen is left to itself.
func (s *sending) awaitEnd() (*tokenendpoint.Answer, error) {
	timer := time.NewTimer(foreign.Patience)
	defer timer.Stop()
	select {
	case <-s.done:
		return s.answer, s.err
	case <-timer.C:
	}
	if !s.leave() {
		<-s.done
		return s.answer, s.err
	}
	return nil, &tokenendpoint.Error{Class: s.unanswered(), Err: context.DeadlineExceeded}
}

// A leaseWatch is what this process knows of a grant's lease, from one renewal
// to the next until one succeeds.
type leaseWatch struct {
	attempt string
	version int64
	since   time.Time
	looks   int

	ownUnsent string // the attempt of a lease of ours under which nothing was sent
}

// look looks at the lease of g, and reports whether it has been there for its
// whole length by our own clock, without a sign of life from its holder.
func (w *leaseWatch) look(g *Grant) (expired bool) {
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
func (w *leaseWatch) delay() time.Duration {
	d := min(20*time.Millisecond<<min(w.looks, 10), 250*time.Millisecond)
	return d/2 + rand.N(d)
}
