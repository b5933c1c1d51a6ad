package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/authprofile/authprofile"
)

func newProfileApply(a *app) *cobra.Command {
	var file string
	var dryRun bool
	cmd := &cobra.Command{
		Use:   "apply --file FILE",
		Short: "Create and change profiles as a file says",
		Long: `Create and change profiles as a JSON file says: an object, or an array of objects, as
"profile show --output json" writes them. A profile in the file is the one in the
database with its id or, if it has no id, the one with its name; if there is none
it is created. What is not in the file is left alone; of a profile that is, a member
that is left out is empty, and version, created and updated are ignored.

A secret that the file does not have is kept, and so is one that is "[redacted]".
Rather than in the file itself, keep it where these members say:

  client_secret_from   "file:PATH", "env:NAME", "stdin" or "prompt"
  client_key_from      likewise

A relative PATH begins at the folder of the file. An empty client_secret or
client_key takes it away, and a new one takes the place of the other.

Every profile is checked before the first is saved. What differs is shown field by
field, secrets only as changed. With --dry-run nothing is saved.

In JSON it is an array of objects: id, name, action ("created", "changed" or
"unchanged") and changes, an array of field, from and to. A secret has neither from
nor to.`,
		Example: `  authprofile profile apply --file profiles.json --dry-run
  authprofile profile show crm --output json | jq '.scopes += ["write"]' | authprofile profile apply --file -`,
		Args: args(0, 0),
	}
	cmd.Flags().StringVarP(&file, "file", "f", "", "the JSON `file`; - is standard input")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "show what would change, and save nothing")
	addOutput(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		ctx := cmd.Context()
		if file == "" {
			return usagef(cmd, "--file is missing")
		}
		entries, err := a.readEntries(ctx, file)
		if err != nil {
			return err
		}
		access := create
		if dryRun {
			access = existing
		}
		m, err := a.open(ctx, access)
		if err != nil {
			return err
		}
		var plans []*plan
		for i, e := range entries {
			pl, err := a.plan(ctx, m, e)
			if err != nil {
				return fmt.Errorf("profile %d of %s: %w", i+1, file, err)
			}
			if pl.next.ID != "" && slices.ContainsFunc(plans, func(other *plan) bool { return other.next.ID == pl.next.ID }) {
				return fmt.Errorf("profile %d of %s: %q is there twice", i+1, file, pl.next.ID)
			}
			plans = append(plans, pl)
		}
		o := a.output(cmd)
		t := o.table()
		for _, pl := range plans {
			if !dryRun && pl.Action != "unchanged" {
				if err := m.Save(ctx, pl.next); err != nil {
					if errors.Is(err, authprofile.ErrConflict) {
						err = adviceError{err, "another program has changed it: run it again"}
					}
					return errors.Join(t.end(), err)
				}
				pl.ID = pl.next.ID
			}
			if err := pl.show(t, dryRun); err != nil {
				return err
			}
		}
		return t.end()
	}
	return cmd
}

// An entry is a profile of a file.
type entry struct {
	authprofile.Profile
	SecretFrom string `json:"client_secret_from"`
	KeyFrom    string `json:"client_key_from"`

	secretGiven, keyGiven bool // they are there, and may be empty
}

// readEntries reads the profiles of a file, and their secrets from where it says.
func (a *app) readEntries(ctx context.Context, name string) ([]*entry, error) {
	var text []byte
	var err error
	stdin := name == "-"
	dir := filepath.Dir(name)
	if stdin {
		var input string
		input, err = a.readInput(ctx)
		text = []byte(input)
		name = "standard input"
	} else {
		text, err = os.ReadFile(name)
	}
	if err != nil {
		return nil, fmt.Errorf("the file with profiles: %w", err)
	}
	var objects []map[string]json.RawMessage
	if text = bytes.TrimSpace(text); bytes.HasPrefix(text, []byte("{")) {
		text = slices.Concat([]byte("["), text, []byte("]"))
	}
	if err := json.Unmarshal(text, &objects); err != nil {
		return nil, fmt.Errorf("%s is neither a profile in JSON nor an array of profiles: %w", name, jsonProblem(err))
	}
	var entries []*entry
	for i, object := range objects {
		e, err := readEntry(object)
		if err != nil {
			return nil, fmt.Errorf("profile %d of %s: %w", i+1, name, err)
		}
		for _, s := range []struct {
			from  string
			what  string
			value *authprofile.Secret
			given *bool
		}{
			{e.SecretFrom, "client_secret_from", &e.ClientSecret, &e.secretGiven},
			{e.KeyFrom, "client_key_from", &e.ClientKey, &e.keyGiven},
		} {
			switch {
			case s.from == "":
				continue
			case *s.given:
				return nil, fmt.Errorf("profile %d of %s: there are both %s and the secret itself", i+1, name, s.what)
			case s.from == "stdin" && stdin:
				return nil, fmt.Errorf("profile %d of %s: %s: standard input is read already", i+1, name, s.what)
			}
			stdin = stdin || s.from == "stdin"
			if path, ok := strings.CutPrefix(s.from, "file:"); ok && !filepath.IsAbs(path) {
				s.from = "file:" + filepath.Join(dir, path)
			}
			if *s.value, err = a.secret(ctx, s.from, s.what); err != nil {
				return nil, fmt.Errorf("profile %d of %s: %w", i+1, name, err)
			}
			*s.given = true
		}
		entries = append(entries, e)
	}
	return entries, nil
}

// readEntry reads a profile. A secret that is only a placeholder is not given.
func readEntry(object map[string]json.RawMessage) (*entry, error) {
	e := &entry{}
	for member, given := range map[string]*bool{"client_secret": &e.secretGiven, "client_key": &e.keyGiven} {
		switch text, ok := object[member]; {
		case string(text) == `"[redacted]"`, string(text) == "null":
			delete(object, member)
		default:
			*given = ok
		}
	}
	for name := range object { // which the decoder would take for the other
		if name != strings.ToLower(name) {
			return nil, fmt.Errorf("unknown field %q", name)
		}
	}
	text, err := json.Marshal(object)
	if err != nil {
		return nil, err
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(e); err != nil {
		return nil, jsonProblem(err)
	}
	if e.ID == "" && e.Name == "" {
		return nil, errors.New("it needs an id, or a name")
	}
	return e, nil
}

// jsonProblem describes what is wrong with a text, without quoting it: it may hold a
// secret.
func jsonProblem(err error) error {
	if e, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		kind := "of type " + strings.Fields(e.Value)[0]
		if field := strings.TrimPrefix(e.Field, "Profile."); field != "" {
			return fmt.Errorf("%s cannot be %s", field, kind)
		}
		return fmt.Errorf("there is a value %s", kind)
	}
	if err == io.ErrUnexpectedEOF {
		return errors.New("it ends too early")
	}
	return errors.New(strings.TrimPrefix(err.Error(), "json: "))
}

// A plan is what becomes of a profile. In JSON it is what the user is told.
type plan struct {
	ID      string   `json:"id,omitempty"`
	Name    string   `json:"name,omitempty"`
	Action  string   `json:"action"`
	Changes []change `json:"changes,omitempty"`

	next *authprofile.Profile
}

// A change is a field that differs. One of a secret has no values.
type change struct {
	Field string          `json:"field"`
	From  json.RawMessage `json:"from,omitempty"`
	To    json.RawMessage `json:"to,omitempty"`
}

// plan compares an entry with what is stored.
func (a *app) plan(ctx context.Context, m *authprofile.Manager, e *entry) (*plan, error) {
	var current *authprofile.Profile
	var err error
	if e.ID != "" {
		current, err = m.Profile(ctx, e.ID)
	} else {
		current, err = a.profileNamed(ctx, m, e.Name)
	}
	if errors.Is(err, authprofile.ErrNotFound) {
		current, err = &authprofile.Profile{}, nil
	}
	if err != nil {
		return nil, err
	}
	next := e.Profile.Clone()
	if current.ID != "" {
		next.ID = current.ID
	}
	next.Version, next.Created, next.Updated = current.Version, current.Created, current.Updated
	next.SecretExpires = next.SecretExpires.UTC().Truncate(time.Millisecond)
	if !e.secretGiven && !(e.keyGiven && e.ClientKey != "") {
		next.ClientSecret = current.ClientSecret
	}
	if !e.keyGiven && !(e.secretGiven && e.ClientSecret != "") {
		next.ClientKey = current.ClientKey
	}
	if err := a.validate(next); err != nil {
		return nil, err
	}
	pl := &plan{ID: next.ID, Name: next.Name, Action: "unchanged", next: next}
	if pl.Changes, err = differences(current, next); err != nil {
		return nil, err
	}
	switch {
	case current.Version == 0:
		pl.Action = "created"
	case len(pl.Changes) > 0:
		pl.Action = "changed"
	}
	return pl, nil
}

// validate checks a profile before any is saved. One whose provider is the user's own
// is checked when it is saved.
func (a *app) validate(p *authprofile.Profile) error {
	own, err := a.ownProviders()
	if err != nil {
		return err
	}
	name, _, _ := strings.Cut(string(p.Template), "/")
	if slices.ContainsFunc(own, func(row authprofile.Provider) bool { return row.Name == name }) {
		return nil
	}
	return p.Validate()
}

// differences lists the fields in which two profiles differ, by name.
func differences(from, to *authprofile.Profile) ([]change, error) {
	before, err := members(from)
	if err != nil {
		return nil, err
	}
	after, err := members(to)
	if err != nil {
		return nil, err
	}
	names := make(map[string]bool)
	for name := range before {
		names[name] = true
	}
	for name := range after {
		names[name] = true
	}
	var changes []change
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if !bytes.Equal(before[name], after[name]) {
			changes = append(changes, change{name, before[name], after[name]})
		}
	}
	for name, same := range map[string]bool{
		"client_secret": from.ClientSecret == to.ClientSecret,
		"client_key":    from.ClientKey == to.ClientKey,
	} {
		if !same {
			changes = append(changes, change{Field: name})
		}
	}
	slices.SortFunc(changes, func(a, b change) int { return strings.Compare(a.Field, b.Field) })
	return changes, nil
}

// members returns what JSON says of a profile by field, without its secrets and what
// the database assigns.
func members(p *authprofile.Profile) (map[string]json.RawMessage, error) {
	text, err := marshal(p)
	if err != nil {
		return nil, err
	}
	var all map[string]json.RawMessage
	if err := json.Unmarshal(text, &all); err != nil {
		return nil, err
	}
	if endpoints, ok := all["endpoints"]; ok {
		var below map[string]json.RawMessage
		if err := json.Unmarshal(endpoints, &below); err != nil {
			return nil, err
		}
		for name, value := range below {
			all["endpoints."+name] = value
		}
	}
	for _, name := range []string{"id", "client_secret", "client_key", "endpoints", "version", "created", "updated"} {
		delete(all, name)
	}
	if p.Type == "" { // there was none
		all = nil
	}
	return all, nil
}

// show writes a plan.
func (pl *plan) show(t *table, dryRun bool) error {
	if t.o.isJSON() {
		return t.row(pl, nil)
	}
	action, colours := pl.Action, map[string]colour{"created": green, "changed": yellow}
	if dryRun && action != "unchanged" {
		action = "would be " + action
	}
	name := pl.ID
	if name == "" {
		name = pl.Name
	}
	if err := t.o.write(clean(name) + ": " + t.o.paint(colours[pl.Action], action) + "\n"); err != nil {
		return err
	}
	for _, c := range pl.Changes {
		var err error
		switch {
		case c.From == nil && c.To == nil:
			err = t.o.line("  %s: changed", c.Field)
		case c.From == nil:
			err = t.o.line("  %s: %s", c.Field, c.To)
		case c.To == nil:
			err = t.o.line("  %s: %s -> none", c.Field, c.From)
		default:
			err = t.o.line("  %s: %s -> %s", c.Field, c.From, c.To)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
