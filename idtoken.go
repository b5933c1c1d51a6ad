package authprofile

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

	"github.com/authprofile/authprofile/internal/issuer"
)

const (
	maxIDToken = 64 << 10 // bytes; of a login
	maxSubject = 255      // bytes; OpenID Connect Core 1.0, section 2

	// clockLeeway is how much the provider's clock may differ from ours.
	clockLeeway = time.Minute
)

// idClaims is what a valid ID token says that we have a use for.
type idClaims struct{ Issuer, Subject string }

// A loginCheck is the ID token of a login, and what it must agree with.
type loginCheck struct {
	raw         string
	clientID    string
	accessToken string // that it came with
	code        string // that it was exchanged for
	nonce       string // of the authorization request; empty: it had none
	maxAge      string // its max_age; empty: it had none
}

// A renewalCheck is the ID token of a renewal, and what it must agree with:
// what is known of the grant.
type renewalCheck struct {
	raw             string
	clientID        string
	nonce           string // empty: there was none
	issuer, subject string // empty: not known
}

// An idTokenError says what is wrong with an ID token. Its text has nothing of
// the token.
type idTokenError struct{ problem string }

func (e *idTokenError) Error() string { return "the ID token is not valid: " + e.problem }

// verifyIDToken checks the ID token of a login as OpenID Connect Core 1.0,
// section 3.1.3.7 says, and returns what it claims. The error is
// errKeysUnavailable if it cannot be told whether it is valid.
//
// It insists on the signature, because a login decides whose grant it is,
// unless the provider does not say where its keys are: then the token is
// believed because it came straight from the token endpoint, which TLS has
// authenticated (item 6 there).
func (t *provider) verifyIDToken(ctx context.Context, now time.Time, c loginCheck) (*idClaims, error) {
	if len(c.raw) > maxIDToken {
		return nil, &idTokenError{fmt.Sprintf("it is larger than %d KiB", maxIDToken>>10)}
	}
	h, o, problem := parseIDToken(c.raw)
	if problem == "" {
		problem = t.checkAlg(h)
	}
	var claims *idClaims
	if problem == "" {
		claims, problem = c.check(t, h, o, now)
	}
	if problem != "" {
		return nil, &idTokenError{problem}
	}
	claims.Issuer = t.issuer.Canonical(claims.Issuer)
	if err := t.verifySignature(ctx, c.raw, h); err != nil {
		return nil, err
	}
	return claims, nil
}

// verifyRenewedIDToken checks the ID token of a renewal: that it is from the
// issuer of the grant, about its subject and for this client, and has its nonce
// if it has one. That is what OpenID Connect Core 1.0, section 12.2 asks for;
// no other claim decides, since all that hangs on the token is whose access
// token it came with.
//
// It is taken without its signature if the keys cannot be had: it came straight
// from the token endpoint, which TLS has authenticated, and that suffices
// (section 3.1.3.7, item 6). Nor is it refused for its size, which that of the
// answer limits: so no check is left out.
func (t *provider) verifyRenewedIDToken(ctx context.Context, c renewalCheck) error {
	h, o, problem := parseIDToken(c.raw)
	if problem == "" {
		problem = t.checkAlg(h)
	}
	if problem == "" {
		problem = c.check(t, o)
	}
	if problem != "" {
		return &idTokenError{problem}
	}
	err := t.verifySignature(ctx, c.raw, h)
	if errors.Is(err, errKeysUnavailable) {
		return nil
	}
	return err
}

// checkAlg says what is wrong with the algorithm of a token that is to be
// verified, or nothing.
func (t *provider) checkAlg(h header) string {
	if t.keys != nil && !slices.Contains(t.keys.algs, h.alg) {
		return "it is not signed by an algorithm that is accepted"
	}
	return ""
}

// verifySignature makes sure that one of the provider's keys has signed a
// token, if it publishes any. It uses the key set of go-oidc and not its
// verifier, which would refuse tokens for the types of claims that do not matter
// here.
func (t *provider) verifySignature(ctx context.Context, raw string, h header) error {
	if t.keys == nil {
		return nil
	}
	err := t.keys.verify(ctx, raw, h)
	if err == nil || errors.Is(err, errKeysUnavailable) {
		return err
	}
	return &idTokenError{err.Error()}
}

// warmKeys sees to it that the provider's keys are at hand. With it, a key set
// that cannot be had is found out before a code is spent.
func (t *provider) warmKeys(ctx context.Context) error {
	if t.keys == nil {
		return nil
	}
	_, err := t.keys.keys(ctx, nil)
	return err
}

// A header is what a token's header says that we go by. Keys and addresses of
// keys in it (jwk, jku, x5u) are none of that.
type header struct{ alg, kid string }

// parseIDToken takes a token apart without verifying it. Of its claims only
// those are read that are needed: what else there is, and of which type, is no
// reason to refuse it.
func parseIDToken(raw string) (h header, claims object, problem string) {
	switch strings.Count(raw, ".") {
	case 2:
	case 4:
		return h, nil, "it is encrypted"
	default:
		return h, nil, "it is malformed"
	}
	parts := strings.Split(raw, ".")
	if _, err := decodeSegment(parts[2]); err != nil {
		return h, nil, "its signature is not base64url"
	}
	o, problem := parseSegment(parts[0])
	if problem != "" {
		return h, nil, "its header " + problem
	}
	if _, ok := o["crit"]; ok {
		return h, nil, "its header has an extension that must be understood" // RFC 7515, section 4.1.11: we know none
	}
	if h.alg, problem = o.text("alg"); problem != "" {
		return h, nil, problem
	}
	if h.kid, problem = o.text("kid"); problem != "" {
		return h, nil, problem
	}
	if claims, problem = parseSegment(parts[1]); problem != "" {
		return h, nil, "its payload " + problem
	}
	return h, claims, ""
}

func parseSegment(s string) (object, string) {
	data, err := decodeSegment(s)
	if err != nil {
		return nil, "is not base64url"
	}
	return parseObject(data)
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
func readIdentity(claims object, clientID string) (c *idClaims, audience []string, problem string) {
	c = new(idClaims)
	if c.Issuer, problem = claims.text("iss"); problem != "" {
		return nil, nil, problem
	}
	if c.Subject, problem = claims.text("sub"); problem != "" {
		return nil, nil, problem
	}
	if strings.HasPrefix(string(claims["aud"]), `"`) {
		audience = make([]string, 1)
		audience[0], problem = claims.text("aud")
	} else {
		audience, problem = claims.list("aud")
	}
	if problem != "" {
		return nil, nil, problem
	}
	switch {
	case c.Issuer == "":
		return nil, nil, "iss is missing"
	case c.Subject == "":
		return nil, nil, "sub is missing"
	case checkIdentifier(c.Subject, maxSubject) != "":
		return nil, nil, "sub " + checkIdentifier(c.Subject, maxSubject)
	case len(audience) == 0:
		return nil, nil, "aud is missing"
	case !slices.Contains(audience, clientID):
		return nil, nil, "it is for another client"
	}
	return c, audience, ""
}

// check returns what the claims of a login say, or what is wrong with them.
func (c *loginCheck) check(t *provider, h header, claims object, now time.Time) (*idClaims, string) {
	id, audience, problem := readIdentity(claims, c.clientID)
	switch {
	case problem != "":
		return nil, problem
	case !t.issuer.Signed(id.Issuer, tenantOf(claims)):
		return nil, "it is from another issuer"
	}
	problem = cmp.Or(
		c.checkParty(claims, audience),
		c.checkTimes(claims, now),
		c.checkNonce(claims),
		checkHash(claims, "at_hash", h.alg, c.accessToken, "access token"),
		checkHash(claims, "c_hash", h.alg, c.code, "code"),
	)
	if problem != "" {
		return nil, problem
	}
	return id, ""
}

// checkParty says whether a token for several was issued to this client. Some
// providers put others beside it, such as its project.
func (c *loginCheck) checkParty(claims object, audience []string) string {
	party, problem := claims.text("azp")
	switch {
	case problem != "":
		return problem
	case party != c.clientID && (party != "" || len(audience) > 1):
		return "it was issued to another client"
	}
	return ""
}

func (c *loginCheck) checkTimes(claims object, now time.Time) string {
	seconds, leeway := float64(now.UnixMilli())/1000, clockLeeway.Seconds()
	expiry, problem := claims.time("exp")
	switch {
	case problem != "":
		return problem
	case expiry == 0:
		return "exp is missing"
	case expiry+leeway <= seconds:
		return "it has expired"
	}
	issued, problem := claims.time("iat")
	switch {
	case problem != "":
		return problem
	case issued == 0:
		return "iat is missing"
	case issued > seconds+leeway:
		return "it was issued in the future"
	}
	notBefore, problem := claims.time("nbf")
	switch {
	case problem != "":
		return problem
	case notBefore > seconds+leeway:
		return "it is not valid yet"
	}

	if c.maxAge == "" {
		return ""
	}
	age, err := strconv.ParseUint(c.maxAge, 10, 31)
	if err != nil {
		return "the max_age that was asked for is not a number of seconds"
	}
	authenticated, problem := claims.time("auth_time")
	switch {
	case problem != "":
		return problem
	case authenticated == 0:
		return "auth_time is missing"
	case authenticated+float64(age)+leeway < seconds:
		return "the user logged in longer ago than was asked for"
	}
	return ""
}

func (c *loginCheck) checkNonce(claims object) string {
	if c.nonce == "" {
		return ""
	}
	nonce, problem := claims.text("nonce")
	if problem == "" && nonce != c.nonce {
		problem = "it has another nonce"
	}
	return problem
}

// checkHash says whether a claim, if it is there, refers to what the token came
// with.
func checkHash(claims object, name, alg, of, kind string) string {
	hash, problem := claims.text(name)
	if problem == "" && hash != "" && hash != halfHash(alg, of) {
		problem = name + " is of another " + kind
	}
	return problem
}

// check says what is wrong with the claims of a renewal, or nothing.
func (c *renewalCheck) check(t *provider, claims object) string {
	id, _, problem := readIdentity(claims, c.clientID)
	if problem != "" {
		return problem
	}
	// The issuer of the grant was held against the tenant then.
	known := id.Issuer == c.issuer && issuer.Matches(t.issuer.Name, id.Issuer)
	switch {
	case !known && !t.issuer.Signed(id.Issuer, tenantOf(claims)):
		return "it is from another issuer"
	case c.issuer != "" && c.issuer != id.Issuer && c.issuer != t.issuer.Name:
		return "the grant is from another issuer"
	case c.subject != "" && c.subject != id.Subject:
		return "the grant is of another subject"
	}
	if c.nonce == "" {
		return ""
	}
	nonce, problem := claims.text("nonce")
	if problem == "" && nonce != "" && nonce != c.nonce {
		problem = "it has another nonce"
	}
	return problem
}

// tenantOf returns the tenant that a token says its user is of; empty: it says
// none.
func tenantOf(claims object) string {
	tenant, _ := claims.text("tid")
	return tenant
}

const lastSecond = 253402300799 // of the year 9999

// time reads a member that, if there is one, is a Unix time. Zero: there is
// none.
func (o object) time(name string) (seconds float64, problem string) {
	seconds, problem = o.number(name)
	if problem == "" && (seconds < 0 || seconds > lastSecond) {
		problem = name + " is not a time"
	}
	return seconds, problem
}

// halfHash is how an ID token refers to an access token or a code (OpenID
// Connect Core 1.0, section 3.1.3.6).
func halfHash(alg, s string) string {
	hash := crypto.SHA512 // of EdDSA, as everybody does it
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
