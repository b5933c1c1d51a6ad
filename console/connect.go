package console

import (
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"github.com/authprofile/authprofile"
)

// connect sends the browser to the provider of a profile, so that the person connects
// an account of their own.
func (h *Handler) connect(c *call) {
	id := c.form.Get("profile")
	if h.Redirect == nil {
		c.problem(http.StatusNotFound, "Accounts cannot be connected here", "The service is not set up for that.")
		return
	}
	p, err := h.Manager.Profile(c.r.Context(), id)
	if err != nil {
		c.fail(err)
		return
	}
	if p.Type != authprofile.TypeUser {
		c.problem(http.StatusBadRequest, "There is no account to connect", "This profile acts for the application itself. No person logs in at the provider.")
		return
	}
	user := h.ownUser(c.r)
	if user == "" {
		c.problem(http.StatusForbidden, "It is not known whose account this would be", "The service does not know you as one of its users. Log in to the service itself, and try again.")
		return
	}
	// A button of a grant's page says whose grant that is: the person may have logged
	// in as another user since the page was opened.
	if shown := c.form.Get("user"); shown != "" && shown != user {
		c.problem(http.StatusConflict, "You are another user now", "The button was for the account of the user that you were when you opened the page. Nothing was changed. Open the page again.")
		return
	}
	c.audit("connect", authprofile.GrantKey{ProfileID: id, User: user}, nil)
	// Only the form's own field is set: what the browser says of a page to come back
	// to does not count.
	c.r.Form.Del("return_to")
	if page := c.asSeen(address("grant", "profile", id, "user", user)); page != "" {
		c.r.Form.Set("return_to", page)
	}
	h.Redirect.Begin(c.w, c.r, p)
}

// ownUser returns the user of the service that the person is, or nothing if that is
// not known.
func (h *Handler) ownUser(r *http.Request) string {
	if h.Redirect == nil || h.Redirect.User == nil {
		return ""
	}
	user, err := h.Redirect.User(r)
	if err != nil {
		return ""
	}
	return user
}

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

// allowConnect lets a Connect button of the page lead to the provider of p.
// Its address may be any that is https, since the discovery document and the provider
// itself decide where the browser goes, and on a loopback host those of the profile.
func (c *call) allowConnect(p *authprofile.Profile) {
	sources := []string{"https:"}
	for _, text := range []string{p.Endpoints.AuthURL, p.RedirectURL} {
		sources = append(sources, loopbackSource(text, false))
	}
	// The document may be on one port, and what it names on others.
	sources = append(sources, loopbackSource(p.Endpoints.DiscoveryURL, true))
	if p.Template != "" && !isBuiltIn(p.Template) {
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
// which are at https addresses.
func isBuiltIn(t authprofile.Template) bool {
	name, _, _ := strings.Cut(string(t), "/")
	for _, p := range authprofile.Providers() {
		if p.Name == name {
			return true
		}
	}
	return false
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
