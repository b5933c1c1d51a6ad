package authprofile

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/authprofile/authprofile/internal/foreign"
)

// What a keeper tells the application. What was told is written into the grant
// after Notify has returned: a process that dies between the two leaves it to
// another, which tells it again, with the same ID.

const (
	notifyTimeout = 30 * time.Second
	maxNotifyWait = time.Hour // between attempts to deliver a notice

	// If a provider ends a grant, its user is told. If it ends many while it
	// renews none, it may be at fault itself: then the administrator is told at
	// once, and users only if it lasts.
	manyEnded       = 5                // grants of a profile that have to end before that is supposed
	doubtFor        = 10 * time.Minute // that a user is not told while no other grant is renewed
	massEndingLasts = time.Hour        // after which users are told
	probeEvery      = time.Minute      // how often one of the ended grants is tried meanwhile

	lookAtFaultEvery = 10 * time.Minute // at a profile that needs an administrator
)

// lookAtStatus sees who has to be told of a grant's status.
func (s *shift) lookAtStatus(g *Grant, kp *keptProfile, now time.Time) error {
	switch {
	case !g.grantType().person:
		return s.tell(g, kp)
	case g.Status == StatusNeedsConfiguration:
		// The profile is told of once; the grant only remembers.
		if err := s.flag(g.ProfileID, g.Failure, now); err != nil {
			return err
		}
		if g.Told != "" {
			return s.postpone(g, now.Add(day)) // its user was told before, and is told when it recovers
		}
		return s.remember(g, kp, now)
	case g.Status == StatusActive && g.Told == StatusNeedsConfiguration:
		if err := s.unflag(g.ProfileID, isOfClient); err != nil {
			return err
		}
		return s.remember(g, kp, now)
	case g.Status == StatusNeedsReauthorization && g.Failure != nil && g.Failure.Reason == ReasonRevoked:
		switch v, again := s.judgeEnding(g, kp, now); v {
		case endingWait:
			return s.postpone(g, again)
		case endingProbe:
			return s.begin(g, kp, asking, s.probe)
		}
		return s.begin(g, kp, asking, s.askOnceMore)
	}
	return s.tell(g, kp)
}

// remember writes that there is nothing to tell of a grant's status, since it is
// told of its profile.
func (s *shift) remember(g *Grant, kp *keptProfile, now time.Time) error {
	c := g.Clone()
	noteTold(c, now)
	return s.postpone(c, s.nextOf(c, kp))
}

// noteTold notes that the status of g was told.
func noteTold(g *Grant, now time.Time) {
	g.Told = g.Status
	if g.Status == StatusActive {
		g.Told = ""
	}
	g.ToldAt = stamp(now)
}

// nextOf is when a grant or a record is due that was just looked at.
func (s *shift) nextOf(g *Grant, kp *keptProfile) time.Time {
	next, now := kp.upkeep.nextLook(g), s.lifetimes.now()
	if g.isRecord() {
		return nextOfRecord(g, next, now)
	}
	if !next.IsZero() {
		next = later(next, now.Add(doubtFor)) // it may have to be tried again, but not at once
	}
	if g.owes() {
		next = earlier(next, now.Add(noticeGrace))
	}
	return next
}

// tell tells of a grant's status.
func (s *shift) tell(g *Grant, kp *keptProfile) error {
	return s.claimToTell(g, func(c *Grant) { s.deliverStatus(c, kp) })
}

// claimToTell claims a grant and calls do in a goroutine, when there is room for
// another call of Notify.
func (s *shift) claimToTell(g *Grant, do func(c *Grant)) error {
	select {
	case s.untold <- struct{}{}:
	default:
		return s.postpone(g, s.turnOf(hostOfNotices))
	}
	c, err := s.claim(g)
	if err != nil {
		<-s.untold
		return err
	}
	s.wg.Go(func() {
		defer s.tasks.survive()
		defer func() { <-s.untold }()
		t := time.NewTimer(claimFor / 2)
		defer t.Stop()
		select {
		case s.telling <- struct{}{}:
			defer func() { <-s.telling }()
			do(c)
			return
		case <-t.C:
			s.dueAt(c, s.turnOf(hostOfNotices))
			return
		case <-s.ctx.Done():
		case <-s.tasks.closing:
		}
		s.dueAt(c, s.lifetimes.now()) // for another process
	})
	return nil
}

// deliverStatus tells of the status of a grant that is claimed.
func (s *shift) deliverStatus(g *Grant, kp *keptProfile) {
	n := Notice{GrantKey: g.GrantKey, Status: g.Status, Failure: clonedFailure(g.Failure)}
	if g.Status == StatusActive {
		n.Kind, n.At = NoticeRecovered, g.Obtained
		n.ID = noticeID(n.Kind, g.GrantKey, g.ToldAt)
	} else {
		n.Kind, n.At = NoticeNeedsUser, g.Obtained
		if g.Failure != nil {
			n.At = g.Failure.Since
		}
		if !g.grantType().person {
			n.Kind, n.Grants = NoticeNeedsAdministrator, 1
		}
		n.ID = noticeID(n.Kind, g.GrantKey, g.ToldAt, n.At)
	}
	s.deliver(g, kp, n, n.At, func(cur *Grant, now time.Time) {
		cur.Told, cur.ToldAt = n.Status, stamp(now)
		if n.Kind == NoticeRecovered {
			cur.Told = ""
		}
	})
}

func clonedFailure(f *Failure) *Failure {
	if f == nil {
		return nil
	}
	c := *f
	return &c
}

// noticeID identifies a notice by what it is about and what it was told at last:
// it is the same in all processes until it is delivered, and never again.
func noticeID(kind NoticeKind, key GrantKey, times ...time.Time) string {
	h := sha256.New()
	fmt.Fprintf(h, "%q %q %q", kind, key.ProfileID, key.User)
	for _, t := range times {
		fmt.Fprintf(h, " %d", t.UnixMilli())
	}
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil)[:18])
}

// warn tells of an end that comes, and reports whether that was due.
func (s *shift) warn(g *Grant, kp *keptProfile, now time.Time) (due bool, err error) {
	n := Notice{Kind: NoticeExpiring, GrantKey: g.GrantKey, Status: g.Status, At: g.Ends}
	if !g.grantType().person {
		n.Kind, n.Status, n.At = NoticeSecretExpiring, "", kp.profile.SecretExpires
	}
	if due, _ := warning(n.At, g.Warned, now); !due || g.Status == StatusNeedsReauthorization {
		return false, nil
	}
	if n.Kind == NoticeExpiring && !n.At.After(now) {
		// Whether it has lived on past its end shows when a token is asked for.
		c := g.Clone()
		c.Warned = stamp(now)
		return true, s.postpone(c, s.nextOf(c, kp))
	}
	n.ID = noticeID(n.Kind, g.GrantKey, n.At, g.Warned)
	_, since := warning(n.At, g.Warned, time.Time{})
	since = later(since, kp.profile.Updated) // which may have brought an end that is near
	return true, s.claimToTell(g, func(c *Grant) {
		s.deliver(c, kp, n, since, func(cur *Grant, now time.Time) { cur.Warned = stamp(now) })
	})
}

// deliver calls Notify for a grant that is claimed, and writes what was told, or
// when to try again. The longer there is something to tell, the longer it waits
// between attempts.
func (s *shift) deliver(g *Grant, kp *keptProfile, n Notice, since time.Time, told func(g *Grant, now time.Time)) {
	err := s.call(g, n)
	now := s.lifetimes.now()
	switch {
	case errors.Is(err, errStillTelling):
		s.events.noticeFailed(s.ctx, n) // and the claim ends by itself
		return
	case err != nil:
		wait := min(max(now.Sub(since)/2, postponed), maxNotifyWait)
		if s.isOver() {
			wait = 0 // another process may do better
		}
		s.dueAt(g, now.Add(wait))
		s.events.noticeFailed(s.ctx, n)
		return
	}
	s.settle(g, func(g *Grant) {
		told(g, now)
		g.Due = s.nextOf(g, kp)
	})
	s.events.noticeDelivered(s.ctx, n)
}

// errStillTelling: Maintain has ended, and Notify does not listen to its context.
// It may still deliver the notice.
var errStillTelling = errors.New("the call of Notify has not returned")

// call calls Notify, and holds the claim for as long as that takes, so that no
// other process calls it for the same notice meanwhile. It returns
// errStillTelling if Maintain ends first.
func (s *shift) call(g *Grant, n Notice) error {
	ctx, cancel := context.WithTimeout(s.ctx, notifyTimeout)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- foreign.Call(func() error { return s.notify(ctx, n) }) }()
	hold := time.NewTicker(claimFor / 3)
	defer hold.Stop()
	over := s.ctx.Done()
	var patience <-chan time.Time
	for {
		select {
		case err := <-ended:
			if p, ok := errors.AsType[*foreign.PanicError](err); ok {
				s.events.panicked(p)
			}
			return err
		case <-hold.C:
			s.dueAt(g, s.lifetimes.now().Add(claimFor))
		case <-over:
			over, patience = nil, time.After(foreign.Patience)
		case <-patience:
			return errStillTelling
		}
	}
}

// A verdict about a grant that the provider has ended.
type endingVerdict int

const (
	endingTell  endingVerdict = iota // ask the provider once more, and then tell its user
	endingWait                       // it may be the provider's fault
	endingProbe                      // the same, and this grant is the one that is tried
)

// judgeEnding says whether it is time to tell the user of a grant that the
// provider has ended, and if not, when to look again.
func (s *shift) judgeEnding(g *Grant, kp *keptProfile, now time.Time) (v endingVerdict, again time.Time) {
	others := s.companies.find(s.ctx, s.store, kp.profile, g.User, now)
	if later(others.here, others.stored).After(g.Failure.Last) {
		s.endings.forget(g.ProfileID)
		s.unflag(g.ProfileID, isOfProvider)
		return endingTell, time.Time{}
	}
	if !others.exists {
		return endingTell, time.Time{}
	}
	mono := time.Now()
	many := s.endings.note(g.GrantKey, mono) >= manyEnded
	since := g.Failure.Since
	// What the Store says comes first: another process may have seen them.
	if r, err := s.store.grant(s.ctx, recordKey(g.ProfileID)); err == nil && r.isRecord() && r.Failure != nil && isOfProvider(r.Failure) {
		many, since = true, r.Failure.Since
	}
	if !many {
		if now.Sub(since) >= doubtFor {
			return endingTell, time.Time{}
		}
		return endingWait, now.Add(postponed)
	}
	if now.Sub(since) >= massEndingLasts {
		return endingTell, time.Time{}
	}
	if err := s.flag(g.ProfileID, g.Failure, now); err != nil {
		return endingWait, now.Add(postponed)
	}
	if s.endings.takeProbe(g.ProfileID, mono) {
		return endingProbe, time.Time{}
	}
	return endingWait, now.Add(doubtFor/2 + rand.N(doubtFor/2))
}

// askOnceMore tells the user of a grant that the provider has ended, after it
// has said so once more: an error of its that has passed is no reason to bother
// a person.
func (s *shift) askOnceMore(g *Grant, kp *keptProfile) {
	select {
	case s.telling <- struct{}{}:
		defer func() { <-s.telling }()
	default: // the provider is not asked in vain
		s.dueAt(g, s.turnOf(hostOfNotices))
		return
	}
	if s.confirmEnding(g, kp) {
		s.deliverStatus(g, kp)
	}
}

// probe tries one of many grants that the provider has ended at once.
func (s *shift) probe(g *Grant, kp *keptProfile) {
	if s.confirmEnding(g, kp) {
		s.dueAt(g, s.lifetimes.now().Add(doubtFor))
		return
	}
	s.unflag(g.ProfileID, isOfProvider)
	s.endings.forget(g.ProfileID)
}

// confirmEnding asks the provider once more for a token of a grant that it has
// ended, and reports whether it says the same again. If not, it settles when the
// grant is due next.
func (s *shift) confirmEnding(g *Grant, kp *keptProfile) bool {
	err := s.renew(g, kp, asking)
	if s.ctx.Err() != nil && err != nil {
		return false // the claim ends by itself
	}
	cur, readErr := s.store.grant(s.ctx, g.GrantKey)
	if err != nil && readErr == nil && cur.owes() && cur.Status == g.Status {
		*g = *cur
		return true
	}
	s.settleRenewed(g, kp)
	return false
}

// An endings is what this process knows of grants that were ended at once.
type endings struct {
	mu       sync.Mutex
	profiles map[string]*ending
}

type ending struct {
	users  map[string]bool // some of those that were seen
	probed time.Time
	used   time.Time
}

// note notes that a grant was ended, and returns how many of its profile were,
// up to manyEnded.
func (es *endings) note(key GrantKey, now time.Time) int {
	es.mu.Lock()
	defer es.mu.Unlock()
	e := es.profiles[key.ProfileID]
	if e == nil {
		e = &ending{users: make(map[string]bool)}
		if es.profiles == nil {
			es.profiles = make(map[string]*ending)
		}
		es.profiles[key.ProfileID] = e
	}
	e.used = now
	if len(e.users) < manyEnded {
		e.users[key.User] = true
	}
	return len(e.users)
}

// takeProbe reports whether it is time to try one of the grants of a profile, and
// if so, notes that the caller does.
func (es *endings) takeProbe(profileID string, now time.Time) bool {
	es.mu.Lock()
	defer es.mu.Unlock()
	e := es.profiles[profileID]
	if e == nil || now.Sub(e.probed) < probeEvery {
		return false
	}
	e.probed = now
	return true
}

func (es *endings) forget(profileID string) {
	es.mu.Lock()
	defer es.mu.Unlock()
	delete(es.profiles, profileID)
}

// sweep forgets what is no longer looked at.
func (es *endings) sweep(now time.Time) {
	es.mu.Lock()
	defer es.mu.Unlock()
	for id, e := range es.profiles {
		if now.Sub(e.used) > massEndingLasts {
			delete(es.profiles, id)
		}
	}
}
