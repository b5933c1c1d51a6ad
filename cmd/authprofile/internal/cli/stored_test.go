package cli

import (
	"fmt"
	"io"
	"path/filepath"

	"github.com/authprofile/authprofile"
	"github.com/authprofile/authprofile/providertest"
)

// stored runs f with a Manager on the database, and with the database.
func (w *world) stored(f func(m *authprofile.Manager, db *database)) {
	w.t.Helper()
	a := w.app(nil, io.Discard, io.Discard, nil)
	m, err := a.open(w.t.Context(), existing)
	if err != nil {
		w.t.Fatal(err)
	}
	f(m, a.opened)
	if err := a.close(w.t.Context()); err != nil {
		w.t.Error(err)
	}
}

// users has users connect "crm", each with an account of their own.
func (w *world) users(names ...string) {
	w.t.Helper()
	for _, name := range names {
		w.srv.SetConsent(providertest.Consent{Subject: "at-" + name, Claims: map[string]any{"email": name + "@example.com"}})
		w.ok("connect", "crm", "--user", name)
	}
}

// put stores grants.
func (w *world) put(grants ...*authprofile.Grant) {
	w.t.Helper()
	w.stored(func(_ *authprofile.Manager, db *database) {
		for _, g := range grants {
			if err := db.store.PutGrant(w.t.Context(), g); err != nil {
				w.t.Fatal(err)
			}
		}
	})
}

// manyGrants are grants of "crm", which are active.
func manyGrants(n int) []*authprofile.Grant {
	grants := make([]*authprofile.Grant, n)
	for i := range grants {
		user := fmt.Sprintf("user-%05d", i)
		grants[i] = &authprofile.Grant{
			GrantKey:    authprofile.GrantKey{ProfileID: "crm", User: user},
			AccessToken: authprofile.Secret("access of " + user), RefreshToken: authprofile.Secret("refresh of " + user),
			Status: authprofile.StatusActive, Account: user + "@example.com",
		}
	}
	return grants
}

// keyIDs returns the IDs of the keys in the key file.
func (w *world) keyIDs() (ids []string) {
	w.t.Helper()
	k, err := readKeys(filepath.Join(w.dir, "keys"))
	if err != nil {
		w.t.Fatal(err)
	}
	for _, key := range k.keys {
		ids = append(ids, key.ID)
	}
	return ids
}
