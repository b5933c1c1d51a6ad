package providertest_test

import (
	"testing"
	"time"

	"github.com/authprofile/authprofile/providertest"
)

var forGoogle = []string{"access_type", "offline", "prompt", "consent"}

func TestGoogleAnswers(t *testing.T) {
	srv := providertest.NewServer(t, providertest.Provider("google"))
	g := sent{post: true, form: codeForm(t, srv, forGoogle...)}.to(t, srv).
		want(t, "exchange", 200, map[string]any{"refresh_token": "*", "refresh_token_expires_in": nil})
	sent{method: "GET", address: srv.APIURL() + "/calendar/v3", bearer: g.at("access_token")}.to(t, srv).want(t, "API", 200, nil)
	sent{post: true, form: []string{"grant_type", "client_credentials"}}.to(t, srv).
		want(t, "client credentials", 400, map[string]any{"error": "unsupported_grant_type"})

	srv.SetConsent(providertest.Consent{Scopes: []string{"openid", "read"}, Claims: map[string]any{"email": "ada@example.com"}})
	g = sent{basic: true, form: codeForm(t, srv, forGoogle...)}.to(t, srv).
		want(t, "a scope that was unticked", 200, map[string]any{"scope": "openid read"})
	sent{method: "GET", address: "https://openidconnect.googleapis.com/v1/userinfo", bearer: g.at("access_token")}.to(t, srv).
		want(t, "userinfo", 200, map[string]any{"sub": "user", "email": "ada@example.com"})

	sent{address: srv.RevocationURL(), form: []string{"token", g.at("access_token").(string)}}.to(t, srv).want(t, "revocation without a client", 200, nil)
	sent{post: true, form: refreshForm(g.at("refresh_token"))}.to(t, srv).want(t, "refresh after that", 400, map[string]any{"error": "invalid_grant"})
}

func TestGoogleInTesting(t *testing.T) {
	srv := providertest.NewServer(t, providertest.Provider("google", "testing"))
	token := sent{post: true, form: codeForm(t, srv, forGoogle...)}.to(t, srv).
		want(t, "exchange", 200, map[string]any{"refresh_token_expires_in": 7 * 24 * 3600}).at("refresh_token")
	srv.Advance(6 * 24 * time.Hour)
	sent{post: true, form: refreshForm(token)}.to(t, srv).want(t, "on the sixth day", 200, nil)
	srv.Advance(25 * time.Hour)
	sent{post: true, form: refreshForm(token)}.to(t, srv).want(t, "on the eighth day", 400, map[string]any{"error": "invalid_grant"})
}

func TestGoogleKeepsAHundredRefreshTokens(t *testing.T) {
	srv := providertest.NewServer(t, providertest.Provider("google"))
	var tokens []string
	for range 101 {
		code := codeForm(t, srv, append(forGoogle, "scope", "read")...) // without an ID token
		tokens = append(tokens, sent{post: true, form: code}.to(t, srv).at("refresh_token").(string))
	}
	for i, want := range map[int]bool{0: false, 1: true, 100: true} {
		if got := srv.IsLive(tokens[i]); got != want {
			t.Errorf("refresh token %d: got live %v, want %v", i, got, want)
		}
	}
}
