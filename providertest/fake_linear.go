package providertest

import (
	"encoding/json"
	"net/http"
	"strings"
	"time"
)

// fakeLinear plays Linear.
func fakeLinear([]string, func(string) bool) (*fake, error) {
	return &fake{
		document: map[string]any{
			"authorization_endpoint": "https://linear.app/oauth/authorize",
			"token_endpoint":         "https://api.linear.app/oauth/token",
			"revocation_endpoint":    "https://api.linear.app/oauth/revoke",
		},
		api:    "https://api.linear.app",
		routes: []route{apiRoute("POST https://api.linear.app/graphql", linearQuery)},
		policy: Policy{
			Rotation:           RotateReplay,
			Grace:              30 * time.Minute,
			Offline:            OfflineAlways,
			TokenLifetime:      86399 * time.Second,
			RevokeRefusesEnded: true,
		},
		openRevocation: true,
		separator:      ",",
		unauthorized: func(*call, string) *Answer {
			return linearError(http.StatusUnauthorized, "Authentication required, not authenticated", "AUTHENTICATION_ERROR")
		},
	}, nil
}

func linearError(status int, message, code string) *Answer {
	return answer(status, map[string]any{"errors": []any{
		map[string]any{"message": message, "extensions": map[string]any{"code": code}},
	}})
}

// linearQuery answers the GraphQL queries that say whose token it is.
func linearQuery(_ *Server, c *call, t *issuedAccess) any {
	var body struct {
		Query string `json:"query"`
	}
	if !c.hasType("application/json") || json.Unmarshal(c.body, &body) != nil || body.Query == "" {
		return linearError(http.StatusBadRequest, "GraphQL operations must contain a non-empty query.", "INPUT_ERROR")
	}
	data := map[string]any{}
	if strings.Contains(body.Query, "viewer") {
		data["viewer"] = map[string]any{"id": t.subject(), "name": t.subject(), "email": t.subject() + "@example.com"}
	}
	if strings.Contains(body.Query, "organization") {
		data["organization"] = map[string]any{"id": "acme", "name": "Acme", "urlKey": "acme"}
	}
	return map[string]any{"data": data}
}
