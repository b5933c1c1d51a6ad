package providertest_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authprofile/authprofile"
	"github.com/authprofile/authprofile/providertest"
	"golang.org/x/oauth2"
)

// A Connector stands for the program under test: it calls an API.
type Connector struct {
	url    string
	client *http.Client
}

// NewConnector makes one that takes its tokens from src.
func NewConnector(url string, base *http.Client, src oauth2.TokenSource) *Connector {
	return &Connector{url, &http.Client{Transport: &oauth2.Transport{Base: base.Transport, Source: src}}}
}

func (c *Connector) Sync() error {
	resp, err := c.client.Get(c.url)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the API says %s", resp.Status)
	}
	return nil
}

// The test of the package documentation.
func TestConnectorRefreshesItsToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := providertest.NewServer(t, providertest.InMemory("https://login.example.com"))
		m := &authprofile.Manager{HTTPClient: srv.Client()}
		c := NewConnector(srv.APIURL(), srv.Client(), m.Source(t.Context(), &authprofile.Profile{
			Type:         authprofile.TypeApp,
			ClientID:     providertest.ClientID,
			ClientSecret: providertest.ClientSecret,
			Endpoints:    authprofile.Endpoints{DiscoveryURL: srv.DiscoveryURL()},
		}))

		for range 2 {
			if err := c.Sync(); err != nil {
				t.Error(err)
			}
			time.Sleep(2 * time.Hour)
		}
		if got := srv.Count("client_credentials"); got != 2 {
			t.Errorf("got %d token requests, want 2", got)
		}
	})
}

// A user is sent to the provider, consents, and is sent back: all without a
// browser. Then a token is refused by the API, and another takes its place.
func Example() {
	srv, err := providertest.Start() // in a test: providertest.NewServer(t)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer srv.Close()
	srv.SetConsent(providertest.Consent{Subject: "248289761001"})

	ctx := context.Background()
	m := &authprofile.Manager{RedirectURL: "https://app.example.com/callback"}
	p := &authprofile.Profile{
		Type:         authprofile.TypeUser,
		ClientID:     providertest.ClientID,
		ClientSecret: providertest.ClientSecret,
		Endpoints:    authprofile.Endpoints{DiscoveryURL: srv.DiscoveryURL()},
		Scopes:       []string{"openid", "calendar", "offline_access"},
	}
	if err := m.Save(ctx, p); err != nil {
		fmt.Println(err)
		return
	}

	flow, err := m.Begin(ctx, p, "ada")
	if err != nil {
		fmt.Println(err)
		return
	}
	callback, err := srv.Authorize(flow.URL)
	if err != nil {
		fmt.Println(err)
		return
	}
	grant, err := m.Finish(ctx, "ada", callback.Query())
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("subject:", grant.Subject)

	srv.Advance(2 * time.Hour) // the provider's clock, not ours
	resp, err := m.Client(ctx, p, authprofile.AsUser("ada")).Get(srv.APIURL())
	if err != nil {
		fmt.Println(err)
		return
	}
	resp.Body.Close()
	fmt.Println("API:", resp.Status)
	fmt.Println("refreshes:", srv.Count("refresh_token"))
	// Output:
	// subject: 248289761001
	// API: 200 OK
	// refreshes: 1
}

// The answer to a refresh is lost: the provider has replaced the refresh
// token, and the client never hears of it.
func ExampleServer_Fault() {
	srv, err := providertest.Start()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer srv.Close()

	srv.Fault(providertest.Token, providertest.Fault{Committed: true, Drop: true})
	_, err = post(srv, srv.TokenURL(), form("grant_type", "client_credentials"))
	fmt.Println("the client got an error:", err != nil)
	fmt.Println("the provider issued a token:", srv.Requests()[0].IssuedAccess != "")
	// Output:
	// the client got an error: true
	// the provider issued a token: true
}

// GitHub is played at its own addresses. It refuses with status 200.
func ExampleProvider() {
	srv, err := providertest.Start(providertest.Provider("github", "app"))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer srv.Close()

	fmt.Println(srv.TokenURL())
	resp, err := post(srv, srv.TokenURL(), form("client_id", providertest.ClientID, "client_secret", providertest.ClientSecret,
		"grant_type", "refresh_token", "refresh_token", "unknown"))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		fmt.Println(err)
		return
	}
	answer, err := url.ParseQuery(string(body))
	fmt.Println(resp.Status, answer.Get("error"), err)
	// Output:
	// https://github.com/login/oauth/access_token
	// 200 OK bad_refresh_token <nil>
}
