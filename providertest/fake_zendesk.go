package providertest

import (
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// fakeZendesk plays the account at a subdomain. Tokens expire only if the token
// request asks for that, or with the switch "expiring" also if it does not, as
// for clients that were registered after April 2026.
func fakeZendesk(values []string, on func(string) bool) (*fake, error) {
	z := zendesk{expiring: on("expiring")}
	base := "https://" + values[0] + ".zendesk.com"
	api := base + "/api/v2"
	return &fake{
		document: map[string]any{
			"authorization_endpoint": base + "/oauth/authorizations/new",
			"token_endpoint":         base + "/oauth/tokens",
		},
		api: api,
		routes: []route{
			{"GET " + api + "/users/me.json", API, zendeskUser},
			{"DELETE " + api + "/oauth/tokens/current.json", Revocation, zendeskRevoke},
		},
		policy: Policy{
			Rotation:           RotateRefuse,
			EndAccessOnRefresh: true,
			TokenLifetime:      30 * time.Minute,
			RefreshLifetime:    30 * 24 * time.Hour,
		},
		authMethods: []string{"client_secret_post"},
		body:        anyBody,
		grants: map[string]grant{
			"authorization_code": z.timed(zendeskCode),
			"refresh_token":      z.timed((*Server).refreshToken),
			"client_credentials": z.timed((*Server).clientCredentials),
		},
		offline: func(url.Values, []string) bool { return false }, // the token request decides
		answer: func(_ *Server, _ *call, is *issue, v map[string]any) {
			v["token_type"] = "bearer"
			if is.lifetime == forever {
				delete(v, "expires_in")
			}
			if is.refresh != "" {
				v["refresh_token_expires_in"] = seconds(is.ends.Sub(is.at))
			}
		},
	}, nil
}

type zendesk struct{ expiring bool }

// timed makes a grant whose request says how long its tokens live.
func (z zendesk) timed(decide grant) grant {
	return func(s *Server, c *call, is *issue) *Answer {
		access, a := zendeskSeconds(c, "expires_in", 5*time.Minute, 2*24*time.Hour)
		if a != nil {
			return a
		}
		refresh, a := zendeskSeconds(c, "refresh_token_expires_in", 7*24*time.Hour, 90*24*time.Hour)
		if a != nil {
			return a
		}
		switch {
		case access > 0:
			is.lifetime = access
		case !z.expiring:
			is.lifetime = forever
		}
		if a := decide(s, c, is); a != nil {
			return a
		}
		if r, ok := s.state.refresh[is.refresh]; ok && refresh > 0 {
			r.expires = is.at.Add(refresh)
			is.ends = r.expires
		}
		return nil
	}
}

// zendeskSeconds reads a lifetime in a token request; zero is none.
func zendeskSeconds(c *call, name string, least, most time.Duration) (time.Duration, *Answer) {
	if !c.form.Has(name) {
		return 0, nil
	}
	n, err := strconv.Atoi(c.form.Get(name))
	if d := time.Duration(n) * time.Second; err == nil && least <= d && d <= most {
		return d, nil
	}
	return 0, refusal(http.StatusBadRequest, "invalid_request", name+" is out of range")
}

// zendeskCode exchanges a code. A refresh token comes only with an access token
// that expires.
func zendeskCode(s *Server, c *call, is *issue) *Answer {
	if a := s.authorizationCode(c, is); a != nil {
		return a
	}
	if is.lifetime != forever {
		s.issueRefresh(is)
	}
	return nil
}

// zendeskUser says whose token it is. A request without a valid one comes from
// an anonymous user, and is no error.
func zendeskUser(s *Server, c *call) *Answer {
	user := map[string]any{"id": nil, "name": "Anonymous user", "email": "invalid@example.com"}
	if t, refused := s.authorized(c); refused == nil {
		user = map[string]any{"id": numberOf(t.subject()), "name": t.subject(), "email": t.subject() + "@example.com"}
	}
	return s.object(API, map[string]any{"user": user})
}

// zendeskRevoke deletes the token that the request comes with, and the refresh
// token that belongs to it.
func zendeskRevoke(s *Server, c *call) *Answer {
	t, refused := s.authorized(c)
	if refused != nil {
		return refused
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	t.revoked = true
	if t.grant != nil {
		t.grant.dead = true
	}
	return &Answer{Status: http.StatusNoContent}
}
