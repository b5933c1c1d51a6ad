// Package tokenswitch stands in front of a token endpoint, for tests: it loses,
// delays and replaces what passes, and keeps a log of what was issued.
package tokenswitch

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/authprofile/authprofile/providertest"
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

	// Reply answers with the Status, Header and Body of the fault.
	Reply
)

// A Fault is something that goes wrong between a client and the token
// endpoint. The zero Fault lets the request pass.
type Fault struct {
	Grant string // only requests with this grant_type; empty: all
	Times int    // how many requests meet it; zero: all, until it is replaced

	Delay time.Duration // how long the request takes: half of it on each way

	At    Place
	Until <-chan struct{} // there, waits until it is closed
	Then  Outcome

	Status int // of a Reply
	Header http.Header
	Body   string
}

// RequestLost and AnswerLost are what a network does.
var (
	RequestLost = Fault{At: Request, Then: Drop}
	AnswerLost  = Fault{At: Answer, Then: Drop}
)

// String says what becomes of the request; nothing: it passes.
func (f Fault) String() string {
	outcome := map[Outcome]string{Drop: "lost", Reply: "replaced"}[f.Then]
	switch {
	case outcome == "":
		return ""
	case f.At == Answer:
		return "answer " + outcome
	}
	return "request " + outcome
}

// An Exchange is one request to the token endpoint, and what came of it. It
// names tokens by their [providertest.Fingerprint].
type Exchange struct {
	Grant     string    // grant_type
	Received  time.Time // when the request was there
	Committed time.Time // when the server had answered; zero: it never saw the request, or has not answered yet
	Answered  time.Time // when the answer was on its way to the client; zero: it had none, or the fault's
	Fault     Fault     // that it met

	Status int    // the server's
	Code   string // of its error

	Spent  string // the refresh token received
	Issued string // the refresh token issued
	Access string // the access token issued

	// Process, Authorization and User are what a function given to Decide
	// knows of the request. The last two go from the exchange that issued a
	// refresh token to those in which it is spent.
	Process       string
	Authorization int
	User          string
}

// Refused reports whether the server has ended the grant or sees it ended.
func (e *Exchange) Refused() bool { return e.Code == "invalid_grant" }

// A Switch passes everything on to a token endpoint, unless it is given a Fault.
type Switch struct {
	mu      sync.Mutex
	decide  func(*http.Request, *Exchange) Fault
	faults  []Fault
	log     []*Exchange
	issued  map[string]issued // by fingerprint
	changed chan struct{}     // closed at every change of the log, and replaced
	closed  chan struct{}
}

// issued is a token, and the exchange that issued it.
type issued struct {
	token string
	by    *Exchange
}

// New returns a Switch. [Switch.Close] ends all waiting at it.
func New() *Switch {
	return &Switch{issued: make(map[string]issued), changed: make(chan struct{}), closed: make(chan struct{})}
}

// Set replaces the faults that are waiting. A request meets the first that
// fits. Without faults, everything passes again.
func (s *Switch) Set(faults ...Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = faults
}

// Decide sets what is called for each request, before it is in the log, to add
// to it what it knows and to say which fault the request meets.
func (s *Switch) Decide(f func(*http.Request, *Exchange) Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.decide = f
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

// Serve passes a request on to next.
func (s *Switch) Serve(w http.ResponseWriter, r *http.Request, next http.Handler) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	form, _ := url.ParseQuery(string(body))
	e := &Exchange{Grant: form.Get("grant_type"), Received: time.Now(), Spent: fingerprint(form.Get("refresh_token"))}
	fault := s.meet(r, e)

	if s.strike(w, fault, Request) {
		return
	}

	// As a real server, it goes on with a request whose client has hung up.
	rec := httptest.NewRecorder()
	r2 := r.Clone(context.WithoutCancel(r.Context()))
	r2.Body = io.NopCloser(bytes.NewReader(body))
	r2.ContentLength = int64(len(body))
	next.ServeHTTP(rec, r2)
	s.update(func() {
		e.Committed = time.Now()
		e.Status = rec.Code
		var said struct {
			Access  string `json:"access_token"`
			Refresh string `json:"refresh_token"`
			Error   string `json:"error"`
		}
		if json.Unmarshal(rec.Body.Bytes(), &said) == nil {
			e.Code, e.Issued, e.Access = said.Error, fingerprint(said.Refresh), fingerprint(said.Access)
			s.issued[e.Issued], s.issued[e.Access] = issued{said.Refresh, e}, issued{said.Access, e}
		}
	})

	if s.strike(w, fault, Answer) {
		return
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
func (s *Switch) meet(r *http.Request, e *Exchange) (fault Fault) {
	s.mu.Lock()
	if before := s.issued[e.Spent].by; before != nil && e.Spent != "" {
		e.Authorization, e.User = before.Authorization, before.User
	}
	decide := s.decide
	s.mu.Unlock()
	if decide != nil {
		fault = decide(r, e)
	}
	s.update(func() {
		if decide == nil {
			fault = s.takeFault(e.Grant)
		}
		e.Fault = fault
		s.log = append(s.log, e)
	})
	return fault
}

// takeFault returns the first of the faults that are waiting for a request of a
// grant_type. The Switch is locked.
func (s *Switch) takeFault(grant string) Fault {
	for i := range s.faults {
		f := &s.faults[i]
		if f.Times < 0 || f.Grant != "" && f.Grant != grant {
			continue
		}
		if f.Times > 0 {
			if f.Times--; f.Times == 0 {
				f.Times = -1 // used up
			}
		}
		return *f
	}
	return Fault{}
}

// strike does what the fault does at a place. It reports whether that was the
// answer.
func (s *Switch) strike(w http.ResponseWriter, f Fault, at Place) (answered bool) {
	if f.Delay > 0 {
		delay := time.NewTimer(f.Delay / 2)
		defer delay.Stop()
		select {
		case <-delay.C:
		case <-s.closed:
		}
	}
	if f.At != at {
		return false
	}
	if f.Until != nil {
		select {
		case <-f.Until:
		case <-s.closed:
		}
	}
	switch f.Then {
	case Drop:
		panic(http.ErrAbortHandler)
	case Reply:
		maps.Copy(w.Header(), f.Header)
		w.WriteHeader(f.Status)
		io.WriteString(w, f.Body)
		return true
	}
	return false
}

func (s *Switch) update(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
	close(s.changed)
	s.changed = make(chan struct{})
}

// Issued returns the token that was issued with a fingerprint, or nothing.
func (s *Switch) Issued(fingerprint string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.issued[fingerprint].token
}

// Close ends all waiting.
func (s *Switch) Close() { close(s.closed) }

// fingerprint is providertest.Fingerprint that has none for no token.
func fingerprint(token string) string {
	if token == "" {
		return ""
	}
	return providertest.Fingerprint(token)
}
