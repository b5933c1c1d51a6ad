package authservers

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"
	"time"
)

// A Place is where a fault happens.
type Place int

const (
	// Request is on the way to the server, which has not seen anything yet.
	Request Place = iota

	// Answer is on the way back: the server has committed.
	Answer
)

// An Outcome is what comes of a request that meets a fault.
type Outcome int

const (
	// Continue lets it pass, after the delay.
	Continue Outcome = iota

	// Drop closes the connection without an answer.
	Drop

	// Hang gives no answer until the client has hung up.
	Hang

	// Reply answers with the Status, Header and Body of the fault.
	Reply
)

// A Fault is something that goes wrong between a client and the token
// endpoint. "The answer was lost" is Fault{At: Answer, Then: Drop}.
type Fault struct {
	Grant string // only requests with this grant_type; empty: all
	Times int    // how many requests meet it; zero: all, until it is replaced

	At    Place
	Delay time.Duration
	Until <-chan struct{} // after the delay, waits until it is closed
	Then  Outcome

	Status int // of a Reply
	Header http.Header
	Body   string
}

// An Exchange is one request to the token endpoint, and what came of it. It
// names tokens by their Hash.
type Exchange struct {
	Grant     string    // grant_type
	Received  time.Time // when the request was there
	Committed time.Time // when the server had answered; zero: it never saw the request, or has not answered yet
	Answered  time.Time // when the answer was on its way to the client; zero: it had none, or the fault's

	Status int    // the server's
	Code   string // of its error

	Spent  string // the refresh token received
	Issued string // the refresh token issued
	Access string // the access token issued
}

// Hash returns the name of a token in the log.
func Hash(token string) string {
	if token == "" {
		return ""
	}
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:8])
}

// A Switch is a handler in front of a token endpoint. It passes everything on,
// unless it is given a Fault.
type Switch struct {
	next http.Handler

	mu      sync.Mutex
	faults  []Fault
	log     []*Exchange
	issued  map[string]string // tokens by their hashes
	changed chan struct{}     // closed at every change of the log, and replaced
	closed  chan struct{}
}

func newSwitch(next http.Handler) *Switch {
	return &Switch{next: next, issued: make(map[string]string), changed: make(chan struct{}), closed: make(chan struct{})}
}

// Set replaces the faults that are waiting. A request meets the first that
// fits. Without faults, everything passes again.
func (s *Switch) Set(faults ...Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = faults
}

// Log returns what has passed so far, in order of arrival.
func (s *Switch) Log() []Exchange {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]Exchange, len(s.log))
	for i, e := range s.log {
		list[i] = *e
	}
	return list
}

// Count returns how many requests of a grant_type have arrived.
func (s *Switch) Count(grant string) int {
	n := 0
	for _, e := range s.Log() {
		if e.Grant == grant {
			n++
		}
	}
	return n
}

// Await waits until the log is as the test wants it, and fails the test when
// that takes more than ten seconds.
func (s *Switch) Await(t testing.TB, what string, good func([]Exchange) bool) {
	t.Helper()
	limit := time.NewTimer(10 * time.Second)
	defer limit.Stop()
	for {
		s.mu.Lock()
		changed := s.changed
		s.mu.Unlock()
		if good(s.Log()) {
			return
		}
		select {
		case <-changed:
		case <-limit.C:
			t.Fatalf("the token endpoint waited in vain for: %s; log: %+v", what, s.Log())
		}
	}
}

func (s *Switch) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	form, _ := url.ParseQuery(string(body))
	e := &Exchange{Grant: form.Get("grant_type"), Received: time.Now(), Spent: Hash(form.Get("refresh_token"))}
	fault := s.meet(e)

	if fault.At == Request {
		s.suffer(w, r, fault)
		if fault.Then == Reply {
			return
		}
	}

	// As a real server, it goes on with a request whose client has hung up.
	rec := httptest.NewRecorder()
	r2 := r.Clone(context.WithoutCancel(r.Context()))
	r2.Body = io.NopCloser(bytes.NewReader(body))
	r2.ContentLength = int64(len(body))
	s.next.ServeHTTP(rec, r2)
	s.update(func() {
		e.Committed = time.Now()
		e.Status = rec.Code
		var said struct {
			Access  string `json:"access_token"`
			Refresh string `json:"refresh_token"`
			Error   string `json:"error"`
		}
		if json.Unmarshal(rec.Body.Bytes(), &said) == nil {
			e.Code, e.Issued, e.Access = said.Error, Hash(said.Refresh), Hash(said.Access)
			s.issued[e.Issued], s.issued[e.Access] = said.Refresh, said.Access
		}
	})

	if fault.At == Answer {
		s.suffer(w, r, fault)
		if fault.Then == Reply {
			return
		}
	}

	if r.Context().Err() != nil {
		return // the client is gone
	}
	s.update(func() { e.Answered = time.Now() })
	maps.Copy(w.Header(), rec.Header())
	w.WriteHeader(rec.Code)
	w.Write(rec.Body.Bytes())
}

// meet puts e in the log and returns the fault that it meets.
func (s *Switch) meet(e *Exchange) (fault Fault) {
	s.update(func() {
		s.log = append(s.log, e)
		for i := range s.faults {
			f := &s.faults[i]
			if f.Times < 0 || f.Grant != "" && f.Grant != e.Grant {
				continue
			}
			if f.Times > 0 {
				if f.Times--; f.Times == 0 {
					f.Times = -1 // used up
				}
			}
			fault = *f
			return
		}
	})
	return fault
}

// suffer does what the fault says, but for letting the request continue.
func (s *Switch) suffer(w http.ResponseWriter, r *http.Request, f Fault) {
	if f.Delay > 0 {
		delay := time.NewTimer(f.Delay)
		defer delay.Stop()
		select {
		case <-delay.C:
		case <-s.closed:
		}
	}
	if f.Until != nil {
		select {
		case <-f.Until:
		case <-s.closed:
		}
	}
	switch f.Then {
	case Hang:
		select {
		case <-r.Context().Done():
		case <-s.closed:
		}
		panic(http.ErrAbortHandler)
	case Drop:
		panic(http.ErrAbortHandler)
	case Reply:
		maps.Copy(w.Header(), f.Header)
		w.WriteHeader(f.Status)
		io.WriteString(w, f.Body)
	}
}

func (s *Switch) update(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
	close(s.changed)
	s.changed = make(chan struct{})
}

// token returns the token that was issued with a hash, or nothing.
func (s *Switch) token(hash string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.issued[hash]
}

// close ends all waiting.
func (s *Switch) close() { close(s.closed) }
