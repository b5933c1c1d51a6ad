package authprofile

import (
	"context"
	"errors"
	"log/slog"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/oauth2"

	"github.com/authprofile/authprofile/internal/tokenendpoint"
	"github.com/authprofile/authprofile/internal/transport"
)

// Limits of a renewal.
const (
	storeTimeout   = 5 * time.Second  // of one call of the Store
	requestTimeout = 30 * time.Second // of one request to the provider
	waitForOthers  = 90 * time.Second // for another process to renew
	firstWrite     = 2 * time.Second  // that callers wait for the token to be stored
	maxWriteDelay  = time.Second      // between tries to store it: well below leaseLength
)

var (
	errShutdown   = errors.New("the Manager was shut down")
	errStoreAway  = errors.New("a renewed token waits to be stored, and the store does not answer")
	errOthersSlow = errors.New("another process is still renewing this grant")
	errNoGrant    = errors.New("no grant yet")
	errGone       = errors.New("the grant was deleted")
)

// A ref says which grant is meant.
type ref struct {
	key     GrantKey
	private bool // never saved: not in the Store, nor is its token

	// For app profiles, what to go by when the Store is away: the profile as
	// the caller gave it, or as it was last read.
	profile atomic.Pointer[Profile]
}

// A result is that of a renewal under way in this process. All who need it
// wait for the same one.
type result struct {
	done     chan struct{}
	need     bool   // somebody waits who has no valid token
	rejected string // the access token that it was begun for to replace
	h        *held  // the result: this,
	err      error  // or that

	// The rest is under the engine's lock.

	hurry   chan struct{} // closed as soon as somebody waits who has no valid token
	hurried bool
	late    bool // a person has ended or replaced the grant meanwhile
}

// token returns a valid token of a slot: from memory if it is there, and
// otherwise from a flight, for which it waits no longer than ctx lasts.
func (e *engine) token(ctx context.Context, s *slot, r *ref, rejected string) (*oauth2.Token, error) {
	last := errors.New("no other token could be obtained")
	for range 4 {
		now := e.now().UnixNano()
		seen := s.cur.Load()
		if h := s.get(now, rejected); h != nil {
			if s.due(h, now) {
				e.launch(ctx, s, r, h, "", false)
			}
			e.arm(s, h, now)
			return &h.tok, nil
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		f, mine := e.launch(ctx, s, r, seen, rejected, true)
		select {
		case <-f.done:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		switch {
		case f.err == nil && (rejected == "" || f.h.tok.AccessToken != rejected):
			return &f.h.tok, nil
		case f.err != nil && (mine || f.need && (f.rejected == "" || f.rejected == rejected)):
			return nil, f.err
		}
		// It was begun by somebody who could wait, or who did not know that
		// the token is refused, or to whom another one was: once more, on our
		// own account.
		if f.err != nil {
			last = f.err
		}
	}
	return nil, last
}

// launch begins a flight for the slot's grant, unless there is one, or has been
// one since the slot had what the caller has seen.
func (e *engine) launch(ctx context.Context, s *slot, r *ref, seen *held, rejected string, need bool) (f *result, mine bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if f := e.flights[r.key]; f != nil {
		f.join(need)
		return f, false
	}
	f = &result{done: make(chan struct{}), need: need, rejected: rejected, hurry: make(chan struct{})}
	f.join(need)
	if s.cur.Load() != seen {
		if f.h = s.get(e.now().UnixNano(), rejected); f.h != nil {
			close(f.done)
			return f, true
		}
	}
	if e.closed {
		f.err = errShutdown
		close(f.done)
		return f, true
	}
	e.flights[r.key] = f
	s.flying.Store(true)
	n := &renewal{engine: e, ctx: context.WithoutCancel(ctx), ref: r, slot: s, need: need, hurry: f.hurry, rejected: rejected}
	if h := s.cur.Load(); h != nil {
		n.have = h.tok.AccessToken
	}
	e.work.Go(func() { n.fly(f) })
	return f, true
}

func (f *result) join(need bool) {
	if need && !f.hurried {
		f.hurried = true
		close(f.hurry)
	}
}

// replace puts what a person has brought about into memory, nil for the end of
// a grant. A renewal under way, which does not know of it, does not undo it.
func (e *engine) replace(key GrantKey, h *held) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if f := e.flights[key]; f != nil {
		f.late = true
	}
	if u := e.pending[key]; u != nil {
		u.ended = true
	}
	if h != nil {
		e.cache.slot(key).set(h)
	} else {
		e.cache.drop(key)
	}
}

// forgetProfile ends all grants of a profile in memory.
func (e *engine) forgetProfile(id string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for key, f := range e.flights {
		if key.ProfileID == id {
			f.late = true
		}
	}
	for key, u := range e.pending {
		if key.ProfileID == id {
			u.ended = true
		}
	}
	e.cache.dropProfile(id)
}

// A renewal obtains the next token of one grant. It runs in its own goroutine,
// whatever becomes of the callers.
type renewal struct {
	*engine
	ctx  context.Context // for its values; it does not end
	ref  *ref
	slot *slot

	need     bool            // somebody has no valid token
	hurry    <-chan struct{} // closed as soon as that is so
	have     string          // the access token in memory, whether valid or not
	rejected string          // the access token that an API refuses

	profile     *Profile
	target      *target
	slow        int  // how often the Store was too slow to hold a lease in it
	entered     bool // has a place among the requests to the provider
	interrupted bool // an earlier request with this refresh token may have been answered
}

func (n *renewal) fly(f *result) {
	g, err := n.run()
	if err == nil {
		f.h = n.hold(g)
	} else {
		f.err = err
	}

	n.mu.Lock()
	defer n.mu.Unlock()
	s := n.slot
	switch {
	case err == nil && !f.late:
		if !n.ref.private && s.hasLeft() {
			s = n.cache.slot(n.ref.key)
		}
		s.set(f.h)
		n.slot.watch = nil
		if g.Failure != nil {
			s.nextTry.Store(unixNano(g.Failure.Next))
		}
	case err != nil:
		next := now().Add(time.Minute) // to see whether a person has helped
		var failed *failedError
		if errors.As(err, &failed) && !failed.Next.IsZero() {
			next = failed.Next
		} else if failed == nil {
			next = now().Add(backoff(1))
		}
		s.nextTry.Store(unixNano(next))
	}
	s.flying.Store(false)
	n.slot.flying.Store(false)
	delete(n.flights, n.ref.key)
	close(f.done)
}

// run goes through the protocol until there is a token, or a reason why not.
func (n *renewal) run() (*Grant, error) {
	if n.ref.private {
		return n.alone(nil)
	}
	g, err := n.together()
	if n.isApp() && errors.Is(err, errOthersSlow) {
		return n.alone(err)
	}
	return g, err
}

// together renews a grant that other processes may renew too.
func (n *renewal) together() (*Grant, error) {
	// An earlier renewal, which the store has brought to an end, may have seen
	// the same lease: the watch goes on.
	if n.slot.watch == nil {
		n.slot.watch = new(watch)
	}
	w := n.slot.watch
	w.looks = 0
	giveUp := time.Now().Add(waitForOthers)
	for round := 0; ; round++ {
		if round > 2 {
			// Whoever came first has a lease to be seen. A store without it,
			// that says conflict all the same, is not to be overrun.
			w.looks++
			if err := n.pause(w.delay(), giveUp); err != nil {
				return nil, err
			}
		}
		if g := n.waiting(n.ref.key); g != nil && n.adoptable(g) {
			return g, nil // it has left memory
		}
		if err := n.awaitWrite(giveUp); err != nil {
			return nil, err
		}

		g, err := n.readGrant(n.ctx, n.ref.key)
		switch {
		case errors.Is(err, ErrNotFound) && n.isApp():
			g = &Grant{GrantKey: n.ref.key, Status: StatusActive}
		case errors.Is(err, ErrNotFound):
			return nil, &failedError{Status: StatusNeedsReauthorization, cause: errNoGrant}
		case err != nil && n.isApp():
			return n.alone(err)
		case err != nil:
			return nil, err
		}

		if n.adoptable(g) {
			return g, nil
		}
		if err := n.needsPerson(g); errors.Is(err, errOvertaken) {
			continue
		} else if err != nil {
			return nil, err
		}

		n.interrupted = g.Failure != nil && g.Failure.Reason == ReasonLost
		if g.Lease != nil {
			if g.Lease.Owner != n.owner && !w.hasRunOut(g) {
				if err := n.pause(w.delay(), giveUp); err != nil {
					return nil, err
				}
				round = -1
				continue
			}
			// Whoever held it is gone, and the request may have been answered;
			// but not if it was this process, which knows that it sent none.
			n.interrupted = n.interrupted || g.Lease.Attempt != w.unsent
		}

		if err := n.prepare(g); errors.Is(err, errOvertaken) {
			continue
		} else if err != nil {
			return nil, err
		}
		if err := n.pace(g, giveUp); err != nil {
			return nil, err
		}

		got, again, err := n.attempt(g)
		if !again && !errors.Is(err, errOvertaken) {
			return got, err
		}
	}
}

func (n *renewal) isApp() bool { return n.ref.key.User == "" }

// adoptable reports whether another process has already done what this
// renewal is for.
func (n *renewal) adoptable(g *Grant) bool {
	if !g.usable(n.now()) {
		return false
	}
	access := string(g.AccessToken)
	if access == n.rejected {
		return false
	}
	return n.need && n.rejected == "" || access != n.have
}

// needsPerson returns an error if only the user can help, without a look at
// the profile.
func (n *renewal) needsPerson(g *Grant) error {
	switch {
	case n.isApp():
		return nil
	case g.Status == StatusNeedsReauthorization && (g.Failure == nil || g.Failure.Reason != ReasonOtherClient):
		return stored(g)
	case g.RefreshToken == "" && g.usable(n.now()):
		// An API may refuse it today and accept it tomorrow: nothing is noted.
		return &failedError{Status: StatusNeedsReauthorization, Failure: Failure{Reason: ReasonExpired}}
	case g.RefreshToken == "":
		return n.fail(g, StatusNeedsReauthorization, Failure{Reason: ReasonExpired}, nil)
	}
	return nil
}

// prepare reads the profile, finds out where its provider is, and whether it
// may be asked now.
func (n *renewal) prepare(g *Grant) error {
	p, err := n.readProfile(n.ctx, n.ref.key.ProfileID)
	switch {
	case errors.Is(err, ErrNotFound):
		return err
	case err != nil && n.isApp():
		p = n.ref.profile.Load()
	case err != nil:
		return err
	case n.isApp():
		n.ref.profile.Store(p)
	}
	if p.Type == TypeApp != n.isApp() {
		return ErrUserMismatch
	}
	n.profile = p

	if g.ClientID != "" && g.ClientID != p.ClientID && !n.isApp() {
		// The refresh token is bound to its client (RFC 6749, section 6).
		return n.elsewhere(g)
	}
	if err := n.tooSoon(g.Status, g.Failure, g.usable(n.now())); err != nil {
		return err
	}

	n.target, err = n.engine.target(n.ctx, p)
	if err != nil {
		f := Failure{Reason: ReasonUnreachable}
		status := StatusFailing
		if errors.Is(err, ErrConfiguration) {
			f.Reason, status = ReasonConfiguration, StatusNeedsConfiguration
		}
		return n.fail(g, status, f, err)
	}
	if !n.target.issued(g) {
		return n.elsewhere(g)
	}
	return nil
}

// elsewhere fails because the grant is another client's or another provider's
// than the profile now says. Its refresh token is not shown to this one: that
// would say invalid_grant, and so end every grant of a profile whose address
// was mistyped for a minute.
func (n *renewal) elsewhere(g *Grant) error {
	if g.Failure != nil && g.Failure.Reason == ReasonOtherClient {
		return stored(g)
	}
	return n.fail(g, StatusNeedsReauthorization, Failure{Reason: ReasonOtherClient}, nil)
}

// tooSoon returns the stored failure as an error if it is not yet time for
// another attempt.
func (n *renewal) tooSoon(status Status, f *Failure, usable bool) error {
	if f == nil || f.ProfileVersion != n.profile.Version || f.Reason == ReasonOtherClient {
		return nil
	}
	now, next := n.now(), f.Next
	if n.need && !usable && !f.Paced && status == StatusFailing && f.Reason != ReasonRefused {
		if soonest := f.Last.Add(shortestBackoff); soonest.Before(next) {
			next = soonest
		}
	}
	// A clock that is far ahead must not keep others from working.
	if now.Before(next) && now.Add(shortestBackoff).After(f.Last) {
		return &failedError{Status: status, Failure: *f}
	}
	return nil
}

// pace delays a renewal that is forced by an API's refusal, if the refused
// token is a new one: many callers with as many refusals are not to become as
// many requests.
func (n *renewal) pace(g *Grant, giveUp time.Time) error {
	if f := g.Failure; f != nil && f.ProfileVersion == n.profile.Version && f.Last.After(n.now().Add(shortestBackoff)) {
		// It was noted by a clock that is ahead of ours, so that Next says
		// nothing.
		if err := n.pause(shortestBackoff, giveUp); err != nil {
			return err
		}
	}
	if n.rejected == "" || string(g.AccessToken) != n.rejected || g.Obtained.IsZero() {
		return nil
	}
	wait := g.Obtained.Add(shortestBackoff).Sub(n.now())
	if wait <= 0 || wait > shortestBackoff {
		return nil
	}
	return n.pause(wait, giveUp)
}

// pause waits, unless the Manager is shut down or it has taken too long.
func (n *renewal) pause(d time.Duration, giveUp time.Time) error {
	if time.Now().Add(d).After(giveUp) {
		return errOthersSlow
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-n.closing:
		return errShutdown
	}
}

// attempt takes the lease and asks the provider. It reports again if another
// process came first.
func (n *renewal) attempt(g *Grant) (got *Grant, again bool, err error) {
	leave, err := n.enter()
	if err != nil {
		return nil, false, err
	}
	defer leave()

	l, err := n.takeLease(g)
	switch {
	case errors.Is(err, ErrConflict):
		return nil, true, nil
	case errors.Is(err, ErrNotFound):
		return nil, false, err
	case err != nil && n.isApp():
		got, err := n.alone(err)
		return got, false, err
	case err != nil:
		return nil, false, err
	}

	form := n.form(g)
	answer, err := n.ask(l, form)
	if te := asTokenError(err); te != nil && te.Class == tokenendpoint.Lost && (!n.interrupted || n.isApp()) && n.extendLease(n.ctx, l) == nil {
		// The answer is lost, and with it perhaps the successor of the refresh
		// token. Within their period of grace, providers that rotate accept
		// the old one again: at once, or never.
		n.interrupted = true
		answer, err = n.ask(l, form)
	}
	switch {
	case errors.Is(err, errLeaseOver):
		return nil, true, nil
	case errors.Is(err, errStoreSlow) && n.isApp():
		got, err := n.alone(errStoreSlow)
		return got, false, err
	case errors.Is(err, errStoreSlow):
		n.slow++ // once may have been a pause of this machine
		return nil, n.slow <= 1, errStoreSlow
	case err != nil:
		return n.refused(l, answer, asTokenError(err))
	}
	got, err = n.answered(l, answer)
	if errors.Is(err, errGone) {
		return nil, true, nil // to see what has become of it
	}
	if err == nil && string(got.AccessToken) != answer.AccessToken && !got.usable(n.now()) {
		return nil, true, nil // another process moved it on, long ago
	}
	return got, false, err
}

// enter waits for a place among the requests to the provider, unless this
// renewal has one.
func (n *renewal) enter() (leave func(), err error) {
	if n.entered {
		return func() {}, nil
	}
	done, err := n.gates.enter(n.target.tokenURL, n.hurry, n.closing)
	if err != nil {
		return nil, err
	}
	n.entered = true
	return func() {
		n.entered = false
		done()
	}, nil
}

// form returns the parameters of the token request.
func (n *renewal) form(g *Grant) url.Values {
	if n.isApp() {
		return appForm(n.profile)
	}
	form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {string(g.RefreshToken)}}
	if n.target.scopeOnRefresh {
		// Never more than was asked for when the user consented (RFC 6749,
		// section 6), whatever the profile has got since.
		if scopes := intersect(requestedScopes(n.profile, n.target), g.Requested); len(scopes) > 0 {
			form.Set("scope", strings.Join(scopes, " "))
		}
	}
	return form
}

func appForm(p *Profile) url.Values {
	form := url.Values{}
	for name, values := range p.Params {
		form[name] = values
	}
	form.Set("grant_type", "client_credentials")
	if len(p.Scopes) > 0 {
		form.Set("scope", strings.Join(p.Scopes, " "))
	}
	return form
}

// tokenRequest makes a token request of a form.
func tokenRequest(p *Profile, t *target, form url.Values) *tokenendpoint.Request {
	return &tokenendpoint.Request{
		URL:          t.tokenURL,
		Form:         form,
		ClientID:     p.ClientID,
		ClientSecret: string(p.ClientSecret),
		AuthMethod:   string(t.authMethod),
	}
}

// answered stores what the provider has answered, as the very next step, and
// only then looks at it more closely.
func (n *renewal) answered(l *lease, a *tokenendpoint.Answer) (*Grant, error) {
	old := l.grant
	g := old.Clone()
	g.take(a, n.profile)
	if n.isApp() {
		g.Requested = n.profile.Scopes
		if !a.ScopeKnown {
			g.Scopes = n.profile.Scopes
		}
	}
	g.Lease = nil

	g, err := n.write(g, old)
	if err != nil {
		return nil, err
	}
	if a.IDToken != "" && g.Subject != "" && string(g.AccessToken) == a.AccessToken {
		err := n.verifyRenewedIDToken(n.ctx, n.target, renewalCheck{
			raw: a.IDToken, clientID: n.profile.ClientID, nonce: g.Nonce, issuer: g.Issuer, subject: g.Subject,
		})
		if err != nil {
			// The refresh token is stored, and stays. The access token may be
			// somebody else's, and goes.
			failed := n.failing(g, StatusFailing, Failure{Reason: ReasonIDToken})
			failed.AccessToken = ""
			n.withdraw(g, failed)
			err = n.recorded(failed, g, err)
			if errors.Is(err, errOvertaken) {
				n.rejected = a.AccessToken // it may be there still, and is not to be adopted
			}
			return nil, err
		}
	}
	if lost := missing(g.Requested, g.Scopes); len(lost) > 0 && len(missing(old.Scopes, g.Scopes)) > 0 {
		n.log.LogAttrs(n.ctx, slog.LevelWarn, "authprofile: fewer scopes granted than before", slog.String("profile", g.ProfileID))
	}
	n.logRenewed(old, g)
	return g, nil
}

func (n *renewal) logRenewed(old, g *Grant) {
	n.log.LogAttrs(n.ctx, slog.LevelInfo, "authprofile: token renewed",
		slog.String("profile", g.ProfileID), slog.String("type", string(n.profile.Type)), slog.Time("expiry", g.Expiry))
	n.logStatus(g.ProfileID, old.Status, g.Status)
}

func (e *engine) logStatus(profileID string, before, after Status) {
	if before != after && before != "" {
		e.log.LogAttrs(context.Background(), slog.LevelInfo, "authprofile: status changed",
			slog.String("profile", profileID), slog.String("from", string(before)), slog.String("to", string(after)))
	}
}

// take puts an answer into the grant.
func (g *Grant) take(a *tokenendpoint.Answer, p *Profile) {
	g.AccessToken = Secret(a.AccessToken)
	if a.RefreshToken != "" {
		g.RefreshToken = Secret(a.RefreshToken)
		g.RefreshExpiry = time.Time{}
	}
	if a.RefreshLifetime > 0 {
		g.RefreshExpiry = a.Start.Add(a.RefreshLifetime).UTC().Truncate(time.Millisecond)
	}
	g.TokenType = a.TokenType
	g.Obtained = a.Start.UTC().Truncate(time.Millisecond)
	g.Expiry = time.Time{}
	if a.LifetimeKnown {
		g.Expiry = g.Obtained.Add(a.Lifetime)
	}
	if a.ScopeKnown {
		g.Scopes = a.Scopes
	}
	g.ClientID = p.ClientID
	g.addExtra(a.Extra)
	g.Status, g.Failure = StatusActive, nil
}

// maxExtra bounds Grant.Extra, in bytes of names and values.
const maxExtra = 4096

func (g *Grant) addExtra(extra map[string]string) {
	if len(extra) == 0 {
		return
	}
	size := 0
	merged := make(map[string]Secret, len(extra)+len(g.Extra))
	for name, value := range extra {
		merged[name] = Secret(value)
		size += len(name) + len(value)
	}
	for name, value := range g.Extra {
		if _, ok := merged[name]; !ok && size+len(name)+len(value) <= maxExtra {
			merged[name] = value
			size += len(name) + len(value)
		}
	}
	g.Extra = merged
}

// refused notes what went wrong at the provider, and what follows from it.
func (n *renewal) refused(l *lease, salvaged *tokenendpoint.Answer, te *tokenendpoint.Error) (got *Grant, again bool, err error) {
	g := l.grant
	f, status := n.refusal(te, g.Failure)

	if te.Class == tokenendpoint.InvalidGrant && !n.isApp() {
		cur, err := n.readGrant(n.ctx, g.GrantKey)
		if err == nil && cur.RefreshToken != g.RefreshToken {
			return nil, true, nil // another process moved it on
		}
	}
	if salvaged != nil && salvaged.RefreshToken != "" && salvaged.RefreshToken != string(g.RefreshToken) {
		// The answer is of no use, but its refresh token is the only one left.
		next := n.failing(g, status, f)
		next.RefreshToken = Secret(salvaged.RefreshToken)
		if next, err = n.write(next, g); errors.Is(err, errGone) {
			return nil, true, nil
		} else if err != nil {
			return nil, false, err
		}
		if next.usable(n.now()) && string(next.AccessToken) != n.have && string(next.AccessToken) != n.rejected {
			return next, false, nil
		}
		if next.Failure == nil {
			return nil, true, nil // another process moved it on
		}
		return nil, false, n.failed(g, next, te)
	}
	return nil, false, n.fail(g, status, f, te)
}

// A refusal that we do not understand is tried so often, and for so long,
// before it counts as final.
const (
	refusals   = 6
	refusedFor = 10 * time.Minute
)

// refusal makes a Failure of what the provider has said, or has not.
func (n *renewal) refusal(te *tokenendpoint.Error, before *Failure) (Failure, Status) {
	f := Failure{Code: te.Code, Description: te.Description, HTTPStatus: te.HTTPStatus}
	if te.RetryAfter > 0 {
		f.Next, f.Paced = now().Add(te.RetryAfter), true
	}
	var status Status
	f.Reason, status = n.classify(te, before)
	return f, status
}

// classify says what a failed request means for the grant.
func (n *renewal) classify(te *tokenendpoint.Error, before *Failure) (Reason, Status) {
	person := StatusNeedsReauthorization
	if n.isApp() {
		person = StatusNeedsConfiguration // there is nobody to ask
	}
	switch te.Class {
	case tokenendpoint.InvalidGrant:
		if n.interrupted {
			return ReasonInterrupted, person
		}
		return ReasonRevoked, person
	case tokenendpoint.Interaction:
		return ReasonRevoked, person
	case tokenendpoint.Configuration:
		if errors.Is(te, transport.ErrRefused) { // by this program's own rules
			return ReasonUnreachable, StatusNeedsConfiguration
		}
		return ReasonClient, StatusNeedsConfiguration
	case tokenendpoint.Unsent:
		return ReasonUnreachable, StatusFailing
	case tokenendpoint.Lost:
		return ReasonLost, StatusFailing
	case tokenendpoint.Unavailable:
		return ReasonUnavailable, StatusFailing
	case tokenendpoint.Unreadable:
		return ReasonUnreadable, StatusFailing
	default:
		if before != nil && before.Reason == ReasonRefused && before.Attempts >= refusals-1 && now().Sub(before.Since) >= refusedFor {
			return ReasonRefused, person
		}
		return ReasonRefused, StatusFailing
	}
}

// failure completes a Failure with what came before it and what comes next.
func (n *renewal) failure(g *Grant, status Status, f Failure) (Status, *Failure) {
	f.Since, f.Last, f.Attempts = now(), now(), 1
	if b := g.Failure; b != nil && (f.Reason != ReasonRefused || b.Reason == ReasonRefused) {
		f.Since, f.Attempts = b.Since, b.Attempts+1 // refusals are counted by themselves: they come to an end
	}
	if n.profile != nil {
		f.ProfileVersion = n.profile.Version
	}
	if n.interrupted && !n.isApp() && (f.Reason == ReasonUnavailable || f.Reason == ReasonUnreachable) {
		f.Reason = ReasonLost // that matters more than why there is still no answer
	}
	if status == StatusNeedsReauthorization {
		f.Next, f.Paced = time.Time{}, false
		return status, &f
	}
	delay := backoff(f.Attempts)
	switch {
	case f.Reason == ReasonRefused && status == StatusFailing:
		// It ends in asking a person, so it gets time to pass by itself.
		delay = 2 * backoff(2*f.Attempts)
	case status == StatusNeedsConfiguration:
		delay = 2 * delay
	}
	if g.usable(n.now()) && !g.Expiry.IsZero() && !f.Paced {
		// Not past the end of the token that is still good.
		delay = min(delay, max(shortestBackoff, g.usableUntil().Sub(n.now())/3))
	}
	if next := f.Last.Add(delay).Truncate(time.Millisecond); f.Next.Before(next) {
		f.Next = next
	}
	return status, &f
}

// errOvertaken: what this renewal has found out no longer matters, since
// another process, or a person, has changed the grant meanwhile.
var errOvertaken = errors.New("the grant has changed meanwhile")

// fail records a failure in the Store, and returns it as an error. If another
// process has meanwhile changed the grant, its word stands.
func (n *renewal) fail(g *Grant, status Status, f Failure, cause error) error {
	return n.recorded(n.failing(g, status, f), g, cause)
}

// failing returns the grant that g becomes by a failure.
func (n *renewal) failing(g *Grant, status Status, f Failure) *Grant {
	failed := g.Clone()
	failed.Lease = nil
	failed.Status, failed.Failure = n.failure(g, status, f)
	return failed
}

func (n *renewal) recorded(failed, old *Grant, cause error) error {
	if !n.record(failed, old) {
		return errOvertaken
	}
	n.slot.setFailed(stored(failed))
	return n.failed(old, failed, cause)
}

// failed logs a failure and returns it as an error.
func (n *renewal) failed(old, g *Grant, cause error) error {
	level := slog.LevelWarn
	if g.Status != StatusFailing {
		level = slog.LevelError
	}
	n.log.LogAttrs(n.ctx, level, "authprofile: renewal failed",
		slog.String("profile", g.ProfileID), slog.String("status", string(g.Status)), slog.String("reason", string(g.Failure.Reason)),
		slog.String("code", g.Failure.Code), slog.Int("http_status", g.Failure.HTTPStatus),
		slog.Int("attempts", g.Failure.Attempts), slog.Time("next", g.Failure.Next))
	n.logStatus(g.ProfileID, old.Status, g.Status)
	return &failedError{Status: g.Status, Failure: *g.Failure, cause: cause}
}

// alone renews an app profile without the Store: one that was never saved, or
// one whose Store is away for the reason given.
func (n *renewal) alone(away error) (*Grant, error) {
	n.profile = n.ref.profile.Load()
	if away != nil {
		n.log.LogAttrs(n.ctx, slog.LevelWarn, "authprofile: renewing without the store", slog.String("profile", n.profile.ID))
	} else if err := n.profile.Validate(); err != nil {
		return nil, err
	}
	g := &Grant{GrantKey: n.ref.key, Status: StatusActive, ClientID: n.profile.ClientID}
	if f := n.slot.lastFailed(); f != nil {
		g.Status, g.Failure = f.Status, &f.Failure
		if err := n.tooSoon(g.Status, g.Failure, false); err != nil {
			return nil, err
		}
	}
	if h := n.slot.cur.Load(); h != nil {
		g.AccessToken, g.Obtained, g.Expiry = Secret(h.tok.AccessToken), h.obtained, h.tok.Expiry
	}

	fail := func(status Status, f Failure, cause error) error {
		g.Status, g.Failure = n.failure(g, status, f)
		n.slot.setFailed(stored(g))
		return n.failed(&Grant{}, g, cause)
	}
	var err error
	if n.target, err = n.engine.target(n.ctx, n.profile); err != nil {
		if errors.Is(err, ErrConfiguration) {
			return nil, fail(StatusNeedsConfiguration, Failure{Reason: ReasonConfiguration}, err)
		}
		return nil, fail(StatusFailing, Failure{Reason: ReasonUnreachable}, err)
	}
	if err := n.pace(g, time.Now().Add(waitForOthers)); err != nil {
		return nil, err
	}
	leave, err := n.enter()
	if err != nil {
		return nil, err
	}
	defer leave()
	ctx, cancel := context.WithTimeout(n.ctx, requestTimeout)
	defer cancel()
	a, err := tokenendpoint.Do(ctx, n.http, tokenRequest(n.profile, n.target, appForm(n.profile)))
	if err != nil {
		te := asTokenError(err)
		f, status := n.refusal(te, g.Failure)
		return nil, fail(status, f, te)
	}
	old := g.Clone()
	g.take(a, n.profile)
	g.Requested = n.profile.Scopes
	if !a.ScopeKnown {
		g.Scopes = n.profile.Scopes
	}
	if away != nil {
		n.writeLater(g, old)
	}
	n.logRenewed(old, g)
	return g, nil
}

func asTokenError(err error) *tokenendpoint.Error {
	var te *tokenendpoint.Error
	errors.As(err, &te)
	return te
}
