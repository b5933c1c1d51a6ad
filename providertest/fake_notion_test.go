package providertest_test

import (
	"testing"

	"github.com/authprofile/authprofile/providertest"
)

var (
	notionHeader = map[string]string{"Notion-Version": "2022-06-28"}
	forNotion    = []string{"owner", "user", "scope", ""}
)

func TestNotionExchange(t *testing.T) {
	srv := providertest.NewServer(t, providertest.Provider("notion"))
	wantPage(t, srv)
	for _, test := range []struct {
		what   string
		r      sent
		status int
		want   map[string]any
	}{
		{"proper", sent{basic: true, header: notionHeader, json: []string{}}, 200, map[string]any{
			"access_token": "*", "token_type": "bearer", "refresh_token": "*", "expires_in": nil, "scope": nil, "bot_id": "*",
			"workspace_id": "*", "workspace_name": "Acme", "owner.user.id": "user", "duplicated_template_id": nil, "request_id": "*",
		}},
		{"a form", sent{basic: true, header: notionHeader, form: []string{}}, 400, map[string]any{"object": "error", "code": "validation_error"}},
		{"no version", sent{basic: true, json: []string{}}, 400, map[string]any{"object": "error", "code": "missing_version", "status": 400}},
		{"credentials in the body", sent{post: true, header: notionHeader, json: []string{}}, 401, map[string]any{"error": "invalid_client"}},
		{"wrong secret", sent{basic: true, secret: "x", header: notionHeader, json: []string{}}, 401, map[string]any{"error": "invalid_client"}},
	} {
		code := codeForm(t, srv, forNotion...)
		if test.r.json != nil {
			test.r.json = code
		} else {
			test.r.form = code
		}
		test.r.to(t, srv).want(t, test.what, test.status, test.want)
	}
	sent{basic: true, header: notionHeader, json: exchange("x")}.to(t, srv).want(t, "wrong code", 400, map[string]any{"error": "invalid_grant"})
	if got := srv.Count("authorization_code"); got != 6 {
		t.Errorf("got %d exchanges, want 6", got)
	}
}

func TestNotionRedirectAddress(t *testing.T) {
	srv := providertest.NewServer(t, providertest.Provider("notion"))
	srv.AddClient(providertest.Client{ID: providertest.ClientID, Secret: providertest.ClientSecret, RedirectURLs: []string{redirect}})
	for _, asked := range []bool{true, false} {
		for _, presented := range []bool{true, false} {
			pairs := forNotion
			if !asked {
				pairs = append(pairs[:len(pairs):len(pairs)], "redirect_uri", "")
			}
			code := codeForm(t, srv, pairs...)
			if !presented {
				code = append(code[:4:4], code[6:]...)
			}
			status := 400
			if asked == presented {
				status = 200
			}
			if g := (sent{basic: true, header: notionHeader, json: code}).to(t, srv); g.status != status {
				t.Errorf("redirect_uri asked with %v, exchanged with %v: got %d %s, want %d", asked, presented, g.status, g.body, status)
			}
		}
	}
}

func TestNotionRefresh(t *testing.T) {
	srv := providertest.NewServer(t, providertest.Provider("notion"))
	g := sent{basic: true, header: notionHeader, json: codeForm(t, srv, forNotion...)}.to(t, srv)
	next := sent{basic: true, header: notionHeader, json: refreshForm(g.at("refresh_token"))}.to(t, srv).
		want(t, "refresh", 200, map[string]any{"access_token": "*", "refresh_token": "*", "expires_in": nil, "workspace_id": "*"})
	sent{basic: true, header: notionHeader, json: refreshForm(g.at("refresh_token"))}.to(t, srv).
		want(t, "second use", 400, map[string]any{"error": "invalid_grant"})
	sent{basic: true, header: notionHeader, json: refreshForm(next.at("refresh_token"))}.to(t, srv).want(t, "the current one", 200, nil)
	if got := srv.Count("refresh_token"); got != 3 {
		t.Errorf("got %d refreshes, want 3", got)
	}

	legacy := providertest.NewServer(t, providertest.Provider("notion", "legacy"))
	old := sent{basic: true, header: notionHeader, json: codeForm(t, legacy, forNotion...)}.to(t, legacy)
	if v, ok := old.v["refresh_token"]; v != nil || !ok {
		t.Errorf("got %s, want a refresh_token that is null", old.body)
	}
}

func TestNotionAPI(t *testing.T) {
	srv := providertest.NewServer(t, providertest.Provider("notion"))
	token := sent{basic: true, header: notionHeader, json: codeForm(t, srv, forNotion...)}.to(t, srv).at("access_token")
	for _, path := range []string{"/users/me", "/pages"} {
		sent{method: "GET", address: srv.APIURL() + path, bearer: token}.to(t, srv).want(t, path+" without a version", 400, map[string]any{"code": "missing_version"})
		sent{method: "GET", address: srv.APIURL() + path, bearer: "x", header: notionHeader}.to(t, srv).want(t, path+" without a token", 401, map[string]any{"code": "unauthorized"})
	}
	me := sent{method: "GET", address: "https://api.notion.com/v1/users/me", bearer: token, header: notionHeader}
	me.to(t, srv).want(t, "me", 200, map[string]any{"bot.owner.user.id": "user", "bot.workspace_name": "Acme", "type": "bot"})

	body := []string{"token", token.(string)}
	sent{basic: true, header: notionHeader, address: srv.RevocationURL(), form: body}.to(t, srv).want(t, "revocation with a form", 400, nil)
	sent{basic: true, header: notionHeader, address: srv.RevocationURL(), json: body}.to(t, srv).want(t, "revocation", 200, nil)
	me.to(t, srv).want(t, "me after that", 401, nil)
}
