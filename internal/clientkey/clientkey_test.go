package clientkey

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/big"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// verify checks a signature twice: with go-jose, and with the standard library
// alone. It returns the header and the claims.
func verify(t *testing.T, signed, alg string, public crypto.PublicKey) (header, claims map[string]any) {
	t.Helper()
	jws, err := jose.ParseSigned(signed, []jose.SignatureAlgorithm{jose.SignatureAlgorithm(alg)})
	if err != nil {
		t.Fatalf("got %v of go-jose, want a JWS by %s", err, alg)
	}
	if _, err := jws.Verify(public); err != nil {
		t.Errorf("got %v of go-jose, want a signature of the key", err)
	}

	parts := strings.Split(signed, ".")
	if len(parts) != 3 {
		t.Fatalf("got %d parts, want 3", len(parts))
	}
	decode := func(s string) []byte {
		b, err := base64.RawURLEncoding.Strict().DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	if err := errors.Join(json.Unmarshal(decode(parts[0]), &header), json.Unmarshal(decode(parts[1]), &claims)); err != nil {
		t.Fatal(err)
	}
	if header["alg"] != alg {
		t.Errorf("got alg %v, want %s", header["alg"], alg)
	}
	input, signature := []byte(parts[0]+"."+parts[1]), decode(parts[2])
	digest := func(h crypto.Hash) []byte {
		w := h.New()
		w.Write(input)
		return w.Sum(nil)
	}
	ok := false
	switch alg {
	case "RS256":
		ok = rsa.VerifyPKCS1v15(public.(*rsa.PublicKey), crypto.SHA256, digest(crypto.SHA256), signature) == nil
	case "PS256":
		ok = rsa.VerifyPSS(public.(*rsa.PublicKey), crypto.SHA256, digest(crypto.SHA256), signature, &rsa.PSSOptions{SaltLength: 32}) == nil
	case "ES256", "ES384", "ES512":
		hash := map[string]crypto.Hash{"ES256": crypto.SHA256, "ES384": crypto.SHA384, "ES512": crypto.SHA512}[alg]
		half := map[string]int{"ES256": 32, "ES384": 48, "ES512": 66}[alg]
		if len(signature) == 2*half {
			r, s := new(big.Int).SetBytes(signature[:half]), new(big.Int).SetBytes(signature[half:])
			ok = ecdsa.Verify(public.(*ecdsa.PublicKey), digest(hash), r, s)
		}
	case "EdDSA":
		ok = ed25519.Verify(public.(ed25519.PublicKey), input, signature)
	}
	if !ok {
		t.Errorf("got a signature that is not by %s", alg)
	}
	return header, claims
}

// A remote is a crypto.Signer that is not one of the standard library's keys.
type remote struct {
	crypto.Signer
	sign func(digest []byte, opts crypto.SignerOpts) ([]byte, error)
}

func (r remote) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	if r.sign != nil {
		return r.sign(digest, opts)
	}
	return r.Signer.Sign(rand.Reader, digest, opts)
}

func TestAssertion(t *testing.T) {
	now := time.Date(2026, 11, 26, 10, 0, 0, 999e6, time.UTC)
	for natural, key := range keys() {
		leaf := certificate(key)
		thumbprints := [2]any{
			base64.RawURLEncoding.EncodeToString(func() []byte { s := sha1.Sum(leaf.Raw); return s[:] }()),
			base64.RawURLEncoding.EncodeToString(func() []byte { s := sha256.Sum256(leaf.Raw); return s[:] }()),
		}
		algorithms := []string{natural}
		if natural == "RS256" {
			algorithms = append(algorithms, "PS256")
		}
		for name, k := range map[string]*Key{
			"PEM":                      parse(t, pkcs8(key)),
			"PEM, certificate":         parse(t, pkcs8(key)+block("CERTIFICATE", leaf.Raw)),
			"JWK, kid":                 parse(t, jwk(key, map[string]any{"kid": "k-1"})),
			"KMS":                      must(NewSigner(remote{Signer: key}, "", nil)),
			"KMS, kid and certificate": must(NewSigner(remote{Signer: key}, "k-1", []*x509.Certificate{leaf})),
		} {
			for _, alg := range algorithms {
				t.Run(alg+" "+name, func(t *testing.T) {
					seen := make(map[any]bool)
					for range 2 {
						signed, err := Assertion(k, alg, "reports", "https://auth.example/token", now)
						if err != nil {
							t.Fatal(err)
						}
						header, claims := verify(t, signed, alg, key.Public())

						wantHeader := map[string]any{"alg": alg, "typ": "JWT"}
						if strings.Contains(name, "kid") {
							wantHeader["kid"] = "k-1"
						}
						if strings.Contains(name, "certificate") {
							wantHeader["x5t"], wantHeader["x5t#S256"] = thumbprints[0], thumbprints[1]
						}
						if !maps.Equal(header, wantHeader) {
							t.Errorf("got header %v, want %v", header, wantHeader)
						}

						jti, _ := claims["jti"].(string)
						if len(jti) < 22 || seen[jti] {
							t.Errorf("got jti %q, want one of 128 bits, and another each time", jti)
						}
						seen[jti] = true
						delete(claims, "jti")
						iat := float64(now.Unix())
						want := map[string]any{"iss": "reports", "sub": "reports", "aud": "https://auth.example/token", "iat": iat, "exp": iat + 60}
						if !maps.Equal(claims, want) {
							t.Errorf("got claims %v, want %v", claims, want)
						}
					}
				})
			}
		}
	}
}

func TestAlgorithm(t *testing.T) {
	long := strings.Repeat("A", 100)
	ps := parse(t, jwk(keys()["RS256"], map[string]any{"alg": "PS256"}))
	for _, tt := range []struct {
		name   string
		key    *Key
		listed []string
		want   string // what an error begins with, too
	}{
		{"RSA", parse(t, pkcs8(keys()["RS256"])), nil, "RS256"},
		{"RSA, both", parse(t, pkcs8(keys()["RS256"])), []string{"PS256", "RS256"}, "RS256"},
		{"RSA, PS256 alone", parse(t, pkcs8(keys()["RS256"])), []string{"ES256", "PS256"}, "PS256"},
		{"RSA, RS256 in the JWK", parse(t, jwk(keys()["RS256"], map[string]any{"alg": "RS256"})), []string{"PS256"}, "signs by RS256, but the server takes PS256"},
		{"PS256", ps, nil, "PS256"},
		{"PS256, both", ps, []string{"RS256", "PS256"}, "PS256"},
		{"PS256, RS256 alone", ps, []string{"RS256"}, "signs by PS256, but the server takes RS256"},
		{"EC", parse(t, pkcs8(keys()["ES384"])), []string{"RS256", "ES384"}, "ES384"},
		{"none", parse(t, pkcs8(keys()["RS256"])), []string{"HS256", "none"}, "signs by RS256 or PS256, but the server takes HS256, none"},
		{"another case", parse(t, pkcs8(keys()["ES256"])), []string{"es256"}, "signs by ES256, but the server takes es256"},
		{"odd text", parse(t, pkcs8(keys()["ES256"])), []string{"", "\x1b[2J\n\u202e" + long}, `signs by ES256, but the server takes "", [2J` + long[:61]},
		{"a long list", parse(t, pkcs8(keys()["ES256"])), slices.Repeat([]string{long}, 1000), "signs by ES256, but the server takes " + strings.Repeat(long[:64]+", ", 3) + "..."},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := tt.key.Algorithm(tt.listed)
			if err != nil {
				if got != "" {
					t.Errorf("got %q beside an error", got)
				}
				got = err.Error()
			}
			if got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			if err == nil {
				if _, err := tt.key.Sign(got, struct{}{}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for _, alg := range []string{"", "none", "HS256", "ES256", "RS512"} {
		if got, err := ps.Sign(alg, struct{}{}); err != errOtherAlgorithm {
			t.Errorf("%q: got %q, %v, want an error", alg, got, err)
		}
	}
	if got, err := ps.Sign("PS256", func() {}); err == nil {
		t.Errorf("got %q of what has no JSON, want an error", got)
	}
}

func TestNewSignerRefuses(t *testing.T) {
	rsaKey := keys()["RS256"]
	for _, tt := range []struct {
		name         string
		key          crypto.Signer
		certificates []*x509.Certificate
		want         error
	}{
		{"nil", nil, nil, errNoKey},
		{"RSA of 1024 bits", must(rsa.GenerateKey(rand.Reader, 1024)), nil, errShortRSA},
		{"RSA of more than 8192 bits", public{&rsa.PublicKey{N: new(big.Int).Lsh(big.NewInt(1), 8192), E: 65537}}, nil, errLongRSA},
		{"P-224", must(ecdsa.GenerateKey(elliptic.P224(), rand.Reader)), nil, errKind},
		{"without a public key", public{nil}, nil, errKind},
		{"certificate of another", rsaKey, []*x509.Certificate{certificate(keys()["ES256"])}, errOtherCertificate},
	} {
		if k, err := NewSigner(tt.key, "", tt.certificates); k != nil || err != tt.want {
			t.Errorf("%s: got %v, %v, want %q", tt.name, k, err, tt.want)
		}
	}
}

// A public is a crypto.Signer of which only the public key matters.
type public struct{ key crypto.PublicKey }

func (p public) Public() crypto.PublicKey { return p.key }
func (p public) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	return nil, errors.New("not to be called")
}

func TestSignersThatFail(t *testing.T) {
	refused := errors.New("refused")
	numbers := func(r, s *big.Int) []byte { return must(asn1.Marshal(struct{ R, S *big.Int }{r, s})) }
	one, large := big.NewInt(1), new(big.Int).Lsh(big.NewInt(1), 256)
	for _, tt := range []struct {
		name      string
		signature []byte
		err       error
		want      error
	}{
		{"an error", nil, refused, refused},
		{"nothing", nil, nil, errSignature},
		{"not ASN.1", []byte("signature"), nil, errSignature},
		{"something behind", append(numbers(one, one), 0), nil, errSignature},
		{"r too large", numbers(large, one), nil, errSignature},
		{"s too large", numbers(one, large), nil, errSignature},
		{"zero", numbers(new(big.Int), one), nil, errSignature},
		{"negative", numbers(one, big.NewInt(-1)), nil, errSignature},
	} {
		k := must(NewSigner(remote{keys()["ES256"], func([]byte, crypto.SignerOpts) ([]byte, error) { return tt.signature, tt.err }}, "", nil))
		if got, err := k.Sign("ES256", struct{}{}); got != "" || !errors.Is(err, tt.want) {
			t.Errorf("%s: got %q, %v, want %v", tt.name, got, err, tt.want)
		}
	}
}

func TestCertificates(t *testing.T) {
	key := keys()["ES256"]
	leaf, issuer := certificate(key), certificate(keys()["RS256"])
	without, with := parse(t, pkcs8(key)), parse(t, pkcs8(key)+block("CERTIFICATE", leaf.Raw)+block("CERTIFICATE", issuer.Raw))

	if _, err := without.TLSCertificate(); err != errNoCertificate {
		t.Errorf("got %v, want %v", err, errNoCertificate)
	}
	c, err := with.TLSCertificate()
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Certificate) != 2 || !bytes.Equal(c.Certificate[0], leaf.Raw) || !bytes.Equal(c.Certificate[1], issuer.Raw) || !c.Leaf.Equal(leaf) {
		t.Errorf("got %d certificates, want that of the key and then that of its issuer", len(c.Certificate))
	}
	if !key.(*ecdsa.PrivateKey).Equal(c.PrivateKey) {
		t.Error("got another key")
	}

	for _, tt := range []struct {
		now  time.Time
		want string
	}{
		{leaf.NotBefore.Add(-time.Second), "has a certificate that is not valid before 2026-01-01T00:00:00Z"},
		{leaf.NotBefore, ""},
		{leaf.NotAfter, ""},
		{leaf.NotAfter.Add(time.Second), "has a certificate that expired at 2027-01-01T00:00:00Z"},
	} {
		got := ""
		if err := with.CertificateError(tt.now); err != nil {
			got = err.Error()
		}
		if got != tt.want {
			t.Errorf("%v: got %q, want %q", tt.now, got, tt.want)
		}
		if err := without.CertificateError(tt.now); err != nil {
			t.Errorf("got %v without a certificate, want nil", err)
		}
	}
}

// What a key is can be told without showing it.
func TestWhatAKeyIs(t *testing.T) {
	key := keys()["ES256"]
	leaf := certificate(key)
	for _, tt := range []struct {
		name, text, id string
		end            time.Time
	}{
		{"neither", pkcs8(key), "", time.Time{}},
		{"a certificate", pkcs8(key) + block("CERTIFICATE", leaf.Raw), "", leaf.NotAfter},
		{"a key ID", jwk(key, map[string]any{"kid": "2027"}), "2027", time.Time{}},
		{"both", jwk(key, map[string]any{"kid": "2027", "x5c": x5c(leaf)}), "2027", leaf.NotAfter},
	} {
		k := parse(t, tt.text)
		if got := k.ID(); got != tt.id {
			t.Errorf("%s: got key ID %q, want %q", tt.name, got, tt.id)
		}
		if got := k.CertificateEnd(); !got.Equal(tt.end) {
			t.Errorf("%s: got a certificate until %v, want %v", tt.name, got, tt.end)
		}
	}
}

// No verb of package fmt, nor JSON, shows a byte of a key, wherever it stands.
func TestNoKeyIsShown(t *testing.T) {
	for alg, key := range keys() {
		k := parse(t, jwk(key, map[string]any{"kid": "sentinel"}))
		var secret []byte
		switch key := key.(type) {
		case *rsa.PrivateKey:
			secret = key.D.Bytes()
		case *ecdsa.PrivateKey:
			secret = must(key.Bytes())
		case ed25519.PrivateKey:
			secret = key.Seed()
		}
		secret = secret[8:16]
		number := new(big.Int).SetBytes(secret).String()
		listed := strings.Trim(fmt.Sprint(secret), "[]")
		var shown []string
		for _, v := range []any{k, *k, struct{ K *Key }{k}, struct{ k *Key }{k}, struct{ k Key }{*k}, &struct{ k *struct{ k *Key } }{&struct{ k *Key }{k}}, []*Key{k}, map[string]Key{"k": *k}} {
			for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%o", "%b", "%c", "%U", "%t", "%e", "%p"} {
				shown = append(shown, fmt.Sprintf(verb, v))
			}
			if b, err := json.Marshal(v); err == nil {
				shown = append(shown, string(b))
			}
		}
		for _, s := range shown {
			for _, part := range []string{string(secret), fmt.Sprintf("%x", secret), fmt.Sprintf("%X", secret), number, listed, strings.ReplaceAll(listed, " ", ", ")} {
				if strings.Contains(s, part) {
					t.Errorf("%s: got %q, want nothing of the key", alg, s)
				}
			}
		}
		if got, want := fmt.Sprintf("%v %+v %#v", k, *k, k), "Key{[redacted]} Key{[redacted]} Key{[redacted]}"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// One key serves all goroutines.
func TestConcurrentUse(t *testing.T) {
	for alg, key := range keys() {
		k := parse(t, pkcs8(key)+block("CERTIFICATE", certificate(key).Raw))
		var group sync.WaitGroup
		for range 8 {
			group.Go(func() {
				signed, err := Assertion(k, alg, "reports", "https://auth.example/token", time.Now())
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := k.TLSCertificate(); err != nil {
					t.Error(err)
				}
				if jws, err := jose.ParseSigned(signed, []jose.SignatureAlgorithm{jose.SignatureAlgorithm(alg)}); err != nil {
					t.Error(err)
				} else if _, err := jws.Verify(key.Public()); err != nil {
					t.Error(err)
				}
			})
		}
		group.Wait()
	}
}
