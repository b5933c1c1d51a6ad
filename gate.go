package authprofile

import (
	"net/url"
	"sync"
)

// How many requests one provider gets from this process at a time. Those that
// somebody waits for always find some free that renewals ahead of time leave
// them.
const (
	maxRequests = 64
	maxAhead    = 48
)

// gates bound the requests to each provider, so that ten thousand tokens that
// end in the same second do not become ten thousand connections.
type gates struct {
	mu     sync.Mutex
	byHost map[string]*gate
}

type gate struct {
	all, ahead chan struct{}
	users      int
}

// enter waits for a place at the provider of an address. One that hurries, or
// begins to while it waits, waits for any place. The caller must call leave
// afterwards.
func (gs *gates) enter(address string, hurry, closing <-chan struct{}) (leave func(), err error) {
	host := address
	if u, err := url.Parse(address); err == nil {
		host = u.Host
	}
	gs.mu.Lock()
	g := gs.byHost[host]
	if g == nil {
		g = &gate{all: make(chan struct{}, maxRequests), ahead: make(chan struct{}, maxAhead)}
		if gs.byHost == nil {
			gs.byHost = make(map[string]*gate)
		}
		gs.byHost[host] = g
	}
	g.users++
	gs.mu.Unlock()

	var entered []chan struct{}
	leave = func() {
		for _, c := range entered {
			<-c
		}
		gs.mu.Lock()
		if g.users--; g.users == 0 {
			delete(gs.byHost, host)
		}
		gs.mu.Unlock()
	}
	select {
	case <-hurry: // not even one that is free
	default:
		select {
		case g.ahead <- struct{}{}:
			entered = append(entered, g.ahead)
		case <-hurry:
		case <-closing:
			leave()
			return nil, errShutdown
		}
	}
	select {
	case g.all <- struct{}{}:
		entered = append(entered, g.all)
	case <-closing:
		leave()
		return nil, errShutdown
	}
	return leave, nil
}
