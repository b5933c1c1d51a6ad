package providertest

import "github.com/authprofile/authprofile/internal/catalog/recorded"

// Google makes a Server in memory that stands at the addresses of Google
// Identity, and has its habits: a refresh token only for access_type=offline,
// and after the first consent only with prompt=consent; it is not replaced;
// revoking any token ends the grant, and revoking another one of that grant
// afterwards is refused.
func Google() Option { return Provider("google") }

func fakeGoogle([]string, func(string) bool) (*fake, error) {
	document, err := parseDocument(recorded.Document("google"))
	return &fake{
		discovery: "https://accounts.google.com/.well-known/openid-configuration",
		document:  document,
		policy:    Policy{Rotation: RotateNever, Offline: OfflineAccess, RevokeEndsGrant: true, RevokeRefusesEnded: true},
	}, err
}
