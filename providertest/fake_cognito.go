package providertest

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// fakeCognito plays a user pool of Amazon Cognito. Its document is at one host,
// and its endpoints are at another. With the switch "rotation" refresh tokens
// are replaced, and an old one works for a minute more.
func fakeCognito(values []string, on func(string) bool) (*fake, error) {
	region, pool := values[0], values[1]
	if pool == "" {
		pool = region + "_AbCdEf123"
	}
	if !strings.HasPrefix(pool, region+"_") {
		return nil, fmt.Errorf("%q is not a pool in %s", pool, region)
	}
	issuer := "https://cognito-idp." + region + ".amazonaws.com/" + pool
	base := "https://acme.auth." + region + ".amazoncognito.com"
	policy := Policy{
		Rotation:          RotateNever,
		GrantLifetime:     30 * 24 * time.Hour,
		CodeLifetime:      5 * time.Minute,
		RevokeRefreshOnly: true,
	}
	if on("rotation") {
		policy.Rotation, policy.Grace = RotateGrace, time.Minute
	}
	return &fake{
		discovery: issuer + "/.well-known/openid-configuration",
		document: map[string]any{
			"issuer":                                issuer,
			"authorization_endpoint":                base + "/oauth2/authorize",
			"token_endpoint":                        base + "/oauth2/token",
			"revocation_endpoint":                   base + "/oauth2/revoke",
			"userinfo_endpoint":                     base + "/oauth2/userInfo",
			"end_session_endpoint":                  base + "/logout",
			"jwks_uri":                              issuer + "/.well-known/jwks.json",
			"response_types_supported":              []any{"code", "token"},
			"subject_types_supported":               []any{"public"},
			"id_token_signing_alg_values_supported": []any{"RS256"},
			"scopes_supported":                      []any{"openid", "email", "phone", "profile"},
			"token_endpoint_auth_methods_supported": []any{"client_secret_basic", "client_secret_post"},
		},
		api:     base + "/api",
		policy:  policy,
		offline: func(url.Values, []string) bool { return true },
		answer: func(_ *Server, _ *call, _ *issue, v map[string]any) {
			delete(v, "scope")
		},
		refuse:     cognitoRefuse,
		userClaims: []string{"username"},
	}, nil
}

// cognitoRefuse answers with a code and nothing else.
func cognitoRefuse(c *call, r refused) *Answer {
	if c.endpoint == Token {
		r.status = http.StatusBadRequest
	}
	return answer(r.status, map[string]any{"error": r.code})
}
