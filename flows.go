package authprofile

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"github.com/authprofile/authprofile/internal/address"
	"github.com/authprofile/authprofile/internal/catalog"
	"github.com/authprofile/authprofile/internal/foreign"
	"github.com/authprofile/authprofile/internal/idtoken"
	"github.com/authprofile/authprofile/internal/tokencache"
	"github.com/authprofile/authprofile/internal/tokenendpoint"
	"github.com/authprofile/authprofile/internal/transport"
)

// Begin begins an authorization: it returns a [Flow] whose URL is where to
// send the user's browser, within the ten minutes until the flow expires. Then
// the provider sends the browser to the redirect address, with a query to be
// passed to [Manager.Finish].
//
// The user is the application's own identifier for the person, as it is later
// given to [AsUser]: of a person who is logged in at the application, never
// something that the browser says. Options may add parameters to the
// authorization request, such as "login_hint", and replace its scope, but not
// those that protect the exchange. A "max_age" is a matter of the profile's
// Params, and is held against the ID token.
//
// The exchange is bound to the flow by PKCE (S256), whatever the provider
// advertises, unless its row says that it refuses that. One that does not look at
// it leaves an injected code to be found by the nonce of the ID token alone: ask
// such a provider for the scope openid.
//
// If the request is pushed (see [Endpoints]), the URL has the client and a
// reference to the request, and nothing else of it. Providers forget the reference
// soon, many of them after a minute, so that the browser is to be sent at once. If
// it cannot be pushed, that is an error, and no flow is stored.
//
// Each call stores a flow. It is for the application to limit how often it
// calls on behalf of one person.
//
// Most web programs use [RedirectHandler] instead, which also binds the flow
// to the browser that began it.
func (m *Manager) Begin(ctx context.Context, p *Profile, user string, opts ...oauth2.AuthCodeOption) (*Flow, error) {
	f, err := m.begin(ctx, p, &Flow{GrantKey: GrantKey{ProfileID: p.ID, User: user}}, opts)
	if err != nil {
		return nil, wrap("begin", p.ID, user, err)
	}
	return f, nil
}

// flowLife is how long a person may take to log in and consent.
const flowLife = 10 * time.Minute

// begin completes f, which has its key and what RedirectHandler wants to find
// again, and stores it.
func (m *Manager) begin(ctx context.Context, p *Profile, f *Flow, opts []oauth2.AuthCodeOption) (*Flow, error) {
	e := m.engine()
	switch {
	case p.Type == TypeApp:
		return nil, errAppProfile()
	case f.User == "":
		return nil, fmt.Errorf("%w: the user is missing", ErrUserMismatch)
	case p.Version == 0:
		return nil, fmt.Errorf("%w: the profile must be saved first", ErrNotFound)
	}
	if problem := checkIdentifier(f.User, maxUser); problem != "" {
		return nil, &FieldError{Field: "User", Problem: problem}
	}
	p, err := e.bounded.profile(ctx, p.ID)
	if err != nil {
		return nil, err
	}
	// What stands in the Store may be newer than what the caller has, and need
	// not have come through Save; its addresses are about to reach a browser.
	if p.Type != TypeUser {
		return nil, errAppProfile()
	}
	if err := m.validate(p); err != nil {
		return nil, err
	}
	pr, err := e.providers.resolve(ctx, p)
	if err != nil {
		return nil, err
	}
	if pr.authErr != nil {
		return nil, pr.authErr
	}

	f.Expires = stamp(e.lifetimes.now()).Add(flowLife)
	f.RedirectURL = m.RedirectAddress(p)
	f.Issuer, f.IssuerRequired = pr.issuer.Name, pr.issuerParam
	f.ProfileVersion = p.Version
	extra, err := optionParams(opts)
	if err != nil {
		return nil, err
	}
	if err := f.compose(p, pr, extra); err != nil {
		return nil, err
	}
	if f.Nonce != "" && pr.keysErr != nil { // Finish could not verify the ID token
		return nil, pr.keysErr
	}
	if err := pr.push(ctx, e.fresh, p, f); err != nil {
		return nil, err
	}
	if err := e.store.PutFlow(ctx, f); err != nil {
		return nil, err
	}
	return f, nil
}

// compose writes the authorization request of f, which has its redirect address:
// what is asked for, and what protects the exchange.
func (f *Flow) compose(p *Profile, pr *provider, extra url.Values) (err error) {
	f.State = oauth2.GenerateVerifier()
	f.ID = hashText(f.State)
	f.Verifier = Secret(oauth2.GenerateVerifier())
	f.Requested = p.Scopes
	if s := strings.Fields(extra.Get("scope")); len(s) > 0 {
		f.Requested = s
	}
	f.Requested = pr.withScopes(f.Requested)
	if slices.Contains(f.Requested, "openid") && pr.dialect.IDToken != "none" {
		f.Nonce = oauth2.GenerateVerifier()
	}
	f.URL, err = authorizationURL(p, pr, f, extra)
	return err
}

func errAppProfile() error {
	return &FieldError{Field: "Type", Problem: "is an app profile: there is nobody to authorize it"}
}

// authorizationURL builds the address that the browser is sent to (RFC 6749,
// section 4.1.1). What the options say comes after the profile's parameters,
// and those after the template's; what protects the exchange comes last.
func authorizationURL(p *Profile, pr *provider, f *Flow, extra url.Values) (string, error) {
	u, err := url.Parse(pr.authURL)
	if err != nil {
		return "", err
	}
	q, _ := address.ReadQuery(u.RawQuery)
	addParams(q, pr.dialect.AuthParams, nil)
	for name, values := range p.Params {
		q[name] = values
	}
	for name, values := range extra {
		q[name] = values
	}

	q.Set("response_type", "code")
	q.Set(cmp.Or(pr.dialect.ClientIDParam, "client_id"), p.ClientID)
	q.Set("redirect_uri", cmp.Or(pr.dialect.RedirectURI, f.RedirectURL))
	q.Set("state", f.State)
	q.Del("code_challenge")
	q.Del("code_challenge_method")
	if pr.dialect.usesPKCE() {
		q.Set("code_challenge", oauth2.S256ChallengeFromVerifier(string(f.Verifier)))
		q.Set("code_challenge_method", "S256")
	}
	q.Del("scope")
	if len(f.Requested) > 0 {
		q.Set("scope", pr.dialect.joinScopes(f.Requested))
	}
	pr.dialect.joinScopeParams(q)
	q.Del("nonce")
	if f.Nonce != "" {
		q.Set("nonce", f.Nonce)
	}
	// Encode writes a space as "+", which some providers take for itself.
	u.RawQuery = strings.ReplaceAll(q.Encode(), "+", "%20")
	return u.String(), nil
}

// optionParams returns what options add to an authorization request.
func optionParams(opts []oauth2.AuthCodeOption) (url.Values, error) {
	if len(opts) == 0 {
		return nil, nil
	}
	u, err := url.Parse(new(oauth2.Config).AuthCodeURL("", opts...))
	if err != nil {
		return nil, err
	}
	q := u.Query()
	for i, scope := range strings.Fields(q.Get("scope")) {
		if problem := checkScope(scope); problem != "" {
			return nil, &FieldError{Field: fmt.Sprintf("scope[%d]", i), Problem: problem}
		}
	}
	if q.Has("max_age") {
		return nil, &FieldError{Field: "max_age", Problem: "belongs in the profile's Params, where Finish can find it again"}
	}
	for _, name := range reservedParams {
		switch value := q.Get(name); {
		case name == "scope":
			continue // for incremental consent
		case name == "response_type" && value == "code", value == "":
		default:
			return nil, &FieldError{Field: name, Problem: "is set by the library"}
		}
		q.Del(name)
	}
	return q, nil
}

// Finish finishes an authorization with the query of the redirect: it takes
// the flow, redeems the code, verifies the ID token if there is one, and
// stores the grant. Once the code is sent, that goes on even if ctx ends.
//
// The user must be the one that the flow was begun for, or the error is
// [ErrUserMismatch]: pass who is logged in at the application now. If the
// provider reports an error, such as "access_denied", it is the ErrorCode of an
// [*oauth2.RetrieveError].
//
// A grant that exists is replaced, unless the person at the provider was
// another one before: then the error is ErrUserMismatch too, and nothing
// changes. The application decides, and calls [Manager.Revoke] first or uses
// another user identifier.
//
// Finish sees neither the address nor the browser that the callback came to.
// The caller must check that both are those of Begin; else a person could be
// made to finish an authorization that another has begun. [RedirectHandler]
// checks both.
func (m *Manager) Finish(ctx context.Context, user string, query url.Values) (*Grant, error) {
	g, _, err := m.finish(ctx, user, query, func(f *Flow) error {
		if f.Browser != "" {
			return fmt.Errorf("%w: the flow is bound to a browser, and must be finished by RedirectHandler", ErrUserMismatch)
		}
		return nil
	})
	return g, err
}

// finish is Finish with a check of the flow that was taken. It returns the
// flow too, once it was taken.
func (m *Manager) finish(ctx context.Context, user string, query url.Values, check func(*Flow) error) (*Grant, *Flow, error) {
	e := m.engine()
	g, f, err := e.finish(ctx, user, query, check)
	if err != nil {
		var id string
		if f != nil {
			id = f.ProfileID
		}
		err = wrap("finish", id, user, err)
		e.events.authorizationFailed(ctx, id, err)
	}
	return g, f, err
}

func (e *engine) finish(ctx context.Context, user string, query url.Values, check func(*Flow) error) (*Grant, *Flow, error) {
	c, err := parseCallback(query)
	if err != nil {
		return nil, nil, err
	}
	// Nothing is taken that could not be finished.
	if !e.tasks.begin() {
		return nil, nil, errShutdown
	}
	end := e.tasks.end
	defer func() { end() }()
	f, err := e.store.TakeFlow(ctx, hashText(c.state))
	switch {
	case errors.Is(err, ErrNotFound):
		return nil, nil, fmt.Errorf("%w: no such authorization in progress, or already finished, or expired", ErrNotFound)
	case err != nil:
		return nil, nil, err
	case !f.Expires.After(e.lifetimes.now()):
		return nil, f, fmt.Errorf("%w: the authorization took too long", ErrNotFound)
	case user == "" || f.User != user:
		return nil, f, fmt.Errorf("%w: the authorization was begun by another", ErrUserMismatch)
	}
	if err := check(f); err != nil {
		return nil, f, err
	}
	if err := c.checkIssuer(f, func() []string { return e.dialectOf(ctx, f).IssuerAliases }); err != nil {
		return nil, f, err
	}
	if c.errorCode != "" {
		return nil, f, c.providerError(e.dialectOf(ctx, f))
	}

	end = func() {} // the work goes on without the caller
	redeemed := e.beginRedeeming(context.WithoutCancel(ctx), f, c)
	select {
	case r := <-redeemed:
		return r.g, f, r.err
	case <-ctx.Done():
		return nil, f, ctx.Err()
	}
}

// dialectOf returns what is known of how the provider of a flow speaks.
func (e *engine) dialectOf(ctx context.Context, f *Flow) dialect {
	p, err := e.bounded.profile(ctx, f.ProfileID)
	if err != nil {
		return dialect{new(catalog.Provider)}
	}
	known, err := e.catalog.Lookup(string(p.Template))
	if err != nil {
		return dialect{new(catalog.Provider)}
	}
	return dialect{known}
}

// A redemption is what came of an authorization code.
type redemption struct {
	g   *Grant
	err error
}

// beginRedeeming redeems a code in a goroutine, and ends a piece of work that
// has begun. From here on the code may be spent: whether or not the caller
// waits, what it buys is stored.
func (e *engine) beginRedeeming(ctx context.Context, f *Flow, c *callback) <-chan redemption {
	redeemed := make(chan redemption, 1)
	go func() {
		defer e.tasks.end()
		r, told := redemption{err: foreign.ErrGoexit}, new(reports)
		defer func() {
			if p := foreign.Recovered(recover()); p != nil {
				r.err = p
				told.report(func() { e.events.panicked(p) })
			}
			redeemed <- r
			told.publish(e.tasks)
		}()
		r.g, r.err = e.redeem(ctx, f, c, told)
	}()
	return redeemed
}

// redeem exchanges the code for tokens, once (RFC 6749, section 4.1.3), and
// stores the grant.
func (e *engine) redeem(ctx context.Context, f *Flow, c *callback, told *reports) (*Grant, error) {
	ctx, cancel := transport.WithTimeout(ctx, 2*requestTimeout)
	defer cancel()
	p, pr, err := e.resolveFlow(ctx, f)
	if err != nil {
		return nil, err
	}
	given, err := c.read(pr.dialect, p)
	if err != nil {
		return nil, err
	}
	if pr, err = pr.at(given.extra); err != nil {
		return nil, err
	}
	g, err := e.exchange(ctx, f, p, pr, given, told)
	if err != nil {
		return nil, err
	}
	stored, before, damaged, err := e.writer.storeAuthorized(ctx, pr, g)
	if errors.Is(err, ErrNotFound) { // the profile is gone, and no other process knows these tokens
		return nil, errors.Join(err, revoke(ctx, e.http, p, pr, cmp.Or(stored, g)))
	}
	if err != nil {
		return nil, err
	}
	var t *tokencache.Token
	if stored.isUsable(e.lifetimes.now()) { // others may have renewed it since, and failed
		t = e.lifetimes.token(stored)
	}
	e.renewals.supersede(stored.GrantKey, t)
	remember(e.cache.Entry(tokencache.Key(stored.GrantKey)), before, stored)
	told.report(func() { e.events.authorized(ctx, before, stored, damaged) })
	return e.writer.noteAccount(ctx, e.http, p, pr, stored), nil
}

// resolveFlow returns the profile and the provider that a flow was begun with.
func (e *engine) resolveFlow(ctx context.Context, f *Flow) (*Profile, *provider, error) {
	p, err := e.bounded.profile(ctx, f.ProfileID)
	if err != nil {
		return nil, nil, err
	}
	if p.Version != f.ProfileVersion {
		return nil, nil, fmt.Errorf("%w: the profile has changed meanwhile; begin again", ErrConflict)
	}
	pr, err := e.providers.resolve(ctx, p)
	if err != nil {
		return nil, nil, err
	}
	if pr.issuer.Name != f.Issuer {
		return nil, nil, fmt.Errorf("%w: the provider has changed its issuer meanwhile; begin again", ErrConflict)
	}
	return p, pr, nil
}

// exchange exchanges the code for tokens, and finds out whose they are.
func (e *engine) exchange(ctx context.Context, f *Flow, p *Profile, pr *provider, given *authorization, told *reports) (*Grant, error) {
	identified := f.Nonce != ""
	if identified {
		if err := pr.loadKeys(ctx); err != nil {
			return nil, err
		}
	}
	a, err := e.sendCode(ctx, pr.freshClient(e.fresh), p.ID, tokenRequest(p, pr, codeForm(p, pr, f, given.code)), told)
	if err != nil {
		return nil, exchangeError(err)
	}

	g := &Grant{GrantKey: f.GrantKey, Requested: f.Requested, Scopes: f.Requested, Nonce: cmp.Or(f.Nonce, f.ID), Extra: given.extra}
	if given.scopes != nil {
		g.Scopes = given.scopes
	}
	g.apply(a, p, pr)
	g.Authorized = stamp(e.lifetimes.now())
	if identified {
		if a.IDToken == "" {
			return nil, errors.New("the provider gave no ID token, though openid was asked for")
		}
		claims, err := pr.verifyLogin(ctx, a.IDToken, idtoken.Login{
			ClientID: p.ClientID, AccessToken: a.AccessToken, Code: given.code,
			Nonce: f.Nonce, NonceOptional: pr.dialect.IDToken == "no_nonce", MaxAge: p.Params.Get("max_age"),
		}, e.lifetimes.now())
		if err != nil {
			return nil, err
		}
		g.Issuer, g.Subject, g.Account = claims.Issuer, claims.Subject, shownText(claims.Account)
	}
	g.noteProvider(pr, g.Issuer)
	return g, nil
}

// codeForm is that of RFC 6749, section 4.1.3, and RFC 7636, section 4.5.
func codeForm(p *Profile, pr *provider, f *Flow, code string) url.Values {
	form := p.tokenForm("authorization_code", pr.dialect.TokenParams, map[string]string{"{redirect_uri}": f.RedirectURL})
	form.Set("code", code)
	form.Set("redirect_uri", cmp.Or(pr.dialect.RedirectURI, f.RedirectURL))
	if pr.dialect.usesPKCE() {
		form.Set("code_verifier", string(f.Verifier))
	}
	return form
}

// sendCode sends a code, which cannot be sent twice, over a connection that is
// known to live: a new one. A code that was not sent is sent once more.
func (e *engine) sendCode(ctx context.Context, hc *http.Client, profileID string, req *tokenendpoint.Request, told *reports) (*tokenendpoint.Answer, error) {
	for try := 1; ; try++ {
		ctx, cancel := transport.WithTimeout(ctx, requestTimeout)
		a, err := doTraced(ctx, hc, req, profileID, e.events, told.report)
		cancel()
		if te := asTokenError(err); te == nil || te.Class != tokenendpoint.Unsent || try == 2 {
			return a, err
		}
	}
}

// hashText returns what is kept of a text that only a browser has: its
// SHA-256, as PKCE's S256 has it.
func hashText(s string) string { return oauth2.S256ChallengeFromVerifier(s) }
