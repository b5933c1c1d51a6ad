package authprofile_test

import (
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/authprofile/authprofile"
)

// readmeProgram is what the code in README.md stands in: one function for each
// block, with the names that it leaves to the reader.
const readmeProgram = `package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"log"
	"net/http"
	"os"
	"testing"

	"golang.org/x/oauth2"

	"github.com/authprofile/authprofile"
	"github.com/authprofile/authprofile/assertion"
	"github.com/authprofile/authprofile/console"
	"github.com/authprofile/authprofile/providertest"
	"github.com/authprofile/authprofile/sqlstore"
	"github.com/authprofile/authprofile/webhook"
)

var (
	ctx          context.Context
	t            testing.TB
	m            *authprofile.Manager
	profile      *authprofile.Profile
	userID       string
	db           *sql.DB
	conf         *oauth2.Config
	h            *authprofile.RedirectHandler
	loggedInUser func(*http.Request) (string, error)
	operator     func(*http.Request) (string, error)
	loadToken    func(*sql.DB, string) (*oauth2.Token, error)
	saveToken    func(*sql.DB, string, *oauth2.Token) error
	_, _         = os.Getenv, errors.Is
)

func main() {}
`

// The code in README.md compiles: readers paste it.
func TestReadmeCompiles(t *testing.T) {
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```go\n(.*?)```").FindAllStringSubmatch(string(text), -1)
	if got, min := len(blocks), 5; got < min {
		t.Fatalf("got %d blocks of code, want at least %d", got, min)
	}
	var program strings.Builder
	program.WriteString(readmeProgram)
	declared := regexp.MustCompile(`(?m)^(\w+(?:, \w+)*) :=`)
	for _, b := range blocks {
		fmt.Fprintf(&program, "\nfunc _() {\n%s\n", b[1])
		for _, names := range declared.FindAllStringSubmatch(b[1], -1) {
			for name := range strings.SplitSeq(names[1], ", ") {
				fmt.Fprintf(&program, "_ = %s\n", name) // a block may leave its results to the reader
			}
		}
		program.WriteString("}\n")
	}
	file := filepath.Join(t.TempDir(), "main.go")
	if err := os.WriteFile(file, []byte(program.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("go", "vet", file).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// The rows in the pages are ones that a Manager takes, and a row of the built-in
// catalogue is as it stands there.
func TestRowsInThePages(t *testing.T) {
	builtIn := make(map[string]authprofile.Provider)
	for _, p := range authprofile.Providers() {
		builtIn[p.Name] = p
	}
	for _, name := range []string{"README.md", "CONTRIBUTING.md"} {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		blocks := regexp.MustCompile("(?s)```json\n\\[?(.*?)\\]?\n```").FindAllStringSubmatch(string(text), -1)
		if len(blocks) == 0 {
			t.Errorf("%s: got no row, want one", name)
		}
		for _, b := range blocks {
			var p authprofile.Provider
			if err := json.Unmarshal([]byte(b[1]), &p); err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			if err := p.Validate(); err != nil {
				t.Errorf("%s, %s: %v", name, p.Name, err)
			}
			if own, ok := builtIn[p.Name]; ok && !reflect.DeepEqual(p, own) {
				t.Errorf("%s: got %+v, want the row of the catalogue, %+v", name, p, own)
			}
		}
	}
}

// What the pages link to in the repository is there, and so are their pictures.
func TestLinks(t *testing.T) {
	link := regexp.MustCompile(`(?:\]\(|src(?:set)?=")([^)"\s]+)[)"]`)
	_, absent := os.Stat("examples") // modules of their own are not part of this one where it is downloaded
	links := 0
	for _, name := range sources(t) {
		if path.Ext(name) != ".md" {
			continue
		}
		text, err := os.ReadFile(filepath.FromSlash(name))
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range link.FindAllStringSubmatch(string(text), -1) {
			u, err := url.Parse(m[1])
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			if u.IsAbs() || u.Path == "" {
				continue
			}
			links++
			target := path.Join(path.Dir(name), u.Path)
			if _, err := os.Stat(filepath.FromSlash(target)); err != nil && absent == nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	if links == 0 {
		t.Error("got no links, want some")
	}
}
