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
	"os"

	"github.com/authprofile/authprofile/internal/safetext"
)

// Describe returns an error that says, in words of this package, why a request
// has no whole answer.
//
// The errors of net/http quote malformed answers and whole URLs, and a proxy's
// address may have a password in it. Of err the text therefore has only a part
// that comes from the standard library or the operating system. Without such a
// part the text is otherwise, and if ctx has ended, it says that. [errors.As]
// finds the same part, and [errors.Is] all of err, which is never shown.
func Describe(ctx context.Context, err error, otherwise string) error {
	if p := Permanent(err); p != nil {
		return &described{text: permanentText(p), part: p, whole: err}
	}
	if ended := ctx.Err(); ended != nil {
		return &described{text: ended.Error(), part: ended, whole: errors.Join(context.Cause(ctx), err)}
	}
	switch part := knownPart(err); part {
	case nil:
	case io.ErrUnexpectedEOF:
		return &described{text: "the connection was closed before the answer was complete", part: part, whole: err}
	default:
		return &described{text: part.Error(), part: part, whole: err}
	}
	if refusal := proxyRefusal(err); refusal != "" {
		otherwise = "the proxy refuses: " + refusal
	}
	return &described{text: otherwise, whole: err}
}

// described is an error that is shown by another text than its own.
type described struct {
	text  string
	part  error // of whole, for errors.As; or nil
	whole error // for errors.Is alone; or nil
}

func (d *described) Error() string                 { return d.text }
func (d *described) Unwrap() error                 { return d.part }
func (d *described) Is(target error) bool          { return d.whole != nil && errors.Is(d.whole, target) }
func (d *described) Format(f fmt.State, verb rune) { safetext.Format(f, verb, d.text) }

// errNotTLS stands for a tls.RecordHeaderError, which has the first bytes of
// the answer and the connection in it.
var errNotTLS = errors.New("the server does not speak TLS")

// Permanent returns the part of an error that waiting does not help against, or
// nil: the address must not be connected to, or not with a client certificate, or
// client and server cannot agree on TLS, most often because one does not trust
// the other's certificate. The address has to be corrected, or the server.
func Permanent(err error) error {
	for _, refusal := range []error{ErrRefused, errPlainHTTP, errTLSProxy} {
		if errors.Is(err, refusal) {
			return refusal
		}
	}
	if e, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return e
	}
	if e, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return e
	}
	if e, ok := errors.AsType[x509.HostnameError](err); ok {
		return e
	}
	if e, ok := errors.AsType[x509.CertificateInvalidError](err); ok {
		return e
	}
	if e, ok := errors.AsType[x509.SystemRootsError](err); ok {
		return e
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok || errors.Is(err, http.ErrSchemeMismatch) {
		return errNotTLS
	}
	if alert, ok := tlsAlert(err); ok {
		// Other alerts, such as internal_error, come from a load balancer in
		// trouble, and pass.
		switch alert {
		case 42, 43, 44, 45, 46, 48, 49, 116, // about our certificate (RFC 8446, section 6.2)
			40, 70, 71, 112, 120: // about parameters and names
			return alert
		}
	}
	return nil
}

// permanentText describes what Permanent returns, without the names in a
// certificate: the server chose them.
func permanentText(err error) string {
	if err == ErrRefused {
		return "the host has an address that this program may not connect to"
	}
	if err == errNotTLS || err == errPlainHTTP || err == errTLSProxy {
		return err.Error()
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return "the server's certificate is signed by an unknown authority"
	}
	if _, ok := errors.AsType[x509.HostnameError](err); ok {
		return "the server's certificate is for another host"
	}
	if e, ok := errors.AsType[x509.CertificateInvalidError](err); ok {
		if e.Reason == x509.Expired {
			return "the server's certificate has expired or is not yet valid"
		}
		return "the server's certificate is not valid"
	}
	if alert, ok := errors.AsType[tls.AlertError](err); ok {
		return "the TLS handshake failed: " + alert.Error()
	}
	return "the server's certificate cannot be verified"
}

// tlsAlert returns the alert with which one side ended a connection. Package tls
// exports a type for it, but returns an error of another one.
func tlsAlert(err error) (tls.AlertError, bool) {
	op, ok := errors.AsType[*net.OpError](err)
	if !ok || op.Op != "remote error" && op.Op != "local error" || op.Err == nil { // as crypto/tls names them
		return 0, false
	}
	for number := range 256 {
		if alert := tls.AlertError(number); alert.Error() == op.Err.Error() {
			return alert, true
		}
	}
	return 0, false
}

// knownPart returns the part of an error whose text is known to come from the
// standard library or the operating system, or nil.
func knownPart(err error) error {
	if op, ok := errors.AsType[*net.OpError](err); ok {
		inner := knownPart(op.Err)
		if alert, ok := tlsAlert(op); ok {
			inner = alert
		}
		if inner == nil {
			inner = errors.New("failed")
		}
		return &net.OpError{Op: op.Op, Net: op.Net, Source: op.Source, Addr: op.Addr, Err: inner}
	}
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		return dns
	}
	if call, ok := errors.AsType[*os.SyscallError](err); ok {
		return call
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return io.ErrUnexpectedEOF
	}
	for _, known := range []error{net.ErrClosed, context.Canceled} {
		if errors.Is(err, known) {
			return known
		}
	}
	if e, ok := errors.AsType[net.Error](err); ok && e.Timeout() {
		return noAnswer{}
	}
	return nil
}

// noAnswer stands for the many errors with which net, net/http and package
// context say that a time limit has passed.
type noAnswer struct{}

func (noAnswer) Error() string   { return "no answer in time" }
func (noAnswer) Timeout() bool   { return true }
func (noAnswer) Temporary() bool { return true }
func (noAnswer) Is(target error) bool {
	return target == context.DeadlineExceeded || target == os.ErrDeadlineExceeded
}

// proxyRefusal returns what a proxy answered to CONNECT. net/http makes an error
// of its status text, which the proxy chooses: only the standard ones are
// returned.
func proxyRefusal(err error) string {
	for err != nil {
		for status := 400; status < 600; status++ {
			if text := http.StatusText(status); text != "" && err.Error() == text {
				return text
			}
		}
		err = errors.Unwrap(err)
	}
	return ""
}
