package tokenendpoint

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authprofile/authprofile/internal/foreign"
)

func assertion(s string, err error) func(context.Context) (string, error) {
	return func(context.Context) (string, error) { return s, err }
}

// asserting is a request that needs an assertion.
func asserting(address string, f func(context.Context) (string, error)) *Request {
	r := request(address)
	r.AuthMethod, r.ClientSecret, r.Assertion = "private_key_jwt", "", f
	return r
}

func TestAssertionIsSent(t *testing.T) {
	for _, asObject := range []bool{false, true} {
		var order []string
		n := 0
		r := asserting("https://auth.example/token", func(context.Context) (string, error) {
			order = append(order, "assertion")
			n++
			return "sentinel.claims." + string(rune('0'+n)), nil
		})
		r.Habits = &Habits{JSON: asObject, ClientIDParam: "client_key"}
		r.Form.Set("client_assertion", "other")
		r.Form.Set("client_assertion_type", "other")
		r.BeforeSend = func() error { order = append(order, "before"); return nil }
		provider := roundTrip(func(req *http.Request) (*http.Response, error) {
			body, err := io.ReadAll(req.Body)
			order = append(order, "sent")
			got := make(map[string]string)
			if asObject {
				err = errors.Join(err, json.Unmarshal(body, &got))
			} else {
				form, parseErr := url.ParseQuery(string(body))
				err = errors.Join(err, parseErr)
				for name := range form {
					got[name] = strings.Join(form[name], "|")
				}
			}
			if err != nil {
				return nil, err
			}
			if got["client_assertion"] != "sentinel.claims."+string(rune('0'+n)) || got["client_assertion_type"] != assertionType || got["client_key"] != "client" || len(got) != 5 {
				t.Errorf("got %v, want the assertion of this request, its type and the client", got)
			}
			if req.Header.Get("Authorization") != "" {
				t.Error("got a second method, want one")
			}
			answer, err := json.Marshal(map[string]string{"error": "x", "error_description": "bad " + got["client_assertion"]})
			return &http.Response{StatusCode: 400, Body: io.NopCloser(strings.NewReader(string(answer)))}, err
		})
		for range 2 {
			_, err := Do(t.Context(), provider, r)
			if e := wantClass(t, err, Refused); e.Description != "bad [redacted]" {
				t.Errorf("got description %q, want the assertion redacted", e.Description)
			}
		}
		if want := slices.Repeat([]string{"assertion", "before", "sent"}, 2); !slices.Equal(order, want) {
			t.Errorf("got %q, want %q", order, want)
		}
	}
}

// Without an assertion nothing is sent, and no error shows what the function said.
func TestAssertionThatCannotBeHad(t *testing.T) {
	foreignErr := &fs.PathError{Op: "open", Path: "sentinel", Err: fs.ErrNotExist}
	nothing := roundTrip(func(*http.Request) (*http.Response, error) {
		t.Error("got a request, want none")
		return nil, io.EOF
	})
	for _, tt := range []struct {
		name  string
		f     func(context.Context) (string, error)
		class Class
		text  string
		is    error
	}{
		{"it fails", assertion("sentinel", foreignErr), Unsent, "the client's assertion cannot be had", fs.ErrNotExist},
		{"it panics", func(context.Context) (string, error) { panic("sentinel") }, Unsent, "the client's assertion cannot be had", nil},
		{"it ends its goroutine", func(context.Context) (string, error) { runtime.Goexit(); return "", nil }, Unsent, "the client's assertion cannot be had", foreign.ErrGoexit},
		{"it is empty", assertion("", nil), Unsent, "the client's assertion is empty", nil},
		{"there is no function", nil, Configuration, "needs a client key, or Manager.Assertion", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := asserting("https://auth.example/token", tt.f)
			r.BeforeSend = func() error { t.Error("got a call of BeforeSend, want none"); return nil }
			_, err := Do(t.Context(), nothing, r)
			e := wantClass(t, err, tt.class)
			if e.Err.Error() != tt.text || tt.is != nil && !errors.Is(err, tt.is) {
				t.Errorf("got %v, want %q, which is %v", e, tt.text, tt.is)
			}
			if _, ok := errors.AsType[*fs.PathError](err); ok != (tt.name == "it fails") {
				t.Errorf("got *fs.PathError found: %t", ok)
			}
		})
	}
	t.Run("it does not return", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			release := make(chan struct{})
			r := asserting("https://auth.example/token", func(context.Context) (string, error) { <-release; return "late", nil })
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			begin := time.Now()
			_, err := Do(ctx, nothing, r)
			e := wantClass(t, err, Unsent)
			if got := time.Since(begin); got != time.Minute+foreign.Patience || !errors.Is(err, context.DeadlineExceeded) || e.Err.Error() != "the client's assertion did not come in time" {
				t.Errorf("got %v after %v, want the deadline", e, got)
			}
			close(release)
		})
	})
}

// An assertion is asked for only if the request can be sent, and needs it.
func TestAssertionIsNotAskedForInVain(t *testing.T) {
	f := func(context.Context) (string, error) { t.Error("got a call, want none"); return "", nil }
	over, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := Do(over, nil, asserting("https://auth.example/token", f))
	wantClass(t, err, Unsent)
	_, err = Do(t.Context(), nil, asserting("auth.example", f))
	wantClass(t, err, Configuration)

	srv := serve(t, 200, asJSON, usable)
	for name, alter := range map[string]func(*Request){
		"another method": func(r *Request) { r.AuthMethod = "tls_client_auth" },
		"anonymous":      func(r *Request) { r.Anonymous = true },
		"credential":     func(r *Request) { r.Credential = &Credential{Header: "X-Token", Value: "v"} },
	} {
		r := asserting(srv.URL, f)
		alter(r)
		if _, err := Do(t.Context(), client(t), r); err != nil {
			t.Errorf("%s: got %v, want success", name, err)
		}
	}
}
