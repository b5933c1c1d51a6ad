package tokenendpoint

import (
	"context"
	"errors"
	"strings"
	"sync"

	"github.com/authprofile/authprofile/internal/foreign"
)

var errSealed = errors.New("the request is over")

// An onceBody is a form, in whatever encoding, that can be read at most once,
// reports whether it was, and can be withdrawn.
type onceBody struct {
	over   func() error // the context's Err: after its end nothing more is sent
	before func() error

	mu        sync.Mutex
	form      *strings.Reader
	asked     bool          // before was called, or never will be
	answered  chan struct{} // closed when before is not running, and will not
	beforeErr error
	sent      bool // some of the form was read
	sealed    bool
}

func newOnceBody(ctx context.Context, form string, before func() error) *onceBody {
	return &onceBody{over: ctx.Err, before: before, form: strings.NewReader(form), answered: make(chan struct{})}
}

func (b *onceBody) Read(p []byte) (int, error) {
	b.mu.Lock()
	first := !b.asked
	b.asked = true
	b.mu.Unlock()
	if first {
		b.ask()
	}
	<-b.answered

	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.beforeErr != nil:
		return 0, b.beforeErr
	case b.sealed || b.over() != nil:
		return 0, errSealed
	}
	n, err := b.form.Read(p)
	b.sent = b.sent || n > 0
	return n, err
}

func (b *onceBody) ask() {
	defer close(b.answered)
	if b.before == nil {
		return
	}
	err := foreign.Call(b.before) // a panic in this goroutine, of the transport, would end the program
	b.mu.Lock()
	defer b.mu.Unlock()
	b.beforeErr = err
}

// Close does nothing: the form is in memory, and a transport may close what
// it has not read and then use it on another connection.
func (b *onceBody) Close() error { return nil }

// seal keeps the rest of the form from being read later, and waits for before
// if it is running. It reports whether any of the form was read, and what
// before returned.
func (b *onceBody) seal() (sent bool, beforeErr error) {
	b.mu.Lock()
	b.sealed = true
	if !b.asked {
		b.asked = true
		close(b.answered)
	}
	b.mu.Unlock()
	<-b.answered

	b.mu.Lock()
	defer b.mu.Unlock()
	return b.sent, b.beforeErr
}
