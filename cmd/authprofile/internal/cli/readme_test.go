package cli

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/authprofile/authprofile/providertest"
)

// The transcript in README.md is what happens.
func TestReadmeTranscript(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("../../../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	block := regexp.MustCompile("(?s)```console\n(.*?)```").FindStringSubmatch(string(readme))
	if block == nil {
		t.Fatal("got no transcript, want one")
	}
	srv := providertest.NewServer(t)
	srv.SetConsent(providertest.Consent{Claims: map[string]any{"email": "ada@example.com"}})
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "crm.secret"), []byte(providertest.ClientSecret), 0o600); err != nil {
		t.Fatal(err)
	}
	var got strings.Builder
	for line := range strings.Lines(block[1]) {
		typed, ok := strings.CutPrefix(line, "$ ")
		if !ok {
			continue
		}
		got.WriteString(line)
		cmd := exec.Command("sh", "-c", strings.ReplaceAll(typed, "https://id.example.com/.well-known/openid-configuration", srv.DiscoveryURL()))
		cmd.Dir = dir
		cmd.Env = []string{"HOME=" + dir, "PATH=" + os.Getenv("PATH"), "GORACE=" + raceOptions}
		shown, _ := cmd.CombinedOutput() // some fail, as they should
		text := strings.ReplaceAll(string(shown), dir, "~")
		got.WriteString(strings.ReplaceAll(text, "/Library/Application Support/", "/.config/")) // macOS
	}
	if got.String() != block[1] {
		t.Errorf("got\n%s\nwant\n%s", got.String(), block[1])
	}
}
