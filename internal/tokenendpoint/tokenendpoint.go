// Package tokenendpoint makes the one kind of request on which grants depend:
// a form posted to a token endpoint (RFC 6749, section 3.2), and its sibling
// at a revocation endpoint (RFC 7009). [Habits] are what a provider does in
// another way.
//
// A refresh token or a code in that form can often be spent only once. The
// package therefore sends a form at most once, says afterwards whether any of
// it left, and takes a new refresh token out of an answer however odd the rest
// of it is.
//
// A [Limiter] bounds how many of these requests a provider gets at a time.
package tokenendpoint

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/authprofile/authprofile/internal/transport"
)

// MaxBody is how many bytes of an answer are read, after decompression.
const MaxBody = 1 << 20

// ErrBodyTooLarge is the cause of an [Error] about an answer of more than
// MaxBody bytes.
var ErrBodyTooLarge = errors.New("the answer is larger than 1 MiB")

// The causes of an [Error] that are found before or without reading an answer.
var (
	errURL      = errors.New("the address is not valid")
	errForm     = errors.New("the form is empty")
	errRedirect = errors.New("it redirects, which is not followed")
	errNoAnswer = errors.New("the transport gave neither an answer nor an error")
)

// A Request is what to send, and as whom.
type Request struct {
	URL  string
	Form url.Values // of the grant, or with the token to revoke; client authentication is added to a copy

	// Secrets are values of the form that an error must not show, under whatever
	// names they are sent. Those of the usual names need not be here.
	Secrets []string

	ClientID     string
	ClientSecret string

	// AuthMethod is how the client authenticates, by one of the names in
	// clientauth.go. No other is tried when it fails: that would spend what
	// the form has twice.
	AuthMethod string

	// HasKey says that there is a client's key: for the TLS methods, with which
	// the http.Client authenticates, or to make assertions of.
	HasKey bool

	// Assertion returns what the client authenticates by with private_key_jwt
	// (RFC 7523, section 2.2). It is called once for each request that is sent,
	// before anything of the form leaves and before BeforeSend. If it fails, or
	// has not returned when the time of the request is over, nothing is sent.
	Assertion func(ctx context.Context) (string, error)

	namesClient bool // the form has client_id, whatever AuthMethod is

	// Anonymous says that nothing is added to the form, and the client does not
	// authenticate. AuthMethod does not matter. A client_id or client_secret
	// that the form has is sent.
	Anonymous bool

	// Credential, if not nil, is sent in place of the client's authentication,
	// to which applies what Anonymous says. The form may be empty: the request
	// has no body then, nor Content-Type.
	Credential *Credential

	// Method is the request's method. Empty: POST.
	Method string

	// Habits are those of the provider. Nil: the standards alone.
	Habits *Habits

	// BeforeSend, if not nil, is called at most once, at the last moment:
	// connected, headers written, the form about to follow. If it returns an
	// error, nothing of the form is sent, and that error is the cause of what
	// Do returns. Its text becomes part of the error's text. Do does not
	// return while BeforeSend runs. For a request without a body, it is called
	// before the connection is made.
	BeforeSend func() error
}

// Format writes r without its form and its secret, whatever the verb.
func (r Request) Format(f fmt.State, verb rune) {
	fmt.Fprintf(f, "Request{ClientID:%q AuthMethod:%q}", r.ClientID, r.AuthMethod)
}

// Do sends r to a token endpoint and returns its answer. The error is always
// an [*Error]; with one, the Answer is nil or has nothing but Start,
// HTTPStatus and a refresh token, which replaces the one that was sent.
//
// Do uses Transport and Timeout of hc; if hc is nil, it uses
// http.DefaultTransport, and with it the proxy that the environment names. It
// follows no redirect, and takes no longer than ctx lasts.
func Do(ctx context.Context, hc *http.Client, r *Request) (*Answer, error) {
	x := send(ctx, hc, r, "token endpoint", 0)
	if x.err != nil {
		return nil, x.err
	}
	a, err := evaluate(x)
	if a != nil {
		a.Start, a.HTTPStatus = x.start, x.status
	}
	if err != nil {
		return a, err // not a nil *Error in an error
	}
	return a, nil
}

// revocationWait is how long the body of a success is waited for at a revocation
// endpoint, where it hardly ever says anything.
const revocationWait = 2 * time.Second

// Revoke sends r to a revocation endpoint. The token is revoked if the answer has
// a status of success, and also if it says that the token is not valid (RFC 7009,
// section 2.2), or does not accept it as the credential. A JSON object with an
// error, or with "ok": false, as Slack sends it, is no success. Any other body is
// not considered, nor is what does not come within two seconds of the header. The
// error is always an [*Error].
func Revoke(ctx context.Context, hc *http.Client, r *Request) error {
	x := send(ctx, hc, r, "revocation endpoint", revocationWait)
	if x.err != nil {
		return x.err
	}
	c := x.parse(x.body)
	if x.success() && !c.refusesRevocation(r.habits(), x.status) {
		return nil
	}
	e := refusal(x, c)
	switch {
	case e.Class == InvalidGrant,
		e.Code == "invalid_token" && (x.status == http.StatusBadRequest || x.success()):
		return nil
	case r.Credential != nil && r.Credential.Token && e.Class != Unavailable &&
		(x.status == http.StatusUnauthorized || x.status == http.StatusNotFound):
		return nil
	}
	return e
}

// refusesRevocation reports whether a body with a status of success says that the
// token was not revoked. Since many a success has a code of its own, only those
// that are known for errors count.
func (c *content) refusesRevocation(h Habits, status int) bool {
	known := func(code string) bool { return h.knowsError(code, status) }
	return c.object && (c.failed || slices.ContainsFunc(c.found, known))
}

// An exchange is a form that was sent and what came back.
type exchange struct {
	endpoint string // for the text of errors
	request  *Request
	start    time.Time
	sent     *authentication // nil: the request could not be authenticated

	status  int
	header  http.Header
	body    []byte // as far as it was read
	readErr error  // why it was not read to its end; fit to be shown

	err *Error // there was no answer; the rest is empty
}

func (x *exchange) success() bool { return x.status >= 200 && x.status < 300 }

func (x *exchange) contentType() string { return x.header.Get("Content-Type") }

// send does one exchange. It waits so long at most for the body of a success; 0:
// as long as ctx lasts.
func send(ctx context.Context, hc *http.Client, r *Request, endpoint string, wait time.Duration) *exchange {
	x := &exchange{endpoint: endpoint, request: r, start: time.Now()}
	fail := func(class Class, cause error) *exchange {
		x.err = &Error{Class: class, Err: cause, endpoint: endpoint}
		return x
	}

	if len(r.Form) == 0 && r.Credential == nil {
		return fail(Unsent, errForm)
	}
	asserts := r.needsAssertion()
	if asserts && r.Assertion == nil {
		return fail(Configuration, errNoAssertion)
	}
	var err error
	if x.sent, err = authenticate(r, ""); err != nil {
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

	sending, cancel := ctx, context.CancelFunc(nil)
	if wait > 0 {
		sending, cancel = context.WithCancel(ctx)
		defer cancel()
	}
	if asserts && validAddress(r.URL) {
		assertion, err := r.assert(ctx)
		if err != nil {
			return fail(Unsent, err)
		}
		if x.sent, err = authenticate(r, assertion); err != nil {
			return fail(Configuration, err)
		}
	}
	req, body, err := x.newRequest(sending)
	if err != nil {
		return fail(Configuration, err)
	}
	bare := req.Body == http.NoBody
	if bare { // the transport will not read the body, which asks BeforeSend
		if _, err := body.Read(nil); err != io.EOF {
			_, beforeErr := body.seal()
			return fail(Unsent, cmp.Or(beforeErr, cause(ctx, nil, false)))
		}
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
			if x.status >= 200 {
				if wait > 0 && x.success() {
					defer time.AfterFunc(wait, cancel).Stop()
				}
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
	if bare { // all is sent with the header, which leaves once there is a connection
		op := (*net.OpError)(nil)
		sent = !(errors.As(err, &op) && op.Op == "dial")
	}
	switch {
	case beforeErr != nil:
		return fail(Unsent, beforeErr)
	case err == nil:
		return x
	case transport.Permanent(err) != nil:
		return fail(Configuration, cause(ctx, err, sent))
	case sent:
		return fail(Lost, cause(ctx, err, true))
	default:
		return fail(Unsent, cause(ctx, err, false))
	}
}

// validAddress reports whether a request can be sent to an address.
func validAddress(s string) bool {
	u, err := url.Parse(s)
	return err == nil && u.Host != "" && (u.Scheme == "https" || u.Scheme == "http")
}

// newRequest returns the request to send, and its body. The request has
// http.NoBody if that is empty.
func (x *exchange) newRequest(ctx context.Context) (*http.Request, *onceBody, error) {
	r, h := x.request, x.request.habits()
	var encoded, contentType string
	if r.Form != nil || len(x.sent.form) > 0 {
		encoded, contentType = h.encode(x.sent.form)
	}
	body := newOnceBody(ctx, encoded, r.BeforeSend)
	req, err := http.NewRequestWithContext(ctx, cmp.Or(r.Method, http.MethodPost), r.URL, body)
	if err != nil || !validAddress(r.URL) {
		return nil, nil, errURL
	}
	// Without GetBody, net/http cannot send the form again by itself.
	req.GetBody = nil
	req.ContentLength = int64(len(encoded))
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "authprofile")
	h.setHeader(req.Header)
	if encoded == "" {
		req.Body = http.NoBody
	} else {
		req.Header.Set("Content-Type", contentType)
	}
	if x.sent.authorization != "" {
		req.Header.Set("Authorization", x.sent.authorization)
	}
	if c := r.Credential; c != nil {
		req.Header.Set(c.Header, c.Value)
	}
	return req, body, nil
}

// read reads a body as far as MaxBody.
func read(body io.Reader) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(body, MaxBody+1))
	if len(data) > MaxBody {
		return data[:MaxBody], ErrBodyTooLarge
	}
	return data, err
}

// cause returns an error that shows what may be shown of an error of the
// transport, or of the context if that has ended.
func cause(ctx context.Context, err error, sent bool) error {
	otherwise := "the connection could not be made"
	if sent {
		otherwise = "the connection broke, or what came was not HTTP"
	}
	return transport.Describe(ctx, err, otherwise)
}
