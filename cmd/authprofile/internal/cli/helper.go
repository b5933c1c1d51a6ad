package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/oauth2"

	"github.com/authprofile/authprofile"
	"github.com/authprofile/authprofile/internal/address"
)

func newHelper(a *app) *cobra.Command {
	return group("helper", "Give tokens to git, docker, kubectl, bazel and go",
		`Give tokens to other programs, each in the protocol that it speaks. These programs run
the helper themselves; "authprofile help helper git" and its like say what to write
into their configuration.

A helper answers only for the hosts that the profile names as those of its API
("api_hosts" in JSON): "git.example.com" is that host at any port,
"git.example.com:8443" at that one, and ".example.com" is all hosts below
example.com. A profile that names none is answered for none. To name them:

  authprofile profile show ci --output json >ci.json
  $EDITOR ci.json                  # "api_hosts": ["git.example.com"]
  authprofile profile apply --file ci.json

It answers for https, and for http on a loopback host. What it does not answer for
it says on standard error, and in the way of the protocol.

A helper never opens a browser, and never asks a question. If the user has to
authorize, it gives nothing: the exit code is 4, and standard error has the command
to run. A token is not written to a terminal.`,
		newHelperGit(a), newHelperDocker(a), newHelperKubernetes(a), newHelperBazel(a), newHelperGoauth(a))
}

// newHelperOf returns the command of one protocol, without what it does.
func newHelperOf(a *app, user *string, use, short, long, example string, arguments cobra.PositionalArgs) *cobra.Command {
	cmd := &cobra.Command{
		Use: use, Short: short, Long: long, Example: example,
		Args:              arguments,
		ValidArgsFunction: a.completeProfile,
	}
	addUser(cmd, user)
	return cmd
}

// A helped is the profile whose tokens a helper gives, and the user.
type helped struct {
	a    *app
	m    *authprofile.Manager
	p    *authprofile.Profile
	user string // empty for an application, and until token is called
}

// helped finds the profile of a helper.
func (a *app) helped(cmd *cobra.Command, profile, user string) (*helped, error) {
	if isTerminal(a.stdout) {
		return nil, usagef(cmd, "a token is not written to a terminal: %q is for another program to run", cmd.CommandPath())
	}
	m, p, err := a.openProfile(cmd.Context(), profile)
	return &helped{a, m, p, user}, err
}

// A foreignError says that a helper gives no token for a host.
type foreignError struct{ problem string }

func (e foreignError) Error() string { return e.problem }

// allows returns a foreignError unless a token may be sent to a host, with its port
// if it has one. The scheme is that of a URL.
func (h *helped) allows(scheme, host string) error {
	origin := scheme + "://" + host + "/"
	if err := address.Check(origin); err != nil {
		return foreignError{"no token is given: the address that it is for " + err.Error()}
	}
	u, err := url.Parse(origin)
	switch {
	case err != nil || u.Host != host:
		return foreignError{"no token is given: the address that it is for has a host that is none"}
	case len(h.p.APIHosts) == 0:
		return h.namesNone()
	case !address.AllowsHost(h.p.APIHosts, u):
		return foreignError{fmt.Sprintf("no token is given for %q: the hosts of the API of profile %q are %s", host, h.p.ID, strings.Join(h.p.APIHosts, ", "))}
	}
	return nil
}

// namesNone returns the foreignError of a profile without hosts.
func (h *helped) namesNone() error {
	return foreignError{fmt.Sprintf(`no token is given: profile %q names no hosts of its API: see "authprofile helper --help"`, h.p.ID)}
}

// allowsURL is allows for an address, which may have a path and a query.
func (h *helped) allowsURL(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Opaque != "":
		return nil, foreignError{"no token is given: what it is for is not an address"}
	case u.User != nil:
		return nil, foreignError{"no token is given: the address that it is for must not have a user or password in it"}
	}
	return u, h.allows(u.Scheme, u.Host)
}

// helperValidity is how long a token has to be good for: the program that gets it
// may use it some time later.
const helperValidity = time.Minute

// token returns a token, and the headers that bring it to the API. The first of
// these has the token.
func (h *helped) token(ctx context.Context) (*oauth2.Token, []header, error) {
	var err error
	if h.user, err = h.a.user(ctx, h.m, h.p, h.user); err != nil {
		return nil, nil, err
	}
	tok, err := h.a.token(ctx, h.m, h.p, h.user, helperValidity)
	if err != nil {
		return nil, nil, err
	}
	headers, err := h.a.headers(h.p, tok)
	return tok, headers, err
}

// untried is how long after it was issued a token is taken for one that no server
// has seen. It bounds what a server that refuses every token costs, since each
// refusal is another process; and where the protocol does not tell which token was
// refused, it keeps requests at the same time from replacing one token several times.
const untried = 30 * time.Second

// tokenAfter is token after a server has refused one, which is told by its text. If
// it is the stored one, another takes its place.
func (h *helped) tokenAfter(ctx context.Context, isRefused func(token string) bool) (*oauth2.Token, []header, error) {
	tok, headers, err := h.token(ctx)
	if err != nil || !isRefused(tok.AccessToken) {
		return tok, headers, err
	}
	key := authprofile.GrantKey{ProfileID: h.p.ID, User: h.user}
	g, err := h.m.Grant(ctx, key)
	if err != nil || time.Since(g.Obtained) < untried {
		return tok, headers, err
	}
	opts := []authprofile.Option{authprofile.Rejected(tok)}
	if h.user != "" {
		opts = append(opts, authprofile.AsUser(h.user))
	}
	if tok, err = h.m.Token(ctx, h.p, opts...); err != nil {
		return nil, nil, err
	}
	headers, err = h.a.headers(h.p, tok)
	return tok, headers, err
}

// bearer returns an error unless a header is that of RFC 6750, which is all that
// some programs can send.
func (h header) bearer(program string) error {
	if scheme, err := h.scheme(program); err != nil || strings.EqualFold(scheme, "Bearer") {
		return err
	}
	return fmt.Errorf("the API wants another scheme than Bearer, which %s cannot send", program)
}

// scheme returns the authentication scheme of a header (RFC 9110, section 11.1), or
// an error if the token is in another header than Authorization, or has no scheme.
func (h header) scheme(program string) (string, error) {
	scheme, _, ok := strings.Cut(h.value, " ")
	if !ok || !strings.EqualFold(h.name, "Authorization") {
		return "", fmt.Errorf("the API wants the token in the header %s, which %s cannot send", h.name, program)
	}
	return scheme, nil
}

// answer writes what a helper has to say to its program.
func (a *app) answer(text string) error {
	o := output{w: a.stdout}
	return o.write(text)
}

// maxRequest bounds what a helper reads from a program, in bytes.
const maxRequest = 1 << 20

var errLongRequest = errors.New("the request on standard input is longer than 1 MiB")

// readRequest reads the request of a program. A context that ends leaves the read to
// itself, since it cannot be ended.
func readRequest[T any](ctx context.Context, r io.Reader, parse func(io.Reader) (T, error)) (T, error) {
	type result struct {
		request T
		err     error
	}
	results := make(chan result, 1)
	go func() {
		limited := &io.LimitedReader{R: r, N: maxRequest + 1}
		request, err := parse(limited)
		if limited.N <= 0 {
			err = errLongRequest
		}
		results <- result{request, err}
	}()
	select {
	case got := <-results:
		return got.request, got.err
	case <-ctx.Done():
		var none T
		return none, ctx.Err()
	}
}
