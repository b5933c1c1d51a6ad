package discovery

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/authprofile/authprofile/internal/address"
	"github.com/authprofile/authprofile/internal/catalog"
	"github.com/authprofile/authprofile/internal/issuer"
)

// Metadata is what a provider says about itself. Its addresses have been
// checked; one that cannot be used is empty.
type Metadata struct {
	URL    string // where it was read
	Issuer string

	AuthURL       string
	TokenURL      string
	RevocationURL string
	DeviceAuthURL string
	PARURL        string
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

// Aliases are the addresses that clients use in place of those in Metadata if
// they authenticate by a certificate, or have tokens bound to one (RFC 8705,
// section 5). One is empty if the provider gives none, which means that the other
// address is for these clients, too, and if it cannot be used: see
// [Document.Unusable].
type Aliases struct {
	TokenURL      string
	RevocationURL string
	PARURL        string
}

// A Document is a discovery document that was read.
type Document struct {
	Metadata

	TLS             Aliases
	AuthSigningAlgs []string // token_endpoint_auth_signing_alg_values_supported

	// unusable says what is wrong with addresses that were given and left out,
	// by the names of the members.
	unusable map[string]string
}

// The members that a caller may need, and is told of if they cannot be used.
const (
	MemberAuth       = "authorization_endpoint"
	MemberKeys       = "jwks_uri"
	MemberRevocation = "revocation_endpoint"
	MemberPAR        = "pushed_authorization_request_endpoint"

	// Those of Document.TLS.
	MemberTLSToken      = memberTLS + ".token_endpoint"
	MemberTLSRevocation = memberTLS + ".revocation_endpoint"
	MemberTLSPAR        = memberTLS + ".pushed_authorization_request_endpoint"
)

// memberTLS is the object that has the members of Document.TLS.
const memberTLS = "mtls_endpoint_aliases"

// Unusable says why the address that the document gives under a member was left
// out. It is nil if the address can be used, or if there is none.
func (d *Document) Unusable(member string) error {
	object, _, _ := strings.Cut(member, ".")
	if problem := cmp.Or(d.unusable[member], d.unusable[object]); problem != "" {
		return wrong(d.URL, problem)
	}
	return nil
}

// Missing says why there is no address under a member: it cannot be used, or
// is not given.
func (d *Document) Missing(member string) error {
	if err := d.Unusable(member); err != nil {
		return err
	}
	return wrong(d.URL, member+" is missing")
}

// Document returns the document at an address, which is p's if that is not
// nil. What it returns is shared.
func (c *Cache) Document(ctx context.Context, documentURL string, p *catalog.Provider) (*Document, error) {
	key := "discovery " + documentURL
	if p != nil { // read by the rules of this template
		key = "template " + p.Template + " " + documentURL
	}
	return Get(ctx, c, &Request[Document]{
		Kind:     "discovery document",
		Key:      key,
		URL:      documentURL,
		Accept:   "application/json",
		Parse:    func(body []byte) (*Document, error) { return parseDocument(documentURL, p, body) },
		Accepted: c.compare,
	})
}

// compare warns of what is not used of a document, and of a change that a
// provider rarely makes, and an attacker who has got hold of its document
// would. Before may be nil.
func (c *Cache) compare(before, after *Document) {
	if before == nil || !maps.Equal(before.unusable, after.unusable) {
		for _, member := range slices.Sorted(maps.Keys(after.unusable)) {
			c.log.LogAttrs(c.ctx, slog.LevelWarn, "authprofile: an address in a discovery document cannot be used",
				slog.String("url", after.URL), slog.String("member", member), slog.String("problem", after.unusable[member]))
		}
	}
	if before == nil {
		return
	}
	for _, m := range []struct{ member, before, after string }{
		{MemberAuth, before.AuthURL, after.AuthURL},
		{"token_endpoint", before.TokenURL, after.TokenURL},
		{MemberRevocation, before.RevocationURL, after.RevocationURL},
		{MemberPAR, before.PARURL, after.PARURL},
		{MemberTLSToken, before.TLS.TokenURL, after.TLS.TokenURL},
		{MemberTLSRevocation, before.TLS.RevocationURL, after.TLS.RevocationURL},
		{MemberTLSPAR, before.TLS.PARURL, after.TLS.PARURL},
		{MemberKeys, before.JWKSURL, after.JWKSURL},
	} {
		was, is := address.OriginOf(m.before), address.OriginOf(m.after)
		if was != is {
			c.log.LogAttrs(c.ctx, slog.LevelWarn, "authprofile: a provider's address has moved to another origin",
				slog.String("url", after.URL), slog.String("member", m.member), slog.String("from", was), slog.String("to", is))
		}
	}
}

// parseDocument reads the document of an address.
//
// Without an issuer and a token endpoint there is nothing to begin with. All
// else is needed by some profiles only, or is advice: a member that cannot be
// used costs itself.
func parseDocument(documentURL string, p *catalog.Provider, body []byte) (*Document, error) {
	o, err := ParseObject(body)
	if err != nil {
		return nil, err
	}
	doc := &Document{Metadata: Metadata{URL: documentURL}}

	if doc.Issuer, err = o.Text("issuer"); err != nil {
		return nil, err
	}
	if problem := checkIssuer(documentURL, doc.Issuer, p); problem != "" {
		return nil, errors.New("issuer " + problem)
	}

	endpoint := func(o Object, name string) (string, error) {
		s, err := o.Text(name)
		if err != nil {
			return "", err
		}
		if o.Has(name) {
			if problem := checkEndpoint(documentURL, s, p); problem != "" {
				return "", errors.New(name + " " + problem)
			}
		}
		return s, nil
	}
	if doc.TokenURL, err = endpoint(o, "token_endpoint"); err != nil {
		return nil, err
	}
	if doc.TokenURL == "" {
		return nil, errors.New("token_endpoint is missing")
	}
	leaveOut := func(member string, err error) {
		if doc.unusable == nil {
			doc.unusable = make(map[string]string)
		}
		doc.unusable[member] = err.Error()
	}
	for name, field := range map[string]*string{
		MemberAuth:                      &doc.AuthURL,
		MemberRevocation:                &doc.RevocationURL,
		"device_authorization_endpoint": &doc.DeviceAuthURL,
		MemberPAR:                       &doc.PARURL,
		MemberKeys:                      &doc.JWKSURL,
	} {
		if *field, err = endpoint(o, name); err != nil {
			leaveOut(name, err)
		}
	}
	aliases, err := o.Object(memberTLS)
	if err != nil {
		leaveOut(memberTLS, err)
	}
	for member, field := range map[string]*string{
		MemberTLSToken:      &doc.TLS.TokenURL,
		MemberTLSRevocation: &doc.TLS.RevocationURL,
		MemberTLSPAR:        &doc.TLS.PARURL,
	} {
		if *field, err = endpoint(aliases, strings.TrimPrefix(member, memberTLS+".")); err != nil {
			leaveOut(member, fmt.Errorf("%s.%w", memberTLS, err))
		}
	}

	for name, field := range map[string]*[]string{
		"token_endpoint_auth_methods_supported": &doc.AuthMethods,
		"scopes_supported":                      &doc.Scopes,
		"grant_types_supported":                 &doc.GrantTypes,
		"response_types_supported":              &doc.ResponseTypes,
		"code_challenge_methods_supported":      &doc.CodeChallengeMethods,
		"id_token_signing_alg_values_supported": &doc.SigningAlgs,

		"token_endpoint_auth_signing_alg_values_supported": &doc.AuthSigningAlgs,
	} {
		*field = o.advice(name)
	}
	doc.IssuerParameter = o.promised("authorization_response_iss_parameter_supported")
	doc.RequirePAR = o.promised("require_pushed_authorization_requests")
	return doc, nil
}

// checkIssuer says what is wrong with the issuer of the document at an
// address, or nothing.
func checkIssuer(documentURL, name string, p *catalog.Provider) string {
	if name == "" {
		return "is missing"
	}
	if err := address.Check(name); err != nil {
		return err.Error()
	}
	fits := issuer.FitsDocument(documentURL, name)
	if p != nil {
		fits = p.IssuerFits(name)
	}
	switch {
	case strings.Contains(name, "?"):
		return "must not have a query"
	case p == nil && strings.ContainsAny(name, "{}"): // a pattern is a template's
		return "is not an address"
	case !fits:
		return "does not fit the address of the document"
	}
	return ""
}

// checkEndpoint says what is wrong with an address in the document that was
// read at another, or nothing.
func checkEndpoint(documentURL, endpoint string, p *catalog.Provider) string {
	if err := address.Check(endpoint); err != nil {
		return err.Error()
	}
	a, err := url.Parse(documentURL)
	if err != nil {
		return "is not an address"
	}
	e, err := url.Parse(endpoint)
	switch {
	case err != nil:
		return "is not an address"
	case address.IsLoopback(e.Hostname()) && !address.IsLoopback(a.Hostname()):
		return "is on a loopback host, and the document is not"
	case p != nil && !p.HostFits(e.Host):
		return "is on a host that is not the provider's"
	}
	return ""
}
