package peertest

import (
	"context"
	"database/sql"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime/metrics"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/authprofile/authprofile"
	"github.com/authprofile/authprofile/sqlstore"
)

// BenchmarkMaintainBacklog runs Maintain in one process after a week of
// standstill, when so many grants of two token hosts are due at once to be kept
// alive. It does so for a minute of real time, or until each of them was renewed,
// or has a time at which it will be, if that takes longer. It reports
//
//   - how long that took,
//   - how many requests a second each host had, and at most in one second,
//   - how many calls of the Store there were for each grant,
//   - and how much the heap has grown, at most.
//
// To run it with a hundred thousand grants:
//
//	go test -run '^$' -bench MaintainBacklog -benchtime 1x -rows 100000 .
func BenchmarkMaintainBacklog(b *testing.B) {
	for _, tg := range []target{postgres, sqlite} {
		b.Run(fmt.Sprintf("%s/%d", tg.name, *rows), func(b *testing.B) {
			for range b.N {
				benchmarkBacklog(b, tg, *rows)
			}
		})
	}
}

func benchmarkBacklog(b *testing.B, tg target, grants int) {
	b.StopTimer()
	s, db := tg.new(b)
	var hosts [2]*countingHost
	for i := range hosts {
		hosts[i] = newCountingHost(b)
	}
	fillBacklog(b, tg, s, db, hosts, grants)
	store := &countingStore{Store: s}
	m := &authprofile.Manager{Store: store}
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	heap := watchHeap()
	ended := make(chan error, 1)
	b.StartTimer()
	start := time.Now()
	go func() { ended <- m.Maintain(ctx) }()

	// Those that have a time come due again one by one: then all have one.
	var placed, took time.Duration
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for placed == 0 || took < time.Minute {
		<-tick.C
		took = time.Since(start)
		due, err := s.DueGrants(b.Context(), start, 1)
		if err != nil {
			b.Fatal(err)
		}
		if len(due) == 0 && placed == 0 {
			placed = took
		}
	}
	cancel()
	if err := <-ended; err != nil {
		b.Fatal(err)
	}
	b.StopTimer()
	if err := m.Shutdown(b.Context()); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(placed.Seconds(), "s-until-placed")
	for i, h := range hosts {
		requests, most := h.counts()
		b.ReportMetric(float64(requests)/took.Seconds(), fmt.Sprintf("requests/s-host%d", i+1))
		b.ReportMetric(float64(most), fmt.Sprintf("most-requests/s-host%d", i+1))
	}
	b.ReportMetric(float64(store.calls.Load())/float64(grants), "calls/grant")
	b.ReportMetric(float64(heap())/(1<<20), "MB-heap")
	b.StartTimer()
}

// fillBacklog makes a profile for each host, and grants that were not renewed for
// forty days and have become due in the last week.
func fillBacklog(b *testing.B, tg target, s *sqlstore.Store, db *sql.DB, hosts [2]*countingHost, n int) {
	b.Helper()
	ctx := b.Context()
	now := time.Now().UTC().Truncate(time.Millisecond)
	for i, h := range hosts {
		p := &authprofile.Profile{
			ID: fmt.Sprintf("host-%d", i), Type: authprofile.TypeUser, ClientID: "client",
			ClientSecret: authprofile.Secret(strings.Repeat("s", 40)),
			Endpoints:    authprofile.Endpoints{AuthURL: h.URL + "/authorize", TokenURL: h.URL + "/token"},
			Scopes:       []string{"contacts", "offline_access"},
		}
		if err := s.PutProfile(ctx, p); err != nil {
			b.Fatal(err)
		}
	}
	g := &authprofile.Grant{
		GrantKey:     authprofile.GrantKey{ProfileID: "template", User: "ada"},
		AccessToken:  authprofile.Secret(strings.Repeat("a", 200)),
		RefreshToken: authprofile.Secret(strings.Repeat("r", 60)),
		TokenType:    "Bearer", Obtained: now.AddDate(0, 0, -40), Expiry: now.AddDate(0, 0, -40).Add(time.Hour),
		Scopes: []string{"contacts", "offline_access"}, ClientID: "client", Status: authprofile.StatusActive,
		Due: now.Add(-time.Minute),
	}
	if err := s.PutGrant(ctx, g); err != nil {
		b.Fatal(err)
	}
	series := map[sqlstore.Dialect]string{
		sqlstore.Postgres: fmt.Sprintf("SELECT 'host-' || (i %% 2)::text AS new_id, i FROM generate_series(1, %d) AS i", n),
		sqlstore.SQLite: fmt.Sprintf("WITH RECURSIVE s(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM s WHERE i < %d) "+
			"SELECT 'host-' || (i %% 2) AS new_id, i FROM s", n),
	}[tg.dialect]
	due := map[sqlstore.Dialect]string{
		sqlstore.Postgres: "due - (i % 604800) * INTERVAL '1 second'",
		sqlstore.SQLite:   "strftime('%Y-%m-%dT%H:%M:%fZ', due, '-' || (i % 604800) || ' seconds')",
	}[tg.dialect]
	copyRows(b, db, "grants", series, map[string]string{"profile_id": "new_id", "user_id": "'user-' || i", "due": due})
	mustExec(b, db, "DELETE FROM authprofile_grants WHERE profile_id = 'template'")
	tg.rest(b, db)
}

// A countingHost is a token endpoint that answers a refresh at once, and counts
// what it is asked in each second.
type countingHost struct {
	*httptest.Server
	mu        sync.Mutex
	perSecond map[int64]int
}

func newCountingHost(b *testing.B) *countingHost {
	h := &countingHost{perSecond: make(map[int64]int)}
	h.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.mu.Lock()
		h.perSecond[time.Now().Unix()]++
		h.mu.Unlock()
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"access_token":%q,"refresh_token":%q,"token_type":"Bearer","expires_in":3600}`, strings.Repeat("a", 200), strings.Repeat("r", 60))
	}))
	b.Cleanup(h.Close)
	return h
}

func (h *countingHost) counts() (total, most int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, n := range h.perSecond {
		total += n
		most = max(most, n)
	}
	return total, most
}

// A countingStore counts the calls that Maintain makes.
type countingStore struct {
	authprofile.Store
	calls atomic.Int64
}

func (s *countingStore) Profile(ctx context.Context, id string) (*authprofile.Profile, error) {
	s.calls.Add(1)
	return s.Store.Profile(ctx, id)
}

func (s *countingStore) Grant(ctx context.Context, key authprofile.GrantKey) (*authprofile.Grant, error) {
	s.calls.Add(1)
	return s.Store.Grant(ctx, key)
}

func (s *countingStore) PutGrant(ctx context.Context, g *authprofile.Grant) error {
	s.calls.Add(1)
	return s.Store.PutGrant(ctx, g)
}

func (s *countingStore) DueGrants(ctx context.Context, before time.Time, limit int) ([]*authprofile.Grant, error) {
	s.calls.Add(1)
	return s.Store.DueGrants(ctx, before, limit)
}

// watchHeap watches the heap until the function is called that it returns, which
// says by how many bytes it has grown at most.
func watchHeap() (stop func() uint64) {
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	read := func() uint64 {
		metrics.Read(sample)
		return sample[0].Value.Uint64()
	}
	done, ended := make(chan struct{}), make(chan uint64)
	before := read()
	go func() {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		most := before
		for {
			most = max(most, read())
			select {
			case <-tick.C:
			case <-done:
				ended <- most - before
				return
			}
		}
	}()
	return func() uint64 { close(done); return <-ended }
}
