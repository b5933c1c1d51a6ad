package console

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"html/template"
	"io"
	"io/fs"
	"net/http"
	"path"
	"slices"
	"strings"
)

//go:embed templates
var embedded embed.FS

// A look is how pages are shown: their templates, style and script.
type look struct {
	pages                 map[string]*template.Template // by the name of the file, without ".html"
	style, script, icon   []byte
	styleName, scriptName string // with the hash of what they are, so that browsers may keep them
	iconName              string
}

// newLook makes a look of the templates of this package, and those of the service.
func newLook(own fs.FS) (*look, error) {
	script, err := embedded.ReadFile("templates/console.js")
	if err != nil {
		return nil, err
	}
	icon, err := embedded.ReadFile("templates/icon.svg")
	if err != nil {
		return nil, err
	}
	names, err := fs.Glob(embedded, "templates/*.html")
	if err != nil {
		return nil, err
	}
	l := &look{pages: make(map[string]*template.Template), script: script, icon: icon}
	if err := l.addStyles(embedded, "templates/*.css"); err != nil {
		return nil, err
	}
	for _, name := range names {
		base := strings.TrimSuffix(path.Base(name), ".html")
		if base == "layout" {
			continue
		}
		t, err := template.New(base).Funcs(functions).ParseFS(embedded, "templates/layout.html", name)
		if err == nil {
			err = addOwn(t, own)
		}
		if err != nil {
			return nil, fmt.Errorf("console: %w", err)
		}
		l.pages[base] = t
	}
	if own != nil {
		if err := errors.Join(l.addStyles(own, "*.css"), l.try()); err != nil {
			return nil, fmt.Errorf("console: %w", err)
		}
	}
	l.styleName = "style.css?" + hash(l.style)
	l.scriptName = "console.js?" + hash(l.script)
	l.iconName = "icon.svg?" + hash(l.icon)
	return l, nil
}

// try makes a page, so that what cannot be made by the service's templates is known
// before the first request.
func (l *look) try() error {
	for _, v := range []*view{{Page: ""}, {Title: "Title", ForUsers: true, Person: "Person", Page: ""}} {
		t, err := l.pages["problem"].Clone()
		if err == nil {
			err = t.ExecuteTemplate(io.Discard, "layout", v)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// ownTemplates are those that the service may define in place of what there is.
var ownTemplates = []string{"title", "head", "brand", "footer"}

// addStyles adds all styles of that name, in the order of their names.
func (l *look) addStyles(files fs.FS, pattern string) error {
	names, err := fs.Glob(files, pattern)
	if err != nil {
		return err
	}
	for _, name := range names {
		text, err := fs.ReadFile(files, name)
		if err != nil {
			return err
		}
		l.style = slices.Concat(l.style, text, []byte("\n"))
	}
	return nil
}

// addOwn adds the service's templates to those of a page.
func addOwn(t *template.Template, own fs.FS) error {
	if own == nil {
		return nil
	}
	names, err := fs.Glob(own, "*.html")
	if err != nil {
		return err
	}
	for _, name := range names {
		text, err := fs.ReadFile(own, name)
		if err != nil {
			return err
		}
		// Under a name of its own, so that only what the file defines counts.
		name = "own/" + name
		file, err := template.New(name).Funcs(functions).Parse(string(text))
		if err != nil {
			return err
		}
		for _, defined := range file.Templates() {
			known := t.Lookup(defined.Name())
			if known != nil && known.Tree != nil && !slices.Contains(ownTemplates, defined.Name()) {
				return fmt.Errorf("%s defines %q, which is a template of the console, or of another file: give it another name", name, defined.Name())
			}
		}
		if _, err := t.New(name).Parse(string(text)); err != nil {
			return err
		}
	}
	return nil
}

func hash(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:8])
}

// serveAsset answers requests for the style, the script and the icon.
func (c *call) serveAsset() bool {
	var text []byte
	var contentType, name string
	switch c.name {
	case "style.css":
		text, contentType, name = c.look.style, "text/css; charset=utf-8", c.look.styleName
	case "console.js":
		text, contentType, name = c.look.script, "text/javascript; charset=utf-8", c.look.scriptName
	case "icon.svg":
		text, contentType, name = c.look.icon, "image/svg+xml", c.look.iconName
	default:
		return false
	}
	h := c.w.Header()
	if c.r.Method != http.MethodGet && c.r.Method != http.MethodHead {
		h.Set("Allow", "GET, HEAD")
		http.Error(c.w, "Method Not Allowed", http.StatusMethodNotAllowed)
		return true
	}
	if "?"+c.r.URL.RawQuery == strings.TrimPrefix(name, c.name) {
		h.Set("Cache-Control", "public, max-age=31536000, immutable")
	}
	h.Set("Content-Type", contentType)
	_, _ = c.w.Write(text)
	return true
}
