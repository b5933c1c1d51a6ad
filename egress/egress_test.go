package egress

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/authprofile/authprofile"
)

// resolver is a DNS server in memory. answer gives the address of a name.
func resolver(t *testing.T, answer func(name string) netip.Addr) *net.Resolver {
	t.Helper()
	return &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		client, server := net.Pipe() // not a packet connection: messages come with their length
		go func() {
			defer server.Close()
			var size [2]byte
			for {
				if _, err := io.ReadFull(server, size[:]); err != nil {
					return
				}
				query := make([]byte, binary.BigEndian.Uint16(size[:]))
				if _, err := io.ReadFull(server, query); err != nil {
					return
				}
				reply := dnsReply(query, answer)
				if _, err := server.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(reply))), reply...)); err != nil {
					return
				}
			}
		}()
		return client, nil
	}}
}

// dnsReply answers a query with one question (RFC 1035, section 4).
func dnsReply(query []byte, answer func(string) netip.Addr) []byte {
	var labels []string
	i := 12
	for query[i] != 0 {
		n := int(query[i])
		labels = append(labels, string(query[i+1:i+1+n]))
		i += 1 + n
	}
	end := i + 5
	kind := binary.BigEndian.Uint16(query[i+1:])
	a := answer(strings.Join(labels, "."))

	reply := append([]byte(nil), query[:end]...)
	reply[2], reply[3] = 0x81, 0x80                   // an answer, without error
	copy(reply[4:12], []byte{0, 1, 0, 0, 0, 0, 0, 0}) // one question, nothing else yet
	if a.Is4() && kind == 1 || a.Is6() && kind == 28 {
		reply[7] = 1
		reply = append(reply, 0xc0, 12, 0, byte(kind), 0, 1, 0, 0, 0, 0)
		reply = binary.BigEndian.AppendUint16(reply, uint16(len(a.AsSlice())))
		reply = append(reply, a.AsSlice()...)
	}
	return reply
}

// inside is a server on loopback that must not be reached unless allowed.
func inside(t *testing.T) (srv *httptest.Server, port string, requests *atomic.Int32) {
	t.Helper()
	requests = new(atomic.Int32)
	srv = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		io.WriteString(w, "inside")
	}))
	t.Cleanup(srv.Close)
	u, err := url.Parse(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	return srv, u.Port(), requests
}

func get(t *testing.T, c *http.Client, address string) error {
	t.Helper()
	t.Cleanup(c.CloseIdleConnections)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := c.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}

func TestThreat055_RefusesAddressesThatAreNotPublic(t *testing.T) {
	loopback := netip.MustParseAddr("127.0.0.1")

	t.Run("055 loopback is refused unless allowed", func(t *testing.T) {
		srv, _, requests := inside(t)
		if err := get(t, NewClient(), srv.URL); !errors.Is(err, ErrRefused) {
			t.Errorf("error: got %v, want ErrRefused", err)
		}
		if n := requests.Load(); n != 0 {
			t.Errorf("requests: got %d, want 0", n)
		}
		if err := get(t, NewClient(netip.MustParsePrefix("127.0.0.0/8")), srv.URL); err != nil {
			t.Errorf("allowed: got error %v, want none", err)
		}
		if n := requests.Load(); n != 1 {
			t.Errorf("requests when allowed: got %d, want 1", n)
		}
	})

	t.Run("055 spellings", func(t *testing.T) {
		_, port, requests := inside(t)
		// Some resolvers take these names for numbers, as the one here does.
		c := newClient(resolver(t, func(string) netip.Addr { return loopback }), nil)
		for _, host := range []string{
			"127.0.0.1", "localhost", "0.0.0.0", "[::]", "[::1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::127.0.0.1]", "[64:ff9b::127.0.0.1]",
			"0x7f000001", "0x7f.1", "inside.example.com",
		} {
			if err := get(t, c, "http://"+host+":"+port+"/"); !errors.Is(err, ErrRefused) {
				t.Errorf("%s: got %v, want ErrRefused", host, err)
			}
		}
		for _, host := range []string{"2130706433", "017700000001", "0177.0.0.1", "127.1", "127.0.1"} { // no names to Go's resolver
			if err := get(t, c, "http://"+host+":"+port+"/"); err == nil {
				t.Errorf("%s: got no error, want one", host)
			}
		}
		if n := requests.Load(); n != 0 {
			t.Errorf("requests: got %d, want 0", n)
		}
	})

	t.Run("055 a name that is bound anew", func(t *testing.T) {
		_, port, requests := inside(t)
		var rebound atomic.Bool
		c := newClient(resolver(t, func(string) netip.Addr {
			if rebound.Load() {
				return netip.MustParseAddr("127.0.0.2")
			}
			return loopback
		}), []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")})
		c.Transport.(*http.Transport).DisableKeepAlives = true
		if err := get(t, c, "http://idp.example.com:"+port); err != nil {
			t.Fatalf("before: got %v, want no error", err)
		}
		rebound.Store(true)
		if err := get(t, c, "http://idp.example.com:"+port); !errors.Is(err, ErrRefused) {
			t.Errorf("after: got %v, want ErrRefused", err)
		}
		if n := requests.Load(); n != 1 {
			t.Errorf("requests: got %d, want 1", n)
		}
	})

	t.Run("055 redirect", func(t *testing.T) {
		outside := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://169.254.169.254/latest/meta-data/", http.StatusFound)
		}))
		defer outside.Close()
		err := get(t, NewClient(netip.MustParsePrefix("127.0.0.0/8")), outside.URL)
		if !errors.Is(err, ErrRefused) || !strings.Contains(fmt.Sprint(err), "169.254.169.254") {
			t.Errorf("got %v, want ErrRefused for 169.254.169.254", err)
		}
	})

	// The operator gets the same error for every kind of request of a Manager
	// to an address that is not public.
	srv, _, requests := inside(t)
	m := &authprofile.Manager{HTTPClient: NewClient(), RedirectURL: "https://app.example.com/callback"}
	for name, ask := range map[string]func(t *testing.T) error{
		"055 discovery": func(t *testing.T) error {
			_, err := m.Discover(t.Context(), srv.URL+"/.well-known/openid-configuration")
			return err
		},
		"055 token of an app": func(t *testing.T) error {
			_, err := m.Token(t.Context(), &authprofile.Profile{Type: authprofile.TypeApp, ClientID: "client", ClientSecret: "secret",
				Endpoints: authprofile.Endpoints{TokenURL: srv.URL + "/token"}})
			return err
		},
		"055 code": func(t *testing.T) error {
			p := &authprofile.Profile{Type: authprofile.TypeUser, ClientID: "client", ClientSecret: "secret",
				Endpoints: authprofile.Endpoints{AuthURL: srv.URL + "/authorize", TokenURL: srv.URL + "/token"}}
			if err := m.Save(t.Context(), p); err != nil {
				t.Fatal(err)
			}
			f, err := m.Begin(t.Context(), p, "ada")
			if err != nil {
				t.Fatal(err)
			}
			_, err = m.Finish(t.Context(), "ada", url.Values{"state": {f.State}, "code": {"code"}})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			err := ask(t)
			if !errors.Is(err, authprofile.ErrConfiguration) || !errors.Is(err, ErrRefused) {
				t.Errorf("got %v, want ErrConfiguration and ErrRefused", err)
			}
			if want := "the host has an address that this program may not connect to"; !strings.Contains(fmt.Sprint(err), want) {
				t.Errorf("got %v, want %q in it", err, want)
			}
			if n := requests.Load(); n != 0 {
				t.Errorf("requests: got %d, want 0", n)
			}
		})
	}
}

func TestWhatIsPublic(t *testing.T) {
	for _, test := range []struct {
		want      bool
		addresses string
	}{
		{true, "8.8.8.8 1.1.1.1 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 126.255.255.255 128.0.0.0 168.63.129.15" +
			" 169.253.255.255 169.255.0.0 172.15.255.255 172.32.0.0 192.0.1.0 192.167.255.255 192.169.0.0 198.17.255.255 198.20.0.0 223.255.255.255"},
		{true, "2606:4700:4700::1111 2a00:1450:4001::200e 2001:4860:4860::8888 2001:200:: 3ffe::1 ::ffff:8.8.8.8 64:ff9b::8.8.8.8"},

		{false, "0.0.0.0 0.1.2.3 10.0.0.1 10.255.255.255 100.64.0.1 100.100.100.200 100.127.255.255 127.0.0.1 127.255.255.254 168.63.129.16"},
		{false, "169.254.169.254 169.254.170.2 172.16.0.1 172.31.255.255 192.0.0.192 192.0.2.1 192.88.99.1 192.168.0.1"},
		{false, "198.18.0.1 198.19.255.255 198.51.100.1 203.0.113.1 224.0.0.1 239.255.255.255 240.0.0.1 255.255.255.255"},
		{false, ":: ::1 ::127.0.0.1 ::8.8.8.8 ::ffff:127.0.0.1 ::ffff:169.254.169.254 ::ffff:10.0.0.1"},
		{false, "64:ff9b::127.0.0.1 64:ff9b::10.0.0.1 64:ff9b::169.254.169.254 64:ff9b:1::8.8.8.8 100::1 5f00::1"},
		{false, "fe80::1 febf::1 fec0::1 fc00::1 fd00:ec2::254 fdff::1 ff02::1"},
		{false, "2001::1 2001:0:7f00:1:: 2001:2::1 2001:10::1 2001:20::1 2001:db8::1 2002:7f00:1:: 2002:808:808:: 3fff::1"},
	} {
		for s := range strings.FieldsSeq(test.addresses) {
			a := netip.MustParseAddr(s)
			network := "tcp4"
			if a.Is6() {
				network = "tcp6"
			}
			err := limits(nil).control(t.Context(), network, netip.AddrPortFrom(a, 443).String(), nil)
			if got := err == nil; got != test.want {
				t.Errorf("%s: got %t, want %t", s, got, test.want)
			}
			if err != nil && !errors.Is(err, ErrRefused) {
				t.Errorf("%s: got %v, want ErrRefused", s, err)
			}
		}
	}
}

func TestAllowedNetworks(t *testing.T) {
	l := limits{netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix("fd00:1::/32"), netip.MustParsePrefix("fe80::/10")}
	for address, want := range map[string]bool{
		"10.1.2.3:443":          true,
		"[::ffff:10.1.2.3]:443": true,
		"10.2.0.1:443":          false,
		"[fd00:1::5]:443":       true,
		"[fd00:2::5]:443":       false,
		"[fe80::1%eth0]:443":    true,
		"127.0.0.1:443":         false,
		"8.8.8.8:443":           true,
	} {
		network := "tcp4"
		if address[0] == '[' {
			network = "tcp6"
		}
		if got := l.control(t.Context(), network, address, nil) == nil; got != want {
			t.Errorf("%s: got %t, want %t", address, got, want)
		}
	}
	for _, network := range []string{"udp4", "unix", "ip4:icmp"} {
		if err := l.control(t.Context(), network, "8.8.8.8:53", nil); !errors.Is(err, ErrRefused) {
			t.Errorf("%s: got %v, want ErrRefused", network, err)
		}
	}
	if err := l.control(t.Context(), "tcp4", "idp.example.com:443", nil); !errors.Is(err, ErrRefused) {
		t.Errorf("a name: got %v, want ErrRefused", err)
	}
}

// Behind a proxy every address dialled is the proxy's: a client that took one
// from the environment would refuse nothing.
func TestThreat090_TakesNoProxyFromTheEnvironment(t *testing.T) {
	if NewClient().Transport.(*http.Transport).Proxy != nil { // net/http reads the environment once: it cannot be set here
		t.Error("Proxy: got a function, want nil")
	}
}
