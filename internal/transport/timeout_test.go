package transport

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestWithTimeout(t *testing.T) {
	for _, d := range []time.Duration{time.Millisecond, time.Second, 1500 * time.Millisecond, 30 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			begin := time.Now()
			ctx, cancel := WithTimeout(t.Context(), d)
			defer cancel()
			child, cancelChild := context.WithCancel(ctx)
			defer cancelChild()
			if err := ctx.Err(); err != nil {
				t.Errorf("got error %v at once", err)
			}
			<-child.Done()
			if got := time.Since(begin); got != d {
				t.Errorf("ended after %v, want %v", got, d)
			}
			if err := ctx.Err(); err != context.DeadlineExceeded {
				t.Errorf("got error %v, want %v", err, context.DeadlineExceeded)
			}
			if err := context.Cause(child); err != context.DeadlineExceeded {
				t.Errorf("got cause %v, want %v", err, context.DeadlineExceeded)
			}
		})
	}
}

func TestWithTimeoutEndsEarlier(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := WithTimeout(t.Context(), time.Minute)
		cancel()
		cancel()
		<-ctx.Done()
		if err := ctx.Err(); err != context.Canceled {
			t.Errorf("canceled: got error %v", err)
		}
		time.Sleep(2 * time.Minute)
		if err := ctx.Err(); err != context.Canceled {
			t.Errorf("canceled, some time ago: got error %v", err)
		}

		gone := errors.New("gone")
		parent, end := context.WithCancelCause(t.Context())
		ctx, cancel = WithTimeout(parent, time.Minute)
		defer cancel()
		end(gone)
		<-ctx.Done()
		if err := ctx.Err(); err != context.Canceled || context.Cause(ctx) != gone {
			t.Errorf("its parent ended: got error %v, cause %v", err, context.Cause(ctx))
		}
	})
}

// A timer that fires late has not counted time in which an answer could be
// read.
func TestWithTimeoutOfAProcessThatStoodStill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const d = 10 * time.Second
		ended := false
		w := &waiting{cancel: func(error) { ended = true }, left: d}
		w.mu.Lock()
		w.arm()
		w.timer.Stop() // it fires when this test says so
		for range 100 {
			w.due = time.Now().Add(-time.Minute)
			w.mu.Unlock()
			w.tick()
			w.mu.Lock()
			w.timer.Stop()
		}
		if ended || w.left != d {
			t.Errorf("stopped a hundred times for a minute: got %v left, ended %t; want %v", w.left, ended, d)
		}
		for range d / step {
			w.due = time.Now()
			w.mu.Unlock()
			w.tick()
			w.mu.Lock()
			w.timer.Stop()
		}
		w.mu.Unlock()
		if !ended {
			t.Error("got more time than was given")
		}
	})
}

// The time is up, in the end, of a process too that may run for half a second at
// a time, as on some serverless platforms.
func TestWithTimeoutOfAProcessThatRunsNowAndThen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const d, run = 10 * time.Second, 500 * time.Millisecond
		ended := false
		w := &waiting{cancel: func(error) { ended = true }, left: d}
		w.mu.Lock()
		w.arm()
		w.timer.Stop() // it fires when this test says so
		for range 10 * int(d/run) {
			for ran := time.Duration(0); !ended && ran+w.part <= run; {
				ran += w.part
				w.due = time.Now()
				w.mu.Unlock()
				w.tick()
				w.mu.Lock()
				w.timer.Stop()
			}
			w.due = time.Now().Add(-time.Minute)
			w.mu.Unlock()
			w.tick()
			w.mu.Lock()
			w.timer.Stop()
		}
		w.mu.Unlock()
		if !ended {
			t.Error("got ten times as long as was given, and no end")
		}
	})
}
