package authprofile_test

import (
	"bytes"
	"go/ast"
	"go/doc"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Whoever uses this module gets what it requires. Drivers, servers and
// browsers are required by modules that nobody imports.
func TestRequirements(t *testing.T) {
	text, err := os.ReadFile("go.mod")
	if err != nil {
		t.Fatal(err)
	}
	var direct []string
	block := false
	for line := range strings.Lines(string(text)) {
		line, comment, _ := strings.Cut(line, "//")
		fields := strings.Fields(line)
		switch {
		case len(fields) == 0:
			continue
		case fields[0] == "require" && len(fields) == 2 && fields[1] == "(":
			block = true
			continue
		case fields[0] == ")":
			block = false
			continue
		case fields[0] == "require":
			fields = fields[1:]
		case fields[0] == "replace", fields[0] == "exclude", fields[0] == "toolchain", fields[0] == "tool":
			t.Errorf("got %q, want nothing that only holds here", strings.Join(fields, " "))
			continue
		case !block:
			continue
		}
		if strings.TrimSpace(comment) != "indirect" {
			direct = append(direct, fields[0])
		}
	}
	slices.Sort(direct)
	if want := []string{"github.com/coreos/go-oidc/v3", "github.com/go-jose/go-jose/v4", "github.com/google/uuid", "golang.org/x/oauth2"}; !slices.Equal(direct, want) {
		t.Errorf("got direct requirements %q, want %q", direct, want)
	}
}

// The index of the package, as "go doc -short" prints it, fits one screen.
func TestIndexFitsOneScreen(t *testing.T) {
	fset := token.NewFileSet()
	var files []*ast.File
	names, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(fset, name, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
	}
	p, err := doc.NewFromFiles(fset, files, "github.com/authprofile/authprofile")
	if err != nil {
		t.Fatal(err)
	}
	lines := len(p.Consts) + len(p.Vars) + len(p.Funcs)
	for _, typ := range p.Types {
		lines += 1 + len(typ.Consts) + len(typ.Vars) + len(typ.Funcs)
	}
	if lines < 20 || lines > 50 {
		t.Errorf("got %d lines, want some, and at most 50", lines)
	}
	undocumented := func(what, text string) {
		if strings.TrimSpace(text) == "" {
			t.Errorf("%s: got no documentation", what)
		}
	}
	undocumented("package", p.Doc)
	for _, f := range p.Funcs {
		undocumented(f.Name, f.Doc)
	}
	for _, typ := range p.Types {
		undocumented(typ.Name, typ.Doc)
		for _, f := range typ.Funcs {
			undocumented(f.Name, f.Doc)
		}
	}
}

// What is published is finished, and says nothing about the machine that it
// was written on.
func TestSourcesAreFinished(t *testing.T) {
	// In two parts, so that this file may be among the sources.
	unfinished := []string{"TO" + "DO", "FIX" + "ME", "XX" + "X"}
	machine := []string{"/ro" + "ot/", "/wo" + "rk/", "/ho" + "me/", "/Us" + "ers/"}
	names := sources(t)
	if len(names) < 20 {
		t.Fatalf("got %d files, want those of the repository", len(names))
	}
	for _, name := range names {
		text, err := os.ReadFile(filepath.FromSlash(name))
		if err != nil {
			t.Fatal(err)
		}
		for _, words := range [][]string{unfinished, machine} {
			for _, word := range words {
				if i := bytes.Index(text, []byte(word)); i >= 0 {
					t.Errorf("%s:%d: got %q", name, 1+bytes.Count(text[:i], []byte("\n")), word)
				}
			}
		}
	}
}
