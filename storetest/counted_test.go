package storetest

import (
	"context"
	"slices"
	"sync"
	"testing"

	"github.com/authprofile/authprofile"
)

// counted is a Store that numbers the versions of each profile from 1, and
// remembers how far it has come when the profile is deleted. So several profiles
// have the same versions, which is right: they are versions of different IDs.
type counted struct {
	*authprofile.MemStore
	mu    sync.Mutex
	given map[string][]int64 // the versions of MemStore, by ID
}

func (s *counted) number(p *authprofile.Profile) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.Index(s.given[p.ID], p.Version)
	if i < 0 {
		s.given[p.ID] = append(s.given[p.ID], p.Version)
		i = len(s.given[p.ID]) - 1
	}
	p.Version = int64(i) + 1
}

func (s *counted) Profile(ctx context.Context, id string) (*authprofile.Profile, error) {
	p, err := s.MemStore.Profile(ctx, id)
	if err == nil {
		s.number(p)
	}
	return p, err
}

func (s *counted) ListProfiles(ctx context.Context, after string, limit int) ([]*authprofile.Profile, error) {
	list, err := s.MemStore.ListProfiles(ctx, after, limit)
	for _, p := range list {
		s.number(p)
	}
	return list, err
}

func (s *counted) PutProfile(ctx context.Context, p *authprofile.Profile) error {
	c := p.Clone()
	s.mu.Lock()
	if n := len(s.given[p.ID]); c.Version > 0 && c.Version <= int64(n) {
		c.Version = s.given[p.ID][c.Version-1]
	} else if c.Version != 0 {
		c.Version = -1
	}
	s.mu.Unlock()
	if err := s.MemStore.PutProfile(ctx, c); err != nil {
		return err
	}
	s.number(c)
	p.Version, p.Created, p.Updated = c.Version, c.Created, c.Updated
	return nil
}

func TestStoreThatCountsVersionsByID(t *testing.T) {
	for _, check := range []string{"ProfileIdentifiers", "ProfileReplace", "ProfileVersions", "ProfileCreated"} {
		s := &counted{MemStore: new(authprofile.MemStore), given: make(map[string][]int64)}
		for _, f := range failures(t.Context(), check, s) {
			t.Errorf("%s: %s", check, f)
		}
	}
}
