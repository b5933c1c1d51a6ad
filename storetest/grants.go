package storetest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/authprofile/authprofile"
)

// What holds for profiles beyond what holds for all records. (For grants,
// grantsOfManyUsers tests the same.)
var profileChecks = []check{
	{"ProfilePagesOfMany", profiles.pagesOfMany},
}

// What holds for grants beyond what holds for all records.
var grantChecks = []check{
	{"GrantsOfApps", grantsOfApps},
	{"GrantsByProfile", grantsByProfile},
	{"GrantsWithoutProfile", grantsWithoutProfile},
	{"GrantsOfManyUsers", grantsOfManyUsers},
	{"GrantLongestKeys", grantLongestKeys},
}

// What holds for profiles and their grants together.
var deleteProfileChecks = []check{
	{"KindsApart", kindsApart},
	{"DeleteProfileAndGrants", deleteProfileAndGrants},
	{"DeleteProfileWhileReplacing", deleteProfileWhileReplacing},
	{"DeleteProfileWhole", deleteProfileWhole},
	{"DeleteProfileAndVersions", deleteProfileAndVersions},
}

func newGrant(profileID, user string, seed int) *authprofile.Grant {
	g := grants.new(user, seed)
	g.ProfileID = profileID
	return g
}

// afterUser is where a list goes on after that user, of one profile; after the
// empty one it begins.
func afterUser(profileID, user string) authprofile.GrantKey {
	if user == "" {
		return authprofile.GrantKey{}
	}
	return authprofile.GrantKey{ProfileID: profileID, User: user}
}

func mustHaveGrant(t tb, s authprofile.Store, want *authprofile.Grant) {
	t.Helper()
	got, err := s.Grant(t.Context(), want.GrantKey)
	if err != nil {
		t.Fatalf("Grant(%q): got error %v, want none", want.GrantKey, err)
	}
	if d := diffStored(got, want); d != "" {
		t.Fatalf("Grant(%q): %s", want.GrantKey, d)
	}
}

func mustNotHaveGrant(t tb, s authprofile.Store, key authprofile.GrantKey) {
	t.Helper()
	if g, err := s.Grant(t.Context(), key); g != nil || !isNotFound(err) {
		t.Fatalf("Grant(%q): got error %v, want ErrNotFound alone, and no grant", key, err)
	}
}

// grantsOfApps: an empty user is a user like others, and the first in a list.
func grantsOfApps(t tb, s authprofile.Store) {
	grants.roundTrip(t, s, grants.new("u", 1))
	grants.mustNotHave(t, s, "")
	grants.mustConflict(t, s, grants.at("", 1, 1), nil)
	grants.mustDelete(t, s, "")
	grants.mustDelete(t, s, "u")
	grants.roundTrip(t, s, grants.new("", 1))
	var all []string
	for i, user := range []string{"", " ", "a", "b"} {
		if user != "" {
			grants.roundTrip(t, s, grants.new(user, i))
		}
		all = append(all, user)
	}
	for limit := range 6 {
		list, err := s.ListGrants(t.Context(), authprofile.GrantFilter{ProfileID: ofProfile}, authprofile.GrantKey{}, limit)
		if want := all[:min(limit, len(all))]; err != nil || !slices.Equal(grants.keys(list), want) {
			t.Fatalf("list from the beginning, limit %d: got %q, error %v; want %q", limit, grants.keys(list), err, want)
		}
	}
	list, err := s.ListGrants(t.Context(), authprofile.GrantFilter{ProfileID: ofProfile}, authprofile.GrantKey{ProfileID: ofProfile, User: " "}, 10)
	if want := all[2:]; err != nil || !slices.Equal(grants.keys(list), want) {
		t.Fatalf("list after %q: got %q, error %v; want %q", " ", grants.keys(list), err, want)
	}
	if err := s.DeleteGrant(t.Context(), authprofile.GrantKey{ProfileID: ofProfile}); err != nil {
		t.Fatalf("DeleteGrant without a user: got error %v, want none", err)
	}
	list, err = s.ListGrants(t.Context(), authprofile.GrantFilter{ProfileID: ofProfile}, authprofile.GrantKey{}, 10)
	if want := all[1:]; err != nil || !slices.Equal(grants.keys(list), want) {
		t.Fatalf("list after deleting the empty user: got %q, error %v; want %q", grants.keys(list), err, want)
	}
}

// grantsByProfile: the profile's ID is compared byte by byte too, and each
// profile has users of its own.
func grantsByProfile(t tb, s authprofile.Store) {
	long := strings.Repeat("p", 255)
	ids := append(identifiers(), long, long[:254], long[:254]+" ")
	var all []*authprofile.Grant
	for i, id := range ids {
		for _, user := range []string{"", "u"} {
			g := newGrant(id, user, i)
			if err := s.PutGrant(t.Context(), g); err != nil {
				t.Fatalf("PutGrant(%q): got error %v, want none", g.GrantKey, err)
			}
			all = append(all, g)
		}
	}
	for _, g := range all {
		mustHaveGrant(t, s, g)
	}
	for i, id := range ids {
		list, err := s.ListGrants(t.Context(), authprofile.GrantFilter{ProfileID: id}, authprofile.GrantKey{}, 10)
		if err != nil || len(list) != 2 {
			t.Fatalf("ListGrants(%q): got %d grants, error %v; want 2 and none", id, len(list), err)
		}
		for j, g := range list {
			if d := diffStored(g, all[2*i+j]); d != "" {
				t.Fatalf("ListGrants(%q): %s", id, d)
			}
		}
	}
	// Keys whose parts are the same text when joined are different keys.
	for i, key := range []authprofile.GrantKey{{ProfileID: "x", User: "yz"}, {ProfileID: "xy", User: "z"}, {ProfileID: "x/y", User: "z"}, {ProfileID: "x", User: "y/z"}} {
		g := newGrant(key.ProfileID, key.User, i)
		if err := s.PutGrant(t.Context(), g); err != nil {
			t.Fatalf("PutGrant(%q): got error %v, want none", key, err)
		}
		mustHaveGrant(t, s, g)
	}
	for i, g := range all {
		if err := s.DeleteGrant(t.Context(), g.GrantKey); err != nil {
			t.Fatalf("DeleteGrant(%q): got error %v, want none", g.GrantKey, err)
		}
		mustNotHaveGrant(t, s, g.GrantKey)
		if i+1 < len(all) {
			mustHaveGrant(t, s, all[i+1])
		}
	}
}

// grantsWithoutProfile: a grant can be put whether its profile exists or not.
func grantsWithoutProfile(t tb, s authprofile.Store) {
	g := newGrant("nowhere", "u", 1)
	if err := s.PutGrant(t.Context(), g); err != nil {
		t.Fatalf("PutGrant without a profile: got error %v, want none", err)
	}
	mustHaveGrant(t, s, g)
	p := profiles.new("nowhere", 1)
	profiles.mustPut(t, s, p)
	mustHaveGrant(t, s, g)
	if err := s.DeleteGrant(t.Context(), g.GrantKey); err != nil {
		t.Fatalf("DeleteGrant: got error %v, want none", err)
	}
	profiles.mustHave(t, s, p)
}

// grantsOfManyUsers: they are listed in pages like profiles, and deleted with
// their profile, however many they are.
func grantsOfManyUsers(t tb, s authprofile.Store) {
	grants.pagesOfMany(t, s)
	if err := s.DeleteProfile(t.Context(), ofProfile); err != nil {
		t.Fatalf("DeleteProfile: got error %v, want none", err)
	}
	if list, err := s.ListGrants(t.Context(), authprofile.GrantFilter{ProfileID: ofProfile}, authprofile.GrantKey{}, many); err != nil || len(list) != 0 {
		t.Fatalf("ListGrants of a deleted profile that had %d grants: got %d, error %v; want none and none", many, len(list), err)
	}
}

// grantLongestKeys: the longest profile ID and the longest user together, told
// apart by their last bytes.
func grantLongestKeys(t tb, s authprofile.Store) {
	ids := longest(255)
	users := longest(512)
	var all []*authprofile.Grant
	for i, id := range ids {
		profiles.mustPut(t, s, profiles.new(id, i))
		for j, user := range users {
			g := newGrant(id, user, 10*i+j)
			if err := s.PutGrant(t.Context(), g); err != nil {
				t.Fatalf("PutGrant, profile ID of %d bytes, user of %d bytes: got error %v, want none", len(id), len(user), err)
			}
			all = append(all, g)
		}
	}
	for _, g := range all {
		mustHaveGrant(t, s, g)
		if err := s.PutGrant(t.Context(), g); err != nil {
			t.Fatalf("PutGrant once more: got error %v, want none", err)
		}
	}
	for _, g := range all {
		mustList(t, s, all, authprofile.GrantFilter{}, g.GrantKey, 2)
		mustList(t, s, all, authprofile.GrantFilter{User: g.User}, authprofile.GrantKey{}, len(all))
		mustList(t, s, all, authprofile.GrantFilter{ProfileID: g.ProfileID, User: g.User}, authprofile.GrantKey{}, 2)
		mustCount(t, s, all, g.ProfileID)
	}
	for i, id := range ids {
		for j := range users {
			after := ""
			if j > 0 {
				after = users[j-1]
			}
			list, err := s.ListGrants(t.Context(), authprofile.GrantFilter{ProfileID: id}, afterUser(id, after), len(users))
			if got, want := grants.keys(list), users[j:]; err != nil || !slices.Equal(got, want) {
				t.Fatalf("ListGrants(%q) after %q: got %q, error %v; want %q", id, after, got, err, want)
			}
		}
		if err := s.DeleteGrant(t.Context(), all[0].GrantKey); err != nil {
			t.Fatalf("DeleteGrant: got error %v, want none", err)
		}
		mustNotHaveGrant(t, s, all[0].GrantKey)
		mustHaveGrant(t, s, all[1])
		if err := s.DeleteProfile(t.Context(), id); err != nil {
			t.Fatalf("DeleteProfile: got error %v, want none", err)
		}
		mustNotHaveGrant(t, s, all[1].GrantKey)
		if all = all[len(users):]; i+1 < len(ids) {
			mustHaveGrant(t, s, all[0])
		}
	}
}

// longest returns identifiers of n bytes, in ascending order, some of which
// differ in the last byte alone.
func longest(n int) []string {
	wide := strings.Repeat("é", n/2) + strings.Repeat("x", n%2)
	ids := []string{
		strings.Repeat("a", n-1) + "A",
		strings.Repeat("a", n),
		wide,
		wide[:len(wide)-2-n%2] + "y" + strings.Repeat("z", 1+n%2),
		strings.Repeat("😀", n/4) + strings.Repeat("x", n%4),
	}
	slices.Sort(ids)
	return ids
}

// kindsApart: profiles, grants and flows do not affect each other, except that
// grants are deleted with their profile.
func kindsApart(t tb, s authprofile.Store) {
	f := newFlow("x", 1)
	f.GrantKey = authprofile.GrantKey{ProfileID: "x", User: "x"}
	mustPutFlow(t, s, f)
	profiles.mustNotHave(t, s, "x")
	p := profiles.new("x", 1)
	profiles.mustPut(t, s, p)
	var all []*authprofile.Grant
	for i, user := range []string{"", "x", "y"} {
		mustNotHaveGrant(t, s, authprofile.GrantKey{ProfileID: "x", User: user})
		g := newGrant("x", user, i)
		if err := s.PutGrant(t.Context(), g); err != nil {
			t.Fatalf("PutGrant: got error %v, want none", err)
		}
		all = append(all, g)
	}
	profiles.mustPut(t, s, p) // replaced
	profiles.mustHave(t, s, p)
	for _, g := range all {
		mustHaveGrant(t, s, g)
	}
	mustTakeFlow(t, s, stored(f))
	profiles.mustHave(t, s, p)
	for _, g := range all {
		mustHaveGrant(t, s, g)
		if err := s.DeleteGrant(t.Context(), g.GrantKey); err != nil {
			t.Fatalf("DeleteGrant: got error %v, want none", err)
		}
	}
	profiles.mustHave(t, s, p)
}

// deleteProfileWhileReplacing: whether the profile is deleted or replaced first,
// it and its grants are gone in the end.
func deleteProfileWhileReplacing(t tb, s authprofile.Store) {
	for round := range 10 {
		p := profiles.new(ofProfile, round)
		profiles.mustPut(t, s, p)
		var all []*authprofile.Grant
		for _, user := range []string{"", "a", "b", "c"} {
			g := grants.new(user, round)
			grants.mustPut(t, s, g)
			all = append(all, g)
		}
		var wg sync.WaitGroup
		start := make(chan struct{})
		put := func(put func() error) {
			wg.Go(func() {
				<-start
				if err := put(); err != nil && !errors.Is(err, authprofile.ErrConflict) {
					t.Errorf("put while another deletes the profile: got error %v, want none or ErrConflict", err)
				}
			})
		}
		put(func() error { return s.PutProfile(t.Context(), p) })
		for _, g := range all {
			put(func() error { return s.PutGrant(t.Context(), g) })
		}
		wg.Go(func() {
			<-start
			if err := s.DeleteProfile(t.Context(), ofProfile); err != nil {
				t.Errorf("DeleteProfile while others put: got error %v, want none", err)
			}
		})
		close(start)
		wg.Wait()
		profiles.mustConflict(t, s, p, nil)
		for _, g := range all {
			grants.mustConflict(t, s, g, nil)
		}
	}
}

// deleteProfileAndGrants: all grants of the profile are deleted with it, and no
// others.
func deleteProfileAndGrants(t tb, s authprofile.Store) {
	// IDs that are patterns first, while there are records that they could
	// match.
	ids := []string{"p%", "p_", "p", "P", "p ", "pp", "p/", "p/u", "é", "e\u0301"}
	var all []*authprofile.Grant
	for i, id := range ids {
		profiles.mustPut(t, s, profiles.new(id, i))
		for j, user := range []string{"", "u", "U", "p"} {
			g := newGrant(id, user, 10*i+j)
			if err := s.PutGrant(t.Context(), g); err != nil {
				t.Fatalf("PutGrant: got error %v, want none", err)
			}
			all = append(all, g)
		}
	}
	for _, id := range ids {
		if err := s.DeleteProfile(t.Context(), id); err != nil {
			t.Fatalf("DeleteProfile(%q): got error %v, want none", id, err)
		}
		profiles.mustNotHave(t, s, id)
		for len(all) > 0 && all[0].ProfileID == id {
			mustNotHaveGrant(t, s, all[0].GrantKey)
			all = all[1:]
		}
		for _, g := range all {
			mustHaveGrant(t, s, g)
		}
		if list, err := s.ListGrants(t.Context(), authprofile.GrantFilter{ProfileID: id}, authprofile.GrantKey{}, 10); err != nil || len(list) != 0 {
			t.Fatalf("ListGrants of a deleted profile: got %d grants, error %v; want none and none", len(list), err)
		}
	}
	// Grants of a profile that does not exist are deleted as well.
	g := newGrant("nowhere", "u", 1)
	if err := s.PutGrant(t.Context(), g); err != nil {
		t.Fatalf("PutGrant: got error %v, want none", err)
	}
	if err := s.DeleteProfile(t.Context(), "nowhere"); err != nil {
		t.Fatalf("DeleteProfile of none: got error %v, want none", err)
	}
	mustNotHaveGrant(t, s, g.GrantKey)
}

// deleteProfileWhole: no reader sees the profile gone and a grant left, or the
// other way round.
func deleteProfileWhole(t tb, s authprofile.Store) {
	for round := range 8 {
		id := fmt.Sprintf("p%d", round)
		p := profiles.new(id, round)
		g := newGrant(id, "u", round)
		profiles.mustPut(t, s, p)
		if err := s.PutGrant(t.Context(), g); err != nil {
			t.Fatalf("PutGrant: got error %v, want none", err)
		}
		gone := func(err error) bool {
			if err != nil && !errors.Is(err, authprofile.ErrNotFound) {
				t.Errorf("reading while another deletes: got error %v, want none or ErrNotFound", err)
			}
			return err != nil
		}
		profile := func() bool { _, err := s.Profile(t.Context(), id); return gone(err) }
		grant := func() bool { _, err := s.Grant(t.Context(), g.GrantKey); return gone(err) }
		var readers sync.WaitGroup
		done := make(chan struct{})
		watch := func(first, second func() bool, firstName, secondName string) {
			for over := false; !first(); {
				if over {
					t.Errorf("reading after DeleteProfile has returned: got the %s, want it gone", firstName)
					return
				}
				select {
				case <-done:
					over = true
				default:
				}
			}
			if !second() {
				t.Errorf("reading while another deletes the profile: the %s was gone, and then the %s still there", firstName, secondName)
			}
		}
		readers.Go(func() { watch(profile, grant, "profile", "grant") })
		readers.Go(func() { watch(grant, profile, "grant", "profile") })
		if err := s.DeleteProfile(t.Context(), id); err != nil {
			t.Errorf("DeleteProfile: got error %v, want none", err)
		}
		close(done)
		readers.Wait()
	}
}

// deleteProfileAndVersions: the versions of grants that were deleted with their
// profile are not given again.
func deleteProfileAndVersions(t tb, s authprofile.Store) {
	seen := make(map[int64]bool)
	for life := range 4 {
		g := newGrant("p", "u", life)
		for range 3 {
			if err := s.PutGrant(t.Context(), g); err != nil {
				t.Fatalf("PutGrant: got error %v, want none", err)
			}
			if seen[g.Version] {
				t.Fatalf("PutGrant: got version %d again, want one that was not given before", g.Version)
			}
			seen[g.Version] = true
		}
		if err := s.DeleteProfile(t.Context(), "p"); err != nil {
			t.Fatalf("DeleteProfile: got error %v, want none", err)
		}
		if err := s.PutGrant(t.Context(), g); !errors.Is(err, authprofile.ErrConflict) {
			t.Fatalf("PutGrant of a grant that left with its profile: got error %v, want ErrConflict", err)
		}
	}
}
