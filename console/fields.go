package console

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/authprofile/authprofile"
)

// A field is one of a profile, as text in the form.
type field struct {
	name  string // in the form
	label string
	said  string // what it is called in a sentence; empty: as its label says
	path  string // in FieldError.Field
	hint  string
	shown string // the class that hides it where it does not apply
	lines bool   // it has several lines
	kind  string // of the input; empty: text

	text    func(p *authprofile.Profile) string
	read    func(p *authprofile.Profile, text string) (problem string)
	applies func(p *authprofile.Profile) bool // to p's type and its way of naming the provider; nil: to all
}

// plain is a field that is text in the profile, too.
func plain(at func(p *authprofile.Profile) *string, f field) *field {
	f.text = func(p *authprofile.Profile) string { return *at(p) }
	f.read = func(p *authprofile.Profile, text string) string {
		*at(p) = text
		return ""
	}
	return &f
}

// trimmed is plain without the space at both ends that copying brings along.
func trimmed(at func(p *authprofile.Profile) *string, f field) *field {
	g := plain(at, f)
	g.read = func(p *authprofile.Profile, text string) string {
		*at(p) = strings.TrimSpace(text)
		return ""
	}
	return g
}

func isUser(p *authprofile.Profile) bool { return p.Type != authprofile.TypeApp }

func ownAddresses(p *authprofile.Profile) bool { return p.Template == "" }

// fields are those of a profile but its ID, type, template, secret and key. What
// decides whether others apply comes first.
var fields = []*field{
	plain(func(p *authprofile.Profile) *string { return &p.Name },
		field{name: "name", label: "Name", path: "Name"}),
	plain(func(p *authprofile.Profile) *string { return &p.Description },
		field{name: "description", label: "Description", path: "Description", lines: true}),
	plain(func(p *authprofile.Profile) *string { return &p.ClientID },
		field{name: "client_id", label: "Client ID", path: "ClientID"}),

	trimmed(func(p *authprofile.Profile) *string { return &p.Endpoints.DiscoveryURL },
		field{name: "discovery_url", label: "Discovery document", path: "Endpoints.DiscoveryURL", shown: "for-own", applies: ownAddresses,
			hint: "The full address, which often ends with /.well-known/openid-configuration. It replaces the other addresses, so leave them empty."}),
	trimmed(func(p *authprofile.Profile) *string { return &p.Endpoints.AuthURL },
		field{name: "auth_url", label: "Authorization address", path: "Endpoints.AuthURL", shown: "for-own for-user for-addresses",
			applies: func(p *authprofile.Profile) bool {
				return isUser(p) && ownAddresses(p) && p.Endpoints.DiscoveryURL == ""
			}}),
	trimmed(func(p *authprofile.Profile) *string { return &p.Endpoints.TokenURL },
		field{name: "token_url", label: "Token address", path: "Endpoints.TokenURL", shown: "for-own for-addresses",
			applies: func(p *authprofile.Profile) bool { return ownAddresses(p) && p.Endpoints.DiscoveryURL == "" }}),

	{name: "scopes", label: "Scopes", path: "Scopes", hint: "Separated by spaces. A template adds the scopes that a refresh token needs.",
		text: func(p *authprofile.Profile) string { return strings.Join(p.Scopes, " ") },
		read: func(p *authprofile.Profile, text string) string { p.Scopes = strings.Fields(text); return "" }},

	{name: "auth_method", label: "Client authentication", path: "AuthMethod",
		text: func(p *authprofile.Profile) string { return string(p.AuthMethod) },
		read: func(p *authprofile.Profile, text string) string {
			p.AuthMethod = authprofile.AuthMethod(text)
			return ""
		}},
	{name: "secret_expires", label: "Client secret ends", path: "SecretExpires", kind: "date", said: "The end of the client secret",
		hint: "The day on which the secret or key ends, as the provider shows it. The console warns you before.",
		text: func(p *authprofile.Profile) string {
			if p.SecretExpires.IsZero() {
				return ""
			}
			return p.SecretExpires.UTC().Format(time.DateOnly)
		},
		read: func(p *authprofile.Profile, text string) (problem string) {
			p.SecretExpires = time.Time{}
			if text = strings.TrimSpace(text); text == "" {
				return ""
			}
			var err error
			if p.SecretExpires, err = time.Parse(time.DateOnly, text); err != nil {
				return "is not a day such as 2027-01-31"
			}
			return ""
		}},
	trimmed(func(p *authprofile.Profile) *string { return &p.RedirectURL },
		field{name: "redirect_url", label: "Redirect address of its own", path: "RedirectURL", shown: "for-user", applies: isUser,
			hint: "In place of that of the service. It is sent exactly as it stands here."}),
	trimmed(func(p *authprofile.Profile) *string { return &p.Endpoints.RevocationURL },
		field{name: "revocation_url", label: "Revocation address", path: "Endpoints.RevocationURL", shown: "for-own", applies: ownAddresses}),
	trimmed(func(p *authprofile.Profile) *string { return &p.Endpoints.PARURL },
		field{name: "par_url", label: "Pushed authorization requests address", path: "Endpoints.PARURL", shown: "for-user", applies: isUser}),
	trimmed(func(p *authprofile.Profile) *string { return &p.Endpoints.DeviceAuthURL },
		field{name: "device_auth_url", label: "Device authorization address", path: "Endpoints.DeviceAuthURL", shown: "for-own", applies: ownAddresses}),

	paramsField(func(p *authprofile.Profile) *url.Values { return &p.Params },
		field{name: "params", label: "Parameters", path: "Params",
			hint: "One to a line: name=value. Of the authorization request, or of the token request for an application. No secrets: they are shown, and stored in the clear."}),
	paramsField(func(p *authprofile.Profile) *url.Values { return &p.TokenParams },
		field{name: "token_params", label: "Token parameters", path: "TokenParams", shown: "for-user", applies: isUser,
			hint: "One to a line: name=value. Of the exchange of a code, and of each renewal. No secrets."}),

	{name: "api_hosts", label: "API hosts", path: "APIHosts", lines: true,
		hint: "The hosts that tokens are sent to, one to a line: api.example.com, or .example.com for all below it. None: any.",
		text: func(p *authprofile.Profile) string { return strings.Join(p.APIHosts, "\n") },
		read: func(p *authprofile.Profile, text string) string {
			p.APIHosts = strings.Fields(text)
			return ""
		}},
	{name: "keep_alive", label: "Keep alive", path: "KeepAlive", shown: "for-user", applies: isUser,
		hint: "The days after which an unused grant is renewed, so that the provider does not end it; or: never. Empty: as the library decides.",
		text: func(p *authprofile.Profile) string {
			switch {
			case p.KeepAlive == 0:
				return ""
			case p.KeepAlive < 0:
				return "never"
			}
			return strconv.FormatFloat(p.KeepAlive.Hours()/24, 'f', -1, 64)
		},
		read: readKeepAlive},
}

// never is a Profile.KeepAlive that says so.
const never = -1 * time.Nanosecond

func readKeepAlive(p *authprofile.Profile, text string) (problem string) {
	text = strings.ToLower(strings.TrimSpace(text))
	switch text {
	case "":
		p.KeepAlive = 0
		return ""
	case "never":
		p.KeepAlive = never
		return ""
	}
	days, err := strconv.ParseFloat(strings.TrimSpace(strings.TrimSuffix(strings.TrimSuffix(text, "s"), "day")), 64)
	ns := days * 24 * float64(time.Hour)
	if err != nil || !(days > 0) || ns >= math.MaxInt64 {
		return "is neither a number of days nor never"
	}
	p.KeepAlive = time.Duration(ns)
	return ""
}

// paramsField is a field with parameters, one to a line.
func paramsField(at func(p *authprofile.Profile) *url.Values, f field) *field {
	f.lines = true
	f.text = func(p *authprofile.Profile) string {
		var lines []string
		for _, name := range slices.Sorted(maps.Keys(*at(p))) {
			for _, value := range (*at(p))[name] {
				lines = append(lines, name+"="+value)
			}
		}
		return strings.Join(lines, "\n")
	}
	f.read = func(p *authprofile.Profile, text string) (problem string) {
		var params url.Values
		for i, line := range strings.Split(text, "\n") {
			if strings.TrimSpace(line) == "" {
				continue
			}
			name, value, ok := strings.Cut(line, "=")
			if !ok {
				problem = fmt.Sprintf("have no = in line %d: write name=value", i+1)
				continue
			}
			if params == nil {
				params = make(url.Values)
			}
			params.Add(strings.TrimSpace(name), value)
		}
		*at(p) = params
		return problem
	}
	return &f
}

// asTyped is what a browser makes of a text in the field when the form is sent back
// unchanged.
func (f *field) asTyped(text string) string {
	text = strings.ReplaceAll(text, "\r\n", "\n")
	if f.lines {
		return strings.ReplaceAll(text, "\r", "\n")
	}
	return strings.NewReplacer("\r", "", "\n", "").Replace(text)
}

// subject is what begins a sentence about the field.
func (f *field) subject() string { return cmp.Or(f.said, f.label) }

// fieldByName returns a field of the table.
func fieldByName(name string) *field {
	for _, f := range fields {
		if f.name == name {
			return f
		}
	}
	return nil
}

// labels are what fields are called that are not in the table, by their names in the
// form and by FieldError.Field.
var labels = []struct{ name, label, path string }{
	{"id", "ID", "ID"},
	{"type", "Type", "Type"},
	{"template", "Template", "Template"},
	{"template", "Addresses", "Endpoints"},
	{"client_secret", "Client secret", "ClientSecret"},
	{"client_key", "Client key", "ClientKey"},
}

// A problem is something wrong with a field.
type problem struct {
	Name string // of the field, in the form
	Text string // a sentence without its full stop
}

// forPeople puts what people see in the place of what programmers do, in the problems
// that the library finds.
var forPeople = strings.NewReplacer(
	`give TypeApp ("app") or TypeUser ("user")`, "choose one of the two",
	"this AuthMethod", "this client authentication",
	"Manager.Assertion", "assertions that the service makes",
	"the Manager", "the service",
	"the Params of", "the parameters of",
)

// problemOf says what a FieldError means in the form. Elements of lists count from
// one there.
func (c *choices) problemOf(e *authprofile.FieldError, p *authprofile.Profile) problem {
	path, index, isElement := strings.Cut(e.Field, "[")
	text := forPeople.Replace(e.Problem)
	if n, err := strconv.Atoi(strings.TrimSuffix(index, "]")); isElement && err == nil {
		text = fmt.Sprintf("no. %d %s", n+1, text)
	}
	if path == "Template" {
		name, _, _ := strings.Cut(string(p.Template), "/")
		if ch := c.byName(name); ch != nil {
			for _, v := range ch.Variables {
				if rest, ok := strings.CutPrefix(text, "needs as "+v.Name+" "); ok {
					return problem{v.Field, v.Title + " must be " + rest}
				}
			}
		}
	}
	for _, f := range fields {
		if f.path == path {
			return problem{f.name, f.subject() + " " + text}
		}
	}
	for _, l := range labels {
		if l.path == path {
			return problem{l.name, l.label + " " + text}
		}
	}
	return problem{"name", path + " " + text}
}

// fieldErrors returns all that are in an error.
func fieldErrors(err error) []*authprofile.FieldError {
	switch e := err.(type) {
	case nil:
		return nil
	case *authprofile.FieldError:
		return []*authprofile.FieldError{e}
	case interface{ Unwrap() error }:
		return fieldErrors(e.Unwrap())
	case interface{ Unwrap() []error }:
		var list []*authprofile.FieldError
		for _, err := range e.Unwrap() {
			list = append(list, fieldErrors(err)...)
		}
		return list
	}
	return nil
}
