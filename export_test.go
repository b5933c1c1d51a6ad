package authprofile

import "time"

// SetNow replaces the wall clock by which tokens end, as a machine that was
// suspended finds it.
func (m *Manager) SetNow(now func() time.Time) { m.engine().now = now }

// Ticking reports whether a timer of the Manager is armed.
func (m *Manager) Ticking() bool {
	w := &m.engine().sweeper
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.armed) > 0
}

// Cached returns how many grants are in memory.
func (m *Manager) Cached() int {
	n := 0
	c := m.engine().cache
	for i := range c.shards {
		sh := &c.shards[i]
		sh.mu.Lock()
		n += len(sh.slots)
		sh.mu.Unlock()
	}
	return n
}
