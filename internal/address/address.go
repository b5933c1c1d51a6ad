// Package address says which addresses are fit to be used, what their origins
// are, and what their queries say.
//
// It goes by the spelling of an address alone, and asks no resolver: what an
// address that is fit leads to is the transport's business.
package address

import (
	"errors"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// MaxLen is how long an address may be, in bytes.
const MaxLen = 2048

// Check says what is wrong with an absolute address, or nothing. The text of
// the error has nothing of the address, and goes on from its name.
func Check(s string) error {
	if problem := check(s); problem != "" {
		return errors.New(problem)
	}
	return nil
}

func check(s string) string {
	if len(s) > MaxLen {
		return "is too long"
	}
	for _, c := range []byte(s) {
		if c <= ' ' || c > '~' {
			return "has a space, a control character or a character outside ASCII"
		}
	}
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return "is not an address"
	case u.Scheme == "" || u.Opaque != "" || u.Hostname() == "":
		return "must be an absolute address: https://host/..."
	case u.Scheme != "https" && u.Scheme != "http",
		u.Scheme == "http" && !IsLoopback(u.Hostname()):
		return "must be https, or http on a loopback host"
	case u.User != nil:
		return "must not have a user or password in it"
	case strings.Contains(s, "#"):
		return "must not have a fragment"
	case !ValidHost(u.Hostname()):
		return "has a host that is neither a name nor an IP address"
	case !validPort(u):
		return "has a port that is not a number from 1 to 65535"
	}
	return ""
}

// ValidHost accepts names and IP addresses. Package url accepts much more:
// "$(cmd)" is a host to it.
func ValidHost(host string) bool {
	if _, err := netip.ParseAddr(host); err == nil {
		return !strings.Contains(host, "%") // a zone is of one machine only
	}
	return OnlyAlphanumeric(host, ".-_")
}

func validPort(u *url.URL) bool {
	if !strings.HasSuffix(u.Host, ":"+u.Port()) { // none
		return true
	}
	n, err := strconv.ParseUint(u.Port(), 10, 16)
	return err == nil && n > 0
}

// IsLoopback reports whether a URL's host is this machine by its spelling
// alone. Other spellings of the same address do not count.
func IsLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}

// OnlyAlphanumeric reports whether s is made of ASCII letters, digits and the
// other characters given.
func OnlyAlphanumeric(s, others string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool {
		return r > '~' || !isAlphanumeric(byte(r)) && !strings.ContainsRune(others, r)
	})
}

func isAlphanumeric(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

// Origin returns what RFC 6454 calls the origin of an http or https address,
// always with its port.
func Origin(u *url.URL) string {
	return u.Scheme + "://" + strings.ToLower(u.Hostname()) + ":" + Port(u)
}

// Port returns the port of an http or https address, the default one if it has
// none.
func Port(u *url.URL) string {
	if port := u.Port(); port != "" {
		return port
	}
	return map[string]string{"http": "80", "https": "443"}[u.Scheme]
}

// AllowsHost reports whether hosts, as Profile.APIHosts has them, allow that of
// an address. None allow any.
func AllowsHost(hosts []string, u *url.URL) bool {
	if len(hosts) == 0 {
		return true
	}
	name, port := strings.ToLower(u.Hostname()), Port(u)
	return slices.ContainsFunc(hosts, func(allowed string) bool {
		allowed = strings.ToLower(allowed)
		if below := strings.HasPrefix(allowed, "."); below {
			host, p, hasPort := strings.Cut(allowed, ":")
			return strings.HasSuffix(name, host) && (!hasPort || p == port)
		}
		a := &url.URL{Scheme: u.Scheme, Host: allowed}
		return a.Hostname() == name && (a.Port() == "" || a.Port() == port)
	})
}

// OriginOf returns the origin of an address that has passed Check.
func OriginOf(s string) string {
	u, err := url.Parse(s)
	if err != nil {
		return ""
	}
	return Origin(u)
}

// ShortOriginOf is OriginOf without a default port, as people write it.
func ShortOriginOf(s string) string {
	o := OriginOf(s)
	if s, ok := strings.CutSuffix(o, ":443"); ok && strings.HasPrefix(o, "https:") {
		return s
	}
	if s, ok := strings.CutSuffix(o, ":80"); ok && strings.HasPrefix(o, "http:") {
		return s
	}
	return o
}

// SameOrigin reports whether two addresses have the same origin.
func SameOrigin(a, b *url.URL) bool {
	return a.Scheme == b.Scheme && (a.Host == b.Host || Origin(a) == Origin(b))
}
