package idtoken

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/big"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authprofile/authprofile/internal/catalog"
	"github.com/authprofile/authprofile/internal/discovery"
	"github.com/authprofile/authprofile/internal/issuer"
	"github.com/authprofile/authprofile/internal/webtest"
)

// A testKey signs ID tokens and publishes itself.
type testKey struct {
	id, alg string
	private crypto.Signer
}

var rsaKeys = sync.OnceValue(func() []*rsa.PrivateKey { // slow to make
	var keys []*rsa.PrivateKey
	for range 2 {
		k, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			panic(err)
		}
		keys = append(keys, k)
	}
	return keys
})

func newTestKey(id, alg string) testKey {
	var private crypto.Signer
	var err error
	switch alg {
	case "ES256":
		private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "ES384":
		private, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case "ES512":
		private, err = ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	case "EdDSA":
		_, private, err = ed25519.GenerateKey(rand.Reader)
	default:
		private = rsaKeys()[0]
	}
	if err != nil {
		panic(err)
	}
	return testKey{id, alg, private}
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// jwk returns the public key as a JSON Web Key, with some members changed; nil
// removes one.
func (k testKey) jwk(changes map[string]any) map[string]any {
	m := map[string]any{"kid": k.id, "alg": k.alg, "use": "sig"}
	switch pub := k.private.Public().(type) {
	case *rsa.PublicKey:
		m["kty"], m["n"], m["e"] = "RSA", b64(pub.N.Bytes()), b64(big.NewInt(int64(pub.E)).Bytes())
	case *ecdsa.PublicKey:
		point, err := pub.Bytes()
		if err != nil {
			panic(err)
		}
		half := len(point) / 2
		m["kty"], m["crv"], m["x"], m["y"] = "EC", pub.Params().Name, b64(point[1:1+half]), b64(point[1+half:])
	case ed25519.PublicKey:
		m["kty"], m["crv"], m["x"] = "OKP", "Ed25519", b64(pub)
	}
	for name, value := range changes {
		if m[name] = value; value == nil {
			delete(m, name)
		}
	}
	return m
}

func keySetOf(keys ...map[string]any) string {
	if keys == nil {
		keys = []map[string]any{}
	}
	text, err := json.Marshal(map[string]any{"keys": keys})
	if err != nil {
		panic(err)
	}
	return string(text)
}

// sign makes a token. Header and claims are JSON texts, so that they can be
// wrong in every way.
func (k testKey) sign(header, claims string) string {
	text := b64([]byte(header)) + "." + b64([]byte(claims))
	hash := map[string]crypto.Hash{"256": crypto.SHA256, "384": crypto.SHA384, "512": crypto.SHA512}[k.alg[len(k.alg)-3:]]
	digest := []byte(text)
	if hash != 0 {
		h := hash.New()
		h.Write(digest)
		digest = h.Sum(nil)
	}
	var sig []byte
	var err error
	switch private := k.private.(type) {
	case *ecdsa.PrivateKey:
		var r, s *big.Int
		if r, s, err = ecdsa.Sign(rand.Reader, private, digest); err == nil {
			size := (private.Params().BitSize + 7) / 8
			sig = slices.Concat(r.FillBytes(make([]byte, size)), s.FillBytes(make([]byte, size)))
		}
	case *rsa.PrivateKey:
		if k.alg[0] == 'P' {
			sig, err = private.Sign(rand.Reader, digest, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: hash})
			break
		}
		sig, err = private.Sign(rand.Reader, digest, hash)
	default:
		sig, err = private.Sign(rand.Reader, digest, hash)
	}
	if err != nil {
		panic(err)
	}
	return text + "." + b64(sig)
}

func (k testKey) header() string { return fmt.Sprintf(`{"alg":%q,"kid":%q,"typ":"JWT"}`, k.alg, k.id) }

// claimsAt are the claims of a good token, with some changed; nil removes one.
func claimsAt(now time.Time, changes map[string]any) string {
	m := map[string]any{
		"iss": webtest.Issuer, "sub": "248289761001", "aud": "client", "nonce": "n-0S6_WzA2Mj",
		"exp": now.Add(time.Hour).Unix(), "iat": now.Unix(),
	}
	for name, value := range changes {
		if m[name] = value; value == nil {
			delete(m, name)
		}
	}
	text, err := json.Marshal(m)
	if err != nil {
		panic(err)
	}
	return string(text)
}

// A tokenTest is a provider that publishes a key set.
type tokenTest struct {
	*webtest.Web
	docs *discovery.Cache
	by   issuer.Issuer
	keys *KeySet
	key  testKey
	now  func() time.Time
}

func newTokenTest(key testKey, set string) *tokenTest {
	w := webtest.New()
	w.Set(webtest.KeysURL, webtest.JSON(set))
	docs := discovery.NewCache(w.Client(), slog.New(slog.DiscardHandler))
	return &tokenTest{
		Web: w, docs: docs, key: key, now: time.Now,
		by:   issuer.Issuer{Name: webtest.Issuer, Origin: webtest.Issuer},
		keys: NewKeySet(docs, webtest.KeysURL, nil),
	}
}

func (tt *tokenTest) verify(ctx context.Context, raw string) (*Claims, error) {
	return VerifyLogin(ctx, raw, tt.by, tt.keys, Login{ClientID: "client", AccessToken: "access", Code: "code", Nonce: "n-0S6_WzA2Mj"}, tt.now())
}

// good returns a token that is valid now.
func (tt *tokenTest) good() string { return tt.key.sign(tt.key.header(), claimsAt(time.Now(), nil)) }

// isWrong reports whether an error says that a document has to be corrected.
func isWrong(err error) bool {
	e, ok := errors.AsType[*discovery.Error](err)
	return ok && e.Wrong
}

// wantInvalid checks that a token was refused for what it is, in words that
// have nothing of it.
func wantInvalid(t *testing.T, err error) {
	t.Helper()
	var invalid *Error
	if !errors.As(err, &invalid) {
		t.Errorf("got %v, want an Error", err)
		return
	}
	for _, text := range []string{"S3NT1NEL", "evil", "248289761001"} {
		if strings.Contains(err.Error(), text) {
			t.Errorf("got %q, want nothing of the token in it", err)
		}
	}
}

func TestThreat101_Algorithms(t *testing.T) {
	for _, alg := range signingAlgs {
		t.Run("101 accepted "+alg, func(t *testing.T) {
			key := newTestKey("k", alg)
			tt := newTokenTest(key, keySetOf(key.jwk(nil)))
			c, err := tt.verify(t.Context(), tt.good())
			if err != nil || c.Subject != "248289761001" || c.Issuer != webtest.Issuer {
				t.Fatalf("got %+v, %v, want the claims", c, err)
			}
			// 102: one bit of the signature, and one of what is signed.
			parts := strings.Split(tt.good(), ".")
			sig, _ := base64.RawURLEncoding.DecodeString(parts[2])
			sig[len(sig)/2] ^= 1
			_, err = tt.verify(t.Context(), parts[0]+"."+parts[1]+"."+b64(sig))
			wantInvalid(t, err)
			_, err = tt.verify(t.Context(), parts[0]+"."+b64([]byte(claimsAt(time.Now(), map[string]any{"sub": "evil"})))+"."+parts[2])
			wantInvalid(t, err)
			_, err = tt.verify(t.Context(), parts[0]+"."+parts[1]+".")
			wantInvalid(t, err)
		})
	}

	key := newTestKey("k", "RS256")
	pub := key.private.Public().(*rsa.PublicKey)
	hmacWith := func(secret []byte) func(string) string {
		return func(claims string) string {
			text := b64([]byte(`{"alg":"HS256","kid":"k"}`)) + "." + b64([]byte(claims))
			mac := hmac.New(sha256.New, secret)
			mac.Write([]byte(text))
			return text + "." + b64(mac.Sum(nil))
		}
	}
	jwk, err := json.Marshal(key.jwk(nil))
	if err != nil {
		t.Fatal(err)
	}
	ec := newTestKey("k", "ES256")
	for name, sign := range map[string]func(claims string) string{
		"101 none":                     func(c string) string { return b64([]byte(`{"alg":"none"}`)) + "." + b64([]byte(c)) + "." },
		"101 None":                     func(c string) string { return b64([]byte(`{"alg":"None"}`)) + "." + b64([]byte(c)) + "." },
		"101 none, signed":             func(c string) string { return key.sign(`{"alg":"none","kid":"k"}`, c) },
		"101 no alg":                   func(c string) string { return key.sign(`{"kid":"k"}`, c) },
		"101 alg a number":             func(c string) string { return key.sign(`{"alg":256,"kid":"k"}`, c) },
		"101 HS256, modulus":           hmacWith(pub.N.Bytes()),
		"101 HS256, key":               hmacWith(jwk),
		"101 HS256, secret":            hmacWith([]byte("client secret")),
		"101 HS256, empty":             hmacWith(nil),
		"101 alg of another type":      func(c string) string { return key.sign(`{"alg":"ES256","kid":"k"}`, c) },
		"101 another alg of the type":  func(c string) string { return key.sign(`{"alg":"RS512","kid":"k"}`, c) },
		"101 alg not that of the key":  func(c string) string { return testKey{"k", "PS256", key.private}.sign(`{"alg":"PS256","kid":"k"}`, c) },
		"101 another key of that name": func(c string) string { return testKey{"k", "RS256", rsaKeys()[1]}.sign(key.header(), c) },
		"101 key in the header": func(c string) string {
			jwk, _ := json.Marshal(ec.jwk(map[string]any{"use": nil}))
			return ec.sign(fmt.Sprintf(`{"alg":"ES256","kid":"k","jwk":%s}`, jwk), c)
		},
		"113 crit": func(c string) string {
			return key.sign(`{"alg":"RS256","kid":"k","crit":["S3NT1NEL"],"S3NT1NEL":1}`, c)
		},
		"113 crit with b64": func(c string) string { return key.sign(`{"alg":"RS256","kid":"k","crit":["b64"],"b64":false}`, c) },
		"113 crit empty":    func(c string) string { return key.sign(`{"alg":"RS256","kid":"k","crit":[]}`, c) },
		"113 crit null":     func(c string) string { return key.sign(`{"alg":"RS256","kid":"k","crit":null}`, c) },
		"101 alg twice":     func(c string) string { return key.sign(`{"alg":"none","kid":"k","alg":"RS256"}`, c) },
		"101 header a list": func(c string) string { return key.sign(`["S3NT1NEL"]`, c) },
		"101 kid a number":  func(c string) string { return key.sign(`{"alg":"RS256","kid":7}`, c) },
		"113 JSON serialisation": func(c string) string {
			parts := strings.Split(key.sign(key.header(), c), ".")
			return fmt.Sprintf(`{"protected":%q,"payload":%q,"signature":%q}`, parts[0], parts[1], parts[2])
		},
	} {
		t.Run(name, func(t *testing.T) {
			tt := newTokenTest(key, keySetOf(key.jwk(nil)))
			_, err := tt.verify(t.Context(), sign(claimsAt(time.Now(), nil)))
			wantInvalid(t, err)
		})
	}

	for _, test := range []struct {
		name   string
		listed []string
		want   bool
	}{
		{"066 not listed at all", nil, true},
		{"066 listed", []string{"HS256", "none", "RS256"}, true},
		{"066 not among the listed", []string{"ES256"}, false},
		{"066 only what is never accepted", []string{"HS256", "none"}, true},
		{"066 only what is not known", []string{"ML-DSA-44"}, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			tt := newTokenTest(key, keySetOf(key.jwk(nil)))
			tt.keys = NewKeySet(tt.docs, webtest.KeysURL, test.listed)
			if _, err := tt.verify(t.Context(), tt.good()); (err == nil) != test.want {
				t.Errorf("got %v, want accepted: %t", err, test.want)
			}
			for _, alg := range tt.keys.algs {
				if !slices.Contains(signingAlgs, alg) {
					t.Errorf("algorithms: got %s among them", alg)
				}
			}
		})
	}
}

func TestThreat103_Claims(t *testing.T) {
	type change = map[string]any
	now := time.Now()
	at := func(d time.Duration) int64 { return now.Add(d).Unix() }
	long := strings.Repeat("x", maxSubject)
	for _, test := range []struct {
		name    string
		changes change
		want    bool
	}{
		{"103 iss wrong", change{"iss": "https://evil.example.com"}, false},
		{"103 iss missing", change{"iss": nil}, false},
		{"103 iss with a slash", change{"iss": webtest.Issuer + "/"}, false},
		{"103 iss in another case", change{"iss": "https://IDP.example.com"}, false},
		{"103 iss a list", change{"iss": []string{webtest.Issuer}}, false},

		{"104 aud wrong", change{"aud": "evil"}, false},
		{"104 aud missing", change{"aud": nil}, false},
		{"104 aud empty", change{"aud": ""}, false},
		{"104 aud none", change{"aud": []string{}}, false},
		{"104 aud in a list", change{"aud": []string{"client"}}, true},
		{"104 aud in another case", change{"aud": "Client"}, false},
		{"104 aud foreign", change{"aud": []string{"client", "evil"}}, false},
		{"104 aud foreign first", change{"aud": []string{"evil", "client"}}, false},
		{"104 aud foreign with azp", change{"aud": []string{"client", "project"}, "azp": "client"}, true},
		{"104 aud foreign first, with azp", change{"aud": []string{"project", "client"}, "azp": "client"}, true},
		{"104 aud foreign with another azp", change{"aud": []string{"client", "evil"}, "azp": "evil"}, false},
		{"104 aud foreign with azp a list", change{"aud": []string{"client", "evil"}, "azp": []string{"client"}}, false},
		{"104 aud of others alone", change{"aud": []string{"evil", "project"}, "azp": "client"}, false},
		{"104 several without azp", change{"aud": []string{"client", "client"}}, false},
		{"104 several with azp", change{"aud": []string{"client", "client"}, "azp": "client"}, true},
		{"104 aud a number", change{"aud": 7}, false},
		{"104 aud with a number", change{"aud": []any{"client", 7}}, false},

		{"105 azp", change{"azp": "client"}, true},
		{"105 azp different", change{"azp": "evil"}, false},
		{"105 azp a number", change{"azp": 7}, false},

		{"106 exp past", change{"exp": at(-61 * time.Second), "iat": at(-time.Hour)}, false},
		{"106 exp within the leeway", change{"exp": at(-58 * time.Second), "iat": at(-time.Hour)}, true},
		{"106 exp missing", change{"exp": nil}, false},
		{"106 exp a string", change{"exp": fmt.Sprint(at(time.Hour))}, false},
		{"106 exp a fraction", change{"exp": float64(at(time.Hour)) + 0.5}, true},
		{"106 exp with an exponent", change{"exp": json.Number(fmt.Sprintf("%de0", at(time.Hour)))}, true},
		{"106 exp negative", change{"exp": -1}, false},
		{"106 exp zero", change{"exp": 0}, false},
		{"106 exp huge", change{"exp": json.Number("1e300")}, false},
		{"106 exp too huge for a float", change{"exp": json.Number("1e999")}, false},
		{"106 exp true", change{"exp": true}, false},
		{"106 iat missing", change{"iat": nil}, false},
		{"106 iat in the future", change{"iat": at(62 * time.Second)}, false},
		{"106 iat within the leeway", change{"iat": at(58 * time.Second)}, true},
		{"106 iat a string", change{"iat": "1"}, false},
		{"106 iat negative", change{"iat": -5}, false},
		{"106 nbf in the future", change{"nbf": at(62 * time.Second)}, false},
		{"106 nbf within the leeway", change{"nbf": at(58 * time.Second)}, true},
		{"106 nbf past", change{"nbf": at(-time.Hour)}, true},
		{"106 nbf a string", change{"nbf": "1"}, false},

		{"107 nonce wrong", change{"nonce": "evil"}, false},
		{"107 nonce missing", change{"nonce": nil}, false},
		{"107 nonce empty", change{"nonce": ""}, false},
		{"107 nonce in another case", change{"nonce": "N-0S6_WzA2Mj"}, false},

		{"108 sub missing", change{"sub": nil}, false},
		{"108 sub empty", change{"sub": ""}, false},
		{"108 sub the longest", change{"sub": long}, true},
		{"108 sub too long", change{"sub": long + "x"}, false},
		{"108 sub a number", change{"sub": json.Number("248289761001")}, false},
		{"108 sub with a control character", change{"sub": "a\x00b"}, false},

		{"109 at_hash", change{"at_hash": halfHash("ES256", "access")}, true},
		{"109 at_hash wrong", change{"at_hash": halfHash("ES256", "evil")}, false},
		{"109 at_hash of another algorithm", change{"at_hash": halfHash("ES384", "access")}, false},
		{"109 at_hash a number", change{"at_hash": 7}, false},
		{"109 c_hash", change{"c_hash": halfHash("ES256", "code")}, true},
		{"109 c_hash wrong", change{"c_hash": halfHash("ES256", "evil")}, false},

		{"claims without a use", change{"tid": 7, "auth_time": "yesterday", "acr": []int{1}, "roles": nil, "_claim_names": "x", "_claim_sources": []int{1}}, true},
		{"tid of another provider", change{"tid": "a tenant"}, true},
		{"auth_time that was not asked for", change{"auth_time": -5}, true},

		{"115 the address is no identity", change{"sub": nil, "email": "a@example.com", "email_verified": true}, false},
		{"056 distributed claims are not fetched", change{"_claim_names": change{"a": "s"}, "_claim_sources": change{"s": change{"endpoint": "https://evil.example.com"}},
			"picture": "https://evil.example.com/p"}, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			key := newTestKey("k", "ES256")
			tt := newTokenTest(key, keySetOf(key.jwk(nil)))
			tt.now = func() time.Time { return now }
			_, err := tt.verify(t.Context(), key.sign(key.header(), claimsAt(now, test.changes)))
			if test.want && err != nil {
				t.Errorf("got %v, want no error", err)
			}
			if !test.want {
				wantInvalid(t, err)
			}
			for address, n := range tt.Requests() {
				if address != webtest.KeysURL {
					t.Errorf("requests to %s: got %d, want none", address, n)
				}
			}
		})
	}

	// The value is that of OpenID Connect Core 1.0, appendix A.3.
	if got, want := halfHash("RS256", "jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Y"), "77QmUPtjPfzWtF2AnpK9RQ"; got != want {
		t.Errorf("109 at_hash: got %s, want %s", got, want)
	}

	t.Run("103 a claim twice", func(t *testing.T) {
		key := newTestKey("k", "ES256")
		tt := newTokenTest(key, keySetOf(key.jwk(nil)))
		for _, twice := range []string{`"sub":"evil"`, `"aud":"client"`, `"iss":"evil"`, `"exp":1`, `"nonce":"evil"`, `"azp":"client","azp":"client"`} {
			_, err := tt.verify(t.Context(), key.sign(key.header(), strings.Replace(claimsAt(now, nil), "{", "{"+twice+",", 1)))
			wantInvalid(t, err)
		}
		claims := strings.Replace(claimsAt(now, nil), "{", `{"roles":"a","roles":"b",`, 1)
		if _, err := tt.verify(t.Context(), key.sign(key.header(), claims)); err != nil {
			t.Errorf("one without a use: got %v, want no error", err)
		}
	})
}

func TestThreat110_MaxAge(t *testing.T) {
	now := time.Now()
	key := newTestKey("k", "ES256")
	tt := newTokenTest(key, keySetOf(key.jwk(nil)))
	tt.now = func() time.Time { return now }
	for _, test := range []struct {
		name, maxAge string
		authTime     any
		want         bool
	}{
		{"110 not asked for", "", nil, true},
		{"110 in time", "600", now.Add(-9 * time.Minute).Unix(), true},
		{"110 too old", "600", now.Add(-662 * time.Second).Unix(), false},
		{"110 too old, within the leeway", "600", now.Add(-658 * time.Second).Unix(), true},
		{"110 missing", "600", nil, false},
		{"110 a string", "600", "1", false},
		{"110 zero, now", "0", now.Unix(), true},
		{"110 zero, before", "0", now.Add(-62 * time.Second).Unix(), false},
		{"110 not a number", "soon", now.Unix(), false},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := VerifyLogin(t.Context(), key.sign(key.header(), claimsAt(now, map[string]any{"auth_time": test.authTime})), tt.by, tt.keys,
				Login{ClientID: "client", Nonce: "n-0S6_WzA2Mj", MaxAge: test.maxAge}, tt.now())
			if test.want && err != nil {
				t.Errorf("got %v, want no error", err)
			}
			if !test.want {
				wantInvalid(t, err)
			}
		})
	}
}

func TestThreat111_IDTokenOfARenewal(t *testing.T) {
	type change = map[string]any
	key := newTestKey("k", "ES256")
	for _, test := range []struct {
		name    string
		changes change
		edit    func(*Renewal)
		want    bool
	}{
		{"111 all the same", nil, nil, true},
		{"111 nonce absent", change{"nonce": nil}, nil, true},
		{"111 nonce null", change{"nonce": json.RawMessage("null")}, nil, true},
		{"111 nonce different", change{"nonce": "evil"}, nil, false},
		{"111 nonce a number", change{"nonce": 7}, nil, false},
		{"111 nonce a number, of a grant without one", change{"nonce": 7}, func(want *Renewal) { want.Nonce = "" }, true},
		{"111 nonce of a grant without one", nil, func(want *Renewal) { want.Nonce = "" }, true},
		{"111 sub", change{"sub": "evil"}, nil, false},
		{"111 sub not known", change{"sub": "another"}, func(want *Renewal) { want.Subject = "" }, true},
		{"111 iss", change{"iss": "https://evil.example.com"}, nil, false},
		{"111 iss of the grant", nil, func(want *Renewal) { want.Issuer = "https://before.example.com" }, false},
		{"111 iss not known", nil, func(want *Renewal) { want.Issuer = "" }, true},
		{"111 iss missing", change{"iss": nil}, nil, false},
		{"111 sub missing", change{"sub": nil}, nil, false},
		{"111 sub a number", change{"sub": int64(248289761001)}, nil, false},
		{"111 aud", change{"aud": "evil"}, nil, false},
		{"111 aud missing", change{"aud": nil}, nil, false},
		{"111 aud of others alone", change{"aud": []string{"evil", "project"}, "azp": "client"}, nil, false},
		{"111 aud with others", change{"aud": []string{"project", "client"}}, nil, true},
		{"111 azp", change{"azp": "another"}, nil, true},
		{"111 azp a list", change{"azp": []string{"client"}}, nil, true},
		{"111 exp", change{"exp": 1}, nil, true},
		{"111 exp missing", change{"exp": nil}, nil, true},
		{"111 exp a string", change{"exp": "soon"}, nil, true},
		{"111 iat in the future", change{"iat": time.Now().Add(time.Hour).Unix()}, nil, true},
		{"111 iat missing", change{"iat": nil}, nil, true},
		{"111 iat a string", change{"iat": "now"}, nil, true},
		{"111 nbf in the future", change{"nbf": time.Now().Add(time.Hour).Unix()}, nil, true},
		{"111 nbf a list", change{"nbf": []int{1}}, nil, true},
		{"111 auth_time", change{"auth_time": "yesterday"}, nil, true},
		{"111 at_hash", change{"at_hash": "evil"}, nil, true},
		{"111 at_hash a number", change{"at_hash": 7}, nil, true},
		{"111 c_hash", change{"c_hash": "evil"}, nil, true},
		{"111 c_hash a number", change{"c_hash": 7}, nil, true},
		{"111 tid", change{"tid": 7}, nil, true},
		{"111 larger than that of a login may be", change{"groups": strings.Repeat("x", 2*maxIDToken)}, nil, true},
		{"111 large, of another subject", change{"groups": strings.Repeat("x", 2*maxIDToken), "sub": "evil"}, nil, false},
	} {
		for _, away := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, keys away: %t", test.name, away), func(t *testing.T) {
				tt := newTokenTest(key, keySetOf(key.jwk(nil)))
				if away {
					tt.Set(webtest.KeysURL, webtest.Status(503))
				}
				want := Renewal{ClientID: "client", Nonce: "n-0S6_WzA2Mj", Issuer: webtest.Issuer, Subject: "248289761001"}
				if test.edit != nil {
					test.edit(&want)
				}
				err := VerifyRenewal(t.Context(), key.sign(key.header(), claimsAt(time.Now(), test.changes)), tt.by, tt.keys, want)
				if test.want && err != nil {
					t.Errorf("got %v, want no error", err)
				}
				if !test.want {
					wantInvalid(t, err)
				}
			})
		}
	}

	t.Run("111 a wrong signature is wrong", func(t *testing.T) {
		tt := newTokenTest(key, keySetOf(key.jwk(nil)))
		raw := testKey{"k", "ES256", newTestKey("", "ES256").private}.sign(key.header(), claimsAt(time.Now(), nil))
		wantInvalid(t, VerifyRenewal(t.Context(), raw, tt.by, tt.keys, Renewal{ClientID: "client", Nonce: "n-0S6_WzA2Mj"}))
	})

	t.Run("111 a first authorization insists on the keys", func(t *testing.T) {
		tt := newTokenTest(key, keySetOf(key.jwk(nil)))
		tt.Set(webtest.KeysURL, webtest.Status(503))
		if err := tt.keys.Load(t.Context()); !errors.Is(err, ErrKeysUnavailable) || isWrong(err) {
			t.Errorf("Load: got %v, want ErrKeysUnavailable", err)
		}
		if _, err := tt.verify(t.Context(), tt.good()); !errors.Is(err, ErrKeysUnavailable) {
			t.Errorf("VerifyLogin: got %v, want ErrKeysUnavailable", err)
		}
		tt.keys = nil
		if _, err := tt.verify(t.Context(), tt.good()); err != nil { // there are none to insist on
			t.Errorf("no key set: got %v, want no error", err)
		}
		if err := tt.keys.Load(t.Context()); err != nil {
			t.Errorf("no key set: got %v from Load, want no error", err)
		}
	})

	t.Run("warm keys are not fetched again", func(t *testing.T) {
		tt := newTokenTest(key, keySetOf(key.jwk(nil)))
		if err := tt.keys.Load(t.Context()); err != nil {
			t.Fatal(err)
		}
		tt.Set(webtest.KeysURL, nil)
		if _, err := tt.verify(t.Context(), tt.good()); err != nil || tt.Count(webtest.KeysURL) != 1 {
			t.Errorf("got %v after %d requests, want no error after 1", err, tt.Count(webtest.KeysURL))
		}
	})
}

func TestThreat113_MalformedTokens(t *testing.T) {
	key := newTestKey("k", "ES256")
	tt := newTokenTest(key, keySetOf(key.jwk(nil)))
	good := tt.good()
	parts := strings.Split(good, ".")
	jwe := b64([]byte(`{"alg":"PBES2-HS256+A128KW","enc":"A128CBC-HS256","p2c":2147483647,"p2s":"x","zip":"DEF"}`))
	for name, raw := range map[string]string{
		"113 empty":             "",
		"113 dots":              strings.Repeat(".", 1_000_000),
		"113 many parts":        strings.Repeat("a.", 100) + "a",
		"113 two parts":         parts[0] + "." + parts[1],
		"113 one more part":     good + ".x",
		"113 encrypted":         jwe + ".x.x.x.x",
		"113 large but signed":  key.sign(key.header(), claimsAt(time.Now(), map[string]any{"pad": strings.Repeat("x", maxIDToken)})),
		"113 large header":      strings.Repeat("A", 10<<20) + "." + parts[1] + "." + parts[2],
		"113 large payload":     parts[0] + "." + strings.Repeat("A", 10<<20) + "." + parts[2],
		"113 empty header":      "." + parts[1] + "." + parts[2],
		"113 empty payload":     parts[0] + ".." + parts[2],
		"113 padding":           parts[0] + "=." + parts[1] + "." + parts[2],
		"113 space":             " " + good,
		"113 line end":          good + "\n",
		"113 line end within":   parts[0] + "\r\n." + parts[1] + "." + parts[2],
		"113 other spelling":    good[:len(good)-1] + string("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"[strings.IndexByte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", good[len(good)-1])^1]),
		"113 standard alphabet": "+/" + good,
		"113 deep":              key.sign(key.header(), strings.Repeat("[", 20_000)+strings.Repeat("]", 20_000)),
		"113 payload a list":    key.sign(key.header(), "["+claimsAt(time.Now(), nil)+"]"),
		"113 payload null":      key.sign(key.header(), "null"),
		"113 payload truncated": key.sign(key.header(), claimsAt(time.Now(), nil)[:20]),
		"113 more payload":      key.sign(key.header(), claimsAt(time.Now(), nil)+"{}"),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := tt.verify(t.Context(), raw)
			wantInvalid(t, err)
		})
	}
	if _, err := tt.verify(t.Context(), good); err != nil {
		t.Errorf("the control: got %v, want no error", err)
	}
}

func TestThreat056_KeysAreNotFetchedFromTheToken(t *testing.T) {
	key := newTestKey("k", "ES256")
	evil := newTestKey("evil", "ES256")
	tt := newTokenTest(key, keySetOf(key.jwk(nil)))
	const address = "https://evil.example.com/keys"
	tt.Set(address, webtest.JSON(keySetOf(evil.jwk(nil))))
	for _, member := range []string{"jku", "x5u"} {
		_, err := tt.verify(t.Context(), evil.sign(fmt.Sprintf(`{"alg":"ES256","kid":"evil",%q:%q}`, member, address), claimsAt(time.Now(), nil)))
		wantInvalid(t, err)
	}
	if n := tt.Count(address); n != 0 {
		t.Errorf("056 requests: got %d, want 0", n)
	}
}

func TestThreat061_KeysChange(t *testing.T) {
	older, newer := newTestKey("old", "ES256"), newTestKey("new", "ES256")
	run := func(name string, f func(t *testing.T, tt *tokenTest)) {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { f(t, newTokenTest(older, keySetOf(older.jwk(nil)))) })
		})
	}
	verify := func(t *testing.T, tt *tokenTest, k testKey) error {
		_, err := tt.verify(t.Context(), k.sign(k.header(), claimsAt(time.Now(), nil)))
		synctest.Wait()
		return err
	}

	run("061 just before signing", func(t *testing.T, tt *tokenTest) {
		for i := range 3 { // more than once in a short time
			if err := verify(t, tt, tt.key); err != nil {
				t.Fatalf("before: got %v, want no error", err)
			}
			next := newTestKey(fmt.Sprint(i), "ES256")
			tt.Set(webtest.KeysURL, webtest.JSON(keySetOf(next.jwk(nil))))
			if err := verify(t, tt, next); err != nil {
				t.Errorf("after: got %v, want no error", err)
			}
			wantInvalid(t, verify(t, tt, tt.key))
			tt.key = next
			webtest.Pass(time.Minute)
		}
	})

	run("061 many at once", func(t *testing.T, tt *tokenTest) {
		verify(t, tt, older)
		tt.Set(webtest.KeysURL, func(w http.ResponseWriter, r *http.Request) {
			webtest.Pass(time.Second)
			webtest.JSON(keySetOf(newer.jwk(nil)))(w, r)
		})
		raw := newer.sign(newer.header(), claimsAt(time.Now(), nil))
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				if _, err := tt.verify(t.Context(), raw); err != nil {
					t.Errorf("got %v, want no error", err)
				}
			})
		}
		wg.Wait()
		if n := tt.Count(webtest.KeysURL); n != 2 {
			t.Errorf("requests: got %d, want 2", n)
		}
	})

	run("061 a key without a name", func(t *testing.T, tt *tokenTest) {
		nameless := func(k testKey) string { return keySetOf(k.jwk(map[string]any{"kid": nil})) }
		older, newer := testKey{"", "ES256", older.private}, testKey{"", "ES256", newer.private}
		tt.Set(webtest.KeysURL, webtest.JSON(nameless(older)))
		if err := verify(t, tt, older); err != nil {
			t.Errorf("before: got %v, want no error", err)
		}
		tt.Set(webtest.KeysURL, webtest.JSON(nameless(newer)))
		if err := verify(t, tt, newer); err != nil {
			t.Errorf("after: got %v, want no error", err)
		}
	})

	run("061 a flood of names", func(t *testing.T, tt *tokenTest) {
		const burst, every = 3, 10 * time.Second // how often a document that is fresh is fetched on demand
		began := time.Now()
		for i := range 1000 {
			k := testKey{fmt.Sprint("random", i), "ES256", newer.private}
			err := verify(t, tt, k)
			if wantInvalid(t, err); err != nil && !strings.Contains(err.Error(), "signature") {
				t.Errorf("got %q, want one about the signature", err)
			}
			webtest.Pass(100 * time.Millisecond)
		}
		if n, limit := tt.Count(webtest.KeysURL), 1+burst+int(time.Since(began)/every); n > limit {
			t.Errorf("requests in %v: got %d, want at most %d", time.Since(began), n, limit)
		}
		if err := verify(t, tt, older); err != nil {
			t.Errorf("a good token meanwhile: got %v, want no error", err)
		}
	})

	for name, h := range map[string]http.HandlerFunc{
		"away": nil, "404": webtest.Status(404), "500": webtest.Status(500), "HTML": webtest.JSON("<html>", "Content-Type", "text/html"),
		"no keys": webtest.JSON(keySetOf()), "no good keys": webtest.JSON(`{"keys":[{"kty":"oct","k":"AAAA"}]}`), "endless": webtest.JSON(strings.Repeat(" ", 256<<10+1)),
		"elsewhere": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://evil.example.com/keys", http.StatusFound)
		},
	} {
		run("060 the last good keys are kept: "+name, func(t *testing.T, tt *tokenTest) {
			tt.Set("https://evil.example.com/keys", webtest.JSON(keySetOf(newer.jwk(nil))))
			if err := verify(t, tt, older); err != nil {
				t.Fatal(err)
			}
			tt.Set(webtest.KeysURL, h)
			for range 7*24 - 1 {
				webtest.Pass(time.Hour)
				if err := verify(t, tt, older); err != nil {
					t.Fatalf("within a week: got %v, want no error", err)
				}
			}
			// Whether a key that is not known has signed cannot be told now.
			if err := verify(t, tt, newer); !errors.Is(err, ErrKeysUnavailable) {
				t.Errorf("another key: got %v, want ErrKeysUnavailable", err)
			}
			webtest.Pass(2 * time.Hour)
			if err := verify(t, tt, older); !errors.Is(err, ErrKeysUnavailable) {
				t.Errorf("after a week: got %v, want ErrKeysUnavailable", err)
			}
			if n := tt.Count("https://evil.example.com/keys"); n != 0 {
				t.Errorf("requests to the other origin: got %d, want 0", n)
			}
		})
	}

	run("061 another caller has brought the later keys", func(t *testing.T, tt *tokenTest) {
		keys, err := tt.keys.keys(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		for range 10 {
			if later, err := tt.keys.keys(t.Context(), keys); err != nil || later == keys {
				t.Errorf("got %v, %v, want later keys", later, err)
			}
		}
		if n := tt.Count(webtest.KeysURL); n != 2 {
			t.Errorf("requests: got %d, want 2", n)
		}
	})

	run("061 a caller leaves", func(t *testing.T, tt *tokenTest) {
		tt.Set(webtest.KeysURL, func(w http.ResponseWriter, r *http.Request) {
			webtest.Pass(3 * time.Second)
			webtest.JSON(keySetOf(older.jwk(nil)))(w, r)
		})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := tt.keys.Load(ctx); !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, ErrKeysUnavailable) {
			t.Errorf("got %v, want DeadlineExceeded", err)
		}
		if err := tt.keys.Load(t.Context()); err != nil || tt.Count(webtest.KeysURL) != 1 {
			t.Errorf("got %v after %d requests, want no error after 1", err, tt.Count(webtest.KeysURL))
		}
	})
}

func TestThreat062_KeySets(t *testing.T) {
	type change = map[string]any
	rs, other := newTestKey("k", "RS256"), testKey{"k", "RS256", rsaKeys()[1]}
	es, ed, p384 := newTestKey("k", "ES256"), newTestKey("k", "EdDSA"), newTestKey("k", "ES384")
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	nameless := func(k testKey) testKey { return testKey{"", k.alg, k.private} }
	many := func(last map[string]any) string {
		var keys []map[string]any
		for i := range 99 {
			keys = append(keys, newTestKey(fmt.Sprint(i), "EdDSA").jwk(nil))
		}
		return keySetOf(append(keys, last)...)
	}
	for _, test := range []struct {
		name string
		key  testKey
		set  string
		want bool
	}{
		{"062 without alg and use", rs, keySetOf(rs.jwk(change{"alg": nil, "use": nil})), true},
		{"062 no kid in the token, one key", nameless(rs), keySetOf(rs.jwk(nil)), true},
		{"062 no kid in the token, several keys", nameless(rs), keySetOf(other.jwk(nil), es.jwk(nil), rs.jwk(change{"kid": "x"})), true},
		{"062 no kid in the key", rs, keySetOf(rs.jwk(change{"kid": nil})), true},
		{"062 kid of another key", rs, keySetOf(rs.jwk(change{"kid": "x"})), false},
		{"062 kid in another case", rs, keySetOf(rs.jwk(change{"kid": "K"})), false},
		{"062 duplicate kid", rs, keySetOf(other.jwk(nil), rs.jwk(nil)), true},
		{"062 duplicate kid of another type", rs, keySetOf(es.jwk(nil), ed.jwk(nil), rs.jwk(nil)), true},
		{"062 use=enc", rs, keySetOf(rs.jwk(change{"use": "enc"})), false},
		{"062 key_ops", rs, keySetOf(rs.jwk(change{"use": nil, "key_ops": []string{"verify"}})), true},
		{"062 key_ops of encryption", rs, keySetOf(rs.jwk(change{"use": nil, "key_ops": []string{"encrypt"}})), false},
		{"062 alg of encryption", rs, keySetOf(rs.jwk(change{"alg": "RSA-OAEP"})), false},
		{"062 another alg", rs, keySetOf(rs.jwk(change{"alg": "RS512"})), false},
		{"062 alg of another type", rs, keySetOf(rs.jwk(change{"alg": "ES256"})), false},
		{"062 weak RSA", testKey{"k", "RS256", weak}, keySetOf(testKey{"k", "RS256", weak}.jwk(nil)), false},
		{"062 even exponent", rs, keySetOf(rs.jwk(change{"e": "Ag"})), false},
		{"062 exponent 1", rs, keySetOf(rs.jwk(change{"e": "AQ"})), false},
		{"062 huge exponent", rs, keySetOf(rs.jwk(change{"e": b64([]byte(strings.Repeat("\xff", 16)))})), false},
		{"062 huge modulus", rs, keySetOf(rs.jwk(change{"n": b64([]byte(strings.Repeat("\xff", 4096)))})), false},
		{"062 a private key that was published", rs, keySetOf(rs.jwk(change{"d": "AQAB"})), false},
		{"062 oct", rs, keySetOf(change{"kty": "oct", "kid": "k", "k": b64([]byte("secret secret secret secret 1234"))}), false},
		{"062 off the curve", es, keySetOf(es.jwk(change{"y": es.jwk(nil)["x"]})), false},
		{"062 point at zero", es, keySetOf(es.jwk(change{"x": b64(make([]byte, 32)), "y": b64(make([]byte, 32))})), false},
		{"062 another curve", es, keySetOf(es.jwk(change{"crv": "P-384"})), false},
		{"062 unknown curve", es, keySetOf(es.jwk(change{"crv": "secp256k1"})), false},
		{"062 key of another curve", testKey{"k", "ES256", p384.private}, keySetOf(p384.jwk(change{"alg": nil})), false},
		{"062 short Ed25519", ed, keySetOf(ed.jwk(change{"x": "AAAA"})), false},
		{"062 kid a number", rs, keySetOf(rs.jwk(change{"kid": 7})), false},
		{"062 beside kinds that are not known", rs, keySetOf(change{"kty": "LMS"}, change{}, change{"kty": 7}, change{"kty": "OKP", "crv": "Ed448", "x": "AA"}, rs.jwk(nil)), true},
		{"062 beside certificates that are none", rs, keySetOf(rs.jwk(change{"x5c": []string{"AAAA"}, "x5t": "!", "x5t#S256": "AA", "x5u": "::"})), true},
		{"062 a member of another kind", rs, keySetOf(rs.jwk(change{"x": "!", "crv": "none"})), true},
		{"062 the hundredth", ed, many(ed.jwk(nil)), true},
		{"062 too many", ed, strings.Replace(many(ed.jwk(nil)), `{"keys":[`, `{"keys":[`+mustJSON(es.jwk(nil))+`,`, 1), false},
	} {
		t.Run(test.name, func(t *testing.T) {
			tt := newTokenTest(test.key, test.set)
			header := test.key.header()
			if test.key.id == "" {
				header = fmt.Sprintf(`{"alg":%q}`, test.key.alg)
			}
			_, err := tt.verify(t.Context(), test.key.sign(header, claimsAt(time.Now(), nil)))
			var invalid *Error
			switch {
			case test.want && err != nil:
				t.Errorf("got %v, want no error", err)
			case !test.want && !errors.As(err, &invalid) && !errors.Is(err, ErrKeysUnavailable): // the latter if no key is left
				t.Errorf("got %v, want one about the signature or the keys", err)
			}
		})
	}

	// None of these is a key that could be tried.
	loose := func(s string) string { // of another spelling, which decodes to the same
		const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
		return s[:len(s)-1] + string(digits[strings.IndexByte(digits, s[len(s)-1])|1])
	}
	ones := func(n int) string { return b64([]byte(strings.Repeat("\xff", n))) }
	for name, jwk := range map[string]map[string]any{
		"enc":                  rs.jwk(change{"use": "enc"}),
		"key_ops":              rs.jwk(change{"key_ops": []string{"encrypt"}}),
		"key_ops none":         rs.jwk(change{"key_ops": []string{}}),
		"key_ops text":         rs.jwk(change{"key_ops": "verify"}),
		"alg of encryption":    rs.jwk(change{"alg": "RSA-OAEP"}),
		"HS256":                rs.jwk(change{"alg": "HS256"}),
		"alg of another type":  rs.jwk(change{"alg": "ES256"}),
		"alg of another curve": p384.jwk(change{"alg": "ES256"}),
		"alg a number":         rs.jwk(change{"alg": 256}),
		"private":              rs.jwk(change{"d": "AQAB"}),
		"weak":                 testKey{"k", "RS256", weak}.jwk(nil),
		"even modulus":         rs.jwk(change{"n": b64(append([]byte{0x80}, make([]byte, 255)...))}),
		"huge modulus":         rs.jwk(change{"n": ones(maxRSABits/8 + 1)}),
		"modulus not base64":   rs.jwk(change{"n": "!"}),
		"loose bits":           es.jwk(change{"x": loose(es.jwk(nil)["x"].(string))}),
		"no modulus":           rs.jwk(change{"n": nil}),
		"exponent 1":           rs.jwk(change{"e": "AQ"}),
		"even exponent":        rs.jwk(change{"e": "BA"}),
		"huge exponent":        rs.jwk(change{"e": ones(5)}),
		"huger exponent":       rs.jwk(change{"e": ones(9)}),
		"no exponent":          rs.jwk(change{"e": ""}),
		"off the curve":        es.jwk(change{"y": es.jwk(nil)["x"]}),
		"long coordinate":      es.jwk(change{"x": ones(33)}),
		"unknown curve":        es.jwk(change{"crv": "P-224", "alg": nil}),
		"short Ed25519":        ed.jwk(change{"x": "AAAA"}),
		"long Ed25519":         ed.jwk(change{"x": ones(33)}),
		"low order":            ed.jwk(change{"x": b64(make([]byte, ed25519.PublicKeySize))}),
		"X25519":               ed.jwk(change{"crv": "X25519"}),
		"oct":                  {"kty": "oct", "k": ones(32)},
	} {
		if keys, err := parseKeys([]byte(keySetOf(jwk))); err == nil {
			t.Errorf("062 %s: got %v, want no key", name, keys.list)
		}
	}

	for name, body := range map[string]string{
		"not JSON": "S3NT1NEL", "array": "[]", "null": "null", "no keys": "{}", "keys null": `{"keys":null}`, "keys an object": `{"keys":{"S3NT1NEL":1}}`,
		"keys twice": `{"keys":[],"keys":[` + mustJSON(rs.jwk(nil)) + `]}`, "empty": `{"keys":[]}`, "keys of numbers": `{"keys":[1,null,"S3NT1NEL"]}`,
		"a key with a member twice": `{"keys":[` + strings.Replace(mustJSON(rs.jwk(nil)), "{", `{"kty":"oct",`, 1) + `]}`,
	} {
		t.Run("062 a set that is "+name, func(t *testing.T) {
			err := newTokenTest(rs, body).keys.Load(t.Context())
			if !isWrong(err) || !strings.Contains(err.Error(), webtest.KeysURL) || strings.Contains(err.Error(), "S3NT1NEL") {
				t.Errorf("got %v, want an error of a key set that is wrong, with its address and nothing of it", err)
			}
			if !errors.Is(err, ErrKeysUnavailable) {
				t.Errorf("got %v, want ErrKeysUnavailable", err)
			}
		})
	}
}

func mustJSON(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(text)
}

// The issuer that Microsoft's documents give stands for each tenant's own.
func TestIDTokensOfTemplates(t *testing.T) {
	const tenant, other = "72f988bf-86f1-41af-91ab-2d7cd011db47", "9188040d-6c67-4c5b-b112-36a304b66dad"
	const host = "https://login.microsoftonline.com/"
	key := newTestKey("k", "RS256")
	for _, test := range []struct {
		name     string
		template string
		issuer   string
		iss, tid any
		want     string // issuer; empty: refused
	}{
		{"its own tenant", "microsoft/common", host + issuer.EachTenant + "/v2.0", host + tenant + "/v2.0", tenant, host + tenant + "/v2.0"},
		{"a personal account", "microsoft/common", host + issuer.EachTenant + "/v2.0", host + other + "/v2.0", other, host + other + "/v2.0"},
		{"organizations", "microsoft/organizations", host + issuer.EachTenant + "/v2.0", host + tenant + "/v2.0", tenant, host + tenant + "/v2.0"},
		{"another tid", "microsoft/common", host + issuer.EachTenant + "/v2.0", host + tenant + "/v2.0", other, ""},
		{"no tid", "microsoft/common", host + issuer.EachTenant + "/v2.0", host + tenant + "/v2.0", nil, ""},
		{"tid a number", "microsoft/common", host + issuer.EachTenant + "/v2.0", host + tenant + "/v2.0", 7, ""},
		{"the pattern itself", "microsoft/common", host + issuer.EachTenant + "/v2.0", host + issuer.EachTenant + "/v2.0", issuer.EachTenant, ""},
		{"tid not an ID", "microsoft/common", host + issuer.EachTenant + "/v2.0", host + "evil/v2.0", "evil", ""},
		{"tid with a path", "microsoft/common", host + issuer.EachTenant + "/v2.0", host + "x/../" + tenant + "/v2.0", "x/../" + tenant, ""},
		{"another host", "microsoft/common", host + issuer.EachTenant + "/v2.0", "https://evil.example.com/" + tenant + "/v2.0", tenant, ""},
		{"version 1", "microsoft/common", host + issuer.EachTenant + "/v2.0", "https://sts.windows.net/" + tenant + "/", tenant, ""},
		{"one tenant", "microsoft/" + tenant, host + tenant + "/v2.0", host + tenant + "/v2.0", tenant, host + tenant + "/v2.0"},
		{"one tenant, from another", "microsoft/" + tenant, host + tenant + "/v2.0", host + other + "/v2.0", other, ""},

		{"Google", "google", "https://accounts.google.com", "https://accounts.google.com", nil, "https://accounts.google.com"},
		{"Google without a scheme", "google", "https://accounts.google.com", "accounts.google.com", nil, "https://accounts.google.com"},
		{"Google by http", "google", "https://accounts.google.com", "http://accounts.google.com", nil, ""},
		{"Google's alias elsewhere", "", webtest.Issuer, "accounts.google.com", nil, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			tt := newTokenTest(key, keySetOf(key.jwk(nil)))
			tt.by.Name = test.issuer
			if test.template != "" {
				p, err := new(catalog.Catalog).Lookup(test.template)
				if err != nil {
					t.Fatal(err)
				}
				tt.by.Aliases = p.IssuerAliases
			}
			raw := key.sign(key.header(), claimsAt(time.Now(), map[string]any{"iss": test.iss, "tid": test.tid}))
			c, err := tt.verify(t.Context(), raw)
			if test.want == "" {
				wantInvalid(t, err)
				return
			}
			if err != nil || c.Issuer != test.want {
				t.Fatalf("got %+v, %v, want the issuer %s", c, err, test.want)
			}
			// What was recorded of the first is what the next are compared with.
			for _, tid := range []any{test.tid, 7, nil} {
				raw := key.sign(key.header(), claimsAt(time.Now(), map[string]any{"iss": test.iss, "tid": tid}))
				err = VerifyRenewal(t.Context(), raw, tt.by, tt.keys, Renewal{ClientID: "client", Issuer: c.Issuer, Subject: c.Subject})
				if err != nil {
					t.Errorf("at a renewal, tid %v: got %v, want no error", tid, err)
				}
			}
			if !issuer.Matches(test.issuer, c.Issuer) {
				t.Errorf("Matches(%q, %q): got false, want true", test.issuer, c.Issuer)
			}
		})
	}
}

// Whatever is given for an ID token, only what was signed is accepted, and no
// error has anything of it.
func FuzzIDToken(f *testing.F) {
	now := time.Unix(1_700_000_000, 0)
	key := testKey{"k", "EdDSA", ed25519.NewKeyFromSeed([]byte("a key for fuzzing, and no other!"))}
	tt := newTokenTest(key, keySetOf(key.jwk(nil)))
	tt.now = func() time.Time { return now }
	signed := map[string]bool{}
	for _, changes := range []map[string]any{
		nil, {"aud": []string{"client"}}, {"azp": "client", "nbf": 1}, {"exp": 1.8e9}, {"at_hash": halfHash("EdDSA", "access"), "tid": "x"},
	} {
		raw := key.sign(key.header(), claimsAt(now, changes))
		if _, err := tt.verify(context.Background(), raw); err != nil {
			f.Fatalf("a good token: got %v, want no error", err)
		}
		signed[raw] = true
		f.Add(raw)
	}
	for _, raw := range []string{"", "..", "a.b.c", "a.b.c.d.e", key.sign(`{"alg":"none"}`, "{}"), key.sign(key.header(), `{"iss":"S3NT1NEL","aud":["S3NT1NEL"],"exp":-1}`)} {
		f.Add(raw)
	}
	valid := slices.Sorted(maps.Keys(signed))
	f.Fuzz(func(t *testing.T, raw string) {
		// As it is; and as claims that the provider did sign.
		_, err := tt.verify(t.Context(), raw)
		if (err == nil) != slices.Contains(valid, raw) {
			t.Errorf("got %v, want accepted: %t", err, slices.Contains(valid, raw))
		}
		if err != nil && (strings.Contains(err.Error(), "S3NT1NEL") || len(err.Error()) > 150) {
			t.Errorf("got %q, want nothing of the token in it", err)
		}
		payload := raw
		if parts := strings.Split(raw, "."); len(parts) == 3 {
			if b, err := base64.RawURLEncoding.DecodeString(parts[1]); err == nil {
				payload = string(b)
			}
		}
		id, err := tt.verify(t.Context(), key.sign(key.header(), payload))
		if err != nil {
			return
		}
		c := make(map[string]any)
		if err := json.Unmarshal([]byte(payload), &c); err != nil {
			t.Fatalf("accepted %q: %v", payload, err)
		}
		number := func(name string) float64 { n, _ := c[name].(float64); return n }
		text := func(name string) string { s, _ := c[name].(string); return s }
		audience, isList := c["aud"].([]any)
		if !isList {
			audience = []any{c["aud"]}
		}
		seconds := float64(now.Unix())
		switch {
		case id.Issuer != webtest.Issuer, id.Issuer != text("iss"), id.Subject == "", id.Subject != text("sub"), len(id.Subject) > maxSubject, text("nonce") != "n-0S6_WzA2Mj",
			number("exp") < seconds-60, number("iat") <= 0, number("iat") > seconds+60, number("nbf") > seconds+60,
			!slices.Contains(audience, any("client")), len(audience) > 1 && text("azp") != "client", text("azp") != "" && text("azp") != "client",
			text("at_hash") != "" && text("at_hash") != halfHash("EdDSA", "access"):
			t.Errorf("accepted %q as %+v", payload, id)
		}
	})
}
