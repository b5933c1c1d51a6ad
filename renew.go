package authprofile

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/oauth2"

	"github.com/authprofile/authprofile/internal/foreign"
	"github.com/authprofile/authprofile/internal/idtoken"
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

	// errRefusedAgain: the token that was obtained in place of a refused one
	// was refused too, or was the same.
	errRefusedAgain = errors.New("an API refuses the latest token too, and it is too soon to obtain another")
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
		if rejected != "" && s.recall().refusals.known(rejected, e.now()) {
			return nil, errRefusedAgain
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
		case f.err == nil && f.rejected == rejected:
			return nil, errRefusedAgain // the provider has given the same one again
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
		n.have, n.ended = h.tok.AccessToken, e.now().UnixNano() >= h.end
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
	if s := e.cache.peek(key); s != nil {
		s.forgetWritten()
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
	ended    bool            // it is no longer valid
	rejected string          // the access token that an API refuses

	profile     *Profile
	target      *provider
	company     bool   // another grant of the profile was renewed since this one last failed
	slow        int    // how often the Store was too slow to hold a lease in it
	entered     bool   // has a place among the requests to the provider
	interrupted bool   // an earlier request with this refresh token may have been answered
	outstanding Secret // a refresh token that was sent, and whose answer may come yet

	events []func() // to be logged once the result is there
}

// fly runs the renewal, and gives its result to those who wait, however it
// ends: it calls code that is not ours.
func (n *renewal) fly(f *result) {
	g, err := (*Grant)(nil), foreign.ErrGoexit
	defer func() {
		if p := foreign.Recovered(recover()); p != nil {
			err = p
			n.report(func() { n.logPanic(p) })
		}
		n.land(f, g, err)
		n.publish()
	}()
	g, err = n.run()
}

// report keeps a log record for later. A log handler may itself ask for a
// token, of this very grant: it is called when the result is there for all.
func (n *renewal) report(event func()) { n.events = append(n.events, event) }

// publish logs what was kept.
func (n *renewal) publish() {
	defer n.survive()
	for _, event := range n.events {
		event()
	}
}

// land puts the result of the renewal where those who wait find it.
func (n *renewal) land(f *result, g *Grant, err error) {
	if err == nil {
		f.h = n.hold(g)
		if n.rejected != "" && f.h.tok.AccessToken == n.rejected {
			n.slot.note(func(m *memo) { m.refusals.again(n.rejected, n.now()) })
		}
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
		if h := s.cur.Load(); h != nil && h.end == never && isDeleted(err) {
			s.set(nil) // else it would be served for ever
		}
		next := now().Add(time.Minute) // to see whether a person has helped
		var failed *failedError
		if errors.As(err, &failed) && !failed.Next.IsZero() {
			next = failed.Next
		} else if h := s.cur.Load(); failed == nil && (h == nil || h.end != never) {
			next = now().Add(backoff(1)) // before the token ends
		}
		s.nextTry.Store(unixNano(next))
	}
	s.flying.Store(false)
	n.slot.flying.Store(false)
	delete(n.flights, n.ref.key)
	close(f.done)
}

// isDeleted reports whether a renewal has found that its grant, or the profile,
// is no longer in the Store.
func isDeleted(err error) bool { return errors.Is(err, ErrNotFound) || errors.Is(err, errNoGrant) }

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

		if again, err := n.restore(g); err != nil {
			return nil, err
		} else if again {
			continue
		}
		if n.adoptable(g) {
			return g, nil
		}
		if err := n.needsPerson(g); errors.Is(err, errOvertaken) {
			continue
		} else if err != nil {
			return nil, err
		}
		if g.RefreshToken == "" && !n.isApp() && !n.need {
			return g, nil // it is still there: that was what had to be looked at
		}

		n.interrupted = g.Failure != nil && g.Failure.Reason == ReasonLost ||
			n.outstanding != "" && n.outstanding == g.RefreshToken
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
	if access == n.rejected || access == n.have && n.ended {
		return false
	}
	return n.need && n.rejected == "" || access != n.have
}

// remember keeps what was stored in place of a grant with another refresh
// token, in case the Store forgets it.
func (e *engine) remember(s *slot, before, g *Grant) {
	if g.User == "" || before.RefreshToken == "" || g.RefreshToken == before.RefreshToken {
		return
	}
	w := &written{before: sha256.Sum256([]byte(before.RefreshToken)), grant: g}
	s.note(func(m *memo) { m.written = w })
}

// restore stores once more what this process has written before, if the Store
// has gone back to what was there earlier: a database that has failed over may
// have lost what it had acknowledged. To send the refresh token that is there
// would be to spend it twice. It reports whether it has.
func (n *renewal) restore(g *Grant) (restored bool, err error) {
	w := n.slot.recall().written
	if w == nil || g.RefreshToken == w.grant.RefreshToken || sha256.Sum256([]byte(g.RefreshToken)) != w.before {
		return false, nil
	}
	if g.Obtained.After(w.grant.Obtained) {
		return false, nil // a later authorization has brought the same refresh token again
	}
	n.report(func() {
		n.log.LogAttrs(n.ctx, slog.LevelError, "authprofile: the store has lost a renewed token, which is stored again", slog.String("profile", g.ProfileID))
	})
	_, err = n.write(newChange(g, func(g *Grant) {
		version, created, updated := g.Version, g.Created, g.Updated
		*g = *w.grant.Clone()
		g.Version, g.Created, g.Updated, g.Lease = version, created, updated, nil
	}))
	if errors.Is(err, errGone) {
		err = nil
	}
	return err == nil, err
}

// needsPerson returns an error if only the user can help, without a look at
// the profile.
func (n *renewal) needsPerson(g *Grant) error {
	switch {
	case n.isApp():
		return nil
	case g.Status == StatusNeedsReauthorization && !curable(g.Failure):
		return stored(g)
	case g.RefreshToken == "" && g.usable(n.now()) && !n.need:
		return nil
	case g.RefreshToken == "" && g.usable(n.now()):
		// An API may refuse it today and accept it tomorrow: nothing is noted.
		return &failedError{Status: StatusNeedsReauthorization, Failure: Failure{Reason: ReasonExpired}}
	case g.RefreshToken == "":
		return n.fail(g, StatusNeedsReauthorization, Failure{Reason: ReasonExpired}, nil)
	}
	return nil
}

// curable reports whether a change of the profile may put an end to a failure:
// to all but those by which the provider has ended the grant, or nothing is
// left to renew it with.
func curable(f *Failure) bool {
	return f != nil && f.Reason != ReasonRevoked && f.Reason != ReasonInterrupted && f.Reason != ReasonExpired
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
	if err := n.tooSoon(g, g.usable(n.now())); err != nil {
		return err
	}

	n.target, err = n.resolve(n.ctx, p)
	if err != nil {
		f := Failure{Reason: ReasonUnreachable}
		status := StatusFailing
		if errors.Is(err, ErrConfiguration) {
			f.Reason, status = ReasonConfiguration, StatusNeedsConfiguration
		}
		return n.fail(g, status, f, err)
	}
	if !n.target.issued(g, p) {
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
func (n *renewal) tooSoon(g *Grant, usable bool) error {
	status, f := g.Status, g.Failure
	switch {
	case f == nil, f.Reason == ReasonOtherClient:
		return nil
	case f.ProfileVersion != n.profile.Version:
		// The change may be what the grant waits for; but a provider that has
		// said when this client may come back does not wait for it.
		busy := f.Paced && (f.Reason == ReasonUnavailable || f.Reason == ReasonLost)
		if !busy || g.ClientID != n.profile.ClientID {
			return nil
		}
	case status == StatusNeedsReauthorization:
		return &failedError{Status: status, Failure: *f}
	}
	now, next := n.now(), f.Next
	if n.need && !usable && !f.Paced && status == StatusFailing && !judged(f.Reason) {
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

// pace delays a renewal that is forced by an API's refusal: many callers with
// as many refusals are not to become as many requests, nor is an API that
// refuses whatever it is given.
func (n *renewal) pace(g *Grant, giveUp time.Time) error {
	if f := g.Failure; f != nil && f.ProfileVersion == n.profile.Version && f.Last.After(n.now().Add(shortestBackoff)) {
		// It was noted by a clock that is ahead of ours, so that Next says
		// nothing.
		if err := n.pause(shortestBackoff, giveUp); err != nil {
			return err
		}
	}
	if n.rejected == "" || string(g.AccessToken) != n.rejected || !g.usable(n.now()) {
		return nil // or it has ended, and is replaced for those too who do not refuse it
	}
	var wait time.Duration
	n.slot.note(func(m *memo) { wait = m.refusals.wait(n.rejected, g.Obtained, n.now()) })
	switch {
	case wait <= 0:
		return nil
	case wait > shortestBackoff:
		return errRefusedAgain
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
	if te := asTokenError(err); te != nil && (brokeBefore(te) || te.Class == tokenendpoint.Lost && (!n.interrupted || n.isApp())) && n.extendLease(n.ctx, l) == nil {
		// If the answer is lost, then with it perhaps the successor of the
		// refresh token. Within their period of grace, providers that rotate
		// accept the old one again: at once, or never.
		n.interrupted = n.interrupted || te.Class == tokenendpoint.Lost
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
func tokenRequest(p *Profile, t *provider, form url.Values) *tokenendpoint.Request {
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
	old, p, t := l.grant, n.profile, n.target
	c := newChange(old, func(g *Grant) {
		g.Lease = nil
		if g.User != "" && g.AccessToken != old.AccessToken && a.Start.Before(g.Obtained) {
			// The person has authorized anew meanwhile, and has brought a later
			// access token: only the refresh token is news.
			g.takeRefreshToken(a)
			return
		}
		g.take(a, p)
		g.Issuer = t.issuer.Recorded(g.Issuer)
	})

	g, err := n.write(c)
	if err != nil {
		return nil, err
	}
	if a.IDToken != "" && old.Subject != "" && string(g.AccessToken) == a.AccessToken {
		err := idtoken.VerifyRenewal(n.ctx, a.IDToken, t.issuer, t.keys, idtoken.Renewal{
			ClientID: p.ClientID, Nonce: old.Nonce, Issuer: t.issuer.Claimed(old.Issuer), Subject: old.Subject,
		})
		if err != nil {
			// The refresh token is stored, and stays. The access token may be
			// another person's, and goes.
			failed := n.failing(g, StatusFailing, Failure{Reason: ReasonIDToken}, func(g *Grant) { g.AccessToken = "" })
			n.withdraw(c, failed)
			err = n.recordFailure(failed, err)
			if errors.Is(err, errOvertaken) {
				n.rejected = a.AccessToken // it may be there still, and is not to be adopted
			}
			return nil, err
		}
	}
	if lost := missing(g.Requested, g.Scopes); len(lost) > 0 && len(missing(old.Scopes, g.Scopes)) > 0 {
		n.report(func() {
			n.log.LogAttrs(n.ctx, slog.LevelWarn, "authprofile: fewer scopes granted than before", slog.String("profile", g.ProfileID))
		})
	}
	n.remember(n.slot, old, g)
	n.companies.note(g.GrantKey, p.Version, now())
	n.logRenewed(old, g)
	return g, nil
}

func (n *renewal) logRenewed(old, g *Grant) {
	kind := n.profile.Type
	n.report(func() {
		n.log.LogAttrs(n.ctx, slog.LevelInfo, "authprofile: token renewed",
			slog.String("profile", g.ProfileID), slog.String("type", string(kind)), slog.Time("expiry", g.Expiry))
		n.logStatus(g.ProfileID, old.Status, g.Status)
	})
}

func (e *engine) logStatus(profileID string, before, after Status) {
	if before != after && before != "" {
		e.log.LogAttrs(context.Background(), slog.LevelInfo, "authprofile: status changed",
			slog.String("profile", profileID), slog.String("from", string(before)), slog.String("to", string(after)))
	}
}

// take puts an answer into the grant.
func (g *Grant) take(a *tokenendpoint.Answer, p *Profile) {
	g.takeRefreshToken(a)
	g.AccessToken = Secret(a.AccessToken)
	g.TokenType = a.TokenType
	g.Obtained = a.Start.UTC().Truncate(time.Millisecond)
	g.Expiry = time.Time{}
	if a.LifetimeKnown {
		g.Expiry = g.Obtained.Add(a.Lifetime)
	}
	if p.Type == TypeApp { // asks for what the profile says now; a user has consented to what is there
		g.Requested, g.Scopes = p.Scopes, p.Scopes
	}
	if a.ScopeKnown {
		g.Scopes = a.Scopes
	}
	g.ClientID = p.ClientID
	g.addExtra(a.Extra)
	g.Status, g.Failure = StatusActive, nil
}

func (g *Grant) takeRefreshToken(a *tokenendpoint.Answer) {
	if a.RefreshToken != "" {
		g.RefreshToken = Secret(a.RefreshToken)
		g.RefreshExpiry = time.Time{}
	}
	if a.RefreshLifetime > 0 {
		g.RefreshExpiry = a.Start.Add(a.RefreshLifetime).UTC().Truncate(time.Millisecond)
	}
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
	if te.Class == tokenendpoint.InvalidGrant && !n.isApp() {
		cur, err := n.readGrant(n.ctx, g.GrantKey)
		if err == nil && cur.RefreshToken != g.RefreshToken {
			return nil, true, nil // another process moved it on
		}
	}
	f, status := n.refusal(te, g)
	if salvaged != nil && salvaged.RefreshToken != "" && salvaged.RefreshToken != string(g.RefreshToken) {
		// The answer is of no use, but its refresh token is the only one left.
		c := n.failing(g, status, f, func(g *Grant) { g.RefreshToken = Secret(salvaged.RefreshToken) })
		next, err := n.write(c)
		if errors.Is(err, errGone) {
			return nil, true, nil
		} else if err != nil {
			return nil, false, err
		}
		n.remember(n.slot, g, next)
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

// refusal makes a Failure of what the provider has said, or has not.
func (n *renewal) refusal(te *tokenendpoint.Error, g *Grant) (Failure, Status) {
	f := Failure{Code: te.Code, Description: te.Description, HTTPStatus: te.HTTPStatus}
	if te.RetryAfter > 0 {
		f.Next, f.Paced = now().Add(te.RetryAfter), true
	}
	var status Status
	f.Reason, status = meaning(te)
	switch {
	case f.Reason == ReasonRevoked && n.interrupted:
		f.Reason = ReasonInterrupted
	case te.HTTPStatus != 0 && judged(f.Reason):
		f.Reason, status = n.judge(g, f.Code, f.Reason, status)
	}
	if n.isApp() && status == StatusNeedsReauthorization {
		status = StatusNeedsConfiguration // there is no person to ask
	}
	return f, status
}

// nextFailure completes a Failure with what came before it and what comes next.
func (n *renewal) nextFailure(g *Grant, status Status, f Failure) (Status, *Failure) {
	f.Since, f.Last, f.Attempts = now(), now(), 1
	if n.profile != nil {
		f.ProfileVersion = n.profile.Version
	}
	if b := g.Failure; b != nil {
		f.follow(b, n.company)
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
	case judged(f.Reason) && status == StatusFailing:
		// It may end in asking a person, so it gets time to pass by itself.
		// Attempts that do not count, since there is no company, become rarer too.
		delay = max(2*backoff(2*f.Attempts), min(f.Last.Sub(f.Since)/2, 2*longestBackoff))
	case status == StatusNeedsConfiguration:
		delay = 2 * delay
	}
	if now := n.now(); g.usable(now) && !g.Expiry.IsZero() && !f.Paced {
		// Not past the end of the token that is still good.
		delay = min(delay, max(shortestBackoff, g.usableUntil(now).Sub(now)/3))
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
	return n.recordFailure(n.failing(g, status, f, nil), cause)
}

// failing is a failure as a change of g, together with what else it changes, if
// that is not nil.
func (n *renewal) failing(g *Grant, status Status, f Failure, also func(*Grant)) *change {
	status, failure := n.nextFailure(g, status, f)
	return newChange(g, func(g *Grant) {
		g.Lease = nil
		g.Status, g.Failure = status, failure
		if also != nil {
			also(g)
		}
	})
}

func (n *renewal) recordFailure(c *change, cause error) error {
	failed, err := n.record(c)
	if err != nil {
		return err
	}
	n.slot.setFailed(stored(failed))
	return n.failed(c.old, failed, cause)
}

// failed logs a failure and returns it as an error.
func (n *renewal) failed(old, g *Grant, cause error) error {
	level := slog.LevelWarn
	if g.Status != StatusFailing {
		level = slog.LevelError
	}
	f := *g.Failure
	n.report(func() {
		n.log.LogAttrs(n.ctx, level, "authprofile: renewal failed",
			slog.String("profile", g.ProfileID), slog.String("status", string(g.Status)), slog.String("reason", string(f.Reason)),
			slog.String("code", f.Code), slog.Int("http_status", f.HTTPStatus),
			slog.Int("attempts", f.Attempts), slog.Time("next", f.Next))
		n.logStatus(g.ProfileID, old.Status, g.Status)
	})
	return &failedError{Status: g.Status, Failure: f, cause: cause}
}

// alone renews an app profile without the Store: one that was never saved, or
// one whose Store is away for the reason given.
func (n *renewal) alone(away error) (*Grant, error) {
	n.profile = n.ref.profile.Load()
	if away != nil {
		id := n.profile.ID
		n.report(func() {
			n.log.LogAttrs(n.ctx, slog.LevelWarn, "authprofile: renewing without the store", slog.String("profile", id))
		})
	} else if err := n.profile.Validate(); err != nil {
		return nil, err
	}
	g := &Grant{GrantKey: n.ref.key, Status: StatusActive, ClientID: n.profile.ClientID}
	if f := n.slot.recall().failed; f != nil {
		g.Status, g.Failure = f.Status, &f.Failure
		if err := n.tooSoon(g, false); err != nil {
			return nil, err
		}
	}
	if h := n.slot.cur.Load(); h != nil {
		g.AccessToken, g.Obtained, g.Expiry = Secret(h.tok.AccessToken), h.obtained, h.tok.Expiry
	}

	fail := func(status Status, f Failure, cause error) error {
		c := n.failing(g, status, f, nil)
		n.slot.setFailed(stored(c.g))
		return n.failed(&Grant{}, c.g, cause)
	}
	var err error
	if n.target, err = n.resolve(n.ctx, n.profile); err != nil {
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
	request := func() (*tokenendpoint.Answer, error) {
		ctx, cancel := transport.WithTimeout(n.ctx, requestTimeout)
		defer cancel()
		return doWithin(ctx, n.http, tokenRequest(n.profile, n.target, appForm(n.profile)))
	}
	a, err := request()
	if te := asTokenError(err); te != nil && (brokeBefore(te) || te.Class == tokenendpoint.Lost) {
		a, err = request() // nothing is spent by asking twice
	}
	if err != nil {
		te := asTokenError(err)
		f, status := n.refusal(te, g)
		return nil, fail(status, f, te)
	}
	p, t := n.profile, n.target
	c := newChange(g, func(g *Grant) {
		g.Lease = nil
		g.take(a, p)
		g.Issuer = t.issuer.Default()
	})
	if away != nil {
		n.writeLater(c)
	}
	n.logRenewed(g, c.g)
	return c.g, nil
}

// doWithin is tokenendpoint.Do that does not wait for a transport which does
// not listen to ctx.
func doWithin(ctx context.Context, hc *http.Client, req *tokenendpoint.Request) (*tokenendpoint.Answer, error) {
	var a *tokenendpoint.Answer
	err := foreign.CallWithin(ctx, func() (err error) {
		a, err = tokenendpoint.Do(ctx, hc, req)
		return err
	})
	if err == nil {
		return a, nil
	}
	if asTokenError(err) == nil {
		err = &tokenendpoint.Error{Class: tokenendpoint.Lost, Err: err}
	}
	return nil, err
}

// brokeBefore reports whether a connection broke before the form was sent over
// it. That happens to one that was kept open and is no longer; another one may
// be good.
func brokeBefore(te *tokenendpoint.Error) bool {
	if te.Class != tokenendpoint.Unsent || errors.Is(te, errLeaseOver) || errors.Is(te, errStoreSlow) {
		return false
	}
	op, ok := errors.AsType[*net.OpError](te)
	return errors.Is(te, io.EOF) || errors.Is(te, io.ErrUnexpectedEOF) || ok && op.Op != "dial"
}

func asTokenError(err error) *tokenendpoint.Error {
	var te *tokenendpoint.Error
	errors.As(err, &te)
	return te
}
