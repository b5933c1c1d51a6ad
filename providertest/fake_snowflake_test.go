package providertest_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/authprofile/authprofile/providertest"
)

func TestSnowflakeTokens(t *testing.T) {
	srv := providertest.NewServer(t, providertest.Provider("snowflake"))
	sent{basic: true, form: codeForm(t, srv, "scope", "session:role:ANALYST")}.to(t, srv).
		want(t, "without the scope refresh_token", 200, map[string]any{"access_token": "*", "refresh_token": nil})
	first := sent{basic: true, form: codeForm(t, srv, "scope", "refresh_token session:role:ANALYST")}.to(t, srv).want(t, "exchange", 200, map[string]any{
		"access_token": "*", "refresh_token": "*", "expires_in": 600, "token_type": "Bearer", "username": "user",
		"scope": "refresh_token session:role:ANALYST",
	})
	srv.Advance(10 * time.Minute)
	wantAPI(t, srv, first.at("access_token"), 401)
	refresh := sent{basic: true, form: refreshForm(first.at("refresh_token"))}
	for range 2 {
		g := refresh.to(t, srv).want(t, "refresh", 200, map[string]any{"refresh_token": nil, "expires_in": 600, "username": "user"})
		wantAPI(t, srv, g.at("access_token"), 200)
	}
	srv.Advance(90 * 24 * time.Hour)
	dead := map[string]any{"error": "invalid_grant", "success": false, "data": nil, "message": "*"}
	refresh.to(t, srv).want(t, "after 90 days", 400, dead)
	refresh.secret = "x"
	refresh.to(t, srv).want(t, "wrong secret", 401, map[string]any{"error": "invalid_client", "success": false})
	sent{post: true, form: codeForm(t, srv)}.to(t, srv).want(t, "client in the form", 401, map[string]any{"error": "invalid_client"})
}

func TestSnowflakeSingleUse(t *testing.T) {
	srv := providertest.NewServer(t, providertest.Provider("snowflake", "single-use"))
	first := sent{basic: true, form: codeForm(t, srv, "scope", "refresh_token")}.to(t, srv)
	second := sent{basic: true, form: refreshForm(first.at("refresh_token"))}.to(t, srv).want(t, "refresh", 200, map[string]any{"refresh_token": "*"})
	sent{basic: true, form: refreshForm(first.at("refresh_token"))}.to(t, srv).want(t, "second use", 400, map[string]any{"error": "invalid_grant"})
	sent{basic: true, form: refreshForm(second.at("refresh_token"))}.to(t, srv).want(t, "the new one", 200, nil)
}

func TestSnowflakeWhoAmI(t *testing.T) {
	srv := providertest.NewServer(t, providertest.Provider("snowflake/widgets.snowflakecomputing.com"))
	const base = "https://widgets.snowflakecomputing.com"
	if srv.AuthURL() != base+"/oauth/authorize" || srv.TokenURL() != base+"/oauth/token-request" || srv.RevocationURL() != "" {
		t.Errorf("got endpoints %s, %s, %q, want those of the account", srv.AuthURL(), srv.TokenURL(), srv.RevocationURL())
	}
	statement := sent{address: base + "/api/v2/statements", json: []string{"statement", "SELECT CURRENT_USER()"}}
	statement.to(t, srv).want(t, "without a token", 401, map[string]any{"code": "*", "message": "*"})
	statement.bearer = sent{basic: true, form: codeForm(t, srv)}.to(t, srv).at("access_token")
	for _, kind := range []string{"", "OAUTH"} {
		statement.header = map[string]string{"X-Snowflake-Authorization-Token-Type": kind}
		g := statement.to(t, srv).want(t, "statement", 200, map[string]any{"code": "090001"})
		if got := fmt.Sprint(g.at("data")); got != "[[user]]" {
			t.Errorf("got data %s, want the user", got)
		}
	}
	statement.header["X-Snowflake-Authorization-Token-Type"] = "KEYPAIR_JWT"
	statement.to(t, srv).want(t, "another type of token", 401, nil)
	statement.header, statement.json = nil, []string{"statement", "select 1 from nowhere"}
	statement.to(t, srv).want(t, "another statement", 422, nil)
	statement.json, statement.form = nil, []string{"statement", "select current_user()"}
	statement.to(t, srv).want(t, "a form", 400, nil)
}
