package providertest_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/authprofile/authprofile/providertest"
)

var forAtlassian = []string{"audience", "api.atlassian.com", "prompt", "consent", "scope", "read:jira-work offline_access"}

func TestAtlassianAuthorization(t *testing.T) {
	srv := providertest.NewServer(t, providertest.Provider("atlassian"))
	wantPage(t, srv, "scope", "read:jira-work")
	wantPage(t, srv, "scope", "read:jira-work", "audience", "api.example.com")
	if q := authorize(t, srv, append(forAtlassian, "scope", "openid")...); q.Get("error") != "invalid_scope" {
		t.Errorf("openid: got %v, want invalid_scope", q)
	}
	sent{post: true, form: codeForm(t, srv, append(forAtlassian, "scope", "read:jira-work")...)}.to(t, srv).
		want(t, "without offline_access", 200, map[string]any{"access_token": "*", "expires_in": 3600, "refresh_token": nil})
	sent{post: true, json: codeForm(t, srv, forAtlassian...)}.to(t, srv).
		want(t, "JSON", 200, map[string]any{"access_token": "*", "refresh_token": "*", "scope": "read:jira-work offline_access"})
	sent{basic: true, form: codeForm(t, srv, forAtlassian...)}.to(t, srv).want(t, "Basic", 401, map[string]any{"error": "invalid_client"})
	if got := srv.Count("authorization_code"); got != 3 {
		t.Errorf("got %d exchanges, want 3, also of JSON", got)
	}
}

func TestAtlassianRefresh(t *testing.T) {
	srv := providertest.NewServer(t, providertest.Provider("atlassian"))
	first := sent{post: true, form: codeForm(t, srv, forAtlassian...)}.to(t, srv)
	refresh := func(what string, token any, status int, code any) any {
		t.Helper()
		return sent{post: true, form: refreshForm(token)}.to(t, srv).want(t, what, status, map[string]any{"error": code}).at("refresh_token")
	}
	refresh("first", first.at("refresh_token"), 200, nil)
	wantAPI(t, srv, first.at("access_token"), 200)
	srv.Advance(9 * time.Minute)
	current := refresh("within the leeway", first.at("refresh_token"), 200, nil)
	srv.Advance(2 * time.Minute)
	refresh("after the leeway", first.at("refresh_token"), 403, "invalid_grant")
	refresh("the current one after that", current, 403, "invalid_grant")
	refresh("unknown", "x", 403, "unauthorized_client")

	unused := sent{post: true, form: codeForm(t, srv, forAtlassian...)}.to(t, srv).at("refresh_token")
	srv.Advance(90 * 24 * time.Hour)
	refresh("unused for 90 days", unused, 403, "invalid_grant")
	token := sent{post: true, form: codeForm(t, srv, forAtlassian...)}.to(t, srv).at("refresh_token")
	for range 4 {
		srv.Advance(80 * 24 * time.Hour)
		token = refresh("in use", token, 200, nil)
	}
	srv.Advance(45 * 24 * time.Hour)
	refresh("after a year", token, 403, "invalid_grant")
}

func TestAtlassianSites(t *testing.T) {
	srv := providertest.NewServer(t, providertest.Provider("atlassian"))
	g := sent{post: true, form: codeForm(t, srv, append(forAtlassian, "scope", "read:jira-work read:me")...)}.to(t, srv)
	list := sent{method: "GET", address: "https://api.atlassian.com/oauth/token/accessible-resources", bearer: g.at("access_token")}.to(t, srv)
	var sites []struct{ ID, Name, URL string }
	if err := json.Unmarshal([]byte(list.body), &sites); err != nil || len(sites) != 2 || sites[0].ID == sites[1].ID || sites[0].Name == "" {
		t.Errorf("got %s, want two sites", list.body)
	}
	me := sent{method: "GET", address: "https://api.atlassian.com/me", bearer: g.at("access_token")}
	me.to(t, srv).want(t, "me", 200, map[string]any{"account_id": "user", "name": "user"})
	me.bearer = sent{post: true, form: codeForm(t, srv, forAtlassian...)}.to(t, srv).at("access_token")
	me.to(t, srv).want(t, "me without the scope", 403, nil)

	sent{post: true, address: srv.RevocationURL(), form: []string{"token", g.at("access_token").(string)}}.to(t, srv).want(t, "revocation", 200, nil)
	wantAPI(t, srv, g.at("access_token"), 401)
	sent{post: true, form: []string{"grant_type", "client_credentials"}}.to(t, srv).
		want(t, "client credentials", 200, map[string]any{"access_token": "*", "refresh_token": nil})
}
