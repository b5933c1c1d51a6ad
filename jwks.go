package authprofile

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"slices"

	"github.com/coreos/go-oidc/v3/oidc"

	"github.com/authprofile/authprofile/internal/discovery"
)

// errKeysUnavailable: the provider's keys cannot be had, so that nobody knows
// whether an ID token is valid.
var errKeysUnavailable = errors.New("the provider's keys for ID tokens cannot be had")

// errSignature: none of the provider's keys has signed the ID token.
var errSignature = errors.New("the signature is not valid")

// signingAlgs are the algorithms that an ID token may be signed with. What a
// provider lists can narrow them, and never widens them. HS256 is not among them, which would
// make every holder of the client secret an issuer, nor is none.
var signingAlgs = []string{
	oidc.RS256, oidc.RS384, oidc.RS512,
	oidc.PS256, oidc.PS384, oidc.PS512,
	oidc.ES256, oidc.ES384, oidc.ES512,
	oidc.EdDSA,
}

const (
	maxKeys    = 100 // of one provider
	minRSABits = 2048
	maxRSABits = 16384 // verification gets slow with size
)

// A keySet is the published key set of a provider. It is a handle: the keys are
// in the cache.
type keySet struct {
	docs *discovery.Cache
	req  *discovery.Request[publicKeys]
	algs []string // out of signingAlgs, those that the provider lists
	err  error    // why there are none; nil: they are at req
}

// newKeySet returns the key set at an address; listed are the algorithms that
// the provider says it uses.
func newKeySet(docs *discovery.Cache, address string, listed []string) *keySet {
	k := &keySet{docs: docs, algs: signingAlgs, req: &discovery.Request[publicKeys]{
		Kind:   "key set",
		Key:    "keys " + address,
		URL:    address,
		Accept: "application/jwk-set+json, application/json",
		Parse:  parseKeys,
	}}
	// A list of nothing that we accept is as good as none: a provider that does
	// sign by what it lists is refused then by the token, and not by the list.
	if algs := intersect(signingAlgs, listed); len(algs) > 0 {
		k.algs = algs
	}
	return k
}

// keys returns the keys at hand; or later ones than seen, if that is not nil.
func (k *keySet) keys(ctx context.Context, seen *publicKeys) (keys *publicKeys, err error) {
	switch {
	case k.err != nil:
		err = k.err
	case seen == nil:
		keys, err = discovery.Get(ctx, k.docs, k.req)
	default:
		keys, err = discovery.GetNewer(ctx, k.docs, k.req, seen)
	}
	if err != nil && !errors.Is(err, discovery.ErrTooSoon) {
		err = fmt.Errorf("%w: %w", errKeysUnavailable, err)
	}
	return keys, err
}

// verify makes sure that one of the provider's keys has signed a token. The
// keys are fetched anew if none of those at hand has: providers change keys
// whenever they like, and some do not name them.
func (k *keySet) verify(ctx context.Context, raw string, h header) error {
	keys, err := k.keys(ctx, nil)
	if err != nil {
		return err
	}
	if keys.verify(ctx, raw, h) == nil {
		return nil
	}
	keys, err = k.keys(ctx, keys)
	switch {
	case errors.Is(err, discovery.ErrTooSoon):
		return errSignature
	case err != nil:
		return err
	}
	return keys.verify(ctx, raw, h)
}

// publicKeys are the keys of a provider that an ID token may be signed with.
type publicKeys struct{ list []publicKey }

type publicKey struct {
	id, alg string // empty: not said
	key     crypto.PublicKey
}

// verify tries the keys that the header allows. A token or a key without an ID
// goes with all.
func (k *publicKeys) verify(ctx context.Context, raw string, h header) error {
	var set oidc.StaticKeySet
	for _, key := range k.list {
		if (h.kid == "" || key.id == "" || key.id == h.kid) && (key.alg == "" || key.alg == h.alg) && fitsAlg(key.key, h.alg) {
			set.PublicKeys = append(set.PublicKeys, key.key)
		}
	}
	if _, err := set.VerifySignature(ctx, raw); err != nil {
		return errSignature
	}
	return nil
}

// fitsAlg reports whether a key is of the kind that an algorithm works with
// (RFC 7518, section 3.1; RFC 8037, section 3.1).
func fitsAlg(key crypto.PublicKey, alg string) bool {
	switch key := key.(type) {
	case *rsa.PublicKey:
		return alg[:2] == "RS" || alg[:2] == "PS"
	case *ecdsa.PublicKey:
		return alg == map[string]string{"P-256": oidc.ES256, "P-384": oidc.ES384, "P-521": oidc.ES512}[key.Params().Name]
	case ed25519.PublicKey:
		return alg == oidc.EdDSA
	}
	return false
}

// parseKeys reads a key set (RFC 7517, section 5). Keys of no use to us are
// left out, as the standard wants; a set without a single one that is left is
// no good.
func parseKeys(body []byte) (*publicKeys, error) {
	o, err := discovery.ParseObject(body)
	if err != nil {
		return nil, err
	}
	var list []json.RawMessage
	if !o.Has("keys") || json.Unmarshal(o["keys"], &list) != nil {
		return nil, errors.New("has no list of keys")
	}
	keys := new(publicKeys)
	for _, raw := range list {
		if key, ok := parseKey(raw); ok {
			keys.list = append(keys.list, key)
		}
		if len(keys.list) == maxKeys {
			break
		}
	}
	if len(keys.list) == 0 {
		return nil, errors.New("has no key that ID tokens may be signed with")
	}
	return keys, nil
}

// parseKey reads a key, and reports whether it is one for signatures that is
// strong enough.
func parseKey(raw []byte) (key publicKey, ok bool) {
	o, err := discovery.ParseObject(raw)
	if err != nil {
		return key, false
	}
	text := func(name string) string {
		s, err := o.Text(name)
		ok = ok && err == nil
		return s
	}
	number := func(name string) []byte {
		b, err := base64.RawURLEncoding.Strict().DecodeString(text(name))
		ok = ok && err == nil && len(b) > 0
		return b
	}

	ok = true
	key.id, key.alg = text("kid"), text("alg")
	use, kind := text("use"), text("kty")
	ops, err := o.List("key_ops")
	switch {
	case !ok, err != nil,
		use != "" && use != "sig",
		o.Has("key_ops") && !slices.Contains(ops, "verify"),
		key.alg != "" && !slices.Contains(signingAlgs, key.alg),
		o.Has("d"): // a private key that everybody can read
		return key, false
	}

	switch kind {
	case "RSA":
		n, e := new(big.Int).SetBytes(number("n")), new(big.Int).SetBytes(number("e"))
		if !ok || n.BitLen() < minRSABits || n.BitLen() > maxRSABits || n.Bit(0) == 0 ||
			e.BitLen() > 31 || e.Bit(0) == 0 || e.Int64() < 3 {
			return key, false
		}
		key.key = &rsa.PublicKey{N: n, E: int(e.Int64())}
	case "EC":
		curve := map[string]elliptic.Curve{"P-256": elliptic.P256(), "P-384": elliptic.P384(), "P-521": elliptic.P521()}[text("crv")]
		x, y := number("x"), number("y")
		if !ok || curve == nil {
			return key, false
		}
		size := (curve.Params().BitSize + 7) / 8
		if len(x) != size || len(y) != size {
			return key, false
		}
		pub, err := ecdsa.ParseUncompressedPublicKey(curve, slices.Concat([]byte{4}, x, y)) // refuses what is off the curve
		if err != nil {
			return key, false
		}
		key.key = pub
	case "OKP":
		x := number("x")
		if !ok || text("crv") != "Ed25519" || len(x) != ed25519.PublicKeySize {
			return key, false
		}
		key.key = ed25519.PublicKey(x)
	default:
		return key, false
	}
	return key, key.alg == "" || fitsAlg(key.key, key.alg)
}
