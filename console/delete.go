package console

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/authprofile/authprofile"
)

// countTime is how long a person waits for how many grants there are.
const countTime = 3 * time.Second

// A deletePage asks whether a profile is to be deleted.
type deletePage struct {
	Profile *authprofile.Profile
	Grants  int64
	Known   bool // how many grants there are
}

// askDelete asks before a profile is deleted.
func (e *editor) askDelete(c *call) {
	if c.readOnly {
		c.problem(http.StatusForbidden, "Nothing can be changed here", "This console is read-only.")
		return
	}
	p, err := e.Manager.Profile(c.r.Context(), c.query.Get("id"))
	if err != nil {
		c.fail(err)
		return
	}
	e.showDelete(c, http.StatusOK, p, "")
}

func (e *editor) showDelete(c *call, status int, p *authprofile.Profile, said string) {
	ctx, cancel := context.WithTimeout(c.r.Context(), countTime)
	defer cancel()
	counts, err := e.Manager.Count(ctx, p.ID)
	page := &deletePage{Profile: p, Known: err == nil}
	for _, n := range counts {
		page.Grants += n
	}
	v := c.view("Delete this profile?", page)
	v.Problem = said
	c.show(status, "delete-profile", v)
}

// delete deletes a profile that is as the person has seen it.
func (e *editor) delete(c *call) {
	id := c.form.Get("id")
	version, err := strconv.ParseInt(c.form.Get("version"), 10, 64)
	if err != nil || id == "" {
		c.problem(http.StatusBadRequest, "This form cannot be read", "It was altered on its way. Nothing was deleted. Open the profile again.")
		return
	}
	key := authprofile.GrantKey{ProfileID: id}
	p, err := e.Manager.Profile(c.r.Context(), id)
	switch {
	case errors.Is(err, authprofile.ErrNotFound):
		c.redirect("profiles", "done", "deleted") // it was sent twice, or another person was faster
		return
	case err != nil:
		c.audit(c.action, key, err)
		c.fail(err)
		return
	case p.Version != version:
		c.audit(c.action, key, authprofile.ErrConflict)
		e.showDelete(c, http.StatusConflict, p, "Not deleted, because the profile was changed in the meantime. This is how it is now.")
		return
	}
	err = e.Manager.Delete(c.r.Context(), id)
	c.audit(c.action, key, err)
	if err != nil {
		c.problem(http.StatusServiceUnavailable, "That did not work", "The database has not confirmed that the profile is deleted. It may be deleted all the same, or be as it was: look at the list of profiles in a moment.")
		return
	}
	c.redirect("profiles", "done", "deleted")
}
