package console_test

import (
	"fmt"
	"html"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authprofile/authprofile"
	"github.com/authprofile/authprofile/console"
	"github.com/authprofile/authprofile/providertest"
)

// oddUsers have letters that mean something in addresses, pages or programs.
var oddUsers = []string{
	"a b", "a+b", "a&user=b", "a%2fb", "a/b/../c", "//evil.example.com", "https://evil.example.com/?a=b#c", "#top", "?done=saved",
	`"quoted" 'twice'`, "<b>bold</b>", "{{.Page}}", "javascript:alert(1)", "\\\\host\\share", "..", ".", "-1", "a;b=c", "a=b", "%", "%zz", "%00",
	"Zoë 🙂", "\u202eevil", "x\u00a0y", strings.Repeat("ü", 256), strings.Repeat("&", 512),
}

// oddIDs are profile IDs as odd as Save lets them be.
var oddIDs = []string{"https:", "javascript:x", "a b", "a+b", "a&b=c", "100%", "%2e%2e", "?x", "#x", "...", "'", `"`, "<b>", "{{.}}", "é", "-2", strings.Repeat("%", 255)}

// The pages find each record by its key, whatever that is made of, and each form acts on
// the record that its page has shown.
func TestOddKeys(t *testing.T) {
	s := newScene(t)
	for _, user := range oddUsers {
		g := s.put(&authprofile.Grant{GrantKey: authprofile.GrantKey{ProfileID: "calendar", User: user}, Status: authprofile.StatusActive, ClientID: providertest.ClientID})
		pages := newCrawler(t, s.h)
		address := "/grant?" + keyForm(g).Encode()
		v := pages.ask(http.MethodGet, address, nil)
		if v.status != 200 {
			t.Errorf("%q: got status %d, want its page", user, v.status)
			continue
		}
		links := v.page(t).links
		isFound := false
		for _, l := range links {
			if strings.HasPrefix(l.address, "revoke?") {
				isFound = true
				to, inside, err := resolve(address, l.address)
				if err != nil || !inside {
					t.Fatalf("%q: got the link %q, want one to a page", user, l.address)
				}
				page := pages.ask(http.MethodGet, to, nil).page(t)
				for _, f := range page.forms {
					if f.action != "revoke" {
						continue
					}
					s.post("revoke", f.values(nil, pageField{})).wants(t, 200, "The grant was revoked")
				}
			}
		}
		if _, err := s.m.Grant(t.Context(), g.GrantKey); err == nil || !isFound {
			t.Errorf("%q: got a grant, want none after its revocation by its page", user)
		}
	}

	for _, id := range oddIDs {
		form := with(formOf(t, s.get("new-profile").body), "id", id, "client_id", "c", "template", "google")
		a := s.post("profile", form)
		if a.status == http.StatusUnprocessableEntity {
			continue // Save does not let it be
		}
		a.wants(t, 200, "Saved.")
		if a.location.Host != "app.example.com" || a.location.Path != "/profile" || a.location.Query().Get("id") != id {
			t.Errorf("%q: got the browser sent to %s", id, a.location)
		}
		shown := strings.ReplaceAll(html.EscapeString(id), "+", "&#43;")
		s.post("profile", with(formOf(t, a.body), "name", " ")).wants(t, 200, "<h1>Profile: "+shown+"</h1>")
		s.get("profiles?"+url.Values{"from": {id}}.Encode()).wants(t, 200, ">"+shown+"</a>")
		a = s.get("profile?" + url.Values{"id": {id}}.Encode())
		s.post("profile", with(formOf(t, a.body), "name", "Again")).wants(t, 200, "Saved.")
		got := stored(t, s.m, id)
		if got.Name != "Again" {
			t.Errorf("%q: got the name %q, want the new one", id, got.Name)
		}
		s.get("profiles?"+url.Values{"from": {id}}.Encode()).wants(t, 200, "Again")
		s.get("delete-profile?"+url.Values{"id": {id}}.Encode()).wants(t, 200, "Again")
		s.post("delete-profile", url.Values{"id": {id}, "version": {fmt.Sprint(got.Version)}}).wants(t, 200, "were deleted")
		if _, err := s.m.Profile(t.Context(), id); err == nil {
			t.Errorf("%q: got a profile, want none after its deletion", id)
		}
	}
}

// Pages show times far from now, and none at all.
func TestOddTimes(t *testing.T) {
	s := newScene(t)
	times := []time.Time{{}, time.Unix(0, 0), time.Unix(-1<<40, 0), time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC), time.Date(20000, 1, 1, 0, 0, 0, 0, time.FixedZone("", 14*3600))}
	for i, at := range times {
		for j, other := range times {
			g := s.put(&authprofile.Grant{
				GrantKey: authprofile.GrantKey{ProfileID: "calendar", User: fmt.Sprint(i, j)}, Status: authprofile.StatusFailing, AccessToken: "a", RefreshToken: "r", ClientID: "c",
				Obtained: at, Expiry: other, RefreshExpiry: at, Ends: other, Authorized: at,
				Failure: &authprofile.Failure{Reason: authprofile.ReasonLost, Since: other, Last: at, Next: other},
			})
			a := s.get("grant?" + keyForm(g).Encode())
			a.wants(t, 200, "Retrying")
			a.lacks(t, "NaN", "Inf", "%!", "-9223372036854775808")
		}
	}
	for _, page := range []string{"", "attention", "grants", "grants?days=3650", "profile?id=calendar"} {
		s.get(page).wants(t, 200)
	}
}

// A next attempt on another day is said with its day.
func TestNextAttemptOnAnotherDay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // where it is midnight
		m := new(authprofile.Manager)
		t.Cleanup(func() { m.Shutdown(t.Context()) })
		store := new(authprofile.MemStore)
		m.Store = store
		b := open(t, &console.Handler{Manager: m, Operator: operator})
		for after, want := range map[time.Duration]string{time.Hour: "next attempt at 01:00:00 UTC", 50 * time.Hour: "next attempt at 3 Jan 2000, 02:00:00 UTC"} {
			g := &authprofile.Grant{GrantKey: authprofile.GrantKey{ProfileID: "p", User: after.String()}, Status: authprofile.StatusFailing, ClientID: "c",
				Failure: &authprofile.Failure{Reason: authprofile.ReasonUnavailable, Next: time.Now().Add(after)}}
			if err := store.PutGrant(t.Context(), g); err != nil {
				t.Fatal(err)
			}
			b.get("grant?"+keyForm(g).Encode()).wants(t, 200, want)
		}
	})
}

// Many people at once neither race nor save over each other unawares.
func TestManyAtOnce(t *testing.T) {
	s := newScene(t)
	g := s.connectAs(s.calendar, s.user)
	form := formOf(t, s.get("profile?id=calendar").body)
	var wg sync.WaitGroup
	var mu sync.Mutex
	saved := 0
	for i := range 8 {
		wg.Go(func() {
			a := s.post("profile", with(form, "name", fmt.Sprint("Name ", i)))
			mu.Lock()
			if a.status == http.StatusOK {
				saved++
			} else if a.status != http.StatusConflict {
				t.Errorf("got status %d, want a conflict", a.status)
			}
			mu.Unlock()
			for _, page := range []string{"", "attention", "profiles", "grants", "providers", "new-profile", "style.css", "grant?" + keyForm(g).Encode()} {
				s.get(page)
			}
			s.post("check", form)
			s.post("renew", keyForm(g))
			s.post("several", selected("renew", g))
		})
	}
	wg.Wait()
	if saved != 1 {
		t.Errorf("got %d saves of the same version, want 1", saved)
	}
}
