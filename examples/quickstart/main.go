// Quickstart shows the main job of authprofile: a user consents once, and from
// then on each call gets a valid token, in any goroutine of any process.
//
//	go run ./examples/quickstart
//
// The provider is a fake in memory. For one of your own, see examples/login.
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
	provider := must(providertest.Start(providertest.InMemory("https://login.example.com")))
	defer provider.Close()
	provider.SetPolicy(providertest.Policy{TokenLifetime: 2 * time.Second}) // an hour would be too long to watch

	db := must(sql.Open("sqlite", "file:"+file+"?_pragma=journal_mode(WAL)&_pragma=busy_timeout(10000)"))
	defer db.Close()
	store := must(sqlstore.New(db, sqlstore.SQLite, nil))
	check(store.Migrate(ctx))

	// Two replicas of a service share the database, and nothing else.
	m := &authprofile.Manager{Store: store, HTTPClient: provider.Client(), RedirectURL: "https://app.example.com/callback"}
	other := &authprofile.Manager{Store: store, HTTPClient: provider.Client(), RedirectURL: m.RedirectURL}

	crm := &authprofile.Profile{ // how the service is registered at the provider
		ID: "crm", Type: authprofile.TypeUser, Scopes: []string{"contacts", "offline_access"}, // with a refresh token
		ClientID: providertest.ClientID, ClientSecret: providertest.ClientSecret,
		Endpoints: authprofile.Endpoints{DiscoveryURL: provider.DiscoveryURL()},
	}
	check(m.Save(ctx, crm))
	ada := authprofile.AsUser("ada") // the service's own name for one of its users
	_, err := m.Token(ctx, crm, ada)
	fmt.Fprintln(out, "Before ada consents:", err)

	flow := must(m.Begin(ctx, crm, "ada"))
	callback := must(provider.Authorize(flow.URL)) // plays ada and her browser
	grant := must(m.Finish(ctx, "ada", callback.Query()))
	fmt.Fprintf(out, "She consents to %q. Stored: access token %v, refresh token %v.\n", grant.Scopes, grant.AccessToken, grant.RefreshToken)

	time.Sleep(2 * time.Second) // her access token ends
	var calls sync.WaitGroup
	for range 1000 {
		calls.Go(func() { must(m.Token(ctx, crm, ada)) })
		calls.Go(func() { must(other.Token(ctx, crm, ada)) })
	}
	calls.Wait()
	fmt.Fprintf(out, "Her access token has ended. 2000 calls in two replicas got a new one; requests to the provider: %d.\n", provider.Count("refresh_token"))
	resp := must(other.Client(ctx, crm, ada).Get(provider.APIURL()))
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
