// Package transport holds what every connection to a provider has in common:
// its limits, and the words for why it failed.
package transport

import (
	"errors"
	"net"
	"net/http"
	"time"
)

// ErrRefused: the address must not be connected to. See package egress.
var ErrRefused = errors.New("this address may not be connected to")

// New returns a transport that dials with d. It is http.DefaultTransport with
// a limit on every step, and with room for more than two idle connections to
// the same provider.
func New(d *net.Dialer) *http.Transport {
	d.Timeout = 10 * time.Second
	d.KeepAlive = 30 * time.Second
	return &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            d.DialContext,
		ForceAttemptHTTP2:      true,
		MaxIdleConns:           100,
		MaxIdleConnsPerHost:    16,
		IdleConnTimeout:        90 * time.Second,
		TLSHandshakeTimeout:    10 * time.Second,
		ExpectContinueTimeout:  time.Second,
		MaxResponseHeaderBytes: 256 << 10,
	}
}
