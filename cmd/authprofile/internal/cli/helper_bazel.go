package cli

import (
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/authprofile/authprofile/cmd/authprofile/internal/request"
)

func newHelperBazel(a *app) *cobra.Command {
	var user string
	cmd := newHelperOf(a, &user, "bazel PROFILE [get]", "Give tokens to bazel and others that speak its protocol",
		`Give tokens to bazel, and to others that speak its credential helper protocol. Bazel adds
get to the command.

Bazel wants a program without arguments. Make it of two lines, and executable, such as
tools/credential-helper in the workspace:

  #!/bin/sh
  exec authprofile helper bazel ci "$@"

In .bazelrc, for one host and for all below another:

  common --credential_helper=cache.example.com=%workspace%/tools/credential-helper
  common --credential_helper=*.example.net=%workspace%/tools/credential-helper

The token is in the header that the provider's API wants it in, with the other headers
that it demands. It is given for https and grpcs. Bazel keeps it until it ends.

If there is no token for a host the helper fails, and so does what bazel needs it
for.`,
		`  echo '{"uri": "https://cache.example.com/"}' | authprofile helper bazel ci get | jq -r .expires`, args(1, 2))
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) == 1:
			return usagef(cmd, "get is missing: bazel adds it")
		case args[1] != "get":
			return usagef(cmd, "there is no command \"%s\": bazel has get", clean(args[1]))
		}
		return a.bazelGet(cmd, args[0], user)
	}
	return cmd
}

// bazelAnswer is the answer to get.
type bazelAnswer struct {
	Headers map[string][]string `json:"headers"`
	Expires time.Time           `json:"expires,omitzero"`
}

func (a *app) bazelGet(cmd *cobra.Command, profile, user string) error {
	ctx := cmd.Context()
	h, err := a.helped(cmd, profile, user)
	if err != nil {
		return err
	}
	address, err := readRequest(ctx, a.stdin, request.ReadBazel)
	if err != nil {
		return err
	}
	if rest, ok := strings.CutPrefix(address, "grpcs://"); ok { // over TLS, at the same port
		address = "https://" + rest
	}
	if _, err := h.allowsURL(address); err != nil {
		return err
	}
	tok, headers, err := h.token(ctx)
	if err != nil {
		return err
	}
	answer := bazelAnswer{Headers: make(map[string][]string), Expires: tok.Expiry.UTC().Truncate(time.Second)}
	for _, header := range headers {
		answer.Headers[header.name] = []string{header.value}
	}
	text, err := marshal(answer)
	if err != nil {
		return err
	}
	return a.answer(string(text) + "\n")
}
