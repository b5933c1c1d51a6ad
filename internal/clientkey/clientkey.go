// Package clientkey reads the private keys of OAuth clients, and signs with them
// what a client authenticates by instead of a secret: an assertion (RFC 7523,
// section 2.2). A certificate beside the key is for a TLS handshake (RFC 8705).
package clientkey

import (
	"cmp"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/authprofile/authprofile/internal/safetext"
)

// Bounds of an RSA modulus, in bits. RFC 7518 demands the lower one (sections 3.3
// and 3.5); the time to check and to use a key grows with the third power of its
// length.
const (
	minRSA = 2048
	maxRSA = 8192
)

// A Key is a client's private key, with the certificates that belong to it. It
// never changes, so that many goroutines may use it at once.
type Key struct {
	// private returns what go-jose signs with. It is a function because package
	// fmt shows what a field holds, and what is behind it, if the Key is itself
	// in an unexported field.
	private func() any

	signer       func() crypto.Signer // the same key, for TLS
	algorithms   []string             // the key's, the natural one first
	header       map[jose.HeaderKey]any
	certificates []*x509.Certificate // that of the key first; may be empty
}

// Format writes nothing of k, whatever the verb.
func (k Key) Format(f fmt.State, verb rune) { io.WriteString(f, "Key{[redacted]}") }

// NewSigner returns the Key of a key that is used through a [crypto.Signer], as
// one in a key management service is. An empty keyID is none. The first of the
// certificates, if there are any, must be of the key.
func NewSigner(key crypto.Signer, keyID string, certificates []*x509.Certificate) (*Key, error) {
	if key == nil {
		return nil, errNoKey
	}
	public := key.Public()
	return newKey(key, &opaque{key, public}, public, attributes{id: keyID, certificates: certificates})
}

// attributes are what may stand beside a key.
type attributes struct {
	id           string
	algorithm    string // the only one that the key is for; empty: any that fits
	certificates []*x509.Certificate
}

// newKey returns the Key of a signer. private is what go-jose signs with.
func newKey(signer crypto.Signer, private any, public crypto.PublicKey, with attributes) (*Key, error) {
	algorithms, err := algorithmsOf(public)
	if err != nil {
		return nil, err
	}
	if a := with.algorithm; a != "" {
		if !slices.Contains(algorithms, a) {
			return nil, errAlgorithm
		}
		algorithms = []string{a}
	}
	k := &Key{
		private:      func() any { return private },
		signer:       func() crypto.Signer { return signer },
		algorithms:   algorithms,
		header:       map[jose.HeaderKey]any{jose.HeaderType: "JWT"},
		certificates: slices.Clone(with.certificates),
	}
	if with.id != "" {
		k.header["kid"] = with.id
	}
	if len(k.certificates) > 0 {
		leaf := k.certificates[0]
		if !equal(public, leaf.PublicKey) {
			return nil, errOtherCertificate
		}
		short, long := sha1.Sum(leaf.Raw), sha256.Sum256(leaf.Raw)
		k.header["x5t"] = base64.RawURLEncoding.EncodeToString(short[:])
		k.header["x5t#S256"] = base64.RawURLEncoding.EncodeToString(long[:])
	}
	return k, nil
}

func equal(a, b crypto.PublicKey) bool {
	e, ok := a.(interface{ Equal(crypto.PublicKey) bool })
	return ok && e.Equal(b)
}

// algorithmsOf returns the algorithms of a key (RFC 7518, section 3.1; RFC 8037,
// section 3.1), the natural one first.
func algorithmsOf(public crypto.PublicKey) ([]string, error) {
	switch public := public.(type) {
	case *rsa.PublicKey:
		switch bits := public.N.BitLen(); {
		case bits < minRSA:
			return nil, errShortRSA
		case bits > maxRSA:
			return nil, errLongRSA
		}
		return []string{string(jose.RS256), string(jose.PS256)}, nil
	case *ecdsa.PublicKey:
		switch public.Curve {
		case elliptic.P256():
			return []string{string(jose.ES256)}, nil
		case elliptic.P384():
			return []string{string(jose.ES384)}, nil
		case elliptic.P521():
			return []string{string(jose.ES512)}, nil
		}
	case ed25519.PublicKey:
		return []string{string(jose.EdDSA)}, nil
	}
	return nil, errKind
}

// How much of a server's list of algorithms an error shows, in bytes.
const maxListed = 256

// Algorithm returns the algorithm to sign by for a server that lists its own, as
// in token_endpoint_auth_signing_alg_values_supported (RFC 8414, section 2). With
// an empty list it is the natural one of the key. The text of an error follows
// the name of what has the key.
func (k *Key) Algorithm(listed []string) (string, error) {
	if len(listed) == 0 {
		return k.algorithms[0], nil
	}
	for _, a := range k.algorithms {
		if slices.Contains(listed, a) {
			return a, nil
		}
	}
	var shown []string
	size := 0
	for _, s := range listed {
		s = cmp.Or(safetext.Truncate(safetext.Code(s, safetext.LeaveOut), safetext.MaxCode), `""`)
		if size += len(s) + len(", "); size > maxListed {
			shown = append(shown, "...")
			break
		}
		shown = append(shown, s)
	}
	return "", fmt.Errorf("signs by %s, but the server takes %s", strings.Join(k.algorithms, " or "), strings.Join(shown, ", "))
}

// Sign returns a JWS in its compact form (RFC 7515, section 7.1) over the JSON of
// claims. Its header says which key it is by (kid), and which certificate (x5t and
// x5t#S256), as far as there are any.
func (k *Key) Sign(alg string, claims any) (string, error) {
	if !slices.Contains(k.algorithms, alg) {
		return "", errOtherAlgorithm
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", err
	}
	signer, err := jose.NewSigner(
		jose.SigningKey{Algorithm: jose.SignatureAlgorithm(alg), Key: k.private()},
		&jose.SignerOptions{ExtraHeaders: k.header},
	)
	if err != nil {
		return "", err
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		return "", err
	}
	return signed.CompactSerialize()
}

// TLSCertificate returns the key with its certificates, for a handshake. Without
// a certificate the error's text follows the name of what has the key.
func (k *Key) TLSCertificate() (tls.Certificate, error) {
	if len(k.certificates) == 0 {
		return tls.Certificate{}, errNoCertificate
	}
	c := tls.Certificate{PrivateKey: k.signer(), Leaf: k.certificates[0]}
	for _, certificate := range k.certificates {
		c.Certificate = append(c.Certificate, certificate.Raw)
	}
	return c, nil
}

// ID returns the key's identifier (kid); empty: it has none.
func (k *Key) ID() string {
	id, _ := k.header["kid"].(string)
	return id
}

// CertificateEnd returns when the key's certificate expires; zero: there is none.
func (k *Key) CertificateEnd() time.Time {
	if len(k.certificates) == 0 {
		return time.Time{}
	}
	return k.certificates[0].NotAfter
}

// CertificateError says that the key's certificate has expired, or is not valid
// yet. It returns nil if it is neither, or if there is none. The text follows the
// name of what has the key.
func (k *Key) CertificateError(now time.Time) error {
	if len(k.certificates) == 0 {
		return nil
	}
	switch c := k.certificates[0]; {
	case now.After(c.NotAfter):
		return fmt.Errorf("has a certificate that expired at %s", c.NotAfter.UTC().Format(time.RFC3339))
	case now.Before(c.NotBefore):
		return fmt.Errorf("has a certificate that is not valid before %s", c.NotBefore.UTC().Format(time.RFC3339))
	}
	return nil
}
