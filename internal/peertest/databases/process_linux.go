package databases

import (
	"bytes"
	"fmt"
	"os"
	"os/user"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// nobody is the user of that name, if this process is root's: both servers
// refuse to run as root. Otherwise it is nil.
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

// giveAway makes a directory belong to the user that the servers run as.
func giveAway(dir string) error {
	if nobody == nil {
		return nil
	}
	return os.Chown(dir, int(nobody.Uid), int(nobody.Gid))
}

// killTree ends a process and those that it has started: the children of
// PostgreSQL go on answering for a moment after their parent has ended. They are
// not in its process group. It is stopped first, so that it starts no new ones.
func killTree(p *os.Process) {
	p.Signal(syscall.SIGSTOP)
	list, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", p.Pid, p.Pid))
	p.Kill()
	var children []int
	for _, f := range strings.Fields(string(list)) {
		if pid, err := strconv.Atoi(f); err == nil {
			syscall.Kill(pid, syscall.SIGKILL)
			children = append(children, pid)
		}
	}
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for _, pid := range children {
		for range 1000 {
			// The process that inherits them may reap them late.
			stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
			if _, state, _ := bytes.Cut(stat, []byte(") ")); err != nil || bytes.HasPrefix(state, []byte("Z")) {
				break
			}
			<-tick.C
		}
	}
}
