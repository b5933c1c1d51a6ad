package clientkey

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// keys are one of each kind that is taken, by their natural algorithms. They are
// made once, since an RSA key takes long.
var keys = sync.OnceValue(func() map[string]crypto.Signer {
	ec := func(c elliptic.Curve) crypto.Signer { return must(ecdsa.GenerateKey(c, rand.Reader)) }
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	return map[string]crypto.Signer{
		"RS256": must(rsa.GenerateKey(rand.Reader, 2048)),
		"ES256": ec(elliptic.P256()),
		"ES384": ec(elliptic.P384()),
		"ES512": ec(elliptic.P521()),
		"EdDSA": must(ed, err),
	}
})

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func block(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

func pkcs8(key any) string { return block("PRIVATE KEY", must(x509.MarshalPKCS8PrivateKey(key))) }

// certificate issues one that the key has signed itself.
func certificate(key crypto.Signer) *x509.Certificate {
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "client"},
		NotBefore:    time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC),
		NotAfter:     time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC),
	}
	return must(x509.ParseCertificate(must(x509.CreateCertificate(rand.Reader, template, template, key.Public(), key))))
}

// jwk returns the JWK of a key, with further members. A member that is nil is left
// out.
func jwk(key any, members map[string]any) string {
	var all map[string]any
	if err := json.Unmarshal(must(json.Marshal(jose.JSONWebKey{Key: key})), &all); err != nil {
		panic(err)
	}
	for name, value := range members {
		all[name] = value
		if value == nil {
			delete(all, name)
		}
	}
	return string(must(json.Marshal(all)))
}

func x5c(certificates ...*x509.Certificate) []string {
	var list []string
	for _, c := range certificates {
		list = append(list, base64.StdEncoding.EncodeToString(c.Raw))
	}
	return list
}

func parse(t *testing.T, text string) *Key {
	t.Helper()
	k, err := Parse(text)
	if err != nil {
		t.Fatalf("got %v, want a key", err)
	}
	return k
}

// wantNothingOf fails if an error shows any eight bytes of a line of a text.
func wantNothingOf(t *testing.T, err error, text string) {
	t.Helper()
	for line := range strings.Lines(text) {
		for i := 0; i+8 <= len(line); i++ {
			if part := line[i : i+8]; !strings.Contains(part, "PRIVATE") && strings.Contains(err.Error(), part) {
				t.Errorf("got %q, want nothing of the text, such as %q", err, part)
				return
			}
		}
	}
}
