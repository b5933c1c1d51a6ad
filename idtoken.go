package authprofile

import (
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

	"github.com/coreos/go-oidc/v3/oidc"
)

const (
	maxIDToken = 64 << 10 // bytes
	maxSubject = 255      // bytes; OpenID Connect Core 1.0, section 2

	// clockLeeway is how much the provider's clock may differ from ours.
	clockLeeway = 30 * time.Second
)

// idClaims is what a valid ID token says that we have a use for.
type idClaims struct {
	Issuer, Subject string

	audience      []string
	party         string // azp
	tenant        string // tid
	nonce         string
	atHash, cHash string

	// Unix times; zero: not said.
	expiry, issued, notBefore, authenticated float64
}

// An idCheck is an ID token, and what it must agree with.
type idCheck struct {
	raw         string
	clientID    string
	accessToken string // that it came with
	code        string // that it was exchanged for; empty: none
	nonce       string // of the authorization request; empty: it had none
	maxAge      string // its max_age; empty: it had none

	// refresh says that the token came with a renewal: it may do without a
	// nonce, and must name the issuer and subject of the grant, where those
	// are known (OpenID Connect Core 1.0, section 12.2).
	refresh         bool
	issuer, subject string
}

// An idTokenError says what is wrong with an ID token. Its text has nothing of
// the token.
type idTokenError struct{ problem string }

func (e *idTokenError) Error() string { return "the ID token is not valid: " + e.problem }

// verifyIDToken checks an ID token as OpenID Connect Core 1.0, section 3.1.3.7
// says, and returns what it claims. The error is errKeysUnavailable if nobody
// can tell whether it is valid.
//
// The token of a renewal is taken without its signature if the keys cannot be
// had: it came straight from the token endpoint, which TLS has authenticated,
// and that suffices (item 6 there). All other checks are made all the same. A
// first authorization insists on the signature, because it decides whose grant
// it is, unless the provider does not say where its keys are.
func (e *engine) verifyIDToken(ctx context.Context, t *target, c idCheck) (*idClaims, error) {
	h, claims, problem := parseIDToken(c.raw)
	if problem == "" && t.keys != nil && !slices.Contains(t.keys.algs, h.alg) {
		problem = "it is not signed by an algorithm that is accepted"
	}
	if problem == "" {
		problem = claims.check(t, &c, h, e.now())
	}
	if problem != "" {
		return nil, &idTokenError{problem}
	}
	if t.issuer != "" && !strings.Contains(t.issuer, eachTenant) {
		claims.Issuer = t.issuer // in the provider's own spelling
	}
	if t.keys == nil {
		return claims, nil
	}

	// The errors of go-oidc quote the token: only those of the key set go on.
	keys := &verifierKeys{keySet: t.keys, header: h}
	verifier := oidc.NewVerifier(claims.Issuer, keys, &oidc.Config{
		ClientID:             c.clientID,
		SupportedSigningAlgs: t.keys.algs,
		SkipExpiryCheck:      true, // checked above, with leeway
	})
	_, err := verifier.Verify(ctx, c.raw)
	switch {
	case err == nil:
	case errors.Is(keys.err, errKeysUnavailable) && c.refresh:
	case errors.Is(keys.err, errKeysUnavailable):
		return nil, keys.err
	case keys.err != nil:
		return nil, &idTokenError{keys.err.Error()}
	default:
		return nil, &idTokenError{"it is malformed"}
	}
	return claims, nil
}

// warmKeys sees to it that the provider's keys are at hand. With it, a key set
// that cannot be had is found out before a code is spent.
func (e *engine) warmKeys(ctx context.Context, t *target) error {
	if t.keys == nil {
		return nil
	}
	_, err := t.keys.keys(ctx, nil)
	return err
}

// verifierKeys is a keySet for one token, as go-oidc wants it.
type verifierKeys struct {
	*keySet
	header
	err error // of VerifySignature, whose identity go-oidc does not keep
}

func (v *verifierKeys) VerifySignature(ctx context.Context, raw string) ([]byte, error) {
	payload, err := v.keySet.verify(ctx, raw, v.header)
	v.err = err
	return payload, err
}

// A header is what a token's header says that we go by. Keys and addresses of
// keys in it (jwk, jku, x5u) are none of that.
type header struct{ alg, kid string }

// parseIDToken reads a token without verifying it.
func parseIDToken(raw string) (h header, c *idClaims, problem string) {
	if len(raw) > maxIDToken {
		return h, nil, fmt.Sprintf("it is larger than %d KiB", maxIDToken>>10)
	}
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

	if o, problem = parseSegment(parts[1]); problem != "" {
		return h, nil, "its payload " + problem
	}
	c = new(idClaims)
	for _, m := range []struct {
		name  string
		field *string
	}{
		{"iss", &c.Issuer}, {"sub", &c.Subject}, {"azp", &c.party}, {"tid", &c.tenant},
		{"nonce", &c.nonce}, {"at_hash", &c.atHash}, {"c_hash", &c.cHash},
	} {
		if *m.field, problem = o.text(m.name); problem != "" {
			return h, nil, problem
		}
	}
	for _, m := range []struct {
		name  string
		field *float64
	}{
		{"exp", &c.expiry}, {"iat", &c.issued}, {"nbf", &c.notBefore}, {"auth_time", &c.authenticated},
	} {
		if *m.field, problem = o.number(m.name); problem != "" {
			return h, nil, problem
		}
		if *m.field < 0 || *m.field > lastSecond {
			return h, nil, m.name + " is not a time"
		}
	}
	if strings.HasPrefix(string(o["aud"]), `"`) {
		c.audience = make([]string, 1)
		c.audience[0], problem = o.text("aud")
	} else {
		c.audience, problem = o.list("aud")
	}
	return h, c, problem
}

const lastSecond = 253402300799 // of the year 9999

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

// check says what is wrong with the claims, or nothing.
func (c *idClaims) check(t *target, want *idCheck, h header, now time.Time) string {
	seconds, leeway := float64(now.UnixMilli())/1000, clockLeeway.Seconds()
	switch {
	case !t.issuedBy(c):
		return "it is from another issuer"
	case c.Subject == "":
		return "sub is missing"
	case checkIdentifier(c.Subject, maxSubject) != "":
		return "sub " + checkIdentifier(c.Subject, maxSubject)
	case len(c.audience) == 0:
		return "aud is missing"
	case slices.ContainsFunc(c.audience, func(aud string) bool { return aud != want.clientID }):
		return "it is for another client"
	case c.party != "" && c.party != want.clientID, c.party == "" && len(c.audience) > 1:
		return "it was issued to another client"
	case c.expiry == 0:
		return "exp is missing"
	case c.expiry+leeway <= seconds:
		return "it has expired"
	case c.issued == 0:
		return "iat is missing"
	case c.issued > seconds+leeway:
		return "it was issued in the future"
	case c.notBefore > seconds+leeway:
		return "it is not valid yet"
	case want.nonce != "" && c.nonce != want.nonce && !(want.refresh && c.nonce == ""):
		return "it has another nonce"
	case c.atHash != "" && c.atHash != halfHash(h.alg, want.accessToken):
		return "at_hash is of another access token"
	case c.cHash != "" && want.code != "" && c.cHash != halfHash(h.alg, want.code):
		return "c_hash is of another code"
	}
	if want.refresh {
		switch {
		case want.issuer != "" && want.issuer != c.Issuer && want.issuer != t.issuer:
			return "the grant is from another issuer"
		case want.subject != "" && want.subject != c.Subject:
			return "the grant is of another subject"
		}
		return ""
	}
	if want.maxAge != "" {
		age, err := strconv.ParseUint(want.maxAge, 10, 31)
		switch {
		case err != nil:
			return "the max_age that was asked for is not a number of seconds"
		case c.authenticated == 0:
			return "auth_time is missing"
		case c.authenticated+float64(age)+leeway < seconds:
			return "the user logged in longer ago than was asked for"
		}
	}
	return ""
}

// issuedBy reports whether the claims name the provider as their issuer.
func (t *target) issuedBy(c *idClaims) bool {
	switch {
	case c.Issuer == "":
		return false
	case t.issuer == "":
		return true // the addresses were typed in, so nobody knows another name
	case t.template != nil && slices.Contains(t.template.issuerAliases, c.Issuer):
		return true
	case strings.Contains(t.issuer, eachTenant):
		return isGUID(c.tenant) && c.Issuer == strings.ReplaceAll(t.issuer, eachTenant, c.tenant)
	}
	return c.Issuer == t.issuer
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
