package authprofile_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
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

// Many grants of several providers that are due at once are each put off once or
// twice, and not with every pass.
func TestKeepAliveOfManyHosts(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.adasProfile()
		const hosts, users = 6, 1000
		for i := range hosts {
			id := fmt.Sprint("p", i)
			w.save(registered(authprofile.Profile{
				ID: id, Type: authprofile.TypeUser,
				Endpoints: authprofile.Endpoints{
					AuthURL:  fmt.Sprintf("https://%s.example.net/authorize", id),
					TokenURL: fmt.Sprintf("https://%s.example.net/token", id),
				},
			}))
			w.putMany(id, w.grant(ada), users, func(g *authprofile.Grant) {
				g.Issuer = ""
				g.Obtained = g.Obtained.Add(-40 * day)
			})
		}
		p := w.process()
		p.net.on(func(*http.Request) (*http.Response, error) {
			time.Sleep(time.Second)
			return respond(http.StatusOK, `{"access_token":"T","token_type":"Bearer","expires_in":3600}`, "Content-Type", "application/json"), nil
		})
		ctx, cancel := context.WithTimeout(t.Context(), 15*time.Minute)
		defer cancel()
		if err := p.Maintain(ctx); err != nil {
			t.Errorf("got error %v, want none", err)
		}
		renewed := 0
		for g, err := range w.m.Find(t.Context(), authprofile.GrantFilter{}) {
			if err == nil && g.AccessToken == "T" {
				renewed++
			}
		}
		if renewed != hosts*users {
			t.Errorf("got %d grants renewed in fifteen minutes, want %d", renewed, hosts*users)
		}
		// Three for a claim, the lease and the token, and some for being put off.
		if got := p.store.count("PutGrant"); got > 6*hosts*users {
			t.Errorf("got %d puts for %d grants, want at most 6 for each", got, hosts*users)
		}
	})
}

// Notices that come all at once are delivered as fast as Notify takes them, and
// the Store is not written to again and again meanwhile.
func TestManyNotices(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		var b noticeBoard
		b.react(func(context.Context, authprofile.Notice) error { time.Sleep(time.Second); return nil })
		w.adasProfile()
		const users = 1000
		w.putMany("crm", w.grant(ada), users, needsUser)
		store := &faultyStore{Store: w.store}
		m := w.maintained(&b, store)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		defer cancel()
		m.Maintain(ctx)
		if got := len(b.take()); got != users {
			t.Errorf("got %d notices in ten minutes, want %d", got, users)
		}
		if got := store.count("PutGrant"); got > 6*users {
			t.Errorf("got %d puts for %d notices, want at most 6 for each", got, users)
		}
	})
}

// A warning is delivered until Notify takes it, ever more rarely, as other notices
// are.
func TestNotifyFailsToWarn(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		var b noticeBoard
		p := w.user()
		p.SecretExpires = time.Now().Add(10 * day)
		w.save(p)
		w.maintained(&b, w.store)
		b.react(func(context.Context, authprofile.Notice) error { return errors.New("no") })
		for range 12 {
			w.pass(2 * time.Hour)
		}
		list := b.take()
		ids := make(map[string]bool)
		for _, n := range list {
			ids[n.ID] = true
		}
		if len(ids) != 1 || len(list) < 15 || len(list) > 100 {
			t.Errorf("got %d attempts in a day with %d IDs, want some dozens with one", len(list), len(ids))
		}
		b.react(nil)
		w.pass(2 * time.Hour)
		b.wants(t, "once it is taken", "secret_expiring")
	})
}

// A Notify that blocks does not make the provider be asked in vain, each minute,
// for grants whose users cannot be told.
func TestProviderIsNotAskedInVain(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		var b noticeBoard
		p := w.user()
		const users = 60
		for i := range users {
			w.authorize(p, fmt.Sprint("user-", i))
		}
		w.srv.RevokeUser("user")
		expire()
		for i := range users {
			w.m.Token(t.Context(), p, authprofile.AsUser(fmt.Sprint("user-", i)))
		}
		time.Sleep(2 * time.Hour) // so that users are told although many grants have ended
		before := w.srv.Count("refresh_token")
		b.react(func(ctx context.Context, _ authprofile.Notice) error { <-ctx.Done(); return ctx.Err() })
		w.maintained(&b, w.store)
		w.pass(time.Hour)
		attempts := len(b.take())
		if got := w.srv.Count("refresh_token") - before; attempts == 0 || got > attempts+70 {
			t.Errorf("got %d requests to the provider for %d attempts to tell, want one for each and one in a minute", got, attempts)
		}
	})
}
