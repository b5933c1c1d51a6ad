package authprofile_test

import (
	"bytes"
	"go/doc"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// A program that uses this module gets what it requires. Drivers, servers and
// browsers are required by modules that no program imports.
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
	files := slices.Collect(maps.Values(packageFiles(t, fset, ".")))
	p, err := doc.NewFromFiles(fset, files, modulePath)
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
			t.Errorf("%s: got no documentation, want some", what)
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
					t.Errorf("%s:%d: got %q, want none of it", name, 1+bytes.Count(text[:i], []byte("\n")), word)
				}
			}
		}
	}
}

// TestThreat012_NoBuildWithoutChecks: no build tag takes anything out.
func TestThreat012_NoBuildWithoutChecks(t *testing.T) {
	suffix := regexp.MustCompile(`_(aix|android|darwin|freebsd|illumos|ios|js|linux|netbsd|openbsd|plan9|solaris|unix|wasip1|windows|386|amd64|arm|arm64|wasm)\.go$`)
	files := 0
	err := filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && name != "." {
			if _, err := os.Stat(filepath.Join(name, "go.mod")); err == nil || strings.HasPrefix(d.Name(), ".") {
				return filepath.SkipDir // another module
			}
		}
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return nil // tests may want to know about the race detector
		}
		files++
		text, err := os.ReadFile(name)
		if strings.Contains("\n"+string(text), "\n//go:build") || suffix.MatchString(name) {
			t.Errorf("%s: got a build constraint, want none", name)
		}
		return err
	})
	if err != nil || files < 30 {
		t.Fatal(files, err)
	}
}
