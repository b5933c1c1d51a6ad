package authprofile_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"net/url"
	"slices"
	"strings"
	"testing"

	"golang.org/x/oauth2"

	"github.com/authprofile/authprofile"
)

func TestTraitCallbackCode(t *testing.T) {
	onScript(t, func(r *row) { r.CallbackCode = "own_code" }, func(t *testing.T, s *scripted) {
		p := s.profile(nil)
		s.authorize(p, "code", "", "own_code", "SENTINEL-own")
		wantParams(t, "the exchange", s.last(scriptedTokenURL).form, "code", "SENTINEL-own", "own_code", "")
		s.authorize(p, "code", "SENTINEL-standard", "own_code", "SENTINEL-own")
		wantParams(t, "the exchange", s.last(scriptedTokenURL).form, "code", "SENTINEL-own")
		s.refuses(p, nil, "code", "", "another", "SENTINEL-other")
		s.refuses(p, nil) // the standard's name alone
		f, _ := s.begin(p)
		q := s.back(f, "code", "")
		q["own_code"] = []string{"SENTINEL-one", "SENTINEL-two"}
		s.refusesQuery(q, nil)
	})
	onScript(t, nil, func(t *testing.T, s *scripted) {
		p := s.profile(nil)
		s.refuses(p, nil, "code", "", "own_code", "SENTINEL-own")

		// What cannot have a code does not use the flow up.
		f, _ := s.begin(p)
		for _, name := range []string{"lang", "error_code"} {
			s.refusesQuery(s.back(f, "code", "", name, "1"), nil)
		}
		if _, err := s.m.Finish(t.Context(), "ada", s.back(f)); err != nil {
			t.Errorf("after callbacks without a code: got %v, want a grant", err)
		}
	})
}

// What the row names is kept of a callback, and nothing else; an answer that says
// it otherwise comes first.
func TestTraitCallbackKeep(t *testing.T) {
	onScript(t, func(r *row) { r.CallbackKeep = []string{"realmId", "company", "role"} }, func(t *testing.T, s *scripted) {
		p := s.profile(nil)
		g := s.authorize(p, "realmId", "SENTINEL-realm", "company", "acme", "other", "SENTINEL-other")
		wantExtra(t, g, "realmId", "SENTINEL-realm", "company", "acme")
		s.on(scriptedTokenURL, renewedAnswer)
		s.renews(p, scriptedTokenURL)
		wantExtra(t, s.grant(ada), "realmId", "SENTINEL-realm", "company", "acme")

		s.on(scriptedTokenURL, strings.Replace(tokenAnswer, "{", `{"company":"answer","team":"t",`, 1))
		wantExtra(t, s.authorize(p, "realmId", "r", "company", "callback"), "realmId", "r", "company", "answer", "team", "t")

		s.on(scriptedTokenURL, tokenAnswer)
		long := strings.Repeat("x", 4096)
		wantExtra(t, s.authorize(p, "realmId", long, "company", "acme", "role", "bad\xff"), "company", "acme")

		f, _ := s.begin(p)
		q := s.back(f)
		q["company"] = []string{"acme", "evil"}
		s.refusesQuery(q, nil)
	})
}

func TestTraitCallbackMatch(t *testing.T) {
	onScript(t, func(r *row) {
		r.Variables = []authprofile.ProviderVariable{{Name: "shop", Title: "Shop", Example: "acme", Pattern: "^[a-z]+$"}}
		r.CallbackMatch = texts("shop", "{shop}.example.com")
	}, func(t *testing.T, s *scripted) {
		p := s.profile(func(p *authprofile.Profile) { p.Template = "example/acme" })
		s.authorize(p, "shop", "acme.example.com")
		for _, shop := range []string{"", "evil.example.com", "acme", "ACME.example.com", "acme.example.com.evil.test"} {
			s.refuses(p, nil, "shop", shop)
		}
		f, _ := s.begin(p)
		q := s.back(f)
		q["shop"] = []string{"acme.example.com", "acme.example.com"}
		s.refusesQuery(q, nil)
	})
}

// signed returns a query with the HMAC of all that is in it.
func signed(q url.Values, secret string) url.Values {
	var pairs []string
	for name, values := range q {
		for _, value := range values {
			pairs = append(pairs, name+"="+value)
		}
	}
	slices.Sort(pairs)
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(strings.Join(pairs, "&")))
	q.Set("hmac", hex.EncodeToString(mac.Sum(nil)))
	return q
}

func TestTraitCallbackHMAC(t *testing.T) {
	onScript(t, func(r *row) { r.CallbackHMAC = "hmac" }, func(t *testing.T, s *scripted) {
		p := s.profile(nil)
		fresh := func() url.Values {
			f, _ := s.begin(p)
			return s.back(f, "shop", "acme.example.com", "timestamp", "1", "host", "a b&c=d")
		}
		if _, err := s.m.Finish(t.Context(), "ada", signed(fresh(), scriptedSecret)); err != nil {
			t.Errorf("signed: got %v, want no error", err)
		}
		for name, change := range map[string]func(q url.Values){
			"wrong":                func(q url.Values) { q.Set("hmac", strings.Repeat("0", 64)) },
			"missing":              func(q url.Values) { q.Del("hmac") },
			"empty":                func(q url.Values) { q.Set("hmac", "") },
			"not hex":              func(q url.Values) { q.Set("hmac", q.Get("hmac")+"x") },
			"cut":                  func(q url.Values) { q.Set("hmac", q.Get("hmac")[:32]) },
			"twice":                func(q url.Values) { q.Add("hmac", q.Get("hmac")) },
			"of another code":      func(q url.Values) { q.Set("code", "SENTINEL-stolen") },
			"with a parameter":     func(q url.Values) { q.Set("more", "1") },
			"without a parameter":  func(q url.Values) { q.Del("shop") },
			"with another secret":  func(q url.Values) { q.Del("hmac"); signed(q, "another") },
			"without a secret":     func(q url.Values) { q.Del("hmac"); signed(q, "") },
			"signed with the hmac": func(q url.Values) { signed(q, scriptedSecret) },
		} {
			q := signed(fresh(), scriptedSecret)
			change(q)
			if err := s.refusesQuery(q, nil); err != nil && !strings.Contains(err.Error(), "hmac") {
				t.Errorf("%s: got %v, want the parameter in it", name, err)
			}
		}
		s.asked(scriptedTokenURL, 1)

		public := s.profile(func(p *authprofile.Profile) { p.ID, p.ClientSecret = "public", "" })
		f, _ := s.begin(public)
		s.refusesQuery(signed(s.back(f), ""), nil) // a client without a secret can be signed for by all
	})
}

func TestTraitCallbackErrors(t *testing.T) {
	onScript(t, func(r *row) { r.CallbackErrors = texts("user_denied", "access_denied") }, func(t *testing.T, s *scripted) {
		p := s.profile(nil)
		for code, want := range map[string]string{"user_denied": "access_denied", "access_denied": "access_denied", "server_error": "server_error"} {
			err := s.refuses(p, nil, "code", "", "error", code)
			var re *oauth2.RetrieveError
			if !errors.As(err, &re) || re.ErrorCode != want {
				t.Errorf("%s: got %v, want the code %s", code, err, want)
			}
		}
	})
}

// The callback says what was granted, until an answer does.
func TestTraitCallbackScope(t *testing.T) {
	onScript(t, func(r *row) { r.CallbackScope, r.ScopeSeparator = "scopes", "," }, func(t *testing.T, s *scripted) {
		p := s.profile(nil)
		for scopes, want := range map[string][]string{
			"read,extra": {"read", "extra"}, "read write": {"read", "write"}, "read,read": {"read"}, ",": {},
		} {
			g := s.authorize(p, "scopes", scopes)
			if !slices.Equal(g.Scopes, want) || !slices.Equal(g.Requested, []string{"read", "write"}) {
				t.Errorf("%q: got scopes %q of %q, want %q of those of the profile", scopes, g.Scopes, g.Requested, want)
			}
		}
		if g := s.authorize(p); !slices.Equal(g.Scopes, []string{"read", "write"}) {
			t.Errorf("without: got scopes %q, want those asked for", g.Scopes)
		}
		s.on(scriptedTokenURL, strings.Replace(tokenAnswer, "{", `{"scope":"write",`, 1))
		if g := s.authorize(p, "scopes", "read"); !slices.Equal(g.Scopes, []string{"write"}) {
			t.Errorf("said by the answer, too: got scopes %q, want the answer's", g.Scopes)
		}
	})
}

// hostTrait lets the callback and the answers name the host for the rest.
func hostTrait(r *row) {
	r.Hosts = []string{".accounts.example.com", "eu.example.net"}
	r.HostMember, r.CallbackKeep = "server", []string{"server"}
	r.Revocation = &authprofile.ProviderRequest{URL: "https://accounts.example.com/revoke"}
}

func TestTraitHostMember(t *testing.T) {
	for _, server := range []string{"https://eu.accounts.example.com", "eu.accounts.example.com", "https://eu.accounts.example.com/", "eu.example.net"} {
		onScript(t, hostTrait, func(t *testing.T, s *scripted) {
			p := s.profile(nil)
			host := strings.Trim(strings.TrimPrefix(server, "https:"), "/")
			token, revocation := "https://"+host+"/token", "https://"+host+"/revoke"
			s.on(token, tokenAnswer, renewedAnswer)
			s.on(revocation, "")
			s.authorize(p, "server", server)
			s.asked(token, 1)
			s.renews(p, token)
			if err := s.m.Revoke(t.Context(), ada); err != nil {
				t.Error(err)
			}
			s.asked(revocation, 2)
			s.asked(scriptedTokenURL, 0)
		})
	}
	t.Run("from an answer", func(t *testing.T) {
		onScript(t, hostTrait, func(t *testing.T, s *scripted) {
			const token = "https://us.accounts.example.com/token"
			p := s.profile(nil)
			s.on(scriptedTokenURL, strings.Replace(tokenAnswer, "{", `{"server":"us.accounts.example.com",`, 1))
			s.on(token, renewedAnswer)
			s.authorize(p)
			s.renews(p, token)
			s.asked(scriptedTokenURL, 1)
		})
	})
}

// The client's assertions are for the host that they are sent to.
func TestThreat096_AudienceOfHostMember(t *testing.T) {
	onScript(t, hostTrait, func(t *testing.T, s *scripted) {
		const token = "https://eu.accounts.example.com/token"
		p := s.profile(func(p *authprofile.Profile) { p.ClientSecret, p.ClientKey = "", keyText(t, testKeys()["P-256"]) })
		s.on(token, tokenAnswer, renewedAnswer)
		s.authorize(p, "server", "eu.accounts.example.com")
		s.renews(p, token)
		for _, r := range s.requests(token) {
			parts := strings.Split(r.form.Get("client_assertion")+"..", ".")
			claims, err := base64.RawURLEncoding.DecodeString(parts[1])
			if want := `"aud":"` + token + `"`; err != nil || !strings.Contains(string(claims), want) {
				t.Errorf("%s: got claims %s, want %s", r.form.Get("grant_type"), claims, want)
			}
		}
	})
}

// What the callback said is kept, however much an answer says: without it, the next
// renewal would go to a host that does not know the grant.
func TestTraitHostMemberStays(t *testing.T) {
	onScript(t, hostTrait, func(t *testing.T, s *scripted) {
		const token = "https://eu.accounts.example.com/token"
		p := s.profile(nil)
		s.on(token, strings.Replace(tokenAnswer, "{", `{"news":"`+strings.Repeat("x", 4080)+`",`, 1), renewedAnswer)
		g := s.authorize(p, "server", "eu.accounts.example.com")
		wantExtra(t, g, "server", "eu.accounts.example.com")
		s.renews(p, token)
		s.asked(scriptedTokenURL, 0)
	})
}

// A host that is not the provider's gets nothing.
func TestTraitHostMemberOfAnother(t *testing.T) {
	for _, server := range []string{
		"https://accounts.example.com.evil.test", "evil.test", "evil.test/.accounts.example.com", "evil.test?.accounts.example.com",
		"evil.test#.accounts.example.com", `evil.test\.accounts.example.com`, "evil.test%2f.accounts.example.com",
		"user@eu.accounts.example.com", "https://eu.accounts.example.com:8443", "eu.accounts.example.com/path",
		"http://eu.accounts.example.com", "//eu.accounts.example.com", "xaccounts.example.com", ".accounts.example.com",
		"eu.example.net.", "a.eu.example.net", "127.0.0.1", "[::1]", "https://https://eu.example.net", " eu.example.net", "eu.example.net\n",
	} {
		t.Run(server, func(t *testing.T) {
			onScript(t, hostTrait, func(t *testing.T, s *scripted) {
				p := s.profile(nil)
				s.refuses(p, authprofile.ErrConfiguration, "server", server)

				quoted := strings.NewReplacer(`\`, `\\`, "\n", `\n`).Replace(server)
				s.on(scriptedTokenURL, strings.Replace(tokenAnswer, "{", `{"server":"`+quoted+`",`, 1))
				s.authorize(p)
				if _, err := s.renew(p); !errors.Is(err, authprofile.ErrConfiguration) {
					t.Errorf("a renewal: got %v, want ErrConfiguration", err)
				}
				s.asked(scriptedTokenURL, 1)
				if g := s.grant(ada); g.Status != authprofile.StatusNeedsConfiguration || g.RefreshToken != "refresh-1" {
					t.Errorf("got status %s, want %s and the refresh token still there", g.Status, authprofile.StatusNeedsConfiguration)
				}
				if err := s.m.Revoke(t.Context(), ada); !errors.Is(err, authprofile.ErrConfiguration) {
					t.Errorf("a revocation: got %v, want ErrConfiguration", err)
				}
			})
		})
	}
}
