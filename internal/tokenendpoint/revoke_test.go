package tokenendpoint

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestRevoke(t *testing.T) {
	for _, tt := range []struct {
		name         string
		status       int
		header, body string
		want         Class // zero: success
		code         string
	}{
		{"146 empty", 200, "", "", 0, ""},
		{"146 any body", 200, "", `{"error":"invalid_token"}`, 0, ""},
		{"no content", 204, "", "", 0, ""},
		{"146 unavailable", 503, "120", "", Unavailable, ""},
		{"146 no good any more", 400, "", `{"error":"invalid_token"}`, 0, ""},
		{"146 no good any more, says Google", 400, "", `{"error":"invalid_token","error_description":"Token expired or revoked"}`, 0, ""},
		{"146 no good any more, in other words", 400, "", `{"error":"invalid_grant"}`, 0, ""},
		{"146 no good any more, but away", 503, "120", `{"error":"invalid_token"}`, Unavailable, "invalid_token"},
		{"146 login of the client refused", 401, "", `{"error":"invalid_token"}`, Refused, "invalid_token"},
		{"146 unsupported type", 400, "", `{"error":"unsupported_token_type"}`, Refused, "unsupported_token_type"},
		{"wrong client", 401, "", `{"error":"invalid_client"}`, Configuration, "invalid_client"},
		{"redirect", 307, "", "", Configuration, ""},
		{"146 missing", 404, "", "not here", Configuration, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			srv := start(t, func(w http.ResponseWriter, r *http.Request) {
				if id, secret, _ := r.BasicAuth(); id != "client" || secret != "sentinel-secret" || r.FormValue("token") != "sentinel-token" {
					dump, _ := httputil.DumpRequest(r, true)
					t.Errorf("got %s, want the client and the token", dump)
				}
				if tt.header != "" {
					w.Header().Set("Retry-After", tt.header)
				}
				w.Header().Set("Location", "/")
				w.WriteHeader(tt.status)
				if tt.status != 204 {
					io.WriteString(w, tt.body)
				}
			})
			r := request(srv.URL)
			r.Form = url.Values{"token": {"sentinel-token"}, "token_type_hint": {"refresh_token"}}
			err := Revoke(t.Context(), client(t), r)
			if tt.want == 0 {
				if err != nil {
					t.Errorf("got %v, want success", err)
				}
				return
			}
			e := wantClass(t, err, tt.want)
			if e.HTTPStatus != tt.status || e.Code != tt.code || !strings.HasPrefix(e.Error(), "revocation endpoint: ") {
				t.Errorf("got %v, want the revocation endpoint, status %d and code %q", e, tt.status, tt.code)
			}
			if tt.header != "" && e.RetryAfter != 2*time.Minute {
				t.Errorf("got retry after %v, want 2m", e.RetryAfter)
			}
		})
	}
	t.Run("no connection", func(t *testing.T) {
		err := Revoke(t.Context(), client(t), request("http://127.0.0.1:1"))
		wantClass(t, err, Unsent)
	})
}

func TestRevocationRequests(t *testing.T) {
	const secret = "sentinel-secret"
	bearer := &Credential{Header: "authorization", Value: "Bearer sentinel-token", Secrets: []string{"sentinel-token"}}
	for _, tt := range []struct {
		name                string
		alter               func(*Request)
		method, body        string
		authorization, kind string
	}{
		{"as usual", func(r *Request) {}, "POST", "token=sentinel-token", "Basic Y2xpZW50OnNlbnRpbmVsLXNlY3JldA==", asForm},
		{"DELETE with JSON", func(r *Request) {
			r.Method, r.Habits = "DELETE", &Habits{JSON: true}
		}, "DELETE", `{"token":"sentinel-token"}`, "Basic Y2xpZW50OnNlbnRpbmVsLXNlY3JldA==", asJSON},
		{"credential", func(r *Request) { r.Credential = bearer }, "POST", "token=sentinel-token", bearer.Value, asForm},
		{"credential alone", func(r *Request) { r.Credential, r.Form = bearer, nil }, "POST", "", bearer.Value, ""},
		{"DELETE with a credential alone", func(r *Request) {
			r.Method, r.Credential, r.Form, r.Habits = "DELETE", bearer, nil, &Habits{JSON: true}
		}, "DELETE", "", bearer.Value, ""},
		{"an object without members", func(r *Request) {
			r.Credential, r.Form, r.Habits = bearer, url.Values{}, &Habits{JSON: true}
		}, "POST", "{}", bearer.Value, "application/json"},
		{"credential in another header", func(r *Request) {
			r.Credential = &Credential{Header: "X-Token", Value: "sentinel-token"}
			r.Habits = &Habits{Header: map[string]string{"x-token": "other"}}
			r.Form = url.Values{"a": {"b"}}
		}, "POST", "a=b", "", asForm},
		{"anonymous", func(r *Request) { r.Anonymous, r.AuthMethod = true, "" }, "POST", "token=sentinel-token", "", asForm},
		{"anonymous with a client in the form", func(r *Request) {
			r.Anonymous, r.AuthMethod, r.Habits = true, "client_secret_post", &Habits{ClientIDParam: "client_key"}
			r.Form = url.Values{"client_id": {"client"}, "client_secret": {secret}}
		}, "POST", "client_key=client&client_secret=sentinel-secret", "", asForm},
	} {
		t.Run(tt.name, func(t *testing.T) {
			asked := 0
			var sent []sentRequest
			r := request("https://auth.example/revoke")
			r.Form = url.Values{"token": {"sentinel-token"}}
			r.BeforeSend = func() error { asked++; return nil }
			tt.alter(r)
			provider := roundTrip(func(req *http.Request) (*http.Response, error) {
				body, err := io.ReadAll(req.Body)
				if err != nil {
					return nil, err
				}
				sent = append(sent, sentRequest{req.Method, string(body), req.Header, req.ContentLength})
				scheme, credential, _ := strings.Cut(req.Header.Get("Authorization"), " ")
				all := []string{string(body), scheme, credential, scheme + " " + credential, req.Header.Get("X-Token")}
				answer, err := json.Marshal(map[string]string{"error": "x", "error_description": strings.Join(all, "|")})
				return &http.Response{StatusCode: 403, Body: io.NopCloser(strings.NewReader(string(answer)))}, err
			})
			e := wantClass(t, Revoke(t.Context(), provider, r), Refused) // looks for "sentinel"
			if !strings.Contains(e.Description, "[redacted]") {
				t.Errorf("got description %q, want what was repeated to be redacted", e.Description)
			}
			if len(sent) != 1 || asked != 1 {
				t.Fatalf("got %d requests, %d calls of BeforeSend, want 1 of each", len(sent), asked)
			}
			got := sent[0]
			if got.method != tt.method || got.body != tt.body || got.length != int64(len(tt.body)) {
				t.Errorf("got %s of %d bytes, %s, want %s of %s", got.method, got.length, got.body, tt.method, tt.body)
			}
			if a, kind := got.header.Get("Authorization"), got.header.Get("Content-Type"); a != tt.authorization || kind != tt.kind {
				t.Errorf("got Authorization %q, type %q, want %q, %q", a, kind, tt.authorization, tt.kind)
			}
			if want := tt.name == "credential in another header"; (got.header.Get("X-Token") == "sentinel-token") != want {
				t.Errorf("got X-Token %q, want the credential: %t", got.header.Get("X-Token"), want)
			}
		})
	}
}

// What a revocation endpoint says with a status of success counts if it is JSON
// that speaks of an error.
func TestRevocationAnswers(t *testing.T) {
	habits := &Habits{
		ErrorPaths: []string{"code", "error.code"},
		Errors:     map[string]Class{"190": InvalidGrant, "10": Unavailable, "invalid_auth": InvalidGrant, "403 gone": InvalidGrant, "200 busy": Unavailable},
	}
	for _, tt := range []struct {
		name   string
		status int
		body   string
		habits *Habits
		token  bool  // the credential is the token
		want   Class // 0: success
	}{
		{"Slack, done", 200, `{"ok":true,"revoked":true}`, nil, false, 0},
		{"Slack, dead already", 200, `{"ok":false,"error":"token_revoked"}`, nil, false, 0},
		{"Slack, no such token", 200, `{"ok":false,"error":"invalid_auth"}`, habits, false, 0},
		{"Slack, no such token, not known", 200, `{"ok":false,"error":"invalid_auth"}`, nil, false, Refused},
		{"Slack, busy", 200, `{"ok":false,"error":"ratelimited"}`, nil, false, Unavailable},
		{"not ok", 200, `{"ok":false}`, nil, false, Refused},
		{"an error", 200, `{"error":"server_error"}`, nil, false, Unavailable},
		{"an error with 202", 202, `{"error":"x"}`, nil, false, Refused},
		{"a nested error", 200, `{"error":{"code":1}}`, nil, false, Refused},
		{"a nested error, dead", 200, `{"error":{"code":190}}`, habits, false, 0},
		{"invalid_token", 200, `{"error":"invalid_token"}`, nil, false, 0},
		{"a known code", 200, `{"code":10}`, habits, false, Unavailable},
		{"a known code with that status", 200, `{"code":"busy"}`, habits, false, Unavailable},
		{"a code that is known in general", 200, `{"code":"server_error"}`, habits, false, Unavailable},
		{"a code that is not known", 200, `{"code":200}`, habits, false, 0},
		{"a known code, no habits", 200, `{"code":10}`, nil, false, 0},
		{"no error", 200, `{"error":null,"ok":true}`, nil, false, 0},
		{"HTML", 200, `<html>"error"`, nil, false, 0},
		{"form", 200, `error=server_error`, nil, false, 0},
		{"array", 200, `[{"error":"server_error"}]`, nil, false, 0},
		{"string", 200, `"error"`, nil, false, 0},
		{"nothing", 200, ``, nil, false, 0},
		{"a large page", 200, strings.Repeat("x", MaxBody+1), nil, false, 0},
		{"dead, with another status", 403, `{"error":"gone"}`, habits, false, 0},
		{"dead, as a number", 400, `{"error":{"code":190}}`, habits, false, 0},
		{"401 of a token", 401, ``, nil, true, 0},
		{"404 of a token", 404, `<html>`, nil, true, 0},
		{"403 of a token", 403, ``, nil, true, Refused},
		{"503 of a token", 503, ``, nil, true, Unavailable},
		{"404 of a token, but busy", 404, `{"error":"temporarily_unavailable"}`, nil, true, Unavailable},
		{"401 of something else", 401, ``, nil, false, Configuration},
		{"404 of something else", 404, ``, nil, false, Configuration},
	} {
		t.Run(tt.name, func(t *testing.T) {
			contentType := asJSON
			if strings.HasPrefix(tt.body, "error=") {
				contentType = asForm
			}
			srv := serve(t, tt.status, contentType, tt.body)
			r := request(srv.URL)
			r.Habits, r.Credential = tt.habits, &Credential{Header: "Authorization", Value: "Bearer sentinel", Token: tt.token}
			err := Revoke(t.Context(), client(t), r)
			if tt.want == 0 {
				if err != nil {
					t.Errorf("got %v, want success", err)
				}
				return
			}
			wantClass(t, err, tt.want)
		})
	}
	t.Run("401 without a credential", func(t *testing.T) {
		srv := serve(t, 401, asJSON, "")
		wantClass(t, Revoke(t.Context(), client(t), request(srv.URL)), Configuration)
	})
}

// The body of a success is not waited for longer than it may be worth, whatever
// has come of it. That of a failure is, as long as the context lasts.
func TestRevocationDoesNotWait(t *testing.T) {
	for _, tt := range []struct {
		name, body string
		status     int
		want       Class // 0: success
		waited     time.Duration
	}{
		{"nothing", "", 200, 0, revocationWait},
		{"a page", "<html>", 200, 0, revocationWait},
		{"an object", `{"ok":true`, 200, 0, revocationWait},
		{"an error", `{"ok":false,"error":"x","`, 200, Refused, revocationWait},
		{"a failure", `{"error":"x","`, 400, Refused, time.Minute},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				hc := roundTrip(func(r *http.Request) (*http.Response, error) {
					io.Copy(io.Discard, r.Body)
					body, w := io.Pipe()
					go func() {
						io.WriteString(w, tt.body)
						<-r.Context().Done()
						w.CloseWithError(r.Context().Err())
					}()
					return &http.Response{StatusCode: tt.status, Body: body}, nil
				})
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				begin := time.Now()
				err := Revoke(ctx, hc, request("https://auth.example/revoke"))
				if got := time.Since(begin); got != tt.waited {
					t.Errorf("got an answer after %v, want it after %v", got, tt.waited)
				}
				if tt.want == 0 {
					if err != nil {
						t.Errorf("got %v, want success", err)
					}
					return
				}
				wantClass(t, err, tt.want)
			})
		})
	}
}

// Without a body the header is all there is to send.
func TestRevocationWithoutABodySentOrNot(t *testing.T) {
	bare := func(address string) *Request {
		r := request(address)
		r.Method, r.Form, r.Credential = "DELETE", nil, &Credential{Header: "Authorization", Value: "Bearer sentinel", Token: true}
		return r
	}
	t.Run("BeforeSend refuses", func(t *testing.T) {
		refused := errors.New("the lease is over")
		r := bare("https://auth.example/")
		r.BeforeSend = func() error { return refused }
		err := Revoke(t.Context(), roundTrip(func(*http.Request) (*http.Response, error) {
			t.Error("got a request, want none")
			return nil, io.EOF
		}), r)
		if e := wantClass(t, err, Unsent); e.Err != refused {
			t.Errorf("got cause %v, want the error of BeforeSend", e.Err)
		}
	})
	t.Run("the context ends meanwhile", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		r := bare("https://auth.example/")
		r.BeforeSend = func() error { cancel(); return nil }
		err := Revoke(ctx, roundTrip(func(*http.Request) (*http.Response, error) {
			t.Error("got a request, want none")
			return nil, io.EOF
		}), r)
		if wantClass(t, err, Unsent); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want context.Canceled", err)
		}
	})
	t.Run("no connection", func(t *testing.T) {
		wantClass(t, Revoke(t.Context(), client(t), bare("http://127.0.0.1:1")), Unsent)
	})
	t.Run("closed after the header", func(t *testing.T) {
		var requests atomic.Int32
		endpoint := rawServer(t, func(c net.Conn, r *bufio.Reader) {
			if _, ok := readRequest(r); ok {
				requests.Add(1)
			}
		})
		wantClass(t, Revoke(t.Context(), client(t), bare(endpoint)), Lost)
		if got := requests.Load(); got != 1 {
			t.Errorf("got %d requests, want 1", got)
		}
	})
	t.Run("as it arrives", func(t *testing.T) {
		srv := start(t, func(w http.ResponseWriter, r *http.Request) {
			if r.Method != "DELETE" || r.ContentLength != 0 || len(r.TransferEncoding) != 0 || r.Header.Get("Authorization") != "Bearer sentinel" || r.Header["Content-Type"] != nil {
				dump, _ := httputil.DumpRequest(r, true)
				t.Errorf("got %s, want DELETE without a body", dump)
			}
		})
		if err := Revoke(t.Context(), client(t), bare(srv.URL)); err != nil {
			t.Error(err)
		}
	})
}
