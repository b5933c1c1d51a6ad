package authprofile_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/authprofile/authprofile"
	"github.com/authprofile/authprofile/providertest"
)

const day = 24 * time.Hour

// A noticeBoard is what the processes of a fleet were told.
type noticeBoard struct {
	mu      sync.Mutex
	notices []authprofile.Notice
	on      func(ctx context.Context, n authprofile.Notice) error // nil: takes it
}

func (b *noticeBoard) notify(ctx context.Context, n authprofile.Notice) error {
	b.mu.Lock()
	b.notices = append(b.notices, n)
	on := b.on
	b.mu.Unlock()
	if on != nil {
		return on(ctx, n)
	}
	return nil
}

func (b *noticeBoard) react(on func(ctx context.Context, n authprofile.Notice) error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.on = on
}

// take returns what was told since the last call.
func (b *noticeBoard) take() []authprofile.Notice {
	b.mu.Lock()
	defer b.mu.Unlock()
	list := b.notices
	b.notices = nil
	return list
}

// wants wants these notices, and no others, since the last call: "kind user".
func (b *noticeBoard) wants(t *testing.T, when string, want ...string) []authprofile.Notice {
	t.Helper()
	list := b.take()
	var got []string
	for _, n := range list {
		text := string(n.Kind)
		if n.User != "" {
			text += " " + n.User
		}
		got = append(got, text)
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("%s: got notices %q, want %q", when, got, want)
	}
	return list
}

// maintained returns another Manager that runs Maintain whenever time passes, and
// tells the board.
func (w *world) maintained(b *noticeBoard, store authprofile.Store) *authprofile.Manager {
	m := &authprofile.Manager{Store: store, HTTPClient: w.srv.Client(), RedirectURL: "https://app.example.com/callback"}
	if b != nil {
		m.Notify = b.notify
	}
	w.upkeep = append(w.upkeep, m)
	w.Cleanup(func() { m.Shutdown(context.Background()) })
	return m
}

// pass lets time pass. Maintain runs all the time if that is two hours or less,
// and otherwise for five minutes at the end of each day.
func (w *world) pass(d time.Duration) {
	for d > 0 {
		step := min(d, day)
		d -= step
		run := step
		if step > 2*time.Hour {
			run = 5 * time.Minute
			time.Sleep(step - run)
		}
		ctx, cancel := context.WithTimeout(context.Background(), run)
		var wg sync.WaitGroup
		for _, m := range w.upkeep {
			wg.Go(func() { m.Maintain(ctx) })
		}
		<-ctx.Done()
		wg.Wait()
		cancel()
	}
}

// endAda has the provider end ada's grant, and a caller find out.
func (w *world) endAda(p *authprofile.Profile) {
	w.Helper()
	w.srv.RevokeUser("user")
	expire()
	w.refuses(w.m, p, authprofile.ErrReauthorize, asAda)
}

// userOf returns the key of one of many users, userOf(0) that of the first.
func userOf(i int) authprofile.GrantKey {
	return authprofile.GrantKey{ProfileID: "crm", User: fmt.Sprint("user-", i)}
}

// authorizeMany has the first of many users authorize a profile.
func (w *world) authorizeMany(p *authprofile.Profile, many int) {
	w.Helper()
	for i := range many {
		w.authorize(p, userOf(i).User)
	}
}

// use asks for the token of one of many users, which may be refused.
func (w *world) use(p *authprofile.Profile, i int) {
	w.m.Token(w.Context(), p, authprofile.AsUser(userOf(i).User))
}

// adasIdleProfile returns a user profile whose grants are not kept alive, and
// that ada has authorized.
func (w *world) adasIdleProfile() *authprofile.Profile {
	w.Helper()
	p := w.user()
	p.KeepAlive = -1
	w.save(p)
	w.authorize(p, "ada")
	return p
}

// announce makes the provider end each refresh token after so long, and say so;
// never if that is zero.
func (w *world) announce(life time.Duration) {
	w.srv.SetPolicy(providertest.Policy{RefreshLifetime: life})
	if life > 0 {
		w.srv.Mutate(providertest.Token, func(answer map[string]any) {
			if answer["refresh_token"] != nil {
				answer["refresh_token_expires_in"] = int(life / time.Second)
			}
		})
	}
}

// A person who is needed is told of once, and so is the end of that.
func TestNeedsUser(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		var b noticeBoard
		p := w.adasProfile()
		w.maintained(&b, w.store)
		w.srv.RevokeUser("user")
		expire()
		since := time.Now()
		w.refuses(w.m, p, authprofile.ErrReauthorize, asAda)
		w.pass(50 * time.Second)
		b.wants(t, "within the minute")
		before := w.srv.Count("refresh_token")
		w.pass(2 * time.Minute)
		list := b.wants(t, "after two minutes", "needs_user ada")
		if got := w.srv.Count("refresh_token") - before; got != 1 {
			t.Errorf("the provider was asked %d times before the notice, want once", got)
		}
		n := list[0]
		if n.ID == "" || n.Status != authprofile.StatusNeedsReauthorization || n.Failure == nil || n.Failure.Reason != authprofile.ReasonRevoked || n.At.Sub(since).Abs() > time.Second {
			t.Errorf("got notice %+v, want one with an ID, the status, the failure, and since when", n)
		}
		w.pass(30 * day)
		b.wants(t, "a month later")
		w.refuses(w.m, p, authprofile.ErrReauthorize, asAda)

		w.authorize(p, "ada")
		w.pass(30 * time.Second)
		b.wants(t, "within the minute")
		w.pass(2 * time.Minute)
		list = b.wants(t, "after the user has authorized", "recovered ada")
		if list[0].ID == n.ID || list[0].Failure != nil {
			t.Errorf("got notice %+v, want one with another ID and no failure", list[0])
		}
		w.pass(day)
		b.wants(t, "a day later")

		w.srv.RevokeUser("user")
		w.refuses(w.m, p, authprofile.ErrReauthorize, asAda)
		w.pass(3 * time.Minute)
		if list := b.wants(t, "the next time", "needs_user ada"); list[0].ID == n.ID {
			t.Error("got the ID of the first notice again, want another")
		}
	})
}

// What heals within the minute is not told, and neither is what the provider
// takes back.
func TestNotToldWhatHeals(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		var b noticeBoard
		p := w.adasProfile()
		w.maintained(&b, w.store)
		ended := providertest.Fault{Grant: "refresh_token", Status: 400, Body: `{"error":"invalid_grant"}`}
		w.srv.Fault(providertest.Token, ended)
		expire()
		w.refuses(w.m, p, authprofile.ErrReauthorize, asAda)
		w.authorize(p, "ada")
		w.pass(time.Hour)
		b.wants(t, "authorized at once")

		w.srv.Fault(providertest.Token, ended)
		expire()
		w.refuses(w.m, p, authprofile.ErrReauthorize, asAda)
		w.pass(time.Hour)
		b.wants(t, "the provider renews it after all")
		w.healthy(ada)
	})
}

// A notice is delivered until Notify takes it, with the same ID, and ever more
// rarely; a Notify that fails, panics or blocks keeps no grant from being renewed
// and no other notice from being delivered.
func TestNotifyFails(t *testing.T) {
	for _, test := range []struct {
		name string
		fail func(ctx context.Context) error
	}{
		{"an error", func(context.Context) error { return errors.New("no") }},
		{"a panic", func(context.Context) error { panic("no") }},
		{"blocks until its context ends", func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }},
	} {
		t.Run(test.name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				var b noticeBoard
				b.react(func(ctx context.Context, n authprofile.Notice) error {
					if n.User == "ada" {
						return test.fail(ctx)
					}
					return nil
				})
				p := w.adasProfile()
				p.KeepAlive = day
				w.save(p)
				w.authorize(p, "bob")
				w.authorize(p, "cy")
				w.maintained(&b, w.store)
				for _, user := range []string{"ada", "bob"} {
					key := authprofile.GrantKey{ProfileID: "crm", User: user}
					w.srv.Revoke(string(w.grant(key).RefreshToken))
				}
				expire()
				w.refuses(w.m, p, authprofile.ErrReauthorize, asAda)
				w.refuses(w.m, p, authprofile.ErrReauthorize, authprofile.AsUser("bob"))
				w.token(w.m, p, authprofile.AsUser("cy"))
				for range 24 {
					w.pass(2 * time.Hour)
				}
				times, ids := make(map[string]int), make(map[string]bool)
				for _, n := range b.take() {
					times[n.User]++
					if n.User == "ada" {
						ids[n.ID] = true
					}
				}
				if len(ids) != 1 || times["ada"] < 20 || times["ada"] > 140 {
					t.Errorf("got %d attempts in two days with %d IDs, want some dozens with one", times["ada"], len(ids))
				}
				if times["bob"] != 1 {
					t.Errorf("got %d notices of another user, want 1", times["bob"])
				}
				if g := w.grant(authprofile.GrantKey{ProfileID: "crm", User: "cy"}); time.Since(g.Obtained) > day+time.Hour {
					t.Errorf("a grant that is kept alive by the day was renewed %v ago", time.Since(g.Obtained))
				}
				b.react(nil)
				w.pass(2 * time.Hour)
				b.wants(t, "once it is taken", "needs_user ada")
				w.pass(day)
				b.wants(t, "a day later")
			})
		})
	}
}

// A Notify that does not listen to its context is not called for the same notice
// by another process meanwhile, and Maintain ends without it.
func TestNotifyBlocks(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		var first, second noticeBoard
		release := make(chan struct{})
		first.react(func(context.Context, authprofile.Notice) error { <-release; return nil })
		p := w.adasProfile()
		m := &authprofile.Manager{Store: w.store, HTTPClient: w.srv.Client(), Notify: first.notify}
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() { ended <- m.Maintain(ctx) }()
		w.endAda(p)
		w.pass(3 * time.Minute)
		first.wants(t, "by the process that looks first", "needs_user ada")
		w.maintained(&second, w.store)
		w.pass(2 * time.Hour)
		second.wants(t, "while the first is being told")
		cancel()
		w.pass(2 * time.Second)
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("got error %v, want none", err)
			}
		default:
			t.Fatal("Maintain has not ended")
		}
		w.pass(10 * time.Minute)
		second.wants(t, "once the first has given up", "needs_user ada")
		close(release)
		m.Shutdown(context.Background())
	})
}

// What the administrator must mend is one notice, whatever the number of grants.
func TestNeedsAdministrator(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		var b noticeBoard
		p := w.user()
		const users = 30
		w.authorizeMany(p, users)
		for range 3 {
			w.maintained(&b, w.store)
		}
		w.srv.SetClientSecret(providertest.ClientID, "another")
		use := func() {
			for i := range users {
				w.use(p, i)
			}
		}
		expire()
		use()
		w.pass(5 * time.Minute)
		list := b.wants(t, "a wrong secret", "needs_administrator")
		if n := list[0]; n.User != "" || n.ProfileID != "crm" || n.Status != authprofile.StatusNeedsConfiguration || n.Failure == nil || n.Failure.Reason != authprofile.ReasonClient || n.Grants < 1 {
			t.Errorf("got notice %+v, want one for the profile with its status, failure and number of grants", n)
		}
		for range 20 {
			w.pass(time.Hour)
			use()
		}
		b.wants(t, "the day after")

		p = w.profile("crm")
		p.ClientSecret = "another"
		w.save(p)
		use()
		w.pass(5 * time.Minute)
		again := b.wants(t, "after the secret was mended", "recovered")
		if again[0].User != "" || again[0].ID == list[0].ID {
			t.Errorf("got notice %+v, want one for the profile with another ID", again[0])
		}
		w.pass(3 * day)
		b.wants(t, "three days later")
		for i := range users {
			if g := w.grant(userOf(i)); g.Told != "" {
				t.Errorf("%s: got %q as what was told, want nothing", g.User, g.Told)
			}
		}
		counts, err := w.m.Count(t.Context(), "crm")
		if err != nil || !maps.Equal(counts, map[authprofile.Status]int64{authprofile.StatusActive: users}) {
			t.Errorf("got counts %v, %v; want %d active", counts, err, users)
		}
		w.listsNoRecord()
	})
}

// profile reads a profile through the Manager.
func (w *world) profile(id string) *authprofile.Profile {
	w.Helper()
	p, err := w.m.Profile(w.Context(), id)
	if err != nil {
		w.Fatal(err)
	}
	return p
}

// listsNoRecord wants what was told of profiles to be in the Store, and nowhere
// else.
func (w *world) listsNoRecord() {
	w.Helper()
	record := authprofile.GrantKey{ProfileID: "crm"}
	w.grant(record)
	if g, err := w.m.Grant(w.Context(), record); !errors.Is(err, authprofile.ErrNotFound) {
		w.Errorf("Grant: got %v, %v; want %v", g, err, authprofile.ErrNotFound)
	}
	for g, err := range w.m.Find(w.Context(), authprofile.GrantFilter{}) {
		if err != nil || g.User == "" {
			w.Errorf("Find: got %v, %v; want the grants of users", g, err)
		}
	}
	for g, err := range w.m.Grants(w.Context(), "crm") {
		if err != nil || g.User == "" {
			w.Errorf("Grants: got %v, %v; want the grants of users", g, err)
		}
	}
	if err := w.m.Revoke(w.Context(), record); err != nil {
		w.Errorf("Revoke: got %v, want nothing", err)
	}
	w.grant(record)
}

// An app profile's trouble is a notice for the profile.
func TestNeedsAdministratorOfAnApp(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		var b noticeBoard
		p := w.app()
		w.maintained(&b, w.store)
		w.token(w.m, p)
		w.srv.SetClientSecret(providertest.ClientID, "another")
		expire()
		w.refuses(w.m, p, authprofile.ErrConfiguration)
		w.pass(3 * time.Minute)
		b.wants(t, "a wrong secret", "needs_administrator")
		w.pass(day)
		b.wants(t, "a day later")
		p.ClientSecret = "another"
		w.save(p)
		w.token(w.m, p)
		w.pass(3 * time.Minute)
		b.wants(t, "mended", "recovered")
	})
}

// Of many processes one tells, and one that dies between telling and writing it
// down leaves the same notice, with the same ID, to another.
func TestFleetTellsOnce(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		var b noticeBoard
		p := w.adasProfile()
		for range 8 {
			w.maintained(&b, w.store)
		}
		w.endAda(p)
		w.pass(time.Hour)
		b.wants(t, "by eight processes", "needs_user ada")
	})
	inWorld(t, func(t *testing.T, w *world) {
		var b noticeBoard
		p := w.adasProfile()
		store := &faultyStore{Store: w.store}
		b.react(func(context.Context, authprofile.Notice) error { store.goAway(); return nil })
		ctx, cancel := context.WithCancel(context.Background())
		m := &authprofile.Manager{Store: store, HTTPClient: w.srv.Client(), Notify: b.notify}
		ended := make(chan error, 1)
		go func() { ended <- m.Maintain(ctx) }()
		w.endAda(p)
		w.pass(3 * time.Minute)
		first := b.wants(t, "by the process that dies", "needs_user ada")
		cancel()
		<-ended
		b.react(nil)
		w.maintained(&b, w.store)
		w.pass(10 * time.Minute)
		second := b.wants(t, "by the one that comes after it", "needs_user ada")
		if first[0].ID != second[0].ID {
			t.Errorf("got IDs %q and %q, want the same", first[0].ID, second[0].ID)
		}
		m.Shutdown(context.Background())
	})
}

// A grant or a profile that is deleted while something is to be told of it, or
// is being told, is no trouble.
func TestDeletedMeanwhile(t *testing.T) {
	for _, test := range []struct {
		name string
		end  func(w *world) error
	}{
		{"the grant", func(w *world) error { return w.m.Revoke(w.Context(), ada) }},
		{"the profile", func(w *world) error { return w.m.Delete(w.Context(), "crm") }},
	} {
		t.Run(test.name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				var b noticeBoard
				p := w.adasProfile()
				w.maintained(&b, w.store)
				w.endAda(p)
				if err := test.end(w); err != nil {
					t.Fatal(err)
				}
				w.pass(time.Hour)
				b.wants(t, "of what is gone")
				w.noGrant(ada)
			})
			inWorld(t, func(t *testing.T, w *world) {
				var b noticeBoard
				p := w.adasProfile()
				b.react(func(context.Context, authprofile.Notice) error { return test.end(w) })
				w.maintained(&b, w.store)
				w.endAda(p)
				w.pass(time.Hour)
				b.wants(t, "of what goes meanwhile", "needs_user ada")
				w.noGrant(ada)
			})
		})
	}
	// A grant that was made while its profile was deleted goes, too.
	inWorld(t, func(t *testing.T, w *world) {
		w.adasProfile()
		g := w.grant(ada)
		if err := w.m.Delete(t.Context(), "crm"); err != nil {
			t.Fatal(err)
		}
		g.Version, g.Due = 0, time.Now()
		w.put(g)
		w.maintained(nil, w.store)
		w.pass(time.Minute)
		w.noGrant(ada)
	})
}

// A Store that fails in the middle of a pass is tried again, and the error is
// that of Maintain if it ends so.
func TestMaintainStoreFails(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		var b noticeBoard
		p := w.user()
		var want []string
		for i := range 4 {
			w.authorize(p, fmt.Sprint("user-", i))
			want = append(want, fmt.Sprint("needs_user user-", i))
		}
		w.srv.RevokeUser("user")
		expire()
		for i := range 4 {
			w.use(p, i)
		}
		store := &faultyStore{Store: w.store}
		luck := rand.New(rand.NewPCG(1, 2))
		var mu sync.Mutex
		store.on(func(c *storeCall) error { // every third call fails
			mu.Lock()
			fails := luck.IntN(3) == 0
			mu.Unlock()
			if fails {
				return errAway
			}
			return c.run()
		})
		w.maintained(&b, store)
		w.pass(3 * time.Hour)
		got := make(map[string]bool)
		for _, n := range b.take() {
			got[fmt.Sprint(n.Kind, " ", n.User)] = true
		}
		if keys := slices.Sorted(maps.Keys(got)); !slices.Equal(keys, want) {
			t.Errorf("got notices %q, want %q", keys, want)
		}
	})
	inWorld(t, func(t *testing.T, w *world) {
		m := &authprofile.Manager{Store: &undueStore{w.store}}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		began := time.Now()
		if err := m.Maintain(ctx); !errors.Is(err, errAway) || time.Since(began) != time.Minute {
			t.Errorf("got error %v after %v, want %v after a minute", err, time.Since(began), errAway)
		}
		m = &authprofile.Manager{Store: w.store}
		m.Shutdown(t.Context())
		if err := m.Maintain(t.Context()); err == nil {
			t.Error("after Shutdown: got no error, want one")
		}
	})
}

// undueStore cannot say what is due.
type undueStore struct{ authprofile.Store }

func (*undueStore) DueGrants(context.Context, time.Time, int) ([]*authprofile.Grant, error) {
	return nil, errAway
}

// Maintain ends with its context, and with the Manager.
func TestMaintainEnds(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		began := time.Now()
		if err := w.m.Maintain(ctx); err != nil || time.Since(began) != time.Minute {
			t.Errorf("got error %v after %v, want none after a minute", err, time.Since(began))
		}
		ended := make(chan error, 1)
		go func() { ended <- w.m.Maintain(context.Background()) }()
		w.pass(time.Second)
		if err := w.m.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := <-ended; err != nil {
			t.Errorf("got error %v, want none", err)
		}
	})
}
