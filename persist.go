package authprofile

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/authprofile/authprofile/internal/foreign"
	"github.com/authprofile/authprofile/internal/tokencache"
)

const (
	storeTimeout  = 5 * time.Second // of one call of the Store in the background
	firstWrite    = 2 * time.Second // that callers wait for a token to be stored
	maxWriteDelay = time.Second     // between tries to store it: well below leaseLength

	// writeRounds is how often in a row a conflict is looked into. Only a Store
	// that misreports conflicts makes it so many.
	writeRounds = 10
)

// A bounded is a Store for work in the background: each call has a limit. What
// is done for a caller uses the Store itself, and ends with the caller's
// context.
type bounded struct {
	store  Store
	events events
	tasks  *tasks
}

func (b bounded) grant(ctx context.Context, key GrantKey) (*Grant, error) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	return b.store.Grant(ctx, key)
}

func (b bounded) putGrant(ctx context.Context, g *Grant) error {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	err := b.store.PutGrant(ctx, g)
	if b.events.trace.StoreConflict != nil && errors.Is(err, ErrConflict) {
		id := g.ProfileID
		// Beside what follows, which may be the storing of an answer.
		b.tasks.run(func() { b.events.trace.StoreConflict(ctx, id) })
	}
	return err
}

func (b bounded) deleteGrant(ctx context.Context, key GrantKey) error {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	return b.store.DeleteGrant(ctx, key)
}

func (b bounded) listGrants(ctx context.Context, f GrantFilter, after GrantKey, limit int) ([]*Grant, error) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	return b.store.ListGrants(ctx, f, after, limit)
}

func (b bounded) dueGrants(ctx context.Context, before time.Time, limit int) ([]*Grant, error) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	return b.store.DueGrants(ctx, before, limit)
}

func (b bounded) countGrants(ctx context.Context, profileID string) (map[Status]int64, error) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	return b.store.CountGrants(ctx, profileID)
}

func (b bounded) profile(ctx context.Context, id string) (*Profile, error) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	return b.store.Profile(ctx, id)
}

// deleteIfProfileGone removes a grant again whose profile was deleted while it
// was being made, and returns ErrNotFound.
func (b bounded) deleteIfProfileGone(ctx context.Context, g *Grant) error {
	if _, err := b.profile(ctx, g.ProfileID); !errors.Is(err, ErrNotFound) {
		return nil
	}
	return errors.Join(ErrNotFound, b.deleteGrant(ctx, g.GrantKey))
}

// swap puts g by compare-and-swap, and returns what is there then. At a
// conflict, judge decides by what is there, which is nil if there is no grant:
// what to put in its place, or what to leave there and go by, or an error.
// Another error than that of judge says nothing about whether a put took effect.
func (b bounded) swap(ctx context.Context, g *Grant, rounds int, judge func(cur *Grant) (put, keep *Grant, err error)) (*Grant, error) {
	for range rounds {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		err := b.putGrant(ctx, g)
		if err == nil {
			return g, nil
		}
		if !errors.Is(err, ErrConflict) {
			return nil, err
		}
		cur, err := b.grant(ctx, g.GrantKey)
		if errors.Is(err, ErrNotFound) {
			cur = nil
		} else if err != nil {
			return nil, err
		}
		put, keep, err := judge(cur)
		if err != nil || keep != nil {
			return keep, err
		}
		g = put
	}
	return nil, ErrConflict
}

var (
	// errChanged: what was found out about a grant no longer matters, since
	// another process, or a person, has changed the grant meanwhile.
	errChanged = errors.New("the grant has changed meanwhile")

	errDeleted = errors.New("the grant was deleted")

	errStoreAway = errors.New("a renewed token waits to be stored, and the store does not answer")
)

// A change is what a renewal has brought: something to be put into the grant
// that it was made from, or into what another process, or a person, has made of
// that grant meanwhile.
type change struct {
	old   *Grant         // what it follows from
	g     *Grant         // old with the change
	apply func(g *Grant) // puts it into a later version of old
}

func newChange(old *Grant, apply func(g *Grant)) *change {
	g := old.Clone()
	apply(g)
	return &change{old: old, g: g, apply: apply}
}

// applied returns cur with the change.
func (c *change) applied(cur *Grant) *Grant {
	g := cur.Clone()
	c.apply(g)
	return g
}

// What follows are the judgements of a conflict, as swap asks for them.

// judgeToken is that of a token. Whether it may still be stored is a question
// about tokens: that the version is another one says little.
func (c *change) judgeToken(cur *Grant) (put, keep *Grant, err error) {
	switch {
	case cur == nil && c.old.Version == 0 && !c.g.grantType().person:
		put = c.g.Clone() // it was never there
		put.Version = 0
		return put, nil, nil
	case cur == nil:
		return nil, nil, errDeleted
	case c.isIn(cur), c.supersededBy(cur):
		return nil, cur, nil
	}
	// A successor has taken the lease, or has noted a failure, or the person
	// has authorized more: ours is the answer to what comes next.
	return c.applied(cur), nil, nil
}

// isIn reports whether cur has the change already: an earlier try has
// succeeded, and its answer was lost.
func (c *change) isIn(cur *Grant) bool {
	return cur.AccessToken == c.g.AccessToken && cur.RefreshToken == c.g.RefreshToken && cur.Obtained.Equal(c.g.Obtained)
}

// supersededBy reports whether cur follows from something else than what c
// follows from, so that c must not be put into it.
func (c *change) supersededBy(cur *Grant) bool {
	later := cur.AccessToken != c.old.AccessToken && !cur.Obtained.Before(c.g.Obtained)
	switch {
	case c.g.AccessToken == "" && cur.RefreshToken == c.g.RefreshToken && cur.Obtained.Equal(c.g.Obtained):
		return false // it is what c was before the access token was dropped
	case !c.g.grantType().spends:
		return later
	case cur.RefreshToken != c.old.RefreshToken:
		return true
	case c.g.RefreshToken != c.old.RefreshToken:
		return false
	}
	return later // the provider does not rotate: the later access token is the better
}

// judgeFailure is that of a failure, which says nothing about other tokens than
// those that it was found with.
func (c *change) judgeFailure(cur *Grant) (put, keep *Grant, err error) {
	if cur == nil || cur.AccessToken != c.old.AccessToken || cur.RefreshToken != c.old.RefreshToken || !cur.Lease.isSameAttempt(c.old.Lease) {
		return nil, nil, errChanged
	}
	return c.applied(cur), nil, nil
}

func (l *Lease) isSameAttempt(other *Lease) bool {
	if l == nil || other == nil {
		return l == other
	}
	return l.Attempt == other.Attempt
}

// judgeLease is that of a lease that is extended: either another process has
// taken it over, or an earlier extension took effect although its answer was
// lost.
func judgeLease(held, cur *Grant) (put, keep *Grant, err error) {
	if cur == nil || !cur.Lease.isSameAttempt(held.Lease) {
		return nil, nil, errLeaseOver
	}
	return cur.Clone(), nil, nil
}

// judgeAuthorization is that of the grant of a new authorization. A person
// decides what is there, unless it is another one's.
func judgeAuthorization(pr *provider, g, cur *Grant, now time.Time) (put, keep *Grant, err error) {
	put = g.Clone()
	if cur == nil {
		put.Version = 0
		put.schedule(new(Grant), pr.upkeep.nextLook(put), now)
		return put, nil, nil
	}
	switch {
	case cur.Nonce == g.Nonce:
		// An earlier try has succeeded, and its answer was lost. Others may
		// have renewed it since.
		return nil, cur, nil
	case pr.isAnotherAccount(cur, g):
		return nil, nil, fmt.Errorf("%w: another account at the provider than before", ErrUserMismatch)
	}
	put.Version = cur.Version
	if g.RefreshToken == "" && cur.Status != StatusNeedsReauthorization && cur.Subject != "" &&
		cur.Subject == g.Subject && pr.issuer.Same(cur.Issuer, g.Issuer) && cur.ClientID == g.ClientID {
		// Some providers give a refresh token only the first time. The one that
		// is there is the same person's, and is still good.
		put.RefreshToken, put.RefreshExpiry = cur.RefreshToken, cur.RefreshExpiry
		put.noteEnd(pr)
	}
	put.Told, put.ToldAt, put.Warned, put.Due = cur.Told, cur.ToldAt, cur.Warned, cur.Due
	put.schedule(cur, pr.upkeep.nextLook(put), now)
	return put, nil, nil
}

// A writer stores what renewals and authorizations bring, until it is stored
// or pointless.
type writer struct {
	store     bounded
	cache     *tokencache.Cache
	lifetimes *lifetimes
	events    events
	tasks     *tasks

	// onDeleted is told of a grant that was deleted while its token waited to
	// be stored.
	onDeleted func(key GrantKey)

	mu      sync.Mutex
	pending map[GrantKey]*pendingWrite
}

// A pendingWrite is a change that waits to be stored.
type pendingWrite struct {
	done chan struct{} // closed once it is stored, or pointless

	// Under the writer's lock.

	c     *change
	ended bool // a person has ended or replaced the grant meanwhile
}

// A write says what belongs to the storing of a token besides the token.
type write struct {
	report func(event func()) // keeps an event until those who wait have their result
	revoke func(g *Grant)     // revokes a token whose grant was deleted meanwhile
}

// storeToken stores a new token. It returns the grant to go by: the changed
// one, or the one of another process that the grant has moved on to. If the
// Store does not take it in time, it returns the changed one all the same, and
// goes on trying in the background.
func (w *writer) storeToken(ctx context.Context, c *change, also write) (*Grant, error) {
	first, cancel := context.WithTimeout(ctx, firstWrite)
	defer cancel()
	settled := false
	defer func() {
		if !settled { // or the Store has ended this goroutine
			w.keepStoring(ctx, c, also)
		}
	}()
	got, err := w.store.swap(first, c.g.Clone(), writeRounds, c.judgeToken)
	settled = err == nil || errors.Is(err, errDeleted)
	switch {
	case !settled:
		return c.g, nil
	case err != nil:
		w.tasks.run(func() { also.revoke(c.g) })
	}
	return got, err
}

// keepStoring goes on trying to store a change until it is stored, or
// pointless.
func (w *writer) keepStoring(ctx context.Context, c *change, also write) {
	key := c.g.GrantKey
	w.mu.Lock()
	if u := w.pending[key]; u != nil {
		// An app profile was renewed again while its last token still waits, or
		// an answer came late.
		if !c.g.Obtained.Before(u.c.g.Obtained) {
			u.c = c
		}
		w.mu.Unlock()
		return
	}
	u := &pendingWrite{done: make(chan struct{}), c: c}
	w.pending[key] = u
	w.mu.Unlock()
	also.report(func() { w.events.notStoredYet(ctx, key.ProfileID) })

	w.tasks.run(func() {
		for attempt := 1; ; attempt++ {
			time.Sleep(min(backoff(attempt)/10, maxWriteDelay))
			if w.tryAgain(ctx, u, also) {
				return
			}
		}
	})
}

// tryAgain tries once more to store what waits, and reports whether that has
// come to an end.
func (w *writer) tryAgain(ctx context.Context, u *pendingWrite, also write) bool {
	w.mu.Lock()
	c, ended := u.c, u.ended
	w.mu.Unlock()
	var got *Grant
	err := errDeleted
	if c.old.Version != 0 || !ended { // else it would be made anew
		err = foreign.Call(func() (err error) {
			got, err = w.store.swap(ctx, c.g.Clone(), writeRounds, c.judgeToken)
			if err == nil && c.old.Version == 0 && w.store.deleteIfProfileGone(ctx, got) != nil {
				err = errDeleted
			}
			return err
		})
	}
	deleted := errors.Is(err, errDeleted)
	if err != nil && !deleted || !w.finishPending(u, c, got) {
		return false
	}
	if deleted {
		w.onDeleted(c.g.GrantKey)
		also.revoke(c.g)
		return true
	}
	w.events.stored(ctx, c.g.ProfileID)
	return true
}

// finishPending ends the waiting of u if c is what was waiting to be stored.
// What is there instead, which is nil if the grant is gone, is put into memory
// unless a person has ended or replaced the grant meanwhile.
func (w *writer) finishPending(u *pendingWrite, c *change, got *Grant) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if u.c != c {
		return false // it has got a successor
	}
	if got != nil && !u.ended && got.AccessToken != c.g.AccessToken && got.isUsable(w.lifetimes.now()) {
		serve(w.cache.Entry(tokencache.Key(c.g.GrantKey)), w.lifetimes.token(got))
	}
	delete(w.pending, c.g.GrantKey)
	close(u.done)
	return true
}

// pendingGrant returns the grant that waits to be stored, or nil.
func (w *writer) pendingGrant(key GrantKey) *Grant {
	w.mu.Lock()
	defer w.mu.Unlock()
	if u := w.pending[key]; u != nil && !u.ended {
		return u.c.g
	}
	return nil
}

// waitForPending waits until the last token of a grant is stored: only then
// does the Store have what the next renewal follows from. It returns errStoreAway
// if that takes too long, or errShutdown.
func (w *writer) waitForPending(key GrantKey, limit time.Duration) error {
	w.mu.Lock()
	u := w.pending[key]
	w.mu.Unlock()
	if u == nil {
		return nil
	}
	t := time.NewTimer(min(storeTimeout, limit))
	defer t.Stop()
	select {
	case <-u.done:
		return nil
	case <-t.C:
		return errStoreAway
	case <-w.tasks.closing:
		return errShutdown
	}
}

// supersede notes that a person has ended or replaced a grant.
func (w *writer) supersede(match func(key GrantKey) bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for key, u := range w.pending {
		if match(key) {
			u.ended = true
		}
	}
}

// storeFailure stores a failure. It tries for a moment; after that the lease
// that stays behind tells other processes that something went wrong. It returns
// what to go by, or errChanged if that is not what has failed.
func (w *writer) storeFailure(ctx context.Context, c *change) (*Grant, error) {
	first, cancel := context.WithTimeout(ctx, firstWrite)
	defer cancel()
	for attempt := 1; first.Err() == nil; attempt++ {
		got, err := w.store.swap(first, c.g.Clone(), writeRounds, c.judgeFailure)
		if err == nil && c.old.Version == 0 { // made just now, and not for a profile that was deleted meanwhile
			err := w.store.deleteIfProfileGone(ctx, got)
			return got, err
		}
		if err == nil || errors.Is(err, errChanged) {
			return got, err
		}
		select {
		case <-time.After(backoff(attempt) / 10):
		case <-first.Done():
		}
	}
	return c.g, nil
}

// dropAccessToken lets a failure that takes the access token away wait to be
// stored in place of c, if c is what waits: the access token proved to be of no
// use.
func (w *writer) dropAccessToken(c, failed *change) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if u := w.pending[c.g.GrantKey]; u != nil && u.c == c {
		// It follows from the same grant as c, and brings what c does too.
		u.c = newChange(c.old, func(g *Grant) {
			c.apply(g)
			failed.apply(g)
		})
	}
}

const (
	// unreadablePatience is for how long a grant must have been unreadable
	// before it is replaced: a Keeper may fail to open for a moment, and still
	// seal.
	unreadablePatience = 5 * time.Second

	// grantPatience is how long the Store may be away before the grant of a new
	// authorization is given up: the person can make another.
	grantPatience = 2 * time.Minute
)

// storeAuthorized stores the grant of a new authorization in place of what is
// there, with patience: the code is spent, and the person has done their part.
// It returns what is stored, and what was there before: an empty grant if there
// was none, or one that cannot be read, for the reason given by damaged. With an
// error, stored is not nil if it was put, and removed again.
func (w *writer) storeAuthorized(ctx context.Context, pr *provider, g *Grant) (stored, before *Grant, damaged, err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), grantPatience)
	defer cancel()
	before = new(Grant)
	var since time.Time // it has been unreadable; zero: it was readable
	for attempt := 1; ; attempt++ {
		put, keep := g, (*Grant)(nil)
		old, err := w.store.grant(ctx, g.GrantKey)
		unreadable, isUnreadable := errors.AsType[*Error](err)
		switch {
		case isUnreadable:
			if since.IsZero() {
				since = time.Now()
			}
			before, err = new(Grant), nil
			if damaged != nil {
				err = w.store.deleteGrant(ctx, g.GrantKey)
			}
		case err == nil || errors.Is(err, ErrNotFound):
			since = time.Time{}
			if err != nil {
				old = nil
			}
			if put, keep, err = judgeAuthorization(pr, g, old, w.lifetimes.now()); err != nil {
				return nil, nil, nil, err
			}
			if keep != nil {
				return keep, before, damaged, nil
			}
			if before = old; old == nil {
				before = new(Grant)
			}
		default:
			since = time.Time{}
		}
		if err == nil {
			put = put.Clone()
			err = w.store.putGrant(ctx, put)
			if err == nil {
				return put, before, damaged, w.store.deleteIfProfileGone(ctx, put)
			}
			if isUnreadable && errors.Is(err, ErrConflict) && time.Since(since) >= unreadablePatience {
				// It is there, and the Store can write it, as one whose Keeper
				// is away could not: what cannot be read is of no use any more.
				damaged = unreadable
			}
		}
		if errors.Is(err, ErrConflict) && attempt <= writeRounds && !isUnreadable {
			continue // at once: another process was quicker
		}
		select {
		case <-time.After(min(backoff(attempt)/10, maxWriteDelay)):
		case <-ctx.Done():
			return nil, nil, nil, fmt.Errorf("the grant could not be stored: %w", err)
		}
	}
}
