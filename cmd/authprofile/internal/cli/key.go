package cli

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/authprofile/authprofile/sealed"
)

func newKey(a *app) *cobra.Command {
	return group("key", "Exchange the key that secrets are encrypted with",
		`The secrets in the database are encrypted with the keys of the key ring. To exchange
the key, for instance because a person who knows it has left:

 1. "authprofile key add" makes a new key. Nothing is encrypted with it yet.
 2. Give it to every service and every machine that uses the database: the line of
    the key in the key file. First all of them get it as a retired key, so that they
    can read what others will write; services, and "authprofile serve", have to be
    started anew for that. Then make it the primary key of all services, and the old
    one retired.
 3. "authprofile key rotate" makes it the first key of the key file, and encrypts
    all secrets anew, while services go on working.
 4. "authprofile key retire OLD" takes the old key out of the key file, once nothing
    needs it. Then take it out of the key rings of the services. If "authprofile
    serve" has been running since before step 3, start it anew first: it still
    encrypts with the old key.

A service that lacks the new key in step 3 cannot read what was encrypted with it
until it is given the key. Nothing is lost by that.

A key that is lost cannot be restored, and with it are lost the secrets that were
encrypted with it: each application needs a new client secret, and each user has to
connect anew. Keep a copy of the key file in a safe place, apart from the backups of
the database. A backup of the database needs the keys of its time: keep a retired
key for as long as there are backups from before the rotation.

If the keys are in AUTHPROFILE_KEYS itself, no command can change them: write the
new key there, with the word "next" before it in step 1, and as the first in step 3.`,
		newKeyAdd(a), newKeyList(a), newKeyRotate(a), newKeyRetire(a))
}

// errKeysInEnvironment says that the key ring is not in a file.
func errKeysInEnvironment(what string) error {
	return fmt.Errorf("the keys are in AUTHPROFILE_KEYS, which no program can change: %s", what)
}

func newKeyAdd(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "add",
		Short: "Make a key known that is not used yet",
		Long: `Make a new key, add it to the key file, and print its ID. It decrypts from then on,
and encrypts nothing until "authprofile key rotate". In between, every service that
uses the database has to be given the key: see "authprofile help key".`,
		Example: "  authprofile key add",
		Args:    args(0, 0),
	}
	addOutput(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		ctx := cmd.Context()
		if _, err := a.open(ctx, existing); err != nil {
			return err
		}
		path := a.opened.keys.path
		if path == "" {
			return errKeysInEnvironment("write a new one to its end, with the word next before it")
		}
		k, unlock, err := a.lockKeys(ctx, path)
		if err != nil {
			return err
		}
		defer unlock()
		if k.next != "" {
			return fmt.Errorf("key %q was added before and is not used yet: %s, or %s",
				k.next, shell("authprofile", "key", "rotate"), shell("authprofile", "key", "retire", k.next))
		}
		key := newSealKey()
		if err := replaceKeys(path, append(k.keys, key), key.ID); err != nil {
			return err
		}
		fmt.Fprintf(a.stderr, `authprofile: added a key to %s
Nothing is encrypted with it yet. Keep a copy of the file, give the key to all
services that use the database, and then: authprofile key rotate
`, clean(path))
		o := a.output(cmd)
		if o.isJSON() {
			return o.json(keyView{ID: key.ID, Use: keyNext})
		}
		return o.line("%s", key.ID)
	}
	return cmd
}

// What a key is used for.
const (
	keyEncrypts = "encrypts" // and decrypts
	keyDecrypts = "decrypts"
	keyNext     = "next"    // it decrypts, and "key rotate" makes it the first
	keyMissing  = "missing" // it is not in the key ring
)

// A keyView is a key in JSON.
type keyView struct {
	ID      string `json:"id"`
	Use     string `json:"use"`
	Records *int   `json:"records,omitempty"` // that are encrypted with it, if they were counted
}

func newKeyList(a *app) *cobra.Command {
	var count bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the keys by their IDs",
		Long: `List the IDs of the keys, and what each is used for:

  encrypts  it encrypts, and decrypts
  next      it was added, and "authprofile key rotate" makes it the first
  decrypts  it was the first earlier, and "authprofile key retire" takes it away
  missing   profiles or grants are encrypted with it, and it is not in the key ring

With --count it looks at all profiles and grants, says how many are encrypted with
each key, and finds those whose key is missing.

In JSON each is an object with id, use and, with --count, records.`,
		Example: "  authprofile key list --count",
		Args:    args(0, 0),
	}
	cmd.Flags().BoolVar(&count, "count", false, "count what is encrypted with each key, which takes its time")
	addOutput(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		ctx := cmd.Context()
		if _, err := a.open(ctx, existing); err != nil {
			return err
		}
		k := a.opened.keys
		var views []keyView
		for i, key := range k.keys {
			use := keyDecrypts
			switch {
			case i == 0:
				use = keyEncrypts
			case key.ID == k.next:
				use = keyNext
			}
			views = append(views, keyView{ID: key.ID, Use: use})
		}
		o := a.output(cmd)
		heads := []string{"ID", "USE"}
		var failed error
		if count {
			last, err := a.walk(ctx, "counting", sealed.Usage(ctx, a.opened.store))
			if err != nil {
				return err
			}
			if last.Failed > 0 {
				failed = fmt.Errorf("%d records cannot be read, and are not counted", last.Failed)
			}
			for i, v := range views {
				n := last.Keys[v.ID]
				views[i].Records = &n
				delete(last.Keys, v.ID)
			}
			for _, id := range slices.Sorted(maps.Keys(last.Keys)) {
				n := last.Keys[id]
				views = append(views, keyView{ID: id, Use: keyMissing, Records: &n})
			}
			heads = append(heads, "RECORDS")
		}
		t := o.table(heads...)
		for _, v := range views {
			row := cells(v.ID, v.Use)
			if v.Use == keyMissing {
				row[1].colour = red
			}
			if v.Records != nil {
				row = append(row, cells(fmt.Sprint(*v.Records))...)
			}
			if err := t.row(v, row); err != nil {
				return err
			}
		}
		return errors.Join(t.end(), failed)
	}
	return cmd
}

// flowRest is how long flows may still need the key that was the first before: they
// are not rotated, but expire.
const flowRest = 10 * time.Minute

func newKeyRetire(a *app) *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use:   "retire ID",
		Short: "Take a key away that nothing needs any more",
		Long: `Take a key out of the key file. It refuses if the key encrypts, if a profile or a
grant is still encrypted with it, or if some cannot be read, so that this is not
known. It also refuses for ten minutes after the key file was changed: users who are
at a provider at that time would have to begin again.

It cannot be undone: a backup of the database from before the rotation cannot be read
without the key. Services keep their own key rings: make the new key the primary one
in all of them before.

On a terminal it asks first. Elsewhere it wants --yes.`,
		Example:           "  authprofile key retire 2026-11-26-k3vd --yes",
		Args:              args(1, 1),
		ValidArgsFunction: a.completeKey,
	}
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ctx := cmd.Context()
		if _, err := a.open(ctx, existing); err != nil {
			return err
		}
		k, path := a.opened.keys, a.opened.keys.path
		if path != "" {
			locked, unlock, err := a.lockKeys(ctx, path)
			if err != nil {
				return err
			}
			defer unlock()
			k = locked
		}
		id := args[0]
		at := slices.IndexFunc(k.keys, func(key sealed.Key) bool { return key.ID == id })
		switch {
		case at < 0:
			return fmt.Errorf("there is no key %q: authprofile key list shows those that there are", id)
		case at == 0:
			return fmt.Errorf("key %q encrypts: make another the first one before, by authprofile key add and authprofile key rotate", id)
		}
		if path == "" {
			if err := a.checkUnneeded(ctx, k, id); err != nil {
				return err
			}
			return errKeysInEnvironment(fmt.Sprintf("nothing needs key %q, take it out there", id))
		}
		// The answer to a question may take its time, in which services write: only
		// what is looked at after it counts.
		if !yes {
			if !a.canAsk() {
				return usagef(cmd, "key %q cannot be restored: say --yes to take it away", id)
			}
			sure, err := a.confirm(ctx, fmt.Sprintf("Take key %q away? Backups from before the rotation cannot be read without it.", id))
			if err != nil {
				return err
			}
			if !sure {
				return errors.New("no key was taken away")
			}
		}
		if err := a.checkUnneeded(ctx, k, id); err != nil {
			return err
		}
		info, err := os.Lstat(path)
		if err != nil {
			return err
		}
		if rest := flowRest - time.Since(info.ModTime()); rest > 0 && id != k.next {
			return laterError{fmt.Errorf("the key file was changed less than ten minutes ago, and users who are at a provider now may need key %q: try again in %s", id, rest.Round(time.Second))}
		}
		next := k.next
		if next == id {
			next = ""
		}
		if err := replaceKeys(path, slices.Delete(k.keys, at, at+1), next); err != nil {
			return err
		}
		fmt.Fprintf(a.stderr, "authprofile: took key %q away; take it out of the key rings of services, too\n", id)
		return nil
	}
	return cmd
}

// checkUnneeded returns an error if a profile or a grant is encrypted with a key, or may be.
func (a *app) checkUnneeded(ctx context.Context, k *keyring, id string) error {
	last, err := a.walk(ctx, "looking for what needs the key", sealed.Usage(ctx, sealed.New(a.opened.inner, k.ring)))
	switch {
	case err != nil:
		return err
	case last.Keys[id] > 0:
		return fmt.Errorf("key %q is needed by %d profiles and grants: run authprofile key rotate first", id, last.Keys[id])
	case last.Failed > 0:
		return fmt.Errorf("%d profiles and grants cannot be read, and may need key %q: mend or delete them first", last.Failed, id)
	}
	return nil
}

// completeKey completes a key that can be retired.
func (a *app) completeKey(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	if _, err := a.open(cmd.Context(), existing); err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	var ids []cobra.Completion
	for _, key := range a.opened.keys.keys[1:] {
		ids = append(ids, key.ID)
	}
	return ids, cobra.ShellCompDirectiveNoFileComp
}
