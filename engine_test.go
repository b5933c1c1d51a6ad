package authprofile_test

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"sync/atomic"
	"testing"

	"golang.org/x/oauth2"

	"github.com/authprofile/authprofile"
)

// A countedServer is a token endpoint on a socket that counts its connections.
type countedServer struct {
	*httptest.Server
	opened atomic.Int64
	closed chan struct{} // one for each connection that ends
}

func newCountedServer(t *testing.T) *countedServer {
	s := &countedServer{closed: make(chan struct{}, 1000)}
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, `{"access_token":"at","token_type":"Bearer","expires_in":3600}`)
	}))
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			s.opened.Add(1)
		case http.StateClosed:
			s.closed <- struct{}{}
		}
	}
	s.Start()
	t.Cleanup(s.Close)
	return s
}

func (s *countedServer) profile() *authprofile.Profile {
	p := validApp("")
	p.Endpoints.TokenURL = s.URL + "/token"
	return p
}

// A program may make a Source for each job: they leave no connections and no
// goroutines behind, one each.
func TestSourcesShareTheirConnections(t *testing.T) {
	srv := newCountedServer(t)
	for _, test := range []struct {
		name   string
		source func() oauth2.TokenSource
	}{
		{"Source of the package", func() oauth2.TokenSource { return authprofile.Source(t.Context(), srv.profile()) }},
		{"Manager without a client", func() oauth2.TokenSource {
			return new(authprofile.Manager).Source(t.Context(), srv.profile())
		}},
		{"client without a transport", func() oauth2.TokenSource {
			m := &authprofile.Manager{HTTPClient: new(http.Client)}
			return m.Source(t.Context(), srv.profile())
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			opened, goroutines := srv.opened.Load(), runtime.NumGoroutine()
			var sources []oauth2.TokenSource
			for range 100 {
				src := test.source()
				if _, err := src.Token(); err != nil {
					t.Fatal(err)
				}
				sources = append(sources, src)
			}
			if got := srv.opened.Load() - opened; got > 10 {
				t.Errorf("got %d connections for 100 sources, want them shared", got)
			}
			if got := runtime.NumGoroutine() - goroutines; got > 50 {
				t.Errorf("got %d goroutines more after 100 sources, want next to none", got)
			}
			runtime.KeepAlive(sources)
		})
	}
}

// Shutdown closes idle connections, and those who share them go on.
func TestShutdownClosesIdleConnections(t *testing.T) {
	srv := newCountedServer(t)
	var m, other authprofile.Manager
	if _, err := m.Token(t.Context(), srv.profile()); err != nil {
		t.Fatal(err)
	}
	if err := m.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	<-srv.closed
	if _, err := other.Token(t.Context(), srv.profile()); err != nil {
		t.Errorf("got %v after another Manager was shut down, want a token", err)
	}
}
