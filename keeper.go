package authprofile

import (
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"net/url"
	"sync"
	"time"

	"github.com/authprofile/authprofile/internal/catalog"
	"github.com/authprofile/authprofile/internal/foreign"
	"github.com/authprofile/authprofile/internal/tokencache"
)

const (
	lookEvery  = 30 * time.Second // how often the Store is asked what is due
	pageOfDue  = 200
	maxVisits  = 512              // grants that are renewed for want of use, or wait for it in memory
	maxTelling = 8                // calls of Notify at a time
	maxUntold  = 256              // grants that are being told of, or wait for it in memory
	claimFor   = 5 * time.Minute  // for how long a grant that is being looked at is left to the process that does
	postponed  = time.Minute      // what cannot be decided yet
	passedOver = 10 * time.Minute // what depends on a record that cannot be read
)

// A keeper does what Maintain is for: it looks at the grants that are due.
//
// Before it does something about one, it claims it: it moves its Due by
// compare-and-swap, so that no other process does the same meanwhile. What a
// process had claimed that has died is due again a few minutes later.
type keeper struct {
	store     bounded
	renewals  *renewals
	companies *companies
	lifetimes *lifetimes
	events    events
	tasks     *tasks
	notify    func(ctx context.Context, n Notice) error // nil: the application wants none

	pace    pacer
	endings endings
	visits  chan struct{} // has an element for each grant that is being renewed, or waits for it
	untold  chan struct{} // the same for what is to be told
	telling chan struct{} // has an element for each call of Notify
}

// A shift is one call of Maintain.
type shift struct {
	*keeper
	ctx      context.Context
	wg       sync.WaitGroup
	profiles map[string]*keptProfile // read in this pass
}

// A keptProfile is what a pass knows of a profile.
type keptProfile struct {
	profile *Profile
	upkeep  upkeep
	host    string // whose requests are paced together: that of the token endpoint, or else of the document which names it
	read    time.Time
	err     error
}

// run looks at what is due until ctx ends or the Manager is shut down. It
// returns the error of the last pass.
func (k *keeper) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s := &shift{keeper: k, ctx: ctx}
	defer s.wg.Wait()
	var err error
	for {
		e := foreign.Call(s.pass)
		if p, ok := errors.AsType[*foreign.PanicError](e); ok {
			k.events.panicked(p)
		}
		if ctx.Err() == nil {
			err = e
		}
		t := time.NewTimer(lookEvery - lookEvery/4 + rand.N(lookEvery/2))
		select {
		case <-t.C:
			continue
		case <-ctx.Done():
		case <-k.tasks.closing:
			cancel()
		}
		t.Stop()
		return err
	}
}

// pass looks at all that is due, page by page. It returns the last error.
func (s *shift) pass() (failed error) {
	defer func() {
		if failed != nil && s.ctx.Err() == nil {
			s.events.upkeepFailed(s.ctx, failed)
		}
	}()
	s.profiles = make(map[string]*keptProfile)
	now := time.Now()
	s.pace.sweep(now)
	s.endings.sweep(now)
	for {
		list, err := s.store.dueGrants(s.ctx, stamp(s.lifetimes.now()), pageOfDue)
		// Others look at the same page: begin elsewhere.
		rand.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
		if err != nil { // of the Store, or of some that cannot be read
			failed = err
		}
		moved := false
		for _, g := range list {
			if s.isOver() {
				return failed
			}
			err := s.look(g)
			if err != nil && !errors.Is(err, ErrConflict) { // by which another process has moved it
				failed = err
			}
			if _, unreadable := errors.AsType[*Error](err); unreadable {
				// Its profile, or what was told of that. What is due later must not
				// wait behind it.
				err = s.postpone(g, s.lifetimes.now().Add(passedOver))
			}
			moved = moved || err == nil
		}
		if len(list) < pageOfDue || !moved {
			return failed
		}
	}
}

func (s *shift) isOver() bool {
	select {
	case <-s.ctx.Done():
		return true
	case <-s.tasks.closing:
		return true
	default:
		return false
	}
}

// look sees what is to be done about a grant that is due, and begins it. Without
// an error it is no longer due; ErrConflict says that it has changed meanwhile.
func (s *shift) look(g *Grant) error {
	kp, now := s.profile(g.ProfileID), s.lifetimes.now()
	switch {
	case errors.Is(kp.err, ErrNotFound):
		// It was made while its profile was deleted.
		if _, err := s.store.profile(s.ctx, g.ProfileID); errors.Is(err, ErrNotFound) {
			return s.store.deleteGrant(s.ctx, g.GrantKey)
		}
		return s.postpone(g, now.Add(postponed))
	case kp.err != nil:
		return kp.err
	case g.grantType().person && kp.profile.Type != TypeUser:
		// Its type was changed: the grant is of no use unless that is undone.
		return s.postpone(g, now.Add(day))
	case g.isRecord():
		return s.lookAtRecord(g, kp, now)
	case g.owes() && s.notify != nil:
		return s.lookAtStatus(g, kp, now)
	case s.notify != nil:
		if due, err := s.warn(g, kp, now); due {
			return err
		}
	}
	idleAt := kp.upkeep.renewIdleAt(g)
	if !idleAt.IsZero() && !idleAt.After(now) {
		return s.begin(g, kp, keepingAlive, s.keepAlive)
	}
	next := kp.upkeep.nextLook(g)
	if s.notify == nil && (g.owes() || !next.IsZero() && !next.After(now)) {
		// What is not told now is told once there is a Notify.
		next = earlier(idleAt, now.Add(day))
	}
	return s.postpone(g, next)
}

// profile reads a profile, once in a while.
func (s *shift) profile(id string) *keptProfile {
	kp := s.profiles[id]
	if kp != nil && time.Since(kp.read) < lookEvery/2 {
		return kp
	}
	kp = &keptProfile{read: time.Now()}
	kp.profile, kp.err = s.store.profile(s.ctx, id)
	if kp.err == nil {
		kp.derive(s.renewals.providers.catalog)
	}
	if len(s.profiles) >= maxOfCompanies {
		clear(s.profiles)
	}
	s.profiles[id] = kp
	return kp
}

// derive sets what follows from the profile.
func (kp *keptProfile) derive(providers *catalog.Catalog) {
	address := cmp.Or(kp.profile.Endpoints.DiscoveryURL, kp.profile.Endpoints.TokenURL)
	template, err := providers.Lookup(string(kp.profile.Template))
	if err == nil {
		address = cmp.Or(template.DiscoveryURL, template.TokenURL)
	}
	kp.upkeep, kp.host = upkeepOf(kp.profile, template), address
	if u, err := url.Parse(address); err == nil {
		kp.host = u.Host
	}
}

// claim makes sure that no other process looks at g for a while.
func (s *shift) claim(g *Grant) (*Grant, error) {
	c := g.Clone()
	c.Due = stamp(s.lifetimes.now().Add(claimFor))
	return c, s.store.putGrant(s.ctx, c)
}

// postpone moves a grant's Due.
func (s *shift) postpone(g *Grant, to time.Time) error {
	c := g.Clone()
	c.Due = stamp(to)
	return s.store.putGrant(s.ctx, c)
}

// settle writes what has become of a grant that was claimed into what is there
// now.
func (s *shift) settle(g *Grant, change func(g *Grant)) {
	changed := func(cur *Grant) *Grant {
		c := cur.Clone()
		change(c)
		c.Due = stamp(c.Due)
		return c
	}
	// The time of the shift may be over: what was told must be written all the
	// same.
	_, err := s.store.swap(context.WithoutCancel(s.ctx), changed(g), writeRounds, func(cur *Grant) (put, keep *Grant, err error) {
		if cur == nil {
			return nil, nil, errDeleted
		}
		return changed(cur), nil, nil
	})
	if err != nil && !errors.Is(err, errDeleted) {
		s.events.upkeepFailed(s.ctx, err)
	}
}

// A purpose is what a request is for. Each has a queue of its own at a host, so
// that a person is not told hours late because so many grants are kept alive.
type purpose string

const (
	keepingAlive purpose = ""
	asking       purpose = "?" // whether a grant has really ended
)

func (kp *keptProfile) queue(why purpose) string { return string(why) + kp.host }

// dueAt is settle of nothing but when a grant is due.
func (s *shift) dueAt(g *Grant, at time.Time) { s.settle(g, func(g *Grant) { g.Due = at }) }

// turnOf is when it is the turn in a queue of what finds no room now.
func (s *shift) turnOf(queue string) time.Time {
	return s.lifetimes.now().Add(s.pace.putOff(queue, time.Now()))
}

// begin claims a grant and does what takes a request to its provider, in a
// goroutine, when it is the host's turn.
func (s *shift) begin(g *Grant, kp *keptProfile, why purpose, do func(g *Grant, kp *keptProfile)) error {
	now, queue := time.Now(), kp.queue(why)
	select {
	case s.visits <- struct{}{}:
	default:
		return s.postpone(g, s.turnOf(queue))
	}
	at, soon := s.pace.reserve(queue, now)
	if !soon {
		<-s.visits
		return s.postpone(g, s.turnOf(queue))
	}
	c, err := s.claim(g)
	if err != nil {
		<-s.visits
		return err
	}
	s.wg.Go(func() {
		defer s.tasks.survive()
		defer func() { <-s.visits }()
		t := time.NewTimer(at.Sub(now))
		defer t.Stop()
		select {
		case <-t.C:
			if wait := s.pace.pause(queue, time.Now()); wait > 0 {
				s.dueAt(c, s.lifetimes.now().Add(wait))
				return
			}
			do(c, kp)
			return
		case <-s.ctx.Done():
		case <-s.tasks.closing:
		}
		s.dueAt(c, s.lifetimes.now()) // for another process
	})
	return nil
}

// renew renews a grant through the same lease as all others do, unless it has
// another access token than g by now; for asking, though the provider has ended
// it.
func (s *shift) renew(g *Grant, kp *keptProfile, why purpose) error {
	key := tokencache.Key(g.GrantKey)
	e := s.renewals.cache.Peek(key)
	if e == nil {
		e = tokencache.NewEntry() // it is not in use here, and must not displace what is
	}
	f, _ := s.renewals.start(s.ctx, e, e.Current(), want{
		ref: newRef(g.GrantKey, kp.profile), idle: true, have: string(g.AccessToken), ended: why == asking,
	})
	select {
	case <-f.done:
	case <-s.ctx.Done():
		return s.ctx.Err()
	}
	s.noteHost(kp.queue(why), f.err)
	return f.err
}

// noteHost leaves a host alone for a while that does not answer, or says "not
// now".
func (s *shift) noteHost(queue string, err error) {
	failed, ok := errors.AsType[*grantError](err)
	if !ok {
		if err == nil {
			s.pace.succeeded(queue)
		}
		return
	}
	switch failed.Reason {
	case ReasonUnreachable, ReasonUnavailable, ReasonLost, ReasonUnreadable:
		now := time.Now()
		until := now
		if failed.Paced {
			until = now.Add(failed.Next.Sub(s.lifetimes.now()))
		}
		s.pace.failed(queue, now, until)
	default: // it has answered
		s.pace.succeeded(queue)
	}
}

// keepAlive renews a grant that was not renewed for long.
func (s *shift) keepAlive(g *Grant, kp *keptProfile) {
	if err := s.renew(g, kp, keepingAlive); s.ctx.Err() != nil && err != nil {
		return // what was sent is stored all the same; the claim ends by itself
	}
	s.settleRenewed(g, kp)
}

// settleRenewed settles when a grant is due for which its provider was asked,
// unless the renewal has.
func (s *shift) settleRenewed(g *Grant, kp *keptProfile) {
	cur, err := s.store.grant(context.WithoutCancel(s.ctx), g.GrantKey)
	if errors.Is(err, ErrNotFound) || err == nil && !cur.Due.Equal(g.Due) {
		return
	}
	if err == nil {
		g = cur
	}
	s.settle(g, func(g *Grant) { g.Due = s.nextOf(g, kp) })
}
