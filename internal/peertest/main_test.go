package peertest

import (
	"os"
	"testing"

	"github.com/authprofile/authprofile/internal/peertest/databases"
	"github.com/authprofile/authprofile/internal/peertest/fleet"
)

func TestMain(m *testing.M) {
	fleet.Main() // returns, unless this is a process of a fleet
	if os.Getenv(storeProcess) != "" {
		serveStores()
		return
	}
	databases.Main(m)
}
