package tokenendpoint

import (
	"cmp"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/url"
	"slices"
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
}

// authMethods are the methods by their names, which are those of RFC 7591,
// section 2, as far as it has them.
var authMethods = map[string]authMethod{
	"none":                    {check: needsNoSecret, apply: applyNone},
	"client_secret_post":      {check: needsSecret, apply: applyPost},
	"client_secret_basic":     {check: needsSecret, apply: applyBasic},
	"client_secret_basic_raw": {check: needsSecret, apply: applyBasicRaw},
}

var (
	errSecretMissing  = errors.New("needs a client secret")
	errSecretUnwanted = errors.New(`"none" is for clients without a secret`)
	errMethodUnknown  = errors.New("is unknown")
	errAuthMethod     = errors.New("the client authentication method is unknown")
)

// CheckAuth says what is wrong with AuthMethod and what r has for it. Do and
// Revoke send what there is: they fail only with a method that is unknown.
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
		return errSecretUnwanted
	}
	return nil
}

// applyNone names the client, and proves nothing (RFC 6749, section 3.2.1).
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
	authorization string   // the header; empty: none
	secrets       []string // what of the above is secret
}

// authenticate returns a copy of r's form with what r's client authenticates
// by: exactly one method (RFC 6749, section 2.3), unless r says that there is
// none.
func authenticate(r *Request) (*authentication, error) {
	h := r.habits()
	a := &authentication{form: maps.Clone(r.Form), clientID: cmp.Or(h.ClientIDParam, "client_id")}
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
	a.form.Del("client_secret")
	m.apply(r, a)
	return a, nil
}

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
