package peertest

import (
	"net/url"
	"slices"
	"testing"

	"github.com/authprofile/authprofile"
	"github.com/authprofile/authprofile/internal/peertest/authservers"
)

// outcomes returns how the steps of a check have ended.
func outcomes(steps []authprofile.Step) (list []string) {
	for _, s := range steps {
		list = append(list, s.Name+" "+s.Outcome)
	}
	return list
}

// What a check says of a profile is what happens when it is used.
func TestCheck(t *testing.T) {
	atEach(t, func(t *testing.T, s *authservers.Server) {
		const wrongSecret, wrongRedirect = "a wrong secret", "a redirect address that is not registered"
		check := func(name string, p *authprofile.Profile, want ...string) {
			t.Helper()
			m := newManager(t, nil)
			switch name {
			case wrongSecret:
				p.ClientSecret = "an old secret"
			case wrongRedirect:
				m.RedirectURL = "https://app.example.com/callback"
			}
			steps := m.Check(t.Context(), p)
			if got := outcomes(steps); !slices.Equal(got, want) {
				t.Errorf("%s, %s: got %q, want %q", p.ClientID, name, got, want)
				for _, s := range steps {
					t.Logf("%s %s: %s", s.Name, s.Outcome, s.Problem)
				}
			}
		}
		for _, c := range []authservers.Client{authservers.Web, authservers.WebPost, authservers.Desktop} {
			check("good", userProfile(s, c), "address passed", "discovery passed", "redirect passed", "authorization passed", "client passed", "token skipped", "account skipped", "clock passed")
			check(wrongRedirect, userProfile(s, c), "address passed", "discovery passed", "redirect passed", "authorization failed", "client passed", "token skipped", "account skipped", "clock passed")
			if c.Secret != "" {
				check(wrongSecret, userProfile(s, c), "address passed", "discovery passed", "redirect passed", "authorization passed", "client failed", "token skipped", "account skipped", "clock passed")
			}
		}
		check("good", appProfile(s), "address passed", "discovery passed", "redirect skipped", "authorization skipped", "client passed", "token passed", "account skipped", "clock passed")
		check(wrongSecret, appProfile(s), "address passed", "discovery passed", "redirect skipped", "authorization skipped", "client failed", "token skipped", "account skipped", "clock passed")

		byAddresses := userProfile(s, authservers.Web)
		byAddresses.Endpoints = authprofile.Endpoints{AuthURL: s.AuthURL, TokenURL: s.TokenURL, RevocationURL: s.RevocationURL}
		byAddresses.Params = url.Values{"prompt": {"none"}} // a person is missing, and nothing else
		check("addresses", byAddresses, "address passed", "discovery skipped", "redirect passed", "authorization passed", "client passed", "token skipped", "account skipped", "clock passed")
	})
}
