package authprofile

import (
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/authprofile/authprofile/internal/transport"
)

// An engine is what a Manager works with once its first method was called.
type engine struct {
	m     *Manager
	store Store
	log   *slog.Logger

	// http carries requests to providers. It follows no redirect and keeps no
	// cookie; those who may follow one say so for that request.
	http *http.Client

	docs    *documents // of providers
	cache   *cache
	sweeper sweeper
	gates   gates
	owner   string           // of our leases
	now     func() time.Time // the wall clock

	mu      sync.Mutex
	flights map[GrantKey]*result   // renewals under way
	pending map[GrantKey]*unstored // renewed, and not stored yet
	closed  bool
	closing chan struct{}  // closed by Shutdown
	work    sync.WaitGroup // all that Shutdown waits for
}

// sharedTransport returns the transport of all Managers that are given none.
// With one for each, a program that makes a Source for each job would gather
// idle connections, and their goroutines, for a minute and a half.
var sharedTransport = sync.OnceValue(func() *http.Transport { return transport.New(new(net.Dialer)) })

// engine returns the Manager's engine, made at the first call.
func (m *Manager) engine() *engine {
	m.once.Do(func() {
		e := &engine{
			m:       m,
			store:   m.Store,
			log:     m.Logger,
			cache:   newCache(m.CacheSize),
			owner:   uuid.NewString(),
			now:     time.Now,
			flights: make(map[GrantKey]*result),
			pending: make(map[GrantKey]*unstored),
			closing: make(chan struct{}),
		}
		if e.store == nil {
			e.store = new(MemStore)
		}
		if e.log == nil {
			e.log = slog.New(slog.DiscardHandler)
		}
		e.http = &http.Client{
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}
		if m.HTTPClient != nil {
			e.http.Transport = m.HTTPClient.Transport
			e.http.Timeout = m.HTTPClient.Timeout
		}
		if e.http.Transport == nil {
			e.http.Transport = sharedTransport()
		}
		e.docs = newDocuments(e.http, e.log)
		m.e = e
	})
	return m.e
}
