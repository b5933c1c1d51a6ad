package providertest

import (
	"crypto/rand"
	"net/http"
	"net/url"
)

// fakeNotion plays Notion, for a public integration. With the switch "legacy"
// that is one from before refresh tokens.
func fakeNotion(_ []string, on func(string) bool) (*fake, error) {
	n := notion{legacy: on("legacy")}
	const base = "https://api.notion.com/v1"
	return &fake{
		document: map[string]any{
			"authorization_endpoint": base + "/oauth/authorize",
			"token_endpoint":         base + "/oauth/token",
			"revocation_endpoint":    base + "/oauth/revoke",
		},
		api:         base,
		routes:      []route{apiRoute("GET "+base+"/users/me", notionBot)},
		policy:      Policy{Rotation: RotateRefuse},
		authMethods: []string{"client_secret_basic"},
		body:        jsonBody,
		registered:  []string{}, // there are no scopes
		grants: map[string]grant{
			"authorization_code": notionCode,
			"refresh_token":      notionRefresh,
		},
		authorize: func(_ *Server, asked url.Values) (string, string) {
			if asked.Get("owner") != "user" {
				return "", "the parameter owner is missing"
			}
			return "", ""
		},
		offline: func(url.Values, []string) bool { return !n.legacy },
		demand: func(c *call) *Answer {
			if c.r.Header.Get("Notion-Version") == "" {
				return refusal(http.StatusBadRequest, notionVersion, "the header Notion-Version is missing")
			}
			return nil
		},
		answer: n.answer,
		refuse: notionRefuse,
		apiDemand: func(_ *Server, c *call, _ *issuedAccess) *Answer {
			if c.r.Header.Get("Notion-Version") == "" {
				return notionError(http.StatusBadRequest, notionVersion, "Notion-Version header failed validation")
			}
			return nil
		},
		unauthorized: func(*call, string) *Answer {
			return notionError(http.StatusUnauthorized, "unauthorized", "API token is invalid.")
		},
	}, nil
}

// notionVersion is the error code for requests without the version.
const notionVersion = "missing_version"

type notion struct{ legacy bool }

// notionCode exchanges a code. The redirect address must be in the request if
// it was in the authorization request, and only then.
func notionCode(s *Server, c *call, is *issue) *Answer {
	code, ok := s.state.codes[c.form.Get("code")]
	if ok && c.form.Has("redirect_uri") != code.asked.Has("redirect_uri") {
		code.used = true
		return refusal(http.StatusBadRequest, "invalid_grant", whyRedirect)
	}
	if ok && !c.form.Has("redirect_uri") {
		c.form.Set("redirect_uri", code.redirect)
	}
	is.lifetime = forever
	return s.authorizationCode(c, is)
}

func notionRefresh(s *Server, c *call, is *issue) *Answer {
	is.lifetime = forever
	return s.refreshToken(c, is)
}

func (n notion) answer(_ *Server, _ *call, is *issue, v map[string]any) {
	delete(v, "expires_in")
	delete(v, "scope")
	v["token_type"] = "bearer"
	v["bot_id"] = "b3414d65-1224-5ef7-5000-0c3a4b5e9f01"
	v["workspace_id"] = "j565j4d7-1d45-4e0c-9b5e-5d0c6b2a4400"
	v["workspace_name"] = "Acme"
	v["workspace_icon"] = nil
	v["duplicated_template_id"] = nil
	v["request_id"] = rand.Text()
	v["owner"] = notionOwner(is.grant.subject)
	if n.legacy {
		v["refresh_token"] = nil
	}
}

func notionOwner(subject string) map[string]any {
	return map[string]any{"type": "user", "user": map[string]any{"object": "user", "id": subject, "name": subject}}
}

// notionError is an error as the API has them.
func notionError(status int, code, message string) *Answer {
	return answer(status, map[string]any{"object": "error", "status": status, "code": code, "message": message})
}

func notionRefuse(_ *call, r refused) *Answer {
	switch r.code {
	case "invalid_request":
		return notionError(r.status, "validation_error", r.why)
	case notionVersion:
		return notionError(r.status, r.code, r.why)
	}
	return refusal(r.status, r.code, r.why)
}

func notionBot(_ *Server, _ *call, t *issuedAccess) any {
	return map[string]any{
		"object": "user", "id": "b3414d65-1224-5ef7-5000-0c3a4b5e9f01", "type": "bot", "name": "Acme bot",
		"bot": map[string]any{"owner": notionOwner(t.subject()), "workspace_name": "Acme"},
	}
}
