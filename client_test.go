package authprofile_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/oauth2"

	"github.com/authprofile/authprofile"
	"github.com/authprofile/authprofile/providertest"
)

// closing notes whether a body was closed.
type closing struct {
	io.Reader
	closed atomic.Int32
}

func (c *closing) Close() error { c.closed.Add(1); return nil }

// client returns a client of an application that calls the api.
func (w *world) client(a *api, opts ...authprofile.Option) *http.Client {
	w.Helper()
	a.provider = w.srv.Transport()
	if a.answer == nil {
		a.answer = func(*http.Request) *http.Response { return respond(200, "ok") }
	}
	m := &authprofile.Manager{Store: w.store, HTTPClient: &http.Client{Transport: a}}
	w.Cleanup(func() { m.Shutdown(context.Background()) })
	return m.Client(w.Context(), w.app(), opts...)
}

func TestClientSendsAToken(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		a := new(api)
		c := w.client(a)
		req, err := http.NewRequest("POST", "https://api.example.com/things?q=1", strings.NewReader("body"))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Own", "yes")
		req.Header.Set("Authorization", "of the caller")
		before := req.Header.Clone()
		resp, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		call := a.calls()[0]
		if tok := string(w.grant(app).AccessToken); call.authorization != "Bearer "+tok || call.body != "body" || call.header.Get("X-Own") != "yes" {
			t.Errorf("got %+v, want the request with the token", call)
		}
		// In the header, and never in the address.
		if call.url != "https://api.example.com/things?q=1" {
			t.Errorf("got address %q, want it as it was", call.url)
		}
		if !maps.EqualFunc(req.Header, before, slices.Equal) {
			t.Errorf("got header %v, want the caller's own request untouched", req.Header)
		}
		if got := resp.Request.Header.Get("Authorization"); got != "of the caller" {
			t.Errorf("got %q in the request of the response, want no token there", got)
		}
	})
}

// TestThreat139_TokensGoToTheOriginAskedFor and nowhere else.
func TestThreat139_TokensGoToTheOriginAskedFor(t *testing.T) {
	const first = "https://api.example.com/"
	for _, test := range []struct {
		name string
		hops []string // where the redirects lead, one after the other
		with []bool   // whether each request has a token, the first included
	}{
		{"same origin", []string{"/next", "https://api.example.com/third", "https://API.example.com:443/fourth"}, []bool{true, true, true, true}},
		{"other host", []string{"https://evil.example.com/"}, []bool{true, false}},
		{"subdomain", []string{"https://a.api.example.com/"}, []bool{true, false}},
		{"other port", []string{"https://api.example.com:8443/"}, []bool{true, false}},
		{"plain HTTP", []string{"http://api.example.com/"}, []bool{true, false}},
		{"there and back", []string{"https://evil.example.com/", "https://api.example.com/back", "/again"}, []bool{true, false, false, false}},
		{"to loopback", []string{"http://127.0.0.1/"}, []bool{true, false}},
	} {
		for _, forgetful := range []bool{false, true} {
			for _, status := range []int{302, 307} {
				t.Run(fmt.Sprintf("%s, %d, forgetful %v", test.name, status, forgetful), func(t *testing.T) {
					inWorld(t, func(t *testing.T, w *world) {
						hop := 0
						a := &api{forgetful: forgetful, answer: func(r *http.Request) *http.Response {
							if hop == len(test.hops) {
								return respond(200, "")
							}
							hop++
							return redirect(status, test.hops[hop-1])
						}}
						resp, err := w.client(a).Post(first, "text/plain", strings.NewReader("body"))
						if err != nil {
							t.Fatal(err)
						}
						resp.Body.Close()
						var got []bool
						for _, call := range a.calls() {
							got = append(got, call.authorization != "")
						}
						if !slices.Equal(got, test.with) {
							t.Errorf("got tokens %v, want %v", got, test.with)
						}
					})
				})
			}
		}
	}
}

// Another Transport around the client's own does not change that.
func TestThreat139_RedirectsOfAWrappedTransport(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		a := &api{answer: func(r *http.Request) *http.Response {
			if r.URL.Host == "api.example.com" {
				return redirect(302, "https://evil.example.com/")
			}
			return respond(200, "")
		}}
		c := w.client(a)
		inner := c.Transport
		c.Transport = roundTrip(func(r *http.Request) (*http.Response, error) { return inner.RoundTrip(r.Clone(r.Context())) })
		resp, err := c.Get("https://api.example.com/")
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if got := a.calls(); got[0].authorization == "" || got[1].authorization != "" {
			t.Errorf("got %+v, want a token for the first request only", got)
		}
	})
}

func TestThreat139_NoTokenOverPlainHTTP(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		a := new(api)
		c := w.client(a)
		for address, ok := range map[string]bool{
			"http://api.example.com/":    false,
			"http://10.0.0.1/":           false,
			"http://localhost.evil.com/": false,
			"http://127.0.0.1.evil.com/": false,
			"http://0x7f000001/":         false,
			"ftp://api.example.com/":     false,
			"http://localhost:8080/":     true,
			"http://127.0.0.1:8080/":     true,
			"http://127.1.2.3/":          true,
			"http://[::1]:8080/":         true,
			"https://api.example.com/":   true,
		} {
			body := &closing{Reader: strings.NewReader("body")}
			before := len(a.calls())
			resp, err := c.Post(address, "text/plain", body)
			var e *authprofile.Error
			switch {
			case ok && err != nil:
				t.Errorf("%s: got %v, want none", address, err)
			case ok:
				resp.Body.Close()
			case !errors.As(err, &e) || len(a.calls()) != before:
				t.Errorf("%s: got %v and %d requests, want an *Error and none", address, err, len(a.calls())-before)
			case body.closed.Load() == 0:
				t.Errorf("%s: got a body that is open, want it closed", address)
			}
		}
	})
}

func TestClientAfterA401(t *testing.T) {
	for _, test := range []struct {
		name   string
		body   io.Reader
		ok     bool // repeats
		failed bool // GetBody fails
	}{
		{"no body", nil, true, false},
		{"http.NoBody", http.NoBody, true, false},
		{"body that can be repeated", strings.NewReader("body"), true, false},
		{"body that cannot", io.MultiReader(strings.NewReader("body")), false, false},
		{"body that can no more", strings.NewReader("body"), false, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				var refused *closing
				a := &api{}
				a.answer = func(r *http.Request) *http.Response {
					if len(a.calls()) > 1 {
						return respond(200, "ok")
					}
					refused = &closing{Reader: strings.NewReader(strings.Repeat("x", 1<<20))}
					if test.ok { // its end is not waited for
						refused.Reader = silent{}
					}
					resp := respond(401, "")
					resp.Body = refused
					return resp
				}
				c := w.client(a)
				req, err := http.NewRequest("PUT", "https://api.example.com/", test.body)
				if err != nil {
					t.Fatal(err)
				}
				if test.failed {
					req.GetBody = func() (io.ReadCloser, error) { return nil, errors.New("gone") }
				}
				resp, err := c.Do(req)
				if err != nil {
					t.Fatal(err)
				}
				defer resp.Body.Close()
				calls := a.calls()
				if !test.ok {
					if resp.StatusCode != 401 || len(calls) != 1 {
						t.Fatalf("got %d after %d requests, want the 401 of the first", resp.StatusCode, len(calls))
					}
					if body, err := io.ReadAll(resp.Body); err != nil || len(body) != 1<<20 {
						t.Errorf("got %d bytes, %v; want the whole answer", len(body), err)
					}
					return
				}
				if resp.StatusCode != 200 || len(calls) != 2 {
					t.Fatalf("got %d after %d requests, want 200 after two", resp.StatusCode, len(calls))
				}
				if calls[0].authorization == calls[1].authorization || calls[1].authorization == "" || calls[0].body != calls[1].body {
					t.Errorf("got %+v, want the same request with another token", calls)
				}
				if refused.closed.Load() == 0 {
					t.Error("got the body of the 401 left open, want it closed")
				}
				w.asked("client_credentials", 2)
			})
		})
	}
}

// silent is a body whose next byte never comes.
type silent struct{}

func (silent) Read([]byte) (int, error) { select {} }

// Only repeating a request depends on its body: the next one, at least, has
// another token.
func TestThreat128_BodyThatCannotBeSentAgain(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		refused := make(map[string]bool)
		a := &api{answer: func(r *http.Request) *http.Response {
			if refused[r.Header.Get("Authorization")] {
				return respond(401, "no")
			}
			return respond(200, "ok")
		}}
		c := w.client(a)
		want := func(status, asked int) {
			t.Helper()
			resp, err := c.Post("https://api.example.com/", "text/plain", io.MultiReader(strings.NewReader("body")))
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if text, err := io.ReadAll(resp.Body); resp.StatusCode != status || err != nil || string(text) != map[int]string{200: "ok", 401: "no"}[status] {
				t.Errorf("got %d %q, %v; want %d", resp.StatusCode, text, err, status)
			}
			w.asked("client_credentials", asked)
		}
		refuse := func() {
			refused["Bearer "+string(w.grant(app).AccessToken)] = true
			time.Sleep(time.Minute)
		}
		want(200, 1)
		refuse()
		want(401, 1)
		for range 10 { // also once the token is hot
			want(200, 2)
		}

		// One more each time, for as long as the API refuses them; but not at once
		// in place of one that was itself in place of a refused one.
		refuse()
		want(401, 2)
		a.answer = func(*http.Request) *http.Response { return respond(401, "no") }
		want(401, 3)
		want(401, 3)
		time.Sleep(time.Minute)
		want(401, 4)

		// While no other token can be had, the API has the last word.
		w.srv.Fault(providertest.Token, providertest.Fault{Times: -1, Status: 503})
		time.Sleep(time.Minute)
		want(401, 5)
		a.answer = func(*http.Request) *http.Response { return respond(200, "ok") }
		want(200, 5) // too soon for another attempt
		time.Sleep(10 * time.Minute)
		want(200, 5) // as it is not refused any more
		if got := len(a.calls()); got != 19 {
			t.Errorf("got %d requests, want each to be sent once: 19", got)
		}
	})
}

// A request that can be repeated is not, if its token is the other one already.
func TestThreat128_OneOtherTokenForARequest(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		a := &api{answer: func(*http.Request) *http.Response { return respond(401, "no") }}
		c := w.client(a)
		for i, body := range []io.Reader{io.MultiReader(strings.NewReader("body")), strings.NewReader("body"), nil} {
			resp, err := c.Post("https://api.example.com/", "text/plain", body)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if got := len(a.calls()); resp.StatusCode != 401 || got != i+1 {
				t.Errorf("got %d, %d requests; want 401 and %d", resp.StatusCode, got, i+1)
			}
			w.asked("client_credentials", i+1)
			time.Sleep(time.Minute)
		}
	})
}

// A token that another client has obtained in place of the refused one is one
// like any other.
func TestThreat128_OtherTokenOfAnotherClient(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		refused := make(map[string]bool)
		a := &api{answer: func(r *http.Request) *http.Response {
			if refused[r.Header.Get("Authorization")] {
				return respond(401, "no")
			}
			return respond(200, "ok")
		}}
		a.provider = w.srv.Transport()
		m := &authprofile.Manager{Store: w.store, HTTPClient: &http.Client{Transport: a}}
		w.Cleanup(func() { m.Shutdown(context.Background()) })
		p := w.app()
		first, second := m.Client(t.Context(), p), m.Client(t.Context(), p)
		post := func(c *http.Client, body io.Reader, want int) {
			t.Helper()
			resp, err := c.Post("https://api.example.com/", "text/plain", body)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != want {
				t.Errorf("got %d, want %d", resp.StatusCode, want)
			}
		}
		refuse := func() {
			refused["Bearer "+string(w.grant(app).AccessToken)] = true
			time.Sleep(20 * time.Minute)
		}
		post(first, nil, 200)
		refuse()
		post(first, io.MultiReader(strings.NewReader("body")), 401)
		post(second, nil, 200)
		w.asked("client_credentials", 2)
		refuse()
		post(first, nil, 200)
		w.asked("client_credentials", 3)
	})
}

// If there is no token at all, there is nothing to send.
func TestThreat128_NoTokenAfterTheRefusedOne(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		a := &api{answer: func(*http.Request) *http.Response { return respond(401, "no") }}
		a.provider = w.srv.Transport()
		m := &authprofile.Manager{Store: w.store, HTTPClient: &http.Client{Transport: a}}
		w.Cleanup(func() { m.Shutdown(context.Background()) })
		w.srv.Mutate(providertest.Token, func(answer map[string]any) { delete(answer, "refresh_token") })
		c := m.Client(t.Context(), w.adasProfile(), asAda)
		post := func() (*http.Response, error) {
			return c.Post("https://api.example.com/", "text/plain", io.MultiReader(strings.NewReader("body")))
		}
		for range 2 {
			resp, err := post()
			if err != nil || resp.StatusCode != 401 {
				t.Fatalf("got %v, %v; want the API's own answer", resp, err)
			}
			resp.Body.Close()
		}
		expire()
		if _, err := post(); !errors.Is(err, authprofile.ErrReauthorize) {
			t.Errorf("got %v without a token, want ErrReauthorize", err)
		}
		if got := len(a.calls()); got != 2 {
			t.Errorf("got %d requests to the API, want 2", got)
		}
	})
}

// TestThreat128_NoLoopOf401s: one different token, one repeat, and then the
// API has the last word.
func TestThreat128_NoLoopOf401s(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		a := &api{answer: func(*http.Request) *http.Response { return respond(401, "no") }}
		c := w.client(a)
		resp, err := c.Get("https://api.example.com/")
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if got := len(a.calls()); resp.StatusCode != 401 || got != 2 {
			t.Errorf("got %d after %d requests, want 401 after two", resp.StatusCode, got)
		}
		w.asked("client_credentials", 2)

		// No other token to be had: the 401 is the answer.
		w.srv.Fault(providertest.Token, providertest.Fault{Times: -1, Status: 503})
		body := &closing{Reader: strings.NewReader("body")}
		req, err := http.NewRequest("POST", "https://api.example.com/", nil)
		if err != nil {
			t.Fatal(err)
		}
		repeat := &closing{Reader: strings.NewReader("body")}
		req.Body, req.GetBody = body, func() (io.ReadCloser, error) { return repeat, nil }
		if resp, err = c.Do(req); err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != 401 || string(text) != "no" || err != nil {
			t.Errorf("got %d %q, %v; want the API's own answer", resp.StatusCode, text, err)
		}
		if body.closed.Load() == 0 || repeat.closed.Load() == 0 {
			t.Errorf("got a body left open, want it closed")
		}
	})
}

// TestThreat128_AnotherProcessHasRenewed: the newer token is taken, without a
// request to the provider.
func TestThreat128_AnotherProcessHasRenewed(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.srv.SetPolicy(providertest.Policy{EndAccessOnRefresh: true})
		p := w.adasProfile()
		stale := w.manager()
		c := stale.Client(t.Context(), p, asAda)
		old := w.token(stale, p, asAda)
		time.Sleep(2 * time.Second)
		renewed := w.token(w.m, p, asAda, authprofile.Rejected(&oauth2.Token{AccessToken: old}))
		if renewed == old {
			t.Fatal("got the rejected token again, want another one")
		}
		resp, err := c.Get(w.srv.APIURL())
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != 200 {
			t.Errorf("got %d, want 200 with the newer token", resp.StatusCode)
		}
		w.asked("refresh_token", 1)
		if got := w.srv.Hits(providertest.API); got != 2 {
			t.Errorf("got %d requests to the API, want 2", got)
		}
	})
}

func TestClientWithoutAToken(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		a := &api{}
		a.provider, a.answer = w.srv.Transport(), func(*http.Request) *http.Response { return respond(200, "") }
		m := &authprofile.Manager{Store: w.store, HTTPClient: &http.Client{Transport: a}}
		c := m.Client(t.Context(), w.user(), asAda)
		body := &closing{Reader: strings.NewReader("body")}
		_, err := c.Post("https://api.example.com/", "text/plain", body)
		if !errors.Is(err, authprofile.ErrReauthorize) || len(a.calls()) != 0 || body.closed.Load() == 0 {
			t.Errorf("got %v, %d requests; want ErrReauthorize, none, and the body closed", err, len(a.calls()))
		}

		// It waits no longer than the request's own context lasts.
		w.srv.Fault(providertest.Token, providertest.Fault{Times: -1, Hang: true})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, "GET", "https://api.example.com/", nil)
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		if _, err := m.Client(t.Context(), w.app()).Do(req); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want the end of the context", err)
		}
		if got := time.Since(start); got != time.Second {
			t.Errorf("got an error after %v, want it after 1s", got)
		}
		w.srv.ClearFaults(providertest.Token)
		w.srv.Release()
		if err := m.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
}

func TestClientPassesErrorsOn(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		a := &api{answer: func(*http.Request) *http.Response { return nil }}
		c := w.client(a)
		if _, err := c.Get("https://api.example.com/"); err == nil || !strings.Contains(err.Error(), "connection reset") {
			t.Errorf("got %v, want the transport's own error", err)
		}
		if got := len(a.calls()); got != 1 {
			t.Errorf("got %d requests, want 1", got)
		}
	})
}

func TestClientIsThatOfTheManager(t *testing.T) {
	jar := new(countingJar)
	policy := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	m := &authprofile.Manager{HTTPClient: &http.Client{Timeout: time.Minute, Jar: jar, CheckRedirect: policy}}
	c := m.Client(t.Context(), validApp(""))
	if c.Timeout != time.Minute || c.Jar != jar || c.CheckRedirect == nil || c == m.HTTPClient {
		t.Errorf("got %+v, want a copy of the Manager's client", c)
	}
	if m.HTTPClient.Transport != nil {
		t.Error("got a changed HTTPClient of the Manager, want it untouched")
	}
	if c := new(authprofile.Manager).Client(t.Context(), validApp("")); c.Transport == nil {
		t.Error("got no transport, want one")
	}
}

func TestClientIsForConcurrentUse(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		var refused sync.Map
		a := &api{answer: func(r *http.Request) *http.Response {
			// Each token is refused at its first use after a while.
			if _, ok := refused.Load(r.Header.Get("Authorization")); ok {
				return respond(401, "")
			}
			return respond(200, "")
		}}
		c := w.client(a)
		for round := range 3 {
			var wg sync.WaitGroup
			for range 20 {
				wg.Go(func() {
					resp, err := c.Post("https://api.example.com/", "text/plain", bytes.NewReader([]byte("body")))
					if err != nil {
						t.Error(err)
						return
					}
					resp.Body.Close()
					if resp.StatusCode != 200 {
						t.Errorf("got %d, want 200", resp.StatusCode)
					}
				})
			}
			wg.Wait()
			w.asked("client_credentials", round+1)
			refused.Store("Bearer "+string(w.grant(app).AccessToken), true)
			time.Sleep(time.Minute)
		}
	})
}

// A request through Client costs less memory than one through x/oauth2.
func TestClientAllocatesLessThanOAuth2(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		tok := &oauth2.Token{AccessToken: "access", Expiry: time.Now().Add(time.Hour)}
		answer := respond(200, "")
		base := roundTrip(func(*http.Request) (*http.Response, error) { return answer, nil })
		theirs := &oauth2.Transport{Source: oauth2.StaticTokenSource(tok), Base: base}
		quiet := &authprofile.Manager{HTTPClient: &http.Client{Transport: web{"login.example.com": w.srv.Transport(), "": base}}}
		ours := quiet.Client(t.Context(), w.unsavedApp()).Transport

		req, err := http.NewRequest("GET", "https://api.example.com/things", nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"Accept", "User-Agent", "X-Request-Id", "Content-Type", "Accept-Language"} {
			req.Header.Set(name, "value")
		}
		measure := func(rt http.RoundTripper) float64 {
			return testing.AllocsPerRun(200, func() {
				if _, err := rt.RoundTrip(req); err != nil {
					t.Fatal(err)
				}
			})
		}
		if _, err := ours.RoundTrip(req); err != nil { // gets the token
			t.Fatal(err)
		}
		got, want := measure(ours), measure(theirs)
		if got >= want {
			t.Errorf("got %v allocations for a request, want fewer than the %v of oauth2.Transport", got, want)
		}
		t.Logf("%v allocations, and %v of oauth2.Transport", got, want)
	})
}
