package authprofile_test

import (
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authprofile/authprofile"
	"github.com/authprofile/authprofile/providertest"
)

// endless is a body without an end, which counts what was read of it.
type endless struct{ read int }

func (e *endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	e.read += len(p)
	return len(p), nil
}

func (e *endless) Close() error { return nil }

func TestGoOIDC_DocumentsAreBounded(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p, proc := w.user(), w.process()
		proc.RedirectURL = callbackAddress
		for _, address := range []string{w.srv.DiscoveryURL(), w.srv.JWKSURL()} {
			body := new(endless)
			w.elsewhere(proc, address, func() *http.Response {
				resp := respond(200, "", "Content-Type", "application/json")
				resp.Body = body
				return resp
			})
			if address == w.srv.DiscoveryURL() {
				if f, err := proc.Begin(t.Context(), p, "ada"); !errors.Is(err, authprofile.ErrConfiguration) {
					t.Errorf("got %v, %v; want ErrConfiguration", f, err)
				}
				time.Sleep(time.Minute)
			} else if g, err := proc.Finish(t.Context(), "ada", w.consent(w.begin(p, "ada"))); err == nil {
				t.Errorf("got %v, want an error", g)
			}
			if body.read == 0 || body.read > 1<<20 {
				t.Errorf("%s: got %d bytes read of an endless document, want some, and at most 1 MiB", address, body.read)
			}
		}
		w.asked("authorization_code", 0) // the code is kept for better keys
		w.noGrant(ada)
	})
}

func TestGoOIDC_RedirectsAreNotFollowed(t *testing.T) {
	for _, status := range []int{301, 302, 303, 307, 308} {
		t.Run(fmt.Sprint("052 ", status), func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				p := w.user()
				for _, address := range []string{w.srv.DiscoveryURL(), w.srv.JWKSURL()} {
					proc := w.process()
					proc.RedirectURL = callbackAddress
					strayed := w.elsewhere(proc, address, func() *http.Response {
						return redirect(status, "https://evil.example.com/.well-known/openid-configuration")
					})
					var err error
					if address == w.srv.DiscoveryURL() {
						_, err = proc.Begin(t.Context(), p, "ada")
					} else {
						_, err = proc.Finish(t.Context(), "ada", w.consent(w.begin(p, "ada")))
					}
					if !errors.Is(err, authprofile.ErrConfiguration) {
						t.Errorf("%s: got error %v, want ErrConfiguration", address, err)
					}
					if len(*strayed) != 0 {
						t.Errorf("%s: got requests elsewhere: %q, want none", address, *strayed)
					}
				}
				w.noGrant(ada)
			})
		})
	}
}

func TestGoOIDC_AddressesOfOtherSchemes(t *testing.T) {
	addresses := []string{"javascript:alert(1)", "file:///etc/passwd", "data:text/html,x", "http://login.example.com/x", "//evil.example.com/x", "/x", "$(calc)"}
	for _, name := range []string{"authorization_endpoint", "token_endpoint", "jwks_uri"} {
		for _, address := range addresses {
			t.Run("054 "+name+" "+address, func(t *testing.T) {
				inWorld(t, func(t *testing.T, w *world) {
					w.srv.Mutate(providertest.Discovery, func(answer map[string]any) { answer[name] = address })
					p := w.user()
					f, err := w.m.Begin(t.Context(), p, "ada")
					if !errors.Is(err, authprofile.ErrConfiguration) || f != nil {
						t.Fatalf("got %v, %v; want ErrConfiguration", f, err)
					}
					if strings.Contains(err.Error(), address) {
						t.Errorf("got error %q, want it without the address", err)
					}
				})
			})
		}
	}

	// This one is of no matter before a grant is to be ended.
	for _, address := range addresses {
		t.Run("054 revocation_endpoint "+address, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.srv.Mutate(providertest.Discovery, func(answer map[string]any) { answer["revocation_endpoint"] = address })
				w.adasProfile()
				err := w.m.Revoke(t.Context(), ada)
				if !errors.Is(err, authprofile.ErrConfiguration) || !strings.Contains(fmt.Sprint(err), "revocation_endpoint") {
					t.Fatalf("got %v, want ErrConfiguration with the member", err)
				}
				if strings.Contains(err.Error(), address) {
					t.Errorf("got error %q, want it without the address", err)
				}
				w.noGrant(ada)
			})
		})
	}
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
			a["pushed_authorization_request_endpoint"], a["mtls_endpoint_aliases"] = "/par", []any{"/token"}
		},
		"066 aliases": func(a map[string]any) {
			a["mtls_endpoint_aliases"] = map[string]any{"token_endpoint": "https://evil.example.com/token", "revocation_endpoint": "/revoke"}
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
			// A key that has leaked, and is published no more.
			next := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)).Public().(ed25519.PublicKey)
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

// An attacker whose ID tokens have invented key IDs cannot make the client ask
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
