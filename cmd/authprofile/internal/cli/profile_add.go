package cli

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/authprofile/authprofile"
)

// An addition is what "profile add" was told.
type addition struct {
	p             authprofile.Profile
	provider      string // a template, or the URL of a discovery document
	kind, method  string
	secret, key   string // where they come from
	params        []string
	tokenParams   []string
	secretExpires string
}

func newProfileAdd(a *app) *cobra.Command {
	var add addition
	cmd := &cobra.Command{
		Use:   "add [ID]",
		Short: "Add a profile",
		Long: `Add a profile. On a terminal it asks for what the flags do not say; elsewhere they
have to say it all. The first profile makes the database and the key ring.

The ID is what the profile is called from then on, such as "crm". Without one, a
random one is assigned.

The provider is a template, such as "github" or "shopify/acme", or the URL of a
discovery document; "authprofile provider list" shows the templates. Otherwise the
addresses are given by --token-url and its like.

A client secret or a key never stands on the command line. It comes from where
--client-secret-from or --client-key-from says: prompt, stdin, file:PATH or
env:NAME. A client without either is a public one.`,
		Example: `  authprofile profile add crm --provider hubspot
  authprofile profile add ci --type app --provider https://id.example.com/.well-known/openid-configuration \
    --client-id ci --client-secret-from file:ci.secret --scope deploy
  vault kv get -field=secret crm | authprofile profile add crm --provider hubspot --client-id … --client-secret-from stdin`,
		Args: args(0, 1),
	}
	flags := cmd.Flags()
	flags.StringVar(&add.p.Name, "name", "", "a `name` for people")
	flags.StringVar(&add.p.Description, "description", "", "a `text` for people")
	flags.StringVar(&add.kind, "type", "", "on whose behalf: user or app (default user)")
	flags.StringVar(&add.provider, "provider", "", "the `template` of a provider, or the URL of its discovery document")
	flags.StringVar(&add.p.Endpoints.AuthURL, "auth-url", "", "`URL` of the authorization endpoint, in place of --provider")
	flags.StringVar(&add.p.Endpoints.TokenURL, "token-url", "", "`URL` of the token endpoint, in place of --provider")
	flags.StringVar(&add.p.Endpoints.RevocationURL, "revocation-url", "", "`URL` of the revocation endpoint")
	flags.StringVar(&add.p.Endpoints.PARURL, "par-url", "", "`URL` for pushed authorization requests")
	flags.StringVar(&add.p.ClientID, "client-id", "", "the client `ID` that the provider knows")
	flags.StringVar(&add.secret, "client-secret-from", "", "`where` the client secret is: "+secretSources)
	flags.StringVar(&add.key, "client-key-from", "", "`where` the client's private key is, PEM or a JWK: stdin, file:PATH or env:NAME")
	flags.StringVar(&add.method, "auth-method", "", "how the client authenticates, such as client_secret_post (default: what the provider takes)")
	flags.StringArrayVar(&add.p.Scopes, "scope", nil, "a `scope` to ask for; can be repeated")
	flags.StringVar(&add.p.RedirectURL, "redirect-url", "", "the redirect `URL` that is registered (default "+loopback+", any port)")
	flags.StringArrayVar(&add.params, "param", nil, "an extra parameter, as `NAME=VALUE`; can be repeated")
	flags.StringArrayVar(&add.tokenParams, "token-param", nil, "one of token requests, as `NAME=VALUE`; can be repeated")
	flags.StringArrayVar(&add.p.APIHosts, "api-host", nil, "a `host` that tokens may be sent to; can be repeated")
	flags.StringVar(&add.secretExpires, "secret-expires", "", "the `date` on which the client secret ends, as 2027-01-31")
	flags.DurationVar(&add.p.KeepAlive, "keep-alive", 0, "how long a grant may go unused until it is renewed")
	cmd.RegisterFlagCompletionFunc("type", cobra.FixedCompletions([]string{"user", "app"}, cobra.ShellCompDirectiveNoFileComp))
	addOutput(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ctx := cmd.Context()
		if len(args) > 0 {
			add.p.ID = args[0]
		}
		if err := add.read(cmd); err != nil {
			return err
		}
		if a.canAsk() {
			if err := a.isNew(ctx, add.p.ID); err != nil {
				return err
			}
			if err := a.askProfile(ctx, &add); err != nil {
				return err
			}
		}
		p, err := a.complete(ctx, cmd, add)
		if err != nil {
			return err
		}
		m, err := a.open(ctx, create)
		if err != nil {
			return err
		}
		if err := m.Save(ctx, p); err != nil {
			if errors.Is(err, authprofile.ErrConflict) {
				return existsError(p.ID)
			}
			return err
		}
		o := a.output(cmd)
		if o.isJSON() {
			return o.json(p)
		}
		if p.Type == authprofile.TypeUser {
			fmt.Fprintf(a.stderr, "authprofile: saved; next: %s\n", connectCommand(p.ID, ""))
		} else {
			fmt.Fprintf(a.stderr, "authprofile: saved; next: %s\n", shell("authprofile", "test", p.ID))
		}
		return o.line("%s", p.ID)
	}
	return cmd
}

// existsError says that a new profile has the ID of another.
func existsError(id string) error {
	return adviceError{describedError{fmt.Sprintf("there is a profile %q already", id), authprofile.ErrConflict}, "choose another ID, or change it by authprofile profile apply"}
}

// isNew returns an error if there is a profile with the ID, before all is asked for
// that saving would refuse.
func (a *app) isNew(ctx context.Context, id string) error {
	m, err := a.open(ctx, create)
	if err != nil || id == "" {
		return err
	}
	if _, err = m.Profile(ctx, id); err == nil {
		return existsError(id)
	} else if !errors.Is(err, authprofile.ErrNotFound) {
		return err
	}
	return nil
}

// read turns the texts of the flags into what a profile has.
func (add *addition) read(cmd *cobra.Command) (err error) {
	switch add.kind {
	case "", "user", "app":
		add.p.Type = authprofile.Type(add.kind)
	default:
		return usagef(cmd, "--type is user or app")
	}
	add.p.AuthMethod = authprofile.AuthMethod(add.method)
	if add.p.Params, err = pairs(cmd, "--param", add.params); err != nil {
		return err
	}
	if add.p.TokenParams, err = pairs(cmd, "--token-param", add.tokenParams); err != nil {
		return err
	}
	if add.secretExpires != "" {
		if add.p.SecretExpires, err = time.ParseInLocation(time.DateOnly, add.secretExpires, time.Local); err != nil {
			return usagef(cmd, "--secret-expires is a date such as 2027-01-31")
		}
		add.p.SecretExpires = add.p.SecretExpires.UTC() // as it is shown in JSON
	}
	if add.secret != "" && add.key != "" {
		return usagef(cmd, "a client has a secret or a key, not both")
	}
	add.setProvider(add.provider)
	return nil
}

// setProvider sets the provider to a template, or to that of a discovery document.
func (add *addition) setProvider(text string) {
	add.provider = text
	if strings.Contains(text, "://") {
		add.p.Endpoints.DiscoveryURL = text
	} else {
		add.p.Template = authprofile.Template(text)
	}
}

// pairs reads parameters.
func pairs(cmd *cobra.Command, flag string, texts []string) (url.Values, error) {
	values := make(url.Values)
	for _, text := range texts {
		name, value, ok := strings.Cut(text, "=")
		if !ok || name == "" {
			return nil, usagef(cmd, "%s is NAME=VALUE", flag)
		}
		values.Add(name, value)
	}
	return values, nil
}

// askProfile asks for what is missing.
func (a *app) askProfile(ctx context.Context, add *addition) (err error) {
	if add.p.ID == "" {
		if add.p.ID, err = a.ask(ctx, "ID of the profile, such as crm (empty: a random one)", ""); err != nil {
			return err
		}
		if err := a.isNew(ctx, add.p.ID); err != nil {
			return err
		}
	}
	if add.provider == "" && add.p.Endpoints.TokenURL == "" {
		if err := a.askProvider(ctx, add); err != nil {
			return err
		}
	}
	name, _, _ := strings.Cut(string(add.p.Template), "/")
	provider, err := a.provider(name)
	if err != nil {
		return err
	}
	if add.kind == "" && (provider == nil || provider.App != nil) {
		answer, err := a.ask(ctx, "On behalf of a user, or of the application itself (user, app)", "user")
		if err != nil {
			return err
		}
		if answer != "user" && answer != "app" {
			return usageError{problem: "the type is user or app"}
		}
		add.p.Type = authprofile.Type(answer)
	}
	if provider != nil {
		fmt.Fprintf(a.stderr, "Register an application at %s. %s\n", provider.RegisterURL, clean(provider.Registration))
	}
	if add.p.Type != authprofile.TypeApp && add.p.RedirectURL == "" {
		fmt.Fprintf(a.stderr, "Its redirect address is %s. If the provider wants a port, say --redirect-url.\n", loopback)
	}
	if add.p.ClientID == "" {
		if add.p.ClientID, err = a.ask(ctx, "Client ID", ""); err != nil {
			return err
		}
	}
	if add.secret == "" && add.key == "" {
		if add.p.ClientSecret, err = a.askSecret(ctx, "Client secret (empty: none; it is not shown)"); err != nil {
			return err
		}
	}
	if add.p.Scopes == nil {
		scopes, err := a.ask(ctx, "Scopes, separated by spaces", "")
		if err != nil {
			return err
		}
		add.p.Scopes = strings.Fields(scopes)
	}
	return nil
}

// askProvider asks for the provider, and for the variables of its template.
func (a *app) askProvider(ctx context.Context, add *addition) error {
	answer, err := a.ask(ctx, "Provider: its name, such as github, or the URL of its discovery document", "")
	if err != nil {
		return err
	}
	provider, err := a.provider(answer)
	if err != nil {
		return err
	}
	if provider != nil {
		for _, v := range provider.Variables {
			question := v.Title + ", such as " + v.Example
			if v.Optional && v.Default == "" {
				question += " (can be empty)"
			}
			value, err := a.ask(ctx, question, v.Default)
			if err != nil {
				return err
			}
			if value == "" || value == v.Default {
				break // those that can be left out come last
			}
			answer += "/" + value
		}
	}
	add.setProvider(answer)
	return nil
}

// complete returns the profile with its secret, and says what is missing.
func (a *app) complete(ctx context.Context, cmd *cobra.Command, add addition) (*authprofile.Profile, error) {
	p := &add.p
	if p.Type == "" {
		p.Type = authprofile.TypeUser
	}
	switch {
	case p.ClientID == "":
		return nil, usagef(cmd, "--client-id is missing")
	case p.Template == "" && p.Endpoints.DiscoveryURL == "" && p.Endpoints.TokenURL == "":
		return nil, usagef(cmd, "--provider is missing, or --token-url")
	}
	var err error
	if add.secret != "" {
		p.ClientSecret, err = a.secret(ctx, add.secret, "the client secret")
	}
	if add.key != "" {
		p.ClientKey, err = a.secret(ctx, add.key, "the client's key")
	}
	return p, err
}
