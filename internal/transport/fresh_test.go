package transport

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
)

// Whatever a client speaks with a server, a fresh one can speak with it, and one
// that presents a certificate.
func TestFreshSpeaksWhatTheClientSpeaks(t *testing.T) {
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.Proto) }))
	srv.EnableHTTP2 = true
	srv.StartTLS()
	defer srv.Close()
	roots := x509.NewCertPool()
	roots.AddCert(srv.Certificate())
	other := srv.Client().Transport
	cert := newCertificate(t, "a", nil)

	for name, tr := range map[string]*http.Transport{
		"of nothing":     {},
		"of a proxy":     {Proxy: http.ProxyFromEnvironment},
		"of TLS":         {TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12}},
		"of HTTP/2":      {ForceAttemptHTTP2: true},
		"without HTTP/2": {TLSNextProto: map[string]func(string, *tls.Conn) http.RoundTripper{}},
		"by hand": {
			TLSClientConfig: &tls.Config{NextProtos: []string{"h2", "http/1.1"}},
			TLSNextProto:    map[string]func(string, *tls.Conn) http.RoundTripper{"h2": func(string, *tls.Conn) http.RoundTripper { return other }},
		},
	} {
		tr.CloseIdleConnections() // sets up HTTP/2, and with it TLSClientConfig
		if tr.TLSClientConfig == nil {
			tr.TLSClientConfig = new(tls.Config)
		}
		tr.TLSClientConfig.RootCAs = roots
		hc := &http.Client{Transport: tr}
		want, err := protocol(hc, srv.URL)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		fresh := Fresh(hc)
		presenting := clientOf(t, new(Certificates), hc, "a", cert)
		for kind, hc := range map[string]*http.Client{"fresh": fresh, "with a certificate": presenting, "fresh, with one": Fresh(presenting)} {
			got, err := protocol(hc, srv.URL)
			if err != nil || got != want {
				t.Errorf("%s, %s: got protocol %q, error %v; want %q", name, kind, got, err, want)
			}
		}
		tr.CloseIdleConnections()
	}
}

func protocol(hc *http.Client, address string) (string, error) {
	resp, err := hc.Get(address)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return string(body), err
}
