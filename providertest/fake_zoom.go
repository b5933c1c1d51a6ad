package providertest

import (
	"net/http"
	"time"
)

// fakeZoom plays Zoom, with one account.
func fakeZoom(values []string, _ func(string) bool) (*fake, error) {
	z := zoom{account: values[0]}
	return &fake{
		document: map[string]any{
			"authorization_endpoint": "https://zoom.us/oauth/authorize",
			"token_endpoint":         "https://zoom.us/oauth/token",
			"revocation_endpoint":    "https://zoom.us/oauth/revoke",
		},
		api:         "https://api.zoom.us/v2",
		routes:      []route{apiRoute("GET https://api.zoom.us/v2/users/me", z.user)},
		policy:      Policy{Rotation: RotateRefuse, Offline: OfflineAlways, RefreshLifetime: 90 * 24 * time.Hour},
		authMethods: []string{"client_secret_basic"},
		registered:  []string{"user:read:user", "meeting:read:meeting"},
		grants: map[string]grant{
			"authorization_code":  (*Server).authorizationCode,
			"refresh_token":       (*Server).refreshToken,
			"client_credentials":  (*Server).clientCredentials,
			"account_credentials": z.accountCredentials,
		},
		answer: func(_ *Server, _ *call, _ *issue, v map[string]any) {
			v["token_type"] = "bearer"
			v["api_url"] = "https://api.zoom.us"
		},
		refuse: zoomRefuse,
		unauthorized: func(*call, string) *Answer {
			return answer(http.StatusUnauthorized, map[string]any{"code": 124, "message": "Invalid access token."})
		},
	}, nil
}

type zoom struct{ account string }

// accountCredentials is the grant of an application of one account, without a
// person.
func (z zoom) accountCredentials(s *Server, c *call, is *issue) *Answer {
	if c.form.Get("account_id") != z.account {
		return refusal(http.StatusBadRequest, "invalid_request", "Bad Request")
	}
	return s.clientCredentials(c, is)
}

// zoomRefuse has a reason for people in place of a description.
func zoomRefuse(c *call, r refused) *Answer {
	status := r.status
	if r.code == "invalid_grant" && c.form.Get("grant_type") == "refresh_token" {
		status, r.why = http.StatusUnauthorized, "Invalid Token!"
	}
	return answer(status, map[string]any{"reason": r.why, "error": r.code})
}

func (z zoom) user(_ *Server, _ *call, t *issuedAccess) any {
	who := t.subject()
	return map[string]any{"id": who, "account_id": z.account, "email": who + "@example.com", "display_name": who}
}
