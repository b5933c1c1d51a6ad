package sqlstore

import (
	"bytes"
	"database/sql"
	"database/sql/driver"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/authprofile/authprofile"
)

// A value points to a field, and goes between it and the database. Drivers
// differ in what they return, by protocol and settings, and so a value takes
// all that means the same.
type value interface {
	driver.Valuer
	sql.Scanner
}

var errColumn = errors.New("a column holds what was never put there")

// asText takes what drivers return for text.
func asText(src any) (string, error) {
	switch src := src.(type) {
	case string:
		return src, nil
	case []byte:
		return string(src), nil
	}
	return "", errColumn
}

// bytes takes what is returned for a column of bytes.
func (d *dialect) bytes(src any) (string, error) {
	s, err := asText(src)
	if err != nil || !d.base64 {
		return s, err
	}
	b, err := base64.StdEncoding.DecodeString(s) // which passes over line feeds
	if err != nil {
		return "", errColumn
	}
	return string(b), nil
}

// A key is an identifier: kept, compared and ordered byte by byte.
type key struct{ p *string }

func (v key) Value() (driver.Value, error) { return *v.p, nil }

func (v key) Scan(src any) (err error) {
	*v.p, err = asText(src)
	return err
}

// A text is any other string.
type text[T ~string] struct{ p *T }

func (v text[T]) Value() (driver.Value, error) { return escape(string(*v.p)), nil }

func (v text[T]) Scan(src any) error {
	s, err := asText(src)
	if err != nil {
		return err
	}
	s, err = unescape(s)
	*v.p = T(s)
	return err
}

// What providers say is not always text: a refusal of PostgreSQL to take a
// zero byte in the name of a subject must not cost the tokens it came with.
const escaped = `\base64:`

func escape(s string) string {
	if utf8.ValidString(s) && !strings.Contains(s, "\x00") && !strings.HasPrefix(s, escaped) {
		return s
	}
	return escaped + base64.RawStdEncoding.EncodeToString([]byte(s))
}

func unescape(s string) (string, error) {
	code, ok := strings.CutPrefix(s, escaped)
	if !ok {
		return s, nil
	}
	b, err := base64.RawStdEncoding.DecodeString(code)
	if err != nil {
		return "", errColumn
	}
	return string(b), nil
}

// A secret is kept as bytes.
type secret struct {
	d *dialect
	p *authprofile.Secret
}

func (v secret) Value() (driver.Value, error) { return []byte(string(*v.p)), nil }

func (v secret) Scan(src any) error {
	s, err := v.d.bytes(src)
	*v.p = authprofile.Secret(s)
	return err
}

// A list is kept as a JSON array, in its order.
type list struct{ p *[]string }

func (v list) Value() (driver.Value, error) {
	l := make([]string, len(*v.p))
	for i, s := range *v.p {
		l[i] = escape(s)
	}
	b, err := marshal(l)
	return string(b), err
}

func (v list) Scan(src any) error {
	*v.p = nil
	if err := unmarshal(src, v.p); err != nil {
		return err
	}
	return unescapeAll(*v.p)
}

func unescapeAll(l []string) (err error) {
	for i := range l {
		if l[i], err = unescape(l[i]); err != nil {
			return err
		}
	}
	return nil
}

// A params is kept as a JSON object of arrays.
type params struct{ p *url.Values }

func (v params) Value() (driver.Value, error) {
	m := make(map[string][]string, len(*v.p))
	for name, values := range *v.p {
		l := make([]string, len(values))
		for i, s := range values {
			l[i] = escape(s)
		}
		m[escape(name)] = l
	}
	b, err := marshal(m)
	return string(b), err
}

func (v params) Scan(src any) error {
	var m map[string][]string
	if err := unmarshal(src, &m); err != nil {
		return err
	}
	*v.p = nil
	for name, l := range m {
		name, err := unescape(name)
		if err != nil {
			return err
		}
		if err := unescapeAll(l); err != nil {
			return err
		}
		if *v.p == nil {
			*v.p = make(url.Values, len(m))
		}
		(*v.p)[name] = l
	}
	return nil
}

// An extra is kept as a JSON object, and as bytes: its values are secrets.
type extra struct {
	d *dialect
	p *map[string]authprofile.Secret
}

func (v extra) Value() (driver.Value, error) {
	m := make(map[string]string, len(*v.p))
	for name, s := range *v.p {
		m[escape(name)] = escape(string(s))
	}
	b, err := marshal(m)
	return b, err
}

func (v extra) Scan(src any) error {
	s, err := v.d.bytes(src)
	if err != nil {
		return err
	}
	var m map[string]string
	if err := unmarshal(s, &m); err != nil {
		return err
	}
	*v.p = nil
	for name, s := range m {
		name, err := unescape(name)
		if err != nil {
			return err
		}
		if s, err = unescape(s); err != nil {
			return err
		}
		if *v.p == nil {
			*v.p = make(map[string]authprofile.Secret, len(m))
		}
		(*v.p)[name] = authprofile.Secret(s)
	}
	return nil
}

// marshal leaves characters that matter in HTML alone: these are read by
// people.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

func unmarshal(src, v any) error {
	s, err := asText(src)
	if err != nil {
		return err
	}
	if json.Unmarshal([]byte(s), v) != nil { // whose error may quote it
		return errColumn
	}
	return nil
}

type number[T ~int | ~int64] struct{ p *T }

func (v number[T]) Value() (driver.Value, error) { return int64(*v.p), nil }

func (v number[T]) Scan(src any) error {
	var n sql.NullInt64
	if n.Scan(src) != nil || !n.Valid {
		return errColumn
	}
	*v.p = T(n.Int64)
	return nil
}

func duration(p *time.Duration) value { return number[time.Duration]{p} }

type boolean struct{ p *bool }

func (v boolean) Value() (driver.Value, error) { return *v.p, nil }

func (v boolean) Scan(src any) error {
	var b sql.NullBool
	if b.Scan(src) != nil || !b.Valid {
		return errColumn
	}
	*v.p = b.Bool
	return nil
}

// A when is a time in UTC, to the millisecond; the zero time is NULL.
type when struct {
	d *dialect
	p *time.Time
}

// What databases and people can write. Whatever lies beyond is as far away as
// makes no difference.
var (
	firstTime = time.Date(1, 1, 1, 0, 0, 0, 1e6, time.UTC)
	lastTime  = time.Date(9999, 12, 31, 23, 59, 59, 999e6, time.UTC)
)

func (v when) Value() (driver.Value, error) {
	if v.p.IsZero() {
		return nil, nil
	}
	t := v.p.UTC().Truncate(time.Millisecond)
	if t.After(lastTime) {
		t = lastTime
	} else if t.Before(firstTime) {
		t = firstTime
	}
	if v.d.timeValue {
		return t, nil
	}
	return t.Format(v.d.timeLayout), nil
}

func (v when) Scan(src any) error {
	if src == nil {
		*v.p = time.Time{}
		return nil
	}
	if v.d.millis {
		var ms int64
		if err := (number[int64]{&ms}).Scan(src); err != nil {
			return err
		}
		if ms < firstTime.UnixMilli() || ms > lastTime.UnixMilli() {
			return errColumn
		}
		*v.p = time.UnixMilli(ms).UTC()
		return nil
	}
	if t, ok := src.(time.Time); ok {
		*v.p = t.UTC()
		return nil
	}
	s, err := asText(src)
	if err != nil {
		return err
	}
	t, err := time.Parse(v.d.timeLayout, s)
	if err != nil {
		return errColumn
	}
	*v.p = t.UTC()
	return nil
}

// An optional is NULL unless has is set, and reading anything else sets it.
type optional struct {
	has *bool
	value
}

func (v optional) Value() (driver.Value, error) {
	if !*v.has {
		return nil, nil
	}
	return v.value.Value()
}

func (v optional) Scan(src any) error {
	if src == nil {
		return nil
	}
	*v.has = true
	return v.value.Scan(src)
}

// A sparse is NULL in place of what stands for nothing. It is for columns that
// were added to tables in use: they are NULL in all rows that were there, and in
// those that replicas insert which do not know them.
type sparse struct {
	nothing driver.Value // of bytes: a string of them, since bytes cannot be compared
	value
}

func (v sparse) Value() (driver.Value, error) {
	x, err := v.value.Value()
	is := x
	if b, ok := x.([]byte); ok {
		is = string(b)
	}
	if is == v.nothing {
		return nil, err
	}
	return x, err
}

func (v sparse) Scan(src any) error {
	if src == nil {
		return nil
	}
	return v.value.Scan(src)
}
