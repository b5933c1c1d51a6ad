// Package authprofile keeps OAuth 2.0 credentials and gives out valid access
// tokens, for programs that call other people's APIs.
//
// A [Profile] describes how an application is registered at a provider. A
// [Manager] saves profiles in a [Store] and gives an [oauth2.TokenSource] that
// always has a valid token, in one goroutine or a thousand, in one process or
// a fleet of replicas that share a database:
//
//	m := &authprofile.Manager{}
//	src := m.Source(ctx, &authprofile.Profile{
//		Type:         authprofile.TypeApp,
//		ClientID:     "reports",
//		ClientSecret: authprofile.Secret(os.Getenv("REPORTS_SECRET")),
//		Endpoints:    authprofile.Endpoints{TokenURL: "https://auth.example.com/token"},
//	})
//	tok, err := src.Token()
//
// # Applications and users
//
// A profile of [TypeApp] acts for the application itself, by the client
// credentials grant: no person logs in. A profile of [TypeUser] acts for
// people, by the authorization code grant with PKCE: each is sent to the
// provider once, through [Manager.Begin] and [Manager.Finish] or a
// [RedirectHandler], and from then on the tokens are renewed without them.
//
// # Providers
//
// A profile names its provider by a [Template], by the URL of a discovery
// document, or by the addresses themselves. A template such as "github" or
// "shopify/acme" also settles in what the provider differs from the standards,
// and asks for what makes it issue a refresh token; [Providers] lists those that
// can be named. An application adds providers of its own by Manager.Providers.
// Without a template a refresh token is for the profile to ask for, with most
// providers by the scope "offline_access": a user without one has to come back
// when the access token ends.
//
// # Clients
//
// A client authenticates by its secret, or without one: by a private key, in
// Profile.ClientKey, that signs an assertion for each request or whose certificate
// is in the TLS handshake; or by assertions that Manager.Assertion returns, such as
// those of package assertion. See [AuthMethod].
//
// # Renewal
//
// A token that is asked for shortly before its end is renewed in the
// background, once: by one goroutine of one process, however many ask for it.
// What the provider has answered is stored before anything else happens. While
// there is a valid token in memory, callers do not wait, and get no error if a
// renewal fails; see [Grant] for how to find out.
//
// Tokens are renewed when they are asked for. Some providers end a refresh token
// that was not used for a time: [Manager.Maintain] renews those grants before,
// and tells the application when a person is needed.
//
// Before a program ends it calls [Manager.Shutdown], which waits until all
// that was renewed is stored.
//
// # Errors
//
// The methods of a [Manager] and its token sources return [*Error];
// [Profile.Validate] returns a [*FieldError] for each problem. With [errors.Is]
// a caller tells apart the states it can do something about, above all
// [ErrReauthorize]: send the user to the provider again.
package authprofile

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/url"
	"slices"
	"time"
)

// A Type tells on whose behalf a profile acts.
type Type string

const (
	// TypeApp is "OAuth2 App -> API": the application acts for itself, by the
	// client credentials grant (RFC 6749, section 4.4).
	TypeApp Type = "app"

	// TypeUser is "OAuth2 User -> API": the application acts for a person, by
	// the authorization code grant (RFC 6749, section 4.1) with PKCE (RFC 7636).
	TypeUser Type = "user"
)

// A Profile is one client registration at one provider: how the application is
// known there, and what it asks for.
//
// Grants are kept by profile, so profiles that share a registration, such as
// those of two tenants, share no token. Each needs a redirect address of its
// own (see Manager.RedirectURL). The provider sees one client: whatever that
// is allowed, every tenant is.
//
// Its JSON is meant for configuration files and APIs. It holds everything but
// the client secret and the client's key, which come out as "[redacted]", a text
// that is refused on the way in.
type Profile struct {
	ID          string `json:"id,omitempty"`          // assigned by the first Save if empty (UUIDv7), or chosen by the application: "crm"
	Name        string `json:"name,omitempty"`        // for people; need not be unique
	Description string `json:"description,omitempty"` // for people

	Type         Type   `json:"type"`
	ClientID     string `json:"client_id"`
	ClientSecret Secret `json:"client_secret,omitempty"` // empty: a public client, or one with a key

	// ClientKey is the client's private key, for AuthPrivateKeyJWT, AuthTLS and
	// AuthSelfSignedTLS. It is PEM (PKCS #8, PKCS #1 or SEC 1), not encrypted,
	// with CERTIFICATE blocks if there are certificates, that of the key before
	// those of its chain; or a JWK (RFC 7517), whose certificates are x5c. It has
	// at most 64 KiB. The key is RSA of 2048 to 8192 bits, on P-256, P-384 or
	// P-521, or Ed25519.
	//
	// A client has a secret or a key, not both. Validate says what is wrong with
	// the key, and shows nothing of it. While its certificate has expired, or is
	// not valid yet, requests are ErrConfiguration and are not sent.
	ClientKey Secret `json:"client_key,omitempty"`

	AuthMethod AuthMethod `json:"auth_method,omitempty"` // empty: settled from the template or discovery, before the first request

	Template  Template  `json:"template,omitempty"` // for TypeApp: of a provider with a grant for applications
	Endpoints Endpoints `json:"endpoints,omitzero"`

	Scopes []string `json:"scopes,omitempty"` // to ask for; a template adds what a refresh token takes

	// RedirectURL is where the provider sends users of this profile back. If
	// empty, Manager.RedirectURL is. It is kept and sent byte for byte. It may
	// have a query, but none of the parameters in it that providers add, such
	// as "code", "state", "error", "iss" and "scope"; nor may the Manager's.
	RedirectURL string `json:"redirect_url,omitempty"`

	// Params are extra parameters, such as "audience": of the token request
	// for TypeApp, of the authorization request for TypeUser. They and
	// TokenParams are no secrets: JSON shows them, and a Store keeps them in the
	// clear, package sealed too.
	Params url.Values `json:"params,omitempty"`

	// TokenParams are extra parameters of the exchange of a code and of each
	// renewal, such as "resource" (RFC 8707). TypeUser only. A provider may refuse
	// a "resource" that a grant was not authorized with, and some end the grant
	// then: with a new one, users have to authorize again.
	TokenParams url.Values `json:"token_params,omitempty"`

	// APIHosts are the hosts that Manager.Client sends tokens to: "api.example.com"
	// is that host at any port, "api.example.com:8443" at that one, and
	// ".example.com" is all hosts below example.com. None: any.
	APIHosts []string `json:"api_hosts,omitempty"`

	// SecretExpires is when the client secret ends, as the provider's console
	// says; zero: not known. Notify is warned of it. It decides nothing.
	SecretExpires time.Time `json:"secret_expires,omitzero"`

	// KeepAlive is how long a grant may go without a renewal until Maintain
	// renews it, so that the provider does not end it for want of use. Zero: 30
	// days, or half of the time after which the provider ends such grants, if
	// that is known and less; negative: never. TypeUser only, from a day on. A
	// change takes effect at the next renewal of each grant.
	KeepAlive time.Duration `json:"keep_alive,omitempty"` // in nanoseconds

	Version int64     `json:"version,omitempty"` // set by the Store; zero: never saved
	Created time.Time `json:"created,omitzero"`
	Updated time.Time `json:"updated,omitzero"`

	saved [sha256.Size]byte // fingerprint of what the Store has; zero: not known
	made  string            // the ID that a Save has made which did not succeed
}

// Endpoints are the addresses of a provider: the URL of its discovery
// document, or the addresses themselves. All must be https, or http on a
// loopback host.
type Endpoints struct {
	// DiscoveryURL is the URL of a discovery document (OpenID Connect
	// Discovery 1.0 or RFC 8414). It is used as given: nothing is appended.
	DiscoveryURL string `json:"discovery_url,omitempty"`

	AuthURL       string `json:"auth_url,omitempty"` // TypeUser only
	TokenURL      string `json:"token_url,omitempty"`
	RevocationURL string `json:"revocation_url,omitempty"`  // optional, with either
	DeviceAuthURL string `json:"device_auth_url,omitempty"` // optional, with either; kept for the application, which may use it

	// PARURL is where pushed authorization requests go (RFC 9126). It is
	// optional, with any of the others or with a template. TypeUser only. If it
	// is empty, requests are pushed if the discovery document says that the
	// provider takes no others, to the address in it. Manager.Begin pushes them,
	// authenticated as at the token endpoint; if that fails it returns an error,
	// and has stored nothing.
	PARURL string `json:"par_url,omitempty"`
}

// An AuthMethod is how the client authenticates at the token endpoint, at the
// revocation endpoint, and at the one for pushed authorization requests.
type AuthMethod string

const (
	// AuthBasic sends ID and secret in an Authorization header, each of them
	// form-encoded first (RFC 6749, section 2.3.1).
	AuthBasic AuthMethod = "client_secret_basic"

	// AuthPost sends them in the body of the request (the same section).
	AuthPost AuthMethod = "client_secret_post"

	// AuthNone sends the ID alone, in the body: for public clients (RFC 7591,
	// section 2).
	AuthNone AuthMethod = "none"

	// AuthBasicRaw is AuthBasic without form-encoding, for servers that do
	// not decode. No standard has it.
	AuthBasicRaw AuthMethod = "client_secret_basic_raw"

	// AuthPrivateKeyJWT sends an assertion that is signed anew for each
	// request by the client's private key (RFC 7523, section 2.2; OpenID
	// Connect Core 1.0, section 9), or that Manager.Assertion returns. It is the
	// method of a profile that has a ClientKey and no AuthMethod.
	//
	// An RSA key signs by RS256, or by PS256 if its JWK says so or the discovery
	// document lists that and no RS256; the others by ES256, ES384, ES512 or
	// EdDSA. If the document lists other algorithms than the key has, that is
	// ErrConfiguration, and nothing is sent. The header has the JWK's kid, and
	// the certificate's x5t and x5t#S256 (RFC 7515, section 4.1). The audience is
	// the token endpoint, or the issuer where the template's provider wants that.
	AuthPrivateKeyJWT AuthMethod = "private_key_jwt"

	// AuthTLS shows the client's certificate, which is in ClientKey, in the TLS
	// handshake. A certification authority that the provider trusts has issued it
	// (RFC 8705, section 2.1). Endpoints are those of mtls_endpoint_aliases, if the
	// discovery document has them (section 5).
	//
	// It needs a token endpoint at an https address, and a Manager.HTTPClient
	// whose Transport is an *http.Transport without a DialTLSContext, or none;
	// otherwise requests are ErrConfiguration and are not sent.
	AuthTLS AuthMethod = "tls_client_auth"

	// AuthSelfSignedTLS is AuthTLS with a certificate that the client has
	// signed itself and has registered at the provider (RFC 8705, section 2.2).
	AuthSelfSignedTLS AuthMethod = "self_signed_tls_client_auth"
)

// Clone returns a deep copy.
func (p *Profile) Clone() *Profile {
	c := *p
	c.Scopes = slices.Clone(p.Scopes)
	c.APIHosts = slices.Clone(p.APIHosts)
	c.Params = cloneValues(p.Params)
	c.TokenParams = cloneValues(p.TokenParams)
	return &c
}

func cloneValues(v url.Values) url.Values {
	if v == nil {
		return nil
	}
	c := make(url.Values, len(v))
	for name, values := range v {
		c[name] = slices.Clone(values)
	}
	return c
}

// Unsaved reports whether p has changes that its Store does not have: it was
// never saved, or was edited since a Manager saved or read it. Of a profile
// that came from elsewhere, such as its JSON, it can only tell the first.
func (p *Profile) Unsaved() bool {
	if p.Version == 0 {
		return true
	}
	return p.saved != [sha256.Size]byte{} && p.saved != p.fingerprint()
}

// markSaved notes that the Store has p as it is now.
func (p *Profile) markSaved() { p.saved = p.fingerprint() }

// saysTheSame reports whether a Store keeps the same of both, but for version
// and times.
func (p *Profile) saysTheSame(q *Profile) bool {
	content := func(p *Profile) [sha256.Size]byte {
		c := *p
		c.Version, c.Created, c.Updated = 0, time.Time{}, time.Time{}
		c.Params, c.TokenParams = nil, nil // JSON tells empty values from none
		return c.fingerprint()
	}
	return content(p) == content(q) && maps.EqualFunc(p.Params, q.Params, slices.Equal) &&
		maps.EqualFunc(p.TokenParams, q.TokenParams, slices.Equal)
}

// fingerprint hashes all that a Store keeps of p, secrets included.
func (p *Profile) fingerprint() [sha256.Size]byte {
	type plain Profile // without methods
	c := plain(*p)
	c.ClientSecret, c.ClientKey = "", ""
	c.Created, c.Updated, c.SecretExpires = time.Time{}, time.Time{}, time.Time{} // JSON does not have every time
	text, err := json.Marshal(c)
	if err != nil {
		panic(err) // strings and numbers
	}
	h := sha256.New()
	for _, t := range []time.Time{p.Created, p.Updated, stamp(p.SecretExpires)} {
		fmt.Fprintf(h, "%d.%d:", t.Unix(), t.Nanosecond())
	}
	for _, s := range []Secret{p.ClientSecret, p.ClientKey} {
		fmt.Fprintf(h, "%d:", len(s))
		io.WriteString(h, string(s))
	}
	h.Write(text)
	return [sha256.Size]byte(h.Sum(nil))
}

// Format writes p with its secrets redacted, whatever the verb.
func (p Profile) Format(f fmt.State, verb rune) {
	fmt.Fprintf(f, "Profile{ID:%q Name:%q Type:%q ClientID:%q ClientSecret:%v ClientKey:%v AuthMethod:%q Template:%q Endpoints:%+v Scopes:%q RedirectURL:%q Version:%d}",
		p.ID, p.Name, p.Type, p.ClientID, p.ClientSecret, p.ClientKey, p.AuthMethod, p.Template, p.Endpoints, p.Scopes, p.RedirectURL, p.Version)
}
