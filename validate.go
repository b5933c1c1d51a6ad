package authprofile

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/authprofile/authprofile/internal/address"
	"github.com/authprofile/authprofile/internal/catalog"
	"github.com/authprofile/authprofile/internal/clientkey"
	"github.com/authprofile/authprofile/internal/tokenendpoint"
)

// Limits of what a profile may hold, in bytes. They are far above what is seen
// in practice, and low enough for a column in any database.
const (
	maxID          = 255
	maxUser        = 512
	maxName        = 512
	maxDescription = 4096
	maxClient      = 4096
	maxKey         = 64 << 10 // a private key and its chain of certificates
	maxList        = 16384
)

// shortestKeepAlive is the least that Profile.KeepAlive may be, so that what is
// to keep idle grants alive does not become a second source of renewals.
const shortestKeepAlive = 24 * time.Hour

// Validate returns every problem of p at once, joined, each as a [*FieldError];
// or nil. A user profile without a redirect address is valid by itself, since
// its Manager may have one: [Manager.Save] reports it if neither has.
//
// Of templates it knows the built-in providers. Those of Manager.Providers are known
// to [Manager.Save] alone.
func (p *Profile) Validate() error {
	return p.validate(new(catalog.Catalog), func(key Secret) (*clientkey.Key, error) { return clientkey.Parse(string(key)) })
}

// validate is Validate with a catalogue of providers, and with what reads keys.
func (p *Profile) validate(providers *catalog.Catalog, parse func(Secret) (*clientkey.Key, error)) error {
	var v problems

	if p.ID != "" {
		v.add("ID", checkIdentifier(p.ID, maxID))
		if p.ID == "." || p.ID == ".." {
			v.add("ID", "cannot stand in the path of an address")
		}
	}
	v.add("Name", checkText(p.Name, maxName))
	v.add("Description", checkText(p.Description, maxDescription))

	switch p.Type {
	case TypeApp, TypeUser:
	case "":
		v.add("Type", `is missing: give TypeApp ("app") or TypeUser ("user")`)
	default:
		v.add("Type", `is unknown: give TypeApp ("app") or TypeUser ("user")`)
	}

	if p.ClientID == "" {
		v.add("ClientID", "is missing")
	}
	v.add("ClientID", checkVisible(p.ClientID))
	v.add("ClientSecret", checkVisible(string(p.ClientSecret)))
	if p.ClientSecret == redacted {
		v.add("ClientSecret", `is the placeholder "[redacted]", not a secret`)
	}
	v.add("ClientKey", checkText(string(p.ClientKey), maxKey))
	if p.ClientKey == redacted {
		v.add("ClientKey", `is the placeholder "[redacted]", not a key`)
	}
	switch {
	case p.ClientKey != "" && p.ClientSecret != "":
		v.add("ClientKey", "is not wanted beside a client secret")
	case p.ClientKey != "" && p.AuthMethod != "" && !slices.Contains(byKey, p.AuthMethod):
		v.add("ClientKey", "is not wanted with this AuthMethod")
	case p.ClientKey != redacted && len(p.ClientKey) <= maxKey:
		v.add("ClientKey", p.checkKey(parse))
	}

	if p.AuthMethod != "" {
		r := tokenendpoint.Request{AuthMethod: string(p.AuthMethod), ClientSecret: string(p.ClientSecret), HasKey: p.ClientKey != "", Assertion: anAssertion}
		if err := r.CheckAuth(); err != nil {
			v.add("AuthMethod", err.Error())
		}
	}

	p.validateProvider(&v, providers)

	size := 0
	for i, s := range p.Scopes {
		size += len(s) + 1
		v.add(fmt.Sprintf("Scopes[%d]", i), checkScope(s))
	}
	if size > maxList {
		v.add("Scopes", "are too long together")
	}

	switch {
	case p.RedirectURL == "":
	case p.Type == TypeApp:
		v.add("RedirectURL", "is for user profiles: nobody is sent anywhere")
	default:
		v.add("RedirectURL", checkRedirectAddress(p.RedirectURL))
	}

	v.addParams("Params", p.Params)
	v.add("Params", checkResource(p.Params))
	v.addParams("TokenParams", p.TokenParams)
	v.add("TokenParams", checkResource(p.TokenParams))
	if p.Type == TypeApp && len(p.TokenParams) > 0 {
		v.add("TokenParams", "are for user profiles: the Params of an app profile go to the token endpoint")
	}

	size = 0
	for i, host := range p.APIHosts {
		size += len(host) + 1
		v.add(fmt.Sprintf("APIHosts[%d]", i), checkAPIHost(host))
	}
	if size > maxList {
		v.add("APIHosts", "are too long together")
	}

	if t := p.SecretExpires; !t.IsZero() && (t.Year() < 1970 || t.Year() > 9999) {
		v.add("SecretExpires", "is not a time between the years 1970 and 9999")
	}
	switch {
	case p.KeepAlive != 0 && p.Type == TypeApp:
		v.add("KeepAlive", "is for user profiles: the token of an app profile needs no use to stay renewable")
	case p.KeepAlive > 0 && p.KeepAlive < shortestKeepAlive:
		v.add("KeepAlive", "is less than a day")
	}
	return v.join()
}

// anAssertion stands for Manager.Assertion, which a profile does not know.
func anAssertion(context.Context) (string, error) { return "", nil }

// addParams adds what is wrong with extra parameters.
func (v *problems) addParams(field string, params url.Values) {
	size := 0
	for _, name := range slices.Sorted(maps.Keys(params)) {
		for _, s := range params[name] {
			size += len(name) + len(s) + 2
			if !utf8.ValidString(s) || strings.ContainsRune(s, 0) {
				v.add(field, fmt.Sprintf("%q is not valid UTF-8 text", name))
			}
		}
		if name == "" || !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl) {
			v.add(field, "have a name that is empty or not text")
		}
		if slices.Contains(reservedParams, name) {
			v.add(field, fmt.Sprintf("%q is set by the library", name))
		}
	}
	if size > maxList {
		v.add(field, "are too long together")
	}
}

// checkAPIHost says what is wrong with an element of APIHosts, or nothing.
func checkAPIHost(s string) string {
	host, port, hasPort := strings.Cut(strings.TrimPrefix(s, "."), ":")
	if strings.HasPrefix(s, "[") || strings.Count(s, ":") > 1 { // an IPv6 address
		u, err := url.Parse("https://" + s)
		if err != nil || u.Host != s {
			return "is neither a host nor a host and a port"
		}
		host, port, hasPort = u.Hostname(), u.Port(), u.Port() != ""
	}
	if n, err := strconv.ParseUint(port, 10, 16); hasPort && (err != nil || n == 0) {
		return "has a port that is not a number from 1 to 65535"
	}
	if host == "" || !address.ValidHost(host) || strings.HasPrefix(host, ".") {
		return "is neither a host nor a host and a port"
	}
	return ""
}

// reservedParams are the parameters of authorization and token requests that
// have a field of their own, or that protect the exchange. response_mode is
// among them because a code in a fragment or in a posted form would not reach
// the page that is bound to the browser.
var reservedParams = []string{
	"client_assertion", "client_assertion_type", "client_id", "client_secret",
	"code", "code_challenge", "code_challenge_method", "code_verifier",
	"grant_type", "nonce", "redirect_uri", "refresh_token", "request",
	"request_uri", "response_mode", "response_type", "scope", "state",
}

// validateProvider checks that p names its provider in exactly one way.
func (p *Profile) validateProvider(v *problems, providers *catalog.Catalog) {
	e := &p.Endpoints
	for _, a := range []struct{ field, value string }{
		{"DiscoveryURL", e.DiscoveryURL},
		{"AuthURL", e.AuthURL},
		{"TokenURL", e.TokenURL},
		{"RevocationURL", e.RevocationURL},
		{"DeviceAuthURL", e.DeviceAuthURL},
	} {
		if a.value == "" {
			continue
		}
		v.add("Endpoints."+a.field, checkAddress(a.value))
		if p.Template != "" {
			v.add("Endpoints."+a.field, "is not wanted with a template, which knows its addresses")
		}
	}

	if e.PARURL != "" {
		v.add("Endpoints.PARURL", checkAddress(e.PARURL))
		if p.Type == TypeApp {
			v.add("Endpoints.PARURL", "is for user profiles: an application is not sent anywhere to log in")
		}
	}

	if p.Template != "" {
		known, err := providers.Lookup(string(p.Template))
		if err != nil {
			v.add("Template", err.Error())
		}
		if p.Type == TypeApp && err == nil && known.App == nil {
			v.add("Template", "is of a provider without a grant for applications: give an app profile a discovery or token address")
		}
		return
	}

	if e.DiscoveryURL != "" {
		if e.AuthURL != "" {
			v.add("Endpoints.AuthURL", "is not wanted with a discovery document, which has it")
		}
		if e.TokenURL != "" {
			v.add("Endpoints.TokenURL", "is not wanted with a discovery document, which has it")
		}
		return
	}

	switch {
	case e.AuthURL == "" && e.TokenURL == "" && p.Type == TypeApp:
		v.add("Endpoints", "are missing: give a discovery address or a token address")
	case e.AuthURL == "" && e.TokenURL == "":
		v.add("Endpoints", "are missing: give a template, a discovery address, or authorization and token addresses")
	case e.TokenURL == "":
		v.add("Endpoints.TokenURL", "is missing")
	case e.AuthURL == "" && p.Type == TypeUser:
		v.add("Endpoints.AuthURL", "is missing")
	}
	if e.AuthURL != "" && p.Type == TypeApp {
		v.add("Endpoints.AuthURL", "is for user profiles: an application is not sent anywhere to log in")
	}
}

// problems collects FieldErrors.
type problems []error

func (v *problems) add(field, problem string) {
	if problem != "" {
		*v = append(*v, &FieldError{Field: field, Problem: problem})
	}
}

func (v *problems) join() error { return errors.Join(*v...) }

// checkAddress says what is wrong with an absolute address, or nothing.
func checkAddress(s string) string {
	if err := address.Check(s); err != nil {
		return err.Error()
	}
	return ""
}

// checkRedirectAddress says what is wrong with a redirect address, or nothing.
// A parameter that the provider adds would come twice, or with another value
// than that of the address, and no callback could be told from a forged one.
func checkRedirectAddress(s string) string {
	if problem := checkAddress(s); problem != "" {
		return problem
	}
	_, raw, _ := strings.Cut(s, "?")
	query, _ := address.ReadQuery(raw)
	for _, name := range callbackParams {
		if query.Has(name) {
			return fmt.Sprintf("has %q in its query, which the provider sets", name)
		}
	}
	return ""
}

// callbackParams are the parameters of an authorization response, as the
// registry of OAuth parameters has them (RFC 6749, section 11.2).
var callbackParams = []string{
	"access_token", "code", "error", "error_description", "error_uri", "expires_in",
	"id_token", "iss", "response", "scope", "session_state", "state", "token_type",
}

// checkVisible holds client IDs and secrets to VSCHAR (RFC 6749, appendices
// A.1 and A.2).
func checkVisible(s string) string {
	if len(s) > maxClient {
		return "is too long"
	}
	for _, c := range []byte(s) {
		if c < 0x20 || c > 0x7e {
			return "has a character that is not printable ASCII (RFC 6749, appendix A)"
		}
	}
	return ""
}

// checkScope says what is wrong with a scope, or nothing.
func checkScope(s string) string {
	switch {
	case s == "":
		return "is empty"
	case !tokenendpoint.ValidScope(s):
		return "has a character that no scope may have (RFC 6749, appendix A.4): one scope to an element, no spaces"
	}
	return ""
}

func checkIdentifier(s string, limit int) string {
	switch {
	case len(s) > limit:
		return fmt.Sprintf("is longer than %d bytes", limit)
	case !utf8.ValidString(s):
		return "is not valid UTF-8"
	case strings.ContainsFunc(s, unicode.IsControl):
		return "has a control character"
	}
	return ""
}

func checkText(s string, limit int) string {
	switch {
	case len(s) > limit:
		return fmt.Sprintf("is longer than %d bytes", limit)
	case !utf8.ValidString(s) || strings.ContainsRune(s, 0):
		return "is not valid UTF-8 text"
	}
	return ""
}

// byKey are the client authentication methods that take a key in place of a secret.
var byKey = []AuthMethod{AuthPrivateKeyJWT, AuthTLS, AuthSelfSignedTLS}

// checkKey says what is wrong with the key of a profile, or nothing.
func (p *Profile) checkKey(parse func(Secret) (*clientkey.Key, error)) string {
	if p.ClientKey == "" {
		return ""
	}
	key, err := parse(p.ClientKey)
	if err != nil {
		return err.Error()
	}
	if p.AuthMethod == AuthTLS || p.AuthMethod == AuthSelfSignedTLS {
		if _, err := key.TLSCertificate(); err != nil {
			return err.Error()
		}
	}
	return ""
}

// checkResource says what is wrong with the resources in parameters, or nothing.
// RFC 8707, section 2 wants absolute URIs; providers have names of other kinds.
func checkResource(params url.Values) string {
	if slices.ContainsFunc(params["resource"], func(s string) bool { return strings.Contains(s, "#") }) {
		return `have a "resource" with a fragment (RFC 8707, section 2)`
	}
	return ""
}
