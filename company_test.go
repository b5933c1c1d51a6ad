package authprofile_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/authprofile/authprofile"
	"github.com/authprofile/authprofile/providertest"
)

// Refusals that do not say whose fault they are: the grant's, the client's, or
// that of a gateway in between.
var unclear = []struct {
	name   string
	status int
	body   string
}{
	{"401 without a code", 401, ""},
	{"403 with a page", 403, "<html>blocked</html>"},
	{"400 without a code", 400, ""},
	{"unauthorized_client", 400, code("unauthorized_client")},
	{"invalid_client of a gateway", 401, code("invalid_client")},
	{"invalid_client_secret with 200", 200, code("invalid_client_secret")},
	{"access_denied with 401", 401, code("access_denied")},
	{"BAD_CLIENT_SECRET", 400, code("BAD_CLIENT_SECRET")},
}

// refuse answers requests with one of the refresh tokens, and counts them.
// Without refresh tokens it answers all.
func (p *process) refuse(status int, body string, refreshTokens ...authprofile.Secret) *atomic.Int64 {
	count := new(atomic.Int64)
	p.net.on(func(r *http.Request) (*http.Response, error) {
		if r.Method != http.MethodPost {
			return p.net.base.RoundTrip(r)
		}
		sent, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		form, _ := url.ParseQuery(string(sent))
		refused := len(refreshTokens) == 0
		for _, tok := range refreshTokens {
			refused = refused || form.Get("refresh_token") == string(tok)
		}
		if refused {
			count.Add(1)
			return respond(status, body), nil
		}
		r = r.Clone(r.Context())
		r.Body = io.NopCloser(bytes.NewReader(sent))
		return p.net.base.RoundTrip(r)
	})
	return count
}

var bob = authprofile.GrantKey{ProfileID: "crm", User: "bob"}

// While other grants of the profile are renewed it is this grant that the
// provider refuses, and in the end its user is needed. But a firewall may refuse
// one process, and its answer is no word of the provider's.
func TestRefusedGrantInCompany(t *testing.T) {
	for _, test := range unclear {
		t.Run(test.name, func(t *testing.T) {
			for _, renewer := range []string{"the same process", "another process"} {
				inWorld(t, func(t *testing.T, w *world) {
					p := w.adasProfile()
					w.authorize(p, "bob")
					proc := w.process()
					others := proc.Manager
					if renewer == "another process" {
						others = w.m
					}
					count := proc.refuse(test.status, test.body, w.grant(ada).RefreshToken)
					begin := time.Now()
					for hour := 1; w.grant(ada).Status != needsPerson; hour++ {
						expire()
						w.token(others, p, authprofile.AsUser("bob"))
						w.refuses(proc.Manager, p, nil, asAda)
						if hour > 12 && others == w.m && !strings.Contains(test.body, "error") {
							if g := w.grant(ada); g.Status != needsConfig {
								t.Errorf("%s: got %v, want one that needs an operator", renewer, g)
							}
							return
						}
						if hour > 12 {
							t.Fatalf("%s: after %d hours: got %v, want a grant that needs its user", renewer, hour, w.grant(ada))
						}
					}
					f := w.grant(ada).Failure
					if f.Reason != authprofile.ReasonSingled || count.Load() < 6 || f.Attempts != 6 || time.Since(begin) < 10*time.Minute {
						t.Errorf("%s: got %d requests in %v, failure %+v; want six tries in ten minutes or more", renewer, count.Load(), time.Since(begin), *f)
					}
					w.refuses(proc.Manager, p, authprofile.ErrReauthorize, asAda)
					w.healthy(bob)

					// A profile that changes is a reason to try again.
					proc.net.heal()
					p.Description = "changed"
					w.save(p)
					w.token(proc.Manager, p, asAda)
					w.healthy(ada)
				})
			}
		})
	}
}

// While no grant of the profile is renewed it is the profile or the provider:
// no user is asked for, and all grants work once it is over.
func TestRefusalOfAllGrants(t *testing.T) {
	for _, test := range unclear {
		t.Run(test.name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				p := w.adasProfile()
				proc := w.process()
				users := []authprofile.GrantKey{ada, bob}
				w.authorize(p, "bob")
				w.authorize(p, "cy")
				expire()
				w.token(proc.Manager, p, authprofile.AsUser("cy")) // just before it begins
				count := proc.refuse(test.status, test.body)
				for range 5 * 360 {
					for _, key := range users {
						w.refuses(proc.Manager, p, nil, authprofile.AsUser(key.User))
					}
					time.Sleep(10 * time.Second)
				}
				for _, key := range users {
					g := w.grant(key)
					if g.Status != needsConfig || g.RefreshToken == "" {
						t.Errorf("got %v, want one that needs an operator", g)
					}
				}
				if got := count.Load(); got < 2*5*6 || got > 2*5*15 {
					t.Errorf("got %d requests for two grants in five hours, want one in about ten minutes", got)
				}
				proc.net.heal()
				time.Sleep(15 * time.Minute)
				for _, key := range users {
					w.token(proc.Manager, p, authprofile.AsUser(key.User))
					w.healthy(key)
				}
			})
		})
	}
}

// A gateway that works again only now and then is not the fault of a grant that
// it still refuses.
func TestRefusalsThatEndSlowly(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.adasProfile()
		w.authorize(p, "bob")
		proc := w.process()
		expire()
		proc.refuse(403, "")
		for range 60 {
			time.Sleep(time.Minute)
			w.refuses(proc.Manager, p, nil, asAda)
		}
		// Bob is renewed, and ada is refused a few times more.
		proc.refuse(403, "", w.grant(ada).RefreshToken)
		w.token(proc.Manager, p, authprofile.AsUser("bob"))
		for range 30 {
			time.Sleep(time.Minute)
			w.refuses(proc.Manager, p, nil, asAda)
		}
		if g := w.grant(ada); g.Status == needsPerson {
			t.Errorf("got %v, want no person to be asked for", g)
		}
		proc.net.heal()
		time.Sleep(15 * time.Minute)
		w.token(proc.Manager, p, asAda)
		w.healthy(ada)
	})
}

// The only grant of a profile has no company: it is kept and tried, an operator
// is told, and its user is asked for after a week.
func TestRefusalOfTheOnlyGrant(t *testing.T) {
	for _, test := range unclear {
		t.Run(test.name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				p := w.adasProfile()
				proc := w.process()
				expire()
				begin := time.Now()
				count := proc.refuse(test.status, test.body)
				for time.Since(begin) < 20*time.Minute {
					w.refuses(proc.Manager, p, nil, asAda)
					time.Sleep(10 * time.Second)
				}
				if g := w.grant(ada); g.Status != needsConfig {
					t.Errorf("after 20 minutes: got %v, want one that needs an operator", g)
				}
				for time.Since(begin) < 7*24*time.Hour-time.Hour {
					w.refuses(proc.Manager, p, authprofile.ErrConfiguration, asAda)
					time.Sleep(time.Hour)
				}
				if got := count.Load(); got < 7*24-2 {
					t.Errorf("got %d requests in a week of hours, want one an hour", got)
				}
				for range 3 {
					w.m.Token(t.Context(), p)
					w.refuses(proc.Manager, p, nil, asAda)
					time.Sleep(time.Hour)
				}
				w.refuses(proc.Manager, p, authprofile.ErrReauthorize, asAda)
				if g := w.grant(ada); g.Status != needsPerson || g.RefreshToken == "" {
					t.Errorf("after a week: got %v, want one that needs its user", g)
				}

				proc.net.heal()
				p.ClientSecret = "corrected"
				w.srv.SetClientSecret(providertest.ClientID, "corrected")
				w.save(p)
				w.token(proc.Manager, p, asAda)
				w.healthy(ada)
			})
		})
	}
}

// A Store that cannot list may have company: no user is asked for.
func TestRefusalWithoutALook(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.adasProfile()
		proc := w.process()
		proc.Manager.Store = unlistable{proc.store}
		expire()
		begin := time.Now()
		proc.refuse(401, "")
		for time.Since(begin) < 8*24*time.Hour {
			w.refuses(proc.Manager, p, nil, asAda)
			time.Sleep(time.Hour)
		}
		if g := w.grant(ada); g.Status != needsConfig {
			t.Errorf("got %v, want one that needs an operator", g)
		}
	})
}

type unlistable struct{ authprofile.Store }

func (unlistable) ListGrants(context.Context, authprofile.GrantFilter, authprofile.GrantKey, int) ([]*authprofile.Grant, error) {
	return nil, errAway
}

// To know the company costs a renewal no call of the Store.
func TestCompanyCostsNothing(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.adasProfile()
		proc := w.process()
		store := &countingLists{Store: proc.store}
		proc.Manager.Store = store
		for range 10 {
			expire()
			w.token(proc.Manager, p, asAda)
		}
		expire()
		proc.refuse(503, "")
		for range 600 {
			w.refuses(proc.Manager, p, nil, asAda)
			time.Sleep(time.Second)
		}
		if got := store.lists.Load(); got != 0 {
			t.Errorf("got %d lists of grants, want none", got)
		}
		proc.refuse(403, "")
		for range 3600 {
			w.refuses(proc.Manager, p, nil, asAda)
			time.Sleep(time.Second)
		}
		if got := store.lists.Load(); got > 40 {
			t.Errorf("got %d lists in an hour of refusals, want two for a refusal at most", got)
		}
	})
}

type countingLists struct {
	authprofile.Store
	lists atomic.Int64
}

func (s *countingLists) ListGrants(ctx context.Context, f authprofile.GrantFilter, after authprofile.GrantKey, limit int) ([]*authprofile.Grant, error) {
	s.lists.Add(1)
	return s.Store.ListGrants(ctx, f, after, limit)
}

// The clock of another process is ahead by an hour, and then a gateway refuses
// all grants: what that process renewed before says nothing.
func TestCompanyByAClockThatIsAhead(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.adasProfile()
		w.authorize(p, "bob")
		expire()
		w.token(w.m, p, authprofile.AsUser("bob"))
		g := w.grant(bob)
		g.Obtained, g.Expiry = g.Obtained.Add(time.Hour), g.Expiry.Add(time.Hour)
		w.put(g)
		proc := w.process()
		proc.refuse(403, "")
		for range 50 * 6 {
			w.refuses(proc.Manager, p, nil, asAda)
			time.Sleep(10 * time.Second)
		}
		if g := w.grant(ada); g.Status == needsPerson {
			t.Errorf("got %v, want no person to be asked for", g)
		}
	})
}

// The company of a grant that is refused goes away: its user is asked for after
// a week, as that of an only grant.
func TestRefusedGrantThatIsLeftAlone(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.adasProfile()
		w.authorize(p, "bob")
		proc := w.process()
		expire()
		proc.refuse(401, "", w.grant(ada).RefreshToken)
		w.refuses(proc.Manager, p, nil, asAda)
		time.Sleep(2 * time.Minute)
		w.token(proc.Manager, p, authprofile.AsUser("bob"))
		w.refuses(proc.Manager, p, nil, asAda)
		if err := proc.Revoke(t.Context(), bob); err != nil {
			t.Fatal(err)
		}
		for range 8 * 24 {
			w.refuses(proc.Manager, p, nil, asAda)
			time.Sleep(time.Hour)
		}
		if g := w.grant(ada); g.Status != needsPerson {
			t.Errorf("got %v after eight days, want one that needs its user", g)
		}
	})
}

// Another person who authorizes anew is no sign that the provider renews: an
// authorization is another kind of request.
func TestReauthorizationIsNoRenewal(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.adasProfile()
		w.authorize(p, "bob")
		proc := w.process()
		proc.refuse(400, code("unauthorized_client"), w.grant(ada).RefreshToken)
		for range 12 {
			expire()
			w.authorize(p, "bob")
			time.Sleep(2 * time.Minute) // bob's grant is older than a minute by now
			w.refuses(proc.Manager, p, nil, asAda)
		}
		if f := w.grant(ada).Failure; f.Reason == authprofile.ReasonSingled {
			t.Errorf("got reason %q, want that the profile or the provider is at fault: %+v", f.Reason, *f)
		}
	})
}
