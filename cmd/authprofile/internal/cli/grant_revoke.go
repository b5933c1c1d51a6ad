package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/authprofile/authprofile"
)

func newGrantRevoke(a *app) *cobra.Command {
	var users []string
	var all, yes bool
	cmd := &cobra.Command{
		Use:   "revoke PROFILE",
		Short: "End grants, at the provider and here",
		Long: `End the grant of a user: at the provider, if that has an address for it (RFC 7009), and
here, whatever the provider says. With --user more than once, or --all-users, it ends
several, one after the other, and has a line for each.

It cannot be undone: the users have to connect anew. On a terminal it asks first.
Elsewhere it wants --yes. Services may go on with an access token that they have in
memory, to its end.

The outcome of each is one of these, and of failed ones there is a reason:

  revoked  the provider was told, and has agreed
  deleted  the provider has no address for revocations, or it is not known whether it
           has one: it was told if it has
  unsure   the grant is deleted here, and the provider has not agreed: the tokens may
           live on there
  failed   the grant is still here: try again
  none     there was no such grant

If one is unsure or failed, the exit code is 1. In JSON it is an array of objects with
profile_id, user, outcome and reason.`,
		Example: `  authprofile grant revoke crm --user ada --yes
  authprofile grant revoke crm --all-users --yes --output json`,
		Args:              args(1, 1),
		ValidArgsFunction: a.completeProfile,
	}
	flags := cmd.Flags()
	flags.StringArrayVarP(&users, "user", "u", nil, "a `user` whose grant ends; can be repeated; without it the only one that there is")
	flags.BoolVar(&all, "all-users", false, "the grants of all users of the profile")
	flags.BoolVarP(&yes, "yes", "y", false, "do not ask")
	addOutput(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ctx := cmd.Context()
		if all && users != nil {
			return usagef(cmd, "--all-users and --user exclude one another")
		}
		m, p, err := a.openProfile(ctx, args[0])
		if err != nil {
			return err
		}
		r := &revoker{m: m, p: p, t: a.output(cmd).table("USER", "OUTCOME", "REASON")}
		question := ""
		if all {
			counts, err := m.Count(ctx, p.ID)
			if err != nil {
				return err
			}
			var n int64
			for _, c := range counts {
				n += c
			}
			question = fmt.Sprintf("all %d grants of profile %q", n, p.ID)
		} else {
			if users == nil || p.Type == authprofile.TypeApp {
				user, err := a.user(ctx, m, p, strings.Join(users, ", "))
				if err != nil {
					return err
				}
				users = []string{user}
			}
			question = fmt.Sprintf("the grant of %s of profile %q", strings.Join(users, ", "), p.ID)
			if p.Type == authprofile.TypeApp {
				question = fmt.Sprintf("the grant of profile %q", p.ID)
			}
		}
		if !yes {
			if !a.canAsk() {
				return usagef(cmd, "this ends %s, which cannot be undone: say --yes", question)
			}
			sure, err := a.confirm(ctx, "End "+question+"? It cannot be undone.")
			if err != nil {
				return err
			}
			if !sure {
				return errors.New("nothing was revoked")
			}
		}
		r.told = a.isTold(ctx, m, p)
		if all {
			return r.all(ctx)
		}
		for _, user := range users {
			if err := r.revoke(ctx, user); err != nil {
				return errors.Join(err, r.t.end())
			}
		}
		return r.end()
	}
	return cmd
}

// The outcomes of a revocation.
const (
	outcomeRevoked = "revoked"
	outcomeDeleted = "deleted"
	outcomeUnsure  = "unsure"
	outcomeFailed  = "failed"
	outcomeNone    = "none"
)

// A revocation is what came of one, in JSON.
type revocation struct {
	authprofile.GrantKey
	Outcome string `json:"outcome"`
	Reason  string `json:"reason,omitempty"`
}

// A revoker ends grants of a profile, and writes what came of it.
type revoker struct {
	m    *authprofile.Manager
	p    *authprofile.Profile
	t    *table
	told bool // the provider has an address for revocations
	bad  int  // grants that have not ended as they should
}

// all ends the grants of all users.
func (r *revoker) all(ctx context.Context) error {
	var unread error
	for g, err := range r.m.Grants(ctx, r.p.ID) {
		if err != nil {
			unread = err
			continue
		}
		if err := r.revoke(ctx, g.User); err != nil {
			return errors.Join(err, r.t.end())
		}
	}
	return errors.Join(r.end(), unreadable(unread))
}

// revoke ends the grant of a user. The error is one of the output, or of ctx.
func (r *revoker) revoke(ctx context.Context, user string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	key := authprofile.GrantKey{ProfileID: r.p.ID, User: user}
	v := revocation{GrantKey: key, Outcome: outcomeDeleted}
	if r.told {
		v.Outcome = outcomeRevoked
	}
	if _, err := r.m.Grant(ctx, key); errors.Is(err, authprofile.ErrNotFound) {
		v.Outcome = outcomeNone
	} else if err := r.m.Revoke(ctx, key); err != nil {
		v.Outcome, v.Reason = outcomeUnsure, strings.TrimPrefix(err.Error(), "authprofile: ")
		if _, left := r.m.Grant(context.WithoutCancel(ctx), key); !errors.Is(left, authprofile.ErrNotFound) {
			v.Outcome = outcomeFailed
		}
		r.bad++
	}
	row := cells(user, v.Outcome, v.Reason)
	switch v.Outcome {
	case outcomeRevoked, outcomeDeleted:
		row[1].colour = green
	case outcomeUnsure, outcomeFailed:
		row[1].colour = red
	}
	if err := r.t.row(v, row); err != nil {
		return err
	}
	return r.t.flush()
}

func (r *revoker) end() error {
	err := r.t.end()
	if r.bad > 0 {
		err = errors.Join(err, errors.New(plural(int64(r.bad), "grant")+" could not be ended at the provider, or here"))
	}
	return err
}

// isTold reports whether the provider of a profile is known to have an address for
// revocations.
func (a *app) isTold(ctx context.Context, m *authprofile.Manager, p *authprofile.Profile) bool {
	document := p.Endpoints.DiscoveryURL
	if name, _, _ := strings.Cut(string(p.Template), "/"); name != "" {
		row, err := a.provider(name)
		if err != nil || row == nil {
			return false
		}
		if row.Revocation != nil && row.Revocation.URL != "" {
			return true
		}
		document = row.DiscoveryURL
	}
	if p.Endpoints.RevocationURL != "" {
		return true
	}
	if document == "" || strings.Contains(document, "{") {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	md, err := m.Discover(ctx, document)
	return err == nil && md.RevocationURL != ""
}
