package console_test

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/authprofile/authprofile"
	"github.com/authprofile/authprofile/console"
)

// putSome stores n grants of the profile, in every status in turn.
func (s *scene) putSome(profile string, n int) {
	s.t.Helper()
	now := time.Now()
	for i := range n {
		g := &authprofile.Grant{
			GrantKey: authprofile.GrantKey{ProfileID: profile, User: fmt.Sprintf("user-%03d", i)},
			Account:  fmt.Sprintf("account-%03d", i), AccessToken: "SECRET-access", RefreshToken: "SECRET-refresh",
			Authorized: now.Add(-time.Hour), Obtained: now.Add(-time.Hour), Expiry: now.Add(time.Hour), Ends: now.Add(time.Duration(i) * 24 * time.Hour),
			Status: []authprofile.Status{authprofile.StatusActive, authprofile.StatusFailing, authprofile.StatusNeedsReauthorization, authprofile.StatusNeedsConfiguration}[i%4],
		}
		switch g.Status {
		case authprofile.StatusFailing:
			g.Failure = &authprofile.Failure{Reason: authprofile.ReasonUnreachable, Since: now.Add(-time.Minute), Last: now, Attempts: 3, Next: now.Add(time.Minute)}
		case authprofile.StatusNeedsReauthorization:
			g.Failure = &authprofile.Failure{Reason: authprofile.ReasonRevoked, Code: "invalid_grant", HTTPStatus: 400, Since: now, Last: now, Attempts: 1}
		case authprofile.StatusNeedsConfiguration:
			g.Failure = &authprofile.Failure{Reason: authprofile.ReasonClient, Code: "invalid_client", HTTPStatus: 401, Since: now, Last: now, Attempts: 1, Next: now.Add(time.Minute)}
		}
		s.put(g)
	}
}

// rows returns how many rows of the list a page has.
func (a *answer) rows() int { return strings.Count(a.body, `<th scope="row"`) }

// href returns the address of the link with that text.
func (a *answer) href(t *testing.T, text string) string {
	t.Helper()
	before, _, ok := strings.Cut(a.body, ">"+text+"</a>")
	if !ok {
		t.Fatalf("got no link %q:\n%s", text, a.body)
	}
	before = before[strings.LastIndex(before, `href="`)+len(`href="`):]
	before, _, _ = strings.Cut(before, `"`)
	return strings.ReplaceAll(before, "&amp;", "&")
}

func TestGrantsList(t *testing.T) {
	s := newScene(t)
	s.putSome("calendar", 120)
	s.put(&authprofile.Grant{GrantKey: authprofile.GrantKey{ProfileID: "reports"}, Status: authprofile.StatusActive, AccessToken: "SECRET-app"})
	s.get("grants").wants(t, 200, "user-000", "account-049", "Retrying, next attempt at", "Needs its user", "Needs an administrator", "Renew selected", "Revoke selected")

	// The pages have all of them, each once.
	seen, pages := 0, 0
	for at := "grants"; ; {
		page := s.get(at)
		page.wants(t, 200)
		seen += page.rows()
		if pages++; !strings.Contains(page.body, "Next page") || pages > 5 {
			page.wants(t, 200, "the application itself")
			if got := s.get(page.href(t, "First page")).rows(); got != 50 {
				t.Errorf("First page: got %d rows, want 50", got)
			}
			break
		}
		at = page.href(t, "Next page")
	}
	if seen != 121 || pages != 3 {
		t.Errorf("got %d grants on %d pages, want 121 on 3", seen, pages)
	}

	for _, tt := range []struct {
		query string
		want  int
	}{
		{"status=active", 31}, {"status=failing&profile=calendar", 30}, {"status=active&profile=reports", 1},
		{"user=user-007", 1}, {"user=user-00", 0}, {"days=10", 11}, {"status=&profile=&user=&days=", 50},
		{"days=100&status=active", 26},
	} {
		if got := s.get("grants?" + tt.query).rows(); got != tt.want {
			t.Errorf("%s: got %d grants, want %d", tt.query, got, tt.want)
		}
	}
	// The filters go from page to page.
	page := s.get("grants?profile=calendar&days=3000")
	next := page.href(t, "Next page")
	if want := "grants?after_profile=calendar&after_user=user-049&days=3000&profile=calendar"; next != want {
		t.Errorf("got next page %q, want %q", next, want)
	}
	if strings.Contains(page.body, "SECRET") {
		t.Error("got a token in the page")
	}
	if size := len(page.body) + len(s.get("style.css").body); size > 100<<10 {
		t.Errorf("got a page of %d bytes with its style, want at most 100 KB", size)
	}
}

// An exact page has no next one.
func TestGrantsListEndsWithItsPage(t *testing.T) {
	s := newScene(t)
	s.putSome("calendar", 50)
	if page := s.get("grants"); page.rows() != 50 || strings.Contains(page.body, "Next page") {
		t.Errorf("got %d rows, and a next page: %v; want 50 and none", page.rows(), strings.Contains(page.body, "Next page"))
	}
}

func TestEmptyListsSayWhatThatMeans(t *testing.T) {
	s := newScene(t)
	for query, want := range map[string]string{
		"":                             "There are no grants yet.",
		"status=active":                "No grant is active.",
		"status=failing":               "No grant is being retried.",
		"status=needs_reauthorization": "No user needs to connect an account again.",
		"status=needs_configuration":   "No grant needs an administrator.",
		"user=Ada":                     "upper and lower case",
		"after_profile=x":              "There are no more grants.",
	} {
		page := s.get("grants?" + query)
		page.wants(t, 200, want)
		if strings.Contains(page.body, "<table") {
			t.Errorf("%q: got a table, want none", query)
		}
	}
}

func TestThreat167_ForgedFiltersAreRefused(t *testing.T) {
	s := newScene(t)
	for _, query := range []string{
		"status=Active", "status=none", "status=active&status=failing", "days=0", "days=-1", "days=1e3", "days=99999999999999999999", "days=x",
		"user=%00", "user=%ff", "profile=%0a", "profile=" + strings.Repeat("a", 256), "user=" + strings.Repeat("a", 513),
		"after_user=x", "after_profile=%01", "after_profile=a&after_profile=b", "user=%", "status=<script>",
	} {
		page := s.get("grants?" + query)
		page.wants(t, 400, "This address cannot be read")
		if strings.Contains(page.body, "<script>") {
			t.Errorf("%s: got what was in the address", query)
		}
	}
	for _, query := range []string{"", "?profile=", "?user=x", "?profile=%00", "?profile=a&user=%ff"} {
		s.get("grant"+query).wants(t, 400, "which grant is meant")
		s.get("revoke"+query).wants(t, 400, "which grant is meant")
	}
	s.post("renew", nil).wants(t, 400)
	s.post("revoke", url.Values{"user": {"x"}}).wants(t, 400)
}

// What is read is what is shown, and one more.
func TestGrantsListReadsNoMoreThanItShows(t *testing.T) {
	s := newScene(t)
	s.putSome("calendar", 120)
	for _, page := range []string{"grants", "grants?status=active", "grants?after_profile=calendar&after_user=user-040"} {
		before := s.store.listed()
		s.get(page)
		if got := s.store.listed() - before; got > 51 {
			t.Errorf("%s: got %d records read, want at most 51", page, got)
		}
	}
}

// Records that cannot be read do not hide the others.
func TestGrantsThatCannotBeRead(t *testing.T) {
	s := newScene(t)
	s.putSome("calendar", 3)
	damaged := &authprofile.Error{Op: "read", ProfileID: "calendar", User: "damaged", Err: errors.New("no key")}
	s.store.failing("ListGrants", damaged)
	page := s.get("grants")
	page.wants(t, 200, "user-002", "1 record cannot be read", `href="grant?profile=calendar&amp;user=damaged"`)
	s.store.failing("ListGrants", errStoreAway)
	s.get("grants").wants(t, 503, "Try again in a moment")
}

func TestThreat162_TextsFromOutsideAreEscaped(t *testing.T) {
	s := newScene(t)
	const evil = `"><script>alert(1)</script><a href="javascript:x`
	now := time.Now()
	s.put(&authprofile.Grant{
		GrantKey: authprofile.GrantKey{ProfileID: "calendar", User: evil}, Account: evil, Subject: evil, Issuer: "javascript:alert(1)", ClientID: evil,
		Scopes: []string{evil}, Requested: []string{evil + "2"}, Extra: map[string]authprofile.Secret{evil: "SECRET-extra"},
		AccessToken: "SECRET-access", RefreshToken: "SECRET-refresh", Obtained: now, Expiry: now.Add(time.Hour),
		Status:  authprofile.StatusNeedsConfiguration,
		Failure: &authprofile.Failure{Reason: authprofile.ReasonClient, Code: evil, Description: evil, Since: now, Last: now},
		Lease:   &authprofile.Lease{Owner: evil, Attempt: "SECRET-attempt", Length: time.Millisecond},
	})
	query := url.Values{"profile": {"calendar"}, "user": {evil}}
	form := url.Values{"grant": {query.Encode()}, "action": {"revoke"}}
	for name, page := range map[string]*answer{
		"list": s.get("grants"), "filtered": s.get("grants?user=" + url.QueryEscape(evil)), "grant": s.get("grant?" + query.Encode()),
		"ask": s.get("revoke?" + query.Encode()), "ask several": s.post("several", form), "renew": s.post("renew", query),
		"revoked": s.post("revoke", query),
	} {
		if page.status != 200 && page.status != 409 || !strings.Contains(page.body, "&lt;script&gt;") {
			t.Errorf("%s: got status %d, and no trace of the text:\n%s", name, page.status, page.body)
		}
		if strings.Contains(page.body, "<script>") || strings.Contains(page.body, `href="javascript:`) || strings.Contains(page.body, "SECRET") || strings.Contains(page.body, "style=") {
			t.Errorf("%s: got a page with what must not be in it:\n%s", name, page.body)
		}
	}
}

// Nothing can be changed with ReadOnly, and no page pretends that it could be.
func TestReadOnlyGrants(t *testing.T) {
	s := newScene(t, func(h *console.Handler) { h.ReadOnly = true })
	g := s.connectAs(s.calendar, "olga@example.com")
	key := url.Values{"profile": {"calendar"}, "user": {g.User}}
	for _, path := range []string{"grants", "grant?" + key.Encode()} {
		page := s.get(path)
		page.wants(t, 200, "olga@example.com")
		if strings.Contains(page.body, `method="post"`) && strings.Contains(page.body, "<button name") || strings.Contains(page.body, "checkbox") || strings.Contains(page.body, "Revoke") || strings.Contains(page.body, "Renew now") {
			t.Errorf("%s: got a button that changes something:\n%s", path, page.body)
		}
	}
	s.get("revoke?"+key.Encode()).wants(t, 403)
	for _, path := range []string{"renew", "revoke", "connect", "several"} {
		s.post(path, key).wants(t, 403, "This console is read-only")
	}
	if s.srv.Hits("revocation") != 0 {
		t.Error("got a revocation, want none")
	}
}
