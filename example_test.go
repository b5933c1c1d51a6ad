package authprofile_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"os"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"github.com/authprofile/authprofile"
	"github.com/authprofile/authprofile/providertest"
)

// provider returns a fake provider, for the examples to talk to, and a
// user profile that is known there.
func provider() (*providertest.Server, *authprofile.Profile) {
	srv, err := providertest.Start()
	if err != nil {
		log.Fatal(err)
	}
	srv.SetSigning(providertest.ES256) // its keys are made more quickly
	return srv, &authprofile.Profile{
		ID:           "crm",
		Type:         authprofile.TypeUser,
		ClientID:     providertest.ClientID,
		ClientSecret: providertest.ClientSecret,
		Endpoints:    authprofile.Endpoints{DiscoveryURL: srv.DiscoveryURL()},
		Scopes:       []string{"openid", "contacts.read", "offline_access"},
	}
}

// connect takes a user through an authorization, with a provider that consents
// at once in place of a browser and a person.
func connect(ctx context.Context, m *authprofile.Manager, srv *providertest.Server, p *authprofile.Profile, user string) {
	flow, err := m.Begin(ctx, p, user)
	if err != nil {
		log.Fatal(err)
	}
	callback, err := srv.Authorize(flow.URL)
	if err != nil {
		log.Fatal(err)
	}
	if _, err := m.Finish(ctx, user, callback.Query()); err != nil {
		log.Fatal(err)
	}
}

// elsewhere returns a refresh token that ada was issued without this package.
func elsewhere(ctx context.Context, srv *providertest.Server, p *authprofile.Profile) string {
	conf := &oauth2.Config{
		ClientID:     p.ClientID,
		ClientSecret: string(p.ClientSecret),
		Endpoint:     oauth2.Endpoint{AuthURL: srv.AuthURL(), TokenURL: srv.TokenURL(), AuthStyle: oauth2.AuthStyleInHeader},
		RedirectURL:  "https://app.example.com/oauth/callback",
		Scopes:       p.Scopes,
	}
	verifier := oauth2.GenerateVerifier()
	callback, err := srv.Authorize(conf.AuthCodeURL("some state", oauth2.S256ChallengeOption(verifier)))
	if err != nil {
		log.Fatal(err)
	}
	tok, err := conf.Exchange(ctx, callback.Query().Get("code"), oauth2.VerifierOption(verifier))
	if err != nil {
		log.Fatal(err)
	}
	return tok.RefreshToken
}

// An application that acts for itself needs a profile, a source and a token.
func Example() {
	srv, _ := provider()
	defer srv.Close()

	src := authprofile.Source(context.Background(), &authprofile.Profile{
		Type:         authprofile.TypeApp,
		ClientID:     providertest.ClientID,
		ClientSecret: providertest.ClientSecret,
		Endpoints:    authprofile.Endpoints{TokenURL: srv.TokenURL()},
	})
	for range 1000 {
		if _, err := src.Token(); err != nil {
			log.Fatal(err)
		}
	}
	fmt.Println("token requests:", srv.Count("client_credentials"))
	// Output:
	// token requests: 1
}

// At each start of each replica the configuration is applied: what has not
// changed is not saved again, so that authorizations in progress go on.
func ExampleManager_Save() {
	ctx := context.Background()
	var m authprofile.Manager
	apply := func(secret authprofile.Secret) error {
		p, err := m.Profile(ctx, "reports")
		if errors.Is(err, authprofile.ErrNotFound) {
			p, err = &authprofile.Profile{ID: "reports"}, nil
		}
		if err != nil {
			return err
		}
		p.Type = authprofile.TypeApp
		p.ClientID = "reports"
		p.ClientSecret = secret
		p.Endpoints = authprofile.Endpoints{TokenURL: "https://auth.example.com/token"}
		if !p.Unsaved() {
			return nil
		}
		fmt.Println("saving")
		return m.Save(ctx, p) // ErrConflict: another replica has just done so
	}
	for _, secret := range []authprofile.Secret{"old secret", "old secret", "new secret"} {
		if err := apply(secret); err != nil {
			log.Fatal(err)
		}
	}
	// Output:
	// saving
	// saving
}

// A source is an oauth2.TokenSource like any other. One of a profile that was
// saved takes up a new secret at the next renewal.
func ExampleManager_Source() {
	srv, _ := provider()
	defer srv.Close()
	ctx := context.Background()

	var m authprofile.Manager
	reports := &authprofile.Profile{
		ID:           "reports",
		Type:         authprofile.TypeApp,
		ClientID:     providertest.ClientID,
		ClientSecret: providertest.ClientSecret,
		Endpoints:    authprofile.Endpoints{DiscoveryURL: srv.DiscoveryURL()},
		Scopes:       []string{"reports.read"},
	}
	if err := m.Save(ctx, reports); err != nil {
		log.Fatal(err)
	}

	var src oauth2.TokenSource = m.Source(ctx, reports)
	tok, err := src.Token()
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(tok.Type(), tok.Valid())
	// Output:
	// Bearer true
}

// A person is sent to the provider once. Web programs use RedirectHandler for
// it; this is what happens underneath.
func ExampleManager_Begin() {
	srv, crm := provider()
	defer srv.Close()
	ctx := context.Background()

	m := &authprofile.Manager{RedirectURL: "https://app.example.com/oauth/callback"}
	if err := m.Save(ctx, crm); err != nil {
		log.Fatal(err)
	}

	_, err := m.Token(ctx, crm, authprofile.AsUser("ada"))
	fmt.Println("before:", errors.Is(err, authprofile.ErrReauthorize))

	flow, err := m.Begin(ctx, crm, "ada")
	if err != nil {
		log.Fatal(err)
	}
	// Send the browser to flow.URL. It comes back to the redirect address,
	// with a query:
	callback, err := srv.Authorize(flow.URL)
	if err != nil {
		log.Fatal(err)
	}
	grant, err := m.Finish(ctx, "ada", callback.Query())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("granted:", grant.Scopes)

	// From now on without ada, for as long as the provider allows.
	tok, err := m.Token(ctx, crm, authprofile.AsUser("ada"))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("after:", tok.Valid())
	// Output:
	// before: true
	// granted: [openid contacts.read offline_access]
	// after: true
}

// What can go wrong when a person comes back.
func ExampleManager_Finish() {
	srv, crm := provider()
	defer srv.Close()
	ctx := context.Background()
	m := &authprofile.Manager{RedirectURL: "https://app.example.com/oauth/callback"}
	if err := m.Save(ctx, crm); err != nil {
		log.Fatal(err)
	}
	flow, err := m.Begin(ctx, crm, "ada")
	if err != nil {
		log.Fatal(err)
	}
	srv.SetConsent(providertest.Consent{Error: "access_denied"})
	callback, err := srv.Authorize(flow.URL)
	if err != nil {
		log.Fatal(err)
	}

	_, err = m.Finish(ctx, "ada", callback.Query())
	var refused *oauth2.RetrieveError
	switch {
	case errors.As(err, &refused) && refused.ErrorCode == "access_denied":
		fmt.Println("ada has said no")
	case errors.Is(err, authprofile.ErrUserMismatch):
		fmt.Println("another user has come back, or with another account")
	case errors.Is(err, authprofile.ErrNotFound):
		fmt.Println("too late, or for the second time")
	}
	// Output:
	// ada has said no
}

// A web program needs two addresses: one to begin at, and one to come back to.
func ExampleRedirectHandler() {
	srv, crm := provider()
	defer srv.Close()
	ctx := context.Background()

	mux := http.NewServeMux()
	app := httptest.NewServer(mux)
	defer app.Close()

	m := &authprofile.Manager{RedirectURL: app.URL + "/oauth/{profile}"}
	if err := m.Save(ctx, crm); err != nil {
		log.Fatal(err)
	}
	h := &authprofile.RedirectHandler{
		Manager: m,
		User: func(r *http.Request) (string, error) {
			return "ada", nil // from the application's own session
		},
		Done: func(w http.ResponseWriter, r *http.Request, g *authprofile.Grant) {
			fmt.Fprintf(w, "%s is connected to %s", g.User, g.ProfileID)
		},
	}
	mux.Handle("GET /oauth/{profile}", h)
	mux.HandleFunc("POST /connect", func(w http.ResponseWriter, r *http.Request) { h.Begin(w, r, crm) })

	page, err := post(app.URL + "/connect") // as a browser does
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(page)
	// Output:
	// ada is connected to crm
}

// A client puts a token into each request, for that origin only, and asks for
// another one if the API refuses it.
func ExampleManager_Client() {
	srv, crm := provider()
	defer srv.Close()
	ctx := context.Background()
	m := &authprofile.Manager{RedirectURL: "https://app.example.com/oauth/callback"}
	if err := m.Save(ctx, crm); err != nil {
		log.Fatal(err)
	}
	connect(ctx, m, srv, crm, "ada")

	client := m.Client(ctx, crm, authprofile.AsUser("ada"))
	srv.Advance(2 * time.Hour) // the provider has ended the token early
	resp, err := client.Get(srv.APIURL())
	if err != nil {
		log.Fatal(err)
	}
	defer resp.Body.Close()
	fmt.Println(resp.StatusCode)
	// Output:
	// 200
}

// Those who make requests of their own say when an API has refused a token.
func ExampleRejected() {
	srv, crm := provider()
	defer srv.Close()
	ctx := context.Background()
	m := &authprofile.Manager{RedirectURL: "https://app.example.com/oauth/callback"}
	if err := m.Save(ctx, crm); err != nil {
		log.Fatal(err)
	}
	connect(ctx, m, srv, crm, "ada")

	tok, err := m.Token(ctx, crm, authprofile.AsUser("ada"))
	if err != nil {
		log.Fatal(err)
	}
	// The API says 401 though the token looks valid.
	other, err := m.Token(ctx, crm, authprofile.AsUser("ada"), authprofile.Rejected(tok))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("another token:", other.AccessToken != tok.AccessToken)
	// Output:
	// another token: true
}

// Who has to be asked to authorize again, since when, and why.
func ExampleManager_Grants() {
	srv, crm := provider()
	defer srv.Close()
	ctx := context.Background()
	m := &authprofile.Manager{RedirectURL: "https://app.example.com/oauth/callback"}
	if err := m.Save(ctx, crm); err != nil {
		log.Fatal(err)
	}
	for _, user := range []string{"ada", "grace"} {
		srv.SetConsent(providertest.Consent{Subject: user})
		connect(ctx, m, srv, crm, user)
	}
	srv.RevokeUser("ada") // on the provider's own pages
	tok, err := m.Token(ctx, crm, authprofile.AsUser("ada"))
	if err != nil {
		log.Fatal(err)
	}
	m.Token(ctx, crm, authprofile.AsUser("ada"), authprofile.Rejected(tok)) // the API has refused it

	for g, err := range m.Grants(ctx, "crm") {
		if err != nil {
			log.Fatal(err)
		}
		if g.Status == authprofile.StatusNeedsReauthorization {
			fmt.Println(g.User, g.Failure.Reason, g.Failure.Code, g.Failure.Since.IsZero())
		}
	}
	// Output:
	// ada revoked invalid_grant false
}

// Refresh tokens that an application has kept elsewhere until now are put into
// the Store; the users need not come back.
func ExampleGrant_import() {
	srv, crm := provider()
	defer srv.Close()
	ctx := context.Background()
	var store authprofile.MemStore
	m := &authprofile.Manager{Store: &store, RedirectURL: "https://app.example.com/oauth/callback"}
	if err := m.Save(ctx, crm); err != nil {
		log.Fatal(err)
	}

	err := store.PutGrant(ctx, &authprofile.Grant{
		GrantKey:     authprofile.GrantKey{ProfileID: crm.ID, User: "ada"},
		RefreshToken: authprofile.Secret(elsewhere(ctx, srv, crm)),
		ClientID:     crm.ClientID, // that it was issued to
		Requested:    crm.Scopes,   // when ada consented
		Status:       authprofile.StatusActive,
	})
	if err != nil {
		log.Fatal(err)
	}
	tok, err := m.Token(ctx, crm, authprofile.AsUser("ada"))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(tok.Valid())
	// Output:
	// true
}

// Revoke ends a grant on both sides.
func ExampleManager_Revoke() {
	srv, crm := provider()
	defer srv.Close()
	ctx := context.Background()
	m := &authprofile.Manager{RedirectURL: "https://app.example.com/oauth/callback"}
	if err := m.Save(ctx, crm); err != nil {
		log.Fatal(err)
	}
	connect(ctx, m, srv, crm, "ada")
	key := authprofile.GrantKey{ProfileID: "crm", User: "ada"}
	grant, err := m.Grant(ctx, key)
	if err != nil {
		log.Fatal(err)
	}

	if err := m.Revoke(ctx, key); err != nil {
		log.Print(err) // it may live on there or, if the Store has failed, here
	}
	_, err = m.Grant(ctx, key)
	fmt.Println(errors.Is(err, authprofile.ErrNotFound), srv.IsLive(string(grant.RefreshToken)))
	// Output:
	// true false
}

// A person is removed: their grants of all profiles are ended at the providers,
// and then here. The result of each is known.
func ExampleManager_Find() {
	srv, crm := provider()
	defer srv.Close()
	ctx := context.Background()
	m := &authprofile.Manager{RedirectURL: "https://app.example.com/oauth/callback"}
	calendar := crm.Clone()
	calendar.ID = "calendar"
	for _, p := range []*authprofile.Profile{crm, calendar} {
		if err := m.Save(ctx, p); err != nil {
			log.Fatal(err)
		}
		connect(ctx, m, srv, p, "ada")
	}

	for g, err := range m.Find(ctx, authprofile.GrantFilter{User: "ada"}) {
		if err != nil {
			log.Print(err) // of one grant, or of the Store: run it again
			continue
		}
		if err := m.Revoke(ctx, g.GrantKey); err != nil {
			log.Print(err) // it may live on at the provider
			continue
		}
		fmt.Println(g.ProfileID, "forgotten")
	}
	// Output:
	// calendar forgotten
	// crm forgotten
}

// Before a program ends, what was renewed is stored.
func ExampleManager_Shutdown() {
	var m authprofile.Manager
	// ... serve until told to stop ...
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := m.Shutdown(ctx); err != nil {
		log.Print(err)
	}
	// Output:
}

// A form can show what a provider offers before a profile is saved.
func ExampleManager_Discover() {
	srv, _ := provider()
	defer srv.Close()

	var m authprofile.Manager
	md, err := m.Discover(context.Background(), srv.DiscoveryURL())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(md.Issuer == srv.Issuer(), md.TokenURL == srv.TokenURL(), md.CodeChallengeMethods)

	_, err = m.Discover(context.Background(), "http://auth.example.com/")
	var field *authprofile.FieldError
	fmt.Println(errors.As(err, &field), field)
	// Output:
	// true true [S256]
	// true Endpoints.DiscoveryURL: must be https, or http on a loopback host
}

// A template saves typing addresses.
func ExampleMicrosoft() {
	m := &authprofile.Manager{RedirectURL: "https://app.example.com/oauth/{profile}"}
	mail := &authprofile.Profile{
		ID:           "mail",
		Type:         authprofile.TypeUser,
		Template:     authprofile.Microsoft("contoso.com"),
		ClientID:     "6731de76-14a6-49ae-97bc-6eba6914391e",
		ClientSecret: authprofile.Secret(os.Getenv("MAIL_SECRET")),
		Scopes:       []string{"openid", "Mail.Read"},
	}
	if err := m.Save(context.Background(), mail); err != nil {
		log.Fatal(err)
	}
	fmt.Println("register this redirect address:", m.RedirectAddress(mail))
	// Output:
	// register this redirect address: https://app.example.com/oauth/mail
}

// Save reports all problems of a profile at once, each with its field.
func ExampleProfile_Validate() {
	p := &authprofile.Profile{
		Type:      authprofile.TypeApp,
		Endpoints: authprofile.Endpoints{TokenURL: "http://auth.example.com/token"},
		Scopes:    []string{"read", "read write"},
	}
	if problems, ok := p.Validate().(interface{ Unwrap() []error }); ok {
		for _, err := range problems.Unwrap() {
			if field, ok := errors.AsType[*authprofile.FieldError](err); ok {
				fmt.Println(field.Field)
			}
		}
	}
	// Output:
	// ClientID
	// Endpoints.TokenURL
	// Scopes[1]
}

// A profile is read from a configuration file, and shown without its secret.
func ExampleProfile() {
	var p authprofile.Profile
	err := json.Unmarshal([]byte(`{
		"id": "reports",
		"type": "app",
		"client_id": "reports",
		"client_secret": "hunter2",
		"endpoints": {"token_url": "https://auth.example.com/token"}
	}`), &p)
	if err != nil {
		log.Fatal(err)
	}
	text, err := json.Marshal(&p)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(string(text))
	fmt.Println(json.Unmarshal(text, &p))
	// Output:
	// {"id":"reports","type":"app","client_id":"reports","client_secret":"[redacted]","endpoints":{"token_url":"https://auth.example.com/token"}}
	// Secret: is the placeholder "[redacted]", not a secret; leave it out or give the real one
}

// A Secret shows itself as a placeholder, and is used by conversion.
func ExampleSecret() {
	s := authprofile.Secret("hunter2")
	fmt.Printf("%v %q %x %s\n", s, s, s, strings.Repeat("*", len(string(s))))
	// Output:
	// [redacted] "[redacted]" [redacted] *******
}

// In tests a fake provider counts, and fails as it is told to. See package
// providertest for one whose hours pass at once.
func Example_inTests() {
	srv, err := providertest.Start() // in a test: providertest.NewServer(t)
	if err != nil {
		log.Fatal(err)
	}
	defer srv.Close()
	srv.Fault(providertest.Token, providertest.Fault{Status: http.StatusServiceUnavailable})

	src := authprofile.Source(context.Background(), &authprofile.Profile{
		Type:         authprofile.TypeApp,
		ClientID:     providertest.ClientID,
		ClientSecret: providertest.ClientSecret,
		Endpoints:    authprofile.Endpoints{TokenURL: srv.TokenURL()},
	})
	_, err = src.Token()
	fmt.Println(err)
	fmt.Println("requests:", srv.Count(""))
	// Output:
	// authprofile: token: the provider is not available (HTTP 503)
	// requests: 1
}

// post posts a form like a browser that keeps cookies and follows redirects.
func post(address string) (string, error) {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return "", err
	}
	resp, err := (&http.Client{Jar: jar}).PostForm(address, nil)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return string(text), err
}
