package sealed_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/authprofile/authprofile"
	"github.com/authprofile/authprofile/sealed"
)

// maintained is a time that Maintain goes by.
var maintained = time.Date(2031, 7, 1, 2, 3, 4, 5e6, time.UTC)

// populate puts n profiles, and for the first of them n users' grants, with
// the profile and user in each secret.
func populate(t testing.TB, s authprofile.Store, n int) (records int) {
	t.Helper()
	for i := range n {
		id := fmt.Sprintf("p%03d", i)
		must(t, s.PutProfile(t.Context(), &authprofile.Profile{ID: id, ClientID: "c", ClientSecret: authprofile.Secret(id),
			ClientKey: authprofile.Secret("key of " + id), SecretExpires: maintained, KeepAlive: -1}))
		records++
	}
	for i := range n {
		must(t, s.PutGrant(t.Context(), grantOf("p000", fmt.Sprintf("u%03d", i))))
		records++
	}
	must(t, s.PutGrant(t.Context(), grantOf("p001", "")))
	return records + 1
}

func grantOf(profile, user string) *authprofile.Grant {
	return &authprofile.Grant{
		GrantKey:     authprofile.GrantKey{ProfileID: profile, User: user},
		AccessToken:  authprofile.Secret("access of " + user),
		RefreshToken: authprofile.Secret("refresh of " + user),
		Nonce:        "nonce of " + user,
		Extra:        map[string]authprofile.Secret{"team": authprofile.Secret("team of " + user)},
		Due:          maintained,
		Told:         authprofile.StatusNeedsReauthorization,
		ToldAt:       maintained.Add(-time.Hour),
		Warned:       maintained.Add(-time.Minute),
	}
}

// checkPopulated reads everything that populate has put.
func checkPopulated(t *testing.T, s authprofile.Store, n int) {
	t.Helper()
	profiles, err := s.ListProfiles(t.Context(), "", n+1)
	must(t, err)
	for _, p := range profiles {
		if string(p.ClientSecret) != p.ID {
			t.Errorf("profile %s has another secret than before", p.ID)
		}
		if string(p.ClientKey) != "key of "+p.ID {
			t.Errorf("profile %s has another key than before", p.ID)
		}
		if !p.SecretExpires.Equal(maintained) || p.KeepAlive != -1 {
			t.Errorf("profile %s: got a secret that expires at %v, kept alive after %v; want %v and -1ns", p.ID, p.SecretExpires, p.KeepAlive, maintained)
		}
	}
	grants, err := s.ListGrants(t.Context(), authprofile.GrantFilter{ProfileID: "p000"}, authprofile.GrantKey{}, n+1)
	must(t, err)
	for _, g := range grants {
		want := grantOf("p000", g.User)
		want.Version, want.Created, want.Updated = g.Version, g.Created, g.Updated
		if !reflect.DeepEqual(g, want) {
			t.Errorf("grant of %s is not what it was", g.User)
		}
	}
	if len(profiles) != n || len(grants) != n {
		t.Errorf("got %d profiles and %d grants, want %d of each", len(profiles), len(grants), n)
	}
}

// rotate runs Rotate to its end.
func rotate(t *testing.T, s authprofile.Store) (last sealed.Progress, errs []error) {
	t.Helper()
	for p, err := range sealed.Rotate(t.Context(), s) {
		if err != nil {
			errs = append(errs, err)
		}
		last = p
	}
	return last, errs
}

func checkProgress(t *testing.T, got, want sealed.Progress) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestThreat132_Rotate(t *testing.T) {
	const n = 250
	inner := new(authprofile.MemStore)
	old := sealed.New(inner, newKeyring(t, "k1"))
	total := populate(t, old, n)
	must(t, old.PutGrant(t.Context(), &authprofile.Grant{GrantKey: authprofile.GrantKey{ProfileID: "p002"}})) // no secret, no key
	must(t, old.PutGrant(t.Context(), grantOf("absent", "u")))                                                // of no profile
	total++

	s := sealed.New(inner, newKeyring(t, "k2", "k1", "k0"))
	reports, previous := 0, sealed.Progress{}
	for p, err := range sealed.Rotate(t.Context(), s) {
		must(t, err)
		if seen := p.Profiles + p.Grants; seen <= previous.Profiles+previous.Grants && !p.Done {
			t.Errorf("no progress from %+v to %+v", previous, p)
		}
		if !p.Done && p.Unused != nil {
			t.Errorf("keys %q said to be unused before the end", p.Unused)
		}
		reports, previous = reports+1, p
	}
	if reports < total/100 {
		t.Errorf("got %d reports of progress for %d records", reports, total)
	}
	checkProgress(t, previous, sealed.Progress{
		Profiles: n, Grants: n + 3, Rewritten: total,
		Keys: map[string]int{"k2": total}, Done: true, Unused: []string{"k0", "k1"},
	})
	// Indeed the new key alone opens everything.
	checkPopulated(t, sealed.New(inner, newKeyring(t, "k2")), n)
	if _, err := sealed.New(inner, newKeyring(t, "k2")).Grant(t.Context(), authprofile.GrantKey{ProfileID: "absent", User: "u"}); err != nil {
		t.Errorf("the grant of no profile, by the new key: got error %v, want none", err)
	}

	// A second run has nothing left to do.
	before, err := inner.Grant(t.Context(), authprofile.GrantKey{ProfileID: "p000", User: "u000"})
	must(t, err)
	again, errs := rotate(t, s)
	if len(errs) != 0 {
		t.Error(errs)
	}
	previous.Rewritten = 0
	checkProgress(t, again, previous)
	after, err := inner.Grant(t.Context(), before.GrantKey)
	must(t, err)
	if after.Version != before.Version || !after.Updated.Equal(before.Updated) {
		t.Error("a record under the primary key was written again")
	}
}

func TestRotateGoesOnAfterACrash(t *testing.T) {
	const n = 120
	inner := &failingStore{MemStore: new(authprofile.MemStore)}
	total := populate(t, sealed.New(inner, newKeyring(t, "k1")), n)
	s := sealed.New(inner, newKeyring(t, "k2", "k1"))

	// The process dies after some writes: those that follow never happen.
	inner.left.Store(70)
	inner.failing.Store(true)
	ctx, cancel := context.WithCancel(t.Context())
	inner.died = cancel
	for p, err := range sealed.Rotate(ctx, s) {
		// When the context ends, no record is to blame.
		if p.Done || p.Failed != 0 || !errors.Is(err, context.Canceled) {
			t.Errorf("stopped in the middle: got %+v and error %v, want not Done and %v", p, err, context.Canceled)
		}
	}
	inner.failing.Store(false)
	checkPopulated(t, s, n) // half of it under either key

	again, errs := rotate(t, s)
	if len(errs) != 0 || !again.Done || again.Rewritten != total-70 {
		t.Errorf("afterwards: got %+v and %v, want %d rewritten", again, errs, total-70)
	}
	if !slices.Equal(again.Unused, []string{"k1"}) {
		t.Errorf("unused keys are %q, want k1", again.Unused)
	}
	checkPopulated(t, sealed.New(inner, newKeyring(t, "k2")), n)
}

// A failingStore fails when a number of writes have gone through.
type failingStore struct {
	*authprofile.MemStore
	failing atomic.Bool
	left    atomic.Int64
	died    func()
}

func (s *failingStore) write() error {
	if s.failing.Load() && s.left.Add(-1) < 0 {
		s.died()
		return errors.New("the connection is gone")
	}
	return nil
}

func (s *failingStore) PutProfile(ctx context.Context, p *authprofile.Profile) error {
	if err := s.write(); err != nil {
		return err
	}
	return s.MemStore.PutProfile(ctx, p)
}

func (s *failingStore) PutGrant(ctx context.Context, g *authprofile.Grant) error {
	if err := s.write(); err != nil {
		return err
	}
	return s.MemStore.PutGrant(ctx, g)
}

// Writers renew grants all the while. None of their tokens may be lost, and
// none may be written back after it was replaced.
func TestRotateWhileOthersWrite(t *testing.T) {
	const n, writers = 40, 4
	inner := new(authprofile.MemStore)
	populate(t, sealed.New(inner, newKeyring(t, "k1")), n)
	s := sealed.New(inner, newKeyring(t, "k2", "k1"))

	stop := make(chan struct{})
	renewed := make([]map[string]int, writers)
	var wg sync.WaitGroup
	for w := range writers {
		renewed[w] = make(map[string]int)
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				key := authprofile.GrantKey{ProfileID: "p000", User: fmt.Sprintf("u%03d", i%n)}
				g, err := s.Grant(t.Context(), key)
				if err != nil {
					t.Error(err)
					return
				}
				// Each write appends a mark: a lost update shows as too few.
				g.RefreshToken += "."
				switch err := s.PutGrant(t.Context(), g); {
				case err == nil:
					renewed[w][key.User]++
				case !errors.Is(err, authprofile.ErrConflict):
					t.Error(err)
					return
				}
			}
		})
	}
	// Rotate to a new key again and again, to meet the writers often.
	var last sealed.Progress
	for i := range 20 {
		ring := newKeyring(t, []string{"k2", "k1"}[i%2], []string{"k1", "k2"}[i%2])
		var errs []error
		if last, errs = rotate(t, sealed.New(inner, ring)); !last.Done {
			t.Errorf("got %+v and %v", last, errs)
		}
		for _, err := range errs {
			if !errors.Is(err, authprofile.ErrConflict) { // which says so, and is left for the next run
				t.Error(err)
			}
		}
	}
	close(stop)
	wg.Wait()
	total := 0
	for i := range n {
		user := fmt.Sprintf("u%03d", i)
		g, err := s.Grant(t.Context(), authprofile.GrantKey{ProfileID: "p000", User: user})
		must(t, err)
		want := 0
		for _, m := range renewed {
			want += m[user]
		}
		if got := strings.Count(string(g.RefreshToken), "."); got != want {
			t.Errorf("%s: %d renewals are in the store, want %d", user, got, want)
		}
		total += want
	}
	if total == 0 {
		t.Error("the writers have written nothing")
	}
	last, errs := rotate(t, s)
	if len(errs) != 0 || !slices.Equal(last.Unused, []string{"k1"}) {
		t.Errorf("at rest: got %+v and %v, want k1 unused", last, errs)
	}
}

// Between its read and its write a record was replaced, or deleted.
func TestRotateReadsAgainAfterAConflict(t *testing.T) {
	for name, test := range map[string]struct {
		meddle func(old, new authprofile.Store, g *authprofile.Grant)
		want   sealed.Progress
	}{
		"under the old key": {
			func(old, new authprofile.Store, g *authprofile.Grant) { must(t, old.PutGrant(t.Context(), g)) },
			sealed.Progress{Profiles: 1, Grants: 1, Rewritten: 2, Keys: map[string]int{"k2": 2}, Done: true, Unused: []string{"k1"}},
		},
		"under the new key": {
			func(old, new authprofile.Store, g *authprofile.Grant) { must(t, new.PutGrant(t.Context(), g)) },
			sealed.Progress{Profiles: 1, Grants: 1, Rewritten: 1, Keys: map[string]int{"k2": 2}, Done: true, Unused: []string{"k1"}},
		},
		"deleted": {
			func(old, new authprofile.Store, g *authprofile.Grant) {
				must(t, old.DeleteGrant(t.Context(), g.GrantKey))
			},
			sealed.Progress{Profiles: 1, Grants: 1, Rewritten: 1, Keys: map[string]int{"k2": 1}, Done: true, Unused: []string{"k1"}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			ctx := t.Context()
			inner := new(authprofile.MemStore)
			old, now := sealed.New(inner, newKeyring(t, "k1")), sealed.New(inner, newKeyring(t, "k2", "k1"))
			must(t, old.PutProfile(ctx, &authprofile.Profile{ID: "crm"}))
			must(t, old.PutGrant(ctx, grantOf("crm", "alice")))
			meddling := &meddlingStore{MemStore: inner, before: func() {
				g, err := now.Grant(ctx, authprofile.GrantKey{ProfileID: "crm", User: "alice"})
				must(t, err)
				g.RefreshToken = "newer"
				test.meddle(old, now, g)
			}}
			got, errs := rotate(t, sealed.New(meddling, newKeyring(t, "k2", "k1")))
			if len(errs) != 0 {
				t.Error(errs)
			}
			checkProgress(t, got, test.want)
			g, err := sealed.New(inner, newKeyring(t, "k2")).Grant(ctx, authprofile.GrantKey{ProfileID: "crm", User: "alice"})
			if name == "deleted" {
				if !errors.Is(err, authprofile.ErrNotFound) {
					t.Errorf("got %v and error %v: a deleted grant came back", g, err)
				}
			} else if err != nil || g.RefreshToken != "newer" {
				t.Errorf("got %v and error %v, want the newer token", g, err)
			}
		})
	}
}

// A meddlingStore does something before the first put of a grant, or before all
// of them.
type meddlingStore struct {
	*authprofile.MemStore
	before func()
	always bool
	puts   int
}

func (s *meddlingStore) PutGrant(ctx context.Context, g *authprofile.Grant) error {
	if s.puts++; s.puts == 1 || s.always {
		s.before()
	}
	return s.MemStore.PutGrant(ctx, g)
}

func TestRotateGivesUpOnARecordThatNeverRests(t *testing.T) {
	ctx := t.Context()
	inner := new(authprofile.MemStore)
	old := sealed.New(inner, newKeyring(t, "k1"))
	must(t, old.PutProfile(ctx, &authprofile.Profile{ID: "crm"}))
	must(t, old.PutGrant(ctx, grantOf("crm", "alice")))
	meddling := &meddlingStore{MemStore: inner, always: true, before: func() {
		g, err := old.Grant(ctx, authprofile.GrantKey{ProfileID: "crm", User: "alice"})
		must(t, err)
		must(t, old.PutGrant(ctx, g))
	}}
	last, errs := rotate(t, sealed.New(meddling, newKeyring(t, "k2", "k1")))
	if len(errs) != 1 || !errors.Is(errs[0], authprofile.ErrConflict) || last.Failed != 1 || last.Unused != nil {
		t.Errorf("got %+v and %v, want one conflict and no key unused", last, errs)
	}
}

func TestThreat132_RotateReportsWhatItCannotOpen(t *testing.T) {
	ctx := t.Context()
	inner := new(authprofile.MemStore)
	populate(t, sealed.New(inner, newKeyring(t, "k1")), 5)
	must(t, sealed.New(inner, newKeyring(t, "lost")).PutGrant(ctx, grantOf("p000", "lost")))
	must(t, inner.PutGrant(ctx, grantOf("p000", "planted")))
	must(t, inner.PutProfile(ctx, &authprofile.Profile{ID: "planted", ClientSecret: "secret of planted"}))

	last, errs := rotate(t, sealed.New(inner, newKeyring(t, "k2", "k1")))
	checkProgress(t, last, sealed.Progress{
		Profiles: 6, Grants: 8, Rewritten: 11, Failed: 3,
		Keys: map[string]int{"k2": 11, "lost": 1}, Done: true, Unused: nil,
	})
	var where []string
	for _, err := range errs {
		e := new(authprofile.Error)
		if !errors.As(err, &e) {
			t.Fatalf("got error %v, want an *authprofile.Error", err)
		}
		where = append(where, e.ProfileID+"/"+e.User)
		for _, secret := range []string{"secret of", "access of", "refresh of", "nonce of", "team of", "sealed:1:"} {
			if strings.Contains(err.Error(), secret) {
				t.Errorf("error %q has a secret in it", err)
			}
		}
	}
	if slices.Sort(where); !slices.Equal(where, []string{"p000/lost", "p000/planted", "planted/"}) {
		t.Errorf("got errors for %q", where)
	}
	// Rotate does not seal a planted value.
	if _, err := sealed.New(inner, newKeyring(t, "k2", "k1")).Grant(ctx, authprofile.GrantKey{ProfileID: "p000", User: "planted"}); err == nil {
		t.Error("Rotate has sealed what was planted")
	}
}

// A damagedStore cannot read what belongs to one user, and one profile.
type damagedStore struct {
	authprofile.Store
	profile, user string
	due           error // of DueGrants: in place of a list if there is no user, else beside it
}

var errDamaged = errors.New("the row is damaged")

func (s *damagedStore) ListProfiles(ctx context.Context, after string, limit int) ([]*authprofile.Profile, error) {
	list, err := s.Store.ListProfiles(ctx, after, limit+1)
	return withoutOne(list, limit, err, authprofile.GrantKey{ProfileID: s.profile}, func(p *authprofile.Profile) bool { return p.ID == s.profile })
}

func (s *damagedStore) ListGrants(ctx context.Context, f authprofile.GrantFilter, after authprofile.GrantKey, limit int) ([]*authprofile.Grant, error) {
	list, err := s.Store.ListGrants(ctx, f, after, limit+1)
	return withoutOne(list, limit, err, authprofile.GrantKey{ProfileID: "p000", User: s.user}, func(g *authprofile.Grant) bool { return g.User == s.user })
}

func (s *damagedStore) DueGrants(ctx context.Context, before time.Time, limit int) ([]*authprofile.Grant, error) {
	if s.due != nil && s.user == "" {
		return nil, s.due
	}
	list, err := s.Store.DueGrants(ctx, before, min(limit, math.MaxInt-1)+1)
	list, err = withoutOne(list, limit, err, authprofile.GrantKey{ProfileID: "p000", User: s.user}, func(g *authprofile.Grant) bool { return g.User == s.user })
	if s.due != nil {
		err = errors.Join(append(split(err), s.due)...)
	}
	return list, err
}

func withoutOne[T any](list []T, limit int, err error, key authprofile.GrantKey, damaged func(T) bool) ([]T, error) {
	if i := slices.IndexFunc(list, damaged); i >= 0 {
		list = slices.Delete(list, i, i+1)
		err = errors.Join(err, &authprofile.Error{Op: "read", ProfileID: key.ProfileID, User: key.User, Err: errDamaged})
	}
	return list[:min(limit, len(list))], err
}

// What the Store cannot read is an error for that record alone, here too.
func TestRecordsThatTheStoreCannotRead(t *testing.T) {
	const n = 150
	outer, inner := newStore(t)
	records := populate(t, outer, n)
	// Two more cannot be opened.
	p, err := inner.Profile(t.Context(), "p010")
	must(t, err)
	p.ClientSecret = "planted"
	must(t, inner.PutProfile(t.Context(), p))
	g, err := inner.Grant(t.Context(), authprofile.GrantKey{ProfileID: "p000", User: "u010"})
	must(t, err)
	g.RefreshToken = "planted"
	must(t, inner.PutGrant(t.Context(), g))
	s := sealed.New(&damagedStore{Store: inner, profile: "p007", user: "u042"}, newKeyring(t, "new", "k1"))

	for name, list := range map[string]func() (int, error){
		"profiles": func() (int, error) { l, err := s.ListProfiles(t.Context(), "", n-2); return len(l), err },
		"grants": func() (int, error) {
			l, err := s.ListGrants(t.Context(), authprofile.GrantFilter{ProfileID: "p000"}, authprofile.GrantKey{}, n-2)
			return len(l), err
		},
	} {
		if got, err := list(); got != n-2 || !errors.Is(err, errDamaged) {
			t.Errorf("got %d %s, error %v; want all but two, and an error about those", got, name, err)
		}
	}
	last, errs := rotate(t, s)
	if !last.Done || last.Failed != 4 || len(errs) != 4 || last.Rewritten != records-4 || last.Unused != nil {
		t.Errorf("got %+v and %d errors; want all but four records rewritten, and no key unused", last, len(errs))
	}
}

// A lostStore says what is wrong with one record, and then gives up.
type lostStore struct{ authprofile.Store }

func (lostStore) ListProfiles(context.Context, string, int) ([]*authprofile.Profile, error) {
	return nil, errors.Join(&authprofile.Error{Op: "read", ProfileID: "a", Err: errDamaged}, errLost)
}

var errLost = errors.New("the rest was not read")

func TestListThatGivesUp(t *testing.T) {
	_, err := sealed.New(lostStore{}, newKeyring(t, "k1")).ListProfiles(t.Context(), "", 100)
	if !errors.Is(err, errDamaged) || !errors.Is(err, errLost) {
		t.Errorf("got error %v, want both that of the record and that of the Store", err)
	}
}

func TestRotateWithAnotherKeeper(t *testing.T) {
	const n = 5
	inner := new(authprofile.MemStore)
	s := sealed.New(inner, &countingKeeper{Keeper: newKeyring(t, "k1")})
	total := populate(t, s, n)
	for range 2 {
		last, errs := rotate(t, s)
		if len(errs) != 0 {
			t.Error(errs)
		}
		checkProgress(t, last, sealed.Progress{Profiles: n, Grants: n + 1, Rewritten: total, Done: true})
	}
	checkPopulated(t, s, n)
}

func TestRotateNeedsASealedStore(t *testing.T) {
	last, errs := rotate(t, new(authprofile.MemStore))
	if len(errs) != 1 || last.Done {
		t.Errorf("got %+v and %v, want an error", last, errs)
	}
}

func TestRotateCanBeLeft(t *testing.T) {
	inner := new(authprofile.MemStore)
	populate(t, sealed.New(inner, newKeyring(t, "k1")), 150)
	reports := 0
	for range sealed.Rotate(t.Context(), sealed.New(inner, newKeyring(t, "k2", "k1"))) {
		reports++
		break
	}
	if reports != 1 {
		t.Errorf("got %d reports after break, want 1", reports)
	}
}

func TestSealExisting(t *testing.T) {
	const n = 120
	ctx := t.Context()
	inner := new(authprofile.MemStore)
	total := populate(t, inner, n)
	must(t, inner.PutProfile(ctx, &authprofile.Profile{ID: "public", ClientID: "c"}))
	s := sealed.New(inner, newKeyring(t, "k2", "k1"))
	if _, err := s.Profile(ctx, "public"); err == nil {
		t.Error("an unsealed profile was accepted")
	}
	must(t, s.PutProfile(ctx, &authprofile.Profile{ID: "q"})) // sealed already
	must(t, sealed.New(inner, newKeyring(t, "k1")).PutProfile(ctx, &authprofile.Profile{ID: "r"}))
	// The package never leaves a record half sealed.
	must(t, s.PutGrant(ctx, grantOf("q", "half")))
	half, err := inner.Grant(ctx, authprofile.GrantKey{ProfileID: "q", User: "half"})
	must(t, err)
	half.RefreshToken = "planted"
	must(t, inner.PutGrant(ctx, half))

	run := func() (last sealed.Progress, errs int) {
		for p, err := range sealed.SealExisting(ctx, s) {
			if err != nil {
				errs++
				if e := new(authprofile.Error); !errors.As(err, &e) || e.User != "half" {
					t.Error(err)
				}
			}
			last = p
		}
		return last, errs
	}
	last, errs := run()
	want := sealed.Progress{
		Profiles: n + 3, Grants: n + 2, Rewritten: total + 1, Failed: 1,
		Keys: map[string]int{"k2": total + 2, "k1": 1}, Done: true,
	}
	checkProgress(t, last, want)
	if errs != 1 {
		t.Errorf("got %d errors, want 1", errs)
	}
	for _, id := range []string{"public", "q", "r"} {
		if _, err := s.Profile(ctx, id); err != nil {
			t.Errorf("%s: %v", id, err)
		}
		must(t, inner.DeleteProfile(ctx, id))
	}
	checkPopulated(t, s, n)

	must(t, sealed.New(inner, newKeyring(t, "k1")).PutProfile(ctx, &authprofile.Profile{ID: "r"}))
	if last, _ := run(); last.Failed != 0 || last.Unused != nil {
		t.Errorf("got %+v, want no key unused: r is under the retired one", last)
	}
	must(t, inner.DeleteProfile(ctx, "r"))
	again, errs := run()
	checkProgress(t, again, sealed.Progress{
		Profiles: n, Grants: n + 1, Keys: map[string]int{"k2": total}, Done: true, Unused: []string{"k1"},
	})
	if errs != 0 {
		t.Errorf("second run: got %d errors, want none", errs)
	}
}

func TestProgressBelongsToTheCaller(t *testing.T) {
	inner := new(authprofile.MemStore)
	total := populate(t, sealed.New(inner, newKeyring(t, "k1")), 150)
	var last sealed.Progress
	for p, err := range sealed.Rotate(t.Context(), sealed.New(inner, newKeyring(t, "k2", "k1"))) {
		must(t, err)
		last = p
		last.Keys = maps.Clone(p.Keys)
		clear(p.Keys)
	}
	if got := last.Keys["k2"]; got != total {
		t.Errorf("got %d records under the new key, want %d", got, total)
	}
}
