package cli

import (
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/authprofile/authprofile/providertest"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"authprofile": func() { os.Exit(Main()) },
	})
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

type serverKey struct{}
