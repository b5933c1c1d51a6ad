package providertest_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/authprofile/authprofile/providertest"
)

func unbase64(t *testing.T, v any) []byte {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(v.(string))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// parse returns the parts of a JWT, without looking at its signature.
func parse(t *testing.T, jwt string) (header, claims map[string]any, input string, sig []byte) {
	t.Helper()
	parts := strings.Split(jwt, ".")
	if len(parts) != 3 {
		t.Fatalf("got %d parts of a JWT, want 3", len(parts))
	}
	if err := json.Unmarshal(unbase64(t, parts[0]), &header); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(unbase64(t, parts[1]), &claims); err != nil {
		t.Fatal(err)
	}
	return header, claims, parts[0] + "." + parts[1], unbase64(t, parts[2])
}

// keys returns the published keys by their ID, and how many there are.
func keys(t *testing.T, srv *providertest.Server) map[string]map[string]any {
	t.Helper()
	_, set := get(t, srv, srv.JWKSURL(), "")
	m := make(map[string]map[string]any)
	for _, k := range set["keys"].([]any) {
		k := k.(map[string]any)
		m[k["kid"].(string)] = k
	}
	return m
}

// isSigned reports whether a JWT has a good signature by the key that it names.
func isSigned(t *testing.T, srv *providertest.Server, jwt string) bool {
	t.Helper()
	header, _, input, sig := parse(t, jwt)
	k := keys(t, srv)[header["kid"].(string)]
	if k == nil || k["alg"] != header["alg"] || k["use"] != "sig" {
		return false
	}
	digest := sha256.Sum256([]byte(input))
	num := func(name string) *big.Int { return new(big.Int).SetBytes(unbase64(t, k[name])) }
	switch k["kty"] {
	case "RSA":
		pub := &rsa.PublicKey{N: num("n"), E: int(num("e").Int64())}
		return rsa.VerifyPKCS1v15(pub, crypto.SHA256, digest[:], sig) == nil
	case "EC":
		point := append([]byte{4}, append(unbase64(t, k["x"]), unbase64(t, k["y"])...)...)
		pub, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point)
		if err != nil || len(sig) != 64 {
			t.Fatalf("key: %v; signature of %d bytes", err, len(sig))
		}
		return ecdsa.Verify(pub, digest[:], new(big.Int).SetBytes(sig[:32]), new(big.Int).SetBytes(sig[32:]))
	}
	return false
}

// verify returns the header and claims of a JWT that must be well signed.
func verify(t *testing.T, srv *providertest.Server, jwt string) (header, claims map[string]any) {
	t.Helper()
	if !isSigned(t, srv, jwt) {
		t.Fatal("the signature is not good")
	}
	header, claims, _, _ = parse(t, jwt)
	return header, claims
}

func TestIDToken(t *testing.T) {
	both(t, func(t *testing.T, srv *providertest.Server) {
		srv.SetConsent(providertest.Consent{Subject: "ada", Claims: map[string]any{"email": "ada@example.com"}})
		srv.Advance(48 * time.Hour)
		v := login(t, srv)
		_, claims := verify(t, srv, v["id_token"].(string))
		sum := sha256.Sum256([]byte(v["access_token"].(string)))
		for name, want := range map[string]any{
			"iss":     srv.Issuer(),
			"sub":     "ada",
			"aud":     providertest.ClientID,
			"nonce":   "n",
			"email":   "ada@example.com",
			"at_hash": base64.RawURLEncoding.EncodeToString(sum[:16]),
		} {
			if claims[name] != want {
				t.Errorf("%s: got %v, want %v", name, claims[name], want)
			}
		}
		iat, exp := claims["iat"].(float64), claims["exp"].(float64)
		if d := time.Since(time.Unix(int64(iat), 0)); d < 0 || d > time.Minute || exp-iat != 3600 {
			t.Errorf("got iat %v ago and exp %v after it, want now and an hour", d, exp-iat)
		}
		_, claims = verify(t, srv, refresh(t, srv, v["refresh_token"])["id_token"].(string))
		if claims["nonce"] != nil || claims["sub"] != "ada" {
			t.Errorf("on refresh: got %v, want the same person and no nonce", claims)
		}
	})
}

func TestSigning(t *testing.T) {
	srv := providertest.NewServer(t)
	id := func(alg providertest.Signing) string {
		t.Helper()
		srv.SetSigning(alg)
		return login(t, srv)["id_token"].(string)
	}
	for alg, want := range map[providertest.Signing]bool{
		providertest.RS256:    true,
		providertest.ES256:    true,
		providertest.WrongKey: false,
	} {
		jwt := id(alg)
		if got := isSigned(t, srv, jwt); got != want {
			t.Errorf("%s: got a good signature: %v, want %v", alg, got, want)
		}
		header, _, _, _ := parse(t, jwt)
		if keys(t, srv)[header["kid"].(string)] == nil {
			t.Errorf("%s: the key ID is not published", alg)
		}
	}

	header, _, _, sig := parse(t, id(providertest.Unsigned))
	if header["alg"] != "none" || len(sig) != 0 {
		t.Errorf("got alg %v and a signature of %d bytes, want none", header["alg"], len(sig))
	}

	header, _, input, sig := parse(t, id(providertest.HS256))
	mac := hmac.New(sha256.New, []byte(providertest.ClientSecret))
	mac.Write([]byte(input))
	if header["alg"] != "HS256" || !hmac.Equal(mac.Sum(nil), sig) {
		t.Error("HS256: not signed with the client's secret")
	}
	if header, _, _, other := parse(t, id(providertest.HS256PublicKey)); header["alg"] != "HS256" || len(other) != 32 {
		t.Errorf("got alg %v and a signature of %d bytes, want HS256", header["alg"], len(other))
	}
}

func TestKeyRotation(t *testing.T) {
	srv := providertest.NewServer(t)
	before := login(t, srv)["id_token"].(string)
	old, _, _, _ := parse(t, before)
	srv.RotateKeys()
	after := login(t, srv)["id_token"].(string)
	header, _ := verify(t, srv, after)
	if header["kid"] == old["kid"] {
		t.Error("the key is still the old one")
	}
	verify(t, srv, before)

	srv.Mutate(providertest.JWKS, func(set map[string]any) { set["keys"] = set["keys"].([]any)[:1] })
	verify(t, srv, after)
	if isSigned(t, srv, before) {
		t.Error("the old key is still published")
	}
	srv.SetSigning(providertest.ES256)
	for range 20 {
		srv.RotateKeys()
	}
	srv.Mutate(providertest.JWKS, nil)
	if got := len(keys(t, srv)); got != 8 {
		t.Errorf("got %d keys, want 8 at most", got)
	}
}

func TestMutations(t *testing.T) {
	srv := providertest.NewServer(t)
	srv.MutateIDToken(func(header, claims map[string]any) {
		delete(header, "kid")
		claims["aud"] = []string{"client", "other"}
	})
	header, claims, _, _ := parse(t, login(t, srv)["id_token"].(string))
	if list, _ := claims["aud"].([]any); header["kid"] != nil || len(list) != 2 {
		t.Errorf("got %v %v, want them changed", header, claims)
	}
	srv.MutateIDToken(nil)
	verify(t, srv, login(t, srv)["id_token"].(string))

	srv.Mutate(providertest.Token, func(answer map[string]any) { answer["expires_in"] = json.RawMessage(`"1e3"`) })
	if v := login(t, srv); v["expires_in"] != "1e3" {
		t.Errorf("got %v, want it changed", v)
	}
	srv.Mutate(providertest.Token, nil)
	if v := login(t, srv); v["expires_in"] != 3600.0 {
		t.Errorf("got %v, want it as it was", v)
	}

	srv.Mutate(providertest.Discovery, func(doc map[string]any) {
		doc["issuer"] = "https://evil.example.com"
		doc["response_types_supported"].([]any)[0] = "token"
	})
	if _, doc := get(t, srv, srv.DiscoveryURL(), ""); doc["issuer"] != "https://evil.example.com" {
		t.Errorf("got %v, want it changed", doc)
	}
	srv.Mutate(providertest.Discovery, nil)
	_, doc := get(t, srv, srv.DiscoveryURL(), "")
	if doc["issuer"] != srv.Issuer() || doc["response_types_supported"].([]any)[0] != "code" {
		t.Errorf("got %v, want it as it was", doc)
	}
}
