package tokenendpoint

import (
	"bytes"
	"cmp"
	"net/url"
	"slices"
	"strings"

	"github.com/authprofile/authprofile/internal/safetext"
)

// secretParams are the parameters of a grant whose values an error must not
// show, even if the provider repeats them. Those of the client's authentication
// are known from how it was made.
var secretParams = []string{
	"actor_token", "assertion", "client_assertion", "code", "code_verifier",
	"device_code", "password", "refresh_token", "subject_token", "token",
}

// secrets returns what must not be shown of the request: as it is, as it is
// sent, and as it comes out of the cleaning of a provider's texts. The longest
// come first, since one may be a part of another.
func (x *exchange) secrets() []string {
	raw := []string{x.request.ClientSecret}
	for _, name := range secretParams {
		raw = append(raw, x.request.Form[name]...)
	}
	if x.sent != nil {
		raw = append(raw, x.sent.secrets...)
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
