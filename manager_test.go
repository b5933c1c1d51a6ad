package authprofile_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/oauth2"

	"github.com/authprofile/authprofile"
)

// validApp returns an app profile that can be saved.
func validApp(id string) *authprofile.Profile {
	return &authprofile.Profile{
		ID: id, Type: authprofile.TypeApp, ClientID: "c", ClientSecret: "hunter2",
		Endpoints: authprofile.Endpoints{TokenURL: "https://auth.example.com/token"},
	}
}

func TestSaveAssignsAnID(t *testing.T) {
	m := new(authprofile.Manager)
	before := ""
	for range 100 {
		p := validApp("")
		if err := m.Save(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		// UUIDv7 text (RFC 9562), which sorts by time.
		if len(p.ID) != 36 || p.ID[14] != '7' || strings.ToLower(p.ID) != p.ID || p.ID <= before {
			t.Fatalf("got ID %q after %q, want a UUIDv7", p.ID, before)
		}
		before = p.ID
		if p.Version == 0 || p.Created.IsZero() || p.Updated.IsZero() || p.Unsaved() {
			t.Errorf("got %v, want a saved profile", p)
		}
	}
	own := validApp("crm")
	if err := m.Save(t.Context(), own); err != nil || own.ID != "crm" {
		t.Errorf("got ID %q, %v; want the application's own", own.ID, err)
	}
	if got := countProfiles(t, m); got != 101 {
		t.Errorf("got %d profiles, want 101", got)
	}
}

func TestSaveConflicts(t *testing.T) {
	m := new(authprofile.Manager)
	p := validApp("crm")
	p.Scopes, p.Params = []string{"read"}, url.Values{"audience": {"api"}}
	if err := m.Save(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	stored, err := m.Profile(t.Context(), "crm")
	if err != nil {
		t.Fatal(err)
	}

	second := validApp("crm") // a new one under an ID that exists
	stale := p.Clone()
	p.Name = "edited"
	if err := m.Save(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	stale.Name, stale.Scopes = "stale", []string{"write"}
	gone := validApp("gone") // one that was deleted since
	gone.Version = 7
	for name, q := range map[string]*authprofile.Profile{"new": second, "stale": stale, "gone": gone} {
		before := q.Clone()
		var e *authprofile.Error
		if err := m.Save(t.Context(), q); !errors.Is(err, authprofile.ErrConflict) || !errors.As(err, &e) || e.Op != "save" || e.ProfileID != q.ID {
			t.Errorf("%s: got %v, want ErrConflict", name, err)
		}
		if !reflect.DeepEqual(q, before) {
			t.Errorf("%s: got a changed profile %v, want it as before: %v", name, q, before)
		}
	}
	got, err := m.Profile(t.Context(), "crm")
	if err != nil || got.Name != "edited" || got.ClientSecret != "hunter2" || !slices.Equal(got.Scopes, []string{"read"}) || !got.Created.Equal(stored.Created) {
		t.Errorf("got %v, %v; want what was saved last", got, err)
	}

	// Read again, decide anew.
	got.Name = "stale"
	if err := m.Save(t.Context(), got); err != nil {
		t.Errorf("got %v, want none", err)
	}
}

func TestSaveThatFailsChangesNothing(t *testing.T) {
	fails := &brokenStore{Store: new(authprofile.MemStore), err: errAway}
	m := &authprofile.Manager{Store: fails}
	p := validApp("")
	before := p.Clone()
	var e *authprofile.Error
	if err := m.Save(t.Context(), p); !errors.Is(err, errAway) || !errors.As(err, &e) || e.Op != "save" {
		t.Errorf("got %v, want the Store's own error", err)
	}
	if p.ID == "" || !p.Unsaved() {
		t.Errorf("got %v, want an ID, for the profile may be stored", p)
	}
	made := p.ID
	if err := m.Save(t.Context(), p); !errors.Is(err, errAway) || p.ID != made {
		t.Errorf("got ID %q, %v; want %q again", p.ID, err, made)
	}
	before.ID = made
	got, err1 := json.Marshal(p)
	want, err2 := json.Marshal(before)
	if err1 != nil || err2 != nil || string(got) != string(want) || p.ClientSecret != before.ClientSecret {
		t.Errorf("got %s, want it as before but for its ID: %s", got, want)
	}

	invalid := validApp("")
	invalid.Scopes = []string{"a b"}
	before = invalid.Clone()
	m = new(authprofile.Manager)
	var fe *authprofile.FieldError
	if err := m.Save(t.Context(), invalid); !errors.As(err, &fe) || fe.Field != "Scopes[0]" {
		t.Errorf("got %v, want a *FieldError", err)
	}
	if !reflect.DeepEqual(invalid, before) {
		t.Errorf("got %v, want it as before", invalid)
	}
	if got := countProfiles(t, m); got != 0 {
		t.Errorf("got %d profiles, want none stored", got)
	}
}

// A Save whose answer is lost can be called again, as often as it takes.
func TestSaveWhoseAnswerIsLost(t *testing.T) {
	var lost atomic.Bool
	store := &forgetfulStore{Store: new(authprofile.MemStore), lost: &lost}
	m := &authprofile.Manager{Store: store}
	fails := func(p *authprofile.Profile, target error) {
		t.Helper()
		before := p.Clone()
		if err := m.Save(t.Context(), p); !errors.Is(err, target) {
			t.Errorf("got %v, want %v", err, target)
		}
		if before.ID != "" && !reflect.DeepEqual(p, before) {
			t.Errorf("got a changed profile %v, want it as before: %v", p, before)
		}
	}
	saves := func(p *authprofile.Profile) {
		t.Helper()
		if err := m.Save(t.Context(), p); err != nil {
			t.Fatalf("got %v, want none", err)
		}
		got, err := m.Profile(t.Context(), p.ID)
		if err != nil {
			t.Fatal(err)
		}
		if p.Version == 0 || p.Version != got.Version || !p.Created.Equal(got.Created) || !p.Updated.Equal(got.Updated) || p.Unsaved() {
			t.Errorf("got %v, want what is stored: %v", p, got)
		}
	}

	// A new profile, whose ID Save makes.
	p := validApp("")
	p.Scopes, p.Params = []string{}, url.Values{"audience": {"api"}, "none": {}}
	lost.Store(true)
	fails(p, errAway)
	fails(p, errAway) // the conflict cannot be looked into
	lost.Store(false)
	saves(p)
	if got := countProfiles(t, m); got != 1 {
		t.Errorf("got %d profiles, want one", got)
	}

	// One that is edited: its own content is there.
	p.Name, p.ClientSecret = "edited", "changed"
	lost.Store(true)
	fails(p, errAway)
	lost.Store(false)
	saves(p)

	// Another process has saved it since.
	for _, edit := range []func(*authprofile.Profile){
		func(p *authprofile.Profile) { p.Name = "another's" },
		func(p *authprofile.Profile) { p.ClientSecret = "another's" },
		func(p *authprofile.Profile) { p.Params = url.Values{"audience": {"another's"}} },
	} {
		ours := p.Clone()
		ours.Description += "ours"
		lost.Store(true)
		fails(ours, errAway)
		lost.Store(false)
		theirs, err := m.Profile(t.Context(), p.ID)
		if err != nil {
			t.Fatal(err)
		}
		edit(theirs)
		saves(theirs)
		fails(ours, authprofile.ErrConflict)
		p = theirs
	}

	// What was edited between the two is not what was stored.
	p = validApp("")
	lost.Store(true)
	fails(p, errAway)
	lost.Store(false)
	p.Name = "edited meanwhile"
	fails(p, authprofile.ErrConflict)

	// It is gone again.
	if err := m.Delete(t.Context(), p.ID); err != nil {
		t.Fatal(err)
	}
	p.Version = 5
	fails(p, authprofile.ErrConflict)

	// An ID that the application chose may be another's.
	p = validApp("crm")
	lost.Store(true)
	fails(p, errAway)
	lost.Store(false)
	fails(p, authprofile.ErrConflict)
}

// A forgetfulStore stores profiles, and for a while neither says so nor reads
// them.
type forgetfulStore struct {
	authprofile.Store
	lost *atomic.Bool
}

// A Store that reads from a copy which lags behind still has the version that
// the caller has read: that is no sign of a Save that has succeeded.
func TestSaveConflictsOverALaggingStore(t *testing.T) {
	store := &laggingStore{Store: new(authprofile.MemStore)}
	m := &authprofile.Manager{Store: store}
	p := validApp("crm")
	if err := m.Save(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	mine, err := m.Profile(t.Context(), "crm")
	if err != nil {
		t.Fatal(err)
	}
	store.old = mine.Clone()
	p.Scopes = []string{"write"}
	if err := m.Save(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	if err := m.Save(t.Context(), mine); !errors.Is(err, authprofile.ErrConflict) {
		t.Errorf("got %v, want ErrConflict", err)
	}
}

// laggingStore reads an old profile.
type laggingStore struct {
	authprofile.Store
	old *authprofile.Profile
}

func (s *laggingStore) Profile(ctx context.Context, id string) (*authprofile.Profile, error) {
	if s.old != nil {
		return s.old.Clone(), nil
	}
	return s.Store.Profile(ctx, id)
}

func (s *forgetfulStore) PutProfile(ctx context.Context, p *authprofile.Profile) error {
	c := p.Clone()
	if err := s.Store.PutProfile(ctx, c); err != nil {
		return err
	}
	if s.lost.Load() {
		return errAway
	}
	p.Version, p.Created, p.Updated = c.Version, c.Created, c.Updated
	return nil
}

func (s *forgetfulStore) Profile(ctx context.Context, id string) (*authprofile.Profile, error) {
	if s.lost.Load() {
		return nil, errAway
	}
	return s.Store.Profile(ctx, id)
}

// A brokenStore changes the profiles that it is given, and fails.
type brokenStore struct {
	authprofile.Store
	err error
}

func (s *brokenStore) PutProfile(ctx context.Context, p *authprofile.Profile) error {
	p.Version, p.ID, p.Scopes = 9, "changed", append(p.Scopes, "changed")
	return s.err
}

func (s *brokenStore) Profile(ctx context.Context, id string) (*authprofile.Profile, error) {
	return nil, s.err
}

func (s *brokenStore) ListProfiles(ctx context.Context, after string, limit int) ([]*authprofile.Profile, error) {
	list, _ := s.Store.ListProfiles(ctx, after, limit)
	return list, s.err
}

func (s *brokenStore) ListGrants(ctx context.Context, f authprofile.GrantFilter, after authprofile.GrantKey, limit int) ([]*authprofile.Grant, error) {
	list, _ := s.Store.ListGrants(ctx, f, after, limit)
	return list, s.err
}

func (s *brokenStore) CountGrants(ctx context.Context, profileID string) (map[authprofile.Status]int64, error) {
	return nil, s.err
}

func (s *brokenStore) Grant(ctx context.Context, key authprofile.GrantKey) (*authprofile.Grant, error) {
	return nil, s.err
}

func (s *brokenStore) DeleteProfile(ctx context.Context, id string) error { return s.err }

func TestErrorsOfTheStore(t *testing.T) {
	inner := new(authprofile.MemStore)
	if err := inner.PutProfile(t.Context(), validApp("crm")); err != nil {
		t.Fatal(err)
	}
	m := &authprofile.Manager{Store: &brokenStore{Store: inner, err: errAway}}
	want := func(op string, err error) {
		t.Helper()
		var e *authprofile.Error
		if !errors.Is(err, errAway) || !errors.As(err, &e) || e.Op != op {
			t.Errorf("got %v, want the Store's error in %s", err, op)
		}
	}
	_, err := m.Profile(t.Context(), "crm")
	want("profile", err)
	_, err = m.Grant(t.Context(), ada)
	want("grant", err)
	want("delete", m.Delete(t.Context(), "crm"))
	want("revoke", m.Revoke(t.Context(), ada))
	// What was read is given out before the error.
	var list []string
	for p, err := range m.Profiles(t.Context()) {
		if err != nil {
			want("profiles", err)
			list = append(list, "error")
			continue
		}
		list = append(list, p.ID)
	}
	if got := strings.Join(list, " "); got != "crm error" {
		t.Errorf("got %s, want the profile and then the error", got)
	}
	for g, err := range m.Grants(t.Context(), "crm") {
		if g != nil {
			t.Errorf("got %v with an error, want none", g)
		}
		want("grants", err)
	}
}

func TestDelete(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.adasProfile()
		application := w.app()
		src := w.m.Source(t.Context(), p, asAda)
		appSource := w.m.Source(t.Context(), application)
		for _, s := range []oauth2.TokenSource{src, appSource} {
			if _, err := s.Token(); err != nil {
				t.Fatal(err)
			}
		}
		for _, id := range []string{"crm", "app", "crm", "never there"} {
			if err := w.m.Delete(t.Context(), id); err != nil {
				t.Errorf("%s: got %v, want none", id, err)
			}
		}
		if _, err := w.m.Profile(t.Context(), "crm"); !errors.Is(err, authprofile.ErrNotFound) {
			t.Errorf("got %v, want ErrNotFound", err)
		}
		w.noGrant(ada)
		w.noGrant(app)
		// What is in memory goes too.
		w.refuses(w.m, p, authprofile.ErrReauthorize, asAda)
		w.refuses(w.m, application, authprofile.ErrNotFound)
		for _, s := range []oauth2.TokenSource{src, appSource} {
			if _, err := s.Token(); err == nil {
				t.Error("got a token of a deleted profile from its source, want an error")
			}
		}
		// Its ID is free again, and what comes is not taken for what was.
		if err := w.m.Save(t.Context(), p); !errors.Is(err, authprofile.ErrConflict) {
			t.Errorf("got %v for an edit of what is gone, want ErrConflict", err)
		}
		p.Version = 0
		w.save(p)
		w.refuses(w.m, p, authprofile.ErrReauthorize, asAda)
	})
}

func TestRedirectAddressIsCheckedBySave(t *testing.T) {
	for _, test := range []struct {
		manager, id string
		ok          bool
	}{
		{"https://app.example.com/cb", "", true},
		{"https://app.example.com/cb/{profile}", "", true},
		{"https://{profile}.app.example.com/cb", "crm", true},
		{"https://{profile}.app.example.com/cb", "not a host", false},
		{"", "", false},
		{"/cb", "", false},
		{"http://app.example.com/cb", "", false},
		{"https://app.example.com/cb#x", "", false},
		{"https://app.example.com/cb?p={profile}", "", true},
		{"https://app.example.com/cb?state={profile}", "", false},
		{"https://app.example.com/cb?{profile}=1", "crm", true},
		{"https://app.example.com/cb?{profile}=1", "code", false},
		{"https://app.example.com/" + strings.Repeat("{profile}", 10), strings.Repeat("x", 255), false},
	} {
		m := &authprofile.Manager{RedirectURL: test.manager}
		p := &authprofile.Profile{ID: test.id, Type: authprofile.TypeUser, ClientID: "c", Template: authprofile.Google}
		err := m.Save(t.Context(), p)
		var fe *authprofile.FieldError
		if test.ok != (err == nil) || err != nil && (!errors.As(err, &fe) || fe.Field != "RedirectURL") {
			t.Errorf("%q: got %v, want success to be %v", test.manager, err, test.ok)
		}
		// A profile's own address comes first.
		p = p.Clone()
		p.ID, p.Version, p.RedirectURL = "own", 0, "https://own.example.com/CB"
		if err := m.Save(t.Context(), p); err != nil {
			t.Errorf("%q: got %v with an address of the profile's own, want none", test.manager, err)
		}
		if got := m.RedirectAddress(p); got != p.RedirectURL {
			t.Errorf("got %q, want %q", got, p.RedirectURL)
		}
	}
	if got := new(authprofile.Manager).RedirectAddress(validApp("x")); got != "" {
		t.Errorf("got %q, want none", got)
	}
}

// A Manager may keep its client's limits, and none of its cookies or redirects.
func TestManagerKeepsNoCookies(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		jar := &countingJar{}
		hc := w.srv.Client()
		hc.Jar = jar
		m := &authprofile.Manager{HTTPClient: hc}
		p := w.unsavedApp()
		p.Endpoints = authprofile.Endpoints{DiscoveryURL: w.srv.DiscoveryURL()}
		if _, err := m.Token(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		if jar.calls != 0 {
			t.Errorf("got %d calls of the cookie jar, want none", jar.calls)
		}
	})
}

type countingJar struct{ calls int }

func (j *countingJar) SetCookies(*url.URL, []*http.Cookie) { j.calls++ }
func (j *countingJar) Cookies(*url.URL) []*http.Cookie     { j.calls++; return nil }

// Whatever the ID of a profile or of a user looks like, it is not taken for
// another.
func TestThreat133_NamesThatAreNoWords(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		names := []string{"a", "A", "a ", " a", "ä", "a\u0308", `'; DROP TABLE grants; --`, `" OR "1"="1`, "%", "_", "a/b", "../a", "null", "0"}
		tokens := make(map[string]string)
		for _, name := range names {
			p := w.save(registered(authprofile.Profile{
				ID: name, Type: authprofile.TypeUser,
				Endpoints: authprofile.Endpoints{AuthURL: w.srv.AuthURL(), TokenURL: w.srv.TokenURL()},
			}))
			for _, user := range names {
				w.authorize(p, user)
				tokens[name+"\x00"+user] = w.token(w.m, p, authprofile.AsUser(user))
			}
		}
		fresh := w.manager()
		seen := make(map[string]bool)
		for _, name := range names {
			p, err := fresh.Profile(t.Context(), name)
			if err != nil {
				t.Fatal(err)
			}
			for _, user := range names {
				got := w.token(fresh, p, authprofile.AsUser(user))
				if got != tokens[name+"\x00"+user] || seen[got] {
					t.Errorf("got another's token for %q of %q, want its own", user, name)
				}
				seen[got] = true
			}
		}
	})
}
