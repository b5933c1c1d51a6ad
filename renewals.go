package authprofile

import (
	"context"
	"errors"
	"sync"
	"time"

	"golang.org/x/oauth2"

	"github.com/authprofile/authprofile/internal/foreign"
	"github.com/authprofile/authprofile/internal/tokencache"
)

// A renewals is the renewals in progress in this process.
//
// Its lock is taken before the writer's, and both before those of the cache.
type renewals struct {
	*renewing
	cache *tokencache.Cache

	mu      sync.Mutex
	flights map[GrantKey]*flight
}

// A flight is a renewal in progress. All who need the token wait for the same
// one.
type flight struct {
	done     chan struct{}
	needed   bool              // it was begun for a caller that had no valid token
	rejected string            // the access token that it was begun for to replace
	atOnce   bool              // it had its result when it was begun: there was nothing to wait for
	token    *tokencache.Token // the result: this,
	err      error             // or that

	// The rest is under the lock of renewals.

	urgent     chan struct{} // closed as soon as a caller waits that has no valid token
	isUrgent   bool
	superseded bool // a person has ended or replaced the grant meanwhile
}

// A want says which token a caller needs.
type want struct {
	ref *grantRef
	not string // an access token that an API refuses; empty: none
	now bool   // the caller has no valid token, and waits

	// For Maintain.

	idle  bool   // renew it, unless it has another access token
	have  string // than this one
	ended bool   // and even if the provider has ended it: ask once more
}

// newRef returns the grant of that key, which is one of p.
func newRef(key GrantKey, p *Profile) *grantRef {
	r := &grantRef{key: key, unsaved: p.Version == 0}
	if p.Type == TypeApp {
		r.profile.Store(p.Clone())
	}
	return r
}

// token returns a valid token of an entry: from memory if it is there, and
// otherwise from a flight, for which it waits no longer than ctx lasts.
func (rs *renewals) token(ctx context.Context, e *tokencache.Entry, ref *grantRef, rejected string) (*oauth2.Token, error) {
	var since time.Time
	tok, err := rs.await(ctx, e, ref, rejected, &since)
	if !since.IsZero() && rs.events.trace.TokenWait != nil && rs.tasks.begin() {
		took := time.Since(since)
		go func() { // the caller has waited enough
			defer rs.tasks.end()
			rs.events.waited(ctx, ref.key.ProfileID, took, err)
		}()
	}
	return tok, err
}

// await is token that notes since when it has waited, if it has.
func (rs *renewals) await(ctx context.Context, e *tokencache.Entry, ref *grantRef, rejected string, since *time.Time) (*oauth2.Token, error) {
	last := errors.New("no other token could be obtained")
	for range 4 {
		now := rs.lifetimes.now().UnixNano()
		seen := e.Current()
		if t := e.Valid(now, rejected); t != nil {
			if e.IsDue(t, now) {
				rs.start(ctx, e, t, want{ref: ref})
			}
			rs.cache.MakeHot(e, t, now)
			return &t.Token, nil
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if rejected != "" && recall(e).refusals.isKnown(rejected, rs.lifetimes.now()) {
			return nil, errRefusedAgain
		}
		f, mine := rs.start(ctx, e, seen, want{ref: ref, not: rejected, now: true})
		if !f.atOnce && since.IsZero() {
			*since = time.Now()
		}
		select {
		case <-f.done:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		switch {
		case f.err == nil && (rejected == "" || f.token.AccessToken != rejected):
			return &f.token.Token, nil
		case f.err != nil && (mine || f.needed && (f.rejected == "" || f.rejected == rejected)):
			return nil, f.err
		case f.err == nil && f.rejected == rejected:
			return nil, errRefusedAgain // the provider has given the same one again
		}
		// The flight that we joined has answered another question: it was begun
		// for a caller that could wait, or for another rejected token. Start our
		// own.
		if f.err != nil {
			last = f.err
		}
	}
	return nil, last
}

// start begins a flight for the grant of an entry, unless there is one, or has
// been one since the entry had what the caller has seen.
func (rs *renewals) start(ctx context.Context, e *tokencache.Entry, seen *tokencache.Token, w want) (f *flight, mine bool) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	key := w.ref.key
	if f := rs.flights[key]; f != nil {
		if w.now {
			f.makeUrgent()
		}
		return f, false
	}
	f = &flight{done: make(chan struct{}), needed: w.now, rejected: w.not, urgent: make(chan struct{})}
	if w.now {
		f.makeUrgent()
	}
	if e.Current() != seen {
		if f.token = e.Valid(rs.lifetimes.now().UnixNano(), w.not); f.token != nil {
			f.atOnce = true
			close(f.done)
			return f, true
		}
	}
	if !rs.tasks.begin() {
		f.err, f.atOnce = errShutdown, true
		close(f.done)
		return f, true
	}
	rs.flights[key] = f
	e.SetRenewing(true)
	n := &renewal{
		renewing: rs.renewing, ctx: context.WithoutCancel(ctx),
		ref: w.ref, grant: key.grantType(), entry: e, watch: watchOf(e),
		needed: w.now, urgent: f.urgent, rejected: w.not,
	}
	if t := e.Current(); t != nil {
		n.have, n.ended = t.AccessToken, rs.lifetimes.now().UnixNano() >= t.End
	}
	if w.idle {
		n.have, n.ended, n.probe = w.have, true, w.ended
	}
	go func() {
		defer rs.tasks.end()
		rs.fly(n, f)
	}()
	return f, true
}

func (f *flight) makeUrgent() {
	if !f.isUrgent {
		f.isUrgent = true
		close(f.urgent)
	}
}

// fly runs a renewal, and gives its result to those who wait, however it ends:
// it calls code that is not ours.
func (rs *renewals) fly(n *renewal, f *flight) {
	g, err := (*Grant)(nil), foreign.ErrGoexit
	defer func() {
		if p := foreign.Recovered(recover()); p != nil {
			err = p
			n.report(func() { n.events.panicked(p) })
		}
		rs.finish(n, f, g, err)
		n.publish(n.tasks)
	}()
	g, err = n.run()
}

// finish puts the result of a renewal where those who wait find it.
func (rs *renewals) finish(n *renewal, f *flight, g *Grant, err error) {
	if err == nil {
		f.token = rs.lifetimes.token(g)
		if n.rejected != "" && f.token.AccessToken == n.rejected {
			note(n.entry, func(m *memo) { m.refusals.noteSame(n.rejected, rs.lifetimes.now()) })
		}
	} else {
		f.err = err
	}

	rs.mu.Lock()
	defer rs.mu.Unlock()
	e := n.entry
	switch {
	case err == nil && !f.superseded:
		if !n.ref.unsaved && e.IsEvicted() {
			e = rs.cache.Entry(tokencache.Key(n.ref.key))
		}
		serve(e, f.token)
		note(n.entry, func(m *memo) { m.watch = nil })
		if g.Failure != nil {
			e.SetNextTry(unixNano(g.Failure.Next))
		}
	case err != nil:
		if t := e.Current(); t != nil && t.End == tokencache.Never && isDeleted(err) {
			serve(e, nil) // else it would be served for ever
		}
		e.SetNextTry(unixNano(nextTry(e.Current(), err, stamp(rs.lifetimes.now()))))
	}
	e.SetRenewing(false)
	n.entry.SetRenewing(false)
	delete(rs.flights, n.ref.key)
	close(f.done)
}

// isDeleted reports whether a renewal has found that its grant, or the profile,
// is no longer in the Store.
func isDeleted(err error) bool { return errors.Is(err, ErrNotFound) || errors.Is(err, errNoGrant) }

// nextTry is when to renew a token ahead of time after an attempt has failed.
func nextTry(t *tokencache.Token, err error, now time.Time) time.Time {
	failed, ok := errors.AsType[*grantError](err)
	switch {
	case ok && !failed.Next.IsZero():
		return failed.Next
	case !ok && (t == nil || t.End != tokencache.Never):
		return now.Add(backoff(1)) // before the token ends
	}
	return now.Add(time.Minute) // to see whether a person has helped
}

// supersede puts what a person has brought about into memory, nil for the end
// of a grant. A renewal in progress, which does not know of it, does not undo
// it.
func (rs *renewals) supersede(key GrantKey, t *tokencache.Token) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	if f := rs.flights[key]; f != nil {
		f.superseded = true
	}
	rs.writer.supersede(func(k GrantKey) bool { return k == key })
	e := rs.cache.Peek(tokencache.Key(key))
	if t != nil {
		e = rs.cache.Entry(tokencache.Key(key))
	}
	if e == nil {
		return
	}
	note(e, func(m *memo) { m.written = nil }) // what was written before is not to be restored
	serve(e, t)
}

// supersedeProfile ends all grants of a profile in memory.
func (rs *renewals) supersedeProfile(id string) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	for key, f := range rs.flights {
		if key.ProfileID == id {
			f.superseded = true
		}
	}
	rs.writer.supersede(func(k GrantKey) bool { return k.ProfileID == id })
	for _, e := range rs.cache.OfProfile(id) {
		serve(e, nil)
	}
}
