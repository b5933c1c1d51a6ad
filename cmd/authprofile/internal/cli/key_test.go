package cli

import (
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

func init() {
	// first NAME [FILE], second NAME [FILE]: set a variable to the ID of the first or
	// second key of a key file.
	scriptCommands["first"] = func(ts *testscript.TestScript, neg bool, args []string) { setKeyID(ts, 0, args) }
	scriptCommands["second"] = func(ts *testscript.TestScript, neg bool, args []string) { setKeyID(ts, 1, args) }

	// older FILE SECONDS: the file was changed so long ago.
	scriptCommands["older"] = func(ts *testscript.TestScript, neg bool, args []string) {
		seconds, err := strconv.Atoi(args[1])
		ts.Check(err)
		at := time.Now().Add(-time.Duration(seconds) * time.Second)
		ts.Check(os.Chtimes(ts.MkAbs(args[0]), at, at))
	}
	// privately FILE: only its owner can read the file.
	scriptCommands["privately"] = func(ts *testscript.TestScript, neg bool, args []string) {
		ts.Check(os.Chmod(ts.MkAbs(args[0]), 0o600))
	}
}

func setKeyID(ts *testscript.TestScript, n int, args []string) {
	name := "home/.config/authprofile/keys"
	if len(args) > 1 {
		name = args[1]
	}
	k, err := parseKeys(ts.ReadFile(name))
	ts.Check(err)
	ts.Setenv(args[0], strings.TrimSpace(k.keys[n].ID))
}
