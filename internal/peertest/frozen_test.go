package peertest

import (
	"fmt"
	"testing"
	"time"

	"github.com/authprofile/authprofile"
	"github.com/authprofile/authprofile/internal/peertest/fleet"
	"github.com/authprofile/authprofile/internal/peertest/require"
	"github.com/authprofile/authprofile/providertest"
)

// The only process is stopped while its answers lie in their sockets, as on a
// serverless platform or a machine that is moved, until its lease has long run
// out: when it goes on it reads the answer, and does not send the refresh token
// that the provider has replaced.
func TestAnswerOfAFrozenProcess(t *testing.T) {
	require.Long(t, "a process that is stopped for longer than a lease")
	tg := sqlite
	p := fleet.NewProvider(t, providertest.Policy{TokenLifetime: time.Second})
	f := fleet.New(t, fleet.Database{Dialect: tg.dialect, Driver: tg.driver, DSN: tg.dsn(t)}, p)
	var users []string
	for i := range 12 {
		users = append(users, fmt.Sprintf("user-%d", i))
	}
	f.Authorize(users...)
	proc := f.Start(fleet.Config{RenewBefore: 1})

	p.Hold()
	at := time.Now().Add(1500 * time.Millisecond) // when the first token has ended
	replies := make(chan []fleet.Reply, 1)
	go func() { replies <- fleet.Round(at, []*fleet.Process{proc}, 5, users...) }()
	await(t, "the requests", func() bool { return p.Held() == len(users) })
	proc.Suspend()
	p.Go()
	const frozen = 8 * time.Second // a lease lasts 5
	<-time.After(frozen)
	proc.Resume()

	for _, r := range <-replies {
		for _, e := range r.Errors {
			t.Errorf("a caller got an error: %s", e)
		}
	}
	proc.Stop()
	if got := p.Reuses(); got != 0 {
		t.Errorf("got %d spent refresh tokens, want none", got)
	}
	for _, user := range users {
		g, err := f.Grant(user)
		if err != nil {
			t.Fatal(err)
		}
		if g.Status != authprofile.StatusActive || !p.IsCurrent(string(g.RefreshToken)) {
			t.Errorf("got %v, want an active grant with the refresh token that the provider waits for", g)
		}
	}
}

// await waits until something is so, for half a minute at most.
func await(t *testing.T, what string, so func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(30 * time.Second)
	for !so() {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("waited half a minute for %s", what)
		}
	}
}
