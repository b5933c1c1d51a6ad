package console

import (
	"net/url"

	"github.com/authprofile/authprofile"
)

func (h *Handler) grantRoutes() map[string]route { return nil }

// allowConnect lets a form of the page lead to the profile's provider.
func (c *call) allowConnect(p *authprofile.Profile) {
	c.formAction = append(c.formAction, "https:")
	for _, s := range []string{p.Endpoints.AuthURL, p.Endpoints.DiscoveryURL} {
		if u, err := url.Parse(s); err == nil && u.Scheme == "http" { // loopback: nothing else is valid
			c.formAction = append(c.formAction, "http://"+u.Host)
		}
	}
}
