package transport

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
)

// A timeout is what net/http makes of a TLS handshake that takes too long.
type timeout struct{}

func (timeout) Error() string   { return "sentinel: timeout" }
func (timeout) Timeout() bool   { return true }
func (timeout) Temporary() bool { return true }

func TestDescribe(t *testing.T) {
	const otherwise = "the request failed"
	remote := func(alert tls.AlertError) error {
		return fmt.Errorf("sentinel: %w", &net.OpError{Op: "remote error", Err: errors.New(alert.Error())}) // crypto/tls does not use its own type
	}
	dial := func(err error) error {
		return &url.Error{Op: "Get", URL: "https://sentinel@idp.example.com/?sentinel", Err: &net.OpError{Op: "dial", Net: "tcp", Addr: &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 443}, Err: err}}
	}
	certificate := func(err error) error { return &tls.CertificateVerificationError{Err: err} }
	ended, end := context.WithCancelCause(t.Context())
	errReason := errors.New("sentinel: the reason")
	end(errReason)
	errConnect := errors.New("connection refused")
	errForeign := errors.New("sentinel: https://user:sentinel@proxy.example.com")

	for _, test := range []struct {
		name      string
		err       error
		ctx       context.Context // nil: not over
		want      string
		permanent bool
		is        []error
	}{
		{name: "refused address", err: dial(fmt.Errorf("192.0.2.1: %w", ErrRefused)),
			want: "the host has an address that this program may not connect to", permanent: true, is: []error{ErrRefused}},
		{name: "refused address, too late", err: dial(ErrRefused), ctx: ended,
			want: "the host has an address that this program may not connect to", permanent: true, is: []error{ErrRefused}},

		{name: "unknown authority", err: certificate(x509.UnknownAuthorityError{}), want: "the server's certificate is signed by an unknown authority", permanent: true},
		{name: "other host", err: certificate(x509.HostnameError{Certificate: &x509.Certificate{DNSNames: []string{"sentinel"}}, Host: "idp.example.com"}),
			want: "the server's certificate is for another host", permanent: true},
		{name: "expired", err: certificate(x509.CertificateInvalidError{Reason: x509.Expired}), want: "the server's certificate has expired or is not yet valid", permanent: true},
		{name: "not for servers", err: certificate(x509.CertificateInvalidError{Reason: x509.IncompatibleUsage}), want: "the server's certificate is not valid", permanent: true},
		{name: "another certificate error", err: certificate(errForeign), want: "the server's certificate cannot be verified", permanent: true},
		{name: "without a wrapper", err: x509.UnknownAuthorityError{}, want: "the server's certificate is signed by an unknown authority", permanent: true},
		{name: "no roots", err: x509.SystemRootsError{Err: errForeign}, want: "the server's certificate cannot be verified", permanent: true},
		{name: "certificate, too late", err: certificate(x509.UnknownAuthorityError{}), ctx: ended, want: "the server's certificate is signed by an unknown authority", permanent: true},

		{name: "not TLS", err: tls.RecordHeaderError{Msg: "sentinel", RecordHeader: [5]byte{'s', 'e', 'n', 't', 'i'}}, want: "the server does not speak TLS", permanent: true},
		{name: "HTTP", err: &url.Error{Op: "Get", URL: "https://sentinel", Err: http.ErrSchemeMismatch}, want: "the server does not speak TLS", permanent: true},

		{name: "alert: handshake failure", err: remote(40), want: "the TLS handshake failed: tls: handshake failure", permanent: true},
		{name: "alert: bad certificate", err: remote(42), want: "the TLS handshake failed: tls: bad certificate", permanent: true},
		{name: "alert: unknown authority", err: remote(48), want: "the TLS handshake failed: tls: unknown certificate authority", permanent: true},
		{name: "alert: access denied", err: remote(49), want: "the TLS handshake failed: tls: access denied", permanent: true},
		{name: "alert: protocol version", err: remote(70), want: "the TLS handshake failed: tls: protocol version not supported", permanent: true},
		{name: "alert: unrecognized name", err: remote(112), want: "the TLS handshake failed: tls: unrecognized name", permanent: true},
		{name: "alert: certificate required", err: remote(116), want: "the TLS handshake failed: tls: certificate required", permanent: true},
		{name: "alert: no application protocol", err: remote(120), want: "the TLS handshake failed: tls: no application protocol", permanent: true},
		{name: "alert that passes: internal error", err: remote(80), want: "remote error: tls: internal error"},
		{name: "alert that passes: user canceled", err: remote(90), want: "remote error: tls: user canceled"},
		{name: "alert that passes: bad record", err: remote(20), want: "remote error: tls: bad record MAC"},
		{name: "alert that passes: close notify", err: remote(0), want: "remote error: tls: close notify"},
		{name: "alert that passes: illegal parameter", err: remote(47), want: "remote error: tls: illegal parameter"},
		{name: "our alert", err: &net.OpError{Op: "local error", Err: errors.New(tls.AlertError(20).Error())}, want: "local error: tls: bad record MAC"},
		{name: "no alert", err: &net.OpError{Op: "remote error", Err: errForeign}, want: "remote error: failed", is: []error{errForeign}},

		{name: "over", err: dial(errForeign), ctx: ended, want: "context canceled", is: []error{context.Canceled, errReason, errForeign}},
		{name: "over before it began", ctx: ended, want: "context canceled", is: []error{context.Canceled, errReason}},
		{name: "canceled by the transport", err: fmt.Errorf("sentinel: %w", context.Canceled), want: "context canceled", is: []error{context.Canceled}},

		{name: "refused", err: dial(os.NewSyscallError("connect", errConnect)), want: "dial tcp 192.0.2.1:443: connect: connection refused", is: []error{errConnect}},
		{name: "unknown cause of a failed connection", err: dial(errForeign), want: "dial tcp 192.0.2.1:443: failed", is: []error{errForeign}},
		{name: "connection that takes too long", err: dial(timeout{}), want: "dial tcp 192.0.2.1:443: no answer in time", is: []error{context.DeadlineExceeded, os.ErrDeadlineExceeded}},
		{name: "no such host", err: dial(&net.DNSError{Err: "no such host", Name: "idp.example.com"}), want: "dial tcp 192.0.2.1:443: lookup idp.example.com: no such host"},
		{name: "proxy of another kind", err: &net.OpError{Op: "socks connect", Net: "tcp", Err: errForeign}, want: "socks connect tcp: failed"},
		{name: "no name", err: &net.DNSError{Err: "no such host", Name: "idp.example.com"}, want: "lookup idp.example.com: no such host"},
		{name: "timeout", err: timeout{}, want: "no answer in time", is: []error{context.DeadlineExceeded, os.ErrDeadlineExceeded}},
		{name: "timeout of a client", err: &url.Error{Op: "Get", URL: "https://sentinel", Err: context.DeadlineExceeded}, want: "no answer in time", is: []error{context.DeadlineExceeded}},
		{name: "closed", err: fmt.Errorf("sentinel: %w", io.EOF), want: "the connection was closed before the answer was complete", is: []error{io.EOF, io.ErrUnexpectedEOF}},
		{name: "cut off", err: io.ErrUnexpectedEOF, want: "the connection was closed before the answer was complete", is: []error{io.ErrUnexpectedEOF}},
		{name: "closed by us", err: fmt.Errorf("sentinel: %w", net.ErrClosed), want: "use of closed network connection", is: []error{net.ErrClosed}},

		{name: "proxy refuses", err: &url.Error{Op: "Get", URL: "https://sentinel", Err: errors.New("Proxy Authentication Required")}, want: "the proxy refuses: Proxy Authentication Required"},
		{name: "anything else", err: errForeign, want: otherwise, is: []error{errForeign}},
	} {
		t.Run(test.name, func(t *testing.T) {
			ctx := test.ctx
			if ctx == nil {
				ctx = t.Context()
			}
			got := Describe(ctx, test.err, otherwise)
			if got.Error() != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
			for _, target := range test.is {
				if !errors.Is(got, target) {
					t.Errorf("got an error that is not %v, want one that is", target)
				}
			}
			if permanent := Permanent(test.err) != nil; permanent != test.permanent {
				t.Errorf("permanent: got %t, want %t", permanent, test.permanent)
			}
			for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d", "%x"} {
				if text := fmt.Sprintf(verb, got); strings.Contains(text, "sentinel") || strings.Contains(text, "73656e74") {
					t.Errorf("%s: got %q, want nothing of the error in it", verb, text)
				}
			}
		})
	}
}

// What a program may want to tell apart is found by its type.
func TestDescribedErrorsAreFoundByType(t *testing.T) {
	unknown := &tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}
	got := Describe(t.Context(), unknown, "")
	if _, ok := errors.AsType[*tls.CertificateVerificationError](got); !ok {
		t.Errorf("got %v, want a CertificateVerificationError in it", got)
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](got); !ok {
		t.Errorf("got %v, want an UnknownAuthorityError in it", got)
	}
	for _, number := range []tls.AlertError{40, 80} {
		got := Describe(t.Context(), &net.OpError{Op: "remote error", Err: errors.New(number.Error())}, "")
		if alert, ok := errors.AsType[tls.AlertError](got); !ok || alert != number {
			t.Errorf("got %v, want alert %d in it", got, number)
		}
	}
	got = Describe(t.Context(), &net.OpError{Op: "dial", Net: "tcp", Err: &net.DNSError{Err: "no such host", IsNotFound: true}}, "")
	if op, ok := errors.AsType[*net.OpError](got); !ok || op.Op != "dial" {
		t.Errorf("got %v, want an OpError in it", got)
	}
	if dns, ok := errors.AsType[*net.DNSError](got); !ok || !dns.IsNotFound {
		t.Errorf("got %v, want a DNSError in it", got)
	}
	if timeout, ok := errors.AsType[net.Error](Describe(t.Context(), timeout{}, "")); !ok || !timeout.Timeout() {
		t.Error("got no net.Error, want one that is a timeout")
	}
}
