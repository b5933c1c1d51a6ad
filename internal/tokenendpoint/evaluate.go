package tokenendpoint

import (
	"bytes"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/authprofile/authprofile/internal/safetext"
)

// evaluate makes of an exchange an answer, an error, or an error and a refresh
// token that came with it.
func evaluate(x *exchange) (*Answer, *Error) {
	c := x.parse(x.body)
	if x.readErr != nil && !c.object {
		// The last value of a form that broke off may be incomplete.
		c = x.parse(x.body[:max(0, bytes.LastIndexByte(x.body, '&'))])
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
	failed := c.failed || len(c.found) > 0 && c.problem == errNoAccess

	var a *Answer
	if c.RefreshToken != "" {
		a = &Answer{RefreshToken: c.RefreshToken}
	}
	if failed {
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

// parse reads an answer, or what is left of it.
func (x *exchange) parse(body []byte) *content {
	return parse(body, x.contentType(), x.request.habits(), x.start)
}

// refusal makes an error of an answer that is no success.
func refusal(x *exchange, c *content) *Error {
	h := x.request.habits()
	class, code := h.classify(safetext.Code(c.code, safetext.LeaveOut), c.found, x.status)
	secrets := x.secrets()
	e := x.newError(class, x.readErr)
	e.Code = code
	if _, known := codes[code]; !known {
		e.Code = safetext.Truncate(redact(code, secrets), safetext.MaxCode)
	}
	e.Description = safetext.Truncate(redact(safetext.Text(c.description, safetext.LeaveOut), secrets), safetext.MaxDescription)
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
