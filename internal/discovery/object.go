package discovery

import (
	"bytes"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"unicode/utf8"
)

// An Object is a JSON object, its members not yet read. A member that stands in
// it twice is nil, and cannot be read: two readers could take a different one
// for true.
type Object map[string]json.RawMessage

// ParseObject reads exactly one object.
func ParseObject(data []byte) (Object, error) {
	switch {
	case bytes.HasPrefix(data, []byte("\xef\xbb\xbf")):
		return nil, errors.New("begins with a byte order mark, which JSON does not have")
	case bytes.HasPrefix(bytes.TrimSpace(data), []byte("<")): // as of a gateway that wants a login
		return nil, errors.New("is not JSON, but a page in HTML or XML")
	case !utf8.Valid(data) || !json.Valid(data):
		return nil, errors.New("is not JSON")
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return nil, errors.New("is not a JSON object")
	}
	o := make(Object)
	for dec.More() {
		t, err := dec.Token()
		name, ok := t.(string)
		var value json.RawMessage
		if err != nil || !ok || dec.Decode(&value) != nil {
			return nil, errors.New("is not JSON")
		}
		if _, twice := o[name]; twice {
			value = nil
		}
		o[name] = value
	}
	return o, nil
}

// Has reports whether there is a member of that name, and more than null.
func (o Object) Has(name string) bool {
	value, ok := o[name]
	return ok && string(value) != "null"
}

// wrong says what is wrong with a member.
func (o Object) wrong(name, problem string) error {
	if o[name] == nil {
		problem = "is there twice"
	}
	return errors.New(name + " " + problem)
}

// Text reads a member that, if there is one, is a string.
func (o Object) Text(name string) (s string, err error) {
	if o.Has(name) && json.Unmarshal(o[name], &s) != nil {
		return "", o.wrong(name, "is not a string")
	}
	return s, nil
}

// Object reads a member that, if there is one, is an object.
func (o Object) Object(name string) (Object, error) {
	if !o.Has(name) {
		return nil, nil
	}
	if object, err := ParseObject(o[name]); err == nil {
		return object, nil
	}
	return nil, o.wrong(name, "is not an object")
}

// List reads a member that, if there is one, is a list of strings.
func (o Object) List(name string) (list []string, err error) {
	if !o.Has(name) {
		return nil, nil
	}
	var elements []any
	if json.Unmarshal(o[name], &elements) != nil {
		return nil, o.wrong(name, "is not a list")
	}
	for _, e := range elements {
		s, ok := e.(string)
		if !ok {
			return nil, errors.New(name + " has an element that is not a string")
		}
		list = append(list, s)
	}
	return list, nil
}

// advice returns the strings of a member that is a list, and none of any other.
func (o Object) advice(name string) (list []string) {
	var elements []any
	if json.Unmarshal(o[name], &elements) != nil {
		return nil
	}
	for _, e := range elements {
		if s, ok := e.(string); ok {
			list = append(list, s)
		}
	}
	return list
}

// promised reads a member that announces a protection: whatever is not a plain
// no is taken for a yes, so that no misspelling of a provider's, such as
// "true" for true, takes the protection away.
func (o Object) promised(name string) bool {
	if !o.Has(name) {
		return false
	}
	switch strings.ToLower(strings.Trim(string(o[name]), `"`)) {
	case "false", "no", "0", "":
		return o[name] == nil // twice
	}
	return true
}

// Number reads a member that, if there is one, is a number.
func (o Object) Number(name string) (n float64, err error) {
	if !o.Has(name) {
		return 0, nil
	}
	n, err = strconv.ParseFloat(string(o[name]), 64)
	if err != nil {
		return 0, o.wrong(name, "is not a number")
	}
	return n, nil
}
