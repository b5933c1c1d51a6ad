package tokenendpoint

import (
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/url"
	"slices"

	"github.com/authprofile/authprofile/internal/foreign"
	"github.com/authprofile/authprofile/internal/safetext"
)

// An authMethod is a way in which a client authenticates (RFC 6749, section
// 2.3). All that the library does for one is said in its value.
type authMethod struct {
	// check says what is wrong with what a request has for the method. Its
	// text follows the name of the field with the method.
	check func(r *Request) error

	// apply adds to the form that is sent, or to its header, what the client
	// authenticates by.
	apply func(r *Request, a *authentication)

	// asserts says that apply needs an assertion.
	asserts bool
}

// authMethods are the methods by their names, which are those of RFC 7591,
// section 2, as far as it has them.
var authMethods = map[string]authMethod{
	"none":                    {check: needsNoSecret, apply: applyNone},
	"client_secret_post":      {check: needsSecret, apply: applyPost},
	"client_secret_basic":     {check: needsSecret, apply: applyBasic},
	"client_secret_basic_raw": {check: needsSecret, apply: applyBasicRaw},

	"private_key_jwt":             {check: needsAssertion, apply: applyAssertion, asserts: true}, // RFC 7523, section 2.2
	"tls_client_auth":             {check: needsKey, apply: applyNone},                           // RFC 8705, section 2.1
	"self_signed_tls_client_auth": {check: needsKey, apply: applyNone},                           // RFC 8705, section 2.2
}

// assertionType is the client_assertion_type of RFC 7523, section 2.2.
const assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

var (
	errSecretMissing = errors.New("needs a client secret")
	errKeyMissing    = errors.New("needs a client key")
	errNoAssertion   = errors.New("needs a client key, or Manager.Assertion")
	errMethodUnknown = errors.New("is unknown")
	errAuthMethod    = errors.New("the client authentication method is unknown")
)

// CheckAuth says what is wrong with AuthMethod and what r has for it. Do, Revoke
// and Push send what there is: they fail only with a method that is unknown, or
// without the Assertion that it needs.
func (r *Request) CheckAuth() error {
	m, ok := authMethods[r.AuthMethod]
	if !ok {
		return errMethodUnknown
	}
	return m.check(r)
}

func needsSecret(r *Request) error {
	if r.ClientSecret == "" {
		return errSecretMissing
	}
	return nil
}

func needsNoSecret(r *Request) error {
	if r.ClientSecret != "" {
		return fmt.Errorf("%q is for clients without a secret", r.AuthMethod)
	}
	return nil
}

func needsKey(r *Request) error {
	if !r.HasKey {
		return errKeyMissing
	}
	return needsNoSecret(r)
}

func needsAssertion(r *Request) error {
	if !r.HasKey && r.Assertion == nil {
		return errNoAssertion
	}
	return needsNoSecret(r)
}

// applyNone names the client (RFC 6749, section 3.2.1). In the form nothing is
// proved: a TLS handshake may do that.
func applyNone(r *Request, a *authentication) {
	a.set(a.clientID, r.ClientID)
}

func applyPost(r *Request, a *authentication) {
	a.set(a.clientID, r.ClientID)
	a.setSecret("client_secret", r.ClientSecret)
}

// applyBasic encodes both parts as in a form, before it joins them.
func applyBasic(r *Request, a *authentication) {
	a.setBasic(url.QueryEscape(r.ClientID), url.QueryEscape(r.ClientSecret))
}

// applyBasicRaw is applyBasic for servers that do not decode.
func applyBasicRaw(r *Request, a *authentication) {
	a.setBasic(r.ClientID, r.ClientSecret)
}

// applyAssertion names the client too, which RFC 7521 leaves open (section 4.2)
// and servers such as Entra ID want.
func applyAssertion(r *Request, a *authentication) {
	a.set(a.clientID, r.ClientID)
	a.set("client_assertion_type", assertionType)
	a.setSecret("client_assertion", a.assertion)
}

// A Credential is a header that is sent in place of the client's authentication.
type Credential struct {
	Header, Value string

	// Secrets are what of Value must not be shown by itself.
	Secrets []string

	// Token says that the credential is the token to be revoked. If it is not
	// accepted any more, nothing is left to revoke.
	Token bool
}

// Format writes nothing of c, whatever the verb.
func (c Credential) Format(f fmt.State, verb rune) { io.WriteString(f, "Credential{[redacted]}") }

// An authentication is a form with what its client authenticates by. A method
// adds to it through set, setSecret and setBasic only, so that secrets has every
// credential that is sent.
type authentication struct {
	form          url.Values
	clientID      string   // the name of the parameter client_id
	assertion     string   // for applyAssertion
	authorization string   // the header; empty: none
	secrets       []string // what of the above is secret
}

// authenticate returns a copy of r's form with what r's client authenticates
// by: exactly one method (RFC 6749, section 2.3), unless r says that there is
// none.
//
// assertion is what r.assert has returned.
func authenticate(r *Request, assertion string) (*authentication, error) {
	h := r.habits()
	a := &authentication{form: maps.Clone(r.Form), clientID: cmp.Or(h.ClientIDParam, "client_id"), assertion: assertion}
	if r.Anonymous || r.Credential != nil {
		if values := a.form["client_id"]; values != nil {
			a.form.Del("client_id")
			a.form[a.clientID] = values
		}
		if c := r.Credential; c != nil {
			a.secrets = append(slices.Clip(c.Secrets), c.Value)
		}
		return a, nil
	}
	m, ok := authMethods[r.AuthMethod]
	if !ok {
		return nil, errAuthMethod
	}
	a.form.Del("client_id")
	a.form.Del(a.clientID)
	for _, name := range []string{"client_secret", "client_assertion", "client_assertion_type"} {
		a.form.Del(name)
	}
	m.apply(r, a)
	if r.namesClient {
		a.set(a.clientID, r.ClientID)
	}
	return a, nil
}

// needsAssertion reports whether the request is sent with an assertion.
func (r *Request) needsAssertion() bool {
	return !r.Anonymous && r.Credential == nil && authMethods[r.AuthMethod].asserts
}

// assert returns an assertion of the client.
func (r *Request) assert(ctx context.Context) (string, error) {
	var assertion string
	err := foreign.CallWithin(ctx, func() (err error) {
		assertion, err = r.Assertion(ctx)
		return err
	})
	switch {
	case err != nil && ctx.Err() != nil:
		return "", &assertionError{"the client's assertion did not come in time", errors.Join(ctx.Err(), context.Cause(ctx), err)}
	case err != nil:
		return "", &assertionError{"the client's assertion cannot be had", err}
	case assertion == "":
		return "", errEmptyAssertion
	}
	return assertion, nil
}

var errEmptyAssertion = errors.New("the client's assertion is empty")

// An assertionError says why there is no assertion, without the text of the
// cause: the function is the caller's, and its error may have a secret in it.
// [errors.Is] and [errors.As] find the cause.
type assertionError struct {
	text  string
	cause error
}

func (e *assertionError) Error() string                 { return e.text }
func (e *assertionError) Is(target error) bool          { return errors.Is(e.cause, target) }
func (e *assertionError) As(target any) bool            { return errors.As(e.cause, target) }
func (e *assertionError) Format(f fmt.State, verb rune) { safetext.Format(f, verb, e.text) }

// set adds a parameter that may be shown.
func (a *authentication) set(name, value string) { a.form.Set(name, value) }

// setSecret adds a parameter that must not be shown.
func (a *authentication) setSecret(name, value string) {
	a.set(name, value)
	a.secrets = append(a.secrets, value)
}

// setBasic sets the header of RFC 7617, which must not be shown, nor must the
// password in it.
func (a *authentication) setBasic(user, password string) {
	encoded := base64.StdEncoding.EncodeToString([]byte(user + ":" + password))
	a.authorization = "Basic " + encoded
	a.secrets = append(a.secrets, encoded, password)
}
