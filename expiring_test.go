package authprofile_test

import (
	"testing"
	"time"

	"github.com/authprofile/authprofile"
)

// A grant that ends is told of 14, 3 and 1 days before, once each.
func TestExpiring(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		var b noticeBoard
		w.announce(60 * day)
		w.adasIdleProfile()
		for range 3 {
			w.maintained(&b, w.store)
		}
		ends := w.grant(ada).Ends
		w.pass(45 * day)
		b.wants(t, "fifteen days before")
		w.pass(day + time.Hour)
		n := b.wants(t, "fourteen days before", "expiring ada")[0]
		if !n.At.Equal(ends) || n.Status != authprofile.StatusActive {
			t.Errorf("got notice %+v, want one of %v", n, ends)
		}
		w.pass(10 * day)
		b.wants(t, "four days before")
		w.pass(day)
		b.wants(t, "three days before", "expiring ada")
		w.pass(2 * day)
		b.wants(t, "one day before", "expiring ada")
		w.pass(30 * day)
		b.wants(t, "afterwards")
	})
}

// A grant whose life is short, and begins anew with each renewal, is no news;
// once it is no longer used, it is.
func TestExpiringWhileUsed(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		var b noticeBoard
		w.announce(2 * day)
		p := w.adasIdleProfile()
		w.maintained(&b, w.store)
		for range 24 * 10 {
			expire()
			w.token(w.m, p, asAda)
		}
		b.wants(t, "while it is used")
		w.pass(day + time.Hour)
		b.wants(t, "a day before its end", "expiring ada")
	})
}

// So is a client secret that ends, of a profile with and without grants; a
// profile that is saved with another time is told of by that.
func TestSecretExpiring(t *testing.T) {
	for _, typ := range []authprofile.Type{authprofile.TypeUser, authprofile.TypeApp} {
		t.Run(string(typ), func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				var b noticeBoard
				for range 2 {
					w.maintained(&b, w.store)
				}
				p := w.unsavedApp()
				if typ == authprofile.TypeUser {
					p = w.user()
				}
				p.SecretExpires = time.Now().Add(100 * day)
				w.save(p)
				if typ == authprofile.TypeApp {
					w.token(w.m, p)
				}
				w.pass(85 * day)
				b.wants(t, "fifteen days before")
				if typ == authprofile.TypeApp {
					w.token(w.m, p)
				}
				w.pass(day + time.Hour)
				n := b.wants(t, "fourteen days before", "secret_expiring")[0]
				if n.ProfileID != p.ID || n.User != "" || n.At.Sub(p.SecretExpires).Abs() > time.Millisecond {
					t.Errorf("got notice %+v, want one of the profile and %v", n, p.SecretExpires)
				}
				w.pass(11 * day)
				b.wants(t, "three days before", "secret_expiring")
				p.SecretExpires = p.SecretExpires.Add(365 * day)
				w.save(p)
				w.pass(30 * day)
				b.wants(t, "with a new secret")
				w.pass(325 * day)
				b.wants(t, "fourteen days before its end", "secret_expiring")
				if err := w.m.Delete(t.Context(), p.ID); err != nil {
					t.Fatal(err)
				}
				w.pass(30 * day)
				b.wants(t, "of a profile that was deleted")
			})
		})
	}
}
