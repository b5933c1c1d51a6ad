package authprofile

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
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
	authURL, tokenURL, refreshURL, revocationURL string

	parURL string // where authorization requests are pushed; empty: they are not

	authErr       error // why there is no authURL; nil: there is one
	revocationErr error // why the provider's revocation address cannot be used; nil: it can, or there is none
	keysErr       error // why the provider's keys for ID tokens cannot be used; nil: they can, or there are none

	issuer      issuer.Issuer   // who must answer
	issuerParam bool            // the provider names itself when it sends a user back (RFC 9207)
	keys        *idtoken.KeySet // nil: the provider does not say where its keys for ID tokens are

	documentField string // of the profile, that names the document; empty: there is none
	authMethod    AuthMethod
	assert        func(ctx context.Context, audience string) (string, error) // makes what the client authenticates by; nil: it has something else
	audience      string                                                     // of the assertions
	tls           *http.Client                                               // that presents the client's certificate; nil: it has none
	omitResource  bool                                                       // it refuses the parameter resource in a renewal
	redirectURI   string                                                     // what a renewal says as redirect_uri where the provider wants it
	dialect       dialect

	upkeep upkeep
}

// The fields of a profile that name a document.
const (
	fieldDiscovery = "Endpoints.DiscoveryURL"
	fieldTemplate  = "Template"
)

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
type resolver struct {
	docs     *discovery.Cache
	catalog  *catalog.Catalog
	redirect func(*Profile) string // Manager.RedirectAddress

	credentials *credentials
	resources   *resources
}

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
	pr := &provider{
		dialect:       dialect{new(catalog.Provider)},
		authURL:       p.Endpoints.AuthURL,
		tokenURL:      p.Endpoints.TokenURL,
		revocationURL: p.Endpoints.RevocationURL,
	}
	documentURL := p.Endpoints.DiscoveryURL
	if documentURL != "" {
		pr.documentField = fieldDiscovery
	}
	var known *catalog.Provider
	if p.Template != "" {
		var err error
		if known, err = r.catalog.Lookup(string(p.Template)); err != nil {
			return nil, configurationError(fieldTemplate, err.Error())
		}
		if p.Type == TypeApp && known.App == nil {
			return nil, configurationError(fieldTemplate, "is of a provider without a grant for applications")
		}
		pr.adopt(known)
		documentURL, pr.documentField = known.DiscoveryURL, fieldTemplate
	}
	pr.redirectURI = cmp.Or(pr.dialect.RedirectURI, r.redirect(p))
	pr.upkeep = upkeepOf(p, known)

	var methods []string
	var doc *discovery.Document
	if documentURL != "" {
		var err error
		if doc, err = r.docs.Document(ctx, documentURL, known); err != nil {
			return nil, documentError(err, pr.documentField)
		}
		pr.authURL, pr.tokenURL = cmp.Or(pr.dialect.AuthURL, doc.AuthURL), cmp.Or(pr.dialect.TokenURL, doc.TokenURL)
		pr.revocationURL = cmp.Or(pr.revocationURL, doc.RevocationURL)
		pr.issuer.Name, pr.issuerParam = doc.Issuer, doc.IssuerParameter
		if pr.authURL == "" {
			pr.authErr = documentError(doc.Missing(discovery.MemberAuth), pr.documentField)
		}
		pr.revocationErr = documentError(doc.Unusable(discovery.MemberRevocation), pr.documentField)
		if err := doc.Unusable(discovery.MemberKeys); err != nil {
			// The provider has keys, and means its ID tokens to be verified by
			// them. To believe them without would be less than it asks for.
			pr.keys = idtoken.UnusableKeySet(err)
			pr.keysErr = documentError(err, pr.documentField)
		} else if doc.JWKSURL != "" {
			pr.keys = idtoken.NewKeySet(r.docs, doc.JWKSURL, doc.SigningAlgs)
		}
		methods = doc.AuthMethods
	}
	if p.Type == TypeApp && pr.dialect.App != nil {
		pr.tokenURL = cmp.Or(pr.dialect.App.URL, pr.tokenURL)
	}
	pr.refreshURL = cmp.Or(pr.dialect.RefreshURL, pr.tokenURL)
	pr.issuer.Origin = address.ShortOriginOf(pr.tokenURL)
	pr.authMethod = p.settleAuthMethod(pr.dialect.authMethod(p), methods)
	pr.settlePAR(p, doc)
	pr.omitResource = r.resources.isRefused(p)
	if err := r.credentials.settleKey(pr, p, doc); err != nil {
		return nil, err
	}
	return pr, nil
}

// resolveFor is resolve for a grant, which the provider may have told of a host of
// its own.
func (r resolver) resolveFor(ctx context.Context, p *Profile, g *Grant) (*provider, error) {
	pr, err := r.resolve(ctx, p)
	if err != nil {
		return nil, err
	}
	return pr.at(g.Extra)
}

// adopt takes over what a row of the catalogue says of the provider.
func (pr *provider) adopt(known *catalog.Provider) {
	pr.dialect = dialect{known}
	pr.authURL, pr.tokenURL = known.AuthURL, known.TokenURL
	pr.issuer.Aliases, pr.issuer.FormerOrigins = known.IssuerAliases, known.FormerOrigins
	if known.Revocation != nil {
		pr.revocationURL = known.Revocation.URL
	}
}

// issued reports whether g, a grant of p, may be one of this provider: it is,
// or it is not known whose. That p has not changed since g was renewed says
// nothing if p has a template, whose row may have changed.
func (pr *provider) issued(g *Grant, p *Profile) bool {
	return pr.issuer.Issued(g.Issuer, p.Template == "" && p.Updated.Add(maxSkew).Before(g.Obtained))
}

// maxSkew is how far the clocks of processes may be apart.
const maxSkew = time.Minute

// isAnotherAccount reports whether g, a new grant, is of another account at this
// provider than old.
func (pr *provider) isAnotherAccount(old, g *Grant) bool {
	return pr.issuer.IsAnotherAccount(issuer.Account{Issuer: old.Issuer, Subject: old.Subject}, issuer.Account{Issuer: g.Issuer, Subject: g.Subject})
}

// endOf is when g will end unless it is used or authorized again, as far as is
// known: what the provider has announced comes before what its row says. What a
// row says is a number of days, and so is what follows from it: an end that
// moves by hours would have to be written, and told, anew by the hour.
func (pr *provider) endOf(g *Grant) (ends time.Time, by string) {
	switch {
	case !g.grantType().person:
		return time.Time{}, ""
	case g.RefreshToken == "" && !g.Expiry.IsZero():
		return g.Expiry, EndsAnnounced
	case g.RefreshToken == "":
		return time.Time{}, ""
	case !g.RefreshExpiry.IsZero():
		return g.RefreshExpiry, EndsAnnounced
	}
	if life := pr.dialect.IdleLife(); life > 0 {
		ends, by = g.Obtained.Add(life).Truncate(day), EndsIdle
	}
	if life := pr.dialect.AbsoluteLife(); life > 0 && !g.Authorized.IsZero() {
		if end := g.Authorized.Add(life).Truncate(day); ends.IsZero() || end.Before(ends) {
			ends, by = end, EndsAbsolute
		}
	}
	return ends, by
}

// loadKeys sees to it that the provider's keys are at hand, before a code is
// spent.
func (pr *provider) loadKeys(ctx context.Context) error {
	return documentError(pr.keys.Load(ctx), pr.documentField)
}

// verifyLogin verifies the ID token of a login, and returns what it claims.
func (pr *provider) verifyLogin(ctx context.Context, raw string, want idtoken.Login, now time.Time) (*idtoken.Claims, error) {
	claims, err := idtoken.VerifyLogin(ctx, raw, pr.issuer, pr.keys, want, now)
	return claims, documentError(err, pr.documentField)
}

// verifyRenewal verifies the ID token that came with the renewal of a grant.
func (pr *provider) verifyRenewal(ctx context.Context, p *Profile, g *Grant, raw string) error {
	return idtoken.VerifyRenewal(ctx, raw, pr.issuer, pr.keys, idtoken.Renewal{
		ClientID: p.ClientID, Nonce: g.Nonce, Issuer: pr.issuer.Claimed(g.Issuer), Subject: g.Subject,
	})
}

// settleAuthMethod decides how the client authenticates. It never comes to
// trying one method after the other: that would send a single-use code twice.
// Nor is a list without any that we know a reason not to ask: a server looks at
// the client before it looks at the code or the refresh token, and servers
// accept more than they list.
func (p *Profile) settleAuthMethod(ofTemplate AuthMethod, listed []string) AuthMethod {
	switch {
	case p.AuthMethod != "":
		return p.AuthMethod
	case p.ClientKey != "":
		return AuthPrivateKeyJWT
	case p.ClientSecret == "":
		return AuthNone
	case ofTemplate != "":
		return ofTemplate
	case slices.Contains(listed, string(AuthPost)) && !slices.Contains(listed, string(AuthBasic)):
		return AuthPost
	}
	return AuthBasic // also the default of RFC 8414, section 2
}

// withScopes adds to scopes those that the template needs.
func (pr *provider) withScopes(scopes []string) []string {
	scopes = slices.Clone(scopes)
	return append(scopes, missing(pr.dialect.Scopes, scopes)...)
}

// missing returns the elements of want that have does not have.
func missing(want, have []string) []string {
	return slices.DeleteFunc(slices.Clone(want), func(s string) bool { return slices.Contains(have, s) })
}

func intersect(a, b []string) []string { return missing(a, missing(a, b)) }
