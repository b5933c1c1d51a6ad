// Package recorded has discovery documents of the catalogue's providers, as
// they were published. Tests and package providertest read them; the library
// does not.
package recorded

import "embed"

//go:embed *.json
var files embed.FS

// Document returns a document by its name, such as "google". It panics if
// there is none.
func Document(name string) string {
	text, err := files.ReadFile(name + ".json")
	if err != nil {
		panic(err)
	}
	return string(text)
}
