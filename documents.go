package authprofile

import (
	"bytes"
	"container/list"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

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

// documents is the cache of what providers publish about themselves: their
// discovery documents and key sets.
//
// A document is fetched once, however many ask for it, and in the background
// while there is an older one to go on with. Nothing runs while nobody asks.
type documents struct {
	hc  *http.Client
	log *slog.Logger

	ctx context.Context // of all fetches
	end context.CancelFunc
	wg  sync.WaitGroup

	maxNumber, maxSize int // of what is kept

	mu     sync.Mutex
	closed bool
	byKey  map[string]*document
	recent list.List // of *document, the most recently used first
	size   int
}

// A source says where a document is, and how to read it.
type source struct {
	kind   string // for the log
	key    string
	url    string
	field  string // of the profile that names it
	accept string

	// parse returns what the document says, or a problem.
	parse func(body []byte) (value any, problem string)

	// accepted, if not nil, is told of each good value, and of the one that
	// was good before; nil: there was none.
	accepted func(before, after any)
}

// A document is what is known about one source.
type document struct {
	key  string
	elem *list.Element // nil once it left the cache

	value   any // the last good one; nil: there was none
	size    int // in bytes, as it came
	fetched time.Time
	fresh   time.Time // until then

	err      error // of the latest fetch
	failures int   // in a row
	retry    time.Time

	refetch time.Time // when the allowance for fetching on demand is whole again
	flight  *fetching // nil: no fetch is going on
}

// A fetching is a fetch that is going on. Its result is there once done is
// closed.
type fetching struct {
	done  chan struct{}
	value any
	err   error
}

func newDocuments(hc *http.Client, log *slog.Logger) *documents {
	d := &documents{log: log, maxNumber: maxDocuments, maxSize: maxDocumentsSize, byKey: make(map[string]*document)}
	c := *hc
	c.CheckRedirect = followSameOrigin
	d.hc = &c
	d.ctx, d.end = context.WithCancel(context.Background())
	return d
}

// close ends all fetches and waits for them. What is in the cache can still be
// read.
func (d *documents) close() {
	d.mu.Lock()
	d.closed = true
	d.mu.Unlock()
	d.end()
	d.wg.Wait()
}

// get returns what the document says. It waits for a fetch only if there is no
// good document, not even an old one.
func (d *documents) get(ctx context.Context, src *source) (any, error) {
	d.mu.Lock()
	doc := d.use(src.key)
	now := time.Now()
	value, err := doc.value, doc.err
	usable := value != nil && now.Before(doc.fetched.Add(maxStale))
	f := doc.flight
	if f == nil && !(usable && now.Before(doc.fresh)) && !now.Before(doc.retry) {
		f = d.start(ctx, src, doc)
	}
	d.mu.Unlock()

	switch {
	case usable:
		return value, nil
	case f == nil:
		return nil, err
	}
	return f.wait(ctx)
}

// errTooSoon: the document was fetched anew only a moment ago.
var errTooSoon = errors.New("fetched only a moment ago")

// getAfter returns a later value than seen, which get has returned and which
// turned out not to be enough. Unless another caller has brought one already,
// it fetches the document, if that was not done too often lately.
func (d *documents) getAfter(ctx context.Context, src *source, seen any) (any, error) {
	d.mu.Lock()
	doc := d.use(src.key)
	now := time.Now()
	f := doc.flight
	switch {
	case doc.value != nil && doc.value != seen:
		d.mu.Unlock()
		return doc.value, nil
	case f != nil:
	case now.Before(doc.retry):
		err := doc.err
		d.mu.Unlock()
		return nil, err
	case doc.refetch.Sub(now) > (refetchBurst-1)*refetchEvery:
		d.mu.Unlock()
		return nil, errTooSoon
	default:
		if doc.refetch.Before(now) {
			doc.refetch = now
		}
		doc.refetch = doc.refetch.Add(refetchEvery)
		f = d.start(ctx, src, doc)
	}
	d.mu.Unlock()
	return f.wait(ctx)
}

func (f *fetching) wait(ctx context.Context) (any, error) {
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

// use finds or makes the entry for a key, and marks it as used. d.mu is held.
func (d *documents) use(key string) *document {
	doc := d.byKey[key]
	if doc == nil {
		doc = &document{key: key}
		doc.elem = d.recent.PushFront(doc)
		d.byKey[key] = doc
		d.trim()
		return doc
	}
	d.recent.MoveToFront(doc.elem)
	return doc
}

// trim removes the least recently used until the rest is within the limits.
// d.mu is held.
func (d *documents) trim() {
	for d.recent.Len() > d.maxNumber || d.size > d.maxSize && d.recent.Len() > 1 {
		doc := d.recent.Remove(d.recent.Back()).(*document)
		doc.elem = nil
		d.size -= doc.size
		delete(d.byKey, doc.key)
	}
}

// start begins to fetch. d.mu is held. The fetch has its own deadline: it goes
// on when the caller, whose values it keeps, has gone.
func (d *documents) start(ctx context.Context, src *source, doc *document) *fetching {
	f := &fetching{done: make(chan struct{})}
	if d.closed {
		f.err = errors.New("the Manager has been shut down")
		close(f.done)
		return f
	}
	doc.flight = f
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), fetchTimeout)
	stop := context.AfterFunc(d.ctx, cancel)
	d.wg.Go(func() {
		defer cancel()
		defer stop()
		d.fly(ctx, src, doc, f)
	})
	return f
}

func (d *documents) fly(ctx context.Context, src *source, doc *document, f *fetching) {
	var body []byte
	var fresh time.Duration
	var value any
	err := foreign.CallWithin(ctx, func() (err error) {
		body, fresh, err = d.fetch(ctx, src)
		if err == nil {
			var problem string
			if value, problem = src.parse(body); problem != "" {
				err = src.wrong(problem)
			}
		}
		return err
	})
	if f.err = err; err == nil {
		f.value = value
	}

	d.mu.Lock()
	now := time.Now()
	before := doc.value
	doc.flight, doc.err = nil, err
	if err == nil {
		doc.value, doc.fetched, doc.fresh = f.value, now, now.Add(fresh)
		doc.failures, doc.retry = 0, time.Time{}
		if doc.elem != nil {
			d.size += len(body) - doc.size
			doc.size = len(body)
			d.trim()
		}
	} else {
		doc.retry = now.Add(min(minRetry<<min(doc.failures, 10), maxRetry))
		doc.failures++
	}
	failures := doc.failures
	d.mu.Unlock()
	close(f.done)

	foreign.Call(func() error { // a log handler may end as it likes
		switch {
		case err == nil && src.accepted != nil:
			src.accepted(before, f.value)
		case err != nil && before != nil && failures == 1:
			d.log.LogAttrs(ctx, slog.LevelWarn, "authprofile: cannot renew the "+src.kind+", going on with the one before",
				slog.String("url", src.url), slog.String("error", err.Error()))
		}
		return nil
	})
}

// fetch gets the document, and says for how long it is fresh.
func (d *documents) fetch(ctx context.Context, src *source) ([]byte, time.Duration, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, src.url, nil)
	if err != nil {
		return nil, 0, src.wrong("is not an address")
	}
	req.Header.Set("Accept", src.accept)
	resp, err := d.hc.Do(req)
	if err != nil {
		return nil, 0, src.failed(ctx, err)
	}
	defer resp.Body.Close()

	switch code := resp.StatusCode; {
	case code == http.StatusOK:
	case code/100 == 5, code == http.StatusTooManyRequests, code == http.StatusRequestTimeout, code == http.StatusTooEarly:
		return nil, 0, &documentError{url: src.url, problem: fmt.Sprintf("the answer is HTTP status %d", code)}
	case code/100 == 3:
		return nil, 0, src.wrong("is redirected to another origin, or too often")
	default:
		return nil, 0, src.wrong(fmt.Sprintf("is not there: HTTP status %d", code))
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxDocument+1))
	if err != nil {
		return nil, 0, src.failed(ctx, err)
	}
	if len(body) > maxDocument {
		return nil, 0, src.wrong(fmt.Sprintf("is larger than %d KiB", maxDocument>>10))
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

// A documentError says why a document could not be had. Its text has the
// address, and nothing of the document.
type documentError struct {
	url     string
	problem string
	field   string // of the profile, if the document is wrong; empty: the provider is away
	cause   error
}

func (s *source) wrong(problem string) error {
	return &documentError{url: s.url, problem: problem, field: s.field}
}

// failed is for a request without a whole answer.
func (s *source) failed(ctx context.Context, err error) error {
	cause := transport.Describe(ctx, err, "the request failed")
	e := &documentError{url: s.url, problem: cause.Error(), cause: cause}
	if transport.Permanent(err) != nil {
		e.field = s.field
	}
	return e
}

func (e *documentError) Error() string { return e.url + ": " + e.problem }

// Unwrap tells a document that somebody must correct, or an address, from a
// provider that is away.
func (e *documentError) Unwrap() []error {
	var errs []error
	if e.field != "" {
		errs = append(errs, ErrConfiguration, &FieldError{Field: e.field, Problem: e.problem})
	}
	if e.cause != nil {
		errs = append(errs, e.cause)
	}
	return errs
}

// An object is a JSON object, its members not yet read. A member that stands in
// it twice is nil, and cannot be read: two readers could take a different one
// for true.
type object map[string]json.RawMessage

// parseObject reads exactly one object.
func parseObject(data []byte) (object, string) {
	switch {
	case bytes.HasPrefix(data, []byte("\xef\xbb\xbf")):
		return nil, "begins with a byte order mark, which JSON does not have"
	case bytes.HasPrefix(bytes.TrimSpace(data), []byte("<")): // as of a gateway that wants a login
		return nil, "is not JSON, but a page in HTML or XML"
	case !utf8.Valid(data) || !json.Valid(data):
		return nil, "is not JSON"
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return nil, "is not a JSON object"
	}
	o := make(object)
	for dec.More() {
		t, err := dec.Token()
		name, ok := t.(string)
		var value json.RawMessage
		if err != nil || !ok || dec.Decode(&value) != nil {
			return nil, "is not JSON"
		}
		if _, twice := o[name]; twice {
			value = nil
		}
		o[name] = value
	}
	return o, ""
}

// has reports whether there is a member of that name, and more than null.
func (o object) has(name string) bool {
	value, ok := o[name]
	return ok && string(value) != "null"
}

// wrong says what is wrong with a member.
func (o object) wrong(name, problem string) string {
	if o[name] == nil {
		problem = "is there twice"
	}
	return name + " " + problem
}

// text reads a member that, if there is one, is a string.
func (o object) text(name string) (s, problem string) {
	if o.has(name) && json.Unmarshal(o[name], &s) != nil {
		return "", o.wrong(name, "is not a string")
	}
	return s, ""
}

// list reads a member that, if there is one, is a list of strings.
func (o object) list(name string) (list []string, problem string) {
	if !o.has(name) {
		return nil, ""
	}
	var elements []any
	if json.Unmarshal(o[name], &elements) != nil {
		return nil, o.wrong(name, "is not a list")
	}
	for _, e := range elements {
		s, ok := e.(string)
		if !ok {
			return nil, name + " has an element that is not a string"
		}
		list = append(list, s)
	}
	return list, ""
}

// advice returns the strings of a member that is a list, and none of any other.
func (o object) advice(name string) (list []string) {
	var elements []any
	if json.Unmarshal(o[name], &elements) != nil {
		return nil
	}
	for _, e := range elements {
		if s, ok := e.(string); ok {
			list = append(list, s)
		}
	}
	return list
}

// promised reads a member that announces a protection: whatever is not a plain
// no is taken for a yes, so that no misspelling of a provider's, such as
// "true" for true, takes the protection away.
func (o object) promised(name string) bool {
	if !o.has(name) {
		return false
	}
	switch strings.ToLower(strings.Trim(string(o[name]), `"`)) {
	case "false", "no", "0", "":
		return o[name] == nil // twice
	}
	return true
}

// number reads a member that, if there is one, is a number.
func (o object) number(name string) (n float64, problem string) {
	if !o.has(name) {
		return 0, ""
	}
	n, err := strconv.ParseFloat(string(o[name]), 64)
	if err != nil {
		return 0, o.wrong(name, "is not a number")
	}
	return n, ""
}
