package authprofile

import (
	"cmp"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/authprofile/authprofile/internal/address"
	"github.com/authprofile/authprofile/internal/catalog"
	"github.com/authprofile/authprofile/internal/issuer"
)

// A callback is the query that a provider sends a browser back with (RFC 6749,
// section 4.1.2).
type callback struct {
	state, code, issuer, errorCode, description string
	hasIssuer                                   bool

	query url.Values
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
	c := callback{query: query}
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
	case c.code != "" && c.errorCode != "", c.code == "" && c.errorCode == "" && !hasOwnCode(query):
		return nil, errNeither
	}
	return &c, nil
}

var errNeither = errors.New("the callback must have either a code or an error")

// hasOwnCode reports whether a callback has a parameter that can be the code under
// a provider's own name.
func hasOwnCode(query url.Values) bool {
	for name, values := range query {
		if len(values) == 1 && values[0] != "" && catalog.IsCodeName(name) {
			return true
		}
	}
	return false
}

// An authorization is what a callback gives, in the provider's own way.
type authorization struct {
	code   string
	scopes []string // granted; nil: it does not say
	extra  map[string]Secret
}

// read reads what a callback without an error gives to the client of p. It makes
// sure that the callback is the provider's, as far as the provider lets it be
// known, before the code is used.
func (c *callback) read(d dialect, p *Profile) (*authorization, error) {
	one := func(name string) (string, error) {
		if values := c.query[name]; len(values) > 1 {
			return "", fmt.Errorf("the callback has more than one %q", name)
		}
		return c.query.Get(name), nil
	}
	if d.CallbackHMAC != "" {
		if err := c.checkHMAC(d.CallbackHMAC, string(p.ClientSecret)); err != nil {
			return nil, err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(d.CallbackMatch)) {
		got, err := one(name)
		if err != nil {
			return nil, err
		}
		if got != d.CallbackMatch[name] {
			return nil, fmt.Errorf("the callback's %q is of another than the profile names", name)
		}
	}
	a := &authorization{code: c.code}
	if d.CallbackCode != "" {
		code, err := one(d.CallbackCode)
		if err != nil {
			return nil, err
		}
		a.code = code
	}
	if a.code == "" {
		return nil, errNeither
	}
	if d.CallbackScope != "" && c.query.Has(d.CallbackScope) {
		a.scopes = []string{}
		for _, s := range splitScopes(c.query.Get(d.CallbackScope)) {
			if checkScope(s) == "" && !slices.Contains(a.scopes, s) {
				a.scopes = append(a.scopes, s)
			}
		}
	}
	size := 0
	for _, name := range d.CallbackKeep {
		value, err := one(name)
		if err != nil {
			return nil, err
		}
		needs := len(name) + len(value)
		if value == "" || !utf8.ValidString(value) || size+needs > maxExtra {
			continue
		}
		size += needs
		if a.extra == nil {
			a.extra = make(map[string]Secret)
		}
		a.extra[name] = Secret(value)
	}
	return a, nil
}

// checkHMAC makes sure that the provider has signed the callback: the parameter
// has the HMAC-SHA256 of all others, sorted, in hex, keyed with the client secret.
func (c *callback) checkHMAC(param, secret string) error {
	var pairs []string
	for name, values := range c.query {
		if name == param {
			continue
		}
		for _, value := range values {
			pairs = append(pairs, name+"="+value)
		}
	}
	slices.Sort(pairs)
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(strings.Join(pairs, "&")))
	got, err := hex.DecodeString(c.query.Get(param))
	if err != nil || len(c.query[param]) != 1 || secret == "" || !hmac.Equal(got, mac.Sum(nil)) {
		return fmt.Errorf("the callback is not signed by the provider: %q does not fit", param)
	}
	return nil
}

// checkIssuer makes sure that the answer is the asked provider's (RFC 9207).
// The function aliases returns the other names of that provider.
func (c *callback) checkIssuer(f *Flow, aliases func() []string) error {
	switch {
	case c.hasIssuer && f.Issuer != "" && !issuer.Matches(f.Issuer, c.issuer) && !slices.Contains(aliases(), c.issuer):
		return errors.New("the callback comes from another issuer than the one that was asked")
	case !c.hasIssuer && f.IssuerRequired:
		return errors.New("the callback does not name its issuer, though the provider promises that")
	}
	return nil
}

// providerError is the error that the callback brings.
func (c *callback) providerError(d dialect) error {
	f := Failure{Code: errorCode(cmp.Or(d.CallbackErrors[c.errorCode], c.errorCode)), Description: shownText(c.description)}
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
