package providertest_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authprofile/authprofile/providertest"
)

// ask makes a client credentials request, and returns the response.
func ask(srv *providertest.Server) (*http.Response, error) {
	return post(srv, srv.TokenURL(), form("grant_type", "client_credentials"))
}

// issued returns how many access tokens a Server has issued.
func issued(srv *providertest.Server) int {
	n := 0
	for _, r := range srv.Requests() {
		if r.IssuedAccess != "" {
			n++
		}
	}
	return n
}

func TestLostRequestAndLostAnswer(t *testing.T) {
	both(t, func(t *testing.T, srv *providertest.Server) {
		srv.Fault(providertest.Token, providertest.Fault{Drop: true})
		if resp, err := ask(srv); err == nil {
			t.Fatalf("lost request: got %s, want an error", resp.Status)
		}
		if got := issued(srv); got != 0 {
			t.Errorf("lost request: got %d tokens, want 0", got)
		}
		srv.Fault(providertest.Token, providertest.Fault{Committed: true, Drop: true})
		if resp, err := ask(srv); err == nil {
			t.Fatalf("lost answer: got %s, want an error", resp.Status)
		}
		if got := issued(srv); got != 1 {
			t.Errorf("lost answer: got %d tokens, want 1", got)
		}
		wantToken(t, srv, "grant_type", "client_credentials")

		list := srv.Requests()
		if len(list) != 3 || srv.Count("") != 3 {
			t.Fatalf("got %d requests, %d counted, want 3", len(list), srv.Count(""))
		}
		for i, want := range []struct {
			status  int
			faulted bool
		}{{0, true}, {200, true}, {200, false}} {
			if list[i].Status != want.status || list[i].Faulted != want.faulted {
				t.Errorf("request %d: got status %d, faulted %v, want %v", i, list[i].Status, list[i].Faulted, want)
			}
		}
	})
}

func TestAnswerInsteadOfTheServers(t *testing.T) {
	both(t, func(t *testing.T, srv *providertest.Server) {
		srv.Fault(providertest.Token, providertest.Fault{
			Status: 503, Header: http.Header{"Retry-After": {"7"}}, Body: "<html>", Times: 2,
		})
		for range 2 {
			resp, err := ask(srv)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if err != nil || resp.StatusCode != 503 || resp.Header.Get("Retry-After") != "7" || string(body) != "<html>" {
				t.Errorf("got %s %v %q %v", resp.Status, resp.Header, body, err)
			}
		}
		if got := issued(srv); got != 0 {
			t.Errorf("got %d tokens, want 0", got)
		}

		// After a commit, only what is set replaces parts of the answer.
		srv.Fault(providertest.Token, providertest.Fault{Committed: true, Header: http.Header{"X-Trace": {"1"}}})
		resp, err := ask(srv)
		if err != nil {
			t.Fatal(err)
		}
		trace := resp.Header.Get("X-Trace")
		if status, v := decode(t, resp); status != 200 || v["access_token"] == nil || trace != "1" {
			t.Errorf("got %d %v, X-Trace %q, want the true answer with a header more", status, v, trace)
		}

		srv.Fault(providertest.Token, providertest.Fault{Committed: true, Rewrite: func(a *providertest.Answer) {
			a.Body = bytes.Replace(a.Body, []byte(`"Bearer"`), []byte(`"mac"`), 1)
		}})
		if v := wantToken(t, srv, "grant_type", "client_credentials"); v["token_type"] != "mac" {
			t.Errorf("got %v, want it rewritten", v)
		}
	})
}

func TestFaultsOfOneGrantType(t *testing.T) {
	srv := providertest.NewServer(t)
	srv.Fault(providertest.Token, providertest.Fault{Grant: "refresh_token", Status: 500, Times: -1})
	v := login(t, srv)
	for range 3 {
		status, _ := token(t, srv, "grant_type", "refresh_token", "refresh_token", v["refresh_token"].(string))
		if status != 500 {
			t.Errorf("got status %d, want 500", status)
		}
	}
	srv.ClearFaults(providertest.Token)
	refresh(t, srv, v["refresh_token"])
}

func TestFaultsElsewhere(t *testing.T) {
	srv := providertest.NewServer(t)
	v := login(t, srv)
	for e, address := range map[providertest.Endpoint]string{
		providertest.Discovery:     srv.DiscoveryURL(),
		providertest.JWKS:          srv.JWKSURL(),
		providertest.Authorization: srv.AuthURL(),
		providertest.API:           srv.APIURL(),
	} {
		srv.Fault(e, providertest.Fault{Status: 418, Body: "{}"})
		if status, _ := get(t, srv, address, v["access_token"].(string)); status != 418 {
			t.Errorf("%s: got status %d, want 418", e, status)
		}
	}
	srv.Fault(providertest.Revocation, providertest.Fault{Status: 418})
	resp, err := post(srv, srv.RevocationURL(), form("token", "x"))
	if err != nil {
		t.Fatal(err)
	}
	if resp.Body.Close(); resp.StatusCode != 418 {
		t.Errorf("revocation: got status %d, want 418", resp.StatusCode)
	}
}

func TestFaultFunc(t *testing.T) {
	both(t, func(t *testing.T, srv *providertest.Server) {
		srv.Fault(providertest.Token, providertest.Fault{Func: func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			body, err := io.ReadAll(r.Body)
			if err != nil || string(body) != "grant_type=client_credentials" {
				t.Errorf("got body %q %v, want the request's", body, err)
			}
			w.Header().Set("X-Seen", "yes")
			next.ServeHTTP(w, r)
		}})
		resp, err := ask(srv)
		if err != nil {
			t.Fatal(err)
		}
		seen := resp.Header.Get("X-Seen")
		if status, v := decode(t, resp); status != 200 || v["access_token"] == nil || seen != "yes" {
			t.Errorf("got %d %v, X-Seen %q", status, v, seen)
		}

		// An endless body ends when the client closes it.
		stopped := make(chan struct{})
		srv.Fault(providertest.Token, providertest.Fault{Func: func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			defer close(stopped)
			for {
				if _, err := w.Write(make([]byte, 32<<10)); err != nil {
					return
				}
			}
		}})
		resp, err = ask(srv)
		if err != nil {
			t.Fatal(err)
		}
		if n, err := io.CopyN(io.Discard, resp.Body, 1<<20); n != 1<<20 || err != nil {
			t.Errorf("got %d bytes, %v, want as many as one reads", n, err)
		}
		resp.Body.Close()
		<-stopped
	})
}

func TestCutBody(t *testing.T) {
	both(t, func(t *testing.T, srv *providertest.Server) {
		for cut, want := range map[int]int{10: 10, -1: 0} {
			srv.Fault(providertest.Token, providertest.Fault{Committed: true, CutAfter: cut})
			resp, err := ask(srv)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if resp.StatusCode != 200 || len(body) != want || !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("cut %d: got %s, %d bytes, %v, want 200, %d and an unexpected end", cut, resp.Status, len(body), err, want)
			}
		}
	})
}

func TestHangUntilRelease(t *testing.T) {
	both(t, func(t *testing.T, srv *providertest.Server) {
		srv.Fault(providertest.Token, providertest.Fault{Hang: true, Times: 2})
		answered := make(chan int, 2)
		for range 2 {
			go func() {
				resp, err := ask(srv)
				if err != nil {
					t.Error(err)
					answered <- 0
					return
				}
				resp.Body.Close()
				answered <- resp.StatusCode
			}()
		}
		if err := srv.AwaitHang(t.Context(), 2); err != nil {
			t.Fatal(err)
		}
		if got := issued(srv); got != 0 || len(answered) > 0 {
			t.Errorf("got %d tokens and %d answers before the release, want none", got, len(answered))
		}
		srv.Release()
		for range 2 {
			if got := <-answered; got != 200 {
				t.Errorf("got status %d, want 200", got)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := srv.AwaitHang(ctx, 1); !errors.Is(err, context.Canceled) {
			t.Errorf("nothing hangs: got %v, want %v", err, context.Canceled)
		}
	})
}

func TestDelayInABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := providertest.NewServer(t, providertest.InMemory("https://login.example.com"))
		begin := time.Now()
		srv.Fault(providertest.Token, providertest.Fault{Delay: time.Minute})
		wantToken(t, srv, "grant_type", "client_credentials")
		if got := time.Since(begin); got != time.Minute {
			t.Errorf("got an answer after %v, want a minute", got)
		}

		// The provider goes on when the client has left.
		srv.Fault(providertest.Token, providertest.Fault{Delay: time.Minute})
		c := srv.Client()
		c.Timeout = time.Second
		begin = time.Now()
		req, err := http.NewRequest("POST", srv.TokenURL(), strings.NewReader("grant_type=client_credentials"))
		if err != nil {
			t.Fatal(err)
		}
		req.SetBasicAuth(providertest.ClientID, providertest.ClientSecret)
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		_, err = c.Do(req)
		if ne, ok := errors.AsType[net.Error](err); !ok || !ne.Timeout() || time.Since(begin) != time.Second {
			t.Errorf("got %v after %v, want a timeout after a second", err, time.Since(begin))
		}
		if got := issued(srv); got != 1 {
			t.Errorf("got %d tokens, want 1: the request is not yet handled", got)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := issued(srv); got != 2 {
			t.Errorf("got %d tokens, want 2: the request is handled all the same", got)
		}

		begin = time.Now()
		srv.Fault(providertest.Discovery, providertest.Fault{Body: "0123456789", Drip: time.Second})
		resp, err := srv.Client().Get(srv.DiscoveryURL())
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if got := time.Since(begin); err != nil || string(body) != "0123456789" || got != 10*time.Second {
			t.Errorf("drip: got %q, %v after %v, want ten bytes in ten seconds", body, err, got)
		}

		// A body ends with the context of its request.
		srv.Fault(providertest.Discovery, providertest.Fault{Body: "0123456789", Drip: time.Second})
		ctx, cancel := context.WithTimeout(t.Context(), 3500*time.Millisecond)
		defer cancel()
		req, err = http.NewRequestWithContext(ctx, "GET", srv.DiscoveryURL(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if resp, err = srv.Client().Do(req); err != nil {
			t.Fatal(err)
		}
		body, err = io.ReadAll(resp.Body)
		resp.Body.Close()
		if string(body) != "012" || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("drip: got %q, %v, want three bytes and the end of the context", body, err)
		}
	})
}

func TestCloseEndsEverything(t *testing.T) {
	t.Run("memory", func(t *testing.T) {
		// The bubble fails if a goroutine is left.
		synctest.Test(t, func(t *testing.T) {
			srv, err := providertest.Start(providertest.InMemory("https://login.example.com"))
			if err != nil {
				t.Fatal(err)
			}
			testClose(t, srv)
		})
	})
	t.Run("socket", func(t *testing.T) {
		srv, err := providertest.Start()
		if err != nil {
			t.Fatal(err)
		}
		testClose(t, srv)
		// A handler no longer counts a moment before it returns.
		deadline := time.Now().Add(5 * time.Second)
		for {
			stacks := make([]byte, 1<<20)
			stacks = stacks[:runtime.Stack(stacks, true)]
			if !bytes.Contains(stacks, []byte("providertest.(*Server).")) {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("a goroutine is left:\n%s", stacks)
			}
			runtime.Gosched()
		}
	})
}

func testClose(t *testing.T, srv *providertest.Server) {
	srv.Fault(providertest.Token, providertest.Fault{Hang: true})
	srv.Fault(providertest.API, providertest.Fault{Delay: time.Hour})
	srv.Fault(providertest.Discovery, providertest.Fault{Body: "slow", Drip: time.Hour})
	failed := make(chan error, 3)
	go func() {
		_, err := ask(srv)
		failed <- err
	}()
	go func() {
		_, err := srv.Client().Get(srv.APIURL())
		failed <- err
	}()
	go func() {
		resp, err := srv.Client().Get(srv.DiscoveryURL())
		if err == nil {
			_, err = io.ReadAll(resp.Body)
			resp.Body.Close()
		}
		failed <- err
	}()
	if err := srv.AwaitHang(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	srv.Close()
	srv.Close()
	for range 3 {
		if err := <-failed; err == nil {
			t.Error("got an answer from a closed server")
		}
	}
	if got := issued(srv); got != 0 {
		t.Errorf("got %d tokens, want none: the request that hung was never handled", got)
	}
	if _, err := ask(srv); err == nil {
		t.Error("a closed server answers")
	}
	if err := srv.AwaitHang(context.Background(), 1); err == nil {
		t.Error("AwaitHang: got no error from a closed server")
	}
}

func TestCloseWaitsForHandlers(t *testing.T) {
	for name, opts := range map[string][]providertest.Option{
		"socket": nil,
		"memory": {providertest.InMemory("https://login.example.com")},
	} {
		t.Run(name, func(t *testing.T) {
			srv, err := providertest.Start(opts...)
			if err != nil {
				t.Fatal(err)
			}
			begun, done := make(chan struct{}), false
			srv.Fault(providertest.API, providertest.Fault{Func: func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				close(begun)
				<-r.Context().Done()
				for range 1000 {
					runtime.Gosched()
				}
				done = true
			}})
			go srv.Client().Get(srv.APIURL())
			<-begun
			srv.Close()
			if !done {
				t.Error("Close has returned before a handler")
			}
		})
	}
}
