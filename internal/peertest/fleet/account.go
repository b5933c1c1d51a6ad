package fleet

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/authprofile/authprofile"
	"github.com/authprofile/authprofile/internal/peertest/tokenswitch"
	"github.com/authprofile/authprofile/providertest"
)

// A Death is a grant that was found to need a new authorization.
type Death struct {
	User    string
	Refresh string // the token that was stored then
	Reason  authprofile.Reason
	Healthy bool // the provider would still have taken that token
	Seen    time.Time
}

// Watch looks for grants that need their users, notes them, and has the users
// authorize again, until ctx ends.
func (f *Fleet) Watch(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
			grants, err := f.Grants()
			if err != nil {
				continue // the database is away
			}
			f.bury(ctx, grants)
		}
	}()
	return func() { cancel(); <-done }
}

// mourning is how long a dead grant is left alone before its user authorizes
// again: longer than a lease, so that requests of a process that went on asking
// for it would show.
const mourning = 7 * time.Second

func (f *Fleet) bury(ctx context.Context, grants []*authprofile.Grant) {
	for _, g := range grants {
		if g.Status != authprofile.StatusNeedsReauthorization {
			continue
		}
		d := Death{
			User:    g.User,
			Refresh: providertest.Fingerprint(string(g.RefreshToken)),
			Reason:  g.Failure.Reason,
			Healthy: f.Provider.IsLive(string(g.RefreshToken)),
			Seen:    time.Now(),
		}
		i := slices.IndexFunc(f.dead, func(old Death) bool { return old.User == d.User && old.Refresh == d.Refresh })
		if i < 0 {
			f.dead = append(f.dead, d)
		} else if time.Since(f.dead[i].Seen) > mourning {
			if err := f.Provider.Authorize(ctx, f.Manager, f.user, g.User); err != nil {
				f.t.Logf("authorizing again: %v", err) // the next look tries it again
			}
		}
	}
}

// An Account is what became of the authorizations of a fleet.
type Account struct {
	Events     []Event
	Requests   int // for a refresh
	Renewals   int // of them, those that were granted
	Reuses     int // of them, those with a spent refresh token
	Lost       int // authorizations
	Twice      int // of them, those whose renewal was interrupted twice in a row
	ByCause    map[string]int
	Recoveries []time.Duration // from the end of a process with a lease until another has taken it over
	Watched    []time.Duration // how much of that the other has watched the lease

	Broken []string // promises
	Traces []string // what the logs say about each lost authorization
}

func (a *Account) broke(format string, args ...any) {
	a.Broken = append(a.Broken, fmt.Sprintf(format, args...))
}

// Settle waits until every grant has been renewed once more, or authorized by
// its user again: only then does it show which of them are lost.
func (f *Fleet) Settle(limit time.Duration) {
	f.t.Helper()
	began := time.Now()
	var waiting []*authprofile.Grant
	ok := poll(f.t.Context(), limit, func() bool {
		grants, err := f.Grants()
		if err != nil {
			return false
		}
		waiting = slices.DeleteFunc(grants, func(g *authprofile.Grant) bool {
			return g.Status == authprofile.StatusActive && g.Obtained.After(began)
		})
		return len(waiting) == 0
	})
	if !ok {
		for _, g := range waiting {
			f.t.Logf("%+v", *g)
			for _, line := range f.lately(g.User) {
				f.t.Log(line)
			}
		}
		f.t.Fatalf("after %v, %d grants have not been renewed once more", limit, len(waiting))
	}
}

// lately returns the last entries about a user in the journals.
func (f *Fleet) lately(user string) []string {
	var entries []Entry
	for _, p := range f.procs {
		for _, e := range p.Journal() {
			if e.User == user {
				e.Error += " " + p.Name
				entries = append(entries, e)
			}
		}
	}
	slices.SortFunc(entries, func(a, b Entry) int { return a.Time.Compare(b.Time) })
	var lines []string
	for _, e := range entries[max(0, len(entries)-30):] {
		lines = append(lines, fmt.Sprintf("    %+v", e))
	}
	return lines
}

// Account goes through the logs of the provider and of all processes, which
// must have ended.
func (f *Fleet) Account() *Account {
	a := &Account{Events: f.Events, ByCause: make(map[string]int)}
	log := f.Provider.Log()
	journals := make(map[*Process][]Entry)
	stored := make(map[string]time.Time) // when a refresh token was stored
	byName := make(map[string]*Process)
	for _, p := range f.procs {
		journals[p] = p.Journal()
		byName[p.Name] = p
		for _, e := range journals[p] {
			if e.Kind == Put && e.Refresh != "" {
				if at, ok := stored[e.Refresh]; !ok || e.Time.Before(at) {
					stored[e.Refresh] = e.Time
				}
			}
			if e.Kind == Failed && e.User == "" {
				a.broke("an app profile has stopped in %s: %s", p.Name, e.Error)
			}
			if e.Kind == Unkept {
				a.broke("Maintain in %s: %s", p.Name, e.Error)
			}
			if e.Kind == Failed && e.HadToken {
				a.broke("a caller with a valid token for %s got an error from %s: %s", e.User, p.Name, e.Error)
			}
		}
	}

	bySpent := make(map[string][]*tokenswitch.Exchange)
	refused := make(map[int][]*tokenswitch.Exchange) // by authorization
	for i := range log {
		e := &log[i]
		if e.Grant != "refresh_token" {
			continue
		}
		a.Requests++
		for _, before := range bySpent[e.Spent] {
			at, ok := stored[before.Issued]
			if ok && before.Issued != "" && at.Before(e.Received) {
				a.broke("%s sent a refresh token %v after its successor was stored", e.Process, e.Received.Sub(at))
				a.Broken = append(a.Broken, f.evidence(journals, e.User, []*tokenswitch.Exchange{before, e})...)
			}
			if before.Issued != "" {
				a.Reuses++
				break
			}
		}
		bySpent[e.Spent] = append(bySpent[e.Spent], e)
		switch {
		case e.Issued != "":
			a.Renewals++
		case e.Refused():
			refused[e.Authorization] = append(refused[e.Authorization], e)
		}
	}

	for _, list := range refused {
		a.Lost++
		first := list[0]
		// A process that was killed or suspended before it could write down what
		// the provider has said leaves it to the next one to ask again.
		heard := 0
		for _, e := range list {
			if p := byName[e.Process]; f.cause(p, journals[p], e, e.Committed.Add(soon)) == "" {
				heard++
			}
		}
		if heard > 2 {
			a.broke("%d requests for a dead grant that were answered and written down, want 2 at most", heard)
			a.Broken = append(a.Broken, f.evidence(journals, first.User, list)...)
		}
		a.Traces = append(a.Traces, fmt.Sprintf("lost: %s, at %v", first.User, first.Received))
		a.Traces = append(a.Traces, f.evidence(journals, first.User, bySpent[first.Spent])...)
		var causes []string
		for _, e := range bySpent[first.Spent] {
			if e.Issued == "" || e == first {
				continue
			}
			if at, ok := stored[e.Issued]; ok && at.Before(first.Received) {
				continue // a broken promise that is noted above
			}
			if why := f.cause(byName[e.Process], journals[byName[e.Process]], e, first.Received); why != "" {
				causes = append(causes, why)
			}
		}
		switch len(causes) {
		case 0:
			a.broke("lost without a reason: no answer with the successor of %s went missing before %s sent it at %v",
				first.Spent, first.Process, first.Received)
			a.Broken = append(a.Broken, f.evidence(journals, first.User, bySpent[first.Spent])...)
		case 1:
			a.ByCause[causes[0]]++
		default:
			a.Twice++
			a.ByCause["twice: "+strings.Join(causes, ", ")]++
		}
	}

	for _, d := range f.dead {
		if d.Healthy {
			a.broke("a healthy grant was marked dead: %+v", d)
		}
		spent := len(bySpent[d.Refresh]) > 0 && bySpent[d.Refresh][0].Issued != ""
		switch {
		case d.Reason == authprofile.ReasonInterrupted:
		case d.Reason == authprofile.ReasonRevoked && !spent: // a late answer was stored, which the provider had already ended
		default:
			a.broke("the reason is %q, want %q: %+v", d.Reason, authprofile.ReasonInterrupted, d)
		}
	}
	f.recoveries(a, journals)
	grants, err := f.Grants()
	if err != nil {
		f.t.Fatal(err)
	}
	for _, g := range grants {
		if g.Status == authprofile.StatusActive && !f.Provider.IsLive(string(g.RefreshToken)) {
			a.broke("the grant of %s counts as active, and its refresh token has ended", g.User)
		}
	}
	return a
}

// evidence returns what the logs say about a user during these requests.
func (f *Fleet) evidence(journals map[*Process][]Entry, user string, requests []*tokenswitch.Exchange) []string {
	type line struct {
		at   time.Time
		text string
	}
	var lines []line
	from, till := requests[0].Received.Add(-6*time.Second), requests[len(requests)-1].Received.Add(time.Second)
	for _, e := range requests {
		lines = append(lines, line{e.Received, fmt.Sprintf("provider: %+v", *e)})
	}
	for p, entries := range journals {
		for _, e := range entries {
			if (e.User == user || e.Kind == Stalled) && e.Time.After(from) && e.Time.Before(till) {
				lines = append(lines, line{e.Time, fmt.Sprintf("%s: %+v", p.Name, e)})
			}
		}
		if p.Killed.After(from) && p.Killed.Before(till) {
			lines = append(lines, line{p.Killed, p.Name + ": killed"})
		}
	}
	for _, e := range f.Events {
		if e.Till.After(from) && e.From.Before(till) {
			lines = append(lines, line{e.From, fmt.Sprintf("%s until %v", e.Kind, e.Till)})
		}
	}
	slices.SortFunc(lines, func(a, b line) int { return a.at.Compare(b.at) })
	text := make([]string, len(lines))
	for i, l := range lines {
		text[i] = "    " + l.at.Format("05.000 ") + l.text
	}
	return text
}

// soon is how long after the provider has committed an answer is stored at the
// latest, unless the Store fails.
const soon = 2 * time.Second

// cause says what kept the answer to e from being stored before then, or "".
func (f *Fleet) cause(p *Process, journal []Entry, e *tokenswitch.Exchange, then time.Time) string {
	overlaps := func(ev Event) bool { return ev.From.Before(then) && ev.Till.After(e.Received) }
	if e.Fault.At == tokenswitch.Answer && e.Fault.Then == tokenswitch.Drop {
		return e.Fault.String()
	}
	if p == nil {
		return ""
	}
	// The process has been killed before it could store the answer, or even
	// before the provider had read the request.
	if !p.Killed.IsZero() && p.Killed.Before(then) && p.Killed.Before(e.Committed.Add(soon)) {
		return "killed"
	}
	if slices.ContainsFunc(p.suspension, overlaps) {
		return "suspended"
	}
	// The answer has come, and the Store did not take it.
	tried := slices.ContainsFunc(journal, func(w Entry) bool {
		return w.Kind == Putting && w.Refresh == e.Issued && w.Time.Before(then)
	})
	for _, ev := range f.Events {
		if tried && ev.Kind != "killed" && overlaps(ev) {
			return ev.Kind
		}
	}
	return ""
}

// recoveries finds the leases that killed processes left behind, and how long
// they stayed.
func (f *Fleet) recoveries(a *Account, journals map[*Process][]Entry) {
	byUser := make(map[string][]Entry) // what others have put
	for _, entries := range journals {
		for _, e := range entries {
			if e.Kind == Put {
				byUser[e.User] = append(byUser[e.User], e)
			}
		}
	}
	for _, p := range f.procs {
		if p.Killed.IsZero() {
			continue
		}
		last := make(map[string]Entry)
		for _, e := range journals[p] {
			if e.Kind == Putting || e.Kind == Put {
				last[e.User] = e
			}
		}
		for user, e := range last {
			if e.Kind != Put || e.Lease == "" || user == "" {
				continue
			}
			var taken Entry
			for _, n := range byUser[user] {
				if n.Version > e.Version && (taken.Time.IsZero() || n.Time.Before(taken.Time)) {
					taken = n
				}
			}
			if taken.Time.IsZero() || taken.Time.Before(p.Killed) {
				continue // no process needed it any more, or one had taken it over already
			}
			a.Recoveries = append(a.Recoveries, taken.Time.Sub(p.Killed))
			if watcher, since := f.watched(journals, e.Lease, taken.Time); watcher != nil {
				since = later(since, p.Killed)
				since = since.Add(stalls(journals[watcher], since, taken.Time))
				if !slices.ContainsFunc(f.Events, func(ev Event) bool {
					return ev.Kind != "killed" && ev.From.Before(taken.Time) && ev.Till.After(since)
				}) {
					a.Watched = append(a.Watched, taken.Time.Sub(since))
				}
			}
		}
	}
	slices.Sort(a.Recoveries)
	slices.Sort(a.Watched)
}

// watched returns a process that lived until then and has watched a lease,
// and since when.
func (f *Fleet) watched(journals map[*Process][]Entry, lease string, then time.Time) (watcher *Process, since time.Time) {
	for p, entries := range journals {
		if !p.Killed.IsZero() && p.Killed.Before(then) || len(p.suspension) > 0 {
			continue
		}
		for _, e := range entries {
			if e.Kind == Saw && e.Lease == lease && e.Time.Before(then) && (watcher == nil || e.Time.Before(since)) {
				watcher, since = p, e.Time
			}
		}
	}
	return watcher, since
}

// stalls is for how long a process could not run.
func stalls(journal []Entry, from, till time.Time) (d time.Duration) {
	for _, e := range journal {
		if e.Kind == Stalled && e.Time.After(from) && e.Time.Before(till) {
			d += e.For
		}
	}
	return d
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// Print writes the figures as a table.
func (a *Account) Print(w io.Writer) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	defer t.Flush()
	events := make(map[string]int)
	for _, e := range a.Events {
		events[e.Kind]++
	}
	for _, kind := range sortedKeys(events) {
		fmt.Fprintf(t, "%s\t%d\n", kind, events[kind])
	}
	fmt.Fprintf(t, "refresh requests\t%d\n", a.Requests)
	fmt.Fprintf(t, "renewals\t%d\n", a.Renewals)
	fmt.Fprintf(t, "spent refresh tokens sent\t%d\n", a.Reuses)
	fmt.Fprintf(t, "authorizations lost\t%d\t%.4f per renewal\n", a.Lost, float64(a.Lost)/float64(max(1, a.Renewals)))
	for _, cause := range sortedKeys(a.ByCause) {
		fmt.Fprintf(t, "  %s\t%d\n", cause, a.ByCause[cause])
	}
	for _, r := range []struct {
		name  string
		times []time.Duration
	}{{"leases taken over", a.Recoveries}, {"  of which watched", a.Watched}} {
		if n := len(r.times); n > 0 {
			fmt.Fprintf(t, "%s\t%d\tmedian %v, longest %v\n", r.name, n,
				r.times[n/2].Round(time.Millisecond), r.times[n-1].Round(time.Millisecond))
		}
	}
}

func sortedKeys(m map[string]int) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
