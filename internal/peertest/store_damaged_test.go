package peertest

import (
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/authprofile/authprofile"
	"github.com/authprofile/authprofile/internal/peertest/require"
	"github.com/authprofile/authprofile/sealed"
	"github.com/authprofile/authprofile/sqlstore"
)

// Somebody has edited rows by hand. What cannot be read any more is an error
// for that record alone: it hides no other in a list, and keeps no key from
// being rotated.
func TestDamagedRows(t *testing.T) {
	require.Long(t, "rows that are damaged, one column at a time")
	t.Parallel()
	for _, tg := range targets {
		t.Run(tg.name, func(t *testing.T) {
			t.Parallel()
			s, db := tg.new(t)
			ctx := t.Context()
			secret := make([]byte, 32)
			rand.Read(secret)
			keys, err := sealed.NewKeyring(sealed.Key{ID: "one", Secret: secret})
			if err != nil {
				t.Fatal(err)
			}
			locked := sealed.New(s, keys)
			ends := time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC)
			due := ends.Add(-time.Hour)
			var ids, users []string
			for i := range 250 {
				id := fmt.Sprintf("p%03d", i)
				p := &authprofile.Profile{ID: id, Type: authprofile.TypeUser, ClientID: "c", ClientSecret: "client secret", Scopes: []string{"read"}}
				if err := locked.PutProfile(ctx, p); err != nil {
					t.Fatal(err)
				}
				user := fmt.Sprintf("u%03d", i)
				if i == 0 {
					user = ""
				}
				g := &authprofile.Grant{GrantKey: authprofile.GrantKey{ProfileID: "p000", User: user}, AccessToken: "access token", Scopes: []string{"read"}, Status: "active", Ends: ends, Due: due}
				if i < 120 {
					g.Due = g.Due.Add(-time.Hour)
				}
				if err := locked.PutGrant(ctx, g); err != nil {
					t.Fatal(err)
				}
				ids, users = append(ids, id), append(users, user)
			}
			damaged := []int{0, 1, 2, 99, 100, 249}
			for _, i := range damaged {
				mustExec(t, db, "UPDATE authprofile_profiles SET scopes = 'read write' WHERE id = '"+ids[i]+"'")
				mustExec(t, db, "UPDATE authprofile_grants SET requested = '{' WHERE profile_id = 'p000' AND user_id = '"+users[i]+"'")
			}
			isDamaged := func(i int) bool { return slices.Contains(damaged, i) }

			// One by one.
			for _, i := range []int{0, 1, 3, 249} {
				_, err := s.Profile(ctx, ids[i])
				_, err2 := s.Grant(ctx, authprofile.GrantKey{ProfileID: "p000", User: users[i]})
				for _, err := range []error{err, err2} {
					if (err != nil) != isDamaged(i) || errors.Is(err, authprofile.ErrNotFound) {
						t.Errorf("%d: got error %v", i, err)
					}
					if err != nil && strings.Contains(fmt.Sprintf("%v %+v %#v", err, err, err), "read write") {
						t.Errorf("got what stands in the row: %v", err)
					}
				}
			}

			// In lists of any length, until there are no more.
			for name, store := range map[string]authprofile.Store{"plain": s, "sealed": locked} {
				for _, limit := range []int{1, 2, 3, 100, 1000} {
					list := func(page func(after string) (keys []string, err error)) (all []string, errs []error) {
						for after := ""; ; after = all[len(all)-1] {
							keys, err := page(after)
							all = append(all, keys...)
							if err != nil {
								for _, err := range err.(interface{ Unwrap() []error }).Unwrap() {
									if _, ok := err.(*authprofile.Error); !ok {
										t.Errorf("got error %T %v, want one about a record", err, err)
									}
									errs = append(errs, err)
								}
							}
							if len(keys) < limit {
								return all, errs
							}
						}
					}
					check := func(kind string, got []string, errs []error, all []string) {
						var want []string
						for i, key := range all {
							if !isDamaged(i) {
								want = append(want, key)
							}
						}
						if !slices.Equal(got, want) || len(errs) != len(damaged) {
							t.Errorf("%s, %s by %d: got %d records and %d errors, want %d and %d", name, kind, limit, len(got), len(errs), len(want), len(damaged))
						}
					}
					got, errs := list(func(after string) (keys []string, err error) {
						profiles, err := store.ListProfiles(ctx, after, limit)
						for _, p := range profiles {
							keys = append(keys, p.ID)
						}
						return keys, err
					})
					check("profiles", got, errs, ids)
					// Of the profile, and of all: the other profiles have none.
					for _, f := range []authprofile.GrantFilter{{ProfileID: "p000"}, {}, {Status: "active"}, {Status: "active", EndsBefore: ends.Add(1)}} {
						got, errs = list(func(after string) (keys []string, err error) {
							from := authprofile.GrantKey{ProfileID: "p000", User: after}
							if after == "" {
								from = authprofile.GrantKey{} // the empty user included
							}
							grants, err := store.ListGrants(ctx, f, from, limit)
							for _, g := range grants {
								keys = append(keys, g.User)
							}
							return keys, err
						})
						check(fmt.Sprintf("grants %+v", f), got, errs, users)
					}
					// Those that are due have no pages: the damaged ones among
					// the first are errors, and others are in their place.
					grants, err := store.DueGrants(ctx, ends, limit)
					var keys []string
					for i, g := range grants {
						keys = append(keys, g.User)
						if i > 0 && g.Due.Before(grants[i-1].Due) {
							t.Errorf("%s, due by %d: got them out of order", name, limit)
						}
					}
					slices.Sort(keys)
					if want := min(limit, len(users)-len(damaged)); len(slices.Compact(keys)) != want {
						t.Errorf("%s, due by %d: got %d grants, want %d", name, limit, len(keys), want)
					}
					if limit > len(users) {
						check("due", keys, err.(interface{ Unwrap() []error }).Unwrap(), users)
					}
				}
			}

			// Their status can be read, so they are counted.
			for name, store := range map[string]authprofile.Store{"plain": s, "sealed": locked} {
				counts, err := store.CountGrants(ctx, "p000")
				if got := counts["active"]; err != nil || got != int64(len(users)) {
					t.Errorf("%s, CountGrants: got %d, error %v; want all %d and none", name, got, err, len(users))
				}
			}

			// Through the Manager, too.
			m := &authprofile.Manager{Store: s}
			n, failed := 0, 0
			for _, err := range m.Grants(ctx, "p000") {
				n++
				if err != nil {
					failed++
				}
			}
			if n != len(users) || failed != len(damaged) {
				t.Errorf("got %d grants, %d of them errors; want %d and %d", n, failed, len(users), len(damaged))
			}

			// The grants of damaged profiles are rotated too; p000 is one.
			var last sealed.Progress
			for progress, err := range sealed.Rotate(ctx, locked) {
				if last = progress; err != nil {
					var record *authprofile.Error
					if !errors.As(err, &record) {
						t.Errorf("got error %v, want one about a record", err)
					}
				}
			}
			if !last.Done || last.Failed != 2*len(damaged) || last.Profiles != len(ids) || last.Grants != len(users) {
				t.Errorf("got %+v, want all profiles and grants seen, and %d failed", last, 2*len(damaged))
			}
		})
	}
}

// What was put is put, though the time of creation that stood there cannot be
// read: an error would say that nothing is known.
func TestPutOverDamagedCreation(t *testing.T) {
	t.Parallel()
	for _, tg := range targets {
		t.Run(tg.name, func(t *testing.T) {
			t.Parallel()
			s, db := tg.new(t)
			g := mustWork(t, s, "u")
			created := g.Created
			damage := map[sqlstore.Dialect]string{
				sqlstore.SQLite:   "UPDATE authprofile_grants SET created = 'yesterday'",
				sqlstore.Postgres: "UPDATE authprofile_grants SET created = '20000-01-01'",
				sqlstore.MySQL:    "UPDATE IGNORE authprofile_grants SET created = '0000-00-00'",
			}[tg.dialect]
			mustExec(t, db, damage)
			if _, err := s.Grant(t.Context(), g.GrantKey); err == nil || errors.Is(err, authprofile.ErrNotFound) {
				t.Fatalf("Grant: got error %v, want one about the row, or the test proves nothing", err)
			}
			version := g.Version
			if err := s.PutGrant(t.Context(), g); err != nil || g.Version != version+1 || !g.Created.Equal(created) {
				t.Errorf("PutGrant: got version %d, created %v, error %v; want %d, %v and none", g.Version, g.Created, err, version+1, created)
			}
			if err := s.PutGrant(t.Context(), g); err != nil {
				t.Errorf("PutGrant again: got error %v, want none", err)
			}
			old := *g
			old.Version--
			if err := s.PutGrant(t.Context(), &old); !errors.Is(err, authprofile.ErrConflict) {
				t.Errorf("PutGrant of the version before: got error %v, want ErrConflict", err)
			}
		})
	}
}

// What is due cannot be paged past rows that cannot be read. A list passes over
// a hundred of them, and then says that it has not read the rest.
func TestDueGrantsGiveUp(t *testing.T) {
	s, db := sqlite.new(t)
	ctx := t.Context()
	at := time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC)
	const damaged, good = 130, 10
	for i := range damaged + good {
		g := &authprofile.Grant{GrantKey: authprofile.GrantKey{ProfileID: "p", User: fmt.Sprintf("u%03d", i)}, Status: "active", Due: at.Add(time.Duration(i) * time.Minute)}
		if err := s.PutGrant(ctx, g); err != nil {
			t.Fatal(err)
		}
	}
	mustExec(t, db, fmt.Sprintf("UPDATE authprofile_grants SET scopes = '{' WHERE user_id < 'u%03d'", damaged))
	for _, c := range []struct {
		limit, grants, records int
		gaveUp                 bool
	}{
		{0, 0, 0, false},
		{1, 0, 101, true},
		{20, 0, 120, true},
		{31, 1, damaged, true},
		{40, 10, damaged, true}, // as many as there are, but it has not seen that there are no more
		{41, 10, damaged, false},
		{1000, 10, damaged, false},
	} {
		list, err := s.DueGrants(ctx, at.AddDate(0, 0, 1), c.limit)
		var errs []error
		if err != nil {
			errs = err.(interface{ Unwrap() []error }).Unwrap()
		}
		records := 0
		for _, err := range errs {
			if _, ok := err.(*authprofile.Error); ok {
				records++
			}
		}
		if gaveUp := len(errs) > records; len(list) != c.grants || records != c.records || gaveUp != c.gaveUp {
			t.Errorf("limit %d: got %d grants, %d errors about rows, and the rest not read: %v; want %d, %d and %v",
				c.limit, len(list), records, gaveUp, c.grants, c.records, c.gaveUp)
		}
	}
}
