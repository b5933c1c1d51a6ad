package tokenendpoint

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"
)

const (
	asJSON  = "application/json"
	asForm  = "application/x-www-form-urlencoded"
	asPlain = "text/plain; charset=utf-8"
	asHTML  = "text/html"
)

// answered evaluates an answer as Do does, without the way there.
func answered(status int, contentType, body string) (*Answer, error) {
	r := request("")
	a, err := evaluate(&exchange{
		endpoint: "token endpoint",
		request:  r,
		status:   status,
		header:   http.Header{"Content-Type": {contentType}},
		body:     []byte(body),
	})
	if err != nil {
		return a, err
	}
	return a, nil
}

// with returns an answer that has one more member, or another value for one.
func with(member string) string {
	name, _, _ := strings.Cut(member, ":")
	out := []string{member}
	for _, m := range []string{`"access_token":"at-1"`, `"token_type":"Bearer"`, `"refresh_token":"rt-2"`} {
		if !strings.HasPrefix(m, name+":") {
			out = append(out, m)
		}
	}
	return "{" + strings.Join(out, ",") + "}"
}

func TestThreat071_072_073_074_075_079_WhatIsAnAnswer(t *testing.T) {
	tests := []struct {
		name, contentType, body string
		want                    error // nil: the tokens at-1 and rt-2
		refresh                 string
	}{
		{"072 JSON", asJSON, usable, nil, ""},
		{"072 JSON as text", asPlain, usable, nil, ""},
		{"072 JSON as HTML", asHTML, usable, nil, ""},
		{"072 JSON as form", asForm, usable, nil, ""},
		{"072 JSON without a type", "", usable, nil, ""},
		{"072 byte order mark", asJSON, "\r\n \ufeff\t" + usable + "\n", nil, ""},
		{"072 form", asForm, "access_token=at-1&token_type=bearer&refresh_token=rt-2&expires_in=60", nil, ""},
		{"072 form with parameters", asForm + "; charset=utf-8", "access_token=at%2D1&refresh_token=rt-2\r\n", nil, ""},
		{"072 form as text", asPlain, "token_type=bearer&access_token=at-1&refresh_token=rt-2", nil, ""},
		{"072 form as JSON", asJSON, "access_token=at-1&refresh_token=rt-2", errNotObject, ""},
		{"072 form as HTML", asHTML, "access_token=at-1&refresh_token=rt-2", errNotObject, ""},
		{"072 text", asPlain, "hello=world&refresh_token=rt-2", errNotObject, ""},
		{"072 bad form", asForm, "access_token=%zz&refresh_token=rt-2", errBadForm, "rt-2"},
		{"072 HTML", asHTML, "<html>sentinel{</html>", errNotObject, ""},
		{"072 empty", asJSON, "", errNotObject, ""},
		{"072 empty form", asForm, "", errNoAccess, ""},
		{"072 array", asJSON, "[" + usable + "]", errNotObject, ""},
		{"072 null", asJSON, "null", errNotObject, ""},
		{"072 string", asJSON, `"access_token"`, errNotObject, ""},
		{"072 cut", asJSON, `{"refresh_token":"rt-2","access_token":"sentinel`, errMalformed, "rt-2"},
		{"072 cut in the refresh token", asJSON, `{"access_token":"sentinel","refresh_token":"rt-`, errMalformed, ""},
		{"072 trailing garbage", asJSON, usable + "sentinel", errTrailing, "rt-2"},
		{"072 second object", asJSON, usable + `{"refresh_token":"sentinel"}`, errTrailing, "rt-2"},
		{"072 not quite JSON", asJSON, `{"expires_in":NaN,'x':1,,"refresh_token" : "rt-2",}`, errMalformed, "rt-2"},
		{"072 missing comma", asJSON, `{"a":[{}] "refresh_token":"rt-2"}`, errMalformed, "rt-2"},
		{"072 name without value", asJSON, `{"refresh_token"}`, errMalformed, ""},
		{"072 name as value", asJSON, `{"x":"refresh_token","y":"sentinel","access_token":"at-1"}`, nil, "-"},
		{"072 name further down", asJSON, `{"x":{"refresh_token":"sentinel"},"access_token":"at-1"}`, nil, "-"},
		{"072 long name", asJSON, `{"refresh_token_":"sentinel","refresh_toke\u006e":"rt-2","access_token":"at-1"`, errMalformed, "rt-2"},
		{"072 escapes", asJSON, `{"access\u005ftoken":"at\u002d1","refres\u0068_token":"rt\u002d2"}`, nil, ""},
		{"073 duplicate", asJSON, with(`"access_token":"a","access_token":"sentinel"`), errDuplicate, "rt-2"},
		{"073 same twice", asJSON, with(`"x":1,"x":1`), errDuplicate, "rt-2"},
		{"073 duplicate by escape", asJSON, with(`"x":1,"\u0078":2`), errDuplicate, "rt-2"},
		{"073 refresh token twice", asJSON, `{"refresh_token":"rt-2","refresh_token":"rt-2","access_token":"a"}`, errDuplicate, "rt-2"},
		{"073 two refresh tokens", asJSON, `{"refresh_token":"a","refresh_token":"b","access_token":"a"}`, errDuplicate, ""},
		{"073 one of two is none", asJSON, `{"refresh_token":"","refresh_token":"rt-2","access_token":"a"}`, errDuplicate, "rt-2"},
		{"073 duplicate in a form", asForm, "access_token=a&access_token=b&refresh_token=rt-2", errDuplicate, "rt-2"},
		{"073 two refresh tokens in a form", asForm, "access_token=a&refresh_token=a&refresh_token=b", errDuplicate, ""},
		{"073 other case", asJSON, `{"ACCESS_TOKEN":"a","Refresh_Token":"b"}`, errNoAccess, ""},
		{"074 deep", asJSON, with(`"x":` + strings.Repeat("[", 32) + strings.Repeat("]", 32)), errDepth, "rt-2"},
		{"074 deep enough", asJSON, with(`"x":` + strings.Repeat("[", 31) + `"[[\"["` + strings.Repeat("]", 31)), nil, ""},
		{"074 very deep", asJSON, with(`"x":` + strings.Repeat(`{"a":`, 20_000) + "1" + strings.Repeat("}", 20_000)), errMalformed, "rt-2"},
		{"074 many members", asJSON, with(manyMembers(100_000)), errMembers, "rt-2"},
		{"074 many fields", asForm, "access_token=a&" + strings.Repeat("x=1&y&", 5000) + "refresh_token=rt-2", errMembers, "rt-2"},
		{"071 no access token", asJSON, `{"refresh_token":"rt-2"}`, errNoAccess, "rt-2"},
		{"071 empty", asJSON, with(`"access_token":""`), errNoAccess, "rt-2"},
		{"071 number", asJSON, with(`"access_token":12`), errNoAccess, "rt-2"},
		{"071 null", asJSON, with(`"access_token":null`), errNoAccess, "rt-2"},
		{"071 object", asJSON, with(`"access_token":{"a":"sentinel"}`), errNoAccess, "rt-2"},
		{"071 true", asJSON, with(`"access_token":true`), errNoAccess, "rt-2"},
		{"075 line break", asJSON, with(`"access_token":"sentinel\r\nX: y"`), errBadAccess, "rt-2"},
		{"075 NUL", asJSON, with(`"access_token":"sentinel\u0000"`), errBadAccess, "rt-2"},
		{"075 space", asJSON, with(`"access_token":"sentinel x"`), errBadAccess, "rt-2"},
		{"075 not ASCII", asJSON, with(`"access_token":"sentinelé"`), errBadAccess, "rt-2"},
		{"075 not text", asJSON, with("\"access_token\":\"sentinel\xff\""), errBadAccess, "rt-2"},
		{"075 100 kB", asJSON, with(`"access_token":"` + strings.Repeat("x", 100_000) + `"`), errBadAccess, "rt-2"},
		{"079 mac", asJSON, with(`"token_type":"mac"`), errTokenType, "rt-2"},
		{"079 DPoP", asJSON, with(`"token_type":"DPoP"`), errTokenType, "rt-2"},
		{"079 PoP", asJSON, with(`"token_type":"PoP"`), errTokenType, "rt-2"},
		{"079 N_A", asJSON, with(`"token_type":"N_A"`), errTokenType, "rt-2"},
		{"079 name of a proof", asJSON, with(`"token_type":"DPoP Access Token"`), errTokenType, "rt-2"},
		{"079 two types", asJSON, with(`"token_type":"Bearer, DPoP"`), errTokenType, "rt-2"},
		{"079 number", asJSON, with(`"token_type":1`), errTokenType, "rt-2"},
		{"079 upper case", asJSON, with(`"token_type":"BEARER"`), nil, ""},
		{"079 lower case", asJSON, with(`"token_type":"bearer"`), nil, ""},
		{"079 null", asJSON, with(`"token_type":null`), nil, ""},
		{"079 empty", asJSON, with(`"token_type":""`), nil, ""},
		{"079 missing", asJSON, `{"access_token":"at-1","refresh_token":"rt-2"}`, nil, ""},
		{"079 spaces around it", asJSON, with(`"token_type":" Bearer "`), nil, ""},
		{"079 Apigee", asJSON, with(`"token_type":"BearerToken"`), nil, ""},
		{"079 Slack", asJSON, with(`"token_type":"bot","ok":true`), nil, ""},
		{"079 Slack, of a user", asJSON, with(`"token_type":"user"`), nil, ""},
		{"079 Slack, of an app", asJSON, with(`"token_type":"app"`), nil, ""},
		{"079 eBay, of a user", asJSON, with(`"token_type":"User Access Token"`), nil, ""},
		{"079 eBay, of an app", asJSON, with(`"token_type":"Application Access Token"`), nil, ""},
		{"079 eBay in other letters", asJSON, with(`"token_type":"APPLICATION ACCESS TOKEN"`), nil, ""},
		{"079 assertion", asJSON, with(`"token_type":"jwt-bearer"`), nil, ""},
		{"070 no error", asJSON, with(`"error":"","ok":true`), nil, ""},
		{"070 error null", asJSON, with(`"error":null`), nil, ""},
		{"070 error false", asJSON, with(`"error":false`), nil, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a, err := answered(200, tt.contentType, tt.body)
			if tt.want == nil {
				refresh := map[string]string{"": "rt-2", "-": ""}[tt.refresh]
				if err != nil || a.AccessToken != "at-1" || a.RefreshToken != refresh || a.TokenType != "Bearer" {
					t.Fatalf("got %v, %v, want the tokens", show(a), err)
				}
				return
			}
			e := wantClass(t, err, Unreadable)
			if !errors.Is(err, tt.want) || e.HTTPStatus != 200 {
				t.Errorf("got %v, want %v", err, tt.want)
			}
			want := map[string]string{}
			if tt.refresh != "" {
				want["refresh_token"] = tt.refresh
			}
			if got := show(a); !maps.Equal(got, want) || a != nil && tt.refresh == "" {
				t.Errorf("got %v, want %v and nothing else", got, want)
			}
		})
	}
}

func manyMembers(n int) string {
	var b strings.Builder
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `"%d":0`, i)
	}
	return b.String()
}

func TestRefreshToken(t *testing.T) {
	for _, tt := range []struct{ name, value, want string }{
		{"119 missing", "", ""},
		{"120 empty", `""`, ""},
		{"120 null", "null", ""},
		{"number", "12", ""},
		{"array", `["x"]`, ""},
		{"spaces and signs", `" a+b/c=~\"\\ "`, ` a+b/c=~"\ `},
		{"not ASCII", `"é"`, "é"},
		{"escaped pair", `"\ud83d\ude00"`, "\U0001f600"},
		{"broken pair", `"\ud83d"`, ""},
		{"not text", "\"a\xff\"", ""},
		{"line break", `"a\nb"`, ""},
		{"NUL", `"a\u0000"`, ""},
		{"64 KiB", `"` + strings.Repeat("x", 64<<10) + `"`, strings.Repeat("x", 64<<10)},
		{"more", `"` + strings.Repeat("x", 64<<10+1) + `"`, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			body := `{"access_token":"at-1"}`
			if tt.value != "" {
				body = `{"access_token":"at-1", "refresh_token" : ` + tt.value + `}`
			}
			a, err := answered(200, asJSON, body)
			if err != nil || a.RefreshToken != tt.want || a.AccessToken != "at-1" {
				t.Errorf("got %.99v, %v, want refresh token %.20q", show(a), err, tt.want)
			}
		})
	}
}

func TestThreat076_Lifetimes(t *testing.T) {
	const hour = time.Hour
	for _, tt := range []struct {
		value string
		want  time.Duration
		known bool
	}{
		{`3600`, hour, true},
		{`"3600"`, hour, true},
		{`" 3600 "`, hour, true},
		{`3600.5`, hour, true},
		{`"3600.9"`, hour, true},
		{`3.6e3`, hour, true},
		{`"3.6E3"`, hour, true},
		{`0.5`, 0, true},
		{`1e-9`, 0, true},
		{`0`, 0, false},
		{`-0`, 0, false},
		{`0.0`, 0, false},
		{`0e3`, 0, false},
		{`"0"`, 0, false},
		{`" 0.00 "`, 0, false},
		{`-1`, 0, true},
		{`-0.5`, 0, true},
		{`"-3600"`, 0, true},
		{`-1e400`, 0, true},
		{`1e20`, maxLifetime, true},
		{`1e400`, maxLifetime, true},
		{`9223372036854775808`, maxLifetime, true},
		{`"99999999999999999999"`, maxLifetime, true},
		{`""`, 0, false},
		{`"1 hour"`, 0, false},
		{`"1h"`, 0, false},
		{`"Inf"`, 0, false},
		{`"nan"`, 0, false},
		{`"0x10"`, 0, false},
		{`"1_000"`, 0, false},
		{`"e"`, 0, false},
		{`null`, 0, false},
		{`true`, 0, false},
		{`[3600]`, 0, false},
		{`{"seconds":3600}`, 0, false},
	} {
		t.Run("076 "+tt.value, func(t *testing.T) {
			a, err := answered(200, asJSON, with(`"expires_in":`+tt.value))
			if err != nil || a.AccessToken != "at-1" || a.RefreshToken != "rt-2" {
				t.Fatalf("got %v, %v, want both tokens whatever expires_in is", show(a), err)
			}
			if a.Lifetime != tt.want || a.LifetimeKnown != tt.known {
				t.Errorf("got %v, known: %t, want %v, %t", a.Lifetime, a.LifetimeKnown, tt.want, tt.known)
			}
		})
	}
	t.Run("076 missing", func(t *testing.T) {
		if a, err := answered(200, asJSON, with(`"x":1`)); err != nil || a.LifetimeKnown || a.Lifetime != 0 {
			t.Errorf("got %v, %v, want an unknown lifetime", show(a), err)
		}
	})
	t.Run("076 form", func(t *testing.T) {
		if a, err := answered(200, asForm, "access_token=a&expires_in=3600"); err != nil || !a.LifetimeKnown || a.Lifetime != hour {
			t.Errorf("got %v, %v, want an hour", show(a), err)
		}
		if a, err := answered(200, asForm, "access_token=a&expires_in=0"); err != nil || a.LifetimeKnown {
			t.Errorf("got %v, %v, want an unknown lifetime", show(a), err)
		}
	})
	for member, want := range map[string]time.Duration{
		`"refresh_expires_in":60`:                                time.Minute,
		`"refresh_token_expires_in":"60"`:                        time.Minute,
		`"x_refresh_token_expires_in":60`:                        time.Minute,
		`"refresh_expires_in":0`:                                 0, // Keycloak: it does not end
		`"refresh_expires_in":0,"refresh_token_expires_in":60.5`: time.Minute,
		`"refresh_expires_in":-1`:                                0,
		`"refresh_expires_in":"soon"`:                            0,
		`"refresh_token_expires_in":1e99`:                        maxLifetime,
	} {
		t.Run("131 "+member, func(t *testing.T) {
			if a, err := answered(200, asJSON, with(member)); err != nil || a.RefreshLifetime != want || len(a.Extra) != 0 {
				t.Errorf("got %v, %v, want %v", show(a), err, want)
			}
		})
	}
}

func TestThreat080_Scopes(t *testing.T) {
	for _, tt := range []struct {
		value, want string
		known       bool
	}{
		{`"a b"`, "a b", true},
		{`"b a"`, "b a", true},
		{`" a  b\t"`, "a b", true},
		{`"a b a"`, "a b", true},
		{`""`, "", true},
		{`" "`, "", true},
		{`"a,b"`, "a b", true},
		{`"a,b,,c,"`, "a b c", true},
		{`"https://a.example/x,y z"`, "https://a.example/x,y z", true},
		{`["a","b c","a"]`, "a b c", true},
		{`["a",1,null,["b"]]`, "a", true},
		{`[]`, "", true},
		{`"a é b\"c d\\e f\u0000 g"`, "a g", true},
		{`null`, "", false},
		{`1`, "", false},
		{`{"a":true}`, "", false},
	} {
		t.Run("080 "+tt.value, func(t *testing.T) {
			a, err := answered(200, asJSON, with(`"scope":`+tt.value))
			if err != nil || a.RefreshToken != "rt-2" {
				t.Fatalf("got %v, %v, want the tokens whatever scope is", show(a), err)
			}
			if got := strings.Join(a.Scopes, " "); got != tt.want || a.ScopeKnown != tt.known {
				t.Errorf("got %q, known: %t, want %q, %t", got, a.ScopeKnown, tt.want, tt.known)
			}
		})
	}
	t.Run("080 missing", func(t *testing.T) {
		if a, err := answered(200, asJSON, usable); err != nil || a.ScopeKnown || a.Scopes != nil {
			t.Errorf("got %v, %v, want not known", show(a), err)
		}
	})
	t.Run("080 too many in an array", func(t *testing.T) {
		a, err := answered(200, asJSON, with(`"scope":[`+strings.Repeat(`"a",`, maxMembers)+`"b"]`))
		if err != nil || strings.Join(a.Scopes, " ") != "a" {
			t.Errorf("got %q, %v, want those before the limit", a.Scopes, err)
		}
	})
	t.Run("080 too many", func(t *testing.T) {
		long := strings.Repeat("x", maxScopes)
		a, err := answered(200, asJSON, with(`"scope":"a `+long+` b"`))
		if err != nil || strings.Join(a.Scopes, " ") != "a" {
			t.Errorf("got %d scopes, %v, want those that fit", len(a.Scopes), err)
		}
	})
}

func TestThreat083_Extra(t *testing.T) {
	a, err := answered(200, asJSON, with(`"instance_url":"https://x.example/ ","n": 1.50 ,"team":{ "id" : [1, "a b"] },"nil":null,"id_token":"h.p.s","Header":"x","scope":"a","expires_in":1,"error":null,"error_uri":"x"`))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"instance_url": "https://x.example/ ", "n": "1.50", "team": `{"id":[1,"a b"]}`, "nil": "null", "Header": "x"}
	if !maps.Equal(a.Extra, want) {
		t.Errorf("got %q, want %q", a.Extra, want)
	}
	if a.IDToken != "h.p.s" {
		t.Errorf("got ID token %q, want h.p.s", a.IDToken)
	}

	t.Run("083 what does not fit", func(t *testing.T) {
		big, rest := strings.Repeat("x", maxExtra-10), strings.Repeat("y", 9)
		body := with(`"z":"last","m":"` + strings.Repeat("x", maxExtra) + `","b":"` + big + `","c":"` + rest + `","a":"` + rest + `x"`)
		want := map[string]string{"a": rest + "x", "c": rest, "z": "last"}
		for range 20 {
			a, err := answered(200, asJSON, body)
			if err != nil || !maps.Equal(a.Extra, want) {
				t.Fatalf("got %d members, %v, want a, c and z each time", len(a.Extra), err)
			}
		}
	})
	t.Run("083 nothing", func(t *testing.T) {
		if a, _ := answered(200, asJSON, usable); a.Extra != nil {
			t.Errorf("got %v, want nil", a.Extra)
		}
	})
	t.Run("ID token of another kind", func(t *testing.T) {
		if a, err := answered(200, asJSON, with(`"id_token":{"a":"b"}`)); err != nil || a.IDToken != "" {
			t.Errorf("got %v, %v, want none", show(a), err)
		}
	})
}

// The memory that an answer makes the client allocate is bounded by its size.
func TestThreat074_Memory(t *testing.T) {
	fill := func(unit string) string { return strings.Repeat(unit, (MaxBody-64)/len(unit)) }
	for name, body := range map[string]string{
		"members":         `{` + fill(`"a":0,`) + `"b":0}`,
		"distinct":        `{` + manyMembers(90_000) + `}`,
		"nested":          `{"a":` + fill("["),
		"closed":          `{"a":` + fill("[") + fill("]"),
		"objects":         `{` + fill(`"a":{`),
		"quotes":          `{` + fill(`"`),
		"refresh tokens":  `{` + fill(`"refresh_token":"x",`) + `"x":1}`,
		"many tokens":     `{` + fill(`"refresh_token":"`),
		"array of scopes": `{"access_token":"a","scope":[` + fill(`"a",`) + `"b"]}`,
		"scopes":          `{"access_token":"a","scope":"` + fill(`a `) + `"}`,
		"extra":           `{"access_token":"a","x":[` + fill(`0,`) + `0]}`,
		"description":     `{"error":"x","error_description":"` + fill(`\n `) + `"}`,
		"backslashes":     `{"a":"` + fill(`\`),
	} {
		t.Run("074 "+name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			a, err := answered(200, asJSON, body)
			runtime.ReadMemStats(&after)
			if got, limit := after.TotalAlloc-before.TotalAlloc, uint64(40<<20); got > limit {
				t.Errorf("got %d MiB allocated, want at most %d (%v, %v)", got>>20, limit>>20, show(a) != nil, err)
			}
		})
	}
	t.Run("074 with habits", func(t *testing.T) {
		for _, body := range []string{
			`{"data":{"x":"` + fill("y") + `"}}`, `{"data":[{"a":[` + fill(`0,`) + `0]}]}`, `{"data":` + fill(`{"data":`),
			`{"error_codes":[` + fill(`"a",`) + `"b"]}`, `{"list":[` + fill(`{},`) + `{"a":0}]}`, `{` + fill(`"data":{},`) + `"x":0}`,
		} {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			habitual(odd, time.Time{}, 200, body)
			runtime.ReadMemStats(&after)
			if got, limit := after.TotalAlloc-before.TotalAlloc, uint64(40<<20); got > limit {
				t.Errorf("%.20s: got %d MiB allocated, want at most %d", body, got>>20, limit>>20)
			}
		}
	})
	t.Run("074 many fields", func(t *testing.T) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		answered(200, asForm, fill("refresh_token=a&b%20=&"))
		runtime.ReadMemStats(&after)
		if got, limit := after.TotalAlloc-before.TotalAlloc, uint64(40<<20); got > limit {
			t.Errorf("got %d MiB allocated, want at most %d", got>>20, limit>>20)
		}
	})
}
