package console

import (
	"slices"
	"strings"

	"github.com/authprofile/authprofile"
)

// A fieldView is a field as the template of the form shows it.
type fieldView struct {
	Name, Label, Hint, Shown, Kind, Value string
	Lines                                 bool
	Problems                              []string
	Described                             string // the IDs of its hint and its problems
}

// Field returns a field for the template.
func (f *form) Field(name string) fieldView {
	if d := fieldByName(name); d != nil {
		return f.view(fieldView{Name: name, Label: d.label, Hint: d.hint, Shown: d.shown, Kind: d.kind, Lines: d.lines})
	}
	v := fieldView{Name: name}
	for _, l := range labels {
		if l.name == name && v.Label == "" {
			v.Label = l.label
		}
	}
	return f.view(v)
}

// view adds what is typed to a field, and what is wrong with it.
func (f *form) view(v fieldView) fieldView {
	v.Value = f.text[v.Name]
	var described []string
	if v.Hint != "" {
		described = append(described, v.Name+"-hint")
	}
	for _, p := range f.problems {
		if p.Name == v.Name {
			v.Problems = append(v.Problems, p.Text)
		}
	}
	if len(v.Problems) > 0 {
		described = append(described, v.Name+"-error")
	}
	v.Described = strings.Join(described, " ")
	return v
}

// ID is the field with the profile's ID.
func (f *form) ID() fieldView {
	v := fieldView{Name: "id", Label: "ID"}
	if !f.IsSaved() {
		v.Hint = unsavedID + " means that an ID is made for you. Replace it to choose one of your own, such as crm. The ID cannot be changed after the first save."
	}
	v = f.view(v)
	v.Value = f.id
	return v
}

// A variableView is a variable of a template, as a field.
type variableView struct {
	fieldView
	Allowed []string
	Default string
}

// A choiceView is a provider of the list, with its fields.
type choiceView struct {
	choice
	Fields []variableView
}

// Choices are the providers of the list.
func (f *form) Choices() []choiceView {
	var list []choiceView
	for _, c := range f.offered.list {
		cv := choiceView{choice: c}
		for _, v := range c.Variables {
			fv := fieldView{Name: v.Field, Label: v.Title}
			switch {
			case len(v.Allowed) > 0:
			case v.Default != "":
				fv.Hint = "Empty: " + v.Default + ". Another one: " + v.Example
			case v.TakesNo:
				fv.Hint = "Optional. Example: " + v.Example
			default:
				fv.Hint = "Example: " + v.Example
			}
			shown := variableView{fieldView: f.view(fv), Allowed: v.Allowed, Default: v.Default}
			if shown.Value != "" && len(v.Allowed) > 0 && !slices.Contains(v.Allowed, shown.Value) {
				shown.Allowed = append([]string{shown.Value}, v.Allowed...) // the problem at the field says why not
			}
			cv.Fields = append(cv.Fields, shown)
		}
		list = append(list, cv)
	}
	return list
}

// AsIs is the template that the form has no fields for, if it is one.
func (f *form) AsIs() string {
	whole, ok := strings.CutPrefix(f.text["template"], asIs)
	if !ok {
		return ""
	}
	return whole
}

// A secretView is a secret in the form: what is there, and what is to be done.
type secretView struct {
	fieldView
	ChoiceName, Choice, State string
	Lower                     string // its label within a sentence
	Asked, MayKeep            bool
}

// Secret is the client secret.
func (f *form) Secret() secretView {
	return f.secretView("client_secret", "secret", "", f.secret, func(p *authprofile.Profile) authprofile.Secret { return p.ClientSecret }, describeSecret)
}

// Key is the client key.
func (f *form) Key() secretView {
	return f.secretView("client_key", "key", "A private key to use instead of a secret: PEM, with its certificates if there are any, or a JWK.",
		f.key, func(p *authprofile.Profile) authprofile.Secret { return p.ClientKey }, describeKey)
}

func (f *form) secretView(name, choiceName, hint string, s secretInput, of func(*authprofile.Profile) authprofile.Secret, describe func(authprofile.Secret) string) secretView {
	v := secretView{ChoiceName: choiceName, Choice: s.choice}
	for _, l := range labels {
		if l.name == name {
			v.fieldView = f.view(fieldView{Name: name, Label: l.label, Hint: hint})
		}
	}
	v.Value = "" // never sent back
	v.Lower = strings.ToLower(v.Label)
	isStored := f.stored != nil && of(f.stored) != ""
	v.MayKeep = isStored || f.unknown && f.version > 0
	v.Asked = v.MayKeep || s.choice != ""
	switch {
	case f.unknown:
		v.State = "Not known now."
	case isStored:
		v.State = capital(describe(of(f.stored))) + "."
	default:
		v.State = capital(describe("")) + "."
	}
	if v.Choice == "" && v.MayKeep {
		v.Choice = "keep"
	}
	return v
}

// capital begins a sentence.
func capital(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

// IsSaved reports whether the profile was saved, so that its ID stays.
func (f *form) IsSaved() bool { return f.version > 0 }

// NewID and Version are in hidden fields.
func (f *form) NewID() string { return f.newID }

func (f *form) Version() int64 { return f.version }

// IsEdited reports whether the form has what is not saved.
func (f *form) IsEdited() bool { return f.edited }

// A target is a problem, and the ID of the element to go to for it.
type target struct{ Target, Text string }

// Problems are all that are wrong with the fields.
func (f *form) Problems() []target {
	var list []target
	for _, p := range f.problems {
		to := p.Name
		switch {
		case to == "type":
			to = "type-app"
		case to == "client_secret" && f.Secret().Choice != "" && f.Secret().Choice != "replace":
			to = "secret-" + f.Secret().Choice // the field itself is not shown
		case to == "client_key" && f.Key().Choice != "" && f.Key().Choice != "replace":
			to = "key-" + f.Key().Choice
		}
		list = append(list, target{to, p.Text})
	}
	return list
}

// AuthMethods are the ways in which a client can authenticate, with their names.
func (f *form) AuthMethods() [][2]string {
	list := [][2]string{
		{"", "as the provider requires"},
		{string(authprofile.AuthBasic), "secret in the Authorization header (client_secret_basic)"},
		{string(authprofile.AuthPost), "secret in the form (client_secret_post)"},
		{string(authprofile.AuthBasicRaw), "secret in the Authorization header, not encoded (client_secret_basic_raw)"},
		{string(authprofile.AuthPrivateKeyJWT), "assertion signed by a key (private_key_jwt)"},
		{string(authprofile.AuthTLS), "certificate (tls_client_auth)"},
		{string(authprofile.AuthSelfSignedTLS), "self-signed certificate (self_signed_tls_client_auth)"},
		{string(authprofile.AuthNone), "none: a public client"},
	}
	value := f.text["auth_method"]
	if !slices.ContainsFunc(list, func(m [2]string) bool { return m[0] == value }) {
		list = append(list, [2]string{value, value})
	}
	return list
}

// more are the fields that stand under "More".
var more = []string{"client_key", "auth_method", "secret_expires", "redirect_url", "revocation_url", "par_url", "device_auth_url", "params", "token_params", "api_hosts", "keep_alive"}

// HasMore reports whether one of the fields under "More" is set, or has a problem.
func (f *form) HasMore() bool {
	return f.Key().Asked || slices.ContainsFunc(more, func(name string) bool {
		return f.text[name] != "" || slices.ContainsFunc(f.problems, func(p problem) bool { return p.Name == name })
	})
}

// More are the fields under "More" that are shown like any other.
func (f *form) More() []fieldView {
	var list []fieldView
	for _, name := range more {
		if name != "client_key" && name != "auth_method" {
			list = append(list, f.Field(name))
		}
	}
	return list
}
