package transport

import (
	"crypto/tls"
	"net/http"
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
		// transport that it was set up for.
		t.TLSNextProto = make(map[string]func(string, *tls.Conn) http.RoundTripper)
	}
	c := *hc
	c.Transport = t
	return &c
}
