// Package sealed encrypts the secrets that a Store keeps.
//
//	keys, err := sealed.NewKeyring(sealed.Key{ID: "2026-01", Secret: secret})
//	...
//	m := &authprofile.Manager{Store: sealed.New(inner, keys)}
//
// # What is sealed
//
// Client secrets and keys, access and refresh tokens, the values of
// [authprofile.Grant.Extra], code verifiers, nonces and the browser of a flow
// reach the inner Store encrypted. All else passes through as it is, so that an
// operator can still ask the database which users have to authorize again. That
// includes Params and TokenParams of a profile: what a provider wants to have
// kept secret, such as an "api_key", stands there in the clear.
//
// A sealed value is printable ASCII that begins with "sealed:1:". It belongs to
// one field of one record: moved to another row, another column or another
// table, it cannot be opened. The values of a record are sealed together, so
// that none can be left out, or exchanged for an older one. The seal of a
// profile also covers how the client is known and where its secrets are sent
// (Type, ClientID, AuthMethod, Template, Endpoints, RedirectURL and APIHosts), and
// that of a flow covers everything but Expires. A record in which one of these is edited
// in the database can no longer be read; to change them, save the profile.
// Versions of this package that do not know APIHosts, ClientKey or
// Endpoints.PARURL cannot read a profile that has one of them: give it that when
// all programs have a version that does.
//
// A value that is not sealed is refused, never used. If it were accepted, an
// attacker who can write to the database could plant one. [SealExisting] is for
// a Store that was in use before it was sealed.
//
// # What is not protected
//
// An attacker who can read the database learns which users have grants at which
// provider, with which account, their scopes and state, and about how long each
// secret is. One who
// can write to it can delete records, or all secrets of a grant; change columns
// that are not covered, such as the state of a grant; and put a whole record
// back as it was earlier, or as it is in another database with the same keys:
// nothing within a record can tell that it is not the newest. If the Keeper's
// encryption key is public, as with RSA, the attacker can also seal values. A
// program's memory holds secrets and keys in the clear.
//
// # Keys
//
// Every time a record with secrets is written, they are encrypted by
// AES-256-GCM under a data key of its own, which the [Keeper] encrypts in turn
// and which is stored with each of the values. The Keeper sees no secret, only
// 32 random bytes, which is within the limits of every key management service.
// It is called once for each record that is read or written, whatever the
// number of its secrets, and not at all for a grant without any. A Manager
// reads and writes only when a token is renewed, so with a remote Keeper a
// renewal takes a few more round trips, and a cached token none.
//
// A record that cannot be opened is an error for that record alone: see [New].
package sealed

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/authprofile/authprofile"
	"github.com/authprofile/authprofile/internal/foreign"
)

// A Keeper encrypts and decrypts data keys of 32 bytes. [*Keyring] is one, and
// so is *secrets.Keeper of gocloud.dev/secrets, which speaks to the key
// management services of AWS, Azure, Google Cloud and to HashiCorp Vault.
//
// Both methods may be called by many goroutines at once. Decrypt must also take
// what was encrypted under earlier keys, for as long as records have them.
type Keeper interface {
	Encrypt(ctx context.Context, plaintext []byte) ([]byte, error)
	Decrypt(ctx context.Context, ciphertext []byte) ([]byte, error)
}

// New returns a Store that keeps everything in inner, the secrets encrypted.
// All programs that share inner must use it that way, with the same keys.
//
// Reading a record that cannot be opened is an error, which is neither
// ErrNotFound nor ErrConflict. It can still be deleted. A list leaves such
// records out: it returns the others, as many as were asked for, together with
// an error that joins one [*authprofile.Error] for each record left out.
// Fewer than limit means that there are no more, as always, and paging goes on
// after the last one returned. A list gives up, with a short page, after a
// hundred such records: then most likely a key is missing.
//
// A flow that was taken and cannot be opened is gone. The user has to begin
// again.
func New(inner authprofile.Store, k Keeper) authprofile.Store {
	return &store{inner: inner, keeper: k}
}

type store struct {
	inner  authprofile.Store
	keeper Keeper
}

var _ authprofile.Store = (*store)(nil)

func (s *store) Profile(ctx context.Context, id string) (*authprofile.Profile, error) {
	return one(ctx, s.profiles(), profileKey(id))
}

func (s *store) ListProfiles(ctx context.Context, after string, limit int) ([]*authprofile.Profile, error) {
	return page(ctx, s.profiles(), profileKey(after), limit)
}

func (s *store) PutProfile(ctx context.Context, p *authprofile.Profile) error {
	c := p.Clone()
	if err := put(ctx, s.profiles(), c); err != nil {
		return err
	}
	p.Version, p.Created, p.Updated = c.Version, c.Created, c.Updated
	return nil
}

func (s *store) DeleteProfile(ctx context.Context, id string) error {
	return s.inner.DeleteProfile(ctx, id)
}

func (s *store) Grant(ctx context.Context, key authprofile.GrantKey) (*authprofile.Grant, error) {
	return one(ctx, s.grants(authprofile.GrantFilter{}), key)
}

func (s *store) ListGrants(ctx context.Context, f authprofile.GrantFilter, after authprofile.GrantKey, limit int) ([]*authprofile.Grant, error) {
	return page(ctx, s.grants(f), after, limit)
}

func (s *store) CountGrants(ctx context.Context, profileID string) (map[authprofile.Status]int64, error) {
	return s.inner.CountGrants(ctx, profileID)
}

func (s *store) DueGrants(ctx context.Context, before time.Time, limit int) ([]*authprofile.Grant, error) {
	return first(ctx, s.grants(authprofile.GrantFilter{}), limit, func(limit int) ([]*authprofile.Grant, error) {
		return s.inner.DueGrants(ctx, before, limit)
	})
}

func (s *store) PutGrant(ctx context.Context, g *authprofile.Grant) error {
	c := g.Clone()
	if err := put(ctx, s.grants(authprofile.GrantFilter{}), c); err != nil {
		return err
	}
	g.Version, g.Created, g.Updated = c.Version, c.Created, c.Updated
	return nil
}

func (s *store) DeleteGrant(ctx context.Context, key authprofile.GrantKey) error {
	return s.inner.DeleteGrant(ctx, key)
}

func (s *store) PutFlow(ctx context.Context, f *authprofile.Flow) error {
	c := f.Clone()
	c.State, c.URL = "", "" // a Store keeps neither: the inner one need not see them
	if err := flowRecord(c).seal(ctx, s.keeper); err != nil {
		return err
	}
	return s.inner.PutFlow(ctx, c)
}

func (s *store) TakeFlow(ctx context.Context, id string) (*authprofile.Flow, error) {
	f, err := s.inner.TakeFlow(ctx, id)
	if err != nil {
		return nil, err
	}
	if f.ID != id {
		return nil, errOther
	}
	if err := flowRecord(f).open(ctx, s.keeper); err != nil {
		return nil, err
	}
	return f, nil
}

// Format writes nothing of what s holds: a Keeper may show its keys.
func (s *store) Format(f fmt.State, verb rune) { io.WriteString(f, "sealed.Store") }

// errOther is the error for a record that was not asked for. Its seal is good,
// so opening it would give one user another's tokens.
var errOther = errors.New("sealed: the inner store returned another record than was asked for")

// A kind is one kind of record, profiles or the grants of one profile, with what
// they have in common.
type kind[T any] struct {
	keeper Keeper
	list   func(ctx context.Context, after authprofile.GrantKey, limit int) ([]T, error)
	get    func(ctx context.Context, key authprofile.GrantKey) (T, error)
	put    func(ctx context.Context, row T) error
	key    func(row T) authprofile.GrantKey
	record func(row T) record
}

// profileKey is the key of a profile among those of grants.
func profileKey(id string) authprofile.GrantKey { return authprofile.GrantKey{ProfileID: id} }

func (s *store) profiles() kind[*authprofile.Profile] {
	return kind[*authprofile.Profile]{
		keeper: s.keeper,
		list: func(ctx context.Context, after authprofile.GrantKey, limit int) ([]*authprofile.Profile, error) {
			return s.inner.ListProfiles(ctx, after.ProfileID, limit)
		},
		get: func(ctx context.Context, key authprofile.GrantKey) (*authprofile.Profile, error) {
			return s.inner.Profile(ctx, key.ProfileID)
		},
		put:    s.inner.PutProfile,
		key:    func(p *authprofile.Profile) authprofile.GrantKey { return profileKey(p.ID) },
		record: profileRecord,
	}
}

// grants is all grants. Its lists have those that pass the filter.
func (s *store) grants(f authprofile.GrantFilter) kind[*authprofile.Grant] {
	return kind[*authprofile.Grant]{
		keeper: s.keeper,
		list: func(ctx context.Context, after authprofile.GrantKey, limit int) ([]*authprofile.Grant, error) {
			return s.inner.ListGrants(ctx, f, after, limit)
		},
		get:    s.inner.Grant,
		put:    s.inner.PutGrant,
		key:    func(g *authprofile.Grant) authprofile.GrantKey { return g.GrantKey },
		record: grantRecord,
	}
}

// one reads and opens one row.
func one[T any](ctx context.Context, k kind[T], key authprofile.GrantKey) (row T, err error) {
	row, err = k.get(ctx, key)
	if err == nil && k.key(row) != key {
		err = errOther
	}
	if err == nil {
		if err = k.open(ctx, row); err != nil && ctx.Err() == nil {
			err = keyed("open", key, err)
		}
	}
	if err != nil {
		var none T
		return none, err
	}
	return row, nil
}

func (k kind[T]) open(ctx context.Context, row T) error {
	return k.record(row).open(ctx, k.keeper)
}

// put seals row in place, so that it must not be a caller's, and writes it.
func put[T any](ctx context.Context, k kind[T], row T) error {
	if err := k.record(row).seal(ctx, k.keeper); err != nil {
		return err
	}
	return k.put(ctx, row)
}

const (
	// maxUnreadable is how many unreadable records a list passes over before
	// it takes all the others for unreadable too.
	maxUnreadable = 100

	// parallel is how many records are opened at a time, for Keepers that are
	// a network away.
	parallel = 16
)

// page returns limit rows that can be opened, if there are so many.
//
// If it returned fewer, the caller would take the page for the last. If it
// returned the unreadable ones without their secrets, the caller could save
// them that way.
func page[T any](ctx context.Context, k kind[T], after authprofile.GrantKey, limit int) ([]T, error) {
	var o opened[T]
	for len(o.good) < limit {
		n := limit - len(o.good)
		rows, err := k.list(ctx, after, n)
		damaged, failed := ofRecords(err)
		if failed != nil && len(rows) == 0 && len(o.good)+len(damaged)+len(o.bad) == 0 {
			return nil, failed
		}
		o.bad = append(o.bad, damaged...)
		if err := o.add(ctx, k, rows, limit); err != nil {
			return nil, err
		}
		if o.tooMany {
			failed = errTooMany
		}
		if failed != nil {
			o.bad = append(o.bad, failed)
			break
		}
		if len(rows) < n {
			break
		}
		after = k.key(rows[len(rows)-1])
	}
	return o.good, errors.Join(o.bad...)
}

// first is page for a list that can only be read from its beginning. If there
// are unreadable records on the page, it is read again with room for as many of
// them as a list passes over.
func first[T any](ctx context.Context, k kind[T], limit int, list func(limit int) ([]T, error)) ([]T, error) {
	limit = max(limit, 0)
	var o opened[T]
	for _, room := range []int{0, maxUnreadable} {
		n := min(limit, math.MaxInt-room) + room
		rows, err := list(n)
		damaged, failed := ofRecords(err)
		if failed != nil && len(rows)+len(damaged) == 0 {
			return nil, failed
		}
		last := len(rows) < n || failed != nil
		o = opened[T]{bad: damaged}
		for len(rows) > 0 && len(o.good) < limit && !o.tooMany {
			next := min(limit-len(o.good), len(rows))
			if err := o.add(ctx, k, rows[:next], limit); err != nil {
				return nil, err
			}
			rows = rows[next:]
		}
		if failed != nil {
			o.bad = append(o.bad, failed)
		}
		if len(o.good) == limit || o.tooMany || last {
			break
		}
	}
	if o.tooMany {
		o.bad = append(o.bad, errTooMany)
	}
	return o.good, errors.Join(o.bad...)
}

// An opened is what has become of the records of a list.
type opened[T any] struct {
	good    []T
	bad     []error
	tooMany bool // of the bad: the list gives up
}

var errTooMany = errors.New("sealed: too many records cannot be opened; the rest was not read")

// add opens rows, for a list of at most limit. Its error is that of ctx.
func (o *opened[T]) add(ctx context.Context, k kind[T], rows []T, limit int) error {
	errs := each(len(rows), func(i int) error { return k.open(ctx, rows[i]) })
	if err := ctx.Err(); err != nil {
		return err
	}
	for i, row := range rows {
		if errs[i] == nil {
			o.good = append(o.good, row)
			if len(o.good) == limit {
				break
			}
			continue
		}
		o.bad = append(o.bad, keyed("open", k.key(row), errs[i]))
		if len(o.bad) >= maxUnreadable {
			o.tooMany = true
			break
		}
	}
	return nil
}

// ofRecords takes the error of a list apart: what it says about records, and
// what about the list as a whole.
func ofRecords(err error) (records []error, whole error) {
	if err == nil {
		return nil, nil
	}
	list := []error{err}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		list = joined.Unwrap()
	}
	var rest []error
	for _, err := range list {
		if _, ok := err.(*authprofile.Error); ok {
			records = append(records, err)
		} else {
			rest = append(rest, err)
		}
	}
	if len(rest) == 1 {
		return records, rest[0]
	}
	return records, errors.Join(rest...)
}

// keyed says which record an error belongs to.
func keyed(op string, key authprofile.GrantKey, err error) error {
	return &authprofile.Error{Op: op, ProfileID: key.ProfileID, User: key.User, Err: err}
}

// each calls f with the numbers below n, a few at a time.
func each(n int, f func(i int) error) []error {
	errs := make([]error, n)
	var wg sync.WaitGroup
	slots := make(chan struct{}, parallel)
	for i := range n {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			errs[i] = foreign.Call(func() error { return f(i) }) // a Keeper that panics has not opened the record
		})
	}
	wg.Wait()
	return errs
}

func profileRecord(p *authprofile.Profile) record {
	e := p.Endpoints
	bound := []string{
		p.ID, string(p.Type), p.ClientID, string(p.AuthMethod), string(p.Template), p.RedirectURL,
		e.DiscoveryURL, e.AuthURL, e.TokenURL, e.RevocationURL, e.DeviceAuthURL,
	}
	// Fields that came later, each with its name, a list with its length too:
	// none at all is what the seals of earlier versions cover.
	if len(p.APIHosts) > 0 {
		bound = append(append(bound, "APIHosts", strconv.Itoa(len(p.APIHosts))), p.APIHosts...)
	}
	if e.PARURL != "" {
		bound = append(bound, "PARURL", e.PARURL)
	}
	return record{
		kind:  "profile",
		bound: bound,
		// A public client has an empty secret, which is sealed too: else the
		// addresses to which its users' tokens are sent would not be covered.
		fields: []field{
			{name: "ClientSecret", always: true, value: string(p.ClientSecret), set: func(v string) { p.ClientSecret = authprofile.Secret(v) }},
			{name: "ClientKey", value: string(p.ClientKey), set: func(v string) { p.ClientKey = authprofile.Secret(v) }},
		},
	}
}

func grantRecord(g *authprofile.Grant) record {
	r := record{
		kind:  "grant",
		bound: []string{g.ProfileID, g.User},
		fields: []field{
			{name: "AccessToken", value: string(g.AccessToken), set: func(v string) { g.AccessToken = authprofile.Secret(v) }},
			{name: "RefreshToken", value: string(g.RefreshToken), set: func(v string) { g.RefreshToken = authprofile.Secret(v) }},
			{name: "Nonce", value: g.Nonce, set: func(v string) { g.Nonce = v }},
		},
	}
	for _, name := range slices.Sorted(maps.Keys(g.Extra)) {
		r.fields = append(r.fields, field{name: "Extra", member: name, value: string(g.Extra[name]),
			set: func(v string) { g.Extra[name] = authprofile.Secret(v) }})
	}
	return r
}

func flowRecord(f *authprofile.Flow) record {
	r := record{
		kind: "flow",
		bound: []string{
			f.ID, f.ProfileID, f.User, f.RedirectURL, f.Issuer, strconv.FormatBool(f.IssuerRequired),
			strconv.FormatInt(f.ProfileVersion, 10), f.ReturnTo,
		},
		fields: []field{
			{name: "Verifier", always: true, value: string(f.Verifier), set: func(v string) { f.Verifier = authprofile.Secret(v) }},
			{name: "Nonce", value: f.Nonce, set: func(v string) { f.Nonce = v }},
			{name: "Browser", value: f.Browser, set: func(v string) { f.Browser = v }},
		},
	}
	r.bound = append(r.bound, f.Requested...)
	return r
}
