package providertest_test

import (
	"testing"
	"time"

	"github.com/authprofile/authprofile/providertest"
)

func TestCognitoHosts(t *testing.T) {
	for name, want := range map[string][2]string{ // issuer, and the host of its endpoints
		"cognito":                          {"https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_AbCdEf123", "https://acme.auth.eu-central-1.amazoncognito.com"},
		"cognito/us-east-1":                {"https://cognito-idp.us-east-1.amazonaws.com/us-east-1_AbCdEf123", "https://acme.auth.us-east-1.amazoncognito.com"},
		"cognito/us-east-1/us-east-1_Pool": {"https://cognito-idp.us-east-1.amazonaws.com/us-east-1_Pool", "https://acme.auth.us-east-1.amazoncognito.com"},
	} {
		srv := providertest.NewServer(t, providertest.Provider(name))
		wantDocument(t, srv, want[0]+"/.well-known/openid-configuration", map[string]any{
			"issuer": want[0], "jwks_uri": want[0] + "/.well-known/jwks.json",
			"authorization_endpoint": want[1] + "/oauth2/authorize", "token_endpoint": want[1] + "/oauth2/token",
			"revocation_endpoint": want[1] + "/oauth2/revoke", "userinfo_endpoint": want[1] + "/oauth2/userInfo",
			"grant_types_supported": nil, "code_challenge_methods_supported": nil,
		})
		g := sent{basic: true, form: codeForm(t, srv, "scope", "openid")}.to(t, srv).want(t, name, 200, map[string]any{
			"access_token": "*", "refresh_token": "*", "expires_in": 3600, "token_type": "Bearer", "scope": nil,
		})
		wantIDToken(t, srv, g, want[0], "n")
	}
	if srv, err := providertest.Start(providertest.Provider("cognito/us-east-1/eu-west-1_Pool")); err == nil {
		srv.Close()
		t.Error("got no error for a pool in another region")
	}
}

func TestCognitoRefresh(t *testing.T) {
	srv := providertest.NewServer(t, providertest.Provider("cognito"))
	g := sent{basic: true, form: codeForm(t, srv)}.to(t, srv)
	for range 2 {
		refreshed := sent{basic: true, form: refreshForm(g.at("refresh_token"))}.to(t, srv).
			want(t, "refresh", 200, map[string]any{"access_token": "*", "id_token": "*", "refresh_token": nil})
		wantAPI(t, srv, g.at("access_token"), 200)
		wantAPI(t, srv, refreshed.at("access_token"), 200)
	}
	srv.Advance(30 * 24 * time.Hour)
	sent{basic: true, form: refreshForm(g.at("refresh_token"))}.to(t, srv).want(t, "after 30 days", 400, map[string]any{"error": "invalid_grant"})

	srv = providertest.NewServer(t, providertest.Provider("cognito", "rotation"))
	g = sent{basic: true, form: codeForm(t, srv)}.to(t, srv)
	next := sent{basic: true, form: refreshForm(g.at("refresh_token"))}.to(t, srv).want(t, "refresh with rotation", 200, map[string]any{"refresh_token": "*"})
	srv.Advance(time.Minute - time.Second)
	sent{basic: true, form: refreshForm(g.at("refresh_token"))}.to(t, srv).want(t, "inside the grace", 200, nil)
	srv.Advance(30*24*time.Hour - time.Minute)
	sent{basic: true, form: refreshForm(next.at("refresh_token"))}.to(t, srv).want(t, "before the end of the 30 days", 200, nil)
	srv.Advance(time.Minute)
	sent{basic: true, form: refreshForm(next.at("refresh_token"))}.to(t, srv).want(t, "after it", 400, map[string]any{"error": "invalid_grant"})
}

func TestCognitoErrorsHaveNoDescription(t *testing.T) {
	srv := providertest.NewServer(t, providertest.Provider("cognito"))
	g := sent{basic: true, form: codeForm(t, srv)}.to(t, srv)
	revoke := func(token any) sent {
		return sent{basic: true, address: srv.RevocationURL(), form: []string{"token", token.(string)}}
	}
	wrong := revoke("x")
	wrong.secret = "x"
	for _, test := range []struct {
		what   string
		r      sent
		status int
		want   string
	}{
		{"wrong code", sent{basic: true, form: exchange("x")}, 400, "invalid_grant"},
		{"wrong refresh token", sent{basic: true, form: refreshForm("x")}, 400, "invalid_grant"},
		{"wrong secret", sent{post: true, secret: "x", form: refreshForm("x")}, 400, "invalid_client"},
		{"no grant type", sent{basic: true, form: []string{"code", "x"}}, 400, "invalid_request"},
		{"wrong secret at the revocation endpoint", wrong, 401, "invalid_client"},
		{"revocation of an access token", revoke(g.at("access_token")), 400, "unsupported_token_type"},
	} {
		got := test.r.to(t, srv).want(t, test.what, test.status, map[string]any{"error": test.want})
		if len(got.v) != 1 {
			t.Errorf("%s: got %s, want nothing beside the code", test.what, got.body)
		}
	}

	srv.SetConsent(providertest.Consent{Subject: "ada"})
	g = sent{basic: true, form: codeForm(t, srv)}.to(t, srv)
	userInfo(t, srv, g.at("access_token")).want(t, "userinfo", 200, map[string]any{"sub": "ada", "username": "ada"})
	revoke(g.at("refresh_token")).to(t, srv).want(t, "revocation", 200, nil)
	wantAPI(t, srv, g.at("access_token"), 401)
	sent{basic: true, form: refreshForm(g.at("refresh_token"))}.to(t, srv).want(t, "revoked", 400, nil)
}
