// Package transport holds what every connection to a provider has in common:
// its limits, and the words for why it failed.
package transport

import (
	"errors"
	"net"
	"net/http"
	"time"
)

// ErrRefused is the error for an address that must not be connected to. See
// package egress.
var ErrRefused = errors.New("this address may not be connected to")

// New returns a transport that dials with d. It is http.DefaultTransport with
// a limit on every step, with room for more than two idle connections to the
// same provider, and with pings on silent connections of HTTP/2.
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
		HTTP2:                  pings(),
	}
}

// pings returns how silent connections of HTTP/2 are found out.
//
// HTTP/2 goes on using a connection after a request on it has timed out. If the
// network has silently dropped the connection, no request would ever be answered
// again. So when nothing arrives on it a ping is sent, and without an answer it
// is closed. The sum of the two must be well below the time that a request has.
func pings() *http.HTTP2Config {
	return &http.HTTP2Config{
		SendPingTimeout:  5 * time.Second,
		PingTimeout:      5 * time.Second,
		WriteByteTimeout: 10 * time.Second,
	}
}
