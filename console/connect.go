package console

import (
	"errors"
	"net/http"

	"github.com/authprofile/authprofile"
)

// connect sends the browser to the provider of a profile, so that the person connects
// an account of their own.
func (h *Handler) connect(c *call) {
	id := c.form.Get("profile")
	if h.Redirect == nil {
		c.problem(http.StatusNotFound, "Accounts cannot be connected here", "The service is not set up for it.")
		return
	}
	p, err := h.Manager.Profile(c.r.Context(), id)
	if err != nil {
		c.fail(err)
		return
	}
	if p.Type != authprofile.TypeUser {
		c.problem(http.StatusBadRequest, "There is no account to connect", "This profile acts for the application itself, so no user logs in at the provider.")
		return
	}
	user := h.ownUser(c.r)
	if user == "" {
		c.problem(http.StatusForbidden, "You are not logged in as a user", "The account would belong to a user of the service, and you are not logged in as one. Log in to the service and try again.")
		return
	}
	// A button of a grant's page says whose grant that is: the person may have logged
	// in as another user since the page was opened.
	if shown := c.form.Get("user"); shown != "" && shown != user {
		c.problem(http.StatusConflict, "You are now logged in as another user", "The button was for the user you were logged in as when you opened the page. Nothing was changed. Reload the page.")
		return
	}
	// Only the form's own field is set: what the browser says of a page to come back
	// to does not count.
	c.r.Form.Del("return_to")
	if page := c.asSeen(address("grant", "profile", id, "user", user)); page != "" {
		c.r.Form.Set("return_to", page)
	}
	var failed error
	begin := &authprofile.RedirectHandler{
		Manager: h.Redirect.Manager, Options: h.Redirect.Options,
		User: func(*http.Request) (string, error) { return user, nil },
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			failed = err
			if h.Redirect.ErrorHandler != nil {
				h.Redirect.ErrorHandler(w, r, err)
				return
			}
			c.notBegun(err)
		},
	}
	begin.Begin(c.w, c.r, p)
	c.audit(c.action, authprofile.GrantKey{ProfileID: id, User: user}, failed)
}

// notBegun says why the browser was not sent to the provider.
func (c *call) notBegun(err error) {
	if errors.Is(err, authprofile.ErrConfiguration) {
		c.problem(http.StatusBadGateway, "The profile has to be corrected first", "It does not fit its provider. Open the profile and use Test. The reason: "+err.Error())
		return
	}
	c.fail(err)
}

// ownUser returns the user of the service that the person is, or nothing if that is
// not known.
func (h *Handler) ownUser(r *http.Request) string {
	if h.Redirect == nil {
		return ""
	}
	user, err := h.Redirect.User(r)
	if err != nil {
		return ""
	}
	return user
}
