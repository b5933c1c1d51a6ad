package console

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/authprofile/authprofile"
)

// An editor has the pages with profiles.
type editor struct {
	*Handler
	offered func() *choices
}

func (h *Handler) profileRoutes() map[string]route {
	e := &editor{Handler: h, offered: sync.OnceValue(func() *choices { return newChoices(h.providers(), h.Manager.Providers) })}
	return map[string]route{
		"profiles":       {get: e.list},
		"profile":        {get: e.show, post: e.save, action: "save profile"},
		"new-profile":    {get: e.create},
		"templates.css":  {get: e.showStyle},
		"check":          {get: e.awaitCheck, post: e.check, action: "test profile", framed: true},
		"delete-profile": {get: e.askDelete, post: e.delete, action: "delete profile"},
	}
}

// How many profiles a page lists, and how many bytes they may have there.
const (
	profilesPerPage = 50
	profilesSize    = 78_000
)

// A profileRow is a profile in the list.
type profileRow struct {
	*authprofile.Profile
	Title, Type, Provider string
}

// list shows the profiles by ID, a page at a time.
func (e *editor) list(c *call) {
	page := struct {
		From, Next string
		IsFirst    bool
		List       []profileRow
	}{From: c.query.Get("from")}
	after, from := c.query.Get("after"), strings.TrimSpace(page.From)
	page.IsFirst = after == "" && from == ""

	var list []*authprofile.Profile
	var failed error
	if after == "" && from != "" {
		p, err := e.Manager.Profile(c.r.Context(), from)
		if err == nil {
			list = append(list, p)
		} else if !errors.Is(err, authprofile.ErrNotFound) {
			failed = err
		}
		after = from
	}
	rest, err := e.Manager.ListProfiles(c.r.Context(), after, profilesPerPage+1-len(list))
	list = append(list, rest...)
	unread, away := unreadable(errors.Join(failed, err))
	if away != nil {
		c.fail(away)
		return
	}
	shown := fit(list, profilesPerPage, profilesSize, func(p *authprofile.Profile) int {
		return 300 + len(url.QueryEscape(p.ID)) + textSize(p.ID, cmp.Or(p.Name, p.ID), providerOf(p))
	})
	if len(shown) < len(list) {
		page.Next = shown[len(shown)-1].ID
	}
	for _, p := range shown {
		page.List = append(page.List, profileRow{p, nameOfProfile(p), typeWord(p.Type), providerOf(p)})
	}
	v := c.view("Profiles", &page)
	if unread > 0 {
		v.Problem = cannotBeRead(unread, "profile")
	}
	c.show(http.StatusOK, "profiles", v)
}

// providerOf says where a profile's provider is, in few words.
func providerOf(p *authprofile.Profile) string {
	if p.Template != "" {
		return string(p.Template)
	}
	u, err := url.Parse(cmp.Or(p.Endpoints.TokenURL, p.Endpoints.DiscoveryURL))
	if err != nil {
		return ""
	}
	return u.Host
}

// A conflict is what a person is told whose save has met another.
type conflict struct {
	Title, Text string
	Saved       time.Time // when the other was; zero: not known
	Rows        []row
}

// A profilePage is the form with what belongs to it.
type profilePage struct {
	Form        *form
	Style       string
	Save        string // what the button says
	Conflict    *conflict
	RedirectURI string
	HasID       bool  // the ID is part of it
	Rows        []row // of the profile, if it is only shown
	Grants      *profileGrants
	MayConnect  bool
}

// profileGrants are the first grants of a profile.
type profileGrants struct {
	ProfileID, Problem string
	List               []grantRow
}

// A grantRow is a grant in their list.
type grantRow struct {
	ProfileID, User string
	State           state
}

// How many grants the page of a profile shows, and how many bytes they may have there.
const (
	grantsShown = 10
	grantsSize  = 7_200
)

// firstGrants returns the first grants of a profile.
func (e *editor) firstGrants(ctx context.Context, id string) *profileGrants {
	list, err := e.Manager.ListGrants(ctx, authprofile.GrantFilter{ProfileID: id}, authprofile.GrantKey{}, grantsShown)
	g := &profileGrants{ProfileID: id}
	for _, grant := range fit(list, grantsShown, grantsSize, func(g *authprofile.Grant) int { return 250 + keySize(g.GrantKey) }) {
		g.List = append(g.List, grantRow{grant.ProfileID, grant.User, stateOf(grant, time.Now())})
	}
	if n, away := unreadable(err); away != nil {
		g.Problem = "The grants cannot be read now. Reload the page in a moment."
	} else if n > 0 {
		g.Problem = cannotBeRead(n, "grant")
	}
	return g
}

// showForm answers with the form.
func (e *editor) showForm(c *call, status int, f *form, met *conflict, said string) {
	f.forget()
	p := f.profile
	page := &profilePage{Form: f, Style: e.offered().styleName, Save: "Save", Conflict: met, RedirectURI: e.Manager.RedirectAddress(p)}
	other := p.Clone()
	other.ID += "x"
	page.HasID = e.Manager.RedirectAddress(other) != page.RedirectURI
	if c.readOnly && p.Type == authprofile.TypeApp {
		page.RedirectURI = "" // in a form the type can be changed
	}
	title := "New profile"
	if f.IsSaved() || met != nil {
		title = "Profile: " + nameOfProfile(p)
	}
	if met != nil {
		page.Save = "Save mine"
		if !f.IsSaved() {
			page.Save = "Create it again"
		}
	}
	if f.stored != nil && f.version > 0 {
		page.Rows = rowsOf(f.stored, f.stored)
		page.Grants = e.firstGrants(c.r.Context(), f.stored.ID)
		if page.MayConnect = e.Redirect != nil && f.stored.Type == authprofile.TypeUser && !c.readOnly; page.MayConnect {
			c.allowConnect(e.Redirect.Manager, f.stored)
		}
	}
	c.frames = !c.readOnly
	v := c.view(title, page)
	v.Problem = said
	if status != http.StatusOK {
		v.Message = ""
	}
	c.show(status, "profile", v)
}

// create shows the form of a new profile. A template may be chosen by the address.
func (e *editor) create(c *call) {
	if c.readOnly {
		c.problem(http.StatusForbidden, "Nothing can be changed here", "This console is read-only.")
		return
	}
	e.showForm(c, http.StatusOK, e.newForm(c.query.Get("template")), nil, "")
}

// show shows the form of a stored profile.
func (e *editor) show(c *call) {
	p, err := e.Manager.Profile(c.r.Context(), c.query.Get("id"))
	if err != nil {
		c.fail(err)
		return
	}
	e.showForm(c, http.StatusOK, formOf(p, e.offered()), nil, "")
}

// The texts about a Store that does not answer.
const (
	notSaved   = "The database does not answer, so nothing was saved. What you typed is still here. Save again in a moment."
	maybeSaved = "The database did not confirm the save, so the profile may or may not be saved. What you typed is still here. Saving again in a moment does no harm."
)

// save saves what was typed.
func (e *editor) save(c *call) {
	f, ok := e.readForm(c)
	if !ok {
		return
	}
	if err := e.read(c.r.Context(), f); err != nil {
		f.resolve()
		c.audit(c.action, authprofile.GrantKey{ProfileID: f.profileID()}, err)
		e.showForm(c, http.StatusServiceUnavailable, f, nil, notSaved)
		return
	}
	isStale := f.version != 0 && f.stored == nil || f.stored != nil && f.stored.Version != f.version
	p := f.resolve()
	key := authprofile.GrantKey{ProfileID: p.ID}
	if isStale {
		e.meet(c, f, p)
		return
	}
	if len(f.problems) > 0 {
		e.showForm(c, http.StatusUnprocessableEntity, f, nil, "")
		return
	}
	err := e.Manager.Save(c.r.Context(), p)
	if errors.Is(err, authprofile.ErrConflict) {
		if err := e.read(c.r.Context(), f); err != nil {
			c.audit(c.action, key, err)
			e.showForm(c, http.StatusServiceUnavailable, f, nil, maybeSaved)
			return
		}
		e.meet(c, f, p)
		return
	}
	c.audit(c.action, key, err)
	switch errs := fieldErrors(err); {
	case err == nil:
		c.redirect("profile", "id", p.ID, "done", "saved")
	case len(errs) > 0:
		for _, fe := range errs {
			f.problems = append(f.problems, f.offered.problemOf(fe, p))
		}
		e.showForm(c, http.StatusUnprocessableEntity, f, nil, "")
	default:
		e.showForm(c, http.StatusServiceUnavailable, f, nil, maybeSaved)
	}
}

// read reads what the Store has of the profile that the form is about.
func (e *editor) read(ctx context.Context, f *form) error {
	p, err := e.Manager.Profile(ctx, f.profileID())
	switch {
	case err == nil:
		f.stored, f.unknown = p, false
	case errors.Is(err, authprofile.ErrNotFound):
		f.stored, f.unknown = nil, false
	default:
		f.stored, f.unknown = nil, true
		return err
	}
	return nil
}

// meet answers a save that another one came before: p is what was to be saved, and the
// form has what is stored.
func (e *editor) meet(c *call, f *form, p *authprofile.Profile) {
	key := authprofile.GrantKey{ProfileID: p.ID}
	if f.stored != nil && len(f.problems) == 0 && sameContent(f.stored, p) {
		c.audit(c.action, key, nil) // it was sent twice, or two people have typed the same
		c.redirect("profile", "id", p.ID, "done", "saved")
		return
	}
	c.audit(c.action, key, authprofile.ErrConflict)
	if f.stored == nil {
		f.version, f.newID = 0, newID()
		e.showForm(c, http.StatusConflict, f, &conflict{
			Title: "The profile was deleted in the meantime",
			Text:  "Its grants are gone too. What you typed is still here, except for a secret. You can create the profile again, but its users then have to connect their accounts again.",
		}, "Not saved.")
		return
	}
	if f.version == 0 && !f.isUnnamed() {
		f.stored = nil
		f.note("id", "ID already belongs to another profile")
		e.showForm(c, http.StatusConflict, f, nil, "")
		return
	}
	rows := rowsOf(f.stored, p)
	f.version, f.id = f.stored.Version, f.stored.ID
	e.showForm(c, http.StatusConflict, f, &conflict{
		Title: "Another save came first", Saved: f.stored.Updated, Rows: rows,
		Text: "The fields that differ are marked. The form below has your version, except for a secret, which has to be typed again. Edit it as you like. Saving it replaces the other version.",
	}, "Not saved.")
}
