package main

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/authprofile/authprofile"
)

const origin = "https://login.example.com"

// A provider answers token requests in memory, after a while.
type provider struct {
	latency  time.Duration
	size     int // of an access token, in bytes
	life     atomic.Int64
	down     atomic.Bool
	requests atomic.Int64 // to the token endpoint
	metadata atomic.Int64 // to the discovery document
	peak     atomic.Int64
	running  atomic.Int64
}

func newProvider(latency, life time.Duration) *provider {
	p := &provider{latency: latency, size: 1200}
	p.life.Store(int64(life))
	return p
}

func (p *provider) client() *http.Client { return &http.Client{Transport: p} }

// Do makes a provider the transport of the Azure libraries.
func (p *provider) Do(req *http.Request) (*http.Response, error) { return p.RoundTrip(req) }

func (p *provider) CloseIdleConnections() {}

func (p *provider) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Body != nil {
		if _, err := io.Copy(io.Discard, req.Body); err != nil {
			return nil, err
		}
		req.Body.Close()
	}
	if strings.Contains(req.URL.Path, "/.well-known/") {
		p.metadata.Add(1)
		base := origin + strings.TrimSuffix(strings.TrimSuffix(req.URL.Path, "/.well-known/openid-configuration"), "/")
		return respond(req, 200, fmt.Sprintf(`{"issuer":%q,"authorization_endpoint":%q,"token_endpoint":%q}`, base, base+"/authorize", base+"/token")), nil
	}
	p.requests.Add(1)
	n := p.running.Add(1)
	defer p.running.Add(-1)
	for old := p.peak.Load(); n > old && !p.peak.CompareAndSwap(old, n); old = p.peak.Load() {
	}
	if p.latency > 0 {
		t := time.NewTimer(p.latency)
		defer t.Stop()
		select {
		case <-t.C:
		case <-req.Context().Done():
			return nil, req.Context().Err()
		}
	}
	if p.down.Load() {
		return respond(req, 503, `{"error":"temporarily_unavailable"}`), nil
	}
	return respond(req, 200, fmt.Sprintf(`{"access_token":%q,"token_type":"Bearer","expires_in":%d}`,
		p.token(), time.Duration(p.life.Load())/time.Second)), nil
}

var serial atomic.Int64

func (p *provider) token() string {
	head := fmt.Sprintf("%016d.", serial.Add(1))
	return head + strings.Repeat("x", max(0, p.size-len(head)))
}

func respond(req *http.Request, status int, body string) *http.Response {
	return &http.Response{
		Status: http.StatusText(status), StatusCode: status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header:        http.Header{"Content-Type": {"application/json"}},
		Body:          io.NopCloser(strings.NewReader(body)),
		ContentLength: int64(len(body)), Request: req,
	}
}

func appProfile(id string) *authprofile.Profile {
	return &authprofile.Profile{
		ID: id, Type: authprofile.TypeApp, ClientID: "client", ClientSecret: "secret",
		Endpoints: authprofile.Endpoints{TokenURL: origin + "/token"},
		Scopes:    []string{"api"},
	}
}

func userProfile(id string) *authprofile.Profile {
	return &authprofile.Profile{
		ID: id, Type: authprofile.TypeUser, ClientID: "client", ClientSecret: "secret",
		Endpoints:   authprofile.Endpoints{AuthURL: origin + "/authorize", TokenURL: origin + "/token"},
		RedirectURL: "https://app.example.com/callback",
		Scopes:      []string{"api"},
	}
}
