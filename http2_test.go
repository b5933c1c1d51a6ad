package authprofile_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authprofile/authprofile"
	"github.com/authprofile/authprofile/egress"
	"github.com/authprofile/authprofile/internal/transport"
)

// A pipeNetwork is a network in memory with one server, so that time is fake.
type pipeNetwork struct {
	accept chan net.Conn
	closed chan struct{}

	mu    sync.Mutex
	conns []*pipeConn // of the client
}

func newPipeNetwork() *pipeNetwork {
	return &pipeNetwork{accept: make(chan net.Conn), closed: make(chan struct{})}
}

func (n *pipeNetwork) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case n.accept <- server:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	c := &pipeConn{Conn: client, silent: make(chan struct{})}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.conns = append(n.conns, c)
	return c, nil
}

func (n *pipeNetwork) Accept() (net.Conn, error) {
	select {
	case c := <-n.accept:
		return c, nil
	case <-n.closed:
		return nil, net.ErrClosed
	}
}

func (n *pipeNetwork) Close() error {
	close(n.closed)
	return nil
}

func (n *pipeNetwork) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 443} }

// silence loses what the server sends over the connections of until now. Those
// that are made from now on work.
func (n *pipeNetwork) silence() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, c := range n.conns {
		close(c.silent)
	}
	n.conns = nil
}

// A pipeConn can lose what comes from the other side, as a firewall does that
// has forgotten a connection.
type pipeConn struct {
	net.Conn
	silent chan struct{}
}

func (c *pipeConn) Read(p []byte) (int, error) {
	for {
		n, err := c.Conn.Read(p)
		select {
		case <-c.silent:
			if err == nil {
				continue
			}
		default:
		}
		return n, err
	}
}

// A connection whose bytes stop arriving, while new ones would work, is given
// up, and not tried again and again.
func TestThreat068_SilentConnection(t *testing.T) {
	known := httptest.NewTLSServer(nil) // for its certificate, which is for example.com
	known.Close()
	roots := x509.NewCertPool()
	roots.AddCert(known.Certificate())

	for _, test := range []struct {
		name  string
		proto string
		make  func() *http.Transport
		limit time.Duration
	}{
		{"068 HTTP/2", "HTTP/2.0", func() *http.Transport { return transport.New(new(net.Dialer)) }, 12 * time.Second},
		{"068 HTTP/2, egress", "HTTP/2.0", func() *http.Transport { return egress.NewClient().Transport.(*http.Transport) }, 12 * time.Second},
		{"068 HTTP/1.1", "HTTP/1.1", func() *http.Transport {
			tr := transport.New(new(net.Dialer))
			tr.ForceAttemptHTTP2 = false
			return tr
		}, 33 * time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newPipeNetwork()
				var requests atomic.Int32
				var slow atomic.Bool
				srv := &http.Server{
					TLSConfig: known.TLS.Clone(), ErrorLog: log.New(io.Discard, "", 0),
					Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						if r.Proto != test.proto {
							t.Errorf("got a request by %s, want %s", r.Proto, test.proto)
						}
						if slow.Load() {
							time.Sleep(25 * time.Second)
						}
						w.Header().Set("Content-Type", "application/json")
						fmt.Fprintf(w, `{"access_token":"token-%d","token_type":"Bearer","expires_in":3600}`, requests.Add(1))
					}),
				}
				if test.proto == "HTTP/2.0" {
					srv.TLSConfig.NextProtos = []string{"h2"}
				}
				var serving sync.WaitGroup
				serving.Go(func() { srv.ServeTLS(n, "", "") })

				tr := test.make()
				tr.Proxy, tr.DialContext = nil, n.dial
				tr.TLSClientConfig = &tls.Config{RootCAs: roots}
				m := &authprofile.Manager{HTTPClient: &http.Client{Transport: tr}}
				defer func() {
					m.Shutdown(context.Background())
					tr.CloseIdleConnections()
					srv.Close()
					serving.Wait()
				}()
				p := &authprofile.Profile{Type: authprofile.TypeApp, ClientID: "client", ClientSecret: "secret",
					Endpoints: authprofile.Endpoints{TokenURL: "https://example.com/token"}}
				tok, err := m.Token(t.Context(), p)
				if err != nil {
					t.Fatal(err)
				}

				// One that only takes its time is waited for.
				slow.Store(true)
				if tok, err = m.Token(t.Context(), p, authprofile.Rejected(tok)); err != nil || requests.Load() != 2 {
					t.Fatalf("slow answer: got %v after %d requests, want a token after 2", err, requests.Load())
				}
				slow.Store(false)

				began := time.Now()
				n.silence()
				for time.Since(began) < 10*time.Minute { // a program that tries again
					if _, err = m.Token(t.Context(), p, authprofile.Rejected(tok)); err == nil {
						break
					}
					time.Sleep(time.Second)
				}
				if d := time.Since(began); err != nil || d > test.limit {
					t.Errorf("got error %v after %v, want a token within %v", err, d, test.limit)
				}
			})
		})
	}
}
