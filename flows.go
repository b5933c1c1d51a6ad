package authprofile

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"
	"unicode"

	"golang.org/x/oauth2"

	"github.com/authprofile/authprofile/internal/foreign"
	"github.com/authprofile/authprofile/internal/idtoken"
	"github.com/authprofile/authprofile/internal/issuer"
	"github.com/authprofile/authprofile/internal/tokenendpoint"
	"github.com/authprofile/authprofile/internal/transport"
)

// Token returns a valid token.
//
// If one is in memory it is returned at once, even if ctx has ended. Otherwise
// Token waits for it, no longer than ctx lasts; the renewal goes on all the
// same. The returned token is shared: do not change it. It is given out up to
// its very end, while [oauth2.Token.Valid] says no ten seconds earlier.
//
// If only the user can help, the error is [ErrReauthorize]; if an operator
// has to, [ErrConfiguration]. A user profile must have been saved, or the error
// is [ErrNotFound]. An app profile need not: its token is then kept in memory
// for as long as the profile says the same.
func (m *Manager) Token(ctx context.Context, p *Profile, opts ...Option) (*oauth2.Token, error) {
	e := m.engine()
	o := parseOptions(opts)
	key, err := grantKey(p, &o)
	if err != nil {
		return nil, wrap("token", p.ID, o.user, err)
	}
	if p.Version == 0 {
		key.ProfileID = unsavedID(p)
	}
	s := e.cache.slot(key)
	if o.rejected == "" {
		if t := e.ready(s); t != nil {
			return t, nil
		}
	}
	tok, err := e.token(ctx, s, newRef(key, p), o.rejected)
	if err != nil {
		return nil, wrap("token", p.ID, o.user, err)
	}
	return tok, nil
}

// grantKey returns the key of the grant that a caller means.
func grantKey(p *Profile, o *options) (GrantKey, error) {
	switch {
	case p.Type == TypeApp && o.hasUser:
		return GrantKey{}, fmt.Errorf("%w: an app profile acts for no user", ErrUserMismatch)
	case p.Type == TypeUser && o.user == "":
		return GrantKey{}, fmt.Errorf("%w: a user profile needs AsUser", ErrUserMismatch)
	case p.Type == TypeUser && p.Version == 0:
		return GrantKey{}, fmt.Errorf("%w: a user profile must be saved first", ErrNotFound)
	case p.Type != TypeApp && p.Type != TypeUser:
		return GrantKey{}, p.Validate()
	}
	return GrantKey{ProfileID: p.ID, User: o.user}, nil
}

// unsavedID stands for the ID of a profile that has none in the Store. No
// identifier may begin with a control character, so it is nobody's.
func unsavedID(p *Profile) string {
	sum := p.fingerprint()
	return "\x00" + string(sum[:])
}

func newRef(key GrantKey, p *Profile) *ref {
	r := &ref{key: key, private: p.Version == 0}
	if p.Type == TypeApp {
		r.profile.Store(p.Clone())
	}
	return r
}

// Source returns a token source that always has a valid token, for as long as
// the provider allows. It needs no network and returns at once; what is wrong
// shows at the first call of its Token method. It keeps the values of ctx, but
// not its end.
//
// The profile says which one is meant. One that was saved is read from the
// Store again at each renewal, so that a new client secret takes effect
// without a restart. An app profile that was never saved works too: its token
// is kept by this source alone.
//
// The source may be used by many goroutines at once, and its tokens are shared:
// do not change them. There is no need for [oauth2.ReuseTokenSource].
func (m *Manager) Source(ctx context.Context, p *Profile, opts ...Option) oauth2.TokenSource {
	return m.newSource(ctx, p, opts)
}

// Source is [Manager.Source] of a new Manager, which keeps all in memory.
func Source(ctx context.Context, p *Profile, opts ...Option) oauth2.TokenSource {
	return new(Manager).Source(ctx, p, opts...)
}

// A grantSource is a token source for one grant.
type grantSource struct {
	slot atomic.Pointer[slot] // never nil

	e    *engine
	ctx  context.Context // its values
	ref  *ref
	opts options
	id   string // the profile's, for errors
	err  error
}

func (m *Manager) newSource(ctx context.Context, p *Profile, opts []Option) *grantSource {
	e := m.engine()
	s := &grantSource{e: e, ctx: context.WithoutCancel(ctx), opts: parseOptions(opts), id: p.ID}
	s.slot.Store(new(slot))
	key, err := grantKey(p, &s.opts)
	if err != nil {
		s.err = err
		return s
	}
	if p.Version == 0 {
		key.ProfileID = "\x00" + rand.Text() // this source's own
	}
	s.ref = newRef(key, p)
	return s
}

// Token returns the token that is in memory if it is known to be good, which
// costs two reads of memory.
func (s *grantSource) Token() (*oauth2.Token, error) {
	if t := s.slot.Load().hot.Load(); t != nil {
		return t, nil
	}
	return s.tokenFor(s.ctx, s.opts.rejected)
}

// tokenFor returns a valid token that is not the rejected one, and waits for
// it no longer than ctx lasts.
func (s *grantSource) tokenFor(ctx context.Context, rejected string) (*oauth2.Token, error) {
	if s.err != nil {
		return nil, wrap("token", s.id, s.opts.user, s.err)
	}
	sl := s.slot.Load()
	if !s.ref.private {
		sl = s.e.cache.slot(s.ref.key)
	}
	tok, err := s.e.token(ctx, sl, s.ref, rejected)
	if err != nil {
		return nil, wrap("token", s.id, s.opts.user, err)
	}
	if s.opts.rejected == "" || tok.AccessToken != s.opts.rejected {
		s.slot.Store(sl)
	}
	return tok, nil
}

// Format writes what the source is for, and nothing else.
func (s *grantSource) Format(f fmt.State, verb rune) { fmt.Fprintf(f, "TokenSource(%q)", s.id) }

// Begin begins an authorization: it returns a [Flow] whose URL is where to
// send the user's browser, within the ten minutes until the flow expires. Then
// the provider sends the browser to the redirect address, with a query to be
// passed to [Manager.Finish].
//
// The user is the application's own identifier for the person, as it is later
// given to [AsUser]: of somebody who is logged in at the application, never
// something that the browser says. Options may add parameters to the
// authorization request, such as "login_hint", and replace its scope, but not
// those that protect the exchange. A "max_age" is a matter of the profile's
// Params, and is held against the ID token.
//
// The exchange is bound to the flow by PKCE (S256), whatever the provider
// advertises. One that does not look at it leaves an injected code to be found
// by the nonce of the ID token alone: ask such a provider for the scope openid.
//
// Each call stores a flow. It is for the application to limit how often it
// calls on behalf of somebody.
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
		return nil, noAuthorization()
	case f.User == "":
		return nil, fmt.Errorf("%w: the user is missing", ErrUserMismatch)
	case p.Version == 0:
		return nil, fmt.Errorf("%w: the profile must be saved first", ErrNotFound)
	}
	if problem := checkIdentifier(f.User, maxUser); problem != "" {
		return nil, &FieldError{Field: "User", Problem: problem}
	}
	p, err := e.readProfile(ctx, p.ID)
	if err != nil {
		return nil, err
	}
	// What stands in the Store may be newer than what the caller has, and need
	// not have come through Save; its addresses are about to reach a browser.
	if p.Type != TypeUser {
		return nil, noAuthorization()
	}
	if err := m.validate(p); err != nil {
		return nil, err
	}
	t, err := e.resolve(ctx, p)
	if err != nil {
		return nil, err
	}
	if t.authErr != nil {
		return nil, t.authErr
	}

	f.State = randomText()
	f.ID = hashText(f.State)
	f.Verifier = Secret(oauth2.GenerateVerifier())
	f.Expires = now().Add(flowLife)
	f.RedirectURL = m.RedirectAddress(p)
	f.Issuer, f.IssuerRequired = t.issuer.Name, t.issuerParam
	f.ProfileVersion = p.Version
	extra, err := optionParams(opts)
	if err != nil {
		return nil, err
	}
	f.Requested = p.Scopes
	if s := strings.Fields(extra.Get("scope")); len(s) > 0 {
		f.Requested = s
	}
	f.Requested = t.withScopes(f.Requested)
	if slices.Contains(f.Requested, "openid") {
		if t.keysErr != nil { // Finish could not verify the ID token
			return nil, t.keysErr
		}
		f.Nonce = randomText()
	}
	if f.URL, err = authorizationURL(p, t, f, extra); err != nil {
		return nil, err
	}
	if err := e.store.PutFlow(ctx, f); err != nil {
		return nil, err
	}
	return f, nil
}

func noAuthorization() error {
	return &FieldError{Field: "Type", Problem: "is an app profile: there is nobody to authorize it"}
}

// authorizationURL builds the address that the browser is sent to (RFC 6749,
// section 4.1.1). What the options say comes after the profile's parameters,
// and those after the template's; what protects the exchange comes last.
func authorizationURL(p *Profile, t *provider, f *Flow, extra url.Values) (string, error) {
	u, err := url.Parse(t.authURL)
	if err != nil {
		return "", err
	}
	q, _ := readQuery(u.RawQuery)
	if t.template != nil {
		for name, values := range t.template.Params {
			q[name] = values
		}
	}
	for name, values := range p.Params {
		q[name] = values
	}
	for name, values := range extra {
		q[name] = values
	}

	q.Set("response_type", "code")
	q.Set("client_id", p.ClientID)
	q.Set("redirect_uri", f.RedirectURL)
	q.Set("state", f.State)
	q.Set("code_challenge", oauth2.S256ChallengeFromVerifier(string(f.Verifier)))
	q.Set("code_challenge_method", "S256")
	q.Del("scope")
	if len(f.Requested) > 0 {
		q.Set("scope", strings.Join(f.Requested, " "))
	}
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

// requestedScopes are the scopes that a user is asked to consent to.
func requestedScopes(p *Profile, t *provider) []string { return t.withScopes(p.Scopes) }

// withScopes adds to scopes those that the template needs.
func (t *provider) withScopes(scopes []string) []string {
	scopes = slices.Clone(scopes)
	if t.template != nil {
		scopes = append(scopes, missing(t.template.Scopes, scopes)...)
	}
	return scopes
}

// missing returns the elements of want that have does not have.
func missing(want, have []string) []string {
	return slices.DeleteFunc(slices.Clone(want), func(s string) bool { return slices.Contains(have, s) })
}

func intersect(a, b []string) []string { return missing(a, missing(a, b)) }

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
// Who calls it makes sure that both are those of Begin, so that nobody can be
// made to finish what another has begun; [RedirectHandler] does.
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
func (m *Manager) finish(ctx context.Context, user string, query url.Values, check func(*Flow) error) (g *Grant, f *Flow, err error) {
	e := m.engine()
	defer func() {
		if err != nil {
			var id string
			if f != nil {
				id = f.ProfileID
			}
			err = wrap("finish", id, user, err)
			e.log.LogAttrs(ctx, slog.LevelWarn, "authprofile: authorization failed", slog.String("profile", id), slog.String("error", err.Error()))
		}
	}()

	c, err := parseCallback(query)
	if err != nil {
		return nil, nil, err
	}
	// Nothing is taken that could not be finished.
	if !e.begun() {
		return nil, nil, errShutdown
	}
	release := e.work.Done
	defer func() { release() }()
	f, err = e.store.TakeFlow(ctx, hashText(c.state))
	switch {
	case errors.Is(err, ErrNotFound):
		return nil, nil, fmt.Errorf("%w: no such authorization in progress, or already finished, or expired", ErrNotFound)
	case err != nil:
		return nil, nil, err
	case !f.Expires.After(e.now()):
		return nil, f, fmt.Errorf("%w: the authorization took too long", ErrNotFound)
	case user == "" || f.User != user:
		return nil, f, fmt.Errorf("%w: the authorization was begun by another", ErrUserMismatch)
	}
	if err := check(f); err != nil {
		return nil, f, err
	}
	if err := c.checkIssuer(f); err != nil {
		return nil, f, err
	}
	if c.code == "" {
		return nil, f, c.providerError()
	}

	// From here on the code may be spent: whether or not the caller waits,
	// what it buys is stored.
	type result struct {
		g   *Grant
		err error
	}
	redeemed := make(chan result, 1)
	detached := context.WithoutCancel(ctx)
	finished := release
	release = func() {} // the work goes on without the caller
	go func() {
		defer finished()
		r, log := result{err: foreign.ErrGoexit}, func() {}
		defer func() {
			if p := foreign.Recovered(recover()); p != nil {
				r.err = p
				log = func() { e.logPanic(p) }
			}
			redeemed <- r
			defer e.survive()
			log() // when the result is there: a log handler may wait for a token
		}()
		r.g, log, r.err = e.redeem(detached, f, c.code)
	}()
	select {
	case r := <-redeemed:
		return r.g, f, r.err
	case <-ctx.Done():
		return nil, f, ctx.Err()
	}
}

// begun counts a piece of work that Shutdown waits for, unless it is too late.
// It is followed by e.work.Done.
func (e *engine) begun() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return false
	}
	e.work.Add(1)
	return true
}

// redeem exchanges the code for tokens, once (RFC 6749, section 4.1.3), and
// stores the grant. What is to be logged about it is returned.
func (e *engine) redeem(ctx context.Context, f *Flow, code string) (g *Grant, log func(), err error) {
	log = func() {}
	ctx, cancel := transport.WithTimeout(ctx, 2*requestTimeout)
	defer cancel()
	p, err := e.readProfile(ctx, f.ProfileID)
	if err != nil {
		return nil, log, err
	}
	if p.Version != f.ProfileVersion {
		return nil, log, fmt.Errorf("%w: the profile has changed meanwhile; begin again", ErrConflict)
	}
	t, err := e.resolve(ctx, p)
	if err != nil {
		return nil, log, err
	}
	if t.issuer.Name != f.Issuer {
		return nil, log, fmt.Errorf("%w: the provider has changed its issuer meanwhile; begin again", ErrConflict)
	}
	g, err = e.exchange(ctx, f, p, t, code)
	if err != nil {
		return nil, log, err
	}
	before, damaged, err := e.replaceGrant(ctx, t, g)
	if errors.Is(err, ErrNotFound) { // the profile is gone, and no other process knows these tokens
		return nil, log, errors.Join(err, revoke(ctx, e.http, p, t, g))
	}
	if err != nil {
		return nil, log, err
	}
	var h *held
	if g.usable(e.now()) { // others may have renewed it since, and failed
		h = e.hold(g)
	}
	e.replace(g.GrantKey, h)
	e.remember(e.cache.slot(g.GrantKey), before, g)
	return g, func() {
		if damaged != nil {
			e.log.LogAttrs(ctx, slog.LevelError, "authprofile: a grant that cannot be read was replaced",
				slog.String("profile", g.ProfileID), slog.String("error", damaged.Error()))
		}
		e.log.LogAttrs(ctx, slog.LevelInfo, "authprofile: authorized", slog.String("profile", g.ProfileID))
		e.logStatus(g.ProfileID, before.Status, g.Status)
	}, nil
}

// exchange exchanges the code for tokens, and finds out whose they are.
func (e *engine) exchange(ctx context.Context, f *Flow, p *Profile, t *provider, code string) (*Grant, error) {
	identified := f.Nonce != ""
	if identified {
		if err := t.loadKeys(ctx); err != nil {
			return nil, err
		}
	}
	a, err := e.sendCode(ctx, tokenRequest(p, t, url.Values{
		"grant_type":    {"authorization_code"},
		"code":          {code},
		"redirect_uri":  {f.RedirectURL},
		"code_verifier": {string(f.Verifier)},
	}))
	if err != nil {
		return nil, exchangeError(err)
	}

	g := &Grant{GrantKey: f.GrantKey, Requested: f.Requested, Scopes: f.Requested, Nonce: cmp.Or(f.Nonce, f.ID)}
	g.take(a, p)
	if identified {
		if a.IDToken == "" {
			return nil, errors.New("the provider gave no ID token, though openid was asked for")
		}
		claims, err := t.verifyLogin(ctx, a.IDToken, idtoken.Login{
			ClientID: p.ClientID, AccessToken: a.AccessToken, Code: code,
			Nonce: f.Nonce, MaxAge: p.Params.Get("max_age"),
		}, e.now())
		if err != nil {
			return nil, err
		}
		g.Issuer, g.Subject = claims.Issuer, claims.Subject
	}
	g.Issuer = t.issuer.Recorded(g.Issuer)
	return g, nil
}

// sendCode sends a code, which cannot be sent twice, over a connection that is
// known to live: a new one. A code that was not sent is sent once more.
func (e *engine) sendCode(ctx context.Context, req *tokenendpoint.Request) (*tokenendpoint.Answer, error) {
	for try := 1; ; try++ {
		ctx, cancel := transport.WithTimeout(ctx, requestTimeout)
		a, err := doWithin(ctx, e.fresh, req)
		cancel()
		if te := asTokenError(err); te == nil || te.Class != tokenendpoint.Unsent || try == 2 {
			return a, err
		}
	}
}

// unreadablePatience is for how long a grant must have been unreadable before it
// is replaced: a Keeper may fail to open for a moment, and still seal.
const unreadablePatience = 5 * time.Second

// grantPatience is how long the Store may be away before the grant of a new
// authorization is given up: the person can make another.
const grantPatience = 2 * time.Minute

// replaceGrant stores the grant of a new authorization in place of what is
// there, with patience: the code is spent, and the person has done their part.
// It returns what was there: an empty grant if there was none, or one that
// cannot be read, for the reason given by damaged.
func (e *engine) replaceGrant(ctx context.Context, t *provider, g *Grant) (before *Grant, damaged, err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), grantPatience)
	defer cancel()
	refreshToken, refreshExpiry := g.RefreshToken, g.RefreshExpiry
	before = new(Grant)
	var since time.Time // it has been unreadable; zero: it was readable
	for attempt := 1; ; attempt++ {
		old, err := e.readGrant(ctx, g.GrantKey)
		g.RefreshToken, g.RefreshExpiry = refreshToken, refreshExpiry
		unreadable, isUnreadable := errors.AsType[*Error](err)
		if !isUnreadable {
			since = time.Time{}
		} else if since.IsZero() {
			since = time.Now()
		}
		switch {
		case errors.Is(err, ErrNotFound):
			before, g.Version = new(Grant), 0
		case isUnreadable:
			before, g.Version = new(Grant), 0
			err = nil
			if damaged != nil {
				err = e.deleteGrant(ctx, g.GrantKey)
			}
		case err == nil && old.Nonce == g.Nonce:
			// An earlier try has succeeded, and its answer was lost. Others may
			// have renewed it since.
			*g = *old
			return before, damaged, nil
		case err == nil && t.isAnotherAccount(old, g):
			return nil, nil, fmt.Errorf("%w: another account at the provider than before", ErrUserMismatch)
		case err == nil:
			before, g.Version = old, old.Version
			if g.RefreshToken == "" && old.Status != StatusNeedsReauthorization && old.Subject != "" &&
				old.Subject == g.Subject && t.issuer.Same(old.Issuer, g.Issuer) && old.ClientID == g.ClientID {
				// Some providers give a refresh token only the first time. The
				// one that is there is the same person's, and is still good.
				g.RefreshToken, g.RefreshExpiry = old.RefreshToken, old.RefreshExpiry
			}
		}
		if err == nil || errors.Is(err, ErrNotFound) {
			err = e.putGrant(ctx, g)
			if err == nil {
				return before, damaged, e.stillWanted(ctx, g)
			}
			if isUnreadable && errors.Is(err, ErrConflict) && time.Since(since) >= unreadablePatience {
				// It is there, and the Store can write it, as one whose Keeper
				// is away could not: what cannot be read is of no use any more.
				damaged = unreadable
			}
		}
		if errors.Is(err, ErrConflict) && attempt <= writeRounds && !isUnreadable {
			continue // at once: another process was quicker
		}
		select {
		case <-time.After(min(backoff(attempt)/10, maxWriteDelay)):
		case <-ctx.Done():
			return nil, nil, fmt.Errorf("the grant could not be stored: %w", err)
		}
	}
}

// stillWanted removes a grant again whose profile was deleted while it was
// being made.
func (e *engine) stillWanted(ctx context.Context, g *Grant) error {
	if _, err := e.readProfile(ctx, g.ProfileID); !errors.Is(err, ErrNotFound) {
		return nil
	}
	return errors.Join(ErrNotFound, e.store.DeleteGrant(ctx, g.GrantKey))
}

// exchangeError says what the token endpoint said to an authorization code.
// There is no grant yet whose state it could be: only that an operator is
// needed is said as a state.
func exchangeError(err error) error {
	te := asTokenError(err)
	f := &failedError{Failure: Failure{Code: te.Code, Description: te.Description, HTTPStatus: te.HTTPStatus}, cause: te}
	f.Reason, f.Status = meaning(te)
	if f.Status != StatusNeedsConfiguration {
		f.Status = ""
	}
	if f.Reason == ReasonRevoked {
		f.Reason = ReasonRefused // a code, and not a grant
	}
	return f
}

// A callback is the query that a provider sends a browser back with (RFC 6749,
// section 4.1.2).
type callback struct {
	state, code, issuer, errorCode, description string
	hasIssuer                                   bool
}

// Limits of a callback, in bytes.
const (
	maxCallback    = 16384
	maxDescribed   = 256
	maxErrorCode   = 64
	maxParameters  = 100
	minStateLength = 43
)

// callbackQuery reads the query of a callback. What is not ours is ignored
// (RFC 6749, section 4.1.2), well formed or not. What is ours is not guessed:
// only in a text for people does a guess no harm.
func callbackQuery(raw string) (url.Values, error) {
	if len(raw) > maxCallback || strings.Count(raw, "&") >= maxParameters {
		return nil, errors.New("the callback is too large")
	}
	query, guessed := readQuery(raw)
	for _, name := range []string{"state", "code", "iss", "error"} {
		if slices.Contains(guessed, name) {
			return nil, fmt.Errorf("the callback's %q is not form-encoded", name)
		}
	}
	return query, nil
}

// readQuery reads a query as browsers do (WHATWG URL, section 5.1): a semicolon
// separates nothing, and a percent sign without two digits stands for itself.
// It returns the names of the parameters that others may read differently.
func readQuery(raw string) (query url.Values, guessed []string) {
	query = make(url.Values)
	for pair := range strings.SplitSeq(raw, "&") {
		if pair == "" {
			continue
		}
		name, value, _ := strings.Cut(strings.ReplaceAll(pair, "+", " "), "=")
		name, ok1 := percentDecode(name)
		value, ok2 := percentDecode(value)
		query[name] = append(query[name], value)
		if !ok1 || !ok2 || strings.Contains(pair, ";") {
			guessed = append(guessed, name)
		}
	}
	return query, guessed
}

// percentDecode decodes what is percent-encoded in s, and leaves percent signs
// without two digits as they are: then it is not ok.
func percentDecode(s string) (decoded string, ok bool) {
	ok = true
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '%' {
			if c, err := url.PathUnescape(s[i:min(i+3, len(s))]); err == nil {
				b = append(b, c...)
				i += 2
				continue
			}
			ok = false
		}
		b = append(b, s[i])
	}
	return string(b), ok
}

func parseCallback(query url.Values) (*callback, error) {
	size := 0
	for name, values := range query {
		for _, v := range values {
			size += len(name) + len(v)
		}
	}
	if size > maxCallback || len(query) > maxParameters {
		return nil, errors.New("the callback is too large")
	}
	var c callback
	for name, field := range map[string]*string{
		"state": &c.state, "code": &c.code, "iss": &c.issuer, "error": &c.errorCode, "error_description": &c.description,
	} {
		values := query[name]
		if len(values) > 1 {
			return nil, fmt.Errorf("the callback has more than one %q", name)
		}
		if len(values) == 1 {
			*field = values[0]
		}
	}
	c.hasIssuer = query.Has("iss")
	switch {
	case len(c.state) < minStateLength:
		return nil, errors.New("the callback has no state that we gave out")
	case query.Has("access_token") || query.Has("id_token"):
		return nil, errors.New("the callback has a token in it, which was not asked for")
	case (c.code == "") == (c.errorCode == ""):
		return nil, errors.New("the callback must have either a code or an error")
	}
	return &c, nil
}

// checkIssuer makes sure that the answer is the asked provider's (RFC 9207).
func (c *callback) checkIssuer(f *Flow) error {
	switch {
	case c.hasIssuer && f.Issuer != "" && !issuer.Matches(f.Issuer, c.issuer):
		return errors.New("the callback comes from another issuer than the one that was asked")
	case !c.hasIssuer && f.IssuerRequired:
		return errors.New("the callback does not name its issuer, though the provider promises that")
	}
	return nil
}

// providerError is the error that the callback brings.
func (c *callback) providerError() error {
	f := Failure{Code: errorCode(c.errorCode), Description: printable(c.description, maxDescribed)}
	return &callbackError{&failedError{Failure: f}}
}

// A callbackError is what a provider had to say instead of a code.
type callbackError struct{ e *failedError }

func (e *callbackError) Error() string { return "the provider answers " + e.e.Code }

func (e *callbackError) Unwrap() error {
	re := e.e.retrieveError()
	re.Response = nil // there was none; the code is never empty
	return re
}

// errorCode cuts an error code to what RFC 6749, section 4.1.2.1 allows in one.
func errorCode(s string) string {
	return printable(strings.Map(func(r rune) rune {
		if r > '~' || r == '"' || r == '\\' {
			return '?'
		}
		return r
	}, s), maxErrorCode)
}

// printable cuts text from outside to what is safe to show: printable
// characters, at most so many bytes.
func printable(s string, limit int) string {
	var b strings.Builder
	for _, r := range s {
		if !unicode.IsPrint(r) || r == unicode.ReplacementChar {
			r = '?'
		}
		if b.Len()+len(string(r)) > limit {
			break
		}
		b.WriteRune(r)
	}
	return b.String()
}

func randomText() string {
	b := make([]byte, 32)
	rand.Read(b)
	return base64.RawURLEncoding.EncodeToString(b)
}

func hashText(s string) string {
	sum := sha256.Sum256([]byte(s))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// Grant returns what is stored for a profile and a user: the tokens, and their
// state.
func (m *Manager) Grant(ctx context.Context, key GrantKey) (*Grant, error) {
	g, err := m.engine().store.Grant(ctx, key)
	if err != nil {
		return nil, wrap("grant", key.ProfileID, key.User, err)
	}
	return g, nil
}

// Grants lists the grants of a profile by user. After an error, which concerns
// one grant or the Store, it goes on if that is possible.
func (m *Manager) Grants(ctx context.Context, profileID string) iter.Seq2[*Grant, error] {
	store := m.engine().store
	return pages(func(after string) ([]*Grant, error) {
		return store.ListGrants(ctx, profileID, after, pageSize)
	}, func(g *Grant) string { return g.User }, func(err error) error { return wrap("grants", profileID, "", err) })
}

// Revoke ends a grant: at the provider if that has an address for it (RFC
// 7009), and then here, whatever the provider says. The error is
// [ErrConfiguration] if it has one that cannot be used. After an error the grant
// may live on at the provider or, if the Store has failed, here: [Manager.Grant]
// tells. Revoking a grant that does not exist is not an error, nor is it one
// that a token is no good at the provider any more. With a provider that
// revokes refresh tokens only, the access token may live until it expires.
//
// Other processes may serve the access token for as long as they have it in
// memory: to its end, or for about an hour if that is not known.
func (m *Manager) Revoke(ctx context.Context, key GrantKey) error {
	e := m.engine()
	// A renewal may be under way elsewhere: what it brings is revoked too, by
	// us if it comes before the end, and otherwise by those who renewed.
	var last Secret
	var outcome error
	for range 3 {
		g, err := e.store.Grant(ctx, key)
		if errors.Is(err, ErrNotFound) {
			break
		}
		if err != nil {
			outcome = err // to delete what cannot be read is all that can be done
			continue
		}
		if tokens := g.RefreshToken + "\x00" + g.AccessToken; tokens != last {
			last = tokens
			outcome = e.revokeAtProvider(ctx, g)
			continue
		}
		break
	}
	if err := e.store.DeleteGrant(ctx, key); err != nil {
		return wrap("revoke", key.ProfileID, key.User, err)
	}
	e.replace(key, nil)
	e.log.LogAttrs(ctx, slog.LevelInfo, "authprofile: revoked", slog.String("profile", key.ProfileID), slog.Bool("at_provider", last != "" && outcome == nil))
	if errors.Is(outcome, errNoRevocation) {
		outcome = nil
	}
	return wrap("revoke", key.ProfileID, key.User, outcome)
}

func (e *engine) revokeAtProvider(ctx context.Context, g *Grant) error {
	p, err := e.store.Profile(ctx, g.ProfileID)
	if err != nil {
		return err
	}
	if g.ClientID != p.ClientID {
		return errors.New("the grant was issued to another client")
	}
	t, err := e.resolve(ctx, p)
	if err != nil {
		return err
	}
	if !t.issued(g, p) {
		return errors.New("the grant was issued by another provider")
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	return revoke(ctx, e.http, p, t, g)
}

// Shutdown waits until everything that was renewed is stored, and ends what
// the Manager does in the background. Tokens that are in memory are still
// given out afterwards, but none is renewed. If ctx ends first, its error is
// returned and the rest goes on; Shutdown can be called again. With a database
// that is away it can take as long as ctx lasts.
func (m *Manager) Shutdown(ctx context.Context) error {
	e := m.engine()
	e.mu.Lock()
	if !e.closed {
		e.closed = true
		close(e.closing)
	}
	e.mu.Unlock()
	e.sweeper.stop()

	done := make(chan struct{})
	go func() {
		e.work.Wait()
		e.docs.Close()
		if t, ok := e.http.Transport.(*http.Transport); ok && t == sharedTransport() {
			t.CloseIdleConnections() // others, who may share them, open new ones
		}
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return wrap("shutdown", "", "", ctx.Err())
	}
}

// wrap says where an error happened, if there is one.
func wrap(op, profileID, user string, err error) error {
	var known *Error
	if err == nil || errors.As(err, &known) && known.Op == op {
		return err
	}
	return &Error{Op: op, ProfileID: profileID, User: user, Err: err}
}

// pageSize is how many records are read from a Store at a time.
const pageSize = 100

// each returns the errors that are joined in err.
func each(err error) []error {
	if err == nil {
		return nil
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return joined.Unwrap()
	}
	return []error{err}
}

// pages iterates over records, page by page, so that other calls can be made
// inside the loop. A Store may return records and an error about others: one
// that cannot be decrypted must not hide the rest.
func pages[T any](page func(after string) ([]T, error), key func(T) string, wrap func(error) error) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		after := ""
		for {
			list, err := page(after)
			for _, r := range list {
				if !yield(r, nil) {
					return
				}
			}
			for _, err := range each(err) {
				var none T
				if !yield(none, wrap(err)) {
					return
				}
			}
			if len(list) < pageSize {
				return
			}
			after = key(list[len(list)-1])
		}
	}
}
