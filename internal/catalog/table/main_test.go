package main

import (
	"os"
	"strings"
	"testing"

	"github.com/authprofile/authprofile/internal/catalog"
)

func TestPageIsUpToDate(t *testing.T) {
	rows, err := catalog.Parse([]byte(catalog.JSON))
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("../../../docs/providers.md")
	if err != nil {
		t.Fatal(err)
	}
	got, want := strings.Split(string(text), "\n"), strings.Split(page(rows), "\n")
	for i := range max(len(got), len(want)) {
		if i >= len(got) || i >= len(want) || got[i] != want[i] {
			t.Fatalf("docs/providers.md, line %d: it is not what the catalogue says: go run ./internal/catalog/table > docs/providers.md", i+1)
		}
	}
}

func TestCellsOfATable(t *testing.T) {
	var b strings.Builder
	line(&b, "a|b", "c")
	if got, want := b.String(), "| a\\|b | c |\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
