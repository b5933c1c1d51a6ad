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
	here    renewals  // by this process
	stored  renewals  // as the Store has them, by any
	alone   bool      // the Store had no other grant when it was last asked
	looked  time.Time // when that was
	used    time.Time
}

// A renewed says when a grant was renewed.
type renewed struct {
	user string
	at   time.Time
}

// A renewals has the latest renewals of different users, the latest first.
type renewals []renewed

func (rs *renewals) add(user string, at time.Time) {
	list := slices.DeleteFunc(*rs, func(r renewed) bool { return r.user == user && !r.at.After(at) })
	if !slices.ContainsFunc(list, func(r renewed) bool { return r.user == user }) {
		list = append(list, renewed{user, at})
		slices.SortFunc(list, func(a, b renewed) int { return b.at.Compare(a.at) })
	}
	*rs = list[:min(len(list), keptOfCompany)]
}

// latestBut returns when another grant than that user's was renewed, not after
// now; zero if that is not known.
func (rs renewals) latestBut(user string, now time.Time) time.Time {
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

// companyOf returns when another grant of the profile than that user's was
// last renewed, by this process and as far as the Store shows it, zero if that
// is not known; and whether there are others.
func (e *engine) companyOf(ctx context.Context, p *Profile, user string) (here, stored time.Time, others bool) {
	cs := &e.companies
	cs.mu.Lock()
	_, look := cs.of(p)
	cs.mu.Unlock()
	alone := true
	var list []*Grant
	if look {
		// What other processes renew shows in the Store: a few grants that
		// come after this one, and a few from the beginning.
		for _, after := range []string{user, ""} {
			ctx, cancel := context.WithTimeout(ctx, storeTimeout)
			page, err := e.store.ListGrants(ctx, p.ID, after, pageOfCompany)
			cancel()
			list = append(list, page...)
			alone = alone && err == nil // what cannot be read may be company
		}
	}

	cs.mu.Lock()
	defer cs.mu.Unlock()
	c, _ := cs.of(p)
	for _, g := range list {
		if g.User == user {
			continue
		}
		alone = false
		// At this version of the profile, and not by an authorization: that
		// is another kind of request. When it was is not known of one that
		// comes from the future, by a clock that is ahead.
		if g.Status == StatusActive && !g.Obtained.After(now()) && g.Obtained.After(p.Updated) && g.Obtained.Sub(g.Created) > minOfARenewal {
			c.stored.add(g.User, g.Obtained)
		}
	}
	if look {
		c.alone = alone
	}
	return c.here.latestBut(user, now()), c.stored.latestBut(user, now()), !c.alone
}

// judge says whose fault a refusal of a grant is that may be the grant's or
// the profile's: it returns the reason and the status by itself, or others.
//
// One without an OAuth error code may have been meant for this process alone,
// whose address a firewall has blocked: what other processes renew then says
// nothing.
func (n *renewal) judge(g *Grant, code string, reason Reason, status Status) (Reason, Status) {
	b := g.Failure
	if b != nil && (!judged(b.Reason) || b.ProfileVersion != n.profile.Version) {
		b = nil
	}
	if n.isApp() {
		if b != nil && b.isLong(now()) {
			status = StatusNeedsConfiguration
		}
		return reason, status
	}
	latest, stored, others := n.companyOf(n.ctx, n.profile, g.User)
	if b == nil {
		return reason, status
	}
	if code != "" && stored.After(latest) {
		latest = stored
	}
	n.company = latest.After(b.Last)
	switch {
	case b.Reason == ReasonSingled && !n.company && !others && now().Sub(b.Since) >= aloneFor:
		return reason, StatusNeedsReauthorization // its company has gone away
	case n.company || b.Reason == ReasonSingled:
		if n.company && b.Reason == ReasonSingled && b.isLong(now()) {
			return ReasonSingled, StatusNeedsReauthorization
		}
		return ReasonSingled, StatusFailing
	case !others && b.isLong(now()) && now().Sub(b.Since) >= aloneFor:
		return reason, StatusNeedsReauthorization
	case b.isLong(now()):
		return reason, StatusNeedsConfiguration
	}
	return reason, status
}
