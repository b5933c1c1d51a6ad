package authprofile_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/authprofile/authprofile"
	"github.com/authprofile/authprofile/providertest"
)

// A grant that no caller asks for is renewed before its provider ends it, and no
// more often than that takes.
func TestKeepAlive(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(p *authprofile.Profile)
		policy providertest.Policy
		want   int // renewals in a hundred days
	}{
		{"by default", func(p *authprofile.Profile) {}, providertest.Policy{}, 3},
		{"ten days", func(p *authprofile.Profile) { p.KeepAlive = 10 * day }, providertest.Policy{}, 10},
		{"never", func(p *authprofile.Profile) { p.KeepAlive = -1 }, providertest.Policy{}, 0},
		{"announced", func(p *authprofile.Profile) {}, providertest.Policy{RefreshLifetime: 20 * day}, 10},
	} {
		t.Run(test.name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.announce(test.policy.RefreshLifetime)
				p := w.user()
				test.change(p)
				w.save(p)
				w.authorize(p, "ada")
				w.maintained(nil, w.store)
				w.pass(100 * day)
				got := w.srv.Count("refresh_token")
				if got < test.want || got > test.want+test.want/9+1 || test.want == 0 && got > 0 {
					t.Errorf("got %d renewals in a hundred days, want %d and at most a ninth more", got, test.want)
				}
				w.healthy(ada)
			})
		})
	}
}

// Maintain leaves alone what callers keep alive, and a renewal by the hour moves
// Due once a day at most.
func TestKeepAliveOfWhatIsUsed(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.adasProfile()
		w.maintained(nil, w.store)
		moved := 0
		last := w.grant(ada).Due
		for hour := range 24 * 40 {
			expire()
			if hour%24 == 0 {
				w.pass(time.Minute)
			}
			w.token(w.m, p, asAda)
			if due := w.grant(ada).Due; !due.Equal(last) {
				moved++
				last = due
			}
		}
		if got, want := w.srv.Count("refresh_token"), 24*40; got != want {
			t.Errorf("got %d renewals, want %d: those that callers asked for", got, want)
		}
		if moved > 41 || moved < 30 {
			t.Errorf("got Due moved %d times in 40 days, want about once a day", moved)
		}
	})
}

// Grants that are due all at once are renewed evenly, each once, and others that
// are due with them do not wait for a host that fails.
func TestKeepAliveIsPaced(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.user()
		const users = 1000
		g := w.authorize(p, "ada")
		for i := range users {
			c := g.Clone()
			c.Version, c.User, c.RefreshToken = 0, fmt.Sprint("user-", i), authprofile.Secret(fmt.Sprint("R", i))
			c.Due = time.Now()
			c.Obtained = c.Obtained.Add(-40 * day)
			w.put(c)
		}
		other := registered(authprofile.Profile{
			ID: "other", Type: authprofile.TypeUser,
			Endpoints: authprofile.Endpoints{AuthURL: "https://away.example.net/authorize", TokenURL: "https://away.example.net/token"},
		})
		w.save(other)
		for i := range users {
			c := g.Clone()
			c.Version, c.ProfileID, c.User = 0, "other", fmt.Sprint("user-", i)
			c.Issuer, c.Due = "", time.Now()
			c.Obtained = c.Obtained.Add(-40 * day)
			w.put(c)
		}
		var mu sync.Mutex
		perSecond, away := make(map[int64]int), 0
		net := &faultyNetwork{base: w.srv.Transport()}
		net.on(func(r *http.Request) (*http.Response, error) {
			mu.Lock()
			defer mu.Unlock()
			if r.URL.Host == "away.example.net" {
				away++
				return nil, errors.New("connection refused")
			}
			if r.URL.Path == "/token" {
				perSecond[time.Now().Unix()]++
			}
			return net.base.RoundTrip(r)
		})
		m := &authprofile.Manager{Store: w.store, HTTPClient: &http.Client{Transport: net}}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- m.Maintain(ctx) }()
		w.pass(10 * time.Minute)
		cancel()
		<-ended
		m.Shutdown(context.Background())
		mu.Lock()
		defer mu.Unlock()
		total := 0
		for second, n := range perSecond {
			total += n
			if n > 11 {
				t.Errorf("got %d requests in the second %d, want 10", n, second)
			}
		}
		if total < users || total > users+users/10 {
			t.Errorf("got %d requests in ten minutes, want one for each of %d", total, users)
		}
		if away == 0 || away > 60 {
			t.Errorf("got %d requests to a host that is away, want few", away)
		}
	})
}

// A person is not told late because many grants are kept alive at the same host.
func TestEndedIsToldBesideABacklog(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		var b noticeBoard
		p := w.adasProfile()
		crowd := p.Clone()
		crowd.ID, crowd.Version = "crowd", 0
		w.save(crowd)
		g := w.grant(ada)
		for i := range 3000 {
			c := g.Clone()
			c.Version, c.ProfileID, c.User, c.RefreshToken = 0, "crowd", fmt.Sprint("user-", i), "crowd's"
			c.Due, c.Obtained = time.Now(), c.Obtained.Add(-40*day)
			w.put(c)
		}
		m := w.maintained(&b, w.store)
		net := &faultyNetwork{base: w.srv.Transport()}
		net.on(func(r *http.Request) (*http.Response, error) {
			if r.Method != http.MethodPost {
				return net.base.RoundTrip(r)
			}
			body, err := io.ReadAll(r.Body)
			if err != nil || !strings.Contains(string(body), "crowd") {
				r.Body = io.NopCloser(bytes.NewReader(body))
				return net.base.RoundTrip(r)
			}
			return &http.Response{
				StatusCode: 200, Header: http.Header{"Content-Type": {"application/json"}}, Request: r,
				Body: io.NopCloser(strings.NewReader(`{"access_token":"a","token_type":"Bearer","expires_in":3600}`)),
			}, nil
		})
		m.HTTPClient = &http.Client{Transport: net}
		w.srv.Revoke(string(g.RefreshToken))
		expire()
		w.refuses(w.m, p, authprofile.ErrReauthorize, asAda)
		time.Sleep(2 * time.Minute) // hers is the last that comes due
		w.pass(2 * time.Minute)
		b.wants(t, "after two minutes", "needs_user ada")
		w.pass(10 * time.Minute)
		for i := range 3000 {
			if g := w.grant(authprofile.GrantKey{ProfileID: "crowd", User: fmt.Sprint("user-", i)}); time.Since(g.Obtained) > day {
				t.Fatalf("%s: not renewed after ten minutes, want 3000 renewed by ten a second", g.User)
			}
		}
	})
}
