package providertest

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Provider makes a Server in memory that stands at the addresses of a provider
// and has its habits: what it demands of requests, the form of its answers and
// errors, how its refresh tokens live and die, how it revokes, and the API
// call that says whose account it is.
//
// The name may have the variables of the provider's addresses after it, each
// after a slash, as in "shopify/acme". Those that are left out are as in this
// table:
//
//	provider    variables                                 switches
//	airtable
//	atlassian
//	auth0       acme.eu.auth0.com                         overlap: a replaced refresh token works for 30 seconds more
//	bitbucket                                             scopes: answers have scopes in place of scope
//	box         "" (subdomain)
//	cognito     eu-central-1/eu-central-1_AbCdEf123       rotation: refresh tokens are replaced
//	docusign    account.docusign.com
//	dropbox
//	github      github.com                                app: a GitHub App, whose tokens expire and are renewed
//	gitlab      gitlab.com
//	google                                                testing: grants end after a week
//	hubspot                                               v1: the addresses and errors that end in February 2027
//	keycloak    id.example.com/acme (no prefix)           revoke: using a refresh token twice ends the session
//	linear
//	linkedin                                              refresh: there are refresh tokens
//	microsoft   common                                    strings: numbers in answers are text;
//	                                                      claims: a refresh is refused until an authorization request has claims;
//	                                                      expiring: the client's secret ends after a day
//	notion                                                legacy: the refresh token is null
//	okta        acme.okta.com (its org server)
//	onelogin    acme                                      refresh: there are refresh tokens
//	pingone     f2aba07d-270c-42ba-8811-01af5f63d458/com  refresh: there are refresh tokens
//	quickbooks
//	salesforce  login.salesforce.com                      rotation: refresh tokens are replaced
//	servicenow  acme.service-now.com
//	shopify     acme
//	slack                                                 rotation: tokens expire and are renewed
//	snowflake   acme.snowflakecomputing.com               single-use: refresh tokens are replaced
//	x
//	xero
//	zendesk     acme                                      expiring: tokens expire though that is not asked for
//	zoom        abc123XYZ (account)
//
// A switch turns on a habit that the provider has for some applications only:
//
//	srv := providertest.NewServer(t, providertest.Provider("slack", "rotation"))
//
// The API says that the account is [Consent.Subject], or a number made of it
// where the provider's are numbers. [Server.DiscoveryURL] is "" if the provider
// has no usable document, and [Server.RevocationURL] if the provider has no
// revocation, or one that neither is that of RFC 7009 nor in its document.
func Provider(name string, switches ...string) Option {
	return option(func(s *Server) error {
		id, rest, more := strings.Cut(name, "/")
		p, ok := players()[id]
		if !ok {
			return fmt.Errorf("unknown provider %q; known are %s", id, strings.Join(slices.Sorted(maps.Keys(players())), ", "))
		}
		for _, name := range switches {
			if !slices.Contains(p.switches, name) {
				return fmt.Errorf("%s has no switch %q; it has %q", id, name, p.switches)
			}
		}
		var values []string
		if more {
			values = strings.SplitN(rest, "/", max(1, len(p.variables)))
		}
		if len(values) > len(p.variables) {
			return fmt.Errorf("%s has no variable for %q", id, rest)
		}
		for i, v := range p.variables {
			if i == len(values) {
				values = append(values, v.preset)
			}
			if !regexp.MustCompile(v.pattern).MatchString(values[i]) {
				return fmt.Errorf("%q is not a %s of %s", values[i], v.name, id)
			}
		}
		f, err := p.play(values, func(name string) bool { return slices.Contains(switches, name) })
		if err != nil {
			return err
		}
		s.play(f)
		return nil
	})
}

// players returns who plays the providers, by name.
func players() map[string]player {
	return map[string]player{
		"airtable":   {nil, nil, fakeAirtable},
		"atlassian":  {nil, nil, fakeAtlassian},
		"auth0":      {[]variable{{"host", "acme.eu.auth0.com", anyHost}}, []string{"overlap"}, fakeAuth0},
		"bitbucket":  {nil, []string{"scopes"}, fakeBitbucket},
		"box":        {[]variable{{"subdomain", "", `^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)?$`}}, nil, fakeBox},
		"cognito":    {[]variable{{"region", "eu-central-1", `^[a-z]{2}(-[a-z]+)+-[0-9]$`}, {"pool", "", `^([a-z0-9-]+_[A-Za-z0-9]+)?$`}}, []string{"rotation"}, fakeCognito},
		"docusign":   {[]variable{{"host", "account.docusign.com", `^account(-d)?\.docusign\.com$`}}, nil, fakeDocuSign},
		"dropbox":    {nil, nil, fakeDropbox},
		"github":     {[]variable{{"host", "github.com", anyHost}}, []string{"app"}, fakeGitHub},
		"gitlab":     {[]variable{{"host", "gitlab.com", anyHost}}, nil, fakeGitLab},
		"google":     {nil, []string{"testing"}, fakeGoogle},
		"hubspot":    {nil, []string{"v1"}, fakeHubSpot},
		"keycloak":   {[]variable{{"host", "id.example.com", anyHost}, {"realm", "acme", `^[A-Za-z0-9._-]+$`}, {"prefix", "", `^([A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*)?$`}}, []string{"revoke"}, fakeKeycloak},
		"linear":     {nil, nil, fakeLinear},
		"linkedin":   {nil, []string{"refresh"}, fakeLinkedIn},
		"microsoft":  {[]variable{{"tenant", "common", `^([a-z0-9.-]+/)?[A-Za-z0-9.-]+$`}}, []string{"strings", "claims", "expiring"}, fakeMicrosoft},
		"notion":     {nil, []string{"legacy"}, fakeNotion},
		"okta":       {[]variable{{"host", "acme.okta.com", anyHost}, {"server", "", `^[A-Za-z0-9]*$`}}, nil, fakeOkta},
		"onelogin":   {[]variable{{"subdomain", "acme", `^[a-z0-9]([a-z0-9-]*[a-z0-9])?$`}}, []string{"refresh"}, fakeOneLogin},
		"pingone":    {[]variable{{"environment", "f2aba07d-270c-42ba-8811-01af5f63d458", `^[0-9a-f-]{36}$`}, {"tld", "com", `^(com|eu|ca|asia|com\.au|sg)$`}}, []string{"refresh"}, fakePingOne},
		"quickbooks": {nil, nil, fakeQuickBooks},
		"salesforce": {[]variable{{"host", "login.salesforce.com", `^[a-z0-9-]+(\.[a-z0-9-]+)*\.salesforce\.com$`}}, []string{"rotation"}, fakeSalesforce},
		"servicenow": {[]variable{{"host", "acme.service-now.com", anyHost}}, nil, fakeServiceNow},
		"shopify":    {[]variable{{"shop", "acme", `^[a-z0-9][a-z0-9-]*$`}}, nil, fakeShopify},
		"slack":      {nil, []string{"rotation"}, fakeSlack},
		"snowflake":  {[]variable{{"host", "acme.snowflakecomputing.com", `^[a-z0-9_-]+(\.[a-z0-9_-]+)*\.snowflakecomputing\.(com|cn)$`}}, []string{"single-use"}, fakeSnowflake},
		"x":          {nil, nil, fakeX},
		"xero":       {nil, nil, fakeXero},
		"zendesk":    {[]variable{{"subdomain", "acme", `^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`}}, []string{"expiring"}, fakeZendesk},
		"zoom":       {[]variable{{"account", "abc123XYZ", `^[A-Za-z0-9_-]+$`}}, nil, fakeZoom},
	}
}

// A player makes the fake of a provider.
type player struct {
	variables []variable
	switches  []string
	play      func(values []string, on func(name string) bool) (*fake, error)
}

// A variable is a part of a provider's addresses.
type variable struct{ name, preset, pattern string }

// anyHost is the pattern of a variable that is a host name.
const anyHost = `^[a-z0-9-]+(\.[a-z0-9-]+)+$`

// A fake is a provider as a Server plays it: where it stands, and what it does
// otherwise than a Server does by itself. All but document is optional.
//
// Functions that get a locked Server say so; the others get one that is not.
type fake struct {
	// document has the addresses, named as in a discovery document. It is
	// served at discovery, if that is not "".
	document  map[string]any
	discovery string
	api       string // what APIURL returns; all below it takes access tokens
	tid       string // of Microsoft's ID tokens
	routes    []route

	policy Policy

	// authMethods are those of clients that have a secret; nil: Basic and post.
	authMethods []string

	// thumbprint demands x5t or x5t#S256 in client assertions.
	thumbprint bool

	// body says which bodies the token and revocation endpoints take.
	body bodyFormat

	// openRevocation lets the revocation endpoint do without the client.
	openRevocation bool

	// codeByDefault takes a token request without grant_type for one with a code.
	codeByDefault bool

	separator  string   // between scopes in requests; "" is a space
	registered []string // what is granted, whatever is asked for; nil: what is asked for

	// grants are the grant types. Nil: those of every Server. The Server is
	// locked.
	grants map[string]grant

	// authorize says what is wrong with an authorization request, beyond what
	// every Server finds. Without a code, why is shown on a page; with one, the
	// browser is sent back. The Server is locked.
	authorize func(s *Server, asked url.Values) (code, why string)

	// offline says whether a refresh token comes for a code, unless
	// Policy.Offline does. The Server is locked.
	offline func(asked url.Values, scopes []string) bool

	// callback completes the parameters with which the browser is sent back.
	// The Server is locked.
	callback func(s *Server, client *Client, asked, back url.Values)

	// demand refuses requests to the token endpoint, and to the usual
	// revocation endpoint, as RFC 6749 would put it.
	demand func(c *call) *Answer

	// answer changes the answer to a token request.
	answer func(s *Server, c *call, is *issue, v map[string]any)

	// refuse puts a refusal of the token or the usual revocation endpoint in
	// the provider's words.
	refuse func(c *call, r refused) *Answer

	// encode gives answers of the token endpoint their last form.
	encode func(c *call, a *Answer) *Answer

	// bearer finds the access token in an API request. Nil: as RFC 6750 has it.
	bearer func(r *http.Request) string

	// apiDemand refuses API requests for another reason than their token.
	apiDemand func(s *Server, c *call, t *issuedAccess) *Answer

	// unauthorized refuses an API request without a valid token.
	unauthorized func(c *call, token string) *Answer

	// userClaims are the names of what the userinfo endpoint says beside sub and
	// the claims of Consent; each is the subject. Nil: what the API says.
	userClaims []string

	// noOpenID refuses a valid token at the userinfo endpoint for want of the
	// scope openid. Nil: as one that is not valid.
	noOpenID func() *Answer
}

// A bodyFormat says which bodies are taken.
type bodyFormat int

const (
	formBody bodyFormat = iota
	anyBody             // a form, or JSON
	jsonBody
)

// A grant decides about a token request. It returns a refusal, or nil after
// completing is. The Server is locked.
type grant func(s *Server, c *call, is *issue) *Answer

// codeAndRefresh are the grant types of a provider that has no other.
func codeAndRefresh() map[string]grant {
	return map[string]grant{
		"authorization_code": (*Server).authorizationCode,
		"refresh_token":      (*Server).refreshToken,
	}
}

// A route is an address of a fake beside those that every Server has.
type route struct {
	// pattern is a method and an address, as path.Match understands it:
	// "GET https://api.example.com/users/*".
	pattern  string
	endpoint Endpoint
	serve    func(s *Server, c *call) *Answer
}

// refused is what RFC 6749 or RFC 7009 would answer.
type refused struct {
	status    int
	code, why string
}

// Reasons that some providers have names of their own for.
const (
	whyUnknownClient  = "unknown client"
	whyUnknownRefresh = "unknown refresh token"

	whyRedirect = "the redirect address is not that of the authorization request"
	whyVerifier = "the code verifier does not fit the code challenge"
	whyReplaced = "the refresh token was used before"
	whyEnded    = "the refresh token has ended"
)

// forever is the lifetime of tokens that do not expire.
const forever = 100 * 365 * 24 * time.Hour

// play makes s the provider that f is.
func (s *Server) play(f *fake) {
	s.fake = f
	s.memory = true
	s.document, s.discovery, s.metadata = f.document, f.discovery, ""
	s.policy = f.policy
	s.origin = originOf(s.TokenURL())
}

// parseDocument returns the members of a discovery document.
func parseDocument(text string) (map[string]any, error) {
	var document map[string]any
	if err := json.Unmarshal([]byte(text), &document); err != nil {
		return nil, fmt.Errorf("discovery document: %w", err)
	}
	return document, nil
}

// originOf returns the origin of an address, or "" if it is none.
func originOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return u.Scheme + "://" + u.Host
}

// route returns the route for a request, or nil.
func (f *fake) route(r *http.Request) *route {
	for i := range f.routes {
		if ok, _ := path.Match(f.routes[i].pattern, r.Method+" "+addressOf(r)); ok {
			return &f.routes[i]
		}
	}
	return nil
}

// addressOf returns the address of a request in memory, without its query.
func addressOf(r *http.Request) string { return r.URL.Scheme + "://" + r.URL.Host + r.URL.Path }

// split returns the scopes in a parameter.
func (f *fake) split(scope string) []string {
	if f.separator == "" {
		return strings.Fields(scope)
	}
	if scope == "" {
		return nil
	}
	return strings.Split(scope, f.separator)
}

// apiRoute is a route to an API call. Its function makes the JSON value of the
// answer, or an *Answer; the Server is not locked.
func apiRoute(pattern string, f func(s *Server, c *call, t *issuedAccess) any) route {
	return route{pattern, API, func(s *Server, c *call) *Answer {
		t, refused := s.authorized(c)
		if refused != nil {
			return refused
		}
		switch v := f(s, c, t).(type) {
		case *Answer:
			return v
		case map[string]any:
			return s.object(c.endpoint, v)
		default:
			return answer(http.StatusOK, v)
		}
	}}
}

// userInfoRoute is apiRoute for a userinfo endpoint with an answer of its own.
func userInfoRoute(pattern string, f func(s *Server, c *call, t *issuedAccess) any) route {
	r := apiRoute(pattern, f)
	r.endpoint = UserInfo
	return r
}

// basicClient returns the client that authenticates itself with Basic at an
// address of a fake's own, or nil.
func (s *Server) basicClient(r *http.Request) *Client {
	cred := readCredentials(r, nil)
	s.mu.Lock()
	defer s.mu.Unlock()
	c, ok := s.clients[cred.id]
	if !ok || cred.method != "client_secret_basic" || cred.secret != c.Secret {
		return nil
	}
	return &c
}

// keepNewest ends the oldest of a user's grants if there are more than n for
// which same holds. The Server is locked.
func (s *Server) keepNewest(g *userGrant, n int, same func(other *userGrant) bool) {
	who := [2]string{g.client, g.subject}
	list := slices.DeleteFunc(s.state.grants[who], func(g *userGrant) bool { return g.dead })
	list = append(list, g)
	s.state.grants[who] = list
	count := 0
	for _, other := range slices.Backward(list) {
		if same == nil || same(other) {
			if count++; count > n {
				other.dead = true
			}
		}
	}
}

// numberOf makes the number of an account of a subject.
func numberOf(subject string) int64 {
	n := int64(0)
	for _, b := range []byte(subject) {
		n = (n*31 + int64(b)) % 1_000_000_000
	}
	return n
}

// subject returns whose token t is, or the client's own name.
func (t *issuedAccess) subject() string {
	if t.grant == nil {
		return t.client
	}
	return t.grant.subject
}

// userInfo returns what the userinfo endpoint says of a token's user.
func (f *fake) userInfo(t *issuedAccess) map[string]any {
	v := map[string]any{"sub": t.grant.subject}
	for _, name := range f.userClaims {
		v[name] = t.grant.subject
	}
	maps.Copy(v, t.grant.claims)
	return v
}

// insufficientScope refuses a token for want of a scope (RFC 6750, section 3.1).
func insufficientScope() *Answer {
	a := refusal(http.StatusForbidden, "insufficient_scope", "the access token lacks the scope openid")
	a.Header.Set("WWW-Authenticate", `Bearer realm="providertest", error="insufficient_scope", scope="openid"`)
	return a
}

func seconds(d time.Duration) int64 { return int64(d / time.Second) }
