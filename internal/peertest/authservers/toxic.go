package authservers

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"
)

// A Proxy carries TCP connections to a server, as badly as it is told to.
type Proxy struct {
	Addr string // connect here instead

	p *toxiproxy.Proxy
}

// Toxic starts a Proxy in front of a database or a provider at host:port. It
// ends with the test.
func Toxic(t testing.TB, upstream string) *Proxy {
	t.Helper()
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	p := toxiproxy.NewProxy(server, "proxy", "127.0.0.1:0", upstream)
	if err := p.Start(); err != nil {
		t.Fatalf("toxiproxy: %v", err)
	}
	t.Cleanup(p.Stop)
	return &Proxy{Addr: p.Listen, p: p}
}

// Down refuses connections, and cuts those that exist.
func (p *Proxy) Down() { p.p.Stop() }

// Up takes connections again, at the same address.
func (p *Proxy) Up(t testing.TB) {
	t.Helper()
	if err := p.p.Start(); err != nil {
		t.Fatalf("toxiproxy: %v", err)
	}
}

// Add makes connections worse: "latency" with "latency" and "jitter" in
// milliseconds, "timeout" (nothing passes; "timeout" 0: for ever), "limit_data"
// with "bytes" (cut after that many), "bandwidth" with "rate" in KB/s,
// "slicer", "slow_close", "reset_peer". The stream is "upstream", to the
// server, or "downstream", from it. Each type is there once for each stream.
func (p *Proxy) Add(t testing.TB, toxic, stream string, attributes map[string]int) {
	t.Helper()
	said, err := json.Marshal(map[string]any{"type": toxic, "stream": stream, "attributes": attributes})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.p.Toxics.AddToxicJson(bytes.NewReader(said)); err != nil {
		t.Fatalf("toxiproxy: %s: %v", toxic, err)
	}
}

// Heal takes away all that was added.
func (p *Proxy) Heal(t testing.TB) { p.p.Toxics.ResetToxics(t.Context()) }
