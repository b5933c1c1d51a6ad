package console_test

import (
	"context"

	"github.com/authprofile/authprofile"
)

func (s *shakyStore) Profile(ctx context.Context, id string) (*authprofile.Profile, error) {
	if err := s.err("Profile"); err != nil {
		return nil, err
	}
	return s.Store.Profile(ctx, id)
}

func (s *shakyStore) Grant(ctx context.Context, key authprofile.GrantKey) (*authprofile.Grant, error) {
	if err := s.err("Grant"); err != nil {
		if _, gone := s.Store.Grant(ctx, key); gone != nil {
			return nil, gone
		}
		return nil, err
	}
	return s.Store.Grant(ctx, key)
}

func (s *shakyStore) ListGrants(ctx context.Context, f authprofile.GrantFilter, after authprofile.GrantKey, limit int) ([]*authprofile.Grant, error) {
	list, err := s.Store.ListGrants(ctx, f, after, limit)
	s.note(len(list))
	if shaken := s.err("ListGrants"); shaken != nil {
		if _, ok := shaken.(*authprofile.Error); !ok {
			return nil, shaken
		}
		return list, shaken // one of them cannot be read
	}
	return list, err
}

func (s *shakyStore) PutGrant(ctx context.Context, g *authprofile.Grant) error {
	if err := s.err("PutGrant"); err != nil {
		return err
	}
	return s.Store.PutGrant(ctx, g)
}

func (s *shakyStore) DeleteGrant(ctx context.Context, key authprofile.GrantKey) error {
	if err := s.err("DeleteGrant"); err != nil {
		return err
	}
	return s.Store.DeleteGrant(ctx, key)
}

// note adds to the records that lists have returned.
func (s *shakyStore) note(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.read += n
}

// listed returns how many records lists have returned.
func (s *shakyStore) listed() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.read
}
