package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/authprofile/authprofile"
)

// A givingStore counts the grants that it gives out.
type givingStore struct {
	authprofile.Store
	given int
}

func (s *givingStore) ListGrants(ctx context.Context, f authprofile.GrantFilter, after authprofile.GrantKey, limit int) ([]*authprofile.Grant, error) {
	grants, err := s.Store.ListGrants(ctx, f, after, limit)
	s.given += len(grants)
	return grants, err
}

// fillStatus stores n grants of each status for each of several profiles.
func fillStatus(t *testing.T, s authprofile.Store, profiles, n int) {
	t.Helper()
	now := time.Now()
	for i := range profiles {
		id := fmt.Sprintf("p%02d", i)
		p := &authprofile.Profile{ID: id, Type: authprofile.TypeUser, ClientID: "c", SecretExpires: now.Add(time.Hour)}
		if err := s.PutProfile(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		for _, status := range statuses {
			for j := range n {
				g := &authprofile.Grant{GrantKey: authprofile.GrantKey{ProfileID: id, User: fmt.Sprintf("%s-%04d", status, j)}, Status: status, Ends: now.Add(time.Hour)}
				if j == 0 {
					g.User = lastUser[:480] + string(status) // near the end of what is passed over
				}
				if status != authprofile.StatusActive {
					g.Failure = &authprofile.Failure{Reason: authprofile.ReasonClient, Code: "invalid_client", Since: now.Add(-time.Hour)}
				}
				if err := s.PutGrant(t.Context(), g); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}

// However many grants there are, status reads a few of them.
func TestStatusReadsLittle(t *testing.T) {
	t.Parallel()
	const profiles, n = maxShown + 2, 200
	s := &givingStore{Store: new(authprofile.MemStore)}
	fillStatus(t, s, profiles, n)
	v, err := readStatus(t.Context(), &authprofile.Manager{Store: s}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for _, status := range statuses {
		if got := v.Counts[status]; got != profiles*n {
			t.Errorf("%s: got %d grants, want %d", status, got, profiles*n)
		}
	}
	for name, got := range map[string][2]int{
		"administrator": {len(v.Administrator), len(v.Failing)}, "users": {len(v.Users), len(v.Secrets)},
	} {
		if got != [2]int{maxShown, maxShown} {
			t.Errorf("%s: got %v shown, want %d each", name, got, maxShown)
		}
	}
	if !v.MoreAdministrator || !v.MoreFailing || !v.MoreUsers || !v.MoreEnding || !v.MoreSecrets {
		t.Errorf("got %+v, want more of each", v)
	}
	for i, p := range v.Administrator {
		if want := fmt.Sprintf("p%02d", i); p.ProfileID != want || p.Grants != n {
			t.Errorf("got profile %s with %d grants, want %s with %d", p.ProfileID, p.Grants, want, n)
		}
	}
	if limit := 5 * (maxShown + 1); s.given > limit {
		t.Errorf("got %d grants read, want %d at most", s.given, limit)
	}
}

func TestStatus(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if got := w.ok("status"); !strings.Contains(got, "  0\tactive\n") || strings.Contains(got, "Needs") {
		t.Errorf("got %s, want counts alone", got)
	}
	w.users("ada", "bob")
	w.stored(func(_ *authprofile.Manager, db *database) { fillStatus(t, db.store, 1, 2) })
	got := w.ok("status")
	for _, want := range []string{
		"  2\tneeds an administrator", "  2\tneeds its user", "  2\tfailing for now", "  4\tactive\n",
		"\nNeeds an administrator\n  p00\t2 grants\tthe provider refuses the client or its request (invalid_client)\tsince ", "\tauthprofile test p00\n",
		"\nNeeds its user\n  p00\t", "\tauthprofile connect p00 --user needs_reauthorization-0001\n",
		"\nFails for now\n  p00\t2 grants\t",
		"\nEnds within 30 days\n", "\tauthprofile connect p00 --user active-0001\n",
		"\nClient secrets that end within 30 days\n  p00\tends 20",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("got %s, want %q in it", got, want)
		}
	}
	var v statusView
	decoder := json.NewDecoder(bytes.NewReader([]byte(w.ok("status", "-o", "json"))))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&v); err != nil {
		t.Fatal(err)
	}
	if v.Counts[authprofile.StatusActive] != 4 || len(v.Users) != 2 || len(v.Ending) != 4 || v.At.Location() != time.UTC {
		t.Errorf("got %+v, want what is stored", v)
	}
	if code, screen := w.terminal("status").end(); code != 0 || !strings.Contains(screen, "\x1b[1mNeeds its user\x1b[0m") || strings.Contains(screen, "\t") {
		t.Errorf("got exit code %d and %q, want 0 and columns", code, screen)
	}
}
