package tokenendpoint

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/authprofile/authprofile/internal/safetext"
)

// problems are all texts that an error about an answer may have.
var problems = []error{
	nil, errNotObject, errMalformed, errTrailing, errDuplicate, errMembers, errDepth,
	errBadForm, errNoAccess, errBadAccess, errTokenType, errNotReported, errRedirect,
	ErrBodyTooLarge, io.ErrUnexpectedEOF,
}

// odd has every habit that matters for an answer.
var odd = &Habits{
	TokenPath: "data", Keep: []string{"team.id", "data.id", "refresh_token", "list[].a"},
	ExpiryMember: "ends", ExpiryFormat: "jwt", ScopeMember: "perms", ScopeSeparator: ",",
	ErrorPaths: []string{"error.code", "error_codes[]", "code"},
	Errors:     map[string]Class{"190": InvalidGrant, "400 x": Interaction, "invalid_grant": Refused},
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(usable), asJSON, 200)
	f.Add([]byte(`{"data":[`+usable+`],"team":{"id":7},"x":NaN}`), asJSON, 200)
	f.Add([]byte(`{"data":{"access_token":"h.eyJleHAiOjE3OTU2OTgwMDB9.s","perms":"a, b"},"list":[{"a":1}]}`), asJSON, 200)
	f.Add([]byte(`{"error":{"code":190},"error_codes":["x",2]}`), asJSON, 400)
	f.Fuzz(func(t *testing.T, body []byte, contentType string, status int) {
		if len(body) > MaxBody {
			return // read gives no more
		}
		for _, readErr := range []error{nil, io.ErrUnexpectedEOF, ErrBodyTooLarge} {
			for _, h := range []*Habits{nil, odd} {
				checkAnswer(t, body, contentType, status, readErr, h)
			}
		}
		checkRefreshToken(t, body, contentType)

		// A refresh token is found whatever follows it, and whatever valid
		// text goes before it, unless there is another one.
		if !bytes.Contains(body, []byte("refresh_toke")) && !bytes.Contains(body, []byte(`\u`)) {
			kept := func(doc string, contentType string) {
				if got := parse([]byte(doc), contentType, Habits{}, time.Time{}).RefreshToken; got != "rt-planted" {
					t.Errorf("got refresh token %q of %q, want the planted one", got, doc)
				}
			}
			kept(`{"refresh_token":"rt-planted",`+string(body), contentType)
			kept(`{"refresh_token" : "rt-planted"`+string(body), contentType)
			if !bytes.Contains(body, []byte("%")) {
				kept("refresh_token=rt-planted&"+string(body), asForm)
				if !parse(body, asForm, Habits{}, time.Time{}).object {
					kept(string(body)+"&refresh_token=rt-planted", asForm)
				}
			}
			if json.Valid(body) {
				kept(`{"x":`+string(body)+`,"refresh_token":"rt-planted","access_token":`+string(body)+`}`, contentType)
				doc := `{"x":` + string(body) + `,"data":[{"x":` + string(body) + `,"refresh_token":"rt-planted"}],}`
				if got := parse([]byte(doc), contentType, *odd, time.Time{}).RefreshToken; got != "rt-planted" {
					t.Errorf("got refresh token %q of %q, want the planted one", got, doc)
				}
			}
		}
	})
}

// checkAnswer checks that what any answer is read as is what callers rely on.
func checkAnswer(t *testing.T, body []byte, contentType string, status int, readErr error, h *Habits) {
	x := &exchange{
		endpoint: "token endpoint",
		request:  &Request{ClientSecret: "sentinel-secret", Habits: h},
		status:   status,
		header:   http.Header{"Content-Type": {contentType}, "Retry-After": {contentType}},
		body:     body,
		readErr:  readErr,
	}
	a, err := evaluate(x)
	if a != nil {
		if a.AccessToken != "" && !validAccessToken(a.AccessToken) || a.RefreshToken != "" && !validRefreshToken(a.RefreshToken) {
			t.Errorf("got tokens %q, %q, want such as can be sent", a.AccessToken, a.RefreshToken)
		}
		if a.Lifetime < 0 || a.Lifetime > maxLifetime || a.RefreshLifetime < 0 || a.RefreshLifetime > maxLifetime || !a.LifetimeKnown && a.Lifetime != 0 {
			t.Errorf("got lifetimes %v, %v, want them within bounds", a.Lifetime, a.RefreshLifetime)
		}
		size := 0
		for name, value := range a.Extra {
			if size += len(name) + len(value); size > maxExtra || slices.Contains(standard, name) {
				t.Errorf("got %d bytes of extra members with %q, want at most %d", size, name, maxExtra)
			}
		}
		for i, s := range a.Scopes {
			if !ValidScope(s) || slices.Contains(a.Scopes[:i], s) {
				t.Errorf("got scope %q, want a valid one, once", s)
			}
		}
	}
	if err == nil {
		if !x.success() || a == nil || a.AccessToken == "" || a.TokenType != "Bearer" {
			t.Errorf("got %v for status %d, want success only with a token", show(a), status)
		}
		return
	}
	if a != nil && (a.RefreshToken == "" || len(show(a)) != 1 || !x.success()) {
		t.Errorf("got %v with %v, want nothing but a refresh token", show(a), err)
	}
	if _, ok := classNames[err.Class]; !ok {
		t.Errorf("got %v, want a known class", err.Class)
	}
	if len(err.Code) > safetext.MaxCode || strings.ContainsFunc(err.Code, func(r rune) bool { return r < ' ' || r > '~' }) {
		t.Errorf("got code %q, want clean text", err.Code)
	}
	if len(err.Description) > safetext.MaxDescription || !printable(err.Description) {
		t.Errorf("got description %q, want clean text", err.Description)
	}
	for _, s := range []string{err.Code, err.Description} {
		if strings.Contains(s, "sentinel-secret") {
			t.Errorf("got %q, want the secret left out", s)
		}
	}
	if err.RetryAfter < 0 || err.RetryAfter > maxRetryAfter {
		t.Errorf("got retry after %v, want it within an hour", err.RetryAfter)
	}
	if !slices.Contains(problems, err.Err) {
		t.Errorf("got cause %v, want one of our own", err.Err)
	}
	want := fmt.Sprintf("token endpoint: %v", err.Class)
	if status != 0 {
		want += ": HTTP " + strconv.Itoa(status)
	}
	if err.Code != "" {
		want += fmt.Sprintf(" %q", err.Code)
	}
	if err.Err != nil {
		want += ": " + err.Err.Error()
	}
	if got := err.Error(); got != want {
		t.Errorf("got text %q, want %q: nothing but what is cleaned", got, want)
	}
}

// checkRefreshToken compares with a reader that is strict and slow.
func checkRefreshToken(t *testing.T, body []byte, contentType string) {
	want, ok := strictRefreshToken(body)
	if !ok {
		return
	}
	if got := parse(body, contentType, Habits{}, time.Time{}).RefreshToken; got != want {
		t.Errorf("got refresh token %q of %q, want %q", got, body, want)
	}
	// At a path the same body gives the same, whatever is beside it.
	for _, doc := range []string{
		`{"refresh_token":"rt-top","data":` + string(body) + `}`,
		`{"data":[` + string(body) + `,{"refresh_token":"rt-other"}],"refresh_token":"rt-top",NaN}`,
	} {
		want := cmp.Or(want, "rt-top")
		if got := parse([]byte(doc), contentType, *odd, time.Time{}).RefreshToken; got != want {
			t.Errorf("got refresh token %q of %q, want %q", got, doc, want)
		}
	}
	doc := `{"access_token":"at-1","data":` + string(body) + `}`
	if got := parse([]byte(doc), contentType, *odd, time.Time{}).RefreshToken; got != "" {
		t.Errorf("got refresh token %q of %q, want none: the tokens are at the top", got, doc)
	}
}

// strictRefreshToken returns the only valid refresh_token of a JSON object, or
// "". It reports false if body is not one, or is one that parse does not
// follow to its end.
func strictRefreshToken(body []byte) (string, bool) {
	dec := json.NewDecoder(bytes.NewReader(body))
	if open, err := dec.Token(); err != nil || open != json.Delim('{') || !json.Valid(body) {
		return "", false
	}
	var found []string
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return "", false
		}
		var value any
		if err := dec.Decode(&value); errors.As(err, new(*json.UnmarshalTypeError)) {
			continue // a number that no float64 holds
		} else if err != nil {
			return "", false
		}
		if s, _ := value.(string); name == "refresh_token" && validRefreshToken(s) && !slices.Contains(found, s) {
			found = append(found, s)
		}
	}
	if len(found) != 1 {
		return "", true
	}
	return found[0], true
}
