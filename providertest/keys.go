package providertest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"math/big"
	"strings"
)

// A Signing is how ID tokens are signed. Only the first two are proper.
type Signing string

const (
	RS256 Signing = "RS256"
	ES256 Signing = "ES256"

	HS256          Signing = "HS256"                     // keyed with the client's secret
	HS256PublicKey Signing = "HS256 with the public key" // keyed with the public key, as PEM
	Unsigned       Signing = "none"
	WrongKey       Signing = "wrong key" // RS256 with a key that is not published, under the ID of one that is
)

// maxKeys is how many keys are published at most.
const maxKeys = 8

type signingKey struct {
	id  string
	key crypto.Signer
}

func newKey(alg Signing) *signingKey {
	var key crypto.Signer
	var err error
	if alg == ES256 {
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	} else {
		key, err = rsa.GenerateKey(rand.Reader, 2048)
	}
	if err != nil { // cannot happen: crypto/rand never fails
		panic(err)
	}
	return &signingKey{"key-" + rand.Text()[:8], key}
}

func (k *signingKey) is(alg Signing) bool {
	_, ec := k.key.(*ecdsa.PrivateKey)
	return ec == (alg == ES256)
}

// jwk returns the public key (RFC 7517).
func (k *signingKey) jwk() map[string]any {
	b64 := base64.RawURLEncoding.EncodeToString
	m := map[string]any{"kid": k.id, "use": "sig"}
	switch pub := k.key.Public().(type) {
	case *rsa.PublicKey:
		m["kty"], m["alg"] = "RSA", "RS256"
		m["n"], m["e"] = b64(pub.N.Bytes()), b64(big.NewInt(int64(pub.E)).Bytes())
	case *ecdsa.PublicKey:
		point, err := pub.Bytes()
		if err != nil { // cannot happen: the key was generated here
			panic(err)
		}
		m["kty"], m["alg"], m["crv"] = "EC", "ES256", "P-256"
		m["x"], m["y"] = b64(point[1:33]), b64(point[33:])
	}
	return m
}

// SetSigning decides how ID tokens are signed from now on. At first it is
// RS256.
func (s *Server) SetSigning(alg Signing) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.signing = alg
}

// RotateKeys makes a new key, with which ID tokens are signed from now on. The
// keys before it are still published, after it; see [Server.Mutate] for how to
// leave them out.
func (s *Server) RotateKeys() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.signingKey() // makes the first key if it was not needed yet
	s.addKey()
}

// MutateIDToken changes the header and the claims of ID tokens before they are
// signed, until it is called again; nil ends it.
func (s *Server) MutateIDToken(f func(header, claims map[string]any)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mutateID = f
}

func (s *Server) addKey() *signingKey {
	k := newKey(s.signing)
	s.keys = append([]*signingKey{k}, s.keys...)
	if len(s.keys) > maxKeys {
		s.keys = s.keys[:maxKeys]
	}
	return k
}

// signingKey returns the newest key of the kind that is signed with. The
// Server is locked.
func (s *Server) signingKey() *signingKey {
	for _, k := range s.keys {
		if k.is(s.signing) {
			return k
		}
	}
	return s.addKey()
}

// serveKeys answers with the key set.
func (s *Server) serveKeys() *Answer {
	s.mu.Lock()
	s.signingKey()
	list := []any{}
	for _, k := range s.keys {
		list = append(list, k.jwk())
	}
	s.mu.Unlock()
	a := s.object(JWKS, map[string]any{"keys": list})
	a.Header.Del("Cache-Control")
	return a
}

// issuerFor returns the issuer that tokens and callbacks name, for a person
// with these claims.
func (s *Server) issuerFor(claims map[string]any) string {
	tid := s.fake.tid
	if t, ok := claims["tid"].(string); ok {
		tid = t
	}
	return strings.ReplaceAll(s.address("issuer"), "{tenantid}", tid)
}

// idToken returns the ID token of an issue (OpenID Connect Core 1.0, section 2).
func (s *Server) idToken(is *issue) string {
	s.mu.Lock()
	alg, f := s.signing, s.mutateID
	key := s.signingKey()
	signer := key.key
	if alg == WrongKey {
		if s.rogue == nil {
			s.rogue = newKey(RS256)
		}
		signer = s.rogue.key
	}
	s.mu.Unlock()

	half := sha256.Sum256([]byte(is.access))
	claims := map[string]any{
		"iss":       s.issuerFor(is.grant.claims),
		"sub":       is.grant.subject,
		"aud":       is.client.ID,
		"iat":       is.dated.Unix(),
		"exp":       is.dated.Add(is.lifetime).Unix(),
		"auth_time": is.grant.authTime.Unix(),
		"at_hash":   base64.RawURLEncoding.EncodeToString(half[:len(half)/2]),
	}
	if s.fake.tid != "" {
		claims["tid"] = s.fake.tid
	}
	if is.nonce != "" {
		claims["nonce"] = is.nonce
	}
	maps.Copy(claims, is.grant.claims)
	header := map[string]any{"typ": "JWT", "kid": key.id}
	switch alg {
	case HS256PublicKey:
		header["alg"] = "HS256"
	case WrongKey:
		header["alg"] = "RS256"
	default:
		header["alg"] = string(alg)
	}
	if f != nil {
		f(header, claims)
	}

	return jwt(header, claims, func(input string) []byte { return sign(alg, signer, is.client.Secret, input) })
}

// accessToken returns an access token that is a JWT with claims, and expires
// with the issue. It is signed properly, whatever SetSigning says. The Server
// is locked.
func (s *Server) accessToken(is *issue, claims map[string]any) string {
	key, alg := s.signingKey(), RS256
	if key.is(ES256) {
		alg = ES256
	}
	claims = maps.Clone(claims)
	claims["jti"] = rand.Text()
	claims["iat"] = is.dated.Unix()
	claims["exp"] = is.dated.Add(is.lifetime).Unix()
	header := map[string]any{"typ": "JWT", "kid": key.id, "alg": string(alg)}
	return jwt(header, claims, func(input string) []byte { return sign(alg, key.key, "", input) })
}

// jwt returns a signed token in compact form (RFC 7515, section 7.1).
func jwt(header, claims map[string]any, sign func(input string) []byte) string {
	h, err1 := json.Marshal(header)
	c, err2 := json.Marshal(claims)
	if err1 != nil || err2 != nil {
		return fmt.Sprint("providertest: a mutation made no JSON: ", err1, err2)
	}
	input := base64.RawURLEncoding.EncodeToString(h) + "." + base64.RawURLEncoding.EncodeToString(c)
	return input + "." + base64.RawURLEncoding.EncodeToString(sign(input))
}

// sign returns a signature (RFC 7518, section 3).
func sign(alg Signing, key crypto.Signer, secret, input string) []byte {
	digest := sha256.Sum256([]byte(input))
	switch alg {
	case Unsigned:
		return nil
	case HS256, HS256PublicKey:
		k := []byte(secret)
		if alg == HS256PublicKey {
			der, err := x509.MarshalPKIXPublicKey(key.Public())
			if err != nil { // cannot happen: the key was generated here
				panic(err)
			}
			k = pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
		}
		mac := hmac.New(sha256.New, k)
		mac.Write([]byte(input))
		return mac.Sum(nil)
	}
	if ec, ok := key.(*ecdsa.PrivateKey); ok {
		r, s, err := ecdsa.Sign(rand.Reader, ec, digest[:])
		if err != nil {
			panic(err)
		}
		sig := make([]byte, 64)
		r.FillBytes(sig[:32])
		s.FillBytes(sig[32:])
		return sig
	}
	sig, err := key.Sign(rand.Reader, digest[:], crypto.SHA256)
	if err != nil {
		panic(err)
	}
	return sig
}
