package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/authprofile/authprofile/providertest"
)

// newHelperWorld returns a world with the profile "ci" of an application, whose API
// has these hosts.
func newHelperWorld(t *testing.T, hosts ...string) *world {
	w := newWorld(t)
	words := []string{"profile", "add", "ci", "--type", "app", "--provider", w.srv.DiscoveryURL(), "--client-id", providertest.ClientID, "--client-secret-from", "env:CLIENT_SECRET"}
	for _, host := range hosts {
		words = append(words, "--api-host", host)
	}
	w.ok(words...)
	return w
}

// helper runs a helper with this request.
func (w *world) helper(request string, args ...string) (code int, stdout, stderr string) {
	w.t.Helper()
	var out, errs bytes.Buffer
	code = w.app(strings.NewReader(request), &out, &errs, noBrowser(w.t)).run(w.t.Context(), append([]string{"helper"}, args...))
	return code, out.String(), errs.String()
}

// A helperTest is a request to a helper for "ci", and its answer.
type helperTest struct {
	request string
	more    []string
	code    int
	stdout  string // with TOKEN and EXPIRY
	stderr  string // a part of it
}

// test runs requests to a helper for "ci".
func (w *world) test(protocol string, tests []helperTest) {
	w.t.Helper()
	var tok tokenView
	if err := json.Unmarshal([]byte(w.ok("token", "ci", "--output", "json")), &tok); err != nil {
		w.t.Fatal(err)
	}
	stored := strings.NewReplacer("TOKEN", tok.AccessToken, "EXPIRY", tok.Expiry.Truncate(time.Second).Format(time.RFC3339))
	for _, test := range tests {
		code, stdout, stderr := w.helper(test.request, append([]string{protocol, "ci"}, test.more...)...)
		if want := stored.Replace(test.stdout); code != test.code || stdout != want || !strings.Contains(stderr, test.stderr) || (stderr == "") != (test.stderr == "") {
			w.t.Errorf("%.100q %q: got exit code %d, %q and %q, want %d, %q and %q", test.request, test.more, code, stdout, stderr, test.code, want, test.stderr)
		}
	}
}

// noBrowser is the browser of what must not open one.
func noBrowser(t testing.TB) func(string) error {
	return func(string) error {
		t.Error("got a browser, want none")
		return errors.New("no browser")
	}
}

// stale makes the stored token of "ci" one that the API refuses, and returns it.
func (w *world) stale() string {
	w.t.Helper()
	token := strings.TrimSpace(w.ok("token", "ci"))
	if !w.srv.Revoke(token) {
		w.t.Fatal("the token cannot be revoked")
	}
	w.tried()
	return token
}

// tried makes all stored tokens some minutes old.
func (w *world) tried() {
	w.t.Helper()
	w.exec("UPDATE authprofile_grants SET obtained = strftime('%Y-%m-%dT%H:%M:%fZ', obtained, '-5 minutes')")
}

// takes is an API that wants a token of the provider in the header that bring
// returns it from; it challenges all others.
func (w *world) takes(challenge string, bring func(r *http.Request) string, api http.Handler) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if token := bring(r); token == "" || w.api(token) != http.StatusOK {
			rw.Header().Set("WWW-Authenticate", challenge)
			http.Error(rw, "no token", http.StatusUnauthorized)
			return
		}
		api.ServeHTTP(rw, r)
	})
}

func bearer(r *http.Request) string {
	token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	return token
}

func password(r *http.Request) string {
	name, token, _ := r.BasicAuth()
	if name != "oauth2" {
		return ""
	}
	return token
}

// otherProcess returns a process of another program, which finds authprofile and its database.
func (w *world) otherProcess(name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(w.t.Context(), name, args...)
	cmd.Dir = w.dir
	cmd.Env = append(os.Environ(), "HOME="+w.dir, "XDG_CONFIG_HOME="+w.dir,
		"GORACE="+raceOptions)
	for name, value := range w.env {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	return cmd
}

// TestThreat172_HelperHosts: a token is given for the hosts of the profile, and for no
// other, however its name is written.
func TestThreat172_HelperHosts(t *testing.T) {
	t.Parallel()
	w := newHelperWorld(t, "api.example.com", "git.example.com:8443", ".below.example.com", "127.0.0.1", "localhost", "[::1]:8080", "xn--bcher-kva.example", "k.example")
	for _, test := range []struct {
		protocol, host string
		want           bool
	}{
		{"https", "api.example.com", true},
		{"https", "api.example.com:8443", true},
		{"https", "API.Example.COM", true},
		{"https", "git.example.com:8443", true},
		{"https", "git.example.com", false},
		{"https", "git.example.com:443", false},
		{"https", "a.below.example.com", true},
		{"https", "a.b.below.example.com:1", true},
		{"https", "below.example.com", false},
		{"https", "abelow.example.com", false},
		{"https", "v1.api.example.com", false},
		{"https", "api.example.com.evil.example", false},
		{"https", "api.example.com.", false},
		{"https", "evil.example", false},
		{"https", "evil.example/api.example.com", false},
		{"https", "evil.example#api.example.com", false},
		{"https", "evil.example?api.example.com", false},
		{"https", "evil.example\\api.example.com", false},
		{"https", "ada@api.example.com", false},
		{"https", "api.example.com@evil.example", false},
		{"https", "api.example.com:", false},
		{"https", "api.example.com:0", false},
		{"https", "api.example.com:65536", false},
		{"https", "api.example.com:x", false},
		{"https", "api.example.com ", false},
		{"https", "api.example.com%00", false},
		{"https", "", false},
		{"https", ":443", false},
		{"https", "xn--bcher-kva.example", true},
		{"https", "bücher.example", false},
		{"https", "\u212a.example", false}, // the sign of kelvin, which is a k in lower case
		{"https", "127.0.0.1", true},
		{"https", "[::1]:8080", true},
		{"http", "[::1]:8080", true},
		{"http", "[::1]:8081", false},
		{"http", "[::1%25lo]:8080", false},
		{"http", "::1", false},
		{"http", "127.0.0.1:3000", true},
		{"http", "localhost:3000", true},
		{"http", "127.0.0.2:3000", false},
		{"http", "0177.0.0.1", false},
		{"http", "api.example.com", false},
		{"http", "a.below.example.com", false},
		{"file", "api.example.com", false},
		{"file", "", false},
		{"ssh", "api.example.com", false},
		{"cert", "", false},
		{"", "api.example.com", false},
		{"https://api.example.com/?", "evil.example", false},
	} {
		code, stdout, stderr := w.helper("protocol="+test.protocol+"\nhost="+test.host+"\n\n", "git", "ci", "get")
		if got := strings.Contains(stdout, "password="); got != test.want {
			t.Errorf("%s, %q: got a token %v, want %v (%s)", test.protocol, test.host, got, test.want, stderr)
		}
		if !test.want && (code != 1 || stdout != "" || !strings.Contains(stderr, "no token is given") || strings.Count(stderr, "\n") != 1) {
			t.Errorf("%s, %q: got exit code %d, %q and %q, want 1, nothing and that no token is given", test.protocol, test.host, code, stdout, stderr)
		}
	}
}

func TestHelperWithoutHosts(t *testing.T) {
	t.Parallel()
	w := newHelperWorld(t)
	w.env["KUBERNETES_EXEC_INFO"] = execInfo("https://api.example.com")
	for _, test := range helperRequests {
		wantOut := ""
		if test.protocol == "docker" {
			wantOut = dockerNotFound
		}
		code, stdout, stderr := w.helper(test.request, test.args("ci")...)
		if want := `profile "ci" names no hosts of its API: see "authprofile helper --help"`; code != 1 || stdout != wantOut || !strings.Contains(stderr, want) {
			t.Errorf("%s: got exit code %d, %q and %q, want 1, %q and %q", test.protocol, code, stdout, stderr, wantOut, want)
		}
	}
	if got := w.srv.Count("client_credentials"); got != 0 {
		t.Errorf("got %d token requests, want none", got)
	}
}

// The user has to authorize: there is no browser and no question, and nothing is given.
func TestHelperNeedsUser(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ok("profile", "add", "web", "--provider", w.srv.DiscoveryURL(), "--client-id", providertest.ClientID, "--client-secret-from", "env:CLIENT_SECRET", "--api-host", "api.example.com")
	w.env["KUBERNETES_EXEC_INFO"] = execInfo("")
	for _, test := range helperRequests {
		code, stdout, stderr := w.helper(test.request, append(test.args("web"), "--user", "ada")...)
		if want := "run: authprofile connect web --user ada\n"; code != 4 || stdout != "" || !strings.HasSuffix(stderr, want) {
			t.Errorf("%s: got exit code %d, %q and %q, want 4, nothing and %q", test.protocol, code, stdout, stderr, want)
		}
	}
}

// helperRequests are requests to each helper for a token for api.example.com.
var helperRequests = []helperRequest{
	{"git", "protocol=https\nhost=api.example.com\n", []string{"get"}},
	{"docker", "api.example.com", []string{"get"}},
	{"kubernetes", "", nil},
	{"bazel", `{"uri": "https://api.example.com/v1"}`, []string{"get"}},
	{"goauth", "", nil},
	{"goauth", "HTTP/1.1 401 Unauthorized\n\n", []string{"https://api.example.com/mod/@v/list"}},
}

type helperRequest struct {
	protocol, request string
	more              []string
}

func (r helperRequest) args(profile string) []string {
	return append([]string{r.protocol, profile}, r.more...)
}

// A request that is too long, or that does not come, ends.
func TestHelperLongRequests(t *testing.T) {
	t.Parallel()
	w := newHelperWorld(t, "api.example.com")
	for _, test := range helperRequests {
		if test.request == "" {
			continue
		}
		code, stdout, stderr := w.helper(strings.Repeat("a", 10<<20), test.args("ci")...)
		if code != 1 || stdout != "" || !strings.Contains(stderr, errLongRequest.Error()) || len(stderr) > 200 {
			t.Errorf("%s: got exit code %d, %.100q and %.300q, want 1, nothing and %q", test.protocol, code, stdout, stderr, errLongRequest)
		}
	}
}

// A provider whose API wants the token elsewhere than in Authorization.
func TestHelperOtherHeaders(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.env["AUTHPROFILE_PROVIDERS"] = w.dir + "/providers.json"
	row := `[{"name": "shop", "title": "Shop", "revision": "2026-11-26", "register_url": "https://shop.example.com/apps", "auth_url": "` + w.srv.AuthURL() + `", "token_url": "` + w.srv.TokenURL() + `", "app": {}, "api_headers": {"X-Shop-Token": "{token}", "X-Shop-Version": "7"}}]`
	if err := os.WriteFile(w.env["AUTHPROFILE_PROVIDERS"], []byte(row), 0o600); err != nil {
		t.Fatal(err)
	}
	w.ok("profile", "add", "shop", "--type", "app", "--provider", "shop", "--client-id", providertest.ClientID, "--client-secret-from", "env:CLIENT_SECRET", "--api-host", "api.example.com")
	for _, test := range helperRequests {
		code, stdout, stderr := w.helper(test.request, test.args("shop")...)
		switch test.protocol {
		case "bazel", "goauth":
			if code != 0 || !strings.Contains(stdout, "X-Shop-Token") || !strings.Contains(stdout, "X-Shop-Version") || strings.Contains(stdout, "Authorization") {
				t.Errorf("%s: got exit code %d, %q and %q, want the headers of the provider", test.protocol, code, stdout, stderr)
			}
		default:
			if want := "the API wants the token in the header X-Shop-Token, which " + test.protocol + " cannot send"; code != 1 || stdout != "" || !strings.Contains(stderr, want) {
				t.Errorf("%s: got exit code %d, %q and %q, want 1, nothing and %q", test.protocol, code, stdout, stderr, want)
			}
		}
	}
}

// outcome runs a program, and returns whether it succeeded and what it printed.
func outcome(cmd *exec.Cmd) (ok bool, printed string) {
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	return err == nil, out.String()
}
