package providertest

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// fakeShopify plays the administration of one shop. Tokens expire only if that
// is asked for, or if they are for one person and not for the shop.
func fakeShopify(values []string, _ func(string) bool) (*fake, error) {
	p := shopify{host: values[0] + ".myshopify.com"}
	base := "https://" + p.host + "/admin"
	return &fake{
		document: map[string]any{
			"authorization_endpoint": base + "/oauth/authorize",
			"token_endpoint":         base + "/oauth/access_token",
		},
		api: base + "/api/2026-10",
		routes: []route{
			apiRoute("GET "+base+"/api/*/shop.json", p.shop),
			{"DELETE " + base + "/api_permissions/current.json", Revocation, shopifyUninstall},
		},
		policy:        Policy{Rotation: RotateOnUse, RefreshLifetime: 90 * 24 * time.Hour},
		authMethods:   []string{"client_secret_post"},
		body:          anyBody,
		codeByDefault: true,
		separator:     ",",
		grants: map[string]grant{
			"authorization_code": shopifyCode,
			"refresh_token":      (*Server).refreshToken,
			"client_credentials": shopifyApp,
		},
		offline:  func(url.Values, []string) bool { return false }, // the token request decides
		callback: p.callback,
		answer:   shopifyAnswer,
		refuse:   shopifyRefuse,
		bearer:   shopifyToken,
		unauthorized: func(*call, string) *Answer {
			return answer(http.StatusUnauthorized, map[string]any{
				"errors": "[API] Invalid API key or access token (unrecognized login or wrong password)",
			})
		},
	}, nil
}

type shopify struct{ host string }

func shopifyToken(r *http.Request) string { return r.Header.Get("X-Shopify-Access-Token") }

// callback adds the shop, and a signature over all parameters.
func (p shopify) callback(s *Server, client *Client, _, back url.Values) {
	back.Set("shop", p.host)
	back.Set("host", base64.RawStdEncoding.EncodeToString([]byte(p.host+"/admin")))
	back.Set("timestamp", strconv.FormatInt(s.now().Unix(), 10))
	var pairs []string
	for name := range back {
		pairs = append(pairs, name+"="+back.Get(name))
	}
	slices.Sort(pairs)
	mac := hmac.New(sha256.New, []byte(client.Secret))
	mac.Write([]byte(strings.Join(pairs, "&")))
	back.Set("hmac", hex.EncodeToString(mac.Sum(nil)))
}

func shopifyOnline(g *userGrant) bool { return g.asked.Get("grant_options[]") == "per-user" }

// shopifyCode exchanges a code. It needs no redirect_uri.
func shopifyCode(s *Server, c *call, is *issue) *Answer {
	if code, ok := s.state.codes[c.form.Get("code")]; ok && !c.form.Has("redirect_uri") {
		c.form.Set("redirect_uri", code.redirect)
	}
	if a := s.authorizationCode(c, is); a != nil {
		return a
	}
	switch {
	case shopifyOnline(is.grant):
		is.lifetime = 86399 * time.Second
	case c.form.Get("expiring") == "1":
		s.issueRefresh(is)
	default:
		is.lifetime = forever
	}
	return nil
}

func shopifyApp(s *Server, c *call, is *issue) *Answer {
	is.lifetime = 86399 * time.Second
	return s.clientCredentials(c, is)
}

func shopifyAnswer(_ *Server, _ *call, is *issue, v map[string]any) {
	delete(v, "token_type")
	v["scope"] = shopifyScopes(is.scopes)
	if is.lifetime == forever {
		delete(v, "expires_in")
	}
	if is.refresh != "" {
		v["refresh_token_expires_in"] = seconds(is.ends.Sub(is.at))
	}
	if is.grant != nil && shopifyOnline(is.grant) {
		v["associated_user_scope"] = v["scope"]
		v["associated_user"] = map[string]any{"id": numberOf(is.grant.subject), "email": is.grant.subject + "@example.com"}
	}
}

// shopifyScopes leaves out the read scopes that a write scope implies.
func shopifyScopes(scopes []string) string {
	return strings.Join(slices.DeleteFunc(slices.Clone(scopes), func(scope string) bool {
		what, read := strings.CutPrefix(scope, "read_")
		return read && slices.Contains(scopes, "write_"+what)
	}), ",")
}

// shopifyRefuse answers a bad code with a page for people.
func shopifyRefuse(c *call, r refused) *Answer {
	if r.code == "invalid_grant" && c.form.Has("code") {
		a := text(http.StatusBadRequest, "<!DOCTYPE html><html><body>Oauth error invalid_request: "+
			"The authorization code was not found or was already used</body></html>")
		a.Header.Set("Content-Type", "text/html; charset=utf-8")
		return a
	}
	if r.code == "invalid_grant" && r.why != whyReplaced {
		return refusal(http.StatusBadRequest, "invalid_request", r.why)
	}
	return refusal(r.status, r.code, r.why)
}

func (p shopify) shop(_ *Server, _ *call, _ *issuedAccess) any {
	name, _, _ := strings.Cut(p.host, ".")
	return map[string]any{"shop": map[string]any{
		"id": numberOf(name), "name": name, "domain": p.host, "myshopify_domain": p.host,
	}}
}

// shopifyUninstall removes the application from the shop.
func shopifyUninstall(s *Server, c *call) *Answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, ok := s.state.access[shopifyToken(c.r)]
	if !ok || !t.valid(s.now()) {
		return s.fake.unauthorized(c, "")
	}
	for _, other := range s.state.access {
		if other.client == t.client {
			other.revoked = true
		}
	}
	s.endGrants(func(g *userGrant) bool { return g.client == t.client })
	return answer(http.StatusOK, map[string]any{})
}
