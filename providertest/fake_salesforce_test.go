package providertest_test

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/authprofile/authprofile/providertest"
)

var forSalesforce = []string{"scope", "api refresh_token"}

func TestSalesforceExchange(t *testing.T) {
	srv := providertest.NewServer(t, providertest.Provider("salesforce"))
	for _, r := range []sent{{post: true}, {basic: true}} {
		r.form = codeForm(t, srv, forSalesforce...)
		g := r.to(t, srv).want(t, "exchange", 200, map[string]any{
			"access_token": "*", "token_type": "Bearer", "expires_in": nil, "refresh_token": "*", "signature": "*",
			"instance_url": "https://acme.my.salesforce.com",
			"id":           "https://login.salesforce.com/id/00D000000000001AAA/user",
		})
		issued, _ := g.at("issued_at").(string)
		if ms, err := strconv.ParseInt(issued, 10, 64); err != nil || time.Since(time.UnixMilli(ms)).Abs() > time.Minute {
			t.Errorf("got issued_at %v, want the time now in milliseconds, as text", g.at("issued_at"))
		}
	}
	sent{post: true, form: codeForm(t, srv, "scope", "api")}.to(t, srv).
		want(t, "exchange without the scope", 200, map[string]any{"refresh_token": nil})
	sent{post: true, form: codeForm(t, srv, "scope", "api offline_access")}.to(t, srv).
		want(t, "exchange with the other scope", 200, map[string]any{"refresh_token": "*"})
	_, doc := get(t, srv, "https://login.salesforce.com/.well-known/openid-configuration", "")
	if doc["issuer"] != "https://login.salesforce.com" || doc["code_challenge_methods_supported"] != nil {
		t.Errorf("got document %v", doc)
	}
}

func TestSalesforceTellsTheEndOnlyByIntrospection(t *testing.T) {
	srv := providertest.NewServer(t, providertest.Provider("salesforce"))
	token := sent{post: true, form: codeForm(t, srv, forSalesforce...)}.to(t, srv).at("access_token").(string)
	api := sent{method: "GET", address: "https://acme.my.salesforce.com/services/data/v61.0/sobjects", bearer: token}
	api.to(t, srv).want(t, "API", 200, nil)
	ask := sent{address: "https://login.salesforce.com/services/oauth2/introspect", post: true, form: []string{"token", token}}
	g := ask.to(t, srv).want(t, "introspection", 200, map[string]any{"active": true, "scope": "api refresh_token", "client_id": providertest.ClientID})
	exp, _ := g.at("exp").(float64)
	if left := time.Until(time.Unix(int64(exp), 0)); left < 119*time.Minute || left > 2*time.Hour {
		t.Errorf("got an end in %v, want it in 2 hours", left)
	}
	srv.Advance(2 * time.Hour)
	ask.to(t, srv).want(t, "introspection of an ended token", 200, map[string]any{"active": false})
	g = api.to(t, srv).want(t, "API with an ended token", 401, nil)
	if !strings.HasPrefix(g.body, "[") || !strings.Contains(g.body, "INVALID_SESSION_ID") {
		t.Errorf("got %s, want an array with INVALID_SESSION_ID", g.body)
	}
	ask.secret = "x"
	ask.to(t, srv).want(t, "introspection with a wrong secret", 400, map[string]any{"error": "invalid_client"})
}

func TestSalesforceRefresh(t *testing.T) {
	srv := providertest.NewServer(t, providertest.Provider("salesforce"))
	g := sent{post: true, form: codeForm(t, srv, forSalesforce...)}.to(t, srv)
	for range 2 {
		sent{post: true, form: refreshForm(g.at("refresh_token"))}.to(t, srv).want(t, "refresh", 200, map[string]any{
			"access_token": "*", "refresh_token": nil, "instance_url": "*", "issued_at": "*",
		})
	}

	srv = providertest.NewServer(t, providertest.Provider("salesforce", "rotation"))
	g = sent{post: true, form: codeForm(t, srv, forSalesforce...)}.to(t, srv)
	next := sent{post: true, form: refreshForm(g.at("refresh_token"))}.to(t, srv).
		want(t, "refresh with rotation", 200, map[string]any{"refresh_token": "*"})
	wantAPI(t, srv, next.at("access_token"), 200)
	for what, token := range map[string]any{"reuse": g.at("refresh_token"), "another one": "x"} {
		sent{post: true, form: refreshForm(token)}.to(t, srv).want(t, what, 400, map[string]any{
			"error": "invalid_grant", "error_description": "expired access/refresh token",
		})
	}
	sent{post: true, form: refreshForm(next.at("refresh_token"))}.to(t, srv).
		want(t, "the current one after reuse", 400, map[string]any{"error": "invalid_grant"})
	if status := (sent{method: "GET", address: srv.APIURL() + "/v61.0", bearer: next.at("access_token")}).to(t, srv).status; status != 401 {
		t.Errorf("access token after reuse: got status %d, want 401", status)
	}
}

func TestSalesforceKeepsFiveApprovals(t *testing.T) {
	srv := providertest.NewServer(t, providertest.Provider("salesforce"))
	var tokens []string
	for range 6 {
		tokens = append(tokens, sent{post: true, form: codeForm(t, srv, forSalesforce...)}.to(t, srv).at("refresh_token").(string))
	}
	srv.SetConsent(providertest.Consent{Subject: "other"})
	sent{post: true, form: codeForm(t, srv, forSalesforce...)}.to(t, srv)
	for i, token := range tokens {
		if got, want := srv.IsLive(token), i > 0; got != want {
			t.Errorf("approval %d: got live %v, want %v", i, got, want)
		}
	}
}

func TestSalesforceErrorsAndRevocation(t *testing.T) {
	srv := providertest.NewServer(t, providertest.Provider("salesforce/acme.my.salesforce.com"))
	if srv.Issuer() != "https://acme.my.salesforce.com" || srv.APIURL() != "https://acme.my.salesforce.com/services/data" {
		t.Errorf("got issuer %s and API %s of another host", srv.Issuer(), srv.APIURL())
	}
	sent{post: true, form: []string{"grant_type", "client_credentials"}}.to(t, srv).
		want(t, "client credentials", 200, map[string]any{"access_token": "*", "instance_url": "*", "refresh_token": nil})
	sent{post: true, secret: "x", form: refreshForm("x")}.to(t, srv).want(t, "wrong secret", 400, map[string]any{"error": "invalid_client"})
	sent{form: append(refreshForm("x"), "client_id", "x", "client_secret", "x")}.to(t, srv).
		want(t, "unknown client", 400, map[string]any{"error": "invalid_client_id"})

	g := sent{post: true, form: codeForm(t, srv, forSalesforce...)}.to(t, srv)
	sent{method: "GET", address: "https://acme.my.salesforce.com/services/oauth2/userinfo", bearer: g.at("access_token")}.to(t, srv).
		want(t, "userinfo", 200, map[string]any{"user_id": "user", "preferred_username": "user@acme.example.com", "organization_id": "*"})
	sent{address: srv.RevocationURL(), form: []string{"token", g.at("refresh_token").(string)}}.to(t, srv).want(t, "revocation without a client", 200, nil)
	sent{method: "GET", address: srv.APIURL() + "/v61.0", bearer: g.at("access_token")}.to(t, srv).want(t, "API after that", 401, nil)

	srv = providertest.NewServer(t, providertest.Provider("salesforce/test.salesforce.com"))
	sent{post: true, form: []string{"grant_type", "client_credentials"}}.to(t, srv).
		want(t, "client credentials at a common host", 400, map[string]any{"error": "invalid_grant"})
}
