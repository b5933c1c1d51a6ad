package authprofile

import (
	"context"
	"errors"
	"iter"
	"net/url"
	"strings"

	"github.com/google/uuid"
)

// Save validates p and stores it. The first Save of a profile assigns an ID
// if it has none; a new profile under an ID that exists is [ErrConflict], and
// so is one that somebody else has saved since it was read. If Save fails, p
// is as before, except that it keeps the ID that was assigned.
//
// If the error is neither ErrConflict nor a [*FieldError], p may be stored all
// the same: the Store's answer was lost. Save can then be called again with p
// unchanged, and succeeds if the Store has just what p says. Only a new profile
// whose ID the application has chosen is ErrConflict, as it may be another's.
//
// A new client secret and new addresses take effect at the next renewal, in all
// processes that share the Store, and so do new scopes of an app profile. Users
// have to authorize new scopes of a user profile: compare [Grant.Requested].
// With a new client ID all of them have to authorize again, since their grants
// belong to the old one. After any Save, authorizations in progress have to
// begin again.
func (m *Manager) Save(ctx context.Context, p *Profile) error {
	e := m.engine()
	c := p.Clone()
	if c.ID == "" {
		c.ID = uuid.Must(uuid.NewV7()).String()
		c.made = c.ID
	}
	if err := m.validate(c); err != nil {
		return wrap("save", p.ID, "", err)
	}
	p.ID, p.made = c.ID, c.made

	c.made = "" // this is the caller's to know
	err := e.store.PutProfile(ctx, c)
	if errors.Is(err, ErrConflict) && (p.Version != 0 || p.made == p.ID) {
		c, err = e.savedBefore(ctx, p, err)
	}
	if err != nil {
		return wrap("save", p.ID, "", err)
	}
	p.Version, p.Created, p.Updated = c.Version, c.Created, c.Updated
	p.made = ""
	p.markSaved()
	return nil
}

// savedBefore returns what is stored in place of p, if it says just what p
// says: then an earlier Save has succeeded, and its answer was lost. Otherwise
// the conflict stands.
func (e *engine) savedBefore(ctx context.Context, p *Profile, conflict error) (*Profile, error) {
	stored, err := e.store.Profile(ctx, p.ID)
	switch {
	case errors.Is(err, ErrNotFound), err == nil && !stored.saysTheSame(p):
		return nil, conflict
	case err == nil && stored.Version == p.Version: // read from a copy that lags behind
		return nil, conflict
	case err != nil:
		return nil, err
	}
	return stored, nil
}

// validate is p.Validate with the redirect address that p gets from m.
func (m *Manager) validate(p *Profile) error {
	err := p.Validate()
	if p.Type != TypeUser || p.RedirectURL != "" {
		return err
	}
	var v problems
	if m.RedirectURL == "" {
		v.add("RedirectURL", "is missing, and the Manager has none either")
	} else if problem := checkRedirectAddress(m.RedirectAddress(p)); problem != "" {
		v.add("RedirectURL", "is missing, and the Manager's "+problem)
	}
	return errors.Join(append(each(err), v...)...)
}

// Profile returns a stored profile.
func (m *Manager) Profile(ctx context.Context, id string) (*Profile, error) {
	p, err := m.engine().store.Profile(ctx, id)
	if err != nil {
		return nil, wrap("profile", id, "", err)
	}
	p.markSaved()
	return p, nil
}

// Profiles lists all stored profiles by ID. Other calls may be made inside the
// loop.
func (m *Manager) Profiles(ctx context.Context) iter.Seq2[*Profile, error] {
	store := m.engine().store
	return pages(func(after string) ([]*Profile, error) {
		list, err := store.ListProfiles(ctx, after, pageSize)
		for _, p := range list {
			p.markSaved()
		}
		return list, err
	}, func(p *Profile) string { return p.ID }, func(err error) error { return wrap("profiles", "", "", err) })
}

// Delete removes a profile and all its grants. It does not tell the provider:
// call [Manager.Revoke] for each grant first if it should know. Deleting a
// profile that does not exist is not an error.
func (m *Manager) Delete(ctx context.Context, id string) error {
	e := m.engine()
	if err := e.store.DeleteProfile(ctx, id); err != nil {
		return wrap("delete", id, "", err)
	}
	e.forgetProfile(id)
	return nil
}

// profileInAddress in Manager.RedirectURL becomes the profile's ID.
const profileInAddress = "{profile}"

// RedirectAddress returns the exact string to register with the provider as
// redirect address of p. It is empty if that cannot be known yet: neither p nor
// the Manager has one, or it depends on an ID that p has not got.
func (m *Manager) RedirectAddress(p *Profile) string {
	switch {
	case p.RedirectURL != "":
		return p.RedirectURL
	case p.ID == "" && strings.Contains(m.RedirectURL, profileInAddress):
		return ""
	}
	// Fit for a path and for a query: a path may have "&", "=" and "+" in it,
	// with which an ID would make parameters of its own.
	id := strings.ReplaceAll(url.QueryEscape(p.ID), "+", "%20")
	return strings.ReplaceAll(m.RedirectURL, profileInAddress, id)
}
