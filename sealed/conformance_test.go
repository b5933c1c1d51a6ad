package sealed_test

import (
	"testing"

	"github.com/authprofile/authprofile"
	"github.com/authprofile/authprofile/sealed"
	"github.com/authprofile/authprofile/storetest"
)

func TestStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T) authprofile.Store {
		return sealed.New(new(authprofile.MemStore), newKeyring(t, "k1"))
	})
}

// The Keyrings of replicas need not have the same primary key: they differ while
// a new one is introduced.
func TestSharedStore(t *testing.T) {
	storetest.RunShared(t, func(t *testing.T, n int) []authprofile.Store {
		inner := new(authprofile.MemStore)
		var stores []authprofile.Store
		for i := range n {
			ring := newKeyring(t, "k1", "k2")
			if i%2 == 1 {
				ring = newKeyring(t, "k2", "k1")
			}
			stores = append(stores, sealed.New(inner, ring))
		}
		return stores
	})
}
