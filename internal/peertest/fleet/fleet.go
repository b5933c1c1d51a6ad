// Package fleet runs processes that share a Store, kills them, and accounts
// for every authorization from what the provider and the processes have noted.
package fleet

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/authprofile/authprofile"
	"github.com/authprofile/authprofile/providertest"
)

// A Fleet is a number of processes that share a database and a provider.
type Fleet struct {
	Provider *Provider
	Database Database
	Store    authprofile.Store    // the test's own handle
	Manager  *authprofile.Manager // with that Store; it authorizes, and renews nothing by itself

	Events []Event // what was done to the fleet

	t     testing.TB
	dir   string
	user  *authprofile.Profile
	app   *authprofile.Profile
	procs []*Process
	dead  []Death
}

// An Event is something that was done to the fleet.
type Event struct {
	Kind       string
	From, Till time.Time
}

// New returns a Fleet without processes, on an empty database.
func New(t testing.TB, db Database, p *Provider) *Fleet {
	t.Helper()
	store, pool, err := db.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pool.Close() })
	if err := store.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	f := &Fleet{
		Provider: p, Database: db, Store: store,
		Manager: &authprofile.Manager{Store: store, RedirectURL: "http://127.0.0.1:8976/callback"},
		t:       t, dir: t.TempDir(),
	}
	t.Cleanup(func() { f.Manager.Shutdown(context.Background()) })
	endpoints := authprofile.Endpoints{AuthURL: p.AuthURL(), TokenURL: p.TokenURL()}
	f.user = &authprofile.Profile{
		ID: UserProfile, Type: authprofile.TypeUser,
		ClientID: providertest.ClientID, ClientSecret: providertest.ClientSecret,
		Endpoints: endpoints, Scopes: []string{"contacts", "offline_access"},
	}
	endpoints.AuthURL = ""
	f.app = &authprofile.Profile{
		ID: AppProfile, Type: authprofile.TypeApp,
		ClientID: providertest.ClientID, ClientSecret: providertest.ClientSecret,
		Endpoints: endpoints,
	}
	for _, p := range []*authprofile.Profile{f.user, f.app} {
		if err := f.Manager.Save(t.Context(), p); err != nil {
			t.Fatal(err)
		}
	}
	return f
}

// Authorize has users authorize the fleet.
func (f *Fleet) Authorize(users ...string) {
	f.t.Helper()
	for _, user := range users {
		if err := f.Provider.Authorize(f.t.Context(), f.Manager, f.user, user); err != nil {
			f.t.Fatal(err)
		}
	}
}

// User returns the profile of the users.
func (f *Fleet) User() *authprofile.Profile { return f.user }

// Grant returns what is stored for a user.
func (f *Fleet) Grant(user string) (*authprofile.Grant, error) {
	ctx, cancel := context.WithTimeout(f.t.Context(), 5*time.Second)
	defer cancel()
	return f.Store.Grant(ctx, authprofile.GrantKey{ProfileID: UserProfile, User: user})
}

// Grants returns what is stored for all users.
func (f *Fleet) Grants() ([]*authprofile.Grant, error) {
	ctx, cancel := context.WithTimeout(f.t.Context(), 5*time.Second)
	defer cancel()
	var list []*authprofile.Grant
	for g, err := range f.Manager.Grants(ctx, UserProfile) {
		if err != nil {
			return nil, err
		}
		list = append(list, g)
	}
	return list, nil
}

// A Process is one process of a fleet.
type Process struct {
	Name string

	Killed     time.Time // zero: it was not
	Suspended  time.Time // zero: it was not, or has gone on
	suspension []Event

	f       *Fleet
	journal string
	cmd     *exec.Cmd
	in      *json.Encoder
	out     *json.Decoder
	stderr  bytes.Buffer
	ended   chan struct{} // closed at its end
	err     error         // why it ended, unless by itself and well
}

// Start starts a process. It is killed when the test ends.
func (f *Fleet) Start(c Config) *Process {
	f.t.Helper()
	name := fmt.Sprintf("process-%d", len(f.procs)+1)
	p := &Process{Name: name, f: f, journal: filepath.Join(f.dir, name), ended: make(chan struct{})}
	f.procs = append(f.procs, p)
	config, err := json.Marshal(start{Config: c, Name: name, Database: f.Database, Journal: p.journal})
	if err != nil {
		f.t.Fatal(err)
	}
	exe, err := os.Executable()
	if err != nil {
		f.t.Fatal(err)
	}
	p.cmd = exec.Command(exe, "-test.run=^$") // no test, should TestMain not call Main
	p.cmd.Env = append(os.Environ(), configVariable+"="+string(config))
	p.cmd.Stderr = &p.stderr
	dieWithParent(p.cmd)
	in, err := p.cmd.StdinPipe()
	if err != nil {
		f.t.Fatal(err)
	}
	out, theirs, err := os.Pipe() // which Wait does not close, as it does with StdoutPipe
	if err != nil {
		f.t.Fatal(err)
	}
	p.cmd.Stdout = theirs
	p.in, p.out = json.NewEncoder(in), json.NewDecoder(out)
	started := make(chan error)
	go func() {
		// The kernel ends a child together with the thread that started it.
		runtime.LockOSThread()
		defer close(p.ended)
		err := p.cmd.Start()
		started <- err
		if err == nil {
			p.err = p.cmd.Wait()
		}
	}()
	err = <-started
	theirs.Close()
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() {
		p.cmd.Process.Kill()
		p.end()
		out.Close()
		if f.t.Failed() && p.stderr.Len() > 0 {
			f.t.Logf("%s: %v\n%s", p.Name, p.err, &p.stderr)
		}
	})
	return p
}

// end waits until the process has ended.
func (p *Process) end() error {
	<-p.ended
	return p.err
}

func (p *Process) send(c command) {
	p.f.t.Helper()
	if err := p.in.Encode(c); err != nil {
		p.f.t.Errorf("%s: %v", p.Name, err)
	}
}

func (p *Process) reply() Reply {
	p.f.t.Helper()
	var r Reply
	if err := p.out.Decode(&r); err != nil {
		p.cmd.Process.Kill()
		p.f.t.Fatalf("%s: %v: %v\n%s", p.Name, err, p.end(), &p.stderr)
	}
	return r
}

// Loop has callers ask for each user's token again and again: the same ones
// until the process ends.
func (p *Process) Loop(pace time.Duration, users ...string) {
	p.f.t.Helper()
	p.send(command{Op: "loop", Users: users, Pace: pace})
}

// Maintain has the process run Maintain, with one more pass at each pace, until
// the process ends.
func (p *Process) Maintain(pace time.Duration) {
	p.f.t.Helper()
	p.send(command{Op: "maintain", Pace: pace})
}

// Round has callers in each of the processes ask for each user's token, all
// at the same moment, and returns what each process has to say.
func Round(at time.Time, procs []*Process, callers int, users ...string) []Reply {
	var replies []Reply
	for _, p := range procs {
		p.f.t.Helper()
		p.send(command{Op: "round", Users: users, Callers: callers, At: at})
	}
	for _, p := range procs {
		replies = append(replies, p.reply())
	}
	return replies
}

// Kill ends the process at once (SIGKILL).
func (p *Process) Kill() {
	p.Killed = time.Now()
	p.cmd.Process.Kill()
	p.end()
	p.f.Note("killed", p.Killed)
}

// Suspend stops the process (SIGSTOP) until Resume.
func (p *Process) Suspend() {
	p.Suspended = time.Now()
	p.cmd.Process.Signal(syscall.SIGSTOP)
}

// Resume lets the process go on (SIGCONT).
func (p *Process) Resume() {
	e := Event{"suspended", p.Suspended, time.Now()}
	p.Suspended = time.Time{}
	p.suspension = append(p.suspension, e)
	p.f.Events = append(p.f.Events, e)
	p.cmd.Process.Signal(syscall.SIGCONT)
}

// Note adds to the events what was done to the fleet since from.
func (f *Fleet) Note(kind string, from time.Time) {
	f.Events = append(f.Events, Event{kind, from, time.Now()})
}

// Stop shuts the process down. It must come to an end by itself, in order.
func (p *Process) Stop() {
	t := p.f.t
	t.Helper()
	p.send(command{Op: "stop"})
	var r Reply
	if err := p.out.Decode(&r); err != nil {
		t.Errorf("%s: %v", p.Name, err)
	}
	for _, e := range r.Errors {
		t.Errorf("%s: %s", p.Name, e)
	}
	if err := p.end(); err != nil {
		t.Errorf("%s: %v\n%s", p.Name, err, &p.stderr)
	}
}

// Journal returns what the process has noted.
func (p *Process) Journal() []Entry {
	p.f.t.Helper()
	return readJournal(p.f.t, p.journal)
}

// Until polls until done, and fails the test if that takes longer than the
// limit.
func Until(t testing.TB, limit time.Duration, what string, done func() bool) {
	t.Helper()
	if !poll(t.Context(), limit, done) {
		t.Fatalf("after %v: still waiting until %s", limit, what)
	}
}

func poll(ctx context.Context, limit time.Duration, done func() bool) bool {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return false
		}
	}
	return true
}
