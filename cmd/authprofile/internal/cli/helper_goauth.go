package cli

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/authprofile/authprofile/cmd/authprofile/internal/request"
)

func newHelperGoauth(a *app) *cobra.Command {
	var user string
	cmd := newHelperOf(a, &user, "goauth PROFILE [URL]", "Give tokens to the go command",
		`Give tokens to the go command of Go 1.24 and later, as a command of GOAUTH ("go help
goauth"), for module proxies and for what hosts modules.

  go env -w GOAUTH='authprofile helper goauth ci'
  go env -w GOPROXY=https://goproxy.example.com GONOSUMDB=example.com

Several commands stand one after another, with ";" between them:

  go env -w GOAUTH='authprofile helper goauth ci; netrc'

The go command asks for all tokens before its first request, and gets one for each
host of the profile. The list has no place for ".example.com", all hosts below
example.com, nor for "goproxy.example.com" at a port other than 443: for such a host
the token comes after the server has refused a request without one. It takes one
request more, and none if the profile names each host, with its port.

If the server answers 401 to a token, another takes its place. The token is in the
header that the provider's API wants it in. The go command sends it over https alone.`,
		`  authprofile helper goauth ci | grep https`, args(1, 2))
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 1 {
			return a.goauthAll(cmd, args[0], user)
		}
		return a.goauthURL(cmd, args[0], user, args[1])
	}
	return cmd
}

// goauthAll answers for all hosts that can be named.
func (a *app) goauthAll(cmd *cobra.Command, profile, user string) error {
	h, err := a.helped(cmd, profile, user)
	if err != nil {
		return err
	}
	if len(h.p.APIHosts) == 0 {
		return h.namesNone()
	}
	prefixes := goauthPrefixes(h.p.APIHosts)
	if len(prefixes) == 0 {
		return nil
	}
	_, headers, err := h.token(cmd.Context())
	if err != nil {
		return err
	}
	return a.answer(goauthAnswer(prefixes, headers))
}

// goauthPrefixes returns the addresses that the go command compares those of its
// requests with, as texts: without the port that https has by itself.
func goauthPrefixes(hosts []string) []string {
	var prefixes []string
	for _, host := range hosts {
		if !strings.HasPrefix(host, ".") {
			prefixes = append(prefixes, "https://"+strings.TrimSuffix(strings.ToLower(host), ":443"))
		}
	}
	return prefixes
}

// goauthURL answers for the host of a request that has failed.
func (a *app) goauthURL(cmd *cobra.Command, profile, user, address string) error {
	ctx := cmd.Context()
	h, err := a.helped(cmd, profile, user)
	if err != nil {
		return err
	}
	u, err := h.allowsURL(address)
	switch {
	case err != nil:
		return err
	case u.Scheme != "https":
		return foreignError{"no token is given: the go command sends none over plain HTTP"}
	}
	response, err := readRequest(ctx, a.stdin, request.ReadGoauth)
	if err != nil {
		return err
	}
	hadToken := wasSent(h.p.APIHosts, u, response)
	_, headers, err := h.tokenAfter(ctx, func(string) bool { return hadToken })
	if err != nil {
		return err
	}
	return a.answer(goauthAnswer([]string{"https://" + u.Host}, headers))
}

// wasSent reports whether a response refuses a token: the go command has sent one if
// the host was in the first answer, or if the server says that it is no good (RFC
// 6750, section 3.1). Response is nil if there is none.
func wasSent(hosts []string, u *url.URL, response *http.Response) bool {
	if response == nil || response.StatusCode != http.StatusUnauthorized {
		return false
	}
	return slices.Contains(goauthPrefixes(hosts), "https://"+u.Host) ||
		strings.Contains(response.Header.Get("WWW-Authenticate"), `error="invalid_token"`)
}

// goauthAnswer is what "go help goauth" calls a CredentialSet.
func goauthAnswer(prefixes []string, headers []header) string {
	var b strings.Builder
	for _, prefix := range prefixes {
		b.WriteString(prefix + "\n")
	}
	b.WriteByte('\n')
	for _, h := range headers {
		b.WriteString(h.name + ": " + h.value + "\n")
	}
	b.WriteByte('\n')
	return b.String()
}
