package authprofile

import (
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/authprofile/authprofile/internal/address"
	"github.com/authprofile/authprofile/internal/clientkey"
	"github.com/authprofile/authprofile/internal/discovery"
	"github.com/authprofile/authprofile/internal/transport"
)

// clientKeys are the keys of profiles, read once for each text.
type clientKeys struct {
	mu    sync.Mutex
	known map[[sha256.Size]byte]*clientkey.Key
}

// maxClientKeys is how many keys are kept.
const maxClientKeys = 10_000

// parse reads a key. The text of the error has nothing of it.
func (k *clientKeys) parse(text Secret) (*clientkey.Key, error) {
	sum := sha256.Sum256([]byte(text))
	k.mu.Lock()
	key := k.known[sum]
	k.mu.Unlock()
	if key != nil {
		return key, nil
	}
	key, err := clientkey.Parse(string(text))
	if err != nil {
		return nil, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.known == nil || len(k.known) >= maxClientKeys {
		k.known = make(map[[sha256.Size]byte]*clientkey.Key)
	}
	k.known[sum] = key
	return key, nil
}

// The fields of a profile that decide how its client authenticates.
const (
	fieldAuthMethod = "AuthMethod"
	fieldClientKey  = "ClientKey"
)

// credentials are what clients authenticate by that have no secret.
type credentials struct {
	keys         clientKeys
	certificates transport.Certificates

	// assertion is Manager.Assertion; nil: there is none.
	assertion func(ctx context.Context, p *Profile, audience string) (string, error)

	http *http.Client // that carries requests without a certificate
	now  func() time.Time
}

// settleKey decides what the client of p authenticates by if it has no secret,
// before anything is sent. doc may be nil.
func (c *credentials) settleKey(pr *provider, p *Profile, doc *discovery.Document) error {
	switch pr.authMethod {
	case AuthPrivateKeyJWT:
		return c.settleAssertion(pr, p, doc)
	case AuthTLS, AuthSelfSignedTLS:
		return c.settleCertificate(pr, p, doc)
	}
	return nil
}

// settleAssertion is settleKey for private_key_jwt.
func (c *credentials) settleAssertion(pr *provider, p *Profile, doc *discovery.Document) error {
	pr.audience = pr.tokenURL
	if pr.dialect.AssertionAudience == "issuer" {
		pr.audience = cmp.Or(pr.issuer.Name, pr.tokenURL)
	}
	if p.ClientKey == "" {
		if c.assertion == nil {
			return configurationError(fieldAuthMethod, "needs a client key, or Manager.Assertion")
		}
		p = p.Clone()
		pr.assert = func(ctx context.Context, audience string) (string, error) { return c.assertion(ctx, p, audience) }
		return nil
	}
	key, err := c.key(p)
	if err != nil {
		return err
	}
	var listed []string
	if doc != nil {
		listed = doc.AuthSigningAlgs
	}
	alg, err := key.Algorithm(listed)
	if err != nil {
		return configurationError(fieldClientKey, err.Error())
	}
	clientID := p.ClientID
	pr.assert = func(_ context.Context, audience string) (string, error) {
		return clientkey.Assertion(key, alg, clientID, audience, c.now())
	}
	return nil
}

// assertion returns what makes the client's assertions for the provider; nil if it
// authenticates by something else.
func (pr *provider) assertion() func(context.Context) (string, error) {
	if pr.assert == nil {
		return nil
	}
	return func(ctx context.Context) (string, error) { return pr.assert(ctx, pr.audience) }
}

// key returns the key of a profile, whose certificate is in force, if it has one.
func (c *credentials) key(p *Profile) (*clientkey.Key, error) {
	key, err := c.keys.parse(p.ClientKey)
	if err == nil {
		err = key.CertificateError(c.now())
	}
	if err != nil {
		return nil, configurationError(fieldClientKey, err.Error())
	}
	return key, nil
}

// settleCertificate is settleKey for the methods of RFC 8705.
func (c *credentials) settleCertificate(pr *provider, p *Profile, doc *discovery.Document) error {
	if p.ClientKey == "" {
		return configurationError(fieldAuthMethod, "needs a client key")
	}
	key, err := c.key(p)
	if err != nil {
		return err
	}
	cert, err := key.TLSCertificate()
	if err != nil {
		return configurationError(fieldClientKey, err.Error())
	}
	if doc != nil {
		if err := pr.adoptAliases(doc); err != nil {
			return err
		}
	}
	for _, s := range []string{pr.tokenURL, pr.refreshURL} {
		if !strings.HasPrefix(address.OriginOf(s), "https:") {
			return configurationError(fieldAuthMethod, "needs a token endpoint at an https address")
		}
	}
	pr.tls, err = c.clientWith(p, cert)
	return err
}

// clientWith returns the HTTP client that presents the certificate of a profile.
func (c *credentials) clientWith(p *Profile, cert tls.Certificate) (*http.Client, error) {
	owner := p.ID
	if p.Version == 0 {
		owner = "" // another profile may say that it has this ID
	}
	hc, err := c.certificates.Client(c.http, owner, cert)
	if errors.Is(err, transport.ErrTransport) {
		return nil, configurationError(fieldAuthMethod, "needs a Manager.HTTPClient whose Transport is an *http.Transport without a DialTLSContext")
	}
	if err != nil {
		return nil, configurationError(fieldClientKey, err.Error())
	}
	return hc, nil
}

// adoptAliases takes over the addresses that are for clients with a certificate
// (RFC 8705, section 5). The error is about the token endpoint: another alias that
// cannot be used costs what it is for.
func (pr *provider) adoptAliases(doc *discovery.Document) error {
	unusable := func(member string) error { return documentError(doc.Unusable(member), pr.documentField) }
	if err := unusable(discovery.MemberTLSToken); err != nil {
		return err
	}
	if err := unusable(discovery.MemberTLSRevocation); err != nil && pr.revocationURL == doc.RevocationURL && doc.RevocationURL != "" {
		pr.revocationURL, pr.revocationErr = "", err
	}
	if err := unusable(discovery.MemberTLSPAR); err != nil && pr.parURL == doc.PARURL && doc.PARURL != "" {
		pr.parURL, pr.authErr = "", err
	}
	for _, a := range []struct {
		field      *string
		url, alias string
	}{
		{&pr.tokenURL, doc.TokenURL, doc.TLS.TokenURL},
		{&pr.refreshURL, doc.TokenURL, doc.TLS.TokenURL},
		{&pr.revocationURL, doc.RevocationURL, doc.TLS.RevocationURL},
		{&pr.parURL, doc.PARURL, doc.TLS.PARURL},
	} {
		if a.alias != "" && *a.field != "" && *a.field == a.url { // not one that the profile or the row has given
			*a.field = a.alias
		}
	}
	return nil
}

// client returns the HTTP client for the provider's endpoints: hc, or one that
// presents the certificate of the client.
func (pr *provider) client(hc *http.Client) *http.Client {
	if pr.tls != nil {
		return pr.tls
	}
	return hc
}

// freshClient is client for requests that each need a connection of their own.
func (pr *provider) freshClient(fresh *http.Client) *http.Client {
	if pr.tls != nil {
		return transport.Fresh(pr.tls)
	}
	return fresh
}
