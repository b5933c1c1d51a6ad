package providertest_test

import (
	"strings"
	"testing"
	"time"

	"github.com/authprofile/authprofile/providertest"
)

// wantDocument checks members of a fake's discovery document.
func wantDocument(t *testing.T, srv *providertest.Server, address string, members map[string]any) {
	t.Helper()
	if got := srv.DiscoveryURL(); got != address {
		t.Errorf("got document at %s, want %s", got, address)
	}
	sent{method: "GET", address: address}.to(t, srv).want(t, "document", 200, members)
}

// wantIDToken checks the signature of the ID token in an answer, and its issuer
// and nonce. It returns its claims.
func wantIDToken(t *testing.T, srv *providertest.Server, g got, issuer string, nonce any) map[string]any {
	t.Helper()
	token, _ := g.at("id_token").(string)
	if token == "" {
		t.Fatalf("got no ID token in %s", g.body)
	}
	_, claims := verify(t, srv, token)
	if claims["iss"] != issuer || claims["aud"] != providertest.ClientID || claims["nonce"] != nonce {
		t.Errorf("got ID token %v, want issuer %s, the client, and nonce %v", claims, issuer, nonce)
	}
	return claims
}

// userInfo asks the address that the document of a fake gives.
func userInfo(t *testing.T, srv *providertest.Server, accessToken any) got {
	t.Helper()
	address, _ := sent{method: "GET", address: srv.DiscoveryURL()}.to(t, srv).at("userinfo_endpoint").(string)
	return sent{method: "GET", address: address, bearer: accessToken}.to(t, srv)
}

func TestOktaServers(t *testing.T) {
	for name, want := range map[string][2]string{ // issuer, and the base of its endpoints
		"okta":                        {"https://acme.okta.com", "https://acme.okta.com/oauth2/v1"},
		"okta/id.example.com":         {"https://id.example.com", "https://id.example.com/oauth2/v1"},
		"okta/acme.okta.com/default":  {"https://acme.okta.com/oauth2/default", "https://acme.okta.com/oauth2/default/v1"},
		"okta/b.oktapreview.com/aus1": {"https://b.oktapreview.com/oauth2/aus1", "https://b.oktapreview.com/oauth2/aus1/v1"},
	} {
		srv := providertest.NewServer(t, providertest.Provider(name))
		wantDocument(t, srv, want[0]+"/.well-known/openid-configuration", map[string]any{
			"issuer": want[0], "authorization_endpoint": want[1] + "/authorize", "token_endpoint": want[1] + "/token",
			"jwks_uri": want[1] + "/keys", "revocation_endpoint": want[1] + "/revoke", "userinfo_endpoint": want[1] + "/userinfo",
		})
		g := sent{basic: true, form: codeForm(t, srv)}.to(t, srv).
			want(t, name, 200, map[string]any{"refresh_token": "*", "expires_in": 3600, "token_type": "Bearer"})
		wantIDToken(t, srv, g, want[0], "n")
		sent{post: true, form: codeForm(t, srv, "scope", "openid")}.to(t, srv).
			want(t, name+" without offline_access", 200, map[string]any{"access_token": "*", "refresh_token": nil})
	}
}

func TestOktaRotation(t *testing.T) {
	for _, test := range []struct {
		what   string
		policy func(p *providertest.Policy) // nil: as it is
		after  time.Duration
		want   int
	}{
		{"at once", nil, 0, 200},
		{"inside 30 seconds", nil, 29 * time.Second, 200},
		{"after the grace", nil, 31 * time.Second, 400},
		{"inside a grace of 60 seconds", func(p *providertest.Policy) { p.Grace = time.Minute }, 59 * time.Second, 200},
		{"at once without grace", func(p *providertest.Policy) { p.Rotation = providertest.RotateStrict }, 0, 400},
	} {
		srv := providertest.NewServer(t, providertest.Provider("okta"))
		if test.policy != nil {
			p := srv.Policy()
			test.policy(&p)
			srv.SetPolicy(p)
		}
		first := sent{basic: true, form: codeForm(t, srv)}.to(t, srv)
		second := sent{basic: true, form: refreshForm(first.at("refresh_token"))}.to(t, srv).want(t, "refresh", 200, map[string]any{"refresh_token": "*"})
		srv.Advance(test.after)
		again := sent{basic: true, form: refreshForm(first.at("refresh_token"))}.to(t, srv).want(t, test.what, test.want, nil)
		if test.want == 200 {
			continue
		}
		again.want(t, test.what, 400, map[string]any{"error": "invalid_grant"})
		sent{basic: true, form: refreshForm(second.at("refresh_token"))}.to(t, srv).want(t, test.what+", the newest", 400, map[string]any{"error": "invalid_grant"})
		for _, g := range []got{first, second} {
			wantAPI(t, srv, g.at("access_token"), 401)
		}
	}

	for name, want := range map[string]int{"okta": 200, "okta/acme.okta.com/default": 400} {
		srv := providertest.NewServer(t, providertest.Provider(name))
		g := sent{basic: true, form: codeForm(t, srv)}.to(t, srv)
		srv.Advance(7 * 24 * time.Hour)
		sent{basic: true, form: refreshForm(g.at("refresh_token"))}.to(t, srv).want(t, name+" after a week without use", want, nil)
	}
}

func TestOktaDemands(t *testing.T) {
	srv := providertest.NewServer(t, providertest.Provider("okta"))
	if q := authorize(t, srv, "code_challenge", "", "code_challenge_method", ""); q.Get("error") != "invalid_request" {
		t.Errorf("without PKCE: got %v, want invalid_request", q)
	}
	app := []string{"grant_type", "client_credentials", "scope", "okta.users.read"}
	for _, r := range []sent{{basic: true, form: app}, {post: true, form: app}} {
		g := r.to(t, srv).want(t, "client credentials with a secret", 401, map[string]any{"error": "invalid_client"})
		if text, _ := g.at("error_description").(string); !strings.Contains(text, "private_key_jwt") {
			t.Errorf("got %s, want private_key_jwt demanded", g.body)
		}
	}
	custom := providertest.NewServer(t, providertest.Provider("okta/acme.okta.com/default"))
	sent{basic: true, form: app}.to(t, custom).want(t, "client credentials at a custom server", 200, map[string]any{"access_token": "*", "refresh_token": nil})
}

func TestOktaUserInfoAndRevocation(t *testing.T) {
	srv := providertest.NewServer(t, providertest.Provider("okta"))
	srv.SetConsent(providertest.Consent{Subject: "00u1", Claims: map[string]any{"name": "Ada"}})
	g := sent{basic: true, form: codeForm(t, srv)}.to(t, srv)
	userInfo(t, srv, g.at("access_token")).want(t, "userinfo", 200, map[string]any{"sub": "00u1", "name": "Ada", "preferred_username": "00u1", "client_id": nil})
	without := sent{basic: true, form: codeForm(t, srv, "scope", "okta.users.read.self")}.to(t, srv).want(t, "without openid", 200, map[string]any{"id_token": nil})
	denied := userInfo(t, srv, without.at("access_token")).want(t, "userinfo without openid", 403, nil)
	if h := denied.header.Get("WWW-Authenticate"); !strings.Contains(h, "insufficient_scope") {
		t.Errorf("got WWW-Authenticate %q, want insufficient_scope", h)
	}
	userInfo(t, srv, "x").want(t, "userinfo with a wrong token", 401, nil)
	sent{method: "GET", address: srv.APIURL() + "/users/me", bearer: "x"}.to(t, srv).
		want(t, "API with a wrong token", 401, map[string]any{"errorCode": "E0000011", "errorSummary": "*"})

	revoke := func(token any) {
		t.Helper()
		sent{basic: true, address: srv.RevocationURL(), form: []string{"token", token.(string)}}.to(t, srv).want(t, "revocation", 200, nil)
	}
	revoke(without.at("access_token"))
	wantAPI(t, srv, without.at("access_token"), 401)
	revoke(g.at("refresh_token"))
	sent{basic: true, form: refreshForm(g.at("refresh_token"))}.to(t, srv).want(t, "revoked", 400, map[string]any{"error": "invalid_grant"})
}
