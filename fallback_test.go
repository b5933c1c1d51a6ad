package authprofile_test

import (
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authprofile/authprofile"
	"github.com/authprofile/authprofile/providertest"
)

// An app profile has waited for another process for as long as it waits, and
// renews without the Store. If it then has to pause, here since its clock was
// set back, the wait for the other process does not count.
func TestPauseAfterTheWaitForAnotherProcess(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.app()
		proc := w.process()
		var ahead atomic.Int64
		proc.SetNow(func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) })
		ahead.Store(int64(time.Hour))
		w.srv.Fault(providertest.Token, answers(503, ""))
		w.refuses(proc.Manager, p, nil)
		ahead.Store(0)
		w.srv.ClearFaults(providertest.Token)

		var another sync.WaitGroup
		defer another.Wait()
		another.Go(func() { // it extends its lease for two minutes
			for range 60 {
				g, err := w.store.Grant(t.Context(), app)
				if err != nil {
					t.Error(err)
					return
				}
				g.Lease = &authprofile.Lease{Owner: "another", Attempt: "one", Length: 5 * time.Second}
				w.store.PutGrant(t.Context(), g)
				time.Sleep(2 * time.Second)
			}
		})
		synctest.Wait()
		began := time.Now()
		w.token(proc.Manager, p)
		if got := time.Since(began); got < 89*time.Second || got > 92*time.Second {
			t.Errorf("got a token after %v, want one after about 90 seconds and a pause", got)
		}
	})
}
