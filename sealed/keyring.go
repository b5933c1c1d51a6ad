package sealed

import (
	"bytes"
	"context"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// A Key is a secret of 32 random bytes, and a name for it. It shows the name
// alone, in packages fmt and log/slog, and as JSON or text. The one exception
// is the verb %p, for which fmt asks no method.
type Key struct {
	// ID is 1 to 64 printable ASCII characters without spaces, such as
	// "2026-01". It is stored in the clear with every value, and tells keys
	// apart: it must not be used again for another secret.
	ID string

	// Secret comes from a random source, not from a password:
	//
	//	head -c 32 /dev/urandom | base64
	Secret []byte
}

// Format writes the ID alone, whatever the verb.
func (k Key) Format(f fmt.State, verb rune) { fmt.Fprintf(f, "Key{ID:%q}", k.ID) }

// MarshalText returns the ID alone, in a form that cannot be read back. With
// it, JSON and XML are covered too.
func (k Key) MarshalText() ([]byte, error) { return fmt.Appendf(nil, "%v", k), nil }

// A Keyring is a Keeper with keys of its own. It encrypts by AES-256-GCM under
// its primary key, and decrypts under any of its keys. It is made by
// [NewKeyring], does not change, and shows no secret.
type Keyring struct {
	primary string
	secrets map[string]*[keySize]byte // pointers, which fmt does not follow even where it asks no method (%p)
}

var _ Keeper = (*Keyring)(nil)

// NewKeyring returns a Keyring that encrypts under primary and still decrypts
// what was encrypted under the retired keys. See [Rotate] for how to exchange
// the primary key.
func NewKeyring(primary Key, retired ...Key) (*Keyring, error) {
	r := &Keyring{primary: primary.ID, secrets: make(map[string]*[keySize]byte)}
	var errs []error
	for i, k := range append([]Key{primary}, retired...) {
		name := "the primary key"
		if i > 0 {
			name = fmt.Sprintf("retired key %d", i)
		}
		// An ID that is not one may be a secret in the wrong place: it is
		// not shown.
		switch {
		case !validKeyID(k.ID):
			errs = append(errs, fmt.Errorf("sealed: the ID of %s must be 1 to %d printable ASCII characters without spaces", name, maxKeyID))
		case len(k.Secret) != keySize:
			errs = append(errs, fmt.Errorf("sealed: the secret of %s, %q, must have %d bytes and has %d", name, k.ID, keySize, len(k.Secret)))
		case !slices.ContainsFunc(k.Secret, func(b byte) bool { return b != 0 }):
			errs = append(errs, fmt.Errorf("sealed: the secret of %s, %q, was never set: it is all zero", name, k.ID))
		case r.secrets[k.ID] != nil:
			errs = append(errs, fmt.Errorf("sealed: the ID of %s, %q, is that of another key", name, k.ID))
		default:
			r.secrets[k.ID] = (*[keySize]byte)(bytes.Clone(k.Secret))
		}
	}
	if errs != nil {
		return nil, errors.Join(errs...)
	}
	return r, nil
}

// What a Keyring returns is a byte of version, the key's ID with a byte of
// length in front, a salt, and what AES-256-GCM with a random nonce makes of
// the plaintext, with all that comes before the salt as additional data.
//
// The key of AES is derived from the secret and the salt by HKDF (RFC 5869). One
// AES key with random nonces of 96 bits is safe for 2^32 messages (NIST SP
// 800-38D, section 8.3), which three million grants would use up in weeks;
// derived keys have no limit that can be reached.
const (
	keyringVersion = 1
	keySize        = 32
	maxKeyID       = 64
	saltSize       = 16
	keyringInfo    = "authprofile/sealed keyring 1"
)

// Encrypt encrypts plaintext under the primary key.
func (r *Keyring) Encrypt(ctx context.Context, plaintext []byte) ([]byte, error) {
	head := append([]byte{keyringVersion, byte(len(r.primary))}, r.primary...)
	salt := make([]byte, saltSize)
	rand.Read(salt)
	key, err := hkdf.Key(sha256.New, r.secrets[r.primary][:], salt, keyringInfo, keySize)
	if err != nil {
		return nil, err
	}
	aead, err := newAEAD(key)
	if err != nil {
		return nil, err
	}
	return aead.Seal(slices.Concat(head, salt), nil, plaintext, head), nil
}

// Decrypt decrypts what Encrypt has returned, of this Keyring or of another
// one with the same key.
func (r *Keyring) Decrypt(ctx context.Context, ciphertext []byte) ([]byte, error) {
	id, ok := keyID(ciphertext)
	if !ok {
		return nil, errors.New("sealed: not encrypted by a keyring, or damaged")
	}
	secret, ok := r.secrets[id]
	if !ok {
		return nil, fmt.Errorf("sealed: the keyring has no key %q", id)
	}
	head, rest := ciphertext[:2+len(id)], ciphertext[2+len(id):]
	if len(rest) < saltSize {
		return nil, errors.New("sealed: not encrypted by a keyring, or damaged")
	}
	key, err := hkdf.Key(sha256.New, secret[:], rest[:saltSize], keyringInfo, keySize)
	if err != nil {
		return nil, err
	}
	aead, err := newAEAD(key)
	if err != nil {
		return nil, err
	}
	plaintext, err := aead.Open(nil, nil, rest[saltSize:], head)
	if err != nil {
		return nil, fmt.Errorf("sealed: damaged, or encrypted under another key that was called %q too", id)
	}
	return plaintext, nil
}

// keyID returns the ID of the key that a Keyring has encrypted under.
func keyID(ciphertext []byte) (string, bool) {
	if len(ciphertext) < 2 || ciphertext[0] != keyringVersion {
		return "", false
	}
	rest, n := ciphertext[2:], int(ciphertext[1])
	if n > len(rest) || !validKeyID(string(rest[:n])) {
		return "", false
	}
	return string(rest[:n]), true
}

func validKeyID(id string) bool {
	return id != "" && len(id) <= maxKeyID &&
		!strings.ContainsFunc(id, func(c rune) bool { return c <= ' ' || c > '~' })
}

// Format writes the IDs of the keys alone, whatever the verb.
func (r Keyring) Format(f fmt.State, verb rune) {
	fmt.Fprintf(f, "Keyring{Primary:%q Retired:%q}", r.primary, r.retired())
}

// MarshalText returns the IDs of the keys alone.
func (r Keyring) MarshalText() ([]byte, error) { return fmt.Appendf(nil, "%v", r), nil }

// retired returns the IDs of the retired keys, sorted.
func (r Keyring) retired() []string {
	var ids []string
	for id := range r.secrets {
		if id != r.primary {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}
