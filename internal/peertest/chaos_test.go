package peertest

import (
	"context"
	"database/sql"
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/authprofile/authprofile/internal/peertest/databases"
	"github.com/authprofile/authprofile/internal/peertest/fleet"
	"github.com/authprofile/authprofile/internal/peertest/require"
	"github.com/authprofile/authprofile/internal/peertest/tokenswitch"
	"github.com/authprofile/authprofile/providertest"
	"github.com/authprofile/authprofile/sqlstore"
)

var (
	chaosKills = flag.Int("chaos.kills", 20, "how many processes each run of TestChaos kills")
	chaosSeed  = flag.Uint64("chaos.seed", 1, "what decides when which process is killed")
)

// What the processes of a fleet have in common in these tests.
const (
	chaosLifetime = 4 * time.Second
	chaosLatency  = 120 * time.Millisecond // of the provider
	chaosPace     = 100 * time.Millisecond
	chaosPause    = 7 * time.Second // between waves, at least: longer than a lease
)

// Processes are killed and suspended, databases restart, connections are cut,
// requests and answers are lost. No refresh token is sent once its successor
// is stored; no authorization is lost but by an answer that did not reach the
// Store, and none at all if the provider has a grace period; and nobody who
// holds a valid token notices anything.
//
// Fleets run one after the other: several at once would keep each other from
// running, which is not what this is about.
func TestChaos(t *testing.T) {
	require.Long(t, "processes that are killed while they renew tokens")
	for _, provider := range []struct {
		name   string
		policy providertest.Policy
	}{
		{"strict", providertest.Policy{TokenLifetime: chaosLifetime}},
		{"grace", providertest.Policy{TokenLifetime: chaosLifetime, Rotation: providertest.RotateGrace, Grace: 10 * time.Second}},
	} {
		for _, tg := range []target{sqlite, postgres} {
			t.Run(tg.name+"/"+provider.name, func(t *testing.T) {
				c := newChaos(t, tg, provider.policy, fleet.Config{})
				c.run(*chaosKills)
				c.f.Settle(time.Minute)
				a := c.end()
				check(t, a)
				if c.patient && a.Lost > a.Twice {
					t.Errorf("got %d lost grants at a provider with a grace period, want none:\n%s", a.Lost-a.Twice, strings.Join(a.Traces, "\n"))
				}
				if a.Reuses == 0 {
					t.Error("no process was killed while it renewed a token")
				}
				for _, d := range a.Watched {
					if d > 6*time.Second {
						t.Errorf("a lease was taken over after %v, want within its 5 s and a second", d)
					}
				}
			})
		}
	}
}

// The same harness finds out clients that take less care. If it did not, it
// would prove nothing.
func TestChaosFindsCarelessClients(t *testing.T) {
	require.Long(t, "the proof that TestChaos finds careless clients")
	// When they lose one is a matter of luck.
	lost, stale := false, false
	for range 5 {
		c := newChaos(t, sqlite, providertest.Policy{TokenLifetime: chaosLifetime}, fleet.Config{Careless: true})
		c.run(2)
		a := c.end()
		lost = lost || a.Lost > 0
		stale = stale || strings.Contains(strings.Join(a.Broken, "\n"), "after its successor was stored")
		if lost && stale {
			return
		}
	}
	if !lost {
		t.Error("careless clients have lost no grant")
	}
	if !stale {
		t.Error("careless clients have sent no refresh token after its successor was stored")
	}
}

// A chaos is a fleet under attack.
type chaos struct {
	t       *testing.T
	f       *fleet.Fleet
	config  fleet.Config
	patient bool // the provider has a grace period
	rng     *rand.Rand
	users   []string
	procs   []*fleet.Process
	stop    func()

	restart, cut func() // the database, its connections; nil: cannot be done
	lock         func(context.Context) error
}

func newChaos(t *testing.T, tg target, policy providertest.Policy, config fleet.Config) *chaos {
	c := &chaos{
		t: t, config: config,
		patient: policy.Rotation == providertest.RotateGrace,
		rng:     rand.New(rand.NewPCG(*chaosSeed, 0)),
	}
	db := fleet.Database{Dialect: tg.dialect, Driver: tg.driver}
	if tg.name == postgres.name {
		server := databases.NewPostgres(t)
		db.DSN = server.Database(t)
		pool := tg.open(t, db.DSN)
		c.restart = func() {
			if c.rng.IntN(2) == 0 {
				server.Kill()
			} else {
				server.Stop()
			}
			if err := server.Start(); err != nil {
				t.Fatal(err)
			}
		}
		c.cut = func() {
			_, err := pool.Exec("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")
			if err != nil {
				t.Logf("cutting connections: %v", err) // ours was dead already
			}
		}
	} else {
		db.DSN = tg.dsn(t)
		pool := tg.open(t, db.DSN)
		c.lock = func(ctx context.Context) error { return lock(ctx, pool) }
	}

	p := fleet.NewProvider(t, policy)
	c.f = fleet.New(t, db, p)
	// SQLite has one writer at a time, and all of this may run on two cores.
	users, processes := 60, 6
	if tg.dialect == sqlstore.SQLite {
		users, processes = 20, 5
	}
	for i := range users {
		c.users = append(c.users, fmt.Sprintf("user-%d", i))
	}
	c.f.Authorize(c.users...)
	fates := rand.New(rand.NewPCG(*chaosSeed, 1))
	p.Take(chaosLatency, func(e *tokenswitch.Exchange) tokenswitch.Fault {
		if e.Grant != "refresh_token" {
			return tokenswitch.Fault{} // an app profile has nothing to lose
		}
		switch fates.IntN(400) {
		case 0:
			return tokenswitch.AnswerLost
		case 1:
			return tokenswitch.RequestLost
		}
		return tokenswitch.Fault{}
	})
	for range processes {
		c.procs = append(c.procs, c.start())
	}
	c.stop = c.f.Watch(t.Context())
	return c
}

func (c *chaos) start() *fleet.Process {
	p := c.f.Start(c.config)
	users := c.users
	if !c.config.Careless {
		users = append([]string{""}, users...)
	}
	p.Loop(chaosPace, users...)
	return p
}

// lock keeps all others from writing to a SQLite file for three seconds.
func lock(ctx context.Context, pool *sql.DB) error {
	conn, err := pool.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := conn.ExecContext(ctx, "BEGIN IMMEDIATE"); err != nil {
		return err
	}
	<-time.After(3 * time.Second)
	_, err = conn.ExecContext(ctx, "ROLLBACK")
	return err
}

// run attacks the fleet until so many processes were killed, in waves. Who
// watches a lease run out must live for as long, so two processes live through
// each wave; others in the next.
func (c *chaos) run(kills int) {
	tick := time.NewTicker(chaosLatency / 3)
	defer tick.Stop()
	for killed := 0; killed < kills; {
		order := c.rng.Perm(len(c.procs))
		victims := order[2:]
		var suspended *fleet.Process
		var locked chan struct{}
		began := time.Now()
		switch n := c.rng.IntN(6); {
		case n <= 1:
			suspended = c.procs[victims[0]]
			suspended.Suspend()
			victims = victims[1:]
		case n == 2 && c.restart != nil:
			c.restart()
			c.f.Note("database restarted", began)
		case n == 2:
			locked = make(chan struct{})
			go func() {
				defer close(locked)
				if err := c.lock(c.t.Context()); err != nil {
					c.t.Errorf("locking the database: %v", err)
				}
			}()
		case n == 3 && c.cut != nil:
			c.cut()
			c.f.Note("connections cut", began)
		}
		for _, i := range victims {
			for range 1 + c.rng.IntN(8) {
				<-tick.C
			}
			c.procs[i].Kill()
			c.procs[i] = c.start()
			killed++
		}
		// Were all pauses the same, waves would fall in step with the takeovers
		// after the one before, and with the life of the tokens that those bring.
		<-time.After(chaosPause + time.Duration(c.rng.Int64N(int64(chaosLifetime))))
		if locked != nil {
			<-locked
			c.f.Note("database locked", began)
		}
		if suspended != nil {
			suspended.Resume()
		}
	}
	c.f.Provider.Take(0, nil)
}

// end ends the fleet and prints what has become of it.
func (c *chaos) end() *fleet.Account {
	c.stop()
	for _, p := range c.procs {
		p.Stop()
	}
	a := c.f.Account()
	var b strings.Builder
	a.Print(&b)
	c.t.Logf("\n%s", &b)
	return a
}
