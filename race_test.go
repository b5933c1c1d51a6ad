//go:build race

package authprofile_test

const raceEnabled = true
