package tokenendpoint

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

const usable = `{"access_token":"at-1","token_type":"Bearer","expires_in":3600,"refresh_token":"rt-2"}`

// request is a refresh with a secret of each kind in it.
func request(address string) *Request {
	return &Request{
		URL:          address,
		Form:         url.Values{"grant_type": {"refresh_token"}, "refresh_token": {"sentinel-refresh"}},
		ClientID:     "client",
		ClientSecret: "sentinel-secret",
		AuthMethod:   "client_secret_basic",
	}
}

// serve starts a server on loopback that gives every request the same answer.
func serve(t *testing.T, status int, contentType, body string) *httptest.Server {
	t.Helper()
	return start(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", contentType)
		w.WriteHeader(status)
		io.WriteString(w, body)
	})
}

func start(t *testing.T, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	return srv
}

// client returns a client with connections of its own.
func client(t *testing.T) *http.Client {
	tr := &http.Transport{}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

// failed returns the *Error of a call that must have failed, after a look at
// what it shows of the request.
func failed(t *testing.T, err error) *Error {
	t.Helper()
	e, ok := err.(*Error)
	if !ok {
		t.Fatalf("got %T %v, want an *Error", err, err)
	}
	shown := []string{e.Code, e.Description}
	for _, err := range chain(e) {
		shown = append(shown, err.Error())
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d", "%x"} {
			shown = append(shown, fmt.Sprintf(verb, err))
		}
	}
	for _, s := range shown {
		if strings.Contains(s, "sentinel") {
			t.Errorf("got %q, want nothing of the request or the answer in it", s)
		}
	}
	return e
}

// chain returns err and all it unwraps to.
func chain(err error) []error {
	list := []error{err}
	switch u := err.(type) {
	case interface{ Unwrap() error }:
		if next := u.Unwrap(); next != nil {
			list = append(list, chain(next)...)
		}
	case interface{ Unwrap() []error }:
		for _, next := range u.Unwrap() {
			list = append(list, chain(next)...)
		}
	}
	return list
}

func wantClass(t *testing.T, err error, want Class) *Error {
	t.Helper()
	e := failed(t, err)
	if e.Class != want {
		t.Fatalf("got %v (class %q), want class %q", e, e.Class, want)
	}
	return e
}

func TestThreat091_093_094_095_ClientAuthentication(t *testing.T) {
	const id, secret = `a:b% +&=/\"'~`, `s:p% +&=/\"'~`
	basic := func(id, secret string) string {
		return "Basic " + base64.StdEncoding.EncodeToString([]byte(id+":"+secret))
	}
	tests := []struct {
		name, method, secret string
		header               string
		form                 url.Values // beside the grant's own
	}{
		{"091 basic encodes both parts", "client_secret_basic", secret,
			basic("a%3Ab%25+%2B%26%3D%2F%5C%22%27~", "s%3Ap%25+%2B%26%3D%2F%5C%22%27~"), nil},
		{"091 raw basic encodes nothing", "client_secret_basic_raw", secret, basic(id, secret), nil},
		{"093 post", "client_secret_post", secret, "",
			url.Values{"client_id": {id}, "client_secret": {secret}}},
		{"095 public client", "none", "", "", url.Values{"client_id": {id}}},
		{"095 a secret is not sent with none", "none", secret, "", url.Values{"client_id": {id}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			requests := 0
			srv := start(t, func(w http.ResponseWriter, r *http.Request) {
				requests++
				body, _ := io.ReadAll(r.Body)
				form, err := url.ParseQuery(string(body))
				if err != nil {
					t.Error(err)
				}
				want := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {"r t"}, "resource": {"a", "b"}}
				for k, v := range tt.form {
					want[k] = v
				}
				if form.Encode() != want.Encode() {
					t.Errorf("got form %q, want %q", form.Encode(), want.Encode())
				}
				if got := r.Header.Values("Authorization"); strings.Join(got, "|") != tt.header {
					t.Errorf("got Authorization %q, want %q", got, tt.header)
				}
				// 094: the address's own query, and nothing more.
				if got, want := r.URL.RequestURI(), "/token?tenant=x"; got != want {
					t.Errorf("got request URI %q, want %q", got, want)
				}
				for name, want := range map[string]string{
					"Content-Type": "application/x-www-form-urlencoded",
					"Accept":       "application/json",
					"User-Agent":   "authprofile",
					"Cookie":       "",
				} {
					if got := r.Header.Get(name); got != want {
						t.Errorf("got %s %q, want %q", name, got, want)
					}
				}
				if r.Method != "POST" || r.ContentLength != int64(len(body)) || len(r.TransferEncoding) != 0 {
					t.Errorf("got %s, length %d, encoding %q, want POST, length %d, none", r.Method, r.ContentLength, r.TransferEncoding, len(body))
				}
				io.WriteString(w, usable)
			})
			form := url.Values{
				"grant_type": {"refresh_token"}, "refresh_token": {"r t"}, "resource": {"a", "b"},
				"client_id": {"other"}, "client_secret": {"other"}, "client_assertion": {"other"}, "client_assertion_type": {"other"}, // 093: never a second method
			}
			before := form.Encode()
			_, err := Do(t.Context(), client(t), &Request{
				URL: srv.URL + "/token?tenant=x", Form: form,
				ClientID: id, ClientSecret: tt.secret, AuthMethod: tt.method,
			})
			if err != nil || requests != 1 {
				t.Errorf("got %v after %d requests, want success after 1", err, requests)
			}
			if form.Encode() != before {
				t.Errorf("got the caller's form changed to %q", form.Encode())
			}
		})
	}
}

func TestThreat092_NoOtherMethodIsTried(t *testing.T) {
	requests := 0
	srv := start(t, func(w http.ResponseWriter, r *http.Request) {
		requests++
		w.WriteHeader(401)
		io.WriteString(w, `{"error":"invalid_client"}`)
	})
	_, err := Do(t.Context(), client(t), request(srv.URL))
	wantClass(t, err, Configuration)
	if requests != 1 {
		t.Errorf("got %d requests, want 1", requests)
	}
	r := request(srv.URL)
	r.AuthMethod = ""
	_, err = Do(t.Context(), client(t), r)
	wantClass(t, err, Configuration)
	if requests != 1 {
		t.Errorf("got a request without a settled method, want none")
	}
}

func TestWhatCannotBeSent(t *testing.T) {
	for _, tt := range []struct {
		name  string
		alter func(*Request)
		want  Class
	}{
		{"malformed address", func(r *Request) { r.URL = "https://sentinel:x\x00/" }, Configuration},
		{"no host", func(r *Request) { r.URL = "/token?sentinel" }, Configuration},
		{"other scheme", func(r *Request) { r.URL = "file://sentinel/token" }, Configuration},
		{"no form", func(r *Request) { r.Form = nil }, Unsent},
		{"no form, nor a client", func(r *Request) { r.Form, r.Anonymous = nil, true }, Unsent},
		{"a method that is none", func(r *Request) { r.Method = "sentinel DELETE" }, Configuration},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := request("")
			tt.alter(r)
			r.BeforeSend = func() error { t.Error("BeforeSend was called"); return nil }
			a, err := Do(t.Context(), nil, r)
			if e := wantClass(t, err, tt.want); a != nil || e.HTTPStatus != 0 {
				t.Errorf("got %v, status %d, want no trace of an answer", a, e.HTTPStatus)
			}
		})
	}
}

func TestThreat067_RedirectsAreNotFollowed(t *testing.T) {
	for _, status := range []int{301, 302, 303, 307, 308} {
		for _, location := range []string{"/elsewhere?sentinel", "OTHER/?sentinel", "", "https://%zz/sentinel"} {
			t.Run(fmt.Sprintf("%d to %q", status, location), func(t *testing.T) {
				followed := false
				other := start(t, func(http.ResponseWriter, *http.Request) { followed = true })
				requests := 0
				srv := start(t, func(w http.ResponseWriter, r *http.Request) {
					requests++
					if location != "" {
						w.Header().Set("Location", strings.Replace(location, "OTHER", other.URL, 1))
					}
					w.Header().Set("Set-Cookie", "a=b")
					w.WriteHeader(status)
				})
				hc := client(t)
				hc.CheckRedirect = func(*http.Request, []*http.Request) error { return nil }
				_, err := Do(t.Context(), hc, request(srv.URL))
				e := wantClass(t, err, Configuration)
				if e.HTTPStatus != status || !strings.Contains(e.Error(), "redirects") {
					t.Errorf("got %v, want it to name status %d and the redirect", e, status)
				}
				if requests != 1 || followed {
					t.Errorf("got %d requests, followed: %t, want 1 and not", requests, followed)
				}
			})
		}
	}
}

// rawServer answers each connection with serve, which gets the requests that
// arrive on it.
func rawServer(t *testing.T, serve func(c net.Conn, r *bufio.Reader)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				serve(c, bufio.NewReader(c))
			}()
		}
	}()
	return "http://" + l.Addr().String() + "/token"
}

func readRequest(r *bufio.Reader) (form string, ok bool) {
	req, err := http.ReadRequest(r)
	if err != nil {
		return "", false
	}
	body, err := io.ReadAll(req.Body)
	return string(body), err == nil
}

func answer(c net.Conn, body string) {
	fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
}

// encodings are the habits that make the bodies of each kind.
var encodings = map[string]*Habits{"form": nil, "JSON": {JSON: true}}

// A server that closes a kept-alive connection just after it has read a
// request looks to net/http like one that closed it before.
func TestThreat047_089_NotSentAgainOverHTTP1(t *testing.T) {
	for name, habits := range encodings {
		t.Run(name, func(t *testing.T) {
			var seen atomic.Int32
			endpoint := rawServer(t, func(c net.Conn, r *bufio.Reader) {
				if body, ok := readRequest(r); !ok || !strings.Contains(body, "grant_type") {
					return
				}
				if seen.Add(1) > 2 {
					answer(c, usable) // a second attempt would be taken for success
					return
				}
				answer(c, usable)
				if _, ok := readRequest(r); ok {
					seen.Add(1)
				}
			})
			hc, req := client(t), request(endpoint)
			req.Habits = habits
			if _, err := Do(t.Context(), hc, req); err != nil {
				t.Fatal(err)
			}
			_, err := Do(t.Context(), hc, req)
			wantClass(t, err, Lost)
			if got := seen.Load(); got != 2 {
				t.Errorf("got %d bodies at the server, want 2: one of each call", got)
			}
		})
	}
}

// h2Server speaks just enough HTTP/2 to read a form and refuse it in a way
// after which net/http would send it again, if it could.
func h2Server(t *testing.T, refuse func(c net.Conn, stream uint32)) (hc *http.Client, endpoint string, forms *atomic.Int32) {
	forms = new(atomic.Int32)
	frame := func(c net.Conn, kind, flags byte, stream uint32, payload []byte) {
		b := binary.BigEndian.AppendUint32(nil, uint32(len(payload))<<8|uint32(kind))
		b = append(b, flags)
		b = binary.BigEndian.AppendUint32(b, stream)
		c.Write(append(b, payload...))
	}
	srv := httptest.NewUnstartedServer(nil)
	srv.EnableHTTP2 = true
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.Config.TLSNextProto = map[string]func(*http.Server, *tls.Conn, http.Handler){
		"h2": func(_ *http.Server, c *tls.Conn, _ http.Handler) {
			r := bufio.NewReader(c)
			r.Discard(len("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"))
			frame(c, 4, 0, 0, nil) // SETTINGS
			for {
				var head [9]byte
				if _, err := io.ReadFull(r, head[:]); err != nil {
					return
				}
				length := int(head[0])<<16 | int(head[1])<<8 | int(head[2])
				if _, err := r.Discard(length); err != nil {
					return
				}
				stream := binary.BigEndian.Uint32(head[5:])
				switch kind, flags := head[3], head[4]; {
				case kind == 4 && flags&1 == 0:
					frame(c, 4, 1, 0, nil) // acknowledge SETTINGS
				case kind == 0 && flags&1 != 0: // the end of a form
					if forms.Add(1) > 3 {
						return // enough to see that it is sent again
					}
					refuse(c, stream)
				}
			}
		},
	}
	srv.StartTLS()
	t.Cleanup(srv.Close)
	return srv.Client(), srv.URL, forms
}

func TestThreat047_089_NotSentAgainOverHTTP2(t *testing.T) {
	for name, refuse := range map[string]func(c net.Conn, stream uint32){
		"REFUSED_STREAM": func(c net.Conn, stream uint32) {
			b := []byte{0, 0, 4, 3, 0}
			b = binary.BigEndian.AppendUint32(b, stream)
			c.Write(binary.BigEndian.AppendUint32(b, 7))
		},
		"GOAWAY": func(c net.Conn, stream uint32) {
			b := append([]byte{0, 0, 8, 7, 0}, 0, 0, 0, 0) // the last stream was 0: ours was not handled
			b = append(b, 0, 0, 0, 0)
			c.Write(append(b, 0, 0, 0, 0))
			c.Close()
		},
	} {
		for encoding, habits := range encodings {
			t.Run(name+", "+encoding, func(t *testing.T) {
				hc, endpoint, bodies := h2Server(t, refuse)
				r := request(endpoint)
				r.Habits = habits
				_, err := Do(t.Context(), hc, r)
				wantClass(t, err, Lost)
				if got := bodies.Load(); got != 1 {
					t.Errorf("got %d bodies at the server, want 1", got)
				}
			})
		}
	}
}

func TestThreat086_136_SentOrNot(t *testing.T) {
	t.Run("refused connection", func(t *testing.T) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		l.Close()
		_, err = Do(t.Context(), client(t), request("http://"+l.Addr().String()+"/?sentinel"))
		e := wantClass(t, err, Unsent)
		if op := (*net.OpError)(nil); !errors.As(err, &op) || !errors.Is(err, errRefused) {
			t.Errorf("got %v, want a net.OpError, connection refused", e)
		}
	})
	t.Run("unknown host", func(t *testing.T) {
		hc := &http.Client{Transport: &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
			return nil, &net.OpError{Op: "dial", Net: "tcp", Err: &net.DNSError{Err: "no such host", Name: "auth.example", IsNotFound: true}}
		}}}
		_, err := Do(t.Context(), hc, request("https://auth.example/"))
		wantClass(t, err, Unsent)
		if dns := (*net.DNSError)(nil); !errors.As(err, &dns) || !dns.IsNotFound {
			t.Errorf("got %v, want a net.DNSError", err)
		}
	})
	t.Run("over before it began", func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		reason := errors.New("sentinel")
		cancel(reason)
		_, err := Do(ctx, roundTrip(func(*http.Request) (*http.Response, error) {
			t.Error("got a request, want none")
			return nil, io.EOF
		}), request("https://auth.example/"))
		wantClass(t, err, Unsent)
		if !errors.Is(err, context.Canceled) || !errors.Is(err, reason) {
			t.Errorf("got %v, want context.Canceled, and its cause to be found", err)
		}
	})
	t.Run("reset after the form", func(t *testing.T) {
		endpoint := rawServer(t, func(c net.Conn, r *bufio.Reader) {
			readRequest(r)
			c.(*net.TCPConn).SetLinger(0)
		})
		_, err := Do(t.Context(), client(t), request(endpoint))
		wantClass(t, err, Lost)
		if !errors.Is(err, errReset) {
			t.Errorf("got %v, want connection reset", err)
		}
	})
	t.Run("closed after the form", func(t *testing.T) {
		endpoint := rawServer(t, func(c net.Conn, r *bufio.Reader) { readRequest(r) })
		_, err := Do(t.Context(), client(t), request(endpoint))
		wantClass(t, err, Lost)
		if !errors.Is(err, io.EOF) {
			t.Errorf("got %v, want io.EOF", err)
		}
	})
	t.Run("not HTTP", func(t *testing.T) {
		endpoint := rawServer(t, func(c net.Conn, r *bufio.Reader) {
			readRequest(r)
			io.WriteString(c, "SSH-2.0-sentinel\r\n\r\n")
		})
		_, err := Do(t.Context(), client(t), request(endpoint))
		wantClass(t, err, Lost)
	})
	t.Run("another protocol", func(t *testing.T) {
		endpoint := rawServer(t, func(c net.Conn, r *bufio.Reader) {
			readRequest(r)
			io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n")
			r.ReadByte() // until the client hangs up
		})
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		_, err := Do(ctx, client(t), request(endpoint))
		if wantClass(t, err, Refused); ctx.Err() != nil {
			t.Error("got an answer at the deadline, want it at once: it has no body")
		}
	})
	t.Run("truncated answer", func(t *testing.T) {
		endpoint := rawServer(t, func(c net.Conn, r *bufio.Reader) {
			readRequest(r)
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n{\"access_token\":\"sentinel")
		})
		a, err := Do(t.Context(), client(t), request(endpoint))
		e := wantClass(t, err, Lost)
		if a != nil || e.HTTPStatus != 200 || !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("got %v, %v, want status 200 and io.ErrUnexpectedEOF", a, e)
		}
	})
	t.Run("truncated after the refresh token", func(t *testing.T) {
		endpoint := rawServer(t, func(c net.Conn, r *bufio.Reader) {
			readRequest(r)
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n{\"refresh_token\":\"rt-2\",\"access_token\":\"sentinel")
		})
		a, err := Do(t.Context(), client(t), request(endpoint))
		wantClass(t, err, Unreadable)
		if a == nil || a.RefreshToken != "rt-2" || a.AccessToken != "" || a.Start.IsZero() {
			t.Errorf("got %#v, want the refresh token alone", show(a))
		}
	})
	t.Run("truncated after the object", func(t *testing.T) {
		endpoint := rawServer(t, func(c net.Conn, r *bufio.Reader) {
			readRequest(r)
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n"+usable)
		})
		a, err := Do(t.Context(), client(t), request(endpoint))
		if err != nil || a.AccessToken != "at-1" {
			t.Errorf("got %v, %v, want the answer that was whole", show(a), err)
		}
	})
	t.Run("truncated form", func(t *testing.T) {
		for cut, want := range map[string]string{"access_token=a&refresh_token=rt": "", "refresh_token=rt-2&access_token=a": "rt-2"} {
			endpoint := rawServer(t, func(c net.Conn, r *bufio.Reader) {
				readRequest(r)
				io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 999\r\n\r\n"+cut)
			})
			a, err := Do(t.Context(), client(t), request(endpoint))
			failed(t, err)
			if got := show(a)["refresh_token"]; got != want {
				t.Errorf("%s: got refresh token %q, want %q", cut, got, want)
			}
		}
	})
	t.Run("truncated refusal", func(t *testing.T) {
		for status, want := range map[int]Class{400: Lost, 401: Configuration, 503: Unavailable} {
			endpoint := rawServer(t, func(c net.Conn, r *bufio.Reader) {
				readRequest(r)
				fmt.Fprintf(c, "HTTP/1.1 %d x\r\nContent-Length: 999\r\n\r\n{", status)
			})
			_, err := Do(t.Context(), client(t), request(endpoint))
			wantClass(t, err, want)
		}
	})
	t.Run("the dialer's own error", func(t *testing.T) {
		mine := errors.New("sentinel")
		hc := &http.Client{Transport: &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
			return nil, &net.OpError{Op: "dial", Net: "tcp", Err: mine}
		}}}
		_, err := Do(t.Context(), hc, request("https://auth.example/"))
		wantClass(t, err, Unsent)
		if op := (*net.OpError)(nil); !errors.As(err, &op) || op.Op != "dial" || !errors.Is(err, mine) {
			t.Errorf("got %v, want a net.OpError, and the dialer's error to be found in it", err)
		}
	})
	t.Run("the transport's own error", func(t *testing.T) {
		mine := errors.New("sentinel-token in a text")
		_, err := Do(t.Context(), roundTrip(func(*http.Request) (*http.Response, error) {
			return nil, fmt.Errorf("sentinel: %w", mine)
		}), request("https://auth.example/"))
		wantClass(t, err, Unsent)
		if !errors.Is(err, mine) {
			t.Errorf("got %v, want the transport's error to be found in it", err)
		}
	})
	t.Run("neither answer nor error", func(t *testing.T) {
		_, err := Do(t.Context(), roundTrip(func(r *http.Request) (*http.Response, error) {
			io.ReadAll(r.Body)
			return nil, nil
		}), request("https://auth.example/"))
		wantClass(t, err, Lost)
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func roundTrip(f roundTripper) *http.Client { return &http.Client{Transport: f} }

func TestBeforeSend(t *testing.T) {
	for _, proto := range []string{"HTTP/1.1", "HTTP/2.0"} {
		for encoding, habits := range encodings {
			t.Run(proto+", "+encoding, func(t *testing.T) { testBeforeSend(t, proto, habits) })
		}
	}
}

func testBeforeSend(t *testing.T, proto string, habits *Habits) {
	var forms, bytesSeen atomic.Int32
	handled := make(chan bool, 1)
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() { handled <- true }()
		if r.Proto != proto {
			t.Errorf("got %s, want %s", r.Proto, proto)
		}
		b, err := io.ReadAll(r.Body)
		bytesSeen.Add(int32(len(b)))
		if err == nil {
			forms.Add(1)
			io.WriteString(w, usable)
		}
	}))
	srv.EnableHTTP2 = proto == "HTTP/2.0"
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.StartTLS()
	defer srv.Close()

	refused := errors.New("the lease is over")
	calls := 0
	r := request(srv.URL)
	r.Habits = habits
	r.BeforeSend = func() error { calls++; return refused }
	_, err := Do(t.Context(), srv.Client(), r)
	e := wantClass(t, err, Unsent)
	if e.Err != refused || calls != 1 {
		t.Errorf("got cause %v after %d calls, want the error of BeforeSend after 1", e.Err, calls)
	}
	<-handled // the header went ahead
	if bytesSeen.Load() != 0 {
		t.Errorf("got %d bytes of the form at the server, want none", bytesSeen.Load())
	}

	calls = 0
	r.BeforeSend = func() error {
		calls++
		if forms.Load() != 0 {
			t.Error("got the form at the server before BeforeSend, want it after")
		}
		return nil
	}
	if _, err := Do(t.Context(), srv.Client(), r); err != nil || calls != 1 || forms.Load() != 1 {
		t.Errorf("got %v, %d calls, %d forms, want success, 1, 1", err, calls, forms.Load())
	}
}

// Do does not return before BeforeSend has, and what that agreed to is not
// sent after the time was up.
func TestBeforeSendOutlastsTheContext(t *testing.T) {
	t.Run("with net/http", func(t *testing.T) {
		form, handled := false, make(chan bool)
		endpoint := rawServer(t, func(c net.Conn, r *bufio.Reader) {
			_, form = readRequest(r)
			close(handled)
		})
		ctx, cancel := context.WithCancel(t.Context())
		r := request(endpoint)
		r.BeforeSend = func() error { cancel(); return nil }
		_, err := Do(ctx, client(t), r)
		wantClass(t, err, Unsent)
		if !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want context.Canceled", err)
		}
		if <-handled; form {
			t.Error("got a form at the server, want none after the context's end")
		}
	})
	t.Run("with a transport that does not wait", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var read int
			finished := make(chan bool)
			hc := roundTrip(func(r *http.Request) (*http.Response, error) {
				go func() {
					b, _ := io.ReadAll(r.Body)
					read = len(b)
					close(finished)
				}()
				<-r.Context().Done()
				return nil, r.Context().Err()
			})
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			release, done := make(chan bool), make(chan error)
			r := request("https://auth.example/")
			r.BeforeSend = func() error { <-release; return nil }
			go func() {
				_, err := Do(ctx, hc, r)
				done <- err
			}()
			<-ctx.Done()
			synctest.Wait()
			select {
			case err := <-done:
				t.Errorf("got %v while BeforeSend was running, want Do to wait", err)
			default:
			}
			close(release)
			wantClass(t, <-done, Unsent)
			if <-finished; read != 0 {
				t.Errorf("got %d bytes read after the context's end, want none", read)
			}
		})
	})
	t.Run("read after Do has returned", func(t *testing.T) {
		var late io.Reader
		hc := roundTrip(func(r *http.Request) (*http.Response, error) {
			late = r.Body
			return nil, io.EOF
		})
		r := request("https://auth.example/")
		r.BeforeSend = func() error { t.Error("BeforeSend was called"); return nil }
		_, err := Do(t.Context(), hc, r)
		wantClass(t, err, Unsent)
		if b, err := io.ReadAll(late); len(b) != 0 || err == nil {
			t.Errorf("got %d bytes, %v, want an error: Do has said that nothing was sent", len(b), err)
		}
	})
}

func TestThreat068_TheContextEndsIt(t *testing.T) {
	head := "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n{"
	for name, serve := range map[string]func(ctx context.Context, c net.Conn){
		"no answer":   func(context.Context, net.Conn) {},
		"header only": func(_ context.Context, c net.Conn) { io.WriteString(c, head) },
		"half a header": func(_ context.Context, c net.Conn) {
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-")
		},
		"drip": func(ctx context.Context, c net.Conn) {
			io.WriteString(c, head)
			tick := time.NewTicker(5 * time.Millisecond)
			defer tick.Stop()
			for ctx.Err() == nil {
				<-tick.C
				io.WriteString(c, " ")
			}
		},
		"1xx flood": func(ctx context.Context, c net.Conn) {
			for ctx.Err() == nil {
				if _, err := io.WriteString(c, "HTTP/1.1 103 Early Hints\r\nLink: <sentinel>\r\n\r\n"); err != nil {
					return
				}
			}
		},
	} {
		for _, way := range []string{"context", "client timeout"} {
			t.Run(name+", "+way, func(t *testing.T) {
				// On a busy machine the time may be up before the form is out.
				var e *Error
				for limit := 50 * time.Millisecond; limit < 10*time.Second; limit *= 2 {
					if e = endless(t, serve, way, limit); e.Class != Unsent {
						break
					}
				}
				wantClass(t, e, Lost)
				if name != "1xx flood" && !errors.Is(e, context.DeadlineExceeded) { // net/http may end a flood by itself
					t.Errorf("got %v, want the deadline", e)
				}
			})
		}
	}
}

// endless makes a request of a server that never ends its answer, and checks
// that nothing of it stays behind.
func endless(t *testing.T, serve func(context.Context, net.Conn), way string, limit time.Duration) *Error {
	t.Helper()
	before := runtime.NumGoroutine()
	stop, cancel := context.WithCancel(context.Background())
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan bool)
	go func() {
		defer close(served)
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		if _, ok := readRequest(bufio.NewReader(c)); ok {
			serve(stop, c)
			<-stop.Done()
		}
	}()

	ctx, hc := t.Context(), &http.Client{Transport: &http.Transport{}}
	if way == "context" {
		var done context.CancelFunc
		ctx, done = context.WithTimeout(ctx, limit)
		defer done()
	} else {
		hc.Timeout = limit
	}
	_, err = Do(ctx, hc, request("http://"+l.Addr().String()))

	cancel()
	l.Close()
	<-served
	hc.CloseIdleConnections()
	poll(t, func() bool { return runtime.NumGoroutine() <= before })
	return failed(t, err)
}

// poll waits until a condition holds.
func poll(t *testing.T, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	limit := time.After(5 * time.Second)
	for !ok() {
		select {
		case <-tick.C:
		case <-limit:
			buf := make([]byte, 1<<16)
			t.Fatalf("waited in vain; goroutines:\n%s", buf[:runtime.Stack(buf, true)])
		}
	}
}

func TestThreat069_TheBodyIsBounded(t *testing.T) {
	rest := strings.TrimPrefix(usable, "{")
	space := strings.Repeat(" ", 1<<16)
	var sent atomic.Int64
	tests := map[string]http.HandlerFunc{
		"2 MiB": func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, `{"refresh_token":"rt-2","x":"`+strings.Repeat("sentinel", 1<<18)+`",`+rest)
		},
		"endless": func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, `{"refresh_token":"rt-2","x":"`)
			for r.Context().Err() == nil {
				n, err := io.WriteString(w, space)
				sent.Add(int64(n))
				if err != nil {
					return
				}
			}
		},
		"endless after the object": func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, usable)
			for r.Context().Err() == nil {
				if _, err := io.WriteString(w, space); err != nil {
					return
				}
			}
		},
		"gzip bomb": func(w http.ResponseWriter, r *http.Request) {
			if !strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
				t.Errorf("got Accept-Encoding %q, want gzip, or the test shows nothing", r.Header.Get("Accept-Encoding"))
			}
			var b bytes.Buffer
			z := gzip.NewWriter(&b)
			io.WriteString(z, `{"refresh_token":"rt-2","x":"`)
			for range 1 << 6 { // 4 MiB out of 4 KiB
				io.WriteString(z, space)
			}
			z.Close()
			w.Header().Set("Content-Encoding", "gzip")
			w.Write(b.Bytes())
		},
	}
	for name, h := range tests {
		t.Run(name, func(t *testing.T) {
			srv := start(t, h)
			a, err := Do(t.Context(), client(t), request(srv.URL))
			e := wantClass(t, err, Unreadable)
			if !errors.Is(err, ErrBodyTooLarge) || !strings.Contains(e.Error(), "1 MiB") {
				t.Errorf("got %v, want an error that names the limit", e)
			}
			if got := show(a)["refresh_token"]; got != "rt-2" || a.AccessToken != "" {
				t.Errorf("got refresh token %q, want it kept, alone", got)
			}
		})
	}
	t.Run("1 MiB is not too large", func(t *testing.T) {
		srv := serve(t, 200, "application/json", strings.Repeat(" ", MaxBody-len(usable))+usable)
		if _, err := Do(t.Context(), client(t), request(srv.URL)); err != nil {
			t.Error(err)
		}
	})
	t.Run("gzip as such", func(t *testing.T) {
		srv := start(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			z := gzip.NewWriter(w)
			io.WriteString(z, usable)
			z.Close()
		})
		if a, err := Do(t.Context(), client(t), request(srv.URL)); err != nil || a.AccessToken != "at-1" {
			t.Errorf("got %v, %v, want the token", show(a), err)
		}
	})
	t.Run("early refusal", func(t *testing.T) {
		srv := start(t, func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(413) }) // form unread
		_, err := Do(t.Context(), client(t), request(srv.URL))
		wantClass(t, err, Refused)
	})
}

func TestThreat077_LifetimeCountsFromTheStart(t *testing.T) {
	began := time.Now()
	var sending time.Time
	srv := serve(t, 200, "application/json", usable)
	r := request(srv.URL)
	r.BeforeSend = func() error { sending = time.Now(); return nil }
	a, err := Do(t.Context(), client(t), r)
	if err != nil {
		t.Fatal(err)
	}
	if a.Start.Before(began) || a.Start.After(sending) {
		t.Errorf("got start %v, want it between %v and %v", a.Start, began, sending)
	}
}

func TestThreat063_Certificates(t *testing.T) {
	quiet := func(srv *httptest.Server) *httptest.Server {
		srv.Config.ErrorLog = log.New(io.Discard, "", 0)
		t.Cleanup(srv.Close)
		return srv
	}
	never := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("got a request, want none") })
	srv := quiet(httptest.NewUnstartedServer(never))
	srv.StartTLS()

	trusting := func(alter func(*tls.Config)) *http.Client {
		tr := srv.Client().Transport.(*http.Transport).Clone()
		alter(tr.TLSClientConfig)
		t.Cleanup(tr.CloseIdleConnections)
		return &http.Client{Transport: tr}
	}
	try := func(t *testing.T, hc *http.Client, address string) error {
		r := request(address)
		r.BeforeSend = func() error { t.Error("BeforeSend was called"); return nil }
		_, err := Do(t.Context(), hc, r)
		return err
	}

	t.Run("unknown authority", func(t *testing.T) {
		err := try(t, client(t), srv.URL)
		wantClass(t, err, Configuration)
		if !errors.As(err, new(x509.UnknownAuthorityError)) {
			t.Errorf("got %v, want x509.UnknownAuthorityError", err)
		}
	})
	t.Run("other host", func(t *testing.T) {
		err := try(t, trusting(func(c *tls.Config) { c.ServerName = "other.test" }), srv.URL)
		wantClass(t, err, Configuration)
		if !errors.As(err, new(x509.HostnameError)) {
			t.Errorf("got %v, want x509.HostnameError", err)
		}
	})
	t.Run("expired", func(t *testing.T) {
		later := srv.Certificate().NotAfter.Add(time.Hour)
		err := try(t, trusting(func(c *tls.Config) { c.Time = func() time.Time { return later } }), srv.URL)
		wantClass(t, err, Configuration)
		if e := (x509.CertificateInvalidError{}); !errors.As(err, &e) || e.Reason != x509.Expired || !strings.Contains(err.Error(), "expired") {
			t.Errorf("got %v, want x509.CertificateInvalidError, expired", err)
		}
	})
	t.Run("old TLS", func(t *testing.T) {
		old := quiet(httptest.NewUnstartedServer(never))
		old.TLS = &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS10}
		old.StartTLS()
		err := try(t, trusting(func(*tls.Config) {}), old.URL)
		wantClass(t, err, Configuration)
	})
	t.Run("client certificate wanted", func(t *testing.T) {
		mutual := quiet(httptest.NewUnstartedServer(never))
		// In TLS 1.3 the server sends its alert while the form is being sent,
		// and the client may miss it.
		mutual.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert, MaxVersion: tls.VersionTLS12}
		mutual.StartTLS()
		err := try(t, trusting(func(*tls.Config) {}), mutual.URL)
		wantClass(t, err, Configuration)
		if alert := tls.AlertError(0); !errors.As(err, &alert) {
			t.Errorf("got %v, want a tls.AlertError", err)
		}
	})
	t.Run("no TLS at all", func(t *testing.T) {
		plain := start(t, never)
		err := try(t, client(t), strings.Replace(plain.URL, "http:", "https:", 1))
		wantClass(t, err, Configuration)
	})
	t.Run("handshake broken off", func(t *testing.T) {
		endpoint := rawServer(t, func(c net.Conn, r *bufio.Reader) { r.Peek(1) })
		err := try(t, client(t), strings.Replace(endpoint, "http:", "https:", 1))
		wantClass(t, err, Unsent)
	})
}

func TestThreat090_136_ProxyErrorsHideItsPassword(t *testing.T) {
	refusing := start(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Proxy-Authorization") == "" {
			t.Error("got no credentials for the proxy, want some, or the test shows nothing")
		}
		w.WriteHeader(http.StatusProxyAuthRequired)
	})
	chatty := rawServer(t, func(c net.Conn, r *bufio.Reader) {
		http.ReadRequest(r)
		io.WriteString(c, "HTTP/1.1 502 sentinel-status\r\n\r\n")
	})
	host := func(s string) string { u, _ := url.Parse(s); return u.Host }
	for name, tt := range map[string]struct {
		proxy, target string
		want          Class
	}{
		"refuses to connect":  {"http://sentinel:sentinel@" + host(refusing.URL), "https://auth.example/", Unsent},
		"refuses the request": {"http://sentinel:sentinel@" + host(refusing.URL), "http://auth.example/", Configuration},
		"says something else": {"http://sentinel:sentinel@" + host(chatty), "https://auth.example/", Unsent},
		"is not there":        {"http://sentinel:sentinel@127.0.0.1:1", "https://auth.example/", Unsent},
		"socks":               {"socks5://sentinel:sentinel@127.0.0.1:1", "https://auth.example/", Unsent},
		"has a bad address":   {"://sentinel:sentinel@x", "https://auth.example/", Unsent},
		"has a bad scheme":    {"gopher://sentinel:sentinel@127.0.0.1:1", "https://auth.example/", Unsent},
	} {
		t.Run(name, func(t *testing.T) {
			tr := &http.Transport{Proxy: func(*http.Request) (*url.URL, error) {
				u, err := url.Parse(tt.proxy)
				if err != nil {
					return nil, fmt.Errorf("invalid proxy address %q: %w", tt.proxy, err)
				}
				return u, nil
			}}
			defer tr.CloseIdleConnections()
			_, err := Do(t.Context(), &http.Client{Transport: tr}, request(tt.target+"?sentinel"))
			e := wantClass(t, err, tt.want)
			if name == "refuses to connect" && !strings.Contains(e.Error(), "Proxy Authentication Required") {
				t.Errorf("got %v, want what the proxy said", e)
			}
		})
	}
}

func TestThreat135_RequestsAndAnswersDoNotShowThemselves(t *testing.T) {
	r := request("https://auth.example/?sentinel")
	r.Credential = &Credential{Header: "X", Value: "sentinel", Secrets: []string{"sentinel"}}
	a := &Answer{AccessToken: "sentinel", RefreshToken: "sentinel", IDToken: "sentinel", Extra: map[string]string{"a": "sentinel"}}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d", "%x"} {
		for _, x := range []any{r, *r, r.Credential, *r.Credential, a, *a, struct{ X any }{a}} {
			if got := fmt.Sprintf(verb, x); strings.Contains(got, "sentinel") || strings.Contains(got, "73656e74") {
				t.Errorf("got %s, want no secret", got)
			}
		}
	}
}

// show lists what a holds, for comparison and for messages of tests.
func show(a *Answer) map[string]string {
	m := make(map[string]string)
	if a == nil {
		return m
	}
	for name, value := range map[string]string{
		"access_token": a.AccessToken, "refresh_token": a.RefreshToken, "token_type": a.TokenType,
		"id_token": a.IDToken, "scopes": strings.Join(a.Scopes, " "),
	} {
		if value != "" {
			m[name] = value
		}
	}
	for _, name := range slices.Sorted(maps.Keys(a.Extra)) {
		m["extra "+name] = a.Extra[name]
	}
	if a.LifetimeKnown {
		m["lifetime"] = a.Lifetime.String()
	}
	if a.ScopeKnown {
		m["scope known"] = "yes"
	}
	if a.RefreshLifetime != 0 {
		m["refresh lifetime"] = a.RefreshLifetime.String()
	}
	return m
}
