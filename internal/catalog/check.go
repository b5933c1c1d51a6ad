package catalog

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/authprofile/authprofile/internal/address"
)

// Check returns every problem of a row at once, joined; each begins with the
// member that it is about.
func (r *Row) Check() error {
	var c checker
	c.identity(r)
	c.variables(r)
	c.addresses(r)
	c.values(r)
	return errors.Join(c...)
}

type checker []error

func (c *checker) add(member, format string, args ...any) {
	*c = append(*c, fmt.Errorf("%s: %s", member, fmt.Sprintf(format, args...)))
}

var rowName = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)

func (c *checker) identity(r *Row) {
	if !rowName.MatchString(r.Name) {
		c.add("name", "must be of lower-case letters, digits and hyphens")
	}
	if r.Title == "" {
		c.add("title", "is missing")
	}
	if _, err := time.Parse(time.DateOnly, r.Revision); err != nil {
		c.add("revision", "must be a date such as 2026-11-26")
	}
	c.address("register_url", r.RegisterURL)
	if r.RegisterURL == "" {
		c.add("register_url", "is missing")
	}
}

// domainEnd is how a pattern ends that allows names below a known domain only.
var domainEnd = regexp.MustCompile(`\\\.[a-z0-9-]+\\\.([a-z]+|\([a-z|\\.]+\))\$$`)

func (c *checker) variables(r *Row) {
	seen := make(map[string]bool)
	for _, v := range r.Variables {
		member := "variables." + v.Name
		switch {
		case !variableName.MatchString(v.Name), seen[v.Name]:
			c.add("variables", "each needs a name of its own, of lower-case letters and underscores")
		case slices.Contains(ownNames, v.Name):
			c.add("variables", "none can have the name %q, which in braces stands for something else", v.Name)
		}
		seen[v.Name] = true
		if v.Title == "" {
			c.add(member, "needs a title")
		}
		if v.Pattern == "" && v.Values == nil && !v.Host {
			c.add(member, "needs a pattern, values, or to be a host")
		}
		if v.Values != nil && (v.Pattern != "" || v.Host) {
			c.add(member, "has values, and more")
		}
		pattern, err := compile(v.Pattern)
		if err != nil || v.Pattern != "" && !isAnchored(v.Pattern) {
			c.add(member, "must have a pattern that is a regular expression from ^ to $, without | outside of groups")
			continue
		}
		for what, value := range map[string]string{"example": v.Example, "default": v.Default} {
			if value == "" && (what == "default" || v.Optional) {
				continue
			}
			if _, err := v.text(value, patternOrNil(v.Pattern, pattern)); err != nil {
				c.add(member, "has a value as %s that it does not allow", what)
			}
		}
		for _, around := range []string{v.Prefix, v.Suffix} {
			if !address.OnlyAlphanumeric(around, ".-_/") {
				c.add(member, "has a prefix or suffix with a character that does not belong there")
			}
		}
		for _, text := range v.Values {
			if !address.OnlyAlphanumeric(text, ".-_/") {
				c.add(member, "has a value with a text that does not belong in an address")
			}
		}
		if v.endsHost(r) && !strings.HasPrefix(v.Prefix, "/") && !v.Host && v.Values == nil && !domainEnd.MatchString(v.Pattern) {
			c.add(member, `ends a host, and so needs values, to be a host, or a pattern that ends with a domain such as \.example\.com$`)
		}
	}
}

var variableName = regexp.MustCompile(`^[a-z]+(_[a-z]+)*$`)

// ownNames are names that stand for something else in braces.
var ownNames = []string{"token", "client_id", "client_secret", "redirect_uri", "tenant_id"}

// compile compiles a pattern, which must fit a value as a whole. That holds even
// for one with several branches that isAnchored does not see.
func compile(pattern string) (*regexp.Regexp, error) {
	if _, err := regexp.Compile(pattern); err != nil { // it must be complete by itself
		return nil, err
	}
	return regexp.Compile("^(?:" + pattern + ")$")
}

func patternOrNil(text string, p *regexp.Regexp) *regexp.Regexp {
	if text == "" {
		return nil
	}
	return p
}

// isAnchored reports whether a pattern is one branch, from beginning to end.
func isAnchored(pattern string) bool {
	if !strings.HasPrefix(pattern, "^") || !strings.HasSuffix(pattern, "$") || strings.HasSuffix(pattern, `\$`) || strings.Contains(pattern, "(?m") {
		return false
	}
	depth := 0
	for i := 0; i < len(pattern); i++ {
		switch pattern[i] {
		case '\\':
			i++
		case '[':
			for i++; i < len(pattern) && pattern[i] != ']'; i++ {
				if pattern[i] == '\\' {
					i++
				}
			}
		case '(':
			depth++
		case ')':
			depth--
		case '|':
			if depth == 0 {
				return false
			}
		}
	}
	return true
}

// endsHost reports whether the variable is the end of the host of an address, so
// that its value says in which domain that lies.
func (v *Variable) endsHost(r *Row) bool {
	name := "{" + v.Name + "}"
	for _, a := range r.addresses() {
		_, rest, _ := strings.Cut(a.url, "://")
		host := rest[:strings.IndexAny(rest+"/", "/?#:")]
		if strings.HasSuffix(host, name) {
			return true
		}
	}
	return false
}

func (c *checker) addresses(r *Row) {
	if r.DiscoveryURL == "" && (r.AuthURL == "" || r.TokenURL == "") {
		c.add("auth_url", "it needs discovery_url, or auth_url and token_url")
	}
	if r.DiscoveryURL == "" && (r.Issuer != "" || r.TenantIDs != nil) {
		c.add("issuer", "is that of a document, and there is no discovery_url")
	}
	examples := r.examples()
	for _, a := range r.addresses() {
		c.address(a.member, examples.Replace(a.url))
		if u := examples.Replace(a.url); strings.ContainsAny(u, "{}") {
			c.add(a.member, "has something in braces that is not a variable")
		}
	}
	if r.Issuer != "" {
		c.address("issuer", strings.ReplaceAll(examples.Replace(r.Issuer), tenantID, "x"))
	}
	for _, origin := range r.FormerOrigins {
		if err := address.Check(examples.Replace(origin)); err != nil || address.ShortOriginOf(examples.Replace(origin)) != examples.Replace(origin) {
			c.add("former_origins", "must be of the form https://host")
		}
	}
	for _, h := range r.Hosts {
		h = strings.TrimPrefix(examples.Replace(h), ".")
		if !isDNSName(h) {
			c.add("hosts", "must be host names, or domains with a dot in front")
		}
	}
	if r.HostMember != "" && len(r.Hosts) == 0 {
		c.add("host_member", "needs hosts, which say where it may lead")
	}
}

// examples puts the examples of the variables in their places.
func (r *Row) examples() *strings.Replacer {
	var texts []string
	for _, v := range r.Variables {
		text, err := v.text(v.Example, nil)
		if err != nil {
			text = "x"
		}
		texts = append(texts, "{"+v.Name+"}", text)
	}
	return strings.NewReplacer(texts...)
}

// address checks an address of a row: https, always.
func (c *checker) address(member, s string) {
	if s == "" {
		return
	}
	if err := address.Check(s); err != nil {
		c.add(member, "%v", err)
		return
	}
	if u, err := url.Parse(s); err != nil || u.Scheme != "https" && !address.IsLoopback(u.Hostname()) {
		c.add(member, "must be https")
	}
}

// What a member may be that stands for one of several ways.
var choices = map[string][]string{
	"auth_method":            {"", "client_secret_basic", "client_secret_post", "client_secret_basic_raw"},
	"assertion_audience":     {"", "issuer"},
	"app.auth":               {"", "client_secret_basic", "client_secret_post", "client_secret_basic_raw"},
	"body_format":            {"", "json"},
	"pkce":                   {"", "required", "off"},
	"id_token":               {"", "no_nonce", "none"},
	"expiry_format":          {"", "seconds", "milliseconds", "unix", "rfc3339", "jwt"},
	"errors":                 {"dead", "configuration", "unavailable", "refused"},
	"revocation.method":      {"", "POST", "DELETE"},
	"revocation.auth":        {"", "none", "bearer", "client_secret_basic", "client_secret_post"},
	"revocation.body_format": {"", "form", "json", "none"},
	"revocation_tokens":      {"refresh_token", "access_token"},
	"account.method":         {"", "GET", "POST"},
	"account.body_format":    {"", "form", "json"},
	"scope_separator":        {"", ","},
}

func (c *checker) values(r *Row) {
	choose := func(member, value string) {
		if !slices.Contains(choices[member], value) {
			c.add(member, "must be one of %q", choices[member])
		}
	}
	choose("auth_method", r.AuthMethod)
	choose("assertion_audience", r.AssertionAudience)
	choose("body_format", r.BodyFormat)
	choose("pkce", r.PKCE)
	choose("id_token", r.IDToken)
	choose("expiry_format", r.ExpiryFormat)
	choose("scope_separator", r.ScopeSeparator)
	for _, key := range slices.Sorted(maps.Keys(r.Errors)) {
		choose("errors", r.Errors[key])
	}
	if r.App != nil {
		choose("app.auth", r.App.Auth)
		if r.App.Method != "" || r.App.Headers != nil || r.App.BodyFormat != "" {
			c.add("app", "has url, auth and params; all else is as in other token requests")
		}
	} else if r.AppGrant != "" {
		c.add("app_grant", "needs app")
	}
	if v := r.Revocation; v != nil {
		choose("revocation.method", v.Method)
		choose("revocation.auth", v.Auth)
		choose("revocation.body_format", v.BodyFormat)
		if v.URL == "" {
			c.add("revocation.url", "is missing")
		}
		if len(v.Headers) > 1 || len(v.Headers) == 1 && v.Auth != "" {
			c.add("revocation.headers", "take the place of auth, and are one header")
		}
	}
	for _, kind := range r.RevocationTokens {
		choose("revocation_tokens", kind)
	}
	switch a := r.Account; {
	case a == nil && (r.AccountID != "" || r.AccountName != ""):
		c.add("account", "is missing")
	case a != nil:
		choose("account.method", a.Method)
		choose("account.body_format", a.BodyFormat)
		if a.URL == "" || r.AccountID == "" {
			c.add("account", "needs a url, and account_id")
		}
		if a.Auth != "" {
			c.add("account", "takes the token as API requests do")
		}
	}
	if r.CallbackCode != "" && !IsCodeName(r.CallbackCode) {
		c.add("callback_code", `must end with "code", by which it is known as a secret`)
	}
	if r.RefreshGrant != "" && !slices.Contains(slices.Collect(maps.Values(r.RefreshParams)), "{token}") {
		c.add("refresh_grant", "needs a parameter with {token} in refresh_params")
	}
	if (r.ExpiryMember == "") != (r.ExpiryFormat == "" || r.ExpiryFormat == "jwt") {
		c.add("expiry_format", "needs expiry_member, except jwt, and goes with it")
	}
	for _, d := range []int{r.IdleDays, r.AbsoluteDays} {
		if d < 0 || d > 10*366 {
			c.add("idle_days", "idle_days and absolute_days are from 0 to 3660 days")
		}
	}
	c.headers("headers", r.Headers)
	c.headers("api_headers", r.APIHeaders)
	if r.Revocation != nil {
		c.headers("revocation.headers", r.Revocation.Headers)
	}
	if r.Account != nil {
		c.headers("account.headers", r.Account.Headers)
	}
	if all := strings.Join(slices.Collect(maps.Values(r.APIHeaders)), "\n") + "\n"; strings.Count(all, "{token}") > 1 ||
		strings.Count(all, "{token}") != strings.Count(all, "{token}\n") {
		c.add("api_headers", "can have {token} once, at the end of a value")
	}
	for _, params := range []map[string]string{r.AuthParams, r.TokenParams, r.RefreshParams} {
		for name := range params {
			if slices.Contains(protected, name) {
				c.add("auth_params", "auth_params, token_params and refresh_params cannot have %q", name)
			}
		}
	}
}

// IsCodeName reports whether a parameter of a callback can be the code: "code", or
// a row's callback_code, which is kept out of logs by this even before it is known
// which row a callback is of.
func IsCodeName(name string) bool {
	return strings.HasSuffix(name, "code") && !strings.HasPrefix(name, "error")
}

// headers checks further headers of requests.
func (c *checker) headers(member string, headers map[string]string) {
	for name, value := range headers {
		if name == "" || !address.OnlyAlphanumeric(name, "-") || strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r > '~' }) {
			c.add(member, "must be names and values of headers, in printable ASCII")
		}
	}
}

// protected are the parameters that protect an exchange.
var protected = []string{
	"client_assertion", "client_assertion_type", "client_secret", "code", "code_challenge", "code_challenge_method",
	"code_verifier", "nonce", "refresh_token", "request", "request_uri", "response_mode", "response_type", "state",
}
