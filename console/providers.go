package console

import (
	"cmp"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/authprofile/authprofile"
)

// providers are the built-in ones and those of the Manager, which come before built-in
// ones of the same name, sorted by title.
func (h *Handler) providers() []authprofile.Provider {
	list := slices.Clone(h.Manager.Providers)
	for _, p := range authprofile.Providers() {
		if !h.isOwn(p.Name) {
			list = append(list, p)
		}
	}
	slices.SortFunc(list, func(a, b authprofile.Provider) int {
		return strings.Compare(strings.ToLower(a.Title), strings.ToLower(b.Title))
	})
	return list
}

// isOwn reports whether the provider of that name is the service's own.
func (h *Handler) isOwn(name string) bool {
	return slices.ContainsFunc(h.Manager.Providers, func(own authprofile.Provider) bool { return own.Name == name })
}

func (h *Handler) providerRoutes() map[string]route {
	return map[string]route{"providers": {get: h.showProviders}, "provider": {get: h.showProvider}}
}

// A providerView is one provider.
type providerView struct {
	*authprofile.Provider
	Own       bool // the service's own
	Problem   string
	Link      string // RegisterURL, if it may be a link
	Variables []templateVariable
	Addresses []providerAddress
}

// A templateVariable is a variable of a template.
type templateVariable struct {
	authprofile.ProviderVariable
	Choices []variableChoice // in place of what Pattern or Host say
}

// A variableChoice is an allowed value of a variable, and what it stands for.
type variableChoice struct{ Value, Text string }

type providerAddress struct{ Name, URL string }

func (h *Handler) showProviders(c *call) {
	var list []providerView
	for _, p := range h.providers() {
		list = append(list, providerView{Provider: &p, Own: h.isOwn(p.Name)})
	}
	c.show(http.StatusOK, "providers", c.view("Providers", list))
}

func (h *Handler) showProvider(c *call) {
	list := h.providers()
	i := slices.IndexFunc(list, func(p authprofile.Provider) bool { return p.Name == c.query.Get("name") })
	if i < 0 {
		c.problem(http.StatusNotFound, "There is no such provider", "The list of providers shows those that a profile can use.")
		return
	}
	p := &list[i]
	v := &providerView{Provider: p, Own: h.isOwn(p.Name)}
	if v.Own {
		if err := p.Validate(); err != nil {
			v.Problem = err.Error()
		}
	} else if u, err := url.Parse(p.RegisterURL); err == nil && u.Scheme == "https" && u.Host != "" {
		v.Link = p.RegisterURL
	}
	for _, variable := range p.Variables {
		one := templateVariable{ProviderVariable: variable}
		for _, value := range slices.Sorted(maps.Keys(variable.Values)) {
			one.Choices = append(one.Choices, variableChoice{value, variable.Values[value]})
		}
		v.Variables = append(v.Variables, one)
	}
	v.Addresses = addressesOf(p)
	c.show(http.StatusOK, "provider", c.view("Provider: "+cmp.Or(p.Title, p.Name), v))
}

// addressesOf are those that the row has.
func addressesOf(p *authprofile.Provider) []providerAddress {
	list := []providerAddress{
		{"Discovery document", p.DiscoveryURL},
		{"Authorization address", p.AuthURL},
		{"Token address", p.TokenURL},
		{"Token address of renewals", p.RefreshURL},
	}
	for _, request := range []struct {
		name string
		*authprofile.ProviderRequest
	}{{"Token address of applications", p.App}, {"Revocation address", p.Revocation}, {"Account address", p.Account}} {
		if request.ProviderRequest != nil {
			list = append(list, providerAddress{request.name, request.URL})
		}
	}
	return slices.DeleteFunc(list, func(a providerAddress) bool { return a.URL == "" })
}
