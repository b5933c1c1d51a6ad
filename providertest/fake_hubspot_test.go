package providertest_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/authprofile/authprofile/providertest"
)

func TestHubSpotTokens(t *testing.T) {
	for _, test := range []struct {
		switches []string
		token    string
		dead     map[string]any
		basic    int
	}{
		{nil, "https://api.hubapi.com/oauth/2026-03/token", map[string]any{"error": "invalid_grant", "status": nil}, 401},
		{[]string{"v1"}, "https://api.hubapi.com/oauth/v1/token", map[string]any{
			"status": "BAD_REFRESH_TOKEN", "message": "*", "correlationId": "*", "category": "*", "error": nil,
		}, 400},
	} {
		srv := providertest.NewServer(t, providertest.Provider("hubspot", test.switches...))
		if got := srv.TokenURL(); got != test.token {
			t.Errorf("got token endpoint %s, want %s", got, test.token)
		}
		first := sent{post: true, form: codeForm(t, srv, "scope", "oauth")}.to(t, srv).want(t, "exchange", 200, map[string]any{
			"access_token": "*", "refresh_token": "*", "token_type": "bearer", "expires_in": 1800, "hub_id": 62515,
		})
		refresh := sent{post: true, form: refreshForm(first.at("refresh_token"))}
		for range 2 {
			second := refresh.to(t, srv).want(t, "refresh", 200, map[string]any{"refresh_token": first.at("refresh_token")})
			wantAPI(t, srv, first.at("access_token"), 200)
			wantAPI(t, srv, second.at("access_token"), 200)
		}
		sent{basic: true, form: refresh.form}.to(t, srv).want(t, "Basic", test.basic, map[string]any{"access_token": nil})
		srv.Advance(30 * time.Minute)
		wantAPI(t, srv, first.at("access_token"), 401)
		srv.RevokeUser("user")
		refresh.to(t, srv).want(t, "dead grant", 400, test.dead)
	}
}

func TestHubSpotScopes(t *testing.T) {
	srv := providertest.NewServer(t, providertest.Provider("hubspot"))
	for _, test := range []struct {
		consent []string
		want    string
	}{
		{nil, "[oauth contacts tickets]"},
		{[]string{"oauth"}, "[oauth]"},
	} {
		srv.SetConsent(providertest.Consent{Scopes: test.consent})
		g := sent{post: true, form: codeForm(t, srv, "scope", "oauth contacts", "optional_scope", "tickets")}.to(t, srv)
		if test.consent != nil {
			g = sent{post: true, form: refreshForm(g.at("refresh_token"))}.to(t, srv)
		}
		if got := fmt.Sprint(g.at("scopes")); got != test.want {
			t.Errorf("got scopes %s, want %s", got, test.want)
		}
	}
}

func TestHubSpotWhoAmIAndRevocation(t *testing.T) {
	srv := providertest.NewServer(t, providertest.Provider("hubspot"))
	g := sent{post: true, form: codeForm(t, srv, "scope", "oauth")}.to(t, srv)
	const base = "https://api.hubapi.com/oauth/2026-03/token"
	token := []string{"token", g.at("access_token").(string)}
	sent{address: base + "/introspect", form: token}.to(t, srv).want(t, "introspection without client", 401, nil)
	who := sent{address: base + "/introspect", post: true, form: token}
	v := who.to(t, srv).want(t, "introspection", 200, map[string]any{"active": true, "user": "user", "hub_id": 62515})
	if id, _ := v.at("user_id").(float64); id < 1 {
		t.Errorf("got user_id %v, want a number", v.at("user_id"))
	}
	sent{method: "GET", address: "https://api.hubapi.com/account-info/v3/details", bearer: g.at("access_token")}.to(t, srv).
		want(t, "details", 200, map[string]any{"portalId": 62515})

	revoke := sent{address: base + "/revoke", form: []string{"token", g.at("refresh_token").(string)}}
	revoke.to(t, srv).want(t, "revocation without client", 401, nil)
	revoke.post = true
	revoke.to(t, srv).want(t, "revocation", 200, nil)
	who.to(t, srv).want(t, "introspection after that", 200, map[string]any{"active": false, "user_id": nil})
}

func TestHubSpotV1WhoAmIAndRevocation(t *testing.T) {
	srv := providertest.NewServer(t, providertest.Provider("hubspot", "v1"))
	if got := srv.RevocationURL(); got != "" {
		t.Errorf("got revocation endpoint %s, want none of the usual kind", got)
	}
	g := sent{post: true, form: codeForm(t, srv, "scope", "oauth")}.to(t, srv)
	const base = "https://api.hubapi.com/oauth/v1/"
	who := sent{method: "GET", address: base + "access-tokens/" + g.at("access_token").(string)}
	who.to(t, srv).want(t, "token info", 200, map[string]any{"user": "user", "hub_id": 62515, "hub_domain": "*"})
	revoke := sent{method: "DELETE", address: base + "refresh-tokens/" + g.at("refresh_token").(string)}
	revoke.to(t, srv).want(t, "revocation", 204, nil)
	revoke.to(t, srv).want(t, "once more", 404, map[string]any{"status": "BAD_REFRESH_TOKEN"})
	who.to(t, srv).want(t, "token info after that", 404, nil)
	for what, test := range map[string]struct {
		r    sent
		want string
	}{
		"wrong code":     {sent{post: true, form: exchange("x")}, "BAD_AUTH_CODE"},
		"wrong secret":   {sent{post: true, secret: "x", form: exchange("x")}, "BAD_CLIENT_SECRET"},
		"unknown client": {sent{form: append(exchange("x"), "client_id", "x", "client_secret", "x")}, "BAD_CLIENT_ID"},
	} {
		test.r.to(t, srv).want(t, what, 400, map[string]any{"status": test.want, "message": "*"})
	}
}
