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

// A reports keeps events until the result of the work is there for those who wait
// for it: a log handler may itself ask for a token, of the very grant that is
// renewed.
type reports struct{ kept []func() }

// report keeps an event.
func (r *reports) report(event func()) { r.kept = append(r.kept, event) }

// publish reports what was kept.
func (r *reports) publish(t *tasks) {
	defer t.survive()
	for _, event := range r.kept {
		event()
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
