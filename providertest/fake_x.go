package providertest

import (
	"net/http"
	"net/url"
	"slices"
	"time"
)

// fakeX plays X.
func fakeX([]string, func(string) bool) (*fake, error) {
	return &fake{
		document: map[string]any{
			"authorization_endpoint": "https://x.com/i/oauth2/authorize",
			"token_endpoint":         "https://api.x.com/2/oauth2/token",
			"revocation_endpoint":    "https://api.x.com/2/oauth2/revoke",
		},
		api: "https://api.x.com/2",
		routes: []route{
			apiRoute("GET https://api.x.com/2/users/me", xUser),
			{"POST https://api.x.com" + xAppPath, Token, (*Server).serveToken},
		},
		policy: Policy{
			Rotation:        RotateRefuse,
			RequirePKCE:     true,
			TokenLifetime:   2 * time.Hour,
			RefreshLifetime: 15811200 * time.Second,
		},
		authMethods: []string{"client_secret_basic"},
		grants: map[string]grant{
			"authorization_code": xUserGrant((*Server).authorizationCode),
			"refresh_token":      xUserGrant((*Server).refreshToken),
			"client_credentials": xApp,
		},
		offline: func(_ url.Values, scopes []string) bool { return slices.Contains(scopes, "offline.access") },
		answer: func(_ *Server, _ *call, is *issue, v map[string]any) {
			v["token_type"] = "bearer"
			if is.grant == nil {
				delete(v, "expires_in")
				delete(v, "scope")
			}
		},
		refuse: xRefuse,
		unauthorized: func(*call, string) *Answer {
			return answer(http.StatusUnauthorized, map[string]any{
				"title": "Unauthorized", "type": "about:blank", "status": 401, "detail": "Unauthorized",
			})
		},
	}, nil
}

// xAppPath is where applications get tokens of their own.
const xAppPath = "/oauth2/token"

func xUserGrant(g grant) grant {
	return func(s *Server, c *call, is *issue) *Answer {
		if c.r.URL.Path == xAppPath {
			return refusal(http.StatusBadRequest, "unsupported_grant_type", "not here")
		}
		return g(s, c, is)
	}
}

func xApp(s *Server, c *call, is *issue) *Answer {
	if c.r.URL.Path != xAppPath {
		return refusal(http.StatusBadRequest, "unsupported_grant_type", "not here")
	}
	is.lifetime = forever
	return s.clientCredentials(c, is)
}

// xRefuse calls a dead grant an invalid request.
func xRefuse(c *call, r refused) *Answer {
	switch {
	case r.code == "invalid_grant" && c.form.Get("grant_type") == "refresh_token":
		return refusal(http.StatusBadRequest, "invalid_request", "Value passed for the token was invalid.")
	case r.code == "invalid_grant":
		return refusal(http.StatusBadRequest, "invalid_request", "Value passed for the authorization code was invalid.")
	case r.code == "invalid_client" && c.r.Header.Get("Authorization") == "":
		return refusal(http.StatusUnauthorized, "unauthorized_client", "Missing valid authorization header")
	}
	return refusal(r.status, r.code, r.why)
}

func xUser(_ *Server, _ *call, t *issuedAccess) any {
	who := t.subject()
	return map[string]any{"data": map[string]any{"id": who, "name": who, "username": who}}
}
