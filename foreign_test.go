package authprofile_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authprofile/authprofile"
	"github.com/authprofile/authprofile/providertest"
)

// foreignPlaces let the code that is not ours end in one place of a renewal.
var foreignPlaces = map[string]func(proc *process, end func()){
	"transport": func(proc *process, end func()) {
		proc.net.on(func(r *http.Request) (*http.Response, error) {
			if r.Method == http.MethodPost {
				end()
			}
			return proc.net.base.RoundTrip(r)
		})
	},
	"transport, discovering": func(proc *process, end func()) {
		proc.net.on(func(r *http.Request) (*http.Response, error) { end(); return nil, nil })
	},
	"transport, after the answer": func(proc *process, end func()) {
		proc.net.on(func(r *http.Request) (*http.Response, error) {
			resp, err := proc.net.base.RoundTrip(r)
			if r.Method == http.MethodPost {
				end()
			}
			return resp, err
		})
	},
	"reading": func(proc *process, end func()) {
		proc.store.on(func(c *storeCall) error {
			if c.op == "Grant" {
				end()
			}
			return c.run()
		})
	},
	"reading the profile": func(proc *process, end func()) {
		proc.store.on(func(c *storeCall) error {
			if c.op == "Profile" {
				end()
			}
			return c.run()
		})
	},
	"looking once more": func(proc *process, end func()) {
		held := false
		proc.store.on(func(c *storeCall) error {
			if c.op == "PutGrant" {
				held = true
			}
			if c.op == "Grant" && held {
				end()
			}
			return c.run()
		})
	},
	"writing the token": func(proc *process, end func()) {
		failAfterAnswer(proc, func(c *storeCall) error {
			if c.op == "PutGrant" {
				end()
			}
			return c.run()
		})
	},
	"extending": func(proc *process, end func()) {
		puts := 0
		proc.store.on(func(c *storeCall) error {
			if c.op == "PutGrant" {
				if puts++; puts == 2 {
					end()
				}
			}
			return c.run()
		})
	},
}

// However code that is not ours ends, those who wait for it hear of it, and the
// next call works.
func TestForeignCodeThatDoesNotReturn(t *testing.T) {
	ends := map[string]func(){
		"ends its goroutine": runtime.Goexit,
		"panics":             func() { panic("S3CRET") },
	}

	for how, end := range ends {
		for place, f := range foreignPlaces {
			t.Run(place+" "+how, func(t *testing.T) {
				inWorld(t, func(t *testing.T, w *world) {
					w.srv.SetPolicy(providertest.Policy{Rotation: providertest.RotateGrace, Grace: time.Hour})
					p := w.adasProfile()
					proc := w.process()
					expire()
					w.srv.Fault(providertest.Token, providertest.Fault{Committed: true, Delay: 2 * time.Second})
					f(proc, end)
					var wg sync.WaitGroup
					for range 5 {
						wg.Go(func() {
							ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
							defer cancel()
							if _, err := proc.Token(ctx, p, asAda); errors.Is(err, context.DeadlineExceeded) && ctx.Err() != nil {
								t.Error("got nothing within two minutes, want a token or an error")
							}
						})
					}
					wg.Wait()
					proc.net.heal()
					proc.store.heal()
					time.Sleep(10 * time.Minute)
					w.token(proc.Manager, p, asAda)
					w.token(w.m, p, asAda)
					w.healthy(ada)
				})
			})
		}
	}
}

// A token was obtained, and the Store ends the goroutine that writes it: it is
// written all the same.
func TestTokenIsStoredThoughTheStoreEndsGoroutines(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) { // the provider is strict
		p := w.adasProfile()
		proc := w.process()
		expire()
		left := 5
		failAfterAnswer(proc, func(c *storeCall) error {
			if c.op == "PutGrant" && left > 0 {
				left--
				runtime.Goexit()
			}
			return c.run()
		})
		proc.Token(t.Context(), p, asAda)
		time.Sleep(time.Minute)
		w.asked("refresh_token", 1)
		w.healthy(ada)
	})
}

func TestFinishWithForeignCodeThatDoesNotReturn(t *testing.T) {
	for how, end := range map[string]func(){
		"ends its goroutine": runtime.Goexit,
		"panics":             func() { panic("S3CRET") },
	} {
		for _, place := range []string{"transport", "store"} {
			t.Run(place+" "+how, func(t *testing.T) {
				inWorld(t, func(t *testing.T, w *world) {
					p := w.user()
					proc := w.process()
					proc.RedirectURL = callbackAddress
					f, err := proc.Begin(t.Context(), p, "ada")
					if err != nil {
						t.Fatal(err)
					}
					q := w.consent(f)
					if place == "store" {
						proc.store.on(func(c *storeCall) error {
							if c.op == "PutGrant" {
								end()
							}
							return c.run()
						})
					} else {
						proc.net.on(func(r *http.Request) (*http.Response, error) {
							if r.Method == http.MethodPost {
								end()
							}
							return proc.net.base.RoundTrip(r)
						})
					}
					ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
					defer cancel()
					if _, err := proc.Finish(ctx, "ada", q); err == nil || ctx.Err() != nil {
						t.Errorf("got error %v, want one before an hour is over", err)
					}
				})
			})
		}
	}
}

// A handlerFunc is a log handler.
type handlerFunc func(slog.Record)

func (handlerFunc) Enabled(context.Context, slog.Level) bool        { return true }
func (f handlerFunc) Handle(_ context.Context, r slog.Record) error { f(r); return nil }
func (f handlerFunc) WithAttrs([]slog.Attr) slog.Handler            { return f }
func (f handlerFunc) WithGroup(string) slog.Handler                 { return f }

// A log service wants a token, and a log handler asks the same Manager for it,
// or blocks, or does not return: neither callers nor grants notice.
func TestLogHandlerThatNeedsAToken(t *testing.T) {
	for _, test := range []struct {
		name   string
		fail   bool
		handle func(m *authprofile.Manager, p *authprofile.Profile, blocked chan struct{})
	}{
		{"asks for a token", false, asks},
		{"asks for a token that cannot be had", true, asks},
		{"blocks", false, func(_ *authprofile.Manager, _ *authprofile.Profile, blocked chan struct{}) { <-blocked }},
		{"blocks, of a failure", true, func(_ *authprofile.Manager, _ *authprofile.Profile, blocked chan struct{}) { <-blocked }},
		{"panics", false, func(*authprofile.Manager, *authprofile.Profile, chan struct{}) { panic("S3CRET") }},
		{"ends its goroutine", true, func(*authprofile.Manager, *authprofile.Profile, chan struct{}) { runtime.Goexit() }},
	} {
		t.Run(test.name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				p := w.adasProfile()
				m := w.manager()
				blocked := make(chan struct{})
				w.Cleanup(func() { close(blocked) })
				m.Logger = slog.New(handlerFunc(func(slog.Record) { test.handle(m, p, blocked) }))
				for range 3 {
					expire()
					if test.fail {
						w.srv.Fault(providertest.Token, answers(503, ""))
					}
					ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
					var wg sync.WaitGroup
					for range 5 {
						wg.Go(func() {
							if _, err := m.Token(ctx, p, asAda); ctx.Err() != nil || (err != nil) != test.fail {
								t.Errorf("got error %v, want one only if the renewal fails, and in time", err)
							}
						})
					}
					wg.Wait()
					cancel()
					synctest.Wait()
				}
			})
		})
	}
}

func asks(m *authprofile.Manager, p *authprofile.Profile, _ chan struct{}) {
	m.Token(context.Background(), p, asAda)
}

// An authorization is logged when its grant is there for all.
func TestLogHandlerOfAnAuthorization(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.user()
		m := w.manager()
		blocked := make(chan struct{})
		w.Cleanup(func() { close(blocked) })
		m.Logger = slog.New(handlerFunc(func(slog.Record) { <-blocked }))
		f, err := m.Begin(t.Context(), p, "ada")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := m.Finish(t.Context(), "ada", w.consent(f)); err != nil {
			t.Fatal(err)
		}
		w.token(m, p, asAda)
	})
}

// A Store panics at a token that came late: the program goes on, and the token
// is stored.
func TestStoreThatPanicsAtALateAnswer(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.srv.SetPolicy(providertest.Policy{Rotation: providertest.RotateGrace, Grace: time.Hour})
		p := w.adasProfile()
		proc := w.process()
		expire()
		released := make(chan struct{})
		proc.net.on(func(r *http.Request) (*http.Response, error) {
			resp, err := proc.net.base.RoundTrip(r.WithContext(context.WithoutCancel(r.Context())))
			if r.Method == http.MethodPost {
				<-released
			}
			return resp, err
		})
		proc.Token(t.Context(), p, asAda)
		proc.store.on(func(c *storeCall) error {
			if c.op == "PutGrant" {
				panic("S3CRET")
			}
			return c.run()
		})
		proc.net.heal()
		close(released)
		synctest.Wait()
		proc.store.heal()
		time.Sleep(time.Minute)
		w.healthy(ada)
	})
}
