// Package webhook delivers notices of package authprofile over HTTP, as the
// Standard Webhooks specification 1.0.0 says (https://www.standardwebhooks.com).
//
//	hook, err := webhook.New("https://ops.example.com/hooks/oauth", os.Getenv("WEBHOOK_SECRET"))
//	m := &authprofile.Manager{Store: store, Notify: hook.Notify}
//
// # The request
//
// Each attempt to deliver a notice is one POST request with these header fields:
//
//	webhook-id         Notice.ID: the same at each attempt, and that of no other notice
//	webhook-timestamp  when the attempt was made, in seconds since 1970-01-01 UTC
//	webhook-signature  "v1," and a signature; several of them, with a space between, if there are several secrets
//	content-type       application/json
//
// A signature is the base64 of the HMAC-SHA256, by one of the secrets, of
// webhook-id, ".", webhook-timestamp, "." and the body, byte for byte. The
// example of Hook shows a receiver that checks it. There are also libraries for
// that in many languages.
//
// The body is a JSON object:
//
//	{
//	  "type": "authprofile.grant.needs_user",
//	  "timestamp": "2026-07-01T11:59:00Z",
//	  "data": {
//	    "id": "0b9d1c5e-5c1f-4a52-9be5-0f7b4a1d7c3e",
//	    "kind": "needs_user",
//	    "profile_id": "calendar",
//	    "user": "ada",
//	    "status": "needs_reauthorization",
//	    "failure": {
//	      "reason": "revoked",
//	      "code": "invalid_grant",
//	      "http_status": 400,
//	      "since": "2026-07-01T11:59:00Z",
//	      "last": "2026-07-01T11:59:00Z",
//	      "attempts": 1
//	    },
//	    "at": "2026-07-01T11:59:00Z"
//	  }
//	}
//
// The data is the [authprofile.Notice] as package encoding/json writes it, with
// times as in RFC 3339. "user", "status", "failure" and "grants" are left out if
// they are empty. The failure is without its description: those are words of the
// provider, and may name a person. There is no secret in the body, and a user is
// named by nothing but the application's identifier.
//
// The timestamp is the notice's time "at", or that of the attempt if "at" is
// still to come. The type is "authprofile.", then "grant." or, if the notice has
// no user, "profile.", then the kind:
//
//	authprofile.grant.needs_user             the user has to authorize again
//	authprofile.grant.expiring               the grant ends at the time "at"
//	authprofile.grant.recovered              the user is no longer needed
//	authprofile.profile.needs_administrator  the client is refused, the profile is wrong, or many grants have ended at once
//	authprofile.profile.secret_expiring      the client secret ends at the time "at"
//	authprofile.profile.recovered            the administrator is no longer needed
//
// # The answer
//
// A status from 200 to 299 means that the notice was received. Anything else is
// an [*Error], and so is no answer within 15 seconds. Redirects are not followed.
// Of the answer's body nothing is kept.
//
// A Hook makes one attempt. After an error [authprofile.Manager.Maintain] makes
// another one later, when it sees fit: a Retry-After in the answer changes
// nothing. Nor does the status 410 (Gone), by which receivers say that they want
// no more notices: an application that wants to honor it has a Notify of its own,
// which looks at Error.StatusCode.
//
// # Secrets
//
// A secret is 24 to 64 random bytes in base64, after "whsec_", which may be
// missing. This makes one:
//
//	echo "whsec_$(openssl rand -base64 32)"
//
// Each receiver should have its own. To replace it, pass the new and the old one
// to [New] until the receiver knows the new one.
//
// # Addresses that others have chosen
//
// A service whose tenants name the addresses sets Hook.Client to a client of
// package egress, or they can make it send requests to hosts within its network.
package webhook

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/authprofile/authprofile"
	"github.com/authprofile/authprofile/internal/address"
	"github.com/authprofile/authprofile/internal/safetext"
	"github.com/authprofile/authprofile/internal/transport"
)

const (
	timeLimit = 15 * time.Second // of an attempt
	maxAnswer = 4 << 10          // bytes of an answer that are read, so that its connection can be used again
	maxID     = 256              // bytes

	secretPrefix         = "whsec_"
	minSecret, maxSecret = 24, 64 // bytes
)

// A Hook delivers notices to one address. It is made by [New], and may be used by
// many goroutines at once.
type Hook struct {
	// Client carries the requests. Of it only Transport and Timeout count. If
	// nil, one is used that limits connecting and TLS to 10 seconds each, and
	// goes through the proxy that the environment names. It must not change
	// after the first call of Notify.
	Client *http.Client `json:"-"`

	// destination is a function since package fmt shows the values in unexported
	// fields, in some cases through pointers too.
	destination func() destination
}

// A destination is what New was given.
type destination struct {
	url    string
	origin string // of url, which may be shown
	keys   [][]byte
}

// New returns a Hook that posts to url, and signs with each of the secrets. The
// address is an https one, or an http one on a loopback host, and has no user
// or password in it. There must be at least one secret. What is wrong is an
// [*authprofile.FieldError] for "url", "secrets" or, for the second secret,
// "secrets[1]"; it holds no part of an address or a secret.
func New(url string, secrets ...string) (*Hook, error) {
	if err := address.Check(url); err != nil {
		return nil, problem("url", err.Error())
	}
	if len(secrets) == 0 {
		return nil, problem("secrets", "are missing")
	}
	to := destination{url: url, origin: address.ShortOriginOf(url)}
	for i, s := range secrets {
		key, ok := decodeSecret(s)
		if !ok {
			return nil, problem(fmt.Sprintf("secrets[%d]", i),
				fmt.Sprintf("must be the base64 of %d to %d bytes, which may follow %q", minSecret, maxSecret, secretPrefix))
		}
		to.keys = append(to.keys, key)
	}
	return &Hook{destination: func() destination { return to }}, nil
}

func problem(field, text string) error {
	return fmt.Errorf("webhook: %w", &authprofile.FieldError{Field: field, Problem: text})
}

// decodeSecret returns the key that a secret stands for.
func decodeSecret(s string) (key []byte, ok bool) {
	s = strings.TrimPrefix(s, secretPrefix)
	key, err := base64.StdEncoding.DecodeString(s)
	ok = err == nil && len(key) >= minSecret && len(key) <= maxSecret &&
		!strings.ContainsAny(s, "\r\n") // which package base64 passes over, and others do not
	return key, ok
}

// Notify makes one attempt to deliver a notice. It is meant for the field of that
// name of [authprofile.Manager]. It returns within 15 seconds, and earlier if ctx
// ends. If the notice was not received the error is an [*Error].
func (h *Hook) Notify(ctx context.Context, n authprofile.Notice) error {
	if h.destination == nil {
		return errors.New("webhook: the Hook was not made by New")
	}
	to := h.destination()
	fail := func(status int, err error) error { return &Error{StatusCode: status, origin: to.origin, err: err} }

	if !fitsHeader(n.ID) {
		return fail(0, errors.New("the notice has an ID that cannot be sent"))
	}
	now := time.Now()
	body, err := encode(n, now)
	if err != nil {
		return fail(0, errors.New("the notice has a time that cannot be sent"))
	}
	within, cancel := context.WithTimeout(ctx, timeLimit)
	defer cancel()
	req, err := http.NewRequestWithContext(within, http.MethodPost, to.url, bytes.NewReader(body))
	if err != nil {
		return fail(0, errors.New("the request cannot be made"))
	}
	timestamp := strconv.FormatInt(now.Unix(), 10)
	req.Header.Set("webhook-id", n.ID)
	req.Header.Set("webhook-timestamp", timestamp)
	req.Header.Set("webhook-signature", signatures(to.keys, n.ID, timestamp, body))
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "authprofile")

	resp, err := transport.Client(h.Client).Do(req)
	if err != nil {
		return fail(0, transport.Describe(ctx, err, "the request failed"))
	}
	defer resp.Body.Close()
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return fail(resp.StatusCode, nil)
	}
	io.CopyN(io.Discard, resp.Body, maxAnswer) // its error changes nothing: the notice was received
	return nil
}

// fitsHeader reports whether an ID is fit for webhook-id: visible ASCII without
// ".", which ends it in what is signed.
func fitsHeader(id string) bool {
	return id != "" && len(id) <= maxID && !strings.ContainsFunc(id, func(r rune) bool { return r <= ' ' || r > '~' || r == '.' })
}

// encode returns the body for a notice.
func encode(n authprofile.Notice, now time.Time) ([]byte, error) {
	subject := "profile"
	if n.User != "" {
		subject = "grant"
	}
	timestamp := n.At
	if timestamp.After(now) {
		timestamp = now
	}
	if n.Failure != nil {
		f := *n.Failure
		f.Description = ""
		n.Failure = &f
	}
	return json.Marshal(struct {
		Type      string             `json:"type"`
		Timestamp time.Time          `json:"timestamp"`
		Data      authprofile.Notice `json:"data"`
	}{"authprofile." + subject + "." + string(n.Kind), timestamp.UTC(), n})
}

// signatures returns the value of webhook-signature.
func signatures(keys [][]byte, id, timestamp string, body []byte) string {
	var list []string
	for _, key := range keys {
		mac := hmac.New(sha256.New, key)
		io.WriteString(mac, id+"."+timestamp+".")
		mac.Write(body)
		list = append(list, "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	}
	return strings.Join(list, " ")
}

// An Error says why a notice was not delivered. Its text has the scheme and the
// host of the address, and neither its path nor its query, since either may hold
// a secret; it has nothing of the answer's body. If there was no answer it
// unwraps to the reason: a context's error, or one of package net or
// crypto/tls.
type Error struct {
	StatusCode int // of the answer; zero: there was none

	origin string
	err    error // nil: StatusCode is the reason
}

func (e *Error) Error() string {
	reason := "HTTP " + strconv.Itoa(e.StatusCode)
	if e.err != nil {
		reason = e.err.Error()
	}
	return "webhook: " + e.origin + ": " + reason
}

// Unwrap returns the reason for which there was no answer, or nil.
func (e *Error) Unwrap() error { return e.err }

// Format writes the error's text under every verb, so that none of them reaches
// the fields behind it.
func (e Error) Format(f fmt.State, verb rune) { safetext.Format(f, verb, e.Error()) }
