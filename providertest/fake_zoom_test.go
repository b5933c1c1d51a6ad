package providertest_test

import (
	"testing"
	"time"

	"github.com/authprofile/authprofile/providertest"
)

func TestZoom(t *testing.T) {
	srv := providertest.NewServer(t, providertest.Provider("zoom"))
	sent{post: true, form: codeForm(t, srv)}.to(t, srv).want(t, "credentials in the form", 401, map[string]any{"reason": "*", "error": "invalid_client"})
	first := sent{basic: true, form: codeForm(t, srv)}.to(t, srv).want(t, "exchange", 200, map[string]any{
		"access_token": "*", "token_type": "bearer", "expires_in": 3600, "refresh_token": "*", "scope": "user:read:user meeting:read:meeting",
		"api_url": "https://api.zoom.us",
	})
	next := sent{basic: true, form: refreshForm(first.at("refresh_token"))}.to(t, srv).want(t, "refresh", 200, map[string]any{"refresh_token": "*"})
	dead := map[string]any{"reason": "*", "error": "invalid_grant", "error_description": nil}
	sent{basic: true, form: refreshForm(first.at("refresh_token"))}.to(t, srv).want(t, "second use", 401, dead)
	next = sent{basic: true, form: refreshForm(next.at("refresh_token"))}.to(t, srv).want(t, "the current one", 200, nil)
	sent{basic: true, form: exchange("x")}.to(t, srv).want(t, "wrong code", 400, dead)
	sent{method: "GET", address: "https://api.zoom.us/v2/users/me", bearer: next.at("access_token")}.to(t, srv).
		want(t, "me", 200, map[string]any{"id": "user", "email": "user@example.com", "account_id": "abc123XYZ"})
	sent{method: "GET", address: srv.APIURL() + "/meetings", bearer: "x"}.to(t, srv).want(t, "API with a wrong token", 401, map[string]any{"code": 124})

	sent{basic: true, address: srv.RevocationURL(), form: []string{"token", next.text(t, "access_token")}}.to(t, srv).want(t, "revocation", 200, nil)
	wantAPI(t, srv, next.at("access_token"), 401)
	srv.Advance(90 * 24 * time.Hour)
	sent{basic: true, form: refreshForm(next.at("refresh_token"))}.to(t, srv).want(t, "after 90 days", 401, dead)
}

func TestZoomAccountCredentials(t *testing.T) {
	srv := providertest.NewServer(t, providertest.Provider("zoom/MyAccount"))
	form := []string{"grant_type", "account_credentials", "account_id"}
	sent{basic: true, form: append(form, "MyAccount")}.to(t, srv).want(t, "account", 200, map[string]any{
		"access_token": "*", "expires_in": 3600, "refresh_token": nil, "scope": "user:read:user meeting:read:meeting",
	})
	sent{basic: true, form: append(form, "other")}.to(t, srv).want(t, "another account", 400, map[string]any{"reason": "*", "error": "invalid_request"})
	sent{basic: true, form: form[:2]}.to(t, srv).want(t, "no account", 400, nil)
	sent{basic: true, form: []string{"grant_type", "client_credentials"}}.to(t, srv).want(t, "client credentials", 200, map[string]any{"refresh_token": nil})
	if got := srv.Count("account_credentials"); got != 3 {
		t.Errorf("got %d requests, want 3", got)
	}
}
