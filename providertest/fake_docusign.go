package providertest

import (
	"net/url"
	"slices"
	"time"
)

// fakeDocuSign plays DocuSign eSignature, in production or at
// account-d.docusign.com the environment for developers.
func fakeDocuSign(values []string, _ func(string) bool) (*fake, error) {
	d := docuSign{baseURI: "https://na4.docusign.net"}
	if values[0] == "account-d.docusign.com" {
		d.baseURI = "https://demo.docusign.net"
	}
	base := "https://" + values[0]
	return &fake{
		discovery: base + "/.well-known/openid-configuration",
		document: map[string]any{
			"issuer":                                base + "/",
			"authorization_endpoint":                base + "/oauth/auth",
			"token_endpoint":                        base + "/oauth/token",
			"userinfo_endpoint":                     base + "/oauth/userinfo",
			"jwks_uri":                              base + "/oauth/jwks",
			"response_types_supported":              []any{"code"},
			"subject_types_supported":               []any{"public"},
			"id_token_signing_alg_values_supported": []any{"RS256"},
			"scopes_supported":                      []any{"OpenId", "signature", "extended", "impersonation"},
		},
		api:         d.baseURI + "/restapi/v2.1",
		routes:      []route{apiRoute("GET "+base+"/oauth/userinfo", d.user)},
		policy:      Policy{Rotation: RotateRefuse, TokenLifetime: 8 * time.Hour, RefreshLifetime: 30 * 24 * time.Hour},
		authMethods: []string{"client_secret_basic"},
		grants: map[string]grant{
			"authorization_code": docuSignCode,
			"refresh_token":      docuSignRefresh,
		},
		offline: func(_ url.Values, scopes []string) bool { return slices.Contains(scopes, "signature") },
	}, nil
}

type docuSign struct{ baseURI string }

// docuSignCode exchanges a code. ID tokens have no nonce.
func docuSignCode(s *Server, c *call, is *issue) *Answer {
	a := s.authorizationCode(c, is)
	is.nonce = ""
	return a
}

// docuSignRefresh replaces a refresh token. The new one ends when the old one
// would have, unless the scope extended was granted.
func docuSignRefresh(s *Server, c *call, is *issue) *Answer {
	old := s.state.refresh[c.form.Get("refresh_token")]
	if a := s.refreshToken(c, is); a != nil {
		return a
	}
	if r, ok := s.state.refresh[is.refresh]; ok && !slices.Contains(is.grant.scopes, "extended") {
		r.expires, is.ends = old.expires, old.expires
	}
	return nil
}

// user says whose token it is, and where the API of each account is.
func (d docuSign) user(_ *Server, _ *call, t *issuedAccess) any {
	account := func(id, name string, isDefault bool) map[string]any {
		return map[string]any{"account_id": id, "account_name": name, "is_default": isDefault, "base_uri": d.baseURI}
	}
	return map[string]any{
		"sub": t.subject(), "name": t.subject(), "email": t.subject() + "@example.com",
		"accounts": []any{
			account("6f1c2a5e-0b8d-4c7e-9a3f-1e2d3c4b5a69", "Beta", false),
			account("3b9e7d10-5c2f-4a86-8d1b-7f6e5d4c3b2a", "Acme", true),
		},
	}
}
