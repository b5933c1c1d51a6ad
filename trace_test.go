package authprofile_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authprofile/authprofile"
	"github.com/authprofile/authprofile/providertest"
)

// A traceRecorder notes what a Trace is told, a line for each call.
type traceRecorder struct {
	mu    sync.Mutex
	lines []string
}

func (r *traceRecorder) note(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines = append(r.lines, strings.Join(strings.Fields(fmt.Sprintf(format, args...)), " "))
}

// take returns the lines that were noted since the last time, sorted.
func (r *traceRecorder) take() []string {
	synctest.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	lines := r.lines
	r.lines = nil
	slices.Sort(lines)
	return lines
}

// wants wants just these lines to have been noted since the last time, in any
// order.
func (r *traceRecorder) wants(t *testing.T, want ...string) {
	t.Helper()
	got := r.take()
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("got\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}

func (r *traceRecorder) trace() *authprofile.Trace {
	return &authprofile.Trace{
		TokenRequest: func(ctx context.Context, q authprofile.TokenRequest) (context.Context, func(authprofile.TokenResult)) {
			r.note("request %s %s %s", q.ProfileID, q.GrantType, q.Server)
			return ctx, func(a authprofile.TokenResult) {
				withdrawn := ""
				if a.Withdrawn {
					withdrawn = "withdrawn"
				}
				r.note("result %d %s %s %s after %v", a.HTTPStatus, a.Reason, a.Code, withdrawn, a.Took.Round(time.Second))
			}
		},
		TokenWait: func(_ context.Context, w authprofile.TokenWait) {
			r.note("wait %s after %v: %s %v", w.ProfileID, w.Took.Round(time.Second), w.Reason, w.Err)
		},
		Transition: func(_ context.Context, s authprofile.Transition) {
			r.note("transition %s %s to %s %s", s.ProfileID, s.From, s.To, s.Reason)
		},
		LeaseTakeover: func(_ context.Context, id string) { r.note("takeover %s", id) },
		StoreConflict: func(_ context.Context, id string) { r.note("conflict %s", id) },
	}
}

// traced returns a process with a Trace that is recorded.
func (w *world) traced() (*process, *traceRecorder) {
	proc, rec := w.process(), new(traceRecorder)
	proc.Trace = rec.trace()
	proc.RedirectURL = "https://app.example.com/callback"
	return proc, rec
}

const (
	refreshed = "request crm refresh_token login.example.com"
	granted   = "result 200 after 0s"
	waited    = "wait crm after 0s: <nil>"
)

// The Trace hears of an authorization, and of a renewal and those who wait for
// it; of a token from memory it hears nothing.
func TestTraceOfARenewal(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.user()
		proc, rec := w.traced()
		f, err := proc.Begin(t.Context(), p, "ada")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := proc.Finish(t.Context(), "ada", w.consent(f)); err != nil {
			t.Fatal(err)
		}
		rec.wants(t, "request crm authorization_code login.example.com", granted)

		src := proc.Source(t.Context(), p, asAda)
		for range 3 {
			w.token(proc.Manager, p, asAda)
			if _, err := src.Token(); err != nil {
				t.Fatal(err)
			}
		}
		rec.wants(t)

		expire()
		w.srv.Fault(providertest.Token, providertest.Fault{Delay: 2 * time.Second})
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() { w.token(proc.Manager, p, asAda) })
		}
		wg.Wait()
		const two = "wait crm after 2s: <nil>"
		rec.wants(t, refreshed, "result 200 after 2s", two, two, two)

		time.Sleep(59*time.Minute + 40*time.Second) // the token is renewed ahead of its end, and nobody waits
		w.token(proc.Manager, p, asAda)
		rec.wants(t, refreshed, granted)
	})
}

// A profile that was never saved has no ID, also if the application has given it
// one.
func TestTraceOfAnAppProfile(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		proc, rec := w.traced()
		unsaved := w.unsavedApp()
		w.token(proc.Manager, unsaved)
		const requested, waited = "request client_credentials login.example.com", "wait after 0s: <nil>"
		rec.wants(t, requested, granted, waited)
		src := proc.Source(t.Context(), unsaved)
		if _, err := src.Token(); err != nil {
			t.Fatal(err)
		}
		rec.wants(t, requested, granted, waited)

		expire()
		w.srv.Fault(providertest.Token, answers(503, ""))
		w.refuses(proc.Manager, unsaved, nil)
		rec.wants(t, requested, "result 503 unavailable after 0s", "transition active to failing unavailable",
			"wait after 0s: unavailable no token could be obtained")
		w.refuses(proc.Manager, unsaved, nil) // too soon for another attempt
		rec.wants(t, "wait after 0s: unavailable no token could be obtained")
		w.srv.ClearFaults(providertest.Token)
		time.Sleep(time.Minute)
		w.token(proc.Manager, unsaved)
		rec.wants(t, requested, granted, "transition failing to active", waited)

		saved := w.app()
		w.token(proc.Manager, saved)
		rec.wants(t, "request app client_credentials login.example.com", granted, "wait app after 0s: <nil>")
	})
}

// What a provider says reaches the Trace only where a standard has the word for
// it.
func TestTraceOfFailures(t *testing.T) {
	for _, test := range []struct {
		name  string
		fault providertest.Fault
		want  []string
	}{
		{"ended", answers(400, code("invalid_grant")), []string{
			refreshed, "result 400 revoked invalid_grant after 0s", "transition crm active to needs_reauthorization revoked",
			"wait crm after 0s: revoked the user must authorize again"}},
		{"the client", answers(401, code("invalid_client")), []string{
			refreshed, "result 401 client invalid_client after 0s", "transition crm active to needs_configuration client",
			"wait crm after 0s: client the profile or its registration must be corrected"}},
		{"a code that the provider has made up", answers(400, code("out_of_cheese")), []string{
			refreshed, "result 400 refused after 0s", "transition crm active to failing refused",
			"wait crm after 0s: refused no token could be obtained"}},
		{"no such page", answers(404, ""), []string{
			refreshed, "result 404 client after 0s", "transition crm active to needs_configuration client",
			"wait crm after 0s: client the profile or its registration must be corrected"}},
		{"lost, and lost again", providertest.Fault{Drop: true, Times: 2}, []string{
			refreshed, "result 0 lost after 0s", refreshed, "result 0 lost after 0s", "transition crm active to failing lost",
			"wait crm after 0s: lost no token could be obtained"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				p := w.adasProfile()
				proc, rec := w.traced()
				expire()
				w.srv.Fault(providertest.Token, test.fault)
				w.refuses(proc.Manager, p, nil, asAda)
				rec.wants(t, test.want...)
			})
		})
	}
}

// The code is refused, and not a grant.
func TestTraceOfARefusedCode(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.user()
		proc, rec := w.traced()
		f, err := proc.Begin(t.Context(), p, "ada")
		if err != nil {
			t.Fatal(err)
		}
		q := w.consent(f)
		w.srv.Fault(providertest.Token, answers(400, code("invalid_grant")))
		if _, err := proc.Finish(t.Context(), "ada", q); err == nil {
			t.Fatal("got no error, want one")
		}
		rec.wants(t, "request crm authorization_code login.example.com", "result 400 refused invalid_grant after 0s")
	})
}

// A person ends a failure.
func TestTraceOfANewAuthorization(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.adasProfile()
		g := w.grant(ada)
		g.Status, g.Failure = authprofile.StatusNeedsReauthorization, &authprofile.Failure{Reason: authprofile.ReasonRevoked}
		w.put(g)
		proc, rec := w.traced()
		f, err := proc.Begin(t.Context(), p, "ada")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := proc.Finish(t.Context(), "ada", w.consent(f)); err != nil {
			t.Fatal(err)
		}
		rec.wants(t, "request crm authorization_code login.example.com", granted, "transition crm needs_reauthorization to active")
	})
}

// The server is a host, and a port that the scheme does not say.
func TestTraceOfServers(t *testing.T) {
	for address, want := range map[string]string{
		"https://auth.example.com/token?tenant=a": "auth.example.com",
		"https://auth.example.com:443/token":      "auth.example.com",
		"https://auth.example.com:8443/token":     "auth.example.com:8443",
		"http://127.0.0.1:80/token":               "127.0.0.1",
		"http://127.0.0.1:443/token":              "127.0.0.1:443",
		"https://[::1]/token":                     "[::1]",
	} {
		inWorld(t, func(t *testing.T, w *world) {
			proc := w.process()
			proc.net.on(func(*http.Request) (*http.Response, error) { return nil, errAway })
			var got string
			proc.Trace = &authprofile.Trace{TokenRequest: func(ctx context.Context, r authprofile.TokenRequest) (context.Context, func(authprofile.TokenResult)) {
				got = r.Server
				return ctx, nil
			}}
			p := w.unsavedApp()
			p.Endpoints.TokenURL = address
			if proc.Token(t.Context(), p); got != want {
				t.Errorf("%s: got server %q, want %q", address, got, want)
			}
		})
	}
}

// What stands for the ID of a profile that was never saved is made from all of
// it, and is for no log.
func TestLogsOfAnUnsavedProfile(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		m := w.manager()
		var mu sync.Mutex
		var got []string
		m.Logger = slog.New(handlerFunc(func(r slog.Record) {
			r.Attrs(func(a slog.Attr) bool {
				if a.Key == "profile" {
					mu.Lock()
					got = append(got, a.Value.String())
					mu.Unlock()
				}
				return true
			})
		}))
		w.token(m, w.unsavedApp())
		synctest.Wait()
		if want := []string{""}; !slices.Equal(got, want) {
			t.Errorf("got profiles %q in the log, want %q", got, want)
		}
	})
}

// A caller whose context ends has waited too; one that gets an error at once has
// not.
func TestTraceOfWaitsThatEnd(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.adasProfile()
		proc, rec := w.traced()
		expire()
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		proc.Token(ended, p, asAda)
		rec.wants(t)

		w.srv.Fault(providertest.Token, providertest.Fault{Delay: 10 * time.Second})
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		proc.Token(ctx, p, asAda)
		time.Sleep(10 * time.Second)
		rec.wants(t, refreshed, "result 200 after 10s", "wait crm after 3s: context deadline exceeded")

		proc.Token(t.Context(), p, authprofile.AsUser("eve"))
		rec.wants(t, "wait crm after 0s: the user must authorize again")

		expire()
		proc.Shutdown(t.Context())
		proc.Token(t.Context(), p, asAda)
		rec.wants(t)
	})
}

// A dead process is succeeded, which is no one's normal renewal.
func TestTraceOfATakeover(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.srv.SetPolicy(providertest.Policy{Rotation: providertest.RotateGrace, Grace: 10 * time.Second})
		p := w.adasProfile()
		dead := w.process()
		expire()
		dies(t, dead, p)
		proc, rec := w.traced()
		w.token(proc.Manager, p, asAda)
		got := rec.take()
		if len(got) != 4 || !slices.Equal(got[:3], []string{refreshed, granted, "takeover crm"}) { // and for how long the caller has waited
			t.Errorf("got %q, want a request, its result, a takeover and a wait", got)
		}
		w.healthy(ada)
	})
}

// Another process is quicker, by as much as it takes to take the lease.
func TestTraceOfAConflict(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.adasProfile()
		proc, rec := w.traced()
		expire()
		quicker := false
		proc.store.on(func(c *storeCall) error {
			if c.op == "PutGrant" && !quicker {
				quicker = true
				w.token(w.m, p, asAda)
			}
			return c.run()
		})
		w.token(proc.Manager, p, asAda)
		rec.wants(t, "conflict crm", waited)
	})
}

// The token has come, and the grant has changed meanwhile: what is told of it
// comes after the token is stored.
func TestTraceOfAConflictWithAnAnswer(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.adasProfile()
		proc, rec := w.traced()
		expire()
		failAfterAnswer(proc, func(c *storeCall) error {
			if c.op == "PutGrant" {
				proc.store.heal()
				g := w.grant(ada)
				g.Lease = &authprofile.Lease{Owner: "another", Attempt: "another", Length: 5 * time.Second}
				w.put(g)
			}
			return c.run()
		})
		w.token(proc.Manager, p, asAda)
		rec.wants(t, refreshed, granted, "conflict crm", waited)
		w.healthy(ada)
	})
}

// A request is not sent after all, since another process has taken over. That
// says nothing about the provider.
func TestTraceOfARequestThatIsWithdrawn(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.adasProfile()
		proc, rec := w.traced()
		expire()
		proc.net.on(func(r *http.Request) (*http.Response, error) {
			if r.Method == http.MethodPost {
				proc.net.heal()
				g := w.grant(ada)
				g.Lease = nil
				w.put(g) // as a process that has come to an end with it
				w.token(w.m, p, asAda)
			}
			return proc.net.base.RoundTrip(r)
		})
		w.token(proc.Manager, p, asAda)
		rec.wants(t, refreshed, "result 0 withdrawn after 0s", waited)
		w.asked("refresh_token", 1)
		w.healthy(ada)
	})
}

// The answer comes when the renewal no longer waits for it. The Trace hears of
// it once, when it is there.
func TestTraceOfALateAnswer(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.srv.SetPolicy(providertest.Policy{Rotation: providertest.RotateGrace, Grace: time.Hour})
		p := w.adasProfile()
		proc, rec := w.traced()
		expire()
		released := make(chan struct{})
		proc.net.on(func(r *http.Request) (*http.Response, error) { // does not listen to its context
			resp, err := proc.net.base.RoundTrip(r.WithContext(context.WithoutCancel(r.Context())))
			if r.Method == http.MethodPost {
				<-released
			}
			return resp, err
		})
		w.refuses(proc.Manager, p, nil, asAda)
		rec.wants(t, refreshed, refreshed, "transition crm active to failing lost",
			"wait crm after 1m2s: lost no token could be obtained") // each request is waited for 31 seconds
		time.Sleep(10 * time.Second)
		close(released)
		got := slices.DeleteFunc(rec.take(), func(line string) bool { return line == "conflict crm" }) // one for each, or for the second
		if want := []string{"result 200 after 1m12s", "result 200 after 41s"}; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

// The request has the values that the trace has put into its context, and those
// of the caller, but ends when it has to.
func TestTraceContext(t *testing.T) {
	type key string
	inWorld(t, func(t *testing.T, w *world) {
		p := w.adasProfile()
		for _, test := range []struct {
			name  string
			trace func(ctx context.Context) context.Context
			want  any
		}{
			{"one more value", func(ctx context.Context) context.Context {
				return context.WithValue(ctx, key("ours"), ctx.Value(key("caller's")))
			}, "theirs"},
			{"none at all", func(context.Context) context.Context { return nil }, nil},
			{"another context", func(context.Context) context.Context {
				return context.WithValue(context.Background(), key("ours"), "other")
			}, "other"},
		} {
			proc := w.process()
			proc.Trace = &authprofile.Trace{TokenRequest: func(ctx context.Context, _ authprofile.TokenRequest) (context.Context, func(authprofile.TokenResult)) {
				return test.trace(ctx), nil
			}}
			var got any
			stuck := false
			proc.net.on(func(r *http.Request) (*http.Response, error) {
				if r.Method != http.MethodPost {
					return proc.net.base.RoundTrip(r)
				}
				got = r.Context().Value(key("ours"))
				if stuck {
					<-r.Context().Done()
					return nil, r.Context().Err()
				}
				return proc.net.base.RoundTrip(r)
			})
			expire()
			ctx, cancel := context.WithCancel(context.WithValue(t.Context(), key("caller's"), "theirs"))
			if _, err := proc.Token(ctx, p, asAda); err != nil || got != test.want {
				t.Errorf("%s: got %v and error %v, want %v", test.name, got, err, test.want)
			}
			cancel()

			expire()
			stuck = true
			began := time.Now()
			w.refuses(proc.Manager, p, nil, asAda)
			if took := time.Since(began); took > 2*time.Minute {
				t.Errorf("%s: got an answer after %v, want requests that end", test.name, took)
			}
		}
	})
}

// However a function of the Trace misbehaves, callers get their tokens, and the
// Store does too.
func TestTraceThatMisbehaves(t *testing.T) {
	for how, misbehave := range map[string]func(blocked chan struct{}){
		"panics":             func(chan struct{}) { panic("S3CRET") },
		"blocks":             func(blocked chan struct{}) { <-blocked },
		"ends its goroutine": func(chan struct{}) { runtime.Goexit() },
	} {
		for _, where := range []string{"TokenRequest", "done", "TokenWait", "Transition", "LeaseTakeover", "StoreConflict"} {
			t.Run(where+" "+how, func(t *testing.T) {
				inWorld(t, func(t *testing.T, w *world) {
					w.srv.SetPolicy(providertest.Policy{Rotation: providertest.RotateGrace, Grace: time.Hour})
					p := w.adasProfile()
					proc := w.process()
					blocked := make(chan struct{})
					w.Cleanup(func() { close(blocked) })
					var mu sync.Mutex
					calls, logged := 0, 0
					at := func(name string) {
						if name == where {
							mu.Lock()
							calls++
							mu.Unlock()
							misbehave(blocked)
						}
					}
					proc.Trace = &authprofile.Trace{
						TokenRequest: func(ctx context.Context, _ authprofile.TokenRequest) (context.Context, func(authprofile.TokenResult)) {
							at("TokenRequest")
							return ctx, func(authprofile.TokenResult) { at("done") }
						},
						TokenWait:     func(context.Context, authprofile.TokenWait) { at("TokenWait") },
						Transition:    func(context.Context, authprofile.Transition) { at("Transition") },
						LeaseTakeover: func(context.Context, string) { at("LeaseTakeover") },
						StoreConflict: func(context.Context, string) { at("StoreConflict") },
					}
					proc.Logger = slog.New(handlerFunc(func(r slog.Record) {
						if strings.Contains(r.Message, "panicked") {
							mu.Lock()
							logged++
							mu.Unlock()
						}
					}))

					for _, prepare := range []func(){
						func() {},
						func() { // its status will change
							g := w.grant(ada)
							g.Status, g.Failure = authprofile.StatusFailing, &authprofile.Failure{Reason: authprofile.ReasonUnavailable}
							w.put(g)
						},
						func() { // another process has died
							g := w.grant(ada)
							g.Lease = &authprofile.Lease{Owner: "dead", Attempt: "dead", Length: 5 * time.Second}
							w.put(g)
						},
						func() { // the grant changes while the provider answers
							failAfterAnswer(proc, func(c *storeCall) error {
								if c.op == "PutGrant" {
									proc.store.heal()
									g := w.grant(ada)
									g.Lease = nil
									w.put(g)
								}
								return c.run()
							})
						},
					} {
						expire()
						prepare()
						ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
						if _, err := proc.Token(ctx, p, asAda); err != nil {
							t.Errorf("got error %v, want a token", err)
						}
						cancel()
						w.healthy(ada)
						synctest.Wait()
					}
					mu.Lock()
					defer mu.Unlock()
					if calls == 0 {
						t.Error("got no call, want some")
					}
					if how == "panics" && logged != calls {
						t.Errorf("got %d records of %d panics, want one of each", logged, calls)
					}
				})
			})
		}
	}
}

// Between the answer and the put that stores it, nothing of the Trace is called.
func TestTraceHearsOfWhatIsStored(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.adasProfile()
		proc := w.process()
		told := false
		proc.Trace = &authprofile.Trace{TokenRequest: func(ctx context.Context, _ authprofile.TokenRequest) (context.Context, func(authprofile.TokenResult)) {
			return ctx, func(authprofile.TokenResult) { told = true }
		}}
		expire()
		proc.store.on(func(c *storeCall) error {
			if told {
				t.Errorf("%s: got a call of the Store after the Trace was told, want all of them before", c.op)
			}
			return c.run()
		})
		w.token(proc.Manager, p, asAda)
		synctest.Wait()
		if !told {
			t.Error("got no call, want one when the token is stored")
		}
	})
}
