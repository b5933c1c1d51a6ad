package authprofile

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/authprofile/authprofile/internal/address"
	"github.com/authprofile/authprofile/internal/issuer"
	"github.com/authprofile/authprofile/internal/safetext"
)

// A callback is the query that a provider sends a browser back with (RFC 6749,
// section 4.1.2).
type callback struct {
	state, code, issuer, errorCode, description string
	hasIssuer                                   bool
}

// Limits of a callback, in bytes.
const (
	maxCallback    = 16384
	maxParameters  = 100
	minStateLength = 43
)

// callbackQuery reads the query of a callback. What is not ours is ignored
// (RFC 6749, section 4.1.2), well formed or not. What is ours is not guessed:
// only in a text for people does a guess no harm.
func callbackQuery(raw string) (url.Values, error) {
	if len(raw) > maxCallback || strings.Count(raw, "&") >= maxParameters {
		return nil, errors.New("the callback is too large")
	}
	query, guessed := address.ReadQuery(raw)
	for _, name := range []string{"state", "code", "iss", "error"} {
		if slices.Contains(guessed, name) {
			return nil, fmt.Errorf("the callback's %q is not form-encoded", name)
		}
	}
	return query, nil
}

func parseCallback(query url.Values) (*callback, error) {
	size := 0
	for name, values := range query {
		for _, v := range values {
			size += len(name) + len(v)
		}
	}
	if size > maxCallback || len(query) > maxParameters {
		return nil, errors.New("the callback is too large")
	}
	var c callback
	for name, field := range map[string]*string{
		"state": &c.state, "code": &c.code, "iss": &c.issuer, "error": &c.errorCode, "error_description": &c.description,
	} {
		values := query[name]
		if len(values) > 1 {
			return nil, fmt.Errorf("the callback has more than one %q", name)
		}
		if len(values) == 1 {
			*field = values[0]
		}
	}
	c.hasIssuer = query.Has("iss")
	switch {
	case len(c.state) < minStateLength:
		return nil, errors.New("the callback has no state that we gave out")
	case query.Has("access_token") || query.Has("id_token"):
		return nil, errors.New("the callback has a token in it, which was not asked for")
	case (c.code == "") == (c.errorCode == ""):
		return nil, errors.New("the callback must have either a code or an error")
	}
	return &c, nil
}

// checkIssuer makes sure that the answer is the asked provider's (RFC 9207).
func (c *callback) checkIssuer(f *Flow) error {
	switch {
	case c.hasIssuer && f.Issuer != "" && !issuer.Matches(f.Issuer, c.issuer):
		return errors.New("the callback comes from another issuer than the one that was asked")
	case !c.hasIssuer && f.IssuerRequired:
		return errors.New("the callback does not name its issuer, though the provider promises that")
	}
	return nil
}

// providerError is the error that the callback brings.
func (c *callback) providerError() error {
	f := Failure{Code: errorCode(c.errorCode), Description: shownText(c.description)}
	return &callbackError{&grantError{Failure: f}}
}

// A callbackError is what a provider had to say instead of a code.
type callbackError struct{ e *grantError }

func (e *callbackError) Error() string { return "the provider answers " + e.e.Code }

func (e *callbackError) Unwrap() error {
	re := e.e.retrieveError()
	re.Response = nil // there was none; the code is never empty
	return re
}

// errorCode cuts an error code to what RFC 6749, section 4.1.2.1 allows in one.
func errorCode(s string) string {
	return safetext.Truncate(strings.NewReplacer(`"`, "?", `\`, "?").Replace(safetext.Code(s, '?')), safetext.MaxCode)
}

// shownText cuts a text for people to what is safe to show.
func shownText(s string) string {
	return safetext.Truncate(safetext.Text(s, '?'), safetext.MaxDescription)
}
