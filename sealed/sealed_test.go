package sealed_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/authprofile/authprofile"
	"github.com/authprofile/authprofile/sealed"
)

// newKey returns a key that is the same for the same ID.
func newKey(id string) sealed.Key {
	secret := sha256.Sum256([]byte("secret of " + id))
	return sealed.Key{ID: id, Secret: secret[:]}
}

func newKeyring(t testing.TB, primary string, retired ...string) *sealed.Keyring {
	t.Helper()
	var keys []sealed.Key
	for _, id := range retired {
		keys = append(keys, newKey(id))
	}
	ring, err := sealed.NewKeyring(newKey(primary), keys...)
	if err != nil {
		t.Fatal(err)
	}
	return ring
}

func newStore(t testing.TB) (outer authprofile.Store, inner *authprofile.MemStore) {
	t.Helper()
	inner = new(authprofile.MemStore)
	return sealed.New(inner, newKeyring(t, "k1")), inner
}

// fill sets every exported field below v to something that is not zero, each
// to something else.
func fill(v reflect.Value, name string) {
	switch x := v.Addr().Interface().(type) {
	case *time.Time:
		*x = time.Date(2200, 1, 2, 3, 4, len(name), 0, time.UTC)
		return
	case *url.Values:
		*x = url.Values{"planted " + name: {"planted value of " + name}}
		return
	case *map[string]authprofile.Secret:
		*x = map[string]authprofile.Secret{"one": "planted one of " + authprofile.Secret(name), "two": "planted two of " + authprofile.Secret(name)}
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString("planted " + name)
	case reflect.Int, reflect.Int64:
		v.SetInt(int64(len(name)))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		fill(v.Index(0), name+" 0")
		fill(v.Index(1), name+" 1")
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), name)
	case reflect.Struct:
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.IsExported() {
				fill(v.Field(i), name+"."+f.Name)
			}
		}
	default:
		panic("no example of " + v.Type().String())
	}
}

func filled[T any](name string) *T {
	x := new(T)
	fill(reflect.ValueOf(x).Elem(), name)
	return x
}

func fullProfile() *authprofile.Profile {
	p := filled[authprofile.Profile]("profile")
	p.Version = 0
	return p
}

func fullGrant() *authprofile.Grant {
	g := filled[authprofile.Grant]("grant")
	g.Version = 0
	return g
}

func fullFlow() *authprofile.Flow {
	f := filled[authprofile.Flow]("flow")
	f.State, f.URL = "", ""
	return f
}

// texts returns all strings below v, those of secrets too.
func texts(v reflect.Value) (list []string) {
	switch v.Kind() {
	case reflect.String:
		return []string{v.String()}
	case reflect.Slice:
		for i := range v.Len() {
			list = append(list, texts(v.Index(i))...)
		}
	case reflect.Map:
		for _, k := range v.MapKeys() {
			list = append(list, texts(k)...)
			list = append(list, texts(v.MapIndex(k))...)
		}
	case reflect.Pointer:
		if !v.IsNil() {
			return texts(v.Elem())
		}
	case reflect.Struct:
		for i := range v.NumField() {
			list = append(list, texts(v.Field(i))...)
		}
	}
	return list
}

// secretsOf returns the secrets that must not be seen in an inner Store.
func secretsOf(p *authprofile.Profile, g *authprofile.Grant, f *authprofile.Flow) []string {
	list := []string{string(p.ClientSecret), string(p.ClientKey), string(g.AccessToken), string(g.RefreshToken), g.Nonce,
		string(f.Verifier), f.Nonce, f.Browser}
	for _, v := range g.Extra {
		list = append(list, string(v))
	}
	return list
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// A keptFlow is a Store that shows the flow that it was given.
type keptFlow struct {
	*authprofile.MemStore
	flow *authprofile.Flow
}

func (s *keptFlow) PutFlow(ctx context.Context, f *authprofile.Flow) error {
	s.flow = f.Clone()
	return s.MemStore.PutFlow(ctx, f)
}

// full is a record of each kind with all fields set, and what the inner Store
// of a sealed one has of it.
type full struct {
	p, ip *authprofile.Profile
	g, ig *authprofile.Grant
	f     *authprofile.Flow
	inner *keptFlow // which has the flow
}

// keepFull puts a record of each kind into a sealed Store.
func keepFull(t *testing.T) (k full) {
	t.Helper()
	ctx := t.Context()
	k.inner = &keptFlow{MemStore: new(authprofile.MemStore)}
	s := sealed.New(k.inner, newKeyring(t, "k1"))
	k.p, k.g, k.f = fullProfile(), fullGrant(), fullFlow()
	must(t, s.PutProfile(ctx, k.p))
	must(t, s.PutGrant(ctx, k.g))
	must(t, s.PutFlow(ctx, k.f))
	var err error
	k.ip, err = k.inner.Profile(ctx, k.p.ID)
	must(t, err)
	k.ig, err = k.inner.Grant(ctx, k.g.GrantKey)
	must(t, err)
	return k
}

func TestThreat132_InnerStoreSeesNoSecret(t *testing.T) {
	k := keepFull(t)
	p, g, f, ip, ig, inner := k.p, k.g, k.f, k.ip, k.ig, k.inner

	var all []string
	for _, x := range []any{ip, ig, inner.flow} {
		all = append(all, texts(reflect.ValueOf(x))...)
	}
	dump := strings.Join(all, "\n")
	for _, secret := range secretsOf(p, g, f) {
		for form, s := range map[string]string{
			"plain":  secret,
			"base64": base64.RawURLEncoding.EncodeToString([]byte(secret)),
			"hex":    hex.EncodeToString([]byte(secret)),
		} {
			if !strings.HasPrefix(secret, "planted ") {
				t.Fatalf("secret %q was not planted", secret)
			}
			if strings.Contains(dump, s) {
				t.Errorf("inner store has %q as %s", secret, form)
			}
		}
	}
	if got, want := strings.Count(dump, "sealed:1:"), len(secretsOf(p, g, f)); got != want {
		t.Errorf("inner store has %d sealed values, want %d", got, want)
	}
	for _, c := range dump {
		if c != '\n' && (c < ' ' || c > '~') {
			t.Fatalf("inner store got %q, want printable ASCII", c)
		}
	}
}

// places says what sealed does with the fields of a record. Each field of a
// record has one place: a field that is new is put there by a person, who has
// thought about whether it is a secret, and whether changing it would send a
// secret elsewhere.
type places struct {
	sealed   []string // encrypted
	covered  []string // in the clear, and cannot be changed in the database
	clear    []string
	unstored []string
}

func (p places) all() []string { return slices.Concat(p.sealed, p.covered, p.clear, p.unstored) }

var placesOfFields = map[string]places{
	"Profile": {
		sealed: []string{"ClientSecret", "ClientKey"},
		covered: []string{"ID", "Type", "ClientID", "AuthMethod", "Template", "RedirectURL", "APIHosts",
			"Endpoints.DiscoveryURL", "Endpoints.AuthURL", "Endpoints.TokenURL", "Endpoints.RevocationURL", "Endpoints.DeviceAuthURL", "Endpoints.PARURL"},
		clear: []string{"Name", "Description", "Scopes", "Params", "TokenParams", "SecretExpires", "KeepAlive", "Version", "Created", "Updated"},
	},
	"Grant": {
		sealed:  []string{"AccessToken", "RefreshToken", "Nonce", "Extra"},
		covered: []string{"GrantKey.ProfileID", "GrantKey.User"},
		clear: []string{"TokenType", "Obtained", "Expiry", "RefreshExpiry", "Scopes", "Requested", "ClientID",
			"Issuer", "Subject", "Account", "Authorized", "Ends", "EndsBy", "Due", "Told", "ToldAt", "Warned", "Status", "Failure", "Lease",
			"Version", "Created", "Updated"},
	},
	"Flow": {
		sealed: []string{"Verifier", "Nonce", "Browser"},
		covered: []string{"GrantKey.ProfileID", "GrantKey.User", "ID", "RedirectURL", "Requested", "Issuer",
			"IssuerRequired", "ProfileVersion", "ReturnTo"},
		clear:    []string{"Expires"},
		unstored: []string{"State", "URL"},
	},
}

// fieldAt returns a field by its path.
func fieldAt(record any, path string) reflect.Value {
	v := reflect.ValueOf(record).Elem()
	for name := range strings.SplitSeq(path, ".") {
		v = v.FieldByName(name)
	}
	return v
}

// paths returns the exported fields of a record, and of the structs that are
// part of it.
func paths(typ reflect.Type, prefix string) (list []string) {
	for i := range typ.NumField() {
		switch f := typ.Field(i); {
		case !f.IsExported():
		case f.Type.Kind() == reflect.Struct && f.Type != reflect.TypeFor[time.Time]():
			list = append(list, paths(f.Type, prefix+f.Name+".")...)
		default:
			list = append(list, prefix+f.Name)
		}
	}
	return list
}

// A field that is added to a record fails here until it has its place, and then
// until it is kept as that says.
func TestThreat132_EveryFieldHasItsPlace(t *testing.T) {
	k := keepFull(t)
	p, g, f, ip, ig, inner := k.p, k.g, k.f, k.ip, k.ig, k.inner
	for name, record := range map[string]struct{ outer, inner any }{
		"Profile": {p, ip}, "Grant": {g, ig}, "Flow": {f, inner.flow},
	} {
		places := placesOfFields[name]
		got, want := slices.Sorted(slices.Values(places.all())), slices.Sorted(slices.Values(paths(reflect.TypeOf(record.outer).Elem(), "")))
		if !slices.Equal(got, want) {
			t.Fatalf("%s: got places for %q, want one for each of %q", name, got, want)
		}
		for _, path := range places.all() {
			outer, inner := fieldAt(record.outer, path), fieldAt(record.inner, path)
			if !slices.Contains(places.sealed, path) {
				if !reflect.DeepEqual(inner.Interface(), outer.Interface()) {
					t.Errorf("%s.%s in the inner store: got %v, want it in the clear, %v", name, path, inner, outer)
				}
				continue
			}
			values := []reflect.Value{inner}
			if inner.Kind() == reflect.Map {
				values = nil
				for _, value := range inner.Seq2() {
					values = append(values, value)
				}
			}
			for _, v := range values {
				if !strings.HasPrefix(v.String(), "sealed:1:") {
					t.Errorf("%s.%s in the inner store: got %q, want it sealed", name, path, v.String())
				}
			}
			if len(values) == 0 {
				t.Errorf("%s.%s in the inner store: got nothing, want it sealed", name, path)
			}
		}
	}
}

// sameButSaved compares what two profiles show.
func sameButSaved(a, b *authprofile.Profile) bool {
	for i := range reflect.TypeFor[authprofile.Profile]().NumField() {
		if f := reflect.TypeFor[authprofile.Profile]().Field(i); f.IsExported() &&
			!reflect.DeepEqual(reflect.ValueOf(a).Elem().Field(i).Interface(), reflect.ValueOf(b).Elem().Field(i).Interface()) {
			return false
		}
	}
	return true
}

func TestEveryFieldComesBack(t *testing.T) {
	ctx := t.Context()
	s, _ := newStore(t)

	p := fullProfile()
	must(t, s.PutProfile(ctx, p))
	gotP, err := s.Profile(ctx, p.ID)
	must(t, err)
	if !sameButSaved(gotP, p) {
		t.Errorf("got profile %+v, want %+v", gotP, p)
	}
	if gotP.Unsaved() {
		t.Error("a profile that was just read is Unsaved")
	}
	g := fullGrant()
	must(t, s.PutGrant(ctx, g))
	gotG, err := s.Grant(ctx, g.GrantKey)
	must(t, err)
	if !reflect.DeepEqual(gotG, g) {
		t.Errorf("got grant %+v, want %+v", gotG, g)
	}
	f := fullFlow()
	must(t, s.PutFlow(ctx, f))
	gotF, err := s.TakeFlow(ctx, f.ID)
	must(t, err)
	if !reflect.DeepEqual(gotF, f) {
		t.Errorf("got flow %+v, want %+v", gotF, f)
	}
}

func TestEmptySecrets(t *testing.T) {
	ctx := t.Context()
	keeper := &countingKeeper{Keeper: newKeyring(t, "k1")}
	inner := new(authprofile.MemStore)
	s := sealed.New(inner, keeper)
	g := &authprofile.Grant{GrantKey: authprofile.GrantKey{ProfileID: "crm"}, Extra: map[string]authprofile.Secret{"team": ""}}
	must(t, s.PutGrant(ctx, g))
	for _, store := range []authprofile.Store{inner, s} {
		got, err := store.Grant(ctx, g.GrantKey)
		must(t, err)
		if got.AccessToken != "" || got.RefreshToken != "" || got.Nonce != "" || got.Extra["team"] != "" {
			t.Errorf("%v: an empty secret did not stay empty", store)
		}
	}
	if keeper.encrypted != 0 || keeper.decrypted != 0 {
		t.Errorf("got %d and %d calls of the Keeper, want none", keeper.encrypted, keeper.decrypted)
	}

	// Empty ones are sealed too where the seal covers other fields.
	p := &authprofile.Profile{ID: "public", ClientID: "c"}
	must(t, s.PutProfile(ctx, p))
	got, err := s.Profile(ctx, "public")
	must(t, err)
	if got.ClientSecret != "" {
		t.Error("a public client came back with a secret")
	}
	must(t, s.PutFlow(ctx, &authprofile.Flow{ID: "f", Expires: time.Now().Add(time.Hour)}))
	f, err := s.TakeFlow(ctx, "f")
	must(t, err)
	if f.Verifier != "" || f.Nonce != "" || f.Browser != "" {
		t.Error("a flow without secrets came back with some")
	}
}

// A countingKeeper notes what it is asked to encrypt.
type countingKeeper struct {
	sealed.Keeper
	mu                   sync.Mutex
	encrypted, decrypted int
	seen                 [][]byte
}

func (k *countingKeeper) Encrypt(ctx context.Context, plaintext []byte) ([]byte, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.encrypted++
	k.seen = append(k.seen, bytes.Clone(plaintext))
	return k.Keeper.Encrypt(ctx, plaintext)
}

func (k *countingKeeper) Decrypt(ctx context.Context, ciphertext []byte) ([]byte, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.decrypted++
	return k.Keeper.Decrypt(ctx, ciphertext)
}

func TestKeeperIsCalledOncePerRecord(t *testing.T) {
	ctx := t.Context()
	keeper := &countingKeeper{Keeper: newKeyring(t, "k1")}
	s := sealed.New(new(authprofile.MemStore), keeper)
	g := fullGrant()
	g.AccessToken = authprofile.Secret(strings.Repeat("long ", 10_000))
	must(t, s.PutGrant(ctx, g))
	must(t, s.PutGrant(ctx, g))
	if _, err := s.Grant(ctx, g.GrantKey); err != nil {
		t.Fatal(err)
	}
	if keeper.encrypted != 2 || keeper.decrypted != 1 {
		t.Errorf("two puts and a read: got %d and %d calls, want 2 and 1", keeper.encrypted, keeper.decrypted)
	}
	for _, b := range keeper.seen {
		if len(b) != 32 {
			t.Errorf("Keeper was given %d bytes, want 32: that fits every service", len(b))
		}
	}
	if bytes.Equal(keeper.seen[0], keeper.seen[1]) {
		t.Error("two writes have the same data key")
	}
}

func TestThreat132_MovedValues(t *testing.T) {
	type G = *authprofile.Grant
	for name, edit := range map[string]func(alice, bob, elsewhere, older G, p *authprofile.Profile){
		"columns exchanged": func(a, b, e, o G, p *authprofile.Profile) {
			a.AccessToken, a.RefreshToken = a.RefreshToken, a.AccessToken
		},
		"members exchanged": func(a, b, e, o G, p *authprofile.Profile) {
			a.Extra["one"], a.Extra["two"] = a.Extra["two"], a.Extra["one"]
		},
		"member renamed":      func(a, b, e, o G, p *authprofile.Profile) { a.Extra["three"] = a.Extra["two"]; delete(a.Extra, "two") },
		"column copied":       func(a, b, e, o G, p *authprofile.Profile) { a.AccessToken = a.RefreshToken },
		"nonce as token":      func(a, b, e, o G, p *authprofile.Profile) { a.AccessToken = authprofile.Secret(a.Nonce) },
		"token of another":    func(a, b, e, o G, p *authprofile.Profile) { a.AccessToken = b.AccessToken },
		"row of another user": func(a, b, e, o G, p *authprofile.Profile) { *a = with(b, a) },
		"row of another profile, same user": func(a, b, e, o G, p *authprofile.Profile) {
			*a = with(e, a)
		},
		"a profile's secret": func(a, b, e, o G, p *authprofile.Profile) { a.RefreshToken = p.ClientSecret },
		"one older value":    func(a, b, e, o G, p *authprofile.Profile) { a.RefreshToken = o.RefreshToken },
		"data key of another": func(a, b, e, o G, p *authprofile.Profile) {
			own, others := strings.Split(string(a.RefreshToken), ":"), strings.Split(string(b.RefreshToken), ":")
			own[2] = others[2]
			a.RefreshToken = authprofile.Secret(strings.Join(own, ":"))
		},
		"value left out":      func(a, b, e, o G, p *authprofile.Profile) { a.RefreshToken = "" },
		"member left out":     func(a, b, e, o G, p *authprofile.Profile) { delete(a.Extra, "two") },
		"member added":        func(a, b, e, o G, p *authprofile.Profile) { a.Extra["three"] = a.Extra["two"] },
		"plain text planted":  func(a, b, e, o G, p *authprofile.Profile) { a.AccessToken = "planted" },
		"plain member":        func(a, b, e, o G, p *authprofile.Profile) { a.Extra["two"] = "planted" },
		"plain member added":  func(a, b, e, o G, p *authprofile.Profile) { a.Extra["three"] = "planted" },
		"plain nonce":         func(a, b, e, o G, p *authprofile.Profile) { a.Nonce = "planted" },
		"all of it plain":     func(a, b, e, o G, p *authprofile.Profile) { *a = with(fullGrant(), a) },
		"prefix without rest": func(a, b, e, o G, p *authprofile.Profile) { a.AccessToken = "sealed:1:" },
	} {
		t.Run(name, func(t *testing.T) {
			ctx := t.Context()
			s, inner := newStore(t)
			grant := func(profile, user string) G {
				g := fullGrant()
				g.GrantKey = authprofile.GrantKey{ProfileID: profile, User: user}
				must(t, s.PutGrant(ctx, g))
				kept, err := inner.Grant(ctx, g.GrantKey)
				must(t, err)
				return kept
			}
			p := fullProfile()
			p.ID = "crm"
			must(t, s.PutProfile(ctx, p))
			ip, err := inner.Profile(ctx, "crm")
			must(t, err)

			alice := grant("crm", "alice")
			older := alice.Clone()
			again, err := s.Grant(ctx, alice.GrantKey)
			must(t, err)
			must(t, s.PutGrant(ctx, again))
			alice, err = inner.Grant(ctx, alice.GrantKey)
			must(t, err)
			bob, elsewhere := grant("crm", "bob"), grant("mail", "alice")

			before := alice.Clone()
			edit(alice, bob, elsewhere, older, ip)
			must(t, inner.PutGrant(ctx, alice))
			got, err := s.Grant(ctx, alice.GrantKey)
			if err == nil || got != nil {
				t.Fatalf("got %v and error %v, want no grant and an error", got, err)
			}
			checkTellsNothing(t, err, alice, before, bob)
			if field := new(authprofile.FieldError); !errors.As(err, &field) {
				t.Errorf("got error %v, want one that names the field", err)
			}
			if _, err := s.Grant(ctx, bob.GrantKey); err != nil {
				t.Errorf("the other grant: got %v, want no error", err)
			}
		})
	}
}

// with returns g's secrets in to's record.
func with(g, to *authprofile.Grant) authprofile.Grant {
	c := *g.Clone()
	c.GrantKey, c.Version = to.GrantKey, to.Version
	return c
}

// checkTellsNothing looks in an error for secrets, sealed or not.
func checkTellsNothing(t *testing.T, err error, grants ...*authprofile.Grant) {
	t.Helper()
	text := fmt.Sprintf("%v %+v %#v %d", err, err, err, err)
	values := []string{"planted", "sealed:1:"}
	for _, g := range grants {
		values = append(values, string(g.AccessToken), string(g.RefreshToken), g.Nonce)
		for v := range maps.Values(g.Extra) {
			values = append(values, string(v))
		}
	}
	for _, v := range values {
		if v != "" && strings.Contains(text, v) {
			t.Errorf("error %q has %q in it", text, v)
		}
	}
}

// The seal of a profile keeps an attacker who can write to the database from
// having its secrets sent elsewhere.
func TestThreat132_ProfileCovers(t *testing.T) {
	places := placesOfFields["Profile"]
	for _, has := range []struct{ secret, key authprofile.Secret }{{"planted", "planted"}, {"planted", ""}, {"", "planted"}, {"", ""}} { // also a public client
		s, inner := newStore(t)
		p := fullProfile()
		p.ClientSecret, p.ClientKey = has.secret, has.key
		must(t, s.PutProfile(t.Context(), p))
		for _, name := range places.all() {
			if name == "ClientKey" && has.key == "" { // there is nothing to take away: see TestThreat132_KeyOfAClient
				continue
			}
			for _, change := range []func(reflect.Value){func(v reflect.Value) { fill(v, "another") }, reflect.Value.SetZero} {
				edited, err := inner.Profile(t.Context(), p.ID)
				must(t, err)
				change(fieldAt(edited, name))
				there := sealed.New(&oneProfile{Store: inner, p: edited}, newKeyring(t, "k1"))
				_, err = there.Profile(t.Context(), edited.ID)
				if want := !slices.Contains(places.clear, name); (err != nil) != want {
					t.Errorf("secret %q, key %q, %s changed: got error %v, want one: %t", string(has.secret), string(has.key), name, err, want)
				}
			}
		}
	}
}

// Each of the hosts is covered, and their order, and none can be taken for the
// address of pushed authorization requests, or the other way round.
func TestThreat132_ProfileCoversAPIHosts(t *testing.T) {
	ctx := t.Context()
	s, inner := newStore(t)
	p := fullProfile()
	type fields struct {
		hosts []string
		par   string
	}
	lists := []fields{
		{nil, ""}, {[]string{""}, ""}, {[]string{"", ""}, ""}, {[]string{"APIHosts", "1", "a"}, ""}, {[]string{"a"}, ""}, {[]string{"b"}, ""},
		{[]string{"a", "b"}, ""}, {[]string{"b", "a"}, ""}, {[]string{"ab"}, ""}, {[]string{"a b"}, ""}, {[]string{"a", "b", "c"}, ""}, {[]string{"1", "a"}, ""},
		{nil, "a"}, {nil, "b"}, {[]string{"a"}, "a"}, {[]string{"a"}, "b"}, {[]string{"PARURL", "a"}, ""}, {[]string{"a", "PARURL", "a"}, ""}, {nil, "APIHosts"},
	}
	for i, was := range lists {
		p.APIHosts, p.Endpoints.PARURL = was.hosts, was.par
		must(t, s.PutProfile(ctx, p))
		for j, other := range lists {
			edited, err := inner.Profile(ctx, p.ID)
			must(t, err)
			edited.APIHosts, edited.Endpoints.PARURL = other.hosts, other.par
			_, err = sealed.New(&oneProfile{Store: inner, p: edited}, newKeyring(t, "k1")).Profile(ctx, p.ID)
			if want := i != j; (err != nil) != want {
				t.Errorf("%q instead of %q: got error %v, want one: %t", other, was, err, want)
			}
		}
	}
}

// The key of a client is bound to its profile and to its place there, and none
// can be planted.
func TestThreat132_KeyOfAClient(t *testing.T) {
	ctx := t.Context()
	s, inner := newStore(t)
	for id, p := range map[string]*authprofile.Profile{
		"key":    {ClientKey: "planted key"},
		"other":  {ClientKey: "planted key of another"},
		"secret": {ClientSecret: "planted secret"},
	} {
		p.ID, p.ClientID = id, "c"
		must(t, s.PutProfile(ctx, p))
	}
	kept := func(id string) *authprofile.Profile {
		p, err := inner.Profile(ctx, id)
		must(t, err)
		return p
	}
	older := kept("key").ClientKey
	p, err := s.Profile(ctx, "key")
	must(t, err)
	must(t, s.PutProfile(ctx, p))

	for name, edited := range map[string]struct {
		id   string
		edit func(p *authprofile.Profile)
	}{
		"key of another": {"key", func(p *authprofile.Profile) { p.ClientKey = kept("other").ClientKey }},
		"key and secret of other": {"key", func(p *authprofile.Profile) {
			p.ClientSecret, p.ClientKey = kept("other").ClientSecret, kept("other").ClientKey
		}},
		"older key":             {"key", func(p *authprofile.Profile) { p.ClientKey = older }},
		"key left out":          {"key", func(p *authprofile.Profile) { p.ClientKey = "" }},
		"columns exchanged":     {"key", func(p *authprofile.Profile) { p.ClientSecret, p.ClientKey = p.ClientKey, p.ClientSecret }},
		"key as secret":         {"key", func(p *authprofile.Profile) { p.ClientSecret, p.ClientKey = p.ClientKey, "" }},
		"secret as key":         {"secret", func(p *authprofile.Profile) { p.ClientKey = p.ClientSecret }},
		"key beside the secret": {"secret", func(p *authprofile.Profile) { p.ClientKey = kept("key").ClientKey }},
		"plain key":             {"key", func(p *authprofile.Profile) { p.ClientKey = "planted key" }},
		"plain key added":       {"secret", func(p *authprofile.Profile) { p.ClientKey = "planted key" }},
		"all of it plain":       {"key", func(p *authprofile.Profile) { p.ClientSecret, p.ClientKey = "", "planted key" }},
	} {
		p := kept(edited.id)
		edited.edit(p)
		got, err := sealed.New(&oneProfile{Store: inner, p: p}, newKeyring(t, "k1")).Profile(ctx, p.ID)
		if err == nil {
			t.Errorf("%s: got %+v, want an error", name, got)
		} else if text := err.Error(); strings.Contains(text, "planted") || strings.Contains(text, "sealed:1:") {
			t.Errorf("%s: got error %q, want no value in it", name, text)
		}
	}
}

type oneProfile struct {
	authprofile.Store
	p *authprofile.Profile
}

func (s *oneProfile) Profile(context.Context, string) (*authprofile.Profile, error) { return s.p, nil }

func TestThreat132_FlowCoversAllButExpires(t *testing.T) {
	ctx := t.Context()
	places := placesOfFields["Flow"]
	for _, name := range places.all() {
		if slices.Contains(places.unstored, name) {
			continue
		}
		inner := &editedFlow{MemStore: new(authprofile.MemStore), field: name}
		s := sealed.New(inner, newKeyring(t, "k1"))
		f := fullFlow()
		f.IssuerRequired = false
		must(t, s.PutFlow(ctx, f))
		_, err := s.TakeFlow(ctx, f.ID)
		if want := !slices.Contains(places.clear, name); (err != nil) != want {
			t.Errorf("%s changed: got error %v, want one: %t", name, err, want)
		}
	}
}

// An editedFlow changes one field of a flow that is taken.
type editedFlow struct {
	*authprofile.MemStore
	field string
}

func (s *editedFlow) TakeFlow(ctx context.Context, id string) (*authprofile.Flow, error) {
	f, err := s.MemStore.TakeFlow(ctx, id)
	if err == nil {
		fill(fieldAt(f, s.field), "another")
	}
	return f, err
}

func TestThreat132_DamagedValues(t *testing.T) {
	ctx := t.Context()
	s, inner := newStore(t)
	key := authprofile.GrantKey{ProfileID: "crm", User: "alice"}
	must(t, s.PutGrant(ctx, &authprofile.Grant{GrantKey: key, RefreshToken: "planted"}))
	g, err := inner.Grant(ctx, key)
	must(t, err)
	value := string(g.RefreshToken)
	try := func(changed string) {
		t.Helper()
		g.RefreshToken = authprofile.Secret(changed)
		must(t, inner.PutGrant(ctx, g))
		if got, err := s.Grant(ctx, key); err == nil {
			t.Fatalf("opened %q, sealed as %q", got.RefreshToken, value)
		} else if strings.Contains(err.Error(), "planted") || len(changed) > 16 && strings.Contains(err.Error(), changed[len(changed)-8:]) {
			t.Fatalf("error %q has part of the value", err)
		}
	}
	for i := 1; i < len(value); i++ {
		try(value[:i])
		try(value[i:])
		for _, c := range []byte("A_:\n =\x00") {
			if value[i] != c {
				try(value[:i] + string(c) + value[i+1:])
			}
			try(value[:i] + string(c) + value[i:])
		}
	}
	try(value + "A")
	try(value + "\n")
	try(value + value)
	g.RefreshToken = authprofile.Secret(value)
	must(t, inner.PutGrant(ctx, g))
	if _, err := s.Grant(ctx, key); err != nil {
		t.Errorf("undamaged again: got %v, want no error", err)
	}
}

func TestThreat132_Keys(t *testing.T) {
	other := newKey("k1")
	other.Secret = bytes.Repeat([]byte{7}, 32)
	wrong, err := sealed.NewKeyring(other)
	must(t, err)
	for _, test := range []struct {
		name string
		ring *sealed.Keyring
		want string // in the error; empty: none
	}{
		{"the key", newKeyring(t, "k1"), ""},
		{"retired", newKeyring(t, "k3", "k2", "k1"), ""},
		{"taken away", newKeyring(t, "k3", "k2"), `no key "k1"`},
		{"another of that name", wrong, "damaged"},
	} {
		ctx := t.Context()
		s, inner := newStore(t)
		g := fullGrant()
		must(t, s.PutGrant(ctx, g))
		got, err := sealed.New(inner, test.ring).Grant(ctx, g.GrantKey)
		switch {
		case test.want == "" && (err != nil || got.RefreshToken != g.RefreshToken):
			t.Errorf("%s: got %v and error %v, want the grant", test.name, got, err)
		case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
			t.Errorf("%s: got error %v, want one with %q", test.name, err, test.want)
		case test.want != "":
			of, ok := errors.AsType[*authprofile.Error](err)
			if !ok || of.ProfileID != g.ProfileID || of.User != g.User {
				t.Fatalf("%s: got error %v, want one that says which record cannot be read", test.name, err)
			}
			checkTellsNothing(t, of.Err, g)
			if errors.Is(err, authprofile.ErrNotFound) || errors.Is(err, authprofile.ErrConflict) {
				t.Errorf("%s: %v is an error that a Manager acts upon", test.name, err)
			}
		}
	}
}

func TestArgumentsStayAsTheyAre(t *testing.T) {
	ctx := t.Context()
	away := errors.New("the service is away")
	for name, s := range map[string]authprofile.Store{
		"keeper":   sealed.New(new(authprofile.MemStore), brokenKeeper{away}),
		"conflict": sealed.New(new(authprofile.MemStore), newKeyring(t, "k1")),
	} {
		p, g, f := fullProfile(), fullGrant(), fullFlow()
		p.Version, g.Version = 5, 5 // of records that do not exist
		f.State, f.URL = "state", "url"
		p2, g2, f2 := p.Clone(), g.Clone(), f.Clone()
		want := authprofile.ErrConflict
		if name == "keeper" {
			want = away
			if err := s.PutFlow(ctx, f); !errors.Is(err, want) {
				t.Errorf("%s: PutFlow: got %v, want %v", name, err, want)
			}
		} else {
			must(t, s.PutFlow(ctx, f))
		}
		if err := s.PutProfile(ctx, p); !errors.Is(err, want) {
			t.Errorf("%s: PutProfile: got %v, want %v", name, err, want)
		}
		if err := s.PutGrant(ctx, g); !errors.Is(err, want) {
			t.Errorf("%s: PutGrant: got %v, want %v", name, err, want)
		}
		if !reflect.DeepEqual(p, p2) || !reflect.DeepEqual(g, g2) || !reflect.DeepEqual(f, f2) {
			t.Errorf("%s: an argument was changed", name)
		}
	}
}

type brokenKeeper struct{ err error }

func (k brokenKeeper) Encrypt(context.Context, []byte) ([]byte, error) { return nil, k.err }
func (k brokenKeeper) Decrypt(context.Context, []byte) ([]byte, error) { return nil, k.err }

func TestKeeperThatMakesNoSense(t *testing.T) {
	ctx := t.Context()
	s, inner := newStore(t)
	g := fullGrant()
	must(t, s.PutGrant(ctx, g))
	for name, keeper := range map[string]answers{
		"nothing": {nil}, "AES-128": {make([]byte, 16)}, "too short": {make([]byte, 31)}, "too long": {make([]byte, 33)}, "another key": {make([]byte, 32)},
	} {
		got, err := sealed.New(inner, keeper).Grant(ctx, g.GrantKey)
		if err == nil {
			t.Errorf("%s: got %v, want an error", name, got)
		}
		// It is not the record that is to blame, where that can be known.
		if errors.As(err, new(*authprofile.FieldError)) != (name == "another key") {
			t.Errorf("%s: got error %v", name, err)
		}
	}
	if err := sealed.New(inner, answers{nil}).PutGrant(ctx, g); err == nil {
		t.Error("encrypted to nothing: got no error")
	}
}

// answers is a Keeper with one answer to everything.
type answers struct{ b []byte }

func (k answers) Encrypt(context.Context, []byte) ([]byte, error) { return k.b, nil }
func (k answers) Decrypt(context.Context, []byte) ([]byte, error) { return k.b, nil }

// A Store that is not exact about keys must not hand one user's tokens to
// another: the seal of what it returns is intact.
func TestAnotherRecordThanAskedFor(t *testing.T) {
	ctx := t.Context()
	folding := &foldingStore{MemStore: new(authprofile.MemStore)}
	s := sealed.New(folding, newKeyring(t, "k1"))
	g, f, p := fullGrant(), fullFlow(), fullProfile()
	g.GrantKey, f.ID, p.ID = authprofile.GrantKey{ProfileID: "crm", User: "alice"}, "flow", "crm"
	must(t, s.PutGrant(ctx, g))
	must(t, s.PutFlow(ctx, f))
	must(t, s.PutProfile(ctx, p))
	if got, err := s.Grant(ctx, authprofile.GrantKey{ProfileID: "crm", User: "Alice"}); err == nil {
		t.Errorf("got %v, want an error", got)
	}
	if got, err := s.TakeFlow(ctx, "Flow"); err == nil {
		t.Errorf("got %v, want an error", got)
	}
	if got, err := s.Profile(ctx, "CRM"); err == nil {
		t.Errorf("got %v, want an error", got)
	}
}

type foldingStore struct{ *authprofile.MemStore }

func (s *foldingStore) Profile(ctx context.Context, id string) (*authprofile.Profile, error) {
	return s.MemStore.Profile(ctx, strings.ToLower(id))
}

func (s *foldingStore) Grant(ctx context.Context, key authprofile.GrantKey) (*authprofile.Grant, error) {
	key.User = strings.ToLower(key.User)
	return s.MemStore.Grant(ctx, key)
}

func (s *foldingStore) TakeFlow(ctx context.Context, id string) (*authprofile.Flow, error) {
	return s.MemStore.TakeFlow(ctx, strings.ToLower(id))
}

func TestListsPassOverWhatCannotBeOpened(t *testing.T) {
	users := []string{"", "a", "b", "c", "d", "e", "f", "g"}
	ofOne, ofMany := make([]authprofile.GrantKey, len(users)), make([]authprofile.GrantKey, len(users))
	for i, user := range users {
		ofOne[i] = authprofile.GrantKey{ProfileID: "crm", User: user}
		ofMany[i] = authprofile.GrantKey{ProfileID: fmt.Sprintf("crm%d", i/3), User: users[i%3]}
	}
	for _, test := range []struct {
		f    authprofile.GrantFilter
		keys []authprofile.GrantKey
	}{
		{authprofile.GrantFilter{ProfileID: "crm"}, ofOne},
		{authprofile.GrantFilter{}, ofMany},
		{authprofile.GrantFilter{Status: authprofile.StatusFailing}, ofMany},
	} {
		checkListsOfReadable(t, test.f, test.keys)
	}
}

// checkListsOfReadable lists grants of which some are unreadable, in every way
// that is possible, in pages of every size: each other grant comes once, each
// unreadable one is reported once.
func checkListsOfReadable(t *testing.T, f authprofile.GrantFilter, keys []authprofile.GrantKey) {
	t.Helper()
	ctx := t.Context()
	for pattern := range 1 << len(keys) {
		s, inner := newStore(t)
		var good, bad []authprofile.GrantKey
		for i, key := range keys {
			g := &authprofile.Grant{GrantKey: key, AccessToken: "planted", Status: authprofile.StatusFailing}
			store := s
			if pattern&(1<<i) != 0 {
				bad = append(bad, key)
				store = inner
			} else {
				good = append(good, key)
			}
			must(t, store.PutGrant(ctx, g))
		}
		if f != (authprofile.GrantFilter{}) { // one that does not pass is not reported
			must(t, inner.PutGrant(ctx, &authprofile.Grant{GrantKey: authprofile.GrantKey{ProfileID: "other", User: "a"}, AccessToken: "planted"}))
		}
		for limit := 1; limit <= len(keys)+1; limit++ {
			var gotGood, gotBad []authprofile.GrantKey
			after, calls := authprofile.GrantKey{}, 0
			for {
				if calls++; calls > 2*len(keys) {
					t.Fatalf("%+v, pattern %b, limit %d: the list does not end", f, pattern, limit)
				}
				page, err := s.ListGrants(ctx, f, after, limit)
				for _, g := range page {
					gotGood = append(gotGood, g.GrantKey)
					if g.AccessToken != "planted" {
						t.Fatalf("got a grant without its secret")
					}
				}
				for _, e := range split(err) {
					where := new(authprofile.Error)
					if !errors.As(e, &where) {
						t.Fatalf("got error %v, want one that names its record", e)
					}
					gotBad = append(gotBad, authprofile.GrantKey{ProfileID: where.ProfileID, User: where.User})
				}
				if len(page) < limit {
					break
				}
				after = page[len(page)-1].GrantKey
			}
			if !slices.Equal(gotGood, good) || !slices.Equal(gotBad, bad) {
				t.Errorf("%+v, limit %d: got %q and errors for %q, want %q and %q", f, limit, gotGood, gotBad, good, bad)
			}
		}
	}
}

// A page of one that begins with an unreadable grant without a user goes on
// after it.
func TestListPassesOverAnEmptyUser(t *testing.T) {
	ctx := t.Context()
	s, inner := newStore(t)
	must(t, inner.PutGrant(ctx, grantOf("crm", "")))
	must(t, s.PutGrant(ctx, grantOf("crm", "alice")))
	for _, f := range []authprofile.GrantFilter{{ProfileID: "crm"}, {}} {
		page, err := s.ListGrants(ctx, f, authprofile.GrantKey{}, 1)
		if len(page) != 1 || page[0].User != "alice" || len(split(err)) != 1 {
			t.Errorf("%+v: got %v and error %v, want alice's grant and one error", f, page, err)
		}
	}
}

// Of what is due, the grants that cannot be opened are errors, and others are in
// their place, whichever they are.
func TestDueGrantsPassOverWhatCannotBeOpened(t *testing.T) {
	ctx := t.Context()
	now := maintained
	const n = 6
	for pattern := range 1 << n {
		s, inner := newStore(t)
		var good, bad []string
		for i := range n {
			g := grantOf(fmt.Sprint("p", i%2), fmt.Sprint("u", i))
			g.Due = now.Add(time.Duration(i) * time.Minute)
			store := s
			if pattern&(1<<i) != 0 {
				bad = append(bad, g.User)
				store = inner
			} else {
				good = append(good, g.User)
			}
			must(t, store.PutGrant(ctx, g))
		}
		later := grantOf("crm", "later") // which is not reported
		later.Due = now.Add(24 * time.Hour)
		must(t, inner.PutGrant(ctx, later))
		for limit := range n + 2 {
			list, err := s.DueGrants(ctx, now.Add(time.Hour), limit)
			var gotGood, gotBad []string
			for _, g := range list {
				gotGood = append(gotGood, g.User)
				if string(g.AccessToken) != "access of "+g.User {
					t.Fatalf("got a grant without its secret")
				}
			}
			for _, e := range split(err) {
				where := new(authprofile.Error)
				if !errors.As(e, &where) || where.ProfileID == "" {
					t.Fatalf("got error %v, want one that names its record", e)
				}
				gotBad = append(gotBad, where.User)
			}
			wantBad := bad
			if limit <= len(good) { // only those before, and that are due, are read
				for i, user := range bad {
					if limit == 0 || user > good[limit-1] {
						wantBad = bad[:i]
						break
					}
				}
			}
			if !slices.Equal(gotGood, good[:min(limit, len(good))]) || !slices.Equal(gotBad, wantBad) {
				t.Errorf("pattern %b, limit %d: got %q and errors for %q, want %q and %q", pattern, limit, gotGood, gotBad, good[:min(limit, len(good))], wantBad)
			}
		}
	}
}

// Without the key, DueGrants gives up as a list does. A Store below that cannot
// read a row, or nothing, has its errors reported.
func TestDueGrantsErrors(t *testing.T) {
	ctx := t.Context()
	now := time.Now()
	s, inner := newStore(t)
	for i := range 300 {
		g := grantOf("p000", fmt.Sprintf("%03d", i))
		g.Due = now.Add(-time.Hour)
		must(t, s.PutGrant(ctx, g))
	}
	keeper := &countingKeeper{Keeper: newKeyring(t, "k2")}
	list, err := sealed.New(inner, keeper).DueGrants(ctx, now, 10)
	if len(list) != 0 || len(split(err)) != 101 {
		t.Errorf("got %d grants and %d errors, want none and 101", len(list), len(split(err)))
	}
	if keeper.decrypted > 120 {
		t.Errorf("got %d calls of the Keeper for a list without the key, want about 100", keeper.decrypted)
	}

	list, err = sealed.New(&damagedStore{Store: inner, user: "007"}, newKeyring(t, "k1")).DueGrants(ctx, now, 50)
	if len(list) != 50 || !errors.Is(err, errDamaged) || len(split(err)) != 1 {
		t.Errorf("a row that the inner store cannot read: got %d grants, error %v; want 50, and one error", len(list), err)
	}
	list, err = sealed.New(&damagedStore{Store: inner, due: errLost}, newKeyring(t, "k1")).DueGrants(ctx, now, 50)
	if list != nil || err != errLost {
		t.Errorf("an inner store that fails: got %d grants, error %v; want none and %v", len(list), err, errLost)
	}
	list, err = sealed.New(&damagedStore{Store: inner, user: "007", due: errLost}, newKeyring(t, "k1")).DueGrants(ctx, now, 50)
	if len(list) != 50 || !errors.Is(err, errDamaged) || !errors.Is(err, errLost) {
		t.Errorf("an inner store that gives up: got %d grants, error %v; want 50, and both errors", len(list), err)
	}

	ended, cancel := context.WithCancel(ctx)
	cancel()
	if list, err := s.DueGrants(ended, now, 10); !errors.Is(err, context.Canceled) || list != nil {
		t.Errorf("context ended: got %d grants and error %v, want %v", len(list), err, context.Canceled)
	}
	ending, cancel := context.WithCancel(ctx)
	if list, err := sealed.New(inner, endingKeeper{cancel}).DueGrants(ending, now, 10); err != context.Canceled || list != nil {
		t.Errorf("context ended in the Keeper: got %d grants and error %v, want %v", len(list), err, context.Canceled)
	}
	if list, err := s.DueGrants(ctx, now, -1); len(list) != 0 || err != nil {
		t.Errorf("limit -1: got %d grants and error %v, want nothing", len(list), err)
	}
}

// What cannot be opened has a status still.
func TestCountOfWhatCannotBeOpened(t *testing.T) {
	ctx := t.Context()
	s, inner := newStore(t)
	for i, store := range []authprofile.Store{s, inner, sealed.New(inner, newKeyring(t, "lost"))} {
		for _, profile := range []string{"crm", "mail"} {
			g := grantOf(profile, fmt.Sprint(i))
			g.Status = authprofile.StatusActive
			if i == 2 {
				g.Status = authprofile.StatusNeedsReauthorization
			}
			must(t, store.PutGrant(ctx, g))
		}
	}
	for profile, n := range map[string]int64{"crm": 1, "": 2, "absent": 0} {
		got, err := s.CountGrants(ctx, profile)
		if err != nil || got[authprofile.StatusActive] != 2*n || got[authprofile.StatusNeedsReauthorization] != n {
			t.Errorf("counts of %q: got %v and error %v, want %d active and %d others", profile, got, err, 2*n, n)
		}
	}
}

func split(err error) []error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return joined.Unwrap()
	}
	return nil
}

func TestListProfilesPassesOverWhatCannotBeOpened(t *testing.T) {
	ctx := t.Context()
	s, inner := newStore(t)
	for i, store := range []authprofile.Store{s, inner, s, s} {
		must(t, store.PutProfile(ctx, &authprofile.Profile{ID: fmt.Sprint("p", i), ClientSecret: "planted"}))
	}
	page, err := s.ListProfiles(ctx, "", 2)
	if len(page) != 2 || page[0].ID != "p0" || page[1].ID != "p2" {
		t.Errorf("got %v, want p0 and p2", page)
	}
	where := new(authprofile.Error)
	if !errors.As(err, &where) || where.ProfileID != "p1" || strings.Contains(err.Error(), "planted") {
		t.Errorf("got error %v, want one for p1", err)
	}
	page, err = s.ListProfiles(ctx, "p2", 2)
	if len(page) != 1 || err != nil {
		t.Errorf("got %v and error %v, want p3", page, err)
	}
}

func TestListsGiveUpWithoutTheKey(t *testing.T) {
	ctx := t.Context()
	s, inner := newStore(t)
	for i := range 300 {
		must(t, s.PutGrant(ctx, &authprofile.Grant{GrantKey: authprofile.GrantKey{ProfileID: "crm", User: fmt.Sprintf("%03d", i)}, AccessToken: "x"}))
	}
	keeper := &countingKeeper{Keeper: newKeyring(t, "k2")}
	page, err := sealed.New(inner, keeper).ListGrants(ctx, authprofile.GrantFilter{ProfileID: "crm"}, authprofile.GrantKey{}, 10)
	if len(page) != 0 || len(split(err)) != 101 {
		t.Errorf("got %d grants and %d errors, want none and 101", len(page), len(split(err)))
	}
	if keeper.decrypted > 110 {
		t.Errorf("got %d calls of the Keeper for a list without the key, want about 100", keeper.decrypted)
	}
}

func TestListErrors(t *testing.T) {
	s, _ := newStore(t)
	must(t, s.PutGrant(t.Context(), fullGrant()))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if page, err := s.ListGrants(ctx, authprofile.GrantFilter{ProfileID: fullGrant().ProfileID}, authprofile.GrantKey{}, 10); !errors.Is(err, context.Canceled) || page != nil {
		t.Errorf("context ended: got %v and error %v, want %v", page, err, context.Canceled)
	}
	// The context ends while the Keeper works: no record is to blame.
	inner := new(authprofile.MemStore)
	must(t, sealed.New(inner, newKeyring(t, "k1")).PutGrant(t.Context(), fullGrant()))
	ctx, cancel = context.WithCancel(t.Context())
	page, err := sealed.New(inner, endingKeeper{cancel}).ListGrants(ctx, authprofile.GrantFilter{ProfileID: fullGrant().ProfileID}, authprofile.GrantKey{}, 10)
	if err != context.Canceled || page != nil {
		t.Errorf("context ended in the Keeper: got %v and error %v, want %v", page, err, context.Canceled)
	}
	for _, limit := range []int{0, -1} {
		if page, err := s.ListGrants(t.Context(), authprofile.GrantFilter{ProfileID: fullGrant().ProfileID}, authprofile.GrantKey{}, limit); len(page) != 0 || err != nil {
			t.Errorf("limit %d: got %v and error %v, want nothing", limit, page, err)
		}
	}
}

type endingKeeper struct{ cancel func() }

func (k endingKeeper) Encrypt(ctx context.Context, _ []byte) ([]byte, error) { return nil, ctx.Err() }
func (k endingKeeper) Decrypt(ctx context.Context, _ []byte) ([]byte, error) {
	k.cancel()
	return nil, ctx.Err()
}

func TestNothingIsEncryptedTwiceTheSameWay(t *testing.T) {
	ctx := t.Context()
	s, inner := newStore(t)
	seen := make(map[string]bool)
	for i := range 1000 {
		g := &authprofile.Grant{GrantKey: authprofile.GrantKey{ProfileID: "crm", User: fmt.Sprint(i % 2)}, AccessToken: "same", RefreshToken: "same"}
		must(t, s.DeleteGrant(ctx, g.GrantKey))
		must(t, s.PutGrant(ctx, g))
		kept, err := inner.Grant(ctx, g.GrantKey)
		must(t, err)
		for _, v := range []authprofile.Secret{kept.AccessToken, kept.RefreshToken} {
			parts := strings.Split(string(v), ":")
			nonce := parts[3][:16] // 12 bytes
			if seen[nonce] {
				t.Fatal("a nonce came twice")
			}
			seen[nonce] = true
		}
		head := strings.Split(string(kept.AccessToken), ":")[2]
		if seen[head] {
			t.Fatal("a data key came twice")
		}
		seen[head] = true
	}
}

func TestThreat135_StoreShowsNothing(t *testing.T) {
	secret := newKey("k1").Secret
	for _, x := range []any{sealed.New(new(authprofile.MemStore), newKeyring(t, "k1")), newKeyring(t, "k1"), *newKeyring(t, "k1"), newKey("k1")} {
		checkShowsNothing(t, x, secret)
		checkShowsNothing(t, struct{ X any }{x}, secret)
		checkShowsNothing(t, []any{x}, secret)
	}
}
