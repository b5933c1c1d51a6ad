package authservers

import (
	"bytes"
	"fmt"
	"os/exec"
	"regexp"
	"sync"
	"testing"
	"time"
)

// Program starts a program and waits until it has printed a line that matches;
// it returns the match as FindStringSubmatch does. The program ends when the
// test does, or, where the system can do that, when we are killed.
func Program(t testing.TB, cmd *exec.Cmd, ready *regexp.Regexp) []string {
	t.Helper()
	match, err := start(t, cmd, ready)
	if err != nil {
		t.Fatalf("%s: %v", cmd.Path, err)
	}
	return match
}

func start(t testing.TB, cmd *exec.Cmd, ready *regexp.Regexp) ([]string, error) {
	out := &output{ready: ready, match: make(chan []string, 1)}
	cmd.Stdout, cmd.Stderr = out, out
	dieWithParent(cmd)
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	ended := make(chan struct{})
	go func() {
		cmd.Wait()
		close(ended)
	}()
	stop := sync.OnceFunc(func() {
		cmd.Process.Kill()
		<-ended
	})
	t.Cleanup(func() {
		stop()
		if t.Failed() {
			t.Logf("%s printed:\n%s", cmd.Path, out)
		}
	})

	limit := time.NewTimer(10 * time.Second)
	defer limit.Stop()
	select {
	case match := <-out.match:
		return match, nil
	case <-ended:
		return nil, fmt.Errorf("it has ended: %v: %s", cmd.ProcessState, out)
	case <-limit.C:
		stop()
		return nil, fmt.Errorf("it is not ready after 10 seconds: %s", out)
	}
}

// An output looks for a line, and keeps the last 8 KiB of them all.
type output struct {
	ready *regexp.Regexp
	match chan []string

	mu    sync.Mutex
	found bool
	tail  []byte
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.tail = append(o.tail, p...)
	for line := range bytes.Lines(o.tail) {
		if m := o.ready.FindSubmatch(line); !o.found && m != nil && bytes.HasSuffix(line, []byte("\n")) {
			o.found = true
			var match []string
			for _, part := range m {
				match = append(match, string(part))
			}
			o.match <- match
		}
	}
	if n := len(o.tail) - 8192; n > 0 {
		o.tail = o.tail[n:]
	}
	return len(p), nil
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return string(o.tail)
}
