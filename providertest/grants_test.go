package providertest_test

import (
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/authprofile/authprofile/providertest"
)

func TestCodeIsRefused(t *testing.T) {
	srv := providertest.NewServer(t)
	srv.AddClient(providertest.Client{ID: "other", Secret: "s"})
	for name, change := range map[string]func(code string) []string{
		"wrong verifier": func(code string) []string {
			return []string{"grant_type", "authorization_code", "code", code, "redirect_uri", redirect, "code_verifier", strings.ToUpper(verifier)}
		},
		"no verifier": func(code string) []string {
			return []string{"grant_type", "authorization_code", "code", code, "redirect_uri", redirect}
		},
		"other redirect address": func(code string) []string {
			return []string{"grant_type", "authorization_code", "code", code, "redirect_uri", strings.ToLower(redirect), "code_verifier", verifier}
		},
		"no redirect address": func(code string) []string {
			return []string{"grant_type", "authorization_code", "code", code, "code_verifier", verifier}
		},
		"other client": func(code string) []string {
			return append(exchange(code), "client_id", "other", "client_secret", "s")
		},
		"too late": func(code string) []string {
			srv.Advance(time.Minute)
			return exchange(code)
		},
		"made up": func(code string) []string { return exchange(code + "x") },
	} {
		t.Run(name, func(t *testing.T) {
			wantError(t, srv, 400, "invalid_grant", change(authorize(t, srv).Get("code"))...)
		})
	}

	// RFC 9700, section 2.1.1: a verifier for a code that was requested
	// without a challenge shows that an attacker has removed the challenge.
	code := authorize(t, srv, "code_challenge", "", "code_challenge_method", "").Get("code")
	wantError(t, srv, 400, "invalid_grant", exchange(code)...)
	code = authorize(t, srv, "code_challenge", "", "code_challenge_method", "").Get("code")
	wantToken(t, srv, "grant_type", "authorization_code", "code", code, "redirect_uri", redirect)
}

func TestAuthorizationIsRefused(t *testing.T) {
	srv := providertest.NewServer(t)
	srv.AddClient(providertest.Client{ID: "web", Secret: "s", RedirectURLs: []string{redirect}, Scopes: []string{"read"}})
	srv.AddClient(providertest.Client{ID: "spa", RedirectURLs: []string{redirect}})

	// A browser is not sent to an address that is not the client's.
	for _, v := range []url.Values{
		form("client_id", "unknown", "redirect_uri", redirect),
		form("client_id", "web", "redirect_uri", redirect+"/"),
		form("client_id", "web", "redirect_uri", strings.ToLower(redirect)),
		form("client_id", providertest.ClientID, "redirect_uri", redirect+"#f"),
		form("client_id", providertest.ClientID, "redirect_uri", "/callback"),
		form("client_id", providertest.ClientID),
		form("client_id", "web", "redirect_uri", redirect, "state", "1", "state", "2"),
	} {
		v.Set("response_type", "code")
		if u, err := srv.Authorize(srv.AuthURL() + "?" + v.Encode()); err == nil {
			t.Errorf("%v: sent to %v, want an error page", v, u)
		}
	}

	for _, test := range []struct {
		want  string
		pairs []string
	}{
		{"unsupported_response_type", []string{"response_type", "token"}},
		{"invalid_request", []string{"code_challenge_method", "plain"}},
		{"invalid_request", []string{"code_challenge_method", ""}},
		{"invalid_request", []string{"code_challenge", "short"}},
		{"invalid_scope", []string{"client_id", "web", "scope", "read write"}},
		{"invalid_request", []string{"client_id", "spa", "code_challenge", "", "code_challenge_method", ""}},
	} {
		q := authorize(t, srv, test.pairs...)
		if q.Get("error") != test.want || q.Has("code") || q.Get("state") != "the state" {
			t.Errorf("%v: got %v, want error %s", test.pairs, q, test.want)
		}
	}

	srv.SetPolicy(providertest.Policy{RequirePKCE: true})
	if q := authorize(t, srv, "code_challenge", "", "code_challenge_method", ""); q.Get("error") != "invalid_request" {
		t.Errorf("without PKCE: got %v, want an error", q)
	}
}

func TestConsent(t *testing.T) {
	srv := providertest.NewServer(t)
	srv.SetConsent(providertest.Consent{Error: "access_denied", Description: "No & no."})
	q := authorize(t, srv)
	if q.Get("error") != "access_denied" || q.Get("error_description") != "No & no." || q.Has("code") || q.Get("state") != "the state" {
		t.Errorf("got %v, want access_denied", q)
	}

	srv.SetConsent(providertest.Consent{Scopes: []string{"read"}})
	if v := login(t, srv); v["scope"] != "read" || v["id_token"] != nil {
		t.Errorf("got %v, want only the scope read", v)
	}

	srv.SetConsent(providertest.Consent{Params: url.Values{"iss": {"https://evil.example.com"}, "state": nil, "realmId": {"7"}}})
	q = authorize(t, srv)
	if q.Get("iss") != "https://evil.example.com" || q.Has("state") || q.Get("realmId") != "7" || !q.Has("code") {
		t.Errorf("got %v, want the parameters replaced", q)
	}
}

func TestClientAuthentication(t *testing.T) {
	const id, secret = "a client: 100%+", "päss:w+rd %41 &="
	srv := providertest.NewServer(t)
	srv.AddClient(providertest.Client{ID: id, Secret: secret})
	srv.AddClient(providertest.Client{ID: "basic", Secret: "s", AuthMethods: []string{"client_secret_basic"}})
	srv.AddClient(providertest.Client{ID: "post", Secret: "s", AuthMethods: []string{"client_secret_post"}})
	srv.AddClient(providertest.Client{ID: "raw", Secret: "100%+", AuthMethods: []string{"client_secret_basic_raw"}})
	srv.AddClient(providertest.Client{ID: "public"})
	srv.AddClient(providertest.Client{ID: "users", Secret: "s", Grants: []string{"authorization_code"}})

	for _, test := range []struct {
		name             string
		user, password   string // of Basic
		pairs            []string
		query            string
		status           int
		wantErr, wantLog string
	}{
		{name: "basic, encoded", user: url.QueryEscape(id), password: url.QueryEscape(secret), status: 200, wantLog: "client_secret_basic"},
		{name: "basic, not encoded", user: id, password: secret, status: 401, wantErr: "invalid_client", wantLog: "client_secret_basic"},
		{name: "basic, and the ID in the body", user: "basic", password: "s", pairs: []string{"client_id", "basic"}, status: 200, wantLog: "client_secret_basic"},
		{name: "basic, and another ID", user: "basic", password: "s", pairs: []string{"client_id", "post"}, status: 400, wantErr: "invalid_request"},
		{name: "basic for post", user: "post", password: "s", status: 401, wantErr: "invalid_client", wantLog: "client_secret_basic"},
		{name: "raw", user: "raw", password: "100%+", status: 200, wantLog: "client_secret_basic"},
		{name: "raw, encoded", user: "raw", password: url.QueryEscape("100%+"), status: 401, wantErr: "invalid_client", wantLog: "client_secret_basic"},
		{name: "post", pairs: []string{"client_id", id, "client_secret", secret}, status: 200, wantLog: "client_secret_post"},
		{name: "post for basic", pairs: []string{"client_id", "basic", "client_secret", "s"}, status: 401, wantErr: "invalid_client", wantLog: "client_secret_post"},
		{name: "both", user: "basic", password: "s", pairs: []string{"client_id", "basic", "client_secret", "s"}, status: 400, wantErr: "invalid_request"},
		{name: "in the address", pairs: []string{"client_id", "post"}, query: "?client_secret=s", status: 400, wantErr: "invalid_request"},
		{name: "wrong secret", user: "basic", password: "x", status: 401, wantErr: "invalid_client", wantLog: "client_secret_basic"},
		{name: "no secret", pairs: []string{"client_id", "post"}, status: 401, wantErr: "invalid_client", wantLog: "none"},
		{name: "unknown", pairs: []string{"client_id", "x", "client_secret", "s"}, status: 401, wantErr: "invalid_client", wantLog: "client_secret_post"},
		{name: "public", pairs: []string{"client_id", "public"}, status: 400, wantErr: "unauthorized_client", wantLog: "none"},
		{name: "public, empty header", user: "public", status: 401, wantErr: "invalid_client", wantLog: "client_secret_basic"},
		{name: "grant not allowed", user: "users", password: "s", status: 400, wantErr: "unauthorized_client", wantLog: "client_secret_basic"},
	} {
		t.Run(test.name, func(t *testing.T) {
			v := form(append([]string{"grant_type", "client_credentials"}, test.pairs...)...)
			req, err := http.NewRequest("POST", srv.TokenURL()+test.query, strings.NewReader(v.Encode()))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			if test.user != "" {
				req.SetBasicAuth(test.user, test.password)
			}
			resp, err := srv.Client().Do(req)
			if err != nil {
				t.Fatal(err)
			}
			challenge := resp.Header.Get("WWW-Authenticate")
			status, answer := decode(t, resp)
			if got, _ := answer["error"].(string); status != test.status || got != test.wantErr {
				t.Errorf("got %d %v, want %d %q", status, answer, test.status, test.wantErr)
			}
			if want := test.status == 401 && test.user != ""; (challenge != "") != want {
				t.Errorf("got WWW-Authenticate %q, want one: %v", challenge, want)
			}
			list := srv.Requests()
			last := list[len(list)-1]
			if last.AuthMethod != test.wantLog || last.Status != test.status || last.Error != test.wantErr {
				t.Errorf("got record %+v, want %q, %d, %q", last, test.wantLog, test.status, test.wantErr)
			}
		})
	}

	srv.SetClientSecret("basic", "new")
	wantError(t, srv, 401, "invalid_client", "grant_type", "client_credentials", "client_id", "basic", "client_secret", "new")
	srv.SetClientSecret("post", "new")
	wantToken(t, srv, "grant_type", "client_credentials", "client_id", "post", "client_secret", "new")
	srv.RemoveClient("post")
	wantError(t, srv, 401, "invalid_client", "grant_type", "client_credentials", "client_id", "post", "client_secret", "new")

	srv.AddClient(providertest.Client{ID: "reader", Secret: "s", Scopes: []string{"read"}})
	wantToken(t, srv, "grant_type", "client_credentials", "client_id", "reader", "client_secret", "s", "scope", "read")
	wantError(t, srv, 400, "invalid_scope", "grant_type", "client_credentials", "client_id", "reader", "client_secret", "s", "scope", "read write")
}

func TestMalformedTokenRequests(t *testing.T) {
	srv := providertest.NewServer(t)
	wantError(t, srv, 400, "invalid_request", "scope", "a")
	wantError(t, srv, 400, "unsupported_grant_type", "grant_type", "password")
	wantError(t, srv, 400, "invalid_request", "grant_type", "client_credentials", "scope", "a", "scope", "b")
	wantToken(t, srv, "grant_type", "client_credentials", "resource", "https://a", "resource", "https://b")

	for _, kind := range []string{"application/json", ""} {
		req, err := http.NewRequest("POST", srv.TokenURL(), strings.NewReader("grant_type=client_credentials"))
		if err != nil {
			t.Fatal(err)
		}
		req.SetBasicAuth(providertest.ClientID, providertest.ClientSecret)
		req.Header.Set("Content-Type", kind)
		resp, err := srv.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if status, v := decode(t, resp); status != 400 || v["error"] != "invalid_request" {
			t.Errorf("content type %q: got %d %v, want invalid_request", kind, status, v)
		}
	}

	resp, err := srv.Client().Get(srv.TokenURL())
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 405 {
		t.Errorf("GET: got status %d, want 405", resp.StatusCode)
	}
}

func TestRotationWithGrace(t *testing.T) {
	srv := providertest.NewServer(t)
	srv.SetPolicy(providertest.Policy{Rotation: providertest.RotateGrace, Grace: 10 * time.Second})
	first := login(t, srv)
	second := refresh(t, srv, first["refresh_token"])
	srv.Advance(9 * time.Second)
	third := refresh(t, srv, first["refresh_token"])
	if !srv.IsLive(second["refresh_token"].(string)) || srv.IsCurrent(second["refresh_token"].(string)) {
		t.Error("the successor that was not used must be live, and no longer current")
	}
	if !srv.IsCurrent(third["refresh_token"].(string)) {
		t.Error("the last successor must be current")
	}
	// The period does not begin anew with each use.
	srv.Advance(2 * time.Second)
	wantDead(t, srv, first["refresh_token"])
	wantDead(t, srv, third["refresh_token"])
	wantAPI(t, srv, third["access_token"], 401)
	if got := srv.Reuses(); got != 2 {
		t.Errorf("got %d reuses, want 2", got)
	}
}

func TestRotationsWithoutDetection(t *testing.T) {
	srv := providertest.NewServer(t)
	srv.SetPolicy(providertest.Policy{Rotation: providertest.RotateRefuse})
	first := login(t, srv)
	second := refresh(t, srv, first["refresh_token"])
	wantDead(t, srv, first["refresh_token"])
	refresh(t, srv, second["refresh_token"])

	srv.SetPolicy(providertest.Policy{Rotation: providertest.RotateKeep})
	first = login(t, srv)
	second = refresh(t, srv, first["refresh_token"])
	if second["refresh_token"] == first["refresh_token"] {
		t.Error("the refresh token was not replaced")
	}
	refresh(t, srv, first["refresh_token"])
	refresh(t, srv, second["refresh_token"])

	srv.SetPolicy(providertest.Policy{Rotation: providertest.RotateNever})
	first = login(t, srv)
	if v := refresh(t, srv, first["refresh_token"]); v["refresh_token"] != nil {
		t.Errorf("got %v, want no refresh token", v)
	}
	if !srv.IsCurrent(first["refresh_token"].(string)) {
		t.Error("the refresh token is no longer current")
	}
}

func TestOfManyRefreshesOneSucceeds(t *testing.T) {
	both(t, func(t *testing.T, srv *providertest.Server) {
		v := form("grant_type", "refresh_token", "refresh_token", login(t, srv)["refresh_token"].(string))
		var good, bad atomic.Int32
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				resp, err := post(srv, srv.TokenURL(), v)
				if err != nil {
					t.Error(err)
					return
				}
				resp.Body.Close()
				if resp.StatusCode == 200 {
					good.Add(1)
				} else {
					bad.Add(1)
				}
			})
		}
		wg.Wait()
		if good.Load() != 1 || bad.Load() != 7 || srv.Reuses() != 7 || srv.Count("refresh_token") != 8 {
			t.Errorf("got %d good, %d bad, %d reuses, %d requests, want 1, 7, 7, 8", good.Load(), bad.Load(), srv.Reuses(), srv.Count("refresh_token"))
		}
	})
}

func TestRefreshScopes(t *testing.T) {
	srv := providertest.NewServer(t)
	first := login(t, srv)
	narrow := wantToken(t, srv, "grant_type", "refresh_token", "refresh_token", first["refresh_token"].(string), "scope", "read")
	if narrow["scope"] != "read" {
		t.Errorf("got scope %v, want read", narrow["scope"])
	}
	wantError(t, srv, 400, "invalid_scope", "grant_type", "refresh_token", "refresh_token", narrow["refresh_token"].(string), "scope", "read admin")
	// The refresh token was not spent by that, and still has the whole scope.
	whole := refresh(t, srv, narrow["refresh_token"])
	if whole["scope"] != "openid read write offline_access" {
		t.Errorf("got scope %v, want the whole", whole["scope"])
	}

	srv.SetPolicy(providertest.Policy{NarrowOnRefresh: true})
	if v := refresh(t, srv, whole["refresh_token"]); v["scope"] != "openid" {
		t.Errorf("got scope %v, want openid alone", v["scope"])
	}
}

func TestLifetimes(t *testing.T) {
	srv := providertest.NewServer(t)
	srv.SetPolicy(providertest.Policy{
		TokenLifetime:      5 * time.Second,
		CodeLifetime:       time.Second,
		RefreshLifetime:    time.Hour,
		EndAccessOnRefresh: true,
		NoIDTokenOnRefresh: true,
	})
	code := authorize(t, srv).Get("code")
	srv.Advance(time.Second)
	wantError(t, srv, 400, "invalid_grant", exchange(code)...)

	first := login(t, srv)
	if first["expires_in"] != 5.0 {
		t.Errorf("got expires_in %v, want 5", first["expires_in"])
	}
	second := refresh(t, srv, first["refresh_token"])
	if second["id_token"] != nil {
		t.Error("got an ID token on refresh, want none")
	}
	wantAPI(t, srv, first["access_token"], 401)
	wantAPI(t, srv, second["access_token"], 200)
	srv.Advance(5 * time.Second)
	wantAPI(t, srv, second["access_token"], 401)
	srv.Advance(time.Hour)
	if srv.IsLive(second["refresh_token"].(string)) {
		t.Error("the refresh token has not ended")
	}
	wantDead(t, srv, second["refresh_token"])
}

func TestRevocation(t *testing.T) {
	srv := providertest.NewServer(t)
	srv.AddClient(providertest.Client{ID: "other", Secret: "s"})
	revoke := func(want int, pairs ...string) {
		t.Helper()
		resp, err := post(srv, srv.RevocationURL(), form(pairs...))
		if err != nil {
			t.Fatal(err)
		}
		if status, v := decode(t, resp); status != want {
			t.Errorf("revocation: got %d %v, want %d", status, v, want)
		}
	}
	v := login(t, srv)
	access, refreshToken := v["access_token"].(string), v["refresh_token"].(string)
	revoke(200, "token", "unknown")
	revoke(400, "token", refreshToken, "client_id", "other", "client_secret", "s")
	revoke(401, "token", refreshToken, "client_id", "other", "client_secret", "wrong")
	revoke(400)
	wantAPI(t, srv, access, 200)

	revoke(200, "token", access)
	wantAPI(t, srv, access, 401)
	v = refresh(t, srv, refreshToken)
	revoke(200, "token", v["refresh_token"].(string))
	wantAPI(t, srv, v["access_token"], 401)
	wantDead(t, srv, v["refresh_token"])

	srv.SetPolicy(providertest.Policy{RevokeEndsGrant: true})
	v = login(t, srv)
	revoke(200, "token", v["access_token"].(string))
	wantDead(t, srv, v["refresh_token"])

	srv.SetPolicy(providertest.Policy{RevokeRefusesEnded: true})
	v = login(t, srv)
	revoke(400, "token", "unknown")
	revoke(200, "token", v["refresh_token"].(string))
	revoke(400, "token", v["refresh_token"].(string))
	revoke(400, "token", v["access_token"].(string))

	srv.SetPolicy(providertest.Policy{RevokeRefreshOnly: true})
	v = login(t, srv)
	revoke(400, "token", v["access_token"].(string))
	wantAPI(t, srv, v["access_token"], 200)
	revoke(200, "token", v["refresh_token"].(string))
	revoke(400, "token", v["access_token"].(string))
	wantAPI(t, srv, v["access_token"], 401)

	// What a test does itself.
	srv.SetPolicy(providertest.Policy{})
	v = login(t, srv)
	if !srv.Revoke(v["refresh_token"].(string)) || srv.Revoke(v["refresh_token"].(string)) || srv.Revoke("unknown") {
		t.Error("Revoke: got the wrong report")
	}
	wantAPI(t, srv, v["access_token"], 401)
	v = login(t, srv)
	if got := srv.RevokeUser("user"); got != 1 {
		t.Errorf("RevokeUser: got %d, want 1", got)
	}
	wantDead(t, srv, v["refresh_token"])
}

// A refresh token is issued if the client asks for it, unless a policy says
// otherwise.
func TestRefreshTokenThatIsAskedFor(t *testing.T) {
	for _, test := range []struct {
		name    string
		policy  providertest.Policy
		scope   string
		granted []string // nil: what was asked
		want    bool
	}{
		{"asked for", providertest.Policy{}, "openid offline_access", nil, true},
		{"not asked for", providertest.Policy{}, "openid", nil, false},
		{"no scope at all", providertest.Policy{}, "", nil, false},
		{"not granted", providertest.Policy{}, "openid offline_access", []string{"openid"}, false},
		{"not asked for, and given", providertest.Policy{Offline: providertest.OfflineAlways}, "openid", nil, true},
		{"asked for in another way", providertest.Policy{Offline: providertest.OfflineAccess}, "openid offline_access", nil, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			srv := providertest.NewServer(t)
			srv.SetPolicy(test.policy)
			srv.SetConsent(providertest.Consent{Scopes: test.granted})
			v := login(t, srv, "scope", test.scope)
			if got := v["refresh_token"] != nil; got != test.want {
				t.Errorf("got a refresh token: %v, want %v", got, test.want)
			}
		})
	}
}

func TestGoogle(t *testing.T) {
	srv := providertest.NewServer(t, providertest.Google())
	status, doc := get(t, srv, "https://accounts.google.com/.well-known/openid-configuration", "")
	if status != 200 || doc["issuer"] != "https://accounts.google.com" || srv.TokenURL() != "https://oauth2.googleapis.com/token" {
		t.Fatalf("got %d %v", status, doc)
	}
	if q := authorize(t, srv); q.Has("iss") {
		t.Errorf("got %v, want no iss, which the document does not announce", q)
	}
	srv.RevokeUser("user") // forget that consent

	for i, test := range []struct {
		pairs []string
		want  bool
	}{
		{[]string{"access_type", "offline"}, true}, // the first consent
		{[]string{"access_type", "offline"}, false},
		{nil, false},
		{[]string{"prompt", "consent"}, false},
		{[]string{"access_type", "offline", "prompt", "consent"}, true},
	} {
		v := login(t, srv, test.pairs...)
		if got := v["refresh_token"] != nil; got != test.want {
			t.Errorf("%d: %v: got a refresh token: %v, want %v", i, test.pairs, got, test.want)
		}
		if test.want {
			if v := refresh(t, srv, v["refresh_token"]); v["refresh_token"] != nil {
				t.Error("the refresh token was replaced")
			}
		}
	}
}

func TestMicrosoft(t *testing.T) {
	const guid = "72f988bf-86f1-41af-91ab-2d7cd011db47"
	for _, test := range []struct{ tenant, base, issuer, tid string }{
		{"common", "https://login.microsoftonline.com/common", "{tenantid}", ""},
		{"organizations", "https://login.microsoftonline.com/organizations", "{tenantid}", ""},
		{"consumers", "https://login.microsoftonline.com/consumers", "9188040d-6c67-4c5b-b112-36a304b66dad", "9188040d-6c67-4c5b-b112-36a304b66dad"},
		{guid, "https://login.microsoftonline.com/" + guid, guid, guid},
		{"login.microsoftonline.us/contoso.com", "https://login.microsoftonline.us/contoso.com", "", ""},
	} {
		t.Run(strings.ReplaceAll(test.tenant, "/", " "), func(t *testing.T) {
			srv := providertest.NewServer(t, providertest.Microsoft(test.tenant))
			_, doc := get(t, srv, test.base+"/v2.0/.well-known/openid-configuration", "")
			if got, want := doc["token_endpoint"], test.base+"/oauth2/v2.0/token"; got != want || srv.TokenURL() != want {
				t.Errorf("got token endpoint %v, want %v", got, want)
			}
			issuer, _ := doc["issuer"].(string)
			if host, _, _ := strings.Cut(strings.TrimPrefix(test.base, "https://"), "/"); !strings.HasPrefix(issuer, "https://"+host+"/"+test.issuer) {
				t.Errorf("got issuer %s, want %s there", issuer, test.issuer)
			}
			if srv.RevocationURL() != "" || doc["code_challenge_methods_supported"] != nil {
				t.Error("the document lists what Microsoft's does not")
			}

			if v := login(t, srv, "scope", "openid read"); v["refresh_token"] != nil {
				t.Error("got a refresh token without offline_access")
			}
			v := login(t, srv, "scope", "openid offline_access https://graph.microsoft.com/User.Read")
			_, claims := verify(t, srv, v["id_token"].(string))
			tid, _ := claims["tid"].(string)
			if test.tid != "" && tid != test.tid || len(tid) != 36 {
				t.Errorf("got tid %q, want %q", tid, test.tid)
			}
			if want := strings.ReplaceAll(issuer, "{tenantid}", tid); claims["iss"] != want {
				t.Errorf("got iss %v, want %v", claims["iss"], want)
			}
			srv.SetConsent(providertest.Consent{Claims: map[string]any{"tid": "f0000000-0000-0000-0000-000000000001"}})
			_, claims = verify(t, srv, login(t, srv)["id_token"].(string))
			if want := strings.ReplaceAll(issuer, "{tenantid}", "f0000000-0000-0000-0000-000000000001"); claims["iss"] != want {
				t.Errorf("another tenant's user: got iss %v, want %v", claims["iss"], want)
			}
			next := refresh(t, srv, v["refresh_token"])
			if next["refresh_token"] == v["refresh_token"] || next["scope"] != "openid" {
				t.Errorf("got %v, want a new refresh token and a narrower scope", next)
			}
			refresh(t, srv, v["refresh_token"])
		})
	}
}
