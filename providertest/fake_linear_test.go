package providertest_test

import (
	"testing"
	"time"

	"github.com/authprofile/authprofile/providertest"
)

func TestLinearAnswersAgain(t *testing.T) {
	srv := providertest.NewServer(t, providertest.Provider("linear"))
	first := sent{post: true, form: codeForm(t, srv, "scope", "read,write")}.to(t, srv).want(t, "exchange", 200, map[string]any{
		"access_token": "*", "refresh_token": "*", "token_type": "Bearer", "expires_in": 86399, "scope": "read write",
	})
	refresh := sent{basic: true, form: refreshForm(first.at("refresh_token"))}
	second := refresh.to(t, srv).want(t, "refresh", 200, map[string]any{"access_token": "*", "refresh_token": "*"})
	if second.at("refresh_token") == first.at("refresh_token") {
		t.Error("got the same refresh token, want another one")
	}
	srv.Advance(29 * time.Minute)
	refresh.to(t, srv).want(t, "the same 29 minutes later", 200, second.v)
	if !srv.IsLive(first.at("refresh_token").(string)) || !srv.IsCurrent(second.at("refresh_token").(string)) {
		t.Error("the old one is not live, or the new one not current")
	}
	srv.Advance(time.Minute)
	refresh.to(t, srv).want(t, "the same after that", 400, map[string]any{"error": "invalid_grant"})
	sent{basic: true, form: refreshForm(second.at("refresh_token"))}.to(t, srv).want(t, "the new one", 200, nil)

	if got := srv.Reuses(); got != 2 {
		t.Errorf("got %d reuses, want 2", got)
	}
	token := sent{basic: true, form: []string{"grant_type", "client_credentials", "scope", "read"}}.to(t, srv).
		want(t, "client credentials", 200, map[string]any{"refresh_token": nil}).at("access_token")
	wantAPI(t, srv, token, 200)
	srv.Advance(24 * time.Hour)
	wantAPI(t, srv, token, 401)
}

func TestLinearScopes(t *testing.T) {
	srv := providertest.NewServer(t, providertest.Provider("linear"))
	if q := authorize(t, srv, "scope", "read write"); q.Get("error") != "invalid_scope" {
		t.Errorf("scopes with a space between them: got %v, want invalid_scope", q)
	}
}

func TestLinearWhoAmIAndRevocation(t *testing.T) {
	srv := providertest.NewServer(t, providertest.Provider("linear"))
	g := sent{post: true, form: codeForm(t, srv, "scope", "read")}.to(t, srv)
	query := []string{"query", "{ viewer { id name } organization { id urlKey } }"}
	const graphql, revocation = "https://api.linear.app/graphql", "https://api.linear.app/oauth/revoke"
	whoami := sent{address: graphql, bearer: g.at("access_token"), json: query}
	whoami.to(t, srv).want(t, "viewer", 200, map[string]any{
		"data.viewer.id": "user", "data.viewer.name": "user", "data.organization.urlKey": "acme",
	})
	sent{address: graphql, bearer: g.at("access_token"), form: query}.to(t, srv).want(t, "query as a form", 400, map[string]any{"data": nil})
	sent{address: graphql, bearer: g.at("access_token"), json: []string{}}.to(t, srv).want(t, "no query", 400, map[string]any{"data": nil})
	sent{address: graphql, bearer: "x", json: query}.to(t, srv).want(t, "wrong token", 401, map[string]any{"data": nil})

	if got := srv.RevocationURL(); got != revocation {
		t.Errorf("got revocation endpoint %s, want %s", got, revocation)
	}
	revoke := sent{address: revocation, form: []string{"token", g.at("access_token").(string)}}
	revoke.to(t, srv).want(t, "revocation without client", 200, nil)
	revoke.to(t, srv).want(t, "once more", 400, nil)
	whoami.to(t, srv).want(t, "viewer after that", 401, nil)

	next := sent{basic: true, form: refreshForm(g.at("refresh_token"))}.to(t, srv).want(t, "refresh after that", 200, nil)
	sent{address: revocation, form: []string{"token", next.at("refresh_token").(string)}}.to(t, srv).want(t, "revocation of the refresh token", 200, nil)
	sent{basic: true, form: refreshForm(next.at("refresh_token"))}.to(t, srv).want(t, "refresh with it", 400, map[string]any{"error": "invalid_grant"})
}
