package cli

import (
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// gitServer serves the repository "repo.git" over HTTP.
func gitServer(t *testing.T, w *world) http.Handler {
	t.Helper()
	root := t.TempDir()
	for _, args := range [][]string{
		{"init", "--quiet", "--bare", "repo.git"},
		{"init", "--quiet", "work"},
		{"-C", "work", "-c", "user.name=Ada", "-c", "user.email=ada@example.com", "commit", "--quiet", "--allow-empty", "--message", "The first"},
		{"-C", "work", "push", "--quiet", "../repo.git", "HEAD:refs/heads/main"},
	} {
		cmd := w.otherProcess("git", args...)
		cmd.Dir = root
		if ok, printed := outcome(cmd); !ok {
			t.Fatalf("git %q: %s", args, printed)
		}
	}
	path, err := exec.LookPath("git")
	if err != nil {
		t.Fatal(err)
	}
	return &cgi.Handler{Path: path, Args: []string{"http-backend"}, Env: []string{"GIT_PROJECT_ROOT=" + root, "GIT_HTTP_EXPORT_ALL=1"}}
}

// git returns git with the helper for "ci" alone.
func (w *world) git(args ...string) *exec.Cmd {
	cmd := w.otherProcess("git", append([]string{"-c", "credential.helper=", "-c", "credential.helper=!" + shell(command(w.t)) + " helper git ci"}, args...)...)
	cmd.Env = append(cmd.Env, "GIT_CONFIG_NOSYSTEM=1", "GIT_TERMINAL_PROMPT=0", "GIT_ASKPASS=", "LC_ALL=C")
	return cmd
}

// TestHelperGit runs git against a server that wants the token: those of the present in
// Authorization, and those that ask for Basic as a password. A token that the server
// refuses is replaced.
func TestHelperGit(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("git"); err != nil {
		t.Fatal("git is not installed: apt-get install git")
	}
	isModern := exec.Command("git", "credential", "capability").Run() == nil // 2.46
	for _, test := range []struct {
		name, challenge string
		bring           func(*http.Request) string
		modern          bool // it takes a git that can send other than Basic
	}{
		{"Basic", `Basic realm="git"`, password, false},
		{"Bearer", `Bearer realm="git"`, bearer, true},
		{"Both", `Basic realm="git", Bearer realm="git"`, func(r *http.Request) string { return bearer(r) + password(r) }, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newHelperWorld(t, "127.0.0.1")
			srv := httptest.NewServer(w.takes(test.challenge, test.bring, gitServer(t, w)))
			defer srv.Close()
			if test.modern && !isModern {
				return
			}
			if ok, printed := outcome(w.git("ls-remote", srv.URL+"/repo.git")); !ok || !strings.Contains(printed, "refs/heads/main") {
				t.Fatalf("got %s, want the branches", printed)
			}

			// What ends early is replaced, by this git or for the next.
			w.stale()
			ok, printed := outcome(w.git("ls-remote", srv.URL+"/repo.git"))
			if ok != isModern {
				t.Errorf("got success %v, want %v: %s", ok, isModern, printed)
			}
			clone := filepath.Join(w.dir, "clone")
			if ok, printed := outcome(w.git("clone", "--quiet", srv.URL+"/repo.git", clone)); !ok {
				t.Errorf("got %s, want a clone", printed)
			}
			if got := w.srv.Count("client_credentials"); got != 2 {
				t.Errorf("got %d token requests, want 2", got)
			}

			// A server that refuses every token does not make one for each command.
			refuses := httptest.NewServer(w.takes(test.challenge, func(*http.Request) string { return "" }, nil))
			defer refuses.Close()
			for range 3 {
				if ok, printed := outcome(w.git("ls-remote", refuses.URL+"/repo.git")); ok {
					t.Errorf("got %s, want a failure", printed)
				}
			}
			if got := w.srv.Count("client_credentials"); got != 2 {
				t.Errorf("got %d token requests, want 2", got)
			}
			if ok, printed := outcome(w.git("ls-remote", strings.Replace(srv.URL, "127.0.0.1", "localhost", 1)+"/repo.git")); ok || !strings.Contains(printed, "authprofile: no token is given for \"localhost:") {
				t.Errorf("got %s, want that no token is given for localhost", printed)
			}
		})
	}
}

// gitToken returns the token in an answer to git.
func gitToken(t *testing.T, answer string) string {
	t.Helper()
	for _, name := range []string{"password=", "credential="} {
		if _, rest, ok := strings.Cut(answer, "\n"+name); ok {
			token, _, _ := strings.Cut(rest, "\n")
			return token
		}
	}
	t.Fatalf("got %q, want a token", answer)
	return ""
}

func TestHelperGitAnswers(t *testing.T) {
	t.Parallel()
	w := newHelperWorld(t, "git.example.com")
	token := strings.TrimSpace(w.ok("token", "ci"))
	const types = "capability[]=authtype\n"
	for _, test := range []struct {
		name, request string
		want          string // how the answer begins; without it there is none
		wantsMore     []string
	}{
		{"an old git", "", "username=oauth2\npassword=" + token + "\npassword_expiry_utc=", nil},
		{"with a path", "path=ada/repo.git\n", "username=oauth2\npassword=", nil},
		{"with a user name", "username=x-token-auth\n", "username=x-token-auth\npassword=", nil},
		{"what is not known", "colour=blue\ncapability[]=telepathy\nstate[]=other:1\n", "username=oauth2\npassword=", nil},
		{"a new git", types, "capability[]=authtype\nauthtype=Bearer\ncredential=" + token + "\nephemeral=1\npassword_expiry_utc=", nil},
		{"a server that takes both", types + "wwwauth[]=Basic realm=\"git\"\nwwwauth[]=bearer realm=\"git\"\n", "capability[]=authtype\nauthtype=Bearer\n", nil},
		{"in one line", types + "wwwauth[]=Basic realm=\"git\", Bearer\n", "capability[]=authtype\nauthtype=Bearer\n", nil},
		{"a server that takes a password", types + "wwwauth[]=Basic realm=\"git\"\n", "username=oauth2\npassword=", nil},
		{"challenges taken back", types + "wwwauth[]=Basic\nwwwauth[]=\n", "capability[]=authtype\nauthtype=Bearer\n", nil},
		{"a capability taken back", types + "capability[]=\n", "username=oauth2\n", nil},
		{"with state", types + "capability[]=state\n", "capability[]=state\ncapability[]=authtype\n", []string{"\nstate[]=authprofile:tried=", "\ncontinue=1\n"}},
		{"a line that is none", "nonsense\n", "", nil},
		{"a NUL", "path=a\x00b\n", "", nil},
		{"a carriage return", "path=a\r\n", "", nil},
		{"an escape", "path=\x1b[2J\n", "", nil},
	} {
		code, stdout, stderr := w.helper("protocol=https\nhost=git.example.com\n"+test.request, "git", "ci", "get")
		if test.want == "" {
			if code != 1 || stdout != "" || !strings.Contains(stderr, "line 3 of the request on standard input") {
				t.Errorf("%s: got exit code %d, %q and %q, want 1 and which line is wrong", test.name, code, stdout, stderr)
			}
			continue
		}
		if code != 0 || !strings.HasPrefix(stdout, test.want) || stderr != "" {
			t.Errorf("%s: got exit code %d, %q and %q, want 0 and %q", test.name, code, stdout, stderr, test.want)
		}
		for _, want := range append(test.wantsMore, "\n") {
			if !strings.Contains(stdout, want) {
				t.Errorf("%s: got %q, want it with %q", test.name, stdout, want)
			}
		}
		if len(test.wantsMore) == 0 && strings.Contains(stdout, "continue=") {
			t.Errorf("%s: got %q, want no more attempts", test.name, stdout)
		}
	}

	// What follows an empty line is not read, and the last line needs no end.
	if code, stdout, _ := w.helper("protocol=https\nhost=git.example.com\n\nhost=evil.example\nnonsense", "git", "ci", "get"); code != 0 || stdout == "" {
		t.Errorf("got exit code %d, want 0", code)
	}
	if code, stdout, _ := w.helper("protocol=https\nhost=git.example.com", "git", "ci", "get"); code != 0 || stdout == "" {
		t.Errorf("got exit code %d, want 0", code)
	}
	if code, stdout, _ := w.helper("host=git.example.com\nhost=evil.example\nprotocol=https\n", "git", "ci", "get"); code != 1 || stdout != "" {
		t.Errorf("got exit code %d and %q, want 1 and nothing: the last host counts", code, stdout)
	}
	for _, action := range []string{"store", "approve", "capability"} {
		if code, stdout, stderr := w.helper("protocol=https\nhost=git.example.com\npassword=x\n", "git", "ci", action); code != 0 || stdout+stderr != "" {
			t.Errorf("%s: got exit code %d, %q and %q, want nothing", action, code, stdout, stderr)
		}
	}
	w.fails(2, "get, store or erase is missing", "helper", "git", "ci")
	w.fails(2, "an argument is missing", "helper", "git")
}

// A token is replaced if it was refused, it is the stored one, and it is not new.
func TestHelperGitErase(t *testing.T) {
	t.Parallel()
	w := newHelperWorld(t, "git.example.com")
	const from = "protocol=https\nhost=git.example.com\n"
	erase := func(request string) {
		t.Helper()
		if code, stdout, stderr := w.helper(request, "git", "ci", "erase"); code != 0 || stdout+stderr != "" {
			t.Errorf("got exit code %d, %q and %q, want nothing", code, stdout, stderr)
		}
	}
	first := strings.TrimSpace(w.ok("token", "ci"))
	erase(from + "username=oauth2\npassword=" + first + "\n") // too early
	w.tried()
	erase(from)
	erase(from + "password=another\n")
	w.helper("protocol=https\nhost=evil.example\npassword="+first+"\n", "git", "ci", "erase")
	if got := strings.TrimSpace(w.ok("token", "ci")); got != first {
		t.Error("got another token, want the same: it was not refused, or is new")
	}
	erase(from + "authtype=Bearer\ncredential=" + first + "\n")
	second := strings.TrimSpace(w.ok("token", "ci"))
	if second == first {
		t.Error("got the token that was refused, want another")
	}
	w.tried()
	erase(from + "username=oauth2\npassword=" + first + "\n") // it was replaced before
	if got := strings.TrimSpace(w.ok("token", "ci")); got != second {
		t.Error("got another token, want the same: another was refused")
	}

	// Within one command, git says by the state which token was tried.
	_, stdout, _ := w.helper(from+"capability[]=authtype\ncapability[]=state\n", "git", "ci", "get")
	_, state, _ := strings.Cut(stdout, "\nstate[]=")
	state, _, _ = strings.Cut(state, "\n")
	if strings.Contains(state, second) {
		t.Errorf("got state %q, want it without the token", state)
	}
	_, stdout, _ = w.helper(from+"capability[]=authtype\ncapability[]=state\nstate[]="+state+"\n", "git", "ci", "get")
	if got := gitToken(t, stdout); got == second || strings.Contains(stdout, "continue") {
		t.Errorf("got %q, want another token, and no third", stdout)
	}
}
