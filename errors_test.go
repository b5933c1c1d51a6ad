package authprofile_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"golang.org/x/oauth2"

	"github.com/authprofile/authprofile"
)

func TestErrorSaysWhere(t *testing.T) {
	reason := fmt.Errorf("%w: because", authprofile.ErrReauthorize)
	for _, test := range []struct {
		err  *authprofile.Error
		want string
	}{
		{&authprofile.Error{Op: "token", ProfileID: "crm", User: "ada@example.com", Err: reason}, `authprofile: token "crm": the user must authorize again: because`},
		{&authprofile.Error{Op: "profiles", Err: fs.ErrClosed}, "authprofile: profiles: file already closed"},
		{&authprofile.Error{Op: "save", ProfileID: "a\nb\"", Err: fs.ErrClosed}, `authprofile: save "a\nb\"": file already closed`},
		{&authprofile.Error{Op: "shutdown"}, "authprofile: shutdown"},
	} {
		if got := test.err.Error(); got != test.want {
			t.Errorf("got %q, want %q", got, test.want)
		}
		for _, v := range []any{test.err, *test.err} { // by value, too
			for _, format := range formats {
				if format == "%!" {
					continue
				}
				want := test.want
				if strings.HasSuffix(format, "q") {
					want = fmt.Sprintf("%q", want)
				}
				if got := fmt.Sprintf(format, v); got != want {
					t.Errorf("%s of a %T: got %q, want %q", format, v, got, want)
				}
			}
			text, err := json.Marshal(v)
			if err != nil {
				t.Error(err)
			}
			var got string
			if err := json.Unmarshal(text, &got); err != nil || got != test.want {
				t.Errorf("JSON of a %T: got %s, want the text", v, text)
			}
			if got := recorded(v); strings.Contains(got, "ada") {
				t.Errorf("slog of a %T: got %s, want no user", v, got)
			}
		}
	}
	err := error(&authprofile.Error{Op: "token", ProfileID: "crm", User: "ada", Err: reason})
	var e *authprofile.Error
	if !errors.As(fmt.Errorf("sync: %w", err), &e) || e.User != "ada" || !errors.Is(err, authprofile.ErrReauthorize) {
		t.Errorf("got %#v, want the user and the reason within reach", e)
	}
}

// What was said by a provider is within reach, without its body.
func TestErrorsOfAProvider(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.adasProfile()
		expire()
		w.srv.Fault("token", answers(400, `{"error":"invalid_grant","error_description":"ada has left","error_uri":"https://login.example.com/why","more":"secret body"}`))
		for range 2 { // as it happens, and as it is read again
			err := w.refuses(w.m, p, authprofile.ErrReauthorize, asAda)
			var re *oauth2.RetrieveError
			if !errors.As(err, &re) || re.ErrorCode != "invalid_grant" || re.ErrorDescription != "ada has left" || re.Body != nil || re.Response.StatusCode != 400 {
				t.Fatalf("got %#v, want the code, the description and no body", re)
			}
			if len(re.Response.Header) != 0 || re.Response.Body != nil || re.Response.Request != nil {
				t.Errorf("got %+v, want nothing of the response but its status", re.Response)
			}
			if got := err.Error(); !strings.Contains(got, "invalid_grant") || strings.Contains(got, "left") || strings.Contains(got, "body") {
				t.Errorf("got %q, want the code and nothing else of it", got)
			}
			var e *authprofile.Error
			if !errors.As(err, &e) || e.Op != "token" || e.ProfileID != "crm" || e.User != "ada" {
				t.Errorf("got %#v, want where it happened", e)
			}
		}
		w.asked("refresh_token", 1)
	})
}

func TestFieldErrorsAreAllThere(t *testing.T) {
	m := new(authprofile.Manager)
	err := m.Save(t.Context(), &authprofile.Profile{ID: "a\n", Type: authprofile.TypeUser, Scopes: []string{"a b"}})
	var e *authprofile.Error
	if !errors.As(err, &e) || e.Op != "save" {
		t.Fatalf("got %v, want an *Error of save", err)
	}
	list, ok := e.Err.(interface{ Unwrap() []error })
	if !ok {
		t.Fatalf("got %T, want a list", e.Err)
	}
	var fields []string
	for _, err := range list.Unwrap() {
		fe, ok := err.(*authprofile.FieldError)
		if !ok {
			t.Fatalf("got %T in the list, want a *FieldError", err)
		}
		fields = append(fields, fe.Field)
		if got, want := fe.Error(), fe.Field+": "+fe.Problem; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	if got, want := strings.Join(fields, " "), "ID ClientID Endpoints Scopes[0] RedirectURL"; got != want {
		t.Errorf("got problems of %s, want %s", got, want)
	}
}

// Errors have nothing of the address of a proxy, of what it says, or of the
// address that was asked.
func TestThreat090_136_ProxiesKeepTheirPasswords(t *testing.T) {
	refuses := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Proxy-Authenticate", "SENTINEL-header")
		http.Error(w, "SENTINEL-body", http.StatusProxyAuthRequired)
	}))
	defer refuses.Close()
	closed := httptest.NewServer(nil)
	closed.Close()
	for _, proxy := range []string{refuses.URL, closed.URL} {
		u, err := url.Parse(proxy)
		if err != nil {
			t.Fatal(err)
		}
		u.User = url.UserPassword("SENTINEL-user", "SENTINEL-password")
		m := &authprofile.Manager{HTTPClient: &http.Client{Transport: &http.Transport{Proxy: http.ProxyURL(u)}}}
		p := validApp("")
		p.Endpoints.TokenURL += "?key=SENTINEL-query"
		_, tokenErr := m.Token(t.Context(), p)
		_, discoverErr := m.Discover(t.Context(), "https://auth.example.com/.well-known/openid-configuration")
		for _, err := range []error{tokenErr, discoverErr} {
			if err == nil {
				t.Fatal("got no error, want one")
			}
			for _, e := range append(chain(err), err) {
				if got := e.Error() + shown(e) + encoded(e) + recorded(e); strings.Contains(got, "SENTINEL") {
					t.Errorf("got %T: %s, want it without the password", e, got)
				}
			}
		}
		if err := m.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

// What passes by itself is told apart from what needs a person, the application or
// another call.
func TestTemporary(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want bool
	}{
		{errAway, true},
		{context.DeadlineExceeded, true},
		{&oauth2.RetrieveError{Response: &http.Response{StatusCode: 503}}, true},
		{context.Canceled, false},
		{authprofile.ErrReauthorize, false},
		{authprofile.ErrConfiguration, false},
		{authprofile.ErrUserMismatch, false},
		{authprofile.ErrNotFound, false},
		{authprofile.ErrConflict, false},
		{errors.Join(&authprofile.FieldError{Field: "ClientID"}), false},
	} {
		for _, reason := range []error{tt.err, fmt.Errorf("because: %w", tt.err)} {
			err := error(&authprofile.Error{Op: "token", Err: reason})
			var e interface{ Temporary() bool }
			if !errors.As(fmt.Errorf("client: %w", err), &e) || e.Temporary() != tt.want {
				t.Errorf("%v: got temporary %t, want %t", reason, !tt.want, tt.want)
			}
		}
	}
}
