package sealed_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log"
	"os"
	"strings"

	"github.com/authprofile/authprofile"
	"github.com/authprofile/authprofile/sealed"
)

// key reads a key as "head -c 32 /dev/urandom | base64" makes one.
func key(id, text string) sealed.Key {
	secret, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		log.Fatalf("the key %s is not base64", id)
	}
	return sealed.Key{ID: id, Secret: secret}
}

// A Keyring has its keys from wherever the program has its other secrets.
func Example() {
	ctx := context.Background()
	os.Setenv("KEY_2026_01", "1a3OYpqLqYjU6Xk5vG3pPRkVY0Ec1Jz8q7mTq0ZcX3A=")

	keys, err := sealed.NewKeyring(key("2026-01", os.Getenv("KEY_2026_01")))
	if err != nil {
		log.Fatal(err)
	}
	inner := new(authprofile.MemStore) // or one of package sqlstore
	m := &authprofile.Manager{Store: sealed.New(inner, keys)}

	err = m.Save(ctx, &authprofile.Profile{
		ID:           "reports",
		Type:         authprofile.TypeApp,
		ClientID:     "reports-client",
		ClientSecret: "correct horse",
		Endpoints:    authprofile.Endpoints{TokenURL: "https://auth.example.com/token"},
	})
	if err != nil {
		log.Fatal(err)
	}

	kept, err := inner.Profile(ctx, "reports")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("client ID:", kept.ClientID)
	fmt.Println("client secret:", string(kept.ClientSecret)[:9]+"...")

	p, err := m.Profile(ctx, "reports")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("opened:", string(p.ClientSecret))
	// Output:
	// client ID: reports-client
	// client secret: sealed:1:...
	// opened: correct horse
}

// The last step of an exchange of keys: no record is left under the old one.
func ExampleRotate() {
	ctx := context.Background()
	old := key("2026-01", "1a3OYpqLqYjU6Xk5vG3pPRkVY0Ec1Jz8q7mTq0ZcX3A=")
	next := key("2027-01", "m0Cw7dVYy3qv1o2Tn0bJ0l7d0d2m8mK2q8b0y9Gk1nE=")

	inner := new(authprofile.MemStore)
	before, err := sealed.NewKeyring(old)
	if err != nil {
		log.Fatal(err)
	}
	err = sealed.New(inner, before).PutProfile(ctx, &authprofile.Profile{ID: "reports", ClientSecret: "correct horse"})
	if err != nil {
		log.Fatal(err)
	}

	keys, err := sealed.NewKeyring(next, old)
	if err != nil {
		log.Fatal(err)
	}
	for progress, err := range sealed.Rotate(ctx, sealed.New(inner, keys)) {
		if err != nil {
			log.Print(err) // of one record: the loop goes on
		}
		fmt.Println(progress.Profiles+progress.Grants, "seen,", progress.Rewritten, "written anew")
		if progress.Done {
			fmt.Println("no longer needed:", strings.Join(progress.Unused, ", "))
		}
	}
	// Output:
	// 1 seen, 1 written anew
	// no longer needed: 2026-01
}

// A Keeper may be anything with these two methods. Those of gocloud.dev are
// used as they are:
//
//	keeper, err := secrets.OpenKeeper(ctx, "awskms://alias/authprofile?region=eu-central-1")
//	if err != nil {
//		return err
//	}
//	defer keeper.Close()
//	m := &authprofile.Manager{Store: sealed.New(inner, keeper)}
func ExampleNew_keeper() {
	var service transit // in place of a remote one
	s := sealed.New(new(authprofile.MemStore), &service)

	ctx := context.Background()
	g := &authprofile.Grant{
		GrantKey:     authprofile.GrantKey{ProfileID: "crm", User: "alice"},
		AccessToken:  "access",
		RefreshToken: "refresh",
	}
	if err := s.PutGrant(ctx, g); err != nil {
		log.Fatal(err)
	}
	got, err := s.Grant(ctx, g.GrantKey)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(string(got.AccessToken), string(got.RefreshToken))
	fmt.Println("calls:", service.calls)
	// Output:
	// access refresh
	// calls: 2
}

// transit is a key management service that is known by its calls alone.
type transit struct {
	calls int
	keys  map[string][]byte
}

func (s *transit) Encrypt(ctx context.Context, plaintext []byte) ([]byte, error) {
	s.calls++
	if s.keys == nil {
		s.keys = make(map[string][]byte)
	}
	handle := fmt.Sprintf("vault:v1:%d", len(s.keys))
	s.keys[handle] = plaintext
	return []byte(handle), nil
}

func (s *transit) Decrypt(ctx context.Context, ciphertext []byte) ([]byte, error) {
	s.calls++
	plaintext, ok := s.keys[string(ciphertext)]
	if !ok {
		return nil, errors.New("transit: no such key")
	}
	return plaintext, nil
}
