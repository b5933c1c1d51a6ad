package peertest

import (
	"fmt"
	"testing"
	"time"

	"github.com/authprofile/authprofile/internal/peertest/fleet"
	"github.com/authprofile/authprofile/internal/peertest/require"
	"github.com/authprofile/authprofile/providertest"
)

// eachDatabase runs a test on every database that a fleet can share, one after
// the other, since it is about what happens at the same moment.
func eachDatabase(t *testing.T, test func(t *testing.T, db fleet.Database)) {
	for _, tg := range targets {
		t.Run(tg.name, func(t *testing.T) {
			test(t, fleet.Database{Dialect: tg.dialect, Driver: tg.driver, DSN: tg.dsn(t)})
		})
	}
}

// Whenever a token ends, 400 callers in eight processes want the next one at
// the same moment, and the provider, which ends a grant at the second use of a
// refresh token, is asked once.
func TestEconomy(t *testing.T) {
	require.Long(t, "400 callers in eight processes at 20 expiries")
	const (
		processes = 8
		callers   = 50
		expiries  = 20
	)
	eachDatabase(t, func(t *testing.T, db fleet.Database) {
		p := fleet.NewProvider(t, providertest.Policy{TokenLifetime: time.Second})
		f := fleet.New(t, db, p)
		f.Authorize("ada")
		var procs []*fleet.Process
		for range processes {
			// Nothing is renewed ahead: all wait for the end.
			procs = append(procs, f.Start(fleet.Config{RenewBefore: 1}))
		}

		// The token of the authorization is the first of the user's, and the
		// application has none.
		at := time.Now()
		for round := range expiries + 1 {
			replies := fleet.Round(at, procs, callers, "ada", "")
			for _, user := range []string{"ada", ""} {
				tokens := make(map[string]int)
				for _, r := range replies {
					for token, n := range r.Tokens[user] {
						tokens[token] += n
					}
				}
				if len(tokens) != 1 {
					t.Errorf("round %d: got %d different tokens for %q, want 1", round, len(tokens), user)
				}
			}
			for _, r := range replies {
				for _, e := range r.Errors {
					t.Errorf("round %d: a caller got an error: %s", round, e)
				}
				if r.Ends.After(at) {
					at = r.Ends
				}
			}
			if t.Failed() {
				break
			}
		}
		for _, p := range procs {
			p.Stop()
		}

		if got := p.Count("refresh_token"); got != expiries {
			t.Errorf("got %d refresh requests for %d expiries, want as many", got, expiries)
		}
		if got := p.Count("client_credentials"); got != expiries+1 {
			t.Errorf("got %d client credentials requests for %d tokens, want as many", got, expiries+1)
		}
		if got := p.Reuses(); got != 0 {
			t.Errorf("got %d spent refresh tokens, want none", got)
		}
	})
}

// With renewal ahead of expiry, and callers who ask all the time, no refresh
// token is sent twice either, and no token is renewed before its time.
func TestEconomyAhead(t *testing.T) {
	require.Long(t, "processes that renew ahead of expiry")
	const (
		processes = 4
		users     = 20
		lifetime  = 2 * time.Second
		renewals  = 4 * users
	)
	eachDatabase(t, func(t *testing.T, db fleet.Database) {
		p := fleet.NewProvider(t, providertest.Policy{TokenLifetime: lifetime})
		f := fleet.New(t, db, p)
		names := make([]string, users)
		for i := range names {
			names[i] = fmt.Sprintf("user-%d", i)
		}
		f.Authorize(names...)
		var procs []*fleet.Process
		for range processes {
			w := f.Start(fleet.Config{})
			w.Loop(20*time.Millisecond, names...)
			procs = append(procs, w)
		}
		fleet.Until(t, time.Minute, "the tokens are renewed", func() bool { return p.Count("refresh_token") >= renewals })
		for _, p := range procs {
			p.Stop()
		}

		last := make(map[int]time.Time) // when an authorization was renewed last
		for _, e := range p.Log() {
			if e.Authorization == 0 || e.Issued == "" {
				continue
			}
			// A third of its life ahead at most, as the client sees it: for it,
			// a token's life begins with the request.
			if before, ok := last[e.Authorization]; ok && e.Received.Sub(before) < lifetime/2 {
				t.Errorf("a token was renewed %v after it was issued, want two thirds of %v", e.Received.Sub(before), lifetime)
			}
			last[e.Authorization] = e.Received
		}
		if got := p.Reuses(); got != 0 {
			t.Errorf("got %d spent refresh tokens, want none", got)
		}
		check(t, f.Account())
	})
}

// check reports the promises that were broken.
func check(t *testing.T, a *fleet.Account) {
	t.Helper()
	for _, b := range a.Broken {
		t.Error(b)
	}
}
