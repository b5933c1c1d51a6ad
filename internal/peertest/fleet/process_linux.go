package fleet

import (
	"os/exec"
	"syscall"
)

// dieWithParent has the system kill a process when the test is killed.
func dieWithParent(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
