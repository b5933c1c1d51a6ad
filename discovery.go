package authprofile

import (
	"context"
	"slices"
)

// Metadata is what a provider says about itself in its discovery document
// (OpenID Connect Discovery 1.0, section 3; RFC 8414, section 2).
//
// Its addresses have been checked; one that cannot be used is empty, as one
// that the provider does not give. Its lists are as the provider gives them,
// without what is not a string. They are advice: what a provider does not list
// it may do all the same.
type Metadata struct {
	URL    string // where it was read
	Issuer string

	AuthURL       string
	TokenURL      string
	RevocationURL string
	DeviceAuthURL string
	PARURL        string // pushed_authorization_request_endpoint (RFC 9126, section 5)
	JWKSURL       string

	AuthMethods          []string // token_endpoint_auth_methods_supported
	Scopes               []string // scopes_supported
	GrantTypes           []string // grant_types_supported
	ResponseTypes        []string // response_types_supported
	CodeChallengeMethods []string // code_challenge_methods_supported
	SigningAlgs          []string // id_token_signing_alg_values_supported

	// IssuerParameter says that the provider names itself when it sends a
	// user back (RFC 9207).
	IssuerParameter bool

	// RequirePAR says that the provider takes no other authorization requests
	// than pushed ones (RFC 9126, section 5).
	RequirePAR bool
}

// Discover returns what the discovery document at a URL says. Most programs
// do not need it: a profile with a DiscoveryURL is enough. It is for forms
// that show people what a provider offers before a profile is saved.
//
// The URL is used as given, and redirects are followed within its origin only.
// The document must be a JSON object of at most 256 KiB, whatever its
// Content-Type. It must name its issuer and a token endpoint. All its addresses
// must be https, or http on a loopback host if the document was read from one.
// An optional address that is neither is left out, and logged.
//
// If the URL is a well-known one (OpenID Connect Discovery 1.0, section 4; RFC
// 8414, section 3), the issuer must be the one that it is derived from, a final
// slash not counting; at any other URL it must be of the same origin.
//
// Documents are kept in memory for as long as Cache-Control says, but at least
// five minutes and at most a day, and for up to a week while the provider
// cannot be reached. After a failure the provider is left alone for some
// seconds, and the same error is returned.
//
// The error is [ErrConfiguration] if the URL or the document is wrong, but not
// if the provider cannot be reached.
func (m *Manager) Discover(ctx context.Context, url string) (*Metadata, error) {
	if problem := checkAddress(url); problem != "" {
		return nil, &Error{Op: "discover", Err: configurationError(fieldDiscovery, problem)}
	}
	doc, err := m.engine().docs.Document(ctx, url, nil)
	if err != nil {
		return nil, &Error{Op: "discover", Err: documentError(err, fieldDiscovery)}
	}
	c := Metadata(doc.Metadata)
	for _, list := range []*[]string{&c.AuthMethods, &c.Scopes, &c.GrantTypes, &c.ResponseTypes, &c.CodeChallengeMethods, &c.SigningAlgs} {
		*list = slices.Clone(*list)
	}
	return &c, nil
}
