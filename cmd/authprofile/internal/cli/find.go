package cli

import (
	"context"
	"errors"
	"fmt"
	"os/user"
	"strings"

	"github.com/spf13/cobra"

	"github.com/authprofile/authprofile"
)

// page is how many records are read at a time.
const page = 500

// openProfile opens the database and finds a profile in it.
func (a *app) openProfile(ctx context.Context, name string) (*authprofile.Manager, *authprofile.Profile, error) {
	m, err := a.open(ctx, existing)
	if err != nil {
		return nil, nil, err
	}
	p, err := a.profile(ctx, m, name)
	return m, p, err
}

// profile finds a profile by its ID, or by a name that no other has.
func (a *app) profile(ctx context.Context, m *authprofile.Manager, name string) (*authprofile.Profile, error) {
	p, err := m.Profile(ctx, name)
	if err == nil || !errors.Is(err, authprofile.ErrNotFound) {
		return p, err
	}
	return a.profileNamed(ctx, m, name)
}

// profileNamed finds the only profile with a name.
func (a *app) profileNamed(ctx context.Context, m *authprofile.Manager, name string) (*authprofile.Profile, error) {
	var found []*authprofile.Profile
	for after := ""; ; {
		profiles, err := m.ListProfiles(ctx, after, page)
		for _, p := range profiles {
			if p.Name == name && name != "" {
				found = append(found, p)
			}
		}
		switch {
		case len(profiles) == page:
			after = profiles[page-1].ID
			continue
		case len(found) == 0 && err != nil: // it may be one of those that cannot be read
			return nil, err
		case len(found) == 0:
			return nil, adviceError{describedError{fmt.Sprintf("there is no profile %q", name), authprofile.ErrNotFound}, "authprofile profile list shows those that there are"}
		case len(found) > 1:
			var ids []string
			for _, p := range found {
				ids = append(ids, p.ID)
			}
			return nil, usageError{problem: fmt.Sprintf("%d profiles have the name %q: say which one by its ID: %s", len(found), name, strings.Join(ids, ", "))}
		}
		return found[0], nil
	}
}

// addUser adds the flag --user to a command.
func addUser(cmd *cobra.Command, user *string) {
	cmd.Flags().StringVarP(user, "user", "u", "", "the `user` on whose behalf; without it the only one that the profile has a grant of, or else your own user name on this machine")
}

// user returns on whose behalf a command acts: given is what the user of the
// command said. For a profile of an application it is empty.
func (a *app) user(ctx context.Context, m *authprofile.Manager, p *authprofile.Profile, given string) (string, error) {
	switch {
	case p.Type == authprofile.TypeApp && given != "":
		return "", usageError{problem: fmt.Sprintf("profile %q is one of an application: leave --user out", p.ID)}
	case p.Type == authprofile.TypeApp || given != "":
		return given, nil
	}
	grants, err := m.ListGrants(ctx, authprofile.GrantFilter{ProfileID: p.ID}, authprofile.GrantKey{}, 2)
	switch {
	case len(grants) == 1 && err == nil:
		return grants[0].User, nil
	case len(grants) > 1:
		return "", usageError{problem: fmt.Sprintf("profile %q has grants of several users: say which one with --user", p.ID)}
	case err != nil:
		return "", err
	}
	if me := osUser(); me != "" {
		return me, nil
	}
	return "", usageError{problem: "your user name on this machine is not known: say with --user on whose behalf"}
}

// osUser returns the name of the user who runs this, without the domain of Windows;
// empty: it is not known.
func osUser() string {
	me, err := user.Current()
	if err != nil {
		return ""
	}
	return me.Username[strings.LastIndexByte(me.Username, '\\')+1:]
}

// completeProfile completes a first argument that is a profile.
func (a *app) completeProfile(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	m, err := a.open(cmd.Context(), existing)
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	profiles, err := m.ListProfiles(cmd.Context(), "", page)
	if len(profiles) == 0 && err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	var ids []cobra.Completion
	for _, p := range profiles {
		ids = append(ids, cobra.CompletionWithDesc(p.ID, clean(p.Name)))
	}
	return ids, cobra.ShellCompDirectiveNoFileComp
}

// connectCommand is the command that a user who has to authorize runs.
func connectCommand(profileID, user string) string {
	words := []string{"authprofile", "connect", profileID}
	if user != "" {
		words = append(words, "--user", user)
	}
	return shell(words...)
}
