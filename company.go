package authprofile

import (
	"context"
	"slices"
	"sync"
	"time"
)

// A provider that refuses without a clear word may mean the grant, or the
// client, or nothing at all: a gateway in front of it may have said it. Which
// it is shows in the company: while other grants of the same profile are
// renewed, it is this grant. See Failure.

// companies is what is known of the company of grants that are refused: when
// others of their profile were renewed, at the same version of the profile. It
// holds only profiles with a grant that is refused; as long as there is none,
// it costs a renewal one look at an empty map, and the Store nothing.
type companies struct {
	mu     sync.Mutex
	known  map[string]*company
	looked time.Time // when those that are no longer needed were last removed
}

// A company is that of the refused grants of one profile.
type company struct {
	version int64     // of the profile
	here    recent    // by this process
	stored  recent    // as the Store has them, by any
	alone   bool      // the Store had no other grant when it was last asked
	looked  time.Time // when that was
	used    time.Time
}

// A renewed says when a grant was renewed.
type renewed struct {
	user string
	at   time.Time
}

// A recent has the latest renewals of different users, the latest first.
type recent []renewed

func (rs *recent) add(user string, at time.Time) {
	list := slices.DeleteFunc(*rs, func(r renewed) bool { return r.user == user && !r.at.After(at) })
	if !slices.ContainsFunc(list, func(r renewed) bool { return r.user == user }) {
		list = append(list, renewed{user, at})
		slices.SortFunc(list, func(a, b renewed) int { return b.at.Compare(a.at) })
	}
	*rs = list[:min(len(list), keptOfCompany)]
}

// latestBut returns when another grant than that user's was renewed, not after
// now; zero if that is not known.
func (rs recent) latestBut(user string, now time.Time) time.Time {
	for _, r := range rs {
		if r.user != user && !r.at.After(now) {
			return r.at
		}
	}
	return time.Time{}
}

const (
	lookAtCompany  = time.Minute    // how often the Store is asked
	forgetCompany  = 24 * time.Hour // after the last refusal
	pageOfCompany  = 20
	keptOfCompany  = 2 // the latest, and one more in case that is who asks
	minOfARenewal  = time.Minute
	maxOfCompanies = 10_000
)

// note notes that a grant was renewed.
func (cs *companies) note(key GrantKey, version int64, at time.Time) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if c := cs.known[key.ProfileID]; c != nil && c.version == version {
		c.here.add(key.User, at)
	}
}

// of returns the company of a profile's grants, made at the first refusal. The
// Store has to be asked if look is true.
func (cs *companies) of(p *Profile) (c *company, look bool) {
	now := time.Now()
	if cs.known == nil {
		cs.known = make(map[string]*company)
	}
	if now.Sub(cs.looked) > time.Hour || len(cs.known) >= maxOfCompanies {
		for id, c := range cs.known {
			if now.Sub(c.used) > forgetCompany || len(cs.known) >= maxOfCompanies {
				delete(cs.known, id)
			}
		}
		cs.looked = now
	}
	c = cs.known[p.ID]
	if c == nil || c.version != p.Version {
		c = &company{version: p.Version}
		cs.known[p.ID] = c
	}
	c.used = now
	if now.Sub(c.looked) >= lookAtCompany {
		c.looked = now
		return c, true
	}
	return c, false
}

// A companion says when another grant of a profile was last renewed, zero if
// that is not known.
type companion struct {
	here   time.Time // by this process
	stored time.Time // as far as the Store shows it
	exists bool      // there are others
}

// find finds out about the company of a user's grant.
func (cs *companies) find(ctx context.Context, store bounded, p *Profile, user string, now time.Time) companion {
	cs.mu.Lock()
	_, look := cs.of(p)
	cs.mu.Unlock()
	alone := true
	var list []*Grant
	if look {
		// What other processes renew shows in the Store: a few grants that
		// come after this one, and a few from the beginning.
		for _, after := range []GrantKey{{p.ID, user}, {}} {
			page, err := store.listGrants(ctx, GrantFilter{ProfileID: p.ID}, after, pageOfCompany)
			list = append(list, page...)
			alone = alone && err == nil // what cannot be read may be company
		}
	}

	cs.mu.Lock()
	defer cs.mu.Unlock()
	c, _ := cs.of(p)
	for _, g := range list {
		if g.User == user || g.isRecord() {
			continue
		}
		alone = false
		// At this version of the profile, and not by an authorization: that
		// is another kind of request. When it was is not known of one that
		// comes from the future, by a clock that is ahead.
		if g.Status == StatusActive && !g.Obtained.After(now) && g.Obtained.After(p.Updated) && g.Obtained.Sub(later(g.Authorized, g.Created)) > minOfARenewal {
			c.stored.add(g.User, g.Obtained)
		}
	}
	if look {
		c.alone = alone
	}
	return companion{c.here.latestBut(user, now), c.stored.latestBut(user, now), !c.alone}
}

// judge says whose fault a refusal of g is that may be the grant's or the
// profile's: it returns the reason and the status of f by itself, or others;
// and whether another grant was renewed since this one last failed.
//
// A refusal without an OAuth error code may have been meant for this process
// alone, whose address a firewall has blocked: what other processes renew then
// says nothing.
func (cs *companies) judge(ctx context.Context, store bounded, p *Profile, g *Grant, f Failure, status Status, now time.Time) (reason Reason, judged Status, company bool) {
	b := g.Failure
	if b != nil && (!mayBeJudged(b.Reason) || b.ProfileVersion != p.Version) {
		b = nil
	}
	if !g.grantType().person {
		if b != nil && b.isLong(now) {
			status = StatusNeedsConfiguration
		}
		return f.Reason, status, false
	}
	others := cs.find(ctx, store, p, g.User, now)
	if b == nil {
		return f.Reason, status, false
	}
	latest := others.here
	if f.Code != "" && others.stored.After(latest) {
		latest = others.stored
	}
	company = latest.After(b.Last)
	isLong := b.isLong(now)
	isVeryLong := now.Sub(b.Since) >= aloneFor
	singled := b.Reason == ReasonSingled
	switch {
	case singled && !company && !others.exists && isVeryLong:
		return f.Reason, StatusNeedsReauthorization, company // its company has gone away
	case singled && company && isLong:
		return ReasonSingled, StatusNeedsReauthorization, company
	case singled || company:
		return ReasonSingled, StatusFailing, company
	case !others.exists && isLong && isVeryLong:
		return f.Reason, StatusNeedsReauthorization, company
	case isLong:
		return f.Reason, StatusNeedsConfiguration, company
	}
	return f.Reason, status, company
}
