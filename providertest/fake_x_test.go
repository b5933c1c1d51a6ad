package providertest_test

import (
	"testing"
	"time"

	"github.com/authprofile/authprofile/providertest"
)

var forX = []string{"scope", "tweet.read users.read offline.access"}

func TestX(t *testing.T) {
	srv := providertest.NewServer(t, providertest.Provider("x"))
	if q := authorize(t, srv, "code_challenge", "", "code_challenge_method", ""); q.Get("error") != "invalid_request" {
		t.Errorf("without PKCE: got %v, want invalid_request", q)
	}
	sent{post: true, form: codeForm(t, srv, forX...)}.to(t, srv).want(t, "credentials in the form", 401, map[string]any{"error": "unauthorized_client"})
	sent{basic: true, secret: "x", form: codeForm(t, srv, forX...)}.to(t, srv).want(t, "wrong secret", 401, map[string]any{"error": "invalid_client"})
	sent{basic: true, form: codeForm(t, srv, "scope", "tweet.read offline_access")}.to(t, srv).
		want(t, "the usual scope", 200, map[string]any{"refresh_token": nil})
	first := sent{basic: true, form: codeForm(t, srv, forX...)}.to(t, srv).want(t, "exchange", 200, map[string]any{
		"access_token": "*", "token_type": "bearer", "expires_in": 7200, "refresh_token": "*", "scope": "tweet.read users.read offline.access",
	})
	next := sent{basic: true, form: refreshForm(first.at("refresh_token"))}.to(t, srv).want(t, "refresh", 200, map[string]any{"refresh_token": "*"})
	dead := map[string]any{"error": "invalid_request", "error_description": "Value passed for the token was invalid."}
	sent{basic: true, form: refreshForm(first.at("refresh_token"))}.to(t, srv).want(t, "second use", 400, dead)
	sent{basic: true, form: exchange("x")}.to(t, srv).want(t, "wrong code", 400, map[string]any{"error": "invalid_request"})
	sent{method: "GET", address: "https://api.x.com/2/users/me", bearer: next.at("access_token")}.to(t, srv).
		want(t, "me", 200, map[string]any{"data.id": "user", "data.username": "user"})

	sent{basic: true, address: srv.RevocationURL(), form: []string{"token", next.at("access_token").(string), "token_type_hint", "access_token"}}.
		to(t, srv).want(t, "revocation", 200, nil)
	sent{method: "GET", address: "https://api.x.com/2/users/me", bearer: next.at("access_token")}.to(t, srv).
		want(t, "me after that", 401, map[string]any{"title": "Unauthorized", "status": 401})
	srv.Advance(183 * 24 * time.Hour)
	sent{basic: true, form: refreshForm(next.at("refresh_token"))}.to(t, srv).want(t, "after half a year", 400, dead)

	srv.AddClient(providertest.Client{ID: "public"})
	sent{form: append(codeForm(t, srv, append(forX, "client_id", "public")...), "client_id", "public")}.to(t, srv).
		want(t, "a public client", 200, map[string]any{"refresh_token": "*"})
}

func TestXApp(t *testing.T) {
	srv := providertest.NewServer(t, providertest.Provider("x"))
	app := sent{basic: true, address: "https://api.x.com/oauth2/token", form: []string{"grant_type", "client_credentials"}}
	g := app.to(t, srv).want(t, "an application's own token", 200, map[string]any{
		"access_token": "*", "token_type": "bearer", "expires_in": nil, "refresh_token": nil, "scope": nil,
	})
	srv.Advance(5 * 365 * 24 * time.Hour)
	wantAPI(t, srv, g.at("access_token"), 200)
	app.address = ""
	app.to(t, srv).want(t, "at the other address", 400, map[string]any{"error": "unsupported_grant_type"})
	app.address, app.form = "https://api.x.com/oauth2/token", exchange("x")
	app.to(t, srv).want(t, "a code there", 400, map[string]any{"error": "unsupported_grant_type"})
	if got := srv.Count("client_credentials"); got != 2 {
		t.Errorf("got %d requests, want 2", got)
	}
}
