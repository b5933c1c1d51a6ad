package console_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authprofile/authprofile"
)

func failed(reason authprofile.Reason, ago time.Duration) func(*authprofile.Grant) {
	since := time.Now().Add(-ago)
	return func(g *authprofile.Grant) {
		g.Failure = &authprofile.Failure{Reason: reason, Since: since, Last: since, Attempts: 7, Description: "planted-description"}
	}
}

// inOrder fails the test unless the page has these parts, one after the other.
func (a *answer) inOrder(t *testing.T, parts ...string) {
	t.Helper()
	rest := a.body
	for _, part := range parts {
		_, after, ok := strings.Cut(rest, part)
		if !ok {
			t.Errorf("got a page without %q at its place:\n%s", part, a.body)
			return
		}
		rest = after
	}
}

// What needs a person comes by harm, each with why, since when, and what to do.
func TestAttention(t *testing.T) {
	s := newWatchedStore()
	putProfile(t, s, "crm", "Customers", nil)
	putProfile(t, s, "mail", "Mailboxes", func(p *authprofile.Profile) { p.SecretExpires = time.Now().Add(5*day + time.Minute) })
	putProfile(t, s, "old", "Archive", func(p *authprofile.Profile) { p.SecretExpires = time.Now().Add(-3 * day) })
	putProfile(t, s, "later", "Later", func(p *authprofile.Profile) { p.SecretExpires = time.Now().Add(60 * day) })
	for i := range 12 {
		put(t, s, "crm", fmt.Sprintf("clerk%02d", i), authprofile.StatusNeedsConfiguration, failed(authprofile.ReasonClient, 50*time.Hour))
	}
	put(t, s, "crm", "zoe", authprofile.StatusActive, nil)
	put(t, s, "gone", "", authprofile.StatusNeedsConfiguration, failed(authprofile.ReasonConfiguration, time.Hour))
	put(t, s, "mail", "ada", authprofile.StatusNeedsReauthorization, failed(authprofile.ReasonRevoked, 3*day))
	put(t, s, "mail", "bob", authprofile.StatusActive, ends(9*day+time.Minute))
	put(t, s, "mail", "cyd", authprofile.StatusFailing, ends(4*day+time.Minute))
	put(t, s, "mail", "dan", authprofile.StatusActive, ends(31*day))
	_, b := watch(t, s)

	a := b.get("attention")
	a.inOrder(t,
		"<h2>Needs an administrator</h2>",
		`<a href="profile?id=crm">Customers</a></strong>, 12 grants`, "(2 days ago)", "The provider refuses the client", "Compare the profile",
		`href="grants?profile=crm&amp;status=needs_configuration"`,
		"<code>gone</code> (this profile no longer exists)</strong>, 1 grant", "The profile was deleted", "Revoke it",
		"<h2>Needs its user</h2>",
		`<a href="grant?profile=mail&amp;user=ada">ada</a>`, `<a href="profile?id=mail">Mailboxes</a>`, "(3 days ago)", "The provider ended the grant", "Ask the user to connect",
		"<h2>Ends within 30 days</h2>", "2 in all, counted at",
		">cyd</a>", "(in 4 days)", "Ask the user", ">bob</a>", "(in 9 days)",
		"<h2>Client secrets that end</h2>", "2 in all, counted at",
		">Archive</a>", ": ended at", "(3 days ago)", "Create a new one", ">Mailboxes</a>", ": ends at", "(in 5 days)", "Create a new one",
	)
	a.lacks(t, "clerk01", ">zoe<", ">dan<", "Later", "Nothing needs attention", "See all grants that need", "planted")

	// Of a deleted profile no secret is left.
	if err := s.DeleteProfile(t.Context(), "old"); err != nil {
		t.Fatal(err)
	}
	b.get("attention").lacks(t, "Archive", ">old<", "ended at")

	a = b.get("")
	a.wants(t, 200, "Customers</a>, 12 grants", ">ada</a>", "Ends in 4 days", "Ends in 5 days", `href="attention"`)
	a.lacks(t, "Nothing needs attention", "planted")
}

func TestNothingNeedsAttention(t *testing.T) {
	s := newWatchedStore()
	putProfile(t, s, "crm", "Customers", nil)
	put(t, s, "crm", "ada", authprofile.StatusActive, nil)
	_, b := watch(t, s)
	b.get("attention").wants(t, 200, "Nothing needs attention")
	b.get("").wants(t, 200, "Nothing needs attention")

	// That is not said of what could not be read.
	s.listing = func(context.Context) error { return errors.New("connection refused") }
	h, b := watch(t, s)
	a := b.get("attention")
	a.wants(t, 200, "The store could not be read")
	a.lacks(t, "Nothing needs attention", "connection refused", "None.</p>\n\n\n<h2>Needs its user")
	b.get("").lacks(t, "Nothing needs attention")
	h.Stale()
	s.profiles = s.listing
	b.get("").wants(t, 200, "The store could not be read")
}

// Where it takes long to count the grants of a profile, the page goes without.
func TestNumbersThatTakeLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newWatchedStore()
		for i := range 20 {
			put(t, s, fmt.Sprintf("profile%02d", i), "ada", authprofile.StatusNeedsConfiguration, failed(authprofile.ReasonClient, time.Hour))
		}
		_, b := watch(t, s)
		b.get("attention").wants(t, 200, ", 1 grant")
		s.numbers = func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
		var a *answer
		if d := took(func() { a = b.get("attention") }); d > 300*time.Millisecond {
			t.Errorf("got a page after %v, want at most 300ms", d)
		}
		a.wants(t, 200, "profile19", "The profile was deleted")
		a.lacks(t, ", 1 grant", "could not be read")
	})
}

// However much there is, a page reads what it shows, and one more of each list; the
// overview as much as "Needs attention".
func TestPagesReadWhatTheyShow(t *testing.T) {
	s := newWatchedStore()
	for i := range 60 {
		id := fmt.Sprintf("profile%02d", i)
		putProfile(t, s, id, "", nil)
		for j := range 30 {
			put(t, s, id, fmt.Sprintf("c%02d", j), authprofile.StatusNeedsConfiguration, failed(authprofile.ReasonClient, time.Hour))
			put(t, s, id, fmt.Sprintf("u%02d", j), authprofile.StatusNeedsReauthorization, failed(authprofile.ReasonRevoked, time.Hour))
		}
	}
	// The last user that a store can keep is skipped too.
	put(t, s, "profile00", strings.Repeat("\U0010FFFF", 128), authprofile.StatusNeedsConfiguration, nil)
	_, b := watch(t, s)
	b.get("attention")

	for _, tt := range []struct {
		page             string
		grants, profiles int32
	}{
		{"attention", 21 + 21, 20},
		{"", 21 + 4, 3 + 1}, // of the first 20 profiles it shows those with the most grants
	} {
		s.grantsRead.Store(0)
		s.profilesRead.Store(0)
		a := b.get(tt.page)
		if got := s.grantsRead.Load(); got > tt.grants {
			t.Errorf("page %q: got %d grants read, want at most %d", tt.page, got, tt.grants)
		}
		if got := s.profilesRead.Load(); got > tt.profiles {
			t.Errorf("page %q: got %d profiles read, want at most %d", tt.page, got, tt.profiles)
		}
		if len(a.body) > 40_000 {
			t.Errorf("page %q: got %d bytes, want at most 40,000", tt.page, len(a.body))
		}
	}
	a := b.get("attention")
	a.wants(t, 200, ">profile19</a>", "30 grants", "31 grants", "1,800 grants have no token", ">u19</a>",
		`href="grants?status=needs_configuration"`, `href="grants?status=needs_reauthorization"`)
	a.lacks(t, ">profile20<", ">u20<")
	if got := strings.Count(a.body, `<p><strong>`); got != 40 {
		t.Errorf("got %d matters, want 20 profiles and 20 grants", got)
	}
}

// What others have written is text on a page, wherever it stands.
func TestThreat162_HostileTextsNeedAttention(t *testing.T) {
	const hostile = `"><script>alert(1)</script>&{{.}}`
	s := newWatchedStore()
	putProfile(t, s, hostile, hostile, func(p *authprofile.Profile) { p.SecretExpires = time.Now() })
	put(t, s, hostile, hostile, authprofile.StatusNeedsReauthorization, failed(hostile, time.Hour))
	put(t, s, hostile, hostile+"2", authprofile.StatusNeedsConfiguration, failed(hostile, time.Hour))
	put(t, s, hostile, hostile+"3", authprofile.StatusActive, func(g *authprofile.Grant) { ends(day)(g); g.EndsBy = hostile })
	put(t, s, "javascript:alert(1)", "javascript:alert(1)", authprofile.StatusNeedsReauthorization, nil)
	_, b := watch(t, s)
	for _, page := range []string{"", "attention"} {
		a := b.get(page)
		a.wants(t, 200, "&lt;script&gt;")
		a.lacks(t, "<script>alert", `href="javascript:`)
		links := regexpHref.FindAllStringSubmatch(a.body, -1)
		if !slices.ContainsFunc(links, func(l []string) bool {
			u, err := url.Parse(strings.ReplaceAll(l[1], "&amp;", "&"))
			return err == nil && u.Path == "grant" && u.Query().Get("user") == hostile
		}) {
			t.Errorf("page %q: got no link to the grant of a user with special characters", page)
		}
	}
}

// What concerns most grants comes first, and what was counted before a change in the
// console is counted anew.
func TestMostGrantsFirst(t *testing.T) { synctest.Test(t, testMostGrantsFirst) }

func testMostGrantsFirst(t *testing.T) {
	s := newWatchedStore()
	for i, id := range []string{"a", "b", "c", "d", "e"} {
		putProfile(t, s, id, "Profile "+id, nil)
		for j := range i + 1 {
			put(t, s, id, fmt.Sprint("user", j), authprofile.StatusNeedsConfiguration, failed(authprofile.ReasonClient, time.Hour))
		}
	}
	_, b := watch(t, s)
	for _, page := range []string{"", "attention"} {
		b.get(page).inOrder(t, "Profile e", "Profile d", "Profile c")
	}
	b.get("").wants(t, 200, `<span class="figure">15</span>`)
	b.post("revoke", url.Values{"profile": {"e"}, "user": {"user0"}}).wants(t, 200)
	b.get("").wants(t, 200, `<span class="figure">14</span>`)
}
