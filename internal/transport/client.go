package transport

import (
	"net"
	"net/http"
	"sync"
)

// Shared returns the transport of all that are given none. With one for each, a
// program that makes a token source for each job would gather idle connections,
// and their goroutines, for a minute and a half.
var Shared = sync.OnceValue(func() *http.Transport { return New(new(net.Dialer)) })

// Client returns a client that has the Transport and the Timeout of the
// application's, which may be nil, and otherwise the shared transport. It follows
// no redirect and keeps no cookie.
func Client(given *http.Client) *http.Client {
	hc := &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	if given != nil {
		hc.Transport, hc.Timeout = given.Transport, given.Timeout
	}
	if hc.Transport == nil {
		hc.Transport = Shared()
	}
	return hc
}
