package authprofile_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/authprofile/authprofile"
)

func TestTraitTokenPath(t *testing.T) {
	const nested = `{"ok":true,"team":"t","authed_user":{"id":"U1","access_token":"access-1","refresh_token":"refresh-1","expires_in":3600,"scope":"read"}}`
	onScript(t, func(r *row) { r.TokenPath, r.AnswerKeep = "authed_user", []string{"authed_user.id"} }, func(t *testing.T, s *scripted) {
		s.on(scriptedTokenURL, nested, strings.NewReplacer("access-1", "access-2", "refresh-1", "refresh-2").Replace(nested))
		p := s.profile(nil)
		g := s.authorize(p)
		if g.AccessToken != "access-1" || g.RefreshToken != "refresh-1" || g.Expiry.IsZero() || !slices.Equal(g.Scopes, []string{"read"}) {
			t.Errorf("got an expiry %v, scopes %q, or other tokens; want what stands below authed_user", g.Expiry, g.Scopes)
		}
		wantExtra(t, g, "authed_user.id", "U1", "ok", "true", "team", "t")
		wantParams(t, "the renewal", s.renews(p, scriptedTokenURL).form, "refresh_token", "refresh-1")
		if g := s.grant(ada); g.RefreshToken != "refresh-2" {
			t.Error("got another refresh token, want the one below authed_user of the renewal")
		}
		s.on(scriptedTokenURL, tokenAnswer) // at the top
		s.authorize(p)
	})
	onScript(t, nil, func(t *testing.T, s *scripted) {
		s.on(scriptedTokenURL, nested)
		f, _ := s.begin(s.profile(nil))
		if _, err := s.m.Finish(t.Context(), "ada", s.back(f)); err == nil {
			t.Error("by the standard: got a grant, want an error")
		}
	})
}

func TestTraitAnswerKeep(t *testing.T) {
	onScript(t, func(r *row) { r.AnswerKeep = []string{"team.id", "list[].name"} }, func(t *testing.T, s *scripted) {
		s.on(scriptedTokenURL, strings.Replace(tokenAnswer, "{", `{"team":{"id":"T1"},"list":[{"name":"n"}],`, 1))
		wantExtra(t, s.authorize(s.profile(nil)), "team.id", "T1", "list[].name", "n", "team", `{"id":"T1"}`, "list", `[{"name":"n"}]`)
	})
}

func TestTraitExpiry(t *testing.T) {
	jwt := idToken(map[string]any{"exp": time.Date(2000, 1, 1, 2, 0, 0, 0, time.UTC).Unix()}) // bubbles begin in 2000
	for _, test := range []struct {
		member, format, answer string
		want                   time.Duration // zero: not known
	}{
		{"", "", `{"access_token":"access-1","expires_in":600}`, 10 * time.Minute},
		{"expires_in_sec", "seconds", `{"access_token":"access-1","expires_in":3600000,"expires_in_sec":3600}`, time.Hour},
		{"life", "milliseconds", `{"access_token":"access-1","life":1800000}`, 30 * time.Minute},
		{"expires_at", "unix", fmt.Sprintf(`{"access_token":"access-1","expires_at":%d}`, time.Date(2000, 1, 1, 3, 0, 0, 0, time.UTC).Unix()), 3 * time.Hour},
		{"expires_at", "rfc3339", `{"access_token":"access-1","expires_at":"2000-01-01T04:00:00Z"}`, 4 * time.Hour},
		{"expires_at", "rfc3339", `{"access_token":"access-1","expires_at":"tomorrow","expires_in":600}`, 10 * time.Minute},
		{"", "", `{"access_token":"access-1","expires_at":"2000-01-01T04:00:00Z"}`, 0},
		{"", "jwt", `{"access_token":"` + jwt + `"}`, 2 * time.Hour},
		{"", "", `{"access_token":"` + jwt + `"}`, 0},
	} {
		onScript(t, func(r *row) { r.ExpiryMember, r.ExpiryFormat = test.member, test.format }, func(t *testing.T, s *scripted) {
			s.on(scriptedTokenURL, test.answer)
			began := time.Now()
			g := s.authorize(s.profile(nil))
			got := time.Duration(0)
			if !g.Expiry.IsZero() {
				got = g.Expiry.Sub(began)
			}
			if got != test.want {
				t.Errorf("%s %s: got a token of %v, want %v", test.member, test.format, got, test.want)
			}
		})
	}
}

func TestTraitScopeMember(t *testing.T) {
	for member, want := range map[string]string{"": "read write", "scopes": "read", "data.permissions": "extra"} {
		onScript(t, func(r *row) { r.ScopeMember = member }, func(t *testing.T, s *scripted) {
			s.on(scriptedTokenURL, strings.Replace(tokenAnswer, "{", `{"scopes":"read","data":{"permissions":["extra"]},`, 1))
			if got := strings.Join(s.authorize(s.profile(nil)).Scopes, " "); got != want {
				t.Errorf("%q: got scopes %q, want %q", member, got, want)
			}
		})
	}
}

// What a code means to a provider decides what becomes of a grant.
func TestTraitErrors(t *testing.T) {
	traits := func(r *row) {
		r.ErrorPaths = []string{"error.code", "codes[]"}
		r.Errors = texts("190", "dead", "OWN_CLIENT", "configuration", "17", "unavailable", "403 odd", "dead", "invalid_grant", "refused", "odd", "unavailable")
	}
	for _, test := range []struct {
		status int
		body   string
		code   string
		reason authprofile.Reason
		target error
	}{
		{400, `{"error":{"code":190}}`, "190", authprofile.ReasonRevoked, authprofile.ErrReauthorize},
		{200, `{"error":{"code":190}}`, "190", authprofile.ReasonRevoked, authprofile.ErrReauthorize},
		{400, `{"codes":["x","OWN_CLIENT"]}`, "OWN_CLIENT", authprofile.ReasonClient, authprofile.ErrConfiguration},
		{400, `{"error":{"code":17}}`, "17", authprofile.ReasonUnavailable, nil},
		{403, `{"error":"odd"}`, "odd", authprofile.ReasonRevoked, authprofile.ErrReauthorize},
		{400, `{"error":"odd"}`, "odd", authprofile.ReasonUnavailable, nil},
		{400, `{"error":"invalid_grant"}`, "invalid_grant", authprofile.ReasonRefused, nil},
		{400, `{"error":{"code":4711}}`, "4711", authprofile.ReasonRefused, nil},
	} {
		t.Run(fmt.Sprint(test.status, test.body), func(t *testing.T) {
			onScript(t, traits, func(t *testing.T, s *scripted) {
				p := s.profile(nil)
				s.authorize(p)
				s.fails(scriptedTokenURL, test.status, test.body)
				_, err := s.renew(p)
				if err == nil || test.target != nil && !errors.Is(err, test.target) {
					t.Errorf("got %v, want an error that is: %v", err, test.target)
				}
				if test.target == nil && (errors.Is(err, authprofile.ErrReauthorize) || errors.Is(err, authprofile.ErrConfiguration)) {
					t.Errorf("got %v, want neither a person nor an operator to be asked for", err)
				}
				if f := s.grant(ada).Failure; f == nil || f.Reason != test.reason || f.Code != test.code {
					t.Errorf("got failure %+v, want the reason %s and the code %s", f, test.reason, test.code)
				}
			})
		})
	}
	onScript(t, nil, func(t *testing.T, s *scripted) {
		p := s.profile(nil)
		s.authorize(p)
		s.fails(scriptedTokenURL, 400, `{"error":{"code":190}}`)
		if _, err := s.renew(p); err == nil || errors.Is(err, authprofile.ErrReauthorize) {
			t.Errorf("by the standard: got %v, want an error that is not ErrReauthorize", err)
		}
	})
}

func TestTraitDays(t *testing.T) {
	for _, test := range []struct {
		idle, absolute int
		ends           time.Duration // after the authorization, to the day
		by             string
		renewed        bool // within 25 days, though it is not used
	}{
		{0, 0, 0, "", false},
		{20, 0, 20 * day, authprofile.EndsIdle, true},
		{0, 365, 365 * day, authprofile.EndsAbsolute, false},
		{90, 60, 60 * day, authprofile.EndsAbsolute, false},
		{60, 90, 60 * day, authprofile.EndsIdle, false},
	} {
		onScript(t, func(r *row) { r.IdleDays, r.AbsoluteDays = test.idle, test.absolute }, func(t *testing.T, s *scripted) {
			g := s.authorize(s.profile(nil))
			got := time.Duration(0)
			if !g.Ends.IsZero() {
				got = g.Ends.Sub(g.Obtained.Truncate(day))
			}
			if got != test.ends || g.EndsBy != test.by {
				t.Errorf("idle %d, absolute %d: got an end after %v by %q, want %v by %q", test.idle, test.absolute, got, g.EndsBy, test.ends, test.by)
			}
			s.on(scriptedTokenURL, renewedAnswer)
			s.pass(25 * day)
			if got := len(s.requests(scriptedTokenURL)) - 1; got > 0 != test.renewed {
				t.Errorf("idle %d, absolute %d: got %d renewals of what is not used in 25 days, want some: %v", test.idle, test.absolute, got, test.renewed)
			}
		})
	}
}
