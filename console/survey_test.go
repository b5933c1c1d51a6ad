package console_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authprofile/authprofile"
	"github.com/authprofile/authprofile/console"
)

// A watchedStore tells what is read from it, and can be slow, fail and panic.
type watchedStore struct {
	*authprofile.MemStore
	counting func(context.Context) error // before all grants are counted; nil: nothing
	numbers  func(context.Context) error // before those of one profile are
	listing  func(context.Context) error // before grants are listed
	profiles func(context.Context) error // before profiles are listed
	damaged  []error                     // of each list of grants

	counts, active, mostActive atomic.Int32 // of all grants
	grantsRead, profilesRead   atomic.Int32
	largest                    atomic.Int32 // what was asked for at once
}

func (s *watchedStore) CountGrants(ctx context.Context, profileID string) (map[authprofile.Status]int64, error) {
	if profileID == "" {
		s.counts.Add(1)
		s.mostActive.Store(max(s.mostActive.Load(), s.active.Add(1)))
		defer s.active.Add(-1)
		if s.counting != nil {
			if err := s.counting(ctx); err != nil {
				return nil, err
			}
		}
	}
	if profileID != "" && s.numbers != nil {
		if err := s.numbers(ctx); err != nil {
			return nil, err
		}
	}
	return s.MemStore.CountGrants(ctx, profileID)
}

func (s *watchedStore) ListGrants(ctx context.Context, f authprofile.GrantFilter, after authprofile.GrantKey, limit int) ([]*authprofile.Grant, error) {
	s.largest.Store(max(s.largest.Load(), int32(limit)))
	if s.listing != nil {
		if err := s.listing(ctx); err != nil {
			return nil, err
		}
	}
	list, err := s.MemStore.ListGrants(ctx, f, after, limit)
	s.grantsRead.Add(int32(len(list)))
	return list, errors.Join(append(s.damaged, err)...)
}

func (s *watchedStore) ListProfiles(ctx context.Context, after string, limit int) ([]*authprofile.Profile, error) {
	s.largest.Store(max(s.largest.Load(), int32(limit)))
	if s.profiles != nil {
		if err := s.profiles(ctx); err != nil {
			return nil, err
		}
	}
	list, err := s.MemStore.ListProfiles(ctx, after, limit)
	s.profilesRead.Add(int32(len(list)))
	return list, err
}

func (s *watchedStore) Profile(ctx context.Context, id string) (*authprofile.Profile, error) {
	s.profilesRead.Add(1)
	return s.MemStore.Profile(ctx, id)
}

func newWatchedStore() *watchedStore { return &watchedStore{MemStore: new(authprofile.MemStore)} }

// put stores a grant.
func put(t *testing.T, s authprofile.Store, profile, user string, status authprofile.Status, change func(*authprofile.Grant)) {
	t.Helper()
	g := &authprofile.Grant{GrantKey: authprofile.GrantKey{ProfileID: profile, User: user}, Status: status, AccessToken: "planted-access", RefreshToken: "planted-refresh"}
	if change != nil {
		change(g)
	}
	if err := s.PutGrant(t.Context(), g); err != nil {
		t.Fatal(err)
	}
}

// putProfile stores a profile.
func putProfile(t *testing.T, s authprofile.Store, id, name string, change func(*authprofile.Profile)) {
	t.Helper()
	p := &authprofile.Profile{
		ID: id, Name: name, Type: authprofile.TypeUser, ClientID: "client", ClientSecret: "planted-secret",
		Endpoints: authprofile.Endpoints{AuthURL: "https://login.example.com/auth", TokenURL: "https://login.example.com/token"},
	}
	if change != nil {
		change(p)
	}
	if err := s.PutProfile(t.Context(), p); err != nil {
		t.Fatal(err)
	}
}

func ends(in time.Duration) func(*authprofile.Grant) {
	at := time.Now().Add(in)
	return func(g *authprofile.Grant) { g.Ends, g.EndsBy = at, authprofile.EndsAbsolute }
}

func watch(t *testing.T, s authprofile.Store) (*console.Handler, *browserTab) {
	t.Helper()
	h := &console.Handler{Manager: &authprofile.Manager{Store: s}, Operator: operator}
	return h, open(t, h)
}

// took is how long the call takes.
func took(call func()) time.Duration {
	begin := time.Now()
	call()
	return time.Since(begin)
}

// isBackground reports whether a read is that of a count, and not that of a page.
func isBackground(ctx context.Context) bool { _, ok := ctx.Deadline(); return ok }

const day = 24 * time.Hour

// figure is how the overview shows a number of grants.
func figure(n string) string { return `<span class="figure">` + n + `</span>` }

func TestFirstPageHasTheCountsOfASmallStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newWatchedStore()
		put(t, s, "crm", "ada", authprofile.StatusActive, nil)
		_, b := watch(t, s)
		var a *answer
		if d := took(func() { a = b.get("") }); d != 0 {
			t.Errorf("got a page after %v, want it at once", d)
		}
		a.wants(t, 200, figure("1"), "Counted at")
	})
}

// The first page waits for a moment, and no other one does. What takes ten seconds is
// done once, and again no sooner than after twenty times as long.
func TestPagesDoNotWaitForASlowStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newWatchedStore()
		s.counting = func(ctx context.Context) error { time.Sleep(10 * time.Second); return nil }
		put(t, s, "crm", "ada", authprofile.StatusActive, nil)
		h, b := watch(t, s)

		var pages sync.WaitGroup
		for range 5 {
			pages.Go(func() {
				var a *answer
				if d := took(func() { a = b.get("") }); d != 250*time.Millisecond {
					t.Errorf("got a page after %v, want 250ms", d)
				}
				a.wants(t, 200, "Counting is under way")
			})
		}
		pages.Wait()
		if d := took(func() { b.get("").wants(t, 200, "Counting is under way") }); d != 0 {
			t.Errorf("got a later page after %v, want it at once", d)
		}
		time.Sleep(10 * time.Second)
		b.get("").wants(t, 200, figure("1"))

		// A change does not make it read all the time.
		h.Stale()
		time.Sleep(190 * time.Second)
		if d := took(func() { b.get("").wants(t, 200, figure("1")) }); d != 0 {
			t.Errorf("got a page of a slow store after %v, want it at once", d)
		}
		synctest.Wait()
		if got := s.counts.Load(); got != 1 {
			t.Errorf("got %d counts within twenty times what one takes, want 1", got)
		}
		time.Sleep(11 * time.Second)
		b.get("").wants(t, 200, figure("1"))
		time.Sleep(11 * time.Second)
		if got, most := s.counts.Load(), s.mostActive.Load(); got != 2 || most != 1 {
			t.Errorf("got %d counts, %d at once, want 2, one after the other", got, most)
		}
	})
}

// A small store is counted anew after a minute, and at once after a change in the
// console, also after one that happens while it is counted.
func TestChangesAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newWatchedStore()
		s.profiles = func(ctx context.Context) error { // after the grants were counted
			if isBackground(ctx) {
				time.Sleep(20 * time.Millisecond)
			}
			return nil
		}
		put(t, s, "crm", "ada", authprofile.StatusActive, nil)
		h, b := watch(t, s)
		b.get("").wants(t, 200, figure("1"))

		put(t, s, "crm", "bob", authprofile.StatusActive, nil)
		time.Sleep(59 * time.Second)
		b.get("").wants(t, 200, figure("1"))
		if got := s.counts.Load(); got != 1 {
			t.Errorf("got %d counts within a minute, want 1", got)
		}
		time.Sleep(2 * time.Second)
		if d := took(func() { b.get("").wants(t, 200, figure("1")) }); d != 0 {
			t.Errorf("got a page after %v, want the old count at once", d)
		}
		synctest.Wait()
		time.Sleep(time.Second)
		b.get("").wants(t, 200, figure("2"))

		put(t, s, "crm", "cyd", authprofile.StatusActive, nil)
		h.Stale()
		b.get("").wants(t, 200, figure("3"))

		// The count that is under way has missed the change.
		h.Stale()
		go b.get("")
		time.Sleep(10 * time.Millisecond)
		put(t, s, "crm", "dan", authprofile.StatusActive, nil)
		h.Stale()
		b.get("").wants(t, 200, figure("4"))
		if got := s.mostActive.Load(); got != 1 {
			t.Errorf("got %d counts at once, want one after the other", got)
		}
	})
}

// Of a Store that does not answer nothing is left after a minute, and the pages say so.
func TestCountEndsWithItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newWatchedStore()
		_, b := watch(t, s)
		var background atomic.Int32
		hang := func(ctx context.Context) error {
			if !isBackground(ctx) {
				return nil
			}
			background.Add(1)
			defer background.Add(-1)
			<-ctx.Done()
			return ctx.Err()
		}
		s.counting, s.listing, s.profiles = hang, hang, hang
		b.get("").wants(t, 200, "Counting is under way")
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := background.Load(); got != 0 {
			t.Errorf("got %d reads after a minute, want none", got)
		}
		b.get("").wants(t, 200, "Counting failed")
		b.get("attention").wants(t, 200, "Counting failed")
	})
}

// What can be counted is shown, also if the Store panics, and what was known stays.
func TestCountFails(t *testing.T) {
	for _, tt := range []struct {
		name string
		fail func(context.Context) error
	}{
		{"fails", func(context.Context) error { return errors.New("connection refused") }},
		{"panics", func(context.Context) error { panic("planted-panic") }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newWatchedStore()
				s.counting = tt.fail
				put(t, s, "crm", "ada", authprofile.StatusActive, ends(2*day))
				var log strings.Builder
				b := open(t, &console.Handler{Manager: &authprofile.Manager{Store: s}, Operator: operator, Logger: slog.New(slog.NewTextHandler(&log, nil))})
				b.get("").wants(t, 200, "Counting failed", "One grant ends within 5 weeks")
				if text := log.String(); text == "" || strings.Contains(text, "planted-panic") {
					t.Errorf("got log %q, want what has happened, without the text of a panic", text)
				}

				s.counting = nil
				time.Sleep(2 * time.Minute)
				b.get("")
				synctest.Wait()
				b.get("").wants(t, 200, figure("1"))

				s.counting = tt.fail
				time.Sleep(2 * time.Minute)
				b.get("")
				synctest.Wait()
				b.get("").wants(t, 200, figure("1"), "The latest count failed")
			})
		})
	}
}

// Records that cannot be read are counted, and hide no others.
func TestSurveyWithUnreadableRecords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newWatchedStore()
		s.damaged = []error{
			&authprofile.Error{Op: "read", ProfileID: "crm", User: "eve", Err: errors.New("damaged")},
			&authprofile.Error{Op: "read", ProfileID: "crm", User: "fay", Err: errors.New("damaged")},
		}
		put(t, s, "crm", "ada", authprofile.StatusActive, ends(2*day))
		_, b := watch(t, s)
		a := b.get("attention")
		a.wants(t, 200, ">ada</a>", "2 records cannot be read, and are not shown")
		if strings.Contains(a.body, "Nothing needs attention") || strings.Contains(a.body, "there may be more") {
			t.Errorf("got a page that says nothing is wrong, or that the store has failed:\n%s", a.body)
		}
	})
}

// A hundred thousand grants are counted in small parts, and only the soonest are kept.
func TestSurveyOfManyGrants(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newWatchedStore()
		const many = 100_000
		for i := range many {
			// The ones that end first come last in the order of their names.
			in := 20*day + time.Duration(many-i)*time.Second
			put(t, s, "crm", fmt.Sprintf("user%06d", i), authprofile.StatusActive, ends(in))
		}
		for i := range 30 {
			put(t, s, "crm", fmt.Sprintf("past%d", i), authprofile.StatusActive, ends(-day))
			put(t, s, "crm", fmt.Sprintf("over%d", i), authprofile.StatusNeedsReauthorization, ends(-day))
			put(t, s, "crm", fmt.Sprintf("late%d", i), authprofile.StatusActive, ends(34*day))
		}
		_, b := watch(t, s)
		a := b.get("attention")
		a.wants(t, 200, "100,000 in all", ">user099999</a>", ">user099980</a>", "30 grants have passed the known end")
		if strings.Contains(a.body, ">user099979<") || strings.Contains(a.body, ">late") || strings.Contains(a.body, ">past") {
			t.Errorf("got more than the twenty grants that end first:\n%s", a.body)
		}
		if first, last := strings.Index(a.body, ">user099999<"), strings.Index(a.body, ">user099980<"); first > last {
			t.Error("got the one that ends last first, want the one that ends first")
		}
		b.get("").wants(t, 200, "100,030 grants end within 5 weeks")
		if got := s.largest.Load(); got > 200 {
			t.Errorf("got %d records read at once, want at most 200", got)
		}
	})
}
