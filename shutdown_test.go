package authprofile_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authprofile/authprofile"
	"github.com/authprofile/authprofile/providertest"
)

// Shutdown waits for the answer that is paid for, and until it is stored.
func TestShutdownWaitsForWhatWasPaidFor(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.adasProfile()
		proc := w.process()
		expire()
		w.srv.Fault(providertest.Token, providertest.Fault{Committed: true, Delay: 3 * time.Second})
		failAfterAnswer(proc, func(*storeCall) error { return errAway })
		go proc.Token(t.Context(), p, asAda)
		synctest.Wait()
		time.AfterFunc(time.Minute, proc.store.heal)

		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if err := proc.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got error %v while a token waits for the store, want the context's", err)
		}
		begin := time.Now()
		if err := proc.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		if d := time.Since(begin); d < 49*time.Second || d > 55*time.Second {
			t.Errorf("Shutdown returned after %v, want it when the store was back", d)
		}
		w.healthy(ada)
		w.asked("refresh_token", 1)
	})
}

// A Manager that is shut down gives out what it has, and renews nothing.
func TestAfterShutdown(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		user, app := w.adasProfile(), w.app()
		src := w.m.Source(t.Context(), user, asAda)
		first, err := src.Token()
		if err != nil {
			t.Fatal(err)
		}
		w.token(w.m, app)
		for range 2 {
			if err := w.m.Shutdown(t.Context()); err != nil {
				t.Error(err)
			}
		}
		time.Sleep(time.Hour - 5*time.Second) // due
		for range 3 {
			if tok, err := src.Token(); err != nil || tok != first {
				t.Errorf("got %v, error %v, want the token that is in memory", tok, err)
			}
			w.token(w.m, user, asAda)
			w.token(w.m, app)
		}
		if w.m.Ticking() {
			t.Error("got a timer after Shutdown, want none")
		}
		time.Sleep(10 * time.Second)
		if _, err := src.Token(); err == nil {
			t.Error("got a token after its end, want an error")
		}
		w.refuses(w.m, user, nil, asAda)
		w.refuses(w.m, app, nil)
		w.refuses(w.m, user, nil, asAda, authprofile.Rejected(first))
		w.asked("refresh_token", 0)
		w.asked("client_credentials", 1)
		w.token(w.manager(), user, asAda)
	})
}

// Those who wait for another process, for a place at the provider, or for a
// moment to pass are sent home at once.
func TestShutdownDoesNotWaitForOthers(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.adasProfile()
		g := w.grant(ada)
		g.Lease = &authprofile.Lease{Owner: "another", Attempt: "one", Length: time.Minute}
		w.put(g)
		rejecting := w.unsavedApp()
		proc := w.process()
		tok, err := proc.Token(t.Context(), rejecting)
		if err != nil {
			t.Fatal(err)
		}
		expire()
		fresh, err := proc.Token(t.Context(), rejecting)
		if err != nil || fresh == tok {
			t.Fatalf("got %v, error %v; want another token", fresh, err)
		}
		var wg sync.WaitGroup
		wg.Go(func() { w.refuses(proc.Manager, p, nil, asAda) })
		wg.Go(func() { w.refuses(proc.Manager, rejecting, nil, authprofile.Rejected(fresh)) })
		synctest.Wait()
		begin := time.Now()
		if err := proc.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		wg.Wait()
		if d := time.Since(begin); d > 0 {
			t.Errorf("got the end of Shutdown after %v, want it at once", d)
		}
	})
}

func TestShutdownDoesNotWaitForAPlaceAtTheProvider(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		proc := w.process()
		w.srv.Fault(providertest.Token, providertest.Fault{Times: -1, Delay: 10 * time.Second})
		var wg sync.WaitGroup
		for _, p := range w.apps(200) {
			wg.Go(func() { proc.Token(t.Context(), p) })
		}
		synctest.Wait()
		begin := time.Now()
		if err := proc.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		if d := time.Since(begin); d != 10*time.Second {
			t.Errorf("Shutdown took %v, want the 10s that the requests under way take", d)
		}
		wg.Wait()
		w.asked("client_credentials", 64)
	})
}

// A token that cannot be stored does not outlast a deadline, and the goroutine
// that tries ends once the store is back.
func TestShutdownOfAnAppProfileWithoutTheStore(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.app()
		proc := w.process()
		proc.store.goAway()
		w.token(proc.Manager, p)
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if err := proc.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got error %v, want the context's", err)
		}
		w.token(proc.Manager, p)
		proc.store.heal()
		if err := proc.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		if got, want := string(w.grant(app).AccessToken), w.token(proc.Manager, p); got != want {
			t.Error("got another token stored than was served, want the same")
		}
	})
}

func TestShutdown(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.adasProfile()
		q := w.consent(w.begin(p, "eve"))
		w.srv.Fault(providertest.Token, providertest.Fault{Hang: true})
		go w.m.Finish(t.Context(), "eve", q)
		if err := w.srv.AwaitHang(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var e *authprofile.Error
		if err := w.m.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) || !errors.As(err, &e) || e.Op != "shutdown" {
			t.Errorf("got %v, want the end of the context", err)
		}
		w.srv.Release()
		if err := w.m.Shutdown(t.Context()); err != nil {
			t.Errorf("got %v the second time, want none", err)
		}
		w.healthy(authprofile.GrantKey{ProfileID: "crm", User: "eve"})
		w.token(w.m, p, asAda) // from memory
		expire()
		w.refuses(w.m, p, nil, asAda)
	})
}

// A Manager that is shut down takes no flow that it could not finish: another
// process finishes it.
func TestFinishAfterShutdown(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.user()
		q := w.consent(w.begin(p, "ada"))
		if err := w.m.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.finishFails("ada", q, nil)
		w.asked("authorization_code", 0)
		w.m = w.manager()
		if _, err := w.m.Finish(t.Context(), "ada", q); err != nil {
			t.Fatalf("another process: got error %v, want none", err)
		}
		w.token(w.m, p, asAda)
	})
}
