package providertest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"net/url"
	"slices"
	"time"

	"github.com/go-jose/go-jose/v4"
	josejwt "github.com/go-jose/go-jose/v4/jwt"
)

const (
	// assertionType is the client_assertion_type of RFC 7523, section 2.2.
	assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

	// maxAssertionLife is how far ahead the end of an assertion may be.
	maxAssertionLife = time.Hour

	// minRSABits is the smallest RSA key that may sign (RFC 7518, section 3.3).
	minRSABits = 2048
)

// assertionAlgorithms are those that client assertions may be signed with.
var assertionAlgorithms = []jose.SignatureAlgorithm{jose.RS256, jose.PS256, jose.ES256, jose.ES384, jose.ES512, jose.EdDSA}

// algorithmsOf returns the algorithms that fit a public key.
func algorithmsOf(key crypto.PublicKey) []jose.SignatureAlgorithm {
	switch key := key.(type) {
	case *rsa.PublicKey:
		if key.N.BitLen() >= minRSABits {
			return []jose.SignatureAlgorithm{jose.RS256, jose.PS256}
		}
	case *ecdsa.PublicKey:
		switch key.Curve.Params().Name {
		case "P-256":
			return []jose.SignatureAlgorithm{jose.ES256}
		case "P-384":
			return []jose.SignatureAlgorithm{jose.ES384}
		case "P-521":
			return []jose.SignatureAlgorithm{jose.ES512}
		}
	case ed25519.PublicKey:
		return []jose.SignatureAlgorithm{jose.EdDSA}
	}
	return nil
}

// An assertion is what a client says of itself in a request (RFC 7521, section
// 4.2), not verified yet.
type assertion struct {
	kind  string // client_assertion_type
	token *josejwt.JSONWebToken
	err   error // why there is no token
}

// readAssertion reads the assertion in a form. It also returns the client that
// made it, as it says itself, or "".
func readAssertion(form url.Values) (a *assertion, subject string) {
	a = &assertion{kind: form.Get("client_assertion_type")}
	a.token, a.err = josejwt.ParseSigned(form.Get("client_assertion"), assertionAlgorithms)
	if a.err != nil {
		return a, ""
	}
	var claims josejwt.Claims
	if a.token.UnsafeClaimsWithoutVerification(&claims) != nil {
		return a, "" // verifyAssertion finds the same, and says it
	}
	return a, claims.Subject
}

// verifyAssertion says what is wrong with the assertion that a client
// authenticates itself with (RFC 7523, section 3; OpenID Connect Core 1.0,
// section 9), or "". One that is right is spent. The Server is locked.
//
// Assertions are judged by the clock of the test, with which their clients make
// them, whatever Advance has done.
func (s *Server) verifyAssertion(a *assertion, c *Client) string {
	switch {
	case a.kind != assertionType:
		return fmt.Sprintf("client_assertion_type is %q, not %s", a.kind, assertionType)
	case a.err != nil:
		return "client_assertion: " + a.err.Error()
	}
	keys, problem := s.assertionKeys(a.token.Headers[0], c)
	if problem != "" {
		return problem
	}
	var claims josejwt.Claims
	verified := slices.ContainsFunc(keys, func(key crypto.PublicKey) bool { return a.token.Claims(key) == nil })
	switch {
	case !verified:
		return "the signature is not by a registered key"
	case a.token.UnsafeClaimsWithoutVerification(&claims) != nil:
		return "the claims are not well formed"
	}

	now := s.now().Add(-s.offset)
	token, issuer := s.TokenURL(), s.issuerFor(nil)
	audiences := map[string][]string{"": {token, issuer}, "token_endpoint": {token}, "issuer": {issuer}}[s.policy.AssertionAudience]
	spent := [2]string{c.ID, claims.ID}
	switch {
	case claims.Issuer != c.ID:
		return "iss is not the client"
	case claims.Subject != c.ID:
		return "sub is not the client"
	case len(claims.Audience) != 1:
		return "aud is not one audience"
	case claims.Audience[0] == "" || !slices.Contains(audiences, claims.Audience[0]):
		return fmt.Sprintf("aud is %q, want one of %q", claims.Audience[0], audiences)
	case claims.Expiry == nil:
		return "exp is missing"
	case !now.Before(claims.Expiry.Time()):
		return "exp has passed"
	case claims.Expiry.Time().After(now.Add(maxAssertionLife)):
		return "exp is too far ahead"
	case claims.IssuedAt != nil && claims.IssuedAt.Time().After(now):
		return "iat is in the future"
	case claims.NotBefore != nil && claims.NotBefore.Time().After(now):
		return "nbf is in the future"
	case claims.ID == "":
		return "jti is missing"
	case now.Before(s.state.assertions[spent]):
		return "jti was used before"
	}
	s.state.assertions[spent] = claims.Expiry.Time()
	return ""
}

// assertionKeys returns the registered keys that may have signed an assertion
// with a header, or says why there are none.
func (s *Server) assertionKeys(header jose.Header, c *Client) (keys []crypto.PublicKey, problem string) {
	if c.KeyID != "" && header.KeyID != c.KeyID {
		return nil, "kid is not that of the client's key"
	}
	named := false
	certificates := c.Certificates
	for _, name := range []jose.HeaderKey{"x5t", "x5t#S256"} {
		v, ok := header.ExtraHeaders[name]
		if !ok {
			continue
		}
		named = true
		i := slices.IndexFunc(certificates, func(cert *x509.Certificate) bool { return v == thumbprint(name, cert) })
		if i < 0 {
			return nil, string(name) + " is not that of a registered certificate"
		}
		certificates = certificates[i : i+1]
	}
	if s.fake.thumbprint && !named {
		return nil, "neither x5t nor x5t#S256 names a registered certificate"
	}
	if !named {
		keys = slices.Clone(c.Keys)
	}
	for _, cert := range certificates {
		keys = append(keys, cert.PublicKey)
	}
	keys = slices.DeleteFunc(keys, func(key crypto.PublicKey) bool {
		return !slices.Contains(algorithmsOf(key), jose.SignatureAlgorithm(header.Algorithm))
	})
	if len(keys) == 0 {
		return nil, "alg " + header.Algorithm + " fits no registered key"
	}
	return keys, ""
}

// thumbprint returns the thumbprint of a certificate, as a header parameter has
// it (RFC 7515, sections 4.1.7 and 4.1.8).
func thumbprint(name jose.HeaderKey, cert *x509.Certificate) string {
	sum := sha256.Sum256(cert.Raw)
	digest := sum[:]
	if name == "x5t" {
		old := sha1.Sum(cert.Raw)
		digest = old[:]
	}
	return base64.RawURLEncoding.EncodeToString(digest)
}
