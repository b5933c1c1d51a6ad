package authprofile

import (
	"context"
	"errors"
	"iter"
	"maps"

	"github.com/authprofile/authprofile/internal/tokencache"
)

// Grant returns what is stored for a profile and a user: the tokens, and their
// state.
func (m *Manager) Grant(ctx context.Context, key GrantKey) (*Grant, error) {
	g, err := m.engine().store.Grant(ctx, key)
	if err == nil && g.isRecord() {
		err = ErrNotFound
	}
	if err != nil {
		return nil, wrap("grant", key.ProfileID, key.User, err)
	}
	return g, nil
}

// Grants lists the grants of a profile by user. After an error, which concerns
// one grant or the Store, it goes on if that is possible.
func (m *Manager) Grants(ctx context.Context, profileID string) iter.Seq2[*Grant, error] {
	if profileID == "" { // which means any to Find, and is the ID of none
		return func(func(*Grant, error) bool) {}
	}
	return m.find(ctx, "grants", GrantFilter{ProfileID: profileID})
}

// Find lists the grants that pass the filter, over all profiles, by profile and
// then by user. After an error, which concerns one grant or the Store, it goes on
// if that is possible. Other calls may be made inside the loop.
//
// All grants of one user are those that an application ends to forget a person:
// see the example.
func (m *Manager) Find(ctx context.Context, f GrantFilter) iter.Seq2[*Grant, error] {
	return m.find(ctx, "find", f)
}

func (m *Manager) find(ctx context.Context, op string, f GrantFilter) iter.Seq2[*Grant, error] {
	store := m.engine().store
	all := pages(func(after GrantKey) ([]*Grant, error) {
		return store.ListGrants(ctx, f, after, pageSize)
	}, func(g *Grant) GrantKey { return g.GrantKey }, func(err error) error { return wrap(op, f.ProfileID, f.User, err) })
	return func(yield func(*Grant, error) bool) {
		for g, err := range all {
			if g != nil && g.isRecord() {
				continue
			}
			if !yield(g, err) {
				return
			}
		}
	}
}

// ListGrants returns at most limit grants that pass the filter and whose key comes
// after the given one, ordered by profile and then by user, byte by byte: a page of
// what [Manager.Find] lists. The zero after means from the beginning. Fewer than
// limit means that there are no more. It costs what the page costs, however many
// grants there are.
//
// With the grants there may be an error, which joins an [*Error] for each grant that
// cannot be read, or is that of a Store that has failed. Only after the latter are
// grants missing that can be read.
func (m *Manager) ListGrants(ctx context.Context, f GrantFilter, after GrantKey, limit int) ([]*Grant, error) {
	var found []*Grant
	var failed []error
	for len(found) < limit {
		want := limit - len(found)
		page, err := m.engine().store.ListGrants(ctx, f, after, want)
		for _, err := range unjoin(err) {
			failed = append(failed, wrap("find", f.ProfileID, f.User, err))
		}
		for _, g := range page {
			after = g.GrantKey
			if !g.isRecord() {
				found = append(found, g)
			}
		}
		if len(page) < want {
			break
		}
	}
	return found, errors.Join(failed...)
}

// Count returns how many grants of a profile have each status, of all profiles
// if profileID is empty. A status that no grant has is left out. It costs what
// the Store needs to count them: with millions of grants, some tenths of a
// second. Call it once a minute at most.
func (m *Manager) Count(ctx context.Context, profileID string) (map[Status]int64, error) {
	counts, err := m.engine().store.CountGrants(ctx, profileID)
	if err != nil {
		return nil, wrap("count", profileID, "", err)
	}
	maps.DeleteFunc(counts, func(s Status, n int64) bool { return n == 0 || s == "" })
	return counts, nil
}

// Revoke ends a grant: at the provider if that has an address for it (RFC
// 7009), and then here, whatever the provider says. The error is
// [ErrConfiguration] if it has one that cannot be used. After an error the grant
// may live on at the provider or, if the Store has failed, here: [Manager.Grant]
// tells. Revoking a grant that does not exist is not an error, nor is it one
// that a token is no good at the provider any more. With a provider that
// revokes refresh tokens only, the access token may live until it expires. With
// one that revokes access tokens only, a grant whose access token has ended is
// renewed first.
//
// Other processes may serve the access token for as long as they have it in
// memory: to its end, or for about an hour if that is not known.
func (m *Manager) Revoke(ctx context.Context, key GrantKey) error {
	e := m.engine()
	// A renewal may be under way elsewhere: what it brings is revoked too, by
	// us if it comes before the end, and otherwise by those who renewed.
	var last Secret
	var outcome error
	for range 3 {
		g, err := e.store.Grant(ctx, key)
		if errors.Is(err, ErrNotFound) {
			break
		}
		if err == nil && g.isRecord() {
			return nil
		}
		if err != nil {
			outcome = err // to delete what cannot be read is all that can be done
			continue
		}
		if tokens := g.RefreshToken + "\x00" + g.AccessToken; tokens != last {
			g, outcome = e.revokeAtProvider(ctx, g)
			last = g.RefreshToken + "\x00" + g.AccessToken
			continue
		}
		break
	}
	if err := e.store.DeleteGrant(ctx, key); err != nil {
		return wrap("revoke", key.ProfileID, key.User, err)
	}
	e.renewals.supersede(key, nil)
	e.events.revoked(ctx, key.ProfileID, last != "" && outcome == nil)
	if errors.Is(outcome, errNoRevocation) {
		outcome = nil
	}
	return wrap("revoke", key.ProfileID, key.User, outcome)
}

// revokeAtProvider asks the provider to end what g has. It returns the grant
// that was to be ended, never nil: g, or what a renewal has made of it.
func (e *engine) revokeAtProvider(ctx context.Context, g *Grant) (*Grant, error) {
	p, err := e.store.Profile(ctx, g.ProfileID)
	if err != nil {
		return g, err
	}
	if g.ClientID != p.ClientID {
		return g, errors.New("the grant was issued to another client")
	}
	pr, err := e.providers.resolve(ctx, p)
	if err != nil {
		return g, err
	}
	if !pr.issued(g, p) {
		return g, errors.New("the grant was issued by another provider")
	}
	if pr.revokesAccessOnly() && g.RefreshToken != "" && !g.isUsable(e.lifetimes.now()) {
		renewed, err := e.renewToRevoke(ctx, g, p)
		switch {
		case errors.Is(err, ErrReauthorize), errors.Is(err, ErrNotFound):
			return g, nil // the provider has ended it, or another process
		case err != nil:
			return g, err
		}
		g = renewed
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	return g, revoke(ctx, e.http, p, pr, g)
}

// renewToRevoke renews g, whose access token has ended, as other processes do,
// and returns the grant with a token that can be revoked.
func (e *engine) renewToRevoke(ctx context.Context, g *Grant, p *Profile) (*Grant, error) {
	if _, err := e.renewals.token(ctx, e.cache.Entry(tokencache.Key(g.GrantKey)), newRef(g.GrantKey, p), ""); err != nil {
		return nil, err
	}
	return e.store.Grant(ctx, g.GrantKey)
}
