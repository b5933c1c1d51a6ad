package tokenendpoint

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Limits of what is taken from an answer. Real answers are far below them.
const (
	maxMembers  = 1000
	maxDepth    = 32
	maxToken    = 64 << 10
	maxScopes   = 16 << 10
	maxExtra    = 4 << 10
	maxLifetime = 10 * 365 * 24 * time.Hour
)

// An Answer is what a token endpoint granted.
type Answer struct {
	AccessToken  string
	RefreshToken string // empty: the answer has none, and the old one stays
	TokenType    string // "Bearer"
	IDToken      string // not verified

	Scopes     []string // granted
	ScopeKnown bool     // false: the answer does not say, which means as requested

	HTTPStatus int

	// Start is when the request began: what Lifetime is counted from, so that
	// a slow answer does not make a token seem to last longer than it does.
	Start time.Time

	// Lifetime is that of the access token, at most ten years. Zero, if it is
	// known: the token has ended already, as a negative expires_in says.
	Lifetime      time.Duration
	LifetimeKnown bool // false: what says it is missing, unreadable or 0

	// RefreshLifetime is that of the refresh token. Zero: not known.
	RefreshLifetime time.Duration

	// Extra has what Habits.Keep names, and then the members that no standard
	// has, in the order of their names: strings as they came, all else as JSON.
	// It holds 4 KiB; what does not fit is left out.
	Extra map[string]string
}

// Format writes nothing of a, whatever the verb: all of it may be secret.
func (a Answer) Format(f fmt.State, verb rune) { io.WriteString(f, "Answer{[redacted]}") }

// Why an answer of success cannot be used.
var (
	errNotObject   = errors.New("the answer is not a JSON object")
	errMalformed   = errors.New("the answer is not well-formed JSON")
	errTrailing    = errors.New("something follows the JSON object of the answer")
	errDuplicate   = errors.New("the answer has a member twice")
	errMembers     = errors.New("the answer has too many members")
	errDepth       = errors.New("the answer is nested too deeply")
	errBadForm     = errors.New("the answer is not a well-formed form")
	errNoAccess    = errors.New("the answer has no access_token")
	errBadAccess   = errors.New("the answer's access_token has a character that no token may have, or is too long")
	errTokenType   = errors.New("the answer's token_type is not bearer")
	errNotReported = errors.New("the answer says that it failed, but not why")
)

// content is what an answer says. Its parts do not depend on each other: the
// fields that could be read are set, even if problem says that the answer as a
// whole is of no use.
type content struct {
	Answer
	problem error // why there is no usable access token
	object  bool  // it began as a JSON object

	failed            bool // there is an error member, or "ok" is false
	code, description string
	found             []string // the codes at Habits.ErrorPaths, cleaned
}

// parse reads an answer: one JSON object, whatever the content type says
// (RFC 6749, section 5.1), or, if the content type says so, a form, as GitHub
// and Facebook have sent.
//
// Once a new refresh token was issued, the one before it may be of no use. So
// parse looks for it separately, even in a body that is not valid JSON. It gives
// up only a token that is ambiguous, not text, or longer than 64 KiB. Since it
// will be sent in a form, it may have characters outside ASCII, though no
// standard allows them.
//
// The times of the answer are counted from start, when its request began.
func parse(body []byte, contentType string, h Habits, start time.Time) *content {
	c := new(content)
	body = trim(body)

	var members map[string]json.RawMessage
	switch mediaType, _, _ := strings.Cut(contentType, ";"); {
	case len(body) > 0 && body[0] == '{':
		c.object = true
		members, c.problem = parseObject(body)
		c.RefreshToken = findRefreshToken(body, nil)
	case isMediaType(mediaType, "application/x-www-form-urlencoded"),
		isMediaType(mediaType, "text/plain") && likeForm(body):
		members, c.RefreshToken, c.problem = parseForm(string(body))
	default:
		c.problem = errNotObject
	}

	c.readError(members, h.ErrorPaths)
	tokens, holder := members, ""
	if h.TokenPath != "" && c.object && !mayHaveAccessToken(body) {
		path := strings.Split(h.TokenPath, ".")
		tokens, holder = c.readTokenPath(members, h.TokenPath), path[0]
		c.RefreshToken = cmp.Or(findRefreshToken(body, path), c.RefreshToken)
	}
	c.readAnswer(tokens, &h, start)
	c.Extra = readExtra(members, h.Keep, holder)
	return c
}

// trim returns a body without what may stand before a JSON text.
func trim(body []byte) []byte {
	body = bytes.TrimLeft(body, " \t\r\n")
	body = bytes.TrimPrefix(body, []byte("\ufeff"))
	return bytes.TrimLeft(body, " \t\r\n")
}

// readTokenPath returns the members of the object with the tokens.
func (c *content) readTokenPath(members map[string]json.RawMessage, path string) map[string]json.RawMessage {
	raw := first(members, path)
	if list := elements(raw, 1); len(list) > 0 {
		raw = list[0]
	}
	if len(raw) == 0 || raw[0] != '{' {
		return nil
	}
	tokens, problem := parseObject(raw)
	if c.problem == nil {
		c.problem = problem
	}
	return tokens
}

func isMediaType(s, want string) bool { return strings.EqualFold(strings.TrimSpace(s), want) }

// likeForm reports whether a text looks like a form with one of the members that
// an answer must have.
func likeForm(body []byte) bool {
	for pair := range bytes.SplitSeq(body, []byte("&")) {
		if bytes.HasPrefix(pair, []byte("access_token=")) || bytes.HasPrefix(pair, []byte("error=")) {
			return true
		}
	}
	return false
}

// readError fills in what the answer says about a failure. Some providers say
// it with status 200: GitHub, and Slack with "ok".
func (c *content) readError(members map[string]json.RawMessage, paths []string) {
	for _, path := range paths {
		c.found = append(c.found, readCodes(members, path)...)
	}
	failed := !absent(members, "error") && string(members["error"]) != "false"
	c.failed = failed || string(members["ok"]) == "false"
	if !failed {
		return
	}
	c.code, _ = text(members, "error")
	c.description, _ = text(members, "error_description")
}

// standard are the members that have a field of their own.
var standard = []string{
	"access_token", "refresh_token", "token_type", "id_token", "scope",
	"expires_in", "refresh_expires_in", "refresh_token_expires_in", "x_refresh_token_expires_in",
	"error", "error_description", "error_uri",
}

// bearerTypes are the token types that are sent as Bearer, in lower case. All
// but the first are habits of some providers, which say whose token it is, or
// how it was obtained, where the standard wants to know how it is used.
//
// They are listed one by one, as no rule tells such a habit from another scheme:
// a client must not use a token of a type that it does not know (RFC 6749,
// section 7.1), and the types of tokens that are bound to a key are spelt as
// freely.
var bearerTypes = []string{
	"bearer",
	"bearertoken",        // Apigee
	"bot", "user", "app", // Slack
	"user access token", "application access token", // eBay
	"jwt-bearer", // after the grant type of RFC 7523
}

// readAnswer fills in what the members of the object with the tokens grant.
func (c *content) readAnswer(members map[string]json.RawMessage, h *Habits, start time.Time) {
	problem := func(err error) {
		if c.problem == nil {
			c.problem = err
		}
	}

	switch s, ok := text(members, "access_token"); {
	case !ok || s == "":
		problem(errNoAccess)
	case !validAccessToken(s):
		problem(errBadAccess)
	default:
		c.AccessToken = s
	}

	c.TokenType = "Bearer"
	if !absent(members, "token_type") {
		if s, _ := text(members, "token_type"); !slices.Contains(bearerTypes, strings.ToLower(strings.TrimSpace(s))) {
			problem(errTokenType)
		}
	}

	c.IDToken, _ = text(members, "id_token")
	c.Scopes, c.ScopeKnown = readScopes(first(members, h.ScopeMember), h.ScopeSeparator)
	if !c.ScopeKnown {
		c.Scopes, c.ScopeKnown = readScopes(members["scope"], h.ScopeSeparator)
	}
	c.Lifetime, c.LifetimeKnown = h.readLifetime(members, c.AccessToken, start)
	for _, name := range []string{"refresh_expires_in", "refresh_token_expires_in", "x_refresh_token_expires_in"} {
		if d, _ := readSeconds(members[name], 1); d > 0 {
			c.RefreshLifetime = d
			break
		}
	}
}

// validAccessToken reports whether an Authorization header can carry an access
// token: it consists of VSCHAR (RFC 6749, appendix A.12) without the space,
// which would end it there (RFC 6750, section 2.1).
func validAccessToken(s string) bool {
	for _, c := range []byte(s) {
		if c <= ' ' || c > '~' {
			return false
		}
	}
	return s != "" && len(s) <= maxToken
}

func validRefreshToken(s string) bool {
	if s == "" || len(s) > maxToken || !utf8.ValidString(s) {
		return false
	}
	// U+FFFD takes the place of bytes that were not text, and are lost.
	return !strings.ContainsFunc(s, func(r rune) bool { return unicode.IsControl(r) || r == utf8.RuneError })
}

// readScopes reads a list with spaces (RFC 6749, section 3.3), with commas, as
// Slack and Linear send it, or a JSON array. An empty list is known: nothing
// was granted. The separator is that of Habits.
func readScopes(raw json.RawMessage, separator string) (scopes []string, known bool) {
	separator = strings.TrimSpace(separator)
	split := strings.Fields
	if separator != "" {
		split = func(s string) []string {
			return strings.FieldsFunc(s, func(r rune) bool { return unicode.IsSpace(r) || strings.ContainsRune(separator, r) })
		}
	}
	var list []string
	switch {
	case len(raw) > 0 && raw[0] == '"':
		var s string
		if json.Unmarshal(raw, &s) != nil {
			return nil, false
		}
		if separator == "" && strings.Contains(s, ",") && !strings.ContainsAny(s, " \t\r\n") {
			list = strings.Split(s, ",")
		} else {
			list = split(s)
		}
	case len(raw) > 0 && raw[0] == '[':
		dec := json.NewDecoder(bytes.NewReader(raw))
		dec.Token()
		for n := 0; n < maxMembers && dec.More(); n++ {
			var value json.RawMessage
			if dec.Decode(&value) != nil {
				return nil, false
			}
			var s string
			if json.Unmarshal(value, &s) == nil {
				list = append(list, split(s)...)
			}
		}
	default:
		return nil, false
	}

	seen := make(map[string]bool)
	size := 0
	for _, s := range list {
		if !ValidScope(s) || seen[s] {
			continue
		}
		if size += len(s) + 1; size > maxScopes {
			break
		}
		seen[s] = true
		scopes = append(scopes, s)
	}
	return scopes, true
}

// ValidScope reports whether s is one scope (RFC 6749, appendix A.4).
func ValidScope(s string) bool {
	for _, c := range []byte(s) {
		if c <= ' ' || c > '~' || c == '"' || c == '\\' {
			return false
		}
	}
	return s != ""
}

// readExtra returns what is kept of the members of an answer: what stands at the
// paths to keep, and then the members that no standard has, in the order of
// their names, but for the holder of the tokens.
func readExtra(members map[string]json.RawMessage, keep []string, holder string) map[string]string {
	var extra map[string]string
	size := 0
	add := func(name string, raw json.RawMessage) {
		if _, ok := extra[name]; ok || slices.Contains(standard, name) {
			return
		}
		value, ok := unquoted(raw)
		if !ok {
			var b bytes.Buffer
			if json.Compact(&b, raw) != nil {
				return
			}
			value = b.String()
		}
		if size+len(name)+len(value) > maxExtra {
			return
		}
		size += len(name) + len(value)
		if extra == nil {
			extra = make(map[string]string)
		}
		extra[name] = value
	}
	for _, path := range keep {
		if raw := first(members, path); string(raw) != "null" {
			add(path, raw)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(members)) {
		if name != holder {
			add(name, members[name])
		}
	}
	return extra
}
