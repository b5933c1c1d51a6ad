package providertest_test

import (
	"crypto"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/authprofile/authprofile/providertest"
)

// request is an authorization request of the client that every Server knows.
var request = []string{"response_type", "code", "client_id", providertest.ClientID, "redirect_uri", redirect,
	"state", "the state", "scope", "openid offline_access", "code_challenge", challenge(), "code_challenge_method", "S256"}

// push pushes an authorization request, and returns its request_uri.
func push(t *testing.T, srv *providertest.Server) string {
	t.Helper()
	return sent{address: srv.PARURL(), basic: true, form: request}.to(t, srv).
		want(t, "push", 201, map[string]any{"request_uri": "*", "expires_in": 60}).text(t, "request_uri")
}

// open opens the authorization endpoint with parameters.
func open(srv *providertest.Server, pairs ...string) (code string, err error) {
	u, err := srv.Authorize(srv.AuthURL() + "?" + form(pairs...).Encode())
	if err != nil {
		return "", err
	}
	return u.Query().Get("code"), nil
}

func wantNoPush(t *testing.T, srv *providertest.Server, what, why string, pairs ...string) {
	t.Helper()
	if code, err := open(srv, pairs...); err == nil || !strings.Contains(err.Error(), why) {
		t.Errorf("%s: got code %q and error %v, want an error page that says %q", what, code, err, why)
	}
}

func TestPushedRequest(t *testing.T) {
	both(t, func(t *testing.T, srv *providertest.Server) {
		short := []string{"client_id", providertest.ClientID, "request_uri", push(t, srv)}
		code, err := open(srv, short...)
		if err != nil {
			t.Fatal(err)
		}
		sent{basic: true, form: exchange(code)}.to(t, srv).want(t, "exchange", 200, map[string]any{"refresh_token": "*"})
		wantNoPush(t, srv, "second use", "used before", short...)
		if got := srv.Hits(providertest.PAR); got != 1 {
			t.Errorf("got %d hits, want 1", got)
		}

		_, doc := get(t, srv, srv.DiscoveryURL(), "")
		if got := doc["pushed_authorization_request_endpoint"]; got != srv.PARURL() || got == "" {
			t.Errorf("got endpoint %v, want %s", got, srv.PARURL())
		}
	})
}

func TestPushedRequestIsRefused(t *testing.T) {
	srv := providertest.NewServer(t)
	srv.AddClient(providertest.Client{ID: "other", Secret: "s"})
	uri := push(t, srv)
	wantNoPush(t, srv, "another client", "another client's", "client_id", "other", "request_uri", uri)
	wantNoPush(t, srv, "with other parameters", "other parameters", "client_id", providertest.ClientID, "request_uri", uri, "state", "s")
	wantNoPush(t, srv, "without a client", "unknown client", "request_uri", uri)
	wantNoPush(t, srv, "made up", "unknown", "client_id", providertest.ClientID, "request_uri", uri+"x")
	srv.Advance(time.Minute)
	wantNoPush(t, srv, "too late", "expired", "client_id", providertest.ClientID, "request_uri", uri)

	uri = push(t, srv)
	srv.Advance(59 * time.Second)
	if code, err := open(srv, "client_id", providertest.ClientID, "request_uri", uri); err != nil || code == "" {
		t.Errorf("at the last second: got code %q and error %v, want a code", code, err)
	}

	srv.SetConsent(providertest.Consent{Error: "access_denied"})
	u, err := srv.Authorize(srv.AuthURL() + "?" + form("client_id", providertest.ClientID, "request_uri", push(t, srv)).Encode())
	if err != nil || u.Query().Get("error") != "access_denied" || u.Query().Get("state") != "the state" {
		t.Errorf("got %v and error %v, want access_denied with the state that was pushed", u, err)
	}
}

func TestPushIsRefused(t *testing.T) {
	srv := providertest.NewServer(t)
	srv.AddClient(providertest.Client{ID: "web", Secret: "s", RedirectURLs: []string{redirect}, Scopes: []string{"read"}})
	push := func(what string, r sent, status int, code string, pairs ...string) {
		t.Helper()
		v := form(request...)
		for i := 0; i < len(pairs); i += 2 {
			v.Del(pairs[i])
			if pairs[i+1] != "" {
				v.Set(pairs[i], pairs[i+1])
			}
		}
		r.address = srv.PARURL()
		for name := range v {
			r.form = append(r.form, name, v.Get(name))
		}
		r.to(t, srv).want(t, what, status, map[string]any{"error": code, "request_uri": nil})
	}
	basic := sent{basic: true}
	push("no authentication", sent{}, 401, "invalid_client")
	push("wrong secret", sent{basic: true, secret: "x"}, 401, "invalid_client")
	push("no client_id", basic, 400, "invalid_request", "client_id", "")
	push("another client_id", basic, 400, "invalid_request", "client_id", "web")
	push("a request_uri", basic, 400, "invalid_request", "request_uri", "urn:x")
	push("redirect address", sent{}, 400, "invalid_request", "client_id", "web", "client_secret", "s", "redirect_uri", redirect+"/")
	push("scope", sent{}, 400, "invalid_scope", "client_id", "web", "client_secret", "s")
	push("response type", basic, 400, "unsupported_response_type", "response_type", "token")
	push("challenge method", basic, 400, "invalid_request", "code_challenge_method", "plain")
	sent{address: srv.PARURL(), basic: true, json: request}.to(t, srv).want(t, "JSON", 400, map[string]any{"error": "invalid_request"})
	if status, _ := get(t, srv, srv.JWKSURL(), ""); status != 200 {
		t.Errorf("got status %d, want 200", status)
	}
	resp, err := srv.Client().Get(srv.PARURL())
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 405 {
		t.Errorf("GET: got status %d, want 405", resp.StatusCode)
	}
}

func TestPushWithAnAssertion(t *testing.T) {
	srv := providertest.NewServer(t)
	key := testKeys()["P-256"]
	srv.AddClient(providertest.Client{ID: "keyed", Keys: []crypto.PublicKey{key.Public()}})
	srv.AddClient(providertest.Client{ID: "public"})
	of := func(id string) []string {
		v := form(request...)
		v.Set("client_id", id)
		var pairs []string
		for name := range v {
			pairs = append(pairs, name, v.Get(name))
		}
		return pairs
	}
	pairs := asserted(assertion(t, srv, jose.ES256, key, nil, nil), of("keyed")...)
	uri := sent{address: srv.PARURL(), form: pairs}.to(t, srv).want(t, "push", 201, nil).text(t, "request_uri")
	sent{address: srv.PARURL(), form: pairs}.to(t, srv).want(t, "the same assertion", 401, map[string]any{"error": "invalid_client"})
	sent{address: srv.PARURL(), form: of("keyed")}.to(t, srv).want(t, "no assertion", 401, map[string]any{"error": "invalid_client"})
	if code, err := open(srv, "client_id", "keyed", "request_uri", uri); err != nil || code == "" {
		t.Errorf("got code %q and error %v, want a code", code, err)
	}
	sent{address: srv.PARURL(), form: of("public")}.to(t, srv).want(t, "public client", 201, nil)
}

func TestPushIsRequired(t *testing.T) {
	srv := providertest.NewServer(t)
	_, doc := get(t, srv, srv.DiscoveryURL(), "")
	if got := doc["require_pushed_authorization_requests"]; got != nil {
		t.Errorf("got require_pushed_authorization_requests %v, want none", got)
	}
	srv.SetPolicy(providertest.Policy{RequirePAR: true})
	_, doc = get(t, srv, srv.DiscoveryURL(), "")
	if got := doc["require_pushed_authorization_requests"]; got != true {
		t.Errorf("got require_pushed_authorization_requests %v, want true", got)
	}
	if q := authorize(t, srv); q.Get("error") != "invalid_request" || q.Has("code") {
		t.Errorf("got %v, want invalid_request", q)
	}
	if code, err := open(srv, "client_id", providertest.ClientID, "request_uri", push(t, srv)); err != nil || code == "" {
		t.Errorf("pushed: got code %q and error %v, want a code", code, err)
	}
}

func TestFaultsAndMutationsOfPushes(t *testing.T) {
	srv := providertest.NewServer(t)
	srv.Fault(providertest.PAR, providertest.Fault{Status: 503})
	sent{address: srv.PARURL(), basic: true, form: request}.to(t, srv).want(t, "fault", 503, nil)
	srv.Mutate(providertest.PAR, func(v map[string]any) { delete(v, "request_uri") })
	sent{address: srv.PARURL(), basic: true, form: request}.to(t, srv).want(t, "mutation", 201, map[string]any{"request_uri": nil, "expires_in": 60})
}

func TestResource(t *testing.T) {
	const a, b = "https://a.example.com/", "https://b.example.com/x"
	srv := providertest.NewServer(t)
	exchanged := func(pairs ...string) got {
		t.Helper()
		return sent{basic: true, form: append(codeForm(t, srv), pairs...)}.to(t, srv)
	}
	refreshed := func(token any, pairs ...string) got {
		t.Helper()
		return sent{basic: true, form: append(refreshForm(token), pairs...)}.to(t, srv)
	}
	about := func(g got) string {
		t.Helper()
		text, _ := json.Marshal(wantAPI(t, srv, g.at("access_token"), 200)["resource"])
		return string(text)
	}
	invalid := map[string]any{"error": "invalid_target"}

	g := exchanged("resource", a).want(t, "ignored", 200, nil)
	if got := about(g); got != "null" {
		t.Errorf("ignored: got resource %s, want none", got)
	}

	srv.SetPolicy(providertest.Policy{Resource: "required"})
	pairs := codeForm(t, srv)
	sent{basic: true, form: pairs}.to(t, srv).want(t, "exchange without", 400, invalid)
	g = sent{basic: true, form: append(pairs, "resource", a, "resource", b)}.to(t, srv).want(t, "exchange, with the same code", 200, nil)
	if got, want := about(g), `["`+a+`","`+b+`"]`; got != want {
		t.Errorf("got resource %s, want %s", got, want)
	}
	list := srv.Requests()
	if got, want := list[len(list)-1].Resource, a+" "+b; got != want {
		t.Errorf("got resource %q recorded, want %q", got, want)
	}
	refreshed(g.at("refresh_token")).want(t, "refresh without", 400, invalid)
	g = refreshed(g.at("refresh_token"), "resource", b).want(t, "refresh, with the same token", 200, nil)
	if got, want := about(g), `["`+b+`"]`; got != want {
		t.Errorf("got resource %s, want %s", got, want)
	}
	for _, resource := range []string{"", "a", "/a", a + "#f", a + "#", "https://a b"} {
		refreshed(g.at("refresh_token"), "resource", resource).want(t, resource, 400, invalid)
	}
	sent{basic: true, form: app}.to(t, srv).want(t, "client credentials", 400, invalid)

	srv.SetPolicy(providertest.Policy{Resource: "exchange"})
	exchanged().want(t, "exchange without", 200, nil)
	g = exchanged("resource", a).want(t, "exchange", 200, nil)
	refreshed(g.at("refresh_token"), "resource", a).want(t, "refresh", 400, invalid)
	g = refreshed(g.at("refresh_token")).want(t, "refresh without, with the same token", 200, nil)
	if got, want := about(g), `["`+a+`"]`; got != want {
		t.Errorf("refreshed: got resource %s, want %s", got, want)
	}
}
