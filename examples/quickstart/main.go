// Quickstart shows the main job of authprofile: a user consents once, and from
// then on each call gets a valid token, in any goroutine of any process.
//
//	go run ./examples/quickstart
//
// The provider is a fake in memory, at the addresses of GitLab and with its
// habits. For one of your own, see examples/login.
package main

import (
	"context"
	"database/sql"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/authprofile/authprofile"
	"github.com/authprofile/authprofile/providertest"
	"github.com/authprofile/authprofile/sqlstore"
	_ "modernc.org/sqlite"
)

func main() {
	dir := must(os.MkdirTemp("", "quickstart-"))
	defer os.RemoveAll(dir)
	run(context.Background(), os.Stdout, filepath.Join(dir, "tokens.db"))
}

func run(ctx context.Context, out io.Writer, file string) {
	provider := must(providertest.Start(providertest.Provider("gitlab")))
	defer provider.Close()
	policy := provider.Policy()
	policy.TokenLifetime = 2 * time.Second // two hours would be too long to watch
	provider.SetPolicy(policy)
	provider.SetConsent(providertest.Consent{Subject: "ada.lovelace"})

	db := must(sql.Open("sqlite", "file:"+file+"?_pragma=journal_mode(WAL)&_pragma=busy_timeout(10000)"))
	defer db.Close()
	store := must(sqlstore.New(db, sqlstore.SQLite, nil))
	check(store.Migrate(ctx))

	// Two replicas of a service share the database, and nothing else.
	m := &authprofile.Manager{Store: store, HTTPClient: provider.Client(), RedirectURL: "https://app.example.com/callback"}
	other := &authprofile.Manager{Store: store, HTTPClient: provider.Client(), RedirectURL: m.RedirectURL}

	gitlab := &authprofile.Profile{ // how the service is registered at the provider
		ID: "gitlab", Type: authprofile.TypeUser,
		Template: "gitlab", // or any other of docs/providers.md
		ClientID: providertest.ClientID, ClientSecret: providertest.ClientSecret,
		Scopes: []string{"read_user"},
	}
	check(m.Save(ctx, gitlab))
	ada := authprofile.AsUser("ada") // the service's own name for one of its users
	_, err := m.Token(ctx, gitlab, ada)
	fmt.Fprintln(out, "Before ada consents:", err)

	flow := must(m.Begin(ctx, gitlab, "ada"))
	callback := must(provider.Authorize(flow.URL)) // plays ada and her browser
	grant := must(m.Finish(ctx, "ada", callback.Query()))
	fmt.Fprintf(out, "She consents to %q, as %s. Stored: access token %v, refresh token %v.\n", grant.Scopes, grant.Account, grant.AccessToken, grant.RefreshToken)

	time.Sleep(2 * time.Second) // her access token ends
	var calls sync.WaitGroup
	for range 1000 {
		calls.Go(func() { must(m.Token(ctx, gitlab, ada)) })
		calls.Go(func() { must(other.Token(ctx, gitlab, ada)) })
	}
	calls.Wait()
	fmt.Fprintf(out, "Her access token has ended. 2000 calls in two replicas got a new one; requests to the provider: %d.\n", provider.Count("refresh_token"))
	resp := must(other.Client(ctx, gitlab, ada).Get(provider.APIURL()))
	fmt.Fprintln(out, "The API accepts it:", resp.Status)
	check(m.Shutdown(ctx)) // what was renewed is stored
	check(other.Shutdown(ctx))
}

func must[T any](value T, err error) T { check(err); return value }

func check(err error) {
	if err != nil {
		panic(err) // a program of your own returns it
	}
}
