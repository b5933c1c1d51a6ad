package authprofile_test

import (
	"log/slog"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authprofile/authprofile"
	"github.com/authprofile/authprofile/providertest"
)

// A renewal reads the profile beside the grant. Between the two readings an
// operator changes the profile, and the user authorizes anew: the old profile
// says nothing about the new grant, whose refresh token its provider must not
// see.
func TestGrantThatIsNewerThanTheProfileReadBesideIt(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(p *authprofile.Profile, first, second *providertest.Server) (issuing *providertest.Server)
	}{
		{"another provider", func(p *authprofile.Profile, _, second *providertest.Server) *providertest.Server {
			p.Endpoints = authprofile.Endpoints{AuthURL: second.AuthURL(), TokenURL: second.TokenURL()}
			return second
		}},
		{"another client", func(p *authprofile.Profile, first, _ *providertest.Server) *providertest.Server {
			p.ClientID, p.ClientSecret = "second", "secret"
			return first
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				second := anotherProvider(t, "https://second.example.com")
				w.srv.AddClient(providertest.Client{ID: "second", Secret: "secret"})
				both := web{"second.example.com": second.Transport(), "": w.srv.Transport()}
				w.m.HTTPClient.Transport = both
				p := w.user()
				p.Scopes = []string{"read", "offline_access"}
				p.Endpoints = authprofile.Endpoints{AuthURL: w.srv.AuthURL(), TokenURL: w.srv.TokenURL()}
				w.save(p)
				w.authorize(p, "ada")
				proc := w.process()
				proc.net.base = both
				expire()

				var issuing *providertest.Server
				var once sync.Once
				proc.store.on(func(c *storeCall) error {
					if c.op == "Grant" {
						once.Do(func() {
							synctest.Wait() // until the profile is read
							issuing = tt.change(p, w.srv, second)
							w.save(p)
							w.authorizeAt(issuing, p)
							g := w.grant(ada)
							g.Expiry = g.Obtained
							w.put(g)
							time.Sleep(2 * time.Second) // its token has ended
						})
					}
					return c.run()
				})
				w.token(proc.Manager, p, asAda)
				if got := issuing.Count("refresh_token"); got != 1 {
					t.Errorf("got %d refresh tokens shown to the provider that issued the grant, want 1", got)
				}
				if got := w.srv.Count("refresh_token") + second.Count("refresh_token"); got != 1 {
					t.Errorf("got %d refresh tokens shown to both providers, want 1", got)
				}
				if g := w.grant(ada); g.Status != active || g.Failure != nil || g.ClientID != p.ClientID {
					t.Errorf("got %v, want an active grant of the new client", g)
				}
			})
		})
	}
}

// authorizeAt is authorize at a provider that need not be the world's.
func (w *world) authorizeAt(srv *providertest.Server, p *authprofile.Profile) {
	w.Helper()
	back, err := srv.Authorize(w.begin(p, "ada").URL)
	if err != nil {
		w.Fatal(err)
	}
	if _, err := w.m.Finish(w.Context(), "ada", back.Query()); err != nil {
		w.Fatal(err)
	}
}

// A Store that panics while it reads the profile is reported, whether or not
// the renewal needed the profile, and without its value.
func TestPanicOfTheReadingBesideIsReported(t *testing.T) {
	for _, tt := range []struct {
		name string
		end  func()
		want int
	}{
		{"panics", func() { panic("S3CRET") }, 1},
		{"ends its goroutine", runtime.Goexit, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				p := w.adasProfile()
				proc := w.process()
				var mu sync.Mutex
				var logged []string
				proc.Logger = slog.New(handlerFunc(func(r slog.Record) {
					proc.Token(t.Context(), p, asAda) // it waits for what is being renewed
					mu.Lock()
					defer mu.Unlock()
					logged = append(logged, r.Message)
				}))
				reported := func() int {
					synctest.Wait()
					mu.Lock()
					defer mu.Unlock()
					return len(slices.DeleteFunc(slices.Clone(logged), func(s string) bool {
						return s != "authprofile: code that was called has panicked"
					}))
				}
				var once sync.Once
				fault := func(c *storeCall) error {
					if c.op == "Profile" {
						once.Do(tt.end)
					}
					return c.run()
				}
				proc.store.on(fault)
				w.token(proc.Manager, p, asAda) // it is in the Store: the profile is not needed
				if got := reported(); got != tt.want {
					t.Errorf("got %d panics reported, want %d", got, tt.want)
				}

				expire()
				once = sync.Once{}
				w.refuses(proc.Manager, p, nil, asAda)
				if got := reported(); got != 2*tt.want {
					t.Errorf("got %d panics reported, want %d", got, 2*tt.want)
				}
				time.Sleep(time.Minute)
				w.token(proc.Manager, p, asAda)
				w.healthy(ada)
			})
		})
	}
}
