// Package egress makes HTTP clients that reach public addresses only.
//
// A service that lets its tenants describe their own providers fetches from
// addresses that strangers have chosen: discovery documents, key sets and
// tokens. Without a limit they could make it ask the metadata service of its
// cloud, its databases, or its own administration pages (server-side request
// forgery). Such a service gives its Manager a client of this package:
//
//	m := &authprofile.Manager{
//		Store:      store,
//		HTTPClient: egress.NewClient(),
//	}
//
// All that the Manager asks then goes through it: discovery, key sets, token
// and revocation endpoints, and the requests of Manager.Client.
//
// # What is refused
//
// The decision is made for each connection, on the address that is about to be
// dialled, after the name was resolved. How the address was spelled, what a
// name resolved to a moment before, and where a redirect leads make no
// difference. Refused is everything that the registries of special-purpose
// addresses (RFC 6890) do not call globally reachable: this host, loopback,
// private networks, link-local addresses, where clouds have their metadata
// services, carrier-grade NAT, multicast, documentation, reserved. So are the
// IPv6 addresses that carry an IPv4 address to a relay (6to4, Teredo), and
// those for NAT64 if the IPv4 address in them is refused.
//
// Networks of one's own that are to be reached are passed to [NewClient]: the
// one of a company's identity provider, or in tests
//
//	egress.NewClient(netip.MustParsePrefix("127.0.0.0/8"))
//
// # What it does not do
//
// It takes no proxy from the environment. Through a proxy the address dialled
// is the proxy's, and only the proxy can decide. A service that must use one
// configures the limits there, and does not need this package.
//
// It does not look at ports, and it does not stop a tenant from naming a
// public host that is not a provider.
package egress

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"syscall"

	"github.com/authprofile/authprofile/internal/transport"
)

// ErrRefused is the error for an address that is not public. A Manager reports
// it as authprofile.ErrConfiguration: waiting does not help.
var ErrRefused = transport.ErrRefused

// NewClient returns a client that connects to public addresses, and to those in
// the networks given. Its time limits are those of the client that a Manager
// has by itself.
func NewClient(allow ...netip.Prefix) *http.Client {
	return newClient(nil, allow)
}

// newClient resolves names with r; nil is net.DefaultResolver.
func newClient(r *net.Resolver, allow []netip.Prefix) *http.Client {
	l := limits(slices.Clone(allow))
	t := transport.New(&net.Dialer{Resolver: r, ControlContext: l.control})
	t.Proxy = nil
	return &http.Client{Transport: t}
}

// limits are the networks that may be reached beside the public ones.
type limits []netip.Prefix

// control is called by a net.Dialer with each address, before it connects.
func (l limits) control(_ context.Context, network, address string, _ syscall.RawConn) error {
	a, err := netip.ParseAddrPort(address)
	if err != nil || network != "tcp4" && network != "tcp6" {
		return ErrRefused
	}
	if !l.reachable(a.Addr()) {
		return fmt.Errorf("%s: %w", a.Addr(), ErrRefused)
	}
	return nil
}

func (l limits) reachable(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	return public(a) || slices.ContainsFunc(l, func(p netip.Prefix) bool { return p.Contains(a) })
}

// special are the networks within 0.0.0.0/0 and 2000::/3 that are not public:
// the IANA special-purpose address registries, and multicast.
var special = prefixes(
	"0.0.0.0/8",        // this host
	"10.0.0.0/8",       // private
	"100.64.0.0/10",    // carrier-grade NAT
	"127.0.0.0/8",      // loopback
	"168.63.129.16/32", // the platform of Azure, seen from within it
	"169.254.0.0/16",   // link-local
	"172.16.0.0/12",    // private
	"192.0.0.0/24",     // protocol assignments
	"192.0.2.0/24",     // documentation
	"192.88.99.0/24",   // relays for 6to4
	"192.168.0.0/16",   // private
	"198.18.0.0/15",    // benchmarks
	"198.51.100.0/24",  // documentation
	"203.0.113.0/24",   // documentation
	"224.0.0.0/4",      // multicast
	"240.0.0.0/4",      // reserved, broadcast

	"2001::/23",     // protocol assignments, Teredo
	"2001:db8::/32", // documentation
	"2002::/16",     // 6to4
	"3fff::/20",     // documentation
)

var (
	globalUnicast = netip.MustParsePrefix("2000::/3")
	nat64         = netip.MustParsePrefix("64:ff9b::/96") // RFC 6052: the IPv4 address is the last 4 bytes
)

func prefixes(list ...string) []netip.Prefix {
	var ps []netip.Prefix
	for _, s := range list {
		ps = append(ps, netip.MustParsePrefix(s))
	}
	return ps
}

// public reports whether an address, not an IPv4 one in the form of IPv6, is
// reachable from everywhere.
func public(a netip.Addr) bool {
	if nat64.Contains(a) {
		b := a.As16()
		return public(netip.AddrFrom4([4]byte(b[12:])))
	}
	if a.Is6() && !globalUnicast.Contains(a) {
		return false
	}
	return !slices.ContainsFunc(special, func(p netip.Prefix) bool { return p.Contains(a) })
}
