// Package peertest holds the tests that need more than the Go toolchain:
// stores on real databases, flows against real authorization servers, and
// fleets of processes. It is a module of its own so that programs that import
// the library do not depend on the drivers and servers. Tests that take long are
// skipped without the flag -long:
//
//	go test ./internal/peertest/... -long
package peertest
