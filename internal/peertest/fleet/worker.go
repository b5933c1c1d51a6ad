package fleet

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/authprofile/authprofile"
	"github.com/authprofile/authprofile/providertest"
	"github.com/authprofile/authprofile/webhook"
)

const (
	configVariable = "AUTHPROFILE_FLEET_PROCESS"
	processHeader  = "Fleet-Process" // of all requests: who asks
)

// The profiles of a fleet.
const (
	UserProfile = "crm"
	AppProfile  = "reports"
)

// A Config is what a process of a fleet is told when it starts.
type Config struct {
	// Careless processes do as many programs do: they load the refresh token,
	// use it, and save what they get, whatever other processes do.
	Careless bool

	// RenewBefore is the Manager's.
	RenewBefore time.Duration

	// Notify is the address to which package webhook delivers notices. Empty:
	// the Manager has no Notify.
	Notify string
}

// webhookSecret is what processes sign notices with.
const webhookSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

// A start is a Config with what the fleet adds.
type start struct {
	Config
	Name     string
	Database Database
	Journal  string
}

// A command is a line that a process reads. It answers with a Reply, but for
// "loop" and "maintain".
type command struct {
	Op      string // "round", "loop", "maintain", "stop"
	Users   []string
	Callers int       // in a round: for each user
	At      time.Time // when a round begins
	Pace    time.Duration
}

// A Reply is what came of a command.
type Reply struct {
	Tokens map[string]map[string]int // in a round: how many callers got which access token, by user
	Ends   time.Time                 // when the last of them expires
	Errors []string
}

// Main is the main function of a process that a Fleet has started. In any
// other process it returns at once. A test calls it from TestMain.
func Main() {
	config := os.Getenv(configVariable)
	if config == "" {
		return
	}
	var s start
	if err := json.Unmarshal([]byte(config), &s); err != nil {
		fatal(err)
	}
	if err := s.run(); err != nil {
		fatal(err)
	}
	os.Exit(0)
}

func fatal(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// A worker is a process of a fleet, seen from inside.
type worker struct {
	start
	j     *journal
	store *journalStore
	m     *authprofile.Manager
	user  *authprofile.Profile
	app   *authprofile.Profile
	token func(ctx context.Context, user string) (access string, ends time.Time, err error)
}

func (s start) run() error {
	j, err := openJournal(s.Journal)
	if err != nil {
		return err
	}
	store, db, err := s.Database.Open()
	if err != nil {
		return err
	}
	defer db.Close()
	w := &worker{start: s, j: j, store: newJournalStore(store, j)}
	w.m = &authprofile.Manager{
		Store:       w.store,
		RenewBefore: s.RenewBefore,
		HTTPClient:  &http.Client{Transport: named{s.Name, http.DefaultTransport}},
	}
	if s.Notify != "" {
		hook, err := webhook.New(s.Notify, webhookSecret)
		if err != nil {
			return err
		}
		hook.Client = w.m.HTTPClient
		w.m.Notify = hook.Notify
	}
	if w.user, err = w.profile(UserProfile); err != nil {
		return err
	}
	if w.app, err = w.profile(AppProfile); err != nil {
		return err
	}
	go w.noteStalls()
	w.token = w.careful
	if s.Careless {
		w.token = newCareless(w).token
	}
	return w.obey()
}

// noteStalls notes when the process could not run for a while.
func (w *worker) noteStalls() {
	const often = 20 * time.Millisecond
	tick := time.NewTicker(often)
	last := time.Now()
	for range tick.C {
		now := time.Now()
		if late := now.Sub(last) - often; late > 5*often {
			w.j.write(Entry{Kind: Stalled, For: late})
		}
		last = now
	}
}

// profile reads a profile. The database may be away for a moment: that is what
// the test is about.
func (w *worker) profile(id string) (*authprofile.Profile, error) {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for tries := 0; ; tries++ {
		p, err := w.m.Profile(context.Background(), id)
		if err == nil || tries > 400 {
			return p, err
		}
		<-tick.C
	}
}

func (w *worker) obey() error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var loops sync.WaitGroup
	out := json.NewEncoder(os.Stdout)
	in := json.NewDecoder(bufio.NewReader(os.Stdin))
	for {
		var c command
		if err := in.Decode(&c); err != nil {
			return err // the test has ended without a command
		}
		var r Reply
		switch c.Op {
		case "round":
			r = w.round(ctx, c)
		case "loop":
			for _, user := range c.Users {
				loops.Go(func() { w.loop(ctx, user, c.Pace) })
			}
			continue
		case "maintain":
			loops.Go(func() { w.maintain(ctx, c.Pace) })
			continue
		case "stop":
			cancel()
			loops.Wait()
			ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
			defer cancel()
			if err := w.m.Shutdown(ctx); err != nil {
				r.Errors = append(r.Errors, err.Error())
			}
		default:
			return fmt.Errorf("unknown command %q", c.Op)
		}
		if err := out.Encode(r); err != nil {
			return err
		}
		if c.Op == "stop" {
			return nil
		}
	}
}

// careful gets a token from a Manager. The empty user stands for the application
// itself.
func (w *worker) careful(ctx context.Context, user string) (string, time.Time, error) {
	p, opts := w.app, []authprofile.Option(nil)
	if user != "" {
		p, opts = w.user, []authprofile.Option{authprofile.AsUser(user)}
	}
	tok, err := w.m.Token(ctx, p, opts...)
	if err != nil {
		return "", time.Time{}, err
	}
	return tok.AccessToken, tok.Expiry, nil
}

// round lets many callers ask for each user's token at one moment, which is
// the same for all processes.
func (w *worker) round(ctx context.Context, c command) Reply {
	r := Reply{Tokens: make(map[string]map[string]int)}
	var mu sync.Mutex
	var callers sync.WaitGroup
	for _, user := range c.Users {
		r.Tokens[user] = make(map[string]int)
	}
	for _, user := range c.Users {
		for range c.Callers {
			callers.Go(func() {
				<-time.After(time.Until(c.At))
				ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
				defer cancel()
				access, ends, err := w.token(ctx, user)
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					r.Errors = append(r.Errors, err.Error())
					return
				}
				r.Tokens[user][providertest.Fingerprint(access)]++
				if ends.After(r.Ends) {
					r.Ends = ends
				}
			})
		}
	}
	callers.Wait()
	return r
}

// loop asks for a user's token again and again, and notes when that fails.
func (w *worker) loop(ctx context.Context, user string, pace time.Duration) {
	tick := time.NewTicker(pace)
	defer tick.Stop()
	var ends time.Time // of the token that the caller has
	var last string
	for {
		call, cancel := context.WithTimeout(ctx, 30*time.Second)
		_, e, err := w.token(call, user)
		cancel()
		switch {
		case err == nil:
			ends, last = e, ""
		case ctx.Err() != nil:
			return
		default:
			had := time.Now().Before(ends)
			if text := err.Error(); had || text != last {
				w.j.write(Entry{Kind: Failed, User: user, Error: text, HadToken: had})
				last = text
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// maintain runs Maintain. A pass of it comes every half minute, and each call
// begins with one: for more of them, another call is made at each pace.
func (w *worker) maintain(ctx context.Context, pace time.Duration) {
	var calls sync.WaitGroup
	defer calls.Wait()
	tick := time.NewTicker(pace)
	defer tick.Stop()
	for {
		calls.Go(func() {
			if err := w.m.Maintain(ctx); err != nil {
				w.j.write(Entry{Kind: Unkept, Error: err.Error()})
			}
		})
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// named is a transport that tells the server which process asks.
type named struct {
	name string
	base http.RoundTripper
}

func (n named) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set(processHeader, n.name)
	return n.base.RoundTrip(r)
}

// Of returns the name of the process that has sent a request.
func Of(r *http.Request) string { return r.Header.Get(processHeader) }
