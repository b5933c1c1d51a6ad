package authprofile

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// A target is what a profile comes down to when the provider is asked.
type target struct {
	authURL, tokenURL, revocationURL, deviceAuthURL string

	issuer      string  // who must answer; empty: the addresses were typed in, so nobody knows
	issuerParam bool    // the provider names itself when it sends a user back (RFC 9207)
	keys        *keySet // nil: nobody can verify the signatures of ID tokens

	authMethod     AuthMethod
	template       *templateProvider // nil: none
	scopeOnRefresh bool
}

// invalid is a FieldError that is also ErrConfiguration.
func invalid(field, problem string) error {
	return fmt.Errorf("%w: %w", &FieldError{Field: field, Problem: problem}, ErrConfiguration)
}

// target settles how to talk to the provider of p. It needs the network only
// if p has a template or a discovery address, whose document is not at hand.
func (e *engine) target(ctx context.Context, p *Profile) (*target, error) {
	t := &target{
		authURL:       p.Endpoints.AuthURL,
		tokenURL:      p.Endpoints.TokenURL,
		revocationURL: p.Endpoints.RevocationURL,
		deviceAuthURL: p.Endpoints.DeviceAuthURL,
	}
	address, field := p.Endpoints.DiscoveryURL, fieldDiscovery
	if p.Template != "" {
		tp, err := p.Template.provider()
		if err != nil {
			return nil, invalid(fieldTemplate, err.Error())
		}
		t.template, t.scopeOnRefresh = tp, tp.scopeOnRefresh
		address, field = tp.discoveryURL(), fieldTemplate
	}

	var methods []string
	if address != "" {
		md, err := e.docs.metadata(ctx, address, t.template)
		if err != nil {
			return nil, err
		}
		if problem := md.lacks(p.Type); problem != "" {
			return nil, &documentError{url: address, problem: problem, field: field}
		}
		t.authURL, t.tokenURL = md.AuthURL, md.TokenURL
		t.revocationURL = cmp.Or(t.revocationURL, md.RevocationURL)
		t.deviceAuthURL = cmp.Or(t.deviceAuthURL, md.DeviceAuthURL)
		t.issuer, t.issuerParam = md.Issuer, md.IssuerParameter
		if md.JWKSURL != "" {
			t.keys = e.docs.keySet(md.JWKSURL, md.SigningAlgs, field)
		}
		methods = md.AuthMethods
	}

	var problem string
	if t.authMethod, problem = p.settleAuthMethod(t.template, methods); problem != "" {
		return nil, invalid("AuthMethod", problem)
	}
	return t, nil
}

// name is how a grant remembers who has issued it, where no ID token says it:
// the issuer, or where no document says that the origin of the token endpoint.
func (t *target) name() string {
	if t.issuer == "" || strings.Contains(t.issuer, eachTenant) {
		return t.origin()
	}
	return t.issuer
}

// origin is that of the token endpoint, without a default port.
func (t *target) origin() string { return shortOrigin(t.tokenURL) }

// issued reports whether g, a grant of p, may be one of this provider: it is,
// or it is not known whose.
func (t *target) issued(g *Grant, p *Profile) bool {
	switch {
	case g.Issuer == "", g.Issuer == t.origin():
		return true
	case t.issuer == "":
		// The addresses were typed in. A grant may say the issuer that an ID
		// token named, at another origin than the token endpoint: that it is
		// the same provider is known if it was renewed by this same profile.
		return shortOrigin(g.Issuer) == t.origin() || p.Updated.Add(maxSkew).Before(g.Obtained)
	}
	return issuerMatches(strings.TrimSuffix(t.issuer, "/"), strings.TrimSuffix(g.Issuer, "/")) ||
		t.template != nil && slices.Contains(t.template.issuerAliases, g.Issuer)
}

// maxSkew is how far the clocks of processes may be apart.
const maxSkew = time.Minute

// issuerOf is what a new grant remembers as its issuer: what the ID token names
// if the document does too, or if that is at the origin of the token endpoint,
// by which typed-in addresses are known again.
func (t *target) issuerOf(claimed string) string {
	if claimed != "" && (t.issuer != "" || shortOrigin(claimed) == t.origin()) {
		return claimed
	}
	return t.name()
}

// claimedIssuer is the issuer that a later ID token of g must name, or nothing
// if that is not known.
func (t *target) claimedIssuer(g *Grant) string {
	if g.Issuer == t.origin() && t.issuer == "" {
		return ""
	}
	return g.Issuer
}

// lacks says what a profile of that type needs and the provider does not have,
// or nothing. What a provider does not list at all it may well have.
func (md *Metadata) lacks(t Type) string {
	without := func(list []string, s string) bool { return len(list) > 0 && !slices.Contains(list, s) }
	if t == TypeApp {
		if without(md.GrantTypes, "client_credentials") {
			return "grant_types_supported is without client_credentials"
		}
		return ""
	}
	switch {
	case md.AuthURL == "":
		return "authorization_endpoint is missing"
	case without(md.ResponseTypes, "code"):
		return "response_types_supported is without code"
	case without(md.GrantTypes, "authorization_code"):
		return "grant_types_supported is without authorization_code"
	}
	return ""
}

// settleAuthMethod decides how the client authenticates, or says why that is
// not possible. It never comes to trying one method after the other: that
// would send a single-use code twice.
func (p *Profile) settleAuthMethod(tp *templateProvider, listed []string) (AuthMethod, string) {
	switch {
	case p.AuthMethod != "":
		return p.AuthMethod, ""
	case p.ClientSecret == "":
		return AuthNone, ""
	case tp != nil && tp.authMethod != "":
		return tp.authMethod, ""
	case len(listed) == 0:
		return AuthBasic, "" // the default of RFC 8414, section 2
	}
	for _, m := range []AuthMethod{AuthBasic, AuthPost} {
		if slices.Contains(listed, string(m)) {
			return m, ""
		}
	}
	return "", "is not settled: the provider lists neither client_secret_basic nor client_secret_post"
}
