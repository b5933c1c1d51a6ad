package fleet

import (
	"context"
	"errors"
	"sync"
	"time"

	"golang.org/x/oauth2"

	"github.com/authprofile/authprofile"
)

// A careless client is what many programs have written around x/oauth2: load the
// token, refresh it if it has expired, save it. Within the process it even has a
// lock. It is here to lose grants: if the harness finds none lost, it would not
// find those that the library loses.
type careless struct {
	w  *worker
	mu map[string]*sync.Mutex
	sync.Mutex
}

func newCareless(w *worker) *careless {
	return &careless{w: w, mu: make(map[string]*sync.Mutex)}
}

func (c *careless) token(ctx context.Context, user string) (string, time.Time, error) {
	c.Lock()
	mu := c.mu[user]
	if mu == nil {
		mu = new(sync.Mutex)
		c.mu[user] = mu
	}
	c.Unlock()
	mu.Lock()
	defer mu.Unlock()

	key := authprofile.GrantKey{ProfileID: UserProfile, User: user}
	g, err := c.w.store.Grant(ctx, key)
	if err != nil {
		return "", time.Time{}, err
	}
	conf := &oauth2.Config{
		ClientID:     c.w.user.ClientID,
		ClientSecret: string(c.w.user.ClientSecret),
		Endpoint:     oauth2.Endpoint{TokenURL: c.w.user.Endpoints.TokenURL, AuthStyle: oauth2.AuthStyleInHeader},
	}
	old := &oauth2.Token{AccessToken: string(g.AccessToken), RefreshToken: string(g.RefreshToken), Expiry: g.Expiry}
	tok, err := oauth2.ReuseTokenSourceWithExpiry(old, conf.TokenSource(context.WithValue(ctx, oauth2.HTTPClient, c.w.m.HTTPClient), old), time.Second).Token()
	if err != nil {
		return "", time.Time{}, err
	}
	if tok.AccessToken == old.AccessToken {
		return tok.AccessToken, tok.Expiry, nil
	}
	for {
		g.AccessToken, g.RefreshToken, g.Expiry = authprofile.Secret(tok.AccessToken), authprofile.Secret(tok.RefreshToken), tok.Expiry
		err := c.w.store.PutGrant(ctx, g)
		if !errors.Is(err, authprofile.ErrConflict) {
			return tok.AccessToken, tok.Expiry, err
		}
		// The last one to save wins.
		if g, err = c.w.store.Grant(ctx, key); err != nil {
			return "", time.Time{}, err
		}
	}
}
