package tokenendpoint

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/authprofile/authprofile/internal/safetext"
)

// secretParams are the parameters of a grant whose values an error must not
// show, even if the provider repeats them. Those of the client's authentication
// are known from how it was made.
var secretParams = []string{"assertion", "client_assertion", "code", "code_verifier", "device_code", "id_token_hint", "login_hint", "password"}

// isSecretParam reports whether a parameter is one of secretParams, or has a name
// such as refresh_token, fb_exchange_token or client_secret.
func isSecretParam(name string) bool {
	name = strings.ToLower(name)
	return slices.Contains(secretParams, name) || strings.HasSuffix(name, "token") || strings.HasSuffix(name, "secret")
}

// secrets returns what must not be shown of the request: as it is, as it is
// sent, and as it comes out of the cleaning of a provider's texts. The longest
// come first, since one may be a part of another.
func (x *exchange) secrets() []string {
	raw := append([]string{x.request.ClientSecret}, x.request.Secrets...)
	for name, values := range x.request.Form {
		if isSecretParam(name) {
			raw = append(raw, values...)
		}
	}
	if x.sent != nil {
		raw = append(raw, x.sent.secrets...)
	}
	if h := x.request.habits(); h.JSON {
		for _, s := range slices.Clone(raw) {
			raw = append(raw, jsonSpellings(s)...)
		}
	}
	var list []string
	for _, s := range raw {
		escaped := url.QueryEscape(s)
		list = append(list, s, escaped, lowerEscapes(escaped), url.PathEscape(s), safetext.Text(s, safetext.LeaveOut), safetext.Code(s, safetext.LeaveOut))
	}
	slices.SortFunc(list, func(a, b string) int { return cmp.Or(len(b)-len(a), strings.Compare(a, b)) })
	return slices.Compact(list)
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

// jsonSpellings returns how encoders of JSON write a string, without the quotes:
// with or without escapes for what has a meaning in HTML, for the slash, and for
// what is not ASCII.
func jsonSpellings(s string) []string {
	html, _ := json.Marshal(s) // a string always has a JSON
	var list []string
	for _, spelling := range []string{marshal(s), string(html)} {
		spelling = spelling[1 : len(spelling)-1]
		for _, spelling := range []string{spelling, escapeNonASCII(spelling)} {
			list = append(list, spelling, strings.ReplaceAll(spelling, "/", `\/`))
		}
	}
	return list
}

// escapeNonASCII replaces what is not ASCII by escapes of JSON.
func escapeNonASCII(s string) string {
	var b strings.Builder
	for _, r := range s {
		if r < utf8.RuneSelf {
			b.WriteRune(r)
			continue
		}
		for _, unit := range utf16.AppendRune(nil, r) {
			fmt.Fprintf(&b, `\u%04x`, unit)
		}
	}
	return b.String()
}
