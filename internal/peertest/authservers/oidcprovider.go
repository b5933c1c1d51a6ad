package authservers

import (
	"encoding/json"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"github.com/authprofile/authprofile/internal/peertest/require"
	"github.com/go-jose/go-jose/v3"
)

// OIDCProvider starts the npm package oidc-provider as a process of its own.
// It names itself in its authorization responses (RFC 9207), signs ID tokens
// with ES256, and gives a refresh token only if the request asks for consent
// (prompt=consent).
func OIDCProvider(t testing.TB, opts Options) *Server {
	t.Helper()
	node := require.Tool(t, "node", "install Node.js 20 or newer")
	_, file, _, _ := runtime.Caller(0)
	dir := filepath.Join(filepath.Dir(file), "oidcprovider")
	if _, err := os.Stat(filepath.Join(dir, "node_modules", "oidc-provider")); err != nil {
		require.Missing(t, "oidc-provider", "run: npm ci in internal/peertest/authservers/oidcprovider")
	}

	s, ts := newServer(t, "oidc-provider", opts)
	s.DiscoveryURL = s.Issuer + "/.well-known/openid-configuration"
	s.MetadataURL = s.Issuer + "/.well-known/oauth-authorization-server"
	s.AuthURL = s.Issuer + "/auth"
	s.TokenURL = s.Issuer + "/token"
	s.RevocationURL = s.Issuer + "/token/revocation"
	s.IntrospectionURL = s.Issuer + "/token/introspection"
	s.PARURL = s.Issuer + "/request"

	settings := map[string]any{
		"issuer":        s.Issuer,
		"tokenLife":     int(opts.tokenLife().Seconds()),
		"password":      Password,
		"scopes":        Scopes,
		"clients":       metadataOf(opts.clients()),
		"requirePAR":    opts.RequirePAR,
		"assertionAlgs": opts.assertionAlgs("RS256", "PS256", "ES256", "ES384", "ES512", "EdDSA"),
	}
	if opts.TLS {
		s.startAPI(t)
		files, err := nodeTLS()
		if err != nil {
			t.Fatal(err)
		}
		settings["resource"], settings["tls"] = s.APIURL, files
	}
	config, err := json.Marshal(settings)
	if err != nil {
		t.Fatal(err)
	}

	// Sometimes it starts and does not listen.
	var address, secure string
	for range 2 {
		if address, secure, err = startNode(t, node, dir, config); err == nil {
			break
		}
		t.Logf("oidc-provider: %v", err)
	}
	if err != nil {
		t.Fatalf("oidc-provider does not start: %v", err)
	}
	s.register = func(t testing.TB, c Client) {
		t.Helper()
		if err := registerAt(address, c); err != nil {
			t.Fatalf("oidc-provider: client %s: %v", c.ID, err)
		}
	}
	if opts.TLS {
		base := "https://" + secure
		s.TLS.TokenURL, s.TLS.RevocationURL, s.TLS.PARURL = base+"/token", base+"/token/revocation", base+"/request"
	}
	s.front(t, ts, &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: "http", Host: address})
			r.Out.Host = r.In.Host // the provider makes its addresses of it
			r.Out.Header.Set("X-Forwarded-Proto", opts.scheme())
		},
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			http.Error(w, err.Error(), http.StatusBadGateway)
		},
	})
	return s
}

// metadataOf returns clients as the provider wants them (RFC 7591).
func metadataOf(clients []Client) []map[string]any {
	var list []map[string]any
	for _, c := range clients {
		m := map[string]any{
			"client_id":                  c.ID,
			"grant_types":                c.Grants,
			"redirect_uris":              append([]string{}, c.RedirectURLs...),
			"response_types":             []string{},
			"scope":                      strings.Join(Scopes, " "),
			"token_endpoint_auth_method": c.method(),
		}
		if c.Secret != "" {
			m["client_secret"] = c.Secret
		}
		if c.Key != nil {
			m["jwks"] = jose.JSONWebKeySet{Keys: []jose.JSONWebKey{*c.Key}}
		}
		if c.SubjectDN != "" {
			m["tls_client_auth_subject_dn"] = c.SubjectDN
		}
		if c.method() == "tls_client_auth" || c.method() == "self_signed_tls_client_auth" {
			m["tls_client_certificate_bound_access_tokens"] = true
		}
		if len(c.RedirectURLs) > 0 {
			m["response_types"] = []string{"code"}
		}
		list = append(list, m)
	}
	return list
}

// startNode starts a provider and returns its address, and the one over TLS, if it
// is to have that. The process also watches its standard input, and ends when that
// does.
func startNode(t testing.TB, node, dir string, config []byte) (address, secure string, err error) {
	cmd := exec.Command(node, "server.mjs")
	cmd.Dir = dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "NODE_ENV=production"}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return "", "", err
	}
	go stdin.Write(append(config, '\n'))
	match, err := start(t, cmd, listening)
	if err != nil {
		return "", "", err
	}
	return match[1], match[2], nil
}

var listening = regexp.MustCompile(`^listening on (\S+) (\S*)`)
