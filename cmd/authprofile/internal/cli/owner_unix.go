//go:build unix

package cli

import (
	"io/fs"
	"os"
	"syscall"
)

// isForeign reports whether a file belongs to a user who is neither this one nor root.
func isForeign(info fs.FileInfo) bool {
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && stat.Uid != 0 && int(stat.Uid) != os.Geteuid()
}
