package authprofile

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/authprofile/authprofile/internal/catalog"
)

// One becomes the other by its JSON, so the two must have the same members.
func TestProviderHasTheMembersOfARow(t *testing.T) {
	var compare func(path string, a, b reflect.Type)
	compare = func(path string, a, b reflect.Type) {
		for a.Kind() == reflect.Slice || a.Kind() == reflect.Pointer {
			if a.Kind() != b.Kind() {
				t.Errorf("%s: got %v and %v, want the same kind", path, a, b)
				return
			}
			a, b = a.Elem(), b.Elem()
		}
		if a.Kind() != reflect.Struct {
			if a.Kind() != b.Kind() {
				t.Errorf("%s: got %v and %v, want the same kind", path, a, b)
			}
			return
		}
		if a.NumField() != b.NumField() {
			t.Errorf("%s: got %d and %d fields, want as many", path, a.NumField(), b.NumField())
			return
		}
		for i := range a.NumField() {
			fa, fb := a.Field(i), b.Field(i)
			if fa.Name != fb.Name || fa.Tag != fb.Tag {
				t.Errorf("%s: got %s %s and %s %s, want the same field", path, fa.Name, fa.Tag, fb.Name, fb.Tag)
				continue
			}
			compare(path+"."+fa.Name, fa.Type, fb.Type)
		}
	}
	compare("Provider", reflect.TypeFor[Provider](), reflect.TypeFor[catalog.Row]())
}

func TestProviders(t *testing.T) {
	list := Providers()
	if len(list) < 2 {
		t.Fatalf("got %d providers, want all", len(list))
	}
	for i := range list {
		if err := list[i].Validate(); err != nil {
			t.Errorf("%s: %v", list[i].Name, err)
		}
	}
	text, err := json.Marshal(list)
	if err != nil {
		t.Fatal(err)
	}
	var again []Provider
	if err := json.Unmarshal(text, &again); err != nil || !reflect.DeepEqual(again, list) {
		t.Errorf("through JSON: got other providers, %v, want the same", err)
	}
	list[0].Name = "changed"
	if Providers()[0].Name == "changed" {
		t.Error("the list is shared, want a new one")
	}
}

func TestProviderJSONIsStrict(t *testing.T) {
	for _, text := range []string{`{"name": "x", "colour": "red"}`, `{"name": "x", "app": {"colour": "red"}}`, `{"name": 1}`} {
		p := Provider{Name: "before"}
		if err := json.Unmarshal([]byte(text), &p); err == nil || p.Name != "before" {
			t.Errorf("%s: got %+v, %v, want an error and nothing changed", text, p, err)
		}
	}
}

// rowOf returns a provider without a problem.
func rowOf(name string) Provider {
	return Provider{
		Name: name, Title: "Example", Revision: "2026-11-26", RegisterURL: "https://example.com/apps",
		AuthURL: "https://example.com/authorize", TokenURL: "https://example.com/token",
	}
}

func TestProviderValidate(t *testing.T) {
	p := rowOf("example")
	if err := p.Validate(); err != nil {
		t.Errorf("got %v, want no error", err)
	}
	p.Title, p.TokenURL, p.PKCE = "", "http://example.com", "plain"
	err := p.Validate()
	for _, want := range []string{"title: ", "token_url: ", "pkce: "} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q in it", err, want)
		}
	}
	if got, want := p.Template(), "example"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// A row of the application is known to its Manager alone, and what is wrong with
// one is said where a profile names it.
func TestProvidersOfAManager(t *testing.T) {
	bad := rowOf("bad")
	bad.Title, bad.Revision = "", "now"
	m := &Manager{Providers: []Provider{rowOf("example"), bad}, RedirectURL: "https://app.example.com/callback"}
	profile := func(name string) *Profile {
		return &Profile{Type: TypeUser, ClientID: "c", ClientSecret: "s", Template: Template(name)}
	}
	p := profile("example")
	if err := m.Save(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	f, err := m.Begin(t.Context(), p, "ada")
	if err != nil || !strings.HasPrefix(f.URL, "https://example.com/authorize?") {
		t.Errorf("got %v, %v, want an authorization at the row's address", f, err)
	}
	if err := p.Validate(); err == nil {
		t.Error("Validate: got no error, want one: it knows the built-in providers alone")
	}
	if err := new(Manager).validate(p); err == nil {
		t.Error("another Manager: got no error, want one")
	}
	if err := m.Save(t.Context(), profile("google")); err != nil {
		t.Errorf("a built-in provider: got %v, want no error", err)
	}

	err = m.Save(t.Context(), profile("bad"))
	var field *FieldError
	if !errors.As(err, &field) || field.Field != "Template" || !strings.Contains(err.Error(), "title: ") || !strings.Contains(err.Error(), "revision: ") {
		t.Errorf("got %v, want a FieldError for Template with both problems", err)
	}
	stored := profile("bad")
	stored.ID, stored.Version = "p", 0
	if err := m.engine().store.PutProfile(t.Context(), stored); err != nil {
		t.Fatal(err)
	}
	if _, err := m.engine().providers.resolve(t.Context(), stored); !errors.Is(err, ErrConfiguration) {
		t.Errorf("got %v, want ErrConfiguration", err)
	}
}

// What a row has a use for is not pushed out of Grant.Extra by what else an answer
// brings.
func TestExtraKeepsWhatTheRowUses(t *testing.T) {
	g := &Grant{Extra: map[string]Secret{"realmId": "1", "old": Secret(strings.Repeat("o", 1000))}}
	many := map[string]string{"host": "api.example.com"}
	for i := range 20 {
		many[fmt.Sprintf("a%02d", i)] = strings.Repeat("x", 300)
	}
	g.addExtra(many, dialect{&catalog.Provider{Row: catalog.Row{HostMember: "host", CallbackKeep: []string{"realmId"}}}})
	if g.Extra["realmId"] != "1" || g.Extra["host"] != "api.example.com" || g.Extra["a00"] == "" || g.Extra["old"] != "" {
		t.Errorf("got %d members, realmId %q, host %q, want both, and new ones before old ones", len(g.Extra), g.Extra["realmId"], g.Extra["host"])
	}
	size := 0
	for name, value := range g.Extra {
		size += len(name) + len(value)
	}
	if size > maxExtra {
		t.Errorf("got %d bytes, want at most %d", size, maxExtra)
	}
}
