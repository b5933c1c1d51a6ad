package main

import (
	"context"
	"runtime"
	"sync"
	"text/tabwriter"
	"time"

	"golang.org/x/oauth2"

	"github.com/authprofile/authprofile"
)

// live returns the bytes in use on the heap.
func live() int64 {
	runtime.GC()
	runtime.GC()
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return int64(s.HeapAlloc)
}

// A made store makes up its grants when they are read, so that what is
// measured is what the Manager keeps.
type made struct {
	*authprofile.MemStore
	life time.Duration
}

func (s made) Grant(_ context.Context, key authprofile.GrantKey) (*authprofile.Grant, error) {
	g := grantOf(0, s.life)
	g.GrantKey = key
	g.Version = 1
	return g, nil
}

func heap(w *tabwriter.Writer) {
	const n = 20_000
	row(w, "", "bytes", "goroutines")

	store := made{new(authprofile.MemStore), time.Hour}
	m := &authprofile.Manager{Store: store, CacheSize: 2 * n}
	p := saved(m, userProfile("crowd"))
	goroutines := runtime.NumGoroutine()
	before := live()
	for i := range n {
		_, err := m.Token(ctx, p, authprofile.AsUser(userName(i)))
		must(err)
	}
	row(w, "authprofile, a grant in the cache", float64(live()-before)/n, runtime.NumGoroutine()-goroutines)
	runtime.KeepAlive(m)

	before = live()
	sources := make([]oauth2.TokenSource, n)
	for i := range sources {
		sources[i] = m.Source(ctx, p, authprofile.AsUser(userName(i)))
		_, err := sources[i].Token()
		must(err)
	}
	row(w, "authprofile, a Source of it on top", float64(live()-before)/n, runtime.NumGoroutine()-goroutines)
	runtime.KeepAlive(sources)

	for i, name := range []string{"x/oauth2", "cloud.google.com/go/auth", "MSAL", "azidentity"} {
		const n = 1000
		prov := newProvider(0, time.Hour)
		before := live()
		kept := make([]peer, n)
		for j := range kept {
			kept[j] = []func(*provider) peer{oauth2Source, cloudAuth, msal, azure}[i](prov)
			_, err := kept[j].get(ctx)
			must(err)
		}
		row(w, name+", a source", float64(live()-before)/n, runtime.NumGoroutine()-goroutines)
		runtime.KeepAlive(kept)
	}
}

func bounded(w *tabwriter.Writer) {
	const inUse, stored = 10_000, 1_000_000
	store := made{new(authprofile.MemStore), time.Hour}
	m := &authprofile.Manager{Store: store, CacheSize: inUse}
	p := saved(m, userProfile("crowd"))
	src := m.Source(ctx, p, authprofile.AsUser(userName(0)))
	_, err := src.Token()
	must(err)
	before := live()
	row(w, "grants asked for", "MB in use")
	for i := range stored {
		_, err := m.Token(ctx, p, authprofile.AsUser(userName(i)))
		must(err)
		switch i + 1 {
		case inUse, 10 * inUse, stored:
			row(w, i+1, float64(live()-before)/(1<<20))
		}
	}
	_, err = src.Token() // its entry was evicted long ago
	must(err)
}

func discovery(w *tabwriter.Writer) {
	row(w, "", "discovery requests", "token requests")
	prov := newProvider(0, time.Hour)
	m := &authprofile.Manager{HTTPClient: prov.client()}
	var wg sync.WaitGroup
	gate := make(chan struct{}, 64)
	for i := range 100_000 {
		p := appProfile(userName(i))
		p.Endpoints = authprofile.Endpoints{DiscoveryURL: origin + "/.well-known/openid-configuration"}
		must(m.Save(ctx, p))
		gate <- struct{}{}
		wg.Go(func() {
			_, err := m.Token(ctx, p)
			must(err)
			<-gate
		})
	}
	wg.Wait()
	row(w, "100,000 profiles", prov.metadata.Load(), prov.requests.Load())

	for _, e := range []authprofile.Endpoints{{TokenURL: origin + "/token"}, {DiscoveryURL: origin + "/.well-known/openid-configuration"}} {
		prov := newProvider(0, time.Hour)
		p := appProfile("")
		p.Endpoints = e
		m := &authprofile.Manager{HTTPClient: prov.client()}
		_, err := m.Source(ctx, p).Token()
		must(err)
		name := "a cold process, with a token address"
		if e.DiscoveryURL != "" {
			name = "a cold process, with discovery"
		}
		row(w, name, prov.metadata.Load(), prov.requests.Load())
	}
}
