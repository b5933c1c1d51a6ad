package main

import (
	"context"
	"errors"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"text/tabwriter"
	"time"

	"github.com/authprofile/authprofile"
)

// A tally is what callers have seen.
type tally struct {
	calls, failed, slow int64 // slow: over 10 ms
	worst, p999         time.Duration
}

// press calls get from that many goroutines for a while. Each pauses for a
// millisecond between calls, as a program does that has other work.
func press(goroutines int, d time.Duration, get func() error) tally {
	var wg sync.WaitGroup
	var failed atomic.Int64
	end := time.Now().Add(d)
	took := make([][]time.Duration, goroutines)
	for i := range goroutines {
		wg.Go(func() {
			for time.Now().Before(end) {
				start := time.Now()
				if get() != nil {
					failed.Add(1)
				}
				took[i] = append(took[i], time.Since(start))
				time.Sleep(time.Millisecond)
			}
		})
	}
	wg.Wait()
	all := slices.Concat(took...)
	slices.Sort(all)
	t := tally{calls: int64(len(all)), failed: failed.Load(), worst: all[len(all)-1]}
	t.p999 = all[int(math.Ceil(float64(len(all))*0.999))-1]
	for i := len(all) - 1; i >= 0 && all[i] > 10*time.Millisecond; i-- {
		t.slow++
	}
	return t
}

// expiry lets tokens of 6 s end three times. The first token is obtained before
// it begins. Peers that renew tokens minutes before their end would do so at
// every call: their tokens live longer by those minutes.
func expiry(w *tabwriter.Writer) {
	const goroutines = 1000
	row(w, "", "calls", "token requests", "over 10 ms", "p99.9", "worst", "failed")
	control := press(goroutines, 5*time.Second, func() error { return nil })
	row(w, "a token that never ends", control.calls, "", control.slow, control.p999, control.worst, control.failed)

	for i, name := range []string{"authprofile Source", "x/oauth2", "cloud.google.com/go/auth", "MSAL", "azidentity"} {
		// Each library has its own idea of when a token is too old to be
		// given out; this much is added to the six seconds of each token.
		early := []time.Duration{0, 10 * time.Second, 225 * time.Second, 300 * time.Second, 300 * time.Second}[i]
		p := newProvider(200*time.Millisecond, 6*time.Second+early)
		peer := peers(p)[i]
		if _, err := peer.get(ctx); err != nil {
			row(w, name, "error: "+err.Error())
			continue
		}
		p.requests.Store(0)
		duration := 19 * time.Second
		if i == 0 {
			duration = 14 * time.Second // it renews at two thirds of so short a life
		}
		t := press(goroutines, duration, func() error { _, err := peer.get(ctx); return err })
		row(w, name, t.calls, p.requests.Load(), t.slow, t.p999, t.worst, t.failed)
	}
}

func outage(w *tabwriter.Writer) {
	row(w, "callers", "calls", "requests in 4 s", "failed", "over 10 ms", "worst")
	for _, goroutines := range []int{1, 100, 1000} {
		p := newProvider(5*time.Millisecond, 12*time.Second)
		m := &authprofile.Manager{HTTPClient: p.client()}
		src := m.Source(ctx, appProfile(""))
		_, err := src.Token()
		must(err)
		p.requests.Store(0)
		time.AfterFunc(7*time.Second, func() { p.down.Store(true) }) // it is renewed after eight to ten
		time.AfterFunc(11*time.Second, func() { p.down.Store(false) })
		t := press(goroutines, 11*time.Second, func() error { _, err := src.Token(); return err })
		row(w, goroutines, t.calls, p.requests.Load(), t.failed, t.slow, t.worst)
	}
}

func short(w *tabwriter.Writer) {
	p := newProvider(200*time.Millisecond, 5*time.Second)
	m := &authprofile.Manager{HTTPClient: p.client()}
	src := m.Source(ctx, appProfile(""))
	_, err := src.Token()
	must(err)
	t := press(10, 8*time.Second, func() error { _, err := src.Token(); return err })
	row(w, "calls", "token requests", "failed", "over 10 ms", "worst")
	row(w, t.calls, p.requests.Load(), t.failed, t.slow, t.worst)
}

func impatient(w *tabwriter.Writer) {
	p := newProvider(3*time.Second, time.Hour)
	m := &authprofile.Manager{HTTPClient: p.client()}
	app := saved(m, appProfile("slow"))
	short, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
	defer cancel()
	start := time.Now()
	_, err := m.Token(short, app)
	gaveUp := time.Since(start)
	if !errors.Is(err, context.DeadlineExceeded) {
		panic(err)
	}
	_, err = m.Token(ctx, app)
	must(err)
	row(w, "gave up after", "the next had it after", "requests")
	row(w, gaveUp, time.Since(start), p.requests.Load())
}

// herd has 10,000 app profiles whose tokens are obtained in the same second. It
// asks for all of them every 100 ms until each was renewed.
func herd(w *tabwriter.Writer) {
	const n = 10_000
	p := newProvider(20*time.Millisecond, 24*time.Second)
	m := &authprofile.Manager{HTTPClient: p.client(), CacheSize: 2 * n}
	profiles := make([]*authprofile.Profile, n)
	var wg sync.WaitGroup
	gate := make(chan struct{}, 256)
	for i := range profiles {
		profiles[i] = saved(m, appProfile(userName(i)))
	}
	for _, prof := range profiles {
		wg.Go(func() {
			gate <- struct{}{}
			_, err := m.Token(ctx, prof)
			must(err)
			<-gate
		})
	}
	wg.Wait()
	p.requests.Store(0)
	p.peak.Store(0)

	var calls, failed int64
	var worst time.Duration
	perSecond := make(map[int]int64)
	start := time.Now()
	for time.Since(start) < 23*time.Second {
		round := time.Now()
		before := p.requests.Load()
		for _, prof := range profiles {
			begin := time.Now()
			if _, err := m.Token(ctx, prof); err != nil {
				failed++
			}
			worst = max(worst, time.Since(begin))
			calls++
		}
		time.Sleep(100*time.Millisecond - min(time.Since(round), 99*time.Millisecond))
		perSecond[int(time.Since(start)/time.Second)] += p.requests.Load() - before
	}
	var most int64
	for _, n := range perSecond {
		most = max(most, n)
	}
	row(w, "tokens", "calls", "failed", "worst call", "renewals", "most in a second", "most at once")
	row(w, n, calls, failed, worst, p.requests.Load(), most, p.peak.Load())
}
