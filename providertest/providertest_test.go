package providertest_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authprofile/authprofile/providertest"
)

const (
	redirect = "https://app.example.com/Callback?x=1"
	verifier = "abcdefghijklmnopqrstuvwxyz0123456789-._~ABCDEFG"
)

func challenge() string {
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// both runs a test against a Server on a socket and against one in memory.
func both(t *testing.T, f func(t *testing.T, srv *providertest.Server)) {
	t.Run("socket", func(t *testing.T) { f(t, providertest.NewServer(t)) })
	t.Run("memory", func(t *testing.T) {
		f(t, providertest.NewServer(t, providertest.InMemory("https://login.example.com/tenant")))
	})
}

// get returns the status and the JSON object at an address.
func get(t *testing.T, srv *providertest.Server, address, token string) (int, map[string]any) {
	t.Helper()
	req, err := http.NewRequest("GET", address, nil)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := srv.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	return decode(t, resp)
}

func decode(t *testing.T, resp *http.Response) (int, map[string]any) {
	t.Helper()
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	var v map[string]any
	if len(body) > 0 {
		if err := json.Unmarshal(body, &v); err != nil {
			t.Fatalf("%v in %q", err, body)
		}
	}
	return resp.StatusCode, v
}

// form makes a url.Values of pairs.
func form(pairs ...string) url.Values {
	v := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		v.Add(pairs[i], pairs[i+1])
	}
	return v
}

// post sends a form to an address, authenticated as the client that every
// Server knows if the form names none.
func post(srv *providertest.Server, address string, v url.Values) (*http.Response, error) {
	req, err := http.NewRequest("POST", address, strings.NewReader(v.Encode()))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if !v.Has("client_id") {
		req.SetBasicAuth(providertest.ClientID, providertest.ClientSecret)
	}
	return srv.Client().Do(req)
}

// token makes a token request, and returns the status and the answer.
func token(t *testing.T, srv *providertest.Server, pairs ...string) (int, map[string]any) {
	t.Helper()
	resp, err := post(srv, srv.TokenURL(), form(pairs...))
	if err != nil {
		t.Fatal(err)
	}
	return decode(t, resp)
}

// wantToken is token for requests that must succeed.
func wantToken(t *testing.T, srv *providertest.Server, pairs ...string) map[string]any {
	t.Helper()
	status, v := token(t, srv, pairs...)
	if status != 200 {
		t.Fatalf("token request %v: got status %d %v, want 200", pairs, status, v)
	}
	return v
}

// wantError is token for requests that must fail.
func wantError(t *testing.T, srv *providertest.Server, wantStatus int, want string, pairs ...string) {
	t.Helper()
	status, v := token(t, srv, pairs...)
	if status != wantStatus || v["error"] != want {
		t.Errorf("token request %v: got %d %v, want %d %s", pairs, status, v, wantStatus, want)
	}
}

func refresh(t *testing.T, srv *providertest.Server, refreshToken any) map[string]any {
	t.Helper()
	return wantToken(t, srv, "grant_type", "refresh_token", "refresh_token", refreshToken.(string))
}

func wantDead(t *testing.T, srv *providertest.Server, refreshToken any) {
	t.Helper()
	wantError(t, srv, 400, "invalid_grant", "grant_type", "refresh_token", "refresh_token", refreshToken.(string))
}

// authorize plays the browser, and returns the parameters of the callback.
func authorize(t *testing.T, srv *providertest.Server, pairs ...string) url.Values {
	t.Helper()
	q := form("response_type", "code", "client_id", providertest.ClientID, "redirect_uri", redirect,
		"state", "the state", "scope", "openid read write offline_access", "nonce", "n",
		"code_challenge", challenge(), "code_challenge_method", "S256")
	for i := 0; i < len(pairs); i += 2 {
		q.Del(pairs[i])
		if pairs[i+1] != "" {
			q.Set(pairs[i], pairs[i+1])
		}
	}
	u, err := srv.Authorize(srv.AuthURL() + "?" + q.Encode())
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(u.String(), redirect+"&") {
		t.Fatalf("got callback %s, want one at %s", u, redirect)
	}
	return u.Query()
}

// login walks the whole authorization code flow.
func login(t *testing.T, srv *providertest.Server, pairs ...string) map[string]any {
	t.Helper()
	return wantToken(t, srv, exchange(authorize(t, srv, pairs...).Get("code"))...)
}

func exchange(code string) []string {
	return []string{"grant_type", "authorization_code", "code", code, "redirect_uri", redirect, "code_verifier", verifier}
}

// wantAPI checks how the API answers to an access token.
func wantAPI(t *testing.T, srv *providertest.Server, accessToken any, want int) map[string]any {
	t.Helper()
	status, v := get(t, srv, srv.APIURL()+"/things", accessToken.(string))
	if status != want {
		t.Errorf("API: got status %d %v, want %d", status, v, want)
	}
	return v
}

func TestDocumentsNameTheServer(t *testing.T) {
	both(t, func(t *testing.T, srv *providertest.Server) {
		for _, address := range []string{srv.DiscoveryURL(), srv.OAuthDiscoveryURL()} {
			status, doc := get(t, srv, address, "")
			if status != 200 {
				t.Fatalf("%s: got status %d, want 200", address, status)
			}
			for name, want := range map[string]string{
				"issuer":                 srv.Issuer(),
				"authorization_endpoint": srv.AuthURL(),
				"token_endpoint":         srv.TokenURL(),
				"jwks_uri":               srv.JWKSURL(),
				"revocation_endpoint":    srv.RevocationURL(),
			} {
				if doc[name] != want || want == "" {
					t.Errorf("%s: got %s %v, want %q", address, name, doc[name], want)
				}
			}
		}
		if got := srv.Hits(providertest.Discovery); got != 2 {
			t.Errorf("got %d hits, want 2", got)
		}
	})
}

func TestClientCredentials(t *testing.T) {
	both(t, func(t *testing.T, srv *providertest.Server) {
		v := wantToken(t, srv, "grant_type", "client_credentials", "scope", "a b")
		if v["token_type"] != "Bearer" || v["expires_in"] != 3600.0 || v["scope"] != "a b" || v["refresh_token"] != nil {
			t.Errorf("got %v, want a bearer token for an hour", v)
		}
		who := wantAPI(t, srv, v["access_token"], 200)
		if who["client_id"] != providertest.ClientID || who["scope"] != "a b" || who["sub"] != nil {
			t.Errorf("API: got %v, want the client alone", who)
		}
		wantAPI(t, srv, "made-up", 401)

		srv.Advance(time.Hour)
		wantAPI(t, srv, v["access_token"], 401)
		if got := srv.Count("client_credentials"); got != 1 {
			t.Errorf("got %d requests, want 1", got)
		}
	})
}

func TestAuthorizationCode(t *testing.T) {
	both(t, func(t *testing.T, srv *providertest.Server) {
		srv.SetConsent(providertest.Consent{Subject: "ada"})
		q := authorize(t, srv)
		if q.Get("state") != "the state" || q.Get("iss") != srv.Issuer() {
			t.Errorf("got callback %v, want state and iss", q)
		}
		v := wantToken(t, srv, exchange(q.Get("code"))...)
		if got := wantAPI(t, srv, v["access_token"], 200)["sub"]; got != "ada" {
			t.Errorf("API: got subject %v, want ada", got)
		}
		if !srv.IsCurrent(v["refresh_token"].(string)) {
			t.Error("the refresh token is not current")
		}

		// The code is good for one use; the second ends what the first gave.
		wantError(t, srv, 400, "invalid_grant", exchange(q.Get("code"))...)
		wantAPI(t, srv, v["access_token"], 401)
		wantDead(t, srv, v["refresh_token"])
	})
}

func TestRotationDetectsReuse(t *testing.T) {
	both(t, func(t *testing.T, srv *providertest.Server) {
		first := login(t, srv)
		second := refresh(t, srv, first["refresh_token"])
		if second["refresh_token"] == first["refresh_token"] {
			t.Fatal("the refresh token was not replaced")
		}
		if old := first["refresh_token"].(string); srv.IsLive(old) || srv.IsCurrent(old) {
			t.Error("the replaced refresh token is still live")
		}
		wantAPI(t, srv, first["access_token"], 200)

		wantDead(t, srv, first["refresh_token"])
		wantDead(t, srv, second["refresh_token"])
		wantAPI(t, srv, second["access_token"], 401)
		if got := srv.Reuses(); got != 1 {
			t.Errorf("got %d reuses, want 1", got)
		}
	})
}

func TestTimePassesInABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := providertest.NewServer(t, providertest.InMemory("https://login.example.com"))
		v := wantToken(t, srv, "grant_type", "client_credentials")
		time.Sleep(time.Hour - time.Second)
		wantAPI(t, srv, v["access_token"], 200)
		time.Sleep(time.Second)
		wantAPI(t, srv, v["access_token"], 401)

		srv.Fault(providertest.Token, providertest.Fault{Hang: true})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, "POST", srv.TokenURL(), nil)
		if err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		_, err = srv.Client().Do(req)
		if err == nil || time.Since(begin) != time.Minute {
			t.Errorf("got error %v after %v, want one after a minute", err, time.Since(begin))
		}
	})
}
