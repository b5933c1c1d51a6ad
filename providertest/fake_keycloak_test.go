package providertest_test

import (
	"testing"
	"time"

	"github.com/authprofile/authprofile/providertest"
)

func TestKeycloakAddresses(t *testing.T) {
	for name, issuer := range map[string]string{
		"keycloak":                               "https://id.example.com/realms/acme",
		"keycloak/sso.example.org":               "https://sso.example.org/realms/acme",
		"keycloak/sso.example.org/Staff":         "https://sso.example.org/realms/Staff",
		"keycloak/sso.example.org/Staff/auth":    "https://sso.example.org/auth/realms/Staff",
		"keycloak/sso.example.org/Staff/one/two": "https://sso.example.org/one/two/realms/Staff",
	} {
		srv := providertest.NewServer(t, providertest.Provider(name))
		base := issuer + "/protocol/openid-connect"
		wantDocument(t, srv, issuer+"/.well-known/openid-configuration", map[string]any{
			"issuer": issuer, "authorization_endpoint": base + "/auth", "token_endpoint": base + "/token", "jwks_uri": base + "/certs",
			"revocation_endpoint": base + "/revoke", "userinfo_endpoint": base + "/userinfo",
		})
		q := authorize(t, srv)
		if q.Get("iss") != issuer || q.Get("session_state") == "" {
			t.Errorf("%s: got callback %v, want iss and session_state", name, q)
		}
		g := sent{basic: true, form: exchange(q.Get("code"))}.to(t, srv).want(t, name, 200, map[string]any{"session_state": q.Get("session_state")})
		wantIDToken(t, srv, g, issuer, "n")
	}
}

func TestKeycloakAnswers(t *testing.T) {
	srv := providertest.NewServer(t, providertest.Provider("keycloak"))
	sent{basic: true, form: codeForm(t, srv, "scope", "openid")}.to(t, srv).want(t, "exchange", 200, map[string]any{
		"access_token": "*", "expires_in": 300, "refresh_token": "*", "refresh_expires_in": 1800, "not-before-policy": 0,
		"session_state": "*", "scope": "openid", "token_type": "Bearer",
	})
	g := sent{post: true, form: codeForm(t, srv)}.to(t, srv).want(t, "offline_access", 200, map[string]any{
		"refresh_token": "*", "refresh_expires_in": 0, "not-before-policy": 0,
	})
	sent{post: true, form: refreshForm(g.at("refresh_token"))}.to(t, srv).want(t, "refresh of it", 200, map[string]any{"refresh_token": "*", "refresh_expires_in": 0})
	sent{post: true, form: []string{"grant_type", "client_credentials"}}.to(t, srv).want(t, "client credentials", 200, map[string]any{
		"access_token": "*", "expires_in": 300, "refresh_token": nil, "refresh_expires_in": 0, "not-before-policy": 0, "session_state": nil,
	})
	sent{basic: true, secret: "x", form: refreshForm("x")}.to(t, srv).want(t, "wrong secret", 401, map[string]any{"error": "unauthorized_client"})
	sent{form: append(refreshForm("x"), "client_id", "x", "client_secret", "x")}.to(t, srv).want(t, "unknown client", 401, map[string]any{"error": "invalid_client"})

	srv.SetConsent(providertest.Consent{Subject: "ada"})
	g = sent{basic: true, form: codeForm(t, srv)}.to(t, srv)
	userInfo(t, srv, g.at("access_token")).want(t, "userinfo", 200, map[string]any{"sub": "ada", "preferred_username": "ada"})
	g = sent{basic: true, form: codeForm(t, srv, "scope", "profile")}.to(t, srv)
	userInfo(t, srv, g.at("access_token")).want(t, "userinfo without openid", 403, map[string]any{"error": "insufficient_scope"})
}

// keycloakRefresh refreshes, and checks the description of a refusal.
func keycloakRefresh(t *testing.T, srv *providertest.Server, what string, token any, why string) any {
	t.Helper()
	g := sent{basic: true, form: refreshForm(token)}.to(t, srv)
	if why == "" {
		return g.want(t, what, 200, map[string]any{"refresh_token": "*"}).at("refresh_token")
	}
	return g.want(t, what, 400, map[string]any{"error": "invalid_grant", "error_description": why})
}

func TestKeycloakSession(t *testing.T) {
	srv := providertest.NewServer(t, providertest.Provider("keycloak"))
	login := func(scope string) any {
		t.Helper()
		return sent{basic: true, form: codeForm(t, srv, "scope", scope)}.to(t, srv).at("refresh_token")
	}
	keycloakRefresh(t, srv, "wrong", "x", "Invalid refresh token")

	first, offline := login("openid"), login("openid offline_access")
	second := keycloakRefresh(t, srv, "first", first, "")
	keycloakRefresh(t, srv, "first again", first, "")
	srv.Advance(29 * time.Minute)
	second = keycloakRefresh(t, srv, "in use", second, "")
	srv.Advance(29 * time.Minute)
	keycloakRefresh(t, srv, "in use", second, "")
	srv.Advance(30 * time.Minute)
	keycloakRefresh(t, srv, "unused for half an hour", second, "Token is not active")
	keycloakRefresh(t, srv, "offline", offline, "")

	logout := sent{basic: true, address: srv.Issuer() + "/protocol/openid-connect/logout"}
	logout.form = []string{"refresh_token", "x"}
	logout.to(t, srv).want(t, "logout with a wrong token", 400, map[string]any{"error": "invalid_grant"})
	one, two := login("openid"), login("profile")
	logout.form = []string{"refresh_token", one.(string)}
	wrong := logout
	wrong.secret = "x"
	wrong.to(t, srv).want(t, "logout by another client", 401, nil)
	logout.to(t, srv).want(t, "logout", 204, nil)
	keycloakRefresh(t, srv, "the session that has ended", one, "Session not active")
	keycloakRefresh(t, srv, "another one of the same user", two, "Session not active")
	keycloakRefresh(t, srv, "offline after logout", offline, "")
	three := login("openid")
	logout.form = []string{"refresh_token", offline.(string)}
	logout.to(t, srv).want(t, "logout of an offline session", 204, nil)
	keycloakRefresh(t, srv, "the offline session that has ended", offline, "Session not active")
	keycloakRefresh(t, srv, "the session of the browser", three, "")
	srv.RevokeUser("user")
	keycloakRefresh(t, srv, "the session after an administrator has ended it", three, "Session not active")
}

func TestKeycloakRevokeRefreshToken(t *testing.T) {
	srv := providertest.NewServer(t, providertest.Provider("keycloak", "revoke"))
	g := sent{basic: true, form: codeForm(t, srv, "scope", "openid")}.to(t, srv)
	first := g.at("refresh_token")
	second := keycloakRefresh(t, srv, "first", first, "")
	keycloakRefresh(t, srv, "first again", first, "Maximum allowed refresh token reuse exceeded")
	keycloakRefresh(t, srv, "second", second, "Session not active")
	wantAPI(t, srv, g.at("access_token"), 401)
}
