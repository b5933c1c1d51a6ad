package cli

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/authprofile/authprofile/cmd/authprofile/internal/request"
)

func newHelperGit(a *app) *cobra.Command {
	var user string
	cmd := newHelperOf(a, &user, "git PROFILE [get|store|erase]", "Give tokens to git",
		`Give tokens to git, as one of its credential helpers (gitcredentials(7)). Git adds get,
store or erase to the command.

For one host, in ~/.gitconfig:

  [credential "https://git.example.com"]
      helper =
      helper = !authprofile helper git ci

The empty helper turns off those that were named before. They would keep the token,
and give it to git after it has ended. The same at the prompt:

  git config --global --add credential.https://git.example.com.helper ''
  git config --global --add credential.https://git.example.com.helper '!authprofile helper git ci'

Git 2.46 and later sends the token as "Authorization: Bearer", unless the server has
asked for Basic alone. An earlier git, or such a server, gets it as the password of
the user name oauth2, which GitLab, GitHub and others take. If the server wants
another name, say so:

  [credential "https://bitbucket.org"]
      username = x-token-auth

If the server refuses the token, another takes its place: in the same command since
git 2.46, else in the next one. What git wants to store is not stored. The path of a
repository makes no difference: all repositories of a host get the same token.`,
		`  printf 'protocol=https\nhost=git.example.com\n' | authprofile helper git ci get | grep expiry`, args(1, 2))
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) == 1:
			return usagef(cmd, "get, store or erase is missing: git adds it")
		case args[1] == "get":
			return a.gitGet(cmd, args[0], user)
		case args[1] == "erase":
			return a.gitErase(cmd, args[0], user)
		}
		return nil // store, or what a later git may say
	}
	return cmd
}

// triedPrefix begins the state of a git request that comes after a token was tried.
// After it is the hash of that token.
const triedPrefix = "authprofile:tried="

func (a *app) gitGet(cmd *cobra.Command, profile, user string) error {
	ctx := cmd.Context()
	h, err := a.helped(cmd, profile, user)
	if err != nil {
		return err
	}
	asked, err := readRequest(ctx, a.stdin, request.ReadGit)
	if err != nil {
		return err
	}
	if err := h.allows(asked.Protocol, asked.Host); err != nil {
		return err
	}
	tok, headers, err := h.tokenAfter(ctx, func(token string) bool { return slices.Contains(asked.States, triedState(token)) })
	if err != nil {
		return err
	}
	scheme, err := headers[0].scheme("git")
	if err != nil {
		return err
	}
	var answer []string
	if asked.TakesScheme() {
		answer = append(answer, "capability[]=authtype", "authtype="+scheme, "credential="+headers[0].value[len(scheme)+1:], "ephemeral=1")
	} else {
		if err := headers[0].bearer("git"); err != nil {
			return err
		}
		name := asked.Username
		if name == "" {
			name = "oauth2"
		}
		answer = append(answer, "username="+name, "password="+tok.AccessToken)
	}
	if !tok.Expiry.IsZero() {
		answer = append(answer, "password_expiry_utc="+strconv.FormatInt(tok.Expiry.Unix(), 10))
	}
	tried := slices.ContainsFunc(asked.States, func(s string) bool { return strings.HasPrefix(s, triedPrefix) })
	if asked.KnowsState && !tried { // git asks once more if the server refuses this token
		answer = append([]string{"capability[]=state"}, append(answer, "state[]="+triedState(tok.AccessToken), "continue=1")...)
	}
	return a.answer(strings.Join(answer, "\n") + "\n")
}

// triedState is the state that says that a token was tried.
func triedState(token string) string {
	sum := sha256.Sum256([]byte(token))
	return triedPrefix + hex.EncodeToString(sum[:])
}

// gitErase replaces the token that git says was refused, if it is the stored one.
func (a *app) gitErase(cmd *cobra.Command, profile, user string) error {
	ctx := cmd.Context()
	asked, err := readRequest(ctx, a.stdin, request.ReadGit)
	if err != nil || asked.Refused == "" { // a user says "git credential reject", without a token
		return err
	}
	h, err := a.helped(cmd, profile, user)
	if err != nil {
		return err
	}
	if err := h.allows(asked.Protocol, asked.Host); err != nil {
		return err
	}
	_, _, err = h.tokenAfter(ctx, func(token string) bool { return token == asked.Refused })
	return err
}
