package providertest

import (
	"time"

	"github.com/authprofile/authprofile/internal/catalog/recorded"
)

// Google makes a Server in memory that stands at the addresses of Google
// Identity, and has its habits: a refresh token only for access_type=offline,
// and after the first consent only with prompt=consent; it is not replaced;
// revoking any token ends the grant, and revoking another one of that grant
// afterwards is refused. It is Provider("google").
func Google() Option { return Provider("google") }

// fakeGoogle plays Google Identity. With the switch "testing" the consent screen
// of the application is in testing, so that what is granted ends after a week.
func fakeGoogle(_ []string, on func(string) bool) (*fake, error) {
	document, err := parseDocument(recorded.Document("google"))
	policy := Policy{Rotation: RotateNever, Offline: OfflineAccess, RevokeEndsGrant: true, RevokeRefusesEnded: true}
	if on("testing") {
		policy.GrantLifetime = 7 * 24 * time.Hour
	}
	return &fake{
		api:       "https://www.googleapis.com",
		discovery: "https://accounts.google.com/.well-known/openid-configuration",
		document:  document,
		policy:    policy,

		openRevocation: true,
		grants: map[string]grant{
			"authorization_code": googleCode,
			"refresh_token":      (*Server).refreshToken,
		},
		answer: func(_ *Server, _ *call, is *issue, v map[string]any) {
			if !is.ends.IsZero() {
				v["refresh_token_expires_in"] = seconds(is.ends.Sub(is.at))
			}
		},
	}, err
}

// googleCode exchanges a code. A user has at most a hundred refresh tokens of an
// application.
func googleCode(s *Server, c *call, is *issue) *Answer {
	if a := s.authorizationCode(c, is); a != nil {
		return a
	}
	if is.refresh != "" {
		s.keepNewest(is.grant, 100, nil)
	}
	return nil
}
