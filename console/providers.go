package console

import (
	"net/http"
	"slices"
	"strings"

	"github.com/authprofile/authprofile"
)

// providers are the built-in ones and those of the Manager, which come before built-in
// ones of the same name, sorted by title.
func (h *Handler) providers() []authprofile.Provider {
	list := slices.Clone(h.Manager.Providers)
	for _, p := range authprofile.Providers() {
		if !slices.ContainsFunc(h.Manager.Providers, func(own authprofile.Provider) bool { return own.Name == p.Name }) {
			list = append(list, p)
		}
	}
	slices.SortFunc(list, func(a, b authprofile.Provider) int {
		return strings.Compare(strings.ToLower(a.Title), strings.ToLower(b.Title))
	})
	return list
}

func (h *Handler) providerRoutes() map[string]route {
	return map[string]route{"providers": {get: h.showProviders}}
}

func (h *Handler) showProviders(c *call) {
	c.show(http.StatusOK, "providers", c.view("Providers", h.providers()))
}
