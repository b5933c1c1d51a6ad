package authprofile

import (
	"context"
	"log/slog"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/authprofile/authprofile/internal/address"
	"github.com/authprofile/authprofile/internal/catalog"
	"github.com/authprofile/authprofile/internal/issuer"
)

// Metadata is what a provider says about itself in its discovery document
// (OpenID Connect Discovery 1.0, section 3; RFC 8414, section 2).
//
// Its addresses have been checked; one that cannot be used is empty, as one
// that the provider does not give. Its lists are as the provider gives them,
// without what is not a string. They are advice: what a provider does not list
// it may do all the same.
type Metadata struct {
	URL    string // where it was read
	Issuer string

	AuthURL       string
	TokenURL      string
	RevocationURL string
	DeviceAuthURL string
	JWKSURL       string

	AuthMethods          []string // token_endpoint_auth_methods_supported
	Scopes               []string // scopes_supported
	GrantTypes           []string // grant_types_supported
	ResponseTypes        []string // response_types_supported
	CodeChallengeMethods []string // code_challenge_methods_supported
	SigningAlgs          []string // id_token_signing_alg_values_supported

	// IssuerParameter says that the provider names itself when it sends a
	// user back (RFC 9207).
	IssuerParameter bool

	// unusable says what is wrong with addresses that were given and left out,
	// by the names of the members.
	unusable map[string]string
}

// Discover returns what the discovery document at a URL says. Most programs
// do not need it: a profile with a DiscoveryURL is enough. It is for forms
// that show people what a provider offers before a profile is saved.
//
// The URL is used as given, and redirects are followed within its origin only.
// The document must be a JSON object of at most 256 KiB, whatever its
// Content-Type. It must name its issuer and a token endpoint. All its addresses
// must be https, or http on a loopback host if the document was read from one.
// An optional address that is neither is left out, and logged.
//
// If the URL is a well-known one (OpenID Connect Discovery 1.0, section 4; RFC
// 8414, section 3), the issuer must be the one that it is derived from, a final
// slash not counting; at any other URL it must be of the same origin.
//
// Documents are kept in memory for as long as Cache-Control says, but at least
// five minutes and at most a day, and for up to a week while the provider
// cannot be reached. After a failure the provider is left alone for some
// seconds, and the same error is returned.
//
// The error is [ErrConfiguration] if the URL or the document is wrong, but not
// if the provider cannot be reached.
func (m *Manager) Discover(ctx context.Context, url string) (*Metadata, error) {
	if problem := checkAddress(url); problem != "" {
		return nil, &Error{Op: "discover", Err: invalid(fieldDiscovery, problem)}
	}
	md, err := m.engine().docs.metadata(ctx, url, nil)
	if err != nil {
		return nil, &Error{Op: "discover", Err: err}
	}
	c := *md
	for _, list := range []*[]string{&c.AuthMethods, &c.Scopes, &c.GrantTypes, &c.ResponseTypes, &c.CodeChallengeMethods, &c.SigningAlgs} {
		*list = slices.Clone(*list)
	}
	return &c, nil
}

const (
	fieldDiscovery = "Endpoints.DiscoveryURL"
	fieldTemplate  = "Template"
)

// metadata returns the document at an address, which is tp's if that is not
// nil. What it returns is shared.
func (d *documents) metadata(ctx context.Context, documentURL string, tp *catalog.Provider) (*Metadata, error) {
	src := &source{
		kind:   "discovery document",
		key:    "discovery " + documentURL,
		url:    documentURL,
		field:  fieldDiscovery,
		accept: "application/json",
		parse: func(body []byte) (any, string) {
			md, problem := parseMetadata(documentURL, tp, body)
			return md, problem
		},
		accepted: func(before, after any) {
			was, _ := before.(*Metadata)
			d.compare(was, after.(*Metadata))
		},
	}
	if tp != nil { // read by other rules
		src.key, src.field = "template "+documentURL, fieldTemplate
	}
	v, err := d.get(ctx, src)
	if err != nil {
		return nil, err
	}
	return v.(*Metadata), nil
}

// compare warns of what is not used of a document, and of a change that a
// provider rarely makes, and an attacker who has got hold of its document
// would. Before may be nil.
func (d *documents) compare(before, after *Metadata) {
	if before == nil || !maps.Equal(before.unusable, after.unusable) {
		for _, member := range slices.Sorted(maps.Keys(after.unusable)) {
			d.log.LogAttrs(d.ctx, slog.LevelWarn, "authprofile: an address in a discovery document cannot be used",
				slog.String("url", after.URL), slog.String("member", member), slog.String("problem", after.unusable[member]))
		}
	}
	if before == nil {
		return
	}
	for _, m := range []struct{ member, before, after string }{
		{memberAuth, before.AuthURL, after.AuthURL},
		{"token_endpoint", before.TokenURL, after.TokenURL},
		{memberRevocation, before.RevocationURL, after.RevocationURL},
		{memberKeys, before.JWKSURL, after.JWKSURL},
	} {
		was, is := address.OriginOf(m.before), address.OriginOf(m.after)
		if was != is {
			d.log.LogAttrs(d.ctx, slog.LevelWarn, "authprofile: a provider's address has moved to another origin",
				slog.String("url", after.URL), slog.String("member", m.member), slog.String("from", was), slog.String("to", is))
		}
	}
}

// parseMetadata reads the document of an address, and returns it or a problem.
//
// Without an issuer and a token endpoint there is nothing to begin with. All
// else is needed by some profiles only, or is advice: a member that cannot be
// used costs itself.
func parseMetadata(documentURL string, tp *catalog.Provider, body []byte) (*Metadata, string) {
	o, problem := parseObject(body)
	if problem != "" {
		return nil, problem
	}
	md := &Metadata{URL: documentURL}

	if md.Issuer, problem = o.text("issuer"); problem != "" {
		return nil, problem
	}
	if problem := checkIssuer(documentURL, md.Issuer, tp); problem != "" {
		return nil, "issuer " + problem
	}

	endpoint := func(name string) (string, string) {
		s, problem := o.text(name)
		if problem == "" && o.has(name) {
			if problem = checkEndpoint(documentURL, s, tp); problem != "" {
				problem = name + " " + problem
			}
		}
		if problem != "" {
			return "", problem
		}
		return s, ""
	}
	if md.TokenURL, problem = endpoint("token_endpoint"); problem != "" {
		return nil, problem
	}
	if md.TokenURL == "" {
		return nil, "token_endpoint is missing"
	}
	for name, field := range map[string]*string{
		memberAuth:                      &md.AuthURL,
		memberRevocation:                &md.RevocationURL,
		"device_authorization_endpoint": &md.DeviceAuthURL,
		memberKeys:                      &md.JWKSURL,
	} {
		if *field, problem = endpoint(name); problem != "" {
			if md.unusable == nil {
				md.unusable = make(map[string]string)
			}
			md.unusable[name] = problem
		}
	}

	for name, field := range map[string]*[]string{
		"token_endpoint_auth_methods_supported": &md.AuthMethods,
		"scopes_supported":                      &md.Scopes,
		"grant_types_supported":                 &md.GrantTypes,
		"response_types_supported":              &md.ResponseTypes,
		"code_challenge_methods_supported":      &md.CodeChallengeMethods,
		"id_token_signing_alg_values_supported": &md.SigningAlgs,
	} {
		*field = o.advice(name)
	}
	md.IssuerParameter = o.promised("authorization_response_iss_parameter_supported")
	return md, ""
}

// The members that a caller may need, and is told of if they cannot be used.
const (
	memberAuth       = "authorization_endpoint"
	memberKeys       = "jwks_uri"
	memberRevocation = "revocation_endpoint"
)

// checkIssuer says what is wrong with the issuer of the document at an
// address, or nothing.
func checkIssuer(documentURL, name string, tp *catalog.Provider) string {
	if name == "" {
		return "is missing"
	}
	if problem := checkAddress(name); problem != "" {
		return problem
	}
	fits := issuer.FitsDocument(documentURL, name)
	if tp != nil {
		fits = tp.IssuerFits(name)
	}
	switch {
	case strings.Contains(name, "?"):
		return "must not have a query"
	case tp == nil && strings.ContainsAny(name, "{}"): // a pattern is a template's
		return "is not an address"
	case !fits:
		return "does not fit the address of the document"
	}
	return ""
}

// checkEndpoint says what is wrong with an address in the document that was
// read at another, or nothing.
func checkEndpoint(documentURL, endpoint string, tp *catalog.Provider) string {
	if problem := checkAddress(endpoint); problem != "" {
		return problem
	}
	a, err := url.Parse(documentURL)
	if err != nil {
		return "is not an address"
	}
	e, err := url.Parse(endpoint)
	switch {
	case err != nil:
		return "is not an address"
	case address.IsLoopback(e.Hostname()) && !address.IsLoopback(a.Hostname()):
		return "is on a loopback host, and the document is not"
	case tp != nil && !tp.HostFits(e.Host):
		return "is on a host that is not the provider's"
	}
	return ""
}
