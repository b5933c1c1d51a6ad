package tokenendpoint

import (
	"errors"
	"net/url"
	"sync"
)

// How many requests one host gets at a time, and how many of them may be in the
// background, such as renewals ahead of time. Urgent ones, for which a caller
// waits, always find some places that those in the background cannot take.
const (
	maxRequests   = 64
	maxBackground = 48
)

// ErrClosed says that the wait for a place has ended without one.
var ErrClosed = errors.New("closed")

// A Limiter bounds how many requests each host gets at a time, so that ten
// thousand tokens that end in the same second do not become ten thousand
// connections. The zero value is ready to use, by many goroutines at once.
type Limiter struct {
	mu     sync.Mutex
	byHost map[string]*gate
}

// A gate has the places of one host.
type gate struct {
	all, background chan struct{}
	users           int
}

// Acquire waits for a place at the host of an address. It waits for one of
// those in the background until urgent is closed, and then for any. If closing
// is closed before there is one, the error is [ErrClosed]. Otherwise the caller
// must call release, once, after its request.
func (l *Limiter) Acquire(address string, urgent, closing <-chan struct{}) (release func(), err error) {
	host := address
	if u, err := url.Parse(address); err == nil {
		host = u.Host
	}
	l.mu.Lock()
	g := l.byHost[host]
	if g == nil {
		g = &gate{all: make(chan struct{}, maxRequests), background: make(chan struct{}, maxBackground)}
		if l.byHost == nil {
			l.byHost = make(map[string]*gate)
		}
		l.byHost[host] = g
	}
	g.users++
	l.mu.Unlock()

	var taken []chan struct{}
	release = func() {
		for _, c := range taken {
			<-c
		}
		l.mu.Lock()
		if g.users--; g.users == 0 {
			delete(l.byHost, host)
		}
		l.mu.Unlock()
	}
	select {
	case <-urgent: // leaves the places in the background alone, even free ones
	default:
		select {
		case g.background <- struct{}{}:
			taken = append(taken, g.background)
		case <-urgent:
		case <-closing:
			release()
			return nil, ErrClosed
		}
	}
	select {
	case g.all <- struct{}{}:
		taken = append(taken, g.all)
	case <-closing:
		release()
		return nil, ErrClosed
	}
	return release, nil
}
