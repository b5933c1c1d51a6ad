// Kms shows a Store whose secrets are encrypted by a key management service,
// through gocloud.dev/secrets. Its Keepers are what package sealed wants, as
// they are; which service it is, is in the URL:
//
//	go run ./examples/kms -keeper base64key://
//
// is a random key in memory. For AWS, Google Cloud, Azure or Vault, import the
// package that gocloud.dev has for it, and give "awskms://...",
// "gcpkms://...", "azurekeyvault://..." or "hashivault://...".
package main

import (
	"context"
	"flag"
	"fmt"
	"log"

	"gocloud.dev/secrets"
	_ "gocloud.dev/secrets/localsecrets"

	"github.com/authprofile/authprofile"
	"github.com/authprofile/authprofile/sealed"
)

var _ sealed.Keeper = (*secrets.Keeper)(nil)

func main() {
	log.SetFlags(0)
	url := flag.String("keeper", "base64key://", "`URL` of the key")
	flag.Parse()
	if err := run(context.Background(), *url); err != nil {
		log.Fatal("kms: ", err)
	}
}

func run(ctx context.Context, url string) error {
	keeper, err := secrets.OpenKeeper(ctx, url)
	if err != nil {
		return err
	}
	defer keeper.Close()

	inner := new(authprofile.MemStore) // or a sqlstore.Store
	m := &authprofile.Manager{Store: sealed.New(inner, keeper)}
	p := &authprofile.Profile{
		Type:         authprofile.TypeApp,
		ClientID:     "reports",
		ClientSecret: "correct horse battery staple",
		Endpoints:    authprofile.Endpoints{TokenURL: "https://auth.example.com/token"},
	}
	if err := m.Save(ctx, p); err != nil {
		return err
	}

	kept, err := inner.Profile(ctx, p.ID)
	if err != nil {
		return err
	}
	read, err := m.Profile(ctx, p.ID)
	if err != nil {
		return err
	}
	fmt.Printf("The store keeps %.32s...\n", string(kept.ClientSecret))
	fmt.Printf("The Manager reads the secret that was saved: %t\n", read.ClientSecret == p.ClientSecret)
	return nil
}
