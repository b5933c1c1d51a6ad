package transport

import (
	"net/http"
	"slices"
)

// Fresh returns a client like hc that makes a connection for each request. For
// that its Transport must be an [*http.Transport]; any other is used as it is.
func Fresh(hc *http.Client) *http.Client {
	t, ok := hc.Transport.(*http.Transport)
	if !ok {
		return hc
	}
	t = t.Clone()
	t.DisableKeepAlives = true
	if len(t.TLSNextProto) > 0 {
		// HTTP/2 that was set up by hand goes on with the connections of the
		// transport that it was set up for. net/http brings its own.
		t.TLSNextProto = nil
	}
	if t.TLSNextProto == nil && t.TLSClientConfig != nil && slices.Contains(t.TLSClientConfig.NextProtos, "h2") {
		// net/http has put its offer of HTTP/2 there, and takes a copy of that
		// for a configuration by hand, for which it does not set up HTTP/2: the
		// copy would offer it, and go on in HTTP/1.1.
		t.ForceAttemptHTTP2 = true
	}
	c := *hc
	c.Transport = t
	return &c
}
