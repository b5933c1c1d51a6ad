package providertest

import (
	"crypto"
	"crypto/x509"
	"encoding/base64"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// A Client is a client registration. One with neither a secret nor a key,
// certificate or TLS subject is a public client.
type Client struct {
	ID     string
	Secret string

	// Keys verify the client's assertions (RFC 7523, section 2.2). They are
	// *rsa.PublicKey of 2048 bits or more, *ecdsa.PublicKey or
	// ed25519.PublicKey. If KeyID is not empty, assertions must name it as kid.
	Keys  []crypto.PublicKey
	KeyID string

	// Certificates verify assertions, too, and can be named in x5t and
	// x5t#S256. Of a Server made with [WithTLS] they are also those of the
	// method "self_signed_tls_client_auth" (RFC 8705, section 2.2), which does
	// not ask whether they have expired.
	Certificates []*x509.Certificate

	// TLSSubject is what a certificate for the method "tls_client_auth" (RFC
	// 8705, section 2.1) must have, beside the Server's signature: a subject
	// as [crypto/x509/pkix.Name.String] writes it, or a DNS name, URI, IP or
	// email address among its subject alternative names.
	TLSSubject string

	// RedirectURLs are compared byte for byte. If nil, any address will do.
	RedirectURLs []string

	// AuthMethods are the ways in which the client may authenticate. If nil,
	// they are all that its registration allows: "client_secret_basic" and
	// "client_secret_post" with a secret; "private_key_jwt", "tls_client_auth"
	// and "self_signed_tls_client_auth" with what they need, if the Server's
	// document lists them; and "none" for a public client.
	// "client_secret_basic_raw" takes the parts of a Basic header as they are,
	// for clients that do not form-encode them.
	AuthMethods []string

	Scopes []string // allowed; nil: all
	Grants []string // allowed grant types; nil: all
}

// public reports whether c has nothing to authenticate itself with.
func (c *Client) public() bool {
	return c.Secret == "" && len(c.Keys) == 0 && len(c.Certificates) == 0 && c.TLSSubject == ""
}

func (s *Server) authMethods(c *Client) []string {
	switch {
	case c.AuthMethods != nil:
		return c.AuthMethods
	case c.public():
		return []string{"none"}
	}
	var methods []string
	switch {
	case c.Secret == "":
	case s.fake.authMethods != nil:
		methods = slices.Clone(s.fake.authMethods)
	default:
		methods = []string{"client_secret_basic", "client_secret_post"}
	}
	listed, _ := s.document["token_endpoint_auth_methods_supported"].([]any)
	for method, registered := range map[string]bool{
		"private_key_jwt":       len(c.Keys)+len(c.Certificates) > 0,
		tlsClientAuth:           c.TLSSubject != "",
		selfSignedTLSClientAuth: len(c.Certificates) > 0,
	} {
		if registered && slices.Contains(listed, any(method)) {
			methods = append(methods, method)
		}
	}
	return methods
}

// AddClient registers a client, or replaces the registration with its ID.
func (s *Server) AddClient(c Client) {
	c.Keys = slices.Clone(c.Keys)
	c.Certificates = slices.Clone(c.Certificates)
	c.RedirectURLs = slices.Clone(c.RedirectURLs)
	c.AuthMethods = slices.Clone(c.AuthMethods)
	c.Scopes = slices.Clone(c.Scopes)
	c.Grants = slices.Clone(c.Grants)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clients[c.ID] = c
}

// RemoveClient removes a registration. The client's tokens stay as they are.
func (s *Server) RemoveClient(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.clients, id)
}

// SetClientSecret changes the secret of a client.
func (s *Server) SetClientSecret(id, secret string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.clients[id]
	c.ID, c.Secret = id, secret
	s.clients[id] = c
}

// credentials are what a request says about the client that makes it.
type credentials struct {
	id, secret  string
	method      string // "" if they are contradictory
	raw         [2]string
	problem     string
	assertion   *assertion        // of private_key_jwt
	certificate *x509.Certificate // nil: the connection has none
}

// readCredentials finds the one way in which a request authenticates its
// client (RFC 6749, section 2.3).
func readCredentials(r *http.Request, form url.Values) credentials {
	c := credentials{id: form.Get("client_id"), secret: form.Get("client_secret"), method: "none", certificate: certificateOf(r)}
	if form.Has("client_secret") {
		c.method = "client_secret_post"
	}
	header := r.Header.Values("Authorization")
	asserted := form.Has("client_assertion") || form.Has("client_assertion_type")
	switch {
	case r.URL.Query().Has("client_assertion"):
		c.method, c.problem = "", "an assertion in the address"
	case asserted && (len(header) > 0 || form.Has("client_secret")):
		c.method, c.problem = "", "two ways of authentication"
	case asserted:
		c.method = "private_key_jwt"
		var subject string
		if c.assertion, subject = readAssertion(form); c.id == "" {
			c.id = subject
		}
	case r.URL.Query().Has("client_secret"):
		c.method, c.problem = "", "a secret in the address"
	case len(header) > 1:
		c.method, c.problem = "", "two Authorization headers"
	case len(header) == 1 && form.Has("client_secret"):
		c.method, c.problem = "", "two ways of authentication"
	case len(header) == 1:
		scheme, text, _ := strings.Cut(header[0], " ")
		decoded, err := base64.StdEncoding.DecodeString(text)
		id, secret, ok := strings.Cut(string(decoded), ":")
		if !strings.EqualFold(scheme, "Basic") || err != nil || !ok {
			c.method, c.problem = "", "an Authorization header that is not Basic"
			break
		}
		c.method, c.raw = "client_secret_basic", [2]string{id, secret}
		plainID, err1 := url.QueryUnescape(id)
		plainSecret, err2 := url.QueryUnescape(secret)
		if err1 != nil || err2 != nil { // perhaps meant to be raw
			plainID, plainSecret = id, ""
		}
		if c.id != "" && c.id != plainID && c.id != id {
			c.method, c.problem = "", "two different clients"
			break
		}
		c.id, c.secret = plainID, plainSecret
	}
	return c
}

// authenticate returns the client that a request comes from, or a refusal. The
// Server is locked.
func (s *Server) authenticate(cred credentials) (*Client, *Answer) {
	cred.method = s.methodOf(cred)
	if cred.method == "" {
		return nil, refusal(http.StatusBadRequest, "invalid_request", cred.problem)
	}
	refused := func(why string) *Answer {
		a := refusal(http.StatusUnauthorized, "invalid_client", why)
		if cred.method == "client_secret_basic" {
			a.Header.Set("WWW-Authenticate", `Basic realm="providertest"`)
		}
		return a
	}
	c, ok := s.clients[cred.id]
	if raw, found := s.clients[cred.raw[0]]; cred.method == "client_secret_basic" && found &&
		slices.Contains(s.authMethods(&raw), "client_secret_basic_raw") {
		if raw.Secret != cred.raw[1] {
			return nil, refused("wrong secret")
		}
		return &raw, nil
	}
	switch {
	case !ok && cred.assertion != nil && cred.assertion.err != nil:
		return nil, refused("client_assertion: " + cred.assertion.err.Error())
	case !ok:
		return nil, refused(whyUnknownClient)
	case !slices.Contains(s.authMethods(&c), cred.method):
		return nil, refused("a way of authentication that is not the client's: " + cred.method)
	case cred.method == "private_key_jwt":
		if problem := s.verifyAssertion(cred.assertion, &c); problem != "" {
			return nil, refused(problem)
		}
	case cred.method == tlsClientAuth || cred.method == selfSignedTLSClientAuth:
		if problem := s.certificateProblem(cred.certificate, &c, cred.method); problem != "" {
			return nil, refused(problem)
		}
	case cred.method != "none" && cred.secret != c.Secret:
		return nil, refused("wrong secret")
	}
	return &c, nil
}
