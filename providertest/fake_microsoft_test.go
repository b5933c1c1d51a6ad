package providertest_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/authprofile/authprofile/providertest"
)

var forMicrosoft = []string{"scope", "https://graph.microsoft.com/User.Read offline_access"}

// errorCode returns the first number in error_codes.
func (g got) errorCode() any {
	list, _ := g.v["error_codes"].([]any)
	if len(list) == 0 {
		return nil
	}
	return list[0]
}

func TestMicrosoftAnswers(t *testing.T) {
	srv := providertest.NewServer(t, providertest.Provider("microsoft"))
	g := sent{post: true, form: codeForm(t, srv, forMicrosoft...)}.to(t, srv).
		want(t, "exchange", 200, map[string]any{"expires_in": 3600, "ext_expires_in": 3600})
	me := sent{method: "GET", address: "https://graph.microsoft.com/v1.0/me", bearer: g.at("access_token")}
	me.to(t, srv).want(t, "me", 200, map[string]any{"id": "user", "userPrincipalName": "user@contoso.com"})
	me.bearer = sent{post: true, form: codeForm(t, srv, "scope", "offline_access")}.to(t, srv).at("access_token")
	me.to(t, srv).want(t, "me without the scope", 403, nil)

	texts := providertest.NewServer(t, providertest.Provider("microsoft", "strings"))
	sent{post: true, form: codeForm(t, texts, forMicrosoft...)}.to(t, texts).
		want(t, "exchange", 200, map[string]any{"expires_in": "3600", "ext_expires_in": "3600"})
}

func TestMicrosoftHosts(t *testing.T) {
	for _, name := range []string{"microsoft/login.microsoftonline.us/contoso.com", "microsoft/contoso.com/login.microsoftonline.us"} {
		srv := providertest.NewServer(t, providertest.Provider(name))
		if got, want := srv.TokenURL(), "https://login.microsoftonline.us/contoso.com/oauth2/v2.0/token"; got != want {
			t.Errorf("%s: got %s, want %s", name, got, want)
		}
		if got, want := srv.APIURL(), "https://graph.microsoft.us/v1.0"; got != want {
			t.Errorf("%s: got API %s, want %s", name, got, want)
		}
	}
}

func TestMicrosoftErrors(t *testing.T) {
	srv := providertest.NewServer(t, providertest.Provider("microsoft", "expiring"))
	g := sent{post: true, form: codeForm(t, srv, forMicrosoft...)}.to(t, srv)
	check := func(what string, r sent, status int, code string, number float64) {
		t.Helper()
		g := r.to(t, srv).want(t, what, status, map[string]any{"error": code, "trace_id": "*", "correlation_id": "*"})
		if got := g.errorCode(); got != number {
			t.Errorf("%s: got error code %v, want %v", what, got, number)
		}
		if got, want := g.text(t, "error_description"), fmt.Sprintf("AADSTS%.0f: ", number); !strings.HasPrefix(got, want) {
			t.Errorf("%s: got description %q, want one that begins with %s", what, got, want)
		}
	}
	check("wrong secret", sent{post: true, secret: "x", form: refreshForm("x")}, 401, "invalid_client", 7000215)
	check("wrong refresh token", sent{post: true, form: refreshForm("x")}, 400, "invalid_grant", 70008)
	srv.RevokeUser("user")
	check("revoked grant", sent{post: true, form: refreshForm(g.at("refresh_token"))}, 400, "invalid_grant", 700082)
	srv.Advance(25 * time.Hour)
	check("expired secret", sent{post: true, form: refreshForm("x")}, 401, "invalid_client", 7000222)
}

func TestMicrosoftWantsClaims(t *testing.T) {
	srv := providertest.NewServer(t, providertest.Provider("microsoft", "claims"))
	token := sent{post: true, form: codeForm(t, srv, forMicrosoft...)}.to(t, srv).at("refresh_token")
	g := sent{post: true, form: refreshForm(token)}.to(t, srv).
		want(t, "refresh", 400, map[string]any{"error": "interaction_required", "suberror": "basic_action", "claims": "*"})
	if got := g.errorCode(); got != 50076.0 {
		t.Errorf("got error code %v, want 50076", got)
	}
	claims := g.text(t, "claims")
	token = sent{post: true, form: codeForm(t, srv, append(forMicrosoft, "claims", claims)...)}.to(t, srv).at("refresh_token")
	sent{post: true, form: refreshForm(token)}.to(t, srv).want(t, "refresh after an authorization with claims", 200, nil)
}
