package authprofile_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/authprofile/authprofile"
	"github.com/authprofile/authprofile/providertest"
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

// A Store that says what is due, and takes nothing, is asked again at the next
// pass, and not at once; and its error is that of Maintain.
func TestMaintainStoreTakesNothing(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(g *authprofile.Grant)
		delete bool // the profile
	}{
		{"to be told", needsUser, false},
		{"to be kept alive", func(g *authprofile.Grant) { g.Obtained = g.Obtained.Add(-40 * day) }, false},
		{"to be postponed", func(*authprofile.Grant) {}, false},
		{"without a profile", needsUser, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				var b noticeBoard
				w.adasProfile()
				from := w.grant(ada)
				if test.delete {
					if err := w.m.Delete(t.Context(), "crm"); err != nil {
						t.Fatal(err)
					}
				}
				w.putMany("crm", from, 300, test.change)
				store := &countingStore{faultyStore: &faultyStore{Store: w.store}}
				store.on(func(c *storeCall) error {
					if c.op == "PutGrant" || c.op == "DeleteGrant" {
						return errAway
					}
					return c.run()
				})
				m := w.maintained(&b, store)
				ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
				defer cancel()
				if err := m.Maintain(ctx); !errors.Is(err, errAway) {
					t.Errorf("got error %v, want %v", err, errAway)
				}
				if got := store.passes(); got > 10 {
					t.Errorf("got %d calls of DueGrants in two minutes, want one for each pass", got)
				}
			})
		})
	}
}

// Grants that cannot be looked at do not keep others waiting that are due after
// them.
func TestMaintainPassesOverWhatItCannotLookAt(t *testing.T) {
	unreadable := func(id string) error {
		return &authprofile.Error{Op: "open", ProfileID: id, Err: errors.New("damaged")}
	}
	for _, test := range []struct {
		name   string
		change func(g *authprofile.Grant)
		fails  func(c *storeCall) bool
	}{
		{"profile", needsUser, func(c *storeCall) bool { return c.op == "Profile" && c.key.ProfileID == "damaged" }},
		{"record", needsAdministrator, func(c *storeCall) bool {
			return c.op == "Grant" && c.key == authprofile.GrantKey{ProfileID: "damaged"}
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				var b noticeBoard
				p := w.adasProfile()
				damaged := p.Clone()
				damaged.ID, damaged.Version = "damaged", 0
				w.save(damaged)
				w.putMany("damaged", w.grant(ada), 500, test.change)
				g := w.grant(ada)
				needsUser(g)
				g.Due = time.Now()
				w.put(g)
				store := &faultyStore{Store: w.store}
				store.on(func(c *storeCall) error {
					if test.fails(c) {
						return unreadable("damaged")
					}
					return c.run()
				})
				w.maintained(&b, store)
				w.pass(10 * time.Minute)
				b.wants(t, "behind 500 grants that cannot be looked at", "needs_user ada")
			})
		})
	}
}

// A profile that is saved while something is to be told of it does not put that
// off.
func TestSaveKeepsWhatIsToBeTold(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		var b noticeBoard
		p := w.app()
		w.token(w.m, p)
		w.srv.SetClientSecret(providertest.ClientID, "another")
		expire()
		w.refuses(w.m, p, authprofile.ErrConfiguration)
		time.Sleep(time.Hour) // until the job that runs Maintain begins
		p.SecretExpires = time.Now().Add(365 * day)
		w.save(p)
		w.maintained(&b, w.store)
		w.pass(5 * time.Minute)
		b.wants(t, "after the profile was saved", "needs_administrator")
	})
}

// A grant that does not say why it needs a person is told of all the same.
func TestNoticeWithoutFailure(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		var b noticeBoard
		p := w.adasProfile()
		w.authorize(p, "bob")
		w.token(w.m, w.app())
		for key, status := range map[authprofile.GrantKey]authprofile.Status{
			ada:                             authprofile.StatusNeedsReauthorization,
			{ProfileID: "crm", User: "bob"}: authprofile.StatusNeedsConfiguration,
			app:                             authprofile.StatusNeedsConfiguration,
		} {
			g := w.grant(key)
			g.Status, g.Failure, g.Due = status, nil, time.Now()
			w.put(g)
		}
		w.maintained(&b, w.store)
		w.pass(5 * time.Minute)
		b.wants(t, "after five minutes", "needs_administrator", "needs_administrator", "needs_user ada")
		w.pass(2 * time.Hour)
		b.wants(t, "two hours later")
	})
}
