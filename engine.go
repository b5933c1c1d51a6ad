package authprofile

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/authprofile/authprofile/internal/discovery"
	"github.com/authprofile/authprofile/internal/foreign"
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

	// fresh carries the requests that an authorization depends on, each over a
	// connection of its own: one that was kept open may have been dropped by
	// the network without a word.
	fresh *http.Client

	resolver
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

	companies companies
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
		e.fresh = transport.Fresh(e.http)
		e.resolver = resolver{discovery.NewCache(e.fresh, e.log)}
		m.e = e
	})
	return m.e
}

// background runs f in a goroutine that Shutdown waits for.
func (e *engine) background(f func()) {
	e.work.Go(func() {
		defer e.survive()
		f()
	})
}

// survive is deferred where code that is not ours may panic in a goroutine of
// ours: a transport, a Store, a log handler. What it was called for fails; the
// program goes on.
func (e *engine) survive() {
	if p := foreign.Recovered(recover()); p != nil {
		e.logPanic(p)
	}
}

func (e *engine) logPanic(err error) {
	defer func() { recover() }() // it may be the log handler that panics
	attrs := []slog.Attr{slog.String("error", err.Error())}
	if p, ok := errors.AsType[*foreign.PanicError](err); ok {
		attrs = append(attrs, slog.String("stack", string(p.Stack)))
	}
	e.log.LogAttrs(context.Background(), slog.LevelError, "authprofile: code that was called has panicked", attrs...)
}
