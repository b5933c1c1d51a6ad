package clientkey

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"slices"
	"strings"

	"github.com/go-jose/go-jose/v4"
)

// maxText is how long the text of a key may be, in bytes, with its certificates.
const maxText = 64 << 10

// maxKeyDER is how long a private key in DER may be, in bytes. One of maxRSA bits
// is shorter.
const maxKeyDER = 6 << 10

// What is wrong with a key. These texts follow the name of what has the key, and
// have nothing of it.
var (
	errTooLong        = errors.New("is larger than 64 KiB")
	errNeither        = errors.New("is neither PEM nor a JWK")
	errNoKey          = errors.New("has no private key")
	errSeveral        = errors.New("has more than one private key")
	errEncrypted      = errors.New("is encrypted: give the key without a passphrase")
	errDamaged        = errors.New("has a PEM block that is damaged")
	errBlock          = errors.New("has a PEM block that is neither a private key (PKCS #8, PKCS #1 or SEC 1) nor a certificate")
	errUnreadable     = errors.New("has a private key that cannot be read: give an RSA key, or one on P-256, P-384, P-521 or Ed25519, as PKCS #8, PKCS #1 or SEC 1")
	errKind           = errors.New("is neither an RSA key nor one on P-256, P-384, P-521 or Ed25519")
	errShortRSA       = errors.New("is an RSA key of fewer than 2048 bits")
	errLongRSA        = errors.New("is an RSA key of more than 8192 bits")
	errPublic         = errors.New("is a public key, not a private one")
	errSymmetric      = errors.New("is a symmetric key, not a private one")
	errSet            = errors.New("is a JWK Set: give one key of it")
	errJWK            = errors.New("is a JWK that is not valid, or incomplete")
	errUse            = errors.New(`is a JWK whose "use" is not "sig"`)
	errAlgorithm      = errors.New(`is a JWK whose "alg" is not for its key: RS256 or PS256 is for RSA, ES256, ES384 or ES512 for P-256, P-384 or P-521, EdDSA for Ed25519`)
	errCertificate    = errors.New("has a certificate that cannot be read")
	errOtherAlgorithm = errors.New("is not a key for that algorithm")
	errNoCertificate  = errors.New("has no certificate")

	errOtherCertificate = errors.New("has a certificate that is not of its key; that of the key comes first")
)

// Parse reads a private key: PEM (PKCS #8, PKCS #1 or SEC 1), with CERTIFICATE
// blocks beside it, that of the key before those of its chain; or a JWK (RFC 7517)
// with x5c, if it has certificates. It does not look at the dates of certificates.
//
// The text of an error follows the name of what the text is of, and has no byte of
// the text.
func Parse(text string) (*Key, error) {
	if len(text) > maxText {
		return nil, errTooLong
	}
	text = strings.TrimSpace(strings.TrimPrefix(text, "\ufeff"))
	if strings.HasPrefix(text, "{") {
		return parseJWK(text)
	}
	return parsePEM(text)
}

func parsePEM(text string) (*Key, error) {
	// Decode skips what it cannot read.
	begins := strings.Count(text, "-----BEGIN ")
	if begins == 0 {
		return nil, errNeither
	}
	var private crypto.Signer
	var certificates []*x509.Certificate
	public := false
	for rest := []byte(text); ; begins-- {
		var b *pem.Block
		if b, rest = pem.Decode(rest); b == nil {
			break
		}
		switch b.Type {
		case "CERTIFICATE":
			c, err := x509.ParseCertificate(b.Bytes)
			if err != nil {
				return nil, errCertificate
			}
			certificates = append(certificates, c)
		case "EC PARAMETERS": // which openssl ecparam writes before the key
		case "PUBLIC KEY", "RSA PUBLIC KEY":
			public = true
		default:
			key, err := parseBlock(b)
			if err != nil {
				return nil, err
			}
			if private != nil {
				return nil, errSeveral
			}
			private = key
		}
	}
	switch {
	case begins != 0:
		return nil, errDamaged
	case private == nil && public:
		return nil, errPublic
	case private == nil:
		return nil, errNoKey
	}
	return newKey(private, private, private.Public(), attributes{certificates: certificates})
}

// parseBlock reads the private key of a PEM block.
func parseBlock(b *pem.Block) (crypto.Signer, error) {
	if b.Type == "ENCRYPTED PRIVATE KEY" || strings.Contains(b.Headers["Proc-Type"], "ENCRYPTED") || b.Headers["DEK-Info"] != "" {
		return nil, errEncrypted
	}
	parse := map[string]func([]byte) (any, error){
		"PRIVATE KEY":     x509.ParsePKCS8PrivateKey,
		"RSA PRIVATE KEY": func(der []byte) (any, error) { return x509.ParsePKCS1PrivateKey(der) },
		"EC PRIVATE KEY":  func(der []byte) (any, error) { return x509.ParseECPrivateKey(der) },
	}[b.Type]
	if parse == nil {
		return nil, errBlock
	}
	if len(b.Bytes) > maxKeyDER {
		return nil, errUnreadable
	}
	if hasLongInteger(b.Bytes) {
		return nil, errLongRSA
	}
	key, err := parse(b.Bytes)
	if err != nil {
		return nil, errUnreadable
	}
	signer, ok := key.(crypto.Signer)
	if !ok { // a key of X25519
		return nil, errKind
	}
	return signer, nil
}

// hasLongInteger reports whether a key in DER has a number of more than maxRSA
// bits. To check a key with such numbers can take minutes.
func hasLongInteger(der []byte) bool {
	for len(der) > 0 {
		var v asn1.RawValue
		rest, err := asn1.Unmarshal(der, &v)
		switch {
		case err != nil:
			return false
		case v.Tag == asn1.TagInteger && len(v.Bytes) > maxRSA/8+1: // a byte may be the sign
			return true
		case (v.IsCompound || v.Tag == asn1.TagOctetString) && hasLongInteger(v.Bytes):
			return true
		}
		der = rest
	}
	return false
}

func parseJWK(text string) (*Key, error) {
	var members map[string]json.RawMessage
	if json.Unmarshal([]byte(text), &members) != nil {
		return nil, errNeither
	}
	has := func(name string) bool { return members[name] != nil && string(members[name]) != "null" }
	var kind, curve string // empty if they are not strings
	json.Unmarshal(members["kty"], &kind)
	json.Unmarshal(members["crv"], &curve)
	switch {
	case has("keys"):
		return nil, errSet
	case kind == "oct":
		return nil, errSymmetric
	case kind == "":
		return nil, errNeither
	case kind != "RSA" && !slices.Contains([]string{"EC P-256", "EC P-384", "EC P-521", "OKP Ed25519"}, kind+" "+curve):
		return nil, errKind
	case !has("d"):
		return nil, errPublic
	}
	for _, name := range []string{"n", "e", "d", "p", "q", "dp", "dq", "qi"} {
		if len(members[name]) > base64.RawURLEncoding.EncodedLen(maxRSA/8)+len(`""`) {
			return nil, errLongRSA
		}
	}

	var certificates struct {
		X5C [][]byte `json:"x5c"` // each in base64, not base64url (RFC 7517, section 4.7)
	}
	list, err := json.Marshal(map[string]json.RawMessage{"x5c": members["x5c"]})
	if err != nil || json.Unmarshal(list, &certificates) != nil {
		return nil, errCertificate
	}
	with := attributes{}
	for _, der := range certificates.X5C {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, errCertificate
		}
		with.certificates = append(with.certificates, c)
	}

	var jwk jose.JSONWebKey
	if err := jwk.UnmarshalJSON([]byte(text)); err != nil {
		if len(with.certificates) > 0 { // are they at fault?
			delete(members, "x5c")
			if rest, err := json.Marshal(members); err == nil {
				if _, err := parseJWK(string(rest)); err == nil {
					return nil, errOtherCertificate
				}
			}
		}
		return nil, errJWK
	}
	signer, ok := jwk.Key.(crypto.Signer)
	if !ok {
		return nil, errPublic
	}
	switch key := signer.(type) {
	case *rsa.PrivateKey:
		key.Precompute()
	case *ecdsa.PrivateKey:
		if !consistent(key) {
			return nil, errJWK
		}
	}
	if jwk.Use != "" && jwk.Use != "sig" {
		return nil, errUse
	}
	with.id, with.algorithm = jwk.KeyID, jwk.Algorithm
	return newKey(signer, signer, signer.Public(), with)
}

// consistent reports whether the two halves of a key belong together.
func consistent(key *ecdsa.PrivateKey) bool {
	d, err := key.Bytes()
	if err != nil {
		return false
	}
	derived, err := ecdsa.ParseRawPrivateKey(key.Curve, d)
	return err == nil && derived.PublicKey.Equal(&key.PublicKey)
}
