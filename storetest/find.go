package storetest

import (
	"cmp"
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

// What holds for lists of grants of many profiles, and for filters.
var findChecks = []check{
	{"GrantsOfAllProfiles", grantsOfAllProfiles},
	{"GrantsFiltered", grantsFiltered},
	{"GrantsFilteredByteByByte", grantsFilteredByteByByte},
	{"GrantsEndingBefore", grantsEndingBefore},
	{"GrantsPassingFew", grantsPassingFew},
	{"GrantsAfterChanges", grantsAfterChanges},
	{"GrantsWhileOthersChange", grantsWhileOthersChange},
	{"GrantsOwnership", grantsOwnership},
	{"GrantsContextEnded", grantsContextEnded},
}

// What holds for counts.
var countChecks = []check{
	{"CountGrants", countGrants},
	{"CountGrantsByteByByte", countGrantsByteByByte},
	{"CountGrantsWhileOthersChange", countGrantsWhileOthersChange},
	{"CountGrantsOwnership", countGrantsOwnership},
}

var statuses = []authprofile.Status{
	authprofile.StatusActive,
	authprofile.StatusFailing,
	authprofile.StatusNeedsReauthorization,
	authprofile.StatusNeedsConfiguration,
}

// passes says whether a filter lets a grant through.
func passes(f authprofile.GrantFilter, g *authprofile.Grant) bool {
	return (f.ProfileID == "" || g.ProfileID == f.ProfileID) &&
		(f.User == "" || g.User == f.User) &&
		(f.Status == "" || g.Status == f.Status) &&
		(f.EndsBefore.IsZero() || !g.Ends.IsZero() && g.Ends.Before(f.EndsBefore))
}

func compareKeys(a, b authprofile.GrantKey) int {
	return cmp.Or(strings.Compare(a.ProfileID, b.ProfileID), strings.Compare(a.User, b.User))
}

func sortGrants(all []*authprofile.Grant) {
	slices.SortFunc(all, func(a, b *authprofile.Grant) int { return compareKeys(a.GrantKey, b.GrantKey) })
}

// comesAfter says whether a list that goes on after one key may have another.
func comesAfter(key, after authprofile.GrantKey) bool {
	return after == authprofile.GrantKey{} || compareKeys(key, after) > 0
}

func keysOf(list []*authprofile.Grant) []authprofile.GrantKey {
	keys := []authprofile.GrantKey{}
	for _, g := range list {
		keys = append(keys, g.GrantKey)
	}
	return keys
}

// mustList checks one page of a Store that has all these grants, sorted by key,
// and returns it.
func mustList(t tb, s authprofile.Store, all []*authprofile.Grant, f authprofile.GrantFilter, after authprofile.GrantKey, limit int) []*authprofile.Grant {
	t.Helper()
	var want []*authprofile.Grant
	for _, g := range all {
		if len(want) < limit && passes(f, g) && comesAfter(g.GrantKey, after) {
			want = append(want, g)
		}
	}
	list, err := s.ListGrants(t.Context(), f, after, limit)
	if err != nil {
		t.Fatalf("ListGrants(%+v) after %q, limit %d: got error %v, want none", f, after, limit, err)
	}
	if slices.Contains(list, nil) {
		t.Fatalf("ListGrants(%+v) after %q, limit %d: got a nil among %d grants, want none", f, after, limit, len(list))
	}
	if got, want := keysOf(list), keysOf(want); !slices.Equal(got, want) {
		i := 0
		for i < min(len(got), len(want)) && got[i] == want[i] {
			i++
		}
		t.Fatalf("ListGrants(%+v) after %q, limit %d: got %d grants, want %d; from the first difference on got %q, want %q",
			f, after, limit, len(got), len(want), head(got[i:]), head(want[i:]))
	}
	for i, g := range list {
		if d := diffStored(g, want[i]); d != "" {
			t.Fatalf("ListGrants(%+v) after %q, limit %d: %s", f, after, limit, d)
		}
	}
	return list
}

// head is as much of a list as a message can have.
func head(keys []authprofile.GrantKey) []authprofile.GrantKey { return keys[:min(4, len(keys))] }

// mustWalk checks all pages of that size.
func mustWalk(t tb, s authprofile.Store, all []*authprofile.Grant, f authprofile.GrantFilter, limit int) {
	t.Helper()
	for after := (authprofile.GrantKey{}); ; {
		page := mustList(t, s, all, f, after, limit)
		if len(page) < limit {
			return
		}
		after = page[limit-1].GrantKey
	}
}

// mustCount checks the counts of one profile, or of all, in a Store that has
// all these grants.
func mustCount(t tb, s authprofile.Store, all []*authprofile.Grant, profileID string) {
	t.Helper()
	want := make(map[authprofile.Status]int64)
	for _, g := range all {
		if profileID == "" || g.ProfileID == profileID {
			want[g.Status]++
		}
	}
	got, err := s.CountGrants(t.Context(), profileID)
	if err != nil {
		t.Fatalf("CountGrants(%q): got error %v, want none", profileID, err)
	}
	for status, n := range got {
		if n != want[status] {
			t.Fatalf("CountGrants(%q): got %v, want %v", profileID, got, want)
		}
	}
	for status, n := range want {
		if n != got[status] {
			t.Fatalf("CountGrants(%q): got %v, want %v", profileID, got, want)
		}
	}
}

func mustPutGrant(t tb, s authprofile.Store, g *authprofile.Grant) {
	t.Helper()
	if err := s.PutGrant(t.Context(), g); err != nil {
		t.Fatalf("PutGrant(%q) at version %d: got error %v, want none", g.GrantKey, g.Version, err)
	}
}

// putGrants puts grants, several at once and in no order.
func putGrants(t tb, s authprofile.Store, all []*authprofile.Grant) {
	t.Helper()
	parallelly(len(all), func(i int) {
		g := all[(i*7919)%len(all)] // a prime that is no factor of their number
		if err := s.PutGrant(t.Context(), g); err != nil {
			t.Errorf("PutGrant(%q) while others put other grants: got error %v, want none", g.GrantKey, err)
		}
	})
}

// grantsOfAllProfiles: ordered by profile and then by user, byte by byte, from
// the beginning or after any key, whether that exists or not.
func grantsOfAllProfiles(t tb, s authprofile.Store) {
	mustList(t, s, nil, authprofile.GrantFilter{}, authprofile.GrantKey{}, 10)
	ids := identifiers()
	var all []*authprofile.Grant
	for i, id := range append(identifiers(), longest(255)...) {
		for _, user := range []string{"", "m"} {
			all = append(all, newGrant(id, user, i))
		}
	}
	for i, user := range ids {
		for _, id := range []string{"A", "a", "a "} {
			all = append(all, newGrant(id, user, 1000+i))
		}
	}
	putGrants(t, s, all)
	sortGrants(all)
	for _, limit := range []int{0, 1, 2, len(all) - 1, len(all), len(all) + 1, 1e6, math.MaxInt32, math.MaxInt} {
		mustList(t, s, all, authprofile.GrantFilter{}, authprofile.GrantKey{}, limit)
		mustList(t, s, all, authprofile.GrantFilter{}, all[2].GrantKey, limit)
	}
	for _, after := range []authprofile.GrantKey{
		{User: "m"}, // before all: no profile has an empty ID
		{ProfileID: " "},
		{ProfileID: "!"},
		{ProfileID: "!", User: "z"},
		{ProfileID: "A", User: "m!"},
		{ProfileID: "A", User: "\U0010ffff\U0010ffff"},
		{ProfileID: "AA"},
		{ProfileID: "AA", User: "a"},
		{ProfileID: "a", User: " "},
		{ProfileID: "a", User: "Aa"},
		{ProfileID: "a", User: strings.Repeat("a", 512)},
		{ProfileID: "a ", User: "zz"},
		{ProfileID: "a!"},
		{ProfileID: "am"},
		{ProfileID: "n"},
		{ProfileID: "\U0010ffff", User: "m"},
		{ProfileID: "\U0010ffff", User: "n"},
		{ProfileID: "\U0010ffff\U0010ffff"},
	} {
		mustList(t, s, all, authprofile.GrantFilter{}, after, 5)
	}
	for _, limit := range []int{7, 100} {
		mustWalk(t, s, all, authprofile.GrantFilter{}, limit)
	}
	for _, g := range all {
		mustList(t, s, all, authprofile.GrantFilter{}, g.GrantKey, 3)
	}
}

// grantsFiltered: every combination of what a filter can say, in pages.
func grantsFiltered(t tb, s authprofile.Store) {
	now := time.Date(2031, 7, 1, 23, 30, 0, 5e6, time.UTC)
	ends := []time.Time{{}, now.Add(-time.Millisecond), now, now.Add(time.Hour), now.AddDate(0, 0, -1)}
	var all []*authprofile.Grant
	for _, id := range []string{"a", "b", "c", "d", "e", "f"} {
		for _, user := range []string{"", "s", "t", "u", "v", "w", "x", "y", "z"} {
			i := len(all)
			g := newGrant(id, user, i)
			g.Status, g.Ends = statuses[i%len(statuses)], ends[i%len(ends)]
			all = append(all, g)
		}
	}
	putGrants(t, s, all)
	for _, f := range eachFilter(
		[]string{"b", "e", "absent"},
		[]string{"t", "w", "absent"},
		[]authprofile.Status{authprofile.StatusActive, authprofile.StatusNeedsReauthorization, "absent"},
		[]time.Time{now, now.Add(time.Minute).In(berlin), now.AddDate(-1, 0, 0)}) {
		mustWalk(t, s, all, f, 3)
		mustList(t, s, all, f, authprofile.GrantKey{}, 1000)
		mustList(t, s, all, f, authprofile.GrantKey{ProfileID: "b", User: "u!"}, 1000) // in a profile
		mustList(t, s, all, f, authprofile.GrantKey{ProfileID: "d", User: "zz"}, 1000) // between two
	}
	// A key decides by its profile first, whichever profile or user is asked for.
	for _, f := range []authprofile.GrantFilter{{ProfileID: "c"}, {User: "u"}, {ProfileID: "c", User: "u"}, {Status: authprofile.StatusFailing}, {EndsBefore: now}} {
		for _, id := range []string{"b", "c", "d"} {
			for _, user := range []string{"", "s", "u", "z", "zz"} {
				for _, limit := range []int{0, 1, 2, math.MaxInt} {
					mustList(t, s, all, f, authprofile.GrantKey{ProfileID: id, User: user}, limit)
				}
			}
		}
	}
}

// eachFilter returns all combinations of these values, and of none.
func eachFilter(ids, users []string, sts []authprofile.Status, ends []time.Time) []authprofile.GrantFilter {
	var list []authprofile.GrantFilter
	for _, id := range slices.Concat(ids, []string{""}) {
		for _, user := range slices.Concat(users, []string{""}) {
			for _, status := range slices.Concat(sts, []authprofile.Status{""}) {
				for _, at := range slices.Concat(ends, []time.Time{{}}) {
					list = append(list, authprofile.GrantFilter{ProfileID: id, User: user, Status: status, EndsBefore: at})
				}
			}
		}
	}
	return list
}

// grantsFilteredByteByByte: a filter lets through what is equal byte by byte,
// and nothing that only looks so.
func grantsFilteredByteByByte(t tb, s authprofile.Store) {
	ids := identifiers()
	var all []*authprofile.Grant
	for i, id := range ids {
		for _, user := range []string{id, ids[len(ids)-1-i]} {
			g := newGrant(id, user, i)
			g.Status = statuses[i%len(statuses)]
			if len(all) == 0 || all[len(all)-1].GrantKey != g.GrantKey {
				all = append(all, g)
			}
		}
	}
	putGrants(t, s, all)
	sortGrants(all)
	for i, id := range ids {
		mustList(t, s, all, authprofile.GrantFilter{ProfileID: id}, authprofile.GrantKey{}, 1000)
		mustList(t, s, all, authprofile.GrantFilter{User: id}, authprofile.GrantKey{}, 1000)
		mustList(t, s, all, authprofile.GrantFilter{ProfileID: id, User: id}, authprofile.GrantKey{}, 1000)
		mustList(t, s, all, authprofile.GrantFilter{ProfileID: id, User: ids[(i+1)%len(ids)]}, authprofile.GrantKey{}, 1000)
	}
	for _, status := range statuses {
		for _, other := range []authprofile.Status{
			status + " ", " " + status, authprofile.Status(strings.ToUpper(string(status))), status[:len(status)-1], status[:1] + "%",
		} {
			mustList(t, s, all, authprofile.GrantFilter{Status: other}, authprofile.GrantKey{}, 1000)
		}
	}
	// Those that look like one that is gone are not found in its place.
	for _, id := range []string{"a", "A", "e\u0301", "null"} {
		for i := len(all) - 1; i >= 0; i-- {
			if all[i].ProfileID == id || all[i].User == id {
				if err := s.DeleteGrant(t.Context(), all[i].GrantKey); err != nil {
					t.Fatalf("DeleteGrant(%q): got error %v, want none", all[i].GrantKey, err)
				}
				all = slices.Delete(all, i, i+1)
			}
		}
		mustList(t, s, all, authprofile.GrantFilter{ProfileID: id}, authprofile.GrantKey{}, 1000)
		mustList(t, s, all, authprofile.GrantFilter{User: id}, authprofile.GrantKey{}, 1000)
	}
}

// grantsEndingBefore: those whose end is known and before the time, whatever
// the zones of both; a grant that ends at that very time is none of them.
func grantsEndingBefore(t tb, s authprofile.Store) {
	now := time.Date(2031, 12, 31, 22, 30, 0, 500e6, time.UTC) // in Berlin's summer time it is another year
	ends := []time.Time{
		{},
		time.Time{}.In(berlin),
		time.Date(1969, 7, 20, 20, 17, 40, 0, time.UTC),
		time.UnixMilli(-1),
		time.Unix(0, 0),
		time.UnixMilli(1),
		now.Add(-time.Hour),
		now.Add(-time.Millisecond).In(berlin),
		now,
		now.In(berlin),
		now.Add(time.Millisecond),
		now.Add(time.Hour).In(berlin),
		time.Date(2106, 2, 7, 6, 28, 16, 0, time.UTC),
		time.Date(9999, 12, 31, 23, 59, 59, 999e6, time.UTC),
	}
	var all []*authprofile.Grant
	for i, at := range ends {
		for _, id := range []string{"p", "q"} {
			g := newGrant(id, fmt.Sprintf("%02d", i), i)
			g.Ends = at
			all = append(all, g)
		}
	}
	putGrants(t, s, all)
	sortGrants(all)
	for _, at := range ends {
		// Also between two milliseconds: what ends at the first is before it.
		for _, d := range []time.Duration{0, 1, time.Millisecond - 1, time.Millisecond, -1, -time.Millisecond} {
			if at.IsZero() && d != 0 || at.Year() == 9999 && d > 0 {
				continue
			}
			for _, zone := range []*time.Location{time.UTC, berlin, time.FixedZone("", -9*60*60-30*60)} {
				f := authprofile.GrantFilter{EndsBefore: at.Add(d).In(zone)}
				mustList(t, s, all, f, authprofile.GrantKey{}, 1000)
				f.ProfileID = "q"
				mustWalk(t, s, all, f, 10)
			}
		}
	}
}

// grantsPassingFew: a page is as long as it was asked for, and counts count
// all, however many there are that pass, and that do not.
func grantsPassingFew(t tb, s authprofile.Store) {
	var all []*authprofile.Grant
	for i := range many {
		g := new(authprofile.Grant)
		g.GrantKey = authprofile.GrantKey{ProfileID: "p1", User: fmt.Sprintf("u%06d", i)}
		g.Status = authprofile.StatusActive
		switch {
		case i == 0:
			g.ProfileID = "p0"
		case i == 500: // one that passes all filters, after so many that do not
			g.Ends = time.Date(2031, 7, 1, 2, 3, 4, 5e6, time.UTC)
			g.Status = authprofile.StatusFailing
		case i == many-1:
			g.ProfileID, g.User = "p2", "u000500"
			g.Ends = time.Date(2031, 7, 1, 2, 3, 4, 6e6, time.UTC)
			g.Status = authprofile.StatusFailing
		}
		all = append(all, g)
	}
	putGrants(t, s, all)
	end := time.Date(2032, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, f := range eachFilter([]string{"p1", "p2"}, []string{"u000500"}, []authprofile.Status{authprofile.StatusFailing, authprofile.StatusNeedsConfiguration}, []time.Time{end}) {
		mustList(t, s, all, f, authprofile.GrantKey{}, 1)
		mustList(t, s, all, f, authprofile.GrantKey{ProfileID: "p1"}, 2)
		mustList(t, s, all, f, authprofile.GrantKey{ProfileID: "p1", User: "u000500"}, 2)
		mustList(t, s, all, f, authprofile.GrantKey{}, many)
	}
	mustWalk(t, s, all, authprofile.GrantFilter{}, 400)
	mustWalk(t, s, all, authprofile.GrantFilter{Status: authprofile.StatusActive}, many-2)
	for _, id := range []string{"", "p0", "p1", "p2", "p3"} {
		mustCount(t, s, all, id)
	}
	if err := s.DeleteProfile(t.Context(), "p1"); err != nil {
		t.Fatalf("DeleteProfile: got error %v, want none", err)
	}
	all = slices.DeleteFunc(all, func(g *authprofile.Grant) bool { return g.ProfileID == "p1" })
	for _, id := range []string{"", "p1", "p2"} {
		mustCount(t, s, all, id)
		mustList(t, s, all, authprofile.GrantFilter{ProfileID: id}, authprofile.GrantKey{}, many)
	}
}

// grantsAfterChanges: lists and counts go by what a grant has become.
func grantsAfterChanges(t tb, s authprofile.Store) {
	now := time.Date(2031, 7, 1, 2, 3, 4, 5e6, time.UTC)
	var all []*authprofile.Grant
	for _, id := range []string{"p", "q"} {
		for _, user := range []string{"", "u", "v"} {
			g := newGrant(id, user, len(all))
			g.Status, g.Ends = authprofile.StatusActive, now
			mustPutGrant(t, s, g)
			all = append(all, g)
		}
	}
	check := func() {
		t.Helper()
		for _, f := range eachFilter([]string{"p"}, []string{"u"}, statuses[:2], []time.Time{now, now.Add(time.Millisecond)}) {
			mustList(t, s, all, f, authprofile.GrantKey{}, 10)
		}
		mustCount(t, s, all, "")
		mustCount(t, s, all, "p")
		mustCount(t, s, all, "q")
	}
	check()
	g := all[1] // of p and u
	for _, change := range []func(){
		func() { g.Status = authprofile.StatusFailing },
		func() { g.Ends = now.Add(time.Hour) },
		func() { g.Ends = now.Add(-time.Millisecond) },
		func() { g.Ends = time.Time{} },
		func() { g.Status, g.Ends = authprofile.StatusActive, now.Add(-time.Hour) },
		func() { g.AccessToken, g.Lease = "another", nil }, // and all else stays
		func() { g.Status = authprofile.StatusNeedsReauthorization },
		func() { g.Status, g.Failure = authprofile.StatusActive, nil },
	} {
		change()
		mustPutGrant(t, s, g)
		check()
	}
	stale := clone(g)
	stale.Version++
	stale.Status, stale.Ends = authprofile.StatusFailing, time.Time{}
	if err := s.PutGrant(t.Context(), stale); !errors.Is(err, authprofile.ErrConflict) {
		t.Fatalf("PutGrant of a stale grant: got error %v, want ErrConflict", err)
	}
	check()
	if err := s.DeleteGrant(t.Context(), g.GrantKey); err != nil {
		t.Fatalf("DeleteGrant: got error %v, want none", err)
	}
	all = slices.Delete(all, 1, 2)
	check()
	g = newGrant("p", "u", 9)
	g.Status, g.Ends = authprofile.StatusFailing, now
	mustPutGrant(t, s, g)
	all = slices.Insert(all, 1, g)
	check()
	if err := s.DeleteProfile(t.Context(), "p"); err != nil {
		t.Fatalf("DeleteProfile: got error %v, want none", err)
	}
	all = all[3:]
	check()
	p := profiles.new("q", 1)
	profiles.mustPut(t, s, p) // its grants were there before it
	check()
}

// putNeighbors puts grants of three profiles that stay as they are, and one beside
// each of them that others change. set completes each, by how many there are that
// stay before it.
func putNeighbors(t tb, s authprofile.Store, set func(g *authprofile.Grant, i int)) (stay, other []*authprofile.Grant) {
	t.Helper()
	for _, id := range []string{"p", "q", "r"} {
		for _, user := range []string{"", "u", "v"} {
			for _, plus := range []string{"", "+"} {
				g := newGrant(id, user+plus, len(stay))
				set(g, len(stay))
				mustPutGrant(t, s, g)
				if plus == "" {
					stay = append(stay, g)
				} else {
					other = append(other, g)
				}
			}
		}
	}
	return stay, other
}

// grantsWhileOthersChange: a grant that passes all the time is in its page,
// whatever others put and delete meanwhile, and what is in a page passes.
func grantsWhileOthersChange(t tb, s authprofile.Store) {
	now := time.Date(2031, 7, 1, 2, 3, 4, 5e6, time.UTC)
	stay, other := putNeighbors(t, s, func(g *authprofile.Grant, _ int) { g.Status, g.Ends = authprofile.StatusActive, now })
	change := func(round int, g *authprofile.Grant) error {
		switch round % 3 {
		case 0: // it passes no more
			g.Status, g.Ends = authprofile.StatusFailing, time.Time{}
		case 1:
			grants.unstamp(g)
			return s.DeleteGrant(t.Context(), g.GrantKey)
		case 2:
			g.Status, g.Ends = authprofile.StatusActive, now
		}
		return s.PutGrant(t.Context(), g)
	}
	filters := []authprofile.GrantFilter{
		{},
		{Status: authprofile.StatusActive},
		{EndsBefore: now.Add(time.Millisecond)},
		{ProfileID: "q", Status: authprofile.StatusActive},
		{User: "u"},
		{User: "u+", Status: authprofile.StatusActive},
	}
	walk := func(f authprofile.GrantFilter) {
		const limit = 4
		for after, more := (authprofile.GrantKey{}), true; more; {
			list, err := s.ListGrants(t.Context(), f, after, limit)
			if err != nil || slices.Contains(list, nil) {
				t.Errorf("ListGrants(%+v) while others put and delete: got %d grants, error %v; want no error, and none missing", f, len(list), err)
				return
			}
			got := keysOf(list)
			more = len(list) == limit
			for i, g := range list {
				if !passes(f, g) {
					t.Errorf("ListGrants(%+v) while others put and delete: got %+v, which does not pass", f, *g)
					return
				}
				if !comesAfter(g.GrantKey, after) || i > 0 && compareKeys(got[i-1], got[i]) >= 0 {
					t.Errorf("ListGrants(%+v) after %q while others put and delete: got %q, want them in order", f, after, got)
					return
				}
			}
			for _, g := range stay {
				if passes(f, g) && comesAfter(g.GrantKey, after) &&
					(!more || compareKeys(g.GrantKey, got[limit-1]) <= 0) && !slices.Contains(got, g.GrantKey) {
					t.Errorf("ListGrants(%+v) after %q, limit %d, while others put and delete: got %q, want %q in it", f, after, limit, got, g.GrantKey)
					return
				}
			}
			if more {
				after = got[limit-1]
			}
		}
	}
	for round := range 6 {
		var wg sync.WaitGroup
		for _, g := range other {
			wg.Go(func() {
				if err := change(round, g); err != nil {
					t.Errorf("put or delete while others list: got error %v, want none", err)
				}
			})
		}
		for i := range 2 {
			wg.Go(func() {
				for j := range filters {
					walk(filters[(i*3+j)%len(filters)])
				}
			})
		}
		wg.Wait()
	}
}

// grantsOwnership: what a list over all profiles returns belongs to the caller.
func grantsOwnership(t tb, s authprofile.Store) {
	var all []*authprofile.Grant
	for i, id := range []string{"p", "q"} {
		g := newGrant(id, "u", i)
		mustPutGrant(t, s, g)
		all = append(all, g)
	}
	for range 2 {
		for _, f := range []authprofile.GrantFilter{{}, {User: "u"}} {
			for _, g := range mustList(t, s, all, f, authprofile.GrantKey{}, 10) {
				scramble(reflect.ValueOf(g).Elem())
			}
		}
	}
	for _, g := range all {
		mustHaveGrant(t, s, g)
	}
}

// grantsContextEnded: lists and counts whose context has ended return an error,
// and soon.
func grantsContextEnded(t tb, s authprofile.Store) {
	mustPutGrant(t, s, newGrant("p", "u", 1))
	mustFailOnceEnded(t, func(ctx context.Context) map[string]func() error {
		list := func(f authprofile.GrantFilter) func() error {
			return func() error { _, err := s.ListGrants(ctx, f, authprofile.GrantKey{}, 1); return err }
		}
		count := func(profileID string) func() error {
			return func() error { _, err := s.CountGrants(ctx, profileID); return err }
		}
		return map[string]func() error{
			"ListGrants of all":         list(authprofile.GrantFilter{}),
			"ListGrants of a user":      list(authprofile.GrantFilter{User: "u"}),
			"ListGrants of none":        list(authprofile.GrantFilter{ProfileID: "absent"}),
			"CountGrants of all":        count(""),
			"CountGrants of a profile":  count("p"),
			"CountGrants of no profile": count("absent"),
		}
	})
}

// countGrants: how many have each status, of one profile and of all, whether
// the profile exists or not.
func countGrants(t tb, s authprofile.Store) {
	mustCount(t, s, nil, "")
	mustCount(t, s, nil, "p")
	var all []*authprofile.Grant
	for i, id := range []string{"p", "q", "r", "s"} {
		if id == "p" || id == "s" {
			profiles.mustPut(t, s, profiles.new(id, i))
		}
		if id == "s" {
			break // a profile without grants
		}
		for j := range 4 * (i + 1) {
			g := newGrant(id, strings.Repeat("u", j), j)
			g.Status = statuses[min(j%7, 3)] // not as many of each
			if i == 1 {
				g.Status = authprofile.StatusFailing // all of q
			}
			all = append(all, g)
		}
	}
	putGrants(t, s, all)
	empty := &authprofile.Grant{GrantKey: authprofile.GrantKey{ProfileID: "r", User: "none"}} // has no status, and is a grant
	mustPutGrant(t, s, empty)
	all = append(all, empty)
	for _, id := range []string{"", "p", "q", "r", "s", "absent"} {
		mustCount(t, s, all, id)
	}
}

// countGrantsByteByByte: of the profile whose ID is equal byte by byte, and of
// no other.
func countGrantsByteByByte(t tb, s authprofile.Store) {
	var all []*authprofile.Grant
	ids := append(identifiers(), longest(255)...)
	for i, id := range ids {
		for j := range 1 + i%3 {
			g := &authprofile.Grant{GrantKey: authprofile.GrantKey{ProfileID: id, User: fmt.Sprint(j)}}
			g.Status = statuses[(i+j)%len(statuses)]
			all = append(all, g)
		}
	}
	putGrants(t, s, all)
	for _, id := range slices.Concat(ids, []string{"", "aA", "a   ", "%", "_", "*"}) {
		mustCount(t, s, all, id)
	}
}

// countGrantsWhileOthersChange: a grant that gets another status is counted
// once, under the old one or the new one.
func countGrantsWhileOthersChange(t tb, s authprofile.Store) {
	var all []*authprofile.Grant
	const n = 8
	for i := range n {
		g := newGrant([]string{"p", "q"}[i%2], fmt.Sprint(i), i)
		g.Status = statuses[0]
		mustPutGrant(t, s, g)
		all = append(all, g)
	}
	for round := range 5 {
		var wg sync.WaitGroup
		for i, g := range all {
			wg.Go(func() {
				g.Status = statuses[(i+round)%len(statuses)]
				if err := s.PutGrant(t.Context(), g); err != nil {
					t.Errorf("PutGrant while others count: got error %v, want none", err)
				}
			})
		}
		for _, id := range []string{"", "p"} {
			want := int64(n)
			if id == "p" {
				want = n / 2
			}
			wg.Go(func() {
				for range 3 {
					counts, err := s.CountGrants(t.Context(), id)
					total := int64(0)
					for _, n := range counts {
						total += n
					}
					if err != nil || total != want {
						t.Errorf("CountGrants(%q) while others replace: got %v, error %v; want %d together, and none", id, counts, err, want)
						return
					}
				}
			})
		}
		wg.Wait()
		mustCount(t, s, all, "")
	}
}

// countGrantsOwnership: the counts belong to the caller.
func countGrantsOwnership(t tb, s authprofile.Store) {
	all := []*authprofile.Grant{newGrant("p", "u", 1)}
	mustPutGrant(t, s, all[0])
	for range 2 {
		for _, id := range []string{"", "p"} {
			counts, err := s.CountGrants(t.Context(), id)
			if err != nil || counts == nil {
				t.Fatalf("CountGrants(%q): got %v, error %v; want one grant and none", id, counts, err)
			}
			for status := range counts {
				counts[status] = 77
			}
			counts["scrambled"] = 77
			mustCount(t, s, all, id)
		}
	}
}
