package tokenendpoint

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
)

// Habits are the ways of a provider's token and revocation endpoints that the
// standards do not have. A path in them is the names of members, joined by dots,
// from the top of the answer: "team.id". Of an array on the way the first element
// counts, or each if the name is written as "name[]".
type Habits struct {
	// ClientIDParam is the name of the parameter client_id. Empty: "client_id".
	ClientIDParam string

	// JSON says that the body of a request is a JSON object of strings. A
	// parameter with several values is an array of them.
	JSON bool

	// Header has further headers of a request. They may replace User-Agent and
	// Accept. Authorization, Content-Type, Content-Length and Host in it are
	// not sent.
	Header map[string]string

	// TokenPath is the path of the object with the tokens, their lifetimes and
	// scopes in an answer without a member access_token at its top. It may lead
	// to an array whose first element is that object. All else is read from the
	// top even then. If an answer breaks off, TokenPath does not matter: an
	// access_token might have followed.
	TokenPath string

	// Keep are the paths of what is kept in Answer.Extra under that path, before
	// all else.
	Keep []string

	// ExpiryMember is the path, within the object with the tokens, of what says
	// when the access token ends. What expires_in says counts if it is missing
	// or cannot be read.
	//
	// ExpiryFormat is how it is said: "seconds" (the same as empty) or
	// "milliseconds" of its lifetime; "unix" (seconds since 1970) or "rfc3339"
	// of its end; or "jwt": the claim exp of the access token, and
	// ExpiryMember does not matter.
	ExpiryMember, ExpiryFormat string

	// ScopeMember is the path, within the object with the tokens, of what was
	// granted. What scope says counts if it is missing or cannot be read.
	ScopeMember string

	// ScopeSeparator is what scopes in an answer are separated by, beside white
	// space. Empty, or a space: by commas, if there is no white space.
	ScopeSeparator string

	// ErrorPaths are the paths of error codes beside the member error: strings,
	// or numbers other than 0. A code that is found there makes a failure of an
	// answer with a status of success only if that has no access token.
	ErrorPaths []string

	// Errors has the classes of error codes. A key is a code, or an HTTP status,
	// a space and a code ("403 unauthorized_client"), which comes before the
	// code alone. Both come before what codes mean in general. If an answer has
	// several codes, those at ErrorPaths come first, in their order, and then
	// that of the member error. If a code alone is Refused, a status that asks
	// to come back later, or redirects, says more than the code.
	Errors map[string]Class
}

// habits returns the habits of the provider, none if r does not say.
func (r *Request) habits() Habits {
	if r.Habits == nil {
		return Habits{}
	}
	return *r.Habits
}

// setHeader sets the further headers of a request.
func (h *Habits) setHeader(header http.Header) {
	for name, value := range h.Header {
		switch http.CanonicalHeaderKey(name) {
		case "Authorization", "Content-Type", "Content-Length", "Host":
		default:
			header.Set(name, value)
		}
	}
}

// encode returns the body with the parameters of a request, and its type.
func (h *Habits) encode(form url.Values) (body, contentType string) {
	if !h.JSON {
		return form.Encode(), "application/x-www-form-urlencoded"
	}
	object := make(map[string]any, len(form))
	for name, values := range form {
		switch len(values) {
		case 0:
		case 1:
			object[name] = values[0]
		default:
			object[name] = values
		}
	}
	return marshal(object), "application/json"
}

// marshal returns a JSON text in which only those characters are escaped that
// have to be.
func marshal(v any) string {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.Encode(v) // strings and lists of them always have a JSON
	return strings.TrimSuffix(b.String(), "\n")
}
