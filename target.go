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

	authErr       error // why there is no authURL; nil: there is one
	revocationErr error // why the provider's revocation address cannot be used; nil: it can, or there is none

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
//
// What the document lists is no reason not to ask: servers grant what they do
// not list, and one that really does not grant it says so. That costs nothing:
// a request for client credentials spends nothing, nor does an authorization
// request that is refused, and a refresh token that is at hand was issued by
// the provider, whatever it lists. Only a code is lost if something is missing
// after the user has consented. What can be known to be missing then, an
// authorization endpoint or the keys for an ID token, is looked at before.
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
		t.authURL, t.tokenURL = md.AuthURL, md.TokenURL
		t.revocationURL = cmp.Or(t.revocationURL, md.RevocationURL)
		t.deviceAuthURL = cmp.Or(t.deviceAuthURL, md.DeviceAuthURL)
		t.issuer, t.issuerParam = md.Issuer, md.IssuerParameter
		wrong := func(problem string) error {
			if problem == "" {
				return nil
			}
			return &documentError{url: address, problem: problem, field: field}
		}
		if md.AuthURL == "" {
			t.authErr = wrong(cmp.Or(md.unusable[memberAuth], memberAuth+" is missing"))
		}
		t.revocationErr = wrong(md.unusable[memberRevocation])
		if err := wrong(md.unusable[memberKeys]); err != nil {
			// The provider has keys, and means its ID tokens to be verified by
			// them. To believe them without would be less than it asks for.
			t.keys = &keySet{algs: signingAlgs, err: err}
		} else if md.JWKSURL != "" {
			t.keys = e.docs.keySet(md.JWKSURL, md.SigningAlgs, field)
		}
		methods = md.AuthMethods
	}
	t.authMethod = p.settleAuthMethod(t.template, methods)
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
	if claimed != "" && claimed != t.origin() && (t.issuer != "" || shortOrigin(claimed) == t.origin()) {
		return claimed
	}
	return t.name()
}

// sameIssuer reports whether old, a grant that a new one takes the place of,
// has the issuer of that: the same, or the origin of the token endpoint, from a
// time when no document said more.
func (t *target) sameIssuer(old, g *Grant) bool {
	return old.Issuer == g.Issuer || old.Issuer == t.origin()
}

// claimedIssuer is the issuer that a later ID token of g must name, or nothing
// if the grant does not know it: it may have the origin of the token endpoint
// from when the addresses were typed in. Then the document says it, if there is
// one.
func (t *target) claimedIssuer(g *Grant) string {
	if g.Issuer == t.origin() {
		return ""
	}
	return g.Issuer
}

// isAnotherAccount reports whether g, a new grant, is of another account at this
// provider than old. An issuer that does not match is the provider that the
// profile had before: who a person was there says nothing here.
func (t *target) isAnotherAccount(old, g *Grant) bool {
	switch {
	case old.Subject == "" || g.Subject == "":
		return false
	case old.Issuer == t.origin(): // from when the addresses were typed in
		return old.Subject != g.Subject
	}
	return issuerMatches(cmp.Or(t.issuer, g.Issuer), old.Issuer) && (old.Subject != g.Subject || old.Issuer != g.Issuer)
}

// settleAuthMethod decides how the client authenticates. It never comes to
// trying one method after the other: that would send a single-use code twice.
// Nor is a list without any that we know a reason not to ask: a server looks at
// the client before it looks at the code or the refresh token, and servers
// accept more than they list.
func (p *Profile) settleAuthMethod(tp *templateProvider, listed []string) AuthMethod {
	switch {
	case p.AuthMethod != "":
		return p.AuthMethod
	case p.ClientSecret == "":
		return AuthNone
	case tp != nil && tp.authMethod != "":
		return tp.authMethod
	case slices.Contains(listed, string(AuthPost)) && !slices.Contains(listed, string(AuthBasic)):
		return AuthPost
	}
	return AuthBasic // also the default of RFC 8414, section 2
}
