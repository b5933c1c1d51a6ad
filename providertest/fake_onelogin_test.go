package providertest_test

import (
	"testing"
	"time"

	"github.com/authprofile/authprofile/providertest"
)

func TestOneLoginUsers(t *testing.T) {
	for name, host := range map[string]string{"onelogin": "https://acme.onelogin.com", "onelogin/widgets": "https://widgets.onelogin.com"} {
		srv := providertest.NewServer(t, providertest.Provider(name, "refresh"))
		issuer := host + "/oidc/2"
		wantDocument(t, srv, issuer+"/.well-known/openid-configuration", map[string]any{
			"issuer": issuer, "authorization_endpoint": issuer + "/auth", "token_endpoint": issuer + "/token",
			"jwks_uri": issuer + "/certs", "revocation_endpoint": issuer + "/token/revocation", "userinfo_endpoint": issuer + "/me",
		})
		g := sent{basic: true, form: codeForm(t, srv, "scope", "openid")}.to(t, srv).want(t, name, 200, map[string]any{
			"access_token": "*", "refresh_token": "*", "expires_in": 3600, "account_id": nil,
		})
		wantIDToken(t, srv, g, issuer, "n")
	}

	srv := providertest.NewServer(t, providertest.Provider("onelogin"))
	srv.SetConsent(providertest.Consent{Subject: "ada"})
	g := sent{basic: true, form: codeForm(t, srv)}.to(t, srv).want(t, "without the switch", 200, map[string]any{"refresh_token": nil})
	userInfo(t, srv, g.at("access_token")).want(t, "me", 200, map[string]any{"sub": "ada", "preferred_username": "ada"})
	sent{post: true, form: codeForm(t, srv)}.to(t, srv).want(t, "the form, for a client with Basic", 401, map[string]any{"error": "invalid_client"})
	sent{basic: true, json: codeForm(t, srv)}.to(t, srv).want(t, "JSON", 400, map[string]any{"error": "invalid_request"})
	sent{basic: true, form: []string{"grant_type", "client_credentials"}}.to(t, srv).
		want(t, "client credentials", 400, map[string]any{"error": "unsupported_grant_type"})
}

func TestOneLoginRefresh(t *testing.T) {
	srv := providertest.NewServer(t, providertest.Provider("onelogin", "refresh"))
	first := sent{basic: true, form: codeForm(t, srv)}.to(t, srv).at("refresh_token")
	second := sent{basic: true, form: refreshForm(first)}.to(t, srv).want(t, "first", 200, map[string]any{"refresh_token": "*"}).at("refresh_token")
	sent{basic: true, form: refreshForm(first)}.to(t, srv).want(t, "first again", 400, map[string]any{"error": "invalid_grant"})
	sent{basic: true, address: srv.RevocationURL(), form: []string{"token", second.(string)}}.to(t, srv).want(t, "revocation", 200, nil)
	sent{basic: true, form: refreshForm(second)}.to(t, srv).want(t, "revoked", 400, map[string]any{"error": "invalid_grant"})
}

func TestOneLoginManagementAPI(t *testing.T) {
	srv := providertest.NewServer(t, providertest.Provider("onelogin/widgets"))
	own := map[string]string{"Authorization": "client_id:" + providertest.ClientID + ", client_secret:" + providertest.ClientSecret}
	app := []string{"grant_type", "client_credentials"}
	address := "https://widgets.onelogin.com/auth/oauth2/v2/token"
	g := sent{address: address, header: own, json: app}.to(t, srv).want(t, "token", 200, map[string]any{
		"access_token": "*", "token_type": "bearer", "expires_in": 36000, "created_at": "*", "account_id": 555555, "scope": nil,
	})
	if r := srv.Requests()[0]; srv.Count("client_credentials") != 1 || r.ClientID != providertest.ClientID || r.Status != 200 {
		t.Errorf("got record %+v, want one of the client's request", r)
	}
	for what, r := range map[string]sent{
		"Basic":          {basic: true},
		"no credentials": {},
		"wrong secret":   {header: map[string]string{"Authorization": "client_id:" + providertest.ClientID + ", client_secret:x"}},
	} {
		r.address, r.json = address, app
		r.to(t, srv).want(t, what, 401, map[string]any{"statusCode": 401, "message": "*", "error": nil})
	}
	sent{address: address, header: own, json: exchange("x")}.to(t, srv).want(t, "a code", 400, map[string]any{"statusCode": 400})
	sent{header: own, form: refreshForm("x")}.to(t, srv).want(t, "the same header elsewhere", 400, map[string]any{"error": "invalid_request"})

	wantAPI(t, srv, g.at("access_token"), 200)
	revoke := sent{address: "https://widgets.onelogin.com/auth/oauth2/revoke", json: []string{"access_token", g.at("access_token").(string)}}
	revoke.to(t, srv).want(t, "revocation without credentials", 401, nil)
	wantAPI(t, srv, g.at("access_token"), 200)
	revoke.header = own
	revoke.to(t, srv).want(t, "revocation", 200, nil)
	wantAPI(t, srv, g.at("access_token"), 401)
	revoke.to(t, srv).want(t, "second revocation", 400, nil)

	g = sent{address: address, header: own, json: app}.to(t, srv)
	srv.Advance(10 * time.Hour)
	wantAPI(t, srv, g.at("access_token"), 401)
}
