package authprofile

import (
	"errors"
	"sync"

	"github.com/authprofile/authprofile/internal/foreign"
)

var errShutdown = errors.New("the Manager was shut down")

// A tasks is the work of a Manager that Shutdown waits for.
type tasks struct {
	events  events
	closing chan struct{} // closed by Shutdown

	mu     sync.Mutex
	closed bool
	wg     sync.WaitGroup
}

// begin counts a piece of work, unless the Manager was shut down. It is
// followed by end.
func (t *tasks) begin() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return false
	}
	t.wg.Add(1)
	return true
}

func (t *tasks) end() { t.wg.Done() }

// run runs f in a goroutine. It is called by work that has begun, which may
// have more to do after Shutdown was called.
func (t *tasks) run(f func()) {
	t.wg.Go(func() {
		defer t.survive()
		f()
	})
}

// survive is deferred where code that is not ours may panic in a goroutine of
// ours: a transport, a Store, a log handler. What it was called for fails; the
// program goes on.
func (t *tasks) survive() {
	if p := foreign.Recovered(recover()); p != nil {
		t.events.panicked(p)
	}
}

// close lets no more work begin. It may be called again.
func (t *tasks) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.closed {
		t.closed = true
		close(t.closing)
	}
}
