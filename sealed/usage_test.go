package sealed_test

import (
	"context"
	"errors"
	"testing"

	"github.com/authprofile/authprofile"
	"github.com/authprofile/authprofile/sealed"
)

// usage runs Usage to its end.
func usage(t *testing.T, s authprofile.Store) (last sealed.Progress, errs []error) {
	t.Helper()
	for p, err := range sealed.Usage(t.Context(), s) {
		if err != nil {
			errs = append(errs, err)
		}
		last = p
	}
	return last, errs
}

func TestUsage(t *testing.T) {
	const n = 120
	inner := &writes{Store: new(authprofile.MemStore)}
	total := populate(t, sealed.New(inner, newKeyring(t, "k1")), n)
	must(t, sealed.New(inner, newKeyring(t, "lost")).PutGrant(t.Context(), grantOf("p005", "ada")))
	must(t, inner.PutGrant(t.Context(), &authprofile.Grant{GrantKey: authprofile.GrantKey{ProfileID: "p006"}})) // no secret, no key

	s := sealed.New(inner, newKeyring(t, "k2", "k1", "k0"))
	must(t, s.PutGrant(t.Context(), grantOf("p007", "bob")))
	before := inner.n
	last, errs := usage(t, s)
	if len(errs) != 0 {
		t.Errorf("got errors %v, want none", errs)
	}
	checkProgress(t, last, sealed.Progress{
		Profiles: n, Grants: n + 4, Keys: map[string]int{"k1": total, "k2": 1, "lost": 1}, Done: true, Unused: []string{"k0"},
	})
	if inner.n != before {
		t.Errorf("Usage has written %d records, want none", inner.n-before)
	}
}

// What cannot be read may need any key.
func TestUsageOfDamagedRecords(t *testing.T) {
	inner := new(authprofile.MemStore)
	s := sealed.New(inner, newKeyring(t, "k2", "k1"))
	must(t, s.PutGrant(t.Context(), grantOf("p", "ada")))
	must(t, inner.PutGrant(t.Context(), grantOf("p", "bob"))) // in the clear
	last, errs := usage(t, s)
	if e, ok := errors.AsType[*authprofile.Error](errors.Join(errs...)); len(errs) != 1 || !ok || e.Op != "usage" || e.ProfileID != "p" {
		t.Errorf("got errors %v, want one about the grant in the clear", errs)
	}
	checkProgress(t, last, sealed.Progress{Grants: 2, Failed: 1, Keys: map[string]int{"k2": 1}, Done: true})
}

// writes is a Store that counts how often it is written to.
type writes struct {
	authprofile.Store
	n int
}

func (w *writes) PutProfile(ctx context.Context, p *authprofile.Profile) error {
	w.n++
	return w.Store.PutProfile(ctx, p)
}

func (w *writes) PutGrant(ctx context.Context, g *authprofile.Grant) error {
	w.n++
	return w.Store.PutGrant(ctx, g)
}
