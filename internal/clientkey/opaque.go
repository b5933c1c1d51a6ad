package clientkey

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	_ "crypto/sha512" // for crypto.Hash.New
	"encoding/asn1"
	"errors"
	"math/big"

	"github.com/go-jose/go-jose/v4"
)

// errSignature says that a crypto.Signer has returned what cannot be a signature.
var errSignature = errors.New("the signer has returned what is not a signature of its key")

// An opaque is a [jose.OpaqueSigner] that signs with a crypto.Signer. Package
// cryptosigner of go-jose has one too, but by PS256 with a salt of another length
// than RFC 7518 demands in section 3.5, and it panics if it gets numbers that are
// too large.
type opaque struct {
	signer crypto.Signer
	public crypto.PublicKey
}

func (o *opaque) Public() *jose.JSONWebKey { return &jose.JSONWebKey{Key: o.public} }

func (o *opaque) Algs() []jose.SignatureAlgorithm {
	return []jose.SignatureAlgorithm{jose.RS256, jose.PS256, jose.ES256, jose.ES384, jose.ES512, jose.EdDSA}
}

// hashes are those of the algorithms. EdDSA has none: it signs the message itself.
var hashes = map[jose.SignatureAlgorithm]crypto.Hash{
	jose.RS256: crypto.SHA256,
	jose.PS256: crypto.SHA256,
	jose.ES256: crypto.SHA256,
	jose.ES384: crypto.SHA384,
	jose.ES512: crypto.SHA512,
}

func (o *opaque) SignPayload(payload []byte, alg jose.SignatureAlgorithm) ([]byte, error) {
	hash := hashes[alg]
	digest := payload
	if hash != 0 {
		h := hash.New()
		h.Write(payload)
		digest = h.Sum(nil)
	}
	var opts crypto.SignerOpts = hash
	if alg == jose.PS256 {
		opts = &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: hash}
	}
	signature, err := o.signer.Sign(rand.Reader, digest, opts)
	if err != nil {
		return nil, err
	}
	if public, ok := o.public.(*ecdsa.PublicKey); ok {
		return joinECDSA(signature, (public.Params().BitSize+7)/8)
	}
	return signature, nil
}

// joinECDSA returns the two numbers of an ASN.1 signature as RFC 7518 wants them
// in section 3.4: one behind the other, each of so many bytes.
func joinECDSA(signature []byte, size int) ([]byte, error) {
	var n struct{ R, S *big.Int }
	rest, err := asn1.Unmarshal(signature, &n)
	if err != nil || len(rest) > 0 || n.R.Sign() <= 0 || n.S.Sign() <= 0 || n.R.BitLen() > 8*size || n.S.BitLen() > 8*size {
		return nil, errSignature
	}
	joined := make([]byte, 2*size)
	n.R.FillBytes(joined[:size])
	n.S.FillBytes(joined[size:])
	return joined, nil
}
