// Package tokenendpoint makes the one kind of request on which grants depend:
// a form posted to a token endpoint (RFC 6749, section 3.2), and its sibling
// at a revocation endpoint (RFC 7009).
//
// A refresh token or a code in that form can often be spent only once. The
// package therefore sends a form at most once, says afterwards whether any of
// it left, and takes a new refresh token out of an answer however odd the rest
// of it is.
//
// A [Limiter] bounds how many of these requests a provider gets at a time.
package tokenendpoint

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/authprofile/authprofile/internal/foreign"
	"github.com/authprofile/authprofile/internal/transport"
)

// MaxBody is how many bytes of an answer are read, after decompression.
const MaxBody = 1 << 20

// ErrBodyTooLarge is the cause of an [Error] about an answer of more than
// MaxBody bytes.
var ErrBodyTooLarge = errors.New("the answer is larger than 1 MiB")

// The causes of an [Error] that are found before or without reading an answer.
var (
	errURL        = errors.New("the address is not valid")
	errAuthMethod = errors.New("the client authentication method is unknown")
	errForm       = errors.New("the form is empty")
	errRedirect   = errors.New("it redirects, which is not followed")
	errNoAnswer   = errors.New("the transport gave neither an answer nor an error")
	errSealed     = errors.New("the request is over")
)

// A Request is what to send, and as whom.
type Request struct {
	URL  string
	Form url.Values // of the grant; client authentication is added to a copy

	ClientID     string
	ClientSecret string

	// AuthMethod is "client_secret_basic", "client_secret_post", "none" or
	// "client_secret_basic_raw". No other is tried when it fails: that would
	// spend what the form has twice.
	AuthMethod string

	// BeforeSend, if not nil, is called at most once, at the last moment:
	// connected, headers written, the form about to follow. If it returns an
	// error, nothing of the form is sent, and that error is the cause of what
	// Do returns. Its text becomes part of the error's text. Do does not
	// return while BeforeSend runs.
	BeforeSend func() error
}

// Format writes r without its form and its secret, whatever the verb.
func (r Request) Format(f fmt.State, verb rune) {
	fmt.Fprintf(f, "Request{ClientID:%q AuthMethod:%q}", r.ClientID, r.AuthMethod)
}

// Do sends r to a token endpoint and returns its answer. The error is always
// an [*Error]; with one, the Answer is nil or has nothing but Start and a
// refresh token, which replaces the one that was sent.
//
// Do uses Transport and Timeout of hc; if hc is nil, it uses
// http.DefaultTransport, and with it the proxy that the environment names. It
// follows no redirect, and takes no longer than ctx lasts.
func Do(ctx context.Context, hc *http.Client, r *Request) (*Answer, error) {
	start := time.Now()
	x := send(ctx, hc, r, "token endpoint", true)
	if x.err != nil {
		return nil, x.err
	}
	a, err := evaluate(x)
	if a != nil {
		a.Start = start
	}
	if err != nil {
		return a, err // not a nil *Error in an error
	}
	return a, nil
}

// Revoke sends r to a revocation endpoint. The token is revoked if the answer
// has a status of success, whatever its body, and also if it says that the
// token is not valid (RFC 7009, section 2.2). The error is always an [*Error].
func Revoke(ctx context.Context, hc *http.Client, r *Request) error {
	x := send(ctx, hc, r, "revocation endpoint", false)
	if x.err != nil {
		return x.err
	}
	if x.success() {
		return nil
	}
	e := refusal(x, parse(x.body, x.contentType()))
	if x.status == http.StatusBadRequest && (e.Code == "invalid_token" || e.Class == InvalidGrant) {
		return nil
	}
	return e
}

// An exchange is a form that was sent and what came back.
type exchange struct {
	endpoint string // for the text of errors
	request  *Request

	status  int
	header  http.Header
	body    []byte // as far as it was read
	readErr error  // why it was not read to its end; fit to be shown

	err *Error // there was no answer; the rest is empty
}

func (x *exchange) success() bool { return x.status >= 200 && x.status < 300 }

func (x *exchange) contentType() string { return x.header.Get("Content-Type") }

// send does one exchange. The body of a success is read only if it is wanted.
func send(ctx context.Context, hc *http.Client, r *Request, endpoint string, want bool) *exchange {
	x := &exchange{endpoint: endpoint, request: r}
	fail := func(class Class, cause error) *exchange {
		x.err = &Error{Class: class, Err: cause, endpoint: endpoint}
		return x
	}

	if len(r.Form) == 0 {
		return fail(Unsent, errForm)
	}
	form, authorization, err := authenticate(r)
	if err != nil {
		return fail(Configuration, err)
	}

	rt := http.DefaultTransport
	if hc != nil {
		if hc.Transport != nil {
			rt = hc.Transport
		}
		if hc.Timeout > 0 {
			var cancel context.CancelFunc
			ctx, cancel = transport.WithTimeout(ctx, hc.Timeout)
			defer cancel()
		}
	}
	if ctx.Err() != nil {
		return fail(Unsent, cause(ctx, nil, false))
	}

	encoded := form.Encode()
	body := newOnceBody(ctx, encoded, r.BeforeSend)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.URL, body)
	if err != nil || req.URL.Host == "" || req.URL.Scheme != "https" && req.URL.Scheme != "http" {
		return fail(Configuration, errURL)
	}
	// Without GetBody, net/http cannot send the form again by itself.
	req.GetBody = nil
	req.ContentLength = int64(len(encoded))
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "authprofile")
	if authorization != "" {
		req.Header.Set("Authorization", authorization)
	}

	// The transport, and not a Client around it: a Client follows redirects,
	// keeps cookies, and puts addresses into its errors.
	resp, err := rt.RoundTrip(req)
	if err == nil && resp == nil {
		err = errNoAnswer
	}
	if err == nil {
		x.status, x.header = resp.StatusCode, resp.Header
		if resp.Body != nil {
			if x.status >= 200 && (want || !x.success()) {
				var readErr error
				if x.body, readErr = read(resp.Body); errors.Is(readErr, ErrBodyTooLarge) {
					x.readErr = ErrBodyTooLarge
				} else if readErr != nil {
					x.readErr = cause(ctx, readErr, true)
				}
			}
			resp.Body.Close()
		}
	}

	sent, beforeErr := body.seal()
	switch {
	case beforeErr != nil:
		return fail(Unsent, beforeErr)
	case err == nil:
		return x
	case refusedTLS(err) != nil:
		return fail(Configuration, cause(ctx, err, sent))
	case sent:
		return fail(Lost, cause(ctx, err, true))
	default:
		return fail(Unsent, cause(ctx, err, false))
	}
}

// read reads a body as far as MaxBody.
func read(body io.Reader) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(body, MaxBody+1))
	if len(data) > MaxBody {
		return data[:MaxBody], ErrBodyTooLarge
	}
	return data, err
}

// authenticate returns a copy of the form, and the Authorization header if
// there is one: the client authenticates by exactly one of them (RFC 6749,
// section 2.3).
func authenticate(r *Request) (form url.Values, authorization string, err error) {
	form = maps.Clone(r.Form)
	form.Del("client_id")
	form.Del("client_secret")

	id, secret := r.ClientID, r.ClientSecret
	switch r.AuthMethod {
	case "client_secret_basic":
		id, secret = url.QueryEscape(id), url.QueryEscape(secret)
		fallthrough
	case "client_secret_basic_raw":
		return form, "Basic " + base64.StdEncoding.EncodeToString([]byte(id+":"+secret)), nil
	case "client_secret_post":
		form.Set("client_id", id)
		form.Set("client_secret", secret)
		return form, "", nil
	case "none":
		form.Set("client_id", id)
		return form, "", nil
	}
	return nil, "", errAuthMethod
}

// secretParams are the parameters whose values an error must not show, even
// if the provider repeats them.
var secretParams = []string{
	"actor_token", "assertion", "client_assertion", "code", "code_verifier",
	"device_code", "password", "refresh_token", "subject_token", "token",
}

// secrets returns what of r must not be shown: as it is, as it is sent, and as
// it comes out of the cleaning of a provider's texts. The longest come first,
// since one may be a part of another.
func secrets(r *Request) []string {
	raw := []string{r.ClientSecret}
	for _, name := range secretParams {
		raw = append(raw, r.Form[name]...)
	}
	if _, authorization, err := authenticate(r); err == nil {
		raw = append(raw, strings.TrimPrefix(authorization, "Basic "))
	}
	var list []string
	for _, s := range raw {
		escaped := url.QueryEscape(s)
		list = append(list, s, escaped, lowerEscapes(escaped), url.PathEscape(s), cleanText(s), cleanCode(s))
	}
	slices.SortFunc(list, func(a, b string) int { return cmp.Or(len(b)-len(a), strings.Compare(a, b)) })
	return slices.Compact(list)
}

// lowerEscapes writes "%2f" for "%2F".
func lowerEscapes(s string) string {
	b := []byte(s)
	for i := 0; i+2 < len(b); i++ {
		if b[i] == '%' {
			copy(b[i:], bytes.ToLower(b[i:i+3]))
		}
	}
	return string(b)
}

// An onceBody is a form that can be read at most once, reports whether it was,
// and can be withdrawn.
type onceBody struct {
	over   func() error // the context's Err: after its end nothing more is sent
	before func() error

	mu        sync.Mutex
	form      *strings.Reader
	asked     bool          // before was called, or never will be
	answered  chan struct{} // closed when before is not running, and will not
	beforeErr error
	sent      bool // some of the form was read
	sealed    bool
}

func newOnceBody(ctx context.Context, form string, before func() error) *onceBody {
	return &onceBody{over: ctx.Err, before: before, form: strings.NewReader(form), answered: make(chan struct{})}
}

func (b *onceBody) Read(p []byte) (int, error) {
	b.mu.Lock()
	first := !b.asked
	b.asked = true
	b.mu.Unlock()
	if first {
		b.ask()
	}
	<-b.answered

	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.beforeErr != nil:
		return 0, b.beforeErr
	case b.sealed || b.over() != nil:
		return 0, errSealed
	}
	n, err := b.form.Read(p)
	b.sent = b.sent || n > 0
	return n, err
}

func (b *onceBody) ask() {
	defer close(b.answered)
	if b.before == nil {
		return
	}
	err := foreign.Call(b.before) // a panic in this goroutine, of the transport, would end the program
	b.mu.Lock()
	defer b.mu.Unlock()
	b.beforeErr = err
}

// Close does nothing: the form is in memory, and a transport may close what
// it has not read and then use it on another connection.
func (b *onceBody) Close() error { return nil }

// seal keeps the rest of the form from being read later, and waits for before
// if it is running. It reports whether any of the form was read, and what
// before returned.
func (b *onceBody) seal() (sent bool, beforeErr error) {
	b.mu.Lock()
	b.sealed = true
	if !b.asked {
		b.asked = true
		close(b.answered)
	}
	b.mu.Unlock()
	<-b.answered

	b.mu.Lock()
	defer b.mu.Unlock()
	return b.sent, b.beforeErr
}
