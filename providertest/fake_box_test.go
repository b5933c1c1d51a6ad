package providertest_test

import (
	"testing"
	"time"

	"github.com/authprofile/authprofile/providertest"
)

func TestBoxTokens(t *testing.T) {
	srv := providertest.NewServer(t, providertest.Provider("box"))
	first := sent{post: true, form: codeForm(t, srv)}.to(t, srv).want(t, "exchange", 200, map[string]any{
		"access_token": "*", "refresh_token": "*", "token_type": "bearer", "scope": nil,
	})
	if list, ok := first.at("restricted_to").([]any); !ok || len(list) != 0 {
		t.Errorf("got restricted_to %v, want an empty array", first.at("restricted_to"))
	}
	second := sent{post: true, form: refreshForm(first.at("refresh_token"))}.to(t, srv).want(t, "refresh", 200, map[string]any{"refresh_token": "*"})
	sent{post: true, form: refreshForm(first.at("refresh_token"))}.to(t, srv).want(t, "second use", 400, map[string]any{"error": "invalid_grant"})
	wantAPI(t, srv, first.at("access_token"), 200)
	srv.Advance(59 * 24 * time.Hour)
	third := sent{post: true, form: refreshForm(second.at("refresh_token"))}.to(t, srv).want(t, "after 59 days", 200, nil)
	srv.Advance(60 * 24 * time.Hour)
	sent{post: true, form: refreshForm(third.at("refresh_token"))}.to(t, srv).want(t, "after 60 days", 400, map[string]any{"error": "invalid_grant"})
	sent{basic: true, form: codeForm(t, srv)}.to(t, srv).want(t, "Basic", 401, map[string]any{"error": "invalid_client"})
}

func TestBoxLifetimes(t *testing.T) {
	srv := providertest.NewServer(t, providertest.Provider("box"))
	g := sent{post: true, form: codeForm(t, srv)}.to(t, srv)
	seen := map[float64]bool{}
	for range 10 {
		n, _ := g.at("expires_in").(float64)
		if n < 3600 || n > 4200 {
			t.Errorf("got expires_in %v, want 3600 to 4200", g.at("expires_in"))
		}
		seen[n] = true
		g = sent{post: true, form: refreshForm(g.at("refresh_token"))}.to(t, srv).want(t, "refresh", 200, nil)
	}
	if len(seen) < 5 {
		t.Errorf("got lifetimes %v, want different ones", seen)
	}
	n, _ := g.at("expires_in").(float64)
	srv.Advance(time.Duration(n-60) * time.Second)
	wantAPI(t, srv, g.at("access_token"), 200)
	srv.Advance(time.Minute)
	sent{method: "GET", address: srv.APIURL() + "/files", bearer: g.at("access_token")}.to(t, srv).want(t, "ended token", 401, nil)
}

func TestBoxWhoAmIAndRevocation(t *testing.T) {
	srv := providertest.NewServer(t, providertest.Provider("box"))
	g := sent{post: true, form: codeForm(t, srv)}.to(t, srv)
	who := sent{method: "GET", address: "https://api.box.com/2.0/users/me", bearer: g.at("access_token")}
	who.to(t, srv).want(t, "user", 200, map[string]any{"id": "*", "name": "user", "login": "*"})
	revoke := sent{address: "https://api.box.com/oauth2/revoke", form: []string{"token", g.at("access_token").(string)}}
	revoke.to(t, srv).want(t, "revocation without client", 401, nil)
	revoke.post = true
	revoke.to(t, srv).want(t, "revocation", 200, nil)
	who.to(t, srv).want(t, "user after that", 401, nil)
	sent{post: true, form: refreshForm(g.at("refresh_token"))}.to(t, srv).want(t, "refresh after that", 400, map[string]any{"error": "invalid_grant"})
}

func TestBoxAppsAndHosts(t *testing.T) {
	srv := providertest.NewServer(t, providertest.Provider("box/acme"))
	if got, want := srv.AuthURL(), "https://acme.account.box.com/api/oauth2/authorize"; got != want {
		t.Errorf("got authorization endpoint %s, want %s", got, want)
	}
	srv = providertest.NewServer(t, providertest.Provider("box"))
	if got, want := srv.AuthURL(), "https://account.box.com/api/oauth2/authorize"; got != want {
		t.Errorf("got authorization endpoint %s, want %s", got, want)
	}
	app := []string{"grant_type", "client_credentials", "box_subject_type", "enterprise"}
	sent{post: true, form: app}.to(t, srv).want(t, "application of an unnamed enterprise", 400, map[string]any{"error": "invalid_grant"})
	sent{post: true, form: append(app, "box_subject_id", "1")}.to(t, srv).
		want(t, "application", 200, map[string]any{"access_token": "*", "refresh_token": nil})
}
