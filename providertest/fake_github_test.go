package providertest_test

import (
	"testing"
	"time"

	"github.com/authprofile/authprofile/providertest"
)

var acceptJSON = map[string]string{"Accept": "application/json"}

func TestGitHubOAuthApp(t *testing.T) {
	srv := providertest.NewServer(t, providertest.Provider("github"))
	if got, want := srv.TokenURL(), "https://github.com/login/oauth/access_token"; got != want {
		t.Errorf("got token endpoint %s, want %s", got, want)
	}
	if srv.DiscoveryURL() != "" || srv.RevocationURL() != "" || srv.APIURL() != "https://api.github.com" {
		t.Errorf("got %q, %q, API %q, want no document, no usual revocation, and the API host", srv.DiscoveryURL(), srv.RevocationURL(), srv.APIURL())
	}

	v := sent{post: true, header: acceptJSON, form: codeForm(t, srv, "scope", "repo user")}.to(t, srv).want(t, "exchange", 200, map[string]any{
		"access_token": "*", "token_type": "bearer", "scope": "repo,user", "expires_in": nil, "refresh_token": nil,
	})
	srv.Advance(300 * 24 * time.Hour)
	sent{method: "GET", address: srv.APIURL() + "/repos", bearer: v.at("access_token")}.to(t, srv).want(t, "API", 200, nil)
	sent{post: true, form: codeForm(t, srv)[2:]}.to(t, srv).want(t, "exchange without grant_type", 200, map[string]any{"access_token": "*"})
	late := codeForm(t, srv)
	srv.Advance(9 * time.Minute)
	sent{post: true, form: late}.to(t, srv).want(t, "a code of nine minutes", 200, map[string]any{"access_token": "*"})

	g := sent{post: true, form: codeForm(t, srv, "scope", "repo user")}.to(t, srv).want(t, "exchange as a form", 200, map[string]any{
		"access_token": "*", "token_type": "bearer", "scope": "repo,user",
	})
	if kind := g.header.Get("Content-Type"); kind != "application/x-www-form-urlencoded; charset=utf-8" {
		t.Errorf("got content type %q without Accept, want a form", kind)
	}
	sent{post: true, header: acceptJSON, form: refreshForm("x")}.to(t, srv).
		want(t, "refresh of an OAuth app", 200, map[string]any{"error": "unsupported_grant_type"})
}

func TestGitHubErrorsAreSuccesses(t *testing.T) {
	srv := providertest.NewServer(t, providertest.Provider("github", "app"))
	other := append(codeForm(t, srv), "redirect_uri", "https://elsewhere.example.com/")
	for _, test := range []struct {
		what string
		r    sent
		want string
	}{
		{"wrong code", sent{post: true, form: exchange("x")}, "bad_verification_code"},
		{"wrong refresh token", sent{post: true, form: refreshForm("x")}, "bad_refresh_token"},
		{"wrong secret", sent{post: true, secret: "x", form: refreshForm("x")}, "incorrect_client_credentials"},
		{"Basic", sent{basic: true, form: codeForm(t, srv)}, "incorrect_client_credentials"},
		{"another redirect address", sent{post: true, form: append(other[:4:4], other[6:]...)}, "redirect_uri_mismatch"},
		{"client credentials", sent{post: true, form: []string{"grant_type", "client_credentials"}}, "unsupported_grant_type"},
	} {
		test.r.to(t, srv).want(t, test.what+" as a form", 200, map[string]any{"error": test.want, "error_description": "*"})
		if test.want != "redirect_uri_mismatch" { // which has spent the code
			test.r.header = acceptJSON
			test.r.to(t, srv).want(t, test.what, 200, map[string]any{"error": test.want, "access_token": nil})
		}
	}
	if got := srv.Requests()[0]; got.Error != "invalid_grant" || got.Status != 200 {
		t.Errorf("got record %+v, want the standard's name, and the status that was sent", got)
	}
}

func TestGitHubApp(t *testing.T) {
	srv := providertest.NewServer(t, providertest.Provider("github", "app"))
	first := sent{post: true, header: acceptJSON, form: codeForm(t, srv)}.to(t, srv).want(t, "exchange", 200, map[string]any{
		"id_token":     nil, // although openid was asked for
		"access_token": "*", "expires_in": 28800, "refresh_token": "*", "refresh_token_expires_in": 15897600, "scope": "", "token_type": "bearer",
	})
	second := sent{post: true, header: acceptJSON, form: refreshForm(first.at("refresh_token"))}.to(t, srv).
		want(t, "refresh", 200, map[string]any{"access_token": "*", "refresh_token": "*", "scope": ""})
	repos := srv.APIURL() + "/repos"
	sent{method: "GET", address: repos, bearer: first.at("access_token")}.to(t, srv).want(t, "old access token", 401, map[string]any{"message": "Bad credentials"})
	sent{post: true, header: acceptJSON, form: refreshForm(first.at("refresh_token"))}.to(t, srv).
		want(t, "second use", 200, map[string]any{"error": "bad_refresh_token"})
	sent{method: "GET", address: repos, bearer: second.at("access_token")}.to(t, srv).want(t, "new access token", 200, nil)
	srv.Advance(8 * time.Hour)
	sent{method: "GET", address: repos, bearer: second.at("access_token")}.to(t, srv).want(t, "after 8 hours", 401, nil)
	srv.Advance(184 * 24 * time.Hour)
	sent{post: true, header: acceptJSON, form: refreshForm(second.at("refresh_token"))}.to(t, srv).
		want(t, "after half a year", 200, map[string]any{"error": "bad_refresh_token"})
	if got := srv.Count("refresh_token"); got != 3 {
		t.Errorf("got %d refreshes, want 3", got)
	}
}

func TestGitHubRevokesByDelete(t *testing.T) {
	srv := providertest.NewServer(t, providertest.Provider("github"))
	login := func() string {
		t.Helper()
		return sent{post: true, header: acceptJSON, form: codeForm(t, srv)}.to(t, srv).want(t, "exchange", 200, nil).text(t, "access_token")
	}
	one, two := login(), login()
	base := srv.APIURL() + "/applications/" + providertest.ClientID
	body := []string{"access_token", one}
	use := func(token any, want int) {
		t.Helper()
		sent{method: "GET", address: srv.APIURL() + "/repos", bearer: token}.to(t, srv).want(t, "API", want, nil)
	}

	sent{method: "DELETE", address: base + "/grant", json: body}.to(t, srv).want(t, "without Basic", 401, nil)
	sent{method: "DELETE", address: base + "/grant", basic: true, secret: "x", json: body}.to(t, srv).want(t, "wrong secret", 401, nil)
	sent{method: "DELETE", address: base + "/grant", basic: true}.to(t, srv).want(t, "without a body", 422, nil)
	sent{method: "POST", address: base + "/grant", basic: true, json: body}.to(t, srv).want(t, "POST", 401, nil)
	use(one, 200)
	sent{method: "DELETE", address: base + "/token", basic: true, json: body}.to(t, srv).want(t, "one token", 204, nil)
	use(one, 401)
	use(two, 200)
	sent{method: "DELETE", address: base + "/grant", basic: true, json: body}.to(t, srv).want(t, "an ended token", 404, nil)
	three := login()
	sent{method: "DELETE", address: base + "/grant", basic: true, json: []string{"access_token", two}}.to(t, srv).want(t, "the authorization", 204, nil)
	use(two, 401)
	use(three, 401)
	if got := srv.Hits(providertest.Revocation); got != 6 { // POST is none
		t.Errorf("got %d revocations, want 6", got)
	}
}

func TestGitHubWhoAmI(t *testing.T) {
	srv := providertest.NewServer(t, providertest.Provider("github"))
	srv.SetConsent(providertest.Consent{Subject: "octocat"})
	token := sent{post: true, header: acceptJSON, form: codeForm(t, srv)}.to(t, srv).at("access_token")
	user := sent{method: "GET", address: "https://api.github.com/user", bearer: token}
	g := user.to(t, srv).want(t, "user", 200, map[string]any{"login": "octocat", "email": nil})
	if id, _ := g.at("id").(float64); id < 1 {
		t.Errorf("got id %v, want a number", g.at("id"))
	}
	user.header = map[string]string{"User-Agent": ""}
	user.to(t, srv).want(t, "without User-Agent", 403, nil)
}

func TestGitHubHosts(t *testing.T) {
	for name, api := range map[string]string{
		"github/github.example.com": "https://github.example.com/api/v3",
		"github/octo.ghe.com":       "https://api.octo.ghe.com",
	} {
		srv := providertest.NewServer(t, providertest.Provider(name))
		if srv.APIURL() != api || srv.AuthURL() != "https://"+name[len("github/"):]+"/login/oauth/authorize" {
			t.Errorf("%s: got API %s, authorization %s", name, srv.APIURL(), srv.AuthURL())
		}
		token := sent{post: true, header: acceptJSON, form: codeForm(t, srv)}.to(t, srv).at("access_token")
		sent{method: "GET", address: api + "/user", bearer: token}.to(t, srv).want(t, "user", 200, map[string]any{"login": "user"})
	}
}

func TestGitHubKeepsTenTokens(t *testing.T) {
	srv := providertest.NewServer(t, providertest.Provider("github"))
	var tokens []any
	for range 11 {
		tokens = append(tokens, sent{post: true, header: acceptJSON, form: codeForm(t, srv)}.to(t, srv).at("access_token"))
	}
	other := sent{post: true, header: acceptJSON, form: codeForm(t, srv, "scope", "gist")}.to(t, srv).at("access_token")
	for i, want := range map[int]int{0: 401, 1: 200, 10: 200} {
		wantAPI(t, srv, tokens[i], want)
	}
	wantAPI(t, srv, other, 200)
}
