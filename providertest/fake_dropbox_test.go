package providertest_test

import (
	"testing"
	"time"

	"github.com/authprofile/authprofile/providertest"
)

func TestDropboxTokens(t *testing.T) {
	srv := providertest.NewServer(t, providertest.Provider("dropbox"))
	sent{basic: true, form: codeForm(t, srv, "scope", "files.content.read")}.to(t, srv).want(t, "online", 200, map[string]any{
		"access_token": "*", "refresh_token": nil, "expires_in": 14400, "token_type": "bearer", "account_id": "user", "uid": "*",
	})
	first := sent{post: true, form: codeForm(t, srv, "scope", "files.content.read files.content.write", "token_access_type", "offline")}.to(t, srv).
		want(t, "offline", 200, map[string]any{"access_token": "*", "refresh_token": "*", "scope": "files.content.read files.content.write"})
	refresh := sent{post: true, form: refreshForm(first.at("refresh_token"))}
	for range 2 {
		refresh.to(t, srv).want(t, "refresh", 200, map[string]any{
			"access_token": "*", "refresh_token": nil, "scope": nil, "account_id": nil, "expires_in": 14400,
		})
	}
	refresh.form = append(refresh.form, "scope", "files.content.read")
	refresh.to(t, srv).want(t, "narrower", 200, map[string]any{"scope": "files.content.read"})
	srv.Advance(4 * time.Hour)
	wantAPI(t, srv, first.at("access_token"), 401)
	sent{post: true, form: refreshForm("x")}.to(t, srv).want(t, "wrong refresh token", 400, map[string]any{"error": "invalid_grant"})
}

func TestDropboxRefusesTwoWaysOfAuthentication(t *testing.T) {
	srv := providertest.NewServer(t, providertest.Provider("dropbox"))
	for what, pairs := range map[string][]string{
		"all in both":           {"client_id", providertest.ClientID, "client_secret", providertest.ClientSecret},
		"the client's ID twice": {"client_id", providertest.ClientID},
		"its secret twice":      {"client_secret", providertest.ClientSecret},
	} {
		sent{basic: true, form: append(codeForm(t, srv), pairs...)}.to(t, srv).
			want(t, what, 400, map[string]any{"error": "invalid_request"})
	}
}

func TestDropboxWhoAmIAndRevocation(t *testing.T) {
	srv := providertest.NewServer(t, providertest.Provider("dropbox"))
	login := func(pairs ...string) got {
		t.Helper()
		return sent{basic: true, form: codeForm(t, srv, append(pairs, "token_access_type", "offline")...)}.to(t, srv)
	}
	g := login("scope", "account_info.read")
	const account, revoke = "https://api.dropboxapi.com/2/users/get_current_account", "https://api.dropboxapi.com/2/auth/token/revoke"
	jsonType := map[string]string{"Content-Type": "application/json"}
	for _, address := range []string{account, revoke} {
		sent{address: address, bearer: g.at("access_token"), form: []string{}}.to(t, srv).want(t, "a form at "+address, 400, nil)
		sent{address: address, bearer: g.at("access_token"), json: []string{}}.to(t, srv).want(t, "an object at "+address, 400, nil)
		sent{address: address, bearer: "x"}.to(t, srv).want(t, "wrong token at "+address, 401, map[string]any{"error_summary": "*"})
	}
	who := sent{address: account, bearer: g.at("access_token")}
	who.to(t, srv).want(t, "account", 200, map[string]any{"account_id": "user", "name.display_name": "user", "email": "*"})
	who.header = jsonType
	who.to(t, srv).want(t, "account, as JSON", 200, map[string]any{"account_id": "user"})
	sent{address: account, bearer: login("scope", "").at("access_token")}.to(t, srv).want(t, "all scopes", 200, nil)
	sent{address: account, bearer: login("scope", "files.content.read").at("access_token")}.to(t, srv).
		want(t, "without the scope", 401, map[string]any{"error_summary": "missing_scope/"})

	if got := srv.RevocationURL(); got != "" {
		t.Errorf("got revocation endpoint %s, want none of the usual kind", got)
	}
	if g := (sent{address: revoke, bearer: g.at("access_token")}).to(t, srv).want(t, "revocation", 200, nil); g.body != "null" {
		t.Errorf("got %q, want null", g.body)
	}
	who.to(t, srv).want(t, "account after that", 401, nil)
	sent{basic: true, form: refreshForm(g.at("refresh_token"))}.to(t, srv).want(t, "refresh after that", 400, map[string]any{"error": "invalid_grant"})
}

func TestDropboxDocument(t *testing.T) {
	srv := providertest.NewServer(t, providertest.Provider("dropbox"))
	sent{method: "GET", address: "https://www.dropbox.com/.well-known/openid-configuration"}.to(t, srv).want(t, "document", 200, map[string]any{
		"issuer": "https://www.dropbox.com", "token_endpoint": "https://api.dropboxapi.com/oauth2/token", "revocation_endpoint": nil,
	})
	g := sent{basic: true, form: codeForm(t, srv, "scope", "openid")}.to(t, srv)
	if _, claims := verify(t, srv, g.at("id_token").(string)); claims["nonce"] != nil || claims["sub"] != "user" {
		t.Errorf("got ID token %v, want one of the user without a nonce", claims)
	}
}
