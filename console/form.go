package console

import (
	"cmp"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/authprofile/authprofile"
	"github.com/authprofile/authprofile/internal/clientkey"
)

// unsavedID is what a profile that was never saved shows as its ID.
const unsavedID = "-1"

// A form is a profile as the form has it: what a person has typed, or what is stored.
type form struct {
	offered  *choices
	id       string // as typed, or that of a saved profile
	newID    string // that a new profile gets, unless it is given another
	version  int64  // that the Store had when the form was made; zero: none
	text     map[string]string
	problems []problem

	stored  *authprofile.Profile // what the Store has; nil: nothing, or it is not known
	unknown bool                 // what the Store has is not known
	edited  bool                 // it has what is not saved

	secret, key secretInput
	profile     *authprofile.Profile // what it comes down to
}

// A secretInput is what is to be done about a secret, which is never sent back.
type secretInput struct {
	choice string // "keep", "replace" or "remove"; empty: not asked, since there was none
	typed  authprofile.Secret
}

// formOf is the form of a stored profile.
func formOf(p *authprofile.Profile, offered *choices) *form {
	f := &form{offered: offered, id: p.ID, version: p.Version, stored: p, profile: p, text: make(map[string]string)}
	for _, field := range fields {
		f.text[field.name] = field.text(p)
	}
	f.text["type"] = string(p.Type)
	chosen, variables := f.offered.split(p.Template)
	f.text["template"] = chosen
	maps.Copy(f.text, variables)
	return f
}

// newForm is that of a new profile.
func (e *editor) newForm(template string) *form {
	f := formOf(&authprofile.Profile{Type: authprofile.TypeUser}, e.offered())
	f.stored, f.id, f.newID = nil, unsavedID, newID()
	if f.offered.byName(template) != nil {
		f.text["template"] = template
	}
	f.profile = &authprofile.Profile{ID: f.newID, Type: authprofile.TypeUser}
	return f
}

// newID makes an ID as the first Save of a profile does.
func newID() string { return uuid.Must(uuid.NewV7()).String() }

// isNewID reports whether an ID is as newID makes them.
func isNewID(s string) bool {
	id, err := uuid.Parse(s)
	return err == nil && id.Version() == 7 && id.Variant() == uuid.RFC4122 && id.String() == s
}

// readForm reads what was sent. If it cannot be from the form, it answers the request.
func (e *editor) readForm(c *call) (f *form, ok bool) {
	f = &form{offered: e.offered(), id: c.form.Get("id"), newID: c.form.Get("new"), text: make(map[string]string), edited: true}
	var err error
	if v := c.form.Get("version"); v != "" {
		f.version, err = strconv.ParseInt(v, 10, 64)
	}
	if f.version == 0 {
		f.id = strings.TrimSpace(f.id)
	}
	if err != nil || f.version < 0 || f.version > 0 && f.id == "" {
		c.problem(http.StatusBadRequest, "This form cannot be read", "It was altered on its way. Nothing was changed. Open the profile again.")
		return nil, false
	}
	for name, values := range c.form {
		f.text[name] = values[0]
	}
	f.secret = readSecret(c, "secret", "client_secret")
	f.key = readSecret(c, "key", "client_key")
	delete(f.text, "client_secret")
	delete(f.text, "client_key")
	if t := f.text["template"]; t != "" && !strings.HasPrefix(t, asIs) && f.offered.byName(t) == nil {
		f.text["template"] = asIs + t
	}
	if f.version == 0 && !isNewID(f.newID) {
		f.newID = newID()
		if f.isUnnamed() {
			f.note("id", "ID was altered on its way and has been replaced. Check the Redirect URI, and save again")
		}
	}
	return f, true
}

func readSecret(c *call, choice, typed string) secretInput {
	s := secretInput{choice: c.form.Get(choice), typed: authprofile.Secret(c.form.Get(typed))}
	if !slices.Contains([]string{"keep", "replace", "remove"}, s.choice) {
		s.choice = ""
	}
	return s
}

// isUnnamed reports whether no ID was chosen.
func (f *form) isUnnamed() bool { return f.id == "" || f.id == unsavedID }

// profileID is the ID of the profile, saved or not.
func (f *form) profileID() string {
	if f.version == 0 && f.isUnnamed() {
		return f.newID
	}
	return f.id
}

func (f *form) note(name, text string) { f.problems = append(f.problems, problem{name, text}) }

// resolve makes a profile of what was typed, on top of what the Store has if it was
// saved before, and notes what cannot be read.
func (f *form) resolve() *authprofile.Profile {
	p := new(authprofile.Profile)
	isEdit := f.stored != nil && f.version > 0
	if isEdit {
		p = f.stored.Clone()
		sent := f.text
		f.text = formOf(f.stored, f.offered).text
		maps.Copy(f.text, sent) // what was not sent at all stays
	}
	p.ID, p.Version = f.profileID(), f.version
	p.Type = authprofile.Type(f.text["type"])
	template, problems := f.offered.join(f.text["template"], f.text)
	p.Template = template
	if ch := f.offered.byName(f.text["template"]); ch != nil {
		for _, v := range ch.Variables {
			if text := problems[v.Field]; text != "" {
				f.note(v.Field, v.Title+" "+text)
			}
		}
	}
	for _, field := range fields {
		typed := field.asTyped(f.text[field.name])
		switch {
		case field.applies != nil && !field.applies(p):
			field.read(p, "")
			continue
		case isEdit && field.asTyped(field.text(f.stored)) == typed:
			continue // not all that is stored can be typed
		}
		if problem := field.read(p, typed); problem != "" {
			f.note(field.name, field.subject()+" "+problem)
		}
	}
	var problem string
	if p.ClientSecret, problem = f.secret.resolve(p.ClientSecret); problem != "" {
		f.note("client_secret", "Client secret "+problem)
	}
	if p.ClientKey, problem = f.key.resolve(p.ClientKey); problem != "" {
		f.note("client_key", "Client key "+problem)
	}
	f.profile = p
	if len(f.problems) > 0 {
		f.validate()
	}
	return p
}

// validate notes what Profile.Validate says about fields without a problem of their
// own, so that all are told at once.
func (f *form) validate() {
	known := f.problems
	name, _, _ := strings.Cut(string(f.profile.Template), "/")
	chosen := f.offered.byName(name)
	for _, e := range fieldErrors(f.profile.Validate()) {
		said := f.offered.problemOf(e, f.profile)
		isKnown := slices.ContainsFunc(known, func(k problem) bool { return k.Name == said.Name })
		isOfOwn := e.Field == "Template" && chosen != nil && chosen.IsOwn // which Validate does not know
		if !isKnown && !isOfOwn {
			f.problems = append(f.problems, said)
		}
	}
}

// resolve returns what the secret is to be, if it was the stored one before.
func (s secretInput) resolve(stored authprofile.Secret) (secret authprofile.Secret, problem string) {
	switch {
	case s.choice == "remove":
		return "", ""
	case s.choice == "replace" && s.typed == "":
		return stored, "is to be replaced, so type the new one"
	case s.choice == "replace", s.choice == "" && s.typed != "":
		return s.typed, ""
	}
	return stored, ""
}

// forget makes sure that a secret that was typed, and is not sent back, is typed again
// before it is saved: a form without it must not save the profile without it. The same
// holds for one that was to be kept, of a profile that is gone.
func (f *form) forget() {
	forget := func(s *secretInput, name, label string, isStored bool) {
		isTyped := s.typed != "" && s.choice != "keep" && s.choice != "remove"
		isGone := s.choice == "keep" && f.stored == nil && !f.unknown
		switch {
		case isTyped || isGone:
			s.choice = "replace"
			if !slices.ContainsFunc(f.problems, func(p problem) bool { return p.Name == name }) {
				f.note(name, label+" has to be typed again, because it is never sent back")
			}
		case s.choice == "keep" && !isStored && !f.unknown:
			s.choice = "" // there is none to be kept
		}
		s.typed = ""
	}
	forget(&f.secret, "client_secret", "Client secret", f.stored != nil && f.stored.ClientSecret != "")
	forget(&f.key, "client_key", "Client key", f.stored != nil && f.stored.ClientKey != "")
}

// sameContent reports whether two profiles say the same, whatever their version and
// times are.
func sameContent(a, b *authprofile.Profile) bool {
	content := func(p *authprofile.Profile) string {
		c := p.Clone()
		c.Version, c.Created, c.Updated, c.SecretExpires = 0, time.Time{}, time.Time{}, time.Time{}
		text, err := json.Marshal(c)
		if err != nil {
			panic(err) // strings and numbers
		}
		return string(text)
	}
	return content(a) == content(b) && a.ClientSecret == b.ClientSecret && a.ClientKey == b.ClientKey && a.SecretExpires.Equal(b.SecretExpires)
}

// describeKey says what a client key is, and shows nothing of it.
func describeKey(text authprofile.Secret) string {
	if text == "" {
		return "not set"
	}
	key, err := clientkey.Parse(string(text))
	if err != nil {
		return "set, but it " + err.Error()
	}
	algorithm, err := key.Algorithm(nil)
	if err != nil {
		return "set, but it " + err.Error()
	}
	s := "set: " + algorithm
	if id := key.ID(); id != "" {
		s += ", key ID " + id
	}
	if end := key.CertificateEnd(); !end.IsZero() {
		s += ", certificate until " + end.UTC().Format("2 Jan 2006, 15:04 UTC")
	}
	return s
}

// describeSecret says whether there is a client secret.
func describeSecret(s authprofile.Secret) string {
	if s == "" {
		return "not set"
	}
	return "set"
}

// typeWords are what types are called.
var typeWords = map[authprofile.Type]string{
	authprofile.TypeApp:  "OAuth2 App -> API",
	authprofile.TypeUser: "OAuth2 User -> API",
}

func typeWord(t authprofile.Type) string { return cmp.Or(typeWords[t], string(t)) }

// A row is a field of two versions of a profile, or of one.
type row struct {
	Label, Theirs, Yours string
	Differs              bool
}

// rowsOf compares two versions of a profile, field by field.
func rowsOf(theirs, yours *authprofile.Profile) []row {
	rows := []row{
		{Label: "Type", Theirs: typeWord(theirs.Type), Yours: typeWord(yours.Type)},
		{Label: "Template", Theirs: string(theirs.Template), Yours: string(yours.Template)},
		{Label: "Client secret", Theirs: describeSecret(theirs.ClientSecret), Yours: describeSecret(yours.ClientSecret), Differs: theirs.ClientSecret != yours.ClientSecret},
		{Label: "Client key", Theirs: describeKey(theirs.ClientKey), Yours: describeKey(yours.ClientKey), Differs: theirs.ClientKey != yours.ClientKey},
	}
	if rows[2].Differs && yours.ClientSecret != "" {
		rows[2].Yours = "replaced (type it again)"
	}
	if rows[3].Differs && yours.ClientKey != "" {
		rows[3].Yours = "replaced (type it again)"
	}
	for _, f := range fields {
		rows = append(rows, row{Label: f.label, Theirs: f.text(theirs), Yours: f.text(yours)})
	}
	rows = slices.DeleteFunc(rows, func(r row) bool { return r.Theirs == "" && r.Yours == "" })
	for i := range rows {
		rows[i].Differs = rows[i].Differs || rows[i].Theirs != rows[i].Yours
	}
	return rows
}
