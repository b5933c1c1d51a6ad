package storetest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/authprofile/authprofile"
)

// What holds for what a Manager goes by when it maintains grants.
var dueChecks = []check{
	{"ProfileKeepAlive", profileKeepAlive},
	{"GrantWithoutStatus", grantWithoutStatus},
	{"DueGrants", dueGrants},
	{"DueGrantsOfMany", dueGrantsOfMany},
	{"DueGrantsAfterChanges", dueGrantsAfterChanges},
	{"DueGrantsWhileOthersChange", dueGrantsWhileOthersChange},
	{"DueGrantsOwnership", dueGrantsOwnership},
	{"DueGrantsContextEnded", dueGrantsContextEnded},
}

// isDue says whether DueGrants may return a grant.
func isDue(g *authprofile.Grant, before time.Time) bool {
	return !g.Due.IsZero() && g.Due.Before(before)
}

// mustBeDue checks the first grants that are due in a Store that has all these,
// and returns them.
func mustBeDue(t tb, s authprofile.Store, all []*authprofile.Grant, before time.Time, limit int) []*authprofile.Grant {
	t.Helper()
	var want []time.Time // in this order, whichever grants
	stored := make(map[authprofile.GrantKey]*authprofile.Grant)
	for _, g := range all {
		if isDue(g, before) {
			want = append(want, g.Due)
			stored[g.GrantKey] = g
		}
	}
	slices.SortFunc(want, time.Time.Compare)
	want = want[:min(limit, len(want))]
	list, err := s.DueGrants(t.Context(), before, limit)
	if err != nil {
		t.Fatalf("DueGrants before %v, limit %d: got error %v, want none", before, limit, err)
	}
	if len(list) != len(want) {
		t.Fatalf("DueGrants before %v, limit %d: got %d grants, want %d", before, limit, len(list), len(want))
	}
	for i, g := range list {
		if g == nil || stored[g.GrantKey] == nil {
			t.Fatalf("DueGrants before %v, limit %d, place %d: got %+v, want one that is due, once", before, limit, i, g)
		}
		if !g.Due.Equal(want[i]) {
			t.Fatalf("DueGrants before %v, limit %d, place %d: got one that is due at %v, want %v", before, limit, i, g.Due, want[i])
		}
		if d := diffStored(g, stored[g.GrantKey]); d != "" {
			t.Fatalf("DueGrants before %v, limit %d: %s", before, limit, d)
		}
		delete(stored, g.GrantKey)
	}
	return list
}

// profileKeepAlive: a duration below zero is not none.
func profileKeepAlive(t tb, s authprofile.Store) {
	p := profiles.new("p", 1)
	for _, d := range []time.Duration{-1, -time.Millisecond, 1, 0, 30 * 24 * time.Hour, math.MinInt64, math.MaxInt64, 0, -time.Hour} {
		p.KeepAlive = d
		profiles.mustPut(t, s, p)
		profiles.mustHave(t, s, p)
	}
}

// grantWithoutStatus: a Manager keeps what was told of a profile in a grant that
// has neither a user, nor a status, nor tokens. A Store keeps it like any other.
func grantWithoutStatus(t tb, s authprofile.Store) {
	now := time.Date(2031, 7, 1, 2, 3, 4, 5e6, time.UTC)
	var all []*authprofile.Grant
	for _, id := range []string{"p", "q"} {
		of := &authprofile.Grant{GrantKey: authprofile.GrantKey{ProfileID: id}}
		of.Due, of.Told, of.ToldAt, of.Warned = now, authprofile.StatusNeedsConfiguration, now.Add(-time.Hour), now.Add(-time.Minute)
		all = append(all, of, newGrant(id, "u", 1))
	}
	putGrants(t, s, all)
	check := func() {
		t.Helper()
		for _, g := range all {
			mustHaveGrant(t, s, g)
		}
		mustList(t, s, all, authprofile.GrantFilter{}, authprofile.GrantKey{}, 10)
		mustList(t, s, all, authprofile.GrantFilter{ProfileID: "p"}, authprofile.GrantKey{}, 10)
		mustCount(t, s, all, "")
		mustCount(t, s, all, "q")
		mustBeDue(t, s, all, now.Add(time.Millisecond), 10)
		mustBeDue(t, s, all, now, 10)
	}
	check()
	all[0].Told, all[0].ToldAt, all[0].Due = "", time.Time{}, now.Add(-time.Hour)
	mustPutGrant(t, s, all[0])
	check()
	if err := s.DeleteGrant(t.Context(), all[2].GrantKey); err != nil {
		t.Fatalf("DeleteGrant without a status: got error %v, want none", err)
	}
	all = slices.Delete(all, 2, 3)
	check()
	if err := s.DeleteProfile(t.Context(), "p"); err != nil {
		t.Fatalf("DeleteProfile: got error %v, want none", err)
	}
	all = all[2:]
	check()
}

// dueGrants: those whose time is known and before the given one, of all
// profiles, the earliest first, at most as many as asked for.
func dueGrants(t tb, s authprofile.Store) {
	now := time.Date(2031, 12, 31, 22, 30, 0, 500e6, time.UTC) // in Berlin's summer time it is another year
	for _, limit := range []int{0, 1, 10} {
		mustBeDue(t, s, nil, now, limit)
	}
	dues := []time.Time{
		now,
		{},
		time.UnixMilli(1),
		now.Add(time.Millisecond),
		now.Add(-time.Hour),
		time.Date(1969, 7, 20, 20, 17, 40, 0, time.UTC),
		now.Add(-time.Millisecond).In(berlin),
		time.Date(9999, 12, 31, 23, 59, 59, 999e6, time.UTC),
		time.Time{}.In(berlin),
		time.UnixMilli(-1),
		now.In(berlin),
		time.Date(2106, 2, 7, 6, 28, 16, 0, time.UTC),
		now.Add(time.Hour).In(berlin),
		time.Unix(0, 0),
	}
	var all []*authprofile.Grant
	for i, at := range dues {
		for j, id := range []string{"q", "p", "r"} {
			g := newGrant(id, []string{"", "u", "v"}[j]+strings.Repeat("x", i), 3*i+j)
			g.Due = at
			all = append(all, g)
		}
	}
	putGrants(t, s, all)
	for _, at := range dues {
		// Also between two milliseconds: what is due at the first is before it.
		for _, d := range []time.Duration{0, 1, time.Millisecond - 1, time.Millisecond, -1, -time.Millisecond} {
			if at.IsZero() && d != 0 || at.Year() == 9999 && d > 0 {
				continue
			}
			for _, zone := range []*time.Location{time.UTC, berlin, time.FixedZone("", -9*60*60-30*60)} {
				mustBeDue(t, s, all, at.Add(d).In(zone), 1000)
			}
		}
	}
	before := now.Add(time.Millisecond)
	due := len(mustBeDue(t, s, all, before, 1000))
	for _, limit := range []int{0, 1, 2, 3, due - 1, due, due + 1, 1e6, math.MaxInt32, math.MaxInt} {
		mustBeDue(t, s, all, before, limit)
		mustBeDue(t, s, all, time.Date(1990, 1, 1, 0, 0, 0, 0, time.UTC), limit)
	}
}

// dueGrantsOfMany: a page is as long as it was asked for, however many are due,
// and are not. Those who put what they get with a later time see all of them.
func dueGrantsOfMany(t tb, s authprofile.Store) {
	now := time.Date(2031, 7, 1, 2, 3, 4, 5e6, time.UTC)
	var all []*authprofile.Grant
	for i := range many {
		g := &authprofile.Grant{GrantKey: authprofile.GrantKey{ProfileID: fmt.Sprintf("p%d", i%3), User: fmt.Sprintf("u%06d", i)}}
		g.Status = statuses[i%len(statuses)]
		g.Due = now.Add(24 * time.Hour)
		all = append(all, g)
	}
	early := all[many/2]
	early.Due = now.Add(-time.Minute)
	putGrants(t, s, all)
	for _, limit := range []int{1, 2, many} {
		mustBeDue(t, s, all, now, limit)
	}
	later := now.AddDate(0, 0, 2)
	mustBeDue(t, s, all, later, many-1) // of which most have the same time
	mustBeDue(t, s, all, later, many)
	mustBeDue(t, s, all, later, many+1)

	const some = 60
	for _, g := range all[some:] {
		if g == early {
			continue
		}
		if err := s.DeleteGrant(t.Context(), g.GrantKey); err != nil {
			t.Fatalf("DeleteGrant: got error %v, want none", err)
		}
	}
	all = append(all[:some:some], early)
	for seen, limit := 0, 7; ; {
		list := mustBeDue(t, s, all, later, limit)
		for _, g := range list {
			i := slices.IndexFunc(all, func(h *authprofile.Grant) bool { return h.GrantKey == g.GrantKey })
			g.Due = later.Add(time.Duration(seen) * time.Second)
			if seen%3 == 0 {
				g.Due = time.Time{}
			}
			mustPutGrant(t, s, g)
			all[i] = g
			seen++
		}
		if len(list) < limit {
			if seen != some+1 {
				t.Fatalf("DueGrants, each put with another time: got %d in pages of %d, want %d", seen, limit, some+1)
			}
			return
		}
	}
}

// dueGrantsAfterChanges: a grant is due when it was last put with, while it is
// there.
func dueGrantsAfterChanges(t tb, s authprofile.Store) {
	now := time.Date(2031, 7, 1, 2, 3, 4, 5e6, time.UTC)
	var all []*authprofile.Grant
	for i, id := range []string{"p", "q"} {
		for j, user := range []string{"", "u", "v"} {
			g := newGrant(id, user, len(all))
			g.Due = now.Add(time.Duration(3*i+j) * time.Minute)
			mustPutGrant(t, s, g)
			all = append(all, g)
		}
	}
	check := func() {
		t.Helper()
		for _, before := range []time.Time{now, now.Add(time.Millisecond), now.Add(3 * time.Minute), now.Add(24 * time.Hour)} {
			for _, limit := range []int{1, 2, 10} {
				mustBeDue(t, s, all, before, limit)
			}
		}
	}
	check()
	g := all[1] // of p and u
	for _, change := range []func(){
		func() { g.Due = now.Add(time.Hour) },                                        // later
		func() { g.Due = now.Add(-time.Hour) },                                       // earlier
		func() { g.Due = time.Time{} },                                               // not known
		func() { g.Due = now.Add(time.Millisecond) },                                 // again
		func() { g.Status, g.Failure, g.Lease = authprofile.StatusActive, nil, nil }, // and all else
		func() { g.Due = all[4].Due },                                                // as another
		func() { g.AccessToken, g.Told = "another", "" },
		func() { g.Due = g.Due.Add(-time.Millisecond) },
	} {
		change()
		mustPutGrant(t, s, g)
		check()
	}
	stale := clone(g)
	stale.Version++
	stale.Due = now.Add(-24 * time.Hour)
	if err := s.PutGrant(t.Context(), stale); !errors.Is(err, authprofile.ErrConflict) {
		t.Fatalf("PutGrant of a stale grant: got error %v, want ErrConflict", err)
	}
	check()
	if err := s.DeleteGrant(t.Context(), g.GrantKey); err != nil {
		t.Fatalf("DeleteGrant: got error %v, want none", err)
	}
	all = slices.Delete(all, 1, 2)
	check()
	for _, due := range []time.Time{{}, now} { // in another life it is not due as in the last
		g = newGrant("p", "u", 9)
		g.Due = due
		mustPutGrant(t, s, g)
		all = append(all, g)
		check()
		if err := s.DeleteGrant(t.Context(), g.GrantKey); err != nil {
			t.Fatalf("DeleteGrant: got error %v, want none", err)
		}
		all = all[:len(all)-1]
	}
	p := profiles.new("q", 1)
	profiles.mustPut(t, s, p) // its grants were there before it
	check()
	if err := s.DeleteProfile(t.Context(), "p"); err != nil {
		t.Fatalf("DeleteProfile: got error %v, want none", err)
	}
	all = all[2:]
	check()
	if err := s.DeleteProfile(t.Context(), "q"); err != nil {
		t.Fatalf("DeleteProfile: got error %v, want none", err)
	}
	all = nil
	check()
}

// dueGrantsWhileOthersChange: a grant that is due all the time is returned,
// whatever others put and delete meanwhile, and what is returned is due.
func dueGrantsWhileOthersChange(t tb, s authprofile.Store) {
	now := time.Date(2031, 7, 1, 2, 3, 4, 5e6, time.UTC)
	stay, other := putNeighbors(t, s, func(g *authprofile.Grant, i int) { g.Due = now.Add(-time.Duration(i) * time.Minute) })
	change := func(round int, g *authprofile.Grant) error {
		switch round % 4 {
		case 0:
			g.Due = now.Add(time.Hour)
		case 2: // while it is due
			grants.unstamp(g)
			return s.DeleteGrant(t.Context(), g.GrantKey)
		default: // put with another time, and created
			g.Due = now.Add(-time.Hour)
		}
		return s.PutGrant(t.Context(), g)
	}
	before := now.Add(time.Millisecond)
	read := func() {
		list, err := s.DueGrants(t.Context(), before, 100)
		if err != nil || slices.Contains(list, nil) {
			t.Errorf("DueGrants while others put and delete: got %d grants, error %v; want no error, and none missing", len(list), err)
			return
		}
		if !slices.IsSortedFunc(list, func(a, b *authprofile.Grant) int { return a.Due.Compare(b.Due) }) {
			t.Errorf("DueGrants while others put and delete: got %q, want them in order", keysOf(list))
		}
		for _, g := range list {
			if !isDue(g, before) {
				t.Errorf("DueGrants while others put and delete: got one that is due at %v, want before %v", g.Due, before)
			}
		}
		got := keysOf(list)
		for _, g := range stay {
			if !slices.Contains(got, g.GrantKey) {
				t.Errorf("DueGrants while others put and delete: got %q, want %q in it", got, g.GrantKey)
			}
		}
		slices.SortFunc(got, compareKeys)
		if n := len(slices.Compact(got)); n != len(list) {
			t.Errorf("DueGrants while others put and delete: got %d grants, of which %d are different; want each once", len(list), n)
		}
	}
	for round := range 8 {
		var wg sync.WaitGroup
		for _, g := range other {
			wg.Go(func() {
				if err := change(round, g); err != nil {
					t.Errorf("put or delete while others read what is due: got error %v, want none", err)
				}
			})
		}
		for range 2 {
			wg.Go(func() {
				for range 5 {
					read()
				}
			})
		}
		wg.Wait()
	}
}

// dueGrantsOwnership: what is returned belongs to the caller.
func dueGrantsOwnership(t tb, s authprofile.Store) {
	var all []*authprofile.Grant
	for i, id := range []string{"p", "q"} {
		g := newGrant(id, "u", i)
		mustPutGrant(t, s, g)
		all = append(all, g)
	}
	before := time.Date(2032, 1, 1, 0, 0, 0, 0, time.UTC) // when all of them are due
	for range 2 {
		for _, g := range mustBeDue(t, s, all, before, 10) {
			scramble(reflect.ValueOf(g).Elem())
		}
	}
	for _, g := range all {
		mustHaveGrant(t, s, g)
	}
}

// dueGrantsContextEnded: a call whose context has ended returns an error, and
// soon, whether anything is due or not.
func dueGrantsContextEnded(t tb, s authprofile.Store) {
	g := newGrant("p", "u", 1)
	mustPutGrant(t, s, g)
	mustFailOnceEnded(t, func(ctx context.Context) map[string]func() error {
		due := func(before time.Time) func() error {
			return func() error { _, err := s.DueGrants(ctx, before, 1); return err }
		}
		return map[string]func() error{
			"DueGrants, of one":  due(g.Due.Add(time.Hour)),
			"DueGrants, of none": due(g.Due),
			"DueGrants, ever":    due(time.Time{}),
		}
	})
}
