// Package idtoken verifies ID tokens (OpenID Connect Core 1.0, section 2): that
// of a login, which says whose grant it is, and that of a renewal, which must
// still be about the same user.
//
// Nothing is fetched but the keys that the provider publishes. What a token says
// by the way, and where it says that keys are, is not looked at.
package idtoken

import (
	"cmp"
	"context"
	"crypto"
	_ "crypto/sha256" // for crypto.Hash.New
	_ "crypto/sha512"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/authprofile/authprofile/internal/discovery"
	"github.com/authprofile/authprofile/internal/issuer"
)

const (
	maxIDToken = 64 << 10 // bytes; of a login
	maxSubject = 255      // bytes; OpenID Connect Core 1.0, section 2

	// clockLeeway is how much the provider's clock may differ from ours.
	clockLeeway = time.Minute
)

// Claims is what a valid ID token says that the library has a use for.
type Claims struct {
	Issuer, Subject string

	// Account is whose account it is, for people: "email", else
	// "preferred_username", else "name" (section 5.1), as the token has it.
	// Nothing depends on it.
	Account string
}

// A Login is what the ID token of a login must agree with.
type Login struct {
	ClientID    string
	AccessToken string // that it came with
	Code        string // that it was exchanged for
	Nonce       string // of the authorization request; empty: it had none
	MaxAge      string // its max_age; empty: it had none

	// NonceOptional says that the provider leaves the nonce out, as some do
	// against OpenID Connect Core 1.0, section 2. The code came straight from it
	// then, by PKCE, or else only the state says that it is of this login.
	NonceOptional bool
}

// A Renewal is what the ID token of a renewal must agree with: what is known of
// the grant.
type Renewal struct {
	ClientID        string
	Nonce           string // empty: there was none
	Issuer, Subject string // empty: not known
}

// An Error says what is wrong with an ID token. Its text has nothing of the
// token.
type Error struct{ problem string }

func (e *Error) Error() string { return "the ID token is not valid: " + e.problem }

// VerifyLogin checks the ID token of a login as OpenID Connect Core 1.0,
// section 3.1.3.7 says, and returns what it claims. The error is an [*Error], or
// ErrKeysUnavailable if it cannot be told whether the token is valid.
//
// It insists on the signature, because a login decides whose grant it is,
// unless the provider does not say where its keys are, and keys is nil: then the
// token is believed because it came straight from the token endpoint, which TLS
// has authenticated (item 6 there).
func VerifyLogin(ctx context.Context, raw string, by issuer.Issuer, keys *KeySet, want Login, now time.Time) (*Claims, error) {
	if len(raw) > maxIDToken {
		return nil, &Error{fmt.Sprintf("it is larger than %d KiB", maxIDToken>>10)}
	}
	h, o, err := parse(raw)
	if err == nil {
		err = keys.checkAlg(h)
	}
	var claims *Claims
	if err == nil {
		claims, err = want.check(by, h, o, now)
	}
	if err != nil {
		return nil, &Error{err.Error()}
	}
	claims.Issuer = by.Canonical(claims.Issuer)
	if err := verifySignature(ctx, keys, raw, h); err != nil {
		return nil, err
	}
	return claims, nil
}

// VerifyRenewal checks the ID token of a renewal: that it is from the issuer of
// the grant, about its subject and for this client, and has its nonce if it has
// one. That is what OpenID Connect Core 1.0, section 12.2 asks for; no other
// claim decides, since all that hangs on the token is whose access token it came
// with. The error is an [*Error].
//
// It is taken without its signature if the keys cannot be had: it came straight
// from the token endpoint, which TLS has authenticated, and that suffices
// (section 3.1.3.7, item 6). Nor is it refused for its size, which that of the
// answer limits: so no check is left out.
func VerifyRenewal(ctx context.Context, raw string, by issuer.Issuer, keys *KeySet, want Renewal) error {
	h, o, err := parse(raw)
	if err == nil {
		err = keys.checkAlg(h)
	}
	if err == nil {
		err = want.check(by, o)
	}
	if err != nil {
		return &Error{err.Error()}
	}
	err = verifySignature(ctx, keys, raw, h)
	if errors.Is(err, ErrKeysUnavailable) {
		return nil
	}
	return err
}

// verifySignature makes sure that one of the provider's keys has signed a
// token, if it publishes any. It uses the key set of go-oidc and not its
// verifier, which would refuse tokens for the types of claims that do not matter
// here.
func verifySignature(ctx context.Context, keys *KeySet, raw string, h header) error {
	if keys == nil {
		return nil
	}
	err := keys.verify(ctx, raw, h)
	if err == nil || errors.Is(err, ErrKeysUnavailable) {
		return err
	}
	return &Error{err.Error()}
}

// A header is what a token's header says that we go by. Keys and addresses of
// keys in it (jwk, jku, x5u) are none of that.
type header struct{ alg, kid string }

// parse takes a token apart without verifying it. Of its claims only those are
// read that are needed: what else there is, and of which type, is no reason to
// refuse it.
func parse(raw string) (h header, claims discovery.Object, err error) {
	switch strings.Count(raw, ".") {
	case 2:
	case 4:
		return h, nil, errors.New("it is encrypted")
	default:
		return h, nil, errors.New("it is malformed")
	}
	parts := strings.Split(raw, ".")
	if _, err := decodeSegment(parts[2]); err != nil {
		return h, nil, errors.New("its signature is not base64url")
	}
	o, err := parseSegment(parts[0])
	if err != nil {
		return h, nil, fmt.Errorf("its header %w", err)
	}
	if _, ok := o["crit"]; ok {
		return h, nil, errors.New("its header has an extension that must be understood") // RFC 7515, section 4.1.11: we know none
	}
	if h.alg, err = o.Text("alg"); err != nil {
		return h, nil, err
	}
	if h.kid, err = o.Text("kid"); err != nil {
		return h, nil, err
	}
	if claims, err = parseSegment(parts[1]); err != nil {
		return h, nil, fmt.Errorf("its payload %w", err)
	}
	return h, claims, nil
}

func parseSegment(s string) (discovery.Object, error) {
	data, err := decodeSegment(s)
	if err != nil {
		return nil, errors.New("is not base64url")
	}
	return discovery.ParseObject(data)
}

// decodeSegment accepts one spelling only, so that a token cannot be changed
// and still have the same signature. The decoder skips line ends.
func decodeSegment(s string) ([]byte, error) {
	if strings.ContainsAny(s, "\r\n") {
		return nil, base64.CorruptInputError(0)
	}
	return base64.RawURLEncoding.Strict().DecodeString(s)
}

// readIdentity returns who issued a token and about whom, and for whom it is.
// What is returned is not empty, and the client is among the audience.
func readIdentity(claims discovery.Object, clientID string) (c *Claims, audience []string, err error) {
	c = new(Claims)
	if c.Issuer, err = claims.Text("iss"); err != nil {
		return nil, nil, err
	}
	if c.Subject, err = claims.Text("sub"); err != nil {
		return nil, nil, err
	}
	if strings.HasPrefix(string(claims["aud"]), `"`) {
		audience = make([]string, 1)
		audience[0], err = claims.Text("aud")
	} else {
		audience, err = claims.List("aud")
	}
	if err != nil {
		return nil, nil, err
	}
	switch {
	case c.Issuer == "":
		return nil, nil, errors.New("iss is missing")
	case c.Subject == "":
		return nil, nil, errors.New("sub is missing")
	case len(c.Subject) > maxSubject:
		return nil, nil, fmt.Errorf("sub is longer than %d bytes", maxSubject)
	case strings.ContainsFunc(c.Subject, unicode.IsControl):
		return nil, nil, errors.New("sub has a control character")
	case len(audience) == 0:
		return nil, nil, errors.New("aud is missing")
	case !slices.Contains(audience, clientID):
		return nil, nil, errors.New("it is for another client")
	}
	for _, name := range []string{"email", "preferred_username", "name"} {
		if s, err := claims.Text(name); err == nil && s != "" { // of another type, it is no reason to refuse the token
			c.Account = s
			break
		}
	}
	return c, audience, nil
}

// check returns what the claims of a login say, or what is wrong with them.
func (want *Login) check(by issuer.Issuer, h header, claims discovery.Object, now time.Time) (*Claims, error) {
	id, audience, err := readIdentity(claims, want.ClientID)
	switch {
	case err != nil:
		return nil, err
	case !by.Signed(id.Issuer, tenantOf(claims)):
		return nil, errors.New("it is from another issuer")
	}
	err = cmp.Or(
		want.checkAuthorizedParty(claims, audience),
		want.checkTimes(claims, now),
		want.checkNonce(claims),
		checkHash(claims, "at_hash", h.alg, want.AccessToken, "access token"),
		checkHash(claims, "c_hash", h.alg, want.Code, "code"),
	)
	if err != nil {
		return nil, err
	}
	return id, nil
}

// checkAuthorizedParty says whether a token for several was issued to this
// client. Some providers put others beside it, such as its project.
func (want *Login) checkAuthorizedParty(claims discovery.Object, audience []string) error {
	party, err := claims.Text("azp")
	switch {
	case err != nil:
		return err
	case party != want.ClientID && (party != "" || len(audience) > 1):
		return errors.New("it was issued to another client")
	}
	return nil
}

func (want *Login) checkTimes(claims discovery.Object, now time.Time) error {
	seconds, leeway := float64(now.UnixMilli())/1000, clockLeeway.Seconds()
	expiry, err := timeOf(claims, "exp")
	switch {
	case err != nil:
		return err
	case expiry == 0:
		return errors.New("exp is missing")
	case expiry+leeway <= seconds:
		return errors.New("it has expired")
	}
	issued, err := timeOf(claims, "iat")
	switch {
	case err != nil:
		return err
	case issued == 0:
		return errors.New("iat is missing")
	case issued > seconds+leeway:
		return errors.New("it was issued in the future")
	}
	notBefore, err := timeOf(claims, "nbf")
	switch {
	case err != nil:
		return err
	case notBefore > seconds+leeway:
		return errors.New("it is not valid yet")
	}

	if want.MaxAge == "" {
		return nil
	}
	age, err := strconv.ParseUint(want.MaxAge, 10, 31)
	if err != nil {
		return errors.New("the max_age that was asked for is not a number of seconds")
	}
	authenticated, err := timeOf(claims, "auth_time")
	switch {
	case err != nil:
		return err
	case authenticated == 0:
		return errors.New("auth_time is missing")
	case authenticated+float64(age)+leeway < seconds:
		return errors.New("the user logged in longer ago than was asked for")
	}
	return nil
}

func (want *Login) checkNonce(claims discovery.Object) error {
	if want.Nonce == "" {
		return nil
	}
	nonce, err := claims.Text("nonce")
	if err == nil && nonce != want.Nonce && !(nonce == "" && want.NonceOptional) {
		err = errors.New("it has another nonce")
	}
	return err
}

// checkHash says whether a claim, if it is there, refers to what the token came
// with.
func checkHash(claims discovery.Object, name, alg, of, kind string) error {
	hash, err := claims.Text(name)
	if err == nil && hash != "" && hash != halfHash(alg, of) {
		err = errors.New(name + " is of another " + kind)
	}
	return err
}

// check says what is wrong with the claims of a renewal, or nothing.
func (want *Renewal) check(by issuer.Issuer, claims discovery.Object) error {
	id, _, err := readIdentity(claims, want.ClientID)
	if err != nil {
		return err
	}
	// The issuer of the grant was held against the tenant then.
	known := id.Issuer == want.Issuer && issuer.Matches(by.Name, id.Issuer)
	switch {
	case !known && !by.Signed(id.Issuer, tenantOf(claims)):
		return errors.New("it is from another issuer")
	case want.Issuer != "" && want.Issuer != id.Issuer && want.Issuer != by.Name:
		return errors.New("the grant is from another issuer")
	case want.Subject != "" && want.Subject != id.Subject:
		return errors.New("the grant is of another subject")
	}
	if want.Nonce == "" {
		return nil
	}
	nonce, err := claims.Text("nonce")
	if err == nil && nonce != "" && nonce != want.Nonce {
		err = errors.New("it has another nonce")
	}
	return err
}

// tenantOf returns the tenant that a token says its user is of; empty: it says
// none.
func tenantOf(claims discovery.Object) string {
	tenant, _ := claims.Text("tid")
	return tenant
}

const lastSecond = 253402300799 // of the year 9999

// timeOf reads a claim that, if there is one, is a Unix time. Zero: there is
// none.
func timeOf(claims discovery.Object, name string) (seconds float64, err error) {
	seconds, err = claims.Number(name)
	if err == nil && (seconds < 0 || seconds > lastSecond) {
		err = errors.New(name + " is not a time")
	}
	return seconds, err
}

// halfHash is how an ID token refers to an access token or a code (OpenID
// Connect Core 1.0, section 3.1.3.6).
func halfHash(alg, s string) string {
	hash := crypto.SHA512 // of EdDSA, for which no standard says it; providers take the hash of Ed25519
	switch {
	case strings.HasSuffix(alg, "256"):
		hash = crypto.SHA256
	case strings.HasSuffix(alg, "384"):
		hash = crypto.SHA384
	}
	w := hash.New()
	w.Write([]byte(s))
	return base64.RawURLEncoding.EncodeToString(w.Sum(nil)[:hash.Size()/2])
}
