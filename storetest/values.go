package storetest

import (
	"fmt"
	"hash/fnv"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/authprofile/authprofile"
)

// Values are filled, changed and compared by reflection, so that a field that
// is added to a record is tested as soon as it exists.

var timeType = reflect.TypeFor[time.Time]()

// words are values for fields that hold one out of a fixed list, which a Store
// may rely on.
var words = map[reflect.Type][]string{
	reflect.TypeFor[authprofile.Type]():       {string(authprofile.TypeUser), string(authprofile.TypeApp)},
	reflect.TypeFor[authprofile.AuthMethod](): {string(authprofile.AuthBasicRaw), string(authprofile.AuthPost)},
	reflect.TypeFor[authprofile.Template]():   {string(authprofile.Google), string(authprofile.Microsoft("contoso.com"))},
	reflect.TypeFor[authprofile.Status]():     {string(authprofile.StatusNeedsReauthorization), string(authprofile.StatusFailing)},
	reflect.TypeFor[authprofile.Reason]():     {string(authprofile.ReasonInterrupted), string(authprofile.ReasonLost)},
}

// berlin is two hours east of UTC. A time whose digits are stored without the
// zone comes back wrong.
var berlin = time.FixedZone("CEST", 2*60*60)

// fill gives every field under v a value that no other field has. Another
// seed gives other values.
func fill(v reflect.Value, path string, seed int) {
	h := fnv.New64a()
	fmt.Fprintf(h, "%s %d", path, seed)
	n := h.Sum64()
	switch {
	case v.Type() == timeType:
		at := time.Date(2031, 7, 1, 0, 0, 0, 0, berlin).Add(time.Duration(n%1e10) * time.Millisecond)
		v.Set(reflect.ValueOf(at))
		return
	case words[v.Type()] != nil:
		v.SetString(words[v.Type()][seed%2])
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(fmt.Sprintf(`%s %d é 😀 "'\%%_%x`, path, seed, n))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int32:
		v.SetInt(int64(n%1e9) + 1)
	case reflect.Int64: // durations too: to the nanosecond
		v.SetInt(int64(n>>1) | 1)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), path, seed)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 3, 3))
		for i := range 3 { // in descending order, which a set or a sort would not keep
			fill(v.Index(i), fmt.Sprintf("%d %s", 9-i, path), seed)
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		for _, name := range []string{"b", "a", `é "'\%`} {
			key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
			key.SetString(name + " " + path)
			fill(value, path+" "+name, seed)
			v.SetMapIndex(key, value)
		}
	case reflect.Struct:
		for f, fv := range v.Fields() {
			if f.IsExported() {
				fill(fv, path+"."+f.Name, seed)
			}
		}
	default:
		panic("storetest: no value for " + path + ", a " + v.Type().String())
	}
}

// eachString calls f for every string under v but those out of a fixed list.
func eachString(v reflect.Value, f func(v reflect.Value)) {
	switch v.Kind() {
	case reflect.String:
		if words[v.Type()] == nil {
			f(v)
		}
	case reflect.Pointer:
		if !v.IsNil() {
			eachString(v.Elem(), f)
		}
	case reflect.Slice:
		for i := range v.Len() {
			eachString(v.Index(i), f)
		}
	case reflect.Map:
		for _, key := range v.MapKeys() {
			value := reflect.New(v.Type().Elem()).Elem()
			value.Set(v.MapIndex(key))
			eachString(value, f)
			v.SetMapIndex(key, value)
		}
	case reflect.Struct:
		if v.Type() == timeType {
			return
		}
		for sf, fv := range v.Fields() {
			if sf.IsExported() {
				eachString(fv, f)
			}
		}
	}
}

// eachTime calls f for every time under v.
func eachTime(v reflect.Value, f func(v reflect.Value)) {
	switch {
	case v.Type() == timeType:
		f(v)
	case v.Kind() == reflect.Pointer && !v.IsNil():
		eachTime(v.Elem(), f)
	case v.Kind() == reflect.Struct:
		for sf, fv := range v.Fields() {
			if sf.IsExported() {
				eachTime(fv, f)
			}
		}
	}
}

// scramble changes everything that can be reached from v, in place.
func scramble(v reflect.Value) {
	if v.Type() == timeType {
		v.Set(reflect.ValueOf(time.Unix(1, 0)))
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString("scrambled " + v.String())
	case reflect.Bool:
		v.SetBool(!v.Bool())
	case reflect.Int, reflect.Int32, reflect.Int64:
		v.SetInt(v.Int() ^ 1)
	case reflect.Pointer:
		if !v.IsNil() {
			scramble(v.Elem())
		}
	case reflect.Slice:
		for i := range v.Len() {
			scramble(v.Index(i))
		}
	case reflect.Map:
		for _, key := range v.MapKeys() {
			value := reflect.New(v.Type().Elem()).Elem()
			value.Set(v.MapIndex(key))
			scramble(value)
			v.SetMapIndex(key, value)
		}
		if !v.IsNil() {
			v.SetMapIndex(reflect.ValueOf("scrambled").Convert(v.Type().Key()), reflect.Zero(v.Type().Elem()))
		}
	case reflect.Struct:
		for sf, fv := range v.Fields() {
			if sf.IsExported() {
				scramble(fv)
			}
		}
	}
}

// clone returns a deep copy of the exported fields of what p points to. It does
// not use the records' own Clone, which may be what is broken.
func clone[R any](p *R) *R {
	c := new(R)
	copyInto(reflect.ValueOf(c).Elem(), reflect.ValueOf(p).Elem())
	return c
}

func copyInto(dst, src reflect.Value) {
	switch {
	case src.Type() == timeType:
		dst.Set(src)
	case src.Kind() == reflect.Struct:
		for f, fv := range src.Fields() {
			if f.IsExported() {
				copyInto(dst.FieldByIndex(f.Index), fv)
			}
		}
	case src.Kind() == reflect.Pointer && !src.IsNil():
		dst.Set(reflect.New(src.Type().Elem()))
		copyInto(dst.Elem(), src.Elem())
	case src.Kind() == reflect.Slice && !src.IsNil():
		dst.Set(reflect.MakeSlice(src.Type(), src.Len(), src.Len()))
		for i := range src.Len() {
			copyInto(dst.Index(i), src.Index(i))
		}
	case src.Kind() == reflect.Map && !src.IsNil():
		dst.Set(reflect.MakeMap(src.Type()))
		for _, key := range src.MapKeys() {
			value := reflect.New(src.Type().Elem()).Elem()
			copyInto(value, src.MapIndex(key))
			dst.SetMapIndex(key, value)
		}
	default:
		dst.Set(src)
	}
}

// makeEmpty makes the slices and maps of a record empty, but not nil.
func makeEmpty(r reflect.Value) {
	for i := range r.NumField() {
		switch f := r.Field(i); {
		case !r.Type().Field(i).IsExported():
		case f.Kind() == reflect.Slice:
			f.Set(reflect.MakeSlice(f.Type(), 0, 0))
		case f.Kind() == reflect.Map:
			f.Set(reflect.MakeMap(f.Type()))
		}
	}
}

// diff says where got differs from want, or nothing. Times may have lost what
// is below a millisecond.
func diff[R any](got, want *R) string {
	var d []string
	compare(&d, strings.TrimPrefix(fmt.Sprintf("%T", *want), "authprofile."), reflect.ValueOf(got).Elem(), reflect.ValueOf(want).Elem())
	return strings.Join(d, "\n")
}

// diffStored is diff for what a Store has returned, whose times must be in UTC.
func diffStored[R any](got, want *R) string {
	d := diff(got, want)
	eachTime(reflect.ValueOf(got).Elem(), func(v reflect.Value) {
		if at := v.Interface().(time.Time); at.Location() != time.UTC {
			d = strings.TrimPrefix(fmt.Sprintf("%s\n%T: got the time %v, want it in UTC", d, *want, at), "\n")
		}
	})
	return d
}

func compare(d *[]string, path string, got, want reflect.Value) {
	report := func() {
		*d = append(*d, fmt.Sprintf("%s: got %s, want %s", path, show(got), show(want)))
	}
	if want.Type() == timeType {
		g, w := got.Interface().(time.Time), want.Interface().(time.Time)
		if g.IsZero() != w.IsZero() || !g.Truncate(time.Millisecond).Equal(w.Truncate(time.Millisecond)) {
			report()
		}
		return
	}
	switch want.Kind() {
	case reflect.Struct:
		for f, fv := range want.Fields() {
			if f.IsExported() {
				compare(d, path+"."+f.Name, got.FieldByIndex(f.Index), fv)
			}
		}
	case reflect.Pointer:
		switch {
		case got.IsNil() != want.IsNil():
			report()
		case !want.IsNil():
			compare(d, path, got.Elem(), want.Elem())
		}
	case reflect.Slice:
		if got.Len() != want.Len() {
			report()
			return
		}
		for i := range want.Len() {
			compare(d, fmt.Sprintf("%s[%d]", path, i), got.Index(i), want.Index(i))
		}
	case reflect.Map:
		if got.Len() != want.Len() {
			report()
			return
		}
		for _, key := range want.MapKeys() {
			if g := got.MapIndex(key); g.IsValid() {
				compare(d, fmt.Sprintf("%s[%q]", path, key.String()), g, want.MapIndex(key))
			} else {
				report()
				return
			}
		}
	default:
		if !got.Equal(want) {
			report()
		}
	}
}

// show prints a value, secrets included: these are made up.
func show(v reflect.Value) string {
	var s string
	switch v.Kind() {
	case reflect.String:
		s = fmt.Sprintf("%q", v.String())
	case reflect.Pointer:
		if v.IsNil() {
			return "nil"
		}
		return "&" + show(v.Elem())
	default:
		s = fmt.Sprintf("%+v", v)
	}
	if len(s) > 200 {
		s = fmt.Sprintf("%s... (%d bytes)", s[:200], len(s))
	}
	return s
}

// anyBytes has each byte once, those that are not text included.
var anyBytes = func() string {
	b := make([]byte, 256)
	for i := range b {
		b[i] = byte(255 - i)
	}
	return string(b)
}()

// awkward are strings that a Store may take for something else.
func awkward() []string {
	return []string{
		anyBytes,
		"\x00",
		"a\x00b",
		" leading and trailing ",
		"line\r\nline\n",
		"\xff\xfe",
		"\xed\xa0\x80", // half of a surrogate pair
		"null", "NULL", "[]", "{}", `"`, "'", `\`, `\x00`, `\\`, "0", "007", "1e3", "%s", "?", "$1", ":a",
		"\ufeffbyte order mark", "e\u0301", "\u00e9", "\U0010ffff", "\ufffd",
		strings.Repeat("x", 4096),
		strings.Repeat("é😀", 1000),
		strings.Repeat("0123456789abcdef", 4097), // more than 64 KiB
	}
}

// identifiers are all different, in the order of their bytes, and equal under
// one collation or another.
func identifiers() []string {
	ids := []string{
		"a", "A", "a ", " a", "a  ", "aa", "ab", "a\u00a0", "a\u200b", "a\u00ad", "\uff41", "ª",
		"e", "E", "é", "e\u0301", "É", "ê",
		"ss", "ß", "ẞ", "SS", "ae", "æ", "oe", "œ", "ff", "ﬀ",
		"i", "I", "ı", "İ", "K", "\u212a", "\u00c5", "\u212b", "A\u030a",
		"1", "01", "1.0", "1e0", "+1", "-1", "0x1", "①", "²", "2",
		"a%", "a_", "a'", `a"`, `a\`, "a/", "a:b", "a;b", "a,b", "a?b", "a#b", "a$1", "a*",
		"null", "NULL", "true", "[redacted]",
		"😀", "😁", "\ufffd", "\U00010000", "\U0010ffff", "\ufeffa", "ア", "ｱ", "あ",
		"user@example.com", "User@example.com", "user@EXAMPLE.com",
	}
	slices.Sort(ids)
	return ids
}
