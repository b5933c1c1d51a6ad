package foreign

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
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

// What code panics with may be anything, and is not shown.
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
