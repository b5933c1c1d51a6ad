// Table writes docs/providers.md, which says for people what the built-in
// catalogue says:
//
//	go run ./internal/catalog/table > docs/providers.md
package main

import (
	"cmp"
	"fmt"
	"io"
	"log"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/authprofile/authprofile/internal/catalog"
)

func main() {
	rows, err := catalog.Parse([]byte(catalog.JSON))
	if err != nil {
		log.Fatal(err)
	}
	if _, err := io.WriteString(os.Stdout, page(rows)); err != nil {
		log.Fatal(err)
	}
}

const head = `<!-- Made by go run ./internal/catalog/table of internal/catalog/providers.json. -->

# Providers

These %d providers are built in. A profile names one by its template: the name, and then a value for each variable in braces. A variable in brackets can be left out; required ones get their values first. A provider grants tokens to users, and some also to an application itself ("app"). PKCE is sent unless the provider fails with it; where it is required, the provider refuses requests without it. Lifetimes are what the providers say, and the revision is when a row was last checked. An application can correct a row, or add providers, in ` + "`Manager.Providers`" + `.

`

const variablesHead = `
## Variables

A form in which people choose a provider asks for these.

`

const changesHead = `
## Changes at providers

`

// page returns the whole of docs/providers.md.
func page(rows []*catalog.Row) string {
	var b strings.Builder
	fmt.Fprintf(&b, head, len(rows))
	line(&b, "Provider", "Template", "Grants", "PKCE", "Refresh token", "What to set at registration", "Revision")
	line(&b, "---", "---", "---", "---", "---", "---", "---")
	for _, r := range rows {
		grants := "user"
		if r.App != nil {
			grants = "user, app"
		}
		line(&b, fmt.Sprintf("[%s](%s)", r.Title, r.RegisterURL), code(r.Usage()), grants, cmp.Or(r.PKCE, "sent"), r.RefreshToken, r.Registration, r.Revision)
	}

	b.WriteString(variablesHead)
	line(&b, "Provider", "Variable", "What it is", "Example", "If left out")
	line(&b, "---", "---", "---", "---", "---")
	for _, r := range rows {
		for _, v := range r.Variables {
			what := v.Title
			if v.Values != nil {
				what += " (`" + strings.Join(slices.Sorted(maps.Keys(v.Values)), "`, `") + "`)"
			}
			without := "required"
			switch {
			case v.Default != "":
				without = code(v.Default)
			case v.Optional:
				without = "none"
			}
			line(&b, r.Title, code(v.Name), what, code(v.Example), without)
		}
	}

	b.WriteString(changesHead)
	for _, r := range rows {
		for _, c := range r.Changes {
			fmt.Fprintf(&b, "- %s, %s\n", r.Title, c)
		}
	}
	return b.String()
}

// line writes a line of a table.
func line(b *strings.Builder, cells ...string) {
	for _, c := range cells {
		b.WriteString("| " + strings.ReplaceAll(c, "|", `\|`) + " ")
	}
	b.WriteString("|\n")
}

func code(s string) string { return "`" + s + "`" }
