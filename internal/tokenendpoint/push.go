package tokenendpoint

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"
)

// maxRequestURI is how long a request_uri may be, in bytes.
const maxRequestURI = 2048

// Why an answer to a pushed authorization request cannot be used.
var (
	errPushStatus = errors.New("the answer has a status other than 201")
	errRequestURI = errors.New("the answer has no request_uri, or one that cannot be used")
	errExpiresIn  = errors.New("the answer has no expires_in, or one that cannot be used")
)

// A Pushed is where an authorization request waits at the provider.
type Pushed struct {
	RequestURI string
	Lifetime   time.Duration // as of Start; above zero
	Start      time.Time     // when the request began
}

// Format writes nothing of p, whatever the verb.
func (p Pushed) Format(f fmt.State, verb rune) { io.WriteString(f, "Pushed{[redacted]}") }

// Push sends r, whose Form has the parameters of an authorization request, to an
// endpoint for pushed authorization requests (RFC 9126). The client authenticates
// as at the token endpoint, and the form has its client_id whatever the method
// (section 2.1); it is a form even if the provider's token endpoint takes JSON. The
// error is always an [*Error].
func Push(ctx context.Context, hc *http.Client, r *Request) (*Pushed, error) {
	named := *r
	named.namesClient = true
	h := r.habits()
	h.JSON = false
	named.Habits = &h
	x := send(ctx, hc, &named, "pushed authorization request endpoint", 0)
	if x.err != nil {
		return nil, x.err
	}
	p, err := evaluatePush(x)
	if err != nil {
		return nil, err
	}
	return p, nil
}

// evaluatePush makes of an exchange what was pushed, or an error.
func evaluatePush(x *exchange) (*Pushed, *Error) {
	c := x.parse(x.body)
	if !x.success() || c.failed {
		return nil, refusal(x, c)
	}
	p := &Pushed{Start: x.start}
	problem := p.read(x)
	if problem == nil {
		return p, nil
	}
	switch {
	case len(c.found) > 0:
		return nil, refusal(x, c)
	case x.readErr == ErrBodyTooLarge:
		return nil, x.newError(Unreadable, ErrBodyTooLarge)
	case x.readErr != nil:
		return nil, x.newError(Lost, x.readErr)
	}
	return nil, x.newError(Unreadable, problem)
}

// read fills p in from the answer, and says why it cannot be used.
func (p *Pushed) read(x *exchange) error {
	if x.status != http.StatusCreated && x.status != http.StatusOK {
		return errPushStatus
	}
	if x.readErr == ErrBodyTooLarge {
		return ErrBodyTooLarge
	}
	body := trim(x.body)
	if !bytes.HasPrefix(body, []byte("{")) {
		return errNotObject
	}
	members, err := parseObject(body)
	if err != nil {
		return err
	}
	return p.readMembers(members)
}

func (p *Pushed) readMembers(members map[string]json.RawMessage) error {
	s, _ := text(members, "request_uri")
	if !validRequestURI(s) {
		return errRequestURI
	}
	d, known := readSeconds(members["expires_in"], 1)
	if !known || d <= 0 {
		return errExpiresIn
	}
	p.RequestURI, p.Lifetime = s, d
	return nil
}

// validRequestURI reports whether s is an absolute URI (RFC 3986, section 4.3),
// which may have a fragment.
func validRequestURI(s string) bool {
	for _, c := range []byte(s) {
		if c <= ' ' || c > '~' {
			return false
		}
	}
	u, err := url.Parse(s)
	return err == nil && len(s) <= maxRequestURI && u.Scheme != "" && (u.Opaque != "" || u.Host != "" || u.Path != "")
}
