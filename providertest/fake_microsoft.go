package providertest

import (
	"crypto/rand"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/authprofile/authprofile/internal/catalog/recorded"
)

// What a tenant's ID is, where its name is not one.
const (
	consumersTenant = "9188040d-6c67-4c5b-b112-36a304b66dad"
	someTenant      = "5d7a1e52-8c1f-4f0e-9d5b-3d0c0e6b2a44"
)

// Microsoft makes a Server in memory that stands at the addresses of a tenant
// of the Microsoft identity platform, version 2.0, and has its habits: a
// refresh token only with the scope offline_access; it is replaced at each
// use, and the old one goes on working; a refresh without a scope narrows it;
// there is no revocation.
//
// The tenant is "common", "organizations", "consumers", a GUID or a domain;
// before it may stand the host of a national cloud, as in
// "login.microsoftonline.us/contoso.com". Microsoft("common") is
// Provider("microsoft/common").
func Microsoft(tenant string) Option { return Provider("microsoft/" + tenant) }

// fakeMicrosoft plays a tenant of the Microsoft identity platform. The host of a
// national cloud may stand before or after the tenant.
func fakeMicrosoft(values []string, on func(string) bool) (*fake, error) {
	host, tenant := "login.microsoftonline.com", values[0]
	if h, rest, ok := strings.Cut(tenant, "/"); ok {
		host, tenant = h, rest
		if strings.HasPrefix(tenant, "login.") {
			host, tenant = tenant, host
		}
	}
	base := "https://" + host + "/" + tenant
	tid, issuer := someTenant, ""
	switch {
	case tenant == "common" || tenant == "organizations":
		issuer = "{tenantid}"
	case tenant == "consumers":
		tid = consumersTenant
	case len(tenant) == 36 && strings.Count(tenant, "-") == 4:
		tid = tenant
	}
	if issuer == "" {
		issuer = tid
	}

	text := strings.ReplaceAll(recorded.Document("microsoft-common"), "https://login.microsoftonline.com/common/", base+"/")
	document, err := parseDocument(text)
	if err != nil {
		return nil, err
	}
	document["issuer"] = "https://" + host + "/" + issuer + "/v2.0"

	api := map[string]string{
		"login.microsoftonline.us":         "https://graph.microsoft.us/v1.0",
		"login.partner.microsoftonline.cn": "https://microsoftgraph.chinacloudapi.cn/v1.0",
	}[host]
	if api == "" {
		api = "https://graph.microsoft.com/v1.0"
	}
	m := microsoft{strings: on("strings"), claims: on("claims")}
	if on("expiring") {
		m.secretEnds = time.Now().Add(24 * time.Hour)
	}
	return &fake{
		discovery: base + "/v2.0/.well-known/openid-configuration",
		document:  document,
		tid:       tid,
		api:       api,
		routes:    []route{apiRoute("GET "+api+"/me", microsoftMe)},
		policy:    Policy{Rotation: RotateKeep, NarrowOnRefresh: true},
		grants: map[string]grant{
			"authorization_code": m.unlessExpired((*Server).authorizationCode),
			"refresh_token":      m.unlessExpired(m.refresh),
			"client_credentials": m.unlessExpired((*Server).clientCredentials),
		},
		thumbprint: true,
		answer:     m.answer,
		refuse:     microsoftRefuse,
	}, nil
}

type microsoft struct {
	strings, claims bool
	secretEnds      time.Time // zero: never
}

// Reasons of Microsoft.
const (
	whySecretEnded = "the client secret keys for the app are expired"
	whyInteraction = "multi-factor authentication is required"
)

func (m microsoft) unlessExpired(g grant) grant {
	return func(s *Server, c *call, is *issue) *Answer {
		if !m.secretEnds.IsZero() && !is.at.Before(m.secretEnds) {
			return refusal(http.StatusUnauthorized, "invalid_client", whySecretEnded)
		}
		return g(s, c, is)
	}
}

func (m microsoft) refresh(s *Server, c *call, is *issue) *Answer {
	r, ok := s.state.refresh[c.form.Get("refresh_token")]
	if m.claims && ok && !r.grant.asked.Has("claims") {
		c.request.Subject = r.grant.subject
		return refusal(http.StatusBadRequest, "interaction_required", whyInteraction)
	}
	return s.refreshToken(c, is)
}

func (m microsoft) answer(_ *Server, _ *call, is *issue, v map[string]any) {
	v["ext_expires_in"] = v["expires_in"]
	if m.strings {
		text := strconv.FormatInt(seconds(is.lifetime), 10)
		v["expires_in"], v["ext_expires_in"] = text, text
	}
}

// microsoftRefuse adds the numbers that say what is meant.
func microsoftRefuse(_ *call, r refused) *Answer {
	v := map[string]any{"error": r.code, "trace_id": rand.Text(), "correlation_id": rand.Text()}
	number := 900144
	switch {
	case r.why == whySecretEnded:
		number = 7000222
	case r.code == "invalid_client":
		number = 7000215
	case r.why == whyEnded:
		number = 700082
	case r.code == "invalid_grant":
		number = 70008
	case r.code == "invalid_scope":
		number = 70011
	case r.why == whyInteraction:
		number = 50076
		v["suberror"] = "basic_action"
		v["claims"] = `{"access_token":{"capolids":{"essential":true,"values":["5b1c6b3e-3d58-4ad0-9b0f-2a9b4d1f8e77"]}}}`
	}
	v["error_codes"] = []any{number}
	v["error_description"] = "AADSTS" + strconv.Itoa(number) + ": " + r.why
	return answer(r.status, v)
}

// microsoftMe wants User.Read.
func microsoftMe(_ *Server, _ *call, t *issuedAccess) any {
	if !slices.ContainsFunc(t.scopes, func(scope string) bool { return strings.HasSuffix(scope, "User.Read") }) {
		return answer(http.StatusForbidden, map[string]any{"error": map[string]any{
			"code": "Authorization_RequestDenied", "message": "Insufficient privileges to complete the operation.",
		}})
	}
	who := t.subject()
	return map[string]any{"id": who, "displayName": who, "userPrincipalName": who + "@contoso.com"}
}
