package providertest

import (
	"strings"

	"github.com/authprofile/authprofile/internal/catalog/recorded"
)

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
func Microsoft(tenant string) Option { return Provider("microsoft/" + tenant) }

func fakeMicrosoft(values []string, _ func(string) bool) (*fake, error) {
	host, tenant := "login.microsoftonline.com", values[0]
	if h, rest, ok := strings.Cut(tenant, "/"); ok {
		host, tenant = h, rest
	}
	base := "https://" + host + "/" + tenant
	tid, issuer := someTenant, ""
	switch {
	case tenant == "common" || tenant == "organizations":
		issuer = "{tenantid}"
	case tenant == "consumers":
		tid = consumersTenant
	case len(tenant) == 36 && strings.Count(tenant, "-") == 4:
		tid = tenant
	}
	if issuer == "" {
		issuer = tid
	}

	text := strings.ReplaceAll(recorded.Document("microsoft-common"), "https://login.microsoftonline.com/common/", base+"/")
	document, err := parseDocument(text)
	if err != nil {
		return nil, err
	}
	document["issuer"] = "https://" + host + "/" + issuer + "/v2.0"
	return &fake{
		discovery: base + "/v2.0/.well-known/openid-configuration",
		document:  document,
		tid:       tid,
		policy:    Policy{Rotation: RotateKeep, NarrowOnRefresh: true},
	}, nil
}
