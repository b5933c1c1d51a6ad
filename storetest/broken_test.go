package storetest

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf16"

	"github.com/authprofile/authprofile"
)

// A recorder is a tb that records failures instead of failing.
type recorder struct {
	ctx context.Context
	mu  sync.Mutex
	log []string
}

func (r *recorder) Helper()                  {}
func (r *recorder) Context() context.Context { return r.ctx }
func (r *recorder) Errorf(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.log = append(r.log, fmt.Sprintf(format, args...))
}

func (r *recorder) Fatalf(format string, args ...any) {
	r.Errorf(format, args...)
	runtime.Goexit()
}

// failures runs one check, and returns the failures that it reports.
func failures(ctx context.Context, name string, s authprofile.Store) []string {
	i := slices.IndexFunc(checks, func(c check) bool { return c.name == name })
	if i < 0 {
		panic("no check named " + name)
	}
	r := &recorder{ctx: ctx}
	done := make(chan struct{})
	go func() {
		defer close(done)
		checks[i].run(r, s)
	}()
	<-done
	return r.log
}

// broken is a Store in which each function that is set replaces a method.
type broken struct {
	authprofile.Store
	profile       func(ctx context.Context, id string) (*authprofile.Profile, error)
	listProfiles  func(ctx context.Context, after string, limit int) ([]*authprofile.Profile, error)
	putProfile    func(ctx context.Context, p *authprofile.Profile) error
	deleteProfile func(ctx context.Context, id string) error
	grant         func(ctx context.Context, key authprofile.GrantKey) (*authprofile.Grant, error)
	listGrants    func(ctx context.Context, f authprofile.GrantFilter, after authprofile.GrantKey, limit int) ([]*authprofile.Grant, error)
	countGrants   func(ctx context.Context, profileID string) (map[authprofile.Status]int64, error)
	dueGrants     func(ctx context.Context, before time.Time, limit int) ([]*authprofile.Grant, error)
	putGrant      func(ctx context.Context, g *authprofile.Grant) error
	deleteGrant   func(ctx context.Context, key authprofile.GrantKey) error
	putFlow       func(ctx context.Context, f *authprofile.Flow) error
	takeFlow      func(ctx context.Context, id string) (*authprofile.Flow, error)
}

func (b *broken) Profile(ctx context.Context, id string) (*authprofile.Profile, error) {
	if b.profile != nil {
		return b.profile(ctx, id)
	}
	return b.Store.Profile(ctx, id)
}

func (b *broken) ListProfiles(ctx context.Context, after string, limit int) ([]*authprofile.Profile, error) {
	if b.listProfiles != nil {
		return b.listProfiles(ctx, after, limit)
	}
	return b.Store.ListProfiles(ctx, after, limit)
}

func (b *broken) PutProfile(ctx context.Context, p *authprofile.Profile) error {
	if b.putProfile != nil {
		return b.putProfile(ctx, p)
	}
	return b.Store.PutProfile(ctx, p)
}

func (b *broken) DeleteProfile(ctx context.Context, id string) error {
	if b.deleteProfile != nil {
		return b.deleteProfile(ctx, id)
	}
	return b.Store.DeleteProfile(ctx, id)
}

func (b *broken) Grant(ctx context.Context, key authprofile.GrantKey) (*authprofile.Grant, error) {
	if b.grant != nil {
		return b.grant(ctx, key)
	}
	return b.Store.Grant(ctx, key)
}

func (b *broken) ListGrants(ctx context.Context, f authprofile.GrantFilter, after authprofile.GrantKey, limit int) ([]*authprofile.Grant, error) {
	if b.listGrants != nil {
		return b.listGrants(ctx, f, after, limit)
	}
	return b.Store.ListGrants(ctx, f, after, limit)
}

func (b *broken) CountGrants(ctx context.Context, profileID string) (map[authprofile.Status]int64, error) {
	if b.countGrants != nil {
		return b.countGrants(ctx, profileID)
	}
	return b.Store.CountGrants(ctx, profileID)
}

func (b *broken) DueGrants(ctx context.Context, before time.Time, limit int) ([]*authprofile.Grant, error) {
	if b.dueGrants != nil {
		return b.dueGrants(ctx, before, limit)
	}
	return b.Store.DueGrants(ctx, before, limit)
}

func (b *broken) PutGrant(ctx context.Context, g *authprofile.Grant) error {
	if b.putGrant != nil {
		return b.putGrant(ctx, g)
	}
	return b.Store.PutGrant(ctx, g)
}

func (b *broken) DeleteGrant(ctx context.Context, key authprofile.GrantKey) error {
	if b.deleteGrant != nil {
		return b.deleteGrant(ctx, key)
	}
	return b.Store.DeleteGrant(ctx, key)
}

func (b *broken) PutFlow(ctx context.Context, f *authprofile.Flow) error {
	if b.putFlow != nil {
		return b.putFlow(ctx, f)
	}
	return b.Store.PutFlow(ctx, f)
}

func (b *broken) TakeFlow(ctx context.Context, id string) (*authprofile.Flow, error) {
	if b.takeFlow != nil {
		return b.takeFlow(ctx, id)
	}
	return b.Store.TakeFlow(ctx, id)
}

type (
	profile = authprofile.Profile
	grant   = authprofile.Grant
	flow    = authprofile.Flow
	key     = authprofile.GrantKey
	filter  = authprofile.GrantFilter
	status  = authprofile.Status
	counts  = map[authprofile.Status]int64
)

// onRead changes what comes out of the Store.
func onRead(p func(*profile), g func(*grant), f func(*flow)) func(*broken) {
	return func(b *broken) {
		s := b.Store
		if p != nil {
			b.profile = func(ctx context.Context, id string) (*profile, error) {
				r, err := s.Profile(ctx, id)
				if err == nil {
					p(r)
				}
				return r, err
			}
			b.listProfiles = func(ctx context.Context, after string, limit int) ([]*profile, error) {
				list, err := s.ListProfiles(ctx, after, limit)
				for _, r := range list {
					p(r)
				}
				return list, err
			}
		}
		if g != nil {
			b.grant = func(ctx context.Context, k key) (*grant, error) {
				r, err := s.Grant(ctx, k)
				if err == nil {
					g(r)
				}
				return r, err
			}
			b.listGrants = func(ctx context.Context, f filter, after key, limit int) ([]*grant, error) {
				list, err := s.ListGrants(ctx, f, after, limit)
				for _, r := range list {
					g(r)
				}
				return list, err
			}
			b.dueGrants = func(ctx context.Context, before time.Time, limit int) ([]*grant, error) {
				list, err := s.DueGrants(ctx, before, limit)
				for _, r := range list {
					g(r)
				}
				return list, err
			}
		}
		if f != nil {
			b.takeFlow = func(ctx context.Context, id string) (*flow, error) {
				r, err := s.TakeFlow(ctx, id)
				if err == nil {
					f(r)
				}
				return r, err
			}
		}
	}
}

// text changes all strings that come out of the Store but identifiers.
func text(change func(string) string) func(*broken) {
	set := func(v reflect.Value) { v.SetString(change(v.String())) }
	return onRead(
		func(p *profile) {
			id := p.ID
			eachString(reflect.ValueOf(p).Elem(), set)
			p.ID = id
		},
		func(g *grant) {
			k := g.GrantKey
			eachString(reflect.ValueOf(g).Elem(), set)
			g.GrantKey = k
		},
		func(f *flow) {
			k, id := f.GrantKey, f.ID
			eachString(reflect.ValueOf(f).Elem(), set)
			f.GrantKey, f.ID = k, id
		})
}

// times changes all times that come out of the Store but the expiry of flows.
func times(change func(time.Time) time.Time) func(*broken) {
	set := func(v reflect.Value) { v.Set(reflect.ValueOf(change(v.Interface().(time.Time)))) }
	return onRead(
		func(p *profile) { eachTime(reflect.ValueOf(p).Elem(), set) },
		func(g *grant) { eachTime(reflect.ValueOf(g).Elem(), set) }, nil)
}

// folded compares identifiers after a change, as a collation does.
func folded(change func(string) string) func(*broken) {
	return func(b *broken) {
		s := b.Store
		var mu sync.Mutex
		names := make(map[string]string) // what each was stored as
		fold := func(id string) string {
			mu.Lock()
			defer mu.Unlock()
			if names[change(id)] == "" {
				names[change(id)] = id
			}
			return names[change(id)]
		}
		b.profile = func(ctx context.Context, id string) (*profile, error) { return s.Profile(ctx, fold(id)) }
		b.putProfile = func(ctx context.Context, p *profile) error {
			id := p.ID
			defer func() { p.ID = id }()
			p.ID = fold(id)
			return s.PutProfile(ctx, p)
		}
		b.grant = func(ctx context.Context, k key) (*grant, error) {
			return s.Grant(ctx, key{ProfileID: fold(k.ProfileID), User: fold(k.User)})
		}
		b.putGrant = func(ctx context.Context, g *grant) error {
			k := g.GrantKey
			defer func() { g.GrantKey = k }()
			g.GrantKey = key{ProfileID: fold(k.ProfileID), User: fold(k.User)}
			return s.PutGrant(ctx, g)
		}
		b.putFlow = func(ctx context.Context, f *flow) error {
			c := f.Clone()
			c.ID = fold(f.ID)
			return s.PutFlow(ctx, c)
		}
		b.takeFlow = func(ctx context.Context, id string) (*flow, error) { return s.TakeFlow(ctx, fold(id)) }
	}
}

// putting wraps both put methods of records.
func putting(p func(ctx context.Context, p *profile, put func(*profile) error) error, g func(ctx context.Context, g *grant, put func(*grant) error) error) func(*broken) {
	return func(b *broken) {
		s := b.Store
		if p != nil {
			b.putProfile = func(ctx context.Context, r *profile) error {
				return p(ctx, r, func(r *profile) error { return s.PutProfile(ctx, r) })
			}
		}
		if g != nil {
			b.putGrant = func(ctx context.Context, r *grant) error {
				return g(ctx, r, func(r *grant) error { return s.PutGrant(ctx, r) })
			}
		}
	}
}

// replacing keeps something of the profile that is replaced in the one that is
// put in its place.
func replacing(keep func(old, p *profile)) func(*broken) {
	return func(b *broken) {
		s := b.Store
		b.putProfile = func(ctx context.Context, p *profile) error {
			c := p.Clone()
			if old, err := s.Profile(ctx, p.ID); err == nil {
				keep(old, c)
			}
			err := s.PutProfile(ctx, c)
			p.Version, p.Created, p.Updated = c.Version, c.Created, c.Updated
			return err
		}
	}
}

// versioned gives versions of its own to callers, and translates.
func versioned(next func(id string, last int64, life int) int64) func(*broken) {
	return func(b *broken) {
		s := b.Store
		var mu sync.Mutex
		type state struct {
			shown, real int64
			life        int
		}
		states := make(map[string]*state)
		show := func(p *profile) *profile {
			mu.Lock()
			defer mu.Unlock()
			if st := states[p.ID]; st != nil {
				p.Version = st.shown
			}
			return p
		}
		b.profile = func(ctx context.Context, id string) (*profile, error) {
			p, err := s.Profile(ctx, id)
			if err == nil {
				show(p)
			}
			return p, err
		}
		b.putProfile = func(ctx context.Context, p *profile) error {
			mu.Lock()
			defer mu.Unlock()
			st := states[p.ID]
			if st == nil {
				st = new(state)
				states[p.ID] = st
			}
			c := p.Clone()
			if p.Version != 0 && p.Version == st.shown {
				c.Version = st.real
			}
			if err := s.PutProfile(ctx, c); err != nil {
				return err
			}
			if p.Version == 0 {
				st.life++
				st.shown = 0
			}
			st.real = c.Version
			st.shown = next(p.ID, st.shown, st.life)
			p.Version, p.Created, p.Updated = st.shown, c.Created, c.Updated
			return nil
		}
	}
}

// dropped forgets one field.
func dropped[R any](index []int) func(*R) {
	return func(r *R) {
		v := reflect.ValueOf(r).Elem()
		for _, i := range index {
			if v.Kind() == reflect.Pointer {
				if v.IsNil() {
					return
				}
				v = v.Elem()
			}
			v = v.Field(i)
		}
		v.SetZero()
	}
}

// leaves calls f with every field that holds a value, however deep.
func leaves(typ reflect.Type, index []int, path string, f func(path string, index []int)) {
	for _, sf := range reflect.VisibleFields(typ) {
		if !sf.IsExported() || sf.Anonymous {
			continue
		}
		at := append(slices.Clone(index), sf.Index...)
		ft := sf.Type
		if ft.Kind() == reflect.Pointer {
			f(path+"."+sf.Name, at)
			ft = ft.Elem()
		}
		if ft.Kind() == reflect.Struct && ft != timeType {
			leaves(ft, at, path+"."+sf.Name, f)
		} else {
			f(path+"."+sf.Name, at)
		}
	}
}

func without(ctx context.Context) context.Context { return context.WithoutCancel(ctx) }

// brokenStores break one promise each. The check that is named must notice.
var brokenStores = []struct {
	promise string
	check   string
	brk     func(*broken)
}{
	// Concurrency.
	{"each call takes effect whole: a grant put in two steps", "GrantWhole", func(b *broken) {
		s := b.Store
		var half halfway
		b.grant = func(ctx context.Context, k key) (*grant, error) {
			defer half.hold()
			return s.Grant(ctx, k)
		}
		b.putGrant = func(ctx context.Context, g *grant) error {
			c := g.Clone()
			c.RefreshToken = ""
			if err := s.PutGrant(ctx, c); err != nil {
				return err
			}
			defer half.pause()()
			g.Version = c.Version
			return s.PutGrant(ctx, g)
		}
	}},
	{"each call takes effect whole: a profile replaced by deleting and creating", "ProfileWhole", func(b *broken) {
		s := b.Store
		var half halfway
		b.profile = func(ctx context.Context, id string) (*profile, error) {
			defer half.hold()
			return s.Profile(ctx, id)
		}
		b.putProfile = func(ctx context.Context, p *profile) error {
			if p.Version == 0 {
				return s.PutProfile(ctx, p)
			}
			if err := s.DeleteProfile(ctx, p.ID); err != nil {
				return err
			}
			defer half.pause()()
			p.Version = 0
			return s.PutProfile(ctx, p)
		}
	}},
	{"each call takes effect whole: a profile deleted before its grants", "DeleteProfileWhole", func(b *broken) {
		s := b.Store
		var half halfway
		b.grant = func(ctx context.Context, k key) (*grant, error) {
			defer half.hold()
			return s.Grant(ctx, k)
		}
		b.deleteProfile = func(ctx context.Context, id string) error {
			list, err := s.ListGrants(ctx, filter{ProfileID: id}, key{}, 10)
			if err != nil {
				return err
			}
			if err := s.DeleteProfile(ctx, id); err != nil {
				return err
			}
			for _, g := range list {
				g.Version = 0
				s.PutGrant(ctx, g)
			}
			defer half.pause()()
			return s.DeleteProfile(ctx, id)
		}
	}},
	{"a call that has returned is seen: reads from a cache", "ProfileReplace", func(b *broken) {
		s := b.Store
		var cache sync.Map
		b.profile = func(ctx context.Context, id string) (*profile, error) {
			if p, ok := cache.Load(id); ok {
				return p.(*profile).Clone(), nil
			}
			p, err := s.Profile(ctx, id)
			if err == nil {
				cache.Store(id, p.Clone())
			}
			return p, err
		}
	}},
	{"a call that has returned is seen: lists from a cache", "GrantFields", func(b *broken) {
		s := b.Store
		var cached []*grant
		b.listGrants = func(ctx context.Context, f filter, after key, limit int) ([]*grant, error) {
			list, err := s.ListGrants(ctx, f, after, limit)
			if cached == nil {
				cached = list
			}
			return cached, err
		}
	}},
	{"all methods may be called at once: refused while busy", "GrantParallelReplace", func(b *broken) {
		s := b.Store
		var mu sync.Mutex
		b.putGrant = func(ctx context.Context, g *grant) error {
			if !mu.TryLock() {
				return errors.New("database is locked")
			}
			defer mu.Unlock()
			<-time.After(time.Millisecond)
			return s.PutGrant(ctx, g)
		}
	}},

	// Context.
	{"a method returns after its context ends: Profile", "ProfileContextEnded", func(b *broken) {
		s := b.Store
		b.profile = func(ctx context.Context, id string) (*profile, error) { return s.Profile(without(ctx), id) }
	}},
	{"a method returns after its context ends: ListProfiles", "ProfileContextEnded", func(b *broken) {
		s := b.Store
		b.listProfiles = func(ctx context.Context, after string, limit int) ([]*profile, error) {
			return s.ListProfiles(without(ctx), after, limit)
		}
	}},
	{"a method returns after its context ends: PutProfile", "ProfileContextEnded", func(b *broken) {
		s := b.Store
		b.putProfile = func(ctx context.Context, p *profile) error { return s.PutProfile(without(ctx), p) }
	}},
	{"a method returns after its context ends: DeleteProfile", "ProfileContextEnded", func(b *broken) {
		s := b.Store
		b.deleteProfile = func(ctx context.Context, id string) error { return s.DeleteProfile(without(ctx), id) }
	}},
	{"a method returns after its context ends: Grant", "GrantContextEnded", func(b *broken) {
		s := b.Store
		b.grant = func(ctx context.Context, k key) (*grant, error) { return s.Grant(without(ctx), k) }
	}},
	{"a method returns after its context ends: ListGrants", "GrantContextEnded", func(b *broken) {
		s := b.Store
		b.listGrants = func(ctx context.Context, f filter, after key, limit int) ([]*grant, error) {
			return s.ListGrants(without(ctx), f, after, limit)
		}
	}},
	{"a method returns after its context ends: PutGrant", "GrantContextEnded", func(b *broken) {
		s := b.Store
		b.putGrant = func(ctx context.Context, g *grant) error { return s.PutGrant(without(ctx), g) }
	}},
	{"a method returns after its context ends: DeleteGrant", "GrantContextEnded", func(b *broken) {
		s := b.Store
		b.deleteGrant = func(ctx context.Context, k key) error { return s.DeleteGrant(without(ctx), k) }
	}},
	{"a method returns after its context ends: PutFlow", "FlowContextEnded", func(b *broken) {
		s := b.Store
		b.putFlow = func(ctx context.Context, f *flow) error { return s.PutFlow(without(ctx), f) }
	}},
	{"a method returns after its context ends: TakeFlow", "FlowContextEnded", func(b *broken) {
		s := b.Store
		b.takeFlow = func(ctx context.Context, id string) (*flow, error) { return s.TakeFlow(without(ctx), id) }
	}},
	{"nil and empty are not told apart: profiles", "ProfileFields", putting(func(ctx context.Context, p *profile, put func(*profile) error) error {
		if p.Scopes != nil && len(p.Scopes) == 0 {
			return errors.New("an empty array")
		}
		return put(p)
	}, nil)},
	{"nil and empty are not told apart: grants", "GrantFields", putting(nil, func(ctx context.Context, g *grant, put func(*grant) error) error {
		if g.Extra != nil && len(g.Extra) == 0 {
			g.Extra = map[string]authprofile.Secret{"": ""}
		}
		return put(g)
	})},
	{"nil and empty are not told apart: flows", "FlowFields", func(b *broken) {
		s := b.Store
		b.putFlow = func(ctx context.Context, f *flow) error {
			c := f.Clone()
			if f.Requested != nil {
				c.Requested = strings.Split(strings.Join(f.Requested, " "), " ")
			}
			return s.PutFlow(ctx, c)
		}
	}},
	{"a method returns soon", "GrantContextEnded", func(b *broken) {
		s := b.Store
		b.grant = func(ctx context.Context, k key) (*grant, error) {
			if ctx.Err() != nil {
				<-time.After(time.Hour)
			}
			return s.Grant(ctx, k)
		}
	}},
	{"an error that is ErrNotFound is true", "ProfileContextEnded", func(b *broken) {
		s := b.Store
		b.profile = func(ctx context.Context, id string) (*profile, error) {
			p, err := s.Profile(ctx, id)
			if err != nil {
				err = authprofile.ErrNotFound
			}
			return p, err
		}
	}},
	{"an error that is ErrConflict is true", "GrantContextEnded", func(b *broken) {
		s := b.Store
		b.putGrant = func(ctx context.Context, g *grant) error {
			err := s.PutGrant(ctx, g)
			if err != nil {
				err = authprofile.ErrConflict
			}
			return err
		}
	}},
	{"an error that is ErrNotFound is true: TakeFlow", "FlowContextEnded", func(b *broken) {
		s := b.Store
		b.takeFlow = func(ctx context.Context, id string) (*flow, error) {
			f, err := s.TakeFlow(ctx, id)
			if err != nil {
				err = authprofile.ErrNotFound
			}
			return f, err
		}
	}},
	{"a put whose context ends has happened or not", "GrantContextEnds", func(b *broken) {
		s := b.Store
		b.putGrant = func(ctx context.Context, g *grant) error {
			if g.Version != 0 {
				half := g.Clone()
				half.Subject = "half"
				s.PutGrant(without(ctx), half)
				return context.DeadlineExceeded
			}
			return s.PutGrant(ctx, g)
		}
	}},

	// Ownership.
	{"what is passed in belongs to the caller: a profile is kept as it is", "ProfileOwnershipOfArguments", func(b *broken) {
		s := b.Store
		kept := make(map[string]*profile)
		b.putProfile = func(ctx context.Context, p *profile) error {
			err := s.PutProfile(ctx, p)
			if err == nil {
				kept[p.ID] = p
			}
			return err
		}
		b.profile = func(ctx context.Context, id string) (*profile, error) { return kept[id].Clone(), nil }
	}},
	{"what is passed in belongs to the caller: a grant's lists are kept", "GrantOwnershipOfArguments", func(b *broken) {
		s := b.Store
		kept := make(map[key][]string)
		b.putGrant = func(ctx context.Context, g *grant) error {
			kept[g.GrantKey] = g.Scopes
			return s.PutGrant(ctx, g)
		}
		b.grant = func(ctx context.Context, k key) (*grant, error) {
			g, err := s.Grant(ctx, k)
			if err == nil {
				g.Scopes = kept[k]
			}
			return g, err
		}
	}},
	{"what is passed in belongs to the caller: a flow is kept as it is", "FlowOwnership", func(b *broken) {
		s := b.Store
		kept := make(map[string][]string)
		b.putFlow = func(ctx context.Context, f *flow) error {
			kept[f.ID] = f.Requested
			return s.PutFlow(ctx, f)
		}
		b.takeFlow = func(ctx context.Context, id string) (*flow, error) {
			f, err := s.TakeFlow(ctx, id)
			if err == nil {
				f.Requested = kept[id]
			}
			return f, err
		}
	}},
	{"what is returned belongs to the caller: the same record each time", "ProfileOwnershipOfResults", func(b *broken) {
		s := b.Store
		kept := make(map[string]*profile)
		b.profile = func(ctx context.Context, id string) (*profile, error) {
			if kept[id] == nil {
				kept[id], _ = s.Profile(ctx, id)
			}
			return kept[id], nil
		}
	}},
	{"what is returned belongs to the caller: the same pointer inside", "GrantOwnershipOfResults", func(b *broken) {
		s := b.Store
		var lease *authprofile.Lease
		b.listGrants = func(ctx context.Context, f filter, after key, limit int) ([]*grant, error) {
			list, err := s.ListGrants(ctx, f, after, limit)
			for _, g := range list {
				if lease == nil {
					lease = g.Lease
				}
				g.Lease = lease
			}
			return list, err
		}
	}},
	{"arguments are changed only as said: scopes sorted", "ProfileArguments", putting(
		func(ctx context.Context, p *profile, put func(*profile) error) error {
			c := p.Clone()
			slices.Sort(p.Scopes)
			c.Version, c.Created, c.Updated = p.Version, p.Created, p.Updated
			err := put(c)
			p.Version, p.Created, p.Updated = c.Version, c.Created, c.Updated
			return err
		}, nil)},
	{"arguments are changed only as said: times moved to UTC", "GrantArguments", putting(nil,
		func(ctx context.Context, g *grant, put func(*grant) error) error {
			g.Expiry = g.Expiry.UTC()
			return put(g)
		})},
	{"arguments are changed only as said: PutFlow empties State", "FlowFields", func(b *broken) {
		s := b.Store
		b.putFlow = func(ctx context.Context, f *flow) error {
			f.State = ""
			return s.PutFlow(ctx, f)
		}
	}},
	{"arguments are not changed by a failure: version", "ProfileReplace", putting(
		func(ctx context.Context, p *profile, put func(*profile) error) error {
			err := put(p)
			if err != nil {
				p.Version++
			}
			return err
		}, nil)},
	{"arguments are not changed by a failure: time", "GrantArguments", putting(nil,
		func(ctx context.Context, g *grant, put func(*grant) error) error {
			g.Updated = time.Now().UTC()
			return put(g)
		})},

	// Values.
	{"identifiers are compared byte by byte: case", "ProfileIdentifiers", folded(strings.ToLower)},
	{"identifiers are compared byte by byte: spaces at the end", "GrantIdentifiers", folded(func(s string) string { return strings.TrimRight(s, " ") })},
	{"identifiers are compared byte by byte: accents", "GrantIdentifiers", folded(strings.NewReplacer("e\u0301", "é").Replace)},
	{"identifiers are compared byte by byte: characters beyond the first plane", "ProfileIdentifiers", folded(func(s string) string {
		return strings.Map(func(r rune) rune { return min(r, 0x10000) }, s)
	})},
	{"identifiers are compared byte by byte: numbers", "ProfileIdentifiers", folded(func(s string) string { return strings.TrimLeft(s, "0") })},
	{"identifiers are compared byte by byte: of the profile of a grant", "GrantsByProfile", folded(strings.ToUpper)},
	{"identifiers are compared byte by byte: of flows", "FlowIdentifiers", folded(strings.ToLower)},
	{"identifiers have up to 255 bytes: profiles", "ProfileLongIdentifiers", folded(func(s string) string { return s[:min(len(s), 254)] })},
	{"identifiers have up to 512 bytes: users", "GrantLongIdentifiers", folded(func(s string) string { return s[:min(len(s), 511)] })},
	{"identifiers have up to 255 bytes: flows", "FlowIdentifiers", folded(func(s string) string { return s[:min(len(s), 254)] })},
	{"a secret comes back as it went in: redacted", "ProfileFields", onRead(func(p *profile) {
		if p.ClientSecret != "" {
			p.ClientSecret = "[redacted]"
		}
	}, nil, nil)},
	{"a key comes back as it went in: redacted", "ProfileFields", onRead(func(p *profile) {
		if p.ClientKey != "" {
			p.ClientKey = "[redacted]"
		}
	}, nil, nil)},
	{"every field is kept: the key in the place of the secret", "ProfileOneField", onRead(func(p *profile) {
		if p.ClientSecret == "" {
			p.ClientSecret, p.ClientKey = p.ClientKey, ""
		}
	}, nil, nil)},
	{"every field is kept: key and secret exchanged", "ProfileFields", onRead(func(p *profile) {
		p.ClientSecret, p.ClientKey = p.ClientKey, p.ClientSecret
	}, nil, nil)},
	{"every field is kept: the key without its last line end", "ProfileStrings", onRead(func(p *profile) {
		p.ClientKey = authprofile.Secret(strings.TrimSuffix(string(p.ClientKey), "\n"))
	}, nil, nil)},
	{"every field is replaced: the key is not", "ProfileFields", replacing(func(old, p *profile) { p.ClientKey = old.ClientKey })},
	{"every field is replaced: the key is not, by none", "ProfileFields", replacing(func(old, p *profile) {
		if p.ClientKey == "" {
			p.ClientKey = old.ClientKey
		}
	})},
	{"every field is kept: the address of pushed requests in the place of another", "ProfileFields", onRead(func(p *profile) {
		p.Endpoints.PARURL, p.Endpoints.AuthURL = p.Endpoints.AuthURL, p.Endpoints.PARURL
	}, nil, nil)},
	{"every field is replaced: the address of pushed requests is not, by none", "ProfileFields", replacing(func(old, p *profile) {
		if p.Endpoints.PARURL == "" {
			p.Endpoints.PARURL = old.Endpoints.PARURL
		}
	})},
	{"strings are kept byte by byte: trimmed", "GrantStrings", text(strings.TrimSpace)},
	{"strings are kept byte by byte: cut at 4095 bytes", "ProfileStrings", text(func(s string) string { return s[:min(len(s), 4095)] })},
	{"strings are kept byte by byte: cut at 65535 bytes", "GrantStrings", text(func(s string) string { return s[:min(len(s), 65535)] })},
	{"strings are kept byte by byte: by way of JSON", "ProfileStrings", text(throughJSON)},
	{"strings are kept byte by byte: by way of JSON, in grants", "GrantStrings", text(throughJSON)},
	{"strings are kept byte by byte: by way of JSON, in flows", "FlowStrings", text(throughJSON)},
	{"strings are kept byte by byte: ended by a zero byte", "FlowStrings", text(func(s string) string { s, _, _ = strings.Cut(s, "\x00"); return s })},
	{"strings are kept byte by byte: line ends", "ProfileStrings", text(strings.NewReplacer("\r\n", "\n").Replace)},
	{"times are kept to the millisecond", "GrantTimes", times(func(t time.Time) time.Time { return t.Truncate(time.Second) })},
	{"times come back in UTC", "ProfileTimes", times(func(t time.Time) time.Time { return t.In(berlin) })},
	{"times come back as they were: written without their zone", "GrantTimes", putting(nil,
		func(ctx context.Context, g *grant, put func(*grant) error) error {
			c := g.Clone()
			_, offset := c.Expiry.Zone()
			c.Expiry = c.Expiry.Add(time.Duration(offset) * time.Second)
			err := put(c)
			g.Version, g.Created, g.Updated = c.Version, c.Created, c.Updated
			return err
		})},
	{"the zero time comes back: as 1970", "GrantTimes", times(func(t time.Time) time.Time {
		if t.IsZero() {
			return time.Unix(0, 0).UTC()
		}
		return t
	})},
	{"the zero time comes back: and 1970 does too", "GrantTimes", times(func(t time.Time) time.Time {
		if t.Unix() == 0 {
			return time.Time{}
		}
		return t
	})},
	{"times come back as they were: after 2038", "GrantTimes", times(func(t time.Time) time.Time {
		if last := time.Unix(1<<31-1, 0).UTC(); t.After(last) {
			return last
		}
		return t
	})},
	{"lists keep their order", "GrantFields", onRead(nil, func(g *grant) { slices.Sort(g.Scopes) }, nil)},
	{"a failure without anything in it is one", "GrantOneField", onRead(nil, func(g *grant) {
		if g.Failure != nil && *g.Failure == (authprofile.Failure{}) {
			g.Failure = nil
		}
	}, nil)},
	{"a lease without anything in it is one", "GrantOneField", onRead(nil, func(g *grant) {
		if g.Lease != nil && *g.Lease == (authprofile.Lease{}) {
			g.Lease = nil
		}
	}, nil)},
	{"what is replaced leaves nothing behind", "GrantFields", func(b *broken) {
		s := b.Store
		b.putGrant = func(ctx context.Context, g *grant) error {
			c := g.Clone()
			if old, err := s.Grant(ctx, g.GrantKey); err == nil && c.Failure == nil {
				c.Failure = old.Failure
			}
			err := s.PutGrant(ctx, c)
			g.Version, g.Created, g.Updated = c.Version, c.Created, c.Updated
			return err
		}
	}},

	{"identifiers have their whole length together: refused", "GrantLongestKeys", putting(nil,
		func(ctx context.Context, g *grant, put func(*grant) error) error {
			if len(g.ProfileID)+len(g.User) > 766 {
				return errors.New("index row size exceeds the maximum")
			}
			return put(g)
		})},
	{"identifiers have their whole length together: characters of two bytes", "GrantLongestKeys", putting(nil,
		func(ctx context.Context, g *grant, put func(*grant) error) error {
			if strings.Count(g.ProfileID+g.User, "é") > 300 {
				return errors.New("key too long")
			}
			return put(g)
		})},
	{"identifiers have their whole length together: joined and cut", "GrantLongestKeys", func(b *broken) {
		s := b.Store
		cut := func(k key) key {
			k.User = k.User[:max(0, min(len(k.User), 766-len(k.ProfileID)))]
			return k
		}
		b.grant = func(ctx context.Context, k key) (*grant, error) {
			g, err := s.Grant(ctx, cut(k))
			if err == nil {
				g.GrantKey = k
			}
			return g, err
		}
		b.putGrant = func(ctx context.Context, g *grant) error {
			k := g.GrantKey
			defer func() { g.GrantKey = k }()
			g.GrantKey = cut(k)
			return s.PutGrant(ctx, g)
		}
	}},
	{"identifiers have their whole length together: flows", "FlowIdentifiers", func(b *broken) {
		s := b.Store
		b.putFlow = func(ctx context.Context, f *flow) error {
			if len(f.ID)+len(f.ProfileID)+len(f.User) > 1000 {
				return errors.New("row too large")
			}
			return s.PutFlow(ctx, f)
		}
	}},
	{"identifiers have their whole length together: lists after them", "GrantLongestKeys", func(b *broken) {
		s := b.Store
		b.listGrants = func(ctx context.Context, f filter, after key, limit int) ([]*grant, error) {
			after.User = after.User[:min(len(after.User), 511)]
			return s.ListGrants(ctx, f, after, limit)
		}
	}},
	{"lists keep strings that are empty", "ProfileStrings", onRead(func(p *profile) {
		p.Scopes = strings.FieldsFunc(strings.Join(p.Scopes, "\x01"), func(r rune) bool { return r == 1 })
	}, nil, nil)},
	{"maps keep a name that is empty", "GrantStrings", onRead(nil, func(g *grant) { delete(g.Extra, "") }, nil)},
	{"what is replaced leaves nothing behind: in maps", "GrantReplaceOneField", merging(func(old, g *grant) {
		if len(g.Extra) > 0 {
			for name, value := range old.Extra {
				if _, ok := g.Extra[name]; !ok {
					g.Extra[name] = value
				}
			}
		}
	})},
	{"every field is replaced: only with the tokens", "GrantReplaceOneField", merging(func(old, g *grant) {
		if old.AccessToken == g.AccessToken {
			g.Scopes = old.Scopes
		}
	})},
	{"every field is replaced: the failure only when it is another", "GrantReplaceOneField", merging(func(old, g *grant) {
		if old.Failure != nil && g.Failure != nil && old.Failure.Reason == g.Failure.Reason && old.Failure.Attempts == g.Failure.Attempts {
			g.Failure = old.Failure
		}
	})},
	{"every field is replaced: the lease only when its owner is another", "GrantReplaceOneField", merging(func(old, g *grant) {
		if old.Lease != nil && g.Lease != nil && old.Lease.Owner == g.Lease.Owner {
			g.Lease = old.Lease
		}
	})},
	{"arguments are changed only as said: times cut to the millisecond", "GrantArguments", putting(nil,
		func(ctx context.Context, g *grant, put func(*grant) error) error {
			g.Expiry = g.Expiry.Truncate(time.Millisecond)
			return put(g)
		})},

	// Reading.
	{"Profile returns ErrNotFound", "ProfileNotFound", func(b *broken) {
		s := b.Store
		b.profile = func(ctx context.Context, id string) (*profile, error) {
			p, err := s.Profile(ctx, id)
			if errors.Is(err, authprofile.ErrNotFound) {
				return nil, nil
			}
			return p, err
		}
	}},
	{"Grant returns ErrNotFound", "GrantNotFound", func(b *broken) {
		s := b.Store
		b.grant = func(ctx context.Context, k key) (*grant, error) {
			g, err := s.Grant(ctx, k)
			if err != nil {
				err = errors.New("no rows")
			}
			return g, err
		}
	}},
	{"at most limit", "ProfilePages", func(b *broken) {
		s := b.Store
		b.listProfiles = func(ctx context.Context, after string, limit int) ([]*profile, error) {
			return s.ListProfiles(ctx, after, limit+1)
		}
	}},
	{"fewer than limit means no more", "GrantPages", func(b *broken) {
		s := b.Store
		b.listGrants = func(ctx context.Context, f filter, after key, limit int) ([]*grant, error) {
			return s.ListGrants(ctx, f, after, min(limit, 5))
		}
	}},
	{"fewer than limit means no more: not for a thousand", "ProfilePagesOfMany", func(b *broken) {
		s := b.Store
		b.listProfiles = func(ctx context.Context, after string, limit int) ([]*profile, error) {
			return s.ListProfiles(ctx, after, min(limit, 1000))
		}
	}},
	{"fewer than limit means no more: not for a hundred", "GrantsOfManyUsers", func(b *broken) {
		s := b.Store
		b.listGrants = func(ctx context.Context, f filter, after key, limit int) ([]*grant, error) {
			return s.ListGrants(ctx, f, after, min(limit, 100))
		}
	}},
	{"fewer than limit means no more: not for as much as a message holds", "GrantPagesOfLarge", func(b *broken) {
		s := b.Store
		b.listGrants = func(ctx context.Context, f filter, after key, limit int) ([]*grant, error) {
			list, err := s.ListGrants(ctx, f, after, limit)
			size := 0
			for i, g := range list {
				if size += len(g.AccessToken) + len(g.RefreshToken); size > 4<<20 {
					return list[:i], nil
				}
			}
			return list, err
		}
	}},
	{"at most limit: however large that is", "ProfilePages", func(b *broken) {
		s := b.Store
		b.listProfiles = func(ctx context.Context, after string, limit int) ([]*profile, error) {
			list, err := s.ListProfiles(ctx, after, limit+1) // to see whether there are more
			return list[:min(limit, len(list))], err
		}
	}},
	{"after the given one: also if it was deleted", "ProfilePagesWhileChanging", func(b *broken) {
		s := b.Store
		gone := make(map[string]bool)
		b.deleteProfile = func(ctx context.Context, id string) error {
			gone[id] = true
			return s.DeleteProfile(ctx, id)
		}
		b.listProfiles = func(ctx context.Context, after string, limit int) ([]*profile, error) {
			if gone[after] {
				return nil, nil
			}
			return s.ListProfiles(ctx, after, limit)
		}
	}},
	{"lists are whole: names first, and then the records that are still there", "ProfilePagesWhileOthersChange", func(b *broken) {
		s := b.Store
		b.deleteProfile = func(ctx context.Context, id string) error {
			<-time.After(time.Microsecond) // in a bubble: until others have listed
			return s.DeleteProfile(ctx, id)
		}
		b.listProfiles = func(ctx context.Context, after string, limit int) ([]*profile, error) {
			names, err := s.ListProfiles(ctx, after, limit)
			<-time.After(time.Millisecond)
			var list []*profile
			for _, p := range names {
				if p, err := s.Profile(ctx, p.ID); err == nil {
					list = append(list, p)
				}
			}
			return list, err
		}
	}},
	{"lists are whole: names first, and then an error for a record that is gone", "GrantPagesWhileOthersChange", func(b *broken) {
		s := b.Store
		b.deleteGrant = func(ctx context.Context, k key) error {
			<-time.After(time.Microsecond)
			return s.DeleteGrant(ctx, k)
		}
		b.listGrants = func(ctx context.Context, f filter, after key, limit int) ([]*grant, error) {
			list, err := s.ListGrants(ctx, f, after, limit)
			<-time.After(time.Millisecond)
			for i, g := range list {
				if list[i], err = s.Grant(ctx, g.GrantKey); err != nil {
					return nil, err
				}
			}
			return list, err
		}
	}},
	{"an empty user is one of its own", "GrantsOfApps", func(b *broken) {
		s := b.Store
		b.grant = func(ctx context.Context, k key) (*grant, error) {
			if g, err := s.Grant(ctx, k); err == nil || k.User != "" {
				return g, err
			}
			list, err := s.ListGrants(ctx, filter{ProfileID: k.ProfileID}, key{}, 1)
			if len(list) == 0 {
				return nil, cmp.Or(err, authprofile.ErrNotFound)
			}
			return list[0], err
		}
	}},
	{"no error is both: of Grant", "GrantNotFound", func(b *broken) {
		s := b.Store
		b.grant = func(ctx context.Context, k key) (*grant, error) {
			g, err := s.Grant(ctx, k)
			return g, both(err)
		}
	}},
	{"no error is both: of PutProfile", "ProfileReplace", func(b *broken) {
		s := b.Store
		b.putProfile = func(ctx context.Context, p *profile) error { return both(s.PutProfile(ctx, p)) }
	}},
	{"no error is both: of TakeFlow", "FlowNotFound", func(b *broken) {
		s := b.Store
		b.takeFlow = func(ctx context.Context, id string) (*flow, error) {
			f, err := s.TakeFlow(ctx, id)
			return f, both(err)
		}
	}},
	{"after the given one", "ProfilePages", func(b *broken) {
		s := b.Store
		b.listProfiles = func(ctx context.Context, after string, limit int) ([]*profile, error) {
			list, err := s.ListProfiles(ctx, after, limit)
			if p, perr := s.Profile(ctx, after); perr == nil && len(list) > 0 {
				list = append([]*profile{p}, list[:len(list)-1]...)
			}
			return list, err
		}
	}},
	{"after the given one: also if it does not exist", "GrantPages", func(b *broken) {
		s := b.Store
		b.listGrants = func(ctx context.Context, f filter, after key, limit int) ([]*grant, error) {
			if _, err := s.Grant(ctx, after); err != nil {
				after = key{}
			}
			return s.ListGrants(ctx, f, after, limit)
		}
	}},
	{"after a key, not a number of records", "ProfilePagesWhileChanging", func(b *broken) {
		s := b.Store
		offsets := make(map[string]int)
		b.listProfiles = func(ctx context.Context, after string, limit int) ([]*profile, error) {
			all, err := s.ListProfiles(ctx, "", 1000)
			from := min(offsets[after], len(all))
			page := all[from:min(from+limit, len(all))]
			if len(page) > 0 {
				offsets[page[len(page)-1].ID] = from + len(page)
			}
			return page, err
		}
	}},
	{"ordered by ID", "ProfilePages", func(b *broken) {
		s := b.Store
		b.listProfiles = func(ctx context.Context, after string, limit int) ([]*profile, error) {
			list, err := s.ListProfiles(ctx, after, limit)
			slices.Reverse(list)
			return list, err
		}
	}},
	{"ordered byte by byte", "GrantIdentifiers", func(b *broken) {
		s := b.Store
		b.listGrants = func(ctx context.Context, f filter, after key, limit int) ([]*grant, error) {
			list, err := s.ListGrants(ctx, f, after, limit)
			slices.SortFunc(list, func(a, b *grant) int { return cmp.Compare(strings.ToLower(a.User), strings.ToLower(b.User)) })
			return list, err
		}
	}},
	{"ordered byte by byte: not by UTF-16", "ProfileIdentifiers", func(b *broken) {
		s := b.Store
		b.listProfiles = func(ctx context.Context, after string, limit int) ([]*profile, error) {
			list, err := s.ListProfiles(ctx, after, limit)
			slices.SortFunc(list, func(a, b *profile) int {
				return slices.Compare(utf16.Encode([]rune(a.ID)), utf16.Encode([]rune(b.ID)))
			})
			return list, err
		}
	}},
	{"from the beginning, an empty user included", "GrantsOfApps", func(b *broken) {
		s := b.Store
		b.listGrants = func(ctx context.Context, f filter, after key, limit int) ([]*grant, error) {
			list, err := s.ListGrants(ctx, f, after, limit+1)
			if len(list) > 0 && list[0].User == "" {
				list = list[1:]
			}
			return list[:min(limit, len(list))], err
		}
	}},
	{"lists have whole records", "GrantFields", func(b *broken) {
		s := b.Store
		b.listGrants = func(ctx context.Context, f filter, after key, limit int) ([]*grant, error) {
			list, err := s.ListGrants(ctx, f, after, limit)
			for _, g := range list {
				g.RefreshToken = ""
			}
			return list, err
		}
	}},
	{"calls can be made while listing", "ProfileCallsWhileListing", func(b *broken) {
		s := b.Store
		listing := false
		b.listProfiles = func(ctx context.Context, after string, limit int) ([]*profile, error) {
			list, err := s.ListProfiles(ctx, after, limit)
			listing = len(list) == limit
			return list, err
		}
		b.deleteProfile = func(ctx context.Context, id string) error {
			if listing {
				return errors.New("connection busy")
			}
			return s.DeleteProfile(ctx, id)
		}
	}},
	{"ListGrants has the grants of the profile", "GrantsByProfile", func(b *broken) {
		s := b.Store
		b.listGrants = func(ctx context.Context, f filter, after key, limit int) ([]*grant, error) {
			list, err := s.ListGrants(ctx, f, after, limit)
			if f.ProfileID == "A" {
				more, _ := s.ListGrants(ctx, filter{ProfileID: "a"}, key{}, limit)
				list = append(list, more...)
			}
			return list, err
		}
	}},

	// Lists over all profiles.
	{"grants of all profiles: of the first alone", "GrantsOfAllProfiles", listing(func(all []*grant, f filter, after key, limit int) []*grant {
		if f == (filter{}) && len(all) > 0 {
			f.ProfileID = all[0].ProfileID
		}
		return plain(all, f, after, limit)
	})},
	{"ordered by profile and then by user: the other way round", "GrantsOfAllProfiles", sorted(func(a, b *grant) int {
		return cmp.Or(cmp.Compare(a.User, b.User), cmp.Compare(a.ProfileID, b.ProfileID))
	})},
	{"ordered by profile and then by user: by both joined", "GrantsOfAllProfiles", sorted(func(a, b *grant) int {
		return cmp.Compare(a.ProfileID+"/"+a.User, b.ProfileID+"/"+b.User)
	})},
	{"ordered by profile and then by user: not by when they were put", "GrantsOfAllProfiles", sorted(func(a, b *grant) int {
		return cmp.Compare(a.Version, b.Version)
	})},
	{"ordered byte by byte over all profiles: profiles by a collation", "GrantsOfAllProfiles", sorted(func(a, b *grant) int {
		return cmp.Or(cmp.Compare(strings.ToLower(a.ProfileID), strings.ToLower(b.ProfileID)), cmp.Compare(a.User, b.User))
	})},
	{"ordered byte by byte over all profiles: users by UTF-16", "GrantsOfAllProfiles", sorted(func(a, b *grant) int {
		return cmp.Or(cmp.Compare(a.ProfileID, b.ProfileID), slices.Compare(utf16.Encode([]rune(a.User)), utf16.Encode([]rune(b.User))))
	})},
	{"a zero after means from the beginning: an empty user included", "GrantsOfAllProfiles", listing(func(all []*grant, f filter, after key, limit int) []*grant {
		if after == (key{}) && len(all) > 0 {
			after = key{ProfileID: all[0].ProfileID}
		}
		return plain(all, f, after, limit)
	})},
	{"a zero after means from the beginning: also of a profile that is asked for", "GrantsFiltered", listing(func(all []*grant, f filter, after key, limit int) []*grant {
		if after == (key{}) && f.ProfileID != "" {
			after.ProfileID = f.ProfileID
		}
		return plain(all, f, after, limit)
	})},
	{"after a key: of an empty user, which is not the profile's beginning", "GrantsOfAllProfiles", listing(func(all []*grant, f filter, after key, limit int) []*grant {
		if after.User == "" {
			return keyset(all, f, limit, func(g *grant) bool { return after == key{} || g.ProfileID >= after.ProfileID })
		}
		return plain(all, f, after, limit)
	})},
	{"after a key: by each of its parts", "GrantsOfAllProfiles", listing(func(all []*grant, f filter, after key, limit int) []*grant {
		return keyset(all, f, limit, func(g *grant) bool {
			return after == key{} || g.ProfileID >= after.ProfileID && g.User > after.User
		})
	})},
	{"after a key: not after its profile", "GrantsOfAllProfiles", listing(func(all []*grant, f filter, after key, limit int) []*grant {
		return keyset(all, f, limit, func(g *grant) bool { return after == key{} || g.ProfileID > after.ProfileID })
	})},
	{"after a key: not only in its profile", "GrantsOfAllProfiles", listing(func(all []*grant, f filter, after key, limit int) []*grant {
		return keyset(all, f, limit, func(g *grant) bool {
			return after == key{} || g.ProfileID == after.ProfileID && g.User > after.User
		})
	})},
	{"after a key: of a profile that does not exist", "GrantsOfAllProfiles", listing(func(all []*grant, f filter, after key, limit int) []*grant {
		if !slices.ContainsFunc(all, func(g *grant) bool { return g.ProfileID == after.ProfileID }) {
			after = key{}
		}
		return plain(all, f, after, limit)
	})},
	{"after a key: of a user that does not exist", "GrantsOfAllProfiles", listing(func(all []*grant, f filter, after key, limit int) []*grant {
		if after != (key{}) && !slices.ContainsFunc(all, func(g *grant) bool { return g.GrantKey == after }) {
			return nil
		}
		return plain(all, f, after, limit)
	})},
	{"after a key: not after what looks like it", "GrantsOfAllProfiles", listing(func(all []*grant, f filter, after key, limit int) []*grant {
		return keyset(all, f, limit, func(g *grant) bool {
			return comesAfter(g.GrantKey, after) && (after == key{} || !strings.EqualFold(g.ProfileID, after.ProfileID) || !strings.EqualFold(g.User, after.User))
		})
	})},
	{"after a key: compared whole", "GrantLongestKeys", listing(func(all []*grant, f filter, after key, limit int) []*grant {
		if f.ProfileID == "" && len(after.User) > 511 {
			after.User = after.User[:511]
		}
		return plain(all, f, after, limit)
	})},
	{"after a key: of another profile than is asked for", "GrantsFiltered", listing(func(all []*grant, f filter, after key, limit int) []*grant {
		if f.ProfileID != "" && after.ProfileID != "" {
			after.ProfileID = f.ProfileID
		}
		return plain(all, f, after, limit)
	})},
	{"after a key: of another user than is asked for", "GrantsFiltered", listing(func(all []*grant, f filter, after key, limit int) []*grant {
		if f.User != "" {
			return keyset(all, f, limit, func(g *grant) bool { return g.ProfileID > after.ProfileID })
		}
		return plain(all, f, after, limit)
	})},
	{"at most limit: over all profiles", "GrantsOfAllProfiles", listing(func(all []*grant, f filter, after key, limit int) []*grant {
		return plain(all, f, after, max(limit, 1))
	})},
	{"at most limit: of each profile", "GrantsOfAllProfiles", listing(func(all []*grant, f filter, after key, limit int) []*grant {
		var list []*grant
		n := make(map[string]int)
		for _, g := range plain(all, f, after, len(all)) {
			if n[g.ProfileID]++; n[g.ProfileID] <= limit {
				list = append(list, g)
			}
		}
		return list
	})},
	{"at most limit: of those that pass, however many do not", "GrantsFiltered", listing(func(all []*grant, f filter, after key, limit int) []*grant {
		return plain(plain(all, filter{}, after, limit), f, key{}, limit)
	})},
	{"fewer than limit means no more: not that one profile has no more", "GrantsFiltered", listing(func(all []*grant, f filter, after key, limit int) []*grant {
		list := plain(all, f, after, limit)
		for i, g := range list {
			if g.ProfileID != list[0].ProfileID {
				return list[:i]
			}
		}
		return list
	})},
	{"fewer than limit means no more: not that a thousand do not pass", "GrantsPassingFew", listing(func(all []*grant, f filter, after key, limit int) []*grant {
		return plain(plain(all, filter{}, after, 1000), f, key{}, limit)
	})},
	{"fewer than limit means no more: not that five hundred do not end", "GrantsPassingFew", listing(func(all []*grant, f filter, after key, limit int) []*grant {
		if f.EndsBefore.IsZero() {
			return plain(all, f, after, limit)
		}
		return plain(plain(all, filter{ProfileID: f.ProfileID, User: f.User, Status: f.Status}, after, 500), f, key{}, limit)
	})},
	{"that none passes is no error", "GrantsFiltered", func(b *broken) {
		s := b.Store
		b.listGrants = func(ctx context.Context, f filter, after key, limit int) ([]*grant, error) {
			list, err := s.ListGrants(ctx, f, after, limit)
			if len(list) == 0 && err == nil && limit > 0 {
				err = authprofile.ErrNotFound
			}
			return list, err
		}
	}},
	{"that none can pass is no error: a status that does not exist", "GrantsFiltered", func(b *broken) {
		s := b.Store
		b.listGrants = func(ctx context.Context, f filter, after key, limit int) ([]*grant, error) {
			if f.Status != "" && !slices.Contains(statuses, f.Status) {
				return nil, errors.New("invalid value for an enumeration")
			}
			return s.ListGrants(ctx, f, after, limit)
		}
	}},
	{"lists over all profiles have whole records", "GrantsOfAllProfiles", func(b *broken) {
		s := b.Store
		b.listGrants = func(ctx context.Context, f filter, after key, limit int) ([]*grant, error) {
			list, err := s.ListGrants(ctx, f, after, limit)
			for _, g := range list {
				if f.ProfileID == "" {
					g.Scopes = nil
				}
			}
			return list, err
		}
	}},
	{"lists over all profiles belong to the caller", "GrantsOwnership", func(b *broken) {
		s := b.Store
		kept := make(map[key]*authprofile.Failure)
		b.listGrants = func(ctx context.Context, f filter, after key, limit int) ([]*grant, error) {
			list, err := s.ListGrants(ctx, f, after, limit)
			for _, g := range list {
				if kept[g.GrantKey] == nil {
					kept[g.GrantKey] = g.Failure
				}
				if f.ProfileID == "" {
					g.Failure = kept[g.GrantKey]
				}
			}
			return list, err
		}
	}},
	{"a method returns after its context ends: ListGrants of all", "GrantsContextEnded", func(b *broken) {
		s := b.Store
		b.listGrants = func(ctx context.Context, f filter, after key, limit int) ([]*grant, error) {
			if f.ProfileID == "" {
				ctx = without(ctx)
			}
			return s.ListGrants(ctx, f, after, limit)
		}
	}},
	{"an error that is ErrNotFound is true: ListGrants", "GrantsContextEnded", func(b *broken) {
		s := b.Store
		b.listGrants = func(ctx context.Context, f filter, after key, limit int) ([]*grant, error) {
			list, err := s.ListGrants(ctx, f, after, limit)
			if err != nil {
				err = authprofile.ErrNotFound
			}
			return list, err
		}
	}},

	// Filters. That each field counts in each combination, TestIgnoredFilters
	// tries.
	{"a filter is compared byte by byte: profiles by case", "GrantsFilteredByteByByte", passing(ofProfileID, func(f filter, g *grant) bool {
		return f.ProfileID == "" || strings.EqualFold(f.ProfileID, g.ProfileID)
	})},
	{"a filter is compared byte by byte: users by case", "GrantsFilteredByteByByte", passing(ofUser, func(f filter, g *grant) bool {
		return f.User == "" || strings.EqualFold(f.User, g.User)
	})},
	{"a filter is compared byte by byte: spaces at the end of a profile", "GrantsFilteredByteByByte", passing(ofProfileID, func(f filter, g *grant) bool {
		return f.ProfileID == "" || strings.TrimRight(f.ProfileID, " ") == strings.TrimRight(g.ProfileID, " ")
	})},
	{"a filter is compared byte by byte: spaces at the end of a user", "GrantsFilteredByteByByte", passing(ofUser, func(f filter, g *grant) bool {
		return f.User == "" || strings.TrimRight(f.User, " ") == strings.TrimRight(g.User, " ")
	})},
	{"a filter is compared byte by byte: a user is not a pattern", "GrantsFilteredByteByByte", passing(ofUser, func(f filter, g *grant) bool {
		prefix, pattern := strings.CutSuffix(f.User, "%")
		return f.User == "" || f.User == g.User || pattern && strings.HasPrefix(g.User, prefix)
	})},
	{"a filter is compared byte by byte: statuses by case", "GrantsFilteredByteByByte", passing(ofStatus, func(f filter, g *grant) bool {
		return f.Status == "" || strings.EqualFold(string(f.Status), string(g.Status))
	})},
	{"a filter is compared byte by byte: spaces at the end of a status", "GrantsFilteredByteByByte", passing(ofStatus, func(f filter, g *grant) bool {
		return f.Status == "" || strings.TrimRight(string(f.Status), " ") == string(g.Status)
	})},
	{"a filter is compared byte by byte: a status is not a prefix", "GrantsFilteredByteByByte", passing(ofStatus, func(f filter, g *grant) bool {
		return strings.HasPrefix(string(g.Status), string(f.Status))
	})},
	{"a filter is compared whole: a long user", "GrantLongestKeys", passing(ofUser, func(f filter, g *grant) bool {
		return f.User == "" || f.User[:min(len(f.User), 511)] == g.User[:min(len(g.User), 511)]
	})},
	{"a filter is compared whole: a long profile", "GrantLongestKeys", passing(ofProfileID, func(f filter, g *grant) bool {
		return f.ProfileID == "" || f.ProfileID[:min(len(f.ProfileID), 254)] == g.ProfileID[:min(len(g.ProfileID), 254)]
	})},
	{"EndsBefore: not at the time", "GrantsEndingBefore", passing(ofEndsBefore, func(f filter, g *grant) bool {
		return f.EndsBefore.IsZero() || !g.Ends.IsZero() && !g.Ends.After(f.EndsBefore)
	})},
	{"EndsBefore: not to the second", "GrantsEndingBefore", passing(ofEndsBefore, func(f filter, g *grant) bool {
		return f.EndsBefore.IsZero() || !g.Ends.IsZero() && g.Ends.Unix() < f.EndsBefore.Unix()
	})},
	{"EndsBefore: also between two milliseconds", "GrantsEndingBefore", passing(ofEndsBefore, func(f filter, g *grant) bool {
		return f.EndsBefore.IsZero() || !g.Ends.IsZero() && g.Ends.Before(f.EndsBefore.Truncate(time.Millisecond))
	})},
	{"EndsBefore: also between two microseconds", "GrantsEndingBefore", passing(ofEndsBefore, func(f filter, g *grant) bool {
		return f.EndsBefore.IsZero() || !g.Ends.IsZero() && g.Ends.Before(f.EndsBefore.Truncate(time.Microsecond))
	})},
	{"EndsBefore: not of grants whose end is not known", "GrantsEndingBefore", passing(ofEndsBefore, func(f filter, g *grant) bool {
		return f.EndsBefore.IsZero() || g.Ends.Before(f.EndsBefore)
	})},
	{"EndsBefore: not of grants whose end is not known, as 1970", "GrantsEndingBefore", passing(ofEndsBefore, func(f filter, g *grant) bool {
		return f.EndsBefore.IsZero() || g.Ends.IsZero() && time.Unix(0, 0).Before(f.EndsBefore) || !g.Ends.IsZero() && g.Ends.Before(f.EndsBefore)
	})},
	{"EndsBefore: also of 1970", "GrantsEndingBefore", passing(ofEndsBefore, func(f filter, g *grant) bool {
		return f.EndsBefore.IsZero() || g.Ends.Unix() != 0 && !g.Ends.IsZero() && g.Ends.Before(f.EndsBefore)
	})},
	{"EndsBefore: also before 1970", "GrantsEndingBefore", passing(ofEndsBefore, func(f filter, g *grant) bool {
		return f.EndsBefore.IsZero() || g.Ends.Unix() >= 0 && g.Ends.Before(f.EndsBefore)
	})},
	{"EndsBefore: 1970 is a time", "GrantsEndingBefore", passing(ofEndsBefore, func(f filter, g *grant) bool {
		return f.EndsBefore.IsZero() || f.EndsBefore.UnixMilli() == 0 || !g.Ends.IsZero() && g.Ends.Before(f.EndsBefore)
	})},
	{"EndsBefore: whatever its zone", "GrantsEndingBefore", passing(ofEndsBefore, func(f filter, g *grant) bool {
		return f.EndsBefore.IsZero() || !g.Ends.IsZero() && g.Ends.UTC().Format(onTheClock) < f.EndsBefore.Format(onTheClock)
	})},
	{"EndsBefore: whatever the zone of Ends", "GrantsEndingBefore", func(b *broken) {
		s := b.Store
		local := make(map[key]string)
		var mu sync.Mutex
		b.putGrant = func(ctx context.Context, g *grant) error {
			mu.Lock()
			defer mu.Unlock()
			local[g.GrantKey] = g.Ends.Format(onTheClock)
			return s.PutGrant(ctx, g)
		}
		passing(ofEndsBefore, func(f filter, g *grant) bool {
			return f.EndsBefore.IsZero() || !g.Ends.IsZero() && local[g.GrantKey] < f.EndsBefore.UTC().Format(onTheClock)
		})(b)
	}},
	{"EndsBefore: the zero time in any zone is none", "GrantsEndingBefore", passing(ofEndsBefore, func(f filter, g *grant) bool {
		return f.EndsBefore == time.Time{} || !g.Ends.IsZero() && g.Ends.Before(f.EndsBefore)
	})},
	{"a filter goes by what a grant has become: its first status", "GrantsAfterChanges", func(b *broken) {
		s := b.Store
		first := make(map[key]status)
		b.putGrant = func(ctx context.Context, g *grant) error {
			if g.Version == 0 {
				first[g.GrantKey] = g.Status
			}
			return s.PutGrant(ctx, g)
		}
		passing(ofStatus, func(f filter, g *grant) bool { return f.Status == "" || f.Status == first[g.GrantKey] })(b)
	}},
	{"a filter goes by what a grant has become: an end that was known", "GrantsAfterChanges", func(b *broken) {
		s := b.Store
		ends := make(map[key]time.Time)
		b.putGrant = func(ctx context.Context, g *grant) error {
			if !g.Ends.IsZero() {
				ends[g.GrantKey] = g.Ends
			}
			return s.PutGrant(ctx, g)
		}
		passing(ofEndsBefore, func(f filter, g *grant) bool {
			return f.EndsBefore.IsZero() || ends[g.GrantKey].Before(f.EndsBefore)
		})(b)
	}},
	{"a filter goes by what a grant has become: the status of a put that failed", "GrantsAfterChanges", func(b *broken) {
		s := b.Store
		index := make(map[key]status)
		b.putGrant = func(ctx context.Context, g *grant) error {
			index[g.GrantKey] = g.Status
			return s.PutGrant(ctx, g)
		}
		passing(ofStatus, func(f filter, g *grant) bool { return f.Status == "" || f.Status == index[g.GrantKey] })(b)
	}},
	{"grants of all profiles: those that are deleted are gone", "GrantsAfterChanges", gone(func(s authprofile.Store, b *broken, note func(key)) {
		b.deleteGrant = func(ctx context.Context, k key) error {
			note(k)
			return s.DeleteGrant(ctx, k)
		}
	})},
	{"grants of all profiles: those that are deleted with their profile are gone", "GrantsAfterChanges", gone(func(s authprofile.Store, b *broken, note func(key)) {
		b.deleteProfile = func(ctx context.Context, id string) error {
			list, err := s.ListGrants(ctx, filter{ProfileID: id}, key{}, 100)
			for _, g := range list {
				note(g.GrantKey)
			}
			return cmp.Or(err, s.DeleteProfile(ctx, id))
		}
	})},
	{"grants of all profiles: whether the profile exists or not", "GrantsAfterChanges", func(b *broken) {
		s := b.Store
		b.listGrants = func(ctx context.Context, f filter, after key, limit int) ([]*grant, error) {
			list, err := s.ListGrants(ctx, f, after, limit)
			return slices.DeleteFunc(list, func(g *grant) bool { // an inner join
				_, err := s.Profile(ctx, g.ProfileID)
				return err != nil
			}), err
		}
	}},
	{"lists by a filter are whole: keys first, and then what has become of them", "GrantsWhileOthersChange", func(b *broken) {
		s := b.Store
		b.putGrant = func(ctx context.Context, g *grant) error {
			<-time.After(time.Microsecond) // in a bubble: until others have listed
			return s.PutGrant(ctx, g)
		}
		b.listGrants = func(ctx context.Context, f filter, after key, limit int) ([]*grant, error) {
			list, err := s.ListGrants(ctx, f, after, limit)
			<-time.After(time.Millisecond)
			for i, g := range list {
				if now, err := s.Grant(ctx, g.GrantKey); err == nil {
					list[i] = now
				}
			}
			return list, err
		}
	}},
	{"lists by a filter are whole: keys first, and then those that still pass", "GrantsWhileOthersChange", func(b *broken) {
		s := b.Store
		b.putGrant = func(ctx context.Context, g *grant) error {
			<-time.After(time.Microsecond)
			return s.PutGrant(ctx, g)
		}
		b.listGrants = func(ctx context.Context, f filter, after key, limit int) ([]*grant, error) {
			list, err := s.ListGrants(ctx, f, after, limit)
			<-time.After(time.Millisecond)
			return slices.DeleteFunc(list, func(g *grant) bool {
				now, err := s.Grant(ctx, g.GrantKey)
				return err != nil || !passes(f, now)
			}), err
		}
	}},
	{"lists over all profiles are whole: profile by profile, and in no order", "GrantsWhileOthersChange", func(b *broken) {
		s := b.Store
		b.listGrants = func(ctx context.Context, f filter, after key, limit int) ([]*grant, error) {
			list, err := s.ListGrants(ctx, f, after, limit)
			slices.Reverse(list)
			return list, err
		}
	}},

	// Counts.
	{"CountGrants counts by status", "CountGrants", counting(func(all []*grant, id string) counts {
		n := make(counts)
		for _, g := range all {
			if id == "" || id == g.ProfileID {
				n[statuses[0]]++
			}
		}
		return n
	})},
	{"CountGrants counts each status: those that need an operator too", "CountGrants", counting(func(all []*grant, id string) counts {
		n := tally(all, id)
		delete(n, authprofile.StatusNeedsConfiguration)
		return n
	})},
	{"CountGrants counts each status: also a grant that has none", "CountGrants", counting(func(all []*grant, id string) counts {
		n := tally(all, id)
		delete(n, "")
		return n
	})},
	{"CountGrants counts those of the profile", "CountGrants", counting(func(all []*grant, id string) counts { return tally(all, "") })},
	{"CountGrants counts those of all profiles", "CountGrants", counting(func(all []*grant, id string) counts {
		if id == "" {
			return nil
		}
		return tally(all, id)
	})},
	{"CountGrants counts those of a profile that does not exist", "CountGrants", func(b *broken) {
		s := b.Store
		b.countGrants = func(ctx context.Context, id string) (counts, error) {
			if _, err := s.Profile(ctx, id); err != nil && id != "" {
				return nil, ctx.Err()
			}
			return s.CountGrants(ctx, id)
		}
	}},
	{"CountGrants of no grants is no error", "CountGrants", func(b *broken) {
		s := b.Store
		b.countGrants = func(ctx context.Context, id string) (counts, error) {
			n, err := s.CountGrants(ctx, id)
			if len(n) == 0 && err == nil {
				err = authprofile.ErrNotFound
			}
			return n, err
		}
	}},
	{"CountGrants counts all: not to a thousand", "GrantsPassingFew", counting(func(all []*grant, id string) counts { return tally(all[:min(len(all), 1000)], id) })},
	{"CountGrants counts those that are there: not those that were", "GrantsPassingFew", func(b *broken) {
		s := b.Store
		kept := make(map[string]counts)
		b.countGrants = func(ctx context.Context, id string) (counts, error) {
			if n := kept[id]; n != nil {
				return maps.Clone(n), nil
			}
			n, err := s.CountGrants(ctx, id)
			kept[id] = maps.Clone(n)
			return n, err
		}
	}},
	{"CountGrants goes by what a grant has become", "GrantsAfterChanges", func(b *broken) {
		s := b.Store
		first := make(map[key]status)
		b.putGrant = func(ctx context.Context, g *grant) error {
			if g.Version == 0 {
				first[g.GrantKey] = g.Status
			}
			return s.PutGrant(ctx, g)
		}
		counting(func(all []*grant, id string) counts {
			for _, g := range all {
				g.Status = first[g.GrantKey]
			}
			return tally(all, id)
		})(b)
	}},
	{"CountGrants goes by what there is: not by what was put", "GrantsAfterChanges", func(b *broken) {
		s := b.Store
		n := make(counts)
		was := make(map[key]status)
		b.putGrant = func(ctx context.Context, g *grant) error {
			err := s.PutGrant(ctx, g)
			if err == nil {
				n[was[g.GrantKey]]--
				n[g.Status]++
				was[g.GrantKey] = g.Status
			}
			return err
		}
		b.countGrants = func(ctx context.Context, id string) (counts, error) {
			if id != "" {
				return s.CountGrants(ctx, id)
			}
			c := maps.Clone(n)
			delete(c, "")
			return c, nil
		}
	}},
	{"CountGrants compares byte by byte: case", "CountGrantsByteByByte", counting(func(all []*grant, id string) counts {
		for _, g := range all {
			g.ProfileID = strings.ToLower(g.ProfileID)
		}
		return tally(all, strings.ToLower(id))
	})},
	{"CountGrants compares byte by byte: spaces at the end", "CountGrantsByteByByte", counting(func(all []*grant, id string) counts {
		for _, g := range all {
			g.ProfileID = strings.TrimRight(g.ProfileID, " ")
		}
		return tally(all, strings.TrimRight(id, " "))
	})},
	{"CountGrants compares byte by byte: it is not a pattern", "CountGrantsByteByByte", counting(func(all []*grant, id string) counts {
		if id == "%" {
			id = ""
		}
		return tally(all, id)
	})},
	{"CountGrants compares whole", "CountGrantsByteByByte", counting(func(all []*grant, id string) counts {
		for _, g := range all {
			g.ProfileID = g.ProfileID[:min(len(g.ProfileID), 254)]
		}
		return tally(all, id[:min(len(id), 254)])
	})},
	{"CountGrants takes effect whole: one status after the other", "CountGrantsWhileOthersChange", func(b *broken) {
		s := b.Store
		b.putGrant = func(ctx context.Context, g *grant) error {
			<-time.After(time.Microsecond) // in a bubble: until others have begun to count
			return s.PutGrant(ctx, g)
		}
		b.countGrants = func(ctx context.Context, id string) (counts, error) {
			n := make(counts)
			for i, status := range statuses {
				if i == 1 {
					<-time.After(time.Millisecond)
				}
				list, err := s.ListGrants(ctx, filter{ProfileID: id, Status: status}, key{}, 100)
				if err != nil {
					return nil, err
				}
				n[status] = int64(len(list))
			}
			return n, nil
		}
	}},
	{"counts belong to the caller", "CountGrantsOwnership", func(b *broken) {
		s := b.Store
		kept := make(map[string]counts)
		b.countGrants = func(ctx context.Context, id string) (counts, error) {
			if kept[id] == nil {
				kept[id], _ = s.CountGrants(ctx, id)
			}
			return kept[id], nil
		}
	}},
	{"a method returns after its context ends: CountGrants", "GrantsContextEnded", func(b *broken) {
		s := b.Store
		b.countGrants = func(ctx context.Context, id string) (counts, error) { return s.CountGrants(without(ctx), id) }
	}},
	{"a method returns soon: CountGrants", "GrantsContextEnded", func(b *broken) {
		s := b.Store
		b.countGrants = func(ctx context.Context, id string) (counts, error) {
			if ctx.Err() != nil {
				<-time.After(time.Hour)
			}
			return s.CountGrants(ctx, id)
		}
	}},

	// What is due.
	{"DueGrants has those before the time: and not those at it", "DueGrants", dueing(func(all []*grant, before time.Time, limit int) []*grant {
		return early(all, before.Add(time.Millisecond), limit)
	})},
	{"DueGrants has those before the time: also within the last millisecond", "DueGrants", dueing(func(all []*grant, before time.Time, limit int) []*grant {
		return early(all, before.Truncate(time.Millisecond), limit)
	})},
	{"DueGrants has those before the time: whatever its zone", "DueGrants", dueing(func(all []*grant, before time.Time, limit int) []*grant {
		at, _ := time.Parse(onTheClock, before.Format(onTheClock))
		return early(all, at, limit)
	})},
	{"DueGrants has those before the time: also if that was before 1970", "DueGrants", dueing(func(all []*grant, before time.Time, limit int) []*grant {
		return early(slices.DeleteFunc(all, func(g *grant) bool { return g.Due.Unix() < 0 }), before, limit)
	})},
	{"DueGrants has those whose Due is known", "DueGrants", dueing(func(all []*grant, before time.Time, limit int) []*grant {
		return ordered(all, limit, func(g *grant) bool { return g.Due.Before(before) })
	})},
	{"DueGrants has those whose Due is known: 1970 is", "DueGrants", dueing(func(all []*grant, before time.Time, limit int) []*grant {
		return early(slices.DeleteFunc(all, func(g *grant) bool { return g.Due.Unix() == 0 }), before, limit)
	})},
	{"DueGrants has those of all profiles", "DueGrants", dueing(func(all []*grant, before time.Time, limit int) []*grant {
		return early(slices.DeleteFunc(all, func(g *grant) bool { return g.ProfileID != all[0].ProfileID }), before, limit)
	})},
	{"DueGrants has those without a user", "DueGrants", dueing(func(all []*grant, before time.Time, limit int) []*grant {
		return early(slices.DeleteFunc(all, func(g *grant) bool { return g.User == "" }), before, limit)
	})},
	{"DueGrants has each once", "DueGrants", dueing(func(all []*grant, before time.Time, limit int) []*grant {
		list := early(all, before, limit)
		for i := 1; i < len(list); i++ {
			if list[i].Due.Equal(list[i-1].Due) {
				list[i] = list[i-1].Clone()
			}
		}
		return list
	})},
	{"DueGrants is ordered by Due", "DueGrants", dueing(func(all []*grant, before time.Time, limit int) []*grant {
		list := early(all, before, limit)
		sortGrants(list)
		return list
	})},
	{"DueGrants is ordered by Due: the earliest first", "DueGrants", dueing(func(all []*grant, before time.Time, limit int) []*grant {
		list := early(all, before, math.MaxInt)
		slices.Reverse(list)
		return list[:min(limit, len(list))]
	})},
	{"DueGrants is ordered by Due: before it is cut", "DueGrants", dueing(func(all []*grant, before time.Time, limit int) []*grant {
		due := slices.DeleteFunc(all, func(g *grant) bool { return !isDue(g, before) })
		return early(due[:min(limit, len(due))], before, limit)
	})},
	{"DueGrants is ordered by Due: to the millisecond", "DueGrants", dueing(func(all []*grant, before time.Time, limit int) []*grant {
		list := early(all, before, math.MaxInt)
		slices.SortStableFunc(list, func(a, b *grant) int {
			return cmp.Or(a.Due.Truncate(time.Second).Compare(b.Due.Truncate(time.Second)), b.Due.Compare(a.Due))
		})
		return list[:min(limit, len(list))]
	})},
	{"DueGrants has at most limit: of each time", "DueGrants", dueing(func(all []*grant, before time.Time, limit int) []*grant {
		list := early(all, before, math.MaxInt)
		for n := limit; n < len(list); n++ {
			if n == 0 || !list[n].Due.Equal(list[n-1].Due) {
				return list[:n]
			}
		}
		return list
	})},
	{"DueGrants has at most limit: none of none", "DueGrants", dueing(func(all []*grant, before time.Time, limit int) []*grant {
		return early(all, before, max(limit, 1))
	})},
	{"DueGrants takes any limit", "DueGrants", dueing(func(all []*grant, before time.Time, limit int) []*grant {
		return early(all, before, int(int32(limit+1))-1)
	})},
	{"DueGrants has whole grants", "DueGrants", dueing(func(all []*grant, before time.Time, limit int) []*grant {
		list := early(all, before, limit)
		for _, g := range list {
			g.AccessToken, g.RefreshToken = "", ""
		}
		return list
	})},
	{"that none is due is no error", "DueGrants", func(b *broken) {
		s := b.Store
		b.dueGrants = func(ctx context.Context, before time.Time, limit int) ([]*grant, error) {
			list, err := s.DueGrants(ctx, before, limit)
			if err == nil && len(list) == 0 && limit > 0 {
				err = authprofile.ErrNotFound
			}
			return list, err
		}
	}},
	{"fewer than limit means that no more are due: not for a thousand", "DueGrantsOfMany", dueing(func(all []*grant, before time.Time, limit int) []*grant {
		return early(all, before, min(limit, 1000))
	})},
	{"fewer than limit means that no more are due: not that a hundred are not", "DueGrantsOfMany", dueing(func(all []*grant, before time.Time, limit int) []*grant {
		return early(all[:min(100, len(all))], before, limit)
	})},
	{"those with the same Due are due alike", "DueGrantsOfMany", dueing(func(all []*grant, before time.Time, limit int) []*grant {
		list := early(all, before, math.MaxInt)
		list = slices.CompactFunc(list, func(a, b *grant) bool { return a.Due.Equal(b.Due) })
		return list[:min(limit, len(list))]
	})},
	{"those with the same Due are due alike: of each profile", "DueGrantsOfMany", dueing(func(all []*grant, before time.Time, limit int) []*grant {
		list := early(all, before, math.MaxInt)
		list = slices.CompactFunc(list, func(a, b *grant) bool { return a.Due.Equal(b.Due) && a.ProfileID == b.ProfileID })
		return list[:min(limit, len(list))]
	})},
	{"what is put with another Due is due then: not as it was first", "DueGrantsAfterChanges", remembering(func(was, is time.Time, first bool) time.Time {
		if first {
			return is
		}
		return was
	})},
	{"what is put with another Due is due then: also if that is earlier", "DueGrantsAfterChanges", remembering(func(was, is time.Time, first bool) time.Time {
		if !first && !is.IsZero() && is.Before(was) {
			return was
		}
		return is
	})},
	{"what is put with another Due is due then: also if that is later", "DueGrantsAfterChanges", remembering(func(was, is time.Time, first bool) time.Time {
		if !first && is.After(was) && !was.IsZero() {
			return was
		}
		return is
	})},
	{"what is put without a Due is not due", "DueGrantsAfterChanges", remembering(func(was, is time.Time, first bool) time.Time {
		if is.IsZero() {
			return was
		}
		return is
	})},
	{"what is put with a Due again is due", "DueGrantsAfterChanges", remembering(func(was, is time.Time, first bool) time.Time {
		if was.IsZero() && !first {
			return was
		}
		return is
	})},
	{"a put that is a conflict changes no Due", "DueGrantsAfterChanges", func(b *broken) {
		s := b.Store
		due := make(map[key]time.Time)
		b.putGrant = func(ctx context.Context, g *grant) error {
			due[g.GrantKey] = g.Due
			return s.PutGrant(ctx, g)
		}
		dueing(func(all []*grant, before time.Time, limit int) []*grant {
			return early(slices.DeleteFunc(all, func(g *grant) bool { return !due[g.GrantKey].Before(before) }), before.AddDate(1, 0, 0), limit)
		})(b)
	}},
	{"a grant that is deleted is not due", "DueGrantsAfterChanges", lingering(func(k key, deleted key) bool { return k == deleted })},
	{"a grant whose profile is deleted is not due", "DueGrantsAfterChanges", lingering(func(k key, deleted key) bool {
		return deleted.User == "*" && k.ProfileID == deleted.ProfileID
	})},
	{"each call takes effect whole: grants are looked up after the list of what is due", "DueGrantsWhileOthersChange", func(b *broken) {
		s := b.Store
		b.dueGrants = func(ctx context.Context, before time.Time, limit int) ([]*grant, error) {
			list, err := s.DueGrants(ctx, before, limit)
			<-time.After(time.Millisecond)
			for i, g := range list {
				if g, err := s.Grant(ctx, g.GrantKey); err == nil {
					list[i] = g
				}
			}
			return list, err
		}
		slowPuts(b)
	}},
	{"each call takes effect whole: one that is gone is an error", "DueGrantsWhileOthersChange", func(b *broken) {
		s := b.Store
		b.dueGrants = func(ctx context.Context, before time.Time, limit int) ([]*grant, error) {
			list, err := s.DueGrants(ctx, before, limit)
			<-time.After(time.Millisecond)
			for _, g := range list {
				if _, err := s.Grant(ctx, g.GrantKey); err != nil {
					return nil, err
				}
			}
			return list, err
		}
		slowPuts(b)
	}},
	{"each call takes effect whole: a page that others shift", "DueGrantsWhileOthersChange", func(b *broken) {
		s := b.Store
		b.dueGrants = func(ctx context.Context, before time.Time, limit int) ([]*grant, error) {
			var list []*grant
			for len(list) < limit { // by number, from page to page
				all, err := s.DueGrants(ctx, before, limit)
				if err != nil || len(all) <= len(list) {
					return list, err
				}
				list = append(list, all[len(list):min(len(list)+3, len(all))]...)
				<-time.After(time.Millisecond)
			}
			return list, nil
		}
		slowPuts(b)
	}},
	{"what DueGrants returns belongs to the caller", "DueGrantsOwnership", func(b *broken) {
		s := b.Store
		var kept []*grant
		b.dueGrants = func(ctx context.Context, before time.Time, limit int) ([]*grant, error) {
			if kept == nil {
				kept, _ = s.DueGrants(ctx, before, limit)
			}
			return slices.Clone(kept), nil
		}
	}},
	{"what DueGrants returns belongs to the caller: the same lists inside", "DueGrantsOwnership", func(b *broken) {
		s := b.Store
		scopes := make(map[key][]string)
		b.dueGrants = func(ctx context.Context, before time.Time, limit int) ([]*grant, error) {
			list, err := s.DueGrants(ctx, before, limit)
			for _, g := range list {
				if scopes[g.GrantKey] == nil {
					scopes[g.GrantKey] = g.Scopes
				}
				g.Scopes = scopes[g.GrantKey]
			}
			return list, err
		}
	}},
	{"what DueGrants returns belongs to the caller: it is what is stored", "DueGrantsOwnership", func(b *broken) {
		s := b.Store
		shown := make(map[key]*grant)
		b.dueGrants = func(ctx context.Context, before time.Time, limit int) ([]*grant, error) {
			list, err := s.DueGrants(ctx, before, limit)
			for _, g := range list {
				shown[g.GrantKey] = g
			}
			return list, err
		}
		b.grant = func(ctx context.Context, k key) (*grant, error) {
			if g := shown[k]; g != nil {
				return g.Clone(), nil
			}
			return s.Grant(ctx, k)
		}
	}},
	{"a method returns after its context ends: DueGrants", "DueGrantsContextEnded", func(b *broken) {
		s := b.Store
		b.dueGrants = func(ctx context.Context, before time.Time, limit int) ([]*grant, error) {
			return s.DueGrants(without(ctx), before, limit)
		}
	}},
	{"a method returns after its context ends: DueGrants of none", "DueGrantsContextEnded", func(b *broken) {
		s := b.Store
		b.dueGrants = func(ctx context.Context, before time.Time, limit int) ([]*grant, error) {
			if before.IsZero() {
				return nil, nil
			}
			return s.DueGrants(ctx, before, limit)
		}
	}},
	{"a method returns soon: DueGrants", "DueGrantsContextEnded", func(b *broken) {
		s := b.Store
		b.dueGrants = func(ctx context.Context, before time.Time, limit int) ([]*grant, error) {
			if ctx.Err() != nil {
				<-time.After(time.Hour)
			}
			return s.DueGrants(ctx, before, limit)
		}
	}},
	{"an error that is ErrNotFound is true: DueGrants", "DueGrantsContextEnded", func(b *broken) {
		s := b.Store
		b.dueGrants = func(ctx context.Context, before time.Time, limit int) ([]*grant, error) {
			if ctx.Err() != nil {
				return nil, authprofile.ErrNotFound
			}
			return s.DueGrants(ctx, before, limit)
		}
	}},
	{"durations come back as they were: below zero", "ProfileKeepAlive", onRead(func(p *profile) { p.KeepAlive = max(p.KeepAlive, 0) }, nil, nil)},
	{"durations come back as they were: without a sign", "ProfileKeepAlive", onRead(func(p *profile) { p.KeepAlive = p.KeepAlive.Abs() }, nil, nil)},
	{"durations come back as they were: to the nanosecond", "ProfileKeepAlive", onRead(func(p *profile) { p.KeepAlive = p.KeepAlive.Truncate(time.Microsecond) }, nil, nil)},
	{"durations come back as they were: by way of a floating-point number", "ProfileKeepAlive", onRead(func(p *profile) {
		if d := float64(p.KeepAlive); math.Abs(d) > 1<<53 {
			p.KeepAlive = time.Duration(d / 2)
		}
	}, nil, nil)},
	{"every duration is replaced: also by none", "ProfileKeepAlive", replacing(func(old, p *profile) {
		if p.KeepAlive == 0 {
			p.KeepAlive = old.KeepAlive
		}
	})},
	{"a grant needs no status: refused", "GrantWithoutStatus", putting(nil, func(ctx context.Context, g *grant, put func(*grant) error) error {
		if g.Status == "" {
			return errors.New("a grant without a status")
		}
		return put(g)
	})},
	{"a grant needs no status: made active", "GrantWithoutStatus", onRead(nil, func(g *grant) { g.Status = cmp.Or(g.Status, authprofile.StatusActive) }, nil)},
	{"a grant needs no status: listed like others", "GrantWithoutStatus", listing(func(all []*grant, f filter, after key, limit int) []*grant {
		return plain(slices.DeleteFunc(all, func(g *grant) bool { return g.Status == "" }), f, after, limit)
	})},
	{"a grant needs no status: counted like others", "GrantWithoutStatus", counting(func(all []*grant, id string) counts {
		n := tally(all, id)
		delete(n, "")
		return n
	})},
	{"a grant needs no status: due like others", "GrantWithoutStatus", dueing(func(all []*grant, before time.Time, limit int) []*grant {
		return early(slices.DeleteFunc(all, func(g *grant) bool { return g.Status == "" }), before, limit)
	})},
	{"a grant needs no tokens: due like others", "GrantWithoutStatus", dueing(func(all []*grant, before time.Time, limit int) []*grant {
		return early(slices.DeleteFunc(all, func(g *grant) bool { return g.AccessToken == "" }), before, limit)
	})},

	// Putting.
	{"PutProfile creates if Version is zero: and does not replace", "ProfileCreate", putting(
		func(ctx context.Context, p *profile, put func(*profile) error) error {
			if p.Version == 0 {
				c := p.Clone()
				for v := range int64(20) {
					c.Version = v
					if put(c) == nil {
						p.Version, p.Created, p.Updated = c.Version, c.Created, c.Updated
						return nil
					}
				}
			}
			return put(p)
		}, nil)},
	{"PutGrant replaces that version", "GrantReplace", func(b *broken) {
		s := b.Store
		b.putGrant = func(ctx context.Context, g *grant) error {
			if old, err := s.Grant(ctx, g.GrantKey); err == nil && g.Version > 0 {
				g.Version = old.Version // last writer wins
			}
			return s.PutGrant(ctx, g)
		}
	}},
	{"PutProfile replaces that version: not a later one", "ProfileReplace", func(b *broken) {
		s := b.Store
		b.putProfile = func(ctx context.Context, p *profile) error {
			if old, err := s.Profile(ctx, p.ID); err == nil && p.Version > old.Version {
				p.Version = old.Version
			}
			return s.PutProfile(ctx, p)
		}
	}},
	{"PutProfile replaces that version: and not one with the same last bits", "ProfileReplace", func(b *broken) {
		s := b.Store
		b.putProfile = func(ctx context.Context, p *profile) error {
			if old, err := s.Profile(ctx, p.ID); err == nil && int32(p.Version) == int32(old.Version) {
				p.Version = old.Version
			}
			return s.PutProfile(ctx, p)
		}
	}},
	{"PutGrant replaces that version: not one that began an earlier life", "GrantVersions", func(b *broken) {
		s := b.Store
		begun := make(map[int64]bool)
		b.putGrant = func(ctx context.Context, g *grant) error {
			creates := g.Version == 0
			if old, err := s.Grant(ctx, g.GrantKey); err == nil && begun[g.Version] {
				g.Version = old.Version
			}
			err := s.PutGrant(ctx, g)
			if err == nil && creates {
				begun[g.Version] = true
			}
			return err
		}
	}},
	{"PutProfile replaces what is there: and brings back nothing", "ProfileReplaceWhileDeleting", resurrecting},
	{"PutGrant replaces what is there: and brings back nothing", "GrantReplaceWhileDeleting", resurrecting},
	{"PutGrant replaces what is there: also if its profile leaves", "DeleteProfileWhileReplacing", func(b *broken) {
		resurrecting(b)
		b.putProfile = nil
	}},
	{"PutProfile leaves the grants", "KindsApart", func(b *broken) {
		s := b.Store
		b.putProfile = func(ctx context.Context, p *profile) error {
			c := p.Clone()
			if err := s.PutProfile(ctx, c); err != nil {
				return err
			}
			if p.Version != 0 { // deletes, and its grants with it, and inserts
				s.DeleteProfile(ctx, p.ID)
				c.Version = 0
				s.PutProfile(ctx, c)
			}
			p.Version, p.Created, p.Updated = c.Version, c.Created, c.Updated
			return nil
		}
	}},
	{"PutProfile refuses if there is none to replace", "ProfileReplace", putting(
		func(ctx context.Context, p *profile, put func(*profile) error) error {
			err := put(p)
			if errors.Is(err, authprofile.ErrConflict) && p.Version > 0 {
				c := p.Clone()
				c.Version = 0
				if put(c) == nil {
					p.Version, p.Created, p.Updated = c.Version, c.Created, c.Updated
					return nil
				}
			}
			return err
		}, nil)},
	{"the error is ErrConflict", "GrantCreate", putting(nil,
		func(ctx context.Context, g *grant, put func(*grant) error) error {
			if put(g) != nil {
				return errors.New("duplicate key")
			}
			return nil
		})},
	{"at a conflict nothing is changed", "ProfileCreate", func(b *broken) {
		s := b.Store
		b.putProfile = func(ctx context.Context, p *profile) error {
			err := s.PutProfile(ctx, p)
			if errors.Is(err, authprofile.ErrConflict) {
				if old, gerr := s.Profile(ctx, p.ID); gerr == nil {
					old.Name = p.Name
					s.PutProfile(ctx, old)
				}
			}
			return err
		}
	}},
	{"of many one wins: replacing", "ProfileParallelReplace", lostUpdate},
	{"of many one wins: creating", "ProfileParallelCreate", lostUpdate},
	{"no update is lost", "ProfileNoUpdateLost", lostUpdate},
	{"it keeps the time of creation", "ProfileCreated", putting(
		func(ctx context.Context, p *profile, put func(*profile) error) error {
			claim := p.Created
			err := put(p)
			if !claim.IsZero() && err == nil {
				p.Created = claim.UTC()
			}
			return err
		}, nil)},
	{"it sets Created and Updated to what is stored", "GrantCreated", putting(nil,
		func(ctx context.Context, g *grant, put func(*grant) error) error {
			err := put(g)
			if err == nil {
				g.Updated = g.Updated.Add(time.Millisecond)
			}
			return err
		})},
	{"it sets Created and Updated", "ProfileCreated", putting(
		func(ctx context.Context, p *profile, put func(*profile) error) error {
			c := p.Clone()
			err := put(c)
			p.Version = c.Version
			return err
		}, nil)},
	{"it sets Updated, each time", "GrantCreated", func(b *broken) {
		created := make(map[key]time.Time)
		s := b.Store
		b.putGrant = func(ctx context.Context, g *grant) error {
			err := s.PutGrant(ctx, g)
			if err == nil {
				g.Updated = g.Created
				created[g.GrantKey] = g.Created
			}
			return err
		}
		b.grant = func(ctx context.Context, k key) (*grant, error) {
			g, err := s.Grant(ctx, k)
			if err == nil {
				g.Updated = created[k]
			}
			return g, err
		}
	}},
	{"it sets Created, whatever the caller says", "ProfileCreated", claiming(func(claim, first time.Time) time.Time {
		return claim
	})},
	{"it sets Created: anew in another life", "ProfileCreated", claiming(func(claim, first time.Time) time.Time {
		return first
	})},
	{"it sets Version", "GrantReplace", putting(nil,
		func(ctx context.Context, g *grant, put func(*grant) error) error { return put(g.Clone()) })},
	{"versions are above zero", "ProfileVersions", versioned(func(_ string, last int64, life int) int64 {
		return min(last, 0) - 1
	})},
	{"each version is another", "ProfileReplace", versioned(func(string, int64, int) int64 { return 1 })},
	{"versions are not given again after a deletion", "ProfileVersions", versioned(func(_ string, last int64, life int) int64 {
		return last + 1
	})},
	{"versions are not given again: every second life", "ProfileVersions", versioned(func(_ string, last int64, life int) int64 {
		return max(last+1, int64(life%2*100+1))
	})},
	{"versions are not given again: after many lives", "ProfileVersionsOfManyLives", versioned(func(_ string, last int64, life int) int64 {
		return max(last+1, int64(life%64*100+1))
	})},
	{"versions are not given again: while the clock stands still", "ProfileVersionsOfManyLives", versioned(func(_ string, last int64, life int) int64 {
		return max(last+1, time.Now().UnixMicro())
	})},
	{"versions are not given to two", "ProfileVersionsInParallel", func(b *broken) {
		s := b.Store
		var mu sync.Mutex
		shown, version := make(map[int64]int64), int64(0) // the real ones by those that callers see
		b.putProfile = func(ctx context.Context, p *profile) error {
			mu.Lock()
			next := version + 1
			c := p.Clone()
			if real, ok := shown[p.Version]; ok {
				c.Version = real
			}
			mu.Unlock()
			<-time.After(time.Millisecond)
			if err := s.PutProfile(ctx, c); err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			version = max(version, next)
			shown[next] = c.Version
			p.Version = next
			return nil
		}
	}},
	{"versions of grants are not given again after their profile's deletion", "DeleteProfileAndVersions", func(b *broken) {
		s := b.Store
		var mem authprofile.MemStore
		b.putGrant = func(ctx context.Context, g *grant) error { return mem.PutGrant(ctx, g) }
		b.grant = func(ctx context.Context, k key) (*grant, error) { return mem.Grant(ctx, k) }
		b.deleteProfile = func(ctx context.Context, id string) error {
			mem = authprofile.MemStore{}
			return s.DeleteProfile(ctx, id)
		}
	}},
	{"whether the profile exists is not its concern", "GrantsWithoutProfile", func(b *broken) {
		s := b.Store
		b.putGrant = func(ctx context.Context, g *grant) error {
			if _, err := s.Profile(ctx, g.ProfileID); err != nil {
				return err
			}
			return s.PutGrant(ctx, g)
		}
	}},

	// Deleting.
	{"DeleteProfile of none is no error", "ProfileNotFound", func(b *broken) {
		s := b.Store
		b.deleteProfile = func(ctx context.Context, id string) error {
			if _, err := s.Profile(ctx, id); err != nil {
				return err
			}
			return s.DeleteProfile(ctx, id)
		}
	}},
	{"DeleteGrant of none is no error", "GrantNotFound", func(b *broken) {
		s := b.Store
		b.deleteGrant = func(ctx context.Context, k key) error {
			if _, err := s.Grant(ctx, k); err != nil {
				return err
			}
			return s.DeleteGrant(ctx, k)
		}
	}},
	{"DeleteProfile removes the profile", "DeleteProfileWhole", func(b *broken) {
		b.deleteProfile = func(ctx context.Context, id string) error { return ctx.Err() }
	}},
	{"DeleteGrant removes the grant", "GrantNotFound", func(b *broken) {
		b.deleteGrant = func(ctx context.Context, k key) error { return ctx.Err() }
	}},
	{"DeleteGrant removes that grant alone", "GrantIdentifiers", func(b *broken) {
		s := b.Store
		b.deleteGrant = func(ctx context.Context, k key) error { return s.DeleteProfile(ctx, k.ProfileID) }
	}},
	{"DeleteProfile removes all its grants", "DeleteProfileAndGrants", func(b *broken) {
		var mem authprofile.MemStore
		b.putGrant = func(ctx context.Context, g *grant) error { return mem.PutGrant(ctx, g) }
		b.grant = func(ctx context.Context, k key) (*grant, error) { return mem.Grant(ctx, k) }
	}},
	{"DeleteProfile removes grants without a profile", "DeleteProfileAndGrants", func(b *broken) {
		s := b.Store
		b.deleteProfile = func(ctx context.Context, id string) error {
			if _, err := s.Profile(ctx, id); err != nil {
				return nil
			}
			return s.DeleteProfile(ctx, id)
		}
	}},
	{"DeleteProfile removes its own grants alone", "DeleteProfileAndGrants", func(b *broken) {
		s := b.Store
		b.deleteProfile = func(ctx context.Context, id string) error {
			list, _ := s.ListGrants(ctx, filter{ProfileID: strings.ToLower(id)}, key{}, 100)
			for _, g := range list {
				s.DeleteGrant(ctx, g.GrantKey)
			}
			list, _ = s.ListGrants(ctx, filter{ProfileID: strings.ToUpper(id)}, key{}, 100)
			for _, g := range list {
				s.DeleteGrant(ctx, g.GrantKey)
			}
			return s.DeleteProfile(ctx, id)
		}
	}},

	{"DeleteProfile removes all its grants: of a thousand", "GrantsOfManyUsers", func(b *broken) {
		s := b.Store
		b.deleteProfile = func(ctx context.Context, id string) error {
			list, err := s.ListGrants(ctx, filter{ProfileID: id}, key{}, 2000)
			if err := s.DeleteProfile(ctx, id); err != nil {
				return err
			}
			for _, g := range list[min(1000, len(list)):] {
				g.Version = 0
				s.PutGrant(ctx, g)
			}
			return err
		}
	}},
	{"DeleteProfile removes its own grants alone: not by a pattern", "DeleteProfileAndGrants", deletingLike(func(id, other string) bool {
		return strings.Contains(id, "_") && len(id) == len(other) && strings.HasPrefix(other, strings.TrimRight(id, "_"))
	})},
	{"DeleteProfile removes its own grants alone: not those of all that begin so", "DeleteProfileAndGrants", deletingLike(func(id, other string) bool {
		return strings.HasPrefix(other, id+"/")
	})},
	{"DeleteGrant removes the grant: also one that was replaced meanwhile", "GrantReplaceWhileDeleting", func(b *broken) {
		s := b.Store
		b.putGrant = func(ctx context.Context, g *grant) error {
			<-time.After(time.Microsecond) // in a bubble: until the other has read
			return s.PutGrant(ctx, g)
		}
		b.deleteGrant = func(ctx context.Context, k key) error {
			g, err := s.Grant(ctx, k)
			if err != nil {
				return s.DeleteGrant(ctx, k)
			}
			<-time.After(time.Millisecond)
			if now, err := s.Grant(ctx, k); err == nil && now.Version != g.Version {
				return nil
			}
			return s.DeleteGrant(ctx, k)
		}
	}},
	{"DeleteProfile removes the profile: not one that was made anew", "ProfileCreateWhileDeleting", func(b *broken) {
		s := b.Store
		b.putProfile = func(ctx context.Context, p *profile) error {
			<-time.After(time.Microsecond) // in a bubble: until others have deleted
			return s.PutProfile(ctx, p)
		}
		b.deleteProfile = func(ctx context.Context, id string) error {
			if err := s.DeleteProfile(ctx, id); err != nil {
				return err
			}
			<-time.After(time.Millisecond)
			return s.DeleteProfile(ctx, id)
		}
	}},

	// Flows.
	{"PutFlow does not keep State", "FlowFields", keeping(func(kept, f *flow) { kept.State = f.State })},
	{"PutFlow does not keep URL", "FlowFields", keeping(func(kept, f *flow) { kept.URL = f.URL })},
	{"TakeFlow removes the flow", "FlowTakenOnce", func(b *broken) {
		s := b.Store
		b.takeFlow = func(ctx context.Context, id string) (*flow, error) {
			f, err := s.TakeFlow(ctx, id)
			if err == nil {
				s.PutFlow(ctx, f)
			}
			return f, err
		}
	}},
	{"of many at most one gets it", "FlowTakenOnce", func(b *broken) {
		var mu sync.Mutex
		flows := make(map[string]*flow)
		b.putFlow = func(ctx context.Context, f *flow) error {
			mu.Lock()
			defer mu.Unlock()
			flows[f.ID] = stored(f)
			flows[f.ID].Expires = f.Expires.UTC()
			return nil
		}
		b.takeFlow = func(ctx context.Context, id string) (*flow, error) {
			mu.Lock()
			f := flows[id]
			mu.Unlock()
			if f == nil {
				return nil, authprofile.ErrNotFound
			}
			<-time.After(time.Millisecond)
			mu.Lock()
			defer mu.Unlock()
			delete(flows, id)
			return f.Clone(), nil
		}
	}},
	{"for the others the error is ErrNotFound", "FlowTakenOnce", func(b *broken) {
		s := b.Store
		b.takeFlow = func(ctx context.Context, id string) (*flow, error) {
			f, err := s.TakeFlow(ctx, id)
			if err != nil {
				err = authprofile.ErrConflict
			}
			return f, err
		}
	}},
	{"for nothing the error is ErrNotFound", "FlowNotFound", func(b *broken) {
		s := b.Store
		b.takeFlow = func(ctx context.Context, id string) (*flow, error) {
			f, err := s.TakeFlow(ctx, id)
			if errors.Is(err, authprofile.ErrNotFound) {
				err = nil
			}
			return f, err
		}
	}},
	{"once it has expired the error is ErrNotFound", "FlowExpired", eternal(func(f *flow) bool { return true })},
	{"once it has expired the error is ErrNotFound: not only at PutFlow", "FlowExpires", eternal(func(f *flow) bool { return f.Expires.After(time.Now()) })},
	{"a flow is kept until it expires", "FlowManyExpired", func(b *broken) {
		s := b.Store
		var ids []string
		b.putFlow = func(ctx context.Context, f *flow) error {
			if ids = append(ids, f.ID); len(ids) > 100 {
				s.TakeFlow(ctx, ids[0])
				ids = ids[1:]
			}
			return s.PutFlow(ctx, f)
		}
	}},
	{"a flow is kept until it expires: of five hundred others", "FlowAmongMany", forgetting(func(kept []*flow, f *flow) bool {
		return len(kept) > 500
	})},
	{"a flow is kept until it expires: those that were taken do not count", "FlowAmongMany", func(b *broken) {
		s := b.Store
		var mu sync.Mutex
		var ids []string
		b.putFlow = func(ctx context.Context, f *flow) error {
			mu.Lock()
			defer mu.Unlock()
			if ids = append(ids, f.ID); len(ids) > 300 {
				s.TakeFlow(ctx, ids[0])
				ids = ids[1:]
			}
			return s.PutFlow(ctx, f)
		}
	}},
	{"a flow is kept until it expires: not until another does", "FlowAmongMany", forgetting(func(kept []*flow, f *flow) bool {
		return kept[0].Expires.Before(f.Expires.Add(-time.Hour))
	})},
	{"a flow is kept until it expires: for longer than 32 bits of milliseconds", "FlowAmongMany", func(b *broken) {
		s := b.Store
		b.putFlow = func(ctx context.Context, f *flow) error {
			c := f.Clone()
			c.Expires = time.Now().Add(time.Duration(int32(time.Until(f.Expires).Milliseconds())) * time.Millisecond)
			return s.PutFlow(ctx, c)
		}
	}},
	{"a flow is kept until it expires: to the last moment", "FlowToTheLast", func(b *broken) {
		s := b.Store
		expires := make(map[string]time.Time)
		b.putFlow = func(ctx context.Context, f *flow) error {
			expires[f.ID] = f.Expires.UTC()
			c := f.Clone()
			c.Expires = f.Expires.Truncate(time.Second)
			return s.PutFlow(ctx, c)
		}
		b.takeFlow = func(ctx context.Context, id string) (*flow, error) {
			f, err := s.TakeFlow(ctx, id)
			if err == nil {
				f.Expires = expires[id]
			}
			return f, err
		}
	}},
	{"a flow is kept until it expires: not for a tenth of a second", "FlowExpires", func(b *broken) {
		s := b.Store
		begun := make(map[string]time.Time)
		b.putFlow = func(ctx context.Context, f *flow) error {
			begun[f.ID] = time.Now()
			return s.PutFlow(ctx, f)
		}
		b.takeFlow = func(ctx context.Context, id string) (*flow, error) {
			if time.Since(begun[id]) > 100*time.Millisecond {
				return nil, authprofile.ErrNotFound
			}
			return s.TakeFlow(ctx, id)
		}
	}},
	{"what was not found may come", "FlowNotFound", func(b *broken) {
		s := b.Store
		none := make(map[string]bool)
		b.takeFlow = func(ctx context.Context, id string) (*flow, error) {
			if none[id] {
				return nil, authprofile.ErrNotFound
			}
			f, err := s.TakeFlow(ctx, id)
			none[id] = err != nil
			return f, err
		}
	}},
	{"flows are apart from profiles", "KindsApart", func(b *broken) {
		s := b.Store
		b.putFlow = func(ctx context.Context, f *flow) error {
			if err := s.PutFlow(ctx, f); err != nil {
				return err
			}
			return s.PutProfile(ctx, &profile{ID: f.ID}) // one table for all
		}
	}},
	{"a flow that is put again is kept", "FlowAgain", func(b *broken) {
		s := b.Store
		seen := make(map[string]bool)
		b.putFlow = func(ctx context.Context, f *flow) error {
			if seen[f.ID] {
				return nil
			}
			seen[f.ID] = true
			return s.PutFlow(ctx, f)
		}
	}},
}

// A halfway is for a Store that does in two steps what must be one. It makes
// sure that others see what is half done.
type halfway struct {
	over atomic.Pointer[chan struct{}] // nil: nothing is half done
}

// pause returns, in a bubble, when all others have come to a stop, and then
// a function that lets them go on.
func (h *halfway) pause() (resume func()) {
	over := make(chan struct{})
	h.over.Store(&over)
	<-time.After(time.Millisecond)
	return func() {
		h.over.Store(nil)
		close(over)
	}
}

// hold keeps a reader with what it has read until all is done.
func (h *halfway) hold() {
	if over := h.over.Load(); over != nil {
		<-*over
	}
}

// bubble runs a test where a Store that hangs costs no time, and where a pause
// ends when all others have come to one.
func bubble(f func(t *testing.T)) func(t *testing.T) {
	return func(t *testing.T) { synctest.Test(t, f) }
}

// lostUpdate compares and then swaps.
func lostUpdate(b *broken) {
	var mu sync.Mutex
	kept := make(map[string]*profile)
	version := int64(0)
	b.profile = func(ctx context.Context, id string) (*profile, error) {
		mu.Lock()
		defer mu.Unlock()
		return kept[id].Clone(), nil
	}
	b.putProfile = func(ctx context.Context, p *profile) error {
		mu.Lock()
		old := kept[p.ID]
		mu.Unlock()
		if old == nil && p.Version != 0 || old != nil && p.Version != old.Version {
			return authprofile.ErrConflict
		}
		<-time.After(time.Millisecond) // in a bubble: until all have compared
		mu.Lock()
		defer mu.Unlock()
		version++
		p.Version = version
		kept[p.ID] = p.Clone()
		return nil
	}
}

// keeping is a Store that keeps more of a flow.
func keeping(more func(kept, f *flow)) func(*broken) {
	return func(b *broken) {
		s := b.Store
		flows := make(map[string]*flow)
		b.putFlow = func(ctx context.Context, f *flow) error {
			flows[f.ID] = f.Clone()
			return s.PutFlow(ctx, f)
		}
		b.takeFlow = func(ctx context.Context, id string) (*flow, error) {
			f, err := s.TakeFlow(ctx, id)
			if err == nil {
				more(f, flows[id])
			}
			return f, err
		}
	}
}

// eternal is a Store in which flows do not expire.
func eternal(keep func(f *flow) bool) func(*broken) {
	return func(b *broken) {
		s := b.Store
		until := make(map[string]time.Time)
		b.putFlow = func(ctx context.Context, f *flow) error {
			if !keep(f) {
				return nil
			}
			until[f.ID] = f.Expires
			c := f.Clone()
			c.Expires = time.Now().Add(time.Hour)
			return s.PutFlow(ctx, c)
		}
		b.takeFlow = func(ctx context.Context, id string) (*flow, error) {
			f, err := s.TakeFlow(ctx, id)
			if err == nil {
				f.Expires = until[id].UTC()
			}
			return f, err
		}
	}
}

// both is an error that is several sentinels at once.
func both(err error) error {
	if errors.Is(err, authprofile.ErrNotFound) || errors.Is(err, authprofile.ErrConflict) {
		return errors.Join(authprofile.ErrNotFound, authprofile.ErrConflict)
	}
	return err
}

// merging is a Store that replaces a grant by something of the old one.
func merging(merge func(old, g *grant)) func(*broken) {
	return func(b *broken) {
		s := b.Store
		b.putGrant = func(ctx context.Context, g *grant) error {
			c := g.Clone()
			if old, err := s.Grant(ctx, g.GrantKey); err == nil {
				merge(old, c)
			}
			err := s.PutGrant(ctx, c)
			g.Version, g.Created, g.Updated = c.Version, c.Created, c.Updated
			return err
		}
	}
}

// claiming is a Store that takes the time of creation from elsewhere: from
// what the caller claims, or from the first record of that ID.
func claiming(created func(claim, first time.Time) time.Time) func(*broken) {
	return func(b *broken) {
		s := b.Store
		first, kept := make(map[string]time.Time), make(map[string]time.Time)
		b.putProfile = func(ctx context.Context, p *profile) error {
			creates, claim := p.Version == 0, p.Created
			if err := s.PutProfile(ctx, p); err != nil {
				return err
			}
			if first[p.ID].IsZero() {
				first[p.ID] = p.Created
			}
			if creates {
				kept[p.ID] = created(claim.UTC(), first[p.ID])
			}
			p.Created = kept[p.ID]
			return nil
		}
		b.profile = func(ctx context.Context, id string) (*profile, error) {
			p, err := s.Profile(ctx, id)
			if err == nil {
				p.Created = kept[id]
			}
			return p, err
		}
	}
}

// resurrecting is a Store that compares, and then writes whatever is there.
func resurrecting(b *broken) {
	s := b.Store
	var mu sync.Mutex // of many writers one wins
	written := make(map[int64]bool)
	once := func(version int64) bool {
		mu.Lock()
		defer mu.Unlock()
		defer func() { written[version] = true }()
		return !written[version]
	}
	compared := func() { <-time.After(time.Microsecond) } // in a bubble: until all have compared
	b.deleteProfile = func(ctx context.Context, id string) error {
		compared()
		return s.DeleteProfile(ctx, id)
	}
	b.deleteGrant = func(ctx context.Context, k key) error {
		compared()
		return s.DeleteGrant(ctx, k)
	}
	b.putProfile = func(ctx context.Context, p *profile) error {
		if old, err := s.Profile(ctx, p.ID); p.Version == 0 || err != nil || old.Version != p.Version || !once(p.Version) {
			return s.PutProfile(ctx, p)
		}
		<-time.After(time.Millisecond)
		err := s.PutProfile(ctx, p)
		if errors.Is(err, authprofile.ErrConflict) {
			p.Version = 0
			err = s.PutProfile(ctx, p)
		}
		return err
	}
	b.putGrant = func(ctx context.Context, g *grant) error {
		if old, err := s.Grant(ctx, g.GrantKey); g.Version == 0 || err != nil || old.Version != g.Version || !once(g.Version) {
			return s.PutGrant(ctx, g)
		}
		<-time.After(time.Millisecond)
		err := s.PutGrant(ctx, g)
		if errors.Is(err, authprofile.ErrConflict) {
			g.Version = 0
			err = s.PutGrant(ctx, g)
		}
		return err
	}
}

// listing is a Store that makes lists in its own way of all grants, which are
// sorted by key.
func listing(list func(all []*grant, f filter, after key, limit int) []*grant) func(*broken) {
	return func(b *broken) {
		s := b.Store
		b.listGrants = func(ctx context.Context, f filter, after key, limit int) ([]*grant, error) {
			all, err := s.ListGrants(ctx, filter{}, key{}, math.MaxInt)
			if err != nil {
				return nil, err
			}
			return list(all, f, after, limit), nil
		}
	}
}

// plain lists as it should be.
func plain(all []*grant, f filter, after key, limit int) []*grant {
	return keyset(all, f, limit, func(g *grant) bool { return comesAfter(g.GrantKey, after) })
}

// keyset lists what passes the filter, and follows.
func keyset(all []*grant, f filter, limit int, follows func(g *grant) bool) []*grant {
	var list []*grant
	for _, g := range all {
		if len(list) < limit && passes(f, g) && follows(g) {
			list = append(list, g)
		}
	}
	return list
}

// sorted is a Store that lists in another order, and goes on in that order.
func sorted(order func(a, b *grant) int) func(*broken) {
	return listing(func(all []*grant, f filter, after key, limit int) []*grant {
		slices.SortStableFunc(all, order)
		i := slices.IndexFunc(all, func(g *grant) bool { return g.GrantKey == after })
		if i < 0 && after != (key{}) {
			return plain(all, f, after, limit)
		}
		return plain(all[i+1:], f, key{}, limit)
	})
}

// dueing is a Store in which this finds what is due among all grants, which
// are in the order of their keys.
func dueing(due func(all []*grant, before time.Time, limit int) []*grant) func(*broken) {
	return func(b *broken) {
		s := b.Store
		b.dueGrants = func(ctx context.Context, before time.Time, limit int) ([]*grant, error) {
			all, err := s.ListGrants(ctx, filter{}, key{}, math.MaxInt)
			if err != nil {
				return nil, err
			}
			return due(all, before, limit), nil
		}
	}
}

// early finds what is due as it should be.
func early(all []*grant, before time.Time, limit int) []*grant {
	return ordered(all, limit, func(g *grant) bool { return isDue(g, before) })
}

// ordered returns the first of those that are due by a rule.
func ordered(all []*grant, limit int, due func(g *grant) bool) []*grant {
	list := slices.DeleteFunc(slices.Clone(all), func(g *grant) bool { return !due(g) })
	slices.SortStableFunc(list, func(a, b *grant) int { return a.Due.Compare(b.Due) })
	return list[:min(max(limit, 0), len(list))]
}

// remembering is a Store that finds what is due in an index of its own. The
// function says what a put makes of the time that is there; first is the put
// that creates the grant.
func remembering(index func(was, is time.Time, first bool) time.Time) func(*broken) {
	return func(b *broken) {
		s := b.Store
		due := make(map[key]time.Time)
		b.putGrant = func(ctx context.Context, g *grant) error {
			first := g.Version == 0
			err := s.PutGrant(ctx, g)
			if err == nil {
				due[g.GrantKey] = index(due[g.GrantKey], g.Due, first)
			}
			return err
		}
		dueing(func(all []*grant, before time.Time, limit int) []*grant {
			shown := make(map[key]time.Time)
			for _, g := range all {
				shown[g.GrantKey], g.Due = g.Due, due[g.GrantKey]
			}
			list := early(all, before, limit)
			for _, g := range list {
				g.Due = shown[g.GrantKey]
			}
			return list
		})(b)
	}
}

// lingering is a Store that keeps in its index what was deleted, if this says
// so; the user is "*" where a profile was deleted.
func lingering(lingers func(k, deleted key) bool) func(*broken) {
	return func(b *broken) {
		s := b.Store
		gone := make(map[key]*grant)
		keep := func(ctx context.Context, deleted key) {
			all, _ := s.ListGrants(ctx, filter{}, key{}, math.MaxInt)
			for _, g := range all {
				if lingers(g.GrantKey, deleted) {
					gone[g.GrantKey] = g
				}
			}
		}
		b.deleteGrant = func(ctx context.Context, k key) error {
			keep(ctx, k)
			return s.DeleteGrant(ctx, k)
		}
		b.deleteProfile = func(ctx context.Context, id string) error {
			keep(ctx, key{ProfileID: id, User: "*"})
			return s.DeleteProfile(ctx, id)
		}
		dueing(func(all []*grant, before time.Time, limit int) []*grant {
			for _, g := range gone {
				all = append(all, g.Clone())
			}
			return early(all, before, limit)
		})(b)
	}
}

// slowPuts lets what reads a Store in several steps meet a change in between.
func slowPuts(b *broken) {
	s := b.Store
	b.putGrant = func(ctx context.Context, g *grant) error {
		<-time.After(500 * time.Microsecond)
		return s.PutGrant(ctx, g)
	}
	b.deleteGrant = func(ctx context.Context, k key) error {
		<-time.After(500 * time.Microsecond)
		return s.DeleteGrant(ctx, k)
	}
}

// onTheClock is a time as text, without its zone.
const onTheClock = "2006-01-02T15:04:05.000000000"

// A part is what one field of a filter says, alone.
type part int

const (
	ofProfileID part = iota
	ofUser
	ofStatus
	ofEndsBefore
)

// without returns the filter that does not say this.
func (p part) without(f filter) filter {
	switch p {
	case ofProfileID:
		f.ProfileID = ""
	case ofUser:
		f.User = ""
	case ofStatus:
		f.Status = ""
	case ofEndsBefore:
		f.EndsBefore = time.Time{}
	}
	return f
}

// passing is a Store that has a test of its own for one field of a filter, and
// is right about the others.
func passing(p part, pass func(f filter, g *grant) bool) func(*broken) {
	return listing(func(all []*grant, f filter, after key, limit int) []*grant {
		return keyset(all, p.without(f), limit, func(g *grant) bool { return comesAfter(g.GrantKey, after) && pass(f, g) })
	})
}

// gone is a Store that lists, over all profiles, grants that are deleted too.
func gone(deleting func(s authprofile.Store, b *broken, note func(key))) func(*broken) {
	return func(b *broken) {
		s := b.Store
		var old []*grant
		deleting(s, b, func(k key) {
			if g, err := s.Grant(context.Background(), k); err == nil {
				old = append(old, g)
			}
		})
		b.listGrants = func(ctx context.Context, f filter, after key, limit int) ([]*grant, error) {
			all, err := s.ListGrants(ctx, filter{}, key{}, math.MaxInt)
			if f.ProfileID == "" {
				all = append(all, old...)
				sortGrants(all)
			}
			return plain(all, f, after, limit), err
		}
	}
}

// counting is a Store that counts in its own way.
func counting(count func(all []*grant, id string) counts) func(*broken) {
	return func(b *broken) {
		s := b.Store
		b.countGrants = func(ctx context.Context, id string) (counts, error) {
			all, err := s.ListGrants(ctx, filter{}, key{}, math.MaxInt)
			if err != nil {
				return nil, err
			}
			return count(all, id), nil
		}
	}
}

// tally counts as it should be.
func tally(all []*grant, id string) counts {
	n := make(counts)
	for _, g := range all {
		if id == "" || id == g.ProfileID {
			n[g.Status]++
		}
	}
	return n
}

// deletingLike is a Store whose DeleteProfile takes the grants of other
// profiles for those of this one.
func deletingLike(like func(id, other string) bool) func(*broken) {
	return func(b *broken) {
		s := b.Store
		b.deleteProfile = func(ctx context.Context, id string) error {
			all, err := s.ListProfiles(ctx, "", 1000)
			if err != nil {
				return err
			}
			for _, p := range all {
				if like(id, p.ID) {
					list, _ := s.ListGrants(ctx, filter{ProfileID: p.ID}, key{}, 1000)
					for _, g := range list {
						s.DeleteGrant(ctx, g.GrantKey)
					}
				}
			}
			return s.DeleteProfile(ctx, id)
		}
	}
}

// forgetting is a Store that forgets the oldest flow for the sake of another.
func forgetting(forget func(kept []*flow, f *flow) bool) func(*broken) {
	return func(b *broken) {
		s := b.Store
		var mu sync.Mutex
		var kept []*flow
		b.putFlow = func(ctx context.Context, f *flow) error {
			mu.Lock()
			defer mu.Unlock()
			if len(kept) > 0 && forget(kept, f) {
				s.TakeFlow(ctx, kept[0].ID)
				kept = kept[1:]
			}
			kept = append(kept, f)
			return s.PutFlow(ctx, f)
		}
		b.takeFlow = func(ctx context.Context, id string) (*flow, error) {
			mu.Lock()
			defer mu.Unlock()
			kept = slices.DeleteFunc(kept, func(f *flow) bool { return f.ID == id })
			return s.TakeFlow(ctx, id)
		}
	}
}

func throughJSON(s string) string {
	b, _ := json.Marshal(s)
	json.Unmarshal(b, &s)
	return s
}

func TestBrokenStores(t *testing.T) {
	for _, c := range brokenStores {
		t.Run(c.promise, bubble(func(t *testing.T) {
			b := &broken{Store: new(authprofile.MemStore)}
			c.brk(b)
			if got := failures(t.Context(), c.check, b); len(got) == 0 {
				t.Errorf("%s: got no failure, want one", c.check)
			} else {
				t.Logf("%s: %s", c.check, got[0])
			}
			<-time.After(2 * time.Hour) // until what hung is done
		}))
	}
}

// A Store that forgets a field fails, whichever field it is, and so for fields
// that will be added.
func TestForgottenFields(t *testing.T) {
	try := func(path string, names []string, brk func(*broken)) {
		for _, name := range names {
			b := &broken{Store: new(authprofile.MemStore)}
			brk(b)
			if got := failures(t.Context(), name, b); len(got) == 0 {
				t.Errorf("%s of a Store that forgets %s: got no failure, want one", name, path)
			}
		}
	}
	n := 0
	leaves(reflect.TypeFor[profile](), nil, "Profile", func(path string, index []int) {
		n++
		try(path, []string{"ProfileFields", "ProfileOneField"}, onRead(dropped[profile](index), nil, nil))
	})
	leaves(reflect.TypeFor[grant](), nil, "Grant", func(path string, index []int) {
		n++
		try(path, []string{"GrantFields", "GrantOneField"}, onRead(nil, dropped[grant](index), nil))
	})
	leaves(reflect.TypeFor[flow](), nil, "Flow", func(path string, index []int) {
		if path == "Flow.State" || path == "Flow.URL" {
			return
		}
		n++
		try(path, []string{"FlowFields"}, onRead(nil, nil, dropped[flow](index)))
	})
	if n < 50 {
		t.Errorf("got %d fields tried, want all of them", n)
	}
}

// A Store that does not look at a field of a filter fails, in whichever
// combination with others that is.
func TestIgnoredFilters(t *testing.T) {
	parts := []part{ofProfileID, ofUser, ofStatus, ofEndsBefore}
	says := func(f filter) (combination int) {
		for i, p := range parts {
			if p.without(f) != f {
				combination |= 1 << i
			}
		}
		return combination
	}
	for combination := range 1 << len(parts) {
		for i, p := range parts {
			if combination&(1<<i) == 0 {
				continue
			}
			b := &broken{Store: new(authprofile.MemStore)}
			listing(func(all []*grant, f filter, after key, limit int) []*grant {
				if says(f) == combination {
					f = p.without(f)
				}
				return plain(all, f, after, limit)
			})(b)
			if got := failures(t.Context(), "GrantsFiltered", b); len(got) == 0 {
				t.Errorf("a Store that ignores field %d of filters that say %04b: got no failure, want one", i, combination)
			}
		}
	}
}

// A Store that keeps every promise passes.
func TestRun(t *testing.T) {
	Run(t, func(t *testing.T) authprofile.Store { return new(authprofile.MemStore) })
}

func TestRunShared(t *testing.T) {
	RunShared(t, func(t *testing.T, n int) []authprofile.Store {
		return slices.Repeat([]authprofile.Store{new(authprofile.MemStore)}, n)
	})
}

// cached is a handle that is right as long as it is the only one.
func cached(s authprofile.Store) authprofile.Store {
	b := &broken{Store: s}
	var mu sync.Mutex
	cache := make(map[string]*profile)
	b.profile = func(ctx context.Context, id string) (*profile, error) {
		mu.Lock()
		defer mu.Unlock()
		if p := cache[id]; p != nil && ctx.Err() == nil {
			return p.Clone(), nil
		}
		p, err := s.Profile(ctx, id)
		if err == nil {
			cache[id] = p.Clone()
		}
		return p, err
	}
	b.putProfile = func(ctx context.Context, p *profile) error {
		mu.Lock()
		defer mu.Unlock()
		delete(cache, p.ID)
		return s.PutProfile(ctx, p)
	}
	b.deleteProfile = func(ctx context.Context, id string) error {
		mu.Lock()
		defer mu.Unlock()
		delete(cache, id)
		return s.DeleteProfile(ctx, id)
	}
	return b
}

// locked is a handle that lets one call at a time compare and then swap.
func locked(s authprofile.Store) authprofile.Store {
	b := &broken{Store: s}
	lock := make(chan struct{}, 1)
	b.putGrant = func(ctx context.Context, g *grant) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		lock <- struct{}{}
		defer func() { <-lock }()
		current := func() int64 {
			old, err := s.Grant(ctx, g.GrantKey)
			if err != nil {
				return 0
			}
			return old.Version
		}
		if g.Version != current() {
			return authprofile.ErrConflict
		}
		<-time.After(time.Millisecond)
		for {
			c := g.Clone()
			c.Version = current()
			err := s.PutGrant(ctx, c)
			if err == nil {
				g.Version, g.Created, g.Updated = c.Version, c.Created, c.Updated
			}
			if !errors.Is(err, authprofile.ErrConflict) {
				return err
			}
		}
	}
	return b
}

// indexed is a handle that finds and counts by the statuses that it has put
// itself.
func indexed(s authprofile.Store) authprofile.Store {
	b := &broken{Store: s}
	var mu sync.Mutex
	index := make(map[key]status)
	b.putGrant = func(ctx context.Context, g *grant) error {
		mu.Lock()
		defer mu.Unlock()
		err := s.PutGrant(ctx, g)
		if err == nil {
			index[g.GrantKey] = g.Status
		}
		return err
	}
	of := func(g *grant) status {
		mu.Lock()
		defer mu.Unlock()
		return cmp.Or(index[g.GrantKey], g.Status)
	}
	passing(ofStatus, func(f filter, g *grant) bool { return f.Status == "" || f.Status == of(g) })(b)
	counting(func(all []*grant, id string) counts {
		for _, g := range all {
			g.Status = of(g)
		}
		return tally(all, id)
	})(b)
	return b
}

// RunShared notices what Run cannot.
func TestBrokenHandles(t *testing.T) {
	for _, c := range []struct {
		promise string
		check   string
		handle  func(s authprofile.Store) authprofile.Store
	}{
		{"a call that has returned is seen in any process", "ProfileReplace", cached},
		{"of many processes one wins", "GrantParallelCreate", locked},
		{"no update of another process is lost", "GrantNoUpdateLost", locked},
		{"a grant is found by what it has become in any process", "GrantsAfterChanges", indexed},
		{"a grant is counted as what it has become in any process", "CountGrantsWhileOthersChange", indexed},
		{"one store, not one for each", "ProfileFields", nil},
		{"one store, not one for each: deleting", "DeleteProfileAndGrants", nil},
		{"one store, not one for each: flows", "FlowFields", nil},
	} {
		t.Run(c.promise, bubble(func(t *testing.T) {
			mem := new(authprofile.MemStore)
			open := func(shared *authprofile.MemStore) authprofile.Store {
				if c.handle == nil {
					return new(authprofile.MemStore)
				}
				return c.handle(shared)
			}
			if got := failures(t.Context(), c.check, open(mem)); len(got) > 0 {
				t.Errorf("%s of one handle: got %s, want none", c.check, got[0])
			}
			mem = new(authprofile.MemStore)
			three := &spread{stores: []authprofile.Store{open(mem), open(mem), open(mem)}}
			if got := failures(t.Context(), c.check, three); len(got) == 0 {
				t.Errorf("%s of three handles: got no failure, want one", c.check)
			}
		}))
	}
}
