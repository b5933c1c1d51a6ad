package authservers

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/authprofile/authprofile/internal/peertest/tokenswitch"
	"github.com/authprofile/authprofile/providertest"
	"github.com/chromedp/chromedp"
	"golang.org/x/oauth2"
)

// each runs a test at every server.
func each(t *testing.T, test func(t *testing.T, s *Server)) {
	for name, start := range map[string]func(testing.TB, Options) *Server{"fosite": Fosite, "oidc-provider": OIDCProvider} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, start(t, Options{}))
		})
	}
}

func authURL(s *Server, c Client, verifier string, extra url.Values) string {
	sum := sha256.Sum256([]byte(verifier))
	q := url.Values{
		"response_type":         {"code"},
		"client_id":             {c.ID},
		"redirect_uri":          {RedirectURL},
		"scope":                 {strings.Join(Scopes, " ")},
		"state":                 {"a-state-of-some-length"},
		"nonce":                 {"a-nonce-of-some-length"},
		"prompt":                {"consent"},
		"code_challenge":        {base64.RawURLEncoding.EncodeToString(sum[:])},
		"code_challenge_method": {"S256"},
	}
	for k, v := range extra {
		q[k] = v
		if v == nil {
			delete(q, k)
		}
	}
	return s.AuthURL + "?" + q.Encode()
}

type answer struct {
	Access  string `json:"access_token"`
	Refresh string `json:"refresh_token"`
	ID      string `json:"id_token"`
	Expires int    `json:"expires_in"`
	Scope   string `json:"scope"`
	Error   string `json:"error"`
	status  int
}

func ask(t *testing.T, s *Server, c Client, form url.Values) (a answer) {
	t.Helper()
	status, body, err := c.post(s.TokenURL, form)
	if err != nil {
		t.Fatalf("token request: %v", err)
	}
	if err := json.Unmarshal(body, &a); err != nil {
		t.Fatalf("token answer, status %d: %v", status, err)
	}
	a.status = status
	return a
}

func begin(t *testing.T, s *Server, c Client) answer {
	t.Helper()
	verifier := oauth2.GenerateVerifier()
	back := Login(t, authURL(s, c, verifier, nil), Person{Name: "alice"})
	a := ask(t, s, c, url.Values{
		"grant_type": {"authorization_code"}, "code": back["code"],
		"redirect_uri": {RedirectURL}, "code_verifier": {verifier},
	})
	if a.Access == "" || a.Refresh == "" || a.ID == "" {
		t.Fatalf("code exchange: got status %d, error %q, want three tokens", a.status, a.Error)
	}
	return a
}

func refresh(t *testing.T, s *Server, c Client, token string) answer {
	t.Helper()
	return ask(t, s, c, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}})
}

func TestApplicationToken(t *testing.T) {
	each(t, func(t *testing.T, s *Server) {
		a := ask(t, s, App, url.Values{"grant_type": {"client_credentials"}, "scope": {"contacts.read"}})
		if !s.Active(t, a.Access) {
			t.Errorf("introspection says that a new token is not active")
		}
		wrong := App
		wrong.Secret += "x"
		if a := ask(t, s, wrong, url.Values{"grant_type": {"client_credentials"}}); a.Error != "invalid_client" || a.status != 401 {
			t.Errorf("wrong secret: got %d %q, want 401 invalid_client", a.status, a.Error)
		}
		if a := ask(t, s, App, url.Values{"grant_type": {"client_credentials"}, "scope": {"everything"}}); strings.Contains(a.Scope, "everything") {
			t.Errorf("a scope that does not exist was granted")
		}
	})
}

func TestDiscovery(t *testing.T) {
	each(t, func(t *testing.T, s *Server) {
		for _, address := range []string{s.DiscoveryURL, s.MetadataURL} {
			resp, err := http.Get(address)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			var said struct {
				Issuer, Auth  string
				Token         string   `json:"token_endpoint"`
				Authorization string   `json:"authorization_endpoint"`
				Revocation    string   `json:"revocation_endpoint"`
				Introspection string   `json:"introspection_endpoint"`
				PKCE          []string `json:"code_challenge_methods_supported"`
				Iss           bool     `json:"authorization_response_iss_parameter_supported"`
			}
			if err := json.NewDecoder(resp.Body).Decode(&said); err != nil {
				t.Fatalf("%s: %v", address, err)
			}
			got := []string{said.Issuer, said.Token, said.Authorization, said.Revocation, said.Introspection, strings.Join(said.PKCE, " ")}
			want := []string{s.Issuer, s.TokenURL, s.AuthURL, s.RevocationURL, s.IntrospectionURL, "S256"}
			for i := range want {
				if got[i] != want[i] {
					t.Errorf("%s: got %q, want %q", address, got[i], want[i])
				}
			}
			if said.Iss != (s.Name == "oidc-provider") {
				t.Errorf("%s: RFC 9207 support is %v", address, said.Iss)
			}
		}
	})
}

func TestRotationIsStrict(t *testing.T) {
	each(t, func(t *testing.T, s *Server) {
		for _, c := range []Client{Web, WebPost, Desktop} {
			first := begin(t, s, c)
			second := refresh(t, s, c, first.Refresh)
			if second.Refresh == "" || second.Refresh == first.Refresh {
				t.Fatalf("%s: refresh: got status %d, error %q and an old or no refresh token", c.ID, second.status, second.Error)
			}
			if a := refresh(t, s, c, first.Refresh); a.Error != "invalid_grant" {
				t.Errorf("%s: a spent refresh token: got %q, want invalid_grant", c.ID, a.Error)
			}
			if a := refresh(t, s, c, second.Refresh); a.Error != "invalid_grant" {
				t.Errorf("%s: its successor after the reuse: got %q, want invalid_grant", c.ID, a.Error)
			}
			if s.Active(t, second.Access) {
				t.Errorf("%s: the access token outlived the reuse", c.ID)
			}
		}
	})
}

func TestPKCEIsEnforced(t *testing.T) {
	each(t, func(t *testing.T, s *Server) {
		none := url.Values{"code_challenge": nil, "code_challenge_method": nil}
		back := Login(t, authURL(s, Web, "", none), Person{Name: "alice"})
		if back.Get("error") != "invalid_request" {
			t.Errorf("without a challenge: got %v, want error invalid_request", back)
		}
		back = Login(t, authURL(s, Web, "one verifier of the least length 43 characters", nil), Person{Name: "alice"})
		a := ask(t, s, Web, url.Values{
			"grant_type": {"authorization_code"}, "code": back["code"], "redirect_uri": {RedirectURL},
			"code_verifier": {oauth2.GenerateVerifier()},
		})
		if a.Error != "invalid_grant" {
			t.Errorf("another verifier: got %q, want invalid_grant", a.Error)
		}
	})
}

func TestDeny(t *testing.T) {
	each(t, func(t *testing.T, s *Server) {
		back := Login(t, authURL(s, Web, oauth2.GenerateVerifier(), nil), Person{Name: "alice", Deny: true})
		if back.Get("error") != "access_denied" || back.Get("state") == "" || back.Has("code") {
			t.Errorf("got %v, want access_denied with the state", back)
		}
	})
}

func TestRevocationAndAPI(t *testing.T) {
	each(t, func(t *testing.T, s *Server) {
		a := begin(t, s, Web)
		call := func() (int, string) {
			req, err := http.NewRequest("GET", s.APIURL, nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Authorization", "Bearer "+a.Access)
			resp, err := httpClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			body, _ := io.ReadAll(resp.Body)
			return resp.StatusCode, string(body)
		}
		if status, body := call(); status != 200 || !strings.Contains(body, "sub-of-alice") {
			t.Errorf("API: got %d %s, want 200 and the subject", status, body)
		}
		s.Revoke(t, Web, a.Refresh)
		if status, _ := call(); status != 401 {
			t.Errorf("API after revocation: got %d, want 401", status)
		}
		if a := refresh(t, s, Web, a.Refresh); a.Error != "invalid_grant" {
			t.Errorf("refresh after revocation: got %q, want invalid_grant", a.Error)
		}
	})
}

func TestSwitch(t *testing.T) {
	each(t, func(t *testing.T, s *Server) {
		a := begin(t, s, Web)
		form := func(token string) url.Values {
			return url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}}
		}
		last := func() tokenswitch.Exchange {
			log := s.Token.Log()
			return log[len(log)-1]
		}

		s.Token.Set(tokenswitch.Fault{Grant: "refresh_token", Times: 1, At: tokenswitch.Request, Then: tokenswitch.Drop})
		if _, _, err := Web.post(s.TokenURL, form(a.Refresh)); err == nil {
			t.Error("a lost request had an answer")
		}
		if e := last(); !e.Committed.IsZero() || e.Spent != providertest.Fingerprint(a.Refresh) {
			t.Errorf("a lost request reached the server: %+v", e)
		}

		s.Token.Set(tokenswitch.Fault{Times: 1, At: tokenswitch.Request, Then: tokenswitch.Reply, Status: 503, Header: http.Header{"Retry-After": {"7"}}, Body: "<html>"})
		if status, body, err := Web.post(s.TokenURL, form(a.Refresh)); status != 503 || string(body) != "<html>" {
			t.Errorf("reply: got %d %q %v, want 503", status, body, err)
		}

		b := refresh(t, s, Web, a.Refresh) // the faults are used up
		if e := last(); e.Issued != providertest.Fingerprint(b.Refresh) || e.Access != providertest.Fingerprint(b.Access) || e.Answered.IsZero() {
			t.Errorf("the log does not have what was issued: %+v", e)
		}

		s.Token.Set(tokenswitch.Fault{Grant: "refresh_token", At: tokenswitch.Answer, Then: tokenswitch.Drop})
		if _, _, err := Web.post(s.TokenURL, form(b.Refresh)); err == nil {
			t.Error("a lost answer came")
		}
		if e := last(); e.Committed.IsZero() || e.Issued == "" || !e.Answered.IsZero() {
			t.Errorf("a lost answer was not committed: %+v", e)
		}

		release := make(chan struct{})
		s.Token.Set(tokenswitch.Fault{At: tokenswitch.Request, Until: release})
		done := make(chan error)
		go func() {
			_, _, err := App.post(s.TokenURL, url.Values{"grant_type": {"client_credentials"}})
			done <- err
		}()
		s.Token.Await(t, "a request", func(log []tokenswitch.Exchange) bool { return log[len(log)-1].Grant == "client_credentials" })
		if e := last(); !e.Committed.IsZero() {
			t.Error("a request that is held reached the server")
		}
		close(release)
		if err := <-done; err != nil {
			t.Errorf("a request that was held for a while: %v", err)
		}
	})
}

func TestToxic(t *testing.T) {
	s := Fosite(t, Options{})
	proxy := Toxic(t, mustParse(s.Issuer).Host)
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	get := func() error {
		resp, err := client.Get("http://" + proxy.Addr + mustParse(s.DiscoveryURL).Path)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		_, err = io.ReadAll(resp.Body)
		return err
	}
	if err := get(); err != nil {
		t.Fatalf("through a healthy proxy: %v", err)
	}
	proxy.Add(t, "limit_data", "downstream", map[string]int{"bytes": 300})
	if err := get(); err == nil {
		t.Error("an answer cut after 300 bytes was read without error")
	}
	proxy.Heal(t)
	if err := get(); err != nil {
		t.Errorf("after Heal: %v", err)
	}
	proxy.Down()
	if err := get(); err == nil {
		t.Error("a proxy that is down took a connection")
	}
	proxy.Up(t)
	if err := get(); err != nil {
		t.Errorf("after Up: %v", err)
	}
}

func TestBrowser(t *testing.T) {
	s := Fosite(t, Options{})
	ctx := Browser(t)
	var title string
	err := chromedp.Run(ctx,
		chromedp.Navigate(authURL(s, Web, oauth2.GenerateVerifier(), nil)),
		chromedp.Text("h1", &title),
	)
	if err != nil || title != "Sign in" {
		t.Errorf("login page in Chromium: got %q, %v, want %q", title, err, "Sign in")
	}
}
