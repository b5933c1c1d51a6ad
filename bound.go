package authprofile

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
)

// maxBound is how long an access token may be that is looked into, in bytes.
const maxBound = 64 << 10

// thumbprintOf returns the thumbprint of the certificate that an access token says
// it is bound to (RFC 8705, section 3.1): its claim cnf, x5t#S256, if it is a JWT.
// The token is not verified: it is the API that goes by what it says.
func thumbprintOf(accessToken string) string {
	parts := strings.Split(accessToken, ".")
	if len(parts) != 3 || len(accessToken) > maxBound {
		return ""
	}
	text, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return ""
	}
	var claims struct {
		Confirmation struct {
			Thumbprint string `json:"x5t#S256"`
		} `json:"cnf"`
	}
	if json.Unmarshal(text, &claims) != nil {
		return ""
	}
	return claims.Confirmation.Thumbprint
}

// boundTransport returns the transport for requests with a token that is bound to
// the certificate which has that thumbprint; nil if the profile has no such
// certificate. own is the profile as the caller has it. The Store is asked only if
// that has another certificate, or none.
func (e *engine) boundTransport(ctx context.Context, own *Profile, thumbprint string) (http.RoundTripper, error) {
	t, err := e.transportOf(own, thumbprint)
	if t != nil || err != nil || own.Version == 0 {
		return t, err
	}
	p, err := e.bounded.profile(ctx, own.ID)
	if err != nil {
		return nil, err
	}
	return e.transportOf(p, thumbprint)
}

// transportOf is boundTransport for a profile as it is.
func (e *engine) transportOf(p *Profile, thumbprint string) (http.RoundTripper, error) {
	if p.ClientKey == "" {
		return nil, nil
	}
	key, err := e.credentials.keys.parse(p.ClientKey)
	if err != nil {
		return nil, configurationError(fieldClientKey, err.Error())
	}
	cert, err := key.TLSCertificate()
	if err != nil {
		return nil, nil
	}
	sum := sha256.Sum256(cert.Certificate[0])
	if base64.RawURLEncoding.EncodeToString(sum[:]) != thumbprint {
		return nil, nil
	}
	hc, err := e.credentials.clientWith(p, cert)
	if err != nil {
		return nil, err
	}
	return hc.Transport, nil
}
