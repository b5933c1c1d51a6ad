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
		// An HTTP/2 transport that was set up by hand would go on using its
		// kept connections. net/http has an HTTP/2 of its own.
		t.TLSNextProto = nil
	}
	if t.TLSNextProto == nil && t.TLSClientConfig != nil && slices.Contains(t.TLSClientConfig.NextProtos, "h2") {
		// net/http has put "h2" there itself. In the copy it takes that for a
		// configuration by hand, and sets up no HTTP/2 unless it is told to:
		// the copy would offer HTTP/2 to the server, and then speak HTTP/1.1.
		t.ForceAttemptHTTP2 = true
	}
	c := *hc
	c.Transport = t
	return &c
}
