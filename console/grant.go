package console

import (
	"errors"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/authprofile/authprofile"
)

// A grantPage is what the page of a grant shows.
type grantPage struct {
	*authprofile.Grant
	Key     authprofile.GrantKey
	State   state
	Profile string // its name, or nothing
	Lacks   string // what is wrong with the profile: a sentence
	Scopes  scopes
	Extra   []string // names
	EndsHow string
	Picture *picture

	Actions bool // there are any
	Renew   bool
	Connect bool
	NoRenew string // why there is no Renew button: a sentence
	Link    string // to send to the user

	Damaged bool // the record cannot be read
}

// A scopes is what was granted, beside what was asked for.
type scopes struct{ Granted, Asked, Missing []string }

func (h *Handler) showGrant(c *call) {
	if key, ok := c.readKey(c.query); ok {
		h.grantPage(c, http.StatusOK, key, "")
	}
}

// grantPage answers with the page of a grant, and what went wrong.
func (h *Handler) grantPage(c *call, status int, key authprofile.GrantKey, problem string) {
	ctx, now := c.r.Context(), time.Now()
	g, err := h.Manager.Grant(ctx, key)
	page := &grantPage{Key: key, Actions: !c.readOnly}
	if _, damaged := damagedRecord(err); damaged {
		page.Damaged = true
	} else if err != nil {
		h.noGrant(c, key, err)
		return
	}
	p, err := h.Manager.Profile(ctx, key.ProfileID)
	switch {
	case errors.Is(err, authprofile.ErrNotFound):
		page.Lacks = "The profile was deleted, so this grant is no longer renewed. Revoke it to remove it."
	case err != nil:
		page.Lacks = "The profile cannot be read now, so not every action is offered. Reload the page in a moment."
	default:
		page.Profile = p.Name
	}
	page.Link = connectionsLink(h.ConnectionsURL, key)
	if p != nil && p.Type == authprofile.TypeUser && page.Actions && key.User != "" && h.ownUser(c.r) == key.User {
		page.Connect = true
		c.allowConnect(h.Redirect.Manager, p)
	}
	if page.Damaged {
		page.NoRenew = "It cannot be renewed, because its record cannot be read."
	} else {
		page.describe(g, now, h.Manager.RenewBefore)
		page.Renew = page.NoRenew == "" && p != nil
	}
	title := "Grant of " + nameOf(key)
	if page.Profile != "" {
		title += " for " + shorten(page.Profile)
	}
	v := c.view(title, page)
	if problem != "" {
		v.Message, v.Problem = "", problem
	}
	c.show(status, "grant", v)
}

// noGrant answers a request for a grant that cannot be shown.
func (h *Handler) noGrant(c *call, key authprofile.GrantKey, err error) {
	if !errors.Is(err, authprofile.ErrNotFound) {
		c.fail(err)
		return
	}
	text := "There is no grant of this user for this profile. It was revoked, deleted with its profile, or never existed."
	if key.User == "" {
		text = "This profile has no grant for the application itself yet. It is created when a program first asks for a token."
	}
	c.problem(http.StatusNotFound, "Not found", text)
}

// nameOf says to people which grant is meant.
func nameOf(key authprofile.GrantKey) string {
	if key.User == "" {
		return "the application itself"
	}
	return key.User
}

// describe sets what the page says of a grant that can be read.
func (page *grantPage) describe(g *authprofile.Grant, now time.Time, renewBefore time.Duration) {
	page.Grant, page.State = g, stateOf(g, now)
	page.Scopes = scopes{Granted: g.Scopes, Asked: g.Requested}
	if len(g.Scopes) > 0 {
		page.Scopes.Missing = slices.DeleteFunc(slices.Clone(g.Requested), func(s string) bool { return slices.Contains(g.Scopes, s) })
	}
	page.Extra = slices.Sorted(maps.Keys(g.Extra))
	page.EndsHow = endsHow[g.EndsBy]
	page.Picture = newPicture(lifeOf(g, now, renewBefore), now)
	page.NoRenew = whyNotRenewed(g)
}

// endsHow says how the end of a grant is known.
var endsHow = map[string]string{
	authprofile.EndsAnnounced: "The provider said so with the refresh token.",
	authprofile.EndsIdle:      "This provider ends grants that go unused for this long. Each renewal moves the end further away.",
	authprofile.EndsAbsolute:  "This provider ends grants this long after consent, whether they are used or not.",
}

// whyNotRenewed says why a grant cannot be renewed without its user, or nothing if it
// may be.
func whyNotRenewed(g *authprofile.Grant) string {
	if g.User == "" {
		return ""
	}
	if f := g.Failure; f != nil && g.Status == authprofile.StatusNeedsReauthorization {
		switch f.Reason {
		case authprofile.ReasonRevoked, authprofile.ReasonInterrupted, authprofile.ReasonExpired:
			return "It cannot be renewed. Only the user can restore it, by connecting the account again."
		}
	}
	if g.RefreshToken == "" {
		return "It cannot be renewed, because the provider gave no refresh token."
	}
	return ""
}

// connectionsLink returns the link to send to the user of a grant: the address of
// Connections, with the profile chosen. It is empty for an application's grant, or if
// the service has not said where Connections is.
func connectionsLink(base string, key authprofile.GrantKey) string {
	u, err := url.Parse(base)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || key.User == "" {
		return ""
	}
	query, err := url.ParseQuery(u.RawQuery)
	switch chosen := (url.Values{"profile": {key.ProfileID}}).Encode(); {
	case err == nil && query.Has("profile"):
		query.Set("profile", key.ProfileID)
		u.RawQuery = query.Encode()
	case u.RawQuery == "":
		u.RawQuery = chosen
	default: // which may be in a form of the service's own
		u.RawQuery += "&" + chosen
	}
	return u.String()
}
