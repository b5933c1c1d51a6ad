package otelauthprofile_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel"

	"github.com/authprofile/authprofile"
	"github.com/authprofile/authprofile/otelauthprofile"
)

// endingGrant returns an active grant that ends after a while.
func endingGrant(profileID, user string, after time.Duration) *authprofile.Grant {
	return &authprofile.Grant{
		GrantKey: authprofile.GrantKey{ProfileID: profileID, User: user}, ClientID: "client",
		AccessToken: "a", RefreshToken: "r", TokenType: "Bearer", Status: authprofile.StatusActive,
		Ends: time.Now().Add(after).Truncate(time.Millisecond), EndsBy: "announced",
	}
}

// A slowStore is a Store whose counting can be tampered with.
type slowStore struct {
	authprofile.Store
	mu     sync.Mutex
	counts int
	lists  int

	damaged error // of one profile more, which cannot be read
	fault   func(ctx context.Context) error
}

func (s *slowStore) on(fault func(ctx context.Context) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = fault
}

func (s *slowStore) calls() (counts, lists int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counts, s.lists
}

func (s *slowStore) CountGrants(ctx context.Context, id string) (map[authprofile.Status]int64, error) {
	s.mu.Lock()
	s.counts++
	fault := s.fault
	s.mu.Unlock()
	if fault != nil {
		if err := fault(ctx); err != nil {
			return nil, err
		}
	}
	return s.Store.CountGrants(ctx, id)
}

func (s *slowStore) ListProfiles(ctx context.Context, after string, limit int) ([]*authprofile.Profile, error) {
	list, err := s.Store.ListProfiles(ctx, after, limit)
	s.mu.Lock()
	defer s.mu.Unlock()
	return list, errors.Join(err, s.damaged)
}

func (s *slowStore) ListGrants(ctx context.Context, f authprofile.GrantFilter, after authprofile.GrantKey, limit int) ([]*authprofile.Grant, error) {
	s.mu.Lock()
	s.lists++
	s.mu.Unlock()
	return s.Store.ListGrants(ctx, f, after, limit)
}

// observed returns a Manager whose grants are observed, and its Store.
func (w *world) observed(opts ...otelauthprofile.Option) (*authprofile.Manager, *slowStore) {
	w.Helper()
	store := &slowStore{Store: w.store}
	m := &authprofile.Manager{Store: store, HTTPClient: w.srv.Client(), RedirectURL: "https://app.example.com/callback"}
	r, err := otelauthprofile.ObserveGrants(m, append(opts, otelauthprofile.WithMeterProvider(w.meters))...)
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() {
		r.Unregister()
		m.Shutdown(context.Background())
	})
	return m, store
}

func (w *world) put(grants ...*authprofile.Grant) {
	w.Helper()
	for _, g := range grants {
		if err := w.store.PutGrant(w.Context(), g); err != nil {
			w.Fatal(err)
		}
	}
}

func TestObserveGrants(t *testing.T) {
	const day = 24 * time.Hour
	for _, together := range []bool{false, true} {
		t.Run(fmt.Sprint("together: ", together), func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				var opts []otelauthprofile.Option
				if together {
					opts = append(opts, otelauthprofile.WithoutProfileID())
				}
				m, store := w.observed(opts...)
				crm := w.userProfile(m, "crm")
				crm.SecretExpires = time.Now().Add(20 * day)
				if err := m.Save(t.Context(), crm); err != nil {
					t.Fatal(err)
				}
				w.userProfile(m, "mail")
				ended := endingGrant("crm", "eve", -day) // long gone, and no news
				ended.Status = authprofile.StatusNeedsReauthorization
				w.put(endingGrant("crm", "ada", 12*day), endingGrant("crm", "bob", 9*day), endingGrant("crm", "cem", 40*day),
					ended, endingGrant("mail", "ada", 40*day))

				count := func(profile string, active, needsUser float64) map[string]float64 {
					return map[string]float64{
						"authprofile.grant.count{authprofile.grant.status=active" + profile + "}":                active,
						"authprofile.grant.count{authprofile.grant.status=failing" + profile + "}":               0,
						"authprofile.grant.count{authprofile.grant.status=needs_configuration" + profile + "}":   0,
						"authprofile.grant.count{authprofile.grant.status=needs_reauthorization" + profile + "}": needsUser,
					}
				}
				want, of := count(",authprofile.profile.id=crm", 3, 1), "authprofile.profile.id=crm"
				maps.Copy(want, count(",authprofile.profile.id=mail", 1, 0))
				if together {
					want, of = count("", 4, 1), ""
				}
				want["authprofile.grant.remaining{"+of+"}"] = (9 * day).Seconds()
				want["authprofile.client.secret.remaining{"+of+"}"] = (20 * day).Seconds()
				w.wants("", want)

				// What was read is kept for a minute, and time goes on.
				w.put(endingGrant("crm", "dan", 8*day))
				time.Sleep(59 * time.Second)
				want["authprofile.grant.remaining{"+of+"}"] -= 59
				want["authprofile.client.secret.remaining{"+of+"}"] -= 59
				before, _ := store.calls()
				w.wants("", want)
				if after, _ := store.calls(); after != before {
					t.Errorf("got %d counts within the minute, want none", after-before)
				}
				time.Sleep(time.Second)
				if got, want := w.collected()["authprofile.grant.remaining{"+of+"}"], (8*day - time.Minute).Seconds(); got != want {
					t.Errorf("got %v s remaining after a minute, want %v", got, want)
				}
			})
		})
	}
}

// The earliest end is found among many, with a few lists.
func TestFirstEndOfMany(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		m, store := w.observed()
		w.userProfile(m, "crm")
		const n = 5000
		for i := range n { // in no order
			w.put(endingGrant("crm", fmt.Sprintf("user-%05d", i), time.Hour+time.Duration(i*7919%n)*time.Minute))
		}
		got := w.collected()["authprofile.grant.remaining{authprofile.profile.id=crm}"]
		if want := time.Hour.Seconds(); got != want {
			t.Errorf("got %v s, want %v", got, want)
		}
		if _, lists := store.calls(); lists > 25 {
			t.Errorf("got %d lists, want a few", lists)
		}
	})
}

// errorsHandled notes what OpenTelemetry's error handler is given.
func errorsHandled(t *testing.T) func() int {
	var mu sync.Mutex
	n := 0
	before := otel.GetErrorHandler()
	t.Cleanup(func() { otel.SetErrorHandler(before) })
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) {
		mu.Lock()
		defer mu.Unlock()
		n++
		if strings.Contains(err.Error(), "S3CRET") {
			t.Errorf("got %q, want nothing of the value", err)
		}
	}))
	return func() int {
		mu.Lock()
		defer mu.Unlock()
		defer func() { n = 0 }()
		return n
	}
}

// A Store that is slow, that fails or panics keeps a collection no longer than a
// second. What was read before is shown for a while.
func TestObserveGrantsOfABadStore(t *testing.T) {
	for how, fault := range map[string]func(ctx context.Context) error{
		"slow": func(ctx context.Context) error {
			<-ctx.Done()
			return ctx.Err()
		},
		"fails":              func(context.Context) error { return errors.New("away") },
		"panics":             func(context.Context) error { panic("S3CRET") },
		"ends its goroutine": func(context.Context) error { runtime.Goexit(); return nil },
	} {
		t.Run(how, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				handled := errorsHandled(t)
				m, store := w.observed()
				w.userProfile(m, "crm")
				w.put(endingGrant("crm", "ada", 24*time.Hour))
				const active = "authprofile.grant.count{authprofile.grant.status=active,authprofile.profile.id=crm}"
				collect := func() (value float64, there bool) {
					began := time.Now()
					value, there = w.collected()[active]
					if took := time.Since(began); took > time.Second {
						t.Errorf("got the metrics after %v, want them within a second", took)
					}
					return value, there
				}
				store.on(fault)
				if _, there := collect(); there {
					t.Error("got a count, want none")
				}
				store.on(nil)
				time.Sleep(2 * time.Minute)
				if n, _ := collect(); n != 1 {
					t.Errorf("got %v grants, want 1", n)
				}
				if handled() == 0 {
					t.Error("got no error handled, want one")
				}
				store.on(fault)
				time.Sleep(2 * time.Minute)
				if n, _ := collect(); n != 1 {
					t.Errorf("got %v grants two minutes later, want what was read last", n)
				}
				time.Sleep(4 * time.Minute)
				if _, there := collect(); there {
					t.Error("got a count six minutes later, want none")
				}
				time.Sleep(2 * time.Minute)
			})
		})
	}
}

// A profile that cannot be read is left out, and the others are shown.
func TestObserveGrantsOfADamagedProfile(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		handled := errorsHandled(t)
		m, store := w.observed()
		store.damaged = errors.New("cannot be opened")
		if got := len(w.collected()); got != 0 {
			t.Errorf("got %d series, want none", got)
		}
		w.userProfile(m, "crm")
		time.Sleep(time.Minute)
		if got := len(w.collected()); got != 4 {
			t.Errorf("got %d series, want the four counts of the other profile", got)
		}
		if got := handled(); got != 2 {
			t.Errorf("got %d errors handled, want one of each reading", got)
		}
	})
}

// A slow reading is shown when it has come to an end, and there is one at a time.
func TestObserveGrantsOfASlowStore(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		m, store := w.observed()
		w.userProfile(m, "crm")
		w.put(endingGrant("crm", "ada", 24*time.Hour))
		store.on(func(context.Context) error { time.Sleep(10 * time.Second); return nil })
		for range 5 {
			w.wants("authprofile.grant.count", map[string]float64{})
		}
		if counts, _ := store.calls(); counts != 1 {
			t.Errorf("got %d counts, want one at a time", counts)
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if got := len(w.collected()); got != 5 {
			t.Errorf("got %d series, want four counts and an end", got)
		}
	})
}
