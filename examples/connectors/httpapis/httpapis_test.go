// Package httpapis has no code: the clients of HTTP APIs take the one of
// Manager.Client, as its tests show.
package httpapis

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"github.com/google/go-github/v75/github"
	"google.golang.org/api/drive/v3"
	"google.golang.org/api/option"

	"github.com/authprofile/authprofile"
	"github.com/authprofile/authprofile/examples/connectors/internal/world"
)

// clients are functions that make a client of an API at an address, and return a
// call of it.
var clients = map[string]func(t *testing.T, address string, httpClient *http.Client) func(context.Context) error{
	"google.golang.org/api": func(t *testing.T, address string, httpClient *http.Client) func(context.Context) error {
		service, err := drive.NewService(t.Context(), option.WithHTTPClient(httpClient), option.WithEndpoint(address))
		if err != nil {
			t.Fatal(err)
		}
		return func(ctx context.Context) error {
			_, err := service.Files.List().Context(ctx).Do()
			return err
		}
	},
	"go-github": func(t *testing.T, address string, httpClient *http.Client) func(context.Context) error {
		client, err := github.NewClient(httpClient).WithEnterpriseURLs(address, address)
		if err != nil {
			t.Fatal(err)
		}
		return func(ctx context.Context) error {
			_, _, err := client.Users.Get(ctx, "")
			return err
		}
	},
}

// An API takes tokens of the provider and counts requests.
type api struct {
	*httptest.Server
	requests atomic.Int32
}

func newAPI(t *testing.T, w *world.World) *api {
	a := new(api)
	a.Server = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		a.requests.Add(1)
		rw.Header().Set("Content-Type", "application/json")
		if !w.AcceptsHeader(r.Header.Get("Authorization")) {
			rw.WriteHeader(http.StatusUnauthorized)
		}
		json.NewEncoder(rw).Encode(map[string]any{})
	}))
	t.Cleanup(a.Close)
	return a
}

// A clientFunc makes a client for a profile, and returns a call of it.
type clientFunc func(*authprofile.Profile, ...authprofile.Option) func(context.Context) error

func each(t *testing.T, f func(t *testing.T, w *world.World, a *api, client clientFunc)) {
	for name, newClient := range clients {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // a Manager does not replace a token at once that is new
			w := world.New(t)
			a := newAPI(t, w)
			f(t, w, a, func(p *authprofile.Profile, opts ...authprofile.Option) func(context.Context) error {
				return newClient(t, a.URL, w.Manager.Client(t.Context(), p, opts...))
			})
		})
	}
}

func TestCallsHaveATokenEach(t *testing.T) {
	each(t, func(t *testing.T, w *world.World, a *api, client clientFunc) {
		call := client(w.App)
		for range 3 {
			if err := call(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		w.WantRequests(t, 1)
	})
}

func TestRefusedTokenIsReplacedOnce(t *testing.T) {
	each(t, func(t *testing.T, w *world.World, a *api, client clientFunc) {
		w.Refuse(t)
		if err := client(w.App)(t.Context()); err != nil {
			t.Errorf("got %v, want another request with another token", err)
		}
		w.WantRequests(t, 2)
		if got := a.requests.Load(); got != 2 {
			t.Errorf("got %d requests to the API, want 2", got)
		}
	})
}

func TestErrorsComeThrough(t *testing.T) {
	each(t, func(t *testing.T, w *world.World, a *api, client clientFunc) {
		if err := client(w.Users, authprofile.AsUser("ada"))(t.Context()); !errors.Is(err, authprofile.ErrReauthorize) {
			t.Errorf("got %v, want ErrReauthorize", err)
		}
		if got := a.requests.Load(); got != 0 {
			t.Errorf("got %d requests to the API, want none", got)
		}
	})
}

func TestWaitEndsWithTheCall(t *testing.T) {
	each(t, func(t *testing.T, w *world.World, a *api, client clientFunc) {
		if err := w.EndsWithContext(t, client(w.App)); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want context.Canceled", err)
		}
	})
}
