package authprofile_test

import (
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/authprofile/authprofile"
)

func TestValidateMaintenance(t *testing.T) {
	day := 24 * time.Hour
	for _, test := range []struct {
		name   string
		typ    authprofile.Type
		change func(*authprofile.Profile)
		want   string // the field with the problem
	}{
		{"nothing", authprofile.TypeUser, func(p *authprofile.Profile) {}, ""},
		{"a day", authprofile.TypeUser, func(p *authprofile.Profile) { p.KeepAlive = day }, ""},
		{"never", authprofile.TypeUser, func(p *authprofile.Profile) { p.KeepAlive = -1 }, ""},
		{"less than a day", authprofile.TypeUser, func(p *authprofile.Profile) { p.KeepAlive = day - 1 }, "KeepAlive"},
		{"an app profile", authprofile.TypeApp, func(p *authprofile.Profile) { p.KeepAlive = day }, "KeepAlive"},
		{"a secret that ends", authprofile.TypeApp, func(p *authprofile.Profile) { p.SecretExpires = time.Now() }, ""},
		{"a secret that has ended", authprofile.TypeUser, func(p *authprofile.Profile) { p.SecretExpires = time.Unix(0, 0) }, ""},
		{"a year in Unix milliseconds", authprofile.TypeUser, func(p *authprofile.Profile) { p.SecretExpires = time.Unix(1_800_000_000_000, 0) }, "SecretExpires"},
		{"before there was OAuth", authprofile.TypeUser, func(p *authprofile.Profile) { p.SecretExpires = time.Date(26, 1, 2, 0, 0, 0, 0, time.UTC) }, "SecretExpires"},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := &authprofile.Profile{Type: test.typ, ClientID: "crm", ClientSecret: "x", Endpoints: authprofile.Endpoints{TokenURL: "https://auth.example.com/token"}}
			if test.typ == authprofile.TypeUser {
				p.Endpoints.AuthURL = "https://auth.example.com/authorize"
			}
			test.change(p)
			err := p.Validate()
			for _, field := range []string{"KeepAlive", "SecretExpires"} {
				if got := hasProblem(err, field); got != (field == test.want) {
					t.Errorf("got error %v, want one of %q", err, test.want)
				}
			}
		})
	}
}

// What Save stores is what the caller has, though a Store keeps milliseconds.
func TestSecretExpiresIsNoChange(t *testing.T) {
	p := &authprofile.Profile{
		Type: authprofile.TypeApp, ClientID: "crm", ClientSecret: "x",
		Endpoints: authprofile.Endpoints{TokenURL: "https://auth.example.com/token"},
	}
	store := &forgetfulStore{new(authprofile.MemStore), new(atomic.Bool)}
	m := &authprofile.Manager{Store: store}
	store.lost.Store(true)
	p.SecretExpires = time.Now().Add(time.Hour)
	if err := m.Save(t.Context(), p); !errors.Is(err, errAway) {
		t.Fatalf("got error %v, want %v", err, errAway)
	}
	store.lost.Store(false)
	if err := m.Save(t.Context(), p); err != nil {
		t.Errorf("again: got error %v, want none", err)
	}
	if p.Unsaved() {
		t.Error("got a profile with changes, want none")
	}
	p.SecretExpires = p.SecretExpires.Add(time.Minute)
	if !p.Unsaved() {
		t.Error("got a profile without changes, want one")
	}
}
