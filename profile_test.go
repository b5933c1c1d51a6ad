package authprofile_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/authprofile/authprofile"
)

// fillFields sets every exported field of a struct to something that is not
// zero, and the elements of what it holds.
func fillFields(v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		v.SetString("text")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(7)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 4))
		for i := range v.Len() {
			fillFields(v.Index(i))
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		value := reflect.New(v.Type().Elem()).Elem()
		fillFields(value)
		v.SetMapIndex(reflect.ValueOf("key"), value)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fillFields(v.Elem())
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			v.Set(reflect.ValueOf(time.Date(2030, 1, 2, 3, 4, 5, 6e6, time.UTC)))
			return
		}
		for f, fv := range v.Fields() {
			if f.IsExported() {
				fillFields(fv)
			}
		}
	}
}

// eachChange calls f with the path of every exported value under v, and with
// what changes it in place.
func eachChange(path string, v reflect.Value, f func(path string, change func())) {
	switch v.Kind() {
	case reflect.String:
		f(path, func() { v.SetString(v.String() + "x") })
		f(path+" to as much", func() { v.SetString("T" + v.String()[1:]) })
	case reflect.Bool:
		f(path, func() { v.SetBool(!v.Bool()) })
	case reflect.Int, reflect.Int64:
		f(path, func() { v.SetInt(v.Int() + 1) })
	case reflect.Slice:
		eachChange(path+"[0]", v.Index(0), f)
		f(path, func() { v.Set(reflect.AppendSlice(v, v.Slice(0, 1))) })
		f(path+" to nil", func() { v.SetZero() })
	case reflect.Map:
		e := v.MapIndex(reflect.ValueOf("key"))
		if e.Kind() == reflect.Slice {
			f(path+"[key][0]", func() { e.Index(0).SetString("changed") })
		}
		f(path, func() { v.SetMapIndex(reflect.ValueOf("another"), e) })
		f(path+"[key]", func() { v.SetMapIndex(reflect.ValueOf("key"), reflect.Zero(v.Type().Elem())) })
	case reflect.Pointer:
		eachChange(path, v.Elem(), f)
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			f(path, func() { v.Set(reflect.ValueOf(v.Interface().(time.Time).Add(time.Millisecond))) })
			return
		}
		for sf, fv := range v.Fields() {
			if sf.IsExported() {
				eachChange(path+"."+sf.Name, fv, f)
			}
		}
	}
}

func TestUnsaved(t *testing.T) {
	// A Store takes any profile; a Manager that reads it notes what it has.
	store := new(authprofile.MemStore)
	m := &authprofile.Manager{Store: store}
	full := new(authprofile.Profile)
	fillFields(reflect.ValueOf(full).Elem())
	full.Version = 0
	if err := store.PutProfile(t.Context(), full); err != nil {
		t.Fatal(err)
	}
	read := func() *authprofile.Profile {
		p, err := m.Profile(t.Context(), full.ID)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	if read().Unsaved() || read().Clone().Unsaved() {
		t.Error("got unsaved right after it was read, want saved")
	}
	var paths []string
	eachChange("", reflect.ValueOf(read()).Elem(), func(path string, _ func()) { paths = append(paths, path) })
	if len(paths) < 42 {
		t.Errorf("got %d ways to change a profile: %q, want 42 or more", len(paths), paths)
	}
	for i, path := range paths {
		p := read()
		n := 0
		eachChange("", reflect.ValueOf(p).Elem(), func(_ string, change func()) {
			if n == i {
				change()
			}
			n++
		})
		if !p.Unsaved() {
			t.Errorf("%s: got saved after the change, want unsaved", path)
		}
	}

	p := validApp("x")
	if !p.Unsaved() || !new(authprofile.Profile).Unsaved() {
		t.Error("got saved, want unsaved: it never was")
	}
	for range 2 {
		if err := m.Save(t.Context(), p); err != nil || p.Unsaved() {
			t.Errorf("got unsaved after Save, %v; want saved", err)
		}
		p.Name += "x"
		if !p.Unsaved() {
			t.Error("got saved after an edit, want unsaved")
		}
	}
	p.Name = strings.TrimSuffix(p.Name, "x")
	if p.Unsaved() {
		t.Error("got unsaved after the edit was undone, want saved")
	}
	// Nil and empty are the same to a Store.
	p.Scopes, p.Params = []string{}, url.Values{}
	if p.Unsaved() {
		t.Error("got unsaved for an empty list in place of none, want saved")
	}
	p.Created = p.Created.In(time.FixedZone("", 3600))
	if p.Unsaved() {
		t.Error("got unsaved for the same time elsewhere, want saved")
	}
}

// Clone leaves nothing in common: any change of the one is no change of the
// other.
func TestClonesAreDeep(t *testing.T) {
	check(t, (*authprofile.Profile).Clone)
	check(t, (*authprofile.Grant).Clone)
	check(t, (*authprofile.Flow).Clone)
}

func check[T any](t *testing.T, clone func(*T) *T) {
	t.Helper()
	full := func() *T {
		v := new(T)
		fillFields(reflect.ValueOf(v).Elem())
		return v
	}
	original, pristine := full(), full()
	c := clone(original)
	if !reflect.DeepEqual(c, original) {
		t.Errorf("%T: got %+v, want an equal clone", original, c)
	}
	n := 0
	eachChange("", reflect.ValueOf(c).Elem(), func(path string, change func()) { n++; change() })
	if !reflect.DeepEqual(original, pristine) {
		t.Errorf("%T: got an original that has changed with its clone, want it as it was", original)
	}
	if n < 10 {
		t.Errorf("%T: got %d changes only, want ten or more", original, n)
	}
	zero := new(T)
	if !reflect.DeepEqual(clone(zero), zero) {
		t.Errorf("%T: got %+v, want the clone of a zero value to be one", zero, clone(zero))
	}
}

func TestProfileJSON(t *testing.T) {
	p := new(authprofile.Profile)
	fillFields(reflect.ValueOf(p).Elem())
	p.ClientSecret, p.ClientKey = "hunter2", "hunter3"
	text, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(text), "hunter") || !strings.Contains(string(text), `"client_secret":"[redacted]","client_key":"[redacted]",`) {
		t.Errorf("got %s, want secret and key redacted", text)
	}
	if !strings.Contains(string(text), `"par_url":"text"`) {
		t.Errorf("got %s, want it with every address", text)
	}
	var back authprofile.Profile
	var fe *authprofile.FieldError
	if err := json.Unmarshal(text, &back); !errors.As(err, &fe) {
		t.Errorf("got %v, want the placeholder to be refused as a *FieldError", err)
	}
	for _, with := range []struct{ secret, key authprofile.Secret }{{}, {"hunter2", ""}, {"", "hunter3"}, {"hunter2", "hunter3"}} {
		back = authprofile.Profile{}
		in := ""
		if with.secret != "" {
			in += fmt.Sprintf(`"client_secret":%q,`, string(with.secret))
		}
		if with.key != "" {
			in += fmt.Sprintf(`"client_key":%q,`, string(with.key))
		}
		in = strings.Replace(string(text), `"client_secret":"[redacted]","client_key":"[redacted]",`, in, 1)
		if err := json.Unmarshal([]byte(in), &back); err != nil {
			t.Fatal(err)
		}
		want := p.Clone()
		want.ClientSecret, want.ClientKey = with.secret, with.key
		if !reflect.DeepEqual(&back, want) {
			t.Errorf("got %+v, want everything back, secret and key as they were given: %+v", back, want)
		}
	}
	for _, member := range []string{"client_secret", "client_key"} {
		if err := json.Unmarshal([]byte(`{"`+member+`":"[redacted]"}`), &back); !errors.As(err, &fe) {
			t.Errorf("got %v, want the placeholder as %s to be refused as a *FieldError", err, member)
		}
	}
	// What is not there is not in the text either.
	small, err := json.Marshal(&authprofile.Profile{Type: authprofile.TypeApp, ClientID: "c"})
	if want := `{"type":"app","client_id":"c"}`; err != nil || string(small) != want {
		t.Errorf("got %s, %v; want %s", small, err, want)
	}
	if back.Unsaved() {
		t.Error("got unsaved for a profile with a version, want saved")
	}
}

// The placeholder is kept out of a Store on every way.
func TestPlaceholderIsNoSecret(t *testing.T) {
	for field, set := range map[string]func(p *authprofile.Profile){
		"ClientSecret": func(p *authprofile.Profile) { p.ClientSecret = "[redacted]" },
		"ClientKey":    func(p *authprofile.Profile) { p.ClientSecret, p.ClientKey = "", "[redacted]" },
	} {
		p := validApp("")
		set(p)
		var fe *authprofile.FieldError
		if err := new(authprofile.Manager).Save(t.Context(), p); !errors.As(err, &fe) || fe.Field != field {
			t.Errorf("got %v, want a *FieldError of %s", err, field)
		}
	}
}

// What is printed of a profile says whether it has a key, and no more.
func TestProfileShowsThatItHasAKey(t *testing.T) {
	p := validApp("crm")
	for _, want := range []string{`ClientSecret:[redacted] ClientKey: `, `ClientSecret: ClientKey:[redacted] `} {
		if got := fmt.Sprintf("%+v", p); !strings.Contains(got, want) {
			t.Errorf("got %s, want %s in it", got, want)
		}
		p.ClientSecret, p.ClientKey = "", "-----BEGIN PRIVATE KEY-----"
	}
}

// A text moves from one secret of a profile to the other: the profile is not what
// it was.
func TestUnsavedAfterASecretBecomesAKey(t *testing.T) {
	for _, text := range []authprofile.Secret{"hunter2", "0:", "1:0"} {
		p := validApp("crm")
		p.ClientSecret = text
		m := new(authprofile.Manager)
		if err := m.Save(t.Context(), p); err != nil || p.Unsaved() {
			t.Fatalf("got unsaved after Save, %v; want saved", err)
		}
		p.ClientSecret, p.ClientKey = "", text
		if !p.Unsaved() {
			t.Errorf("%q: got saved, want unsaved", string(text))
		}
	}
}
