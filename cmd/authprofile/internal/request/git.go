package request

import (
	"bufio"
	"fmt"
	"io"
	"strings"
)

// A Git is a request of git.
type Git struct {
	Protocol, Host, Username string

	Refused    string   // of erase: the token
	knowsType  bool     // capability authtype
	KnowsState bool     // capability state
	challenges []string // the values of the server's WWW-Authenticate
	States     []string // what answers before this request had as state
}

// TakesScheme reports whether git sends an Authorization header with a scheme of the
// helper's choice, and whether the server may want that: some take a token only as a
// password, and ask for Basic alone.
func (r *Git) TakesScheme() bool {
	return r.knowsType && (r.isChallenged("Bearer") || !r.isChallenged("Basic"))
}

// isChallenged reports whether the server has asked for a scheme.
func (r *Git) isChallenged(scheme string) bool {
	for _, challenge := range r.challenges {
		for part := range strings.SplitSeq(challenge, ",") {
			if name, _, _ := strings.Cut(strings.TrimSpace(part), " "); strings.EqualFold(name, scheme) {
				return true
			}
		}
	}
	return false
}

// ReadGit reads lines up to an empty one or the end.
func ReadGit(r io.Reader) (*Git, error) {
	request := new(Git)
	lines := bufio.NewReader(r)
	for n := 1; ; n++ {
		line, err := lines.ReadString('\n')
		if err != nil && err != io.EOF {
			return nil, err
		}
		line = strings.TrimSuffix(line, "\n")
		if line == "" {
			return request, nil
		}
		name, value, ok := strings.Cut(line, "=")
		if !ok || strings.ContainsFunc(line, func(c rune) bool { return c < ' ' && c != '\t' || c == 0x7f }) {
			return nil, fmt.Errorf("line %d of the request on standard input is none of git's", n)
		}
		request.set(name, value)
	}
}

// set sets an attribute. Those that are not known are left out, as git demands.
func (r *Git) set(name, value string) {
	switch name {
	case "protocol":
		r.Protocol = value
	case "host":
		r.Host = value
	case "username":
		r.Username = value
	case "password", "credential":
		r.Refused = value
	case "capability[]":
		r.knowsType = value == "authtype" || r.knowsType && value != ""
		r.KnowsState = value == "state" || r.KnowsState && value != ""
	case "wwwauth[]":
		r.challenges = appendGit(r.challenges, value)
	case "state[]":
		r.States = appendGit(r.States, value)
	}
}

// appendGit adds a value to an attribute with several. An empty one empties it.
func appendGit(values []string, value string) []string {
	if value == "" {
		return nil
	}
	return append(values, value)
}
