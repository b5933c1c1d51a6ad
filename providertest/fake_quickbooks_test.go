package providertest_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/authprofile/authprofile/providertest"
)

var forQuickBooks = []string{"scope", "com.intuit.quickbooks.accounting openid"}

func TestQuickBooksAuthorization(t *testing.T) {
	srv := providertest.NewServer(t, providertest.Provider("quickbooks"))
	_, doc := get(t, srv, "https://developer.api.intuit.com/.well-known/openid_configuration", "")
	if doc["issuer"] != "https://oauth.platform.intuit.com/op/v1" {
		t.Errorf("got issuer %v, want that of another host", doc["issuer"])
	}
	srv.SetConsent(providertest.Consent{Error: "access_denied"})
	if q := authorize(t, srv, forQuickBooks...); q.Has("realmId") {
		t.Errorf("denied: got %v, want no realmId", q)
	}
	srv.SetConsent(providertest.Consent{})
	q := authorize(t, srv, forQuickBooks...)
	if q.Get("realmId") == "" {
		t.Errorf("got callback %v, want a realmId", q)
	}
	g := sent{basic: true, header: acceptJSON, form: exchange(q.Get("code"))}.to(t, srv).want(t, "exchange", 200, map[string]any{
		"access_token": "*", "token_type": "bearer", "expires_in": 3600, "refresh_token": "*", "x_refresh_token_expires_in": 8726400,
		"realmId": nil, "scope": nil,
	})
	if _, claims := verify(t, srv, g.at("id_token").(string)); claims["nonce"] != nil || claims["iss"] != "https://oauth.platform.intuit.com/op/v1" {
		t.Errorf("got claims %v, want the issuer of the document, and no nonce", claims)
	}

	company := sent{method: "GET", bearer: g.at("access_token"), header: acceptJSON,
		address: "https://quickbooks.api.intuit.com/v3/company/" + q.Get("realmId") + "/companyinfo/" + q.Get("realmId")}
	company.to(t, srv).want(t, "company", 200, map[string]any{"CompanyInfo.Id": "1", "CompanyInfo.CompanyName": "Acme"})
	company.header = nil
	company.to(t, srv).want(t, "company without Accept", 406, nil)
	company.header, company.address = acceptJSON, "https://quickbooks.api.intuit.com/v3/company/1/companyinfo/1"
	company.to(t, srv).want(t, "another company", 403, nil)
	sent{method: "GET", address: "https://accounts.platform.intuit.com/v1/openid_connect/userinfo", bearer: g.at("access_token")}.to(t, srv).
		want(t, "userinfo", 200, map[string]any{"sub": "user"})
}

func TestQuickBooksRequests(t *testing.T) {
	srv := providertest.NewServer(t, providertest.Provider("quickbooks"))
	sent{post: true, header: acceptJSON, form: codeForm(t, srv, forQuickBooks...)}.to(t, srv).want(t, "credentials in the form", 401, nil)
	code := codeForm(t, srv, forQuickBooks...)
	sent{basic: true, form: code}.to(t, srv).want(t, "without Accept", 406, nil)
	sent{basic: true, header: acceptJSON, form: code}.to(t, srv).want(t, "with Accept", 200, nil)
	sent{basic: true, header: acceptJSON, form: []string{"grant_type", "client_credentials"}}.to(t, srv).
		want(t, "client credentials", 400, map[string]any{"error": "unsupported_grant_type"})
}

func TestQuickBooksRefresh(t *testing.T) {
	synctest.Test(t, testQuickBooksRefresh) // the clock stands still between its steps
}

func testQuickBooksRefresh(t *testing.T) {
	srv := providertest.NewServer(t, providertest.Provider("quickbooks"))
	login := func() any {
		return sent{basic: true, header: acceptJSON, form: codeForm(t, srv, forQuickBooks...)}.to(t, srv).at("refresh_token")
	}
	refresh := func(what string, token any, status int, members map[string]any) any {
		t.Helper()
		return sent{basic: true, header: acceptJSON, form: refreshForm(token)}.to(t, srv).want(t, what, status, members).at("refresh_token")
	}
	first := login()
	srv.Advance(23 * time.Hour)
	refresh("on the first day", first, 200, map[string]any{"refresh_token": first, "x_refresh_token_expires_in": 8726400 - 23*3600})
	srv.Advance(time.Hour)
	second := refresh("on the second day", first, 200, map[string]any{"x_refresh_token_expires_in": 8726400})
	if second == first {
		t.Error("got the same refresh token after a day")
	}
	refresh("the former one, soon", first, 200, nil)
	srv.Advance(2 * time.Hour)
	refresh("the former one, later", first, 400, map[string]any{"error": "invalid_grant"})
	refresh("the new one", second, 200, nil)

	unused := login()
	srv.Advance(8726400 * time.Second)
	refresh("unused", unused, 400, map[string]any{"error": "invalid_grant"})
	token := login()
	for range 18 {
		srv.Advance(100 * 24 * time.Hour)
		token = refresh("in use", token, 200, map[string]any{"refresh_token": "*"})
	}
	srv.Advance(25 * 24 * time.Hour)
	refresh("after five years", token, 400, map[string]any{"error": "invalid_grant"})
}

func TestQuickBooksRevocation(t *testing.T) {
	srv := providertest.NewServer(t, providertest.Provider("quickbooks"))
	for _, which := range []string{"access_token", "refresh_token"} {
		g := sent{basic: true, header: acceptJSON, form: codeForm(t, srv, forQuickBooks...)}.to(t, srv)
		body := []string{"token", g.at(which).(string)}
		const address = "https://developer.api.intuit.com/v2/oauth2/tokens/revoke"
		sent{address: address, basic: true, form: body}.to(t, srv).want(t, "a form", 400, nil)
		sent{address: address, json: body}.to(t, srv).want(t, "without Basic", 401, nil)
		sent{address: address, basic: true, json: body}.to(t, srv).want(t, which, 200, nil)
		wantAPI(t, srv, g.at("access_token"), 401)
		if srv.IsLive(g.at("refresh_token").(string)) {
			t.Errorf("%s: the refresh token is live after the revocation", which)
		}
		sent{address: address, basic: true, json: body}.to(t, srv).want(t, "once more", 400, nil)
	}
}
