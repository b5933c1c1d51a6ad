package authprofile

import "time"

// SetNow replaces the wall clock by which tokens end, as a machine that was
// suspended finds it.
func (m *Manager) SetNow(now func() time.Time) {
	e := m.engine()
	e.lifetimes.now, e.cache.Now = now, now
}

// Ticking reports whether a timer of the Manager is armed.
func (m *Manager) Ticking() bool { return m.engine().cache.IsSweeping() }

// ReadKey returns the key of a profile as the Manager has read it.
func (m *Manager) ReadKey(p *Profile) (any, error) {
	return m.engine().credentials.keys.parse(p.ClientKey)
}

// Cached returns how many grants are in memory.
func (m *Manager) Cached() int { return m.engine().cache.Len() }

// PacedHosts returns of how many hosts Maintain keeps when it may ask them.
func (m *Manager) PacedHosts() int {
	p := &m.engine().keeper.pace
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.hosts)
}
