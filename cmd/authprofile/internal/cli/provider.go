package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/authprofile/authprofile"
)

func newProvider(a *app) *cobra.Command {
	return group("provider", "List the providers that are built in",
		`The catalogue of providers: those that a profile can name by a template such as
"github" or "shopify/acme", and what to set when an application is registered
there.

Providers of your own are in the JSON file that --providers names, an array as the
library's documentation of the type Provider describes it.`,
		newProviderList(a), newProviderShow(a))
}

// providers returns the catalogue: the built-in providers and the user's own, in
// place of those of the same names.
func (a *app) providers() ([]authprofile.Provider, error) {
	own, err := a.ownProviders()
	if err != nil {
		return nil, err
	}
	all := authprofile.Providers()
	for _, p := range own {
		replaced := false
		for i := range all {
			if all[i].Name == p.Name {
				all[i], replaced = p, true
			}
		}
		if !replaced {
			all = append(all, p)
		}
	}
	return all, nil
}

// provider returns the provider with a name; nil if there is none.
func (a *app) provider(name string) (*authprofile.Provider, error) {
	all, err := a.providers()
	if err != nil {
		return nil, err
	}
	for i := range all {
		if all[i].Name == name {
			return &all[i], nil
		}
	}
	return nil, nil
}

// grantsOf says whom a provider grants tokens to.
func grantsOf(p *authprofile.Provider) string {
	switch {
	case p.App == nil:
		return "user"
	case p.AuthURL == "" && p.DiscoveryURL == "":
		return "app"
	}
	return "user, app"
}

func newProviderList(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List all providers",
		Long: `List the providers: their names, how their templates are written, and whether they
grant tokens to users or to an application itself.

In JSON each is an object as the library's type Provider describes it.`,
		Example: "  authprofile provider list\n  authprofile provider list --output json | jq -r '.[].name'",
		Args:    args(0, 0),
	}
	addOutput(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		all, err := a.providers()
		if err != nil {
			return err
		}
		t := a.output(cmd).table("NAME", "TEMPLATE", "GRANTS", "TITLE")
		for i := range all {
			p := &all[i]
			if err := t.row(p, cells(p.Name, p.Template(), grantsOf(p), p.Title)); err != nil {
				return err
			}
		}
		return t.end()
	}
	return cmd
}

func newProviderShow(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "show NAME",
		Short: "Show a provider, and what to register there",
		Long: `Show a provider: where to register an application and what to set there, the
variables of its template, and when it gives refresh tokens.

The redirect address that authprofile connect uses is http://127.0.0.1/callback,
at any port, unless the profile has one of its own.`,
		Example: "  authprofile provider show github",
		Args:    args(1, 1),
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
			all, err := a.providers()
			if err != nil || len(args) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			var names []cobra.Completion
			for _, p := range all {
				names = append(names, cobra.CompletionWithDesc(p.Name, p.Title))
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		},
	}
	addOutput(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		name, _, _ := strings.Cut(args[0], "/")
		p, err := a.provider(name)
		switch {
		case err != nil:
			return err
		case p == nil:
			return fmt.Errorf("there is no provider %q: authprofile provider list shows those that there are; others are named by their addresses", name)
		}
		o := a.output(cmd)
		if o.isJSON() {
			return o.json(p)
		}
		pairs := [][]cell{
			cells("Name", p.Name),
			cells("Title", p.Title),
			cells("Template", p.Template()),
			cells("Grants", grantsOf(p)),
			cells("Register at", p.RegisterURL),
			cells("What to set", p.Registration),
			cells("Refresh token", p.RefreshToken),
			cells("PKCE", p.PKCE),
		}
		for _, v := range p.Variables {
			text := v.Title + ", such as " + v.Example
			if v.Default != "" {
				text += " (if left out: " + v.Default + ")"
			} else if v.Optional {
				text += " (can be left out)"
			}
			pairs = append(pairs, cells("{"+v.Name+"}", text))
		}
		for _, c := range p.Changes {
			pairs = append(pairs, cells("Change", c))
		}
		return o.fields(append(pairs, cells("Last checked", p.Revision))...)
	}
	return cmd
}
