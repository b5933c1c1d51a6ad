package storetest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/authprofile/authprofile"
)

// A kind is one kind of record: the methods of a Store for it. The key of a profile
// is its ID here, that of a grant the user, all of one profile.
type kind[R any] struct {
	get    func(ctx context.Context, s authprofile.Store, key string) (*R, error)
	list   func(ctx context.Context, s authprofile.Store, after string, limit int) ([]*R, error)
	put    func(ctx context.Context, s authprofile.Store, r *R) error
	delete func(ctx context.Context, s authprofile.Store, key string) error

	key   func(r *R) *string
	stamp func(r *R) (version *int64, created, updated *time.Time)
	note  func(r *R) (*string, *authprofile.Secret) // any two fields
	limit int                                       // bytes of a key
}

var profiles = kind[authprofile.Profile]{
	get: func(ctx context.Context, s authprofile.Store, key string) (*authprofile.Profile, error) {
		return s.Profile(ctx, key)
	},
	list: func(ctx context.Context, s authprofile.Store, after string, limit int) ([]*authprofile.Profile, error) {
		return s.ListProfiles(ctx, after, limit)
	},
	put: func(ctx context.Context, s authprofile.Store, p *authprofile.Profile) error {
		return s.PutProfile(ctx, p)
	},
	delete: func(ctx context.Context, s authprofile.Store, key string) error {
		return s.DeleteProfile(ctx, key)
	},
	key: func(p *authprofile.Profile) *string { return &p.ID },
	stamp: func(p *authprofile.Profile) (*int64, *time.Time, *time.Time) {
		return &p.Version, &p.Created, &p.Updated
	},
	note: func(p *authprofile.Profile) (*string, *authprofile.Secret) {
		return &p.Description, &p.ClientSecret
	},
	limit: 255,
}

const ofProfile = "crm"

var grants = kind[authprofile.Grant]{
	get: func(ctx context.Context, s authprofile.Store, key string) (*authprofile.Grant, error) {
		return s.Grant(ctx, authprofile.GrantKey{ProfileID: ofProfile, User: key})
	},
	list: func(ctx context.Context, s authprofile.Store, after string, limit int) ([]*authprofile.Grant, error) {
		return s.ListGrants(ctx, authprofile.GrantFilter{ProfileID: ofProfile}, afterUser(ofProfile, after), limit)
	},
	put: func(ctx context.Context, s authprofile.Store, g *authprofile.Grant) error {
		return s.PutGrant(ctx, g)
	},
	delete: func(ctx context.Context, s authprofile.Store, key string) error {
		return s.DeleteGrant(ctx, authprofile.GrantKey{ProfileID: ofProfile, User: key})
	},
	key: func(g *authprofile.Grant) *string {
		g.ProfileID = ofProfile
		return &g.User
	},
	stamp: func(g *authprofile.Grant) (*int64, *time.Time, *time.Time) {
		return &g.Version, &g.Created, &g.Updated
	},
	note: func(g *authprofile.Grant) (*string, *authprofile.Secret) {
		return &g.Subject, &g.RefreshToken
	},
	limit: 512,
}

func (k kind[R]) checks(name string) []check {
	list := []check{
		{"Fields", k.fields},
		{"OneField", k.oneField},
		{"Strings", k.strings},
		{"Times", k.times},
		{"Identifiers", k.identifiers},
		{"LongIdentifiers", k.longIdentifiers},
		{"NotFound", k.notFound},
		{"Create", k.create},
		{"Replace", k.replace},
		{"ReplaceOneField", k.replaceOneField},
		{"Versions", k.versions},
		{"VersionsOfManyLives", k.versionsOfManyLives},
		{"VersionsInParallel", k.versionsInParallel},
		{"Created", k.created},
		{"Arguments", k.arguments},
		{"OwnershipOfArguments", k.ownershipOfArguments},
		{"OwnershipOfResults", k.ownershipOfResults},
		{"Pages", k.pages},
		{"PagesOfLarge", k.pagesOfLarge},
		{"PagesWhileChanging", k.pagesWhileChanging},
		{"PagesWhileOthersChange", k.pagesWhileOthersChange},
		{"CallsWhileListing", k.callsWhileListing},
		{"ParallelCreate", k.parallelCreate},
		{"ParallelReplace", k.parallelReplace},
		{"NoUpdateLost", k.noUpdateLost},
		{"ReplaceWhileDeleting", k.replaceWhileDeleting},
		{"CreateWhileDeleting", k.createWhileDeleting},
		{"Whole", k.whole},
		{"ContextEnded", k.contextEnded},
		{"ContextEnds", k.contextEnds},
	}
	for i := range list {
		list[i].name = name + list[i].name
	}
	return list
}

// new returns a record that was never stored, with a key and every other field
// filled.
func (k kind[R]) new(key string, seed int) *R {
	r := new(R)
	fill(reflect.ValueOf(r).Elem(), reflect.TypeFor[R]().Name(), seed)
	k.unstamp(r)
	*k.key(r) = key
	return r
}

func (k kind[R]) unstamp(r *R) {
	version, created, updated := k.stamp(r)
	*version, *created, *updated = 0, time.Time{}, time.Time{}
}

func (k kind[R]) version(r *R) int64 {
	version, _, _ := k.stamp(r)
	return *version
}

// at returns a record that claims to be that version.
func (k kind[R]) at(key string, version int64, seed int) *R {
	r := k.new(key, seed)
	v, _, _ := k.stamp(r)
	*v = version
	return r
}

func (k kind[R]) mustDelete(t tb, s authprofile.Store, key string) {
	t.Helper()
	if err := k.delete(t.Context(), s, key); err != nil {
		t.Fatalf("delete %q: got error %v, want none", key, err)
	}
}

func (k kind[R]) mustPut(t tb, s authprofile.Store, r *R) {
	t.Helper()
	if err := k.put(t.Context(), s, r); err != nil {
		t.Fatalf("put %q at version %d: got error %v, want none", *k.key(r), k.version(r), err)
	}
}

// mustHave checks that what the Store has under want's key is want, and
// returns it.
func (k kind[R]) mustHave(t tb, s authprofile.Store, want *R) *R {
	t.Helper()
	got, err := k.get(t.Context(), s, *k.key(want))
	if err != nil {
		t.Fatalf("get %q: got error %v, want none", *k.key(want), err)
	}
	if d := diffStored(got, want); d != "" {
		t.Fatalf("get %q: %s", *k.key(want), d)
	}
	return got
}

func (k kind[R]) mustNotHave(t tb, s authprofile.Store, key string) {
	t.Helper()
	if got, err := k.get(t.Context(), s, key); !isNotFound(err) || got != nil {
		t.Fatalf("get %q: got error %v, want ErrNotFound alone, and no record", key, err)
	}
}

// isNotFound says whether an error is ErrNotFound, and not ErrConflict as well.
func isNotFound(err error) bool {
	return errors.Is(err, authprofile.ErrNotFound) && !errors.Is(err, authprofile.ErrConflict)
}

// roundTrip creates r and checks that it comes back as it is, alone and in a
// list.
func (k kind[R]) roundTrip(t tb, s authprofile.Store, r *R) {
	t.Helper()
	want := clone(r)
	k.mustPut(t, s, r)
	v, c, u := k.stamp(r)
	wv, wc, wu := k.stamp(want)
	*wv, *wc, *wu = *v, *c, *u
	if d := diff(r, want); d != "" {
		t.Fatalf("the argument after put: %s", d)
	}
	k.mustHave(t, s, want)
	list, err := k.list(t.Context(), s, "", 1000)
	if err != nil {
		t.Fatalf("list: got error %v, want none", err)
	}
	i := slices.IndexFunc(list, func(r *R) bool { return *k.key(r) == *k.key(want) })
	if i < 0 {
		t.Fatalf("list: %q is missing", *k.key(want))
	}
	if d := diffStored(list[i], want); d != "" {
		t.Fatalf("list: %s", d)
	}
}

// fields: what is put comes back, whether created or replaced.
func (k kind[R]) fields(t tb, s authprofile.Store) {
	k.roundTrip(t, s, k.new("one", 1))
	k.roundTrip(t, s, k.new("two", 2))

	empty := new(R)
	*k.key(empty) = "empty"
	k.roundTrip(t, s, empty)

	// Slices and maps with nothing in them are as good as none.
	bare := k.new("bare", 4)
	makeEmpty(reflect.ValueOf(bare).Elem())
	k.roundTrip(t, s, bare)

	// Replacing a full record by an empty one, and back again, leaves nothing
	// behind.
	full := k.new("empty", 3)
	v, _, _ := k.stamp(full)
	*v = k.version(empty)
	k.roundTrip(t, s, full)
	again := new(R)
	*k.key(again) = "empty"
	v, _, _ = k.stamp(again)
	*v = k.version(full)
	k.roundTrip(t, s, again)
}

// oneField: each field is kept also if no other is set.
func (k kind[R]) oneField(t tb, s authprofile.Store) {
	i := 0
	k.eachField(func(name string, field func(r *R) reflect.Value) {
		r := new(R)
		if v := field(r); v.Kind() == reflect.Pointer {
			v.Set(reflect.New(v.Type().Elem())) // to a zero value, which is not nil
		} else {
			fill(v, name, 5)
		}
		k.unstamp(r)
		i++
		*k.key(r) = fmt.Sprintf("%03d %s", i, name)
		k.roundTrip(t, s, r)
	})
}

// eachField calls f with every field that a caller sets, however deep. What
// field returns is in r, and pointers on the way to it are made.
func (k kind[R]) eachField(f func(name string, field func(r *R) reflect.Value)) {
	var each func(typ reflect.Type, index []int)
	each = func(typ reflect.Type, index []int) {
		for _, sf := range reflect.VisibleFields(typ) {
			if !sf.IsExported() || sf.Anonymous {
				continue
			}
			at := append(slices.Clone(index), sf.Index...)
			ft := sf.Type
			isPointer := ft.Kind() == reflect.Pointer
			if isPointer {
				ft = ft.Elem()
			}
			isStruct := ft.Kind() == reflect.Struct && ft != timeType
			if isPointer || !isStruct {
				f(sf.Name, func(r *R) reflect.Value {
					v := reflect.ValueOf(r).Elem()
					for _, x := range at {
						if v.Kind() == reflect.Pointer {
							if v.IsNil() {
								v.Set(reflect.New(v.Type().Elem()))
							}
							v = v.Elem()
						}
						v = v.Field(x)
					}
					return v
				})
			}
			if isStruct {
				each(ft, at)
			}
		}
	}
	each(reflect.TypeFor[R](), nil)
}

// strings: all strings but identifiers are kept byte by byte, whatever they
// hold.
func (k kind[R]) strings(t tb, s authprofile.Store) {
	for i, text := range awkward() {
		r := k.new("", 1)
		eachString(reflect.ValueOf(r).Elem(), func(v reflect.Value) { v.SetString(text) })
		*k.key(r) = strconv.Itoa(i)
		k.roundTrip(t, s, r)
		k.mustDelete(t, s, *k.key(r)) // they are large, and would be listed each time
	}
	for i, name := range append(awkward()[1:], "") { // names in maps too
		r := new(R)
		v := reflect.ValueOf(r).Elem()
		for _, fv := range v.Fields() {
			if fv.Kind() == reflect.Slice && name == "" { // a list of one empty string is not an empty list
				fv.Set(reflect.MakeSlice(fv.Type(), 1, 1))
			}
			if fv.Kind() == reflect.Map {
				fv.Set(reflect.MakeMap(fv.Type()))
				value := reflect.New(fv.Type().Elem()).Elem()
				fill(value, "value", i)
				fv.SetMapIndex(reflect.ValueOf(name).Convert(fv.Type().Key()), value)
			}
		}
		*k.key(r) = fmt.Sprintf("map %d", i)
		k.roundTrip(t, s, r)
	}
}

// times: kept to the millisecond at least, in UTC, and zero if zero.
func (k kind[R]) times(t tb, s authprofile.Store) {
	for i, at := range []time.Time{
		{},
		time.Time{}.In(berlin),
		time.Unix(0, 0),
		time.UnixMilli(1),
		time.UnixMilli(-1),
		time.Date(1969, 7, 20, 20, 17, 40, 0, time.UTC),
		time.Date(2026, 2, 3, 4, 5, 6, 7e6, time.UTC),
		time.Date(2026, 2, 3, 4, 5, 6, 999e6+999_999, time.UTC),
		time.Date(2026, 3, 29, 2, 30, 0, 1e6, time.UTC),    // does not exist on clocks in Berlin
		time.Date(2026, 10, 25, 2, 30, 0, 1e6, time.UTC),   // exists twice there
		time.Date(2026, 12, 31, 23, 59, 59, 123e6, berlin), // and is another day in UTC
		time.Date(2038, 1, 19, 3, 14, 8, 0, time.UTC),
		time.Date(2106, 2, 7, 6, 28, 16, 0, time.UTC),
		time.Date(9999, 12, 31, 23, 59, 59, 999e6, time.UTC),
	} {
		r := k.new("", 1)
		eachTime(reflect.ValueOf(r).Elem(), func(v reflect.Value) { v.Set(reflect.ValueOf(at)) })
		k.unstamp(r)
		*k.key(r) = strconv.Itoa(i)
		k.roundTrip(t, s, r)
	}
}

// identifiers: compared byte by byte, in every method.
func (k kind[R]) identifiers(t tb, s authprofile.Store) {
	ids := identifiers()
	var records []*R
	for i, id := range ids {
		r := k.new(id, i)
		k.mustPut(t, s, r)
		records = append(records, r)
	}
	for _, r := range records {
		k.mustHave(t, s, r)
	}
	for i, r := range records {
		if k.version(r) == k.version(records[(i+1)%len(ids)]) {
			continue // other IDs may have the same version
		}
		*k.key(r) = ids[(i+1)%len(ids)]
		if err := k.put(t.Context(), s, clone(r)); !errors.Is(err, authprofile.ErrConflict) {
			t.Fatalf("put under %q at the version of %q: got error %v, want ErrConflict", *k.key(r), ids[i], err)
		}
		*k.key(r) = ids[i]
	}
	list, err := k.list(t.Context(), s, "", len(ids)+1)
	if err != nil {
		t.Fatalf("list: got error %v, want none", err)
	}
	if got := k.keys(list); !slices.Equal(got, ids) {
		t.Fatalf("list: got %q, want %q", got, ids)
	}
	for i, id := range ids {
		list, err := k.list(t.Context(), s, id, 2)
		if want := ids[i+1 : min(i+3, len(ids))]; err != nil || !slices.Equal(k.keys(list), want) {
			t.Fatalf("list after %q: got %q, error %v; want %q", id, k.keys(list), err, want)
		}
	}
	for i, id := range ids {
		k.mustDelete(t, s, id)
		k.mustNotHave(t, s, id)
		if i+1 < len(ids) {
			k.mustHave(t, s, records[i+1])
		}
	}
}

// longIdentifiers: up to the limit, told apart by their last byte.
func (k kind[R]) longIdentifiers(t tb, s authprofile.Store) {
	wide := strings.Repeat("😀", k.limit/4) + strings.Repeat("x", k.limit%4)
	ids := []string{
		strings.Repeat("a", k.limit-1),
		strings.Repeat("a", k.limit-1) + " ",
		strings.Repeat("a", k.limit-1) + "A",
		strings.Repeat("a", k.limit-1) + "a",
		wide[:len(wide)-4],
		wide,
	}
	slices.Sort(ids)
	ids = slices.DeleteFunc(ids, func(id string) bool { return strings.ToValidUTF8(id, "") != id })
	for i, id := range ids {
		k.roundTrip(t, s, k.new(id, i))
	}
	list, err := k.list(t.Context(), s, "", len(ids)+1)
	if got := k.keys(list); err != nil || !slices.Equal(got, ids) {
		t.Fatalf("list: got %q, error %v; want %q", got, err, ids)
	}
	for _, id := range ids {
		k.mustDelete(t, s, id)
		k.mustNotHave(t, s, id)
	}
}

func (k kind[R]) keys(list []*R) []string {
	keys := []string{}
	for _, r := range list {
		keys = append(keys, *k.key(r))
	}
	return keys
}

// notFound: getting nothing is ErrNotFound, listing and deleting it no error.
func (k kind[R]) notFound(t tb, s authprofile.Store) {
	k.mustNotHave(t, s, "absent")
	if list, err := k.list(t.Context(), s, "", 10); err != nil || len(list) != 0 {
		t.Fatalf("list of an empty store: got %d records, error %v; want none and none", len(list), err)
	}
	k.mustDelete(t, s, "absent")
	r := k.new("present", 1)
	k.mustPut(t, s, r)
	k.mustNotHave(t, s, "absent")
	for range 2 {
		k.mustDelete(t, s, "present")
		k.mustNotHave(t, s, "present")
		if list, err := k.list(t.Context(), s, "", 10); err != nil || len(list) != 0 {
			t.Fatalf("list after delete: got %d records, error %v; want none and none", len(list), err)
		}
	}
}

// mustConflict checks that r cannot be put, and that trying changes neither r
// nor what the Store has.
func (k kind[R]) mustConflict(t tb, s authprofile.Store, r, stored *R) {
	t.Helper()
	before := clone(r)
	if err := k.put(t.Context(), s, r); !errors.Is(err, authprofile.ErrConflict) || errors.Is(err, authprofile.ErrNotFound) {
		t.Fatalf("put %q at version %d: got error %v, want ErrConflict and nothing else", *k.key(r), k.version(r), err)
	}
	if d := diff(r, before); d != "" {
		t.Fatalf("the argument of a put that failed: %s", d)
	}
	if stored != nil {
		k.mustHave(t, s, stored)
	} else {
		k.mustNotHave(t, s, *k.key(r))
	}
}

// create: version zero creates, and only creates.
func (k kind[R]) create(t tb, s authprofile.Store) {
	first := k.new("a", 1)
	k.mustPut(t, s, first)
	if v := k.version(first); v <= 0 {
		t.Fatalf("version after put: got %d, want above zero", v)
	}
	k.mustHave(t, s, first)
	k.mustConflict(t, s, k.new("a", 2), first)
	other := k.new("b", 3)
	k.mustPut(t, s, other)
	k.mustHave(t, s, first)
	k.mustHave(t, s, other)
}

// replace: a version replaces that version, and nothing else.
func (k kind[R]) replace(t tb, s authprofile.Store) {
	at := func(version int64, seed int) *R { return k.at("a", version, seed) }
	k.mustConflict(t, s, at(1, 1), nil) // none to replace

	first := k.new("a", 1)
	k.mustPut(t, s, first)
	bystander := k.new("b", 1)
	k.mustPut(t, s, bystander)
	second := at(k.version(first), 2)
	k.mustPut(t, s, second)
	if k.version(second) == k.version(first) {
		t.Fatalf("version after the second put: got %d again, want another", k.version(second))
	}
	k.mustHave(t, s, second)
	k.mustHave(t, s, bystander)

	k.mustConflict(t, s, at(k.version(first), 3), second) // stale
	for _, wrong := range []int64{0, -1, k.version(second) + 1, k.version(second) ^ 1<<32, -k.version(second), math.MinInt64, math.MaxInt64} {
		k.mustConflict(t, s, at(wrong, 3), second)
	}

	third := at(k.version(second), 3)
	k.mustPut(t, s, third)
	k.mustHave(t, s, third)
	k.mustConflict(t, s, at(k.version(second), 4), third)

	k.mustDelete(t, s, "a")
	k.mustConflict(t, s, at(k.version(third), 4), nil)
	k.mustHave(t, s, bystander)
}

// replaceOneField: each field is replaced also if no other changes, by another
// value and by none.
func (k kind[R]) replaceOneField(t tb, s authprofile.Store) {
	r := k.new("a", 1)
	k.mustPut(t, s, r)
	k.eachField(func(name string, field func(r *R) reflect.Value) {
		for _, change := range []func(v reflect.Value){
			func(v reflect.Value) {
				fill(v, name, 2)
				if v.Kind() == reflect.Map { // with other members too
					v.SetMapIndex(v.MapKeys()[0], reflect.Value{})
					v.SetMapIndex(reflect.ValueOf("another").Convert(v.Type().Key()), reflect.Zero(v.Type().Elem()))
				}
			},
			reflect.Value.SetZero,
		} {
			v, _, _ := k.stamp(r)
			version := *v
			change(field(r))
			*k.key(r), *v = "a", version
			k.mustPut(t, s, r)
			k.mustHave(t, s, r)
			if k.version(r) == version {
				t.Fatalf("put of another %s: got version %d again, want another", name, version)
			}
		}
	})
}

// versions: no version is given to a key twice, not even after the record was
// deleted, and only the latest can be replaced.
func (k kind[R]) versions(t tb, s authprofile.Store) {
	seen := make(map[int64]bool)
	for life := range 5 {
		r := k.new("a", life)
		var before []int64
		for v := range seen {
			before = append(before, v)
		}
		for range 5 {
			k.mustPut(t, s, r)
			v := k.version(r)
			if v <= 0 || seen[v] {
				t.Fatalf("life %d: got version %d, want one above zero that was not given before", life, v)
			}
			seen[v] = true
		}
		for _, v := range before {
			k.mustConflict(t, s, k.at("a", v, 9), r)
		}
		k.mustDelete(t, s, "a")
		k.mustConflict(t, s, k.at("a", k.version(r), 9), nil)
	}
}

// versionsOfManyLives: however fast a record is deleted and created again, its
// versions differ from those before, and a put with one of those is a conflict.
func (k kind[R]) versionsOfManyLives(t tb, s authprofile.Store) {
	var all []int64
	seen := make(map[int64]bool)
	for range 100 {
		r := new(R)
		*k.key(r) = "a"
		k.mustPut(t, s, r)
		k.mustDelete(t, s, "a")
		all = append(all, k.version(r))
		if seen[k.version(r)] {
			t.Fatalf("put after a deletion: got version %d, which an earlier life had, want another; all were %d", k.version(r), all)
		}
		seen[k.version(r)] = true
	}
	last := k.new("a", 1)
	k.mustPut(t, s, last)
	if seen[k.version(last)] {
		t.Fatalf("put after a deletion: got version %d, which an earlier life had, want another", k.version(last))
	}
	for i := 0; i < len(all); i += 7 {
		k.mustConflict(t, s, k.at("a", all[i], 2), last)
	}
}

// versionsInParallel: many create, replace and delete one record; no two of
// them get the same version.
func (k kind[R]) versionsInParallel(t tb, s authprofile.Store) {
	var (
		wg   sync.WaitGroup
		mu   sync.Mutex
		seen = make(map[int64]bool)
	)
	for i := range 6 {
		wg.Go(func() {
			for round := range 6 {
				r := k.new("a", i+round)
				for range 3 {
					err := k.put(t.Context(), s, r)
					if errors.Is(err, authprofile.ErrConflict) {
						break
					}
					if err != nil {
						t.Errorf("put while others put and delete: got error %v, want none or ErrConflict", err)
						return
					}
					mu.Lock()
					if seen[k.version(r)] {
						t.Errorf("put while others put and delete: got version %d, which another has got, want one of its own", k.version(r))
					}
					seen[k.version(r)] = true
					mu.Unlock()
				}
				if err := k.delete(t.Context(), s, "a"); err != nil {
					t.Errorf("delete while others put and delete: got error %v, want none", err)
					return
				}
			}
		})
	}
	wg.Wait()
	k.mustNotHave(t, s, "a") // each goroutine has deleted it after its last put
}

// created: the time of creation is kept, whatever the caller puts there, and
// both times are those that are stored.
func (k kind[R]) created(t tb, s authprofile.Store) {
	start := time.Now()
	r := k.new("a", 1)
	v, c, u := k.stamp(r)
	*c, *u = time.Unix(1e9, 0), time.Unix(1e9, 0)
	k.mustPut(t, s, r)
	created, updated := *c, *u
	// Database servers have clocks of their own.
	if created.Before(start.Add(-time.Hour)) || created.After(time.Now().Add(time.Hour)) {
		t.Fatalf("Created: got %v, want about %v", created, start)
	}
	if updated.Before(created) {
		t.Fatalf("Updated: got %v, want not before Created, %v", updated, created)
	}
	later := func() { // waits for clocks of milliseconds, some of which tick 64 times a second
		timer := time.NewTimer(40 * time.Millisecond)
		defer timer.Stop()
		<-timer.C
	}
	later()
	k.mustPut(t, s, r)
	if !u.After(updated) {
		t.Fatalf("Updated after replacing, later: got %v, want after %v", *u, updated)
	}
	updated = *u
	for _, claim := range []time.Time{{}, time.Unix(1e9, 0), created} {
		*c, *u = claim, claim
		k.mustPut(t, s, r)
		if !c.Equal(created) {
			t.Fatalf("Created after replacing: got %v, want it kept, %v", *c, created)
		}
		if u.Before(updated) {
			t.Fatalf("Updated after replacing: got %v, want not before %v", *u, updated)
		}
		updated = *u
		if c.Location() != time.UTC || u.Location() != time.UTC {
			t.Fatalf("Created and Updated after put: got %v and %v, want them in UTC", *c, *u)
		}
		got := k.mustHave(t, s, r)
		_, gc, gu := k.stamp(got)
		if !gc.Equal(*c) || !gu.Equal(*u) {
			t.Fatalf("stored: got Created %v, Updated %v; want as put has set them, %v, %v", *gc, *gu, *c, *u)
		}
	}
	k.mustDelete(t, s, "a")
	later()
	*v = 0
	k.mustPut(t, s, r)
	if !c.After(updated) {
		t.Fatalf("Created of a record made anew: got %v, want after the end of the one before, %v", *c, updated)
	}
	k.mustHave(t, s, r)
}

// arguments: put changes version and times, and nothing at all if it fails.
// (That roundTrip and mustConflict check as well.)
func (k kind[R]) arguments(t tb, s authprofile.Store) {
	r := k.new("a", 1)
	precise := time.Date(2031, 7, 1, 2, 3, 4, 123_456_789, berlin)
	eachTime(reflect.ValueOf(r).Elem(), func(v reflect.Value) { v.Set(reflect.ValueOf(precise)) })
	k.unstamp(r)
	before := clone(r)
	k.mustPut(t, s, r)
	k.unstamp(r)
	if d := diff(r, before); d != "" {
		t.Fatalf("the argument after put: %s", d)
	}
	eachTime(reflect.ValueOf(r).Elem(), func(v reflect.Value) {
		if at := v.Interface().(time.Time); !at.IsZero() && at != precise {
			t.Fatalf("the argument after put: got a time %v, want it as it was given, %v", at, precise)
		}
	})

	got, err := k.get(t.Context(), s, "a")
	if err != nil {
		t.Fatalf("get: got error %v, want none", err)
	}
	stale := k.new("a", 2) // its times differ from those stored
	v, c, u := k.stamp(stale)
	*v, *c, *u = k.version(got)+1, time.Unix(5, 0), time.Unix(6, 0)
	k.mustConflict(t, s, stale, got)
	*v = 0
	k.mustConflict(t, s, stale, got)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	*v = k.version(got)
	before = clone(stale)
	if err := k.put(ctx, s, stale); err == nil {
		t.Fatalf("put after the context has ended: got no error")
	}
	if d := diff(stale, before); d != "" {
		t.Fatalf("the argument of a put that failed: %s", d)
	}
}

func (k kind[R]) ownershipOfArguments(t tb, s authprofile.Store) {
	r := k.new("a", 1)
	k.mustPut(t, s, r)
	want := clone(r)
	scramble(reflect.ValueOf(r).Elem())
	k.mustHave(t, s, want)

	again := clone(want)
	k.mustPut(t, s, again)
	want = clone(again)
	scramble(reflect.ValueOf(again).Elem())
	k.mustHave(t, s, want)
}

func (k kind[R]) ownershipOfResults(t tb, s authprofile.Store) {
	want := k.new("a", 1)
	k.mustPut(t, s, want)
	got := k.mustHave(t, s, want)
	scramble(reflect.ValueOf(got).Elem())
	k.mustHave(t, s, want)
	for range 2 {
		list, err := k.list(t.Context(), s, "", 10)
		if err != nil || len(list) != 1 {
			t.Fatalf("list: got %d records, error %v; want 1 and none", len(list), err)
		}
		if d := diffStored(list[0], want); d != "" {
			t.Fatalf("list: %s", d)
		}
		scramble(reflect.ValueOf(list[0]).Elem())
		k.mustHave(t, s, want)
	}
}

// pages: at most limit, after the given key, in order, and fewer only at the
// end.
func (k kind[R]) pages(t tb, s authprofile.Store) {
	var all []string
	records := make(map[string]*R)
	for _, i := range []int{3, 9, 1, 0, 8, 2, 7, 5, 4, 6} {
		r := k.new(fmt.Sprintf("k%d", i), i)
		k.mustPut(t, s, r)
		all = append(all, *k.key(r))
		records[*k.key(r)] = r
	}
	slices.Sort(all)
	expect := func(after string, limit int, want []string) {
		t.Helper()
		list, err := k.list(t.Context(), s, after, limit)
		if err != nil {
			t.Fatalf("list after %q, limit %d: got error %v, want none", after, limit, err)
		}
		if got := k.keys(list); !slices.Equal(got, want) {
			t.Fatalf("list after %q, limit %d: got %q, want %q", after, limit, got, want)
		}
		for _, r := range list {
			if d := diffStored(r, records[*k.key(r)]); d != "" {
				t.Fatalf("list after %q, limit %d: %s", after, limit, d)
			}
		}
	}
	for limit := range len(all) + 3 {
		expect("", limit, all[:min(limit, len(all))])
		for i, after := range all {
			expect(after, limit, all[i+1:min(i+1+limit, len(all))])
			expect(after+"+", limit, all[i+1:min(i+1+limit, len(all))]) // a key that does not exist
		}
		expect("k", limit, all[:min(limit, len(all))])
		expect("zzz", limit, nil)
	}
	for _, limit := range []int{1e6, math.MaxInt32, math.MaxInt} {
		expect("", limit, all)
		expect(all[0], limit, all[1:])
	}
}

// putMany puts n records at once, whose keys are in ascending order.
func (k kind[R]) putMany(t tb, s authprofile.Store, n int, set func(r *R)) []*R {
	t.Helper()
	all := make([]*R, n)
	parallelly(n, func(i int) {
		r := new(R)
		set(r)
		*k.key(r) = fmt.Sprintf("k%06d", i)
		all[i] = r
		if err := k.put(t.Context(), s, r); err != nil {
			t.Errorf("put while others put other records: got error %v, want none", err)
		}
	})
	return all
}

// parallelly calls f with 0 to n-1, in a few goroutines: more would not make it
// faster where writers wait for each other.
func parallelly(n int, f func(i int)) {
	var (
		wg   sync.WaitGroup
		next atomic.Int64
	)
	for range 3 {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				f(i)
			}
		})
	}
	wg.Wait()
}

// many is more records than some storages return, or remove, at once.
const many = 1001

// pagesOfMany: a page is as long as it was asked for, however long that is.
func (k kind[R]) pagesOfMany(t tb, s authprofile.Store) {
	all := k.keys(k.putMany(t, s, many, func(*R) {}))
	for _, page := range []struct {
		after string
		limit int
		want  []string
	}{
		{"", many, all},
		{"", many - 1, all[:many-1]},
		{"", 10 * many, all},
		{all[0], many - 1, all[1:]},
		{all[300], 500, all[301:801]},
		{all[300], many, all[301:]},
	} {
		list, err := k.list(t.Context(), s, page.after, page.limit)
		if err != nil {
			t.Fatalf("list after %q, limit %d: got error %v, want none", page.after, page.limit, err)
		}
		if got := k.keys(list); !slices.Equal(got, page.want) {
			t.Fatalf("list after %q, limit %d: got %d records, want %d, from %q to %q", page.after, page.limit,
				len(got), len(page.want), page.want[0], page.want[len(page.want)-1])
		}
	}
}

// pagesOfLarge: a page is as long as it was asked for, however much is in it.
func (k kind[R]) pagesOfLarge(t tb, s authprofile.Store) {
	large := authprofile.Secret(strings.Repeat("0123456789abcdef", 4096))
	const n = 70 // more than 4 MiB, which is as much as some protocols carry at once
	all := k.putMany(t, s, n, func(r *R) {
		_, secret := k.note(r)
		*secret = large
	})
	list, err := k.list(t.Context(), s, "", n)
	if err != nil || len(list) != n {
		t.Fatalf("list of %d records of 64 KiB: got %d, error %v; want all and none", n, len(list), err)
	}
	for i, r := range list {
		if d := diffStored(r, all[i]); d != "" {
			t.Fatalf("list of records of 64 KiB: %s", d)
		}
	}
}

// pagesWhileChanging: a page begins after a key, not after a number of
// records.
func (k kind[R]) pagesWhileChanging(t tb, s authprofile.Store) {
	for i := range 9 {
		k.mustPut(t, s, k.new(fmt.Sprintf("k%d", i), i))
	}
	var got []string
	after := ""
	for {
		list, err := k.list(t.Context(), s, after, 3)
		if err != nil {
			t.Fatalf("list after %q: got error %v, want none", after, err)
		}
		got = append(got, k.keys(list)...)
		if len(list) < 3 {
			break
		}
		after = *k.key(list[2])
		// Two of those that were listed are deleted, the last one too, and
		// others are created.
		k.mustDelete(t, s, *k.key(list[1]))
		k.mustDelete(t, s, after)
		k.mustPut(t, s, k.new(fmt.Sprintf("a%d", len(got)), 1))
		k.mustPut(t, s, k.new(fmt.Sprintf("b%d", len(got)), 1))
		k.mustPut(t, s, k.new(fmt.Sprintf("c%d", len(got)), 1))
	}
	want := []string{"k0", "k1", "k2", "k3", "k4", "k5", "k6", "k7", "k8"}
	if !slices.Equal(got, want) {
		t.Fatalf("all pages: got %q, want %q", got, want)
	}
}

// pagesWhileOthersChange: a record that exists all the time is in its page,
// whatever other records are created and deleted meanwhile.
func (k kind[R]) pagesWhileOthersChange(t tb, s authprofile.Store) {
	var stay []string
	other := make([]*R, 10)
	for i := range other {
		r := k.new(fmt.Sprintf("k%d", i), i)
		k.mustPut(t, s, r)
		stay = append(stay, *k.key(r))
		other[i] = k.new(fmt.Sprintf("k%d+", i), i)
		k.mustPut(t, s, other[i])
	}
	for round := range 6 {
		var wg sync.WaitGroup
		for _, r := range other {
			wg.Go(func() {
				var err error
				if round%2 == 0 {
					err = k.delete(t.Context(), s, *k.key(r))
				} else {
					k.unstamp(r)
					err = k.put(t.Context(), s, r)
				}
				if err != nil {
					t.Errorf("put or delete while others list: got error %v, want none", err)
				}
			})
		}
		for range 2 {
			wg.Go(func() {
				const limit = 7
				for after, more := "", true; more; {
					list, err := k.list(t.Context(), s, after, limit)
					if err != nil || slices.Contains(list, nil) {
						t.Errorf("list while others put and delete: got %d records, error %v; want no error, and none missing", len(list), err)
						return
					}
					got := k.keys(list)
					more = len(got) == limit
					for _, key := range stay {
						if key > after && (!more || key <= got[limit-1]) && !slices.Contains(got, key) {
							t.Errorf("list after %q, limit %d, while others put and delete: got %q, want %q in it", after, limit, got, key)
							return
						}
					}
					if more {
						after = got[limit-1]
					}
				}
			})
		}
		wg.Wait()
	}
}

// callsWhileListing: every method can be called between two pages and while one
// is read, on the records in it.
func (k kind[R]) callsWhileListing(t tb, s authprofile.Store) {
	for i := range 6 {
		k.mustPut(t, s, k.new(fmt.Sprintf("k%d", i), i))
	}
	after := ""
	for {
		list, err := k.list(t.Context(), s, after, 2)
		if err != nil {
			t.Fatalf("list: got error %v, want none", err)
		}
		for i, r := range list {
			after = *k.key(r)
			k.mustHave(t, s, r)
			if i == 0 {
				k.mustPut(t, s, r)
				k.mustHave(t, s, r)
				continue
			}
			k.mustDelete(t, s, after)
			k.mustNotHave(t, s, after)
		}
		if len(list) < 2 {
			break
		}
	}
	list, err := k.list(t.Context(), s, "", 10)
	if want := []string{"k0", "k2", "k4"}; err != nil || !slices.Equal(k.keys(list), want) {
		t.Fatalf("list: got %q, error %v; want %q", k.keys(list), err, want)
	}
}

const parallel = 100

// race puts a hundred records at once and checks that one of them wins.
func (k kind[R]) race(t tb, s authprofile.Store, version int64) *R {
	t.Helper()
	var (
		wg     sync.WaitGroup
		start  = make(chan struct{})
		errs   = make([]error, parallel)
		record = make([]*R, parallel)
	)
	for i := range parallel {
		record[i] = k.new("a", i)
		v, _, _ := k.stamp(record[i])
		*v = version
		wg.Go(func() {
			<-start
			errs[i] = k.put(t.Context(), s, record[i])
		})
	}
	close(start)
	wg.Wait()
	winner := -1
	for i, err := range errs {
		switch {
		case err == nil && winner >= 0:
			t.Fatalf("%d parallel puts at version %d: got two winners, want one", parallel, version)
		case err == nil:
			winner = i
		case !errors.Is(err, authprofile.ErrConflict):
			t.Fatalf("parallel puts at version %d: got error %v, want ErrConflict for all but one", version, err)
		case k.version(record[i]) != version:
			t.Fatalf("the argument of a put that failed: got version %d, want %d as before", k.version(record[i]), version)
		}
	}
	if winner < 0 {
		t.Fatalf("%d parallel puts at version %d: got no winner, want one", parallel, version)
	}
	k.mustHave(t, s, record[winner])
	return record[winner]
}

func (k kind[R]) parallelCreate(t tb, s authprofile.Store) {
	k.race(t, s, 0)
	list, err := k.list(t.Context(), s, "", 10)
	if err != nil || len(list) != 1 {
		t.Fatalf("list: got %d records, error %v; want 1 and none", len(list), err)
	}
}

func (k kind[R]) parallelReplace(t tb, s authprofile.Store) {
	r := k.new("a", 1)
	k.mustPut(t, s, r)
	for range 2 {
		r = k.race(t, s, k.version(r))
	}
}

// noUpdateLost: reading and putting until there is no conflict loses nothing
// that others did meanwhile.
func (k kind[R]) noUpdateLost(t tb, s authprofile.Store) {
	r := k.new("a", 1)
	text, _ := k.note(r)
	*text = "0"
	k.mustPut(t, s, r)
	const workers, rounds = 8, 5
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for range rounds {
				for {
					r, err := k.get(t.Context(), s, "a")
					if err != nil {
						t.Errorf("get: got error %v, want none", err)
						return
					}
					text, _ := k.note(r)
					n, err := strconv.Atoi(*text)
					if err != nil {
						t.Errorf("got %q, want a number", *text)
						return
					}
					*text = strconv.Itoa(n + 1)
					err = k.put(t.Context(), s, r)
					if err == nil {
						break
					}
					if !errors.Is(err, authprofile.ErrConflict) {
						t.Errorf("put: got error %v, want none or ErrConflict", err)
						return
					}
				}
			}
		})
	}
	wg.Wait()
	got, err := k.get(t.Context(), s, "a")
	if err != nil {
		t.Fatalf("get: got error %v, want none", err)
	}
	if text, _ := k.note(got); *text != strconv.Itoa(workers*rounds) {
		t.Fatalf("%d times one more: got %s", workers*rounds, *text)
	}
}

// replaceWhileDeleting: whether it is deleted or replaced first, the record is
// gone in the end. A put that comes too late does not bring it back.
func (k kind[R]) replaceWhileDeleting(t tb, s authprofile.Store) {
	for round := range 10 {
		r := k.new("a", round)
		k.mustPut(t, s, r)
		late := make([]*R, 4)
		var wg sync.WaitGroup
		start := make(chan struct{})
		for i := range late {
			late[i] = k.at("a", k.version(r), i)
			wg.Go(func() {
				<-start
				if err := k.put(t.Context(), s, late[i]); err != nil && !errors.Is(err, authprofile.ErrConflict) {
					t.Errorf("put while another deletes: got error %v, want none or ErrConflict", err)
				}
			})
		}
		wg.Go(func() {
			<-start
			if err := k.delete(t.Context(), s, "a"); err != nil {
				t.Errorf("delete while others put: got error %v, want none", err)
			}
		})
		close(start)
		wg.Wait()
		k.mustNotHave(t, s, "a")
		if list, err := k.list(t.Context(), s, "", 10); err != nil || len(list) != 0 {
			t.Fatalf("list after delete: got %d records, error %v; want none and none", len(list), err)
		}
		for _, r := range late {
			k.mustConflict(t, s, r, nil)
		}
	}
}

// createWhileDeleting: a record can be created again only when it is gone, and
// then it exists.
func (k kind[R]) createWhileDeleting(t tb, s authprofile.Store) {
	for round := range 10 {
		k.mustPut(t, s, k.new("a", round))
		again := k.new("a", round+1)
		var (
			wg                sync.WaitGroup
			deleted, putAgain error
		)
		wg.Go(func() { deleted = k.delete(t.Context(), s, "a") })
		wg.Go(func() { putAgain = k.put(t.Context(), s, again) })
		wg.Wait()
		switch {
		case deleted != nil:
			t.Fatalf("delete while another creates: got error %v, want none", deleted)
		case putAgain == nil:
			k.mustHave(t, s, again)
			k.mustDelete(t, s, "a")
		case errors.Is(putAgain, authprofile.ErrConflict):
			k.mustNotHave(t, s, "a")
		default:
			t.Fatalf("create while another deletes: got error %v, want none or ErrConflict", putAgain)
		}
	}
}

// whole: no reader gets parts of two states of a record, or ErrNotFound while it
// is replaced.
func (k kind[R]) whole(t tb, s authprofile.Store) {
	r := k.new("a", 0)
	text, secret := k.note(r)
	*text, *secret = "0", "0"
	k.mustPut(t, s, r)
	done := make(chan struct{})
	see := func(r *R) {
		if text, secret := k.note(r); *text != string(*secret) {
			t.Errorf("a reader: got one field of put %s and another of put %s, want both of the same", *text, string(*secret))
		}
	}
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			last := int64(0)
			for {
				select {
				case <-done:
					return
				default:
				}
				r, err := k.get(t.Context(), s, "a")
				if err != nil {
					t.Errorf("get while another replaces: got error %v, want none", err)
					return
				}
				see(r)
				text, _ := k.note(r)
				n, _ := strconv.ParseInt(*text, 10, 64)
				if n < last {
					t.Errorf("get: got put %d after put %d was seen, want no step back", n, last)
					return
				}
				last = n
				list, err := k.list(t.Context(), s, "", 2)
				if err != nil || len(list) != 1 {
					t.Errorf("list while another replaces: got %d records, error %v; want 1 and none", len(list), err)
					return
				}
				see(list[0])
			}
		})
	}
	for i := 1; i <= 60; i++ {
		*text, *secret = strconv.Itoa(i), authprofile.Secret(strconv.Itoa(i))
		if err := k.put(t.Context(), s, r); err != nil {
			t.Errorf("put while others read: got error %v, want none", err)
			break
		}
	}
	close(done)
	readers.Wait()
}

// soon is how long a call may go on after its context has ended. It is far
// more than it should, so that a busy machine is not taken for a broken Store.
const soon = 10 * time.Second

// returnsSoon runs a call and says whether it came back in time.
func returnsSoon(call func() error) (error, bool) {
	done := make(chan error, 1)
	go func() { done <- call() }()
	timer := time.NewTimer(soon)
	defer timer.Stop()
	select {
	case err := <-done:
		return err, true
	case <-timer.C:
		return nil, false
	}
}

// mustFailOnceEnded makes calls with contexts that have ended. Each must return
// an error soon, and not one that says something about the record, unless it is
// about one that is not there: those are named.
func mustFailOnceEnded(t tb, calls func(ctx context.Context) map[string]func() error, absent ...string) {
	t.Helper()
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	expired, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer cancel()
	for _, ctx := range []context.Context{cancelled, expired} {
		for name, call := range calls(ctx) {
			err, ok := returnsSoon(call)
			switch {
			case !ok:
				t.Fatalf("%s after the context has ended (%v): still running after %v", name, ctx.Err(), soon)
			case err == nil:
				t.Fatalf("%s after the context has ended (%v): got no error", name, ctx.Err())
			case errors.Is(err, authprofile.ErrConflict),
				errors.Is(err, authprofile.ErrNotFound) && !slices.Contains(absent, name):
				t.Fatalf("%s after the context has ended (%v): got error %v, which is not true", name, ctx.Err(), err)
			}
		}
	}
}

// contextEnded: a call whose context has ended returns an error, and not one
// that says something about the record.
func (k kind[R]) contextEnded(t tb, s authprofile.Store) {
	r := k.new("a", 1)
	k.mustPut(t, s, r)
	next := clone(r)
	text, _ := k.note(next)
	*text = "next"
	mustFailOnceEnded(t, func(ctx context.Context) map[string]func() error {
		return map[string]func() error{
			"get":      func() error { _, err := k.get(ctx, s, "a"); return err },
			"get none": func() error { _, err := k.get(ctx, s, "b"); return err },
			"list":     func() error { _, err := k.list(ctx, s, "", 1); return err },
			"replace":  func() error { return k.put(ctx, s, clone(next)) },
			"create":   func() error { return k.put(ctx, s, k.new("b", 2)) },
			"delete":   func() error { return k.delete(ctx, s, "c") },
		}
	}, "get none")
	// Another context works as ever.
	got, err := k.get(t.Context(), s, "a")
	if err != nil {
		t.Fatalf("get: got error %v, want none", err)
	}
	k.mustPut(t, s, got)
}

// contextEnds: a put whose context ends meanwhile happens as a whole or not at
// all: at once or, if a server was already asked, a little later.
func (k kind[R]) contextEnds(t tb, s authprofile.Store) {
	old := k.new("a", 0)
	k.mustPut(t, s, old)
	var open []*R // puts of which it is not known whether they happen
	for i := range 40 {
		next := clone(old)
		text, secret := k.note(next)
		*text, *secret = strconv.Itoa(i), authprofile.Secret(strconv.Itoa(i))
		before := clone(next)
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i*i)*2*time.Microsecond)
		err, ok := returnsSoon(func() error { return k.put(ctx, s, next) })
		cancel()
		switch {
		case !ok:
			t.Fatalf("put: still running %v after its context has ended", soon)
		case err == nil:
			k.mustHave(t, s, next)
			old, open = next, nil
			continue
		case errors.Is(err, authprofile.ErrConflict) && len(open) > 0:
		case errors.Is(err, authprofile.ErrConflict), errors.Is(err, authprofile.ErrNotFound):
			t.Fatalf("put, its context ending: got error %v, which is not true", err)
		default:
			open = append(open, clone(before))
		}
		if d := diff(next, before); d != "" {
			t.Fatalf("the argument of a put that failed: %s", d)
		}
		got, gerr := k.get(t.Context(), s, "a")
		if gerr != nil {
			t.Fatalf("get: got error %v, want none", gerr)
		}
		if k.version(got) == k.version(old) && !errors.Is(err, authprofile.ErrConflict) {
			if d := diffStored(got, old); d != "" {
				t.Fatalf("after a put that did not happen: %s", d)
			}
			continue
		}
		happened := slices.ContainsFunc(open, func(r *R) bool {
			v, c, u := k.stamp(r)
			gv, gc, gu := k.stamp(got)
			*v, *c, *u = *gv, *gc, *gu
			return diffStored(got, r) == ""
		})
		if !happened {
			t.Fatalf("after puts whose contexts ended: got %s, want one of them, or as before", show(reflect.ValueOf(got).Elem()))
		}
		old, open = got, nil
	}
}
