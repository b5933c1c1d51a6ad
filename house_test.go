package authprofile_test

import (
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const modulePath = "github.com/authprofile/authprofile"

// layers are the files of the package, the lowest layer first. A file may name
// the definitions of its own layer and of those before it.
var layers = [][]string{
	// What is stored, and the errors.
	{"authprofile.go", "store.go", "secret.go", "errors.go", "validate.go", "templates.go", "pages.go", "memstore.go", "notice.go", "trace.go", "catalogue.go"},
	// What is known of a provider, what is sent, what an answer means, and what
	// is told of it.
	{"provider.go", "keys.go", "par.go", "resource.go", "dialect.go", "request.go", "probe.go", "expiry.go", "failure.go", "due.go", "events.go", "tasks.go"},
	// How a grant is stored, and who may renew it.
	{"persist.go", "lease.go", "company.go", "memo.go", "account.go"},
	// One renewal.
	{"renewal.go", "outcome.go"},
	// The renewals in progress.
	{"renewals.go"},
	// What is done about grants that are due, and what is told of them.
	{"pace.go", "records.go", "notices.go", "keeper.go"},
	// What callers call.
	{"manager.go", "token.go", "client.go", "flows.go", "callback.go", "redirect.go", "grants.go", "discovery.go", "maintain.go", "check.go", "bound.go"},
}

// maxFileLines is the longest that a file of the package may be.
const maxFileLines = 600

// packageFiles parses the files of the package in a directory, tests not
// included.
func packageFiles(t *testing.T, fset *token.FileSet, dir string) map[string]*ast.File {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	files := make(map[string]*ast.File)
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		files[name], err = parser.ParseFile(fset, name, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
	}
	return files
}

func TestFilesAreShort(t *testing.T) {
	fset := token.NewFileSet()
	files := packageFiles(t, fset, ".")
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if got := fset.File(files[name].FileStart).LineCount(); got > maxFileLines {
			t.Errorf("%s: got %d lines, want at most %d", name, got, maxFileLines)
		}
	}
}

// The internal packages can be read and tested without the package that is
// built of them.
func TestInternalPackagesDoNotImportTheRoot(t *testing.T) {
	packages := make(map[string]bool)
	err := filepath.WalkDir("internal", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if _, err := os.Stat(filepath.Join(path, "go.mod")); err == nil || d.Name() == "testdata" {
				return fs.SkipDir
			}
			return nil
		}
		if filepath.Ext(path) != ".go" {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		packages[filepath.Dir(path)] = true
		for _, spec := range file.Imports {
			if got, _ := strconv.Unquote(spec.Path.Value); got == modulePath {
				t.Errorf("%s: got an import of %s, want none", filepath.ToSlash(path), got)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(packages) < 2 {
		t.Errorf("got %d internal packages, want some", len(packages))
	}
}

// A file can be read with the layers below it alone.
func TestFilesNameNothingAboveThem(t *testing.T) {
	fset := token.NewFileSet()
	files := packageFiles(t, fset, ".")
	layerOf := make(map[string]int)
	for i, layer := range layers {
		for _, name := range layer {
			if files[name] == nil {
				t.Errorf("got no %s, want the files of the layers", name)
			}
			layerOf[name] = i
		}
	}
	var parsed []*ast.File
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if _, ok := layerOf[name]; !ok {
			t.Errorf("%s: got a file without a layer, want it in one", name)
		}
		parsed = append(parsed, files[name])
	}
	var firstError error
	conf := types.Config{Importer: compiled(t, fset), Error: func(err error) {
		if firstError == nil {
			firstError = err
		}
	}}
	info := &types.Info{Uses: make(map[*ast.Ident]types.Object)}
	pkg, _ := conf.Check(modulePath, fset, parsed, info)
	if firstError != nil {
		t.Fatal(firstError)
	}

	type reference struct{ user, definition, owner string }
	first := make(map[reference]token.Position)
	inside := 0
	for ident, obj := range info.Uses {
		if obj.Pkg() != pkg {
			continue
		}
		inside++
		at := fset.Position(ident.Pos())
		owner := fset.Position(obj.Pos()).Filename
		up, known := layerOf[owner]
		if own, ok := layerOf[at.Filename]; !known || !ok || own >= up {
			continue
		}
		r := reference{at.Filename, definitionName(obj), owner}
		if before, ok := first[r]; !ok || at.Offset < before.Offset {
			first[r] = at
		}
	}
	if inside == 0 {
		t.Fatal("got no uses of the package's definitions, want some")
	}
	var lines []string
	for r, at := range first {
		lines = append(lines, at.String()+": got "+r.definition+" of "+r.owner+", want nothing of a higher layer")
	}
	slices.Sort(lines)
	for _, line := range lines {
		t.Error(line)
	}
}

// definitionName returns the name of a definition, with its type if it is a
// method.
func definitionName(obj types.Object) string {
	f, ok := obj.(*types.Func)
	if !ok || f.Signature().Recv() == nil {
		return obj.Name()
	}
	recv := f.Signature().Recv().Type()
	if p, ok := recv.(*types.Pointer); ok {
		recv = p.Elem()
	}
	if named, ok := recv.(*types.Named); ok {
		return named.Obj().Name() + "." + obj.Name()
	}
	return obj.Name()
}

// compiled returns an importer of what the package imports, as the go command
// has compiled it.
func compiled(t *testing.T, fset *token.FileSet) types.Importer {
	t.Helper()
	out, err := exec.Command("go", "list", "-export", "-deps", "-f", "{{if .Export}}{{.ImportPath}} {{.Export}}{{end}}", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	exports := make(map[string]string)
	for line := range strings.Lines(string(out)) {
		path, file, _ := strings.Cut(strings.TrimSpace(line), " ")
		exports[path] = file
	}
	return importer.ForCompiler(fset, "gc", func(path string) (io.ReadCloser, error) { return os.Open(exports[path]) })
}
