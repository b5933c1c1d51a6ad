package authprofile

import (
	"bytes"
	"encoding/json"

	"github.com/authprofile/authprofile/internal/catalog"
)

// A Provider describes, as data, where a provider is and in what it differs from
// the standards, so that a profile can name it by a [Template]. [Providers] lists
// those that are built in. An application adds its own, or corrects a built-in
// one, by Manager.Providers, which encoding/json reads from a file.
//
// Only Name, Title, Revision, RegisterURL and the addresses are required. In
// addresses, and in the values of parameters, "{shop}" stands for the variable of
// that name. An address must be https, or http on a loopback host.
//
// # What a stored profile means
//
// A profile with a template uses what the row says today: a new parameter or a
// new address takes effect at the next renewal, without a change of the profile.
// What would cost users their grants does not change silently. A grant remembers
// who has issued it: the issuer of the document, or the origin of the token
// endpoint. If the row leads to another one, the refresh token is not sent there,
// and the grant's Failure says ReasonOtherClient, until the row leads back or the
// user authorizes again. A provider that has moved lists where it was in
// FormerOrigins. A release of this module never changes the variables, the issuer
// or the client authentication of a built-in row: what would need that gets a
// name of its own. An application that sets these for its own rows decides for
// its users; a profile with an AuthMethod of its own keeps that.
type Provider struct {
	Name         string   `json:"name"`                    // the first part of a template: "github"
	Title        string   `json:"title"`                   // for people: "GitHub"
	Revision     string   `json:"revision"`                // when the row was last checked: "2026-11-26"
	RegisterURL  string   `json:"register_url"`            // where an application is registered
	Registration string   `json:"registration,omitempty"`  // for people: what to set there
	RefreshToken string   `json:"refresh_token,omitempty"` // for people: when there is a refresh token, and how long it lives
	Changes      []string `json:"changes,omitempty"`       // for people: what has changed of late, or will: "2027-02-16: ..."

	// Variables are what follows the name in a template, each after a slash.
	// Those that are required get their values first.
	Variables []ProviderVariable `json:"variables,omitempty"`

	// DiscoveryURL is that of a discovery document, which is fetched at run time.
	// What the row says itself comes before what the document says.
	DiscoveryURL string `json:"discovery_url,omitempty"`

	// Issuer is what the document gives, if not what the standards derive from
	// its URL. "{tenant_id}" in it stands for a GUID: the value of the variable
	// "tenant" if that is one, what TenantIDs has for it, or else any.
	Issuer        string            `json:"issuer,omitempty"`
	TenantIDs     map[string]string `json:"tenant_ids,omitempty"`
	IssuerAliases []string          `json:"issuer_aliases,omitempty"` // what "iss" may be in place of the issuer

	AuthURL    string `json:"auth_url,omitempty"`
	TokenURL   string `json:"token_url,omitempty"`
	RefreshURL string `json:"refresh_url,omitempty"` // of renewals, if another

	// Hosts are where addresses of the document, and hosts that come from a
	// callback or an answer, may lie, besides the hosts of the row's own
	// addresses: "api.example.com", or ".example.com" for all below it.
	Hosts         []string `json:"hosts,omitempty"`
	FormerOrigins []string `json:"former_origins,omitempty"` // of the token endpoint: "https://www.example.com"

	AuthMethod AuthMethod `json:"auth_method,omitempty"` // empty: as the document says, or AuthBasic
	// AssertionAudience is whom the client's assertions are for: "issuer"; empty:
	// the token endpoint.
	AssertionAudience string `json:"assertion_audience,omitempty"`

	ClientIDParam string            `json:"client_id_param,omitempty"` // the name of client_id, if another
	BodyFormat    string            `json:"body_format,omitempty"`     // "json": of token requests; empty: a form
	Headers       map[string]string `json:"headers,omitempty"`         // further ones, of token and revocation requests
	AuthParams    map[string]string `json:"auth_params,omitempty"`     // of the authorization request; the profile's Params come before them
	TokenParams   map[string]string `json:"token_params,omitempty"`    // of the exchange of a code; the profile's TokenParams come before them
	RefreshParams map[string]string `json:"refresh_params,omitempty"`  // of a renewal; a value "{redirect_uri}" stands for the redirect address

	// RefreshOmit are parameters of the profile's TokenParams that the provider
	// refuses in a renewal: "resource".
	RefreshOmit []string `json:"refresh_omit,omitempty"`

	// RedirectURI is sent as redirect_uri in place of the redirect address.
	RedirectURI string `json:"redirect_uri,omitempty"`

	// RefreshGrant says that there is no refresh token: the access token itself
	// is renewed, by a grant of this type, as the parameter whose value in
	// RefreshParams is "{token}".
	RefreshGrant string `json:"refresh_grant,omitempty"`

	Scopes           []string `json:"scopes,omitempty"`            // always asked for: what a refresh token takes
	ScopeSeparator   string   `json:"scope_separator,omitempty"`   // ","; empty: a space
	ScopeParams      []string `json:"scope_params,omitempty"`      // parameters with a list of scopes, beside "scope": "user_scope"
	ScopeOnRefresh   bool     `json:"scope_on_refresh,omitempty"`  // renewals say the scope, too
	ScopesRegistered bool     `json:"scopes_registered,omitempty"` // scopes come from the registration, and need not be those asked for

	PKCE string `json:"pkce,omitempty"` // "required", or "off" if it must not be sent; empty: it is sent

	// App says that the provider has a grant for profiles of TypeApp, and by which
	// address, client authentication and parameters, if by others. AppGrant is its
	// type, if not client_credentials.
	App      *ProviderRequest `json:"app,omitempty"`
	AppGrant string           `json:"app_grant,omitempty"`

	CallbackCode   string            `json:"callback_code,omitempty"`   // the name of "code" in the callback, if another, which ends with "code"
	CallbackKeep   []string          `json:"callback_keep,omitempty"`   // parameters of the callback that Grant.Extra gets
	CallbackMatch  map[string]string `json:"callback_match,omitempty"`  // parameters, and what they must say
	CallbackHMAC   string            `json:"callback_hmac,omitempty"`   // the parameter with an HMAC-SHA256 of the others, in hex, keyed with the client secret
	CallbackErrors map[string]string `json:"callback_errors,omitempty"` // the provider's names of errors, and the standard's
	CallbackScope  string            `json:"callback_scope,omitempty"`  // the parameter that says what was granted

	TokenPath    string            `json:"token_path,omitempty"`    // where an answer has its members, if it has no access_token at the top
	AnswerKeep   []string          `json:"answer_keep,omitempty"`   // paths such as "team.id" that Grant.Extra gets; members at the top it gets anyway
	ExpiryMember string            `json:"expiry_member,omitempty"` // when the access token ends, if not expires_in
	ExpiryFormat string            `json:"expiry_format,omitempty"` // "seconds", "milliseconds", "unix" or "rfc3339"; "jwt" without a member
	ScopeMember  string            `json:"scope_member,omitempty"`  // the name of "scope", if another
	HostMember   string            `json:"host_member,omitempty"`   // of Grant.Extra: the host for exchanges, renewals and revocations, one of Hosts
	IDToken      string            `json:"id_token,omitempty"`      // "no_nonce": without the nonce; "none": there is none, even if asked for
	ErrorPaths   []string          `json:"error_paths,omitempty"`   // where a code stands besides "error": "error.code", "error_codes[]"
	Errors       map[string]string `json:"errors,omitempty"`        // codes, or status and code: "dead", "configuration", "unavailable" or "refused"

	// Revocation is how a token is revoked; nil: as the document says, by RFC 7009.
	// RevocationTokens are "refresh_token" and "access_token", in the order in which
	// they are revoked; nil: both, in this order.
	Revocation       *ProviderRequest `json:"revocation,omitempty"`
	RevocationTokens []string         `json:"revocation_tokens,omitempty"`

	// Account is the API call that says whose account a token is for. AccountID and
	// AccountName are paths in the JSON of its answer: "data.viewer.id", or
	// "[].name" for an element of an array.
	Account     *ProviderRequest `json:"account,omitempty"`
	AccountID   string           `json:"account_id,omitempty"`
	AccountName string           `json:"account_name,omitempty"`

	// APIHeaders are those of requests by Manager.Client. One with "{token}" at its
	// end takes the place of Authorization.
	APIHeaders map[string]string `json:"api_headers,omitempty"`

	IdleDays     int `json:"idle_days,omitempty"`     // after which an unused refresh token ends; zero: not known, or never
	AbsoluteDays int `json:"absolute_days,omitempty"` // after which it ends in any case; zero: not known, or never
}

// A ProviderVariable is a part of a template that a profile chooses, such as the
// name of a shop. Whatever it allows, a value is made of ASCII letters, digits and
// ".", "-", "_", "~", and leads to no host but the row's.
type ProviderVariable struct {
	Name    string            `json:"name"`              // as it stands in addresses: "shop" for "{shop}"
	Title   string            `json:"title"`             // for people: "Name of the shop"
	Example string            `json:"example"`           // a value
	Pattern string            `json:"pattern,omitempty"` // a regular expression (RE2), from ^ to $
	Values  map[string]string `json:"values,omitempty"`  // in place of Pattern: what is allowed, and the text for it in addresses

	// Host says that the value is any DNS name: with a dot, in lower case, without
	// a port.
	Host bool `json:"host,omitempty"`

	Default  string `json:"default,omitempty"`  // the value of a template that has none
	Optional bool   `json:"optional,omitempty"` // there may be none, which is an empty text in addresses
	Prefix   string `json:"prefix,omitempty"`   // before a text that is not empty
	Suffix   string `json:"suffix,omitempty"`   // after it
}

// A ProviderRequest is a request that a provider wants in its own way. In the
// headers and parameters of a revocation, "{token}", "{client_id}",
// "{client_secret}" and names of Grant.Extra in braces stand for what they name; in
// its URL "{client_id}" does, and in that of an account names of Grant.Extra do.
type ProviderRequest struct {
	URL        string            `json:"url,omitempty"`
	Method     string            `json:"method,omitempty"`      // empty: POST, or GET of an account
	Auth       string            `json:"auth,omitempty"`        // an AuthMethod; of revocations also "none", or "bearer" for the token itself; empty: as in token requests
	Headers    map[string]string `json:"headers,omitempty"`     // of a revocation: one, in place of Auth
	BodyFormat string            `json:"body_format,omitempty"` // "form", "json" or "none"; empty: form
	Params     map[string]string `json:"params,omitzero"`       // of a revocation, nil: token and token_type_hint
}

// Template returns how a template of this provider is written, with its variables
// in braces, and in brackets if they can be left out: "shopify/{shop}".
func (p *Provider) Template() string {
	row := catalog.Row{Name: p.Name}
	for _, v := range p.Variables {
		row.Variables = append(row.Variables, catalog.Variable{Name: v.Name, Default: v.Default, Optional: v.Optional})
	}
	return row.Usage()
}

// Validate returns every problem of p at once, joined; each begins with the JSON
// name of the member that it is about.
func (p *Provider) Validate() error {
	rows, err := catalogRows([]Provider{*p})
	if err != nil {
		return err
	}
	return rows[0].Check()
}

// UnmarshalJSON reads a Provider, and refuses members that it does not have: a
// misspelt one would silently be without effect.
func (p *Provider) UnmarshalJSON(text []byte) error {
	type plain Provider
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	var c plain
	if err := dec.Decode(&c); err != nil {
		return err
	}
	*p = Provider(c)
	return nil
}

// Providers lists the built-in providers by name, for forms in which people
// choose one. The list and all in it are the caller's.
func Providers() []Provider {
	var list []Provider
	if err := json.Unmarshal([]byte(catalog.JSON), &list); err != nil {
		panic(err) // the tests read it, too
	}
	return list
}

// catalogRows makes rows of the catalogue of providers.
func catalogRows(list []Provider) ([]*catalog.Row, error) {
	text, err := json.Marshal(list)
	if err != nil {
		return nil, err
	}
	return catalog.Parse(text)
}

// newCatalog makes the catalogue of a Manager with rows of its own. A row that
// cannot be used fails the profiles that name it.
func newCatalog(list []Provider) *catalog.Catalog {
	if len(list) == 0 {
		return new(catalog.Catalog)
	}
	rows, err := catalogRows(list)
	if err != nil {
		panic(err) // strings, numbers and lists of them
	}
	return catalog.New(rows)
}
