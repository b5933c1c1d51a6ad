package foreign

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestCall(t *testing.T) {
	failed := errors.New("failed")
	for _, c := range []struct {
		name string
		f    func() error
		want error
	}{
		{"returns", func() error { return nil }, nil},
		{"fails", func() error { return failed }, failed},
		{"ends its goroutine", func() error { runtime.Goexit(); return nil }, ErrGoexit},
	} {
		if got := Call(c.f); got != c.want {
			t.Errorf("%s: got %v, want %v", c.name, got, c.want)
		}
	}
}

// The value that code panics with may be secret, and is not shown.
func TestPanic(t *testing.T) {
	err := Call(func() error { panic("S3CRET") })
	p, ok := errors.AsType[*PanicError](err)
	if !ok || p.Value != "S3CRET" || !strings.Contains(string(p.Stack), "TestPanic") {
		t.Fatalf("got %v, want a PanicError with the value and the stack", err)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d", "%x"} {
		if got := fmt.Sprintf(verb, err); strings.Contains(got, "S3CRET") || !strings.Contains(got, "string") {
			t.Errorf("%s: got %q, want the type and not the value", verb, got)
		}
	}
	if Recovered(nil) != nil {
		t.Error("got an error for no panic")
	}
}

func TestCallWithin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const limit = 10 * time.Second
		failed, released := errors.New("failed"), make(chan struct{})
		for _, c := range []struct {
			name string
			f    func() error
			want error
			took time.Duration
		}{
			{"fails", func() error { return failed }, failed, 0},
			{"ends its goroutine", func() error { runtime.Goexit(); return nil }, ErrGoexit, 0},
			{"is slow", func() error { time.Sleep(limit + Patience/2); return nil }, nil, limit + Patience/2},
			{"is stuck", func() error { <-released; return nil }, context.DeadlineExceeded, limit + Patience},
		} {
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			begin := time.Now()
			got := CallWithin(ctx, c.f)
			if took := time.Since(begin); got != c.want || took != c.took {
				t.Errorf("%s: got %v after %v, want %v after %v", c.name, got, took, c.want, c.took)
			}
			cancel()
		}
		close(released)
	})
}

func TestCallBriefly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		failed, released := errors.New("failed"), make(chan struct{})
		for _, c := range []struct {
			name string
			f    func() error
			want error
			took time.Duration
		}{
			{"fails", func() error { return failed }, failed, 0},
			{"ends its goroutine", func() error { runtime.Goexit(); return nil }, ErrGoexit, 0},
			{"is slow", func() error { time.Sleep(Patience / 2); return nil }, nil, Patience / 2},
			{"is stuck", func() error { <-released; return nil }, context.DeadlineExceeded, Patience},
		} {
			begin := time.Now()
			got := CallBriefly(c.f)
			if took := time.Since(begin); got != c.want || took != c.took {
				t.Errorf("%s: got %v after %v, want %v after %v", c.name, got, took, c.want, c.took)
			}
		}
		close(released)
	})
}
