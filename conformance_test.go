package authprofile_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authprofile/authprofile"
	"github.com/authprofile/authprofile/providertest"
)

// The tests of this file are the demands that OpenID certification makes on a
// relying party that uses the code flow, and what OpenID Connect Core 1.0,
// section 12.2 says of renewals.

const (
	rpID     = "relying-party"
	rpSecret = "S3NT1NEL-client-secret"
)

// relyingParty returns a profile whose secret is found in any text.
func (w *world) relyingParty() *authprofile.Profile {
	w.Helper()
	w.srv.AddClient(providertest.Client{ID: rpID, Secret: rpSecret})
	return w.save(&authprofile.Profile{
		ID: "crm", Type: authprofile.TypeUser, ClientID: rpID, ClientSecret: rpSecret,
		Endpoints: authprofile.Endpoints{DiscoveryURL: w.srv.DiscoveryURL()},
		Scopes:    []string{"openid", "read", "offline_access"},
	})
}

// keepsSilent wants an error of an operation of the profile, and no secret in
// it: neither one of the client or the flow, nor anything of the answers.
func (w *world) keepsSilent(err error, op string, secrets ...string) {
	w.Helper()
	var e *authprofile.Error
	if !errors.As(err, &e) || e.Op != op || e.ProfileID != "crm" {
		w.Fatalf("got error %#v, want an *Error of %s", err, op)
	}
	secrets = append(secrets, "S3NT1NEL")
	for _, form := range bodies(w.T, w.srv) {
		for _, name := range []string{"code", "code_verifier", "refresh_token", "client_secret"} {
			secrets = append(secrets, form[name]...)
		}
	}
	for _, text := range []string{err.Error(), fmt.Sprintf("%v %+v %#v", err, err, err)} {
		for _, s := range secrets {
			if s != "" && strings.Contains(text, s) {
				w.Errorf("got error %q, want it without %q", text, s)
			}
		}
	}
}

// loginFails takes ada through the flow and wants it to fail, with nothing
// stored.
func (w *world) loginFails(p *authprofile.Profile) error {
	w.Helper()
	f := w.begin(p, "ada")
	query := w.consent(f)
	err := w.finishFails("ada", query, nil)
	w.keepsSilent(err, "finish", f.State, f.Nonce, query.Get("code"))
	if _, err := w.m.Grant(w.Context(), ada); !errors.Is(err, authprofile.ErrNotFound) {
		w.Errorf("got error %v, want no grant: ErrNotFound", err)
	}
	if _, err := w.m.Token(w.Context(), p, asAda); !errors.Is(err, authprofile.ErrReauthorize) {
		w.Errorf("got error %v of Token, want ErrReauthorize", err)
	}
	return err
}

// An idTokenCase is a way in which an ID token can differ from what it should
// be.
type idTokenCase struct {
	name   string
	mutate func(header, claims map[string]any)
	signed providertest.Signing        // empty: ES256
	answer func(answer map[string]any) // changes it after signing
	good   bool                        // at a login; and, unless the next says otherwise, at a renewal
	fine   bool                        // at a renewal, though not at a login
}

// claim replaces a claim, or removes it if the value is nil.
func claim(name string, value any) func(header, claims map[string]any) {
	return func(_, claims map[string]any) {
		if claims[name] = value; value == nil {
			delete(claims, name)
		}
	}
}

// after replaces a claim by the number of seconds from now, in a type of its
// own.
func after(name string, d time.Duration, as func(seconds int64) any) func(header, claims map[string]any) {
	return func(_, claims map[string]any) { claims[name] = as(time.Now().Add(d).Unix()) }
}

func number(s int64) any { return s }

func idTokenCases(t *testing.T) []idTokenCase {
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return []idTokenCase{
		{name: "103 iss", good: true},
		{name: "103 iss wrong", mutate: claim("iss", "https://S3NT1NEL.example.com")},
		{name: "103 iss missing", mutate: claim("iss", nil)},
		{name: "103 iss with a slash", mutate: claim("iss", issuer+"/")},

		{name: "104 aud wrong", mutate: claim("aud", "S3NT1NEL")},
		{name: "104 aud missing", mutate: claim("aud", nil)},
		{name: "104 aud of one", mutate: claim("aud", []string{rpID}), good: true},
		{name: "104 aud with a foreign second", mutate: claim("aud", []string{rpID, "S3NT1NEL"}), fine: true},
		{name: "104 aud with a foreign second, issued to us", mutate: func(_, c map[string]any) { c["aud"], c["azp"] = []string{rpID, "project"}, rpID }, good: true},
		{name: "105 azp", mutate: claim("azp", rpID), good: true},
		{name: "105 azp wrong", mutate: claim("azp", "S3NT1NEL"), fine: true},

		{name: "108 sub missing", mutate: claim("sub", nil)},
		{name: "108 sub empty", mutate: claim("sub", "")},
		{name: "108 sub too long", mutate: claim("sub", strings.Repeat("S3NT1NEL", 32))},

		{name: "106 iat missing", mutate: claim("iat", nil), fine: true},
		{name: "106 iat in the future", mutate: after("iat", 10*time.Minute, number), fine: true},
		{name: "106 exp missing", mutate: claim("exp", nil), fine: true},
		{name: "106 exp past", mutate: after("exp", -10*time.Minute, number), fine: true},
		{name: "106 exp a string", mutate: after("exp", time.Hour, func(s int64) any { return fmt.Sprint(s) }), fine: true},
		{name: "106 exp a fraction", mutate: after("exp", time.Hour, func(s int64) any { return float64(s) + 0.5 }), good: true},

		{name: "107 nonce wrong", mutate: claim("nonce", "S3NT1NEL")},
		{name: "107 nonce missing", mutate: claim("nonce", nil), fine: true},
		{name: "109 at_hash wrong", mutate: claim("at_hash", "S3NT1NELS3NT1NELS3NT1A"), fine: true},
		{name: "109 at_hash missing", mutate: claim("at_hash", nil), good: true},

		{name: "109 c_hash a number", mutate: claim("c_hash", 7), fine: true},
		{name: "110 auth_time a string", mutate: claim("auth_time", "yesterday"), good: true},
		{name: "115 tid of another provider", mutate: claim("tid", 7), good: true},
		{name: "115 claims without a use", mutate: func(_, c map[string]any) { c["acr"], c["_claim_names"], c["nbf"] = 7, "x", nil }, good: true},
		{name: "113 more than 64 KiB", mutate: claim("groups", strings.Repeat("S3NT1NEL", 10<<10)), fine: true},

		{name: "101 signature none", signed: providertest.Unsigned},
		{name: "101 HS256 with the secret", signed: providertest.HS256},
		{name: "101 HS256 with the public key", signed: providertest.HS256PublicKey},
		{name: "102 RS256", signed: providertest.RS256, good: true},
		{name: "102 RS256 with another key", signed: providertest.WrongKey},
		{name: "102 ES256", signed: providertest.ES256, good: true},
		{name: "102 ES256 with another key", signed: providertest.ES256, answer: signedBy(other)},
		{name: "061 kid unknown", mutate: func(h, _ map[string]any) { h["kid"] = "S3NT1NEL" }},
		{name: "062 kid absent", mutate: func(h, _ map[string]any) { delete(h, "kid") }, good: true},
	}
}

// impose makes the provider issue such ID tokens.
func (c *idTokenCase) impose(srv *providertest.Server) {
	if c.signed != "" {
		srv.SetSigning(c.signed)
	}
	srv.MutateIDToken(c.mutate)
	srv.Mutate(providertest.Token, c.answer)
}

// signedBy replaces the signature of the ID token by one of ES256.
func signedBy(key *ecdsa.PrivateKey) func(answer map[string]any) {
	return func(answer map[string]any) {
		raw := answer["id_token"].(string)
		signed := raw[:strings.LastIndexByte(raw, '.')]
		digest := sha256.Sum256([]byte(signed))
		r, s, err := ecdsa.Sign(rand.Reader, key, digest[:])
		if err != nil {
			panic(err)
		}
		sig := make([]byte, 64)
		r.FillBytes(sig[:32])
		s.FillBytes(sig[32:])
		answer["id_token"] = signed + "." + base64.RawURLEncoding.EncodeToString(sig)
	}
}

func TestConformance_IDTokenOfALogin(t *testing.T) {
	for _, c := range idTokenCases(t) {
		t.Run(c.name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				p := w.relyingParty()
				c.impose(w.srv)
				if c.good {
					g := w.authorize(p, "ada")
					if g.Subject != "user" || g.Issuer != issuer {
						t.Errorf("got subject %q of %q, want the ID token's", g.Subject, g.Issuer)
					}
					w.healthy(ada)
					return
				}
				w.loginFails(p)
				w.asked("authorization_code", 1)
			})
		})
	}
}

// An ID token that comes with a renewal and is wrong is an error to the
// caller, and no reason to lose the grant.
func TestConformance_IDTokenOfARenewal(t *testing.T) {
	cases := append(idTokenCases(t),
		idTokenCase{name: "111 another sub", mutate: claim("sub", "S3NT1NEL")},
		idTokenCase{name: "111 another sub of another case", mutate: claim("sub", "User")},
		idTokenCase{name: "111 nonce the same", good: true},
		idTokenCase{name: "111 another sub in more than 64 KiB", mutate: func(_, c map[string]any) { c["sub"], c["groups"] = "S3NT1NEL", strings.Repeat("x", 80<<10) }},
	)
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				p := w.relyingParty()
				before := w.authorize(p, "ada")
				expire()
				c.impose(w.srv)
				if c.good || c.fine {
					w.token(w.m, p, asAda)
					w.healthy(ada)
					return
				}

				err := w.refuses(w.m, p, nil, asAda)
				w.keepsSilent(err, "token")
				g := w.grant(ada)
				if !w.srv.IsCurrent(string(g.RefreshToken)) {
					t.Fatal("the refresh token is lost")
				}
				if g.Subject != before.Subject || g.Issuer != before.Issuer {
					t.Errorf("got subject %q of %q, want them as they were", g.Subject, g.Issuer)
				}
				if g.Status != authprofile.StatusFailing || g.Failure.Reason != authprofile.ReasonIDToken {
					t.Errorf("got status %q because of %v, want one that heals", g.Status, g.Failure)
				}

				(&idTokenCase{signed: providertest.ES256}).impose(w.srv)
				time.Sleep(time.Minute)
				w.token(w.m, p, asAda)
				w.healthy(ada)
				w.asked("authorization_code", 1)
			})
		})
	}
}

func TestConformance_RenewalWithoutAnIDToken(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.srv.SetPolicy(providertest.Policy{NoIDTokenOnRefresh: true})
		p := w.relyingParty()
		w.authorize(p, "ada")
		expire()
		w.token(w.m, p, asAda)
		w.healthy(ada)
		if g := w.grant(ada); g.Subject != "user" || g.Issuer != issuer {
			t.Errorf("got subject %q of %q, want those of the login", g.Subject, g.Issuer)
		}
	})
}

// Without openid there is no nonce, and an ID token that comes all the same
// says nothing about anybody.
func TestConformance_NoIDTokenAskedFor(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.relyingParty()
		p.Scopes = []string{"read", "offline_access"}
		w.save(p)
		f := w.begin(p, "ada")
		if q := parsed(t, f.URL).Query(); q.Has("nonce") || f.Nonce != "" {
			t.Errorf("got the nonce %q in %q, want none", f.Nonce, q)
		}
		w.srv.Mutate(providertest.Token, func(answer map[string]any) { answer["id_token"] = "S3NT1NEL" })
		g, err := w.m.Finish(t.Context(), "ada", w.consent(f))
		if err != nil || g.Subject != "" || g.Issuer != issuer {
			t.Fatalf("got %v of %q, %v, want a grant of no known person, issued by the provider", g, g.Issuer, err)
		}
		expire()
		w.token(w.m, p, asAda)
		w.healthy(ada)
		if n := w.srv.Hits(providertest.JWKS); n != 0 {
			t.Errorf("got %d requests for keys, want none", n)
		}
	})
}

func TestConformance_KeyRotation(t *testing.T) {
	onlyNewest := func(set map[string]any) { set["keys"] = set["keys"].([]any)[:1] }
	for _, published := range []struct {
		name string
		keys func(map[string]any)
	}{
		{"with the old keys", nil},
		{"without the old keys", onlyNewest},
	} {
		t.Run("061 before the login, "+published.name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				p := w.relyingParty()
				w.srv.Mutate(providertest.JWKS, published.keys)
				w.authorize(p, "bob") // who brings the keys into memory
				w.srv.RotateKeys()
				w.authorize(p, "ada")
				w.healthy(ada)
			})
		})
		t.Run("061 between request and signing, "+published.name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				p := w.relyingParty()
				w.srv.Mutate(providertest.JWKS, published.keys)
				w.authorize(p, "bob")
				query := w.consent(w.begin(p, "ada"))
				w.srv.RotateKeys()
				if _, err := w.m.Finish(t.Context(), "ada", query); err != nil {
					t.Fatal(err)
				}
				// And between the signing of this token and of the next.
				expire()
				w.srv.RotateKeys()
				w.token(w.m, p, asAda)
				w.healthy(ada)
				if got := w.srv.Hits(providertest.JWKS); got > 4 {
					t.Errorf("got %d requests for keys, want at most one for each change", got)
				}
			})
		})
		t.Run("061 to another algorithm, "+published.name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				p := w.relyingParty()
				w.srv.Mutate(providertest.JWKS, published.keys)
				w.authorize(p, "bob")
				w.srv.SetSigning(providertest.RS256)
				w.srv.RotateKeys()
				w.authorize(p, "ada")
			})
		})
	}
	t.Run("061 the old key is not accepted for ever", func(t *testing.T) {
		inWorld(t, func(t *testing.T, w *world) {
			p := w.relyingParty()
			w.authorize(p, "bob")
			next := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)).Public().(ed25519.PublicKey)
			// A key that has leaked, and is published no more.
			w.srv.Mutate(providertest.JWKS, func(set map[string]any) {
				for _, key := range set["keys"].([]any) {
					key.(map[string]any)["use"] = "enc"
				}
				set["keys"] = append(set["keys"].([]any), map[string]any{
					"kty": "OKP", "crv": "Ed25519", "use": "sig", "kid": "new", "x": base64.RawURLEncoding.EncodeToString(next),
				})
			})
			time.Sleep(25 * time.Hour)
			w.m.Finish(t.Context(), "carol", w.consent(w.begin(p, "carol"))) // whatever comes of it: it has the keys fetched anew
			synctest.Wait()
			w.loginFails(p)
		})
	})
}

func TestConformance_KeyWithoutID(t *testing.T) {
	for _, test := range []struct {
		alg   providertest.Signing
		keys  int  // of that kind
		named bool // in the key set
	}{
		{providertest.ES256, 1, true},
		{providertest.ES256, 1, false},
		{providertest.ES256, 4, true},
		{providertest.ES256, 4, false},
		{providertest.RS256, 2, true},
		{providertest.RS256, 2, false},
		{providertest.WrongKey, 1, true},
		{providertest.WrongKey, 2, false},
	} {
		t.Run(fmt.Sprintf("062 %d keys, %s, named %t", test.keys, test.alg, test.named), func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.srv.SetSigning(test.alg)
				for range test.keys - 1 {
					w.srv.RotateKeys()
				}
				w.srv.MutateIDToken(func(header, _ map[string]any) { delete(header, "kid") })
				w.srv.Mutate(providertest.JWKS, func(set map[string]any) {
					keys := set["keys"].([]any)
					slices.Reverse(keys) // the one that counts comes last
					for _, key := range keys {
						if !test.named {
							delete(key.(map[string]any), "kid")
						}
					}
				})
				p := w.relyingParty()
				if test.alg == providertest.WrongKey {
					w.loginFails(p)
					return
				}
				w.authorize(p, "ada")
				w.healthy(ada)
			})
		})
	}
}

// Whoever can make ID tokens with invented key IDs cannot make the client ask
// for keys as often, nor keep it from learning of a new key.
func TestConformance_FloodOfUnknownKeys(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.relyingParty()
		n := 0
		w.srv.MutateIDToken(func(header, _ map[string]any) {
			n++
			header["kid"] = fmt.Sprintf("invented-%d", n)
		})
		for range 100 {
			w.loginFails(p)
		}
		if got := w.srv.Hits(providertest.JWKS); n != 100 || got > 4 {
			t.Errorf("got %d requests for keys after %d logins, want at most 4", got, n)
		}
		w.srv.MutateIDToken(nil)
		w.srv.RotateKeys()
		time.Sleep(10 * time.Second)
		w.authorize(p, "ada")
	})
}

func TestConformance_UserInfoIsNotUsed(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.srv.Mutate(providertest.UserInfo, func(answer map[string]any) { answer["sub"] = "mallory" })
		w.srv.SetConsent(providertest.Consent{Subject: "248289761001", Claims: map[string]any{"email": "mallory@example.com", "email_verified": true}})
		p := w.relyingParty()
		g := w.authorize(p, "ada")
		if g.Subject != "248289761001" {
			t.Errorf("got subject %q, want that of the ID token", g.Subject)
		}
		expire()
		w.token(w.m, p, asAda)
		if n := w.srv.Hits(providertest.UserInfo); n != 0 {
			t.Errorf("got %d requests to the userinfo endpoint, want 0", n)
		}
	})
}

func TestConformance_IssuerOfTheDiscoveryDocument(t *testing.T) {
	for _, wrong := range []any{"https://evil.example.com", issuer + "/tenant", "http://login.example.com", "https://LOGIN.example.com", "", nil, 7} {
		t.Run(fmt.Sprintf("050 %v", wrong), func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.srv.Mutate(providertest.Discovery, func(answer map[string]any) { answer["issuer"] = wrong })
				p := w.relyingParty()
				f, err := w.m.Begin(t.Context(), p, "ada")
				var field *authprofile.FieldError
				if !errors.Is(err, authprofile.ErrConfiguration) || !errors.As(err, &field) || field.Field != "Endpoints.DiscoveryURL" {
					t.Fatalf("got %v, %v, want ErrConfiguration of the discovery document", f, err)
				}
				w.keepsSilent(err, "begin")
				w.noGrant(ada)
				if n := w.srv.Hits(providertest.Token); n != 0 {
					t.Errorf("got %d token requests, want 0", n)
				}
			})
		})
	}
}

func TestConformance_ClientAuthentication(t *testing.T) {
	for _, test := range []struct {
		name, secret string
		listed       []any // by the provider; nil: nothing
		want         authprofile.AuthMethod
	}{
		{"basic", rpSecret, []any{"client_secret_basic"}, authprofile.AuthBasic},
		{"post", rpSecret, []any{"client_secret_post"}, authprofile.AuthPost},
		{"basic before post", rpSecret, []any{"client_secret_post", "client_secret_basic"}, authprofile.AuthBasic},
		{"beside others", rpSecret, []any{"private_key_jwt", "none", "client_secret_post"}, authprofile.AuthPost},
		{"only others", rpSecret, []any{"private_key_jwt", "tls_client_auth"}, authprofile.AuthBasic},
		{"not listed", rpSecret, nil, authprofile.AuthBasic},
		{"public", "", []any{"none"}, authprofile.AuthNone},
	} {
		t.Run(test.name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				p := w.relyingParty()
				w.srv.AddClient(providertest.Client{ID: rpID, Secret: test.secret, AuthMethods: []string{string(test.want)}})
				w.srv.Mutate(providertest.Discovery, func(answer map[string]any) {
					delete(answer, "token_endpoint_auth_methods_supported")
					if test.listed != nil {
						answer["token_endpoint_auth_methods_supported"] = test.listed
					}
				})
				p.ClientSecret = authprofile.Secret(test.secret)
				w.save(p)
				w.authorize(p, "ada")
				expire()
				w.token(w.m, p, asAda)
				requests := w.srv.Requests()
				for _, r := range requests {
					if r.AuthMethod != string(test.want) || r.Status != 200 {
						t.Errorf("got %s by %q with status %d, want %q to be accepted", r.Grant, r.AuthMethod, r.Status, test.want)
					}
				}
				if len(requests) != 2 {
					t.Errorf("got %d token requests, want one for the login and one for the renewal", len(requests))
				}
			})
		})
	}
}

// What a document does not list, its provider may do all the same.
func TestConformance_ListsOfTheDiscoveryDocument(t *testing.T) {
	for name, change := range map[string]func(answer map[string]any){
		"066 grant types":    func(a map[string]any) { a["grant_types_supported"] = []any{"implicit"} },
		"066 response types": func(a map[string]any) { a["response_types_supported"] = []any{"id_token", "code id_token"} },
		"066 methods":        func(a map[string]any) { a["token_endpoint_auth_methods_supported"] = []any{"private_key_jwt"} },
		"066 scopes":         func(a map[string]any) { a["scopes_supported"] = []any{"openid"} },
		"066 challenges":     func(a map[string]any) { a["code_challenge_methods_supported"] = []any{"plain"} },
		"066 algorithms":     func(a map[string]any) { a["id_token_signing_alg_values_supported"] = []any{"HS256"} },
		"066 no lists": func(a map[string]any) {
			for name := range a {
				if strings.HasSuffix(name, "_supported") {
					a[name] = "a string"
				}
			}
			delete(a, "authorization_response_iss_parameter_supported") // an announcement, and no list
		},
		"066 no optional addresses": func(a map[string]any) {
			a["revocation_endpoint"], a["device_authorization_endpoint"], a["userinfo_endpoint"] = "/revoke", 7, []any{}
		},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.srv.Mutate(providertest.Discovery, change)
				p := w.adasProfile()
				expire()
				w.token(w.m, p, asAda)
				w.healthy(ada)
				p = w.unsavedApp()
				p.Endpoints = authprofile.Endpoints{DiscoveryURL: w.srv.DiscoveryURL()}
				w.token(w.m, p)
			})
		})
	}
}

// A provider whose key set has no usable address means its ID tokens to be
// verified, and they cannot be: this is said before the user consents. It does
// not concern profiles that ask for no ID token, nor grants that are there.
func TestConformance_KeySetAddressThatCannotBeUsed(t *testing.T) {
	for _, address := range []any{"http://login.example.com/keys", "javascript:1", "", 7, []any{}} {
		t.Run(fmt.Sprintf("066 %v", address), func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				p := w.adasProfile()
				f := w.begin(p, "ada")
				query := w.consent(f)

				w.srv.Mutate(providertest.Discovery, func(a map[string]any) { a["jwks_uri"] = address })
				w.m = w.manager()
				_, err := w.m.Begin(t.Context(), p, "ada")
				var field *authprofile.FieldError
				if !errors.Is(err, authprofile.ErrConfiguration) || !errors.As(err, &field) || !strings.Contains(field.Problem, "jwks_uri") {
					t.Errorf("got %v from Begin, want ErrConfiguration with the member", err)
				}
				w.finishFails("ada", query, authprofile.ErrConfiguration)
				w.asked("authorization_code", 1)

				expire()
				w.token(w.m, p, asAda)
				w.healthy(ada)

				p.Scopes = []string{"read", "offline_access"}
				w.save(p)
				w.authorize(p, "ada")
			})
		})
	}
}

// The page for users is not needed for what runs without them.
func TestConformance_AuthorizationEndpointThatCannotBeUsed(t *testing.T) {
	for _, address := range []any{nil, "http://login.example.com/authorize", "javascript:1", 7} {
		t.Run(fmt.Sprintf("066 %v", address), func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				p := w.adasProfile()
				query := w.consent(w.begin(p, "bob"))
				w.srv.Mutate(providertest.Discovery, func(a map[string]any) { a["authorization_endpoint"] = address })
				w.m = w.manager()
				_, err := w.m.Begin(t.Context(), p, "ada")
				if !errors.Is(err, authprofile.ErrConfiguration) || !strings.Contains(fmt.Sprint(err), "authorization_endpoint") {
					t.Errorf("got %v from Begin, want ErrConfiguration with the member", err)
				}
				if _, err := w.m.Finish(t.Context(), "bob", query); err != nil {
					t.Errorf("got %v from Finish, want no error", err)
				}
				expire()
				w.token(w.m, p, asAda)
				w.healthy(ada)
				if err := w.m.Revoke(t.Context(), ada); err != nil {
					t.Errorf("got %v from Revoke, want no error", err)
				}
			})
		})
	}
}

// The code flow and PKCE, as they are certified.
func TestConformance_AuthorizationRequest(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.relyingParty()
		q := parsed(t, w.begin(p, "ada").URL).Query()
		for name, want := range map[string]string{
			"response_type": "code", "client_id": rpID, "redirect_uri": w.m.RedirectAddress(p), "code_challenge_method": "S256",
			"scope": "openid read offline_access",
		} {
			if got := q.Get(name); got != want {
				t.Errorf("%s: got %q, want %q", name, got, want)
			}
		}
		for _, name := range []string{"state", "nonce", "code_challenge"} {
			if got := q.Get(name); len(got) < 43 {
				t.Errorf("%s: got %q, want 256 bits", name, got)
			}
		}
		for _, name := range []string{"client_secret", "response_mode", "request", "code_verifier"} {
			if q.Has(name) {
				t.Errorf("%s: got %q, want none", name, q[name])
			}
		}
	})
}

// A state that is not the one of Begin, and one that comes back twice.
func TestConformance_State(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.relyingParty()
		query := w.consent(w.begin(p, "ada"))
		for _, q := range []url.Values{with(query, "state"), with(query, "state", ""), with(query, "state", strings.Repeat("x", 43)), with(query, "state", query.Get("state")+"x")} {
			w.finishFails("ada", q, nil)
		}
		w.noGrant(ada)
		if _, err := w.m.Finish(t.Context(), "ada", query); err != nil {
			t.Fatal(err)
		}
		w.finishFails("ada", query, authprofile.ErrNotFound)
		w.asked("authorization_code", 1)
	})
}
