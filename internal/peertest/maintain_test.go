package peertest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/authprofile/authprofile"
	"github.com/authprofile/authprofile/internal/peertest/fleet"
	"github.com/authprofile/authprofile/internal/peertest/require"
	"github.com/authprofile/authprofile/providertest"
)

// passPace is how often each process of these tests looks at what is due.
const passPace = 250 * time.Millisecond

// A delivery is a request that a noticeReceiver has got.
type delivery struct {
	authprofile.Notice
	process    string
	begin, end time.Time // zero end: it is not over
	accepted   bool
}

// A noticeReceiver takes notices that processes of a fleet deliver. It takes a
// random time for each, and refuses some.
type noticeReceiver struct {
	mu   sync.Mutex
	list []*delivery
}

func (r *noticeReceiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	d := &delivery{process: fleet.Of(req), begin: time.Now()}
	body, err := io.ReadAll(req.Body)
	message := struct {
		Data *authprofile.Notice `json:"data"`
	}{&d.Notice}
	if err != nil || json.Unmarshal(body, &message) != nil {
		return // the process was killed before it had sent all
	}
	d.ID = req.Header.Get("webhook-id")
	r.mu.Lock()
	r.list = append(r.list, d)
	r.mu.Unlock()

	accepted := rand.N(6) > 0
	select {
	case <-time.After(rand.N(300 * time.Millisecond)):
	case <-req.Context().Done():
		accepted = false
	}
	r.mu.Lock()
	d.end, d.accepted = time.Now(), accepted
	r.mu.Unlock()
	if !accepted {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
}

// busy returns a process that is delivering a notice, or "".
func (r *noticeReceiver) busy() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, d := range r.list {
		if d.end.IsZero() {
			return d.process
		}
	}
	return ""
}

// byUser returns what has come, in order.
func (r *noticeReceiver) byUser() map[string][]delivery {
	r.mu.Lock()
	defer r.mu.Unlock()
	users := make(map[string][]delivery)
	for _, d := range r.list {
		users[d.User] = append(users[d.User], *d)
	}
	for _, list := range users {
		slices.SortFunc(list, func(a, b delivery) int { return a.begin.Compare(b.begin) })
	}
	return users
}

// A telling is a fleet whose processes tell of grants that are ended, and are
// killed.
type telling struct {
	t      *testing.T
	f      *fleet.Fleet
	r      *noticeReceiver
	config fleet.Config
	procs  []*fleet.Process          // that are running
	all    map[string]*fleet.Process // by name
	last   []*authprofile.Grant      // that were read
	states map[string]int            // of each user's grant, that are to be told: ended, authorized, ended ...
	target int                       // how many of them
}

// Processes that run Maintain are killed again and again while they deliver
// notices. Each state of a grant is told at least once, always with the same ID,
// and by one process at a time; and once only unless the process that has told it
// was killed, or the receiver has refused it.
func TestFleetIsTold(t *testing.T) {
	require.Long(t, "processes that are killed while they deliver notices")
	const (
		users     = 20
		processes = 3
		states    = 6 // three times ended, three times authorized
		kills     = 15
	)
	eachDatabase(t, func(t *testing.T, db fleet.Database) {
		f := fleet.New(t, db, fleet.NewProvider(t, providertest.Policy{}))
		r := new(noticeReceiver)
		srv := httptest.NewServer(r)
		t.Cleanup(srv.Close)
		c := &telling{
			t: t, f: f, r: r, target: states, config: fleet.Config{Notify: srv.URL},
			all: make(map[string]*fleet.Process), states: make(map[string]int),
		}
		for i := range users {
			name := fmt.Sprintf("user-%d", i)
			f.Authorize(name)
			c.states[name] = 0
		}
		for range processes {
			c.procs = append(c.procs, c.start())
		}
		killed, next := 0, time.Now().Add(2*time.Second)
		t.Cleanup(c.check) // also of what has not come to its end
		fleet.Until(t, 50*time.Second, "all is told", func() bool {
			if now := time.Now(); killed < kills && now.After(next) {
				c.kill()
				killed++
				next = now.Add(500*time.Millisecond + rand.N(time.Second))
			}
			return c.drive() && killed == kills
		})
		for _, p := range c.procs {
			p.Stop()
		}
		t.Logf("%d processes were killed", killed)
	})
}

func (c *telling) start() *fleet.Process {
	p := c.f.Start(c.config)
	p.Maintain(passPace)
	c.all[p.Name] = p
	return p
}

// kill kills a process, if possible one that is just delivering or has just
// delivered a notice, and starts another.
func (c *telling) kill() {
	i := 0 // the oldest
	if busy := c.r.busy(); busy != "" {
		i = max(0, slices.IndexFunc(c.procs, func(p *fleet.Process) bool { return p.Name == busy }))
		<-time.After(rand.N(200 * time.Millisecond))
	}
	p := c.procs[i]
	p.Kill()
	c.release(p)
	c.procs = append(slices.Delete(c.procs, i, i+1), c.start())
}

// isClaim reports whether a grant that is due after so long is claimed. What
// waits for other reasons waits for a minute, or for longer than five.
func isClaim(due time.Duration) bool { return due > 3*time.Minute && due <= 5*time.Minute }

// release makes due what a process had claimed that was killed. The claims of a
// dead process last for five minutes of real time, which is too long for a test.
// Those of others must stay.
func (c *telling) release(p *fleet.Process) {
	puts := make(map[string][]fleet.Entry)
	for _, e := range p.Journal() {
		switch e.Kind {
		case fleet.Putting, fleet.Put:
			puts[e.User] = append(puts[e.User], e)
		case fleet.NotPut:
			puts[e.User] = slices.DeleteFunc(puts[e.User], func(before fleet.Entry) bool { return before.Put == e.Put })
		}
	}
	for user, list := range puts {
		c.change(user, func(g *authprofile.Grant) bool {
			if !isClaim(time.Until(g.Due)) || !slices.ContainsFunc(list, func(e fleet.Entry) bool {
				// Of a put that is not known to have been, Due says whether it was.
				return e.Kind == fleet.Put && e.Version == g.Version || e.Kind == fleet.Putting && e.Version+1 == g.Version && e.Due.Equal(g.Due)
			}) {
				return false
			}
			g.Due = time.Now().UTC().Truncate(time.Millisecond)
			return true
		})
	}
}

// change changes a grant, unless change reports that there is nothing to change.
func (c *telling) change(user string, change func(g *authprofile.Grant) bool) {
	c.t.Helper()
	for {
		g, err := c.f.Grant(user)
		if errors.Is(err, authprofile.ErrNotFound) {
			return
		}
		if err != nil {
			c.t.Fatal(err)
		}
		if !change(g) {
			return
		}
		if err := c.f.Store.PutGrant(c.t.Context(), g); err == nil {
			return
		} else if !errors.Is(err, authprofile.ErrConflict) {
			c.t.Fatal(err)
		}
	}
}

// isTold reports whether the status of a grant was told.
func isTold(g *authprofile.Grant) bool {
	return g.Told == g.Status || g.Told == "" && g.Status == authprofile.StatusActive
}

// isDone reports whether the last state of a grant was told.
func (c *telling) isDone(g *authprofile.Grant) bool {
	return c.states[g.User] == c.target && g.Status == authprofile.StatusActive && isTold(g)
}

// drive takes each grant one step further, and reports whether all are done.
func (c *telling) drive() (done bool) {
	grants, err := c.f.Grants()
	if err != nil {
		c.t.Fatal(err)
	}
	c.last = grants
	done = true
	for _, g := range grants {
		if c.isDone(g) {
			continue
		}
		done = false
		ended, n := g.Status == authprofile.StatusNeedsReauthorization, c.states[g.User]
		switch {
		case isTold(g) && ended && n%2 == 1:
			if err := c.f.Provider.Authorize(c.t.Context(), c.f.Manager, c.f.User(), g.User); err != nil {
				c.t.Fatal(err)
			}
			c.states[g.User]++
		case isTold(g) && !ended && n%2 == 0:
			c.f.Provider.RevokeUser(g.User)
			c.change(g.User, func(g *authprofile.Grant) bool { // for whose token no caller has asked for long
				g.Obtained = time.Now().UTC().Truncate(time.Millisecond).AddDate(0, 0, -40)
				g.Due = g.Obtained
				return true
			})
			c.states[g.User]++
		case !isTold(g):
			c.hurry(g.User)
		}
	}
	return done
}

// hurry lets time pass for a grant: two hours since it was ended, for longer than
// which the library does not suppose that the provider is at fault, and all of
// the time for which it waits before it tells, or tells again.
func (c *telling) hurry(user string) {
	c.change(user, func(g *authprofile.Grant) bool {
		now := time.Now().UTC().Truncate(time.Millisecond)
		if left := g.Due.Sub(now); left <= 0 || isClaim(left) {
			return false
		}
		g.Due = now
		if f := g.Failure; f != nil && now.Sub(f.Since) < time.Hour {
			f.Since, f.Last = f.Since.Add(-2*time.Hour), f.Last.Add(-2*time.Hour)
		}
		return true
	})
}

// check goes through what was delivered.
func (c *telling) check() {
	t := c.t
	t.Helper()
	for _, g := range c.last {
		if !c.isDone(g) {
			t.Errorf("state %d: got %+v, due in %v, failure %+v, lease %+v; want it told", c.states[g.User], *g, time.Until(g.Due), g.Failure, g.Lease)
		}
	}
	total, again, interrupted := 0, 0, 0
	users := c.r.byUser()
	for user := range c.states {
		list := users[user]
		delete(users, user)
		var ids []string // one for each state
		for i, d := range list {
			total++
			kind := authprofile.NoticeNeedsUser
			if i == 0 || list[i-1].ID != d.ID {
				if i > 0 && !list[i-1].accepted {
					t.Errorf("%s: got another notice after one that was not received: %+v, %+v", user, list[i-1], d)
				}
				if slices.Contains(ids, d.ID) {
					t.Errorf("%s: got ID %q again after another: %+v", user, d.ID, d)
				}
				ids = append(ids, d.ID)
			} else {
				again++
				before := list[i-1]
				p := c.all[before.process]
				dead := !p.Killed.IsZero() && p.Killed.Before(d.begin)
				if before.end.After(d.begin) && !dead {
					t.Errorf("%s: got the same notice from %s while %s delivered it: %+v, %+v", user, d.process, before.process, before, d)
				}
				if before.accepted && !(dead && !hasNoted(p, before)) {
					t.Errorf("%s: got the same notice from %s though %s had delivered it: %+v, %+v", user, d.process, before.process, before, d)
				}
				if dead {
					interrupted++
				}
			}
			if len(ids)%2 == 0 {
				kind = authprofile.NoticeRecovered
			}
			if d.Kind != kind || d.ProfileID != fleet.UserProfile {
				t.Errorf("%s: got notice %+v, want one of kind %q: each state has one ID", user, d, kind)
			}
		}
		if len(ids) != c.target {
			t.Errorf("%s: got %d notices, want one for each of %d states", user, len(ids), c.target)
		}
		if len(list) > 0 && !list[len(list)-1].accepted {
			t.Errorf("%s: got a last notice that was not received: %+v", user, list[len(list)-1])
		}
	}
	for user, list := range users {
		t.Errorf("got notices about %q, want none: %+v", user, list)
	}
	t.Logf("%d deliveries of %d notices; %d again, of them %d after a process was killed", total, c.target*len(c.states), again, interrupted)
	for _, p := range c.all {
		for _, e := range p.Journal() {
			if e.Kind == fleet.Unkept {
				t.Errorf("Maintain in %s: got error %s, want none", p.Name, e.Error)
			}
		}
	}
	if interrupted == 0 {
		t.Error("no process was killed while it delivered a notice")
	}
}

// hasNoted reports whether a process has written that it had told d.
func hasNoted(p *fleet.Process, d delivery) bool {
	told := d.Status
	if d.Kind == authprofile.NoticeRecovered {
		told = ""
	}
	return slices.ContainsFunc(p.Journal(), func(e fleet.Entry) bool {
		return e.Kind == fleet.Put && e.User == d.User && e.Told == told && e.Time.After(d.begin)
	})
}

// Of a fleet that keeps grants alive, one process renews each of them, though all
// see it at the same moment.
func TestFleetKeepsAlive(t *testing.T) {
	require.Long(t, "processes that keep grants alive")
	const (
		users     = 60
		processes = 4
	)
	eachDatabase(t, func(t *testing.T, db fleet.Database) {
		p := fleet.NewProvider(t, providertest.Policy{})
		f := fleet.New(t, db, p)
		names := make([]string, users)
		for i := range names {
			names[i] = fmt.Sprintf("user-%d", i)
		}
		f.Authorize(names...)
		start := time.Now()
		for _, name := range names {
			g, err := f.Grant(name)
			if err != nil {
				t.Fatal(err)
			}
			g.Obtained = start.UTC().Truncate(time.Millisecond).AddDate(0, 0, -40)
			g.Due = g.Obtained.AddDate(0, 0, 30)
			if err := f.Store.PutGrant(t.Context(), g); err != nil {
				t.Fatal(err)
			}
		}
		var procs []*fleet.Process
		for range processes {
			w := f.Start(fleet.Config{})
			w.Maintain(passPace)
			procs = append(procs, w)
		}
		fleet.Until(t, 30*time.Second, "all grants are renewed, and none is due", func() bool {
			grants, err := f.Grants()
			if err != nil {
				t.Fatal(err)
			}
			return !slices.ContainsFunc(grants, func(g *authprofile.Grant) bool {
				return g.Obtained.Before(start) || g.Due.Sub(start) < 24*time.Hour
			})
		})
		for _, p := range procs {
			p.Stop()
		}
		renewed := make(map[string]int)
		for _, e := range p.Log() {
			if e.Grant == "refresh_token" {
				renewed[e.User]++
			}
		}
		for _, name := range names {
			if got := renewed[name]; got != 1 {
				t.Errorf("%s: got %d renewals, want 1", name, got)
			}
		}
		if got := p.Reuses(); got != 0 {
			t.Errorf("got %d spent refresh tokens, want none", got)
		}
		check(t, f.Account())
	})
}
