package tokenendpoint

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
)

// habitual evaluates an answer as Do does at a provider with habits.
func habitual(h *Habits, start time.Time, status int, body string) (*Answer, error) {
	r := request("")
	r.Habits = h
	a, err := evaluate(&exchange{
		endpoint: "token endpoint",
		request:  r,
		start:    start,
		status:   status,
		header:   http.Header{"Content-Type": {asJSON}},
		body:     []byte(body),
	})
	if err != nil {
		return a, err
	}
	return a, nil
}

// A sentRequest is what a provider got.
type sentRequest struct {
	method, body string
	header       http.Header
	length       int64
}

// record returns a client that notes what is sent, and answers it.
func record(t *testing.T, sent *[]sentRequest, status int, body string) *http.Client {
	return roundTrip(func(r *http.Request) (*http.Response, error) {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		*sent = append(*sent, sentRequest{r.Method, string(b), r.Header, r.ContentLength})
		return &http.Response{StatusCode: status, Header: http.Header{"Content-Type": {asJSON}}, Body: io.NopCloser(strings.NewReader(body))}, nil
	})
}

func TestHabitsOfRequests(t *testing.T) {
	const basic = "Basic YzpzIyI="
	base := map[string]string{"Accept": asJSON, "User-Agent": "authprofile", "Content-Type": asForm}
	header := func(pairs ...string) map[string]string {
		m := maps.Clone(base)
		for i := 0; i < len(pairs); i += 2 {
			m[pairs[i]] = pairs[i+1]
		}
		return m
	}
	for _, tt := range []struct {
		name, method string
		form         url.Values
		habits       *Habits
		header       map[string]string
		body         string
	}{
		{"none", "client_secret_basic_raw", url.Values{"a": {"b"}}, nil, header("Authorization", basic), `a=b`},
		{"none of them set", "client_secret_basic_raw", url.Values{"a": {"b"}}, &Habits{}, header("Authorization", basic), `a=b`},
		{"JSON, basic", "client_secret_basic_raw", url.Values{"a": {"b"}, "d": {"1", "2"}, "e": nil, "f": {""}}, &Habits{JSON: true},
			header("Authorization", basic, "Content-Type", asJSON), `{"a":"b","d":["1","2"],"f":""}`},
		{"JSON, post", "client_secret_post", url.Values{"a": {"é<&>/\n"}, "client_secret": {"x"}}, &Habits{JSON: true},
			header("Content-Type", asJSON), `{"a":"é<&>/\n","client_id":"c","client_secret":"s#\""}`},
		{"JSON, no client", "none", url.Values{"a": {"b"}}, &Habits{JSON: true, ClientIDParam: "app"},
			header("Content-Type", asJSON), `{"a":"b","app":"c"}`},
		{"client_id, post", "client_secret_post", url.Values{"a": {"b"}, "client_id": {"x"}, "client_key": {"y"}}, &Habits{ClientIDParam: "client_key"},
			header(), `a=b&client_key=c&client_secret=s%23%22`},
		{"client_id, none", "none", url.Values{"a": {"b"}, "client_id": {"x"}}, &Habits{ClientIDParam: "client_key"},
			header(), `a=b&client_key=c`},
		{"client_id, basic", "client_secret_basic_raw", url.Values{"a": {"b"}, "client_id": {"x"}, "client_key": {"y"}}, &Habits{ClientIDParam: "client_key"},
			header("Authorization", basic), `a=b`},
		{"header", "none", url.Values{"a": {"b"}}, &Habits{Header: map[string]string{
			"x-version": "1", "user-agent": "me", "ACCEPT": "*/*",
			"authorization": "x", "content-type": "x", "Content-length": "x", "host": "x"}},
			header("X-Version", "1", "User-Agent", "me", "Accept", "*/*"), `a=b&client_id=c`},
		{"header beside basic", "client_secret_basic_raw", url.Values{"a": {"b"}}, &Habits{Header: map[string]string{"Authorization": "x"}},
			header("Authorization", basic), `a=b`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var sent []sentRequest
			before := tt.form.Encode()
			_, err := Do(t.Context(), record(t, &sent, 200, usable), &Request{
				URL: "https://auth.example/token", Form: tt.form, Habits: tt.habits,
				ClientID: "c", ClientSecret: `s#"`, AuthMethod: tt.method,
			})
			if err != nil || len(sent) != 1 {
				t.Fatalf("got %v after %d requests, want success after 1", err, len(sent))
			}
			got := sent[0]
			if got.method != "POST" || got.body != tt.body || got.length != int64(len(tt.body)) {
				t.Errorf("got %s of %d bytes, %s, want POST of %s", got.method, got.length, got.body, tt.body)
			}
			all := make(map[string]string)
			for name := range got.header {
				all[name] = got.header.Get(name)
			}
			if !maps.Equal(all, tt.header) {
				t.Errorf("got header %q, want %q", all, tt.header)
			}
			if got := tt.form.Encode(); got != before {
				t.Errorf("got the caller's form changed to %q", got)
			}
		})
	}
}

func TestTokenPath(t *testing.T) {
	tokens := func(more string) string {
		return `{"access_token":"at-1","refresh_token":"rt-2","token_type":"user","scope":"a","expires_in":60` + more + `}`
	}
	all := map[string]string{"access_token": "at-1", "refresh_token": "rt-2", "token_type": "Bearer", "scopes": "a", "scope known": "yes", "lifetime": "1m0s"}
	plus := func(pairs ...string) map[string]string {
		m := maps.Clone(all)
		for i := 0; i < len(pairs); i += 2 {
			m[pairs[i]] = pairs[i+1]
		}
		return m
	}
	salvaged := map[string]string{"refresh_token": "rt-2"}
	for _, tt := range []struct {
		name, path, body string
		want             map[string]string // nil: a failure without a refresh token
		class            Class
	}{
		{"object", "user", `{"user":` + tokens("") + `}`, all, 0},
		{"array", "user", `{"user":[` + tokens("") + `,{"access_token":"x","refresh_token":"x"}]}`, all, 0},
		{"deeper", "a.user", `{"x":{"user":1},"a":{"user":[ ` + tokens("") + `]}}`, plus("extra x", `{"user":1}`), 0},
		{"through an array", "a.user", `{"a":[{"user":` + tokens("") + `}]}`, all, 0},
		{"with more at the top", "user", `{"team":{"id":1},"user":` + tokens(`,"id":"u"`) + `,"scope":"x","expires_in":1}`, plus("extra team", `{"id":1}`), 0},
		{"the top has a token", "user", `{"user":{"access_token":"x","refresh_token":"x"},"access_token":"at-1"}`,
			map[string]string{"access_token": "at-1", "token_type": "Bearer", "extra user": `{"access_token":"x","refresh_token":"x"}`}, 0},
		{"the top has an empty token", "user", `{"access_token":"","refresh_token":null,"user":` + tokens("") + `}`, all, 0},
		{"the top has null", "user", `{"access_token": null,"user":` + tokens("") + `}`, all, 0},
		{"the top has a refresh token alone", "user", `{"refresh_token":"rt-2","user":{"access_token":"at-1"}}`,
			map[string]string{"access_token": "at-1", "token_type": "Bearer", "refresh_token": "rt-2"}, 0},
		{"there is a failure", "user", `{"ok":false,"error":"x","user":` + tokens("") + `}`, salvaged, Refused},
		{"nothing there", "user", `{"usr":` + tokens("") + `}`, nil, Unreadable},
		{"a string there", "user", `{"user":"x"}`, nil, Unreadable},
		{"an array of strings there", "user", `{"user":["x",` + tokens("") + `]}`, nil, Unreadable},
		{"an empty array there", "user", `{"user":[]}`, nil, Unreadable},
		{"no access token there", "user", `{"user":{"refresh_token":"rt-2"}}`, salvaged, Unreadable},
		{"odd access token there", "user", `{"user":{"refresh_token":"rt-2","access_token":"a b"}}`, salvaged, Unreadable},
		{"odd type there", "user", `{"user":` + strings.Replace(tokens(""), `"user"`, `"mac"`, 1) + `}`, salvaged, Unreadable},
		{"twice there", "user", `{"user":` + tokens(`,"x":1,"x":2`) + `}`, salvaged, Unreadable},
		{"twice", "user", `{"user":` + tokens("") + `,"user":` + tokens(" ") + `}`, salvaged, Unreadable},
		{"two refresh tokens there", "user", `{"user":` + tokens(`,"refresh_token":"rt-3"`) + `}`, nil, Unreadable},
		{"not JSON after it", "user", `{"user":` + tokens("") + `,"x":NaN}`, salvaged, Unreadable},
		{"not JSON before it", "a.user", `{"x":NaN,'y':"","a":{"user":[` + tokens("") + `]}}`, salvaged, Unreadable},
		{"not JSON in it", "user", `{"user":` + tokens(`,"x":.5,`) + `}`, salvaged, Unreadable},
		{"trailing garbage", "user", `{"user":` + tokens("") + `}<html>`, salvaged, Unreadable},
		{"not JSON, and the top has a token", "user", `{"user":` + tokens("") + `,"x":NaN,"access_token":"at-1"}`, nil, Unreadable},
		{"cut, and the top may have had a token", "user", `{"user":` + tokens("") + `,"x`, nil, Unreadable},
		{"written with escapes", "user", `{"\u0075ser":{"access\u005ftoken":"at-1","refresh\u005ftoken":"rt-2"}}`,
			map[string]string{"access_token": "at-1", "token_type": "Bearer", "refresh_token": "rt-2"}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a, err := habitual(&Habits{TokenPath: tt.path}, time.Now(), 200, tt.body)
			if got := show(a); !maps.Equal(got, tt.want) {
				t.Errorf("got %v, want %v", got, tt.want)
			}
			if tt.class != 0 {
				wantClass(t, err, tt.class)
			} else if err != nil {
				t.Errorf("got %v, want success", err)
			}
		})
	}
}

func TestKeep(t *testing.T) {
	big := strings.Repeat("x", maxExtra-19)
	for _, tt := range []struct {
		name, members string
		keep          []string
		want          map[string]string
	}{
		{"of all kinds", `"z":{"s":"a\"b","n": 1.50,"t":true,"o":{ "x": [1] },"l":[ "a" ],"nil":null}`, []string{"z.s", "z.n", "z.t", "z.o", "z.l", "z.nil", "z.none", "none.s", "z.s.x"},
			map[string]string{"z.s": `a"b`, "z.n": "1.50", "z.t": "true", "z.o": `{"x":[1]}`, "z.l": `["a"]`, "z": `{"s":"a\"b","n":1.50,"t":true,"o":{"x":[1]},"l":["a"],"nil":null}`}},
		{"in arrays", `"d":[{"id":7},{"id":8}]`, []string{"d.id"}, map[string]string{"d.id": "7", "d": `[{"id":7},{"id":8}]`}},
		{"before all else", `"a":"` + big + `","z":{"id":"123456789012345"}`, []string{"z.id"}, map[string]string{"z.id": "123456789012345", "z": `{"id":"123456789012345"}`}},
		{"the bound stays", `"z":{"id":"` + strings.Repeat("x", maxExtra) + `"},"a":"b"`, []string{"z.id"}, map[string]string{"a": "b"}},
		{"at the top", `"a":"` + big + `","z":"123456789012345678901"`, []string{"z"}, map[string]string{"z": "123456789012345678901"}},
		{"a member of that name", `"a.b":"x","a":{"b":"y"}`, []string{"a.b"}, map[string]string{"a.b": "y", "a": `{"b":"y"}`}},
		{"no token", `"id_token":"x"`, []string{"access_token", "refresh_token", "id_token"}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a, err := habitual(&Habits{Keep: tt.keep}, time.Now(), 200, with(tt.members))
			if err != nil || !maps.Equal(a.Extra, tt.want) {
				t.Errorf("got %.200v, %v, want %.200v", show(a), err, tt.want)
			}
		})
	}
	t.Run("where the tokens are", func(t *testing.T) {
		a, err := habitual(&Habits{TokenPath: "data", Keep: []string{"data.id"}}, time.Now(), 200, `{"data":[{"access_token":"at-1","id":7}],"x":"y"}`)
		if want := map[string]string{"data.id": "7", "x": "y"}; err != nil || !maps.Equal(a.Extra, want) {
			t.Errorf("got %v, %v, want %v", show(a), err, want)
		}
	})
}

func TestExpiryFormats(t *testing.T) {
	start := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	jwt := func(payload string) string {
		return "h." + base64.RawURLEncoding.EncodeToString([]byte(payload)) + ".s"
	}
	const hour, fallback = time.Hour, time.Minute
	for _, tt := range []struct {
		format, value string // of the member, or the access token
		want          time.Duration
		known         bool // false: what expires_in says
	}{
		{"", `3600`, hour, true},
		{"seconds", `"3600"`, hour, true},
		{"seconds", `-1`, 0, true},
		{"seconds", `0`, 0, false},
		{"seconds", `null`, 0, false},
		{"milliseconds", `3600000`, hour, true},
		{"milliseconds", `"3600999"`, hour, true},
		{"milliseconds", `1e300`, maxLifetime, true},
		{"milliseconds", `0`, 0, false},
		{"milliseconds", `-1`, 0, true},
		{"unix", fmt.Sprint(start.Add(hour).Unix()), hour, true},
		{"unix", fmt.Sprintf(`"%d"`, start.Add(hour).Unix()), hour, true},
		{"unix", fmt.Sprintf("%d.9", start.Add(hour).Unix()), hour, true},
		{"unix", fmt.Sprint(start.Add(-hour).Unix()), 0, true},
		{"unix", `1`, 0, true},
		{"unix", `1e400`, maxLifetime, true},
		{"unix", `0`, 0, false},
		{"unix", `-1`, 0, false},
		{"unix", `"soon"`, 0, false},
		{"unix", `{"a":1}`, 0, false},
		{"rfc3339", `"2026-11-26T13:00:00Z"`, hour, true},
		{"rfc3339", `"2026-11-26T15:00:00.5+02:00"`, hour + time.Second/2, true},
		{"rfc3339", `"2026-11-26T11:00:00Z"`, 0, true},
		{"rfc3339", `"9999-12-31T23:59:59Z"`, maxLifetime, true},
		{"rfc3339", `"0001-01-01T00:00:00Z"`, 0, false},
		{"rfc3339", `"2026-11-26 13:00:00"`, 0, false},
		{"rfc3339", `""`, 0, false},
		{"rfc3339", `1795698000`, 0, false},
		{"jwt", jwt(fmt.Sprintf(`{"exp":%d}`, start.Add(hour).Unix())), hour, true},
		{"jwt", jwt(fmt.Sprintf(`{"a":{"exp":1},"exp":%d.5}`, start.Add(hour).Unix())), hour, true},
		{"jwt", jwt(`{"exp":1}`), 0, true},
		{"jwt", jwt(`{"exp":1,"exp":2}`), 0, false},
		{"jwt", jwt(`{"exp":"1795698000"}`), 0, false},
		{"jwt", jwt(`{"exp":null}`), 0, false},
		{"jwt", jwt(`{"exp":0}`), 0, false},
		{"jwt", jwt(`{}`), 0, false},
		{"jwt", jwt(`{"exp":1795698000`), 0, false},
		{"jwt", jwt(`{"exp":1795698000}x`), 0, false},
		{"jwt", jwt(`[{"exp":1795698000}]`), 0, false},
		{"jwt", jwt(`{"exp":1795698000,` + manyMembers(2000) + `}`), 0, false},
		{"jwt", jwt(``), 0, false},
		{"jwt", jwt(`{"exp":1795698000}`) + "=", hour, true}, // of the signature, which is not read
		{"jwt", jwt(`{"exp":1795698000}`) + ".more", 0, false},
		{"jwt", "h.eyJleHAiOjE3OTU2OTgwMDB9=.s", 0, false},
		{"jwt", "h.eyJleHAiOjE3OTU2OTgwMDB9IA.s", hour, true},
		{"jwt", "h.eyJleHAiOjE3OTU2OTgwMDB9IB.s", 0, false}, // bits that have no place
		{"jwt", "h." + base64.RawURLEncoding.EncodeToString([]byte(`{"exp":1795698000}`)), 0, false},
		{"jwt", "opaque", 0, false},
		{"of no name", `3600`, 0, false},
	} {
		t.Run(tt.format+" "+tt.value[:min(len(tt.value), 60)], func(t *testing.T) {
			h := &Habits{ExpiryMember: "ends", ExpiryFormat: tt.format}
			for _, expiresIn := range []string{"", `,"expires_in":60`} {
				body := `{"access_token":"at-1","refresh_token":"rt-2","ends":` + tt.value + expiresIn + `}`
				if tt.format == "jwt" {
					body = `{"access_token":"` + tt.value + `","refresh_token":"rt-2"` + expiresIn + `}`
				}
				want, known := tt.want, tt.known
				if !known && expiresIn != "" {
					want, known = fallback, true
				}
				a, err := habitual(h, start, 200, body)
				if err != nil || a.RefreshToken != "rt-2" {
					t.Fatalf("got %v, %v, want the tokens whatever their end", show(a), err)
				}
				if a.Lifetime != want || a.LifetimeKnown != known {
					t.Errorf("%q: got %v, known: %t, want %v, %t", expiresIn, a.Lifetime, a.LifetimeKnown, want, known)
				}
			}
		})
	}
	t.Run("beside the nested token", func(t *testing.T) {
		a, err := habitual(&Habits{TokenPath: "data", ExpiryMember: "life.ms", ExpiryFormat: "milliseconds"}, start, 200,
			`{"life":{"ms":1000},"data":{"access_token":"at-1","life":{"ms":60000}}}`)
		if err != nil || a.Lifetime != time.Minute {
			t.Errorf("got %v, %v, want a minute", show(a), err)
		}
	})
	t.Run("from the start of the request", func(t *testing.T) {
		var sent []sentRequest
		r := request("https://auth.example/")
		r.Habits = &Habits{ExpiryMember: "ends", ExpiryFormat: "unix"}
		end := time.Now().Add(hour).Truncate(time.Second)
		a, err := Do(t.Context(), record(t, &sent, 200, fmt.Sprintf(`{"access_token":"at-1","ends":%d}`, end.Unix())), r)
		if err != nil || !a.Start.Add(a.Lifetime).Equal(end) {
			t.Errorf("got %v, %v, want an end at %v", show(a), err, end)
		}
	})
}

func TestScopeHabits(t *testing.T) {
	for _, tt := range []struct {
		name, member, separator, members, want string
		known                                  bool
	}{
		{"other member", "perms", "", `"perms":"a b","scope":"c"`, "a b", true},
		{"other member is an array", "perms", "", `"perms":["a","b"],"scope":"c"`, "a b", true},
		{"other member is empty", "perms", "", `"perms":"","scope":"c"`, "", true},
		{"other member is missing", "perms", "", `"scope":"c"`, "c", true},
		{"other member is odd", "perms", "", `"perms":1,"scope":"c"`, "c", true},
		{"neither", "perms", "", `"x":1`, "", false},
		{"further down", "x.perms", "", `"x":{"perms":"a"}`, "a", true},
		{"comma", "", ",", `"scope":"a,b"`, "a b", true},
		{"comma and space", "", ",", `"scope":"a, b ,c"`, "a b c", true},
		{"without it: comma and space", "", "", `"scope":"a, b"`, "a, b", true},
		{"a space: comma and space", "", " ", `"scope":"a, b"`, "a, b", true},
		{"a space: comma", "", " ", `"scope":"a,b"`, "a b", true},
		{"comma, but spaces came", "", ",", `"scope":"a b"`, "a b", true},
		{"comma in an array", "", ",", `"scope":["a,b","c"]`, "a b c", true},
		{"another", "", "+", `"scope":"a+b,c"`, "a b,c", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a, err := habitual(&Habits{ScopeMember: tt.member, ScopeSeparator: tt.separator}, time.Now(), 200, with(tt.members))
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(a.Scopes, " "); got != tt.want || a.ScopeKnown != tt.known {
				t.Errorf("got %q, known: %t, want %q, %t", got, a.ScopeKnown, tt.want, tt.known)
			}
		})
	}
}

func TestErrorHabits(t *testing.T) {
	h := &Habits{
		ErrorPaths: []string{"error.code", "error_codes[]", "code", "errors[].id", "data.code"},
		TokenPath:  "data",
		Errors: map[string]Class{
			"190": InvalidGrant, "50196": Unavailable, "unauthorized_client": Configuration, "403 unauthorized_client": InvalidGrant,
			"invalid_request": InvalidGrant, "vague": Refused, "503 down": Refused, "403 gone": InvalidGrant, "invalid_grant": InvalidGrant, "BAD": InvalidGrant,
		},
	}
	for _, tt := range []struct {
		name, body string
		status     int
		want       Class // 0: success
		code       string
	}{
		{"nested number", `{"error":{"code":190,"message":"sentinel"}}`, 400, InvalidGrant, "190"},
		{"nested number with 200", `{"error":{"code":190}}`, 200, InvalidGrant, "190"},
		{"nested, not known", `{"error":{"code":1}}`, 400, Refused, "1"},
		{"nested, known in general", `{"error":{"code":"slow_down"}}`, 400, Unavailable, "slow_down"},
		{"nested, no code", `{"error":{"code":[190]}}`, 200, Refused, ""},
		{"a number", `{"error":190}`, 200, Refused, ""},
		{"any element", `{"error":"invalid_grant","error_codes":[1,50196]}`, 400, Unavailable, "invalid_grant"},
		{"no element", `{"error":"invalid_grant","error_codes":[]}`, 400, InvalidGrant, "invalid_grant"},
		{"not an array", `{"error":"invalid_grant","error_codes":50196}`, 400, InvalidGrant, "invalid_grant"},
		{"in elements", `{"errors":[{"x":1},{"id":"x"},{"id":"BAD"}]}`, 400, InvalidGrant, "BAD"},
		{"too many elements", `{"error_codes":[` + strings.Repeat("1,", maxCodes) + `50196]}`, 400, Refused, "1"},
		{"of the path before that of error", `{"error":"invalid_request","code":"vague"}`, 400, Refused, "invalid_request"},
		{"before what it means in general", `{"error":"invalid_request"}`, 400, InvalidGrant, "invalid_request"},
		{"status and code", `{"error":"unauthorized_client"}`, 403, InvalidGrant, "unauthorized_client"},
		{"another status", `{"error":"unauthorized_client"}`, 400, Configuration, "unauthorized_client"},
		{"status and code before another code", `{"error":"unauthorized_client","code":50196}`, 403, InvalidGrant, "unauthorized_client"},
		{"status and code beside error", `{"error":"x","code":"gone"}`, 403, InvalidGrant, "x"},
		{"code beside error", `{"error":"x","code":"BAD"}`, 403, InvalidGrant, "x"},
		{"vague", `{"code":"vague"}`, 400, Refused, "vague"},
		{"vague, but busy", `{"code":"vague"}`, 429, Unavailable, "vague"},
		{"vague with its status", `{"code":"down"}`, 503, Refused, "down"},
		{"dead, though busy", `{"code":"BAD"}`, 503, InvalidGrant, "BAD"},
		{"in general", `{"error":"invalid_client"}`, 400, Configuration, "invalid_client"},
		{"by the status", `{"code":"x"}`, 503, Unavailable, "x"},
		{"by the status of a login", `{"code":"x"}`, 401, Refused, "x"},
		{"case matters", `{"code":"bad"}`, 400, Refused, "bad"},
		{"cleaned", `{"code":"\u0000BAD\n"}`, 400, InvalidGrant, "BAD"},
		{"200, no token", `{"code":190}`, 200, InvalidGrant, "190"},
		{"200, no token, nested", `{"data":{"code":190}}`, 200, InvalidGrant, "190"},
		{"200, no token, not known", `{"code":"x"}`, 200, Refused, "x"},
		{"200, a token", `{"code":190,"access_token":"at-1"}`, 200, 0, ""},
		{"200, a token, nested", `{"code":190,"data":{"access_token":"at-1"}}`, 200, 0, ""},
		{"200, a token and an error", `{"code":190,"error":"x","access_token":"at-1"}`, 200, InvalidGrant, "x"},
		{"200, an odd token", `{"code":190,"access_token":"a b"}`, 200, Unreadable, ""},
		{"200, zero", `{"code":0}`, 200, Unreadable, ""},
		{"200, zero as text", `{"code":"0"}`, 200, Unreadable, ""},
		{"200, null", `{"code":null}`, 200, Unreadable, ""},
		{"200, not well-formed", `{"code":190,"x":NaN}`, 200, Unreadable, ""},
		{"redacted", `{"code":"no sentinel-refresh"}`, 400, Refused, "no [redacted]"},
		{"long", `{"code":"` + strings.Repeat("x", 1<<18) + `"}`, 400, Refused, strings.Repeat("x", 64)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a, err := habitual(h, time.Now(), tt.status, tt.body)
			if tt.want == 0 {
				if err != nil || a.AccessToken != "at-1" {
					t.Errorf("got %v, %v, want the token", show(a), err)
				}
				return
			}
			if e := wantClass(t, err, tt.want); a != nil || e.Code != tt.code {
				t.Errorf("got %v, %v, want no answer, code %q", show(a), e, tt.code)
			}
		})
	}
	t.Run("a refresh token with the failure", func(t *testing.T) {
		a, err := habitual(h, time.Now(), 200, `{"code":190,"refresh_token":"rt-2"}`)
		if wantClass(t, err, InvalidGrant); show(a)["refresh_token"] != "rt-2" {
			t.Errorf("got %v, want the refresh token", show(a))
		}
	})
	t.Run("broken off", func(t *testing.T) {
		r := request("")
		r.Habits = h
		_, err := evaluate(&exchange{request: r, status: 200, body: []byte(`{"code":190,"access_`), readErr: io.ErrUnexpectedEOF})
		wantClass(t, err, Lost)
	})
	t.Run("the member error itself", func(t *testing.T) {
		_, err := habitual(&Habits{ErrorPaths: []string{"error"}, Errors: map[string]Class{"190": InvalidGrant}}, time.Now(), 200, `{"error":190}`)
		if e := wantClass(t, err, InvalidGrant); e.Code != "190" {
			t.Errorf("got code %q, want 190", e.Code)
		}
	})
	t.Run("without habits", func(t *testing.T) {
		_, err := answered(400, asJSON, `{"code":190}`)
		if e := wantClass(t, err, Refused); e.Code != "" {
			t.Errorf("got code %q, want none", e.Code)
		}
	})
}

// Providers that take JSON repeat it as JSON.
func TestThreat135_WhatWasSentAsJSONIsNotRepeated(t *testing.T) {
	const refresh, secret = "1//0sentinel\"é<\U0001f600", `two  spaces \ sentinel/&`
	r := request("https://auth.example/")
	r.Form.Set("refresh_token", refresh)
	r.Form.Set("my_exchange_token", "sentinel-exchange")
	r.ClientSecret, r.AuthMethod, r.Habits = secret, "client_secret_post", &Habits{JSON: true}
	for name, spell := range map[string]func(s string) string{
		"as it is": func(s string) string { return s },
		"for HTML": func(s string) string { b, _ := json.Marshal(s); return string(b) },
		"slash":    func(s string) string { return strings.ReplaceAll(marshal(s), "/", `\/`) },
		"ASCII":    func(s string) string { return strings.ReplaceAll(marshal(s), "é<\U0001f600", `\u00e9<\ud83d\ude00`) },
		"PHP": func(s string) string {
			return strings.ReplaceAll(strings.ReplaceAll(marshal(s), "/", `\/`), "é<\U0001f600", `\u00e9<\ud83d\ude00`)
		},
		"one space": func(s string) string { return strings.ReplaceAll(marshal(s), "  ", " ") },
	} {
		t.Run("135 "+name, func(t *testing.T) {
			text := "got " + spell(refresh) + " and " + spell(secret) + spell("sentinel-exchange")
			var sent []sentRequest
			_, err := Do(t.Context(), record(t, &sent, 400, marshal(map[string]string{"error": "bad " + text, "error_description": text})), r)
			e := wantClass(t, err, Refused) // looks for "sentinel"
			if strings.Count(e.Description, "[redacted]") != 3 {
				t.Errorf("got description %q, want three redacted", e.Description)
			}
			if !strings.Contains(sent[0].body, marshal(refresh)) {
				t.Errorf("got body %s, want it in JSON", sent[0].body)
			}
		})
	}
}

// A path finds what is there, and nothing else.
func TestPaths(t *testing.T) {
	members, err := parseObject([]byte(`{"a":{"b":[{"c":1},{"c":[2,3]},4]},"d":[[{"e":5}]],"f":"x","g":null,"a.b":6}`))
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string][]string{
		"f": {`"x"`}, "f[]": nil, "f.x": nil, "f[].x": nil, "g": {"null"}, "g.x": nil, "none": nil, "none.x": nil, "": nil,
		"a.b.c": {"1"}, "a.b[].c": {"1", "[2,3]"}, "a.b[].c[]": {"2", "3"}, "a.b[]": {`{"c":1}`, `{"c":[2,3]}`, "4"},
		"d.e": nil, "d[].e": nil, "a[].b": nil,
	} {
		var got []string
		for _, raw := range atPath(members, path) {
			got = append(got, string(raw))
		}
		if !slices.Equal(got, want) {
			t.Errorf("%q: got %q, want %q", path, got, want)
		}
	}
}
