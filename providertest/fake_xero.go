package providertest

import (
	"net/http"
	"slices"
	"strings"
	"time"
)

// xeroTenants are the organizations that every user connects.
var xeroTenants = [...][2]string{
	{"70784a63-d24b-46a9-a4db-0e70a274b056", "Acme Ltd"},
	{"e0da6937-de07-4a14-adee-37abfac298ce", "Acme Holdings"},
}

// fakeXero plays Xero.
func fakeXero([]string, func(string) bool) (*fake, error) {
	const base = "https://identity.xero.com"
	return &fake{
		discovery: base + "/.well-known/openid-configuration",
		document: map[string]any{
			"issuer":                                base,
			"authorization_endpoint":                "https://login.xero.com/identity/connect/authorize",
			"token_endpoint":                        base + "/connect/token",
			"revocation_endpoint":                   base + "/connect/revocation",
			"userinfo_endpoint":                     base + "/connect/userinfo",
			"jwks_uri":                              base + "/.well-known/openid-configuration/jwks",
			"response_types_supported":              []any{"code", "token", "id_token"},
			"subject_types_supported":               []any{"public"},
			"id_token_signing_alg_values_supported": []any{"RS256"},
			"token_endpoint_auth_methods_supported": []any{"client_secret_basic", "client_secret_post"},
			"code_challenge_methods_supported":      []any{"plain", "S256"},
		},
		api:    "https://api.xero.com/api.xro/2.0",
		routes: []route{apiRoute("GET https://api.xero.com/connections", xeroConnections)},
		policy: Policy{
			Rotation:        RotateRefuse,
			Grace:           30 * time.Minute,
			TokenLifetime:   30 * time.Minute,
			RefreshLifetime: 60 * 24 * time.Hour,
		},
		authMethods: []string{"client_secret_basic"},
		apiDemand:   xeroAPIDemand,
		unauthorized: func(*call, string) *Answer {
			return xeroError(http.StatusUnauthorized, "Unauthorized")
		},
	}, nil
}

func xeroError(status int, title string) *Answer {
	return answer(status, map[string]any{
		"Type": nil, "Title": title, "Status": status, "Detail": "AuthenticationUnsuccessful", "Extensions": map[string]any{},
	})
}

// xeroAPIDemand wants requests to the accounts to say whose they are.
func xeroAPIDemand(_ *Server, c *call, _ *issuedAccess) *Answer {
	tenant := c.r.Header.Get("Xero-tenant-id")
	if strings.HasPrefix(c.r.URL.Path, "/api.xro/") &&
		!slices.ContainsFunc(xeroTenants[:], func(t [2]string) bool { return t[0] == tenant }) {
		return xeroError(http.StatusForbidden, "Forbidden")
	}
	return nil
}

func xeroConnections(_ *Server, _ *call, _ *issuedAccess) any {
	list := []any{}
	for i, tenant := range xeroTenants {
		list = append(list, map[string]any{
			"id":          []string{"e1eede29-f875-4a5d-8470-17f6a29a88b1", "32587c85-a9b3-4306-ac30-b416e8f2c841"}[i],
			"authEventId": "d99ecdfe-391d-43d2-b834-17636ba90e8d",
			"tenantId":    tenant[0],
			"tenantType":  "ORGANISATION",
			"tenantName":  tenant[1],
		})
	}
	return list
}
