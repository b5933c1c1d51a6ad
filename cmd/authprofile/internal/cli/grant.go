package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/authprofile/authprofile"
)

func newGrant(a *app) *cobra.Command {
	return group("grant", "List, show, renew and revoke grants",
		`A grant is what a provider has issued for a profile and a user: the tokens, and what
is known of them. Tokens are not shown: "authprofile token" prints one.

The status of a grant is one of these:

  active                 tokens are renewed
  failing                a renewal has failed for now, and is tried again by itself
  needs_reauthorization  only its user can help, by "authprofile connect"
  needs_configuration    an administrator has to correct the profile, or its
                         registration at the provider`,
		newGrantList(a), newGrantShow(a), newGrantRenew(a), newGrantRevoke(a))
}

func newGrantList(a *app) *cobra.Command {
	var profile, user, status string
	var within days
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List grants",
		Long: `List grants by profile and user: the status, the account at the provider, since when
a renewal fails, and when the grant will end, as far as that is known. All of the
conditions hold that are given.

Grants are read as they are written, so that millions of them need no more memory
than a few. In JSON it is an array with an object for each, one a line, as "grant
show" has it. A grant that cannot be read is left out, with a line on standard error,
and the exit code is 1.`,
		Example: `  authprofile grant list --status needs_reauthorization
  authprofile grant list --profile crm --ends-within 30d --output json | jq -r '.[].user'`,
		Args: args(0, 0),
	}
	flags := cmd.Flags()
	flags.StringVarP(&profile, "profile", "p", "", "grants of this `profile`")
	flags.StringVarP(&user, "user", "u", "", "grants of this `user`")
	flags.StringVarP(&status, "status", "s", "", "grants with this `status`")
	flags.Var(&within, "ends-within", "grants that end within this `time`, such as 30d, or have ended")
	var names []string
	for _, s := range statuses {
		names = append(names, string(s))
	}
	cmd.RegisterFlagCompletionFunc("status", cobra.FixedCompletions(names, cobra.ShellCompDirectiveNoFileComp))
	cmd.RegisterFlagCompletionFunc("profile", func(cmd *cobra.Command, _ []string, text string) ([]cobra.Completion, cobra.ShellCompDirective) {
		return a.completeProfile(cmd, nil, text)
	})
	addOutput(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		ctx := cmd.Context()
		if status != "" && !slices.Contains(names, status) {
			return usagef(cmd, "--status is one of %s", strings.Join(names, ", "))
		}
		m, err := a.open(ctx, existing)
		if err != nil {
			return err
		}
		f := authprofile.GrantFilter{User: user, Status: authprofile.Status(status)}
		if within != 0 {
			f.EndsBefore = time.Now().Add(time.Duration(within))
		}
		if profile != "" {
			p, err := a.profile(ctx, m, profile)
			if err != nil {
				return err
			}
			f.ProfileID = p.ID
		}
		return a.listGrants(ctx, m, f, a.output(cmd))
	}
	return cmd
}

// listGrants writes the grants that pass a filter, page by page.
func (a *app) listGrants(ctx context.Context, m *authprofile.Manager, f authprofile.GrantFilter, o *output) error {
	t := o.table("PROFILE", "USER", "STATUS", "ACCOUNT", "FAILING SINCE", "ENDS")
	var unread error
	for after := (authprofile.GrantKey{}); ; {
		grants, err := m.ListGrants(ctx, f, after, page)
		unread = cmp.Or(unread, err) // one page of them says enough: there may be a million
		for _, g := range grants {
			row := cells(g.ProfileID, g.User, string(g.Status), g.Account, o.time(failingSince(g)), o.time(g.Ends))
			row[2].colour = statusColour(g.Status)
			if err := t.row(g, row); err != nil {
				return err
			}
		}
		if err := t.flush(); err != nil {
			return err
		}
		if len(grants) < page {
			return errors.Join(t.end(), unreadable(unread))
		}
		after = grants[page-1].GrantKey
	}
}

func failingSince(g *authprofile.Grant) time.Time {
	if g.Failure == nil {
		return time.Time{}
	}
	return g.Failure.Since
}

func newGrantShow(a *app) *cobra.Command {
	var user string
	cmd := &cobra.Command{
		Use:   "show PROFILE",
		Short: "Show a grant",
		Long: `Show a grant: its state, and why; whose account it is; the scopes; and when it ends, as
far as that is known. Its tokens are not shown, and of what else the provider has said
only the names.

In JSON it is an object with profile_id, user, status, failure, account, scopes,
requested, authorized, expiry, ends and others. Tokens, and what else the provider has
said in extra, are "[redacted]".

If there is no grant yet, the exit code is 4, and standard error has the command to
run.`,
		Example:           "  authprofile grant show crm --user ada",
		Args:              args(1, 1),
		ValidArgsFunction: a.completeProfile,
	}
	addUser(cmd, &user)
	addOutput(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		_, p, g, err := a.grant(cmd.Context(), args[0], user)
		if err != nil {
			return err
		}
		o := a.output(cmd)
		if o.isJSON() {
			return o.json(g)
		}
		return o.grant(p, g)
	}
	return cmd
}

// grant reads the grant of a profile and a user, as a command was given them.
func (a *app) grant(ctx context.Context, profile, user string) (*authprofile.Manager, *authprofile.Profile, *authprofile.Grant, error) {
	m, p, err := a.openProfile(ctx, profile)
	if err != nil {
		return nil, nil, nil, err
	}
	if user, err = a.user(ctx, m, p, user); err != nil {
		return nil, nil, nil, err
	}
	g, err := m.Grant(ctx, authprofile.GrantKey{ProfileID: p.ID, User: user})
	switch {
	case errors.Is(err, authprofile.ErrNotFound) && p.Type == authprofile.TypeApp:
		err = fmt.Errorf("profile %q has no token yet: %s gets one", p.ID, shell("authprofile", "token", p.ID))
	case errors.Is(err, authprofile.ErrNotFound):
		none := fmt.Errorf("profile %q has no grant of user %q", p.ID, user)
		err = adviceError{describedError{none.Error(), authprofile.ErrReauthorize}, "run: " + connectCommand(p.ID, user)}
	}
	return m, p, g, err
}

// grant writes all that people need to know of a grant.
func (o *output) grant(p *authprofile.Profile, g *authprofile.Grant) error {
	state := cells("State", statusWords[g.Status])
	state[1].colour = statusColour(g.Status)
	pairs := [][]cell{
		cells("Profile", strings.TrimSpace(p.ID+"  "+p.Name)),
		cells("User", g.User),
		cells("Account", g.Account),
		state,
	}
	if f := g.Failure; f != nil {
		next := o.time(f.Next)
		switch {
		case next == "":
			next = "none, until a person helps"
		case f.Paced:
			next += ", as the provider has said"
		default:
			next += ", or when a program asks for a token after that"
		}
		pairs = append(pairs,
			cells("Reason", reasonOf(f)),
			cells("Since", o.time(f.Since)),
			cells("Last attempt", fmt.Sprintf("%s, %d in a row", o.time(f.Last), f.Attempts)),
			cells("Next attempt", next))
	}
	ends := o.time(g.Ends)
	if how := endsWords[g.EndsBy]; ends != "" && how != "" {
		ends += ", " + how
	}
	token := o.time(g.Expiry)
	switch {
	case g.AccessToken == "":
		token = "none"
	case token == "":
		token = "until a time that is not known"
	default:
		token = "until " + token
	}
	renewal := "by refresh token"
	switch {
	case p.Type == authprofile.TypeApp:
		renewal = "by the client itself"
	case g.RefreshToken == "":
		renewal = "not possible: there is no refresh token"
	}
	if g.Lease != nil {
		renewal += "; under way, or interrupted"
	}
	missing := slices.DeleteFunc(slices.Clone(g.Requested), func(s string) bool { return slices.Contains(g.Scopes, s) })
	return o.fields(append(pairs,
		cells("What to do", whatToDo(g)),
		cells("Scopes granted", strings.Join(g.Scopes, " ")),
		cells("Scopes not granted", strings.Join(missing, " ")),
		cells("Access token", token),
		cells("Renewal", renewal),
		cells("Authorized", o.time(g.Authorized)),
		cells("Obtained", o.time(g.Obtained)),
		cells("Ends", ends),
		cells("Issuer", g.Issuer),
		cells("Subject", g.Subject),
		cells("Client ID", g.ClientID),
		cells("Further members", strings.Join(slices.Sorted(maps.Keys(g.Extra)), " ")),
		cells("Created", o.time(g.Created)),
		cells("Updated", o.time(g.Updated)))...)
}
