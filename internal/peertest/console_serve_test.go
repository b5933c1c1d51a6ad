package peertest

import (
	"bufio"
	"bytes"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/authprofile/authprofile/internal/peertest/authservers"
	"github.com/authprofile/authprofile/internal/peertest/require"
)

// A person with nothing but the program opens the link of "authprofile serve", types in
// a profile, and connects an account at a provider of another site.
func TestServeInBrowser(t *testing.T) {
	require.Long(t, "the program's console in a browser")
	dir := t.TempDir()
	program := filepath.Join(dir, "authprofile")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, "github.com/authprofile/authprofile/cmd/authprofile").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	cmd := exec.Command(program, "serve", "--no-browser", "--listen", "localhost:0")
	cmd.Env = []string{"HOME=" + dir}
	stderr := new(bytes.Buffer)
	cmd.Stderr = stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM) // which no shell makes its background jobs ignore, as it does SIGINT
		if err := cmd.Wait(); err != nil {
			t.Errorf("after SIGTERM: got %v and %s, want success", err, stderr)
		}
	})
	link, err := bufio.NewReader(stdout).ReadString('\n')
	link = strings.TrimSpace(link)
	base, secret, ok := strings.Cut(link, "/login/")
	if err != nil || !ok {
		t.Fatalf("got %q and %v, want a link", link, err)
	}

	s := &consoleHost{URL: base, provider: authservers.Fosite(t, authservers.Options{})}
	s.register(t, base+"/callback")
	p := &person{t: t, ctx: authservers.Browser(t)}
	p.withoutScript()
	p.opens(link)
	p.follows("link", "Profiles")
	if at := p.at(); strings.Contains(at, secret) {
		t.Error("got the secret of the link in the address, want it used up")
	}
	p.follows("link", "New profile")
	p.types("ID", "crm")
	p.types("Client ID", authservers.Web.ID)
	p.types("Client secret", authservers.Web.Secret)
	p.types("Discovery document", s.provider.DiscoveryURL)
	p.types("Scopes", strings.Join(authservers.Scopes, " "))
	p.follows("button", "Save")
	p.sees("Saved.")
	p.follows("button", "Connect my own account")
	p.allows(s)
	p.sees("sub-of-alice")
	p.wantsCleanHistory()

	shown := exec.CommandContext(t.Context(), program, "grant", "show", "crm")
	shown.Env = cmd.Env
	if out, err := shown.CombinedOutput(); err != nil || !strings.Contains(string(out), "active") {
		t.Errorf("got %v and %s, want the grant at the prompt, too", err, out)
	}
}
