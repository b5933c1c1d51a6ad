package authprofile_test

import (
	"slices"
	"testing"
	"time"
)

// callTime is how long a call of the Store takes in this test.
const callTime = 200 * time.Millisecond

// A renewal calls the Store five times, two of them at the same time: each call
// is time for which the caller waits, and work for a database.
func TestCallsOfARenewal(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.adasProfile()
		proc := w.process()
		expire()
		proc.store.on(func(c *storeCall) error {
			time.Sleep(callTime)
			return c.run()
		})
		began := time.Now()
		w.token(proc.Manager, p, asAda)
		if got, want := time.Since(began), 4*callTime; got != want {
			t.Errorf("got the token after %v, want %v: four calls of the Store, one after the other", got, want)
		}
		var got []int
		for _, op := range []string{"Grant", "Profile", "PutGrant", "PutProfile", "ListGrants", "DeleteGrant"} {
			got = append(got, proc.store.count(op))
		}
		if want := []int{2, 1, 2, 0, 0, 0}; !slices.Equal(got, want) {
			t.Errorf("got %d calls, want %d", got, want)
		}
		w.healthy(ada)
	})
}

// A process that waits for another one looks at the grant alone.
func TestCallsOfAnAdoption(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.adasProfile()
		first, second := w.process(), w.process()
		expire()
		first.store.on(func(c *storeCall) error {
			if c.op == "PutGrant" && c.grant.Lease == nil {
				time.Sleep(time.Second) // with the lease in the Store
			}
			return c.run()
		})
		done := make(chan string)
		go func() { done <- w.token(first.Manager, p, asAda) }()
		time.Sleep(100 * time.Millisecond)
		got := w.token(second.Manager, p, asAda)
		if want := <-done; got != want {
			t.Errorf("got token %q, want %q, which the other process has obtained", got, want)
		}
		if got := second.store.count("Profile"); got != 1 {
			t.Errorf("got %d readings of the profile, want one, beside the first of the grant", got)
		}
		if got := second.store.count("PutGrant"); got != 0 {
			t.Errorf("got %d puts, want none", got)
		}
	})
}
