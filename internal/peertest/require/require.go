// Package require says what a test needs: real servers and programs, or time.
package require

import (
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

var long = flag.Bool("long", false, "run the tests that take long, too")

// Long skips the test unless the flag -long is given. What says what is left
// out.
func Long(t testing.TB, what string) {
	t.Helper()
	if !*long {
		t.Skipf("left out: %s; to run it: go test ./internal/peertest/... -long", what)
	}
}

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
