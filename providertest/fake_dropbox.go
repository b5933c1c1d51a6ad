package providertest

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// fakeDropbox plays Dropbox.
func fakeDropbox([]string, func(string) bool) (*fake, error) {
	const api = "https://api.dropboxapi.com/2"
	return &fake{
		discovery: "https://www.dropbox.com/.well-known/openid-configuration",
		document: map[string]any{
			"issuer":                                "https://www.dropbox.com",
			"authorization_endpoint":                "https://www.dropbox.com/oauth2/authorize",
			"token_endpoint":                        "https://api.dropboxapi.com/oauth2/token",
			"userinfo_endpoint":                     api + "/openid/userinfo",
			"jwks_uri":                              "https://www.dropbox.com/oauth2/jwks",
			"response_types_supported":              []any{"code"},
			"subject_types_supported":               []any{"public"},
			"id_token_signing_alg_values_supported": []any{"RS256"},
			"scopes_supported":                      []any{"openid", "email", "profile"},
		},
		api: api,
		routes: []route{
			apiRoute("POST "+api+"/users/get_current_account", dropboxAccount),
			{"POST " + api + "/auth/token/revoke", Revocation, dropboxRevoke},
		},
		policy: Policy{Rotation: RotateNever, TokenLifetime: 4 * time.Hour},
		grants: map[string]grant{
			"authorization_code": dropboxCode,
			"refresh_token":      (*Server).refreshToken,
		},
		offline: func(asked url.Values, _ []string) bool { return asked.Get("token_access_type") == "offline" },
		demand: func(c *call) *Answer {
			if c.r.Header.Get("Authorization") != "" && (c.form.Has("client_id") || c.form.Has("client_secret")) {
				return refusal(http.StatusBadRequest, "invalid_request", "credentials in the header and in the body")
			}
			return nil
		},
		answer: dropboxAnswer,
		unauthorized: func(*call, string) *Answer {
			return dropboxError("invalid_access_token", nil)
		},
	}, nil
}

// dropboxCode exchanges a code. ID tokens have no nonce.
func dropboxCode(s *Server, c *call, is *issue) *Answer {
	a := s.authorizationCode(c, is)
	is.nonce = ""
	return a
}

func dropboxAnswer(_ *Server, c *call, is *issue, v map[string]any) {
	v["token_type"] = "bearer"
	if c.form.Get("grant_type") == "authorization_code" {
		v["account_id"] = is.grant.subject
		v["uid"] = "12345"
	} else if !c.form.Has("scope") {
		delete(v, "scope")
	}
}

// dropboxError refuses an access token; tag says why.
func dropboxError(tag string, more map[string]any) *Answer {
	v := map[string]any{".tag": tag}
	for name, value := range more {
		v[name] = value
	}
	return answer(http.StatusUnauthorized, map[string]any{"error_summary": tag + "/", "error": v})
}

// dropboxBody refuses a request with a body to a call that has no arguments.
func dropboxBody(c *call) *Answer {
	kind := c.r.Header.Get("Content-Type")
	switch {
	case kind != "" && !c.hasType("application/json"):
		return text(http.StatusBadRequest, `Error in call to API function: Bad HTTP "Content-Type" header: "`+kind+`"`)
	case len(c.body) > 0 && strings.TrimSpace(string(c.body)) != "null":
		return text(http.StatusBadRequest, "Error in call to API function: request body: expected null")
	}
	return nil
}

func dropboxAccount(_ *Server, c *call, t *issuedAccess) any {
	if a := dropboxBody(c); a != nil {
		return a
	}
	// An application that asks for no scope gets those that it is registered with.
	if len(t.scopes) > 0 && !slices.Contains(t.scopes, "account_info.read") {
		return dropboxError("missing_scope", map[string]any{"required_scope": "account_info.read"})
	}
	return map[string]any{
		"account_id": t.subject(), "email": t.subject() + "@example.com", "name": map[string]any{"display_name": t.subject()},
	}
}

// dropboxRevoke ends the token that the request comes with, and the refresh
// token that belongs to it.
func dropboxRevoke(s *Server, c *call) *Answer {
	t, refused := s.authorized(c)
	if refused != nil {
		return refused
	}
	if a := dropboxBody(c); a != nil {
		return a
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	t.grant.dead = true
	return answer(http.StatusOK, nil)
}
