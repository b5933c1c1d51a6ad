package cli

import (
	"archive/zip"
	"bytes"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
)

func TestHelperGoauthAnswers(t *testing.T) {
	t.Parallel()
	w := newHelperWorld(t, "Proxy.example.com", "proxy.example.com:8443", "git.example.com:443", ".below.example.com", "[::1]:8080")
	const header = "\nAuthorization: Bearer TOKEN\n\n"
	refused := func(address string) []string { return []string{address} }
	const no, gone = "HTTP/1.1 401 Unauthorized\nDate: Thu, 07 Nov 2024 18:43:09 GMT\n\n", "HTTP/2.0 404 Not Found\nContent-Length: 5\n\n"
	w.test("goauth", []helperTest{
		{"", nil, 0, "https://proxy.example.com\nhttps://proxy.example.com:8443\nhttps://git.example.com\nhttps://[::1]:8080\n" + header, ""},
		{no, refused("https://a.below.example.com/mod?go-get=1"), 0, "https://a.below.example.com\n" + header, ""},
		{gone, refused("https://Proxy.Example.com:9000/mod"), 0, "https://Proxy.Example.com:9000\n" + header, ""},
		{"", refused("https://proxy.example.com/mod"), 0, "https://proxy.example.com\n" + header, ""},
		{no, refused("https://below.example.com/"), 1, "", "no token is given"},
		{no, refused("https://ada:hunter2@proxy.example.com/"), 1, "", "must not have a user or password"},
		{no, refused("https://proxy.example.com\n/"), 1, "", "no token is given"},
		{no, refused("http://[::1]:8080/"), 1, "", "the go command sends none over plain HTTP"},
		{no, refused("proxy.example.com"), 1, "", "no token is given"},
		{"nonsense\n", refused("https://proxy.example.com/"), 1, "", "standard input has no response of an HTTP server"},
		{no, []string{"a", "b"}, 2, "", "one argument too many"},
	})

	// A token is replaced if it was sent and refused.
	token := func() string { return strings.TrimSpace(w.ok("token", "ci")) }
	for _, test := range []struct {
		response, address string
		want              bool
	}{
		{no, "https://a.below.example.com/", false}, // there was none with the request
		{gone, "https://proxy.example.com/", false},
		{"HTTP/1.1 403 Forbidden\n\n", "https://proxy.example.com/", false},
		{"HTTP/1.1 401 Unauthorized\nWWW-Authenticate: Bearer error=\"invalid_token\"\n\n", "https://a.below.example.com/", true},
		{no, "https://proxy.example.com/", true},
	} {
		w.tried()
		before := token()
		for range 2 { // a second one at the same time replaces it no more
			if code, _, stderr := w.helper(test.response, "goauth", "ci", test.address); code != 0 {
				t.Errorf("%q: got exit code %d and %q, want 0", test.response, code, stderr)
			}
		}
		if got := token() != before; got != test.want {
			t.Errorf("%q, %s: got another token %v, want %v", test.response, test.address, got, test.want)
		}
	}

	below := newHelperWorld(t, ".example.com")
	below.test("goauth", []helperTest{{"", nil, 0, "", ""}})
}

// goProxy is a module proxy with example.com/mod v1.0.0.
func goProxy(t *testing.T) http.Handler {
	t.Helper()
	const goMod = "module example.com/mod\n"
	var module bytes.Buffer
	z := zip.NewWriter(&module)
	f, err := z.Create("example.com/mod@v1.0.0/go.mod")
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(f, goMod)
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	files := map[string]string{
		"list":        "v1.0.0\n",
		"v1.0.0.info": `{"Version":"v1.0.0"}`,
		"v1.0.0.mod":  goMod,
		"v1.0.0.zip":  module.String(),
	}
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		text, ok := files[strings.TrimPrefix(r.URL.Path, "/example.com/mod/@v/")]
		if !ok {
			http.NotFound(rw, r)
			return
		}
		fmt.Fprint(rw, text)
	})
}

// TestHelperGoauth runs the go command against a private module proxy: with the token
// from the first request on if the profile names the port, else after a refusal.
func TestHelperGoauth(t *testing.T) {
	t.Parallel()
	for _, isPortKnown := range []bool{true, false} {
		t.Run(fmt.Sprintf("port known %v", isPortKnown), func(t *testing.T) {
			srv := httptest.NewUnstartedServer(nil)
			host := srv.Listener.Addr().String()
			if !isPortKnown {
				host, _, _ = strings.Cut(host, ":")
			}
			w := newHelperWorld(t, host)
			var bare atomic.Int32 // requests without a token
			srv.Config.Handler = w.takes(`Bearer realm="proxy"`, func(r *http.Request) string {
				token := bearer(r)
				if token == "" {
					bare.Add(1)
				}
				return token
			}, goProxy(t))
			srv.StartTLS()
			defer srv.Close()
			certificate := filepath.Join(w.dir, "ca.pem")
			if err := os.WriteFile(certificate, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw}), 0o600); err != nil {
				t.Fatal(err)
			}
			download := func(profile string) (ok bool, printed string) {
				cmd := w.otherProcess("go", "mod", "download", "-x", "example.com/mod@v1.0.0")
				cmd.Env = append(cmd.Env, "GOAUTH="+command(t)+" helper goauth "+profile, "GOPROXY="+srv.URL, "GONOSUMDB=*", "GONOPROXY=none", "GOVCS=*:off",
					"GOWORK=off", "GOENV=off", "GOTOOLCHAIN=local", "GOFLAGS=-modcacherw", "GOMODCACHE="+filepath.Join(t.TempDir(), "mod"), "SSL_CERT_FILE="+certificate)
				return outcome(cmd)
			}
			if ok, printed := download("ci"); !ok {
				t.Fatalf("got %s, want the module", printed)
			}
			if got := bare.Load(); (got == 0) != isPortKnown {
				t.Errorf("got %d requests without a token, want none if the port is known", got)
			}
			if isPortKnown {
				w.stale()
				if ok, printed := download("ci"); !ok {
					t.Errorf("got %s, want the module by another token", printed)
				}
				if got := w.srv.Count("client_credentials"); got != 2 {
					t.Errorf("got %d token requests, want 2", got)
				}
			}
			w.ok("profile", "add", "other", "--type", "app", "--provider", w.srv.DiscoveryURL(), "--client-id", "client", "--client-secret-from", "env:CLIENT_SECRET", "--api-host", "proxy.example.com")
			if ok, printed := download("other"); ok || !strings.Contains(printed, "no token is given for") {
				t.Errorf("got %s, want that no token is given", printed)
			}
		})
	}
}
