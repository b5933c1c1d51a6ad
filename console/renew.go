package console

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/authprofile/authprofile"
)

// renewTime is what one renewal may take: the 30 seconds of a token request, and some
// for the Store. A renewal that takes longer goes on without the page.
const renewTime = 35 * time.Second

// An outcome is what has become of an action on one grant.
type outcome struct {
	Done bool
	Gone bool   // the grant is not there any more
	Text string // a sentence or more
	err  error  // for the log
}

func (h *Handler) renew(c *call) {
	key, ok := c.readKey(c.form)
	if !ok {
		return
	}
	ctx, cancel := c.within(renewTime)
	defer cancel()
	o := h.renewGrant(ctx, key)
	c.audit(c.action, key, o.err)
	if o.Done {
		c.redirect("grant", "profile", key.ProfileID, "user", key.User, "done", "renewed")
		return
	}
	h.grantPage(c, http.StatusConflict, key, o.Text)
}

var (
	errNotRenewed = errors.New("not renewed")
	errNoProfile  = errors.New("the profile is deleted")
)

// renewGrant renews a grant, whether its token has ended or not.
func (h *Handler) renewGrant(ctx context.Context, key authprofile.GrantKey) outcome {
	before, err := h.Manager.Grant(ctx, key)
	if err != nil {
		return outcome{Text: notRead(err), err: err}
	}
	if why := whyNotRenewed(before); why != "" {
		return outcome{Text: why, err: errNotRenewed}
	}
	p, err := h.Manager.Profile(ctx, key.ProfileID)
	switch {
	case errors.Is(err, authprofile.ErrNotFound):
		return outcome{Text: "It was not renewed, because its profile was deleted.", err: errNoProfile}
	case err != nil:
		return outcome{Text: "It was not renewed, because the profile cannot be read now. Try again in a moment.", err: err}
	}
	// This process may have an older token in memory than the Store, which it gives in
	// place of the rejected one. Then that one is rejected, too.
	rejected := before.Token()
	for range 3 {
		var opts []authprofile.Option
		if p.Type == authprofile.TypeUser {
			opts = append(opts, authprofile.AsUser(key.User))
		}
		if rejected.AccessToken != "" {
			opts = append(opts, authprofile.Rejected(rejected))
		}
		tok, err := h.Manager.Token(ctx, p, opts...)
		after, failed := h.Manager.Grant(ctx, key)
		switch {
		case err != nil && failed != nil:
			return outcome{Text: "It was not renewed. " + notRead(failed), err: err}
		case err != nil:
			return outcome{Text: notRenewed(after, err, time.Now()), err: err}
		case failed != nil:
			return outcome{Text: "It is not known whether it was renewed. " + notRead(failed), err: failed}
		case after.AccessToken != before.AccessToken:
			return outcome{Done: true, Text: "It was renewed."}
		}
		rejected = tok
	}
	return outcome{Text: "It was not renewed: the provider returned the same token.", err: errNotRenewed}
}

// notRead says why a grant could not be read.
func notRead(err error) string {
	if _, damaged := damagedRecord(err); damaged {
		return "Its record cannot be read."
	}
	if errors.Is(err, authprofile.ErrNotFound) {
		return "It no longer exists: it was revoked, or deleted with its profile."
	}
	return "It cannot be read now. Try again in a moment."
}

// notRenewed says why a grant was not renewed, of which this is what is stored now.
func notRenewed(g *authprofile.Grant, err error, now time.Time) string {
	s := stateOf(g, now)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return "There is no answer yet, but the renewal continues. Reload the page in a moment."
	case g.Status != authprofile.StatusActive && s.Why != "":
		return "It was not renewed. " + s.Why + " " + s.Next
	case g.Status != authprofile.StatusActive:
		return "It was not renewed. " + s.Next
	case !g.Obtained.IsZero() && now.Sub(g.Obtained) < 10*time.Minute:
		return "It was not renewed, because it was renewed a moment ago. Try again in a few minutes."
	case errors.Is(err, authprofile.ErrReauthorize):
		return "It was not renewed. Only the user can get a new token, by connecting the account again."
	}
	return "It was not renewed, and the grant is unchanged. Try again in a few minutes. If that does not help, use Test on its profile."
}
