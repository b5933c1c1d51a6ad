package providertest

import (
	"encoding/json"
	"strings"

	"github.com/authprofile/authprofile/internal/catalog/recorded"
)

// Google makes a Server in memory that stands at the addresses of Google
// Identity, and has its habits: a refresh token only for access_type=offline,
// and after the first consent only with prompt=consent; it is not replaced;
// revoking any token ends the grant, and revoking another one of that grant
// afterwards is refused.
func Google() Option {
	return option(func(s *Server) error {
		s.policy = Policy{Rotation: RotateNever, Offline: OfflineAccess, RevokeEndsGrant: true, RevokeRefusesEnded: true}
		return WithDiscovery("https://accounts.google.com/.well-known/openid-configuration", recorded.Document("google")).apply(s)
	})
}

// What a tenant's ID is, where its name is not one.
const (
	consumersTenant = "9188040d-6c67-4c5b-b112-36a304b66dad"
	someTenant      = "5d7a1e52-8c1f-4f0e-9d5b-3d0c0e6b2a44"
)

// Microsoft makes a Server in memory that stands at the addresses of a tenant
// of the Microsoft identity platform, version 2.0, and has its habits: a
// refresh token only with the scope offline_access; it is replaced at each
// use, and the old one goes on working; a refresh without a scope narrows it;
// there is no revocation.
//
// The tenant is "common", "organizations", "consumers", a GUID or a domain;
// before it may stand the host of a national cloud, as in
// "login.microsoftonline.us/contoso.com".
func Microsoft(tenant string) Option {
	return option(func(s *Server) error {
		host := "login.microsoftonline.com"
		if h, rest, ok := strings.Cut(tenant, "/"); ok {
			host, tenant = h, rest
		}
		base := "https://" + host + "/" + tenant
		issuer := ""
		switch {
		case tenant == "common" || tenant == "organizations":
			s.tid, issuer = someTenant, "{tenantid}"
		case tenant == "consumers":
			s.tid = consumersTenant
		case len(tenant) == 36 && strings.Count(tenant, "-") == 4:
			s.tid = tenant
		default:
			s.tid = someTenant
		}
		if issuer == "" {
			issuer = s.tid
		}

		document := strings.ReplaceAll(recorded.Document("microsoft-common"), "https://login.microsoftonline.com/common/", base+"/")
		text, err := json.Marshal("https://" + host + "/" + issuer + "/v2.0")
		if err != nil {
			return err
		}
		document = strings.ReplaceAll(document, `"https://login.microsoftonline.com/{tenantid}/v2.0"`, string(text))

		s.policy = Policy{Rotation: RotateKeep, NarrowOnRefresh: true}
		return WithDiscovery(base+"/v2.0/.well-known/openid-configuration", document).apply(s)
	})
}
