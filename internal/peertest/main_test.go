package peertest

import (
	"testing"

	"github.com/authprofile/authprofile/internal/peertest/databases"
	"github.com/authprofile/authprofile/internal/peertest/fleet"
)

func TestMain(m *testing.M) {
	fleet.Main() // the processes of a fleet are this program, started once more
	databases.Main(m)
}
