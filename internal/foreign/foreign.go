// Package foreign calls code that is not ours: transports, Stores, Keepers,
// log handlers, traces. Such code may panic, or end the goroutine it is called
// in, as testing.T.FailNow does. Either becomes an error here, so that callers
// who wait for the result do not wait for ever.
package foreign

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/authprofile/authprofile/internal/safetext"
)

// ErrGoexit says that code has ended the goroutine that it was called in (see
// runtime.Goexit).
var ErrGoexit = errors.New("code that was called has ended its goroutine")

// A PanicError says that code has panicked. Its text has the type of the
// value only: what code panics with may have secrets in it.
type PanicError struct {
	Value any
	Stack []byte // of the goroutine, as debug.Stack gives it
}

func (e *PanicError) Error() string {
	return fmt.Sprintf("code that was called has panicked with a %T", e.Value)
}

// Format writes the error's text under every verb, so that none of them shows
// the value.
func (e *PanicError) Format(f fmt.State, verb rune) { safetext.Format(f, verb, e.Error()) }

// Recovered returns the error for a value of recover, or nil if that is nil.
func Recovered(value any) error {
	if value == nil {
		return nil
	}
	return &PanicError{value, debug.Stack()}
}

// Call returns what f returns, or an error that says how else f has ended. f
// runs in a goroutine of its own, since it may end the one that it runs in.
func Call(f func() error) error { return <-begin(f) }

// CallWithin is Call for no longer than ctx and [Patience]. If f has not ended
// by then it goes on by itself, and its result is lost: so f must not change
// anything that the caller looks at after an error.
func CallWithin(ctx context.Context, f func() error) error {
	ended := begin(f)
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	return await(ended, ctx.Err())
}

// CallBriefly is Call for no longer than [Patience], for code that has no reason
// to take long. After that the error is context.DeadlineExceeded, and f goes on
// by itself as it does with CallWithin.
func CallBriefly(f func() error) error { return await(begin(f), context.DeadlineExceeded) }

// await waits for a call to end, for no longer than Patience. After that it
// returns the error of those who are late.
func await(ended <-chan error, late error) error {
	t := time.NewTimer(Patience)
	defer t.Stop()
	select {
	case err := <-ended:
		return err
	case <-t.C:
		return late
	}
}

// Patience is how long code may take that has no reason to take long: to see that
// its context has ended, for one.
const Patience = time.Second

func begin(f func() error) <-chan error {
	ended := make(chan error, 1)
	go func() {
		err := ErrGoexit
		defer func() {
			if p := Recovered(recover()); p != nil {
				err = p
			}
			ended <- err
		}()
		err = f()
	}()
	return ended
}
