package transport

import (
	"net/http"
	"slices"
)

// Fresh returns a client like hc that makes a connection for each request. For
// that its Transport must be an [*http.Transport], or hc must be of
// [Certificates.Client]; any other is used as it is.
func Fresh(hc *http.Client) *http.Client {
	c := *hc
	switch t := hc.Transport.(type) {
	case *http.Transport:
		c.Transport = withoutKeepAlives(t)
	case presenter:
		c.Transport = presenter{withoutKeepAlives(t.transport)}
	default:
		return hc
	}
	return &c
}

func withoutKeepAlives(t *http.Transport) *http.Transport {
	t = clone(t)
	t.DisableKeepAlives = true
	return t
}

// clone returns a transport that speaks what t speaks, over connections of its
// own.
func clone(t *http.Transport) *http.Transport {
	t = t.Clone()
	if len(t.TLSNextProto) > 0 {
		// An HTTP/2 transport that was set up by hand would go on using its
		// kept connections. net/http has an HTTP/2 of its own.
		t.TLSNextProto = nil
		if t.HTTP2 == nil {
			t.HTTP2 = pings()
		}
	}
	if t.TLSNextProto == nil && t.TLSClientConfig != nil && slices.Contains(t.TLSClientConfig.NextProtos, "h2") {
		// net/http has put "h2" there itself. In the copy it takes that for a
		// configuration by hand, and sets up no HTTP/2 unless it is told to:
		// the copy would offer HTTP/2 to the server, and then speak HTTP/1.1.
		t.ForceAttemptHTTP2 = true
	}
	return t
}
