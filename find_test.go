package authprofile_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/authprofile/authprofile"
)

// manyGrants puts more grants than a page has, of three profiles.
func manyGrants(t *testing.T, s authprofile.Store) (all []*authprofile.Grant) {
	t.Helper()
	noon := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	statuses := []authprofile.Status{authprofile.StatusActive, authprofile.StatusFailing, authprofile.StatusNeedsReauthorization}
	for _, profile := range []string{"a", "b", "c"} {
		for i := range 120 {
			g := &authprofile.Grant{
				GrantKey: authprofile.GrantKey{ProfileID: profile, User: fmt.Sprintf("user-%03d", i)},
				Status:   statuses[i%len(statuses)],
			}
			if i%2 == 0 {
				g.Ends = noon.AddDate(0, 0, i)
			}
			if err := s.PutGrant(t.Context(), g); err != nil {
				t.Fatal(err)
			}
			all = append(all, g)
		}
	}
	return all
}

// Find finds what has all that its filter says, in order, and nothing else.
func TestFind(t *testing.T) {
	m := &authprofile.Manager{Store: new(authprofile.MemStore)}
	all := manyGrants(t, m.Store)
	soon := time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)
	for _, profile := range []string{"", "b", "none"} {
		for _, user := range []string{"", "user-004", "none"} {
			for _, status := range []authprofile.Status{"", authprofile.StatusFailing} {
				for _, before := range []time.Time{{}, soon} {
					f := authprofile.GrantFilter{ProfileID: profile, User: user, Status: status, EndsBefore: before}
					var want []authprofile.GrantKey
					for _, g := range all {
						if (profile == "" || g.ProfileID == profile) && (user == "" || g.User == user) && (status == "" || g.Status == status) &&
							(before.IsZero() || !g.Ends.IsZero() && g.Ends.Before(before)) {
							want = append(want, g.GrantKey)
						}
					}
					var got []authprofile.GrantKey
					for g, err := range m.Find(t.Context(), f) {
						if err != nil {
							t.Fatal(err)
						}
						got = append(got, g.GrantKey)
					}
					if !slices.Equal(got, want) {
						t.Errorf("%+v: got %d grants, want %d: %v", f, len(got), len(want), want)
					}
				}
			}
		}
	}
}

// What is found can be ended while it is looked through.
func TestFindAndRevoke(t *testing.T) {
	m := &authprofile.Manager{Store: new(authprofile.MemStore)}
	manyGrants(t, m.Store)
	n := 0
	for g, err := range m.Find(t.Context(), authprofile.GrantFilter{Status: authprofile.StatusNeedsReauthorization}) {
		if err != nil {
			t.Fatal(err)
		}
		// There is no such profile, so that the provider cannot be told.
		if err := m.Revoke(t.Context(), g.GrantKey); !errors.Is(err, authprofile.ErrNotFound) {
			t.Fatalf("got error %v, want one that the profile is not there", err)
		}
		n++
	}
	counts, err := m.Count(t.Context(), "")
	if want := (map[authprofile.Status]int64{authprofile.StatusActive: 120, authprofile.StatusFailing: 120}); err != nil || n != 120 || !maps.Equal(counts, want) {
		t.Errorf("got %v after %d revocations, error %v; want %v after 120", counts, n, err, want)
	}
}

func TestCount(t *testing.T) {
	m := &authprofile.Manager{Store: new(authprofile.MemStore)}
	manyGrants(t, m.Store)
	for _, test := range []struct {
		profile string
		each    int64
	}{{"", 120}, {"b", 40}, {"none", 0}} {
		got, err := m.Count(t.Context(), test.profile)
		want := make(map[authprofile.Status]int64)
		if test.each > 0 {
			want[authprofile.StatusActive], want[authprofile.StatusFailing], want[authprofile.StatusNeedsReauthorization] = test.each, test.each, test.each
		}
		if err != nil || !maps.Equal(got, want) {
			t.Errorf("profile %q: got %v, error %v; want %v", test.profile, got, err, want)
		}
	}
}

// No profile has an empty ID, so that it has no grants either.
func TestGrantsOfNoProfile(t *testing.T) {
	m := &authprofile.Manager{Store: new(authprofile.MemStore)}
	manyGrants(t, m.Store)
	for g, err := range m.Grants(t.Context(), "") {
		t.Fatalf("got %v, error %v; want none", g, err)
	}
}

// A Store that fails says so, and what it has returned is not hidden.
func TestFindWithErrors(t *testing.T) {
	inner := new(authprofile.MemStore)
	if err := inner.PutGrant(t.Context(), &authprofile.Grant{GrantKey: ada, Status: authprofile.StatusActive}); err != nil {
		t.Fatal(err)
	}
	m := &authprofile.Manager{Store: &brokenStore{Store: inner, err: errAway}}
	grants, failures := 0, 0
	for g, err := range m.Find(t.Context(), authprofile.GrantFilter{User: "ada"}) {
		var e *authprofile.Error
		switch {
		case err == nil && g.GrantKey == ada:
			grants++
		case errors.As(err, &e) && e.Op == "find" && e.User == "ada" && errors.Is(err, errAway):
			failures++
		default:
			t.Errorf("got %v, error %v", g, err)
		}
	}
	if grants != 1 || failures != 1 {
		t.Errorf("got %d grants and %d errors, want one each", grants, failures)
	}
	if _, err := m.Count(t.Context(), "crm"); !errors.Is(err, errAway) {
		t.Errorf("Count: got error %v, want that of the Store", err)
	}
}
