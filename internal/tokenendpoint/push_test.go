package tokenendpoint

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
)

// pushing is an authorization request to be pushed.
func pushing(address string) *Request {
	r := request(address)
	r.Form = url.Values{"response_type": {"code"}, "state": {"state-1"}, "code_challenge": {"challenge-1"}}
	return r
}

const pushedAnswer = `{"request_uri":"urn:ietf:params:oauth:request_uri:1","expires_in":60}`

func TestPush(t *testing.T) {
	for _, tt := range []struct{ method, want string }{
		{"client_secret_basic", "client_id=client&code_challenge=challenge-1&response_type=code&state=state-1"},
		{"client_secret_basic_raw", "client_id=client&code_challenge=challenge-1&response_type=code&state=state-1"},
		{"client_secret_post", "client_id=client&client_secret=sentinel-secret&code_challenge=challenge-1&response_type=code&state=state-1"},
		{"none", "client_id=client&code_challenge=challenge-1&response_type=code&state=state-1"},
		{"tls_client_auth", "client_id=client&code_challenge=challenge-1&response_type=code&state=state-1"},
		{"private_key_jwt", "client_assertion=sentinel.a.b&client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer&client_id=client&code_challenge=challenge-1&response_type=code&state=state-1"},
	} {
		t.Run(tt.method, func(t *testing.T) {
			srv := start(t, func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				if string(body) != tt.want || r.Method != "POST" {
					t.Errorf("got %s %s, want POST %s", r.Method, body, tt.want)
				}
				if _, _, ok := r.BasicAuth(); ok != strings.Contains(tt.method, "basic") {
					t.Errorf("got Authorization %q with %s", r.Header.Get("Authorization"), tt.method)
				}
				w.WriteHeader(201)
				io.WriteString(w, pushedAnswer)
			})
			r := pushing(srv.URL)
			r.AuthMethod, r.Assertion = tt.method, assertion("sentinel.a.b", nil)
			before := time.Now()
			p, err := Push(t.Context(), client(t), r)
			if err != nil {
				t.Fatal(err)
			}
			if p.RequestURI != "urn:ietf:params:oauth:request_uri:1" || p.Lifetime != time.Minute || p.Start.Before(before) || p.Start.After(time.Now()) {
				t.Errorf("got %q, %v, %v, want what was answered", p.RequestURI, p.Lifetime, p.Start)
			}
			if got := fmt.Sprintf("%v %+v %#v", p, *p, p); strings.Contains(got, "urn:") {
				t.Errorf("got %s, want nothing of the answer", got)
			}
			if r.namesClient || len(r.Form) != 3 {
				t.Errorf("got the caller's request changed: %v", r.Form)
			}
		})
	}
}

func TestPushAnswers(t *testing.T) {
	uri := func(s string) string { return fmt.Sprintf(`{"request_uri":%q,"expires_in":60}`, s) }
	long := "urn:" + strings.Repeat("x", maxRequestURI-4)
	for _, tt := range []struct {
		name   string
		status int
		body   string
		want   Class // 0: success
		cause  error
	}{
		{"created", 201, pushedAnswer, 0, nil},
		{"OK", 200, pushedAnswer, 0, nil},
		{"an https address", 201, uri("https://auth.example/par/1#x"), 0, nil},
		{"as long as may be", 201, uri(long), 0, nil},
		{"expires_in is a text", 201, `{"request_uri":"urn:x","expires_in":"60"}`, 0, nil},
		{"other members", 201, `{"request_uri":"urn:x","expires_in":60,"access_token":7}`, 0, nil},

		{"accepted", 202, pushedAnswer, Unreadable, errPushStatus},
		{"no content", 204, "", Unreadable, errPushStatus},
		{"not JSON", 201, "sentinel", Unreadable, errNotObject},
		{"an array", 201, "[" + pushedAnswer + "]", Unreadable, errNotObject},
		{"something behind", 201, pushedAnswer + "{}", Unreadable, errTrailing},
		{"twice", 201, `{"request_uri":"urn:x","request_uri":"urn:y","expires_in":60}`, Unreadable, errDuplicate},
		{"no request_uri", 201, `{"expires_in":60}`, Unreadable, errRequestURI},
		{"a number", 201, `{"request_uri":7,"expires_in":60}`, Unreadable, errRequestURI},
		{"empty", 201, uri(""), Unreadable, errRequestURI},
		{"relative", 201, uri("/sentinel"), Unreadable, errRequestURI},
		{"a scheme alone", 201, uri("urn:"), Unreadable, errRequestURI},
		{"a control character", 201, `{"request_uri":"urn:x\u0000","expires_in":60}`, Unreadable, errRequestURI},
		{"a line break", 201, `{"request_uri":"urn:x\ny","expires_in":60}`, Unreadable, errRequestURI},
		{"a space", 201, uri("urn:x y"), Unreadable, errRequestURI},
		{"not ASCII", 201, uri("urn:ü"), Unreadable, errRequestURI},
		{"too long", 201, uri(long + "x"), Unreadable, errRequestURI},
		{"no expires_in", 201, `{"request_uri":"urn:sentinel"}`, Unreadable, errExpiresIn},
		{"zero", 201, `{"request_uri":"urn:sentinel","expires_in":0}`, Unreadable, errExpiresIn},
		{"negative", 201, `{"request_uri":"urn:sentinel","expires_in":-1}`, Unreadable, errExpiresIn},
		{"a word", 201, `{"request_uri":"urn:sentinel","expires_in":"sentinel"}`, Unreadable, errExpiresIn},
		{"an error with a status of success", 200, `{"error":"invalid_client","request_uri":"urn:x","expires_in":60}`, Configuration, nil},
		{"too large", 201, `{"x":"` + strings.Repeat("x", MaxBody) + `"}`, Unreadable, ErrBodyTooLarge},
		{"invalid_request", 400, `{"error":"invalid_request","error_description":"sentinel-secret"}`, Refused, nil},
		{"invalid_client", 401, `{"error":"invalid_client"}`, Configuration, nil},
		{"not there", 404, "", Configuration, nil},
		{"too many", 429, "", Unavailable, nil},
		{"redirect", 302, "", Configuration, errRedirect},
	} {
		t.Run(tt.name, func(t *testing.T) {
			srv := serve(t, tt.status, asJSON, tt.body)
			p, err := Push(t.Context(), client(t), pushing(srv.URL))
			if tt.want == 0 {
				if err != nil || p == nil {
					t.Errorf("got %v, want success", err)
				}
				return
			}
			e := wantClass(t, err, tt.want)
			if p != nil || e.Err != tt.cause || e.HTTPStatus != tt.status || !strings.HasPrefix(e.Error(), "pushed authorization request endpoint: ") {
				t.Errorf("got %v, %v, want status %d and %v", p, e, tt.status, tt.cause)
			}
		})
	}
	t.Run("no connection", func(t *testing.T) {
		_, err := Push(t.Context(), client(t), pushing("http://127.0.0.1:1"))
		wantClass(t, err, Unsent)
	})
}

func FuzzPush(f *testing.F) {
	f.Add([]byte(pushedAnswer), 201)
	f.Add([]byte(`{"request_uri":"https://a/b","expires_in":"1e3"}`), 200)
	f.Add([]byte(`{"error":"invalid_request","error_description":"sentinel-secret"}`), 400)
	f.Fuzz(func(t *testing.T, body []byte, status int) {
		if len(body) > MaxBody {
			return
		}
		for _, readErr := range []error{nil, io.ErrUnexpectedEOF, ErrBodyTooLarge} {
			x := &exchange{endpoint: "pushed", request: &Request{ClientSecret: "sentinel-secret"}, status: status, header: http.Header{}, body: body, readErr: readErr}
			p, err := evaluatePush(x)
			if (p == nil) == (err == nil) {
				t.Fatalf("got %v and %v, want one of them", p, err)
			}
			if err != nil {
				if _, ok := classNames[err.Class]; !ok || strings.Contains(err.Description+"|"+err.Code, "sentinel-secret") {
					t.Errorf("got %v %q, want a known class and no secret", err, err.Description)
				}
				if !slices.Contains(append(problems, errPushStatus, errRequestURI, errExpiresIn), err.Err) {
					t.Errorf("got cause %v, want one of our own", err.Err)
				}
				continue
			}
			u, parseErr := url.Parse(p.RequestURI)
			if parseErr != nil || !u.IsAbs() || len(p.RequestURI) > maxRequestURI || !printable(p.RequestURI) || p.Lifetime <= 0 || p.Lifetime > maxLifetime {
				t.Errorf("got %q for %v, want an absolute URI and a lifetime", p.RequestURI, p.Lifetime)
			}
			if status != 200 && status != 201 || readErr == ErrBodyTooLarge {
				t.Errorf("got success with status %d, %v", status, readErr)
			}
		}
	})
}
