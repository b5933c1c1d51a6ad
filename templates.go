package authprofile

import (
	"errors"
	"net/url"
	"slices"
	"strings"
)

// A Template names a provider whose addresses and habits the library knows.
// It is plain text, "google" or "microsoft/contoso.com", and can be stored and
// compared as such.
type Template string

// Google is Google Identity.
//
// It asks for offline access and for consent, because Google gives a refresh
// token only then.
const Google Template = "google"

// Microsoft is the Microsoft identity platform (Entra ID), version 2.0.
//
// The tenant is a domain ("contoso.com"), an ID (a GUID), or one of "common",
// "organizations" and "consumers". For a national cloud put its host before
// it: "login.microsoftonline.us/contoso.com",
// "login.partner.microsoftonline.cn/contoso.cn".
//
// The scope offline_access is added, because a refresh token is given only
// then.
func Microsoft(tenant string) Template { return Template("microsoft/" + tenant) }

// A provider is a row of data: what is known about the provider of a template.
type provider struct {
	name string

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

	// issuerAliases are what ID tokens may have as "iss" in place of the
	// document's issuer.
	issuerAliases []string

	// What the authorization request needs for a refresh token to be issued.
	params url.Values
	scopes []string

	authMethod     AuthMethod
	scopeOnRefresh bool // without it, the provider may narrow the scope silently
}

// eachTenant in a document's issuer says that ID tokens have the ID of the
// user's own tenant there, which their "tid" repeats.
const eachTenant = "{tenantid}"

var providers = []provider{
	{
		name:          "google",
		discovery:     "https://{host}/.well-known/openid-configuration",
		hosts:         []string{"accounts.google.com"},
		endpoints:     []string{".google.com", ".googleapis.com"},
		issuerAliases: []string{"accounts.google.com"},
		params:        url.Values{"access_type": {"offline"}, "prompt": {"consent"}},
		authMethod:    AuthPost,
	},
	{
		name:      "microsoft",
		discovery: "https://{host}/{tenant}/v2.0/.well-known/openid-configuration",
		hosts:     []string{"login.microsoftonline.com", "login.microsoftonline.us", "login.partner.microsoftonline.cn"},
		endpoints: []string{"{host}"},
		issuer:    "https://{host}/{id}/v2.0",
		tenantIDs: map[string]string{
			"common":        eachTenant,
			"organizations": eachTenant,
			"consumers":     "9188040d-6c67-4c5b-b112-36a304b66dad",
		},
		scopes:         []string{"offline_access"},
		authMethod:     AuthPost,
		scopeOnRefresh: true,
	},
}

// A templateProvider is a row with its host and tenant filled in.
type templateProvider struct {
	*provider
	host, tenant string
}

// provider parses t: "name", "name/tenant" or "name/host/tenant".
func (t Template) provider() (*templateProvider, error) {
	name, rest, _ := strings.Cut(string(t), "/")
	i := slices.IndexFunc(providers, func(p provider) bool { return p.name == name })
	if i < 0 {
		return nil, errors.New("is unknown")
	}
	tp := &templateProvider{provider: &providers[i], host: providers[i].hosts[0], tenant: rest}
	if !strings.Contains(tp.discovery, "{tenant}") {
		if name != string(t) {
			return nil, errors.New("has no tenants")
		}
		return tp, nil
	}
	if host, tenant, ok := strings.Cut(rest, "/"); ok {
		if !slices.Contains(tp.hosts, host) {
			return nil, errors.New("names a host that is not one of the provider's")
		}
		tp.host, tp.tenant = host, tenant
	}
	if !validTenant(tp.tenant) || !strings.Contains(tp.tenant, ".") && !isGUID(tp.tenant) && tp.tenantIDs[strings.ToLower(tp.tenant)] == "" {
		return nil, errors.New("needs a tenant: a domain, an ID, or a name that the provider defines")
	}
	return tp, nil
}

// discoveryURL returns the address of the provider's document.
func (tp *templateProvider) discoveryURL() string {
	return strings.NewReplacer("{host}", tp.host, "{tenant}", tp.tenant).Replace(tp.discovery)
}

// issuerFits reports whether a document's issuer is one that this provider
// may give at this address.
func (tp *templateProvider) issuerFits(issuer string) bool {
	if tp.issuer == "" {
		return issuerFits(tp.discoveryURL(), issuer)
	}
	before, after, ok := strings.Cut(strings.ReplaceAll(tp.issuer, "{host}", tp.host), "{id}")
	id, fits := strings.CutPrefix(issuer, before)
	id, fits2 := strings.CutSuffix(id, after)
	switch known := tp.tenantIDs[strings.ToLower(tp.tenant)]; {
	case !ok || !fits || !fits2:
		return false
	case known != "":
		return id == known
	case isGUID(tp.tenant):
		return strings.EqualFold(id, tp.tenant)
	default:
		return isGUID(id)
	}
}

// hostFits reports whether the provider's addresses may lie on a host.
func (tp *templateProvider) hostFits(host string) bool {
	return slices.ContainsFunc(tp.endpoints, func(e string) bool {
		e = strings.ReplaceAll(e, "{host}", tp.host)
		if strings.HasPrefix(e, ".") {
			return strings.HasSuffix(host, e)
		}
		return host == e
	})
}

// issuerMatches compares an issuer with the one that a document gave, which
// may stand for each tenant's own.
func issuerMatches(expected, got string) bool {
	before, after, ok := strings.Cut(expected, eachTenant)
	if !ok {
		return got == expected
	}
	id, fits := strings.CutPrefix(got, before)
	id, fits2 := strings.CutSuffix(id, after)
	return fits && fits2 && isGUID(id)
}

func validTenant(s string) bool {
	return s != "" && len(s) <= 253 && strings.Trim(s, ".-") == s && !strings.Contains(s, "..") && onlyAlphanumeric(s, ".-")
}

// onlyAlphanumeric reports whether s is made of ASCII letters, digits and the
// other characters given.
func onlyAlphanumeric(s, others string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool {
		return r > '~' || !isAlphanumeric(byte(r)) && !strings.ContainsRune(others, r)
	})
}

func isAlphanumeric(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

func isGUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i, c := range []byte(s) {
		switch i {
		case 8, 13, 18, 23:
			if c != '-' {
				return false
			}
		default:
			if !isAlphanumeric(c) || c > 'f' || c > 'F' && c < 'a' {
				return false
			}
		}
	}
	return true
}
