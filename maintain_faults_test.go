package authprofile_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/authprofile/authprofile"
)

// A countingStore counts calls of DueGrants, and says that nothing is due once
// there are too many of them: a loop without a pause would last for ever.
type countingStore struct {
	*faultyStore
	mu   sync.Mutex
	dues int
}

func (s *countingStore) DueGrants(ctx context.Context, before time.Time, limit int) ([]*authprofile.Grant, error) {
	s.mu.Lock()
	s.dues++
	tooMany := s.dues > 1000
	s.mu.Unlock()
	if tooMany {
		return nil, nil
	}
	return s.Store.DueGrants(ctx, before, limit)
}

func (s *countingStore) passes() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.dues
}

// putMany stores as many grants of a profile, made from one, all of them due.
func (w *world) putMany(profileID string, from *authprofile.Grant, many int, change func(g *authprofile.Grant)) {
	w.Helper()
	for i := range many {
		g := from.Clone()
		g.Version, g.ProfileID, g.User = 0, profileID, fmt.Sprint("user-", i)
		g.Due = time.Now().Add(-time.Hour)
		change(g)
		w.put(g)
	}
}

// needsUser makes a grant one whose user is needed, for a reason that the
// provider is not asked about.
func needsUser(g *authprofile.Grant) {
	now := time.Now()
	g.Status = authprofile.StatusNeedsReauthorization
	g.Failure = &authprofile.Failure{Reason: authprofile.ReasonExpired, Since: now, Last: now, Attempts: 1}
}

// needsAdministrator does the same for the administrator.
func needsAdministrator(g *authprofile.Grant) {
	now := time.Now()
	g.Status = authprofile.StatusNeedsConfiguration
	g.Failure = &authprofile.Failure{Reason: authprofile.ReasonClient, Since: now, Last: now, Attempts: 1}
}

// The grants of users of a profile that has become one of an application are left
// alone.
func TestMaintainAfterTheTypeHasChanged(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		var b noticeBoard
		p := w.adasProfile()
		w.putMany("crm", w.grant(ada), 20, func(g *authprofile.Grant) { g.Obtained = g.Obtained.Add(-40 * day) })
		p.Type, p.KeepAlive, p.Scopes = authprofile.TypeApp, 0, nil
		w.save(p)
		store := &faultyStore{Store: w.store}
		w.maintained(&b, store)
		w.pass(2 * time.Hour)
		if got := store.count("PutGrant"); got > 25 {
			t.Errorf("got %d puts in two hours, want one for each of 20", got)
		}
	})
}

// A refresh token of an application's grant is not used, and is no reason to look
// at the grant again and again.
func TestMaintainAppWithRefreshToken(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.app()
		w.token(w.m, p)
		g := w.grant(app)
		needsAdministrator(g)
		g.RefreshToken, g.Due = "R", time.Now()
		g.Obtained, g.Failure.Last = g.Obtained.Add(-100*day), g.Failure.Last.Add(-50*day)
		w.put(g)
		store := &faultyStore{Store: w.store}
		w.maintained(nil, store)
		w.pass(2 * time.Hour)
		if got := store.count("PutGrant"); got != 1 {
			t.Errorf("got %d puts in two hours, want 1", got)
		}
	})
}
