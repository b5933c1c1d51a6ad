package transport

import (
	"container/list"
	"crypto"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"net/http"
	"net/url"
	"sync"
	"time"
)

var (
	// ErrTransport is the error of [Certificates.Client] for an HTTP client whose
	// handshakes are not made by an [*http.Transport].
	ErrTransport = errors.New("a client certificate needs an HTTP client whose Transport is an *http.Transport without a DialTLSContext")

	errPlainHTTP = errors.New("a client certificate is not presented over http: the address must be https")
	errTLSProxy  = errors.New("a client certificate is not presented through a proxy whose own address is https")
	errNoKey     = errors.New("a client certificate needs its chain, and a private key that can sign")
)

const (
	// maxPools is how many profiles have connections that are kept.
	maxPools = 1000

	// maxIdle is the IdleConnTimeout if the application has set none. Nothing
	// else would end a connection of HTTP/2 that was in use when its pool left.
	maxIdle = 90 * time.Second
)

// Certificates makes HTTP clients that present a client certificate (RFC 8705).
// The zero value is ready to use, by several goroutines at once.
//
// A connection belongs to one owner and one certificate, and is never used for
// another. Connections are kept for 1,000 owners, those that were used last.
type Certificates struct {
	mu      sync.Mutex
	byOwner map[string]*list.Element // of recent
	recent  list.List                // of *pool, the most recently used first
}

// A pool is the connections of one owner. It changes only by being replaced.
type pool struct {
	owner       string
	certificate [sha256.Size]byte // and its key; see identify
	base        *http.Transport   // that transport was made from
	transport   *http.Transport
}

// Client returns a client that presents the certificate to every server that
// asks for one, whichever authorities the server names. Otherwise it is like the
// one that [Client] returns for base: it has its limits, its proxy, its roots and
// its way to dial, follows no redirect and keeps no cookie. A request to an http
// address is an error before a connection is made, as is one by way of a proxy
// that is itself reached by TLS and could ask for the certificate. [Fresh] works
// on the client.
//
// The owner is a profile's ID. It has connections for one certificate at a time:
// those for the one before are closed. One that is in use then is closed after its
// requests, and one of HTTP/2 once it has been idle for IdleConnTimeout. An empty
// owner is that of a profile without an ID: none of its connections is kept.
//
// The error is ErrTransport, or says that the certificate lacks a part.
func (c *Certificates) Client(base *http.Client, owner string, cert tls.Certificate) (*http.Client, error) {
	hc := Client(base)
	t, ok := hc.Transport.(*http.Transport)
	//lint:ignore SA1019 an application may have set DialTLS, and net/http uses it
	if !ok || t.DialTLSContext != nil || t.DialTLS != nil {
		return nil, ErrTransport
	}
	identity, err := identify(&cert)
	if err != nil {
		return nil, err
	}
	if owner == "" {
		hc.Transport = presenter{present(t, cert)}
		return Fresh(hc), nil
	}
	used, left := c.use(owner, identity, t, cert)
	if left != nil {
		left.transport.CloseIdleConnections()
	}
	hc.Transport = presenter{used.transport}
	return hc, nil
}

// use returns the pool of an owner, made if need be, and the one that has left
// for it, or nil.
func (c *Certificates) use(owner string, identity [sha256.Size]byte, base *http.Transport, cert tls.Certificate) (used, left *pool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.byOwner[owner]
	if e != nil {
		c.recent.MoveToFront(e)
		if used = e.Value.(*pool); used.certificate == identity && used.base == base {
			return used, nil
		}
		left = used
	}
	used = &pool{owner, identity, base, present(base, cert)}
	if e != nil {
		e.Value = used
		return used, left
	}
	if c.recent.Len() >= maxPools {
		left = c.recent.Remove(c.recent.Back()).(*pool)
		delete(c.byOwner, left.owner)
	}
	if c.byOwner == nil {
		c.byOwner = make(map[string]*list.Element)
	}
	c.byOwner[owner] = c.recent.PushFront(used)
	return used, left
}

// Close closes all connections, those in use as Client says. It may be called at
// any time: clients that are made afterwards have new connections.
func (c *Certificates) Close() {
	c.mu.Lock()
	var all []*pool
	for e := c.recent.Front(); e != nil; e = e.Next() {
		all = append(all, e.Value.(*pool))
	}
	c.byOwner = nil
	c.recent.Init()
	c.mu.Unlock()
	for _, p := range all {
		p.transport.CloseIdleConnections()
	}
}

// identify returns what tells a certificate, its chain and its key from others.
func identify(cert *tls.Certificate) (identity [sha256.Size]byte, err error) {
	key, ok := cert.PrivateKey.(crypto.Signer)
	if !ok || len(cert.Certificate) == 0 {
		return identity, errNoKey
	}
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return identity, errNoKey
	}
	h := sha256.New()
	write := func(part []byte) {
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(part))))
		h.Write(part)
	}
	write(public)
	for _, der := range cert.Certificate {
		write(der)
	}
	return [sha256.Size]byte(h.Sum(nil)), nil
}

// present returns a transport like base that has connections of its own, and
// presents the certificate on them.
func present(base *http.Transport, cert tls.Certificate) *http.Transport {
	t := clone(base)
	if t.TLSClientConfig == nil {
		t.TLSClientConfig = new(tls.Config)
	}
	c := t.TLSClientConfig
	// Package tls prefers GetClientCertificate to Certificates. Of those it would
	// present only one that is signed by an authority that the server names.
	c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &cert, nil }
	// A session that is resumed has the certificate that it began with, and the
	// cache may be that of other connections.
	c.ClientSessionCache = nil
	if t.IdleConnTimeout == 0 {
		t.IdleConnTimeout = maxIdle
	}
	if proxy := t.Proxy; proxy != nil {
		t.Proxy = func(req *http.Request) (*url.URL, error) {
			u, err := proxy(req)
			if err == nil && u != nil && u.Scheme == "https" { // net/http has one configuration for both handshakes
				return nil, errTLSProxy
			}
			return u, err
		}
	}
	return t
}

// A presenter is a transport that presents a certificate. It refuses http.
type presenter struct{ transport *http.Transport }

func (p presenter) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL == nil || req.URL.Scheme != "https" {
		if req.Body != nil {
			req.Body.Close()
		}
		return nil, errPlainHTTP
	}
	return p.transport.RoundTrip(req)
}

func (p presenter) CloseIdleConnections() { p.transport.CloseIdleConnections() }
