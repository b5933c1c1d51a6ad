package authprofile

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/authprofile/authprofile/internal/address"
	"github.com/authprofile/authprofile/internal/catalog"
	"github.com/authprofile/authprofile/internal/discovery"
	"github.com/authprofile/authprofile/internal/idtoken"
	"github.com/authprofile/authprofile/internal/issuer"
)

// A provider is what a profile comes down to when its provider is asked.
type provider struct {
	authURL, tokenURL, revocationURL string

	authErr       error // why there is no authURL; nil: there is one
	revocationErr error // why the provider's revocation address cannot be used; nil: it can, or there is none
	keysErr       error // why the provider's keys for ID tokens cannot be used; nil: they can, or there are none

	issuer      issuer.Issuer   // who must answer
	issuerParam bool            // the provider names itself when it sends a user back (RFC 9207)
	keys        *idtoken.KeySet // nil: the provider does not say where its keys for ID tokens are

	documentField  string // of the profile, that names the document; empty: there is none
	authMethod     AuthMethod
	template       *catalog.Provider // nil: none
	scopeOnRefresh bool
}

// configurationError is a FieldError that is also ErrConfiguration.
func configurationError(field, problem string) error {
	return fmt.Errorf("%w: %w", &FieldError{Field: field, Problem: problem}, ErrConfiguration)
}

// documentError makes what package discovery says of a wrong document an error
// of the profile's field that names the document, with the same text. Other
// errors, such as that the provider is away, stay as they are.
func documentError(err error, field string) error {
	e, ok := errors.AsType[*discovery.Error](err)
	if !ok || !e.Wrong {
		return err
	}
	return &wrongDocument{err, &FieldError{Field: field, Problem: e.Problem}}
}

// A wrongDocument is an error of package discovery that an operator must help
// with.
type wrongDocument struct {
	error
	field *FieldError
}

func (e *wrongDocument) Unwrap() []error { return []error{ErrConfiguration, e.field, e.error} }

// A resolver finds out how to talk to providers.
type resolver struct{ docs *discovery.Cache }

// resolve settles how to talk to the provider of p. It needs the network only
// if p has a template or a discovery address, whose document is not at hand.
//
// What the document lists is no reason not to ask: servers grant what they do
// not list, and one that really does not grant it says so. That costs nothing:
// a request for client credentials spends nothing, nor does an authorization
// request that is refused, and a refresh token that is at hand was issued by
// the provider, whatever it lists. Only a code is lost if something is missing
// after the user has consented. What can be known to be missing then, an
// authorization endpoint or the keys for an ID token, is looked at before.
func (r resolver) resolve(ctx context.Context, p *Profile) (*provider, error) {
	t := &provider{
		authURL:       p.Endpoints.AuthURL,
		tokenURL:      p.Endpoints.TokenURL,
		revocationURL: p.Endpoints.RevocationURL,
	}
	documentURL := p.Endpoints.DiscoveryURL
	if documentURL != "" {
		t.documentField = fieldDiscovery
	}
	if p.Template != "" {
		known, err := catalog.Lookup(string(p.Template))
		if err != nil {
			return nil, configurationError(fieldTemplate, err.Error())
		}
		t.template, t.scopeOnRefresh, t.issuer.Aliases = known, known.ScopeOnRefresh, known.IssuerAliases
		documentURL, t.documentField = known.DiscoveryURL(), fieldTemplate
	}

	var methods []string
	if documentURL != "" {
		doc, err := r.docs.Document(ctx, documentURL, t.template)
		if err != nil {
			return nil, documentError(err, t.documentField)
		}
		t.authURL, t.tokenURL = doc.AuthURL, doc.TokenURL
		t.revocationURL = cmp.Or(t.revocationURL, doc.RevocationURL)
		t.issuer.Name, t.issuerParam = doc.Issuer, doc.IssuerParameter
		if doc.AuthURL == "" {
			t.authErr = documentError(doc.Missing(discovery.MemberAuth), t.documentField)
		}
		t.revocationErr = documentError(doc.Unusable(discovery.MemberRevocation), t.documentField)
		if err := doc.Unusable(discovery.MemberKeys); err != nil {
			// The provider has keys, and means its ID tokens to be verified by
			// them. To believe them without would be less than it asks for.
			t.keys = idtoken.UnusableKeySet(err)
			t.keysErr = documentError(err, t.documentField)
		} else if doc.JWKSURL != "" {
			t.keys = idtoken.NewKeySet(r.docs, doc.JWKSURL, doc.SigningAlgs)
		}
		methods = doc.AuthMethods
	}
	t.issuer.Origin = address.ShortOriginOf(t.tokenURL)
	t.authMethod = p.settleAuthMethod(t.template, methods)
	return t, nil
}

// issued reports whether g, a grant of p, may be one of this provider: it is,
// or it is not known whose.
func (t *provider) issued(g *Grant, p *Profile) bool {
	return t.issuer.Issued(g.Issuer, p.Updated.Add(maxSkew).Before(g.Obtained))
}

// maxSkew is how far the clocks of processes may be apart.
const maxSkew = time.Minute

// isAnotherAccount reports whether g, a new grant, is of another account at this
// provider than old.
func (t *provider) isAnotherAccount(old, g *Grant) bool {
	return t.issuer.IsAnotherAccount(issuer.Account{Issuer: old.Issuer, Subject: old.Subject}, issuer.Account{Issuer: g.Issuer, Subject: g.Subject})
}

// loadKeys sees to it that the provider's keys are at hand, before a code is
// spent.
func (t *provider) loadKeys(ctx context.Context) error {
	return documentError(t.keys.Load(ctx), t.documentField)
}

// verifyLogin verifies the ID token of a login, and returns what it claims.
func (t *provider) verifyLogin(ctx context.Context, raw string, want idtoken.Login, now time.Time) (*idtoken.Claims, error) {
	claims, err := idtoken.VerifyLogin(ctx, raw, t.issuer, t.keys, want, now)
	return claims, documentError(err, t.documentField)
}

// settleAuthMethod decides how the client authenticates. It never comes to
// trying one method after the other: that would send a single-use code twice.
// Nor is a list without any that we know a reason not to ask: a server looks at
// the client before it looks at the code or the refresh token, and servers
// accept more than they list.
func (p *Profile) settleAuthMethod(tp *catalog.Provider, listed []string) AuthMethod {
	switch {
	case p.AuthMethod != "":
		return p.AuthMethod
	case p.ClientSecret == "":
		return AuthNone
	case tp != nil && tp.AuthMethod != "":
		return AuthMethod(tp.AuthMethod)
	case slices.Contains(listed, string(AuthPost)) && !slices.Contains(listed, string(AuthBasic)):
		return AuthPost
	}
	return AuthBasic // also the default of RFC 8414, section 2
}
