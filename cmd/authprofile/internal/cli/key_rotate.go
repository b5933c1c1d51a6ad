package cli

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/authprofile/authprofile/sealed"
)

// A rotationView is what came of a rotation, in JSON.
type rotationView struct {
	Key       string   `json:"key"` // that all is encrypted with now
	Profiles  int      `json:"profiles"`
	Grants    int      `json:"grants"`
	Rewritten int      `json:"rewritten"` // of these
	Failed    int      `json:"failed"`    // of these
	Unused    []string `json:"unused"`    // keys that can be retired
}

func newKeyRotate(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "rotate",
		Short: "Encrypt all secrets anew, with the newest key",
		Long: `Make the key that was added last the first one of the key file, and encrypt all
secrets in the database anew with it. If no key was added, it encrypts anew what is
under other keys than the first.

Before, every service that uses the database has to have the key: see "authprofile
help key". They go on working meanwhile. Users who are at a provider at that moment,
to authorize a profile, have to begin again.

It can be interrupted and killed at any time. Run again, it goes on where it ended.
What services have written with the old key since, it encrypts anew, too.

In JSON it is an object with key, profiles, grants, rewritten, failed and unused, the
IDs of keys that nothing needs any more.`,
		Example: "  authprofile key add\n  authprofile key rotate",
		Args:    args(0, 0),
	}
	addOutput(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		ctx := cmd.Context()
		if _, err := a.open(ctx, existing); err != nil {
			return err
		}
		k, path := a.opened.keys, a.opened.keys.path
		switch {
		case path != "":
			locked, unlock, err := a.lockKeys(ctx, path)
			if err != nil {
				return err
			}
			defer unlock()
			if k, err = promote(locked); err != nil {
				return err
			}
		case k.next != "":
			return errKeysInEnvironment(fmt.Sprintf("write key %q first there, without the word next", k.next))
		}
		last, err := a.walk(ctx, "encrypting anew", sealed.Rotate(ctx, sealed.New(a.opened.inner, k.ring)))
		if err != nil {
			if last.Rewritten > 0 || ctx.Err() != nil {
				fmt.Fprintf(a.stderr, "authprofile: %d profiles and grants were encrypted anew; run authprofile key rotate again for the others\n", last.Rewritten)
			}
			return err
		}
		o := a.output(cmd)
		if o.isJSON() {
			err = o.json(rotationView{k.keys[0].ID, last.Profiles, last.Grants, last.Rewritten, last.Failed, append([]string{}, last.Unused...)})
		} else {
			err = o.line("%d of %d profiles and grants were encrypted anew with key %s.", last.Rewritten, last.Profiles+last.Grants, k.keys[0].ID)
		}
		if last.Failed > 0 {
			return errors.Join(err, fmt.Errorf("%d profiles and grants are not encrypted anew: mend or delete them, and run authprofile key rotate again", last.Failed))
		}
		if len(last.Unused) > 0 {
			fmt.Fprintf(a.stderr, "authprofile: nothing in the database needs %s any more; once all services encrypt with the new key, and after ten minutes: authprofile key retire\n", strings.Join(last.Unused, ", "))
		}
		return err
	}
	return cmd
}

// promote makes the key that was added the first one of its file.
func promote(k *keyring) (*keyring, error) {
	at := slices.IndexFunc(k.keys, func(key sealed.Key) bool { return key.ID == k.next })
	if at < 0 {
		return k, nil
	}
	keys := append([]sealed.Key{k.keys[at]}, slices.Delete(slices.Clone(k.keys), at, at+1)...)
	promoted, err := newKeyring(keys, "", k.path)
	if err != nil {
		return nil, err
	}
	return promoted, replaceKeys(k.path, keys, "")
}
