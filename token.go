package authprofile

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"sync/atomic"

	"golang.org/x/oauth2"

	"github.com/authprofile/authprofile/internal/tokencache"
)

// Token returns a valid token.
//
// If one is in memory it is returned at once, even if ctx has ended. Otherwise
// Token waits for it, no longer than ctx lasts; the renewal goes on all the
// same. The returned token is shared: do not change it. It is given out up to
// its very end, while [oauth2.Token.Valid] says no ten seconds earlier.
//
// If only the user can help, the error is [ErrReauthorize]; if an operator
// has to, [ErrConfiguration]. A user profile must have been saved, or the error
// is [ErrNotFound]. An app profile need not: its token is then kept in memory
// for as long as the profile says the same, which takes a look at all of it:
// callers who need many tokens of such a profile keep a [Source].
func (m *Manager) Token(ctx context.Context, p *Profile, opts ...Option) (*oauth2.Token, error) {
	e := m.engine()
	o := parseOptions(opts)
	key, err := grantKey(p, &o)
	if err != nil {
		return nil, wrap("token", p.ID, o.user, err)
	}
	if p.Version == 0 {
		key.ProfileID = unsavedID(p)
	}
	entry := e.cache.Entry(tokencache.Key(key))
	if o.rejected == "" {
		if t := e.cache.Ready(entry); t != nil {
			return t, nil
		}
	}
	tok, err := e.renewals.token(ctx, entry, newRef(key, p), o.rejected)
	if err != nil {
		return nil, wrap("token", p.ID, o.user, err)
	}
	return tok, nil
}

// grantKey returns the key of the grant that a caller means.
func grantKey(p *Profile, o *options) (GrantKey, error) {
	switch {
	case p.Type == TypeApp && o.hasUser:
		return GrantKey{}, fmt.Errorf("%w: an app profile acts for no user", ErrUserMismatch)
	case p.Type == TypeUser && o.user == "":
		return GrantKey{}, fmt.Errorf("%w: a user profile needs AsUser", ErrUserMismatch)
	case p.Type == TypeUser && p.Version == 0:
		return GrantKey{}, fmt.Errorf("%w: a user profile must be saved first", ErrNotFound)
	case p.Type != TypeApp && p.Type != TypeUser:
		return GrantKey{}, p.Validate()
	}
	return GrantKey{ProfileID: p.ID, User: o.user}, nil
}

// unsavedID stands for the ID of a profile that has none in the Store.
func unsavedID(p *Profile) string {
	sum := p.fingerprint()
	return unsavedMark + string(sum[:])
}

// Source returns a token source that always has a valid token, for as long as
// the provider allows. It needs no network and returns at once; what is wrong
// shows at the first call of its Token method. It keeps the values of ctx, but
// not its end.
//
// The profile says which one is meant. One that was saved is read from the
// Store again at each renewal, so that a new client secret takes effect
// without a restart. An app profile that was never saved works too: its token
// is kept by this source alone.
//
// The source may be used by many goroutines at once, and its tokens are shared:
// do not change them. There is no need for [oauth2.ReuseTokenSource].
func (m *Manager) Source(ctx context.Context, p *Profile, opts ...Option) oauth2.TokenSource {
	return m.newSource(ctx, p, opts)
}

// Source is [Manager.Source] of a new Manager, which keeps all in memory.
func Source(ctx context.Context, p *Profile, opts ...Option) oauth2.TokenSource {
	return new(Manager).Source(ctx, p, opts...)
}

// A grantSource is a token source for one grant.
type grantSource struct {
	entry atomic.Pointer[tokencache.Entry] // never nil

	e    *engine
	ctx  context.Context // its values
	ref  *grantRef
	opts options
	id   string // the profile's, for errors
	err  error
}

func (m *Manager) newSource(ctx context.Context, p *Profile, opts []Option) *grantSource {
	e := m.engine()
	s := &grantSource{e: e, ctx: context.WithoutCancel(ctx), opts: parseOptions(opts), id: p.ID}
	s.entry.Store(tokencache.NewEntry())
	key, err := grantKey(p, &s.opts)
	if err != nil {
		s.err = err
		return s
	}
	if p.Version == 0 {
		key.ProfileID = unsavedMark + rand.Text() // this source's own
	}
	s.ref = newRef(key, p)
	return s
}

// Token returns the token that is in memory if it is known to be good, which
// costs two reads of memory.
func (s *grantSource) Token() (*oauth2.Token, error) {
	if t := s.entry.Load().Hot(); t != nil {
		return t, nil
	}
	return s.tokenFor(s.ctx, s.opts.rejected)
}

// tokenFor returns a valid token that is not the rejected one, and waits for
// it no longer than ctx lasts.
func (s *grantSource) tokenFor(ctx context.Context, rejected string) (*oauth2.Token, error) {
	if s.err != nil {
		return nil, wrap("token", s.id, s.opts.user, s.err)
	}
	entry := s.entry.Load()
	if !s.ref.unsaved {
		entry = s.e.cache.Entry(tokencache.Key(s.ref.key))
	}
	tok, err := s.e.renewals.token(ctx, entry, s.ref, rejected)
	if err != nil {
		return nil, wrap("token", s.id, s.opts.user, err)
	}
	if s.opts.rejected == "" || tok.AccessToken != s.opts.rejected {
		s.entry.Store(entry)
	}
	return tok, nil
}

// Format writes what the source is for, and nothing else.
func (s *grantSource) Format(f fmt.State, verb rune) { fmt.Fprintf(f, "TokenSource(%q)", s.id) }

// An Option narrows which token is wanted: [AsUser] and [Rejected].
type Option interface{ option() }

type asUser string

type rejected struct{ accessToken string }

func (asUser) option()   {}
func (rejected) option() {}

// Format keeps the token, which has only just ended or not even that, out of
// print.
func (rejected) Format(f fmt.State, verb rune) { io.WriteString(f, "Rejected") }

// AsUser asks for a token that acts for the user. It is required for profiles
// of TypeUser, and refused for those of TypeApp. The user is never taken from
// anywhere else.
//
// It is the application's own identifier for one account at the provider. An
// application whose people connect several gives each connection its own, such
// as "ada/2".
func AsUser(user string) Option { return asUser(user) }

// Rejected says that an API has refused tok, though it may look valid, and
// asks for a different one. If tok is nil, nothing is rejected.
//
// An API that goes on refusing does not make a storm of token requests. If the
// refused token is a new one, it takes up to a second before another is asked
// for; if it was itself obtained in place of a refused one, there is an error,
// for two seconds at first and for about six minutes in the end; and if the
// provider gives the same token again, for a minute or more.
//
// Most callers do not need it: [Manager.Client] uses it by itself.
func Rejected(tok *oauth2.Token) Option {
	if tok == nil {
		return rejected{}
	}
	return rejected{tok.AccessToken}
}

type options struct {
	user     string
	hasUser  bool
	rejected string
}

func parseOptions(opts []Option) (o options) {
	for _, opt := range opts {
		switch opt := opt.(type) {
		case asUser:
			o.user, o.hasUser = string(opt), true
		case rejected:
			o.rejected = opt.accessToken
		}
	}
	return o
}
