package authprofile_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/oauth2"

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
					t.Fatal("got a grant without the refresh token that was issued, want it stored")
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
// does not say who the user is.
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

// An ID token that is wrong is no reason to lose the refresh token that came
// with it.
// While its ID token is being verified, which can take seconds, another process
// has begun to renew the grant again. What was found to be bad is not adopted.
func TestBadIDTokenThatIsFoundLate(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.adasProfile()
		proc := w.process()
		expire()
		w.srv.MutateIDToken(func(h, _ map[string]any) { h["kid"] = "unknown" })
		w.srv.Fault(providertest.JWKS, providertest.Fault{Times: -1, Delay: 4 * time.Second})
		var bad *oauth2.Token
		var wg sync.WaitGroup
		wg.Go(func() {
			time.Sleep(500 * time.Millisecond)
			var err error
			if bad, err = w.m.Token(t.Context(), p, asAda); err != nil {
				t.Error(err)
				return
			}
			w.srv.MutateIDToken(nil)
			w.srv.Fault(providertest.Token, providertest.Fault{Delay: 10 * time.Second})
			w.token(w.m, p, asAda, authprofile.Rejected(bad))
		})
		got := w.token(proc.Manager, p, asAda)
		wg.Wait()
		if got == bad.AccessToken {
			t.Error("got the token whose ID token is bad, want another")
		}
		w.asked("refresh_token", 2)
		w.healthy(ada)
	})
}

// The same while the Store is away: no caller is given the access token, neither
// from what waits to be stored nor once it is.
func TestBadIDTokenWhileTheStoreIsAway(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.adasProfile()
		proc := w.process()
		expire()
		w.srv.MutateIDToken(func(_, c map[string]any) { c["sub"] = "mallory" })
		proc.store.failPuts(func(g *authprofile.Grant) bool { return g.Lease == nil })
		for range 5 {
			w.refuses(proc.Manager, p, nil, asAda)
		}
		proc.store.heal()
		time.Sleep(2 * time.Second)
		g := w.grant(ada)
		if g.AccessToken != "" || g.Status != failing || g.Failure.Reason != authprofile.ReasonIDToken || g.Lease != nil {
			t.Errorf("got %v, want no access token", g)
		}
		if !w.srv.IsCurrent(string(g.RefreshToken)) {
			t.Error("got a grant without the refresh token that was issued, want it stored")
		}
		w.asked("refresh_token", 1)
		w.srv.MutateIDToken(nil)
		time.Sleep(3 * time.Second)
		w.token(proc.Manager, p, asAda)
		w.healthy(ada)
	})
}

// A write that has taken effect just before the access token proved to be of no
// use, and whose answer was lost, is corrected.
func TestBadIDTokenAfterAWriteWithoutAnAnswer(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.adasProfile()
		proc := w.process()
		expire()
		w.srv.MutateIDToken(func(_, c map[string]any) { c["sub"] = "mallory" })
		first := true
		proc.store.on(func(c *storeCall) error {
			if c.op != "PutGrant" || c.grant.Lease != nil {
				return c.run()
			}
			if first && c.grant.AccessToken != "" {
				first = false
				c.run()
			}
			return errAway
		})
		w.refuses(proc.Manager, p, nil, asAda)
		if first {
			t.Fatal("got no writes, want one")
		}
		proc.store.heal()
		time.Sleep(2 * time.Second)
		if g := w.grant(ada); g.AccessToken != "" || g.Status != failing || !w.srv.IsCurrent(string(g.RefreshToken)) {
			t.Errorf("got %v, want the refresh token and no access token", g)
		}
	})
}

func TestBadIDTokenOnRefresh(t *testing.T) {
	for name, mutate := range map[string]func(header, claims map[string]any){
		"another subject":  func(_, c map[string]any) { c["sub"] = "mallory" },
		"another issuer":   func(_, c map[string]any) { c["iss"] = "https://evil.example" },
		"another audience": func(_, c map[string]any) { c["aud"] = "somebody" },
		"another nonce":    func(_, c map[string]any) { c["nonce"] = "of another login" },
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				p := w.adasProfile()
				expire()
				w.srv.MutateIDToken(mutate)
				proc := w.process()
				var puts []*authprofile.Grant
				proc.store.on(func(c *storeCall) error {
					if c.op == "PutGrant" && c.grant.Lease == nil {
						puts = append(puts, c.grant.Clone())
					}
					return c.run()
				})
				w.refuses(proc.Manager, p, nil, asAda)
				g := w.grant(ada)
				if !w.srv.IsCurrent(string(g.RefreshToken)) {
					t.Fatal("got a grant without the refresh token that was issued, want it stored")
				}
				if g.Status != failing || g.Failure.Reason != authprofile.ReasonIDToken || g.AccessToken != "" {
					t.Errorf("got %v, want no access token", g)
				}
				if len(puts) == 0 || puts[0].RefreshToken != g.RefreshToken {
					t.Error("got a first write without the new refresh token, want it in it")
				}
				w.refuses(w.manager(), p, nil, asAda)
				w.asked("refresh_token", 1)

				w.srv.MutateIDToken(nil)
				time.Sleep(3 * time.Second)
				w.token(w.m, p, asAda)
				w.healthy(ada)
			})
		})
	}
}

// A process that dies while it verifies the ID token has stored what it got.
func TestTokenIsStoredBeforeTheIDTokenIsVerified(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.adasProfile()
		proc := w.process() // which has not seen the keys yet
		expire()
		w.srv.Fault(providertest.JWKS, providertest.Fault{Hang: true, Drop: true})
		var wg sync.WaitGroup
		wg.Go(func() { proc.Token(t.Context(), p, asAda) })
		if err := w.srv.AwaitHang(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		w.healthy(ada)
		w.srv.Release()
		wg.Wait()
	})
}
