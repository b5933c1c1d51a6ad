package tokenendpoint

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/authprofile/authprofile/internal/transport"
)

// A Class is the kind of a failure: what can be done about it.
type Class int

const (
	// Unsent: nothing of the form has left. The request can be repeated.
	Unsent Class = iota + 1

	// Lost: the form was sent, or part of it, and no usable answer came.
	// Whether the provider has acted on it is not known.
	Lost

	// InvalidGrant: the refresh token or code is dead, says the provider.
	InvalidGrant

	// Configuration: the client is refused, the address is wrong or must not
	// be connected to, or client and server cannot agree on TLS. No grant is
	// at fault.
	Configuration

	// Unavailable: the provider asks to come back later.
	Unavailable

	// Unreadable: the answer has a status of success and no usable access
	// token, or broke off after a refresh token, which is returned with the
	// error.
	Unreadable

	// Refused: refused for a reason that is not known.
	Refused

	// Interaction: the user must consent, or log in, once more.
	Interaction
)

var classNames = map[Class]string{
	Unsent:        "not sent",
	Lost:          "sent, but no answer",
	InvalidGrant:  "the grant is not valid",
	Configuration: "the client, the address or the server is not set up for this",
	Unavailable:   "not available now",
	Unreadable:    "an answer without a usable token",
	Refused:       "refused",
	Interaction:   "a person is needed",
}

func (c Class) String() string {
	if s, ok := classNames[c]; ok {
		return s
	}
	return "Class(" + strconv.Itoa(int(c)) + ")"
}

// An Error says why a request failed. It holds no secret, no address and nothing
// of the answer's body but the fields below, which are cleaned.
type Error struct {
	Class       Class
	Code        string        // the provider's error code: printable ASCII, at most 64 bytes
	Description string        // printable characters, at most 256 bytes; not part of the text
	HTTPStatus  int           // zero: no answer
	RetryAfter  time.Duration // zero: not said; at most an hour

	// Err is the cause: an error of a context, of crypto/x509, crypto/tls or
	// net, ErrBodyTooLarge, what BeforeSend returned, or an error of this
	// package. [errors.Is] finds any error of the transport in it, though its
	// text does not show them.
	Err error

	endpoint string
}

func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.endpoint)
	if e.endpoint == "" {
		b.WriteString("token endpoint")
	}
	fmt.Fprintf(&b, ": %v", e.Class)
	if e.HTTPStatus != 0 {
		fmt.Fprintf(&b, ": HTTP %d", e.HTTPStatus)
	}
	if e.Code != "" {
		fmt.Fprintf(&b, " %q", e.Code)
	}
	if e.Err != nil {
		fmt.Fprintf(&b, ": %v", e.Err)
	}
	return b.String()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Format writes the error's text under every verb, so that none of them shows
// its causes.
func (e *Error) Format(f fmt.State, verb rune) { transport.FormatText(f, verb, e.Error()) }

// codes are the error codes whose meaning is settled: those of RFC 6749
// (sections 4.1.2.1 and 5.2), RFC 7009, RFC 8628, RFC 8707 and OpenID Connect,
// and a few by which well-known providers mean the same. A code that is not
// here is no reason to give a grant up.
var codes = map[string]Class{
	"invalid_grant":         InvalidGrant,
	"bad_refresh_token":     InvalidGrant, // GitHub
	"bad_verification_code": InvalidGrant, // GitHub
	"invalid_refresh_token": InvalidGrant, // Slack
	"token_expired":         InvalidGrant, // Slack
	"token_revoked":         InvalidGrant, // Slack
	"invalid_code":          InvalidGrant, // Slack
	"code_already_used":     InvalidGrant, // Slack

	"invalid_client":               Configuration,
	"unauthorized_client":          Configuration,
	"invalid_scope":                Configuration,
	"unsupported_grant_type":       Configuration,
	"invalid_target":               Configuration,
	"incorrect_client_credentials": Configuration, // GitHub
	"redirect_uri_mismatch":        Configuration, // GitHub, Google
	"deleted_client":               Configuration, // Google
	"disabled_client":              Configuration, // Google
	"invalid_resource":             Configuration, // Microsoft
	"bad_client_secret":            Configuration, // Slack
	"invalid_client_id":            Configuration, // Slack
	"Unauthorized":                 Configuration, // Spring, for status 401
	"unauthorized":                 Configuration, // Spring

	"temporarily_unavailable": Unavailable,
	"server_error":            Unavailable,
	"slow_down":               Unavailable,
	"ratelimited":             Unavailable, // Slack
	"internal_error":          Unavailable, // Slack
	"fatal_error":             Unavailable, // Slack
	"service_unavailable":     Unavailable, // Slack

	"interaction_required":       Interaction,
	"consent_required":           Interaction,
	"login_required":             Interaction,
	"account_selection_required": Interaction,
	"mfa_required":               Interaction, // Auth0

	// dex says it of a dead grant, Hydra of one that is in use right now.
	"invalid_request":        Refused,
	"unsupported_token_type": Refused,
}

// classify goes by the code first, and by the status if that says nothing.
func classify(code string, status int) Class {
	class, known := codes[code]
	if known && class != Refused {
		return class
	}
	switch {
	case status == http.StatusTooManyRequests, status == http.StatusRequestTimeout, status >= 500:
		return Unavailable
	case status >= 300 && status < 400:
		return Configuration
	case known:
		return Refused
	case status == http.StatusUnauthorized && code == "",
		status == http.StatusNotFound,
		status == http.StatusMethodNotAllowed,
		status == http.StatusProxyAuthRequired:
		return Configuration
	}
	return Refused
}

// evaluate makes of an exchange an answer, an error, or an error and a refresh
// token that came with it.
func evaluate(x *exchange) (*Answer, *Error) {
	c := parse(x.body, x.contentType())
	if x.readErr != nil && !c.object {
		// The last value of a form that broke off may be incomplete.
		c = parse(x.body[:max(0, bytes.LastIndexByte(x.body, '&'))], x.contentType())
	}
	if !x.success() {
		// A refresh_token in such an answer is not a new one. Most likely it
		// is the one that was sent, or a text about it.
		return nil, refusal(x, c)
	}
	// An object that is whole is an answer, even if the connection broke after
	// it. An endless one is not.
	whole := x.readErr == nil || c.object && x.readErr != ErrBodyTooLarge
	if !c.failed && c.problem == nil && whole {
		return &c.Answer, nil
	}

	var a *Answer
	if c.RefreshToken != "" {
		a = &Answer{RefreshToken: c.RefreshToken}
	}
	if c.failed {
		return a, refusal(x, c)
	}
	e := x.newError(Unreadable, c.problem)
	switch {
	case x.readErr == ErrBodyTooLarge:
		e.Err = x.readErr
	case x.readErr != nil:
		e.Err = x.readErr
		if a == nil { // with a new refresh token, nothing essential is lost
			e.Class = Lost
		}
	}
	return a, e
}

// refusal makes an error of an answer that is no success.
func refusal(x *exchange, c *content) *Error {
	code, sent := cleanCode(c.code), secrets(x.request)
	class := classify(code, x.status)
	e := x.newError(class, x.readErr)
	e.Code = code
	if _, known := codes[code]; !known {
		e.Code = truncate(redact(code, sent), maxCode)
	}
	e.Description = truncate(redact(cleanText(c.description), sent), maxDescription)
	switch {
	case x.status >= 300 && x.status < 400 && class == Configuration:
		e.Err = errRedirect
	case class == Refused && code == "" && x.readErr != nil && x.readErr != ErrBodyTooLarge:
		e.Class = Lost // the part that says why it was refused
	case x.success() && code == "":
		e.Err = errNotReported
	}
	return e
}

func (x *exchange) newError(class Class, cause error) *Error {
	return &Error{
		Class:      class,
		HTTPStatus: x.status,
		RetryAfter: retryAfter(x.header.Get("Retry-After"), time.Now()),
		Err:        cause,
		endpoint:   x.endpoint,
	}
}

const maxRetryAfter = time.Hour

// retryAfter reads a number of seconds or a date (RFC 9110, section 10.2.3).
func retryAfter(s string, now time.Time) time.Duration {
	s = strings.TrimSpace(s)
	if s == "" {
		return 0
	}
	var d time.Duration
	if strings.Trim(s, "0123456789") == "" {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil || n > int64(maxRetryAfter/time.Second) {
			return maxRetryAfter
		}
		d = time.Duration(n) * time.Second
	} else if date, err := http.ParseTime(s); err == nil {
		d = date.Sub(now)
	}
	return min(max(d, 0), maxRetryAfter)
}

const (
	maxCode        = 64
	maxDescription = 256
)

// cleanCode leaves printable ASCII. Like cleanText it does not shorten the text:
// before that, secrets have to be found in it.
func cleanCode(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return -1
		}
		return r
	}, s)
	return strings.TrimSpace(s)
}

// cleanText leaves visible characters and single spaces: no control characters,
// no invisible and no bidirectional ones.
func cleanText(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case r == utf8.RuneError, !unicode.IsPrint(r):
			return -1
		}
		return r
	}, s)
	return strings.Join(strings.Fields(s), " ")
}

// truncate cuts s between characters.
func truncate(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return s[:limit]
}

// redact takes out of s what was sent: providers have repeated it in their
// descriptions.
func redact(s string, secrets []string) string {
	for _, secret := range secrets {
		if len(secret) >= 4 { // shorter ones are in any text
			s = strings.ReplaceAll(s, secret, "[redacted]")
		}
	}
	return s
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

// refusedTLS returns the part of an error of the transport that waiting does
// not help against, or nil.
func refusedTLS(err error) error { return transport.Permanent(err) }
