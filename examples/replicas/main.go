// Replicas shows what authprofile is for when a service runs more than once:
// several processes share one database and the authorizations in it, each of
// them asks for tokens all the time, and some are killed before your eyes.
//
//	go run ./examples/replicas
//
// It starts PostgreSQL if that is installed, and uses a SQLite file otherwise.
// The provider is a fake within the program. As many real ones do, it replaces a
// refresh token each time it is used; if the old one is used once more after ten
// seconds it ends the authorization, and the user has to authorize again. So
// only one of all replicas may ask for each renewal, and the provider's answer
// must not get lost, whichever process is killed. After about 30 seconds the
// program ends with a table that says what became of the authorizations.
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"os"
	"os/exec"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/authprofile/authprofile"
	"github.com/authprofile/authprofile/providertest"
)

const (
	users    = 40
	replicas = 4
	kills    = 8
	lifetime = 4 * time.Second // of an access token: an hour would be too long to watch
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("replicas: ")
	worker := flag.String("worker", "", "run as the worker of that `name` (the program starts its workers itself)")
	flag.Parse()
	run := fleet
	if *worker != "" {
		run = func() error { return work(*worker) }
	}
	if err := run(); err != nil {
		log.Fatal(err)
	}
}

// work is what each replica does: it asks for the token of every user, again
// and again, as the handlers of a service would. There is nothing in it about
// other replicas.
func work(name string) error {
	ctx := context.Background()
	go func() {
		io.Copy(io.Discard, os.Stdin)
		os.Exit(0) // the process that started this one has ended
	}()
	store, err := openStore(os.Getenv("DATABASE"))
	if err != nil {
		return err
	}
	m := &authprofile.Manager{Store: store}
	crm, err := m.Profile(ctx, "crm")
	if err != nil {
		return err
	}
	for {
		for i := range users {
			go func() {
				_, err := m.Token(ctx, crm, authprofile.AsUser(person(i)))
				if errors.Is(err, authprofile.ErrReauthorize) {
					fmt.Printf("%s: %s: %v\n", name, person(i), err)
				}
			}()
		}
		time.Sleep(200 * time.Millisecond)
	}
}

func person(i int) string { return fmt.Sprintf("user-%02d", i) }

// fleet starts the provider, the database and the replicas, and makes trouble.
func fleet() error {
	ctx := context.Background()
	provider, err := providertest.Start()
	if err != nil {
		return err
	}
	defer provider.Close()
	provider.SetPolicy(providertest.Policy{
		TokenLifetime: lifetime,
		Rotation:      providertest.RotateGrace,
		Grace:         10 * time.Second,
	})
	// The provider waits before it answers, when it has already replaced the
	// refresh token, so that a replica that is killed loses an answer.
	provider.Fault(providertest.Token, providertest.Fault{
		Times: -1, Grant: "refresh_token", Committed: true, Delay: 300 * time.Millisecond,
	})

	database, name, stop, err := startDatabase()
	if err != nil {
		return err
	}
	defer stop()
	store, err := openStore(database)
	if err != nil {
		return err
	}
	if err := store.Migrate(ctx); err != nil {
		return err
	}
	m := &authprofile.Manager{Store: store, RedirectURL: "http://127.0.0.1:8976/callback"}
	crm := &authprofile.Profile{
		ID:           "crm",
		Type:         authprofile.TypeUser,
		ClientID:     providertest.ClientID,
		ClientSecret: providertest.ClientSecret,
		Endpoints:    authprofile.Endpoints{DiscoveryURL: provider.DiscoveryURL()},
		Scopes:       []string{"contacts", "offline_access"},
	}
	if err := m.Save(ctx, crm); err != nil {
		return err
	}
	for i := range users {
		if err := authorize(ctx, m, crm, provider, person(i)); err != nil {
			return err
		}
		time.Sleep(lifetime / users) // or all tokens would end at the same moment
	}
	say("%d users have authorized. Tokens live %v, the database is %s.", users, lifetime, name)

	var workers []*worker
	for i := range replicas {
		w, err := startWorker(fmt.Sprintf("replica-%d", i+1), database)
		if err != nil {
			return err
		}
		defer w.kill()
		workers = append(workers, w)
	}
	say("%d replicas are running, processes %v.", replicas, workers)
	time.Sleep(3 * time.Second)

	for n := range kills {
		// The first replica is never killed, so that one can always take over.
		w := workers[1+rand.IntN(replicas-1)]
		say("Kill %d of %d: %s, process %v.", n+1, kills, w.name, w)
		w.kill()
		time.Sleep(500 * time.Millisecond)
		if err := w.start(database); err != nil {
			return err
		}
		say("             %s is back as process %v. %d renewals so far.", w.name, w, renewals(provider))
		time.Sleep(1500 * time.Millisecond)
	}
	say("Peace, so that everything gets renewed once more ...")
	time.Sleep(8 * time.Second)
	for _, w := range workers {
		w.kill()
	}
	return report(ctx, m, provider)
}

// authorize plays a user and their browser.
func authorize(ctx context.Context, m *authprofile.Manager, p *authprofile.Profile, provider *providertest.Server, user string) error {
	flow, err := m.Begin(ctx, p, user)
	if err != nil {
		return err
	}
	back, err := provider.Authorize(flow.URL)
	if err != nil {
		return err
	}
	_, err = m.Finish(ctx, user, back.Query())
	return err
}

// A worker is a replica, seen from outside.
type worker struct {
	name  string
	cmd   *exec.Cmd
	ended chan struct{}
}

func startWorker(name, database string) (*worker, error) {
	w := &worker{name: name}
	return w, w.start(database)
}

func (w *worker) start(database string) error {
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	w.cmd = exec.Command(exe, "-worker", w.name)
	w.cmd.Env = append(os.Environ(), "DATABASE="+database)
	w.cmd.Stderr = os.Stderr
	out, err := w.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if _, err := w.cmd.StdinPipe(); err != nil { // closed when this process ends
		return err
	}
	if err := w.cmd.Start(); err != nil {
		return err
	}
	w.ended = make(chan struct{})
	go func() {
		defer close(w.ended)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			say("%s", lines.Text())
		}
		w.cmd.Wait()
	}()
	return nil
}

// kill ends the process without notice, as a crash or the lack of memory does.
func (w *worker) kill() {
	w.cmd.Process.Kill()
	<-w.ended
}

func (w *worker) String() string { return fmt.Sprint(w.cmd.Process.Pid) }

// renewals counts the requests that brought a new token.
func renewals(provider *providertest.Server) (n int) {
	for _, r := range provider.Requests() {
		if r.Grant == "refresh_token" && r.IssuedAccess != "" {
			n++
		}
	}
	return n
}

// report says what became of all authorizations.
func report(ctx context.Context, m *authprofile.Manager, provider *providertest.Server) error {
	lost, kept := 0, 0
	for g, err := range m.Grants(ctx, "crm") {
		if err != nil {
			return err
		}
		if g.Status == authprofile.StatusNeedsReauthorization || !provider.IsLive(string(g.RefreshToken)) {
			lost++
		} else {
			kept++
		}
	}
	// Each refresh token that was sent stands for one renewal. If it was sent
	// more than once, the answer was lost with a replica that was killed.
	spent := make(map[string]bool)
	for _, r := range provider.Requests() {
		if r.Grant == "refresh_token" {
			spent[r.Presented] = true
		}
	}
	requests := provider.Count("refresh_token")
	fmt.Println()
	t := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	for _, row := range []struct {
		name string
		n    int
	}{
		{"replicas killed", kills},
		{"expiries", len(spent)},
		{"token requests", requests},
		{"of which repeated, since the answer died with a replica", requests - len(spent)},
		{"authorizations kept", kept},
		{"authorizations lost", lost},
	} {
		fmt.Fprintf(t, "%s\t%d\t\n", row.name, row.n)
	}
	return t.Flush()
}

var (
	began  = time.Now()
	saying sync.Mutex
)

func say(format string, args ...any) {
	saying.Lock()
	defer saying.Unlock()
	fmt.Printf("%5.1fs  %s\n", time.Since(began).Seconds(), fmt.Sprintf(format, args...))
}
