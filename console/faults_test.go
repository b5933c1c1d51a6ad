package console_test

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/authprofile/authprofile"
)

// How a faultyStore fails.
const (
	failsBefore = "fails"            // nothing is done
	failsAfter  = "loses the answer" // what was asked is done
	failsHard   = "panics"
)

// A faultyStore fails at one call, counted from one, and works otherwise.
type faultyStore struct {
	authprofile.Store
	mu    sync.Mutex
	how   string
	at    int
	calls []string
}

func (s *faultyStore) arm(how string, at int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.how, s.at, s.calls = how, at, nil
}

// called returns the names of the methods that were called since the store was armed.
func (s *faultyStore) called() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls
}

// faulty calls a method of a Store, and may fail.
func faulty[T any](s *faultyStore, op string, call func() (T, error)) (T, error) {
	s.mu.Lock()
	s.calls = append(s.calls, op)
	how := ""
	if len(s.calls) == s.at {
		how = s.how
	}
	s.mu.Unlock()
	var none T
	switch how {
	case failsBefore:
		return none, errStoreAway
	case failsHard:
		panic("the text of a panic")
	}
	v, err := call()
	if how == failsAfter {
		return none, errStoreAway
	}
	return v, err
}

// void makes a call without a result fit for faulty.
func void(err error) (struct{}, error) { return struct{}{}, err }

func (s *faultyStore) Profile(ctx context.Context, id string) (*authprofile.Profile, error) {
	return faulty(s, "Profile", func() (*authprofile.Profile, error) { return s.Store.Profile(ctx, id) })
}

func (s *faultyStore) PutProfile(ctx context.Context, p *authprofile.Profile) error {
	_, err := faulty(s, "PutProfile", func() (struct{}, error) { return void(s.Store.PutProfile(ctx, p)) })
	return err
}

func (s *faultyStore) DeleteProfile(ctx context.Context, id string) error {
	_, err := faulty(s, "DeleteProfile", func() (struct{}, error) { return void(s.Store.DeleteProfile(ctx, id)) })
	return err
}

func (s *faultyStore) Grant(ctx context.Context, key authprofile.GrantKey) (*authprofile.Grant, error) {
	return faulty(s, "Grant", func() (*authprofile.Grant, error) { return s.Store.Grant(ctx, key) })
}

func (s *faultyStore) PutGrant(ctx context.Context, g *authprofile.Grant) error {
	_, err := faulty(s, "PutGrant", func() (struct{}, error) { return void(s.Store.PutGrant(ctx, g)) })
	return err
}

func (s *faultyStore) DeleteGrant(ctx context.Context, key authprofile.GrantKey) error {
	_, err := faulty(s, "DeleteGrant", func() (struct{}, error) { return void(s.Store.DeleteGrant(ctx, key)) })
	return err
}

func (s *faultyStore) ListGrants(ctx context.Context, f authprofile.GrantFilter, after authprofile.GrantKey, limit int) ([]*authprofile.Grant, error) {
	return faulty(s, "ListGrants", func() ([]*authprofile.Grant, error) { return s.Store.ListGrants(ctx, f, after, limit) })
}

func (s *faultyStore) ListProfiles(ctx context.Context, after string, limit int) ([]*authprofile.Profile, error) {
	return faulty(s, "ListProfiles", func() ([]*authprofile.Profile, error) { return s.Store.ListProfiles(ctx, after, limit) })
}

func (s *faultyStore) CountGrants(ctx context.Context, id string) (map[authprofile.Status]int64, error) {
	return faulty(s, "CountGrants", func() (map[authprofile.Status]int64, error) { return s.Store.CountGrants(ctx, id) })
}

func (s *faultyStore) PutFlow(ctx context.Context, f *authprofile.Flow) error {
	_, err := faulty(s, "PutFlow", func() (struct{}, error) { return void(s.Store.PutFlow(ctx, f)) })
	return err
}

// changes are the forms of the console, each with what must be so where it says that
// all went well.
func changes(s *scene, g *authprofile.Grant) map[string]struct {
	to   string
	form url.Values
	kept string // what was typed, and has to come back
	done func() bool
} {
	edit := with(formOf(s.t, s.get("profile?id=calendar").body), "name", "Typed & kept")
	removal := url.Values{"id": {"calendar"}, "version": {edit.Get("version")}}
	isGone := func() bool {
		_, err := s.m.Grant(s.t.Context(), g.GrantKey)
		return err != nil
	}
	return map[string]struct {
		to   string
		form url.Values
		kept string
		done func() bool
	}{
		"save": {"profile", edit, "Typed &amp; kept", func() bool { return stored(s.t, s.m, "calendar").Name == "Typed & kept" }},
		"test": {"check", edit, "", func() bool { return true }},
		"delete": {"delete-profile", removal, "", func() bool {
			_, err := s.m.Profile(s.t.Context(), "calendar")
			return err != nil && isGone()
		}},
		"renew": {"renew", keyForm(g), "", func() bool {
			after, err := s.m.Grant(s.t.Context(), g.GrantKey)
			return err == nil && after.AccessToken != g.AccessToken
		}},
		"revoke":  {"revoke", keyForm(g), "", isGone},
		"several": {"several", with(selected("revoke", g), "sure", "yes"), "", isGone},
	}
}

// mostCalls is more than any of the changes takes.
const mostCalls = 12

// Wherever a Store fails, a page says so, and none says that a change was made that was
// not. Each change is in the log once, however it has ended.
func TestStoreFailsAtEachCall(t *testing.T) {
	for _, name := range []string{"save", "test", "delete", "renew", "revoke", "several"} {
		for _, how := range []string{failsBefore, failsAfter, failsHard} {
			t.Run(name+" "+how, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s := newScene(t)
					defer s.m.Shutdown(context.Background())
					f := &faultyStore{Store: s.store.Store}
					s.store.Store = f
					for at, calls := 0, mostCalls; at <= calls; at++ {
						calls = s.failAt(f, name, how, at, calls)
					}
				})
			})
		}
	}
}

// failAt makes a change, with a Store that fails at one call; zero: it does not. Then it
// returns how many calls there are, and otherwise what it got.
func (s *scene) failAt(f *faultyStore, name, how string, at, most int) int {
	t := s.t
	// As it was before the last one.
	if err := s.m.Delete(t.Context(), "calendar"); err != nil {
		t.Fatal(err)
	}
	p := s.save(&authprofile.Profile{ID: "calendar", Type: authprofile.TypeUser, Scopes: []string{"openid", "offline_access"}})
	g := s.connectAs(p, s.user)
	change := changes(s, g)[name]
	before := len(s.log.String())
	f.arm(how, at)
	a := s.post(change.to, change.form)
	calls := f.called()
	f.arm("", 0)
	if at == 0 {
		most = len(calls)
	}
	if at == 0 && (most > mostCalls || !change.done() || a.status != http.StatusOK) {
		t.Errorf("without a failure: got %d calls and status %d, want at most %d and what was to be done", most, a.status, mostCalls)
	}
	op := "none"
	if at > 0 && at <= len(calls) {
		op = calls[at-1]
	}
	isOver := strings.Contains(a.location.RawQuery, "done=") // only the page after it was not read
	said := s.log.String()[before:]
	switch {
	case strings.Count(a.body, "<!DOCTYPE html>") != 1 || strings.Count(a.body, "</html>") != 1:
		t.Errorf("%d, %s: got no whole page:\n%s", at, op, a.body)
	case a.status == http.StatusOK && (strings.Contains(a.body, `"good"`) || strings.Contains(a.body, `message good"`)) && !change.done():
		t.Errorf("%d, %s: got a page that says that it is done, and it is not:\n%s", at, op, a.body)
	case a.status >= 400 && !isOver && change.done() && !strings.Contains(a.body, "may ") && !strings.Contains(a.body, "not known") && how != failsHard:
		t.Errorf("%d, %s: got a page that says that it was not done, and it is:\n%s", at, op, a.body)
	}
	if change.kept != "" && a.status >= 400 && !isOver && how != failsHard && !strings.Contains(a.body, change.kept) {
		t.Errorf("%d, %s: got a page without what was typed:\n%s", at, op, a.body)
	}
	a.lacks(t, "the text of a panic", string(g.AccessToken), string(g.RefreshToken))
	if n := strings.Count(said, `msg="console: `); n != 1 && op != "none" && !(name == "test" && n == 0 && how != failsHard) {
		t.Errorf("%d, %s: got %d records of the change, want 1:\n%s", at, op, n, said)
	}
	return most
}
