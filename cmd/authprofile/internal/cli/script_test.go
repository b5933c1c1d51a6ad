package cli

import (
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/authprofile/authprofile/providertest"
)

// server returns the provider of a script.
func server(ts *testscript.TestScript) *providertest.Server {
	return ts.Value(serverKey{}).(*providertest.Server)
}

// scriptCommands are the commands of scripts besides those of testscript.
var scriptCommands = map[string]func(ts *testscript.TestScript, neg bool, args []string){
	// mode FILE BITS: the file has these permissions.
	"mode": func(ts *testscript.TestScript, neg bool, args []string) {
		info, err := os.Lstat(ts.MkAbs(args[0]))
		ts.Check(err)
		if got := fmt.Sprintf("%o", info.Mode().Perm()); (got == args[1]) == neg {
			ts.Fatalf("%s: got mode %s, want %s", args[0], got, args[1])
		}
	},
	// code N COMMAND...: the command ends with that exit code.
	"code": func(ts *testscript.TestScript, neg bool, args []string) {
		err := ts.Exec(args[1], args[2:]...)
		got := "0"
		if err != nil {
			got = strings.TrimPrefix(err.Error(), "exit status ")
		}
		if (got == args[0]) == neg {
			ts.Fatalf("got exit code %s, want %s", got, args[0])
		}
	},
	// fault ENDPOINT STATUS [BODY]: from now on the provider answers so; without a
	// status, as it should.
	"fault": func(ts *testscript.TestScript, neg bool, args []string) {
		srv := server(ts)
		srv.ClearFaults(providertest.Endpoint(args[0]))
		if len(args) > 1 {
			status, err := strconv.Atoi(args[1])
			ts.Check(err)
			f := providertest.Fault{Times: -1, Status: status}
			if len(args) > 2 {
				f.Header, f.Body = http.Header{"Content-Type": {"application/json"}}, args[2]
			}
			srv.Fault(providertest.Endpoint(args[0]), f)
		}
	},
	// lifetime DURATION: from now on the provider's tokens live so long.
	"lifetime": func(ts *testscript.TestScript, neg bool, args []string) {
		life, err := time.ParseDuration(args[0])
		ts.Check(err)
		policy := server(ts).Policy()
		policy.TokenLifetime = life
		server(ts).SetPolicy(policy)
	},
	// requests GRANT N: the provider has had N token requests of that type.
	"requests": func(ts *testscript.TestScript, neg bool, args []string) {
		if got := strconv.Itoa(server(ts).Count(args[0])); (got == args[1]) == neg {
			ts.Fatalf("got %s requests, want %s", got, args[1])
		}
	},
	// absent FILE...: there are no such files.
	"absent": func(ts *testscript.TestScript, neg bool, args []string) {
		for _, name := range args {
			_, err := os.Lstat(ts.MkAbs(name))
			if os.IsNotExist(err) == neg || err != nil && !os.IsNotExist(err) {
				ts.Fatalf("%s: got %v, want %v", name, err, fs.ErrNotExist)
			}
		}
	},
}
