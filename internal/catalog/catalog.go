// Package catalog knows the providers that a template can name: where they are,
// and in what they differ from the standards.
//
// A provider is a [Row], as data; that of a template, with the template's
// variables in their places, is a [Provider]. A variable comes from whoever may
// save a profile, so it is held to what its row allows, and to characters that
// mean nothing in an address. The package works on strings, and neither asks a
// provider nor keeps anything but its rows.
package catalog

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/authprofile/authprofile/internal/address"
	"github.com/authprofile/authprofile/internal/issuer"
)

// A Catalog has the built-in rows and those of an application. The zero Catalog
// has the built-in ones alone.
type Catalog struct{ own map[string]*entry }

// New makes a Catalog with rows that come before built-in ones of the same name.
func New(rows []*Row) *Catalog { return &Catalog{index(rows)} }

// An entry is a row that can be looked up.
type entry struct {
	row      *Row
	problem  func() error // why the row cannot be used, found out at its first use
	patterns func() map[string]*regexp.Regexp
}

func index(rows []*Row) map[string]*entry {
	m := make(map[string]*entry, len(rows))
	for _, r := range rows {
		e := &entry{row: r, problem: sync.OnceValue(r.Check)}
		e.patterns = sync.OnceValue(r.patterns)
		if m[r.Name] != nil {
			e.problem = func() error { return errors.New("name: there are two rows of this name") }
		}
		m[r.Name] = e
	}
	return m
}

func (r *Row) patterns() map[string]*regexp.Regexp {
	m := make(map[string]*regexp.Regexp)
	for _, v := range r.Variables {
		if v.Pattern != "" {
			pattern, err := compile(v.Pattern)
			if err != nil {
				panic(err) // Check has compiled it, too
			}
			m[v.Name] = pattern
		}
	}
	return m
}

// A Provider is a row with the variables of a template in their places.
type Provider struct {
	Row                        // expanded
	Template string            // by which it was found
	typed    map[string]string // the values of the variables, as the template has them
	places   []string          // the hosts of the row's own addresses
}

// Lookup finds the provider of a template: the name of a row and the values of
// its variables, separated by slashes. The text of the error has nothing of the
// template, and goes on from its name.
func (c *Catalog) Lookup(template string) (*Provider, error) {
	if template == "" { // which is no reason to read the built-in rows
		return nil, errors.New("is unknown")
	}
	name, rest, hasRest := strings.Cut(template, "/")
	e := c.own[name]
	if e != nil {
		if err := e.problem(); err != nil {
			return nil, fmt.Errorf("has a row that cannot be used: %w", err)
		}
	} else if e = builtIn()[name]; e == nil {
		return nil, errors.New("is unknown")
	}
	var segments []string
	if hasRest {
		segments = strings.Split(rest, "/")
	}
	p, err := e.provider(segments)
	if err != nil {
		return nil, err
	}
	p.Template = template
	return p, nil
}

// provider puts the values of a template into a row.
func (e *entry) provider(segments []string) (*Provider, error) {
	r := e.row
	extra := len(segments) - r.required() // those for optional variables
	switch {
	case (extra < 0 || len(segments) > len(r.Variables)) && len(r.Variables) == 0:
		return nil, errors.New("has nothing that could follow the provider's name")
	case extra < 0 || len(segments) > len(r.Variables):
		return nil, fmt.Errorf("must be written %s", r.Usage())
	}
	p := &Provider{typed: make(map[string]string, len(r.Variables))}
	texts := make([]string, 0, 2*len(r.Variables))
	for _, v := range r.Variables {
		value := v.Default
		if !v.isOptional() || extra > 0 {
			value, segments = segments[0], segments[1:]
			if v.isOptional() {
				extra--
			}
			if value == "" {
				return nil, fmt.Errorf("must be written %s", r.Usage())
			}
		}
		text, err := v.text(value, e.patterns()[v.Name])
		if err != nil {
			return nil, fmt.Errorf("needs as %s %w", v.Name, err)
		}
		p.typed[v.Name] = value
		texts = append(texts, "{"+v.Name+"}", text)
	}
	p.expand(r, strings.NewReplacer(texts...))
	if err := p.check(); err != nil {
		return nil, err
	}
	return p, nil
}

func (v *Variable) isOptional() bool { return v.Optional || v.Default != "" }

// required returns how many variables a template must give.
func (r *Row) required() (n int) {
	for _, v := range r.Variables {
		if !v.isOptional() {
			n++
		}
	}
	return n
}

// Usage says how a template of the row is written: "microsoft[/{host}]/{tenant}".
func (r *Row) Usage() string {
	var b strings.Builder
	b.WriteString(r.Name)
	for _, v := range r.Variables {
		if v.isOptional() {
			fmt.Fprintf(&b, "[/{%s}]", v.Name)
		} else {
			fmt.Fprintf(&b, "/{%s}", v.Name)
		}
	}
	return b.String()
}

// maxValue is how long the value of a variable may be, in bytes: as long as a
// name in the DNS.
const maxValue = 253

// text returns what a value of the variable becomes in addresses.
func (v *Variable) text(value string, pattern *regexp.Regexp) (string, error) {
	if value == "" && v.Optional {
		return "", nil
	}
	// Whatever a row allows: nothing of a value may end a part of an address, or
	// lead from one path to another.
	if value == "" || len(value) > maxValue || !address.OnlyAlphanumeric(value, ".-_~") ||
		strings.Contains(value, "..") || strings.Trim(value, ".") == "" {
		return "", v.refusal()
	}
	text := value
	switch {
	case v.Values != nil:
		t, ok := v.Values[value]
		if !ok {
			return "", v.refusal()
		}
		text = t
	case v.Host && !isDNSName(value), pattern != nil && !pattern.MatchString(value):
		return "", v.refusal()
	}
	if text == "" {
		return "", nil
	}
	return v.Prefix + text + v.Suffix, nil
}

// refusal says what a value must be like.
func (v *Variable) refusal() error {
	switch {
	case v.Values != nil:
		names := make([]string, 0, len(v.Values))
		for name := range v.Values {
			names = append(names, name)
		}
		slices.Sort(names)
		return errors.New("one of " + strings.Join(names, ", "))
	case v.Host:
		return fmt.Errorf("a host name in lower case such as %s, without a port", v.Example)
	}
	return errors.New("such as " + v.Example)
}

// isDNSName reports whether s is a host name with a dot in it, in lower case. A
// name whose last label is a number may be an IPv4 address in one of its
// spellings.
func isDNSName(s string) bool {
	labels := strings.Split(s, ".")
	for _, l := range labels {
		if l == "" || len(l) > 63 || l[0] == '-' || l[len(l)-1] == '-' ||
			strings.Trim(l, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
			return false
		}
	}
	last := labels[len(labels)-1]
	return len(labels) > 1 && len(s) <= maxValue && len(last) > 1 && 'a' <= last[0] && last[0] <= 'z'
}

// expand fills p in from a row, with the variables in their places.
func (p *Provider) expand(r *Row, vars *strings.Replacer) {
	p.Row = *r
	if len(r.Variables) == 0 {
		return
	}
	list := func(in []string) []string {
		out := slices.Clone(in)
		for i := range out {
			out[i] = vars.Replace(out[i])
		}
		return out
	}
	values := func(in map[string]string) map[string]string {
		if in == nil {
			return nil
		}
		out := make(map[string]string, len(in))
		for name, s := range in {
			out[name] = vars.Replace(s)
		}
		return out
	}
	for _, s := range []*string{&p.DiscoveryURL, &p.Issuer, &p.AuthURL, &p.TokenURL, &p.RefreshURL, &p.RedirectURI} {
		*s = vars.Replace(*s)
	}
	p.Hosts, p.IssuerAliases, p.FormerOrigins = list(r.Hosts), list(r.IssuerAliases), list(r.FormerOrigins)
	for i, h := range p.Hosts {
		if strings.HasPrefix(h, ".") && !strings.HasPrefix(r.Hosts[i], ".") { // of a variable that is left out: not a domain
			p.Hosts[i] = ""
		}
	}
	p.AuthParams, p.TokenParams, p.RefreshParams = values(r.AuthParams), values(r.TokenParams), values(r.RefreshParams)
	p.CallbackMatch = values(r.CallbackMatch)
	for _, req := range []**Request{&p.App, &p.Revocation, &p.Account} {
		if *req != nil {
			c := **req
			c.URL, c.Params = vars.Replace(c.URL), values(c.Params)
			*req = &c
		}
	}
}

// check makes sure of what the variables have led to, and finds the hosts of
// the addresses.
func (p *Provider) check() error {
	for _, a := range p.addresses() {
		if err := address.Check(a.url); err != nil {
			return fmt.Errorf("leads to an address that %w", err)
		}
		u, err := url.Parse(a.url)
		if err != nil {
			return errors.New("leads to no address")
		}
		p.places = append(p.places, strings.ToLower(u.Host))
	}
	return nil
}

// A place is an address of a row, and the member that has it.
type place struct{ member, url string }

// addresses returns those of the row. One that needs a member of an answer is
// not known yet.
func (r *Row) addresses() []place {
	list := []place{
		{"discovery_url", r.DiscoveryURL}, {"auth_url", r.AuthURL}, {"token_url", r.TokenURL}, {"refresh_url", r.RefreshURL},
	}
	if r.App != nil {
		list = append(list, place{"app.url", r.App.URL})
	}
	if r.Revocation != nil {
		list = append(list, place{"revocation.url", strings.ReplaceAll(r.Revocation.URL, "{client_id}", "x")})
	}
	if r.Account != nil && !r.needsAnswer(r.Account.URL) {
		list = append(list, place{"account.url", r.Account.URL})
	}
	return slices.DeleteFunc(list, func(a place) bool { return a.url == "" })
}

// Addresses returns those at which the provider is asked for authorizations and
// tokens, as far as the row says them, its document's first.
func (p *Provider) Addresses() []string {
	return slices.DeleteFunc([]string{p.DiscoveryURL, p.TokenURL, p.AuthURL, p.RefreshURL}, func(s string) bool { return s == "" })
}

// braces is a name in braces.
var braces = regexp.MustCompile(`\{[^{}]*\}`)

// needsAnswer reports whether an address has a name in it that is none of the row's
// variables: a member of an answer.
func (r *Row) needsAnswer(s string) bool {
	return slices.ContainsFunc(braces.FindAllString(s, -1), func(name string) bool {
		return !slices.ContainsFunc(r.Variables, func(v Variable) bool { return name == "{"+v.Name+"}" })
	})
}

// IssuerFits reports whether the provider's document may give that issuer.
func (p *Provider) IssuerFits(name string) bool {
	if p.Issuer == "" {
		return issuer.FitsDocument(p.DiscoveryURL, name)
	}
	trimmed := strings.TrimSuffix(name, "/")
	before, after, ok := strings.Cut(strings.TrimSuffix(p.Issuer, "/"), tenantID)
	if !ok {
		return trimmed == before
	}
	id, fits := strings.CutPrefix(trimmed, before)
	id, fits2 := strings.CutSuffix(id, after)
	tenant := p.typed["tenant"]
	switch known := p.TenantIDs[strings.ToLower(tenant)]; {
	case !fits || !fits2:
		return false
	case known != "":
		return id == known
	case issuer.IsGUID(tenant):
		return strings.EqualFold(id, tenant)
	default:
		return issuer.IsGUID(id)
	}
}

const tenantID = "{tenant_id}"

// HostFits reports whether a host, with a port if it has one, is the provider's.
func (p *Provider) HostFits(host string) bool {
	host = strings.ToLower(host)
	return slices.Contains(p.places, host) || slices.ContainsFunc(p.Hosts, func(h string) bool {
		if strings.HasPrefix(h, ".") {
			return strings.HasSuffix(host, h) && isDNSName(host)
		}
		return host == h && h != ""
	})
}

// IdleLife is after how long the provider ends a refresh token that was not
// used. Zero: not known, or never.
func (p *Provider) IdleLife() time.Duration { return time.Duration(p.IdleDays) * day }

// AbsoluteLife is after how long the provider ends a refresh token that was
// used. Zero: not known, or never.
func (p *Provider) AbsoluteLife() time.Duration { return time.Duration(p.AbsoluteDays) * day }

const day = 24 * time.Hour
