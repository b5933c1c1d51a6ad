package authprofile

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

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

func (e *engine) readProfile(ctx context.Context, id string) (*Profile, error) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	return e.store.Profile(ctx, id)
}

// write stores a new token. It returns the grant to go by: g itself, or the
// one of another process that the grant has moved on to. If the Store does not
// take it in time, it returns g all the same, and goes on trying behind the
// caller's back.
func (n *renewal) write(g, old *Grant) (*Grant, error) {
	ctx, cancel := context.WithTimeout(n.ctx, firstWrite)
	defer cancel()
	got, err := n.tryWrite(ctx, g, old)
	if err == nil || errors.Is(err, errGone) {
		if err != nil {
			discard := n.discard()
			n.work.Go(func() { discard(g) })
		}
		return got, err
	}
	n.writeLater(g, old)
	return g, nil
}

// tryWrite puts g, which replaces old. Whether it still may is a question
// about tokens: that the version is another one says little.
func (e *engine) tryWrite(ctx context.Context, g, old *Grant) (*Grant, error) {
	for range writeRounds {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		put := g.Clone()
		err := e.putGrant(ctx, put)
		if err == nil {
			return put, nil
		}
		if !errors.Is(err, ErrConflict) {
			return nil, err
		}
		cur, err := e.readGrant(ctx, g.GrantKey)
		switch {
		case errors.Is(err, ErrNotFound) && g.User == "" && old.Version == 0:
			g.Version = 0 // it was never there
		case errors.Is(err, ErrNotFound):
			return nil, errGone
		case err != nil:
			return nil, err
		case cur.AccessToken == g.AccessToken && cur.RefreshToken == g.RefreshToken:
			return cur, nil // an earlier try has succeeded, and its answer was lost
		case g.AccessToken == "" && cur.RefreshToken == g.RefreshToken && cur.Obtained.Equal(g.Obtained):
			g.Version = cur.Version // an earlier try has succeeded, before the access token was withdrawn
		case movedOn(cur, g, old):
			return cur, nil
		default:
			// A successor has taken the lease, or has noted a failure: ours is
			// the answer to what it is about to ask.
			g.Version = cur.Version
		}
	}
	return nil, ErrConflict
}

// writeRounds is how often in a row a conflict is looked into. Nobody writes a
// grant that often but a store that does not tell the truth.
const writeRounds = 10

// movedOn reports whether cur, which is in the Store, follows from something
// else than old, so that g, which follows from old, must not replace it.
func movedOn(cur, g, old *Grant) bool {
	switch {
	case g.User == "":
		return cur.AccessToken != old.AccessToken && !cur.Obtained.Before(g.Obtained)
	case cur.RefreshToken != old.RefreshToken:
		return true
	case g.RefreshToken == old.RefreshToken:
		// The provider does not rotate: the later access token is the better.
		return cur.AccessToken != old.AccessToken && !cur.Obtained.Before(g.Obtained)
	}
	return false
}

// An unstored is a renewed grant that waits to be stored.
type unstored struct {
	done chan struct{} // closed once it is stored, or pointless

	// Under the engine's lock.

	g     *Grant
	ended bool // a person has ended or replaced the grant meanwhile
}

// writeLater goes on trying to store g until it is stored, or pointless.
func (n *renewal) writeLater(g, old *Grant) {
	g = g.Clone() // callers are served from the other one meanwhile
	n.mu.Lock()
	if u := n.pending[g.GrantKey]; u != nil {
		// An app profile was renewed again while its last token still waits.
		u.g = g
		n.mu.Unlock()
		return
	}
	u := &unstored{done: make(chan struct{}), g: g}
	n.pending[g.GrantKey] = u
	n.mu.Unlock()
	n.log.LogAttrs(n.ctx, slog.LevelError, "authprofile: renewed token not stored yet", slog.String("profile", g.ProfileID))

	discard := n.discard()
	n.work.Go(func() {
		for attempt := 1; ; attempt++ {
			time.Sleep(min(backoff(attempt)/10, maxWriteDelay))
			n.mu.Lock()
			g, ended := u.g, u.ended
			n.mu.Unlock()
			var got *Grant
			err := errGone
			if old.Version != 0 || !ended { // else it would be made anew
				got, err = n.tryWrite(n.ctx, g.Clone(), old)
			}
			if err == nil && old.Version == 0 && n.stillWanted(n.ctx, got) != nil {
				err = errGone
			}
			if err != nil && !errors.Is(err, errGone) || !n.settle(u, g) {
				continue
			}
			switch {
			case err != nil:
				n.replace(g.GrantKey, nil)
				discard(g)
			case got.AccessToken != g.AccessToken && got.usable(n.now()):
				n.cache.slot(g.GrantKey).set(n.hold(got))
				fallthrough
			default:
				n.log.LogAttrs(n.ctx, slog.LevelInfo, "authprofile: renewed token stored", slog.String("profile", g.ProfileID))
			}
			return
		}
	})
}

// settle ends the waiting of u if g is what was waiting to be stored.
func (e *engine) settle(u *unstored, g *Grant) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if u.g != g {
		return false // it has got a successor
	}
	delete(e.pending, g.GrantKey)
	close(u.done)
	return true
}

// waiting returns the grant that waits to be stored, or nil.
func (e *engine) waiting(key GrantKey) *Grant {
	e.mu.Lock()
	defer e.mu.Unlock()
	if u := e.pending[key]; u != nil && !u.ended {
		return u.g
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

// record stores a failure that old has suffered. It tries for a moment; then
// the lease that stays behind tells others that something went wrong. It
// returns false if old is not what is there any more.
func (n *renewal) record(failed, old *Grant) bool {
	ctx, cancel := context.WithTimeout(n.ctx, firstWrite)
	defer cancel()
	for attempt := 1; ctx.Err() == nil; attempt++ {
		put := failed.Clone()
		err := n.putGrant(ctx, put)
		if err == nil {
			return true
		}
		if errors.Is(err, ErrConflict) {
			cur, err := n.readGrant(ctx, old.GrantKey)
			switch {
			case errors.Is(err, ErrNotFound):
				return false
			case err != nil:
			case cur.AccessToken != old.AccessToken || cur.RefreshToken != old.RefreshToken || !sameAttempt(cur.Lease, old.Lease):
				return false // somebody knows better
			default:
				failed.Version = cur.Version
				continue
			}
		}
		select {
		case <-time.After(backoff(attempt) / 10):
		case <-ctx.Done():
		}
	}
	return true
}

// withdraw lets failed, which is without the access token, wait to be stored in
// place of g, if that is what waits: the access token proved to be of no use.
func (n *renewal) withdraw(g, failed *Grant) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if u := n.pending[g.GrantKey]; u != nil && u.g.AccessToken == g.AccessToken {
		u.g = failed.Clone()
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
		revoke(ctx, n.http, p, t, g)
	}
}

// revoke asks the provider to end what it has issued (RFC 7009): the refresh
// token first, since its end usually ends all others.
func revoke(ctx context.Context, hc *http.Client, p *Profile, t *target, g *Grant) error {
	if t.revocationURL == "" {
		return errNoRevocation
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
