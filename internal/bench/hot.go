package main

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"testing"
	"text/tabwriter"
	"time"

	"golang.org/x/oauth2"

	"github.com/authprofile/authprofile"
)

// measure returns the median cost of a call in nanoseconds, and its
// allocations.
func measure(get func(*testing.B)) (ns float64, allocs int64) {
	var all []float64
	for range 5 {
		r := testing.Benchmark(get)
		all = append(all, float64(r.T)/float64(r.N))
		allocs = r.AllocsPerOp()
	}
	slices.Sort(all)
	return all[len(all)/2], allocs
}

// serially calls get in a row, and at once from that many goroutines.
func serially(get func() error) func(*testing.B) {
	return func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := get(); err != nil {
				b.Fatal(err)
			}
		}
	}
}

func atOnce(goroutines int, get func() error) func(*testing.B) {
	return func(b *testing.B) {
		b.ReportAllocs()
		var wg sync.WaitGroup
		n := b.N/goroutines + 1
		b.ResetTimer()
		for range goroutines {
			wg.Go(func() {
				for range n {
					if err := get(); err != nil {
						panic(err)
					}
				}
			})
		}
		wg.Wait()
	}
}

func hot(w *tabwriter.Writer) {
	p := newProvider(0, time.Hour)
	row(w, "", "serial", "64 goroutines", "allocs", "serial x", "64 x")

	type result struct {
		name        string
		serial, all float64
		allocs      int64
	}
	var results []result
	add := func(name string, get func() error) {
		must(get())
		serial, allocs := measure(serially(get))
		all, _ := measure(atOnce(64, get))
		results = append(results, result{name, serial, all, allocs})
	}

	// The interface is called without a closure around it, which would cost
	// as much as the call.
	m := &authprofile.Manager{HTTPClient: p.client()}
	sources := []struct {
		name string
		src  oauth2.TokenSource
	}{
		{"a pointer behind the interface", static{}},
		{"authprofile Source", m.Source(ctx, appProfile(""))},
	}
	for _, s := range sources {
		_, err := s.src.Token()
		must(err)
		serial, allocs := measure(func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				s.src.Token()
			}
		})
		all, _ := measure(func(b *testing.B) {
			var wg sync.WaitGroup
			n := b.N/64 + 1
			b.ResetTimer()
			for range 64 {
				wg.Go(func() {
					for range n {
						s.src.Token()
					}
				})
			}
			wg.Wait()
		})
		results = append(results, result{s.name, serial, all, allocs})
	}
	app := saved(m, appProfile("hot"))
	add("authprofile Manager.Token", func() error { _, err := m.Token(ctx, app); return err })
	for _, peer := range peers(p)[1:] {
		add(peer.name, func() error { _, err := peer.get(ctx); return err })
	}
	var base result
	for _, r := range results {
		if r.name == "x/oauth2" {
			base = r
		}
	}
	for _, r := range results {
		row(w, r.name, r.serial, r.all, r.allocs, fmt.Sprintf("%.2f", r.serial/base.serial), fmt.Sprintf("%.2f", r.all/base.all))
	}
}

// static is the least that a token source can do.
type static struct{}

var staticToken = &oauth2.Token{AccessToken: "x"}

func (static) Token() (*oauth2.Token, error) { return staticToken, nil }

func saved(m *authprofile.Manager, p *authprofile.Profile) *authprofile.Profile {
	must(m.Save(ctx, p))
	return p
}

// cacheSizes measures Manager.Token for one grant among many, and for all of
// them in random order, where the processor's own caches decide.
func cacheSizes(w *tabwriter.Writer) {
	row(w, "grants", "one of them", "in random order", "a map of pointers, in random order", "allocs")
	for _, n := range []int{10, 1_000, 100_000, 1_000_000} {
		m, p := crowd(n, n)
		users := make([]string, n)
		plain := make(map[string]*oauth2.Token, n)
		for i := range users {
			users[i] = userName(i)
			tok, err := m.Token(ctx, p, authprofile.AsUser(users[i]))
			must(err)
			plain[users[i]] = tok
		}
		one, allocs := measure(serially(func() error {
			_, err := m.Token(ctx, p, authprofile.AsUser(users[0]))
			return err
		}))
		r := rand.New(rand.NewPCG(1, 2))
		random, _ := measure(serially(func() error {
			_, err := m.Token(ctx, p, authprofile.AsUser(users[r.IntN(n)]))
			return err
		}))
		bare, _ := measure(serially(func() error {
			staticToken = plain[users[r.IntN(n)]]
			return nil
		}))
		row(w, n, one, random, bare, allocs)
	}
}

// crowd returns a Manager that has room for so many grants, and a profile with
// n of them, valid for an hour.
func crowd(n, room int) (*authprofile.Manager, *authprofile.Profile) {
	store := new(authprofile.MemStore)
	m := &authprofile.Manager{Store: store, HTTPClient: newProvider(0, time.Hour).client(), CacheSize: room + room/2 + 64}
	p := saved(m, userProfile("crowd"))
	for i := range n {
		must(store.PutGrant(ctx, grantOf(i, time.Hour)))
	}
	return m, p
}

var tokens = newProvider(0, time.Hour)

func grantOf(i int, life time.Duration) *authprofile.Grant {
	now := time.Now()
	return &authprofile.Grant{
		GrantKey:     authprofile.GrantKey{ProfileID: "crowd", User: userName(i)},
		AccessToken:  authprofile.Secret(tokens.token()),
		RefreshToken: authprofile.Secret(fmt.Sprintf("refresh-%d", i)),
		TokenType:    "Bearer", ClientID: "client", Status: authprofile.StatusActive,
		Obtained: now, Expiry: now.Add(life), Authorized: now.AddDate(0, 0, -1),
	}
}

func userName(i int) string { return fmt.Sprintf("user-%08d", i) }

// clients compares Manager.Client with oauth2.Transport.
func clients(w *tabwriter.Writer) {
	p := newProvider(0, time.Hour)
	tok := &oauth2.Token{AccessToken: p.token(), Expiry: time.Now().Add(time.Hour)}
	m := &authprofile.Manager{HTTPClient: &http.Client{Transport: noop{p}}}
	ours := m.Client(ctx, appProfile(""))
	theirs := &http.Client{Transport: &oauth2.Transport{Source: oauth2.ReuseTokenSource(tok, nil), Base: noop{p}}}
	row(w, "", "ns", "allocs")
	for _, c := range []struct {
		name string
		c    *http.Client
	}{{"authprofile Client", ours}, {"oauth2.Transport", theirs}, {"no token at all", &http.Client{Transport: noop{p}}}} {
		req, err := http.NewRequestWithContext(ctx, "GET", "https://api.example.com/", nil)
		must(err)
		ns, allocs := measure(serially(func() error {
			resp, err := c.c.Transport.RoundTrip(req)
			if err != nil {
				return err
			}
			return resp.Body.Close()
		}))
		row(w, c.name, ns, allocs)
	}
}

// noop answers requests to the API at once, and passes others on.
type noop struct{ p *provider }

var ok = &http.Response{StatusCode: 200, Body: io.NopCloser(http.NoBody)}

func (n noop) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Method == "POST" {
		return n.p.RoundTrip(req)
	}
	return ok, nil
}
