package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"github.com/authprofile/authprofile"
	"github.com/authprofile/authprofile/providertest"
)

// start runs the program, and returns what it says, as it says it.
func start(ctx context.Context, s settings) *bufio.Scanner {
	r, w := io.Pipe()
	go func() { w.CloseWithError(run(ctx, w, s)) }()
	return bufio.NewScanner(r)
}

// rest returns what the program says until it ends, which must be well.
func rest(t *testing.T, lines *bufio.Scanner) string {
	t.Helper()
	var all strings.Builder
	for lines.Scan() {
		fmt.Fprintln(&all, lines.Text())
	}
	if err := lines.Err(); err != nil {
		t.Fatalf("after %q: %v", all.String(), err)
	}
	return all.String()
}

// logIn does what a person does with a browser once the program has said which
// address to open.
func logIn(t *testing.T, lines *bufio.Scanner) {
	t.Helper()
	open := regexp.MustCompile(`open (http://\S+/) in a browser`)
	for lines.Scan() {
		m := open.FindStringSubmatch(lines.Text())
		if m == nil {
			continue
		}
		jar, err := cookiejar.New(nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := (&http.Client{Jar: jar}).Get(m[1])
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		page, err := io.ReadAll(resp.Body)
		if got, want := string(page), "Connected. You can close this page.\n"; err != nil || got != want {
			t.Fatalf("got the page %q, %v, want %q", got, err, want)
		}
		return
	}
	t.Fatalf("got no address to open, want one: %v", lines.Err())
}

func testSettings(t *testing.T, srv *providertest.Server) settings {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return settings{
		provider: srv.DiscoveryURL(), clientID: providertest.ClientID, secret: providertest.ClientSecret,
		listen: ln.Addr().String(), file: filepath.Join(t.TempDir(), "login.db"),
	}
}

func TestLogin(t *testing.T) {
	srv := providertest.NewServer(t)
	s := testSettings(t, srv)
	srv.AddClient(providertest.Client{
		ID: s.clientID, Secret: s.secret, RedirectURLs: []string{"http://" + s.listen + "/callback"},
	})

	lines := start(t.Context(), s)
	logIn(t, lines)
	first := rest(t, lines)
	for _, want := range []string{`Granted: ["openid" "offline_access"], to the subject "user".`, "Renewed: another one"} {
		if !strings.Contains(first, want) {
			t.Errorf("the first time: got %q, want %q in it", first, want)
		}
	}

	again := rest(t, start(t.Context(), settings{file: s.file}))
	for _, want := range []string{"no browser is needed", "Renewed: another one"} {
		if !strings.Contains(again, want) {
			t.Errorf("again: got %q, want %q in it", again, want)
		}
	}
	if got, want := srv.Count("authorization_code"), 1; got != want {
		t.Errorf("got %d authorizations, want %d", got, want)
	}

	if got := rest(t, start(t.Context(), settings{file: s.file, revoke: true})); got != "" {
		t.Errorf("revoking: got %q, want nothing", got)
	}
	if got, want := srv.RevokeUser("user"), 0; got != want {
		t.Errorf("afterwards: got %d grants at the provider, want %d", got, want)
	}
	info, err := os.Stat(s.file)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := info.Mode().Perm()&0o077, os.FileMode(0); got != want && runtime.GOOS != "windows" {
		t.Errorf("got the rights %v for others in the file, want %v", got, want)
	}
}

func TestLoginWithoutRefreshToken(t *testing.T) {
	srv := providertest.NewServer(t)
	s := testSettings(t, srv)
	s.scopes = "openid"
	lines := start(t.Context(), s)
	logIn(t, lines)
	if got, want := rest(t, lines), "The provider gave no refresh token"; !strings.Contains(got, want) {
		t.Errorf("got %q, want %q in it", got, want)
	}
}

func TestLoginByTemplate(t *testing.T) {
	p, err := profile(t.Context(), new(authprofile.Manager), settings{provider: "google", clientID: "id", listen: "127.0.0.1:8976"})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := p.Template, authprofile.Google; got != want {
		t.Errorf("got the template %q, want %q", got, want)
	}
	if got, want := strings.Join(p.Scopes, " "), "openid"; got != want {
		t.Errorf("got the scopes %q, want %q", got, want)
	}
}
