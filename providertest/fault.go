package providertest

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"slices"
	"time"
)

// A Fault is what goes wrong with a request. Its parts can be combined, and
// take effect in the order of the fields.
//
// A lost request is Fault{Drop: true}, and a lost answer
// Fault{Committed: true, Drop: true}.
type Fault struct {
	// Times is how many requests meet the fault. Zero is one; negative is
	// all, until ClearFaults.
	Times int

	// Grant, if not empty, is the grant_type of the requests that can meet
	// the fault.
	Grant string

	// Func, if not nil, answers the request; next is what the Server would
	// do. The parts below do not take effect then.
	Func func(w http.ResponseWriter, r *http.Request, next http.Handler)

	// Committed lets the Server handle the request first: tokens are spent
	// and issued, and only then trouble begins. Otherwise it begins at once,
	// and the request is handled after it, if it is still to be answered.
	Committed bool

	Delay time.Duration // passes, whether the client still waits or not
	Hang  bool          // until Release or Close, whether the client still waits or not
	Drop  bool          // the connection is closed without an answer

	// Status, Header and Body, if any is set, are the answer, without the
	// request being handled. With Committed they replace those parts of the
	// true answer.
	Status int
	Header http.Header
	Body   string

	// Rewrite, if not nil, changes the answer.
	Rewrite func(*Answer)

	// CutAfter closes the connection after so many bytes of the body. Zero
	// does not; negative closes it after the header.
	CutAfter int

	// Drip passes before each byte of the body.
	Drip time.Duration
}

// Fault makes requests to an endpoint meet a fault. Each fault that is given
// waits until those before it have been met.
//
// A client of net/http repeats a GET by itself if a connection that it used
// before is closed on it.
func (s *Server) Fault(e Endpoint, f Fault) {
	if f.Times == 0 {
		f.Times = 1
	}
	f.Header = f.Header.Clone()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults[e] = append(s.faults[e], &f)
}

// ClearFaults ends all faults at an endpoint, but not for the requests that
// have met them already.
func (s *Server) ClearFaults(e Endpoint) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.faults, e)
}

// Release lets all requests go on that hang at present.
func (s *Server) Release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for ch := range s.hanging {
		close(ch)
		delete(s.hanging, ch)
	}
}

// AwaitHang waits until at least n requests hang.
func (s *Server) AwaitHang(ctx context.Context, n int) error {
	for {
		s.mu.Lock()
		if len(s.hanging) >= n {
			s.mu.Unlock()
			return nil
		}
		ch := make(chan struct{})
		s.hung = append(s.hung, ch)
		s.mu.Unlock()
		select {
		case <-ch:
		case <-ctx.Done():
			return ctx.Err()
		case <-s.done:
			return errors.New("providertest: server closed")
		}
	}
}

// hang waits for Release. It returns false if the Server is closed instead.
func (s *Server) hang() bool {
	ch := make(chan struct{})
	s.mu.Lock()
	s.hanging[ch] = true
	for _, w := range s.hung {
		close(w)
	}
	s.hung = nil
	s.mu.Unlock()
	select {
	case <-ch:
		return true
	case <-s.done:
		s.mu.Lock()
		delete(s.hanging, ch)
		s.mu.Unlock()
		return false
	}
}

// takeFault returns the fault that a request meets, or nil. The Server is
// locked.
func (s *Server) takeFault(e Endpoint, grant string) *Fault {
	list := s.faults[e]
	for i, f := range list {
		if f.Grant != "" && f.Grant != grant {
			continue
		}
		if f.Times > 0 {
			if f.Times--; f.Times == 0 {
				s.faults[e] = slices.Delete(list, i, i+1)
			}
		}
		return f
	}
	return nil
}

// strike lets a request meet its fault.
func (f *Fault) strike(s *Server, w http.ResponseWriter, c *call) {
	if f.Func != nil {
		f.Func(w, c.r, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			s.handle(c).write(w)
		}))
		return
	}

	var a *Answer
	if f.Committed {
		a = s.handle(c)
	}
	if !s.pause(f.Delay) || f.Hang && !s.hang() || f.Drop {
		panic(http.ErrAbortHandler)
	}
	if a == nil {
		if f.Status != 0 || f.Header != nil || f.Body != "" {
			a = &Answer{Status: http.StatusOK}
		} else {
			a = s.handle(c)
		}
	}
	if f.Status != 0 {
		a.Status = f.Status
	}
	if f.Body != "" {
		a.Body = []byte(f.Body)
	}
	if a.Header == nil {
		a.Header = make(http.Header)
	}
	maps.Copy(a.Header, f.Header.Clone())
	if f.Rewrite != nil {
		f.Rewrite(a)
	}

	if f.CutAfter == 0 && f.Drip == 0 {
		a.write(w)
		return
	}
	a.writeHeader(w)
	body := a.Body
	if f.CutAfter != 0 {
		body = body[:min(len(body), max(0, f.CutAfter))]
	}
	flush := http.NewResponseController(w).Flush
	if f.Drip == 0 {
		w.Write(body)
	} else {
		for i := range body {
			flush()
			if !s.pause(f.Drip) {
				panic(http.ErrAbortHandler)
			}
			if _, err := w.Write(body[i : i+1]); err != nil {
				return
			}
		}
	}
	flush()
	if f.CutAfter != 0 {
		panic(http.ErrAbortHandler)
	}
}
