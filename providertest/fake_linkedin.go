package providertest

import (
	"net/http"
	"net/url"
	"strings"
	"time"
)

// fakeLinkedIn plays LinkedIn. Its applications have refresh tokens if LinkedIn
// has approved them for that (the switch "refresh"). They end a year after the
// login, however often they are used.
func fakeLinkedIn(_ []string, on func(string) bool) (*fake, error) {
	const base = "https://www.linkedin.com/oauth"
	const discovery = base + "/.well-known/openid-configuration"
	k := linkedin{refresh: on("refresh")}
	return &fake{
		discovery: discovery,
		document: map[string]any{
			"issuer":                                base,
			"authorization_endpoint":                base + "/v2/authorization",
			"token_endpoint":                        base + "/v2/accessToken",
			"revocation_endpoint":                   base + "/v2/revoke",
			"userinfo_endpoint":                     "https://api.linkedin.com/v2/userinfo",
			"jwks_uri":                              base + "/openid/jwks",
			"response_types_supported":              []any{"code"},
			"subject_types_supported":               []any{"pairwise"},
			"id_token_signing_alg_values_supported": []any{"RS256"},
			"scopes_supported":                      []any{"openid", "profile", "email"},
		},
		api:    "https://api.linkedin.com/v2",
		routes: []route{{"GET " + discovery, Discovery, linkedinDocument}},
		policy: Policy{
			Rotation:      RotateNever,
			TokenLifetime: 60 * 24 * time.Hour,
			GrantLifetime: 365 * 24 * time.Hour,
			CodeLifetime:  30 * time.Minute,
		},
		authMethods: []string{"client_secret_post"},
		grants: map[string]grant{
			"authorization_code": linkedinCode,
			"refresh_token":      k.renew,
			"client_credentials": linkedinApp,
		},
		offline:  func(url.Values, []string) bool { return k.refresh },
		callback: linkedinCallback,
		answer:   linkedinAnswer,
		refuse:   linkedinRefuse,
		unauthorized: func(*call, string) *Answer {
			return answer(http.StatusUnauthorized, map[string]any{
				"status": 401, "serviceErrorCode": 65600, "code": "INVALID_ACCESS_TOKEN", "message": "Invalid access token",
			})
		},
		userClaims: []string{"name"},
		noOpenID: func() *Answer {
			return answer(http.StatusForbidden, map[string]any{
				"status": 403, "serviceErrorCode": 100, "code": "ACCESS_DENIED", "message": "Not enough permissions to access: userinfo.GET.NO_VERSION",
			})
		},
	}, nil
}

type linkedin struct{ refresh bool }

// linkedinDocument leaves out the revocation endpoint, as LinkedIn does.
func linkedinDocument(s *Server, _ *call) *Answer {
	v := deepCopy(s.document)
	delete(v, "revocation_endpoint")
	return s.object(Discovery, v)
}

// linkedinCallback gives a denial a name of LinkedIn's own.
func linkedinCallback(_ *Server, _ *Client, _, back url.Values) {
	if back.Get("error") == "access_denied" {
		back.Set("error", "user_cancelled_login")
		back.Set("error_description", "The user cancelled LinkedIn login")
	}
}

// linkedinCode exchanges a code. A code challenge is ignored, but a verifier is
// fatal.
func linkedinCode(s *Server, c *call, is *issue) *Answer {
	if code, ok := s.state.codes[c.form.Get("code")]; ok {
		code.challenge = ""
	}
	if a := s.authorizationCode(c, is); a != nil {
		return a
	}
	is.nonce = ""
	return nil
}

func (k linkedin) renew(s *Server, c *call, is *issue) *Answer {
	if !k.refresh {
		return refusal(http.StatusBadRequest, "unauthorized_client", "This application is not allowed to refresh tokens")
	}
	return s.refreshToken(c, is)
}

func linkedinApp(s *Server, c *call, is *issue) *Answer {
	is.lifetime = 30 * time.Minute
	return s.clientCredentials(c, is)
}

// linkedinAnswer says of a refresh token how much is left of its year.
func linkedinAnswer(_ *Server, c *call, is *issue, v map[string]any) {
	v["scope"] = strings.Join(is.scopes, ",")
	if !is.idToken {
		delete(v, "token_type")
	}
	if c.form.Get("grant_type") == "refresh_token" {
		v["refresh_token"] = c.form.Get("refresh_token")
	}
	if !is.ends.IsZero() {
		v["refresh_token_expires_in"] = seconds(is.ends.Sub(is.at))
	}
}

func linkedinRefuse(c *call, r refused) *Answer {
	switch {
	case r.code == "invalid_client":
		return refusal(r.status, r.code, "Client authentication failed")
	case r.code == "invalid_grant" && c.form.Get("grant_type") == "authorization_code":
		return refusal(http.StatusBadRequest, "invalid_request", "Unable to retrieve access token: "+
			"appid/redirect uri/code verifier does not match authorization code. Or authorization code expired. Or external member binding exists")
	case r.code == "invalid_grant":
		return refusal(http.StatusBadRequest, r.code, "The provided authorization grant or refresh token is invalid, expired or revoked.")
	}
	return refusal(r.status, r.code, r.why)
}
