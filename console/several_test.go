package console_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"testing/synctest"

	"github.com/authprofile/authprofile"
	"github.com/authprofile/authprofile/providertest"
)

// selected is the form of the list with these grants chosen.
func selected(action string, grants ...*authprofile.Grant) url.Values {
	form := url.Values{"action": {action}, "back": {"grants?status=active"}}
	for _, g := range grants {
		form.Add("grant", keyForm(g).Encode())
	}
	return form
}

func (s *scene) connectMany(n int) []*authprofile.Grant {
	s.t.Helper()
	var list []*authprofile.Grant
	for i := range n {
		list = append(list, s.connectAs(s.calendar, fmt.Sprintf("user-%02d", i)))
	}
	return list
}

func TestSeveralRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t)
		list := s.connectMany(12)
		gone := &authprofile.Grant{GrantKey: authprofile.GrantKey{ProfileID: "calendar", User: "gone"}}
		page := s.post("several", selected("renew", append(list, gone, list[0])...))
		page.wants(t, 200, "12 of 13 renewed", "It no longer exists", `href="grants?status=active"`)
		if got := page.rows(); got != 13 {
			t.Errorf("got %d results, want 13", got)
		}
		for _, g := range list {
			after, err := s.m.Grant(t.Context(), g.GrantKey)
			if err != nil || after.AccessToken == g.AccessToken {
				t.Errorf("%s: got the same token (%v), want another", g.User, err)
			}
		}
		if log := s.log.String(); strings.Count(log, "console: done") != 12 || strings.Count(log, "console: failed") != 1 || strings.Contains(log, "user-") {
			t.Errorf("got the log\n%s\nwant 13 records without users", log)
		}
		if err := s.m.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// Revoking asks first, and sending the form twice does no harm.
func TestSeveralRevoked(t *testing.T) {
	s := newScene(t)
	list := s.connectMany(3)
	page := s.post("several", selected("revoke", list...))
	page.wants(t, 200, "Revoke these 3 grants?", "user-00", "user-02", `name="sure"`)
	if got := s.srv.Hits(providertest.Revocation); got != 0 {
		t.Fatalf("got %d revocations before the answer, want none", got)
	}
	form := selected("revoke", list...)
	form.Set("sure", "yes")
	s.post("several", form).wants(t, 200, "3 of 3 revoked", "It was deleted here, and the provider confirmed the revocation.")
	s.post("several", form).wants(t, 200, "3 of 3 revoked", "It was already gone.")
	for _, g := range list {
		if _, err := s.m.Grant(t.Context(), g.GrantKey); !errors.Is(err, authprofile.ErrNotFound) {
			t.Errorf("%s: got %v, want it gone", g.User, err)
		}
	}
}

func TestThreat167_FormsOfSeveral(t *testing.T) {
	s := newScene(t)
	list := s.connectMany(1)
	many := selected("renew")
	for i := range 51 {
		many.Add("grant", url.Values{"profile": {"calendar"}, "user": {fmt.Sprint(i)}}.Encode())
	}
	for _, tt := range []struct {
		name string
		form url.Values
		want string
	}{
		{"nothing chosen", selected("renew"), "No grant is selected"},
		{"no action", selected("", list...), "what to do"},
		{"another action", selected("delete", list...), "what to do"},
		{"too many", many, "It may name at most 50 grants"},
		{"not a grant", url.Values{"action": {"renew"}, "grant": {"user=ada"}}, "could not be read"},
		{"not readable", url.Values{"action": {"renew"}, "grant": {"profile=%"}}, "could not be read"},
		{"of a user that cannot be", url.Values{"action": {"renew"}, "grant": {"profile=calendar&user=%00"}}, "could not be read"},
	} {
		page := s.post("several", tt.form)
		page.wants(t, 400, tt.want, "Nothing was changed")
	}
	// Where to go back to is the list, whatever the form says.
	for _, back := range []string{"https://evil.example.com/", "javascript:alert(1)", "//evil.example.com", "grants?status=none", "grants?%", "%"} {
		form := selected("revoke", list...)
		form.Set("back", back)
		page := s.post("several", form)
		page.wants(t, 200, `href="grants"`)
		page.lacks(t, "evil", "javascript")
	}
	if s.srv.Hits(providertest.Revocation) != 0 || s.srv.Count("refresh_token") != 0 {
		t.Error("got requests to the provider, want none")
	}
}

// A busyStore counts how many look at a grant at the same time, and panics for one.
type busyStore struct {
	authprofile.Store
	mu        sync.Mutex
	now, most int
}

func (s *busyStore) Grant(ctx context.Context, key authprofile.GrantKey) (*authprofile.Grant, error) {
	s.mu.Lock()
	s.now++
	s.most = max(s.most, s.now)
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.now--
	}()
	if key.User == "user-03" {
		panic("SECRET")
	}
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-time.After(10 * time.Second):
		return s.Store.Grant(ctx, key)
	}
}

// At most eight run at a time, all of them within a minute or so, and one that panics
// does not take the others with it.
func TestSeveralAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t)
		busy := &busyStore{Store: s.store.Store}
		s.store.Store = busy
		var list []*authprofile.Grant
		for i := range 50 {
			g := &authprofile.Grant{GrantKey: authprofile.GrantKey{ProfileID: "calendar", User: fmt.Sprintf("user-%02d", i)}, ClientID: providertest.ClientID, Issuer: "https://login.example.com", Status: authprofile.StatusActive}
			list = append(list, s.put(g))
		}
		form := selected("revoke", list...)
		form.Set("sure", "yes")
		began := time.Now()
		page := s.post("several", form)
		page.wants(t, 200, "There was not enough time for it", "a fault in the program", "It was deleted here.")
		if page.rows() != 50 {
			t.Errorf("got %d results, want 50", page.rows())
		}
		if took := time.Since(began); took > 90*time.Second {
			t.Errorf("got an answer after %v, want one within 90s", took)
		}
		if busy.most > 8 || busy.most < 2 {
			t.Errorf("got %d at a time, want up to 8", busy.most)
		}
		if log := s.log.String(); strings.Contains(log, "SECRET") {
			t.Errorf("got the text of a panic in the log:\n%s", log)
		}
		if err := s.m.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	})
}
