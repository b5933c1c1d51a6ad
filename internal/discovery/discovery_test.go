package discovery

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authprofile/authprofile/internal/address"
	"github.com/authprofile/authprofile/internal/catalog"
	"github.com/authprofile/authprofile/internal/catalog/recorded"
	"github.com/authprofile/authprofile/internal/issuer"
	"github.com/authprofile/authprofile/internal/transport"
	"github.com/authprofile/authprofile/internal/webtest"
)

// newCache makes a cache that fetches with rt.
func newCache(rt http.RoundTripper) *Cache {
	return NewCache(&http.Client{Transport: rt}, slog.New(slog.DiscardHandler))
}

// newLoggingCache makes a cache that fetches with rt, and a buffer that it logs
// to.
func newLoggingCache(rt http.RoundTripper) (*Cache, *bytes.Buffer) {
	logged := new(bytes.Buffer)
	return NewCache(&http.Client{Transport: rt}, slog.New(slog.NewTextHandler(logged, nil))), logged
}

// newNetworkCache makes a cache that fetches over connections of its own.
func newNetworkCache(t *testing.T) *Cache {
	tr := transport.New(new(net.Dialer))
	t.Cleanup(tr.CloseIdleConnections)
	return newCache(tr)
}

// parse reads a document, and returns what is wrong with it as text.
func parse(documentURL string, p *catalog.Provider, body []byte) (*Document, string) {
	doc, err := parseDocument(documentURL, p, body)
	if err != nil {
		return doc, err.Error()
	}
	return doc, ""
}

// lookup finds the provider of a template that is valid.
func lookup(t testing.TB, template string) *catalog.Provider {
	t.Helper()
	p, err := new(catalog.Catalog).Lookup(template)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// wantWrong checks that err is about the document: to be corrected, with its
// address, and without a word of what it says.
func wantWrong(t *testing.T, err error, address string) {
	t.Helper()
	var wrong *Error
	switch {
	case err == nil:
		t.Error("got no error, want one")
	case !errors.As(err, &wrong) || !wrong.Wrong || wrong.Problem == "":
		t.Errorf("got %v, want an Error of a document that is wrong", err)
	case wrong.URL != address || !strings.Contains(err.Error(), address):
		t.Errorf("got %q, want the address %s in it", err, address)
	case strings.Contains(err.Error(), "S3NT1NEL"):
		t.Errorf("got %q, want nothing of the document in it", err)
	}
}

// wantAway checks that err is about the provider not being there.
func wantAway(t *testing.T, err error) {
	t.Helper()
	var e *Error
	if err == nil || errors.As(err, &e) && e.Wrong {
		t.Errorf("got %v, want an error of a provider that is away", err)
	}
}

func TestThreat032_AuthorizationEndpoints(t *testing.T) {
	for _, test := range []struct{ name, endpoint, want string }{
		{"032 javascript", "javascript:alert(1)", "authorization_endpoint must be an absolute address"},
		{"032 file", "file:///bin/sh", "authorization_endpoint must be an absolute address"},
		{"032 data", "data:text/html,x", "authorization_endpoint must be an absolute address"},
		{"032 command", "https://$(calc)/", "authorization_endpoint has a host that is neither"},
		{"032 quotes", `https://"a"/`, "authorization_endpoint has a host that is neither"},
		{"032 option", "--flag", "authorization_endpoint must be an absolute address"},
		{"032 credentials", "https://user:pass@idp.example.com/", "authorization_endpoint must not have a user"},
		{"032 space", "https://idp.example.com/a b", "authorization_endpoint has a space"},
		{"033 fragment", "https://idp.example.com/#x", "authorization_endpoint must not have a fragment"},
		{"033 query", "https://idp.example.com/authorize?p=policy", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			md, problem := parse(webtest.DocumentURL, nil, []byte(webtest.Document(map[string]any{"authorization_endpoint": test.endpoint})))
			switch {
			case problem != "":
				t.Errorf("got %q, want no problem of the document", problem)
			case test.want == "" && md.AuthURL != test.endpoint:
				t.Errorf("got %q, want the address as it is", md.AuthURL)
			case test.want != "" && (md.AuthURL != "" || !strings.HasPrefix(md.unusable[MemberAuth], test.want)):
				t.Errorf("got %q, %q, want no address and %q", md.AuthURL, md.unusable[MemberAuth], test.want)
			}
		})
	}
}

func TestThreat050_IssuerFitsTheAddress(t *testing.T) {
	for _, test := range []struct {
		name, address, issuer string
		want                  bool
	}{
		{"050 OpenID", "https://a.test/.well-known/openid-configuration", "https://a.test", true},
		{"050 final slash", "https://a.test/.well-known/openid-configuration", "https://a.test/", true},
		{"050 two final slashes", "https://a.test/.well-known/openid-configuration", "https://a.test//", false},
		{"050 with a path", "https://a.test/t/1/.well-known/openid-configuration", "https://a.test/t/1", true},
		{"050 with a path and slash", "https://a.test/t/1/.well-known/openid-configuration", "https://a.test/t/1/", true},
		{"050 another tenant", "https://a.test/t/1/.well-known/openid-configuration", "https://a.test/t/2", false},
		{"050 no tenant", "https://a.test/t/1/.well-known/openid-configuration", "https://a.test", false},
		{"050 another host", "https://a.test/.well-known/openid-configuration", "https://b.test", false},
		{"050 a longer host", "https://a.test/.well-known/openid-configuration", "https://a.test.evil.test", false},
		{"050 another case", "https://a.test/T/.well-known/openid-configuration", "https://a.test/t", false},
		{"050 another case of the host", "https://a.test/.well-known/openid-configuration", "https://A.test", false},
		{"050 another port", "https://a.test/.well-known/openid-configuration", "https://a.test:8443", false},
		{"050 the default port", "https://a.test/.well-known/openid-configuration", "https://a.test:443", false},
		{"050 another scheme", "https://localhost/.well-known/openid-configuration", "http://localhost", false},
		{"050 localhost by number", "http://localhost:80/.well-known/openid-configuration", "http://127.0.0.1:80", false},

		{"059 OAuth", "https://a.test/.well-known/oauth-authorization-server", "https://a.test", true},
		{"059 OAuth with a path", "https://a.test/.well-known/oauth-authorization-server/t/1", "https://a.test/t/1", true},
		{"059 OAuth with a path and slash", "https://a.test/.well-known/oauth-authorization-server/t/1", "https://a.test/t/1/", true},
		{"059 OAuth, another tenant", "https://a.test/.well-known/oauth-authorization-server/t/1", "https://a.test/t/2", false},
		{"059 OAuth, no tenant", "https://a.test/.well-known/oauth-authorization-server/t/1", "https://a.test", false},
		{"059 OpenID inserted", "https://a.test/.well-known/openid-configuration/t/1", "https://a.test/t/1", true},
		{"059 OpenID inserted, another tenant", "https://a.test/.well-known/openid-configuration/t/1", "https://a.test/t/2", false},

		{"050 elsewhere at the origin", "https://a.test/metadata.json", "https://a.test/t/2", true},
		{"050 with a query", "https://a.test/t/v2.0/.well-known/openid-configuration?p=policy", "https://a.test/id/v2.0/", true},
		{"050 with a query, another origin", "https://a.test/t/.well-known/openid-configuration?p=policy", "https://b.test/t", false},
		{"050 the name goes on", "https://a.test/.well-known/oauth-authorization-servers", "https://a.test/x", true},
		{"050 elsewhere, the default port", "https://a.test/metadata.json", "https://a.test:443/t", true},
		{"050 elsewhere, another origin", "https://a.test/metadata.json", "https://b.test", false},
		{"050 elsewhere, another port", "https://a.test/metadata.json", "https://a.test:8443", false},

		{"051 query", "https://a.test/metadata.json", "https://a.test/?x", false},
		{"051 empty query", "https://a.test/metadata.json", "https://a.test/?", false},
		{"051 fragment", "https://a.test/metadata.json", "https://a.test/#x", false},
		{"051 user", "https://a.test/metadata.json", "https://u@a.test/", false},
		{"051 http", "http://a.test/.well-known/openid-configuration", "http://a.test", false},
		{"051 http on loopback", "http://127.0.0.1:8080/.well-known/openid-configuration", "http://127.0.0.1:8080", true},
		{"051 no address", "https://a.test/metadata.json", "a.test", false},
		{"051 empty", "https://a.test/metadata.json", "", false},
		{"051 pattern", "https://a.test/{tenantid}/v2.0/.well-known/openid-configuration", "https://a.test/{tenantid}/v2.0", false},
		{"051 pattern elsewhere", "https://a.test/metadata.json", "https://a.test/{tenantid}/v2.0", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, problem := parse(test.address, nil, []byte(webtest.Document(map[string]any{"issuer": test.issuer})))
			if strings.HasPrefix(test.address, "http://") { // its other addresses do not matter here
				problem = checkIssuer(test.address, test.issuer, nil)
			}
			if got := problem == ""; got != test.want {
				t.Errorf("got %q, want a fit: %t", problem, test.want)
			}
			if problem != "" && !strings.HasPrefix(problem, "issuer ") && checkIssuer(test.address, test.issuer, nil) == "" {
				t.Errorf("got %q, want a problem of the issuer", problem)
			}
		})
	}
}

func TestThreat052_Redirects(t *testing.T) {
	evil := httptest.NewServer(webtest.JSON(`{}`))
	defer evil.Close()
	var evilRequests atomic.Int32
	evil.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { evilRequests.Add(1) })

	mux := http.NewServeMux()
	srv := httptest.NewServer(mux)
	defer srv.Close()
	mux.HandleFunc("/doc", func(w http.ResponseWriter, r *http.Request) {
		webtest.JSON(fmt.Sprintf(`{"issuer":%q,"token_endpoint":%q}`, srv.URL, srv.URL+"/token"))(w, r)
	})
	for i, target := range []string{"/doc", "/redirect0", "/redirect1", "/redirect2"} {
		mux.Handle(fmt.Sprintf("/redirect%d", i), http.RedirectHandler(target, http.StatusFound))
	}
	for _, code := range []int{301, 302, 303, 307, 308} {
		mux.Handle(fmt.Sprintf("/evil%d", code), http.RedirectHandler(evil.URL, code))
	}
	mux.Handle("/credentials", http.RedirectHandler(strings.Replace(srv.URL, "http://", "http://user:pass@", 1)+"/doc", http.StatusFound))
	mux.Handle("/downgrade", http.RedirectHandler("http://192.0.2.1/doc", http.StatusFound))
	mux.Handle("/file", http.RedirectHandler("file:///etc/passwd", http.StatusFound))

	c := newNetworkCache(t)
	for path, want := range map[string]bool{
		"/doc": true, "/redirect0": true, "/redirect1": true, "/redirect2": true, // three hops
		"/redirect3": false, "/evil301": false, "/evil302": false, "/evil303": false, "/evil307": false, "/evil308": false,
		"/credentials": false, "/downgrade": false, "/file": false,
	} {
		t.Run("052 "+path, func(t *testing.T) {
			_, err := c.Document(t.Context(), srv.URL+path, nil)
			if want && err != nil {
				t.Errorf("got %v, want no error", err)
			}
			if !want {
				wantWrong(t, err, srv.URL+path)
			}
		})
	}
	if n := evilRequests.Load(); n != 0 {
		t.Errorf("requests to the other origin: got %d, want 0", n)
	}
}

func TestThreat053_PoisonedDocuments(t *testing.T) {
	t.Run("053 another token endpoint is reported", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := webtest.New()
			c, logged := newLoggingCache(w)
			w.Set(webtest.DocumentURL, webtest.JSON(webtest.Document(nil)))
			if _, err := c.Document(t.Context(), webtest.DocumentURL, nil); err != nil {
				t.Fatal(err)
			}
			changes := make(map[string]any)
			for _, member := range []string{"token_endpoint", "authorization_endpoint", "revocation_endpoint", MemberPAR, "jwks_uri"} {
				for _, move := range []struct {
					endpoint string
					warned   bool
				}{
					{webtest.Issuer + "/other", false},
					{"https://evil.example.net/x", true},
				} {
					logged.Reset()
					changes[member] = move.endpoint
					w.Set(webtest.DocumentURL, webtest.JSON(webtest.Document(changes)))
					webtest.Pass(2 * time.Hour)
					c.Document(t.Context(), webtest.DocumentURL, nil)
					synctest.Wait()
					warned := strings.Contains(logged.String(), "level=WARN") && strings.Contains(logged.String(), "member="+member) &&
						strings.Contains(logged.String(), "to=https://evil.example.net:443")
					if warned != move.warned {
						t.Errorf("%s: got log %q, want a warning: %t", move.endpoint, logged.String(), move.warned)
					}
				}
			}
		})
	})

	for _, test := range []struct {
		name, address string
		template      string
		changes       map[string]any
		want          string
	}{
		{"064 http", webtest.DocumentURL, "", map[string]any{"token_endpoint": "http://idp.example.com/token"}, "token_endpoint must be https"},
		{"064 http keys", webtest.DocumentURL, "", map[string]any{"jwks_uri": "http://idp.example.com/keys"}, "jwks_uri must be https"},
		{"053 loopback", webtest.DocumentURL, "", map[string]any{"token_endpoint": "http://127.0.0.1:8500/token"}, "token_endpoint is on a loopback host"},
		{"053 loopback by TLS", webtest.DocumentURL, "", map[string]any{"jwks_uri": "https://localhost/keys"}, "jwks_uri is on a loopback host"},
		{"053 another host is the provider's choice", webtest.DocumentURL, "", map[string]any{"token_endpoint": "https://token.example.net/"}, ""},
		{"053 not with a template", "", "google", map[string]any{"issuer": "https://accounts.google.com"}, "token_endpoint is on a host that is not the provider's"},
		{"053 nor its page", "", "google", map[string]any{"issuer": "https://accounts.google.com", "token_endpoint": "https://oauth2.googleapis.com/token"},
			"authorization_endpoint is on a host that is not the provider's"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var p *catalog.Provider
			if test.template != "" {
				p = lookup(t, test.template)
				test.address = p.DiscoveryURL
			}
			md, problem := parse(test.address, p, []byte(webtest.Document(test.changes)))
			if member, _, _ := strings.Cut(test.want, " "); problem == "" && md.unusable[member] != "" {
				problem = md.unusable[member]
			}
			if test.want == "" && problem != "" || !strings.HasPrefix(problem, test.want) {
				t.Errorf("got %q, want %q", problem, test.want)
			}
		})
	}

	t.Run("064 loopback for development", func(t *testing.T) {
		address := "http://localhost:8080" + issuer.WellKnownOpenID
		doc := `{"issuer":"http://localhost:8080","token_endpoint":"http://127.0.0.1:9090/token"}`
		if _, problem := parse(address, nil, []byte(doc)); problem != "" {
			t.Errorf("got %q, want no problem", problem)
		}
	})
}

// exampleMetadata is what the example document says.
var exampleMetadata = Metadata{
	URL: webtest.DocumentURL, Issuer: webtest.Issuer, AuthURL: webtest.Issuer + "/authorize", TokenURL: webtest.Issuer + "/token",
	RevocationURL: webtest.Issuer + "/revoke", JWKSURL: webtest.Issuer + "/keys", ResponseTypes: []string{"code"},
}

func TestThreat054_Endpoints(t *testing.T) {
	for _, member := range []string{"authorization_endpoint", "token_endpoint", "revocation_endpoint", "device_authorization_endpoint", MemberPAR, "jwks_uri"} {
		for _, value := range []any{
			"javascript:S3NT1NEL", "file:///S3NT1NEL", "data:,S3NT1NEL", "/S3NT1NEL", "//S3NT1NEL/x", "S3NT1NEL", "", "https://", "https:///S3NT1NEL",
			"ftp://S3NT1NEL/", "https://S3NT1NEL:99999/", "https://a%41/S3NT1NEL", "https://[fe80::1%25eth0]/S3NT1NEL",
			"https://a.test/\u202eS3NT1NEL", "https://a.test/" + strings.Repeat("x", address.MaxLen), 7, true, []string{"S3NT1NEL"}, map[string]any{"a": "S3NT1NEL"},
		} {
			t.Run(fmt.Sprintf("054 %s %.20v", member, value), func(t *testing.T) {
				w := webtest.New()
				w.Set(webtest.DocumentURL, webtest.JSON(webtest.Document(map[string]any{member: value})))
				c, logged := newLoggingCache(w)
				md, err := c.Document(t.Context(), webtest.DocumentURL, nil)
				if member == "token_endpoint" {
					wantWrong(t, err, webtest.DocumentURL)
					if err != nil && !strings.Contains(err.Error(), member) {
						t.Errorf("got %q, want the member in it", err)
					}
					return
				}
				// An address that only some profiles need costs itself.
				if err != nil {
					t.Fatalf("got %v, want no error", err)
				}
				c.Close()
				want := exampleMetadata
				*map[string]*string{"authorization_endpoint": &want.AuthURL, "revocation_endpoint": &want.RevocationURL,
					"device_authorization_endpoint": &want.DeviceAuthURL, MemberPAR: &want.PARURL, "jwks_uri": &want.JWKSURL}[member] = ""
				if fmt.Sprint(md.Metadata) != fmt.Sprint(want) {
					t.Errorf("got %+v, want %+v", md.Metadata, want)
				}
				if text := logged.String(); !strings.Contains(text, "level=WARN") || !strings.Contains(text, "member="+member) || strings.Contains(text, "S3NT1NEL") {
					t.Errorf("got log %q, want a warning with the member, and nothing of the document", text)
				}
			})
		}
	}
	t.Run("054 null is absent", func(t *testing.T) {
		doc := strings.Replace(webtest.Document(nil), "{", `{"device_authorization_endpoint":null,"scopes_supported":null,`, 1)
		if md, problem := parse(webtest.DocumentURL, nil, []byte(doc)); problem != "" || md.DeviceAuthURL != "" || md.Scopes != nil {
			t.Errorf("got %+v, %q, want neither a problem nor an address", md, problem)
		}
	})
}

// endless is a body without end that counts what is read of it.
type endless struct{ read atomic.Int64 }

func (e *endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	e.read.Add(int64(len(p)))
	return len(p), nil
}

func (e *endless) Close() error { return nil }

func TestThreat057_BoundedInSizeAndTime(t *testing.T) {
	t.Run("057 endless", func(t *testing.T) {
		body := new(endless)
		c := newCache(webtest.RoundTripper(func(r *http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: 200, Header: http.Header{}, Body: body, Request: r}, nil
		}))
		_, err := c.Document(t.Context(), webtest.DocumentURL, nil)
		wantWrong(t, err, webtest.DocumentURL)
		if n := body.read.Load(); n > maxDocument+64<<10 {
			t.Errorf("bytes read: got %d, want about %d", n, maxDocument)
		}
	})

	t.Run("057 compressed", func(t *testing.T) {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			w.Header().Set("Content-Type", "application/json")
			gzipSpaces(w, 4<<20)
		}))
		defer srv.Close()
		_, err := newNetworkCache(t).Document(t.Context(), srv.URL, nil)
		wantWrong(t, err, srv.URL)
	})

	t.Run("057 the largest, and one byte more", func(t *testing.T) {
		doc := webtest.Document(nil)
		doc += strings.Repeat(" ", maxDocument-len(doc))
		w := webtest.New()
		w.Set(webtest.DocumentURL, webtest.JSON(doc))
		if _, err := newCache(w).Document(t.Context(), webtest.DocumentURL, nil); err != nil {
			t.Errorf("got %v, want no error", err)
		}
		w.Set(webtest.DocumentURL, webtest.JSON(doc+" "))
		_, err := newCache(w).Document(t.Context(), webtest.DocumentURL, nil)
		if wantWrong(t, err, webtest.DocumentURL); err != nil && !strings.Contains(err.Error(), "larger than 256 KiB") {
			t.Errorf("got %q, want the limit in it", err)
		}
	})

	for name, rt := range map[string]webtest.RoundTripper{
		"057 no answer": func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		},
		"057 an answer by drops": func(r *http.Request) (*http.Response, error) {
			pr, pw := io.Pipe()
			context.AfterFunc(r.Context(), func() { pw.CloseWithError(r.Context().Err()) })
			return &http.Response{StatusCode: 200, Header: http.Header{}, Body: pr, Request: r}, nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				_, err := newCache(rt).Document(t.Context(), webtest.DocumentURL, nil)
				wantAway(t, err)
				if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != fetchTimeout {
					t.Errorf("got %v after %v, want DeadlineExceeded after %v", err, time.Since(began), fetchTimeout)
				}
			})
		})
	}
}

func TestThreat058_WhatIsNotADocument(t *testing.T) {
	good := webtest.Document(nil)
	for _, test := range []struct {
		name string
		page http.HandlerFunc
	}{
		{"058 HTML", webtest.JSON("<html>S3NT1NEL</html>", "Content-Type", "text/html")},
		{"058 HTML that says JSON", webtest.JSON("<html>S3NT1NEL</html>")},
		{"058 HTML after a line end", webtest.JSON("\n <!DOCTYPE html>S3NT1NEL", "Content-Type", "text/html")},
		{"058 another text that says HTML", webtest.JSON("S3NT1NEL", "Content-Type", "text/html")},
		{"058 truncated", webtest.JSON(good[:len(good)-2])},
		{"058 more after it", webtest.JSON(good + "{}")},
		{"058 byte order mark", webtest.JSON("\xef\xbb\xbf" + good)},
		{"058 not UTF-8", webtest.JSON(strings.Replace(good, "{", "{\"x\":\"\xff\",", 1))},
		{"058 array", webtest.JSON("[" + good + "]")},
		{"058 null", webtest.JSON("null")},
		{"058 string", webtest.JSON(`"S3NT1NEL"`)},
		{"058 number", webtest.JSON("7")},
		{"058 empty", webtest.JSON("")},
		{"058 empty object", webtest.JSON("{}")},
		{"058 duplicate", webtest.JSON(strings.Replace(good, "{", `{"token_endpoint":"https://S3NT1NEL.example.com",`, 1))},
		{"058 duplicate by escape", webtest.JSON(strings.Replace(good, "{", `{"\u0074oken_endpoint":"https://S3NT1NEL.example.com",`, 1))},
		{"058 another case", webtest.JSON(strings.Replace(good, "token_endpoint", "Token_Endpoint", 1))},
		{"058 deep", webtest.JSON(strings.Repeat("[", maxDocument/2) + strings.Repeat("]", maxDocument/2))},
		{"058 issuer missing", webtest.JSON(webtest.Document(map[string]any{"issuer": nil}))},
		{"058 issuer a number", webtest.JSON(webtest.Document(map[string]any{"issuer": 7}))},
		{"058 token endpoint missing", webtest.JSON(webtest.Document(map[string]any{"token_endpoint": nil}))},
		{"058 not there", webtest.Status(404)},
		{"058 not allowed", webtest.Status(403)},
		{"058 no content", webtest.Status(204)},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := webtest.New()
			w.Set(webtest.DocumentURL, test.page)
			c := newCache(w)
			_, err := c.Document(t.Context(), webtest.DocumentURL, nil)
			wantWrong(t, err, webtest.DocumentURL)
			if v := c.byKey["discovery "+webtest.DocumentURL].(*entry[Document]).value; v != nil {
				t.Errorf("kept as good: got %v, want nothing", v)
			}
			for name, reason := range map[string]string{"058 byte order mark": "byte order mark", "058 HTML": "a page in HTML"} {
				if strings.HasPrefix(test.name, name) && !strings.Contains(fmt.Sprint(err), reason) { // a byte order mark is invisible
					t.Errorf("got %v, want the reason in it", err)
				}
			}
		})
	}
	for _, kind := range []string{"application/json; charset=utf-8", "application/jwk-set+json", "text/plain", "application/octet-stream", "",
		"text/html; charset=utf-8", "application/xml", "image/png", "not a type"} {
		w := webtest.New()
		w.Set(webtest.DocumentURL, webtest.JSON(good, "Content-Type", kind))
		if _, err := newCache(w).Document(t.Context(), webtest.DocumentURL, nil); err != nil {
			t.Errorf("058 Content-Type %q: got %v, want no error", kind, err)
		}
	}
}

// What a document says by the way costs itself, and not the document.
func TestThreat058_OddAdvice(t *testing.T) {
	const before = `{"grant_types_supported":["authorization_code"],"grant_types_supported":["S3NT1NEL"],"unknown":1,"unknown":2,`
	for _, test := range []struct {
		name, document string
		want           func(*Metadata)
	}{
		{"058 list a string", webtest.Document(map[string]any{"scopes_supported": "openid"}), nil},
		{"058 list a number", webtest.Document(map[string]any{"token_endpoint_auth_methods_supported": 7}), nil},
		{"058 list an object", webtest.Document(map[string]any{"code_challenge_methods_supported": map[string]any{"S256": true}}), nil},
		{"058 list of numbers", webtest.Document(map[string]any{"grant_types_supported": []int{1}}), nil},
		{"058 list with null", webtest.Document(map[string]any{"response_types_supported": []any{nil, "code", 7}}), nil},
		{"058 list of lists", webtest.Document(map[string]any{"id_token_signing_alg_values_supported": []any{[]string{"RS256"}}}), nil},
		{"058 twice", strings.Replace(webtest.Document(nil), "{", before, 1), nil},
		{"058 optional address twice", strings.Replace(webtest.Document(nil), "{", `{"revocation_endpoint":"https://S3NT1NEL.example.com",`, 1),
			func(md *Metadata) { md.RevocationURL = "" }},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := webtest.New()
			w.Set(webtest.DocumentURL, webtest.JSON(test.document))
			got, err := newCache(w).Document(t.Context(), webtest.DocumentURL, nil)
			if err != nil {
				t.Fatalf("got %v, want no error", err)
			}
			want := exampleMetadata
			if test.want != nil {
				test.want(&want)
			}
			if fmt.Sprint(got.Metadata) != fmt.Sprint(want) {
				t.Errorf("got %+v, want %+v", got.Metadata, want)
			}
		})
	}
}

func TestThreat060_DocumentsAreKept(t *testing.T) {
	// step lets time pass and asks.
	type world struct {
		*webtest.Web
		c *Cache
	}
	run := func(name string, f func(t *testing.T, w world)) {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				web := webtest.New()
				web.Set(webtest.DocumentURL, webtest.JSON(webtest.Document(nil)))
				f(t, world{web, newCache(web)})
			})
		})
	}
	discover := func(t *testing.T, w world) error {
		_, err := w.c.Document(t.Context(), webtest.DocumentURL, nil)
		synctest.Wait()
		return err
	}
	count := func(t *testing.T, w world, want int) {
		t.Helper()
		if got := w.Count(webtest.DocumentURL); got != want {
			t.Errorf("requests: got %d, want %d", got, want)
		}
	}

	run("060 one fetch for 100,000 profiles", func(t *testing.T, w world) {
		w.Set(webtest.DocumentURL, func(rw http.ResponseWriter, r *http.Request) {
			webtest.Pass(time.Second)
			webtest.JSON(webtest.Document(nil))(rw, r)
		})
		var wg sync.WaitGroup
		for range 1000 {
			wg.Go(func() {
				for range 100 {
					if doc, err := w.c.Document(t.Context(), webtest.DocumentURL, nil); err != nil || doc.TokenURL != webtest.Issuer+"/token" {
						t.Errorf("got %v, %v, want the token endpoint", doc, err)
						return
					}
				}
			})
		}
		wg.Wait()
		count(t, w, 1)
	})

	for _, test := range []struct {
		header string
		fresh  time.Duration
	}{
		{"", time.Hour},
		{"max-age=1800", 30 * time.Minute},
		{"public, Max-Age=1800, must-revalidate", 30 * time.Minute},
		{`max-age="1800"`, 30 * time.Minute},
		{"max-age=0", 5 * time.Minute},
		{"no-store", 5 * time.Minute},
		{"max-age=7200, no-cache", 5 * time.Minute},
		{"max-age=31536000", 24 * time.Hour},
		{"max-age=99999999999999999999", 24 * time.Hour},
		{"max-age=-5", time.Hour},
		{"max-age=soon", time.Hour},
	} {
		run("060 Cache-Control "+test.header, func(t *testing.T, w world) {
			w.Set(webtest.DocumentURL, webtest.JSON(webtest.Document(nil), "Cache-Control", test.header))
			discover(t, w)
			webtest.Pass(test.fresh - time.Second)
			discover(t, w)
			count(t, w, 1)
			webtest.Pass(time.Second)
			discover(t, w)
			count(t, w, 2)
		})
	}

	run("060 an old one is served at once", func(t *testing.T, w world) {
		discover(t, w)
		webtest.Pass(2 * time.Hour)
		w.Set(webtest.DocumentURL, func(rw http.ResponseWriter, r *http.Request) {
			webtest.Pass(5 * time.Second)
			webtest.JSON(webtest.Document(map[string]any{"token_endpoint": webtest.Issuer + "/new"}))(rw, r)
		})
		began := time.Now()
		for range 100 {
			if md, err := w.c.Document(t.Context(), webtest.DocumentURL, nil); err != nil || md.TokenURL != webtest.Issuer+"/token" {
				t.Fatalf("got %v, %v, want the old document", md, err)
			}
		}
		if d := time.Since(began); d != 0 {
			t.Errorf("waited %v, want 0", d)
		}
		webtest.Pass(6 * time.Second)
		if md, err := w.c.Document(t.Context(), webtest.DocumentURL, nil); err != nil || md.TokenURL != webtest.Issuer+"/new" {
			t.Errorf("got %v, %v, want the new document", md, err)
		}
		count(t, w, 2)
	})

	for name, h := range map[string]http.HandlerFunc{
		"away": nil, "500": webtest.Status(500), "404": webtest.Status(404), "HTML": webtest.JSON("<html>", "Content-Type", "text/html"),
		"another issuer": webtest.JSON(webtest.Document(map[string]any{"issuer": "https://evil.example.com"})),
	} {
		run("060 the last good one is kept: "+name, func(t *testing.T, w world) {
			discover(t, w)
			w.Set(webtest.DocumentURL, h)
			for range 7*24 - 1 {
				webtest.Pass(time.Hour)
				if err := discover(t, w); err != nil {
					t.Fatalf("within a week: got %v, want no error", err)
				}
			}
			webtest.Pass(2 * time.Hour)
			if err := discover(t, w); err == nil {
				t.Error("after a week: got no error, want one")
			}
		})
	}

	run("060 failures are backed off", func(t *testing.T, w world) {
		w.Set(webtest.DocumentURL, webtest.Status(503))
		var at []int
		began := time.Now()
		for last := 0; time.Since(began) < 5*time.Minute; webtest.Pass(time.Second) {
			for range 10 {
				wantAway(t, discover(t, w))
			}
			if n := w.Count(webtest.DocumentURL); n != last {
				last = n
				at = append(at, int(time.Since(began).Seconds()))
			}
		}
		if want := []int{0, 5, 15, 35, 75, 135, 195, 255}; !slices.Equal(at, want) {
			t.Errorf("asked at %v, want %v", at, want)
		}
		w.Set(webtest.DocumentURL, webtest.JSON(webtest.Document(nil)))
		webtest.Pass(time.Minute)
		if err := discover(t, w); err != nil {
			t.Errorf("afterwards: got %v, want no error", err)
		}
	})

	run("060 a failing refresh is backed off and logged once", func(t *testing.T, w world) {
		var logged bytes.Buffer
		w.c.log = slog.New(slog.NewTextHandler(&logged, nil))
		discover(t, w)
		w.Set(webtest.DocumentURL, webtest.Status(503))
		webtest.Pass(time.Hour)
		for range 600 {
			discover(t, w)
			webtest.Pass(time.Second)
		}
		if n := w.Count(webtest.DocumentURL); n < 10 || n > 15 {
			t.Errorf("requests in ten minutes: got %d, want about 13", n)
		}
		if n := strings.Count(logged.String(), "level=WARN"); n != 1 {
			t.Errorf("warnings: got %d in %q, want 1", n, logged.String())
		}
	})

	run("060 a caller leaves, the fetch goes on", func(t *testing.T, w world) {
		w.Set(webtest.DocumentURL, func(rw http.ResponseWriter, r *http.Request) {
			webtest.Pass(3 * time.Second)
			webtest.JSON(webtest.Document(nil))(rw, r)
		})
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		began := time.Now()
		if _, err := w.c.Document(ctx, webtest.DocumentURL, nil); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != 100*time.Millisecond {
			t.Errorf("got %v after %v, want DeadlineExceeded after 100ms", err, time.Since(began))
		}
		if err := discover(t, w); err != nil || time.Since(began) != 3*time.Second {
			t.Errorf("the next: got %v after %v, want no error after 3s", err, time.Since(began))
		}
		count(t, w, 1)
	})

	run("060 close ends what is going on", func(t *testing.T, w world) {
		if err := discover(t, w); err != nil {
			t.Fatal(err)
		}
		const other = "https://other.example.com" + issuer.WellKnownOpenID
		w.Set(other, func(rw http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
		result := make(chan error)
		go func() {
			_, err := w.c.Document(context.Background(), other, nil)
			result <- err
		}()
		synctest.Wait()
		began := time.Now()
		w.c.Close()
		if err := <-result; !errors.Is(err, context.Canceled) || time.Since(began) != 0 {
			t.Errorf("got %v after %v, want Canceled at once", err, time.Since(began))
		}
		if err := discover(t, w); err != nil {
			t.Errorf("what is known: got %v, want no error", err)
		}
		webtest.Pass(time.Minute)
		if _, err := w.c.Document(t.Context(), other, nil); err == nil {
			t.Error("what is not known: got no error, want one")
		}
		if n := w.Count(other); n != 1 {
			t.Errorf("requests: got %d, want 1", n)
		}
	})
}

func TestDocumentsAreBounded(t *testing.T) {
	doc := webtest.Document(nil)
	address := func(i int) string { return fmt.Sprintf("%s/%d", webtest.Issuer, i) }
	fill := func(t *testing.T, n, maxNumber, maxSize int) *Cache {
		d := newCache(webtest.RoundTripper(func(r *http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(doc)), Request: r}, nil
		}))
		if d.maxNumber != maxDocuments || d.maxSize != maxDocumentsSize {
			t.Errorf("limits: got %d and %d, want %d and %d", d.maxNumber, d.maxSize, maxDocuments, maxDocumentsSize)
		}
		d.maxNumber, d.maxSize = maxNumber, maxSize
		for i := range n {
			if _, err := d.Document(t.Context(), address(i), nil); err != nil {
				t.Fatal(err)
			}
			if _, err := d.Document(t.Context(), address(0), nil); err != nil { // in use all the time
				t.Fatal(err)
			}
		}
		return d
	}
	check := func(t *testing.T, d *Cache, want int) {
		t.Helper()
		if got := len(d.byKey); got != want || d.recent.Len() != want {
			t.Errorf("kept: got %d and %d, want %d", got, d.recent.Len(), want)
		}
		if d.byKey["discovery "+address(0)] == nil {
			t.Error("the one in use has left, want it kept")
		}
		if d.byKey["discovery "+address(1)] != nil {
			t.Error("the least recently used is still there, want it gone")
		}
	}
	t.Run("number", func(t *testing.T) {
		check(t, fill(t, 30, 20, 1<<30), 20)
	})
	t.Run("size", func(t *testing.T) {
		d := fill(t, 30, 1000, 20*len(doc)+1)
		check(t, d, 20)
		if d.size != 20*len(doc) {
			t.Errorf("size: got %d, want %d", d.size, 20*len(doc))
		}
	})
	t.Run("size of what is fetched again", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			d := fill(t, 2, 1000, 1<<30)
			webtest.Pass(2 * time.Hour)
			d.Document(t.Context(), address(0), nil)
			synctest.Wait()
			if d.size != 2*len(doc) {
				t.Errorf("size: got %d, want %d", d.size, 2*len(doc))
			}
		})
	})
	t.Run("failures", func(t *testing.T) {
		d := newCache(webtest.New())
		d.maxNumber = 20
		for i := range 30 {
			_, err := d.Document(t.Context(), address(i), nil)
			wantAway(t, err)
		}
		if len(d.byKey) != 20 {
			t.Errorf("kept: got %d, want 20", len(d.byKey))
		}
	})
	t.Run("one that is too large by itself", func(t *testing.T) {
		if d := fill(t, 1, 1000, 1); len(d.byKey) != 1 {
			t.Errorf("kept: got %d, want 1", len(d.byKey))
		}
	})
}

func TestThreat063_TLS(t *testing.T) {
	serve := func(t *testing.T, configure func(*tls.Config)) (*httptest.Server, *atomic.Int32) {
		requests := new(atomic.Int32)
		srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			requests.Add(1)
			base := "https://" + r.Host
			webtest.JSON(fmt.Sprintf(`{"issuer":%q,"token_endpoint":%q}`, base, base+"/token"))(w, r)
		}))
		srv.TLS = new(tls.Config)
		configure(srv.TLS)
		srv.Config.ErrorLog = log.New(io.Discard, "", 0)
		srv.StartTLS()
		t.Cleanup(srv.Close)
		return srv, requests
	}
	trusting := func(certs ...*x509.Certificate) *Cache {
		tr := transport.New(new(net.Dialer))
		tr.TLSClientConfig = &tls.Config{RootCAs: x509.NewCertPool()}
		for _, c := range certs {
			tr.TLSClientConfig.RootCAs.AddCert(c)
		}
		t.Cleanup(tr.CloseIdleConnections)
		return newCache(tr)
	}
	plain := func(*tls.Config) {}

	srv, requests := serve(t, plain)
	if _, err := trusting(srv.Certificate()).Document(t.Context(), srv.URL, nil); err != nil {
		t.Errorf("063 the control: got %v, want no error", err)
	}
	_, port, _ := net.SplitHostPort(srv.Listener.Addr().String())
	requests.Store(0)

	t.Run("063 unknown authority", func(t *testing.T) {
		_, err := newNetworkCache(t).Document(t.Context(), srv.URL, nil)
		wantWrong(t, err, srv.URL)
	})
	t.Run("063 wrong host", func(t *testing.T) {
		address := "https://localhost:" + port
		_, err := trusting(srv.Certificate()).Document(t.Context(), address, nil)
		wantWrong(t, err, address)
	})
	if n := requests.Load(); n != 0 {
		t.Errorf("requests: got %d, want 0", n)
	}
	t.Run("063 expired", func(t *testing.T) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		template := &x509.Certificate{
			SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "expired"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
			NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: time.Now().Add(-24 * time.Hour), IsCA: true, BasicConstraintsValid: true,
		}
		der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
		if err != nil {
			t.Fatal(err)
		}
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		srv, requests := serve(t, func(c *tls.Config) {
			c.Certificates = []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}
		})
		_, err = trusting(cert).Document(t.Context(), srv.URL, nil)
		wantWrong(t, err, srv.URL)
		if n := requests.Load(); n != 0 {
			t.Errorf("requests: got %d, want 0", n)
		}
	})
	t.Run("063 our own settings", func(t *testing.T) {
		if c := transport.New(new(net.Dialer)).TLSClientConfig; c != nil && (c.InsecureSkipVerify || c.MinVersion != 0 && c.MinVersion < tls.VersionTLS12) {
			t.Error("got a TLS configuration that is weaker than Go's own")
		}
	})
	t.Run("063 TLS 1.1", func(t *testing.T) {
		srv, requests := serve(t, func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 })
		_, err := trusting(srv.Certificate()).Document(t.Context(), srv.URL, nil)
		if err == nil || requests.Load() != 0 {
			t.Errorf("got %v and %d requests, want an error and none", err, requests.Load())
		}
		wantWrong(t, err, srv.URL)
	})
	t.Run("063 no TLS", func(t *testing.T) {
		plain := httptest.NewServer(http.NotFoundHandler())
		defer plain.Close()
		address := strings.Replace(plain.URL, "http:", "https:", 1)
		_, err := newNetworkCache(t).Document(t.Context(), address, nil)
		wantWrong(t, err, address)
	})
}

// The errors of net/http quote answers and proxies.
func TestThreat136_RequestErrorsQuoteNothing(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.Read(make([]byte, 1<<10)) // the request
			io.WriteString(c, "S3NT1NEL not HTTP\r\n\r\n")
			c.Close()
		}
	}()
	address := "http://" + l.Addr().String()
	for name, c := range map[string]*Cache{
		"136 malformed answer": newNetworkCache(t),
		"136 proxy": newCache(webtest.RoundTripper(func(*http.Request) (*http.Response, error) {
			return nil, errors.New("invalid proxy address http://user:S3NT1NEL@proxy")
		})),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := c.Document(t.Context(), address, nil)
			wantAway(t, err)
			for ; err != nil; err = unwrapOne(err) {
				if text := fmt.Sprintf("%v %+v %s", err, err, err); strings.Contains(text, "S3NT1NEL") {
					t.Errorf("got %q, want nothing of the answer or the proxy in it", text)
				}
			}
		})
	}
}

func unwrapOne(err error) error {
	switch e := err.(type) {
	case interface{ Unwrap() error }:
		return e.Unwrap()
	case interface{ Unwrap() []error }:
		if list := e.Unwrap(); len(list) > 0 {
			return list[len(list)-1]
		}
	}
	return nil
}

// Whatever a document says, what is accepted of it is safe to use, and what is
// not is refused without quoting it.
func FuzzDiscovery(f *testing.F) {
	for _, name := range []string{"google", "microsoft-common", "microsoft-consumers", "microsoft-organizations", "microsoft-tenant"} {
		f.Add(webtest.DocumentURL, "", []byte(recorded.Document(name)))
	}
	f.Add("https://accounts.google.com"+issuer.WellKnownOpenID, "google", []byte(recorded.Document("google")))
	f.Add("", "microsoft/common", []byte(recorded.Document("microsoft-common")))
	f.Add(webtest.DocumentURL, "", []byte(webtest.Document(nil)))
	f.Add(webtest.DocumentURL, "", []byte(webtest.Document(map[string]any{
		MemberPAR: webtest.Issuer + "/par", memberTLS: map[string]any{"token_endpoint": "https://mtls.example.com/token", "revocation_endpoint": 7},
	})))
	f.Fuzz(func(t *testing.T, documentURL, template string, body []byte) {
		var p *catalog.Provider
		if template != "" {
			var err error
			if p, err = new(catalog.Catalog).Lookup(template); err != nil {
				return
			}
			documentURL = p.DiscoveryURL
		}
		if address.Check(documentURL) != nil {
			return
		}
		md, problem := parse(documentURL, p, body)
		if problem != "" {
			if md != nil {
				t.Errorf("got %+v with the problem %q, want one or the other", md, problem)
			}
			if strings.Contains(problem, "S3NT1NEL") || len(problem) > 150 {
				t.Errorf("got %q, want nothing of the document in it", problem)
			}
			return
		}
		if md.TokenURL == "" || md.Issuer == "" {
			t.Errorf("got %+v, want a token endpoint and an issuer", md)
		}
		if p == nil && address.OriginOf(md.Issuer) != address.OriginOf(documentURL) {
			t.Errorf("issuer: got %q at %q, want the same origin", md.Issuer, documentURL)
		}
		for _, a := range []string{md.Issuer, md.AuthURL, md.TokenURL, md.RevocationURL, md.DeviceAuthURL, md.PARURL, md.JWKSURL,
			md.TLS.TokenURL, md.TLS.RevocationURL, md.TLS.PARURL} {
			if a == "" {
				continue
			}
			if problem := address.Check(a); problem != nil {
				t.Errorf("%q %v", a, problem)
			}
			if _, err := http.NewRequest(http.MethodGet, a, nil); err != nil {
				t.Errorf("%q cannot be requested: %v", a, err)
			}
		}
	})
}

// gzipSpaces writes n spaces, compressed.
func gzipSpaces(w io.Writer, n int) {
	z := gzip.NewWriter(w)
	defer z.Close()
	block := bytes.Repeat([]byte(" "), 1<<16)
	for range n / len(block) {
		if _, err := z.Write(block); err != nil {
			return // the client has seen enough
		}
	}
}
