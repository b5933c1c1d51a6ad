package console

import (
	"maps"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/authprofile/authprofile"
)

// exampleOf is a value of a variable.
func exampleOf(v authprofile.ProviderVariable) string {
	if len(v.Values) > 0 {
		return slices.Sorted(maps.Keys(v.Values))[0]
	}
	return v.Example
}

// Whatever a template gives of its variables, the form has fields for it, and makes
// the same template of them.
func TestEveryTemplateFitsTheForm(t *testing.T) {
	own := []authprofile.Provider{{Name: "own", Title: "Own", Variables: []authprofile.ProviderVariable{
		{Name: "first", Title: "First", Example: "a", Default: "usual"}, {Name: "needed", Title: "Needed", Example: "b"}, {Name: "last", Title: "Last", Example: "c", Optional: true},
	}}}
	c := newChoices(append(authprofile.Providers(), own...), own)
	for _, p := range c.list {
		var optional int
		for _, v := range p.Variables {
			if v.TakesNo {
				optional++
			}
		}
		for given := range optional + 1 {
			template, left := p.Name, given
			for _, v := range p.Variables {
				if v.TakesNo {
					if left == 0 {
						continue
					}
					left--
				}
				template += "/" + exampleOf(v.ProviderVariable)
			}
			chosen, fields := c.split(authprofile.Template(template))
			if chosen != p.Name {
				t.Errorf("%s: got %q chosen, want %q", template, chosen, p.Name)
			}
			if got, problems := c.join(chosen, fields); string(got) != template || len(problems) > 0 {
				t.Errorf("%s: got %q and problems %v", template, got, problems)
			}
		}
	}
	for _, template := range []authprofile.Template{"", "gone/a", "github/too/many", "own", "own/a/b/c/d", "own//b", "microsoft", "/", "keycloak/a/"} {
		chosen, fields := c.split(template)
		if got, _ := c.join(chosen, fields); got != template {
			t.Errorf("%q: got %q back", template, got)
		}
	}
	got, problems := c.join("own", map[string]string{"variable.own.needed": "b", "variable.own.last": "c"})
	if got != "own/usual/b/c" || len(problems) > 0 {
		t.Errorf("got %q and problems %v, want the usual value of the first, which is needed before the last", got, problems)
	}
	if _, problems := c.join("own", map[string]string{"variable.own.needed": "b/c"}); !strings.Contains(problems["variable.own.needed"], "slash") {
		t.Errorf("got problems %v, want one with the slash", problems)
	}
}

// The two that the form began with come first, under their names, and the rest by
// title.
func TestOrderOfTemplates(t *testing.T) {
	own := []authprofile.Provider{{Name: "google", Title: "Our Google", RegisterURL: "https://register.example.com/"}}
	h := &Handler{Manager: &authprofile.Manager{Providers: own}}
	list := newChoices(h.providers(), own).list
	var titles []string
	for _, c := range list[2:] {
		titles = append(titles, strings.ToLower(c.Title))
	}
	if list[0].Title != "Google Identity" || list[1].Title != "Microsoft Identity Platform" || !slices.IsSorted(titles) {
		t.Errorf("got %s, %s and then %v", list[0].Title, list[1].Title, titles)
	}
	if list[0].Register != "" || list[1].Register == "" {
		t.Errorf("got links to %q and %q, want one of the built-in row only", list[0].Register, list[1].Register)
	}
}

// Profiles that differ in any field do not say the same, and the comparison of two
// versions shows it.
func TestNoDifferenceIsMissed(t *testing.T) {
	at := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	var change func(v reflect.Value)
	change = func(v reflect.Value) {
		switch v.Interface().(type) {
		case time.Time:
			v.Set(reflect.ValueOf(at))
		case []string:
			v.Set(reflect.ValueOf([]string{"x"}))
		case url.Values:
			v.Set(reflect.ValueOf(url.Values{"x": {"y"}}))
		case time.Duration:
			v.SetInt(int64(48 * time.Hour))
		case int64:
			v.SetInt(7)
		case authprofile.Endpoints:
			for i := range v.NumField() {
				change(v.Field(i))
			}
		default:
			v.SetString("x")
		}
	}
	check := func(name string, a, b *authprofile.Profile) {
		if sameContent(a, b) {
			t.Errorf("%s: got that both say the same", name)
		}
		differs := slices.ContainsFunc(rowsOf(a, b), func(r row) bool { return r.Differs })
		if !differs && name != "ID" { // which two versions have in common
			t.Errorf("%s: got no row that differs", name)
		}
	}
	for i := range reflect.TypeFor[authprofile.Profile]().NumField() {
		field := reflect.TypeFor[authprofile.Profile]().Field(i)
		a, b := new(authprofile.Profile), new(authprofile.Profile)
		switch name := field.Name; name {
		case "Endpoints":
			for j := range field.Type.NumField() {
				b := new(authprofile.Profile)
				change(reflect.ValueOf(b).Elem().Field(i).Field(j))
				check("Endpoints."+field.Type.Field(j).Name, a, b)
			}
		case "Version", "Created", "Updated":
			change(reflect.ValueOf(b).Elem().Field(i))
			if !sameContent(a, b) {
				t.Errorf("%s: got a difference, want none", name)
			}
		default:
			if field.IsExported() {
				change(reflect.ValueOf(b).Elem().Field(i))
				check(name, a, b)
			}
		}
	}
}
