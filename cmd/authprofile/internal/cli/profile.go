package cli

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/authprofile/authprofile"
)

func newProfile(a *app) *cobra.Command {
	return group("profile", "Add, show, change and delete profiles",
		`A profile says how an application is registered at a provider: which provider, the
client ID and how the client authenticates, what to ask for, and on whose behalf:
that of users, or of the application itself.

Where a command takes a PROFILE, it is an ID, or a name that only one profile has.`,
		newProfileAdd(a), newProfileApply(a), newProfileList(a), newProfileShow(a), newProfileDelete(a))
}

func newProfileList(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List all profiles",
		Long: `List all profiles by ID: the name, the type, the provider and the client ID.

In JSON each is an object as "profile show" has it. A profile that cannot be read
is left out, with a line on standard error, and the exit code is 1.`,
		Example: "  authprofile profile list\n  authprofile profile list --output json | jq -r '.[].id'",
		Args:    args(0, 0),
	}
	addOutput(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		ctx := cmd.Context()
		m, err := a.open(ctx, existing)
		if err != nil {
			return err
		}
		t := a.output(cmd).table("ID", "NAME", "TYPE", "PROVIDER", "CLIENT ID")
		var unread error
		for after := ""; ; {
			profiles, err := m.ListProfiles(ctx, after, page)
			unread = errors.Join(unread, err)
			for _, p := range profiles {
				if err := t.row(p, cells(p.ID, p.Name, string(p.Type), providerOf(p), p.ClientID)); err != nil {
					return err
				}
			}
			if err := t.flush(); err != nil {
				return err
			}
			if len(profiles) < page {
				return errors.Join(t.end(), unread)
			}
			after = profiles[page-1].ID
		}
	}
	return cmd
}

// providerOf says for people which provider a profile has.
func providerOf(p *authprofile.Profile) string {
	if p.Template != "" {
		return string(p.Template)
	}
	for _, address := range []string{p.Endpoints.DiscoveryURL, p.Endpoints.TokenURL} {
		if u, err := url.Parse(address); err == nil && u.Host != "" {
			return u.Host
		}
	}
	return ""
}

func newProfileShow(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "show PROFILE",
		Short: "Show a profile",
		Long: `Show a profile. Whether it has a client secret or a key is shown, and never which.

In JSON it is the object that "profile apply" reads: client_secret and client_key
are "[redacted]" if there are any, which "profile apply" takes for no change.`,
		Example:           "  authprofile profile show crm\n  authprofile profile show crm --output json > crm.json",
		Args:              args(1, 1),
		ValidArgsFunction: a.completeProfile,
	}
	addOutput(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		m, p, err := a.openProfile(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		o := a.output(cmd)
		if o.isJSON() {
			return o.json(p)
		}
		authentication := string(p.AuthMethod)
		switch {
		case p.ClientSecret != "":
			authentication = strings.TrimSpace(authentication + " (a secret is stored)")
		case p.ClientKey != "":
			authentication = strings.TrimSpace(authentication + " (a key is stored)")
		}
		pairs := [][]cell{
			cells("ID", p.ID),
			cells("Name", p.Name),
			cells("Description", p.Description),
			cells("Type", string(p.Type)),
			cells("Template", string(p.Template)),
			cells("Discovery URL", p.Endpoints.DiscoveryURL),
			cells("Authorization URL", p.Endpoints.AuthURL),
			cells("Token URL", p.Endpoints.TokenURL),
			cells("Revocation URL", p.Endpoints.RevocationURL),
			cells("Device authorization URL", p.Endpoints.DeviceAuthURL),
			cells("PAR URL", p.Endpoints.PARURL),
			cells("Client ID", p.ClientID),
			cells("Authentication", authentication),
			cells("Scopes", strings.Join(p.Scopes, " ")),
			cells("API hosts", strings.Join(p.APIHosts, " ")),
		}
		if p.Type == authprofile.TypeUser {
			pairs = append(pairs, cells("Redirect address", m.RedirectAddress(p)))
		}
		for _, params := range []struct {
			name   string
			values url.Values
		}{{"Parameter", p.Params}, {"Token parameter", p.TokenParams}} {
			for _, name := range slices.Sorted(maps.Keys(params.values)) {
				for _, value := range params.values[name] {
					pairs = append(pairs, cells(params.name, name+"="+value))
				}
			}
		}
		if p.KeepAlive != 0 {
			pairs = append(pairs, cells("Keep alive", p.KeepAlive.String()))
		}
		return o.fields(append(pairs,
			cells("Secret expires", o.time(p.SecretExpires)),
			cells("Created", o.time(p.Created)),
			cells("Updated", o.time(p.Updated)))...)
	}
	return cmd
}

func newProfileDelete(a *app) *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use:   "delete PROFILE",
		Short: "Delete a profile and all its grants",
		Long: `Delete a profile and all its grants. It cannot be undone: every user has to connect
anew. The provider is not told: "authprofile grant revoke" tells it, for one grant.

On a terminal it asks first. Elsewhere it wants --yes.`,
		Example:           "  authprofile profile delete crm --yes",
		Args:              args(1, 1),
		ValidArgsFunction: a.completeProfile,
	}
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ctx := cmd.Context()
		m, p, err := a.openProfile(ctx, args[0])
		if err != nil {
			return err
		}
		counts, err := m.Count(ctx, p.ID)
		if err != nil {
			return err
		}
		var grants int64
		for _, n := range counts {
			grants += n
		}
		if !yes {
			if !a.canAsk() {
				return usagef(cmd, "profile %q has %d grants: say --yes to delete it", p.ID, grants)
			}
			sure, err := a.confirm(ctx, fmt.Sprintf("Delete profile %q and its %d grants?", p.ID, grants))
			if err != nil {
				return err
			}
			if !sure {
				return errors.New("nothing was deleted")
			}
		}
		if err := m.Delete(ctx, p.ID); err != nil {
			return err
		}
		fmt.Fprintf(a.stderr, "authprofile: deleted profile %q and %d grants\n", p.ID, grants)
		return nil
	}
	return cmd
}
