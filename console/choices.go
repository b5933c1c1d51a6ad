package console

import (
	"cmp"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/authprofile/authprofile"
)

// choices are the providers that a profile can name by a template, in the order of
// the list in the form, and the style that shows the fields of the one chosen.
type choices struct {
	list      []choice
	style     []byte
	styleName string // with the hash of what it is
}

// A choice is a provider in that list.
type choice struct {
	authprofile.Provider
	IsOwn     bool   // the service's
	Number    int    // its place in the list, of which the classes and IDs of its elements are made
	Register  string // the address of the built-in row; empty: it is not one to be linked to
	Variables []variable
}

// A variable is one of a provider's, in the form.
type variable struct {
	authprofile.ProviderVariable
	Field   string   // the name of its field
	Allowed []string // sorted; empty: whatever fits a pattern
	TakesNo bool     // it can be left out
}

// titles are what the seed of the form calls providers, whatever their rows do.
var titles = map[string]string{"google": "Google Identity", "microsoft": "Microsoft Identity Platform"}

func newChoices(providers, own []authprofile.Provider) *choices {
	rank := func(p authprofile.Provider) int { return slices.Index([]string{"microsoft", "google"}, p.Name) }
	providers = slices.Clone(providers)
	slices.SortStableFunc(providers, func(a, b authprofile.Provider) int { return cmp.Compare(rank(b), rank(a)) })

	c := new(choices)
	var style strings.Builder
	style.WriteString("@supports selector(:has(*)) {\n.of { display: none; }\n")
	for i, p := range providers {
		p.Title = cmp.Or(titles[p.Name], p.Title)
		ch := choice{Provider: p, Number: i}
		ch.IsOwn = slices.ContainsFunc(own, func(o authprofile.Provider) bool { return o.Name == p.Name })
		if u, err := url.Parse(p.RegisterURL); !ch.IsOwn && err == nil && u.Scheme == "https" {
			ch.Register = p.RegisterURL
		}
		for _, v := range p.Variables {
			ch.Variables = append(ch.Variables, variable{
				ProviderVariable: v,
				Field:            "variable." + p.Name + "." + v.Name,
				Allowed:          slices.Sorted(maps.Keys(v.Values)),
				TakesNo:          v.Optional || v.Default != "",
			})
		}
		c.list = append(c.list, ch)
		fmt.Fprintf(&style, "form:has(.o%d:checked) .t%[1]d { display: block; }\n", i)
	}
	style.WriteString("}\n")
	c.style = []byte(style.String())
	c.styleName = "templates.css?" + hash(c.style)
	return c
}

// byName returns the choice with that name, or nil.
func (c *choices) byName(name string) *choice {
	for i := range c.list {
		if c.list[i].Name == name {
			return &c.list[i]
		}
	}
	return nil
}

// asIs marks what is chosen in the list as a whole template, not the name of a
// provider: one that the form has no fields for.
const asIs = "/"

// split returns what of the form stands for a template: what is chosen in the list,
// and the fields of its variables.
func (c *choices) split(t authprofile.Template) (chosen string, fields map[string]string) {
	name, rest, hasRest := strings.Cut(string(t), "/")
	ch := c.byName(name)
	if t == "" {
		return "", nil
	}
	if ch == nil {
		return asIs + string(t), nil
	}
	var values []string
	if hasRest {
		values = strings.Split(rest, "/")
	}
	extra := len(values) // those for variables that can be left out
	for _, v := range ch.Variables {
		if !v.TakesNo {
			extra--
		}
	}
	fields = make(map[string]string)
	for _, v := range ch.Variables {
		if len(values) == 0 || v.TakesNo && extra <= 0 {
			continue
		}
		if v.TakesNo {
			extra--
		}
		fields[v.Field], values = values[0], values[1:]
	}
	if whole, problems := c.join(name, fields); whole != t || len(problems) > 0 {
		return asIs + string(t), nil
	}
	return name, fields
}

// join makes a template of what is chosen in the list and of the fields of its
// variables. What is wrong with those is told by their names.
func (c *choices) join(chosen string, fields map[string]string) (authprofile.Template, map[string]string) {
	if whole, ok := strings.CutPrefix(chosen, asIs); ok {
		return authprofile.Template(whole), nil
	}
	ch := c.byName(chosen)
	if ch == nil {
		return authprofile.Template(chosen), nil // Save says that it is unknown
	}
	problems := make(map[string]string)
	last := -1 // of the variables that can be left out, the last that is not
	for i, v := range ch.Variables {
		if v.TakesNo && fields[v.Field] != "" {
			last = i
		}
	}
	t := ch.Name
	for i, v := range ch.Variables {
		value := fields[v.Field]
		switch {
		case v.TakesNo && i > last:
			continue
		case value == "" && v.TakesNo:
			value = v.Default
		}
		switch {
		case value == "" && v.TakesNo:
			problems[v.Field] = "is needed for what follows it"
		case value == "":
			problems[v.Field] = "is missing"
		case strings.Contains(value, "/"):
			problems[v.Field] = "has a slash: give it without one"
		}
		t += "/" + value
	}
	return authprofile.Template(t), problems
}

// showStyle answers with the style of the form.
func (e *editor) showStyle(c *call) {
	offered := e.offered()
	h := c.w.Header()
	if "templates.css?"+c.r.URL.RawQuery == offered.styleName {
		h.Set("Cache-Control", "public, max-age=31536000, immutable")
	}
	h.Set("Content-Type", "text/css; charset=utf-8")
	c.w.WriteHeader(http.StatusOK)
	_, _ = c.w.Write(offered.style)
}
