package authprofile

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

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

// errLeaseOver: another process has taken the lease over.
var errLeaseOver = errors.New("the lease was taken over by another process")

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

// extendLease writes the lease anew, as long as no other process has written
// since: even one that has run out is ours until another process takes it.
func (n *renewal) extendLease(ctx context.Context, l *lease) error {
	ctx, cancel := context.WithTimeout(ctx, leaseLength)
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
		// Either another process has it, or an earlier extension took effect
		// although its answer was lost.
		cur, err := n.readGrant(ctx, g.GrantKey)
		if errors.Is(err, ErrNotFound) {
			return ErrConflict
		}
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

// A sending is a token request on its way. The renewal that has begun it waits
// for the answer for a while; if it leaves before the answer is there, the
// answer is stored all the same: what was sent cannot be unsent.
type sending struct {
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

// send begins a token request under the lease.
func (n *renewal) send(l *lease, form url.Values) *sending {
	s := &sending{done: make(chan struct{})}
	s.ctx, s.cancel = transport.WithTimeout(n.ctx, requestTimeout)
	waiting, answered := context.WithCancel(n.ctx)
	s.waiting = waiting

	req := tokenRequest(n.profile, n.target, form)
	attempt := l.grant.Lease.Attempt
	req.BeforeSend = func() error {
		// To connect has taken its time, and a machine that is short of it may
		// have stood still: if the lease was taken over meanwhile, the refresh
		// token may be spent already.
		cur, err := n.readGrant(s.ctx, n.ref.key)
		switch {
		case errors.Is(err, ErrNotFound), err == nil && (cur.Lease == nil || cur.Lease.Attempt != attempt):
			return errLeaseOver
		case err != nil || l.left() < leaseMargin:
			return errStoreSlow
		}
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
	late := *n // the renewal goes on, and may find others
	late.events = nil
	n.work.Go(func() {
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
				late.storeLate(old, answer, err)
			}
		}()
		answer, err = tokenendpoint.Do(s.ctx, n.http, req)
	})
	return s
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

// leave ends the waiting for an answer that follows from old, and keeps what
// was not sent from being sent. It returns false if the answer is there.
func (s *sending) leave(old *Grant) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return false
	}
	s.left = old
	return true
}

// ask sends the token request under the lease, and extends that while there is
// time left for the request. A lease that cannot be extended keeps the form
// from being sent, but not a sent one from being answered.
func (n *renewal) ask(l *lease, form url.Values) (*tokenendpoint.Answer, error) {
	s := n.send(l, form)
	defer func() {
		s.leave(l.grant) // if the Store has ended this goroutine
		if s.isSent() {
			n.slot.watch.unsent = ""
		}
	}()

	const often = leaseLength / 3
	next := often
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
			return n.awaitEnd(l, s)
		case <-timer.C:
		}
		if l.left() <= 0 && s.cancelUnsent() {
			return n.awaitEnd(l, s)
		}
		switch err := n.extendLease(s.waiting, l); {
		case err == nil:
			next = often
		case errors.Is(err, ErrConflict):
			// Another process has it, and may have a token already. What this
			// one still gets is held against that.
			s.cancelUnsent()
			if s.leave(l.grant) {
				n.noteOutstanding(s, l)
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
func (n *renewal) awaitEnd(l *lease, s *sending) (*tokenendpoint.Answer, error) {
	timer := time.NewTimer(foreign.Patience)
	defer timer.Stop()
	select {
	case <-s.done:
		return s.answer, s.err
	case <-timer.C:
	}
	if !s.leave(l.grant) {
		<-s.done
		return s.answer, s.err
	}
	n.noteOutstanding(s, l)
	return nil, &tokenendpoint.Error{Class: s.unanswered(), Err: context.DeadlineExceeded}
}

// noteOutstanding notes a refresh token whose answer may come yet.
func (n *renewal) noteOutstanding(s *sending, l *lease) {
	if s.isSent() {
		n.outstanding = l.grant.RefreshToken
	}
}

// storeLate stores an answer that came when the renewal no longer waited for
// it, if it is still of use. Who needs it finds it in the Store.
func (n *renewal) storeLate(old *Grant, a *tokenendpoint.Answer, err error) {
	defer n.publish()
	defer n.survive()
	l := &lease{grant: old}
	switch {
	case err == nil:
		n.answered(l, a)
	case a != nil && a.RefreshToken != "":
		n.refused(l, a, asTokenError(err))
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
