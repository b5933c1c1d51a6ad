package authprofile_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/authprofile/authprofile"
	"github.com/authprofile/authprofile/providertest"
)

// A countingStore counts calls of DueGrants, and says that nothing is due once
// there are too many of them: a loop without a pause would last for ever.
type countingStore struct {
	*faultyStore
	mu   sync.Mutex
	dues int
}

func (s *countingStore) DueGrants(ctx context.Context, before time.Time, limit int) ([]*authprofile.Grant, error) {
	s.mu.Lock()
	s.dues++
	tooMany := s.dues > 1000
	s.mu.Unlock()
	if tooMany {
		return nil, nil
	}
	return s.Store.DueGrants(ctx, before, limit)
}

func (s *countingStore) passes() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.dues
}

// putMany stores as many grants of a profile, made from one, all of them due.
func (w *world) putMany(profileID string, from *authprofile.Grant, many int, change func(g *authprofile.Grant)) {
	w.Helper()
	for i := range many {
		g := from.Clone()
		g.Version, g.ProfileID, g.User = 0, profileID, fmt.Sprint("user-", i)
		g.Due = time.Now().Add(-time.Hour)
		change(g)
		w.put(g)
	}
}

// needsUser makes a grant one whose user is needed, for a reason that the
// provider is not asked about.
func needsUser(g *authprofile.Grant) {
	now := time.Now()
	g.Status = authprofile.StatusNeedsReauthorization
	g.Failure = &authprofile.Failure{Reason: authprofile.ReasonExpired, Since: now, Last: now, Attempts: 1}
}

// needsAdministrator does the same for the administrator.
func needsAdministrator(g *authprofile.Grant) {
	now := time.Now()
	g.Status = authprofile.StatusNeedsConfiguration
	g.Failure = &authprofile.Failure{Reason: authprofile.ReasonClient, Since: now, Last: now, Attempts: 1}
}

// A Store that says what is due, and takes nothing, is asked again at the next
// pass, and not at once; and its error is that of Maintain.
func TestMaintainStoreTakesNothing(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(g *authprofile.Grant)
		delete bool // the profile
	}{
		{"to be told", needsUser, false},
		{"to be kept alive", func(g *authprofile.Grant) { g.Obtained = g.Obtained.Add(-40 * day) }, false},
		{"to be postponed", func(*authprofile.Grant) {}, false},
		{"without a profile", needsUser, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				var b noticeBoard
				w.adasProfile()
				from := w.grant(ada)
				if test.delete {
					if err := w.m.Delete(t.Context(), "crm"); err != nil {
						t.Fatal(err)
					}
				}
				w.putMany("crm", from, 300, test.change)
				store := &countingStore{faultyStore: &faultyStore{Store: w.store}}
				store.on(func(c *storeCall) error {
					if c.op == "PutGrant" || c.op == "DeleteGrant" {
						return errAway
					}
					return c.run()
				})
				m := w.maintained(&b, store)
				ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
				defer cancel()
				if err := m.Maintain(ctx); !errors.Is(err, errAway) {
					t.Errorf("got error %v, want %v", err, errAway)
				}
				if got := store.passes(); got > 10 {
					t.Errorf("got %d calls of DueGrants in two minutes, want one for each pass", got)
				}
			})
		})
	}
}

// Grants that cannot be looked at do not keep others waiting that are due after
// them.
func TestMaintainPassesOverWhatItCannotLookAt(t *testing.T) {
	unreadable := func(id string) error {
		return &authprofile.Error{Op: "open", ProfileID: id, Err: errors.New("damaged")}
	}
	for _, test := range []struct {
		name   string
		change func(g *authprofile.Grant)
		fails  func(c *storeCall) bool
	}{
		{"profile", needsUser, func(c *storeCall) bool { return c.op == "Profile" && c.key.ProfileID == "damaged" }},
		{"record", needsAdministrator, func(c *storeCall) bool {
			return c.op == "Grant" && c.key == authprofile.GrantKey{ProfileID: "damaged"}
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				var b noticeBoard
				p := w.adasProfile()
				damaged := p.Clone()
				damaged.ID, damaged.Version = "damaged", 0
				w.save(damaged)
				w.putMany("damaged", w.grant(ada), 500, test.change)
				g := w.grant(ada)
				needsUser(g)
				g.Due = time.Now()
				w.put(g)
				store := &faultyStore{Store: w.store}
				store.on(func(c *storeCall) error {
					if test.fails(c) {
						return unreadable("damaged")
					}
					return c.run()
				})
				w.maintained(&b, store)
				w.pass(10 * time.Minute)
				b.wants(t, "behind 500 grants that cannot be looked at", "needs_user ada")
			})
		})
	}
}

// A profile that is saved while something is to be told of it does not put that
// off.
func TestSaveKeepsWhatIsToBeTold(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		var b noticeBoard
		p := w.app()
		w.token(w.m, p)
		w.srv.SetClientSecret(providertest.ClientID, "another")
		expire()
		w.refuses(w.m, p, authprofile.ErrConfiguration)
		time.Sleep(time.Hour) // until the job that runs Maintain begins
		p.SecretExpires = time.Now().Add(365 * day)
		w.save(p)
		w.maintained(&b, w.store)
		w.pass(5 * time.Minute)
		b.wants(t, "after the profile was saved", "needs_administrator")
	})
}

// A grant that does not say why it needs a person is told of all the same.
func TestNoticeWithoutFailure(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		var b noticeBoard
		p := w.adasProfile()
		w.authorize(p, "bob")
		w.token(w.m, w.app())
		for key, status := range map[authprofile.GrantKey]authprofile.Status{
			ada:                             authprofile.StatusNeedsReauthorization,
			{ProfileID: "crm", User: "bob"}: authprofile.StatusNeedsConfiguration,
			app:                             authprofile.StatusNeedsConfiguration,
		} {
			g := w.grant(key)
			g.Status, g.Failure, g.Due = status, nil, time.Now()
			w.put(g)
		}
		w.maintained(&b, w.store)
		w.pass(5 * time.Minute)
		b.wants(t, "after five minutes", "needs_administrator", "needs_administrator", "needs_user ada")
		w.pass(2 * time.Hour)
		b.wants(t, "two hours later")
	})
}

// A Notify that goes on after Maintain has ended may still deliver its notice: no
// other process calls it for the same one until the claim has run out.
func TestNotifyOutlivesMaintain(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		var first, second noticeBoard
		release := make(chan struct{})
		first.react(func(context.Context, authprofile.Notice) error { <-release; return nil })
		p := w.adasProfile()
		m := &authprofile.Manager{Store: w.store, HTTPClient: w.srv.Client(), Notify: first.notify}
		w.endAda(p)
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
		defer cancel()
		m.Maintain(ctx)
		first.wants(t, "by the process that looks first", "needs_user ada")
		w.maintained(&second, w.store)
		w.pass(time.Minute)
		second.wants(t, "while the first Notify goes on")
		w.pass(10 * time.Minute)
		second.wants(t, "later", "needs_user ada")
		close(release)
		m.Shutdown(context.Background())
	})
}

// Many grants of several providers that are due at once are each put off once or
// twice, and not with every pass.
func TestKeepAliveOfManyHosts(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.adasProfile()
		const hosts, users = 6, 1000
		for i := range hosts {
			id := fmt.Sprint("p", i)
			w.save(registered(authprofile.Profile{
				ID: id, Type: authprofile.TypeUser,
				Endpoints: authprofile.Endpoints{
					AuthURL:  fmt.Sprintf("https://%s.example.net/authorize", id),
					TokenURL: fmt.Sprintf("https://%s.example.net/token", id),
				},
			}))
			w.putMany(id, w.grant(ada), users, func(g *authprofile.Grant) {
				g.Issuer = ""
				g.Obtained = g.Obtained.Add(-40 * day)
			})
		}
		p := w.process()
		p.net.on(func(*http.Request) (*http.Response, error) {
			time.Sleep(time.Second)
			return respond(http.StatusOK, `{"access_token":"T","token_type":"Bearer","expires_in":3600}`, "Content-Type", "application/json"), nil
		})
		ctx, cancel := context.WithTimeout(t.Context(), 15*time.Minute)
		defer cancel()
		if err := p.Maintain(ctx); err != nil {
			t.Errorf("got error %v, want none", err)
		}
		renewed := 0
		for g, err := range w.m.Find(t.Context(), authprofile.GrantFilter{}) {
			if err == nil && g.AccessToken == "T" {
				renewed++
			}
		}
		if renewed != hosts*users {
			t.Errorf("got %d grants renewed in fifteen minutes, want %d", renewed, hosts*users)
		}
		// Three for a claim, the lease and the token, and some for being put off.
		if got := p.store.count("PutGrant"); got > 6*hosts*users {
			t.Errorf("got %d puts for %d grants, want at most 6 for each", got, hosts*users)
		}
	})
}

// Notices that come all at once are delivered as fast as Notify takes them, and
// the Store is not written to again and again meanwhile.
func TestManyNotices(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		var b noticeBoard
		b.react(func(context.Context, authprofile.Notice) error { time.Sleep(time.Second); return nil })
		w.adasProfile()
		const users = 1000
		w.putMany("crm", w.grant(ada), users, needsUser)
		store := &faultyStore{Store: w.store}
		m := w.maintained(&b, store)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		defer cancel()
		m.Maintain(ctx)
		if got := len(b.take()); got != users {
			t.Errorf("got %d notices in ten minutes, want %d", got, users)
		}
		if got := store.count("PutGrant"); got > 6*users {
			t.Errorf("got %d puts for %d notices, want at most 6 for each", got, users)
		}
	})
}

// The grants of users of a profile that has become one of an application are left
// alone.
func TestMaintainAfterTheTypeHasChanged(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		var b noticeBoard
		p := w.adasProfile()
		w.putMany("crm", w.grant(ada), 20, func(g *authprofile.Grant) { g.Obtained = g.Obtained.Add(-40 * day) })
		p.Type, p.KeepAlive, p.Scopes = authprofile.TypeApp, 0, nil
		w.save(p)
		store := &faultyStore{Store: w.store}
		w.maintained(&b, store)
		w.pass(2 * time.Hour)
		if got := store.count("PutGrant"); got > 25 {
			t.Errorf("got %d puts in two hours, want one for each of 20", got)
		}
	})
}

// A refresh token of an application's grant is not used, and is no reason to look
// at the grant again and again.
func TestMaintainAppWithRefreshToken(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.app()
		w.token(w.m, p)
		g := w.grant(app)
		needsAdministrator(g)
		g.RefreshToken, g.Due = "R", time.Now()
		g.Obtained, g.Failure.Last = g.Obtained.Add(-100*day), g.Failure.Last.Add(-50*day)
		w.put(g)
		store := &faultyStore{Store: w.store}
		w.maintained(nil, store)
		w.pass(2 * time.Hour)
		if got := store.count("PutGrant"); got != 1 {
			t.Errorf("got %d puts in two hours, want 1", got)
		}
	})
}

// A Store that panics fails a pass, and not the program.
func TestMaintainStorePanics(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.adasProfile()
		g := w.grant(ada)
		g.Due = time.Now()
		w.put(g)
		store := &faultyStore{Store: w.store}
		store.on(func(c *storeCall) error { panic("no") })
		m := w.maintained(nil, store)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := m.Maintain(ctx); err == nil {
			t.Error("got no error, want one")
		}
	})
}

// A log handler that panics does not make a notice be told again.
func TestNoticeIsWrittenBeforeItIsLogged(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		var b noticeBoard
		w.adasProfile()
		g := w.grant(ada)
		needsUser(g)
		g.Due = time.Now()
		w.put(g)
		m := w.maintained(&b, w.store)
		m.Logger = slog.New(panickingHandler{slog.DiscardHandler})
		w.pass(2 * time.Hour)
		b.wants(t, "with a log handler that panics", "needs_user ada")
	})
}

type panickingHandler struct{ slog.Handler }

func (panickingHandler) Enabled(context.Context, slog.Level) bool  { return true }
func (panickingHandler) Handle(context.Context, slog.Record) error { panic("no") }

// A warning is delivered until Notify takes it, ever more rarely, as other notices
// are.
func TestNotifyFailsToWarn(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		var b noticeBoard
		p := w.user()
		p.SecretExpires = time.Now().Add(10 * day)
		w.save(p)
		w.maintained(&b, w.store)
		b.react(func(context.Context, authprofile.Notice) error { return errors.New("no") })
		for range 12 {
			w.pass(2 * time.Hour)
		}
		list := b.take()
		ids := make(map[string]bool)
		for _, n := range list {
			ids[n.ID] = true
		}
		if len(ids) != 1 || len(list) < 15 || len(list) > 100 {
			t.Errorf("got %d attempts in a day with %d IDs, want some dozens with one", len(list), len(ids))
		}
		b.react(nil)
		w.pass(2 * time.Hour)
		b.wants(t, "once it is taken", "secret_expiring")
	})
}

// A Notify that blocks does not make the provider be asked in vain, each minute,
// for grants whose users cannot be told.
func TestProviderIsNotAskedInVain(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		var b noticeBoard
		p := w.user()
		const users = 60
		w.authorizeMany(p, users)
		w.srv.RevokeUser("user")
		expire()
		for i := range users {
			w.use(p, i)
		}
		time.Sleep(2 * time.Hour) // so that users are told although many grants have ended
		before := w.srv.Count("refresh_token")
		b.react(func(ctx context.Context, _ authprofile.Notice) error { <-ctx.Done(); return ctx.Err() })
		w.maintained(&b, w.store)
		w.pass(time.Hour)
		attempts := len(b.take())
		if got := w.srv.Count("refresh_token") - before; attempts == 0 || got > attempts+70 {
			t.Errorf("got %d requests to the provider for %d attempts to tell, want one for each and one in a minute", got, attempts)
		}
	})
}

// A thousand profiles whose clients are refused cost a pass what they are due for,
// and keep no other grant waiting.
func TestThousandFailingProfiles(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		var b noticeBoard
		p := w.adasProfile()
		w.authorize(p, "bob")
		const profiles, users = 1000, 3
		for i := range profiles {
			failing := p.Clone()
			failing.ID, failing.Version = fmt.Sprint("failing-", i), 0
			w.save(failing)
			w.putMany(failing.ID, w.grant(ada), users, needsAdministrator)
		}
		g := w.grant(ada) // due after all of them
		needsUser(g)
		g.Due = time.Now()
		w.put(g)
		g = w.grant(authprofile.GrantKey{ProfileID: "crm", User: "bob"})
		g.Obtained, g.Due = g.Obtained.Add(-40*day), time.Now()
		w.put(g)
		store := &faultyStore{Store: w.store}
		w.maintained(&b, store)
		w.pass(5 * time.Minute)
		kinds := make(map[authprofile.NoticeKind]int)
		for _, n := range b.take() {
			kinds[n.Kind]++
		}
		if kinds[authprofile.NoticeNeedsAdministrator] != profiles || kinds[authprofile.NoticeNeedsUser] != 1 || len(kinds) != 2 {
			t.Errorf("got notices %v, want one for each of %d profiles and one for a user", kinds, profiles)
		}
		if got := w.grant(g.GrantKey); time.Since(got.Obtained) > 10*time.Minute {
			t.Errorf("a grant that is to be kept alive was renewed %v ago", time.Since(got.Obtained))
		}
		calls := func() int { return store.count("Grant") + store.count("PutGrant") + store.count("Profile") }
		first := calls()
		if first > 20*profiles*users {
			t.Errorf("got %d calls of the Store in five minutes, want at most 20 for each of %d grants", first, profiles*users)
		}
		w.pass(time.Hour)
		b.wants(t, "in the hour after")
		// A profile is looked at every ten minutes.
		if got := calls() - first; got > 7*4*profiles {
			t.Errorf("got %d calls of the Store in an hour, want at most 4 for each look at one of %d profiles", got, profiles)
		}
	})
}

// A clock that is set forward by a day, and back, makes nothing be told twice or
// not at all, and no grant be forgotten.
func TestMaintainWhileTheClockJumps(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		var b noticeBoard
		p := w.user()
		p.KeepAlive = 2 * day
		w.save(p)
		for _, user := range []string{"ada", "bob", "cy"} {
			w.authorize(p, user)
		}
		m := w.maintained(&b, w.store)
		var ahead time.Duration
		m.SetNow(func() time.Time { return time.Now().Add(ahead) })
		end := func(user string) {
			g := w.grant(authprofile.GrantKey{ProfileID: "crm", User: user})
			needsUser(g)
			g.Due = time.Now().Add(time.Minute)
			w.put(g)
		}
		end("ada")
		ahead = day
		w.pass(5 * time.Minute)
		b.wants(t, "with a clock that is a day ahead", "needs_user ada")
		end("bob")
		ahead = 0
		w.pass(5 * time.Minute)
		b.wants(t, "once it is right again", "needs_user bob")
		for range 12 {
			w.pass(2 * time.Hour)
		}
		before := w.srv.Count("refresh_token")
		for range 30 {
			w.pass(2 * time.Hour)
		}
		b.wants(t, "in the days after")
		if got := w.srv.Count("refresh_token") - before; got < 1 || got > 3 {
			t.Errorf("got %d renewals in two and a half days of one grant that is kept alive every two days, want one or two", got)
		}
		w.healthy(authprofile.GrantKey{ProfileID: "crm", User: "cy"})
		w.authorize(p, "ada")
		w.pass(5 * time.Minute)
		b.wants(t, "after the user has authorized", "recovered ada")
	})
}

// Two calls of Maintain on one Manager do what one does.
func TestMaintainTwice(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		var b noticeBoard
		p := w.adasProfile()
		w.authorize(p, "bob")
		m := w.maintained(&b, w.store)
		w.upkeep = append(w.upkeep, m)
		g := w.grant(authprofile.GrantKey{ProfileID: "crm", User: "bob"})
		g.Obtained, g.Due = g.Obtained.Add(-40*day), time.Now()
		w.put(g)
		w.srv.Revoke(string(w.grant(ada).RefreshToken))
		expire()
		w.refuses(w.m, p, authprofile.ErrReauthorize, asAda)
		before := w.srv.Count("refresh_token")
		w.pass(time.Hour)
		b.wants(t, "by two calls", "needs_user ada")
		// One for the user who is told of, and one to keep the other grant alive.
		if got := w.srv.Count("refresh_token") - before; got != 2 {
			t.Errorf("got %d requests, want 2", got)
		}
		if err := m.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
}

// A Notify may call whatever it likes of its Manager.
func TestNotifyCallsTheManager(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		var b noticeBoard
		p := w.adasProfile()
		w.endAda(p)
		m := w.maintained(&b, w.store)
		b.react(func(ctx context.Context, n authprofile.Notice) error {
			if n.Kind != authprofile.NoticeNeedsUser {
				return nil
			}
			if _, err := m.Token(ctx, p, authprofile.AsUser(n.User)); !errors.Is(err, authprofile.ErrReauthorize) {
				t.Errorf("Token: got error %v, want %v", err, authprofile.ErrReauthorize)
			}
			f, err := m.Begin(ctx, p, n.User)
			if err != nil {
				return err
			}
			back, err := w.srv.Authorize(f.URL)
			if err != nil {
				return err
			}
			_, err = m.Finish(ctx, n.User, back.Query())
			return err
		})
		w.pass(10 * time.Minute)
		b.wants(t, "with a Notify that authorizes", "needs_user ada", "recovered ada")
		w.healthy(ada)

		w.endAda(p)
		b.react(func(ctx context.Context, n authprofile.Notice) error { return m.Shutdown(context.Background()) })
		w.pass(10 * time.Minute)
		b.wants(t, "with a Notify that shuts down", "needs_user ada")
	})
}

// Hosts that have failed are forgotten once they are no longer asked.
func TestFailingHostsAreForgotten(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.adasProfile()
		const hosts = 20
		for i := range hosts {
			id := fmt.Sprint("p", i)
			w.save(registered(authprofile.Profile{
				ID: id, Type: authprofile.TypeUser,
				Endpoints: authprofile.Endpoints{AuthURL: "https://" + id + ".example.net/authorize", TokenURL: "https://" + id + ".example.net/token"},
			}))
			w.putMany(id, w.grant(ada), 1, func(g *authprofile.Grant) {
				g.Issuer = ""
				g.Obtained = g.Obtained.Add(-40 * day)
			})
		}
		p := w.process()
		p.net.on(func(*http.Request) (*http.Response, error) { return nil, errors.New("connection refused") })
		w.upkeep = append(w.upkeep, p.Manager)
		w.pass(10 * time.Minute)
		if got := p.PacedHosts(); got != hosts {
			t.Errorf("got %d hosts, want the %d that have failed", got, hosts)
		}
		for i := range hosts {
			if err := w.m.Delete(t.Context(), fmt.Sprint("p", i)); err != nil {
				t.Fatal(err)
			}
		}
		w.pass(2 * time.Hour)
		if got := p.PacedHosts(); got != 0 {
			t.Errorf("got %d hosts two hours later, want none", got)
		}
	})
}

// A new authorization that leaves the end as it was does not make its warnings be
// told again.
func TestAuthorizedAgainAfterAWarning(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		var b noticeBoard
		w.announce(10 * day)
		p := w.adasIdleProfile()
		ends := w.grant(ada).Ends
		w.srv.Mutate(providertest.Token, func(answer map[string]any) {
			delete(answer, "refresh_token")
			delete(answer, "refresh_token_expires_in")
		})
		time.Sleep(time.Minute)
		w.authorize(p, "ada") // by a provider that gives a refresh token the first time only
		if got := w.grant(ada).Ends; !got.Equal(ends) {
			t.Fatalf("got end %v, want %v as before", got, ends)
		}
		w.maintained(&b, w.store)
		w.pass(2 * time.Hour)
		b.wants(t, "after the user has authorized")
	})
}

// A client that is refused after its provider has ended many grants is told of,
// too: the administrator has something else to mend.
func TestClientFaultBehindAMassEnding(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		var b noticeBoard
		w.adasProfile()
		now := time.Now()
		w.put(&authprofile.Grant{
			GrantKey: authprofile.GrantKey{ProfileID: "crm"}, Obtained: now, Due: now,
			Told: authprofile.StatusNeedsReauthorization, ToldAt: now,
			Failure: &authprofile.Failure{Reason: authprofile.ReasonRevoked, Since: now, Last: now},
		})
		w.putMany("crm", w.grant(ada), 5, func(g *authprofile.Grant) {
			needsUser(g)
			g.Told, g.Due = g.Status, time.Time{}
		})
		g := w.grant(ada)
		needsAdministrator(g)
		g.Due = now
		w.put(g)
		w.maintained(&b, w.store)
		w.pass(10 * time.Minute)
		b.wants(t, "a client that is refused", "needs_administrator")
	})
}

// The record of a profile that cannot be read does not keep the profile from being
// saved.
func TestSaveWithADamagedRecord(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.app()
		w.token(w.m, p)
		pr := w.process()
		pr.store.on(func(c *storeCall) error {
			if c.op == "Grant" {
				return &authprofile.Error{Op: "open", ProfileID: "app", Err: errAway}
			}
			return c.run()
		})
		p.SecretExpires = time.Now().Add(365 * day)
		if err := pr.Save(t.Context(), p); err != nil {
			t.Errorf("got error %v, want none", err)
		}
	})
}
