package assertion_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/authprofile/authprofile"
	"github.com/authprofile/authprofile/assertion"
)

var profile = &authprofile.Profile{ID: "p", ClientID: "reports"}

// token returns a JWT with some claims. Its signature is of no matter.
func token(claims string) string {
	encode := base64.RawURLEncoding.EncodeToString
	return encode([]byte(`{"alg":"RS256"}`)) + "." + encode([]byte(claims)) + "." + encode([]byte("sentinel"))
}

func TestFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := time.Now().Unix()
		exp := func(n int64) string { return `{"sub":"sentinel","exp":` + strconv.FormatInt(n, 10) + `}` }
		path := filepath.Join(t.TempDir(), "token")
		get := assertion.File(path)
		for _, tt := range []struct{ name, text, want string }{
			{"valid", token(exp(now + 1)), ""},
			{"space around", " \r\n" + token(exp(now+1)) + "\n", ""},
			{"without exp", token(`{"sub":"sentinel"}`), ""},
			{"exp with a fraction", token(`{"exp":` + strconv.FormatInt(now, 10) + `.5}`), ""},
			{"ends now", token(exp(now)), "the assertion has expired"},
			{"has ended", token(exp(now - 1)), "the assertion has expired"},
			{"empty", "", "the file does not have a JWT in its compact form"},
			{"two parts", "sentinel.sentinel", "the file does not have a JWT in its compact form"},
			{"four parts", token(exp(now+1)) + ".AAAA", "the file does not have a JWT in its compact form"},
			{"no base64url", "sentinel.sentinel.a+/=", "the file does not have a JWT in its compact form"},
			{"a line break inside", strings.Replace(token(exp(now+1)), ".", ".\n", 1), "the file does not have a JWT in its compact form"},
			{"an empty signature", strings.TrimSuffix(token(exp(now+1)), base64.RawURLEncoding.EncodeToString([]byte("sentinel"))), "the file does not have a JWT in its compact form"},
			{"claims that are none", token(`"sentinel"`), "the file does not have a JWT in its compact form"},
			{"exp that is a text", token(`{"exp":"sentinel"}`), "the file does not have a JWT in its compact form"},
			{"too large", token(exp(now+1)) + strings.Repeat("A", 64<<10), "the file is larger than 64 KiB"},
		} {
			if err := os.WriteFile(path, []byte(tt.text), 0o600); err != nil {
				t.Fatal(err)
			}
			got, err := get(t.Context(), profile, "https://auth.example/token")
			if tt.want != "" {
				if want := "assertion: " + path + ": " + tt.want; got != "" || err == nil || err.Error() != want {
					t.Errorf("%s: got %q, %v, want %q", tt.name, got, err, want)
				}
				continue
			}
			if want := strings.TrimSpace(tt.text); got != want || err != nil {
				t.Errorf("%s: got %q, %v, want %q", tt.name, got, err, want)
			}
		}

		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		if _, err := get(t.Context(), profile, ""); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), path) {
			t.Errorf("got %v, want fs.ErrNotExist with the path", err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := get(ctx, profile, ""); err != context.Canceled {
			t.Errorf("got %v, want context.Canceled", err)
		}
	})
}

// A remote is a key in a service.
type remote struct {
	key crypto.Signer
	err error
}

func (r remote) Public() crypto.PublicKey { return r.key.Public() }
func (r remote) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	if r.err != nil {
		return nil, r.err
	}
	return r.key.Sign(rand.Reader, digest, opts)
}

func TestSigner(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := assertion.Signer(remote{key: key}, "k-1")(t.Context(), profile, "https://auth.example/token")
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := jwt.ParseSigned(signed, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		t.Fatal(err)
	}
	var claims jwt.Claims
	if err := parsed.Claims(key.Public(), &claims); err != nil {
		t.Fatal(err)
	}
	if err := claims.ValidateWithLeeway(jwt.Expected{Issuer: "reports", Subject: "reports", AnyAudience: jwt.Audience{"https://auth.example/token"}, Time: time.Now()}, 0); err != nil || claims.ID == "" {
		t.Errorf("got claims %+v, %v, want those of the client", claims, err)
	}
	if got := parsed.Headers[0].KeyID; got != "k-1" {
		t.Errorf("got kid %q, want k-1", got)
	}

	refused := errors.New("throttled")
	if got, err := assertion.Signer(remote{key, refused}, "")(t.Context(), profile, "x"); got != "" || !errors.Is(err, refused) {
		t.Errorf("got %q, %v, want the signer's error", got, err)
	}
	if got, err := assertion.Signer(nil, "")(t.Context(), profile, "x"); got != "" || err == nil || err.Error() != "assertion: the signer has no private key" {
		t.Errorf("got %q, %v, want an error about the key", got, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := assertion.Signer(key, "")(ctx, profile, "x"); err != context.Canceled {
		t.Errorf("got %v, want context.Canceled", err)
	}
}
