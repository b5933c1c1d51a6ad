package providertest

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// salesforceOrg is the organization that all users belong to.
const salesforceOrg = "00D000000000001AAA"

// fakeSalesforce plays a login host of Salesforce. It says when tokens end only
// at its introspection endpoint. With the switch "rotation" refresh tokens are
// replaced, and reuse of one ends the whole grant.
func fakeSalesforce(values []string, on func(string) bool) (*fake, error) {
	f := salesforce{host: values[0], instance: "https://" + values[0]}
	switch f.host {
	case "login.salesforce.com":
		f.instance = "https://acme.my.salesforce.com"
	case "test.salesforce.com":
		f.instance = "https://acme--test.sandbox.my.salesforce.com"
	}
	base := "https://" + f.host + "/services/oauth2"
	policy := Policy{Rotation: RotateNever, TokenLifetime: 2 * time.Hour, CodeLifetime: 15 * time.Minute}
	if on("rotation") {
		policy.Rotation = RotateStrict
	}
	return &fake{
		discovery: "https://" + f.host + "/.well-known/openid-configuration",
		document: map[string]any{
			"issuer":                                "https://" + f.host,
			"authorization_endpoint":                base + "/authorize",
			"token_endpoint":                        base + "/token",
			"revocation_endpoint":                   base + "/revoke",
			"introspection_endpoint":                base + "/introspect",
			"userinfo_endpoint":                     base + "/userinfo",
			"jwks_uri":                              "https://" + f.host + "/id/keys",
			"response_types_supported":              []any{"code", "token", "token id_token"},
			"subject_types_supported":               []any{"public"},
			"id_token_signing_alg_values_supported": []any{"RS256"},
			"scopes_supported":                      []any{"api", "id", "openid", "profile", "email", "refresh_token", "offline_access"},
			"token_endpoint_auth_methods_supported": []any{"client_secret_post", "client_secret_basic", "private_key_jwt"},
		},
		api: f.instance + "/services/data",
		routes: []route{
			userInfoRoute("GET "+base+"/userinfo", salesforceUser),
			{"POST " + base + "/introspect", Introspection, salesforceIntrospect},
		},
		policy:         policy,
		openRevocation: true,
		grants: map[string]grant{
			"authorization_code": salesforceCode,
			"refresh_token":      (*Server).refreshToken,
			"client_credentials": f.app,
		},
		offline: func(_ url.Values, scopes []string) bool {
			return slices.Contains(scopes, "refresh_token") || slices.Contains(scopes, "offline_access")
		},
		answer:       f.answer,
		refuse:       salesforceRefuse,
		unauthorized: salesforceUnauthorized,
	}, nil
}

type salesforce struct{ host, instance string }

// salesforceCode exchanges a code. A user has at most five approvals of an
// application.
func salesforceCode(s *Server, c *call, is *issue) *Answer {
	if a := s.authorizationCode(c, is); a != nil {
		return a
	}
	if is.refresh != "" {
		s.keepNewest(is.grant, 5, nil)
	}
	return nil
}

// app is the client credentials grant, which needs the host of an organization.
func (f salesforce) app(s *Server, c *call, is *issue) *Answer {
	if !strings.HasSuffix(f.host, ".my.salesforce.com") {
		return refusal(http.StatusBadRequest, "invalid_grant", "request not supported on this domain")
	}
	return s.clientCredentials(c, is)
}

func (f salesforce) answer(_ *Server, _ *call, is *issue, v map[string]any) {
	id, subject := "https://"+f.host+"/id/"+salesforceOrg+"/", is.client.ID
	if is.grant != nil {
		subject = is.grant.subject
	}
	issued := strconv.FormatInt(is.at.UnixMilli(), 10)
	mac := hmac.New(sha256.New, []byte(is.client.Secret))
	mac.Write([]byte(id + subject + issued))
	delete(v, "expires_in")
	v["instance_url"] = f.instance
	v["id"] = id + subject
	v["issued_at"] = issued
	v["signature"] = base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

func salesforceRefuse(_ *call, r refused) *Answer {
	switch {
	case r.code == "invalid_client" && r.why == whyUnknownClient:
		return refusal(http.StatusBadRequest, "invalid_client_id", "client identifier invalid")
	case r.code == "invalid_client":
		return refusal(http.StatusBadRequest, "invalid_client", "invalid client credentials")
	case r.code == "invalid_grant" && (r.why == whyUnknownRefresh || r.why == whyReplaced):
		return refusal(http.StatusBadRequest, "invalid_grant", "expired access/refresh token")
	}
	return refusal(r.status, r.code, r.why)
}

// salesforceUnauthorized answers with an array, as all errors of the API are.
func salesforceUnauthorized(*call, string) *Answer {
	return answer(http.StatusUnauthorized, []any{map[string]any{
		"message": "Session expired or invalid", "errorCode": "INVALID_SESSION_ID",
	}})
}

func salesforceUser(_ *Server, c *call, t *issuedAccess) any {
	who := t.subject()
	return map[string]any{
		"sub":                "https://" + c.r.URL.Host + "/id/" + salesforceOrg + "/" + who,
		"user_id":            who,
		"organization_id":    salesforceOrg,
		"preferred_username": who + "@acme.example.com",
		"name":               who,
	}
}

// salesforceIntrospect is RFC 7662.
func salesforceIntrospect(s *Server, c *call) *Answer {
	s.mu.Lock()
	client, refused := s.authenticate(readCredentials(c.r, c.form))
	t, ok := s.state.access[c.form.Get("token")]
	ok = ok && t.valid(s.now())
	offset := s.offset
	s.mu.Unlock()
	if refused != nil {
		return s.refused(c, refused)
	}
	if !ok || t.client != client.ID {
		return answer(http.StatusOK, map[string]any{"active": false})
	}
	return s.object(Introspection, map[string]any{
		"active":     true,
		"scope":      strings.Join(t.scopes, " "),
		"client_id":  t.client,
		"username":   t.subject() + "@acme.example.com",
		"sub":        t.subject(),
		"token_type": "access_token",
		"exp":        t.expires.Add(-offset).Unix(),
	})
}
