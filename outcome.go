package authprofile

import (
	"context"
	"errors"
	"io"
	"net"
	"time"

	"github.com/authprofile/authprofile/internal/tokenendpoint"
)

// What an answer of the provider, or the lack of one, makes of a grant.

// storeAnswer stores what the provider has answered to a request that follows
// from old, as the very next step, and only then looks at it more closely.
func (n *renewal) storeAnswer(old *Grant, a *tokenendpoint.Answer) (*Grant, verdict, error) {
	p, pr := n.profile, n.provider
	c := newChange(old, func(g *Grant) {
		before := *g
		g.Lease = nil
		if n.grant.person && g.AccessToken != old.AccessToken && a.Start.Before(g.Obtained) {
			// The person has authorized anew meanwhile, and has brought a later
			// access token: only the refresh token is news.
			g.applyRefreshToken(a)
			g.noteEnd(pr)
		} else {
			g.apply(a, p, pr)
			g.noteProvider(pr, g.Issuer)
		}
		g.schedule(&before, pr.upkeep.nextLook(g), n.lifetimes.now())
	})
	g, err := n.storeToken(c)
	if err != nil {
		v, err := verdictOf(err)
		return nil, v, err
	}
	if a.IDToken != "" && old.Subject != "" && string(g.AccessToken) == a.AccessToken {
		if err := pr.verifyRenewal(n.ctx, p, old, a.IDToken); err != nil {
			v, err := n.failIDToken(c, g, a, err)
			return nil, v, err
		}
	}
	if lost := missing(g.Requested, g.Scopes); !pr.dialect.ScopesRegistered && len(lost) > 0 && len(missing(old.Scopes, g.Scopes)) > 0 {
		n.report(func() { n.events.fewerScopes(n.ctx, g.ProfileID) })
	}
	remember(n.entry, old, g)
	n.companies.note(g.GrantKey, p.Version, stamp(n.lifetimes.now()))
	n.report(func() { n.events.renewed(n.ctx, p, old, g) })
	return g, done, nil
}

// failIDToken fails because the ID token that came with a token is not valid.
// The refresh token is stored, and stays. The access token may be another
// person's, and goes.
func (n *renewal) failIDToken(c *change, g *Grant, a *tokenendpoint.Answer, cause error) (verdict, error) {
	failed := n.withFailure(g, StatusFailing, Failure{Reason: ReasonIDToken}, func(g *Grant) { g.AccessToken = "" })
	n.writer.dropAccessToken(c, failed)
	v, err := n.recordFailure(failed, cause)
	if v == again {
		n.rejected = a.AccessToken // it may be there still, and is not to be adopted
	}
	return v, err
}

// storeLate stores an answer that came when the renewal no longer waited for
// it, if it is still of use. Those who need it find it in the Store.
func (n *renewal) storeLate(old *Grant, a *tokenendpoint.Answer, err error) {
	defer n.publish(n.tasks)
	defer n.tasks.survive()
	switch {
	case err == nil:
		n.storeAnswer(old, a)
	case a != nil && a.RefreshToken != "":
		n.handleRefusal(old, a, asTokenError(err))
	}
}

// storeToken stores a change that brings a token.
func (n *renewal) storeToken(c *change) (*Grant, error) {
	return n.writer.storeToken(n.ctx, c, write{report: n.report, revoke: n.revokeUnwanted()})
}

// revokeUnwanted returns a function that revokes what was renewed for a grant
// that was deleted meanwhile, as well as it can.
func (n *renewal) revokeUnwanted() func(*Grant) {
	p, pr := n.profile, n.provider // the renewal goes on, and may find others
	return func(g *Grant) {
		ctx, cancel := context.WithTimeout(n.ctx, requestTimeout)
		defer cancel()
		if pr == nil { // it was not resolved yet: what is stored was renewed before
			var err error
			if p, err = n.store.profile(ctx, g.ProfileID); err != nil || p.ClientID != g.ClientID {
				return
			}
			if pr, err = n.providers.resolve(ctx, p); err != nil || !pr.issued(g, p) {
				return
			}
		}
		revoke(ctx, n.http, p, pr, g)
	}
}

// handleRefusal records what went wrong at the provider with a request that
// follows from g, and what that means.
func (n *renewal) handleRefusal(g *Grant, salvaged *tokenendpoint.Answer, te *tokenendpoint.Error) (*Grant, verdict, error) {
	if te.Class == tokenendpoint.InvalidGrant && n.grant.spends {
		cur, err := n.store.grant(n.ctx, g.GrantKey)
		if err == nil && cur.RefreshToken != g.RefreshToken {
			return nil, again, nil // another process moved it on
		}
	}
	f, status := n.judgeRefusal(te, g)
	if salvaged == nil || salvaged.RefreshToken == "" || salvaged.RefreshToken == string(g.RefreshToken) {
		v, err := n.fail(g, status, f, te)
		return nil, v, err
	}
	// The answer is of no use, but its refresh token is the only one left.
	next, err := n.storeToken(n.withFailure(g, status, f, func(g *Grant) { g.RefreshToken = Secret(salvaged.RefreshToken) }))
	if err != nil {
		v, err := verdictOf(err)
		return nil, v, err
	}
	remember(n.entry, g, next)
	if next.isUsable(n.lifetimes.now()) && string(next.AccessToken) != n.have && string(next.AccessToken) != n.rejected {
		return next, done, nil
	}
	if next.Failure == nil {
		return nil, again, nil // another process moved it on
	}
	return nil, done, n.failed(g, next, te)
}

// judgeRefusal makes a Failure of what the provider has said, or has not.
func (n *renewal) judgeRefusal(te *tokenendpoint.Error, g *Grant) (Failure, Status) {
	f, status := failureOf(te, n.circumstances())
	if te.HTTPStatus != 0 && mayBeJudged(f.Reason) {
		f.Reason, status, n.company = n.companies.judge(n.ctx, n.store, n.profile, g, f, status, stamp(n.lifetimes.now()))
	}
	if !n.grant.person && status == StatusNeedsReauthorization {
		status = StatusNeedsConfiguration // there is no person to ask
	}
	return f, status
}

func (n *renewal) circumstances() circumstances {
	c := circumstances{now: n.lifetimes.now(), interrupted: n.interrupted, company: n.company}
	if n.profile != nil {
		c.version = n.profile.Version
	}
	return c
}

// withFailure returns a failure as a change of g, together with what else it
// changes, if that is not nil.
func (n *renewal) withFailure(g *Grant, status Status, f Failure, also func(*Grant)) *change {
	status, failure := nextFailure(g, status, f, n.circumstances())
	return newChange(g, func(g *Grant) {
		before := *g
		g.Lease = nil
		g.Status, g.Failure = status, failure
		if also != nil {
			also(g)
		}
		next := before.Due
		if status == StatusNeedsReauthorization {
			next = time.Time{}
		}
		g.schedule(&before, next, n.lifetimes.now())
	})
}

// fail records a failure in the Store, and returns it as an error. If another
// process has changed the grant meanwhile, what that has stored stands.
func (n *renewal) fail(g *Grant, status Status, f Failure, cause error) (verdict, error) {
	return n.recordFailure(n.withFailure(g, status, f, nil), cause)
}

func (n *renewal) recordFailure(c *change, cause error) (verdict, error) {
	failed, err := n.writer.storeFailure(n.ctx, c)
	if err != nil {
		return verdictOf(err)
	}
	note(n.entry, func(m *memo) { m.failed = errorOf(failed) })
	return done, n.failed(c.old, failed, cause)
}

// failed reports a failure, and returns it as an error.
func (n *renewal) failed(old, g *Grant, cause error) error {
	n.report(func() { n.events.renewalFailed(n.ctx, old, g) })
	return &grantError{Status: g.Status, Failure: *g.Failure, cause: cause}
}

// mayProbe reports whether the refresh token of g, which the provider has ended,
// is sent once more all the same.
func (n *renewal) mayProbe(g *Grant) bool {
	return n.probe && g.RefreshToken != "" && g.Failure != nil && g.Failure.Reason == ReasonRevoked
}

// brokeBefore reports whether a connection broke before the form was sent over
// it. That happens to one that was kept open and is no longer; another one may
// be good.
func brokeBefore(te *tokenendpoint.Error) bool {
	if te.Class != tokenendpoint.Unsent || isWithdrawn(te) {
		return false
	}
	op, ok := errors.AsType[*net.OpError](te)
	return errors.Is(te, io.EOF) || errors.Is(te, io.ErrUnexpectedEOF) || ok && op.Op != "dial"
}
