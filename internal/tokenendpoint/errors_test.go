package tokenendpoint

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"
)

func TestThreat070_084_087_088_Classification(t *testing.T) {
	code := func(s string) string { return fmt.Sprintf(`{"error":%q}`, s) }
	const html = "<html>sentinel</html>"
	for _, tt := range []struct {
		name, body string
		status     int
		want       Class
		code       string
	}{
		{"088 the grant is dead", code("invalid_grant"), 400, InvalidGrant, "invalid_grant"},
		{"088 with 401", code("invalid_grant"), 401, InvalidGrant, "invalid_grant"},
		{"088 with 403", code("invalid_grant"), 403, InvalidGrant, "invalid_grant"},
		{"070 with 200", code("invalid_grant"), 200, InvalidGrant, "invalid_grant"},
		{"088 with 503", code("invalid_grant"), 503, InvalidGrant, "invalid_grant"},
		{"088 with 302", code("invalid_grant"), 302, InvalidGrant, "invalid_grant"},
		{"088 Microsoft", `{"error":"invalid_grant","error_codes":[50076],"suberror":"basic_action"}`, 400, InvalidGrant, "invalid_grant"},
		{"088 Microsoft wants a person", `{"error":"interaction_required","error_codes":[50076]}`, 400, Interaction, "interaction_required"},
		{"088 consent", code("consent_required"), 400, Interaction, "consent_required"},
		{"088 login", code("login_required"), 401, Interaction, "login_required"},
		{"070 GitHub", code("bad_refresh_token"), 200, InvalidGrant, "bad_refresh_token"},
		{"070 GitHub's code", code("bad_verification_code"), 200, InvalidGrant, "bad_verification_code"},
		{"070 Slack", `{"ok":false,"error":"token_revoked"}`, 200, InvalidGrant, "token_revoked"},
		{"070 Slack, expired", `{"ok":false,"error":"token_expired"}`, 200, InvalidGrant, "token_expired"},
		{"070 Slack, something else", `{"ok":false,"error":"whatever"}`, 200, Refused, "whatever"},
		{"070 Slack, nothing else", `{"ok":false}`, 200, Refused, ""},
		{"070 although there is a token", `{"ok":false,"access_token":"at-1"}`, 200, Refused, ""},
		{"070 with a token", `{"error":"server_error","access_token":"at-1"}`, 200, Unavailable, "server_error"},
		{"070 an object", `{"error":{"code":190,"message":"sentinel"}}`, 200, Refused, ""},
		{"070 twice", `{"error":"invalid_grant","error":"slow_down"}`, 200, Unreadable, ""},
		{"087 the client is refused", code("invalid_client"), 401, Configuration, "invalid_client"},
		{"087 with 400", code("invalid_client"), 400, Configuration, "invalid_client"},
		{"087 without a code", "", 401, Configuration, ""},
		{"087 a page", html, 401, Configuration, ""},
		{"087 Spring", code("Unauthorized"), 401, Configuration, "Unauthorized"},
		{"088 401 with another code", code("whatever"), 401, Refused, "whatever"},
		{"087 not this client", code("unauthorized_client"), 400, Configuration, "unauthorized_client"},
		{"087 scope", code("invalid_scope"), 400, Configuration, "invalid_scope"},
		{"087 grant type", code("unsupported_grant_type"), 400, Configuration, "unsupported_grant_type"},
		{"087 no such page", html, 404, Configuration, ""},
		{"087 no such page, in JSON", code("not_found"), 404, Configuration, "not_found"},
		{"087 not by POST", "", 405, Configuration, ""},
		{"088 404 with a known code", code("invalid_request"), 404, Refused, "invalid_request"},
		{"088 dex, Hydra", code("invalid_request"), 400, Refused, "invalid_request"},
		{"088 synonyms are not guessed", code("failed: invalid_grant"), 400, Refused, "failed: invalid_grant"},
		{"088 nor is case", code("Invalid_Grant"), 400, Refused, "Invalid_Grant"},
		{"088 empty", "", 400, Refused, ""},
		{"088 an empty object", "{}", 403, Refused, ""},
		{"088 unknown code", code("whatever"), 400, Refused, "whatever"},
		{"088 a page", html, 403, Refused, ""},
		{"084 too many", "", 429, Unavailable, ""},
		{"084 too many, unknown code", code("whatever"), 429, Unavailable, "whatever"},
		{"084 too many, by a vague code", code("invalid_request"), 429, Unavailable, "invalid_request"},
		{"084 gateway", html, 502, Unavailable, ""},
		{"084 server error", code("server_error"), 500, Unavailable, "server_error"},
		{"084 vague server error", code("invalid_request"), 500, Unavailable, "invalid_request"},
		{"084 temporarily unavailable", code("temporarily_unavailable"), 400, Unavailable, "temporarily_unavailable"},
		{"084 slow down", code("slow_down"), 400, Unavailable, "slow_down"},
		{"084 took too long to ask", "", 408, Unavailable, ""},
		{"067 redirect", html, 302, Configuration, ""},
		{"067 not modified", "", 304, Configuration, ""},
		{"switching protocols", "", 101, Refused, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a, err := answered(tt.status, asJSON, tt.body)
			e := wantClass(t, err, tt.want)
			if a != nil || e.Code != tt.code || e.HTTPStatus != tt.status {
				t.Errorf("got %v, code %q, status %d, want no answer, %q, %d", show(a), e.Code, e.HTTPStatus, tt.code, tt.status)
			}
			if text := e.Error(); !strings.Contains(text, fmt.Sprint(tt.status)) || !strings.Contains(text, tt.code) || !strings.Contains(text, tt.want.String()) {
				t.Errorf("got %q, want class, status and code in it", text)
			}
		})
	}
}

// A refresh token that comes with a failure of status 200 is kept. One that
// comes with another status is not: there, "refresh_token" says what was wrong.
func TestSalvageGoesByStatus(t *testing.T) {
	const body = `{"error":"invalid_request","refresh_token":"is malformed"}`
	for status, want := range map[int]string{200: "is malformed", 201: "is malformed", 400: "", 500: "", 302: ""} {
		a, err := answered(status, asJSON, body)
		failed(t, err)
		if got := show(a)["refresh_token"]; got != want || len(show(a)) > 1 {
			t.Errorf("%d: got %v, want refresh token %q and nothing else", status, show(a), want)
		}
	}
}

func TestThreat016_017_HostileErrors(t *testing.T) {
	hostile := "<b>a\r\nSet-Cookie: x=y\x1b[31m\u202eright\u200b\u2066 \u0085\x00 é\xff\U0001f600"
	quoted := `"` + strings.NewReplacer("\r", `\r`, "\n", `\n`, "\x1b", `\u001b`, "\x00", `\u0000`).Replace(hostile) + `"`

	_, err := answered(400, asJSON, `{"error":`+quoted+`,"error_description":`+quoted+`}`)
	e := wantClass(t, err, Refused)
	if want := "<b>aSet-Cookie: x=y[31mright"; !strings.HasPrefix(e.Code, want) || len(e.Code) > 64 {
		t.Errorf("got code %q, want %q", e.Code, want)
	}
	if want := "<b>a Set-Cookie: x=y[31mright é\U0001f600"; e.Description != want {
		t.Errorf("got description %q, want %q", e.Description, want)
	}
	if strings.Contains(e.Error(), "é") {
		t.Errorf("got %q, want no description in the text", e.Error())
	}

	t.Run("016 1 MB", func(t *testing.T) {
		long := strings.Repeat("é", 1<<18)
		_, err := answered(400, asJSON, `{"error":"`+strings.Repeat("x", 1<<18)+`","error_description":"x`+long+`"}`)
		e := wantClass(t, err, Refused)
		if len(e.Code) != 64 || len(e.Description) != 255 || !utf8.ValidString(e.Description) || len(e.Error()) > 200 {
			t.Errorf("got %d and %d bytes, want 64, and 255 that end with a character", len(e.Code), len(e.Description))
		}
	})
	t.Run("017 error_uri", func(t *testing.T) {
		for _, uri := range []string{
			"https://auth.example/why?e=sentinel", "http://sentinel.example/", "javascript:sentinel()", "//sentinel.example/",
			"https://user:sentinel@auth.example/", `https://auth.example/\u0022sentinel`, `https://auth.example/\r\nsentinel`,
		} {
			_, err := answered(400, asJSON, `{"error":"x","error_uri":"`+uri+`"}`)
			if e := failed(t, err); e.Code != "x" || e.Description != "" { // looks for "sentinel"
				t.Errorf("got code %q, description %q, want x and none", e.Code, e.Description)
			}
		}
	})
}

// Some providers repeat in an error what they were sent.
func TestThreat135_WhatWasSentIsNotRepeated(t *testing.T) {
	srvBody := `{"error":"no such token: sentinel-refresh","error_description":"sentinel-refresh of client:sentinel-secret is\nunknown ` + strings.Repeat("sentinel-refresh", 100) + `"}`
	for _, status := range []int{200, 400, 503} {
		_, err := answered(status, asJSON, srvBody)
		e := failed(t, err) // looks for "sentinel"
		if want := "no such token: [redacted]"; e.Code != want {
			t.Errorf("got code %q, want %q", e.Code, want)
		}
		if want := "[redacted] of client:[redacted] is unknown [redacted]"; !strings.HasPrefix(e.Description, want) {
			t.Errorf("got description %q, want it to begin with %q", e.Description, want)
		}
	}
	t.Run("135 a secret that is a code", func(t *testing.T) {
		r := request("")
		r.ClientSecret = "invalid_grant"
		_, err := evaluate(&exchange{status: 400, request: r, body: []byte(`{"error":"invalid_grant"}`)})
		if err.Class != InvalidGrant || err.Code != "invalid_grant" {
			t.Errorf("got %v, want invalid_grant", err)
		}
	})
	t.Run("135 every kind", func(t *testing.T) {
		for _, name := range []string{"code", "code_verifier", "refresh_token", "token", "password", "client_assertion"} {
			r := &Request{Form: map[string][]string{name: {"sentinel-value"}}}
			_, err := evaluate(&exchange{status: 400, request: r, body: []byte(`{"error":"sentinel-value","error_description":"sentinel-value"}`)})
			failed(t, err)
		}
	})
}

// They repeat it as it was sent, or decoded.
func TestThreat135_WhatWasSentIsNotRepeatedInAnyForm(t *testing.T) {
	const refresh, secret = "1//0sentinel+/abc=", "two  spaces & sentinel/%"
	for _, method := range []string{"client_secret_basic", "client_secret_basic_raw", "client_secret_post"} {
		r := &Request{
			Form:     map[string][]string{"grant_type": {"refresh_token"}, "refresh_token": {refresh}},
			ClientID: "reports", ClientSecret: secret, AuthMethod: method,
		}
		auth, err := authenticate(r, "")
		if err != nil {
			t.Fatal(err)
		}
		form, sent := auth.form, strings.TrimPrefix(auth.authorization, "Basic ")
		for _, text := range []string{
			refresh, secret, form.Encode(), strings.ToLower(form.Encode()), "Authorization: Basic " + sent,
			url.PathEscape(refresh), url.QueryEscape(secret), strings.ReplaceAll(secret, "  ", " "),
		} {
			body, err := json.Marshal(map[string]string{"error": "bad: " + text, "error_description": "got " + text, "error_uri": "https://help.example.com/?" + text})
			if err != nil {
				t.Fatal(err)
			}
			_, got := evaluate(&exchange{status: 400, request: r, sent: auth, body: body})
			for _, shown := range []string{got.Code, got.Description, got.Error()} {
				if strings.Contains(strings.ToLower(shown), "sentinel") || sent != "" && strings.Contains(shown, sent[:20]) {
					t.Errorf("%s: got %q of %q", method, shown, text)
				}
			}
		}
	}
}

func TestThreat084_RetryAfter(t *testing.T) {
	in := func(d time.Duration) string { return time.Now().Add(d).UTC().Format(http.TimeFormat) }
	for _, tt := range []struct {
		header   string
		min, max time.Duration
	}{
		{"", 0, 0},
		{"0", 0, 0},
		{"120", 2 * time.Minute, 2 * time.Minute},
		{" 120 ", 2 * time.Minute, 2 * time.Minute},
		{"3601", time.Hour, time.Hour},
		{"315360000", time.Hour, time.Hour},
		{"99999999999999999999999", time.Hour, time.Hour},
		{"9223372036854775807", time.Hour, time.Hour},
		{"-1", 0, 0},
		{"1.5", 0, 0},
		{"soon", 0, 0},
		{in(10 * time.Minute), 9 * time.Minute, 10 * time.Minute},
		{in(10 * 365 * 24 * time.Hour), time.Hour, time.Hour},
		{in(-time.Minute), 0, 0},
		{"Mon, 02 Jan 0006 15:04:05 GMT", 0, 0},
	} {
		for _, status := range []int{429, 503} {
			t.Run(fmt.Sprintf("084 %d %s", status, tt.header), func(t *testing.T) {
				_, err := evaluate(&exchange{request: request(""), status: status, header: http.Header{"Retry-After": {tt.header}}, body: []byte("<html>")})
				if err.Class != Unavailable || err.RetryAfter < tt.min || err.RetryAfter > tt.max {
					t.Errorf("got %v, %v, want %v to %v", err, err.RetryAfter, tt.min, tt.max)
				}
			})
		}
	}
}

func TestErrorText(t *testing.T) {
	cause := errors.New("cause")
	for _, tt := range []struct {
		err  *Error
		want string
	}{
		{&Error{Class: InvalidGrant, Code: "invalid_grant", HTTPStatus: 400, Description: "no"}, `token endpoint: the grant is not valid: HTTP 400 "invalid_grant"`},
		{&Error{Class: Unsent, Err: cause}, "token endpoint: not sent: cause"},
		{&Error{Class: Lost, HTTPStatus: 200, Err: cause}, "token endpoint: sent, but no answer: HTTP 200: cause"},
		{&Error{Class: 99}, "token endpoint: Class(99)"},
	} {
		if got := tt.err.Error(); got != tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%d", "%x"} {
			if got := fmt.Sprintf(verb, tt.err); got != tt.want {
				t.Errorf("%s: got %q, want %q", verb, got, tt.want)
			}
		}
		if got := errors.Unwrap(tt.err); got != tt.err.Err {
			t.Errorf("got %v unwrapped, want %v", got, tt.err.Err)
		}
	}
}

func printable(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}

// Words that a provider has made up are no standard's, however well known, nor
// are other spellings.
func TestIsStandardCode(t *testing.T) {
	for code, want := range map[string]bool{
		"invalid_grant": true, "temporarily_unavailable": true, "unsupported_token_type": true, "slow_down": true,
		"invalid_target": true, "interaction_required": true,
		"": false, "out_of_cheese": false, "bad_refresh_token": false, "token_revoked": false, "Unauthorized": false,
		"Invalid_Grant": false, "invalid_grant ": false, "mfa_required": false,
	} {
		if got := IsStandardCode(code); got != want {
			t.Errorf("%q: got %t, want %t", code, got, want)
		}
	}
}
