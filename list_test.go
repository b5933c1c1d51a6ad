package authprofile_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/authprofile/authprofile"
)

// Page after page, of any size, ListGrants gives what Find does: what a Manager
// keeps for itself is not among it, and does not make a page shorter.
func TestListGrants(t *testing.T) {
	m := &authprofile.Manager{Store: new(authprofile.MemStore)}
	manyGrants(t, m.Store)
	for _, profile := range []string{"a", "b", "bb", "c"} {
		record := &authprofile.Grant{GrantKey: authprofile.GrantKey{ProfileID: profile}, Told: authprofile.StatusNeedsConfiguration}
		if err := m.Store.PutGrant(t.Context(), record); err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range []authprofile.GrantFilter{{}, {ProfileID: "b"}, {Status: authprofile.StatusFailing}, {ProfileID: "bb"}} {
		var want []authprofile.GrantKey
		for g, err := range m.Find(t.Context(), f) {
			if err != nil {
				t.Fatal(err)
			}
			want = append(want, g.GrantKey)
		}
		for _, limit := range []int{1, 7, 120, 1000} {
			var got []authprofile.GrantKey
			var after authprofile.GrantKey
			for {
				page, err := m.ListGrants(t.Context(), f, after, limit)
				if err != nil {
					t.Fatal(err)
				}
				for _, g := range page {
					got = append(got, g.GrantKey)
				}
				if len(page) < limit {
					break
				}
				if len(page) > limit {
					t.Fatalf("got %d grants, want at most %d", len(page), limit)
				}
				after = page[limit-1].GrantKey
			}
			if !slices.Equal(got, want) {
				t.Errorf("%+v in pages of %d: got %d grants, want the %d that Find lists", f, limit, len(got), len(want))
			}
		}
	}
}

// A page of profiles begins after the given one, and what is listed counts as
// saved.
func TestListProfiles(t *testing.T) {
	m := &authprofile.Manager{Store: new(authprofile.MemStore), RedirectURL: "https://app.example.com/callback/{profile}"}
	for i := range 5 {
		p := registered(authprofile.Profile{ID: fmt.Sprint("p", i), Type: authprofile.TypeUser, Endpoints: authprofile.Endpoints{DiscoveryURL: "https://idp.example.com/.well-known/openid-configuration"}})
		if err := m.Save(t.Context(), p); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		after string
		limit int
		want  []string
	}{
		{"", 2, []string{"p0", "p1"}},
		{"p1", 2, []string{"p2", "p3"}},
		{"p3", 2, []string{"p4"}},
		{"p4", 2, nil},
	} {
		page, err := m.ListProfiles(t.Context(), tt.after, tt.limit)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, p := range page {
			got = append(got, p.ID)
			if p.Unsaved() {
				t.Errorf("%s: got unsaved, want saved", p.ID)
			}
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("after %q: got %q, want %q", tt.after, got, tt.want)
		}
	}
}

// A Store that fails says so, beside what it has returned.
func TestListsWithErrors(t *testing.T) {
	inner := new(authprofile.MemStore)
	if err := inner.PutGrant(t.Context(), &authprofile.Grant{GrantKey: ada, Status: authprofile.StatusActive}); err != nil {
		t.Fatal(err)
	}
	m := &authprofile.Manager{Store: &brokenStore{Store: inner, err: errAway}}
	grants, err := m.ListGrants(t.Context(), authprofile.GrantFilter{User: "ada"}, authprofile.GrantKey{}, 10)
	var e *authprofile.Error
	if len(grants) != 1 || !errors.As(err, &e) || e.Op != "find" || !errors.Is(err, errAway) {
		t.Errorf("got %d grants, error %v; want one, and that of the Store", len(grants), err)
	}
	if _, err := m.ListProfiles(t.Context(), "", 10); !errors.As(err, &e) || e.Op != "profiles" || !errors.Is(err, errAway) {
		t.Errorf("got error %v, want that of the Store", err)
	}
}
