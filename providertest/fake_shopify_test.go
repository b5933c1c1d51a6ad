package providertest_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/authprofile/authprofile/providertest"
)

// shopifySignature is the signature that a callback of Shopify should have.
func shopifySignature(q url.Values, secret string) string {
	var pairs []string
	for name := range q {
		if name != "hmac" {
			pairs = append(pairs, name+"="+q.Get(name))
		}
	}
	slices.Sort(pairs)
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(strings.Join(pairs, "&")))
	return hex.EncodeToString(mac.Sum(nil))
}

func TestShopifySignsItsCallback(t *testing.T) {
	srv := providertest.NewServer(t, providertest.Provider("shopify/widgets"))
	if got, want := srv.AuthURL(), "https://widgets.myshopify.com/admin/oauth/authorize"; got != want {
		t.Errorf("got authorization endpoint %s, want %s", got, want)
	}
	q := authorize(t, srv, "scope", "write_products")
	q.Del("x") // of the redirect address
	if q.Get("shop") != "widgets.myshopify.com" || q.Get("host") == "" || q.Get("timestamp") == "" {
		t.Errorf("got callback %v, want the shop, the host and the time", q)
	}
	if got, want := q.Get("hmac"), shopifySignature(q, providertest.ClientSecret); got != want {
		t.Errorf("got hmac %s, want %s", got, want)
	}
	srv.SetConsent(providertest.Consent{Params: url.Values{"shop": {"other.myshopify.com"}}})
	q = authorize(t, srv, "scope", "write_products")
	q.Del("x")
	if q.Get("shop") != "other.myshopify.com" || q.Get("hmac") == shopifySignature(q, providertest.ClientSecret) {
		t.Errorf("got callback %v, want another shop, and a signature that does not fit", q)
	}
	srv.SetConsent(providertest.Consent{})
	if q := authorize(t, srv, "scope", "read_products write_products"); q.Get("error") != "invalid_scope" {
		t.Errorf("scopes with a space between them: got %v, want invalid_scope", q)
	}
}

func TestShopifyExchange(t *testing.T) {
	scopes := []string{"scope", "write_products,read_products,read_orders"}
	for _, test := range []struct {
		what  string
		asked []string
		r     sent
		want  map[string]any
	}{
		{"permanent", nil, sent{post: true}, map[string]any{
			"access_token": "*", "scope": "write_products,read_orders", "token_type": nil, "expires_in": nil, "refresh_token": nil,
		}},
		{"expiring", nil, sent{post: true, form: []string{"expiring", "1"}}, map[string]any{
			"expires_in": 3600, "refresh_token": "*", "refresh_token_expires_in": 7776000, "token_type": nil,
		}},
		{"online", []string{"grant_options[]", "per-user"}, sent{post: true}, map[string]any{
			"expires_in": 86399, "refresh_token": nil, "associated_user_scope": "write_products,read_orders", "associated_user.email": "user@example.com",
		}},
		{"Basic", nil, sent{basic: true}, nil},
	} {
		srv := providertest.NewServer(t, providertest.Provider("shopify"))
		status := 200
		if test.want == nil {
			status = 401
		}
		code := codeForm(t, srv, append(scopes, test.asked...)...)
		r := test.r
		r.form = append(slices.Clone(r.form), code...)
		r.to(t, srv).want(t, test.what, status, test.want)
	}

	srv := providertest.NewServer(t, providertest.Provider("shopify"))
	code := authorize(t, srv, scopes...).Get("code")
	sent{post: true, json: []string{"code", code, "expiring", "1", "code_verifier", verifier}}.to(t, srv).
		want(t, "JSON without grant_type and redirect_uri", 200, map[string]any{"refresh_token": "*"})
	if got := srv.Count("authorization_code"); got != 1 {
		t.Errorf("got %d exchanges, want 1", got)
	}
	g := sent{post: true, form: exchange(code)}.to(t, srv).want(t, "the same code", 400, nil)
	if !strings.HasPrefix(g.header.Get("Content-Type"), "text/html") || !strings.Contains(g.body, "invalid_request") {
		t.Errorf("got %v %q, want a page", g.header, g.body)
	}
	sent{post: true, form: []string{"grant_type", "client_credentials"}}.to(t, srv).want(t, "client credentials", 200, map[string]any{
		"access_token": "*", "expires_in": 86399, "refresh_token": nil,
	})
}

func TestShopifyRefresh(t *testing.T) {
	srv := providertest.NewServer(t, providertest.Provider("shopify"))
	login := func() any {
		t.Helper()
		return sent{post: true, form: append(codeForm(t, srv, "scope", "read_orders"), "expiring", "1")}.to(t, srv).at("refresh_token")
	}
	refresh := func(what string, token any, status int, members map[string]any) any {
		t.Helper()
		return sent{post: true, form: refreshForm(token)}.to(t, srv).want(t, what, status, members).at("refresh_token")
	}
	first := login()
	second := refresh("first", first, 200, map[string]any{"refresh_token": "*", "expires_in": 3600, "token_type": nil})
	again := refresh("first again", first, 200, map[string]any{"refresh_token": "*"})
	if second == again {
		t.Error("got the same refresh token twice")
	}
	if !srv.IsLive(first.(string)) || !srv.IsCurrent(again.(string)) {
		t.Error("the old one is not live, or the new one not current")
	}
	third := refresh("the one that was issued last", again, 200, nil)
	refresh("the first, after its successor", first, 400, map[string]any{"error": "invalid_grant"})
	refresh("the one that was lost", second, 400, map[string]any{"error": "invalid_grant"})
	refresh("the current one", third, 200, nil)
	refresh("a wrong one", "x", 400, map[string]any{"error": "invalid_request"})

	unused := login()
	srv.Advance(90 * 24 * time.Hour)
	refresh("unused for 90 days", unused, 400, map[string]any{"error": "invalid_request"})
}

func TestShopifyAPI(t *testing.T) {
	srv := providertest.NewServer(t, providertest.Provider("shopify"))
	login := func() string {
		return sent{post: true, form: codeForm(t, srv, "scope", "read_orders")}.to(t, srv).at("access_token").(string)
	}
	own := func(token string) map[string]string { return map[string]string{"X-Shopify-Access-Token": token} }
	one, two := login(), login()
	const base = "https://acme.myshopify.com/admin"
	for _, address := range []string{base + "/api/2026-10/shop.json", srv.APIURL() + "/orders.json"} {
		sent{method: "GET", address: address, bearer: one}.to(t, srv).want(t, "Authorization at "+address, 401, map[string]any{"errors": "*"})
		sent{method: "GET", address: address, header: own(one)}.to(t, srv).want(t, address, 200, nil)
	}
	g := sent{method: "GET", address: base + "/api/2025-01/shop.json", header: own(one)}.to(t, srv).
		want(t, "shop", 200, map[string]any{"shop.myshopify_domain": "acme.myshopify.com"})
	if id, _ := g.at("shop.id").(float64); id < 1 {
		t.Errorf("got id %v, want a number", g.at("shop.id"))
	}

	uninstall := sent{method: "DELETE", address: base + "/api_permissions/current.json"}
	uninstall.to(t, srv).want(t, "uninstalling without a token", 401, nil)
	uninstall.header = own(one)
	uninstall.to(t, srv).want(t, "uninstalling", 200, nil)
	sent{method: "GET", address: srv.APIURL() + "/orders.json", header: own(two)}.to(t, srv).want(t, "another token after that", 401, nil)
}
