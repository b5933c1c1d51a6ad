package cli

import (
	"fmt"

	"github.com/spf13/cobra"
	"golang.org/x/oauth2"

	"github.com/authprofile/authprofile"
)

func newGrantRenew(a *app) *cobra.Command {
	var user string
	cmd := &cobra.Command{
		Use:   "renew PROFILE",
		Short: "Get a new access token in place of the present one",
		Long: `Get a new access token in place of the present one, though that may be valid still, and
show the grant. It is renewed under the same lease as in all programs that share the
database. What was issued before may be no good at the provider any more.

If the user has to authorize, the exit code is 4, and standard error has the command
to run. If the provider or the database cannot be reached it is 5: try later.

In JSON it is an object as "grant show" has it.`,
		Example:           "  authprofile grant renew crm --user ada",
		Args:              args(1, 1),
		ValidArgsFunction: a.completeProfile,
	}
	addUser(cmd, &user)
	addOutput(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ctx := cmd.Context()
		m, p, g, err := a.grant(ctx, args[0], user)
		if err != nil {
			return err
		}
		opts := []authprofile.Option{}
		if g.User != "" {
			opts = append(opts, authprofile.AsUser(g.User))
		}
		if g.AccessToken != "" {
			// To say of a token that it was refused would end a grant that has no other.
			if p.Type == authprofile.TypeUser && g.RefreshToken == "" && g.Status == authprofile.StatusActive {
				text := fmt.Sprintf("the provider has given no refresh token for profile %q, and the present token can be used as long as it lives", p.ID)
				return adviceError{describedError{text, authprofile.ErrReauthorize}, "to get another, run: " + connectCommand(p.ID, g.User)}
			}
			opts = append(opts, authprofile.Rejected(&oauth2.Token{AccessToken: string(g.AccessToken)}))
		}
		if _, err := m.Token(ctx, p, opts...); err != nil {
			return err
		}
		if g, err = m.Grant(ctx, g.GrantKey); err != nil {
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
