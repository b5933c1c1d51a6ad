package catalog

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// A program that uses no template does not pay for the catalogue: what the package
// allocates when a program starts is less than its text alone. The runtime tells
// it, of a process that runs no test.
func TestStartReadsNoRows(t *testing.T) {
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), "GODEBUG=inittrace=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	const name = "github.com/authprofile/authprofile/internal/catalog"
	traced := false
	for line := range strings.Lines(string(out)) {
		var path string
		var at, clock float64
		var bytes, allocs int
		// init encoding/json @1.5 ms, 0.013 ms clock, 96 bytes, 2 allocs
		if _, err := fmt.Sscanf(line, "init %s @%f ms, %f ms clock, %d bytes, %d allocs", &path, &at, &clock, &bytes, &allocs); err != nil {
			continue
		}
		traced = true
		if path == name && bytes > len(JSON)/2 {
			t.Errorf("got %d bytes at the start, want less than the catalogue takes", bytes)
		}
	}
	if !traced {
		t.Errorf("got no trace of what packages do at the start:\n%s", out)
	}
}

// Nor does a profile without a template, whose template is the empty text.
func TestNoTemplateReadsNoRows(t *testing.T) {
	read := builtIn
	defer func() { builtIn = read }()
	builtIn = func() map[string]*entry {
		t.Error("the built-in rows are read")
		return nil
	}
	for _, c := range []*Catalog{{}, New([]*Row{goodRow()})} {
		if _, err := c.Lookup(""); err == nil {
			t.Error("got a provider, want none")
		}
	}
}

func BenchmarkLookup(b *testing.B) {
	for _, template := range []string{"dropbox", "shopify/acme"} {
		b.Run(template, func(b *testing.B) {
			var c Catalog
			if _, err := c.Lookup(template); err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				c.Lookup(template)
			}
		})
	}
}

// BenchmarkFirstLookup reads all rows, as the first lookup of a process does.
func BenchmarkFirstLookup(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		rows, err := Parse([]byte(JSON))
		if err != nil {
			b.Fatal(err)
		}
		if _, err := index(rows)["dropbox"].provider(nil); err != nil {
			b.Fatal(err)
		}
	}
}
