package authprofile_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/authprofile/authprofile"
)

const scriptedDocument = "https://accounts.example.com/.well-known/openid-configuration"

// documented makes a row go by its document.
func documented(r *row) { r.DiscoveryURL, r.AuthURL, r.TokenURL = scriptedDocument, "", "" }

// document returns one without keys, by which ID tokens are believed as they come
// from the token endpoint.
func document(issuer, auth, token string) string {
	return fmt.Sprintf(`{"issuer":%q,"authorization_endpoint":%q,"token_endpoint":%q,"response_types_supported":["code"]}`, issuer, auth, token)
}

// idToken returns one without a signature that could be verified.
func idToken(claims map[string]any) string {
	now := time.Now()
	all := map[string]any{"iss": "https://accounts.example.com", "sub": "sub-1", "aud": scriptedClient, "iat": now.Unix(), "exp": now.Add(time.Hour).Unix()}
	maps.Copy(all, claims)
	encode := func(v any) string {
		text, err := json.Marshal(v)
		if err != nil {
			panic(err)
		}
		return base64.RawURLEncoding.EncodeToString(text)
	}
	return encode(map[string]string{"alg": "RS256"}) + "." + encode(all) + ".c2ln"
}

// identified returns an answer with an ID token.
func identified(claims map[string]any) string {
	return strings.Replace(tokenAnswer, "{", `{"id_token":"`+idToken(claims)+`",`, 1)
}

// begins wants an authorization to begin, or ErrConfiguration.
func (s *scripted) begins(what string, template authprofile.Template, want bool) {
	s.Helper()
	p := s.profile(func(p *authprofile.Profile) { p.ID, p.Template = "", template })
	_, err := s.m.Begin(s.Context(), p, "ada")
	if (err == nil) != want || err != nil && !errors.Is(err, authprofile.ErrConfiguration) {
		s.Errorf("%s: got %v, want success to be %v, or else ErrConfiguration", what, err, want)
	}
}

// The addresses of a document must lie where the row says.
func TestTraitHosts(t *testing.T) {
	for _, test := range []struct {
		hosts []string
		auth  string
		want  bool
	}{
		{nil, "https://accounts.example.com/auth", true},
		{nil, "https://login.example.com/auth", false},
		{[]string{"login.example.com"}, "https://login.example.com/auth", true},
		{[]string{"login.example.com"}, "https://a.login.example.com/auth", false},
		{[]string{".example.com"}, "https://a.login.example.com/auth", true},
		{[]string{".example.com"}, "https://example.com/auth", false},
		{[]string{".example.com"}, "https://badexample.com/auth", false},
		{[]string{".example.com"}, "https://a.example.com.evil.test/auth", false},
		{[]string{"login.example.com"}, "https://login.example.com:8443/auth", false},
	} {
		onScript(t, func(r *row) { documented(r); r.Hosts = test.hosts }, func(t *testing.T, s *scripted) {
			s.on(scriptedDocument, document("https://accounts.example.com", test.auth, scriptedTokenURL))
			s.begins(fmt.Sprint(test.hosts, test.auth), "example", test.want)
		})
	}
}

// What the row says comes before what the document says.
func TestTraitAddressesBeforeTheDocument(t *testing.T) {
	onScript(t, func(r *row) {
		r.DiscoveryURL, r.TokenURL = scriptedDocument, "https://api.example.com/own-token"
		r.Hosts = []string{"api.example.com"}
	}, func(t *testing.T, s *scripted) {
		s.on(scriptedDocument, document("https://accounts.example.com", "https://accounts.example.com/auth-of-document", scriptedTokenURL))
		s.on("https://api.example.com/own-token", tokenAnswer)
		p := s.profile(nil)
		f, _ := s.begin(p)
		if !strings.HasPrefix(f.URL, scriptedAuthURL+"?") {
			t.Errorf("got %s, want the row's address", f.URL)
		}
		s.authorize(p)
		s.asked("https://api.example.com/own-token", 1)
	})
}

func TestTraitIssuer(t *testing.T) {
	for _, test := range []struct {
		row, document string
		want          bool
	}{
		{"", "https://accounts.example.com", true},
		{"", "https://issuer.example.org", false},
		{"https://issuer.example.org", "https://issuer.example.org", true},
		{"https://issuer.example.org", "https://issuer.example.org/", true},
		{"https://issuer.example.org", "https://accounts.example.com", false},
		{"https://issuer.example.org", "https://issuer.example.org.evil.test", false},
	} {
		onScript(t, func(r *row) { documented(r); r.Issuer = test.row }, func(t *testing.T, s *scripted) {
			s.on(scriptedDocument, document(test.document, scriptedAuthURL, scriptedTokenURL))
			s.begins(test.row+" "+test.document, "example", test.want)
		})
	}
}

func TestTraitTenantIDs(t *testing.T) {
	const one, two = "11111111-2222-4333-8444-555555555555", "9188040d-6c67-4c5b-b112-36a304b66dad"
	for _, test := range []struct {
		tenant, issuer string
		want           bool
	}{
		{"contoso.com", one, true},
		{"contoso.com", "contoso.com", false},
		{"common", "{tenantid}", true},
		{"common", one, false},
		{"consumers", two, true},
		{"consumers", one, false},
		{one, one, true},
		{one, two, false},
	} {
		onScript(t, func(r *row) {
			documented(r)
			r.DiscoveryURL = "https://accounts.example.com/{tenant}"
			r.Variables = []authprofile.ProviderVariable{{Name: "tenant", Title: "Tenant", Example: "contoso.com", Pattern: "^[a-z0-9.-]+$"}}
			r.Issuer = "https://accounts.example.com/{tenant_id}/v2"
			r.TenantIDs = texts("common", "{tenantid}", "consumers", two)
		}, func(t *testing.T, s *scripted) {
			s.on("https://accounts.example.com/"+test.tenant, document("https://accounts.example.com/"+test.issuer+"/v2", scriptedAuthURL, scriptedTokenURL))
			s.begins(test.tenant+" "+test.issuer, authprofile.Template("example/"+test.tenant), test.want)
		})
	}
}

// Another name of the issuer is as good, in an ID token and in a callback.
func TestTraitIssuerAliases(t *testing.T) {
	const alias, other = "accounts.example.com", "https://evil.test"
	for _, aliases := range [][]string{nil, {alias}} {
		onScript(t, func(r *row) { documented(r); r.IssuerAliases = aliases }, func(t *testing.T, s *scripted) {
			s.on(scriptedDocument, document("https://accounts.example.com", scriptedAuthURL, scriptedTokenURL))
			p := s.profile(func(p *authprofile.Profile) { p.Scopes = []string{"openid"} })
			for _, test := range []struct {
				callback, token string
				want            bool
			}{
				{"", "https://accounts.example.com", true},
				{"", alias, aliases != nil},
				{"", other, false},
				{alias, "https://accounts.example.com", aliases != nil},
				{other, "https://accounts.example.com", false},
			} {
				f, q := s.begin(p)
				s.on(scriptedTokenURL, identified(map[string]any{"iss": test.token, "nonce": q.Get("nonce")}))
				g, err := s.m.Finish(t.Context(), "ada", s.back(f, "iss", test.callback))
				if (err == nil) != test.want {
					t.Errorf("aliases %q, iss %q in the callback and %q in the ID token: got %v, want success to be %v", aliases, test.callback, test.token, err, test.want)
				}
				if err == nil && g.Issuer != "https://accounts.example.com" {
					t.Errorf("got issuer %q, want the document's name", g.Issuer)
				}
			}
		})
	}
}

func TestTraitIDToken(t *testing.T) {
	type claims = map[string]any
	for _, test := range []struct {
		trait, nonce string // of the ID token: "sent", "" for none, "no token" or another
		want         bool
	}{
		{"", "sent", true},
		{"", "", false},
		{"", "another", false},
		{"", "no token", false},
		{"no_nonce", "sent", true},
		{"no_nonce", "", true},
		{"no_nonce", "another", false},
		{"no_nonce", "no token", false},
		{"none", "no token", true},
	} {
		onScript(t, func(r *row) { r.IDToken = test.trait }, func(t *testing.T, s *scripted) {
			p := s.profile(func(p *authprofile.Profile) { p.Scopes = []string{"openid"} })
			f, q := s.begin(p)
			if got, want := q.Has("nonce"), test.trait != "none"; got != want || q.Get("scope") != "openid" {
				t.Errorf("%q: got a nonce %v with scope %q, want %v with openid", test.trait, got, q.Get("scope"), want)
			}
			switch test.nonce {
			case "sent":
				s.on(scriptedTokenURL, identified(claims{"nonce": q.Get("nonce")}))
			case "":
				s.on(scriptedTokenURL, identified(nil))
			case "no token":
			default:
				s.on(scriptedTokenURL, identified(claims{"nonce": test.nonce}))
			}
			g, err := s.m.Finish(t.Context(), "ada", s.back(f))
			if (err == nil) != test.want {
				t.Errorf("%q, nonce %q: got %v, want success to be %v", test.trait, test.nonce, err, test.want)
			}
			if err != nil {
				s.leaksNothing("the error", err.Error())
				return
			}
			if want := map[bool]string{true: "sub-1"}[test.trait != "none"]; g.Subject != want {
				t.Errorf("%q: got subject %q, want %q", test.trait, g.Subject, want)
			}
		})
	}
}

// Two templates with one document, of which only one has a host of its own, are
