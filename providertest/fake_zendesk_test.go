package providertest_test

import (
	"slices"
	"testing"
	"time"

	"github.com/authprofile/authprofile/providertest"
)

func TestZendeskExchange(t *testing.T) {
	for _, test := range []struct {
		what     string
		switches []string
		form     []string
		status   int
		want     map[string]any
	}{
		{"older client", nil, nil, 200, map[string]any{"access_token": "*", "token_type": "bearer", "scope": "read", "expires_in": nil, "refresh_token": nil}},
		{"asked for", nil, []string{"expires_in", "1800"}, 200, map[string]any{"expires_in": 1800, "refresh_token": "*", "refresh_token_expires_in": 2592000}},
		{"both asked for", nil, []string{"expires_in", "300", "refresh_token_expires_in", "604800"}, 200, map[string]any{
			"expires_in": 300, "refresh_token": "*", "refresh_token_expires_in": 604800,
		}},
		{"newer client", []string{"expiring"}, nil, 200, map[string]any{"expires_in": 1800, "refresh_token": "*"}},
		{"too short", nil, []string{"expires_in", "299"}, 400, map[string]any{"error": "invalid_request"}},
		{"too long", nil, []string{"expires_in", "172801"}, 400, map[string]any{"error": "invalid_request"}},
		{"refresh token too short", nil, []string{"expires_in", "300", "refresh_token_expires_in", "60"}, 400, map[string]any{"error": "invalid_request"}},
	} {
		srv := providertest.NewServer(t, providertest.Provider("zendesk", test.switches...))
		r := sent{post: true, form: append(slices.Clone(test.form), codeForm(t, srv, "scope", "read")...)}
		r.to(t, srv).want(t, test.what, test.status, test.want)
		r = sent{post: true, json: append(slices.Clone(test.form), codeForm(t, srv, "scope", "read")...)}
		r.to(t, srv).want(t, test.what+", as JSON", test.status, test.want)
	}

	srv := providertest.NewServer(t, providertest.Provider("zendesk"))
	sent{basic: true, form: codeForm(t, srv, "scope", "read")}.to(t, srv).want(t, "Basic", 401, map[string]any{"error": "invalid_client"})
	g := sent{post: true, form: codeForm(t, srv, "scope", "read")}.to(t, srv)
	srv.Advance(2 * 365 * 24 * time.Hour)
	wantAPI(t, srv, g.at("access_token"), 200)
	sent{post: true, form: []string{"grant_type", "client_credentials", "scope", "read", "expires_in", "300"}}.to(t, srv).
		want(t, "client credentials", 200, map[string]any{"expires_in": 300, "refresh_token": nil})
}

func TestZendeskRefresh(t *testing.T) {
	srv := providertest.NewServer(t, providertest.Provider("zendesk"))
	timed := []string{"expires_in", "1800"}
	first := sent{post: true, form: append(codeForm(t, srv, "scope", "read"), timed...)}.to(t, srv)
	second := sent{post: true, form: append(refreshForm(first.at("refresh_token")), timed...)}.to(t, srv).
		want(t, "refresh", 200, map[string]any{"access_token": "*", "refresh_token": "*", "expires_in": 1800, "refresh_token_expires_in": 2592000})
	wantAPI(t, srv, first.at("access_token"), 401)
	sent{post: true, form: append(refreshForm(first.at("refresh_token")), timed...)}.to(t, srv).
		want(t, "second use", 400, map[string]any{"error": "invalid_grant"})
	wantAPI(t, srv, second.at("access_token"), 200)
	srv.Advance(30 * time.Minute)
	wantAPI(t, srv, second.at("access_token"), 401)

	third := sent{post: true, form: refreshForm(second.at("refresh_token"))}.to(t, srv).
		want(t, "refresh without expires_in", 200, map[string]any{"access_token": "*", "expires_in": nil})
	srv.Advance(29 * 24 * time.Hour)
	wantAPI(t, srv, third.at("access_token"), 200)
	fourth := sent{post: true, form: append(refreshForm(third.at("refresh_token")), "refresh_token_expires_in", "604800")}.to(t, srv).
		want(t, "refresh after 29 days", 200, nil)
	srv.Advance(7 * 24 * time.Hour)
	sent{post: true, form: refreshForm(fourth.at("refresh_token"))}.to(t, srv).
		want(t, "refresh after 7 days", 400, map[string]any{"error": "invalid_grant"})
}

func TestZendeskWhoAmIAndRevocation(t *testing.T) {
	srv := providertest.NewServer(t, providertest.Provider("zendesk/widgets"))
	g := sent{post: true, form: append(codeForm(t, srv, "scope", "read"), "expires_in", "1800")}.to(t, srv)
	const base = "https://widgets.zendesk.com"
	if srv.AuthURL() != base+"/oauth/authorizations/new" || srv.TokenURL() != base+"/oauth/tokens" || srv.RevocationURL() != "" {
		t.Errorf("got endpoints %s, %s, %q, want those of the subdomain", srv.AuthURL(), srv.TokenURL(), srv.RevocationURL())
	}
	who := sent{method: "GET", address: base + "/api/v2/users/me.json", bearer: g.at("access_token")}
	v := who.to(t, srv).want(t, "user", 200, map[string]any{"user.name": "user"})
	if id, _ := v.at("user.id").(float64); id < 1 {
		t.Errorf("got id %v, want a number", v.at("user.id"))
	}
	revoke := sent{method: "DELETE", address: base + "/api/v2/oauth/tokens/current.json"}
	revoke.to(t, srv).want(t, "revocation without a token", 401, nil)
	revoke.bearer = g.at("access_token")
	revoke.to(t, srv).want(t, "revocation", 204, nil)
	revoke.to(t, srv).want(t, "once more", 401, nil)
	who.to(t, srv).want(t, "user after that", 200, map[string]any{"user.id": nil, "user.name": "Anonymous user"})
	wantAPI(t, srv, g.at("access_token"), 401)
	sent{post: true, form: refreshForm(g.at("refresh_token"))}.to(t, srv).want(t, "refresh after that", 400, map[string]any{"error": "invalid_grant"})
}
