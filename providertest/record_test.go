package providertest_test

import (
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/http/httptrace"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/authprofile/authprofile/providertest"
)

func TestRequestsAreRecorded(t *testing.T) {
	both(t, func(t *testing.T, srv *providertest.Server) {
		srv.SetConsent(providertest.Consent{Subject: "ada"})
		first := login(t, srv)
		second := wantToken(t, srv, "grant_type", "refresh_token", "refresh_token", first["refresh_token"].(string), "scope", "read")
		wantDead(t, srv, first["refresh_token"])

		list := srv.Requests()
		if len(list) != 3 {
			t.Fatalf("got %d requests, want 3", len(list))
		}
		old := providertest.Fingerprint(first["refresh_token"].(string))
		got := list[1]
		want := providertest.Request{
			Time: got.Time, Grant: "refresh_token", ClientID: providertest.ClientID, AuthMethod: "client_secret_basic",
			Subject: "ada", Scope: "read", Presented: old, Status: 200,
			IssuedAccess:  providertest.Fingerprint(second["access_token"].(string)),
			IssuedRefresh: providertest.Fingerprint(second["refresh_token"].(string)),
		}
		if got != want {
			t.Errorf("got record %+v, want %+v", got, want)
		}
		if list[0].IssuedRefresh != old || list[0].Grant != "authorization_code" || list[0].Reuse {
			t.Errorf("got record %+v of the code", list[0])
		}
		if !list[2].Reuse || list[2].Status != 400 || list[2].Error != "invalid_grant" || list[2].IssuedAccess != "" {
			t.Errorf("got record %+v of the reuse", list[2])
		}
		text, err := json.Marshal(list)
		if err != nil {
			t.Fatal(err)
		}
		for _, secret := range []any{first["refresh_token"], first["access_token"], second["refresh_token"], verifier} {
			if strings.Contains(string(text), secret.(string)) {
				t.Error("the record has a token in it")
			}
		}
		if srv.Count("refresh_token") != 2 || srv.Count("authorization_code") != 1 || srv.Count("") != 3 || srv.Hits(providertest.Authorization) != 1 {
			t.Errorf("got counts %d, %d, %d, %d, want 2, 1, 3, 1", srv.Count("refresh_token"),
				srv.Count("authorization_code"), srv.Count(""), srv.Hits(providertest.Authorization))
		}
	})
}

func TestRequestsAreCaptured(t *testing.T) {
	both(t, func(t *testing.T, srv *providertest.Server) {
		wantToken(t, srv, "grant_type", "client_credentials", "audience", "a b")
		get(t, srv, srv.APIURL()+"/x?q=1", "opaque")
		list := srv.Captured()
		if len(list) != 2 {
			t.Fatalf("got %d requests, want 2", len(list))
		}
		c := list[0]
		if c.Endpoint != providertest.Token || c.Method != "POST" || c.URL != srv.TokenURL() || c.Body != "audience=a+b&grant_type=client_credentials" {
			t.Errorf("got %+v, want the token request", c)
		}
		if c = list[1]; c.Endpoint != providertest.API || c.URL != srv.APIURL()+"/x?q=1" || c.Header.Get("Authorization") != "Bearer opaque" {
			t.Errorf("got %+v, want the request to the API", c)
		}
	})
}

func TestPeak(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := providertest.NewServer(t, providertest.InMemory("https://login.example.com"))
		srv.Fault(providertest.Token, providertest.Fault{Hang: true, Times: 5})
		for range 5 {
			go func() {
				if resp, err := ask(srv); err != nil {
					t.Error(err)
				} else {
					resp.Body.Close()
				}
			}()
		}
		synctest.Wait()
		srv.Release()
		synctest.Wait()
		wantToken(t, srv, "grant_type", "client_credentials")
		if got := srv.Peak(providertest.Token); got != 5 {
			t.Errorf("got %d at once, want 5", got)
		}
	})
}

func TestUserInfoWantsOpenID(t *testing.T) {
	srv := providertest.NewServer(t)
	_, doc := get(t, srv, srv.DiscoveryURL(), "")
	address := doc["userinfo_endpoint"].(string)
	if status, v := get(t, srv, address, login(t, srv)["access_token"].(string)); status != 200 || v["sub"] != "user" {
		t.Errorf("got %d %v, want the subject", status, v)
	}
	if status, _ := get(t, srv, address, login(t, srv, "scope", "read")["access_token"].(string)); status != 401 {
		t.Errorf("without openid: got status %d, want 401", status)
	}
	if got := srv.Hits(providertest.UserInfo); got != 2 {
		t.Errorf("got %d hits, want 2", got)
	}
}

func TestTransportKnowsItsHosts(t *testing.T) {
	srv := providertest.NewServer(t, providertest.Google())
	_, err := srv.Client().Get("https://login.example.com/")
	if dns, ok := errors.AsType[*net.DNSError](err); !ok || !dns.IsNotFound {
		t.Errorf("unknown host: got %v, want a DNS error", err)
	}
	for _, address := range []string{"https://oauth2.googleapis.com/", "https://accounts.google.com/token"} {
		resp, err := srv.Client().Get(address)
		if err != nil {
			t.Fatal(err)
		}
		if resp.Body.Close(); resp.StatusCode != 404 {
			t.Errorf("%s: got status %d, want 404", address, resp.StatusCode)
		}
	}
}

func TestTransportOfAListeningServer(t *testing.T) {
	srv := providertest.NewServer(t)
	c := &http.Client{Transport: srv.Transport()}
	var wrote bool
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
		WroteRequest: func(httptrace.WroteRequestInfo) { wrote = true },
	})
	req, err := http.NewRequestWithContext(ctx, "GET", srv.DiscoveryURL(), nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if status, doc := decode(t, resp); status != 200 || doc["issuer"] != srv.Issuer() || !wrote {
		t.Errorf("got %d %v, told that it was sent: %v", status, doc, wrote)
	}
}

func TestOptionsThatCannotBe(t *testing.T) {
	for name, o := range map[string]providertest.Option{
		"issuer":   providertest.InMemory("login.example.com"),
		"document": providertest.WithDiscovery("https://login.example.com/d", "<html>"),
		"address":  providertest.WithDiscovery("https://login example.com/d", "{}"),
	} {
		if srv, err := providertest.Start(o); err == nil {
			srv.Close()
			t.Errorf("%s: got no error", name)
		}
	}
}
