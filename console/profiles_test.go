package console_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/authprofile/authprofile"
	"github.com/authprofile/authprofile/console"
	"github.com/authprofile/authprofile/internal/webtest"
)

// newKey makes a client key.
func newKey(t *testing.T) authprofile.Secret {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return authprofile.Secret(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// A form that is sent back as it is changes nothing, whatever is in the profile.
func TestEveryFieldSurvives(t *testing.T) {
	profiles := []*authprofile.Profile{
		{
			ID: "addresses", Name: " A \"name\"\nin two lines", Description: "\nOne\r\ntwo\n\nthree ", Type: authprofile.TypeUser,
			ClientID: " client & co ", ClientSecret: " a <secret> ", AuthMethod: authprofile.AuthBasicRaw,
			Endpoints: authprofile.Endpoints{
				AuthURL: "https://id.example.com/auth?a=b&c=d", TokenURL: "https://id.example.com/token", RevocationURL: "https://id.example.com/revoke",
				DeviceAuthURL: "https://id.example.com/device", PARURL: "https://id.example.com/par",
			},
			Scopes: []string{"openid", "calendar.read"}, RedirectURL: "https://App.example.com/Back",
			Params:      url.Values{"audience": {"a=b", " c ", ""}, "with=sign": {"x"}, "lines": {"one\ntwo"}},
			TokenParams: url.Values{"resource": {"https://api.example.com/"}},
			APIHosts:    []string{"api.example.com:8443", ".example.com", "[2001:db8::1]"},
			// Times of day and parts of days cannot be typed.
			SecretExpires: time.Date(2030, 1, 31, 15, 4, 5, 123000, time.UTC), KeepAlive: 49*time.Hour + time.Minute,
		},
		{ID: "document", Type: authprofile.TypeApp, ClientID: "c", Endpoints: authprofile.Endpoints{DiscoveryURL: "https://id.example.com/.well-known/openid-configuration"}},
		{ID: "template", Type: authprofile.TypeUser, ClientID: "c", ClientKey: newKey(t), Template: "keycloak/id.example.com/acme/auth", KeepAlive: -time.Hour},
		{ID: "default", Type: authprofile.TypeUser, ClientID: "c", Template: "gitlab/gitlab.com"},
		{ID: "national", Type: authprofile.TypeUser, ClientID: "c", Template: "microsoft/login.microsoftonline.us/contoso.com"},
		{ID: "usual", Type: authprofile.TypeUser, ClientID: "c", Template: authprofile.Microsoft("contoso.com")},
	}
	b, m := openProfiles(t, profiles...)
	filled := make(map[string]bool)
	var fill func(v reflect.Value, path string)
	fill = func(v reflect.Value, path string) {
		for i := range v.NumField() {
			field := v.Type().Field(i)
			switch {
			case !field.IsExported():
			case field.Type == reflect.TypeFor[authprofile.Endpoints]():
				fill(v.Field(i), path+field.Name+".")
			default:
				filled[path+field.Name] = filled[path+field.Name] || !v.Field(i).IsZero()
			}
		}
	}
	for _, p := range profiles {
		fill(reflect.ValueOf(*p), "")
		p = stored(t, m, p.ID)
		page := b.get("profile?id=" + p.ID)
		b.post("profile", formOf(t, page.body)).wants(t, 200, "Saved.")
		got := stored(t, m, p.ID)
		if got.Version == p.Version {
			t.Errorf("%s: got version %d, want another: it was not saved", p.ID, got.Version)
		}
		for i := range reflect.TypeFor[authprofile.Profile]().NumField() {
			field := reflect.TypeFor[authprofile.Profile]().Field(i)
			if !field.IsExported() || field.Name == "Version" || field.Name == "Updated" {
				continue
			}
			g, w := reflect.ValueOf(*got).Field(i).Interface(), reflect.ValueOf(*p).Field(i).Interface()
			if gt, ok := g.(time.Time); ok {
				if !gt.Equal(w.(time.Time)) {
					t.Errorf("%s: %s: got %v, want %v", p.ID, field.Name, g, w)
				}
				continue
			}
			if !reflect.DeepEqual(g, w) {
				t.Errorf("%s: %s: got %#v, want %#v", p.ID, field.Name, g, w)
			}
		}
	}
	for field, ok := range filled {
		if !ok {
			t.Errorf("no profile of this test has a %s", field)
		}
	}
}

// A secret is kept, replaced or removed, and never shown.
func TestThreat163_SecretsOfTheForm(t *testing.T) {
	key, other := newKey(t), newKey(t)
	keyed := &authprofile.Profile{ID: "keyed", Type: authprofile.TypeApp, ClientID: "c", ClientKey: key, Template: "okta/acme.okta.com"}
	b, m := openProfiles(t, calendar(), keyed)
	page := b.get("profile?id=calendar")
	page.wants(t, 200, "<p>Set.</p>", `for="client_key">Client key</label>`, `id="secret-keep"`)
	keyPage := b.get("profile?id=keyed")
	keyPage.wants(t, 200, "<p>Set: ES256.</p>", `<details class="card" open>`)
	for _, a := range []*answer{page, keyPage} {
		for _, secret := range []string{"hunter2", string(key)[40:60], "[redacted]"} {
			if strings.Contains(a.body, secret) {
				t.Errorf("got a page with %q", secret)
			}
		}
	}
	form := formOf(t, page.body)
	b.post("profile", with(form, "secret", "keep", "client_secret", "typed by mistake")).wants(t, 200, "Saved.")
	if got := stored(t, m, "calendar").ClientSecret; got != "hunter2-secret" {
		t.Errorf("keep: got %q", string(got))
	}
	form = formOf(t, b.get("profile?id=calendar").body)
	b.post("profile", with(form, "secret", "replace")).wants(t, 422, "Client secret is to be replaced, so type the new one")
	page = b.post("profile", with(form, "secret", "replace", "client_secret", "new"))
	page.wants(t, 200, "Saved.")
	if got := stored(t, m, "calendar").ClientSecret; got != "new" {
		t.Errorf("replace: got %q, want the new one", string(got))
	}
	page = b.post("profile", with(formOf(t, page.body), "secret", "remove"))
	page.wants(t, 200, "Saved.", `for="client_secret">Client secret</label>`)
	if got := stored(t, m, "calendar").ClientSecret; got != "" {
		t.Errorf("remove: got %q, want none", string(got))
	}

	form = formOf(t, keyPage.body)
	for _, text := range []string{"no key", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----"} {
		page = b.post("profile", with(form, "key", "replace", "client_key", text))
		page.wants(t, 422, `<a href="#client_key">Client key`, "<p>Set: ES256.</p>")
		if strings.Contains(page.body, text) {
			t.Error("got the key sent back")
		}
	}
	page = b.post("profile", with(form, "key", "replace", "client_key", strings.ReplaceAll(string(other), "\n", "\r\n")))
	page.wants(t, 200, "Saved.")
	if got := stored(t, m, "keyed").ClientKey; string(got) == string(key) || got == "" {
		t.Error("got the former key, want the new one")
	}
	b.post("profile", with(formOf(t, page.body), "key", "remove", "client_secret", "both")).wants(t, 200, "Saved.", `for="client_key">Client key</label>`, "<p>Set.</p>")
}

// A save that another came before shows both versions, and loses nothing but a secret;
// to save again is to overwrite knowingly.
func TestStaleSave(t *testing.T) {
	b, m := openProfiles(t, calendar())
	form := formOf(t, b.get("profile?id=calendar").body)
	b.post("profile", with(form, "name", "Theirs", "scopes", "theirs")).wants(t, 200, "Saved.")

	page := b.post("profile", with(form, "name", "Yours", "secret", "replace", "client_secret", "my-own-secret", "keep_alive", "soon"))
	page.wants(t, 409, "Another save came first", stored(t, m, "calendar").Updated.UTC().Format("2 Jan 2006, 15:04 UTC"), "<td class=\"lines\">Theirs</td><td class=\"lines\">Yours</td>",
		"(type it again)", `value="soon"`, "Save mine", "unsaved changes")
	if got := strings.Count(page.body, `<tr class="differs">`); got != 3 {
		t.Errorf("got %d fields that differ, want name, scopes and secret", got)
	}
	if strings.Contains(page.body, "my-own-secret") {
		t.Error("got the secret sent back")
	}
	again := formOf(t, page.body)
	again.Set("keep_alive", "")
	b.post("profile", again).wants(t, 422, "Client secret is to be replaced, so type the new one")
	again.Set("client_secret", "my-own-secret")
	b.post("profile", again).wants(t, 200, "Saved.")
	if got := stored(t, m, "calendar"); got.Name != "Yours" || got.ClientSecret != "my-own-secret" || strings.Join(got.Scopes, " ") != "openid calendar" {
		t.Errorf("got %v, want what was typed", got)
	}
	// And that one can be too late as well.
	b.post("profile", again).wants(t, 200, "Saved.")
	b.post("profile", with(again, "name", "Later")).wants(t, 409, "Another save came first")
}

// Where another save has removed the secret that was to be kept, there is none to be
// typed again.
func TestSecretRemovedMeanwhile(t *testing.T) {
	b, _ := openProfiles(t, calendar())
	form := formOf(t, b.get("profile?id=calendar").body)
	b.post("profile", with(form, "secret", "remove")).wants(t, 200, "Saved.")
	page := b.post("profile", with(form, "name", "Yours"))
	page.wants(t, 409, "Another save came first")
	if strings.Contains(page.body, "never sent back") || strings.Contains(page.body, `id="secret-`) {
		t.Errorf("got a page that asks for a secret:\n%s", page.body)
	}
	b.post("profile", formOf(t, page.body)).wants(t, 200, "Saved.", "<h1>Profile: Yours</h1>")
}

// A change is logged once, whether it succeeds or not: who, what, and which profile.
func TestChangesOfProfilesAreLogged(t *testing.T) {
	var log strings.Builder
	m := &authprofile.Manager{HTTPClient: &http.Client{Transport: webtest.New()}, RedirectURL: "https://app.example.com/callback"}
	if err := m.Save(t.Context(), calendar()); err != nil {
		t.Fatal(err)
	}
	b := open(t, &console.Handler{Manager: m, Operator: operator, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	form := formOf(t, b.get("profile?id=calendar").body)
	for _, tt := range []struct {
		what        string
		page        string
		form        url.Values
		want        string
		wantProblem bool
	}{
		{"a save", "profile", with(form, "name", "Other"), `action="save profile" profile=calendar`, false},
		{"a save that is stale", "profile", with(form, "name", "Third"), `action="save profile" profile=calendar`, true},
		{"a save that is not valid", "profile", with(formOf(t, b.get("new-profile").body), "id", "new"), `action="save profile" profile=new`, true},
		{"a test that fails", "check", form, `action="test profile" profile=calendar`, true},
		{"a deletion that is stale", "delete-profile", url.Values{"id": {"calendar"}, "version": {"1"}}, `action="delete profile" profile=calendar`, true},
		{"a deletion", "delete-profile", nil, `action="delete profile" profile=calendar`, false},
	} {
		log.Reset()
		if tt.form == nil {
			tt.form = url.Values{"id": {"calendar"}, "version": {fmt.Sprint(stored(t, m, "calendar").Version)}}
		}
		b.post(tt.page, tt.form)
		got := log.String()
		if strings.Count(got, "\n") != 1 || !strings.Contains(got, "person=olga "+tt.want) || strings.Contains(got, "error=") != tt.wantProblem {
			t.Errorf("%s: got the log\n%s\nwant one record with %s", tt.what, got, tt.want)
		}
	}
}

// A profile that was deleted meanwhile is made anew on purpose only.
func TestDeletedMeanwhile(t *testing.T) {
	b, m := openProfiles(t, calendar())
	form := with(formOf(t, b.get("profile?id=calendar").body), "name", "Yours")
	if err := m.Delete(t.Context(), "calendar"); err != nil {
		t.Fatal(err)
	}
	page := b.post("profile", form)
	page.wants(t, 409, "The profile was deleted in the meantime", "Create it again", `value="Yours"`, `id="id" name="id" value="calendar"`, "Client secret has to be typed again, because it is never sent back")
	if _, err := m.Profile(t.Context(), "calendar"); !errors.Is(err, authprofile.ErrNotFound) {
		t.Errorf("got error %v, want that it is gone", err)
	}
	b.post("profile", with(formOf(t, page.body), "client_secret", "typed")).wants(t, 200, "Saved.")
	if got := stored(t, m, "calendar"); got.Name != "Yours" || got.ClientSecret != "typed" {
		t.Errorf("got %v, want what was typed", got)
	}
}

// A troubledStore fails when it is told to.
type troubledStore struct {
	*authprofile.MemStore
	reading, writing, losing atomic.Bool
}

var errAway = errors.New("no route to db.internal")

func (s *troubledStore) Profile(ctx context.Context, id string) (*authprofile.Profile, error) {
	if s.reading.Load() {
		return nil, errAway
	}
	return s.MemStore.Profile(ctx, id)
}

func (s *troubledStore) ListProfiles(ctx context.Context, after string, limit int) ([]*authprofile.Profile, error) {
	if s.reading.Load() {
		return nil, errAway
	}
	list, err := s.MemStore.ListProfiles(ctx, after, limit)
	if s.losing.Load() {
		err = errors.Join(err, &authprofile.Error{Op: "read", ProfileID: "damaged", Err: errors.New("no key")})
	}
	return list, err
}

func (s *troubledStore) PutProfile(ctx context.Context, p *authprofile.Profile) error {
	if s.writing.Load() {
		return errAway
	}
	err := s.MemStore.PutProfile(ctx, p)
	if s.losing.Load() {
		return errAway
	}
	return err
}

func (s *troubledStore) CountGrants(ctx context.Context, id string) (map[authprofile.Status]int64, error) {
	if s.losing.Load() {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return s.MemStore.CountGrants(ctx, id)
}

// A Store that fails in the middle loses nothing that was typed.
func TestStoreFailsInTheMiddle(t *testing.T) {
	s := &troubledStore{MemStore: new(authprofile.MemStore)}
	m := &authprofile.Manager{Store: s, RedirectURL: "https://app.example.com/callback"}
	if err := m.Save(t.Context(), calendar()); err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	b := open(t, &console.Handler{Manager: m, Operator: operator, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	form := with(formOf(t, b.get("profile?id=calendar").body), "name", "Typed")

	s.reading.Store(true)
	page := b.post("profile", form)
	page.wants(t, 503, "Save again in a moment", `value="Typed"`, "<p>Not known now.</p>", "unsaved changes")
	b.get("profiles").wants(t, 503)
	b.get("profiles?from=calendar").wants(t, 503)
	b.get("profile?id=calendar").wants(t, 503)
	b.get("delete-profile?id=calendar").wants(t, 503)
	s.reading.Store(false)
	if got, want := formOf(t, page.body), with(form, "key", "keep"); !reflect.DeepEqual(got, want) {
		t.Errorf("got the form %v, want %v", got, want)
	}

	s.writing.Store(true)
	page = b.post("profile", with(form, "secret", "replace", "client_secret", "new-secret"))
	page.wants(t, 503, "did not confirm the save", "never sent back", `value="Typed"`)
	s.writing.Store(false)
	if strings.Contains(page.body, "new-secret") || strings.Contains(page.body, "db.internal") {
		t.Error("got the secret, or where the database is, in the page")
	}

	s.losing.Store(true) // it is stored, and its answer is lost
	page = b.post("profile", form)
	page.wants(t, 503, "did not confirm the save")
	fresh := b.post("profile", with(formOf(t, b.get("new-profile").body), "id", "own", "client_id", "c", "template", "google"))
	fresh.wants(t, 503, "did not confirm the save")
	s.losing.Store(false)
	b.post("profile", formOf(t, page.body)).wants(t, 200, "Saved.")
	b.post("profile", formOf(t, fresh.body)).wants(t, 200, "Saved.")
	if got := stored(t, m, "calendar"); got.Name != "Typed" || got.ClientSecret != "hunter2-secret" {
		t.Errorf("got %v, want what was typed", got)
	}
	if got := log.String(); !strings.Contains(got, `action="save profile"`) || strings.Contains(got, "hunter2") || strings.Contains(got, "new-secret") {
		t.Errorf("got the log\n%s\nwant records of each save, without secrets", got)
	}
}

// The list has a page of profiles by ID, from anywhere.
func TestListOfProfiles(t *testing.T) {
	s := &troubledStore{MemStore: new(authprofile.MemStore)}
	m := &authprofile.Manager{Store: s}
	b := open(t, &console.Handler{Manager: m, Operator: operator})
	b.get("profiles").wants(t, 200, "There are no profiles yet", `href="new-profile"`)
	for i := range 120 {
		p := &authprofile.Profile{ID: fmt.Sprintf("p%03d", i), Name: fmt.Sprintf("No. %d", i), Type: authprofile.TypeApp, ClientID: "c"}
		p.Endpoints.TokenURL = "https://id.example.com/token"
		if i == 0 {
			p.Endpoints.TokenURL, p.Template = "", "okta/acme.okta.com"
		}
		if err := m.Save(t.Context(), p); err != nil {
			t.Fatal(err)
		}
	}
	rows := func(a *answer) int { return strings.Count(a.body, `<tr><th scope="row">`) }
	page := b.get("profiles")
	page.wants(t, 200, `href="profile?id=p000"`, "OAuth2 App -&gt; API", "<code>okta/acme.okta.com</code>", "<code>id.example.com</code>", `href="profiles?after=p049"`)
	if rows(page) != 50 || strings.Contains(page.body, "First page") {
		t.Errorf("got %d rows, want 50 and no link to the first page", rows(page))
	}
	page = b.get("profiles?after=p099")
	page.wants(t, 200, "p100", "p119", `<a class="button" href="profiles">First page</a>`)
	if rows(page) != 20 || strings.Contains(page.body, "Next page") {
		t.Errorf("got %d rows, want the last 20", rows(page))
	}
	page = b.get("profiles?from=p050")
	page.wants(t, 200, "p050", "p099", `href="profiles?after=p099"`, `value="p050"`)
	if rows(page) != 50 {
		t.Errorf("got %d rows, want 50", rows(page))
	}
	b.get("profiles?from=p0505").wants(t, 200, "p051", "p100", `href="profiles?after=p100"`)
	b.get("profiles?after=p069").wants(t, 200, "p119", "<a class=\"button\" href=\"profiles\">First page</a>")
	if page = b.get("profiles?after=p069"); rows(page) != 50 || strings.Contains(page.body, "Next page") {
		t.Errorf("got %d rows, want the last 50 and no next page", rows(page))
	}
	b.get("profiles?after=zzz").wants(t, 200, "There are no more profiles", "First page")

	s.losing.Store(true)
	b.get("profiles").wants(t, 200, "One profile cannot be read, and is not shown.", "p000")
}

// A page that begins with a profile that cannot be read shows those after it.
func TestListFromAProfileThatCannotBeRead(t *testing.T) {
	s := &troubledStore{MemStore: new(authprofile.MemStore)}
	m := &authprofile.Manager{Store: &damagedProfile{s, "a"}}
	for _, id := range []string{"a", "b"} {
		p := &authprofile.Profile{ID: id, Type: authprofile.TypeApp, ClientID: "c", Endpoints: authprofile.Endpoints{TokenURL: "https://id.example.com/token"}}
		if err := m.Save(t.Context(), p); err != nil {
			t.Fatal(err)
		}
	}
	b := open(t, &console.Handler{Manager: m, Operator: operator})
	b.get("profiles?from=a").wants(t, 200, "One profile cannot be read", `href="profile?id=b"`)
	s.losing.Store(true) // another cannot be read, too
	b.get("profiles?from=a").wants(t, 200, "2 profiles cannot be read")
}

// A damagedProfile is a Store that cannot read one of its profiles.
type damagedProfile struct {
	authprofile.Store
	id string
}

func (s *damagedProfile) Profile(ctx context.Context, id string) (*authprofile.Profile, error) {
	if id == s.id {
		return nil, &authprofile.Error{Op: "unseal", ProfileID: id, Err: errors.New("another key")}
	}
	return s.Store.Profile(ctx, id)
}
