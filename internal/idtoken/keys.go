package idtoken

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"slices"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"

	"github.com/authprofile/authprofile/internal/discovery"
)

// ErrKeysUnavailable says that the provider's keys cannot be had, so that it
// cannot be told whether an ID token is valid. It is wrapped together with why.
var ErrKeysUnavailable = errors.New("the provider's keys for ID tokens cannot be had")

// errSignature: none of the provider's keys has signed the ID token.
var errSignature = errors.New("the signature is not valid")

// signingAlgs are the algorithms that an ID token may be signed with. What a
// provider lists can narrow them, and never widens them. HS256 is not among
// them, which would make every holder of the client secret an issuer, nor is
// none.
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

// A KeySet is the published key set of a provider. It is a handle: the keys are
// in the cache. Nil is that of a provider that does not say where it is.
type KeySet struct {
	docs *discovery.Cache
	req  *discovery.Request[publicKeys]
	algs []string // out of signingAlgs, those that the provider lists
	err  error    // why there are none; nil: they are at req
}

// NewKeySet returns the key set at an address; listed are the algorithms that
// the provider says it uses.
func NewKeySet(docs *discovery.Cache, address string, listed []string) *KeySet {
	k := &KeySet{docs: docs, algs: signingAlgs, req: &discovery.Request[publicKeys]{
		Kind:   "key set",
		Key:    "keys " + address,
		URL:    address,
		Accept: "application/jwk-set+json, application/json",
		Parse:  parseKeys,
	}}
	// A list of nothing that we accept is as good as none: a provider that does
	// sign by what it lists is refused then by the token, and not by the list.
	algs := slices.DeleteFunc(slices.Clone(signingAlgs), func(alg string) bool { return !slices.Contains(listed, alg) })
	if len(algs) > 0 {
		k.algs = algs
	}
	return k
}

// UnusableKeySet returns the key set of a provider that has one, which cannot be
// had for the reason given.
func UnusableKeySet(err error) *KeySet { return &KeySet{algs: signingAlgs, err: err} }

// Load sees to it that the keys are at hand. With it, a key set that cannot be
// had is found out before a code is spent; the error is ErrKeysUnavailable.
func (k *KeySet) Load(ctx context.Context) error {
	if k == nil {
		return nil
	}
	_, err := k.keys(ctx, nil)
	return err
}

// checkAlg says what is wrong with the algorithm of a token that is to be
// verified, or nothing.
func (k *KeySet) checkAlg(h header) error {
	if k != nil && !slices.Contains(k.algs, h.alg) {
		return errors.New("it is not signed by an algorithm that is accepted")
	}
	return nil
}

// keys returns the keys at hand; or later ones than seen, if that is not nil.
func (k *KeySet) keys(ctx context.Context, seen *publicKeys) (keys *publicKeys, err error) {
	switch {
	case k.err != nil:
		err = k.err
	case seen == nil:
		keys, err = discovery.Get(ctx, k.docs, k.req)
	default:
		keys, err = discovery.GetNewer(ctx, k.docs, k.req, seen)
	}
	if err != nil && !errors.Is(err, discovery.ErrTooSoon) {
		err = fmt.Errorf("%w: %w", ErrKeysUnavailable, err)
	}
	return keys, err
}

// verify makes sure that one of the provider's keys has signed a token. The
// keys are fetched anew if none of those at hand has: providers change keys
// whenever they like, and some do not name them.
func (k *KeySet) verify(ctx context.Context, raw string, h header) error {
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
// strong enough. go-jose reads what makes up the key, and nothing else: the
// certificates beside it are not trusted, and so no reason to refuse it.
func parseKey(raw []byte) (key publicKey, ok bool) {
	o, err := discovery.ParseObject(raw)
	if err != nil {
		return key, false
	}
	ok = true
	text := func(name string) string {
		s, err := o.Text(name)
		ok = ok && err == nil
		return s
	}
	key.id, key.alg = text("kid"), text("alg")
	use, kind := text("use"), text("kty")
	ops, err := o.List("key_ops")
	switch {
	case !ok, err != nil,
		use != "" && use != "sig",
		o.Has("key_ops") && !slices.Contains(ops, "verify"),
		key.alg != "" && !slices.Contains(signingAlgs, key.alg),
		o.Has("d"): // a private key, which is none any more
		return key, false
	}

	jwk := map[string]string{"kty": kind}
	for _, name := range map[string][]string{"RSA": {"n", "e"}, "EC": {"crv", "x", "y"}, "OKP": {"crv", "x"}}[kind] {
		jwk[name] = text(name)
		if name != "crv" {
			b, err := base64.RawURLEncoding.Strict().DecodeString(jwk[name]) // go-jose is not strict
			ok = ok && err == nil && len(b) > 0 && (name != "e" || isExponent(b))
		}
	}
	data, err := json.Marshal(jwk)
	var parsed jose.JSONWebKey
	if !ok || err != nil || parsed.UnmarshalJSON(data) != nil { // as of one that is off the curve
		return key, false
	}
	if pub, isRSA := parsed.Key.(*rsa.PublicKey); isRSA && (pub.N.BitLen() < minRSABits || pub.N.BitLen() > maxRSABits || pub.N.Bit(0) == 0) {
		return key, false
	}
	key.key = parsed.Key
	return key, key.alg == "" || fitsAlg(key.key, key.alg)
}

// isExponent reports whether b is an exponent of RSA, and fits an int, to which
// go-jose would cut it.
func isExponent(b []byte) bool {
	e := new(big.Int).SetBytes(b)
	return e.BitLen() <= 31 && e.Bit(0) == 1 && e.Int64() >= 3
}
