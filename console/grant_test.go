package console_test

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authprofile/authprofile"
	"github.com/authprofile/authprofile/console"
	"github.com/authprofile/authprofile/providertest"
)

func keyForm(g *authprofile.Grant) url.Values {
	return url.Values{"profile": {g.ProfileID}, "user": {g.User}}
}

func TestGrantPage(t *testing.T) {
	s := newScene(t)
	now := time.Now()
	g := s.put(&authprofile.Grant{
		GrantKey: authprofile.GrantKey{ProfileID: "calendar", User: "ada"}, Account: "ada@example.org", Subject: "sub-1", Issuer: "https://login.example.com", ClientID: "client-1",
		AccessToken: "SECRET-access", RefreshToken: "SECRET-refresh", Scopes: []string{"openid", "calendar"}, Requested: []string{"openid", "calendar", "contacts"},
		Authorized: now.Add(-time.Hour), Obtained: now.Add(-time.Minute), Expiry: now.Add(time.Hour), Ends: now.Add(90 * 24 * time.Hour), EndsBy: authprofile.EndsIdle,
		Extra: map[string]authprofile.Secret{"instance_url": "SECRET-extra", "team": "SECRET-team"}, Nonce: "SECRET-nonce",
		Status:  authprofile.StatusFailing,
		Failure: &authprofile.Failure{Reason: authprofile.ReasonUnavailable, Code: "temporarily_unavailable", Description: "Down for maintenance", HTTPStatus: 503, Since: now, Last: now, Attempts: 7, Next: now.Add(time.Minute), Paced: true},
		Lease:   &authprofile.Lease{Owner: "worker-3", Attempt: "SECRET-attempt", Length: time.Minute},
	})
	page := s.get("grant?" + keyForm(g).Encode())
	page.wants(t, 200, ">Calendar</a>", "ada@example.org", "sub-1", "https://login.example.com", "client-1", "openid calendar",
		"<code>contacts</code></span>: asked for but not granted", "Retrying, next attempt at", "says that it is unavailable", "The provider set that time",
		"temporarily_unavailable", "Down for maintenance", "<dd>503</dd>", "<dd>7</dd>", "go unused for this long", "worker-3", "instance_url", "team",
		`role="img"`, `<title id="life-title">`, "<ol><li>", "Renew now", "Revoke",
		`value="https://app.example.com/connections/?profile=calendar"`, "People who open it connect their own account", `data-copy="link"`)
	page.lacks(t, "SECRET", "style=", "Connect again")
	if got := page.header.Get("Content-Security-Policy"); strings.Contains(got, "https:") {
		t.Errorf("got the policy %q, want none that lets forms lead elsewhere", got)
	}

	// For an own grant there is a button, which leads elsewhere.
	s.user = "ada"
	page = s.get("grant?" + keyForm(g).Encode())
	page.wants(t, 200, "Connect again")
	if got := page.header.Get("Content-Security-Policy"); !strings.Contains(got, "form-action 'self' https:;") {
		t.Errorf("got the policy %q, want one that lets the button lead to the provider", got)
	}
	s.h.ConnectionsURL, s.h.Redirect = "", nil
	s.get("grant?"+keyForm(g).Encode()).lacks(t, "Link to send", "Connect again")
}

// What a page offers is what can be done.
func TestGrantPageOffersWhatHelps(t *testing.T) {
	for _, tt := range []struct {
		name         string
		change       func(*authprofile.Grant)
		want, absent string
	}{
		{"active", func(*authprofile.Grant) {}, "Renew now", "Failure"},
		{"without a refresh token", func(g *authprofile.Grant) { g.RefreshToken = "" }, "gave no refresh token", "Renew now"},
		{"without an end", func(g *authprofile.Grant) { g.RefreshToken, g.Expiry = "", time.Time{} }, "did not say when the access token ends", "Renew now"},
		{"revoked", func(g *authprofile.Grant) {
			g.Status, g.Failure = authprofile.StatusNeedsReauthorization, &authprofile.Failure{Reason: authprofile.ReasonRevoked}
		}, "Only the user can restore it", "Renew now"},
		{"of another client", func(g *authprofile.Grant) {
			g.Status, g.Failure = authprofile.StatusNeedsReauthorization, &authprofile.Failure{Reason: authprofile.ReasonOtherClient}
		}, "its earlier client ID and addresses", "Only the user can restore it"},
		{"of no known time", func(g *authprofile.Grant) { g.Authorized, g.Obtained, g.Expiry = time.Time{}, time.Time{}, time.Time{} }, "No times are known.", "<svg"},
		{"failing while its token is good", func(g *authprofile.Grant) {
			g.Status, g.Failure = authprofile.StatusFailing, &authprofile.Failure{Reason: authprofile.ReasonUnreachable, Next: time.Now().Add(time.Minute)}
		}, "Until then, programs get the current access token", "needs its user"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newScene(t)
			g := &authprofile.Grant{
				GrantKey: authprofile.GrantKey{ProfileID: "calendar", User: "ada"}, Status: authprofile.StatusActive,
				AccessToken: "a", RefreshToken: "r", Authorized: time.Now(), Obtained: time.Now(), Expiry: time.Now().Add(time.Hour),
			}
			tt.change(g)
			page := s.get("grant?" + keyForm(s.put(g)).Encode())
			page.wants(t, 200, tt.want)
			page.lacks(t, tt.absent)
		})
	}
}

// What is not there, or cannot be read, is said on a plain page.
func TestGrantsThatAreNotThere(t *testing.T) {
	s := newScene(t)
	s.get("grant?profile=calendar&user=none").wants(t, 404, "There is no grant of this user for this profile")
	s.get("grant?profile=reports").wants(t, 404, "no grant for the application itself yet")
	s.get("revoke?profile=calendar&user=none").wants(t, 404, "There is no grant")
	page := s.post("renew", url.Values{"profile": {"calendar"}, "user": {"none"}})
	page.wants(t, 404, "There is no grant")
	page = s.post("revoke", url.Values{"profile": {"calendar"}, "user": {"none"}})
	page.wants(t, 200, "It was already gone.")

	g := s.connectAs(s.calendar, "ada")
	s.store.failing("Grant", errStoreAway)
	s.get("grant?"+keyForm(g).Encode()).wants(t, 503, "Try again in a moment")
	s.get("revoke?"+keyForm(g).Encode()).wants(t, 503, "Try again in a moment")
	s.post("renew", keyForm(g)).wants(t, 503, "Try again in a moment")
	s.post("revoke", keyForm(g)).wants(t, 200, "it cannot be read now")

	s.store.failing("Grant", &authprofile.Error{Op: "read", ProfileID: "calendar", User: "ada", Err: errors.New("no key")})
	s.get("grant?"+keyForm(g).Encode()).wants(t, 200, "Cannot be read", "Revoke", "Link to send")
	s.get("revoke?"+keyForm(g).Encode()).wants(t, 200, "so the provider cannot be told")
	s.post("renew", keyForm(g)).wants(t, 409, "Its record cannot be read.")
	s.post("revoke", keyForm(g)).wants(t, 200, "It was deleted here only: its record could not be read.")

	s.store.failing("Grant", nil)
	g = s.connectAs(s.calendar, "ada")
	s.store.failing("Profile", errStoreAway)
	s.get("grant?"+keyForm(g).Encode()).wants(t, 200, "The profile cannot be read now", "account-of-ada")
	s.post("renew", keyForm(g)).wants(t, 409, "the profile cannot be read now")
}

// A grant whose profile was deleted meanwhile can be seen and forgotten.
func TestGrantOfADeletedProfile(t *testing.T) {
	s := newScene(t)
	g := s.connectAs(s.calendar, "ada")
	s.store.failing("Profile", authprofile.ErrNotFound)
	page := s.get("grant?" + keyForm(g).Encode())
	page.wants(t, 200, "The profile was deleted")
	page.lacks(t, "Renew now")
	s.post("renew", keyForm(g)).wants(t, 409, "its profile was deleted")
	s.post("revoke", keyForm(g)).wants(t, 200, "deleted here only: its profile is gone")
	if _, err := s.m.Grant(t.Context(), g.GrantKey); !errors.Is(err, authprofile.ErrNotFound) {
		t.Errorf("got %v, want it gone", err)
	}
}

func TestRenew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t)
		g := s.connectAs(s.calendar, "ada")
		time.Sleep(time.Minute)
		// A valid token is replaced.
		page := s.post("renew", keyForm(g))
		page.wants(t, 200, "The token was renewed.", "account-of-ada")
		if got := page.location.Query().Encode(); got != "done=renewed&profile=calendar&user=ada" {
			t.Errorf("got the page %q, want that of the grant", got)
		}
		after, err := s.m.Grant(t.Context(), g.GrantKey)
		if err != nil || after.AccessToken == g.AccessToken {
			t.Errorf("got the same token (%v), want another", err)
		}
		// Too soon after that there is none, or another: each is said.
		for range 3 {
			if page := s.post("renew", keyForm(g)); page.status != 200 {
				page.wants(t, 409, "it was renewed a moment ago")
			}
		}
		// One that has ended is replaced as well.
		time.Sleep(3 * time.Hour)
		s.post("renew", keyForm(g)).wants(t, 200, "The token was renewed.")
		if log := s.log.String(); !strings.Contains(log, "person=olga action=renew profile=calendar") || strings.Contains(log, "ada") {
			t.Errorf("got the log\n%s\nwant records without the user", log)
		}
		if err := s.m.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// Another process has renewed the grant: the older token that is in this one's memory
// is no renewal.
func TestRenewIsNoOlderToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t)
		g := s.connectAs(s.calendar, "ada")
		if _, err := s.m.Token(t.Context(), s.calendar, authprofile.AsUser("ada")); err != nil {
			t.Fatal(err)
		}
		other := &authprofile.Manager{Store: s.store, HTTPClient: s.srv.Client()}
		time.Sleep(time.Minute)
		if _, err := other.Token(t.Context(), s.calendar, authprofile.AsUser("ada"), authprofile.Rejected(g.Token())); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		before := s.srv.Count("refresh_token")
		s.post("renew", keyForm(g)).wants(t, 200, "The token was renewed.")
		if got := s.srv.Count("refresh_token") - before; got != 1 {
			t.Errorf("got %d renewals, want 1", got)
		}
		for _, m := range []*authprofile.Manager{s.m, other} {
			if err := m.Shutdown(t.Context()); err != nil {
				t.Error(err)
			}
		}
	})
}

func TestRenewOfAnApplication(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t)
		p, err := s.m.Profile(t.Context(), "reports")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.m.Token(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		page := s.get("grant?profile=reports")
		page.wants(t, 200, "the application itself", "Renew now")
		page.lacks(t, "Connect", "Link to send")
		s.post("renew", url.Values{"profile": {"reports"}}).wants(t, 200, "The token was renewed.")
		s.get("revoke?profile=reports").wants(t, 200, "asks for a token gets a new one")
		if err := s.m.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// Why there is no new token is said in words.
func TestRenewThatFails(t *testing.T) {
	for _, tt := range []struct {
		name  string
		fault providertest.Fault
		want  string
	}{
		{"ended by the provider", providertest.Fault{Status: 400, Header: http.Header{"Content-Type": {"application/json"}}, Body: `{"error":"invalid_grant"}`}, "The provider ended the grant"},
		{"not now", providertest.Fault{Status: 503}, "The provider says that it is unavailable"},
		{"client refused", providertest.Fault{Status: 401, Header: http.Header{"Content-Type": {"application/json"}}, Body: `{"error":"invalid_client"}`}, "It was not renewed."},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newScene(t)
				g := s.connectAs(s.calendar, "ada")
				tt.fault.Times = -1
				s.srv.Fault(providertest.Token, tt.fault)
				page := s.post("renew", keyForm(g))
				page.wants(t, 409, tt.want, `role="alert"`, "Failure")
				page.lacks(t, "The token was renewed.")
				if log := s.log.String(); !strings.Contains(log, "console: failed") || !strings.Contains(log, "action=renew") || strings.Contains(log, "ada") {
					t.Errorf("got the log\n%s\nwant a failure without the user", log)
				}
				if err := s.m.Shutdown(t.Context()); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

func TestRevoke(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*scene, *authprofile.Profile)
		ask    string
		want   string
	}{
		{"told", nil, "The provider is told", "It was deleted here, and the provider confirmed the revocation."},
		{"by an address of the profile", func(s *scene, p *authprofile.Profile) {
			p.Endpoints = authprofile.Endpoints{AuthURL: s.srv.AuthURL(), TokenURL: s.srv.TokenURL(), RevocationURL: s.srv.RevocationURL()}
		}, "The provider is told", "It was deleted here, and the provider confirmed the revocation."},
		{"no address", func(s *scene, p *authprofile.Profile) {
			p.Endpoints = authprofile.Endpoints{AuthURL: s.srv.AuthURL(), TokenURL: s.srv.TokenURL()}
		}, "has no revocation address", "It was deleted here only"},
		{"refused", func(s *scene, _ *authprofile.Profile) {
			s.srv.Fault(providertest.Revocation, providertest.Fault{Times: -1, Status: 503})
		}, "The provider is told", "It was deleted here, but the provider did not confirm the revocation"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newScene(t)
			p := &authprofile.Profile{ID: "mail", Type: authprofile.TypeUser, Scopes: []string{"offline_access"}}
			if tt.change != nil {
				tt.change(s, p)
			}
			g := s.connectAs(s.save(p), "ada")
			page := s.get("revoke?" + keyForm(g).Encode())
			page.wants(t, 200, "Revoke the grant of ada?", tt.ask, "until the user connects the account again")
			if _, err := s.m.Grant(t.Context(), g.GrantKey); err != nil {
				t.Fatalf("got %v after the question, want the grant", err)
			}
			s.post("revoke", keyForm(g)).wants(t, 200, tt.want)
			if _, err := s.m.Grant(t.Context(), g.GrantKey); !errors.Is(err, authprofile.ErrNotFound) {
				t.Errorf("got %v, want it gone", err)
			}
			// Once more does no harm.
			s.post("revoke", keyForm(g)).wants(t, 200, "It was already gone.")
			if log := s.log.String(); strings.Count(log, "action=revoke profile=mail") != 2 || strings.Contains(log, "ada") {
				t.Errorf("got the log\n%s\nwant two records without the user", log)
			}
		})
	}
}

// The Store fails in the middle: nothing is claimed that is not so.
func TestRevokeWithoutAStore(t *testing.T) {
	s := newScene(t)
	g := s.connectAs(s.calendar, "ada")
	s.store.failing("DeleteGrant", errors.New("cannot delete the grant of ada"))
	page := s.post("revoke", keyForm(g))
	page.wants(t, 200, "and is still here")
	if log := s.log.String(); !strings.Contains(log, "cannot delete the grant of [user]") || strings.Contains(log, "ada") {
		t.Errorf("got the log\n%s\nwant the error without the user", log)
	}
}

// With LogUsers the log says whose grant it was.
func TestLogUsers(t *testing.T) {
	s := newScene(t, func(h *console.Handler) { h.LogUsers = true })
	g := s.connectAs(s.calendar, "ada")
	s.post("revoke", keyForm(g)).wants(t, 200)
	if log := s.log.String(); !strings.Contains(log, "person=olga action=revoke profile=calendar user=ada") {
		t.Errorf("got the log\n%s\nwant the user in it", log)
	}
}
