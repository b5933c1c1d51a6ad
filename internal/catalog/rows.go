package catalog

import (
	"net/url"
	"time"

	"github.com/authprofile/authprofile/internal/issuer"
)

const day = 24 * time.Hour

var rows = []Row{
	{
		Name:          "google",
		discovery:     "https://{host}/.well-known/openid-configuration",
		hosts:         []string{"accounts.google.com"},
		endpoints:     []string{".google.com", ".googleapis.com"},
		IssuerAliases: []string{"accounts.google.com"},
		Params:        url.Values{"access_type": {"offline"}, "prompt": {"consent"}},
		AuthMethod:    "client_secret_post",
		IdleLife:      183 * day, // six months
	},
	{
		Name:      "microsoft",
		discovery: "https://{host}/{tenant}/v2.0/.well-known/openid-configuration",
		hosts:     []string{"login.microsoftonline.com", "login.microsoftonline.us", "login.partner.microsoftonline.cn"},
		endpoints: []string{"{host}"},
		issuer:    "https://{host}/{id}/v2.0",
		tenantIDs: map[string]string{
			"common":        issuer.EachTenant,
			"organizations": issuer.EachTenant,
			"consumers":     "9188040d-6c67-4c5b-b112-36a304b66dad",
		},
		Scopes:         []string{"offline_access"},
		AuthMethod:     "client_secret_post",
		ScopeOnRefresh: true,
		IdleLife:       90 * day,
	},
}
