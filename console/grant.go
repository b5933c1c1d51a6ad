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
		page.Lacks = "The profile is deleted. Nothing renews this grant any more: revoke it, so that it is forgotten."
	case err != nil:
		page.Lacks = "The profile cannot be read now, so that it is not known what can be done."
	default:
		page.Profile = p.Name
	}
	page.Link = connectionsLink(h.ConnectionsURL, key)
	if p != nil && p.Type == authprofile.TypeUser && page.Actions && key.User != "" && h.ownUser(c.r) == key.User {
		page.Connect = true
		c.allowConnect(h.Redirect.Manager, p)
	}
	if page.Damaged {
		page.NoRenew = "What cannot be read cannot be renewed."
	} else {
		page.describe(g, now, h.Manager.RenewBefore)
		page.Renew = page.NoRenew == "" && p != nil
	}
	v := c.view("Grant of "+nameOf(key), page)
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
	text := "There is no grant of this user and profile. It was revoked, or deleted with its profile, or has never been."
	if key.User == "" {
		text = "This profile has no grant of the application itself. It is made when a program asks for the first token."
	}
	c.problem(http.StatusNotFound, "It is not there", text)
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
	authprofile.EndsAnnounced: "The provider has said so, with the refresh token.",
	authprofile.EndsIdle:      "This provider ends grants that are not used for so long. Each renewal puts the end off.",
	authprofile.EndsAbsolute:  "This provider ends grants so long after the consent, whether they are used or not.",
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
			return "It cannot be renewed: only the user can bring it back, by connecting the account again."
		}
	}
	if g.RefreshToken == "" {
		return "It cannot be renewed: the provider has given no refresh token."
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
