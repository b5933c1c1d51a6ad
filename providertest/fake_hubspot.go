package providertest

import (
	"net/http"
	"path"
	"slices"
	"strings"
	"time"
)

// hubspotAccount is the account that all users belong to.
const hubspotAccount = 62515

// fakeHubSpot plays HubSpot. With the switch "v1" it is at the addresses that
// end in February 2027, which have errors and a revocation of their own.
func fakeHubSpot(_ []string, on func(string) bool) (*fake, error) {
	h := hubspot{v1: on("v1")}
	const api = "https://api.hubapi.com"
	f := &fake{
		document: map[string]any{
			"authorization_endpoint": "https://app.hubspot.com/oauth/authorize",
			"token_endpoint":         api + "/oauth/2026-03/token",
			"revocation_endpoint":    api + "/oauth/2026-03/token/revoke",
		},
		api: api,
		routes: []route{
			apiRoute("GET "+api+"/account-info/v3/details", func(*Server, *call, *issuedAccess) any {
				return map[string]any{"portalId": hubspotAccount, "accountType": "STANDARD"}
			}),
		},
		policy:      Policy{Rotation: RotateNever, Offline: OfflineAlways, TokenLifetime: 30 * time.Minute},
		authMethods: []string{"client_secret_post"},
		grants: map[string]grant{
			"authorization_code": hubspotCode,
			"refresh_token":      (*Server).refreshToken,
			"client_credentials": (*Server).clientCredentials,
		},
		answer: h.answer,
		unauthorized: func(*call, string) *Answer {
			return answer(http.StatusUnauthorized, map[string]any{
				"status": "error", "category": "INVALID_AUTHENTICATION", "message": "Authentication credentials not found.", "correlationId": hubspotCorrelation,
			})
		},
	}
	if !h.v1 {
		f.routes = append(f.routes, route{"POST " + api + "/oauth/2026-03/token/introspect", Introspection, hubspotIntrospect})
	} else {
		f.document["token_endpoint"] = api + "/oauth/v1/token"
		delete(f.document, "revocation_endpoint")
		delete(f.grants, "client_credentials")
		f.refuse = hubspotRefuse
		f.routes = append(f.routes,
			route{"GET " + api + "/oauth/v1/access-tokens/*", Introspection, hubspotTokenInfo},
			route{"DELETE " + api + "/oauth/v1/refresh-tokens/*", Revocation, hubspotRevoke},
		)
	}
	return f, nil
}

type hubspot struct{ v1 bool }

// hubspotCorrelation names a request for their support.
const hubspotCorrelation = "9c6a7b8e-2f6d-4f0a-8b1c-3d5e7f901234"

// hubspotCode exchanges a code. What was asked for in optional_scope is granted
// as well, unless the person has chosen.
func hubspotCode(s *Server, c *call, is *issue) *Answer {
	if a := s.authorizationCode(c, is); a != nil {
		return a
	}
	if g := is.grant; slices.Equal(g.scopes, s.fake.split(g.asked.Get("scope"))) {
		g.scopes = slices.Concat(g.scopes, s.fake.split(g.asked.Get("optional_scope")))
		is.scopes = g.scopes
	}
	return nil
}

func (h hubspot) answer(_ *Server, c *call, is *issue, v map[string]any) {
	v["token_type"] = "bearer"
	v["hub_id"] = hubspotAccount
	delete(v, "scope")
	if !h.v1 {
		v["scopes"] = is.scopes
	}
	if is.grant != nil && is.refresh == "" {
		v["refresh_token"] = c.form.Get("refresh_token")
	}
}

// hubspotRefuse puts errors in the form of version 1.
func hubspotRefuse(c *call, r refused) *Answer {
	status := strings.ToUpper(r.code)
	switch {
	case r.code == "invalid_client":
		status = "BAD_CLIENT_ID"
		if r.why != whyUnknownClient {
			status = "BAD_CLIENT_SECRET"
		}
	case r.code == "invalid_grant" && r.why == whyRedirect:
		status = "MISMATCH_REDIRECT_URI_AUTH_CODE"
	case r.code == "invalid_grant" && c.form.Get("grant_type") == "refresh_token":
		status = "BAD_REFRESH_TOKEN"
	case r.code == "invalid_grant":
		status = "BAD_AUTH_CODE"
	}
	return hubspotError(http.StatusBadRequest, status, r.why)
}

func hubspotError(status int, code, message string) *Answer {
	return answer(status, map[string]any{
		"status": code, "message": message, "correlationId": hubspotCorrelation, "category": code,
	})
}

// hubspotIntrospect tells about a token (RFC 7662), if the client authenticates
// itself in the form.
func hubspotIntrospect(s *Server, c *call) *Answer {
	s.mu.Lock()
	client, refused := s.authenticate(readCredentials(c.r, c.form))
	s.mu.Unlock()
	if refused != nil {
		return refused
	}
	v := hubspotToken(s, c.form.Get("token"), client.ID)
	v["active"] = len(v) > 0
	return s.object(Introspection, v)
}

// hubspotTokenInfo is what version 1 has in its place.
func hubspotTokenInfo(s *Server, c *call) *Answer {
	v := hubspotToken(s, path.Base(c.r.URL.Path), "")
	if len(v) == 0 {
		return hubspotError(http.StatusNotFound, "NOT_FOUND", "no such token")
	}
	return s.object(Introspection, v)
}

// hubspotToken returns what is known of an access token of a client, or of any
// if that is "".
func hubspotToken(s *Server, token, client string) map[string]any {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, ok := s.state.access[token]
	if !ok || !t.valid(s.now()) || client != "" && t.client != client {
		return map[string]any{}
	}
	return map[string]any{
		"token": token, "token_type": "access", "client_id": t.client, "scopes": t.scopes,
		"expires_in": seconds(t.expires.Sub(s.now())), "hub_id": hubspotAccount, "hub_domain": "acme.hubspot.com",
		"user_id": numberOf(t.subject()), "user": t.subject(),
	}
}

// hubspotRevoke deletes a refresh token, which the address has, as version 1
// does it.
func hubspotRevoke(s *Server, c *call) *Answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, ok := s.state.refresh[path.Base(c.r.URL.Path)]
	if !ok || r.ended(s.now()) {
		return hubspotError(http.StatusNotFound, "BAD_REFRESH_TOKEN", "no such refresh token")
	}
	r.grant.dead = true
	return &Answer{Status: http.StatusNoContent}
}
