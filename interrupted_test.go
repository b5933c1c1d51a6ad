package authprofile_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/authprofile/authprofile"
	"github.com/authprofile/authprofile/providertest"
)

func TestInterruptedRenewalSaysSo(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) { // the provider is strict
		p := w.adasProfile()
		dead := w.process()
		expire()
		dies(t, dead, p)
		w.refuses(w.m, p, authprofile.ErrReauthorize, asAda)
		w.asked("refresh_token", 2)
		if g := w.grant(ada); g.Status != needsPerson || g.Failure.Reason != authprofile.ReasonInterrupted {
			t.Errorf("got %v, want it to need its user, interrupted", g)
		}
		for range 20 {
			time.Sleep(time.Hour)
			w.refuses(w.m, p, authprofile.ErrReauthorize, asAda)
			w.refuses(w.manager(), p, authprofile.ErrReauthorize, asAda)
		}
		w.asked("refresh_token", 2)
	})
}

// dies lets a process ask the provider and be killed before it sees the
// answer: nothing more comes from it.
func dies(t *testing.T, proc *process, p *authprofile.Profile) {
	t.Helper()
	answered := make(chan struct{})
	proc.net.on(func(r *http.Request) (*http.Response, error) {
		resp, err := proc.net.base.RoundTrip(r)
		if r.Method == http.MethodPost {
			proc.store.on(func(c *storeCall) error {
				<-c.ctx.Done()
				return c.ctx.Err()
			})
			close(answered)
			<-r.Context().Done()
			return nil, r.Context().Err()
		}
		return resp, err
	})
	ctx, cancel := context.WithCancel(t.Context())
	go proc.Token(ctx, p, asAda)
	<-answered
	cancel()
}

// The answer is lost on the way: the same process asks once more, at once.
func TestLostAnswer(t *testing.T) {
	for _, fault := range []struct {
		name string
		providertest.Fault
	}{
		{"dropped", providertest.Fault{Committed: true, Drop: true}},
		{"cut", providertest.Fault{Committed: true, CutAfter: 5}},
		{"cut after the header", providertest.Fault{Committed: true, CutAfter: -1}},
		{"too late", providertest.Fault{Committed: true, Hang: true, Drop: true}},
	} {
		t.Run(fault.name+" grace", func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.srv.SetPolicy(providertest.Policy{Rotation: providertest.RotateGrace, Grace: 35 * time.Second})
				p := w.adasProfile()
				expire()
				w.srv.Fault(providertest.Token, fault.Fault)
				begin := time.Now()
				w.token(w.m, p, asAda)
				if d := time.Since(begin); d > 0 && fault.name != "too late" {
					t.Errorf("got the token after %v, want it at once", d)
				}
				w.asked("refresh_token", 2)
				w.healthy(ada)
			})
		})
		t.Run(fault.name+" strict", func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				p := w.adasProfile()
				expire()
				w.srv.Fault(providertest.Token, fault.Fault)
				w.refuses(w.m, p, authprofile.ErrReauthorize, asAda)
				w.refuses(w.manager(), p, authprofile.ErrReauthorize, asAda)
				w.asked("refresh_token", 2)
				if f := w.grant(ada).Failure; f.Reason != authprofile.ReasonInterrupted {
					t.Errorf("got reason %q, want interrupted", f.Reason)
				}
			})
		})
	}
}

// The connection breaks just as the lease is being extended, and the store's
// word about that is lost with it: the refresh token is tried again all the
// same.
func TestLostAnswerDuringAnExtension(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.srv.SetPolicy(providertest.Policy{Rotation: providertest.RotateGrace, Grace: 10 * time.Second})
		p := w.adasProfile()
		proc := w.process()
		expire()
		w.srv.Fault(providertest.Token, providertest.Fault{Committed: true, Delay: 2 * time.Second, Drop: true})
		puts := 0
		proc.store.on(func(c *storeCall) error {
			if c.op == "PutGrant" {
				if puts++; puts == 2 { // the first extension takes effect, and hangs
					err := c.run()
					<-c.ctx.Done()
					return errors.Join(err, c.ctx.Err())
				}
			}
			return c.run()
		})
		begin := time.Now()
		w.token(proc.Manager, p, asAda)
		if d := time.Since(begin); d > 3*time.Second {
			t.Errorf("got the token after %v, want it within three seconds", d)
		}
		w.asked("refresh_token", 2)
		w.healthy(ada)
	})
}

// A lease of its own, under which it has sent nothing, is no interrupted renewal
// for a process: its first request is the first one, and is repeated at once if
// the answer is lost, while the period of grace lasts.
func TestOwnLeaseWithoutARequest(t *testing.T) {
	for _, look := range []int{2, 3} { // that the Store does not answer
		t.Run(fmt.Sprint(look), func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.srv.SetPolicy(providertest.Policy{Rotation: providertest.RotateGrace, Grace: 10 * time.Second})
				p := w.adasProfile()
				proc := w.process()
				expire()
				w.srv.Fault(providertest.Token, providertest.Fault{Committed: true, Drop: true})
				proc.store.failRead(look)
				if _, err := proc.Token(t.Context(), p, asAda); err != nil {
					w.asked("refresh_token", 0)
				}
				time.Sleep(1500 * time.Millisecond)
				proc.Token(t.Context(), p, asAda)
				w.asked("refresh_token", 2)
				time.Sleep(11 * time.Second)
				w.token(proc.Manager, p, asAda)
				w.healthy(ada)
			})
		})
	}
}

// And if the provider says that the grant has ended, that is not called an
// interruption.
func TestOwnLeaseWithoutARequestIsNoInterruption(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.adasProfile()
		proc := w.process()
		expire()
		w.srv.Fault(providertest.Token, answers(400, code("invalid_grant")))
		proc.store.failRead(3)
		w.refuses(proc.Manager, p, authprofile.ErrReauthorize, asAda)
		if got := w.grant(ada).Failure.Reason; got != authprofile.ReasonRevoked {
			t.Errorf("got reason %q, want %q", got, authprofile.ReasonRevoked)
		}
	})
}

// A lease of its own under which it has sent a request is one, and a process
// that could not note what became of the request remembers.
func TestOwnLeaseWithALostAnswer(t *testing.T) {
	for name, fault := range map[string]func(c *storeCall) error{
		"the Store goes away": func(c *storeCall) error { return errAway },
		"the second request is not sent": func(c *storeCall) error {
			if c.op == "Grant" {
				return errAway
			}
			return c.run()
		},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				p := w.adasProfile()
				proc := w.process()
				expire()
				w.srv.Fault(providertest.Token, providertest.Fault{Committed: true, Drop: true})
				proc.net.on(func(r *http.Request) (*http.Response, error) {
					resp, err := proc.net.base.RoundTrip(r)
					if r.Method == http.MethodPost {
						proc.store.on(fault)
					}
					return resp, err
				})
				w.refuses(proc.Manager, p, nil, asAda)
				w.asked("refresh_token", 1)
				proc.store.heal()
				proc.net.heal()
				time.Sleep(10 * time.Second)
				w.refuses(proc.Manager, p, authprofile.ErrReauthorize, asAda)
				if got := w.grant(ada).Failure.Reason; got != authprofile.ReasonInterrupted {
					t.Errorf("got reason %q, want %q", got, authprofile.ReasonInterrupted)
				}
			})
		})
	}
}

// An answer was lost, then the provider was away for a while, and in the end it
// says that the grant has ended: the reason is still the interruption.
func TestInterruptionIsRememberedThroughAnOutage(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.adasProfile()
		expire()
		for range 2 { // the request, and the one that follows at once
			w.srv.Fault(providertest.Token, providertest.Fault{Grant: "refresh_token", Committed: true, Drop: true})
		}
		w.refuses(w.m, p, nil, asAda)
		if got := w.grant(ada).Failure; got.Reason != authprofile.ReasonLost {
			t.Fatalf("got %+v, want the reason lost", *got)
		}
		w.srv.Fault(providertest.Token, answers(503, ""))
		time.Sleep(10 * time.Second)
		w.refuses(w.m, p, nil, asAda)
		if got := w.grant(ada).Failure; got.Reason != authprofile.ReasonLost || got.HTTPStatus != 503 {
			t.Errorf("got %+v, want the lost answer, and what the provider says now", *got)
		}
		w.srv.ClearFaults(providertest.Token)
		time.Sleep(time.Minute)
		w.refuses(w.m, p, authprofile.ErrReauthorize, asAda)
		if got := w.grant(ada).Failure; got.Reason != authprofile.ReasonInterrupted {
			t.Errorf("got reason %q, want %q", got.Reason, authprofile.ReasonInterrupted)
		}
	})
}

// A transport does not listen to its context. The renewal does not wait for it
// for ever, and does not keep other processes from the grant; what it brings in
// the end is stored if it is still of use.
func TestStuckTransport(t *testing.T) {
	for _, test := range []struct {
		name  string
		stuck time.Duration
		sent  bool
	}{
		{"for ever, unsent", 0, false},
		{"for ever, sent", 0, true},
		{"for a minute, sent", time.Minute, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.srv.SetPolicy(providertest.Policy{Rotation: providertest.RotateGrace, Grace: 10 * time.Minute})
				p := w.adasProfile()
				proc := w.process()
				expire()
				released := make(chan struct{})
				release := sync.OnceFunc(func() { close(released) })
				w.Cleanup(release)
				posts := 0
				proc.net.on(func(r *http.Request) (*http.Response, error) {
					if r.Method == http.MethodGet {
						return proc.net.base.RoundTrip(r)
					}
					if posts++; test.stuck > 0 && posts > 1 {
						io.Copy(io.Discard, r.Body)
						return nil, io.ErrUnexpectedEOF // it never arrives
					}
					if !test.sent {
						<-released
						return nil, errors.New("let go")
					}
					resp, err := proc.net.base.RoundTrip(r.WithContext(context.WithoutCancel(r.Context())))
					<-released
					return resp, err
				})
				begin := time.Now()
				w.refuses(proc.Manager, p, nil, asAda)
				if d := time.Since(begin); d > 70*time.Second {
					t.Errorf("got an answer after %v, want it within 70 seconds", d)
				}
				proc.net.heal()
				if test.stuck > 0 {
					time.Sleep(test.stuck)
					release()
					time.Sleep(time.Second)
					w.healthy(ada)
					before := w.srv.Count("refresh_token")
					w.token(proc.Manager, p, asAda)
					w.asked("refresh_token", before)
					return
				}
				time.Sleep(2 * time.Second) // of backoff
				begin = time.Now()
				w.token(w.m, p, asAda)
				if d := time.Since(begin); d > 0 {
					t.Errorf("another process got the token after %v, want no lease to wait for", d)
				}
				w.healthy(ada)
				release()
				time.Sleep(time.Minute)
				w.healthy(ada)
			})
		})
	}
}

// A transport does not listen to its context: an application that has no Store
// is not kept from its provider for ever either.
func TestStuckTransportOfAnApplication(t *testing.T) {
	for _, method := range []string{http.MethodPost, http.MethodGet} {
		t.Run(method, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				p := w.unsavedApp()
				p.Endpoints = authprofile.Endpoints{DiscoveryURL: w.srv.DiscoveryURL()}
				proc := w.process()
				released := make(chan struct{})
				w.Cleanup(func() { close(released) })
				var stuck atomic.Int64
				proc.net.on(func(r *http.Request) (*http.Response, error) {
					if r.Method == method && stuck.Add(1) <= 2 {
						<-released
						return nil, errors.New("let go")
					}
					return proc.net.base.RoundTrip(r)
				})
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
				defer cancel()
				for {
					if _, err := proc.Token(ctx, p); err == nil {
						break
					}
					if ctx.Err() != nil {
						t.Fatal("got no token in ten minutes, want one")
					}
					time.Sleep(time.Second)
				}
			})
		})
	}
}

// A profile that is deleted while an application's request is about to be sent
// gets no token any more.
func TestAppIsDeletedBeforeItsRequest(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.app()
		proc := w.process()
		var once sync.Once
		proc.net.on(func(r *http.Request) (*http.Response, error) {
			once.Do(func() {
				if err := w.m.Delete(t.Context(), p.ID); err != nil {
					t.Error(err)
				}
			})
			return proc.net.base.RoundTrip(r)
		})
		w.refuses(proc.Manager, p, authprofile.ErrNotFound)
		w.asked("client_credentials", 0)
	})
}

// A store that needs its time does not keep a grant from being renewed, nor
// its callers waiting for ever.
func TestSlowStore(t *testing.T) {
	for _, tt := range []struct {
		latency time.Duration
		works   bool
	}{
		{500 * time.Millisecond, true},
		{1300 * time.Millisecond, true},
		{2 * time.Second, true},
		{2500 * time.Millisecond, false}, // the last look takes what is left of the lease
		{3500 * time.Millisecond, false},
		{6 * time.Second, false}, // each call runs into its limit
	} {
		t.Run(tt.latency.String(), func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				user, app := w.adasProfile(), w.app()
				proc := w.process()
				expire()
				slow := func(c *storeCall) error {
					select {
					case <-time.After(tt.latency):
						return c.run()
					case <-c.ctx.Done():
						return c.ctx.Err()
					}
				}
				proc.store.on(slow)
				begin := time.Now()
				w.token(proc.Manager, app)
				if d := time.Since(begin); d > 30*time.Second {
					t.Errorf("got the application's token after %v, want it within half a minute", d)
				}
				begin = time.Now()
				if tt.works {
					w.token(proc.Manager, user, asAda)
				} else {
					w.refuses(proc.Manager, user, nil, asAda)
				}
				if d := time.Since(begin); d > time.Minute {
					t.Errorf("got the user's token after %v, want it within a minute", d)
				}
				if tt.works {
					w.asked("refresh_token", 1)
				}
				w.asked("client_credentials", 1)
				proc.store.heal()
				w.token(proc.Manager, user, asAda)
				time.Sleep(time.Minute)
				w.healthy(ada)
			})
		})
	}
}

// A Store that says conflict to everything is answered with an error.
func TestEndlessConflicts(t *testing.T) {
	for _, when := range []string{"always", "after the answer"} {
		t.Run(when, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				user, app := w.adasProfile(), w.app()
				proc := w.process()
				expire()
				conflict := func(c *storeCall) error {
					if c.op == "PutGrant" && (when == "always" || c.grant.Lease == nil) {
						time.Sleep(time.Millisecond)
						return authprofile.ErrConflict
					}
					return c.run()
				}
				proc.store.on(conflict)
				begin := time.Now()
				_, err := proc.Token(t.Context(), user, asAda)
				if (err != nil) != (when == "always") {
					t.Errorf("got error %v, want one only if all puts are refused", err)
				}
				if d := time.Since(begin); d > 100*time.Second {
					t.Errorf("got an answer after %v, want it within 100 seconds", d)
				}
				w.token(proc.Manager, app)
				if got := proc.store.count("PutGrant"); got > 10_000 {
					t.Errorf("got %d calls of PutGrant, want 10,000 at most", got)
				}
				proc.store.heal()
				time.Sleep(time.Minute)
				w.token(proc.Manager, user, asAda)
				w.healthy(ada)
			})
		})
	}
}
