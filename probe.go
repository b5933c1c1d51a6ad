package authprofile

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/authprofile/authprofile/internal/foreign"
	"github.com/authprofile/authprofile/internal/transport"
)

// A prober makes requests to find out whether a provider answers, and how.
type prober struct {
	http  *http.Client // whose transport is dated
	dated *datedTransport
}

// newProber returns a prober that is like hc. now is our clock.
func newProber(hc *http.Client, now func() time.Time) *prober {
	c := *hc
	dated := &datedTransport{base: hc.Transport, now: now}
	c.Transport = dated
	return &prober{&c, dated}
}

// maxPage is how much is read of what an address answers, in bytes.
const maxPage = 64 << 10

// An answer is what came back from an address.
type answer struct {
	url    *url.URL // that was asked
	status int
	header http.Header
	body   []byte // of JSON, the beginning; otherwise nil
}

// ask makes a request for no longer than limit. It follows no redirect and has
// no cookie. The text of its error is fit to be shown.
func (pb *prober) ask(ctx context.Context, limit time.Duration, method, address string) (*answer, error) {
	if pb.http.Timeout > 0 {
		limit = min(limit, pb.http.Timeout)
	}
	within, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var a *answer
	err := foreign.CallWithin(within, func() error {
		req, err := http.NewRequestWithContext(within, method, address, nil)
		if err != nil {
			return err
		}
		req.Header.Set("User-Agent", "authprofile")
		resp, err := pb.http.Transport.RoundTrip(req)
		if err != nil {
			return err
		}
		if resp == nil {
			return errors.New("the transport gave neither an answer nor an error")
		}
		got := &answer{url: req.URL, status: resp.StatusCode, header: resp.Header}
		if resp.Body != nil {
			defer resp.Body.Close()
			if strings.Contains(strings.ToLower(resp.Header.Get("Content-Type")), "json") {
				got.body, _ = io.ReadAll(io.LimitReader(resp.Body, maxPage))
			}
		}
		a = got
		return nil
	})
	if err == nil {
		return a, nil
	}
	if p, ok := errors.AsType[*foreign.PanicError](err); ok {
		return nil, p
	}
	if errors.Is(err, foreign.ErrGoexit) {
		return nil, foreign.ErrGoexit
	}
	return nil, transport.Describe(ctx, err, "the request failed")
}

// A datedTransport notes what answers say of the time.
type datedTransport struct {
	base http.RoundTripper
	now  func() time.Time

	mu    sync.Mutex
	ahead time.Duration // of the provider's clock before ours, by the latest answer
	known bool
}

// RoundTrip makes a datedTransport an [http.RoundTripper].
func (t *datedTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	began := t.now()
	resp, err := t.base.RoundTrip(req)
	if err != nil || resp == nil {
		return resp, err
	}
	ended := t.now()
	// The date of an answer that comes out of a cache is that of another time
	// (RFC 9111, section 5.1).
	if date, err := http.ParseTime(resp.Header.Get("Date")); err == nil && resp.Header.Get("Age") == "" {
		middle := began.Add(ended.Sub(began) / 2)
		t.mu.Lock()
		defer t.mu.Unlock()
		t.ahead, t.known = date.Sub(middle), true
	}
	return resp, nil
}

// clock returns how far the provider's clock is ahead of ours, if that is known.
func (pb *prober) clock() (ahead time.Duration, known bool) {
	t := pb.dated
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.ahead, t.known
}
