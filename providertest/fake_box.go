package providertest

import (
	"net/http"
	"strconv"
	"time"
)

// fakeBox plays Box. The variable is the address of its own that an enterprise
// has for logging in.
func fakeBox(values []string, _ func(string) bool) (*fake, error) {
	host := "account.box.com"
	if values[0] != "" {
		host = values[0] + "." + host
	}
	const api = "https://api.box.com/2.0"
	return &fake{
		document: map[string]any{
			"authorization_endpoint": "https://" + host + "/api/oauth2/authorize",
			"token_endpoint":         "https://api.box.com/oauth2/token",
			"revocation_endpoint":    "https://api.box.com/oauth2/revoke",
		},
		api:    api,
		routes: []route{apiRoute("GET "+api+"/users/me", boxUser)},
		policy: Policy{
			Rotation:        RotateRefuse,
			Offline:         OfflineAlways,
			RefreshLifetime: 60 * 24 * time.Hour,
			RevokeEndsGrant: true,
		},
		authMethods: []string{"client_secret_post"},
		registered:  []string{"root_readwrite"},
		grants: map[string]grant{
			"authorization_code": boxLifetime((*Server).authorizationCode),
			"refresh_token":      boxLifetime((*Server).refreshToken),
			"client_credentials": boxLifetime(boxApp),
		},
		answer: func(_ *Server, _ *call, _ *issue, v map[string]any) {
			v["token_type"] = "bearer"
			v["restricted_to"] = []any{}
			delete(v, "scope")
		},
		unauthorized: func(*call, string) *Answer {
			return &Answer{Status: http.StatusUnauthorized, Header: http.Header{
				"Www-Authenticate": {`Bearer realm="Service", error="invalid_token", error_description="The access token provided is invalid."`},
			}}
		},
	}, nil
}

// boxLifetime lets the tokens of a grant live up to ten minutes longer, each
// another time.
func boxLifetime(decide grant) grant {
	return func(s *Server, c *call, is *issue) *Answer {
		is.lifetime += time.Duration(len(s.state.access)*97%601) * time.Second
		return decide(s, c, is)
	}
}

// boxApp is the client credentials grant, which is for an enterprise or a user.
func boxApp(s *Server, c *call, is *issue) *Answer {
	if kind := c.form.Get("box_subject_type"); kind != "enterprise" && kind != "user" || c.form.Get("box_subject_id") == "" {
		return refusal(http.StatusBadRequest, "invalid_grant", "Grant credentials are invalid")
	}
	return s.clientCredentials(c, is)
}

func boxUser(_ *Server, _ *call, t *issuedAccess) any {
	return map[string]any{
		"type": "user", "id": strconv.FormatInt(numberOf(t.subject()), 10), "name": t.subject(), "login": t.subject() + "@example.com",
	}
}
