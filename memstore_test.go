package authprofile_test

import (
	"testing"

	"github.com/authprofile/authprofile"
	"github.com/authprofile/authprofile/storetest"
)

func TestMemStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T) authprofile.Store { return new(authprofile.MemStore) })
}
