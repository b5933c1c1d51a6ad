package authprofile

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/authprofile/authprofile/internal/foreign"
	"github.com/authprofile/authprofile/internal/tokenendpoint"
)

// requestTimeout limits one request to the provider.
const requestTimeout = 30 * time.Second

// A grantType is a way to obtain the next access token of a grant (RFC 6749,
// section 1.3).
type grantType struct {
	profile Type // of the profiles whose grants are renewed like this

	// spends says that the request uses up what is sent, as providers that
	// rotate refresh tokens have it. Only the holder of the lease may send it,
	// and only to the client and the provider that it was issued for. What
	// spends nothing may be sent twice, and without the Store.
	spends bool

	// person says that a person has consented, and can do so again. Without
	// one, the first token comes without an authorization, and if the provider
	// refuses, an operator is needed.
	person bool

	// form returns the parameters of the request.
	form func(p *Profile, pr *provider, g *Grant) url.Values
}

var (
	clientCredentialsGrant = &grantType{profile: TypeApp, form: clientCredentialsForm}
	refreshTokenGrant      = &grantType{profile: TypeUser, spends: true, person: true, form: refreshTokenForm}
)

// grantType returns how the grant of that key is renewed.
func (k GrantKey) grantType() *grantType {
	if k.User == "" {
		return clientCredentialsGrant
	}
	return refreshTokenGrant
}

// clientCredentialsForm is that of RFC 6749, section 4.4.2.
func clientCredentialsForm(p *Profile, pr *provider, _ *Grant) url.Values {
	form := url.Values{}
	grantType := "client_credentials"
	if app := pr.dialect.App; app != nil {
		addParams(form, app.Params, nil)
		grantType = cmp.Or(pr.dialect.AppGrant, grantType)
	}
	for name, values := range p.Params {
		form[name] = values
	}
	form.Set("grant_type", grantType)
	if len(p.Scopes) > 0 {
		form.Set("scope", pr.dialect.joinScopes(p.Scopes))
	}
	return form
}

// refreshTokenForm is that of RFC 6749, section 6.
func refreshTokenForm(p *Profile, pr *provider, g *Grant) url.Values {
	texts := map[string]string{"{redirect_uri}": pr.redirectURI, "{token}": string(g.RefreshToken)}
	form := p.tokenForm(cmp.Or(pr.dialect.RefreshGrant, "refresh_token"), pr.dialect.RefreshParams, texts)
	for _, name := range pr.dialect.RefreshOmit {
		form.Del(name)
	}
	if pr.omitResource {
		form.Del("resource")
	}
	if pr.dialect.RefreshGrant == "" {
		form.Set("refresh_token", string(g.RefreshToken))
	}
	if pr.dialect.ScopeOnRefresh {
		// Never more than was asked for when the user consented, whatever the
		// profile has got since.
		if scopes := intersect(pr.withScopes(p.Scopes), g.Requested); len(scopes) > 0 {
			form.Set("scope", pr.dialect.joinScopes(scopes))
		}
	}
	return form
}

// tokenForm returns the form of a grant type with the parameters that the
// provider's row adds, and the profile.
func (p *Profile) tokenForm(grantType string, params, texts map[string]string) url.Values {
	form := make(url.Values, len(params)+len(p.TokenParams)+4)
	addParams(form, params, texts)
	for name, values := range p.TokenParams {
		form[name] = slices.Clone(values)
	}
	form.Set("grant_type", grantType)
	return form
}

// tokenRequest makes a token request of a form.
func tokenRequest(p *Profile, pr *provider, form url.Values) *tokenendpoint.Request {
	return &tokenendpoint.Request{
		URL:          pr.tokenURL,
		Form:         form,
		ClientID:     p.ClientID,
		ClientSecret: string(p.ClientSecret),
		AuthMethod:   string(pr.authMethod),
		HasKey:       p.ClientKey != "",
		Assertion:    pr.assertion(),
		Habits:       pr.dialect.habits(),
	}
}

// request makes the request for the next access token of g.
func (t *grantType) request(p *Profile, pr *provider, g *Grant) *tokenendpoint.Request {
	req := tokenRequest(p, pr, t.form(p, pr, g))
	if t.person {
		req.URL = pr.refreshURL
		req.Secrets = []string{string(g.RefreshToken)}
	}
	return req
}

// doWithin is tokenendpoint.Do that does not wait for a transport which does
// not listen to ctx.
func doWithin(ctx context.Context, hc *http.Client, req *tokenendpoint.Request) (*tokenendpoint.Answer, error) {
	var a *tokenendpoint.Answer
	err := foreign.CallWithin(ctx, func() (err error) {
		a, err = tokenendpoint.Do(ctx, hc, req)
		return err
	})
	if err == nil {
		return a, nil
	}
	if asTokenError(err) == nil {
		err = &tokenendpoint.Error{Class: tokenendpoint.Lost, Err: err}
	}
	return nil, err
}

// doTraced is doWithin with a Trace that is told of the request. The profile is
// the one that it is made for.
func doTraced(ctx context.Context, hc *http.Client, req *tokenendpoint.Request, profileID string, ev events, report func(event func())) (*tokenendpoint.Answer, error) {
	ctx, traced := ev.beginRequest(ctx, profileID, req)
	a, err := doWithin(ctx, hc, req)
	traced.ended()
	report(func() { traced.tell(a, err, false) })
	return a, err
}

func asTokenError(err error) *tokenendpoint.Error {
	var te *tokenendpoint.Error
	errors.As(err, &te)
	return te
}

// apply puts an answer into the grant.
func (g *Grant) apply(a *tokenendpoint.Answer, p *Profile, pr *provider) {
	g.applyRefreshToken(a)
	g.AccessToken = Secret(a.AccessToken)
	g.TokenType = a.TokenType
	g.Obtained = stamp(a.Start)
	g.Expiry = time.Time{}
	if a.LifetimeKnown {
		g.Expiry = g.Obtained.Add(a.Lifetime)
	}
	if !g.grantType().person { // asks for what the profile says now; a person has consented to what is there
		g.Requested, g.Scopes = p.Scopes, p.Scopes
	}
	if a.ScopeKnown {
		g.Scopes = a.Scopes
	}
	if pr.dialect.RefreshGrant != "" && g.grantType().person { // the access token is what is renewed, for as long as it lasts
		g.RefreshToken, g.RefreshExpiry = g.AccessToken, g.Expiry
	}
	g.ClientID = p.ClientID
	g.addExtra(a.Extra, pr.dialect)
	g.Status, g.Failure = StatusActive, nil
}

func (g *Grant) applyRefreshToken(a *tokenendpoint.Answer) {
	if a.RefreshToken != "" {
		g.RefreshToken = Secret(a.RefreshToken)
		g.RefreshExpiry = time.Time{}
	}
	if a.RefreshLifetime > 0 {
		g.RefreshExpiry = stamp(a.Start.Add(a.RefreshLifetime))
	}
}

// noteProvider notes who has issued the tokens, and until when they are good
// for more. claimed is the issuer that an ID token names.
func (g *Grant) noteProvider(pr *provider, claimed string) {
	g.Issuer = pr.issuer.Recorded(claimed)
	g.noteEnd(pr)
}

// noteEnd notes until when the tokens are good for more. An announced end that
// differs by less than an hour is the same, announced as a number of seconds
// once more.
func (g *Grant) noteEnd(pr *provider) {
	ends, by := pr.endOf(g)
	if by == EndsAnnounced && g.EndsBy == by && ends.Sub(g.Ends).Abs() < time.Hour {
		return
	}
	g.Ends, g.EndsBy = ends, by
}

// maxExtra bounds Grant.Extra, in bytes of names and values.
const maxExtra = 4096

// addExtra adds what an answer has of its own. If there is too much, what the row
// names comes first, then what the answer says, and then what was there.
func (g *Grant) addExtra(extra map[string]string, d dialect) {
	if len(extra) == 0 {
		return
	}
	size := 0
	merged := make(map[string]Secret, len(extra)+len(g.Extra))
	add := func(name string) {
		value, ok := g.Extra[name]
		if said, is := extra[name]; is {
			value, ok = Secret(said), true
		}
		if _, done := merged[name]; ok && !done && size+len(name)+len(value) <= maxExtra {
			merged[name] = value
			size += len(name) + len(value)
		}
	}
	for _, names := range [][]string{
		{d.HostMember}, d.CallbackKeep, d.AnswerKeep, slices.Sorted(maps.Keys(extra)), slices.Sorted(maps.Keys(g.Extra)),
	} {
		for _, name := range names {
			add(name)
		}
	}
	g.Extra = merged
}

var errNoRevocation = errors.New("the provider has no revocation endpoint")

// revoke asks the provider to end what it has issued (RFC 7009): the refresh
// token first, since its end usually ends all others.
func revoke(ctx context.Context, hc *http.Client, p *Profile, pr *provider, g *Grant) error {
	if pr.revocationURL == "" {
		return cmp.Or(pr.revocationErr, errNoRevocation)
	}
	pr, err := pr.at(g.Extra)
	if err != nil {
		return err
	}
	var errs []error
	refreshEnded := false
	for _, r := range pr.revocationRequests(p, g) {
		err := foreign.CallWithin(ctx, func() error { return tokenendpoint.Revoke(ctx, pr.client(hc), r.req) })
		if te := asTokenError(err); te != nil && te.Code == "unsupported_token_type" && refreshEnded {
			// Some revoke refresh tokens only: the access token has ended with
			// its refresh token, or ends soon. Nothing more can be done.
			continue
		}
		if r.kind == kindRefresh {
			refreshEnded = err == nil
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
