package providertest_test

import (
	"testing"
	"time"

	"github.com/authprofile/authprofile/providertest"
)

func TestDocuSignRefresh(t *testing.T) {
	srv := providertest.NewServer(t, providertest.Provider("docusign"))
	refresh := func(what string, token any, status int) any {
		t.Helper()
		members := map[string]any{"error": "invalid_grant"}
		if status == 200 {
			members = map[string]any{"access_token": "*", "refresh_token": "*"}
		}
		return sent{basic: true, form: refreshForm(token)}.to(t, srv).want(t, what, status, members).at("refresh_token")
	}
	const month = 30 * 24 * time.Hour
	for scope, status := range map[string]int{"signature": 400, "signature extended": 200} {
		first := sent{basic: true, form: codeForm(t, srv, "scope", scope)}.to(t, srv).want(t, "exchange", 200, map[string]any{
			"access_token": "*", "refresh_token": "*", "token_type": "Bearer", "expires_in": 28800,
		}).at("refresh_token")
		second := refresh("refresh", first, 200)
		refresh("second use", first, 400)
		srv.Advance(month - time.Hour)
		third := refresh(scope+" before 30 days", second, 200)
		srv.Advance(time.Hour)
		refresh(scope+" after 30 days", third, status)
	}
	sent{basic: true, form: codeForm(t, srv, "scope", "click.manage")}.to(t, srv).
		want(t, "without the scope signature", 200, map[string]any{"access_token": "*", "refresh_token": nil})
	sent{post: true, form: codeForm(t, srv, "scope", "signature")}.to(t, srv).
		want(t, "client in the form", 401, map[string]any{"error": "invalid_client"})
}

func TestDocuSignDocumentAndUser(t *testing.T) {
	for name, want := range map[string][2]string{
		"docusign":                        {"https://account.docusign.com/", "https://na4.docusign.net"},
		"docusign/account-d.docusign.com": {"https://account-d.docusign.com/", "https://demo.docusign.net"},
	} {
		srv := providertest.NewServer(t, providertest.Provider(name))
		base := want[0]
		sent{method: "GET", address: base + ".well-known/openid-configuration"}.to(t, srv).want(t, "document", 200, map[string]any{
			"issuer": base, "authorization_endpoint": base + "oauth/auth", "token_endpoint": base + "oauth/token",
			"revocation_endpoint": nil, "code_challenge_methods_supported": nil,
		})
		g := sent{basic: true, form: codeForm(t, srv, "scope", "signature openid")}.to(t, srv)
		if _, claims := verify(t, srv, g.at("id_token").(string)); claims["nonce"] != nil || claims["iss"] != base {
			t.Errorf("got ID token %v, want one of %s without a nonce", claims, base)
		}
		who := sent{method: "GET", address: base + "oauth/userinfo", bearer: "x"}
		who.to(t, srv).want(t, "userinfo with a wrong token", 401, nil)
		who.bearer = sent{basic: true, form: codeForm(t, srv, "scope", "signature")}.to(t, srv).at("access_token")
		v := who.to(t, srv).want(t, "userinfo", 200, map[string]any{"sub": "user", "name": "user"})
		accounts, _ := v.at("accounts").([]any)
		chosen := 0
		for _, a := range accounts {
			account := a.(map[string]any)
			if account["base_uri"] != want[1] || account["account_id"] == nil {
				t.Errorf("got account %v, want one at %s", account, want[1])
			}
			if account["is_default"] == true {
				chosen++
			}
		}
		if len(accounts) != 2 || chosen != 1 {
			t.Errorf("got accounts %v, want two, one of them the default", accounts)
		}
	}
}
