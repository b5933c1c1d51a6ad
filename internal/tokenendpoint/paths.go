package tokenendpoint

import (
	"bytes"
	"encoding/json"
	"strings"

	"github.com/authprofile/authprofile/internal/safetext"
)

// maxCodes is how many of the error codes at one path are looked at.
const maxCodes = 16

// TextAt returns the text at a path of Habits in a JSON object, or in an array,
// of whose elements "[].name" is a path: of the first that has one, a string, or the
// JSON of another value. Empty: there is none.
func TextAt(body []byte, path string) string {
	body = bytes.TrimSpace(body)
	members := map[string]json.RawMessage{"": body}
	if len(body) > 0 && body[0] == '{' {
		members, _ = parseObject(body)
	}
	for _, raw := range atPath(members, path) {
		if s, quoted := unquoted(raw); quoted {
			return s
		}
		if s := string(raw); s != "null" {
			return s
		}
	}
	return ""
}

// first returns the first value at a path of Habits, nil if there is none.
func first(members map[string]json.RawMessage, path string) json.RawMessage {
	if path == "" {
		return nil
	}
	for _, raw := range atPath(members, path) {
		return raw
	}
	return nil
}

// atPath returns the values at a path of Habits, at most maxCodes of each array.
func atPath(members map[string]json.RawMessage, path string) []json.RawMessage {
	name, rest, further := strings.Cut(path, ".")
	name, each := strings.CutSuffix(name, "[]")
	raw, ok := members[name]
	if !ok {
		return nil
	}
	values := []json.RawMessage{raw}
	switch {
	case each:
		values = elements(raw, maxCodes)
	case further && raw[0] == '[':
		values = elements(raw, 1)
	}
	if !further {
		return values
	}
	var list []json.RawMessage
	for _, raw := range values {
		if raw[0] == '{' {
			members, _ := parseObject(raw)
			list = append(list, atPath(members, rest)...)
		}
	}
	return list
}

// elements returns the first elements of a value that is an array.
func elements(raw json.RawMessage, limit int) []json.RawMessage {
	if len(raw) == 0 || raw[0] != '[' {
		return nil
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.Token()
	var list []json.RawMessage
	for len(list) < limit && dec.More() {
		var value json.RawMessage
		if dec.Decode(&value) != nil {
			break
		}
		list = append(list, value)
	}
	return list
}

// readCodes returns the error codes at a path, cleaned.
func readCodes(members map[string]json.RawMessage, path string) []string {
	var list []string
	for _, raw := range atPath(members, path) {
		s, quoted := unquoted(raw)
		if f, number := readNumber(raw); number && f == 0 {
			continue // "no error"
		} else if number && !quoted {
			s = string(raw)
		}
		if s = safetext.Code(s, safetext.LeaveOut); s != "" {
			list = append(list, s)
		}
	}
	return list
}
