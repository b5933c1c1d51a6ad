//go:build !plan9

package tokenendpoint

import "syscall"

// What the system says of a connection.
const (
	errRefused = syscall.ECONNREFUSED
	errReset   = syscall.ECONNRESET
)
