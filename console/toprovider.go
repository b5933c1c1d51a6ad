package console

import (
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/authprofile/authprofile"
)

// asSeen returns the path of a page of the site as the browser sees it, or nothing if
// that is not known. Behind a proxy that strips a prefix only the browser knows it: it
// says where the form was that it has sent.
func (c *call) asSeen(page string) string {
	from, err := url.Parse(c.r.Referer())
	if err != nil || from.Host == "" || !strings.HasPrefix(from.Path, "/") {
		return ""
	}
	path := from.EscapedPath()
	return path[:strings.LastIndexByte(path, '/')+1] + page
}

// allowConnect lets a Connect button of the page lead to the provider of p, and back.
// Its address may be any that is https, since the discovery document and the provider
// itself decide where the browser goes, and on a loopback host those of the profile and of m.
func (c *call) allowConnect(m *authprofile.Manager, p *authprofile.Profile) {
	sources := []string{"https:"}
	for _, text := range []string{p.Endpoints.AuthURL, m.RedirectAddress(p)} {
		sources = append(sources, loopbackSource(text, false))
	}
	// The document may be on one port, and what it names on others.
	sources = append(sources, loopbackSource(p.Endpoints.DiscoveryURL, true))
	if p.Template != "" && !isBuiltIn(m, p.Template) {
		// The service's own row says where its provider is, which may be a test server.
		sources = append(sources, "http://localhost:*", "http://127.0.0.1:*")
	}
	for _, source := range sources {
		if source != "" {
			c.formAction = append(c.formAction, source)
		}
	}
}

// isBuiltIn reports whether a template names one of the built-in providers, all of
// which are at https addresses, and no row of the service's own that comes before it.
func isBuiltIn(m *authprofile.Manager, t authprofile.Template) bool {
	name, _, _ := strings.Cut(string(t), "/")
	isNamed := func(p authprofile.Provider) bool { return p.Name == name }
	return slices.ContainsFunc(authprofile.Providers(), isNamed) && !slices.ContainsFunc(m.Providers, isNamed)
}

// loopbackSource returns what a Content-Security-Policy has to allow for an http
// address on a loopback host, at its own port or at any, and nothing for others.
// The only IP address that a policy can name is 127.0.0.1 (CSP Level 3, section 6.7.2.8),
// so that others need the whole scheme.
func loopbackSource(text string, anyPort bool) string {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" || u.Hostname() == "" {
		return ""
	}
	host := strings.ToLower(u.Hostname())
	if _, err := netip.ParseAddr(host); err == nil && host != "127.0.0.1" || strings.ContainsAny(host, " ;,'\"*") {
		return "http:"
	}
	port := u.Port()
	if anyPort {
		port = "*"
	}
	if port == "" {
		return "http://" + host
	}
	return "http://" + net.JoinHostPort(host, port)
}
