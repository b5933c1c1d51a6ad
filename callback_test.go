package authprofile_test

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"golang.org/x/oauth2"

	"github.com/authprofile/authprofile"
	"github.com/authprofile/authprofile/providertest"
)

// FuzzCallback feeds queries to Finish. "STATE" in them stands for the state
// of a flow that is in progress. Nothing is asked of the provider without that
// state, a code is asked about once and as it came, and no error's text has
// more of the query in it than an error code in its standard's letters.
func FuzzCallback(f *testing.F) {
	for _, seed := range []string{
		"", "code=a&state=STATE", "code=a&state=STATE&iss=https://login.example.com", "code=a&state=", "code=a",
		"state=STATE&error=access_denied&error_description=no&iss=https://login.example.com",
		"state=STATE&state=STATE&code=a", "state=STATE&code=a&code=b", "state=STATE&code=a&error=b",
		"state=STATE&iss=https://evil.example.com&code=a", "state=STATE&access_token=a&code=b", "#access_token=a&state=STATE",
		"state=STATE%00&code=a", "state=%53TATE&code=a", "state=STATE;code=a", "state=STATE&code=%ff%00%0d%0a&iss=https://login.example.com",
		"state=STATE&error=%3Cscript%3E%22%5C%0a%c3%a9%e2%80%ae&iss=https://login.example.com", "State=STATE&Code=a", "state=STATE&code&error",
	} {
		f.Add(seed)
	}

	var asked []url.Values
	provider := roundTrip(func(r *http.Request) (*http.Response, error) {
		answer := func(status int, body string) (*http.Response, error) {
			return &http.Response{
				StatusCode: status, Header: http.Header{"Content-Type": {"application/json"}},
				Body: io.NopCloser(strings.NewReader(body)), Request: r,
			}, nil
		}
		if r.URL.Path != "/token" {
			return answer(200, `{"issuer":"https://login.example.com","authorization_endpoint":"https://login.example.com/auth",
				"token_endpoint":"https://login.example.com/token","authorization_response_iss_parameter_supported":true}`)
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		form, err := url.ParseQuery(string(body))
		asked = append(asked, form)
		if err != nil {
			return nil, err
		}
		return answer(400, `{"error":"invalid_grant"}`)
	})
	m := &authprofile.Manager{HTTPClient: &http.Client{Transport: provider}, RedirectURL: callbackAddress}
	p := &authprofile.Profile{
		ID: "crm", Type: authprofile.TypeUser, ClientID: "c", ClientSecret: "s",
		Endpoints: authprofile.Endpoints{DiscoveryURL: "https://login.example.com/.well-known/openid-configuration"},
	}
	if err := m.Save(f.Context(), p); err != nil {
		f.Fatal(err)
	}
	texts := []string{
		"authprofile: finish: the callback is too large",
		"authprofile: finish: the callback has no state that we gave out",
		"authprofile: finish: the callback has a token in it, which was not asked for",
		"authprofile: finish: the callback must have either a code or an error",
		"authprofile: finish: not found: no such authorization in progress, or already finished, or expired",
		`authprofile: finish "crm": the callback comes from another issuer than the one that was asked`,
		`authprofile: finish "crm": the callback does not name its issuer, though the provider promises that`,
		`authprofile: finish "crm": the provider refuses (invalid_grant, HTTP 400)`,
	}
	for _, name := range []string{"state", "code", "iss", "error", "error_description"} {
		texts = append(texts, `authprofile: finish: the callback has more than one "`+name+`"`)
	}

	f.Fuzz(func(t *testing.T, raw string) {
		flow, err := m.Begin(t.Context(), p, "ada")
		if err != nil {
			t.Fatal(err)
		}
		query, _ := url.ParseQuery(strings.ReplaceAll(raw, "STATE", flow.State))
		asked = nil
		g, err := m.Finish(t.Context(), "ada", query)
		if err == nil {
			t.Fatalf("got a grant: %v, want an error", g)
		}
		valid := slices.Equal(query["state"], []string{flow.State}) && slices.Equal(query["iss"], []string{"https://login.example.com"}) &&
			len(query["code"]) == 1 && query.Get("code") != "" && query.Get("error") == ""
		switch {
		case len(asked) > 1:
			t.Errorf("got %d token requests, want one at most", len(asked))
		case len(asked) == 1 && !valid:
			t.Errorf("got a token request for %q, want none", raw)
		case len(asked) == 1 && (asked[0].Get("code") != query.Get("code") || asked[0].Get("code_verifier") != string(flow.Verifier)):
			t.Errorf("got form %v, want the code as it came and the flow's verifier", asked[0])
		}
		text := err.Error()
		if code, ok := strings.CutPrefix(text, `authprofile: finish "crm": the provider answers `); ok {
			if len(code) > 64 || strings.ContainsFunc(code, func(r rune) bool { return r < ' ' || r > '~' || r == '"' || r == '\\' }) {
				t.Errorf("got error code %q, want 64 printable characters at most", code)
			}
			if !slices.Equal(query["state"], []string{flow.State}) {
				t.Errorf("got %q without the state, want another error", text)
			}
		} else if !slices.Contains(texts, text) {
			t.Errorf("got %q, want one of the texts that are known", text)
		}
		if !utf8.ValidString(text) {
			t.Errorf("got %q, want text", text)
		}
	})
}

func TestThreats_StateOfACallback(t *testing.T) {
	other := strings.Repeat("A", 43)
	otherCase := func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'z':
			return r - 'a' + 'A'
		case 'A' <= r && r <= 'Z':
			return r - 'A' + 'a'
		}
		return r
	}
	type query = url.Values
	for _, test := range []struct {
		name   string
		change func(q query, f *authprofile.Flow) query
		target error
	}{
		{"001 state that was never issued", func(q query, f *authprofile.Flow) query { return with(q, "state", other) }, authprofile.ErrNotFound},
		{"002 no state", func(q query, f *authprofile.Flow) query { return with(q, "state") }, nil},
		{"002 empty state", func(q query, f *authprofile.Flow) query { return with(q, "state", "") }, nil},
		{"002 nothing at all", func(q query, f *authprofile.Flow) query { return query{} }, nil},
		{"002 nil", func(q query, f *authprofile.Flow) query { return nil }, nil},
		{"013 in other letters", func(q query, f *authprofile.Flow) query {
			return with(q, "state", strings.Map(otherCase, f.State))
		}, authprofile.ErrNotFound},
		{"013 with padding", func(q query, f *authprofile.Flow) query { return with(q, "state", f.State+"=") }, authprofile.ErrNotFound},
		{"013 with a space", func(q query, f *authprofile.Flow) query { return with(q, "state", f.State+" ") }, authprofile.ErrNotFound},
		{"013 with unicode", func(q query, f *authprofile.Flow) query { return with(q, "state", f.State+"é") }, authprofile.ErrNotFound},
		{"013 its hash", func(q query, f *authprofile.Flow) query { return with(q, "state", f.ID) }, authprofile.ErrNotFound},
		{"013 2 kB", func(q query, f *authprofile.Flow) query { return with(q, "state", strings.Repeat("x", 2048)) }, authprofile.ErrNotFound},
		{"014 two codes", func(q query, f *authprofile.Flow) query { return with(q, "code", "a", "b") }, nil},
		{"014 two equal codes", func(q query, f *authprofile.Flow) query { return with(q, "code", q.Get("code"), q.Get("code")) }, nil},
		{"014 two states", func(q query, f *authprofile.Flow) query { return with(q, "state", f.State, f.State) }, nil},
		{"014 two issuers", func(q query, f *authprofile.Flow) query { return with(q, "iss", issuer, issuer) }, nil},
		{"014 code and error", func(q query, f *authprofile.Flow) query { return with(q, "error", "access_denied") }, nil},
		{"014 empty code and error, with another code", func(q query, f *authprofile.Flow) query { return with(with(q, "error", ""), "code", "", "a") }, nil},
		{"014 both empty", func(q query, f *authprofile.Flow) query { return with(with(q, "error", ""), "code", "") }, nil},
		{"014 two errors", func(q query, f *authprofile.Flow) query { return with(with(q, "error", "a", "b"), "code") }, nil},
		{"014 neither code nor error", func(q query, f *authprofile.Flow) query { return with(q, "code") }, nil},
		{"014 empty code", func(q query, f *authprofile.Flow) query { return with(q, "code", "") }, nil},
		{"015 error with a state that was never issued", func(q query, f *authprofile.Flow) query {
			return query{"error": {"access_denied"}, "state": {other}}
		}, authprofile.ErrNotFound},
		{"015 error without state", func(q query, f *authprofile.Flow) query { return query{"error": {"access_denied"}} }, nil},
		{"019 access token", func(q query, f *authprofile.Flow) query { return with(q, "access_token", "x") }, nil},
		{"019 access token in place of a code", func(q query, f *authprofile.Flow) query {
			return with(with(q, "access_token", "x"), "code")
		}, nil},
		{"019 ID token", func(q query, f *authprofile.Flow) query { return with(q, "id_token", "x") }, nil},
		{"021 1 MB", func(q query, f *authprofile.Flow) query { return with(q, "x", strings.Repeat("x", 1<<20)) }, nil},
		{"021 long code", func(q query, f *authprofile.Flow) query { return with(q, "code", strings.Repeat("x", 17000)) }, nil},
		{"021 10,000 parameters", func(q query, f *authprofile.Flow) query {
			many := with(q, "x", "1")
			for i := range 10_000 {
				many.Set(fmt.Sprint("p", i), "")
			}
			return many
		}, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				f := w.begin(w.user(), "ada")
				q := w.consent(f)
				requests := len(w.srv.Captured())
				err := w.finishFails("ada", test.change(q, f), test.target)
				var re *oauth2.RetrieveError
				if errors.As(err, &re) {
					t.Errorf("got %v, want nothing of an answer without a flow", re)
				}
				if got := len(w.srv.Captured()) - requests; got != 0 {
					t.Errorf("got %d requests to the provider, want none", got)
				}
				// None of that has ended the flow.
				if _, err := w.m.Finish(t.Context(), "ada", q); err != nil {
					t.Errorf("got %v, want the flow to go on", err)
				}
			})
		})
	}
}

func TestThreat020_UnknownParametersDoNotMatter(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		q := w.consent(w.begin(w.user(), "ada"))
		q["session_state"] = []string{"x", "y"}
		q.Set("scope", "everything")
		q.Set("realmId", "12")
		g, err := w.m.Finish(t.Context(), "ada", q)
		if err != nil {
			t.Fatal(err)
		}
		if slices.Contains(g.Scopes, "everything") {
			t.Errorf("got scopes %q from the browser, want those of the provider", g.Scopes)
		}
	})
}

// A parameter without a value is as good as absent.
func TestThreat020_EmptyParametersDoNotMatter(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.user()
		q := with(w.consent(w.begin(p, "ada")), "error", "")
		if _, err := w.m.Finish(t.Context(), "ada", with(q, "error_description", "")); err != nil {
			t.Errorf("got %v for a code and an empty error, want a grant", err)
		}
		w.srv.SetConsent(providertest.Consent{Error: "access_denied"})
		err := w.finishFails("ada", with(w.consent(w.begin(p, "ada")), "code", ""), nil)
		if re, ok := errors.AsType[*oauth2.RetrieveError](err); !ok || re.ErrorCode != "access_denied" {
			t.Errorf("got %v for an error and an empty code, want access_denied", err)
		}
		w.asked("authorization_code", 1)
	})
}

func TestThreat015_DeniedConsent(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.adasProfile()
		before := w.grant(ada)
		w.srv.SetConsent(providertest.Consent{Error: "access_denied", Description: "ada said no"})
		q := w.consent(w.begin(p, "ada"))
		err := w.finishFails("ada", q, nil)
		var re *oauth2.RetrieveError
		if !errors.As(err, &re) || re.ErrorCode != "access_denied" || re.ErrorDescription != "ada said no" || re.Body != nil {
			t.Errorf("got %#v, want a *RetrieveError with code, description and no body", re)
		}
		if got := err.Error(); !strings.Contains(got, "access_denied") || strings.Contains(got, "said") {
			t.Errorf("got %q, want the code and not the description", got)
		}
		w.finishFails("ada", q, authprofile.ErrNotFound) // it is over
		w.asked("authorization_code", 1)
		if after := w.grant(ada); after.Version != before.Version {
			t.Error("got a changed grant, want the one before to be left alone")
		}
	})
}

func TestThreat016_017_ErrorsOfACallback(t *testing.T) {
	for _, test := range []struct{ name, code, description, wantCode, wantDescription string }{
		{"HTML", "<script>alert(1)</script>", "<img src=x>", "<script>alert(1)</script>", "<img src=x>"},
		{"CRLF", "a\r\nSet-Cookie: x", "b\r\nc", "a??Set-Cookie: x", "b??c"},
		{"terminal", "\x1b[31mred\x07", "\x1b]0;x\x07", "?[31mred?", "?]0;x?"},
		{"quotes", `a"b\c`, `a"b\c`, "a?b?c", `a"b\c`},
		{"not UTF-8", "a\xffb", "a\xffb", "a?b", "a?b"},
		{"letters", "é\u202e", "é\u202e\u00ad", "??", "é??"},
		{"1 MB", strings.Repeat("x", 8000), strings.Repeat("é", 4000), strings.Repeat("x", 64), strings.Repeat("é", 128)},
	} {
		t.Run(test.name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				f := w.begin(w.user(), "ada")
				err := w.finishFails("ada", url.Values{
					"state": {f.State}, "error": {test.code}, "error_description": {test.description},
					"error_uri": {"javascript:alert(1)"}, "iss": {issuer},
				}, nil)
				var re *oauth2.RetrieveError
				if !errors.As(err, &re) {
					t.Fatalf("got %v, want a *RetrieveError", err)
				}
				if re.ErrorCode != test.wantCode {
					t.Errorf("got code %q, want %q", re.ErrorCode, test.wantCode)
				}
				if re.ErrorDescription != test.wantDescription {
					t.Errorf("got description %q, want %q", re.ErrorDescription, test.wantDescription)
				}
				if re.ErrorURI != "" || strings.Contains(fmt.Sprintf("%v %+v %#v", err, err, re), "javascript") {
					t.Errorf("got the address %q, want none", re.ErrorURI)
				}
			})
		})
	}
}

func TestThreats_IssuerOfACallback(t *testing.T) {
	for _, test := range []struct {
		name      string
		announced bool
		denied    bool
		iss       []string
		ok        bool
	}{
		{"035 announced and right", true, false, []string{issuer}, true},
		{"035 announced and missing", true, false, nil, false},
		{"035 announced and another's", true, false, []string{"https://evil.example.com"}, false},
		{"035 announced, with a slash more", true, false, []string{issuer + "/"}, false},
		{"035 announced, in other letters", true, false, []string{"https://LOGIN.example.com"}, false},
		{"035 announced and empty", true, false, []string{""}, false},
		{"036 not announced and missing", false, false, nil, true},
		{"036 not announced and right", false, false, []string{issuer}, true},
		{"036 not announced and another's", false, false, []string{"https://evil.example.com"}, false},
		{"036 not announced and empty", false, false, []string{""}, false},
		{"037 error without issuer", true, true, nil, false},
		{"037 error of another issuer", true, true, []string{"https://evil.example.com"}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.srv.Mutate(providertest.Discovery, func(answer map[string]any) {
					answer["authorization_response_iss_parameter_supported"] = test.announced
				})
				consent := providertest.Consent{Params: url.Values{"iss": test.iss}}
				if test.denied {
					consent.Error = "access_denied"
				}
				w.srv.SetConsent(consent)
				q := w.consent(w.begin(w.user(), "ada"))
				if test.ok {
					if _, err := w.m.Finish(t.Context(), "ada", q); err != nil {
						t.Error(err)
					}
					return
				}
				err := w.finishFails("ada", q, nil)
				w.asked("authorization_code", 0)
				w.noGrant(ada)
				var re *oauth2.RetrieveError
				if errors.As(err, &re) {
					t.Errorf("got %v, want nothing of what another provider says", re)
				}
			})
		})
	}
}

// A callback without a flow is logged.
func TestThreat001_IsLogged(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		var log strings.Builder
		m := w.manager()
		m.Logger = slog.New(slog.NewTextHandler(&log, nil))
		state := strings.Repeat("A", 43)
		m.Finish(t.Context(), "ada", url.Values{"state": {state}, "code": {"x"}})
		if s := log.String(); !strings.Contains(s, "level=WARN") || !strings.Contains(s, "authorization failed") || strings.Contains(s, state) {
			t.Errorf("got log %q, want a warning without the state", s)
		}
	})
}

// TestThreat014_OurParametersMustBeFormEncoded: what they mean is not guessed,
// and the flow goes on.
func TestThreat014_OurParametersMustBeFormEncoded(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		s, b := w.site(), &browser{user: "ada"}
		back := s.away(b, "https://app.example.com/connect")
		var encoded []string
		for name, values := range parsed(t, back).Query() {
			encoded = append(encoded, name+"="+url.QueryEscape(values[0]))
		}
		for _, name := range []string{"code", "state", "iss"} {
			for _, spoil := range []string{"%", "%zz", ";", ";x=y"} {
				var query []string
				for _, pair := range encoded {
					if strings.HasPrefix(pair, name+"=") {
						pair += spoil
					}
					query = append(query, pair)
				}
				wantPage(t, s.serve(b, "GET", callbackAddress+"?"+strings.Join(query, "&")), http.StatusBadRequest, "Not connected")
			}
		}
		for _, more := range []string{"code=%", "state=%", "iss=%", "%69ss=%", "error=%", "error=a;b", "error_description=%&error_description=a"} {
			wantPage(t, s.serve(b, "GET", back+"&"+more), http.StatusBadRequest, "Not connected")
		}
		w.asked("authorization_code", 0)
		wantPage(t, s.serve(b, "GET", back), http.StatusOK, "Connected")
	})
}

// TestThreat018_OnlyAGetFinishes what was begun.
func TestThreat018_OnlyAGetFinishes(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		s, b := w.site(), &browser{user: "ada"}
		back := s.away(b, "https://app.example.com/connect")
		for _, method := range []string{"HEAD", "POST", "OPTIONS", "PUT", "DELETE", "PATCH"} {
			resp := s.serve(b, method, back)
			if resp.StatusCode != http.StatusMethodNotAllowed || resp.Header.Get("Allow") != "GET" {
				t.Errorf("%s: got %d, want 405 and Allow: GET", method, resp.StatusCode)
			}
			wantHidden(t, resp)
		}
		for _, header := range [][]string{
			{"Sec-Purpose", "prefetch"}, {"Sec-Purpose", "prefetch;prerender"}, {"Purpose", "prefetch"},
		} {
			wantPage(t, s.serve(b, "GET", back, header...), http.StatusForbidden, "Not loaded ahead")
			wantPage(t, s.begin(b, "https://app.example.com/connect", header...), http.StatusForbidden, "Not loaded ahead")
		}
		for _, method := range []string{"HEAD", "OPTIONS", "PUT"} {
			rec := httptest.NewRecorder()
			s.h.Begin(rec, b.request(method, "https://app.example.com/connect"), s.p)
			if rec.Code != http.StatusMethodNotAllowed || rec.Header().Get("Allow") != "GET, POST" {
				t.Errorf("%s: got %d from Begin, want 405", method, rec.Code)
			}
		}
		w.asked("authorization_code", 0)
		wantPage(t, s.serve(b, "GET", back), http.StatusOK, "Connected")
	})
}

// What is not form-encoded, and not ours, costs neither the code nor the error.
func TestThreat020_ParametersThatAreNotFormEncoded(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		s, b := w.site(), &browser{user: "ada"}
		var odd string
		s.h.Done = func(w http.ResponseWriter, r *http.Request, g *authprofile.Grant) { odd = r.URL.Query().Get("odd") }
		for _, more := range []string{
			"note=100%", "x=a;b", "x;y", ";", "%", "%zz=1", "=%", "x=%f", "a;code=evil", "code;=evil", "x=1;state=evil", "session_state=%", "scope=a;b", "x=%ff",
		} {
			w.srv.SetConsent(providertest.Consent{})
			back := s.away(b, "https://app.example.com/connect")
			odd = ""
			if resp := s.serve(b, "GET", back+"&"+more+"&odd=100%;"); resp.StatusCode != http.StatusOK || odd != "100%;" {
				t.Errorf("%q: got status %d, and %q for the application, want success and its parameter", more, resp.StatusCode, odd)
			}
			before, query, _ := strings.Cut(s.away(b, "https://app.example.com/connect"), "?")
			if resp := s.serve(b, "GET", before+"?"+more+"&"+query); resp.StatusCode != http.StatusOK {
				t.Errorf("%q before all others: got status %d, want success", more, resp.StatusCode)
			}

			w.srv.SetConsent(providertest.Consent{Error: "access_denied"})
			for _, description := range []string{"", "&error_description=100%", "&error_description=a;b", "&error_description=%ff%"} {
				back = s.away(b, "https://app.example.com/connect")
				var failure error
				s.h.ErrorHandler = func(w http.ResponseWriter, r *http.Request, err error) { failure = err }
				s.serve(b, "GET", back+"&"+more+description)
				if re, ok := errors.AsType[*oauth2.RetrieveError](failure); !ok || re.ErrorCode != "access_denied" {
					t.Errorf("%q: got %v, want access_denied", more+description, failure)
				}
			}
			s.h.ErrorHandler = nil
		}
	})
}

func TestThreat021_HugeCallbacks(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		s, b := w.site(), &browser{user: "ada"}
		back := s.away(b, "https://app.example.com/connect")
		for _, more := range []string{
			"&x=" + strings.Repeat("x", 1<<20),
			strings.Repeat("&x=1", 10_000),
			strings.Repeat("&", 10_000),
		} {
			wantPage(t, s.serve(b, "GET", back+more), http.StatusBadRequest, "Not connected")
		}
		w.asked("authorization_code", 0)
		var got *http.Request
		s.h.ErrorHandler = func(w http.ResponseWriter, r *http.Request, err error) { got = r }
		s.serve(b, "GET", back+"&x="+strings.Repeat("x", 1<<20))
		if len(got.URL.RawQuery) > 1000 || strings.Contains(got.RequestURI, "code=") {
			t.Errorf("got %d bytes of query in the request that is handed on, want few and no code", len(got.URL.RawQuery))
		}
		s.h.ErrorHandler = nil
		wantPage(t, s.serve(b, "GET", back), http.StatusOK, "Connected")
	})
}

// TestThreat029_ExactPath: the callback is at the address of the flow, not at
// one that looks like it. Threats 38 to 40: so a flow of one profile is not
// finished at the address of another.
func TestThreat029_ExactPath(t *testing.T) {
	for _, test := range []struct {
		redirect string // of the Manager
		arrival  string
		ok       bool
	}{
		{"https://app.example.com/callback", "/callback", true},
		{"https://app.example.com/callback", "/callback/", false},
		{"https://app.example.com/callback", "/Callback", false},
		{"https://app.example.com/callback", "/callback/../admin", false},
		{"https://app.example.com/callback", "/x/../callback", false},
		{"https://app.example.com/callback", "//callback", false},
		{"https://app.example.com/callback", "/callbac%6b", false},
		{"https://app.example.com/callback", "/", false},
		{"https://app.example.com/callback/", "/callback/", true},
		{"https://app.example.com/callback/", "/callback", false},
		{"https://app.example.com", "/", true},
		{"https://app.example.com/", "/", true},
		{"https://app.example.com/cb/{profile}", "/cb/crm", true},
		{"https://app.example.com/cb/{profile}", "/cb/other", false},
		{"https://app.example.com/cb/{profile}", "/cb/CRM", false},
		{"https://app.example.com/cb/{profile}", "/cb/", false},
		{"https://app.example.com/a%2Fb/%7Ec", "/a%2Fb/%7Ec", true},
		{"https://app.example.com/a%2Fb", "/a/b", false},
		{"https://app.example.com/cb?p={profile}", "/cb?p=crm", true},
		{"https://app.example.com/cb?p={profile}", "/cb?p=other", false},
		{"https://app.example.com/cb?p={profile}", "/cb?p=crm&p=other", false},
		{"https://app.example.com/cb?p={profile}", "/cb", false},
		{"https://app.example.com/cb?p=a;b", "/cb?p=a;b", true},
		{"https://app.example.com/cb?p=a;b", "/cb?p=a%3Bb", true},
		{"https://app.example.com/cb?p=a;b", "/cb?p=a;c", false},
		{"https://app.example.com/cb?p=a;b", "/cb", false},
		{"https://app.example.com/cb?p=1%", "/cb?p=1%", true},
		{"https://app.example.com/cb?p=1%", "/cb?p=1%25", true},
		{"https://app.example.com/cb?p=1%", "/cb?p=2%", false},
		{"https://app.example.com/cb?p=a%20b", "/cb?p=a+b", true},
	} {
		t.Run(test.redirect+" "+test.arrival, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.m = &authprofile.Manager{Store: w.store, HTTPClient: w.srv.Client(), RedirectURL: test.redirect}
				s, b := w.site(), &browser{user: "ada"}
				q := parsed(t, s.away(b, "https://app.example.com/connect")).Query()
				q.Del("p")
				separator := "?"
				if strings.Contains(test.arrival, "?") {
					separator = "&"
				}
				r := b.request("GET", "https://app.example.com/x")
				r.RequestURI = test.arrival + separator + q.Encode()
				u, err := url.ParseRequestURI(r.RequestURI)
				if err != nil {
					t.Fatal(err)
				}
				r.URL = u
				rec := httptest.NewRecorder()
				s.h.ServeHTTP(rec, r)
				if test.ok {
					wantPage(t, rec.Result(), http.StatusOK, "Connected")
					return
				}
				wantPage(t, rec.Result(), http.StatusBadRequest, "Not connected")
				w.asked("authorization_code", 0)
				w.noGrant(ada)
			})
		})
	}
}
