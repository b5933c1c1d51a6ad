// Package console is a web console for the profiles and grants of a
// [authprofile.Manager]: a page for those who run a service, and one for the people
// who connect their accounts to it. It is part of the service, at any prefix:
//
//	h := &console.Handler{Manager: m, Operator: operator}
//	if err := h.Validate(); err != nil {
//		log.Fatal(err)
//	}
//	http.Handle("/auth/", http.StripPrefix("/auth", h))
//
//	c := &console.Connections{Redirect: redirect, Profiles: []string{"calendar"}}
//	http.Handle("/connections/", http.StripPrefix("/connections", c))
//
// The function operator looks at the service's own session, and says who is there:
//
//	func operator(r *http.Request) (string, error)
//
// [Handler] shows the profiles and lets an operator edit and test them, shows
// grants, renews and revokes them, and says what needs a person. [Connections] is for
// an end user: what is connected, as whom, and since when, with buttons to connect,
// reconnect and disconnect.
//
// # What the pages need
//
// Nothing comes from another origin, and everything works without JavaScript. All
// links are relative to the prefix, so that the pages work behind a proxy that strips
// it too, as long as the proxy sends a browser from the prefix without its final slash
// to the one with it. Pages work in light and dark, by keyboard, and on small screens.
//
// # What is safe
//
// No page, header, address or log record has a secret, a token, a code or a state in
// it, but for the redirect to the provider with which an authorization begins: that has
// a state and sets a cookie, as [authprofile.RedirectHandler] says. No GET request
// changes anything. What other sites want changed is refused
// (http.CrossOriginProtection), other sites cannot frame the pages, and these run no
// script but their own. They say no-store, and tell other sites nothing about where a person
// comes from.
//
// How long a request may take is up to the http.Server: set its ReadHeaderTimeout.
//
// # Its look
//
// The service can put its own look on the pages, by the files of an [fs.FS]. Those
// that end in ".css" come after the style of the pages. Most looks need nothing but
// the variables, which are:
//
//	--ap-background  --ap-surface  --ap-text  --ap-muted  --ap-border
//	--ap-accent      --ap-on-accent          of links, and of the main button
//	--ap-good        --ap-warn     --ap-bad  of states
//	--ap-font        --ap-mono     --ap-radius  --ap-width
//
// Set them for :root, and within @media (prefers-color-scheme: dark) once more. Files
// that end in ".html" are read as package html/template does, and may define these
// templates, which are empty or plain:
//
//	title   the title of the window; if not defined, {{.Title}} and a few words
//	head    more for the head of each page, such as an icon
//	brand   what stands at the top left
//	footer  what stands at the bottom
//
// Whatever else they define needs a name that no template of the pages has; Validate
// tells.
// They are given the page's view: {{.Title}}, and {{.Person}}, the operator who is
// there, which is empty on the pages of Connections.
package console

import (
	"errors"
	"io/fs"
	"log/slog"
	"maps"
	"net/http"
	"sync"

	"github.com/authprofile/authprofile"
)

// A Handler serves the console to operators.
//
// Its fields must not change after the first request.
type Handler struct {
	// Manager is required.
	Manager *authprofile.Manager

	// Operator says who is there, from the service's own session, in a name for
	// people and for the log. It is required. An error, or an empty name, is
	// answered with 403: every operator may see and do all that the Handler does.
	Operator func(*http.Request) (string, error)

	// ReadOnly shows everything, and changes and tests nothing.
	ReadOnly bool

	// Logger gets a record for each change: who has done what, with which profile,
	// and how it has ended. If nil, nothing is logged. Users are not in it, unless
	// LogUsers says so.
	Logger   *slog.Logger
	LogUsers bool

	// Redirect lets operators connect accounts of their own, as the user that its
	// User function returns. If nil, there is no button for that.
	Redirect *authprofile.RedirectHandler

	// ConnectionsURL is where [Connections] is, as a browser sees it:
	// "https://app.example.com/connections/". It is for links to send to users whose
	// grant needs them. Such a link says which profile is meant. It holds no secret,
	// and allows nothing: those who follow it are asked who they are by the service.
	// If empty, there are no such links.
	ConnectionsURL string

	// Templates have the service's own look; see the package. If nil, there is none.
	Templates fs.FS

	setUp  sync.Once
	look   *look
	routes map[string]route
	survey *survey
	broken error // why nothing can be shown
}

// Validate says what is missing, or why Templates cannot be used. A Handler with such
// a problem answers all requests with 500.
func (h *Handler) Validate() error {
	h.setUp.Do(func() {
		var own error
		h.look, own = newLook(h.Templates)
		h.broken = errors.Join(missing(h.Manager == nil, "Handler.Manager"), missing(h.Operator == nil, "Handler.Operator"),
			missing(h.Redirect != nil && h.Redirect.Manager == nil, "Handler.Redirect.Manager"),
			missing(h.Redirect != nil && h.Redirect.User == nil, "Handler.Redirect.User"), own)
		if h.Logger == nil {
			h.Logger = slog.New(slog.DiscardHandler)
		}
		h.survey = newSurvey(h.Manager, h.Logger)
		h.routes = make(map[string]route)
		for _, part := range []map[string]route{h.overviewRoutes(), h.profileRoutes(), h.grantRoutes(), h.providerRoutes()} {
			maps.Copy(h.routes, part)
		}
	})
	return h.broken
}

func missing(isMissing bool, name string) error {
	if !isMissing {
		return nil
	}
	return errors.New("console: " + name + " is required")
}

// ServeHTTP serves the pages.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if err := h.Validate(); err != nil {
		refuseAll(w, h.Logger, err)
		return
	}
	serve(w, r, &site{
		look: h.look, logger: h.Logger, logUsers: h.LogUsers, readOnly: h.ReadOnly,
		navigation: []link{{"", "Overview"}, {"attention", "Needs attention"}, {"profiles", "Profiles"}, {"grants", "Grants"}, {"providers", "Providers"}},
		person:     h.Operator,
		routes:     h.routes,
		changed:    h.survey.stale,
	})
}
