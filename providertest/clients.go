package providertest

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// A Client is a client registration.
type Client struct {
	ID     string
	Secret string // empty: a public client

	// RedirectURLs are compared byte for byte. If nil, any address will do.
	RedirectURLs []string

	// AuthMethods are the ways in which the client may authenticate. If nil,
	// they are "client_secret_basic" and "client_secret_post", or "none" for
	// a public client. "client_secret_basic_raw" takes the parts of a Basic
	// header as they are, for clients that do not form-encode them.
	AuthMethods []string

	Scopes []string // allowed; nil: all
	Grants []string // allowed grant types; nil: all
}

func (s *Server) authMethods(c *Client) []string {
	switch {
	case c.AuthMethods != nil:
		return c.AuthMethods
	case c.Secret == "":
		return []string{"none"}
	case s.fake.authMethods != nil:
		return s.fake.authMethods
	default:
		return []string{"client_secret_basic", "client_secret_post"}
	}
}

// AddClient registers a client, or replaces the registration with its ID.
func (s *Server) AddClient(c Client) {
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
	id, secret string
	method     string // "" if they are contradictory
	raw        [2]string
	problem    string
}

// readCredentials finds the one way in which a request authenticates its
// client (RFC 6749, section 2.3).
func readCredentials(r *http.Request, form url.Values) credentials {
	c := credentials{id: form.Get("client_id"), secret: form.Get("client_secret"), method: "none"}
	if form.Has("client_secret") {
		c.method = "client_secret_post"
	}
	header := r.Header.Values("Authorization")
	switch {
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
	case !ok:
		return nil, refused(whyUnknownClient)
	case !slices.Contains(s.authMethods(&c), cred.method):
		return nil, refused("a way of authentication that is not the client's: " + cred.method)
	case cred.method != "none" && cred.secret != c.Secret:
		return nil, refused("wrong secret")
	}
	return &c, nil
}
