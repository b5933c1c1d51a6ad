// Package discovery fetches what providers publish about themselves, and keeps
// it. It reads discovery documents itself; for other documents, such as key
// sets, the caller says how they are read.
//
// What it returns has been checked. It is shared, and callers must not change
// it. Why a document could not be had is an [*Error], which says whether the
// document has to be corrected or the provider is away; or it is the error of a
// context.
package discovery

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/authprofile/authprofile/internal/address"
	"github.com/authprofile/authprofile/internal/foreign"
	"github.com/authprofile/authprofile/internal/transport"
)

const (
	maxDocument      = 256 << 10 // bytes of one document
	maxDocuments     = 10_000    // kept
	maxDocumentsSize = 64 << 20  // bytes of those that are kept, as they came

	fetchTimeout = 10 * time.Second
	maxRedirects = 3

	// How long a document is fresh: as its Cache-Control says, within bounds.
	minFresh     = 5 * time.Minute
	defaultFresh = time.Hour
	maxFresh     = 24 * time.Hour

	// maxStale is for how long the last good document is used while the
	// provider is away.
	maxStale = 7 * 24 * time.Hour

	// A failure is remembered that long, twice as long after each further one,
	// so that a provider that is down is not asked by every caller.
	minRetry = 5 * time.Second
	maxRetry = time.Minute

	// Fresh documents are fetched anew on demand that often: at most
	// refetchBurst times at once, and then once in refetchEvery.
	refetchEvery = 10 * time.Second
	refetchBurst = 3
)

// A Cache keeps what providers publish about themselves: their discovery
// documents and key sets.
//
// A document is fetched once, however many ask for it, and in the background
// while there is an older one to go on with. A Cache that no caller asks does
// nothing.
type Cache struct {
	hc  *http.Client
	log *slog.Logger

	ctx context.Context // of all fetches
	end context.CancelFunc
	wg  sync.WaitGroup

	maxNumber, maxSize int // of what is kept

	mu     sync.Mutex
	closed bool
	byKey  map[string]any // of *entry
	recent list.List      // of *place, the most recently used first
	size   int
}

// A Request says where a document is, and how to read it as a V.
type Request[V any] struct {
	Kind   string // for the log
	Key    string // what the document is kept under; of no other V
	URL    string
	Accept string

	// Parse returns what the document says. The text of its error goes on from
	// the document's address, and has nothing of the document.
	Parse func(body []byte) (*V, error)

	// Accepted, if not nil, is told of each good value, and of the one that
	// was good before; nil: there was none.
	Accepted func(before, after *V)
}

// An entry is what is known about one document.
type entry[V any] struct {
	place

	value   *V // the last good one; nil: there was none
	fetched time.Time
	fresh   time.Time // until then

	err      error // of the latest fetch
	failures int   // in a row
	retry    time.Time

	refetch time.Time // when the allowance for fetching on demand is whole again
	fetch   *fetch[V] // nil: none is going on
}

// A place is that of an entry in the cache.
type place struct {
	key  string
	elem *list.Element // nil once it left the cache
	size int           // of the document in bytes, as it came
}

// A fetch is one that is going on. Its result is there once done is closed.
type fetch[V any] struct {
	done  chan struct{}
	value *V
	err   error
}

// NewCache returns a cache that fetches with hc, except that a redirect is
// followed within its origin only.
func NewCache(hc *http.Client, log *slog.Logger) *Cache {
	c := &Cache{log: log, maxNumber: maxDocuments, maxSize: maxDocumentsSize, byKey: make(map[string]any)}
	own := *hc
	own.CheckRedirect = followSameOrigin
	c.hc = &own
	c.ctx, c.end = context.WithCancel(context.Background())
	return c
}

// Close ends all fetches and waits for them. What is in the cache can still be
// read.
func (c *Cache) Close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.end()
	c.wg.Wait()
}

// Get returns what the document says. It waits for a fetch only if there is no
// good document, not even an old one.
func Get[V any](ctx context.Context, c *Cache, r *Request[V]) (*V, error) {
	c.mu.Lock()
	e := use[V](c, r.Key)
	now := time.Now()
	value, err := e.value, e.err
	usable := value != nil && now.Before(e.fetched.Add(maxStale))
	f := e.fetch
	if f == nil && !(usable && now.Before(e.fresh)) && !now.Before(e.retry) {
		f = start(ctx, c, r, e)
	}
	c.mu.Unlock()

	switch {
	case usable:
		return value, nil
	case f == nil:
		return nil, err
	}
	return f.wait(ctx)
}

// ErrTooSoon says that a document was fetched anew only a moment ago.
var ErrTooSoon = errors.New("fetched only a moment ago")

// GetNewer returns a later value than seen, which Get has returned and which
// turned out not to be enough. Unless another caller has brought one already,
// it fetches the document, if that was not done too often lately; if it was, the
// error is ErrTooSoon.
func GetNewer[V any](ctx context.Context, c *Cache, r *Request[V], seen *V) (*V, error) {
	c.mu.Lock()
	e := use[V](c, r.Key)
	now := time.Now()
	f := e.fetch
	switch value := e.value; {
	case value != nil && value != seen:
		c.mu.Unlock()
		return value, nil
	case f != nil:
	case now.Before(e.retry):
		err := e.err
		c.mu.Unlock()
		return nil, err
	case e.refetch.Sub(now) > (refetchBurst-1)*refetchEvery:
		c.mu.Unlock()
		return nil, ErrTooSoon
	default:
		if e.refetch.Before(now) {
			e.refetch = now
		}
		e.refetch = e.refetch.Add(refetchEvery)
		f = start(ctx, c, r, e)
	}
	c.mu.Unlock()
	return f.wait(ctx)
}

func (f *fetch[V]) wait(ctx context.Context) (*V, error) {
	select {
	case <-f.done:
		return f.value, f.err
	default:
	}
	select {
	case <-f.done:
		return f.value, f.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// use finds or makes the entry for a key, and marks it as used. c.mu is held.
func use[V any](c *Cache, key string) *entry[V] {
	if kept, ok := c.byKey[key]; ok {
		e := kept.(*entry[V])
		c.recent.MoveToFront(e.elem)
		return e
	}
	e := &entry[V]{place: place{key: key}}
	e.elem = c.recent.PushFront(&e.place)
	c.byKey[key] = e
	c.trim()
	return e
}

// trim removes the least recently used until the rest is within the limits.
// c.mu is held.
func (c *Cache) trim() {
	for c.recent.Len() > c.maxNumber || c.size > c.maxSize && c.recent.Len() > 1 {
		p := c.recent.Remove(c.recent.Back()).(*place)
		p.elem = nil
		c.size -= p.size
		delete(c.byKey, p.key)
	}
}

// start begins to fetch. c.mu is held. The fetch has its own deadline: it goes
// on when the caller, whose values it keeps, has gone.
func start[V any](ctx context.Context, c *Cache, r *Request[V], e *entry[V]) *fetch[V] {
	f := &fetch[V]{done: make(chan struct{})}
	if c.closed {
		f.err = errors.New("the Manager has been shut down")
		close(f.done)
		return f
	}
	e.fetch = f
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), fetchTimeout)
	stop := context.AfterFunc(c.ctx, cancel)
	c.wg.Go(func() {
		defer cancel()
		defer stop()
		finish(ctx, c, r, e, f)
	})
	return f
}

// finish fetches and reads the document, and gives the result to the callers
// that wait.
func finish[V any](ctx context.Context, c *Cache, r *Request[V], e *entry[V], f *fetch[V]) {
	var body []byte
	var fresh time.Duration
	var value *V
	err := foreign.CallWithin(ctx, func() (err error) {
		body, fresh, err = c.download(ctx, r.URL, r.Accept)
		if err == nil {
			if value, err = r.Parse(body); err != nil {
				err = wrong(r.URL, err.Error())
			}
		}
		return err
	})
	if f.err = err; err == nil {
		f.value = value
	}

	c.mu.Lock()
	now := time.Now()
	before := e.value
	e.fetch, e.err = nil, err
	if err == nil {
		e.value, e.fetched, e.fresh = f.value, now, now.Add(fresh)
		e.failures, e.retry = 0, time.Time{}
		if e.elem != nil {
			c.size += len(body) - e.size
			e.size = len(body)
			c.trim()
		}
	} else {
		e.retry = now.Add(min(minRetry<<min(e.failures, 10), maxRetry))
		e.failures++
	}
	failures := e.failures
	c.mu.Unlock()
	close(f.done)

	foreign.Call(func() error { // a log handler may end as it likes
		switch {
		case err == nil && r.Accepted != nil:
			r.Accepted(before, f.value)
		case err != nil && before != nil && failures == 1:
			c.log.LogAttrs(ctx, slog.LevelWarn, "authprofile: cannot renew the "+r.Kind+", going on with the one before",
				slog.String("url", r.URL), slog.String("error", err.Error()))
		}
		return nil
	})
}

// download gets the document, and says for how long it is fresh.
func (c *Cache) download(ctx context.Context, url, accept string) ([]byte, time.Duration, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, 0, wrong(url, "is not an address")
	}
	req.Header.Set("Accept", accept)
	resp, err := c.hc.Do(req)
	if err != nil {
		return nil, 0, failed(ctx, url, err)
	}
	defer resp.Body.Close()

	switch code := resp.StatusCode; {
	case code == http.StatusOK:
	case code/100 == 5, code == http.StatusTooManyRequests, code == http.StatusRequestTimeout, code == http.StatusTooEarly:
		return nil, 0, &Error{URL: url, Problem: fmt.Sprintf("the answer is HTTP status %d", code)}
	case code/100 == 3:
		return nil, 0, wrong(url, "is redirected to another origin, or too often")
	default:
		return nil, 0, wrong(url, fmt.Sprintf("is not there: HTTP status %d", code))
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxDocument+1))
	if err != nil {
		return nil, 0, failed(ctx, url, err)
	}
	if len(body) > maxDocument {
		return nil, 0, wrong(url, fmt.Sprintf("is larger than %d KiB", maxDocument>>10))
	}
	return body, freshness(resp.Header), nil
}

// freshness reads Cache-Control (RFC 9111, section 5.2.2).
func freshness(h http.Header) time.Duration {
	fresh := defaultFresh
	for directive := range strings.SplitSeq(strings.Join(h.Values("Cache-Control"), ","), ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(directive), "=")
		switch strings.ToLower(name) {
		case "no-store", "no-cache":
			return minFresh
		case "max-age":
			if s, err := strconv.ParseUint(strings.Trim(value, `"`), 10, 31); err == nil {
				fresh = time.Duration(s) * time.Second
			} else if errors.Is(err, strconv.ErrRange) {
				fresh = maxFresh
			}
		}
	}
	return min(max(fresh, minFresh), maxFresh)
}

// followSameOrigin is a CheckRedirect that stays where it was sent to.
func followSameOrigin(req *http.Request, via []*http.Request) error {
	if len(via) > maxRedirects || !address.SameOrigin(req.URL, via[0].URL) || address.Check(req.URL.String()) != nil {
		return http.ErrUseLastResponse
	}
	return nil
}

// An Error says why a document could not be had. Its text has the address, and
// nothing of the document.
type Error struct {
	URL     string
	Problem string
	Wrong   bool  // the document, or an address, has to be corrected; if not, the provider is away
	Cause   error // why the request failed; nil: the provider has answered
}

func (e *Error) Error() string { return e.URL + ": " + e.Problem }

func (e *Error) Unwrap() error { return e.Cause }

func wrong(url, problem string) error {
	return &Error{URL: url, Problem: problem, Wrong: true}
}

// failed is for a request without a whole answer.
func failed(ctx context.Context, url string, err error) error {
	cause := transport.Describe(ctx, err, "the request failed")
	return &Error{URL: url, Problem: cause.Error(), Wrong: transport.Permanent(err) != nil, Cause: cause}
}
