package authprofile_test

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authprofile/authprofile"
)

func TestAppTokenIsRenewedOncePerExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		src := w.m.Source(t.Context(), w.app())
		for want := 1; want <= 5; want++ {
			var wg sync.WaitGroup
			for range 50 {
				wg.Go(func() {
					if _, err := src.Token(); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			if got := w.srv.Count("client_credentials"); got != want {
				t.Fatalf("got %d token requests, want %d", got, want)
			}
			time.Sleep(time.Hour + time.Second)
		}
	})
}

func TestUserTokenIsRenewedByRefreshToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		p := w.user()
		g := w.authorize(p, "ada")
		if g.Subject != "user" || g.Status != authprofile.StatusActive {
			t.Errorf("got subject %q and status %q", g.Subject, g.Status)
		}
		first := w.token(w.m, p, authprofile.AsUser("ada"))
		for range 5 {
			time.Sleep(time.Hour + time.Second)
			second := w.token(w.m, p, authprofile.AsUser("ada"))
			if second == first {
				t.Error("got the same token after its end")
			}
			first = second
		}
		if got := w.srv.Count("refresh_token"); got != 5 {
			t.Errorf("got %d refreshes, want 5", got)
		}
	})
}

func TestFleetRenewsOncePerExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		p := w.user()
		w.authorize(p, "ada")
		managers := []*authprofile.Manager{w.m}
		for range 7 {
			managers = append(managers, w.manager())
		}
		for want := 0; want <= 20; want++ {
			var wg sync.WaitGroup
			for _, m := range managers {
				for range 10 {
					wg.Go(func() { w.token(m, p, authprofile.AsUser("ada")) })
				}
			}
			wg.Wait()
			if got := w.srv.Count("refresh_token"); got != want {
				t.Fatalf("got %d refreshes, want %d", got, want)
			}
			time.Sleep(time.Hour + time.Second)
		}
		if got := w.srv.Reuses(); got != 0 {
			t.Errorf("got %d reuses, want none", got)
		}
	})
}
