package providertest_test

import (
	"slices"
	"testing"
	"time"

	"github.com/authprofile/authprofile/providertest"
)

const auth0Audience = "https://api.example.com/"

func TestAuth0Issuer(t *testing.T) {
	for name, issuer := range map[string]string{
		"auth0":                "https://acme.eu.auth0.com/",
		"auth0/id.example.com": "https://id.example.com/",
	} {
		srv := providertest.NewServer(t, providertest.Provider(name))
		wantDocument(t, srv, issuer+".well-known/openid-configuration", map[string]any{
			"issuer": issuer, "authorization_endpoint": issuer + "authorize", "token_endpoint": issuer + "oauth/token",
			"revocation_endpoint": issuer + "oauth/revoke", "userinfo_endpoint": issuer + "userinfo", "jwks_uri": issuer + ".well-known/jwks.json",
		})
		for _, r := range []sent{{post: true, form: codeForm(t, srv)}, {basic: true, form: codeForm(t, srv)}, {post: true, json: codeForm(t, srv)}} {
			g := r.to(t, srv).want(t, name, 200, map[string]any{"access_token": "*", "refresh_token": "*", "expires_in": 86400, "token_type": "Bearer"})
			wantIDToken(t, srv, g, issuer, "n")
		}
	}
}

func TestAuth0Audience(t *testing.T) {
	srv := providertest.NewServer(t, providertest.Provider("auth0"))
	srv.SetConsent(providertest.Consent{Subject: "auth0|1", Claims: map[string]any{"name": "Ada"}})
	opaque := sent{post: true, form: codeForm(t, srv)}.to(t, srv).at("access_token")
	wantAPI(t, srv, opaque, 401)
	userInfo(t, srv, opaque).want(t, "userinfo", 200, map[string]any{"sub": "auth0|1", "name": "Ada"})

	g := sent{post: true, form: codeForm(t, srv, "audience", auth0Audience)}.to(t, srv)
	refreshed := sent{post: true, form: refreshForm(g.at("refresh_token"))}.to(t, srv).want(t, "refresh", 200, nil)
	if g.at("access_token") == refreshed.at("access_token") {
		t.Error("got the same access token twice")
	}
	for _, g := range []got{g, refreshed} {
		token := g.at("access_token")
		_, claims := verify(t, srv, token.(string))
		audience, _ := claims["aud"].([]any)
		if !slices.Equal(audience, []any{auth0Audience, srv.Issuer() + "userinfo"}) || claims["iss"] != srv.Issuer() ||
			claims["sub"] != "auth0|1" || claims["azp"] != providertest.ClientID {
			t.Errorf("got access token %v, want one for %s", claims, auth0Audience)
		}
		if d := claims["exp"].(float64) - claims["iat"].(float64); d != 86400 {
			t.Errorf("got an access token of %v seconds, want 86400", d)
		}
		wantAPI(t, srv, token, 200)
		userInfo(t, srv, token).want(t, "userinfo", 200, nil)
	}

	app := []string{"grant_type", "client_credentials"}
	sent{post: true, form: app}.to(t, srv).want(t, "no audience", 403, map[string]any{"error": "access_denied", "error_description": "*"})
	app = append(app, "audience", auth0Audience)
	sent{post: true, secret: "x", form: app}.to(t, srv).want(t, "wrong secret", 401, map[string]any{"error": "access_denied", "error_description": "Unauthorized"})
	token := sent{post: true, form: app}.to(t, srv).want(t, "client credentials", 200, map[string]any{"refresh_token": nil}).at("access_token")
	_, claims := verify(t, srv, token.(string))
	if want := providertest.ClientID + "@clients"; claims["sub"] != want {
		t.Errorf("got sub %v, want %s", claims["sub"], want)
	}
}

func TestAuth0Scope(t *testing.T) {
	srv := providertest.NewServer(t, providertest.Provider("auth0"))
	g := sent{post: true, form: codeForm(t, srv)}.to(t, srv).want(t, "all that was asked for", 200, map[string]any{"scope": nil})
	g = sent{post: true, form: refreshForm(g.at("refresh_token"))}.to(t, srv).want(t, "refresh", 200, map[string]any{"scope": nil})
	sent{post: true, form: append(refreshForm(g.at("refresh_token")), "scope", "openid read")}.to(t, srv).want(t, "narrower refresh", 200, map[string]any{"scope": nil})
	srv.SetConsent(providertest.Consent{Scopes: []string{"openid", "read"}})
	sent{post: true, form: codeForm(t, srv)}.to(t, srv).want(t, "less than was asked for", 200, map[string]any{"scope": "openid read", "refresh_token": nil})
}

func TestAuth0DeadGrantIsForbidden(t *testing.T) {
	srv := providertest.NewServer(t, providertest.Provider("auth0"))
	dead := map[string]any{"error": "invalid_grant", "error_description": "*"}
	sent{post: true, form: refreshForm("x")}.to(t, srv).want(t, "wrong refresh token", 403, dead)
	sent{post: true, form: exchange("x")}.to(t, srv).want(t, "wrong code", 403, dead)
	sent{post: true, secret: "x", form: refreshForm("x")}.to(t, srv).want(t, "wrong secret", 401, map[string]any{"error": "invalid_client"})

	login := func() any { return sent{post: true, form: codeForm(t, srv)}.to(t, srv).at("refresh_token") }
	unused := login()
	srv.Advance(15 * 24 * time.Hour)
	sent{post: true, form: refreshForm(unused)}.to(t, srv).want(t, "unused for 15 days", 403, dead)
	used := login()
	for range 3 {
		srv.Advance(9 * 24 * time.Hour)
		used = sent{post: true, form: refreshForm(used)}.to(t, srv).want(t, "in use", 200, nil).at("refresh_token")
	}
	srv.Advance(3 * 24 * time.Hour)
	sent{post: true, form: refreshForm(used)}.to(t, srv).want(t, "after 30 days", 403, dead)
}

func TestAuth0Overlap(t *testing.T) {
	refresh := func(srv *providertest.Server, what string, token any, status int) any {
		t.Helper()
		return sent{post: true, form: refreshForm(token)}.to(t, srv).want(t, what, status, nil).at("refresh_token")
	}
	start := func(switches ...string) (srv *providertest.Server, first, second any) {
		srv = providertest.NewServer(t, providertest.Provider("auth0", switches...))
		first = sent{post: true, form: codeForm(t, srv)}.to(t, srv).at("refresh_token")
		return srv, first, refresh(srv, "first", first, 200)
	}

	srv, first, second := start()
	refresh(srv, "second use without overlap", first, 403)
	refresh(srv, "the newest after that", second, 403)

	srv, first, _ = start("overlap")
	srv.Advance(29 * time.Second)
	newest := refresh(srv, "the last but one, inside the overlap", first, 200)
	refresh(srv, "the newest", newest, 200)

	srv, first, second = start("overlap")
	srv.Advance(31 * time.Second)
	refresh(srv, "the last but one, after the overlap", first, 403)
	refresh(srv, "the newest after that", second, 403)

	srv, first, second = start("overlap")
	third := refresh(srv, "second", second, 200)
	if srv.IsLive(first.(string)) || !srv.IsLive(second.(string)) {
		t.Error("want only the last but one to be live")
	}
	refresh(srv, "an older one, inside the overlap", first, 403)
	refresh(srv, "the newest after that", third, 403)
}

func TestAuth0RevokesRefreshTokensOnly(t *testing.T) {
	srv := providertest.NewServer(t, providertest.Provider("auth0"))
	g := sent{post: true, form: codeForm(t, srv)}.to(t, srv)
	revoke := func(token any) sent {
		return sent{post: true, address: srv.RevocationURL(), json: []string{"token", token.(string)}}
	}
	revoke(g.at("access_token")).to(t, srv).want(t, "access token", 400, map[string]any{"error": "unsupported_token_type"})
	revoke(g.at("refresh_token")).to(t, srv).want(t, "refresh token", 200, nil)
	sent{post: true, form: refreshForm(g.at("refresh_token"))}.to(t, srv).want(t, "revoked", 403, map[string]any{"error": "invalid_grant"})
}
