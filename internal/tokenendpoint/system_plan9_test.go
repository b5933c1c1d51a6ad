package tokenendpoint

import "syscall"

// What the system says of a connection. Plan 9 has no numbers for errors.
var (
	errRefused = syscall.NewError("connection refused")
	errReset   = syscall.NewError("connection reset")
)
