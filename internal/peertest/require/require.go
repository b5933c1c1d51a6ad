// Package require finds the real servers and programs that a test needs.
package require

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Tool returns the path of the first of the named programs that is installed:
// in PATH, or where Debian keeps servers outside of it. If there is none, the
// test is skipped with a line that says what to install, or fails if
// AUTHPROFILE_TEST_REQUIRE is "all".
func Tool(t testing.TB, name, install string, others ...string) string {
	t.Helper()
	names := append([]string{name}, others...)
	for _, n := range names {
		if path, err := exec.LookPath(n); err == nil {
			return path
		}
	}
	for _, n := range names {
		for _, pattern := range []string{"/usr/sbin/", "/usr/local/sbin/", "/usr/local/bin/", "/usr/lib/postgresql/*/bin/"} {
			found, _ := filepath.Glob(pattern + n)
			for i := len(found) - 1; i >= 0; i-- {
				if path, err := exec.LookPath(found[i]); err == nil {
					return path
				}
			}
		}
	}
	Missing(t, name, install)
	return ""
}

// Missing skips the test, or fails it if AUTHPROFILE_TEST_REQUIRE is "all".
func Missing(t testing.TB, what, install string) {
	t.Helper()
	if os.Getenv("AUTHPROFILE_TEST_REQUIRE") == "all" {
		t.Fatalf("%s is required and not installed: %s", what, install)
	}
	t.Skipf("%s is not installed: %s", what, install)
}
