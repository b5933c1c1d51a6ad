package providertest_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/authprofile/authprofile/providertest"
)

var forXero = []string{"scope", "openid accounting.transactions offline_access"}

func TestXeroTokens(t *testing.T) {
	srv := providertest.NewServer(t, providertest.Provider("xero"))
	if srv.AuthURL() != "https://login.xero.com/identity/connect/authorize" || srv.Issuer() != "https://identity.xero.com" {
		t.Errorf("got %s of issuer %s", srv.AuthURL(), srv.Issuer())
	}
	if _, doc := get(t, srv, srv.DiscoveryURL(), ""); doc["scopes_supported"] != nil {
		t.Errorf("got scopes_supported %v, want none", doc["scopes_supported"])
	}
	sent{post: true, form: codeForm(t, srv, forXero...)}.to(t, srv).want(t, "credentials in the form", 401, map[string]any{"error": "invalid_client"})
	sent{basic: true, form: codeForm(t, srv, "scope", "accounting.transactions")}.to(t, srv).
		want(t, "without offline_access", 200, map[string]any{"refresh_token": nil})
	first := sent{basic: true, form: codeForm(t, srv, forXero...)}.to(t, srv).want(t, "exchange", 200, map[string]any{
		"access_token": "*", "id_token": "*", "expires_in": 1800, "refresh_token": "*", "token_type": "Bearer",
	}).at("refresh_token")

	refresh := func(what string, token any, status int) any {
		t.Helper()
		return sent{basic: true, form: refreshForm(token)}.to(t, srv).want(t, what, status, nil).at("refresh_token")
	}
	second := refresh("first", first, 200)
	srv.Advance(29 * time.Minute)
	refresh("within the grace", first, 200)
	srv.Advance(2 * time.Minute)
	refresh("after the grace", first, 400)
	third := refresh("the other one", second, 200)
	srv.Advance(60 * 24 * time.Hour)
	refresh("unused for 60 days", third, 400)
}

func TestXeroTenants(t *testing.T) {
	srv := providertest.NewServer(t, providertest.Provider("xero"))
	g := sent{basic: true, form: codeForm(t, srv, forXero...)}.to(t, srv)
	connections := sent{method: "GET", address: "https://api.xero.com/connections", bearer: g.at("access_token")}
	var list []struct{ TenantID, TenantName, AuthEventID string }
	if body := connections.to(t, srv).want(t, "connections", 200, nil).body; json.Unmarshal([]byte(body), &list) != nil ||
		len(list) < 2 || list[0].TenantID == list[1].TenantID || list[0].TenantName == "" || list[0].AuthEventID == "" {
		t.Fatalf("got connections %s, want several", body)
	}
	invoices := sent{method: "GET", address: "https://api.xero.com/api.xro/2.0/Invoices", bearer: g.at("access_token")}
	invoices.to(t, srv).want(t, "without a tenant", 403, map[string]any{"Title": "Forbidden"})
	invoices.header = map[string]string{"Xero-tenant-id": "x"}
	invoices.to(t, srv).want(t, "another tenant", 403, nil)
	invoices.header = map[string]string{"Xero-tenant-id": list[1].TenantID}
	invoices.to(t, srv).want(t, "a tenant", 200, nil)

	sent{basic: true, address: srv.RevocationURL(), form: []string{"token", g.at("refresh_token").(string)}}.to(t, srv).want(t, "revocation", 200, nil)
	connections.to(t, srv).want(t, "connections after that", 401, map[string]any{"Title": "Unauthorized"})
	invoices.to(t, srv).want(t, "a tenant after that", 401, nil)
}
