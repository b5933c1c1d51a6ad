package providertest_test

import (
	"testing"
	"time"

	"github.com/authprofile/authprofile/providertest"
)

// linkedinCode is a form for a code of a new authorization. It has no verifier,
// although a code challenge was sent.
func linkedinCode(t *testing.T, srv *providertest.Server, pairs ...string) []string {
	t.Helper()
	return codeForm(t, srv, pairs...)[:6]
}

func TestLinkedInExchange(t *testing.T) {
	srv := providertest.NewServer(t, providertest.Provider("linkedin"))
	wantDocument(t, srv, "https://www.linkedin.com/oauth/.well-known/openid-configuration", map[string]any{
		"issuer":                                "https://www.linkedin.com/oauth",
		"authorization_endpoint":                "https://www.linkedin.com/oauth/v2/authorization",
		"token_endpoint":                        "https://www.linkedin.com/oauth/v2/accessToken",
		"userinfo_endpoint":                     "https://api.linkedin.com/v2/userinfo",
		"revocation_endpoint":                   nil,
		"token_endpoint_auth_methods_supported": nil,
	})
	g := sent{post: true, form: linkedinCode(t, srv, "scope", "openid profile")}.to(t, srv).want(t, "exchange", 200, map[string]any{
		"access_token": "*", "expires_in": 5184000, "scope": "openid,profile", "token_type": "Bearer", "refresh_token": nil, "refresh_token_expires_in": nil,
	})
	wantIDToken(t, srv, g, "https://www.linkedin.com/oauth", nil)
	sent{post: true, form: linkedinCode(t, srv, "scope", "w_member_social r_ads")}.to(t, srv).want(t, "without openid", 200, map[string]any{
		"access_token": "*", "scope": "w_member_social,r_ads", "token_type": nil, "id_token": nil,
	})

	sent{basic: true, form: linkedinCode(t, srv)}.to(t, srv).want(t, "Basic", 401, map[string]any{"error": "invalid_client"})
	code := codeForm(t, srv)
	for _, what := range []string{"a code verifier", "the same code again"} {
		sent{post: true, form: code}.to(t, srv).want(t, what, 400, map[string]any{"error": "invalid_request", "access_token": nil})
		code = code[:6]
	}
	code = codeForm(t, srv, "code_challenge", "", "code_challenge_method", "")
	sent{post: true, form: code}.to(t, srv).want(t, "a code verifier without a challenge", 400, map[string]any{"error": "invalid_request"})
	sent{post: true, form: refreshForm("x")}.to(t, srv).want(t, "refresh without approval", 400, map[string]any{"error": "unauthorized_client"})
	sent{post: true, form: []string{"grant_type", "client_credentials"}}.to(t, srv).
		want(t, "client credentials", 200, map[string]any{"access_token": "*", "expires_in": 1800, "refresh_token": nil})
}

func TestLinkedInDenial(t *testing.T) {
	srv := providertest.NewServer(t, providertest.Provider("linkedin"))
	for denied, want := range map[string]string{
		"access_denied":            "user_cancelled_login",
		"user_cancelled_authorize": "user_cancelled_authorize",
	} {
		srv.SetConsent(providertest.Consent{Error: denied})
		if q := authorize(t, srv); q.Get("error") != want || q.Has("code") || q.Get("state") != "the state" {
			t.Errorf("%s: got %v, want error %s", denied, q, want)
		}
	}
}

func TestLinkedInRefreshTokenGetsNoYounger(t *testing.T) {
	const day = 24 * time.Hour
	srv := providertest.NewServer(t, providertest.Provider("linkedin", "refresh"))
	g := sent{post: true, form: linkedinCode(t, srv)}.to(t, srv).want(t, "exchange", 200, map[string]any{
		"refresh_token": "*", "refresh_token_expires_in": 31536000,
	})
	token := g.at("refresh_token")
	for days := 50; days <= 350; days += 50 {
		srv.Advance(50 * day)
		g := sent{post: true, form: refreshForm(token)}.to(t, srv).want(t, "refresh", 200, map[string]any{
			"access_token": "*", "expires_in": 5184000, "refresh_token": token,
		})
		if got, _ := g.at("refresh_token_expires_in").(float64); int(got) > (365-days)*86400 || int(got) < (365-days)*86400-60 {
			t.Errorf("after %d days: got %v seconds left, want the rest of 365 days", days, got)
		}
		wantAPI(t, srv, g.at("access_token"), 200)
	}
	srv.Advance(15 * day)
	sent{post: true, form: refreshForm(token)}.to(t, srv).want(t, "after a year", 400, map[string]any{"error": "invalid_grant"})
}

func TestLinkedInWhoAmIAndRevocation(t *testing.T) {
	srv := providertest.NewServer(t, providertest.Provider("linkedin", "refresh"))
	srv.SetConsent(providertest.Consent{Subject: "ada", Claims: map[string]any{"name": "Ada L."}})
	const me = "https://api.linkedin.com/v2/userinfo"
	g := sent{post: true, form: linkedinCode(t, srv)}.to(t, srv)
	sent{method: "GET", address: me, bearer: g.at("access_token")}.to(t, srv).want(t, "userinfo", 200, map[string]any{"sub": "ada", "name": "Ada L."})
	ads := sent{post: true, form: linkedinCode(t, srv, "scope", "r_ads")}.to(t, srv)
	sent{method: "GET", address: me, bearer: ads.at("access_token")}.to(t, srv).want(t, "without openid", 403, map[string]any{"code": "ACCESS_DENIED"})
	sent{method: "GET", address: me, bearer: "x"}.to(t, srv).want(t, "wrong token", 401, map[string]any{"code": "INVALID_ACCESS_TOKEN"})

	revoke := sent{address: "https://www.linkedin.com/oauth/v2/revoke", form: []string{"token", g.at("access_token").(string)}}
	revoke.to(t, srv).want(t, "revocation without credentials", 401, nil)
	revoke.basic = true
	revoke.to(t, srv).want(t, "revocation with Basic", 401, nil)
	revoke.basic, revoke.post = false, true
	revoke.to(t, srv).want(t, "revocation", 200, nil)
	wantAPI(t, srv, g.at("access_token"), 401)
}
