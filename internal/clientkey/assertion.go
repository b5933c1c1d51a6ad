package clientkey

import (
	"crypto/rand"
	"time"
)

// lifetime is that of an assertion. It is used at once, and once.
const lifetime = time.Minute

// Assertion returns what a client authenticates by at the audience, an endpoint or
// an issuer: a JWT with the claims of RFC 7523, section 3, and OpenID Connect Core
// 1.0, section 9, for a minute from now. The audience is a single string, since
// servers have read lists of them in unsafe ways. There is no nbf: with it, a
// server whose clock is a second behind would refuse.
func Assertion(key *Key, alg, clientID, audience string, now time.Time) (string, error) {
	return key.Sign(alg, claims{
		Issuer:   clientID,
		Subject:  clientID,
		Audience: audience,
		ID:       rand.Text(),
		IssuedAt: now.Unix(),
		Expiry:   now.Add(lifetime).Unix(),
	})
}

type claims struct {
	Issuer   string `json:"iss"`
	Subject  string `json:"sub"`
	Audience string `json:"aud"`
	ID       string `json:"jti"` // 130 random bits
	IssuedAt int64  `json:"iat"`
	Expiry   int64  `json:"exp"`
}
