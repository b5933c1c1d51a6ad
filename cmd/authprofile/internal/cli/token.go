package cli

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/oauth2"

	"github.com/authprofile/authprofile"
)

// The formats of a token.
const (
	formatRaw    = "raw"
	formatHeader = "header"
)

func newToken(a *app) *cobra.Command {
	var user string
	var minValid time.Duration
	var show bool
	cmd := &cobra.Command{
		Use:   "token PROFILE",
		Short: "Print an access token",
		Long: `Print an access token that is valid, and nothing else. If the stored one is about to
end it is renewed, under the same lease as in all programs that share the database.

Formats:

  raw     the token
  json    an object: profile_id, user (not for an application), access_token,
          token_type and expiry (RFC 3339 in UTC; left out if it is not known)
  header  the headers of a request, one a line, as curl takes them with -H @-

A token is not written to a terminal, where others may read it later: pipe it into
what needs it, or say --print.

The token is good for at least as long as --min-valid says. If the provider's tokens
do not live that long, it is printed all the same, with a line on standard error.

If the user has to authorize, the exit code is 4, and standard error has the command
to run. If the provider or the database cannot be reached it is 5: try later.

What is being renewed is finished and stored, also after an interrupt or when the
reader of a pipe is gone. If the database refuses it for 40 seconds, the token is
printed, standard error says so, and the exit code is 1.`,
		Example: `  authprofile token ci | docker login registry.example.com -u oauth2 --password-stdin
  authprofile token crm --output header | curl -H @- https://api.example.com/v1/contacts
  authprofile token crm --user ada --min-valid 15m --output json | jq -r .expiry`,
		Args:              args(1, 1),
		ValidArgsFunction: a.completeProfile,
	}
	addUser(cmd, &user)
	cmd.Flags().DurationVar(&minValid, "min-valid", time.Minute, "how long the token has to be good for")
	cmd.Flags().BoolVar(&show, "print", false, "write it even to a terminal")
	addOutput(cmd, formatRaw, formatJSON, formatHeader)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ctx := cmd.Context()
		o := a.output(cmd)
		switch {
		case o.terminal && !show:
			return usagef(cmd, "a token is not written to a terminal: pipe it into what needs it, or say --print")
		case minValid < 0:
			return usagef(cmd, "--min-valid is a time such as 5m")
		}
		m, p, err := a.openProfile(ctx, args[0])
		if err != nil {
			return err
		}
		if user, err = a.user(ctx, m, p, user); err != nil {
			return err
		}
		tok, err := a.token(ctx, m, p, user, minValid)
		if err != nil {
			return err
		}
		switch o.format {
		case formatJSON:
			return o.json(tokenView{p.ID, user, tok.AccessToken, tok.Type(), tok.Expiry.UTC()})
		case formatHeader:
			return a.writeHeader(o, p, tok)
		}
		return o.write(tok.AccessToken + "\n")
	}
	return cmd
}

// A tokenView is a token in JSON.
type tokenView struct {
	ProfileID   string    `json:"profile_id"`
	User        string    `json:"user,omitempty"`
	AccessToken string    `json:"access_token"`
	TokenType   string    `json:"token_type"`
	Expiry      time.Time `json:"expiry,omitzero"`
}

// token returns a token that is good for at least so long, if the provider issues
// such tokens. User is empty for a profile of an application.
func (a *app) token(ctx context.Context, m *authprofile.Manager, p *authprofile.Profile, user string, minValid time.Duration) (*oauth2.Token, error) {
	var opts []authprofile.Option
	if user != "" {
		opts = append(opts, authprofile.AsUser(user))
	}
	tok, err := m.Token(ctx, p, opts...)
	if err != nil || isGood(tok, minValid) {
		return tok, err
	}
	// A token whose whole life is too short would only be replaced by another one.
	g, err := m.Grant(ctx, authprofile.GrantKey{ProfileID: p.ID, User: user})
	if err != nil {
		return nil, err
	}
	if life := g.Expiry.Sub(g.Obtained); string(g.AccessToken) != tok.AccessToken || life > minValid {
		if tok, err = m.Token(ctx, p, append(opts, authprofile.Rejected(tok))...); err != nil {
			return nil, err
		}
	}
	if !isGood(tok, minValid) {
		fmt.Fprintf(a.stderr, "authprofile: the provider's tokens are good for less than %s: this one until %s\n", minValid, tok.Expiry.UTC().Format(time.RFC3339))
	}
	return tok, nil
}

// isGood reports whether a token is good for so long; one whose end is not known is
// taken to be.
func isGood(tok *oauth2.Token, d time.Duration) bool {
	return tok.Expiry.IsZero() || time.Until(tok.Expiry) >= d
}

// A header is one of a request to a provider's API.
type header struct{ name, value string }

// headers returns the headers of a request to the provider's API: the one with the
// token, and after it those that the API demands besides.
func (a *app) headers(p *authprofile.Profile, tok *oauth2.Token) ([]header, error) {
	name, _, _ := strings.Cut(string(p.Template), "/")
	row, err := a.provider(name)
	if err != nil {
		return nil, err
	}
	all := []header{{"Authorization", tok.Type() + " " + tok.AccessToken}}
	if row == nil {
		return all, nil
	}
	for _, name := range slices.Sorted(maps.Keys(row.APIHeaders)) {
		value := row.APIHeaders[name]
		if before, ok := strings.CutSuffix(value, "{token}"); ok {
			all[0] = header{name, before + tok.AccessToken}
		} else {
			all = append(all, header{name, value})
		}
	}
	return all, nil
}

// writeHeader writes the headers of a request to the provider's API.
func (a *app) writeHeader(o *output, p *authprofile.Profile, tok *oauth2.Token) error {
	all, err := a.headers(p, tok)
	if err != nil {
		return err
	}
	var lines strings.Builder
	for _, h := range all {
		lines.WriteString(h.name + ": " + h.value + "\n")
	}
	return o.write(lines.String())
}
