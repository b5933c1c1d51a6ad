package providertest_test

import (
	"testing"
	"time"

	"github.com/authprofile/authprofile/providertest"
)

func TestGitLabRefresh(t *testing.T) {
	srv := providertest.NewServer(t, providertest.Provider("gitlab"))
	refresh := func(what string, token any, status int, members map[string]any, pairs ...string) got {
		t.Helper()
		return sent{post: true, form: append(refreshForm(token), pairs...)}.to(t, srv).want(t, what, status, members)
	}
	invalid := map[string]any{"error": "invalid_grant"}
	first := sent{post: true, form: codeForm(t, srv, "scope", "read_user")}.to(t, srv).want(t, "exchange", 200, map[string]any{
		"access_token": "*", "token_type": "Bearer", "expires_in": 7200, "refresh_token": "*", "scope": "read_user",
	})
	if at, _ := first.at("created_at").(float64); at < 1 {
		t.Errorf("got created_at %v, want a time", first.at("created_at"))
	}
	refresh("without the redirect address", first.at("refresh_token"), 400, invalid)
	refresh("with another redirect address", first.at("refresh_token"), 400, invalid, "redirect_uri", "https://elsewhere.example.com/")
	wantAPI(t, srv, first.at("access_token"), 200)
	second := refresh("refresh", first.at("refresh_token"), 200, map[string]any{"access_token": "*", "refresh_token": "*"}, "redirect_uri", redirect)
	wantAPI(t, srv, first.at("access_token"), 401)
	wantAPI(t, srv, second.at("access_token"), 200)
	refresh("second use", first.at("refresh_token"), 400, invalid, "redirect_uri", redirect)
	srv.Advance(2 * time.Hour)
	wantAPI(t, srv, second.at("access_token"), 401)
	refresh("the new one after that", second.at("refresh_token"), 200, nil, "redirect_uri", redirect)
}

func TestGitLabRevocation(t *testing.T) {
	srv := providertest.NewServer(t, providertest.Provider("gitlab"))
	g := sent{post: true, form: codeForm(t, srv, "scope", "read_user")}.to(t, srv)
	revoke := sent{address: "https://gitlab.com/oauth/revoke", form: []string{"token", g.at("access_token").(string)}}
	revoke.to(t, srv).want(t, "revocation without client", 401, nil)
	revoke.post = true
	revoke.to(t, srv).want(t, "revocation", 200, nil)
	wantAPI(t, srv, g.at("access_token"), 401)
	sent{post: true, form: append(refreshForm(g.at("refresh_token")), "redirect_uri", redirect)}.to(t, srv).
		want(t, "refresh after the access token was revoked", 400, map[string]any{"error": "invalid_grant"})
}

func TestGitLabHosts(t *testing.T) {
	for name, host := range map[string]string{"gitlab": "gitlab.com", "gitlab/git.example.org": "git.example.org"} {
		srv := providertest.NewServer(t, providertest.Provider(name))
		srv.SetConsent(providertest.Consent{Subject: "tanuki"})
		base := "https://" + host
		sent{method: "GET", address: base + "/.well-known/openid-configuration"}.to(t, srv).want(t, name+" document", 200, map[string]any{
			"issuer": base, "authorization_endpoint": base + "/oauth/authorize", "token_endpoint": base + "/oauth/token",
			"revocation_endpoint": base + "/oauth/revoke", "jwks_uri": "*", "userinfo_endpoint": "*",
		})
		user := sent{method: "GET", address: base + "/api/v4/user"}
		user.to(t, srv).want(t, "user without a token", 401, nil)
		user.bearer = sent{basic: true, form: codeForm(t, srv, "scope", "openid")}.to(t, srv).
			want(t, name, 200, map[string]any{"id_token": "*"}).at("access_token")
		user.to(t, srv).want(t, "user without its scope", 403, map[string]any{"error": "insufficient_scope"})
		user.bearer = sent{basic: true, form: codeForm(t, srv, "scope", "read_user")}.to(t, srv).at("access_token")
		g := user.to(t, srv).want(t, "user", 200, map[string]any{"username": "tanuki"})
		if id, _ := g.at("id").(float64); id < 1 {
			t.Errorf("got id %v, want a number", g.at("id"))
		}
	}
}
