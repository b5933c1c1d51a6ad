package authprofile

import (
	"context"
	"errors"
	"time"
)

// A record is what was told of a profile, and what is to be told. It is kept
// like a grant, with no user and no status; an app profile's grant is its
// record, too. Failure is why the administrator is needed, and Obtained since
// when that is so or is over.

func recordKey(profileID string) GrantKey { return GrantKey{ProfileID: profileID} }

// isOfProvider reports whether a profile needs its administrator since its
// provider has ended many grants, and isOfClient whether it does for any other
// reason.
func isOfProvider(f *Failure) bool { return f.Reason == ReasonRevoked }

func isOfClient(f *Failure) bool { return !isOfProvider(f) }

// changeRecord changes the record of a profile, and makes it if there is none.
// change reports whether there is anything to write.
func (b bounded) changeRecord(ctx context.Context, profileID string, change func(r *Grant) bool) error {
	for range writeRounds {
		r, err := b.grant(ctx, recordKey(profileID))
		switch {
		case errors.Is(err, ErrNotFound):
			r = &Grant{GrantKey: recordKey(profileID)}
		case err != nil:
			return err
		}
		if !change(r) {
			return nil
		}
		if err := b.putGrant(ctx, r); !errors.Is(err, ErrConflict) {
			return err
		}
	}
	return ErrConflict
}

// flag notes that a profile needs its administrator.
func (s *shift) flag(profileID string, f *Failure, now time.Time) error {
	return s.store.changeRecord(s.ctx, profileID, func(r *Grant) bool {
		if r.isRecord() && r.Failure != nil && (isOfClient(r.Failure) || f == nil || isOfProvider(f)) {
			return false // what the administrator can mend comes before what may pass by itself
		}
		if !r.isRecord() { // the grant of what was an app profile before
			*r = Grant{GrantKey: r.GrantKey, Version: r.Version}
		}
		if r.Failure = clonedFailure(f); f == nil {
			r.Failure = &Failure{Since: stamp(now), Last: stamp(now)} // the grant does not say why
		}
		r.Failure.Next, r.Failure.Paced = time.Time{}, false
		r.Obtained, r.Due = stamp(now), stamp(now)
		return true
	})
}

// unflag notes that a profile no longer needs its administrator for such a
// reason.
func (s *shift) unflag(profileID string, reason func(f *Failure) bool) error {
	now := stamp(s.lifetimes.now())
	return s.store.changeRecord(s.ctx, profileID, func(r *Grant) bool {
		if !r.isRecord() || r.Failure == nil || !reason(r.Failure) {
			return false
		}
		r.Failure, r.Obtained, r.Due = nil, now, now
		return true
	})
}

// recordOwes reports whether what a record says was not told.
func recordOwes(r *Grant) bool {
	if r.Failure == nil {
		return r.Told != ""
	}
	return r.Told != faultStatus(r.Failure)
}

// lookAtRecord sees what is to be told of a profile.
func (s *shift) lookAtRecord(r *Grant, kp *keptProfile, now time.Time) error {
	switch {
	case s.notify == nil:
		return s.postpone(r, now.Add(day))
	case recordOwes(r):
		return s.claimToTell(r, func(c *Grant) { s.deliverRecord(c, kp) })
	}
	if due, err := s.warn(r, kp, now); due {
		return err
	}
	if r.Failure == nil {
		return s.postpone(r, kp.upkeep.nextLook(r))
	}
	over, err := s.isFaultOver(r, kp, now)
	if err != nil {
		return err
	}
	if over {
		return s.unflag(r.ProfileID, func(*Failure) bool { return true })
	}
	return s.postpone(r, s.nextOf(r, kp))
}

// nextOfRecord is nextOf a record. next is when its secret's end is due.
func nextOfRecord(r *Grant, next, now time.Time) time.Time {
	switch {
	case recordOwes(r):
		return earlier(next, now.Add(noticeGrace))
	case r.Failure != nil:
		return earlier(next, now.Add(lookAtFaultEvery))
	}
	return next
}

// isFaultOver reports whether a profile that has needed its administrator no
// longer does, though none of its grants has said so.
func (s *shift) isFaultOver(r *Grant, kp *keptProfile, now time.Time) (bool, error) {
	status := faultStatus(r.Failure)
	if status == StatusNeedsReauthorization {
		others := s.companies.find(s.ctx, s.store, kp.profile, "", now)
		if later(others.here, others.stored).After(r.Failure.Last) {
			return true, nil
		}
	}
	counts, err := s.store.countGrants(s.ctx, r.ProfileID)
	return counts[status] == 0, err
}

// faultStatus is the status of the grants for which a profile needs its
// administrator.
func faultStatus(f *Failure) Status {
	if isOfProvider(f) {
		return StatusNeedsReauthorization
	}
	return StatusNeedsConfiguration
}

// deliverRecord tells of a profile whose record is claimed.
func (s *shift) deliverRecord(r *Grant, kp *keptProfile) {
	n := Notice{Kind: NoticeRecovered, GrantKey: r.GrantKey, Status: StatusActive, At: r.Obtained}
	n.ID = noticeID(n.Kind, r.GrantKey, r.ToldAt)
	var told Status
	if f := r.Failure; f != nil {
		told = faultStatus(f)
		n.Kind, n.Status, n.Failure, n.At = NoticeNeedsAdministrator, told, clonedFailure(f), f.Since
		n.ID = noticeID(n.Kind, r.GrantKey, r.ToldAt, f.Since)
		counts, err := s.store.countGrants(s.ctx, r.ProfileID)
		if err != nil {
			s.dueAt(r, s.lifetimes.now().Add(postponed))
			return
		}
		n.Grants = int(counts[told])
	}
	s.deliver(r, kp, n, r.Obtained, func(cur *Grant, now time.Time) { cur.Told, cur.ToldAt = told, stamp(now) })
}

// remind makes sure that Maintain looks at a profile that is about to be saved
// before its client secret ends. It comes before the put of the profile: if that
// fails, Maintain finds nothing to do. Until then it must not look.
//
// A record that cannot be read, because it is damaged or its key is not at hand,
// does not keep the profile from being saved.
func (b bounded) remind(ctx context.Context, p *Profile, now time.Time) error {
	err := b.changeRecord(ctx, p.ID, func(r *Grant) bool {
		next := earlier(r.Due, upkeep{secretExpires: p.SecretExpires}.nextLook(r))
		if next.IsZero() {
			return false
		}
		next = stamp(later(next, now.Add(noticeGrace)))
		if next.Equal(r.Due) {
			return false
		}
		r.Due = next
		return true
	})
	if _, unreadable := errors.AsType[*Error](err); unreadable {
		return nil
	}
	return err
}
