// Package transport holds what every connection to a provider has in common:
// its limits, and the words for why it failed.
package transport

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
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

// Describe says why a request failed, and returns the cause that may be shown
// to others, or nil. Neither holds what was sent or answered: the errors of
// net/http quote malformed answers and whole URLs, and a proxy's address may
// have a password in it.
func Describe(err error) (problem string, cause error) {
	if errors.Is(err, ErrRefused) {
		return "the host has an address that this program may not connect to", ErrRefused
	}
	if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
		return "no answer in time", context.DeadlineExceeded
	}
	if errors.Is(err, context.Canceled) {
		return "the request was ended", context.Canceled
	}
	if cert, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return "the TLS certificate is not valid for this host", cert
	}
	if noTLS(err) {
		return "the server does not speak TLS", nil // the error has the first bytes of its answer
	}
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return "no connection: " + op.Error(), op
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return "the connection was closed before the answer was complete", io.ErrUnexpectedEOF
	}
	return "the request failed", nil
}

// Permanent reports whether a request failed for a reason that does not pass by
// itself: the address, or what stands behind it, has to be corrected.
func Permanent(err error) bool {
	_, cert := errors.AsType[*tls.CertificateVerificationError](err)
	op, _ := errors.AsType[*net.OpError](err)
	alert := op != nil && (op.Op == "remote error" || op.Op == "local error") // as crypto/tls names them
	return cert || alert || noTLS(err) || errors.Is(err, ErrRefused)
}

func noTLS(err error) bool {
	_, ok := errors.AsType[tls.RecordHeaderError](err)
	return ok || errors.Is(err, http.ErrSchemeMismatch)
}
