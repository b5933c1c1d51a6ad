package providertest_test

import (
	"testing"
	"time"

	"github.com/authprofile/authprofile/providertest"
)

func TestPingOneAddresses(t *testing.T) {
	const other = "0b1c2d3e-0000-4000-8000-00000000000a"
	for name, issuer := range map[string]string{
		"pingone":                      "https://auth.pingone.com/f2aba07d-270c-42ba-8811-01af5f63d458/as",
		"pingone/" + other:             "https://auth.pingone.com/" + other + "/as",
		"pingone/" + other + "/eu":     "https://auth.pingone.eu/" + other + "/as",
		"pingone/" + other + "/com.au": "https://auth.pingone.com.au/" + other + "/as",
	} {
		srv := providertest.NewServer(t, providertest.Provider(name))
		wantDocument(t, srv, issuer+"/.well-known/openid-configuration", map[string]any{
			"issuer": issuer, "authorization_endpoint": issuer + "/authorize", "token_endpoint": issuer + "/token",
			"jwks_uri": issuer + "/jwks", "revocation_endpoint": issuer + "/revoke", "userinfo_endpoint": issuer + "/userinfo",
		})
		g := sent{basic: true, form: codeForm(t, srv)}.to(t, srv).want(t, name, 200, map[string]any{
			"access_token": "*", "expires_in": 3600, "refresh_token": nil,
		})
		wantIDToken(t, srv, g, issuer, "n")
	}
	for _, name := range []string{"pingone/acme", "pingone/" + other + "/org"} {
		if srv, err := providertest.Start(providertest.Provider(name)); err == nil {
			srv.Close()
			t.Errorf("%s: got no error", name)
		}
	}
}

func TestPingOneClients(t *testing.T) {
	srv := providertest.NewServer(t, providertest.Provider("pingone", "refresh"))
	sent{post: true, form: codeForm(t, srv)}.to(t, srv).want(t, "the form, for a client with Basic", 401, map[string]any{"error": "invalid_client"})
	srv.AddClient(providertest.Client{ID: providertest.ClientID, Secret: providertest.ClientSecret, AuthMethods: []string{"client_secret_post"}})
	sent{basic: true, form: codeForm(t, srv)}.to(t, srv).want(t, "Basic, for a client with the form", 401, map[string]any{"error": "invalid_client"})
	sent{post: true, form: codeForm(t, srv)}.to(t, srv).want(t, "the form", 200, nil)
}

func TestPingOneRefresh(t *testing.T) {
	srv := providertest.NewServer(t, providertest.Provider("pingone", "refresh"))
	srv.SetConsent(providertest.Consent{Subject: "ada"})
	login := func() got {
		t.Helper()
		return sent{basic: true, form: codeForm(t, srv, "scope", "openid")}.to(t, srv).want(t, "exchange", 200, map[string]any{"refresh_token": "*"})
	}
	refresh := func(what string, token any, status int) any {
		t.Helper()
		return sent{basic: true, form: refreshForm(token)}.to(t, srv).want(t, what, status, nil).at("refresh_token")
	}
	g := login()
	userInfo(t, srv, g.at("access_token")).want(t, "userinfo", 200, map[string]any{"sub": "ada", "preferred_username": "ada"})
	second := refresh("first", g.at("refresh_token"), 200)
	refresh("first again", g.at("refresh_token"), 400)
	refresh("second", second, 200)

	unused := login().at("refresh_token")
	srv.Advance(30 * 24 * time.Hour)
	refresh("unused for 30 days", unused, 400)
	used := login().at("refresh_token")
	for range 6 {
		srv.Advance(29 * 24 * time.Hour)
		used = refresh("in use", used, 200)
	}
	srv.Advance(6 * 24 * time.Hour)
	refresh("after 180 days", used, 400)

	token := login().at("refresh_token")
	sent{basic: true, address: srv.RevocationURL(), form: []string{"token", token.(string)}}.to(t, srv).want(t, "revocation", 200, nil)
	refresh("revoked", token, 400)
}
