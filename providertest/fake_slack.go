package providertest

import (
	"net/http"
	"net/url"
	"strings"
	"time"
)

// fakeSlack plays Slack. Its tokens do not expire, unless the application has
// token rotation switched on ("rotation").
func fakeSlack(_ []string, on func(string) bool) (*fake, error) {
	k := slack{rotation: on("rotation")}
	return &fake{
		document: map[string]any{
			"authorization_endpoint": "https://slack.com/oauth/v2/authorize",
			"token_endpoint":         "https://slack.com/api/oauth.v2.access",
		},
		api: "https://slack.com/api",
		routes: []route{
			apiRoute("POST https://slack.com/api/auth.test", slackTest),
			apiRoute("GET https://slack.com/api/auth.test", slackTest),
			{"POST https://slack.com/api/auth.revoke", Revocation, slackRevoke},
		},
		policy:        Policy{Rotation: RotateRefuse, TokenLifetime: 12 * time.Hour, CodeLifetime: 10 * time.Minute},
		codeByDefault: true,
		separator:     ",",
		grants: map[string]grant{
			"authorization_code": k.code,
			"refresh_token":      k.refresh,
		},
		authorize: func(_ *Server, asked url.Values) (string, string) {
			if asked.Get("scope") == "" && asked.Get("user_scope") == "" {
				return "", "no scopes requested"
			}
			if strings.Contains(asked.Get("user_scope"), " ") {
				return "invalid_scope", "no such scope: " + asked.Get("user_scope")
			}
			return "", ""
		},
		offline:      func(url.Values, []string) bool { return k.rotation },
		answer:       k.answer,
		refuse:       slackRefuse,
		unauthorized: slackUnauthorized,
	}, nil
}

type slack struct{ rotation bool }

// What slackTest and the answers say of the one team and the one bot.
const (
	slackTeam  = "T0ACME"
	slackBot   = "U0BOT"
	slackAppID = "A0APP"
)

// code exchanges a code for a token of the bot, one of the user, or both, each
// with a life of its own.
func (k slack) code(s *Server, c *call, is *issue) *Answer {
	if a := s.authorizationCode(c, is); a != nil {
		return a
	}
	if !k.rotation {
		is.lifetime = forever
	}
	userScopes := s.fake.split(is.grant.asked.Get("user_scope"))
	if len(userScopes) == 0 {
		return nil
	}
	g := &userGrant{client: is.grant.client, subject: is.grant.subject, scopes: userScopes, began: is.at, part: "user"}
	user := &issue{client: is.client, grant: g, scopes: userScopes, lifetime: is.lifetime, at: is.at, dated: is.dated}
	if k.rotation {
		s.issueRefresh(user)
	}
	s.mint(user)
	is.second = user
	return nil
}

func (k slack) refresh(s *Server, c *call, is *issue) *Answer {
	if !k.rotation {
		return refusal(http.StatusBadRequest, "invalid_grant", "token rotation is not enabled")
	}
	return s.refreshToken(c, is)
}

func (k slack) answer(_ *Server, _ *call, is *issue, v map[string]any) {
	user := map[string]any{"id": is.grant.subject}
	k.token(is, v)
	switch {
	case is.grant.part == "user": // a refresh
	case len(is.scopes) == 0:
		for _, name := range []string{"access_token", "token_type", "scope", "refresh_token", "expires_in"} {
			delete(v, name)
		}
	default:
		v["bot_user_id"] = slackBot
	}
	if is.second != nil {
		k.token(is.second, user)
	}
	v["ok"] = true
	v["app_id"] = slackAppID
	v["team"] = map[string]any{"id": slackTeam, "name": "Acme"}
	v["enterprise"] = nil
	v["is_enterprise_install"] = false
	v["authed_user"] = user
}

// token writes a token into an object.
func (k slack) token(is *issue, v map[string]any) {
	v["access_token"] = is.access
	v["token_type"] = "bot"
	if is.grant.part == "user" {
		v["token_type"] = "user"
	}
	v["scope"] = strings.Join(is.scopes, ",")
	delete(v, "expires_in")
	if k.rotation {
		v["expires_in"] = seconds(is.lifetime)
		v["refresh_token"] = is.refresh
	}
}

func slackError(code string) *Answer {
	return answer(http.StatusOK, map[string]any{"ok": false, "error": code})
}

func slackRefuse(c *call, r refused) *Answer {
	switch {
	case r.code == "invalid_client" && r.why == whyUnknownClient:
		return slackError("invalid_client_id")
	case r.code == "invalid_client":
		return slackError("bad_client_secret")
	case r.code == "invalid_grant" && r.why == whyRedirect:
		return slackError("bad_redirect_uri")
	case r.code == "invalid_grant" && c.form.Get("grant_type") == "refresh_token":
		return slackError("invalid_refresh_token")
	case r.code == "invalid_grant":
		return slackError("invalid_code")
	case r.code == "unsupported_grant_type":
		return slackError("invalid_grant_type")
	}
	return slackError("invalid_arguments")
}

func slackUnauthorized(_ *call, token string) *Answer {
	if token == "" {
		return slackError("not_authed")
	}
	return slackError("invalid_auth")
}

func slackTest(_ *Server, _ *call, t *issuedAccess) any {
	v := map[string]any{
		"ok": true, "url": "https://acme.slack.com/", "team": "Acme", "team_id": slackTeam, "is_enterprise_install": false,
	}
	if t.grant.part == "user" {
		v["user"], v["user_id"] = t.grant.subject, t.grant.subject
	} else {
		v["user"], v["user_id"], v["bot_id"] = "bot", slackBot, "B0BOT"
	}
	return v
}

// slackRevoke ends the token that the request comes with.
func slackRevoke(s *Server, c *call) *Answer {
	token := bearerToken(c.r)
	if token == "" || !s.Revoke(token) {
		return slackUnauthorized(c, token)
	}
	return answer(http.StatusOK, map[string]any{"ok": true, "revoked": true})
}
