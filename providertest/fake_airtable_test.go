package providertest_test

import (
	"testing"
	"time"

	"github.com/authprofile/authprofile/providertest"
)

// longState is as long as Airtable demands.
const longState = "0123456789abcdef"

func airtableCode(t *testing.T, srv *providertest.Server, scope string) []string {
	t.Helper()
	return codeForm(t, srv, "scope", scope, "state", longState)
}

func TestAirtableDemands(t *testing.T) {
	srv := providertest.NewServer(t, providertest.Provider("airtable"))
	if srv.AuthURL() != "https://airtable.com/oauth2/v1/authorize" || srv.TokenURL() != "https://airtable.com/oauth2/v1/token" ||
		srv.DiscoveryURL() != "" || srv.RevocationURL() != "" {
		t.Errorf("got %s, %s, %q, %q, want the addresses of Airtable, no document and no revocation",
			srv.AuthURL(), srv.TokenURL(), srv.DiscoveryURL(), srv.RevocationURL())
	}
	for what, pairs := range map[string][]string{
		"no state":                 {"state", ""},
		"a state of 15 characters": {"state", longState[1:]},
		"no PKCE":                  {"state", longState, "code_challenge", "", "code_challenge_method", ""},
	} {
		if q := authorize(t, srv, pairs...); q.Get("error") != "invalid_request" || q.Has("code") {
			t.Errorf("%s: got %v, want invalid_request", what, q)
		}
	}
	q := authorize(t, srv, "state", longState)
	if !q.Has("code") || q.Get("code_challenge") != challenge() || q.Get("code_challenge_method") != "S256" {
		t.Errorf("got callback %v, want a code, and the code challenge again", q)
	}
	sent{post: true, form: airtableCode(t, srv, "data.records:read")}.to(t, srv).want(t, "the secret in the form", 401, map[string]any{"error": "invalid_client"})
	sent{basic: true, form: airtableCode(t, srv, "data.records:read")[:6]}.to(t, srv).want(t, "no verifier", 400, map[string]any{"error": "invalid_grant"})
	srv.AddClient(providertest.Client{ID: "public"})
	code := exchange(authorize(t, srv, "state", longState, "client_id", "public").Get("code"))
	sent{form: append(code, "client_id", "public")}.to(t, srv).want(t, "a client without a secret", 200, nil)
}

func TestAirtableRefresh(t *testing.T) {
	srv := providertest.NewServer(t, providertest.Provider("airtable"))
	refresh := func(what string, token any, status int) got {
		t.Helper()
		return sent{basic: true, form: refreshForm(token)}.to(t, srv).want(t, what, status, nil)
	}
	first := sent{basic: true, form: airtableCode(t, srv, "data.records:read")}.to(t, srv).want(t, "exchange", 200, map[string]any{
		"access_token": "*", "expires_in": 3600, "refresh_token": "*", "refresh_expires_in": 5184000, "scope": "data.records:read", "token_type": "Bearer",
	})
	wantAPI(t, srv, first.at("access_token"), 200)
	srv.Advance(59 * 24 * time.Hour)
	second := refresh("in use", first.at("refresh_token"), 200)
	srv.Advance(time.Minute)
	third := refresh("second", second.at("refresh_token"), 200).
		want(t, "refresh", 200, map[string]any{"access_token": "*", "refresh_token": "*", "refresh_expires_in": 5184000})
	wantAPI(t, srv, second.at("access_token"), 401)
	wantAPI(t, srv, third.at("access_token"), 200)
	refresh("second again", second.at("refresh_token"), 400).want(t, "second again", 400, map[string]any{"error": "invalid_grant"})
	refresh("third, after that", third.at("refresh_token"), 400)
	wantAPI(t, srv, third.at("access_token"), 401)

	unused := sent{basic: true, form: airtableCode(t, srv, "data.records:read")}.to(t, srv).at("refresh_token")
	srv.Advance(60 * 24 * time.Hour)
	refresh("unused for 60 days", unused, 400)
}

func TestAirtableWhoAmI(t *testing.T) {
	srv := providertest.NewServer(t, providertest.Provider("airtable"))
	srv.SetConsent(providertest.Consent{Subject: "usrAda"})
	whoAmI := func(scope string) got {
		t.Helper()
		token := sent{basic: true, form: airtableCode(t, srv, scope)}.to(t, srv).at("access_token")
		return sent{method: "GET", address: "https://api.airtable.com/v0/meta/whoami", bearer: token}.to(t, srv)
	}
	whoAmI("data.records:read").want(t, "whoami", 200, map[string]any{"id": "usrAda", "email": nil})
	whoAmI("user.email:read").want(t, "whoami with the email", 200, map[string]any{"id": "usrAda", "email": "usrAda@example.com"})
	sent{method: "GET", address: "https://api.airtable.com/v0/meta/whoami"}.to(t, srv).
		want(t, "no token", 401, map[string]any{"error.type": "AUTHENTICATION_REQUIRED"})
}
