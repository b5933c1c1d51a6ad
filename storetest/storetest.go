// Package storetest is a set of tests that hold an [authprofile.Store] to its
// documentation, sentence by sentence.
//
// The test of a Store is one call of [Run], or of [RunShared] if several
// processes may use one storage:
//
//	func TestStore(t *testing.T) {
//		storetest.Run(t, func(t *testing.T) authprofile.Store {
//			return newStore(t) // an empty one
//		})
//	}
//
// No test can be left out. A Store that keeps its promises only in most cases
// loses a user's authorization in the others.
package storetest

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/authprofile/authprofile"
)

// Run tests the Stores that open returns. It calls open once for each subtest.
// Each time open must return an empty Store; it passes to t.Cleanup what is to
// be closed at the end.
func Run(t *testing.T, open func(t *testing.T) authprofile.Store) {
	for _, c := range checks {
		t.Run(c.name, func(t *testing.T) { c.run(t, open(t)) })
	}
}

// RunShared tests several handles on one Store, such as the replicas of a
// program have: what holds for calls on one handle must hold for the same calls
// spread over all of them. It calls open once for each subtest. Each time open
// must return n handles, each with connections of its own, on one empty Store.
// They may belong to different processes.
func RunShared(t *testing.T, open func(t *testing.T, n int) []authprofile.Store) {
	for _, c := range checks {
		t.Run(c.name, func(t *testing.T) {
			// Three, so that calls that come in pairs do not always meet the
			// same handle.
			c.run(t, &spread{stores: open(t, 3)})
		})
	}
}

// A check tests one promise on an empty Store.
type check struct {
	name string
	run  func(t tb, s authprofile.Store)
}

// tb is what checks use of *testing.T. When the checks themselves are tested,
// with Stores that break a promise, it is a recorder.
type tb interface {
	Helper()
	Context() context.Context
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
}

var checks = concat(
	profiles.checks("Profile"),
	profileChecks,
	grants.checks("Grant"),
	deleteProfileChecks,
	grantChecks,
	findChecks,
	countChecks,
	dueChecks,
	flowChecks,
)

func concat(lists ...[]check) []check {
	var all []check
	for _, l := range lists {
		all = append(all, l...)
	}
	return all
}

// A spread is a Store that passes each call to the next of its handles.
type spread struct {
	stores []authprofile.Store
	calls  atomic.Uint64
}

func (s *spread) next() authprofile.Store {
	return s.stores[s.calls.Add(1)%uint64(len(s.stores))]
}

func (s *spread) Profile(ctx context.Context, id string) (*authprofile.Profile, error) {
	return s.next().Profile(ctx, id)
}

func (s *spread) ListProfiles(ctx context.Context, after string, limit int) ([]*authprofile.Profile, error) {
	return s.next().ListProfiles(ctx, after, limit)
}

func (s *spread) PutProfile(ctx context.Context, p *authprofile.Profile) error {
	return s.next().PutProfile(ctx, p)
}

func (s *spread) DeleteProfile(ctx context.Context, id string) error {
	return s.next().DeleteProfile(ctx, id)
}

func (s *spread) Grant(ctx context.Context, key authprofile.GrantKey) (*authprofile.Grant, error) {
	return s.next().Grant(ctx, key)
}

func (s *spread) ListGrants(ctx context.Context, f authprofile.GrantFilter, after authprofile.GrantKey, limit int) ([]*authprofile.Grant, error) {
	return s.next().ListGrants(ctx, f, after, limit)
}

func (s *spread) CountGrants(ctx context.Context, profileID string) (map[authprofile.Status]int64, error) {
	return s.next().CountGrants(ctx, profileID)
}

func (s *spread) DueGrants(ctx context.Context, before time.Time, limit int) ([]*authprofile.Grant, error) {
	return s.next().DueGrants(ctx, before, limit)
}

func (s *spread) PutGrant(ctx context.Context, g *authprofile.Grant) error {
	return s.next().PutGrant(ctx, g)
}

func (s *spread) DeleteGrant(ctx context.Context, key authprofile.GrantKey) error {
	return s.next().DeleteGrant(ctx, key)
}

func (s *spread) PutFlow(ctx context.Context, f *authprofile.Flow) error {
	return s.next().PutFlow(ctx, f)
}

func (s *spread) TakeFlow(ctx context.Context, id string) (*authprofile.Flow, error) {
	return s.next().TakeFlow(ctx, id)
}
