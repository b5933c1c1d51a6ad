package authservers

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/authprofile/authprofile/internal/peertest/require"
)

// OIDCProvider starts the npm package oidc-provider as a process of its own.
// It names itself in its authorization responses (RFC 9207), and gives a
// refresh token only to those who ask for consent (prompt=consent).
func OIDCProvider(t testing.TB, opts Options) *Server {
	t.Helper()
	node := require.Tool(t, "node", "install Node.js 20 or newer")
	_, file, _, _ := runtime.Caller(0)
	dir := filepath.Join(filepath.Dir(file), "oidcprovider")
	if _, err := os.Stat(filepath.Join(dir, "node_modules", "oidc-provider")); err != nil {
		require.Missing(t, "oidc-provider", "run: npm ci in internal/peertest/authservers/oidcprovider")
	}

	s, ts := newServer(t, "oidc-provider")
	s.DiscoveryURL = s.Issuer + "/.well-known/openid-configuration"
	s.MetadataURL = s.Issuer + "/.well-known/oauth-authorization-server"
	s.AuthURL = s.Issuer + "/auth"
	s.TokenURL = s.Issuer + "/token"
	s.RevocationURL = s.Issuer + "/token/revocation"
	s.IntrospectionURL = s.Issuer + "/token/introspection"

	config, err := json.Marshal(map[string]any{
		"issuer":    s.Issuer,
		"tokenLife": int(opts.tokenLife().Seconds()),
		"password":  Password,
		"scopes":    Scopes,
		"clients":   metadataOf(opts.clients()),
	})
	if err != nil {
		t.Fatal(err)
	}

	// It has been seen to start and not listen.
	var address string
	for range 2 {
		if address, err = startNode(t, node, dir, config); err == nil {
			break
		}
		t.Logf("oidc-provider: %v", err)
	}
	if err != nil {
		t.Fatalf("oidc-provider does not start: %v", err)
	}
	s.front(t, ts, &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: "http", Host: address})
			r.Out.Host = r.In.Host // the provider makes its addresses of it
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
		if len(c.RedirectURLs) > 0 {
			m["response_types"] = []string{"code"}
		}
		list = append(list, m)
	}
	return list
}

// startNode starts a provider and returns its address. The process ends when
// the test does, and, since it watches its standard input, when we are killed.
func startNode(t testing.TB, node, dir string, config []byte) (address string, err error) {
	cmd := exec.Command(node, "server.mjs")
	cmd.Dir = dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "NODE_ENV=production"}
	var said lastWords
	cmd.Stderr = &said
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return "", err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return "", err
	}
	if err := cmd.Start(); err != nil {
		return "", err
	}
	stop := sync.OnceFunc(func() {
		stdin.Close()
		cmd.Process.Kill()
		cmd.Wait()
		if t.Failed() {
			t.Logf("oidc-provider said: %s", said.String())
		}
	})
	t.Cleanup(stop)

	first := make(chan string, 1)
	go func() {
		line, _ := bufio.NewReader(stdout).ReadString('\n')
		first <- strings.TrimSpace(line)
	}()
	if _, err := fmt.Fprintf(stdin, "%s\n", config); err != nil {
		stop()
		return "", fmt.Errorf("%w: %s", err, said.String())
	}
	select {
	case address = <-first:
		if address == "" {
			stop()
			return "", fmt.Errorf("it ended: %s", said.String())
		}
		return address, nil
	case <-time.After(10 * time.Second):
		stop()
		return "", fmt.Errorf("it does not listen after 10 seconds: %s", said.String())
	}
}

// lastWords keeps the last 4 KiB that were written to it.
type lastWords struct {
	mu   sync.Mutex
	tail []byte
}

var _ io.Writer = (*lastWords)(nil)

func (l *lastWords) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tail = append(l.tail, p...)
	if n := len(l.tail) - 4096; n > 0 {
		l.tail = l.tail[n:]
	}
	return len(p), nil
}

func (l *lastWords) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.tail)
}
