package providertest

import (
	"net/http"
	"time"
)

// fakeOkta plays the org authorization server of an Okta organization, or one
// of its custom servers. A replaced refresh token works for 30 seconds more,
// and ends all that the sign-in gave after that.
func fakeOkta(values []string, _ func(string) bool) (*fake, error) {
	origin := "https://" + values[0]
	k := okta{org: values[1] == ""}
	issuer, base := origin, origin+"/oauth2/v1"
	policy := Policy{Rotation: RotateGrace, Grace: 30 * time.Second, RequirePKCE: true, CodeLifetime: 5 * time.Minute}
	if !k.org {
		issuer = origin + "/oauth2/" + values[1]
		base = issuer + "/v1"
		policy.RefreshLifetime = 7 * 24 * time.Hour
	}
	return &fake{
		discovery: issuer + "/.well-known/openid-configuration",
		document: map[string]any{
			"issuer":                                issuer,
			"authorization_endpoint":                base + "/authorize",
			"token_endpoint":                        base + "/token",
			"userinfo_endpoint":                     base + "/userinfo",
			"jwks_uri":                              base + "/keys",
			"introspection_endpoint":                base + "/introspect",
			"revocation_endpoint":                   base + "/revoke",
			"device_authorization_endpoint":         base + "/device/authorize",
			"response_types_supported":              []any{"code", "id_token", "code id_token", "code token", "id_token token", "code id_token token"},
			"response_modes_supported":              []any{"query", "fragment", "form_post", "okta_post_message"},
			"grant_types_supported":                 []any{"authorization_code", "implicit", "refresh_token", "password", "client_credentials"},
			"subject_types_supported":               []any{"public"},
			"id_token_signing_alg_values_supported": []any{"RS256"},
			"scopes_supported":                      []any{"openid", "profile", "email", "address", "phone", "offline_access"},
			"token_endpoint_auth_methods_supported": []any{"client_secret_basic", "client_secret_post", "client_secret_jwt", "private_key_jwt", "none"},
			"code_challenge_methods_supported":      []any{"S256"},
		},
		api:    origin + "/api/v1",
		policy: policy,
		grants: map[string]grant{
			"authorization_code": (*Server).authorizationCode,
			"refresh_token":      (*Server).refreshToken,
			"client_credentials": k.app,
		},
		unauthorized: oktaUnauthorized,
		userClaims:   []string{"name", "preferred_username"},
		noOpenID:     insufficientScope,
	}, nil
}

type okta struct{ org bool }

// app is the client credentials grant. The org server has it for clients that
// authenticate themselves with a key.
func (k okta) app(s *Server, c *call, is *issue) *Answer {
	if k.org && c.request.AuthMethod != "private_key_jwt" {
		return refusal(http.StatusUnauthorized, "invalid_client",
			"Client Credentials requests to the Org Authorization Server must use the private_key_jwt token_endpoint_auth_method.")
	}
	return s.clientCredentials(c, is)
}

func oktaUnauthorized(c *call, _ string) *Answer {
	a := answer(http.StatusUnauthorized, map[string]any{
		"errorCode":    "E0000011",
		"errorSummary": "Invalid token provided",
		"errorLink":    "E0000011",
		"errorId":      "oae0000000000000000000",
		"errorCauses":  []any{},
	})
	if c.endpoint == UserInfo {
		a = &Answer{Status: http.StatusUnauthorized, Header: http.Header{}}
	}
	a.Header.Set("WWW-Authenticate", `Bearer authorization_uri="https://`+c.r.URL.Host+`", realm="`+c.r.URL.Host+`", error="invalid_token"`)
	return a
}
