// Package assertion makes what an authprofile.Manager is given as its Assertion:
// functions that return what a client authenticates by with private_key_jwt, if
// its key is not in the profile.
//
// [File] is for assertions that the platform issues and renews: the projected
// service account tokens of Kubernetes, for workload identity federation, and the
// JWT-SVIDs of SPIFFE (RFC 7523, section 2.2; RFC 7521, section 4.2). [Signer] is
// for a key that never leaves a key management service or a hardware module.
//
// Both kinds of functions are called for each request to the provider, may be
// called by many goroutines at once, and keep nothing from one call to the next.
// Their errors have neither an assertion nor a part of one.
package assertion

import (
	"bytes"
	"context"
	"crypto"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"time"

	"github.com/authprofile/authprofile"
	"github.com/authprofile/authprofile/internal/clientkey"
)

// maxFile is how long a file may be, in bytes.
const maxFile = 64 << 10

// File returns a function that reads the assertion from a file, at each call, so
// that it finds the one by which the platform has replaced it. White space around
// it does not matter. The audience, and whose assertion it is, are the platform's
// to set: the function looks at neither.
//
// The file must have a JWT in its compact form (RFC 7519, section 3), of at most
// 64 KiB, whose exp has not passed; its signature is not verified. Errors name the
// path; [errors.Is] finds those of package os, such as [fs.ErrNotExist].
func File(path string) func(ctx context.Context, p *authprofile.Profile, audience string) (string, error) {
	return func(ctx context.Context, _ *authprofile.Profile, _ string) (string, error) {
		if err := ctx.Err(); err != nil {
			return "", err
		}
		text, err := read(path)
		if err != nil {
			return "", fmt.Errorf("assertion: %w", err) // a *fs.PathError, which has the path
		}
		if err := check(text, time.Now()); err != nil {
			return "", fmt.Errorf("assertion: %s: %w", path, err)
		}
		return string(text), nil
	}
}

// read reads a file, as far as one byte more than it may have.
func read(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if len(text) <= maxFile {
		text = bytes.TrimSpace(text)
	}
	return text, err
}

// Why a file has no assertion that can be used.
var (
	errLong    = errors.New("the file is larger than 64 KiB")
	errForm    = errors.New("the file does not have a JWT in its compact form")
	errExpired = errors.New("the assertion has expired")
)

func check(text []byte, now time.Time) error {
	if len(text) > maxFile {
		return errLong
	}
	parts := bytes.Split(text, []byte("."))
	if len(parts) != 3 {
		return errForm
	}
	var claims []byte
	for i, part := range parts {
		decoded, err := base64.RawURLEncoding.Strict().AppendDecode(nil, part)
		if err != nil || len(decoded) == 0 || bytes.ContainsAny(part, "\r\n") { // which decoding skips
			return errForm
		}
		if i == 1 {
			claims = decoded
		}
	}
	var c struct {
		Expiry *float64 `json:"exp"`
	}
	if json.Unmarshal(claims, &c) != nil {
		return errForm
	}
	if c.Expiry != nil && *c.Expiry <= math.Floor(float64(now.UnixMilli())/1000) {
		return errExpired
	}
	return nil
}

// Signer returns a function that signs assertions with a key in a key management
// service or a hardware module: RSA of 2048 to 8192 bits (by RS256), P-256, P-384
// or P-521 (ES256, ES384, ES512), or Ed25519 (EdDSA). key must be safe for
// concurrent use.
//
// Each assertion has a jti of its own and ends after a minute; its issuer and
// subject are the profile's client ID (RFC 7523, section 3; OpenID Connect Core
// 1.0, section 9). An empty keyID is left out; otherwise it is the header kid. If
// there are certificates, the first must be of the key; its thumbprints are the
// headers x5t and x5t#S256, by which Entra ID knows the key.
//
// If the key or the certificate does not fit, the function returns an error at
// each call. [errors.Is] and [errors.As] find the errors of key; their texts are
// part of the error's.
func Signer(key crypto.Signer, keyID string, certificates ...*x509.Certificate) func(ctx context.Context, p *authprofile.Profile, audience string) (string, error) {
	k, unfit := clientkey.NewSigner(key, keyID, certificates)
	return func(ctx context.Context, p *authprofile.Profile, audience string) (string, error) {
		if unfit != nil {
			return "", fmt.Errorf("assertion: the signer %w", unfit)
		}
		if err := ctx.Err(); err != nil {
			return "", err
		}
		alg, err := k.Algorithm(nil)
		if err != nil {
			return "", fmt.Errorf("assertion: the signer %w", err)
		}
		signed, err := clientkey.Assertion(k, alg, p.ClientID, audience, time.Now())
		if err != nil {
			return "", fmt.Errorf("assertion: signing: %w", err)
		}
		return signed, nil
	}
}
