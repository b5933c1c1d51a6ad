package authprofile

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/authprofile/authprofile/internal/foreign"
	"github.com/authprofile/authprofile/internal/tokencache"
	"github.com/authprofile/authprofile/internal/tokenendpoint"
	"github.com/authprofile/authprofile/internal/transport"
)

// waitForOthers is how long a renewal waits for another process to renew.
const waitForOthers = 90 * time.Second

var (
	errStillRenewing = errors.New("another process is still renewing this grant")
	errNoGrant       = errors.New("no grant yet")
)

// A grantRef says which grant is meant.
type grantRef struct {
	key     GrantKey
	unsaved bool // its profile was never saved: it is not in the Store, nor is its token

	// For app profiles, what to go by when the Store is away: the profile as
	// the caller gave it, or as it was last read.
	profile atomic.Pointer[Profile]
}

// renewing is what all renewals of a Manager have in common.
type renewing struct {
	store     bounded
	providers *resolver
	http      *http.Client
	limiter   *tokenendpoint.Limiter
	writer    *writer
	companies *companies
	lifetimes *lifetimes
	events    events
	tasks     *tasks
	owner     string // of our leases
}

// A renewal obtains the next token of one grant. It runs in its own goroutine,
// whatever becomes of the callers.
type renewal struct {
	*renewing
	ctx   context.Context // for its values; it does not end
	ref   *grantRef
	grant *grantType
	entry *tokencache.Entry
	watch *leaseWatch

	needed   bool            // a caller waits that has no valid token
	urgent   <-chan struct{} // closed as soon as that is so
	have     string          // the access token in memory, whether valid or not
	ended    bool            // it is no longer valid
	rejected string          // the access token that an API refuses
	probe    bool            // ask the provider once more, though it has ended the grant

	giveUp      time.Time // when to stop waiting
	profile     *Profile
	provider    *provider
	company     bool   // another grant of the profile was renewed since this one last failed
	slow        int    // how often the Store was too slow to hold a lease in it
	admitted    bool   // has a place among the requests to the provider
	interrupted bool   // an earlier request with this refresh token may have been answered
	outstanding Secret // a refresh token that was sent, and whose answer may come yet
	hasWaited   bool   // for another process, since the profile was last read

	reports // for when the result is there
}

// A verdict is what a step of the protocol leads to.
type verdict int

const (
	proceed verdict = iota // to the next step
	done                   // there is a result, good or bad
	again                  // the grant has changed: begin anew with what is there
	wait                   // another process is renewing it
)

// verdictOf tells an error that is the result from a change that makes the
// renewal begin anew.
func verdictOf(err error) (verdict, error) {
	switch {
	case err == nil:
		return proceed, nil
	case errors.Is(err, errChanged), errors.Is(err, errDeleted), errors.Is(err, errLeaseOver):
		return again, nil
	}
	return done, err
}

// run goes through the protocol until there is a token, or a reason why not.
func (n *renewal) run() (*Grant, error) {
	if n.ref.unsaved {
		return n.withoutStore(nil)
	}
	g, err := n.withStore()
	if !n.grant.spends && errors.Is(err, errStillRenewing) {
		return n.withoutStore(err)
	}
	return g, err
}

// withStore renews a grant that other processes may renew too.
func (n *renewal) withStore() (*Grant, error) {
	n.giveUp = time.Now().Add(waitForOthers)
	n.watch.looks = 0
	for changes := 0; ; {
		g, v, err := n.tryOnce()
		switch v {
		case done:
			return g, err
		case wait:
			changes, n.hasWaited = 0, true
		default:
			if changes++; changes <= 2 {
				continue
			}
			// Conflicts without a lease to explain them: the Store misreports.
			// It is not to be overrun.
			n.watch.looks++
		}
		if err := n.pause(n.watch.delay()); err != nil {
			return nil, err
		}
	}
}

// tryOnce goes through the protocol once: read, adopt what another process has
// brought, take the lease, ask the provider, store.
func (n *renewal) tryOnce() (*Grant, verdict, error) {
	if g := n.writer.pendingGrant(n.ref.key); g != nil && n.isAdoptable(g) {
		return g, done, nil // it waits to be stored, and memory has evicted it
	}
	if n.grant.spends {
		if err := n.writer.waitForPending(n.ref.key, time.Until(n.giveUp)); err != nil {
			return nil, done, err
		}
	}
	g, profile, err := n.read()
	switch {
	case errors.Is(err, errNoGrant):
		return nil, done, err
	case err != nil && !n.grant.spends:
		return n.fallBack(err)
	case err != nil:
		return nil, done, err
	}
	if v, err := n.restore(g); v != proceed {
		return nil, v, err
	}
	if n.isAdoptable(g) {
		return g, done, nil
	}
	if v, err := n.failUnrenewable(g); v != proceed {
		return nil, v, err
	}
	if n.grant.spends && g.RefreshToken == "" && !n.needed {
		return g, done, nil // it is still there: that was what had to be looked at
	}

	n.interrupted = g.Failure != nil && g.Failure.Reason == ReasonLost ||
		n.outstanding != "" && n.outstanding == g.RefreshToken
	if g.Lease != nil {
		if g.Lease.Owner != n.owner && !n.watch.look(g) {
			return nil, wait, nil
		}
		// The process that held it is gone, and its request may have been
		// answered; but not if it was this process, which knows that it sent none.
		n.interrupted = n.interrupted || g.Lease.Attempt != n.watch.ownUnsent
	}

	if v, err := n.checkProfile(g, profile); v != proceed {
		return nil, v, err
	}
	if err := n.throttle(g); err != nil {
		return nil, done, err
	}
	return n.renew(g)
}

// read reads the grant, and its profile beside it. An app profile gets a grant
// that does not exist yet.
func (n *renewal) read() (g *Grant, profile func() (*Profile, error), err error) {
	readProfile := func() (*Profile, error) { return n.store.profile(n.ctx, n.ref.key.ProfileID) }
	profile = readProfile
	began := n.lifetimes.now()
	if !n.hasWaited { // else it is most likely that there is nothing left to do
		profile = n.beside(readProfile)
	}
	n.hasWaited = false
	g, err = n.store.grant(n.ctx, n.ref.key)
	if errors.Is(err, ErrNotFound) {
		if n.grant.person {
			return nil, nil, &grantError{Status: StatusNeedsReauthorization, cause: errNoGrant}
		}
		return &Grant{GrantKey: n.ref.key, Status: StatusActive}, profile, nil
	}
	if err == nil && g.isRecord() {
		g.Status = StatusActive
	}
	if err == nil && n.grant.spends && g.authorizedBy().After(began.Add(-maxSkew)) {
		// A person may have authorized meanwhile, at another provider than that
		// of the profile read beside: only a later reading is good for this grant.
		profile = readProfile
	}
	return g, profile, err
}

// beside calls read in a goroutine, and returns a function that waits for what
// it returns.
func (n *renewal) beside(read func() (*Profile, error)) func() (*Profile, error) {
	type result struct {
		p   *Profile
		err error
	}
	c := make(chan result, 1)
	n.tasks.run(func() {
		r := result{err: foreign.ErrGoexit}
		defer func() {
			p := foreign.Recovered(recover())
			if p != nil {
				r.err = p
			}
			c <- r
			if p != nil { // a log handler may wait for this renewal
				n.events.panicked(p)
			}
		}()
		r.p, r.err = read()
	})
	return func() (*Profile, error) {
		r := <-c
		return r.p, r.err
	}
}

// isAdoptable reports whether another process has already done what this
// renewal is for.
func (n *renewal) isAdoptable(g *Grant) bool {
	if !g.isUsable(n.lifetimes.now()) {
		return false
	}
	access := string(g.AccessToken)
	if access == n.rejected || access == n.have && n.ended {
		return false
	}
	return n.needed && n.rejected == "" || access != n.have
}

// restore stores once more what this process has written before, if the Store
// has gone back to what was there earlier: a database that has failed over may
// have lost what it had acknowledged. To send the refresh token that is there
// would be to spend it twice.
func (n *renewal) restore(g *Grant) (verdict, error) {
	lost := recall(n.entry).written.lostBy(g)
	if lost == nil {
		return proceed, nil
	}
	n.report(func() { n.events.storeLostToken(n.ctx, g.ProfileID) })
	_, err := n.storeToken(newChange(g, func(g *Grant) {
		version, created, updated := g.Version, g.Created, g.Updated
		*g = *lost.Clone()
		g.Version, g.Created, g.Updated, g.Lease = version, created, updated, nil
	}))
	if err != nil {
		return verdictOf(err)
	}
	return again, nil
}

// failUnrenewable fails if only a person can help, without a look at the
// profile.
func (n *renewal) failUnrenewable(g *Grant) (verdict, error) {
	usable := g.isUsable(n.lifetimes.now())
	switch {
	case !n.grant.person:
		return proceed, nil
	case g.Status == StatusNeedsReauthorization && !g.Failure.mayBeCured() && !n.mayProbe(g):
		return done, errorOf(g)
	case g.RefreshToken != "" || usable && !n.needed:
		return proceed, nil
	case usable:
		// An API may refuse it today and accept it tomorrow: nothing is noted.
		return done, &grantError{Status: StatusNeedsReauthorization, Failure: Failure{Reason: ReasonExpired}}
	}
	return n.fail(g, StatusNeedsReauthorization, Failure{Reason: ReasonExpired}, nil)
}

// checkProfile finds out where the provider of the profile is, and whether it
// may be asked now.
func (n *renewal) checkProfile(g *Grant, read func() (*Profile, error)) (verdict, error) {
	p, err := read()
	switch {
	case errors.Is(err, ErrNotFound):
		return done, err
	case err != nil && !n.grant.spends:
		p = n.ref.profile.Load()
	case err != nil:
		return done, err
	case !n.grant.person:
		n.ref.profile.Store(p)
	}
	if p.Type != n.grant.profile {
		return done, ErrUserMismatch
	}
	n.profile = p

	if n.grant.spends && g.ClientID != "" && g.ClientID != p.ClientID {
		// The refresh token is bound to its client (RFC 6749, section 6).
		return n.failOtherClient(g)
	}
	now := n.lifetimes.now()
	if err := backingOff(g, p, n.needed && !g.isUsable(now), now); err != nil && !n.mayProbe(g) {
		return done, err
	}

	n.provider, err = n.providers.resolveFor(n.ctx, p, g)
	if err != nil {
		status, f := unresolved(err)
		return n.fail(g, status, f, err)
	}
	if n.grant.spends && !n.provider.issued(g, p) {
		return n.failOtherClient(g)
	}
	return proceed, nil
}

// failOtherClient fails because the grant is another client's or another
// provider's than the profile now says. Its refresh token is not shown to this
// one: the provider would say invalid_grant, and so end every grant of a profile
// whose address was mistyped for a minute.
func (n *renewal) failOtherClient(g *Grant) (verdict, error) {
	if g.Failure != nil && g.Failure.Reason == ReasonOtherClient {
		return done, errorOf(g)
	}
	return n.fail(g, StatusNeedsReauthorization, Failure{Reason: ReasonOtherClient}, nil)
}

// throttle delays a renewal that is forced by an API's refusal: many callers
// with as many refusals are not to become as many requests, nor is an API that
// refuses whatever it is given.
func (n *renewal) throttle(g *Grant) error {
	now := n.lifetimes.now()
	if f := g.Failure; f != nil && f.ProfileVersion == n.profile.Version && f.Last.After(now.Add(shortestBackoff)) {
		// It was noted by a clock that is ahead of ours, so that Next says
		// nothing.
		if err := n.pause(shortestBackoff); err != nil {
			return err
		}
	}
	if n.rejected == "" || string(g.AccessToken) != n.rejected || !g.isUsable(n.lifetimes.now()) {
		return nil // or it has ended, and is replaced for those too who do not refuse it
	}
	var delay time.Duration
	note(n.entry, func(m *memo) { delay = m.refusals.note(n.rejected, g.Obtained, n.lifetimes.now()) })
	switch {
	case delay <= 0:
		return nil
	case delay > shortestBackoff:
		return errRefusedAgain
	}
	return n.pause(delay)
}

// pause waits, unless the Manager is shut down or it has taken too long.
func (n *renewal) pause(d time.Duration) error {
	if time.Now().Add(d).After(n.giveUp) {
		return errStillRenewing
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-n.tasks.closing:
		return errShutdown
	}
}

// renew takes the lease, asks the provider, and stores what it answers.
func (n *renewal) renew(g *Grant) (*Grant, verdict, error) {
	release, err := n.acquire()
	if err != nil {
		return nil, done, err
	}
	defer release()

	attempt := uuid.NewString()
	if !n.interrupted {
		n.watch.ownUnsent = attempt
	}
	l, err := takeLease(n.ctx, n.store, g, n.owner, attempt)
	switch {
	case errors.Is(err, ErrConflict):
		return nil, again, nil
	case errors.Is(err, ErrNotFound):
		return nil, done, err
	case err != nil && !n.grant.spends:
		return n.fallBack(err)
	case err != nil:
		return nil, done, err
	}

	if g.Lease != nil && g.Lease.Owner != n.owner {
		n.report(func() { n.events.leaseTakenOver(n.ctx, g.ProfileID) })
	}
	answer, err := n.askTwice(l, g)
	switch {
	case errors.Is(err, errLeaseOver):
		return nil, again, nil
	case errors.Is(err, errStoreSlow):
		n.slow++
		switch {
		case n.slow == 1: // it may have been a pause of this machine
			return nil, again, nil
		case !n.grant.spends:
			return n.fallBack(errStoreSlow)
		}
		return nil, done, errStoreSlow
	case err != nil:
		return n.handleRefusal(l.grant, answer, asTokenError(err))
	}
	got, v, err := n.storeAnswer(l.grant, answer)
	if v == done && err == nil && string(got.AccessToken) != answer.AccessToken && !got.isUsable(n.lifetimes.now()) {
		return nil, again, nil // another process moved it on, long ago
	}
	return got, v, err
}

// acquire waits for a place among the requests to the provider, unless this
// renewal has one.
func (n *renewal) acquire() (release func(), err error) {
	if n.admitted {
		return func() {}, nil
	}
	free, err := n.limiter.Acquire(n.provider.tokenURL, n.urgent, n.tasks.closing)
	if err != nil {
		return nil, errShutdown
	}
	n.admitted = true
	return func() {
		n.admitted = false
		free()
	}, nil
}

// askTwice sends the token request under the lease, and once more if the answer
// is lost, or was never asked for. With an answer, the successor of the refresh
// token may be lost. Within their period of grace, providers that rotate accept
// the old one again: at once, or never.
func (n *renewal) askTwice(l *heldLease, g *Grant) (*tokenendpoint.Answer, error) {
	answer, err := n.ask(l, g)
	te := asTokenError(err)
	if te == nil {
		return answer, err
	}
	if n.grant.spends && te.Code == "invalid_target" && n.grant.form(n.profile, n.provider, g).Has("resource") {
		n.providers.resources.note(n.profile)
		if l.extend(n.ctx) != nil {
			return answer, err
		}
		again := *n.provider
		again.omitResource = true
		n.provider = &again
		return n.ask(l, g)
	}
	lost := te.Class == tokenendpoint.Lost
	if !brokeBefore(te) && !(lost && (!n.interrupted || !n.grant.spends)) || l.extend(n.ctx) != nil {
		return answer, err
	}
	n.interrupted = n.interrupted || lost
	return n.ask(l, g)
}

// ask sends the token request under the lease.
func (n *renewal) ask(l *heldLease, g *Grant) (*tokenendpoint.Answer, error) {
	req, hc := n.grant.request(n.profile, n.provider, g), n.provider.client(n.http)
	late := *n // the renewal goes on, and may find another profile or provider
	late.reports = reports{}
	var traced *tracedRequest
	s := send(n.ctx, n.tasks, l, func(ctx context.Context, beforeSend func() error) (*tokenendpoint.Answer, error) {
		req.BeforeSend = beforeSend
		ctx, traced = n.events.beginRequest(ctx, g.ProfileID, req)
		defer traced.ended()
		return tokenendpoint.Do(ctx, hc, req)
	}, func(old *Grant, a *tokenendpoint.Answer, err error) {
		late.report(func() { traced.tell(a, err, isWithdrawn(err)) })
		late.storeLate(old, a, err)
	})
	defer func() {
		if !s.leave() { // or it has not left yet, and the Store has ended this goroutine
			n.report(func() { traced.tell(s.answer, s.err, isWithdrawn(s.err)) })
		}
		if s.isSent() {
			n.watch.ownUnsent = ""
		}
		if s.isOutstanding() {
			n.outstanding = l.grant.RefreshToken
		}
	}()
	return s.await()
}

// fallBack renews without the Store, for the reason given.
func (n *renewal) fallBack(away error) (*Grant, verdict, error) {
	g, err := n.withoutStore(away)
	return g, done, err
}

// withoutStore renews the grant of an app profile that was never saved, or of
// one whose Store is away for the reason given.
func (n *renewal) withoutStore(away error) (*Grant, error) {
	n.giveUp = time.Now().Add(waitForOthers) // anew: the wait for another process may be over
	n.profile = n.ref.profile.Load()
	if away != nil {
		id := n.profile.ID
		n.report(func() { n.events.renewingWithoutStore(n.ctx, id) })
	} else if err := n.profile.validate(n.providers.catalog, n.providers.credentials.keys.parse); err != nil {
		return nil, err
	}
	g := &Grant{GrantKey: n.ref.key, Status: StatusActive, ClientID: n.profile.ClientID}
	if f := recall(n.entry).failed; f != nil {
		g.Status, g.Failure = f.Status, &f.Failure
		if err := backingOff(g, n.profile, n.needed, n.lifetimes.now()); err != nil {
			return nil, err
		}
	}
	if t := n.entry.Current(); t != nil {
		g.AccessToken, g.Obtained, g.Expiry = Secret(t.AccessToken), t.Obtained, t.Expiry
	}

	old := new(Grant) // which status the Store has is not known
	if away == nil {
		old = g
	}
	fail := func(status Status, f Failure, cause error) error {
		c := n.withFailure(g, status, f, nil)
		note(n.entry, func(m *memo) { m.failed = errorOf(c.g) })
		return n.failed(old, c.g, cause)
	}
	var err error
	if n.provider, err = n.providers.resolve(n.ctx, n.profile); err != nil {
		status, f := unresolved(err)
		return nil, fail(status, f, err)
	}
	if err := n.throttle(g); err != nil {
		return nil, err
	}
	release, err := n.acquire()
	if err != nil {
		return nil, err
	}
	defer release()
	a, err := n.askFreely(g)
	if err != nil {
		te := asTokenError(err)
		f, status := n.judgeRefusal(te, g)
		return nil, fail(status, f, te)
	}
	p, pr := n.profile, n.provider
	c := newChange(g, func(g *Grant) {
		before := *g
		g.Lease = nil
		g.apply(a, p, pr)
		g.noteProvider(pr, "")
		g.schedule(&before, pr.upkeep.nextLook(g), n.lifetimes.now())
	})
	if away != nil {
		n.writer.keepStoring(n.ctx, c, write{report: n.report, revoke: n.revokeUnwanted()})
	}
	n.report(func() { n.events.renewed(n.ctx, p, g, c.g) })
	return c.g, nil
}

// askFreely sends a token request that spends nothing, and once more if it was
// lost.
func (n *renewal) askFreely(g *Grant) (*tokenendpoint.Answer, error) {
	request := func() (*tokenendpoint.Answer, error) {
		ctx, cancel := transport.WithTimeout(n.ctx, requestTimeout)
		defer cancel()
		req := n.grant.request(n.profile, n.provider, g)
		return doTraced(ctx, n.provider.client(n.http), req, n.ref.key.ProfileID, n.events, n.report)
	}
	a, err := request()
	if te := asTokenError(err); te != nil && (brokeBefore(te) || te.Class == tokenendpoint.Lost) {
		return request()
	}
	return a, err
}
