package authprofile

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/authprofile/authprofile/internal/foreign"
	"github.com/authprofile/authprofile/internal/tokenendpoint"
)

// The calls of the Store that a renewal makes, each with a limit.

func (e *engine) readGrant(ctx context.Context, key GrantKey) (*Grant, error) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	return e.store.Grant(ctx, key)
}

func (e *engine) putGrant(ctx context.Context, g *Grant) error {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	return e.store.PutGrant(ctx, g)
}

func (e *engine) deleteGrant(ctx context.Context, key GrantKey) error {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	return e.store.DeleteGrant(ctx, key)
}

func (e *engine) readProfile(ctx context.Context, id string) (*Profile, error) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	return e.store.Profile(ctx, id)
}

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

// write stores a new token. It returns the grant to go by: the changed one, or
// the one of another process that the grant has moved on to. If the Store does
// not take it in time, it returns the changed one all the same, and goes on
// trying behind the caller's back.
func (n *renewal) write(c *change) (*Grant, error) {
	ctx, cancel := context.WithTimeout(n.ctx, firstWrite)
	defer cancel()
	kept := false
	defer func() {
		if !kept { // the Store has ended this goroutine
			n.writeLater(c)
		}
	}()
	got, err := n.tryWrite(ctx, c)
	kept = err == nil || errors.Is(err, errGone)
	if err != nil && kept {
		discard := n.discard()
		n.background(func() { discard(c.g) })
	}
	if kept {
		return got, err
	}
	return c.g, nil // the deferred function sees to the rest
}

// tryWrite puts a change into the Store. Whether it still may is a question
// about tokens: that the version is another one says little.
func (e *engine) tryWrite(ctx context.Context, c *change) (*Grant, error) {
	put := c.g.Clone()
	for range writeRounds {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		err := e.putGrant(ctx, put)
		if err == nil {
			return put, nil
		}
		if !errors.Is(err, ErrConflict) {
			return nil, err
		}
		cur, err := e.readGrant(ctx, c.g.GrantKey)
		switch {
		case errors.Is(err, ErrNotFound) && put.User == "" && c.old.Version == 0:
			put = c.g.Clone() // it was never there
			put.Version = 0
		case errors.Is(err, ErrNotFound):
			return nil, errGone
		case err != nil:
			return nil, err
		case c.isIn(cur):
			return cur, nil // an earlier try has succeeded, and its answer was lost
		case c.supersededBy(cur):
			return cur, nil
		default:
			// A successor has taken the lease, or has noted a failure, or the
			// person has authorized more: ours is the answer to what comes next.
			put = cur.Clone()
			c.apply(put)
		}
	}
	return nil, ErrConflict
}

// writeRounds is how often in a row a conflict is looked into. Only a Store
// that misreports conflicts makes it so many.
const writeRounds = 10

// isIn reports whether cur, which is in the Store, has the change already.
func (c *change) isIn(cur *Grant) bool {
	return cur.AccessToken == c.g.AccessToken && cur.RefreshToken == c.g.RefreshToken && cur.Obtained.Equal(c.g.Obtained)
}

// supersededBy reports whether cur, which is in the Store, follows from
// something else than what c follows from, so that c must not be put into it.
func (c *change) supersededBy(cur *Grant) bool {
	later := cur.AccessToken != c.old.AccessToken && !cur.Obtained.Before(c.g.Obtained)
	switch {
	case c.g.AccessToken == "" && cur.RefreshToken == c.g.RefreshToken && cur.Obtained.Equal(c.g.Obtained):
		return false // it is what c was before the access token was withdrawn
	case c.g.User == "":
		return later
	case cur.RefreshToken != c.old.RefreshToken:
		return true
	case c.g.RefreshToken != c.old.RefreshToken:
		return false
	}
	return later // the provider does not rotate: the later access token is the better
}

// An unstored is a change that waits to be stored.
type unstored struct {
	done chan struct{} // closed once it is stored, or pointless

	// Under the engine's lock.

	c     *change
	ended bool // a person has ended or replaced the grant meanwhile
}

// writeLater goes on trying to store a change until it is stored, or
// pointless.
func (n *renewal) writeLater(c *change) {
	key := c.g.GrantKey
	n.mu.Lock()
	if u := n.pending[key]; u != nil {
		// An app profile was renewed again while its last token still waits, or
		// an answer came late.
		if !c.g.Obtained.Before(u.c.g.Obtained) {
			u.c = c
		}
		n.mu.Unlock()
		return
	}
	u := &unstored{done: make(chan struct{}), c: c}
	n.pending[key] = u
	n.mu.Unlock()
	n.report(func() {
		n.log.LogAttrs(n.ctx, slog.LevelError, "authprofile: renewed token not stored yet", slog.String("profile", key.ProfileID))
	})

	discard, ctx, e := n.discard(), n.ctx, n.engine
	n.background(func() {
		for attempt := 1; ; attempt++ {
			time.Sleep(min(backoff(attempt)/10, maxWriteDelay))
			e.mu.Lock()
			c, ended := u.c, u.ended
			e.mu.Unlock()
			var got *Grant
			err := errGone
			if c.old.Version != 0 || !ended { // else it would be made anew
				err = foreign.Call(func() (err error) {
					got, err = e.tryWrite(ctx, c)
					if err == nil && c.old.Version == 0 && e.stillWanted(ctx, got) != nil {
						err = errGone
					}
					return err
				})
			}
			if err != nil && !errors.Is(err, errGone) || !e.settle(u, c, got) {
				continue
			}
			if err != nil {
				e.replace(key, nil)
				discard(c.g)
			} else {
				e.log.LogAttrs(ctx, slog.LevelInfo, "authprofile: renewed token stored", slog.String("profile", key.ProfileID))
			}
			return
		}
	})
}

// settle ends the waiting of u if c is what was waiting to be stored. What is
// there instead, which is nil if the grant is gone, is put into memory unless a
// person has ended or replaced the grant meanwhile.
func (e *engine) settle(u *unstored, c *change, got *Grant) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if u.c != c {
		return false // it has got a successor
	}
	if got != nil && !u.ended && got.AccessToken != c.g.AccessToken && got.usable(e.now()) {
		e.cache.slot(c.g.GrantKey).set(e.hold(got))
	}
	delete(e.pending, c.g.GrantKey)
	close(u.done)
	return true
}

// waiting returns the grant that waits to be stored, or nil.
func (e *engine) waiting(key GrantKey) *Grant {
	e.mu.Lock()
	defer e.mu.Unlock()
	if u := e.pending[key]; u != nil && !u.ended {
		return u.c.g
	}
	return nil
}

// awaitWrite waits until the last token of this grant is stored: only then is
// there something to go by. An app profile does not depend on it.
func (n *renewal) awaitWrite(giveUp time.Time) error {
	n.mu.Lock()
	u := n.pending[n.ref.key]
	n.mu.Unlock()
	if u == nil || n.isApp() {
		return nil
	}
	t := time.NewTimer(min(storeTimeout, time.Until(giveUp)))
	defer t.Stop()
	select {
	case <-u.done:
		return nil
	case <-t.C:
		return errStoreAway
	case <-n.closing:
		return errShutdown
	}
}

// record stores a failure. It tries for a moment; then the lease that stays
// behind tells others that something went wrong. It returns what to go by, or
// errOvertaken if what has failed is not what is there any more.
func (n *renewal) record(c *change) (*Grant, error) {
	ctx, cancel := context.WithTimeout(n.ctx, firstWrite)
	defer cancel()
	old, put := c.old, c.g.Clone()
	for attempt := 1; ctx.Err() == nil; attempt++ {
		err := n.putGrant(ctx, put)
		if err == nil {
			if old.Version == 0 { // made just now, and not for a profile that was deleted meanwhile
				if err := n.stillWanted(n.ctx, put); err != nil {
					return nil, err
				}
			}
			return put, nil
		}
		if errors.Is(err, ErrConflict) {
			cur, err := n.readGrant(ctx, old.GrantKey)
			switch {
			case errors.Is(err, ErrNotFound):
				return nil, errOvertaken
			case err != nil:
			case cur.AccessToken != old.AccessToken || cur.RefreshToken != old.RefreshToken || !sameAttempt(cur.Lease, old.Lease):
				return nil, errOvertaken // another process, or a person, knows better
			default:
				put = cur.Clone()
				c.apply(put)
				continue
			}
		}
		select {
		case <-time.After(backoff(attempt) / 10):
		case <-ctx.Done():
		}
	}
	return c.g, nil
}

// withdraw lets a failure that takes the access token away wait to be stored in
// place of c, if that is what waits: the access token proved to be of no use.
func (n *renewal) withdraw(c, failed *change) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if u := n.pending[c.g.GrantKey]; u != nil && u.c == c {
		// It follows from the same grant as c, and brings what c does too.
		u.c = newChange(c.old, func(g *Grant) {
			c.apply(g)
			failed.apply(g)
		})
	}
}

func sameAttempt(a, b *Lease) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Attempt == b.Attempt
}

// discard returns a function that revokes what was renewed for a grant that was
// deleted meanwhile, as well as it can.
func (n *renewal) discard() func(*Grant) {
	p, t := n.profile, n.target // the renewal goes on, and may find others
	return func(g *Grant) {
		ctx, cancel := context.WithTimeout(n.ctx, requestTimeout)
		defer cancel()
		if t == nil { // it was not settled yet: what is written was renewed before
			var err error
			if p, err = n.readProfile(ctx, g.ProfileID); err != nil || p.ClientID != g.ClientID {
				return
			}
			if t, err = n.resolve(ctx, p); err != nil || !t.issued(g, p) {
				return
			}
		}
		revoke(ctx, n.http, p, t, g)
	}
}

// revoke asks the provider to end what it has issued (RFC 7009): the refresh
// token first, since its end usually ends all others.
func revoke(ctx context.Context, hc *http.Client, p *Profile, t *provider, g *Grant) error {
	if t.revocationURL == "" {
		return cmp.Or(t.revocationErr, errNoRevocation)
	}
	var errs []error
	refreshEnded := false
	for _, tok := range []struct{ kind, value string }{
		{"refresh_token", string(g.RefreshToken)},
		{"access_token", string(g.AccessToken)},
	} {
		if tok.value == "" {
			continue
		}
		req := tokenRequest(p, t, map[string][]string{"token": {tok.value}, "token_type_hint": {tok.kind}})
		req.URL = t.revocationURL
		err := tokenendpoint.Revoke(ctx, hc, req)
		if te := asTokenError(err); te != nil && te.Code == "unsupported_token_type" && refreshEnded {
			// Some revoke refresh tokens only: the access token has ended with
			// its refresh token, or ends soon. There is no more to be had.
			continue
		}
		if tok.kind == "refresh_token" {
			refreshEnded = err == nil
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

var errNoRevocation = errors.New("the provider has no revocation endpoint")
