package tokenendpoint

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/authprofile/authprofile/internal/safetext"
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

	// Unreadable: the answer has a status of success and no usable access token
	// (or request_uri, see Push), or broke off after a refresh token, which is returned with the
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
	Unreadable:    "an answer that cannot be used",
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
func (e *Error) Format(f fmt.State, verb rune) { safetext.Format(f, verb, e.Error()) }

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

// standardCodes are the error codes that a standard defines for a token endpoint, a
// revocation endpoint or the callback of an authorization.
var standardCodes = map[string]bool{
	// RFC 6749, sections 4.1.2.1 and 5.2.
	"invalid_request": true, "invalid_client": true, "invalid_grant": true, "unauthorized_client": true,
	"unsupported_grant_type": true, "invalid_scope": true, "access_denied": true, "unsupported_response_type": true,
	"server_error": true, "temporarily_unavailable": true,
	// RFC 7009, section 2.2.1.
	"unsupported_token_type": true,
	// RFC 8628, section 3.5.
	"authorization_pending": true, "slow_down": true, "expired_token": true,
	// RFC 8707, section 2.
	"invalid_target": true,
	// OpenID Connect Core 1.0, section 3.1.2.6.
	"interaction_required": true, "login_required": true, "account_selection_required": true, "consent_required": true,
	"invalid_request_uri": true, "invalid_request_object": true, "request_not_supported": true,
	"request_uri_not_supported": true, "registration_not_supported": true,
}

// IsStandardCode reports whether a standard defines the error code: RFC 6749,
// RFC 7009, RFC 8628, RFC 8707 or OpenID Connect Core. Any other is a text of
// the provider's own.
func IsStandardCode(code string) bool { return standardCodes[code] }

// classify returns the class of a failure, and the code to report: that of the
// member error, or, if there is none, one of those found elsewhere.
func (h *Habits) classify(code string, found []string, status int) (Class, string) {
	all := found
	if code != "" {
		all = append(slices.Clip(found), code)
	}
	if len(h.Errors) > 0 {
		for _, s := range all {
			if class, ok := h.Errors[strconv.Itoa(status)+" "+s]; ok {
				return class, cmp.Or(code, s)
			}
		}
		for _, s := range all {
			if class, ok := h.Errors[s]; ok {
				return classOf(class, true, s, status), cmp.Or(code, s)
			}
		}
	}
	if code == "" && len(found) > 0 {
		code = found[0]
	}
	class, known := codes[code]
	return classOf(class, known, code, status), code
}

// knowsError reports whether a code is known to be that of an error.
func (h *Habits) knowsError(code string, status int) bool {
	_, withStatus := h.Errors[strconv.Itoa(status)+" "+code]
	_, alone := h.Errors[code]
	_, general := codes[code]
	return withStatus || alone || general
}

// classOf returns the class of a failure with a code, which is of that class if
// it is known. The status decides if the code says nothing.
func classOf(class Class, known bool, code string, status int) Class {
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
