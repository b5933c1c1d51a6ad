package cli

import (
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

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
