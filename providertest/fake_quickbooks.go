package providertest

import (
	"net/http"
	"net/url"
	"path"
	"strings"
	"time"
)

// quickBooksRealm is the company that every user connects.
const quickBooksRealm = "4620816365291273790"

// fakeQuickBooks plays QuickBooks Online, in production.
func fakeQuickBooks([]string, func(string) bool) (*fake, error) {
	const revocation = "https://developer.api.intuit.com/v2/oauth2/tokens/revoke"
	return &fake{
		discovery: "https://developer.api.intuit.com/.well-known/openid_configuration",
		document: map[string]any{
			"issuer":                                "https://oauth.platform.intuit.com/op/v1",
			"authorization_endpoint":                "https://appcenter.intuit.com/connect/oauth2",
			"token_endpoint":                        "https://oauth.platform.intuit.com/oauth2/v1/tokens/bearer",
			"revocation_endpoint":                   revocation,
			"userinfo_endpoint":                     "https://accounts.platform.intuit.com/v1/openid_connect/userinfo",
			"jwks_uri":                              "https://oauth.platform.intuit.com/op/v1/jwks",
			"response_types_supported":              []any{"code"},
			"subject_types_supported":               []any{"public"},
			"id_token_signing_alg_values_supported": []any{"RS256"},
			"scopes_supported":                      []any{"openid", "email", "profile", "address", "phone"},
			"token_endpoint_auth_methods_supported": []any{"client_secret_post", "client_secret_basic"},
		},
		api: "https://quickbooks.api.intuit.com/v3/company",
		routes: []route{
			apiRoute("GET https://quickbooks.api.intuit.com/v3/company/*/companyinfo/*", quickBooksCompany),
			{"POST " + revocation, Revocation, quickBooksRevoke},
		},
		policy: Policy{
			Rotation:        RotateRefuse,
			Grace:           time.Hour, // "a short while"
			Offline:         OfflineAlways,
			RefreshLifetime: 8726400 * time.Second,
			GrantLifetime:   157680000 * time.Second,
		},
		authMethods: []string{"client_secret_basic"},
		grants: map[string]grant{
			"authorization_code": quickBooksCode,
			"refresh_token":      quickBooksRefresh,
		},
		callback: func(_ *Server, _ *Client, _, back url.Values) {
			if back.Has("code") {
				back.Set("realmId", quickBooksRealm)
			}
		},
		demand: func(c *call) *Answer {
			if !strings.Contains(c.r.Header.Get("Accept"), "application/json") {
				return refusal(http.StatusNotAcceptable, "invalid_request", "the header Accept does not have application/json")
			}
			return nil
		},
		answer: func(_ *Server, c *call, is *issue, v map[string]any) {
			delete(v, "scope")
			v["token_type"] = "bearer"
			v["x_refresh_token_expires_in"] = seconds(is.ends.Sub(is.at))
			if is.refresh == "" {
				v["refresh_token"] = c.form.Get("refresh_token")
			}
		},
	}, nil
}

// quickBooksCode exchanges a code. ID tokens have no nonce.
func quickBooksCode(s *Server, c *call, is *issue) *Answer {
	a := s.authorizationCode(c, is)
	is.nonce = ""
	return a
}

// quickBooksRefresh replaces a refresh token only when it is a day old.
func quickBooksRefresh(s *Server, c *call, is *issue) *Answer {
	r, ok := s.state.refresh[c.form.Get("refresh_token")]
	is.keep = ok && is.at.Sub(r.issued) < 24*time.Hour
	return s.refreshToken(c, is)
}

func quickBooksCompany(_ *Server, c *call, _ *issuedAccess) any {
	p := c.r.URL.Path
	if !strings.Contains(c.r.Header.Get("Accept"), "application/json") {
		return text(http.StatusNotAcceptable, "<IntuitResponse/>")
	}
	if path.Base(p) != quickBooksRealm || path.Base(path.Dir(path.Dir(p))) != quickBooksRealm {
		return answer(http.StatusForbidden, map[string]any{"fault": map[string]any{"type": "AUTHENTICATION", "error": []any{
			map[string]any{"code": "3100", "message": "message=ApplicationAuthorizationFailed"},
		}}})
	}
	return map[string]any{"CompanyInfo": map[string]any{"Id": "1", "CompanyName": "Acme", "domain": "QBO"}}
}

// quickBooksRevoke ends the connection with a company.
func quickBooksRevoke(s *Server, c *call) *Answer {
	client := s.basicClient(c.r)
	if client == nil {
		return refusal(http.StatusUnauthorized, "invalid_client", "wrong client")
	}
	body, err := jsonForm(c.body)
	if err != nil || !c.hasType("application/json") {
		return refusal(http.StatusBadRequest, "invalid_request", "the body is not a JSON object")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	token := body.Get("token")
	if s.clientOf(token) != client.ID || !s.revoke(token) {
		return refusal(http.StatusBadRequest, "invalid_request", "no such token")
	}
	if t, ok := s.state.access[token]; ok {
		t.grant.dead = true
	}
	return &Answer{Status: http.StatusOK}
}
