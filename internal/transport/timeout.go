package transport

import (
	"context"
	"sync"
	"time"
)

const (
	// step is how finely waiting is counted. A process that is stopped again
	// before it has run for so long, each time, waits for ever.
	step = 250 * time.Millisecond

	// stoodStill is how late the timer must be for the process to have been
	// stopped: that of a process on a busy machine is less late.
	stoodStill = time.Second
)

// WithTimeout is [context.WithTimeout] for a request whose answer must not be
// thrown away unread. Only time in which the process runs counts. So a process
// that was stopped, while the answer arrived in its socket, has time to read it
// when it goes on.
func WithTimeout(parent context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(parent)
	w := &waiting{cancel: cancel, left: d}
	w.mu.Lock()
	w.arm()
	w.mu.Unlock()
	return timeoutContext{ctx}, func() {
		w.mu.Lock()
		w.timer.Stop()
		w.left = 0
		w.mu.Unlock()
		cancel(context.Canceled)
	}
}

// A timeoutContext is a context that says in Err, and not only as its cause,
// that its time was up.
type timeoutContext struct{ context.Context }

func (c timeoutContext) Err() error {
	err := c.Context.Err()
	if err != nil && context.Cause(c.Context) == context.DeadlineExceeded {
		return context.DeadlineExceeded
	}
	return err
}

// A waiting is a time-out that is being counted.
type waiting struct {
	cancel context.CancelCauseFunc

	mu    sync.Mutex
	left  time.Duration // to wait; not above zero: over
	part  time.Duration // of it that the timer now counts
	due   time.Time     // when the timer is to fire
	timer *time.Timer
}

// arm starts the timer for the next part. w.mu is held.
func (w *waiting) arm() {
	w.part = min(w.left, step)
	w.due = time.Now().Add(w.part)
	if w.timer == nil {
		w.timer = time.AfterFunc(w.part, w.tick)
	} else {
		w.timer.Reset(w.part)
	}
}

func (w *waiting) tick() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.left <= 0 {
		return
	}
	if time.Since(w.due) < stoodStill { // else the process stood still meanwhile
		w.left -= w.part
	}
	if w.left <= 0 {
		w.cancel(context.DeadlineExceeded)
		return
	}
	w.arm()
}
