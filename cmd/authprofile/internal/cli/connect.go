package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/oauth2"

	"github.com/authprofile/authprofile"
)

// flowTime is how long a person may take: a flow lives as long.
const flowTime = 10 * time.Minute

func newConnect(a *app) *cobra.Command {
	var user string
	var noBrowser bool
	cmd := &cobra.Command{
		Use:   "connect PROFILE",
		Short: "Authorize a profile in the browser",
		Long: `Authorize a profile: open the provider's page in the browser, wait until the browser
comes back, and store the grant.

The browser comes back to this machine, to http://127.0.0.1/callback at a free port
(RFC 8252), or to the redirect address of the profile if it has one: at its port,
if it names one. Which address to register, "profile show" says. It listens on
loopback only, and until the browser has come back, for ten minutes at most.

With --no-browser, and in an SSH session, it prints the address of the provider's
page for a browser anywhere. If that browser is on another machine, it ends on a
page that it cannot open: paste the address of that page here. So it is with a
redirect address that is not http on loopback, such as that of a service: the page
may open, but the service does not know of the authorization, and refuses it.

Without --user it is the only user that the profile has a grant of, or else your
user name on this machine. A user who is connected already can connect anew, with
the same account.`,
		Example: `  authprofile connect crm
  authprofile connect crm --user ada --no-browser`,
		Args:              args(1, 1),
		ValidArgsFunction: a.completeProfile,
	}
	addUser(cmd, &user)
	cmd.Flags().BoolVar(&noBrowser, "no-browser", false, "print the address, and open no browser")
	addOutput(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ctx, cancel := context.WithTimeoutCause(cmd.Context(), flowTime, errTooLate)
		defer cancel()
		m, p, err := a.openProfile(ctx, args[0])
		if err != nil {
			return err
		}
		if p.Type == authprofile.TypeApp {
			return usagef(cmd, "profile %q is one of an application, which no user authorizes: authprofile token %s prints its token", p.ID, p.ID)
		}
		if user, err = a.user(ctx, m, p, user); err != nil {
			return err
		}
		noBrowser = noBrowser || a.isRemote()
		g, err := a.connect(ctx, m, p, user, noBrowser)
		if cause := context.Cause(ctx); cause == errTooLate && err != nil {
			err = cause
		}
		if err != nil {
			return err
		}
		if g.RefreshToken == "" && !g.Expiry.IsZero() {
			fmt.Fprintln(a.stderr, "authprofile: the provider gave no refresh token: when the access token ends, connect again. Is a scope missing, such as offline_access?")
		}
		o := a.output(cmd)
		if o.isJSON() {
			return o.json(g)
		}
		as := ""
		if g.Account != "" {
			as = " as " + g.Account
		}
		return o.line("Connected %s for %s%s.", p.ID, g.User, as)
	}
	return cmd
}

var errTooLate = errors.New("the browser has not come back within ten minutes: run it again")

// connect takes a user through an authorization.
func (a *app) connect(ctx context.Context, m *authprofile.Manager, p *authprofile.Profile, user string, noBrowser bool) (*authprofile.Grant, error) {
	redirect, err := url.Parse(m.RedirectAddress(p))
	if err != nil {
		return nil, err
	}
	l := &listener{redirect: redirect, result: make(chan error, 1)}
	switch {
	case isLoopback(redirect):
		if l, err = listen(redirect); err != nil {
			return nil, err
		}
		defer l.close()
		if redirect.Port() == "" {
			if m, err = a.managerAt(ctx, l.redirect.String()); err != nil {
				return nil, err
			}
		}
	case !noBrowser:
		return nil, fmt.Errorf("profile %q comes back to %s, where authprofile cannot listen: authorize it there, or say --no-browser and paste the address that the browser ends at", p.ID, withoutQuery(redirect))
	}
	flow, err := m.Begin(ctx, p, user)
	if err != nil {
		return nil, err
	}
	var g *authprofile.Grant
	finish := func(query url.Values) (err error) {
		g, err = m.Finish(ctx, user, query)
		return err
	}
	if l.sockets != nil {
		l.serve(flow.URL, flow.State, finish)
	} else {
		l.state, l.finish = flow.State, finish
	}
	if err := a.await(ctx, l, flow.URL, noBrowser); err != nil {
		// The flow is of no use any more. If it was taken, there is none.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		a.opened.store.TakeFlow(ctx, flow.ID)
		return nil, connectError(p, user, err)
	}
	return g, nil
}

// managerAt returns a Manager that has profiles come back to a port of this machine,
// also those whose own redirect address names none.
func (a *app) managerAt(ctx context.Context, redirect string) (*authprofile.Manager, error) {
	m, err := a.manager(ctx, existing, redirect)
	if err != nil {
		return nil, err
	}
	m.Store = anyPort{m.Store}
	return m, nil
}

// An anyPort is a Store in which profiles have no redirect address of their own, so
// that the Manager's holds. Nothing is saved by way of it but grants and flows.
type anyPort struct{ authprofile.Store }

func (s anyPort) Profile(ctx context.Context, id string) (*authprofile.Profile, error) {
	p, err := s.Store.Profile(ctx, id)
	if p != nil {
		p.RedirectURL = ""
	}
	return p, err
}

// await sends the user to the provider, and waits until the browser has come back.
func (a *app) await(ctx context.Context, l *listener, address string, noBrowser bool) error {
	opened := make(chan error, 1)
	var restore func()
	defer func() {
		if restore != nil {
			restore()
		}
	}()
	say := func(text string) {
		if restore != nil { // the terminal is in raw mode
			text = strings.ReplaceAll(text, "\n", "\r\n")
		}
		io.WriteString(a.stderr, text)
	}
	ask := func() (err error) {
		if restore, err = a.editLine(); err == nil { // before anyone can paste
			say(howToPaste(address, l))
		}
		return err
	}
	if noBrowser {
		if err := ask(); err != nil {
			return err
		}
	} else {
		fmt.Fprintln(a.stderr, "Opening the provider's page in your browser. This waits until the browser comes back; Ctrl-C ends it.")
		start := l.startURL()
		go func() { opened <- a.browse(start) }() // some browsers' programs end when the browser does
	}
	for {
		var lines <-chan inputLine
		if noBrowser {
			lines = a.input.next(a.stdin)
		}
		select {
		case err := <-l.result:
			return err
		case err := <-opened:
			if err != nil {
				l.unbind()
				noBrowser = true
				fmt.Fprintln(a.stderr, "No browser can be opened here.")
				if err := ask(); err != nil {
					return err
				}
			}
		case line := <-lines:
			a.input.taken()
			switch {
			case line.err != nil && (l.sockets == nil || line.err == errInterrupted):
				return line.err
			case line.err != nil:
				noBrowser = false // there is nothing more to read
				continue
			case line.text == "":
				continue
			}
			if err := l.pasted(line.text); errors.Is(err, errOtherFlow) {
				say("That is not the answer to this authorization. Paste the whole address that the browser ended at, beginning with " + clean(withoutQuery(l.redirect)) + ".\n")
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// howToPaste says what to do without a browser on this machine.
func howToPaste(address string, l *listener) string {
	when := "If the browser ends on a page that it cannot open, paste the address of that page here."
	if l.sockets == nil {
		when = "The browser comes back to " + clean(withoutQuery(l.redirect)) + ". Whatever the page says, paste its whole address here."
	}
	return fmt.Sprintf("Open this address in a browser:\n\n%s\n\n%s\n", clean(address), when)
}

func withoutQuery(u *url.URL) string {
	bare := *u
	bare.RawQuery = ""
	return bare.String()
}

// connectError says what to do if an authorization has failed.
func connectError(p *authprofile.Profile, user string, err error) error {
	again := "run it again: " + connectCommand(p.ID, user)
	refused, _ := errors.AsType[*oauth2.RetrieveError](err)
	switch {
	case errors.Is(err, authprofile.ErrUserMismatch):
		return adviceError{describedError{fmt.Sprintf("%s is connected with another account of the provider, and nothing was changed", user), err},
			"log in there with the same account, or say another --user, or first: " + shell("authprofile", "grant", "revoke", p.ID, "--user", user)}
	case refused != nil && refused.ErrorCode == "access_denied":
		return adviceError{describedError{"the provider says that access was denied", errDenied}, again}
	case errors.Is(err, authprofile.ErrConflict), errors.Is(err, authprofile.ErrNotFound):
		return adviceError{describedError{"the authorization has ended, or the profile was changed meanwhile", err}, again}
	}
	return err
}

// errDenied is what has happened when a person has refused.
var errDenied = errors.New("denied")

// discardLog returns a log that nothing is seen of: what a stray client of the
// listener does wrong is not for the user.
func discardLog() *log.Logger { return log.New(io.Discard, "", 0) }
