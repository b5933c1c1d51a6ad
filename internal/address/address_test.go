package address

import (
	"net/url"
	"strings"
	"testing"
)

func TestThreat064_Addresses(t *testing.T) {
	for s, want := range map[string]bool{
		"https://a.test":                true,
		"https://a.test/":               true,
		"https://A.Test:8443/x?y=z%20w": true,
		"https://my_host/":              true,
		"https://192.0.2.1/":            true,
		"https://[2001:db8::1]:443/":    true,
		"http://localhost/":             true,
		"http://127.0.0.1:8080/":        true,
		"http://127.8.9.10/":            true,
		"http://[::1]:8080/":            true,
		"https://a.test:1/":             true,
		"https://a.test:65535/":         true,

		"":                          false,
		"a.test":                    false,
		"/a":                        false,
		"//a.test/":                 false,
		"https:a.test":              false,
		"https:/a.test":             false,
		"https:///a":                false,
		"https://:443/":             false,
		"https://":                  false,
		"http://a.test/":            false,
		"http://localhost.a.test/":  false,
		"http://LOCALHOST/":         false,
		"http://2130706433/":        false,
		"http://0177.0.0.1/":        false,
		"http://0x7f.1/":            false,
		"http://0.0.0.0/":           false,
		"http://[::]/":              false,
		"http://127.0.0.1.a.test/":  false,
		"http://10.0.0.1/":          false,
		"ftp://localhost/":          false,
		"HTTPS ://a.test/":          false,
		"javascript:alert(1)":       false,
		"file:///etc/passwd":        false,
		"data:text/plain,x":         false,
		"https://user@a.test/":      false,
		"https://user:pass@a.test/": false,
		"https://@a.test/":          false,
		"https://a.test/#":          false,
		"https://a.test/#x":         false,
		"https://a.test/ ":          false,
		" https://a.test/":          false,
		"https://a.test/\n":         false,
		"https://a.tést/":           false,
		"https://a%41.test/":        false,
		"https://$(calc)/":          false,
		"https://a.test;x/":         false,
		"https://a.test,b.test/":    false,
		"https://a<b>/":             false,
		`https://a"b/`:              false,
		`https://a.test\@b.test/`:   false,
		"https://[::1/":             false,
		"https://[fe80::1%25eth0]/": false,
		"https://[v1.x]/":           false,
		"https://a.test:0/":         false,
		"https://a.test:65536/":     false,
		"https://a.test:/":          false,
		"https://a.test:x/":         false,
		"https://a.test:-1/":        false,
		"https://a.test/%zz":        false,
		"https://a.test/" + strings.Repeat("x", MaxLen): false,
	} {
		if err := Check(s); (err == nil) != want {
			t.Errorf("064 %.60q: got %v, want valid: %t", s, err, want)
		}
	}
}

func TestOrigins(t *testing.T) {
	for _, test := range []struct{ address, long, short string }{
		{"https://a.test", "https://a.test:443", "https://a.test"},
		{"https://A.Test:443/x?y#z", "https://a.test:443", "https://a.test"},
		{"https://a.test:80/", "https://a.test:80", "https://a.test:80"},
		{"http://localhost/x", "http://localhost:80", "http://localhost"},
		{"http://localhost:443", "http://localhost:443", "http://localhost:443"},
		{"https://a.test:8443/t/1", "https://a.test:8443", "https://a.test:8443"},
		{"https://a.test:x", "", ""},
	} {
		if got := OriginOf(test.address); got != test.long {
			t.Errorf("OriginOf(%q): got %q, want %q", test.address, got, test.long)
		}
		if got := ShortOriginOf(test.address); got != test.short {
			t.Errorf("ShortOriginOf(%q): got %q, want %q", test.address, got, test.short)
		}
	}
	for _, test := range []struct {
		a, b string
		want bool
	}{
		{"https://a.test/x", "https://a.test/y", true},
		{"https://a.test", "https://A.test:443", true},
		{"https://a.test", "http://a.test", false},
		{"https://a.test", "https://a.test:8443", false},
		{"https://a.test", "https://b.test", false},
		{"https://a.test:443", "http://a.test:443", false},
	} {
		a, err := url.Parse(test.a)
		if err != nil {
			t.Fatal(err)
		}
		b, err := url.Parse(test.b)
		if err != nil {
			t.Fatal(err)
		}
		if got := SameOrigin(a, b); got != test.want {
			t.Errorf("SameOrigin(%q, %q): got %t, want %t", test.a, test.b, got, test.want)
		}
	}
}
