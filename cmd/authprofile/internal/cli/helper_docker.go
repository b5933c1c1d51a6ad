package cli

import (
	"errors"
	"strings"

	"github.com/spf13/cobra"

	"github.com/authprofile/authprofile/cmd/authprofile/internal/request"
)

func newHelperDocker(a *app) *cobra.Command {
	var user, username string
	cmd := newHelperOf(a, &user, "docker PROFILE [get|store|erase|list]", "Give tokens to docker",
		`Give tokens to docker, podman and others, as one of docker's credential helpers. Docker
adds get, store, erase or list to the command.

Docker runs a program of its own name for a helper: for "ci" it is
docker-credential-ci, anywhere in PATH. Make it of two lines, and executable:

  #!/bin/sh
  exec authprofile helper docker ci "$@"

In ~/.docker/config.json, for one registry:

  {"credHelpers": {"registry.example.com": "ci"}}

The token is the password of the user name oauth2, unless --username says another:
Google's registries want oauth2accesstoken, Azure's
00000000-0000-0000-0000-000000000000.

For another registry docker gets the answer that there are no credentials, and goes on
without. What docker login wants to store is not stored, and there is nothing to
erase. docker list is empty.`,
		`  printf registry.example.com | authprofile helper docker ci get | jq -r .Username`, args(1, 2))
	cmd.Flags().StringVar(&username, "username", "oauth2", "the user `name` that the registry wants with a token")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) == 1:
			return usagef(cmd, "get, store, erase or list is missing: docker adds it")
		case args[1] == "get":
			return a.dockerGet(cmd, args[0], user, username)
		case args[1] == "list":
			return a.answer("{}\n")
		case args[1] == "store" || args[1] == "erase":
			return nil
		}
		return usagef(cmd, "there is no action \"%s\": docker has get, store, erase and list", clean(args[1]))
	}
	return cmd
}

// What docker understands on standard output, and nothing else.
const (
	dockerNotFound  = "credentials not found in native keychain\n"
	dockerNoAddress = "no credentials server URL\n"
)

// dockerCredentials is the answer to get.
type dockerCredentials struct {
	ServerURL string
	Username  string
	Secret    string
}

func (a *app) dockerGet(cmd *cobra.Command, profile, user, username string) error {
	ctx := cmd.Context()
	h, err := a.helped(cmd, profile, user)
	if err != nil {
		return err
	}
	server, err := readRequest(ctx, a.stdin, request.ReadDocker)
	if err != nil {
		return err
	}
	if server == "" {
		return errors.Join(errors.New("there is no address of a server on standard input"), a.answer(dockerNoAddress))
	}
	address := server
	if !strings.Contains(server, "://") {
		address = "https://" + server
	}
	if _, err := h.allowsURL(address); err != nil {
		return errors.Join(err, a.answer(dockerNotFound))
	}
	tok, headers, err := h.token(ctx)
	if err != nil {
		return err
	}
	if err := headers[0].bearer("docker"); err != nil {
		return err
	}
	text, err := marshal(dockerCredentials{server, username, tok.AccessToken})
	if err != nil {
		return err
	}
	return a.answer(string(text) + "\n")
}
