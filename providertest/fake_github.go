package providertest

import (
	"encoding/json"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"
)

// fakeGitHub plays github.com, an Enterprise Server, or a tenant of ghe.com.
// Its application is an OAuth app, whose tokens do not expire, or with the
// switch "app" a GitHub App.
func fakeGitHub(values []string, on func(string) bool) (*fake, error) {
	host, api := values[0], "https://"+values[0]+"/api/v3"
	if host == "github.com" || strings.HasSuffix(host, ".ghe.com") {
		api = "https://api." + host
	}
	g := github{app: on("app")}
	return &fake{
		document: map[string]any{
			"authorization_endpoint": "https://" + host + "/login/oauth/authorize",
			"token_endpoint":         "https://" + host + "/login/oauth/access_token",
		},
		api: api,
		routes: []route{
			apiRoute("GET "+api+"/user", githubUser),
			{"DELETE " + api + "/applications/*/grant", Revocation, githubRevoke},
			{"DELETE " + api + "/applications/*/token", Revocation, githubRevoke},
		},
		policy: Policy{
			Rotation:           RotateRefuse,
			EndAccessOnRefresh: true,
			TokenLifetime:      8 * time.Hour,
			RefreshLifetime:    15897600 * time.Second,
			CodeLifetime:       10 * time.Minute,
		},
		authMethods:   []string{"client_secret_post"},
		codeByDefault: true,
		grants: map[string]grant{
			"authorization_code": g.code,
			"refresh_token":      g.refresh,
		},
		offline:      func(url.Values, []string) bool { return g.app },
		answer:       g.answer,
		refuse:       githubRefuse,
		encode:       githubEncode,
		apiDemand:    githubAPIDemand,
		unauthorized: func(*call, string) *Answer { return githubMessage(http.StatusUnauthorized, "Bad credentials") },
	}, nil
}

type github struct{ app bool }

// code exchanges a code. An OAuth app has at most ten tokens for a person and a
// list of scopes.
func (g github) code(s *Server, c *call, is *issue) *Answer {
	if a := s.authorizationCode(c, is); a != nil {
		return a
	}
	if g.app {
		is.scopes = nil // the permissions of the app take their place
		is.grant.scopes = nil
		return nil
	}
	is.lifetime = forever
	s.keepNewest(is.grant, 10, func(other *userGrant) bool { return slices.Equal(other.scopes, is.scopes) })
	return nil
}

func (g github) refresh(s *Server, c *call, is *issue) *Answer {
	if !g.app {
		return refusal(http.StatusBadRequest, "unsupported_grant_type", "not for OAuth apps")
	}
	return s.refreshToken(c, is)
}

func (g github) answer(_ *Server, _ *call, is *issue, v map[string]any) {
	v["token_type"] = "bearer"
	v["scope"] = strings.Join(is.scopes, ",")
	if !g.app {
		delete(v, "expires_in")
	} else {
		v["refresh_token_expires_in"] = seconds(is.ends.Sub(is.at))
	}
}

// githubRefuse answers all errors with status 200.
func githubRefuse(c *call, r refused) *Answer {
	code := r.code
	switch {
	case code == "invalid_client":
		code = "incorrect_client_credentials"
	case code == "invalid_grant" && r.why == whyRedirect:
		code = "redirect_uri_mismatch"
	case code == "invalid_grant" && c.form.Get("grant_type") == "refresh_token":
		code = "bad_refresh_token"
	case code == "invalid_grant":
		code = "bad_verification_code"
	}
	return answer(http.StatusOK, map[string]any{
		"error":             code,
		"error_description": r.why,
		"error_uri":         "https://docs.github.com/apps/oauth",
	})
}

// githubEncode makes a form of an answer, unless JSON is accepted.
func githubEncode(c *call, a *Answer) *Answer {
	var v map[string]any
	if strings.Contains(c.r.Header.Get("Accept"), "json") || json.Unmarshal(a.Body, &v) != nil {
		return a
	}
	form, _ := jsonForm(a.Body)
	a.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
	a.Body = []byte(form.Encode())
	return a
}

func githubMessage(status int, message string) *Answer {
	return answer(status, map[string]any{"message": message, "documentation_url": "https://docs.github.com/rest"})
}

func githubAPIDemand(_ *Server, c *call, _ *issuedAccess) *Answer {
	if c.r.Header.Get("User-Agent") == "" {
		return text(http.StatusForbidden, "Request forbidden by administrative rules. Please make sure your request has a User-Agent header.")
	}
	return nil
}

func githubUser(_ *Server, _ *call, t *issuedAccess) any {
	return map[string]any{"id": numberOf(t.subject()), "login": t.subject(), "email": nil, "type": "User"}
}

// githubRevoke ends a token, or the whole authorization that it belongs to.
func githubRevoke(s *Server, c *call) *Answer {
	client := s.basicClient(c.r)
	if client == nil || path.Base(path.Dir(c.r.URL.Path)) != client.ID {
		return githubMessage(http.StatusUnauthorized, "Requires authentication")
	}
	var body struct {
		Token string `json:"access_token"`
	}
	if err := json.Unmarshal(c.body, &body); err != nil || body.Token == "" {
		return githubMessage(http.StatusUnprocessableEntity, "Validation Failed")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	t, ok := s.state.access[body.Token]
	if !ok || t.client != client.ID || !t.valid(s.now()) {
		return githubMessage(http.StatusNotFound, "Not Found")
	}
	if path.Base(c.r.URL.Path) == "token" {
		t.revoked = true
	} else {
		s.endGrants(func(g *userGrant) bool { return g.client == t.client && g.subject == t.grant.subject })
	}
	return &Answer{Status: http.StatusNoContent}
}
