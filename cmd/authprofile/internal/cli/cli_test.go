package cli

import (
	"net/http"
	"net/http/cookiejar"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/authprofile/authprofile/providertest"
)

func TestMain(m *testing.M) {
	if strings.Contains(filepath.Base(os.Args[0]), ".test") { // and not one of the programs below
		hearSignals()
	}
	testscript.Main(m, map[string]func(){
		"authprofile":  func() { os.Exit(Main()) },
		"nothing":      func() { os.Exit(0) }, // with the same packages linked
		"fleet-worker": fleetWorker,
		// What opens browsers on Linux and on macOS.
		"xdg-open": fakeBrowser,
		"open":     fakeBrowser,
	})
}

// hearSignals makes sure that the programs that tests start hear signals. A program
// ignores those that its parent ignores, as tests do that were started by nohup, or in
// the background of a script.
func hearSignals() {
	for _, s := range []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		if signal.Ignored(s) {
			signal.Notify(make(chan os.Signal, 1), s)
		}
	}
}

// fakeBrowser is a browser whose user consents. It fails if it was given what is not
// for children.
func fakeBrowser() {
	for _, line := range os.Environ() {
		if strings.HasPrefix(line, "AUTHPROFILE_") {
			os.Exit(3)
		}
	}
	jar, err := cookiejar.New(nil)
	if err != nil {
		os.Exit(1)
	}
	if err := follow(&http.Client{Jar: jar}, os.Args[1]); err != nil {
		os.Exit(1)
	}
}

// TestScripts runs the scripts of testdata/script, each with a provider of its own.
// Its addresses are in ISSUER, DISCOVERY_URL, TOKEN_URL and API_URL; the client is
// "client", and its secret is in the file client.secret.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			srv, err := providertest.Start()
			if err != nil {
				return err
			}
			env.Defer(srv.Close)
			env.Values[serverKey{}] = srv
			env.Setenv("GORACE", raceOptions)
			env.Setenv("HOME", env.WorkDir+"/home")
			env.Setenv("ISSUER", srv.Issuer())
			env.Setenv("DISCOVERY_URL", srv.DiscoveryURL())
			env.Setenv("TOKEN_URL", srv.TokenURL())
			env.Setenv("API_URL", srv.APIURL())
			return os.WriteFile(env.WorkDir+"/client.secret", []byte(providertest.ClientSecret+"\n"), 0o600)
		},
		Cmds: scriptCommands,
	})
}

// raceOptions let a process end at once: there are many, and the race detector would
// have each wait for a second.
const raceOptions = "atexit_sleep_ms=0"

type serverKey struct{}
