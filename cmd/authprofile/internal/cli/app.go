package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/term"

	"github.com/authprofile/authprofile"
)

// loopback is the redirect address of profiles that have none: RFC 8252, section
// 7.3, lets a program on the user's machine choose the port at each
// authorization.
const loopback = "http://127.0.0.1/callback"

// An app is one run of the program.
type app struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	env            map[string]string
	browse         func(url string) error // opens a browser
	patience       time.Duration          // zero: that of the constant

	flags struct {
		store, keys, providers, tablePrefix string
		verbose                             bool
	}

	input    lineReader
	opened   *database
	managers map[string]*authprofile.Manager // by redirect address
}

// takeEnvironment returns the environment. What belongs to this program alone,
// and may be secret, is taken out of it, so that no child gets it.
func takeEnvironment() map[string]string {
	env := make(map[string]string)
	for _, line := range os.Environ() {
		name, value, _ := strings.Cut(line, "=")
		env[name] = value
		if strings.HasPrefix(name, "AUTHPROFILE_") {
			os.Unsetenv(name)
		}
	}
	return env
}

// setting returns the value of a flag, or else of a variable of the environment.
func (a *app) setting(flag, variable string) string {
	if flag != "" {
		return flag
	}
	return a.env[variable]
}

// folder returns the folder of the database and the keys that are used unless
// the user says otherwise.
func (a *app) folder() (string, error) {
	dir, err := os.UserConfigDir()
	if err != nil {
		return "", fmt.Errorf("this user has no configuration folder: say where the database is with --store and where the keys are with --keys (%w)", err)
	}
	return filepath.Join(dir, "authprofile"), nil
}

// An access says what a command does if there is no database yet.
type access int

const (
	existing access = iota // it fails
	create                 // it makes one, and a key ring
)

// open opens the database, once, and returns the Manager on it.
func (a *app) open(ctx context.Context, access access) (*authprofile.Manager, error) {
	return a.manager(ctx, access, loopback)
}

// manager is open for a Manager with another redirect address.
func (a *app) manager(ctx context.Context, access access, redirect string) (*authprofile.Manager, error) {
	if a.opened == nil {
		db, err := a.openDatabase(ctx, access)
		if err != nil {
			return nil, err
		}
		a.opened = db
	}
	if m := a.managers[redirect]; m != nil {
		return m, nil
	}
	providers, err := a.ownProviders()
	if err != nil {
		return nil, err
	}
	m := &authprofile.Manager{Store: a.opened.store, RedirectURL: redirect, Providers: providers}
	if a.flags.verbose {
		m.Logger = slog.New(slog.NewTextHandler(a.stderr, nil))
	}
	if a.managers == nil {
		a.managers = make(map[string]*authprofile.Manager)
	}
	a.managers[redirect] = m
	return m, nil
}

// ownProviders reads the providers that the user has added.
func (a *app) ownProviders() ([]authprofile.Provider, error) {
	name := a.setting(a.flags.providers, "AUTHPROFILE_PROVIDERS")
	if name == "" {
		return nil, nil
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("the file with providers: %w", err)
	}
	var own []authprofile.Provider
	if err := json.Unmarshal(text, &own); err != nil {
		return nil, fmt.Errorf("%s is not an array of providers in JSON: %w", name, jsonProblem(err))
	}
	for _, p := range own {
		if err := p.Validate(); err != nil {
			return nil, fmt.Errorf("%s: provider %q: %w", name, p.Name, err)
		}
	}
	return own, nil
}

// patience is how long a renewal under way may take to be stored at the end: the
// time of a token request, and some for the database.
const patience = 40 * time.Second

// close waits until what was renewed is stored, also after the user has
// interrupted the command, and closes the database.
func (a *app) close(ctx context.Context) (err error) {
	if a.opened == nil {
		return nil
	}
	most := patience
	if a.patience != 0 {
		most = a.patience
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), most)
	defer cancel()
	notice := time.AfterFunc(time.Second, func() {
		fmt.Fprintln(a.stderr, "authprofile: a token is being renewed or stored: this ends once it is stored. To interrupt that, twice, may cost the grant.")
	})
	defer notice.Stop()
	for _, m := range a.managers {
		if m.Shutdown(ctx) != nil {
			err = errors.Join(err, lostError{})
		}
	}
	return errors.Join(err, a.opened.db.Close())
}

// isTerminal reports whether a stream is a terminal.
func isTerminal(stream any) bool {
	f, ok := stream.(interface{ Fd() uintptr })
	return ok && term.IsTerminal(int(f.Fd()))
}
