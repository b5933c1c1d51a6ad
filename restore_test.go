package authprofile_test

import (
	"sync"
	"testing"
	"time"

	"github.com/authprofile/authprofile"
)

// The Store has gone back to an earlier token, and while a process stores the
// later one again, the user ends the grant: neither token is given out any more.
func TestLostTokenOfAGrantThatIsBeingDeleted(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.adasProfile()
		proc := w.process()
		before := w.grant(ada)
		time.Sleep(5 * time.Minute)
		later, err := proc.Token(t.Context(), p, asAda, authprofile.Rejected(before.Token()))
		if err != nil {
			t.Fatal(err)
		}
		before.Version = w.grant(ada).Version
		w.put(before)
		time.Sleep(5 * time.Minute)

		var once sync.Once
		proc.store.on(func(c *storeCall) error {
			if c.op == "PutGrant" {
				once.Do(func() {
					if err := w.store.DeleteGrant(c.ctx, ada); err != nil {
						t.Error(err)
					}
				})
			}
			return c.run()
		})
		w.refuses(proc.Manager, p, authprofile.ErrReauthorize, asAda, authprofile.Rejected(later))
		w.noGrant(ada)
	})
}
