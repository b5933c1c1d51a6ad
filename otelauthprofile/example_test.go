package otelauthprofile_test

import (
	"log"

	"github.com/authprofile/authprofile"
	"github.com/authprofile/authprofile/otelauthprofile"
)

// The providers of meters and tracers are the global ones here, as a program sets
// them when it starts.
func Example() {
	m := &authprofile.Manager{Trace: otelauthprofile.New()}
	registration, err := otelauthprofile.ObserveGrants(m)
	if err != nil {
		log.Fatal(err)
	}
	defer registration.Unregister()
}
