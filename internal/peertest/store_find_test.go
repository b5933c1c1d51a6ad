package peertest

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/authprofile/authprofile"
	"github.com/authprofile/authprofile/sqlstore"
)

// fillFind puts grants of all kinds, and returns them in order. Most of them
// have an end.
func fillFind(t *testing.T, s *sqlstore.Store, n int, start time.Time) []*authprofile.Grant {
	t.Helper()
	var all []*authprofile.Grant
	put := make(map[authprofile.GrantKey]bool)
	profiles := []string{"a", "A", "a ", "ab", "é", "z"}
	statuses := []authprofile.Status{authprofile.StatusActive, authprofile.StatusActive, authprofile.StatusActive, authprofile.StatusFailing,
		authprofile.StatusNeedsReauthorization, authprofile.StatusNeedsConfiguration, "active ", "Active"}
	for len(all) < n {
		key := authprofile.GrantKey{ProfileID: profiles[rand.N(len(profiles))], User: fmt.Sprintf("user-%d", rand.N(n/3))}
		if rand.N(20) == 0 {
			key.User = []string{"", " ", "User-1", "user-1 ", "ü"}[rand.N(5)]
		}
		if put[key] {
			continue
		}
		put[key] = true
		g := &authprofile.Grant{GrantKey: key, Status: statuses[rand.N(len(statuses))]}
		if rand.N(5) > 0 {
			g.Ends = start.Add(time.Duration(rand.N(100)) * time.Millisecond)
		}
		if err := s.PutGrant(t.Context(), g); err != nil {
			t.Fatal(err)
		}
		all = append(all, g)
	}
	slices.SortFunc(all, func(a, b *authprofile.Grant) int { return compareKeys(a.GrantKey, b.GrantKey) })
	return all
}

func compareKeys(a, b authprofile.GrantKey) int {
	return cmp.Or(cmp.Compare(a.ProfileID, b.ProfileID), cmp.Compare(a.User, b.User))
}

func keysOf(list []*authprofile.Grant) []authprofile.GrantKey {
	var keys []authprofile.GrantKey
	for _, g := range list {
		keys = append(keys, g.GrantKey)
	}
	return keys
}

// Lists and counts are those that a plain filter over all grants finds, whatever
// is asked for, in whatever pages, and whichever way it is found.
func TestFind(t *testing.T) {
	t.Parallel()
	const n = 1800 // of which more end than are put in order
	start := time.Date(2026, 5, 6, 7, 8, 9, 0, time.UTC)
	for _, tg := range targets {
		t.Run(tg.name, func(t *testing.T) {
			t.Parallel()
			ctx := t.Context()
			s, _ := tg.new(t)
			all := fillFind(t, s, n, start)
			somebody := func() authprofile.GrantKey { return all[rand.N(n)].GrantKey }
			befores := []time.Time{start.Add(-time.Hour), start.Add(time.Millisecond), start.Add(time.Microsecond), start.Add(20*time.Millisecond + 1), start.Add(70 * time.Millisecond), start.Add(time.Hour)}
			many, few := 0, 0
			for round := range 160 {
				key := somebody()
				var f authprofile.GrantFilter
				if round&1 != 0 {
					f.ProfileID = key.ProfileID
				}
				if round&2 != 0 {
					f.User = key.User
				}
				if round&4 != 0 {
					f.Status = all[rand.N(n)].Status
				}
				if round&8 != 0 {
					f.EndsBefore = befores[rand.N(len(befores))]
				}
				ending := 0
				var want []authprofile.GrantKey
				for _, g := range all {
					if !f.EndsBefore.IsZero() && !g.Ends.IsZero() && g.Ends.Before(f.EndsBefore) {
						ending++
					}
					if (f.ProfileID == "" || g.ProfileID == f.ProfileID) && (f.User == "" || g.User == f.User) && (f.Status == "" || g.Status == f.Status) &&
						(f.EndsBefore.IsZero() || !g.Ends.IsZero() && g.Ends.Before(f.EndsBefore)) {
						want = append(want, g.GrantKey)
					}
				}
				if f.User == "" && ending >= 1000 {
					many++
				} else if f.User == "" && ending > 0 {
					few++
				}
				after := authprofile.GrantKey{}
				switch rand.N(4) {
				case 0:
					after = somebody()
				case 1:
					after = authprofile.GrantKey{ProfileID: key.ProfileID, User: somebody().User + "!"} // of no grant
				}
				rest := want[len(want)-len(slices.DeleteFunc(slices.Clone(want), func(k authprofile.GrantKey) bool {
					return after != (authprofile.GrantKey{}) && compareKeys(k, after) <= 0
				})):]
				limit := []int{1, 2, 7, 500, 10_000}[rand.N(5)]
				at := after
				for pages := 0; pages < 12; pages++ {
					list, err := s.ListGrants(ctx, f, at, limit)
					got := keysOf(list)
					if page := rest[:min(limit, len(rest))]; err != nil || !slices.Equal(got, page) {
						t.Fatalf("ListGrants(%+v, after %q, %d): got %q, error %v; want %q", f, at, limit, got, err, page)
					}
					rest = rest[len(got):]
					if len(got) < limit {
						break
					}
					at = got[len(got)-1]
				}
			}
			if many == 0 || few == 0 {
				t.Errorf("got %d lists of the many that end, and %d of the few; want both", many, few)
			}

			for _, id := range []string{"", "a", "A", "a ", "z", "nobody's"} {
				want := make(map[authprofile.Status]int64)
				for _, g := range all {
					if id == "" || g.ProfileID == id {
						want[g.Status]++
					}
				}
				got, err := s.CountGrants(ctx, id)
				if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
					t.Errorf("CountGrants(%q): got %v, error %v; want %v", id, got, err, want)
				}
			}
		})
	}
}
