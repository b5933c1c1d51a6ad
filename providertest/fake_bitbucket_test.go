package providertest_test

import (
	"testing"
	"time"

	"github.com/authprofile/authprofile/providertest"
)

func TestBitbucketRotation(t *testing.T) {
	srv := providertest.NewServer(t, providertest.Provider("bitbucket"))
	first := sent{basic: true, form: codeForm(t, srv)}.to(t, srv).want(t, "exchange", 200, map[string]any{
		"access_token": "*", "refresh_token": "*", "token_type": "bearer", "expires_in": 7200, "state": "authorization_code",
	})
	second := sent{post: true, form: refreshForm(first.at("refresh_token"))}.to(t, srv).
		want(t, "refresh", 200, map[string]any{"access_token": "*", "refresh_token": "*", "state": "refresh_token"})
	sent{basic: true, form: refreshForm(first.at("refresh_token"))}.to(t, srv).
		want(t, "second use", 400, map[string]any{"error": "invalid_grant"})
	wantAPI(t, srv, first.at("access_token"), 200)
	srv.Advance(91 * 24 * time.Hour)
	third := sent{basic: true, form: refreshForm(second.at("refresh_token"))}.to(t, srv).want(t, "after 91 days", 200, nil)
	srv.Advance(92 * 24 * time.Hour)
	sent{basic: true, form: refreshForm(third.at("refresh_token"))}.to(t, srv).
		want(t, "unused for 92 days", 400, map[string]any{"error": "invalid_grant"})
	sent{basic: true, form: []string{"grant_type", "client_credentials"}}.to(t, srv).
		want(t, "client credentials", 200, map[string]any{"access_token": "*", "refresh_token": nil})
	if srv.RevocationURL() != "" || srv.DiscoveryURL() != "" {
		t.Errorf("got revocation %q, document %q, want none", srv.RevocationURL(), srv.DiscoveryURL())
	}
}

func TestBitbucketScopes(t *testing.T) {
	for _, test := range []struct {
		switches []string
		want     map[string]any
	}{
		{nil, map[string]any{"scope": "account repository", "scopes": nil}},
		{[]string{"scopes"}, map[string]any{"scopes": "account repository", "scope": nil}},
	} {
		srv := providertest.NewServer(t, providertest.Provider("bitbucket", test.switches...))
		g := sent{basic: true, form: codeForm(t, srv, "scope", "snippet")}.to(t, srv).want(t, "exchange", 200, test.want)
		sent{basic: true, form: append(refreshForm(g.at("refresh_token")), "scope", "snippet")}.to(t, srv).want(t, "refresh", 200, test.want)
	}
}

func TestBitbucketWhoAmI(t *testing.T) {
	srv := providertest.NewServer(t, providertest.Provider("bitbucket"))
	user := sent{method: "GET", address: "https://api.bitbucket.org/2.0/user", bearer: "x"}
	user.to(t, srv).want(t, "wrong token", 401, map[string]any{"type": "error", "error.message": "*"})
	user.bearer = sent{basic: true, form: codeForm(t, srv)}.to(t, srv).at("access_token")
	user.to(t, srv).want(t, "user", 200, map[string]any{"account_id": "user", "display_name": "user", "uuid": "{user}"})
	srv.SetConsent(providertest.Consent{Scopes: []string{"repository"}})
	user.bearer = sent{basic: true, form: codeForm(t, srv)}.to(t, srv).at("access_token")
	user.to(t, srv).want(t, "without the scope account", 403, map[string]any{"type": "error"})
}
