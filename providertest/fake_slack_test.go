package providertest_test

import (
	"testing"
	"time"

	"github.com/authprofile/authprofile/providertest"
)

func TestSlackWithoutRotation(t *testing.T) {
	srv := providertest.NewServer(t, providertest.Provider("slack"))
	g := sent{basic: true, form: codeForm(t, srv, "scope", "chat:write,users:read", "user_scope", "search:read")}.to(t, srv).
		want(t, "exchange", 200, map[string]any{
			"ok": true, "access_token": "*", "token_type": "bot", "scope": "chat:write,users:read", "expires_in": nil, "refresh_token": nil,
			"team.id": "T0ACME", "team.name": "Acme", "enterprise": nil, "is_enterprise_install": false, "bot_user_id": "*", "app_id": "*",
			"authed_user.id": "user", "authed_user.access_token": "*", "authed_user.token_type": "user", "authed_user.scope": "search:read",
			"authed_user.refresh_token": nil,
		})
	srv.Advance(3 * 365 * 24 * time.Hour)
	wantAPI(t, srv, g.at("access_token"), 200)
	wantAPI(t, srv, g.at("authed_user.access_token"), 200)

	sent{basic: true, form: codeForm(t, srv, "scope", "chat:write")}.to(t, srv).want(t, "only a bot", 200, map[string]any{
		"access_token": "*", "authed_user.id": "user", "authed_user.access_token": nil,
	})
	sent{basic: true, form: codeForm(t, srv, "scope", "", "user_scope", "search:read,users:read")}.to(t, srv).want(t, "only a user", 200, map[string]any{
		"ok": true, "access_token": nil, "token_type": nil, "scope": nil, "authed_user.access_token": "*", "authed_user.scope": "search:read,users:read",
	})
	sent{basic: true, form: refreshForm("x")}.to(t, srv).want(t, "refresh", 200, map[string]any{"ok": false, "error": "invalid_refresh_token"})
}

func TestSlackScopes(t *testing.T) {
	srv := providertest.NewServer(t, providertest.Provider("slack"))
	wantPage(t, srv)
	for _, pairs := range [][]string{{"scope", "chat:write users:read"}, {"scope", "chat:write", "user_scope", "a b"}} {
		if q := authorize(t, srv, pairs...); q.Get("error") != "invalid_scope" {
			t.Errorf("%v: got %v, want invalid_scope", pairs, q)
		}
	}
}

func TestSlackWithRotation(t *testing.T) {
	srv := providertest.NewServer(t, providertest.Provider("slack", "rotation"))
	g := sent{post: true, form: codeForm(t, srv, "scope", "chat:write", "user_scope", "search:read")}.to(t, srv).want(t, "exchange", 200, map[string]any{
		"expires_in": 43200, "refresh_token": "*", "authed_user.expires_in": 43200, "authed_user.refresh_token": "*",
	})
	bot, user := g.at("refresh_token"), g.at("authed_user.refresh_token")
	if bot == user {
		t.Error("bot and user have the same refresh token")
	}
	srv.Advance(12 * time.Hour)
	sent{address: srv.APIURL() + "/auth.test", bearer: g.at("access_token")}.to(t, srv).want(t, "ended token", 200, map[string]any{"ok": false})

	next := sent{basic: true, form: refreshForm(bot)}.to(t, srv).want(t, "refresh of the bot", 200, map[string]any{
		"ok": true, "access_token": "*", "token_type": "bot", "refresh_token": "*", "expires_in": 43200, "scope": "chat:write",
		"authed_user.access_token": nil,
	})
	sent{basic: true, form: refreshForm(bot)}.to(t, srv).want(t, "second use", 200, map[string]any{"ok": false, "error": "invalid_refresh_token"})
	sent{basic: true, form: refreshForm(next.at("refresh_token"))}.to(t, srv).want(t, "new one", 200, map[string]any{"ok": true})
	sent{basic: true, form: refreshForm(user)}.to(t, srv).want(t, "refresh of the user", 200, map[string]any{
		"ok": true, "access_token": "*", "token_type": "user", "refresh_token": "*", "scope": "search:read",
	})
}

func TestSlackErrors(t *testing.T) {
	srv := providertest.NewServer(t, providertest.Provider("slack", "rotation"))
	elsewhere := codeForm(t, srv, "scope", "chat:write")
	elsewhere[5] = "https://elsewhere.example.com/"
	for what, test := range map[string]struct {
		r    sent
		want string
	}{
		"wrong code":               {sent{basic: true, form: exchange("x")}, "invalid_code"},
		"wrong secret":             {sent{basic: true, secret: "x", form: exchange("x")}, "bad_client_secret"},
		"unknown client":           {sent{form: append(exchange("x"), "client_id", "x", "client_secret", "x")}, "invalid_client_id"},
		"wrong refresh token":      {sent{basic: true, form: refreshForm("x")}, "invalid_refresh_token"},
		"another redirect address": {sent{basic: true, form: elsewhere}, "bad_redirect_uri"},
		"another grant type":       {sent{basic: true, form: []string{"grant_type", "client_credentials"}}, "invalid_grant_type"},
		"no token":                 {sent{address: "https://slack.com/api/auth.test"}, "not_authed"},
		"wrong token":              {sent{address: "https://slack.com/api/auth.test", bearer: "x"}, "invalid_auth"},
		"wrong token to revoke":    {sent{address: "https://slack.com/api/auth.revoke", bearer: "x"}, "invalid_auth"},
	} {
		test.r.to(t, srv).want(t, what, 200, map[string]any{"ok": false, "error": test.want})
	}
}

func TestSlackWhoAmIAndRevocation(t *testing.T) {
	srv := providertest.NewServer(t, providertest.Provider("slack"))
	g := sent{basic: true, form: codeForm(t, srv, "scope", "chat:write", "user_scope", "search:read")}.to(t, srv)
	bot, user := g.at("access_token"), g.at("authed_user.access_token")
	const test, revoke = "https://slack.com/api/auth.test", "https://slack.com/api/auth.revoke"
	sent{address: test, bearer: user}.to(t, srv).want(t, "user", 200, map[string]any{"ok": true, "user_id": "user", "user": "user", "team_id": "T0ACME"})
	sent{address: test, bearer: bot}.to(t, srv).want(t, "bot", 200, map[string]any{"ok": true, "user_id": g.at("bot_user_id"), "team": "Acme"})
	sent{address: revoke, bearer: user}.to(t, srv).want(t, "revocation", 200, map[string]any{"ok": true, "revoked": true})
	sent{address: test, bearer: user}.to(t, srv).want(t, "revoked user", 200, map[string]any{"ok": false})
	sent{address: test, bearer: bot}.to(t, srv).want(t, "bot after that", 200, map[string]any{"ok": true})
}
