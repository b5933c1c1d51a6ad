package providertest

import (
	"net/http"
	"net/url"
	"time"
)

// fakePingOne plays an environment of PingOne. Its application has refresh
// tokens if that is switched on ("refresh"), and authenticates itself with
// Basic, unless it is registered otherwise with Server.AddClient.
func fakePingOne(values []string, on func(string) bool) (*fake, error) {
	environment, tld := values[0], values[1]
	issuer := "https://auth.pingone." + tld + "/" + environment + "/as"
	return &fake{
		discovery: issuer + "/.well-known/openid-configuration",
		document: map[string]any{
			"issuer":                                issuer,
			"authorization_endpoint":                issuer + "/authorize",
			"token_endpoint":                        issuer + "/token",
			"userinfo_endpoint":                     issuer + "/userinfo",
			"jwks_uri":                              issuer + "/jwks",
			"end_session_endpoint":                  issuer + "/signoff",
			"introspection_endpoint":                issuer + "/introspect",
			"revocation_endpoint":                   issuer + "/revoke",
			"device_authorization_endpoint":         issuer + "/device_authorization",
			"response_types_supported":              []any{"code", "id_token", "token id_token", "code id_token", "code token", "code token id_token"},
			"response_modes_supported":              []any{"pi.flow", "query", "fragment", "form_post"},
			"grant_types_supported":                 []any{"authorization_code", "implicit", "client_credentials", "refresh_token", "urn:ietf:params:oauth:grant-type:device_code"},
			"subject_types_supported":               []any{"public"},
			"id_token_signing_alg_values_supported": []any{"RS256"},
			"scopes_supported":                      []any{"openid", "profile", "email", "address", "phone"},
			"token_endpoint_auth_methods_supported": []any{"client_secret_basic", "client_secret_post", "client_secret_jwt", "private_key_jwt"},
			"code_challenge_methods_supported":      []any{"plain", "S256"},
		},
		api: "https://api.pingone." + tld + "/v1/environments/" + environment,
		policy: Policy{
			Rotation:        RotateRefuse,
			RefreshLifetime: 30 * 24 * time.Hour,
			GrantLifetime:   180 * 24 * time.Hour,
		},
		authMethods: []string{"client_secret_basic"},
		offline:     func(url.Values, []string) bool { return on("refresh") },
		unauthorized: func(*call, string) *Answer {
			return answer(http.StatusUnauthorized, map[string]any{
				"id":      "00000000-0000-4000-8000-000000000000",
				"code":    "INVALID_TOKEN",
				"message": "The request could not be completed. The token is invalid.",
			})
		},
		userClaims: []string{"preferred_username"},
		noOpenID:   insufficientScope,
	}, nil
}
