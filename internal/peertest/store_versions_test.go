package peertest

import (
	"errors"
	"testing"
	"testing/synctest"

	"github.com/authprofile/authprofile"
	"github.com/authprofile/authprofile/sqlstore"
)

// A record that is deleted and made anew gets no version that it had before,
// whatever the clock says: in the bubble it stands still. A writer that has read
// a version of an earlier life replaces nothing.
func TestVersionsWhileTheClockStandsStill(t *testing.T) {
	const (
		lives   = 20
		puts    = 3
		largest = 1<<53 - 1 // that every reader of JSON keeps (RFC 8259, section 6)
	)
	synctest.Test(t, func(t *testing.T) {
		tg := target{"SQLite, in memory", sqlstore.SQLite, "sqlite", nil}
		s := tg.store(t, tg.open(t, ":memory:"), "")
		ctx := t.Context()
		key := authprofile.GrantKey{ProfileID: "crm", User: "u"}
		had := make(map[int64]bool)
		for life := range lives {
			p := &authprofile.Profile{ID: "crm"}
			g := &authprofile.Grant{GrantKey: key}
			for i := range puts {
				before := g.Version
				if err := s.PutProfile(ctx, p); err != nil {
					t.Fatalf("PutProfile: got error %v, want none", err)
				}
				if err := s.PutGrant(ctx, g); err != nil {
					t.Fatalf("PutGrant: got error %v, want none", err)
				}
				if i > 0 && g.Version != before+1 {
					t.Errorf("version after %d: got %d, want %d", before, g.Version, before+1)
				}
				for _, v := range []int64{p.Version, g.Version} {
					if v < 1 || v > largest-1<<50 {
						t.Errorf("version: got %d, want one from 1 to 2^53, with room to count up", v)
					}
					if had[v] {
						t.Fatalf("life %d: got version %d, which was given before", life, v)
					}
				}
				for v := range had {
					if err := s.PutGrant(ctx, &authprofile.Grant{GrantKey: key, Version: v}); !errors.Is(err, authprofile.ErrConflict) {
						t.Fatalf("life %d, PutGrant of version %d, from an earlier life: got error %v, want ErrConflict", life, v, err)
					}
					if err := s.PutProfile(ctx, &authprofile.Profile{ID: "crm", Version: v}); !errors.Is(err, authprofile.ErrConflict) {
						t.Fatalf("life %d, PutProfile of version %d, from an earlier life: got error %v, want ErrConflict", life, v, err)
					}
				}
			}
			for v := g.Version; v > g.Version-puts; v-- {
				had[v] = true
			}
			for v := p.Version; v > p.Version-puts; v-- {
				had[v] = true
			}
			if life%2 == 0 {
				if err := s.DeleteGrant(ctx, key); err != nil {
					t.Fatal(err)
				}
			}
			if err := s.DeleteProfile(ctx, "crm"); err != nil { // and its grants
				t.Fatal(err)
			}
		}
	})
}
