package providertest_test

import (
	"net/url"
	"testing"
	"time"

	"github.com/authprofile/authprofile/providertest"
)

func TestServiceNowTokens(t *testing.T) {
	srv := providertest.NewServer(t, providertest.Provider("servicenow"))
	wantPage(t, srv, "state", "")
	if q := authorize(t, srv, "state", "s"); q.Get("code") == "" {
		t.Errorf("with a state: got %v, want a code", q)
	}
	first := sent{post: true, form: codeForm(t, srv, "scope", "openid incident_read")}.to(t, srv).want(t, "exchange", 200, map[string]any{
		"access_token": "*", "refresh_token": "*", "token_type": "Bearer", "expires_in": 1800, "scope": "useraccount", "id_token": nil,
	})
	refresh := sent{post: true, form: append(refreshForm(first.at("refresh_token")), "scope", "incident_read")}
	for range 2 {
		second := refresh.to(t, srv).want(t, "refresh", 200, map[string]any{"refresh_token": first.at("refresh_token"), "scope": "useraccount"})
		wantAPI(t, srv, second.at("access_token"), 200)
	}
	srv.Advance(100 * 24 * time.Hour)
	refresh.to(t, srv).want(t, "100 days after the login", 401, map[string]any{"error": "server_error", "error_description": "access_denied"})
	sent{post: true, form: refreshForm("x")}.to(t, srv).want(t, "wrong refresh token", 401, map[string]any{"error": "server_error"})
	sent{post: true, form: exchange("x")}.to(t, srv).want(t, "wrong code", 400, map[string]any{"error": "invalid_grant"})
	sent{post: true, form: []string{"grant_type", "client_credentials"}}.to(t, srv).
		want(t, "client credentials", 200, map[string]any{"access_token": "*", "refresh_token": nil, "scope": "useraccount"})
}

func TestServiceNowCredentials(t *testing.T) {
	srv := providertest.NewServer(t, providertest.Provider("servicenow"))
	query := "?" + form("client_id", providertest.ClientID, "client_secret", providertest.ClientSecret).Encode()
	sent{address: srv.TokenURL() + query, form: codeForm(t, srv)}.to(t, srv).want(t, "in the query", 400, map[string]any{"error": "invalid_request"})
	sent{basic: true, form: codeForm(t, srv)}.to(t, srv).want(t, "Basic", 401, map[string]any{"error": "invalid_client"})
	sent{post: true, json: codeForm(t, srv)}.to(t, srv).want(t, "JSON", 400, map[string]any{"access_token": nil})
}

func TestServiceNowWhoAmI(t *testing.T) {
	srv := providertest.NewServer(t, providertest.Provider("servicenow/widgets.service-now.com"))
	users := sent{method: "GET", address: "https://widgets.service-now.com/api/now/table/sys_user"}
	users.to(t, srv).want(t, "without a token", 401, map[string]any{"error.message": "User Not Authenticated"})
	users.bearer = sent{post: true, form: codeForm(t, srv)}.to(t, srv).at("access_token")
	const mine = "sysparm_query=user_name=javascript:gs.getUserName()&sysparm_limit=1"
	for query, want := range map[string]string{"?" + mine: "user", "?sysparm_limit=1": "admin", "": "admin"} {
		r := users
		r.address += query
		g := r.to(t, srv).want(t, "users"+query, 200, nil)
		list, _ := g.at("result").([]any)
		if len(list) == 0 || list[0].(map[string]any)["user_name"] != want || query != "" && len(list) != 1 {
			t.Errorf("query %q: got %v, want %s first", query, list, want)
		}
	}
}

func TestServiceNowRevokesOneToken(t *testing.T) {
	srv := providertest.NewServer(t, providertest.Provider("servicenow"))
	g := sent{post: true, form: codeForm(t, srv)}.to(t, srv)
	access, refresh := g.at("access_token").(string), g.at("refresh_token").(string)
	sent{address: srv.RevocationURL(), form: []string{"token", refresh}}.to(t, srv).want(t, "refresh token", 200, nil)
	sent{post: true, form: refreshForm(refresh)}.to(t, srv).want(t, "refresh after that", 401, map[string]any{"error": "server_error"})
	wantAPI(t, srv, access, 200)
	sent{address: srv.RevocationURL() + "?token=" + url.QueryEscape(access)}.to(t, srv).want(t, "access token", 200, nil)
	wantAPI(t, srv, access, 401)
	sent{address: srv.RevocationURL(), form: []string{"token", "x"}}.to(t, srv).want(t, "wrong token", 400, nil)
}
