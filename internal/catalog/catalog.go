// Package catalog has the providers whose addresses and habits are known, as
// rows of data.
//
// What a row says is checked against what the provider publishes, and narrows
// it: a document that names another issuer, or an address elsewhere, is not
// the provider's.
package catalog

import (
	"errors"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/authprofile/authprofile/internal/address"
	"github.com/authprofile/authprofile/internal/issuer"
)

// A Row is what is known about a provider.
type Row struct {
	Name string

	// discovery is the address of its document. In it, {host} stands for the
	// first of hosts, or for the one that the template names, and {tenant}
	// for the tenant.
	discovery string
	hosts     []string

	// endpoints are where its addresses may lie, as host names; with a dot in
	// front, all names under it. {host} is the host of the document. An
	// address that a document names elsewhere is refused.
	endpoints []string

	// issuer is what the document must give as issuer, if that is not what
	// the standards derive from its URL. {id} stands for the tenant's ID:
	// tenantIDs where they list the tenant, the tenant itself if it is a
	// GUID, and any GUID otherwise.
	issuer    string
	tenantIDs map[string]string

	// IssuerAliases are what ID tokens may have as "iss" in place of the
	// document's issuer.
	IssuerAliases []string

	// What the authorization request needs for a refresh token to be issued.
	Params url.Values
	Scopes []string

	// IdleLife is after how long the provider ends a refresh token that was not
	// used, and AbsoluteLife after how long one that was; zero: not known, or
	// never.
	IdleLife, AbsoluteLife time.Duration

	AuthMethod     string // of the client, as in token_endpoint_auth_methods_supported; empty: as the document says
	ScopeOnRefresh bool   // without it, the provider may narrow the scope silently
}

// A Provider is a row with its host and tenant filled in.
type Provider struct {
	*Row
	host, tenant string
}

// Lookup finds a provider by what a template says: "name", "name/tenant" or
// "name/host/tenant". The text of the error goes on from "the template".
func Lookup(template string) (*Provider, error) {
	name, rest, _ := strings.Cut(template, "/")
	i := slices.IndexFunc(rows, func(r Row) bool { return r.Name == name })
	if i < 0 {
		return nil, errors.New("is unknown")
	}
	p := &Provider{Row: &rows[i], host: rows[i].hosts[0], tenant: rest}
	if !strings.Contains(p.discovery, "{tenant}") {
		if name != template {
			return nil, errors.New("has no tenants")
		}
		return p, nil
	}
	if host, tenant, ok := strings.Cut(rest, "/"); ok {
		if !slices.Contains(p.hosts, host) {
			return nil, errors.New("names a host that is not one of the provider's")
		}
		p.host, p.tenant = host, tenant
	}
	if !validTenant(p.tenant) || !strings.Contains(p.tenant, ".") && !issuer.IsGUID(p.tenant) && p.tenantIDs[strings.ToLower(p.tenant)] == "" {
		return nil, errors.New("needs a tenant: a domain, an ID, or a name that the provider defines")
	}
	return p, nil
}

// DiscoveryURL returns the address of the provider's document.
func (p *Provider) DiscoveryURL() string {
	return strings.NewReplacer("{host}", p.host, "{tenant}", p.tenant).Replace(p.discovery)
}

// IssuerFits reports whether a document's issuer is one that this provider
// may give at this address.
func (p *Provider) IssuerFits(name string) bool {
	if p.issuer == "" {
		return issuer.FitsDocument(p.DiscoveryURL(), name)
	}
	before, after, ok := strings.Cut(strings.ReplaceAll(p.issuer, "{host}", p.host), "{id}")
	id, fits := strings.CutPrefix(name, before)
	id, fits2 := strings.CutSuffix(id, after)
	switch known := p.tenantIDs[strings.ToLower(p.tenant)]; {
	case !ok || !fits || !fits2:
		return false
	case known != "":
		return id == known
	case issuer.IsGUID(p.tenant):
		return strings.EqualFold(id, p.tenant)
	default:
		return issuer.IsGUID(id)
	}
}

// HostFits reports whether the provider's addresses may lie on a host.
func (p *Provider) HostFits(host string) bool {
	return slices.ContainsFunc(p.endpoints, func(e string) bool {
		e = strings.ReplaceAll(e, "{host}", p.host)
		if strings.HasPrefix(e, ".") {
			return strings.HasSuffix(host, e)
		}
		return host == e
	})
}

func validTenant(s string) bool {
	return s != "" && len(s) <= 253 && strings.Trim(s, ".-") == s && !strings.Contains(s, "..") && address.OnlyAlphanumeric(s, ".-")
}
