package authprofile

import (
	"sync"
	"time"
)

const (
	// paceInterval is how long a host is left alone between two requests that
	// keep grants alive, by one process.
	paceInterval = 100 * time.Millisecond

	// paceAhead is how far ahead a request is held in memory until its time
	// comes. What comes later waits in the Store.
	paceAhead = 30 * time.Second

	// hostOfNotices stands for Notify; no host has that name.
	hostOfNotices = ""
)

// A pacer spreads requests over time for which no caller waits, host by host. A
// hundred thousand of them that are due at once are no reason to make a provider
// slow for those that callers wait for.
//
// The zero pacer is ready to use.
type pacer struct {
	mu    sync.Mutex
	hosts map[string]*pacedHost
}

type pacedHost struct {
	next     time.Time // when the next request may be sent
	paused   time.Time // until when none may
	tail     time.Time // the last time that was given to one that has to wait in the Store
	failures int       // in a row
}

// reserve returns when a request may be sent to a host, if that is soon enough to
// wait for it in memory.
func (p *pacer) reserve(host string, now time.Time) (at time.Time, soon bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	h := p.host(host)
	h.next = later(later(h.next, now), h.paused)
	if h.next.Sub(now) > paceAhead {
		return time.Time{}, false
	}
	at = h.next
	h.next = h.next.Add(paceInterval)
	return at, true
}

// putOff returns for how long to wait in the Store before reserving again: until
// after all that were put off before, so that they come back evenly.
func (p *pacer) putOff(host string, now time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	h := p.host(host)
	h.tail = later(later(h.tail, h.next), now.Add(paceAhead)).Add(paceInterval)
	return h.tail.Sub(now)
}

// pause returns for how long a request that had its turn has to wait all the
// same, because its host has failed meanwhile.
func (p *pacer) pause(host string, now time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	h := p.host(host)
	if !now.Before(h.paused) {
		return 0
	}
	h.tail = later(h.tail, h.paused).Add(paceInterval)
	return h.tail.Sub(now)
}

// succeeded notes that a host has answered.
func (p *pacer) succeeded(host string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.host(host).failures = 0
}

// failed notes that a host did not answer, or has said "not now" until then. It
// is left alone for a while, and longer each time.
func (p *pacer) failed(host string, now, until time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	h := p.host(host)
	if now.Before(h.paused) {
		return // one of those that were sent before it was left alone
	}
	h.failures++
	h.paused = later(until, now.Add(backoff(h.failures)))
}

func (p *pacer) host(name string) *pacedHost {
	h := p.hosts[name]
	if h == nil {
		h = new(pacedHost)
		if p.hosts == nil {
			p.hosts = make(map[string]*pacedHost)
		}
		p.hosts[name] = h
	}
	return h
}

// forgetHost is how long after its last failure a host is forgotten.
const forgetHost = time.Hour

// sweep forgets the hosts about which there is nothing to say.
func (p *pacer) sweep(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for name, h := range p.hosts {
		hasFailed := h.failures > 0 && now.Sub(h.paused) < forgetHost
		if !hasFailed && h.next.Before(now) && h.tail.Before(now) {
			delete(p.hosts, name)
		}
	}
}
