package authprofile_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/authprofile/authprofile"
	"github.com/authprofile/authprofile/providertest"
)

// A provider that says for a while that it has ended all grants is one notice to
// the administrator, and a second when it is over; no user is told, and every
// grant works again.
func TestMassEnding(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		var b noticeBoard
		p := w.user()
		const users = 60
		w.authorizeMany(p, users)
		for range 2 {
			w.maintained(&b, w.store)
		}
		use := func(i int) { w.use(p, i) }
		expire()
		for i := range users {
			use(i)
		}
		w.srv.Fault(providertest.Token, providertest.Fault{Times: -1, Grant: "refresh_token", Status: 400, Body: `{"error":"invalid_grant"}`})
		expire()
		for i := range users { // over ten minutes
			use(i)
			w.pass(10 * time.Second)
		}
		asked := w.srv.Count("refresh_token")
		b.wants(t, "after ten minutes", "needs_administrator")
		if asked > 2*users+60 {
			t.Errorf("the provider was asked %d times, want little more than once for each grant", asked)
		}
		w.srv.ClearFaults(providertest.Token)
		w.pass(30 * time.Minute)
		b.wants(t, "when it is over", "recovered")
		for i := range users {
			w.healthy(userOf(i))
		}
		w.pass(2 * day)
		b.wants(t, "two days later")
	})
}

// If it lasts, the users are told.
func TestMassEndingThatLasts(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		var b noticeBoard
		p := w.user()
		const users = 20
		var want []string
		for i := range users {
			w.authorize(p, fmt.Sprint("user-", i))
			want = append(want, fmt.Sprint("needs_user user-", i))
		}
		w.maintained(&b, w.store)
		w.srv.RevokeUser("user")
		expire()
		for i := range users {
			w.use(p, i)
		}
		w.pass(50 * time.Minute)
		b.wants(t, "within the hour", "needs_administrator")
		w.pass(time.Hour)
		b.wants(t, "after it", want...)
		w.pass(day)
		b.wants(t, "a day later")
	})
}

// While other grants are renewed, a user whose grant the provider has ended is
// told at once, even if several are ended at the same time.
func TestEndedWhileOthersAreRenewed(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		var b noticeBoard
		p := w.user()
		const users, ended = 20, 8
		w.authorizeMany(p, users)
		w.maintained(&b, w.store)
		expire()
		var want []string
		for i := range ended {
			w.srv.Revoke(string(w.grant(userOf(i)).RefreshToken))
			want = append(want, fmt.Sprint("needs_user user-", i))
		}
		for i := range users {
			w.use(p, i)
			w.pass(time.Second)
		}
		w.pass(3 * time.Minute)
		b.wants(t, "after three minutes", want...)
	})
}

// Two other grants that are not used for long are no proof of anything: the user
// is told after a while.
func TestEndedWhileOthersAreIdle(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		var b noticeBoard
		p := w.user()
		for _, user := range []string{"ada", "bob", "cy"} {
			w.authorize(p, user)
		}
		w.maintained(&b, w.store)
		w.srv.Revoke(string(w.grant(ada).RefreshToken))
		expire()
		w.refuses(w.m, p, authprofile.ErrReauthorize, asAda)
		w.pass(8 * time.Minute)
		b.wants(t, "after eight minutes")
		w.pass(5 * time.Minute)
		b.wants(t, "after thirteen", "needs_user ada")
	})
}
