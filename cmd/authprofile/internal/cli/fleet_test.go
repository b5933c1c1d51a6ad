package cli

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/authprofile/authprofile"
)

// fleetUsers are those whose tokens the workers ask for.
var fleetUsers = []string{"ada", "bob", "carol"}

// fleetWorker is a service that uses the library: it asks for tokens all the time,
// until its standard input ends. It prints a line for each token request.
func fleetWorker() {
	ctx := context.Background()
	a := &app{stderr: os.Stderr, env: takeEnvironment()}
	m, err := a.open(ctx, existing)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	m.Trace = &authprofile.Trace{TokenRequest: func(ctx context.Context, _ authprofile.TokenRequest) (context.Context, func(authprofile.TokenResult)) {
		fmt.Println("renewing")
		return ctx, nil
	}}
	p, err := m.Profile(ctx, "crm")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	ended := make(chan struct{})
	go func() {
		io.Copy(io.Discard, os.Stdin)
		close(ended)
	}()
	var all sync.WaitGroup
	var failed atomic.Bool
	for _, user := range fleetUsers {
		all.Go(func() {
			pace := time.NewTicker(10 * time.Millisecond)
			defer pace.Stop()
			for {
				if _, err := m.Token(ctx, p, authprofile.AsUser(user)); err != nil {
					fmt.Fprintln(os.Stderr, err)
					failed.Store(true)
					return
				}
				select {
				case <-pace.C:
				case <-ended:
					return
				}
			}
		})
	}
	all.Wait()
	if err := a.close(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if failed.Load() {
		os.Exit(1)
	}
}

// A script beside a fleet costs no grant: processes of the program print and renew
// tokens in a loop, beside services that renew the same grants, at a provider that
// ends a grant whose refresh token is used twice.
func TestScriptBesideFleet(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	policy := w.srv.Policy()
	policy.TokenLifetime = 2 * time.Second
	w.srv.SetPolicy(policy)
	w.users(fleetUsers...)

	type worker struct {
		cmd    *exec.Cmd
		stdin  io.Closer
		stderr bytes.Buffer
	}
	renewing := newWatched() // by workers
	workers := make([]*worker, 2)
	for i := range workers {
		wk := &worker{cmd: w.process()}
		wk.cmd.Path = strings.TrimSuffix(wk.cmd.Path, "authprofile") + "fleet-worker"
		wk.cmd.Args[0] = "fleet-worker"
		wk.cmd.Stdout, wk.cmd.Stderr = renewing, &wk.stderr
		stdin, err := wk.cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		wk.stdin = stdin
		if err := wk.cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { wk.cmd.Process.Kill() })
		workers[i] = wk
	}

	// Whenever a service renews a token, commands come for all of them, two of which
	// want another one.
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	for round := 0; round < 5 && !t.Failed(); round++ {
		if !renewing.has(ctx, "renewing") {
			t.Fatalf("round %d: no worker has renewed a token for a minute", round)
		}
		user := fleetUsers[round%len(fleetUsers)]
		commands := [][]string{{"grant", "renew", "crm", "--user", user}, {"grant", "renew", "crm", "--user", user}}
		for _, user := range fleetUsers {
			commands = append(commands, []string{"token", "crm", "--user", user, "--min-valid", "0s"})
		}
		var all sync.WaitGroup
		for _, args := range commands {
			all.Go(func() {
				if out, err := w.process(args...).CombinedOutput(); err != nil {
					t.Errorf("%q: got %v and %s, want success", args, err, out)
				}
			})
		}
		all.Wait()
	}
	for i, wk := range workers {
		wk.stdin.Close()
		if err := wk.cmd.Wait(); err != nil {
			t.Errorf("worker %d: got %v and %s, want no error", i, err, &wk.stderr)
		}
	}
	for _, user := range fleetUsers {
		g := w.grant(user)
		if g == nil || g.Status != authprofile.StatusActive || !w.srv.IsCurrent(string(g.RefreshToken)) {
			t.Errorf("%s: got %v, want a grant that the provider still takes", user, g)
		}
	}
}
