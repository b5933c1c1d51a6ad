package authprofile

import (
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// A MemStore keeps everything in memory. It is for tests, for programs that
// need no grant to outlive them, and the Store of a Manager that has none. Of
// flows it keeps the latest 100,000.
//
// The zero MemStore is empty and ready to use. It must not be copied after
// first use.
type MemStore struct {
	mu       sync.Mutex
	version  int64 // the last one given out, so that none is given twice
	profiles memTable[*Profile]
	grants   memTable[*memTable[*Grant]] // by profile, and then by user
	due      []memDue                    // of the grants whose Due is known, sorted
	flows    map[string]*memFlow
	oldest   []*memFlow // by time of arrival, those included that were taken
}

var _ Store = (*MemStore)(nil)

// maxFlows bounds what people can make a MemStore keep who begin to authorize
// and never come back. The oldest leave first.
const maxFlows = 100_000

type memFlow struct {
	id      string
	expires time.Time
	flow    *Flow // nil: taken
}

// A memDue says when which grant is due.
type memDue struct {
	at time.Time
	GrantKey
}

func (d memDue) compare(e memDue) int {
	return cmp.Or(d.at.Compare(e.at), strings.Compare(d.ProfileID, e.ProfileID), strings.Compare(d.User, e.User))
}

// A memTable is a map that can be listed by key without being sorted anew for
// every page.
type memTable[T any] struct {
	// T is a pointer already. Of the two, package fmt follows one if a struct
	// that has a MemStore in it is printed with a wrong verb.
	rows map[string]*T
	keys []string // sorted
}

func (t *memTable[T]) get(key string) (row T, ok bool) {
	if p := t.rows[key]; p != nil {
		return *p, true
	}
	return row, false
}

func (t *memTable[T]) put(key string, row T) {
	if t.rows == nil {
		t.rows = make(map[string]*T)
	}
	if i, ok := slices.BinarySearch(t.keys, key); !ok {
		t.keys = slices.Insert(t.keys, i, key)
	}
	t.rows[key] = &row
}

func (t *memTable[T]) delete(key string) {
	if i, ok := slices.BinarySearch(t.keys, key); ok {
		t.keys = slices.Delete(t.keys, i, i+1)
		delete(t.rows, key)
	}
}

// page returns the keys after the given one.
func (t *memTable[T]) page(after string, limit int) []string {
	i := 0
	if after != "" {
		i = t.after(after)
	}
	keys := t.keys[i:]
	return keys[:min(max(limit, 0), len(keys))]
}

// after returns the index of the first key that comes after the given one.
func (t *memTable[T]) after(key string) int {
	i, found := slices.BinarySearch(t.keys, key)
	if found {
		i++
	}
	return i
}

func (s *MemStore) Profile(ctx context.Context, id string) (*Profile, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	p, ok := s.profiles.get(id)
	if !ok {
		return nil, ErrNotFound
	}
	return p.Clone(), nil
}

func (s *MemStore) ListProfiles(ctx context.Context, after string, limit int) ([]*Profile, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []*Profile
	for _, id := range s.profiles.page(after, limit) {
		list = append(list, (*s.profiles.rows[id]).Clone())
	}
	return list, nil
}

func (s *MemStore) PutProfile(ctx context.Context, p *Profile) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := stamp(time.Now())
	created := now
	old, ok := s.profiles.get(p.ID)
	if ok {
		created = old.Created
	}
	if ok && p.Version != old.Version || !ok && p.Version != 0 {
		return ErrConflict
	}
	s.version++
	p.Version, p.Created, p.Updated = s.version, created, now
	kept := p.Clone()
	kept.saved = [sha256.Size]byte{} // other Stores do not keep it either
	kept.SecretExpires = stamp(kept.SecretExpires)
	s.profiles.put(p.ID, kept)
	return nil
}

func (s *MemStore) DeleteProfile(ctx context.Context, id string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.profiles.delete(id)
	s.grants.delete(id)
	s.due = slices.DeleteFunc(s.due, func(d memDue) bool { return d.ProfileID == id })
	return nil
}

func (s *MemStore) Grant(ctx context.Context, key GrantKey) (*Grant, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if t, ok := s.grants.get(key.ProfileID); ok {
		if g, ok := t.get(key.User); ok {
			return g.Clone(), nil
		}
	}
	return nil, ErrNotFound
}

func (s *MemStore) ListGrants(ctx context.Context, f GrantFilter, after GrantKey, limit int) ([]*Grant, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []*Grant
	for _, id := range s.profilesFrom(f.ProfileID, after.ProfileID) {
		t := *s.grants.rows[id]
		first := 0
		if after != (GrantKey{}) && id == after.ProfileID {
			first = t.after(after.User)
		}
		for _, user := range t.keys[first:] {
			if len(list) >= limit {
				return list, nil
			}
			if g := *t.rows[user]; f.passes(g) {
				list = append(list, g.Clone())
			}
		}
	}
	return list, nil
}

// profilesFrom returns the profiles with grants, or the only one, that do not
// come before another. s.mu is held.
func (s *MemStore) profilesFrom(only, from string) []string {
	keys := s.grants.keys
	if only != "" {
		if _, ok := s.grants.get(only); !ok || only < from {
			return nil
		}
		return []string{only}
	}
	i, _ := slices.BinarySearch(keys, from)
	return keys[i:]
}

// passes reports whether g has all that the filter says.
func (f GrantFilter) passes(g *Grant) bool {
	return (f.ProfileID == "" || f.ProfileID == g.ProfileID) &&
		(f.User == "" || f.User == g.User) &&
		(f.Status == "" || f.Status == g.Status) &&
		(f.EndsBefore.IsZero() || !g.Ends.IsZero() && g.Ends.Before(f.EndsBefore))
}

func (s *MemStore) CountGrants(ctx context.Context, profileID string) (map[Status]int64, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	counts := make(map[Status]int64)
	for _, id := range s.profilesFrom(profileID, "") {
		for _, g := range (*s.grants.rows[id]).rows {
			counts[(*g).Status]++
		}
	}
	return counts, nil
}

func (s *MemStore) DueGrants(ctx context.Context, before time.Time, limit int) ([]*Grant, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []*Grant
	for _, d := range s.due {
		if len(list) >= limit || !d.at.Before(before) {
			break
		}
		t := *s.grants.rows[d.ProfileID]
		list = append(list, (*t.rows[d.User]).Clone())
	}
	return list, nil
}

// setDue keeps s.due when the Due of a grant becomes another. The zero time is
// that of a grant that is not there, too. s.mu is held.
func (s *MemStore) setDue(key GrantKey, was, is time.Time) {
	if was.Equal(is) {
		return
	}
	if !was.IsZero() {
		if i, ok := slices.BinarySearchFunc(s.due, memDue{was, key}, memDue.compare); ok {
			s.due = slices.Delete(s.due, i, i+1)
		}
	}
	if !is.IsZero() {
		i, _ := slices.BinarySearchFunc(s.due, memDue{is, key}, memDue.compare)
		s.due = slices.Insert(s.due, i, memDue{is, key})
	}
}

func (s *MemStore) PutGrant(ctx context.Context, g *Grant) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	t, known := s.grants.get(g.ProfileID)
	if !known {
		t = new(memTable[*Grant])
	}
	now := stamp(time.Now())
	created := now
	var due time.Time
	old, ok := t.get(g.User)
	if ok {
		created, due = old.Created, old.Due
	}
	if ok && g.Version != old.Version || !ok && g.Version != 0 {
		return ErrConflict
	}
	s.version++
	g.Version, g.Created, g.Updated = s.version, created, now
	kept := g.Clone()
	for _, at := range []*time.Time{&kept.Obtained, &kept.Expiry, &kept.RefreshExpiry, &kept.Authorized, &kept.Ends, &kept.Due, &kept.ToldAt, &kept.Warned} {
		*at = stamp(*at)
	}
	if f := kept.Failure; f != nil {
		f.Since, f.Last, f.Next = stamp(f.Since), stamp(f.Last), stamp(f.Next)
	}
	t.put(g.User, kept)
	s.setDue(kept.GrantKey, due, kept.Due)
	if !known {
		s.grants.put(g.ProfileID, t)
	}
	return nil
}

func (s *MemStore) DeleteGrant(ctx context.Context, key GrantKey) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if t, ok := s.grants.get(key.ProfileID); ok {
		if g, ok := t.get(key.User); ok {
			s.setDue(key, g.Due, time.Time{})
		}
		t.delete(key.User)
		if len(t.keys) == 0 {
			s.grants.delete(key.ProfileID)
		}
	}
	return nil
}

func (s *MemStore) PutFlow(ctx context.Context, f *Flow) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.oldest) > 0 && (len(s.oldest) >= maxFlows || !s.oldest[0].expires.After(time.Now())) {
		if old := s.oldest[0]; s.flows[old.id] == old { // not taken, nor put anew
			delete(s.flows, old.id)
		}
		s.oldest[0] = nil
		s.oldest = s.oldest[1:]
	}
	if s.flows == nil {
		s.flows = make(map[string]*memFlow)
	}
	kept := f.Clone()
	kept.State, kept.URL = "", ""
	kept.Expires = stamp(f.Expires)
	row := &memFlow{id: kept.ID, expires: kept.Expires, flow: kept}
	s.flows[row.id] = row
	s.oldest = append(s.oldest, row)
	return nil
}

func (s *MemStore) TakeFlow(ctx context.Context, id string) (*Flow, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	row, ok := s.flows[id]
	if !ok {
		return nil, ErrNotFound
	}
	delete(s.flows, id)
	f := row.flow
	row.flow = nil // the row stays in line; its verifier does not
	if !row.expires.After(time.Now()) {
		return nil, ErrNotFound
	}
	return f, nil
}

// Format writes how much s keeps, and none of it.
func (s *MemStore) Format(f fmt.State, verb rune) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprintf(f, "MemStore{%d profiles, %d profiles with grants, %d flows}", len(s.profiles.rows), len(s.grants.rows), len(s.flows))
}

// now is the time as records keep it: what was just written compares equal
// with what is read back from any Store.

// stamp is a time as it comes back from any Store: in UTC, to the millisecond.
// A MemStore is no more precise, so that tests notice what relies on more.
func stamp(t time.Time) time.Time { return t.UTC().Truncate(time.Millisecond) }
