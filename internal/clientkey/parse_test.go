package clientkey

import (
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"encoding/pem"
	"math/big"
	"slices"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	type signer = interface {
		Equal(crypto.PrivateKey) bool
	}
	for alg, key := range keys() {
		leaf, other := certificate(key), certificate(keys()["ES384"])
		leafPEM, otherPEM := block("CERTIFICATE", leaf.Raw), block("CERTIFICATE", other.Raw)
		texts := map[string]string{
			"PKCS #8":                  pkcs8(key),
			"PKCS #8, chain":           pkcs8(key) + leafPEM + otherPEM,
			"chain, PKCS #8":           leafPEM + otherPEM + pkcs8(key),
			"text around, CRLF":        "\ufeff\r\nBag Attributes\r\n" + strings.ReplaceAll(pkcs8(key), "\n", "\r\n") + "subject=x\r\n",
			"JWK":                      jwk(key, nil),
			"JWK, spaces":              "\n " + jwk(key, nil) + " \n",
			"JWK with all":             jwk(key, map[string]any{"kid": "k-1", "alg": alg, "use": "sig", "x5c": x5c(leaf, other), "key_ops": []string{"sign"}}),
			"JWK with members of null": jwk(key, map[string]any{"kid": "k-1", "x5c": []string{}, "more": nil}),
		}
		switch key := key.(type) {
		case *rsa.PrivateKey:
			texts["PKCS #1"] = block("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(key)) + leafPEM
			texts["JWK without dp, dq and qi"] = jwk(key, map[string]any{"dp": nil, "dq": nil, "qi": nil})
		case *ecdsa.PrivateKey:
			sec1 := block("EC PRIVATE KEY", must(x509.MarshalECPrivateKey(key)))
			texts["SEC 1"] = sec1 + leafPEM
			texts["parameters, SEC 1"] = block("EC PARAMETERS", []byte("\x06\x01x")) + sec1
		}
		for name, text := range texts {
			t.Run(alg+" "+name, func(t *testing.T) {
				k := parse(t, text)
				if !k.signer().(signer).Equal(key) {
					t.Error("got another key than was written")
				}
				if got, err := k.Algorithm(nil); got != alg || err != nil {
					t.Errorf("got algorithm %q, %v, want %q", got, err, alg)
				}
				want := 0
				switch {
				case strings.Contains(name, "chain"), name == "JWK with all":
					want = 2
				case strings.Contains(text, leafPEM):
					want = 1
				}
				if got := k.certificates; len(got) != want || want > 0 && !got[0].Equal(leaf) || want > 1 && !got[1].Equal(other) {
					t.Errorf("got %d certificates, want %d, that of the key first", len(got), want)
				}
			})
		}
	}
}

func TestParseRefuses(t *testing.T) {
	key, second := keys()["ES256"], keys()["RS256"]
	leaf, other := certificate(key), certificate(second)
	public := must(x509.MarshalPKIXPublicKey(key.Public()))
	encrypted := func(kind string) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: []byte("sentinel-of-a-key"), Headers: map[string]string{"Proc-Type": "4,ENCRYPTED", "DEK-Info": "AES-256-CBC,00"}}))
	}
	short := must(rsa.GenerateKey(rand.Reader, 1024))
	long := must(asn1.Marshal([]any{0, new(big.Int).Lsh(big.NewInt(1), 9000)}))
	type m = map[string]any
	for _, tt := range []struct {
		name, text string
		want       error
	}{
		{"nothing", "", errNeither},
		{"a word", "sentinel-of-a-key", errNeither},
		{"a file name", "/etc/tls/private.pem", errNeither},
		{"a DER", string(must(x509.MarshalPKCS8PrivateKey(key))), errNeither},
		{"too long", pkcs8(key) + strings.Repeat(" ", maxText), errTooLong},
		{"certificate alone", block("CERTIFICATE", leaf.Raw), errNoKey},
		{"two keys", pkcs8(key) + pkcs8(second), errSeveral},
		{"the same key twice", pkcs8(key) + block("EC PRIVATE KEY", must(x509.MarshalECPrivateKey(key.(*ecdsa.PrivateKey)))), errSeveral},
		{"encrypted PKCS #8", block("ENCRYPTED PRIVATE KEY", []byte("sentinel-of-a-key")), errEncrypted},
		{"encrypted PKCS #1", encrypted("RSA PRIVATE KEY"), errEncrypted},
		{"encrypted SEC 1", encrypted("EC PRIVATE KEY"), errEncrypted},
		{"an encrypted key beside one that is not", pkcs8(key) + encrypted("EC PRIVATE KEY"), errEncrypted},
		{"public key", block("PUBLIC KEY", public), errPublic},
		{"public RSA key", block("RSA PUBLIC KEY", x509.MarshalPKCS1PublicKey(&second.(*rsa.PrivateKey).PublicKey)), errPublic},
		{"OpenSSH key", block("OPENSSH PRIVATE KEY", []byte("openssh-key-v1\x00")), errBlock},
		{"certificate request", pkcs8(key) + block("CERTIFICATE REQUEST", []byte("x")), errBlock},
		{"garbage in PKCS #8", block("PRIVATE KEY", []byte("sentinel-of-a-key")), errUnreadable},
		{"a key of a length that is not read", block("PRIVATE KEY", make([]byte, maxKeyDER+1)), errUnreadable},
		{"SEC 1 called PKCS #1", block("RSA PRIVATE KEY", must(x509.MarshalECPrivateKey(key.(*ecdsa.PrivateKey)))), errUnreadable},
		{"cut off", pkcs8(key)[:100], errDamaged},
		{"one line", strings.ReplaceAll(pkcs8(key), "\n", `\n`), errDamaged},
		{"a damaged certificate", pkcs8(key) + strings.Replace(block("CERTIFICATE", leaf.Raw), "\nMI", "\n?!", 1), errDamaged},
		{"a certificate that is none", pkcs8(key) + block("CERTIFICATE", []byte("sentinel-of-a-key")), errCertificate},
		{"certificate of another key", pkcs8(key) + block("CERTIFICATE", other.Raw), errOtherCertificate},
		{"certificate of another key first", pkcs8(key) + block("CERTIFICATE", other.Raw) + block("CERTIFICATE", leaf.Raw), errOtherCertificate},
		{"RSA of 1024 bits", pkcs8(short), errShortRSA},
		{"RSA of 1024 bits, PKCS #1", block("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(short)), errShortRSA},
		{"RSA of 1024 bits, JWK", jwk(short, nil), errShortRSA},
		{"P-224", pkcs8(must(ecdsa.GenerateKey(elliptic.P224(), rand.Reader))), errKind},
		{"X25519", pkcs8(must(ecdh.X25519().GenerateKey(rand.Reader))), errKind},

		{"not JSON", `{"kty":"EC","d":"sentinel-of-a-key"`, errNeither},
		{"something after the JWK", jwk(key, nil) + "sentinel-of-a-key", errNeither},
		{"an object", `{"a":1}`, errNeither},
		{"an array", "[" + jwk(key, nil) + "]", errNeither},
		{"public JWK", jwk(key, m{"d": nil}), errPublic},
		{"symmetric JWK", `{"kty":"oct","k":"c2VudGluZWwtb2YtYS1rZXk"}`, errSymmetric},
		{"JWK Set", `{"keys":[` + jwk(key, nil) + `]}`, errSet},
		{"JWK Set of a key", jwk(key, m{"keys": []any{}}), errSet},
		{"unknown kty", jwk(key, m{"kty": "sentinel-of-a-key"}), errKind},
		{"unknown curve", jwk(key, m{"crv": "sentinel-of-a-key"}), errKind},
		{"secp256k1", jwk(key, m{"crv": "secp256k1"}), errKind},
		{"Ed25519 as EC", jwk(key, m{"crv": "Ed25519"}), errKind},
		{"X25519, JWK", jwk(key, m{"kty": "OKP", "crv": "X25519"}), errKind},
		{"no x", jwk(key, m{"x": nil}), errJWK},
		{"d of another key", jwk(key, m{"d": base64.RawURLEncoding.EncodeToString(make([]byte, 31)) + "B"}), errJWK},
		{"d with a character that is none", jwk(key, m{"d": "sentinel of a key"}), errJWK},
		{"d that is a number", jwk(key, m{"d": 1}), errJWK},
		{"a kid that is a number", jwk(key, m{"kid": 1}), errJWK},
		{"RSA without primes", jwk(second, m{"p": nil, "q": nil}), errJWK},
		{"RSA with a d of its own", jwk(second, m{"d": "AQAB"}), errJWK},
		{"a member twice", strings.TrimSuffix(jwk(key, nil), "}") + `,"d":"AQAB"}`, errJWK},
		{"RSA of 8200 bits", jwk(second, m{"n": base64.RawURLEncoding.EncodeToString(make([]byte, 1025))}), errLongRSA},
		{"RSA with a long prime", jwk(second, m{"p": base64.RawURLEncoding.EncodeToString(make([]byte, 1025))}), errLongRSA},
		{"RSA with a long prime, PKCS #1", block("RSA PRIVATE KEY", long), errLongRSA},
		{"RSA with a long prime, PKCS #8", block("PRIVATE KEY", must(asn1.Marshal([]any{0, long}))), errLongRSA},
		{"alg of a MAC", jwk(key, m{"alg": "HS256"}), errAlgorithm},
		{"alg of another curve", jwk(key, m{"alg": "ES384"}), errAlgorithm},
		{"alg of another kind", jwk(key, m{"alg": "RS256"}), errAlgorithm},
		{"none", jwk(key, m{"alg": "none"}), errAlgorithm},
		{"RS512, which is not supported", jwk(second, m{"alg": "RS512"}), errAlgorithm},
		{"alg of encryption", jwk(second, m{"alg": "RSA-OAEP"}), errAlgorithm},
		{"use of encryption", jwk(key, m{"use": "enc"}), errUse},
		{"x5c of another key", jwk(key, m{"x5c": x5c(other)}), errOtherCertificate},
		{"x5c in base64url", jwk(key, m{"x5c": []string{"-_-_"}}), errCertificate},
		{"x5c that is none", jwk(key, m{"x5c": []string{"AAAA"}}), errCertificate},
		{"x5c that is a text", jwk(key, m{"x5c": "AAAA"}), errCertificate},
	} {
		t.Run(tt.name, func(t *testing.T) {
			k, err := Parse(tt.text)
			if k != nil || err != tt.want {
				t.Fatalf("got %v, %v, want the error %q", k, err, tt.want)
			}
			wantNothingOf(t, err, tt.text)
		})
	}
}

// problems are all errors of Parse.
var problems = []error{
	errTooLong, errNeither, errNoKey, errSeveral, errEncrypted, errDamaged, errBlock, errUnreadable, errKind, errShortRSA, errLongRSA,
	errPublic, errSymmetric, errSet, errJWK, errUse, errAlgorithm, errCertificate, errOtherCertificate,
}

func FuzzClientKey(f *testing.F) {
	for _, key := range keys() {
		leaf := certificate(key)
		f.Add(pkcs8(key) + block("CERTIFICATE", leaf.Raw))
		f.Add(jwk(key, map[string]any{"kid": "k-1", "x5c": x5c(leaf)}))
	}
	f.Add(block("EC PRIVATE KEY", must(x509.MarshalECPrivateKey(keys()["ES256"].(*ecdsa.PrivateKey)))))
	f.Add(block("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(keys()["RS256"].(*rsa.PrivateKey))))
	f.Add(block("ENCRYPTED PRIVATE KEY", nil))
	f.Fuzz(func(t *testing.T, text string) {
		k, err := Parse(text)
		if err != nil {
			// All of them are fixed texts, which have nothing of what was read.
			if k != nil || !slices.Contains(problems, err) {
				t.Errorf("got %v, %v, want no key and a text of our own", k, err)
			}
			return
		}
		alg, err := k.Algorithm(nil)
		if err != nil {
			t.Fatal(err)
		}
		signed, err := k.Sign(alg, struct{}{})
		if err != nil {
			t.Fatalf("got %v, want a key that signs", err)
		}
		verify(t, signed, alg, k.signer().Public())
		if _, err := k.TLSCertificate(); (err == nil) != (len(k.certificates) > 0) {
			t.Errorf("got %v with %d certificates, want an error without them", err, len(k.certificates))
		}
	})
}
