package authprofile

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"github.com/authprofile/authprofile/internal/address"
	"github.com/authprofile/authprofile/internal/discovery"
	"github.com/authprofile/authprofile/internal/safetext"
	"github.com/authprofile/authprofile/internal/tokenendpoint"
)

// A Step is one part of what [Manager.Check] has tested.
type Step struct {
	Name    string        `json:"name"`              // "address", "discovery", ..., as Check lists them
	Outcome string        `json:"outcome"`           // StepPassed, StepFailed or StepSkipped
	Problem string        `json:"problem,omitempty"` // for people: why it has failed or was skipped; has no secret in it
	Took    time.Duration `json:"took"`              // in nanoseconds
}

// The outcomes of a Step.
const (
	StepPassed  = "passed"
	StepFailed  = "failed"
	StepSkipped = "skipped" // it does not apply, or nothing can be said about it
)

// Check tests the connection to a profile's provider, for the "Test" button of a
// form. The profile need not be saved. Check touches no grant, stores nothing,
// and forgets the token that it gets. It returns these steps, always all of
// them and in this order:
//
//   - "address": the profile is valid. The hosts of its addresses are found and
//     can be connected to, and their certificates are good.
//   - "discovery": the discovery document, fetched anew, is the provider's and
//     has what the profile needs, and so are the keys for ID tokens if the
//     profile asks for any.
//   - "redirect": a user profile has a redirect address. [Manager.RedirectAddress]
//     is what to register.
//   - "authorization": the authorization endpoint does not refuse the request
//     that [Manager.Begin] would send a browser with.
//   - "client": the token endpoint accepts the client and its secret.
//   - "token": the token endpoint issues a token to an app profile.
//   - "account": the provider's API says whose account the token of an app profile
//     is for. It is skipped if the template knows no call for that.
//   - "clock": the provider's clock and this machine's are at most a minute apart.
//
// A profile that is not valid fails the first step, and the rest is skipped. So
// is a step that needs one that has failed. [AsUser] is not needed; with an app
// profile it fails "client", as it is ErrUserMismatch elsewhere.
//
// The provider sees requests, and may log them: a HEAD to each host that the
// profile names, and those for the document and the keys. From a user profile it
// gets an authorization request that no person goes on with, and a token request
// with a code that does not exist, which its log may show as one refused attempt
// of the client. To an app profile it issues one token.
//
// What a provider does not say, no test can find out. One that shows a refusal
// on an ordinary page passes "authorization", and one that looks at the code
// before it looks at the client passes "client", whatever the secret is.
//
// All requests go through [Manager.HTTPClient], each over a connection of its own
// if its Transport is an *http.Transport. Redirects are followed for documents
// only, and within their origin. A profile's authorization endpoint, which
// otherwise only browsers open, is opened by this process: a service whose
// tenants name their own providers takes a client of package egress. Each step
// takes 30 seconds at most, and all of them no longer than ctx lasts: the steps
// that are left then are skipped.
func (m *Manager) Check(ctx context.Context, p *Profile, opts ...Option) []Step {
	return slices.Collect(m.CheckSteps(ctx, p, opts...))
}

// CheckSteps is [Manager.Check] step by step, for a page that shows each as soon as
// it has ended. The test runs inside the loop: one that is left early ends it. It
// can be ranged over once more, which tests anew.
func (m *Manager) CheckSteps(ctx context.Context, p *Profile, opts ...Option) iter.Seq[Step] {
	p = p.Clone()
	return func(yield func(Step) bool) {
		e := m.engine()
		pb := newProber(e.fresh, e.lifetimes.now)
		// A cache of its own: what it fetches replaces nothing, and what fails holds
		// up no renewal.
		docs := discovery.NewCache(pb.http, slog.New(slog.DiscardHandler))
		defer docs.Close()

		c := &checking{profile: p, options: parseOptions(opts), prober: pb, providers: &resolver{docs, e.catalog, m.RedirectAddress, e.credentials, new(resources)}}
		if c.redirect = m.RedirectAddress(c.profile); c.redirect != "" || m.RedirectURL == "" {
			c.redirectErr = m.checkRedirect(c.profile)
		}
		for _, s := range []struct {
			name string
			test func(context.Context) Step
		}{
			{"address", c.testAddresses},
			{"discovery", c.testDiscovery},
			{"redirect", c.testRedirect},
			{"authorization", c.testAuthorization},
			{"client", c.testClient},
			{"token", c.testToken},
			{"account", c.testAccount},
			{"clock", c.testClock},
		} {
			began := time.Now()
			step := c.run(ctx, s.test)
			step.Name, step.Took = s.name, time.Since(began)
			step.Problem = safetext.Truncate(safetext.Text(step.Problem, '?'), maxProblem)
			if !yield(step) {
				return
			}
		}
	}
}

// maxProblem is how long Step.Problem may be, in bytes. A redirect address may have
// half of it.
const maxProblem = 4096

// A checking is what the steps of a Check know of each other.
type checking struct {
	profile   *Profile
	options   options
	prober    *prober
	providers *resolver

	redirect    string // the redirect address; empty: there is none
	redirectErr error  // why it cannot be used; nil: it can

	invalid  bool            // the profile is not valid
	away     map[string]bool // origins that cannot be reached
	provider *provider       // nil: its addresses are not known
	token    Step            // what the test of an app profile's client says of its token
	account  Step            // and of the account that the token is for
}

func passed() Step                { return Step{Outcome: StepPassed} }
func failed(problem string) Step  { return Step{Outcome: StepFailed, Problem: problem} }
func skipped(problem string) Step { return Step{Outcome: StepSkipped, Problem: problem} }

// run runs a test, unless it makes no sense any more.
func (c *checking) run(ctx context.Context, test func(context.Context) Step) Step {
	if c.invalid {
		return skipped("the profile has to be corrected first")
	}
	if err := ctx.Err(); err != nil {
		return skipped("the check has ended before: " + err.Error())
	}
	return test(ctx)
}

func (c *checking) isApp() bool { return c.profile.Type == TypeApp }

// testAddresses connects to each host that the profile names.
func (c *checking) testAddresses(ctx context.Context) Step {
	if err := c.profile.validate(c.providers.catalog, c.providers.credentials.keys.parse); err != nil {
		c.invalid = true
		return failed(joinTexts(unjoin(err)))
	}
	type place struct{ url, fields string }
	var places []*place
	byOrigin := make(map[string]*place)
	for _, a := range c.addresses() {
		origin := address.OriginOf(a.url)
		if known := byOrigin[origin]; known != nil {
			known.fields += ", " + a.field
			continue
		}
		byOrigin[origin] = &place{a.url, a.field}
		places = append(places, byOrigin[origin])
	}
	c.away = make(map[string]bool)
	var problems []string
	for _, at := range places {
		// Whatever the answer is, there is a server.
		if _, err := c.prober.ask(ctx, requestTimeout/time.Duration(len(places)), http.MethodHead, at.url); err != nil {
			c.away[address.OriginOf(at.url)] = true
			problems = append(problems, at.fields+": "+hostOf(at.url)+": "+err.Error())
		}
	}
	if len(problems) > 0 {
		return failed(strings.Join(problems, "; "))
	}
	return passed()
}

// A fieldAddress is an address, and the field of a profile that it comes from.
type fieldAddress struct{ field, url string }

// addresses returns those that the profile names, its document's first. Those
// that the document gives are not among them.
func (c *checking) addresses() []fieldAddress {
	e := c.profile.Endpoints
	var list []fieldAddress
	if known, err := c.providers.catalog.Lookup(string(c.profile.Template)); err == nil {
		for _, url := range known.Addresses() {
			list = append(list, fieldAddress{fieldTemplate, url})
		}
	}
	list = append(list, []fieldAddress{
		{fieldDiscovery, e.DiscoveryURL},
		{"Endpoints.TokenURL", e.TokenURL},
		{"Endpoints.AuthURL", e.AuthURL},
		{"Endpoints.RevocationURL", e.RevocationURL},
		{"Endpoints.PARURL", e.PARURL},
	}...)
	return slices.DeleteFunc(list, func(a fieldAddress) bool { return a.url == "" })
}

// hasDocument reports whether the provider has a document.
func (c *checking) hasDocument() bool {
	known, err := c.providers.catalog.Lookup(string(c.profile.Template))
	return c.profile.Endpoints.DiscoveryURL != "" || err == nil && known.DiscoveryURL != ""
}

// testDiscovery finds out how to talk to the provider.
func (c *checking) testDiscovery(ctx context.Context) Step {
	p, document := c.profile, c.addresses()[0]
	fromDocument := c.hasDocument()
	if fromDocument && c.away[address.OriginOf(document.url)] {
		return skipped(seeAddress(document.url))
	}
	pr, err := c.providers.resolve(ctx, p)
	if err != nil {
		return failed(document.field + ": " + documentText(ctx, err))
	}
	c.provider = pr
	if !fromDocument {
		return skipped("the addresses are known without a document")
	}

	var texts []string
	note := func(err error) {
		if err != nil {
			texts = append(texts, documentText(ctx, err))
		}
	}
	if !c.isApp() {
		note(pr.authErr)
	}
	if pr.revocationURL == "" {
		note(pr.revocationErr)
	}
	if !c.isApp() && slices.Contains(pr.withScopes(p.Scopes), "openid") {
		note(pr.loadKeys(ctx))
	}
	if len(texts) > 0 {
		return failed(document.field + ": " + strings.Join(texts, "; "))
	}
	return passed()
}

func (c *checking) testRedirect(context.Context) Step {
	switch {
	case c.isApp():
		return skipped("an app profile sends no person to the provider")
	case c.redirectErr == nil && c.redirect == "":
		return skipped("the redirect address has the profile's ID in it, which it gets when it is saved")
	case c.redirectErr != nil:
		return failed(joinTexts(unjoin(c.redirectErr)))
	}
	return passed()
}

// testAuthorization makes the request that a browser would make, and reads what
// can be read of the answer without a person.
func (c *checking) testAuthorization(ctx context.Context) Step {
	switch pr := c.provider; {
	case c.isApp():
		return skipped("an app profile sends no person to the provider")
	case pr == nil:
		return skipped(seeDiscovery)
	case pr.authErr != nil:
		return skipped(`the authorization endpoint is not known: see the step "discovery"`)
	case c.away[address.OriginOf(pr.authURL)]:
		return skipped(seeAddress(pr.authURL))
	case c.redirect == "" || c.redirectErr != nil:
		return skipped(`it needs the redirect address: see the step "redirect"`)
	}
	f := &Flow{RedirectURL: c.redirect}
	if err := f.compose(c.profile, c.provider, nil); err != nil {
		return failed("the authorization endpoint is not an address")
	}
	if err := c.provider.push(ctx, c.prober.http, c.profile, f); err != nil {
		return failed("the endpoint for pushed authorization requests: " + err.Error())
	}
	a, err := c.prober.ask(ctx, requestTimeout, http.MethodGet, f.URL)
	if err != nil {
		return failed("the authorization endpoint: " + hostOf(f.URL) + ": " + err.Error())
	}
	return a.judge(f)
}

// judge says what an answer to an authorization request means.
func (a *answer) judge(f *Flow) Step {
	// A provider that does not know the redirect address must not send the
	// browser there to say so (RFC 6749, section 4.1.2.1).
	register := "; the redirect address to register is exactly " + f.RedirectURL

	code, description := a.oauthError()
	switch {
	case a.status/100 == 3:
		to, err := a.url.Parse(a.header.Get("Location"))
		if err != nil || a.header.Get("Location") == "" {
			return failed(fmt.Sprintf("the provider answers HTTP %d, which leads nowhere", a.status))
		}
		query, _ := address.ReadQuery(to.RawQuery)
		code, description = query.Get("error"), query.Get("error_description")
		isBack := strings.HasPrefix(to.String(), f.RedirectURL)
		switch {
		case needsPerson(code):
			return passed()
		case code != "" && isBack:
			return failed("the provider answers " + quoteRefusal(code, description))
		case code != "":
			return failed("the provider refuses the client or the redirect address: " + quoteRefusal(code, description) + register)
		case !isBack && slices.Contains(strings.Split(strings.ToLower(to.Path), "/"), "error"):
			// As Google does, whose address says why in a form of its own.
			return failed("the provider refuses the client or the redirect address: it shows a page about an error" + register)
		}
		return passed()
	case a.status == http.StatusTooManyRequests, a.status == http.StatusRequestTimeout, a.status >= 500:
		return failed(fmt.Sprintf("the provider is not available (HTTP %d)", a.status))
	case a.status >= 400, code != "":
		detail := fmt.Sprintf("HTTP %d", a.status)
		if code != "" {
			detail += ", " + quoteRefusal(code, description)
		}
		return failed("the provider refuses the client or the redirect address (" + detail + ")" + register)
	}
	return passed()
}

// needsPerson reports whether an error code says that only a person is missing,
// as it does if the profile's Params ask for no page (OpenID Connect Core 1.0,
// section 3.1.2.6).
func needsPerson(code string) bool {
	return slices.Contains([]string{"login_required", "interaction_required", "consent_required", "account_selection_required"}, code)
}

// quoteRefusal returns what may be shown of what a provider says.
func quoteRefusal(code, description string) string {
	if description == "" {
		return errorCode(code)
	}
	return errorCode(code) + ": " + shownText(description)
}

// testClient makes a token request: with an app profile the one for its token,
// and with a user profile one with a code that does not exist. A server looks at
// the client before it looks at the code.
func (c *checking) testClient(ctx context.Context) Step {
	p, pr := c.profile, c.provider
	switch {
	case c.isApp() && c.options.hasUser:
		_, err := grantKey(p, &c.options)
		return failed(err.Error())
	case pr == nil:
		return skipped(seeDiscovery)
	case c.away[address.OriginOf(pr.tokenURL)]:
		return skipped(seeAddress(pr.tokenURL))
	}
	var form url.Values
	if c.isApp() {
		form = clientCredentialsForm(p, pr, nil)
	} else {
		f := &Flow{RedirectURL: c.redirect, Verifier: Secret(oauth2.GenerateVerifier())}
		form = codeForm(p, pr, f, oauth2.GenerateVerifier())
		if c.redirect == "" {
			form.Del("redirect_uri")
		}
	}
	within, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	a, err := doWithin(within, pr.freshClient(c.prober.http), tokenRequest(p, pr, form))
	if !c.isApp() {
		if err == nil {
			return skipped("the provider's answer does not tell: it issues a token for a code that it does not know")
		}
		return judgeClient(ctx, asTokenError(err))
	}

	if err == nil {
		c.account = c.askAccount(ctx, pr, a)
		c.token = passed()
		if a.LifetimeKnown && a.Lifetime == 0 {
			c.token = failed("the token has ended already when it is issued")
		}
		return passed()
	}
	te := asTokenError(err)
	step := judgeClient(ctx, te, "invalid_scope", "invalid_target", "invalid_resource")
	c.token = failed(refusalText(ctx, te))
	if step.Outcome == StepFailed {
		c.token = skipped(`the client has to be accepted first: see the step "client"`)
	}
	return step
}

// judgeClient says what a failed token request means for the client. By the codes
// in accepted, and by those that mean that the code or grant is not valid, a
// provider refuses something else, having looked at the client first.
func judgeClient(ctx context.Context, te *tokenendpoint.Error, accepted ...string) Step {
	problem := refusalText(ctx, te)
	switch {
	case te.Class == tokenendpoint.InvalidGrant, slices.Contains(accepted, te.Code):
		return passed()
	case te.HTTPStatus == 0,
		te.HTTPStatus == http.StatusUnauthorized,
		te.Class == tokenendpoint.Configuration,
		strings.Contains(strings.ToLower(te.Code), "client"):
		return failed(problem)
	}
	return skipped("the provider's answer does not tell: " + problem)
}

// refusalText says to people why a token request has failed.
func refusalText(ctx context.Context, te *tokenendpoint.Error) string {
	if isTooLate(ctx, te) {
		return "the token endpoint: no answer in time"
	}
	text := exchangeError(te).Error()
	if te.HTTPStatus != 0 && te.Err != nil {
		text += ": " + te.Err.Error()
	}
	if te.Description != "" {
		text += ": " + te.Description
	}
	return text
}

func (c *checking) testToken(context.Context) Step {
	switch {
	case !c.isApp():
		return skipped("a person has to consent before a token is issued")
	case c.token.Outcome == "":
		return skipped(`no token was asked for: see the step "client"`)
	}
	return c.token
}

func (c *checking) testAccount(context.Context) Step {
	switch {
	case c.account.Outcome != "":
		return c.account
	case c.provider != nil && c.provider.dialect.Account == nil:
		return skipped(errNoAccountCall.Error())
	}
	return skipped("it needs a token, and there is none")
}

// askAccount asks the provider's API whose account the token of an app profile is
// for. Not every such token is for one.
func (c *checking) askAccount(ctx context.Context, pr *provider, a *tokenendpoint.Answer) Step {
	g := &Grant{AccessToken: Secret(a.AccessToken)}
	g.addExtra(a.Extra, pr.dialect)
	if _, err := pr.askAccount(ctx, c.prober.http, c.profile, g); err != nil {
		return skipped(err.Error())
	}
	return passed()
}

func (c *checking) testClock(context.Context) Step {
	ahead, known := c.prober.clock()
	switch {
	case !known:
		return skipped("no answer of the provider has a date")
	case ahead > maxSkew:
		return failed(fmt.Sprintf("the provider's clock is %v ahead of this machine's", ahead.Round(time.Second)))
	case ahead < -maxSkew:
		return failed(fmt.Sprintf("the provider's clock is %v behind this machine's", -ahead.Round(time.Second)))
	}
	return passed()
}

// oauthError returns the error that an answer in JSON names, or nothing.
func (a *answer) oauthError() (code, description string) {
	o, err := discovery.ParseObject(a.body)
	if err != nil {
		return "", ""
	}
	code, _ = o.Text("error")
	description, _ = o.Text("error_description")
	return code, description
}

const seeDiscovery = `the provider's addresses are not known: see the step "discovery"`

func seeAddress(s string) string { return hostOf(s) + ` cannot be reached: see the step "address"` }

func hostOf(s string) string {
	u, err := url.Parse(s)
	if err != nil {
		return ""
	}
	return u.Host
}

// documentText returns the text of an error of package discovery, in which a limit of
// ours is none of the caller's.
func documentText(ctx context.Context, err error) string {
	if !isTooLate(ctx, err) {
		return err.Error()
	}
	if e, ok := errors.AsType[*discovery.Error](err); ok {
		return e.URL + ": no answer in time"
	}
	return "no answer in time"
}

// isTooLate reports whether an error says that an answer took too long, though
// ctx has not ended.
func isTooLate(ctx context.Context, err error) bool {
	return errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil
}

func joinTexts(errs []error) string {
	var texts []string
	for _, err := range errs {
		texts = append(texts, err.Error())
	}
	return strings.Join(texts, "; ")
}
