package providertest

import (
	"net/http"
	"net/url"
	"strings"
	"time"
)

// fakeServiceNow plays an instance of ServiceNow.
func fakeServiceNow(values []string, _ func(string) bool) (*fake, error) {
	base := "https://" + values[0]
	api := base + "/api/now"
	return &fake{
		document: map[string]any{
			"authorization_endpoint": base + "/oauth_auth.do",
			"token_endpoint":         base + "/oauth_token.do",
			"revocation_endpoint":    base + "/oauth_revoke_token.do",
		},
		api: api,
		routes: []route{
			apiRoute("GET "+api+"/table/sys_user", serviceNowUsers),
			{"POST " + base + "/oauth_revoke_token.do", Revocation, serviceNowRevoke},
		},
		policy: Policy{
			Rotation:        RotateNever,
			Offline:         OfflineAlways,
			TokenLifetime:   30 * time.Minute,
			RefreshLifetime: 8640000 * time.Second,
		},
		authMethods: []string{"client_secret_post"},
		registered:  []string{"useraccount"},
		authorize: func(_ *Server, asked url.Values) (string, string) {
			if asked.Get("state") == "" {
				return "", "the parameter state is missing"
			}
			return "", ""
		},
		answer: func(_ *Server, c *call, _ *issue, v map[string]any) {
			if token := c.form.Get("refresh_token"); token != "" {
				v["refresh_token"] = token
			}
		},
		refuse: serviceNowRefuse,
		unauthorized: func(*call, string) *Answer {
			return answer(http.StatusUnauthorized, map[string]any{
				"error":  map[string]any{"message": "User Not Authenticated", "detail": "Required to provide Auth information"},
				"status": "failure",
			})
		},
	}, nil
}

// serviceNowRefuse says of a dead refresh token that the server has failed.
func serviceNowRefuse(c *call, r refused) *Answer {
	if r.code == "invalid_grant" && c.form.Get("grant_type") == "refresh_token" {
		return refusal(http.StatusUnauthorized, "server_error", "access_denied")
	}
	return refusal(r.status, r.code, r.why)
}

// serviceNowUsers lists the users: all, unless the query is for the one whose
// token it is.
func serviceNowUsers(_ *Server, c *call, t *issuedAccess) any {
	var list []any
	for _, name := range []string{"admin", t.subject()} {
		list = append(list, map[string]any{"sys_id": name, "user_name": name, "name": name})
	}
	q := c.r.URL.Query()
	if strings.HasPrefix(q.Get("sysparm_query"), "user_name=javascript:gs.getUserName()") {
		list = list[1:]
	}
	if q.Get("sysparm_limit") == "1" {
		list = list[:1]
	}
	return map[string]any{"result": list}
}

// serviceNowRevoke ends a token, and no other of its grant. The client does not
// authenticate itself, and the token may be in the address.
func serviceNowRevoke(s *Server, c *call) *Answer {
	token := c.form.Get("token")
	if token == "" {
		token = c.r.URL.Query().Get("token")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if t, ok := s.state.access[token]; ok {
		t.revoked = true
	} else if r, ok := s.state.refresh[token]; ok {
		r.expires = s.now()
	} else {
		return refusal(http.StatusBadRequest, "invalid_request", "unknown token")
	}
	return &Answer{Status: http.StatusOK}
}
