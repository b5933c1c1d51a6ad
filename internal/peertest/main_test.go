package peertest

import (
	"testing"

	"github.com/authprofile/authprofile/internal/peertest/databases"
)

func TestMain(m *testing.M) { databases.Main(m) }
