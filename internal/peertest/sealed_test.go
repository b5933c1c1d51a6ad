package peertest

import (
	"bytes"
	"context"
	"database/sql"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/authprofile/authprofile"
	"github.com/authprofile/authprofile/internal/peertest/databases"
	"github.com/authprofile/authprofile/sealed"
	"github.com/authprofile/authprofile/sqlstore"
)

// TestThreat132_SealedFilesHoldNoSecret looks for planted secrets in every
// file of a database: tables, write-ahead logs, temporary files. Without
// package sealed they are there, so the search can find them.
func TestThreat132_SealedFilesHoldNoSecret(t *testing.T) {
	for _, db := range []struct {
		name    string
		dialect sqlstore.Dialect
		start   func(t *testing.T) (driver, dsn, dir string)
	}{
		{"SQLite", sqlstore.SQLite, func(t *testing.T) (string, string, string) {
			dsn := databases.SQLite(t)
			file, _, _ := strings.Cut(strings.TrimPrefix(dsn, "file:"), "?")
			return "sqlite", dsn, filepath.Dir(file)
		}},
		{"PostgreSQL", sqlstore.Postgres, func(t *testing.T) (string, string, string) {
			s := databases.NewPostgres(t)
			return s.Driver(), s.Database(t), s.Dir()
		}},
		{"MariaDB", sqlstore.MySQL, func(t *testing.T) (string, string, string) {
			s := databases.NewMariaDB(t)
			return s.Driver(), s.Database(t), s.Dir()
		}},
	} {
		t.Run(db.name, func(t *testing.T) {
			driver, dsn, dir := db.start(t)
			handle, err := sql.Open(driver, dsn)
			if err != nil {
				t.Fatal(err)
			}
			defer handle.Close()
			plain, err := sqlstore.New(handle, db.dialect, nil)
			if err != nil {
				t.Fatal(err)
			}
			if err := plain.Migrate(t.Context()); err != nil {
				t.Fatal(err)
			}
			ring, err := sealed.NewKeyring(sealed.Key{ID: "one", Secret: bytes.Repeat([]byte{1}, 32)})
			if err != nil {
				t.Fatal(err)
			}

			closed := plant(t, sealed.New(plain, ring), "sealed")
			open := plant(t, plain, "plain")
			if db.dialect == sqlstore.Postgres { // what was written last may still be in memory alone
				if _, err := handle.ExecContext(t.Context(), "CHECKPOINT"); err != nil {
					t.Fatal(err)
				}
			}
			found := search(t, dir, append(closed, open...))
			for _, secret := range closed {
				if files := found[secret]; files != nil {
					t.Errorf("%s is in %v", secret, files)
				}
			}
			for _, secret := range open {
				if found[secret] == nil {
					t.Errorf("%s is in no file: the search proves nothing", secret)
				}
			}
		})
	}
}

// plant writes records with secrets that are like nothing else, writes them
// again as a renewal does, and returns the secrets.
func plant(t *testing.T, store authprofile.Store, how string) (secrets []string) {
	t.Helper()
	ctx := context.Background()
	secret := func(name string) authprofile.Secret {
		s := "PLANTED-" + how + "-" + name + "-7c1d9e"
		secrets = append(secrets, s)
		return authprofile.Secret(s)
	}
	p := &authprofile.Profile{
		ID: "profile-" + how, Type: authprofile.TypeUser, ClientID: "client", ClientSecret: secret("client-secret"),
		ClientKey: secret("client-key"), Template: authprofile.Google,
	}
	if err := store.PutProfile(ctx, p); err != nil {
		t.Fatal(err)
	}
	g := &authprofile.Grant{GrantKey: authprofile.GrantKey{ProfileID: p.ID, User: "ada"}, Status: authprofile.StatusActive}
	for _, generation := range []string{"first", "second", "third"} {
		g.AccessToken, g.RefreshToken = secret("access-"+generation), secret("refresh-"+generation)
		g.Extra = map[string]authprofile.Secret{"instance": secret("extra-" + generation)}
		if err := store.PutGrant(ctx, g); err != nil {
			t.Fatal(err)
		}
	}
	f := &authprofile.Flow{
		GrantKey: g.GrantKey, ID: "flow-" + how, Verifier: secret("verifier"), Expires: time.Now().Add(time.Minute),
		RedirectURL: "https://app.example.com/callback",
	}
	if err := store.PutFlow(ctx, f); err != nil {
		t.Fatal(err)
	}
	return secrets
}

// search returns the files under dir that hold each text.
func search(t *testing.T, dir string, texts []string) map[string][]string {
	t.Helper()
	found := make(map[string][]string)
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return nil // servers remove files while we look
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return nil
		}
		for _, text := range texts {
			if bytes.Contains(content, []byte(text)) {
				found[text] = append(found[text], filepath.Base(path))
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}
