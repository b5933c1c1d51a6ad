package tokenendpoint

import (
	"bytes"
	"encoding/json"
	"io"
	"iter"
	"net/url"
	"slices"
	"strings"
)

// parseObject returns the members of one JSON object. With an error it returns
// those that could be read. A member that occurs twice with different values is
// left out.
func parseObject(body []byte) (map[string]json.RawMessage, error) {
	members := make(map[string]json.RawMessage)
	var ambiguous []string
	defer func() {
		for _, name := range ambiguous {
			delete(members, name)
		}
	}()

	dec := json.NewDecoder(bytes.NewReader(body))
	if _, err := dec.Token(); err != nil {
		return members, errMalformed
	}
	var problem error
	for n := 0; dec.More(); n++ {
		if n == maxMembers {
			return members, errMembers
		}
		token, err := dec.Token()
		name, ok := token.(string)
		if err != nil || !ok {
			return members, errMalformed
		}
		var value json.RawMessage
		if dec.Decode(&value) != nil {
			return members, errMalformed
		}
		old, twice := members[name]
		switch {
		case twice:
			problem = errDuplicate
			if !bytes.Equal(old, value) {
				ambiguous = append(ambiguous, name)
			}
		case tooDeep(value):
			problem = errDepth
		default:
			members[name] = value
		}
	}
	if _, err := dec.Token(); err != nil {
		return members, errMalformed
	}
	if _, err := dec.Token(); err != io.EOF {
		return members, errTrailing
	}
	return members, problem
}

// tooDeep reports whether a JSON value, one level below the top, is nested
// more deeply than an answer may be.
func tooDeep(value []byte) bool {
	depth := 1
	for i := 0; i < len(value); i++ {
		switch value[i] {
		case '"':
			i = stringEnd(value, i)
		case '{', '[':
			if depth++; depth > maxDepth {
				return true
			}
		case '}', ']':
			depth--
		}
	}
	return false
}

// stringEnd returns where the JSON string that begins at i ends: the index of
// its closing quote, or len(text).
func stringEnd(text []byte, i int) int {
	for i++; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case '"':
			return i
		}
	}
	return len(text)
}

// findRefreshToken returns the refresh_token of an object that need not be valid
// JSON, or of the object at a path in it. It goes by quotes and brackets alone.
func findRefreshToken(text []byte, path []string) (found string) {
	if !addRefreshToken(&found, text, path) {
		return ""
	}
	return found
}

// addRefreshToken looks for refresh tokens. It reports false if it finds another
// one than was found.
func addRefreshToken(found *string, text []byte, path []string) bool {
	if len(path) > 0 {
		for i := range findMembers(text, path[0]) {
			if !addRefreshToken(found, startOfObject(text[i:]), path[1:]) {
				return false
			}
		}
		return true
	}
	for i := range findMembers(text, "refresh_token") {
		if text[i] != '"' {
			continue
		}
		s, ok := unquote(text, i, stringEnd(text, i))
		if !ok || !validRefreshToken(s) {
			continue
		}
		if *found != "" && *found != s {
			return false
		}
		*found = s
	}
	return true
}

// startOfObject returns what follows where a value begins that is an object, or
// an array whose first element is one.
func startOfObject(text []byte) []byte {
	if text[0] == '[' {
		text = bytes.TrimLeft(text[1:], " \t\r\n")
	}
	if len(text) == 0 || text[0] != '{' {
		return nil
	}
	return text
}

// mayHaveAccessToken reports whether an object that need not be valid JSON has an
// access_token at its top, or breaks off before there is one.
func mayHaveAccessToken(text []byte) bool {
	for i := range findMembers(text, "access_token") {
		if rest := text[i:]; !bytes.HasPrefix(rest, []byte("null")) && !bytes.HasPrefix(rest, []byte(`""`)) {
			return true
		}
	}
	return !closes(text)
}

// closes reports whether the first bracket of a text is closed in it.
func closes(text []byte) bool {
	depth := 0
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '"':
			i = stringEnd(text, i)
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth <= 0 {
				return true
			}
		}
	}
	return false
}

// findMembers goes through the places where the values begin of all members of a
// name, of an object that need not be valid JSON.
func findMembers(text []byte, name string) iter.Seq[int] {
	return func(yield func(int) bool) {
		depth := 0
		key := false // the last token is the name, at the top
		for i := 0; i < len(text); i++ {
			switch c := text[i]; c {
			case ' ', '\t', '\r', '\n':
				continue
			case '{', '[':
				depth++
			case '}', ']':
				if depth--; depth == 0 {
					return // what follows is not the answer
				}
			case ':':
				if !key {
					continue
				}
				for i+1 < len(text) && strings.IndexByte(" \t\r\n", text[i+1]) >= 0 {
					i++
				}
				if i+1 == len(text) || !yield(i+1) {
					return
				}
			case '"':
				start := i
				i = stringEnd(text, start)
				if depth == 1 && isName(text[start:min(i+1, len(text))], name) {
					key = true
					continue
				}
			}
			key = false
		}
	}
}

// isName reports whether a JSON string is a name, which may be spelt with
// escapes.
func isName(quoted []byte, name string) bool {
	plain, longest := len(name)+len(`""`), len(name)*len(`\u0000`)+len(`""`)
	if len(quoted) <= plain || len(quoted) > longest {
		return len(quoted) == plain && quoted[plain-1] == '"' && string(quoted[1:plain-1]) == name
	}
	s, ok := unquote(quoted, 0, len(quoted)-1)
	return ok && s == name
}

// unquote decodes the JSON string from the quote at start to the one at end.
func unquote(text []byte, start, end int) (s string, ok bool) {
	if end >= len(text) {
		return "", false
	}
	err := json.Unmarshal(text[start:end+1], &s)
	return s, err == nil
}

// parseForm is parseObject and findRefreshToken for a form.
func parseForm(body string) (members map[string]json.RawMessage, refreshToken string, problem error) {
	members = make(map[string]json.RawMessage)
	var ambiguous []string
	var refreshTokens []string
	n := 0
	for pair := range strings.SplitSeq(strings.TrimRight(body, " \t\r\n"), "&") {
		if pair == "" {
			continue
		}
		name, value, _ := strings.Cut(pair, "=")
		name, err1 := url.QueryUnescape(name)
		value, err2 := url.QueryUnescape(value)
		if err1 != nil || err2 != nil {
			problem = errBadForm
			continue
		}
		if name == "refresh_token" && validRefreshToken(value) && !slices.Contains(refreshTokens, value) && len(refreshTokens) < 2 {
			refreshTokens = append(refreshTokens, value)
		}
		if n++; n > maxMembers {
			problem = errMembers
			continue
		}
		text, _ := json.Marshal(value) // a string always has a JSON
		if old, twice := members[name]; twice {
			problem = errDuplicate
			if !bytes.Equal(old, text) {
				ambiguous = append(ambiguous, name)
			}
			continue
		}
		members[name] = text
	}
	for _, name := range ambiguous {
		delete(members, name)
	}
	if len(refreshTokens) == 1 {
		refreshToken = refreshTokens[0]
	}
	return members, refreshToken, problem
}

// text returns a member that is a string.
func text(members map[string]json.RawMessage, name string) (s string, ok bool) {
	return unquoted(members[name])
}

// unquoted decodes a value that is a string.
func unquoted(raw json.RawMessage) (s string, ok bool) {
	if len(raw) == 0 || raw[0] != '"' {
		return "", false
	}
	err := json.Unmarshal(raw, &s)
	return s, err == nil
}

// absent reports whether a member is missing, null or an empty string.
func absent(members map[string]json.RawMessage, name string) bool {
	switch string(members[name]) {
	case "", "null", `""`:
		return true
	}
	return false
}
