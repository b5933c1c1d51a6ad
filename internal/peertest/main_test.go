package peertest

import (
	"os"
	"testing"

	"github.com/authprofile/authprofile/internal/peertest/databases"
)

func TestMain(m *testing.M) {
	if os.Getenv(storeProcess) != "" {
		serveStores()
		return
	}
	databases.Main(m)
}
