package main

import (
	"os"
	"strings"
	"testing"
)

func TestPageIsCurrent(t *testing.T) {
	got, err := os.ReadFile("../../../../docs/commandline.md")
	if err != nil {
		t.Fatal(err)
	}
	page, err := page()
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Split(string(page), "\n")
	for i, line := range strings.Split(string(got), "\n") {
		if i >= len(want) || line != want[i] {
			t.Fatalf("docs/commandline.md, line %d: it is not what the commands say: go run ./internal/reference > ../../docs/commandline.md", i+1)
		}
	}
	if string(got) != string(page) {
		t.Error("docs/commandline.md ends too early: go run ./internal/reference > ../../docs/commandline.md")
	}
}
