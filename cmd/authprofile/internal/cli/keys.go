package cli

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"time"

	"github.com/authprofile/authprofile"
	"github.com/authprofile/authprofile/sealed"
)

// keysPrefix begins a value of AUTHPROFILE_KEYS that holds the keys themselves.
// The path of a file that begins that way is written with "./" before it.
const keysPrefix = "keys:"

// nextWord stands before the ID of a key that was added and does not encrypt yet. No
// key has it as its ID.
const nextWord = "next"

// A keyring is the keys of a database, and where they are from.
type keyring struct {
	ring *sealed.Keyring
	keys []sealed.Key // the first is the primary key
	next string       // the ID of the one that "key rotate" will make the first; empty: none
	path string       // of the file; empty: they are in the environment
}

// openKeys opens the key ring. It makes one only for a database without a record:
// what is there was sealed by other keys, and a new key would be one that other
// programs do not have.
func (a *app) openKeys(ctx context.Context, inner authprofile.Store, access access) (*keyring, error) {
	text := a.env["AUTHPROFILE_KEYS"]
	if a.flags.keys == "" && strings.HasPrefix(text, keysPrefix) {
		k, err := parseKeys(strings.TrimPrefix(text, keysPrefix))
		if err != nil {
			return nil, fmt.Errorf("AUTHPROFILE_KEYS: %w", err)
		}
		return k, nil
	}
	path := a.setting(a.flags.keys, "AUTHPROFILE_KEYS")
	switch {
	case strings.HasPrefix(path, keysPrefix):
		return nil, usageError{problem: "keys in --keys can be seen by other users of this machine: put them into a file, or into the environment variable AUTHPROFILE_KEYS"}
	case path == "":
		dir, err := a.folder()
		if err != nil {
			return nil, err
		}
		path = filepath.Join(dir, "keys")
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	ring, err := readKeys(path)
	if errors.Is(err, fs.ErrNotExist) {
		return a.makeKeys(ctx, inner, path, access)
	}
	return ring, err
}

// readKeys reads a key file.
func readKeys(path string) (*keyring, error) {
	content, err := readPrivate("the key file", path)
	if err != nil {
		return nil, err
	}
	k, err := parseKeys(string(content))
	if err != nil {
		return nil, fmt.Errorf("the key file %s: %w", path, err)
	}
	k.path = path
	return k, nil
}

func newKeyring(keys []sealed.Key, next, path string) (*keyring, error) {
	ring, err := sealed.NewKeyring(keys[0], keys[1:]...)
	if err != nil {
		return nil, err
	}
	return &keyring{ring: ring, keys: keys, next: next, path: path}, nil
}

// parseKeys reads keys: for each its ID and its bytes in base64, separated by
// white space, with nextWord before one that is not used yet. Lines that begin with
// "#" are comments. What it complains about it does not quote: it may be a key.
func parseKeys(text string) (*keyring, error) {
	var words []string
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "#") {
			words = append(words, strings.Fields(line)...)
		}
	}
	if len(words) == 0 {
		return nil, errors.New("there is no key in it: restore it from a backup")
	}
	var keys []sealed.Key
	next := ""
	for len(words) > 0 {
		if isNext := words[0] == nextWord; isNext {
			words = words[1:]
			switch {
			case next != "":
				return nil, errors.New("the word next stands before two keys")
			case len(keys) == 0:
				return nil, errors.New("the word next stands before the first key, which encrypts: take the word away")
			case len(words) > 0:
				next = words[0]
			}
		}
		if len(words) < 2 {
			return nil, errors.New("an ID or a key is missing: each key is its ID, a space and 32 bytes in base64")
		}
		secret, err := base64.StdEncoding.DecodeString(words[1])
		if err != nil || len(secret) != 32 {
			return nil, fmt.Errorf("key %d is not 32 bytes in base64", len(keys)+1)
		}
		if inPlace, err := base64.StdEncoding.DecodeString(words[0]); err == nil && len(inPlace) == 32 { // IDs are shown, and are in the database
			return nil, fmt.Errorf("key %d has a key where its ID should be: write an ID before each key", len(keys)+1)
		}
		keys = append(keys, sealed.Key{ID: words[0], Secret: secret})
		words = words[2:]
	}
	return newKeyring(keys, next, "")
}

// formatKeys writes keys as parseKeys reads them from a file.
func formatKeys(keys []sealed.Key, next string) []byte {
	text := []byte("# Keys of authprofile: the ID of each, and its 32 bytes in base64. The first\n" +
		"# encrypts, all decrypt. Without this file every secret in the database is lost.\n")
	for _, k := range keys {
		if k.ID == next {
			text = append(text, nextWord+" "...)
		}
		text = fmt.Appendf(text, "%s %s\n", k.ID, base64.StdEncoding.EncodeToString(k.Secret))
	}
	return text
}

// newSealKey returns a new key. Its ID is the day, and some random letters, as two
// keys may be made on one day.
func newSealKey() sealed.Key {
	secret := make([]byte, 32)
	rand.Read(secret)
	return sealed.Key{ID: time.Now().UTC().Format(time.DateOnly) + "-" + strings.ToLower(rand.Text()[:4]), Secret: secret}
}

// makeKeys makes a key file for a new database.
func (a *app) makeKeys(ctx context.Context, inner authprofile.Store, path string, access access) (*keyring, error) {
	profiles, err := inner.ListProfiles(ctx, "", 1)
	if err != nil {
		return nil, err
	}
	grants, err := inner.ListGrants(ctx, authprofile.GrantFilter{}, authprofile.GrantKey{}, 1)
	if err != nil {
		return nil, err
	}
	if len(profiles)+len(grants) > 0 {
		// Another process may have made the file meanwhile, and a record with it.
		if k, err := readKeys(path); !errors.Is(err, fs.ErrNotExist) {
			return k, err
		}
		return nil, fmt.Errorf("there is no key file %s, and what is in the database was encrypted with keys: restore the file, or say with --keys where it is", path)
	}
	if access != create {
		return nil, fmt.Errorf(`there is no key file %s yet: "authprofile profile add" makes it, or say with --keys where it is`, path)
	}
	if err := makePrivate("the key file", path, formatKeys([]sealed.Key{newSealKey()}, "")); err != nil {
		return nil, err
	}
	fmt.Fprintf(a.stderr, `authprofile: made a key ring: %s
The secrets in the database are encrypted with the key in this file. Anyone who has
both can read them. If the file is lost, so are they: every application would need a
new client secret, and every user would have to connect anew. Keep a copy of it in a
safe place, apart from the backups of the database.
`, path)
	return readKeys(path) // it may be what another process has made at the same time
}
