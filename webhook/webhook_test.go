package webhook

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authprofile/authprofile"
	"github.com/authprofile/authprofile/egress"
	"github.com/authprofile/authprofile/internal/transport"
	"github.com/authprofile/authprofile/internal/webtest"
)

const (
	address1 = "https://ops.example.com/hooks/oauth?key=8c1f"
	secret1  = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw" // the one of the reference vector
	secret2  = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
)

func newHook(t *testing.T, rt http.RoundTripper, secrets ...string) *Hook {
	t.Helper()
	if len(secrets) == 0 {
		secrets = []string{secret1}
	}
	h, err := New(address1, secrets...)
	if err != nil {
		t.Fatal(err)
	}
	h.Client = &http.Client{Transport: rt}
	return h
}

// needsUser is the notice of the package comment.
func needsUser() authprofile.Notice {
	at := time.Date(2026, 7, 1, 11, 59, 0, 0, time.UTC)
	return authprofile.Notice{
		ID:       "0b9d1c5e-5c1f-4a52-9be5-0f7b4a1d7c3e",
		Kind:     authprofile.NoticeNeedsUser,
		GrantKey: authprofile.GrantKey{ProfileID: "calendar", User: "ada"},
		Status:   authprofile.StatusNeedsReauthorization,
		Failure: &authprofile.Failure{
			Reason: authprofile.ReasonRevoked, Code: "invalid_grant", Description: "ada@example.com has gone", HTTPStatus: 400,
			Since: at, Last: at, Attempts: 1,
		},
		At: at,
	}
}

// An attempt is a request that has arrived.
type attempt struct {
	method, url string
	header      http.Header
	body        []byte
}

// receiver answers all requests with a status, and hands them to see.
func receiver(status int, see func(attempt)) http.RoundTripper {
	return webtest.RoundTripper(func(r *http.Request) (*http.Response, error) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		see(attempt{r.Method, r.URL.String(), r.Header.Clone(), body})
		rec := httptest.NewRecorder()
		rec.WriteHeader(status)
		return rec.Result(), nil
	})
}

func TestReferenceVector(t *testing.T) {
	key, ok := decodeSecret(secret1)
	if !ok {
		t.Fatal("got a secret that is refused, want it accepted")
	}
	got := signatures([][]byte{key}, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", []byte(`{"test": 2432232314}`))
	if want := "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// The request is the one of the package comment. Its signatures were computed
// by another program.
func TestRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(time.Date(2026, 7, 1, 12, 0, 0, 5e8, time.UTC)))
		var got []attempt
		h := newHook(t, receiver(204, func(a attempt) { got = append(got, a) }), secret1, secret2)
		n := needsUser()
		if err := h.Notify(t.Context(), n); err != nil {
			t.Fatal(err)
		}
		if n.Failure.Description == "" {
			t.Error("got a failure that was changed, want it as it was")
		}
		if len(got) != 1 {
			t.Fatalf("got %d requests, want 1", len(got))
		}
		if got[0].method != "POST" || got[0].url != address1 {
			t.Errorf("got %s %s, want POST %s", got[0].method, got[0].url, address1)
		}
		body := `{"type":"authprofile.grant.needs_user","timestamp":"2026-07-01T11:59:00Z","data":{` +
			`"id":"0b9d1c5e-5c1f-4a52-9be5-0f7b4a1d7c3e","kind":"needs_user","profile_id":"calendar","user":"ada","status":"needs_reauthorization",` +
			`"failure":{"reason":"revoked","code":"invalid_grant","http_status":400,"since":"2026-07-01T11:59:00Z","last":"2026-07-01T11:59:00Z","attempts":1},` +
			`"at":"2026-07-01T11:59:00Z"}}`
		if string(got[0].body) != body {
			t.Errorf("got body %s, want %s", got[0].body, body)
		}
		want := http.Header{
			"Webhook-Id":        {"0b9d1c5e-5c1f-4a52-9be5-0f7b4a1d7c3e"},
			"Webhook-Timestamp": {"1782907200"},
			"Webhook-Signature": {"v1,xgLS8lwWrLckyOhyLqN0k7RkbN1RWg9eTD69CQ2bU8o= v1,JCvyPO3Rl2bJRcT/2uoawBjDlilKbQ4JyD/zlmMpdNc="},
			"Content-Type":      {"application/json"},
			"User-Agent":        {"authprofile"},
		}
		if fmt.Sprint(got[0].header) != fmt.Sprint(want) {
			t.Errorf("got header %v, want %v", got[0].header, want)
		}
	})
}

func TestTypesAndTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		grant, profile := authprofile.GrantKey{ProfileID: "crm", User: "ada"}, authprofile.GrantKey{ProfileID: "crm"}
		before, after := now.Add(-time.Hour), now.Add(24*time.Hour)
		for _, test := range []struct {
			kind     authprofile.NoticeKind
			key      authprofile.GrantKey
			at       time.Time
			wantType string
			want     time.Time
		}{
			{authprofile.NoticeNeedsUser, grant, before, "authprofile.grant.needs_user", before},
			{authprofile.NoticeRecovered, grant, before, "authprofile.grant.recovered", before},
			{authprofile.NoticeExpiring, grant, after, "authprofile.grant.expiring", now},
			{authprofile.NoticeNeedsAdministrator, profile, before.In(time.FixedZone("", 3600)), "authprofile.profile.needs_administrator", before},
			{authprofile.NoticeRecovered, profile, now, "authprofile.profile.recovered", now},
			{authprofile.NoticeSecretExpiring, profile, after, "authprofile.profile.secret_expiring", now},
		} {
			var got struct {
				Type, Timestamp string
				Data            authprofile.Notice
			}
			h := newHook(t, receiver(200, func(a attempt) {
				if err := json.Unmarshal(a.body, &got); err != nil {
					t.Error(err)
				}
			}))
			n := authprofile.Notice{ID: "1", Kind: test.kind, GrantKey: test.key, At: test.at, Grants: 7}
			if err := h.Notify(t.Context(), n); err != nil {
				t.Fatal(err)
			}
			if got.Type != test.wantType || got.Timestamp != test.want.UTC().Format(time.RFC3339Nano) {
				t.Errorf("got %s at %s, want %s at %v", got.Type, got.Timestamp, test.wantType, test.want)
			}
			if !got.Data.At.Equal(n.At) || got.Data.Grants != 7 || got.Data.Kind != n.Kind || got.Data.GrantKey != n.GrantKey {
				t.Errorf("got %+v, want %+v", got.Data, n)
			}
		}
	})
}

// A receiver that knows the old secret or the new one accepts what is signed with
// both, and each attempt is signed anew.
func TestRotation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, test := range []struct{ sent, accepted []string }{
			{[]string{secret1}, []string{secret1}},
			{[]string{secret1, secret2}, []string{secret1, secret2}},
			{[]string{strings.TrimPrefix(secret2, "whsec_")}, []string{secret2}},
		} {
			var got []attempt
			h := newHook(t, receiver(200, func(a attempt) { got = append(got, a) }), test.sent...)
			for range 2 {
				if err := h.Notify(t.Context(), needsUser()); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Minute)
			}
			if a, b := got[0].header, got[1].header; a.Get("webhook-id") != b.Get("webhook-id") || a.Get("webhook-timestamp") == b.Get("webhook-timestamp") {
				t.Errorf("got %v, then %v, want the same ID at another time", a, b)
			}
			for _, a := range got {
				sent := strings.Split(a.header.Get("webhook-signature"), " ")
				if len(sent) != len(test.sent) {
					t.Errorf("got signatures %q, want %d", sent, len(test.sent))
				}
				for i, secret := range test.accepted {
					key, _ := decodeSecret(secret)
					if want := signatures([][]byte{key}, a.header.Get("webhook-id"), a.header.Get("webhook-timestamp"), a.body); sent[i] != want {
						t.Errorf("got signature %q, want %q", sent[i], want)
					}
				}
			}
		}
	})
}

// A body counts what is read of it, and never ends.
type body struct{ read, closed int }

func (b *body) Read(p []byte) (int, error) { b.read += len(p); return len(p), nil }
func (b *body) Close() error               { b.closed++; return nil }

func TestStatuses(t *testing.T) {
	for _, test := range []struct {
		ok       bool
		statuses []int
	}{
		{true, []int{200, 201, 202, 204, 299}},
		{false, []int{101, 300, 301, 302, 303, 304, 307, 308, 400, 401, 404, 410, 429, 500, 502, 503, 504, 600, 999}},
	} {
		for _, status := range test.statuses {
			answer, requests := new(body), 0
			h := newHook(t, webtest.RoundTripper(func(r *http.Request) (*http.Response, error) {
				if requests++; requests > 1 {
					return nil, errors.New("one request is enough")
				}
				return &http.Response{StatusCode: status, Status: "sentinel", Body: answer, Request: r,
					Header: http.Header{"Location": {"https://elsewhere.example.com/"}, "Retry-After": {"3600"}}}, nil
			}))
			err := h.Notify(t.Context(), needsUser())
			if requests != 1 || answer.closed != 1 {
				t.Errorf("%d: got %d requests and %d closed answers, want 1", status, requests, answer.closed)
			}
			if test.ok {
				if err != nil || answer.read > 4<<10 {
					t.Errorf("%d: got error %v and %d bytes read, want none, and at most 4 KiB", status, err, answer.read)
				}
				continue
			}
			failed, ok := errors.AsType[*Error](err)
			if !ok || failed.StatusCode != status || errors.Unwrap(err) != nil {
				t.Errorf("%d: got %#v, want an Error with the status", status, err)
			}
			if got, want := fmt.Sprint(err), fmt.Sprintf("webhook: https://ops.example.com: HTTP %d", status); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
			if answer.read != 0 { // after 101 that might never end
				t.Errorf("%d: got %d bytes of the answer read, want none", status, answer.read)
			}
		}
	}
}

// Of a Client, only Transport and Timeout count.
func TestClient(t *testing.T) {
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	var requests []attempt
	h := newHook(t, webtest.RoundTripper(func(r *http.Request) (*http.Response, error) {
		requests = append(requests, attempt{url: r.URL.String(), header: r.Header})
		rec := httptest.NewRecorder()
		if r.Response != nil { // redirected
			return rec.Result(), nil
		}
		http.SetCookie(rec, &http.Cookie{Name: "a", Value: "b"})
		http.Redirect(rec, r, "https://ops.example.com/elsewhere", http.StatusTemporaryRedirect)
		return rec.Result(), nil
	}))
	h.Client.Jar = jar
	h.Client.CheckRedirect = func(*http.Request, []*http.Request) error { return nil }
	u, err := url.Parse(address1)
	if err != nil {
		t.Fatal(err)
	}
	jar.SetCookies(u, []*http.Cookie{{Name: "c", Value: "d"}})
	for range 2 {
		if err := h.Notify(t.Context(), needsUser()); err == nil || err.(*Error).StatusCode != 307 {
			t.Errorf("got %v, want HTTP 307", err)
		}
	}
	for _, r := range requests {
		if r.url != address1 || r.header.Get("Cookie") != "" {
			t.Errorf("got a request to %s with %v, want %s without a cookie", r.url, r.header, address1)
		}
	}
	if got := fmt.Sprint(jar.Cookies(u)); got != "[c=d]" {
		t.Errorf("got cookies %s, want none of the answer's", got)
	}
	for _, c := range []*http.Client{nil, new(http.Client)} {
		h.Client = c
		if got, ok := transport.Client(h.Client).Transport.(*http.Transport); !ok || got.TLSHandshakeTimeout != 10*time.Second {
			t.Errorf("client %v: got transport %v, want the one with limits", c, got)
		}
	}
}

// A stalled body ends when its request does.
type stalled struct{ ctx context.Context }

func (s stalled) Read([]byte) (int, error) { <-s.ctx.Done(); return 0, s.ctx.Err() }
func (s stalled) Close() error             { return nil }

func TestSlowReceivers(t *testing.T) {
	hang := webtest.RoundTripper(func(r *http.Request) (*http.Response, error) {
		<-r.Context().Done()
		return nil, r.Context().Err()
	})
	stall := webtest.RoundTripper(func(r *http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: 200, Body: stalled{r.Context()}, Request: r}, nil
	})
	for _, test := range []struct {
		name     string
		receiver http.RoundTripper
		timeout  time.Duration // of the client
		ends     time.Duration // of ctx; zero: never
		want     time.Duration
		text     string // empty: no error
		is       error
	}{
		{"no answer", hang, 0, 0, 15 * time.Second, "no answer in time", context.DeadlineExceeded},
		{"the client's limit", hang, time.Second, 0, time.Second, "no answer in time", context.DeadlineExceeded},
		{"a longer limit of the client", hang, time.Hour, 0, 15 * time.Second, "no answer in time", context.DeadlineExceeded},
		{"canceled", hang, 0, 3 * time.Second, 3 * time.Second, "context canceled", context.Canceled},
		{"canceled before", hang, 0, -1, 0, "context canceled", context.Canceled},
		{"half an answer", stall, 0, 0, 15 * time.Second, "", nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHook(t, test.receiver)
				h.Client.Timeout = test.timeout
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				switch {
				case test.ends < 0:
					cancel()
				case test.ends > 0:
					time.AfterFunc(test.ends, cancel)
				}
				begin := time.Now()
				err := h.Notify(ctx, needsUser())
				if got := time.Since(begin); got != test.want {
					t.Errorf("got an end after %v, want %v", got, test.want)
				}
				if test.text == "" {
					if err != nil {
						t.Errorf("got %v, want no error", err)
					}
					return
				}
				if want := "webhook: https://ops.example.com: " + test.text; fmt.Sprint(err) != want || !errors.Is(err, test.is) {
					t.Errorf("got %q, want %q, which is %v", err, want, test.is)
				}
			})
		})
	}
}

func TestBadAddressesAndSecrets(t *testing.T) {
	long := base64.StdEncoding.EncodeToString(make([]byte, 65))
	for _, test := range []struct {
		field, url string
		secrets    []string
	}{
		{"url", "", nil},
		{"url", "sentinel", nil},
		{"url", "//sentinel.example.com", nil},
		{"url", "http://sentinel.example.com/", nil},
		{"url", "ftp://sentinel.example.com/", nil},
		{"url", "https:///sentinel", nil},
		{"url", "https://ada:sentinel@ops.example.com/", nil},
		{"url", "https://ops.example.com/#sentinel", nil},
		{"url", "https://ops.example.com/sentinel\r\nX: y", nil},
		{"url", "https://ops.example.com/%sentinel", nil},
		{"url", "https://ops.example.com:sentinel/", nil},
		{"url", "https://$(sentinel)/", nil},
		{"url", "https://ops.example.com/" + strings.Repeat("sentinel", 1000), nil},
		{"secrets", address1, []string{}},
		{"secrets[0]", address1, []string{""}},
		{"secrets[0]", address1, []string{"whsec_"}},
		{"secrets[0]", address1, []string{"sentinel"}},
		{"secrets[0]", address1, []string{"whsk_" + strings.TrimPrefix(secret1, "whsec_")}},
		{"secrets[0]", address1, []string{"whsec_" + secret1}},
		{"secrets[0]", address1, []string{secret1 + "\n"}},
		{"secrets[0]", address1, []string{" " + secret1}},
		{"secrets[0]", address1, []string{base64.StdEncoding.EncodeToString(make([]byte, 23))}},
		{"secrets[0]", address1, []string{"whsec_" + long}},
		{"secrets[0]", address1, []string{base64.RawStdEncoding.EncodeToString([]byte(strings.Repeat("s", 32)))}},
		{"secrets[1]", address1, []string{secret1, "sentinel"}},
	} {
		if test.secrets == nil {
			test.secrets = []string{secret1}
		}
		h, err := New(test.url, test.secrets...)
		field, ok := errors.AsType[*authprofile.FieldError](err)
		if h != nil || !ok || field.Field != test.field {
			t.Errorf("%q, %q: got %v, %v; want an error of %s", test.url, test.secrets, h, err, test.field)
			continue
		}
		for _, s := range append([]string{"sentinel", "ops.example.com"}, test.secrets...) {
			if s != "" && s != "whsec_" && strings.Contains(err.Error(), s) {
				t.Errorf("got %q, want nothing of the address or the secret in it", err)
			}
		}
	}
	for _, address := range []string{"https://ops.example.com", "https://ops.example.com:8443/a?b=c", "http://localhost:8080/", "http://127.0.0.1:1/", "http://[::1]/"} {
		for _, n := range []int{24, 32, 64} {
			if _, err := New(address, base64.StdEncoding.EncodeToString(make([]byte, n))); err != nil {
				t.Errorf("%s, a secret of %d bytes: got %v, want no error", address, n, err)
			}
		}
	}
	if err := new(Hook).Notify(t.Context(), needsUser()); err == nil {
		t.Error("a Hook that New has not made: got no error, want one")
	}
}

// Neither a Hook nor an error shows a secret, or what of the address may be one.
func TestNothingLeaks(t *testing.T) {
	const where = "https://ops.example.com/hooks/2f5ab0f3?key=9c1d77e0"
	h, err := New(where, secret1, secret2)
	if err != nil {
		t.Fatal(err)
	}
	shown := []any{h, *h, struct{ h *Hook }{h}, struct{ h Hook }{*h}, []*Hook{h}}
	for _, answer := range []func(r *http.Request) (*http.Response, error){
		func(r *http.Request) (*http.Response, error) {
			return nil, fmt.Errorf("cannot reach %s with %q", r.URL, r.Header)
		},
		func(r *http.Request) (*http.Response, error) {
			return nil, &url.Error{Op: "Post", URL: r.URL.String(), Err: context.DeadlineExceeded}
		},
		func(r *http.Request) (*http.Response, error) {
			if r.Response != nil {
				return nil, errors.New("redirected")
			}
			rec := httptest.NewRecorder()
			http.Redirect(rec, r, where, http.StatusFound)
			return rec.Result(), nil
		},
		func(r *http.Request) (*http.Response, error) {
			text, err := io.ReadAll(r.Body)
			if err != nil {
				return nil, err
			}
			return &http.Response{StatusCode: 500, Status: "500 " + where, Request: r,
				Body: io.NopCloser(bytes.NewReader(append(text, fmt.Sprint(r.Header)...)))}, nil
		},
	} {
		h.Client = &http.Client{Transport: webtest.RoundTripper(answer)}
		err := h.Notify(t.Context(), needsUser())
		if err == nil {
			t.Fatal("got no error, want one")
		}
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%d", "%t"} {
			if got := fmt.Sprintf(verb, err); got != err.Error() {
				t.Errorf("%s: got %q, want %q", verb, got, err.Error())
			}
		}
		shown = append(shown, err, *err.(*Error), struct{ err error }{err}, fmt.Errorf("wrapped: %w", err))
	}

	hidden := []string{"2f5ab0f3", "9c1d77e0", "ada@example.com", "v1,"}
	for _, s := range []string{secret1, secret2} {
		key, _ := decodeSecret(s)
		hidden = append(hidden, strings.TrimPrefix(s, "whsec_"), hex.EncodeToString(key), strings.Trim(fmt.Sprint(key), "[]"), string(key))
	}
	for _, value := range shown {
		var texts []string
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t", "%c", "%p"} {
			texts = append(texts, fmt.Sprintf(verb, value))
		}
		text, err := json.Marshal(value)
		if err != nil {
			t.Errorf("%T: %v", value, err)
		}
		for _, text := range append(texts, string(text)) {
			for _, s := range hidden {
				if strings.Contains(text, s) || strings.Contains(text, hex.EncodeToString([]byte(s))) {
					t.Errorf("%T: got %q, want it without %q", value, text, s)
				}
			}
		}
	}
}

// What an ID says cannot become a header field, nor a part of what is signed
// after it.
func TestIDsThatCannotBeSent(t *testing.T) {
	requests := 0
	h := newHook(t, receiver(200, func(attempt) { requests++ }))
	n := needsUser()
	for _, id := range []string{"", "a b", "a\r\nX-Admin: 1", "a\nb", "a\x00b", "a\x7f", "a.1614265330", "é", "\xff", strings.Repeat("a", 257)} {
		n.ID = id
		if err := h.Notify(t.Context(), n); err == nil || id != "" && strings.Contains(err.Error(), id) {
			t.Errorf("%q: got %v, want an error without it", id, err)
		}
	}
	n.ID, n.At = "1", time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)
	if err := h.Notify(t.Context(), n); err == nil {
		t.Error("a time that JSON cannot have: got no error, want one")
	}
	if requests != 0 {
		t.Errorf("got %d requests, want none", requests)
	}
	n = needsUser()
	for _, id := range []string{"0b9d1c5e-5c1f-4a52-9be5-0f7b4a1d7c3e", "msg_2KWPBgLlAfxdpx2AI54pPJ85f4W", "a:b/c+d=", strings.Repeat("a", 256)} {
		n.ID = id
		if err := h.Notify(t.Context(), n); err != nil {
			t.Errorf("%q: got %v, want no error", id, err)
		}
	}
}

// server is a receiver on loopback.
func server(t *testing.T, start func(*httptest.Server)) *httptest.Server {
	t.Helper()
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusNoContent) }))
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	start(srv)
	t.Cleanup(srv.Close)
	return srv
}

func TestServers(t *testing.T) {
	encrypted, plain := server(t, (*httptest.Server).StartTLS), server(t, (*httptest.Server).Start)
	for _, test := range []struct {
		name, url string
		client    *http.Client
		text      string // empty: no error
		is        func(error) bool
	}{
		{name: "loopback", url: plain.URL},
		{name: "loopback, empty client", url: plain.URL, client: new(http.Client)},
		{name: "trusted", url: encrypted.URL, client: encrypted.Client()},
		{name: "unknown authority", url: encrypted.URL, text: "the server's certificate is signed by an unknown authority", is: func(err error) bool {
			_, ok := errors.AsType[*tls.CertificateVerificationError](err)
			return ok
		}},
		{name: "no TLS", url: strings.Replace(plain.URL, "http:", "https:", 1), text: "the server does not speak TLS"},
		{name: "not public", url: plain.URL, client: egress.NewClient(), text: "the host has an address that this program may not connect to",
			is: func(err error) bool { return errors.Is(err, egress.ErrRefused) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			h, err := New(test.url+"/a", secret1)
			if err != nil {
				t.Fatal(err)
			}
			h.Client = test.client
			var all sync.WaitGroup
			for range 4 {
				all.Go(func() {
					err := h.Notify(t.Context(), needsUser())
					if test.text == "" {
						if err != nil {
							t.Errorf("got %v, want no error", err)
						}
						return
					}
					if want := "webhook: " + test.url + ": " + test.text; fmt.Sprint(err) != want || test.is != nil && !test.is(err) {
						t.Errorf("got %q, want %q", err, want)
					}
				})
			}
			all.Wait()
		})
	}
}
