package tokencache

import (
	"sync"
	"time"
)

// tick is how long a token may be returned without a look at the clock.
const tick = 500 * time.Millisecond

// A sweeper takes back, at each tick, all that is hot. Then the next caller
// looks at the wall clock and makes it hot again. A timer runs on the
// monotonic clock, which stands still while a machine sleeps: a tick after
// waking at the latest, tokens that ended meanwhile are out. No timer runs
// while nothing is hot.
type sweeper struct {
	mu     sync.Mutex
	hot    []*Entry
	timer  *time.Timer
	closed bool
}

// MakeHot makes t, the current token of e, hot for the rest of this tick, if it
// is valid for a whole one and nothing is to be done about it. It takes two
// calls within a tick: what is asked for less often than that costs less cold.
// The entry need not be one of this Cache.
func (c *Cache) MakeHot(e *Entry, t *Token, now int64) {
	if n := uint32(now / int64(tick)); e.lastTick.Load() != n {
		e.lastTick.Store(n)
		return
	}
	until := t.End
	if !e.renewing.Load() {
		until = min(until, max(t.RenewAt, e.nextTry.Load()))
	}
	if until-now <= int64(tick) {
		return
	}
	e.mu.Lock()
	// An evicted entry is not told when its grant gets another token, or ends.
	if e.evicted || e.token.Load() != t {
		e.mu.Unlock()
		return
	}
	e.hot.Store(&t.Token)
	known := e.inSweep
	e.inSweep = true
	e.mu.Unlock()
	if !known {
		c.sweeper.add(e)
	}
}

func (w *sweeper) add(e *Entry) {
	w.mu.Lock()
	if w.closed {
		w.mu.Unlock()
		e.cool()
		return
	}
	defer w.mu.Unlock()
	w.hot = append(w.hot, e)
	if len(w.hot) > 1 {
		return
	}
	if w.timer == nil {
		w.timer = time.AfterFunc(tick, w.sweep)
	} else {
		w.timer.Reset(tick)
	}
}

func (w *sweeper) sweep() {
	w.mu.Lock()
	hot := w.hot
	w.hot = nil
	w.mu.Unlock()
	for _, e := range hot {
		e.cool()
	}
}

func (w *sweeper) isRunning() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.hot) > 0
}

func (w *sweeper) close() {
	w.mu.Lock()
	w.closed = true
	if w.timer != nil {
		w.timer.Stop()
	}
	w.mu.Unlock()
	w.sweep()
}
