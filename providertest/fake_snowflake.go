package providertest

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// fakeSnowflake plays an account of Snowflake. With the switch "single-use" a
// refresh token is replaced.
func fakeSnowflake(values []string, on func(string) bool) (*fake, error) {
	base := "https://" + values[0]
	api := base + "/api/v2"
	policy := Policy{Rotation: RotateNever, TokenLifetime: 10 * time.Minute, GrantLifetime: 90 * 24 * time.Hour}
	if on("single-use") {
		policy.Rotation = RotateRefuse
	}
	return &fake{
		document: map[string]any{
			"authorization_endpoint": base + "/oauth/authorize",
			"token_endpoint":         base + "/oauth/token-request",
		},
		api:         api,
		routes:      []route{apiRoute("POST "+api+"/statements", snowflakeStatement)},
		policy:      policy,
		authMethods: []string{"client_secret_basic"},
		grants:      codeAndRefresh(),
		offline:     func(_ url.Values, scopes []string) bool { return slices.Contains(scopes, "refresh_token") },
		answer: func(_ *Server, _ *call, is *issue, v map[string]any) {
			v["username"] = is.grant.subject
		},
		refuse: func(_ *call, r refused) *Answer {
			return answer(r.status, map[string]any{
				"data": nil, "error": r.code, "code": nil, "message": r.why, "success": false,
			})
		},
		apiDemand: func(_ *Server, c *call, _ *issuedAccess) *Answer {
			if kind := c.r.Header.Get("X-Snowflake-Authorization-Token-Type"); kind != "" && kind != "OAUTH" {
				return snowflakeError(http.StatusUnauthorized, "390144", "JWT token is invalid.")
			}
			return nil
		},
		unauthorized: func(*call, string) *Answer {
			return snowflakeError(http.StatusUnauthorized, "390303", "Invalid OAuth access token.")
		},
	}, nil
}

func snowflakeError(status int, code, message string) *Answer {
	return answer(status, map[string]any{"code": code, "message": message})
}

// snowflakeStatement runs the SQL statement that says whose token it is.
func snowflakeStatement(_ *Server, c *call, t *issuedAccess) any {
	var body struct {
		Statement string `json:"statement"`
	}
	if !c.hasType("application/json") || json.Unmarshal(c.body, &body) != nil {
		return snowflakeError(http.StatusBadRequest, "391902", "The request body is not valid JSON.")
	}
	if !strings.Contains(strings.ToLower(body.Statement), "current_user()") {
		return snowflakeError(http.StatusUnprocessableEntity, "000904", "SQL compilation error")
	}
	return map[string]any{
		"code": "090001", "message": "Statement executed successfully.",
		"resultSetMetaData": map[string]any{"numRows": 1}, "data": []any{[]any{t.subject()}},
	}
}
