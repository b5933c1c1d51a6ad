package databases

import (
	"os"
	"os/user"
	"strconv"
	"syscall"
)

// Both servers refuse to run as root.
var nobody = func() *syscall.Credential {
	if os.Getuid() != 0 {
		return nil
	}
	u, err := user.Lookup("nobody")
	if err != nil {
		return nil
	}
	uid, _ := strconv.ParseUint(u.Uid, 10, 32)
	gid, _ := strconv.ParseUint(u.Gid, 10, 32)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
}()

func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Credential: nobody, Pdeathsig: syscall.SIGKILL}
}

// giveAway makes a directory belong to whom the servers run as.
func giveAway(dir string) error {
	if nobody == nil {
		return nil
	}
	return os.Chown(dir, int(nobody.Uid), int(nobody.Gid))
}
